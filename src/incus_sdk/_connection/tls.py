"""TLS as Incus does it: a client certificate, and a server that is known by its own certificate."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import ssl
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ..exceptions import IncusInputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

CertificatePair = tuple[str | os.PathLike[str], str | os.PathLike[str]]
"""Paths of a PEM certificate and of its private key."""


def context(
    cert: CertificatePair | None = None,
    verify: bool = True,
    server_cert: str | os.PathLike[str] | None = None,
    ca: str | os.PathLike[str] | None = None,
    password: str | None = None,
) -> ssl.SSLContext:
    """The TLS settings of a client.

    ``server_cert``: the PEM of the one certificate that the server must show, as text or as the path of a file. It is
    pinned: neither its names nor any authority counts, since a server makes it for itself. Without it, the system's
    authorities decide, or ``ca`` (PEM, text or path) alone. ``verify=False`` accepts any server where neither is given.
    ``password``: of an encrypted key. TLS 1.3, or 1.2 where INCUS_INSECURE_TLS is true.

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
        _trust(settings, server_cert, "server_cert")
    elif ca is not None:
        _trust(settings, ca, "ca")
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
        except ssl.SSLError as error:
            kind = "key that this password opens" if password else "unencrypted key (password= opens an encrypted one)"
            raise IncusInputError(
                f"cert: {certificate} and {key} are no pair of PEM certificate and {kind}: {error}"
            ) from None
    return settings


def _trust(settings: ssl.SSLContext, given: str | os.PathLike[str], parameter: str) -> None:
    pem = str(given)
    if "-----BEGIN" not in pem:
        pem = _read(given, parameter)
    try:
        settings.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise IncusInputError(f"{parameter} holds no PEM certificate: {error}") from None


def _load_openssh(
    settings: ssl.SSLContext, certificate: str | os.PathLike[str], key: str | os.PathLike[str], password: str | None
) -> None:
    # The library reads neither OpenSSH's form nor anything but files: it gets one that only this call can open.
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
        raise IncusInputError(f"cert: {file} is no key, or password= does not open it: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise IncusInputError(f"cert: {file} must be a key of the kind EC or RSA")
    return key


def make_pair(name: str) -> tuple[str, str]:
    """A new client certificate and its key, in PEM, as the ``incus`` command makes them: EC P-384, signed with itself,
    for ten years. ``name``: whose it is, such as ``user@host``.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP384R1())
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
    """A bearer token that stands for a client's certificate, as ``incus remote get-client-token`` makes it: for
    ``Client(token=...)``, where the certificate itself cannot be shown, or its key should not be.

    ``lifetime``: seconds. ``password``: of an encrypted key. Raises `IncusInputError` for files that are no such pair.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    context(cert, password=password)  # that it is a pair
    key, now = _read_private_key(Path(cert[1]), password), int(time.time())
    elliptic = isinstance(key, ec.EllipticCurvePrivateKey)
    if elliptic and key.key_size != 384:
        raise IncusInputError(f"cert: {cert[1]} must be a key on the curve P-384, or an RSA key")
    header = {"alg": "ES384" if elliptic else "RS256", "typ": "JWT"}
    claims = {"sub": fingerprint(_read(cert[0], "cert")), "exp": now + int(lifetime), "nbf": now, "iat": now}
    # Servers write both anew before they verify: without spaces, and the claims in this order.
    signed = b".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        numbers = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA384())))
        signature = b"".join(number.to_bytes(48, "big") for number in numbers)
    else:
        signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return b".".join((signed, _base64url(signature))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def check_fingerprint(shown: bytes, expected: str) -> str:
    """The certificate (DER) that a server shows, in PEM, if it is the one of that fingerprint."""
    found = hashlib.sha256(shown).hexdigest()
    if found != expected.lower():
        raise ssl.SSLCertVerificationError(1, f"the fingerprint of its certificate is {found}, not {expected}")
    return ssl.DER_cert_to_PEM_cert(shown)


def fingerprint(certificate: str) -> str:
    """Of a certificate in PEM: the SHA-256 of its DER, in hex. Raises `IncusInputError` for what is none."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()
    except (AttributeError, ValueError):
        raise IncusInputError("a certificate must be one in PEM, as text") from None


def _read(file: str | os.PathLike[str], parameter: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, ValueError) as error:  # no text, or no path
        raise IncusInputError(f"{parameter}: {file} cannot be read: {error}") from None
