"""Simplestreams servers, such as images.linuxcontainers.org: list their images, and download them.

Incus servers download from them by themselves: ``client.instances.launch("images:debian/13")``. This module is for
looking around, and for an Incus that cannot reach them.
"""

from __future__ import annotations

import builtins
import hashlib
import json
import os
import platform
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urljoin, urlsplit

from . import models
from ._atomic import atomic_file
from ._connection import wire
from ._connection.endpoint import Endpoint, without_secrets
from ._connection.transport import Stream, Transport
from ._content import with_progress
from .exceptions import IncusConnectionError, IncusError, IncusInputError, IncusNotFoundError
from .models.base import Json
from .operations import OnProgress

_INDEX = "streams/v1/index.json"
_REDIRECTS = 5
_MAX_AGE = 3600.0  # seconds

# Kinds of root disks, the best first: the image's type, and the field of the metadata's entry with its fingerprint.
_ROOTS = {
    "squashfs": ("container", "combined_squashfs_sha256"),
    "root.tar.xz": ("container", "combined_rootxz_sha256"),
    "disk-kvm.img": ("virtual-machine", "combined_disk-kvm-img_sha256"),
    "uefi1.img": ("virtual-machine", "combined_uefi1-img_sha256"),
    "disk1.img": ("virtual-machine", "combined_disk1-img_sha256"),
}

# Incus' names of architectures that have another name on these servers.
_ARCHITECTURES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "armel": "armv6l",
    "armhf": "armv7l",
    "i386": "i686",
    "loong64": "loongarch64",
    "ppc64el": "ppc64le",
}


