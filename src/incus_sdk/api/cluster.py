"""The cluster, its members, and groups of them."""

from __future__ import annotations

import base64
import builtins
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Unpack

from .. import models
from .._connection import wire
from .._connection.endpoint import Endpoint
from .._connection.tls import fingerprint
from .._connection.transport import Transport
from ..exceptions import IncusConnectionError, IncusInputError, IncusTimeoutError
from ..operations import OnProgress, Operation
from ._bodies import to_body
from ._by_key import Deletes, Edits, Renames
from ._deletion import delete_or_miss
from ._ensure import Ensures
from ._options import known_options
from .base import Collection, Deletable, Editable, Renamable, Resource
from .tokens import IssuesTokens

Evacuation = Literal["stop", "force-stop", "stateful-stop", "migrate", "live-migrate"] | str
"""What becomes of the instances of a member that is evacuated."""

MemberConfig = Sequence[models.ClusterMemberConfigKey | models.ClusterMemberConfigKeyDict]

_MEMBER_TIMEOUT = 10.0
"""Seconds for a member to show its certificate, before the next one is tried."""


class ClusterMember(models.ClusterMember, Editable[models.ClusterMemberPut], Renamable):
    """A server of the cluster.

    `patch` keeps only the keys of ``config`` that it does not name, and resets all other fields that it does not name.
    """

    KEY = "server_name"

    async def get_state(self) -> models.ClusterMemberState:
        """The member's memory, load and uptime at this moment, and how full its pools are.

        Raises:
            IncusNotFoundError: There is no such member.

        API:
            ``GET /1.0/cluster/members/{name}/state``
        """
        return models.ClusterMemberState((await self._request("GET", "state")).object)

    async def evacuate(
        self, mode: Evacuation | None = None, wait: bool = True, *, progress: OnProgress | None = None
    ) -> Operation:
        """Stop or move the member's instances, and place none on it until `restore`.

        Args:
            mode: For all instances ``stop``, ``force-stop``, ``stateful-stop``, ``migrate`` or ``live-migrate``; None
                does what ``cluster.evacuate`` of each instance says.
            wait: Wait until it is done.
            progress: With ``wait``: called with how far the server is.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusAPIError: There is no such member or mode.
            IncusOperationError: With ``wait``: it failed.

        API:
            ``POST /1.0/cluster/members/{name}/state``
        """
        return await self._change_state("evacuate", mode, wait, progress)

    async def restore(
        self, mode: str | None = None, wait: bool = True, *, progress: OnProgress | None = None
    ) -> Operation:
        """Bring the instances of an evacuated member back, and place instances on it again.

        Args:
            mode: ``skip`` leaves the instances where they are; None brings them back.
            wait: Wait until it is done.
            progress: With ``wait``: called with how far the server is.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusUnsupportedError: The server lacks the extension for ``mode``.
            IncusAPIError: There is no such member or mode.
            IncusOperationError: With ``wait``: it failed.

        API:
            ``POST /1.0/cluster/members/{name}/state``. Extension ``cluster_evacuating_restoring`` for ``mode``.
        """
        if mode is not None:
            # Older servers would ignore the mode. It has no extension of its own, but came just after this one.
            await self._scope.require("cluster_evacuating_restoring", "mode of ClusterMember.restore()")
        return await self._change_state("restore", mode, wait, progress)

    async def _change_state(self, action: str, mode: str | None, wait: bool, progress: OnProgress | None) -> Operation:
        body = {"action": action} | ({} if mode is None else {"mode": mode})
        return await self._operate("POST", "state", body=body, wait=wait, progress=progress)

    async def delete(self, force: bool = False, *, missing_ok: bool = False) -> None:
        """Remove the member from the cluster; the server is empty afterwards.

        Args:
            force: Remove it even if it has instances, images or volumes of its own, or cannot be reached. They are
                lost, and its database must be wiped before it can join again.
            missing_ok: Accept that there is no such member.

        Raises:
            IncusNotFoundError: There is no such member, and ``missing_ok`` is not set.
            IncusAPIError: It has instances, images or volumes of its own, or is the only member.

        API:
            ``DELETE /1.0/cluster/members/{name}``
        """
        # The server reads a number, and ignores "true".
        deletion = self._perform("DELETE", query={"force": 1 if force else None})
        await delete_or_miss(deletion, missing_ok, self.exists)


