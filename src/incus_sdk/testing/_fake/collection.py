"""Objects of one kind under one path, by project and name: what the server does alike for most of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from .answers import Answer, Object, Refused, check_etag, created, done, success
from .filtering import filtered
from .paths import path_of
from .requests import FakeRequest
from .state import State
from .streams import AnyAnswer
from .types import check_types

_CPUS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
NAMESPACES = (
    *("agent", "boot", "cloud-init", "cluster", "environment", "image", "limits", "linux", "migration"),
    *("nvidia", "oci", "placement", "raw", "security", "snapshots", "systemd", "user", "volatile"),
)
"""The first words of the configuration keys of instances and profiles."""


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse a key that instances do not have."""
    for key in config:
        first, dot, _ = key.partition(".")
        if not dot or first not in NAMESPACES:
            raise Refused(400, f"Unknown configuration key: {key}")
    if (cpus := config.get("limits.cpu")) and not _CPUS.fullmatch(str(cpus)):
        raise Refused(400, "Invalid CPU limit syntax")


def texts(config: Any) -> dict[str, str]:
    """A configuration as the server keeps it: all values are text, and those that are empty are not there."""
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise Refused(400, "json: cannot unmarshal config into Go value of type map[string]string")
    return {key: text for key, value in sorted(config.items()) if (text := _text(value))}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict | list):
        raise Refused(400, "json: cannot unmarshal object into Go struct field of type string")
    return "" if value is None else str(value)


def by_beginning(items: Mapping[str, Object], name: str) -> Object | None:
    """The one object whose name begins so."""
    found = [each for key, each in items.items() if name and key.startswith(name)]
    return found[0] if len(found) == 1 else None


