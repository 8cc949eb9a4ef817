"""Preseeds: everything a new server needs, in one document. Clients apply them; no server takes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from .base import Config
from .certificates import CertificatesPost
from .cluster import ClusterGroupsPost, ClusterPut
from .networks import NetworksPost
from .profiles import ProfilesPost
from .projects import ProjectsPost
from .storage import StoragePoolsPost, StorageVolumesPost


class InitNetworksProjectPost(NetworksPost, total=False):
    """A new network, and where it goes."""

    Project: str
    """Empty: the default project."""


class InitProfileProjectPost(ProfilesPost, total=False):
    """A new profile, and where it goes."""

    Project: str
    """Empty: the default project."""


class InitStorageVolumesProjectPost(StorageVolumesPost, total=False):
    """A new volume, and where it goes."""

    Pool: str
    Project: str
    """Empty: the default project."""


class InitLocalPreseed(TypedDict, total=False):
    """What is set up on the server: its configuration, and what to create, or update when it exists."""

    config: Config
    """The server's own."""
    networks: Sequence[InitNetworksProjectPost]
    storage_pools: Sequence[StoragePoolsPost]
    storage_volumes: Sequence[InitStorageVolumesProjectPost]
    profiles: Sequence[InitProfileProjectPost]
    projects: Sequence[ProjectsPost]
    certificates: Sequence[CertificatesPost]
    """Who is to be trusted."""
    cluster_groups: Sequence[ClusterGroupsPost]


class InitClusterPreseed(ClusterPut, total=False):
    """How the server founds or joins a cluster."""

    cluster_certificate_path: str
    """File to read ``cluster_certificate`` from."""


class InitPreseed(InitLocalPreseed, total=False):
    """A whole preseed."""

    Server: InitLocalPreseed
    """The same fields once more, where older releases nest them."""
    cluster: InitClusterPreseed