class ClusterMembersAPI(Collection[ClusterMember], Edits[models.ClusterMemberPut], Renames):
    """``client.cluster.members``."""

    _resource, _path_part = ClusterMember, "members"
    # Their filter has no extension of its own, but came with the release of this one; older servers would ignore it.
    _options: ClassVar[Mapping[str, str]] = {"filter": "server_logging_webhook"}

    async def add(self, name: str) -> str:
        """Issue the token with which another server can join the cluster.

        The token is valid for three hours, or as ``cluster.join_token_expiry`` says. Until it is used,
        `ClusterAPI.list_tokens` has it, and `ClusterAPI.revoke_token` revokes it. A new token for the same name revokes
        the old one.

        Args:
            name: The name that the server will have as a member.

        Returns:
            The token, for `ClusterAPI.join` or ``incus admin init``.

        Raises:
            IncusAPIError: The server is not clustered, or there is such a member.

        API:
            ``POST /1.0/cluster/members``
        """
        wire.path(name)
        operation = await self._operate("POST", body={"server_name": name}, wait=False)
        return ClusterAPI(self._scope)._token(operation.metadata).value

    async def get_state(self, name: str) -> models.ClusterMemberState:
        """A member's memory, load and uptime at this moment, and how full its pools are.

        Args:
            name: The member.

        Raises:
            IncusNotFoundError: There is no such member.

        API:
            ``GET /1.0/cluster/members/{name}/state``
        """
        return await self[name].get_state()

    async def evacuate(
        self, name: str, mode: Evacuation | None = None, wait: bool = True, *, progress: OnProgress | None = None
    ) -> Operation:
        """Stop or move a member's instances, and place none on it until `restore`.

        Args:
            name: The member.
            mode: For all instances ``stop``, ``force-stop``, ``stateful-stop``, ``migrate`` or ``live-migrate``; None
                does what ``cluster.evacuate`` of each instance says.
            wait: Wait until it is done.
            progress: With ``wait``: called with how far the server is.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusAPIError: There is no such member or mode.
            IncusOperationError: With ``wait``: it failed.

        API:
            ``POST /1.0/cluster/members/{name}/state``
        """
        return await self[name].evacuate(mode, wait, progress=progress)

    async def restore(
        self, name: str, mode: str | None = None, wait: bool = True, *, progress: OnProgress | None = None
    ) -> Operation:
        """Bring the instances of an evacuated member back, and place instances on it again.

        Args:
            name: The member.
            mode: ``skip`` leaves the instances where they are; None brings them back.
            wait: Wait until it is done.
            progress: With ``wait``: called with how far the server is.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusUnsupportedError: The server lacks the extension for ``mode``.
            IncusAPIError: There is no such member or mode.
            IncusOperationError: With ``wait``: it failed.

        API:
            ``POST /1.0/cluster/members/{name}/state``. Extension ``cluster_evacuating_restoring`` for ``mode``.
        """
        return await self[name].restore(mode, wait, progress=progress)

    async def delete(self, name: str, force: bool = False, *, missing_ok: bool = False) -> None:
        """Remove a member from the cluster; the server is empty afterwards.

        Args:
            name: The member.
            force: Remove it even if it has instances, images or volumes of its own, or cannot be reached. They are
                lost, and its database must be wiped before it can join again.
            missing_ok: Accept that there is no such member.

        Raises:
            IncusNotFoundError: There is no such member, and ``missing_ok`` is not set.
            IncusAPIError: It has instances, images or volumes of its own, or is the only member.

        API:
            ``DELETE /1.0/cluster/members/{name}``
        """
        await self[name].delete(force, missing_ok=missing_ok)


