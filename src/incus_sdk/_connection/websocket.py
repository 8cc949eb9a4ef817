"""An open websocket: whole messages in both directions."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from . import limits
from .errors import Closed, Foreign, Lost, Oversized
from .link import Alarm, Link

_MESSAGE_COST = 64  # bytes that a message takes beside what is in it


class WebSocket(Link):
    """An open websocket: whole messages in both directions, ``str`` for text and ``bytes`` for binary.

    With ``pong``, it answers pings; the daemon needs that for events alone. After a short command it closes the
    connection at once: a pong would fail then, and its error would drop what was not read yet.

    Args:
        buffer: See `Link`.
        forget: Called when it is gone.
        explaining: Makes the context manager that explains errors.
        pong: Whether to answer pings.
    """

    def __init__(
        self,
        buffer: memoryview,
        forget: Callable[[Link], None],
        explaining: Callable[[str], contextlib.AbstractContextManager[None]],
        pong: bool,
    ) -> None:
        from .frames import Frames

        super().__init__(buffer, forget)
        self._explaining = explaining
        self._pong = pong
        self._frames = Frames()
        self._messages: deque[bytes | str] = deque()
        self._size = 0
        self._take: Callable[[Any], object] | None = None  # what gets messages as they come
        self._kind: type = object  # of messages that it gets
        self._failure: Exception | None = None  # of it
        self._held = False
        self._paused = False
        self._over = False  # no more messages come
        self._gone = asyncio.Event()
        self._idle: float | None = None
        self._alarm = Alarm(self._loop, self._on_alarm)
        self.answered = asyncio.Event()
        """Set once the other side has read all that was sent before the last ping."""

    @property
    def ended_by_peer(self) -> bool | None:
        """Whether the other side itself ended it, rather than that it broke; None where that cannot be told.

        The end of a unix socket looks the same either way; TLS tells, unless the connection was `reset`.
        """
        if self._frames.closed_by_peer:
            return True
        ended: bool | None = getattr(self.transport.get_extra_info("ssl_object"), "ended_by_peer", None)
        return ended

    @property
    def reset(self) -> bool:
        """Whether the system gave it up, as it does when the other side closes it without having read all."""
        return isinstance(self.error, Lost) and isinstance(self.error.cause, ConnectionError)

    async def receive(self, idle: float | None = None) -> bytes | str | None:
        """The next message; None once it is closed, or after ``idle`` seconds without anything, pings included."""
        if not self._messages:
            await self._wait_for_message(idle)
        return self._next()

    async def hand_on(
        self, take: Callable[[Any], object], kind: type = object, idle: float | None = None
    ) -> bytes | str | None:
        """Call ``take`` with each message of a kind, as it comes: no task has to wake up for it.

        Args:
            take: Called in the event loop; an error of it is raised here. See `pause_reading`.
            kind: ``bytes``, ``str``, or ``object`` for both.
            idle: See `receive`.

        Returns:
            The first message of another kind, or None as `receive`.
        """
        while self._messages and isinstance(self._messages[0], kind):
            take(self._next())
        if not self._messages:
            self._take, self._kind = take, kind
            try:
                await self._wait_for_message(idle)
            finally:
                self._take = None
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
        return self._next()

    def pause_reading(self) -> None:
        """Let the other side wait, but for what came already."""
        self._held = True
        self._regulate()

    def resume_reading(self) -> None:
        """Let the other side go on."""
        self._held = False
        self._regulate()

    @property
    def held(self) -> bool:
        """Whether `pause_reading` holds it up."""
        return self._held

    def ping(self) -> None:
        """Ask the other side whether it has read everything so far; see `answered`."""
        self.answered.clear()
        if self._frames.open and self.error is None:
            self._frames.send_ping()
            self.transport.write(self._frames.unsent())

    async def wait_until_heard(self, seconds: float) -> None:
        """Return once the other side answers a ping or says something, is gone, or lets that time pass."""
        self.ping()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (self.answered.is_set() or self._messages or self._over) and self.error is None:
                    await self._wait()

    async def send(self, data: bytes | memoryview | str) -> None:
        """Send one message, waiting while the other side does not read; raise `IncusConnectionError` once closed."""
        with self._explaining("websocket"):
            if self.error is not None:
                raise self.error
            if not self._frames.open or self.transport.is_closing():
                raise Lost(None)
            self._frames.send(data)
            self.transport.write(self._frames.unsent())
            await self.drain()

    async def close(self) -> None:
        """Close it; harmless when it is closed already."""
        if self._gone.is_set():
            return
        try:
            if self._frames.open:
                self._frames.send_close()
                self.transport.write(self._frames.unsent())
            self._over = True
            self._messages.clear()
            self._size, self._held = 0, False
            self._regulate()
            self._wake()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.CLOSE_SECONDS):
                    await self._gone.wait()
        finally:
            self.end(Lost(None))

    def abort(self) -> None:
        """Close it at once, without a word."""
        self.end(Lost(None))

    def end(self, error: Exception) -> None:
        """Close it at once; whoever waits for it gets the error."""
        if isinstance(error, Closed):
            self._messages.clear()
        super().end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._alarm.stop()
        self._gone.set()
        super().connection_lost(exc)

    def data_received(self, data: memoryview | bytes) -> None:
        """Take what came."""
        if self._idle is not None:
            self._alarm.set(self._idle)
        try:
            for message in self._frames.receive(data):
                if self._take is not None and not self._messages and isinstance(message, self._kind):
                    self._hand_on(message)
                elif not self._over:
                    self._messages.append(message)
                    self._size += len(message) + _MESSAGE_COST
        except (Foreign, Oversized) as error:
            self.error = self.error or error
        if self._frames.answered and not self.answered.is_set():
            self.answered.set()
            self._wake()
        answer = self._frames.unsent()
        if answer and (self._pong or not self._frames.open) and not self._full:
            self.transport.write(answer)
        if self.error is not None or self._frames.closed_by_peer:
            self._over = True
            self.transport.close()
        elif self._size:
            self._regulate()
        if self._messages or self._over:
            self._wake()

    def _hand_on(self, message: bytes | str) -> None:
        assert self._take is not None
        try:
            self._take(message)
        except Exception as error:
            self._take, self._failure = None, error
            self._wake()

    def _next(self) -> bytes | str | None:
        """The next message, if there is one; else why there is none, if that is an error."""
        if not self._messages:
            if isinstance(self.error, Closed | Oversized):
                with self._explaining("websocket"):
                    raise self.error
            return None
        message = self._messages.popleft()
        self._size -= len(message) + _MESSAGE_COST
        if self._paused:
            self._regulate()
        return message

    async def _wait_for_message(self, idle: float | None) -> None:
        self._idle = idle
        if idle is not None:
            self._alarm.set(idle)
        try:
            while not (self._messages or self._over or self._failure) and self.error is None:
                await self._wait()
                if idle is not None and self._idle is None:
                    return
        finally:
            self._idle = None
            self._alarm.clear()

    def _on_alarm(self) -> None:
        if self._held and self._idle is not None:
            self._alarm.set(self._idle)  # nothing can come
        else:
            self._idle = None
            self._wake()

    def _regulate(self) -> None:
        """Let the other side wait while there is too much that nobody takes."""
        pause = self._held or self._size > (limits.READ_AHEAD // 2 if self._paused else limits.READ_AHEAD)
        if pause != self._paused:
            self._paused = pause
            if pause:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()
