"""Requests that the server carries out in the background: sent, waited for, and undone if the caller is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

from ._concurrency import closing, shielded
from ._connection import wire
from ._connection.scope import Scope
from ._connection.transport import Headers
from .exceptions import (
    IncusClosedError,
    IncusConnectionError,
    IncusError,
    IncusOperationError,
    IncusOperationLostError,
    IncusTimeoutError,
)
from .operations import OnProgress, Operation, _checked

_LOG = logging.getLogger("incus_sdk.operations")
_CANCELLED = 401  # the status code of a cancelled operation
_GRACE = 5.0  # seconds that a cancelled caller gives the server to take the cancellation

Undo = Callable[[Operation | None], Awaitable[Any]]
"""Removes what an operation created, or what a server created at once, without one. A server may create something all
the same after its operation was cancelled: see `was_created`.
"""

Find = Callable[[], Awaitable[Operation | None]]
"""Looks, when the answer to a request was lost, for the operation that the request began, and returns it as it ended;
None if there is no proof that it did.
"""


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
    find: Find | None = None,
    patience: float = 0.0,
) -> Operation | None:
    """Send a request, and wait until what it asks for is done; None where the server did it at once.

    With ``wait`` False it returns as soon as the operation has begun; else it raises `IncusOperationError` if that
    fails. A caller who is cancelled while waiting cancels the operation. ``find``: see `Find`.
    ``patience``: seconds that the server may take to answer, on top of the client's timeout.
    """
    beginning = begin(scope, method, path, query=query, body=body, headers=headers, find=find, patience=patience)
    if not wait:
        return await beginning
    begun = asyncio.ensure_future(beginning)
    try:
        operation = await asyncio.shield(begun)
    except asyncio.CancelledError:
        await shielded(_cancel_begun(begun, _GRACE))
        raise
    return None if operation is None else await operation.wait(progress=progress)


async def begin(
    scope: Scope,
    method: str,
    path: str,
    *,
    query: wire.Query | None = None,
    body: Any = None,
    headers: Headers | None = None,
    find: Find | None = None,
    patience: float = 0.0,
) -> Operation | None:
    """`perform` without waiting for what was begun."""
    try:
        answer = await scope.request(method, path, query=query, body=body, headers=headers, wait=patience)
        return _begun_operation(scope, answer, body)
    except IncusClosedError:
        raise
    except (IncusConnectionError, IncusTimeoutError):
        if find is None or (found := await find()) is None:
            raise
        return found


def required(operation: Operation | None, method: str, path: str) -> Operation:
    """The operation that a server always answers with."""
    if operation is None:
        raise IncusConnectionError(f"{method} {path}: the server answered at once where an operation was expected")
    return operation


async def create_or_undo(
    scope: Scope,
    path: str,
    body: Any,
    undo: Undo,
    progress: OnProgress | None = None,
    headers: Headers | None = None,
    find: Find | None = None,
) -> Operation | None:
    """``POST`` a request that creates something, and wait for it; if cancelled meanwhile, leave nothing behind.

    An upload is then cut off. An operation is cancelled, or waited for where the server does not allow that, and what
    it created is removed by ``undo``. An error of ``progress`` counts as a cancellation.
    ``find``: see `Find`.
    """
    upload = _Upload(body) if hasattr(body, "__aiter__") else None
    begun = asyncio.ensure_future(begin(scope, "POST", path, body=upload or body, headers=headers, find=find))

    async def end() -> None:
        if upload is not None and upload.cut_off():
            begun.cancel()  # it starts nothing
        with contextlib.suppress(IncusError, asyncio.CancelledError):
            await asyncio.wait([begun], timeout=_GRACE)
            if not begun.done():  # the link is silent
                begun.cancel()
                await asyncio.wait([begun])
                if find is None or (operation := await find()) is None:
                    return
            elif (operation := begun.result()) is not None:
                await operation._try_cancel()
                try:
                    await operation.wait()
                except IncusOperationLostError:
                    if find is None or (operation := await find()) is None:
                        raise
                except IncusOperationError:
                    if operation.status_code != _CANCELLED:
                        raise
            await undo(operation)

    async with undoing(end):  # which undoes nothing where the operation failed: the server did that itself
        operation = await asyncio.shield(begun)
        return None if operation is None else await operation.wait(progress=progress)


@contextlib.asynccontextmanager
async def undoing(
    undo: Callable[[], Coroutine[Any, Any, Any]], on: type[BaseException] = BaseException
) -> AsyncGenerator[None]:
    """Undo something if the block raises; that it fails does not hide why. A closed client is not opened again."""
    try:
        yield
    except IncusClosedError:
        raise
    except on:
        with contextlib.suppress(IncusError):
            await shielded(undo())
        raise


class _Upload:
    """Content to send, whose end is not sent once it was cut off."""

    def __init__(self, content: AsyncIterable[bytes]) -> None:
        self._content = content
        self._complete = self._cut_off = False

    def cut_off(self) -> bool:
        """Let it not come to its end; False if it has."""
        self._cut_off = not self._complete
        return self._cut_off

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with closing(self._content) as pieces:
            async for piece in pieces:
                yield piece
        if self._cut_off:  # in this very moment
            raise asyncio.CancelledError
        self._complete = True


@contextlib.asynccontextmanager
async def pending_operation(scope: Scope, path: str, body: Any = None) -> AsyncGenerator[Operation]:
    """Hold an operation that only waits to be used: begun by a ``POST``, cancelled when the block ends.

    Args:
        scope: The connection.
        path: The path, quoted.
        body: See `perform`.

    Yields:
        The operation.
    """
    begun = asyncio.ensure_future(begin(scope, "POST", path, body=body))
    try:
        yield required(await asyncio.shield(begun), "POST", path)
    finally:
        await shielded(_cancel_begun(begun, _GRACE))


@contextlib.asynccontextmanager
async def cancelled_operation(scope: Scope, path: str, body: Any, seconds: float = _GRACE) -> AsyncGenerator[Operation]:
    """Hold an operation that is begun by a ``POST``, and cancelled if the caller is, from the request on.

    Args:
        scope: The connection.
        path: The path, quoted.
        body: See `perform`.
        seconds: What that cancellation may take.

    Yields:
        The operation.
    """
    begun = asyncio.ensure_future(begin(scope, "POST", path, body=body))
    try:
        yield required(await asyncio.shield(begun), "POST", path)
    except asyncio.CancelledError:
        await shielded(_cancel_begun(begun, seconds))
        raise


async def _cancel_begun(begun: asyncio.Future[Operation | None], seconds: float) -> None:
    """Cancel an operation that the server may have begun: only its answer, which can still come, names it."""
    with contextlib.suppress(IncusError, TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(seconds):
            if (operation := await begun) is not None:
                await operation._try_cancel()


def was_created(operation: Operation | None) -> bool:
    """Whether what it creates is there for sure."""
    return operation is None or operation.status == "Success"


def _begun_operation(scope: Scope, answer: wire.Answer, body: Any) -> Operation | None:
    if answer.type != "async":
        return None
    operation = Operation(scope, _checked(answer.object))
    operation._asked = body if isinstance(body, Mapping) else None
    if _LOG.isEnabledFor(logging.INFO):
        _LOG.info("%s: begun", operation._describe())
    return operation