class ClusterGroup(models.ClusterGroup, Editable[models.ClusterGroupPut], Renamable, Deletable):
    """Members under one name: with ``use_target("@name")`` the cluster chooses one of them.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment. Its ``config``
    needs the extension ``clustering_groups_config``. A member cannot leave its last group.
    """

    _FIELD_EXTENSIONS: ClassVar[Mapping[str, str]] = {"config": "clustering_groups_config"}


class ClusterGroupsAPI(Collection[ClusterGroup], Edits[models.ClusterGroupPut], Ensures, Renames, Deletes):
    """``client.cluster.groups``."""

    _resource, _path_part = ClusterGroup, "groups"

    @known_options(models.ClusterGroupPut)
    async def create(self, name: str, **body: Unpack[models.ClusterGroupPut]) -> ClusterGroup:
        """Create a group.

        Args:
            name: Its name.
            **body: ``members``, ``config`` and ``description``.

        Returns:
            The group, read.

        Raises:
            IncusUnsupportedError: The server lacks the extension for ``config``.
            IncusAPIError: The name is taken, or the server refused the body.

        API:
            ``POST /1.0/cluster/groups``. Extension ``clustering_groups_config`` for ``config``.
        """
        return await self._create(name, body)


class Cluster(models.Cluster, Resource):
    """The cluster, as this server reports it."""

    @property
    def members(self) -> ClusterMembersAPI:
        """Its members."""
        return ClusterMembersAPI(self)

    @property
    def groups(self) -> ClusterGroupsAPI:
        """Its groups of members."""
        return ClusterGroupsAPI(self)

    # Forwarders that exist only for 1.0.0.

    async def get_member(self, name: str) -> ClusterMember:
        """One member, read.

        Args:
            name: The member.

        Raises:
            IncusNotFoundError: There is no such member.

        API:
            ``GET /1.0/cluster/members/{name}``
        """
        return await self.members.get(name)

    async def add_member(self, name: str) -> str:
        """Issue the token with which another server can join the cluster: see `ClusterMembersAPI.add`.

        The token is valid for three hours, or as ``cluster.join_token_expiry`` says. Until it is used,
        `ClusterAPI.list_tokens` has it, and `ClusterAPI.revoke_token` revokes it. A new token for the same name revokes
        the old one.

        Args:
            name: The name that the server will have as a member.

        Returns:
            The token, for `ClusterAPI.join` or ``incus admin init``.

        Raises:
            IncusAPIError: The server is not clustered, or there is such a member.

        API:
            ``POST /1.0/cluster/members``
        """
        return await self.members.add(name)


