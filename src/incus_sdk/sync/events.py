"""The server's events as a typed stream, which reconnects and reports what it lost.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import events as _source
from ..events import Gap as Gap
from ..events import Lifecycle as Lifecycle
from ..events import LifecycleEvent as LifecycleEvent
from ..events import LogEntry as LogEntry
from ..events import LoggingEvent as LoggingEvent
from ..events import OperationEvent as OperationEvent
from ..events import Requestor as Requestor
from . import _twin

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .. import models


class EventStream(_twin.Twin):
    """The server's events, as a context manager and iterator.

        with client.events.listen(types=["lifecycle"]) as events:
            for event in events: ...

    Nothing is missed that happens inside the ``with``. When the connection breaks, the stream reconnects, for as
    long as that takes, and then yields a `Gap`.

    Raises:
        IncusInputError: There is no such type.

    API:
        ``GET /1.0/events``
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.EventStream: ...

    def __enter__(self) -> Self:
        return self._enter(self._async.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(self._async.__aexit__(kind, error, trace))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> models.Event | Gap:
        """Wait for the next event; raises the error of a reconnection that cannot be: refused, or to another server."""
        try:
            item: models.Event | Gap = self._wrap(self._portal.run(self._async.__anext__()))
        except StopAsyncIteration:
            raise StopIteration from None
        return item
