"""From what a user gives, or the configuration of the ``incus`` command has, to a transport."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..exceptions import IncusInputError
from . import wire
from .config import Remote
from .endpoint import Endpoint
from .transport import Transport

if TYPE_CHECKING:
    import ssl

FINGERPRINT = "[0-9a-fA-F]{64}"


def make_transport(
    remote: Remote,
    cert: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
    verify: bool = True,
    timeout: float | None = 30,
    *,
    server_cert: str | os.PathLike[str] | None = None,
    ca: str | os.PathLike[str] | None = None,
    password: str | None = None,
    token: str | Callable[[], str] | None = None,
    login: Callable[[str, str], object] | None = None,
) -> Transport:
    """A transport to a remote; the parameters are those of `Client`, and override what the remote has."""
    endpoint, *others = map(Endpoint.parse, remote.addresses)
    local, by_oidc = endpoint.socket is not None, False
    _check_certificates(cert, server_cert, ca, local)
    _check_logins(token, login)
    if not local:
        server_cert = remote.server_cert if server_cert is None else server_cert
        ca = remote.ca if ca is None else ca
        by_oidc = (remote.auth_type == "oidc" and token is None) or login is not None
        cert = remote.cert if cert is None and not by_oidc else cert
        needs_cert = remote.name and not remote.public and not by_oidc  # a public one gives its images to anybody
        if needs_cert and cert is None and token is None:
            raise IncusInputError(
                f"the remote {remote.name} needs a client certificate, and there is none: Client.join makes one"
            )

    def tls(pinned: str | os.PathLike[str] | None = server_cert) -> ssl.SSLContext:
        from .tls import context

        return context(cert, verify, pinned, ca, password)

    def pin(certificate: bytes) -> ssl.SSLContext:
        from .tls import check_fingerprint

        return tls(check_fingerprint(certificate, str(server_cert)))

    def bearer() -> str | None:
        if token is None:
            return None
        text = token() if callable(token) else token
        if not isinstance(text, str) or not text:
            raise IncusInputError(f"token must return a bearer token as a str, not {type(text).__name__}")
        return f"Bearer {text}"

    by_fingerprint = isinstance(server_cert, str) and re.fullmatch(FINGERPRINT, server_cert.replace(":", ""))
    authorization, renew = bearer, None
    if by_oidc:
        from .oidc import OIDC

        oidc = OIDC(remote.tokens, login)
        authorization, renew = oidc.authorization, oidc.renew
    return Transport(
        endpoint,
        tls,
        timeout,
        others=others,
        pin=pin if by_fingerprint else None,
        authorization=authorization,
        renew=renew,
    )


def _check_certificates(cert: object, server_cert: object, ca: object, local: bool) -> None:
    if local and (cert is not None or server_cert is not None):
        raise IncusInputError("cert and server_cert are for https:// endpoints; a unix socket needs neither")
    if cert is not None:
        wire.require_pair(cert)
    if server_cert is not None and not (server_cert and isinstance(server_cert, str | os.PathLike)):
        raise IncusInputError("server_cert must be a certificate in PEM, its path, or its fingerprint")
    if ca is not None and not (ca and isinstance(ca, str | os.PathLike)):
        raise IncusInputError("ca must be a certificate in PEM, or its path")


def _check_logins(token: object, login: object) -> None:
    if inspect.iscoroutinefunction(token):
        raise IncusInputError("token must be a plain function: it is called for each request, and not awaited")
    if token is not None and (not token or not (isinstance(token, str) or callable(token))):
        raise IncusInputError("token must be a bearer token as a str, or a function that returns one")
    if login is not None and not callable(login):
        raise IncusInputError("login must be a function that takes a URL and a code")
