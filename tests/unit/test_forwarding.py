"""A local listener: each connection is carried to a stream of its own, and nothing is left after the block."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from incus_sdk import IncusAPIError, IncusInputError, LocalAddress, local_listener

LARGE = bytes(range(256)) * 2**14  # 4 MiB, more than any buffer holds


class Far:
    """The other side: sends back what it gets, after the end of it."""

    def __init__(self) -> None:
        self.open = 0
        self.can_end = True
        self.fails = False
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(2**16):
            writer.write(piece)
            await writer.drain()
        writer.close()

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        if self.fails:
            raise IncusAPIError("connection refused", status_code=500)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        if not self.can_end:
            writer.can_write_eof = lambda: False  # type: ignore[method-assign]
        self.open += 1
        try:
            yield reader, writer
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    before, far = asyncio.all_tasks(), Far()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.port = server.sockets[0].getsockname()[1]
    yield far
    server.close()
    async with asyncio.timeout(20):
        while far.open or asyncio.all_tasks() - before - {asyncio.current_task()}:
            await asyncio.sleep(0)


async def exchange(address: LocalAddress, content: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)

    async def send() -> None:
        writer.write(content)
        await writer.drain()
        writer.write_eof()

    try:
        _, answer = await asyncio.gather(send(), reader.read(-1))
    finally:
        writer.close()
    return answer


@pytest.mark.parametrize("can_end", [True, False])
async def test_many_connections_are_carried_both_ways_to_their_ends(far: Far, can_end: bool) -> None:
    far.can_end = can_end  # without, as over TLS, the answer is cut off a moment after the request's end
    async with local_listener(far.connect) as address:
        assert str(address) == f"127.0.0.1:{address.port}"
        contents = [LARGE, b"", *(b"%d" % number for number in range(20))]
        assert await asyncio.gather(*(exchange(address, content) for content in contents)) == contents
    with pytest.raises(OSError):
        await asyncio.open_connection(*address)


async def test_connections_end_with_the_block(far: Far) -> None:
    async with local_listener(far.connect) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"there")
        assert await reader.readexactly(5) == b"there"
        assert far.open == 1
        late = socket.create_connection(address)  # not accepted yet
    assert far.open == 0
    with late:
        for end in (reader.read(), asyncio.to_thread(late.recv, 1)):
            with suppress(OSError):
                assert await end == b""
    writer.close()


async def test_a_connection_that_cannot_be_made_is_reset_and_the_next_is_made(far: Far) -> None:
    async with local_listener(far.connect) as address:
        far.fails = True
        with suppress(OSError):  # the reset can come before anything is read
            assert await exchange(address, b"there") == b""
        far.fails = False
        assert await exchange(address, b"there") == b"there"


async def test_a_broken_side_ends_the_other(far: Far) -> None:
    async with local_listener(far.connect) as address:
        _, writer = await asyncio.open_connection(*address)
        writer.write(b"there")
        while not far.open:
            await asyncio.sleep(0)
        writer.transport.abort()
        async with asyncio.timeout(20):
            while far.open:
                await asyncio.sleep(0)


async def test_a_port_that_is_none_or_taken_is_refused(far: Far) -> None:
    for port in (-1, 65536, True, "80", far.port):
        with pytest.raises(IncusInputError, match=f"port.*{port}"):
            async with local_listener(far.connect, port):  # type: ignore[arg-type]
                pass
