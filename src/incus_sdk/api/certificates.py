"""Certificates: the clients and servers that the server trusts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import ClassVar

from .. import models
from .._connection import wire
from .._connection.tls import der
from ..exceptions import IncusInputError
from ..models.base import Json
from ._by_key import Deletes, Edits
from ._ensure import Ensures
from .base import Collection, Deletable, Editable
from .tokens import IssuesTokens

_FINGERPRINT = re.compile("[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2})*")


class Certificate(models.Certificate, Editable[models.CertificatePut], Deletable):
    """A trusted certificate, named by its fingerprint; a handle follows it when another certificate takes its place."""

    KEY = "fingerprint"

    def _written(self, body: Json) -> None:
        if body.get("certificate"):
            fingerprint = hashlib.sha256(der(body["certificate"])).hexdigest()
            self._path = (*self._path[:-1], fingerprint)
            self._json[self.KEY] = fingerprint


class CertificatesAPI(Collection[Certificate], Edits[models.CertificatePut], Ensures, Deletes, IssuesTokens):
    """``client.certificates``; the key is the fingerprint, the SHA-256 of the certificate in DER, or its beginning."""

    _resource, _path_part = Certificate, "certificates"
    _options: ClassVar = {"filter": "api_filtering_extended"}
    _TOKEN_NAME, _TOKEN_FIELD = ("request", "name"), "client_name"

    def _segments(self, key: str) -> tuple[str, ...]:
        if isinstance(key, str) and re.search("[%_]", key):
            raise IncusInputError(
                f"{key!r} is no fingerprint, nor its beginning: servers take % and _ for any characters"
            )
        return super()._segments(key)

    def _spelling(self, key: str) -> str:
        return key.replace(":", "").lower() if isinstance(key, str) and _FINGERPRINT.fullmatch(key) else key

    def _created_key(self, argument: str, /) -> str:
        return hashlib.sha256(der(argument)).hexdigest()

    async def create(
        self,
        certificate: str,
        name: str | None = None,
        type: models.CertificateType = "client",
        restricted: bool = False,
        projects: Sequence[str] | None = None,
        description: str = "",
    ) -> Certificate:
        """Trust a certificate.

        Args:
            certificate: The certificate, in PEM or as the base64 in it.
            name: A name for people; None for the beginning of the fingerprint.
            type: ``client``, or ``metrics`` for a client that can only read metrics.
            restricted: Only let it use ``projects``.
            projects: The names of these projects.
            description: A text for people.

        Returns:
            The certificate, read.

        Raises:
            IncusInputError: ``certificate`` is not a certificate, or ``projects`` not a list.
            IncusConflictError: It is trusted already.
            IncusNotFoundError: There is no such project.

        API:
            ``POST /1.0/certificates``
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
        """Issue a trust token, with which one client can make itself trusted: see `Client.join`.

        It can be used once. Until then `list_tokens` has it, and `revoke_token` revokes it.

        Args:
            name: The name that the client's certificate gets.
            restricted: Only let the client use ``projects``.
            projects: The names of these projects.

        Returns:
            The token, in the form of the ``incus`` command.

        Raises:
            IncusInputError: ``name`` is empty, or ``projects`` not a list.

        API:
            ``POST /1.0/certificates``
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
        return self._token(operation.metadata).value
