"""The cluster, its members and groups: records and request bodies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from .base import Config, Record, RecordList, RecordMap
from .storage import StoragePoolState


class Cluster(Record):
    """Whether the server is in a cluster, and what a server that joins must bring."""

    enabled: bool
    server_name: str
    """The answering member's name."""
    member_config: RecordList[ClusterMemberConfigKey]
    """Settings that each member has for itself; their values are left empty for the joining server to fill in."""


class ClusterMemberConfigKey(Record):
    """One setting that each member of the cluster has for itself."""

    entity: str
    """What it belongs to: ``network`` or ``storage-pool``."""
    name: str
    """Name of that network or pool."""
    key: str
    value: str
    description: str


class ClusterMemberConfigKeyDict(TypedDict, total=False):
    """Such a setting as callers write it; its fields mean what those of `ClusterMemberConfigKey` do."""

    entity: str
    name: str
    key: str
    value: str
    description: str


class ClusterPut(TypedDict, total=False):
    """How to found a cluster, or join one."""

    enabled: bool
    """False disables clustering on this server; removing a member does that by itself."""
    server_name: str
    """This server's name as a member."""
    server_address: str
    """This server's address for the other members, to join."""
    cluster_address: str
    """A member's address, to join; empty: found a new cluster."""
    cluster_certificate: str
    """The cluster's certificate (PEM), to join."""
    cluster_token: str
    """The join token that the cluster made for this server."""
    member_config: Sequence[ClusterMemberConfigKey | ClusterMemberConfigKeyDict]
    """This server's values for the settings in `Cluster.member_config`, to join."""


class ClusterMember(Record):
    """One server of the cluster."""

    server_name: str
    description: str
    url: str
    """Where the other members reach it."""
    status: str
    """``Online``, ``Offline``, ``Blocked``, ``Evacuated``, ``Evacuating`` or ``Restoring``."""
    message: str
    """Details of the status."""
    architecture: str
    """Such as ``x86_64``."""
    config: dict[str, str]
    database: bool
    """Whether it keeps a copy of the cluster's database."""
    failure_domain: str
    """Members with the same one can fail together; copies of the database are spread over different ones."""
    groups: list[str]
    roles: list[str]
    """``database``, ``database-leader``, ``database-standby``, ``database-client``, ``event-hub``, ``ovn-chassis``."""


class ClusterMemberPut(TypedDict, total=False):
    """The parts of a member that can change."""

    config: Config
    description: str
    failure_domain: str
    groups: Sequence[str]
    roles: Sequence[str]
    """The cluster itself assigns those of the database."""


class ClusterMemberJoinToken(Record):
    """The content of a join token."""

    server_name: str
    """The name of the new member."""
    fingerprint: str
    """SHA-256 of the cluster's certificate, in hexadecimal."""
    addresses: list[str]
    """Members to connect to, as ``host:port``."""
    secret: str
    expires_at: datetime | None


class ClusterMemberState(Record):
    """The current state of a member."""

    sysinfo: ClusterMemberSysInfo
    storage_pools: RecordMap[StoragePoolState]
    """How full each pool is, by name."""


class ClusterMemberSysInfo(Record):
    """A member's memory, load and uptime."""

    uptime: int
    """Seconds since it booted."""
    load_averages: list[float]
    """Over 1, 5 and 15 minutes."""
    processes: int
    total_ram: int
    """Bytes."""
    free_ram: int
    """Bytes, without what buffers and caches would give back."""
    shared_ram: int
    """Bytes."""
    buffered_ram: int
    """Bytes."""
    total_swap: int
    """Bytes."""
    free_swap: int
    """Bytes."""


class ClusterGroup(Record):
    """Members under one name, for instances to be placed on."""

    name: str
    description: str
    config: dict[str, str]
    members: list[str]
    used_by: list[str]
    """URLs of what refers to it; empty without the extension ``cluster_group_usedby``."""


class ClusterGroupPut(TypedDict, total=False):
    """The parts of a cluster group that can change."""

    config: Config
    description: str
    members: Sequence[str]


class ClusterGroupsPost(ClusterGroupPut, total=False):
    """A new cluster group."""

    name: str
