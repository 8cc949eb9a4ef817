"""A connection as seen from one project and one cluster member: every request of the SDK goes through it.

It adds project and target to the query, encodes bodies, turns answers into values or exceptions, and knows which API
extensions the server has. Scopes are cheap views: all those of one client share its connections.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Protocol
from weakref import WeakValueDictionary

from ..exceptions import (
    IncusAPIError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusPermissionError,
    IncusUnsupportedError,
)
from . import wire
from .transport import Body, Headers, Response, Stream, Transport, UpgradeRefused, WebSocket

_Locks = WeakValueDictionary[tuple[Any, ...], asyncio.Lock]


class Scope:
    """A transport, with the project and the cluster member of its requests; None leaves them to the server."""

    def __init__(
        self,
        transport: Transport,
        project: str | None = None,
        target: str | None = None,
        seen_from: Scope | None = None,
    ) -> None:
        self.transport = transport
        self.project = project
        self.target = target
        # Shared by all views: GET /1.0, and the locks of what is being written.
        self._server: dict[str, Any] = {} if seen_from is None else seen_from._server
        self._locks: _Locks = WeakValueDictionary() if seen_from is None else seen_from._locks

    def view(self, *, project: str | None = None, target: str | None = None) -> Scope:
        """The same connection seen from another project or member."""
        for name, value in (("project", project), ("target", target)):
            if value is not None and (not isinstance(value, str) or not value):
                raise IncusInputError(f"{name} must be a name, not {value!r}")
        return Scope(self.transport, project or self.project, target or self.target, self)

    def write_lock(self, path: tuple[str, ...]) -> asyncio.Lock:
        """The lock under which this client reads an object and writes it back; gone when no task holds or awaits it.

        Servers compare the ETag first and write a moment later, so tasks of one client take turns.
        """
        return self._locks.setdefault((asyncio.get_running_loop(), self.project or "default", *path), asyncio.Lock())

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: wire.Query | None = None,
        body: Any = None,
        headers: Headers | None = None,
        wait: bool | float = False,
    ) -> wire.Answer:
        """Send a request; ``body`` is bytes, an async iterable of bytes, or anything else as JSON.

        ``wait``: see `Transport.request`. Raises `IncusAPIError` and its subclasses, `IncusConnectionError`,
        and `IncusTimeoutError`.
        """
        target = self._target(path, query)
        data, headers = _encode_body(body, headers)
        response = await self.transport.request(method, target, body=data, headers=headers, wait=wait)
        try:
            return self._decode(method, path, response)
        except IncusAPIError as error:
            error._append(wire.missing_facts(str(error.response.get("error")), body))
            raise error.with_traceback(None) from None  # where the answer was read says nothing

    @contextlib.asynccontextmanager
    async def download(
        self,
        method: str,
        path: str,
        *,
        query: wire.Query | None = None,
        body: Any = None,
        headers: Headers | None = None,
    ) -> AsyncGenerator[Stream]:
        """Send a request whose answer is read piece by piece; raises an error answer before the first piece."""
        data, headers = _encode_body(body, headers)
        async with self.transport.stream(method, self._target(path, query), body=data, headers=headers) as stream:
            if not 200 <= stream.status < 300:
                self._decode(method, path, Response(stream.status, stream.headers, await stream.read()))
            yield stream

    async def websocket(self, path: str, query: wire.Query | None = None, *, pong: bool = True) -> WebSocket:
        """Open a websocket; raises the same as `request`. ``pong``: see `WebSocket`."""
        try:
            return await self.transport.websocket(self._target(path, query), pong=pong)
        except UpgradeRefused as refused:
            raise self._refusal("websocket", path, refused) from None

    async def upgrade(
        self, method: str, path: str, protocol: str, *, query: wire.Query | None = None, body: Any = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a raw byte stream by an upgrade to ``protocol``; raises the same as `request`."""
        data, headers = _encode_body(body, None)
        if not isinstance(data, bytes | None):
            raise IncusInputError("the body of an upgrade cannot be streamed")
        try:
            return await self.transport.upgrade(
                method, self._target(path, query), protocol, body=data or b"", headers=headers
            )
        except UpgradeRefused as refused:
            raise self._refusal(method, path, refused) from None

    async def server(self, *, fresh: bool = False) -> dict[str, Any]:
        """``GET /1.0``, which is sent once for all views of this connection, or again with ``fresh``."""
        if fresh or not self._server:
            answer = await self.request("GET", wire.path())
            if not isinstance(answer.metadata, dict):
                raise IncusConnectionError("GET /1.0: this is not an Incus server: it does not describe itself")
            self._server.clear()
            self._server.update(answer.object)
        return self._server

    async def require_project(self) -> None:
        """Raise `IncusNotFoundError` if the project of this view does not exist."""
        if self.project:
            with contextlib.suppress(IncusPermissionError):
                await self.request("GET", wire.path("projects", self.project))

    async def require(self, extension: str, purpose: str) -> None:
        """Raise `IncusUnsupportedError` unless the server has the API extension that ``purpose`` needs."""
        server = await self.server()
        if extension not in (server.get("api_extensions") or ()):
            version = (server.get("environment") or {}).get("server_version", "of unknown version")
            raise IncusUnsupportedError(
                f"{purpose} needs the API extension {extension}, which this server ({version}) does not have",
                extension=extension,
            )

    def _target(self, path: str, query: wire.Query | None) -> str:
        query = query or {}
        scoped: dict[str, str | int | bool | None] = {"target": self.target, **query}
        if "project" not in query and not query.get("all-projects"):
            scoped["project"] = self.project
        return wire.target(path, scoped)

    def _redacted(self, method: str, path: str) -> str:
        """The request for messages, without its query, which can hold a secret."""
        return f"{method} {path.partition('?')[0]}" + (f" (project {self.project})" if self.project else "")

    def _decode(self, method: str, path: str, answer: Response) -> wire.Answer:
        try:
            return wire.decode(answer.status, answer.headers, answer.body, self._redacted(method, path))
        except IncusPermissionError as error:
            known = self._server.get("auth")
            if known != "untrusted" and (known or "not authorized" not in str(error)):
                raise
            raise IncusPermissionError(
                f"{error}: {'the' if known else 'perhaps the'} server does not trust this client; give a certificate "
                "that it trusts as cert=, or join it with a token: Client.join",
                status_code=error.status_code,
                response=error.response,
            ) from None

    def _refusal(self, method: str, path: str, refused: UpgradeRefused) -> IncusError:
        try:
            self._decode(method, path, refused.response)
        except IncusError as error:
            return error
        return IncusConnectionError(
            f"{self._redacted(method, path)}: the server answered {refused.response.status} instead of upgrading"
        )


class Scoped(Protocol):
    """A client."""

    _scope: Scope

    def use_project(self, project: str) -> Any:
        """A view for another project."""
        ...


def scope_of(to: Scoped) -> Scope:
    """The scope of a client; raises `IncusInputError` for anything else."""
    if not hasattr(to, "use_project"):  # groups have a scope too
        raise IncusInputError(f"to must be a client, not {type(to).__name__}")
    return to._scope


def _encode_body(body: Any, headers: Headers | None) -> tuple[Body, Headers | None]:
    if body is None or isinstance(body, bytes) or hasattr(body, "__aiter__"):
        return body, headers
    if isinstance(body, bytearray | memoryview):
        return bytes(body), headers
    return wire.encode(body), {"Content-Type": "application/json", **(headers or {})}
