"""Content to and from the server, piece by piece: files, multipart forms, progress. Knows nothing of sockets."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from ._concurrency import DaemonThread, closing, in_thread
from ._connection.transport import CHUNK
from .exceptions import IncusConnectionError, IncusInputError
from .operations import OnProgress, Progress


@runtime_checkable
class BinaryFile(Protocol):
    """An open file, or what reads like one."""

    def read(self, size: int, /) -> bytes:
        """The next bytes; none at the end.

        Args:
            size: How many at most.
        """
        ...


Content = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryFile | Iterable[bytes] | AsyncIterable[bytes]
"""What is uploaded: bytes, the path of a file, a binary file that is open, or an iterable of bytes, plain or async.

It is sent piece by piece. An open file is read in a thread, from where it is, and left open; a plain iterable is asked
in the event loop, and should not block.
"""

_MAX_HEAD = 16 * 1024  # bytes of the headers of one part
_BYTES = (bytes, bytearray, memoryview)
_PATH = (str, os.PathLike)


def checked_content(content: Content, name: str) -> None:
    """Raise `IncusInputError` unless this is a `Content`; a file must be readable."""
    if isinstance(content, _PATH):
        try:
            with open(content, "rb"):
                return
        except (OSError, ValueError) as error:
            raise IncusInputError(f"{name} cannot be read: {error}") from error
    if isinstance(content, list | tuple) and not all(isinstance(piece, _BYTES) for piece in content):
        raise IncusInputError(f"{name} must hold nothing but bytes")
    if isinstance(content, io.TextIOBase):
        raise IncusInputError(f'{name} is open as text: open it with mode "rb"')
    if isinstance(content, Mapping) or not isinstance(content, (*_BYTES, BinaryFile, Iterable, AsyncIterable)):
        raise IncusInputError(
            f"{name} must be bytes, a path, a binary file, or an iterable of bytes, not {type(content).__name__}"
        )


def size_of(content: Content) -> int | None:
    """The length of a content in bytes; None if it is known only after reading."""
    if isinstance(content, _PATH):
        return os.stat(content).st_size
    if isinstance(content, _BYTES):
        return memoryview(content).nbytes
    file: Any = content
    if not hasattr(file, "seekable") or not file.seekable():
        return None
    here: int = file.tell()
    size: int = file.seek(0, os.SEEK_END) - here
    file.seek(here)
    return size


def may_block(file: object) -> bool:
    """Whether it is a pipe, terminal, socket or the like: it may never be ready, and a call must not wait for that."""
    if not isinstance(file, io.IOBase):
        return False
    try:
        return not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError, TypeError, ValueError):
        return False


async def iter_content(content: Content) -> AsyncIterator[bytes]:
    """Read a content piece by piece."""
    if isinstance(content, _BYTES):
        view = memoryview(content)
        whole = view.cast("B") if view.c_contiguous else memoryview(bytes(view))
        for start in range(0, len(whole), CHUNK):
            yield bytes(whole[start : start + CHUNK])
    elif isinstance(content, AsyncIterable):
        async with closing(content) as pieces:
            async for piece in pieces:
                yield _checked_piece(piece)
    elif isinstance(content, _PATH):
        try:
            with contextlib.ExitStack() as stack:
                # Entered in the thread, since a caller who is cancelled meanwhile does not get the file.
                file = await in_thread(lambda: stack.enter_context(open(content, "rb", 0)))
                while piece := await in_thread(file.read, CHUNK):
                    yield piece
        except OSError as error:
            raise IncusInputError(f"{os.fspath(content)!r} cannot be read: {error}") from error
    elif isinstance(content, BinaryFile) and may_block(content):
        with DaemonThread() as thread:  # which a caller who is cancelled leaves
            read = getattr(content, "read1", content.read)
            while piece := await thread.call(read, CHUNK):
                yield _checked_piece(piece)
    elif isinstance(content, BinaryFile):
        while piece := await in_thread(content.read, CHUNK):
            yield _checked_piece(piece)
    else:
        for piece in content:
            yield _checked_piece(piece)


def _checked_piece(piece: bytes) -> bytes:
    if not isinstance(piece, _BYTES):
        raise IncusInputError(f"what is uploaded must come as bytes, not {type(piece).__name__}")
    return bytes(piece)  # a view can have another length than its bytes; bytes are not copied


class Meter:
    """Counts the bytes that are done, and reports how many of ``total``, and how fast."""

    def __init__(self, progress: OnProgress | None, stage: str, total: int | None = None) -> None:
        self._progress = progress
        self._stage = stage
        self._total = total
        self._done, self._start = 0, time.monotonic()

    def add(self, size: int, item: str = "", files: int | None = None, total_files: int | None = None) -> None:
        """Report that more is done.

        Args:
            size: How many bytes more.
            item: The part that is under way.
            files: How many files are done.
            total_files: How many files there are.
        """
        if self._progress is None:
            return
        self._done += size
        percent = min(100 * self._done // self._total, 100) if self._total else None
        speed = int(self._done / max(time.monotonic() - self._start, 1e-6))
        self._progress(Progress("", self._stage, percent, self._done, self._total, speed, item, files, total_files))


async def with_progress(
    content: AsyncIterable[bytes], stage: str, total: int | None, progress: OnProgress | None
) -> AsyncIterator[bytes]:
    """Pass the pieces on, and report how many bytes of ``total`` have passed, and how fast."""
    meter = Meter(progress, stage, total)
    async with closing(content) as pieces:
        async for piece in pieces:
            yield piece
            meter.add(len(piece))


def write_form(parts: Sequence[tuple[str, str, AsyncIterable[bytes]]]) -> tuple[str, AsyncIterator[bytes]]:
    """Write a multipart form of parts (name, file name, content); returns its content type and its bytes."""
    boundary = os.urandom(30).hex()

    async def body() -> AsyncIterator[bytes]:
        for name, filename, content in parts:
            disposition = f'form-data; name="{_escape(name)}"; filename="{_escape(filename)}"'
            head = f"Content-Disposition: {disposition}\r\nContent-Type: application/octet-stream"
            yield f"--{boundary}\r\n{head}\r\n\r\n".encode()
            async with closing(content) as pieces:
                async for piece in pieces:
                    yield piece
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    return f"multipart/form-data; boundary={boundary}", body()


async def read_form(content_type: str, body: AsyncIterable[bytes]) -> AsyncIterator[tuple[str, bytes]]:
    """Read a multipart form: yields pieces with the name of their part; each part begins with an empty piece.

    Raises `IncusConnectionError` if it is not a form, or was cut off.
    """
    boundary = _read_parameter("Content-Type", content_type.encode(errors="replace"), "boundary")
    if not boundary:
        raise IncusConnectionError(f"the server sent {content_type!r}, without a boundary between its parts")
    delimiter = f"\r\n--{boundary}".encode()
    name: str | None = None
    in_head, rest = False, b"\r\n"  # there is no line break before the first boundary
    async for chunk in body:
        rest, start = rest + chunk, 0
        while True:
            if in_head:
                if rest.startswith(b"--", start):
                    return
                end = rest.find(b"\r\n\r\n", start)
                if end < 0:
                    if len(rest) - start > _MAX_HEAD:
                        raise IncusConnectionError("the server sent a form with a part whose headers do not end")
                    break
                name, start, in_head = _part_name(rest[start:end]), end + 4, False
                yield name, b""
            end = rest.find(delimiter, start)
            in_head = end >= 0
            if not in_head:
                end = max(start, len(rest) - len(delimiter))  # keep what may be the beginning of a boundary
            if name is not None and start < end:
                yield name, rest[start:end]
            start = end + len(delimiter) * in_head
            if not in_head:
                break
        rest = rest[start:]
    raise IncusConnectionError("the server's answer was cut off: its last part does not end")


def _part_name(lines: bytes) -> str:
    for line in lines.split(b"\r\n"):
        header, _, value = line.partition(b":")
        if header.strip().lower() == b"content-disposition":
            return _read_parameter("Content-Disposition", value, "name")
    return ""


def _read_parameter(header: str, value: bytes, name: str) -> str:
    """A parameter of a header's value; empty if it has none."""
    from email.message import Message

    message = Message()
    message[header] = value.decode(errors="replace")
    try:
        return str(message.get_param(name, "", header))
    except (TypeError, ValueError) as error:  # in names such as name*9999*
        raise IncusConnectionError(f"the server sent a form with an invalid header {header}: {error}") from None


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "%0D").replace("\n", "%0A")
