"""The one network seam: request, stream, websocket and raw upgrade, over a unix socket or HTTPS.

The only module that knows the HTTP library, which is loaded at the first connection. What it raises is
`IncusConnectionError` and `IncusTimeoutError`; it hands answers up as they came, whatever their status.

Connections are made when a request needs one, never before: a unix connection that sends nothing blocks every new
client of the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .exceptions import IncusConnectionError, IncusError, IncusInputError, IncusTimeoutError

if TYPE_CHECKING:
    import ssl

    import aiohttp

Body = bytes | AsyncIterable[bytes] | None
Headers = Mapping[str, str]

CHUNK = 256 * 1024
"""Bytes in one piece of a streamed download."""

_KEEPALIVE = 15.0  # seconds; the daemon closes an idle unix connection after 30
_PONG_DELAY = 1.5
# Seconds. The daemon pings as a websocket attaches and may close right after: an answer at once can meet a connection
# that is already closing, and that error drops data not read yet. A late answer meets no short command at all.


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
        try:
            url = urlsplit(endpoint)
            port = url.port or 8443
        except ValueError as error:
            raise IncusInputError(f"{endpoint!r} is no endpoint: {error}") from None
        if url.scheme != "https" or not url.hostname or url.path.strip("/") or url.query or url.username:
            raise IncusInputError(
                f"{endpoint!r} is no endpoint: write https://host:8443 or unix:///path/to/unix.socket"
            )
        return cls(host=url.hostname, port=port)

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
    """

    def __init__(
        self, endpoint: Endpoint, tls: Callable[[], ssl.SSLContext] | None = None, timeout: float | None = 30
    ) -> None:
        self.endpoint = endpoint
        self._make_tls = tls
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

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
        session = self._open()

        def errors() -> contextlib.AbstractContextManager[None]:
            return self._errors(f"{method} {_shown(target)}")

        patient = wait or not (body is None or isinstance(body, bytes))
        with errors():
            async with contextlib.AsyncExitStack() as stack:
                # The library sends bytes in one piece, however many, but a file piece by piece.
                data = io.BytesIO(body) if isinstance(body, bytes) else body
                async with asyncio.timeout(None if patient else self._timeout):
                    response = await stack.enter_async_context(
                        session.request(method, self._url(target), data=data, headers=headers, allow_redirects=False)
                    )
                leave = stack.pop_all()
        failed = True
        try:
            yield Stream(response.status, response.headers, response, errors)
            failed = False
        finally:
            if failed:
                response.close()
            await leave.aclose()

    async def websocket(self, target: str) -> WebSocket:
        """A websocket, open. Whoever asked for it closes it."""
        import aiohttp

        session = self._open()
        with self._errors(f"websocket {_shown(target)}"):
            try:
                async with asyncio.timeout(self._timeout):
                    socket = await session.ws_connect(self._url(target), autoping=False, max_msg_size=0, compress=0)
            except aiohttp.WSServerHandshakeError as error:
                # The library drops the body, and with it the server's reason: an ordinary request gets it.
                if error.status == 101:
                    raise
                answer = await self.request("GET", target)
                raise Refused(answer) from None
        return WebSocket(socket, self._errors)

    async def upgrade(
        self, method: str, target: str, protocol: str, *, body: bytes = b"", headers: Headers | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw byte stream, after an HTTP upgrade to ``protocol``. Whoever asked for it closes it.

        Bytes that came right behind the server's answer are in the reader. Raises `Refused` for any answer but 101.
        """
        self._here()
        lines = {"Host": "incus", "Connection": "Upgrade", "Upgrade": protocol, "Content-Length": str(len(body))}
        head = "".join(f"{key}: {value}\r\n" for key, value in {**lines, **(headers or {})}.items())
        with self._errors(f"{method} {_shown(target)}"):
            async with asyncio.timeout(self._timeout):
                if self.endpoint.socket is not None:
                    reader, writer = await asyncio.open_unix_connection(self.endpoint.socket)
                else:
                    reader, writer = await asyncio.open_connection(
                        self.endpoint.host, self.endpoint.port, ssl=self._context(), server_hostname=self.endpoint.host
                    )
                try:
                    writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
                    await writer.drain()
                    answer = await _read_head(reader)
                    if answer.status != 101:
                        length = int(answer.headers.get("Content-Length", "0"))
                        raise Refused(Response(answer.status, answer.headers, await reader.readexactly(length)))
                except BaseException:
                    writer.transport.abort()
                    raise
        return reader, writer

    async def close(self) -> None:
        """Close every connection; the next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

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
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": "incus-sdk"},
            )
        return self._session

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
    def _errors(self, request: str) -> Any:
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
                f"{request}: no answer from {self.endpoint} within {self._timeout} s; the server may still carry it out"
            ) from error
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
            raise IncusConnectionError(
                f"{self.endpoint} did not prove who it is, so nothing was sent: {_reason(error)}. Give its certificate "
                "as server_cert=, after checking its fingerprint",
                cause=error,
            ) from error
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise IncusConnectionError(f"{self.endpoint} speaks no TLS 1.3: {_reason(error)}", cause=error) from error
        except aiohttp.ClientConnectorError as error:
            raise IncusConnectionError(self._unreachable(error.os_error), cause=error.os_error) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionError, EOFError) as error:
            raise IncusConnectionError(
                f"{request}: {self.endpoint} closed the connection before its answer was complete", cause=error
            ) from error
        except OSError as error:
            raise IncusConnectionError(self._unreachable(error), cause=error) from error
        except (aiohttp.ClientError, http.client.HTTPException, ValueError) as error:
            raise IncusConnectionError(
                f"{request}: {self.endpoint} is no Incus server: {_reason(error)}", cause=error
            ) from error

    def _unreachable(self, error: OSError) -> str:
        if self.endpoint.socket is None:
            return (
                f"{self.endpoint} cannot be reached ({error.strerror or error}): is it the right address, and is it up?"
            )
        match error.errno:
            case errno.ENOENT:
                return f"there is no socket {self.endpoint.socket}: is Incus installed and its daemon running?"
            case errno.ECONNREFUSED:
                return f"nobody listens on {self.endpoint.socket}: the daemon is not running; start it"
            case errno.EACCES | errno.EPERM:
                return f"no permission to use {self.endpoint.socket}: become root or join the group incus-admin"
            case _:
                return f"{self.endpoint.socket} cannot be used: {error.strerror or error}"


