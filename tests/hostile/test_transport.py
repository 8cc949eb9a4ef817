"""The transport against servers that do what no daemon does on demand: break off, stall, speak nonsense."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import os
import pickle
import struct
import tempfile
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incus_sdk import (
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusPermissionError,
    IncusTimeoutError,
)
from incus_sdk._connection import wire
from incus_sdk._connection.endpoint import Endpoint
from incus_sdk._connection.scope import Scope
from incus_sdk._connection.transport import Transport, WebSocket

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Talk = Callable[[Reader, Writer], Awaitable[None]]

SECRET = "hunter2"
QUERY = {"secret": SECRET}
OK = b'{"type": "sync", "metadata": {"a": 1}}'


def answer(body: bytes = OK, *headers: str, status: str = "200 OK", type: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {type}", f"Content-Length: {len(body)}", *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body


FORBIDDEN = answer(b'{"type": "error", "error_code": 403, "error": "go away"}', status="403 Forbidden")


@contextlib.asynccontextmanager
async def serving(talk: Talk, timeout: float = 20) -> AsyncGenerator[Transport]:
    """A transport to a server that holds each connection by ``talk``, and then closes it."""
    talks: set[asyncio.Task[None]] = set()
    over = False

    async def connected(reader: Reader, writer: Writer) -> None:
        if over:  # a client that had given up before it was let in
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await talk(reader, writer)
        finally:
            writer.close()

    with tempfile.TemporaryDirectory() as directory:
        transport = Transport(Endpoint(socket=f"{directory}/s"), timeout=timeout)
        server = await asyncio.start_unix_server(connected, f"{directory}/s")
        try:
            yield transport
        finally:
            over = True
            await transport.close()
            server.close()
            for task in talks:
                task.cancel()
            await asyncio.gather(*talks, return_exceptions=True)


async def head(reader: Reader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def body(reader: Reader, head: bytes) -> bytes:
    """A request's body, chunked or not."""
    if b"Content-Length:" in head:
        return await reader.readexactly(int(head.partition(b"Content-Length:")[2].split()[0]))
    whole = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        whole += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return whole


def saying(said: bytes) -> Talk:
    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(said)
        await writer.drain()

    return talk


async def stalling(reader: Reader, writer: Writer) -> None:
    """Never answers; returns when the client has closed."""
    while await reader.read(1024):
        pass


def sockets() -> int:
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return found


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def outlast(transport: Transport) -> None:
    """Returns once the transport's timeout has passed for what was sent before."""
    with pytest.raises(IncusTimeoutError):
        await transport.request("GET", "/stall")


def but_stall(talk: Talk) -> Talk:
    """``talk``, but for the requests of `outlast`, which are never answered."""

    async def either(reader: Reader, writer: Writer) -> None:
        said = await head(reader)
        if b"/stall" in said:
            await stalling(reader, writer)
            return
        again = asyncio.StreamReader()
        again.feed_data(said)

        async def relay() -> None:
            while piece := await reader.read(2**16):
                again.feed_data(piece)
            again.feed_eof()

        relaying = asyncio.create_task(relay())
        try:
            await talk(again, writer)
        finally:
            relaying.cancel()

    return either


# What a request can be, each as `Scope` sends it.


async def plain(scope: Scope) -> Any:
    return (await scope.request("GET", "/1.0/x", query=QUERY)).metadata


async def posted(scope: Scope) -> Any:
    return (await scope.request("POST", "/1.0/x", query=QUERY, body={"a": 1})).metadata


async def patient(scope: Scope) -> Any:
    return (await scope.request("GET", "/1.0/x", query=QUERY, wait=True)).metadata


async def downloaded(scope: Scope) -> Any:
    async with scope.download("GET", "/1.0/x", query=QUERY) as stream:
        return b"".join([chunk async for chunk in stream.chunks()])


async def websocket(scope: Scope) -> Any:
    socket = await scope.websocket("/1.0/x", QUERY)
    await socket.close()


async def upgraded(scope: Scope) -> Any:
    _, writer = await scope.upgrade("GET", "/1.0/x", "sftp", query=QUERY)
    writer.close()
    await writer.wait_closed()


WAYS = [plain, posted, patient, downloaded, websocket, upgraded]


# Answers that are none.

