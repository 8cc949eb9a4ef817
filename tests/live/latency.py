"""A daemon that is far away: `delayed` puts a proxy before it that holds every byte back for half the round trip."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Literal

from incus_sdk import Client
from incus_sdk.testing import Daemon
from tests.live.proxies import Way, proxied


@contextlib.asynccontextmanager
async def delayed(daemon: Daemon, ms: float, kind: Literal["unix", "https"] = "unix") -> AsyncGenerator[Client]:
    """A connected client of the daemon, with ``ms`` milliseconds more for the way there and back, at full bandwidth."""

    async def carry(way: Way) -> None:
        await _carry(way, ms / 2000)

    async def opened(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(ms / 2000)

    async with proxied(daemon, kind, carry, opened) as client:
        yield client


async def _carry(way: Way, delay: float) -> None:
    """Everything in one direction, each piece after ``delay`` seconds, until there is no more."""
    clock = asyncio.get_running_loop().time
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)

    async def take() -> None:
        data = b"-"
        while data:
            data = await way.read()
            await pieces.put((clock() + delay, data))

    taking = asyncio.ensure_future(take())
    try:
        while True:
            due, data = await pieces.get()
            await asyncio.sleep(due - clock())
            if not data:
                return
            await way.write(data)
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
