"""A connection as seen from one project and one cluster member: what every request of the SDK goes through.

Adds project and target to the query, encodes bodies, turns answers into values or exceptions, and knows which API
extensions the server has. Scopes are cheap views: all that come from one client share its connections.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from ..exceptions import IncusConnectionError, IncusError, IncusInputError, IncusPermissionError, IncusUnsupportedError
from . import wire
from .transport import Body, Headers, Refused, Response, Stream, Transport, WebSocket

if TYPE_CHECKING:
    import asyncio


@dataclass(frozen=True)
class Scope:
    """One transport, with the project and the cluster member that requests are for; None leaves it to the server."""

    transport: Transport
    project: str | None = None
    target: str | None = None
    _server: dict[str, Any] = field(default_factory=dict, repr=False)  # GET /1.0, shared by all views

    def view(self, *, project: str | None = None, target: str | None = None) -> Scope:
        """The same connection seen from another project or member."""
        for name, value in (("project", project), ("target", target)):
            if value is not None and (not isinstance(value, str) or not value):
                raise IncusInputError(f"{name} must be a name, not {value!r}")
        return replace(self, project=project or self.project, target=target or self.target)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: wire.Query | None = None,
        body: Any = None,
        headers: Headers | None = None,
        wait: bool = False,
    ) -> wire.Answer:
        """One request. ``body``: bytes or an async iterable of bytes as they are, anything else as JSON.

        ``wait``: the answer may take as long as it takes. Raises `IncusAPIError` and its kin, `IncusConnectionError`,
        `IncusTimeoutError`.
        """
        target = self._target(path, query)
        data, headers = _body(body, headers)
        return self._decoded(
            method, path, await self.transport.request(method, target, body=data, headers=headers, wait=wait)
        )

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
        """An answer that is read piece by piece; an error answer is raised before the first piece. ``body``: as of
        `request`.
        """
        data, headers = _body(body, headers)
        async with self.transport.stream(method, self._target(path, query), body=data, headers=headers) as stream:
            if not 200 <= stream.status < 300:
                self._decoded(method, path, Response(stream.status, stream.headers, await stream.read()))
            yield stream

    async def websocket(self, path: str, query: wire.Query | None = None, *, pong: bool = True) -> WebSocket:
        """An open websocket; raises as `request` does. ``pong``: see `WebSocket`."""
        try:
            return await self.transport.websocket(self._target(path, query), pong=pong)
        except Refused as refused:
            raise self._refusal("websocket", path, refused) from None

    async def upgrade(
        self, method: str, path: str, protocol: str, *, query: wire.Query | None = None, body: Any = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw byte stream after an upgrade to ``protocol``; raises as `request` does."""
        data, headers = _body(body, None)
        if not isinstance(data, bytes | None):
            raise IncusInputError("the body of an upgrade cannot be streamed")
        try:
            return await self.transport.upgrade(
                method, self._target(path, query), protocol, body=data or b"", headers=headers
            )
        except Refused as refused:
            raise self._refusal(method, path, refused) from None

    async def server(self, *, fresh: bool = False) -> dict[str, Any]:
        """``GET /1.0``, asked once for all views of this connection."""
        if fresh or not self._server:
            answer = await self.request("GET", wire.path())
            if not isinstance(answer.metadata, dict):
                raise IncusConnectionError("GET /1.0: this is no Incus server: it does not say what it is")
            self._server.clear()
            self._server.update(answer.metadata)
        return self._server

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

    def _named(self, method: str, path: str) -> str:
        """The request as errors show it: without its query, which may hold a secret."""
        return f"{method} {path.partition('?')[0]}" + (f" (project {self.project})" if self.project else "")

    def _decoded(self, method: str, path: str, answer: Response) -> wire.Answer:
        try:
            return wire.decode(answer.status, answer.headers, answer.body, self._named(method, path))
        except IncusPermissionError as error:
            if self._server.get("auth") != "untrusted":
                raise
            raise IncusPermissionError(
                f"{error}: the server does not trust this client; give a certificate that it trusts as cert=, or have "
                "this one trusted by a token: Client.join",
                status_code=error.status_code,
                response=error.response,
            ) from None

    def _refusal(self, method: str, path: str, refused: Refused) -> IncusError:
        try:
            self._decoded(method, path, refused.response)
        except IncusError as error:
            return error
        return IncusConnectionError(
            f"{self._named(method, path)}: the server answered {refused.response.status} instead of upgrading"
        )


class Scoped(Protocol):
    """A client."""

    _scope: Scope

    def use_project(self, project: str) -> Any:
        """A view for another project."""
        ...


def scope_of(to: Scoped) -> Scope:
    """The scope of a client that a caller gave, or `IncusInputError`."""
    if not hasattr(to, "use_project"):  # groups have a scope too
        raise IncusInputError(f"to must be a client, not {type(to).__name__}")
    return to._scope


def _body(body: Any, headers: Headers | None) -> tuple[Body, Headers | None]:
    if body is None or isinstance(body, bytes) or hasattr(body, "__aiter__"):
        return body, headers
    if isinstance(body, bytearray | memoryview):
        return bytes(body), headers
    return wire.encode(body), {"Content-Type": "application/json", **(headers or {})}
