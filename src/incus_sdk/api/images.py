"""Images and their aliases."""

from __future__ import annotations

import builtins
import hashlib
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, TypedDict, Unpack, get_args, overload
from urllib.parse import urlencode

from .. import models
from .._atomic import atomic_file
from .._concurrency import attempts, shielded
from .._connection import wire
from .._connection.config import ClientConfig, Remote
from .._connection.connecting import make_transport
from .._connection.endpoint import Endpoint
from .._connection.scope import Scope, Scoped, scope_of
from .._connection.transport import Stream
from .._content import Content, checked_content, iter_content, read_form, size_of, with_progress, write_form
from .._migration import Mode, addresses_of, in_turn, same_server
from ..exceptions import IncusAPIError, IncusConnectionError, IncusInputError, IncusNotFoundError
from ..models.base import Json
from ..operations import OnProgress, Operation, create_or_undo, pending_operation
from ._bodies import to_body
from .base import AtPath, Collection, Deletable, Deletes, Editable, Edits, Renamable, Renames

_ROOTFS = {"container": "rootfs", "virtual-machine": "rootfs.img"}
"""What the second part of an image in two files is called."""
_BUILT_IN = {"docker": Remote("docker", ("https://docker.io",), protocol="oci", public=True)}
"""Remotes on top of those of the ``incus`` command, which may mean another by the name."""
_LOOKS = 5  # for the image of a download that was cancelled too late
_UNREACHABLE = re.compile(r"\b(dial|x509|tls|connection refused|no route to host|i/o timeout)\b", re.IGNORECASE)
"""What a server says of another one that it cannot connect to."""


class ImageUploadOptions(TypedDict, total=False):
    """What else `ImagesAPI.create` takes."""

    rootfs: Content
    """The second file of an image in two: its root filesystem or disk; the first is its metadata then."""
    type: Literal["container", "virtual-machine"]
    """Of an image in two files; one file says so itself. A container by default."""
    aliases: Sequence[str]
    profiles: Sequence[str]
    """For instances made from it without naming profiles; Incus 7 adds its ``default`` in the project of that name."""
    fingerprint: str
    """What the server is to find as its SHA-256; the upload fails if it does not."""
    progress: OnProgress | None
    """Told how much was sent, in bytes, as stage ``upload``."""


class ImagePushOptions(TypedDict, total=False):
    """What an image gets where it is pushed to: see `ImagesAPI.create_push_secret`."""

    aliases: Sequence[models.ImageAlias | models.ImageAliasDict]
    expires_at: str | datetime
    properties: Mapping[str, str]
    public: bool


class ImageAlias(models.ImageAliasesEntry, Editable[models.ImageAliasesEntryPut], Renamable, Deletable):
    """A name for an image."""


