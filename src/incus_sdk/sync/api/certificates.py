"""Certificates: the clients and servers that the server trusts.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import models
from ...api import certificates as _source
from ._by_key import Deletes, Edits
from ._ensure import Ensures
from .base import Collection, Deletable, Editable
from .tokens import IssuesTokens

if TYPE_CHECKING:
    from collections.abc import Sequence


class Certificate(models.Certificate, Editable[models.CertificatePut], Deletable):
    """A trusted certificate, named by its fingerprint; a handle follows it when another certificate takes its place."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Certificate: ...

    KEY = _source.Certificate.KEY


class CertificatesAPI(Collection[Certificate], Edits[models.CertificatePut], Ensures, Deletes, IssuesTokens):
    """``client.certificates``; the key is the fingerprint, the SHA-256 of the certificate in DER, or its beginning."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.CertificatesAPI: ...

    def create(
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
        result: Certificate = self._wrap(
            self._portal.run(self._async.create(certificate, name, type, restricted, projects, description))
        )
        return result

    def create_token(self, name: str, restricted: bool = False, projects: Sequence[str] | None = None) -> str:
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
        return self._portal.run(self._async.create_token(name, restricted, projects))
