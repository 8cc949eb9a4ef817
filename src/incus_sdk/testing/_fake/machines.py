"""One instance as it is: its record, its status, its files, and what it tells of itself."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator

from .answers import STATUSES, Object, Refused
from .events import now
from .files import FakeFiles
from .paths import path_of
from .requests import FakeRequest

NEVER = "0001-01-01T00:00:00Z"
STOPPED, RUNNING, FROZEN = 102, 103, 110

_NO_COUNTERS = {
    "bytes_received": 0,
    "bytes_sent": 0,
    "packets_received": 0,
    "packets_sent": 0,
    "errors_received": 0,
    "errors_sent": 0,
    "packets_dropped_outbound": 0,
    "packets_dropped_inbound": 0,
}
_LOOPBACK = {
    "addresses": [
        {"family": "inet", "address": "127.0.0.1", "netmask": "8", "scope": "local"},
        {"family": "inet6", "address": "::1", "netmask": "128", "scope": "local"},
    ],
    "counters": _NO_COUNTERS,
    "hwaddr": "",
    "host_name": "",
    "mtu": 65536,
    "state": "up",
    "type": "loopback",
}


def copied(snapshot: Object) -> Object:
    """A copy of a snapshot."""
    return {**snapshot, "record": copy.deepcopy(snapshot["record"]), "files": snapshot["files"]._copy()}


class Machine:
    """An instance.

    Args:
        name: Its name.
        project: Its project.
        record: Its configuration, devices and the like.
    """

    def __init__(self, name: str, project: str, record: Object) -> None:
        self.name = name
        self.project = project
        self.record = record
        self.status = STOPPED
        self.snapshots: dict[str, Object] = {}
        self.logs: dict[str, bytes] = {}
        self.outputs: dict[str, bytes] = {}
        """The recorded output of commands, by the names of their files."""
        self.backups: dict[str, Object] = {}
        self.metadata: Object | None = None
        """What its image says of it; None for the usual."""
        self.templates = {"hostname.tpl": b"{{ container.name }}\n"}
        self.console = b""
        self.addresses: list[tuple[str, str]] = []
        """Those of its first network interface: family and address."""
        self.files = FakeFiles(name)
        self.agent_failures = 0.0
        """How often what needs its agent fails yet; only a virtual machine has one."""
        self.pid = 0
        self.started_at = NEVER

    def path(self, *below: str) -> str:
        """Its path, or that of something below it."""
        return path_of(self.project, "instances", self.name, *below)

    @property
    def resources(self) -> dict[str, list[str]]:
        """The resources of an operation on it."""
        return {"instances": [self.path()]}

    def snapshot(self, name: str) -> Object:
        """A snapshot of it, or the answer that there is none."""
        snapshot = self.snapshots.get(name)
        if snapshot is None:
            raise Refused(
                404,
                f'Failed to fetch snapshot "{name}" of instance "{self.name}" in project "{self.project}": '
                "Instance_snapshot not found",
            )
        return snapshot

    def backups_view(self) -> list[Object]:
        """Its backups as they are shown."""
        shown = (
            {"name": name, **{key: value for key, value in backup.items() if key != "archive"}}
            for name, backup in sorted(self.backups.items())
        )
        return list(shown)

    def fill(self, files: FakeFiles | None) -> None:
        """Put a copy of these files into it; None for those of a new one."""
        self.files = FakeFiles(self.name) if files is None else files._copy(self.name)

    def take(self, snapshot: Object) -> None:
        """Become what it was when a snapshot was made."""
        self.record = {**copy.deepcopy(snapshot["record"]), "created_at": self.record["created_at"]}
        self.files = snapshot["files"]._copy()

    def has_agent(self) -> bool:
        """Whether what only an agent can do can be done, this time."""
        if self.record["type"] != "virtual-machine":
            return True
        self.agent_failures -= 1
        return self.agent_failures < 0

    def require_agent(self, what: str = "") -> None:
        """Refuse what only an agent can do, where there is none.

        Args:
            what: How the server begins to say it.
        """
        if self.record["type"] == "virtual-machine" and self.status == STOPPED:
            raise Refused(500, f"{what}Instance is not running")
        if not self.has_agent():
            raise Refused(500, f"{what}VM agent isn't currently running")

    def start(self) -> None:
        """Let it run."""
        config = self.record["config"]
        config.pop("volatile.apply_template", None)
        config["volatile.last_state.power"] = "RUNNING"
        self.record["config"] = dict(sorted(config.items()))
        self.status, self.pid = RUNNING, random.randrange(1000, 2**15)
        self.record["last_used_at"] = self.started_at = now()
        self.logs["lxc.log"] = b""

    def stop(self) -> None:
        """Let it not run."""
        self.record["config"]["volatile.last_state.power"] = "STOPPED"
        self.status, self.pid, self.started_at = STOPPED, 0, NEVER

    def state(self, devices: Object) -> Object:
        """What it tells of itself.

        Args:
            devices: All its devices.
        """
        up = self.status != STOPPED
        disks = [name for name, device in devices.items() if device.get("type") == "disk" and device.get("pool")]
        return {
            "status": STATUSES[self.status],
            "status_code": self.status,
            "disk": {name: {"usage": -1, "total": 0} for name in disks},
            "memory": {
                "usage": 2**20 if up else 0,
                "usage_peak": 2**20 if up else 0,
                "total": 2**30 if up else 0,
                "swap_usage": 0,
                "swap_usage_peak": 0,
            },
            "network": self._network(devices) if up else None,
            "pid": self.pid,
            "processes": 0 if not up else 2 if self.has_agent() else -1,
            "cpu": {"usage": 10**7 if up else 0, "allocated_time": 10**9 if up else 0},
            "started_at": self.started_at,
            "os_info": None,
        }

    def _network(self, devices: Object) -> Object:
        found: Object = {"lo": _LOOPBACK}
        nics = {name: device for name, device in devices.items() if device.get("type") == "nic"}
        if self.addresses and not nics:
            nics = {"eth0": {}}
        for number, (name, device) in enumerate(nics.items()):
            hwaddr = device.get("hwaddr") or self.record["config"].get(f"volatile.{name}.hwaddr", "10:66:6a:00:00:01")
            found[device.get("name") or name] = {
                "addresses": [
                    {
                        "family": family,
                        "address": address,
                        "netmask": "24" if family == "inet" else "64",
                        "scope": "global",
                    }
                    for family, address in (() if number else self.addresses)
                ],
                "counters": _NO_COUNTERS,
                "hwaddr": hwaddr,
                "host_name": f"veth{self.pid}{number}",
                "mtu": 1500,
                "state": "up",
                "type": "broadcast",
            }
        return found


class Machines:
    """All instances, by project and name."""

    def __init__(self) -> None:
        self._items: dict[str, dict[str, Machine]] = {}

    @property
    def projects(self) -> list[str]:
        """The projects that had some."""
        return sorted(self._items)

    def of(self, project: str) -> dict[str, Machine]:
        """All of a project."""
        return self._items.setdefault(project, {})

    def everywhere(self) -> Iterator[Machine]:
        """All of all projects."""
        return (machine for machines in list(self._items.values()) for machine in list(machines.values()))

    def find(self, request: FakeRequest, name: str) -> Machine:
        """The one that a request is about, or the answer that there is none."""
        return self.get(request.project, name)

    def get(self, project: str, name: str) -> Machine:
        """One by its name, or the answer that there is none."""
        machine = self.of(project).get(name)
        if machine is None:
            raise Refused(404, f'Failed to fetch instance "{name}" in project "{project}": Instance not found')
        return machine
