"""The records and request bodies: what the API has, they have; reading changes nothing; writing reaches the JSON."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import keyword
import os
import pickle
import pkgutil
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import incus_sdk
from incus_sdk import Operation, models
from incus_sdk.models import Config, Devices, Record, RecordList, RecordMap
from incus_sdk.models._tables import _COLUMNS, Table

API = Path(__file__).parents[2] / "tools" / "incus-api"
TYPES: dict[str, dict[str, Any]] = json.loads((API / "types.json").read_text())
ENDPOINTS: list[dict[str, Any]] = json.loads((API / "endpoints.json").read_text())

PRIMITIVES: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "double": float,
    "any": Any,
    **{f"{sign}int{bits}": int for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
SUGGESTED = ["CertificateType", "InstanceStatus", "InstanceType", "NetworkType", "VolumeContentType", "VolumeType"]
"""Texts of which editors know the usual ones."""
ALIASES: dict[str, Any] = {
    "ConfigMap": dict[str, str],
    "DevicesMap": dict[str, dict[str, str]],
    "StatusCode": int,
    "Access": list[models.AccessEntry],
    "MetadataConfigEntityName": str,
    "MetadataConfigGroupName": str,
    "InstanceType": str,
}
NOT_IN_ENDPOINTS = {  # what the server sends where endpoints.json and types.json do not show it
    "Event",
    "CertificateAddToken",
    "ClusterMemberJoinToken",
    "MetadataConfigGroup",
    "MetadataConfigKey",
}
RENAMED = {("StorageBucketFull", "keys"): "bucket_keys", ("MetadataConfigGroup", "keys"): "config_keys"}


def _named(type: Any) -> set[str]:
    """The types of types.json that a type expression reaches, however deep."""
    found: set[str] = set()
    todo = [type]
    while todo:
        match todo.pop():
            case str(name) if name in TYPES and name not in found:
                found.add(name)
                todo += [TYPES[name].get("alias"), *(field["type"] for field in TYPES[name]["fields"].values())]
            case dict() as by_recursion:
                todo += by_recursion.values()
            case list() as parts:
                todo += parts
            case _:
                pass
    return found


SENT = _named([endpoint["result"] for endpoint in ENDPOINTS]) | NOT_IN_ENDPOINTS
TAKEN = _named([endpoint["body"] for endpoint in ENDPOINTS])
CLASSES = sorted(set(TYPES) - set(ALIASES))
RECORD_NAMES = [name for name in CLASSES if name in SENT]
BOTH_NAMES = [name for name in CLASSES if name in SENT & TAKEN]
RECORDS: list[type[Record]] = [getattr(models, name) for name in RECORD_NAMES]
DEVICES = {device.__name__: device for device in typing.get_args(models.Device) if typing.is_typeddict(device)}
BODIES = {
    name: value
    for name in vars(models)["__all__"]
    if typing.is_typeddict(value := getattr(models, name)) and name not in DEVICES
}


def _without_suggestions(hint: Any) -> Any:
    """``str`` for what is a str of which editors know usual values."""
    suggested = [each for each in typing.get_args(hint) if typing.get_origin(each) is Literal]
    return str if suggested and str in typing.get_args(hint) else hint


def _record_hint(type: Any) -> Any:
    match type:
        case "date-time":
            return datetime | None
        case ["list", ["map", _]]:
            return list[dict[str, Any]]
        case ["list", "uint8"]:
            return str  # Go's JSON has bytes in base64
        case [container, item]:
            hint = _record_hint(item)
            if inspect.isclass(hint) and issubclass(hint, Record):
                return RecordList[hint] if container == "list" else RecordMap[hint]  # type: ignore[valid-type]
            return list[hint] if container == "list" else dict[str, hint]  # type: ignore[valid-type]
        case _:
            return PRIMITIVES.get(type) or ALIASES.get(type) or getattr(models, type)


def _body_hint(type: Any) -> Any:
    match type:
        case "date-time":
            return str | datetime
        case "ConfigMap":
            return Config
        case "DevicesMap":
            return Devices
        case ["list", item]:
            return Sequence[_body_hint(item)]  # type: ignore[misc]
        case ["map", item]:
            return Mapping[str, _body_hint(item)]  # type: ignore[misc]
        case str() if type in BOTH_NAMES:
            return getattr(models, type) | getattr(models, f"{type}Dict")
        case _:
            return PRIMITIVES.get(type) or ALIASES.get(type) or getattr(models, type)


def _expected(name: str, hint: Callable[[Any], Any]) -> dict[str, Any]:
    return {key: hint(field["type"]) for key, field in TYPES[name]["fields"].items()}


def _python_name(type: str, key: str) -> str:
    name = RENAMED.get((type, key)) or key.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


# What there is


@pytest.mark.parametrize("name", RECORD_NAMES)
def test_a_type_the_server_sends_is_a_record_of_exactly_its_fields(name: str) -> None:
    record = getattr(models, name)
    assert issubclass(record, Record)
    hints = typing.get_type_hints(record, include_extras=True)
    fields = record.fields()
    assert {
        key: typing.get_args(hints[field])[0]
        if typing.get_origin(hints[field]) is typing.Annotated
        else _without_suggestions(hints[field])
        for field, key in fields.items()
    } == _expected(name, _record_hint)
    assert fields == {_python_name(name, key): key for key in TYPES[name]["fields"]}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_has_exactly_the_fields_that_the_server_takes(body: str) -> None:
    name = body.removesuffix("Dict")
    assert (name in BOTH_NAMES) is (name != body)
    hints = typing.get_type_hints(BODIES[body], localns={"Devices": Devices})
    assert {key: _without_suggestions(hint) for key, hint in hints.items()} == _expected(name, _body_hint)
    assert not BODIES[body].__required_keys__


def test_there_are_the_bodies_that_signatures_name_and_no_others() -> None:
    root = Path(models.__file__).parents[1]
    naming = [file for file in root.rglob("*.py") if file.parent.name != "models" or file.name == "preseed.py"]
    words = {word for file in naming for word in re.findall(r"\w+", file.read_text())}
    found, todo = set[str](), [body for name, body in BODIES.items() if name in words]
    while todo:
        part = todo.pop()
        if typing.is_typeddict(part) and part.__name__ not in found:
            found.add(part.__name__)
            todo += typing.get_type_hints(part, localns={"Devices": Devices}).values()
        todo += typing.get_args(part)
    assert found == {*BODIES, *DEVICES}


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_is_the_type_it_stands_for(name: str) -> None:
    assert _without_suggestions(getattr(models, name)) == ALIASES[name]


@pytest.mark.parametrize("name", [*RECORD_NAMES, *BODIES, *DEVICES])
def test_every_class_says_in_its_first_line_what_it_is(name: str) -> None:
    says, *more = getattr(models, name).__doc__.splitlines()
    assert says.endswith(".")
    assert not more or more[0] == ""


def test_the_package_exports_every_public_class_of_its_modules() -> None:
    modules = [
        importlib.import_module(f"{models.__name__}.{module.name}")
        for module in pkgutil.iter_modules(models.__path__)
        if module.name != "base" and not module.name.startswith("_")
    ]
    public = {
        name
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    base = {"Record", "RecordList", "RecordMap", "Config", "Device", "Devices"}
    assert set(vars(models)["__all__"]) == public | base | {*ALIASES, *SUGGESTED}


def test_importing_the_models_loads_no_http_library() -> None:
    code = "import sys, incus_sdk.models; print(sorted({'httptools', 'websockets'} & set(sys.modules)))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Reading


def _read_all(value: Any) -> None:
    """Read every field, however deep."""
    if isinstance(value, Record):
        repr(value)
        for name in value.fields():
            _read_all(getattr(value, name))
    elif isinstance(value, RecordList):
        for item in value:
            _read_all(item)
    elif isinstance(value, RecordMap):
        for item in value.values():
            _read_all(item)


def _assert_reading_changes_nothing(record: type[Record], raw: dict[str, Any]) -> None:
    before, text = copy.deepcopy(raw), json.dumps(raw)
    view = record(raw)
    _read_all(view)
    assert view.raw is raw
    assert raw == before
    assert json.dumps(view.raw) == text


KEYS = sorted({key for record in RECORDS for key in record.fields().values()})
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.datetimes().map(str)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4),
    max_leaves=20,
)
RECORDS_AND_JSON = st.sampled_from(RECORDS).flatmap(
    lambda record: st.tuples(
        st.just(record),
        st.dictionaries(st.sampled_from([*record.fields().values(), "unknown"]) | st.text(), JSON_VALUES, max_size=6),
    )
)


@settings(max_examples=200)
@given(RECORDS_AND_JSON)
def test_reading_any_json_through_any_record_neither_raises_nor_changes_it(
    example: tuple[type[Record], dict[str, Any]],
) -> None:
    _assert_reading_changes_nothing(*example)


ODD_VALUES: list[Any] = [None, True, 7, 1.5, "odd", [], [None, 7, [{}], {"new": None}], {}, {"a": 7, "b": {"new": []}}]


@pytest.mark.parametrize("record", RECORDS)
def test_a_field_of_an_unexpected_type_neither_raises_nor_changes(record: type[Record]) -> None:
    for odd in ODD_VALUES:
        _assert_reading_changes_nothing(record, {key: copy.deepcopy(odd) for key in record.fields().values()})


@pytest.mark.parametrize("value", [True, 7, "odd", [1], {"a": 1}])
def test_a_value_of_another_type_comes_out_as_it_is(value: Any) -> None:
    fields = {"name": value, "config": value, "used_by": value}
    volume = models.StorageVolumeFull(fields)
    assert (volume.name, volume.config, volume.used_by) == (value, value, value)


@pytest.mark.parametrize("raw", [{}, dict.fromkeys(models.StorageVolumeFull.fields().values())], ids=["absent", "null"])
def test_absent_and_null_read_as_zero(raw: dict[str, Any]) -> None:
    volume = models.StorageVolumeFull(raw)
    assert volume.name == ""
    assert volume.config == {}
    assert volume.used_by == []
    assert volume.snapshots == []
    assert volume.created_at is None
    assert volume.state.usage.used == 0


def test_an_operation_that_is_taken_for_its_object_says_how_to_get_that() -> None:
    scope: Any = None
    with pytest.raises(AttributeError, match=r"Operation has no field 'name'; create\(\) .* with wait=True"):
        print(Operation(scope, {"id": "x"}).name)  # type: ignore[attr-defined]


def test_what_the_sdk_has_never_heard_of_is_readable_at_any_depth() -> None:
    volume = models.StorageVolumeFull({"new": 1, "state": {"usage": {"new": {"newer": 2}}}})
    assert volume["new"] == 1
    assert volume.state.usage["new"]["newer"] == 2
    untyped: Any = volume
    with pytest.raises(AttributeError, match=r"has no field 'new'; the server sent it: read it as \['new'\]"):
        _ = untyped.new


def test_keys_that_are_no_python_names_have_fields_all_the_same() -> None:
    full = models.StorageBucketFull({"keys": [{"access-key": "AK", "secret-key": "SK"}]})
    assert [(key.access_key, key.secret_key) for key in full.bucket_keys] == [("AK", "SK")]
    assert list(full.keys()) == ["keys"]


NEW_YORK = timezone(timedelta(hours=-4))


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("2021-03-23T17:38:37.753398689-04:00", datetime(2021, 3, 23, 17, 38, 37, 753398, NEW_YORK)),
        ("2021-03-23T20:00:00Z", datetime(2021, 3, 23, 20, tzinfo=UTC)),
        ("2021-03-23T20:00:00.5Z", datetime(2021, 3, 23, 20, 0, 0, 500_000, UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("0000-12-31T19:03:58-04:56", None),
        ("1970-01-01T00:00:00Z", None),
        ("1970-01-01T01:00:00+01:00", None),
        ("9999-12-31T23:59:59-12:00", datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=12)))),
        ("", None),
        ("soon", None),
        (5, None),
        (None, None),
    ],
)
def test_a_time_is_parsed_when_read_and_stays_the_servers_string(sent: Any, read: datetime | None) -> None:
    volume = models.StorageVolume({"created_at": sent})
    assert volume.created_at == read
    assert volume.raw == {"created_at": sent}


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("secret", ["hush", {"user.password": "hush"}, ["hush"], {"a": {"password": "hush"}}], ids=repr)
def test_repr_shows_no_values_but_those_that_name_the_object(record: type[Record], secret: Any) -> None:
    view = record(dict.fromkeys(set(record.fields().values()) - set(record._shown), secret) | {"name": "c1"})
    for shown in (view, RecordList(record, [view.raw]), RecordMap(record, {"c1": view.raw})):
        assert "hush" not in repr(shown)
        if "name" in record._shown:
            assert f"<{record.__name__} name='c1'>" in repr(shown)


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (models.Profile({"name": "web", "description": "hush"}), "<Profile name='web'>"),
        (models.Operation({"id": "5f", "description": "Creating instance", "status": "Running", "err": "hush"}),
         "<Operation description='Creating instance' status='Running' id='5f'>"),
        (models.InstanceStateMemory({"usage": 5, "total": 9}), "<InstanceStateMemory usage=5 total=9>"),
        (models.Server({"environment": {"server_version": "7.0.2", "server_name": "a", "server_clustered": True}}),
         "<Server 7.0.2 name='a' clustered>"),
        (models.Server({"auth": "untrusted", "public": True}), "<Server public=True>"),
        (models.Server({}), "<Server>"),
        (models.InstanceStateNetworkAddress({"family": "inet", "scope": "global", "address": "192.0.2.1"}),
         "<InstanceStateNetworkAddress family='inet' scope='global' address='192.0.2.1'>"),
    ],
)  # fmt: skip
def test_repr_shows_what_an_object_is(record: Record, shown: str) -> None:
    assert repr(record) == shown


# Writing


def _set_map_item(volume: models.StorageVolumeFull) -> None:
    volume.config["size"] = "1GiB"


def _set_map_default(volume: models.StorageVolumeFull) -> None:
    volume.config.setdefault("size", "1GiB")


def _update_map(volume: models.StorageVolumeFull) -> None:
    volume.config.update(size="1GiB")


def _merge_map(volume: models.StorageVolumeFull) -> None:
    volume.config |= {"size": "1GiB"}


def _append_text(volume: models.StorageVolumeFull) -> None:
    volume.used_by.append("/1.0/instances/c1")


def _insert_text(volume: models.StorageVolumeFull) -> None:
    volume.used_by.insert(0, "/1.0/instances/c1")


def _extend_texts(volume: models.StorageVolumeFull) -> None:
    volume.used_by.extend(["/1.0/instances/c1"])


def _add_texts(volume: models.StorageVolumeFull) -> None:
    volume.used_by += ["/1.0/instances/c1"]


def _slice_texts(volume: models.StorageVolumeFull) -> None:
    volume.used_by[:] = ["/1.0/instances/c1"]


def _append_record(volume: models.StorageVolumeFull) -> None:
    volume.snapshots.append(models.StorageVolumeSnapshot({"name": "s0"}))


def _extend_records(volume: models.StorageVolumeFull) -> None:
    volume.snapshots.extend([models.StorageVolumeSnapshot({"name": "s0"})])


def _set_nested_field(volume: models.StorageVolumeFull) -> None:
    volume.state.usage.total = 5


def _set_nested_unknown_key(volume: models.StorageVolumeFull) -> None:
    volume.state["new"] = {"a": None}


def _write_in_two_readings(volume: models.StorageVolumeFull) -> None:
    first, second = volume.config, volume.config
    first["a"] = "1"
    second["b"] = "2"


def _append_in_two_readings(volume: models.StorageVolumeFull) -> None:
    first, second = volume.used_by, volume.used_by
    first.append("a")
    second.append("b")


LATE_WRITES: list[tuple[Callable[[models.StorageVolumeFull], None], dict[str, Any]]] = [
    (_set_map_item, {"config": {"size": "1GiB"}}),
    (_set_map_default, {"config": {"size": "1GiB"}}),
    (_update_map, {"config": {"size": "1GiB"}}),
    (_merge_map, {"config": {"size": "1GiB"}}),
    (_append_text, {"used_by": ["/1.0/instances/c1"]}),
    (_insert_text, {"used_by": ["/1.0/instances/c1"]}),
    (_extend_texts, {"used_by": ["/1.0/instances/c1"]}),
    (_add_texts, {"used_by": ["/1.0/instances/c1"]}),
    (_slice_texts, {"used_by": ["/1.0/instances/c1"]}),
    (_append_record, {"snapshots": [{"name": "s0"}]}),
    (_extend_records, {"snapshots": [{"name": "s0"}]}),
    (_set_nested_field, {"state": {"usage": {"total": 5}}}),
    (_set_nested_unknown_key, {"state": {"new": {"a": None}}}),
    (_write_in_two_readings, {"config": {"a": "1", "b": "2"}}),
    (_append_in_two_readings, {"used_by": ["a", "b"]}),
]


@pytest.mark.parametrize("absent", [True, False], ids=["absent", "null"])
@pytest.mark.parametrize(("write", "expected"), LATE_WRITES)
def test_a_write_through_what_was_absent_or_null_reaches_the_json(
    write: Callable[[models.StorageVolumeFull], None], expected: dict[str, Any], absent: bool
) -> None:
    volume = models.StorageVolumeFull({} if absent else dict.fromkeys(expected))
    write(volume)
    assert volume.raw == expected
    assert json.loads(json.dumps(volume.raw)) == expected


@pytest.mark.parametrize("raw", [{}, {"storage_pools": None}], ids=["absent", "null"])
def test_a_record_map_that_was_absent_or_null_takes_records_and_dicts(raw: dict[str, Any]) -> None:
    member = models.ClusterMemberState(raw)
    member.storage_pools["a"] = models.StoragePoolState({"space": {"total": 1}})
    pools: Any = member.storage_pools
    pools.update({"b": {"space": None}})
    member.storage_pools["b"].space.total = 2
    assert json.loads(json.dumps(raw)) == {
        "storage_pools": {"a": {"space": {"total": 1}}, "b": {"space": {"total": 2}}}
    }
    del member.storage_pools["a"]
    assert list(member.storage_pools) == ["b"]
    assert raw == {"storage_pools": {"b": {"space": {"total": 2}}}}


def test_a_container_replaced_since_it_was_read_does_not_come_back() -> None:
    volume = models.StorageVolumeFull()
    config, used_by = volume.config, volume.used_by
    volume.config, volume.used_by = {"size": "1GiB"}, ["a"]
    config["lost"] = "1"
    used_by.append("lost")
    assert volume.raw == {"config": {"size": "1GiB"}, "used_by": ["a"]}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (models.StorageVolumeSnapshot({"name": "s1"}), {"name": "s1"}),
        ({"name": "s1"}, {"name": "s1"}),
        (
            {"name": "s1", "expires_at": datetime(2030, 1, 1, tzinfo=UTC)},
            {"name": "s1", "expires_at": "2030-01-01T00:00:00+00:00"},
        ),
    ],
    ids=["record", "dict", "dict with a time"],
)
class TestRecordList:
    def test_writes_store_plain_json(self, value: Any, sent: dict[str, Any]) -> None:
        def generated() -> Iterator[Any]:
            yield value

        writes: list[tuple[Callable[[RecordList[models.StorageVolumeSnapshot]], object], list[Any]]] = [
            (lambda items: items.append(value), [{"name": "s0"}, sent]),
            (lambda items: items.insert(0, value), [sent, {"name": "s0"}]),
            (lambda items: items.extend([value]), [{"name": "s0"}, sent]),
            (lambda items: items.extend(generated()), [{"name": "s0"}, sent]),
            (lambda items: items.__setitem__(0, value), [sent]),
            (lambda items: items.__setitem__(slice(0, 0), [value, value]), [sent, sent, {"name": "s0"}]),
            (lambda items: items.__setitem__(slice(None), (value,)), [sent]),
            (lambda items: items.__setitem__(slice(None), generated()), [sent]),
        ]
        for write, expected in writes:
            volume = models.StorageVolumeFull({"snapshots": [{"name": "s0"}]})
            write(volume.snapshots)
            assert json.loads(json.dumps(volume.raw)) == {"snapshots": expected}


def test_items_and_slices_of_a_record_list_are_records_over_the_same_json() -> None:
    volume = models.StorageVolumeFull({"snapshots": [{"name": "s0"}, {"name": "s1"}, {"name": "s2"}]})
    volume.snapshots[-1].description = "last"
    for snapshot in volume.snapshots[:2]:
        snapshot.description = "early"
    assert [item["description"] for item in volume.raw["snapshots"]] == ["early", "early", "last"]
    del volume.snapshots[0]
    del volume.snapshots[1:]
    assert volume.raw == {"snapshots": [{"name": "s1", "description": "early"}]}
    volume.snapshots.reverse()
    volume.snapshots.clear()
    assert volume.raw == {"snapshots": []}


def test_assigned_records_maps_and_times_are_stored_as_json() -> None:
    volume = models.StorageVolumeFull()
    volume.state = models.StorageVolumeState({"usage": {"used": 1}})
    volume.created_at = datetime(2030, 1, 1, tzinfo=UTC)
    volume["extra"] = ({"snapshot": models.StorageVolumeSnapshot({"name": "s0"})},)
    assert volume.raw == {
        "state": {"usage": {"used": 1}},
        "created_at": "2030-01-01T00:00:00+00:00",
        "extra": [{"snapshot": {"name": "s0"}}],
    }
    assert json.loads(json.dumps(volume.raw)) == volume.raw


@pytest.mark.parametrize("record", RECORDS)
def test_setting_an_attribute_that_is_no_field_raises_and_writes_nothing(record: type[Record]) -> None:
    view = record({})
    for name in ("no_such_field", "raw"):
        with pytest.raises(AttributeError, match=f"no field '{name}'"):
            setattr(view, name, 1)
    assert view.raw == {}


def _pickled(record: Record) -> Any:
    return pickle.loads(pickle.dumps(record))


@pytest.mark.parametrize("copied", [copy.deepcopy, _pickled], ids=["deepcopy", "pickle"])
def test_a_copy_of_a_record_is_its_own_plain_json(copied: Callable[[Record], Any]) -> None:
    volume = models.StorageVolumeFull({"name": "data", "new": [{"a": None}], "config": None})
    for write, _ in LATE_WRITES:  # so that the JSON holds containers that came late
        write(volume)
    before = json.dumps(volume.raw)

    twin = copied(volume)
    assert type(twin) is models.StorageVolumeFull
    assert twin == volume
    assert json.dumps(twin.raw) == before
    for plain in (twin.raw["config"], twin.raw["state"], twin.raw["used_by"], twin.raw["snapshots"]):
        assert type(plain) in (dict, list)

    twin.config["only"] = "here"
    twin.snapshots[0].name = "renamed"
    twin.backups.append({"name": "b0"})
    twin["new"][0]["a"] = 1
    assert json.dumps(volume.raw) == before


def test_a_field_that_a_class_annotates_again_is_its_own_whichever_was_read_first() -> None:
    class Part(Record):
        size: int

    class Outer(Record):
        part: Any

    class Inner(Outer):
        part: Part

    Inner.__annotations__["part"] = Part  # a name in a function is not found
    assert Outer({"part": {"size": 1}}).part == {"size": 1}
    assert Inner({"part": {"size": 1}}).part.size == 1


def test_a_list_is_shown_as_a_table_with_the_columns_of_the_command_that_have_something_in_them() -> None:
    address = {"family": "inet", "scope": "global", "address": "192.0.2.7"}
    boxes = Table(
        models.Instance(each)
        for each in (
            {"name": "<web>", "status": "Running", "state": {"network": {"eth0": {"addresses": [address]}}}},
            {"name": "db", "status": "Stopped", "location": "none", "config": {"user.password": "hush"}},
        )
    )
    assert boxes._repr_html_() == (
        "<table><thead><tr><th>name</th><th>status</th><th>ipv4</th></tr></thead><tbody>"
        "<tr><td>&lt;web&gt;</td><td>Running</td><td>192.0.2.7 (eth0)</td></tr>"
        "<tr><td>db</td><td>Stopped</td><td></td></tr></tbody></table>"
    )
    image = {"aliases": [{"name": "a"}], "fingerprint": "f" * 64, "size": 2**21, "properties": {"description": "x"}}
    assert "<tr><td>a</td><td>ffffffffffff</td><td>x</td><td>2.00 MiB</td></tr>" in str(
        Table([models.Image(image)])._repr_html_()
    )
    assert Table[models.Image]()._repr_html_() == "<p>none</p>"
    half = Table([models.Image({"fingerprint": "\ud800"})])._repr_html_()
    assert half == "<table><thead><tr><th>fingerprint</th></tr></thead><tbody><tr><td>?</td></tr></tbody></table>"
    handles = Table[Any]([incus_sdk.Client("/s").instances["web"]])  # as a list with recursion=0 has them
    assert handles._repr_html_() == (
        "<table><thead><tr><th>name</th><th>project</th></tr></thead>"
        "<tbody><tr><td>web</td><td>default</td></tr></tbody></table>"
    )
    handles.append("other")
    assert handles._repr_html_() is None


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("odd", [None, 5, "x", True, ["x"], [{}], {"a": 1}, [None]], ids=repr)
def test_a_table_shows_whatever_a_server_sends(record: type[Record], odd: Any) -> None:
    view = record(dict.fromkeys((*record.fields().values(), "state", "snapshots", "properties"), odd))
    assert str(Table([view])._repr_html_()).startswith("<")
    table = Table([view])
    assert isinstance(table, list)
    assert table == [view]
    assert json.dumps([each.raw for each in table])


@pytest.mark.parametrize("name", _COLUMNS)
def test_a_table_has_columns_of_what_there_is(name: str) -> None:
    record = getattr(incus_sdk, name, None) or getattr(models, name)
    keys = {*record.fields().values(), *(models.InstanceFull.fields() if name == "Instance" else ())}
    assert set(_COLUMNS[name].split()) - keys <= {"ipv4", "ipv6", "description"}  # of an image, it is a property
