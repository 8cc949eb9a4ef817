"""The one network seam: requests, streams, websockets and raw upgrades, over a unix socket or HTTPS.

Raises `IncusConnectionError` and `IncusTimeoutError`; hands answers up as they came, whatever their status. The HTTP
library is loaded at the first connection.

Connections are made when a request needs one, never before: a unix connection that sends nothing blocks every new
client of the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..exceptions import IncusConnectionError, IncusError, IncusInputError, IncusTimeoutError
from . import wire
from .endpoint import Endpoint
from .errors import combine, translate_errors
from .http1 import exchange
from .proxies import open_tunnel, proxy_for
from .uploads import BytesBody, StreamedBody

if TYPE_CHECKING:
    import ssl

    import aiohttp

Body = bytes | AsyncIterable[bytes] | None
Headers = Mapping[str, str]

CHUNK = 256 * 1024
"""Bytes in one piece of a streamed download."""

_T = TypeVar("_T")

_ADDRESS_SECONDS = 10.0  # for each of several addresses
_CLOSE_SECONDS = 1.0  # for the other side to answer that a websocket is being closed
_KEEPALIVE_SECONDS = 15.0  # the daemon closes an idle unix connection after 30
_MAX_ATTACHING = 16  # commands whose websockets are being opened at a time


@dataclass(frozen=True)
class Response:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class Stream:
    """An answer whose body is still to be read."""

    status: int
    headers: Headers
    _response: aiohttp.ClientResponse
    _errors: Callable[[], contextlib.AbstractContextManager[None]]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece; a body that ends early raises `IncusConnectionError`."""
        with self._errors():
            async for chunk in self._response.content.iter_chunked(CHUNK):
                yield chunk

    async def read(self) -> bytes:
        """The whole body."""
        with self._errors():
            return await self._response.read()


