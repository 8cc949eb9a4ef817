"""Images and their aliases."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterable, Mapping
from pathlib import Path
from typing import Literal, Unpack, overload
from urllib.parse import urlencode

from .. import models, wire
from ..exceptions import IncusConnectionError, IncusInputError
from ..models.base import Json
from ..operations import Operation, operate
from .base import Collection, Deletable, Deletes, Editable, Edits, Renamable, Renames


class ImageAlias(models.ImageAliasesEntry, Editable[models.ImageAliasesEntryPut], Renamable, Deletable):
    """A name for an image."""


class ImageAliasesAPI(Edits[ImageAlias, models.ImageAliasesEntryPut], Renames[ImageAlias], Deletes[ImageAlias]):
    """``client.images.aliases``; a name may hold slashes."""

    resource, segment = ImageAlias, "aliases"

    async def create(self, name: str, **body: Unpack[models.ImageAliasesEntryPut]) -> ImageAlias:
        """Give an image, ``target`` being its fingerprint, a name; returns it, read. ``POST /1.0/images/aliases``."""
        return await self._create(name, body)


class Image(models.Image, Editable[models.ImagePut]):
    """An image, named by its fingerprint: the SHA-256 of its content in hex."""

    KEY = "fingerprint"

    async def delete(self, wait: bool = False) -> Operation:
        """Delete it. ``DELETE /1.0/images/{fingerprint}``."""
        return await operate(self._scope, "DELETE", wire.path(*self._path), wait=wait)

    async def export(self, target_path: str | os.PathLike[str]) -> None:
        """Write it to a file, streamed, its hash checked. ``GET /1.0/images/{fingerprint}/export``.

        The file is there only when it is whole. Raises `IncusConnectionError` for an image that came damaged or cut
        off, `IncusInputError` for a file that cannot be written.
        """
        fingerprint = self.fingerprint if self._loaded else (await self._fresh())[0]["fingerprint"]
        target = Path(target_path)
        hash = hashlib.sha256()
        try:
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
                try:
                    async with self._scope.download("GET", wire.path(*self._path, "export")) as stream:
                        if stream.headers.get("Content-Type", "").startswith("multipart/"):
                            raise IncusInputError("this image has two parts; one file cannot hold them")
                        async for chunk in stream.chunks():
                            hash.update(chunk)
                            file.write(chunk)
                    if hash.hexdigest() != fingerprint:
                        raise IncusConnectionError(f"image {fingerprint} came with another hash: {hash.hexdigest()}")
                    file.flush()
                    os.replace(file.name, target)
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise IncusInputError(f"{target} cannot be written: {error}") from error


class ImagesAPI(Edits[Image, models.ImagePut], Collection[Image]):
    """``client.images``; the key is the fingerprint, or enough of its beginning."""

    resource, segment = Image, "images"

    @property
    def aliases(self) -> ImageAliasesAPI:
        """Names of images."""
        return ImageAliasesAPI(self._scope, *self._path)

    @overload
    async def create(
        self,
        image_data: bytes | AsyncIterable[bytes],
        filename: str | None = None,
        public: bool = False,
        auto_update: bool = False,
        properties: Mapping[str, str] | None = None,
        wait: Literal[False] = False,
    ) -> Operation: ...
    @overload
    async def create(
        self,
        image_data: bytes | AsyncIterable[bytes],
        filename: str | None = None,
        public: bool = False,
        auto_update: bool = False,
        properties: Mapping[str, str] | None = None,
        *,
        wait: Literal[True],
    ) -> Image: ...
    @overload
    async def create(
        self,
        image_data: bytes | AsyncIterable[bytes],
        filename: str | None = None,
        public: bool = False,
        auto_update: bool = False,
        properties: Mapping[str, str] | None = None,
        wait: bool = False,
    ) -> Image | Operation: ...
    async def create(
        self,
        image_data: bytes | AsyncIterable[bytes],
        filename: str | None = None,
        public: bool = False,
        auto_update: bool = False,
        properties: Mapping[str, str] | None = None,
        wait: bool = False,
    ) -> Image | Operation:
        """Upload an image in one file; with ``wait`` returns it, read. ``POST /1.0/images``.

        ``image_data``: its bytes, or an async iterable of them, streamed. ``auto_update`` needs ``wait``, since it is
        set on the finished image. Raises `IncusOperationError` if the server has it already.
        """
        if not isinstance(image_data, bytes | bytearray | memoryview | AsyncIterable):
            raise IncusInputError(
                f"image_data must be bytes, or an async iterable of bytes, not {type(image_data).__name__}"
            )
        if auto_update and not wait:
            raise IncusInputError("auto_update is set on the finished image: pass wait=True as well")
        headers = {"Content-Type": "application/octet-stream"}
        if filename:
            headers["X-Incus-filename"] = filename
        if public:
            headers["X-Incus-public"] = "true"
        if properties:
            headers["X-Incus-properties"] = urlencode(properties)
        operation = await operate(self._scope, "POST", wire.path("images"), body=image_data, headers=headers, wait=wait)
        if not wait:
            return operation
        image = await self.get(operation.metadata["fingerprint"])
        if auto_update:
            await image.update({"auto_update": True})
        return image

    async def delete(self, fingerprint: str, wait: bool = False) -> Operation:
        """Delete an image. ``DELETE /1.0/images/{fingerprint}``."""
        return await self[fingerprint].delete(wait)

    async def export(self, fingerprint: str, target_path: str | os.PathLike[str]) -> None:
        """Write an image to a file: see `Image.export`."""
        await self[fingerprint].export(target_path)

    async def create_alias(self, name: str, target: str, description: str = "") -> ImageAlias:
        """Give the image with the fingerprint ``target`` a name; returns it, read. ``POST /1.0/images/aliases``."""
        return await self.aliases.create(name, target=target, description=description)

    async def get_alias(self, name: str) -> ImageAlias:
        """One alias, read. ``GET /1.0/images/aliases/{name}``."""
        return await self.aliases.get(name)

    async def update_alias(self, name: str, target: str | None = None, description: str | None = None) -> None:
        """Change what an alias points to, or its description; None keeps it. See `Editable.update`."""
        change: Json = {"target": target, "description": description}
        await self.aliases.update(name, {key: value for key, value in change.items() if value is not None})

    async def delete_alias(self, name: str) -> None:
        """Delete an alias, not its image. ``DELETE /1.0/images/aliases/{name}``."""
        await self.aliases.delete(name)
