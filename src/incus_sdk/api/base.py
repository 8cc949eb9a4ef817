"""The verbs, once for all resources: list get exists create update replace patch editing rename delete.

A resource is two small classes:

    class Profile(models.Profile, Editable[models.ProfilePut], Renamable, Deletable):
        \"\"\"A profile: ...\"\"\"

    class ProfilesAPI(Edits[Profile, models.ProfilePut], Renames[Profile], Deletes[Profile]):
        \"\"\"``client.profiles``.\"\"\"

        resource, segment = Profile, "profiles"

        async def create(self, name: str, **body: Unpack[models.ProfilePut]) -> Profile: ...

The first is one object: a record that knows where it lives (a handle until it is read). The second is all of them under
one path. Every verb stands on the object; the collection's verb of the same name takes the object's key first and does
just that.
"""

from __future__ import annotations

import asyncio
import builtins
import copy
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Generic, Self, TypeVar

from .._connection import wire
from .._connection.scope import Scope
from .._connection.transport import Headers
from ..exceptions import IncusInputError, IncusNotFoundError, IncusNotLoadedError, IncusPreconditionError
from ..filters import Filter
from ..models.base import Json, Record, to_json
from ..operations import Operation, perform

_CLOSING = 1.0  # seconds that the other side of a raw connection has to take the last of what was written
_ATTEMPTS = 20  # of an update, each after somebody else's; then the 412 is raised


