"""Aliases of images. Those of a new image are free beforehand; it gets them afterwards, or takes them over.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import models
from ...api import _image_aliases as _source
from ._by_key import Deletes, Edits, Renames
from ._ensure import Ensures
from .base import Collection, Deletable, Editable, Renamable

if TYPE_CHECKING:
    from typing import Unpack


class ImageAlias(models.ImageAliasesEntry, Editable[models.ImageAliasesEntryPut], Renamable, Deletable):
    """A name for an image."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ImageAlias: ...


class ImageAliasesAPI(Collection[ImageAlias], Edits[models.ImageAliasesEntryPut], Ensures, Renames, Deletes):
    """``client.images.aliases``; a name can contain slashes."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ImageAliasesAPI: ...

    def create(self, name: str, **body: Unpack[models.ImageAliasesEntryPut]) -> ImageAlias:
        """Give an image an alias.

        Args:
            name: The alias, as ``debian/13``.
            **body: ``target``, the full fingerprint of the image, and ``description``.

        Returns:
            The alias, read.

        Raises:
            IncusConflictError: The alias exists.

        API:
            ``POST /1.0/images/aliases``
        """
        result: ImageAlias = self._wrap(self._portal.run(self._async.create(name, **body)))
        return result