class Collection:
    """All objects of a kind.

    What they do differently is said by class attributes, and by the hooks `check`, `view` and `used_by`.

    Args:
        state: All that the fake has.
    """

    segment: str
    """The path below ``/1.0``."""
    kind: ClassVar[str]
    """The first part of its lifecycle events."""
    struct: ClassVar[str | None] = None
    """How the server's types of their bodies begin; None where types are not compared."""
    key: ClassVar[str] = "name"
    """The field by which they are called."""
    beginning: ClassVar[bool] = False
    """Whether its beginning will do."""
    feature: ClassVar[str | None] = None
    """The key of a project that has its own; None where the server has them, not its projects."""
    fields: ClassVar[Mapping[str, Any]] = {"config": {}, "description": ""}
    """What a request can set, and what it is otherwise."""
    maps: ClassVar[tuple[str, ...]] = ("config",)
    """Those of it in which PATCH keeps what it does not name."""
    missing: ClassVar[str] = "not found"
    missing_for: ClassVar[Mapping[str, str]] = {}
    """The same by the method of a request, where it differs."""
    exists: ClassVar[tuple[int, str]] = (409, 'The record "{name}" already exists')

    taken: ClassVar[tuple[int, str] | None] = None
    """The same for a new name of an old one, where it differs."""

    def __init__(self, state: State) -> None:
        self.state = state

    # What differs between kinds.

    def check(self, project: str, body: Object) -> None:
        """Refuse an object that the server would not take."""

    def check_change(self, request: FakeRequest, project: str, item: Object, new: Object) -> None:
        """Refuse a change that the server would not make."""

    def check_name(self, name: str) -> None:
        """Refuse a name that the server would not take."""
        if not name:
            raise Refused(400, "No name provided")

    def check_free(self, project: str, name: str, change: str) -> None:
        """Refuse to rename or delete what is in use."""

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new object."""
        return {**body, "name": name, **({"project": project} if self.feature else {})}

    def view(self, project: str, item: Object) -> Object:
        """An object as it is shown."""
        return {**item, "used_by": list(self.used_by(project, item["name"]))}

    def used_by(self, project: str, name: str) -> Iterator[str]:
        """The paths of what uses an object."""
        return iter(())

    def added(self, project: str, name: str) -> None:
        """An object is new."""

    def renamed(self, project: str, old: str, new: str) -> None:
        """An object has another name."""

    def context(self, what: str, item: Object) -> Object | None:
        """What a lifecycle event says beside the path."""
        return None

    def project_in_events(self, project: str, name: str) -> str:
        """The project whose listeners hear of an object."""
        return project

    # What is the same.

    def path(self, project: str, name: str) -> str:
        """The path of an object."""
        return path_of("default" if self.feature is None else project, *self.segment.split("/"), name)

    def project_of(self, request: FakeRequest) -> str:
        """The project that has the objects which a request is about."""
        return "default" if self.feature is None else self.state.owner(request.project, self.feature)

    def of(self, project: str) -> dict[str, Object]:
        """All objects of a project."""
        return self.state.of(self.segment, project)

    def find(self, project: str, name: str, method: str = "") -> Object:
        """An object, or the answer that there is none, to a request with this method."""
        items = self.of(project)
        item = items.get(name) or (by_beginning(items, name) if self.beginning else None)
        if item is None:
            raise Refused(404, self.missing_for.get(method, self.missing).format(name=name))
        return item

    def all_of(self, request: FakeRequest) -> Iterator[tuple[str, Object]]:
        """The objects that a listing is about, each with its project."""
        if self.feature is not None and request.query.get("all-projects") == "true":
            if "project" in request.query:
                raise Refused(400, "Cannot specify a project when requesting all projects")
            projects = list(self.state.objects.get(self.segment, {}))
        else:
            projects = [self.project_of(request)]
        for project in projects:
            items = self.of(project)
            yield from ((project, items[name]) for name in sorted(items))

    def writable(self, item: Object) -> Object:
        """What of an object a request can set; its ETag is made from it."""
        return {key: item[key] for key in self.fields}

    def list(self, request: FakeRequest) -> Answer:
        """``GET`` of all."""
        found = self.all_of(request)
        if not request._recursion and "filter" not in request.query:
            return success([self.path(project, item[self.key]) for project, item in found])
        shown = [(project, self.view(project, item)) for project, item in found]
        shown = filtered(shown, request.query.get("filter"))
        if request._recursion:
            return success([item for _, item in shown])
        return success([self.path(project, item[self.key]) for project, item in shown])

    def get(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of one."""
        project = self.project_of(request)
        item = self.find(project, name, request.method)
        return success(self.view(project, item), etag=self.writable(item))

    def create(self, request: FakeRequest) -> AnyAnswer:
        """``POST`` of a new one."""
        project, body = self.project_of(request), request._fields
        if self.struct is not None:
            check_types(body, f"{self.struct}sPost")
        name = request._text(self.key)
        self.check_name(name)
        if name in self.of(project):
            status, message = self.exists
            raise Refused(status, message.format(name=name, project=project))
        self.add(request, project, name, body)
        return created(self.path(project, name))

    def add(self, request: FakeRequest | None, project: str, name: str, body: Mapping[str, Any]) -> Object:
        """Make a new one."""
        made = self.complete(body)
        self.check(project, {**body, **made})
        item = self.of(project)[name] = self.make(project, name, {**body, **made})
        self.added(project, name)
        self.tell("created", request, project, name, self.context("created", item))
        return item

    def complete(self, body: Mapping[str, Any]) -> Object:
        """What a body sets, with what it does not name as it is otherwise."""
        full = {
            key: copy.deepcopy(default) if (value := body.get(key)) is None else value
            for key, default in self.fields.items()
        }
        if "config" in full:
            full["config"] = texts(full["config"])
        return full

    def replace(self, request: FakeRequest, name: str) -> Answer:
        """``PUT`` of one."""
        self._check_types(request)
        return self.change(request, name, self.complete(request._fields))

    def _check_types(self, request: FakeRequest) -> None:
        if self.struct is not None:
            check_types(request._fields, f"{self.struct}Put")

    def patch(self, request: FakeRequest, name: str) -> Answer:
        """``PATCH`` of one."""
        self._check_types(request)
        item = self.find(self.project_of(request), name, request.method)
        return self.change(request, name, self.complete(self.merged(item, request._fields)))

    def merged(self, item: Object, body: Object) -> Object:
        """What a ``PATCH`` makes of an object."""
        new = {**self.writable(item), **{key: body[key] for key in self.fields if body.get(key) is not None}}
        for key in self.maps:
            new[key] = {**item[key], **new[key]}
        return new

    def change(self, request: FakeRequest, name: str, new: Object) -> Answer:
        """Set what a request can set."""
        project = self.project_of(request)
        item = self.find(project, name, request.method)
        check_etag(request.headers.get("if-match"), self.writable(item))
        self.check(project, {**item, **new})
        self.check_change(request, project, item, new)
        item.update(new)
        self.tell("updated", request, project, item[self.key], self.context("updated", item))
        return done()

    def rename(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``POST`` of another name."""
        project, new = self.project_of(request), request._text("name")
        self.find(project, name, request.method)
        self.check_name(new)
        self.check_free(project, name, "renamed")
        if new in self.of(project):
            status, message = self.taken or self.exists
            raise Refused(status, message.format(name=new, project=project))
        self.move(request, project, name, new)
        return created(self.path(project, new))

    def move(self, request: FakeRequest, project: str, name: str, new: str) -> None:
        """Give an object another name."""
        item = self.of(project)[new] = self.of(project).pop(name)
        item["name"] = new
        self.renamed(project, name, new)
        self.tell("renamed", request, project, new, {"old_name": name})

    def delete(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``DELETE`` of one."""
        project = self.project_of(request)
        name = self.find(project, name, request.method)[self.key]
        self.check_free(project, name, "deleted")
        del self.of(project)[name]
        self.tell("deleted", request, project, name)
        return done()

    def tell(
        self, what: str, request: FakeRequest | None, project: str, name: str, context: Object | None = None
    ) -> None:
        """Send a lifecycle event."""
        self.state.events.lifecycle(
            f"{self.kind}-{what}",
            self.path(project, name),
            request,
            self.project_in_events(project, name),
            context=context,
        )


class Nested(Collection):
    """Objects of one kind below each of another."""

    above: ClassVar[str]
    """The path of what they are below, below ``/1.0``."""
    below: ClassVar[str]
    """Their own path, below that."""
    missing_above: ClassVar[str]

    def at(self, request: FakeRequest, name: str) -> Self:
        """Those below one."""
        if name not in self.state.of(self.above, self.project_of(request)):
            raise Refused(404, self.missing_above)
        found = copy.copy(self)
        found.segment = f"{self.above}/{name}/{self.below}"
        return found
