"""The server's events as a typed stream, which reconnects and reports what it lost."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from . import models
from ._concurrency import Attempts
from ._connection import wire
from ._connection.scope import Scope
from ._connection.transport import WebSocket
from .exceptions import IncusAPIError, IncusCertificateError, IncusClosedError, IncusConnectionError, IncusInputError
from .models.base import Json, Record

_TYPES = ("lifecycle", "logging", "network-acl", "operation")

_RETRIES = logging.getLogger("incus_sdk.retries")
_IDLE = 30.0  # seconds; the server pings every 10
_LISTENING = 5.0  # seconds for a server to hear a stream; whoever is slower may send events all the same
_QUEUE = 1000  # events after which a slow reader lets the server wait, until it drops the connection


class Requestor(Record):
    """Who caused an event."""

    username: str
    protocol: str
    """``unix``, ``tls``, ``oidc`` or ``cluster``."""
    address: str
    """IP address and port; ``@`` over the unix socket."""


class Lifecycle(Record):
    """What happened to which object."""

    action: str
    """Such as ``instance-started``; see Incus' list of lifecycle events."""
    source: str
    """The object's path in the API, with its project."""
    context: dict[str, Any]
    """Details that depend on the action."""
    requestor: Requestor
    name: str
    project: str


class LogEntry(Record):
    """A line of the daemon's log."""

    message: str
    level: str
    context: dict[str, str]


class LifecycleEvent(models.Event):
    """Something happened to an object."""

    metadata: Lifecycle


class OperationEvent(models.Event):
    """An operation began, progressed or ended."""

    metadata: models.Operation


class LoggingEvent(models.Event):
    """The daemon, or for ``network-acl`` a network's ACL, logged a line."""

    metadata: LogEntry


@dataclass(frozen=True)
class Gap:
    """The stream was broken here and has reconnected: events are missing, so read again what you follow."""

    reason: str
    """Why it was broken."""


_CLASSES: dict[Any, type[models.Event]] = {
    "lifecycle": LifecycleEvent,
    "operation": OperationEvent,
    "logging": LoggingEvent,
    "network-acl": LoggingEvent,
}


class EventStream:
    """The server's events, as an async context manager and iterator.

        async with client.events.listen(types=["lifecycle"]) as events:
            async for event in events: ...

    Nothing is missed that happens inside the ``async with``. When the connection breaks, the stream reconnects, for as
    long as that takes, and then yields a `Gap`.

    Args:
        scope: The connection.
        types: Any of ``lifecycle``, ``logging``, ``network-acl`` and ``operation``; None for all that the client can
            see.
        all_projects: Events of all projects, instead of the connection's.

    Raises:
        IncusInputError: There is no such type.

    API:
        ``GET /1.0/events``
    """

    def __init__(self, scope: Scope, types: Iterable[str] | None = None, all_projects: bool = False) -> None:
        chosen = None if types is None else wire.texts(types, "types")
        if chosen == [] or any(type not in _TYPES for type in chosen or ()):
            raise IncusInputError(f"unknown event types: {chosen}; the types are {', '.join(_TYPES)}")
        self._scope = scope
        self._query = {"type": ",".join(chosen) if chosen else None, "all-projects": all_projects or None}
        self._queue: asyncio.Queue[models.Event | Gap | Exception | None] = asyncio.Queue()
        self._socket: WebSocket | None = None
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._pump is not None:
            raise IncusInputError("an event stream is used once; call listen() again")
        self._socket = await self._connect()
        self._pump = asyncio.create_task(self._receive(self._socket), name="incus-sdk events")
        self._pump.add_done_callback(self._wake_reader)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pump is not None and self._socket is not None:
            self._pump.cancel()
            try:
                await asyncio.wait([self._pump])
            finally:
                await self._socket.close()  # a task that is cancelled before it began does not

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> models.Event | Gap:
        """Wait for the next event; raises the error of a reconnection that cannot be: refused, or to another server."""
        if self._pump is None:
            raise IncusInputError("the event stream is not open: enter it as a context manager")
        if self._pump.done() and self._queue.empty():
            raise StopAsyncIteration
        item = await self._queue.get()
        if self._socket is not None and self._socket.held and self._queue.qsize() <= _QUEUE // 2:
            self._socket.resume_reading()
        if item is None:
            self._queue.put_nowait(None)
            raise StopAsyncIteration
        if isinstance(item, Exception):
            raise item
        return item

    async def _connect(self) -> WebSocket:
        """Open the connection, and wait until events come on it: a server answers pings only from then on."""
        socket = await self._scope.websocket(wire.path("events"), self._query)
        try:
            await socket.wait_until_heard(_LISTENING)
        except BaseException:
            socket.abort()
            raise
        return socket

    async def _receive(self, socket: WebSocket) -> None:
        """Queue events and gaps until the server refuses a reconnection."""
        try:
            while True:
                reason = await self._receive_from(socket)
                _RETRIES.warning("the stream of events broke, and some may be missed: %s", reason)
                self._socket = socket = await self._reconnect()
                _RETRIES.info("the stream of events is open again")
                self._queue.put_nowait(Gap(reason))
        except Exception as error:
            self._queue.put_nowait(error)  # raised where the stream is read

    def _wake_reader(self, _: object) -> None:
        """End the iteration of whoever still waits for an event."""
        self._queue.put_nowait(None)

    async def _receive_from(self, socket: WebSocket) -> str:
        """Queue events until the connection ends; returns the reason."""

        def take(message: bytes | str) -> None:
            self._queue.put_nowait(_to_event(json.loads(message)))
            if self._queue.qsize() >= _QUEUE:
                socket.pause_reading()

        try:
            await socket.hand_on(take, idle=_IDLE)
        except (ValueError, RecursionError) as error:
            return f"the server sent an invalid event: {error}"
        finally:
            await socket.close()
        return "the connection was lost"

    async def _reconnect(self) -> WebSocket:
        of = "the stream of events cannot be opened"
        async for _ in Attempts(None, 0.1, longest=5.0, sleep=self._scope.transport.pause, of=of):
            try:
                return await self._connect()
            except (IncusCertificateError, IncusClosedError):
                raise
            except (IncusConnectionError, TimeoutError):
                pass
            except IncusAPIError as error:
                if error.status_code != 503:  # shutting down, or not ready yet
                    raise
        raise AssertionError("unreachable")


def _to_event(message: Any) -> models.Event:
    if not isinstance(message, dict):
        raise ValueError(f"an event must be an object, not {type(message).__name__}")
    raw: Json = message
    known = isinstance(raw.get("type"), str) and isinstance(raw.get("metadata"), dict)
    return (_CLASSES.get(raw["type"], models.Event) if known else models.Event)(raw)
