"""Files of an instance or a volume as streams, from `RemotePath.open`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Self

from .._content import BinaryFile, checked_content, iter_content, size_of, with_progress
from ..exceptions import IncusInputError
from ..operations import OnProgress
from ._sftp import Handle

Data = bytes | bytearray | memoryview
FileContent = Data | BinaryFile | Iterable[bytes] | AsyncIterable[bytes]


def file_pieces(content: FileContent, progress: OnProgress | None) -> AsyncIterator[Data]:
    """The pieces in which a file is written; bytes are one. Raises `IncusInputError` for what cannot be written."""
    if isinstance(content, str | os.PathLike):
        raise IncusInputError(f"data must be content, not {type(content).__name__}: push() copies a local file")
    checked_content(content, "data")

    async def one() -> AsyncIterator[Data]:
        yield content  # type: ignore[misc]

    whole = isinstance(content, Data) and progress is None
    return one() if whole else with_progress(iter_content(content), "upload", size_of(content), progress)


class RemoteReader:
    """A file being read, from `RemotePath.open`: ``async for piece in file``, or `read`.

    Args:
        pieces: The content.
    """

    def __init__(self, pieces: AsyncIterator[memoryview]) -> None:
        self._pieces = pieces
        self._rest = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._rest:
            piece, self._rest = self._rest, b""
            return piece
        return bytes(await anext(self._pieces))

    async def read(self, size: int = -1) -> bytes:
        """Read the next bytes; if this is cancelled, the next call reads the same ones.

        Args:
            size: How many bytes; -1 for all that are left.

        Returns:
            That many bytes, fewer only at the end of the file.
        """
        pieces, length = list[bytes](), 0
        try:
            async for piece in self:
                pieces.append(piece)
                length += len(piece)
                if 0 <= size <= length:
                    break
        except BaseException:
            self._rest = b"".join(pieces)
            raise
        data = b"".join(pieces)
        if size >= 0:
            data, self._rest = data[:size], data[size:]
        return data


class RemoteWriter:
    """A file being written, from `RemotePath.open`.

    Args:
        handle: The open file.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def write(self, data: Data) -> int:
        """Write bytes; an error in the instance can show only at the end of the block.

        Args:
            data: The bytes.

        Returns:
            The number of bytes.

        Raises:
            IncusInputError: The data is not bytes.
            IncusAPIError: An earlier piece could not be written.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise IncusInputError(f"data must be bytes, not {type(data).__name__}")
        await self._handle.write(content := bytes(data))
        return len(content)