NONSENSE = {
    "nothing at all": b"",
    "an SSH banner": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a mail banner": b"220 mail.example ESMTP\r\n",
    "a page without a head": b"<html>welcome</html>",
    "a TLS alert": bytes.fromhex("15030100020246"),
    "binary": bytes(range(256)),
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "a cut off status line": b"HTTP/1.1 200",
    "a cut off head": b"HTTP/1.1 200 OK\r\nContent-Type: appl",
    "a status that is no number": b"HTTP/1.1 okay\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 100_000,
    "a line without end": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000,
    "a header that is none": b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
    "a header with a NUL": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: much\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk that is none": answer(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"zz\r\n",
    "an unasked upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n",
    "only an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a web page": answer(b"<html>welcome</html>", type="text/html"),
    "a redirect": answer(b"", "Location: http://127.0.0.1:9/1.0", status="302 Found", type="text/html"),
    "a redirect in JSON": answer(b"{}", "Location: /1.0/y", status="307 Temporary Redirect"),
    "a proxy's error": answer(b"<html>bad gateway</html>", status="502 Bad Gateway", type="text/html"),
    "JSON of another server": answer(b'{"hello": "world"}'),
    "text that is called JSON": answer(b"hello"),
    "compressed JSON": answer(b"\x1f\x8b\x08\x00", "Content-Encoding: gzip"),
    "a foreign list in JSON": answer(b"[1, 2]"),
    "an error that is not filled in": answer(b'{"type": "error"}'),
}
CUT_OFF = {
    "a body": answer()[:-5],
    "a body before its first byte": answer()[: -len(OK)],
    "a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhel",
    "the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
}


def sdk_only(error: IncusError) -> None:
    """An error of the SDK that says on one line what was asked, and nowhere the secret in the query."""
    assert "/1.0/x" in str(error)
    assert "\n" not in str(error)
    assert SECRET not in "".join(traceback.format_exception(error))
    assert SECRET not in repr(pickle.loads(pickle.dumps(error)).__dict__)
    assert type(error).__module__ == "incus_sdk.exceptions"


@pytest.mark.parametrize("said", [*NONSENSE.values(), *CUT_OFF.values()], ids=[*NONSENSE, *CUT_OFF])
@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_that_is_none_is_an_error_of_the_sdk(way: Callable[[Scope], Any], said: bytes) -> None:
    if way is downloaded and said.startswith(b"HTTP/1.1 200") and said not in CUT_OFF.values():
        return  # a download is whatever comes
    async with serving(saying(said)) as transport:
        with pytest.raises(IncusError) as caught:
            await way(Scope(transport))
        sdk_only(caught.value)


@given(
    st.builds(
        lambda whole, cut, at, put: whole[: at % len(whole)] + put + whole[at % len(whole) + cut :],
        st.sampled_from([*filter(None, NONSENSE.values()), *CUT_OFF.values(), answer(), FORBIDDEN]),
        st.integers(0, 100),
        st.integers(0, 500),
        st.binary(max_size=20),
    )
)
@settings(max_examples=50)
@pytest.mark.parametrize("way", WAYS)
async def test_whatever_a_server_says_is_a_value_or_an_error_of_the_sdk(
    way: Callable[[Scope], Any], said: bytes
) -> None:
    async with serving(saying(said)) as transport:
        with contextlib.suppress(IncusError):
            await way(Scope(transport))


@pytest.mark.parametrize("said", CUT_OFF.values(), ids=CUT_OFF)
@pytest.mark.parametrize("way", [plain, posted, patient, downloaded])
async def test_an_answer_that_is_cut_off_says_so(way: Callable[[Scope], Any], said: bytes) -> None:
    async with serving(saying(said)) as transport:
        with pytest.raises(IncusConnectionError, match="closed the connection before its answer was complete"):
            await way(Scope(transport))


@pytest.mark.parametrize("way", [websocket, upgraded])
async def test_a_refused_websocket_or_upgrade_raises_what_the_server_said(way: Callable[[Scope], Any]) -> None:
    async with serving(saying(FORBIDDEN)) as transport:
        with pytest.raises(IncusPermissionError, match="go away") as caught:
            await way(Scope(transport))
        sdk_only(caught.value)


@pytest.mark.parametrize("way", WAYS)
async def test_a_redirect_is_not_followed(way: Callable[[Scope], Any]) -> None:
    heads: list[bytes] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        heads.append(await head(reader))
        writer.write(answer(b"<html>moved</html>", "Location: /1.0/elsewhere", status="302 Found", type="text/html"))

    async with serving(talk) as transport:
        with pytest.raises(IncusConnectionError, match="not an Incus server"):
            await way(Scope(transport))
    assert len(heads) == 1


