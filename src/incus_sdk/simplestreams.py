"""Servers that give out images by simplestreams, as images.linuxcontainers.org does: what they have, and the files.

An Incus server downloads from them by itself: ``client.instances.launch("images:debian/13")``. This is for looking, and
for an Incus that cannot reach them.
"""

from __future__ import annotations

import builtins
import hashlib
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urljoin, urlsplit

from . import models
from ._atomic import atomic_file
from ._connection.transport import Endpoint, Stream, Transport
from ._content import with_progress
from .exceptions import IncusConnectionError, IncusInputError, IncusNotFoundError
from .models.base import Json
from .operations import OnProgress

_INDEX = "streams/v1/index.json"
_REDIRECTS = 5
_SECONDS = 3600.0  # for which what was read is taken as current

# Each kind of a root disk, the best first, with the field of the metadata's entry that holds the image's fingerprint.
_ROOTS = {
    "squashfs": ("container", "combined_squashfs_sha256"),
    "root.tar.xz": ("container", "combined_rootxz_sha256"),
    "disk-kvm.img": ("virtual-machine", "combined_disk-kvm-img_sha256"),
    "uefi1.img": ("virtual-machine", "combined_uefi1-img_sha256"),
    "disk1.img": ("virtual-machine", "combined_disk1-img_sha256"),
}

# What the servers call an architecture, and Incus another way.
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
    """A server of images.

        server = SimpleStreams("https://images.linuxcontainers.org")
        image = await server.resolve("debian/13")
        print(image.fingerprint, image.created_at, image.size)

    ``url``: ``https://host`` and maybe a path. ``server_cert``: the server's own certificate (PEM, text or path), which
    is then the only one accepted; else the system's authorities decide. ``timeout``: seconds to connect, and to the
    first byte. ``max_age``: seconds for which the server is not asked again. It keeps no connection open.
    """

    def __init__(
        self,
        url: str,
        *,
        server_cert: str | os.PathLike[str] | None = None,
        timeout: float | None = 30,
        max_age: float = _SECONDS,
    ) -> None:
        _endpoint(url)
        self.url = url.rstrip("/") + "/"
        self._server_cert = server_cert
        self._timeout = timeout
        self._max_age = max_age
        self._read_at = float("-inf")
        self._images: builtins.list[models.Image] = []
        self._files: dict[str, builtins.list[str]] = {}  # of each fingerprint, their paths

    def __repr__(self) -> str:
        return f"<SimpleStreams {self.url}>"

    async def list(
        self,
        *words: str,
        architecture: str | None = None,
        type: Literal["container", "virtual-machine"] | None = None,
        fresh: bool = False,
    ) -> builtins.list[models.Image]:
        """The images of the server, the newest first. ``aliases`` are on the newest image that has them.

        ``words``: each in an alias, a property or the beginning of the fingerprint, in whichever case.
        ``architecture``: as of `resolve`. ``fresh``: ask the server, however new what is known is. Raises
        `IncusConnectionError` for a server that cannot be reached, or is none of simplestreams.
        """
        if fresh or time.monotonic() - self._read_at > self._max_age:
            try:
                await self._read()
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise IncusConnectionError(
                    f"{self.url} is no server of simplestreams: what it sent has another form ({error!r})", cause=error
                ) from error
            self._read_at = time.monotonic()
        wanted = None if architecture is None else _ARCHITECTURES.get(architecture, architecture)
        return [
            image
            for image in self._images
            if wanted in (None, image.architecture)
            and type in (None, image.type)
            and all(_has(image, word.casefold()) for word in words)
        ]

    async def resolve(
        self,
        name: str,
        *,
        architecture: str | None = None,
        type: Literal["container", "virtual-machine"] = "container",
    ) -> models.Image:
        """The newest image of that alias, or the one of that fingerprint or enough of its beginning.

        ``architecture``: as Incus calls it, ``x86_64`` or ``aarch64``; None is this machine's. Raises
        `IncusNotFoundError`.
        """
        architecture = os.uname().machine if architecture is None else architecture
        for image in await self.list(architecture=architecture, type=type):
            if name in [each.name for each in image.aliases]:
                return image
        alike = [image for image in self._images if len(name) >= 12 and image.fingerprint.startswith(name)]
        if len(alike) == 1:
            return alike[0]
        raise IncusNotFoundError(f"{self.url} has no {type} image {name!r} for {architecture}", status_code=404)

    async def download(
        self,
        image: models.Image,
        target_path: str | os.PathLike[str],
        rootfs_path: str | os.PathLike[str] | None = None,
        *,
        progress: OnProgress | None = None,
    ) -> builtins.list[Path]:
        """Write an image to a file, or to two, streamed, its hash checked; returns the files that were written.

        They are what `ImagesAPI.create` uploads. ``image``: of `list` or `resolve`. ``rootfs_path``: for the root
        filesystem or disk of an image in two files, the first being its metadata then; not written for an image in one.
        ``progress``: told how much has come, in bytes, as stage ``download``.

        The files are there only when they are whole. Raises `IncusConnectionError` for an image that came damaged or
        cut off, `IncusInputError` for a file that cannot be written, or an image in two files where one was named;
        `IncusNotFoundError` for one that the server does not have.
        """
        await self.list()
        sources = self._files.get(image.fingerprint)
        if sources is None:
            raise IncusNotFoundError(f"{self.url} has no image {image.fingerprint}", status_code=404)
        targets = [path for path in (target_path, rootfs_path) if path is not None][: len(sources)]
        if len(targets) < len(sources):
            raise IncusInputError("this image is in two files: name one for its rootfs_path as well")
        with ExitStack() as stack:
            files, hash = [stack.enter_context(atomic_file(target)) for target in targets], hashlib.sha256()

            async def written() -> AsyncIterator[bytes]:
                for source, file in zip(sources, files, strict=True):
                    async with self._opened(source) as stream:
                        async for piece in stream.chunks():
                            hash.update(piece)
                            file.write(piece)
                            yield piece

            async for _ in with_progress(written(), "download", image.size, progress):
                pass
            if hash.hexdigest() != image.fingerprint:
                raise IncusConnectionError(f"image {image.fingerprint} came with another hash: {hash.hexdigest()}")
        return [Path(target) for target in targets]

    async def _read(self) -> None:
        found: builtins.list[Json] = []
        files: dict[str, builtins.list[str]] = {}
        for entry in (await self._json(_INDEX))["index"].values():
            if entry.get("datatype") == "image-downloads" and entry.get("products"):
                for product in (await self._json(entry["path"]))["products"].values():
                    for image, paths in _images(product):
                        found.append(image)
                        files[image["fingerprint"]] = paths
        found.sort(key=_preference)
        found.sort(key=lambda image: str(image["properties"]["serial"]), reverse=True)
        known: set[tuple[str, str, str]] = set()
        for image in found:
            kind = image["type"], image["architecture"]
            names = [name for name in image["aliases"] if (*kind, name) not in known]
            known |= {(*kind, name) for name in names}
            image["aliases"] = [{"name": name, "description": ""} for name in names]
        self._images, self._files = [models.Image(image) for image in found], files

    async def _json(self, path: str) -> Json:
        async with self._opened(path) as stream:
            document: Json = json.loads(await stream.read())
        return document

    @asynccontextmanager
    async def _opened(self, path: str) -> AsyncGenerator[Stream]:
        """A file of the server, redirects followed."""
        from ._connection.tls import context

        url, status = self.url + quote(path.lstrip("/")), 0
        for _ in range(1 + _REDIRECTS):
            parts = urlsplit(url)
            transport = Transport(_endpoint(url), lambda: context(server_cert=self._server_cert), self._timeout)
            try:
                target = parts.path + (f"?{parts.query}" if parts.query else "")
                async with transport.stream("GET", target) as stream:
                    if (status := stream.status) == 200:
                        yield stream
                        return
                    if status not in (301, 302, 303, 307, 308):
                        break
                    url = urljoin(url, stream.headers.get("Location", ""))
            finally:
                await transport.close()
        raise IncusConnectionError(f"GET {url}: HTTP {status}: this is no server of simplestreams")


