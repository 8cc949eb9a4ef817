"""The files of an instance or a volume: its paths, and the calls of the REST API for single files."""

from __future__ import annotations

import io
import posixpath
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from .. import models
from .._connection import wire
from ..exceptions import IncusConnectionError, IncusInputError
from ..files._paths import RemotePath
from ..files._sftp import FileStat, FileType
from .base import Resource

_MAX_LINKS = 40  # links followed to a file, as the kernel does


class FileVerbs(Resource):
    """Verbs of an object that has files: `path` does everything, the others are single calls of the REST API."""

    FILES: ClassVar[str | None] = None
    """The API extension that brought those calls, where servers of 6.0 may lack them."""

    def path(self, path: str) -> RemotePath:
        """A path in it, absolute, with the verbs of ``pathlib``: see `RemotePath`. Makes no request."""
        return RemotePath(self._scope, self._path, path)

    def sftp(self) -> AbstractAsyncContextManager[RemotePath]:
        """The root directory, with one connection for the verbs of all paths below it, opened by ``async with``.

            async with instance.sftp() as root:
                for name in names:
                    await (root / "srv" / name).write_text("x")

        ``GET .../sftp``, upgraded.
        """
        return self.path("/").connected()

    async def get_files(self, path: str) -> bytes:
        """The content of a file, links followed, or of a directory a tar that holds it under its own name.

        Raises `IncusNotFoundError`. ``GET .../files``, and ``.../sftp`` for a tar.
        """
        for _ in range(_MAX_LINKS):
            answer = await self._files("GET", path)
            match answer.headers.get("X-Incus-type"):
                case "symlink":
                    path = answer.metadata.decode(errors="surrogateescape")  # absolute, as the server resolved it
                case "directory":
                    return await self._tar(path)
                case _:
                    content: bytes = answer.metadata
                    return content
        raise IncusInputError(f"{path}: more than {_MAX_LINKS} links lead on from there")

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
        """Write a file, replacing one that exists and keeping its mode and owner; a new one is root's, 0644.

        The directory must exist. ``mode``, ``uid``, ``gid``: of the file, new or not. ``append``: write at its end.
        ``POST .../files``.
        """
        if not isinstance(content, bytes | bytearray | memoryview):
            raise IncusInputError(f"content must be bytes, not {type(content).__name__}")
        headers = {"X-Incus-type": "file", "X-Incus-write": "append" if append else "overwrite"}
        headers |= {} if mode is None else {"X-Incus-mode": f"{mode:04o}"}
        headers |= {f"X-Incus-{key}": str(id) for key, id in (("uid", uid), ("gid", gid)) if id is not None}
        answer = await self._files("POST", path, body=bytes(content), headers=headers)
        return models.Envelope(answer.body)

    async def stat_files(self, path: str) -> FileStat:
        """What a file is, or a link itself; `RemotePath.stat` tells more.

        What is neither directory nor link is of type ``file`` here, ``mode`` has no set-id bits, and ``size`` is 0 for
        all but files. Raises `IncusNotFoundError`. ``HEAD .../files``.
        """
        headers = (await self._files("HEAD", path)).headers
        try:
            changed = datetime.strptime(headers["X-Incus-modified"][:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            return FileStat(
                cast(FileType, headers["X-Incus-type"]),
                int(headers["X-Incus-mode"], 8),
                int(headers["X-Incus-uid"]),
                int(headers["X-Incus-gid"]),
                int(headers.get("Content-Length", 0)),
                int(changed.timestamp()),
            )
        except (KeyError, ValueError) as error:
            raise IncusConnectionError(f"this is no Incus server: it does not say what {path} is ({error})") from error

    async def delete_files(self, path: str, *, force: bool = False) -> None:
        """Delete a file, a link or an empty directory. ``force``: a directory with all that is in it (extension
        ``file_delete_force``; `RemotePath.rmtree` needs none).

        ``DELETE .../files``.
        """
        if force:
            await self._scope.require("file_delete_force", "deleting a directory with its files")
        await self._files("DELETE", path, headers={"X-Incus-force": "true"} if force else None)

    async def _files(self, method: str, path: str, **how: Any) -> wire.Answer:
        if not isinstance(path, str) or (not path.strip("/") and path != "/") or "\0" in path:
            raise IncusInputError(f"no path of a file: {path!r}")
        if self.FILES is not None:
            await self._scope.require(self.FILES, f"the files of {type(self).__name__}")
        return await self._request(method, "files", query={"path": path}, **how)

    async def _tar(self, root: str) -> bytes:
        """The directory in a tar, below its own name; sockets and devices, which a tar cannot carry, are left out."""
        import tarfile

        buffer = io.BytesIO()
        async with self.path(posixpath.join("/", root)).connected() as top:
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
