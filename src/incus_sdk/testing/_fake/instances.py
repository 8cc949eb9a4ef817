"""Instances: their configuration, their status, and what makes, copies and removes them."""

from __future__ import annotations

import copy
import random
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from .answers import STATUSES, Answer, Object, Refused, check_etag, done, success
from .collection import check_config, texts
from .devices import DEVICES, check_devices, check_new_disks, check_root, roots
from .events import now
from .filtering import filtered
from .images import Images
from .machines import RUNNING, Machine, copied
from .operations import Operation
from .paths import path_of
from .requests import FakeRequest
from .snapshots import Snapshots
from .state import State
from .streams import AnyAnswer
from .types import check_types

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_SOURCES = ("copy", "image", "migration", "none")
_FIRST, _SECOND = (
    ("brave", "calm", "clever", "golden", "lucky", "merry", "proud", "quick"),
    (*("badger", "caribou", "falcon", "heron", "marmot", "otter", "panda", "salmon"),),
)


_RANGE = '"Hostid":1000000,"Nsid":0,"Maprange":1000000000}'
_IDMAP = {
    "volatile.idmap.base": "0",
    "volatile.idmap.next": f'[{{"Isuid":true,"Isgid":false,{_RANGE},{{"Isuid":false,"Isgid":true,{_RANGE}]',
    "volatile.last_state.idmap": "[]",
}


def check_instance_name(name: Any) -> None:
    """Refuse what cannot be the name of an instance."""
    if not isinstance(name, str) or not name:
        raise Refused(400, "Invalid instance name: Name must be 1-63 characters long")
    if "/" in name:
        raise Refused(400, 'The character "/" is reserved for snapshots')
    if not _NAME.fullmatch(name) or (name.isascii() and name.isdigit()):
        if not 1 <= len(name) <= 63:
            why = "Name must be 1-63 characters long"
        elif name.startswith("-"):
            why = 'Name must not start with "-" character'
        elif name.isascii() and name.isdigit():
            why = "Name cannot be a number"
        elif name.endswith("-"):
            why = 'Name must not end with "-" character'
        else:
            why = "Name can only contain alphanumeric and hyphen characters"
        raise Refused(400, f"Invalid instance name: {why}")


def _check_repeated(profiles: Sequence[str] | None) -> None:
    if profiles is not None and len(set(profiles)) < len(profiles):
        raise Refused(500, "Duplicate profile found in request")


