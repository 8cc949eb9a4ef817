"""Connections that have switched protocols, as the server sees them: websockets, and raw bytes."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from .answers import Answer
from .requests import FakeRequest

Piece = TypeVar("Piece")


_CLOSE_SECONDS = 1.0
"""That a client has to close a websocket that is over."""


class Stream(ABC, Generic[Piece]):
    """What comes is queued until it is read; who writes can wait until the other side takes it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._items: deque[Piece] = deque()
        self._over = False
        self._reader: asyncio.Future[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    @abstractmethod
    def receive(self, data: bytes) -> None:
        """Take what came."""

    @abstractmethod
    def close(self) -> None:
        """End it; what was written is sent."""

    async def read(self) -> Piece | None:
        """The next item; None at the end."""
        while not self._items:
            if self._over:
                return None
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._items.popleft()

    async def drain(self) -> None:
        """Wait while there is too much that was not sent yet."""
        await self._may_write.wait()

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come."""
        return self._over

    def connection_lost(self) -> None:
        """Nothing more comes."""
        self._over = True
        self._may_write.set()
        self._wake()

    def pause(self) -> None:
        """There is too much that was not sent yet."""
        self._may_write.clear()

    def resume(self) -> None:
        """It was sent."""
        self._may_write.set()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class ByteStream(Stream[bytes]):
    """Raw bytes in both directions."""

    @classmethod
    def accept(cls, transport: asyncio.Transport, request: FakeRequest, protocol: str) -> Self | None:
        """Switch; None if the request does not ask for this protocol."""
        if request.headers.get("upgrade", "").lower() != protocol:
            return None
        transport.write(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n".encode()
        )
        return cls(transport)

    def receive(self, data: bytes) -> None:
        """Take what came."""
        self._items.append(data)
        self._wake()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """End it; what was written is sent."""
        self._over = True
        self._transport.close()


class WebSocket(Stream[bytes | str]):
    """A websocket: str is a text message, bytes a binary one."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._protocol = ServerProtocol(max_size=None)
        self._kind = Opcode.BINARY
        self._parts = b""
        self._end: asyncio.TimerHandle | None = None

    @classmethod
    def accept(cls, transport: asyncio.Transport, request: FakeRequest) -> Self | None:
        """Switch; None if the request is not one for a websocket."""
        new = cls(transport)
        # Older parsers refuse a request that speaks of a body.
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        asked = Request(request.target, Headers(headers))
        new._protocol.receive_data(asked.serialize())
        answer = new._protocol.accept(asked)
        if answer.status_code != 101:
            return None
        new._protocol.events_received()
        new._protocol.send_response(answer)
        new._flush()
        return new

    def receive(self, data: bytes) -> None:
        """Take what came."""
        self._protocol.receive_data(data)
        for frame in self._protocol.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode is Opcode.CLOSE:
                self._over = True
            elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._kind = self._kind if frame.opcode is Opcode.CONT else frame.opcode
                self._parts += bytes(frame.data)
                if frame.fin:
                    whole, self._parts = self._parts, b""
                    self._items.append(whole.decode() if self._kind is Opcode.TEXT else whole)
        self._flush()
        if self._protocol.close_expected():
            self._over = True
            self._transport.close()
        self._wake()

    def send(self, message: bytes | str) -> None:
        """Send a message."""
        if self._transport.is_closing() or self._protocol.state is not State.OPEN:
            return
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._flush()

    def close(self) -> None:
        """End it; what was written is sent, and what still comes is taken, since a client may lose the rest else."""
        self._over = True
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
            self._end = asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._transport.close)

    def connection_lost(self) -> None:
        """Nothing more comes."""
        super().connection_lost()
        if self._end is not None:
            self._end.cancel()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data and not self._transport.is_closing():
                self._transport.write(data)


@dataclass(slots=True)
class Websocket:
    """The answer that turns a connection into a websocket, and what is done with it."""

    serve: Callable[[WebSocket], Awaitable[None]]


@dataclass(slots=True)
class RawStream:
    """The answer that turns a connection into a stream of bytes, and what is done with it."""

    protocol: str
    serve: Callable[[ByteStream], Awaitable[None]]


AnyAnswer = Answer | Websocket | RawStream
"""What a request is answered with."""
