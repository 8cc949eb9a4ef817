"""HTTP/1.1 on one connection: a request goes out, and its answer is parsed as it comes."""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from httptools.parser.errors import HttpParserError, HttpParserUpgrade
from httptools.parser.parser import HttpResponseParser

from . import limits
from .errors import Foreign, Lost, Oversized, Stalled
from .handshake import Secured
from .link import Alarm, Link

_PIECE_COST = 64  # bytes that a piece of a body takes beside what is in it
_MOST_PIECES = 1000  # before they are joined, as they can be small


class ReceivedHeaders(Mapping[str, str]):
    """The headers of an answer, by their names in any case; those of the same name are one, with commas."""

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower().encode()].decode(errors="surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Connection(Link):
    """One exchange after the other: `begin`, then `head`, then `read` or `chunk`."""

    def __init__(self, buffer: memoryview, forget: Callable[[Link], None]) -> None:
        super().__init__(buffer, forget)
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.complete = True
        """Whether the whole answer has come; what comes after it, nobody asked for."""
        self.seconds: float | None = None
        """For which the answer may stall."""
        self.uploaded = self.received = 0
        """Bytes of the bodies of this exchange: of that which is sent piece by piece, and of the answer's."""
        self._keep = True  # the connection, after this answer
        self._new = True
        self._poll: select.poll | None = None
        self._alarm = Alarm(self._loop, self._on_alarm)
        self._parser = HttpResponseParser(self)

    def begin(self, request: bytes, method: str, seconds: float | None) -> None:
        """Send a request, or the first part of one.

        Args:
            request: The bytes to send.
            method: Its method: the answer to HEAD has no body.
            seconds: For which the answer may stall; None for any time.
        """
        self.status, self.complete = 0, False
        self.uploaded = self.received = 0
        self.seconds = seconds
        self._fields: dict[bytes, bytes] = {}
        self._headless, self._interim, self._bodiless = True, False, method == "HEAD"
        self._silent = True
        self._room = limits.HEAD  # bytes that may come before a part of the body does
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._joined: bytearray | None = None  # what came before the pieces, where the body is read at once
        self._limit = 0
        self._leftover = b""
        self.put_off()
        self.transport.write(request)

    def put_off(self) -> None:
        """Begin the time again for which the answer may stall."""
        if self.seconds is not None:
            self._alarm.set(self.seconds)

    async def head(self) -> None:
        """Wait for `status` and `headers`."""
        while self._headless:
            await self._next_event()

    async def read(self, limit: int | None = None) -> bytes:
        """The whole body; raises `Oversized` for more than ``limit`` bytes, else for more than any answer has."""
        self._limit = limit or (limits.REFUSAL if self.status >= 400 else limits.ENVELOPE)
        if not self.complete:
            if int(self._fields.get(b"content-length", 0)) > self._limit:
                raise self._too_large()
            self._joined = bytearray()
            self._resume()
            await self._completion()
        body = b"".join((self._joined or b"", *self._pieces))
        if len(body) > self._limit:
            raise self._too_large()
        return body

    async def chunk(self) -> bytes:
        """The next piece of the body, empty at its end; the server is made to wait where it is not read."""
        while not self._pieces:
            if self.complete:
                return b""
            await self._next_event()
        pieces = [self._pieces.popleft()]
        size = len(pieces[0])
        while self._pieces and size + len(self._pieces[0]) <= limits.CHUNK:
            pieces.append(self._pieces.popleft())
            size += len(pieces[-1])
        self._size -= size + _PIECE_COST * len(pieces)
        if self._size <= limits.READ_AHEAD // 2:
            self._resume()
        return b"".join(pieces)

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Leave a connection that switched protocols to another; returns also what came for that already."""
        if self.error is not None:
            raise self.error
        self._alarm.stop()
        return self.transport, self._leftover

    def rest(self) -> None:
        """Stay open for a while without a request."""
        if self._new and self.status:
            self._new = False
            tls = self.transport.get_extra_info("ssl_object")
            if isinstance(tls, Secured):
                tls.remember()
        self.seconds = None
        self._alarm.set(limits.IDLE_SECONDS)

    @property
    def reused(self) -> bool:
        """Whether another request came before, on it."""
        return not self._new

    @property
    def reusable(self) -> bool:
        """Whether another request can follow."""
        return self.complete and self._keep and self.error is None and not self.transport.is_closing()

    @property
    def quiet(self) -> bool:
        """Whether a resting connection is still open, and nothing came on it that nobody asked for."""
        if self._poll is None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return self.reusable and not (self._poll and self._poll.poll(0))

    @property
    def unheard(self) -> bool:
        """Whether it was lost before a byte of the answer came."""
        return self._silent and isinstance(self.error, Lost)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._alarm.stop()
        if not self.complete and not self._headless and exc is None and self.error is None:
            # Without a length, a body ends where the connection does.
            self.complete = not self._fields.keys() & {b"content-length", b"transfer-encoding"}
        super().connection_lost(exc)

    def data_received(self, data: memoryview | bytes) -> None:
        """Take what came."""
        if self.complete:
            self.end(Lost(None))  # nobody asked for it
            return
        self._silent = self._progress = False
        self.put_off()
        start = 0
        try:
            if self._headless and len(data) > self._room:
                self._parser.feed_data(data[: self._room])
                start = self._room
            if not (start and self._headless):
                self._parser.feed_data(data[start:] if start else data)
        except HttpParserUpgrade as upgrade:
            self._leftover, self._keep = bytes(data[start + upgrade.args[0] :]), False
            self.transport.pause_reading()
        except HttpParserError as error:
            self.end(Foreign(str(error)))
        if not self._progress:
            self._room -= len(data)
            if self._room < 0:  # also of trailers, and of what chunks say of themselves
                self.end(Oversized(f"a head of more than {limits.HEAD // 1024} KiB"))

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self.complete:
            self._keep = False  # a second answer

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser, also for trailers, which nobody reads."""
        if self._headless:
            name = name.lower()
            self._fields[name] = self._fields[name] + b", " + value if name in self._fields else value

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200 and status != 101
        if self._interim or self.complete:
            return
        self.status, self.headers, self._headless = status, ReceivedHeaders(self._fields), False
        self._room, self._progress = limits.HEAD, True
        if self._bodiless:
            closing = b"close" in self._fields.get(b"connection", b"").lower()
            self._finish(self._parser.get_http_version() == "1.1" and not closing)
            self._parser = HttpResponseParser(self)  # the other one waits for a body
        self._wake()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._room, self._progress = limits.HEAD, True
        self.received += len(body)
        if self.complete:
            self._keep = False
        elif self._joined is not None:
            self._pieces.append(body)
            if self.received > self._limit:
                self.end(self._too_large())
            elif len(self._pieces) > _MOST_PIECES:
                self._joined += b"".join(self._pieces)
                self._pieces.clear()
        else:
            self._pieces.append(body)
            self._size += len(body) + _PIECE_COST
            if self._size > limits.READ_AHEAD and not self._paused:
                self._paused = True
                self.transport.pause_reading()
            self._wake()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._interim:
            self._fields = {}
        elif not self.complete:
            self._finish(self._parser.should_keep_alive())

    def _finish(self, keep: bool) -> None:
        self.complete, self._keep, self.seconds = True, keep, None
        self._wake()

    async def _completion(self) -> None:
        while not self.complete:
            await self._next_event()

    async def _next_event(self) -> None:
        if self.error is not None:
            raise self.error
        await self._wait()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def _too_large(self) -> Oversized:
        return Oversized(f"a body of more than {self._limit // 2**20} MiB")

    def _on_alarm(self) -> None:
        if self.complete:
            self.end(Lost(None))
        elif self.seconds is not None:
            self.end(Stalled(begun=not self._headless))
