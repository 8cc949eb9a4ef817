"""HTTPS proxies: which one the environment names for a server."""

from __future__ import annotations

import base64
import contextlib
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ..exceptions import IncusInputError
from .endpoint import Endpoint

_LOOPBACK = re.compile(r"localhost|::1|127\.[0-9.]+")


@dataclass(frozen=True)
class Proxy:
    """Where a proxy is, and what logs in to it."""

    secure: bool
    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)


def proxy_for(endpoint: Endpoint) -> Proxy | None:
    """The proxy that ``https_proxy`` and ``no_proxy`` name for a server; like the command's, never for loopback."""
    if endpoint.socket is not None or _LOOPBACK.fullmatch(endpoint.host):
        return None
    from urllib.request import getproxies_environment, proxy_bypass

    proxies = getproxies_environment()
    url = proxies.get("https")
    excluded = proxies.get("no", "")
    if not url or proxy_bypass(f"{endpoint.host}:{endpoint.port}") or in_networks(endpoint.host, excluded):
        return None
    if any(_is_excluded(endpoint, each.strip().lower()) for each in excluded.split(",")):
        return None
    proxy = _parse(url if "://" in url else f"http://{url}")
    if proxy is None:  # raised here, where no other error knows the password
        raise IncusInputError(
            "the proxy in https_proxy must be http:// or https:// and a host, with a quoted password (%2F for /); "
            "no_proxy excludes servers from it"
        )
    return proxy


def _parse(url: str) -> Proxy | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if (
        parts.scheme not in ("http", "https")
        or not host
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        return None
    secure, authorization = parts.scheme == "https", None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(login.encode()).decode()}"
    return Proxy(secure, host, port or (443 if secure else 80), authorization)


def _is_excluded(endpoint: Endpoint, rule: str) -> bool:
    """Whether a rule means a server that the command understands, and Python does not: ``*.a``, ``[::1]:8443``."""
    found = re.fullmatch(r"(?:\*(?P<domain>\..+?)|\[(?P<ip>.+)\])(?::(?P<port>[0-9]+))?", rule)
    if found is None or found["port"] not in (None, str(endpoint.port)):
        return False
    return endpoint.host.endswith(found["domain"]) if found["domain"] else endpoint.host == found["ip"]


def in_networks(host: str, networks: str) -> bool:
    """Whether an address is in one of the networks of ``no_proxy``, which also lists names."""
    import ipaddress

    for network in networks.split(","):
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(network.strip(), strict=False):
                return True
    return False