class Resource(Record):
    """A record that knows where it lives. `Collection.__getitem__` makes it without a request, knowing only its key."""

    KEY: ClassVar[str] = "name"
    """The field that names it within its collection."""
    EXTENSION: ClassVar[str | None] = None
    """The API extension that brought this kind of object, where servers of 6.0 may lack it."""

    def __init__(self, scope: Scope, path: tuple[str, ...], json: Json, loaded: bool = True) -> None:
        super().__init__(json)
        self._scope = scope
        self._path = path
        self._loaded = loaded
        self._etag: str | None = None

    @property
    def etag(self) -> str | None:
        """What `replace` takes so as to undo nobody's change; known after `refresh` or ``get()``, else None."""
        return self._etag

    async def refresh(self) -> Self:
        """Read it from the server into this object, and return it. ``GET`` of its path."""
        answer = await self._request("GET")
        self._load(answer.metadata, answer.etag)
        return self

    async def exists(self) -> bool:
        """Whether it exists. ``GET`` of its path."""
        try:
            await self._request("GET")
        except IncusNotFoundError:
            return False
        return True

    @property
    def raw(self) -> Json:
        """The JSON object itself, not a copy."""
        self._require_loaded("its JSON")
        return super().raw

    def _field(self, name: str) -> Any:
        if name in self._field_table():
            self._require_loaded(name)
        return super()._field(name)

    def __getitem__(self, key: str) -> Any:
        self._require_loaded(key)
        return super().__getitem__(key)

    def __iter__(self) -> Any:
        self._require_loaded("its JSON")
        return super().__iter__()

    def __len__(self) -> int:
        self._require_loaded("its JSON")
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
            raise IncusNotLoadedError(
                f"{what!r} of {type(self).__name__} {self._path[-1]!r} is not known: it was never read from the "
                "server; `await handle.refresh()` first, or get() it"
            )

    def _load(self, json: Json, etag: str | None = None) -> None:
        self._json, self._loaded, self._etag = json, True, etag

    async def _request(
        self,
        method: str,
        *segments: str,
        query: wire.Query | None = None,
        body: Any = None,
        headers: Headers | None = None,
    ) -> wire.Answer:
        path = wire.path(*self._path, *segments)
        await self._supported()
        return await self._scope.request(method, path, query=query, body=body, headers=headers)

    async def _perform(
        self,
        method: str,
        *segments: str,
        query: wire.Query | None = None,
        body: Any = None,
        headers: Headers | None = None,
        wait: bool = True,
    ) -> Operation | None:
        """`_request` for what the server may do in the background; returns when it is done, or with the operation
        begun.
        """
        path = wire.path(*self._path, *segments)
        await self._supported()
        return await perform(self._scope, method, path, query=query, body=body, headers=headers, wait=wait)

    @asynccontextmanager
    async def _upgraded(
        self, method: str, *segments: str, protocol: str, query: wire.Query | None = None, body: Any = None
    ) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A raw byte stream in ``protocol``, until the block ends; what was written is sent before."""
        path = wire.path(*self._path, *segments)
        await self._supported()
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

    async def _supported(self) -> None:
        await _supported(self._scope, type(self))

    async def _read_with_etag(self) -> tuple[Json, str | None]:
        """The object as it is now, with its ETag."""
        answer = await self._request("GET")
        return answer.metadata, answer.etag

    async def _put(self, body: Json, etag: str | None, wait: bool = True) -> Operation | None:
        return await self._perform("PUT", body=body, headers={"If-Match": etag} if etag else None, wait=wait)

    async def _update(self, change: Mapping[str, Any], wait: bool = True) -> Operation | None:
        """GET, merge, PUT with If-Match, again if somebody else was faster."""
        patch = self._patch(change)
        for attempt in range(_ATTEMPTS):
            current, etag = await self._read_with_etag()
            if unknown := set(patch) - set(current) - set(self.fields().values()):
                raise IncusInputError(f"{type(self).__name__} has no fields {sorted(unknown)}; nothing was changed")
            merged = wire.merge_patch(current, patch)
            try:
                outcome = await self._put(merged, etag, wait)
            except IncusPreconditionError:
                if attempt == _ATTEMPTS - 1:
                    raise
                # Writers that all tried again at once would go on meeting each other.
                await asyncio.sleep(random.uniform(0, min(0.01 * 2**attempt, 0.5)))
                continue
            self._load(merged)
            return outcome
        raise AssertionError("unreachable")

    @staticmethod
    def _patch(change: Mapping[str, Any]) -> Json:
        """``change`` as a merge patch: configuration in strings, a key with a dot being one of ``config``."""
        patch = to_body(change)
        dotted = {key: patch.pop(key) for key in list(patch) if "." in key}
        if dotted:
            patch["config"] = {**(patch.get("config") or {}), **wire.config_strings(dotted)}
        return patch


async def _supported(scope: Scope, kind: type[Resource]) -> None:
    if kind.EXTENSION is not None:
        await scope.require(kind.EXTENSION, kind.__name__)


def to_body(body: Mapping[str, Any]) -> Json:
    """A request body as JSON, with the values of ``config`` and ``devices`` as strings.

    Raises `IncusInputError` for what has no such form.
    """
    if not isinstance(body, Mapping):
        raise IncusInputError(f"expected a mapping of fields, not {type(body).__name__}")
    plain: Json = dict(to_json(body))
    if plain.get("config") is not None:
        plain["config"] = wire.config_strings(plain["config"])
    if plain.get("devices") is not None:
        devices = plain["devices"]
        if not isinstance(devices, Mapping):
            raise IncusInputError(f"devices must be a mapping, not {type(devices).__name__}")
        plain["devices"] = {
            name: device if device is None else wire.config_strings(device, f"devices[{name!r}]")
            for name, device in devices.items()
        }
    return plain


B = TypeVar("B")
"""The TypedDict of an object's writable fields."""


class Writable(Resource, Generic[B]):
    """Verbs of an object that can be changed, but for `Editable.update`."""

    async def replace(self, body: B | Mapping[str, Any], etag: str | None = None) -> None:
        """Replace all writable fields by exactly ``body``: what it does not name is reset. ``PUT`` of its path.

        With ``etag``, raises `IncusPreconditionError` if the object has changed since.
        """
        await self._put(to_body(_mapping(body)), etag)

    async def patch(self, body: B | Mapping[str, Any]) -> None:
        """Hand ``body`` to the server, which merges it by its own rules. ``PATCH`` of its path."""
        await self._perform("PATCH", body=to_body(_mapping(body)))

    @asynccontextmanager
    async def editing(self) -> AsyncGenerator[Self]:
        """Edit it in place; the difference is saved at the end, as `update` does, and nothing if the block raises.

            async with client.profiles["web"].editing() as profile:
                profile.config["limits.memory"] = "2GiB"
                del profile.devices["eth0"]

        The changes are merged into the object as it is when they are saved, so other writers' changes stay.
        """
        current, _ = await self._read_with_etag()
        draft = type(self)(self._scope, self._path, copy.deepcopy(current))
        yield draft
        change = difference(current, draft.raw)
        if change:
            await self._update(change)
            draft._load(self.raw)


