"""An open websocket: how it ends, and how both sides wait for each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import struct
import time
from collections.abc import AsyncGenerator

import pytest

from incus_sdk import IncusConnectionError
from incus_sdk._connection.frames import Frames
from incus_sdk._connection.transport import WebSocket
from tests.hostile.scripted import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    SECRET,
    TEXT,
    Reader,
    Server,
    Talk,
    Writer,
    accept,
    eventually,
    frame,
    read_frame,
    serving,
    silent,
)


@contextlib.asynccontextmanager
async def connected(talk: Talk, pong: bool = True) -> AsyncGenerator[tuple[WebSocket, Server]]:
    """A websocket to a server that talks by ``talk`` once it has accepted it."""

    async def accepting(reader: Reader, writer: Writer) -> None:
        await accept(reader, writer)
        await talk(reader, writer)

    async with serving(accepting) as (transport, server):
        socket = await transport.websocket("/1.0/events", pong=pong)
        try:
            yield socket, server
        finally:
            await socket.close()


def saying(*said: bytes) -> Talk:
    async def talk(reader: Reader, writer: Writer) -> None:
        writer.write(b"".join(said))

    return talk


@pytest.mark.parametrize(
    ("said", "clean"),
    [
        ((frame(CLOSE, struct.pack("!H", 1000)),), True),
        ((frame(CLOSE),), True),
        ((), False),
        ((b"\x82\x05ab",), False),
        ((frame(TEXT, b"begun", last=False),), False),
    ],
)
async def test_a_close_and_a_cut_are_told_apart(said: tuple[bytes, ...], clean: bool) -> None:
    async with connected(saying(frame(TEXT, b"before"), *said)) as (socket, _):
        assert await socket.receive() == "before"
        assert await socket.receive() is None
        assert (socket.ended_by_peer is True) is clean


async def test_what_comes_after_the_end_is_not_a_message() -> None:
    async with connected(saying(frame(CLOSE), frame(TEXT, b"after"))) as (socket, server):
        assert await socket.receive() is None
        assert await socket.receive() is None
        await eventually(lambda: server.open == 0)


async def test_a_message_in_pieces_is_joined_and_pings_between_them_are_answered() -> None:
    got: list[tuple[int, bytes]] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        for piece in (
            frame(TEXT, "é".encode()[:1], last=False),
            frame(PING, b"one"),
            frame(CONTINUATION, last=False),
            frame(CONTINUATION, "é".encode()[1:], last=False),
            frame(PING, b"two"),
            frame(CONTINUATION, b"!"),
            frame(BINARY, b"whole"),
        ):
            for at in range(len(piece)):
                writer.write(piece[at : at + 1])
                await asyncio.sleep(0)
        got.extend([await read_frame(reader), await read_frame(reader)])
        await silent(reader, writer)

    async with connected(talk) as (socket, _):
        assert [await socket.receive(), await socket.receive()] == ["é!", b"whole"]
        await eventually(lambda: got == [(10, b"one"), (10, b"two")])


async def arrived_of(*messages: bytes | memoryview | str) -> list[tuple[int, bytes]]:
    """What a server gets."""
    arrived = list[tuple[int, bytes]]()

    async def talk(reader: Reader, writer: Writer) -> None:
        while len(arrived) < len(messages):
            arrived.append(await read_frame(reader))

    async with connected(talk) as (socket, _):
        for message in messages:
            await socket.send(message)
        await eventually(lambda: len(arrived) == len(messages))
    return arrived


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 125, 126, 127, 65535, 65536, 2**20])
async def test_what_is_sent_arrives_as_it_is(size: int) -> None:
    data, text = os.urandom(size), "ä" * (size // 2)
    arrived = await arrived_of(data, memoryview(data), text)
    assert arrived == [(BINARY, data), (BINARY, data), (TEXT, text.encode())]


@pytest.mark.parametrize("size", [12, 1200])
async def test_a_view_of_any_kind_arrives_as_its_bytes(size: int) -> None:
    data = memoryview(os.urandom(size))
    views = [data.cast("I"), data[::2], data.cast("B", [2, size // 2])]
    assert await arrived_of(*views) == [(BINARY, bytes(view)) for view in views]


@pytest.mark.parametrize("size", [125, 126])
def test_each_frame_has_a_mask_of_its_own(size: int) -> None:
    frames, sent = Frames(), list[bytes]()
    for _ in range(3):
        frames.send(bytes(size))
        sent.append(frames.unsent()[-4:])  # a mask over zeros is seen
    assert len(set(sent)) == 3


async def test_sending_waits_for_a_server_that_does_not_read() -> None:
    go = asyncio.Event()
    received = 0

    async def talk(reader: Reader, writer: Writer) -> None:
        nonlocal received
        await go.wait()
        with contextlib.suppress(EOFError):
            while True:
                received += len((await read_frame(reader))[1])

    async with connected(talk) as (socket, _):
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(120):
                await socket.send(bytes(2**14))
                sent += 2**14

        sending = [asyncio.create_task(send()) for _ in range(2)]
        await asyncio.sleep(0.2)
        assert sent < 2**21  # what the system's buffers take
        assert socket.transport.get_write_buffer_size() < 2**18
        sending[1].cancel()  # which takes nothing from the other
        go.set()
        await sending[0]
        await eventually(lambda: received == sent or received == sent + 2**14)


async def test_closing_waits_a_second_for_a_server_that_does_not_answer() -> None:
    async with connected(silent) as (socket, server):
        begun = time.monotonic()
        await socket.close()
        assert 0.9 < time.monotonic() - begun < 3
        await socket.close()
        await eventually(lambda: server.open == 0)


async def test_closing_does_not_wait_longer_than_the_server_takes_to_answer() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        while (got := await read_frame(reader))[0] != CLOSE:
            pass
        writer.write(frame(*got))
        await silent(reader, writer)  # waits for the end of the connection itself

    async with connected(talk) as (socket, server):
        begun = time.monotonic()
        await socket.close()
        assert time.monotonic() - begun < 0.5
        await eventually(lambda: server.open == 0)


async def test_closing_gets_through_to_a_server_that_waits_for_its_reader() -> None:
    """The close that answers ours comes after all that nobody read."""

    async def talk(reader: Reader, writer: Writer) -> None:
        for _ in range(200):
            writer.write(frame(BINARY, bytes(2**16)))
            await writer.drain()
        got = await read_frame(reader)
        writer.write(frame(*got))
        await silent(reader, writer)

    async with connected(talk) as (socket, server):
        await asyncio.sleep(0.1)
        await socket.close()
        assert await socket.receive() is None
        await eventually(lambda: server.open == 0)


async def test_who_waits_for_a_message_learns_that_it_was_closed_by_another_task() -> None:
    async with connected(silent) as (socket, _):
        receiving = asyncio.create_task(socket.receive())
        await asyncio.sleep(0)
        await socket.close()
        assert await receiving is None
        with pytest.raises(IncusConnectionError, match="websocket"):
            await socket.send("late")


async def test_silence_is_measured_from_the_last_byte() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        for _ in range(4):
            await asyncio.sleep(0.1)
            writer.write(frame(PING))
        await silent(reader, writer)

    async with connected(talk) as (socket, _):
        begun = time.monotonic()
        assert await socket.receive(idle=0.25) is None
        assert 0.6 < time.monotonic() - begun < 2
        assert not socket.ended_by_peer


async def test_cancelling_a_receive_with_a_time_leaves_none_behind() -> None:
    async with connected(silent) as (socket, _):
        for _ in range(3):
            receiving = asyncio.create_task(socket.receive(idle=0.05))
            await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait([receiving])
        receiving = asyncio.create_task(socket.receive())
        await asyncio.sleep(0.2)
        assert not receiving.done()
        receiving.cancel()
        await asyncio.wait([receiving])


async def test_what_is_sent_and_received_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with connected(saying(frame(TEXT, SECRET.encode()), b"\xff\xff")) as (socket, _):
        with contextlib.suppress(IncusConnectionError):
            await socket.send(SECRET)
        assert await socket.receive() == SECRET
        assert await socket.receive() is None
    assert SECRET not in caplog.text
