"""A daemon behind a link that breaks: a proxy before it, whose connections a test cuts or silences (`breakable`), or
which disturbs a client once, at any byte of all that it says and hears (`faulty`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator
from random import Random
from typing import Literal, NamedTuple, get_args

from incus_sdk import Client
from incus_sdk.testing import Daemon
from tests.live.proxies import Way, proxied


def reset(writer: asyncio.StreamWriter) -> None:
    """Close one side of a connection by a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Link:
    """The connections of a client, in the order in which they were opened."""

    def __init__(self) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self.open = asyncio.Event()
        """Cleared, nothing comes through any longer."""
        self.open.set()

    def cut(self, number: int, by_reset: bool = False) -> None:
        """Close a connection on both sides, by a reset or as if each side had closed it."""
        own = self.connections[number]
        if by_reset:
            reset(own)
        own.transport.abort()

    async def carry(self, way: Way) -> None:
        """Hand on everything in one direction."""
        while data := await way.read():
            await self.open.wait()
            await way.write(data)

    async def opened(self, writer: asyncio.StreamWriter) -> None:
        """Note a new connection."""
        self.connections.append(writer)


@contextlib.asynccontextmanager
async def breakable(daemon: Daemon, kind: Literal["unix", "https"]) -> AsyncGenerator[tuple[Client, Link]]:
    """A connected client of the daemon, and its link."""
    link = Link()
    async with proxied(daemon, kind, link.carry, link.opened) as client:
        try:
            yield client, link
        finally:
            link.open.set()


FaultKind = Literal["cut", "reset", "stall", "delay", "corrupt", "duplicate"]
KINDS: list[FaultKind] = list(get_args(FaultKind))
DELAY = 1.0


class Piece(NamedTuple):
    """What went through the proxy at once."""

    start: int
    size: int
    to_server: bool


class Exchange:
    """Everything that a client and a daemon say to each other, on all connections in both directions: recorded, and
    disturbed once, at a byte of the whole.
    """

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.size = 0
        self.struck = False
        self._fault: tuple[FaultKind, int, bool] | None = None

    def begin(self, fault: FaultKind | None = None, at: int = 0, downward: bool = False) -> None:
        """Count from here; disturb what comes after so many bytes, or with ``downward`` what then comes down."""
        self.pieces, self.size, self.struck = [], 0, False
        self._fault = None if fault is None else (fault, at, downward)

    def end(self) -> None:
        """Disturb nothing any longer."""
        self._fault = None

    async def carry(self, way: Way) -> None:
        """Hand on everything in one direction."""
        while data := await way.read():
            start, self.size = self.size, self.size + len(data)
            self.pieces.append(Piece(start, len(data), way.to_server))
            if self._fault is not None and self._fault[1] < self.size and not (self._fault[2] and way.to_server):
                (kind, at, _), self._fault, self.struck = self._fault, None, True
                await self._disturb(kind, way, data, max(0, at - start))
                if kind in ("cut", "reset"):
                    return
            else:
                await way.write(data)

    async def _disturb(self, kind: FaultKind, way: Way, data: bytes, at: int) -> None:
        before, after = data[:at], data[at:]
        match kind:
            case "cut":
                await way.write(before)
            case "reset":
                await way.write(before)
                for writer in (way.writer, way.back):
                    reset(writer)
            case "stall":
                await way.write(before)
                await asyncio.Event().wait()
            case "delay":
                await way.write(before)
                await asyncio.sleep(DELAY)
                await way.write(after)
            case "corrupt":
                await way.write(before + bytes([after[0] ^ (1 + at % 255)]) + after[1:])
            case "duplicate":
                await way.write(before + after + after)


def choose(pieces: list[Piece], random: Random, downward: bool) -> int:
    """A byte of what was recorded: half of the time any one, else of any piece, since most bytes are payload."""
    pieces = [piece for piece in pieces if not (downward and piece.to_server)]
    weights = [piece.size for piece in pieces] if random.random() < 0.5 else None
    piece = random.choices(pieces, weights)[0]
    return piece.start + random.randrange(piece.size)


async def _pass(_: object) -> None:
    pass


@contextlib.asynccontextmanager
async def faulty(
    daemon: Daemon, kind: Literal["unix", "https"], timeout: float
) -> AsyncGenerator[tuple[Client, Exchange]]:
    """A connected client of the daemon, and what it says to it."""
    exchange = Exchange()
    async with proxied(daemon, kind, exchange.carry, _pass, timeout) as client:
        yield client, exchange
