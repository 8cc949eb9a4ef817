"""Networks with their forwards, load balancers and peers; ACLs, address sets, DNS zones and integrations."""

from __future__ import annotations

import builtins
from typing import ClassVar, Unpack

from .. import models
from .base import AtPath, Collection, Deletable, Deletes, Editable, Edits, Renamable, Renames

_FILTER = {"filter": "api_filtering_extended"}

# The URLs in the lists of networks, ACLs, address sets and zones quote no name, or name no project.


class NetworkForward(models.NetworkForward, Editable[models.NetworkForwardPut], Deletable):
    """An address on which a network takes connections, and to whom it hands them on.

    Servers check no ETag of it: of two writers at the very same moment, one may undo the other.
    """

    PATCH_NEEDS_CONFIG = True
    KEY = "listen_address"


class NetworkForwardsAPI(Collection[NetworkForward], Edits[models.NetworkForwardPut], Deletes):
    """``network.forwards``; the key is the listen address."""

    resource, segment, options = NetworkForward, "forwards", _FILTER

    async def create(self, listen_address: str, **body: Unpack[models.NetworkForwardPut]) -> NetworkForward:
        """Create a forward; returns it, read. ``POST /1.0/networks/{name}/forwards``."""
        return await self._create(listen_address, body)


class NetworkLoadBalancer(models.NetworkLoadBalancer, Editable[models.NetworkLoadBalancerPut], Deletable):
    """An address on which a network takes connections, and over whom it spreads them.

    Servers check no ETag of it: of two writers at the very same moment, one may undo the other.
    """

    PATCH_NEEDS_CONFIG = True
    KEY = "listen_address"

    async def state(self) -> models.NetworkLoadBalancerState:
        """Which backends answer, where ``healthcheck`` is configured.

        API extension ``network_load_balancer_state``. ``GET
        /1.0/networks/{name}/load-balancers/{listen_address}/state``.
        """
        await self._scope.require("network_load_balancer_state", "NetworkLoadBalancer.state()")
        return models.NetworkLoadBalancerState((await self._request("GET", "state")).metadata)


class NetworkLoadBalancersAPI(Collection[NetworkLoadBalancer], Edits[models.NetworkLoadBalancerPut], Deletes):
    """``network.load_balancers``, of OVN networks; the key is the listen address."""

    resource, segment, options = NetworkLoadBalancer, "load-balancers", _FILTER

    async def create(self, listen_address: str, **body: Unpack[models.NetworkLoadBalancerPut]) -> NetworkLoadBalancer:
        """Create a load balancer; returns it, read. ``POST /1.0/networks/{name}/load-balancers``."""
        return await self._create(listen_address, body)

    async def state(self, listen_address: str) -> models.NetworkLoadBalancerState:
        """Which backends of one answer: see `NetworkLoadBalancer.state`."""
        return await self[listen_address].state()


class NetworkPeer(models.NetworkPeer, Editable[models.NetworkPeerPut], Deletable):
    """A route from an OVN network to another, open once the other has one back.

    Servers check no ETag of it: of two writers at the very same moment, one may undo the other. Its `patch` is a
    `replace`.
    """


class NetworkPeersAPI(Collection[NetworkPeer], Edits[models.NetworkPeerPut], Deletes):
    """``network.peers``, of OVN networks."""

    resource, segment, options = NetworkPeer, "peers", _FILTER

    async def create(
        self,
        name: str,
        target_network: str = "",
        *,
        target_project: str = "",
        type: str = "local",
        target_integration: str = "",
        **body: Unpack[models.NetworkPeerPut],
    ) -> NetworkPeer:
        """Create a peer; returns it, read. ``POST /1.0/networks/{name}/peers``.

        ``type``: ``local`` goes to ``target_network`` of ``target_project`` (empty: of this network's own), ``remote``
        to where ``target_integration`` leads.
        """
        target = {"target_network": target_network, "target_project": target_project}
        peer = await self._create(name, {"type": type, "target_integration": target_integration, **target, **body})
        if (config := body.get("config")) and not peer.config:
            await peer.update({"config": config})  # servers of 7.0 forget it
        return peer


