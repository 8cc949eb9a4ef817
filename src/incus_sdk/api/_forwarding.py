"""Connections of this machine's programs, handed on: a local listener, and a stream for each connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

from .._concurrency import cancel_at_end, end
from ..exceptions import IncusError, IncusInputError

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_HOST = "127.0.0.1"
_PIECE = 2**16
_LINGER = 1.0  # seconds without a byte after one side has ended, where that cannot be handed on, as over TLS


class LocalAddress(NamedTuple):
    """Where a local listener is; as a text, ``127.0.0.1:8080``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@asynccontextmanager
async def local_listener(
    connect: Callable[[], AbstractAsyncContextManager[Streams]], local_port: int = 0
) -> AsyncGenerator[LocalAddress]:
    """Listen on a port of 127.0.0.1 for the time of ``async with``, and connect each connection to a stream.

        disk = client.storage_pools["default"].volumes["custom/disk"]
        async with local_listener(disk.nbd) as address:
            print(f"nbd://{address}")

    One that cannot be connected is reset; the others go on.

    Args:
        connect: Opens a stream, for each connection: ``volume.nbd``, for example.
        local_port: The port; 0 for a free one.

    Yields:
        The host and the port. All connections end with the block.

    Raises:
        IncusInputError: It is not a port, or is taken.
    """
    if isinstance(local_port, bool) or not isinstance(local_port, int) or not 0 <= local_port < 2**16:
        raise IncusInputError(f"local_port must be a port, or 0 for a free one, not {local_port!r}")
    connections: set[asyncio.Task[None]] = set()
    closed = False

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if closed:  # it was accepted just before
            writer.transport.abort()
            return
        connection = asyncio.ensure_future(_serve(connect, reader, writer))
        connections.add(connection)
        connection.add_done_callback(connections.discard)

    try:
        server = await asyncio.start_server(accept, _HOST, local_port)
    except OSError as error:
        raise IncusInputError(f"cannot listen on port {local_port} of {_HOST}: {error.strerror or error}") from None
    try:
        yield LocalAddress(*server.sockets[0].getsockname())
    finally:
        closed = True
        server.close()
        await end(list(connections))


async def _serve(
    connect: Callable[[], AbstractAsyncContextManager[Streams]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Carry the bytes of one connection both ways, until both sides have ended or one breaks."""
    try:
        async with connect() as (far_reader, far_writer):
            there, back = _Way(reader, far_writer), _Way(far_reader, writer)
            patience = None if far_writer.can_write_eof() else _LINGER
            ways = [asyncio.ensure_future(way.carry()) for way in (there, back)]
            async with cancel_at_end(ways):
                done, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                carried = -1
                while left and not any(way.exception() for way in done) and carried != there.carried + back.carried:
                    carried = there.carried + back.carried
                    done, left = await asyncio.wait(left, timeout=patience)
                for way in ways:
                    if way.done():
                        way.result()
        writer.close()
        await writer.wait_closed()
    except (IncusError, OSError):
        pass  # the reset tells
    finally:
        writer.transport.abort()


class _Way:
    """One way of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.carried = 0

    async def carry(self) -> None:
        """Carry what comes, and its end."""
        while piece := await self._reader.read(_PIECE):
            self._writer.write(piece)
            self.carried += len(piece)
            await self._writer.drain()
        if self._writer.can_write_eof():
            self._writer.write_eof()
