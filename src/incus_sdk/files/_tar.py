"""Many small files in one go: archives that the instance's own ``tar`` writes and reads, by a command run there.

A shortcut that nobody has to trust. The instance can lack ``tar``, have an odd one, or lie: `_trees` takes only files
that are exactly as SFTP lists them, and copies all others over SFTP. So this knows regular files alone, and skips
whatever else is in an archive.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Iterable, Iterator

from .._connection.scope import Scope
from .._run import run
from ..process import Process
from ._sftp import FileStat

Member = tuple[bytes, FileStat, bytes]
"""A regular file in an archive: its name, its attributes and its content."""

_BLOCK = 512
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 80x 155s 12x")
_POSIX = b"ustar\x0000"
_OVERHEAD = 2 * 1024  # bytes for each file beside its content and name, at most: headers, padding, warnings
_RECORD = 20 * _BLOCK  # what ``tar`` writes at once
_TIMEOUT = 30.0  # seconds for one archive; after that SFTP does it
_PIECE = 64 * 1024  # bytes sent at once
_GRACE = 1.0  # seconds for ``tar`` to end by itself

# $1 is a new directory below $2. Who owns $2 can put another directory or a link in its place at any time; but what the
# shell is in stays what it is, and is used only if it is root's own and right below $2.
_EXTRACT = 'cd -P "./$1" && [ -O . ] && [ .. -ef "$2" ] && chmod 700 . && exec tar -xpf -'


class InstanceTar:
    """The ``tar`` of an instance, run as root in a directory there."""

    def __init__(self, scope: Scope, owner: tuple[str, ...], directory: str) -> None:
        """``owner``: the path of the instance, like ``("instances", "c1")``. ``directory``: must be UTF-8."""
        self._scope = scope
        self._owner = owner
        self._directory = directory

    async def create(self, names: list[bytes], size: int) -> bytes | None:
        """An archive of files, whose contents have ``size`` bytes in all; None if ``tar`` failed for one of them."""
        command = ("xargs", "-0", "tar", "-cf", "-")  # more than one ``tar`` if the names are too long
        most = size + 4 * sum(map(len, names)) + len(names) * _OVERHEAD + _RECORD
        return await self._run(command, (name + b"\0" for name in names), most)

    async def extract(self, members: list[Member], directory: str) -> bool:
        """Extract files into a directory that was just made in this one; False if ``tar`` failed."""
        command = ("sh", "-c", _EXTRACT, "sh", directory, self._directory)
        return await self._run(command, pack(members), len(members) * _OVERHEAD) is not None

    async def _run(self, command: tuple[str, ...], input: Iterable[bytes], max_output: int) -> bytes | None:
        process = Process(
            self._scope, self._owner, command, cwd=self._directory, env={"TAR_OPTIONS": ""}, user=0, group=0
        )
        result = await run(process, _pieces(input), _TIMEOUT, max_output, "utf-8", _GRACE)
        return None if result.returncode else result.stdout


async def _pieces(parts: Iterable[bytes]) -> AsyncGenerator[bytes]:
    """Join parts to pieces that are worth a message."""
    piece = bytearray()
    for part in parts:
        piece += part
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def pack(members: Iterable[Member]) -> Iterator[bytes]:
    """The parts of an archive; names have at most 100 bytes."""
    for name, found, content in members:
        numbers = (found.mode, 8), (found.uid, 8), (found.gid, 8), (len(content), 12), (found.mtime, 12)
        fields = [name, *(_field(number, width) for number, width in numbers)]
        checksum = sum(_HEADER.pack(*fields, b" " * 8, b"0", b"", _POSIX, b""))
        yield _HEADER.pack(*fields, _field(checksum, 8), b"0", b"", _POSIX, b"")
        yield content
        yield bytes(-len(content) % _BLOCK)
    yield bytes(2 * _BLOCK)


def unpack(archive: bytes) -> Iterator[Member]:
    """The files in an archive, or in several that follow each other, up to where it is damaged or cut off."""
    position, long_name, understood = 0, b"", True
    while len(header := archive[position : position + _BLOCK]) == _BLOCK:
        position += _BLOCK
        if not any(header):
            continue  # the end of an archive
        short_name, *fields, checksum, kind, _, magic, prefix = _HEADER.unpack(header)
        try:
            mode, uid, gid, size, mtime = map(_number, fields)
            damaged = _number(checksum) != sum(header) - sum(checksum) + 8 * ord(" ")
        except ValueError:
            return
        content = archive[position : position + size]
        if damaged or len(content) < size:
            return
        position += size + -size % _BLOCK
        if kind == b"L":  # of GNU and busybox: a name too long for the header that follows
            long_name = content.rstrip(b"\0")
            continue
        if not (kind.isdigit() or kind == b"\0"):
            understood = False  # it can say anything of the file that follows
            continue
        if kind in (b"0", b"\0") and understood:
            name = short_name.rstrip(b"\0")
            if magic == _POSIX and any(prefix):
                name = prefix.rstrip(b"\0") + b"/" + name
            yield long_name or name, FileStat("file", mode & 0o7777, uid, gid, size, mtime), content
        long_name, understood = b"", True


def _field(number: int, width: int) -> bytes:
    """A number in octal digits, or in GNU's way if it has too many."""
    number = max(0, number)
    return b"%0*o" % (width - 1, number) if number < 8 ** (width - 1) else b"\x80" + number.to_bytes(width - 1, "big")


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
    digits = field.partition(b"\0")[0].strip()
    if digits.strip(b"01234567"):
        raise ValueError(field)
    return int(digits or b"0", 8)
