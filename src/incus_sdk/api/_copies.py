"""Copies of instances and volumes: within a server, across its projects, pools and members, and between servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from .. import models
from .._background import create_or_undo
from .._concurrency import Attempts, shielded
from .._connection import wire
from .._connection.scope import Scope
from .._migration import Mode, Side, migrate, same_server
from ..exceptions import IncusInputError
from ..models.base import Json
from ..operations import OnProgress
from ._bodies import to_body
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
    """Changed devices, and changed keys of devices; None removes one."""
    profiles: Sequence[str] | None
    """In place of those of the source."""
    ephemeral: bool | None
    live: bool
    """With the running state."""
    allow_inconsistent: bool
    """Go on if files change while they are copied."""


async def copy_instance(
    source: Resource, target: Writable[Any], instance_only: bool, refresh: bool, options: InstanceCopy
) -> None:
    """Make ``target``, the handle of an instance, a copy of ``source``: an instance, or a snapshot of one."""
    instance, is_snapshot = source._path[1], len(source._path) > 2
    name: str = source._json[source.KEY]
    original, _ = await source._read_with_etag()
    body = _without_volatile_config({key: original[key] for key in _WRITABLE if key in original})
    changes = to_body({key: options.get(key) for key in ("config", "devices")})
    body = wire.merge_patch(body, {key: value for key, value in changes.items() if value is not None})
    if (profiles := options.get("profiles")) is not None:
        body["profiles"] = wire.texts(profiles, "profiles")
    if (ephemeral := options.get("ephemeral")) is not None:
        body["ephemeral"] = ephemeral
    if (pool := options.get("pool")) is not None:
        _own_root_disk(body)["pool"] = pool
    live = {"live": options.get("live", False)}
    content = {**live, "instance_only": instance_only, "allow_inconsistent": options.get("allow_inconsistent", False)}
    hints = {"base-image": (original.get("config") or {}).get("volatile.base_image", ""), "refresh": refresh}
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
    )
    if refresh:
        await _refresh_config(target, body)


async def copy_volume(
    source: Resource,
    target: Writable[Any],
    volume_only: bool,
    refresh: bool,
    config: models.Config | None,
    options: MigrationOptions,
) -> None:
    """Make ``target``, the handle of a custom volume, a copy of ``source``: a custom volume, or a snapshot of one."""
    _, pool, _, type_, volume, *snapshot = source._path
    if type_ != "custom":
        raise IncusInputError(f"only a custom volume is copied by itself; one of type {type_} goes with its instance")
    original = (await source._scope.request("GET", wire.path(*source._path[:5]))).object
    changes = to_body({"config": config})["config"]
    body: Json = {
        **_without_volatile_config({key: original[key] for key in ("config", "description", "content_type")}),
        "name": target._path[-1],
        "type": type_,
    }
    body["config"] = wire.merge_patch(body["config"], changes or {})
    name = "/".join([volume, *snapshot[1:]])
    local_source = {"name": name, "pool": pool, "project": other_project(target._scope, source._scope) or ""}
    await _copy_or_undo(
        source,
        target,
        path=wire.path(*target._path[:-1]),
        body={**body, "source": {"volume_only": volume_only, "refresh": refresh}},
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
) -> None:
    """Make ``target`` by posting ``body`` to ``path``, and read it; failed or cancelled, leave nothing that is ``new``.

    Within one server, the body's source gets the fields of ``local_source``. Between two, ``sender_body`` is posted to
    the path of ``source`` to begin the migration.
    """
    progress = options.get("progress")

    async def undo(created: bool) -> None:
        if new:
            await _remove(target, created)

    if await same_server(source._scope, target._scope):
        body = {**body, "source": {**body["source"], "type": "copy", **local_source}}
        await create_or_undo(target._scope, path, body, undo, progress)
    else:
        sender = Side(source._scope, wire.path(*source._path), sender_body)
        receiver = Side(target._scope, path, body)
        await migrate(sender, receiver, undo, options.get("mode", "pull"), options.get("addresses"), progress)
    try:
        await target.refresh()
    except BaseException:
        await shielded(undo(True))
        raise


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
    """The same without the ``volatile.`` keys, which the server sets itself; but with the image it was made from."""
    config: Mapping[str, Any] = body.get("config") or {}
    kept = {
        key: value for key, value in config.items() if not key.startswith("volatile.") or key == "volatile.base_image"
    }
    return {**body, "config": kept}


def _own_root_disk(body: Json) -> Json:
    """The root disk among the devices of an instance to be made; adds one if it is in a profile."""
    devices = body["devices"] = dict(body.get("devices") or {})
    name = next((name for name, device in devices.items() if device.get("path") == "/"), "root")
    devices[name] = dict(devices.get(name) or {"type": "disk", "path": "/"})
    root: Json = devices[name]
    return root
