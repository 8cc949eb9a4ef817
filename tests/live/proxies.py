"""A proxy before a daemon, on a unix socket or on a port of this machine, which carries the bytes as a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from incus_sdk import Client
from incus_sdk.testing import Daemon

_PIECE = 64 * 1024


@dataclass
class Way:
    """One direction of a connection: from ``reader`` to ``writer``; ``back`` writes in the other one."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    back: asyncio.StreamWriter
    to_server: bool
    first: bytes = b""
    """What was read already."""

    async def read(self) -> bytes:
        """The next piece, empty at the end."""
        data, self.first = self.first, b""
        return data or await self.reader.read(_PIECE)

    async def write(self, data: bytes) -> None:
        """Hand on a piece."""
        self.writer.write(data)
        await self.writer.drain()


@contextlib.asynccontextmanager
async def proxied(
    daemon: Daemon,
    kind: Literal["unix", "https"],
    carry: Callable[[Way], Awaitable[None]],
    opened: Callable[[asyncio.StreamWriter], Awaitable[None]],
    timeout: float = 30,
) -> AsyncGenerator[Client]:
    """A connected client of the daemon.

    Args:
        daemon: The daemon.
        kind: The transport.
        carry: Carries the bytes of a connection in one direction, to their end.
        opened: Called with the client's side of a connection on which something came.
        timeout: The client's.
    """
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
        # asyncio's server of Python 3.11 logs a cancelled task as an error of its own.
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            # Not before there is something to say: the daemon waits for the first bytes of a unix connection, and lets
            # everybody else wait too.
            first = await reader.read(_PIECE)
            if not first:
                return
            await opened(writer)
            there, back = await connect()
            with contextlib.closing(back):
                both = Way(reader, back, writer, True, first), Way(there, writer, back, False)
                ways = [asyncio.ensure_future(carry(way)) for way in both]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)

    with tempfile.TemporaryDirectory(prefix="incus-sdk-") as directory:
        if kind == "unix":
            server = await asyncio.start_unix_server(serve, Path(directory, "unix.socket"))
            client = Client(f"{directory}/unix.socket", timeout=timeout)
        else:
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            client = Client(url, cert=daemon.client_cert, server_cert=daemon.certificate, timeout=timeout)
        try:
            async with client:
                yield client
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
