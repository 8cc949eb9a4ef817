"""Profiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from .answers import Object, Refused
from .collection import Collection, check_config
from .devices import DEVICES, roots
from .machines import Machine
from .requests import FakeRequest


class Profiles(Collection):
    """``/1.0/profiles``."""

    segment, kind, feature, struct = "profiles", "profile", "features.profiles", "Profile"
    fields: ClassVar = {"config": {}, "description": "", "devices": {}}
    maps: ClassVar = ("config", "devices")
    missing = "Profile not found"
    missing_for: ClassVar = {
        "GET": "Fetch profile: Profile not found",
        "PATCH": 'Failed to retrieve profile="{name}": Profile not found',
    }
    exists = (500, 'Error inserting "{name}" into database: The profile already exists')
    taken = (500, 'Profile "{name}" already exists')

    def check(self, project: str, body: Object) -> None:
        """Refuse a key that instances do not have."""
        check_config(body["config"])
        for name, device in body["devices"].items():
            if device.get("type") not in DEVICES:
                message = (
                    f'Device validation failed for "{name}": Failed loading device "{name}": Unsupported device type'
                )
                raise Refused(400, message)

    def check_change(self, request: FakeRequest, project: str, item: Object, new: Object) -> None:
        """Refuse to take the root disk of instances away."""
        if roots(item["devices"]) and not roots(new["devices"]):
            for machine in self._machines(project):
                if item["name"] in machine.record["profiles"] and roots(self.state.expand(machine)[1]) == roots(
                    item["devices"]
                ):
                    self.tell("updated", request, project, item["name"])  # as the server does
                    raise Refused(500, "At least one instance relies on this profile's root disk device")

    def check_name(self, name: str) -> None:
        """Refuse a name with slashes."""
        super().check_name(name)
        if "/" in name:
            raise Refused(400, 'Invalid profile name: Name contains invalid character "/"')

    def check_free(self, project: str, name: str, change: str) -> None:
        """Refuse to change what is in use."""
        if name == "default":
            raise Refused(403, f'The "default" profile cannot be {change}')
        if change == "deleted" and any(self.used_by(project, name)):
            raise Refused(500, "Profile is currently in use")

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new profile."""
        return {**{key: body[key] for key in self.fields}, "name": name, "project": project}

    def view(self, project: str, item: Object) -> Object:
        """It, as it is shown."""
        used_by = list(self.used_by(project, item["name"]))
        return {**self.writable(item), "name": item["name"], "used_by": used_by, "project": project}

    def used_by(self, project: str, name: str) -> Iterator[str]:
        """The instances that have it."""
        return (machine.path() for machine in self._machines(project) if name in machine.record["profiles"])

    def renamed(self, project: str, old: str, new: str) -> None:
        """Instances keep it under its new name."""
        for machine in self._machines(project):
            machine.record["profiles"] = [new if each == old else each for each in machine.record["profiles"]]

    def _machines(self, project: str) -> Iterator[Machine]:
        """The instances that see the profiles of a project."""
        machines = self.state.machines.everywhere()
        return (each for each in machines if self.state.owner(each.project, self.feature) == project)
