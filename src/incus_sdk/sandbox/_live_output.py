"""The output of a command as it comes: both streams in one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._concurrency import cancel_at_end
from .._outputs import Stream

if TYPE_CHECKING:
    from ..api.instances import Instance

_PENDING = 16  # pieces that wait for a reader who lags behind


async def stream_command(
    instance: Instance, command: Sequence[str], how: Mapping[str, Any]
) -> AsyncGenerator[tuple[Stream, bytes]]:
    """Run a command by `Instance.run`, and give out what it writes; leaving early ends it."""
    pieces = asyncio.Queue[tuple[Stream, bytes]](_PENDING)

    def take(stream: Stream) -> Callable[[bytes], Awaitable[None]]:
        async def put(data: bytes) -> None:
            await pieces.put((stream, data))

        return put

    work = asyncio.ensure_future(instance.run(command, stdout=take("stdout"), stderr=take("stderr"), **how))
    async with cancel_at_end([work]):
        while not work.done() or not pieces.empty():
            piece = asyncio.ensure_future(pieces.get())
            async with cancel_at_end([piece]):
                await asyncio.wait([work, piece], return_when=asyncio.FIRST_COMPLETED)
                if piece.done():
                    yield piece.result()
        work.result()
