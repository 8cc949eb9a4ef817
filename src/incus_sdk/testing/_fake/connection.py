"""HTTP/1.1 as a server speaks it, on one connection: requests out of what comes, one answer after the other."""

from __future__ import annotations

import asyncio
import http
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from .answers import Answer, error
from .requests import FakeRequest
from .streams import AnyAnswer, ByteStream, RawStream, Stream, WebSocket, Websocket

_REASONS = {status.value: status.phrase for status in http.HTTPStatus}
_END = Answer(cut="answer")

Handle = Callable[[FakeRequest], AnyAnswer | Awaitable[AnyAnswer]]


class ServerConnection(asyncio.Protocol):
    """One connection to the fake.

    Args:
        handle: Answers a request.
        connections: All that are open; it adds and removes itself.
    """

    transport: asyncio.Transport

    def __init__(self, handle: Handle, connections: set[ServerConnection]) -> None:
        self._handle = handle
        self._connections = connections
        self._parser = HttpRequestParser(self)
        self._waiting: deque[FakeRequest] = deque()
        self._task: asyncio.Future[Any] | None = None
        self._stream: Stream[Any] | None = None
        self._switching = False
        self._early = b""  # what came after a request to switch, before its answer

    def connection_made(self, transport: Any) -> None:
        """Called by the event loop."""
        self.transport = transport
        self._connections.add(self)
        self._peer = transport.get_extra_info("ssl_object")

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._connections.discard(self)
        if self._stream is not None:
            self._stream.connection_lost()
        elif self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        """Close it at once, and wait for what it was doing."""
        self.transport.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._stream is not None:
            self._stream.receive(data)
        elif self._switching:
            self._early += data
        else:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as switch:
                self._early = data[switch.args[0] :]
            except HttpParserError:
                self._write(error(400, "Bad Request"), None)
                self.transport.close()

    def eof_received(self) -> None:
        """Called by the event loop."""
        if self._stream is not None:
            self._stream.connection_lost()

    def pause_writing(self) -> None:
        """Called by the event loop."""
        if self._stream is not None:
            self._stream.pause()

    def resume_writing(self) -> None:
        """Called by the event loop."""
        if self._stream is not None:
            self._stream.resume()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target, self._headers, self._body = b"", list[tuple[str, str]](), list[bytes]()

    def on_url(self, url: bytes) -> None:
        """A part of its target came."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came."""
        self._headers.append((name.decode("latin-1").lower(), value.decode(errors="surrogateescape")))

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        if ("expect", "100-continue") in self._headers:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        """A part of its body came."""
        self._body.append(piece)

    def on_message_complete(self) -> None:
        """It is whole."""
        request = FakeRequest(
            self._parser.get_method().decode(),
            self._target.decode("latin-1"),
            dict(self._headers),
            b"".join(self._body),
            self._peer,
        )
        request._keep_alive = self._parser.should_keep_alive()
        self._switching = "upgrade" in request.headers
        self._waiting.append(request)
        if self._task is None:
            self._answer_next()

    def _answer_next(self) -> None:
        """Answer what waits: at once what takes no time, the rest in a task."""
        while self._waiting and not self.transport.is_closing():
            request = self._waiting.popleft()
            answer = self._handle(request)
            if inspect.isawaitable(answer):
                self._task = asyncio.ensure_future(self._answer_later(request, answer))
                return
            self._send(request, answer)

    async def _answer_later(self, request: FakeRequest, answer: Awaitable[AnyAnswer]) -> None:
        self._send(request, await answer)
        if self._stream is None:
            self._task = None
            self._answer_next()

    def _send(self, request: FakeRequest, answer: AnyAnswer) -> None:
        if self.transport.is_closing():
            return
        if isinstance(answer, Answer):
            self._write(answer, request)
            if self._switching or not request._keep_alive or answer.cut:
                self.transport.close()
            return
        stream = self._stream_for(request, answer)
        if stream is None:
            self._write(error(400, "Bad Request"), request)
            self.transport.close()
            return
        request.status, self._stream = 101, stream
        self._task = asyncio.ensure_future(self._serve(answer, stream))
        if self._early:
            stream.receive(self._early)

    def _stream_for(self, request: FakeRequest, answer: Websocket | RawStream) -> Stream[Any] | None:
        if isinstance(answer, Websocket):
            return WebSocket.accept(self.transport, request)
        return ByteStream.accept(self.transport, request, answer.protocol)

    async def _serve(self, answer: Websocket | RawStream, stream: Any) -> None:
        try:
            await answer.serve(stream)
        finally:
            stream.close()

    def _write(self, answer: Answer, request: FakeRequest | None) -> None:
        if request is not None:
            request.status = answer.status
        if answer.cut in ("request", "answer"):
            return
        lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        bodiless = request is not None and request.method == "HEAD"
        if "Content-Length" not in answer.headers:
            lines.append(f"Content-Length: {len(answer.body)}")
        head = "\r\n".join([*lines, "\r\n"]).encode(errors="surrogateescape")
        size = len(answer.body) // 2 if answer.cut == "body" else len(answer.body)
        self.transport.write(head if bodiless else head + answer.body[:size])
