"""The stream of events, for any number of listeners."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from .answers import Refused, encoded
from .requests import FakeRequest
from .streams import AnyAnswer, WebSocket, Websocket

_TYPES = ("lifecycle", "logging", "network-acl", "operation")
_FIRST = "0001-01-01T00:00:00Z"


def now() -> str:
    """The time, as the server writes it."""
    return stamp(time.time_ns())


def stamp(nanoseconds: int) -> str:
    """A time, as the server writes it."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


@dataclass(frozen=True, eq=False, slots=True)
class _Listener:
    socket: WebSocket
    types: frozenset[str]
    project: str | None


class Events:
    """``/1.0/events``."""

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()

    @property
    def has_listeners(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def listen(self, request: FakeRequest) -> AnyAnswer:
        """``GET``, which becomes a websocket."""
        types = [each for each in request.query.get("type", "").split(",") if each]
        for each in types:
            if each not in _TYPES:
                raise Refused(400, f'"{each}" isn\'t a supported event type')
        everything = request.query.get("all-projects") == "true"
        if everything and "project" in request.query:
            raise Refused(400, "Cannot specify a project when requesting all projects")

        async def serve(socket: WebSocket) -> None:
            listener = _Listener(socket, frozenset(types or _TYPES), None if everything else request.project)
            self._listeners.add(listener)
            try:
                while await socket.read() is not None:
                    pass
            finally:
                self._listeners.discard(listener)

        return Websocket(serve)

    def send(self, type: str, metadata: Any, project: str | None = None) -> None:
        """Send an event to those who listen; one without a project is for all."""
        if not self._listeners:
            return
        event = {"type": type, "timestamp": now(), "metadata": metadata, "location": "none"}
        text = encoded({**event, "project": project} if project else event).decode()
        for listener in list(self._listeners):
            if type in listener.types and (project is None or listener.project in (None, project)):
                listener.socket.send(text)

    def log_request(self, request: FakeRequest) -> None:
        """Send what a server logs of a request."""
        if self._listeners:
            who = requestor(request)
            context = {"ip": who["address"], "method": request.method, "protocol": who["protocol"]}
            context |= {"url": request.target, "username": who["username"]}
            self.send("logging", {"message": "Handling API request", "level": "debug", "context": context})

    def lifecycle(
        self,
        action: str,
        source: str,
        request: FakeRequest | None,
        project: str,
        *,
        name: str | None = None,
        context: dict[str, Any] | None = None,
    ) -> None:
        """Send what happened to an object."""
        if not self._listeners:
            return
        metadata: dict[str, Any] = {"action": action, "source": source}
        if context:
            metadata["context"] = context
        if request is not None:
            metadata["requestor"] = requestor(request)
        metadata |= {"name": name, "project": project} if name is not None else {}
        self.send("lifecycle", metadata, project)


def requestor(request: FakeRequest) -> dict[str, str]:
    """Who sent a request, as events name it."""
    if request._peer is None:
        return {"username": "root", "protocol": "unix", "address": "@"}
    return {"username": "", "protocol": "tls", "address": "127.0.0.1"}