def _endpoint(url: str) -> Endpoint:
    try:
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname and parts.username is None:
            return Endpoint(host=parts.hostname, port=parts.port or 443)
    except (AttributeError, TypeError, ValueError):
        pass
    raise IncusInputError(f"{url!r} is no URL of a server of images: write https://host")


def _has(image: models.Image, word: str) -> bool:
    texts = [*(alias.name for alias in image.aliases), *image.properties.values()]
    return image.fingerprint.startswith(word) or any(word in text.casefold() for text in texts)


def _images(product: Json) -> Iterator[tuple[Json, list[str]]]:
    """The images of one product, in the form of Incus, with the paths of their files; ``aliases`` are mere names
    still.
    """
    for serial, version in product["versions"].items():
        try:
            created = datetime.strptime(serial[:8], "%Y%m%d")
        except ValueError:
            continue
        items = version["items"].values()
        pairs: list[tuple[Json, Json | None]] = [
            (item, None) for item in items if item.get("ftype") == "incus_combined.tar.gz"
        ]
        pairs += [
            (item, root)
            for item in items
            for root in items
            if item.get("ftype") == "incus.tar.xz" and root.get("ftype") in _ROOTS
        ]
        for item, root in pairs:
            if item.get("path") and _fingerprint(item, root):
                paths = [str(each["path"]) for each in (item, root) if each is not None]
                yield _image(product, serial, version, created, item, root), paths


def _image(product: Json, serial: str, version: Json, created: datetime, item: Json, root: Json | None) -> Json:
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
        "properties": {key: value for key, value in properties.items() if value},
        "public": True,
        "size": item["size"] + (root["size"] if root else 0),
        "type": _ROOTS[root["ftype"]][0] if root else item.get("combined_type") or "container",
        "uploaded_at": f"{created:%Y-%m-%d}T00:00:00Z",
    }
    return image | ({"expires_at": f"{product['support_eol']}T00:00:00Z"} if product.get("support_eol") else {})


def _fingerprint(item: Json, root: Json | None) -> str | None:
    if root is None:
        return item.get("sha256")
    own: str | None = item.get(_ROOTS[root["ftype"]][1])
    return own or (item.get("combined_sha256") if root["ftype"] == "root.tar.xz" else None)


def _preference(image: Json) -> int:
    kind = image["properties"]["type"]
    return [*_ROOTS].index(kind) if kind in _ROOTS else -1
