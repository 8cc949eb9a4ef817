"""Bodies that are sent piece by piece, while the answer is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable

from .._concurrency import closing
from ..exceptions import IncusInputError
from . import limits
from .connection import Connection
from .errors import Lost, SourceFailed


class Upload:
    """A body on its way, sent by a task of its own, so that a server that refuses it early is heard.

    Args:
        connection: Where the head has been sent.
        body: Bytes, whose length the head says, or pieces, which are sent as chunks.
    """

    def __init__(self, connection: Connection, body: bytes | AsyncIterable[bytes]) -> None:
        self._connection = connection
        self._task = asyncio.create_task(self._send(body), name="incus-sdk upload")

    async def stop(self) -> None:
        """End it; a connection on which not all was sent is closed."""
        if not self._task.done():
            self._connection.end(Lost(None))
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _send(self, body: bytes | AsyncIterable[bytes]) -> None:
        try:
            await (self._send_bytes(body) if isinstance(body, bytes) else self._send_pieces(body))
        except Exception as error:
            self._connection.end(SourceFailed(error))
        except BaseException:
            self._connection.end(Lost(None))
            raise

    async def _send_bytes(self, body: bytes) -> None:
        view = memoryview(body)
        for start in range(0, len(view), limits.CHUNK):
            self._connection.transport.write(view[start : start + limits.CHUNK])
            await self._connection.drain()
            self._connection.put_off()

    async def _send_pieces(self, content: AsyncIterable[bytes]) -> None:
        async with closing(content) as pieces:
            async for piece in pieces:
                if not isinstance(piece, bytes | bytearray | memoryview):
                    raise IncusInputError(f"an upload must yield bytes, not {type(piece).__name__}")
                if data := bytes(piece):  # an empty chunk would be the end
                    self._connection.transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
                    self._connection.uploaded += len(data)
                    await self._connection.drain()
        self._connection.transport.write(b"0\r\n\r\n")
