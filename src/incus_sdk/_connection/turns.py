"""A limit to how many do something at a time."""

from __future__ import annotations

import asyncio
from collections import deque

from .errors import Closed


class Turns:
    """So many at a time, first come, first served; a context manager."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._queue: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._pass_on()  # it came at the same moment
            raise

    async def __aexit__(self, *_: object) -> None:
        self._pass_on()

    def close(self) -> None:
        """Let nobody wait any longer."""
        for turn in self._queue:
            if not turn.done():
                turn.set_exception(Closed())

    def _pass_on(self) -> None:
        while self._queue:
            if not (turn := self._queue.popleft()).done():
                turn.set_result(None)
                return
        self._free += 1
