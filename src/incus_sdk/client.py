"""The client: connecting, views, and one attribute for each group of the API."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from . import api
from ._connection import wire
from ._connection.config import ClientConfig, Remote, to_connect
from ._connection.connecting import make_transport
from ._connection.scope import Scope
from ._connection.tracing import TracedRequest
from ._connection.transport import Headers
from .exceptions import IncusInputError

if TYPE_CHECKING:
    from .operations import Operation


@dataclass(frozen=True)
class RawAnswer:
    """A whole answer of the server, as `Client.query` gives it with ``raw``.

    Args:
        status: The HTTP status.
        headers: The HTTP headers; the case of their names does not count.
        body: The JSON, with its envelope; ``bytes`` where the answer is not JSON.
    """

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def etag(self) -> str | None:
        """The object's ETag, for ``headers={"If-Match": ...}``; None where the server sent none."""
        return self.headers.get("ETag")


class Client:
    """A client of one Incus server.

        async with Client() as client:
            for instance in await client.instances.list():
                print(instance.name, instance.status)

    Nothing is sent before `connect`, ``async with`` or the first request. A client belongs to the event loop that
    first used it.

    Args:
        endpoint: ``https://host:8443``, ``unix:///path/to/unix.socket`` or that path; or a `Remote`. None takes the
            same server as the ``incus`` command, by INCUS_REMOTE, INCUS_PROJECT and its ``config.yml``: the local
            daemon, unless they name another.
        cert: The paths of the client's certificate and of its key (PEM), for HTTPS.
        verify: False accepts any server where neither ``server_cert`` nor ``ca`` is given.
        project: The project of all requests; None is the remote's, or the server's default.
        timeout: Seconds to connect, and to the first byte of an ordinary answer; None for no limit. It never cuts off
            an operation, a stream or a transfer.
        server_cert: The server's own certificate (PEM, text or path), or its fingerprint: the only one accepted.
        ca: The only authority whose servers are accepted (PEM, text or path); None takes those of the system.
        password: Opens an encrypted key.
        token: A bearer token in place of ``cert``, or a function that makes one for each request: see `client_token`.
        login: For OpenID Connect: called with a URL and a code to show to the user, where a login is needed; can be a
            coroutine function.

    Raises:
        IncusInputError: The endpoint or the certificates are invalid, or the command's configuration is.
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
        else:
            endpoint = to_connect(endpoint)
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
        """Make a client of a remote of the ``incus`` command's configuration.

        It uses the first of the remote's addresses that answers, the remote's project, and the certificates beside the
        configuration.

        Args:
            name: The remote; None is the default one.
            project: The project of all requests; None is the remote's.
            timeout: See `Client`.
            password: Opens an encrypted key.
            login: For OpenID Connect: see `Client`.

        Raises:
            IncusInputError: There is no such remote, it is a server of images, or it needs a certificate that is
                missing.
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
        """Become a trusted client of a server, by a token that its owner issued.

        Makes a certificate and a key where the ``incus`` command's configuration has none, and writes the server there
        as a remote, for `from_remote` and for the command. The server's certificate is pinned, unless an authority
        vouches for it. Nothing is sent to a server whose certificate is not the one in the token. A client that is
        trusted already does not use up the token.

        Args:
            token: The trust token, as ``incus config trust add`` prints it.
            name: The remote's new name; None takes the server's own, with a number where that is taken.
            endpoint: The server's address; None takes those in the token.
            project: The project of all requests; None is the only one that the token allows, or else the default.
            timeout: See `Client`.
            password: Opens an encrypted key.

        Returns:
            A client of the server, connected.

        Raises:
            IncusInputError: The token is invalid or expired, or the name is invalid or taken.
            IncusCertificateError: The server is not the one in the token.
            IncusAPIError: The server refused the token.

        API:
            ``POST /1.0/certificates``
        """
        from ._connection.joining import join

        scope = await join(token, name, endpoint=endpoint, project=project, timeout=timeout, password=password)
        return cls._view(scope)

    @classmethod
    def _view(cls, scope: Scope) -> Self:
        view = cls.__new__(cls)
        view._scope = scope
        return view

    def __reduce__(self) -> Any:
        raise TypeError("a Client cannot be pickled or copied: make one where it is used, from the same arguments")

    async def connect(self) -> None:
        """Ask the server to describe itself, which shows that it can be reached.

        Raises:
            IncusConnectionError: It cannot be reached, or is not an Incus server.

        API:
            ``GET /1.0``
        """
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

    def trace_requests(self, hook: Callable[[TracedRequest], AbstractContextManager[object]] | None) -> None:
        """Enter a context manager around each request of this client and of its views, as tracing libraries need it.

        Args:
            hook: Makes the context manager from a record of the request, which has the answer's status, sizes and time
                when that is left. It is called in the task of the request. None ends it.

        Raises:
            IncusInputError: The hook is no function.
        """
        if hook is not None and not callable(hook):
            raise IncusInputError(f"hook must be a function that returns a context manager, not {hook!r}")
        self._scope.transport.tracing.hook = hook

    def use_project(self, project: str) -> Self:
        """Get a view of this client for another project, on the same connections.

        Args:
            project: The project of the view's requests.

        Raises:
            IncusInputError: The name is invalid.
        """
        return self._view(self._scope.view(project=project))

    def use_target(self, target: str) -> Self:
        """Get a view of this client for one cluster member, on the same connections.

        Args:
            target: The member, or ``@group`` for one of a group.

        Raises:
            IncusInputError: The name is invalid.
        """
        return self._view(self._scope.view(target=target))

    @property
    def project(self) -> str | None:
        """The project of all requests; None is the server's default."""
        return self._scope.project

    @cached_property
    def instances(self) -> api.instances.InstancesAPI:
        """Containers and virtual machines."""
        return api.instances.InstancesAPI(self)

    @cached_property
    def images(self) -> api.images.ImagesAPI:
        """Images and their aliases."""
        return api.images.ImagesAPI(self)

    @cached_property
    def networks(self) -> api.networks.NetworksAPI:
        """Networks, with their forwards, load balancers, peers, leases and allocations."""
        return api.networks.NetworksAPI(self)

    @cached_property
    def network_acls(self) -> api.networks.NetworkACLsAPI:
        """Network ACLs: rules for the traffic of networks and NICs."""
        return api.networks.NetworkACLsAPI(self)

    @cached_property
    def network_address_sets(self) -> api.networks.NetworkAddressSetsAPI:
        """Network address sets, which rules of ACLs refer to."""
        return api.networks.NetworkAddressSetsAPI(self)

    @cached_property
    def network_zones(self) -> api.networks.NetworkZonesAPI:
        """DNS zones and their records."""
        return api.networks.NetworkZonesAPI(self)

    @cached_property
    def network_integrations(self) -> api.networks.NetworkIntegrationsAPI:
        """Network integrations: connections to the networks of other clusters."""
        return api.networks.NetworkIntegrationsAPI(self)

    @cached_property
    def profiles(self) -> api.profiles.ProfilesAPI:
        """Profiles."""
        return api.profiles.ProfilesAPI(self)

    @cached_property
    def storage_pools(self) -> api.storage.StoragePoolsAPI:
        """Storage pools and their volumes."""
        return api.storage.StoragePoolsAPI(self)

    @cached_property
    def certificates(self) -> api.certificates.CertificatesAPI:
        """Certificates that the server trusts."""
        return api.certificates.CertificatesAPI(self)

    @cached_property
    def operations(self) -> api.activity.OperationsAPI:
        """Running operations."""
        return api.activity.OperationsAPI(self)

    @cached_property
    def projects(self) -> api.projects.ProjectsAPI:
        """Projects."""
        return api.projects.ProjectsAPI(self)

    @cached_property
    def cluster(self) -> api.cluster.ClusterAPI:
        """The cluster and its members."""
        return api.cluster.ClusterAPI(self)

    @cached_property
    def server(self) -> api.server.ServerAPI:
        """The server itself: configuration, hardware, metrics, preseed."""
        return api.server.ServerAPI(self)

    @cached_property
    def warnings(self) -> api.activity.WarningsAPI:
        """The server's warnings."""
        return api.activity.WarningsAPI(self)

    @cached_property
    def events(self) -> api.activity.EventsAPI:
        """The stream of events."""
        return api.activity.EventsAPI(self)

    async def get_server_info(self) -> api.server.ServerInfo:
        """Read the server's version, extensions, environment and configuration.

        API:
            ``GET /1.0``
        """
        return api.server.ServerInfo(dict(await self._scope.server(fresh=True)))

    async def get_resources(self) -> api.server.ResourcesInfo:
        """Read the server's hardware.

        API:
            ``GET /1.0/resources``
        """
        return api.server.ResourcesInfo((await self.server.get_resources()).raw)

    async def has_extension(self, name: str) -> bool:
        """Tell whether the server has an API extension; asks the server once.

        Args:
            name: The extension.

        API:
            ``GET /1.0``
        """
        return name in ((await self._scope.server()).get("api_extensions") or ())

    async def wait_for_operation(self, operation_id: str, timeout: float | None = 60) -> Operation:
        """Wait until an operation has ended; a caller that is cancelled meanwhile cancels the operation.

        Args:
            operation_id: The operation.
            timeout: Seconds; None waits without a limit.

        Returns:
            The operation as it ended.

        Raises:
            IncusOperationError: It failed or was cancelled.
            IncusOperationLostError: The server does not know it, or forgot it: it does so five seconds after its end.
            IncusTimeoutError: It has not ended in time, and goes on.

        API:
            ``GET /1.0/operations/{id}/wait``
        """
        return await self.operations.wait(operation_id, timeout)

    @overload
    async def query(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: wire.Query | None = None,
        headers: Headers | None = None,
        raw: Literal[False] = False,
    ) -> Any: ...
    @overload
    async def query(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: wire.Query | None = None,
        headers: Headers | None = None,
        raw: Literal[True],
    ) -> RawAnswer: ...
    async def query(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: wire.Query | None = None,
        headers: Headers | None = None,
        raw: bool = False,
    ) -> Any:
        """Send any request, for what has no method yet.

            await client.query("GET", "/1.0/something/new")

        Args:
            method: ``GET``, ``POST``, ...
            path: The path, from ``/1.0``; the caller quotes the names in it.
            body: Bytes, an async iterable of bytes, or anything else as JSON.
            query: Parameters; those that are None are left out.
            headers: Further headers.
            raw: Return the whole answer: its status, headers and ETag, and the JSON with its envelope.

        Returns:
            The answer's ``metadata``; an `Operation` for what the server does in the background; ``bytes`` where the
            answer is not JSON. With ``raw`` a `RawAnswer`.

        Raises:
            IncusInputError: The method, path, body or a header cannot be sent.
            IncusAPIError: The server refused the request, also with ``raw``; its subclasses tell why.
        """
        if not isinstance(method, str) or not method.isascii() or not method.isalpha():
            raise IncusInputError(f"a method must be one word, such as GET, not {method!r}")
        answer = await self._scope.request(method, wire.require_quoted(path), query=query, body=body, headers=headers)
        if raw:
            return RawAnswer(answer.status, answer.headers, answer.body)
        if answer.type != "async":
            return answer.metadata
        from .operations import Operation, _checked

        return Operation(self._scope, _checked(answer.object))

    def __repr__(self) -> str:
        scope = self._scope
        project = f" project={scope.project!r}" if scope.project else ""
        target = f" target={scope.target!r}" if scope.target else ""
        return f"<Client {scope.transport.endpoint}{project}{target}>"
