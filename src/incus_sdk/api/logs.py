"""Log files of an instance, and what its commands wrote where that was recorded."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from .._connection import wire
from ..exceptions import IncusNotFoundError
from .base import AtPath, Group


class LogsAPI(Group):
    """``instance.logs``: the log files that the server keeps of it, by name, as ``lxc.log``."""

    segment = "logs"

    async def list(self) -> builtins.list[str]:
        """Their names. ``GET`` of the path."""
        answer = await self._request("GET")
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
        async with self._download("GET", name) as stream:
            yield stream.chunks()

    async def delete(self, name: str) -> None:
        """Delete one; of logs, the server deletes only those of no use to itself. ``DELETE`` of its path."""
        await self._request("DELETE", name)


class ExecOutputAPI(LogsAPI):
    """``instance.exec_output``: what commands wrote that `Instance.execute` recorded and did not wait for.

    The names are in the operation's ``metadata["output"]``.
    """

    segment = "exec-output"

    async def list(self) -> builtins.list[str]:
        """Their names. ``GET /1.0/instances/{name}/logs/exec-output``."""
        try:
            return await super().list()
        except IncusNotFoundError:
            # Before the first one there is no directory for them.
            await AtPath(self._scope, self._path[:-2])._request("GET")
            return []