class Editable(Writable[B], Generic[B]):
    """Verbs of an object that can be changed."""

    async def update(self, change: B | Mapping[str, Any]) -> None:
        """Change some fields and keep all others, whoever else is writing.

        ``change`` is a JSON merge patch: keys not named are kept, at every depth, a None removes its key. A key with a
        dot is one of ``config``: ``{"limits.cpu": 2}``. GET, merge, PUT with If-Match, repeated if somebody else was
        faster; raises `IncusPreconditionError` if that does not end.
        """
        await self._update(_mapping(change))


def difference(before: Any, after: Mapping[str, Any]) -> Json:
    """The merge patch that makes ``before`` into ``after``."""
    patch: Json = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if key in before and old == value:
            continue
        nested = isinstance(old, Mapping) and isinstance(value, Mapping)
        patch[key] = difference(old, value) if nested else value
    return patch


class Renamable(Resource):
    """Verbs of an object that can be renamed."""

    async def rename(self, new_name: str) -> None:
        """Give it another name; this handle goes with it. ``POST`` of its path."""
        wire.path(new_name)
        await self._perform("POST", body={self.KEY: new_name})
        self._path = (*self._path[:-1], new_name)
        self._json[self.KEY] = new_name


class Deletable(Resource):
    """Verbs of an object that can be deleted."""

    async def delete(self) -> None:
        """Delete it. ``DELETE`` of its path."""
        await self._perform("DELETE")


R = TypeVar("R", bound=Resource)
W_ = TypeVar("W_", bound=Writable[Any])
E_ = TypeVar("E_", bound=Editable[Any])
N_ = TypeVar("N_", bound=Renamable)
D_ = TypeVar("D_", bound=Deletable)


