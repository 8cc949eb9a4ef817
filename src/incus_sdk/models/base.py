"""Records: typed views over the JSON that the server sent.

A record holds the one JSON object and never copies it. Its fields are annotations, read when asked for:

    class InstanceState(Record):
        status: str
        cpu: InstanceStateCPU
        network: RecordMap[InstanceStateNetwork]

What the server sends and this SDK has never heard of stays where it is, at any depth, and is readable as
``record["new_field"]``. Reading never changes the JSON, and never raises over a value of another type: such a value
comes out as it is. Absent and null read as the type's zero (``""``, ``0``, ``False``, empty), as the server means them.

Knows nothing of the network; imports nothing else of this package.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, SupportsIndex, TypeVar, overload

Json = dict[str, Any]
"""One JSON object."""

Config = Mapping[str, str | int | bool | None]
"""Configuration as callers write it; sent as strings (``True`` as ``"true"``). In an update, None removes the key."""

Devices = Mapping[str, Config]
"""Devices by name, each with its configuration."""

_Reader = Callable[[Json, str], Any]


@dataclass(frozen=True)
class Key:
    """Names the JSON key of a field whose key is no Python name: ``Annotated[bool, Key("record-output")]``."""

    name: str


class Record(Mapping[str, Any]):
    """A typed view over one JSON object: fields by attribute, the JSON itself by ``[...]`` and ``raw``."""

    _json: Json
    _fields: ClassVar[dict[str, tuple[str, _Reader]]]

    def __init__(self, json: Json | None = None) -> None:
        object.__setattr__(self, "_json", {} if json is None else json)

    @property
    def raw(self) -> Json:
        """The JSON object itself, not a copy."""
        return self._json

    @classmethod
    def fields(cls) -> dict[str, str]:
        """The names of the typed fields, each with its JSON key."""
        return {name: key for name, (key, _) in cls._field_table().items()}

    @classmethod
    def _field_table(cls) -> dict[str, tuple[str, _Reader]]:
        # Resolved at the first use of each class: importing all of them must cost next to nothing.
        table = cls.__dict__.get("_fields")
        if table is None:
            table = {}
            for name, hint in typing.get_type_hints(cls, include_extras=True).items():
                if name.startswith("_") or typing.get_origin(hint) is ClassVar:
                    continue
                key = name
                if typing.get_origin(hint) is Annotated:
                    hint, extra = typing.get_args(hint)
                    key = extra.name
                table[name] = (key, _reader(hint))
            cls._fields = table
        return table

    if not typing.TYPE_CHECKING:
        # Type checkers must see the annotated fields and no others, so that they find misspelt ones.

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            return self._field(name)

        def __setattr__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                object.__setattr__(self, name, value)
                return
            entry = self._field_table().get(name)
            if entry is None:
                raise AttributeError(f"{type(self).__name__} has no field {name!r}; write any other key as [{name!r}]")
            self[entry[0]] = value

    def _field(self, name: str) -> Any:
        entry = self._field_table().get(name)
        if entry is None:
            known = f"; the server sent it: read it as [{name!r}]" if name in self._json else ""
            raise AttributeError(f"{type(self).__name__} has no field {name!r}{known}")
        key, read = entry
        return read(self._json, key)

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self._field_table()]

    def __getitem__(self, key: str) -> Any:
        return self._json[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._json[key] = to_json(value)

    def __delitem__(self, key: str) -> None:
        del self._json[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._json)

    def __len__(self) -> int:
        return len(self._json)

    def __repr__(self) -> str:
        # Only what names the object: config and metadata can hold secrets.
        shown = [
            f"{key}={self._json[key]!r}"
            for key in ("name", "id", "fingerprint", "type", "status")
            if isinstance(self._json.get(key), str)
        ]
        return f"<{' '.join([type(self).__name__, *shown])}>"


R = TypeVar("R", bound=Record)


class RecordList(MutableSequence[R], Generic[R]):
    """A JSON list of objects, seen as records; writing to it writes to the JSON."""

    def __init__(self, type: type[R], raw: list[Any]) -> None:
        self._type = type
        self.raw = raw

    @overload
    def __getitem__(self, index: SupportsIndex) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: Any) -> Any:
        found = self.raw[index]
        return [_view(self._type, item) for item in found] if isinstance(index, slice) else _view(self._type, found)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.raw[index] = to_json(list(value) if isinstance(index, slice) else value)

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        del self.raw[index]

    def __len__(self) -> int:
        return len(self.raw)

    def insert(self, index: SupportsIndex, value: R | Mapping[str, Any]) -> None:
        """Put a record, or a plain mapping, before ``index``."""
        self.raw.insert(index, to_json(value))

    def append(self, value: R | Mapping[str, Any]) -> None:
        """Put a record, or a plain mapping, at the end."""
        self.raw.append(to_json(value))

    def __eq__(self, other: object) -> bool:
        return self.raw == (other.raw if isinstance(other, RecordList) else other)

    def __repr__(self) -> str:
        return repr(list(self))


class RecordMap(MutableMapping[str, R], Generic[R]):
    """A JSON object whose values are objects, seen as records by name; writing to it writes to the JSON."""

    def __init__(self, type: type[R], raw: Json) -> None:
        self._type = type
        self.raw = raw

    def __getitem__(self, key: str) -> R:
        found: R = _view(self._type, self.raw[key])
        return found

    def __setitem__(self, key: str, value: R | Mapping[str, Any]) -> None:
        self.raw[key] = to_json(value)

    def __delitem__(self, key: str) -> None:
        del self.raw[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def __repr__(self) -> str:
        return repr(dict(self))


def to_json(value: Any) -> Any:
    """The plain JSON of a value that may hold records, mappings, lists or times; a record's own JSON is not copied."""
    match value:
        case Record() | RecordList() | RecordMap():
            return value.raw
        case dict() | list():
            return value if _is_plain(value) else _copied(value)
        case Mapping() | tuple():
            return _copied(value)
        case datetime():
            return value.astimezone().isoformat()  # one without a zone is local time, as everywhere in Python
        case _:
            return value


