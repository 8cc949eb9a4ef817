"""Names of images on other servers, as the ``incus`` command writes them: ``images:debian/13``, ``docker:nginx``."""

from __future__ import annotations

from contextlib import suppress

from .. import models
from .._connection.config import ClientConfig, Remote
from .._connection.connecting import make_transport
from .._connection.endpoint import Endpoint
from .._connection.scope import Scope
from .._migration import addresses_of
from ..exceptions import IncusNotFoundError
from ._bodies import created_secret
from .base import AtPath

_BUILT_IN = {"docker": Remote("docker", ("https://docker.io",), protocol="oci", public=True)}
"""Remotes that the ``incus`` command does not have by itself; its configuration can give another the same name."""


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
        with suppress(IncusNotFoundError):  # a fingerprint is not an alias
            name = str((await images._request("GET", "aliases", name)).object.get("target"))
        image = models.Image((await images._request("GET", name)).object)
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
