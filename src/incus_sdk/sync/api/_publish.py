"""Instances and images: an instance or a snapshot made into an image, an image put in the place of a root disk.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...api import _publish as _source
from .. import _twin
from ._lifecycle import LifecycleVerbs
from .base import Resource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Unpack

    from ... import models
    from ...api._publish import PublishOptions
    from ...operations import OnProgress
    from ._by_key import Keyed
    from .images import Image


class ImageVerbs(LifecycleVerbs):
    """Verbs between an instance and images."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ImageVerbs: ...

    def publish(self, *, force: bool = False, **options: Unpack[PublishOptions]) -> Image:
        """Make an image of the instance, and return it, read.

            image = instance.publish(aliases=["web"], reuse=True, force=True)

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
        result: Image = self._wrap(self._portal.run(self._async.publish(force=force, **_twin.given_options(options))))
        return result

    def rebuild(
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
        self._portal.run(self._async.rebuild(source, force=force, progress=_twin.posted(progress)))


class SnapshotImageVerbs(Resource):
    """The verb from a snapshot of an instance to an image."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.SnapshotImageVerbs: ...

    def publish(self, **options: Unpack[PublishOptions]) -> Image:
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
        result: Image = self._wrap(self._portal.run(self._async.publish(**_twin.given_options(options))))
        return result


class Publishes(_twin.Twin):
    """`ImageVerbs` by name."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...

    def publish(self: Keyed[ImageVerbs], name: str, *, force: bool = False, **options: Unpack[PublishOptions]) -> Image:
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
        result: Image = self._wrap(
            self._portal.run(self._async.publish(name, force=force, **_twin.given_options(options)))
        )
        return result
