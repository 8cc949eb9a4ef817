"""Records: typed views over the JSON that the server sent.

A record holds the JSON object itself, not a copy. Its fields are annotations, looked up when they are read:

    class InstanceState(Record):
        status: str
        cpu: InstanceStateCPU
        network: RecordMap[InstanceStateNetwork]

The first record of a class turns its annotations into properties. Fields that this SDK does not know stay in the JSON,
at any depth, and can be read as ``record["new_field"]``. Reading never changes the JSON. A value of an unexpected type
does not raise: it is returned unchanged. Absent and null read as the type's zero (``""``, ``0``, ``False``, empty),
which is what the server means by them.

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

ConfigMap = dict[str, str]
"""Configuration as the server sends it."""

DevicesMap = dict[str, dict[str, str]]
"""Devices by name, each with its configuration, as the server sends them."""

R = TypeVar("R", bound="Record")

_Reader = Callable[[Json, str], Any]


@dataclass(frozen=True)
class Key:
    """The JSON key of a field, where it is not a Python name: ``Annotated[bool, Key("record-output")]``."""

    name: str


class _Field(property):
    """A field of a record."""


class Record(Mapping[str, Any]):
    """A typed view over one JSON object: fields by attribute, the JSON itself by ``[...]`` and ``raw``.

    Args:
        json: The object, which is not copied; None starts with an empty one.
    """

    _json: Json
    _fields: ClassVar[dict[str, tuple[str, Callable[[Any], Any]]] | None] = None
    _shown: ClassVar[tuple[str, ...]] = ("name", "id", "fingerprint", "type", "status")
    """What its repr shows: nothing else but numbers, since texts can hold secrets."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._fields = None  # made with the first record, so that importing all classes costs next to nothing

    def __init__(self, json: Json | None = None) -> None:
        if self._fields is None:
            self._make_fields()
        self.__dict__["_json"] = {} if json is None else json  # `__setattr__` writes to that

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._field_table()
        self.__dict__.update(state)

    @property
    def raw(self) -> Json:
        """The JSON object itself, not a copy."""
        return self._json

    @classmethod
    def fields(cls) -> dict[str, str]:
        """List the typed fields.

        Returns:
            The JSON key of each, by its name.
        """
        return {name: key for name, (key, _) in cls._field_table().items()}

    @classmethod
    def _field_table(cls) -> dict[str, tuple[str, Callable[[Any], Any]]]:
        return cls._make_fields() if cls._fields is None else cls._fields

    @classmethod
    def _make_fields(cls) -> dict[str, tuple[str, Callable[[Any], Any]]]:
        """Make a property of each annotation, and the table of them: key and getter, by name."""
        table: dict[str, tuple[str, Callable[[Any], Any]]] = {}
        for name, hint in typing.get_type_hints(cls, include_extras=True).items():
            if name.startswith("_") or typing.get_origin(hint) is ClassVar:
                continue
            key = name
            if typing.get_origin(hint) is Annotated:
                hint, extra = typing.get_args(hint)
                key = extra.name
            if str in typing.get_args(hint) and typing.get_origin(hint) not in (list, dict):
                hint = str  # beside the words that editors suggest
            get = _make_getter(name, key, hint)
            table[name] = (key, get)
            if isinstance(getattr(cls, name, None), _Field | None):  # a method of the same name stays
                setattr(cls, name, _Field(get, doc=f"The value of ``{key}`` in the JSON."))
        cls._fields = table
        return table

    def _read_absent(self, name: str, key: str, read: _Reader) -> Any:
        """What a field reads as that is null or not there."""
        return read(self._json, key)

    if not typing.TYPE_CHECKING:
        # Hidden from type checkers, which could not find misspelt fields otherwise.

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
            remedy = f"; the server sent it: read it as [{name!r}]" if name in self._json else ""
            if not remedy and "config" in self._field_table():
                remedy = f"; a key of its configuration is read as .config.get({name!r})"
            raise AttributeError(f"{type(self).__name__} has no field {name!r}{remedy}")
        return entry[1](self)

    def __dir__(self) -> Iterable[str]:
        return {*super().__dir__(), *self._field_table()}

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
        return f"<{' '.join([type(self).__name__, *self._facts()])}>"

    def _facts(self) -> list[str]:
        """What its repr shows."""
        names = [f"{key}={self._json[key]!r}" for key in self._shown if isinstance(self._json.get(key), str)]
        numbers = [f"{key}={value!r}" for key, value in self._json.items() if isinstance(value, int | float)]
        return names or numbers[:_NUMBERS]


