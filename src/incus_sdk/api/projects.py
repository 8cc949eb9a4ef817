"""Projects."""

from __future__ import annotations

from .. import models
from .base import Deletable, Deletes, Editable, Edits, Renamable, Renames


class Project(models.Project, Editable[models.ProjectPut], Renamable, Deletable):
    """A project: instances, and as its configuration says images, networks and so on, apart from those of others."""

    async def state(self) -> models.ProjectState:
        """What it uses and may use. ``GET /1.0/projects/{name}/state``."""
        return models.ProjectState((await self._request("GET", "state")).metadata)


class ProjectsAPI(Edits[Project, models.ProjectPut], Renames[Project], Deletes[Project]):
    """``client.projects``."""

    resource, segment = Project, "projects"

    async def create(self, name: str, config: models.Config | None = None, description: str = "") -> Project:
        """Create a project; returns it, read. ``POST /1.0/projects``."""
        return await self._create(name, {"config": config or {}, "description": description})

    async def state(self, name: str) -> models.ProjectState:
        """What it uses and may use. ``GET /1.0/projects/{name}/state``."""
        return await self[name].state()
