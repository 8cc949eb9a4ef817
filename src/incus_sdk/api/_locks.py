"""One lock for each object that is being written, shared by all views of a client."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakValueDictionary

from .._connection.scope import Scope


def write_lock(scope: Scope, path: tuple[str, ...]) -> asyncio.Lock:
    """The lock under which this client reads an object and writes it back.

    Servers compare the ETag first and write a moment later, so tasks of one client take turns.
    """
    # They belong to the connection, and each lives as long as a task holds it or waits for it.
    locks: WeakValueDictionary[tuple[Any, ...], asyncio.Lock] = vars(scope.transport).setdefault(
        "_write_locks", WeakValueDictionary()
    )
    key = (asyncio.get_running_loop(), scope.project or "default", *path)
    return locks.setdefault(key, asyncio.Lock())