class ImageAliasesAPI(Collection[ImageAlias], Edits[models.ImageAliasesEntryPut], Renames, Deletes):
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
        return await self._operate("DELETE", wait=wait)

    async def export(
        self,
        target_path: str | os.PathLike[str],
        rootfs_path: str | os.PathLike[str] | None = None,
        *,
        secret: str | None = None,
        progress: OnProgress | None = None,
    ) -> list[Path]:
        """Write it to a file, or to two, streamed, its hash checked; returns the files that were written.

        ``rootfs_path``: for the root filesystem or disk of an image in two files, the first being its metadata then;
        not written for an image in one. ``secret``: of `create_secret`, for a client that the server does not trust.
        ``progress``: told how much has come, in bytes, as stage ``download``.

        The files are there only when they are whole. Raises `IncusConnectionError` for an image that came damaged or
        cut off, `IncusInputError` for a file that cannot be written, or an image in two files where one was named.

        ``GET /1.0/images/{fingerprint}/export``.
        """
        query = {"secret": secret}
        image = self.raw if self._loaded else (await self._request("GET", query=query)).metadata
        targets = {"metadata": target_path}
        if rootfs_path is not None:
            targets |= dict.fromkeys(_ROOTFS.values(), rootfs_path)
        hash, files = hashlib.sha256(), dict[str, IO[bytes]]()
        with ExitStack() as stack:
            async with self._download("GET", "export", query=query) as stream:
                async for name, piece in _read_export(stream, image.get("size"), progress):
                    if name not in files:
                        if name not in targets:
                            raise IncusInputError("this image is in two files: name one for its rootfs_path as well")
                        files[name] = stack.enter_context(atomic_file(targets[name]))
                    hash.update(piece)
                    files[name].write(piece)
            # An OCI image is named by a hash of what its layers are called.
            if hash.hexdigest() != image["fingerprint"] and stream.headers.get("X-Incus-Type") != "oci":
                raise IncusConnectionError(f"image {image['fingerprint']} came with another hash: {hash.hexdigest()}")
        return [Path(targets[name]) for name in files]

    async def copy(
        self,
        to: Scoped,
        *,
        aliases: Sequence[str] = (),
        copy_aliases: bool = False,
        mode: Mode = "pull",
        addresses: Sequence[str] | None = None,
        public: bool = False,
        auto_update: bool = False,
        progress: OnProgress | None = None,
    ) -> Image:
        """Copy it to another server, or to another project; returns the copy, read.

            await client.images["8a5b"].copy(other_client, aliases=["debian/13"])

        ``aliases``: names for it there; ``copy_aliases``: those that it has here as well. ``mode``: ``pull``, the other
        server connects to this one; ``push``, the other way round; ``relay``, neither can, and all goes through this
        program, as it does between projects of one server. ``addresses``: of the server that is connected to, as
        ``https://host:8443``, tried in turn; None: as it says itself. ``public``: anybody who reaches the other server
        may get it. ``auto_update``: it follows its first alias here; for a public image, pulled. ``progress``: told how
        far it is, of a relay in bytes, as stage ``relay``.

        An image that is there already stays as it is, but for the aliases. Raises `IncusOperationError` if it fails,
        `IncusConflictError` for an alias that is taken. Failed or cancelled, it leaves nothing: what a server cannot be
        stopped from is waited for, and removed.

        ``POST /1.0/images``; here ``POST /1.0/images/{fingerprint}/secret``, ``POST /1.0/images/{fingerprint}/export``
        or ``GET /1.0/images/{fingerprint}/export``.
        """
        group, names = ImagesAPI(scope_of(to)), [{"name": name} for name in wire.texts(aliases, "aliases")]
        if mode not in get_args(Mode):
            raise IncusInputError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
        if await same_server(self._scope, group._scope):
            mode = "relay"
        original = models.Image((await self._read_with_etag())[0])
        if auto_update and (mode != "pull" or not original.public or not original.aliases):
            raise IncusInputError("auto_update is for an image that is public, has an alias, and is pulled by a server")
        if copy_aliases:
            names = [*(alias.raw for alias in original.aliases), *names]
        target = group[original.fingerprint]
        async with AsyncExitStack() as undo:
            if not await target.exists():
                copying = _Copying(self, original, target, undo, progress)
                if mode == "relay":
                    target = await copying.relayed()
                elif mode == "push":
                    target = await copying.pushed(await addresses_of(group._scope, mode, addresses))
                else:
                    target = await copying.pulled(await addresses_of(self._scope, mode, addresses), auto_update)
                await target._take_over(original, public, auto_update)
            for alias in names:
                made = await group.aliases.create(
                    alias["name"], target=target.fingerprint, description=alias.get("description") or ""
                )
                undo.push_async_callback(_delete, made)
            await target.refresh()
            undo.pop_all()
        return target

    async def _take_over(self, original: models.Image, public: bool, auto_update: bool) -> None:
        """Take over what does not come with the content, or not in each way."""
        await self.refresh()
        body = {key: original.raw.get(key) for key in ("expires_at", "properties")}
        body |= {"public": public, "auto_update": auto_update}
        if body != {key: self.raw.get(key) for key in body}:
            await self.replace({**body, "profiles": self.profiles}, self.etag)

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
        """Have the server send it to another server, and wait. ``POST /1.0/images/{fingerprint}/export``.

        ``target``: the other server's URL, as this one reaches it. ``secret``: of its `ImagesAPI.create_push_secret`.
        ``certificate``: its own, in PEM, where no authority vouches for it. ``project``, ``profiles``: over there.
        """
        body = {
            "target": target,
            "secret": secret,
            "certificate": certificate,
            "project": project,
            "profiles": wire.texts(profiles, "profiles"),
        }
        # The server opens the file by the name that it is given: it must be the whole one.
        await (await self._by_full_fingerprint())._perform("POST", "export", body=body, progress=progress)

    async def create_secret(self) -> str:
        """A secret with which a client or server that this one does not trust can get the image, once.

        `ImagesAPI.get` and `export` take it, and the source of an image or an instance on another server. It works for
        a few seconds after its first use. ``POST /1.0/images/{fingerprint}/secret``.
        """
        return _secret(await self._operate("POST", "secret", wait=False))

    async def refresh_from_source(self, *, progress: OnProgress | None = None) -> bool:
        """Have the server look for a newer build where the image came from; whether there was one, which has taken the
        place of this image: its aliases now lead to that one.

        Raises `IncusOperationError` for an image that came from no server. ``POST /1.0/images/{fingerprint}/refresh``.
        """
        operation = await (await self._by_full_fingerprint())._operate("POST", "refresh", progress=progress)
        return bool(operation.metadata.get("refreshed"))

    async def _by_full_fingerprint(self) -> AtPath:
        """This image under its whole fingerprint, where the handle was made from the beginning of it."""
        image = self._json if self._loaded else (await self._read_with_etag())[0]
        return AtPath(self._scope, (*self._path[:-1], image["fingerprint"]))


