"""Objects as they should be: made if they are missing, changed where they differ."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

from .._concurrency import Attempts
from .._connection import wire
from ..exceptions import IncusAPIError, IncusNotFoundError, IncusOperationError
from ..models.base import Json
from .base import Writable

P = ParamSpec("P")
WritableItem = TypeVar("WritableItem", bound=Writable[Any])
WritableItemCo = TypeVar("WritableItemCo", bound=Writable[Any], covariant=True)

_ATTEMPTS = 20  # to create it or to find it, while others create and delete it
_PICKED = ("ipv4.address", "ipv6.address")  # keys for which servers put an address in the place of "auto"


class Change(NamedTuple):
    """What a field was, and what it is now; None where there is none."""

    old: Any
    new: Any


@dataclass(frozen=True)
class Ensured(Generic[WritableItem]):
    """What ``ensure()`` made of an object. In a condition: whether it did anything."""

    item: WritableItem
    """The object, read."""
    created: bool
    """Whether it was made."""
    changed: Mapping[str, Change] = field(default_factory=dict, repr=False)  # values can be secrets
    """What was changed of one that was there, by its path: ``config.limits.cpu``, ``devices.eth0.mtu``, ``status``."""

    def __bool__(self) -> bool:
        return self.created or bool(self.changed)


class _Creates(Protocol[P, WritableItemCo]):
    """A collection, as `Ensures` sees it."""

    def __getitem__(self, key: str, /) -> WritableItemCo: ...

    async def create(self, *args: P.args, **kwargs: P.kwargs) -> WritableItemCo: ...

    def _created_key(self, argument: Any, /) -> str: ...


class Ensures:
    """A verb that makes an object or changes it."""

    async def ensure(self: _Creates[P, WritableItem], *args: P.args, **kwargs: P.kwargs) -> Ensured[WritableItem]:
        """Create one as ``create()`` does; if it exists, change what differs from the arguments.

        Fields and keys that are not given are kept, as by ``update()``, and a None removes a key. What only
        ``create()`` takes, as the ``source`` of a volume, is of no account for one that exists. Several can do this at
        once.

        Args:
            *args: What ``create()`` takes.
            **kwargs: What ``create()`` takes.

        Returns:
            The object, read; whether it was created; and what was changed.

        Raises:
            IncusInputError: It has no such field; or it exists, and differs in one that cannot be changed, as the
                ``driver`` of a pool. Nothing was changed.
            IncusAPIError: It could not be created or changed.

        API:
            ``GET`` of its path; ``POST`` of the collection's, or ``PUT`` of its own
        """
        given = inspect.signature(self.create).bind(*args, **kwargs)
        first, *others = given.arguments.items()
        handle, fields = self[self._created_key(first[1])], dict[str, Any]()
        for name, value in others:
            if given.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                fields |= value
            elif value is not None and name in handle.fields():
                fields[name] = value

        async def create() -> WritableItem:
            given.arguments |= {name: without_none(value) for name, value in others}
            return await self.create(*given.args, **given.kwargs)

        return await ensure_item(handle, fields, create)

    def _created_key(self, argument: Any, /) -> str:
        """The key of what ``create()`` makes of its first argument."""
        return argument  # type: ignore[no-any-return]


async def ensure_item(
    item: WritableItem,
    fields: Mapping[str, Any],
    create: Callable[[], Awaitable[WritableItem]],
    settle: Callable[[], Awaitable[None]] | None = None,
    complete: Callable[[Json, Json], Json] = lambda patch, now: patch,
) -> Ensured[WritableItem]:
    """Create an object, or give it these fields.

    ``settle`` waits until others have created it. ``complete`` gets the fields as a merge patch, and the object as it
    is.
    """
    changed: dict[str, Change] = {}

    def unmet(now: Json) -> Json:
        return _unmet(complete(item._merge_patch(fields, now), now), now)

    def merged(now: Json) -> Json:
        if patch := unmet(now):  # nothing is, once it is written and looked at again
            changed.clear()
            changed.update(_changes(patch, now))
        return wire.merge_patch(now, patch)  # type: ignore[no-any-return]

    async def change() -> Ensured[WritableItem] | None:
        if settle is not None:
            await settle()
        try:
            now, etag = await item._read_with_etag()
            if item._PENDING_IS_HALF_MADE and now.get("status") == "Pending":  # somebody is creating it
                return None
            if unmet(now):
                _, read = await item._rewrite(merged)
                now, etag = read or await item._read_with_etag()
        except IncusNotFoundError:
            return None
        item._load(now, etag)
        return Ensured(item, False, changed)

    async for last in Attempts(_ATTEMPTS, 0.05, longest=1.0, sleep=item._scope.transport.pause):
        if (found := await change()) is not None:
            return found
        try:
            return Ensured(await create(), True)
        except (IncusAPIError, IncusOperationError) as error:
            # Whoever creates it has its name a moment before it is there.
            if last or not (wire.BEING_CREATED in str(error) or await item.exists()):
                raise
    raise AssertionError("unreachable")


def _unmet(patch: Json, now: Json) -> Json:
    """The part of a merge patch that changes something."""
    unmet: Json = {}
    for key, value in patch.items():
        old = now.get(key)
        if isinstance(value, dict):
            if rest := _unmet(value, old if isinstance(old, dict) else {}):
                unmet[key] = rest
        elif not (value == "auto" and key in _PICKED and old not in (None, "none")) and not is_met(value, old):
            unmet[key] = value
    return unmet


def is_met(value: Any, old: Any) -> bool:
    """Whether a field has a value; objects in it can have more fields, which servers add."""
    if isinstance(value, list) and isinstance(old, list):
        return len(value) == len(old) and all(is_met(*pair) for pair in zip(value, old, strict=True))
    if isinstance(value, dict) and isinstance(old, dict):
        return all(is_met(each, old.get(name)) for name, each in value.items())
    return bool(value == old or not (value or old))  # a field that is empty, and one that is not there


def _changes(patch: Json, now: Json, path: str = "") -> dict[str, Change]:
    changes: dict[str, Change] = {}
    for key, value in patch.items():
        old, where = now.get(key), f"{path}{key}"
        if isinstance(value, dict) and isinstance(old, dict):
            changes |= _changes(value, old, f"{where}.")
        else:
            changes[where] = Change(old, value)
    return changes


def without_none(value: Any) -> Any:
    """A mapping without what is None in it, at every depth."""
    if not isinstance(value, Mapping):
        return value
    return {key: without_none(each) for key, each in value.items() if each is not None}
