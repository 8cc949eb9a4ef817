"""A daemon that is far away: `delayed` puts a proxy before it that holds every byte back for half the round trip."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Literal

from incus_sdk import Client
from incus_sdk.testing import Daemon

_PIECE = 64 * 1024


@contextlib.asynccontextmanager
async def delayed(daemon: Daemon, ms: float, kind: Literal["unix", "https"] = "unix") -> AsyncGenerator[Client]:
    """A connected client of the daemon, with ``ms`` milliseconds more for the way there and back, at full bandwidth."""
    tasks: set[asyncio.Task[None]] = set()

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if kind == "unix":
            return await asyncio.open_unix_connection(daemon.socket)
        host, _, port = daemon.url.removeprefix("https://").rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        with contextlib.suppress(OSError), contextlib.closing(writer):
            # Not before there is something to say: the daemon waits for the first bytes of a unix connection, and lets
            # everybody else wait too.
            first = await reader.read(_PIECE)
            if not first:
                return
            await asyncio.sleep(ms / 2000)
            there, back = await connect()
            with contextlib.closing(back):
                back.write(first)
                directions = [
                    asyncio.ensure_future(_carry(*way, ms / 2000)) for way in ((reader, back), (there, writer))
                ]
                try:
                    await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for direction in directions:
                        direction.cancel()
                    await asyncio.gather(*directions, return_exceptions=True)

    with tempfile.TemporaryDirectory(prefix="incus-sdk-") as directory:
        if kind == "unix":
            server = await asyncio.start_unix_server(serve, Path(directory, "unix.socket"))
            client = Client(f"{directory}/unix.socket")
        else:
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            client = Client(url, cert=daemon.client_cert, server_cert=daemon.certificate)
        try:
            async with client:
                yield client
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Everything from one to the other, each piece after ``delay`` seconds, until there is no more."""
    clock = asyncio.get_running_loop().time
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)

    async def take() -> None:
        data = b"-"
        while data:
            data = await reader.read(_PIECE)
            await pieces.put((clock() + delay, data))

    taking = asyncio.ensure_future(take())
    try:
        while True:
            due, data = await pieces.get()
            await asyncio.sleep(due - clock())
            if not data:
                return
            writer.write(data)
            await writer.drain()
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
