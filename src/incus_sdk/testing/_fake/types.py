"""The types of what a request says: what the server cannot read is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answers import Refused

_JSON = {bool: "bool", dict: "object", float: "number", int: "number", list: "array", str: "string"}
_IN_GO = {bool: "bool", dict: "map[string]interface {}", float: "float64", int: "float64", list: "[]interface {}"}
_PLAIN = {
    **dict.fromkeys(("architecture", "description", "name", "restore", "type"), str),
    **dict.fromkeys(("ephemeral", "stateful"), bool),
}


def check_types(body: Mapping[str, Any], struct: str) -> None:
    """Refuse a body with a field of another type.

    Args:
        body: The body.
        struct: What the server calls its type.
    """
    for field, value in body.items():
        if value is None:
            continue
        if (wanted := _PLAIN.get(field)) is not None and type(value) is not wanted:
            raise _unreadable(value, f"Go struct field {struct}.{field}", "bool" if wanted is bool else "string")
        if field == "profiles":
            _check_names(value, f"{struct}.{field}")
        elif field == "config":
            _check_map(value, "ConfigMap")
        elif field == "devices":
            _check_map(value, "DevicesMap")


def _check_names(value: Any, field: str) -> None:
    if not isinstance(value, list):
        raise _unreadable(value, f"Go struct field {field}", "[]string")
    for number, each in enumerate(value):
        if not isinstance(each, str):
            raise _unreadable(each, f"{field}.{number}", "string")


def _check_map(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        text = f"json: cannot unmarshal {_JSON[type(value)]} into Go value of type map[string]interface {{}}"
        raise Refused(400, f"JSON data not valid for {name}: {text}")
    for key, each in value.items():
        if name == "ConfigMap" and isinstance(each, dict | list):
            raise Refused(400, f"type {_IN_GO[type(each)]} is not supported in *api.{name}")
        if name == "DevicesMap" and each is not None:
            if not isinstance(each, dict):
                raise Refused(400, f"type {_IN_GO.get(type(each), 'string')} is not supported in *api.{name}")
            for inner in each.values():
                if isinstance(inner, dict | list):
                    kind = f"type {_IN_GO[type(inner)]} is not supported as inner type for api.{name}"
                    raise Refused(400, f'inner type for "{key}": {kind}')


def _unreadable(value: Any, where: str, wanted: str) -> Refused:
    return Refused(400, f"json: cannot unmarshal {_JSON[type(value)]} into {where} of type {wanted}")
