"""The verbs, once for all resources: list get exists create update replace patch editing rename delete.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...api import base as _source
from ...api.base import Body
from ...api.base import Read as Read
from .. import _twin

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping
    from typing import Any, Self

    from ...filters import Filter


class AtPath(_twin.Twin):
    """Something at a path of the API: sends requests to that path and below it."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.AtPath: ...


class Group(AtPath):
    """The calls of one area of the API.

    Raises:
        IncusInputError: ``client`` is something else.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Group: ...

    def __init__(self, client: _twin.Twin) -> None:
        held = self._source()(_twin.unwrap(client))
        self.__dict__.update(_async=held, _portal=client._portal)


class Resource(_twin.RecordTwin, AtPath):
    """A record that knows where it lives. `Collection.__getitem__` makes it without a request, knowing only its key."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Resource: ...

    KEY = _source.Resource.KEY

    @property
    def etag(self) -> str | None:
        """What `replace` takes to undo nobody's change; known after `refresh` or ``get()``, else None."""
        return self._async.etag

    def refresh(self) -> Self:
        """Read it from the server into this object, and return it.

        Raises:
            IncusNotFoundError: It does not exist.

        API:
            ``GET`` of its path
        """
        result: Self = self._wrap(self._portal.run(self._async.refresh()))
        return result

    def exists(self) -> bool:
        """Whether it exists.

        API:
            ``GET`` of its path
        """
        return self._portal.run(self._async.exists())


class Writable(Resource, Generic[Body]):
    """An object that can be written as a whole."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Writable[Any]: ...

    def replace(self, body: Body | Mapping[str, Any], etag: str | None = None) -> None:
        """Replace all writable fields by exactly ``body``; fields it does not name are reset.

        Args:
            body: All writable fields.
            etag: The `etag` of the object as it was read; None replaces it whatever has happened since.

        Raises:
            IncusInputError: A key of ``config`` stands beside it; nothing was changed.
            IncusPreconditionError: The object has changed since that ``etag``.

        API:
            ``PUT`` of its path
        """
        self._portal.run(self._async.replace(body, etag))

    def editing(self) -> AbstractContextManager[Self]:
        """Edit it in place; the difference is saved when the block ends, and nothing if the block raises.

            with client.profiles["web"].editing() as profile:
                profile.config["limits.memory"] = "2GiB"
                del profile.devices["eth0"]

        What the block changed is merged into the object as it is when it is saved, so other writers' changes stay.
        Fields, keys of ``config``, devices and entries of lists are merged one by one: an entry that was removed by
        others as well stays removed, one that was added by others as well is there once, and what the block appended
        comes last. Nothing is locked while the block runs.

        Yields:
            A copy of the object, read.

        Raises:
            IncusInputError: The block changed a field that cannot be written; nothing was changed.
            IncusPreconditionError: Somebody else changed the same entry or key, or the order of the same list, while
                the block ran, and nothing was saved; or other writers were faster too many times.

        API:
            ``GET`` and ``PUT`` of its path
        """
        return self._portal.enter(self._async.editing(), self._wrap)


class Updatable(Writable[Body], Generic[Body]):
    """An object whose fields can be changed one by one."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Updatable[Any]: ...

    def update(self, change: Body | Mapping[str, Any], *, etag: str | None = None) -> None:
        """Change some fields and keep all others, whoever else is writing.

        Args:
            change: A JSON merge patch: keys not named are kept, at every depth, and a None removes its key. A key with
                a dot is a key of ``config``: ``{"limits.cpu": 2}``. A list is replaced as a whole: `editing` merges.
            etag: The `etag` of the object as it was read; None merges the change into whatever it is now.

        Raises:
            IncusInputError: The object has no such field, or it cannot be written; nothing was changed.
            IncusPreconditionError: It has changed since that ``etag``, or other writers were faster too many times.

        API:
            ``GET`` and ``PUT`` of its path, with ``If-Match``, repeated if somebody else was faster
        """
        self._portal.run(self._async.update(change, etag=etag))