class Transport:
    """Pooled connections to one server.

    Args:
        endpoint: The server's address.
        tls: Makes the TLS settings; for HTTPS.
        timeout: Seconds to connect, and to the first byte of an ordinary answer; None for no limit.
        others: Further addresses; the first that answers is `endpoint` until `close`.
        pin: Makes the TLS settings from the server's certificate (DER), or raises; nothing is sent before.
        authorization: Returns the value of that header.
        renew: Called with the headers of a 401 and the authorization that was sent; returns whether to ask again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        tls: Callable[[], ssl.SSLContext] | None = None,
        timeout: float | None = 30,
        *,
        others: Sequence[Endpoint] = (),
        pin: Callable[[bytes], ssl.SSLContext] | None = None,
        authorization: Callable[[], str | None] | None = None,
        renew: Callable[[Headers, str | None], Awaitable[bool]] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.pinned_certificate: bytes | None = None  # the server's (DER), once `pin` has accepted it
        # The server gives each command five seconds to have its websockets opened, so only some do that at a time.
        self.attaching = asyncio.Semaphore(_MAX_ATTACHING)
        self._endpoints = (endpoint, *others)
        self._make_tls = tls
        self._pin = pin
        self._authorization = authorization
        self._renew = renew
        self._timeout = timeout
        self._address_known = False
        self._address_lock = asyncio.Lock()
        self._tls: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def request(
        self, method: str, target: str, *, body: Body = None, headers: Headers | None = None, wait: bool = False
    ) -> Response:
        """Send a request and read its whole answer; ``wait`` sets no time limit for it."""
        async with self.stream(method, target, body=body, headers=headers, wait=wait) as stream:
            return Response(stream.status, stream.headers, await stream.read())

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, target: str, *, body: Body = None, headers: Headers | None = None, wait: bool = False
    ) -> AsyncGenerator[Stream]:
        """Send a request and read its answer piece by piece; ``wait`` and a streamed upload set no time limit."""
        used = self._current_authorization()
        async with self._stream(method, target, body, headers, wait) as stream:
            repeatable = isinstance(body, bytes | None)  # a streamed body is gone
            if not await self._log_in_again(stream, used) or not repeatable:
                yield stream
                return
        async with self._stream(method, target, body, headers, wait) as stream:
            yield stream

    async def websocket(self, target: str, *, pong: bool = True) -> WebSocket:
        """Open a websocket, which the caller closes; ``pong``: see `WebSocket`."""
        used = self._current_authorization()
        try:
            return await self._websocket(target, pong)
        except UpgradeRefused as refused:
            if not await self._log_in_again(refused.response, used):
                raise
        return await self._websocket(target, pong)

    async def upgrade(
        self, method: str, target: str, protocol: str, *, body: bytes = b"", headers: Headers | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a raw byte stream by an HTTP upgrade, which the caller closes.

        The reader also has the bytes that followed the server's answer at once. Raises `UpgradeRefused` for any answer
        but 101.
        """
        used = self._current_authorization()
        try:
            return await self._upgrade(method, target, protocol, body, headers)
        except UpgradeRefused as refused:
            if not await self._log_in_again(refused.response, used):
                raise
        return await self._upgrade(method, target, protocol, body, headers)

    async def certificate(self) -> bytes:
        """The certificate (DER) that the server shows, whoever it is; sends nothing but half a handshake."""
        with self._errors("connecting"):
            async with asyncio.timeout(self._timeout):
                return await self._peer_certificate()

    async def close(self) -> None:
        """Close every connection; the next request opens new ones."""
        session, self._session, self._address_known = self._session, None, False
        if session is not None:
            await session.close()

    @contextlib.asynccontextmanager
    async def _stream(
        self, method: str, target: str, body: Body, headers: Headers | None, wait: bool
    ) -> AsyncGenerator[Stream]:
        await self._choose_address()
        session, headers = self._open_session(), self._with_authorization(headers)

        def errors() -> contextlib.AbstractContextManager[None]:
            return self._errors(f"{method} {target}")

        upload = None if body is None or isinstance(body, bytes) else StreamedBody(body)
        seconds = None if wait or upload else self._timeout
        try:
            with errors():
                async with contextlib.AsyncExitStack() as stack:
                    async with asyncio.timeout(seconds) as limit:
                        data = BytesBody(body, limit, seconds) if isinstance(body, bytes) else upload
                        response = await stack.enter_async_context(
                            await self._send_with_retry(
                                lambda: session.request(
                                    method,
                                    self._url(target),
                                    data=data,
                                    headers=headers,
                                    allow_redirects=False,
                                    proxy=proxy_for(self.endpoint),
                                ),
                                repeatable=method == "GET",
                            )
                        )
                    leave = stack.pop_all()
        except IncusError:
            if upload and upload.failure:
                raise upload.failure from upload.failure.__cause__
            raise
        failed = True
        try:
            yield Stream(response.status, response.headers, response, errors)
            failed = False
        finally:
            if failed:
                response.close()
            await leave.aclose()

    async def _send_with_retry(self, send: Callable[[], Awaitable[_T]], repeatable: bool) -> _T:
        """Retry once if a pooled connection had just been closed, for requests that can be repeated."""
        import aiohttp

        try:
            return await send()
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not repeatable or self._session is None or isinstance(error, aiohttp.ClientConnectorError):
                raise
        return await send()

    async def _websocket(self, target: str, pong: bool) -> WebSocket:
        import aiohttp

        await self._choose_address()
        # A session for the handshake alone: watching for redirects would make every request slower.
        watch = aiohttp.TraceConfig()
        watch.on_request_redirect.append(_refuse_redirect)
        session = self._new_session(self._open_session().connector, connector_owner=False, trace_configs=[watch])
        with self._errors(f"websocket {target}"):
            try:
                async with session, asyncio.timeout(self._timeout):
                    patience = aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS)  # pyright: ignore[reportCallIssue]
                    socket = await session.ws_connect(
                        self._url(target),
                        autoping=False,
                        headers=self._with_authorization(None),
                        max_msg_size=0,
                        proxy=proxy_for(self.endpoint),
                        timeout=patience,
                    )
            except aiohttp.WSServerHandshakeError as error:
                # The library drops the body, and with it the server's reason: an ordinary request gets it.
                if error.status == 101:
                    raise
                async with self._stream("GET", target, None, None, False) as stream:
                    raise UpgradeRefused(Response(stream.status, stream.headers, await stream.read())) from None
        return WebSocket(socket, self._errors, pong)

    async def _upgrade(
        self, method: str, target: str, protocol: str, body: bytes, headers: Headers | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._check_loop()
        await self._choose_address()
        sent = {"Host": "incus", "Connection": "Upgrade", "Upgrade": protocol, "Content-Length": str(len(body))}
        sent = self._with_authorization({**sent, **(headers or {})})
        with self._errors(f"{method} {target}"):
            async with asyncio.timeout(self._timeout):
                if self.endpoint.socket is not None:
                    reader, writer = await asyncio.open_unix_connection(self.endpoint.socket)
                else:
                    reader, writer = await self._connect(self._tls_context())
                try:
                    status, received = await exchange(reader, writer, f"{method} {target}", sent, body)
                    if status != 101:
                        length = int(received.get("Content-Length", "0"))
                        raise UpgradeRefused(Response(status, received, await reader.readexactly(length)))
                    if received.get("Upgrade", "").lower() != protocol:
                        raise ValueError(f"it upgrades to {received.get('Upgrade')}, not to {protocol}")
                except BaseException:
                    writer.transport.abort()
                    raise
        return reader, writer

    async def _choose_address(self) -> None:
        """Take the first of several addresses that answers, and the server's certificate where it is to be pinned."""
        if self._pin is None and len(self._endpoints) == 1:
            return
        async with self._address_lock:
            if self._address_known:
                return
            several = len(self._endpoints) > 1
            seconds = min(self._timeout or _ADDRESS_SECONDS, _ADDRESS_SECONDS) if several else self._timeout
            failures: list[IncusError] = []
            for endpoint in self._endpoints:
                self.endpoint = endpoint
                try:
                    with self._errors("connecting", seconds):
                        async with asyncio.timeout(seconds):
                            await self._probe()
                    self._address_known = True
                    return
                except (IncusConnectionError, IncusTimeoutError) as error:
                    failures.append(error)
        raise combine(failures)

    async def _probe(self) -> None:
        """Raise unless the address can be used; pin the server's certificate where that is wanted."""
        if self.endpoint.socket is not None:
            # Not by connecting: a connection that sends nothing blocks the daemon.
            os.stat(self.endpoint.socket)
        elif self._pin is None:
            _, writer = await self._connect(self._tls_context())
            writer.transport.abort()
        else:
            certificate = await self._peer_certificate()
            self._tls, self.pinned_certificate = self._pin(certificate), certificate

    async def _peer_certificate(self) -> bytes:
        import ssl

        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        _, writer = await self._connect(unverified)
        writer.transport.abort()
        certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return certificate

    async def _connect(self, tls: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection to the HTTPS server, outside the pool."""
        host, port, proxy = self.endpoint.host, self.endpoint.port, proxy_for(self.endpoint)
        if proxy is not None:
            return await open_tunnel(proxy, self.endpoint, tls)
        return await asyncio.open_connection(host, port, ssl=tls, server_hostname=host)

    def _current_authorization(self) -> str | None:
        return self._authorization() if self._authorization else None

    async def _log_in_again(self, answer: Response | Stream, used: str | None) -> bool:
        """Log in after a 401, where that is possible; whether to ask again."""
        return answer.status == 401 and self._renew is not None and await self._renew(answer.headers, used)

    def _with_authorization(self, headers: Headers | None) -> dict[str, str]:
        authorization = self._current_authorization()
        known = {} if authorization is None else {"Authorization": authorization}
        return wire.require_sendable({**known, **(headers or {})})

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._session is not None and self._loop is not loop:
            raise IncusError("this client is connected in another event loop; make one client for each loop")
        self._loop = loop

    def _open_session(self) -> aiohttp.ClientSession:
        import aiohttp

        self._check_loop()
        if self._session is None:
            connector: aiohttp.BaseConnector
            if self.endpoint.socket is not None:
                connector = aiohttp.UnixConnector(self.endpoint.socket, limit=0, keepalive_timeout=_KEEPALIVE_SECONDS)
            else:
                connector = aiohttp.TCPConnector(ssl=self._tls_context(), limit=0, keepalive_timeout=_KEEPALIVE_SECONDS)
            self._session = self._new_session(connector)
            self._session._retry_connection = False  # `_send_with_retry` knows what can be sent twice
        return self._session

    def _new_session(self, connector: aiohttp.BaseConnector | None, **options: Any) -> aiohttp.ClientSession:
        import aiohttp

        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "incus-sdk", "Accept-Encoding": "identity"},
            **options,
        )

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            if self._make_tls is None:
                raise IncusInputError(f"{self.endpoint} needs TLS settings")
            self._tls = self._make_tls()
        return self._tls

    def _url(self, target: str) -> Any:
        from yarl import URL

        return URL(self.endpoint.url + target, encoded=True)

    def _errors(self, request: str, seconds: float | None = None) -> contextlib.AbstractContextManager[None]:
        return translate_errors(request, self.endpoint, seconds or self._timeout)


class UpgradeRefused(IncusError):
    """The server gave an ordinary answer to a websocket or an upgrade; `Scope` reads the reason from it."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"HTTP {response.status}")
        self.response = response


class WebSocket:
    """An open websocket: whole messages in both directions, ``str`` for text and ``bytes`` for binary.

    With ``pong``, `receive` answers pings; the daemon needs that for events alone. After a short command it closes the
    connection at once: a pong would fail then, and its error would drop what was not read yet.
    """

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        errors: Callable[[str], contextlib.AbstractContextManager[None]],
        pong: bool,
    ) -> None:
        self._socket = socket
        self._errors = errors
        self._pong = pong

    async def receive(self, idle: float | None = None) -> bytes | str | None:
        """The next message; None once it is closed, or after ``idle`` seconds without anything, pings included."""
        import aiohttp

        while True:
            try:
                async with asyncio.timeout(idle):
                    message = await self._socket.receive()
            except TimeoutError:
                return None
            match message.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    data: bytes | str = message.data
                    return data
                case aiohttp.WSMsgType.PING:
                    if self._pong:
                        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                            await self._socket.pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    pass
                case _:
                    return None

    async def send(self, data: bytes | str) -> None:
        """Send one message, waiting while the other side does not read; raise `IncusConnectionError` once closed."""
        with self._errors("websocket"):
            if isinstance(data, str):
                await self._socket.send_str(data)
            else:
                await self._socket.send_bytes(data)

    async def close(self) -> None:
        """Close it; harmless when it is closed already."""
        await self._socket.close()


async def _refuse_redirect(
    session: aiohttp.ClientSession, context: Any, redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    """End a websocket's handshake, which the library would continue elsewhere, with its secret."""
    redirect.response.close()
    raise ValueError(f"it redirects to {redirect.response.headers.get('Location')}")
