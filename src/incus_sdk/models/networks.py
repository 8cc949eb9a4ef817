"""Networks and what hangs on them: records and request bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from .base import Config, Record, RecordList, RecordMap

NetworkType = Literal["bridge", "ovn", "macvlan", "sriov", "physical"] | str
"""What a managed network is; an interface that is not managed is a ``bond``, ``vlan``, ``loopback`` and the like."""


class Network(Record):
    """A network of the host: one that Incus manages, or an interface it only found there."""

    name: str
    description: str
    type: NetworkType
    config: dict[str, str]
    managed: bool
    """Whether Incus made it, and so can change or delete it."""
    status: str
    """``Pending``, ``Created``, ``Errored``, ``Unknown`` or ``Unavailable``; empty when not managed."""
    locations: list[str]
    """Cluster members that have it; empty on a server of its own."""
    project: str
    used_by: list[str]
    """URLs of the instances, profiles and networks that use it."""


class NetworkPut(TypedDict, total=False):
    """The parts of a network that can change."""

    config: Config
    description: str


class NetworksPost(NetworkPut, total=False):
    """A new network."""

    name: str
    type: NetworkType
    """Empty: ``bridge``, or ``ovn`` in other projects."""


class NetworkState(Record):
    """The current state of a network's interface, from the kernel or OVN."""

    addresses: RecordList[NetworkStateAddress]
    counters: NetworkStateCounters
    hwaddr: str
    """MAC address."""
    mtu: int
    """Largest packet, in bytes."""
    state: str
    """``up`` or ``down``."""
    type: str
    """``broadcast``, ``loopback`` or ``point-to-point``."""
    bond: NetworkStateBond
    """Empty unless it is a bond."""
    bridge: NetworkStateBridge
    """Empty unless it is a bridge."""
    ovn: NetworkStateOVN
    """Empty unless OVN runs it."""
    vlan: NetworkStateVLAN
    """Empty unless it is a VLAN."""


class NetworkStateAddress(Record):
    """One address on a network's interface."""

    address: str
    family: str
    """``inet`` or ``inet6``."""
    netmask: str
    """Length of the prefix, as text: ``24``."""
    scope: str
    """``global``, ``link`` or ``local``."""


class NetworkStateBond(Record):
    """How interfaces are joined into a bond."""

    mode: str
    """The kernel's name of it, such as ``802.3ad``."""
    transmit_policy: str
    """What decides which link a packet takes, such as ``layer3+4``."""
    up_delay: int
    """Milliseconds before a link that came back is used."""
    down_delay: int
    """Milliseconds before a lost link is given up."""
    mii_frequency: int
    """Milliseconds between two checks of the links."""
    mii_state: str
    """``up`` or ``down``."""
    lower_devices: list[str]
    """The interfaces it joins."""


class NetworkStateBridge(Record):
    """Details of a bridge."""

    id: str
    """Its id in the spanning tree: priority and MAC address."""
    stp: bool
    """Whether it speaks the spanning tree protocol."""
    forward_delay: int
    """Milliseconds a new port waits before it forwards."""
    vlan_default: int
    """VLAN of untagged packets."""
    vlan_filtering: bool
    upper_devices: list[str]
    """The interfaces plugged into it."""


class NetworkStateCounters(Record):
    """Traffic since the interface came up."""

    bytes_received: int
    bytes_sent: int
    packets_received: int
    packets_sent: int


class NetworkStateOVN(Record):
    """A network's place in OVN."""

    chassis: str
    """Server that currently has its gateway."""
    logical_router: str
    logical_switch: str
    uplink_ipv4: str
    """Its address on the uplink network."""
    uplink_ipv6: str
    """Its address on the uplink network."""


class NetworkStateVLAN(Record):
    """Details of a VLAN."""

    lower_device: str
    """Interface that carries it."""
    vid: int
    """VLAN id."""


class NetworkLease(Record):
    """An address that a network has leased, or uses itself."""

    _shown = ("hostname", "address", "type")

    hostname: str
    address: str
    hwaddr: str
    """MAC address; empty for the network's own."""
    type: str
    """``dynamic``, ``static``, ``gateway`` or ``uplink``."""
    location: str
    """Cluster member that reported it."""


class NetworkAllocations(Record):
    """An address in use, and what uses it."""

    _shown = ("addresses", "network", "used_by")

    addresses: str
    """One address or subnet, with its prefix: ``192.0.2.1/24``."""
    network: str
    """Empty without the extension ``network_allocations_network``."""
    type: str
    """``network``, ``instance``, ``network-forward`` or ``network-load-balancer``."""
    used_by: str
    """URL of what uses it."""
    hwaddr: str
    """MAC address, of instances only."""
    nat: bool
    """Whether traffic that leaves the network gets another address."""


