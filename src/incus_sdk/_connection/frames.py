"""Websocket messages: whole ones out of the frames that come, and frames out of what is sent."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, CloseCode, Frame, Opcode

from . import limits
from .errors import Foreign, Oversized

_DATA = (Opcode.BINARY, Opcode.TEXT)
_WHOLE_BINARY, _WHOLE_TEXT = 0x80 | Opcode.BINARY, 0x80 | Opcode.TEXT  # the first byte of a message in one frame
_LENGTHS = {126: struct.Struct("!H"), 127: struct.Struct("!Q")}  # what follows the second byte


def _text(data: bytes | bytearray | memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise Foreign("a text that is not UTF-8") from None


class Frames:
    """The client's side of a websocket, without its connection."""

    def __init__(self) -> None:
        self.open = True
        """Whether messages can still be sent."""
        self.closed_by_peer = False
        """Whether the other side said that it closes it."""
        self.answered = True
        """Whether the last ping was answered."""
        self._unsent: list[bytes] = []
        self._data = memoryview(b"")
        self._at = 0
        self._within_frame = False
        self._kind: Opcode | None = None  # of a message that has begun
        self._parts = bytearray()
        self._frames = self._parse()

    def receive(self, data: memoryview | bytes) -> Iterator[bytes | str]:
        """The messages that are whole with what came; raises `Foreign` or `Oversized` where no more can come."""
        self._data, self._at = memoryview(data), 0
        try:
            while not self.closed_by_peer and (self._within_frame or self._at < len(self._data)):
                message = self._take_whole()
                if message is None:
                    frame = next(self._frames)
                    self._within_frame = frame is None
                    if frame is None:
                        return
                    if frame.opcode is Opcode.CONT or frame.opcode in _DATA:
                        message = self._add(frame)
                    else:
                        self._obey(frame)
                if message is not None:
                    yield message
        except PayloadTooBig:
            raise Oversized(f"a message of more than {limits.MESSAGE // 2**20} MiB") from None
        except (ProtocolError, StopIteration):  # the latter, where the parser ended with an error before
            raise Foreign("what came is not a websocket's") from None

    def _take_whole(self) -> bytes | str | None:
        """The next message if all of it is there in one plain frame, as nearly always: the parser takes five times as
        long."""
        data, start = self._data, self._at + 2
        if self._within_frame or self._kind is not None or len(data) < start:
            return None
        first, size = data[start - 2], data[start - 1]
        length = _LENGTHS.get(size)
        if length is not None and len(data) >= start + length.size:
            (size,) = length.unpack_from(data, start)
            start += length.size
        elif size > 125:
            return None
        end = start + size
        if end > len(data):
            return None
        if first == _WHOLE_BINARY:
            message: bytes | str = bytes(data[start:end])
        elif first == _WHOLE_TEXT:
            message = _text(data[start:end])
        else:
            return None
        self._at = end
        return message

    def _parse(self) -> Generator[Frame | None]:
        """Each frame that is whole, and None where more bytes are needed."""
        while True:
            yield (yield from Frame.parse(self._read, mask=False, max_size=limits.MESSAGE - len(self._parts)))

    def _read(self, size: int) -> Generator[None, None, bytes | bytearray]:
        """Take bytes out of what came, copied once: that memory is used again."""
        start, self._at = self._at, self._at + size
        if self._at <= len(self._data):
            return bytes(self._data[start : self._at])
        taken = bytearray(self._data[start:])
        while len(taken) < size:
            yield
            self._at = size - len(taken)
            taken += self._data[: self._at]
        return taken

    def _add(self, frame: Frame) -> bytes | str | None:
        """The message that is whole with this frame."""
        if (frame.opcode is Opcode.CONT) is (self._kind is None):
            raise Foreign("a message begins within another, or goes on that has not begun")
        kind = self._kind or frame.opcode
        if not frame.fin:
            self._kind = kind
            self._parts += frame.data
            return None
        data: bytes | bytearray | memoryview = frame.data
        if self._kind is not None:
            self._parts += data
            data, self._parts, self._kind = self._parts, bytearray(), None
        return bytes(data) if kind is Opcode.BINARY else _text(data)

    def _obey(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self.answered = True
        elif frame.opcode is Opcode.PING:
            self._send(Opcode.PONG, frame.data)
        else:
            self.closed_by_peer = True
            self.send_close()

    def send(self, data: bytes | memoryview | str) -> None:
        """Add a message to `unsent`."""
        if isinstance(data, str):
            self._send(Opcode.TEXT, data.encode())
        else:
            self._send(Opcode.BINARY, data)

    def send_ping(self) -> None:
        """Add a ping to `unsent`."""
        self.answered = False
        self._send(Opcode.PING, b"")

    def send_close(self) -> None:
        """Add the end to `unsent`."""
        self._send(Opcode.CLOSE, Close(CloseCode.NORMAL_CLOSURE, "").serialize())
        self.open = False

    def _send(self, opcode: Opcode, data: bytes | bytearray | memoryview) -> None:
        if self.open:
            self._unsent.append(Frame(opcode, data).serialize(mask=True))

    def unsent(self) -> bytes:
        """What is to be sent: messages, answers to pings, and the end."""
        unsent, self._unsent = self._unsent, []
        return unsent[0] if len(unsent) == 1 else b"".join(unsent)
