"""Operations: what the server goes on doing after it has answered. Waiting, progress, cancelling."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from . import models
from ._concurrency import shielded
from ._connection import wire
from ._connection.scope import Scope
from ._connection.transport import Headers, WebSocket
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

_FINAL = 200  # status codes from here on are final: 200 success, 400 failure, 401 cancelled
_CANCELLED = 401
_PAUSES = (0.1, 0.3, 1.0, 2.0, 3.0, 3.0)
# Seconds between attempts to reach a server that was lost while waiting; shorter than it remembers what has ended.
_GRACE = 5.0  # seconds that a cancelled caller gives the server to take the cancellation
_BROKEN = IncusAPIError, IncusConnectionError, IncusTimeoutError
_PERCENT = re.compile(r"\b(\d+)%")
_SIZE = re.compile(r"\b(\d+(?:\.\d+)?)(B|kB|MB|GB|TB|PB|EB)(/s)?\b")
_POLL = 2.0  # seconds without an event after which progress() looks for itself

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far an operation is."""

    text: str
    """The server's own words, as ``Unpacking image: 64% (17.85MB/s)``; empty if it said nothing."""
    stage: str = ""
    """What it is about, in the server's terms: ``download``, ``create_backup``, ``fs`` of a migration."""
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
                return await self._wait_final()
        except IncusTimeoutError:
            raise
        except TimeoutError:
            raise IncusTimeoutError(
                f"{self._describe()} has not ended after {timeout} s and goes on: wait() again, or cancel() it"
            ) from None
        except asyncio.CancelledError:
            await self._try_cancel()
            raise

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

    async def _wait_reporting(self, progress: Callable[[Progress], None]) -> Self:
        """`wait`, with ``progress`` told each time that changes."""
        try:
            async for update in self.progress():
                progress(update)
        except BaseException:
            await self._try_cancel()
            raise
        return await self.wait()

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
            raise IncusInputError(f"{self._describe()} has no websocket {name!r}")
        return await self._scope.websocket(
            wire.path("operations", self.id, "websocket"), {"secret": secrets[name]}, pong=pong
        )

    def _path(self, *more: str) -> str:
        return wire.path("operations", self.id, *more)

    def _describe(self) -> str:
        return f"operation {self.id} ({self.description})"

    async def _try_cancel(self) -> None:
        """Cancel it where the server can: asked whatever ``may_cancel`` was, which changes as the operation goes on."""
        if self.status_code < _FINAL:
            with contextlib.suppress(IncusError, TimeoutError):
                async with asyncio.timeout(_GRACE):
                    await self.cancel()

    async def _wait_final(self) -> Self:
        """`wait`, without limit; cancelled, it leaves the operation alone."""
        failed = unseen = 0
        while self.status_code < _FINAL:
            try:
                answer = await self._scope.request("GET", self._path("wait"), query={"timeout": -1}, wait=True)
                self._json = answer.metadata
            except _BROKEN as error:
                failed, unseen = failed + 1, 0 if await self._recheck(error) else unseen + 1
                if unseen > len(_PAUSES):
                    raise
                if self.status_code < _FINAL:
                    await asyncio.sleep(_PAUSES[min(failed, len(_PAUSES)) - 1])
        if self.status_code != _FINAL:
            reason = self.err or self.status
            raise IncusOperationError(f"{self._describe()}: {reason}", operation_id=self.id, response=self.raw)
        return self

    async def _recheck(self, error: Exception) -> bool:
        """Look at the operation itself after its wait failed; False if the server cannot be asked.

        Servers up to 6.0.4 tell a failure by an error instead of the operation, which itself knows more. And a wait
        that something in between cut short is no reason to give up.
        """
        try:
            await self.refresh()
        except IncusNotFoundError:
            raise IncusOperationLostError(
                f"{self._describe()}: its outcome is not known, since the server forgot it (five seconds after its "
                "end, or by a restart): look at the object itself",
                operation_id=self.id,
                response=self.raw,
            ) from error
        except _BROKEN as broken:
            if isinstance(broken, IncusAPIError) and broken.status_code < 500:
                raise
            return False
        return True


