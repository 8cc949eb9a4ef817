"""Copies of instances and volumes: within a server, across its projects, pools and members, and between servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from .. import models
from .._concurrency import attempts, shielded
from .._connection import wire
from .._connection.scope import Scope
from .._migration import Mode, Side, Undo, migrate, same_server
from ..exceptions import IncusInputError
from ..models.base import Json
from ..operations import OnProgress, create_or_undo
from ._bodies import to_body
from .base import Resource, Writable

_LOOKS = 10  # at what the server is about to remove; it waits for another server for up to half a minute
_WRITABLE = ("architecture", "config", "description", "devices", "ephemeral", "profiles")


@dataclass(frozen=True)
class _Copy:
    """A copy to be made: ``body`` is posted to ``path`` to make ``target``, once its ``source`` is complete."""

    source: Resource
    target: Writable[Any]
    path: str
    body: Json
    local: Json
    """What the body's source says where both are on one server."""
    sent: Json
    """What is posted to the path of the source where they are not."""

    async def make(self, how: MigrationOptions, new: bool) -> None:
        """Make it, and read it. Failed or cancelled, it leaves nothing: ``new`` says that there was no target."""

        async def undo(created: bool) -> None:
            if new:
                await _remove(self.target, created)

        await self._make(how, undo)
        try:
            await self.target.refresh()
        except BaseException:
            await shielded(undo(True))
            raise

    async def _make(self, how: MigrationOptions, undo: Undo) -> None:
        if await same_server(self.source._scope, self.target._scope):
            body = {**self.body, "source": {**self.body["source"], "type": "copy", **self.local}}
            await create_or_undo(self.target._scope, self.path, body, undo, how.get("progress"))
            return
        sender = Side(self.source._scope, wire.path(*self.source._path), self.sent)
        receiver = Side(self.target._scope, self.path, self.body)
        await migrate(sender, receiver, undo, how.get("mode", "pull"), how.get("addresses"), how.get("progress"))


async def _remove(target: Resource, created: bool) -> None:
    """Delete a copy that was cut off; unless ``created``, the server removes it itself a moment later."""
    if not created:
        async for _ in attempts(_LOOKS, 0.1, longest=10.0):
            if not await target.exists():
                return
    await target._perform("DELETE")


class MigrationOptions(TypedDict, total=False):
    """How two servers come together; on one server none of it counts, but for ``progress``."""

    mode: Mode
    """``pull``, the default: the receiving server connects to the other; ``push``: the other way round; ``relay``:
    neither can, and all goes through this program."""
    addresses: Sequence[str] | None
    """Of the server that is connected to, as ``https://host:8443``, tried in turn; None: as it says itself."""
    progress: OnProgress | None
    """Told how far it is."""


class InstanceCopy(MigrationOptions, total=False):
    """What may be another with the copy of an instance, and how it is made."""

    pool: str | None
    """The storage pool of its root disk."""
    config: models.Config | None
    """Changed keys; None removes one."""
    devices: models.Devices | None
    """Changed devices, and keys of devices; None removes one."""
    profiles: Sequence[str] | None
    """Instead of those of the source."""
    ephemeral: bool | None
    live: bool
    """With the running state."""
    allow_inconsistent: bool
    """Go on where files change while they are copied."""