class Refused(IncusError):
    """The server answered a websocket or an upgrade with an ordinary answer; `scope.Scope` reads the reason from it."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"HTTP {response.status}")
        self.response = response


class WebSocket:
    """An open websocket: whole messages in both directions, ``str`` for text and ``bytes`` for binary.

    Pings are answered late and only inside `receive`, so keep receiving.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, errors: Callable[[str], Any]) -> None:
        self._socket = socket
        self._errors = errors
        self._pings: list[tuple[float, bytes]] = []

    async def receive(self, idle: float | None = None) -> bytes | str | None:
        """The next message; None once the other side has closed, the connection is gone, or ``idle`` seconds passed
        without anything from the other side, pings included.
        """
        import aiohttp

        clock = asyncio.get_running_loop().time
        dead = None if idle is None else clock() + idle
        while True:
            due = self._pings[0][0] if self._pings else None
            try:
                async with asyncio.timeout_at(min(filter(None, (due, dead)), default=None)):
                    message = await self._socket.receive()
            except TimeoutError:
                if due is None or (dead is not None and dead < due):
                    return None
                _, payload = self._pings.pop(0)
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                    await self._socket.pong(payload)
                continue
            match message.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    data: bytes | str = message.data
                    return data
                case aiohttp.WSMsgType.PING:
                    self._pings.append((clock() + _PONG_DELAY, message.data))
                case aiohttp.WSMsgType.PONG:
                    pass
                case _:
                    return None
            dead = None if idle is None else clock() + idle

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


async def _read_head(reader: asyncio.StreamReader) -> Response:
    import http.client

    first, _, rest = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
    version, _, status = first.decode("latin-1").partition(" ")
    if not version.startswith("HTTP/1."):
        raise http.client.BadStatusLine(version)
    headers: Any = http.client.parse_headers(io.BytesIO(rest))  # reads like a mapping, whatever the case of the name
    return Response(int(status[:3]), headers, b"")


def _reason(error: BaseException) -> str:
    return str(error.__cause__ or error) or type(error).__name__


def _shown(target: str) -> str:
    """A target for messages: without its query, which may hold a secret."""
    return target.partition("?")[0]
