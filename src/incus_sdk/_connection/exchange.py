"""One request and its answer, on a connection of the pool or a new one."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping

from . import wire
from .connection import Connection
from .errors import Lost
from .heads import encode_head
from .pool import Pool
from .tracing import RETRIES
from .uploads import Upload

Body = bytes | AsyncIterable[bytes] | None

_AT_ONCE = 64 * 1024  # bytes of a body that go out together with the head


class Exchange:
    """A context manager: inside, `Connection.status` and `Connection.headers` have come, and the body can be read.

    The request is sent a second time only if a connection of the pool turns out to have been closed before, and not a
    byte of an answer came; and only if it changes nothing. Other requests use no connection that may be closed.

    Args:
        pool: Where the connection is from, and goes back to.
        method: Of the request.
        target: Path and query.
        headers: What the request says.
        body: Bytes, or pieces.
        seconds: For which the answer may stall; None for any time.
    """

    def __init__(
        self,
        pool: Pool,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body,
        seconds: float | None,
    ) -> None:
        self._pool = pool
        self._method = method
        self._path = target.partition("?")[0]
        self._repeatable = wire.is_repeatable(method, target)
        self._seconds = seconds
        self._body: Body = None  # what does not go out with the head
        self._upload: Upload | None = None
        framing: dict[str, str] = {}
        if isinstance(body, bytes):
            framing = {"Content-Length": str(len(body))}
        elif body is not None:
            framing = {"Transfer-Encoding": "chunked"}
        elif method not in ("GET", "HEAD"):
            framing = {"Content-Length": "0"}
        self._sent = encode_head(method, target, pool.endpoint, headers, framing)
        if isinstance(body, bytes) and len(body) <= _AT_ONCE:
            self._sent += body
        else:
            self._body = body

    async def __aenter__(self) -> Connection:
        connection = self._pool.take()
        if connection is not None:
            try:
                return await self._begin(connection)
            except Lost:
                if not connection.unheard or self._body is not None or not self._repeatable:
                    raise
                RETRIES.info("%s %s: its connection had been closed; sent again", self._method, self._path)
        return await self._begin(await self._pool.connect())

    async def _begin(self, connection: Connection) -> Connection:
        connection.begin(self._sent, self._method, self._seconds)
        self._connection = connection
        try:
            if self._body is not None:
                self._upload = Upload(connection, self._body)
            await connection.head()
        except BaseException:
            await self._leave()
            raise
        return connection

    async def __aexit__(self, *_: object) -> None:
        await self._leave()

    async def _leave(self) -> None:
        try:
            if self._upload is not None:
                await self._upload.stop()
        finally:
            self._pool.give_back(self._connection)
