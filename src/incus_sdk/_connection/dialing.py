"""Opening connections: to a unix socket, by TLS, and through a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import limits
from .connection import Connection
from .endpoint import Endpoint
from .errors import Foreign, Lost, Oversized, ProxyError
from .heads import encode_head
from .link import Link

if TYPE_CHECKING:
    import ssl

    from .proxies import Proxy

_HAPPY_EYEBALLS = 0.25  # seconds that the first of the addresses of a name gets alone
_ADDRESS = r"[0-9.]+|.*:.*"
_KEEPALIVE = (
    ("TCP_KEEPIDLE", limits.KEEPALIVE_SECONDS),
    ("TCP_KEEPALIVE", limits.KEEPALIVE_SECONDS),  # the same on macOS
    ("TCP_KEEPINTVL", limits.KEEPALIVE_SECONDS),
    ("TCP_KEEPCNT", limits.KEEPALIVE_QUESTIONS),
    ("TCP_USER_TIMEOUT", 1000 * limits.KEEPALIVE_SECONDS * (1 + limits.KEEPALIVE_QUESTIONS)),
)


async def dial(endpoint: Endpoint, tls: Callable[[], ssl.SSLContext], link: Link) -> None:
    """Connect a protocol to a server; ``tls`` makes its settings, for HTTPS."""
    loop = asyncio.get_running_loop()
    if endpoint.socket is not None:
        own = await _connect_unix(endpoint.socket)
        await loop.create_unix_connection(lambda: link, sock=own)
        return
    from .proxies import proxy_for

    if (proxy := proxy_for(endpoint)) is not None:
        await _connect_through(proxy, endpoint, tls(), link)
    else:
        await _connect(endpoint.host, endpoint.port, tls(), link)


async def _connect_unix(path: str) -> socket.socket:
    """A connected socket. While the server's queue is full, nothing was sent: it waits and tries again."""
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(errno.EAFNOSUPPORT, "this system has no unix sockets; give the URL of a server, or a remote")
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        own.setblocking(False)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.SEND_BUFFER)
        while True:
            try:
                own.connect(path)
            except BlockingIOError:
                await asyncio.sleep(limits.QUEUE_SECONDS)
            else:
                return own
    except BaseException:
        own.close()
        raise


async def _connect(host: str, port: int, tls: ssl.SSLContext | None, link: Link) -> None:
    loop = asyncio.get_running_loop()
    race: dict[str, Any] = {}
    # asyncio's race between addresses can lose a socket when it is cancelled, so only names get one. uvloop has none.
    if isinstance(loop, asyncio.BaseEventLoop) and not re.fullmatch(_ADDRESS, host):
        race["happy_eyeballs_delay"] = _HAPPY_EYEBALLS
    name = _name(host) if tls else None
    await loop.create_connection(lambda: link, host, port, ssl=tls, server_hostname=name, **race)
    own = link.transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it is gone already
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            if hasattr(socket, option):  # what the system has of them
                own.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def _connect_through(proxy: Proxy, endpoint: Endpoint, tls: ssl.SSLContext, link: Link) -> None:
    tunnel = Connection(link.buffer, lambda _: None)
    failure = await _open_tunnel(proxy, endpoint, tunnel)
    if failure is not None:  # raised here, where no other error knows the password
        raise ProxyError(failure)
    loop = asyncio.get_running_loop()
    try:
        transport = await loop.start_tls(tunnel.transport, link, tls, server_hostname=_name(endpoint.host))
    except BaseException:
        tunnel.transport.abort()
        raise
    assert transport is not None
    link.connection_made(transport)


async def _open_tunnel(proxy: Proxy, endpoint: Endpoint, tunnel: Connection) -> str | None:
    """Have a proxy connect to a server; returns why it did not."""
    import ssl

    secure = ssl.create_default_context() if proxy.secure else None
    try:
        await _connect(proxy.host, proxy.port, secure, tunnel)
    except (OSError, ValueError) as error:
        return str(error)
    try:
        headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
        target = endpoint.address
        tunnel.begin(encode_head("CONNECT", target, endpoint, headers, {}), "CONNECT", None)
        await tunnel.head()
    except (Lost, Foreign, Oversized) as error:
        tunnel.end(error)
        return str(error)
    except BaseException:
        tunnel.transport.abort()
        raise
    if tunnel.status == 200:
        return None
    tunnel.transport.abort()
    return f"HTTP {tunnel.status}"


def _name(host: str) -> str:
    """The name that a certificate is for: without the interface of an address."""
    return host.partition("%")[0]
