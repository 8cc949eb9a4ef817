"""Aliases of images. Those of a new image are free beforehand; it gets them afterwards, or takes them over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Unpack

from .. import models
from .._concurrency import shielded
from ..exceptions import IncusConflictError, IncusError, IncusInputError, IncusNotFoundError
from ._by_key import Deletes, Edits, Renames
from ._ensure import Ensures
from ._image_copies import discard
from ._options import known_options
from .base import Collection, Deletable, Editable, Renamable


class ImageAlias(models.ImageAliasesEntry, Editable[models.ImageAliasesEntryPut], Renamable, Deletable):
    """A name for an image."""


class ImageAliasesAPI(Collection[ImageAlias], Edits[models.ImageAliasesEntryPut], Ensures, Renames, Deletes):
    """``client.images.aliases``; a name can contain slashes."""

    _resource, _path_part = ImageAlias, "aliases"

    @known_options(models.ImageAliasesEntryPut)
    async def create(self, name: str, **body: Unpack[models.ImageAliasesEntryPut]) -> ImageAlias:
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
        return await self._create(name, body)


def to_aliases(aliases: Any) -> list[dict[str, str]]:
    """The aliases in a body, each once; raises `IncusInputError` for what is none."""
    given = [] if aliases is None else aliases if isinstance(aliases, list | tuple) else [aliases]
    if not all(isinstance(alias, Mapping) and isinstance(alias.get("name"), str) for alias in given):
        raise IncusInputError(f'aliases must be a list like [{{"name": "debian/13"}}], not {aliases!r}')
    described = {alias["name"]: alias.get("description") or "" for alias in given}
    return [{"name": name, "description": description} for name, description in described.items()]


async def require_free(group: ImageAliasesAPI, aliases: Iterable[dict[str, str]]) -> None:
    """Raise `IncusConflictError` for an alias that exists, before an image is made that would not get it."""
    for alias in aliases:
        name = alias["name"]
        with suppress(IncusNotFoundError):
            target = (await group.get(name)).target
            raise IncusConflictError(
                f"the alias {name!r} already exists, and leads to image {target[:12]}: delete it first, or pass "
                "reuse=True to take it over; nothing was sent",
                status_code=409,
            )


async def give_aliases(
    group: ImageAliasesAPI,
    image: models.Image,
    aliases: Sequence[dict[str, str]],
    reuse: bool,
    undo: AsyncExitStack,
) -> set[str]:
    """Let aliases lead to an image; with ``reuse`` also those that exist, which led to the images that are returned."""
    left = set[str]()
    for alias in aliases:
        name, target = alias["name"], image.fingerprint
        try:
            created = await group.create(name, target=target, description=alias["description"])
            undo.push_async_callback(discard, created)
        except IncusConflictError:
            if not reuse:
                raise
            taken = await group.get(name)
            undo.push_async_callback(_lead_back, taken, taken.target)
            left.add(taken.target)
            await taken.update({"target": target})
    return left - {image.fingerprint}


async def delete_unnamed(images: Collection[Any], fingerprints: Iterable[str]) -> None:
    """Delete images whose aliases were taken over, but for those that have others; also if the caller is cancelled."""

    async def delete() -> None:
        for fingerprint in fingerprints:
            with suppress(IncusNotFoundError):
                image = await images.get(fingerprint)
                if not image.aliases:
                    await image.delete(wait=True)

    await shielded(delete())


async def _lead_back(alias: ImageAlias, target: str) -> None:
    with suppress(IncusError):
        await shielded(alias.update({"target": target}))
