"""Profiles."""

from __future__ import annotations

from typing import ClassVar, Unpack

from .. import models
from ._by_key import Deletes, Edits, Renames
from ._devices import ChangesDevices, DeviceVerbs
from ._ensure import Ensures
from ._options import known_options
from .base import Collection, Deletable, Editable, Renamable


class Profile(models.Profile, DeviceVerbs[models.ProfilePut], Editable[models.ProfilePut], Renamable, Deletable):
    """A profile: configuration and devices that instances share."""


class ProfilesAPI(Collection[Profile], ChangesDevices, Edits[models.ProfilePut], Ensures, Renames, Deletes):
    """``client.profiles``."""

    _resource, _path_part = Profile, "profiles"
    _options: ClassVar = {"filter": "api_filtering_extended", "all-projects": "profiles_all_projects"}

    @known_options(models.ProfilePut)
    async def create(self, name: str, **body: Unpack[models.ProfilePut]) -> Profile:
        """Create a profile.

        Args:
            name: Its name.
            **body: ``config``, ``devices`` and ``description``.

        Returns:
            The profile, read.

        Raises:
            IncusAPIError: The name is taken, or the server refused the configuration.

        API:
            ``POST /1.0/profiles``
        """
        return await self._create(name, body)
