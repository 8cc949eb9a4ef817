"""Networks with their forwards, load balancers and peers; ACLs, address sets, DNS zones and integrations.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ... import models
from ...api import networks as _source
from ._by_key import Deletes, Edits, Renames
from ._ensure import Ensures
from .base import Collection, Deletable, Editable, Renamable, Resource

if TYPE_CHECKING:
    import builtins
    from typing import Unpack

Addressed = TypeVar("Addressed", bound=Resource)


class _ByAddress(Collection[Addressed]):
    """Objects whose key is an address, which servers write in its shortest form."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source._ByAddress[Any]: ...


class NetworkForward(models.NetworkForward, Editable[models.NetworkForwardPut], Deletable):
    """An address on which a network takes connections, and the instances that get them.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkForward: ...

    KEY = _source.NetworkForward.KEY


class NetworkForwardsAPI(_ByAddress[NetworkForward], Edits[models.NetworkForwardPut], Ensures, Deletes):
    """``network.forwards``; the key is the listen address."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkForwardsAPI: ...

    def create(self, listen_address: str, **body: Unpack[models.NetworkForwardPut]) -> NetworkForward:
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
        result: NetworkForward = self._wrap(self._portal.run(self._async.create(listen_address, **body)))
        return result


class NetworkLoadBalancer(models.NetworkLoadBalancer, Editable[models.NetworkLoadBalancerPut], Deletable):
    """An address on which an OVN network takes connections, and the instances over which it spreads them.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkLoadBalancer: ...

    KEY = _source.NetworkLoadBalancer.KEY

    def get_state(self) -> models.NetworkLoadBalancerState:
        """Which backends answer, where ``healthcheck`` is configured.

        Raises:
            IncusUnsupportedError: The server lacks the extension.
            IncusAPIError: There is no such load balancer.

        API:
            ``GET /1.0/networks/{name}/load-balancers/{listen_address}/state``. Extension
            ``network_load_balancer_state``.
        """
        return self._portal.run(self._async.get_state())


class NetworkLoadBalancersAPI(_ByAddress[NetworkLoadBalancer], Edits[models.NetworkLoadBalancerPut], Ensures, Deletes):
    """``network.load_balancers``, of OVN networks; the key is the listen address."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkLoadBalancersAPI: ...

    def create(self, listen_address: str, **body: Unpack[models.NetworkLoadBalancerPut]) -> NetworkLoadBalancer:
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
        result: NetworkLoadBalancer = self._wrap(self._portal.run(self._async.create(listen_address, **body)))
        return result

    def get_state(self, listen_address: str) -> models.NetworkLoadBalancerState:
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
        return self._portal.run(self._async.get_state(listen_address))


