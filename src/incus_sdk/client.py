"""The client: connecting, scopes, and one attribute for each group of the API."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from . import models
from ._connection import wire
from ._connection.config import ClientConfig, Remote
from ._connection.connecting import make_transport
from ._connection.scope import Scope
from ._connection.transport import Headers
from .api.activity import EventsAPI, OperationsAPI, WarningsAPI
from .api.certificates import CertificatesAPI
from .api.cluster import ClusterAPI
from .api.images import ImagesAPI
from .api.instances import InstancesAPI
from .api.networks import NetworkACLsAPI, NetworkAddressSetsAPI, NetworkIntegrationsAPI, NetworksAPI, NetworkZonesAPI
from .api.profiles import ProfilesAPI
from .api.projects import ProjectsAPI
from .api.server import ServerAPI
from .api.storage import StoragePoolsAPI
from .exceptions import IncusConnectionError, IncusInputError
from .models.base import Record
from .operations import Operation


class _Enveloped(Record):
    """A record that is also found under ``["metadata"]``, where the documented API has it."""

    def __getitem__(self, key: str) -> Any:
        return self.raw if key == "metadata" and key not in self.raw else super().__getitem__(key)


class ServerInfo(models.Server, _Enveloped):
    """The server; ``info.api_version`` is also ``info["metadata"]["api_version"]``."""


class ResourcesInfo(models.Resources, _Enveloped):
    """The server's hardware; ``info.cpu`` is also ``info["metadata"]["cpu"]``."""


