"""What HTTP and websockets have in common: a connection that can be full, lost, or ended, and a time that runs out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .errors import Lost


class Alarm:
    """Something that happens once a time has passed, which can be put off at no cost: it has one timer at most."""

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        self._loop = loop
        self._action = action
        self._due: float | None = None
        self._rings = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Let it happen after that time, not before."""
        self._due = self._loop.time() + seconds
        if self._timer is None or self._due < self._rings:
            self._start(self._due)

    def clear(self) -> None:
        """Let it not happen."""
        self._due = None

    def stop(self) -> None:
        """Clear it for good."""
        self._due = None
        if self._timer is not None:
            self._timer.cancel()

    def _start(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings, self._timer = due, self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self._due > self._rings:
            self._start(self._due)
        else:
            self._due = None
            self._action()


class Link(asyncio.BufferedProtocol):
    """A connection, of which one task reads and any number write.

    Args:
        buffer: Where what comes is put until `data_received` returns, for all connections of a client: a fresh one for
            each read, as event loops make it, costs a third of a small request.
        forget: Called when it is gone.
    """

    transport: asyncio.Transport

    def __init__(self, buffer: memoryview, forget: Callable[[Link], None]) -> None:
        self.buffer = buffer
        self.error: Exception | None = None
        """Why it cannot be used any longer."""
        self._loop = asyncio.get_running_loop()
        self._connected = False
        self._forget = forget
        self._full = False
        self._reader: asyncio.Future[None] | None = None
        self._writers: set[asyncio.Future[None]] = set()

    def end(self, error: Exception) -> None:
        """Close it at once; whoever waits for it gets the error."""
        if self.error is None:
            self.error = error
        if self._connected:
            self.transport.abort()
        self._wake_all()

    def data_received(self, data: memoryview | bytes) -> None:
        """Take what came."""
        raise NotImplementedError

    async def drain(self) -> None:
        """Wait while there is too much that was not sent yet; raise `error` if it never will be."""
        while self._full and self.error is None:
            writer = self._loop.create_future()
            self._writers.add(writer)
            try:
                await writer
            finally:
                self._writers.discard(writer)
        if self.error is not None:
            raise self.error

    def connection_made(self, transport: Any) -> None:
        """Called by the event loop."""
        self.transport, self._connected = transport, True

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        if self.error is None:
            self.error = Lost(exc)
        self._forget(self)
        self._wake_all()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the event loop."""
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the event loop."""
        self.data_received(self.buffer[:nbytes])

    def pause_writing(self) -> None:
        """Called by the event loop."""
        self._full = True

    def resume_writing(self) -> None:
        """Called by the event loop."""
        self._full = False
        self._wake_all()

    async def _wait(self) -> None:
        """Wait until `_wake`."""
        assert self._reader is None, "one task at a time reads"
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _wake_all(self) -> None:
        self._wake()
        for writer in self._writers:
            if not writer.done():
                writer.set_result(None)