class Network(models.Network, Editable[models.NetworkPut], Renamable, Deletable):
    """A network: a bridge or another kind that instances connect to."""

    @property
    def forwards(self) -> NetworkForwardsAPI:
        """Its forwards."""
        return NetworkForwardsAPI(self)

    @property
    def load_balancers(self) -> NetworkLoadBalancersAPI:
        """Its load balancers, of an OVN network."""
        return NetworkLoadBalancersAPI(self)

    @property
    def peers(self) -> NetworkPeersAPI:
        """Its routes to other networks, of an OVN network."""
        return NetworkPeersAPI(self)

    async def state(self) -> models.NetworkState:
        """Its addresses, counters and links at this moment, on the member of `Client.use_target`.

        ``GET /1.0/networks/{name}/state``.
        """
        return models.NetworkState((await self._request("GET", "state")).metadata)

    async def leases(self) -> list[models.NetworkLease]:
        """Who holds which address. ``GET /1.0/networks/{name}/leases``."""
        return [models.NetworkLease(lease) for lease in (await self._request("GET", "leases")).metadata]


class NetworksAPI(Collection[Network], Edits[models.NetworkPut], Renames, Deletes):
    """``client.networks``."""

    resource, segment, urls_quoted = Network, "networks", False
    options: ClassVar = {**_FILTER, "all-projects": "networks_all_projects"}

    async def create(
        self,
        name: str,
        config: models.Config | None = None,
        description: str = "",
        type: str = "bridge",
        *,
        target: str | None = None,
    ) -> Network:
        """Create a network; returns it, read. ``POST /1.0/networks``.

        ``type``: ``bridge``, ``ovn``, ``macvlan``, ``sriov`` or ``physical``. Without ``ipv4.address`` in ``config``
        the server picks a private subnet, after dialling addresses in the candidates: name one, or ``none``.

        ``target``: a cluster member. In a cluster, a bridge (``macvlan``, ...) is first named on each, with what of
        ``config`` is that member's own, and then created without.
        """
        body = {"config": config or {}, "description": description, "type": type}
        return await NetworksAPI(self._scope.view(target=target))._create(name, body)

    async def state(self, name: str) -> models.NetworkState:
        """Addresses, counters and links at this moment. ``GET /1.0/networks/{name}/state``."""
        return await self[name].state()

    async def leases(self, name: str) -> builtins.list[models.NetworkLease]:
        """Who holds which address. ``GET /1.0/networks/{name}/leases``."""
        return await self[name].leases()

    async def allocations(self, *, all_projects: bool = False) -> builtins.list[models.NetworkAllocations]:
        """The addresses in use, and by whom: networks, instances, forwards, load balancers.

        ``all_projects``: in every project. API extension ``network_allocations``. ``GET /1.0/network-allocations``.
        """
        allocations = AtPath(self._scope, ("network-allocations",))
        answer = await allocations._request("GET", query={"all-projects": all_projects or None})
        return [models.NetworkAllocations(each) for each in answer.metadata]


class NetworkACL(models.NetworkACL, Editable[models.NetworkACLPut], Renamable, Deletable):
    """Rules for traffic, which networks and NICs name in ``security.acls``."""

    PATCH_NEEDS_CONFIG = True

    async def log(self) -> str:
        """What its logged rules met, of OVN networks: a JSON object a line, oldest first; empty if nothing.

        API extension ``network_acl_log``. ``GET /1.0/network-acls/{name}/log``.
        """
        log: bytes = (await self._request("GET", "log")).metadata
        return log.decode(errors="replace")


