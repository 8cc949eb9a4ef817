"""`disconnect` ends everything under way at once, nothing opens again by itself, and loops can follow each other."""

from __future__ import annotations

import asyncio
import gc
import pickle
import socket
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from incus_sdk import IncusClosedError, IncusConnectionError, IncusError
from incus_sdk._background import create_or_undo, perform
from incus_sdk._connection import limits
from incus_sdk._connection.endpoint import Endpoint
from incus_sdk._connection.scope import Scope
from incus_sdk._connection.transport import Transport
from incus_sdk.events import EventStream
from incus_sdk.operations import Operation
from tests.hostile.scripted import (
    OK,
    SECRET,
    Reader,
    Writer,
    a_while,
    accept,
    answer,
    answering,
    eventually,
    head,
    serving,
    serving_in_a_thread,
    silent,
    upgrade,
)

RUNNING = b'{"type": "async", "metadata": {"id": "x", "status_code": 103, "may_cancel": true}}'


async def talk(reader: Reader, writer: Writer) -> None:
    """Begins whatever is asked, and ends none of it."""
    again = asyncio.StreamReader()
    again.feed_data(said := await head(reader))
    again.feed_eof()
    if b"Upgrade: websocket" in said:
        await accept(again, writer)
        if b"/deaf" in said:
            await asyncio.Event().wait()
    elif b"Upgrade: sftp" in said:
        await upgrade(again, writer)
        if b"/deaf" in said:
            await asyncio.Event().wait()
    elif b"/stream" in said:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
    elif b"POST /1.0/begin" in said:
        writer.write(answer(RUNNING))
    elif b"/ok" in said or b"/cut" in said:
        writer.write(answer())
        if b"/cut" in said:
            return
    await silent(reader, writer)


async def _stream(transport: Transport) -> None:
    async with transport.stream("GET", "/stream") as stream:
        async for _ in stream.chunks():
            pass


async def _upload(transport: Transport) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    await transport.request("POST", "/upload", body=pieces())


async def _receive(transport: Transport) -> None:
    await (await transport.websocket("/websocket")).receive()


async def _receive_for_a_time(transport: Transport) -> None:
    await (await transport.websocket("/websocket")).receive(idle=20)


async def _send(transport: Transport) -> None:
    socket = await transport.websocket("/deaf")
    while True:
        await socket.send(bytes(2**16))


async def _read(transport: Transport) -> None:
    reader, _writer = await transport.upgrade("GET", "/upgrade", "sftp")
    await reader.read(1)


async def _write(transport: Transport) -> None:
    _reader, writer = await transport.upgrade("GET", "/deaf", "sftp")
    while True:
        writer.write(bytes(2**16))
        await writer.drain()


async def _request(transport: Transport) -> None:
    await transport.request("GET", "/1.0/x")


async def _attach(transport: Transport) -> None:
    async with transport.attaching:
        await transport.request("GET", "/1.0/x", wait=True)


async def _perform(transport: Transport) -> None:
    await perform(Scope(transport), "POST", "/1.0/begin", body={})


async def _perform_in_a_task(transport: Transport) -> None:
    await asyncio.ensure_future(_perform(transport))


async def _wait(transport: Transport) -> None:
    await Operation(Scope(transport), {"id": "x", "status_code": 103}).wait()


async def _progress(transport: Transport) -> None:
    async for _ in Operation(Scope(transport), {"id": "x", "status_code": 103}).progress():
        pass


async def _make(transport: Transport) -> None:
    async def undo(operation: Operation | None) -> None:
        await transport.request("DELETE", "/1.0/x")

    await create_or_undo(Scope(transport), "/1.0/begin", {}, undo)


async def _listen(transport: Transport) -> None:
    async with EventStream(Scope(transport)) as events:
        async for _ in events:
            pass


WAYS: dict[str, Callable[[Transport], Awaitable[Any]]] = {
    "a request": lambda transport: transport.request("GET", f"/1.0/x?secret={SECRET}"),
    "a long request": lambda transport: transport.request("GET", "/1.0/x", wait=True),
    "bytes on their way": lambda transport: transport.request("POST", "/1.0/x", body=bytes(2**24)),
    "a handshake": lambda transport: transport.upgrade("GET", "/1.0/x", "tcp"),
    "a stream": _stream,
    "an upload": _upload,
    "receiving": _receive,
    "receiving for a time": _receive_for_a_time,
    "sending": _send,
    "reading": _read,
    "writing": _write,
    "waiting for an operation": _wait,
    "progress": _progress,
    "making something": _make,
    "listening": _listen,
    "a pause": lambda transport: transport.pause(20),
}


@pytest.mark.parametrize("way", WAYS)
async def test_closing_ends_it_at_once_and_nothing_opens_again(way: str) -> None:
    async with serving(talk) as (transport, server):
        await transport.request("GET", "/ok")
        under_way = asyncio.ensure_future(WAYS[way](transport))
        await a_while()
        connections, begun = server.connections, time.monotonic()
        await transport.close()
        with pytest.raises(IncusConnectionError, match="the client was closed") as caught:
            async with asyncio.timeout(5):
                await under_way
        assert isinstance(caught.value, IncusClosedError)
        assert time.monotonic() - begun < 0.5
        assert SECRET not in str(caught.value)
        assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)
        await asyncio.sleep(0.2)
        assert server.connections == connections
        assert not transport.is_open
        assert (await transport.request("GET", "/ok")).body == OK  # which the caller asks for


