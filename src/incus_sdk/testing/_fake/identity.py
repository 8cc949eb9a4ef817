"""Certificates of a fake, made when they are first asked for: there is no key that could be trusted by mistake."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def make_identity(tls: ssl.SSLContext, directory: Path) -> tuple[str, str]:
    """Make a server's and a client's certificate, and let the server use and trust them.

    Args:
        tls: The server's settings.
        directory: Where their files are written.

    Returns:
        Both certificates (PEM).
    """
    server, client = directory / "server.crt", directory / "client.crt"
    key = directory / "server.key"
    _make(server, key, ExtendedKeyUsageOID.SERVER_AUTH)
    _make(client, directory / "client.key", ExtendedKeyUsageOID.CLIENT_AUTH)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.load_cert_chain(server, key)
    key.unlink()
    tls.load_verify_locations(client)
    tls.verify_mode = ssl.CERT_OPTIONAL
    return server.read_text(), client.read_text()


def _make(certificate: Path, key: Path, usage: x509.ObjectIdentifier) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A fake of incus_sdk"),
            x509.NameAttribute(NameOID.COMMON_NAME, "incus-sdk"),
        ]
    )
    start = datetime.now(UTC) - timedelta(days=1)
    addresses: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate.write_bytes(made.public_bytes(pem))
    key.touch(0o600)
    key.write_bytes(
        private.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
