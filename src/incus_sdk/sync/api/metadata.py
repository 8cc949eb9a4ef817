"""What an instance has from its image: the metadata, and templates of files that the server writes in it.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import models
from ...api import metadata as _source
from .base import Editable, Group

if TYPE_CHECKING:
    import builtins


class InstanceMetadata(models.ImageMetadata, Editable[models.ImageMetadataDict]):
    """``instance.metadata``: the instance's own copy of the ``metadata.yaml`` of its image; ``refresh()`` reads it.

    Servers do not check its ETag when it is replaced: of two writers at the same moment, one can undo the other.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.InstanceMetadata: ...


class TemplatesAPI(Group):
    """``instance.templates``: templates of files, by name.

    `InstanceMetadata.templates` says which file is written from which template, and when.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.TemplatesAPI: ...

    def list(self) -> builtins.list[str]:
        """List their names.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/metadata/templates``
        """
        return self._portal.run(self._async.list())

    def get(self, name: str) -> bytes:
        """Read the content of one.

        Args:
            name: Its name.

        Raises:
            IncusNotFoundError: There is no such template.

        API:
            ``GET /1.0/instances/{name}/metadata/templates``
        """
        return self._portal.run(self._async.get(name))

    def put(self, name: str, content: str | bytes) -> None:
        """Create a template, or replace its content.

        Args:
            name: Its name.
            content: Its text, or the text in bytes.

        Raises:
            IncusInputError: ``content`` is neither str nor bytes.
            IncusNotFoundError: There is no such instance.
            IncusAPIError: The name is invalid.

        API:
            ``POST /1.0/instances/{name}/metadata/templates``
        """
        self._portal.run(self._async.put(name, content))

    def delete(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete one.

        Args:
            name: Its name.
            missing_ok: Accept that there is no such template.

        Raises:
            IncusNotFoundError: There is no such template, and ``missing_ok`` is not set.

        API:
            ``DELETE /1.0/instances/{name}/metadata/templates``
        """
        self._portal.run(self._async.delete(name, missing_ok=missing_ok))
