"""Copying files and trees to and from an instance: the order of steps, and the two sides, `LocalTree` and `RemoteTree`.

A tree is a file, or a directory with all below it. An entry is known by its path below the tree; "" is the tree itself.
The instance is not trusted: its names are checked, no link is followed, and only regular files are opened.

SFTP says what is in the instance, and moves everything. Where there are many small files and the instance runs, they go
in batches, as an archive (`_tar`): faster by far, but never needed. What does not arrive that way goes over SFTP.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import BinaryIO, Literal, Protocol

from .._concurrency import for_each, in_thread, shielded
from .._connection import wire
from .._content import Meter
from ..exceptions import IncusAPIError, IncusConflictError, IncusError, IncusInputError
from ..operations import OnProgress
from ._names import MAX_PATH, decode_name
from ._sftp import FileStat, Flags, Sftp, printable
from ._tar import InstanceTar, unpack

Entry = tuple[str, FileStat]
Batch = dict[str, tuple[FileStat, bytes]]
"""Files with their attributes and contents."""
Piece = bytes | memoryview
Write = Callable[[Piece], Awaitable[None]]


HAS_DESCRIPTORS = os.open in os.supports_dir_fd
"""Whether files can be reached from a descriptor of their directory. Windows cannot, and has no permissions either."""

_CHUNK = 1024 * 1024  # bytes read or written locally at once
_HOLE = 64 * 1024  # bytes of zeros that become a hole, which takes no room
_ZEROS = bytes(_HOLE)
_REQUESTS = 32  # requests that change attributes or names, under way at once
_SMALL = 64 * 1024  # bytes of the largest file in a batch; larger ones are as fast over SFTP
_FEW = 20  # small files that are not worth a batch: a command costs as much
_BATCH_FILES = 2000  # of a batch at most
_BATCH_SIZE = 4 * 1024 * 1024  # bytes of the files in a batch, at most
_BATCHES = 2  # under way at once: the instance works on one while the other is read or written here
_KINDS = ("file", "directory", "symlink")  # types that are copied
_PRIVATE = b"new"  # the entry in a private directory
_NESTED = 8  # links to directories that are followed on the way to a file; more are a circle

# What the system has of them. Opening a fifo must not block; O_BINARY is Windows'.
_NO_LINK, _DIRECTORY, _NONBLOCK, _BINARY = (
    getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "O_BINARY")
)
_NEW_FILE = _NO_LINK | _NONBLOCK | _BINARY | os.O_WRONLY | os.O_CREAT | os.O_EXCL


@dataclass(frozen=True)
class Transfer:
    """The outcome of a push or pull."""

    files: int
    """Files copied."""
    directories: int
    links: int
    bytes: int
    """Bytes copied."""
    skipped: int
    """Files left out because they were equal."""
    special: tuple[str, ...]
    """What was not copied, as fifos, sockets and devices: the paths below the tree; "" is the tree itself."""


@dataclass(frozen=True)
class Options:
    """How to copy; ``adjust`` turns the attributes of the source into those of the copy."""

    adjust: Callable[[FileStat], FileStat]
    skip_equal: bool | Literal["content"]
    progress: OnProgress | None
    limit: int
    follow: bool = False
    """Copy what the links in the tree lead to."""
    links: Literal["keep", "skip"] = "keep"
    stage: str = "upload"

    def __post_init__(self) -> None:
        if self.links not in ("keep", "skip"):
            raise IncusInputError(f'links must be "keep" or "skip", not {self.links!r}')
        if self.skip_equal not in (True, False, "content"):
            raise IncusInputError(f'skip_equal must be True, False or "content", not {self.skip_equal!r}')
        if not isinstance(self.limit, int) or self.limit < 1:
            raise IncusInputError(f"limit must be at least 1, not {self.limit!r}")


def adjusting(mode: int | None, uid: int | None, gid: int | None) -> Callable[[FileStat], FileStat]:
    """What gives attributes the permissions and the owner that are not None."""
    wire.permissions(mode)

    def adjust(found: FileStat) -> FileStat:
        own = found.mode if mode is None else mode
        if mode is not None and found.type == "directory":
            own |= (mode & 0o444) >> 2  # who may read it may search it
        return replace(found, mode=own, uid=found.uid if uid is None else uid, gid=found.gid if gid is None else gid)

    return adjust


class Tree(Protocol):
    """One side of a copy."""

    def name(self, path: str) -> str:
        """The name of an entry in errors."""
        ...

    async def children(self, path: str) -> list[Entry]:
        """The entries in a directory."""
        ...

    async def find(self, path: str, *, follow: bool = False) -> FileStat | None:
        """The attributes of an entry, of a link its own unless ``follow``; None if it does not exist."""
        ...

    def read(self, path: str) -> AbstractAsyncContextManager[tuple[FileStat, AsyncIterator[Piece]]]:
        """The attributes and the content of a file: no more than its size, but all if that is 0, as in /proc."""
        ...

    def write(self, path: str, attributes: FileStat) -> AbstractAsyncContextManager[Write]:
        """Write a file that appears complete, with its attributes, when the block ends; or not at all if it raises."""
        ...

    @property
    def takes_batches(self) -> bool:
        """Whether files can be read and written in batches."""
        ...

    async def read_batch(self, files: list[Entry]) -> Batch:
        """Those of some small files that can be read in one go, each complete."""
        ...

    async def write_batch(self, batch: Batch) -> list[str]:
        """Write files in one go, each as `write` does; the paths of those that were written."""
        ...

    async def readlink(self, path: str) -> str:
        """The target of a link."""
        ...

    async def symlink(self, path: str, target: str, attributes: FileStat) -> None:
        """Make a link, in place of any file or link."""
        ...

    async def mkdir(self, path: str, attributes: FileStat) -> None:
        """Make a directory unless there is one; a new one is open to nobody whom ``attributes`` keep out."""
        ...

    async def set(self, entries: list[Entry]) -> None:
        """Set the attributes of files and directories, in this order."""
        ...

    async def set_in_place(self, path: str, there: FileStat, attributes: FileStat) -> bool:
        """Set the attributes of a file, which are ``there``; False if that could change another's file.

        It can be a hard link to one, which somebody put here.
        """
        ...

    async def entries(self, limit: int, *, follow: bool = False) -> list[Entry]:
        """All entries below the tree, level by level; with ``follow``, what links lead to in place of the links."""
        entries: list[Entry] = []
        followed = set[str]()  # links to directories

        async def scan(path: str) -> None:
            entries.extend(await self.children(path))

        async def follow_link(number: int) -> None:
            path, _ = entries[number]
            found = await self.find(path, follow=True)
            if found is None:
                raise IncusError(f"{self.name(path)} is a link that leads nowhere")
            entries[number] = path, found
            if found.type == "directory":
                followed.add(path)
                if sum(above in followed for above in _parents(path)) >= _NESTED:
                    raise IncusError(f"{self.name(path)} is reached through links that lead in a circle")

        level = [""]
        while level:
            start = len(entries)
            await for_each(scan, level, limit)
            if follow:
                found_links = [n for n in range(start, len(entries)) if entries[n][1].type == "symlink"]
                await for_each(follow_link, found_links, limit)
            level = [path for path, found in entries[start:] if found.type == "directory"]
        return entries


async def copy(source: Tree, found: FileStat, target: Tree, options: Options) -> Transfer:
    """Make ``target`` the copy of ``source``, whose attributes are ``found``.

    Directories come first, then files and links, and last the attributes of the directories, from the deepest up: until
    then they belong to whoever copies, and nobody else can put a link in the way.
    """
    entries = [("", found)]
    if found.type == "directory":
        entries += await source.entries(options.limit, follow=options.follow)
    files, directories, links = ([entry for entry in entries if entry[1].type == kind] for kind in _KINDS)
    special = [path for path, found in entries if found.type not in _KINDS]
    if options.links == "skip":
        special += [path for path, _ in links]
        links = []
    meter = Meter(options.progress, options.stage, sum(found.size for _, found in files))
    done_files = done_bytes = skipped_files = skipped_bytes = 0

    def report(path: str, size: int = 0) -> None:
        meter.add(size, path, done_files, len(files))

    async def make_directory(entry: Entry) -> None:
        path, found = entry
        await target.mkdir(path, options.adjust(found))

    async def skip_if_equal(entry: Entry) -> None:
        nonlocal done_files, done_bytes, skipped_files, skipped_bytes
        path, found = entry
        if await _is_up_to_date(source, target, entry, options):
            del left[path]
            skipped_files += 1
            skipped_bytes += found.size
            done_files += 1
            done_bytes += found.size
            report(path, found.size)

    async def copy_batch(files: list[Entry]) -> None:
        nonlocal done_files, done_bytes
        if not (source.takes_batches and target.takes_batches):
            return
        batch = {
            path: (options.adjust(found), content)
            for path, (found, content) in (await source.read_batch(files)).items()
        }
        for path in await target.write_batch(batch):
            del left[path]
            done_files += 1
            done_bytes += len(batch[path][1])
            report(path, len(batch[path][1]))

    async def copy_file(entry: Entry) -> None:
        nonlocal done_files, done_bytes
        path, _ = entry
        async with source.read(path) as (found, pieces), target.write(path, options.adjust(found)) as write:
            size = 0
            async for piece in pieces:
                await write(piece)
                size, done_bytes = size + len(piece), done_bytes + len(piece)
                report(path, len(piece))
            if found.size not in (0, size):
                raise IncusError(f"{source.name(path)} was cut to {size} bytes of {found.size} while it was read")
        done_files += 1
        report(path)

    async def copy_link(entry: Entry) -> None:
        path, found = entry
        await target.symlink(path, await source.readlink(path), options.adjust(found))

    for _, level in groupby(directories, lambda entry: bool(entry[0]) + entry[0].count("/")):
        await for_each(make_directory, level, options.limit)
    left = dict(files)
    if options.skip_equal:
        await for_each(skip_if_equal, list(left.items()), options.limit)
    await for_each(copy_batch, _batches(left.items()), min(_BATCHES, options.limit))
    await for_each(copy_file, left.items(), options.limit)
    await for_each(copy_link, links, options.limit)
    await target.set([(path, options.adjust(found)) for path, found in reversed(directories)])
    copied_files, copied_bytes = done_files - skipped_files, done_bytes - skipped_bytes
    return Transfer(copied_files, len(directories), len(links), copied_bytes, skipped_files, tuple(sorted(special)))


def _batches(files: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The small ones among some files in batches, unless they are few."""
    small = [entry for entry in files if entry[1].size <= _SMALL]
    if len(small) < _FEW:
        return
    batch, size = list[Entry](), 0
    for entry in small:
        batch.append(entry)
        size += entry[1].size
        if len(batch) >= _BATCH_FILES or size >= _BATCH_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def _is_up_to_date(source: Tree, target: Tree, entry: Entry, options: Options) -> bool:
    """Whether a file needs no copy; if so, its attributes are set."""
    path, found = entry
    attributes, there = options.adjust(found), await target.find(path)
    if there is None or (there.type, there.size) != (found.type, found.size):
        return False
    if options.skip_equal == "content":
        async with (
            source.read(path) as (_, source_content),
            target.read(path) as (_, target_content),
            aclosing(_rechunk(source_content)) as source_chunks,
            aclosing(_rechunk(target_content)) as target_chunks,
        ):
            async for chunk in source_chunks:
                if chunk != await anext(target_chunks, b""):
                    return False
            if await anext(target_chunks, b""):
                return False
    elif there.mtime != found.mtime:
        return False
    return there == attributes or await target.set_in_place(path, there, attributes)


