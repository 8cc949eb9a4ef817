"""What an instance took over from its image: the metadata, and the templates of files that the server writes in it."""

from __future__ import annotations

import builtins

from .. import models
from .._connection import wire
from ..exceptions import IncusInputError
from .base import Editable, Group


class InstanceMetadata(models.ImageMetadata, Editable[models.ImageMetadataDict]):
    """``instance.metadata``: the ``metadata.yaml`` of its image, the instance's own copy; ``refresh()`` reads it.

    Servers check no ETag of it when it is replaced: of two writers at the very same moment, one may undo the other.
    """


class TemplatesAPI(Group):
    """``instance.templates``: templates of files, by name; `InstanceMetadata.templates` says which file is made from
    which, and when.
    """

    segment = "templates"

    async def list(self) -> builtins.list[str]:
        """Their names. ``GET /1.0/instances/{name}/metadata/templates``."""
        return list((await self._request("GET")).metadata or ())

    async def get(self, name: str) -> bytes:
        """The content of one. Raises `IncusNotFoundError`. ``GET /1.0/instances/{name}/metadata/templates``."""
        async with self._download("GET", query=_path_query(name)) as stream:
            return await stream.read()

    async def put(self, name: str, content: str | bytes) -> None:
        """Write one, new or not. ``POST /1.0/instances/{name}/metadata/templates``."""
        if not isinstance(content, str | bytes):
            raise IncusInputError(f"content must be str or bytes, not {type(content).__name__}")
        body = content.encode() if isinstance(content, str) else content
        await self._request("POST", query=_path_query(name), body=body)

    async def delete(self, name: str) -> None:
        """Delete one. ``DELETE /1.0/instances/{name}/metadata/templates``."""
        await self._request("DELETE", query=_path_query(name))


def _path_query(name: str) -> wire.Query:
    wire.path(name)  # an empty one would ask for the list
    return {"path": name}