class NetworkACL(Record):
    """A named set of traffic rules, to be put on networks and NICs."""

    name: str
    description: str
    config: dict[str, str]
    """``user.*`` keys only."""
    egress: RecordList[NetworkACLRule]
    """For traffic out of instances; their order means nothing."""
    ingress: RecordList[NetworkACLRule]
    """For traffic into instances; their order means nothing."""
    project: str
    used_by: list[str]


class NetworkACLRule(Record):
    """A rule: which packets, and what happens to them."""

    action: str
    """``allow``, ``allow-stateless``, ``reject`` or ``drop``."""
    state: str
    """``enabled``, ``disabled`` or ``logged``."""
    description: str
    protocol: str
    """``tcp``, ``udp``, ``icmp4`` or ``icmp6``; empty: any."""
    source: str
    """Subnets, ranges, address sets (``$name``), ACLs, ``@internal`` or ``@external``, between commas; empty: any."""
    source_port: str
    """Ports and ranges between commas, for TCP and UDP; empty: any."""
    destination: str
    """Written like ``source``."""
    destination_port: str
    """Written like ``source_port``."""
    icmp_type: str
    """A number; empty: any."""
    icmp_code: str
    """A number; empty: any."""


class NetworkACLRuleDict(TypedDict, total=False):
    """A rule as callers write it; its fields mean what those of `NetworkACLRule` do."""

    action: str
    state: str
    description: str
    protocol: str
    source: str
    source_port: str
    destination: str
    destination_port: str
    icmp_type: str
    icmp_code: str


class NetworkACLPut(TypedDict, total=False):
    """The parts of an ACL that can change."""

    config: Config
    description: str
    egress: Sequence[NetworkACLRule | NetworkACLRuleDict]
    """For traffic out of instances."""
    ingress: Sequence[NetworkACLRule | NetworkACLRuleDict]
    """For traffic into instances."""


class NetworkAddressSet(Record):
    """A named set of addresses that ACL rules refer to as ``$name``."""

    name: str
    description: str
    addresses: list[str]
    """IPv4 and IPv6 addresses and subnets."""
    config: dict[str, str]
    """``user.*`` keys only."""
    project: str
    used_by: list[str]


class NetworkAddressSetPut(TypedDict, total=False):
    """The parts of an address set that can change."""

    addresses: Sequence[str]
    """IPv4 and IPv6 addresses and subnets."""
    config: Config
    description: str


class NetworkForward(Record):
    """An outside address whose traffic goes to addresses inside the network."""

    listen_address: str
    """The outside address; it names the forward."""
    description: str
    config: dict[str, str]
    """``target_address`` gets the traffic of all ports that ``ports`` does not name."""
    ports: RecordList[NetworkForwardPort]
    location: str
    """Cluster member that listens; empty where the network does not belong to one."""


class NetworkForwardPort(Record):
    """Ports of a forward, and where they lead."""

    description: str
    protocol: str
    """``tcp`` or ``udp``."""
    listen_port: str
    """Ports and ranges between commas: ``80,8080-8090``."""
    target_address: str
    target_port: str
    """As many as ``listen_port`` has, or one for all; empty: the same ones."""
    snat: bool
    """Whether the target's own outgoing traffic gets the outside address (extension ``network_forward_snat``)."""


class NetworkForwardPortDict(TypedDict, total=False):
    """Ports of a forward as callers write them; its fields mean what those of `NetworkForwardPort` do."""

    description: str
    protocol: str
    listen_port: str
    target_address: str
    target_port: str
    snat: bool


class NetworkForwardPut(TypedDict, total=False):
    """The parts of a forward that can change."""

    config: Config
    description: str
    ports: Sequence[NetworkForwardPort | NetworkForwardPortDict]


class NetworkIntegration(Record):
    """A tie to a network control plane elsewhere, for peers to use."""

    name: str
    description: str
    type: str
    """``ovn``."""
    config: dict[str, str]
    """``ovn.*`` keys hold addresses, certificates and a private key."""
    used_by: list[str]
    """URLs of the peers that use it."""


class NetworkIntegrationPut(TypedDict, total=False):
    """The parts of an integration that can change."""

    config: Config
    description: str


