"""Sockets that cannot be used, or are those of another server: what is wrong and what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusConnectionError,
    IncusError,
)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path, which everybody may enter."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


async def request(client: Client) -> Any:
    return await client.connect()


async def websocket(client: Client) -> Any:
    return await client.events.listen().__aenter__()


async def upgrade(client: Client) -> Any:
    return await client._scope.upgrade("GET", "/1.0/instances/c1/sftp", "sftp")


WAYS = [request, websocket, upgrade]


async def failed(path: Path, way: Callable[[Client], Any] = request) -> str:
    client = Client(path, timeout=20)
    try:
        with pytest.raises(IncusConnectionError) as caught:
            await way(client)
    finally:
        await client.disconnect()
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("way", WAYS)
async def test_a_socket_that_cannot_be_used_is_named_with_the_reason_and_what_to_do(
    directory: Path, way: Callable[[Client], Any]
) -> None:
    assert "there is no socket" in await failed(directory / "missing", way)
    assert "is Incus installed and its daemon running?" in await failed(directory / "missing" / "deeper", way)

    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(directory / "refused"))
    assert "nobody listens" in await failed(directory / "refused", way)
    assert "start it" in await failed(directory / "refused", way)

    (directory / "file").touch()
    for path in (directory / "file", directory, Path("/dev/null")):
        assert "is not a socket" in await failed(path, way)
    assert "file/below" in await failed(directory / "file" / "below", way)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(directory / "datagrams"))
        assert "Protocol wrong type" in await failed(directory / "datagrams", way)

    assert "too long" in await failed(directory / ("x" * 200), way)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "is not an Incus server"),
        (b"", "closed the connection before its answer was complete"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n<p>Hi", "is not an Incus server"),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", "is not an Incus server"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", "is not an Incus server"),
        (
            b'HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{"message": "no"}',
            "HTTP 404, not an answer of Incus; a proxy or another server may have sent it: .*no",
        ),
    ],
)
async def test_a_socket_of_another_server_is_found_out_when_connecting(
    directory: Path, answer: bytes, said: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(serve, directory / "other"):
        client = Client(directory / "other")
        with pytest.raises(IncusError, match=said) as caught:
            await client.connect()
        await client.disconnect()
    assert isinstance(caught.value, IncusConnectionError | IncusAPIError)
    assert "/1.0" in str(caught.value)
