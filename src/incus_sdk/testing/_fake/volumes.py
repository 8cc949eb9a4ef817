"""Volumes of storage pools: custom ones, with their snapshots and files, and those of the instances."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from .answers import Answer, Object, Refused, check_etag, created, done, success
from .collection import texts
from .contents import call_files, serve_sftp
from .events import now
from .files import FakeFiles
from .filtering import filtered
from .machines import NEVER, STOPPED
from .operations import Operation
from .paths import path_of
from .requests import FakeRequest
from .state import State, Volume
from .streams import AnyAnswer

_NAMESPACES = ("block", "dependent", "initial", "lvm", "security", "size", "snapshots", "user", "volatile", "zfs")
_TYPES = ("container", "custom", "image", "virtual-machine")


_FEATURE = "features.storage.volumes"


class Volumes:
    """``/1.0/storage-pools/{pool}/volumes``."""

    def __init__(self, state: State) -> None:
        self.state = state

    def of(self, pool: str, project: str) -> dict[str, Volume]:
        """The custom volumes of a pool in a project."""
        return self.state.volumes_of(pool, project)

    def _of(self, request: FakeRequest, pool: str) -> dict[str, Volume]:
        self.state.require_pool(pool)
        return self.of(pool, self.state.owner(request.project, _FEATURE))

    def find(self, request: FakeRequest, pool: str, kind: str, name: str) -> Volume:
        """A custom volume, or the answer that there is none."""
        volumes = self._of(request, pool)
        if kind != "custom" or name not in volumes:
            raise Refused(404, "Storage pool volume not found")
        return volumes[name]

    def path(self, pool: str, project: str, kind: str, *names: str) -> str:
        """The path of a volume, or of something below it."""
        return path_of(project, "storage-pools", pool, "volumes", kind, *names)

    def used_by(self, pool: str, project: str, name: str) -> Iterator[str]:
        """The instances and profiles that have it as a disk."""
        found = self.state.devices_of(project, _FEATURE)
        return (path for path, devices in found if _uses(devices, pool, name))

    def _is_mounted(self, pool: str, volume: Volume) -> bool:
        """Whether an instance that runs has it as a disk."""
        return any(
            machine.status != STOPPED
            and self.state.owner(machine.project, _FEATURE) == volume.project
            and _uses(self.state.expand(machine)[1], pool, volume.name)
            for machine in self.state.machines.everywhere()
        )

    def view(self, pool: str, volume: Volume) -> Object:
        """A custom volume as it is shown."""
        return {
            "config": volume.record["config"],
            "description": volume.record["description"],
            "name": volume.name,
            "type": "custom",
            "used_by": list(self.used_by(pool, volume.project, volume.name)),
            "location": "none",
            "content_type": volume.record["content_type"],
            "project": volume.project,
            "created_at": volume.record["created_at"],
        }

    def _of_instances(self, pool: str, projects: list[str]) -> Iterator[Object]:
        for machine in self.state.machines.everywhere():
            roots = (each for each in self.state.expand(machine)[1].values() if each.get("path") == "/")
            if machine.project in projects and any(each.get("pool") == pool for each in roots):
                yield {
                    "config": {},
                    "description": "",
                    "name": machine.name,
                    "type": machine.record["type"],
                    "used_by": [machine.path()],
                    "location": "none",
                    "content_type": "filesystem" if machine.record["type"] == "container" else "block",
                    "project": machine.project,
                    "created_at": machine.record["created_at"],
                }

    def list_all(self, request: FakeRequest, pool: str, kind: str | None = None) -> Answer:
        """``GET`` of all, or of those of a type."""
        if kind is not None and kind not in _TYPES:
            raise Refused(400, "Invalid storage volume type name")
        self.state.require_pool(pool)
        everything = request.query.get("all-projects") == "true"
        projects = list(self.state.of("projects")) if everything else [request.project]
        owners = dict.fromkeys(self.state.owner(each, _FEATURE) for each in projects)
        found = [*self._of_instances(pool, projects)]
        found += [self.view(pool, volume) for project in owners for volume in self.of(pool, project).values()]
        found = [each for each in found if kind in (None, each["type"])]
        found.sort(key=lambda each: (each["type"], each["name"]))
        shown = [item for _, item in filtered([(None, each) for each in found], request.query.get("filter"))]
        if request._recursion:
            return success(shown)
        return success([self.path(pool, each["project"], each["type"], each["name"]) for each in shown])

    def create(self, request: FakeRequest, pool: str, kind: str | None = None) -> AnyAnswer:
        """``POST`` of a new one; a copy is an operation."""
        body = request._fields
        kind = kind or body.get("type") or ""
        if kind != "custom":
            raise Refused(400, f'Currently not allowed to create storage volumes of type "{kind}"')
        volumes, name = self._of(request, pool), request._text("name")
        _check_name(name)
        if name in volumes:
            raise Refused(409, "Volume by that name already exists")
        source = body.get("source") or {}
        if source.get("type") not in (None, "", "copy"):
            raise Refused(501, f"The fake of incus_sdk does not do migrations: POST {request.path}")
        project = self.state.owner(request.project, _FEATURE)
        if source.get("type") == "copy":
            return self._copy(request, pool, project, name, body, source)
        config = texts(body.get("config"))
        _check_config(name, config)
        record = {
            "config": config,
            "description": body.get("description") or "",
            "content_type": body.get("content_type") or "filesystem",
            "created_at": now(),
        }
        volumes[name] = Volume(name, project, record, _empty())
        self._tell("created", request, pool, volumes[name], {"type": "custom"})
        return done()

    def _copy(
        self, request: FakeRequest, pool: str, project: str, name: str, body: Object, source: Object
    ) -> AnyAnswer:
        where = source.get("pool") or pool
        owner = self.state.owner(source.get("project") or request.project, _FEATURE)
        original, _, snapshot = source.get("name", "").partition("/")
        volume = self.of(where, owner).get(original)
        if volume is None or (snapshot and snapshot not in volume.snapshots):
            raise Refused(404, "Storage volume not found")

        def work(_: Operation) -> None:
            record, files = copy.deepcopy(volume.record), volume.files._copy()
            if snapshot:
                kept = volume.snapshots[snapshot]
                record, files = copy.deepcopy(kept["record"]), kept["files"]._copy()
            record["created_at"] = now()
            if body.get("config"):
                record["config"] = {**record["config"], **texts(body["config"])}
            new = self.of(pool, project)[name] = Volume(name, project, record, files)
            if not snapshot and not source.get("volume_only"):
                new.snapshots = {each: _snapshot(volume, kept) for each, kept in volume.snapshots.items()}
            self._tell("created", request, pool, new, {"type": "custom"})

        return self.state.operations.begin(request, "Copying storage volume", work)

    def get(self, request: FakeRequest, pool: str, kind: str, name: str) -> Answer:
        """``GET`` of one."""
        if kind in ("container", "virtual-machine"):
            self.state.require_pool(pool)
            found = [
                each
                for each in self._of_instances(pool, [request.project])
                if (each["type"], each["name"]) == (kind, name)
            ]
            if not found:
                raise Refused(404, "Storage pool volume not found")
            return success(found[0], etag=[name, kind])
        volume = self.find(request, pool, kind, name)
        shown = self.view(pool, volume)
        if request._recursion:
            snapshots = [self._snapshot_view(volume, each) for each in volume.snapshots]
            shown |= {"backups": None, "snapshots": snapshots or None, "state": {"usage": None}}
        return success(shown, etag=_writable(volume))

    def get_state(self, request: FakeRequest, pool: str, kind: str, name: str) -> Answer:
        """``GET`` of its state."""
        if kind == "custom":
            self.find(request, pool, kind, name)
        return success({"usage": None})

    def change(self, request: FakeRequest, pool: str, kind: str, name: str) -> Answer:
        """``PUT`` and ``PATCH`` of one."""
        volume, body = self.find(request, pool, kind, name), request._fields
        check_etag(request.headers.get("if-match"), _writable(volume))
        if snapshot := body.get("restore"):
            if snapshot not in volume.snapshots:
                raise Refused(404, "Storage volume snapshot not found")
            if self._is_mounted(pool, volume):
                raise Refused(500, "Cannot restore custom volume used by running instances")
            kept = volume.snapshots[snapshot]
            volume.record["config"] = dict(kept["record"]["config"])
            volume.files = kept["files"]._copy()
            self._tell("restored", request, pool, volume, {"snapshot": snapshot})
            return done()
        config = texts(body.get("config"))
        if request.method == "PATCH":
            config = texts({**volume.record["config"], **(body.get("config") or {})})
            body = {"description": volume.record["description"], **body}
        _check_config(name, config)
        volume.record |= {"config": config, "description": body.get("description") or ""}
        self._tell("updated", request, pool, volume)
        return done()

    def rename(self, request: FakeRequest, pool: str, kind: str, name: str) -> AnyAnswer:
        """``POST`` of another name, pool or project."""
        volume, body = self.find(request, pool, kind, name), request._fields
        if body.get("migration"):
            raise Refused(501, f"The fake of incus_sdk does not do migrations: POST {request.path}")
        new, target = body.get("name") or name, body.get("pool") or pool
        project = self.state.owner(body.get("project") or volume.project, _FEATURE)
        _check_name(new)
        self.state.require_pool(target)
        if new in self.of(target, project):
            raise Refused(409, "Volume by that name already exists")
        if any(self.used_by(pool, volume.project, name)):
            raise Refused(400, "Volume is still in use by running instances")

        def move(_: Operation | None = None) -> None:
            del self.of(pool, volume.project)[name]
            volume.name, volume.project = new, project
            self.of(target, project)[new] = volume
            self._tell("renamed", request, target, volume, {"old_name": name})

        if target != pool or project != self.state.owner(request.project, _FEATURE):
            return self.state.operations.begin(request, "Moving storage volume", move)
        move()
        return created(self.path(pool, project, kind, new))

    def delete(self, request: FakeRequest, pool: str, kind: str, name: str) -> Answer:
        """``DELETE`` of one."""
        if kind in ("container", "image", "virtual-machine"):
            raise Refused(400, f'Storage volumes of type "{kind}" cannot be deleted with the storage API')
        volume = self.find(request, pool, kind, name)
        if any(self.used_by(pool, volume.project, name)):
            raise Refused(400, "The storage volume is still in use")
        del self.of(pool, volume.project)[name]
        for snapshot in volume.snapshots:
            self._tell("snapshot-deleted", request, pool, volume, None, "snapshots", snapshot)
        self._tell("deleted", request, pool, volume)
        return done()

    def files(self, request: FakeRequest, pool: str, kind: str, name: str) -> AnyAnswer:
        """All methods of its files."""
        return call_files(self.find(request, pool, kind, name).files, request)

    def sftp(self, request: FakeRequest, pool: str, kind: str, name: str) -> AnyAnswer:
        """``GET`` that becomes a stream of SFTP."""
        return serve_sftp(self.find(request, pool, kind, name).files, request)

    def _tell(
        self, what: str, request: FakeRequest, pool: str, volume: Volume, context: Any = None, *below: str
    ) -> None:
        path = self.path(pool, volume.project, "custom", volume.name, *below)
        self.state.events.lifecycle(f"storage-volume-{what}", path, request, volume.project, context=context)

    # Snapshots.

    def _snapshot_of(
        self, request: FakeRequest, pool: str, kind: str, name: str, snapshot: str
    ) -> tuple[Volume, Object]:
        volume = self.find(request, pool, kind, name)
        if snapshot not in volume.snapshots:
            raise Refused(404, "Storage pool volume snapshot not found")
        return volume, volume.snapshots[snapshot]

    def _snapshot_view(self, volume: Volume, name: str) -> Object:
        snapshot = volume.snapshots[name]
        return {
            "description": snapshot["description"],
            "expires_at": snapshot["expires_at"],
            "name": name,
            "config": snapshot["record"]["config"],
            "content_type": snapshot["record"]["content_type"],
            "created_at": snapshot["created_at"],
        }

    def _resources(self, pool: str, volume: Volume, *names: str) -> list[str]:
        return [self.path(pool, volume.project, "custom", volume.name, *(("snapshots", *names) if names else ()))]

    def snapshots(self, request: FakeRequest, pool: str, kind: str, name: str) -> Answer:
        """``GET`` of all snapshots of one."""
        volume = self.find(request, pool, kind, name)
        if not request._recursion:
            return success([self._resources(pool, volume, each)[0] for each in volume.snapshots])
        views = [self._snapshot_view(volume, each) for each in volume.snapshots]
        for view in views:
            view["name"] = f"{name}/{view['name']}"
            view["expires_at"] = None if view["expires_at"] == NEVER else view["expires_at"]
        return success(views)

    def snapshot(self, request: FakeRequest, pool: str, kind: str, name: str, snapshot: str) -> Answer:
        """``GET`` of a snapshot."""
        volume, found = self._snapshot_of(request, pool, kind, name, snapshot)
        return success(self._snapshot_view(volume, snapshot), etag=[found["description"], found["expires_at"]])

    def create_snapshot(self, request: FakeRequest, pool: str, kind: str, name: str) -> AnyAnswer:
        """``POST`` of a new snapshot, as an operation."""
        volume, body = self.find(request, pool, kind, name), request._fields
        numbers = [int(each[4:]) for each in volume.snapshots if each[:4] == "snap" and each[4:].isdigit()]
        snapshot = body.get("name") or f"snap{max(numbers, default=-1) + 1}"
        if "/" in snapshot:
            raise Refused(400, 'Invalid snapshot name: Name contains invalid character "/"')
        if snapshot in volume.snapshots:
            raise Refused(409, f'Snapshot "{snapshot}" already in use')

        def work(_: Operation) -> None:
            kept = {"description": body.get("description") or volume.record["description"]}
            kept["expires_at"] = body.get("expires_at") or NEVER
            volume.snapshots[snapshot] = _snapshot(volume, kept)
            self._tell("snapshot-created", request, pool, volume, {"type": "custom"}, "snapshots", snapshot)

        resources = {
            "storage_volume_snapshots": self._resources(pool, volume, snapshot),
            "storage_volumes": self._resources(pool, volume),
        }
        return self.state.operations.begin(request, "Creating storage volume snapshot", work, resources)

    def change_snapshot(self, request: FakeRequest, pool: str, kind: str, name: str, snapshot: str) -> Answer:
        """``PUT`` and ``PATCH`` of a snapshot."""
        (volume, found), body = self._snapshot_of(request, pool, kind, name, snapshot), request._fields
        check_etag(request.headers.get("if-match"), [found["description"], found["expires_at"]])
        if request.method == "PUT" or body.get("description") is not None:
            found["description"] = body.get("description") or ""
        if request.method == "PUT" or body.get("expires_at") is not None:
            found["expires_at"] = body.get("expires_at") or NEVER
        self._tell("snapshot-updated", request, pool, volume, None, "snapshots", snapshot)
        return done()

    def rename_snapshot(self, request: FakeRequest, pool: str, kind: str, name: str, snapshot: str) -> AnyAnswer:
        """``POST`` of another name of a snapshot, as an operation."""
        volume, found = self._snapshot_of(request, pool, kind, name, snapshot)
        new = request._text("name")
        _check_name(new)
        if new in volume.snapshots:
            raise Refused(409, "Storage volume snapshot by that name already exists")

        def work(_: Operation) -> None:
            del volume.snapshots[snapshot]
            volume.snapshots[new] = found
            self._tell("snapshot-renamed", request, pool, volume, {"old_name": snapshot}, "snapshots", new)

        resources = {"storage_volume_snapshots": self._resources(pool, volume, snapshot)}
        return self.state.operations.begin(request, "Renaming storage volume snapshot", work, resources)

    def delete_snapshot(self, request: FakeRequest, pool: str, kind: str, name: str, snapshot: str) -> AnyAnswer:
        """``DELETE`` of a snapshot, as an operation."""
        volume, _ = self._snapshot_of(request, pool, kind, name, snapshot)

        def work(_: Operation) -> None:
            volume.snapshots.pop(snapshot, None)
            self._tell("snapshot-deleted", request, pool, volume, None, "snapshots", snapshot)

        resources = {"storage_volume_snapshots": self._resources(pool, volume, snapshot)}
        return self.state.operations.begin(request, "Deleting storage volume snapshot", work, resources)


def _uses(devices: Object, pool: str, name: str) -> bool:
    return any(each.get("pool") == pool and each.get("source") == name for each in devices.values())


def _snapshot(volume: Volume, kept: Object) -> Object:
    record, files = (kept["record"], kept["files"]) if "record" in kept else (volume.record, volume.files)
    return {"created_at": now(), **kept, "record": copy.deepcopy(record), "files": files._copy()}


def _writable(volume: Volume) -> Object:
    return {"name": volume.name, "config": volume.record["config"]}


def _check_name(name: str) -> None:
    if not name:
        raise Refused(400, "No name provided")
    if "/" in name:
        raise Refused(400, 'Invalid volume name: Name contains invalid character "/"')


def _check_config(name: str, config: Object) -> None:
    for key in config:
        if key.partition(".")[0] not in _NAMESPACES:
            raise Refused(500, f'Invalid option for volume "{name}" option "{key}"')


def _empty() -> FakeFiles:
    """The files of a new volume: none."""
    files = FakeFiles()
    for name in files.listdir("/"):
        del files[f"/{name}"]
    return files
