"""The log files of an instance, and the recorded output of its commands.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ...api import logs as _source
from .base import Group

if TYPE_CHECKING:
    import builtins


class LogsAPI(Group):
    """``instance.logs``: the log files that the server keeps of an instance, by name: ``lxc.log``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.LogsAPI: ...

    def list(self) -> builtins.list[str]:
        """List their names.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/logs``
        """
        return self._portal.run(self._async.list())

    def get(self, name: str) -> str:
        """Read one as text, in which bytes that are not UTF-8 become U+FFFD.

        Args:
            name: Its name.

        Raises:
            IncusNotFoundError: There is no such file.
            IncusAPIError: The name is not one that the server gives such files.

        API:
            ``GET`` of its path
        """
        return self._portal.run(self._async.get(name))

    def open(self, name: str) -> AbstractContextManager[Iterator[bytes]]:
        """The bytes of one, piece by piece, for the time of ``with``.

            with instance.logs.open("lxc.log") as pieces:
                for piece in pieces:
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
        return self._portal.enter(self._async.open(name), self._wrap)

    def delete(self, name: str, *, missing_ok: bool = False) -> None:
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
        self._portal.run(self._async.delete(name, missing_ok=missing_ok))


class ExecOutputAPI(LogsAPI):
    """``instance.exec_output``: the output of commands that `Instance.execute` recorded and did not wait for.

    The operation's ``metadata["output"]`` has the URLs of its files.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ExecOutputAPI: ...

    def list(self) -> builtins.list[str]:
        """List the names of the files.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/logs/exec-output``
        """
        return self._portal.run(self._async.list())
