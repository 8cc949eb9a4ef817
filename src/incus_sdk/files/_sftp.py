"""SFTP version 3 on a connection that the daemon upgraded to it: packets, many under way at once, and what they mean.

Knows bytes, handles and attributes; paths as people write them, local files and trees are the business of `files`.

Why no library: the daemon hands out SFTP without SSH around it, which none offers for asyncio. asyncssh has no public
way in (its inner one wants an SSH connection, reader and writer to be imitated, and changed in 2.22), needs 280 ms to
import and 16 MB of cryptography to parse these few packets, and was 1.3 to 2 times slower; paramiko blocks. The
protocol has not changed since 2001.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import stat as modes
import struct
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Literal, Self

from .._connection import wire
from .._connection.scope import Scope
from ..exceptions import BY_STATUS, IncusAPIError, IncusConnectionError, IncusInputError

_READ = 32 * 1024  # bytes that the daemon sends at most in one piece
_WRITE = 128 * 1024  # bytes in one piece; it takes 256 KiB with all around them
_AHEAD = 2 * 1024 * 1024  # bytes asked for, or sent, before their answer: hides the way there and back
_LISTINGS = 4  # requests for names sent ahead; each is answered by up to 128
_LONGEST = 1024 * 1024  # bytes in an answer that can be meant seriously
_HEAD = struct.Struct(">IBI")

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
    """What a file is. ``mode``: permissions with set-uid, set-gid and sticky bit; ``size``: bytes; ``mtime``: seconds
    since 1970.
    """

    type: FileType
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int

    @classmethod
    def of(cls, mode: int, uid: int, gid: int, size: int, mtime: int) -> FileStat:
        """From a mode that holds the type, as of ``os.stat``."""
        return cls(_TYPES.get(modes.S_IFMT(mode), "unknown"), modes.S_IMODE(mode), uid, gid, size, mtime)


class Flags(IntFlag):
    """How a file is opened."""

    READ = 1
    WRITE = 2
    CREATE = 8
    TRUNCATE = 16
    EXCLUSIVE = 32


class _Kind(IntEnum):
    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    STAT = 17
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200


_LOST = 0  # in place of the kind of an answer that will not come any more
_EOF = 1
_STATUS = {2: 404, 3: 403}  # SFTP's codes, and of what is all code 4, the system's words, as HTTP has them
_WORDS = {"file exists": 409, "directory not empty": 409, "device or resource busy": 409}


_Reply = asyncio.Future[tuple[int, bytes]]
"""The kind and the fields of an answer to come."""


class Sftp:
    """One SFTP connection to an instance or a volume, for the time of ``async with``.

    Requests are answered in the order they were sent. Those that change names or attributes are also carried out in
    that order; reads and writes are not, and what must follow them waits for their answers.
    """

    def __init__(self, scope: Scope, owner: tuple[str, ...]) -> None:
        """``owner``: the path of what the files are of, as ``("instances", "c1")``."""
        self._scope = scope
        self._owner = owner
        # The packet that begins a session has the version where others have their number, and so has its answer.
        self._numbers = itertools.count(3)
        self._waiting: dict[int, _Reply] = {}
        self._unsent: list[bytes | memoryview] = []
        self._lost: Exception | None = None

    async def __aenter__(self) -> Self:
        if self._owner[0] == "storage-pools":
            await self._scope.require("custom_volume_sftp", "reaching the files of a volume")
        self._reader, self._writer = await self._scope.upgrade("GET", wire.path(*self._owner, "sftp"), "sftp")
        self._send(_Kind.INIT)
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
        """What a file is, or of a link with ``follow``, what it leads to."""
        return (await self._ask(_Kind.ATTRS, _Kind.STAT if follow else _Kind.LSTAT, path)).attributes()

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
        handle: bytes | None = None,
    ) -> None:
        """Set attributes of a file, or of what a link leads to; those that are None stay. ``handle``: of the open
        file.
        """
        if (uid is None) != (gid is None):
            now = await self.stat(path) if handle is None else await self._fstat(path, handle)
            uid, gid = (now.uid if uid is None else uid), (now.gid if gid is None else gid)
        for future in self._sets(path, handle, mode, uid, gid, mtime):
            await self._done(future, _Kind.SETSTAT, path)

    def _sets(
        self, path: bytes, handle: bytes | None, mode: int | None, uid: int | None, gid: int | None, mtime: int | None
    ) -> list[_Reply]:
        """Send what sets attributes."""
        sets: list[bytes] = []
        try:
            if uid is not None:
                # First and alone: it clears set-id bits.
                sets.append(struct.pack(">III", 2, uid, gid))
            if mode is not None or mtime is not None:
                fields = b"" if mode is None else struct.pack(">I", _go_mode(mode))
                if mtime is not None:
                    fields += struct.pack(">I", min(max(0, mtime), 0xFFFFFFFF)) * 2
                sets.append(struct.pack(">I", (mode is not None) * 4 | (mtime is not None) * 8) + fields)
        except (struct.error, TypeError) as error:
            raise IncusInputError(f"no mode, owner or time of a file: {mode=}, {uid=}, {gid=} ({error})") from None
        kind, subject = (_Kind.SETSTAT, path) if handle is None else (_Kind.FSETSTAT, handle)
        return [self._send(kind, _string(subject), fields) for fields in sets]

    async def list(self, path: bytes) -> list[tuple[bytes, FileStat]]:
        """The names in a directory and what they are, links not followed."""
        handle = (await self._ask(_Kind.HANDLE, _Kind.OPENDIR, path)).string()
        names: list[tuple[bytes, FileStat]] = []
        try:
            ahead = deque(self._send(_Kind.READDIR, _string(handle)) for _ in range(_LISTINGS))
            while fields := self._answer(_Kind.NAME, await ahead.popleft(), _Kind.READDIR, path):
                ahead.append(self._send(_Kind.READDIR, _string(handle)))
                for _ in range(fields.number()):
                    name = fields.string()
                    fields.string()  # as ls prints it
                    names.append((name, fields.attributes()))
        finally:
            self._close(handle)
        return [entry for entry in names if entry[0] not in (b".", b"..")]

    async def mkdir(self, path: bytes) -> None:
        """Make a directory."""
        await self._ask(_Kind.STATUS, _Kind.MKDIR, path, struct.pack(">I", 0))

    async def remove(self, path: bytes, *, directory: bool = False) -> None:
        """Remove a file, or an empty directory. The daemon takes either for both: look before."""
        await self._ask(_Kind.STATUS, _Kind.RMDIR if directory else _Kind.REMOVE, path)

    async def rename(self, path: bytes, target: bytes) -> None:
        """Give a file another path, in place of a file that has it."""
        kind = _string(b"posix-rename@openssh.com")
        reply = await self._exchange(_Kind.EXTENDED, kind, _string(path), _string(target))
        self._answer(_Kind.STATUS, reply, "rename", path)

    async def symlink(self, target: bytes, path: bytes) -> None:
        """Make a link at ``path``."""
        # In the order of OpenSSH, not of the protocol's text.
        reply = await self._exchange(_Kind.SYMLINK, _string(target), _string(path))
        self._answer(_Kind.STATUS, reply, _Kind.SYMLINK, path)

    async def readlink(self, path: bytes) -> bytes:
        """What is written in a link."""
        fields = await self._ask(_Kind.NAME, _Kind.READLINK, path)
        fields.number()
        return fields.string()

    async def open(self, path: bytes, flags: Flags) -> Handle:
        """Open a file; whoever asked for it closes it. A new one is root's, 0644."""
        fields = await self._ask(_Kind.HANDLE, _Kind.OPEN, path, struct.pack(">II", flags, 0))
        return Handle(self, path, fields.string())

    async def _fstat(self, path: bytes, handle: bytes) -> FileStat:
        reply = await self._exchange(_Kind.FSTAT, _string(handle))
        return _sure(self._answer(_Kind.ATTRS, reply, _Kind.FSTAT, path)).attributes()

    def _close(self, handle: bytes) -> None:
        """Close without waiting for the answer."""
        if self._lost is None:
            self._send(_Kind.CLOSE, _string(handle))

    async def _ask(self, want: _Kind, kind: _Kind, path: bytes, *rest: bytes) -> _Fields:
        return _sure(self._answer(want, await self._exchange(kind, _string(path), *rest), kind, path))

    async def _done(self, future: _Reply, verb: _Kind | str, path: bytes) -> None:
        self._answer(_Kind.STATUS, await future, verb, path)

    async def _exchange(self, kind: _Kind, *parts: bytes) -> tuple[int, bytes]:
        return await self._send(kind, *parts)

    def _send(self, kind: _Kind, *parts: bytes | memoryview) -> _Reply:
        if self._lost is not None:
            raise self._broken()
        number = next(self._numbers) & 0xFFFFFFFF
        loop = asyncio.get_running_loop()
        future = self._waiting[number] = loop.create_future()
        if not self._unsent:
            loop.call_soon(self._flush)  # what many tasks ask for at one time goes in one piece
        self._unsent += [_HEAD.pack(5 + sum(map(len, parts)), kind, number), *parts]
        return future

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
            raise self._broken() from error

    async def _receive(self) -> None:
        try:
            while True:
                length, kind, number = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
                if not 5 <= length <= _LONGEST or number not in self._waiting:
                    raise ValueError("an answer to nothing that was asked")
                body = await self._reader.readexactly(length - 5)
                future = self._waiting.pop(number)
                if not future.done():
                    future.set_result((kind, body))
                elif kind == _Kind.HANDLE:  # whoever wanted it was cancelled
                    self._send(_Kind.CLOSE, body)
        except (OSError, EOFError, ValueError) as error:
            self._lost = error
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_result((_LOST, b""))
            self._waiting.clear()

    def _answer(self, want: _Kind, reply: tuple[int, bytes], verb: _Kind | str, path: bytes) -> _Fields | None:
        """The fields of an answer; None for the end of a file or directory."""
        kind, body = reply
        fields = _Fields(body)
        if kind == want != _Kind.STATUS:
            return fields
        if kind == _LOST:
            raise self._broken()
        if kind != _Kind.STATUS:
            raise IncusConnectionError(f"{'/'.join(self._owner)}: the answer to an SFTP request has kind {kind}")
        code = fields.number()
        if want == _Kind.STATUS and code == 0:
            return fields
        if code == _EOF and want in (_Kind.DATA, _Kind.NAME):
            return None
        words = fields.string().decode(errors="replace").rpartition(": ")[2] or f"SFTP status {code}"
        status = _STATUS.get(code) or _WORDS.get(words, 500)
        verb = verb.name.lower() if isinstance(verb, _Kind) else verb
        shown = ascii(path.decode(errors="surrogateescape"))[1:-1]
        raise BY_STATUS.get(status, IncusAPIError)(
            f"{verb} {shown} in {'/'.join(self._owner)}: {words}",
            status_code=status,
            response={"error": words, "error_code": status, "type": "error"},
        )

    def _broken(self) -> IncusConnectionError:
        return IncusConnectionError(
            f"{'/'.join(self._owner)}: the SFTP connection broke: {self._lost}", cause=self._lost
        )