# Time.


@pytest.mark.parametrize("way", [way for way in WAYS if way is not patient])
async def test_a_server_that_does_not_answer_in_time_is_a_timeout_and_the_connection_is_closed(
    way: Callable[[Scope], Any],
) -> None:
    closed = asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await stalling(reader, writer)
        closed.set()

    async with serving(talk, timeout=0.05) as transport:
        with pytest.raises(IncusTimeoutError, match=r"no answer from unix:.* within 0\.05 s") as caught:
            await way(Scope(transport))
        assert isinstance(caught.value, TimeoutError)
        sdk_only(caught.value)
        async with asyncio.timeout(60):
            await closed.wait()


async def test_an_answer_that_is_waited_for_takes_as_long_as_it_takes() -> None:
    go = asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        await go.wait()
        writer.write(answer())

    async with serving(but_stall(talk), timeout=0.5) as transport:
        waiting = asyncio.create_task(patient(Scope(transport)))
        await outlast(transport)
        go.set()
        assert await waiting == {"a": 1}


@pytest.mark.parametrize("way", [patient, downloaded])
async def test_a_body_takes_as_long_as_it_takes_once_the_answer_has_begun(way: Callable[[Scope], Any]) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(answer()[:-5])
        began.set()
        await go.wait()
        writer.write(answer()[-5:])

    async with serving(but_stall(talk), timeout=0.5) as transport:
        reading = asyncio.create_task(way(Scope(transport)))
        await began.wait()
        await outlast(transport)
        go.set()
        assert await reading in ({"a": 1}, OK)


async def test_an_open_websocket_and_an_upgraded_stream_stay_open_however_long_nothing_comes() -> None:
    go = asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: sftp\r\n\r\n")
        await go.wait()
        writer.write(b"late")
        await stalling(reader, writer)

    async with (
        serving(but_stall(talk), timeout=0.5) as transport,
        WebSocketServer().transport(0.5) as (other, server),
    ):
        reader, writer = await transport.upgrade("GET", "/1.0/x", "sftp")
        socket = await other.websocket("/1.0/events")
        receiving = asyncio.create_task(socket.receive())
        await outlast(transport)
        await outlast(transport)
        go.set()
        server.write(frame(TEXT, b"late"))
        assert await reader.readexactly(4) == b"late"
        assert await receiving == "late"
        await socket.close()
        writer.close()
        await writer.wait_closed()


async def test_a_streamed_upload_takes_as_long_as_it_takes() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        received = await body(reader, await head(reader))
        writer.write(answer(json.dumps({"type": "sync", "metadata": received.decode()}).encode()))

    async with serving(but_stall(talk), timeout=0.5) as transport:

        async def pieces() -> AsyncIterator[bytes]:
            yield b"one, "
            await outlast(transport)
            yield b"two"

        assert (await Scope(transport).request("POST", "/1.0/x", body=pieces())).metadata == "one, two"


async def test_bytes_take_as_long_as_they_take_while_the_server_reads_them() -> None:
    sent = os.urandom(2**24)

    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        received = b""
        while len(received) < len(sent):
            received += await reader.readexactly(2**20)
            await asyncio.sleep(0.2)  # a slow line: sixteen times this is longer than the timeout
        writer.write(answer(hashlib.sha256(received).digest(), type="application/octet-stream"))
        await stalling(reader, writer)

    async with serving(talk, timeout=2) as transport:
        assert (await transport.request("POST", "/1.0/x", body=sent)).body == hashlib.sha256(sent).digest()


async def test_bytes_that_nobody_reads_are_a_timeout() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await asyncio.Event().wait()

    async with serving(talk, timeout=0.05) as transport:
        with pytest.raises(IncusTimeoutError):
            await transport.request("POST", "/1.0/x", body=bytes(2**24))


async def test_without_a_timeout_nothing_is_cut_off() -> None:
    async with serving(saying(answer()), timeout=0) as transport:
        transport = Transport(transport.endpoint, timeout=None)
        assert (await transport.request("GET", "/1.0")).body == OK
        await transport.close()


# Uploads.


