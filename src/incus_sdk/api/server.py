"""The server itself: its configuration, hardware, metrics, and all it needs at once from a preseed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from .. import models
from ..exceptions import IncusError
from ..models.base import Json
from . import _preseed
from .base import Editable, Group

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class Server(models.Server, Editable[models.ServerPut]):
    """The server as this client may see it: to one that it does not trust (``auth``) it tells little.

    Its configuration may hold secrets; the ``repr()`` shows none of it.
    """

    async def _put_body(self, body: Json) -> Json:
        # Servers keep a user.* key that a PUT does not name, and remove one that is empty. Nothing but the
        # configuration can be written, and the extensions alone are 15 kB.
        current, _ = await self._read_with_etag()
        return {"config": {**dict.fromkeys(current.get("config") or (), ""), **(body.get("config") or {})}}


class ServerAPI(Group):
    """``client.server``."""

    def _server(self) -> Server:
        return Server(self._scope, self._path, {}, loaded=False)

    async def get(self) -> Server:
        """The server: its version, extensions, environment and configuration. ``GET /1.0``."""
        return await self._server().refresh()

    async def update(self, change: models.ServerPut | Mapping[str, Any]) -> None:
        """Change some of its configuration, as ``{"core.https_address": ":8443"}``: see `Editable.update`.

        ``PUT /1.0``.
        """
        await self._server().update(change)

    async def replace(self, body: models.ServerPut | Mapping[str, Any], etag: str | None = None) -> None:
        """Replace all of its configuration by exactly ``body``: see `Writable.replace`. ``PUT /1.0``."""
        await self._server().replace(body, etag)

    async def patch(self, body: models.ServerPut | Mapping[str, Any]) -> None:
        """Hand ``body`` to the server's own merge: see `Writable.patch`. ``PATCH /1.0``."""
        await self._server().patch(body)

    def editing(self) -> AbstractAsyncContextManager[Server]:
        """Edit its configuration in place: see `Writable.editing`. ``PUT /1.0``."""
        return self._server().editing()

    async def get_versions(self) -> list[str]:
        """The versions of the API that the server speaks, as paths. ``GET /``."""
        versions: list[str] = (await self._scope.request("GET", "/")).metadata
        return versions

    async def get_resources(self) -> models.Resources:
        """The server's hardware. ``GET /1.0/resources``."""
        return models.Resources((await self._request("GET", "resources")).metadata)

    async def get_configuration_metadata(self) -> models.MetadataConfiguration:
        """Every configuration option that the server knows, with its documentation. ``GET
        /1.0/metadata/configuration``.
        """
        answer = await self._request("GET", "metadata", "configuration")
        return models.MetadataConfiguration(answer.metadata)

    async def get_metrics(self) -> str:
        """Metrics of the server and of the instances, in the text format of OpenMetrics, as Prometheus reads it.

        Of one project's instances where the client has a project. Servers measure instances every 8 seconds at most;
        those of 6.0 leave their own figures out whenever they measure anew. ``GET /1.0/metrics``.
        """
        body: bytes = (await self._request("GET", "metrics")).metadata
        return body.decode()

    async def get_metric_families(self) -> list[Metric]:
        """The metrics of `get_metrics`, read: each with its ``name``, ``type``, ``documentation`` and ``samples``.

        Needs ``incus-sdk[metrics]``. ``GET /1.0/metrics``.
        """
        try:
            from prometheus_client.parser import text_string_to_metric_families
        except ImportError:
            raise IncusError("to read metrics needs prometheus_client: pip install 'incus-sdk[metrics]'") from None
        return list(text_string_to_metric_families(await self.get_metrics()))

    async def preseed(self, data: models.InitPreseed | Mapping[str, Any]) -> list[str]:
        """Set up the server as ``incus admin init --preseed`` does, from the mapping that its YAML stands for.

        What is missing is created, what exists is updated: what the preseed does not name stays as it is. So a preseed
        that was applied changes nothing when it is applied again. In this order: ``config``, ``storage_pools``,
        ``networks`` of the default project, ``projects``, other ``networks``, ``storage_volumes``, ``profiles``,
        ``certificates``, ``cluster``, ``cluster_groups``. A ``cluster`` to join has no other section beside it.

        Returns what it did, as ``["created storage_pools/default", "updated profiles/default"]``. Raises
        `IncusInputError` for a section or a field that there is not, before anything is sent; any other error says what
        had been done before it. ``GET``, ``POST`` and ``PUT`` of each path.
        """
        return await _preseed.apply(self._server(), data)