class Handle:
    """An open file. ``offset`` is where the next `write` goes."""

    def __init__(self, sftp: Sftp, path: bytes, handle: bytes) -> None:
        self.offset = 0
        self._sftp = sftp
        self._path = path
        self._handle = handle
        self._sent: deque[_Reply] = deque()

    async def stat(self) -> FileStat:
        """What the file is."""
        return await self._sftp._fstat(self._path, self._handle)

    async def set(
        self, *, mode: int | None = None, uid: int | None = None, gid: int | None = None, mtime: int | None = None
    ) -> None:
        """Set attributes; those that are None stay."""
        await self._sftp.set(self._path, mode=mode, uid=uid, gid=gid, mtime=mtime, handle=self._handle)

    async def read(self, size: int, *, to_end: bool = False) -> AsyncGenerator[bytes]:
        """The first ``size`` bytes in pieces, fewer if there are no more; then, ``to_end``, all that there are."""
        ahead: deque[tuple[_Reply, int, int]] = deque()
        position = 0

        def ask(offset: int, length: int) -> tuple[_Reply, int, int]:
            fields = struct.pack(">QI", offset, length)
            return self._sftp._send(_Kind.READ, _string(self._handle), fields), offset, length

        while True:
            # To the size that is known many at once, with one beyond it, then one by one.
            while (position < size and len(ahead) * _READ < _AHEAD) or (to_end and (position == size or not ahead)):
                length = min(_READ, size - position) if position < size else _READ
                ahead.append(ask(position, length))
                position += length
            if not ahead:
                return
            future, offset, length = ahead.popleft()
            fields = self._sftp._answer(_Kind.DATA, await future, _Kind.READ, self._path)
            data = fields.string() if fields else b""
            if not data:
                return
            if len(data) > length:
                raise IncusConnectionError(f"{'/'.join(self._sftp._owner)}: more bytes came than were asked for")
            if len(data) < length:
                ahead.appendleft(ask(offset + len(data), length - len(data)))
            yield data

    async def write(self, data: bytes) -> None:
        """Send bytes, to be written at ``offset``; `flush` says whether they were."""
        view = memoryview(data)
        for start in range(0, len(view), _WRITE):
            piece = view[start : start + _WRITE]
            fields = struct.pack(">QI", self.offset, len(piece))
            self._sent.append(self._sftp._send(_Kind.WRITE, _string(self._handle), fields, piece))
            self.offset += len(piece)
            await self._sftp._drain()
            if len(self._sent) * _WRITE > _AHEAD:
                await self._written()

    async def flush(self) -> None:
        """Wait until all bytes are written."""
        while self._sent:
            await self._written()

    async def close(self) -> None:
        """Flush and close."""
        await self.flush()
        reply = await self._sftp._exchange(_Kind.CLOSE, _string(self._handle))
        self._sftp._answer(_Kind.STATUS, reply, _Kind.CLOSE, self._path)

    async def finish(self, *, mode: int, uid: int, gid: int, mtime: int) -> int:
        """Flush, set attributes and close, all in one go; returns the size that the file has now."""
        await self.flush()
        size = self._sftp._send(_Kind.FSTAT, _string(self._handle))
        answers = self._sftp._sets(self._path, self._handle, mode, uid, gid, mtime)
        closed = self._sftp._send(_Kind.CLOSE, _string(self._handle))
        found = _sure(self._sftp._answer(_Kind.ATTRS, await size, _Kind.FSTAT, self._path)).attributes()
        for answer in answers:
            await self._sftp._done(answer, _Kind.SETSTAT, self._path)
        await self._sftp._done(closed, _Kind.CLOSE, self._path)
        return found.size

    def drop(self) -> None:
        """Close without waiting for anything."""
        self._sftp._close(self._handle)

    async def _written(self) -> None:
        self._sftp._answer(_Kind.STATUS, await self._sent.popleft(), _Kind.WRITE, self._path)


class _Fields:
    """The fields of an answer, taken one after the other."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    def number(self, size: int = 4) -> int:
        return int.from_bytes(self._take(size), "big")

    def string(self) -> bytes:
        return bytes(self._take(self.number()))

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
            raise IncusConnectionError("an answer of SFTP is cut off")
        return taken


def _sure(fields: _Fields | None) -> _Fields:
    if fields is None:
        raise IncusConnectionError("SFTP told the end of something that has none")
    return fields


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _go_mode(mode: int) -> int:
    # Servers before 2024 take the number for Go's own, which has these three bits elsewhere; others skip those.
    return mode | (mode & 0o4000 and 1 << 23) | (mode & 0o2000 and 1 << 22) | (mode & 0o1000 and 1 << 20)
