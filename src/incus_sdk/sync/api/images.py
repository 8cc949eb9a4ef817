"""Images and their aliases.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from ... import models
from ...api import images as _source
from ...api.images import ImagePushOptions as ImagePushOptions
from ...api.images import ImageUploadOptions as ImageUploadOptions
from .. import _twin
from ._by_key import Edits
from ._image_aliases import ImageAlias as ImageAlias
from ._image_aliases import ImageAliasesAPI as ImageAliasesAPI
from ._image_names import NamedImage
from .base import Collection, Editable

if TYPE_CHECKING:
    import builtins
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Literal, Unpack

    from ..._content import Content
    from ..._migration import Mode
    from ...operations import OnProgress
    from ..operations import Operation


class Image(NamedImage, models.Image, Editable[models.ImagePut]):
    """An image, named by its fingerprint: the SHA-256 of its content in hex.

    A handle can have an alias or the beginning of the fingerprint, as ``client.images["debian/13"]``; its first request
    finds the whole.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Image: ...

    KEY = _source.Image.KEY

    @overload
    def delete(self, wait: bool = False, *, missing_ok: Literal[False] = False) -> Operation: ...
    @overload
    def delete(self, wait: bool = False, *, missing_ok: bool) -> Operation | None: ...
    def delete(self, wait: bool = False, *, missing_ok: bool = False) -> Operation | None:
        """Delete the image.

        Args:
            wait: Wait until it is gone.
            missing_ok: Accept that there is no such image.

        Returns:
            The operation; with ``wait`` as it ended. None if there is no such image.

        Raises:
            IncusNotFoundError: There is no such image, and ``missing_ok`` is not set.
            IncusOperationError: With ``wait``: it could not be deleted.

        API:
            ``DELETE /1.0/images/{fingerprint}``
        """
        held: Any = self._async
        result: Operation | None = self._wrap(self._portal.run(held.delete(wait, missing_ok=missing_ok)))
        return result

    def export(
        self,
        target_path: str | os.PathLike[str],
        rootfs_path: str | os.PathLike[str] | None = None,
        *,
        secret: str | None = None,
        progress: OnProgress | None = None,
    ) -> list[Path]:
        """Write the image to a file, or to two if it is split, and check its hash.

        It is streamed. The files appear once they are complete; after an error nothing has changed.

        Args:
            target_path: The file for a unified image, or for the metadata of a split one.
            rootfs_path: The file for the root filesystem or disk of a split image; not written for a unified one.
            secret: From `create_secret`, for a client that the server does not trust.
            progress: Called with the bytes received so far, as stage ``download``.

        Returns:
            The files that were written.

        Raises:
            IncusInputError: A file cannot be written, or the image is split and has no ``rootfs_path``.
            IncusNotFoundError: There is no such image, or this client cannot see it.
            IncusConnectionError: The image came damaged or cut off, or as other files than it has.

        API:
            ``GET /1.0/images/{fingerprint}`` and ``GET /1.0/images/{fingerprint}/export``
        """
        return self._portal.run(
            self._async.export(target_path, rootfs_path, secret=secret, progress=_twin.posted(progress))
        )

    def copy(
        self,
        to: _twin.Scoped,
        *,
        aliases: Sequence[str] = (),
        copy_aliases: bool = False,
        reuse: bool = False,
        profiles: Sequence[str] | None = None,
        mode: Mode = "pull",
        addresses: Sequence[str] | None = None,
        public: bool = False,
        auto_update: bool = False,
        progress: OnProgress | None = None,
    ) -> Image:
        """Copy the image to another server or project.

            client.images["8a5b"].copy(other_client, aliases=["debian/13"])

        An image that is already there stays unchanged, and only gets the aliases. A copy that fails or is cancelled
        leaves nothing behind: what a server cannot be stopped from is waited for, and removed.

        Args:
            to: A client of the other server, or a view of the other project.
            aliases: Its aliases there.
            copy_aliases: Give it the aliases that it has here as well.
            reuse: Take over aliases that exist there; an image that loses its last one so is deleted.
            profiles: Profiles there, for instances made from it without naming profiles; None for the server's default.
            mode: ``pull``: the other server connects to this one. ``push``: this one connects to the other. ``relay``:
                neither can, and the content goes through this program, which is also how projects of one server copy.
            addresses: Where the server that is connected to is reached, as ``https://host:8443``, tried in turn; None
                for those that it reports itself.
            public: Let anybody who reaches the other server download it.
            auto_update: Let the copy follow the first alias that the image has here; for a public image, by ``pull``.
            progress: Called with the progress of the server; with ``relay`` in bytes, as stage ``relay``.

        Returns:
            The copy, read.

        Raises:
            IncusInputError: An argument is invalid, ``auto_update`` is not possible, or the server to connect to has
                no address.
            IncusNotFoundError: There is no such image.
            IncusConflictError: One of the aliases exists there.
            IncusOperationError: The copy failed.

        API:
            ``POST /1.0/images`` there; here ``POST /1.0/images/{fingerprint}/secret``,
            ``POST /1.0/images/{fingerprint}/export`` or ``GET /1.0/images/{fingerprint}/export``
        """
        result: Image = self._wrap(
            self._portal.run(
                self._async.copy(
                    _twin.used(to),
                    aliases=aliases,
                    copy_aliases=copy_aliases,
                    reuse=reuse,
                    profiles=profiles,
                    mode=mode,
                    addresses=addresses,
                    public=public,
                    auto_update=auto_update,
                    progress=_twin.posted(progress),
                )
            )
        )
        return result

    def push(
        self,
        target: str,
        secret: str,
        *,
        certificate: str = "",
        project: str = "",
        profiles: Sequence[str] = (),
        progress: OnProgress | None = None,
    ) -> None:
        """Have the server send the image to another server, and wait until it is there.

        Args:
            target: The URL of the other server, as this one reaches it.
            secret: From `ImagesAPI.create_push_secret` of the other server.
            certificate: The other server's certificate, in PEM; empty if an authority vouches for it.
            project: The project there; empty for the default one.
            profiles: Profiles there, for instances made from the image without naming profiles.
            progress: Called with the progress of the server.

        Raises:
            IncusNotFoundError: There is no such image.
            IncusOperationError: The other server was not reached, or refused the image.

        API:
            ``POST /1.0/images/{fingerprint}/export``
        """
        self._portal.run(
            self._async.push(
                target,
                secret,
                certificate=certificate,
                project=project,
                profiles=profiles,
                progress=_twin.posted(progress),
            )
        )

    def create_secret(self) -> str:
        """Issue a secret with which a client or server that this one does not trust can download the image, once.

        `ImagesAPI.get` and `export` take it, and so does the ``source`` of an image or an instance on another server.
        It stays valid for a few seconds after its first use.

        Returns:
            The secret.

        Raises:
            IncusNotFoundError: There is no such image.

        API:
            ``POST /1.0/images/{fingerprint}/secret``
        """
        return self._portal.run(self._async.create_secret())

    def refresh_from_source(self, *, progress: OnProgress | None = None) -> bool:
        """Have the server look for a newer build on the server where the image came from.

        A newer build takes the place of this image, whose aliases then lead to it.

        Args:
            progress: Called with the progress of the server.

        Returns:
            Whether there was a newer build.

        Raises:
            IncusNotFoundError: There is no such image.
            IncusOperationError: The image did not come from a server, or that one was not reached.

        API:
            ``POST /1.0/images/{fingerprint}/refresh``
        """
        return self._portal.run(self._async.refresh_from_source(progress=_twin.posted(progress)))


