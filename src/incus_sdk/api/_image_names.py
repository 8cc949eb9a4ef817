"""Names of images: aliases and beginnings of fingerprints; on other servers as the ``incus`` command writes them."""

from __future__ import annotations

import re
from typing import Any

from .. import models
from .._connection import wire
from .._connection.config import ClientConfig, Remote
from .._connection.connecting import make_transport
from .._connection.endpoint import Endpoint
from .._connection.scope import Scope
from .._migration import addresses_of
from ..exceptions import IncusAPIError, IncusNotFoundError
from ..operations import Operation
from ._bodies import created_secret
from .base import AtPath, Resource

_FINGERPRINT = re.compile("[0-9A-Fa-f]{64}")
_BEGINNING = re.compile("[0-9A-Fa-f]+")  # servers take _ and % for wildcards

_BUILT_IN = {"docker": Remote("docker", ("https://docker.io",), protocol="oci", public=True)}
"""Remotes that the ``incus`` command does not have by itself; its configuration can give another the same name."""


def is_fingerprint(name: object) -> bool:
    """Whether a name is a whole fingerprint."""
    return isinstance(name, str) and _FINGERPRINT.fullmatch(name) is not None


class NamedImage(Resource):
    """An image under any of its names, and from the first request on under its fingerprint."""

    async def _request(self, method: str, *segments: str, **how: Any) -> wire.Answer:
        await self._take_fingerprint((how.get("query") or {}).get("secret"))
        return await super()._request(method, *segments, **how)

    async def _perform(self, method: str, *segments: str, **how: Any) -> Operation | None:
        await self._take_fingerprint()
        return await super()._perform(method, *segments, **how)

    async def _operate(self, method: str, *segments: str, **how: Any) -> Operation:
        await self._take_fingerprint()
        return await super()._operate(method, *segments, **how)

    async def _take_fingerprint(self, secret: str | None = None) -> None:
        *group, name = self._path
        if not is_fingerprint(name):
            fingerprint = await find_image(self._scope, name, secret)
            self._path = (*group, fingerprint)
            self._json["fingerprint"] = fingerprint


async def find_image(scope: Scope, name: str, secret: str | None = None) -> str:
    """The fingerprint of the image that a name means on this server: by alias first, as for the command."""
    try:
        return wire.text((await scope.request("GET", wire.path("images", "aliases", name))).object, "target")
    except IncusNotFoundError:
        return await find_by_fingerprint(scope, name, secret)


async def find_by_fingerprint(scope: Scope, name: str, secret: str | None = None) -> str:
    """The fingerprint of the image whose fingerprint begins so."""
    path = wire.path("images", name)
    if _BEGINNING.fullmatch(name):
        try:
            answer = await scope.request("GET", path, query={"secret": secret})
            return wire.text(answer.object, "fingerprint")
        except IncusNotFoundError:
            pass
        except IncusAPIError as error:
            if "More than one" not in str(error):
                raise
            raise IncusAPIError(
                f"more than one image has a fingerprint that begins with {name!r}: give more of it, or an alias",
                status_code=error.status_code,
                response=error.response,
            ) from None
    raise IncusNotFoundError(
        f"GET {path}: this server has no image {name!r}, neither by alias nor by fingerprint; one of another server has"
        " that server's name before it: images:debian/13",
        status_code=404,
    )


def known_remotes() -> dict[str, Remote]:
    """All remotes whose images can be named."""
    return {**_BUILT_IN, **ClientConfig().remotes()}


def is_remote_of(scope: Scope, remote: Remote) -> bool:
    """Whether a remote is the server of ``scope``; ``unix://`` alone means the local one, whichever that is."""
    own = scope.transport.endpoint
    return any(
        own.socket is not None if address == "unix://" else Endpoint.parse(address) == own
        for address in remote.addresses
        if remote.protocol == "incus"
    )


async def remote_source(scope: Scope, remote: Remote, image: str) -> models.InstanceSource:
    """The source with which the server of ``scope`` downloads an image of a remote."""
    if remote.protocol == "oci":
        await scope.require("instance_oci", f"the OCI image {remote.name}:{image}")
    if remote.protocol == "incus" and not remote.public:
        return await _private_source(ClientConfig().remote(remote.name), image)
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
    """The source for an image of an Incus server that is not public, with a secret that opens the image once."""
    scope = Scope(make_transport(remote)).view(project=remote.project)
    images = AtPath(scope, ("images",))
    try:
        image = models.Image((await images._request("GET", await find_image(scope, name))).object)
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
            source["secret"] = created_secret(await images._operate("POST", image.fingerprint, "secret", wait=False))
        return source
    finally:
        await scope.transport.close()
