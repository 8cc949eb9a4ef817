"""The verbs, once for all resources: list get exists create update replace patch editing rename delete.

A resource is two small classes:

    class Profile(models.Profile, Editable[models.ProfilePut], Renamable, Deletable):
        \"\"\"A profile: ...\"\"\"

    class ProfilesAPI(Collection[Profile], Edits[models.ProfilePut], Ensures, Renames, Deletes):
        \"\"\"``client.profiles``.\"\"\"

        resource, segment = Profile, "profiles"

        async def create(self, name: str, **body: Unpack[models.ProfilePut]) -> Profile: ...

The first is one object: a record that knows where it lives (a handle until it is read). The second is all objects under
one path. Each verb stands on the object; the collection's verb of the same name takes the object's key first and does
just that: see `_by_key`.

What servers do differently for one kind of object is said by class attributes (`AtPath._EXTENSION`,
`Resource._FIELD_EXTENSIONS`, `Patchable._PATCH_NEEDS_CONFIG`, `Collection._urls_quoted`,
`Collection._named_with_parent`, `Collection._located` and the like) and by hooks: `Resource._segment`,
`Resource._written`, `Collection._spelling` and `Writable._put_body`.
"""

from __future__ import annotations

import asyncio
import builtins
import copy
import time
import typing
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from .._background import Find, create_or_undo, perform, required, undoing, was_created
from .._concurrency import Attempts
from .._connection import wire
from .._connection.scope import Scope, Scoped
from .._connection.transport import Headers, Stream
from ..exceptions import IncusInputError, IncusNotFoundError, IncusNotLoadedError, IncusPreconditionError
from ..models._tables import Table
from ..models.base import Json, Record
from ..operations import OnProgress, Operation
from ._bodies import difference, to_body, with_dotted_keys, with_never
from ._deletion import delete_or_miss, or_missing
from ._merge import Conflict, is_kept, merge

if TYPE_CHECKING:
    from ..filters import Filter

_CLOSING = 1.0  # seconds that the other side of a raw connection has to take the last of what was written
_LONGEST_WRITE = 0.1  # seconds in which another writer, who was let through as well, has written
_ATTEMPTS = 20  # of an update, each after somebody else's; then the 412 is raised
_WHOLE = "the JSON"  # in place of the name of a field


