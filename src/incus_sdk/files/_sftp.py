"""SFTP version 3 on a connection that the daemon upgraded to it: packets, many under way at once, and their meaning.

Deals in bytes, handles and attributes. Paths as people write them are up to `_paths`, local files and trees to
`_trees`.

Why no library: the daemon offers SFTP without SSH around it, which no library for asyncio supports. asyncssh has no
public entry to it (the private one needs an imitation of an SSH connection, reader and writer, and changed in 2.22),
takes 280 ms to import and 16 MB of cryptography to parse these few packets, and was 1.3 to 2 times slower; paramiko
blocks. The protocol has not changed since 2001.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import posixpath
import stat as modes
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Generator, Iterable
from dataclasses import dataclass
from enum import IntFlag
from typing import Literal, Self

from .._connection import wire
from .._connection.scope import Scope
from ..exceptions import (
    _BY_STATUS,
    IncusAPIError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
)
from ._sftp_packets import POSIX_RENAME, Kind, string

_READ_SIZE = 32 * 1024  # bytes of a piece; the daemon sends no more
_WRITE_SIZE = 128 * 1024  # bytes of a piece; the daemon takes packets of up to 256 KiB
_WINDOW = 2 * 1024 * 1024  # bytes requested or sent before the first answer, which hides the round trip
_LISTINGS = 4  # requests for names sent ahead; each is answered by up to 128
_MAX_LISTING = 256 * 1024 * 1024  # bytes of the names in a directory; a million have about half of that
_MAX_ANSWER = 1024 * 1024  # bytes; no honest answer is longer
_GRACE = 5.0  # seconds to remove what a failed transfer left
_ANSWER = 0.5  # seconds for an answer while cleaning up, or else the connection is silent
_HEADER = struct.Struct(">IBI")  # length of all after it, kind, number

FileType = Literal["file", "directory", "symlink", "fifo", "socket", "block", "char", "unknown"]

_TYPES: dict[int, FileType] = {
    modes.S_IFREG: "file",
    modes.S_IFDIR: "directory",
    modes.S_IFLNK: "symlink",
    modes.S_IFIFO: "fifo",
    modes.S_IFSOCK: "socket",
    modes.S_IFBLK: "block",
    modes.S_IFCHR: "char",
}


@dataclass(frozen=True, slots=True)
class FileStat:
    """The type and the attributes of a file."""

    type: FileType
    mode: int
    """Permissions, with the set-uid, set-gid and sticky bits."""
    uid: int
    gid: int
    size: int
    """Bytes."""
    mtime: int
    """When the content last changed, in seconds since 1970."""

    @classmethod
    def of(cls, mode: int, uid: int, gid: int, size: int, mtime: int) -> FileStat:
        """Make one from a mode that includes the type, like that of ``os.stat``.

        Args:
            mode: Type and permissions.
            uid: The owner.
            gid: The group.
            size: Bytes.
            mtime: Seconds since 1970.
        """
        return cls(_TYPES.get(modes.S_IFMT(mode), "unknown"), modes.S_IMODE(mode), uid, gid, size, mtime)


class Flags(IntFlag):
    """How a file is opened."""

    READ = 1
    WRITE = 2
    CREATE = 8
    TRUNCATE = 16
    EXCLUSIVE = 32


_ANSWERS = {
    Kind.OPEN: Kind.HANDLE,
    Kind.OPENDIR: Kind.HANDLE,
    Kind.READ: Kind.DATA,
    Kind.READDIR: Kind.NAME,
    Kind.READLINK: Kind.NAME,
    Kind.STAT: Kind.ATTRS,
    Kind.LSTAT: Kind.ATTRS,
    Kind.FSTAT: Kind.ATTRS,
}
"""The kinds of answers to requests that succeed; STATUS for those not listed."""

_LOST = 0  # stands for the kind of an answer that will never come
_OK, _EOF = 0, 1
# The HTTP statuses of SFTP's codes, and of the system's messages, which all come with code 4.
_STATUS_OF_CODE = {2: 404, 3: 403}
_STATUS_OF_MESSAGE = {"file exists": 409, "directory not empty": 409, "device or resource busy": 409}


@dataclass(frozen=True, slots=True)
class _Request:
    """A request that was sent: its kind, the path for its errors, and kind and fields of the answer to come."""

    kind: Kind
    path: bytes
    answer: asyncio.Future[tuple[int, bytes]]


class Sftp:
    """One SFTP connection to an instance or a volume, for the time of ``async with``.

    Requests are answered in the order they were sent. Those that change names or attributes are also carried out in
    that order; reads and writes are not, and what must follow them waits for their answers.
    """

    def __init__(self, scope: Scope, owner: tuple[str, ...]) -> None:
        """``owner``: the path of the instance or volume, like ``("instances", "c1")``."""
        self._scope = scope
        self._owner = owner
        # The first packet carries the version, 3, where all others have their number, and so does its answer.
        self._numbers = itertools.count(3)
        self._waiting: dict[int, asyncio.Future[tuple[int, bytes]]] = {}
        self._unsent: list[bytes | memoryview] = []
        self._lost: Exception | None = None
        self._clean_up = asyncio.Lock()

    async def __aenter__(self) -> Self:
        if self._owner[0] == "storage-pools":
            await self._scope.require("custom_volume_sftp", "reaching the files of a volume")
        self._reader, self._writer = await self._scope.upgrade("GET", wire.path(*self._owner, "sftp"), "sftp")
        self._send(Kind.INIT, b"")
        self._receiving = asyncio.create_task(self._receive())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._lost = self._lost or ConnectionAbortedError("it was closed")
        self._receiving.cancel()
        self._writer.transport.abort()  # whatever mattered has been answered
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        await asyncio.gather(self._receiving, return_exceptions=True)

    async def stat(self, path: bytes, *, follow: bool = True) -> FileStat:
        """The attributes of a file; of a link with ``follow``, those of its target."""
        kind = Kind.STAT if follow else Kind.LSTAT
        return (await self._request(kind, path, string(path))).attributes()

    async def find(self, path: bytes, *, follow: bool = True) -> FileStat | None:
        """`stat`, or None where there is nothing."""
        try:
            return await self.stat(path, follow=follow)
        except IncusAPIError as error:
            if error.status_code == 404 or error.response["error"].endswith("not a directory"):
                return None
            raise

    async def set(
        self,
        path: bytes,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        mtime: int | None = None,
        handle: Handle | None = None,
    ) -> None:
        """Set attributes of a file, of a link's target, or of an open file; those that are None stay."""
        if (uid is None) != (gid is None):
            now = await (self.stat(path) if handle is None else handle.stat())
            uid, gid = (now.uid if uid is None else uid), (now.gid if gid is None else gid)
        for request in self._send_attributes(path, handle, mode, uid, gid, mtime):
            await self._answer(request)

    def _send_attributes(
        self, path: bytes, handle: Handle | None, mode: int | None, uid: int | None, gid: int | None, mtime: int | None
    ) -> list[_Request]:
        sets: list[bytes] = []
        try:
            if uid is not None:
                # First and alone: it clears set-id bits.
                sets.append(struct.pack(">III", 2, uid, gid))
            if mode is not None or mtime is not None:
                fields = b"" if mode is None else struct.pack(">I", _with_go_bits(mode))
                if mtime is not None:
                    fields += struct.pack(">I", min(max(0, mtime), 0xFFFFFFFF)) * 2
                sets.append(struct.pack(">I", (mode is not None) * 4 | (mtime is not None) * 8) + fields)
        except (struct.error, TypeError) as error:
            raise IncusInputError(f"invalid mode, owner or time: {mode=}, {uid=}, {gid=} ({error})") from None
        if handle is None:
            return [self._send(Kind.SETSTAT, path, string(path), fields) for fields in sets]
        return [handle._send(Kind.FSETSTAT, fields) for fields in sets]

    async def list(self, path: bytes) -> list[tuple[bytes, FileStat]]:
        """The names in a directory with their attributes; links are not followed."""
        handle = await self._open(Kind.OPENDIR, path, string(path))
        names: list[tuple[bytes, FileStat]] = []
        size = 0
        try:
            ahead = deque(handle._send(Kind.READDIR) for _ in range(_LISTINGS))
            while count := (fields := await self._answer(ahead.popleft())).number():
                if (size := size + fields.size) > _MAX_LISTING:
                    raise IncusConnectionError(f"{'/'.join(self._owner)}: the list of {printable(path)} does not end")
                ahead.append(handle._send(Kind.READDIR))
                for _ in range(count):
                    name = fields.string()
                    fields.string()  # the line of ls
                    names.append((name, fields.attributes()))
        finally:
            handle.drop()
        return [entry for entry in names if entry[0] not in (b".", b"..")]

    async def mkdir(self, path: bytes) -> None:
        """Make a directory."""
        with _parent_in_errors(path):
            await self._request(Kind.MKDIR, path, string(path), bytes(4))

    async def remove(self, path: bytes, *, directory: bool = False) -> None:
        """Remove a file, or an empty directory. The daemon accepts either for both, so check the type first."""
        await self._request(Kind.RMDIR if directory else Kind.REMOVE, path, string(path))

    async def discard(self, path: bytes, *, holding: Iterable[bytes] | None = None) -> None:
        """Remove what a failed transfer left: a file, or a directory ``holding`` these; never raises an Incus error.

        A directory is not listed: somebody can have put a link in its place. If this connection is broken or silent,
        another one removes it. It gives up after a few seconds.
        """
        with contextlib.suppress(IncusError, TimeoutError):
            async with asyncio.timeout(_GRACE):
                if await self._is_answering(path):
                    await self._remove_all(path, holding)
                elif self._scope.transport.is_open:
                    async with self._clean_up, Sftp(self._scope, self._owner) as other:
                        await other._remove_all(path, holding)

    async def _remove_all(self, path: bytes, holding: Iterable[bytes] | None) -> None:
        for name in holding or ():
            with contextlib.suppress(IncusAPIError):
                await self.remove(posixpath.join(path, name))
        await self.remove(path, directory=holding is not None)

    async def _is_answering(self, path: bytes) -> bool:
        try:
            async with asyncio.timeout(_ANSWER):
                await self.find(path, follow=False)
        except (IncusConnectionError, TimeoutError):
            return False
        return True

    async def rename(self, path: bytes, target: bytes) -> None:
        """Give a file another path, in place of a file that has it."""
        try:
            names = string(POSIX_RENAME), string(path), string(target)
            await self._request(Kind.EXTENDED, path, *names)
        except IncusNotFoundError as error:
            error._append(f", or no directory for {printable(target)}")
            raise

    async def symlink(self, target: bytes, path: bytes) -> None:
        """Make a link at ``path``."""
        with _parent_in_errors(path):
            # In the order of OpenSSH, not of the protocol's text.
            await self._request(Kind.SYMLINK, path, string(target), string(path))

    async def readlink(self, path: bytes) -> bytes:
        """The target of a link."""
        fields = await self._request(Kind.READLINK, path, string(path))
        fields.number()
        return fields.string()

    async def open(self, path: bytes, flags: Flags) -> Handle:
        """Open a file; the caller closes it. A new one is root's, 0644, whatever the request says."""
        with _parent_in_errors(path) if flags & Flags.CREATE else contextlib.nullcontext():
            return await self._open(Kind.OPEN, path, string(path), struct.pack(">II", flags, 0))

    async def _open(self, kind: Kind, path: bytes, *parts: bytes) -> Handle:
        request = self._send(kind, path, *parts)
        try:
            return Handle(self, path, (await self._answer(request)).string())
        except asyncio.CancelledError:
            if request.answer.done() and not request.answer.cancelled():  # else `_receive` closes it
                answered, body = request.answer.result()
                if answered == Kind.HANDLE:
                    Handle(self, path, _Fields(body).string()).drop()
            raise

    def _request(self, kind: Kind, path: bytes, *parts: bytes) -> Awaitable[_Fields]:
        return self._answer(self._send(kind, path, *parts))

    def _send(self, kind: Kind, path: bytes, *parts: bytes | memoryview) -> _Request:
        if self._lost is not None:
            raise self._connection_error()
        number = next(self._numbers) & 0xFFFFFFFF
        loop = asyncio.get_running_loop()
        answer = self._waiting[number] = loop.create_future()
        if not self._unsent:
            loop.call_soon(self._flush)  # requests of many tasks go out in one piece
        self._unsent += [_HEADER.pack(5 + sum(map(len, parts)), kind, number), *parts]
        return _Request(kind, path, answer)

    def _flush(self) -> None:
        if self._lost is None:
            self._writer.writelines(self._unsent)
        self._unsent = []

    async def _drain(self) -> None:
        """Wait while there is too much to send."""
        self._flush()
        try:
            await self._writer.drain()
        except OSError as error:
            self._lost = self._lost or error
            raise self._connection_error() from error

    async def _receive(self) -> None:
        try:
            while True:
                length, kind, number = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
                if not 5 <= length <= _MAX_ANSWER or number not in self._waiting:
                    raise ValueError("the server sent an answer to no request")
                body = await self._reader.readexactly(length - 5)
                answer = self._waiting.pop(number)
                if not answer.done():
                    answer.set_result((kind, body))
                elif kind == Kind.HANDLE:  # its caller was cancelled
                    self._send(Kind.CLOSE, b"", body)
        except (OSError, EOFError, ValueError) as error:
            self._lost = error
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_result((_LOST, b""))
            self._waiting.clear()

    async def _answer(self, request: _Request) -> _Fields:
        """Wait for an answer and return its fields, or raise what went wrong."""
        kind, body = await request.answer
        fields, expected = _Fields(body), _ANSWERS.get(request.kind, Kind.STATUS)
        if kind == expected != Kind.STATUS:
            return fields
        if kind == _LOST:
            raise self._connection_error()
        if kind != Kind.STATUS:
            raise IncusConnectionError(f"{'/'.join(self._owner)}: the answer to an SFTP request has kind {kind}")
        code = fields.number()
        if code == _OK and expected == Kind.STATUS:
            return fields
        if code == _EOF and request.kind in (Kind.READ, Kind.READDIR):
            return _Fields(bytes(4))  # no bytes, or no names
        message = fields.string().decode(errors="replace").rpartition(": ")[2] or f"SFTP status {code}"
        status = _STATUS_OF_CODE.get(code) or _STATUS_OF_MESSAGE.get(message, 500)
        raise _BY_STATUS.get(status, IncusAPIError)(
            f"{request.kind.name.lower()} {printable(request.path)} in {'/'.join(self._owner)}: {message}",
            status_code=status,
            response={"error": message, "error_code": status, "type": "error"},
        )

    def _connection_error(self) -> IncusConnectionError:
        return IncusConnectionError(
            f"{'/'.join(self._owner)}: the SFTP connection broke: {self._lost}", cause=self._lost
        )


