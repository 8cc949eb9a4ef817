"""Networks and their access control lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from .answers import Answer, Object, Refused, success
from .collection import Collection
from .paths import path_of
from .requests import FakeRequest

_TYPES = ("bridge", "macvlan", "ovn", "physical", "sriov")
_NAMESPACES = (
    *("bgp", "bridge", "dns", "gvrp", "ipv4", "ipv6", "mtu", "network", "ovn", "parent", "raw", "security"),
    *("tunnel", "user", "volatile", "vlan"),
)


_LOOPBACK: Object = {
    "config": {},
    "description": "",
    "name": "lo",
    "type": "loopback",
    "used_by": [],
    "managed": False,
    "status": "",
    "locations": None,
    "project": "default",
}


class Networks(Collection):
    """``/1.0/networks``."""

    segment, kind, feature, struct = "networks", "network", "features.networks", "Network"
    missing = "Network not found"
    missing_for: ClassVar = dict.fromkeys(
        ("DELETE", "POST", "PATCH", "PUT"), "Failed loading network: Network not found"
    )
    exists = (409, 'Network "{name}" already exists')

    def check_name(self, name: str) -> None:
        """Refuse what cannot be the name of an interface."""
        super().check_name(name)
        if len(name) > 15:
            raise Refused(400, "Invalid network name: Network interface is too long (maximum 15 characters)")
        if len(name) < 2:
            raise Refused(400, "Invalid network name: Network interface is too short (minimum 2 characters)")
        if any(character in "/: \t\n" for character in name):
            raise Refused(400, f"Network interface name cannot contain {next(c for c in name if c in '/: ')!r}")

    def check(self, project: str, body: Object) -> None:
        """Refuse a type or keys that networks do not have."""
        if (body.get("type") or "bridge") not in _TYPES:
            raise Refused(400, "Unknown driver")
        for key in body["config"]:
            if key.partition(".")[0] not in _NAMESPACES:
                raise Refused(
                    400 if body["name"] in self.of(project) else 500,
                    f'Invalid option for network "{body["name"]}" option "{key}"',
                )

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new network."""
        kind = body.get("type") or "bridge"
        config = dict(body["config"])
        if kind == "bridge":
            config.setdefault("ipv4.address", "10.0.0.1/24")
            config.setdefault("ipv6.address", "fd42::1/64")
            for family in ("ipv4", "ipv6"):
                if config[f"{family}.address"] == "auto":
                    config[f"{family}.address"] = "10.0.0.1/24" if family == "ipv4" else "fd42::1/64"
                if config[f"{family}.address"] != "none":
                    config.setdefault(f"{family}.nat", "true")
        return {"config": dict(sorted(config.items())), "description": body["description"], "name": name, "type": kind}

    def view(self, project: str, item: Object) -> Object:
        """A network as it is shown."""
        if item is _LOOPBACK:
            return item
        return {
            "config": item["config"],
            "description": item["description"],
            "name": item["name"],
            "type": item["type"],
            "used_by": list(self.used_by(project, item["name"])),
            "managed": True,
            "status": "Created",
            "locations": ["none"],
            "project": project,
        }

    def check_free(self, project: str, name: str, change: str) -> None:
        """Refuse to change what is in use."""
        if any(self.used_by(project, name)):
            raise Refused(
                400, "The network is currently in use" if change == "deleted" else "Network is currently in use"
            )

    def used_by(self, project: str, name: str) -> Iterator[str]:
        """The instances and profiles that have a device in it."""
        found = self.state.devices_of(project, self.feature)
        return (path for path, devices in found if _uses(devices, name))

    def all_of(self, request: FakeRequest) -> Iterator[tuple[str, Object]]:
        """All, and the loopback interface of the machine, which is not the server's."""
        yield from super().all_of(request)
        yield "default", _LOOPBACK

    def get(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of one."""
        if name == "lo":
            return success(_LOOPBACK, etag=name)
        return super().get(request, name)

    def state_of(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of its state."""
        self.find(self.project_of(request), name)
        counters = dict.fromkeys(("bytes_received", "bytes_sent", "packets_received", "packets_sent"), 0)
        return success(
            {
                "addresses": [],
                "counters": counters,
                "hwaddr": "10:66:6a:00:00:01",
                "mtu": 1500,
                "state": "up",
                "type": "broadcast",
                "bond": None,
                "bridge": {
                    "id": "8000.10666a000001",
                    "stp": False,
                    "forward_delay": 1500,
                    "vlan_default": 0,
                    "vlan_filtering": False,
                    "upper_devices": [],
                },
                "vlan": None,
                "ovn": None,
            }
        )

    def leases(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of its leases."""
        self.find(self.project_of(request), name)
        return success([])


def _uses(devices: Mapping[str, Any], name: str) -> bool:
    return any(device.get("network") == name or device.get("parent") == name for device in devices.values())


class NetworkACLs(Collection):
    """``/1.0/network-acls``."""

    segment, kind, feature = "network-acls", "network-acl", "features.networks"
    fields: ClassVar = {"description": "", "egress": [], "ingress": [], "config": {}}
    missing = "Network ACL not found"
    exists = (400, "The network ACL already exists")

    def check_name(self, name: str) -> None:
        """Refuse other characters than letters, digits and hyphens."""
        if not name:
            raise Refused(400, "Name is required")
        if any(character.isspace() for character in name):
            raise Refused(500, "Name cannot contain white space")
        if not name.replace("-", "").isalnum():
            raise Refused(500, "Name can only contain alphanumeric and hyphen characters")

    def check(self, project: str, body: Object) -> None:
        """Refuse rules of another kind."""
        for direction in ("ingress", "egress"):
            for number, rule in enumerate(body[direction]):
                if rule.get("action") not in ("allow", "allow-stateless", "drop", "reject"):
                    raise Refused(
                        500,
                        f"Invalid {direction} rule {number}: "
                        "Action must be one of: allow, allow-stateless, drop, reject",
                    )

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new one."""
        return {"name": name, **{key: body[key] for key in self.fields}}

    def view(self, project: str, item: Object) -> Object:
        """One as it is shown."""
        return {**item, "used_by": list(self.used_by(project, item["name"])), "project": project}

    def used_by(self, project: str, name: str) -> Iterator[str]:
        """The networks and devices that have it."""
        for network in self.state.of("networks", project).values():
            if name in network["config"].get("security.acls", "").split(","):
                yield path_of(project, "networks", network["name"])
        for path, devices in self.state.devices_of(project, self.feature):
            if any(name in device.get("security.acls", "").split(",") for device in devices.values()):
                yield path

    def check_free(self, project: str, name: str, change: str) -> None:
        """Refuse to change what is in use."""
        if any(self.used_by(project, name)):
            raise Refused(400, f"Cannot {'delete' if change == 'deleted' else 'rename'} an ACL that is in use")

    def log(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of its log."""
        self.find(self.project_of(request), name)
        raise Refused(500, "Only OVN log entries may be retrieved at this time")
