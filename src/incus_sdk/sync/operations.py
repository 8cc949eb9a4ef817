"""Operations: work that the server goes on with after its answer. Waiting, progress, cancelling.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from .. import models
from .. import operations as _source
from ..operations import OnProgress as OnProgress
from ..operations import Progress as Progress
from . import _twin

if TYPE_CHECKING:
    from typing import Self


class Operation(models.Operation, _twin.RecordTwin):
    """A background operation of the server: its record as last seen, with verbs to wait for it, watch it and cancel it.

    By key it reads like the answer that 1.0.0 returned, too: ``operation["metadata"]["id"]`` is ``operation.id``.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Operation: ...

    def refresh(self) -> Self:
        """Read the operation again.

        Returns:
            This object, with the new record.

        Raises:
            IncusNotFoundError: The server has forgotten it.

        API:
            ``GET /1.0/operations/{id}``
        """
        result: Self = self._wrap(self._portal.run(self._async.refresh()))
        return result

    def wait(self, timeout: float | None = None, *, progress: OnProgress | None = None) -> Self:
        """Wait until the operation has ended.

        A broken connection is made again while that helps. If the caller is cancelled, so is the operation, where the
        server allows it.

        Args:
            timeout: Seconds; the operation goes on afterwards. None waits for as long as it takes.
            progress: Called with how far it is, each time that changes; if this raises, the operation is cancelled.

        Returns:
            This object, as the operation ended.

        Raises:
            IncusOperationError: It failed or was cancelled.
            IncusOperationLostError: The server forgot it, five seconds after its end or by a restart. Its outcome is
                unknown.
            IncusTimeoutError: The timeout has passed.

        API:
            ``GET /1.0/operations/{id}/wait``
        """
        result: Self = self._wrap(self._portal.run(self._async.wait(timeout, progress=_twin.posted(progress))))
        return result

    def cancel(self) -> None:
        """Cancel the operation.

        Raises:
            IncusAPIError: The server cannot cancel it (400), see ``may_cancel``.
            IncusNotFoundError: The server has forgotten it.

        API:
            ``DELETE /1.0/operations/{id}``
        """
        self._portal.run(self._async.cancel())

    def progress(self) -> Generator[Progress]:
        """Follow the progress of the operation until it has ended.

        Driven by events; where none come, the operation is read every two seconds. How it ended is for `wait` to say.
        What servers report out of order, as 5, 2, 4 and 7 percent, is left out.

        Yields:
            The progress, each time it changes.

        API:
            ``GET /1.0/events`` and ``GET /1.0/operations/{id}``
        """
        return self._portal.iterate(self._async.progress(), self._wrap)

    def websocket(self, name: str, *, pong: bool = True) -> _twin.WebSocket:
        """Open one of the websockets that the operation waits for.

        Args:
            name: Its key in ``metadata["fds"]``, or in ``metadata`` itself.
            pong: Whether to answer the server's pings. Without it, nothing is sent to a connection that the server may
                be closing.

        Raises:
            IncusInputError: The operation has no such websocket.

        API:
            ``GET /1.0/operations/{id}/websocket``
        """
        result: _twin.WebSocket = self._wrap(self._portal.run(self._async.websocket(name, pong=pong)))
        return result
