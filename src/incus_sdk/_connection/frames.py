"""Websocket messages: whole ones out of the frames that come, and frames out of what is sent.

The library `websockets` reads and writes all but the simplest frames. Most commands need no others, and importing it
would take a sixth of the time of a process that runs one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from . import limits
from .errors import Foreign, Oversized

if TYPE_CHECKING:
    from websockets.frames import Frame

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_CONTROL = (_CLOSE, _PING, _PONG)
_WHOLE = 0x80  # of the first byte: the frame is all of a message
_MASKED = 0x80  # of the second byte
_WHOLE_TEXT, _WHOLE_BINARY = _WHOLE | _TEXT, _WHOLE | _BINARY
_SHORT = 125  # bytes at most, if the second byte says how many
_LENGTHS = {126: struct.Struct("!H"), 127: struct.Struct("!Q")}  # what follows the second byte
_NORMAL_CLOSURE = struct.pack("!H", 1000)


def _text(data: bytes | bytearray | memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise Foreign("a text that is not UTF-8") from None


def _short_frame(opcode: int, data: bytes | bytearray | memoryview) -> bytes:
    """A masked frame of at most `_SHORT` bytes."""
    size, key = len(data), os.urandom(4)
    mask = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")
    return bytes((_WHOLE | opcode, _MASKED | size)) + key + masked.to_bytes(size, "big")


def _long_frame(opcode: int, data: bytes | bytearray | memoryview) -> bytes:
    """A masked frame, by the library, which masks much faster."""
    from websockets.frames import Frame, Opcode

    return Frame(Opcode(opcode), data).serialize(mask=True)


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
        self._kind: int | None = None  # of a message that has begun
        self._parts = bytearray()
        self._frames = self._parse()

    def receive(self, data: memoryview | bytes) -> Iterator[bytes | str]:
        """The messages that are whole with what came; raises `Foreign` or `Oversized` where no more can come."""
        self._data, self._at = memoryview(data), 0
        while not self.closed_by_peer and (self._within_frame or self._at < len(self._data)):
            start = self._at
            message = self._take_whole()
            if self._at == start:
                frame = self._next_frame()
                self._within_frame = frame is None
                if frame is None:
                    return
                if frame.opcode in _CONTROL:
                    self._obey(frame.opcode, frame.data)
                else:
                    message = self._add(frame)
            if message is not None:
                yield message

    def _take_whole(self) -> bytes | str | None:
        """Take the next frame if all of it is there and it is plain, as nearly always; the message, if it is one.

        The parser takes five times as long.
        """
        data, start = self._data, self._at + 2
        if self._within_frame or self._kind is not None or len(data) < start:
            return None
        first, size = data[start - 2], data[start - 1]
        length = _LENGTHS.get(size)
        if length is not None and len(data) >= start + length.size:
            (size,) = length.unpack_from(data, start)
            start += length.size
        elif size > _SHORT:
            return None
        end = start + size
        if end > len(data):
            return None
        if first == _WHOLE_BINARY:
            message: bytes | str | None = bytes(data[start:end])
        elif first == _WHOLE_TEXT:
            message = _text(data[start:end])
        elif first ^ _WHOLE in _CONTROL and size <= _SHORT:  # the parser refuses longer ones
            message = None
            self._obey(first ^ _WHOLE, bytes(data[start:end]))
        else:
            return None
        self._at = end
        return message

    def _next_frame(self) -> Frame | None:
        """The next frame, by the library's parser; None if more bytes are needed."""
        from websockets.exceptions import PayloadTooBig, ProtocolError

        try:
            return next(self._frames)
        except PayloadTooBig:
            raise Oversized(f"a message of more than {limits.MESSAGE // 2**20} MiB") from None
        except (ProtocolError, StopIteration):  # the latter, where the parser ended with an error before
            raise Foreign("what came is not a websocket's") from None

    def _parse(self) -> Generator[Frame | None]:
        """Each frame that is whole, and None where more bytes are needed."""
        from websockets.frames import Frame

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
        if (frame.opcode == _CONTINUATION) is (self._kind is None):
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
        return bytes(data) if kind == _BINARY else _text(data)

    def _obey(self, opcode: int, data: bytes | bytearray | memoryview) -> None:
        if opcode == _PONG:
            self.answered = True
        elif opcode == _PING:
            self._send(_PONG, data)
        else:
            self.closed_by_peer = True
            self.send_close()

    def send(self, data: bytes | memoryview | str) -> None:
        """Add a message to `unsent`."""
        if isinstance(data, str):
            self._send(_TEXT, data.encode())
        elif isinstance(data, memoryview) and not (data.c_contiguous and data.nbytes == len(data)):
            self._send(_BINARY, bytes(data))  # of numbers, say: its length is not that of its bytes
        else:
            self._send(_BINARY, data)

    def send_ping(self) -> None:
        """Add a ping to `unsent`."""
        self.answered = False
        self._send(_PING, b"")

    def send_close(self) -> None:
        """Add the end to `unsent`."""
        self._send(_CLOSE, _NORMAL_CLOSURE)
        self.open = False

    def _send(self, opcode: int, data: bytes | bytearray | memoryview) -> None:
        if self.open:
            self._unsent.append(_short_frame(opcode, data) if len(data) <= _SHORT else _long_frame(opcode, data))

    def unsent(self) -> bytes:
        """What is to be sent: messages, answers to pings, and the end."""
        unsent, self._unsent = self._unsent, []
        return unsent[0] if len(unsent) == 1 else b"".join(unsent)
