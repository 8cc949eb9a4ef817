"""Answers, in the forms in which the transport hands them up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..exceptions import IncusError
from .errors import Explaining

if TYPE_CHECKING:
    from .connection import Connection

Headers = Mapping[str, str]


class Response(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


class Stream:
    """An answer whose body is still to be read."""

    def __init__(self, status: int, headers: Headers, connection: Connection, explaining: Explaining) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection
        self._explaining = explaining

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece; a body that ends early raises `IncusConnectionError`."""
        while True:
            with self._explaining:
                chunk = await self._connection.chunk()
            if not chunk:
                return
            yield chunk

    async def read(self) -> bytes:
        """The whole body."""
        with self._explaining:
            return await self._connection.read()


class UpgradeRefused(IncusError):
    """The server gave an ordinary answer to a websocket or an upgrade; `Scope` reads the reason from it."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"HTTP {response.status}")
        self.response = response
