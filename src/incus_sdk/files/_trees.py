"""Copying files and trees to and from an instance: the order of things, and its sides, `LocalTree` and `RemoteTree`.

A tree is one name and what is below it. Entries are known by their path below it; "" is the tree itself. The instance
is not trusted: its names are checked, nothing here is reached through a link, and only regular files are opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import posixpath
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol, TypeVar

from .._concurrency import for_each, in_thread
from ..exceptions import IncusAPIError, IncusError, IncusInputError
from ._sftp import FileStat, Flags, Sftp

T = TypeVar("T")

Entry = tuple[str, FileStat]
Write = Callable[[bytes], Awaitable[None]]

LONGEST = 4095  # bytes of a path that Linux takes

_BATCH = 1024 * 1024  # bytes read or written locally in one go
_GRACE = 5.0  # seconds to remove what a failed transfer leaves in the instance

# A fifo must not make it wait, a link not lead it elsewhere.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK
_DIRECTORY = os.O_NOFOLLOW | os.O_DIRECTORY


@dataclass(frozen=True)
class Transfer:
    """What a push or pull did: how much it copied, how many files it ``skipped`` as equal, and the paths of the
    ``special`` ones (fifos, sockets, devices), which it did not copy, below what was copied; "" is that itself.
    """

    files: int
    directories: int
    links: int
    bytes: int
    skipped: int
    special: tuple[str, ...]


@dataclass(frozen=True)
class TransferProgress:
    """How far a push or pull is: the path under way, below what is copied ("" is that itself), and how many files and
    bytes of how many are done, skipped ones included.
    """

    path: str
    files: int
    total_files: int
    bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Options:
    """How to copy; ``wanted`` turns what the source is into what the copy shall be."""

    wanted: Callable[[FileStat], FileStat]
    skip_equal: bool | Literal["content"]
    progress: Callable[[TransferProgress], object] | None
    limit: int

    def __post_init__(self) -> None:
        if self.skip_equal not in (True, False, "content"):
            raise IncusInputError(f'skip_equal must be True, False or "content", not {self.skip_equal!r}')
        if not isinstance(self.limit, int) or self.limit < 1:
            raise IncusInputError(f"limit must be at least 1, not {self.limit!r}")


class Tree(Protocol):
    """One side."""

    def name(self, path: str) -> str:
        """What errors call an entry."""
        ...

    async def entries(self, limit: int) -> list[Entry]:
        """All that is below it, each directory before what is in it."""
        ...

    async def find(self, path: str) -> FileStat | None:
        """What an entry is, links not followed; None if it is not there."""
        ...

    def read(self, path: str) -> AbstractAsyncContextManager[tuple[FileStat, AsyncIterator[bytes]]]:
        """What a regular file is, and its content: no more than its size, but all where that is 0, as in /proc."""
        ...

    def write(self, path: str, wanted: FileStat) -> AbstractAsyncContextManager[Write]:
        """Make a file: in its place, and with what it shall have, at the end of the block, and gone if that raises."""
        ...

    async def readlink(self, path: str) -> str:
        """What is written in a link."""
        ...

    async def symlink(self, path: str, target: str, wanted: FileStat) -> None:
        """Make a link, in place of what is there."""
        ...

    async def mkdir(self, path: str, wanted: FileStat) -> None:
        """Make a directory, as yet accessible only to whom it will be at most, or see that there is one."""
        ...

    async def set(self, entries: list[Entry]) -> None:
        """Give files and directories what they shall have, in this order."""
        ...


async def copy(source: Tree, found: FileStat, target: Tree, options: Options) -> Transfer:
    """Make ``target`` the copy of ``source``, which is ``found``.

    First everything is listed, then come the directories, then files and links, and at last what directories shall
    have, from the deepest up: until then they belong to who copies, and nobody else can put a link in the way.
    """
    kinds: dict[str, list[Entry]] = {"file": [], "directory": [], "symlink": []}
    special: list[str] = []
    for entry in [("", found), *(await source.entries(options.limit) if found.type == "directory" else [])]:
        if entry[1].type in kinds:
            kinds[entry[1].type].append(entry)
        else:
            special.append(entry[0])
    files, directories, links = kinds.values()
    total_bytes = sum(entry[1].size for entry in files)
    copied_files = copied_bytes = skipped_files = skipped_bytes = 0

    def tell(path: str) -> None:
        if options.progress is not None:
            done = copied_files + skipped_files, copied_bytes + skipped_bytes
            options.progress(TransferProgress(path, done[0], len(files), done[1], total_bytes))

    async def file(entry: Entry) -> None:
        nonlocal copied_files, copied_bytes, skipped_files, skipped_bytes
        path, found = entry
        if options.skip_equal and await _equal(source, target, entry, options):
            skipped_files, skipped_bytes = skipped_files + 1, skipped_bytes + found.size
            tell(path)
            return
        async with source.read(path) as (found, pieces), target.write(path, options.wanted(found)) as write:
            size = 0
            async for piece in pieces:
                await write(piece)
                size, copied_bytes = size + len(piece), copied_bytes + len(piece)
                tell(path)
            if found.size not in (0, size):
                raise IncusError(f"{source.name(path)} was cut to {size} bytes of {found.size} while it was read")
        copied_files += 1
        tell(path)

    async def link(entry: Entry) -> None:
        path, found = entry
        await target.symlink(path, await source.readlink(path), options.wanted(found))

    for depth in range(1 + max((_depth(path) for path, _ in directories), default=-1)):
        level = [entry for entry in directories if _depth(entry[0]) == depth]
        await for_each(lambda entry: target.mkdir(entry[0], options.wanted(entry[1])), level, options.limit)
    await for_each(file, files, options.limit)
    await for_each(link, links, options.limit)
    await target.set([(path, options.wanted(found)) for path, found in reversed(directories)])
    return Transfer(copied_files, len(directories), len(links), copied_bytes, skipped_files, tuple(sorted(special)))


async def _equal(source: Tree, target: Tree, entry: Entry, options: Options) -> bool:
    """Whether a file needs no copy; then it has the right attributes too."""
    path, found = entry
    there = await target.find(path)
    if there is None or (there.type, there.size) != (found.type, found.size):
        return False
    if options.skip_equal == "content":
        async with (
            source.read(path) as (_, ours),
            target.read(path) as (_, theirs),
            aclosing(_batches(ours)) as left,
            aclosing(_batches(theirs)) as right,
        ):
            async for piece in left:
                if piece != await anext(right, b""):
                    return False
            if await anext(right, b""):
                return False
    elif there.mtime != found.mtime:
        return False
    if there != options.wanted(found):
        await target.set([(path, options.wanted(found))])
    return True


class RemoteTree(Tree):
    """The side of the instance."""

    def __init__(self, sftp: Sftp, path: bytes) -> None:
        self._sftp = sftp
        self._path = path

    def name(self, path: str) -> str:
        return ascii(self._at(path).decode(errors="surrogateescape"))[1:-1]

    async def entries(self, limit: int) -> list[Entry]:
        entries: list[Entry] = []

        async def look(directory: str) -> None:
            for name, found in await self._sftp.list(self._at(directory)):
                entries.append((posixpath.join(directory, checked_name(name)), found))

        level = [""]
        while level:
            start = len(entries)
            await for_each(look, level, limit)
            level = [path for path, found in entries[start:] if found.type == "directory"]
        return entries

    async def find(self, path: str) -> FileStat | None:
        return await self._sftp.find(self._at(path), follow=False)

    @asynccontextmanager
    async def read(self, path: str) -> AsyncGenerator[tuple[FileStat, AsyncIterator[bytes]]]:
        handle = await self._sftp.open(self._at(path), Flags.READ)
        try:
            found = await handle.stat()
            if found.type != "file":
                raise IncusError(f"{self.name(path)} became a {found.type}")
            async with aclosing(handle.read(found.size, to_end=not found.size)) as pieces:
                yield found, pieces
        finally:
            handle.drop()

    @asynccontextmanager
    async def write(self, path: str, wanted: FileStat) -> AsyncGenerator[Write]:
        async with self._beside(path) as temporary:
            handle = await self._sftp.open(temporary, Flags.WRITE | Flags.CREATE | Flags.EXCLUSIVE)
            if 0o644 & ~wanted.mode:
                await handle.set(mode=0o600)
            yield handle.write
            size = await handle.finish(mode=wanted.mode, uid=wanted.uid, gid=wanted.gid, mtime=wanted.mtime)
            if size != handle.offset:
                raise IncusError(f"{self.name(path)} has {size} bytes instead of the {handle.offset} that were sent")

    async def readlink(self, path: str) -> str:
        target = await self._sftp.readlink(self._at(path))
        if not target or b"\0" in target:
            raise IncusError(f"{self.name(path)} is a link to what is no path: {target!r}")
        return target.decode(errors="surrogateescape")

    async def symlink(self, path: str, target: str, wanted: FileStat) -> None:
        async with self._beside(path) as temporary:
            await self._sftp.symlink(target.encode(errors="surrogateescape"), temporary)

    async def mkdir(self, path: str, wanted: FileStat) -> None:
        directory = self._at(path)
        try:
            await self._sftp.mkdir(directory)
        except IncusAPIError:
            found = await self._sftp.find(directory, follow=not path)
            if found is None or found.type != "directory":
                raise
        else:
            if 0o755 & ~wanted.mode:
                await self._sftp.set(directory, mode=0o700)

    async def set(self, entries: list[Entry]) -> None:
        async def one(entry: Entry) -> None:
            path, wanted = entry
            await self._sftp.set(self._at(path), mode=wanted.mode, uid=wanted.uid, gid=wanted.gid, mtime=wanted.mtime)

        await for_each(one, entries, 32)  # carried out in the order they are sent in

    def _at(self, path: str) -> bytes:
        joined = posixpath.join(self._path, path.encode(errors="surrogateescape")) if path else self._path
        if len(joined) > LONGEST:
            raise IncusError(f"{joined[:50]!r}... is no path: it has more than {LONGEST} bytes")
        return joined

    @asynccontextmanager
    async def _beside(self, path: str) -> AsyncGenerator[bytes]:
        """A path for what takes the place of an entry at the end of the block."""
        target = self._at(path)
        temporary = posixpath.join(posixpath.dirname(target), _temporary().encode())
        try:
            yield temporary
            await self._sftp.rename(temporary, target)
        except BaseException:
            await undo(self._sftp.remove(temporary))
            raise


class LocalTree(Tree):
    """The side of this machine. All that touches a disk runs in threads.

    Below the directory that holds the tree, or that is it, each step down is opened relative to the one above and
    follows no link, whoever puts one there at whatever time. Errors are OSError with the path.
    """

    def __init__(self, path: str, *, directory: bool, owners: bool = True) -> None:
        """``directory``: whether it is one, and is there. ``owners``: whether what is written gets the owners it shall
        have.
        """
        self._path, self._top = (path, ".") if directory else os.path.split(path)
        self._owners = owners
        self._fd = os.open(self._path, os.O_DIRECTORY)

    def __enter__(self) -> LocalTree:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def name(self, path: str) -> str:
        return os.path.join(self._path, path or self._top)

    async def entries(self, limit: int) -> list[Entry]:
        def look() -> list[Entry]:
            entries: list[Entry] = []
            level = [""]
            while level:
                start = len(entries)
                for path in level:
                    with self._opened(path, _DIRECTORY) as fd, os.scandir(fd) as found:
                        entries += [
                            (posixpath.join(path, entry.name), file_stat(entry.stat(follow_symlinks=False)))
                            for entry in found
                        ]
                level = [path for path, found in entries[start:] if found.type == "directory"]
            return entries

        return await in_thread(look)

    async def find(self, path: str) -> FileStat | None:
        def look() -> FileStat | None:
            with contextlib.suppress(FileNotFoundError), self._in(path) as (fd, name):
                return file_stat(os.stat(name, dir_fd=fd, follow_symlinks=False))
            return None

        return await in_thread(look)

    @asynccontextmanager
    async def read(self, path: str) -> AsyncGenerator[tuple[FileStat, AsyncIterator[bytes]]]:
        def opened() -> tuple[BinaryIO, FileStat, bytes]:
            with self._in(path) as (above, name):
                file = stack.enter_context(os.fdopen(os.open(name, _FILE, dir_fd=above), "rb", 0))
                found = file_stat(os.fstat(file.fileno()))
                if found.type != "file":
                    raise OSError(errno.EINVAL, f"became a {found.type}")
                return file, found, file.read(min(_BATCH, found.size or _BATCH))

        async def pieces() -> AsyncGenerator[bytes]:
            piece, size = first, 0
            while piece:
                yield piece
                size += len(piece)
                left = found.size - size if found.size else _BATCH
                piece = await in_thread(file.read, min(_BATCH, left)) if left else b""

        with contextlib.ExitStack() as stack:
            file, found, first = await in_thread(opened)
            async with aclosing(pieces()) as content:
                yield found, content

    @asynccontextmanager
    async def write(self, path: str, wanted: FileStat) -> AsyncGenerator[Write]:
        temporary, fd = _temporary(), -1
        waiting = bytearray()

        def store() -> None:
            nonlocal fd
            if fd < 0:
                with self._in(path) as (above, _):
                    fd = os.open(temporary, _FILE | os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=above)
            with self._named(path):
                while waiting:
                    del waiting[: os.write(fd, waiting)]

        def finish() -> None:
            store()
            with self._in(path) as (above, name):
                self._apply(fd, wanted)
                os.rename(temporary, name, src_dir_fd=above, dst_dir_fd=above)

        def discard() -> None:
            with contextlib.suppress(OSError), self._in(path) as (above, _):
                os.unlink(temporary, dir_fd=above)

        async def write(piece: bytes) -> None:
            waiting.extend(piece)
            if len(waiting) >= _BATCH:
                await in_thread(store)

        try:
            yield write
            await in_thread(finish)
        except BaseException:
            await in_thread(discard)
            raise
        finally:
            if fd >= 0:
                os.close(fd)

    async def readlink(self, path: str) -> str:
        def read() -> str:
            with self._in(path) as (fd, name):
                return os.readlink(name, dir_fd=fd)

        return await in_thread(read)

    async def symlink(self, path: str, target: str, wanted: FileStat) -> None:
        def link() -> None:
            temporary = _temporary()
            with self._in(path) as (fd, name):
                os.symlink(target, temporary, dir_fd=fd)
                try:
                    if self._owners:
                        os.chown(temporary, wanted.uid, wanted.gid, dir_fd=fd, follow_symlinks=False)
                    os.utime(temporary, (wanted.mtime, wanted.mtime), dir_fd=fd, follow_symlinks=False)
                    os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
                except BaseException:
                    os.unlink(temporary, dir_fd=fd)
                    raise

        await in_thread(link)

    async def mkdir(self, path: str, wanted: FileStat) -> None:
        def make() -> None:
            with self._in(path) as (fd, name), contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=fd)
            with self._opened(path, _DIRECTORY):
                pass

        await in_thread(make)

    async def set(self, entries: list[Entry]) -> None:
        def give() -> None:
            for path, wanted in entries:
                with self._opened(path, _FILE) as fd:
                    self._apply(fd, wanted)

        await in_thread(give)

    @contextmanager
    def _in(self, path: str) -> Generator[tuple[int, str]]:
        """A descriptor of the directory that an entry is in, and its name there."""
        *above, name = (path or self._top).split("/")
        with self._named(path):
            fd = os.dup(self._fd)
            try:
                for part in above:
                    last, fd = fd, os.open(part, _DIRECTORY, dir_fd=fd)
                    os.close(last)
                yield fd, name
            finally:
                os.close(fd)

    @contextmanager
    def _opened(self, path: str, flags: int) -> Generator[int]:
        with self._in(path) as (above, name):
            fd = os.open(name, flags, dir_fd=above)
            try:
                yield fd
            finally:
                os.close(fd)

    @contextmanager
    def _named(self, path: str) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.name(path)) from None

    def _apply(self, fd: int, wanted: FileStat) -> None:
        if self._owners:
            os.fchown(fd, wanted.uid, wanted.gid)  # first: it clears set-id bits
        os.fchmod(fd, wanted.mode)
        os.utime(fd, (wanted.mtime, wanted.mtime))


def file_stat(found: os.stat_result) -> FileStat:
    """What the system says of a file."""
    return FileStat.of(found.st_mode, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns // 10**9)


def checked_name(name: bytes) -> str:
    """A name that the instance lists, or `IncusError` for one that could lead out of the directory it is in."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise IncusError(f"the instance lists {name!r}, which is no name")
    return name.decode(errors="surrogateescape")


async def undo(removal: Awaitable[None]) -> None:
    """Remove what must not stay in the instance, if that is possible in a moment."""
    with contextlib.suppress(IncusError, TimeoutError):
        async with asyncio.timeout(_GRACE):
            await removal


async def _batches(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The same bytes in pieces of one size, but the last."""
    batch = bytearray()
    async for piece in pieces:
        batch += piece
        while len(batch) >= _BATCH:
            yield bytes(batch[:_BATCH])
            del batch[:_BATCH]
    if batch:
        yield bytes(batch)


def _depth(path: str) -> int:
    return path.count("/") + 1 if path else 0


def _temporary() -> str:
    return f".incus-{secrets.token_hex(8)}"