async def test_an_upload_whose_source_fails_raises_that_failure_and_is_not_taken_for_whole() -> None:
    failure, ended = OSError(5, "the disk is broken"), asyncio.get_running_loop().create_future()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        raise failure

    async def talk(reader: Reader, writer: Writer) -> None:
        try:
            ended.set_result(await body(reader, await head(reader)))
        except asyncio.IncompleteReadError:
            ended.set_result("cut off")

    async with serving(talk) as transport:
        with pytest.raises(OSError, match="the disk is broken") as caught:
            await transport.request("POST", "/1.0/x", body=pieces())
        assert caught.value is failure
        assert await ended == "cut off"


async def test_an_upload_that_the_server_cuts_off_is_an_error_of_the_connection() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield bytes(2**16)

    for source in (pieces(), bytes(2**26)):
        async with serving(saying(b"")) as transport:
            with pytest.raises(IncusConnectionError, match="closed the connection before its answer") as caught:
                await Scope(transport).request("POST", "/1.0/x", query=QUERY, body=source)
            sdk_only(caught.value)


@pytest.mark.parametrize("source", ["bytes", "pieces"])
async def test_a_server_that_refuses_an_upload_before_it_is_through_is_heard(source: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield bytes(2**16)

    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(FORBIDDEN)
        await stalling(reader, writer)

    async with serving(talk) as transport:
        upload = bytes(2**26) if source == "bytes" else pieces()
        with pytest.raises(IncusPermissionError, match="go away"):
            await Scope(transport).request("POST", "/1.0/x", body=upload)


async def test_what_is_sent_arrives_byte_for_byte() -> None:
    heads: list[bytes] = []
    bodies: list[bytes] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        while True:
            heads.append(await head(reader))
            bodies.append(await body(reader, heads[-1]) if b"POST" in heads[-1] else b"")
            writer.write(answer())

    async def pieces() -> AsyncIterator[bytes]:
        yield b"\0one"
        yield b"two\xff"

    async with serving(talk) as transport:
        scope = Scope(transport, project="a b", target="n/1")
        await scope.request("POST", "/1.0/x", body={"é": [None, 1]}, headers={"If-Match": "e"})
        await scope.request("POST", "/1.0/x", body=b"\0\xff", headers={"Content-Type": "application/octet-stream"})
        await scope.request("POST", "/1.0/x", body=pieces())
        await scope.request("GET", "/1.0/x", query={"project": "p", "all": True})
    assert bodies == ['{"é": [null, 1]}'.encode(), b"\0\xff", b"\0onetwo\xff", b""]
    assert b"Content-Type: application/json\r\n" in heads[0]
    assert b"If-Match: e\r\n" in heads[0]
    assert b"Content-Type: application/octet-stream\r\n" in heads[1]
    assert b"Content-Length: 2\r\n" in heads[1]
    assert b"application/json" not in heads[2]
    assert [head.split()[1] for head in heads[:3]] == [b"/1.0/x?target=n%2F1&project=a+b"] * 3
    assert heads[3].split()[1] == b"/1.0/x?target=n%2F1&project=p&all=true"
    # Nobody may compress what is taken as it comes, and a websocket with an origin would be taken for a browser's.
    assert all(b"Accept-Encoding: identity\r\n" in head and b"Origin" not in head for head in heads)


@given(st.text(st.characters(exclude_categories=()), min_size=1), st.text(min_size=1))
@settings(max_examples=50)
async def test_any_name_goes_out_as_it_was_quoted_however_it_is_sent(name: str, project: str) -> None:
    targets: list[str] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        targets.append((await head(reader)).split()[1].decode())
        writer.write(FORBIDDEN)

    try:
        path = wire.path("profiles", name)
    except IncusInputError:
        return
    async with serving(talk) as transport:
        scope = Scope(transport, project=project)
        for way in (scope.request("GET", path), scope.upgrade("GET", path, "sftp"), scope.websocket(path)):
            with pytest.raises(IncusPermissionError):
                await way
    assert set(targets) == {wire.target(path, {"project": project})}
    assert len(targets) == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Incus-filename": "a\r\nX-Incus-public: true"},
        {"X": "a\nb"},
        {"X": "a\0b"},
        {"X": "\ud800"},
        {"X": 5},
        {"X: y\r\nZ": "z"},
        {"X Y": "z"},
        {"": "z"},
    ],
)
async def test_a_header_that_cannot_be_sent_is_refused_before_anything_is(headers: dict[str, str]) -> None:
    connected: list[bool] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        connected.append(True)

    async with serving(talk) as transport:
        for way in (
            transport.request("GET", "/1.0", headers=headers),
            transport.upgrade("GET", "/1.0", "x", headers=headers),
        ):
            with pytest.raises(IncusInputError, match="header"):
                await way
    assert not connected


