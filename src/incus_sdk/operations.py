"""Operations: what the server goes on doing after it has answered. Waiting, progress, cancelling."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from . import models, wire
from .events import EventStream, Gap, OperationEvent
from .exceptions import (
    IncusAPIError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    IncusOperationLostError,
    IncusTimeoutError,
)
from .models.base import Json
from .scope import Scope
from .transport import Headers, WebSocket

_FINAL = 200  # status codes from here on are final: 200 success, 400 failure, 401 cancelled
_PAUSES = (0.1, 0.3, 1.0, 2.0, 3.0, 3.0)
# Seconds between attempts to reach a server that was lost while waiting; shorter than it remembers what has ended.
_GRACE = 5.0  # seconds that a cancelled caller gives the server to take the cancellation
_BROKEN = IncusAPIError, IncusConnectionError, IncusTimeoutError
_PERCENT = re.compile(r"\b(\d+)%")
_POLL = 2.0  # seconds without an event after which progress() looks for itself

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far an operation is."""

    text: str
    """The server's own words, as ``Unpacking image: 64% (17.85MB/s)``; empty if it said nothing."""
    stage: str = ""
    percent: int | None = None
    processed: int | None = None
    """Bytes."""
    speed: int | None = None
    """Bytes each second."""


class Operation(models.Operation):
    """A background operation of the server: its record as last seen, and verbs to wait for it, watch it and cancel
    it.
    """

    def __init__(self, scope: Scope, json: Json) -> None:
        super().__init__(json)
        self._scope = scope

    def __reduce__(self) -> Any:
        # Pickled and copied, it is a record: the connection does not travel.
        return models.Operation, (self.raw,)

    async def refresh(self) -> Self:
        """Read it again. Raises `IncusNotFoundError` once the server forgot it. ``GET /1.0/operations/{id}``."""
        self._json = (await self._scope.request("GET", self._path())).metadata
        return self

    async def wait(self, timeout: float | None = None) -> Self:
        """Wait until it ended, and return it as it ended.

        ``timeout``: seconds, None for as long as it takes; the operation goes on after it. A broken connection is made
        again while that helps.

        Raises `IncusOperationError` if it failed or was cancelled, `IncusTimeoutError` after the timeout,
        `IncusOperationLostError` if the server forgot it (five seconds after its end, or by a restart), so that nobody
        knows its outcome. If the caller is cancelled, so is the operation, where the server allows it.

        ``GET /1.0/operations/{id}/wait``.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._end()
        except IncusTimeoutError:
            raise
        except TimeoutError:
            raise IncusTimeoutError(
                f"{self._named()} has not ended after {timeout} s and goes on: wait() again, or cancel() it"
            ) from None
        except asyncio.CancelledError:
            await self._abandon()
            raise
        if self.status_code != _FINAL:
            reason = self.err or self.status
            raise IncusOperationError(f"{self._named()}: {reason}", operation_id=self.id, response=self.raw)
        return self

    async def cancel(self) -> None:
        """Cancel it. Raises `IncusAPIError` (400) where the server cannot (``may_cancel``). ``DELETE
        /1.0/operations/{id}``.
        """
        await self._scope.request("DELETE", self._path())

    async def progress(self) -> AsyncIterator[Progress]:
        """Its progress, each time that changes, until it ended; then `wait` tells how it ended.

        Driven by events, with a look at the operation itself where none come.
        """
        shown, known = Progress(""), False
        async with EventStream(self._scope, ["operation"]) as events:
            while True:
                if not known:
                    try:
                        await self.refresh()
                    except IncusNotFoundError:
                        return
                update = _progress(self.metadata)
                if update.text and update != shown:
                    shown = update
                    yield update
                if self.status_code >= _FINAL:
                    return
                known = await self._next(events)

    async def _next(self, events: EventStream) -> bool:
        """Take over the next event of this operation; False if none came, or some may be missing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL):
                async for event in events:
                    if isinstance(event, Gap):
                        return False
                    if isinstance(event, OperationEvent) and event.metadata.id == self.id:
                        self._json = event.metadata.raw
                        return True
        return False

    async def websocket(self, name: str, *, pong: bool = True) -> WebSocket:
        """One of the websockets that the operation waits for, open; ``name`` as in ``metadata["fds"]`` or in
        ``metadata``.

        Raises `IncusInputError` if it has none of that name. ``GET /1.0/operations/{id}/websocket``.
        """
        secrets = {**self.metadata, **(self.metadata.get("fds") or {})}
        if not isinstance(secrets.get(name), str):
            raise IncusInputError(f"{self._named()} has no websocket {name!r}")
        return await self._scope.websocket(
            wire.path("operations", self.id, "websocket"), {"secret": secrets[name]}, pong=pong
        )

    def _path(self, *more: str) -> str:
        return wire.path("operations", self.id, *more)

    def _named(self) -> str:
        return f"operation {self.id} ({self.description})"

    async def _abandon(self) -> None:
        """Cancel it where the server can: asked whatever ``may_cancel`` was, which changes as the operation goes on."""
        if self.status_code < _FINAL:
            with contextlib.suppress(IncusError, TimeoutError):
                async with asyncio.timeout(_GRACE):
                    await self.cancel()

    async def _end(self) -> None:
        failed = unseen = 0
        while self.status_code < _FINAL:
            try:
                answer = await self._scope.request("GET", self._path("wait"), query={"timeout": -1}, wait=True)
                self._json = answer.metadata
            except _BROKEN as error:
                failed, unseen = failed + 1, 0 if await self._seen(error) else unseen + 1
                if unseen > len(_PAUSES):
                    raise
                if self.status_code < _FINAL:
                    await asyncio.sleep(_PAUSES[min(failed, len(_PAUSES)) - 1])

    async def _seen(self, error: Exception) -> bool:
        """Look at the operation itself after its wait failed; False if the server cannot be asked.

        Servers up to 6.0.4 tell a failure by an error instead of the operation, which itself knows more. And a wait
        that something in between cut short is no reason to give up.
        """
        try:
            await self.refresh()
        except IncusNotFoundError:
            raise IncusOperationLostError(
                f"{self._named()}: its outcome is not known, since the server forgot it (five seconds after its end, "
                "or by a restart): look at the object itself",
                operation_id=self.id,
                response=self.raw,
            ) from error
        except _BROKEN as broken:
            if isinstance(broken, IncusAPIError) and broken.status_code < 500:
                raise
            return False
        return True


