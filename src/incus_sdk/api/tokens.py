"""Tokens that were issued and are not used yet: each is an operation of the server until then."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from .._connection import wire
from ..exceptions import IncusNotFoundError
from ..models.base import parse_time
from ..operations import Operation
from .activity import OperationsAPI
from .base import Group


@dataclass(frozen=True)
class Token:
    """A token that was issued and is not used yet; the ``repr()`` does not show its value.

    Args:
        name: The name that whoever uses it gets.
        value: The token itself, in the form of the ``incus`` command.
        expires_at: When it ends; None for never.
    """

    name: str
    value: str = field(repr=False)
    expires_at: datetime | None = None


class IssuesTokens(Group):
    """Verbs for the tokens of a group."""

    _TOKEN_NAME: ClassVar[tuple[str, ...]]
    """Where the name is in the metadata of a token's operation."""
    _TOKEN_FIELD: ClassVar[str]
    """What the name is called in a token."""

    def _token(self, metadata: Mapping[str, Any]) -> Token:
        name = wire.text(metadata, *self._TOKEN_NAME)
        return Token(name, wire.token(metadata, **{self._TOKEN_FIELD: name}), parse_time(metadata.get("expiresAt")))

    async def list_tokens(self) -> list[Token]:
        """List the tokens that were issued and are not used yet.

        API:
            ``GET /1.0/operations``
        """
        return [token for token, _ in await self._tokens()]

    async def revoke_token(self, name: str) -> None:
        """Revoke a token that is not used yet; of several with one name, all.

        Args:
            name: The name that it was issued for.

        Raises:
            IncusNotFoundError: There is no such token: it was used, was revoked or has expired.

        API:
            ``GET /1.0/operations``, ``DELETE /1.0/operations/{id}``
        """
        wire.path(name)
        found = [operation for token, operation in await self._tokens() if token.name == name]
        if not found:
            raise IncusNotFoundError(f"there is no token for {name!r}: it was used, was revoked or has expired")
        for operation in found:
            with contextlib.suppress(IncusNotFoundError):  # it was used just now
                await operation.cancel()

    async def _tokens(self) -> list[tuple[Token, Operation]]:
        everywhere = self._scope.view(project="default")  # where servers keep them, whatever the client's project
        return [
            (self._token(operation.metadata), operation)
            for operation in await OperationsAPI(everywhere).list()
            if operation.class_ == "token" and operation.status == "Running" and self._is_own(operation.metadata)
        ]

    def _is_own(self, metadata: Any) -> bool:
        """Whether it is of this group, since the others' tokens are operations, too."""
        return isinstance(metadata, Mapping) and self._TOKEN_NAME[0] in metadata
