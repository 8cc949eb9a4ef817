"""Websocket messages: whole ones out of the frames that come, and frames out of what is sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from . import limits
from .errors import Foreign, Oversized

_SILENT = logging.Logger("websockets", logging.CRITICAL + 1)  # what a frame holds can be a secret


class Frames:
    """The client's side of a websocket, without its connection."""

    def __init__(self) -> None:
        self._protocol = Protocol(CLIENT, max_size=limits.MESSAGE, logger=_SILENT)
        self._kind = Opcode.BINARY
        self._parts = bytearray()
        self.answered = True
        """Whether the last ping was answered."""

    @property
    def open(self) -> bool:
        """Whether messages can still be sent."""
        return self._protocol.state is OPEN

    @property
    def closed_by_peer(self) -> bool:
        """Whether the other side said that it closes it."""
        return self._protocol.close_rcvd is not None

    def receive(self, data: memoryview | bytes) -> Iterator[bytes | str]:
        """The messages that are whole with what came; raises `Foreign` or `Oversized` where no more can come."""
        self._protocol.receive_data(data)  # type: ignore[arg-type]
        for frame in self._protocol.events_received():
            if not isinstance(frame, Frame):
                continue
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                if frame.opcode is not Opcode.CONT:
                    self._kind = frame.opcode
                    if frame.fin:
                        yield self._message(frame.data)
                        continue
                self._parts += frame.data
                if frame.fin:
                    parts, self._parts = self._parts, bytearray()
                    yield self._message(parts)
            elif frame.opcode is Opcode.PONG:
                self.answered = True
        error = self._protocol.parser_exc
        if isinstance(error, PayloadTooBig):
            raise Oversized(f"a message of more than {limits.MESSAGE // 2**20} MiB")
        if error is not None:
            raise Foreign("what came is no websocket's")

    def _message(self, data: bytes | bytearray | memoryview) -> bytes | str:
        if self._kind is Opcode.BINARY:
            return bytes(data)
        try:
            return bytes(data).decode()
        except UnicodeDecodeError:
            raise Foreign("a text that is not UTF-8") from None

    def send(self, data: bytes | memoryview | str) -> None:
        """Add a message to `unsent`."""
        if isinstance(data, str):
            self._protocol.send_text(data.encode())
        else:
            self._protocol.send_binary(data)

    def send_ping(self) -> None:
        """Add a ping to `unsent`."""
        self.answered = False
        self._protocol.send_ping(b"")

    def send_close(self) -> None:
        """Add the end to `unsent`."""
        self._protocol.send_close(CloseCode.NORMAL_CLOSURE)

    def unsent(self) -> bytes:
        """What is to be sent: messages, answers to pings, and the end."""
        return b"".join(self._protocol.data_to_send())