class RemoteTree(Tree):
    """The side of the instance. Without ``tar``, or after a command could not be run, it takes no batches."""

    def __init__(self, sftp: Sftp, path: bytes, tar: InstanceTar | None = None) -> None:
        self._sftp = sftp
        self._path = path
        self._tar = tar

    def name(self, path: str) -> str:
        return printable(self._absolute(path))

    async def children(self, path: str) -> list[Entry]:
        names = await self._sftp.list(self._absolute(path))
        return [(posixpath.join(path, decode_name(name)), found) for name, found in names]

    async def find(self, path: str, *, follow: bool = False) -> FileStat | None:
        return await self._sftp.find(self._absolute(path), follow=follow)

    @asynccontextmanager
    async def read(self, path: str) -> AsyncGenerator[tuple[FileStat, AsyncIterator[Piece]]]:
        handle = await self._sftp.open(self._absolute(path), Flags.READ)
        try:
            found = await handle.stat()
            if found.type != "file":
                raise IncusError(f"{self.name(path)} became a {found.type}")
            yield found, handle.read(found.size, to_end=not found.size)
        finally:
            handle.drop()

    @asynccontextmanager
    async def write(self, path: str, attributes: FileStat) -> AsyncGenerator[Write]:
        async with self._replacement(path, private=bool(0o644 & ~attributes.mode)) as temporary:
            handle = await self._sftp.open(temporary, Flags.WRITE | Flags.CREATE | Flags.EXCLUSIVE)
            in_hole = False

            async def write(piece: Piece) -> None:
                nonlocal in_hole
                for run, in_hole in _runs(bytes(piece)):
                    if in_hole:
                        handle.offset += len(run)
                    else:
                        await handle.write(run)

            try:
                yield write
                if in_hole:  # its last byte makes the file as long as it is
                    handle.offset -= 1
                    await handle.write(b"\0")
                size = await handle.finish(attributes)
            except BaseException:
                handle.drop()
                raise
            if size != handle.offset:
                raise IncusError(f"{self.name(path)} has {size} bytes instead of the {handle.offset} that were sent")

    @property
    def takes_batches(self) -> bool:
        return self._tar is not None

    async def read_batch(self, files: list[Entry]) -> Batch:
        # Without the empty ones: those of /proc only seem so.
        wanted = {b"./" + path.encode(errors="surrogateescape"): (path, found) for path, found in files if found.size}
        if self._tar is None or not wanted:
            return {}
        try:
            archive = await self._tar.create(list(wanted), sum(found.size for _, found in wanted.values()))
        except IncusError:
            self._tar = None
            return {}

        def take() -> Batch:
            members = ((wanted.get(name), found, content) for name, found, content in unpack(archive or b""))
            # What differs from the list is changing, or is more than the format can say.
            return {entry[0]: (found, content) for entry, found, content in members if entry and entry[1] == found}

        return await in_thread(take)

    async def write_batch(self, batch: Batch) -> list[str]:
        tar, written, directory = self._tar, list[str](), _temporary_name()
        if tar is None or not batch:
            return []
        temporary = posixpath.join(self._path, directory.encode())
        # These names occur nowhere else, should somebody put another directory or a link in its place.
        paths = {f"{directory}-{number}".encode(): path for number, path in enumerate(batch)}

        async def place(entry: tuple[bytes, FileStat]) -> None:
            name, found = entry
            if (path := paths.get(name)) is not None and found == batch[path][0]:
                with contextlib.suppress(IncusAPIError):  # it goes over SFTP, which says why it cannot
                    await self._sftp.rename(posixpath.join(temporary, name), self._absolute(path))
                    del paths[name]
                    written.append(path)

        try:
            await self._sftp.mkdir(temporary)
            if await tar.extract([(name, *batch[path]) for name, path in paths.items()], directory):
                await for_each(place, await self._sftp.list(temporary), _REQUESTS)
        except IncusError:
            self._tar = None
        finally:
            await shielded(self._sftp.discard(temporary, holding=list(paths)))
        return written

    async def readlink(self, path: str) -> str:
        target = await self._sftp.readlink(self._absolute(path))
        if not target or b"\0" in target:
            raise IncusError(f"{self.name(path)} is a link with the invalid target {target!r}")
        return target.decode(errors="surrogateescape")

    async def symlink(self, path: str, target: str, attributes: FileStat) -> None:
        async with self._replacement(path) as temporary:
            await self._sftp.symlink(target.encode(errors="surrogateescape"), temporary)

    async def mkdir(self, path: str, attributes: FileStat) -> None:
        directory, private = self._absolute(path), bool(0o755 & ~attributes.mode)
        try:
            if private and await self._sftp.find(directory, follow=not path) is None:
                async with self._private_directory(posixpath.dirname(directory)) as above:
                    new = posixpath.join(above, _PRIVATE)
                    await self._sftp.mkdir(new)
                    await self._sftp.set(new, mode=0o700)
                    await self._sftp.rename(new, directory)
            else:
                await self._sftp.mkdir(directory)
        except IncusAPIError:
            found = await self._sftp.find(directory, follow=not path)
            if found is None or found.type != "directory":
                raise

    @asynccontextmanager
    async def _private_directory(self, above: bytes) -> AsyncGenerator[bytes]:
        """A temporary directory for one entry, ``_PRIVATE``, which only root can reach.

        All that SFTP makes is open to everybody at first: who has opened a file or a directory then can read it for
        ever.
        """
        directory = posixpath.join(above, _temporary_name().encode())
        try:
            await self._sftp.mkdir(directory)
            await self._sftp.set(directory, mode=0o700)
            yield directory
        finally:
            await shielded(self._sftp.discard(directory, holding=[_PRIVATE]))

    async def set(self, entries: list[Entry]) -> None:
        async def set_one(entry: Entry) -> None:
            path, found = entry
            await self._sftp.set(self._absolute(path), mode=found.mode, uid=found.uid, gid=found.gid, mtime=found.mtime)

        await for_each(set_one, entries, _REQUESTS)  # the daemon carries them out in the order they are sent in

    async def set_in_place(self, path: str, there: FileStat, attributes: FileStat) -> bool:
        if replace(there, mtime=attributes.mtime) != attributes:  # SFTP does not count a file's names
            return False
        await self.set([(path, attributes)])
        return True

    def _absolute(self, path: str) -> bytes:
        joined = posixpath.join(self._path, path.encode(errors="surrogateescape")) if path else self._path
        if len(joined) > MAX_PATH:
            raise IncusError(f"the path {joined[:50]!r}... has more than {MAX_PATH} bytes")
        return joined

    @asynccontextmanager
    async def _replacement(self, path: str, *, private: bool = False) -> AsyncGenerator[bytes]:
        """A temporary path that takes the place of an entry when the block ends."""
        target = self._absolute(path)
        above = posixpath.dirname(target)
        try:
            if private:
                async with self._private_directory(above) as directory:
                    yield (temporary := posixpath.join(directory, _PRIVATE))
                    await self._sftp.rename(temporary, target)
            else:
                temporary = posixpath.join(above, _temporary_name().encode())
                try:
                    yield temporary
                    await self._sftp.rename(temporary, target)
                except BaseException:
                    await shielded(self._sftp.discard(temporary))
                    raise
        except IncusConflictError as error:
            error._append(f"; {self.name(path)} is a directory, which a file or link cannot replace")
            raise


