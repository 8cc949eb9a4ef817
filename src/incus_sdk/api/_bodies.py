"""Bodies of requests as JSON, as merge patches and as headers; what an operation says that it created."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .. import models
from .._connection import wire
from ..exceptions import IncusInputError
from ..models.base import Json, to_json
from ..operations import Operation

_LABEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NEVER = ("0001-01-01T00:00:00", "1970-01-01T00:00:00")  # how servers write it
NEVER = "0001-01-01T00:00:00Z"
"""The time that servers take for never; without any, they take what is configured, or keep what is set."""
Expiry = datetime | timedelta | str | None
"""When a new snapshot or backup is deleted: a time, a time from now, ``"never"`` or None, or ``"default"``."""


def to_body(body: Mapping[str, Any]) -> Json:
    """A request body as JSON, with the values of ``config``, ``properties`` and ``devices`` as strings.

    Raises `IncusInputError` for what cannot be sent.
    """
    if not isinstance(body, Mapping):
        raise IncusInputError(f"expected a mapping of fields, not {type(body).__name__}")
    if odd := [key for key in body if not isinstance(key, str)]:
        raise IncusInputError(f"the names of fields must be str, not {odd[0]!r}")
    plain: Json = dict(to_json(body))
    for field in ("config", "properties"):
        if plain.get(field) is not None:
            plain[field] = wire.config_strings(plain[field], field)
    if plain.get("devices") is not None:
        devices = plain["devices"]
        if not isinstance(devices, Mapping):
            raise IncusInputError(f"devices must be a mapping, not {type(devices).__name__}")
        plain["devices"] = {
            name: device if device is None else wire.config_strings(device, f"devices[{name!r}]")
            for name, device in devices.items()
        }
    return plain


def with_dotted_keys(body: Json) -> Json:
    """``body`` with its keys that have a dot as keys of ``config``."""
    dotted = {key: value for key, value in body.items() if "." in key}
    if not dotted:
        return body
    rest = {key: value for key, value in body.items() if key not in dotted}
    return {**rest, "config": {**(body.get("config") or {}), **wire.config_strings(dotted)}}


def with_never(body: Json, never: str | None) -> Json:
    """``body`` with ``never``, if there is such a word, for an ``expires_at`` that is missing or otherwise spelled."""
    value = body.get("expires_at")
    if value == "never":
        body, value = {**body, "expires_at": None}, None
    if never is None or (value is not None and not str(value).startswith(_NEVER)):
        return body
    return {**body, "expires_at": never}


def difference(before: Any, after: Mapping[str, Any]) -> Json:
    """The merge patch that turns ``before`` into ``after``."""
    patch: Json = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if key in before and old == value:
            continue
        nested = isinstance(old, Mapping) and isinstance(value, Mapping)
        patch[key] = difference(old, value) if nested else value
    return patch


def expiry(expires_at: Expiry, default: Expiry = "default") -> Json:
    """What a new snapshot or backup is sent of its end; nothing leaves that to the server's configuration.

    Raises `IncusInputError` for what is not a time.
    """
    if expires_at == "default":
        expires_at = default
    if expires_at == "default":
        return {}
    time: Any = expires_at
    if time is None or time == "never":
        return {"expires_at": NEVER}
    with contextlib.suppress(OverflowError, TypeError, ValueError):
        if isinstance(time, timedelta):
            time = datetime.now(UTC) + time
        time = datetime.fromisoformat(time)
    if not isinstance(time, datetime):
        raise IncusInputError(
            'expires_at must be a time, as "2030-01-31T12:00:00Z", a timedelta from now, "never" or "default", not '
            f"{expires_at!r}"
        )
    return {"expires_at": to_json(time)}


def created_name(operation: Operation, kind: str) -> str:
    """The name of the object that an operation created, which the server may have picked."""
    return wire.names(next(iter(operation.resources.get(kind) or ()), ""))[-1]


def created_secret(operation: Operation) -> str:
    """The secret that an operation issued."""
    return wire.text(operation.metadata, "secret")


def overrides(config: models.Config | None, devices: models.Devices | None) -> dict[str, str]:
    """What a restored instance gets instead of its own, in headers, where a space ends each value."""
    given = to_body({"config": config or {}, "devices": devices or {}})
    pairs: list[tuple[str, tuple[str, ...], str | None]] = [
        *(("config", (key,), value) for key, value in given["config"].items()),
        *(
            ("devices", (name, key), value)
            for name, keys in given["devices"].items()
            for key, value in (keys or {"": None}).items()
        ),
    ]
    written: dict[str, list[str]] = {}
    for kind, names, value in pairs:
        if value is None or " " in value or any(character in name for name in names for character in " ,="):
            raise IncusInputError(
                f"{kind} {','.join(names)} cannot be sent with a backup: a value must be text without spaces, a name "
                "must not have spaces, commas or equal signs"
            )
        written.setdefault(kind, []).append(f"{','.join(names)}={value}")
    return {kind: " ".join(values) for kind, values in written.items()}


def label_keys(labels: Mapping[str, str] | None, prefix: str) -> dict[str, str]:
    """Labels as keys of a configuration."""
    if not isinstance(labels, Mapping | None):
        raise IncusInputError(f"labels must be a dict, as {{'app': 'web'}}, not {labels!r}")
    keys: dict[str, str] = {}
    for name, value in (labels or {}).items():
        if not isinstance(name, str) or not re.fullmatch(_LABEL_NAME, name) or not isinstance(value, str) or not value:
            raise IncusInputError(
                f"the label {name!r} must be a name of letters, digits, '.', '_' and '-', with a text, not {value!r}"
            )
        keys[f"{prefix}{name}"] = value
    return keys
