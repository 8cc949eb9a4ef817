"""Networks and their forwards."""

from __future__ import annotations

import builtins
from typing import Unpack

from .. import models
from .base import Deletable, Deletes, Editable, Edits, Renamable, Renames


class NetworkForward(models.NetworkForward, Editable[models.NetworkForwardPut], Deletable):
    """An address on which a network takes connections, and to whom it hands them on.

    Servers check no ETag of it: of two writers at the very same moment, one may undo the other.
    """

    KEY = "listen_address"


class NetworkForwardsAPI(Edits[NetworkForward, models.NetworkForwardPut], Deletes[NetworkForward]):
    """``network.forwards``; the key is the listen address."""

    resource, segment = NetworkForward, "forwards"

    async def create(self, listen_address: str, **body: Unpack[models.NetworkForwardPut]) -> NetworkForward:
        """Create a forward; returns it, read. ``POST /1.0/networks/{name}/forwards``."""
        return await self._create(listen_address, body)


class Network(models.Network, Editable[models.NetworkPut], Renamable, Deletable):
    """A network: a bridge or another kind that instances connect to."""

    @property
    def forwards(self) -> NetworkForwardsAPI:
        """Its forwards."""
        return NetworkForwardsAPI(self._scope, *self._path)

    async def state(self) -> models.NetworkState:
        """Its addresses, counters and links at this moment. ``GET /1.0/networks/{name}/state``."""
        return models.NetworkState((await self._request("GET", "state")).metadata)

    async def leases(self) -> list[models.NetworkLease]:
        """Who holds which address. ``GET /1.0/networks/{name}/leases``."""
        return [models.NetworkLease(lease) for lease in (await self._request("GET", "leases")).metadata]


class NetworksAPI(Edits[Network, models.NetworkPut], Renames[Network], Deletes[Network]):
    """``client.networks``."""

    resource, segment = Network, "networks"

    async def create(
        self, name: str, config: models.Config | None = None, description: str = "", type: str = "bridge"
    ) -> Network:
        """Create a network; returns it, read. ``POST /1.0/networks``.

        ``type``: ``bridge``, ``ovn``, ``macvlan``, ``sriov`` or ``physical``. Without ``ipv4.address`` in ``config``
        the server picks a private subnet, after dialling addresses in the candidates: name one, or ``none``.
        """
        body = {"config": config or {}, "description": description, "type": type}
        return await self._create(name, body)

    async def state(self, name: str) -> models.NetworkState:
        """Addresses, counters and links at this moment. ``GET /1.0/networks/{name}/state``."""
        return await self[name].state()

    async def leases(self, name: str) -> builtins.list[models.NetworkLease]:
        """Who holds which address. ``GET /1.0/networks/{name}/leases``."""
        return await self[name].leases()
