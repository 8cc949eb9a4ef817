"""Waiting in the ways the SDK needs: attempts with pauses, work shielded from cancellation, threads, many at a time.

Knows nothing of Incus; imports nothing else of this package.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import logging
import math
import queue
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_RETRIES = logging.getLogger("incus_sdk.retries")
_PATIENCE = 2  # cancellations that a clean-up goes on in spite of


class Attempts:
    """The attempts of a retry: ``async for last in Attempts(5, 0.1)`` sleeps before each attempt but the first.

    The pauses begin with ``pause`` seconds and double up to ``longest``. With ``jitter`` each is a random part of that,
    so that several writers who retry at once do not keep meeting each other. ``count`` None is without end. ``sleep``
    takes the place of ``asyncio.sleep``. ``of`` says in the log what is tried again.
    """

    def __init__(
        self,
        count: int | None,
        pause: float,
        *,
        longest: float = 30.0,
        jitter: bool = False,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        of: str = "",
    ) -> None:
        self._of = of
        self._left = math.inf if count is None else count
        self._first = True
        self._pause = pause
        self._longest = longest
        self._jitter = jitter
        self._sleep = sleep

    def __aiter__(self) -> Attempts:
        return self

    async def __anext__(self) -> bool:
        if self._left == 0:
            raise StopAsyncIteration
        if not self._first:
            pause = self._next_pause()
            if self._of:
                _RETRIES.info("%s: trying again in %.2f s", self._of, pause)
            await self._sleep(pause)
            self._pause = min(2 * self._pause, self._longest)
        self._first = False
        self._left -= 1
        return self._left == 0

    def _next_pause(self) -> float:
        if not self._jitter:
            return self._pause
        import random

        return random.uniform(0, self._pause)


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """Finish a clean-up even if the caller is cancelled meanwhile, also twice; a third cancellation ends it.

    A scope of anyio cancels in each turn of the loop until its block is left, with the same message: that counts once.
    """
    task, cancellations = asyncio.ensure_future(work), list[asyncio.CancelledError]()
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            if cancellations and error.args and error.args == cancellations[-1].args:
                continue
            cancellations.append(error)
            if len(cancellations) > _PATIENCE:
                task.cancel()
    if cancellations:
        with contextlib.suppress(asyncio.CancelledError):
            task.exception()
        raise cancellations[0]
    return task.result()


@contextlib.asynccontextmanager
async def closing(pieces: AsyncIterable[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """Iterate; at the end, close what is a generator, and so what it holds open, at once."""
    iterator = aiter(pieces)
    try:
        yield iterator
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread, always to its end: a cancelled caller leaves no thread that still uses a file."""
    call = functools.partial(contextvars.copy_context().run, functools.partial(_call, function, *args, **kwargs))
    work = asyncio.get_running_loop().run_in_executor(None, call)  # not `to_thread`, which would take a task as well
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        work.exception()
        raise cancelled
    return work.result()


def _call(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function for a future, which cannot have a `StopIteration`: whoever waits would do so for ever."""
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        raise RuntimeError("a function raised StopIteration") from error


class DaemonThread:
    """A thread for functions that may never return: nothing waits for it then, not even the end of the program.

    A context manager; the thread begins with the first call.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> DaemonThread:
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.put(None)

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function there, after those before it.

        Args:
            function: The function.
            *args: What it is called with.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def settle(done: concurrent.futures.Future[T]) -> None:
            if result.cancelled():
                return
            if (error := done.exception()) is not None:
                result.set_exception(error)
            else:
                result.set_result(done.result())

        def run() -> None:
            done = concurrent.futures.Future[T]()
            try:
                done.set_result(_call(function, *args))
            except BaseException as error:
                done.set_exception(error)
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                loop.call_soon_threadsafe(settle, done)

        self._calls.put(run)
        if self._thread is None:
            # The interpreter aborts where it finalizes a stream that a thread reads: this one keeps it from that.
            streams = sys.stdin, sys.stdout, sys.stderr
            self._thread = threading.Thread(target=self._work, args=streams, daemon=True)
            self._thread.start()
        return await result

    def _work(self, *_: object) -> None:
        while (run := self._calls.get()) is not None:
            run()


async def for_each(work: Callable[[T], Awaitable[None]], items: Iterable[T], limit: int) -> None:
    """Do ``work`` for all items, started in order, ``limit`` at a time; the first error ends it and is raised alone."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    workers = [asyncio.ensure_future(worker()) for _ in range(limit)]
    async with cancel_at_end(workers):
        done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        for each in done:
            each.result()


@contextlib.asynccontextmanager
async def cancel_at_end(tasks: Iterable[asyncio.Future[Any]]) -> AsyncGenerator[None]:
    """Cancel tasks at the end of the block, and wait for them.

    Unlike a ``TaskGroup``, which before Python 3.13 leaves the caller counted as cancelled when a task has failed, so
    that timeouts around it no longer work.
    """
    try:
        yield
    finally:
        await end(tasks)


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and wait for them, also if the caller is cancelled meanwhile."""
    if pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await shielded(asyncio.wait(pending))
    for task in tasks:
        if not task.cancelled():
            task.exception()  # which is not of interest any longer
