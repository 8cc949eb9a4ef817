"""The connections of one client in one event loop: opened, kept, used again, and ended together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from . import limits
from .connection import Connection
from .dialing import dial
from .endpoint import Endpoint
from .errors import Closed, Lost
from .streams import ByteStream
from .turns import Turns
from .websocket import WebSocket

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")


class Open(Protocol):
    """Something that `Pool.close` ends."""

    def end(self, error: Exception) -> None:
        """Close it at once; whoever waits for it gets the error."""
        ...


Successor = WebSocket | ByteStream


class Pool:
    """What is open, from the first request of a client until it is closed.

    Args:
        endpoint: The server.
        tls: Makes the TLS settings; for HTTPS.
        seconds: That opening a connection may take; None for any time.
    """

    def __init__(self, endpoint: Endpoint, tls: Callable[[], ssl.SSLContext], seconds: float | None) -> None:
        self.endpoint = endpoint
        self.address_known = False
        """Whether `endpoint` is the one of several that answers."""
        self.address_lock = asyncio.Lock()
        self.buffer = memoryview(bytearray(limits.CHUNK))
        self.loop = asyncio.get_running_loop()
        self.closed = False
        self.turns = Turns(limits.REQUESTS)
        self.attaching = Turns(limits.ATTACHING)
        self._tls = tls
        self._seconds = seconds
        self._open: set[Open] = set()
        self._idle: list[Connection] = []
        self._waits: set[asyncio.Timeout] = set()

    @property
    def is_connected(self) -> bool:
        """Whether anything is open."""
        return bool(self._open)

    def take(self) -> Connection | None:
        """The connection that was used last, of those that are still open."""
        while self._idle:
            connection = self._idle.pop()
            if connection.quiet:
                return connection
            connection.end(Lost(None))
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, if there can be one on it; else close it."""
        if connection.reusable and not self.closed and len(self._idle) < limits.IDLE_CONNECTIONS:
            connection.rest()
            self._idle.append(connection)
        else:
            connection.end(Lost(None))

    async def connect(self, seconds: float | None = None, tls: ssl.SSLContext | None = None) -> Connection:
        """A new connection; both in place of the pool's own."""
        if self.closed:
            raise Closed
        connection = Connection(self.buffer, self.forget)
        dialled = dial(self.endpoint, self._tls if tls is None else lambda: tls, connection)
        try:
            await self.within(seconds or self._seconds, dialled)
        except BaseException:
            connection.end(Lost(None))  # it can be connected, and the time over, in the same moment
            raise
        self.add(connection)
        return connection

    def add(self, link: Open) -> None:
        """Let `close` end it too."""
        if self.closed:
            link.end(Closed())
            raise Closed
        self._open.add(link)

    def hand_over(self, connection: Connection, successor: Successor) -> None:
        """Let a connection that switched protocols go on as something else."""
        transport, leftover = connection.detach()
        self._open.discard(connection)
        self.add(successor)
        transport.set_protocol(successor)
        successor.connection_made(transport)
        transport.resume_reading()
        if leftover:
            successor.data_received(leftover)

    def forget(self, link: Open) -> None:
        """It is gone."""
        self._open.discard(link)
        if isinstance(link, Connection) and link in self._idle:
            self._idle.remove(link)

    async def within(self, seconds: float | None, work: Awaitable[T]) -> T:
        """Wait for it, but not longer than that, and not beyond `close`."""
        try:
            async with asyncio.timeout(seconds) as wait:
                self._waits.add(wait)
                try:
                    return await work
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            if self.closed:
                raise Closed from None
            raise

    async def pause(self, seconds: float) -> None:
        """Sleep; raise `Closed` as soon as the client is closed."""
        if self.closed:
            raise Closed
        with contextlib.suppress(TimeoutError):
            await self.within(seconds, self.loop.create_future())

    def close(self) -> None:
        """End everything at once, with a `Closed` for whoever waits."""
        self.closed = True
        self.turns.close()
        self.attaching.close()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(self.loop.time())
        for link in tuple(self._open):
            link.end(Closed())
