"""Content to and from the server, piece by piece: files, multipart forms, progress. Knows nothing of sockets."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import TYPE_CHECKING

from ._concurrency import closing, in_thread
from ._connection.transport import CHUNK
from .exceptions import IncusConnectionError, IncusInputError
from .operations import OnProgress, Progress

if TYPE_CHECKING:
    pass

Content = bytes | os.PathLike[str] | AsyncIterable[bytes]
"""What is uploaded: bytes, a `Path` of a file, or an async iterable of bytes."""

_MAX_HEAD = 16 * 1024  # bytes of the headers of one part


def checked_content(content: Content, name: str) -> None:
    """Raise `IncusInputError` unless this is a `Content`; a file must be readable."""
    if isinstance(content, os.PathLike):
        try:
            with open(content, "rb"):
                return
        except OSError as error:
            raise IncusInputError(f"{name} cannot be read: {error}") from error
    if not isinstance(content, bytes | bytearray | memoryview | AsyncIterable):
        raise IncusInputError(
            f"{name} must be bytes, a Path, or an async iterable of bytes, not {type(content).__name__}"
        )


def size_of(content: Content) -> int | None:
    """The length of a content in bytes; None if it is known only after reading."""
    if isinstance(content, os.PathLike):
        return os.stat(content).st_size
    return None if isinstance(content, AsyncIterable) else memoryview(content).nbytes


async def iter_content(content: Content) -> AsyncIterator[bytes]:
    """Read a content piece by piece."""
    if isinstance(content, AsyncIterable):
        async with closing(content) as pieces:
            async for piece in pieces:
                yield piece
    elif isinstance(content, os.PathLike):
        try:
            with contextlib.ExitStack() as stack:
                # Entered in the thread, since a caller who is cancelled meanwhile does not get the file.
                file = await in_thread(lambda: stack.enter_context(open(content, "rb", 0)))
                while piece := await in_thread(file.read, CHUNK):
                    yield piece
        except OSError as error:
            raise IncusInputError(f"{os.fspath(content)!r} cannot be read: {error}") from error
    else:
        whole = memoryview(content).cast("B")
        for start in range(0, len(whole), CHUNK):
            yield bytes(whole[start : start + CHUNK])


async def with_progress(
    content: AsyncIterable[bytes], stage: str, total: int | None, progress: OnProgress | None
) -> AsyncIterator[bytes]:
    """Pass the pieces on, and report how many bytes of ``total`` have passed, and how fast."""
    passed, start = 0, time.monotonic()
    async with closing(content) as pieces:
        async for piece in pieces:
            yield piece
            if progress is not None:
                passed += len(piece)
                speed = int(passed / max(time.monotonic() - start, 1e-6))
                progress(Progress("", stage, min(100 * passed // total, 100) if total else None, passed, speed))


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
    except ValueError as error:  # in names such as name*9999*
        raise IncusConnectionError(f"the server sent a form with an invalid header {header}: {error}") from None


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "%0D").replace("\n", "%0A")