class AtPath:
    """Something at a path of the API: sends requests to that path and below it."""

    _EXTENSION: ClassVar[str | None] = None
    """The API extension that introduced it, where servers of 6.0 may lack it."""

    def __init__(self, scope: Scope, path: tuple[str, ...]) -> None:
        self._scope = scope
        self._path = path

    def _url(self, *segments: str) -> str:
        return wire.path(*self._path, *segments)

    async def _request(
        self,
        method: str,
        *segments: str,
        query: wire.Query | None = None,
        body: Any = None,
        headers: Headers | None = None,
    ) -> wire.Answer:
        """Send a request to this path, or below it by ``segments``, which the server answers at once."""
        path = self._url(*segments)
        await self._require_extension()
        return await self._scope.request(method, path, query=query, body=body, headers=headers)

    async def _perform(
        self,
        method: str,
        *segments: str,
        query: wire.Query | None = None,
        body: Any = None,
        headers: Headers | None = None,
        wait: bool = True,
        progress: OnProgress | None = None,
        patience: float = 0.0,
    ) -> Operation | None:
        """Send a request that the server may carry out in the background; None if it did so at once."""
        path = self._url(*segments)
        await self._require_extension()
        return await perform(
            self._scope,
            method,
            path,
            query=query,
            body=body,
            headers=headers,
            wait=wait,
            progress=progress,
            patience=patience,
        )

    async def _operate(
        self,
        method: str,
        *segments: str,
        body: Any = None,
        headers: Headers | None = None,
        wait: bool = True,
        progress: OnProgress | None = None,
        find: Find | None = None,
    ) -> Operation:
        """Send a request that the server always carries out in the background."""
        path = self._url(*segments)
        await self._require_extension()
        operation = await perform(
            self._scope, method, path, body=body, headers=headers, wait=wait, progress=progress, find=find
        )
        return required(operation, method, path)

    def _download(
        self,
        method: str,
        *segments: str,
        query: wire.Query | None = None,
        body: Any = None,
        headers: Headers | None = None,
    ) -> AbstractAsyncContextManager[Stream]:
        """An answer that is read piece by piece, for the time of ``async with``."""
        return self._scope.download(method, self._url(*segments), query=query, body=body, headers=headers)

    @asynccontextmanager
    async def _upgrade(
        self, method: str, *segments: str, protocol: str, query: wire.Query | None = None, body: Any = None
    ) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A raw byte stream in ``protocol`` until the block ends; what was written by then is sent."""
        path = self._url(*segments)
        await self._require_extension()
        reader, writer = await self._scope.upgrade(method, path, protocol, query=query, body=body)
        try:
            yield reader, writer
        finally:
            writer.close()
            try:
                async with asyncio.timeout(_CLOSING):
                    await writer.wait_closed()
            except (OSError, TimeoutError):
                writer.transport.abort()

    async def _require_extension(self) -> None:
        if self._EXTENSION is not None:
            await self._scope.require(self._EXTENSION, type(self).__name__)


class Group(AtPath):
    """The calls of one area of the API.

    Args:
        client: The client whose connections are used; for a group below an object, that object.

    Raises:
        IncusInputError: ``client`` is something else.
    """

    _path_part: ClassVar[str] = ""
    """Its own part of the path; empty for the path of the client or object itself."""

    def __init__(self, client: Scoped | AtPath | Scope) -> None:
        scope = client if isinstance(client, Scope) else getattr(client, "_scope", None)
        if not isinstance(scope, Scope):
            raise IncusInputError(f"{type(self).__name__} needs a Client, not {type(client).__name__}")
        self._scope = scope
        self._path = (*getattr(client, "_path", ()), *([self._path_part] if self._path_part else []))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._url()}>"


class Resource(Record, AtPath):
    """A record that knows where it lives. `Collection.__getitem__` makes it without a request, knowing only its key."""

    KEY: ClassVar[str] = "name"
    """The field that names it within its collection."""
    _FIELD_EXTENSIONS: ClassVar[Mapping[str, str]] = {}
    """Writable fields that servers without these API extensions would drop silently."""
    _NOT_FOR_UPDATE: ClassVar[Mapping[str, str]] = {}
    """Fields of a ``PUT`` that make it another request than a change of the object, each with the call to use."""
    _NEVER: ClassVar[str | None] = None
    """How ``expires_at`` says never, where servers take a field that is missing for no change."""

    _loaded: bool
    _etag: str | None

    def __init__(self, scope: Scope, path: tuple[str, ...], json: Json, loaded: bool = True) -> None:
        if self._fields is None:
            self._make_fields()
        # All at once, and not by the other one's: a list makes many of these.
        self.__dict__.update(_json=json, _scope=scope, _path=path, _loaded=loaded, _etag=None)

    @property
    def etag(self) -> str | None:
        """What `replace` takes to undo nobody's change; known after `refresh` or ``get()``, else None."""
        return self._etag

    async def refresh(self) -> Self:
        """Read it from the server into this object, and return it.

        Raises:
            IncusNotFoundError: It does not exist.

        API:
            ``GET`` of its path
        """
        return await self._read()

    async def exists(self) -> bool:
        """Whether it exists.

        API:
            ``GET`` of its path
        """
        try:
            await self._request("GET")
        except IncusNotFoundError:
            return False
        return True

    @property
    def raw(self) -> Json:
        """The JSON object itself, not a copy."""
        self._require_loaded(_WHOLE)
        return super().raw

    def _read_absent(self, name: str, key: str, read: Callable[[Json, str], Any]) -> Any:
        self._require_loaded(name)
        return super()._read_absent(name, key, read)

    def __getitem__(self, key: str) -> Any:
        self._require_loaded(key)
        return super().__getitem__(key)

    def __iter__(self) -> Any:
        self._require_loaded(_WHOLE)
        return super().__iter__()

    def __len__(self) -> int:
        self._require_loaded(_WHOLE)
        return super().__len__()

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Resource):
            return NotImplemented
        return self._identity() == other._identity() and self._json == other._json

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return type(self), self._path, self._scope.project or "default", str(self._scope.transport.endpoint)

    def __reduce__(self) -> Any:
        # Pickled, it is the plain record: the connection does not travel.
        plain = next(kind for kind in type(self).__mro__ if issubclass(kind, Record) and not issubclass(kind, Resource))
        return plain, (self._json,)

    def _require_loaded(self, what: str) -> None:
        if not self._loaded and what not in self._json:
            shown = what if what == _WHOLE else repr(what)
            raise IncusNotLoadedError(
                f"{shown} of {self._called} is not known, since it was never read from the server: "
                "`await handle.refresh()` first, or get() it"
            )

    @property
    def _called(self) -> str:
        """What errors call it: by its kind and its name; the server itself has none."""
        return " ".join([type(self).__name__, *map(repr, self._path[-1:])])

    @property
    def _parent(self) -> AtPath:
        """The object that its collection belongs to."""
        return AtPath(self._scope, self._path[:-2])

    @classmethod
    def _segment(cls, name: str) -> str:
        """How a name stands in its path."""
        return name

    @classmethod
    async def _require_fields(cls, scope: Scope, body: Mapping[str, Any]) -> None:
        """Raise `IncusUnsupportedError` for a field that this server would drop."""
        for field, extension in cls._FIELD_EXTENSIONS.items():
            if body.get(field):
                await scope.require(extension, f"{field} of {cls.__name__}")

    def _load(self, json: Json, etag: str | None = None) -> None:
        self._json, self._loaded, self._etag = json, True, etag

    async def _read(self, query: wire.Query | None = None) -> Self:
        """Read it, with what ``query`` asks for on top."""
        answer = await self._request("GET", query=query)
        self._load(answer.object, answer.etag)
        return self

    @classmethod
    def _body_type(cls) -> Any:
        """The TypedDict of what a ``PUT`` takes; None where the SDK does not know."""
        for kind in cls.__mro__:
            for base in getattr(kind, "__orig_bases__", ()):
                for body in typing.get_args(base):
                    if typing.is_typeddict(body):
                        return body
        return None

    @classmethod
    def _writable_fields(cls) -> frozenset[str]:
        """The fields that a ``PUT`` takes; empty where the SDK does not know."""
        body = cls._body_type()
        return frozenset(() if body is None else body.__annotations__) - cls._NOT_FOR_UPDATE.keys()

    @classmethod
    def _require_known_entries(cls, body: Mapping[str, Any], current: Json) -> None:
        """Raise `IncusInputError` for a field in an entry of a list that servers would drop: a rule would allow all.

        ``current``, the object as the server sends it, has the fields that this SDK does not know.
        """
        for field, entries in body.items():
            if not (used := _fields_of(entries)) or cls._body_type() is None:
                continue
            hint = typing.get_type_hints(cls._body_type()).get(field)
            kinds = [
                kind for each in typing.get_args(hint) for kind in typing.get_args(each) if typing.is_typeddict(kind)
            ]
            known = {name for kind in kinds for name in kind.__annotations__}
            if kinds and (unknown := used - known - _fields_of(current.get(field))):
                raise IncusInputError(
                    f"{cls.__name__}: an entry of {field} has no fields {sorted(unknown)}, only {sorted(known)}; "
                    "nothing was changed"
                )

    def _require_known(self, patch: Json, current: Json | None, strict: bool = False) -> None:
        """Raise `IncusInputError` for a field that the object does not have, or that servers would not write.

        ``current``, the object as the server sends it, has the fields that this SDK does not know, and what was not
        read before; ``strict`` does without the latter.
        """
        writable, known = self._writable_fields(), frozenset(self.fields().values())
        if not writable:
            return
        kind = type(self).__name__
        # Whoever sends the whole object back changes nothing of these.
        before = self._json if self._loaded else current
        fixed = (known - writable) & patch.keys() if before is not None or strict else frozenset()
        changed = [field for field in sorted(fixed) if patch[field] != (before or {}).get(field)]
        for field in changed:
            if remedy := self._NOT_FOR_UPDATE.get(field):
                raise IncusInputError(f"{kind}: {field} is not changed by an update: {remedy}; nothing was changed")
        if changed:
            raise IncusInputError(
                f"{kind}: servers do not let {changed} be changed, only {sorted(writable)}; nothing was changed"
            )
        if current is not None and (unknown := patch.keys() - current.keys() - writable):
            raise IncusInputError(
                f"{kind} has no fields {sorted(unknown)}; it has {sorted(writable)}, and a key of config has a dot or "
                "is written as {'config': {...}}; nothing was changed"
            )
        for field, value in patch.items():
            if isinstance(value, str) and isinstance((current or {}).get(field), list):
                raise IncusInputError(f"{kind}: {field} must be a list, not the str {value!r}; nothing was changed")
        if current is not None:
            self._require_known_entries(patch, current)

    async def _reread(self) -> None:
        """Read what a change made of it, unless nothing of it was ever read."""
        if self._loaded:
            await self._read()

    def _written(self, body: Json) -> None:
        """Called after ``body`` was written: this handle follows an object that is found elsewhere then."""

    async def _read_with_etag(self) -> tuple[Json, str | None]:
        """The object as it is now, with its ETag; this handle stays as it was."""
        answer = await self._request("GET")
        return answer.object, answer.etag