class NetworkPeer(models.NetworkPeer, Editable[models.NetworkPeerPut], Deletable):
    """A route from an OVN network to another, which works once the other has one back.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment. `patch` acts
    like `replace`.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkPeer: ...


class NetworkPeersAPI(Collection[NetworkPeer], Edits[models.NetworkPeerPut], Ensures, Deletes):
    """``network.peers``, of OVN networks."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkPeersAPI: ...

    def create(
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
        result: NetworkPeer = self._wrap(
            self._portal.run(
                self._async.create(
                    name,
                    target_network,
                    target_project=target_project,
                    type=type,
                    target_integration=target_integration,
                    **body,
                )
            )
        )
        return result


class Network(models.Network, Editable[models.NetworkPut], Renamable, Deletable):
    """A network that instances connect to: a bridge, or of another type."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Network: ...

    @property
    def forwards(self) -> NetworkForwardsAPI:
        """Its forwards."""
        result: NetworkForwardsAPI = self._wrap(self._async.forwards)
        return result

    @property
    def load_balancers(self) -> NetworkLoadBalancersAPI:
        """The load balancers of an OVN network."""
        result: NetworkLoadBalancersAPI = self._wrap(self._async.load_balancers)
        return result

    @property
    def peers(self) -> NetworkPeersAPI:
        """The routes of an OVN network to others."""
        result: NetworkPeersAPI = self._wrap(self._async.peers)
        return result

    def get_state(self) -> models.NetworkState:
        """Addresses, counters and links of the network at this moment.

        In a cluster, they are those of the member that `Client.use_target` names.

        Raises:
            IncusNotFoundError: There is no such network.

        API:
            ``GET /1.0/networks/{name}/state``
        """
        return self._portal.run(self._async.get_state())

    def get_leases(self) -> list[models.NetworkLease]:
        """The addresses of the network that are in use, with the host name and the MAC address of each.

        Raises:
            IncusNotFoundError: There is no such network, or Incus does not manage it.

        API:
            ``GET /1.0/networks/{name}/leases``
        """
        return self._portal.run(self._async.get_leases())


class NetworksAPI(Collection[Network], Edits[models.NetworkPut], Ensures, Renames, Deletes):
    """``client.networks``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworksAPI: ...

    def create(
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
        result: Network = self._wrap(
            self._portal.run(self._async.create(name, config, description, type, target=target))
        )
        return result

    def get_state(self, name: str) -> models.NetworkState:
        """Addresses, counters and links of a network at this moment.

        In a cluster, they are those of the member that `Client.use_target` names.

        Args:
            name: The network.

        Raises:
            IncusNotFoundError: There is no such network.

        API:
            ``GET /1.0/networks/{name}/state``
        """
        return self._portal.run(self._async.get_state(name))

    def get_leases(self, name: str) -> builtins.list[models.NetworkLease]:
        """The addresses of a network that are in use, with the host name and the MAC address of each.

        Args:
            name: The network.

        Raises:
            IncusNotFoundError: There is no such network, or Incus does not manage it.

        API:
            ``GET /1.0/networks/{name}/leases``
        """
        return self._portal.run(self._async.get_leases(name))

    def get_allocations(self, *, all_projects: bool = False) -> builtins.list[models.NetworkAllocations]:
        """The addresses in use, each with the network, instance, forward or load balancer that has it.

        Args:
            all_projects: Those of every project.

        API:
            ``GET /1.0/network-allocations``. Extension ``network_allocations``.
        """
        return self._portal.run(self._async.get_allocations(all_projects=all_projects))

    def state(self, name: str) -> models.NetworkState:
        """Addresses, counters and links of a network at this moment: see `get_state`.

        Args:
            name: The network.

        Raises:
            IncusNotFoundError: There is no such network.

        API:
            ``GET /1.0/networks/{name}/state``
        """
        return self._portal.run(self._async.state(name))


class NetworkACL(models.NetworkACL, Editable[models.NetworkACLPut], Renamable, Deletable):
    """Rules for traffic; networks and NICs use it by ``security.acls``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkACL: ...

    def get_log(self) -> str:
        """The traffic that the logged rules of the ACL met on OVN networks.

        Returns:
            A JSON object on each line, the oldest first; empty if there was none.

        Raises:
            IncusNotFoundError: There is no such ACL.
            IncusAPIError: The server has no OVN.

        API:
            ``GET /1.0/network-acls/{name}/log``. Extension ``network_acl_log``.
        """
        return self._portal.run(self._async.get_log())


class NetworkACLsAPI(Collection[NetworkACL], Edits[models.NetworkACLPut], Ensures, Renames, Deletes):
    """``client.network_acls``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkACLsAPI: ...

    def create(self, name: str, **body: Unpack[models.NetworkACLPut]) -> NetworkACL:
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
        result: NetworkACL = self._wrap(self._portal.run(self._async.create(name, **body)))
        return result

    def get_log(self, name: str) -> str:
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
        return self._portal.run(self._async.get_log(name))


class NetworkAddressSet(models.NetworkAddressSet, Editable[models.NetworkAddressSetPut], Renamable, Deletable):
    """A set of addresses, which rules of ACLs use as ``$name``; needs the extension ``network_address_set``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkAddressSet: ...


class NetworkAddressSetsAPI(
    Collection[NetworkAddressSet], Edits[models.NetworkAddressSetPut], Ensures, Renames, Deletes
):
    """``client.network_address_sets``; needs the extension ``network_address_set``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkAddressSetsAPI: ...

    def create(self, name: str, **body: Unpack[models.NetworkAddressSetPut]) -> NetworkAddressSet:
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
        result: NetworkAddressSet = self._wrap(self._portal.run(self._async.create(name, **body)))
        return result


class NetworkZoneRecord(models.NetworkZoneRecord, Editable[models.NetworkZoneRecordPut], Deletable):
    """A name in a zone, with its entries.

    `patch` is of little use: servers merge the zone's configuration into the record's, and then refuse the result.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkZoneRecord: ...


class NetworkZoneRecordsAPI(Collection[NetworkZoneRecord], Edits[models.NetworkZoneRecordPut], Ensures, Deletes):
    """``zone.records``; the key is a name without the zone's, or ``@`` for the zone itself."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkZoneRecordsAPI: ...

    def create(self, name: str, **body: Unpack[models.NetworkZoneRecordPut]) -> NetworkZoneRecord:
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
        result: NetworkZoneRecord = self._wrap(self._portal.run(self._async.create(name, **body)))
        return result


class NetworkZone(models.NetworkZone, Editable[models.NetworkZonePut], Deletable):
    """A DNS zone; networks use it by ``dns.zone.forward`` and the like."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkZone: ...

    @property
    def records(self) -> NetworkZoneRecordsAPI:
        """Records beside those that its networks bring."""
        result: NetworkZoneRecordsAPI = self._wrap(self._async.records)
        return result


class NetworkZonesAPI(Collection[NetworkZone], Edits[models.NetworkZonePut], Ensures, Deletes):
    """``client.network_zones``; the key is the domain name."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkZonesAPI: ...

    def create(self, name: str, **body: Unpack[models.NetworkZonePut]) -> NetworkZone:
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
        result: NetworkZone = self._wrap(self._portal.run(self._async.create(name, **body)))
        return result


class NetworkIntegration(models.NetworkIntegration, Editable[models.NetworkIntegrationPut], Renamable, Deletable):
    """A connection to the networks of another server or cluster, for peers of the type ``remote``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkIntegration: ...


class NetworkIntegrationsAPI(
    Collection[NetworkIntegration], Edits[models.NetworkIntegrationPut], Ensures, Renames, Deletes
):
    """``client.network_integrations``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NetworkIntegrationsAPI: ...

    def create(self, name: str, type: str = "ovn", **body: Unpack[models.NetworkIntegrationPut]) -> NetworkIntegration:
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
        result: NetworkIntegration = self._wrap(self._portal.run(self._async.create(name, type, **body)))
        return result
