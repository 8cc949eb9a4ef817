"""The server itself: its configuration, hardware and metrics, and its set-up by a preseed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from .. import models
from .._concurrency import Attempts
from .._connection import wire
from ..exceptions import (
    IncusAPIError,
    IncusCertificateError,
    IncusClosedError,
    IncusConnectionError,
    IncusError,
    IncusTimeoutError,
)
from ..models.base import Json, Record
from .base import Editable, Group

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_POLL = 0.1  # seconds between two questions whether the server is ready
_STARTING = 503  # the status of a server that answers, and has not started up


class Server(models.Server, Editable[models.ServerPut]):
    """The server, as this client can see it: one that it does not trust (``auth``) sees little.

    The configuration can hold secrets; the ``repr()`` shows none of it.
    """

    async def _put_body(self, body: Json) -> Json:
        # Servers keep a user.* key that a PUT does not name, and remove one that is empty. Only the configuration can
        # be written, and the list of extensions alone has 15 kB.
        current, _ = await self._read_with_etag()
        keys = current.get("config")
        kept = dict.fromkeys(keys if isinstance(keys, dict) else (), "")
        return {"config": {**kept, **(body.get("config") or {})}}


class _Enveloped(Record):
    """A record that can also be read as ``["metadata"]``, where the documented API has it."""

    def __getitem__(self, key: str) -> Any:
        return self.raw if key == "metadata" and key not in self.raw else super().__getitem__(key)


class ServerInfo(models.Server, _Enveloped):
    """The server; ``info.api_version`` is also ``info["metadata"]["api_version"]``."""


class ResourcesInfo(models.Resources, _Enveloped):
    """The server's hardware; ``info.cpu`` is also ``info["metadata"]["cpu"]``."""


class ServerAPI(Group):
    """``client.server``."""

    def _server(self) -> Server:
        return Server(self._scope, self._path, {}, loaded=False)

    async def get(self) -> Server:
        """The server's version, extensions, environment and configuration.

        API:
            ``GET /1.0``
        """
        return await self._server().refresh()

    async def update(self, change: models.ServerPut | Mapping[str, Any]) -> None:
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
        await self._server().update(change)

    async def replace(self, body: models.ServerPut | Mapping[str, Any], etag: str | None = None) -> None:
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
        await self._server().replace(body, etag)

    async def patch(self, body: models.ServerPut | Mapping[str, Any]) -> None:
        """Have the server merge ``body`` into its configuration: see `Patchable.patch`.

        Args:
            body: ``{"config": ...}`` with the keys that change.

        Raises:
            IncusAPIError: There is no such key, or its value is invalid.

        API:
            ``PATCH /1.0``
        """
        await self._server().patch(body)

    def editing(self) -> AbstractAsyncContextManager[Server]:
        """Edit the server's configuration in place: see `Writable.editing`.

            async with client.server.editing() as server:
                server.config["core.https_address"] = ":8443"

        Returns:
            A context manager with a copy of the server, read; the difference is saved when the block ends.

        API:
            ``GET`` and ``PUT /1.0``
        """
        return self._server().editing()

    async def get_versions(self) -> list[str]:
        """The versions of the API that the server has.

        Returns:
            Their paths, as ``["/1.0"]``.

        API:
            ``GET /``
        """
        return (await self._scope.request("GET", "/")).strings

    async def get_resources(self) -> models.Resources:
        """The server's hardware.

        API:
            ``GET /1.0/resources``
        """
        return models.Resources((await self._request("GET", "resources")).object)

    async def get_configuration_metadata(self) -> models.MetadataConfiguration:
        """Every configuration option that the server knows, with its documentation.

        API:
            ``GET /1.0/metadata/configuration``
        """
        answer = await self._request("GET", "metadata", "configuration")
        return models.MetadataConfiguration(answer.object)

    async def get_metrics(self) -> str:
        """Metrics of the server and its instances, in the text format of OpenMetrics, which Prometheus reads.

        A client with a project gets those of that project's instances; 7.0 adds metrics of the server itself, and how
        much there is in every project. Servers measure instances every 8 seconds at
        most; 6.0 leaves out the metrics of the server itself each time it measures again.

        API:
            ``GET /1.0/metrics``
        """
        body = (await self._request("GET", "metrics")).content
        return body.decode(errors="replace")

    async def get_metric_families(self) -> list[Metric]:
        """The metrics of `get_metrics` as objects, each with ``name``, ``type``, ``documentation`` and ``samples``.

        Raises:
            IncusError: ``prometheus_client`` is not installed: ``pip install 'incus-sdk[metrics]'``.
            IncusConnectionError: The server sent something else.

        API:
            ``GET /1.0/metrics``
        """
        try:
            from prometheus_client.parser import text_string_to_metric_families
        except ImportError:
            raise IncusError("reading metrics needs prometheus_client: pip install 'incus-sdk[metrics]'") from None
        text = await self.get_metrics()
        try:
            return list(text_string_to_metric_families(text))
        except (LookupError, ValueError) as error:
            raise IncusConnectionError(f"GET /1.0/metrics: the server sent no metrics ({error})", cause=error) from None

    async def preseed(self, data: models.InitPreseed | Mapping[str, Any]) -> list[str]:
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
        from . import _preseed

        return await _preseed.apply(self._server(), data)

    async def preseed_dump(self) -> dict[str, Any]:
        """Describe the server's set-up as a preseed, like ``incus admin init --dump``, and more of it.

        `preseed` takes it unchanged: here it changes nothing, and another server gets the same set-up. It has all
        sections of `preseed` but ``cluster``. Of volumes it does not have the content, and it leaves out ISO images.
        The configuration can hold secrets.

            text = yaml.safe_dump(await client.server.preseed_dump())

        Returns:
            The preseed, for a YAML or JSON file.

        API:
            ``GET`` of the lists of all its objects
        """
        from . import _preseed

        return await _preseed.dump(self._scope)

    async def wait_ready(self, timeout: float | None = None) -> None:
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
        wire.seconds(timeout, "timeout")
        seen: Exception | None = None
        try:
            async with asyncio.timeout(timeout):
                async for _ in Attempts(None, _POLL, longest=_POLL):
                    try:
                        return await self._check_ready()
                    except (IncusCertificateError, IncusClosedError):
                        raise
                    except (IncusConnectionError, IncusTimeoutError) as error:
                        seen = error
                    except IncusAPIError as error:
                        if error.status_code != _STARTING:
                            raise
                        seen = error
        except TimeoutError:
            reason = f": {seen}" if seen else ""
            raise IncusTimeoutError(f"the server is not ready after {timeout} s{reason}") from None

    async def _check_ready(self) -> None:
        await self._scope.server(fresh=True)
        if self._scope.transport.endpoint.socket is not None:
            await self._scope.request("GET", "/internal/ready")
