"""Connections that switch protocols: a websocket, or a raw byte stream.

Each has a connection of its own, which is new: a secret that opens a websocket works once, so it must not be sent on a
connection that may be closed already.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable, Mapping

from . import limits
from .answers import Response, UpgradeRefused
from .connection import Connection
from .errors import Explaining, Foreign, Lost
from .heads import encode_head
from .pool import Pool
from .streams import ByteStream
from .tracing import Trace
from .websocket import WebSocket

_PROOF = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


async def open_websocket(
    pool: Pool,
    target: str,
    headers: Mapping[str, str],
    seconds: float | None,
    explaining: Callable[[str], Explaining],
    pong: bool,
    trace: Trace,
) -> WebSocket:
    """A websocket, open; raises `UpgradeRefused` for an ordinary answer."""
    key = base64.b64encode(os.urandom(16)).decode()
    asked = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
    connection = await _switch(pool, "GET", target, "websocket", {**headers, **asked}, b"", seconds, trace)
    proof = base64.b64encode(hashlib.sha1((key + _PROOF).encode()).digest()).decode()
    if connection.headers.get("Sec-WebSocket-Accept") != proof:
        connection.end(Lost(None))
        raise Foreign("it does not speak the websocket protocol")
    socket = WebSocket(pool.buffer, pool.forget, explaining, pong)
    pool.hand_over(connection, socket)
    return socket


async def open_stream(
    pool: Pool,
    method: str,
    target: str,
    protocol: str,
    headers: Mapping[str, str],
    body: bytes,
    seconds: float | None,
    trace: Trace,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A raw byte stream in a protocol; raises `UpgradeRefused` for an ordinary answer."""
    connection = await _switch(pool, method, target, protocol, headers, body, seconds, trace)
    reader = asyncio.StreamReader(limits.READ_AHEAD // 2, pool.loop)
    stream = ByteStream(pool.buffer, reader, pool.forget)
    pool.hand_over(connection, stream)
    return reader, asyncio.StreamWriter(stream.transport, stream, reader, pool.loop)


async def _switch(
    pool: Pool,
    method: str,
    target: str,
    protocol: str,
    headers: Mapping[str, str],
    body: bytes,
    seconds: float | None,
    trace: Trace,
) -> Connection:
    """A new connection on which the server has switched to a protocol."""
    framing = {"Connection": "Upgrade", "Upgrade": protocol, "Content-Length": str(len(body))}
    request = encode_head(method, target, pool.endpoint, headers, framing) + body
    connection = await pool.connect()
    try:
        connection.begin(request, method, seconds)
        await connection.head()
        trace.answered(connection)
        if connection.status != 101:
            raise UpgradeRefused(Response(connection.status, connection.headers, await connection.read(limits.REFUSAL)))
        if connection.headers.get("Upgrade", "").lower() != protocol:
            raise Foreign(f"it does not switch to {protocol}")
    except BaseException:
        connection.end(Lost(None))
        raise
    return connection
