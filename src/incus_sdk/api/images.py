"""Images and their aliases."""

from __future__ import annotations

import builtins
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, nullcontext
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, ClassVar, Literal, TypedDict, Unpack, get_args, overload
from urllib.parse import urlencode

from .. import models
from .._atomic import atomic_file, is_same_target
from .._connection import wire
from .._connection.scope import Scoped, scope_of
from .._content import Content, checked_content, iter_content, size_of, with_progress, write_form
from .._migration import Mode, same_server
from ..exceptions import (
    IncusConnectionError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationConflictError,
)
from ..models.base import Json
from ..operations import OnProgress, Operation
from ._bodies import created_secret, to_body
from ._by_key import Edits
from ._creation import create_named
from ._deletion import delete_or_miss
from ._image_aliases import ImageAlias as ImageAlias
from ._image_aliases import ImageAliasesAPI as ImageAliasesAPI
from ._image_aliases import delete_unnamed, give_aliases, require_free, to_aliases
from ._image_copies import copy_image, discard, push_request
from ._image_export import ROOTFS, is_whole_archive, iter_export
from ._image_folders import is_folder, iter_folder
from ._image_names import NamedImage, find_by_fingerprint, is_fingerprint, is_remote_of, known_remotes, remote_source
from ._options import known_options
from .base import Collection, Editable

_DROPPED = {"image": ("expires_at",), "url": ("expires_at", "profiles")}
"""Fields that servers drop from a request to make an image, by the type of its source; of any other, the profiles."""
_OWN_ALIAS = re.compile("Alias already exists: (.+)")  # no request that is waited for has aliases


class ImageUploadOptions(TypedDict, total=False):
    """More options of `ImagesAPI.create`."""

    rootfs: Content
    """The second file of a split image: its root filesystem or disk; the first file is its metadata then."""
    type: Literal["container", "virtual-machine"]
    """Of a split image, a container by default; a unified image says it itself."""
    aliases: Sequence[str]
    reuse: bool
    """Take over aliases that exist; an image that loses its last one so is deleted. Needs ``wait``."""
    profiles: Sequence[str]
    """For instances made from it without naming profiles; Incus 7 adds its ``default`` in the project of that name."""
    fingerprint: str
    """The SHA-256 that the server must find, or the upload fails."""
    progress: OnProgress | None
    """Called with the bytes sent so far, as stage ``upload``."""


class ImagePushOptions(TypedDict, total=False):
    """What an image gets where it is pushed to: see `ImagesAPI.create_push_secret`."""

    aliases: Sequence[models.ImageAlias | models.ImageAliasDict]
    expires_at: str | datetime
    properties: Mapping[str, str]
    public: bool


