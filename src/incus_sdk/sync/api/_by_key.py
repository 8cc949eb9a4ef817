"""The verbs of one object on its collection, by its key: each takes the key first, and does what the object's does.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ...api import _by_key as _source
from ...api.base import Body
from .. import _twin
from .base import Renamable, Resource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .base import Deletable, Patchable, Updatable, Writable

ItemCo = TypeVar("ItemCo", bound=Resource, covariant=True)

RenamableItem = TypeVar("RenamableItem", bound=Renamable)


class Keyed(_twin.TwinProtocol, Protocol[ItemCo]):
    """A collection, as its mixins see it."""

    def __getitem__(self, key: str, /) -> ItemCo: ...


class Replaces(_twin.Twin, Generic[Body]):
    """`Writable`'s verb by key."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...

    def replace(
        self: Keyed[Writable[Body]], name: str, body: Body | Mapping[str, Any], etag: str | None = None
    ) -> None:
        """Replace all writable fields of one by exactly ``body``: see `Writable.replace`.

        Args:
            name: Its name, or what else is its key here.
            body: All writable fields; those it does not name are reset.
            etag: The `etag` of the object as it was read; None replaces it whatever has happened since.

        Raises:
            IncusPreconditionError: The object has changed since that ``etag``.

        API:
            ``PUT`` of its path
        """
        self._portal.run(self._async.replace(name, body, etag))


class Updates(_twin.Twin, Generic[Body]):
    """`Updatable`'s verb by key."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...

    def update(
        self: Keyed[Updatable[Body]], name: str, change: Body | Mapping[str, Any], *, etag: str | None = None
    ) -> None:
        """Change some fields of one and keep all others: see `Updatable.update`.

        Args:
            name: Its name, or what else is its key here.
            change: A JSON merge patch: keys not named are kept, a None removes its key.
            etag: The `etag` of the object as it was read; None merges the change into whatever it is now.

        Raises:
            IncusInputError: The object has no such field, or it cannot be written; nothing was changed.
            IncusPreconditionError: It has changed since that ``etag``, or other writers were faster too many times.

        API:
            ``GET`` and ``PUT`` of its path
        """
        self._portal.run(self._async.update(name, change, etag=etag))


class Patches(_twin.Twin, Generic[Body]):
    """`Patchable`'s verb by key."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...

    def patch(self: Keyed[Patchable[Body]], name: str, body: Body | Mapping[str, Any]) -> None:
        """Have the server merge ``body`` into one by its own rules: see `Patchable.patch`.

        Args:
            name: Its name, or what else is its key here.
            body: The fields to change.

        API:
            ``PATCH`` of its path
        """
        self._portal.run(self._async.patch(name, body))


class Edits(Replaces[Body], Updates[Body], Patches[Body], Generic[Body]):
    """`Editable`'s verbs by key."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Edits[Any]: ...


class Renames(_twin.Twin):
    """`Renamable`'s verb by key."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...

    def rename(self: Keyed[RenamableItem], name: str, new_name: str) -> RenamableItem:
        """Give one another name, and return its handle.

        Args:
            name: The name it has.
            new_name: The new name.

        Raises:
            IncusNotFoundError: It does not exist.
            IncusAPIError: It cannot be renamed now, or the new name is taken.
            IncusOperationError: The same, of an object that is renamed in the background.

        API:
            ``POST`` of its path
        """
        result: RenamableItem = self._wrap(self._portal.run(self._async.rename(name, new_name)))
        return result


class Deletes(_twin.Twin):
    """`Deletable`'s verb by key."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...

    def delete(self: Keyed[Deletable], name: str, *, missing_ok: bool = False) -> None:
        """Delete one.

        Args:
            name: Its name, or what else is its key here.
            missing_ok: Accept that it does not exist.

        Raises:
            IncusNotFoundError: It does not exist, and ``missing_ok`` is not set.

        API:
            ``DELETE`` of its path
        """
        self._portal.run(self._async.delete(name, missing_ok=missing_ok))