class ClusterAPI(IssuesTokens):
    """``client.cluster``."""

    _path_part = "cluster"
    _TOKEN_NAME, _TOKEN_FIELD = ("serverName",), "server_name"

    @property
    def members(self) -> ClusterMembersAPI:
        """The cluster's members."""
        return ClusterMembersAPI(self)

    @property
    def groups(self) -> ClusterGroupsAPI:
        """The cluster's groups of members."""
        return ClusterGroupsAPI(self)

    async def get(self) -> Cluster:
        """Whether the server is part of a cluster, and the settings that a server which joins must bring.

        API:
            ``GET /1.0/cluster``
        """
        return await Cluster(self._scope, self._path, {}, loaded=False).refresh()

    async def update(self, config: models.ClusterPut | Mapping[str, Any]) -> None:
        """Form, join or leave a cluster by a body that is sent unchanged; `enable` and `join` build it.

        Args:
            config: The body: see `ClusterPut`.

        Raises:
            IncusAPIError: The server refused it.
            IncusOperationError: The server failed to do it.

        API:
            ``PUT /1.0/cluster``
        """
        await self._perform("PUT", body=to_body(config))

    async def enable(self, name: str) -> str:
        """Make the server the first member of a new cluster.

        It needs an address for the other members: ``cluster.https_address`` in its configuration, or a
        ``core.https_address`` that is not a wildcard.

        Args:
            name: The name that it will have as a member.

        Returns:
            The cluster's certificate, in PEM. The server shows it from now on; a client that pinned the server's own
            must connect again with this one.

        Raises:
            IncusInputError: The server is a member of a cluster already.
            IncusAPIError: The server has no such address.
            IncusOperationError: The cluster could not be formed.

        API:
            ``GET`` and ``PUT /1.0/cluster``
        """
        wire.path(name)
        if (await self.get()).enabled:
            # The server would take the new name first, and only then refuse.
            raise IncusInputError("the server is a member of a cluster already; nothing was changed")
        body = {"server_name": name, "enabled": True}
        await self._operate("PUT", body=body)
        return wire.text(await self._scope.server(fresh=True), "environment", "certificate")

    async def join(
        self,
        token: str,
        server_address: str,
        member_config: MemberConfig = (),
        *,
        cluster_address: str | None = None,
        cluster_certificate: str | None = None,
    ) -> str:
        """Make the server a member of the cluster that issued the token.

        The server must not have instances, images, pools and networks. It forgets the clients that it trusted: those of
        the cluster are trusted now.

        Args:
            token: The token from `ClusterMembersAPI.add`; it says the server's name as a member.
            server_address: The server's address for the other members, as ``host`` or ``host:port``.
            member_config: The server's own values of `Cluster.member_config`, as the ``source`` of a pool.
            cluster_address: The member to connect to, as ``host`` or ``host:port``. None for the first one in the
                token; without ``cluster_certificate``, for the first one that answers.
            cluster_certificate: The cluster's certificate, in PEM. None fetches it from that member and compares it
                with the token; give it where the server reaches the members and this program does not.

        Returns:
            The cluster's certificate, in PEM. The server shows it from now on; a client that pinned the server's own
            must connect again with this one.

        Raises:
            IncusInputError: The token or an address is invalid, or the certificate is not that of the token.
            IncusConnectionError: No member was reached, or one showed another certificate than the token says.
            IncusAPIError: The server is a member of a cluster already.
            IncusOperationError: The cluster refused the server.

        API:
            ``PUT /1.0/cluster``
        """
        invitation = _read_join_token(token)
        wire.path(invitation.server_name)
        address = _with_port(server_address)
        candidates = invitation.addresses if cluster_address is None else [_with_port(cluster_address)]
        if cluster_certificate is None:
            through, cluster_certificate = await _fetch_certificate(candidates, invitation.fingerprint)
        elif fingerprint(cluster_certificate) != invitation.fingerprint:
            raise IncusInputError("cluster_certificate is not that of the cluster which issued the token")
        else:
            through = candidates[0]
        body: models.ClusterPut = {
            "server_name": invitation.server_name,
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
        """Give all members another certificate.

        They show it from now on: a client that pinned the old one must connect again with this one.

        Args:
            certificate: The certificate, in PEM.
            key: Its key, in PEM.

        Raises:
            IncusInputError: One of them is not PEM.
            IncusAPIError: The server refused them.

        API:
            ``PUT /1.0/cluster/certificate``
        """
        for name, pem in ("certificate", certificate), ("key", key):
            if not isinstance(pem, str) or "-----BEGIN" not in pem:
                raise IncusInputError(f"{name} must be PEM, as text")  # not shown, as it can be the key
        body = {"cluster_certificate": certificate, "cluster_certificate_key": key}
        await self._request("PUT", "certificate", body=body)

    # Forwarders that exist only for 1.0.0.

    async def list_members(self, recursion: int = 1) -> builtins.list[ClusterMember]:
        """List the members: see `ClusterMembersAPI`.

        Args:
            recursion: 0 gives handles that know only their name, 1 the members, read.

        Raises:
            IncusAPIError: The server is not clustered.

        API:
            ``GET /1.0/cluster/members``
        """
        return await self.members.list(recursion)

    async def get_member(self, name: str) -> ClusterMember:
        """One member, read.

        Args:
            name: The member.

        Raises:
            IncusNotFoundError: There is no such member.

        API:
            ``GET /1.0/cluster/members/{name}``
        """
        return await self.members.get(name)

    async def add_member(self, name: str) -> str:
        """Issue the token with which another server can join the cluster: see `ClusterMembersAPI.add`.

        The token is valid for three hours, or as ``cluster.join_token_expiry`` says. Until it is used,
        `ClusterAPI.list_tokens` has it, and `ClusterAPI.revoke_token` revokes it. A new token for the same name revokes
        the old one.

        Args:
            name: The name that the server will have as a member.

        Returns:
            The token, for `ClusterAPI.join` or ``incus admin init``.

        Raises:
            IncusAPIError: The server is not clustered, or there is such a member.

        API:
            ``POST /1.0/cluster/members``
        """
        return await self.members.add(name)

    async def update_member(self, name: str, config: models.ClusterMemberPut | Mapping[str, Any]) -> None:
        """Change some fields of a member and keep all others: see `Updatable.update`.

        Args:
            name: The member.
            config: The fields that change, as a JSON merge patch.

        Raises:
            IncusInputError: A member has no such field; nothing was changed.
            IncusNotFoundError: There is no such member.
            IncusAPIError: The server refused the change.
            IncusPreconditionError: Other writers were faster too many times.

        API:
            ``GET`` and ``PUT /1.0/cluster/members/{name}``
        """
        await self.members.update(name, config)

    async def delete_member(self, name: str, force: bool = False, *, missing_ok: bool = False) -> None:
        """Remove a member from the cluster; the server is empty afterwards.

        Args:
            name: The member.
            force: Remove it even if it has instances, images or volumes of its own, or cannot be reached. They are
                lost, and its database must be wiped before it can join again.
            missing_ok: Accept that there is no such member.

        Raises:
            IncusNotFoundError: There is no such member, and ``missing_ok`` is not set.
            IncusAPIError: It has instances, images or volumes of its own, or is the only member.

        API:
            ``DELETE /1.0/cluster/members/{name}``
        """
        await self.members.delete(name, force, missing_ok=missing_ok)

    async def rename_member(self, name: str, new_name: str) -> ClusterMember:
        """Give a member another name, and return its handle.

        Args:
            name: The name it has.
            new_name: The new name.

        Raises:
            IncusNotFoundError: There is no such member.
            IncusAPIError: The new name is taken.

        API:
            ``POST /1.0/cluster/members/{name}``
        """
        return await self.members.rename(name, new_name)


def _read_join_token(token: str) -> models.ClusterMemberJoinToken:
    try:
        fields = models.ClusterMemberJoinToken(json.loads(base64.b64decode(token, validate=True)))
        if fields.server_name and fields.fingerprint and wire.texts(fields.addresses, "addresses"):
            return fields
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    # The message does not show it, as it is a secret.
    raise IncusInputError("token must be a join token of a cluster: cluster.add_member(name) issues one")


def _with_port(text: str) -> str:
    """An address as ``host:port``, with the port 8443 if it has none."""
    if not isinstance(text, str):
        raise IncusInputError(f"an address must be a str, as host:port, not {type(text).__name__}")
    return Endpoint.parse(f"https://{text}").url.removeprefix("https://")


async def _fetch_certificate(addresses: Sequence[str], expected: str) -> tuple[str, str]:
    """The first of these addresses that answers, and the certificate it shows, whose fingerprint must be that."""
    failures: builtins.list[str] = []
    for address in addresses:
        transport = Transport(Endpoint.parse(f"https://{address}"), timeout=_MEMBER_TIMEOUT)
        try:
            certificate = ssl.DER_cert_to_PEM_cert(await transport.certificate())
        except (IncusConnectionError, IncusTimeoutError) as error:
            failures.append(str(error))
            continue
        if fingerprint(certificate) != expected:
            raise IncusConnectionError(f"{address} shows another certificate than the token says; nothing was sent")
        return address, certificate
    raise IncusConnectionError(
        f"no member of the cluster could be reached ({'; '.join(failures)}): if only the server reaches them, give the "
        "cluster's certificate as cluster_certificate="
    )
