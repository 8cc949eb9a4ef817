"""Bodies of requests, in the forms that the HTTP library sends piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterable, AsyncIterator

from ..exceptions import IncusInputError


class BytesBody(io.BytesIO):
    """A body of bytes as a file; each piece that is sent extends the time limit."""

    def __init__(self, content: bytes, limit: asyncio.Timeout, seconds: float | None) -> None:
        super().__init__(content)
        self._limit = limit
        self._seconds = seconds

    def read(self, size: int | None = -1, /) -> bytes:
        """The next piece."""
        if self._seconds is not None:
            with contextlib.suppress(RuntimeError):  # the answer is there before all was sent
                self._limit.reschedule(asyncio.get_running_loop().time() + self._seconds)
        return super().read(size)


class StreamedBody:
    """A body from an async iterable; ``failure`` is what that raised, which the library would report as its own."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces = pieces
        self.failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces:
                if not isinstance(piece, bytes | bytearray | memoryview):
                    raise IncusInputError(f"an upload must yield bytes, not {type(piece).__name__}")
                yield piece
        except Exception as error:
            self.failure = error
            raise
