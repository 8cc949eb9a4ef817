"""TLS in the way of Incus: a client certificate, and a server that is known by its own certificate."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import secrets
import ssl
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ..exceptions import IncusInputError
from . import wire
from .handshake import NotPinned, Secured, Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

CertificatePair = tuple[str | os.PathLike[str], str | os.PathLike[str]]
"""Paths of a PEM certificate and of its private key."""


def context(
    cert: CertificatePair | None = None,
    verify: bool = True,
    server_cert: str | os.PathLike[str] | None = None,
    ca: str | os.PathLike[str] | None = None,
    password: str | None = None,
) -> ssl.SSLContext:
    """The TLS settings of a client: TLS 1.3, or 1.2 where INCUS_INSECURE_TLS is true.

    ``server_cert`` (PEM, text or path) is pinned: it alone is accepted, whatever its names and its authority, since
    servers make it for themselves. Without it the system's authorities decide, or ``ca`` (PEM, text or path) alone;
    ``verify=False`` accepts any server where neither is given. Raises `IncusInputError` for unusable files.
    """
    if not isinstance(password, str | None):
        raise IncusInputError("password must be a str")
    settings = Settings(ssl.PROTOCOL_TLS_CLIENT)
    settings.sslobject_class = Secured
    insecure = os.environ.get("INCUS_INSECURE_TLS", "").lower() in ("true", "1", "yes", "on")
    settings.minimum_version = ssl.TLSVersion.TLSv1_2 if insecure else ssl.TLSVersion.TLSv1_3
    if server_cert is not None:
        settings.check_hostname = False
        settings.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        # The first of several: what follows are its authorities. It is trusted, so that its dates count, and compared.
        if (first := _CERTIFICATE.search(_read_pem(server_cert, "server_cert"))) is None:
            raise IncusInputError("server_cert is not a PEM certificate")
        _trust(settings, first[0], "server_cert")
        settings.pinned = ssl.PEM_cert_to_DER_cert(first[0])
    elif ca is not None:
        _trust(settings, _read_pem(ca, "ca"), "ca")
    elif verify:
        settings.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        settings.check_hostname = False
        settings.verify_mode = ssl.CERT_NONE
    if cert is not None:
        certificate, key = cert
        _read(certificate, "cert")
        secret = _read(key, "cert")
        try:
            if "-----BEGIN OPENSSH" in secret:
                _load_openssh(settings, certificate, key, password)
            else:
                # Without a password the library would ask on the terminal.
                settings.load_cert_chain(certificate, key, password=password or "")
        except IncusInputError:
            raise
        except ssl.SSLError as error:
            kind = "key that this password opens" if password else "unencrypted key (password= opens an encrypted one)"
            raise IncusInputError(
                f"cert: {certificate} and {key} are not a PEM certificate and its {kind}: {error}"
            ) from None
        except ValueError:  # whose words can hold a part of it
            raise IncusInputError("password must be a text of at most 1024 bytes") from None
    return settings


def _read_pem(given: str | os.PathLike[str], parameter: str) -> str:
    return str(given) if "-----BEGIN" in str(given) else _read(given, parameter)


def _trust(settings: ssl.SSLContext, pem: str, parameter: str) -> None:
    certificates = _CERTIFICATE.findall(pem)  # what is between them can be in any script
    try:
        settings.load_verify_locations(cadata="\n".join(certificates) or pem)
    except (ssl.SSLError, TypeError, ValueError) as error:  # a text that is not ASCII
        raise IncusInputError(f"{parameter} is not a PEM certificate: {error}") from None


def _load_openssh(
    settings: ssl.SSLContext, certificate: str | os.PathLike[str], key: str | os.PathLike[str], password: str | None
) -> None:
    # The library does not read OpenSSH's format, and reads only files: it gets one that only this call can open.
    from cryptography.hazmat.primitives import serialization

    once = secrets.token_hex()
    with tempfile.NamedTemporaryFile() as file:
        file.write(
            _read_private_key(Path(key), password).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(once.encode()),
            )
        )
        file.flush()
        settings.load_cert_chain(certificate, file.name, password=once)


def _read_private_key(file: Path, password: str | None) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    pem = _read(file, "cert").encode()
    load = serialization.load_ssh_private_key if b"OPENSSH" in pem else serialization.load_pem_private_key
    try:
        key = load(pem, password.encode() if password else None)
    except UnsupportedAlgorithm as error:
        raise IncusInputError(f"cert: {file} cannot be read: {error}") from None
    except (ValueError, TypeError) as error:
        raise IncusInputError(f"cert: {file} is not a key, or password= does not open it: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise IncusInputError(f"cert: {file} must be an EC or RSA key")
    return key


def make_pair(name: str, key_pem: str | None = None) -> tuple[str, str]:
    """Make a certificate and its key (PEM) like the ``incus`` command: EC P-384, self-signed, for ten years.

    ``key_pem`` is a key for which there is no certificate yet; raises `ValueError` if it is not of that kind.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    if key_pem is None:
        key = ec.generate_private_key(ec.SECP384R1())
    else:
        try:
            known = serialization.load_pem_private_key(key_pem.encode(), None)
        except TypeError:
            raise ValueError("the key is encrypted") from None
        if not isinstance(known, ec.EllipticCurvePrivateKey):
            raise ValueError("the key is of another kind")
        key = known
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Linux Containers"),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),
        ]
    )
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            *("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"),
            *("encipher_only", "decipher_only"),
        ),
        False,
    )
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.KeyUsage(digital_signature=True, key_encipherment=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA384())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return certificate.public_bytes(pem).decode(), secret.decode()


