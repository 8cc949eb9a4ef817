"""A daemon behind a link that breaks: `breakable` puts a proxy before it, whose connections can be cut or silenced."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Literal

from incus_sdk import Client
from incus_sdk.testing import Daemon

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


@contextlib.asynccontextmanager
async def breakable(daemon: Daemon, kind: Literal["unix", "https"]) -> AsyncGenerator[tuple[Client, Link]]:
    """A connected client of the daemon, and its link."""
    link, tasks = Link(), set[asyncio.Task[None]]()

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if kind == "unix":
            return await asyncio.open_unix_connection(daemon.socket)
        host, _, port = daemon.url.removeprefix("https://").rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        link.connections.append(writer)
        with contextlib.suppress(OSError), contextlib.closing(writer):
            # Not before there is something to say: a silent connection keeps the daemon from all others.
            first = await reader.read(_PIECE)
            there, back = await connect()
            with contextlib.closing(back):
                back.write(first)
                ways = [asyncio.ensure_future(link.carry(*way)) for way in ((reader, back), (there, writer))]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)

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
                yield client, link
        finally:
            server.close()
            link.open.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
