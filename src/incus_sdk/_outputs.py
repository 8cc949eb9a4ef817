"""Where the output of a command goes: it is collected, or given to a file or a function as it comes."""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO, cast

from ._concurrency import DaemonThread
from ._connection import limits
from ._connection.transport import WebSocket
from .exceptions import IncusInputError

Output = BinaryIO | Callable[[bytes], object] | int | None
"""A file open for writing bytes; a function, plain or async, that gets each piece as it comes; or, as in `subprocess`,
``DEVNULL``, and for stderr ``STDOUT``. None collects it.
"""

PIPE, STDOUT, DEVNULL = -1, -2, -3  # of `subprocess`


class OutputLimitError(Exception):
    """A command wrote more than it may."""


class Sink:
    """What takes the pieces of an output, in the event loop; what is slow, it does in `write`.

    Args:
        output: Where they go; not ``STDOUT``.
        limit: Bytes after which it raises `OutputLimitError`; None for no limit.
    """

    def __init__(self, output: Output, limit: int | None) -> None:
        self._collected = io.BytesIO()
        self._limit = limit
        self._size = 0
        self._call: Callable[[bytes], object] | None = None  # what takes a piece at once
        self._slow: Callable[[bytes], Awaitable[object]] | None = None  # what takes some at a time
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._sockets: list[WebSocket] = []
        self._wakeup = asyncio.Event()
        self._over = False
        self._file: Any = None
        self._thread = DaemonThread()  # that writes to it: a pipe may never be read
        if output in (None, PIPE):
            self._call = self._collected.write
        elif output == DEVNULL:
            self._call = len
        elif hasattr(output, "write"):
            self._file, self._slow = output, self._write_file
        elif _is_async(output):
            self._slow = cast(Callable[[bytes], Awaitable[object]], output)
        else:
            self._function: Any = output
            self._call = self._call_function

    @property
    def is_slow(self) -> bool:
        """Whether `write` has something to do."""
        return self._slow is not None

    @property
    def collected(self) -> bytes:
        """What was collected; empty where it went elsewhere."""
        return self._collected.getvalue()

    def take(self, piece: bytes) -> None:
        """Take a piece.

        Args:
            piece: What came.

        Raises:
            OutputLimitError: There are more bytes than the limit.
        """
        self._size += len(piece)
        over = 0 if self._limit is None else max(self._size - self._limit, 0)
        if over:
            piece = piece[: max(len(piece) - over, 0)]
        if self._call is not None:
            self._call(piece)
        else:
            self._pending.append(piece)
            self._pending_size += len(piece)
            if self._pending_size >= limits.READ_AHEAD:
                for socket in self._sockets:
                    socket.pause_reading()
            self._wakeup.set()
        if over:
            raise OutputLimitError

    def follow(self, socket: WebSocket) -> None:
        """Let a websocket wait while what is slow has enough to do.

        Args:
            socket: Where pieces come from.
        """
        self._sockets.append(socket)

    async def write(self) -> None:
        """Do what is slow, until `end`."""
        with self._thread:
            while self._pending or not self._over:
                await self._wakeup.wait()
                self._wakeup.clear()
                await self._write_pending()
            if self._file is not None and hasattr(self._file, "flush"):
                await self._thread.call(self._file.flush)

    def end(self) -> None:
        """Let `write` come to its end."""
        self._over = True
        self._wakeup.set()

    async def _write_pending(self) -> None:
        while self._pending:
            data, self._pending, self._pending_size = b"".join(self._pending), [], 0
            for socket in self._sockets:
                socket.resume_reading()
            assert self._slow is not None
            await self._slow(data)

    async def _write_file(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = await self._thread.call(self._file.write, view)
            if written is None and isinstance(self._file, io.RawIOBase):
                raise IncusInputError("a file for output must be a blocking one")  # it took nothing
            view = view[written if isinstance(written, int) else len(view) :]

    def _call_function(self, piece: bytes) -> None:
        result = self._function(piece)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise IncusInputError("a function for output that returns something to await must be an `async def`")


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def checked_outputs(stdout: Output, stderr: Output) -> None:
    """Raise `IncusInputError` unless these are of `Output`."""
    for name, output in (("stdout", stdout), ("stderr", stderr)):
        numbers = (PIPE, DEVNULL, STDOUT) if name == "stderr" else (PIPE, DEVNULL)
        if isinstance(output, io.TextIOBase):
            raise IncusInputError(f"{name} must be open for bytes, as open(path, 'wb') or sys.stdout.buffer")
        if not (output is None or callable(output) or hasattr(output, "write") or output in numbers):
            raise IncusInputError(
                f"{name} must be a file open for bytes, a function, DEVNULL{', STDOUT' if name == 'stderr' else ''} "
                f"or None, not {output!r}"
            )
