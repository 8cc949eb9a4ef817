"""The stream of events from a server that does what none does on demand: nonsense, silence, refusals."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import incus_sdk.events
from incus_sdk import Client, Event, Gap, IncusCertificateError, IncusPermissionError, OperationEvent

Script = list[Any]
"""For each connection what is sent: events, ``str`` as they are, ``SILENCE``, or only an HTTP status."""

SILENCE = object()


def error(status: int) -> bytes:
    body = json.dumps({"type": "error", "error": "no", "error_code": status, "metadata": None}).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def text(message: str) -> bytes:
    data = message.encode()
    assert len(data) < 126
    return bytes([0x81, len(data)]) + data


def upgraded(head: str) -> bytes:
    """The answer to a handshake."""
    key = next(line.split()[1] for line in head.splitlines() if line.lower().startswith("sec-websocket-key:"))
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    accept = base64.b64encode(digest).decode()
    upgrade = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return f"{upgrade}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()


class Server:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.sent: Any = None
        self.requests: list[str] = []
        self.tasks: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head.split()[1])
            if "upgrade: websocket" in head.lower():
                self.sent = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            sent = self.sent
            if isinstance(sent, int):
                writer.write(error(sent))
                return
            writer.write(upgraded(head))
            for message in sent:
                if message is SILENCE:
                    await reader.read()
                else:
                    writer.write(text(message if isinstance(message, str) else json.dumps(message)))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server([])
    listening = await asyncio.start_unix_server(server.serve, tmp_path / "socket")
    yield server
    listening.close()
    for task in filter(None, server.tasks):
        task.cancel()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    client = Client(tmp_path / "socket", project="p1")
    yield client
    await client.disconnect()


OPERATION = {"type": "operation", "metadata": {"id": "x", "status_code": 200}}


async def test_an_unknown_type_of_event_is_an_event_all_the_same(server: Server, client: Client) -> None:
    strange = {"type": "weather", "metadata": [1], "new": None}
    server.script = [[strange, {}, OPERATION, SILENCE]]
    async with client.events.listen() as events:
        first, second, third = [await anext(events) for _ in range(3)]
    assert (type(first), type(second), type(third)) == (Event, Event, OperationEvent)
    assert isinstance(first, Event)
    assert first.raw == strange
    assert server.requests == ["/1.0/events?project=p1"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ([], "the connection was lost"),
        ([SILENCE], "the connection was lost"),
        (["{"], "the server sent an invalid event"),
        (["[1]"], "the server sent an invalid event"),
    ],
    ids=["closed", "silent", "cut off", "no object"],
)
async def test_a_stream_that_cannot_be_read_on_is_made_again_with_a_gap(
    server: Server, client: Client, broken: list[Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incus_sdk.events, "_IDLE", 0.05)
    server.script = [[OPERATION, *broken], 503, [OPERATION, *broken], [OPERATION, SILENCE]]
    async with client.events.listen() as events:
        seen = [await anext(events) for _ in range(5)]
    assert [type(event) for event in seen] == [OperationEvent, Gap, OperationEvent, Gap, OperationEvent]
    assert [event.reason.partition(":")[0] for event in seen if isinstance(event, Gap)] == [reason, reason]


async def test_a_server_that_refuses_to_go_on_is_quoted_and_then_the_stream_ends(
    server: Server, client: Client
) -> None:
    server.script = [[OPERATION], 403]
    async with client.events.listen() as events:
        assert isinstance(await anext(events), OperationEvent)
        with pytest.raises(IncusPermissionError):
            await anext(events)
        assert [event async for event in events] == []


async def test_another_server_in_its_place_ends_the_stream(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = [[OPERATION]]

    async def refuse(*_: object) -> None:
        raise IncusCertificateError("did not prove who it is")

    async with client.events.listen() as events:
        monkeypatch.setattr(events, "_connect", refuse)
        assert isinstance(await anext(events), OperationEvent)
        with pytest.raises(IncusCertificateError):
            await asyncio.wait_for(anext(events), 30)


async def test_the_block_begins_once_the_server_answers_on_the_stream(tmp_path: Path, client: Client) -> None:
    said: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(upgraded((await reader.readuntil(b"\r\n\r\n")).decode()))
        head, size, *mask = await reader.readexactly(6)
        payload = await reader.readexactly(size & 0x7F)
        await asyncio.sleep(0.2)
        said.append(f"{head:x}")
        writer.write(bytes([0x8A, len(payload)]) + bytes(each ^ mask[n % 4] for n, each in enumerate(payload)))
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "socket"), client.events.listen():
        assert said == ["89"]  # a ping


async def test_a_refusal_at_the_start_is_raised_by_the_block(server: Server, client: Client) -> None:
    server.script = [403]
    with pytest.raises(IncusPermissionError):
        await client.events.listen().__aenter__()