class Patchable(Resource, Generic[Body]):
    """An object that the server itself can merge changes into."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Patchable[Any]: ...

    def patch(self, body: Body | Mapping[str, Any]) -> None:
        """Have the server merge ``body`` into the object by its own rules, which differ between kinds of objects.

        `update` follows one rule everywhere.

        Args:
            body: The fields to change; a key with a dot is a key of ``config``.

        Raises:
            IncusInputError: It cannot be written, or not by a ``PATCH``; nothing was changed.

        API:
            ``PATCH`` of its path
        """
        self._portal.run(self._async.patch(body))


class Editable(Updatable[Body], Patchable[Body], Generic[Body]):
    """An object that can be changed in every way: `update`, `editing`, `replace`, `patch`."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Editable[Any]: ...


class Renamable(Resource):
    """An object that can be renamed."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Renamable: ...

    def rename(self, new_name: str) -> None:
        """Give it another name; this handle follows it.

        Args:
            new_name: The new name.

        Raises:
            IncusNotFoundError: It does not exist.
            IncusAPIError: It cannot be renamed now, or the name is taken.
            IncusOperationError: The same, of an object that is renamed in the background.

        API:
            ``POST`` of its path
        """
        self._portal.run(self._async.rename(new_name))


class Deletable(Resource):
    """An object that can be deleted."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Deletable: ...

    def delete(self, *, missing_ok: bool = False) -> None:
        """Delete it.

        Args:
            missing_ok: Accept that it does not exist.

        Raises:
            IncusNotFoundError: It does not exist, and ``missing_ok`` is not set.

        API:
            ``DELETE`` of its path
        """
        self._portal.run(self._async.delete(missing_ok=missing_ok))


Item = TypeVar("Item", bound=Resource)


class Collection(Group, Generic[Item]):
    """All objects of one kind under one path."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Collection[Any]: ...

    def __getitem__(self, key: str) -> Item:
        """A handle on one of them; makes no request."""
        result: Item = self._wrap(self._async[key])
        return result

    def list(
        self,
        recursion: int = 1,
        *,
        filter: str | Filter | None = None,
        all_projects: bool = False,
        project: str | None = None,
        target: str | None = None,
    ) -> builtins.list[Item]:
        """List them, in one request.

        Args:
            recursion: 0 gives handles that know only their name, 1 the objects, read. 2, of instances, reads their
                state, snapshots and backups as well.
            filter: Only those that match, as ``F("name") == "web"`` or as the server writes it, ``name eq web``.
            all_projects: Those of every project.
            project: Those of this project, instead of the client's.
            target: Those on this cluster member, for volumes; for instances use ``F("location") == "node1"``.

        Raises:
            IncusInputError: This list does not take that parameter.
            IncusUnsupportedError: The server lacks the API extension for it.

        API:
            ``GET`` of the collection's path
        """
        result: builtins.list[Item] = self._wrap(
            self._portal.run(
                self._async.list(recursion, filter=filter, all_projects=all_projects, project=project, target=target)
            )
        )
        return result

    def get(self, name: str) -> Item:
        """One of them, read.

        Args:
            name: Its name, or what else is its key here.

        Raises:
            IncusNotFoundError: It does not exist.

        API:
            ``GET`` of its path
        """
        result: Item = self._wrap(self._portal.run(self._async.get(name)))
        return result

    def exists(self, name: str) -> bool:
        """Whether one of that name exists.

        Args:
            name: Its name, or what else is its key here.

        API:
            ``GET`` of its path
        """
        return self._portal.run(self._async.exists(name))


class Nested(Collection[Item]):
    """Objects that can be read together with what hangs below them, in one request."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Nested[Any]: ...

    def get(self, name: str, *, recursion: int = 0) -> Item:
        """One of them, read.

        Args:
            name: Its name, or what else is its key here.
            recursion: 1 fills ``full`` as well: state, snapshots, backups and the like.

        Raises:
            IncusNotFoundError: It does not exist.
            IncusUnsupportedError: The server lacks the API extension for ``recursion``.

        API:
            ``GET`` of its path
        """
        result: Item = self._wrap(self._portal.run(self._async.get(name, recursion=recursion)))
        return result
