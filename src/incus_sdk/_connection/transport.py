"""The one network seam: requests, streams, websockets and raw upgrades, over a unix socket or HTTPS.

Raises `IncusConnectionError` and `IncusTimeoutError`; hands answers up as they came, whatever their status. What parses
them is loaded at the first connection.

Connections are made when a request needs one, never before: a unix connection that sends nothing blocks every new
client of the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from ..exceptions import IncusClosedError, IncusConnectionError, IncusError, IncusInputError, IncusTimeoutError
from . import limits, wire
from .answers import Headers as Headers
from .answers import Response as Response
from .answers import Stream as Stream
from .answers import UpgradeRefused as UpgradeRefused
from .endpoint import Endpoint as Endpoint
from .errors import Closed, Explaining, combine
from .limits import CHUNK as CHUNK
from .tracing import RETRIES, Tracing
from .websocket import WebSocket as WebSocket

if TYPE_CHECKING:
    import ssl

    from .exchange import Exchange
    from .pool import Pool

Body = bytes | AsyncIterable[bytes] | None

_TURNS = 3  # of the event loop: what is begun in a task can begin its request in another


class Transport:
    """Pooled connections to one server, in one event loop at a time.

    Args:
        endpoint: The server's address.
        tls: Makes the TLS settings; for HTTPS.
        timeout: Seconds to connect, and for which an ordinary answer may stall; None for no limit.
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
        self._endpoints = (endpoint, *others)
        self._make_tls = tls
        self._pin = pin
        self._authorization = authorization
        self._renew = renew
        self.timeout = wire.seconds(timeout, "timeout")
        self.tracing = Tracing()
        self._tls: ssl.SSLContext | None = None
        self._pool: Pool | None = None
        self._closing = False  # what was begun before, and has not had its turn yet, opens nothing

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "what belongs to a client cannot be pickled or copied: send names, records and errors, and make a client "
            "where they are used"
        )

    def __copy__(self) -> Transport:
        # The SDK's own copies share the connections.
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    @property
    def is_open(self) -> bool:
        """Whether it was used since it was made or closed; what only cleans up does not open it again."""
        return self._pool is not None

    @property
    def is_connected(self) -> bool:
        """Whether a connection is open."""
        return self._pool is not None and self._pool.is_connected

    @property
    def attaching(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Waits for its turn to open the websockets of a command."""
        return self._take_turn_to_attach()

    async def request(
        self, method: str, target: str, *, body: Body = None, headers: Headers | None = None, wait: bool | float = False
    ) -> Response:
        """Send a request and read its whole answer.

        With ``wait`` True there is no limit to the time; a number is the seconds that the server may wait with it.
        """
        pool, used = self._open_pool(), self._current_authorization()
        response = await self._request(pool, method, target, body, headers, wait)
        # What was streamed is gone.
        if await self._log_in_again(response, used) and isinstance(body, bytes | None):
            response = await self._request(pool, method, target, body, headers, wait)
        return response

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, target: str, *, body: Body = None, headers: Headers | None = None, wait: bool = False
    ) -> AsyncGenerator[Stream]:
        """Send a request and read its answer piece by piece; ``wait`` and a streamed upload set no time limit."""
        pool, used = self._open_pool(), self._current_authorization()
        async with self._stream(pool, method, target, body, headers, wait) as stream:
            if not await self._log_in_again(stream, used) or not isinstance(body, bytes | None):
                yield stream
                return
        async with self._stream(pool, method, target, body, headers, wait) as stream:
            yield stream

    async def websocket(self, target: str, *, pong: bool = True) -> WebSocket:
        """Open a websocket, which the caller closes; ``pong``: see `WebSocket`."""
        pool, used = self._open_pool(), self._current_authorization()
        try:
            return await self._websocket(pool, target, pong)
        except UpgradeRefused as refused:
            if not await self._log_in_again(refused.response, used):
                raise
        return await self._websocket(pool, target, pong)

    async def upgrade(
        self, method: str, target: str, protocol: str, *, body: bytes = b"", headers: Headers | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a raw byte stream by an HTTP upgrade, which the caller closes.

        The reader also has the bytes that followed the server's answer at once. Raises `UpgradeRefused` for any answer
        but 101.
        """
        pool, used = self._open_pool(), self._current_authorization()
        try:
            return await self._upgrade(pool, method, target, protocol, body, headers)
        except UpgradeRefused as refused:
            if not await self._log_in_again(refused.response, used):
                raise
        return await self._upgrade(pool, method, target, protocol, body, headers)

    async def certificate(self) -> bytes:
        """The certificate (DER) that the server shows, whoever it is; sends nothing but half a handshake."""
        with self._explaining("connecting"):
            return await self._peer_certificate(self._open_pool(), self.timeout)

    async def pause(self, seconds: float) -> None:
        """Sleep before something is tried again; raises `IncusClosedError` as soon as the client is closed."""
        with self._explaining("trying again"):
            if self._pool is None:
                raise Closed
            await self._open_pool().pause(seconds)

    async def close(self) -> None:
        """End everything under way with `IncusClosedError`; the next request opens new connections."""
        if self._pool is not None and not self._pool.loop.is_closed():
            self._open_pool().close()
        self._pool, self._closing = None, True
        try:
            for _ in range(_TURNS):  # in which the event loop closes the sockets
                await asyncio.sleep(0)
        finally:
            self._closing = False

    async def _request(
        self, pool: Pool, method: str, target: str, body: Body, headers: Headers | None, wait: bool | float
    ) -> Response:
        ordinary = not wait and isinstance(body, bytes | None)
        seconds = None if wait is True or not isinstance(body, bytes | None) else self.timeout
        exchange = await self._exchange(pool, method, target, body, headers, seconds and seconds + wait)
        trace = self.tracing.begin(method, target, self.endpoint, body)
        with trace, self._explaining(f"{method} {target}"):
            async with pool.turns if ordinary else contextlib.nullcontext(), exchange as connection:
                trace.answered(connection)
                return Response(connection.status, connection.headers, await connection.read())

    @contextlib.asynccontextmanager
    async def _stream(
        self, pool: Pool, method: str, target: str, body: Body, headers: Headers | None, wait: bool
    ) -> AsyncGenerator[Stream]:
        seconds = self.timeout if not wait and isinstance(body, bytes | None) else None
        exchange = await self._exchange(pool, method, target, body, headers, seconds)
        explaining = self._explaining(f"{method} {target}")
        async with contextlib.AsyncExitStack() as stack:
            trace = stack.enter_context(self.tracing.begin(method, target, self.endpoint, body))
            with explaining:
                connection = await stack.enter_async_context(exchange)
            trace.answered(connection)
            connection.seconds = None  # from here on, it takes as long as the caller reads
            yield Stream(connection.status, connection.headers, connection, explaining)

    async def _exchange(
        self, pool: Pool, method: str, target: str, body: Body, headers: Headers | None, seconds: float | None
    ) -> Exchange:
        from .exchange import Exchange

        sent = self._with_authorization(headers)
        if not pool.address_known:
            await self._choose_address(pool)
        return Exchange(pool, method, target, sent, body, seconds)

    async def _websocket(self, pool: Pool, target: str, pong: bool) -> WebSocket:
        from .switching import open_websocket

        headers = self._with_authorization(None)
        if not pool.address_known:
            await self._choose_address(pool)
        trace = self.tracing.begin("GET", target, self.endpoint, protocol="websocket")
        with trace, self._explaining(f"websocket {target}"):
            return await open_websocket(pool, target, headers, self.timeout, self._explaining, pong, trace)

    async def _upgrade(
        self, pool: Pool, method: str, target: str, protocol: str, body: bytes, headers: Headers | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        from .switching import open_stream

        sent = self._with_authorization(headers)
        if not pool.address_known:
            await self._choose_address(pool)
        trace = self.tracing.begin(method, target, self.endpoint, body, protocol)
        with trace, self._explaining(f"{method} {target}"):
            return await open_stream(pool, method, target, protocol, sent, body, self.timeout, trace)

    async def _choose_address(self, pool: Pool) -> None:
        """Take the first of several addresses that answers, and the server's certificate where it is to be pinned."""
        async with pool.address_lock:
            if not pool.address_known:
                await self._try_addresses(pool)
                pool.address_known = True

    async def _try_addresses(self, pool: Pool) -> None:
        seconds, failures = self.timeout, list[IncusError]()
        if len(self._endpoints) > 1:
            seconds = min(seconds or limits.ADDRESS_SECONDS, limits.ADDRESS_SECONDS)
        for endpoint in self._endpoints:
            self.endpoint = pool.endpoint = endpoint
            try:
                with self._explaining("connecting", seconds):
                    await self._probe(pool, seconds)
                return
            except IncusClosedError:
                raise
            except (IncusConnectionError, IncusTimeoutError) as error:
                failures.append(error)
                RETRIES.info("%s does not answer (%s)", endpoint, type(error).__name__)
        raise combine(failures)

    async def _probe(self, pool: Pool, seconds: float | None) -> None:
        """Raise unless the address can be used; pin the server's certificate where that is wanted."""
        if pool.endpoint.socket is not None:
            # Not by connecting: a connection that sends nothing blocks the daemon.
            os.stat(pool.endpoint.socket)
        elif self._pin is None:
            pool.give_back(await pool.connect(seconds))
        else:
            certificate = await self._peer_certificate(pool, seconds)
            self._tls, self.pinned_certificate = self._pin(certificate), certificate

    async def _peer_certificate(self, pool: Pool, seconds: float | None) -> bytes:
        import ssl

        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        connection = await pool.connect(seconds, unverified)
        certificate: bytes = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        connection.end(Closed())
        return certificate

    def _current_authorization(self) -> str | None:
        return self._authorization() if self._authorization else None

    async def _log_in_again(self, answer: Response | Stream, used: str | None) -> bool:
        """Log in after a 401, where that is possible; whether to ask again."""
        return answer.status == 401 and self._renew is not None and await self._renew(answer.headers, used)

    def _with_authorization(self, headers: Headers | None) -> dict[str, str]:
        authorization = self._current_authorization()
        if authorization is None and not headers:
            return {}
        known = {} if authorization is None else {"Authorization": authorization}
        return wire.require_sendable({**known, **(headers or {})})

    @contextlib.asynccontextmanager
    async def _take_turn_to_attach(self) -> AsyncGenerator[None]:
        async with contextlib.AsyncExitStack() as stack:
            with self._explaining("opening the websockets of a command"):
                await stack.enter_async_context(self._open_pool().attaching)
            yield

    def _open_pool(self) -> Pool:
        """The connections of the running event loop."""
        loop, pool = asyncio.get_running_loop(), self._pool
        if self._closing:
            raise IncusClosedError("the client was closed")
        if pool is None or pool.loop.is_closed():
            from .pool import Pool

            pool = self._pool = Pool(self.endpoint, self._tls_context, self.timeout)
            pool.address_known = self._pin is None and len(self._endpoints) == 1
        elif pool.loop is not loop:
            raise IncusError("this client is connected in another event loop; make one client for each loop")
        return pool

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            if self._make_tls is None:
                raise IncusInputError(f"{self.endpoint} needs TLS settings")
            self._tls = self._make_tls()
        return self._tls

    def _explaining(self, request: str, seconds: float | None = None) -> Explaining:
        return Explaining(request, self.endpoint, seconds or self.timeout)
