"""What a server may make a client hold: each limit has an error that names it, and what is just below it is taken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from incus_sdk import IncusConnectionError
from incus_sdk._connection import limits
from incus_sdk._connection.scope import Scope
from incus_sdk._connection.transport import Transport
from tests.hostile.scripted import (
    BINARY,
    CONTINUATION,
    OK,
    PING,
    TEXT,
    Reader,
    Talk,
    Writer,
    accept,
    answer,
    eventually,
    frame,
    head,
    serving,
    silent,
)


def endless(begin: bytes, again: bytes) -> Talk:
    """Begins an answer, and goes on for as long as the client takes it."""

    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(begin)
        while True:
            writer.write(again * (2**16 // len(again) + 1))
            await writer.drain()

    return talk


def test_the_limits_are_those_that_the_documentation_names() -> None:
    assert (limits.HEAD, limits.REFUSAL) == (64 * 2**10, 2**20)
    assert (limits.ENVELOPE, limits.MESSAGE) == (256 * 2**20, 64 * 2**20)


HEADS = {
    "a line": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "a status line": (b"HTTP/1.1 200 ", b"x"),
    "many headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim answers with headers": (b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"),
    "a chunk's extension": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
    "a trailer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x"),
    "many trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize("kind", HEADS)
async def test_a_head_without_end_is_refused(kind: str) -> None:
    async with serving(endless(*HEADS[kind])) as (transport, server):
        with pytest.raises(IncusConnectionError, match="more than is taken: a head of more than 64 KiB"):
            await transport.request("GET", "/1.0")
        await eventually(lambda: server.open == 0)


@pytest.mark.parametrize("size", [limits.HEAD, limits.HEAD + 1])
async def test_a_head_may_have_64_kib_and_no_more(size: int) -> None:
    begin, end = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: ", b"\r\n\r\n"
    said = begin + b"x" * (size - len(begin) - len(end)) + end
    assert len(said) == size

    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(said + b"y")
        await silent(reader, writer)

    async with serving(talk) as (transport, _):
        if size == limits.HEAD:
            assert (await transport.request("GET", "/1.0")).body == b"y"
        else:
            with pytest.raises(IncusConnectionError, match="a head of more than 64 KiB"):
                await transport.request("GET", "/1.0")


async def _request(transport: Transport) -> Any:
    return (await transport.request("GET", "/1.0")).body


async def _stream(transport: Transport) -> Any:
    async with transport.stream("GET", "/1.0") as stream:
        return await stream.read()


async def _websocket(transport: Transport) -> Any:
    return await Scope(transport).websocket("/1.0")


async def _upgrade(transport: Transport) -> Any:
    return await Scope(transport).upgrade("GET", "/1.0", "sftp")


FORMS = {
    "announced": lambda status, size: b"HTTP/1.1 %s X\r\nContent-Length: %d\r\n\r\n" % (status, size),
    "in chunks": lambda status, size: b"HTTP/1.1 %s X\r\nTransfer-Encoding: chunked\r\n\r\n" % status,
    "until the end": lambda status, size: b"HTTP/1.1 %s X\r\n\r\n" % status,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", [_request, _stream, _websocket, _upgrade])
async def test_a_refusal_without_end_is_refused(way: Callable[[Transport], Any], form: str) -> None:
    chunk = b"1000\r\n%s\r\n" % bytes(2**12) if form == "in chunks" else bytes(2**12)
    async with serving(endless(FORMS[form](b"403", 10**12), chunk)) as (transport, server):
        with pytest.raises(IncusConnectionError, match="more than is taken: a body of more than 1 MiB"):
            await way(transport)
        await eventually(lambda: server.open == 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", [_request, _stream])
async def test_an_answer_without_end_is_refused(
    way: Callable[[Transport], Any], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ENVELOPE", 4 * 2**20)
    chunk = b"1000\r\n%s\r\n" % bytes(2**12) if form == "in chunks" else bytes(2**12)
    async with serving(endless(FORMS[form](b"200", 10**12), chunk)) as (transport, server):
        with pytest.raises(IncusConnectionError, match="more than is taken: a body of more than 4 MiB"):
            await way(transport)
        await eventually(lambda: server.open == 0)


@pytest.mark.parametrize("excess", [0, 1])
async def test_an_answer_may_be_as_large_as_the_limit(excess: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENVELOPE", 3 * 2**20)
    body = bytes(3 * 2**20 + excess)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    for said in (answer(body), chunked):

        async def talk(reader: Reader, writer: Writer, said: bytes = said) -> None:
            await head(reader)
            writer.write(said)
            await silent(reader, writer)

        async with serving(talk) as (transport, _):
            if excess:
                with pytest.raises(IncusConnectionError, match="a body of more than 3 MiB"):
                    await _request(transport)
            else:
                assert await _request(transport) == body


async def test_a_stream_has_no_limit_but_waits_for_its_reader() -> None:
    sent = 0

    async def talk(reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(400):
            writer.write(b"10000\r\n%s\r\n" % bytes(2**16))
            sent += 2**16
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await silent(reader, writer)

    async with serving(talk) as (transport, server):
        async with transport.stream("GET", "/1.0") as stream:
            await asyncio.sleep(0.3)
            assert sent < 4 * limits.READ_AHEAD
            pieces = [len(chunk) async for chunk in stream.chunks()]
        assert sum(pieces) == 400 * 2**16
        assert max(pieces) <= limits.CHUNK
        assert server.open == 1  # and can be used again


async def test_tiny_chunks_are_handed_out_together_and_cost_no_more_than_they_may() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            writer.write(b"1\r\nx\r\n" * 1000)
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async with serving(talk) as (transport, _):
        async with transport.stream("GET", "/1.0") as stream:
            await asyncio.sleep(0.3)
            held = stream._connection._pieces
            assert len(held) * 64 < 2 * limits.READ_AHEAD
            pieces = [chunk async for chunk in stream.chunks()]
        assert b"".join(pieces) == b"x" * 200_000
        assert len(pieces) < 500


async def test_tiny_chunks_of_an_answer_that_is_read_whole_are_joined_as_they_come() -> None:
    digits = b"".join(b"%d" % (number % 10) for number in range(50_000))

    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for digit in digits:
            writer.write(b"1\r\n%c\r\n" % digit)
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async with serving(talk) as (transport, _):
        async with transport.stream("GET", "/1.0") as stream:
            whole = await stream.read()
        assert whole == digits
        assert len(stream._connection._pieces) < 2000


# Websockets.


@contextlib.asynccontextmanager
async def websocket(*said: bytes, forever: bytes = b"") -> AsyncGenerator[Any]:
    async def talk(reader: Reader, writer: Writer) -> None:
        await accept(reader, writer)
        for each in said:
            writer.write(each)
        while forever:
            writer.write(forever)
            await writer.drain()
        await silent(reader, writer)

    async with serving(talk) as (transport, server):
        socket = await transport.websocket("/1.0")
        yield socket, server
        await socket.close()


LARGE = {
    "announced": (b"\x82\x7f" + (10**12).to_bytes(8), bytes(2**16)),
    "in pieces": (frame(BINARY, last=False), frame(CONTINUATION, bytes(2**16), last=False)),
    "in pieces of text": (frame(TEXT, last=False), frame(CONTINUATION, b"x" * 2**16, last=False)),
}


@pytest.mark.parametrize("kind", LARGE)
async def test_a_message_without_end_is_refused_after_what_came_before(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MESSAGE", 2**20)
    begin, again = LARGE[kind]
    async with websocket(frame(TEXT, b"before"), begin, forever=again) as (socket, server):
        assert await socket.receive() == "before"
        for _ in range(2):
            with pytest.raises(IncusConnectionError, match="more than is taken: a message of more than 1 MiB"):
                await socket.receive()
        with pytest.raises(IncusConnectionError, match="websocket"):
            await socket.send("x")
        await eventually(lambda: server.open == 0)


async def test_a_message_may_be_as_large_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MESSAGE", 2**20)
    half = bytes(2**19)
    parts = frame(BINARY, half, last=False) + frame(CONTINUATION, half)
    async with websocket(frame(BINARY, bytes(2**20)), parts) as (socket, _):
        for _ in range(2):
            assert await socket.receive() == bytes(2**20)


@pytest.mark.parametrize("flood", [frame(BINARY), frame(BINARY, bytes(2**16)), frame(TEXT, b"x" * 100)])
async def test_a_server_that_says_much_waits_for_the_reader(flood: bytes) -> None:
    async with websocket(forever=flood * 100) as (socket, _):
        await asyncio.sleep(0.5)
        assert sum(len(message) + 64 for message in socket._messages) < 10 * limits.READ_AHEAD
        for _ in range(1000):
            assert await socket.receive() is not None


async def test_pings_without_end_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither are they answered without end where nobody reads the answers."""

    async def talk(reader: Reader, writer: Writer) -> None:
        await accept(reader, writer)
        for _ in range(300):
            writer.write(frame(PING, bytes(125)) * 500)
            await writer.drain()
        writer.write(frame(TEXT, b"last"))
        await silent(reader, writer)

    async with serving(talk) as (transport, _):
        socket = await transport.websocket("/1.0")
        assert await socket.receive() == "last"
        assert socket.transport.get_write_buffer_size() < 2 * limits.READ_AHEAD
        await socket.close()


async def test_an_empty_answer_is_taken() -> None:
    async with serving(lambda reader, writer: _say(reader, writer, answer(b""))) as (transport, _):
        assert await _request(transport) == b""
    async with serving(lambda reader, writer: _say(reader, writer, answer())) as (transport, _):
        assert await _request(transport) == OK


async def _say(reader: Reader, writer: Writer, said: bytes) -> None:
    await head(reader)
    writer.write(said)
