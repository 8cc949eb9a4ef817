"""What a fake has; what it does with that is in the modules of the areas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .answers import Object, Refused
from .commands import Commands
from .events import Events
from .files import FakeFiles
from .machines import Machine, Machines
from .operations import Operations
from .paths import path_of
from .programs import PROGRAMS, of_sdk
from .requests import FakeRequest
from .rules import Rules


class Volume:
    """A custom volume of a storage pool.

    Args:
        name: Its name.
        project: Its project.
        record: Its configuration and the like.
        files: What is in it.
    """

    def __init__(self, name: str, project: str, record: Object, files: FakeFiles) -> None:
        self.name = name
        self.project = project
        self.record = record
        self.files = files
        self.snapshots: dict[str, Object] = {}


class State:
    """All that a fake has."""

    def __init__(self) -> None:
        self.events = Events()
        self.rules = Rules()
        self.machines = Machines()
        self.operations = Operations(self.events, self.rules, self.machines)
        self.commands = Commands(PROGRAMS, of_sdk)
        self.objects: dict[str, dict[str, dict[str, Object]]] = {}
        """By the path of their kind, their project, and their name."""
        self.volumes: dict[tuple[str, str], dict[str, Volume]] = {}
        """By pool and project, and by their name."""
        self.blobs: dict[str, bytes] = {}
        """The content of images, by their fingerprints."""
        self.image_files: dict[str, FakeFiles] = {}
        """The files of instances made from images that were published here, by their fingerprints."""
        self.new_files = FakeFiles()
        """Those of instances made from any other image."""
        self.address = self.certificate = self.fingerprint = ""
        """Those of the server; empty until they are known."""
        self.client_fingerprint = ""
        """That of the certificate of the client that is trusted from the beginning."""

    def of(self, segment: str, project: str = "default") -> dict[str, Object]:
        """All objects of a kind in a project."""
        return self.objects.setdefault(segment, {}).setdefault(project, {})

    def volumes_of(self, pool: str, project: str) -> dict[str, Volume]:
        """All custom volumes of a pool in a project."""
        return self.volumes.setdefault((pool, project), {})

    def owner(self, project: str, feature: str | None) -> str:
        """The project whose objects a project has: its own, or those of ``default``."""
        if project == "default" or feature is None:
            return "default"
        return project if self.project(project)["config"].get(feature) == "true" else "default"

    def project(self, name: str) -> Object:
        """A project, or the answer that there is none."""
        project = self.of("projects").get(name)
        if project is None:
            raise Refused(404, "Project not found")
        return project

    def require_pool(self, name: str) -> None:
        """Refuse a storage pool that there is not."""
        if name not in self.of("storage-pools"):
            raise Refused(404, "Storage pool not found")

    def devices_of(self, project: str, feature: str | None) -> Iterator[tuple[str, Object]]:
        """The devices of the instances and profiles that see the objects of a project, each with a path."""
        for machine in self.machines.everywhere():
            if self.owner(machine.project, feature) == project:
                yield machine.path(), machine.record["devices"]
        for other, profiles in self.objects.get("profiles", {}).items():
            if self.owner(other, feature) == project:
                yield from ((path_of(other, "profiles", name), each["devices"]) for name, each in profiles.items())

    def expand(self, machine: Machine) -> tuple[Object, Object]:
        """The configuration and devices of an instance, with those of its profiles."""
        return self.expanded(machine.project, machine.record)

    def expanded(self, project: str, record: Mapping[str, Any]) -> tuple[Object, Object]:
        """A configuration and devices, with those of their profiles."""
        config: Object = {}
        devices: Object = {}
        profiles = self.of("profiles", self.owner(project, "features.profiles"))
        for name in record["profiles"]:
            if (profile := profiles.get(name)) is not None:
                config.update(profile["config"])
                devices.update(profile["devices"])
        return {**config, **record["config"]}, {**devices, **record["devices"]}

    def tell(
        self, what: str, request: FakeRequest | None, machine: Machine, context: Object | None = None, *below: str
    ) -> None:
        """Send a lifecycle event of an instance, or of something below it."""
        path = machine.path(*below)
        name = None if below else machine.name
        self.events.lifecycle(f"instance-{what}", path, request, machine.project, name=name, context=context)

    def is_trusted(self, request: FakeRequest) -> bool:
        """Whether the sender of a request may do everything."""
        return request._peer is None or bool(request._peer.getpeercert(binary_form=True))