def _fields_of(entries: Any) -> set[str]:
    """The fields of the objects in a list, but for records."""
    objects = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list | tuple) else []
    return {field for entry in objects for field in entry}


Read = tuple[Json, str | None]
"""An object, with its ETag."""

Body = TypeVar("Body")
"""The TypedDict of an object's writable fields."""


class Writable(Resource, Generic[Body]):
    """An object that can be written as a whole."""

    _PENDING_IS_HALF_MADE: ClassVar[bool] = False
    """Whether it has the status ``Pending`` only while it is being created."""
    _WRITTEN_AT_ONCE: ClassVar[bool] = False
    """Whether servers compare the ETag and write in one step. Else they write a moment later, and can undo each other's
    changes."""

    async def replace(self, body: Body | Mapping[str, Any], etag: str | None = None) -> None:
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
        json = to_body(body)  # type: ignore[arg-type]
        if dotted := sorted(key for key in json if "." in key):
            raise IncusInputError(f"write {dotted} as {{'config': {{...}}}}, or use update(); nothing was changed")
        async with self._scope.write_lock(self._path):
            await self._put(json, etag)
        await self._reread()

    @asynccontextmanager
    async def editing(self) -> AsyncGenerator[Self]:
        """Edit it in place; the difference is saved when the block ends, and nothing if the block raises.

            async with client.profiles["web"].editing() as profile:
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
        before, _ = await self._read_with_etag()
        draft = type(self)(self._scope, self._path, copy.deepcopy(before))
        yield draft
        change = difference(before, draft.raw)
        if not change:
            return
        patch = self._merge_patch(change, before)
        after = wire.merge_patch(before, patch)

        def merged(now: Json) -> Json:
            try:
                return merge(before, after, now)
            except Conflict as conflict:
                raise IncusPreconditionError(
                    f"{self._called}: somebody else changed {conflict} as well, while it was edited; nothing was "
                    "saved: read it again and repeat the change",
                    status_code=412,
                ) from None

        _, read = await self._rewrite(merged)
        self._load(*(read or await self._read_with_etag()))
        draft._path = self._path
        draft._load(self.raw, self._etag)

    async def _put_body(self, body: Json) -> Json:
        """What a ``PUT`` must send so that the object becomes ``body``."""
        return body

    async def _put(self, body: Json, etag: str | None, wait: bool = True) -> Operation | None:
        await self._require_fields(self._scope, body)
        body = await self._put_body(with_never(body, self._NEVER))
        done = await self._perform("PUT", body=body, headers={"If-Match": etag} if etag else None, wait=wait)
        self._etag = None
        self._written(body)
        return done

    async def _update(
        self, change: Mapping[str, Any], wait: bool = True, etag: str | None = None
    ) -> tuple[Operation | None, Read | None]:
        """GET, merge, PUT with If-Match; again if somebody else was faster. This handle stays as it was."""
        patch = self._merge_patch(change)

        def merged(now: Json) -> Json:
            self._require_known(patch, now)
            return wire.merge_patch(now, patch)  # type: ignore[no-any-return]

        return await self._rewrite(merged, wait, expected=etag)

    async def _rewrite(
        self,
        merged: Callable[[Json], Json],
        wait: bool = True,
        require: Callable[[Json], None] | None = None,
        expected: str | None = None,
    ) -> tuple[Operation | None, Read | None]:
        """Write what ``merged`` makes of the object as it is; again if somebody else was faster.

        ``require`` raises for an object that is not to be written. With an ``expected`` ETag it is written once, and
        only if it has that.

        Returns the operation, and the object as it is now, if that was read.
        """
        async with self._scope.write_lock(self._path):
            attempts = _ATTEMPTS if expected is None else 1
            of = f"{self._called} was changed by somebody else meanwhile"
            pause = self._scope.transport.pause
            async for last in Attempts(attempts, 0.01, longest=0.5, jitter=True, sleep=pause, of=of):
                current, etag = await self._read_with_etag()
                if expected not in (None, etag):
                    raise IncusPreconditionError(
                        f"{self._called} has changed since that ETag was read: read it again and repeat the change; "
                        "nothing was changed",
                        status_code=412,
                    )
                if require is not None:
                    require(current)
                body = merged(current)
                begun = time.monotonic()
                try:
                    outcome = await self._put(body, etag, wait)
                except IncusPreconditionError:
                    if last:
                        raise
                    continue
                if self._WRITTEN_AT_ONCE:
                    return outcome, None
                # Who compared the ETag at the same moment has written about as long after.
                await self._scope.transport.pause(min(time.monotonic() - begun, _LONGEST_WRITE))
                read = await self._read_with_etag()
                if last or is_kept(read[0], body, merged, self._writable_fields() or body):
                    return outcome, read
        raise AssertionError("unreachable")

    def _merge_patch(self, change: Mapping[str, Any], current: Json | None = None) -> Json:
        """``change`` as a merge patch: configuration in strings, a key with a dot being a key of ``config``.

        Raises `IncusInputError` for what cannot be written.
        """
        patch = with_dotted_keys(to_body(change))
        self._require_known(patch, current)
        return patch


class Updatable(Writable[Body], Generic[Body]):
    """An object whose fields can be changed one by one."""

    async def update(self, change: Body | Mapping[str, Any], *, etag: str | None = None) -> None:
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
        _, read = await self._update(change, etag=etag)  # type: ignore[arg-type]
        self._load(*(read or await self._read_with_etag()))


class Patchable(Resource, Generic[Body]):
    """An object that the server itself can merge changes into."""

    _PATCH_NEEDS_CONFIG: ClassVar[bool] = False
    """Whether servers fail on a ``PATCH`` without ``config``; then an empty one is added."""
    _PATCH_IGNORES: ClassVar[frozenset[str]] = frozenset()
    """Writable fields that servers drop from a ``PATCH``."""

    async def patch(self, body: Body | Mapping[str, Any]) -> None:
        """Have the server merge ``body`` into the object by its own rules, which differ between kinds of objects.

        `update` follows one rule everywhere.

        Args:
            body: The fields to change; a key with a dot is a key of ``config``.

        Raises:
            IncusInputError: It cannot be written, or not by a ``PATCH``; nothing was changed.

        API:
            ``PATCH`` of its path
        """
        json = with_dotted_keys(to_body(body))  # type: ignore[arg-type]
        self._require_known(json, None, strict=True)
        if ignored := self._PATCH_IGNORES & json.keys():
            raise IncusInputError(f"servers drop {sorted(ignored)} from a PATCH: use update(); nothing was changed")
        await self._require_fields(self._scope, json)
        if self._PATCH_NEEDS_CONFIG:
            json["config"] = json.get("config") or {}
        if "expires_at" in json:
            json = with_never(json, self._NEVER)
        async with self._scope.write_lock(self._path):
            await self._perform("PATCH", body=json)
        self._etag = None
        self._written(json)
        await self._reread()


class Editable(Updatable[Body], Patchable[Body], Generic[Body]):
    """An object that can be changed in every way: `update`, `editing`, `replace`, `patch`."""


class Renamable(Resource):
    """An object that can be renamed."""

    _RENAME_PATIENCE: ClassVar[float] = 0.0
    """Seconds that servers may take to answer, on top of the client's timeout."""

    async def rename(self, new_name: str) -> None:
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
        wire.path(new_name)
        renaming = self._perform("POST", body={self.KEY: new_name}, patience=self._RENAME_PATIENCE)
        await or_missing(renaming, self._read_with_etag)
        self._path = (*self._path[:-1], self._segment(new_name))
        self._json[self.KEY] = new_name