class ImagesAPI(Collection[Image], Edits[models.ImagePut]):
    """``client.images``; the key is an alias, the fingerprint, or enough of its beginning.

    An alias goes before a fingerprint that begins with the same letters.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ImagesAPI: ...

    @property
    def aliases(self) -> ImageAliasesAPI:
        """Names of images."""
        result: ImageAliasesAPI = self._wrap(self._async.aliases)
        return result

    @overload
    def create(
        self,
        image_data: Content,
        filename: str | None = None,
        public: bool = False,
        auto_update: bool = False,
        properties: Mapping[str, str] | None = None,
        wait: Literal[False] = False,
        **more: Unpack[ImageUploadOptions],
    ) -> Operation: ...
    @overload
    def create(
        self,
        image_data: Content,
        filename: str | None = None,
        public: bool = False,
        auto_update: bool = False,
        properties: Mapping[str, str] | None = None,
        *,
        wait: Literal[True],
        **more: Unpack[ImageUploadOptions],
    ) -> Image: ...
    @overload
    def create(
        self,
        image_data: Content,
        filename: str | None = None,
        public: bool = False,
        auto_update: bool = False,
        properties: Mapping[str, str] | None = None,
        wait: bool = False,
        **more: Unpack[ImageUploadOptions],
    ) -> Image | Operation: ...
    def create(
        self,
        image_data: Content,
        filename: str | None = None,
        public: bool = False,
        auto_update: bool = False,
        properties: Mapping[str, str] | None = None,
        wait: bool = False,
        **more: Unpack[ImageUploadOptions],
    ) -> Image | Operation:
        """Upload an image, unified or, with ``rootfs``, split; in constant memory.

        A folder has ``metadata.yaml``, ``rootfs`` and perhaps ``templates``. ``tar`` packs it, which only root can do.

        Args:
            image_data: The image, or the metadata of a split one: the path of a file, its bytes, a binary file that is
                open, or an iterable of bytes. Or the path of a folder.
            filename: The name of the file that the server records.
            public: Let anybody who reaches the server download it.
            auto_update: Have the server look for newer builds; needs ``wait``, as it is set on the finished image.
            properties: Properties on top of those that the image brings.
            wait: Wait until the image is there.
            **more: ``rootfs``, ``type``, ``aliases``, ``reuse``, ``profiles``, ``fingerprint`` and ``progress``: see
                `ImageUploadOptions`.

        Returns:
            With ``wait`` the image, read; else the operation.

        Raises:
            IncusInputError: An argument is invalid, a file cannot be read, or ``auto_update`` or ``reuse`` is without
                ``wait``.
            IncusConflictError: One of the aliases exists; nothing was sent.
            IncusUnsupportedError: Without ``wait``: the server lacks ``image_import_alias`` for ``aliases``.
            IncusOperationError: With ``wait``: the server has the image already, cannot read it, or finds another
                fingerprint.

        API:
            ``POST /1.0/images``
        """
        held: Any = self._async
        result: Image | Operation = self._wrap(
            self._portal.run(
                held.create(
                    _twin.given_content(image_data),
                    filename,
                    public,
                    auto_update,
                    properties,
                    wait,
                    **_twin.given_options(more),
                )
            )
        )
        return result

    def create_from(
        self,
        name: str | None = None,
        /,
        *,
        type: Literal["container", "virtual-machine"] = "container",
        reuse: bool = False,
        progress: OnProgress | None = None,
        **body: Unpack[models.ImagesPost],
    ) -> Image:
        """Have the server make an image: from another server's, an instance, a snapshot or a URL.

            client.images.create_from("images:debian/13")
            client.images.create_from(source={"type": "instance", "name": "web"}, aliases=[{"name": "web"}])

        A ``source`` of ``{"type": "instance", "name": "c1"}`` or ``{"type": "snapshot", "name": "c1/snap0"}`` publishes
        that, ``{"type": "image", "server": "https://...", "alias": "debian/13"}`` copies another server's image, and
        ``{"type": "url", "url": "https://..."}`` downloads the file that this URL names in its headers
        ``Incus-Image-URL`` and ``Incus-Image-Hash``. An image that the server has is not downloaded again. If it is
        cancelled, nothing remains of a new image.

        Args:
            name: An image on another server, as ``images:debian/13``; see `resolve`. None with a ``source``.
            type: Which image is meant where ``name`` stands for both.
            reuse: Take over aliases that exist; an image that loses its last one so is deleted.
            progress: Called with the progress of the server, packing or downloading.
            **body: ``source`` in the place of ``name``, and ``aliases``, ``public``, ``properties`` and the like: see
                `ImagesPost`.

        Returns:
            The image, read, once it is there.

        Raises:
            IncusInputError: There is neither a valid name nor a valid ``source``, or both.
            IncusNotFoundError: The server has no image of that name, and there is no such remote.
            IncusConflictError: One of the aliases exists; nothing was sent.
            IncusUnsupportedError: The server lacks the extension for ``format`` or for OCI images.
            IncusOperationError: The image could not be made.

        API:
            ``POST /1.0/images``. Extension ``instance_publish_split`` for ``format``.
        """
        result: Image = self._wrap(
            self._portal.run(
                self._async.create_from(name, type=type, reuse=reuse, progress=_twin.posted(progress), **body)
            )
        )
        return result

    def create_push_secret(self, fingerprint: str, **body: Unpack[ImagePushOptions]) -> str:
        """Issue a secret with which another server can push an image here, once: see `Image.push`.

        Args:
            fingerprint: The full fingerprint of that image.
            **body: What the image gets here, as none of it comes with the content: ``aliases``, ``expires_at``,
                ``properties`` and ``public``.

        Returns:
            The secret.

        Raises:
            IncusInputError: ``aliases`` are not objects with a name.

        API:
            ``POST /1.0/images``
        """
        return self._portal.run(self._async.create_push_secret(fingerprint, **body))

    def resolve(self, name: str) -> models.InstanceSource:
        """Find the image of a name, as the ``source`` of an instance.

        An image of another server is downloaded by this server, once something is made of it. Only an Incus server that
        is not public is asked before, with the client's certificate, for a secret that opens the image once.

        Args:
            name: An alias of this server, or a fingerprint or enough of its beginning. Or ``remote:name``, with a
                remote of the ``incus`` command's configuration: a server of simplestreams, as ``images:debian/13``; an
                Incus server; or a registry of OCI images, as ``docker:nginx``.

        Raises:
            IncusInputError: ``name`` is empty or not a str.
            IncusNotFoundError: The server has no such image, and there is no such remote.
            IncusUnsupportedError: The server lacks the extension for OCI images.

        API:
            ``GET /1.0/images/aliases/{name}`` and ``GET /1.0/images/{fingerprint}``, there
            ``POST /1.0/images/{fingerprint}/secret`` as well. Extension ``instance_oci`` for OCI images.
        """
        return self._portal.run(self._async.resolve(name))

    def get(self, name: str, *, secret: str | None = None) -> Image:
        """One image, read.

        Args:
            name: An alias, the fingerprint, or enough of its beginning.
            secret: From `Image.create_secret`, for a client that the server does not trust.

        Raises:
            IncusNotFoundError: There is no such image, or this client cannot see it.

        API:
            ``GET /1.0/images/{fingerprint}``
        """
        result: Image = self._wrap(self._portal.run(self._async.get(name, secret=secret)))
        return result

    @overload
    def delete(self, fingerprint: str, wait: bool = False, *, missing_ok: Literal[False] = False) -> Operation: ...
    @overload
    def delete(self, fingerprint: str, wait: bool = False, *, missing_ok: bool) -> Operation | None: ...
    def delete(self, fingerprint: str, wait: bool = False, *, missing_ok: bool = False) -> Operation | None:
        """Delete an image.

        Args:
            fingerprint: An alias, the fingerprint, or enough of its beginning.
            wait: Wait until it is gone.
            missing_ok: Accept that there is no such image.

        Returns:
            The operation; with ``wait`` as it ended. None if there is no such image.

        Raises:
            IncusNotFoundError: There is no such image, and ``missing_ok`` is not set.
            IncusOperationError: With ``wait``: it could not be deleted.

        API:
            ``DELETE /1.0/images/{fingerprint}``
        """
        held: Any = self._async
        result: Operation | None = self._wrap(self._portal.run(held.delete(fingerprint, wait, missing_ok=missing_ok)))
        return result

    def export(
        self,
        fingerprint: str,
        target_path: str | os.PathLike[str],
        rootfs_path: str | os.PathLike[str] | None = None,
        *,
        secret: str | None = None,
        progress: OnProgress | None = None,
    ) -> builtins.list[Path]:
        """Write an image to a file, or to two if it is split, and check its hash.

        It is streamed. The files appear once they are complete; after an error nothing has changed.

        Args:
            fingerprint: An alias, the fingerprint, or enough of its beginning.
            target_path: The file for a unified image, or for the metadata of a split one.
            rootfs_path: The file for the root filesystem or disk of a split image; not written for a unified one.
            secret: From `Image.create_secret`, for a client that the server does not trust.
            progress: Called with the bytes received so far, as stage ``download``.

        Returns:
            The files that were written.

        Raises:
            IncusInputError: A file cannot be written, or the image is split and has no ``rootfs_path``.
            IncusNotFoundError: There is no such image, or this client cannot see it.
            IncusConnectionError: The image came damaged or cut off, or as other files than it has.

        API:
            ``GET /1.0/images/{fingerprint}`` and ``GET /1.0/images/{fingerprint}/export``
        """
        return self._portal.run(
            self._async.export(fingerprint, target_path, rootfs_path, secret=secret, progress=_twin.posted(progress))
        )

    def create_alias(self, name: str, target: str, description: str = "") -> ImageAlias:
        """Give an image an alias: see `ImageAliasesAPI.create`.

        Args:
            name: The alias, as ``debian/13``.
            target: The full fingerprint of the image.
            description: A text for people.

        Returns:
            The alias, read.

        Raises:
            IncusConflictError: The alias exists.

        API:
            ``POST /1.0/images/aliases``
        """
        result: ImageAlias = self._wrap(self._portal.run(self._async.create_alias(name, target, description)))
        return result

    def get_alias(self, name: str) -> ImageAlias:
        """One alias, read.

        Args:
            name: The alias.

        Raises:
            IncusNotFoundError: There is no such alias.

        API:
            ``GET /1.0/images/aliases/{name}``
        """
        result: ImageAlias = self._wrap(self._portal.run(self._async.get_alias(name)))
        return result

    def update_alias(self, name: str, target: str | None = None, description: str | None = None) -> None:
        """Change the image of an alias, or its description: see `Updatable.update`.

        Args:
            name: The alias.
            target: The full fingerprint of the new image; None keeps the image.
            description: The new description; None keeps it.

        Raises:
            IncusNotFoundError: There is no such alias.

        API:
            ``GET`` and ``PUT /1.0/images/aliases/{name}``
        """
        self._portal.run(self._async.update_alias(name, target, description))

    def delete_alias(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete an alias, not its image.

        Args:
            name: The alias.
            missing_ok: Accept that there is no such alias.

        Raises:
            IncusNotFoundError: There is no such alias, and ``missing_ok`` is not set.

        API:
            ``DELETE /1.0/images/aliases/{name}``
        """
        self._portal.run(self._async.delete_alias(name, missing_ok=missing_ok))
