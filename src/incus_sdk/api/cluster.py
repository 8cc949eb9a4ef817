"""The cluster, its members, and groups of them."""

from __future__ import annotations

import base64
import builtins
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

from .. import models
from .._connection import wire
from .._connection.endpoint import Endpoint
from .._connection.tls import fingerprint
from .._connection.transport import Transport
from ..exceptions import IncusConnectionError, IncusInputError, IncusTimeoutError
from ..operations import Operation
from ._bodies import to_body
from .base import Collection, Deletable, Deletes, Editable, Edits, Group, Renamable, Renames, Resource

MemberConfig = Sequence[models.ClusterMemberConfigKey | models.ClusterMemberConfigKeyDict]

_WAITING = 10.0
"""Seconds for a member to show its certificate, before the next one is asked."""


class ClusterMember(models.ClusterMember, Editable[models.ClusterMemberPut], Renamable):
    """A server of the cluster.

    The server's own merge, of `patch`, keeps the keys of ``config`` alone: all else is to be named.
    """

    KEY = "server_name"

    async def state(self) -> models.ClusterMemberState:
        """Its memory, load and uptime, and how full its pools are. ``GET /1.0/cluster/members/{name}/state``."""
        return models.ClusterMemberState((await self._request("GET", "state")).metadata)

    async def evacuate(self, mode: str | None = None, wait: bool = True) -> Operation:
        """Take its instances away, and place none on it until `restore`.

        ``mode``: ``stop``, ``force-stop``, ``stateful-stop``, ``migrate`` or ``live-migrate`` for all instances; None
        is as each is configured. ``wait``: until it is done; raises `IncusOperationError` if that fails.

        ``POST /1.0/cluster/members/{name}/state``.
        """
        return await self._change_state("evacuate", mode, wait)

    async def restore(self, mode: str | None = None, wait: bool = True) -> Operation:
        """Bring its instances back to it, and place instances on it again.

        ``mode``: ``skip`` leaves the instances where they are, and needs the API extension
        ``cluster_evacuating_restoring``. ``wait``: until it is done; raises `IncusOperationError` if that fails.

        ``POST /1.0/cluster/members/{name}/state``.
        """
        if mode is not None:
            # Servers without it would take no notice of the mode. It has no extension of its own, and came just after
            # this one.
            await self._scope.require("cluster_evacuating_restoring", "mode of ClusterMember.restore()")
        return await self._change_state("restore", mode, wait)

    async def _change_state(self, action: str, mode: str | None, wait: bool) -> Operation:
        body = {"action": action} | ({} if mode is None else {"mode": mode})
        return await self._operate("POST", "state", body=body, wait=wait)

    async def delete(self, force: bool = False) -> None:
        """Remove it from the cluster, which it leaves empty. ``DELETE /1.0/cluster/members/{name}``.

        Raises `IncusAPIError` while it has instances, images or volumes of its own. ``force``: even so, and even if it
        cannot be reached; what it had is lost, and its database is to be wiped before it joins again.
        """
        # The server reads a number, and takes "true" for none.
        await self._perform("DELETE", query={"force": 1 if force else None})


class ClusterMembersAPI(Collection[ClusterMember], Edits[models.ClusterMemberPut], Renames):
    """``client.cluster.members``."""

    resource, segment = ClusterMember, "members"
    # Their filter has no extension of its own. Servers before the release that brought this one would list them all.
    options: ClassVar[Mapping[str, str]] = {"filter": "server_logging_webhook"}

    async def add(self, name: str) -> str:
        """Issue the token with which a server called ``name`` joins; one from before ends. ``POST
        /1.0/cluster/members``.

        It is open for three hours, or ``cluster.join_token_expiry``, and is an operation until then: cancel that to
        revoke it. Raises `IncusAPIError` where the server is not clustered.
        """
        wire.path(name)
        operation = await self._operate("POST", body={"server_name": name}, wait=False)
        return wire.token(operation.metadata, server_name=operation.metadata["serverName"])

    async def state(self, name: str) -> models.ClusterMemberState:
        """How one is doing at this moment: see `ClusterMember.state`."""
        return await self[name].state()

    async def evacuate(self, name: str, mode: str | None = None, wait: bool = True) -> Operation:
        """Take the instances of one away: see `ClusterMember.evacuate`."""
        return await self[name].evacuate(mode, wait)

    async def restore(self, name: str, mode: str | None = None, wait: bool = True) -> Operation:
        """Bring the instances of one back: see `ClusterMember.restore`."""
        return await self[name].restore(mode, wait)

    async def delete(self, name: str, force: bool = False) -> None:
        """Remove one from the cluster: see `ClusterMember.delete`."""
        await self[name].delete(force)


class ClusterGroup(models.ClusterGroup, Editable[models.ClusterGroupPut], Renamable, Deletable):
    """Members under one name: ``use_target("@name")`` has the cluster choose one of them.

    Servers check no ETag of it: of two writers at the very same moment, one may undo the other. Its ``config`` needs
    the API extension ``clustering_groups_config``. A member stays in its last group.
    """

    FIELD_EXTENSIONS: ClassVar[Mapping[str, str]] = {"config": "clustering_groups_config"}


class ClusterGroupsAPI(Collection[ClusterGroup], Edits[models.ClusterGroupPut], Renames, Deletes):
    """``client.cluster.groups``."""

    resource, segment = ClusterGroup, "groups"

    async def create(self, name: str, **body: Unpack[models.ClusterGroupPut]) -> ClusterGroup:
        """Create a group; returns it, read. ``POST /1.0/cluster/groups``."""
        return await self._create(name, body)


class Cluster(models.Cluster, Resource):
    """The cluster as one server sees it."""

    @property
    def members(self) -> ClusterMembersAPI:
        """Its members."""
        return ClusterMembersAPI(self)

    @property
    def groups(self) -> ClusterGroupsAPI:
        """Its groups of members."""
        return ClusterGroupsAPI(self)

    async def get_member(self, name: str) -> ClusterMember:
        """One member, read. ``GET /1.0/cluster/members/{name}``."""
        return await self.members.get(name)

    async def add_member(self, name: str) -> str:
        """Issue the token with which a server called ``name`` joins: see `ClusterMembersAPI.add`."""
        return await self.members.add(name)


