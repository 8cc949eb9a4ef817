"""Requests that the server carries out in the background: sent, waited for, and undone if the caller is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from ._concurrency import shielded
from ._connection import wire
from ._connection.scope import Scope
from ._connection.transport import Headers
from .exceptions import IncusClosedError, IncusConnectionError, IncusError, IncusOperationError
from .operations import OnProgress, Operation, _checked

_CANCELLED = 401  # the status code of a cancelled operation
_GRACE = 5.0  # seconds that a cancelled caller gives the server to take the cancellation


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
    """Send a request, and wait until what it asks for is done; None where the server did it at once.

    With ``wait`` False it returns as soon as the operation has begun; else it raises `IncusOperationError` if that
    fails. A caller who is cancelled while waiting cancels the operation.
    """
    request = scope.request(method, path, query=query, body=body, headers=headers)
    if not wait:
        return _begun_operation(scope, await request, body)
    sent = asyncio.ensure_future(request)
    try:
        operation = _begun_operation(scope, await asyncio.shield(sent), body)
    except asyncio.CancelledError:
        if isinstance(body, bytes) or hasattr(body, "__aiter__"):
            sent.cancel()  # an upload that is cut off starts nothing
        # The server may have begun: only its answer names the operation to cancel.
        with contextlib.suppress(IncusError, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(_GRACE):
                if (begun := _begun_operation(scope, await sent, body)) is not None:
                    await begun._try_cancel()
        raise
    return None if operation is None else await operation._wait_reporting(progress)


async def operate(scope: Scope, method: str, path: str, **how: Any) -> Operation:
    """`perform` a request that the server always answers with an operation."""
    return required(await perform(scope, method, path, **how), method, path)


def required(operation: Operation | None, method: str, path: str) -> Operation:
    """The operation that a server always answers with."""
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
    """``POST`` a request that creates something, and wait for it; if cancelled meanwhile, leave nothing behind.

    An upload is then cut off. An operation is cancelled, or waited for where the server does not allow that, and what
    it created is removed by ``undo``. That is called with True if it is there for sure, with False if the operation was
    cancelled, after which the server may create it all the same. An error of ``progress`` counts as a cancellation.
    """
    upload = _Upload(body) if hasattr(body, "__aiter__") else None
    begun = asyncio.ensure_future(perform(scope, "POST", path, body=upload or body, headers=headers, wait=False))

    async def end() -> None:
        if upload is not None and not upload.complete:
            begun.cancel()  # it starts nothing
        with contextlib.suppress(IncusError, asyncio.CancelledError):
            created = True
            if (operation := await begun) is not None:
                await operation._try_cancel()
                try:
                    await operation.wait()
                except IncusOperationError:
                    if operation.status_code != _CANCELLED:
                        raise
                    created = False
            await undo(created)

    try:
        operation = await asyncio.shield(begun)
        return None if operation is None else await operation._wait_reporting(progress)
    except IncusClosedError:  # a clean-up does not open the client again
        raise
    except BaseException:
        await shielded(end())  # undoes nothing where the operation failed: the server did that itself
        raise


class _Upload:
    """Content to send, and whether all of it was sent."""

    def __init__(self, content: AsyncIterable[bytes]) -> None:
        self.content = content
        self.complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self.content:
            yield piece
        self.complete = True


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
    begun = asyncio.ensure_future(operate(scope, "POST", path, body=body, wait=False))

    async def end() -> None:
        with contextlib.suppress(IncusError):
            await (await begun)._try_cancel()

    try:
        yield await asyncio.shield(begun)
    finally:
        await shielded(end())


def _begun_operation(scope: Scope, answer: wire.Answer, body: Any) -> Operation | None:
    if answer.type != "async":
        return None
    operation = Operation(scope, _checked(answer.object))
    operation._asked = body if isinstance(body, Mapping) else None
    return operation
