"""TLS as Incus does it: a client certificate, and a server that is known by its own certificate."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from ..exceptions import IncusInputError

CertificatePair = tuple[str | os.PathLike[str], str | os.PathLike[str]]
"""Paths of a PEM certificate and of its private key."""


def context(
    cert: CertificatePair | None = None,
    verify: bool = True,
    server_cert: str | os.PathLike[str] | None = None,
) -> ssl.SSLContext:
    """The TLS settings of a client.

    ``server_cert``: the PEM of the one certificate that the server must show, as text or as the path of a file. It is
    pinned: neither its names nor any authority counts, since a server makes it for itself. Without it, the system's
    authorities decide. ``verify=False`` accepts any server. TLS 1.3, or 1.2 where INCUS_INSECURE_TLS is true.

    Raises `IncusInputError` for a file that is missing or no PEM.
    """
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    insecure = os.environ.get("INCUS_INSECURE_TLS", "").lower() in ("true", "1", "yes", "on")
    settings.minimum_version = ssl.TLSVersion.TLSv1_2 if insecure else ssl.TLSVersion.TLSv1_3
    if server_cert is not None:
        settings.check_hostname = False
        # Only this certificate is trusted, and being no authority it vouches for no other. The handshake fails before
        # anything is sent, the client's certificate included.
        settings.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        pem = str(server_cert)
        if "-----BEGIN" not in pem:
            pem = _read(server_cert, "server_cert")
        try:
            settings.load_verify_locations(cadata=pem)
        except (ssl.SSLError, ValueError) as error:
            raise IncusInputError(f"server_cert holds no PEM certificate: {error}") from None
    elif verify:
        settings.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        settings.check_hostname = False
        settings.verify_mode = ssl.CERT_NONE
    if cert is not None:
        certificate, key = cert
        for file in cert:
            _read(file, "cert")
        try:
            # Without a password callback the library would ask on the terminal.
            settings.load_cert_chain(certificate, key, password="")
        except ssl.SSLError as error:
            raise IncusInputError(
                f"cert: {certificate} and {key} are no pair of PEM certificate and unencrypted key: {error}"
            ) from None
    return settings


def _read(file: str | os.PathLike[str], parameter: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, ValueError) as error:  # no text, or no path
        raise IncusInputError(f"{parameter}: {file} cannot be read: {error}") from None
