"""Profiles.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import models
from ...api import profiles as _source
from ._by_key import Deletes, Edits, Renames
from ._devices import ChangesDevices, DeviceVerbs
from ._ensure import Ensures
from .base import Collection, Deletable, Editable, Renamable

if TYPE_CHECKING:
    from typing import Unpack


class Profile(models.Profile, DeviceVerbs[models.ProfilePut], Editable[models.ProfilePut], Renamable, Deletable):
    """A profile: configuration and devices that instances share."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Profile: ...


class ProfilesAPI(Collection[Profile], ChangesDevices, Edits[models.ProfilePut], Ensures, Renames, Deletes):
    """``client.profiles``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ProfilesAPI: ...

    def create(self, name: str, **body: Unpack[models.ProfilePut]) -> Profile:
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
        result: Profile = self._wrap(self._portal.run(self._async.create(name, **body)))
        return result
