"""Certificates: the clients and servers that the server trusts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import ClassVar

from .. import models
from .._connection import wire
from .._connection.tls import der
from .base import Collection, Deletable, Deletes, Editable, Edits


class Certificate(models.Certificate, Editable[models.CertificatePut], Deletable):
    """A trusted certificate, named by its fingerprint."""

    KEY = "fingerprint"


class CertificatesAPI(Collection[Certificate], Edits[models.CertificatePut], Deletes):
    """``client.certificates``; the key is the fingerprint: SHA-256 in hex, of the certificate in DER."""

    resource, segment = Certificate, "certificates"
    options: ClassVar = {"filter": "api_filtering_extended"}

    async def create(
        self,
        certificate: str,
        name: str | None = None,
        type: str = "client",
        restricted: bool = False,
        projects: Sequence[str] | None = None,
        description: str = "",
    ) -> Certificate:
        """Trust a certificate; returns it, read. ``POST /1.0/certificates``.

        ``certificate``: in PEM, or its base64 alone. ``type``: ``client``, or ``metrics`` for who may read nothing but
        metrics. ``restricted``: only ``projects`` are open to it.
        """
        decoded = der(certificate)
        fingerprint = hashlib.sha256(decoded).hexdigest()
        body = {
            "certificate": base64.b64encode(decoded).decode(),
            "name": name or fingerprint[:12],
            "type": type,
            "restricted": restricted,
            "projects": wire.texts(projects or (), "projects"),
            "description": description,
        }
        await self._request("POST", body=body)
        return await self.get(fingerprint)

    async def create_token(self, name: str, restricted: bool = False, projects: Sequence[str] | None = None) -> str:
        """Issue a trust token, with which one client called ``name`` can make itself trusted. ``POST
        /1.0/certificates``.
        """
        wire.path(name)
        body = {
            "name": name,
            "type": "client",
            "token": True,
            "restricted": restricted,
            "projects": wire.texts(projects or (), "projects"),
        }
        operation = await self._operate("POST", body=body, wait=False)
        return wire.token(operation.metadata, client_name=operation.metadata["request"]["name"])
