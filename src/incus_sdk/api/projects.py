"""Projects."""

from __future__ import annotations

import builtins
from typing import ClassVar

from .. import models
from .._connection import wire
from ._by_key import Edits, Renames
from ._deletion import delete_or_miss
from ._ensure import Ensures
from .base import AtPath, Collection, Editable, Renamable
from .instances import InstancesAPI

_CONTENT = ("instances", "images", "networks", "network-acls", "network-zones", "volumes", "buckets")
"""What can be in a project that shares its profiles, in the order in which it can be deleted."""


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

    async def delete(self, force: bool = False, *, missing_ok: bool = False) -> None:
        """Delete the project.

        Args:
            force: Delete everything in it first. If some of that cannot be deleted, it stays, and so does the project.
                Profiles that it shares with the default project stay as they are.
            missing_ok: Accept that there is no such project.

        Raises:
            IncusNotFoundError: There is no such project, and ``missing_ok`` is not set.
            IncusPermissionError: It is the project ``default``.
            IncusAPIError: It is not empty.

        API:
            ``DELETE /1.0/projects/{name}``; with ``force`` on older servers also ``DELETE`` of what is in it
        """
        await delete_or_miss(self._delete(force), missing_ok, self.exists)

    async def _delete(self, force: bool) -> None:
        if force and not await self._is_emptied_rightly():
            await self._empty()
            force = False
        await self._perform("DELETE", query={"force": force or None})

    async def _is_emptied_rightly(self) -> bool:
        """Whether the server can empty it: those before 6.0.6 would empty the profile ``default`` that others use."""
        current = models.Project((await self._read_with_etag())[0])
        if current.config.get("features.profiles") == "true":
            return True
        # The remedy has no extension of its own; this one came after it.
        return "instances_debug_repair" in ((await self._scope.server()).get("api_extensions") or ())

    async def _empty(self) -> None:
        """Delete all that is in it, in an order in which nothing is used any longer."""
        for group in _CONTENT:
            for url in (await self._read_with_etag())[0].get("used_by") or ():
                path = wire.names(url)
                if path[0] != group and path[2:3] != [group]:
                    continue
                place = self._scope.view(project=self._path[-1], target=wire.parameter(url, "target"))
                if group != "instances":
                    await AtPath(place, tuple(path))._perform("DELETE")
                    continue
                instance = await InstancesAPI(place).get(path[1])
                if instance.expanded_config.get("security.protection.delete") == "true":
                    await instance.update({"security.protection.delete": False}, wait=True)
                await instance.delete(force=True, wait=True)


class ProjectsAPI(Collection[Project], Edits[models.ProjectPut], Ensures, Renames):
    """``client.projects``."""

    _resource, _path_part = Project, "projects"
    _options: ClassVar = {"filter": "api_filtering_extended"}

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

    async def delete(self, name: str, force: bool = False, *, missing_ok: bool = False) -> None:
        """Delete a project.

        Args:
            name: The project.
            force: Delete everything in it first. If some of that cannot be deleted, it stays, and so does the project.
                Profiles that it shares with the default project stay as they are.
            missing_ok: Accept that there is no such project.

        Raises:
            IncusNotFoundError: There is no such project, and ``missing_ok`` is not set.
            IncusPermissionError: It is the project ``default``.
            IncusAPIError: It is not empty.

        API:
            ``DELETE /1.0/projects/{name}``; with ``force`` on older servers also ``DELETE`` of what is in it
        """
        await self[name].delete(force, missing_ok=missing_ok)

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