class ImagesAPI(Collection[Image], Edits[models.ImagePut]):
    """``client.images``; the key is the fingerprint, or enough of its beginning."""

    resource, segment = Image, "images"
    urls_quoted = False  # in a list of all projects they do not say which project's image they mean
    options: ClassVar = {"filter": "api_filtering", "all-projects": "images_all_projects"}

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
        """Upload an image in one file or, with ``rootfs``, in two; with ``wait`` returns it, read.

        ``image_data``, ``rootfs``: their bytes, the `Path` of a file, or an async iterable of bytes; streamed.
        ``filename``: what the server says it was called. ``public``: anybody who reaches the server may get it.
        ``auto_update`` needs ``wait``, since it is set on the finished image. ``properties``: on top of those that it
        brings. For the others see `ImageUploadOptions`.

        Raises `IncusOperationError` if the server has it already, or finds another fingerprint than that given.
        ``POST /1.0/images``.
        """
        rootfs, kind = more.get("rootfs"), more.get("type", "container")
        checked_content(image_data, "image_data")
        if auto_update and not wait:
            raise IncusInputError("auto_update is set on the finished image: pass wait=True as well")
        if kind not in _ROOTFS:
            raise IncusInputError(f"type must be one of {', '.join(_ROOTFS)}, not {kind!r}")
        body, total = iter_content(image_data), size_of(image_data)
        headers = {"Content-Type": "application/octet-stream"}
        if rootfs is not None:
            checked_content(rootfs, "rootfs")
            # The server calls the image what its second file is called.
            files = (("metadata", "metadata", body), (_ROOTFS[kind], filename or "rootfs", iter_content(rootfs)))
            headers["Content-Type"], body = write_form(files)
            second = size_of(rootfs)
            total = None if total is None or second is None else total + second
        if filename:
            headers["X-Incus-filename"] = filename
        if public:
            headers["X-Incus-public"] = "true"
        if properties:
            headers["X-Incus-properties"] = urlencode(properties)
        if fingerprint := more.get("fingerprint"):
            headers["X-Incus-fingerprint"] = fingerprint
        if profiles := wire.texts(more.get("profiles", ()), "profiles"):
            headers["X-Incus-profiles"] = urlencode([("profile", profile) for profile in profiles])
        if aliases := wire.texts(more.get("aliases", ()), "aliases"):
            await self._scope.require("image_import_alias", "aliases of an upload")
            headers["X-Incus-aliases"] = urlencode([("alias", alias) for alias in aliases])
        body = with_progress(body, "upload", total, more.get("progress"))
        operation = await self._operate("POST", body=body, headers=headers, wait=wait)
        if not wait:
            return operation
        image = await self.get(operation.metadata["fingerprint"])
        if auto_update:
            await image.update({"auto_update": True})
        return image

    async def create_from(
        self,
        name: str | None = None,
        /,
        *,
        type: Literal["container", "virtual-machine"] = "container",
        progress: OnProgress | None = None,
        **body: Unpack[models.ImagesPost],
    ) -> Image:
        """Have the server make an image from something; returns it, read, once it is there. ``POST /1.0/images``.

        ``name``: of an image elsewhere, as ``images:debian/13``, and ``type``, which of those that have it; see
        `resolve`. Or ``source``: ``{"type": "instance", "name": "c1"}`` or ``{"type": "snapshot", "name": "c1/snap0"}``
        publishes that, ``{"type": "image", "server": "https://...", "alias": "debian/13"}`` copies another server's,
        ``{"type": "url", "url": "https://..."}`` downloads what that URL names in its headers ``Incus-Image-URL`` and
        ``Incus-Image-Hash``. An image that the server has is not downloaded again. ``progress``: told of the server's
        packing or downloading.

        Raises `IncusOperationError` if it fails. A caller who is cancelled cancels it.
        """
        if name is not None:
            found = await self.resolve(name)
            if "server" not in found or "source" in body:
                raise IncusInputError(f"{name!r} is an image of this server already, or there is a source beside it")
            body["source"] = {**found, "image_type": type}  # type: ignore[typeddict-item]
        source = body.get("source")
        if not isinstance(source, Mapping) or source.get("mode") == "push":
            raise IncusInputError(
                'source must be a mapping, as {"type": "instance", "name": "c1"}; an image that is to be pushed here '
                "needs create_push_secret()"
            )
        if "format" in body:
            await self._scope.require("instance_publish_split", "format of a published image")
        operation = await self._operate("POST", body=to_body(body), progress=progress)
        return await self.get(operation.metadata["fingerprint"])

    async def create_push_secret(self, fingerprint: str, **body: Unpack[ImagePushOptions]) -> str:
        """A secret with which another server can push the image of that fingerprint here, once: see `Image.push`.

        ``body``: what the image gets here, none of which comes with it; properties neither. ``POST /1.0/images``.
        """
        expected = to_body(body) | _push_announcement(fingerprint)
        return _secret(await self._operate("POST", body=expected, wait=False))

    async def resolve(self, name: str) -> models.InstanceSource:
        """What the name of an image means, as the source of an instance.

        ``name``: an alias of this server, or a fingerprint or enough of its beginning; or as the ``incus`` command
        writes it ``images:debian/13``, with a remote of its configuration: a server of simplestreams, a server of
        Incus, or a registry of OCI images as ``docker:nginx`` (extension ``instance_oci``). It is this server that
        downloads from there, once something is made of it. Only a server of Incus that is not public is asked before,
        as the client that the configuration says, for a secret that opens the image, once.

        Raises `IncusNotFoundError` for a name that is neither. ``GET /1.0/images/aliases/{name}``,
        ``GET /1.0/images/{fingerprint}``; there ``POST /1.0/images/{fingerprint}/secret`` too.
        """
        if not isinstance(name, str) or not name:
            raise IncusInputError(f"image must be an alias or a fingerprint, not {name!r}")
        prefix, colon, image = name.partition(":")
        remote = {**_BUILT_IN, **ClientConfig().remotes()}.get(prefix) if colon else None
        if remote is not None and image and not self._is_here(remote):
            if remote.protocol == "oci":
                await self._scope.require("instance_oci", f"the OCI image {name!r}")
            if remote.protocol == "incus" and not remote.public:
                return await _private_source(ClientConfig().remote(prefix), image)
            return _remote_source(remote, image)
        here = image if remote is not None and image else name
        if await self.aliases.exists(here):
            return {"type": "image", "alias": here}
        try:
            return {"type": "image", "fingerprint": (await self.get(here)).fingerprint}
        except IncusAPIError as error:
            raise IncusNotFoundError(
                f"this server has no image {here!r}, neither by alias nor by fingerprint"
                + (f", and there is no remote {prefix!r}" if colon and remote is None else ""),
                status_code=404,
            ) from error

    def _is_here(self, remote: Remote) -> bool:
        """Whether a remote is the server of this client; ``unix://`` alone is the local one, whichever that is."""
        own = self._scope.transport.endpoint
        return any(
            own.socket is not None if address == "unix://" else Endpoint.parse(address) == own
            for address in remote.addresses
            if remote.protocol == "incus"
        )

    async def get(self, name: str, *, secret: str | None = None) -> Image:
        """One image, read; ``name`` is the fingerprint, or enough of its beginning. ``GET /1.0/images/{fingerprint}``.

        ``secret``: of `Image.create_secret`, for a client that the server does not trust. Raises `IncusNotFoundError`.
        """
        return await self[name]._read({"secret": secret})

    async def delete(self, fingerprint: str, wait: bool = False) -> Operation:
        """Delete an image. ``DELETE /1.0/images/{fingerprint}``."""
        return await self[fingerprint].delete(wait)

    async def export(
        self,
        fingerprint: str,
        target_path: str | os.PathLike[str],
        rootfs_path: str | os.PathLike[str] | None = None,
        *,
        secret: str | None = None,
        progress: OnProgress | None = None,
    ) -> builtins.list[Path]:
        """Write an image to a file, or to two: see `Image.export`."""
        return await self[fingerprint].export(target_path, rootfs_path, secret=secret, progress=progress)

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