class Image(NamedImage, models.Image, Editable[models.ImagePut]):
    """An image, named by its fingerprint: the SHA-256 of its content in hex.

    A handle can have an alias or the beginning of the fingerprint, as ``client.images["debian/13"]``; its first request
    finds the whole.
    """

    KEY = "fingerprint"
    _NEVER = "1970-01-01T00:00:00Z"
    _PATCH_IGNORES = frozenset({"expires_at", "profiles"})

    @overload
    async def delete(self, wait: bool = False, *, missing_ok: Literal[False] = False) -> Operation: ...
    @overload
    async def delete(self, wait: bool = False, *, missing_ok: bool) -> Operation | None: ...
    async def delete(self, wait: bool = False, *, missing_ok: bool = False) -> Operation | None:
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
        return await delete_or_miss(self._operate("DELETE", wait=wait), missing_ok, self.exists)

    async def export(
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
        query = {"secret": secret}
        image = self.raw if self._loaded else (await self._request("GET", query=query)).object
        fingerprint, targets = wire.text(image, "fingerprint"), {"metadata": target_path}
        if rootfs_path is not None:
            if is_same_target(target_path, rootfs_path):
                raise IncusInputError(f"a split image is in two files, and both were to be {rootfs_path}")
            targets |= dict.fromkeys(ROOTFS.values(), rootfs_path)
        hash, files = hashlib.sha256(), dict[str, IO[bytes]]()
        with ExitStack() as stack:
            async with self._download("GET", "export", query=query) as stream:
                async for name, piece in iter_export(stream, image.get("size"), progress):
                    if name not in files:
                        if name not in targets:
                            raise IncusInputError("this is a split image, in two files: pass rootfs_path= as well")
                        files[name] = stack.enter_context(atomic_file(targets[name]))
                    hash.update(piece)
                    files[name].write(piece)
            if len(files) > 1 and not is_whole_archive(files["metadata"]):
                raise IncusConnectionError(f"image {fingerprint} came with metadata that are cut or go on")
            # The fingerprint of an OCI image is a hash of the names of its layers.
            if hash.hexdigest() != fingerprint and stream.headers.get("X-Incus-Type") != "oci":
                raise IncusConnectionError(f"image {fingerprint} came with another hash: {hash.hexdigest()}")
        return [Path(targets[name]) for name in files]

    async def copy(
        self,
        to: Scoped,
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

            await client.images["8a5b"].copy(other_client, aliases=["debian/13"])

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
        group, names = ImagesAPI(scope_of(to)), to_aliases([{"name": name} for name in wire.texts(aliases, "aliases")])
        profiles = None if profiles is None else wire.texts(profiles, "profiles")
        if mode not in get_args(Mode):
            raise IncusInputError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
        if await same_server(self._scope, group._scope):
            mode = "relay"
        original = models.Image((await self._read_with_etag())[0])
        if auto_update and (mode != "pull" or not original.public or not original.aliases):
            raise IncusInputError(
                "auto_update needs a public image with an alias, and a copy to another server with mode='pull'"
            )
        if copy_aliases:
            names = to_aliases([*names, *original.aliases])
        if not reuse:
            await require_free(group.aliases, names)
        async with AsyncExitStack() as undo:
            target = await copy_image(
                self, original, group, undo, mode, addresses, public, auto_update, profiles, progress
            )
            left = await give_aliases(group.aliases, target, names, reuse, undo)
            await target.refresh()
            undo.pop_all()
        if left:
            await delete_unnamed(group, left)
        return target

    async def push(
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
        body = {
            "target": target,
            "secret": secret,
            "certificate": certificate,
            "project": project,
            "profiles": wire.texts(profiles, "profiles"),
        }
        await self._perform("POST", "export", body=body, progress=progress)

    async def create_secret(self) -> str:
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
        return created_secret(await self._operate("POST", "secret", wait=False))

    async def refresh_from_source(self, *, progress: OnProgress | None = None) -> bool:
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
        operation = await self._operate("POST", "refresh", progress=progress)
        return bool(operation.metadata.get("refreshed"))


class ImagesAPI(Collection[Image], Edits[models.ImagePut]):
    """``client.images``; the key is an alias, the fingerprint, or enough of its beginning.

    An alias goes before a fingerprint that begins with the same letters.
    """

    _resource, _path_part = Image, "images"
    _urls_quoted = False  # in a list of all projects they do not say which project's image they mean
    _options: ClassVar = {"filter": "api_filtering", "all-projects": "images_all_projects"}

    def _spelling(self, key: str) -> str:
        return key.lower() if is_fingerprint(key) else key

    def _known(self, key: str) -> Json:
        known = super()._known(key)
        return known if is_fingerprint(key) else {"project": known["project"]}

    @property
    def aliases(self) -> ImageAliasesAPI:
        """Names of images."""
        return ImageAliasesAPI(self)

    @overload
    async def create(
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
    async def create(
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
    async def create(
        self,
        image_data: Content,
        filename: str | None = None,
        public: bool = False,
        auto_update: bool = False,
        properties: Mapping[str, str] | None = None,
        wait: bool = False,
        **more: Unpack[ImageUploadOptions],
    ) -> Image | Operation: ...
    @known_options(ImageUploadOptions)
    async def create(
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
                open, or an iterable of bytes, plain or async. Or the path of a folder.
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
        rootfs, kind, reuse = more.get("rootfs"), more.get("type", "container"), more.get("reuse", False)
        if auto_update and not wait:
            raise IncusInputError("auto_update is set on the finished image: pass wait=True as well")
        if reuse and not wait:
            raise IncusInputError("reuse gives the aliases to the finished image: pass wait=True as well")
        if kind not in ROOTFS:
            raise IncusInputError(f"type must be one of {', '.join(ROOTFS)}, not {kind!r}")
        if isinstance(image_data, str | os.PathLike) and is_folder(image_data):
            if rootfs is not None:
                raise IncusInputError("a folder is a whole image: pass no rootfs with it")
            body, total = iter_folder(image_data), None
        else:
            checked_content(image_data, "image_data")
            body, total = iter_content(image_data), size_of(image_data)
        headers = {"Content-Type": "application/octet-stream"}
        if rootfs is not None:
            checked_content(rootfs, "rootfs")
            # The server records the name of the second file.
            files = (("metadata", "metadata", body), (ROOTFS[kind], filename or "rootfs", iter_content(rootfs)))
            headers["Content-Type"], body = write_form(files)
            second = size_of(rootfs)
            total = None if total is None or second is None else total + second
        if filename:
            headers["X-Incus-filename"] = filename
        if public:
            headers["X-Incus-public"] = "true"
        if properties:
            headers["X-Incus-properties"] = _form("properties", wire.config_strings(properties, "properties").items())
        if fingerprint := more.get("fingerprint"):
            headers["X-Incus-fingerprint"] = self._spelling(fingerprint)
        if profiles := wire.texts(more.get("profiles", ()), "profiles"):
            headers["X-Incus-profiles"] = _form("profiles", [("profile", profile) for profile in profiles])
        aliases = to_aliases([{"name": name} for name in wire.texts(more.get("aliases", ()), "aliases")])
        body = with_progress(body, "upload", total, more.get("progress"))
        if not wait:
            if aliases:
                await self._scope.require("image_import_alias", "aliases of an upload")
                await require_free(self.aliases, aliases)
                headers["X-Incus-aliases"] = _form("aliases", [("alias", alias["name"]) for alias in aliases])
            return await self._operate("POST", body=body, headers=headers, wait=False)
        image = await self._create_with_aliases(
            aliases, reuse, body=body, headers=headers, progress=more.get("progress")
        )
        if auto_update:
            await image.update({"auto_update": True})
        return image

    @known_options(models.ImagesPost)
    async def create_from(
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

            await client.images.create_from("images:debian/13")
            await client.images.create_from(source={"type": "instance", "name": "web"}, aliases=[{"name": "web"}])

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
        if name is not None:
            found = await self.resolve(name)
            if "server" not in found or "source" in body:
                raise IncusInputError(f"{name!r} must name another server's image, without source= beside it")
            body["source"] = {**found, "image_type": type}  # type: ignore[typeddict-item]
        source = body.get("source")
        if not isinstance(source, Mapping) or source.get("mode") == "push":
            raise IncusInputError(
                'source must be a mapping, as {"type": "instance", "name": "c1"}; for an image that is pushed here use '
                "create_push_secret()"
            )
        return await self._create_from(body, reuse, progress)

    async def _create_from(
        self,
        body: models.ImagesPost,
        reuse: bool,
        progress: OnProgress | None,
        during: AbstractAsyncContextManager[object] | None = None,
    ) -> Image:
        """`create_from` a ``source``, while ``during``."""
        if "format" in body:
            await self._scope.require("instance_publish_split", "format of a published image")
        aliases = to_aliases(body.get("aliases"))
        fields = {key: value for key, value in to_body(body).items() if key != "aliases"}
        if fields.get("profiles") is not None:
            fields["profiles"] = wire.texts(fields["profiles"], "profiles")
        dropped = _DROPPED.get(str((body.get("source") or {}).get("type")), ("profiles",))
        more = {key: fields[key] for key in dropped if fields.get(key) is not None}
        return await self._create_with_aliases(aliases, reuse, during, more, body=fields, progress=progress)

    async def _create_with_aliases(
        self,
        aliases: Sequence[dict[str, str]],
        reuse: bool,
        during: AbstractAsyncContextManager[object] | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
        **request: Any,
    ) -> Image:
        """Have an image made, and give it aliases and ``more`` fields; failed or cancelled, leave nothing."""
        if not reuse:
            await require_free(self.aliases, aliases)
        async with AsyncExitStack() as undo:
            async with during or nullcontext():
                try:
                    image = await create_named(
                        self, key=_created_fingerprint, remove=_remove_created, undone=undo, **request
                    )
                except IncusOperationConflictError as error:
                    image = await self._find_made_before(error)
            if more:
                await image.update(more)
            left = await give_aliases(self.aliases, image, aliases, reuse, undo)
            if aliases:
                await image.refresh()
            undo.pop_all()
        if left:
            await delete_unnamed(self, left)
        return image

    async def _find_made_before(self, error: IncusOperationConflictError) -> Image:
        """The image that the server had: then it gives it the aliases that it has once more, and fails at the first."""
        own = _OWN_ALIAS.fullmatch(str((error.response or {}).get("err")))
        if own is None:
            raise error
        return await self.get((await self.aliases.get(own[1])).target)

    @known_options(ImagePushOptions)
    async def create_push_secret(self, fingerprint: str, **body: Unpack[ImagePushOptions]) -> str:
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
        to_aliases(body.get("aliases"))
        expected = to_body(body) | push_request(fingerprint)
        return created_secret(await self._operate("POST", body=expected, wait=False))

    async def resolve(self, name: str) -> models.InstanceSource:
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
        if not isinstance(name, str) or not name:
            raise IncusInputError(f"image must be an alias or a fingerprint, not {name!r}")
        prefix, colon, image = name.partition(":")
        remote = known_remotes().get(prefix) if colon else None
        if remote is not None and image and not is_remote_of(self._scope, remote):
            return await remote_source(self._scope, remote, image)
        here = image if remote is not None and image else name
        if await self.aliases.exists(here):
            return {"type": "image", "alias": here}
        try:
            return {"type": "image", "fingerprint": await find_by_fingerprint(self._scope, here)}
        except IncusNotFoundError as error:
            if not colon or remote is not None:
                raise
            raise IncusNotFoundError(f"{error}, and there is no remote {prefix!r}", status_code=404) from None

    async def get(self, name: str, *, secret: str | None = None) -> Image:
        """One image, read.

        Args:
            name: An alias, the fingerprint, or enough of its beginning.
            secret: From `Image.create_secret`, for a client that the server does not trust.

        Raises:
            IncusNotFoundError: There is no such image, or this client cannot see it.

        API:
            ``GET /1.0/images/{fingerprint}``
        """
        return await self[name]._read({"secret": secret})

    @overload
    async def delete(
        self, fingerprint: str, wait: bool = False, *, missing_ok: Literal[False] = False
    ) -> Operation: ...
    @overload
    async def delete(self, fingerprint: str, wait: bool = False, *, missing_ok: bool) -> Operation | None: ...
    async def delete(self, fingerprint: str, wait: bool = False, *, missing_ok: bool = False) -> Operation | None:
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
        return await self[fingerprint].delete(wait, missing_ok=missing_ok)

    async def export(
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
        return await self[fingerprint].export(target_path, rootfs_path, secret=secret, progress=progress)

    # Forwarders that exist only for 1.0.0.

    async def create_alias(self, name: str, target: str, description: str = "") -> ImageAlias:
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
        return await self.aliases.create(name, target=target, description=description)

    async def get_alias(self, name: str) -> ImageAlias:
        """One alias, read.

        Args:
            name: The alias.

        Raises:
            IncusNotFoundError: There is no such alias.

        API:
            ``GET /1.0/images/aliases/{name}``
        """
        return await self.aliases.get(name)

    async def update_alias(self, name: str, target: str | None = None, description: str | None = None) -> None:
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
        change: Json = {"target": target, "description": description}
        await self.aliases.update(name, {key: value for key, value in change.items() if value is not None})

    async def delete_alias(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete an alias, not its image.

        Args:
            name: The alias.
            missing_ok: Accept that there is no such alias.

        Raises:
            IncusNotFoundError: There is no such alias, and ``missing_ok`` is not set.

        API:
            ``DELETE /1.0/images/aliases/{name}``
        """
        await self.aliases.delete(name, missing_ok=missing_ok)


def _form(where: str, pairs: Iterable[tuple[str, str | None]]) -> str:
    """Pairs in a header, without those that are None."""
    try:
        return urlencode([(name, value) for name, value in pairs if value is not None])
    except UnicodeEncodeError as error:
        raise IncusInputError(f"{where} cannot be written in UTF-8: {error}") from None


def _created_fingerprint(operation: Operation) -> str:
    return wire.text(operation.metadata, "fingerprint")


async def _remove_created(image: Image, operation: Operation) -> None:
    if _is_newer(await image._read(), operation.created_at):  # a server can have had it before
        await discard(image)


def _is_newer(image: Image, time: datetime | None) -> bool:
    return bool(time and image.uploaded_at and image.uploaded_at >= time)