async def copy_instance(
    source: Resource, target: Writable[Any], instance_only: bool, refresh: bool, options: InstanceCopy
) -> None:
    """Make ``target``, an instance's handle, a copy of ``source``: an instance, or a snapshot of one."""
    instance, is_snapshot = source._path[1], len(source._path) > 2
    name: str = source._json[source.KEY]
    original, _ = await source._read_with_etag()
    body = _without_volatile({key: original[key] for key in _WRITABLE if key in original})
    changes = to_body({key: options.get(key) for key in ("config", "devices")})
    body = wire.merge_patch(body, {key: value for key, value in changes.items() if value is not None})
    if (profiles := options.get("profiles")) is not None:
        body["profiles"] = wire.texts(profiles, "profiles")
    if (ephemeral := options.get("ephemeral")) is not None:
        body["ephemeral"] = ephemeral
    if (pool := options.get("pool")) is not None:
        _root(body)["pool"] = pool
    live = {"live": options.get("live", False)}
    common = {**live, "instance_only": instance_only, "allow_inconsistent": options.get("allow_inconsistent", False)}
    place = {"base-image": (original.get("config") or {}).get("volatile.base_image", ""), "refresh": refresh}
    whole = (await source._scope.request("GET", wire.path("instances", instance))).metadata if is_snapshot else original
    await _Copy(
        source,
        target,
        wire.path("instances"),
        {"name": target._path[-1], "type": whole["type"], **body, "source": {**common, **place}},
        {"source": f"{instance}/{name}" if is_snapshot else instance, "project": source._scope.project or "default"},
        {"name": name, **(live if is_snapshot else common)},
    ).make(options, new=not refresh)
    if refresh:
        await _take_over_config(target, body)


async def _take_over_config(target: Writable[Any], body: Json) -> None:
    """Take over the configuration, which the server leaves as it was; what it alone knows stays, and the pool."""
    current, etag = await target._read_with_etag()
    kept = {key: value for key, value in (current.get("config") or {}).items() if key.startswith("volatile.")}
    body["config"] = {**(body.get("config") or {}), **kept}
    for name, device in (current.get("devices") or {}).items():
        if device.get("path") == "/" and name in (body.get("devices") or {}):
            body["devices"][name]["pool"] = device["pool"]
    await target._put(body, etag)
    await target.refresh()


def other_project(of: Scope, place: Scope) -> str | None:
    """The project that ``place`` looks into, where it is another than that of an object."""
    project = place.project or "default"
    return None if project == (of.project or "default") else project


async def copy_volume(
    source: Resource,
    target: Writable[Any],
    volume_only: bool,
    refresh: bool,
    config: models.Config | None,
    how: MigrationOptions,
) -> None:
    """Make ``target``, a custom volume's handle, a copy of ``source``: a custom volume, or a snapshot of one."""
    _, pool, _, type_, volume, *snapshot = source._path
    if type_ != "custom":
        raise IncusInputError(f"only a custom volume is copied by itself; one of type {type_} goes with its instance")
    original = (await source._scope.request("GET", wire.path(*source._path[:5]))).metadata
    changes = to_body({"config": config})["config"]
    body: Json = {
        **_without_volatile({key: original[key] for key in ("config", "description", "content_type")}),
        "name": target._path[-1],
        "type": type_,
    }
    body["config"] = wire.merge_patch(body["config"], changes or {})
    name = "/".join([volume, *snapshot[1:]])
    local = {"name": name, "pool": pool, "project": other_project(target._scope, source._scope) or ""}
    await _Copy(
        source,
        target,
        wire.path(*target._path[:-1]),
        {**body, "source": {"volume_only": volume_only, "refresh": refresh}},
        local | ({"location": source._scope.target} if source._scope.target else {}),
        {"name": source._path[-1]} | ({} if snapshot else {"pool": pool, "volume_only": volume_only}),
    ).make(how, new=not refresh)
    if refresh:
        await _take_over_config(target, {key: body[key] for key in ("config", "description")})


def _without_volatile(body: Json) -> Json:
    config: Mapping[str, Any] = body.get("config") or {}
    kept = {
        key: value for key, value in config.items() if not key.startswith("volatile.") or key == "volatile.base_image"
    }
    return {**body, "config": kept}


def _root(body: Json) -> Json:
    """The root disk of an instance to be made; a new one where it is a profile's."""
    devices = body["devices"] = dict(body.get("devices") or {})
    name = next((name for name, device in devices.items() if device.get("path") == "/"), "root")
    devices[name] = dict(devices.get(name) or {"type": "disk", "path": "/"})
    root: Json = devices[name]
    return root
