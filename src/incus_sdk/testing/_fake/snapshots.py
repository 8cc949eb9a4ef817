"""Snapshots of instances."""

from __future__ import annotations

import copy
from typing import Any

from .answers import Answer, Object, Refused, check_etag, success
from .events import now
from .machines import NEVER, RUNNING, Machine
from .operations import Operation
from .requests import FakeRequest
from .state import State
from .streams import AnyAnswer


def _check_name(name: str) -> None:
    for character in "/ \t\n":
        if character in name:
            raise Refused(400, f'Invalid snapshot name: Name contains invalid character "{character}"')


class Snapshots:
    """``/1.0/instances/{name}/snapshots``."""

    def __init__(self, state: State) -> None:
        self.state = state

    def view(self, machine: Machine, name: str) -> Object:
        """A snapshot as it is shown."""
        snapshot = machine.snapshots[name]
        record = snapshot["record"]
        config, devices = self.state.expanded(machine.project, record)
        return {
            "expires_at": snapshot["expires_at"],
            "architecture": record["architecture"],
            "config": record["config"],
            "created_at": snapshot["created_at"],
            "description": record["description"],
            "devices": record["devices"],
            "ephemeral": record["ephemeral"],
            "expanded_config": dict(sorted(config.items())),
            "expanded_devices": devices,
            "last_used_at": NEVER,
            "name": name,
            "profiles": record["profiles"],
            "stateful": snapshot["stateful"],
            "size": -1,
        }

    def path(self, machine: Machine, name: str) -> str:
        """The path of a snapshot."""
        return machine.path("snapshots", name)

    def _paths(self, machine: Machine, name: str) -> dict[str, list[str]]:
        return {**machine.resources, "instances_snapshots": [self.path(machine, name)]}

    def list(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of all."""
        machine = self.state.machines.of(request.project).get(name)
        if machine is None and request._recursion:
            self.state.machines.find(request, name)  # which says that there is none
        names = [] if machine is None else list(machine.snapshots)
        if machine is None or not request._recursion:
            return success([self.path(machine, each) for each in names] if machine else [])
        return success([self.view(machine, each) for each in names])

    def get(self, request: FakeRequest, name: str, snapshot: str) -> Answer:
        """``GET`` of one."""
        machine = self.state.machines.find(request, name)
        found = machine.snapshot(snapshot)
        return success(self.view(machine, snapshot), etag=[found["expires_at"]])

    def create(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``POST`` of a new one, as an operation."""
        machine, body = self.state.machines.find(request, name), request._fields
        snapshot = body.get("name") or self._next_name(machine)
        _check_name(snapshot)

        def work(_: Operation) -> None:
            if body.get("stateful"):
                if machine.record["config"].get("migration.stateful") != "true":
                    raise Refused(
                        500, "Stateful snapshots require that the instance has migration.stateful be set to true"
                    )
                if machine.status != RUNNING:
                    raise Refused(500, "Unable to create a stateful snapshot. The instance isn't running")
            if snapshot in machine.snapshots:
                raise Refused(
                    500,
                    f'Failed creating instance snapshot record "{snapshot}": Add snapshot info to the database: '
                    'This "Instance_snapshot" entry already exists',
                )
            machine.snapshots[snapshot] = {
                "record": copy.deepcopy(machine.record),
                "files": machine.files._copy(),
                "created_at": now(),
                "expires_at": body.get("expires_at") or NEVER,
                "stateful": bool(body.get("stateful")),
            }
            self._tell("created", request, machine, snapshot)

        return self.state.operations.begin(request, "Snapshotting instance", work, self._paths(machine, snapshot))

    def _next_name(self, machine: Machine) -> str:
        numbers = [int(each[4:]) for each in machine.snapshots if each[:4] == "snap" and each[4:].isdigit()]
        return f"snap{max(numbers, default=-1) + 1}"

    def _tell(self, what: str, request: FakeRequest, machine: Machine, name: str, context: Any = None) -> None:
        self.state.tell(f"snapshot-{what}", request, machine, context, "snapshots", name)

    def replace(self, request: FakeRequest, name: str, snapshot: str) -> AnyAnswer:
        """``PUT`` and ``PATCH`` of one: only its expiry can change."""
        machine = self.state.machines.find(request, name)
        found = machine.snapshot(snapshot)
        check_etag(request.headers.get("if-match"), [found["expires_at"]])
        expiry = request._fields.get("expires_at")

        def work(_: Operation) -> None:
            if expiry is not None or request.method == "PUT":
                found["expires_at"] = expiry or NEVER

        return self.state.operations.begin(request, "Updating snapshot", work, self._paths(machine, snapshot))

    def rename(self, request: FakeRequest, name: str, snapshot: str) -> AnyAnswer:
        """``POST`` of another name, as an operation."""
        machine = self.state.machines.find(request, name)
        machine.snapshot(snapshot)
        new = request._text("name")
        if request._fields.get("migration"):
            raise Refused(501, "The fake of incus_sdk does not do migrations")
        if not new:
            raise Refused(400, "A new name for the instance must be provided")
        _check_name(new)
        if new in machine.snapshots:
            raise Refused(409, f"Name '{name}/{new}' already in use")

        def work(_: Operation) -> None:
            kept = machine.snapshots.items()
            machine.snapshots = {new if each == snapshot else each: value for each, value in kept}
            self._tell("renamed", request, machine, new, {"old_name": f"{machine.name}/{snapshot}"})

        return self.state.operations.begin(request, "Renaming snapshot", work, self._paths(machine, snapshot))

    def delete(self, request: FakeRequest, name: str, snapshot: str) -> AnyAnswer:
        """``DELETE`` of one, as an operation."""
        machine = self.state.machines.find(request, name)
        machine.snapshot(snapshot)

        def work(_: Operation) -> None:
            machine.snapshots.pop(snapshot, None)
            self._tell("deleted", request, machine, snapshot)

        return self.state.operations.begin(request, "Deleting snapshot", work, self._paths(machine, snapshot))

    def restore(self, request: FakeRequest, machine: Machine, name: str) -> AnyAnswer:
        """Put a snapshot in the place of its instance, as an operation."""
        name = name.rpartition("/")[2]

        def work(_: Operation) -> None:
            found = machine.snapshots.get(name)
            if found is None:
                raise Refused(500, f"Snapshot {machine.name}/{name} does not exist")
            machine.take(found)
            self.state.tell("restored", request, machine, {"snapshot": f"{machine.name}/{name}"})

        return self.state.operations.begin(request, "Restoring snapshot", work, machine.resources)
