"""Log files of an instance, and what its commands wrote where that was recorded."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from .._connection import wire
from .._connection.scope import Scope
from ..exceptions import IncusNotFoundError


class LogsAPI:
    """``instance.logs``: the log files that the server keeps of it, by name, as ``lxc.log``."""

    segments: ClassVar[tuple[str, ...]] = ("logs",)

    def __init__(self, scope: Scope, *instance: str) -> None:
        self._scope = scope
        self._path = (*instance, *self.segments)

    async def list(self) -> builtins.list[str]:
        """Their names. ``GET`` of the path."""
        answer = await self._scope.request("GET", wire.path(*self._path))
        return [wire.names(url)[-1] for url in answer.metadata or ()]

    async def get(self, name: str) -> str:
        """The text of one, what is no UTF-8 as U+FFFD. Raises `IncusNotFoundError`. ``GET`` of its path."""
        async with self.open(name) as pieces:
            return b"".join([piece async for piece in pieces]).decode(errors="replace")

    @asynccontextmanager
    async def open(self, name: str) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The bytes of one, piece by piece, for the time of ``async with``. ``GET`` of its path.

        async with instance.logs.open("lxc.log") as pieces:
            async for piece in pieces:
                ...
        """
        async with self._scope.download("GET", wire.path(*self._path, name)) as stream:
            yield stream.chunks()

    async def delete(self, name: str) -> None:
        """Delete one; of logs, the server deletes only those of no use to itself. ``DELETE`` of its path."""
        await self._scope.request("DELETE", wire.path(*self._path, name))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {wire.path(*self._path)}>"


class ExecOutputAPI(LogsAPI):
    """``instance.exec_output``: what commands wrote that `Instance.execute` recorded and did not wait for.

    The names are in the operation's ``metadata["output"]``.
    """

    segments = ("logs", "exec-output")

    async def list(self) -> builtins.list[str]:
        """Their names. ``GET /1.0/instances/{name}/logs/exec-output``."""
        try:
            return await super().list()
        except IncusNotFoundError:
            # Before the first one there is no directory for them.
            await self._scope.request("GET", wire.path(*self._path[:-2]))
            return []