class NetworkLoadBalancer(Record):
    """An outside address whose traffic is spread over backends inside the network."""

    listen_address: str
    """The outside address; it names the load balancer."""
    description: str
    config: dict[str, str]
    """``healthcheck*`` keys turn checks of the backends on."""
    backends: RecordList[NetworkLoadBalancerBackend]
    ports: RecordList[NetworkLoadBalancerPort]
    location: str
    """Cluster member that listens; empty where the network does not belong to one."""


class NetworkLoadBalancerBackend(Record):
    """A named target of a load balancer."""

    name: str
    description: str
    target_address: str
    target_port: str
    """As many as the listening port entry has, or one for all; empty: the same ones."""


class NetworkLoadBalancerBackendDict(TypedDict, total=False):
    """A backend as callers write it; its fields mean what those of `NetworkLoadBalancerBackend` do."""

    name: str
    description: str
    target_address: str
    target_port: str


class NetworkLoadBalancerPort(Record):
    """Ports of a load balancer, and the backends they lead to."""

    description: str
    protocol: str
    """``tcp`` or ``udp``."""
    listen_port: str
    """Ports and ranges between commas: ``80,8080-8090``."""
    target_backend: list[str]
    """Names of backends."""


class NetworkLoadBalancerPortDict(TypedDict, total=False):
    """Ports of a load balancer as callers write them; its fields mean what those of `NetworkLoadBalancerPort` do."""

    description: str
    protocol: str
    listen_port: str
    target_backend: Sequence[str]


class NetworkLoadBalancerPut(TypedDict, total=False):
    """The parts of a load balancer that can change."""

    config: Config
    description: str
    backends: Sequence[NetworkLoadBalancerBackend | NetworkLoadBalancerBackendDict]
    ports: Sequence[NetworkLoadBalancerPort | NetworkLoadBalancerPortDict]


class NetworkLoadBalancerState(Record):
    """Which backends of a load balancer answer."""

    backend_health: RecordMap[NetworkLoadBalancerStateBackendHealth]
    """By the name of the backend; empty when no checks are configured."""


class NetworkLoadBalancerStateBackendHealth(Record):
    """The result of the health checks of one backend."""

    address: str
    ports: RecordList[NetworkLoadBalancerStateBackendHealthPort]


class NetworkLoadBalancerStateBackendHealthPort(Record):
    """The result of the health check of one port of a backend."""

    port: int
    protocol: str
    """``tcp`` or ``udp``."""
    status: str
    """``online``, ``offline``, or ``unknown`` while there is no answer yet."""


class NetworkPeer(Record):
    """A route between two OVN networks; it carries traffic once both sides ask for it."""

    name: str
    description: str
    config: dict[str, str]
    """``user.*`` keys only."""
    type: str
    """``local`` (to a network of this server or cluster) or ``remote`` (through an integration)."""
    target_project: str
    """Of a local peer."""
    target_network: str
    """Of a local peer."""
    target_integration: str
    """Of a remote peer."""
    status: str
    """``Pending`` until the other side agrees, then ``Created``; ``Errored``."""
    used_by: list[str]


class NetworkPeerPut(TypedDict, total=False):
    """The parts of a peer that can change."""

    config: Config
    description: str


class NetworkZone(Record):
    """A DNS zone that the server generates from its networks, for name servers to fetch."""

    name: str
    """Its domain name."""
    description: str
    config: dict[str, str]
    project: str
    used_by: list[str]
    """URLs of its networks."""


class NetworkZonePut(TypedDict, total=False):
    """The parts of a zone that can change."""

    config: Config
    description: str


class NetworkZoneRecord(Record):
    """A name added to a DNS zone, with its entries."""

    name: str
    """Without the zone's name; ``@`` is the zone itself."""
    description: str
    config: dict[str, str]
    """``user.*`` keys only."""
    entries: RecordList[NetworkZoneRecordEntry]


class NetworkZoneRecordEntry(Record):
    """One DNS answer."""

    type: str
    """A DNS type, such as ``A`` or ``TXT``."""
    value: str
    """Its content, as zone files have it."""
    ttl: int
    """Seconds for which it can be cached; 0: the server's default of 300."""


class NetworkZoneRecordEntryDict(TypedDict, total=False):
    """A DNS answer as callers write it; its fields mean what those of `NetworkZoneRecordEntry` do."""

    type: str
    value: str
    ttl: int


class NetworkZoneRecordPut(TypedDict, total=False):
    """The parts of a zone's record that can change."""

    config: Config
    description: str
    entries: Sequence[NetworkZoneRecordEntry | NetworkZoneRecordEntryDict]
