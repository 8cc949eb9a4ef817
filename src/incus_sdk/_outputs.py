"""Where the output of a command goes: collected, given to a file or a function as it comes, or read as streams."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from typing import Any, BinaryIO, Literal, SupportsIndex, cast

from ._concurrency import DaemonThread
from ._connection import limits
from ._connection.transport import WebSocket
from .exceptions import IncusError, IncusInputError

Output = BinaryIO | Callable[[bytes], object] | int | None
"""A file open for writing bytes; a function, plain or async, that gets each piece as it comes; or, as in `subprocess`,
``DEVNULL``, and for stderr ``STDOUT``. None collects it.
"""

Stream = Literal["stdout", "stderr"]

PIPE, STDOUT, DEVNULL = -1, -2, -3  # of `subprocess`
_LIMIT = 2**20  # bytes buffered for a slow reader before the command has to wait; also the longest line
_MUCH, _MOMENT = 2**12, 0.001  # bytes of a read, and seconds to wait for more if such a read came at once


class FirstPiece:
    """Holds back the first piece of an output if it is certain words, until another one comes.

    Args:
        words: The words.
        take: What gets the output.
    """

    def __init__(self, words: bytes, take: Callable[[bytes], object]) -> None:
        self._words = words
        self._take = take
        self.is_awaited = True
        self.is_held = False

    def take(self, piece: bytes) -> None:
        """Take a piece.

        Args:
            piece: The piece.
        """
        self.give()
        self.is_held, self.is_awaited = self.is_awaited and piece == self._words, False
        if not self.is_held:
            self._take(piece)

    def give(self) -> None:
        """Hand on what is held back."""
        if self.is_held:
            self.is_held = False
            self._take(self._words)


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
            view = left_of(view, await self._thread.call(self._file.write, view), self._file)

    def _call_function(self, piece: bytes) -> None:
        result = self._function(piece)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise IncusInputError("a function for output that returns something to await must be an `async def`")


def left_of(view: memoryview, written: object, file: object) -> memoryview:
    """What is left to be written.

    Args:
        view: What was to be written.
        written: What the file's `write` returned: how much it took, or anything else where it takes all.
        file: The file.

    Raises:
        IncusInputError: It took nothing.
    """
    count = 0 if written is None and isinstance(file, io.RawIOBase) else written
    if isinstance(count, bool) or not isinstance(count, int):
        return view[len(view) :]
    if count <= 0:
        raise IncusInputError("a file for output must be a blocking one, whose write() returns how much it took")
    return view[count:]


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


class OutputReader(asyncio.StreamReader):
    """A stream that raises an error after its last byte, if the connection broke before the end came.

    Args:
        name: The attribute of the error that gets what came.
        socket: Where it comes from, which waits while too much is not read.
    """

    _buffer: bytearray  # of the base class

    def __init__(self, name: Stream, socket: WebSocket) -> None:
        super().__init__(limit=_LIMIT)
        self.set_transport(socket)  # type: ignore[arg-type]  # it pauses and resumes it, no more
        self.name: Stream = name
        self.socket = socket
        self._reads = 0  # that are under way
        self._taking = threading.Lock()
        self._flows = False
        self._failure: IncusError | None = None
        self._arrivals: _Arrivals | None = None  # what gets the pieces in place of this

    def go_on(self, socket: WebSocket) -> None:
        """Take what comes from another socket.

        Args:
            socket: See `OutputReader`.
        """
        self._transport = None
        self.set_transport(socket)  # type: ignore[arg-type]
        self.socket = socket

    def divert(self, arrivals: _Arrivals | None) -> None:
        """Give what comes to something else, or no longer.

        Args:
            arrivals: What gets it; None for this stream.

        Raises:
            IncusInputError: It goes elsewhere already.
        """
        if arrivals is not None and self._arrivals is not None:
            raise IncusInputError("somebody else is iterating over the outputs")
        self._arrivals = arrivals

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        if self._arrivals is None:
            super().feed_data(data)
        else:
            self._arrivals.add(self, bytes(data))

    def feed_eof(self) -> None:
        if self._arrivals is None:
            super().feed_eof()
        else:
            self._arrivals.add(self, b"")

    def fail(self, failure: IncusError) -> None:
        """Give out what came, then the error.

        Args:
            failure: The error.
        """
        self._failure = failure
        self.feed_eof()

    async def read(self, n: int = -1) -> bytes:
        self._begin_read()
        try:
            if n < 0:
                pieces: list[bytes] = []
                while piece := await super().read(_LIMIT):
                    pieces.append(piece)
                return self._checked(b"".join(pieces))
            data = await super().read(n)
            return data if data or n == 0 else self._checked(b"")
        finally:
            self._reads -= 1

    async def read_gathered(self, n: int) -> bytes:
        """`read` for another thread, for which each read takes long: while much comes, let more of it come first.

        Args:
            n: How many bytes at most.
        """
        if self._flows and len(self._buffer) < n:
            await asyncio.sleep(_MOMENT)
        begun = time.monotonic()
        data = await self.read(n)
        self._flows = len(data) >= _MUCH and time.monotonic() - begun < _MOMENT / 4
        return data

    def take(self, n: int) -> bytes:
        """Take ``n`` bytes, in any thread, if as many are there and nobody reads; else nothing.

        Args:
            n: How many bytes.
        """
        with self._taking:
            if self._reads or len(self._buffer) < n:
                return b""
            data = bytes(self._buffer[:n])
            del self._buffer[:n]
            return data

    async def read_waiting(self) -> bytes:
        """Read what is there already."""
        self._begin_read()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    return await super().read(2 * _LIMIT)
            return b""
        finally:
            self._reads -= 1

    async def readexactly(self, n: int) -> bytes:
        self._begin_read()
        try:
            return await super().readexactly(n)
        except asyncio.IncompleteReadError as error:
            self._checked(error.partial)
            raise
        finally:
            self._reads -= 1

    async def readuntil(self, separator: Any = b"\n") -> bytes:
        self._begin_read()
        try:
            return await super().readuntil(separator)
        except asyncio.IncompleteReadError as error:
            self._checked(error.partial)
            raise
        finally:
            self._reads -= 1

    async def readline(self) -> bytes:
        try:
            return await self.readuntil()
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError:  # for which the base class throws away what it has
            raise IncusInputError(f"a line of {self.name} is longer than {_LIMIT} bytes: use read(n)") from None

    def _begin_read(self) -> None:
        with self._taking:  # what was begun there is done
            self._reads += 1

    def _checked(self, data: bytes) -> bytes:
        """What was read up to the end; raises if that came too early."""
        if self._failure is not None:
            if data:
                setattr(self._failure, self.name, data)
            raise self._failure
        return data


class _Arrivals:
    """What came on some streams, in the order of arrival; the empty piece is the end of one."""

    def __init__(self, readers: Sequence[OutputReader]) -> None:
        self._readers = readers
        self._pieces: deque[tuple[OutputReader, bytes]] = deque()
        self._size = 0
        self._came = asyncio.Event()

    def add(self, reader: OutputReader, piece: bytes) -> None:
        self._pieces.append((reader, piece))
        self._size += len(piece)
        if self._size >= limits.READ_AHEAD:
            for each in self._readers:
                each.socket.pause_reading()
        self._came.set()

    async def next(self) -> tuple[OutputReader, bytes]:
        while not self._pieces:
            self._came.clear()
            await self._came.wait()
        reader, piece = self._pieces.popleft()
        if self._size >= limits.READ_AHEAD > self._size - len(piece):
            self._resume()
        self._size -= len(piece)
        return reader, piece

    def give_back(self) -> None:
        """Let the streams have what comes, and what is left."""
        for reader in self._readers:
            reader.divert(None)
        self._resume()
        for reader, piece in self._pieces:
            if piece:
                reader.feed_data(piece)
            else:
                reader.feed_eof()

    def _resume(self) -> None:
        for reader in self._readers:
            reader.socket.resume_reading()


async def merged(readers: Sequence[OutputReader]) -> AsyncGenerator[tuple[Stream, bytes]]:
    """The pieces of some streams in the order of their arrival, until all have ended."""
    arrivals = _Arrivals(readers)
    for reader in readers:
        reader.divert(arrivals)
    try:
        for reader in readers:
            if waiting := await reader.read_waiting():
                yield reader.name, waiting
        while not all(reader.at_eof() for reader in readers):
            reader, piece = await arrivals.next()
            if piece:
                yield reader.name, piece
            else:
                asyncio.StreamReader.feed_eof(reader)
    finally:
        arrivals.give_back()
    for reader in readers:
        await reader.read()  # raises its error
