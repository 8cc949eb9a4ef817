"""Copies of images between servers: see `Image.copy`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .. import models
from .._background import create_or_undo, pending_operation, was_created
from .._concurrency import Attempts, shielded
from .._connection import wire
from .._connection.scope import Scope
from .._content import with_progress
from .._migration import Mode, addresses_of, in_turn
from ..exceptions import IncusNotFoundError
from ..models.base import Json
from ..operations import OnProgress, Operation
from ._bodies import created_secret
from .base import Collection, Resource, Writable

_LOOKS = 5  # for the image of a download that was cancelled too late
_UNREACHABLE = r"(?i)\b(dial|x509|tls|connection refused|no route to host|i/o timeout)\b"
"""In the error of a server that cannot connect to the other one."""

ImageItem = TypeVar("ImageItem", bound=Writable[Any])


async def copy_image(
    source: Resource,
    original: models.Image,
    images: Collection[ImageItem],
    undo: AsyncExitStack,
    mode: Mode,
    addresses: Sequence[str] | None,
    public: bool,
    auto_update: bool,
    profiles: Sequence[str] | None,
    progress: OnProgress | None,
) -> ImageItem:
    """Copy an image, read as ``original``, into ``images``; one that is there already is returned unchanged."""
    target = images[original.fingerprint]
    if await target.exists():
        return target
    copy = _ImageCopy(source, original, images, undo, progress)
    if mode == "relay":
        target = await copy.relay()
    elif mode == "push":
        target = await copy.push(await addresses_of(images._scope, mode, addresses))
    else:
        target = await copy.pull(await addresses_of(source._scope, mode, addresses), auto_update)
    # What does not come with the content, or not in every mode.
    await target.refresh()
    body = {key: original.raw.get(key) for key in ("expires_at", "properties")}
    body |= {"public": public, "auto_update": auto_update}
    body["profiles"] = target.raw.get("profiles") or [] if profiles is None else [*profiles]
    if body != {key: target.raw.get(key) for key in body}:
        await target.replace(body, target.etag)
    return target


@dataclass(frozen=True)
class _ImageCopy(Generic[ImageItem]):
    """A copy of an image into ``images`` of another server or project; ``undo`` removes it, once it is there."""

    source: Resource
    original: models.Image
    images: Collection[ImageItem]
    undo: AsyncExitStack
    progress: OnProgress | None

    async def pull(self, addresses: Sequence[str], by_alias: bool) -> ImageItem:
        """The other server connects to this one."""
        scope, fingerprint = self.source._scope, self.original.fingerprint
        source: Json = {"type": "image", "mode": "pull", "protocol": "incus", "image_type": self.original.type}
        source["certificate"] = (await scope.server())["environment"]["certificate"]
        if scope.project:
            source["project"] = scope.project
        source |= {"alias": self.original.aliases[0].name} if by_alias else {"fingerprint": fingerprint}
        async with AsyncExitStack() as stack:
            if not self.original.public:
                issued = pending_operation(scope, wire.path("images", fingerprint, "secret"))
                source["secret"] = created_secret(await stack.enter_async_context(issued))
            return await in_turn(
                addresses,
                lambda address: self._create(self.images._scope, (), {"source": {**source, "server": address}}),
                _UNREACHABLE,
            )

    async def push(self, addresses: Sequence[str]) -> ImageItem:
        """This server connects to the other."""
        scope, fingerprint = self.images._scope, self.original.fingerprint
        body = {"certificate": (await scope.server())["environment"]["certificate"], "project": scope.project or ""}
        async with pending_operation(scope, wire.path("images"), push_request(fingerprint)) as expecting:
            body["secret"] = created_secret(expecting)
            return await in_turn(
                addresses,
                lambda address: self._create(self.source._scope, (fingerprint, "export"), {**body, "target": address}),
                _UNREACHABLE,
            )

    async def relay(self) -> ImageItem:
        """This program is connected to both, and sends on what it receives."""
        fingerprint, headers = self.original.fingerprint, {"Content-Type": "application/octet-stream"}
        async with self.source._scope.download("GET", wire.path("images", fingerprint, "export")) as stream:
            content_type = stream.headers.get("Content-Type", "")
            if content_type.startswith("multipart/"):
                headers["Content-Type"] = content_type  # a split image comes in the form that an upload has
            elif self.original.filename:
                headers["X-Incus-filename"] = self.original.filename
            if stream.headers.get("X-Incus-Type") != "oci":
                headers["X-Incus-fingerprint"] = fingerprint
            content = with_progress(stream.chunks(), "relay", self.original.size, self.progress)
            return await self._create(self.images._scope, (), content, headers)

    async def _create(
        self, scope: Scope, segments: tuple[str, ...], body: Any, headers: dict[str, str] | None = None
    ) -> ImageItem:
        progress = self.progress if headers is None else None  # a relay reports what passes through it
        operation = await create_or_undo(scope, wire.path("images", *segments), body, self._undo, progress, headers)
        # A relayed OCI image is named by the hash of its content from then on.
        metadata = operation.metadata if operation else None
        image = self.images[(metadata or {}).get("fingerprint") or self.original.fingerprint]
        # At once: taking back the secret, which comes next, can be cancelled.
        self.undo.push_async_callback(discard, image)
        return image

    async def _undo(self, operation: Operation | None) -> None:
        target = self.images[self.original.fingerprint]
        if not was_created(operation):
            async for _ in Attempts(_LOOKS, 0.05, sleep=self.images._scope.transport.pause):
                if await target.exists():
                    break
        await discard(target)


async def discard(created: Resource) -> None:
    """Delete an object that is not wanted any longer, even if the caller is cancelled again."""
    with suppress(IncusNotFoundError):
        await shielded(created._perform("DELETE"))


def push_request(fingerprint: str) -> Json:
    """The body with which a server is asked to expect the push of an image."""
    return {"source": {"mode": "push", "type": "image", "fingerprint": fingerprint}}
