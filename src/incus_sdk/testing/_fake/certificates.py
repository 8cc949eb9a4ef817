"""Certificates of clients that the server trusts."""

from __future__ import annotations

import base64
import hashlib
import secrets
import ssl
import string
from typing import Any, ClassVar

from .answers import Object, Refused, created
from .collection import Collection
from .requests import FakeRequest
from .streams import AnyAnswer

_BASE64 = string.ascii_letters + string.digits + "+/="


class Certificates(Collection):
    """``/1.0/certificates``: objects by their fingerprints."""

    segment, kind, key, beginning = "certificates", "certificate", "fingerprint", True
    fields: ClassVar = {
        "name": "",
        "type": "client",
        "restricted": False,
        "projects": [],
        "certificate": "",
        "description": "",
    }
    maps: ClassVar = ()
    missing = "Certificate not found"

    def view(self, project: str, item: Object) -> Object:
        """One as it is shown."""
        return item

    def complete(self, body: Any) -> Object:
        """What a body sets; the certificate itself stays, if it does not say."""
        return {key: value for key, value in super().complete(body).items() if key != "certificate" or value}

    def trust_own(self, server: str, client: str) -> None:
        """Have these certificates of the server and of a client (PEM)."""
        self.state.certificate = server
        self.state.fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(server)).hexdigest()
        der = ssl.PEM_cert_to_DER_cert(client)
        self.state.client_fingerprint = self._store(der, {"name": "incus-sdk"})

    def _store(self, der: bytes, body: Object) -> str:
        fingerprint = hashlib.sha256(der).hexdigest()
        if fingerprint in self.of("default"):
            raise Refused(409, "Certificate already in trust store")
        record = {**self.complete(body), "certificate": ssl.DER_cert_to_PEM_cert(der), "fingerprint": fingerprint}
        self.of("default")[fingerprint] = record
        return fingerprint

    def create(self, request: FakeRequest) -> AnyAnswer:
        """``POST`` of a certificate, or of the wish for a token, which is an operation."""
        body = request._fields
        if not self.state.is_trusted(request):
            raise Refused(501, "The fake of incus_sdk does not do trust tokens: POST /1.0/certificates")
        if body.get("token"):
            return self._token(request, body)
        text = body.get("certificate") or ""
        if not text:
            raise Refused(400, "Client is already trusted")
        try:
            der = base64.b64decode(text, validate=True)
        except ValueError:
            at = next((place for place, each in enumerate(text) if each not in _BASE64), len(text) // 4 * 4)
            raise Refused(400, f"illegal base64 data at input byte {at}") from None
        if not der.startswith(b"0\x82") and not der.startswith(b"0\x81"):
            raise Refused(400, "Invalid certificate material: x509: malformed certificate")
        fingerprint = self._store(der, body)
        self.state.events.lifecycle("certificate-created", f"/1.0/certificates/{fingerprint}", request, "default")
        return created(f"/1.0/certificates/{fingerprint}")

    def _token(self, request: FakeRequest, body: Object) -> AnyAnswer:
        wish = {
            "name": body.get("name") or "",
            "type": body.get("type") or "client",
            "restricted": bool(body.get("restricted")),
            "projects": body.get("projects") or [],
            "certificate": "",
            "description": body.get("description") or "",
            "trust_token": "",
            "token": True,
        }
        metadata = {
            "addresses": [self.state.address],
            "fingerprint": self.state.fingerprint,
            "request": wish,
            "secret": secrets.token_hex(32),
        }
        return self.state.operations.begin(
            request, "Executing operation", None, kind="token", metadata=metadata, may_cancel=True
        )
