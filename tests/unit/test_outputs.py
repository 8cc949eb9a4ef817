"""Where the output of a command can go."""

from __future__ import annotations

import asyncio
import io
from typing import Any
from unittest.mock import create_autospec

import pytest

from incus_sdk import IncusInputError
from incus_sdk._connection.transport import WebSocket
from incus_sdk._outputs import PIPE, STDOUT, OutputLimitError, OutputReader, Sink, checked_outputs, left_of


@pytest.mark.parametrize("wrong", ["out.log", b"out", 1, object(), io.StringIO(), STDOUT])
def test_what_takes_no_bytes_is_refused(wrong: Any) -> None:
    with pytest.raises(IncusInputError, match="stdout must be"):
        checked_outputs(wrong, None)
    checked_outputs(None, STDOUT)


def test_a_function_whose_result_nobody_awaits_is_refused() -> None:
    async def take(piece: bytes) -> None: ...

    with pytest.raises(IncusInputError, match="async def"):
        Sink(lambda piece: take(piece), None).take(b"x")


def test_no_more_than_the_limit_is_taken() -> None:
    sink = Sink(PIPE, 3)
    sink.take(b"ab")
    for _ in range(2):  # what came with it comes, too
        with pytest.raises(OutputLimitError):
            sink.take(b"cdef")
    assert sink.collected == b"abc"


class Counts(io.BytesIO):
    """A file whose `write` says something of its own."""

    def __init__(self, says: Any) -> None:
        super().__init__()
        self._says = says

    def write(self, data: Any, /) -> Any:
        super().write(data[: self._says] if type(self._says) is int else data)
        return self._says


@pytest.mark.parametrize("says", [None, True, False, 2, 100, "ok"])
def test_a_write_is_done_whatever_it_returns(says: Any) -> None:
    file, view = Counts(says), memoryview(b"abcdef")
    while view:
        view = left_of(view, file.write(view), file)
    assert file.getvalue() == b"abcdef"


@pytest.mark.parametrize("says", [0, -1])
def test_a_write_that_takes_nothing_is_not_tried_for_ever(says: int) -> None:
    with pytest.raises(IncusInputError, match="how much it took"):
        left_of(memoryview(b"abc"), says, io.BytesIO())


async def test_bytes_are_taken_only_where_there_are_as_many_and_nobody_reads() -> None:
    reader = OutputReader("stdout", create_autospec(WebSocket))
    reader.feed_data(b"abcdef")
    assert await asyncio.to_thread(reader.take, 4) == b"abcd"
    assert reader.take(3) == b""
    reading = asyncio.ensure_future(reader.readexactly(4))
    await asyncio.sleep(0)
    assert reader.take(1) == b""
    reader.feed_data(b"ghi")
    assert await reading == b"efgh"
    reading = asyncio.ensure_future(reader.readuntil(b"|"))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert reader.take(1) == b"i"


@pytest.mark.parametrize(
    ("flows", "size", "expected"), [(True, 100, b"onetwo"), (True, 3, b"one"), (False, 100, b"one")]
)
async def test_a_gathered_read_lets_more_come_while_much_comes(flows: bool, size: int, expected: bytes) -> None:
    reader = OutputReader("stdout", create_autospec(WebSocket))
    reader._flows = flows
    reader.feed_data(b"one")
    asyncio.get_running_loop().call_soon(reader.feed_data, b"two")
    assert await reader.read_gathered(size) == expected
    assert not reader._flows, "those were a few bytes"