class Client:
    """A client of one Incus server.

        async with Client() as client:
            for instance in await client.instances.list():
                print(instance.name, instance.status)

    ``endpoint``: ``https://host:8443``, ``unix:///path/to/unix.socket`` or that path; None takes the server that the
    ``incus`` command would, by INCUS_REMOTE, INCUS_PROJECT and its ``config.yml``: the local daemon, if they name no
    other. ``project``: the project that requests are for; None is the server's default. ``timeout``: seconds to
    connect, and to the first byte of an ordinary answer; it never cuts off an operation, a stream or a transfer.

    Who the client is, over HTTPS. ``cert``: the paths of its certificate and key (PEM); ``password``: what opens an
    encrypted key. ``token``: a bearer token in their place, or what makes one: see `client_token`. ``login``: for
    OpenID Connect, called with a URL and a code to be shown to the user, where one has to log in; may be a coroutine.

    Who the server is, over HTTPS. ``server_cert``: its own certificate (PEM, text or path), or the fingerprint of it,
    which is then the only one accepted. Else ``ca``: the one authority that vouches for it (PEM, text or path), or the
    system's. ``verify=False`` accepts any server when neither is given.

    Belongs to the event loop that first used it. Nothing is sent before `connect`, ``async with`` or the first request.
    """

    def __init__(
        self,
        endpoint: str | os.PathLike[str] | Remote | None = None,
        cert: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
        verify: bool = True,
        project: str | None = None,
        timeout: float | None = 30,
        *,
        server_cert: str | os.PathLike[str] | None = None,
        ca: str | os.PathLike[str] | None = None,
        password: str | None = None,
        token: str | Callable[[], str] | None = None,
        login: Callable[[str, str], object] | None = None,
    ) -> None:
        if endpoint is None:
            endpoint = ClientConfig().remote()
        elif isinstance(endpoint, str | os.PathLike):
            endpoint = Remote("", (os.fspath(endpoint),))
        elif not isinstance(endpoint, Remote):
            raise IncusInputError(f"endpoint must be a str or a path, not {type(endpoint).__name__}")
        transport = make_transport(
            endpoint,
            cert,
            verify,
            timeout,
            server_cert=server_cert,
            ca=ca,
            password=password,
            token=token,
            login=login,
        )
        self._scope = Scope(transport).view(project=project or endpoint.project)

    @classmethod
    def from_remote(
        cls,
        name: str | None = None,
        *,
        project: str | None = None,
        timeout: float | None = 30,
        password: str | None = None,
        login: Callable[[str, str], object] | None = None,
    ) -> Self:
        """A client of a remote of the ``incus`` command's configuration; None is the default remote.

        Takes the remote's addresses, of which the first that answers is used, its project, and the certificates beside
        it. ``project``: another than the remote's. ``timeout``, ``password``, ``login``: as of `Client`.
        Raises `IncusInputError` where there is no such remote, or it is a server of images.
        """
        return cls(ClientConfig().remote(name), project=project, timeout=timeout, password=password, login=login)

    @classmethod
    async def join(
        cls,
        token: str,
        name: str | None = None,
        *,
        endpoint: str | None = None,
        project: str | None = None,
        timeout: float | None = 30,
        password: str | None = None,
    ) -> Self:
        """Become a trusted client of a server, by the one token that its owner issued; returns a client of it,
        connected. ``POST /1.0/certificates``.

        Makes a certificate and a key, where the ``incus`` command's configuration has none, and writes the server there
        as a remote, for `from_remote` and for the command; with its certificate, which is pinned, unless an authority
        vouches for it. Nothing is sent to a server whose certificate is another than the token says. A client that is
        trusted already does not use the token up.

        ``name``: of the remote; by default the server's own. ``endpoint``: where the server is, if the addresses in the
        token do not lead there. ``project``: what requests are for; by default the only one that the token allows, if
        it is one. ``timeout``, ``password``: as of `Client`. Raises `IncusInputError` for a token that is none or has
        expired, or a name that is taken.
        """
        invitation = models.CertificateAddToken(wire.read_token(token))
        if (end := invitation.expires_at) is not None and end < datetime.now(UTC):
            raise IncusInputError(f"this trust token has expired, at {end:%Y-%m-%d %H:%M:%S} UTC: ask for a new one")
        config = ClientConfig()
        if name is not None:
            config.check_new_name(name)
        addresses = [f"https://{address}" for address in invitation.addresses] if endpoint is None else [endpoint]
        server = replace(config.new_remote(name or ""), addresses=tuple(addresses), server_cert=None)
        client = cls(server, server_cert=invitation.fingerprint, project=project, timeout=timeout, password=password)
        try:
            await client.connect()
            if (await client._scope.server()).get("auth") != "trusted":
                body = {"trust_token": token, "type": "client"}
                await client._scope.request("POST", wire.path("certificates"), body=body)
                await client.connect()
            if project is None:
                allowed = (await client._scope.request("GET", wire.path("projects"))).metadata
                only = wire.names(allowed[0])[-1] if len(allowed) == 1 else "default"
                project = None if only == "default" else only
            transport, info = client._scope.transport, await client._scope.server()
            # The address that works, alone: older versions of the command read no more than one.
            server = replace(server, addresses=(str(transport.endpoint),), project=project)
            vouched = await cls(server, timeout=timeout, password=password)._connects()
            own_name = (info.get("environment") or {}).get("server_name")
            config.add(server, by_name=own_name, server_cert=None if vouched else transport.pinned_certificate)
        except BaseException:
            await client.disconnect()
            raise
        client._scope = client._scope.view(project=project)
        return client

    async def _connects(self) -> bool:
        """Whether authorities vouch for the server, so that it may renew its certificate."""
        try:
            await self.connect()
        except IncusConnectionError:
            return False
        await self.disconnect()
        return True

    @classmethod
    def _view(cls, scope: Scope) -> Self:
        view = cls.__new__(cls)
        view._scope = scope
        return view

    async def connect(self) -> None:
        """Ask the server who it is; raises if it cannot be reached or is no Incus. ``GET /1.0``."""
        try:
            await self._scope.server(fresh=True)
        except BaseException:
            await self.disconnect()
            raise

    async def disconnect(self) -> None:
        """Close all connections of this client and of the views on it."""
        await self._scope.transport.close()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    def use_project(self, project: str) -> Self:
        """A view of this client for another project, on the same connections."""
        return self._view(self._scope.view(project=project))

    def use_target(self, target: str) -> Self:
        """A view of this client for one cluster member, or ``@group``, on the same connections."""
        return self._view(self._scope.view(target=target))

    @property
    def project(self) -> str | None:
        """The project that requests are for; None is the server's default."""
        return self._scope.project

    @cached_property
    def instances(self) -> InstancesAPI:
        """Containers and virtual machines."""
        return InstancesAPI(self._scope)

    @cached_property
    def images(self) -> ImagesAPI:
        """Images and their aliases."""
        return ImagesAPI(self._scope)

    @cached_property
    def networks(self) -> NetworksAPI:
        """Networks and what hangs below them."""
        return NetworksAPI(self._scope)

    @cached_property
    def network_acls(self) -> NetworkACLsAPI:
        """Rules for the traffic of networks and NICs."""
        return NetworkACLsAPI(self._scope)

    @cached_property
    def network_address_sets(self) -> NetworkAddressSetsAPI:
        """Addresses that rules name together."""
        return NetworkAddressSetsAPI(self._scope)

    @cached_property
    def network_zones(self) -> NetworkZonesAPI:
        """DNS zones and their records."""
        return NetworkZonesAPI(self._scope)

    @cached_property
    def network_integrations(self) -> NetworkIntegrationsAPI:
        """Ties to the networks of other servers and clusters."""
        return NetworkIntegrationsAPI(self._scope)

    @cached_property
    def profiles(self) -> ProfilesAPI:
        """Profiles."""
        return ProfilesAPI(self._scope)

    @cached_property
    def storage_pools(self) -> StoragePoolsAPI:
        """Storage pools and their volumes."""
        return StoragePoolsAPI(self._scope)

    @cached_property
    def certificates(self) -> CertificatesAPI:
        """Certificates that the server trusts."""
        return CertificatesAPI(self._scope)

    @cached_property
    def operations(self) -> OperationsAPI:
        """Running operations."""
        return OperationsAPI(self._scope)

    @cached_property
    def projects(self) -> ProjectsAPI:
        """Projects."""
        return ProjectsAPI(self._scope)

    @cached_property
    def cluster(self) -> ClusterAPI:
        """The cluster and its members."""
        return ClusterAPI(self._scope)

    @cached_property
    def server(self) -> ServerAPI:
        """The server itself: configuration, hardware, metrics, preseeds."""
        return ServerAPI(self._scope)

    @cached_property
    def warnings(self) -> WarningsAPI:
        """What the server warns of."""
        return WarningsAPI(self._scope)

    @cached_property
    def events(self) -> EventsAPI:
        """The stream of events."""
        return EventsAPI(self._scope)

    async def get_server_info(self) -> ServerInfo:
        """The server: its version, extensions, environment and configuration. ``GET /1.0``."""
        return ServerInfo(dict(await self._scope.server(fresh=True)))

    async def get_resources(self) -> ResourcesInfo:
        """The server's hardware. ``GET /1.0/resources``."""
        return ResourcesInfo((await self.server.get_resources()).raw)

    async def has_extension(self, name: str) -> bool:
        """Whether the server has an API extension; asks the server once. ``GET /1.0``."""
        return name in ((await self._scope.server()).get("api_extensions") or ())

    async def wait_for_operation(self, operation_id: str, timeout: float | None = 60) -> Operation:
        """Wait until an operation ended, and return it: see `Operation.wait`. ``timeout``: seconds.

        ``GET /1.0/operations/{id}/wait``.
        """
        return await self.operations.wait(operation_id, timeout)

    async def query(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: wire.Query | None = None,
        headers: Headers | None = None,
    ) -> Any:
        """Any request, for what has no method yet: ``await client.query("GET", "/1.0/something/new")``.

        ``path``: from ``/1.0``, its names quoted by the caller. ``body``: bytes or an async iterable of bytes are sent
        as they are, anything else as JSON. Returns the answer's ``metadata``; an `Operation` for what the server does
        in the background; ``bytes`` where the answer is not JSON. Raises as every method does.
        """
        if not isinstance(method, str) or not method.isascii() or not method.isalpha():
            raise IncusInputError(f"a method is one word, as GET, not {method!r}")
        answer = await self._scope.request(method, wire.require_quoted(path), query=query, body=body, headers=headers)
        return Operation(self._scope, answer.metadata) if answer.type == "async" else answer.metadata

    def __repr__(self) -> str:
        scope = self._scope
        shown = [f"project={scope.project!r}"] * bool(scope.project) + [f"target={scope.target!r}"] * bool(scope.target)
        return f"<{' '.join(['Client', str(scope.transport.endpoint), *shown])}>"
