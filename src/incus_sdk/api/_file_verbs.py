"""The files of an instance or a volume: paths, and the calls of the REST API for single files."""

from __future__ import annotations

import io
import posixpath
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from .. import models
from .._connection import wire
from .._users import Account, Users
from ..exceptions import IncusConnectionError, IncusInputError, IncusNotFoundError
from .base import Resource

if TYPE_CHECKING:
    from ..files._paths import RemotePath
    from ..files._sftp import FileStat, FileType

_MAX_LINKS = 40  # symbolic links followed to a file, as many as the kernel follows


class FileVerbs(Resource):
    """Verbs of an object that has files: `path` does everything, the others are single calls of the REST API."""

    _FILES_EXTENSION: ClassVar[str | None] = None
    """The API extension that introduced these calls, where servers of 6.0 may lack it."""

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
        from ..files._paths import RemotePath

        if user is None:
            return RemotePath(self._scope, self._path, path)
        if self._path[0] != "instances":
            raise IncusInputError(f"a volume has no user {user!r}: give uid and gid to what makes something")
        return RemotePath(self._scope, self._path, path, account=Account(Users(self._scope, self._path), user))

    def sftp(self) -> AbstractAsyncContextManager[RemotePath]:
        """The root directory, with one connection for all paths below it, opened by ``async with``.

            async with instance.sftp() as root:
                for name in names:
                    await (root / "srv" / name).write_text("x")

        API:
            ``GET`` of ``sftp`` below its path, upgraded to ``sftp``
        """
        return self.path("/").connected()

    async def get_files(self, path: str) -> bytes:
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
        for _ in range(_MAX_LINKS):
            answer = await self._request_file("GET", path)
            match answer.headers.get("X-Incus-type"):
                case "symlink":
                    path = answer.content.decode(errors="surrogateescape")  # absolute, as the server resolved it
                case "directory":
                    return await self._tar(path)
                case _:
                    # Of a file that grows while it is read, as those of /proc, servers send as much as its size says.
                    return answer.content or await self.path(path).read_bytes()
        raise IncusInputError(f"{path}: more than {_MAX_LINKS} symbolic links follow each other")

    async def put_files(
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
        if not isinstance(content, bytes | bytearray | memoryview):
            raise IncusInputError(f"content must be bytes, not {type(content).__name__}")
        wire.permissions(mode)
        wire.ids(uid=uid, gid=gid)
        headers = {"X-Incus-type": "file", "X-Incus-write": "append" if append else "overwrite"}
        headers |= {} if mode is None else {"X-Incus-mode": f"{mode:04o}"}
        headers |= {f"X-Incus-{key}": str(id) for key, id in (("uid", uid), ("gid", gid)) if id is not None}
        answer = await self._request_file("POST", path, body=bytes(content), headers=headers)
        return models.Envelope(answer.body)

    async def stat_files(self, path: str) -> FileStat:
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
        from ..files._sftp import FileStat

        headers = (await self._request_file("HEAD", path)).headers
        try:
            changed = datetime.strptime(headers["X-Incus-modified"][:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            return FileStat(
                cast("FileType", headers["X-Incus-type"]),
                int(headers["X-Incus-mode"], 8),
                int(headers["X-Incus-uid"]),
                int(headers["X-Incus-gid"]),
                int(headers.get("Content-Length", 0)),
                int(changed.timestamp()),
            )
        except (KeyError, ValueError) as error:
            raise IncusConnectionError(
                f"the answer does not say what {path} is ({error}); a proxy or another server may have sent it"
            ) from error

    async def delete_files(self, path: str, *, force: bool = False) -> None:
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
        if force:
            await self._scope.require("file_delete_force", "deleting a directory with its files")
        await self._request_file("DELETE", path, headers={"X-Incus-force": "true"} if force else None)

    async def _request_file(self, method: str, path: str, **options: Any) -> wire.Answer:
        if not isinstance(path, str) or (not path.strip("/") and path != "/") or "\0" in path:
            raise IncusInputError(f"path must be that of a file or directory, not {path!r}")
        if self._FILES_EXTENSION is not None:
            await self._scope.require(self._FILES_EXTENSION, f"the files of {type(self).__name__}")
        try:
            return await self._request(method, "files", query={"path": path}, **options)
        except IncusNotFoundError as error:
            error._append(f": {path}" if path not in str(error) else "")
            if method == "POST":
                error._append("; its directory must exist, as path(...).mkdir(parents=True, exist_ok=True) makes it")
            raise

    async def _tar(self, directory: str) -> bytes:
        """A tar of the directory, under its own name; without sockets and devices, which a tar cannot hold."""
        import tarfile

        buffer = io.BytesIO()
        async with self.path(posixpath.join("/", directory)).connected() as top:
            todo = [(top, top.name or ".")]
            with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
                while todo:
                    path, name = todo.pop()
                    found, content = await path.lstat(), b""
                    member = tarfile.TarInfo(name)
                    member.mode, member.mtime, member.uid, member.gid = found.mode, found.mtime, found.uid, found.gid
                    match found.type:
                        case "directory":
                            member.type = tarfile.DIRTYPE
                            todo += [(child, posixpath.join(name, child.name)) async for child in path.iterdir()]
                        case "symlink":
                            member.type, member.linkname = tarfile.SYMTYPE, await path.readlink()
                        case "fifo":
                            member.type = tarfile.FIFOTYPE
                        case "file":
                            content = await path.read_bytes()
                            member.size = len(content)
                        case _:
                            continue
                    tar.addfile(member, io.BytesIO(content))
        return buffer.getvalue()
