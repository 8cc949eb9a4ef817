"""A daemon behind a link that breaks: `breakable` puts a proxy before it, whose connections can be cut or silenced."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator
from typing import Literal

from incus_sdk import Client
from incus_sdk.testing import Daemon
from tests.live.proxies import proxied

_PIECE = 64 * 1024


class Link:
    """The connections of a client, in the order in which they were opened."""

    def __init__(self) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self.open = asyncio.Event()
        """Cleared, nothing comes through any longer."""
        self.open.set()

    def cut(self, number: int, reset: bool = False) -> None:
        """Close a connection on both sides, by a reset or as if each side had closed it."""
        own = self.connections[number]
        if reset:
            linger = struct.pack("ii", 1, 0)
            own.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        own.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on everything in one direction."""
        while data := await reader.read(_PIECE):
            await self.open.wait()
            writer.write(data)
            await writer.drain()

    async def opened(self, writer: asyncio.StreamWriter) -> None:
        """Note a new connection."""
        self.connections.append(writer)


@contextlib.asynccontextmanager
async def breakable(daemon: Daemon, kind: Literal["unix", "https"]) -> AsyncGenerator[tuple[Client, Link]]:
    """A connected client of the daemon, and its link."""
    link = Link()
    async with proxied(daemon, kind, link.carry, link.opened) as client:
        try:
            yield client, link
        finally:
            link.open.set()
