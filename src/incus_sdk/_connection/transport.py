"""The one network seam: request, stream, websocket and raw upgrade, over a unix socket or HTTPS.

The only module that knows the HTTP library, which is loaded at the first connection. What it raises is
`IncusConnectionError` and `IncusTimeoutError`; it hands answers up as they came, whatever their status.

Connections are made when a request needs one, never before: a unix connection that sends nothing blocks every new
client of the daemon.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import io
import os
import re
import stat
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..exceptions import (
    IncusCertificateError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusTimeoutError,
)
from . import wire

if TYPE_CHECKING:
    import ssl

    import aiohttp

Body = bytes | AsyncIterable[bytes] | None
Headers = Mapping[str, str]

CHUNK = 256 * 1024
"""Bytes in one piece of a streamed download."""

_T = TypeVar("_T")

_HTTPS = re.compile(
    r"https://(?:(?P<host>[a-z0-9._-]+)|\[(?P<ip>[0-9a-f.]*:[0-9a-f.:]+(?:%[a-z0-9._-]+)?)\])(?::(?P<port>\d{1,5}))?/?",
    re.ASCII | re.IGNORECASE,
)
_APART = 10.0  # seconds that one of several addresses may take
_ATTACHING = 16  # commands whose websockets are being opened at a time
_CLOSING = 1.0  # seconds for the other side to answer that a websocket is being closed
_LOOPBACK = re.compile(r"localhost|::1|127\.[0-9.]+")
_KEEPALIVE = 15.0  # seconds; the daemon closes an idle unix connection after 30


@dataclass(frozen=True)
class Endpoint:
    """Where a server is: the path of a unix socket, or the host and port of an HTTPS server."""

    socket: str | None = None
    host: str = ""
    port: int = 8443

    @classmethod
    def parse(cls, endpoint: str) -> Endpoint:
        """``https://host[:port]``, ``unix:///path`` or a path; raises `IncusInputError` for anything else."""
        if endpoint.startswith(("unix://", "/")):
            path = endpoint.removeprefix("unix://")
            if not path.startswith("/") or "\0" in path:
                raise IncusInputError(f"{endpoint!r} names no socket: write unix:// and an absolute path")
            return cls(socket=path)
        found = _HTTPS.fullmatch(endpoint)
        port = int((found and found["port"]) or 8443)
        if found is None or not 0 < port < 65536:
            shown = re.sub("//.*@", "//...@", endpoint)  # without a password
            raise IncusInputError(f"{shown!r} is no endpoint: write https://host:8443 or unix:///path/to/unix.socket")
        return cls(host=(found["ip"] or found["host"]).lower(), port=port)

    @property
    def url(self) -> str:
        """The base of request URLs."""
        if self.socket is not None:
            return "http://unix.socket"
        return f"https://[{self.host}]:{self.port}" if ":" in self.host else f"https://{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.url if self.socket is None else f"unix://{self.socket}"


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
    _where: Callable[[], contextlib.AbstractContextManager[None]]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece; a body that ends early raises `IncusConnectionError`."""
        with self._where():
            async for chunk in self._response.content.iter_chunked(CHUNK):
                yield chunk

    async def read(self) -> bytes:
        """The whole body."""
        with self._where():
            return await self._response.read()


class Transport:
    """Connections to one server, pooled. ``timeout``: seconds to connect, and to the first byte of an ordinary
    answer.

    ``others``: further addresses of the server; the first that answers is `endpoint` from then on, until `close`.
    ``pin``: makes the TLS settings of the certificate that the server shows (DER), or raises; nothing is sent before.
    ``authorization``: the value of that header; ``renew``: gets the headers of a 401, and what was sent there, and says
    whether to ask once more.
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
        self.shown: bytes | None = None  # the certificate (DER) that `pin` has taken
        self._endpoints = (endpoint, *others)
        self._make_tls = tls
        self._pin = pin
        self._authorization = authorization
        self._renew = renew
        self._settled = False
        self._settling = asyncio.Lock()
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # Commands whose websockets are being opened: each has five seconds, so they must not all wait for each other.
        self.attaching = asyncio.Semaphore(_ATTACHING)

    async def request(
        self, method: str, target: str, *, body: Body = None, headers: Headers | None = None, wait: bool = False
    ) -> Response:
        """One request and its whole answer. ``wait``: the answer may take as long as it takes."""
        async with self.stream(method, target, body=body, headers=headers, wait=wait) as stream:
            return Response(stream.status, stream.headers, await stream.read())

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, target: str, *, body: Body = None, headers: Headers | None = None, wait: bool = False
    ) -> AsyncGenerator[Stream]:
        """One request whose answer is read piece by piece: flat memory in both directions.

        An upload that is streamed has no limit of time either.
        """
        used = self._authorized()
        async with self._stream(method, target, body, headers, wait) as stream:
            again = isinstance(body, bytes | None)  # what was streamed is gone
            if not await self._renewed(stream, used) or not again:
                yield stream
                return
        async with self._stream(method, target, body, headers, wait) as stream:
            yield stream

    @contextlib.asynccontextmanager
    async def _stream(
        self, method: str, target: str, body: Body, headers: Headers | None, wait: bool
    ) -> AsyncGenerator[Stream]:
        await self._settle()
        session, headers = self._open(), self._headers(headers)

        def errors() -> contextlib.AbstractContextManager[None]:
            return self._errors(f"{method} {target}")

        upload = None if body is None or isinstance(body, bytes) else _Upload(body)
        seconds = None if wait or upload else self._timeout
        try:
            with errors():
                async with contextlib.AsyncExitStack() as stack:
                    async with asyncio.timeout(seconds) as limit:
                        data = _Content(body, limit, seconds) if isinstance(body, bytes) else upload
                        response = await stack.enter_async_context(
                            await self._asked(
                                lambda: session.request(
                                    method,
                                    self._url(target),
                                    data=data,
                                    headers=headers,
                                    allow_redirects=False,
                                    proxy=self._proxy(),
                                ),
                                again=method == "GET",
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

    async def websocket(self, target: str, *, pong: bool = True) -> WebSocket:
        """A websocket, open. Whoever asked for it closes it. ``pong``: see `WebSocket`."""
        used = self._authorized()
        try:
            return await self._websocket(target, pong)
        except Refused as refused:
            if not await self._renewed(refused.response, used):
                raise
        return await self._websocket(target, pong)

    async def _websocket(self, target: str, pong: bool) -> WebSocket:
        import aiohttp

        await self._settle()
        # A session for the handshake alone: watching for redirects would make every request slower.
        watch = aiohttp.TraceConfig()
        watch.on_request_redirect.append(_redirected)
        session = self._on(self._open().connector, connector_owner=False, trace_configs=[watch])
        with self._errors(f"websocket {target}"):
            try:
                async with session, asyncio.timeout(self._timeout):
                    patience = aiohttp.ClientWSTimeout(ws_close=_CLOSING)  # pyright: ignore[reportCallIssue]
                    socket = await session.ws_connect(
                        self._url(target),
                        autoping=False,
                        headers=self._headers(None),
                        max_msg_size=0,
                        proxy=self._proxy(),
                        timeout=patience,
                    )
            except aiohttp.WSServerHandshakeError as error:
                # The library drops the body, and with it the server's reason: an ordinary request gets it.
                if error.status == 101:
                    raise
                async with self._stream("GET", target, None, None, False) as stream:
                    raise Refused(Response(stream.status, stream.headers, await stream.read())) from None
        return WebSocket(socket, self._errors, pong)

    async def upgrade(
        self, method: str, target: str, protocol: str, *, body: bytes = b"", headers: Headers | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw byte stream, after an HTTP upgrade to ``protocol``. Whoever asked for it closes it.

        Bytes that came right behind the server's answer are in the reader. Raises `Refused` for any answer but 101.
        """
        used = self._authorized()
        try:
            return await self._upgrade(method, target, protocol, body, headers)
        except Refused as refused:
            if not await self._renewed(refused.response, used):
                raise
        return await self._upgrade(method, target, protocol, body, headers)

    async def _upgrade(
        self, method: str, target: str, protocol: str, body: bytes, headers: Headers | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._here()
        await self._settle()
        lines = {"Host": "incus", "Connection": "Upgrade", "Upgrade": protocol, "Content-Length": str(len(body))}
        lines = self._headers({**lines, **(headers or {})})
        with self._errors(f"{method} {target}"):
            async with asyncio.timeout(self._timeout):
                if self.endpoint.socket is not None:
                    reader, writer = await asyncio.open_unix_connection(self.endpoint.socket)
                else:
                    reader, writer = await self._dial(self._context())
                try:
                    answer = await _ask(reader, writer, f"{method} {target}", lines, body)
                    if answer.status != 101:
                        length = int(answer.headers.get("Content-Length", "0"))
                        raise Refused(Response(answer.status, answer.headers, await reader.readexactly(length)))
                    if answer.headers.get("Upgrade", "").lower() != protocol:
                        raise ValueError(f"it upgrades to {answer.headers.get('Upgrade')}, not to {protocol}")
                except BaseException:
                    writer.transport.abort()
                    raise
        return reader, writer

    async def close(self) -> None:
        """Close every connection; the next request opens new ones."""
        session, self._session, self._settled = self._session, None, False
        if session is not None:
            await session.close()

    async def _settle(self) -> None:
        """Choose the first address that answers, where there are several, and take the certificate that it shows, where
        that is what counts.
        """
        if self._pin is None and len(self._endpoints) == 1:
            return
        async with self._settling:
            if self._settled:
                return
            seconds = self._timeout if len(self._endpoints) == 1 else min(self._timeout or _APART, _APART)
            failures: list[IncusError] = []
            for endpoint in self._endpoints:
                self.endpoint = endpoint
                try:
                    with self._errors("connecting", seconds):
                        async with asyncio.timeout(seconds):
                            await self._reach()
                    self._settled = True
                    return
                except (IncusConnectionError, IncusTimeoutError) as error:
                    failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        reasons = "; ".join(str(failure).removeprefix("connecting: ") for failure in failures)
        stranger = any(isinstance(failure, IncusCertificateError) for failure in failures)
        kind = IncusCertificateError if stranger else IncusConnectionError
        raise kind(f"none of the server's addresses can be used: {reasons}", cause=failures[0])

    async def _reach(self) -> None:
        if self.endpoint.socket is not None:
            # Not by connecting: a connection that sends nothing blocks the daemon.
            os.stat(self.endpoint.socket)
        elif self._pin is None:
            _, writer = await self._dial(self._context())
            writer.transport.abort()
        else:
            shown = await self._shown()
            self._tls, self.shown = self._pin(shown), shown

    async def certificate(self) -> bytes:
        """The certificate (DER) that the server shows, whoever it is; it gets nothing but half a handshake."""
        with self._errors("connecting"):
            async with asyncio.timeout(self._timeout):
                return await self._shown()

    async def _shown(self) -> bytes:
        import ssl

        stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
        _, writer = await self._dial(stranger)
        writer.transport.abort()
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return shown

    async def _dial(self, tls: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of its own to an HTTPS server, by way of a proxy where the environment names one."""
        import ssl

        from yarl import URL

        host, port, proxy = self.endpoint.host, self.endpoint.port, self._proxy()
        if proxy is None:
            return await asyncio.open_connection(host, port, ssl=tls, server_hostname=host)
        via = URL(proxy)
        secure = ssl.create_default_context() if via.scheme == "https" else None
        reader, writer = await asyncio.open_connection(via.host, via.port, ssl=secure)
        try:
            there = self.endpoint.url.removeprefix("https://")
            lines = {"Host": there}
            if via.user is not None:
                login = base64.b64encode(f"{via.user}:{via.password or ''}".encode()).decode()
                lines["Proxy-Authorization"] = f"Basic {login}"
            answer = await _ask(reader, writer, f"CONNECT {there}", lines)
            if answer.status != 200:
                raise _ProxyError(f"HTTP {answer.status}")
            await writer.start_tls(tls, server_hostname=host)
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    def _proxy(self) -> str | None:
        """The proxy that the environment names for this server, as the ``incus`` command reads it: never for the
        machine itself.
        """
        if self.endpoint.socket is not None or _LOOPBACK.fullmatch(self.endpoint.host):
            return None
        from urllib.request import getproxies_environment, proxy_bypass

        proxies, host = getproxies_environment(), self.endpoint.host
        proxy = proxies.get("https")
        if not proxy or proxy_bypass(f"{host}:{self.endpoint.port}") or _within(host, proxies.get("no", "")):
            return None
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        if not proxy.startswith(("http://", "https://")):
            raise IncusInputError("the proxy in https_proxy must be http:// or https://, or be excepted by no_proxy")
        return proxy

    def _authorized(self) -> str | None:
        return self._authorization() if self._authorization else None

    async def _renewed(self, answer: Response | Stream, used: str | None) -> bool:
        return answer.status == 401 and self._renew is not None and await self._renew(answer.headers, used)

    def _headers(self, headers: Headers | None) -> dict[str, str]:
        authorization = self._authorized()
        known = {} if authorization is None else {"Authorization": authorization}
        return wire.sendable({**known, **(headers or {})})

    def _here(self) -> None:
        loop = asyncio.get_running_loop()
        if self._session is not None and self._loop is not loop:
            raise IncusError("this client is connected in another event loop; make one client for each loop")
        self._loop = loop

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        self._here()
        if self._session is None:
            connector: aiohttp.BaseConnector
            if self.endpoint.socket is not None:
                connector = aiohttp.UnixConnector(self.endpoint.socket, limit=0, keepalive_timeout=_KEEPALIVE)
            else:
                connector = aiohttp.TCPConnector(ssl=self._context(), limit=0, keepalive_timeout=_KEEPALIVE)
            self._session = self._on(connector)
            self._session._retry_connection = False  # it is `_asked` that knows what may be sent twice
        return self._session

    def _on(self, connector: aiohttp.BaseConnector | None, **options: Any) -> aiohttp.ClientSession:
        import aiohttp

        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "incus-sdk", "Accept-Encoding": "identity"},
            **options,
        )

    async def _asked(self, ask: Callable[[], Awaitable[_T]], again: bool) -> _T:
        """What the library answers. ``again``: ask twice if the server has just closed a connection of the pool.

        Not for what it may have carried out all the same.
        """
        import aiohttp

        try:
            return await ask()
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not again or self._session is None or isinstance(error, aiohttp.ClientConnectorError):
                raise
        return await ask()

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            if self._make_tls is None:
                raise IncusInputError(f"{self.endpoint} needs TLS settings")
            self._tls = self._make_tls()
        return self._tls

    def _url(self, target: str) -> Any:
        from yarl import URL

        return URL(self.endpoint.url + target, encoded=True)

    @contextlib.contextmanager
    def _errors(self, request: str, seconds: float | None = None) -> Any:
        """The errors of the HTTP library and of the system, told as the SDK's own."""
        import http.client
        import ssl

        import aiohttp

        try:
            yield
        except IncusError:
            raise
        except TimeoutError as error:
            raise IncusTimeoutError(
                f"{_shown(request)}: no answer from {self.endpoint} within {seconds or self._timeout} s; the server "
                "may still carry it out"
            ) from _lower(error)
        except (
            *(aiohttp.ClientError, http.client.HTTPException, asyncio.LimitOverrunError, EOFError, OSError, ValueError),
        ) as error:
            cause = _lower(error)
            stranger = isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError)
            kind = IncusCertificateError if stranger else IncusConnectionError
            raise kind(f"{_shown(request)}: {self._told(error, cause)}", cause=cause) from cause

    def _told(self, error: Exception, cause: BaseException | None) -> str:
        """What an error of the HTTP library or of the system means, and what to do about it."""
        import ssl

        import aiohttp

        match error:
            case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
                return (
                    f"{self.endpoint} did not prove who it is, so nothing was sent: {cause}. Give its certificate as "
                    "server_cert=, or the fingerprint that its owner tells you"
                )
            case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError() | _ProxyError():
                reason = f"HTTP {error.status}" if isinstance(error, aiohttp.ClientHttpProxyError) else cause
                return f"the proxy that https_proxy names does not lead to {self.endpoint}: {reason}"
            case aiohttp.ClientSSLError() | ssl.SSLError():
                return f"{self.endpoint} speaks no TLS 1.3: {cause}"
            case aiohttp.ClientConnectorError():
                return self._unreachable(error.os_error)
            case ConnectionRefusedError():
                return self._unreachable(error)
            case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | ConnectionError() | EOFError():
                return f"{self.endpoint} closed the connection before its answer was complete"
            case OSError():
                return self._unreachable(error)
            case aiohttp.ClientResponseError():
                return f"{self.endpoint} is no Incus server: {error.message}"
            case _:
                return f"{self.endpoint} is no Incus server: {error}"

    def _unreachable(self, error: OSError) -> str:
        if self.endpoint.socket is None:
            return (
                f"{self.endpoint} cannot be reached ({error.strerror or error}): is it the right address, and is it up?"
            )
        match error.errno:
            case errno.ENOENT:
                return f"there is no socket {self.endpoint.socket}: is Incus installed and its daemon running?"
            case errno.ECONNREFUSED if not stat.S_ISSOCK(_mode(self.endpoint.socket)):
                return f"{self.endpoint.socket} is no socket: give the path of the daemon's unix.socket"
            case errno.ECONNREFUSED:
                return f"nobody listens on {self.endpoint.socket}: the daemon is not running; start it"
            case errno.EACCES | errno.EPERM:
                group = _group(self.endpoint.socket)
                return f"no permission to use {self.endpoint.socket}: become root or join the group {group}"
            case _:
                return f"{self.endpoint.socket} cannot be used: {error.strerror or error}"