class SimpleStreams:
    """A simplestreams server. It keeps no connection open.

        server = SimpleStreams("https://images.linuxcontainers.org")
        image = await server.resolve("debian/13")
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

    def __init__(
        self,
        url: str,
        *,
        server_cert: str | os.PathLike[str] | None = None,
        timeout: float | None = 30,
        max_age: float = _MAX_AGE,
    ) -> None:
        _to_endpoint(url)
        if not re.fullmatch(r"[^\s?#]+", url):
            shown = without_secrets(url)
            raise IncusInputError(f"{shown!r} is not the URL of a simplestreams server: it has a blank, ? or #")
        if server_cert is not None and not (server_cert and isinstance(server_cert, str | os.PathLike)):
            raise IncusInputError("server_cert must be a certificate in PEM, or its path")
        if wire.seconds(max_age, "max_age") is None:
            raise IncusInputError("max_age must be a number of seconds, not None")
        self.url: str = url.rstrip("/") + "/"
        self._server_cert = server_cert
        self._timeout = wire.seconds(timeout, "timeout")
        self._max_age = max_age
        self._read_at = float("-inf")
        self._images: builtins.list[models.Image] = []
        self._files: dict[str, builtins.list[str]] = {}  # the paths of each image, by its fingerprint

    def __repr__(self) -> str:
        return f"<SimpleStreams {self.url}>"

    async def list(
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
        wire.texts(words, "words")
        if fresh or time.monotonic() - self._read_at > self._max_age:
            try:
                await self._load()
            except IncusError:
                raise
            except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                raise IncusConnectionError(
                    f"{self.url} is not a simplestreams server: its index has another form ({error!r})", cause=error
                ) from error
            self._read_at = time.monotonic()
        wanted = None if architecture is None else _ARCHITECTURES.get(architecture, architecture)
        return [
            image
            for image in self._images
            if wanted in (None, image.architecture)
            and type in (None, image.type)
            and all(_mentions(image, word.casefold()) for word in words)
        ]

    async def resolve(
        self,
        name: str,
        *,
        architecture: str | None = None,
        type: Literal["container", "virtual-machine"] = "container",
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
        if not isinstance(name, str):
            raise IncusInputError(f"an image is named by a str, not {name!r}")
        architecture = platform.machine().lower() if architecture is None else architecture
        for image in await self.list(architecture=architecture, type=type):
            if name in [alias.name for alias in image.aliases]:
                return image
        matches = [image for image in self._images if len(name) >= 12 and image.fingerprint.startswith(name)]
        if len(matches) == 1:
            return matches[0]
        raise IncusNotFoundError(f"{self.url} has no {type} image {name!r} for {architecture}", status_code=404)

    async def download(
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
        if not isinstance(image, models.Image):
            raise IncusInputError(f"image must be one of list() or resolve(), not {image!r}")
        await self.list()
        sources = self._files.get(image.fingerprint)
        if sources is None:
            raise IncusNotFoundError(f"{self.url} has no image {image.fingerprint}", status_code=404)
        targets = [path for path in (target_path, rootfs_path) if path is not None][: len(sources)]
        if len(targets) < len(sources):
            raise IncusInputError(f"image {image.fingerprint} is split into two files: give a rootfs_path as well")
        with ExitStack() as stack:
            files, hash = [stack.enter_context(atomic_file(target)) for target in targets], hashlib.sha256()

            async def write() -> AsyncIterator[bytes]:
                size = 0
                for source, file in zip(sources, files, strict=True):
                    async with self._open(source) as stream:
                        async for piece in stream.chunks():
                            size += len(piece)
                            if size > image.size:
                                raise IncusConnectionError(
                                    f"{self.url} sent more than the {image.size} bytes of {source}"
                                )
                            hash.update(piece)
                            file.write(piece)
                            yield piece

            async for _ in with_progress(write(), "download", image.size, progress):
                pass
            if hash.hexdigest() != image.fingerprint:
                raise IncusConnectionError(f"image {image.fingerprint} came with another hash: {hash.hexdigest()}")
        return [Path(target) for target in targets]

    async def _load(self) -> None:
        found: builtins.list[Json] = []
        files: dict[str, builtins.list[str]] = {}
        for entry in (await self._read_json(_INDEX))["index"].values():
            if entry.get("datatype") == "image-downloads" and entry.get("products"):
                for product in (await self._read_json(entry["path"]))["products"].values():
                    for image, paths in _images_of(product):
                        found.append(image)
                        files[image["fingerprint"]] = paths
        found.sort(key=_rank)
        found.sort(key=lambda image: str(image["properties"]["serial"]), reverse=True)
        known: set[tuple[str, str, str]] = set()
        for image in found:
            kind = image["type"], image["architecture"]
            names = [name for name in image["aliases"] if (*kind, name) not in known]
            known |= {(*kind, name) for name in names}
            image["aliases"] = [{"name": name, "description": ""} for name in names]
        self._images, self._files = [models.Image(image) for image in found], files

    async def _read_json(self, path: str) -> Json:
        async with self._open(path) as stream:
            document: Json = json.loads(await stream.read())
        return document

    @asynccontextmanager
    async def _open(self, path: str) -> AsyncGenerator[Stream]:
        """Open a file of the server, following redirects."""
        from ._connection.tls import context

        url, status = self.url + quote(path.lstrip("/"), errors="replace"), 0
        for _ in range(1 + _REDIRECTS):
            parts = urlsplit(url)
            transport = Transport(_to_endpoint(url), lambda: context(server_cert=self._server_cert), self._timeout)
            try:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                async with transport.stream("GET", target) as stream:
                    if (status := stream.status) == 200:
                        yield stream
                        return
                    if status not in (301, 302, 303, 307, 308):
                        break
                    url = _redirected(url, stream.headers.get("Location", ""))
            finally:
                await transport.close()
        raise IncusConnectionError(f"GET {without_secrets(url)}: HTTP {status}: this is not a simplestreams server")


def _to_endpoint(url: str) -> Endpoint:
    try:
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname and parts.username is None:
            return Endpoint(host=parts.hostname, port=parts.port or 443)
    except (AttributeError, TypeError, ValueError):
        pass
    shown = without_secrets(url) if isinstance(url, str) else url
    raise IncusInputError(f"{shown!r} is not the URL of a simplestreams server: write https://host")


def _redirected(url: str, location: str) -> str:
    try:
        leads_to = urljoin(url, location)
        if re.fullmatch("[!-~]+", leads_to):
            _to_endpoint(leads_to)
            return leads_to
    except ValueError:
        pass
    where, there = without_secrets(url), without_secrets(location)
    raise IncusConnectionError(f"GET {where}: the server leads to {there!r}, which is no https:// address")


def _mentions(image: models.Image, word: str) -> bool:
    texts = [*(alias.name for alias in image.aliases), *image.properties.values()]
    return image.fingerprint.startswith(word) or any(word in text.casefold() for text in texts)


def _images_of(product: Json) -> Iterator[tuple[Json, list[str]]]:
    """The images of one product as Incus has them, but with plain names as aliases; and the paths of their files."""
    for serial, version in product["versions"].items():
        try:
            created = datetime.strptime(serial[:8], "%Y%m%d")
        except ValueError:
            continue
        items = version["items"].values()
        unified: list[tuple[Json, Json | None]] = [
            (item, None) for item in items if item.get("ftype") == "incus_combined.tar.gz"
        ]
        split = [
            (item, root)
            for item in items
            for root in items
            if item.get("ftype") == "incus.tar.xz" and root.get("ftype") in _ROOTS
        ]
        for item, root in unified + split:
            if item.get("path") and _fingerprint(item, root):
                paths = [str(file["path"]) for file in (item, root) if file is not None]
                yield _to_image(product, serial, version, created, item, root), paths


def _to_image(product: Json, serial: str, version: Json, created: datetime, item: Json, root: Json | None) -> Json:
    properties = {
        "os": product.get("os"),
        "release": product.get("release"),
        "version": product.get("version"),
        "architecture": product["arch"],
        "label": version.get("label"),
        "serial": serial,
        "variant": product.get("variant"),
        "type": root["ftype"] if root else "tar.gz",
        **{f"requirements.{key}": value for key, value in (product.get("requirements") or {}).items()},
    }
    label = f" ({version['label']})" if version.get("label") else ""
    title = product.get("release_title") or product.get("release")
    properties["description"] = f"{product.get('os')} {title} {product['arch']}{label} ({serial})"
    names = [name for name in (product.get("aliases") or "").split(",") if name]
    image = {
        "aliases": [*names, *(f"{name}/{product['arch']}" for name in names)],
        "architecture": _ARCHITECTURES.get(product["arch"], product["arch"]),
        "created_at": f"{created:%Y-%m-%d}T00:00:00Z",
        "filename": item["path"].rpartition("/")[2],
        "fingerprint": _fingerprint(item, root),
        "properties": {key: _to_text(value) for key, value in properties.items() if value not in (None, "")},
        "public": True,
        "size": item["size"] + (root["size"] if root else 0),
        "type": _ROOTS[root["ftype"]][0] if root else item.get("combined_type") or "container",
        "uploaded_at": f"{created:%Y-%m-%d}T00:00:00Z",
    }
    return image | ({"expires_at": f"{product['support_eol']}T00:00:00Z"} if product.get("support_eol") else {})


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _fingerprint(item: Json, root: Json | None) -> str | None:
    if root is None:
        found = item.get("sha256")
    else:
        found = item.get(_ROOTS[root["ftype"]][1])
        found = found or (item.get("combined_sha256") if root["ftype"] == "root.tar.xz" else None)
    return found if isinstance(found, str) else None


def _rank(image: Json) -> int:
    kind = image["properties"]["type"]
    return [*_ROOTS].index(kind) if kind in _ROOTS else -1
