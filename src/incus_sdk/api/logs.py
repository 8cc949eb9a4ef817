"""The log files of an instance, and the recorded output of its commands."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from .._connection import wire
from ..exceptions import IncusNotFoundError
from ._deletion import delete_or_miss
from .base import AtPath, Group


class LogsAPI(Group):
    """``instance.logs``: the log files that the server keeps of an instance, by name: ``lxc.log``."""

    _path_part = "logs"

    async def list(self) -> builtins.list[str]:
        """List their names.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/logs``
        """
        answer = await self._request("GET")
        return [wire.names(url)[-1] for url in answer.strings]

    async def get(self, name: str) -> str:
        """Read one as text, in which bytes that are not UTF-8 become U+FFFD.

        Args:
            name: Its name.

        Raises:
            IncusNotFoundError: There is no such file.
            IncusAPIError: The name is not one that the server gives such files.

        API:
            ``GET`` of its path
        """
        async with self.open(name) as pieces:
            return b"".join([piece async for piece in pieces]).decode(errors="replace")

    @asynccontextmanager
    async def open(self, name: str) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The bytes of one, piece by piece, for the time of ``async with``.

            async with instance.logs.open("lxc.log") as pieces:
                async for piece in pieces:
                    ...

        Args:
            name: Its name.

        Yields:
            The pieces, as bytes.

        Raises:
            IncusNotFoundError: There is no such file.
            IncusAPIError: The name is not one that the server gives such files.
            IncusConnectionError: The file was cut off.

        API:
            ``GET`` of its path
        """
        async with self._download("GET", name) as stream:
            yield stream.chunks()

    async def delete(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete one.

        Args:
            name: Its name.
            missing_ok: Accept that there is no such file.

        Raises:
            IncusNotFoundError: There is no such file, and ``missing_ok`` is not set.
            IncusAPIError: The server does not delete it: it keeps ``lxc.log`` and ``qemu.log``.

        API:
            ``DELETE`` of its path
        """
        await delete_or_miss(self._request("DELETE", name), missing_ok)


class ExecOutputAPI(LogsAPI):
    """``instance.exec_output``: the output of commands that `Instance.execute` recorded and did not wait for.

    The operation's ``metadata["output"]`` has the URLs of its files.
    """

    _path_part = "exec-output"

    async def list(self) -> builtins.list[str]:
        """List the names of the files.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/logs/exec-output``
        """
        try:
            return await super().list()
        except IncusNotFoundError:
            # Until there is a first file, the server has no directory for them.
            await AtPath(self._scope, self._path[:-2])._request("GET")
            return []