class _Content(io.BytesIO):
    """A request's body: the library sends bytes in one piece, but a file piece by piece. Each puts the limit off."""

    def __init__(self, content: bytes, limit: asyncio.Timeout, seconds: float | None) -> None:
        super().__init__(content)
        self._limit = limit
        self._seconds = seconds

    def read(self, size: int | None = -1, /) -> bytes:
        if self._seconds is not None:
            with contextlib.suppress(RuntimeError):  # the answer is there before all was sent
                self._limit.reschedule(asyncio.get_running_loop().time() + self._seconds)
        return super().read(size)


class _Upload:
    """A request's body, piece by piece. ``failure``: what its source raised, which the library tells as its own."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces = pieces
        self.failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces:
                if not isinstance(piece, bytes | bytearray | memoryview):
                    raise IncusInputError(f"an upload is made of bytes, not of {type(piece).__name__}")
                yield piece
        except Exception as error:
            self.failure = error
            raise


class Refused(IncusError):
    """The server answered a websocket or an upgrade with an ordinary answer; `scope.Scope` reads the reason from it."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"HTTP {response.status}")
        self.response = response


class WebSocket:
    """An open websocket: whole messages in both directions, ``str`` for text and ``bytes`` for binary.

    ``pong``: whether pings are answered, which happens inside `receive`. The daemon insists on it for events alone.
    Where it closes the connection as soon as all is said, as for a short command, an answer would meet a closed
    connection, and that error drops what was not read yet.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, errors: Callable[[str], Any], pong: bool) -> None:
        self._socket = socket
        self._errors = errors
        self._pong = pong

    async def receive(self, idle: float | None = None) -> bytes | str | None:
        """The next message; None once the other side has closed, the connection is gone, or ``idle`` seconds passed
        without anything from the other side, pings included.
        """
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
        """Send one message; waits while the other side does not read. Raises `IncusConnectionError` once it is
        closed.
        """
        with self._errors("websocket"):
            if isinstance(data, str):
                await self._socket.send_str(data)
            else:
                await self._socket.send_bytes(data)

    async def close(self) -> None:
        """Close it; harmless when it is closed already."""
        await self._socket.close()


class _ProxyError(OSError):
    """A proxy that leads nowhere."""


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: str, headers: Headers, body: bytes = b""
) -> Response:
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    writer.write(f"{request} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    await writer.drain()
    return await _read_head(reader)


async def _read_head(reader: asyncio.StreamReader) -> Response:
    import http.client

    first, _, rest = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
    version, _, status = first.decode("latin-1").partition(" ")
    if not version.startswith("HTTP/1."):
        raise http.client.BadStatusLine(version)
    headers: Any = http.client.parse_headers(io.BytesIO(rest))  # reads like a mapping, whatever the case of the name
    return Response(int(status[:3]), headers, b"")


def _within(host: str, networks: str) -> bool:
    """Whether an address is in one of the networks of ``no_proxy``, which also holds names."""
    import ipaddress

    for network in networks.split(","):
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(network.strip(), strict=False):
                return True
    return False


def _group(path: str) -> str:
    """Who may use a socket, besides root: the group that it belongs to, or else the one that packages make."""
    try:
        import grp

        found = os.stat(path).st_gid
        return grp.getgrgid(found).gr_name if found else "incus-admin"
    except (ImportError, OSError, KeyError):
        return "incus-admin"


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return stat.S_IFSOCK  # it has just gone


def _lower(error: BaseException | None) -> BaseException | None:
    """The error of the system below one of the HTTP library, whose text may hold the URL and a secret in its query."""
    while error is not None and type(error).__module__.partition(".")[0] == "aiohttp":
        error = error.__cause__
    return error


async def _redirected(
    session: aiohttp.ClientSession, context: Any, redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    """Ends a websocket's handshake, which the library would carry on elsewhere, with its secret."""
    redirect.response.close()
    raise ValueError(f"it redirects to {redirect.response.headers.get('Location')}")


def _shown(request: str) -> str:
    """A request for messages: of its query, which may hold a secret, only the project."""
    project = wire.parameter(request, "project")
    return request.partition("?")[0] + (f" (project {project})" if project else "")
