"""What a test that took too long was waiting for: where each task is, and the operations of the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from incus_sdk import IncusError, sync
from incus_sdk.testing import Daemon


def report(loop: asyncio.AbstractEventLoop, daemons: Iterable[Daemon]) -> str:
    """A line for each task of the loop and each operation of the daemons."""
    lines = [f"{task.get_name()}: {' > '.join(_places(task.get_coro()))}" for task in asyncio.all_tasks(loop)]
    for daemon in daemons:
        try:
            with sync.Client(daemon.socket, timeout=10) as client:
                lines += [
                    f"{each!r} of {each.resources}" for each in client.operations.list() if each.status_code < 200
                ]
        except IncusError as error:
            lines.append(f"{daemon.socket}: {error}")
    return "\n".join(["When time was up, these tasks and operations were there:", *lines])


def _places(coroutine: Any) -> Iterator[str]:
    """The lines that a coroutine waits at, from the outermost on."""
    while coroutine is not None:
        kind = next((kind for kind in ("cr", "ag", "gi") if hasattr(coroutine, f"{kind}_frame")), None)
        if kind is None or (frame := getattr(coroutine, f"{kind}_frame")) is None:
            return
        yield f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_name}"
        coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
