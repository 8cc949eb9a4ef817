"""Cancelling a verb at any point where one of its tasks suspends: `attempt`.

The tasks of the verb, also those that it starts, are driven step by step. A `Point` is a step, and the moment after it
when the caller is cancelled.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, Literal

from incus_sdk import Client
from incus_sdk._connection.connection import Connection

How = Literal["waiting", "ready", "twice"]
HOWS: tuple[How, ...] = ("waiting", "ready", "twice")


@dataclass(frozen=True)
class Point:
    """When the caller is cancelled: at the n-th step, while that ``waiting`` goes on; in the turn of the event loop in
    which it is over, ``ready`` to go on; or a second time, ``again`` steps later, while the verb cleans up.
    """

    step: int
    how: How
    again: int = 1


class _Steps:
    """The steps of all tasks of a verb."""

    def __init__(self, point: Point | None) -> None:
        self.point = point
        self.count = 0
        self.cancellations = 0
        self.caller: asyncio.Task[Any] | None = None
        self.begun = asyncio.get_running_loop().time()
        self._again = 0

    def stepped(self, awaited: Any) -> None:
        self.count += 1
        if self.point is None:
            return
        if self.count == self.point.step:
            if self.point.how == "ready" and awaited is not None:
                awaited.add_done_callback(self._cancel)  # called before the task that waits for it
            else:
                asyncio.get_running_loop().call_soon(self._cancel)
        elif self.point.how == "twice" and self.cancellations == 1 and self.count >= self._again:
            asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self, _: Any = None) -> None:
        assert self.caller is not None
        if self.cancellations < 1 + (self.point is not None and self.point.how == "twice") and self.caller.cancel():
            if not self.cancellations:
                self.begun = asyncio.get_running_loop().time()
            self.cancellations += 1
            self._again = self.count + self.point.again if self.point else 0


class _Driven(Coroutine[Any, Any, Any]):
    """A coroutine that says when it suspends."""

    def __init__(self, work: Coroutine[Any, Any, Any], steps: _Steps) -> None:
        self._work, self._steps = work, steps

    def send(self, value: Any) -> Any:
        awaited = self._work.send(value)
        self._steps.stepped(awaited)
        return awaited

    def throw(self, *error: Any) -> Any:
        awaited = self._work.throw(*error)
        self._steps.stepped(awaited)
        return awaited

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Any:
        raise NotImplementedError


_current = ContextVar[_Steps | None]("_current", default=None)


def _make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    steps = _current.get()
    return asyncio.Task(work if steps is None else _Driven(work, steps), loop=loop, **options)


@dataclass(frozen=True)
class Outcome:
    """How a verb ended: ``whole``, ``cancelled``, or with a problem."""

    end: str
    steps: int
    seconds: float
    """From the first cancellation, or the beginning, to the end."""
    value: Any = None
    problems: tuple[str, ...] = ()


async def attempt(
    verb: Callable[[], Awaitable[Any]], point: Point | None, client: Client | None, limit: float
) -> Outcome:
    """Call a verb and cancel it at that point; find what is wrong on this side after that."""
    loop, steps, tasks, files = asyncio.get_running_loop(), _Steps(point), asyncio.all_tasks(), _open_files()

    async def call() -> Any:
        return await verb()

    context = copy_context()
    context.run(_current.set, steps)
    loop.set_task_factory(_make_task)
    try:
        task = context.run(loop.create_task, call(), context=context)
        steps.caller = task
        await asyncio.wait([task], timeout=limit)
    finally:
        loop.set_task_factory(None)
    seconds, problems = loop.time() - steps.begun, list[str]()
    if not task.done():
        problems.append(f"has not ended within {limit} s; it waits in {_where(task)}")
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=1)
        end = "hung"
    elif task.cancelled():
        end = "cancelled"
        if task.cancelling() != steps.cancellations:
            problems.append(f"was cancelled {steps.cancellations} times and counts {task.cancelling()}")
    elif (error := task.exception()) is not None:
        end = "raised"
        problems.append(f"raised {error!r} in place of CancelledError")
    else:
        end = "whole"
        if task.cancelling():
            problems.append("went on though it was cancelled")
    for _ in range(3):
        await asyncio.sleep(0)  # in which what was closed is gone
    if left := asyncio.all_tasks() - tasks - {asyncio.current_task(), task}:
        problems.append(f"left tasks: {', '.join(sorted(_where(each) for each in left))}")
        await asyncio.wait(left, timeout=30)
    pool = None if client is None else client._scope.transport._pool
    if pool is not None and (used := pool._open - set[Any](pool._idle)):
        problems.append(f"left connections open: {used}")
        for each in used:
            if isinstance(each, Connection) or hasattr(each, "abort"):
                each.end(ConnectionAbortedError())
    if more := _open_files() - files:
        problems.append(f"left files open: {more}")
    value = task.result() if end == "whole" else None
    return Outcome(end, steps.count, seconds, value, tuple(problems))


def _where(task: asyncio.Task[Any]) -> str:
    work: Any = task.get_coro()
    while isinstance(work, _Driven):
        work = work._work
    name = getattr(work, "__qualname__", repr(work))
    while (inner := getattr(work, "cr_await", None)) is not None and hasattr(inner, "cr_code"):
        work = inner
    frame = getattr(work, "cr_frame", None)
    return f"{name} ({work.__qualname__}:{frame.f_lineno if frame else ''})"


def _open_files() -> frozenset[str]:
    """What is open, but for sockets."""
    found = set[str]()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/")):
            found.add(target)
    return frozenset(found)