class NetworkACLsAPI(Collection[NetworkACL], Edits[models.NetworkACLPut], Renames, Deletes):
    """``client.network_acls``."""

    resource, segment, urls_quoted = NetworkACL, "network-acls", False
    options: ClassVar = {**_FILTER, "all-projects": "network_acls_all_projects"}

    async def create(self, name: str, **body: Unpack[models.NetworkACLPut]) -> NetworkACL:
        """Create an ACL; returns it, read. ``POST /1.0/network-acls``."""
        return await self._create(name, body)

    async def log(self, name: str) -> str:
        """What the logged rules of one met: see `NetworkACL.log`."""
        return await self[name].log()


class NetworkAddressSet(models.NetworkAddressSet, Editable[models.NetworkAddressSetPut], Renamable, Deletable):
    """Addresses that rules of ACLs name as ``$name``."""

    PATCH_NEEDS_CONFIG = True
    EXTENSION = "network_address_set"


class NetworkAddressSetsAPI(Collection[NetworkAddressSet], Edits[models.NetworkAddressSetPut], Renames, Deletes):
    """``client.network_address_sets``; API extension ``network_address_set``."""

    resource, segment, urls_quoted = NetworkAddressSet, "network-address-sets", False
    options: ClassVar = {**_FILTER, "all-projects": "network_address_set"}

    async def create(self, name: str, **body: Unpack[models.NetworkAddressSetPut]) -> NetworkAddressSet:
        """Create an address set; returns it, read. ``POST /1.0/network-address-sets``."""
        return await self._create(name, body)


class NetworkZoneRecord(models.NetworkZoneRecord, Editable[models.NetworkZoneRecordPut], Deletable):
    """A name in a zone, with its entries.

    Its `patch` is of little use: servers mix the zone's configuration into the record's, and refuse what comes of it.
    """

    PATCH_NEEDS_CONFIG = True


class NetworkZoneRecordsAPI(Collection[NetworkZoneRecord], Edits[models.NetworkZoneRecordPut], Deletes):
    """``zone.records``; the key is a name without the zone's, and ``@`` the zone itself."""

    resource, segment, options = NetworkZoneRecord, "records", _FILTER

    async def create(self, name: str, **body: Unpack[models.NetworkZoneRecordPut]) -> NetworkZoneRecord:
        """Create a record; returns it, read. ``POST /1.0/network-zones/{zone}/records``."""
        return await self._create(name, body)


class NetworkZone(models.NetworkZone, Editable[models.NetworkZonePut], Deletable):
    """A DNS zone, which networks name in ``dns.zone.forward`` and the like."""

    PATCH_NEEDS_CONFIG = True

    @property
    def records(self) -> NetworkZoneRecordsAPI:
        """The records that were added to those of its networks."""
        return NetworkZoneRecordsAPI(self)


class NetworkZonesAPI(Collection[NetworkZone], Edits[models.NetworkZonePut], Deletes):
    """``client.network_zones``; the key is the domain name."""

    resource, segment, urls_quoted = NetworkZone, "network-zones", False
    options: ClassVar = {**_FILTER, "all-projects": "network_zones_all_projects"}

    async def create(self, name: str, **body: Unpack[models.NetworkZonePut]) -> NetworkZone:
        """Create a zone; returns it, read. ``POST /1.0/network-zones``."""
        return await self._create(name, body)


class NetworkIntegration(models.NetworkIntegration, Editable[models.NetworkIntegrationPut], Renamable, Deletable):
    """Where the networks of another server or cluster are, for peers of the type ``remote``."""

    PATCH_NEEDS_CONFIG = True


class NetworkIntegrationsAPI(Collection[NetworkIntegration], Edits[models.NetworkIntegrationPut], Renames, Deletes):
    """``client.network_integrations``."""

    resource, segment, options = NetworkIntegration, "network-integrations", _FILTER

    async def create(
        self, name: str, type: str = "ovn", **body: Unpack[models.NetworkIntegrationPut]
    ) -> NetworkIntegration:
        """Create an integration; returns it, read. ``POST /1.0/network-integrations``.

        ``config``: ``ovn.northbound_connection``, ``ovn.southbound_connection``, ``ovn.transit.pattern``, ...
        """
        return await self._create(name, {"type": type, **body})
