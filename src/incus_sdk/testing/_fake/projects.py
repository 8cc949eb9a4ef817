"""Projects, and which of them have objects of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from .answers import Answer, Object, Refused, success
from .collection import Collection
from .operations import Operation
from .paths import path_of
from .profiles import Profiles
from .requests import FakeRequest
from .state import State
from .streams import AnyAnswer

_FEATURES = (
    "features.images",
    "features.networks",
    "features.networks.zones",
    "features.profiles",
    "features.storage.buckets",
    "features.storage.volumes",
)
_BY_DEFAULT = ("features.images", "features.profiles", "features.storage.buckets", "features.storage.volumes")
_NAMESPACES = ("backups", "features", "images", "limits", "restricted", "user")
_LIMITS = ("containers", "cpu", "disk", "instances", "memory", "networks", "processes", "virtual-machines")


class Projects(Collection):
    """``/1.0/projects``."""

    segment, kind, struct = "projects", "project", "Project"
    missing = "Project not found"
    missing_for: ClassVar = {"DELETE": 'Fetch project "{name}": Project not found'}
    exists = (
        409,
        'Failed creating project "{name}": Failed adding database record: This "Project" entry already exists',
    )

    def __init__(self, state: State, profiles: Profiles, own: Sequence[Collection]) -> None:
        super().__init__(state)
        self._profiles = profiles
        self._own = own
        """The kinds of objects that projects can have of their own."""

    def check(self, project: str, body: Object) -> None:
        """Refuse a key that projects do not have."""
        for key in body["config"]:
            if key not in _FEATURES and key.partition(".")[0] not in set(_NAMESPACES) - {"features"}:
                raise Refused(400, f'Invalid project configuration key "{key}"')
        name = body.get("name", "")
        if (old := self.of("default").get(name)) is not None and self._is_used(name):
            for feature in _FEATURES:
                before, after = old["config"].get(feature), body["config"].get(feature)
                if (before == "true") != (after == "true"):
                    change = "disabled" if before == "true" else "enabled"
                    raise Refused(400, f'Project feature "{feature}" cannot be {change} on non-empty projects')

    def check_name(self, name: str) -> None:
        """Refuse a name with slashes."""
        super().check_name(name)
        if "/" in name:
            raise Refused(400, 'Invalid project name: Name contains invalid character "/"')

    def _is_used(self, name: str) -> bool:
        """Whether there is more in it than the profile that each has."""
        default = path_of(name, "profiles", "default")
        return any(path != default for path in self.used_by("default", name))

    def check_free(self, project: str, name: str, change: str) -> None:
        """Refuse to change what is in use."""
        if name == "default":
            raise Refused(403, f"The 'default' project cannot be {change}")
        if self._is_used(name):
            raise Refused(500, f"Only empty projects can be {'removed' if change == 'deleted' else change}.")

    def complete(self, body: Any) -> Object:
        """What a body sets; a new project has its own images, profiles, volumes and buckets, if it does not say."""
        return super().complete(body)

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new project."""
        features = _FEATURES if name == "default" else _BY_DEFAULT
        config = {**dict.fromkeys(features, "true"), **body["config"]}
        return {"config": dict(sorted(config.items())), "description": body["description"], "name": name}

    def added(self, project: str, name: str) -> None:
        """It has the profile ``default``, where it has its own."""
        if name != "default" and self.state.owner(name, "features.profiles") == name:
            body = {"description": f"Default Incus profile for project {name}"}
            self._profiles.add(None, name, "default", body)

    def used_by(self, project: str, name: str) -> Iterator[str]:
        """What is in it."""
        yield from (machine.path() for machine in self.state.machines.of(name).values())
        for (pool, owner), volumes in self.state.volumes.items():
            if owner == name:
                yield from (path_of(owner, "storage-pools", pool, "volumes", "custom", each) for each in volumes)
        for collection in self._own:
            if self.state.owner(name, collection.feature) == name:
                yield from (collection.path(name, each) for each in collection.of(name))

    def rename(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``POST`` of another name, as an operation."""
        new = request._text("name")
        self.find("default", name)
        self.check_name(new)
        self.check_free("default", name, "renamed")

        def work(_: Operation) -> None:
            if new in self.of("default"):
                raise Refused(409, f'A project named "{new}" already exists')
            self.move(request, "default", name, new)

        return self.state.operations.begin(request, "Renaming project", work, project=None)

    def project_in_events(self, project: str, name: str) -> str:
        """The project itself."""
        return name

    def renamed(self, project: str, old: str, new: str) -> None:
        """What is in it goes with it."""
        for collection in self._own:
            kind = self.state.objects.get(collection.segment, {})
            kind[new] = kind.pop(old, {})
            for item in kind[new].values():
                item["project"] = new

    def delete(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``DELETE`` of one, with its profile ``default``; with ``force`` after all that is in it."""
        if request.query.get("force") in ("1", "true") and name != "default":
            self._empty(request, self.find("default", name, request.method)[self.key])
        answer = super().delete(request, name)
        for collection in self._own:
            self.state.objects.get(collection.segment, {}).pop(name, None)
        return answer

    def _empty(self, request: FakeRequest, name: str) -> None:
        machines = self.state.machines.of(name)
        while machines:
            _, machine = machines.popitem()
            self.state.tell("deleted", request, machine)
        for (_, owner), volumes in self.state.volumes.items():
            if owner == name:
                volumes.clear()
        for collection in self._own:
            self.state.objects.get(collection.segment, {}).pop(name, None)

    def state_of(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of what it uses, and may use."""
        config = self.find("default", name)["config"]
        instances = list(self.state.machines.of(name).values())
        kinds = [each.record["type"] for each in instances]
        usage = dict.fromkeys(_LIMITS, 0) | {
            "containers": kinds.count("container"),
            "virtual-machines": kinds.count("virtual-machine"),
            "instances": len(kinds),
            "networks": len(self.state.of("networks", name)),
        }
        limits = {each: int(limit) if (limit := config.get(f"limits.{each}", "")).isdigit() else -1 for each in _LIMITS}
        return success({"resources": {each: {"Limit": limits[each], "Usage": usage[each]} for each in _LIMITS}})
