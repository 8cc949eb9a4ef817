"""A server as `Client` takes it, from the ``incus`` command's configuration or in place of an endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Remote:
    """A server in the command's configuration; `Client` takes one in place of an endpoint.

    Args:
        name: Its name in the configuration; empty if it has none.
        addresses: Its addresses, in the order in which they are tried.
        project: The project of requests; None is the server's default.
        protocol: ``incus``; or ``simplestreams`` or ``oci``, for servers of images.
        auth_type: ``tls`` or ``oidc``.
        public: Whether it only gives out images, to anybody.
        cert: The client's certificate and key, if they exist.
        server_cert: The server's own certificate, if it is pinned.
        ca: The authority whose servers are trusted (PKI), if there is one.
        tokens: The cache of the tokens of a login by OpenID Connect.
        origin: Where the addresses come from, in words.
    """

    name: str
    addresses: tuple[str, ...]
    project: str | None = None
    protocol: str = "incus"
    auth_type: str = "tls"
    public: bool = False
    cert: tuple[Path, Path] | None = None
    server_cert: Path | None = None
    ca: Path | None = None
    tokens: Path | None = None
    origin: str = field(default="", compare=False)
