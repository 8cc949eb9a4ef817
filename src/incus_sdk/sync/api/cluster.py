"""The cluster, its members, and groups of them.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import models
from ...api import cluster as _source
from ...api.cluster import Evacuation as Evacuation
from ...api.cluster import MemberConfig as MemberConfig
from .. import _twin
from ._by_key import Deletes, Edits, Renames
from ._ensure import Ensures
from .base import Collection, Deletable, Editable, Renamable, Resource
from .tokens import IssuesTokens

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping
    from typing import Any, Unpack

    from ...operations import OnProgress
    from ..operations import Operation


class ClusterMember(models.ClusterMember, Editable[models.ClusterMemberPut], Renamable):
    """A server of the cluster.

    `patch` keeps only the keys of ``config`` that it does not name, and resets all other fields that it does not name.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ClusterMember: ...

    KEY = _source.ClusterMember.KEY

    def get_state(self) -> models.ClusterMemberState:
        """The member's memory, load and uptime at this moment, and how full its pools are.

        Raises:
            IncusNotFoundError: There is no such member.

        API:
            ``GET /1.0/cluster/members/{name}/state``
        """
        return self._portal.run(self._async.get_state())

    def evacuate(
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
        result: Operation = self._wrap(
            self._portal.run(self._async.evacuate(mode, wait, progress=_twin.posted(progress)))
        )
        return result

    def restore(self, mode: str | None = None, wait: bool = True, *, progress: OnProgress | None = None) -> Operation:
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
        result: Operation = self._wrap(
            self._portal.run(self._async.restore(mode, wait, progress=_twin.posted(progress)))
        )
        return result

    def delete(self, force: bool = False, *, missing_ok: bool = False) -> None:
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
        self._portal.run(self._async.delete(force, missing_ok=missing_ok))


class ClusterMembersAPI(Collection[ClusterMember], Edits[models.ClusterMemberPut], Renames):
    """``client.cluster.members``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ClusterMembersAPI: ...

    def add(self, name: str) -> str:
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
        return self._portal.run(self._async.add(name))

    def get_state(self, name: str) -> models.ClusterMemberState:
        """A member's memory, load and uptime at this moment, and how full its pools are.

        Args:
            name: The member.

        Raises:
            IncusNotFoundError: There is no such member.

        API:
            ``GET /1.0/cluster/members/{name}/state``
        """
        return self._portal.run(self._async.get_state(name))

    def evacuate(
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
        result: Operation = self._wrap(
            self._portal.run(self._async.evacuate(name, mode, wait, progress=_twin.posted(progress)))
        )
        return result

    def restore(
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
        result: Operation = self._wrap(
            self._portal.run(self._async.restore(name, mode, wait, progress=_twin.posted(progress)))
        )
        return result

    def delete(self, name: str, force: bool = False, *, missing_ok: bool = False) -> None:
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
        self._portal.run(self._async.delete(name, force, missing_ok=missing_ok))


class ClusterGroup(models.ClusterGroup, Editable[models.ClusterGroupPut], Renamable, Deletable):
    """Members under one name: with ``use_target("@name")`` the cluster chooses one of them.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment. Its ``config``
    needs the extension ``clustering_groups_config``. A member cannot leave its last group.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ClusterGroup: ...


class ClusterGroupsAPI(Collection[ClusterGroup], Edits[models.ClusterGroupPut], Ensures, Renames, Deletes):
    """``client.cluster.groups``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ClusterGroupsAPI: ...

    def create(self, name: str, **body: Unpack[models.ClusterGroupPut]) -> ClusterGroup:
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
        result: ClusterGroup = self._wrap(self._portal.run(self._async.create(name, **body)))
        return result


class Cluster(models.Cluster, Resource):
    """The cluster, as this server reports it."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Cluster: ...

    @property
    def members(self) -> ClusterMembersAPI:
        """Its members."""
        result: ClusterMembersAPI = self._wrap(self._async.members)
        return result

    @property
    def groups(self) -> ClusterGroupsAPI:
        """Its groups of members."""
        result: ClusterGroupsAPI = self._wrap(self._async.groups)
        return result

    def get_member(self, name: str) -> ClusterMember:
        """One member, read.

        Args:
            name: The member.

        Raises:
            IncusNotFoundError: There is no such member.

        API:
            ``GET /1.0/cluster/members/{name}``
        """
        result: ClusterMember = self._wrap(self._portal.run(self._async.get_member(name)))
        return result

    def add_member(self, name: str) -> str:
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
        return self._portal.run(self._async.add_member(name))


class ClusterAPI(IssuesTokens):
    """``client.cluster``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ClusterAPI: ...

    @property
    def members(self) -> ClusterMembersAPI:
        """The cluster's members."""
        result: ClusterMembersAPI = self._wrap(self._async.members)
        return result

    @property
    def groups(self) -> ClusterGroupsAPI:
        """The cluster's groups of members."""
        result: ClusterGroupsAPI = self._wrap(self._async.groups)
        return result

    def get(self) -> Cluster:
        """Whether the server is part of a cluster, and the settings that a server which joins must bring.

        API:
            ``GET /1.0/cluster``
        """
        result: Cluster = self._wrap(self._portal.run(self._async.get()))
        return result

    def update(self, config: models.ClusterPut | Mapping[str, Any]) -> None:
        """Form, join or leave a cluster by a body that is sent unchanged; `enable` and `join` build it.

        Args:
            config: The body: see `ClusterPut`.

        Raises:
            IncusAPIError: The server refused it.
            IncusOperationError: The server failed to do it.

        API:
            ``PUT /1.0/cluster``
        """
        self._portal.run(self._async.update(config))

    def enable(self, name: str) -> str:
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
        return self._portal.run(self._async.enable(name))

    def join(
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
        return self._portal.run(
            self._async.join(
                token,
                server_address,
                member_config,
                cluster_address=cluster_address,
                cluster_certificate=cluster_certificate,
            )
        )

    def update_certificate(self, certificate: str, key: str) -> None:
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
        self._portal.run(self._async.update_certificate(certificate, key))

    def list_members(self, recursion: int = 1) -> builtins.list[ClusterMember]:
        """List the members: see `ClusterMembersAPI`.

        Args:
            recursion: 0 gives handles that know only their name, 1 the members, read.

        Raises:
            IncusAPIError: The server is not clustered.

        API:
            ``GET /1.0/cluster/members``
        """
        result: builtins.list[ClusterMember] = self._wrap(self._portal.run(self._async.list_members(recursion)))
        return result

    def get_member(self, name: str) -> ClusterMember:
        """One member, read.

        Args:
            name: The member.

        Raises:
            IncusNotFoundError: There is no such member.

        API:
            ``GET /1.0/cluster/members/{name}``
        """
        result: ClusterMember = self._wrap(self._portal.run(self._async.get_member(name)))
        return result

    def add_member(self, name: str) -> str:
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
        return self._portal.run(self._async.add_member(name))

    def update_member(self, name: str, config: models.ClusterMemberPut | Mapping[str, Any]) -> None:
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
        self._portal.run(self._async.update_member(name, config))

    def delete_member(self, name: str, force: bool = False, *, missing_ok: bool = False) -> None:
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
        self._portal.run(self._async.delete_member(name, force, missing_ok=missing_ok))

    def rename_member(self, name: str, new_name: str) -> ClusterMember:
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
        result: ClusterMember = self._wrap(self._portal.run(self._async.rename_member(name, new_name)))
        return result
