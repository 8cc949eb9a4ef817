"""What a server is doing and has to tell: its operations, its events and its warnings."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any, ClassVar

from .. import models
from .._connection import wire
from ..events import EventStream
from ..operations import Operation
from .base import Collection, Deletable, Deletes, Editable, Edits, Group


class OperationsAPI(Group):
    """``client.operations``."""

    segment = "operations"

    def __getitem__(self, operation_id: str) -> Operation:
        """A handle on an operation, to wait for or to cancel; makes no request."""
        wire.path(operation_id)
        return Operation(self._scope, {"id": operation_id, "may_cancel": True})

    async def list(self, recursion: int = 1, *, all_projects: bool = False) -> builtins.list[Operation]:
        """The operations that the server knows: those that run, and those that ended less than five seconds ago.

        ``recursion``: 0 gives handles that know only their id and status. ``all_projects``: those of every project.
        ``GET /1.0/operations``.
        """
        query = {"recursion": recursion, "all-projects": all_projects or None}
        by_status = (await self._request("GET", query=query)).metadata or {}
        return [self._from_list(item, status) for status, items in by_status.items() for item in items]

    async def get(self, operation_id: str) -> Operation:
        """One operation. Raises `IncusNotFoundError` once the server forgot it. ``GET /1.0/operations/{id}``."""
        return await self[operation_id].refresh()

    async def wait(self, operation_id: str, timeout: float | None = 60) -> Operation:
        """Wait until one ended: see `Operation.wait`. ``timeout``: seconds."""
        return await self[operation_id].wait(timeout)

    async def cancel(self, operation_id: str) -> None:
        """Cancel one. Raises `IncusAPIError` (400) where the server cannot. ``DELETE /1.0/operations/{id}``."""
        await self[operation_id].cancel()

    async def delete(self, operation_id: str) -> None:
        """Cancel one; the published release's second name for `cancel`. ``DELETE /1.0/operations/{id}``."""
        await self.cancel(operation_id)

    def _from_list(self, item: Any, status: str) -> Operation:
        if not isinstance(item, str):
            return Operation(self._scope, item)
        handle = self[wire.names(item)[1]]
        handle.raw["status"] = status.capitalize()
        return handle


class EventsAPI(Group):
    """``client.events``."""

    segment = "events"

    def listen(self, types: Iterable[str] | None = None, *, all_projects: bool = False) -> EventStream:
        """A stream of events, opened by ``async with``.

        ``types``: any of ``lifecycle``, ``operation``, ``logging``, ``network-acl``; None means all that this client
        may see. The project is the client's, or with ``all_projects`` every one. Yields `LifecycleEvent`,
        `OperationEvent`, `LoggingEvent`, a plain `Event` for a type unknown to this SDK, and `Gap` after a reconnect.

        ``GET /1.0/events`` (websocket).
        """
        return EventStream(self._scope, types, all_projects)


class Warning(models.Warning, Editable[models.WarningPut], Deletable):
    """A warning: ``update({"status": "acknowledged"})`` puts it aside, as long as it does not come up anew.

    Servers check no ETag of it.
    """

    KEY = "uuid"


class WarningsAPI(Collection[Warning], Edits[models.WarningPut], Deletes):
    """``client.warnings``; the key is the UUID."""

    resource, segment = Warning, "warnings"
    options: ClassVar = {"filter": "warnings"}
