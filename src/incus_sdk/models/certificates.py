"""Certificates of the server's trust store: records and request bodies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from .base import Record


class Certificate(Record):
    """A certificate the server trusts."""

    certificate: str
    """PEM."""
    description: str
    fingerprint: str
    """SHA-256 of the DER form, 64 hex digits."""
    name: str
    projects: list[str]
    """The only ones its holder may use, when restricted."""
    restricted: bool
    """Confined to ``projects``, and without access to the server's own configuration."""
    type: str
    """client, server (a cluster member's) or metrics (may read /1.0/metrics only)."""


class CertificateAddToken(Record):
    """What a trust token says once decoded: how a new client finds this server and proves that it was invited."""

    addresses: list[str]
    """Of the server, each host:port."""
    client_name: str
    """Name the client's certificate will get."""
    expires_at: datetime | None
    """None: never."""
    fingerprint: str
    """Of the server's certificate, for the client to check before it trusts the server."""
    secret: str
    """Valid once."""


class CertificatePut(TypedDict, total=False):
    """Replaces a trust store entry."""

    certificate: str
    """PEM; to add a certificate also the DER in base64. Another one in place of the present changes the fingerprint."""
    description: str
    name: str
    projects: Sequence[str]
    """The only ones its holder may use, when restricted."""
    restricted: bool
    type: str
    """client, server or metrics; fixed once the certificate is there."""


class CertificatesPost(CertificatePut, total=False):
    """Adds a certificate to the trust store, or issues a token with which a client adds its own."""

    token: bool
    """Issue a token, for type client and without a certificate: the answer is then an operation."""
    trust_token: str
    """The token of a client that is not trusted yet; the server takes the certificate of the TLS connection."""