def client_token(cert: CertificatePair, lifetime: float = 3600, password: str | None = None) -> str:
    """Make a bearer token that stands for a client's certificate, like ``incus remote get-client-token``.

    It is for ``Client(token=...)``, where TLS with the certificate is impossible, or its key must not be given away.

    Args:
        cert: The paths of the client's certificate and of its key (PEM).
        lifetime: Seconds until it expires.
        password: Opens an encrypted key.

    Raises:
        IncusInputError: The files are not such a pair, its key is neither RSA nor on the curve P-384, or ``lifetime``
            is no number of seconds.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    wire.require_pair(cert)
    if (seconds := wire.seconds(lifetime, "lifetime")) is None or math.isinf(seconds):
        raise IncusInputError(f"lifetime must be a number of seconds, not {lifetime!r}")
    context(cert, password=password)  # raises unless it is a pair
    key, now = _read_private_key(Path(cert[1]), password), int(time.time())
    elliptic = isinstance(key, ec.EllipticCurvePrivateKey)
    if elliptic and key.key_size != 384:
        raise IncusInputError(f"cert: {cert[1]} must be a key on the curve P-384, or an RSA key")
    header = {"alg": "ES384" if elliptic else "RS256", "typ": "JWT"}
    pem = _read(cert[0], "cert")
    first = _CERTIFICATE.search(pem)  # as for TLS; others, and the key, can be in the file, too
    claims = {"sub": fingerprint(first[0] if first else pem), "exp": now + int(seconds), "nbf": now, "iat": now}
    # Servers write both again before they verify: without spaces, and the claims in this order.
    signed = b".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        numbers = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA384())))
        signature = b"".join(number.to_bytes(48, "big") for number in numbers)
    else:
        signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return b".".join((signed, _base64url(signature))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def check_fingerprint(certificate: bytes, expected: str) -> str:
    """The certificate (DER) of a server in PEM, or an error if it has another fingerprint."""
    found = hashlib.sha256(certificate).hexdigest()
    if found != expected.replace(":", "").lower():
        raise NotPinned(1, f"the fingerprint of its certificate is {found}, not {expected}")
    return ssl.DER_cert_to_PEM_cert(certificate)


def der(certificate: str) -> bytes:
    """The DER of a certificate, which is given in PEM, maybe after a description, or as the base64 in it."""
    if not isinstance(certificate, str) or not certificate.strip():
        given = "empty" if isinstance(certificate, str) else type(certificate).__name__
        raise IncusInputError(f"certificate must be PEM text, not {given}")
    pem = re.search("-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", certificate, re.DOTALL)
    body = certificate if pem is None else pem[1]
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except ValueError as error:
        raise IncusInputError(f"certificate is neither a PEM certificate nor base64: {error}") from None


def fingerprint(certificate: str) -> str:
    """The fingerprint of a certificate in PEM: the SHA-256 of its DER, in hex."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()
    except (AttributeError, ValueError):
        raise IncusInputError("a certificate must be PEM text") from None


def _read(file: str | os.PathLike[str], parameter: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, ValueError) as error:  # not text, or not a path
        raise IncusInputError(f"{parameter}: {file} cannot be read: {error}") from None