class Collection(Generic[R]):
    """All objects of one kind under one path."""

    resource: type[R]
    segment: ClassVar[str]
    urls_quoted: ClassVar[bool] = True
    """Whether the server quotes the names in the URLs that it lists. Where it does not, they can mean two things."""
    options: ClassVar[Mapping[str, str]] = {}
    """What `list` takes here, each with the API extension it needs: ``filter``, ``all-projects``, ``target``."""

    def __init__(self, scope: Scope, *parent: str) -> None:
        self._scope = scope
        self._path = (*parent, self.segment)

    def __getitem__(self, key: str) -> R:
        """A handle on one of them; makes no request."""
        return self._make(self._segments(key), self._known(key), loaded=False)

    async def list(
        self,
        recursion: int = 1,
        *,
        filter: str | Filter | None = None,
        all_projects: bool = False,
        project: str | None = None,
        target: str | None = None,
    ) -> builtins.list[R]:
        """All of them.

        ``recursion``: 0 gives handles that know only their name, 1 their records, in one request. ``filter``: which of
        them, built as ``F("name") == "web"`` or as the server writes it, ``name eq web``. ``all_projects``: those of
        every project. ``project``: those of this one, instead of the client's. ``target``: those on a cluster member,
        of volumes; for instances it is ``F("location") == "node1"``.

        Raises `IncusInputError` for what this list does not take, `IncusUnsupportedError` for what the server does not
        know yet. ``GET`` of the collection's path.
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
    ) -> builtins.list[R]:
        """`list` of what is below ``segments`` of the collection's path."""
        scope = self._scope.view(project=project, target=target)
        query = {"filter": None if filter is None else str(filter), "all-projects": all_projects or None}
        wire.target("", query)  # a filter that cannot be sent is refused before anything is
        await _supported(scope, self.resource)
        for option in [option for option, value in {**query, "target": target}.items() if value is not None]:
            await self._require(option)
        asked = recursion if self.urls_quoted else max(recursion, 1)
        answer = await scope.request("GET", wire.path(*self._path, *segments), query={"recursion": asked, **query})
        return [self._listed(item, all_projects, recursion > 0, scope) for item in answer.metadata or ()]

    async def _require(self, option: str) -> None:
        if option not in self.options:
            raise IncusInputError(f"{type(self).__name__}.list() takes no {option.replace('-', '_')}: the API has none")
        await self._scope.require(self.options[option], f"{option.replace('-', '_')} of {type(self).__name__}.list()")

    async def get(self, name: str) -> R:
        """One of them, read. Raises `IncusNotFoundError`. ``GET`` of its path."""
        return await self[name].refresh()

    async def exists(self, name: str) -> bool:
        """Whether there is one of that name. ``GET`` of its path."""
        return await self[name].exists()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {wire.path(*self._path)}>"

    def _segments(self, key: str) -> tuple[str, ...]:
        """The path segments of one object below the collection's; checks the key before anything is sent."""
        wire.path(key)
        return (key,)

    def _known(self, key: str) -> Json:
        """What a handle knows of its object without reading it."""
        return {self.resource.KEY: key, "project": self._scope.project or "default"}

    def _key(self, json: Json) -> str:
        """The key of an object that the server sent."""
        key: str = json[self.resource.KEY]
        return key

    def _make(self, segments: tuple[str, ...], json: Json, loaded: bool = True, scope: Scope | None = None) -> R:
        return self.resource(scope or self._scope, (*self._path, *segments), json, loaded)

    def _listed(self, item: Any, all_projects: bool, loaded: bool, scope: Scope) -> R:
        """One entry of a list: an object, or with recursion 0 its URL."""
        if isinstance(item, str):
            segments, project = tuple(wire.names(item)[len(self._path) :]), wire.parameter(item, "project")
            key = "/".join(segments)
        else:
            key, project = self._key(item), item.get("project")
            segments = self._segments(key)
        known = self._known(key) | {"project": project or scope.project or "default"}
        json: Json = item if loaded and isinstance(item, dict) else known
        # Within one project the client's own view stays: an inherited object is another project's, and may be forbidden
        # there.
        return self._make(segments, json, loaded, scope.view(project=project) if all_projects else scope)

    async def _create(self, key: str, body: Mapping[str, Any], *segments: str) -> R:
        """POST an object, and read what the server made of it."""
        handle = self[key]
        named = to_body({**handle._json, **body})
        named.pop("project", None)
        await _supported(self._scope, self.resource)
        await perform(self._scope, "POST", wire.path(*self._path, *segments), body=named)
        return await handle.refresh()


class Writes(Collection[W_], Generic[W_, B]):
    """`Writable`'s verbs by key."""

    async def replace(self, name: str, body: B | Mapping[str, Any], etag: str | None = None) -> None:
        """Replace all writable fields of one by exactly ``body``: see `Writable.replace`."""
        await self[name].replace(body, etag)

    async def patch(self, name: str, body: B | Mapping[str, Any]) -> None:
        """Hand ``body`` to the server's own merge: see `Writable.patch`."""
        await self[name].patch(body)


class Edits(Writes[E_, B], Generic[E_, B]):
    """`Editable`'s verbs by key."""

    async def update(self, name: str, change: B | Mapping[str, Any]) -> None:
        """Change some fields of one and keep all others: see `Editable.update`."""
        await self[name].update(change)


class Renames(Collection[N_]):
    """`Renamable`'s verb by key."""

    async def rename(self, name: str, new_name: str) -> N_:
        """Give one another name; returns its handle. ``POST`` of its path."""
        handle = self[name]
        await handle.rename(new_name)
        return handle


class Deletes(Collection[D_]):
    """`Deletable`'s verb by key."""

    async def delete(self, name: str) -> None:
        """Delete one. ``DELETE`` of its path."""
        await self[name].delete()


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise IncusInputError(f"expected a mapping of fields, not {type(value).__name__}")
    return value
