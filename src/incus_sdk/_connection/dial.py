"""The way to a server: from what a user says, or the configuration of the ``incus`` command, to connections."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from ..exceptions import IncusInputError
from .config import Remote
from .transport import Endpoint, Transport

_FINGERPRINT = re.compile(r"[0-9a-fA-F]{64}")


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
    """Connections to a remote, none of them open yet; parameters as of `Client`, before what the remote has."""
    parsed, *others = map(Endpoint.parse, remote.addresses)
    local, by_oidc = parsed.socket is not None, False
    if local and (cert is not None or server_cert is not None):
        raise IncusInputError("cert and server_cert are for https:// endpoints; a unix socket needs neither")
    if cert is not None and not (
        isinstance(cert, tuple | list) and len(cert) == 2 and all(isinstance(file, str | os.PathLike) for file in cert)
    ):
        raise IncusInputError("cert must be a pair of paths: the certificate's and the key's")
    if server_cert is not None and not isinstance(server_cert, str | os.PathLike):
        raise IncusInputError("server_cert must be a certificate in PEM, or the path of one")
    if not local:
        server_cert = remote.server_cert if server_cert is None else server_cert
        ca = remote.ca if ca is None else ca
        by_oidc = remote.auth_type == "oidc" or login is not None
        cert = remote.cert if cert is None and not by_oidc else cert
        if remote.name and cert is None and token is None and not by_oidc:
            raise IncusInputError(
                f"the remote {remote.name} needs a client certificate, and there is none: Client.join makes one"
            )

    def tls(pinned: str | os.PathLike[str] | None = server_cert) -> Any:
        from .tls import context

        return context(cert, verify, pinned, ca, password)

    def pin(shown: bytes) -> Any:
        from .tls import pinned

        return tls(pinned(shown, str(server_cert)))

    def bearer() -> str | None:
        return None if token is None else f"Bearer {token() if callable(token) else token}"

    by_fingerprint = isinstance(server_cert, str) and _FINGERPRINT.fullmatch(server_cert)
    authorization, renew = bearer, None
    if by_oidc:
        from .oidc import OIDC

        oidc = OIDC(remote.tokens, login)
        authorization, renew = oidc.authorization, oidc.renew
    return Transport(
        parsed,
        tls,
        timeout,
        others=others,
        pin=pin if by_fingerprint else None,
        authorization=authorization,
        renew=renew,
    )
