"""Projects: records and request bodies."""

from __future__ import annotations

from typing import TypedDict

from .base import Config, Record, RecordMap


class Project(Record):
    """A separate space for instances and, as its ``features.*`` say, images, profiles, networks and volumes."""

    config: dict[str, str]
    description: str
    name: str
    used_by: list[str]
    """URLs of what is in it; only an empty project can be deleted."""


class ProjectStateResource(Record):
    """Limit and use of one resource; the server spells both keys with a capital letter."""

    Limit: int
    """-1: none. In the resource's own unit, see ProjectState."""
    Usage: int
    """What the project's instances are granted, rather than what they take at this moment."""


class ProjectState(Record):
    """How much of its limits a project has given out."""

    resources: RecordMap[ProjectStateResource]
    """memory, disk and disk.<pool> in bytes; cpu, processes, networks, instances, containers and
    virtual-machines as counts."""


class ProjectPut(TypedDict, total=False):
    """Replaces a project's configuration."""

    config: Config
    description: str


class ProjectsPost(ProjectPut, total=False):
    """Creates a project."""

    name: str
