"""What a server does and reports: operations, events and warnings.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import models
from ...api import activity as _source
from ._by_key import Deletes, Edits
from .base import Collection, Deletable, Editable, Group

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable

    from ..events import EventStream
    from ..operations import Operation


class OperationsAPI(Group):
    """``client.operations``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.OperationsAPI: ...

    def __getitem__(self, operation_id: str) -> Operation:
        """A handle on an operation, to wait for it or to cancel it; makes no request."""
        result: Operation = self._wrap(self._async[operation_id])
        return result

    def list(self, recursion: int = 1, *, all_projects: bool = False) -> builtins.list[Operation]:
        """List the operations that run, and those that ended less than five seconds ago.

        Args:
            recursion: 0 gives handles that know only their id and status, 1 the operations, read.
            all_projects: Those of every project.

        API:
            ``GET /1.0/operations``
        """
        result: builtins.list[Operation] = self._wrap(
            self._portal.run(self._async.list(recursion, all_projects=all_projects))
        )
        return result

    def get(self, operation_id: str) -> Operation:
        """One operation, read.

        Args:
            operation_id: Its id.

        Raises:
            IncusNotFoundError: There is no such operation, or the server forgot it, five seconds after its end.

        API:
            ``GET /1.0/operations/{id}``
        """
        result: Operation = self._wrap(self._portal.run(self._async.get(operation_id)))
        return result

    def wait(self, operation_id: str, timeout: float | None = 60) -> Operation:
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
        result: Operation = self._wrap(self._portal.run(self._async.wait(operation_id, timeout)))
        return result

    def cancel(self, operation_id: str) -> None:
        """Cancel an operation.

        Args:
            operation_id: Its id.

        Raises:
            IncusNotFoundError: There is no such operation.
            IncusAPIError: The server cannot cancel it.

        API:
            ``DELETE /1.0/operations/{id}``
        """
        self._portal.run(self._async.cancel(operation_id))

    def delete(self, operation_id: str) -> None:
        """Cancel an operation: see `cancel`.

        Args:
            operation_id: Its id.

        Raises:
            IncusNotFoundError: There is no such operation.
            IncusAPIError: The server cannot cancel it.

        API:
            ``DELETE /1.0/operations/{id}``
        """
        self._portal.run(self._async.delete(operation_id))


class EventsAPI(Group):
    """``client.events``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.EventsAPI: ...

    def listen(self, types: Iterable[str] | None = None, *, all_projects: bool = False) -> EventStream:
        """A stream of the server's events, which ``with`` opens.

            with client.events.listen(["lifecycle"]) as events:
                for event in events: ...

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
        result: EventStream = self._wrap(self._async.listen(types, all_projects=all_projects))
        return result


class Warning(models.Warning, Editable[models.WarningPut], Deletable):
    """A warning; ``update({"status": "acknowledged"})`` puts it aside until it occurs again.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Warning: ...

    KEY = _source.Warning.KEY


class WarningsAPI(Collection[Warning], Edits[models.WarningPut], Deletes):
    """``client.warnings``; the key is the UUID."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.WarningsAPI: ...
