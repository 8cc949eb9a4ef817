"""HTTPS proxies: which one the environment names for a server, and a connection through it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ..exceptions import IncusInputError
from .endpoint import Endpoint
from .http1 import exchange

if TYPE_CHECKING:
    import ssl

_LOOPBACK = re.compile(r"localhost|::1|127\.[0-9.]+")


class ProxyError(OSError):
    """The proxy did not connect to the server."""


def proxy_for(endpoint: Endpoint) -> str | None:
    """The proxy that ``https_proxy`` and ``no_proxy`` name for a server; like the command's, never for loopback."""
    if endpoint.socket is not None or _LOOPBACK.fullmatch(endpoint.host):
        return None
    from urllib.request import getproxies_environment, proxy_bypass

    proxies = getproxies_environment()
    proxy = proxies.get("https")
    if (
        not proxy
        or proxy_bypass(f"{endpoint.host}:{endpoint.port}")
        or in_networks(endpoint.host, proxies.get("no", ""))
    ):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.startswith(("http://", "https://")) or not urlsplit(proxy).hostname:
        raise IncusInputError("the proxy in https_proxy must be http:// or https://; no_proxy excludes servers from it")
    return proxy


def in_networks(host: str, networks: str) -> bool:
    """Whether an address is in one of the networks of ``no_proxy``, which also lists names."""
    import ipaddress

    for network in networks.split(","):
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(network.strip(), strict=False):
                return True
    return False


async def open_tunnel(
    proxy: str, endpoint: Endpoint, tls: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TLS connection to a server through a proxy."""
    import ssl

    via = urlsplit(proxy)
    secure = ssl.create_default_context() if via.scheme == "https" else None
    port = via.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(via.hostname, port, ssl=secure)
    try:
        headers = {"Host": endpoint.address}
        if via.username is not None:
            login = f"{unquote(via.username)}:{unquote(via.password or '')}"
            headers["Proxy-Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        status, _ = await exchange(reader, writer, f"CONNECT {endpoint.address}", headers)
        if status != 200:
            raise ProxyError(f"HTTP {status}")
        await writer.start_tls(tls, server_hostname=endpoint.host)
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer
