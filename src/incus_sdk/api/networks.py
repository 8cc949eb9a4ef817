"""Networks with their forwards, load balancers and peers; ACLs, address sets, DNS zones and integrations."""

from __future__ import annotations

import builtins
import ipaddress
from typing import ClassVar, TypeVar, Unpack

from .. import models
from ..models._tables import Table
from ._by_key import Deletes, Edits, Renames
from ._ensure import Ensures
from ._options import known_options
from .base import AtPath, Collection, Deletable, Editable, Renamable, Resource

_FILTER = {"filter": "api_filtering_extended"}

Addressed = TypeVar("Addressed", bound=Resource)

# URLs in the lists of networks, ACLs, address sets and zones have unquoted names, or lack the project.


class _ByAddress(Collection[Addressed]):
    """Objects whose key is an address, which servers write in its shortest form."""

    _located = True

    def _spelling(self, key: str) -> str:
        try:
            address = ipaddress.ip_address(key if isinstance(key, str) else "")
        except ValueError:
            return key  # who checks it says what is wrong
        return str(getattr(address, "ipv4_mapped", None) or address)


class NetworkForward(models.NetworkForward, Editable[models.NetworkForwardPut], Deletable):
    """An address on which a network takes connections, and the instances that get them.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment.
    """

    _PATCH_NEEDS_CONFIG = True
    KEY = "listen_address"


class NetworkForwardsAPI(_ByAddress[NetworkForward], Edits[models.NetworkForwardPut], Ensures, Deletes):
    """``network.forwards``; the key is the listen address."""

    _resource, _path_part, _options = NetworkForward, "forwards", _FILTER

    @known_options(models.NetworkForwardPut)
    async def create(self, listen_address: str, **body: Unpack[models.NetworkForwardPut]) -> NetworkForward:
        """Create a forward.

        Args:
            listen_address: The address on which the network takes connections.
            **body: ``config``, with the default target as ``target_address``; ``ports``; and ``description``: see
                `NetworkForwardPut`.

        Returns:
            The forward, read.

        Raises:
            IncusAPIError: The address is taken, or the server refused the configuration.

        API:
            ``POST /1.0/networks/{name}/forwards``
        """
        return await self._create(listen_address, body)


class NetworkLoadBalancer(models.NetworkLoadBalancer, Editable[models.NetworkLoadBalancerPut], Deletable):
    """An address on which an OVN network takes connections, and the instances over which it spreads them.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment.
    """

    _PATCH_NEEDS_CONFIG = True
    KEY = "listen_address"

    async def get_state(self) -> models.NetworkLoadBalancerState:
        """Which backends answer, where ``healthcheck`` is configured.

        Raises:
            IncusUnsupportedError: The server lacks the extension.
            IncusAPIError: There is no such load balancer.

        API:
            ``GET /1.0/networks/{name}/load-balancers/{listen_address}/state``. Extension
            ``network_load_balancer_state``.
        """
        await self._scope.require("network_load_balancer_state", "NetworkLoadBalancer.get_state()")
        return models.NetworkLoadBalancerState((await self._request("GET", "state")).object)


class NetworkLoadBalancersAPI(_ByAddress[NetworkLoadBalancer], Edits[models.NetworkLoadBalancerPut], Ensures, Deletes):
    """``network.load_balancers``, of OVN networks; the key is the listen address."""

    _resource, _path_part, _options = NetworkLoadBalancer, "load-balancers", _FILTER

    @known_options(models.NetworkLoadBalancerPut)
    async def create(self, listen_address: str, **body: Unpack[models.NetworkLoadBalancerPut]) -> NetworkLoadBalancer:
        """Create a load balancer.

        Args:
            listen_address: The address on which the network takes connections.
            **body: ``backends``, ``ports``, ``config`` and ``description``: see `NetworkLoadBalancerPut`.

        Returns:
            The load balancer, read.

        Raises:
            IncusAPIError: The address is taken, or the server refused the configuration.

        API:
            ``POST /1.0/networks/{name}/load-balancers``
        """
        return await self._create(listen_address, body)

    async def get_state(self, listen_address: str) -> models.NetworkLoadBalancerState:
        """Which backends of a load balancer answer, where ``healthcheck`` is configured.

        Args:
            listen_address: The load balancer.

        Raises:
            IncusUnsupportedError: The server lacks the extension.
            IncusAPIError: There is no such load balancer.

        API:
            ``GET /1.0/networks/{name}/load-balancers/{listen_address}/state``. Extension
            ``network_load_balancer_state``.
        """
        return await self[listen_address].get_state()


class NetworkPeer(models.NetworkPeer, Editable[models.NetworkPeerPut], Deletable):
    """A route from an OVN network to another, which works once the other has one back.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment. `patch` acts
    like `replace`.
    """


class NetworkPeersAPI(Collection[NetworkPeer], Edits[models.NetworkPeerPut], Ensures, Deletes):
    """``network.peers``, of OVN networks."""

    _resource, _path_part, _options = NetworkPeer, "peers", _FILTER

    @known_options(models.NetworkPeerPut)
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
        """Create a peer.

        Args:
            name: Its name.
            target_network: The other network, for the type ``local``.
            target_project: The project of the other network; empty for this network's own.
            type: ``local`` for a network of this server or cluster, ``remote`` for one of an integration.
            target_integration: The integration, for the type ``remote``.
            **body: ``config`` and ``description``.

        Returns:
            The peer, read.

        Raises:
            IncusAPIError: The name is taken, or the server refused the target.

        API:
            ``POST /1.0/networks/{name}/peers``
        """
        target = {"target_network": target_network, "target_project": target_project}
        peer = await self._create(name, {"type": type, "target_integration": target_integration, **target, **body})
        if (config := body.get("config")) and not peer.config:
            await peer.update({"config": config})  # servers of 7.0 drop it from the POST
        return peer


class Network(models.Network, Editable[models.NetworkPut], Renamable, Deletable):
    """A network that instances connect to: a bridge, or of another type."""

    _PENDING_IS_HALF_MADE = True

    @property
    def forwards(self) -> NetworkForwardsAPI:
        """Its forwards."""
        return NetworkForwardsAPI(self)

    @property
    def load_balancers(self) -> NetworkLoadBalancersAPI:
        """The load balancers of an OVN network."""
        return NetworkLoadBalancersAPI(self)

    @property
    def peers(self) -> NetworkPeersAPI:
        """The routes of an OVN network to others."""
        return NetworkPeersAPI(self)

    async def get_state(self) -> models.NetworkState:
        """Addresses, counters and links of the network at this moment.

        In a cluster, they are those of the member that `Client.use_target` names.

        Raises:
            IncusNotFoundError: There is no such network.

        API:
            ``GET /1.0/networks/{name}/state``
        """
        return models.NetworkState((await self._request("GET", "state")).object)

    async def get_leases(self) -> list[models.NetworkLease]:
        """The addresses of the network that are in use, with the host name and the MAC address of each.

        Raises:
            IncusNotFoundError: There is no such network, or Incus does not manage it.

        API:
            ``GET /1.0/networks/{name}/leases``
        """
        return Table(models.NetworkLease(lease) for lease in (await self._request("GET", "leases")).objects)


