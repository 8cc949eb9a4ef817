"""Paths in an instance or a volume, with the verbs of ``pathlib``, and whole trees pushed and pulled.

Everything goes over SFTP, but for many small files at once (`_tar`). The files endpoint of the REST API is not enough:
it lists names as JSON, which not all names fit in, does not distinguish a fifo or device from a file and hangs on
reading one, resolves a link instead of showing its target, and cannot change a mode, owner, time or name. Nor is it
faster (``scripts/benchmark``).

Knows no packets, which are up to `_sftp`, and no local files, which are up to `_trees`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Literal, overload

from .._background import undoing
from .._concurrency import for_each, in_thread
from .._connection import wire
from .._connection.scope import Scope
from .._users import Account
from ..exceptions import IncusAPIError, IncusConflictError, IncusError, IncusInputError, IncusNotFoundError
from ..operations import OnProgress
from ._file_streams import Data, FileContent, RemoteReader, RemoteWriter, file_pieces
from ._names import decode_name, encode_path, is_utf8, own_name
from ._plain_trees import local_tree
from ._sftp import FileStat, FileType, Flags, Sftp
from ._tar import InstanceTar
from ._trees import Options, RemoteTree, Transfer, adjusting, copy, file_stat

_GRACE = 5.0  # seconds to take back what was opened for a caller who was cancelled
_REMOVALS = 32  # requests to remove under way at once


class RemotePath:
    """A path in an instance or a volume: a pure, immutable, hashable path until a verb is awaited.

        hosts = instance.path("/etc") / "hosts"
        print(await hosts.read_text())

    Paths are absolute. Bytes in them that are not UTF-8 become surrogates, as in ``os.fsdecode``. The instance's own
    system follows links, so they never lead out of the instance. Each verb opens a connection of its own, except on
    paths that come from `connected`.

    All verbs raise `IncusNotFoundError` for a missing path, `IncusConflictError` for one that must not exist,
    `IncusPermissionError` where the instance's system denies access, and `IncusAPIError` for its other errors.

    Args:
        scope: The connection to the server.
        owner: The API path of the instance or volume, like ``("instances", "c1")``.
        path: An absolute path.
        sftp: The SFTP connection to use; None opens one for each verb.
        account: To whom what is new belongs; None for root.

    Raises:
        IncusInputError: The path is not absolute, is too long, or contains a NUL.

    API:
        ``GET /1.0/instances/{name}/sftp`` or ``GET /1.0/storage-pools/{pool}/volumes/{type}/{name}/sftp``, upgraded;
        volumes need extension ``custom_volume_sftp``.
    """

    __slots__ = ("_account", "_owner", "_pure", "_scope", "_sftp")

    def __init__(
        self,
        scope: Scope,
        owner: tuple[str, ...],
        path: str = "/",
        *,
        sftp: Sftp | None = None,
        account: Account | None = None,
    ) -> None:
        if not isinstance(path, str) or not path.startswith("/"):
            raise IncusInputError(f"a path in an instance must be absolute, like /etc/hosts, not {path!r}")
        self._scope = scope
        self._owner = owner
        self._pure = PurePosixPath("/" + path.lstrip("/"))
        self._sftp = sftp
        self._account = account
        encode_path(str(self))

    def __str__(self) -> str:
        return str(self._pure)

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r} in {'/'.join(self._owner)})"

    def __bytes__(self) -> bytes:
        return encode_path(str(self))

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, RemotePath) else NotImplemented

    def __lt__(self, other: RemotePath) -> bool:
        return self._pure < other._pure if isinstance(other, RemotePath) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __truediv__(self, segment: str | PurePosixPath) -> RemotePath:
        return self.joinpath(segment)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names in the path; the first is ``/``."""
        return self._pure.parts

    @property
    def name(self) -> str:
        """The last name; empty for ``/``."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The last name without its suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The end of the last name, from its last dot on."""
        return self._pure.suffix

    @property
    def parent(self) -> RemotePath:
        """The path without its last name; ``/`` is its own parent."""
        return self._derive(self._pure.parent)

    @property
    def parents(self) -> tuple[RemotePath, ...]:
        """All paths above it, the nearest first."""
        return tuple(map(self._derive, self._pure.parents))

    def joinpath(self, *segments: str | PurePosixPath) -> RemotePath:
        """Join it with more segments.

        Args:
            *segments: Names or relative paths; an absolute one replaces all before it.

        Raises:
            IncusInputError: The path is too long or contains a NUL.
        """
        return self._derive(self._pure.joinpath(*segments))

    def with_name(self, name: str) -> RemotePath:
        """Replace the last name.

        Args:
            name: The new name.
        """
        return self._derive(self._pure.with_name(name))

    def with_stem(self, stem: str) -> RemotePath:
        """Replace the last name and keep its suffix.

        Args:
            stem: The new name without the suffix.
        """
        return self._derive(self._pure.with_stem(stem))

    def with_suffix(self, suffix: str) -> RemotePath:
        """Replace the suffix.

        Args:
            suffix: The new suffix with its dot; empty removes it.
        """
        return self._derive(self._pure.with_suffix(suffix))

    def is_relative_to(self, other: str | RemotePath) -> bool:
        """Check whether it is another path or below it, by names alone.

        Args:
            other: The other path.
        """
        return self._pure.is_relative_to(str(other))

    def relative_to(self, other: str | RemotePath) -> PurePosixPath:
        """Return the rest of the path below another one.

        Args:
            other: The path above.

        Raises:
            ValueError: It is not below the other.
        """
        return self._pure.relative_to(str(other))

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[RemotePath]:
        """Open one connection for all verbs of this path and of paths made from it, inside the block.

            async with instance.path("/srv").connected() as srv:
                for name, text in pages.items():
                    await (srv / name).write_text(text)

        Yields:
            The same path, connected.

        Raises:
            IncusNotFoundError: There is no such instance or volume.
            IncusUnsupportedError: The server does not offer the files of volumes.

        API:
            ``GET .../sftp``, upgraded.
        """
        async with Sftp(self._scope, self._owner) as sftp:
            yield self._derive(self, sftp)

    async def read_bytes(self, *, limit: int | None = None) -> bytes:
        """Read a file.

        Args:
            limit: The bytes that it may have; a longer one is an error, and not read on. None for no limit.

        Raises:
            IncusInputError: ``limit`` is not a number of bytes.
            IncusNotFoundError: There is no such file.
            IncusAPIError: It is not a regular file, or longer than the limit.
        """
        wire.length(limit, "limit")
        async with self.open("rb") as file:
            data = await file.read(-1 if limit is None else limit + 1)
        if limit is not None and len(data) > limit:
            raise self._error(f"has more than {limit} bytes")
        return data

    async def read_text(self, encoding: str = "utf-8", errors: str = "strict", *, limit: int | None = None) -> str:
        """Read a file as text.

        Args:
            encoding: The encoding of the file.
            errors: What to do with bytes that are invalid in it, as in ``bytes.decode``.
            limit: See `read_bytes`.

        Raises:
            IncusInputError: ``limit`` is not a number of bytes.
            IncusNotFoundError: There is no such file.
            IncusAPIError: It is not a regular file, or longer than the limit.
            UnicodeDecodeError: It is not in that encoding.
        """
        return (await self.read_bytes(limit=limit)).decode(encoding, errors)

    async def write_bytes(
        self,
        data: FileContent,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        progress: OnProgress | None = None,
    ) -> int:
        """Write a file, new or in place of the old content.

        Args:
            data: The content: bytes, a binary file that is open, or an iterable of bytes, plain or async.
            mode: The file's permissions, new or not; None keeps them, and gives a new file 0644.
            uid: The file's owner; None keeps it, and makes a new file root's.
            gid: The file's group; None keeps it, and makes a new file root's.
            progress: Called for each piece, as stage ``upload``.

        Returns:
            The number of bytes.

        Raises:
            IncusInputError: The data is something else.
            IncusNotFoundError: There is no such directory.
            IncusAPIError: The path is not a regular file.
        """
        pieces = file_pieces(data, progress)
        async with self.open("wb", permissions=mode, uid=uid, gid=gid) as file:
            return sum([await file.write(piece) async for piece in pieces])

    async def write_text(
        self,
        text: str,
        encoding: str = "utf-8",
        errors: str = "strict",
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
    ) -> int:
        """Write text to a file, new or in place of the old content.

        Args:
            text: The content.
            encoding: The encoding of the file.
            errors: What to do with characters that do not exist in it, as in ``str.encode``.
            mode: See `write_bytes`.
            uid: See `write_bytes`.
            gid: See `write_bytes`.

        Returns:
            The number of bytes.

        Raises:
            IncusInputError: The text is not a str.
            IncusNotFoundError: There is no such directory.
            IncusAPIError: The path is not a regular file.
            UnicodeEncodeError: The text does not fit the encoding.
        """
        if not isinstance(text, str):
            raise IncusInputError(f"text must be a str, not {type(text).__name__}")
        return await self.write_bytes(text.encode(encoding, errors), mode=mode, uid=uid, gid=gid)

    async def append(self, data: Data) -> int:
        """Write at the end of a file, or to a new one.

        Args:
            data: The bytes to add.

        Returns:
            The number of bytes added.

        Raises:
            IncusInputError: The data is not bytes.
            IncusNotFoundError: There is no such directory.
            IncusAPIError: The path is not a regular file.
        """
        async with self.open("ab") as file:
            return await file.write(data)

    @overload
    def open(self, mode: Literal["rb"] = "rb") -> AbstractAsyncContextManager[RemoteReader]: ...
    @overload
    def open(
        self,
        mode: Literal["wb", "ab", "xb"],
        *,
        permissions: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
    ) -> AbstractAsyncContextManager[RemoteWriter]: ...
    def open(
        self, mode: str = "rb", *, permissions: int | None = None, uid: int | None = None, gid: int | None = None
    ) -> AbstractAsyncContextManager[Any]:
        """Open a file as a stream, by ``async with``.

        If the block raises, a new file is removed, and one that existed keeps what was written until then; `push`
        replaces files as a whole. Fifos, sockets and devices are refused, since opening one could block forever.

        Args:
            mode: ``rb`` reads; ``wb`` writes from the start, ``ab`` at the end, ``xb`` only a new file.
            permissions: The file's permissions, new or not; None keeps them, and gives a new file 0644.
            uid: The file's owner; None keeps it, and makes a new file root's.
            gid: The file's group; None keeps it, and makes a new file root's.

        Returns:
            The context of a `RemoteReader` or a `RemoteWriter`.

        Raises:
            IncusInputError: The mode is invalid.
            IncusNotFoundError: There is no such file, or no such directory to write it to.
            IncusConflictError: With ``xb``: it exists.
            IncusAPIError: It is not a regular file.
        """
        if mode == "rb":
            return self._open_reader()
        if mode not in ("wb", "ab", "xb"):
            raise IncusInputError(f"mode must be rb, wb, ab or xb, not {mode!r}")
        wire.permissions(permissions)
        wire.ids(uid=uid, gid=gid)
        return self._open_writer(mode, permissions, uid, gid)

    async def stat(self, *, follow_symlinks: bool = True) -> FileStat:
        """Get the type and the attributes of a file.

        Args:
            follow_symlinks: Of a link, get those of its target.

        Raises:
            IncusNotFoundError: There is no such path.
        """
        async with self._connection() as sftp:
            return await sftp.stat(bytes(self), follow=follow_symlinks)

    async def lstat(self) -> FileStat:
        """Get the type and the attributes of a file, of a link its own.

        Raises:
            IncusNotFoundError: There is no such path.
        """
        return await self.stat(follow_symlinks=False)

    async def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Check whether there is such a path.

        Args:
            follow_symlinks: Of a link, check its target.
        """
        return await self._type(follow_symlinks) is not None

    async def is_file(self) -> bool:
        """Check whether it is a regular file, or a link to one."""
        return await self._type() == "file"

    async def is_dir(self) -> bool:
        """Check whether it is a directory, or a link to one."""
        return await self._type() == "directory"

    async def is_symlink(self) -> bool:
        """Check whether it is a link, even a broken one."""
        return await self._type(follow=False) == "symlink"

    async def iterdir(self) -> AsyncIterator[RemotePath]:
        """List the paths in a directory, in no particular order.

        Raises:
            IncusNotFoundError: There is no such directory.
            IncusAPIError: It is not a directory.
        """
        async with self._connection() as sftp:
            names = await sftp.list(bytes(self))
        for name, _ in names:
            yield self / decode_name(name)

    async def walk(self) -> AsyncIterator[tuple[RemotePath, list[str], list[str]]]:
        """Walk a directory and all below it from the top down, as ``os.walk`` does; links are not followed.

        Yields:
            A directory, the names of the directories in it, and of all else. Names removed from the first list are not
            walked.

        Raises:
            IncusNotFoundError: There is no such directory.
            IncusAPIError: It is not a directory.
        """
        async with self._connection() as sftp:
            todo = [self]
            while todo:
                path = todo.pop()
                directories: list[str] = []
                others: list[str] = []
                for name, found in await sftp.list(bytes(path)):
                    (directories if found.type == "directory" else others).append(decode_name(name))
                yield path, directories, others
                todo += [path / name for name in reversed(directories)]

    async def mkdir(
        self,
        mode: int = 0o755,
        parents: bool = False,
        exist_ok: bool = False,
        *,
        uid: int | None = None,
        gid: int | None = None,
    ) -> None:
        """Make a directory.

        Args:
            mode: Its permissions.
            parents: Make missing directories above it too, with the same owner, 0755.
            exist_ok: Accept a directory that exists; its attributes stay.
            uid: Its owner; None for root.
            gid: Its group; None for root's.

        Raises:
            IncusInputError: The mode or an id is invalid.
            IncusNotFoundError: The directory above does not exist.
            IncusConflictError: The path exists.
        """
        wire.permissions(mode)
        wire.ids(uid=uid, gid=gid)
        uid, gid = await self._ids(uid, gid)
        async with self._connection() as sftp:
            try:
                await sftp.mkdir(bytes(self))
            except IncusNotFoundError:
                if not parents or self.parent == self:
                    raise
                here = self._derive(self, sftp)
                await here.parent.mkdir(parents=True, exist_ok=True, uid=uid, gid=gid)
                await here.mkdir(mode, exist_ok=exist_ok, uid=uid, gid=gid)
            except IncusAPIError:
                found = await sftp.find(bytes(self)) if exist_ok else None
                if found is None or found.type != "directory":
                    raise
            else:
                await sftp.set(bytes(self), mode=mode, uid=uid, gid=gid)

    async def touch(self, mode: int | None = None, exist_ok: bool = True) -> None:
        """Make an empty file, or set the time of change of one that exists to now.

        Args:
            mode: The permissions of a new file; None for 0644.
            exist_ok: Accept a file that exists.

        Raises:
            IncusNotFoundError: There is no such directory.
            IncusConflictError: Without ``exist_ok``: it exists.
        """
        async with self._connection() as sftp:
            if exist_ok and await sftp.find(bytes(self)):
                await sftp.set(bytes(self), mtime=int(time.time()))
                return
            async with self._derive(self, sftp).open("ab" if exist_ok else "xb", permissions=mode):
                pass

    async def chmod(self, mode: int) -> None:
        """Set the permissions, of a link those of its target.

        Args:
            mode: The permissions, with the set-uid, set-gid and sticky bits.

        Raises:
            IncusInputError: The mode is invalid.
            IncusNotFoundError: There is no such path.
        """
        wire.permissions(mode)
        async with self._connection() as sftp:
            await sftp.set(bytes(self), mode=mode)

    async def chown(self, uid: int | None = None, gid: int | None = None) -> None:
        """Set the owner, the group or both, of a link those of its target; the system clears set-id bits.

        Args:
            uid: The owner; None keeps it.
            gid: The group; None keeps it.

        Raises:
            IncusInputError: An id is invalid.
            IncusNotFoundError: There is no such path.
        """
        wire.ids(uid=uid, gid=gid)
        async with self._connection() as sftp:
            await sftp.set(bytes(self), uid=uid, gid=gid)

    async def symlink_to(self, target: str | RemotePath) -> None:
        """Make this path a link.

        Args:
            target: Where it leads; stored unchanged, and need not exist.

        Raises:
            IncusInputError: The target is empty, is too long, or contains a NUL.
            IncusNotFoundError: There is no such directory.
            IncusConflictError: The path exists.
        """
        async with self._connection() as sftp:
            await sftp.symlink(encode_path(str(target)), bytes(self))

    async def readlink(self) -> str:
        """Get the target of a link, unresolved.

        Raises:
            IncusNotFoundError: There is no such path.
            IncusAPIError: It is not a link.
        """
        async with self._connection() as sftp:
            return (await sftp.readlink(bytes(self))).decode(errors="surrogateescape")

    async def rename(self, target: str | RemotePath) -> RemotePath:
        """Move it to another path in the same instance or volume; a file there is replaced.

        Args:
            target: The new path, absolute.

        Returns:
            The new path.

        Raises:
            IncusInputError: The target is not absolute, or is in another instance or volume.
            IncusNotFoundError: There is no such path.
        """
        other = self._derive(target) if isinstance(target, str) else target
        if other._identity()[1:] != self._identity()[1:]:
            raise IncusInputError(f"{other!r} is not where {self!r} is: use pull and push")
        async with self._connection() as sftp:
            await sftp.rename(bytes(self), bytes(other))
        return other

    async def unlink(self, missing_ok: bool = False) -> None:
        """Remove a file or a link.

        Args:
            missing_ok: Accept a path that does not exist.

        Raises:
            IncusNotFoundError: There is no such path.
            IncusAPIError: It is a directory.
        """
        async with self._connection() as sftp:
            found = await (sftp.find if missing_ok else sftp.stat)(bytes(self), follow=False)
            if found is None:
                return
            if found.type == "directory":
                raise self._error("is a directory: use rmdir, rmtree or remove")
            await sftp.remove(bytes(self))

    async def rmdir(self) -> None:
        """Remove an empty directory.

        Raises:
            IncusNotFoundError: There is no such path.
            IncusConflictError: It is not empty.
            IncusAPIError: It is not a directory.
        """
        async with self._connection() as sftp:
            self._require_type("directory", await sftp.stat(bytes(self), follow=False))
            await sftp.remove(bytes(self), directory=True)

    async def rmtree(self, missing_ok: bool = False) -> None:
        """Remove a directory and all that is in it; links are removed, not followed.

        Args:
            missing_ok: Accept a path that does not exist.

        Raises:
            IncusNotFoundError: There is no such path.
            IncusAPIError: It is not a directory.

        API:
            ``DELETE .../files`` with extension ``file_delete_force``; otherwise ``GET .../sftp``, upgraded.
        """
        async with self._connection() as sftp:
            found = await (sftp.find if missing_ok else sftp.stat)(bytes(self), follow=False)
            if found is None:
                return
            self._require_type("directory", found)
            extensions = (await self._scope.server()).get("api_extensions") or ()
            if is_utf8(str(self)) and "file_delete_force" in extensions:
                path, query = wire.path(*self._owner, "files"), {"path": str(self)}
                await self._scope.request("DELETE", path, query=query, headers={"X-Incus-force": "true"}, wait=True)
                return
            entries = [("", found), *await RemoteTree(sftp, bytes(self)).entries(_REMOVALS)]

            async def remove(entry: tuple[str, FileStat]) -> None:
                await sftp.remove(bytes(self / entry[0]), directory=entry[1].type == "directory")

            await for_each(remove, [entry for entry in entries if entry[1].type != "directory"], _REMOVALS)
            # The daemon removes in the order of the requests, so each directory is empty when its turn comes.
            await for_each(remove, [entry for entry in reversed(entries) if entry[1].type == "directory"], _REMOVALS)

    async def remove(self, *, recursive: bool = False, missing_ok: bool = False) -> None:
        """Remove whatever is there: a file, a link, an empty directory; links are removed, not followed.

        Args:
            recursive: Remove a directory with all that is in it.
            missing_ok: Accept a path that does not exist.

        Raises:
            IncusNotFoundError: There is no such path.
            IncusConflictError: It is a directory that is not empty, and ``recursive`` is not set.

        API:
            See `rmtree`.
        """
        async with self._connection() as sftp:
            found = await (sftp.find if missing_ok else sftp.stat)(bytes(self), follow=False)
            if found is None:
                return
            if found.type == "directory" and recursive:
                await self._derive(self, sftp).rmtree()
                return
            try:
                await sftp.remove(bytes(self), directory=found.type == "directory")
            except IncusConflictError as error:
                error._append("; recursive=True removes it with all that is in it")
                raise

    async def push(
        self,
        local: str | os.PathLike[str],
        *,
        into: bool = False,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        follow_symlinks: bool | None = None,
        skip_equal: bool | Literal["content"] = False,
        progress: OnProgress | None = None,
        limit: int = 32,
    ) -> Transfer:
        """Make this path the copy of a local file or tree, as ``cp -aT`` does.

        Modes, numeric owners, times, empty directories and links are copied. An existing file or link is replaced when
        its copy is complete; existing directories keep what else is in them; missing directories above the path are
        made, 0755, with the given owner or as root's. Fifos, sockets and devices are not copied, but listed in the
        result. Links always become root's, hard links become separate files, long runs of zeros become holes, and
        extended attributes are lost.

        Nothing is open to anybody whom its mode keeps out, not even for a moment. After an error, the files that are
        complete stay.

        Many small files go faster if the instance runs and has ``tar``, ``xargs`` and ``sh``: root runs them there.

        Args:
            local: The local file or directory.
            into: Put it into this path, a directory, under its own name; one that is missing is made.
            mode: The permissions of every file. Directories get the same, and whoever may read one may search it: 0640
                makes them 0750. None copies the permissions.
            uid: The owner of everything; None copies the owners.
            gid: The group of everything; None copies the groups.
            follow_symlinks: Copy what links lead to, which must exist; False copies all links as links; None does so in
                a tree, and follows only a link named as ``local`` itself.
            skip_equal: Skip files of the same size and time; with ``"content"``, those of the same content, which is
                read from both sides.
            progress: Called for each piece of a file and at its end, as stage ``upload``.
            limit: How many files are copied at once.

        Raises:
            IncusInputError: An argument is invalid.
            IncusConflictError: A file would take the place of a directory, or a directory that of a file.
            IncusError: Something else failed in the instance, a local file shrank while it was read, or a link that is
                followed leads nowhere or in a circle.
            OSError: A local file cannot be read.

        API:
            ``GET .../sftp``, upgraded; ``POST .../exec`` for small files.
        """
        wire.ids(uid=uid, gid=gid)
        uid, gid = await self._ids(uid, gid)
        follow = bool(follow_symlinks)
        options = Options(adjusting(mode, uid, gid), skip_equal, progress, limit, follow)
        path = await in_thread(os.path.abspath, os.fspath(local))
        target = self / own_name(os.path.basename(path), local) if into else self
        if follow_symlinks is not False:
            path = await in_thread(os.path.realpath, path)
        found = file_stat(await in_thread(os.lstat, path))
        directory = found.type == "directory"
        with local_tree(path, directory=directory, follow=follow) as source:
            async with self._connection() as sftp:
                await self._derive(target.parent, sftp).mkdir(parents=True, exist_ok=True, uid=uid, gid=gid)
                there = None if directory else await sftp.find(bytes(target), follow=False)
                if there is not None and there.type == "directory":
                    raise IncusConflictError(
                        f"{target!r} is a directory, which a file cannot replace: into=True puts it inside"
                    )
                return await copy(source, found, target._tree(sftp), options)

    async def pull(
        self,
        local: str | os.PathLike[str],
        *,
        into: bool = False,
        owners: bool | None = None,
        follow_symlinks: bool | None = None,
        links: Literal["keep", "skip"] = "keep",
        skip_equal: bool | Literal["content"] = False,
        progress: OnProgress | None = None,
        limit: int = 32,
    ) -> Transfer:
        """Make a local path the copy of this file or tree, as ``cp -aT`` does.

        This is `push` the other way. Whatever the instance does, nothing is written outside of ``local``: names are
        checked, and directories below it, old or new, are opened without following links. But the links that are
        copied can lead anywhere on this machine: use ``links="skip"`` if you do not trust the instance, and read what
        was pulled.

        Args:
            local: The local path.
            into: Put it into ``local``, a directory, under its own name; one that is missing is made.
            owners: Copy owners and groups, which Windows cannot; None does so if this process runs as root. Set-uid and
                set-gid bits are copied only with True, since they would give files of the instance power over this
                machine.
            follow_symlinks: See `push`; links are followed in the instance, and lead nowhere else.
            links: ``"skip"`` leaves out the links that would be copied, and lists them in the result.
            skip_equal: See `push`.
            progress: Called for each piece of a file and at its end, as stage ``download``.
            limit: See `push`.

        Raises:
            IncusInputError: An argument is invalid.
            IncusNotFoundError: There is no such path in the instance.
            IncusError: Something else failed in the instance, a file there shrank while it was read, or a link that is
                followed leads nowhere or in a circle.
            OSError: A local file cannot be written.

        API:
            ``GET .../sftp``, upgraded; ``POST .../exec`` for small files.
        """
        bits = 0o7777 if owners else 0o1777
        options = Options(
            lambda found: replace(found, mode=found.mode & bits),
            skip_equal,
            progress,
            limit,
            bool(follow_symlinks),
            links,
            "download",
        )
        path = await in_thread(os.path.abspath, os.fspath(local))
        if into:
            path = os.path.join(path, own_name(self.name, self))
        async with self._connection() as sftp:
            found = await sftp.stat(bytes(self), follow=follow_symlinks is not False)
            directory = found.type == "directory"

            def make_directories() -> None:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if directory:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(path, 0o700)
                elif os.path.isdir(path) and not os.path.islink(path):
                    raise IsADirectoryError(errno.EISDIR, "a file cannot replace it: into=True puts it inside", path)

            await in_thread(make_directories)
            with local_tree(path, directory=directory, owners=owners) as target:
                return await copy(self._tree(sftp), found, target, options)

    def _identity(self) -> tuple[object, ...]:
        return self._pure, self._owner, self._scope.project or "default", str(self._scope.transport.endpoint)

    def _derive(self, path: str | PurePosixPath | RemotePath, sftp: Sftp | None = None) -> RemotePath:
        """Another path in the same place, on the same connection or on the given one."""
        return RemotePath(self._scope, self._owner, str(path), sftp=sftp or self._sftp, account=self._account)

    async def _ids(self, uid: int | None, gid: int | None) -> tuple[int | None, int | None]:
        """The owner of something new: as given, or else as the path says."""
        if self._account is None or (uid is not None and gid is not None):
            return uid, gid
        user = await self._account.user()
        return user.uid if uid is None else uid, user.gid if gid is None else gid

    def _tree(self, sftp: Sftp) -> RemoteTree:
        runs_commands = self._owner[0] == "instances" and is_utf8(str(self))
        return RemoteTree(
            sftp, bytes(self), InstanceTar(self._scope, self._owner, str(self)) if runs_commands else None
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Sftp]:
        """The connection of a path from `connected`, or a new one for the time of the block."""
        if self._sftp is not None:
            yield self._sftp
        else:
            async with Sftp(self._scope, self._owner) as sftp:
                yield sftp

    async def _type(self, follow: bool = True) -> FileType | None:
        async with self._connection() as sftp:
            found = await sftp.find(bytes(self), follow=follow)
        return None if found is None else found.type

    def _error(self, problem: str) -> IncusAPIError:
        return IncusAPIError(f"{str(self)!a} in {'/'.join(self._owner)} {problem}", status_code=400)

    def _require_type(self, wanted: FileType, found: FileStat) -> None:
        if found.type != wanted:
            raise self._error(f"is of type {found.type}, not {wanted}")

    @asynccontextmanager
    async def _open_reader(self) -> AsyncGenerator[RemoteReader]:
        async with self._connection() as sftp:
            self._require_type("file", await sftp.stat(bytes(self)))
            handle = await sftp.open(bytes(self), Flags.READ)
            try:
                yield RemoteReader(handle.read((await handle.stat()).size, to_end=True))
            finally:
                handle.drop()

    @asynccontextmanager
    async def _open_writer(
        self, mode: str, permissions: int | None, uid: int | None, gid: int | None
    ) -> AsyncGenerator[RemoteWriter]:
        async with self._connection() as sftp:
            found = await sftp.find(bytes(self))
            if found is None:
                uid, gid = await self._ids(uid, gid)
            else:
                self._require_type("file", found)
            flags = {"wb": Flags.TRUNCATE, "ab": Flags(0), "xb": Flags.EXCLUSIVE}[mode]
            opening = asyncio.ensure_future(sftp.open(bytes(self), Flags.WRITE | Flags.CREATE | flags))

            async def leave() -> None:
                with contextlib.suppress(IncusError, TimeoutError):
                    async with asyncio.timeout(_GRACE):
                        (await opening).drop()
                        if found is None:
                            await sftp.discard(bytes(self))

            async with undoing(leave):
                handle = await asyncio.shield(opening)
                await handle.set(mode=permissions, uid=uid, gid=gid)
                if mode == "ab":
                    handle.offset = (await handle.stat()).size
                yield RemoteWriter(handle)
                if permissions is not None and permissions & 0o6000:
                    await handle.flush()
                    await handle.set(mode=permissions)  # again: writing may have cleared these bits
                await handle.close()
