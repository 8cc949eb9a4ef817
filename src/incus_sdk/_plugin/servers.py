"""The servers that tests run against, and how they are left."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import incus_sdk
from incus_sdk import sync

from .._connection import wire
from ..api._owner import has_ended, this_process
from .settings import setting

if TYPE_CHECKING:
    import pytest

ClientT_co = TypeVar("ClientT_co", incus_sdk.Client, sync.Client, covariant=True)


class Server(Protocol[ClientT_co]):
    """A fake, a private daemon, or a project of a remote."""

    def client(self) -> ClientT_co:
        """Make a client, which is not connected yet."""
        ...


@dataclass(frozen=True)
class Remote(Generic[ClientT_co]):
    """A project of its own on a remote, for the tests of one worker."""

    name: str
    project: str
    kind: type[ClientT_co]

    def client(self) -> ClientT_co:
        """Make a client of the project, which is not connected yet."""
        return self.kind.from_remote(self.name, project=self.project)


_OWNER = "user.incus-sdk.pytest"
_FEATURES = {
    **dict.fromkeys(("features.images", "features.profiles", "features.networks"), False),
    **dict.fromkeys(("features.storage.volumes", "features.storage.buckets"), True),
}
"""What a project on a remote has for itself; the rest it shares with the project ``default``."""

_CONTENT = ("instances", "images", "networks", "network-acls", "network-zones", "volumes", "buckets", "profiles")
"""What a test may leave in a project, in the order in which it can be deleted."""


def unique(kind: str) -> str:
    """A name that no other worker of pytest-xdist and no other run has."""
    return f"{kind}-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{secrets.token_hex(3)}"


def is_fake(request: pytest.FixtureRequest) -> bool:
    """Whether a test, or what a wider scope is about, is content with a fake."""
    return setting(request.config, "incus") == "fake" and request.node.get_closest_marker("incus_real") is None


def server_of(request: pytest.FixtureRequest, prefix: str = "") -> Any:
    """The server of a test, or of a wider scope; its async form by the prefix of the fixture's name."""
    if is_fake(request):
        return request.getfixturevalue(f"{prefix}incus_fake")
    if setting(request.config, "incus") in ("fake", "real"):
        return request.getfixturevalue(f"{prefix}incus_daemon")
    return request.getfixturevalue(f"_{prefix}incus_remote")


@contextmanager
def server_left_clean(request: pytest.FixtureRequest, prefix: str = "") -> Generator[Any]:
    """The server of a test; from a real one, what the test adds to it is removed at the end."""
    server = server_of(request, prefix)
    if is_fake(request):
        yield server
        return
    with server_of(request).client() as client:
        before = _content(client)
        yield server
        _remove(client, _content(client) - before)


def _content(client: sync.Client) -> set[str]:
    info = client.get_server_info()
    project: dict[str, Any] = client.query("GET", wire.path("projects", info.environment.project))
    return set(project["used_by"] or ())


def _remove(client: sync.Client, urls: set[str]) -> None:
    def place(url: str) -> int:
        return next((number for number, group in enumerate(_CONTENT) if group in wire.names(url)[:3:2]), len(_CONTENT))

    for url in sorted(urls, key=place):
        names = wire.names(url)
        if names[0] == "instances":
            client.instances[names[1]].delete(force=True, wait=True)
        else:
            answer = client.query("DELETE", wire.path(*names))
            if isinstance(answer, sync.Operation):
                answer.wait()


@contextmanager
def own_project(remote: str) -> Generator[Remote[sync.Client]]:
    """A new project on a remote, which is deleted with all that is in it; first those of runs that were killed."""
    with sync.Client.from_remote(remote) as client:
        for project in client.projects.list():
            if has_ended(project.config.get(_OWNER, "")):
                project.delete(force=True, missing_ok=True)  # another worker may be faster
        config: dict[str, str | int | bool | None] = {_OWNER: this_process(), **_FEATURES}
        project = client.projects.create(unique("pytest"), config, "Tests by pytest; deleted at their end")
        yield Remote(remote, project.name, sync.Client)
        project.delete(force=True)
