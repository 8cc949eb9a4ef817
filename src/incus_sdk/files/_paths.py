"""Files of an instance: paths with the verbs of ``pathlib``, and whole trees, pushed and pulled.

Everything goes over SFTP. The files endpoint of the REST API does not do: it lists names as JSON, which not all names
are, tells no fifo or device from a file and hangs on reading one, says of a link where it ends and not what is written
in it, and changes no mode, owner, time or name. Nor is it faster (``benchmarks/files.py``).

Knows nothing of packets, which are `sftp`'s, nor of local files, which are `transfer`'s.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Literal, Self, overload

from .._concurrency import for_each, in_thread
from .._connection import wire
from .._connection.scope import Scope
from ..exceptions import IncusAPIError, IncusInputError, IncusNotFoundError
from ._sftp import FileStat, Flags, Handle, Sftp
from ._trees import (
    LONGEST,
    LocalTree,
    Options,
    RemoteTree,
    Transfer,
    TransferProgress,
    checked_name,
    copy,
    file_stat,
    undo,
)

Data = bytes | bytearray | memoryview

_LIMIT = 32  # transfers of a tree under way at once


class RemotePath:
    """A path in an instance or a volume: pure, immutable, hashable, as a ``PurePosixPath``, until a verb is awaited.

        hosts = instance.path("/etc") / "hosts"
        print(await hosts.read_text())

    Paths are absolute; bytes in them that are not UTF-8 stand as surrogates, as in ``os.fsdecode``. Links are followed
    by the instance's system, which never leaves the instance. Each verb makes a connection of its own, but those of
    paths that come from `connected`.

    Verbs raise `IncusNotFoundError` for a path that does not exist, `IncusConflictError` for one that does and must
    not, `IncusPermissionError` where the instance's system forbids it, and `IncusAPIError` for the rest.
    """

    __slots__ = ("_owner", "_pure", "_scope", "_sftp")

    def __init__(self, scope: Scope, owner: tuple[str, ...], path: str = "/", *, sftp: Sftp | None = None) -> None:
        """``owner``: the path of what has the files, as ``("instances", "c1")``. ``sftp``: the connection to use."""
        if not isinstance(path, str) or not path.startswith("/"):
            raise IncusInputError(f"a path in an instance is absolute, as /etc/hosts, not {path!r}")
        self._scope = scope
        self._owner = owner
        self._pure = PurePosixPath("/" + path.lstrip("/"))
        self._sftp = sftp
        _encoded(str(self))

    def __str__(self) -> str:
        return str(self._pure)

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r} in {'/'.join(self._owner)})"

    def __bytes__(self) -> bytes:
        return _encoded(str(self))

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
        """The names it consists of, the first is ``/``."""
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
        """The end of the last name from its last dot on."""
        return self._pure.suffix

    @property
    def parent(self) -> RemotePath:
        """The path without its last name; ``/`` is its own."""
        return self._with(self._pure.parent)

    @property
    def parents(self) -> tuple[RemotePath, ...]:
        """All paths above it, the nearest first."""
        return tuple(map(self._with, self._pure.parents))

    def joinpath(self, *segments: str | PurePosixPath) -> RemotePath:
        """The path below it; a segment that is absolute starts anew."""
        return self._with(self._pure.joinpath(*segments))

    def with_name(self, name: str) -> RemotePath:
        """The path with another last name."""
        return self._with(self._pure.with_name(name))

    def with_stem(self, stem: str) -> RemotePath:
        """The path with another last name, but the same suffix."""
        return self._with(self._pure.with_stem(stem))

    def with_suffix(self, suffix: str) -> RemotePath:
        """The path with another suffix."""
        return self._with(self._pure.with_suffix(suffix))

    def is_relative_to(self, other: str | RemotePath) -> bool:
        """Whether it is ``other`` or below it, by its names alone."""
        return self._pure.is_relative_to(str(other))

    def relative_to(self, other: str | RemotePath) -> PurePosixPath:
        """The rest of it below ``other``; raises ValueError if it is not below."""
        return self._pure.relative_to(str(other))

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[RemotePath]:
        """The same path with one connection for all verbs of it, and of all paths made from it, inside the block.

            async with instance.path("/srv").connected() as srv:
                for name, text in pages.items():
                    await (srv / name).write_text(text)

        ``GET .../sftp``, upgraded.
        """
        async with Sftp(self._scope, self._owner) as sftp:
            yield RemotePath(self._scope, self._owner, str(self), sftp=sftp)

    async def read_bytes(self) -> bytes:
        """The content of a file."""
        async with self.open("rb") as file:
            return await file.read()

    async def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The content of a file as text."""
        return (await self.read_bytes()).decode(encoding, errors)

    async def write_bytes(
        self, data: Data, *, mode: int | None = None, uid: int | None = None, gid: int | None = None
    ) -> int:
        """Write a file, new or in place of its content, and return how many bytes. Parameters as of `open`."""
        async with self.open("wb", permissions=mode, uid=uid, gid=gid) as file:
            return await file.write(data)

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
        """Write a file from text, and return how many bytes. Parameters as of `open`."""
        if not isinstance(text, str):
            raise IncusInputError(f"text must be a str, not {type(text).__name__}")
        return await self.write_bytes(text.encode(encoding, errors), mode=mode, uid=uid, gid=gid)

    async def append(self, data: Data) -> int:
        """Write at the end of a file, which is made if there is none, and return how many bytes."""
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
        """A file as a stream, for the time of ``async with``: see `RemoteReader` and `RemoteWriter`.

        ``mode``: ``rb`` reads; ``wb`` writes from the start, ``ab`` at the end, ``xb`` only a file that is not there
        yet. ``permissions``, ``uid``, ``gid``: of the file, new or not; without them a new file is root's, 0644, and
        others stay as they are.

        When the block raises, a file that it made is removed; one that was there has what was written until then:
        `push` replaces files as a whole. Fifos, sockets and devices are not opened, since that may never end.
        """
        if mode == "rb":
            return self._reading()
        if mode not in ("wb", "ab", "xb"):
            raise IncusInputError(f"mode must be rb, wb, ab or xb, not {mode!r}")
        return self._writing(mode, permissions, uid, gid)

    async def stat(self, *, follow_symlinks: bool = True) -> FileStat:
        """What it is: type, mode, owner, size, time of change."""
        async with self._session() as sftp:
            return await sftp.stat(bytes(self), follow=follow_symlinks)

    async def lstat(self) -> FileStat:
        """`stat` of a link itself."""
        return await self.stat(follow_symlinks=False)

    async def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is there; a link that leads nowhere is not, unless ``follow_symlinks`` is False."""
        return await self._type(follow_symlinks) is not None

    async def is_file(self) -> bool:
        """Whether it is a regular file, or a link to one."""
        return await self._type() == "file"

    async def is_dir(self) -> bool:
        """Whether it is a directory, or a link to one."""
        return await self._type() == "directory"

    async def is_symlink(self) -> bool:
        """Whether it is a link, wherever that leads."""
        return await self._type(follow=False) == "symlink"

    async def iterdir(self) -> AsyncIterator[RemotePath]:
        """The paths in a directory, in no order."""
        async with self._session() as sftp:
            names = await sftp.list(bytes(self))
        for name, _ in names:
            yield self / checked_name(name)

    async def walk(self) -> AsyncIterator[tuple[RemotePath, list[str], list[str]]]:
        """Each directory from here on down, with the names of its directories and of all else in it, as
        ``os.walk``: what is taken out of the first list is not walked. Links are not followed.
        """
        async with self._session() as sftp:
            todo = [self]
            while todo:
                path = todo.pop()
                directories: list[str] = []
                others: list[str] = []
                for name, found in await sftp.list(bytes(path)):
                    (directories if found.type == "directory" else others).append(checked_name(name))
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
        """Make a directory. ``parents``: also those above it that are missing, root's, 0755. ``exist_ok``: leave one
        that is there as it is.
        """
        async with self._session() as sftp:
            try:
                await sftp.mkdir(bytes(self))
            except IncusNotFoundError:
                if not parents or self.parent == self:
                    raise
                await self._on(sftp).parent.mkdir(parents=True, exist_ok=True)
                await self._on(sftp).mkdir(mode, exist_ok=exist_ok, uid=uid, gid=gid)
            except IncusAPIError:
                found = await sftp.find(bytes(self)) if exist_ok else None
                if found is None or found.type != "directory":
                    raise
            else:
                await sftp.set(bytes(self), mode=mode, uid=uid, gid=gid)

    async def touch(self, mode: int | None = None, exist_ok: bool = True) -> None:
        """Make an empty file, or set the time of change of one that is there to now. ``mode``: of a new one."""
        async with self._session() as sftp:
            if exist_ok and await sftp.find(bytes(self)):
                await sftp.set(bytes(self), mtime=int(time.time()))
                return
            async with self._on(sftp).open("ab" if exist_ok else "xb", permissions=mode):
                pass

    async def chmod(self, mode: int) -> None:
        """Set the mode, of a link that of what it leads to."""
        async with self._session() as sftp:
            await sftp.set(bytes(self), mode=mode)

    async def chown(self, uid: int | None = None, gid: int | None = None) -> None:
        """Set the owner, the group or both, of a link those of what it leads to. The system clears set-id bits."""
        async with self._session() as sftp:
            await sftp.set(bytes(self), uid=uid, gid=gid)

    async def symlink_to(self, target: str | RemotePath) -> None:
        """Make it a link to ``target``, which is written as it is and need not be there."""
        async with self._session() as sftp:
            await sftp.symlink(_encoded(str(target)), bytes(self))

    async def readlink(self) -> str:
        """What is written in a link."""
        async with self._session() as sftp:
            return (await sftp.readlink(bytes(self))).decode(errors="surrogateescape")

    async def rename(self, target: str | RemotePath) -> RemotePath:
        """Give it another path, and return that; a file that has it is replaced."""
        other = RemotePath(self._scope, self._owner, target, sftp=self._sftp) if isinstance(target, str) else target
        if other._identity()[1:] != self._identity()[1:]:
            raise IncusInputError(f"{other!r} is somewhere else than {self!r}: pull it, and push it there")
        async with self._session() as sftp:
            await sftp.rename(bytes(self), bytes(other))
        return other

    async def unlink(self, missing_ok: bool = False) -> None:
        """Remove a file or a link."""
        async with self._session() as sftp:
            found = await sftp.find(bytes(self), follow=False)
            if found is None and missing_ok:
                return
            if found is not None and found.type == "directory":
                raise self._refusal("is a directory")
            await sftp.remove(bytes(self))

    async def rmdir(self) -> None:
        """Remove an empty directory."""
        async with self._session() as sftp:
            if (await sftp.stat(bytes(self), follow=False)).type != "directory":
                raise self._refusal("is no directory")
            await sftp.remove(bytes(self), directory=True)

    async def rmtree(self, missing_ok: bool = False) -> None:
        """Remove a directory and all that is in it, following no link."""
        async with self._session() as sftp:
            found = await sftp.find(bytes(self), follow=False)
            if found is None and missing_ok:
                return
            found = found or await sftp.stat(bytes(self), follow=False)  # that raises
            if found.type != "directory":
                raise self._refusal("is no directory")
            server = await self._scope.server()
            if "file_delete_force" in (server.get("api_extensions") or ()) and self._is_utf8():
                path, query = wire.path(*self._owner, "files"), {"path": str(self)}
                await self._scope.request("DELETE", path, query=query, headers={"X-Incus-force": "true"}, wait=True)
                return
            entries = [("", found), *await RemoteTree(sftp, bytes(self)).entries(_LIMIT)]

            async def remove(entry: tuple[str, FileStat]) -> None:
                await sftp.remove(bytes(self / entry[0]), directory=entry[1].type == "directory")

            await for_each(remove, [entry for entry in entries if entry[1].type != "directory"], _LIMIT)
            # The daemon carries them out in the order they are sent in, so each is empty when its turn comes.
            await for_each(remove, [entry for entry in reversed(entries) if entry[1].type == "directory"], _LIMIT)

    async def push(
        self,
        local: str | os.PathLike[str],
        *,
        uid: int | None = None,
        gid: int | None = None,
        skip_equal: bool | Literal["content"] = False,
        progress: Callable[[TransferProgress], None] | None = None,
        limit: int = _LIMIT,
    ) -> Transfer:
        """Make this path the copy of a local file or tree, as ``cp -aT`` does; directories above it are made.

        Modes, owners (by number), times, empty directories, links as links: only a link named as ``local`` itself is
        followed. Files and links that are there are replaced, each at once when it is complete; directories are kept
        with what else is in them. Fifos, sockets and devices are not copied, but listed in the result. Links are always
        root's, hard links become files of their own, and extended attributes stay behind.

        ``uid``, ``gid``: the owner of everything, instead of its own. ``skip_equal``: leave out files of the same size
        and time, or with ``"content"`` of the same content (which is read for it). ``progress``: called for each piece
        of a file, and at its end. ``limit``: files under way at once.

        Raises `IncusError` for the instance's side and OSError for the local one. What is complete by then stays.
        """
        options = Options(
            lambda found: replace(found, uid=found.uid if uid is None else uid, gid=found.gid if gid is None else gid),
            skip_equal,
            progress,
            limit,
        )
        path = await in_thread(os.path.realpath, os.fspath(local))
        found = file_stat(await in_thread(os.stat, path))
        with LocalTree(path, directory=found.type == "directory") as source:
            async with self._session() as sftp:
                await self._on(sftp).parent.mkdir(parents=True, exist_ok=True)
                return await copy(source, found, RemoteTree(sftp, bytes(self)), options)

    async def pull(
        self,
        local: str | os.PathLike[str],
        *,
        owners: bool | None = None,
        skip_equal: bool | Literal["content"] = False,
        progress: Callable[[TransferProgress], None] | None = None,
        limit: int = _LIMIT,
    ) -> Transfer:
        """Make the local path the copy of this file or tree, as ``cp -aT`` does; directories above it are made.

        As `push`, the other way. ``owners``: whether to keep them; None: if this process is root's. Set-uid and set-gid
        bits are only kept with True, since they would make an instance's files powerful here.

        Whatever the instance does, nothing is written outside of ``local``: names are checked, and every directory
        below it is opened without following a link, also one that was there before.
        """
        bits = 0o7777 if owners else 0o1777
        options = Options(lambda found: replace(found, mode=found.mode & bits), skip_equal, progress, limit)
        path = await in_thread(os.path.abspath, os.fspath(local))
        async with self._session() as sftp:
            found = await sftp.stat(bytes(self))
            directory = found.type == "directory"

            def make() -> None:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if directory:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(path, 0o700)

            await in_thread(make)
            keep = os.geteuid() == 0 if owners is None else owners
            with LocalTree(path, directory=directory, owners=keep) as target:
                return await copy(RemoteTree(sftp, bytes(self)), found, target, options)

    def _identity(self) -> tuple[object, ...]:
        return self._pure, self._owner, self._scope.project or "default", str(self._scope.transport.endpoint)

    def _is_utf8(self) -> bool:
        return bytes(self).decode(errors="ignore") == str(self)

    def _with(self, pure: PurePosixPath) -> RemotePath:
        return RemotePath(self._scope, self._owner, str(pure), sftp=self._sftp)

    def _on(self, sftp: Sftp) -> RemotePath:
        return RemotePath(self._scope, self._owner, str(self), sftp=sftp)

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[Sftp]:
        if self._sftp is not None:
            yield self._sftp
        else:
            async with Sftp(self._scope, self._owner) as sftp:
                yield sftp

    async def _type(self, follow: bool = True) -> str | None:
        async with self._session() as sftp:
            found = await sftp.find(bytes(self), follow=follow)
        return None if found is None else found.type

    def _refusal(self, why: str) -> IncusAPIError:
        return IncusAPIError(f"{str(self)!a} in {'/'.join(self._owner)} {why}", status_code=400)

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[RemoteReader]:
        async with self._session() as sftp:
            await self._regular(sftp)
            handle = await sftp.open(bytes(self), Flags.READ)
            try:
                async with aclosing(handle.read((await handle.stat()).size, to_end=True)) as pieces:
                    yield RemoteReader(pieces)
            finally:
                handle.drop()

    @asynccontextmanager
    async def _writing(
        self, mode: str, permissions: int | None, uid: int | None, gid: int | None
    ) -> AsyncGenerator[RemoteWriter]:
        async with self._session() as sftp:
            new = await self._regular(sftp, missing_ok=True)
            flags = {"wb": Flags.TRUNCATE, "ab": Flags(0), "xb": Flags.EXCLUSIVE}[mode]
            handle = await sftp.open(bytes(self), Flags.WRITE | Flags.CREATE | flags)
            try:
                await handle.set(mode=permissions, uid=uid, gid=gid)
                if mode == "ab":
                    handle.offset = (await handle.stat()).size
                yield RemoteWriter(handle)
                if permissions is not None and permissions & 0o6000:
                    await handle.flush()
                    await handle.set(mode=permissions)  # again: writing may have cleared these bits
                await handle.close()
            except BaseException:
                handle.drop()
                if new:
                    await undo(sftp.remove(bytes(self)))
                raise

    async def _regular(self, sftp: Sftp, *, missing_ok: bool = False) -> bool:
        """Whether nothing is there; raises for what is no regular file."""
        found = await sftp.find(bytes(self)) if missing_ok else await sftp.stat(bytes(self))
        if found is not None and found.type != "file":
            raise self._refusal(f"is no regular file but a {found.type}")
        return found is None


class RemoteReader:
    """A file that is read: ``async for piece in file``, or `read`."""

    def __init__(self, pieces: AsyncGenerator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._rest:
            piece, self._rest = self._rest, b""
            return piece
        return await anext(self._pieces)

    async def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes, fewer only at the end; all that is left for -1."""
        taken, length = [], 0
        async for piece in self:
            taken.append(piece)
            length += len(piece)
            if 0 <= size <= length:
                break
        data = b"".join(taken)
        if size >= 0:
            data, self._rest = data[:size], data[size:]
        return data


class RemoteWriter:
    """A file that is written."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def write(self, data: Data) -> int:
        """Write bytes, and return how many. An error of the other side may show only at the end of the block."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise IncusInputError(f"data must be bytes, not {type(data).__name__}")
        await self._handle.write(content := bytes(data))
        return len(content)


def _encoded(path: str) -> bytes:
    try:
        encoded = path.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise IncusInputError(f"{path!r} is no path: it cannot be written in UTF-8") from None
    if not 0 < len(encoded) <= LONGEST or b"\0" in encoded:
        raise IncusInputError(f"{path[:50]!r} is no path: it is empty, has a NUL, or more than {LONGEST} bytes")
    return encoded
