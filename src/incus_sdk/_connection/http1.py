"""HTTP/1.1 by hand, for what the HTTP library cannot do: upgrades to a raw stream, and CONNECT to a proxy."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from typing import Any


async def exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    request_line: str,
    headers: Mapping[str, str],
    body: bytes = b"",
) -> tuple[int, Mapping[str, str]]:
    """Send a request, and read status and headers of its response; whatever follows them stays in the reader."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"{request_line} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    await writer.drain()
    return _parse_head(await reader.readuntil(b"\r\n\r\n"))


def _parse_head(head: bytes) -> tuple[int, Mapping[str, str]]:
    import http.client

    status_line, _, rest = head.partition(b"\r\n")
    version, _, status = status_line.decode("latin-1").partition(" ")
    if not version.startswith("HTTP/1."):
        raise http.client.BadStatusLine(version)
    headers: Any = http.client.parse_headers(io.BytesIO(rest))  # reads like a mapping, whatever the case of the name
    return int(status[:3]), headers