# Connections.


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again(method: str) -> None:
    before = sockets()
    async with serving(saying(answer())) as transport:
        mine = sockets() - before
        for _ in range(3):
            assert (await transport.request(method, "/1.0/x")).body == OK
            await eventually(lambda: sockets() - before == mine)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_request_that_may_have_been_carried_out_is_never_sent_twice(method: str) -> None:
    seen: list[str] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            for again in itertools.count():
                said = await head(reader)
                await body(reader, said) if b"Content-Length" in said else b""
                seen.append(said.split()[0].decode())
                if again:
                    return
                writer.write(answer())

    async with serving(talk) as transport:
        await transport.request("GET", "/1.0/x")
        with pytest.raises(IncusConnectionError, match="closed the connection"):
            await transport.request(method, "/1.0/x", body=b"{}")
    assert seen == ["GET", method]


async def test_connections_are_used_again_and_made_only_when_needed() -> None:
    count = itertools.count()
    made = -1

    async def talk(reader: Reader, writer: Writer) -> None:
        nonlocal made
        made = next(count)
        while True:
            await head(reader)
            writer.write(answer())

    async with serving(talk) as transport:
        assert made == -1
        for _ in range(5):
            await transport.request("GET", "/1.0")
        assert made == 0
        await asyncio.gather(*(transport.request("GET", "/1.0") for _ in range(3)))
        assert made == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("said", [b"", answer()[:-5]], ids=["before the answer", "in its body"])
async def test_a_cancelled_request_closes_its_connection_and_no_other(way: Callable[[Scope], Any], said: bytes) -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        while b"/other" in await head(reader):
            writer.write(answer())
        writer.write(said)
        asked.set()
        await stalling(reader, writer)
        closed.set()

    async with serving(talk) as transport:
        asking = asyncio.create_task(way(Scope(transport)))
        await asked.wait()
        assert (await transport.request("GET", "/other")).body == OK
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(60):
            await closed.wait()
        assert (await transport.request("GET", "/other")).body == OK


async def test_a_download_that_is_left_early_closes_its_connection() -> None:
    closed = asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n" + bytes(10))
        await stalling(reader, writer)
        closed.set()

    async with serving(talk) as transport:
        async with transport.stream("GET", "/1.0/x") as stream:
            chunks = stream.chunks()
            assert await anext(chunks) == bytes(10)
        async with asyncio.timeout(60):
            await closed.wait()


async def test_closing_ends_what_is_going_on_and_the_next_request_connects_again() -> None:
    asked = asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        if b"/1.0/x" in await head(reader):
            asked.set()
            await stalling(reader, writer)
        writer.write(answer())

    async with serving(talk) as transport:
        asking = asyncio.create_task(plain(Scope(transport)))
        await asked.wait()
        await transport.close()
        await transport.close()
        with pytest.raises(IncusConnectionError, match="closed") as caught:
            await asking
        assert "not an Incus server" not in str(caught.value)
        assert (await transport.request("GET", "/1.0")).body == OK


async def test_a_second_event_loop_gets_a_clear_error_until_the_first_has_closed() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        while True:
            await head(reader)
            writer.write(answer())

    async with serving(talk) as transport:

        async def all_ways() -> None:
            for way in WAYS:
                with pytest.raises(IncusError, match="another event loop"):
                    await way(Scope(transport))

        async def once() -> bytes:
            try:
                return (await transport.request("GET", "/1.0")).body
            finally:
                await transport.close()

        await transport.request("GET", "/1.0")
        await asyncio.to_thread(asyncio.run, all_ways())
        assert (await transport.request("GET", "/1.0")).body == OK  # and nothing was broken by that
        await transport.close()
        assert await asyncio.to_thread(asyncio.run, once()) == OK


# Upgrades.


async def test_what_comes_together_with_the_answer_to_an_upgrade_is_kept() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        received = await body(reader, await head(reader))
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst " + received
        )
        writer.write(await reader.readexactly(5))

    async with serving(talk) as transport:
        reader, writer = await Scope(transport).upgrade("POST", "/1.0/x", "tcp", body={"port": 80})
        writer.write(b" last")
        assert await reader.read() == b'first {"port": 80} last'
        writer.close()
        await writer.wait_closed()


