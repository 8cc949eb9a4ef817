"""Instances and images: an instance or a snapshot made into an image, an image put in the place of a root disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from .. import models
from .._connection import wire
from ..exceptions import IncusInputError
from ..models.base import Json
from ..operations import OnProgress
from ._bodies import to_body
from ._by_key import Keyed
from ._deletion import or_missing
from ._lifecycle import NOT_RUNNING, LifecycleVerbs
from ._options import known_options
from .base import Resource

if TYPE_CHECKING:
    from .images import Image


class PublishOptions(TypedDict, total=False):
    """What a published image is like."""

    aliases: Sequence[str]
    """They are given once the image is there; one that exists is refused before anything is done."""
    reuse: bool
    """Take over aliases that exist; an image that loses its last one so is deleted."""
    properties: Mapping[str, str]
    """In the place of those that it would have from the image of the instance."""
    public: bool
    """Let anybody who reaches the server download it."""
    expires_at: str | datetime
    """When it is out of date."""
    compression_algorithm: str
    """A program such as ``gzip``, ``xz`` or ``zstd``, its options after a space, or ``none``."""
    format: Literal["unified", "split"] | str
    """One file, the default, or two."""
    profiles: Sequence[str]
    """For instances made from it without naming profiles."""
    progress: OnProgress | None
    """Called with how far the server's packing is."""


class ImageVerbs(LifecycleVerbs):
    """Verbs between an instance and images."""

    @known_options(PublishOptions)
    async def publish(self, *, force: bool = False, **options: Unpack[PublishOptions]) -> Image:
        """Make an image of the instance, and return it, read.

            image = await instance.publish(aliases=["web"], reuse=True, force=True)

        If this fails or is cancelled, nothing remains of the image, and an alias leads where it led.

        Args:
            force: Stop the instance at once if it runs, and start it again as soon as the image is there, also if this
                fails or is cancelled. An ephemeral instance is not deleted by that.
            **options: ``aliases``, ``reuse``, ``properties``, ``public``, ``expires_at``, ``compression_algorithm``,
                ``format``, ``profiles`` and ``progress``: see `PublishOptions`.

        Raises:
            IncusInputError: The instance is running, and ``force`` is not set; or an option is invalid.
            IncusNotFoundError: There is no such instance.
            IncusConflictError: One of the aliases exists; nothing was done.
            IncusUnsupportedError: The server lacks the extension for ``format``.
            IncusOperationError: The image could not be made, or the instance could not be started again.

        API:
            ``POST /1.0/images``; with ``force`` also ``PUT /1.0/instances/{name}/state``. Extension
            ``instance_publish_split`` for ``format``.
        """
        if not force and (await self.refresh()).status not in NOT_RUNNING:
            raise IncusInputError(f"{self.name} is {self.status}: stop it first, or publish it with force=True")
        source: models.ImagesPostSource = {"type": "instance", "name": self._path[-1]}
        return await _publish(self, source, options, self._while_stopped(force=True) if force else None)

    async def rebuild(
        self,
        source: models.InstanceSource | Mapping[str, Any] | str,
        *,
        force: bool = False,
        progress: OnProgress | None = None,
    ) -> None:
        """Replace the root disk of the instance; its configuration is kept.

        Args:
            source: The name of an image (see `ImagesAPI.resolve`); or a source of the API:
                ``{"type": "image", "alias": "busybox"}``, or ``{"type": "none"}`` for an empty disk.
            force: Stop the instance at once if it runs, and start it again afterwards, also if this fails or is
                cancelled. An ephemeral instance is not deleted by that.
            progress: Called with how far the server's download and unpacking are.

        Raises:
            IncusNotFoundError: There is no such instance, or no image of that name.
            IncusAPIError: It is running, and ``force`` is not set.
            IncusOperationError: It could not be rebuilt, or not be started again.

        API:
            ``POST /1.0/instances/{name}/rebuild``; with ``force`` also ``PUT /1.0/instances/{name}/state``
        """
        from .images import ImagesAPI

        image: Json = dict(await ImagesAPI(self._scope).resolve(source)) if isinstance(source, str) else to_body(source)
        async with self._while_stopped(force=True) if force else nullcontext():
            await self._perform("POST", "rebuild", body={"source": image}, progress=progress)


class SnapshotImageVerbs(Resource):
    """The verb from a snapshot of an instance to an image."""

    @known_options(PublishOptions)
    async def publish(self, **options: Unpack[PublishOptions]) -> Image:
        """Make an image of the snapshot, and return it, read; the instance can be running.

        If this fails or is cancelled, nothing remains of the image, and an alias leads where it led.

        Args:
            **options: ``aliases``, ``reuse``, ``properties``, ``public``, ``expires_at``, ``compression_algorithm``,
                ``format``, ``profiles`` and ``progress``: see `PublishOptions`.

        Raises:
            IncusInputError: An option is invalid.
            IncusNotFoundError: There is no such snapshot.
            IncusConflictError: One of the aliases exists; nothing was done.
            IncusUnsupportedError: The server lacks the extension for ``format``.
            IncusOperationError: The image could not be made.

        API:
            ``POST /1.0/images``. Extension ``instance_publish_split`` for ``format``.
        """
        _, instance, _, _ = self._path
        source: models.ImagesPostSource = {"type": "snapshot", "name": f"{instance}/{self._json[self.KEY]}"}
        return await or_missing(_publish(self, source, options), self._read_with_etag)


class Publishes:
    """`ImageVerbs` by name."""

    @known_options(PublishOptions)
    async def publish(
        self: Keyed[ImageVerbs], name: str, *, force: bool = False, **options: Unpack[PublishOptions]
    ) -> Image:
        """Make an image of an instance, and return it, read: see `Instance.publish`.

        Args:
            name: The instance.
            force: Stop the instance at once if it runs, and start it again as soon as the image is there, also if this
                fails or is cancelled. An ephemeral instance is not deleted by that.
            **options: ``aliases``, ``reuse``, ``properties``, ``public``, ``expires_at``, ``compression_algorithm``,
                ``format``, ``profiles`` and ``progress``: see `PublishOptions`.

        Raises:
            IncusInputError: The instance is running, and ``force`` is not set; or an option is invalid.
            IncusNotFoundError: There is no such instance.
            IncusConflictError: One of the aliases exists; nothing was done.
            IncusUnsupportedError: The server lacks the extension for ``format``.
            IncusOperationError: The image could not be made, or the instance could not be started again.

        API:
            ``POST /1.0/images``; with ``force`` also ``PUT /1.0/instances/{name}/state``. Extension
            ``instance_publish_split`` for ``format``.
        """
        return await self[name].publish(force=force, **options)


async def _publish(
    resource: Resource,
    source: models.ImagesPostSource,
    options: PublishOptions,
    during: AbstractAsyncContextManager[object] | None = None,
) -> Image:
    from .images import ImagesAPI

    body: Any = {key: value for key, value in options.items() if key not in ("reuse", "progress")} | {"source": source}
    body["aliases"] = [{"name": name} for name in wire.texts(options.get("aliases", ()), "aliases")]
    images, reuse, progress = ImagesAPI(resource._scope), options.get("reuse", False), options.get("progress")
    return await images._create_from(body, reuse, progress, during)