class NetworksAPI(Collection[Network], Edits[models.NetworkPut], Ensures, Renames, Deletes):
    """``client.networks``."""

    _resource, _path_part, _urls_quoted = Network, "networks", False
    _options: ClassVar = {**_FILTER, "all-projects": "networks_all_projects"}

    async def create(
        self,
        name: str,
        config: models.Config | None = None,
        description: str = "",
        type: models.NetworkType = "bridge",
        *,
        target: str | None = None,
    ) -> Network:
        """Create a network.

        In a cluster, all but an OVN network are first created on each member, with ``target`` and the member's own part
        of ``config``, as ``parent``; and then once without a target.

        Args:
            name: Its name.
            config: Its configuration. For a bridge without ``ipv4.address`` the server picks a private subnet, after
                trying to reach addresses in several: name one, or ``none``.
            description: A text for people.
            type: ``bridge``, ``ovn``, ``macvlan``, ``sriov`` or ``physical``.
            target: A cluster member, for the first step in a cluster.

        Returns:
            The network, read.

        Raises:
            IncusAPIError: The name is taken, or the server refused the configuration.

        API:
            ``POST /1.0/networks``
        """
        body = {"config": config or {}, "description": description, "type": type}
        return await NetworksAPI(self._scope.view(target=target))._create(name, body)

    async def get_state(self, name: str) -> models.NetworkState:
        """Addresses, counters and links of a network at this moment.

        In a cluster, they are those of the member that `Client.use_target` names.

        Args:
            name: The network.

        Raises:
            IncusNotFoundError: There is no such network.

        API:
            ``GET /1.0/networks/{name}/state``
        """
        return await self[name].get_state()

    async def get_leases(self, name: str) -> builtins.list[models.NetworkLease]:
        """The addresses of a network that are in use, with the host name and the MAC address of each.

        Args:
            name: The network.

        Raises:
            IncusNotFoundError: There is no such network, or Incus does not manage it.

        API:
            ``GET /1.0/networks/{name}/leases``
        """
        return await self[name].get_leases()

    async def get_allocations(self, *, all_projects: bool = False) -> builtins.list[models.NetworkAllocations]:
        """The addresses in use, each with the network, instance, forward or load balancer that has it.

        Args:
            all_projects: Those of every project.

        API:
            ``GET /1.0/network-allocations``. Extension ``network_allocations``.
        """
        allocations = AtPath(self._scope, ("network-allocations",))
        answer = await allocations._request("GET", query={"all-projects": all_projects or None})
        return Table(models.NetworkAllocations(each) for each in answer.objects)

    # Forwarders that exist only for 1.0.0.

    async def state(self, name: str) -> models.NetworkState:
        """Addresses, counters and links of a network at this moment: see `get_state`.

        Args:
            name: The network.

        Raises:
            IncusNotFoundError: There is no such network.

        API:
            ``GET /1.0/networks/{name}/state``
        """
        return await self.get_state(name)


class NetworkACL(models.NetworkACL, Editable[models.NetworkACLPut], Renamable, Deletable):
    """Rules for traffic; networks and NICs use it by ``security.acls``."""

    _PATCH_NEEDS_CONFIG = True

    async def get_log(self) -> str:
        """The traffic that the logged rules of the ACL met on OVN networks.

        Returns:
            A JSON object on each line, the oldest first; empty if there was none.

        Raises:
            IncusNotFoundError: There is no such ACL.
            IncusAPIError: The server has no OVN.

        API:
            ``GET /1.0/network-acls/{name}/log``. Extension ``network_acl_log``.
        """
        log = (await self._request("GET", "log")).content
        return log.decode(errors="replace")


class NetworkACLsAPI(Collection[NetworkACL], Edits[models.NetworkACLPut], Ensures, Renames, Deletes):
    """``client.network_acls``."""

    _resource, _path_part, _urls_quoted = NetworkACL, "network-acls", False
    _options: ClassVar = {**_FILTER, "all-projects": "network_acls_all_projects"}

    @known_options(models.NetworkACLPut)
    async def create(self, name: str, **body: Unpack[models.NetworkACLPut]) -> NetworkACL:
        """Create an ACL.

        Args:
            name: Its name.
            **body: ``ingress`` and ``egress``, the rules; ``config`` and ``description``: see `NetworkACLPut`.

        Returns:
            The ACL, read.

        Raises:
            IncusAPIError: The name is taken, or the server refused the configuration.

        API:
            ``POST /1.0/network-acls``
        """
        return await self._create(name, body)

    async def get_log(self, name: str) -> str:
        """The traffic that the logged rules of an ACL met on OVN networks.

        Args:
            name: The ACL.

        Returns:
            A JSON object on each line, the oldest first; empty if there was none.

        Raises:
            IncusNotFoundError: There is no such ACL.
            IncusAPIError: The server has no OVN.

        API:
            ``GET /1.0/network-acls/{name}/log``. Extension ``network_acl_log``.
        """
        return await self[name].get_log()


class NetworkAddressSet(models.NetworkAddressSet, Editable[models.NetworkAddressSetPut], Renamable, Deletable):
    """A set of addresses, which rules of ACLs use as ``$name``; needs the extension ``network_address_set``."""

    _PATCH_NEEDS_CONFIG = True
    _EXTENSION = "network_address_set"


