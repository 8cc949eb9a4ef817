"""What an instance has from its image: the metadata, and templates of files that the server writes in it."""

from __future__ import annotations

import builtins

from .. import models
from .._connection import wire
from ..exceptions import IncusInputError
from ._deletion import delete_or_miss
from .base import Editable, Group


class InstanceMetadata(models.ImageMetadata, Editable[models.ImageMetadataDict]):
    """``instance.metadata``: the instance's own copy of the ``metadata.yaml`` of its image; ``refresh()`` reads it.

    Servers do not check its ETag when it is replaced: of two writers at the same moment, one can undo the other.
    """


class TemplatesAPI(Group):
    """``instance.templates``: templates of files, by name.

    `InstanceMetadata.templates` says which file is written from which template, and when.
    """

    _path_part = "templates"

    async def list(self) -> builtins.list[str]:
        """List their names.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/metadata/templates``
        """
        return (await self._request("GET")).strings

    async def get(self, name: str) -> bytes:
        """Read the content of one.

        Args:
            name: Its name.

        Raises:
            IncusNotFoundError: There is no such template.

        API:
            ``GET /1.0/instances/{name}/metadata/templates``
        """
        async with self._download("GET", query=_path_query(name)) as stream:
            return await stream.read()

    async def put(self, name: str, content: str | bytes) -> None:
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
        if not isinstance(content, str | bytes):
            raise IncusInputError(f"content must be str or bytes, not {type(content).__name__}")
        body = content.encode() if isinstance(content, str) else content
        await self._request("POST", query=_path_query(name), body=body)

    async def delete(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete one.

        Args:
            name: Its name.
            missing_ok: Accept that there is no such template.

        Raises:
            IncusNotFoundError: There is no such template, and ``missing_ok`` is not set.

        API:
            ``DELETE /1.0/instances/{name}/metadata/templates``
        """
        await delete_or_miss(self._request("DELETE", query=_path_query(name)), missing_ok)


def _path_query(name: str) -> wire.Query:
    wire.path(name)  # without a name, the server would send the list
    return {"path": name}