def _remote_source(remote: Remote, image: str) -> models.InstanceSource:
    source: models.InstanceSource = {
        "type": "image",
        "mode": "pull",
        "protocol": remote.protocol,
        "server": remote.addresses[0],
        "alias": image,
    }
    if remote.server_cert is not None:
        source["certificate"] = remote.server_cert.read_text()
    return source


async def _private_source(remote: Remote, name: str) -> models.InstanceSource:
    scope = Scope(make_transport(remote)).view(project=remote.project)
    try:
        there = ImagesAPI(scope)
        try:
            key = (await there.aliases.get(name)).target
        except IncusNotFoundError:
            key = name
        image = await there.get(key)
        source: models.InstanceSource = {
            "type": "image",
            "mode": "pull",
            "protocol": "incus",
            "server": (await addresses_of(scope, "pull", None))[0],
            "certificate": (await scope.server())["environment"]["certificate"],
            "fingerprint": image.fingerprint,
        }
        if scope.project:
            source["project"] = scope.project
        if not image.public:
            source["secret"] = await image.create_secret()
        return source
    finally:
        await scope.transport.close()


@dataclass(frozen=True)
class _Copying:
    """An image on its way to another server, where ``target`` is to be it; ``undo`` removes it once it is there."""

    source: Image
    original: models.Image
    target: Image
    undo: AsyncExitStack
    progress: OnProgress | None

    async def pulled(self, addresses: Sequence[str], by_alias: bool) -> Image:
        """The other server connects to this one."""
        scope, fingerprint = self.source._scope, self.original.fingerprint
        source: Json = {"type": "image", "mode": "pull", "protocol": "incus", "image_type": self.original.type}
        source["certificate"] = (await scope.server())["environment"]["certificate"]
        if scope.project:
            source["project"] = scope.project
        source |= {"alias": self.original.aliases[0].name} if by_alias else {"fingerprint": fingerprint}
        async with AsyncExitStack() as stack:
            if not self.original.public:
                opened = pending_operation(scope, wire.path("images", fingerprint, "secret"))
                source["secret"] = _secret(await stack.enter_async_context(opened))
            return await in_turn(
                addresses,
                lambda address: self._make(self.target._scope, (), {"source": {**source, "server": address}}),
                _UNREACHABLE,
            )

    async def pushed(self, addresses: Sequence[str]) -> Image:
        """This server connects to the other."""
        scope, fingerprint = self.target._scope, self.original.fingerprint
        body = {"certificate": (await scope.server())["environment"]["certificate"], "project": scope.project or ""}
        async with pending_operation(scope, wire.path("images"), _push_announcement(fingerprint)) as expecting:
            body["secret"] = _secret(expecting)
            return await in_turn(
                addresses,
                lambda address: self._make(self.source._scope, (fingerprint, "export"), {**body, "target": address}),
                _UNREACHABLE,
            )

    async def relayed(self) -> Image:
        """Both are connected to this program, which hands on what comes."""
        fingerprint, headers = self.original.fingerprint, {"Content-Type": "application/octet-stream"}
        async with self.source._scope.download("GET", wire.path("images", fingerprint, "export")) as stream:
            content_type = stream.headers.get("Content-Type", "")
            if content_type.startswith("multipart/"):
                headers["Content-Type"] = content_type  # two files, in the form that an upload has
            elif self.original.filename:
                headers["X-Incus-filename"] = self.original.filename
            if stream.headers.get("X-Incus-Type") != "oci":
                headers["X-Incus-fingerprint"] = fingerprint
            content = with_progress(stream.chunks(), "relay", self.original.size, self.progress)
            return await self._make(self.target._scope, (), content, headers)

    async def _make(
        self, scope: Scope, segments: tuple[str, ...], body: Any, headers: dict[str, str] | None = None
    ) -> Image:
        progress = self.progress if headers is None else None  # content that is sent tells of itself
        operation = await create_or_undo(scope, wire.path("images", *segments), body, self._undo, progress, headers)
        # An OCI image that was relayed is named by the hash of its content from then on.
        metadata = operation.metadata if operation else None
        made = ImagesAPI(self.target._scope)[(metadata or {}).get("fingerprint") or self.original.fingerprint]
        # Before anything else can be cancelled, as to take back a secret.
        self.undo.push_async_callback(_delete, made)
        return made

    async def _undo(self, created: bool) -> None:
        if not created:
            async for _ in attempts(_LOOKS, 0.05):
                if await self.target.exists():
                    break
        await _delete(self.target)


async def _delete(made: Image | ImageAlias) -> None:
    """Delete what is not wanted any longer."""
    with suppress(IncusNotFoundError):
        await shielded(made.delete(wait=True) if isinstance(made, Image) else made.delete())


async def _read_export(
    stream: Stream, total: int | None, progress: OnProgress | None
) -> AsyncIterator[tuple[str, bytes]]:
    """The pieces of an export, each with what its file is called in a form, also where it is one alone."""
    body = with_progress(stream.chunks(), "download", total, progress)
    content_type = stream.headers.get("Content-Type", "")
    if content_type.startswith("multipart/"):
        async for name, piece in read_form(content_type, body):
            yield name, piece
    else:
        async for piece in body:
            yield "metadata", piece


def _push_announcement(fingerprint: str) -> Json:
    """What announces to a server that this image will be pushed there."""
    return {"source": {"mode": "push", "type": "image", "fingerprint": fingerprint}}


def _secret(operation: Operation) -> str:
    secret: str = operation.metadata["secret"]
    return secret