async def test_an_answer_to_an_upgrade_may_come_byte_by_byte() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await head(reader)
        for byte in b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: sftp\r\n\r\nhello":
            writer.write(bytes([byte]))
            await asyncio.sleep(0)

    async with serving(talk) as transport:
        reader, writer = await transport.upgrade("GET", "/1.0/x", "sftp")
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()


async def test_an_upgrade_asks_for_what_it_wants_on_a_connection_of_its_own() -> None:
    heads: list[bytes] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        while True:
            heads.append(await head(reader))
            writer.write(FORBIDDEN)

    async with serving(talk) as transport:
        scope = Scope(transport, project="p")
        for _ in range(2):
            with pytest.raises(IncusPermissionError):
                await scope.upgrade("GET", "/1.0/x", "sftp", query={"a": "b"})
    assert len(heads) == 2
    assert heads[0].startswith(b"GET /1.0/x?a=b&project=p HTTP/1.1\r\n")
    assert all(
        line in heads[0] for line in (b"Connection: Upgrade\r\n", b"Upgrade: sftp\r\n", b"Content-Length: 0\r\n")
    )


# Websockets.

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(kind: int, payload: bytes = b"", last: bool = True) -> bytes:
    size = len(payload)
    length = (
        bytes([size])
        if size < 126
        else struct.pack("!BH", 126, size)
        if size < 2**16
        else struct.pack("!BQ", 127, size)
    )
    return bytes([kind | (0x80 if last else 0)]) + length + payload


async def read_frame(reader: Reader) -> tuple[int, bytes]:
    first, size = await reader.readexactly(2)
    assert size & 0x80, "a client must mask"
    size &= 0x7F
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(size)
    return first & 15, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


class WebSocketServer:
    """One websocket of a server: what it gets is in ``frames``."""

    def __init__(self, at_once: bytes = b"", accept: bool = True, polite: bool = True) -> None:
        self.at_once = at_once
        self.accept = accept
        self.polite = polite
        self.head = b""
        self.frames: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def talk(self, reader: Reader, writer: Writer) -> None:
        self._writer = writer
        self.head = await head(reader)
        key = self.head.partition(b"Sec-WebSocket-Key: ")[2].split()[0] if self.accept else b"wrong"
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        lines = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
        accept = b"Sec-WebSocket-Accept: " + base64.b64encode(digest)
        writer.write(b"\r\n".join([*lines, accept, b"", b""]) + self.at_once)
        try:
            while True:
                got = await read_frame(reader)
                self.frames.put_nowait(got)
                if got[0] == CLOSE and self.polite:
                    writer.write(frame(*got))
        finally:
            self.gone.set()

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def drop(self) -> None:
        self._writer.close()

    @contextlib.asynccontextmanager
    async def transport(self, timeout: float = 20) -> AsyncGenerator[tuple[Transport, WebSocketServer]]:
        async with serving(self.talk, timeout) as transport:
            yield transport, self

    @contextlib.asynccontextmanager
    async def connected(self, pong: bool = True) -> AsyncGenerator[tuple[WebSocket, WebSocketServer]]:
        async with serving(self.talk) as transport:
            socket = await transport.websocket("/1.0/events?secret=hunter2", pong=pong)
            try:
                yield socket, self
            finally:
                await socket.close()


async def everything(socket: WebSocket) -> list[bytes | str]:
    received: list[bytes | str] = []
    while (message := await socket.receive()) is not None:
        received.append(message)
    return received


async def test_messages_come_whole_as_text_or_bytes_in_their_order() -> None:
    large = os.urandom(5 * 2**20)
    frames = [
        frame(TEXT, "é".encode()),
        frame(BINARY, b"\0\xff"),
        frame(TEXT),
        frame(BINARY),
        frame(TEXT, b"a", last=False) + frame(PING, b"between") + frame(CONTINUATION, b"b"),
        frame(PONG, b"unasked"),
        frame(BINARY, large),
        frame(CLOSE, struct.pack("!H", 1000)),
    ]
    async with WebSocketServer().connected() as (socket, server):
        server.write(b"".join(frames))
        assert await everything(socket) == ["é", b"\0\xff", "", b"", "ab", large]
        assert await socket.receive() is None