def parse_time(value: Any) -> datetime | None:
    """A server's time, or None for never: absent, year 1 and the epoch are how servers say it. Cut to microseconds."""
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return None if time.year == 1 or time.timestamp() == 0 else time


def _is_plain(value: Any) -> bool:
    children = value.values() if isinstance(value, dict) else value
    return all(
        _is_plain(child) if isinstance(child, dict | list) else not isinstance(child, _COMPOSITE) for child in children
    )


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: to_json(child) for key, child in value.items()}
    return [to_json(child) for child in value]


_COMPOSITE = (Mapping, tuple, datetime, RecordList)


class _LateDict(Json):
    """The empty object that stands for a null or absent one: the first write puts it into its owner."""

    def __init__(self, owner: Json, key: str) -> None:
        super().__init__()
        self._owner, self._key = owner, key

    def _attach(self) -> None:
        there = self._owner.get(self._key)
        if there is None:
            self._owner[self._key] = self
        elif isinstance(there, _LateDict) and there is not self:
            # Two were read before the first write: carry on from what the other one wrote.
            super().clear()
            super().update(there)
            self._owner[self._key] = self

    def __setitem__(self, key: str, value: Any) -> None:
        self._attach()
        super().__setitem__(key, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        self._attach()
        super().update(*args, **kwargs)

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._attach()
        return super().setdefault(key, default)

    def __ior__(self, other: Any) -> _LateDict:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __reduce__(self) -> tuple[type[Json], tuple[Json]]:
        # A copy is a plain object: rebuilding this class would write to an owner that is not there yet.
        return dict, (dict(self),)


class _LateList(list[Any]):
    """The empty list that stands for a null or absent one: the first write puts it into its owner."""

    def __init__(self, owner: Json, key: str) -> None:
        super().__init__()
        self._owner, self._key = owner, key

    def _attach(self) -> None:
        there = self._owner.get(self._key)
        if there is None:
            self._owner[self._key] = self
        elif isinstance(there, _LateList) and there is not self:
            # Two were read before the first write: carry on from what the other one wrote.
            super().__setitem__(slice(None), there)
            self._owner[self._key] = self

    def append(self, value: Any) -> None:
        self._attach()
        super().append(value)

    def insert(self, index: SupportsIndex, value: Any) -> None:
        self._attach()
        super().insert(index, value)

    def extend(self, values: Iterable[Any]) -> None:
        self._attach()
        super().extend(values)

    def __iadd__(self, values: Iterable[Any]) -> _LateList:  # type: ignore[misc]
        self.extend(values)
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        self._attach()
        super().__setitem__(index, value)

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)


def _view(type: type[R], raw: Any) -> Any:
    return type(raw) if isinstance(raw, dict) else raw


def _present(raw: Any, absent: Any) -> Any:
    return absent if raw is None else raw


def _reader(hint: Any) -> _Reader:
    """How to read one field, by its annotation."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is RecordList:
        return lambda json, key: (
            RecordList(args[0], raw) if isinstance(raw := _present(json.get(key), _LateList(json, key)), list) else raw
        )
    if origin is RecordMap:
        return lambda json, key: (
            RecordMap(args[0], raw) if isinstance(raw := _present(json.get(key), _LateDict(json, key)), dict) else raw
        )
    if origin is list:
        return lambda json, key: _present(json.get(key), _LateList(json, key))
    if origin is dict:
        return lambda json, key: _present(json.get(key), _LateDict(json, key))
    if datetime in args:
        return lambda json, key: parse_time(json.get(key))
    if isinstance(hint, type) and issubclass(hint, Record):
        return lambda json, key: _view(hint, _present(json.get(key), _LateDict(json, key)))
    if hint in (str, int, float, bool):
        return lambda json, key: _present(json.get(key), hint())
    if hint is Any:
        return lambda json, key: json.get(key)
    raise TypeError(f"no way to read a field annotated {hint!r}")
