"""What every record promises, checked on the records that real daemons sent: `check` reads each field, however deep."""

from __future__ import annotations

import contextlib
import copy
import json
import typing
from collections.abc import Generator, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

import pytest

from incus_sdk import models
from incus_sdk._connection import wire
from incus_sdk.models.base import Record, RecordList, RecordMap


@contextlib.contextmanager
def collecting() -> Generator[list[Record]]:
    """Every record that is made until the block ends."""
    made: list[Record] = []
    original = Record.__init__

    def init(record: Record, json: Any = None) -> None:
        original(record, json)
        made.append(record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "__init__", init)
        yield made


def check(record: Record) -> None:
    """Fails unless every field has the type it promises, and reading and writing leave the JSON as it was."""
    raw = record._json
    before = copy.deepcopy(raw)
    _check(type(record).__name__, type(record), record)
    assert raw == before, f"reading {type(record).__name__} changed it"
    assert json.loads(wire.encode(record._json)) == before, f"{type(record).__name__} is another after a round trip"


def _check(where: str, hint: Any, value: Any) -> None:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        _check(where, args[0], value)
    elif hint is Any:
        pass
    elif datetime in args:
        assert value is None or isinstance(value, datetime), f"{where}: {value!r} is no time"
    elif origin in (RecordList, RecordMap):
        assert isinstance(value, origin), f"{where}: {value!r} is no {origin.__name__}"
        for key, child in _children(value):
            _check(f"{where}[{key!r}]", args[0], child)
    elif origin in (list, dict):
        assert isinstance(value, origin), f"{where}: {value!r} is no {origin.__name__}"
        for key, child in _children(value):
            if (key, child) != ("cluster", None):  # in Operation.resources, as its docstring says
                _check(f"{where}[{key!r}]", args[-1], child)
    elif isinstance(hint, type) and issubclass(hint, Record):
        assert isinstance(value, hint), f"{where}: {value!r} is no {hint.__name__}"
        _fields(where, value)
    elif str in args:  # beside its usual values
        assert type(value) is str, f"{where}: {value!r} is no str"
    elif hint is float:
        assert type(value) in (int, float), f"{where}: {value!r} is no number"
    else:
        assert type(value) is hint, f"{where}: {value!r} is no {hint.__name__}"


def _children(value: Any) -> Iterable[tuple[Any, Any]]:
    return value.items() if isinstance(value, Mapping) else enumerate(value)


def _fields(where: str, record: Record) -> None:
    kinds = (kind for kind in type(record).__mro__ if issubclass(kind, Record))
    kind = next(kind for kind in kinds if kind.__module__.startswith(models.__name__))
    for name, hint in typing.get_type_hints(type(record), include_extras=True).items():
        if name in kind.fields():
            _check(f"{where}.{name}", hint, record._field(name))
    full: type[Record] = getattr(models, f"{kind.__name__}Full", kind)
    known = {*kind.fields().values(), *full.fields().values()} or set(record._json)  # one without fields is a mapping
    assert not (unknown := set(record._json) - known), f"{where} has no field for {sorted(unknown)}"