async def test_messages_that_come_together_with_the_handshake_are_kept() -> None:
    async with WebSocketServer(frame(TEXT, b"first") + frame(BINARY, b"second")).connected() as (socket, _):
        assert [await socket.receive(), await socket.receive()] == ["first", b"second"]


async def test_messages_are_sent_whole_masked_and_as_they_are() -> None:
    large = os.urandom(2**17)
    async with WebSocketServer().connected() as (socket, server):
        for message in ("é", "", b"", large):
            await socket.send(message)
        expected = [(TEXT, "é".encode()), (TEXT, b""), (BINARY, b""), (BINARY, large)]
        assert [await server.frames.get() for _ in expected] == expected
    assert b"Origin:" not in server.head


async def test_a_ping_is_answered_with_what_it_held_while_messages_go_on() -> None:
    async with WebSocketServer(frame(PING, b"keepalive") + frame(TEXT, b"a")).connected() as (socket, server):
        assert await socket.receive() == "a"
        assert await server.frames.get() == (PONG, b"keepalive")
        server.write(frame(TEXT, b"b"))
        assert await socket.receive() == "b"


async def test_without_pong_a_ping_stays_unanswered() -> None:
    async with WebSocketServer(frame(PING, b"keepalive") + frame(TEXT, b"a")).connected(pong=False) as (socket, server):
        assert await socket.receive() == "a"
        await socket.send("mine")
        assert await server.frames.get() == (TEXT, b"mine")


async def test_nothing_is_lost_when_the_server_pings_and_closes_at_once() -> None:
    said = [frame(PING, b"keepalive"), *(frame(BINARY, b"%d" % number) for number in range(50)), frame(TEXT)]
    for _ in range(100):
        async with WebSocketServer(b"".join(said)).connected(pong=False) as (socket, server):
            server.drop()
            assert await everything(socket) == [*(b"%d" % number for number in range(50)), ""]


@pytest.mark.parametrize(
    "end",
    [
        b"",
        b"\x82",
        b"\x82\x7e\x00",
        b"\x82\x05abc",
        b"\xf2\x01a",
        b"\x83\x01a",
        frame(TEXT, b"\xff"),
        frame(PING, bytes(126)),
        frame(CONTINUATION, b"x"),
        frame(CLOSE),
        frame(CLOSE, b"\x03"),
        frame(CLOSE, struct.pack("!H", 1011) + b"oops"),
    ],
)
async def test_a_websocket_that_breaks_hands_out_what_came_before_and_then_none(end: bytes) -> None:
    async with WebSocketServer(frame(TEXT, b"before") + end).connected() as (socket, server):
        server.drop()
        assert await everything(socket) == ["before"]
        assert await socket.receive() is None
        with pytest.raises(IncusConnectionError, match="websocket") as caught:
            await socket.send(b"after")
        assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_a_cancelled_receive_loses_no_message() -> None:
    async with WebSocketServer().connected() as (socket, server):
        for number in range(100):
            receiving = asyncio.create_task(socket.receive())
            for _ in range(number % 7):
                await asyncio.sleep(0)
            server.write(frame(TEXT, b"%d" % number))
            for _ in range(number % 5):
                await asyncio.sleep(0)
            receiving.cancel()
            [got] = await asyncio.gather(receiving, return_exceptions=True)
            assert (await socket.receive() if isinstance(got, asyncio.CancelledError) else got) == str(number)


async def test_a_websocket_is_idle_when_not_even_a_ping_comes() -> None:
    async with WebSocketServer(frame(PING)).connected() as (socket, server):
        assert await socket.receive(idle=0.05) is None
        server.write(frame(TEXT, b"late"))
        assert await socket.receive(idle=20) == "late"


async def test_leaving_a_websocket_closes_its_connection_even_if_the_server_does_not_answer() -> None:
    async with WebSocketServer(polite=False).connected() as (socket, server):
        await socket.close()
        assert await server.frames.get() == (CLOSE, struct.pack("!H", 1000))
        await server.gone.wait()
        await socket.close()


async def test_a_handshake_that_proves_nothing_is_refused_and_tells_no_secret() -> None:
    async with serving(WebSocketServer(accept=False).talk) as transport:
        with pytest.raises(IncusConnectionError, match="not an Incus server") as caught:
            await websocket(Scope(transport))
        sdk_only(caught.value)
