"""The cluster and its members."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from .. import models, wire
from ..operations import operate, perform
from ..scope import Scope
from .base import Deletable, Deletes, Editable, Edits, Renamable, Renames, Resource, prepared


class ClusterMember(models.ClusterMember, Editable[models.ClusterMemberPut], Renamable, Deletable):
    """A server of the cluster."""

    KEY = "server_name"


class ClusterMembersAPI(Edits[ClusterMember, models.ClusterMemberPut], Renames[ClusterMember], Deletes[ClusterMember]):
    """``client.cluster.members``."""

    resource, segment = ClusterMember, "members"

    async def add(self, name: str) -> str:
        """Issue the token with which a server called ``name`` joins. ``POST /1.0/cluster/members``.

        Raises `IncusAPIError` where the server is not clustered.
        """
        wire.path(name)
        operation = await operate(self._scope, "POST", wire.path(*self._path), body={"server_name": name}, wait=False)
        return wire.token(operation.metadata, server_name=operation.metadata["serverName"])


class Cluster(models.Cluster, Resource):
    """The cluster as one server sees it."""

    @property
    def members(self) -> ClusterMembersAPI:
        """Its members."""
        return ClusterMembersAPI(self._scope, *self._path)

    async def get_member(self, name: str) -> ClusterMember:
        """One member, read. ``GET /1.0/cluster/members/{name}``."""
        return await self.members.get(name)

    async def add_member(self, name: str) -> str:
        """Issue the token with which a server called ``name`` joins: see `ClusterMembersAPI.add`."""
        return await self.members.add(name)


class ClusterAPI:
    """``client.cluster``."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def members(self) -> ClusterMembersAPI:
        """The cluster's members."""
        return ClusterMembersAPI(self._scope, "cluster")

    async def get(self) -> Cluster:
        """Whether the server is part of a cluster, and what a member to be needs to know. ``GET /1.0/cluster``."""
        return await Cluster(self._scope, ("cluster",), {}, loaded=False).refresh()

    async def update(self, config: models.ClusterPut | Mapping[str, Any]) -> None:
        """Form, join or leave a cluster: the body is sent as it is. ``PUT /1.0/cluster``."""
        await perform(self._scope, "PUT", wire.path("cluster"), body=prepared(config))

    async def list_members(self, recursion: int = 1) -> builtins.list[ClusterMember]:
        """The members. ``GET /1.0/cluster/members``."""
        return await self.members.list(recursion)

    async def get_member(self, name: str) -> ClusterMember:
        """One member, read. ``GET /1.0/cluster/members/{name}``."""
        return await self.members.get(name)

    async def add_member(self, name: str) -> str:
        """Issue the token with which a server called ``name`` joins: see `ClusterMembersAPI.add`."""
        return await self.members.add(name)

    async def update_member(self, name: str, config: models.ClusterMemberPut | Mapping[str, Any]) -> None:
        """Change some fields of a member and keep all others: see `Editable.update`."""
        await self.members.update(name, config)

    async def delete_member(self, name: str) -> None:
        """Remove a member from the cluster. ``DELETE /1.0/cluster/members/{name}``."""
        await self.members.delete(name)

    async def rename_member(self, name: str, new_name: str) -> ClusterMember:
        """Give a member another name; returns its handle. ``POST /1.0/cluster/members/{name}``."""
        return await self.members.rename(name, new_name)
