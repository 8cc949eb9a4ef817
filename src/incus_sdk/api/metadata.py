"""What an instance took over from its image: the metadata, and the templates of files that the server writes in it."""

from __future__ import annotations

import builtins

from .. import models
from .._connection import wire
from .._connection.scope import Scope
from ..exceptions import IncusInputError
from .base import Editable


class InstanceMetadata(models.ImageMetadata, Editable[models.ImageMetadataDict]):
    """``instance.metadata``: the ``metadata.yaml`` of its image, the instance's own copy; ``refresh()`` reads it.

    Servers check no ETag of it when it is replaced: of two writers at the very same moment, one may undo the other.
    """


class TemplatesAPI:
    """``instance.templates``: templates of files, by name; `InstanceMetadata.templates` says which file is made from
    which, and when.
    """

    def __init__(self, scope: Scope, *instance: str) -> None:
        self._scope = scope
        self._path = wire.path(*instance, "metadata", "templates")

    async def list(self) -> builtins.list[str]:
        """Their names. ``GET /1.0/instances/{name}/metadata/templates``."""
        return list((await self._scope.request("GET", self._path)).metadata or ())

    async def get(self, name: str) -> bytes:
        """The content of one. Raises `IncusNotFoundError`. ``GET /1.0/instances/{name}/metadata/templates``."""
        async with self._scope.download("GET", self._path, query=_named(name)) as stream:
            return await stream.read()

    async def put(self, name: str, content: str | bytes) -> None:
        """Write one, new or not. ``POST /1.0/instances/{name}/metadata/templates``."""
        if not isinstance(content, str | bytes):
            raise IncusInputError(f"content must be str or bytes, not {type(content).__name__}")
        body = content.encode() if isinstance(content, str) else content
        await self._scope.request("POST", self._path, query=_named(name), body=body)

    async def delete(self, name: str) -> None:
        """Delete one. ``DELETE /1.0/instances/{name}/metadata/templates``."""
        await self._scope.request("DELETE", self._path, query=_named(name))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path}>"


def _named(name: str) -> wire.Query:
    wire.path(name)  # an empty one would ask for the list
    return {"path": name}
