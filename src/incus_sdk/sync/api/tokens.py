"""Tokens that were issued and are not used yet: each is an operation of the server until then.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...api import tokens as _source
from ...api.tokens import Token as Token
from .base import Group


class IssuesTokens(Group):
    """Verbs for the tokens of a group."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.IssuesTokens: ...

    def list_tokens(self) -> list[Token]:
        """List the tokens that were issued and are not used yet.

        API:
            ``GET /1.0/operations``
        """
        return self._portal.run(self._async.list_tokens())

    def revoke_token(self, name: str) -> None:
        """Revoke a token that is not used yet; of several with one name, all.

        Args:
            name: The name that it was issued for.

        Raises:
            IncusNotFoundError: There is no such token: it was used, was revoked or has expired.

        API:
            ``GET /1.0/operations``, ``DELETE /1.0/operations/{id}``
        """
        self._portal.run(self._async.revoke_token(name))
