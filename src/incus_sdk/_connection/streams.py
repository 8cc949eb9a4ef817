"""Raw byte streams in both directions, in asyncio's own form, which end with the client that opened them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

from ..exceptions import IncusClosedError
from .errors import CLOSED


class StreamClosedError(IncusClosedError, ConnectionAbortedError):
    """The client was closed; to those who read and write streams, an error of the connection."""


class ByteStream(asyncio.StreamReaderProtocol, asyncio.BufferedProtocol):
    """What feeds a reader.

    Args:
        buffer: See `Link`.
        reader: That reader.
        forget: Called when the connection is gone.
    """

    transport: asyncio.Transport

    def __init__(self, buffer: memoryview, reader: asyncio.StreamReader, forget: Callable[[ByteStream], None]) -> None:
        super().__init__(reader, loop=asyncio.get_running_loop())
        self._buffer = buffer
        self._fed = weakref.ref(reader)  # a stream that nobody reads any longer is closed
        self._forget = forget

    def end(self, error: Exception) -> None:
        """Close it at once; whoever reads or writes gets an error."""
        if (reader := self._fed()) is not None:
            reader.set_exception(StreamClosedError(CLOSED))
        self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        """Called by the event loop."""
        self.transport = transport
        super().connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the event loop."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the event loop."""
        self.data_received(self._buffer[:nbytes])  # type: ignore[arg-type]  # the reader copies it

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        self._forget(self)
