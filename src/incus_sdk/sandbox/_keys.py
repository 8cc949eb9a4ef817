"""What a box says of itself, in keys of its instance: whose it is, until when, in what state, for what.

The instance is the only place where that is written, so that any process can read it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from ..api._bodies import label_keys as _label_keys
from ..api._owner import has_ended, this_process
from ..exceptions import IncusInputError

if TYPE_CHECKING:
    from ..api.instances import Instance
    from ..models.base import Json

State = Literal["template", "making", "warm", "leased", "fork", "ending"]
"""What an instance of a pool is. ``making``: a template that is not complete; ``ending``: someone is deleting it."""

_KEY = "user.sandbox."
_LABEL = f"{_KEY}label."

ID, STATE, POOL, KEEPER, CLAIM, RECIPE = (
    f"{_KEY}{name}" for name in ("id", "state", "pool", "keeper", "claim", "recipe")
)
_OWNER, _EXPIRES, _PRIVATE = f"{_KEY}owner", f"{_KEY}expires", f"{_KEY}private"

WHOSE = (ID, STATE, KEEPER, CLAIM, _EXPIRES)
"""What changes when somebody takes a box, or extends its time."""


def marks(instance: Instance, state: State, pool: str, keeper: str, seconds: float) -> dict[str, str]:
    """The keys of an instance that this process makes, and that expires in so many seconds."""
    return {ID: identity(instance), POOL: pool, KEEPER: keeper, **mine(state, seconds)}


def mine(state: State, seconds: float) -> dict[str, str]:
    """The keys that say that it is this process' in a state, for so many seconds."""
    return {STATE: state, _OWNER: this_process(), **lifetime(seconds)}


def lifetime(seconds: float) -> dict[str, str]:
    """The key that says that it expires in so many seconds."""
    return {_EXPIRES: (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")}


def identity(instance: Instance) -> str:
    """What its keys call it: a copy that somebody makes of it takes over its keys, but has another name."""
    return f"{instance.project or 'default'}/{instance.name}"


def is_sandbox(instance: Instance) -> bool:
    """Whether a pool made it."""
    return instance.config.get(ID) == identity(instance)


def state(instance: Instance) -> str:
    """Its state; empty if it is not a pool's."""
    return instance.config.get(STATE, "") if is_sandbox(instance) else ""


def expiry(instance: Instance) -> datetime:
    """When it expires; keys that cannot be read say that it has."""
    try:
        time = datetime.fromisoformat(instance.config.get(_EXPIRES, ""))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def seconds_left(instance: Instance) -> float:
    """How long it has until it expires."""
    return (expiry(instance) - datetime.now(UTC)).total_seconds()


def has_expired(instance: Instance) -> bool:
    """Whether its time is over, by the clock of this machine."""
    return seconds_left(instance) <= 0


def is_orphan(instance: Instance) -> bool:
    """Whether the process that it belongs to is gone for sure: see `has_ended`."""
    return has_ended(instance.config.get(_OWNER, ""))


def is_of_this_process(instance: Instance) -> bool:
    """Whether it belongs to this very process."""
    return instance.config.get(_OWNER) == this_process()


def is_private(instance: Instance) -> bool:
    """Whether it is of a pool that no other process knows the name of."""
    return _PRIVATE in instance.config


def private() -> dict[str, str]:
    """The key that says so."""
    return {_PRIVATE: "true"}


def chosen(body: Json) -> dict[str, Json]:
    """What was chosen of an instance' configuration and devices, without what the server keeps in it."""
    config = {key: value for key, value in (body.get("config") or {}).items() if not key.startswith("volatile.")}
    return {"config": config, "devices": body.get("devices") or {}}


def new_name() -> str:
    """A name for a new box."""
    return f"sandbox-{os.urandom(5).hex()}"


def labels(instance: Instance) -> dict[str, str]:
    """Its labels."""
    return {key.removeprefix(_LABEL): value for key, value in instance.config.items() if key.startswith(_LABEL)}


def label_keys(given: Mapping[str, str] | None) -> dict[str, str]:
    """The keys for labels."""
    return _label_keys(given, _LABEL)


def seconds(value: Any, what: str) -> float:
    """A lifetime that a caller gave."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**9:
        raise IncusInputError(f"{what} must be a number of seconds, not {value!r}")
    return value