async def perform(
    scope: Scope,
    method: str,
    path: str,
    *,
    query: wire.Query | None = None,
    body: Any = None,
    headers: Headers | None = None,
    wait: bool = True,
) -> Operation | None:
    """Send a request and wait until what it asks for is done; None where the server did it at once.

    Raises as `Scope.request` and `Operation.wait` do. A caller cancelled while it waits cancels the operation.
    """
    request = scope.request(method, path, query=query, body=body, headers=headers)
    if not wait:
        return _operation(scope, await request)
    sent = asyncio.ensure_future(request)
    try:
        operation = _operation(scope, await asyncio.shield(sent))
    except asyncio.CancelledError:
        if isinstance(body, bytes) or hasattr(body, "__aiter__"):
            sent.cancel()  # an upload that is cut off starts nothing
        # The server may have begun: its answer names what is to be cancelled.
        with contextlib.suppress(IncusError, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(_GRACE):
                if (begun := _operation(scope, await sent)) is not None:
                    await begun._abandon()
        raise
    return None if operation is None else await operation.wait()


async def operate(scope: Scope, method: str, path: str, **how: Any) -> Operation:
    """`perform` for what the server always does in the background."""
    operation = await perform(scope, method, path, **how)
    if operation is None:
        raise IncusConnectionError(f"{method} {path}: the server answered at once where an operation was expected")
    return operation


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Do this to its end even if the caller is cancelled meanwhile, for what must be cleaned up; a second time ends
    it.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _operation(scope: Scope, answer: wire.Answer) -> Operation | None:
    return Operation(scope, answer.metadata) if answer.type == "async" else None


def _progress(metadata: Any) -> Progress:
    if not isinstance(metadata, Mapping):
        return Progress("")
    text = next((str(value) for key, value in metadata.items() if key.endswith("_progress")), "")
    parts = metadata.get("progress")
    if not isinstance(parts, Mapping):
        found = _PERCENT.search(text)  # all that downloads tell
        return Progress(text, percent=int(found[1]) if found else None)
    return Progress(
        text, str(parts.get("stage", "")), *(_number(parts.get(key)) for key in ("percent", "processed", "speed"))
    )


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
