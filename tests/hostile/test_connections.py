"""What a request may count on: that it is sent once, answered by its own answer, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from incus_sdk import IncusConnectionError, IncusInputError, IncusTimeoutError
from incus_sdk._connection import limits
from incus_sdk._connection.endpoint import Endpoint
from incus_sdk._connection.transport import Transport
from incus_sdk._connection.turns import Turns
from tests.hostile.scripted import (
    OK,
    Reader,
    Server,
    Writer,
    accept,
    answer,
    answering,
    eventually,
    head,
    saying,
    serving,
    serving_in_a_thread,
    silent,
)

OTHER = answer(b"another's")


# Sent once.


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_request_is_sent_again_only_if_it_changes_nothing_and_no_byte_came(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "incus_sdk.retries")
    heads: list[bytes] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        heads.append(await head(reader))
        writer.write(answer())
        heads.append(await head(reader))  # and closes

    async with serving(talk) as (transport, server):
        await transport.request("GET", "/1.0")
        if method in ("GET", "HEAD"):
            assert (await transport.request(method, "/1.0/x")).status == 200
            assert len(heads) == 3
            assert server.connections == 2
            assert f"{method} /1.0/x: its connection had been closed; sent again" in caplog.text
        else:
            with pytest.raises(IncusConnectionError, match="closed the connection"):
                await transport.request(method, "/1.0/x", body=b"{}")
            assert len(heads) == 2
            assert server.connections == 1


async def test_a_request_is_not_sent_again_once_a_byte_of_its_answer_came() -> None:
    async with serving(saying(answer(), b"H")) as (transport, server):
        await transport.request("GET", "/1.0")
        with pytest.raises(IncusConnectionError, match="closed the connection"):
            await transport.request("GET", "/1.0/x")
        assert server.connections == 1


async def test_a_request_on_a_new_connection_is_not_sent_again() -> None:
    async with serving(saying(b"")) as (transport, server):
        with pytest.raises(IncusConnectionError, match="closed the connection"):
            await transport.request("GET", "/1.0")
        assert server.connections == 1


async def test_a_request_that_must_not_be_repeated_finds_out_that_a_connection_was_closed() -> None:
    def talk(connection: socket.socket, number: int) -> None:
        connection.recv(10000)
        connection.sendall(answer(b"%d" % number))

    with serving_in_a_thread(talk) as endpoint:
        transport = Transport(endpoint)
        assert (await transport.request("GET", "/1.0")).body == b"0"
        time.sleep(0.1)  # noqa: ASYNC251 - the event loop does not see the end
        assert (await transport.request("POST", "/1.0", body=b"{}")).body == b"1"
        await transport.close()


async def test_the_handshake_of_a_websocket_is_sent_once_on_a_connection_of_its_own() -> None:
    heads: list[bytes] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        while b"websocket" not in (said := await head(reader)):
            writer.write(answer())
        heads.append(said)

    async with serving(talk) as (transport, server):
        await transport.request("GET", "/1.0")
        with pytest.raises(IncusConnectionError, match="closed the connection"):
            await transport.websocket("/1.0/operations/x/websocket?secret=s")
        assert len(heads) == 1
        assert server.connections == 2


# Answered by its own answer.


@pytest.mark.parametrize("second", [OTHER, answer(b""), b"HTTP/1.1 204 No Content\r\n\r\n"])
async def test_a_second_answer_that_comes_with_the_first_is_not_the_next_requests(second: bytes) -> None:
    async with serving(saying(answer() + second, OTHER)) as (transport, server):
        assert (await transport.request("GET", "/1.0")).body == OK
        assert (await transport.request("GET", "/1.0")).body == OK
        assert server.connections == 2


async def test_a_connection_that_the_server_wants_closed_is_not_used_again() -> None:
    async with serving(saying(answer(OK, "Connection: close"), OTHER)) as (transport, server):
        assert (await transport.request("GET", "/1.0")).body == OK
        assert (await transport.request("GET", "/1.0")).body == OK
        assert server.connections == 2


async def test_what_follows_a_body_does_not_change_the_headers() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(saying(head + b"2\r\n{}\r\n0\r\nContent-Type: text/html\r\nX-More: x\r\n\r\n")) as (
        transport,
        _,
    ):
        got = await transport.request("GET", "/1.0")
    assert (dict(got.headers).get("content-type"), "X-More" in got.headers) == ("application/json", False)


async def test_a_second_answer_that_comes_late_is_not_the_next_requests() -> None:
    def talk(connection: socket.socket, number: int) -> None:
        connection.recv(10000)
        connection.sendall(answer(b"%d" % number))
        time.sleep(0.05)
        with contextlib.suppress(OSError):
            connection.sendall(OTHER)
            connection.recv(10000)

    with serving_in_a_thread(talk) as endpoint:
        transport = Transport(endpoint)
        for number in range(3):
            assert (await transport.request("GET", "/1.0")).body == b"%d" % number
            time.sleep(0.1)  # noqa: ASYNC251 - it arrives while the event loop does not look
        await transport.close()


async def test_what_comes_unasked_while_nothing_is_under_way_closes_the_connection() -> None:
    go = asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(answer())
        await go.wait()
        writer.write(OTHER)
        await silent(reader, writer)

    async with serving(talk) as (transport, server):
        await transport.request("GET", "/1.0")
        go.set()
        await eventually(lambda: server.open == 0)


ANSWERS = {
    "with a length": (answer(b"body"), b"body"),
    "in chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\nX: y\r\n\r\n",
        b"body",
    ),
    "after interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-A: interim\r\n\r\n" + answer(b"body"),
        b"body",
    ),
    "without a body": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", b""),
}
LAST = {
    "that closes": (answer(b"body", "Connection: close"), b"body"),
    "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody", b"body"),
    "that ends with the connection": (b"HTTP/1.1 200 OK\r\n\r\nbody", b"body"),
    "of HTTP/1.0 that ends with the connection": (b"HTTP/1.0 200 OK\r\n\r\nbody", b"body"),
}


@pytest.mark.parametrize("pieces", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("kind", [*ANSWERS, *LAST])
async def test_an_answer_has_one_of_the_forms_of_http(kind: str, pieces: bool) -> None:
    said, body = {**ANSWERS, **LAST}[kind]

    async def talk(reader: Reader, writer: Writer) -> None:
        while True:
            await head(reader)
            for piece in [said[at : at + 1] for at in range(len(said))] if pieces else [said]:
                writer.write(piece)
                await asyncio.sleep(0)
            if kind in LAST:
                return

    async with serving(talk) as (transport, server):
        for _ in range(2):
            response = await transport.request("GET", "/1.0")
            assert response.body == body
            assert "X-A" not in response.headers
        assert server.connections == (2 if kind in LAST else 1)


@pytest.mark.parametrize("said", [answer(), answer().replace(OK, b""), b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_the_answer_to_head_has_no_body(said: bytes) -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        while True:
            await head(reader)
            writer.write(said)

    async with serving(talk, timeout=5) as (transport, server):
        assert (await transport.request("HEAD", "/1.0")).body == b""
        if not said.endswith(OK):
            assert (await transport.request("HEAD", "/1.0")).body == b""
            assert server.connections == 1
        else:  # what nobody asked for
            await eventually(lambda: server.open == 0)


async def test_headers_are_found_in_any_case_and_joined() -> None:
    async with serving(saying(answer(OK, "ETag: e", "X-A: 1", "x-a: 2", "X-B: é"))) as (transport, _):
        headers = (await transport.request("GET", "/1.0")).headers
    assert (headers["etag"], headers.get("X-A"), headers["x-b"], headers.get("none")) == ("e", "1, 2", "é", None)
    assert set(headers) == {"content-type", "content-length", "etag", "x-a", "x-b"}


async def test_a_header_of_the_caller_replaces_one_of_ours_and_says_nothing_of_the_body() -> None:
    heads: list[bytes] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        heads.append(await head(reader))
        await reader.readexactly(4)
        writer.write(answer())

    given = {"user-agent": "mine", "Host": "evil", "Content-Length": "9", "transfer-encoding": "chunked", "X-A": "é"}
    async with serving(talk) as (transport, _):
        await transport.request("POST", "/1.0", body=b"body", headers=given)
    lines = heads[0].decode().split("\r\n")[1:-2]
    assert sorted(lines) == sorted(
        ["Host: unix.socket", "user-agent: mine", "Accept-Encoding: identity", "X-A: é", "Content-Length: 4"]
    )


@pytest.mark.parametrize("target", ["/1.0/a b", "/1.0\r\nX: y", "/1.0/\0", "/1.0/é", ""])
async def test_a_target_that_is_not_quoted_is_not_sent(target: str) -> None:
    async with serving(answering) as (transport, server):
        for way in (
            transport.request("GET", target),
            transport.websocket(target),
            transport.upgrade("GET", target, "sftp"),
        ):
            with pytest.raises(IncusInputError, match="quoted"):
                await way
        assert server.connections == 0


# Many at once.


async def test_1000_requests_at_once_over_a_short_queue_are_all_answered() -> None:
    async with serving(answering, backlog=128) as (transport, server):
        asked = asyncio.gather(*(transport.request("GET", "/1.0") for _ in range(1000)))
        assert {response.body for response in await asked} == {OK}
        assert server.most <= limits.REQUESTS


async def test_while_the_queue_of_a_socket_is_full_a_request_waits_and_tries_again(tmp_path: Any) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.setblocking(False)
        listening.bind(f"{tmp_path}/s")
        listening.listen(1)
        transport = Transport(Endpoint(socket=f"{tmp_path}/s"))
        asked = asyncio.gather(*(transport.request("GET", "/1.0") for _ in range(50)))
        await asyncio.sleep(0.1)  # nobody accepts anyone
        server = Server(answering)
        serving = await asyncio.start_unix_server(server.connected, sock=listening)
        assert {response.body for response in await asked} == {OK}
        await transport.close()
        serving.close()
        await server.stop()


async def test_a_queue_that_stays_full_is_a_timeout(tmp_path: Any) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/s")
        listening.listen(0)
        transport = Transport(Endpoint(socket=f"{tmp_path}/s"), timeout=0.2)
        asked = [asyncio.create_task(transport.request("GET", "/1.0", wait=True)) for _ in range(5)]
        done, waiting = await asyncio.wait(asked, timeout=1)
        assert done
        for task in done:
            with pytest.raises(IncusTimeoutError, match="no answer"):
                task.result()
        await transport.close()
        await asyncio.wait(waiting)
        assert all(isinstance(task.exception(), IncusConnectionError) for task in waiting)


async def test_waits_streams_and_websockets_do_not_keep_ordinary_requests_waiting() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        said = await head(reader)
        if b"/stream" in said:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        elif b"/ordinary" in said:
            writer.write(answer())
        await silent(reader, writer)

    many = limits.REQUESTS + 10
    async with serving(talk, backlog=1000) as (transport, server), contextlib.AsyncExitStack() as stack:

        async def pieces() -> AsyncIterator[bytes]:
            yield b"begun"
            await asyncio.Event().wait()

        waiting = [asyncio.create_task(transport.request("GET", "/wait", wait=True)) for _ in range(many)]
        waiting += [asyncio.create_task(transport.request("POST", "/upload", body=pieces())) for _ in range(many)]
        for _ in range(many):
            await stack.enter_async_context(transport.stream("GET", "/stream"))
        await eventually(lambda: server.connections == 3 * many)
        async with asyncio.timeout(5):
            assert (await transport.request("GET", "/ordinary")).body == OK
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_turns_are_taken_in_the_order_in_which_they_were_asked_for() -> None:
    turns, order = Turns(2), list[int]()

    async def take(number: int) -> None:
        async with turns:
            order.append(number)
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(take(number)) for number in range(50)]
    await asyncio.sleep(0)
    for number in range(5, 50, 3):
        tasks[number].cancel()
    await asyncio.wait(tasks)
    assert order == [number for number in range(50) if number < 5 or number % 3 != 2]


async def test_a_turn_that_comes_to_someone_cancelled_goes_to_the_next() -> None:
    turns = Turns(1)

    async def take() -> None:
        async with turns:
            pass

    await turns.__aenter__()
    first, second = asyncio.create_task(take()), asyncio.create_task(take())
    await asyncio.sleep(0)
    await turns.__aexit__()
    first.cancel()  # at the same moment
    async with asyncio.timeout(5):
        await second
        await take()


# Bodies that are sent.


async def test_pieces_of_any_kind_arrive_as_they_were_when_they_were_given() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        whole = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            whole += (await reader.readexactly(size + 2))[:-2]
            await asyncio.sleep(0.001)
        writer.write(answer(whole))

    async def pieces() -> AsyncIterator[Any]:
        again = bytearray(300_000)
        for number in range(5):
            again[:] = bytes([number]) * len(again)
            yield again if number % 2 else memoryview(again)
            yield b""

    async with serving(talk) as (transport, _):
        body = (await transport.request("POST", "/1.0", body=pieces())).body
    assert body == b"".join(bytes([number]) * 300_000 for number in range(5))


async def test_an_upload_whose_source_waits_hears_a_refusal_at_once() -> None:
    closed = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"begun"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(answer(b"{}", status="403 Forbidden"))
        await silent(reader, writer)

    async with serving(talk) as (transport, server):
        async with asyncio.timeout(5):
            assert (await transport.request("POST", "/1.0", body=pieces())).status == 403
        assert closed.is_set()
        await eventually(lambda: server.open == 0)


async def test_an_upload_whose_source_is_cancelled_ends() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        raise asyncio.CancelledError

    async with serving(silent) as (transport, _):
        async with asyncio.timeout(5):
            with pytest.raises(IncusConnectionError):
                await transport.request("POST", "/1.0", body=pieces())


# Time.


@pytest.mark.parametrize("cut", [0, 9, len(answer()) - 5])
@pytest.mark.parametrize("body", [None, b"x", bytes(2**17)])
async def test_an_ordinary_answer_that_stalls_is_an_error_wherever_it_does(cut: int, body: bytes | None) -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        await reader.readexactly(len(body or b""))
        writer.write(answer()[:cut])
        await silent(reader, writer)

    async with serving(talk, timeout=0.1) as (transport, server):
        begun = time.monotonic()
        with pytest.raises(IncusTimeoutError, match=r"no answer from|stalled for 0\.1 s"):
            await transport.request("GET", "/1.0", body=body)
        assert 0.09 < time.monotonic() - begun < 2
        await eventually(lambda: server.open == 0)


async def test_an_answer_that_drips_is_not_stalled() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        while True:
            await head(reader)
            for at in range(0, len(answer()), 10):
                await asyncio.sleep(0.2)
                writer.write(answer()[at : at + 10])

    async with serving(talk, timeout=1) as (transport, _):
        for _ in range(2):
            assert (await transport.request("GET", "/1.0")).body == OK


async def test_the_time_for_an_answer_begins_with_each_request() -> None:
    pause = 0.0

    async def talk(reader: Reader, writer: Writer) -> None:
        while True:
            await head(reader)
            await asyncio.sleep(pause)
            writer.write(answer())

    async with serving(talk, timeout=1.5) as (transport, server):
        for pause in (0.0, 0.8, 0.8):  # noqa: B007
            assert (await transport.request("GET", "/1.0")).body == OK
        pause = 10
        begun = time.monotonic()
        with pytest.raises(IncusTimeoutError):
            await transport.request("GET", "/1.0")
        assert 1.49 < time.monotonic() - begun < 9
        assert server.connections == 1


async def test_an_unused_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.1)
    async with serving(answering) as (transport, server):
        await asyncio.gather(*(transport.request("GET", "/1.0") for _ in range(5)))
        assert server.open == 5
        await eventually(lambda: server.open == 0)
        assert (await transport.request("GET", "/1.0")).body == OK


async def test_only_some_unused_connections_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IDLE_CONNECTIONS", 3)
    async with serving(answering) as (transport, server):
        await asyncio.gather(*(transport.request("GET", "/1.0", wait=True) for _ in range(10)))
        await eventually(lambda: server.open == 3)


# Nothing left behind.


def sockets() -> int:
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return found


async def _receive(transport: Transport) -> None:
    socket = await transport.websocket("/websocket")
    try:
        await socket.receive()
    finally:
        await socket.close()


async def _upload(transport: Transport) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield bytes(2**16)

    await transport.request("POST", "/upload", body=pieces())


async def _read(transport: Transport) -> None:
    async with transport.stream("GET", "/stream") as stream:
        async for _ in stream.chunks():
            pass


WAYS: list[Callable[[Transport], Any]] = [
    lambda transport: transport.request("GET", "/silent"),
    lambda transport: transport.request("GET", "/cut"),
    lambda transport: transport.request("POST", "/silent", body=bytes(2**24)),
    lambda transport: transport.websocket("/silent"),
    lambda transport: transport.upgrade("GET", "/silent", "sftp"),
    _receive,
    _upload,
    _read,
]


async def _talk(reader: Reader, writer: Writer) -> None:
    said = await head(reader)
    if b"/websocket" in said:
        again = asyncio.StreamReader()
        again.feed_data(said)
        await accept(again, writer)
    elif b"/cut" in said:
        writer.write(answer()[:-5])
    elif b"/stream" in said:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
    await silent(reader, writer)


@pytest.mark.parametrize("way", range(len(WAYS)))
async def test_cancelled_at_any_moment_it_leaves_no_socket_and_no_task(way: int) -> None:
    async with serving(_talk) as (transport, _):
        tasks, before = asyncio.all_tasks(), sockets()
        for steps in [*range(12), 200]:
            asking = asyncio.create_task(WAYS[way](transport))
            for _ in range(steps):
                await asyncio.sleep(0)
            if steps == 200:
                await asyncio.sleep(0.05)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            # The server closes its side as it sees the end of ours.
            await eventually(lambda: sockets() == before and asyncio.all_tasks() <= tasks)