class NetworkAddressSetsAPI(
    Collection[NetworkAddressSet], Edits[models.NetworkAddressSetPut], Ensures, Renames, Deletes
):
    """``client.network_address_sets``; needs the extension ``network_address_set``."""

    _resource, _path_part, _urls_quoted = NetworkAddressSet, "network-address-sets", False
    _options: ClassVar = {**_FILTER, "all-projects": "network_address_set"}

    @known_options(models.NetworkAddressSetPut)
    async def create(self, name: str, **body: Unpack[models.NetworkAddressSetPut]) -> NetworkAddressSet:
        """Create an address set.

        Args:
            name: Its name.
            **body: ``addresses``, ``config`` and ``description``: see `NetworkAddressSetPut`.

        Returns:
            The address set, read.

        Raises:
            IncusUnsupportedError: The server lacks the extension.
            IncusAPIError: The name is taken, or the server refused the configuration.

        API:
            ``POST /1.0/network-address-sets``. Extension ``network_address_set``.
        """
        return await self._create(name, body)


class NetworkZoneRecord(models.NetworkZoneRecord, Editable[models.NetworkZoneRecordPut], Deletable):
    """A name in a zone, with its entries.

    `patch` is of little use: servers merge the zone's configuration into the record's, and then refuse the result.
    """

    _PATCH_NEEDS_CONFIG = True


class NetworkZoneRecordsAPI(Collection[NetworkZoneRecord], Edits[models.NetworkZoneRecordPut], Ensures, Deletes):
    """``zone.records``; the key is a name without the zone's, or ``@`` for the zone itself."""

    _resource, _path_part, _options = NetworkZoneRecord, "records", _FILTER

    @known_options(models.NetworkZoneRecordPut)
    async def create(self, name: str, **body: Unpack[models.NetworkZoneRecordPut]) -> NetworkZoneRecord:
        """Create a record.

        Args:
            name: The name without the zone's, or ``@`` for the zone itself.
            **body: ``entries``, ``config`` and ``description``: see `NetworkZoneRecordPut`.

        Returns:
            The record, read.

        Raises:
            IncusAPIError: The name is taken, or the server refused the configuration.

        API:
            ``POST /1.0/network-zones/{zone}/records``
        """
        return await self._create(name, body)


class NetworkZone(models.NetworkZone, Editable[models.NetworkZonePut], Deletable):
    """A DNS zone; networks use it by ``dns.zone.forward`` and the like."""

    _PATCH_NEEDS_CONFIG = True

    @property
    def records(self) -> NetworkZoneRecordsAPI:
        """Records beside those that its networks bring."""
        return NetworkZoneRecordsAPI(self)


class NetworkZonesAPI(Collection[NetworkZone], Edits[models.NetworkZonePut], Ensures, Deletes):
    """``client.network_zones``; the key is the domain name."""

    _resource, _path_part, _urls_quoted = NetworkZone, "network-zones", False
    _options: ClassVar = {**_FILTER, "all-projects": "network_zones_all_projects"}

    @known_options(models.NetworkZonePut)
    async def create(self, name: str, **body: Unpack[models.NetworkZonePut]) -> NetworkZone:
        """Create a zone.

        Args:
            name: The domain name.
            **body: ``config`` and ``description``.

        Returns:
            The zone, read.

        Raises:
            IncusAPIError: The name is taken, or the server refused the configuration.

        API:
            ``POST /1.0/network-zones``
        """
        return await self._create(name, body)


class NetworkIntegration(models.NetworkIntegration, Editable[models.NetworkIntegrationPut], Renamable, Deletable):
    """A connection to the networks of another server or cluster, for peers of the type ``remote``."""

    _PATCH_NEEDS_CONFIG = True


class NetworkIntegrationsAPI(
    Collection[NetworkIntegration], Edits[models.NetworkIntegrationPut], Ensures, Renames, Deletes
):
    """``client.network_integrations``."""

    _resource, _path_part, _options = NetworkIntegration, "network-integrations", _FILTER

    @known_options(models.NetworkIntegrationPut)
    async def create(
        self, name: str, type: str = "ovn", **body: Unpack[models.NetworkIntegrationPut]
    ) -> NetworkIntegration:
        """Create an integration.

        Args:
            name: Its name.
            type: Its type, ``ovn``.
            **body: ``config``, with ``ovn.northbound_connection``, ``ovn.southbound_connection``,
                ``ovn.transit.pattern`` and the like; and ``description``.

        Returns:
            The integration, read.

        Raises:
            IncusAPIError: The name is taken, or the server refused the configuration.

        API:
            ``POST /1.0/network-integrations``
        """
        return await self._create(name, {"type": type, **body})
