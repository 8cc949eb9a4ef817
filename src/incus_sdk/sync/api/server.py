"""The server itself: its configuration, hardware and metrics, and its set-up by a preseed.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ... import models
from ...api import server as _source
from ...api.server import ResourcesInfo as ResourcesInfo
from ...api.server import ServerInfo as ServerInfo
from .base import Editable, Group

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from prometheus_client.metrics_core import Metric


class Server(models.Server, Editable[models.ServerPut]):
    """The server, as this client can see it: one that it does not trust (``auth``) sees little.

    The configuration can hold secrets; the ``repr()`` shows none of it.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Server: ...


class ServerAPI(Group):
    """``client.server``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ServerAPI: ...

    def get(self) -> Server:
        """The server's version, extensions, environment and configuration.

        API:
            ``GET /1.0``
        """
        result: Server = self._wrap(self._portal.run(self._async.get()))
        return result

    def update(self, change: models.ServerPut | Mapping[str, Any]) -> None:
        """Change some of the server's configuration and keep the rest: see `Updatable.update`.

        Args:
            change: The keys that change, as ``{"core.https_address": ":8443"}``; None removes a key.

        Raises:
            IncusInputError: The server has no such field; nothing was changed.
            IncusAPIError: There is no such key, or its value is invalid.
            IncusPreconditionError: Other writers were faster too many times.

        API:
            ``GET`` and ``PUT /1.0``
        """
        self._portal.run(self._async.update(change))

    def replace(self, body: models.ServerPut | Mapping[str, Any], etag: str | None = None) -> None:
        """Replace the server's configuration by exactly ``body``: see `Writable.replace`.

        Args:
            body: ``{"config": ...}`` with all keys; those it does not name are reset.
            etag: The `etag` of the server as it was read; None replaces it whatever has happened since.

        Raises:
            IncusPreconditionError: The configuration has changed since that ``etag``.
            IncusAPIError: There is no such key, or its value is invalid.

        API:
            ``GET`` and ``PUT /1.0``
        """
        self._portal.run(self._async.replace(body, etag))

    def patch(self, body: models.ServerPut | Mapping[str, Any]) -> None:
        """Have the server merge ``body`` into its configuration: see `Patchable.patch`.

        Args:
            body: ``{"config": ...}`` with the keys that change.

        Raises:
            IncusAPIError: There is no such key, or its value is invalid.

        API:
            ``PATCH /1.0``
        """
        self._portal.run(self._async.patch(body))

    def editing(self) -> AbstractContextManager[Server]:
        """Edit the server's configuration in place: see `Writable.editing`.

            with client.server.editing() as server:
                server.config["core.https_address"] = ":8443"

        Returns:
            A context manager with a copy of the server, read; the difference is saved when the block ends.

        API:
            ``GET`` and ``PUT /1.0``
        """
        result: AbstractContextManager[Server] = self._wrap(self._async.editing())
        return result

    def get_versions(self) -> list[str]:
        """The versions of the API that the server has.

        Returns:
            Their paths, as ``["/1.0"]``.

        API:
            ``GET /``
        """
        return self._portal.run(self._async.get_versions())

    def get_resources(self) -> models.Resources:
        """The server's hardware.

        API:
            ``GET /1.0/resources``
        """
        return self._portal.run(self._async.get_resources())

    def get_configuration_metadata(self) -> models.MetadataConfiguration:
        """Every configuration option that the server knows, with its documentation.

        API:
            ``GET /1.0/metadata/configuration``
        """
        return self._portal.run(self._async.get_configuration_metadata())

    def get_metrics(self) -> str:
        """Metrics of the server and its instances, in the text format of OpenMetrics, which Prometheus reads.

        A client with a project gets those of that project's instances; 7.0 adds metrics of the server itself, and how
        much there is in every project. Servers measure instances every 8 seconds at
        most; 6.0 leaves out the metrics of the server itself each time it measures again.

        API:
            ``GET /1.0/metrics``
        """
        return self._portal.run(self._async.get_metrics())

    def get_metric_families(self) -> list[Metric]:
        """The metrics of `get_metrics` as objects, each with ``name``, ``type``, ``documentation`` and ``samples``.

        Raises:
            IncusError: ``prometheus_client`` is not installed: ``pip install 'incus-sdk[metrics]'``.
            IncusConnectionError: The server sent something else.

        API:
            ``GET /1.0/metrics``
        """
        return self._portal.run(self._async.get_metric_families())

    def preseed(self, data: models.InitPreseed | Mapping[str, Any]) -> list[str]:
        """Set up the server like ``incus admin init --preseed``.

        Missing objects are created, existing ones updated; everything that the preseed does not name is kept. A preseed
        that is applied again changes nothing. The order is: ``config``, ``storage_pools``, ``networks`` of the default
        project, ``projects``, other ``networks``, ``storage_volumes``, ``profiles``, ``certificates``, ``cluster``,
        ``cluster_groups``. A preseed that joins a ``cluster`` must not have another section.

        Args:
            data: The preseed, as its YAML is parsed.

        Returns:
            What was done, as ``["created storage_pools/default", "updated profiles/default"]``.

        Raises:
            IncusInputError: A section or a field is unknown or invalid; nothing was sent.
            IncusError: A step failed, by the error of that request; the message says what had been done before.

        API:
            ``GET``, ``POST`` and ``PUT`` of each object's path
        """
        return self._portal.run(self._async.preseed(data))

    def preseed_dump(self) -> dict[str, Any]:
        """Describe the server's set-up as a preseed, like ``incus admin init --dump``, and more of it.

        `preseed` takes it unchanged: here it changes nothing, and another server gets the same set-up. It has all
        sections of `preseed` but ``cluster``. Of volumes it does not have the content, and it leaves out ISO images.
        The configuration can hold secrets.

            text = yaml.safe_dump(client.server.preseed_dump())

        Returns:
            The preseed, for a YAML or JSON file.

        API:
            ``GET`` of the lists of all its objects
        """
        result: dict[str, Any] = self._wrap(self._portal.run(self._async.preseed_dump()))
        return result

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until the server answers and has started up, like ``incus admin waitready``; it need not run yet.

        Over HTTPS a server counts as started when it answers.

        Args:
            timeout: Seconds to wait at most; None for no limit.

        Raises:
            IncusInputError: ``timeout`` is no number.
            IncusTimeoutError: It is not ready after ``timeout`` seconds; the message says why.
            IncusCertificateError: Another server answers.

        API:
            ``GET /1.0``, and over a unix socket ``GET /internal/ready``
        """
        self._portal.run(self._async.wait_ready(timeout))