class Deletable(Resource):
    """An object that can be deleted."""

    async def delete(self, *, missing_ok: bool = False) -> None:
        """Delete it.

        Args:
            missing_ok: Accept that it does not exist.

        Raises:
            IncusNotFoundError: It does not exist, and ``missing_ok`` is not set.

        API:
            ``DELETE`` of its path
        """
        await delete_or_miss(self._perform("DELETE"), missing_ok, self.exists)


Item = TypeVar("Item", bound=Resource)
"""The objects of a collection."""


class Collection(Group, Generic[Item]):
    """All objects of one kind under one path."""

    _resource: type[Item]
    _lists_any_project: ClassVar[bool] = False
    """Whether servers list nothing for a project that does not exist, instead of saying so."""
    _urls_quoted: ClassVar[bool] = True
    """Whether the server quotes names in the URLs that it lists. Where it does not, they can mean two things."""
    _named_with_parent: ClassVar[bool] = False
    """Whether servers list an object as ``parent/name``, and show it alone as ``name``."""
    _located: ClassVar[bool] = False
    """Whether each belongs to a member of the cluster, on which its handle then looks for it."""
    _options: ClassVar[Mapping[str, str]] = {}
    """What `list` takes here, each with the API extension it needs: ``filter``, ``all-projects``, ``target``."""

    def __getitem__(self, key: str) -> Item:
        """A handle on one of them; makes no request."""
        key = self._spelling(key)
        return self._resource(self._scope, (*self._path, *self._segments(key)), self._known(key), loaded=False)

    async def list(
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
        return await self._list((), recursion, filter, all_projects, project, target)

    async def _list(
        self,
        segments: tuple[str, ...],
        recursion: int,
        filter: str | Filter | None,
        all_projects: bool,
        project: str | None,
        target: str | None,
    ) -> builtins.list[Item]:
        """`list` below ``segments`` of the collection's path."""
        wire.depth(recursion)
        scope = self._scope.view(project=project, target=target)
        query = {"filter": _written(filter), "all-projects": all_projects or None}
        wire.target("", query)  # a filter that cannot be sent is refused before anything is
        await self._require_extension()
        for option in [option for option, value in {**query, "target": target}.items() if value is not None]:
            await self._require_option(option)
        depth = recursion if self._urls_quoted else max(recursion, 1)
        answer = await scope.request("GET", self._url(*segments), query={"recursion": depth, **query})
        if self._lists_any_project and not answer.entries and not all_projects:
            await scope.require_project()
        return Table([self._from_list(item, all_projects, recursion > 0, scope) for item in answer.entries])

    async def _require_extension(self) -> None:
        if self._resource._EXTENSION is not None:
            await self._scope.require(self._resource._EXTENSION, self._resource.__name__)

    async def _require_option(self, option: str) -> None:
        name = option.replace("-", "_")
        if option not in self._options:
            raise IncusInputError(f"{type(self).__name__}.list() has no {name}: the API does not offer it here")
        await self._scope.require(self._options[option], f"{name} of {type(self).__name__}.list()")

    async def get(self, name: str) -> Item:
        """One of them, read.

        Args:
            name: Its name, or what else is its key here.

        Raises:
            IncusNotFoundError: It does not exist.

        API:
            ``GET`` of its path
        """
        return await self[name]._read()

    async def exists(self, name: str) -> bool:
        """Whether one of that name exists.

        Args:
            name: Its name, or what else is its key here.

        API:
            ``GET`` of its path
        """
        return await self[name].exists()

    def _spelling(self, key: str) -> str:
        """A key as servers write it, where callers can write it in several ways."""
        return key

    def _segments(self, key: str) -> tuple[str, ...]:
        """The path segments of one object below the collection's; checks the key before anything is sent."""
        wire.quoted(key)
        return (self._resource._segment(key),)

    def _known(self, key: str) -> Json:
        """What a handle knows of its object without reading it."""
        return {self._resource.KEY: key, "project": self._scope.project or "default"}

    def _key(self, json: Json) -> str:
        """The key of an object that the server sent."""
        return wire.text(json, self._resource.KEY)

    def _from_list(self, item: Any, all_projects: bool, loaded: bool, scope: Scope) -> Item:
        """The object of one entry of a list: its JSON, or with recursion 0 its URL."""
        if isinstance(item, str):
            segments, project = tuple(wire.names(item)[len(self._path) :]), wire.parameter(item, "project")
            key = "/".join(segments)
        else:
            if self._named_with_parent:
                item[self._resource.KEY] = self._key(item).rpartition("/")[2]
            key = self._key(item)
            project = wire.text(item, "project") if (all_projects or not loaded) and "project" in item else ""
            segments = self._segments(key)
        if loaded and isinstance(item, dict):
            json: Json = item
        else:
            json = self._known(key) | {"project": project or scope.project or "default"}
        if self._located and not scope.target:
            location = wire.parameter(item, "target") if isinstance(item, str) else item.get("location")
            scope = scope.view(target=location if location != "none" else None) if location else scope
        # Within one project the client's own view stays: an inherited object is another project's, and may be forbidden
        # there.
        scope = scope.view(project=project) if all_projects else scope
        return self._resource(scope, (*self._path, *segments), json, loaded)

    async def _create(self, key: str, body: Mapping[str, Any], *segments: str) -> Item:
        """POST an object, and read what the server made of it."""
        handle = self[key]
        json = to_body({**handle._json, **body})
        json.pop("project", None)
        self._resource._require_known_entries(body, {})  # records may have a newer server's fields
        await self._resource._require_fields(self._scope, json)

        async def undo(operation: Operation | None) -> None:
            if operation is not None and was_created(operation):  # else it was a single request, done or not
                await handle._perform("DELETE")

        await self._require_extension()
        operation = await create_or_undo(self._scope, self._url(*segments), json, undo)
        async with undoing(lambda: undo(operation), asyncio.CancelledError):
            return await handle.refresh()


class Nested(Collection[Item]):
    """Objects that can be read together with what hangs below them, in one request."""

    _get_extension: ClassVar[str]
    """The API extension that `get` needs for it."""
    _list_extension: ClassVar[str | None] = None
    """The API extension that `list` needs for it, if servers of 6.0 may lack it."""

    async def get(self, name: str, *, recursion: int = 0) -> Item:
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
        handle = self[name]
        if not recursion:
            return await handle._read()
        await self._scope.require(self._get_extension, f"recursion of {type(self).__name__}.get()")
        return await handle._read({"recursion": recursion})

    async def _list(
        self,
        segments: tuple[str, ...],
        recursion: int,
        filter: str | Filter | None,
        all_projects: bool,
        project: str | None,
        target: str | None,
    ) -> builtins.list[Item]:
        if wire.depth(recursion) > 1 and self._list_extension is not None:
            await self._scope.require(self._list_extension, f"recursion {recursion} of {type(self).__name__}.list()")
        return await super()._list(segments, recursion, filter, all_projects, project, target)


def _written(filter: str | Filter | None) -> str | None:
    """A filter as the server reads it."""
    if filter is None or isinstance(filter, str):
        return filter
    from ..filters import Filter

    if not isinstance(filter, Filter):
        raise IncusInputError(
            f'filter must be a condition such as F("status") == "Running", or a str, not {type(filter).__name__}'
        )
    return str(filter)
