"""Certificates of clients that the server trusts."""

from __future__ import annotations

import hashlib
import ssl

from .collection import Collection, Object


class Certificates(Collection):
    """``/1.0/certificates``: objects by their fingerprints."""

    segment, kind = "certificates", "certificate"
    own_fingerprint = ""

    def trust_own(self, certificate: str) -> None:
        """Trust the client's certificate that the fake made."""
        fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()
        self.own_fingerprint = fingerprint
        self.of("default")[fingerprint] = _record("incus-sdk", certificate, fingerprint)


def _record(name: str, certificate: str, fingerprint: str) -> Object:
    return {
        "name": name,
        "type": "client",
        "restricted": False,
        "projects": [],
        "certificate": certificate,
        "description": "",
        "fingerprint": fingerprint,
    }
