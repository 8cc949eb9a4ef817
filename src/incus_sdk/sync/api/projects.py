"""Projects.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import models
from ...api import projects as _source
from ._by_key import Edits, Renames
from ._ensure import Ensures
from .base import Collection, Editable, Renamable

if TYPE_CHECKING:
    import builtins


class Project(models.Project, Editable[models.ProjectPut], Renamable):
    """A project: instances, and as configured images, networks and so on, apart from those of other projects."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Project: ...

    def get_state(self) -> models.ProjectState:
        """What the project uses, and its limits.

        Raises:
            IncusNotFoundError: There is no such project.

        API:
            ``GET /1.0/projects/{name}/state``
        """
        return self._portal.run(self._async.get_state())

    def get_access(self) -> list[models.AccessEntry]:
        """Who can use the project, and in which role.

        API:
            ``GET /1.0/projects/{name}/access``
        """
        return self._portal.run(self._async.get_access())

    def delete(self, force: bool = False, *, missing_ok: bool = False) -> None:
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
        self._portal.run(self._async.delete(force, missing_ok=missing_ok))


class ProjectsAPI(Collection[Project], Edits[models.ProjectPut], Ensures, Renames):
    """``client.projects``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ProjectsAPI: ...

    def create(self, name: str, config: models.Config | None = None, description: str = "") -> Project:
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
        result: Project = self._wrap(self._portal.run(self._async.create(name, config, description)))
        return result

    def get_state(self, name: str) -> models.ProjectState:
        """What a project uses, and its limits.

        Args:
            name: The project.

        Raises:
            IncusNotFoundError: There is no such project.

        API:
            ``GET /1.0/projects/{name}/state``
        """
        return self._portal.run(self._async.get_state(name))

    def get_access(self, name: str) -> builtins.list[models.AccessEntry]:
        """Who can use a project, and in which role.

        Args:
            name: The project.

        API:
            ``GET /1.0/projects/{name}/access``
        """
        return self._portal.run(self._async.get_access(name))

    def delete(self, name: str, force: bool = False, *, missing_ok: bool = False) -> None:
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
        self._portal.run(self._async.delete(name, force, missing_ok=missing_ok))

    def state(self, name: str) -> models.ProjectState:
        """What a project uses, and its limits: see `get_state`.

        Args:
            name: The project.

        Raises:
            IncusNotFoundError: There is no such project.

        API:
            ``GET /1.0/projects/{name}/state``
        """
        return self._portal.run(self._async.state(name))
