"""Copies of instances and volumes: within a server, across its projects, pools and members, and between servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, TypedDict

from .. import models
from .._background import create_or_undo, undoing, was_created
from .._concurrency import Attempts
from .._connection import wire
from .._connection.scope import Scope
from .._migration import Mode, Side, migrate, same_server
from ..exceptions import IncusInputError, IncusNotFoundError
from ..models.base import Json
from ..operations import OnProgress, Operation
from ._bodies import to_body
from ._lifecycle import LifecycleVerbs
from ._marks import create_marked
from .base import Resource, Writable

_REMOVAL_CHECKS = 10  # of a copy that the server removes itself; it can wait half a minute for another server first
_WRITABLE = ("architecture", "config", "description", "devices", "ephemeral", "profiles")


class MigrationOptions(TypedDict, total=False):
    """How two servers connect; on one server, only ``progress`` is used."""

    mode: Mode
    """``pull``, the default: the receiving server connects to the other; ``push``: the other way round; ``relay``:
    neither can reach the other, and everything goes through this program."""
    addresses: Sequence[str] | None
    """Of the server that is connected to, as ``https://host:8443``, tried in turn; None: the one that the client uses,
    and those that the server lists."""
    progress: OnProgress | None
    """Called with how far it is, each time that changes."""


class InstanceCopy(MigrationOptions, total=False):
    """What can differ in the copy of an instance, and how it is made."""

    pool: str | None
    """The storage pool of its root disk."""
    config: models.Config | None
    """Changed keys; None removes one."""
    devices: models.Devices | None
    """Changed devices, and changed keys of devices, also of those that come from a profile; None removes one."""
    profiles: Sequence[str] | None
    """In place of those of the source."""
    ephemeral: bool | None
    live: bool
    """With the running state."""
    allow_inconsistent: bool
    """Go on if files change while they are copied."""
    start: bool
    """Start the copy once it is complete; a new one that does not start is removed."""


async def copy_instance(
    source: Resource,
    target: Writable[Any],
    instance_only: bool,
    refresh: bool,
    options: InstanceCopy,
    refresh_exclude_older: bool,
) -> None:
    """Make ``target``, the handle of an instance, a copy of ``source``: an instance, or a snapshot of one."""
    instance, is_snapshot = source._path[1], len(source._path) > 2
    name: str = source._json[source.KEY]
    original, _ = await source._read_with_etag()
    body = _without_volatile_config({key: original[key] for key in _WRITABLE if key in original})
    inherited: Json = original.get("expanded_devices") or {}
    if (profiles := options.get("profiles")) is not None:
        body["profiles"] = wire.texts(profiles, "profiles")
        inherited = await profile_devices(target._scope, body["profiles"])
    changes = to_body({key: options.get(key) for key in ("config", "devices")})
    own = body.get("devices") or {}
    body["config"] = wire.merge_patch(body["config"], changes["config"] or {})
    body["devices"] = {**own, **changed_devices(own, inherited, changes["devices"] or {})}
    absent = {
        "config": {key: "" for key, value in (changes["config"] or {}).items() if value is None},
        "devices": {name: body["devices"].pop(name) for name in removed_devices(own, changes["devices"] or {})},
    }
    if (ephemeral := options.get("ephemeral")) is not None:
        body["ephemeral"] = ephemeral
    if (pool := options.get("pool")) is not None:
        _own_root_disk(body, inherited)["pool"] = pool
    live = {"live": options.get("live", False)}
    content = {**live, "instance_only": instance_only, "allow_inconsistent": options.get("allow_inconsistent", False)}
    hints = {"base-image": (original.get("config") or {}).get("volatile.base_image", "")}
    hints |= {"refresh": refresh, "refresh_exclude_older": refresh_exclude_older}
    # A snapshot does not say what type of instance it is.
    whole = (await source._scope.request("GET", wire.path("instances", instance))).object if is_snapshot else original
    await _copy_or_undo(
        source,
        target,
        path=wire.path("instances"),
        body={"name": target._path[-1], "type": whole["type"], **body, "source": {**content, **hints}},
        local_source={
            "source": f"{instance}/{name}" if is_snapshot else instance,
            "project": source._scope.project or "default",
        },
        sender_body={"name": name, **(live if is_snapshot else content)},
        options=options,
        new=not refresh,
        absent=absent,
    )
    if refresh:
        await _refresh_config(target, body)


async def copy_volume(
    source: Resource,
    target: Writable[Any],
    volume_only: bool,
    refresh: bool,
    refresh_exclude_older: bool,
    config: models.Config | None,
    options: MigrationOptions,
) -> None:
    """Make ``target``, the handle of a custom volume, a copy of ``source``: a custom volume, or a snapshot of one."""
    _, pool, _, type_, volume, *snapshot = source._path
    if type_ != "custom":
        raise IncusInputError(f"only a custom volume is copied by itself; one of type {type_} goes with its instance")
    original, _ = await source._read_with_etag()
    changes = to_body({"config": config})["config"]
    body: Json = {
        **_without_volatile_config({key: original.get(key) for key in ("config", "description", "content_type")}),
        "name": target._path[-1],
        "type": type_,
    }
    body["config"] = wire.merge_patch(body["config"], changes or {})
    content = {"volume_only": volume_only, "refresh": refresh, "refresh_exclude_older": refresh_exclude_older}
    name = "/".join([volume, *snapshot[1:]])
    local_source = {"name": name, "pool": pool, "project": other_project(target._scope, source._scope) or ""}
    await _copy_or_undo(
        source,
        target,
        path=wire.path(*target._path[:-1]),
        body={**body, "source": content},
        local_source=local_source | ({"location": source._scope.target} if source._scope.target else {}),
        sender_body={"name": source._path[-1]} | ({} if snapshot else {"pool": pool, "volume_only": volume_only}),
        options=options,
        new=not refresh,
    )
    if refresh:
        await _refresh_config(target, {key: body[key] for key in ("config", "description")})


def other_project(of: Scope, place: Scope) -> str | None:
    """The project that ``place`` is a view of; None if it is that of ``of`` as well."""
    project = place.project or "default"
    return None if project == (of.project or "default") else project


async def _copy_or_undo(
    source: Resource,
    target: Writable[Any],
    *,
    path: str,
    body: Json,
    local_source: Json,
    sender_body: Json,
    options: MigrationOptions,
    new: bool,
    absent: Mapping[str, Json] = MappingProxyType({}),
) -> None:
    """Make ``target`` by posting ``body`` to ``path``, and read it; failed or cancelled, leave nothing that is ``new``.

    Within one server, the body's source gets the fields of ``local_source``, and ``absent`` goes on top of the body,
    since the server adds what the original has and the body does not name. Between two, ``sender_body`` is posted to
    the path of ``source`` to begin the migration.
    """
    progress = options.get("progress")

    async def undo(operation: Operation | None = None) -> None:
        if new:
            await _remove(target, was_created(operation))

    if await same_server(source._scope, target._scope):
        local = {key: {**body[key], **value} for key, value in absent.items()}
        local["source"] = {**body["source"], "type": "copy", **local_source}
        body = {**body, **local}
        if isinstance(target, LifecycleVerbs):
            await create_marked(
                target, body, lambda body, find: create_or_undo(target._scope, path, body, undo, progress, find=find)
            )
        else:
            await create_or_undo(target._scope, path, body, undo, progress)
    else:
        sender = Side(source._scope, wire.path(*source._path), sender_body)
        receiver = Side(target._scope, path, body)
        await migrate(sender, receiver, undo, options.get("mode", "pull"), options.get("addresses"), progress)
    async with undoing(undo):
        await target.refresh()
        if new:
            await _correct(target, body, absent.get("devices") or {})


async def _correct(target: Writable[Any], body: Json, hidden: Json) -> None:
    """Change what a server made different of a new copy: devices that are only hidden, and an empty description."""
    there = target._json.get("devices") or {}
    change: Json = {"devices": {name: None for name in hidden if name in there}} if hidden else {}
    if target._json.get("description", "") != (body.get("description") or ""):
        change["description"] = body.get("description") or ""
    if change:
        await target._update(change)
        await target.refresh()


async def _remove(target: Resource, created: bool) -> None:
    """Delete a copy that was cut off; unless it was ``created``, give the server time to remove it itself."""
    if not created:
        async for _ in Attempts(_REMOVAL_CHECKS, 0.1, longest=10.0, sleep=target._scope.transport.pause):
            if not await target.exists():
                return
    await target._perform("DELETE")


async def _refresh_config(target: Writable[Any], body: Json) -> None:
    """Replace the configuration of a copy, which refreshing does not; its own volatile keys and pool are kept."""
    current, etag = await target._read_with_etag()
    kept = {key: value for key, value in (current.get("config") or {}).items() if key.startswith("volatile.")}
    body["config"] = {**(body.get("config") or {}), **kept}
    for name, device in (current.get("devices") or {}).items():
        if device.get("path") == "/" and name in (body.get("devices") or {}):
            body["devices"][name]["pool"] = device["pool"]
    await target._put(body, etag)
    await target.refresh()


def _without_volatile_config(body: Json) -> Json:
    """The same without the ``volatile.`` keys, which the server sets itself; but with the image it was made from.

    Nor with the marks of a temporary instance.
    """
    config: Mapping[str, Any] = body.get("config") or {}
    kept = {
        key: value
        for key, value in config.items()
        if not key.startswith(("volatile.", "user.incus-sdk.")) or key == "volatile.base_image"
    }
    return {**body, "config": kept}


def _own_root_disk(body: Json, inherited: Json) -> Json:
    """The root disk among the devices of an instance to be made; that of a profile becomes its own."""
    devices = body["devices"] = dict(body.get("devices") or {})
    disks = [*devices.items(), *inherited.items(), ("root", {"type": "disk", "path": "/"})]
    name, disk = next((name, device) for name, device in disks if device.get("path") == "/")
    devices[name] = dict(disk)
    root: Json = devices[name]
    return root


def changed_devices(own: Json, inherited: Json, changes: Json) -> Json:
    """The devices that ``changes`` names, completed from the instance's ``own`` or those of its profiles.

    What is None there is hidden by a device of type ``none``. Raises `IncusInputError` for a device without a type.
    """
    changed: Json = {}
    for name, keys in changes.items():
        device = own.get(name) or inherited.get(name)
        if keys is None:
            changed |= {name: {"type": "none"}} if device else {}
            continue
        changed[name] = wire.merge_patch(device or {}, keys)
        if not changed[name].get("type"):
            raise IncusInputError(
                f"devices[{name!r}] has no type, and neither the instance nor its profiles have a device of that name: "
                'give its type, as "disk" or "nic"'
            )
    return changed


def removed_devices(own: Json, changes: Json) -> list[str]:
    """Those of the instance's ``own`` devices that ``changes`` removes."""
    return [name for name, keys in changes.items() if keys is None and name in own]


async def profile_devices(scope: Scope, profiles: Sequence[str]) -> Json:
    """The devices of profiles; a later one goes before an earlier one."""
    devices: Json = {}
    for profile in profiles:
        with suppress(IncusNotFoundError):  # the server names it
            devices |= (await scope.request("GET", wire.path("profiles", profile))).object.get("devices") or {}
    return devices
