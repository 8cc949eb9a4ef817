"""Where the output of a command can go."""

from __future__ import annotations

import io
from typing import Any

import pytest

from incus_sdk import IncusInputError
from incus_sdk._outputs import PIPE, STDOUT, OutputLimitError, Sink, checked_outputs


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
