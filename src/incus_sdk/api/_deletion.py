"""What may be gone already: deleting it, and errors that do not say so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from .._concurrency import Attempts
from ..exceptions import IncusAPIError, IncusConflictError, IncusNotFoundError, IncusOperationError

T = TypeVar("T")

_CHECKS = 4  # of whether somebody else has just deleted what could not be deleted


async def delete_or_miss(
    deletion: Awaitable[T], missing_ok: bool, exists: Callable[[], Awaitable[bool]] | None = None
) -> T | None:
    """Delete something; with ``missing_ok`` it may be gone already, or be deleted by somebody else meanwhile."""
    try:
        return await deletion
    except IncusNotFoundError:
        if not missing_ok:
            raise
    except (IncusAPIError, IncusOperationError):
        if not missing_ok or exists is None:
            raise
        async for last in Attempts(_CHECKS, 0.05):
            if not await exists():
                break
            if last:
                raise
    return None


async def or_missing(change: Awaitable[T], look: Callable[[], Awaitable[object]]) -> T:
    """Change something. Not all servers answer 404 if it does not exist; ``look`` then raises what others do."""
    try:
        return await change
    except (IncusNotFoundError, IncusConflictError):
        raise
    except (IncusAPIError, IncusOperationError):
        await look()
        raise