class LocalTree(Tree):
    """The side of this machine. All that touches a disk runs in threads.

    It holds the tree's directory open, or for a file the one above it. From there each step down is opened relative to
    the one before and follows no link, even if somebody puts one there meanwhile. Errors are OSError with the path.
    Where the system cannot do that, a `PlainTree` does the steps with an underscore in its own way.
    """

    def __init__(self, path: str, *, directory: bool, owners: bool | None = None, follow: bool = False) -> None:
        """``directory``: whether it is one, which must exist. ``owners``: whether to set owners; None as root alone.

        ``follow``: whether to open what links lead to, which otherwise fails.
        """
        self._path, self._top = (path, ".") if directory else os.path.split(path)
        self._follow = follow
        links = 0 if follow else _NO_LINK
        self._open_file, self._open_directory = links | _NONBLOCK | _BINARY, links | _DIRECTORY
        self._begin(owners)

    def __enter__(self) -> LocalTree:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def name(self, path: str) -> str:
        return os.path.join(self._path, path or self._top)

    async def children(self, path: str) -> list[Entry]:
        def scan() -> list[Entry]:
            with self._open(path, directory=True) as directory, os.scandir(directory) as found:
                return [
                    (posixpath.join(path, entry.name), file_stat(entry.stat(follow_symlinks=False))) for entry in found
                ]

        return await in_thread(scan)

    async def find(self, path: str, *, follow: bool = False) -> FileStat | None:
        def stat() -> FileStat | None:
            with contextlib.suppress(FileNotFoundError), self._open_parent(path) as (parent, name):
                return file_stat(os.stat(name, dir_fd=parent, follow_symlinks=follow))
            return None

        return await in_thread(stat)

    @asynccontextmanager
    async def read(self, path: str) -> AsyncGenerator[tuple[FileStat, AsyncIterator[Piece]]]:
        def open_file() -> tuple[BinaryIO, FileStat, bytes]:
            with self._open_parent(path) as (parent, name):
                file = stack.enter_context(os.fdopen(self._open_to_read(parent, name), "rb", 0))
                found = file_stat(os.fstat(file.fileno()))
                if found.type != "file":
                    raise OSError(errno.EINVAL, f"became a {found.type}")
                return file, found, file.read(min(_CHUNK, found.size or _CHUNK))

        async def pieces() -> AsyncGenerator[bytes]:
            piece, size = first, 0
            while piece:
                yield piece
                size += len(piece)
                left = found.size - size if found.size else _CHUNK
                piece = await in_thread(file.read, min(_CHUNK, left)) if left else b""

        with contextlib.ExitStack() as stack:
            file, found, first = await in_thread(open_file)
            async with aclosing(pieces()) as content:
                yield found, content

    @asynccontextmanager
    async def write(self, path: str, attributes: FileStat) -> AsyncGenerator[Write]:
        temporary, fd = _temporary_name(), -1
        kept, size = list[Piece](), 0

        def store(content: bytes) -> None:
            nonlocal fd
            if fd < 0:
                with self._open_parent(path) as (parent, name):
                    fd = os.open(_beside(name, temporary), _NEW_FILE, 0o600, dir_fd=parent)
            with self._path_in_errors(path):
                write_all(fd, content)

        def finish() -> None:
            nonlocal fd
            store(b"".join(kept))
            with self._open_parent(path) as (parent, name):
                last, fd = fd, -1
                self._complete(last, _beside(name, temporary), attributes)
                os.replace(_beside(name, temporary), name, src_dir_fd=parent, dst_dir_fd=parent)

        def discard() -> None:
            if fd >= 0:
                os.close(fd)  # first: Windows removes nothing that is open
            with contextlib.suppress(OSError), self._open_parent(path) as (parent, name):
                os.unlink(_beside(name, temporary), dir_fd=parent)

        async def write(piece: Piece) -> None:
            nonlocal size
            kept.append(piece)
            size += len(piece)
            if size >= _CHUNK:
                content, size = b"".join(kept), 0
                kept.clear()
                await in_thread(store, content)

        try:
            yield write
            await in_thread(finish)
        except BaseException:
            await in_thread(discard)
            raise

    @property
    def takes_batches(self) -> bool:
        return True

    async def read_batch(self, files: list[Entry]) -> Batch:
        def read_all() -> Batch:
            batch: Batch = {}
            for path, listed in files:
                with contextlib.suppress(OSError), self._open_parent(path) as (parent, name):
                    fd = self._open_to_read(parent, name)
                    try:
                        found = file_stat(os.fstat(fd))
                        if found.type == "file" and found.size == listed.size:
                            content = os.read(fd, found.size + 1)
                            if len(content) == found.size:
                                batch[path] = (found, content)
                    finally:
                        os.close(fd)
            return batch

        return await in_thread(read_all)

    async def write_batch(self, batch: Batch) -> list[str]:
        def write_files() -> None:
            prefix = _temporary_name()
            for number, (path, (attributes, content)) in enumerate(batch.items()):
                with self._open_parent(path) as (parent, name):
                    temporary = _beside(name, f"{prefix}-{number}")
                    fd = os.open(temporary, _NEW_FILE, 0o600, dir_fd=parent)
                    try:
                        self._complete(fd, temporary, attributes, content)
                        os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
                    except BaseException:
                        os.unlink(temporary, dir_fd=parent)
                        raise

        await in_thread(write_files)
        return list(batch)

    async def readlink(self, path: str) -> str:
        def read() -> str:
            with self._open_parent(path) as (parent, name):
                return os.readlink(name, dir_fd=parent).replace(os.sep, "/")

        return await in_thread(read)

    async def symlink(self, path: str, target: str, attributes: FileStat) -> None:
        def link() -> None:
            with self._open_parent(path) as (parent, name):
                temporary = _beside(name, _temporary_name())
                os.symlink(target.replace("/", os.sep), temporary, dir_fd=parent)
                try:
                    self._set_attributes_of_link(parent, temporary, attributes)
                    os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
                except BaseException:
                    os.unlink(temporary, dir_fd=parent)
                    raise

        await in_thread(link)

    async def mkdir(self, path: str, attributes: FileStat) -> None:
        def make() -> None:
            with self._open_parent(path) as (parent, name), contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
            with self._open(path, directory=True):
                pass

        await in_thread(make)

    async def set(self, entries: list[Entry]) -> None:
        def set_all() -> None:
            for path, attributes in entries:
                with self._open(path) as file:
                    self._set_attributes(file, attributes)

        await in_thread(set_all)

    async def set_in_place(self, path: str, there: FileStat, attributes: FileStat) -> bool:
        def set_if_own() -> bool:
            with self._open(path) as file:
                if is_own := os.stat(file).st_nlink == 1:
                    self._set_attributes(file, attributes)
                return is_own

        return await in_thread(set_if_own)

    def _begin(self, owners: bool | None) -> None:
        self._owners = os.geteuid() == 0 if owners is None else owners
        self._fd = os.open(self._path, _DIRECTORY)

    def _end(self) -> None:
        os.close(self._fd)

    @contextmanager
    def _open_parent(self, path: str) -> Generator[tuple[int | None, str]]:
        """The directory that holds an entry, for ``dir_fd``, and the entry's name there."""
        *above, name = (path or self._top).split("/")
        with self._path_in_errors(path):
            fd = os.dup(self._fd)
            try:
                for part in above:
                    last, fd = fd, os.open(part, self._open_directory, dir_fd=fd)
                    os.close(last)
                yield fd, name
            finally:
                os.close(fd)

    @contextmanager
    def _open(self, path: str, *, directory: bool = False) -> Generator[int | str]:
        """A file or directory, or only the latter, as functions of ``os`` take it."""
        with self._open_parent(path) as (parent, name):
            fd = os.open(name, self._open_directory if directory else self._open_file, dir_fd=parent)
            try:
                yield fd
            finally:
                os.close(fd)

    def _open_to_read(self, parent: int | None, name: str) -> int:
        return os.open(name, self._open_file, dir_fd=parent)

    @contextmanager
    def _path_in_errors(self, path: str) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.name(path)) from None

    def _set_attributes(self, file: int | str, attributes: FileStat) -> None:
        if self._owners:
            os.chown(file, attributes.uid, attributes.gid)  # first: it clears set-id bits
        os.chmod(file, attributes.mode)
        os.utime(file, (attributes.mtime, attributes.mtime))

    def _complete(self, fd: int, name: str, attributes: FileStat, rest: bytes = b"") -> None:
        """Write what is left of a new file, set its attributes, and close it."""
        try:
            write_all(fd, rest)
            self._set_attributes(fd, attributes)
        finally:
            os.close(fd)

    def _set_attributes_of_link(self, parent: int | None, name: str, attributes: FileStat) -> None:
        if self._owners:
            os.chown(name, attributes.uid, attributes.gid, dir_fd=parent, follow_symlinks=False)
        os.utime(name, (attributes.mtime, attributes.mtime), dir_fd=parent, follow_symlinks=False)


