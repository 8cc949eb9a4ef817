"""The files of an instance or a volume: paths, and the calls of the REST API for single files.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ...api import _file_verbs as _source
from .base import Resource

if TYPE_CHECKING:
    from ... import models
    from ...files._sftp import FileStat
    from ..files._paths import RemotePath


class FileVerbs(Resource):
    """Verbs of an object that has files: `path` does everything, the others are single calls of the REST API."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.FileVerbs: ...

    def path(self, path: str, *, user: int | str | None = None) -> RemotePath:
        """A path inside, with the verbs of ``pathlib``: see `RemotePath`. Makes no request.

        Args:
            path: An absolute path.
            user: A name or an id that the instance knows: what is made at the path and those derived from it, and all
                that is pushed, belongs to that user and the user's group. Links do not. Access is root's all the same.

        Raises:
            IncusInputError: It is not an absolute path, or this is a volume, which has no users. When something is
                made: the instance does not know the user.
        """
        result: RemotePath = self._wrap(self._async.path(path, user=user))
        return result

    def sftp(self) -> AbstractContextManager[RemotePath]:
        """The root directory, with one connection for all paths below it, opened by ``with``.

            with instance.sftp() as root:
                for name in names:
                    (root / "srv" / name).write_text("x")

        API:
            ``GET`` of ``sftp`` below its path, upgraded to ``sftp``
        """
        result: AbstractContextManager[RemotePath] = self._wrap(self._async.sftp())
        return result

    def get_files(self, path: str) -> bytes:
        """Read a file, or a directory as a tar.

        Args:
            path: An absolute path; symbolic links are followed.

        Returns:
            The content of the file; for a directory, a tar that holds it under its own name. Sockets and devices are
                left out of it.

        Raises:
            IncusNotFoundError: There is no such file.
            IncusInputError: It is not a path, or leads through too many symbolic links.
            IncusTimeoutError: It is a named pipe to which nobody writes: `RemotePath.read_bytes` refuses these.

        API:
            ``GET`` of ``files`` below its path, and of ``sftp`` for a tar
        """
        return self._portal.run(self._async.get_files(path))

    def put_files(
        self,
        path: str,
        content: bytes,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        append: bool = False,
    ) -> models.Envelope:
        """Write a file. A file that exists keeps its mode and owner.

        Args:
            path: An absolute path, whose directory exists.
            content: What is written.
            mode: The permissions of a new file; None for 0644.
            uid: The user id of a new file; None for root.
            gid: The group id of a new file; None for root.
            append: Write to the end of the file, which must exist, instead of replacing its content.

        Returns:
            The answer of the server.

        Raises:
            IncusInputError: ``content`` is not bytes, ``path`` is not a path, or ``mode`` or an id is invalid.
            IncusNotFoundError: There is no such directory or, with ``append``, no such file.
            IncusAPIError: It cannot be written; it is a directory, for example.

        API:
            ``POST`` of ``files`` below its path
        """
        return self._portal.run(self._async.put_files(path, content, mode=mode, uid=uid, gid=gid, append=append))

    def stat_files(self, path: str) -> FileStat:
        """Read the type, mode, owner, size and time of a file; `RemotePath.stat` is more precise.

        Args:
            path: An absolute path; a symbolic link is not followed.

        Returns:
            What the server says of it. All but directories and symbolic links have the type ``file``, the mode lacks
                the set-id bits, and the size is 0 for all but files.

        Raises:
            IncusNotFoundError: There is no such file.
            IncusInputError: It is not a path.
            IncusConnectionError: The answer is not one of Incus.

        API:
            ``HEAD`` of ``files`` below its path
        """
        return self._portal.run(self._async.stat_files(path))

    def delete_files(self, path: str, *, force: bool = False) -> None:
        """Delete a file, a symbolic link or an empty directory.

        Args:
            path: An absolute path.
            force: Delete a directory with everything in it; `RemotePath.rmtree` does this on all servers.

        Raises:
            IncusNotFoundError: There is no such file.
            IncusInputError: It is not a path.
            IncusAPIError: It is a directory that is not empty, and ``force`` is not set.
            IncusUnsupportedError: The server lacks the API extension for ``force``.

        API:
            ``DELETE`` of ``files`` below its path. ``force``: extension ``file_delete_force``.
        """
        self._portal.run(self._async.delete_files(path, force=force))
