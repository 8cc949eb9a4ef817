"""The client: connecting, scopes, and one attribute for each group of the API."""

from __future__ import annotations

import os
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from . import models, wire
from .api.certificates import CertificatesAPI
from .api.cluster import ClusterAPI
from .api.images import ImagesAPI
from .api.instances import InstancesAPI
from .api.networks import NetworksAPI
from .api.operations import OperationsAPI
from .api.profiles import ProfilesAPI
from .api.projects import ProjectsAPI
from .api.storage import StoragePoolsAPI
from .connection.discovery import local_socket
from .events import EventsAPI
from .exceptions import IncusInputError
from .models.base import Record
from .operations import Operation
from .scope import Scope
from .transport import Endpoint, Headers, Transport


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

    ``endpoint``: ``https://host:8443``, ``unix:///path/to/unix.socket`` or that path; None finds the local daemon as
    the ``incus`` command does. ``cert``: the paths of the client's certificate and key (PEM). ``server_cert``: the
    server's own certificate (PEM, text or path), which is then the only one accepted. ``verify=False`` accepts any
    server when there is none. ``project``: the project that requests are for; None is the server's default.
    ``timeout``: seconds to connect, and to the first byte of an ordinary answer; it never cuts off an operation, a
    stream or a transfer.

    Belongs to the event loop that first used it. Nothing is sent before `connect`, ``async with`` or the first request.
    """

    def __init__(
        self,
        endpoint: str | os.PathLike[str] | None = None,
        cert: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
        verify: bool = True,
        project: str | None = None,
        timeout: float | None = 30,
        *,
        server_cert: str | os.PathLike[str] | None = None,
    ) -> None:
        if endpoint is None:
            found = local_socket()
            endpoint, project = found.path, project or found.project
        if not isinstance(endpoint, str | os.PathLike):
            raise IncusInputError(f"endpoint must be a str or a path, not {type(endpoint).__name__}")
        parsed = Endpoint.parse(os.fspath(endpoint))
        if parsed.socket is not None and (cert is not None or server_cert is not None):
            raise IncusInputError("cert and server_cert are for https:// endpoints; a unix socket needs neither")
        if cert is not None and not (
            isinstance(cert, tuple | list)
            and len(cert) == 2
            and all(isinstance(file, str | os.PathLike) for file in cert)
        ):
            raise IncusInputError("cert must be a pair of paths: the certificate's and the key's")
        if server_cert is not None and not isinstance(server_cert, str | os.PathLike):
            raise IncusInputError("server_cert must be a certificate in PEM, or the path of one")

        def tls() -> Any:
            from .connection.tls import context

            return context(cert, verify, server_cert)

        self._scope = Scope(Transport(parsed, tls, timeout)).with_(project=project)

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
        return self._view(self._scope.with_(project=project))

    def use_target(self, target: str) -> Self:
        """A view of this client for one cluster member, or ``@group``, on the same connections."""
        return self._view(self._scope.with_(target=target))

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
    def events(self) -> EventsAPI:
        """The stream of events."""
        return EventsAPI(self._scope)

    async def get_server_info(self) -> ServerInfo:
        """The server: its version, extensions, environment and configuration. ``GET /1.0``."""
        return ServerInfo(dict(await self._scope.server(fresh=True)))

    async def get_resources(self) -> ResourcesInfo:
        """The server's hardware. ``GET /1.0/resources``."""
        return ResourcesInfo((await self._scope.request("GET", wire.path("resources"))).metadata)

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
        answer = await self._scope.request(method, wire.checked(path), query=query, body=body, headers=headers)
        return Operation(self._scope, answer.metadata) if answer.type == "async" else answer.metadata

    def __repr__(self) -> str:
        scope = self._scope
        shown = [f"project={scope.project!r}"] * bool(scope.project) + [f"target={scope.target!r}"] * bool(scope.target)
        return f"<{' '.join(['Client', str(scope.transport.endpoint), *shown])}>"
