"""Certificates of the server's trust store: records and request bodies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypedDict

from .base import Record

CertificateType = Literal["client", "server", "metrics"] | str
"""Whose it is: a client's, a cluster member's, or that of a client that can read nothing but /1.0/metrics."""


class Certificate(Record):
    """A certificate the server trusts."""

    certificate: str
    """PEM."""
    description: str
    fingerprint: str
    """SHA-256 of the DER form, 64 hex digits."""
    name: str
    projects: list[str]
    """The only ones its holder can use, when restricted."""
    restricted: bool
    """Confined to ``projects``, and without access to the server's own configuration."""
    type: CertificateType


class CertificateAddToken(Record):
    """The content of a trust token: how a new client finds the server and proves that it was invited."""

    addresses: list[str]
    """The server's, each host:port."""
    client_name: str
    """The name that the client's certificate gets."""
    expires_at: datetime | None
    """None: never."""
    fingerprint: str
    """SHA-256 of the server's certificate, which the client checks before it trusts the server."""
    secret: str
    """Valid once."""


class CertificatePut(TypedDict, total=False):
    """Replaces a trust store entry."""

    certificate: str
    """PEM; for a new entry also the DER form in base64. A different certificate changes the fingerprint."""
    description: str
    name: str
    projects: Sequence[str]
    """The only ones its holder can use, when restricted."""
    restricted: bool
    type: CertificateType
    """It cannot be changed later."""


class CertificatesPost(CertificatePut, total=False):
    """Adds a certificate to the trust store, or issues a token with which a client adds its own."""

    token: bool
    """Issue a token, for type client and without a certificate: the answer is then an operation."""
    trust_token: str
    """The token of a client that is not trusted yet; the server takes the certificate of the TLS connection."""