OnProgress = Callable[[Progress], None]
"""Called with how far something is, each time that changes."""


async def perform(
    scope: Scope,
    method: str,
    path: str,
    *,
    query: wire.Query | None = None,
    body: Any = None,
    headers: Headers | None = None,
    wait: bool = True,
    progress: OnProgress | None = None,
) -> Operation | None:
    """Send a request and wait until what it asks for is done; None where the server did it at once.

    ``progress``: told how far it is, while it waits.

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
                    await begun._try_cancel()
        raise
    if operation is None:
        return None
    return await (operation.wait() if progress is None else operation._wait_reporting(progress))


async def operate(scope: Scope, method: str, path: str, **how: Any) -> Operation:
    """`perform` for what the server always does in the background."""
    operation = await perform(scope, method, path, **how)
    if operation is None:
        raise IncusConnectionError(f"{method} {path}: the server answered at once where an operation was expected")
    return operation


async def create_or_undo(
    scope: Scope,
    path: str,
    body: Any,
    undo: Callable[[bool], Awaitable[Any]],
    progress: OnProgress | None = None,
    headers: Headers | None = None,
) -> Operation | None:
    """``POST`` of what makes something, to its end. Cancelled meanwhile, also by an error of ``progress``, it leaves
    nothing: an upload is cut off, and what the server cannot be stopped from is waited for, and removed by ``undo``.

    ``undo`` is told whether it is there for sure: a server may yet make what it let itself be stopped from.
    """
    upload = _Upload(body) if hasattr(body, "__aiter__") else None
    begun = asyncio.ensure_future(perform(scope, "POST", path, body=upload or body, headers=headers, wait=False))

    async def end() -> None:
        if upload is not None and not upload.whole:
            begun.cancel()  # it starts nothing
        with contextlib.suppress(IncusError, asyncio.CancelledError):
            made = True
            if (operation := await begun) is not None:
                await operation._try_cancel()
                try:
                    await operation.wait()
                except IncusOperationError:
                    if operation.status_code != _CANCELLED:
                        raise
                    made = False
            await undo(made)

    try:
        operation = await asyncio.shield(begun)
        return operation and await (operation.wait() if progress is None else operation._wait_reporting(progress))
    except BaseException:
        await shielded(end())  # which undoes nothing where the server has failed: it did that itself
        raise


@dataclass
class _Upload:
    """Content that is sent, and whether all of it was."""

    content: AsyncIterable[bytes]
    whole: bool = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self.content:
            yield piece
        self.whole = True


@contextlib.asynccontextmanager
async def pending_operation(scope: Scope, path: str, body: Any = None) -> AsyncGenerator[Operation]:
    """An operation that only waits to be made use of, for the time of ``async with``: begun by a ``POST``, then
    cancelled.
    """
    begun = asyncio.ensure_future(operate(scope, "POST", path, body=body, wait=False))

    async def end() -> None:
        with contextlib.suppress(IncusError):
            await (await begun)._try_cancel()

    try:
        yield await asyncio.shield(begun)
    finally:
        await shielded(end())


def _operation(scope: Scope, answer: wire.Answer) -> Operation | None:
    return Operation(scope, answer.metadata) if answer.type == "async" else None


def _progress(metadata: Any) -> Progress:
    if not isinstance(metadata, Mapping):
        return Progress("")
    key = next((key for key in metadata if key.endswith("_progress")), "")
    text, parts = str(metadata.get(key, "")), metadata.get("progress")
    if isinstance(parts, Mapping):
        numbers = (_number(parts.get(name)) for name in ("percent", "processed", "speed"))
        return Progress(text, str(parts.get("stage", "")), *numbers)
    # All that downloads and migrations tell.
    percent = _PERCENT.search(text)
    sizes = {
        per: int(float(number) * 1000 ** ("B", "kB", "MB", "GB", "TB", "PB", "EB").index(unit))
        for number, unit, per in _SIZE.findall(text)
    }
    stage = key.removesuffix("_progress")
    return Progress(text, stage, int(percent[1]) if percent else None, sizes.get(""), sizes.get("/s"))


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
