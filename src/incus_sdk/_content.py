"""Large content on its way to and from the server, piece by piece: files, forms of several parts, progress.

Knows nothing of sockets.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from email.parser import BytesHeaderParser

from ._concurrency import in_thread
from ._connection.transport import CHUNK
from .exceptions import IncusConnectionError, IncusInputError
from .operations import OnProgress, Progress

Content = bytes | os.PathLike[str] | AsyncIterable[bytes]
"""What is uploaded: bytes, a `Path` of a file, or an async iterable of bytes."""

_HEAD = 16 * 1024  # bytes that the headers of one part may take


def checked_content(content: Content, name: str) -> None:
    """Raises `IncusInputError` for what is no `Content`, or a file that cannot be read."""
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
    """Bytes of a content, where that is known before it is read."""
    if isinstance(content, os.PathLike):
        return os.stat(content).st_size
    return None if isinstance(content, AsyncIterable) else memoryview(content).nbytes


async def iter_content(content: Content) -> AsyncIterator[bytes]:
    """A content piece by piece."""
    if isinstance(content, AsyncIterable):
        async for piece in content:
            yield piece
    elif isinstance(content, os.PathLike):
        try:
            with await in_thread(open, content, "rb", 0) as file:
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
    """The same pieces; ``progress`` is told how many bytes of ``total`` have passed, and how fast."""
    passed, begun = 0, time.monotonic()
    async for piece in content:
        yield piece
        if progress is not None:
            passed += len(piece)
            speed = int(passed / max(time.monotonic() - begun, 1e-6))
            progress(Progress("", stage, min(100 * passed // total, 100) if total else None, passed, speed))


def write_form(parts: Sequence[tuple[str, str, AsyncIterable[bytes]]]) -> tuple[str, AsyncIterator[bytes]]:
    """Parts, each with its name and the name of its file, as a form: its content type, and its bytes."""
    boundary = secrets.token_hex(30)

    async def body() -> AsyncIterator[bytes]:
        for name, filename, content in parts:
            disposition = f'form-data; name="{_quoted(name)}"; filename="{_quoted(filename)}"'
            head = f"Content-Disposition: {disposition}\r\nContent-Type: application/octet-stream"
            yield f"--{boundary}\r\n{head}\r\n\r\n".encode()
            async for piece in content:
                yield piece
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    return f"multipart/form-data; boundary={boundary}", body()


async def read_form(content_type: str, body: AsyncIterable[bytes]) -> AsyncIterator[tuple[str, bytes]]:
    """The pieces of a form's parts, each with the name of its part; an empty part has one empty piece.

    Raises `IncusConnectionError` for what is no form, or one that was cut off.
    """
    boundary = BytesHeaderParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode()).get_boundary()
    if not boundary:
        raise IncusConnectionError(f"the server sent {content_type!r}, without a boundary between its parts")
    delimiter = f"\r\n--{boundary}".encode()
    name: str | None = None
    head, rest = False, b"\r\n"  # the first boundary has no line break before it
    async for chunk in body:
        rest += chunk
        while True:
            if head:
                if rest.startswith(b"--"):
                    return
                lines, found, after = rest.partition(b"\r\n\r\n")
                if not found:
                    if len(rest) > _HEAD:
                        raise IncusConnectionError("the server sent a part without an end of its headers")
                    break
                name, rest, head = _name(lines), after, False
                yield name, b""
            piece, found, after = rest.partition(delimiter)
            if not found:
                # What may be the beginning of a boundary stays.
                piece, after = rest[: -len(delimiter)], rest[-len(delimiter) :]
            if name is not None and piece:
                yield name, piece
            rest = after
            if not found:
                break
            head = True
    raise IncusConnectionError("the server's answer was cut off: its last part has no end")


def _name(lines: bytes) -> str:
    head = BytesHeaderParser().parsebytes(lines.lstrip(b"\r\n") + b"\r\n\r\n")
    return str(head.get_param("name", "", "Content-Disposition"))


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "%0D").replace("\n", "%0A")
