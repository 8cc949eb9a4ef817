"""Simplestreams servers, such as images.linuxcontainers.org: list their images, and download them.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import simplestreams as _source
from ..simplestreams import _MAX_AGE
from . import _twin

if TYPE_CHECKING:
    import builtins
    import os
    from pathlib import Path
    from typing import Literal

    from .. import models
    from ..operations import OnProgress


class SimpleStreams(_twin.Twin):
    """A simplestreams server. It keeps no connection open.

        server = SimpleStreams("https://images.linuxcontainers.org")
        image = server.resolve("debian/13")
        print(image.fingerprint, image.created_at, image.size)

    Args:
        url: ``https://host``, with a path if there is one.
        server_cert: The server's own certificate (PEM, text or path), then the only one accepted; None lets the
            system's authorities decide.
        timeout: Seconds to connect, and to the first byte; None for no limit.
        max_age: Seconds for which the list of images counts as current.

    Raises:
        IncusInputError: The URL, ``server_cert`` or a time is invalid.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.SimpleStreams: ...

    @property
    def url(self) -> str:
        """The server's address."""
        value: str = self._wrap(self._async.url)
        return value

    def __init__(
        self,
        url: str,
        *,
        server_cert: str | os.PathLike[str] | None = None,
        timeout: float | None = 30,
        max_age: float = _MAX_AGE,
    ) -> None:
        self._begin(_source.SimpleStreams(url, server_cert=server_cert, timeout=timeout, max_age=max_age))

    def list(
        self,
        *words: str,
        architecture: str | None = None,
        type: Literal["container", "virtual-machine"] | None = None,
        fresh: bool = False,
    ) -> builtins.list[models.Image]:
        """List the images, the newest first.

        Args:
            *words: Words that must all occur, in any case: in an alias, in a property or at the beginning of the
                fingerprint.
            architecture: As Incus calls it, ``x86_64`` or ``aarch64``; None for all.
            type: The kind of image; None for both.
            fresh: Ask the server even if the list is current.

        Returns:
            The images; an alias is only on the newest image that has it.

        Raises:
            IncusConnectionError: The server cannot be reached, or is not a simplestreams server.

        API:
            ``GET streams/v1/index.json`` of the server, and what that names.
        """
        return self._portal.run(self._async.list(*words, architecture=architecture, type=type, fresh=fresh))

    def resolve(
        self, name: str, *, architecture: str | None = None, type: Literal["container", "virtual-machine"] = "container"
    ) -> models.Image:
        """Find an image by name: the newest one with that alias, or the one with that fingerprint.

        Args:
            name: An alias, or a fingerprint or its first characters, at least 12.
            architecture: As Incus calls it, ``x86_64`` or ``aarch64``; None for this machine's.
            type: The kind of image.

        Raises:
            IncusInputError: ``name`` is no str.
            IncusNotFoundError: There is no such image.
            IncusConnectionError: The server cannot be reached, or is not a simplestreams server.
        """
        return self._portal.run(self._async.resolve(name, architecture=architecture, type=type))

    def download(
        self,
        image: models.Image,
        target_path: str | os.PathLike[str],
        rootfs_path: str | os.PathLike[str] | None = None,
        *,
        progress: OnProgress | None = None,
    ) -> builtins.list[Path]:
        """Download an image to one file, or a split image to two, and check its hash.

        The files appear when they are complete, or not at all. `ImagesAPI.create` uploads them.

        Args:
            image: An image from `list` or `resolve`.
            target_path: The file to write: a unified image, or the metadata of a split one.
            rootfs_path: The file for the root filesystem or disk of a split image; not written for a unified one.
            progress: Called with the bytes that have come; its stage is ``download``.

        Returns:
            The files that were written.

        Raises:
            IncusNotFoundError: The server does not have the image.
            IncusInputError: A file cannot be written, the image is split and ``rootfs_path`` is missing, or ``image``
                is only a name.
            IncusConnectionError: The image arrived damaged or was cut off.
        """
        return self._portal.run(
            self._async.download(_twin.plain(image), target_path, rootfs_path, progress=_twin.posted(progress))
        )
