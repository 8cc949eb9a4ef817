"""Projects."""

from __future__ import annotations

import builtins
from typing import ClassVar

from .. import models
from .base import Collection, Editable, Edits, Renamable, Renames


class Project(models.Project, Editable[models.ProjectPut], Renamable):
    """A project: instances, and as its configuration says images, networks and so on, apart from those of others."""

    async def state(self) -> models.ProjectState:
        """What it uses and may use. ``GET /1.0/projects/{name}/state``."""
        return models.ProjectState((await self._request("GET", "state")).metadata)

    async def get_access(self) -> list[models.AccessEntry]:
        """Who may use it, and as what. ``GET /1.0/projects/{name}/access``."""
        return [models.AccessEntry(entry) for entry in (await self._request("GET", "access")).metadata or ()]

    async def delete(self, force: bool = False) -> None:
        """Delete it. ``DELETE /1.0/projects/{name}``.

        Raises `IncusAPIError` unless it is empty. ``force``: delete everything in it first; whatever of that cannot be
        deleted stays, and the project with it.
        """
        await self._perform("DELETE", query={"force": force or None})


class ProjectsAPI(Collection[Project], Edits[models.ProjectPut], Renames):
    """``client.projects``."""

    resource, segment = Project, "projects"
    options: ClassVar = {"filter": "api_filtering_extended"}

    async def create(self, name: str, config: models.Config | None = None, description: str = "") -> Project:
        """Create a project; returns it, read. ``POST /1.0/projects``."""
        return await self._create(name, {"config": config or {}, "description": description})

    async def state(self, name: str) -> models.ProjectState:
        """What it uses and may use. ``GET /1.0/projects/{name}/state``."""
        return await self[name].state()

    async def get_access(self, name: str) -> builtins.list[models.AccessEntry]:
        """Who may use one, and as what: see `Project.get_access`."""
        return await self[name].get_access()

    async def delete(self, name: str, force: bool = False) -> None:
        """Delete one: see `Project.delete`."""
        await self[name].delete(force)
