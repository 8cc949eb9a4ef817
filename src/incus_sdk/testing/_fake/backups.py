"""Backups of instances: kept, exported as archives, and imported from those of a fake."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from typing import Any

from .answers import Answer, Object, Refused, content, success
from .events import now
from .files import FakeFiles
from .instances import Instances
from .machines import NEVER, Machine
from .operations import Operation
from .paths import path_of
from .requests import FakeRequest
from .state import State
from .streams import AnyAnswer

_INDEX, _ROOT, _SNAPSHOTS = "backup/index.json", "backup/container/rootfs", "backup/snapshots/"


class Backups:
    """``/1.0/instances/{name}/backups``.

    Args:
        state: All that the fake has.
        instances: Makes the instances that are imported.
    """

    def __init__(self, state: State, instances: Instances) -> None:
        self.state = state
        self._instances = instances

    def _find(self, machine: Machine, name: str) -> Object:
        if name not in machine.backups:
            raise Refused(404, "Instance backup not found")
        return machine.backups[name]

    def list_all(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of all."""
        machine = self.state.machines.find(request, name)
        if request._recursion:
            return success(machine.backups_view())
        return success([machine.path("backups", each) for each in sorted(machine.backups)])

    def get(self, request: FakeRequest, name: str, backup: str) -> Answer:
        """``GET`` of one."""
        machine = self.state.machines.find(request, name)
        self._find(machine, backup)
        return success(next(each for each in machine.backups_view() if each["name"] == backup))

    def create(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``POST`` of a new one, as an operation, or of the wish for its content at once."""
        machine, body = self.state.machines.find(request, name), request._fields
        if request.headers.get("accept") == "application/octet-stream":
            return content(_archive(machine, alone=bool(body.get("instance_only"))))
        backup = body.get("name") or self._next_name(machine)
        if "/" in backup:
            raise Refused(400, "Backup names may not contain slashes")

        def work(_: Operation) -> None:
            if backup in machine.backups:
                raise Refused(500, f'Backup "{name}/{backup}" already exists')
            machine.backups[backup] = {
                "created_at": now(),
                "expires_at": body.get("expires_at") or NEVER,
                "instance_only": bool(body.get("instance_only")),
                "optimized_storage": bool(body.get("optimized_storage")),
                "archive": _archive(machine, alone=bool(body.get("instance_only"))),
            }
            self.state.tell("backup-created", None, machine, None, "backups", backup)

        resources = {"backups": [machine.path("backups", backup)], **machine.resources}
        return self.state.operations.begin(request, "Backing up instance", work, resources)

    def _next_name(self, machine: Machine) -> str:
        numbers = [int(each[6:]) for each in machine.backups if each[:6] == "backup" and each[6:].isdigit()]
        return f"backup{max(numbers, default=-1) + 1}"

    def rename(self, request: FakeRequest, name: str, backup: str) -> AnyAnswer:
        """``POST`` of another name, as an operation."""
        machine, new = self.state.machines.find(request, name), request._text("name")
        self._find(machine, backup)
        if "/" in new:
            raise Refused(400, "Backup names may not contain slashes")

        def work(_: Operation) -> None:
            if new in machine.backups:
                raise Refused(500, f'Backup "{name}/{new}" already exists')
            machine.backups[new] = machine.backups.pop(backup)
            self.state.tell("backup-renamed", None, machine, {"old_name": backup}, "backups", new)

        return self.state.operations.begin(request, "Renaming instance backup", work, machine.resources)

    def delete(self, request: FakeRequest, name: str, backup: str) -> AnyAnswer:
        """``DELETE`` of one, as an operation."""
        machine = self.state.machines.find(request, name)
        self._find(machine, backup)

        def work(_: Operation) -> None:
            machine.backups.pop(backup, None)
            self.state.tell("backup-deleted", None, machine, None, "backups", backup)

        return self.state.operations.begin(request, "Removing instance backup", work, machine.resources)

    def export(self, request: FakeRequest, name: str, backup: str) -> Answer:
        """``GET`` of its content."""
        machine = self.state.machines.find(request, name)
        archive = self._find(machine, backup)["archive"]
        self.state.tell("backup-retrieved", request, machine, None, "backups", backup)
        return content(archive, {"Content-Disposition": "inline;filename="})

    def restore(self, request: FakeRequest) -> AnyAnswer:
        """``POST`` of the content of one to ``/1.0/instances``, as an operation."""
        index, files = _read(request.body)
        headers, record = request.headers, index["record"]
        project, name = request.project, headers.get("x-incus-name") or index["name"]
        for pair in headers.get("x-incus-config", "").split():
            key, _, value = pair.partition("=")
            record["config"][key] = value
        for pair in headers.get("x-incus-devices", "").split():
            device, _, rest = pair.partition(",")
            key, _, value = rest.partition("=")
            record["devices"].setdefault(device, {})[key] = value

        def work(_: Operation) -> None:
            if name in self.state.machines.of(project):
                raise Refused(500, "Create instance from backup: Cannot restore volume, already exists on target")
            machine = self._instances.add(request, project, name, record, {})
            machine.record["created_at"] = record["created_at"]
            machine.files = files[_ROOT]
            for snapshot, kept in index["snapshots"].items():
                machine.snapshots[snapshot] = {**kept, "files": files[_SNAPSHOTS + snapshot]}

        resources = {"instances": [path_of(project, "instances", name)]}
        return self.state.operations.begin(request, "Restoring backup", work, resources)


def _archive(machine: Machine, *, alone: bool = False) -> bytes:
    """An instance as an archive: what it is, its files, and its snapshots."""
    snapshots = {} if alone else machine.snapshots
    kept = {name: {key: each[key] for key in each if key != "files"} for name, each in snapshots.items()}
    index = {"name": machine.name, "record": machine.record, "snapshots": kept}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        _add(archive, tarfile.TarInfo(_INDEX), json.dumps(index).encode())
        _add_files(archive, _ROOT, machine.files)
        for name, each in snapshots.items():
            _add_files(archive, _SNAPSHOTS + name, each["files"])
    return packed.getvalue()


def _add(archive: tarfile.TarFile, entry: tarfile.TarInfo, data: bytes) -> None:
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _add_files(archive: tarfile.TarFile, top: str, files: FakeFiles) -> None:
    for path in files:
        found = files.stat(path, follow_symlinks=False)
        entry = tarfile.TarInfo(top + path)
        entry.mode, entry.uid, entry.gid, entry.mtime = stat.S_IMODE(found.mode), found.uid, found.gid, found.mtime
        match found.type:
            case "directory":
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            case "symlink":
                entry.type, entry.linkname = tarfile.SYMTYPE, files.readlink(path)
                archive.addfile(entry)
            case _:
                _add(archive, entry, files[path])


def _read(data: bytes) -> tuple[Any, dict[str, FakeFiles]]:
    """What an instance was, and its files and those of its snapshots by where they are in an archive."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            first = archive.extractfile(_INDEX)
            index = json.loads(first.read() if first else b"")
            tops = [_ROOT, *(_SNAPSHOTS + name for name in index["snapshots"])]
            return index, {top: _read_files(archive, f"{top}/") for top in tops}
    except (tarfile.TarError, KeyError, ValueError, EOFError):
        raise Refused(500, "Unsupported compression") from None


def _read_files(archive: tarfile.TarFile, top: str) -> FakeFiles:
    files = FakeFiles()
    for name in files.listdir("/"):
        del files[f"/{name}"]
    for entry in archive.getmembers():
        if not entry.name.startswith(top):
            continue
        path = entry.name[len(top) - 1 :]
        if entry.issym():
            files.symlink(path, entry.linkname)
            continue
        if entry.isdir():
            files.mkdir(path)
        elif (source := archive.extractfile(entry)) is not None:
            files[path] = source.read()
        files.set(path, mode=entry.mode, uid=entry.uid, gid=entry.gid, mtime=entry.mtime)
    return files