class RecordList(MutableSequence[R], Generic[R]):
    """A JSON list of objects, read as records; writing to it writes to the JSON.

    Args:
        type: The class of the records.
        raw: The list, which is not copied.
    """

    def __init__(self, type: type[R], raw: list[Any]) -> None:
        self._type = type
        self.raw = raw

    @overload
    def __getitem__(self, index: SupportsIndex) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: Any) -> Any:
        found = self.raw[index]
        return (
            [_as_record(self._type, item) for item in found]
            if isinstance(index, slice)
            else _as_record(self._type, found)
        )

    def __setitem__(self, index: Any, value: Any) -> None:
        self.raw[index] = to_json(list(value) if isinstance(index, slice) else value)

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        del self.raw[index]

    def __len__(self) -> int:
        return len(self.raw)

    def insert(self, index: SupportsIndex, value: R | Mapping[str, Any]) -> None:
        """Insert a record.

        Args:
            index: The position before which to insert.
            value: The record, or a mapping with its JSON.
        """
        self.raw.insert(index, to_json(value))

    def append(self, value: R | Mapping[str, Any]) -> None:
        """Append a record.

        Args:
            value: The record, or a mapping with its JSON.
        """
        self.raw.append(to_json(value))

    def __eq__(self, other: object) -> bool:
        return self.raw == (other.raw if isinstance(other, RecordList) else other)

    def __repr__(self) -> str:
        return repr(list(self))


class RecordMap(MutableMapping[str, R], Generic[R]):
    """A JSON object whose values are objects, read as records by name; writing to it writes to the JSON.

    Args:
        type: The class of the records.
        raw: The object, which is not copied.
    """

    def __init__(self, type: type[R], raw: Json) -> None:
        self._type = type
        self.raw = raw

    def __getitem__(self, key: str) -> R:
        found: R = _as_record(self._type, self.raw[key])
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
    """Convert a value to plain JSON.

    Args:
        value: It can hold records, mappings, lists and times, at any depth. A time without a zone is local.

    Returns:
        The JSON; a record's own is not copied.
    """
    match value:
        case Record() | RecordList() | RecordMap():
            return value.raw
        case dict() | list():
            return value if _is_plain(value) else _plain_copy(value)
        case Mapping() | tuple():
            return _plain_copy(value)
        case datetime():
            return value.astimezone().isoformat()
        case _:
            return value


def parse_time(value: Any) -> datetime | None:
    """Parse a time that a server sent.

    Args:
        value: The server's string, with nanoseconds.

    Returns:
        The time, cut to microseconds; None for never, which servers send as null, year 1 or the epoch.
    """
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return None if time.year in _NEVER_YEARS and (time.year == 1 or time == _EPOCH) else time


def _is_plain(value: Any) -> bool:
    children = value.values() if isinstance(value, dict) else value
    return all(
        _is_plain(child) if isinstance(child, dict | list) else not isinstance(child, _NOT_PLAIN) for child in children
    )


def _plain_copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: to_json(child) for key, child in value.items()}
    return [to_json(child) for child in value]


_NUMBERS = 6  # that a repr shows at most
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_YEARS = (1, 1969, 1970)  # those of the epoch, by zone; comparing years is cheaper
_NOT_PLAIN = (Mapping, tuple, datetime, RecordList)