class Handle:
    """An open file, or a directory being listed. ``offset`` is where the next `write` goes."""

    def __init__(self, sftp: Sftp, path: bytes, handle: bytes) -> None:
        self.offset = 0
        self._sftp = sftp
        self._path = path
        self._handle = handle
        self._writes: deque[_Request] = deque()

    async def stat(self) -> FileStat:
        """The attributes of the file."""
        return (await self._sftp._answer(self._send(Kind.FSTAT))).attributes()

    async def set(self, *, mode: int | None = None, uid: int | None = None, gid: int | None = None) -> None:
        """Set attributes; those that are None stay."""
        await self._sftp.set(self._path, mode=mode, uid=uid, gid=gid, handle=self)

    def read(self, size: int, *, to_end: bool = False) -> AsyncIterator[memoryview]:
        """The first ``size`` bytes in pieces, fewer if the file is shorter; with ``to_end`` also all that follow."""
        return _Pieces(self, size, to_end)

    async def write(self, data: bytes | memoryview) -> None:
        """Send bytes to be written at ``offset``; an error shows in a later `write` or in `flush`."""
        view = memoryview(data)
        for start in range(0, len(view), _WRITE_SIZE):
            piece = view[start : start + _WRITE_SIZE]
            fields = struct.pack(">QI", self.offset, len(piece))
            self._writes.append(self._send(Kind.WRITE, fields, piece))
            self.offset += len(piece)
            await self._sftp._drain()
            await self.flush(_WINDOW // _WRITE_SIZE)

    async def flush(self, unanswered: int = 0) -> None:
        """Wait until all bytes are written, but for the last ``unanswered`` pieces."""
        while len(self._writes) > unanswered:
            await self._sftp._answer(self._writes.popleft())

    async def close(self) -> None:
        """Flush and close."""
        await self.flush()
        await self._sftp._answer(self._send(Kind.CLOSE))

    async def finish(self, attributes: FileStat) -> int:
        """Flush, then set attributes and close in a single round trip; returns the file's size."""
        await self.flush()
        stat = self._send(Kind.FSTAT)
        mode, uid, gid, mtime = attributes.mode, attributes.uid, attributes.gid, attributes.mtime
        rest = [*self._sftp._send_attributes(self._path, self, mode, uid, gid, mtime), self._send(Kind.CLOSE)]
        size = (await self._sftp._answer(stat)).attributes().size
        for request in rest:
            await self._sftp._answer(request)
        return size

    def drop(self) -> None:
        """Close without waiting for the answer."""
        if self._sftp._lost is None:
            self._send(Kind.CLOSE)

    def _send(self, kind: Kind, *parts: bytes | memoryview) -> _Request:
        return self._sftp._send(kind, self._path, string(self._handle), *parts)


class _Pieces:
    """The content of a file; unlike a generator, it goes on where it was after a caller was cancelled.

    Args:
        handle: The file.
        size: See `Handle.read`.
        to_end: See `Handle.read`.
    """

    def __init__(self, handle: Handle, size: int, to_end: bool) -> None:
        self._handle = handle
        self._size = size
        self._to_end = to_end
        self._ahead: deque[tuple[_Request, int, int]] = deque()
        self._position = 0
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        # Up to the known size many at once, and one more at it; beyond it, one by one.
        ahead, size = self._ahead, self._size
        while not self._over and (
            (self._position < size and len(ahead) * _READ_SIZE < _WINDOW)
            or (self._to_end and (self._position == size or not ahead))
        ):
            length = min(_READ_SIZE, size - self._position) if self._position < size else _READ_SIZE
            ahead.append(self._request(self._position, length))
            self._position += length
        if self._over or not ahead:
            raise StopAsyncIteration
        sent, offset, length = ahead[0]
        if sent.answer.cancelled():
            sent, *_ = ahead[0] = self._request(offset, length)
        data = (await self._handle._sftp._answer(sent)).view()
        ahead.popleft()
        if not data:
            self._over = True
            raise StopAsyncIteration
        if len(data) > length:
            raise IncusConnectionError(
                f"{'/'.join(self._handle._sftp._owner)}: the server sent more bytes than were asked for"
            )
        if len(data) < length:
            ahead.appendleft(self._request(offset + len(data), length - len(data)))
        return data

    def _request(self, offset: int, length: int) -> tuple[_Request, int, int]:
        return self._handle._send(Kind.READ, struct.pack(">QI", offset, length)), offset, length


@contextlib.contextmanager
def _parent_in_errors(path: bytes) -> Generator[None]:
    try:
        yield
    except IncusNotFoundError as error:
        parent = printable(posixpath.dirname(path) or b"/")
        error._append(f"; {parent} must exist, as path.parent.mkdir(parents=True, exist_ok=True) makes it")
        raise


class _Fields:
    """The fields of an answer, taken one after the other."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    @property
    def size(self) -> int:
        return len(self._body)

    def number(self, size: int = 4) -> int:
        return int.from_bytes(self._take(size), "big")

    def string(self) -> bytes:
        return bytes(self.view())

    def view(self) -> memoryview:
        """A string, not copied."""
        return self._take(self.number())

    def attributes(self) -> FileStat:
        flags = self.number()
        size = self.number(8) if flags & 1 else 0
        uid, gid = (self.number(), self.number()) if flags & 2 else (0, 0)
        mode = self.number() if flags & 4 else 0
        _, mtime = (self.number(), self.number()) if flags & 8 else (0, 0)
        for _ in range(self.number() if flags & 0x80000000 else 0):
            for _ in ("name", "value"):
                self.string()
        return FileStat.of(mode, uid, gid, size, mtime)

    def _take(self, size: int) -> memoryview:
        taken, self._body = self._body[:size], self._body[size:]
        if len(taken) < size:
            raise IncusConnectionError("an SFTP answer is cut off")
        return taken


def printable(path: bytes) -> str:
    """A path as errors show it: in ASCII, and so on one line."""
    return ascii(path.decode(errors="surrogateescape"))[1:-1]


def _with_go_bits(mode: int) -> int:
    # Servers before 2024 take the number for Go's own mode, which has these three bits elsewhere; others skip those.
    return mode | (mode & 0o4000 and 1 << 23) | (mode & 0o2000 and 1 << 22) | (mode & 0o1000 and 1 << 20)