@pytest.mark.parametrize("way", [_perform, _perform_in_a_task, _make])
@pytest.mark.parametrize("used", [True, False])
async def test_closing_ends_what_has_not_had_its_first_turn(
    way: Callable[[Transport], Awaitable[Any]], used: bool
) -> None:
    async with serving(talk) as (transport, server):
        if used:
            await transport.request("GET", "/ok")
        under_way = asyncio.ensure_future(way(transport))
        await asyncio.sleep(0)
        await transport.close()
        with pytest.raises(IncusClosedError, match="the client was closed"):
            async with asyncio.timeout(5):
                await under_way
        assert server.connections == used
        assert not transport.is_open
        await transport.request("GET", "/ok")


async def test_closing_ends_all_that_is_under_way_and_all_that_queues() -> None:
    async with serving(talk, backlog=1000) as (transport, server):
        many = 3 * limits.REQUESTS
        ways = [_request] * many + [_attach] * many
        asked = [asyncio.create_task(way(transport)) for way in ways]
        await eventually(lambda: server.connections == limits.REQUESTS + limits.ATTACHING)
        await transport.close()
        errors = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 2)
        assert {type(error) for error in errors} == {IncusClosedError}


async def test_closing_ends_what_still_connects() -> None:
    async with serving(talk) as (transport, _):
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            import ssl

            away = Transport(Endpoint(host="127.0.0.1", port=deaf.getsockname()[1]), ssl.create_default_context)
            connecting = asyncio.create_task(away.request("GET", "/1.0"))
            await a_while()
            await away.close()
            with pytest.raises(IncusClosedError, match=r"GET /1\.0: the client was closed"):
                async with asyncio.timeout(1):
                    await connecting
        assert transport.is_open is False


@pytest.mark.parametrize("moment", ["lost", "trying again"])
@pytest.mark.parametrize("what", [_wait, _listen])
async def test_what_tries_again_stops_when_the_client_is_closed(
    what: Callable[[Transport], Awaitable[Any]], moment: str
) -> None:
    """The server has gone, so that both wait for it between their attempts."""
    async with serving(talk) as (transport, server):
        under_way = asyncio.ensure_future(what(transport))
        await eventually(lambda: server.connections > 0)
        await a_while(50)
        connections = server.connections
        transport.endpoint = Endpoint(socket="/nowhere")
        assert transport._pool is not None
        transport._pool.endpoint = transport.endpoint
        await server.stop()
        await asyncio.sleep(0.5 if moment == "trying again" else 0)
        assert not under_way.done()
        await transport.close()
        with pytest.raises(IncusClosedError):
            async with asyncio.timeout(0.5):
                await under_way
        assert server.connections == connections
        assert not transport.is_open


async def test_closing_twice_or_unused_does_nothing() -> None:
    async with serving(answering) as (transport, server):
        await transport.close()
        assert server.connections == 0
        await transport.request("GET", "/1.0")
        await transport.close()
        await transport.close()


async def test_a_client_serves_one_loop_after_another() -> None:
    def talk(connection: socket.socket, number: int) -> None:
        while connection.recv(10000):
            connection.sendall(answer())

    with serving_in_a_thread(talk) as endpoint:
        transport = Transport(endpoint)

        async def use() -> None:
            async with transport.attaching:
                pass
            for _ in range(2):
                assert (await transport.request("GET", "/1.0")).body == OK
            await asyncio.gather(*(transport.request("GET", "/1.0", wait=True) for _ in range(1)))
            await transport.close()

        for _ in range(3):
            await asyncio.to_thread(asyncio.run, use())


async def test_a_loop_that_was_closed_with_connections_open_is_forgotten() -> None:
    def talk(connection: socket.socket, number: int) -> None:
        connection.recv(10000)
        connection.sendall(answer())

    async def use(transport: Transport) -> bytes:
        return (await transport.request("GET", "/1.0")).body

    with serving_in_a_thread(talk) as endpoint, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # as Python says of what was left open
        transport = Transport(endpoint)
        for _ in range(2):
            assert await asyncio.to_thread(asyncio.run, use(transport)) == OK
            gc.collect()
        await transport.close()
        gc.collect()


async def test_a_second_loop_at_the_same_time_is_told_so_and_closes_nothing() -> None:
    async with serving(answering) as (transport, server):

        async def use() -> None:
            for way in (
                transport.request("GET", "/1.0"),
                transport.websocket("/1.0"),
                transport.upgrade("GET", "/1.0", "sftp"),
                transport.certificate(),
                transport.close(),
                transport.attaching.__aenter__(),
            ):
                with pytest.raises(IncusError, match="another event loop"):
                    await way

        await transport.request("GET", "/1.0")
        await asyncio.to_thread(asyncio.run, use())
        assert (await transport.request("GET", "/1.0")).body == OK
        assert server.connections == 1


def test_making_a_client_binds_it_to_no_loop() -> None:
    Transport(Endpoint(socket="/nowhere"))
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