class _UnsetDict(Json):
    """The empty object that a null or absent one reads as; the first write puts it into its owner."""

    def __init__(self, owner: Json, key: str) -> None:
        super().__init__()
        self._owner, self._key = owner, key

    def _attach(self) -> None:
        there = self._owner.get(self._key)
        if there is None:
            self._owner[self._key] = self
        elif isinstance(there, _UnsetDict) and there is not self:
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

    def __ior__(self, other: Any) -> _UnsetDict:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __reduce__(self) -> tuple[type[Json], tuple[Json]]:
        # Copies are plain objects: an instance of this class would write to the owner of the original.
        return dict, (dict(self),)


class _UnsetList(list[Any]):
    """The empty list that a null or absent one reads as; the first write puts it into its owner."""

    def __init__(self, owner: Json, key: str) -> None:
        super().__init__()
        self._owner, self._key = owner, key

    def _attach(self) -> None:
        there = self._owner.get(self._key)
        if there is None:
            self._owner[self._key] = self
        elif isinstance(there, _UnsetList) and there is not self:
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

    def __iadd__(self, values: Iterable[Any]) -> _UnsetList:  # type: ignore[misc]
        self.extend(values)
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        self._attach()
        super().__setitem__(index, value)

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)


def _as_record(type: type[R], raw: Any) -> Any:
    return type(raw) if isinstance(raw, dict) else raw


def _read_dict(json: Json, key: str) -> Any:
    return _UnsetDict(json, key) if (raw := json.get(key)) is None else raw


def _read_list(json: Json, key: str) -> Any:
    return _UnsetList(json, key) if (raw := json.get(key)) is None else raw


def _make_getter(name: str, key: str, hint: Any) -> Callable[[Any], Any]:
    """Make the function that reads a field of a record."""
    read = _make_reader(hint)
    if hint in (str, int, float, bool, Any) or typing.get_origin(hint) in (list, dict):

        def get(record: Record) -> Any:
            raw = record._json.get(key)
            return record._read_absent(name, key, read) if raw is None else raw

    elif isinstance(hint, type) and issubclass(hint, Record):

        def get(record: Record) -> Any:
            raw = record._json.get(key)
            # The same record each time, as long as the object is the same. The property of that name hides it.
            view = record.__dict__.get(key)
            if view is not None and view._json is raw:
                return view
            if isinstance(raw, dict):
                view = record.__dict__[key] = hint(raw)
                return view
            return record._read_absent(name, key, read) if raw is None else raw

    elif datetime in typing.get_args(hint):

        def get(record: Record) -> Any:
            raw = record._json.get(key)
            return record._read_absent(name, key, read) if raw is None else parse_time(raw)

    else:
        make: Any
        make, plain = (RecordList, list) if typing.get_origin(hint) is RecordList else (RecordMap, dict)
        type_ = typing.get_args(hint)[0]

        def get(record: Record) -> Any:
            raw = record._json.get(key)
            if isinstance(raw, plain):
                return make(type_, raw)
            return record._read_absent(name, key, read) if raw is None else raw

    return get


def _make_reader(hint: Any) -> _Reader:
    """Make the function that reads a field with this annotation."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is RecordList:
        return lambda json, key: RecordList(args[0], raw) if isinstance(raw := _read_list(json, key), list) else raw
    if origin is RecordMap:
        return lambda json, key: RecordMap(args[0], raw) if isinstance(raw := _read_dict(json, key), dict) else raw
    if origin is list:
        return _read_list
    if origin is dict:
        return _read_dict
    if datetime in args:
        return lambda json, key: parse_time(json.get(key))
    if isinstance(hint, type) and issubclass(hint, Record):
        return lambda json, key: _as_record(hint, _read_dict(json, key))
    if hint in (str, int, float, bool):
        zero = hint()
        return lambda json, key: zero if (raw := json.get(key)) is None else raw
    if hint is Any:
        return lambda json, key: json.get(key)
    raise TypeError(f"there is no reader for a field annotated {hint!r}")
