"""The stdin of a command that ends while it is written to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from incus_sdk import Client, IncusConnectionError
from incus_sdk.process import ProcessInput


class Gone:
    """In place of a websocket: the other side has closed it."""

    async def send(self, data: bytes | str) -> None:
        raise IncusConnectionError("closed")


async def test_writing_to_a_command_that_has_ended_never_waits() -> None:
    gone: Any = Gone()
    stdin = ProcessInput(gone, "")
    stdin.write(b"x")
    await stdin._send_queue()
    stdin.write(b"x" * 2**20)
    with pytest.raises(BrokenPipeError):
        await asyncio.wait_for(stdin.drain(), 5)
    assert not stdin._buffer


async def test_a_console_that_was_never_entered_can_be_left() -> None:
    await Client("/nowhere/unix.socket").instances["c1"].console().detach()
