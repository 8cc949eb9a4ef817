"""Projects."""

from __future__ import annotations

import builtins
from typing import ClassVar

from .. import models
from .base import Collection, Editable, Edits, Renamable, Renames


class Project(models.Project, Editable[models.ProjectPut], Renamable):
    """A project: instances, and as configured images, networks and so on, apart from those of other projects."""

    async def get_state(self) -> models.ProjectState:
        """What the project uses, and its limits.

        Raises:
            IncusNotFoundError: There is no such project.

        API:
            ``GET /1.0/projects/{name}/state``
        """
        return models.ProjectState((await self._request("GET", "state")).object)

    async def get_access(self) -> list[models.AccessEntry]:
        """Who can use the project, and in which role.

        API:
            ``GET /1.0/projects/{name}/access``
        """
        return [models.AccessEntry(entry) for entry in (await self._request("GET", "access")).objects]

    async def delete(self, force: bool = False) -> None:
        """Delete the project.

        Args:
            force: Delete everything in it first. If some of that cannot be deleted, it stays, and so does the project.

        Raises:
            IncusNotFoundError: There is no such project.
            IncusPermissionError: It is the project ``default``.
            IncusAPIError: It is not empty.

        API:
            ``DELETE /1.0/projects/{name}``
        """
        await self._perform("DELETE", query={"force": force or None})


class ProjectsAPI(Collection[Project], Edits[models.ProjectPut], Renames):
    """``client.projects``."""

    resource, segment = Project, "projects"
    options: ClassVar = {"filter": "api_filtering_extended"}

    async def create(self, name: str, config: models.Config | None = None, description: str = "") -> Project:
        """Create a project.

        Args:
            name: Its name.
            config: Its configuration, as ``{"features.images": False}``.
            description: A text for people.

        Returns:
            The project, read.

        Raises:
            IncusAPIError: The name is taken, or the server refused the configuration.

        API:
            ``POST /1.0/projects``
        """
        return await self._create(name, {"config": config or {}, "description": description})

    async def get_state(self, name: str) -> models.ProjectState:
        """What a project uses, and its limits.

        Args:
            name: The project.

        Raises:
            IncusNotFoundError: There is no such project.

        API:
            ``GET /1.0/projects/{name}/state``
        """
        return await self[name].get_state()

    async def get_access(self, name: str) -> builtins.list[models.AccessEntry]:
        """Who can use a project, and in which role.

        Args:
            name: The project.

        API:
            ``GET /1.0/projects/{name}/access``
        """
        return await self[name].get_access()

    async def delete(self, name: str, force: bool = False) -> None:
        """Delete a project.

        Args:
            name: The project.
            force: Delete everything in it first. If some of that cannot be deleted, it stays, and so does the project.

        Raises:
            IncusNotFoundError: There is no such project.
            IncusPermissionError: It is the project ``default``.
            IncusAPIError: It is not empty.

        API:
            ``DELETE /1.0/projects/{name}``
        """
        await self[name].delete(force)

    # Forwarders that exist only for 1.0.0.

    async def state(self, name: str) -> models.ProjectState:
        """What a project uses, and its limits: see `get_state`.

        Args:
            name: The project.

        Raises:
            IncusNotFoundError: There is no such project.

        API:
            ``GET /1.0/projects/{name}/state``
        """
        return await self.get_state(name)