def file_stat(found: os.stat_result) -> FileStat:
    """The attributes of a local file; without permissions in the system, those that are usual."""
    mode = found.st_mode if HAS_DESCRIPTORS else found.st_mode & ~0o022
    return FileStat.of(mode, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns // 10**9)


async def _rechunk(pieces: AsyncIterator[Piece]) -> AsyncGenerator[bytes]:
    """The same bytes in chunks of one size; only the last is smaller."""
    chunk = bytearray()
    async for piece in pieces:
        chunk += piece
        while len(chunk) >= _CHUNK:
            yield bytes(chunk[:_CHUNK])
            del chunk[:_CHUNK]
    if chunk:
        yield bytes(chunk)


def _runs(content: bytes) -> Iterator[tuple[memoryview, bool]]:
    """Content in runs of blocks, each with whether it is to become a hole."""

    def is_zero(start: int) -> bool:
        return not content[start] and _ZEROS.startswith(content[start : start + _HOLE])

    view = memoryview(content)
    for is_hole, starts in groupby(range(0, len(content), _HOLE), is_zero):
        blocks = list(starts)
        yield view[blocks[0] : blocks[-1] + _HOLE], is_hole


def write_all(fd: int, content: bytes) -> None:
    """Write to a new file, with holes for what is zero."""
    for run, is_hole in _runs(content):
        if is_hole:
            os.ftruncate(fd, os.lseek(fd, len(run), os.SEEK_CUR))
        while run and not is_hole:
            run = run[os.write(fd, run) :]


def _parents(path: str) -> Iterator[str]:
    """The directories above an entry, the nearest first; not the tree itself."""
    while path := posixpath.dirname(path):
        yield path


def _temporary_name() -> str:
    return f".incus-{os.urandom(8).hex()}"


def _beside(name: str, temporary: str) -> str:
    """Another name in the directory of the first, which is a whole path where the system has no descriptors."""
    return os.path.join(os.path.dirname(name), temporary)