class Instances:
    """``/1.0/instances``."""

    def __init__(self, state: State, images: Images, snapshots: Snapshots) -> None:
        self.state = state
        self._images = images
        self._snapshots = snapshots

    def of(self, project: str) -> dict[str, Machine]:
        """All instances of a project."""
        return self.state.machines.of(project)

    def find(self, request: FakeRequest, name: str) -> Machine:
        """The instance that a request is about."""
        self.state.project(request.project)
        return self.state.machines.find(request, name)

    # Reading.

    def view(self, machine: Machine) -> Object:
        """An instance as it is shown."""
        record = machine.record
        config, devices = self.state.expand(machine)
        return {
            "architecture": record["architecture"],
            "config": record["config"],
            "devices": record["devices"],
            "ephemeral": record["ephemeral"],
            "profiles": record["profiles"],
            "stateful": record["stateful"],
            "description": record["description"],
            "created_at": record["created_at"],
            "expanded_config": dict(sorted(config.items())),
            "expanded_devices": devices,
            "name": machine.name,
            "status": STATUSES[machine.status],
            "status_code": machine.status,
            "last_used_at": record["last_used_at"],
            "location": "none",
            "type": record["type"],
            "project": machine.project,
        }

    def full_view(self, machine: Machine) -> Object:
        """An instance with what is below it."""
        snapshots = [self._snapshots.view(machine, name) for name in machine.snapshots]
        return {
            **self.view(machine),
            "backups": machine.backups_view() or None,
            "state": machine.state(self.state.expand(machine)[1]),
            "snapshots": snapshots or None,
        }

    def list(self, request: FakeRequest) -> Answer:
        """``GET`` of all."""
        everything = request.query.get("all-projects") == "true"
        if everything and "project" in request.query:
            raise Refused(400, "Cannot specify a project when requesting all projects")
        projects = self.state.machines.projects if everything else [request.project]
        machines = [self.of(project)[name] for project in projects for name in sorted(self.of(project))]
        if (text := request.query.get("filter")) or request._recursion:
            view = self.full_view if request._recursion >= 2 else self.view
            shown = filtered([(machine, view(machine)) for machine in machines], text)
            if request._recursion:
                return success([item for _, item in shown])
            machines = [machine for machine, _ in shown]
        return success([machine.path() for machine in machines])

    def writable(self, machine: Machine) -> Object:
        """What of an instance a request can set; its ETag is made from it."""
        keys = ("architecture", "config", "devices", "ephemeral", "profiles")
        return {key: machine.record[key] for key in keys}

    def get(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of one."""
        machine = self.find(request, name)
        shown = self.full_view(machine) if request._recursion else self.view(machine)
        return success(shown, etag=self.writable(machine))

    def get_state(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of its state."""
        machine = self.find(request, name)
        return success(machine.state(self.state.expand(machine)[1]))

    # Making.

    def create(self, request: FakeRequest) -> AnyAnswer:
        """``POST`` of a new one, as an operation."""
        body, project = request._fields, request.project
        check_types(body, "InstancesPost")
        source = body.get("source") or {}
        kind = source.get("type", "")
        if kind not in _SOURCES:
            raise Refused(400, f"Unknown source type {kind}")
        if kind == "migration":
            raise Refused(501, "The fake of incus_sdk does not do migrations: POST /1.0/instances")
        self.state.project(project)
        instance_type = body.get("type") or "container"
        if instance_type not in ("container", "virtual-machine"):
            raise Refused(400, "Invalid instance type")
        name = body.get("name") or self._new_name(project)
        check_instance_name(name)
        self._check_profiles(request, project, body.get("profiles"))
        if name in self.of(project):
            raise Refused(500, f'Instance "{name}" already exists')
        origin = self._origin(request, source) if kind == "copy" else None
        resources = [path_of(project, "instances", name)]
        if origin is not None:
            resources.append(path_of(project, "instances", source["source"]))

        def work(operation: Operation) -> None:
            if kind == "image":
                image = self._images.source(project, source, instance_type)
                given = {key: text for key, text in image["properties"].items() if text}
                config = {f"image.{key}": text for key, text in given.items()}
                config["volatile.base_image"] = image["fingerprint"]
                machine = self.add(request, project, name, {**body, "type": instance_type}, config)
                if body.get("profiles") is None:
                    machine.record["profiles"] = list(image["profiles"])
                operation.progress("create_instance_from_image_unpack", 100, "Unpacking image: 100% (100.00MB/s)")
                machine.record["architecture"] = image["architecture"]
                machine.fill(self._images.files_of(image))
            elif origin is not None:
                machine = self._copy(request, project, name, body, origin, bool(source.get("instance_only")))
            else:
                machine = self.add(request, project, name, {**body, "type": instance_type}, {})
            if body.get("start"):
                self._start(request, machine)

        return self.state.operations.begin(request, "Creating instance", work, {"instances": resources})

    def _new_name(self, project: str) -> str:
        while True:
            name = f"{random.choice(_FIRST)}-{random.choice(_SECOND)}"
            if name not in self.of(project):
                return name
            name += f"-{random.randrange(10**6)}"
            if name not in self.of(project):
                return name

    def _check_profiles(self, request: FakeRequest, project: str, names: Any, message: str = "") -> None:
        known = self.state.of("profiles", self.state.owner(project, "features.profiles"))
        for name in names or ():
            if name not in known:
                raise Refused(404, message) if message else Refused(500, f'Requested profile "{name}" doesn\'t exist')

    def add(
        self,
        request: FakeRequest | None,
        project: str,
        name: str,
        body: Mapping[str, Any],
        extra: Mapping[str, str],
        template: str = "create",
    ) -> Machine:
        """Make an instance.

        Args:
            request: Who asks for it.
            project: Its project.
            name: Its name.
            body: What a request can say of it.
            extra: Configuration beside that of the body.
            template: What its templates would be told.
        """
        own = str(uuid.uuid4())
        container = body.get("type") != "virtual-machine"
        config = {
            **extra,
            **texts(body.get("config")),
            **(_IDMAP if container else {}),
            "volatile.apply_template": template,
            "volatile.cloud-init.instance-id": str(uuid.uuid4()),
            "volatile.uuid": own,
            "volatile.uuid.generation": own,
        }
        devices = {device: texts(keys) for device, keys in (body.get("devices") or {}).items()}
        try:
            check_config(config)
            _check_repeated(body.get("profiles"))
            for device in devices.values():
                if (kind := device.get("type")) not in DEVICES:
                    raise Refused(500, f'Invalid device type "{kind or ""}"')
            check_devices(self.state, project, devices)
        except Refused as refused:
            known = refused.message.startswith("Device validation")
            where = "Failed initializing instance: Invalid devices: " if known else ""
            raise Refused(refused.status, f"Failed creating instance record: {where}{refused.message}") from None
        profiles = body.get("profiles")
        machine = Machine(
            name,
            project,
            {
                "architecture": body.get("architecture") or "x86_64",
                "config": dict(sorted(config.items())),
                "devices": devices,
                "ephemeral": bool(body.get("ephemeral")),
                "profiles": ["default"] if profiles is None else list(profiles),
                "stateful": False,
                "description": body.get("description") or "",
                "created_at": now(),
                "last_used_at": "1970-01-01T00:00:00Z",
                "type": body.get("type") or "container",
            },
        )
        all_devices = self.state.expand(machine)[1]
        failed = "Failed creating instance record: Failed initializing instance: "
        if all_devices:
            check_root(all_devices, f"{failed}Invalid devices: Failed detecting root disk device: ")
        else:
            check_root(all_devices, f"{failed}Failed getting root disk: ")
        pools = self.state.of("storage-pools")
        if any(all_devices[root]["pool"] not in pools for root in roots(all_devices)):
            raise Refused(404, f"{failed}Failed loading storage pool: Storage pool not found")
        try:
            check_new_disks(self.state, project, devices)
        except Refused as refused:
            raise Refused(refused.status, f"{failed}{refused.message}") from None
        self.of(project)[name] = machine
        self._name_interfaces(machine)
        if request is not None:
            pool = next(each["pool"] for each in self.state.expand(machine)[1].values() if each.get("path") == "/")
            context = {"location": "none", "storage-pool": pool, "type": machine.record["type"]}
            self.state.tell("created", request, machine, context)
        return machine

    def _name_interfaces(self, machine: Machine) -> None:
        """Give each network device an address that stays."""
        config = machine.record["config"]
        for name, device in self.state.expand(machine)[1].items():
            if device.get("type") == "nic" and "hwaddr" not in device:
                config.setdefault(f"volatile.{name}.hwaddr", f"10:66:6a:{random.randbytes(3).hex(':')}")
        machine.record["config"] = dict(sorted(config.items()))

    def _origin(self, request: FakeRequest, source: Mapping[str, Any]) -> tuple[Machine, str]:
        name, _, snapshot = str(source.get("source", "")).partition("/")
        project = source.get("project") or request.project
        machine = self.state.machines.get(project, name)
        if snapshot:
            machine.snapshot(snapshot)
        return machine, snapshot

    def _copy(
        self,
        request: FakeRequest,
        project: str,
        name: str,
        body: Mapping[str, Any],
        origin: tuple[Machine, str],
        alone: bool,
    ) -> Machine:
        machine, snapshot = origin
        record = machine.snapshot(snapshot)["record"] if snapshot else machine.record
        files = machine.snapshot(snapshot)["files"] if snapshot else machine.files
        kept = {
            key: value
            for key, value in record["config"].items()
            if not key.startswith("volatile.") or key == "volatile.base_image"
        }
        given = {
            **body,
            "type": record["type"],
            "profiles": record["profiles"] if body.get("profiles") is None else body["profiles"],
            "devices": {**copy.deepcopy(record["devices"]), **(body.get("devices") or {})},
        }
        new = self.add(request, project, name, given, kept, "copy")
        new.fill(files)
        if not snapshot and not alone:
            new.snapshots = {each: copied(kept) for each, kept in machine.snapshots.items()}
        return new

    # Changing.

    def check(self, project: str, new: Object) -> None:
        """Refuse what an instance cannot have."""
        try:
            check_config(new["config"])
        except Refused as refused:
            raise Refused(500, f"Invalid config: {refused.message}") from None
        try:
            check_devices(self.state, project, new["devices"])
        except Refused as refused:
            raise Refused(refused.status, f"Invalid devices: {refused.message}") from None
        _check_repeated(new["profiles"])
        all_devices = self.state.expanded(project, new)[1]
        if all_devices:
            check_root(all_devices, "Invalid expanded devices: Failed detecting root disk device: ")
        else:
            check_root(all_devices, "Invalid root disk device: ")

    def _changed(self, request: FakeRequest, machine: Machine, body: Mapping[str, Any]) -> Object:
        profiles = body.get("profiles")
        self._check_profiles(request, machine.project, profiles, "Profile not found")
        return {
            "architecture": body.get("architecture") or machine.record["architecture"],
            "config": texts(body.get("config")),
            "devices": {device: texts(keys) for device, keys in (body.get("devices") or {}).items()},
            "ephemeral": bool(body.get("ephemeral")),
            "profiles": [] if profiles is None else list(profiles),
            "description": body.get("description") or "",
        }

    def replace(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``PUT`` of one, as an operation."""
        machine, body = self.find(request, name), request._fields
        check_etag(request.headers.get("if-match"), self.writable(machine))
        check_types(body, "InstancePut")
        if body.get("restore"):
            return self._snapshots.restore(request, machine, body["restore"])
        new = self._changed(request, machine, body)

        def work(_: Operation) -> None:
            if any(key not in new["config"] for key in machine.record["config"] if key in _IDMAP):
                raise Refused(500, "Volatile idmap keys can't be deleted by the user")
            self._set(request, machine, new)

        return self.state.operations.begin(request, "Updating instance", work, machine.resources)

    def patch(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``PATCH`` of one."""
        machine, body = self.find(request, name), request._fields
        check_etag(request.headers.get("if-match"), self.writable(machine))
        check_types(body, "InstancePut")
        record = machine.record
        merged = {**record, **{key: value for key, value in body.items() if value is not None}}
        for key in ("config", "devices"):
            merged[key] = {**record[key], **(body.get(key) or {})}
        self._set(request, machine, self._changed(request, machine, merged))
        return done()

    def _set(self, request: FakeRequest, machine: Machine, new: Object) -> None:
        self.check(machine.project, new)
        old = machine.record["devices"]
        added = {name: device for name, device in new["devices"].items() if device != old.get(name)}
        check_new_disks(self.state, machine.project, added)
        machine.record.update(new)
        self._name_interfaces(machine)
        self.state.tell("updated", request, machine)

    def rename(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``POST`` of another name, or of another project, as an operation."""
        machine, body = self.find(request, name), request._fields
        if body.get("migration") and (body.get("target") or not (body.get("project") or body.get("pool"))):
            raise Refused(501, "The fake of incus_sdk does not do migrations: POST /1.0/instances/{name}")
        new = body.get("name") or name
        project = body.get("project") or machine.project
        check_instance_name(new)
        same = (new, project) == (name, machine.project) and not body.get("migration")
        self.state.project(project)
        if (new, project) != (name, machine.project) and new in self.of(project):
            raise Refused(409, f'Name "{new}" already in use')
        moving = bool(body.get("migration"))

        def work(_: Operation) -> None:
            if machine.status == RUNNING:
                raise Refused(500, "Renaming of running instance not allowed")
            if same:
                raise Refused(500, "Invalid instance name: Name must be 1-63 characters long")
            del self.of(machine.project)[machine.name]
            machine.name, machine.project = new, project
            self.of(project)[new] = machine
            self.state.tell("renamed", request, machine, {"old_name": name})

        description = "Migrating instance" if moving else "Renaming instance"
        return self.state.operations.begin(request, description, work, machine.resources)

    def rebuild(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``POST`` of an image that replaces what is in it, as an operation."""
        machine = self.of(request.project).get(name)
        if machine is None:
            raise Refused(404, "Failed loading instance: Instance not found")
        if machine.status == RUNNING:
            raise Refused(400, "Instance must be stopped to be rebuilt")
        source = request._fields.get("source") or {}

        def work(_: Operation) -> None:
            empty = source.get("type") == "none"
            if machine.snapshots:
                what = "as an empty instance" if empty else "instance from image"
                raise Refused(500, f"Failed rebuilding {what}: Cannot remove an instance volume that has snapshots")
            config = {key: text for key, text in machine.record["config"].items() if not key.startswith("image.")}
            config.pop("volatile.base_image", None)
            machine.fill(None)
            if not empty:
                image = self._images.source(machine.project, source, machine.record["type"])
                config |= {f"image.{key}": text for key, text in image["properties"].items()}
                config["volatile.base_image"] = image["fingerprint"]
                machine.fill(self._images.files_of(image))
            machine.record["config"] = dict(sorted(config.items()))

        return self.state.operations.begin(request, "Rebuilding instance", work, machine.resources)

    def delete(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``DELETE`` of one, as an operation."""
        machine = self.find(request, name)
        if machine.status != 102:
            raise Refused(400, "Instance is running")

        def work(_: Operation) -> None:
            if machine.record["config"].get("security.protection.delete") == "true":
                raise Refused(500, "Instance is protected")
            self._remove(request, machine)

        return self.state.operations.begin(request, "Deleting instance", work, machine.resources)

    def _remove(self, request: FakeRequest, machine: Machine) -> None:
        self.of(machine.project).pop(machine.name, None)
        for snapshot in machine.snapshots:
            self.state.tell("snapshot-deleted", request, machine, None, "snapshots", snapshot)
        self.state.tell("deleted", request, machine)

    # Its status.

    def set_state(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``PUT`` of an action, as an operation."""
        body = request._fields
        action = body.get("action", "")
        machine = self.find(request, name)
        description, change = self._action(action)
        return self.state.operations.begin(request, description, lambda _: change(request, machine), machine.resources)

    def set_all(self, request: FakeRequest) -> AnyAnswer:
        """``PUT`` of an action for all, as an operation."""
        action = (request._fields.get("state") or {}).get("action", "")
        description, change = self._action(action)
        fitting = {"start": (102,), "freeze": (RUNNING,), "unfreeze": (110,)}.get(action, (RUNNING, 110))
        machines = [each for each in self.of(request.project).values() if each.status in fitting]

        def work(_: Operation) -> None:
            failed = []
            for machine in machines:
                try:
                    change(request, machine)
                except Refused as refused:
                    failed.append(f" - Instance: {machine.name}: {refused.message}\n")
            if failed:
                raise Refused(500, f"The following instances failed to update state:\n{''.join(failed)}")

        paths = [each.path() for each in machines]
        return self.state.operations.begin(request, description, work, {"instances": paths})

    def _action(self, action: str) -> tuple[str, Any]:
        actions = {
            "start": ("Starting instance", self._start),
            "stop": ("Stopping instance", self._stop),
            "restart": ("Restarting instance", self._restart),
            "freeze": ("Freezing instance", self._freeze),
            "unfreeze": ("Unfreezing instance", self._unfreeze),
        }
        if action not in actions:
            raise Refused(400, f"Unknown action: '{action}'")
        return actions[action]

    def _start(self, request: FakeRequest, machine: Machine) -> None:
        if machine.status != 102:
            raise Refused(500, "The instance is already running")
        machine.start()
        self.state.tell("started", request, machine)

    def _stop(self, request: FakeRequest, machine: Machine) -> None:
        if machine.status == 102:
            raise Refused(400, "The instance is already stopped")
        body = request.json or {}
        forced = bool((body.get("state") or body).get("force"))
        if machine.status == 110 and not forced:
            raise Refused(500, "context deadline exceeded")
        self._end(machine)
        self.state.tell("stopped" if forced else "shutdown", request, machine)
        if machine.record["ephemeral"]:
            self._remove(request, machine)

    def _end(self, machine: Machine) -> None:
        commands = self.state.commands
        commands.end_all(each for each in commands.running if each.files is machine.files)
        machine.stop()

    def _restart(self, request: FakeRequest, machine: Machine) -> None:
        if machine.status == 102:
            raise Refused(400, "The instance is already stopped")
        self._end(machine)
        machine.start()
        self.state.tell("restarted", request, machine)

    def _freeze(self, request: FakeRequest, machine: Machine) -> None:
        if machine.status == 102:
            raise Refused(500, "The instance isn't running")
        if machine.status == 110:
            raise Refused(500, "The container is already frozen")
        machine.status = 110
        self.state.tell("paused", request, machine)

    def _unfreeze(self, request: FakeRequest, machine: Machine) -> None:
        if machine.status == 102:
            raise Refused(500, "The container isn't running")
        if machine.status == RUNNING:
            raise Refused(500, "The container is already running")
        machine.status = RUNNING
        self.state.tell("resumed", request, machine)
