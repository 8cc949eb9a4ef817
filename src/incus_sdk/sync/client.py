"""The client: connecting, views, and one attribute for each group of the API.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from .. import client as _source
from ..client import RawAnswer as RawAnswer
from . import _twin

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Any, Literal, Self

    from .._connection import wire
    from .._connection.answers import Headers
    from .._connection.config import Remote
    from .._connection.tracing import TracedRequest
    from . import api
    from .operations import Operation


class Client(_twin.Twin):
    """A client of one Incus server.

        with Client() as client:
            for instance in client.instances.list():
                print(instance.name, instance.status)

    Nothing is sent before `connect`, ``with`` or the first request. All threads of a process can use one
    client; after a fork, the child makes its own.

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
        token: A bearer token in place of ``cert``, or a function that makes one for each request,
            which runs in the SDK's own thread: see `client_token`.
        login: For OpenID Connect: called with a URL and a code to show to the user, where a login is needed.

    Raises:
        IncusInputError: The endpoint or the certificates are invalid, or the command's configuration is.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Client: ...

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
        self._begin(
            _source.Client(
                endpoint,
                cert,
                verify,
                project,
                timeout,
                server_cert=server_cert,
                ca=ca,
                password=password,
                token=token,
                login=_twin.asked(login),
            )
        )

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
        return cls._adopt(
            _source.Client.from_remote(
                name, project=project, timeout=timeout, password=password, login=_twin.asked(login)
            )
        )

    @classmethod
    def join(
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
        return cls._come_from(
            _source.Client.join(token, name, endpoint=endpoint, project=project, timeout=timeout, password=password)
        )

    def __reduce__(self) -> Any:
        result: Any = self._wrap(self._async.__reduce__())
        return result

    def connect(self) -> None:
        """Ask the server to describe itself, which shows that it can be reached.

        Raises:
            IncusConnectionError: It cannot be reached, or is not an Incus server.

        API:
            ``GET /1.0``
        """
        self._portal.run(self._async.connect())

    def disconnect(self) -> None:
        """Close all connections of this client and of the views on it."""
        self._portal.end(self._async.disconnect())

    def __enter__(self) -> Self:
        return self._enter(self._async.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.end(self._async.__aexit__(kind, error, trace))

    def trace_requests(self, hook: Callable[[TracedRequest], AbstractContextManager[object]] | None) -> None:
        """Enter a context manager around each request of this client and of its views, as tracing libraries need it.

        Args:
            hook: Makes the context manager from a record of the request, which has the answer's status, sizes and time
                when that is left. It is called in the SDK's own thread. None ends it.

        Raises:
            IncusInputError: The hook is no function.
        """
        self._async.trace_requests(hook)

    def use_project(self, project: str) -> Self:
        """Get a view of this client for another project, on the same connections.

        Args:
            project: The project of the view's requests.

        Raises:
            IncusInputError: The name is invalid.
        """
        result: Self = self._wrap(self._async.use_project(project))
        return result

    def use_target(self, target: str) -> Self:
        """Get a view of this client for one cluster member, on the same connections.

        Args:
            target: The member, or ``@group`` for one of a group.

        Raises:
            IncusInputError: The name is invalid.
        """
        result: Self = self._wrap(self._async.use_target(target))
        return result

    @property
    def project(self) -> str | None:
        """The project of all requests; None is the server's default."""
        return self._async.project

    @cached_property
    def instances(self) -> api.instances.InstancesAPI:
        """Containers and virtual machines."""
        result: api.instances.InstancesAPI = self._wrap(self._async.instances)
        return result

    @cached_property
    def images(self) -> api.images.ImagesAPI:
        """Images and their aliases."""
        result: api.images.ImagesAPI = self._wrap(self._async.images)
        return result

    @cached_property
    def networks(self) -> api.networks.NetworksAPI:
        """Networks, with their forwards, load balancers, peers, leases and allocations."""
        result: api.networks.NetworksAPI = self._wrap(self._async.networks)
        return result

    @cached_property
    def network_acls(self) -> api.networks.NetworkACLsAPI:
        """Network ACLs: rules for the traffic of networks and NICs."""
        result: api.networks.NetworkACLsAPI = self._wrap(self._async.network_acls)
        return result

    @cached_property
    def network_address_sets(self) -> api.networks.NetworkAddressSetsAPI:
        """Network address sets, which rules of ACLs refer to."""
        result: api.networks.NetworkAddressSetsAPI = self._wrap(self._async.network_address_sets)
        return result

    @cached_property
    def network_zones(self) -> api.networks.NetworkZonesAPI:
        """DNS zones and their records."""
        result: api.networks.NetworkZonesAPI = self._wrap(self._async.network_zones)
        return result

    @cached_property
    def network_integrations(self) -> api.networks.NetworkIntegrationsAPI:
        """Network integrations: connections to the networks of other clusters."""
        result: api.networks.NetworkIntegrationsAPI = self._wrap(self._async.network_integrations)
        return result

    @cached_property
    def profiles(self) -> api.profiles.ProfilesAPI:
        """Profiles."""
        result: api.profiles.ProfilesAPI = self._wrap(self._async.profiles)
        return result

    @cached_property
    def storage_pools(self) -> api.storage.StoragePoolsAPI:
        """Storage pools and their volumes."""
        result: api.storage.StoragePoolsAPI = self._wrap(self._async.storage_pools)
        return result

    @cached_property
    def certificates(self) -> api.certificates.CertificatesAPI:
        """Certificates that the server trusts."""
        result: api.certificates.CertificatesAPI = self._wrap(self._async.certificates)
        return result

    @cached_property
    def operations(self) -> api.activity.OperationsAPI:
        """Running operations."""
        result: api.activity.OperationsAPI = self._wrap(self._async.operations)
        return result

    @cached_property
    def projects(self) -> api.projects.ProjectsAPI:
        """Projects."""
        result: api.projects.ProjectsAPI = self._wrap(self._async.projects)
        return result

    @cached_property
    def cluster(self) -> api.cluster.ClusterAPI:
        """The cluster and its members."""
        result: api.cluster.ClusterAPI = self._wrap(self._async.cluster)
        return result

    @cached_property
    def server(self) -> api.server.ServerAPI:
        """The server itself: configuration, hardware, metrics, preseed."""
        result: api.server.ServerAPI = self._wrap(self._async.server)
        return result

    @cached_property
    def warnings(self) -> api.activity.WarningsAPI:
        """The server's warnings."""
        result: api.activity.WarningsAPI = self._wrap(self._async.warnings)
        return result

    @cached_property
    def events(self) -> api.activity.EventsAPI:
        """The stream of events."""
        result: api.activity.EventsAPI = self._wrap(self._async.events)
        return result

    def get_server_info(self) -> api.server.ServerInfo:
        """Read the server's version, extensions, environment and configuration.

        API:
            ``GET /1.0``
        """
        return self._portal.run(self._async.get_server_info())

    def get_resources(self) -> api.server.ResourcesInfo:
        """Read the server's hardware.

        API:
            ``GET /1.0/resources``
        """
        return self._portal.run(self._async.get_resources())

    def has_extension(self, name: str) -> bool:
        """Tell whether the server has an API extension; asks the server once.

        Args:
            name: The extension.

        API:
            ``GET /1.0``
        """
        return self._portal.run(self._async.has_extension(name))

    def wait_for_operation(self, operation_id: str, timeout: float | None = 60) -> Operation:
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
        result: Operation = self._wrap(self._portal.run(self._async.wait_for_operation(operation_id, timeout)))
        return result

    @overload
    def query(
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
    def query(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: wire.Query | None = None,
        headers: Headers | None = None,
        raw: Literal[True],
    ) -> RawAnswer: ...
    def query(
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

            client.query("GET", "/1.0/something/new")

        Args:
            method: ``GET``, ``POST``, ...
            path: The path, from ``/1.0``; the caller quotes the names in it.
            body: Bytes, an iterator of bytes, or anything else as JSON.
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
        held: Any = self._async
        result: Any = self._wrap(
            self._portal.run(
                held.query(method, path, body=_twin.given_body(body), query=query, headers=headers, raw=raw)
            )
        )
        return result
