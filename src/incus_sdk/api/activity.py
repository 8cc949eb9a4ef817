"""What a server does and reports: operations, events and warnings."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any, ClassVar

from .. import models
from .._connection import wire
from ..events import EventStream
from ..models._tables import Table
from ..operations import Operation, _checked
from ._by_key import Deletes, Edits
from .base import Collection, Deletable, Editable, Group


class OperationsAPI(Group):
    """``client.operations``."""

    _path_part = "operations"

    def __getitem__(self, operation_id: str) -> Operation:
        """A handle on an operation, to wait for it or to cancel it; makes no request."""
        wire.path(operation_id)
        return Operation(self._scope, {"id": operation_id, "may_cancel": True})

    async def list(self, recursion: int = 1, *, all_projects: bool = False) -> builtins.list[Operation]:
        """List the operations that run, and those that ended less than five seconds ago.

        Args:
            recursion: 0 gives handles that know only their id and status, 1 the operations, read.
            all_projects: Those of every project.

        API:
            ``GET /1.0/operations``
        """
        query = {"recursion": wire.depth(recursion), "all-projects": all_projects or None}
        by_status = (await self._request("GET", query=query)).lists
        return Table(self._from_list(item, status) for status, items in by_status.items() for item in items)

    async def get(self, operation_id: str) -> Operation:
        """One operation, read.

        Args:
            operation_id: Its id.

        Raises:
            IncusNotFoundError: There is no such operation, or the server forgot it, five seconds after its end.

        API:
            ``GET /1.0/operations/{id}``
        """
        return await self[operation_id].refresh()

    async def wait(self, operation_id: str, timeout: float | None = 60) -> Operation:
        """Wait until an operation has ended; if the caller is cancelled, so is the operation, where that is possible.

        Args:
            operation_id: Its id.
            timeout: Seconds, after which the operation goes on; None for as long as it takes.

        Returns:
            The operation, as it ended.

        Raises:
            IncusOperationError: It failed or was cancelled.
            IncusOperationLostError: The server does not know it any more, so its outcome is unknown.
            IncusTimeoutError: It has not ended within ``timeout``.

        API:
            ``GET /1.0/operations/{id}/wait``
        """
        return await self[operation_id].wait(timeout)

    async def cancel(self, operation_id: str) -> None:
        """Cancel an operation.

        Args:
            operation_id: Its id.

        Raises:
            IncusNotFoundError: There is no such operation.
            IncusAPIError: The server cannot cancel it.

        API:
            ``DELETE /1.0/operations/{id}``
        """
        await self[operation_id].cancel()

    def _from_list(self, item: Any, status: str) -> Operation:
        if not isinstance(item, str):
            return Operation(self._scope, _checked(item))
        handle = self[wire.names(item)[-1]]
        handle.raw["status"] = status.capitalize()
        return handle

    # Forwarders that exist only for 1.0.0.

    async def delete(self, operation_id: str) -> None:
        """Cancel an operation: see `cancel`.

        Args:
            operation_id: Its id.

        Raises:
            IncusNotFoundError: There is no such operation.
            IncusAPIError: The server cannot cancel it.

        API:
            ``DELETE /1.0/operations/{id}``
        """
        await self.cancel(operation_id)


class EventsAPI(Group):
    """``client.events``."""

    _path_part = "events"

    def listen(self, types: Iterable[str] | None = None, *, all_projects: bool = False) -> EventStream:
        """A stream of the server's events, which ``async with`` opens.

            async with client.events.listen(["lifecycle"]) as events:
                async for event in events: ...

        It yields `LifecycleEvent`, `OperationEvent` and `LoggingEvent`, a plain `Event` for a type that this SDK does
        not know, and `Gap` after a reconnect.

        Args:
            types: Some of ``lifecycle``, ``operation``, ``logging`` and ``network-acl``; None for all that this client
                can see.
            all_projects: Events of every project, instead of the client's.

        Raises:
            IncusInputError: There is no such type.

        API:
            ``GET /1.0/events``, a websocket
        """
        return EventStream(self._scope, types, all_projects)


class Warning(models.Warning, Editable[models.WarningPut], Deletable):
    """A warning; ``update({"status": "acknowledged"})`` puts it aside until it occurs again.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment.
    """

    KEY = "uuid"


class WarningsAPI(Collection[Warning], Edits[models.WarningPut], Deletes):
    """``client.warnings``; the key is the UUID."""

    _resource, _path_part, _lists_any_project = Warning, "warnings", True
    _options: ClassVar = {"filter": "warnings"}