class ClusterAPI(Group):
    """``client.cluster``."""

    segment = "cluster"

    @property
    def members(self) -> ClusterMembersAPI:
        """The cluster's members."""
        return ClusterMembersAPI(self)

    @property
    def groups(self) -> ClusterGroupsAPI:
        """The cluster's groups of members."""
        return ClusterGroupsAPI(self)

    async def get(self) -> Cluster:
        """Whether the server is part of a cluster, and what a member to be needs to know. ``GET /1.0/cluster``."""
        return await Cluster(self._scope, self._path, {}, loaded=False).refresh()

    async def update(self, config: models.ClusterPut | Mapping[str, Any]) -> None:
        """Form, join or leave a cluster: the body is sent as it is. ``PUT /1.0/cluster``."""
        await self._perform("PUT", body=to_body(config))

    async def enable(self, name: str) -> str:
        """Make the server the first member, called ``name``, of a new cluster. ``PUT /1.0/cluster``.

        It needs an address for the other members: ``cluster.https_address`` in its configuration, or a
        ``core.https_address`` that is no wildcard. Raises `IncusAPIError` where it has none, `IncusInputError`
        where it is a member of a cluster already.

        Returns the cluster's certificate (PEM), which the server shows from now on: who pinned the server's own must
        connect anew with this one.
        """
        wire.path(name)
        if (await self.get()).enabled:
            # Asked for it, the server would take the new name, and only then refuse.
            raise IncusInputError("the server is a member of a cluster already; nothing was changed")
        body = {"server_name": name, "enabled": True}
        await self._operate("PUT", body=body)
        certificate: str = (await self._scope.server(fresh=True))["environment"]["certificate"]
        return certificate

    async def join(
        self,
        token: str,
        server_address: str,
        member_config: MemberConfig = (),
        *,
        cluster_address: str | None = None,
        cluster_certificate: str | None = None,
    ) -> str:
        """Make the server a member of the cluster that issued ``token``, under the name it was issued for. ``PUT
        /1.0/cluster``.

        The server must have no instances, images, pools and networks of its own, and forgets the clients that it
        trusted: the cluster's are trusted now. ``server_address``: its address for the other members, as ``host`` or
        ``host:port``. ``member_config``: what it sets of the cluster's `Cluster.member_config`, as a pool's ``source``.
        ``cluster_address``: the member to go through; None is the first in the token (that answers).
        ``cluster_certificate``: the cluster's, in PEM; None asks that member for it, and compares it with the token.
        Where the server reaches the members and this program does not, it must be given.

        Raises `IncusInputError` for a token that is none or a certificate that is not the token's,
        `IncusConnectionError` where no member is reached or one shows another certificate, `IncusOperationError` where
        the cluster does not take it.

        Returns the cluster's certificate (PEM), which the server shows from now on: who pinned the server's own must
        connect anew with this one.
        """
        made = _join_token(token)
        wire.path(made.server_name)
        address = _address(server_address)
        candidates = made.addresses if cluster_address is None else [_address(cluster_address)]
        if cluster_certificate is None:
            through, cluster_certificate = await _find_member(candidates, made.fingerprint)
        elif fingerprint(cluster_certificate) != made.fingerprint:
            raise IncusInputError("cluster_certificate is not that of the cluster which issued the token")
        else:
            through = candidates[0]
        body: models.ClusterPut = {
            "server_name": made.server_name,
            "server_address": address,
            "enabled": True,
            "cluster_address": through,
            "cluster_certificate": cluster_certificate,
            "cluster_token": token,
            "member_config": member_config,
        }
        await self.update(body)
        return cluster_certificate

    async def update_certificate(self, certificate: str, key: str) -> None:
        """Give all members another certificate, both in PEM. ``PUT /1.0/cluster/certificate``.

        They show it from now on: who pinned the one before must connect anew with this one.
        """
        for name, pem in ("certificate", certificate), ("key", key):
            if not isinstance(pem, str) or "-----BEGIN" not in pem:
                raise IncusInputError(f"{name} must be PEM, as text")  # and is not shown: it may be the key
        body = {"cluster_certificate": certificate, "cluster_certificate_key": key}
        await self._request("PUT", "certificate", body=body)

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

    async def delete_member(self, name: str, force: bool = False) -> None:
        """Remove a member from the cluster: see `ClusterMember.delete`."""
        await self.members.delete(name, force)

    async def rename_member(self, name: str, new_name: str) -> ClusterMember:
        """Give a member another name; returns its handle. ``POST /1.0/cluster/members/{name}``."""
        return await self.members.rename(name, new_name)


def _join_token(token: str) -> models.ClusterMemberJoinToken:
    try:
        made = models.ClusterMemberJoinToken(json.loads(base64.b64decode(token, validate=True)))
        if made.server_name and made.fingerprint and wire.texts(made.addresses, "addresses"):
            return made
    except (ValueError, TypeError, AttributeError):
        pass
    raise IncusInputError("the token is no join token of a cluster")  # and is not shown: it is a secret


def _address(text: str) -> str:
    """``host:port``, with the usual port where there is none."""
    if not isinstance(text, str):
        raise IncusInputError(f"an address must be a str, as host:port, not {type(text).__name__}")
    return Endpoint.parse(f"https://{text}").url.removeprefix("https://")


async def _find_member(addresses: Sequence[str], expected: str) -> tuple[str, str]:
    """The first of these members that answers, and the certificate that it shows, which must be the expected one."""
    failures: builtins.list[str] = []
    for address in addresses:
        transport = Transport(Endpoint.parse(f"https://{address}"), timeout=_WAITING)
        try:
            certificate = ssl.DER_cert_to_PEM_cert(await transport.certificate())
        except (IncusConnectionError, IncusTimeoutError) as error:
            failures.append(str(error))
            continue
        if fingerprint(certificate) != expected:
            raise IncusConnectionError(f"{address} shows another certificate than the token names: nothing was sent")
        return address, certificate
    raise IncusConnectionError(
        f"no member of the cluster could be reached ({'; '.join(failures)}): give its certificate as "
        "cluster_certificate= if only the server reaches it"
    )
