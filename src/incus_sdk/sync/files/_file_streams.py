"""Files of an instance or a volume as streams, from `RemotePath.open`.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...files import _file_streams as _source
from .. import _twin

if TYPE_CHECKING:
    from typing import Self

    from ...files._file_streams import Data


class RemoteReader(_twin.Twin):
    """A file being read, from `RemotePath.open`: ``for piece in file``, or `read`."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.RemoteReader: ...

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            item: bytes = self._wrap(self._portal.run(self._async.__anext__()))
        except StopAsyncIteration:
            raise StopIteration from None
        return item

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes; if this is cancelled, the next call reads the same ones.

        Args:
            size: How many bytes; -1 for all that are left.

        Returns:
            That many bytes, fewer only at the end of the file.
        """
        return self._portal.run(self._async.read(size))


class RemoteWriter(_twin.Twin):
    """A file being written, from `RemotePath.open`."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.RemoteWriter: ...

    def write(self, data: Data) -> int:
        """Write bytes; an error in the instance can show only at the end of the block.

        Args:
            data: The bytes.

        Returns:
            The number of bytes.

        Raises:
            IncusInputError: The data is not bytes.
            IncusAPIError: An earlier piece could not be written.
        """
        return self._portal.run(self._async.write(data))
