"""The way from blocking code to the SDK: one event loop in one thread of the process, for all blocking clients.

The thread begins with the first call and ends with the last client. Each call is a task there, for which the caller
waits; what the caller gave to be called (progress, conditions, iterables, files) runs in the caller's own thread
meanwhile, so it may call the client again.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import queue
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import Any, ClassVar, Protocol, TypeVar

from ..exceptions import IncusClosedError, IncusError, IncusInputError

T = TypeVar("T")
Wrap = Callable[[Any], Any]

_PATIENCE = 1.0  # seconds that a call that is interrupted has to clean up before the caller goes on
_LAST_PATIENCE = 5.0  # the same of all calls, where the thread ends
_ROUND = 0.5  # seconds of a wait: a signal that came just before it, or to another thread, is handled after it

_line: ContextVar[Line] = ContextVar("_line")
"""The line of the task that runs."""
_limits: ContextVar[tuple[timeout, ...]] = ContextVar("_limits", default=())
"""The timeouts around the code that runs, the outermost first."""


class _Closable(Protocol):
    """What a client has open."""

    @property
    def is_open(self) -> bool: ...

    @property
    def is_connected(self) -> bool: ...

    async def close(self) -> None: ...


class Portal:
    """A client's way to the event loop.

    Args:
        owner: What its user calls it, for a warning.
        connections: What it has open; closed when the client is forgotten.
    """

    def __init__(self, owner: str = "", connections: _Closable | None = None) -> None:
        self._owner = owner
        self._connections = connections
        self._process = os.getpid()
        self._loop: LoopThread | None = None
        self._detach: weakref.finalize[Any, Any] | None = None
        self._cleaning: set[Line] = set()

    def run(self, work: Coroutine[Any, Any, T], undo: Callable[[], object] | None = None) -> T:
        """Wait for a coroutine; ``undo`` is called where the caller is interrupted although that was done."""
        line = Line()
        try:
            self.begin(line, work)
            result: T = line.wait()
            return result
        except BaseException:
            self.abandon(line)
            if line.is_done and undo is not None:
                undo()
            raise

    def abandon(self, line: Line) -> None:
        """End a call without waiting long for its clean-up, which goes on in the background."""
        try:
            line.leave(_PATIENCE)
        finally:  # perhaps interrupted once more
            self._remember(line)

    def _remember(self, line: Line) -> None:
        with LoopThread.lock:
            self._cleaning = {each for each in (*self._cleaning, line) if each.is_under_way}

    def leave(self, work: Coroutine[Any, Any, Any], loop: LoopThread | None) -> None:
        """`run` what ends something of that loop; of one that has ended, there is nothing left to end."""
        if loop is not None and not loop.ended:
            self.run(work)
        else:
            work.close()

    def end(self, work: Coroutine[Any, Any, Any]) -> None:
        """`run` what ends the client, and `close`; in the child of a fork, nothing is left to end.

        What still cleans up needs the client, and gets as long as at the end of the program.
        """
        try:
            if self._process == os.getpid():
                try:
                    end = time.monotonic() + _LAST_PATIENCE
                    for line in self._cleaning:
                        line.leave(end - time.monotonic())
                except BaseException:
                    work.close()
                    raise
                self.run(work)
            else:
                work.close()
        finally:
            self.close()

    @property
    def loop(self) -> LoopThread | None:
        """The thread that it uses now."""
        return self._loop

    @property
    def is_open(self) -> bool:
        """Whether that thread runs, and in this process."""
        return self._loop is not None and not self._loop.ended

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the event loop, whose objects are not made for threads."""

        async def work() -> T:
            return function()

        return self.run(work())

    def enter(self, manager: AbstractAsyncContextManager[Any], wrap: Wrap) -> AbstractContextManager[Any]:
        """A context manager that enters and leaves an async one in one task; ``wrap`` makes what it gives."""
        return _Entered(self, manager, wrap)

    def iterate(self, iterable: AsyncIterable[Any], wrap: Wrap) -> Generator[Any, None, None]:
        """Iterate over an async iterable, in one task; ``wrap`` makes the items."""
        line, steps = Line(), _Steps()

        async def drive() -> None:
            iterator = aiter(iterable)
            try:
                while await steps.wanted():
                    try:
                        item = await anext(iterator)
                    except StopAsyncIteration:
                        return
                    line.step(item)
            finally:
                if (close := getattr(iterator, "aclose", None)) is not None:
                    await close()

        try:
            self.begin(line, drive())
            while True:
                line.tell(steps.want, True)
                item = line.wait()
                if line.is_over:
                    return
                yield wrap(item)
        except GeneratorExit:
            line.tell(steps.want, False)
            with contextlib.suppress(IncusClosedError):
                line.wait_unless_inside()
            raise
        except BaseException:
            self.abandon(line)
            raise

    def begin(self, line: Line, work: Coroutine[Any, Any, Any]) -> None:
        """Begin a task on a line."""
        try:
            with LoopThread.lock:
                line.begin(self.keep(), work)
        except BaseException:
            if not line.begun:
                work.close()
            raise

    def close(self) -> None:
        """Let go of the thread, which ends if no other client needs it."""
        loop, self._loop = self._loop, None
        if self._detach is not None and self._detach.detach() is not None and loop is not None:
            loop.forget(id(self), "", self._connections)
        if loop is not None:
            loop.join()

    def keep(self) -> LoopThread:
        """Keep the thread alive, from the first use on."""
        if sys.is_finalizing():
            raise _after_end()
        with LoopThread.lock:
            if self._loop is None or self._loop.ended:
                return self.attach()
            return self._loop

    def attach(self) -> LoopThread:
        """Keep the thread of this moment alive."""
        if self._process != os.getpid():
            raise _after_fork(self._owner or "this client")
        if self._detach is not None:
            self._detach.detach()
        with LoopThread.lock:
            self._loop = loop = LoopThread.shared()
            loop.users[id(self)] = self._connections
        self._detach = weakref.finalize(self, loop.forget, id(self), self._owner, self._connections)
        self._detach.atexit = False
        return loop


class LoopThread:
    """The event loop in a thread, as long as a client uses it."""

    lock: ClassVar[threading.RLock] = threading.RLock()
    _shared: ClassVar[LoopThread | None] = None
    """That of the process. This is the one place of the SDK that clients share, since each more loop would be a thread
    more, and a deadlock under gevent."""
    _inherited: ClassVar[dict[LoopThread, set[asyncio.Task[Any]]]] = {}
    """Those of parents with their tasks, which nothing may close or end: they share their files with them."""
    program_ends: ClassVar[bool] = False

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.users: dict[int, _Closable | None] = {}
        self.lines: set[Line] = set()
        """Those under way: a task that nothing else refers to would be collected as garbage."""
        self.ended = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="incus-sdk", daemon=True)

    def start(self) -> None:
        """Begin the thread."""
        try:
            self._thread.start()
        except RuntimeError as error:
            self.ended, LoopThread._shared = True, None
            self.loop.close()
            raise _after_end() if "shutdown" in str(error) else error from None  # as newer versions of Python say it
        atexit.register(self._end_with_program)

    @classmethod
    def shared(cls) -> LoopThread:
        """The thread of this process; called with the lock."""
        if cls._shared is None:
            cls._shared = cls()
            cls._shared.start()  # under gevent, others come by meanwhile
        return cls._shared

    @classmethod
    def after_fork(cls) -> None:
        """Forget the thread, which is not in the child."""
        cls.lock = threading.RLock()
        if cls._shared is not None:
            cls._shared.ended = True
            cls._inherited[cls._shared] = asyncio.all_tasks(cls._shared.loop)
            cls._shared = None
            atexit.register(cls._keep_inherited)

    @classmethod
    def _keep_inherited(cls) -> None:
        """Have what the parent has open outlive the interpreter, which would warn of it, and run its clean-up here."""
        with contextlib.suppress(ImportError):
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(cls._inherited))

    @property
    def is_inherited(self) -> bool:
        """Whether it runs in the parent of this process, and not here."""
        return self in LoopThread._inherited

    @property
    def is_current(self) -> bool:
        """Whether this is the thread that asks."""
        return threading.get_ident() == self._thread.ident

    def forget(self, user: int, owner: str, connections: _Closable | None) -> None:
        """Note that a client is gone; close what it left open, and warn of that, if it has a name."""
        with LoopThread.lock:
            if self.ended:
                return
            self.users.pop(user, None)
            is_connected = connections is not None and connections.is_connected
            if connections is not None and connections.is_open:
                asyncio.run_coroutine_threadsafe(connections.close(), self.loop)
            if not self.users:
                self._end()
        if is_connected and owner:  # a warning may become an error
            warnings.warn(f"unclosed {owner}: use it in `with`, or disconnect() it", ResourceWarning, stacklevel=2)

    def _end_with_program(self) -> None:
        LoopThread.program_ends = True
        with LoopThread.lock:
            self._end()
        self.join()

    def join(self) -> None:
        """Wait for the end, if it has begun."""
        if self.ended and not self.is_current and not self.is_inherited:
            self._thread.join(2 * _LAST_PATIENCE)

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            LoopThread._shared = None
            atexit.unregister(self._end_with_program)
            self.loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        task = self.loop.create_task(self._cancel_all())
        task.add_done_callback(self._stop_running)

    def _stop_running(self, _: object) -> None:
        self._stopping = True
        self.loop.stop()

    async def _cancel_all(self) -> None:
        await asyncio.sleep(0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            if not task.cancelling():  # else it cleans up already
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_PATIENCE)
        for connections in self.users.values():  # at the end of the program
            if connections is not None:
                await connections.close()
        await self.loop.shutdown_asyncgens()

    def _run(self) -> None:
        try:
            while not self._stopping:
                with contextlib.suppress(SystemExit, KeyboardInterrupt):  # of a function of the caller's, who gets it
                    self.loop.run_forever()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            self.loop.close()


def _after_fork(what: str) -> IncusClosedError:
    return IncusClosedError(
        f"{what} belongs to the process that made it, and does not work after a fork: make a client in the child"
    )


def _after_end() -> IncusClosedError:
    # In `__del__` of what the interpreter clears: it lets no other thread run any more.
    return IncusClosedError("the program has ended: a client works no longer")


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=LoopThread.after_fork)


def _as_raised_here(error: BaseException) -> BaseException:
    """An error of the SDK, without the frames of the event loop: those of the caller say where it was made.

    ``python -X dev`` keeps them, and so does an error that went through code of the caller, or of anybody else.
    """
    if isinstance(error, IncusError) and not sys.flags.dev_mode:
        each: BaseException | None = error
        while each is not None and all(_is_own(frame) for frame, _ in traceback.walk_tb(each.__traceback__)):
            each.__traceback__ = None
            each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return error


def _is_own(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    return package == __name__.partition(".")[0] or package in sys.stdlib_module_names


class _Ask:
    """A call that a task wants from the thread that waits for it."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], answer: asyncio.Future[Any] | None):
        self._function = function
        self._arguments = arguments
        self._answer = answer

    def do(self) -> None:
        """Call it; its error is the task's, if that waits for an answer."""
        if self._answer is None:
            self._function(*self._arguments)
            return
        try:
            result = self._function(*self._arguments)
        except Exception as error:
            self._reply(self._answer, None, error)
        else:
            self._reply(self._answer, result, None)

    def refuse(self) -> None:
        """Answer a task that is being cancelled."""
        if self._answer is not None:
            answer = self._answer
            answer.get_loop().call_soon_threadsafe(answer.cancel)

    @staticmethod
    def _reply(answer: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        def reply() -> None:
            if not answer.done():
                answer.set_result((result, error))

        answer.get_loop().call_soon_threadsafe(reply)


class _Step:
    """A value from a task that goes on."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _End:
    """How a task ended."""

    def __init__(self, value: Any, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error


class Line:
    """Between a task in the event loop and the thread that waits for it."""

    def __init__(self) -> None:
        self._mail: queue.SimpleQueue[_End | _Ask | _Step] = queue.SimpleQueue()
        self._loop: LoopThread | None = None
        self._task: asyncio.Task[Any] | None = None
        self._left = False
        self.is_done = False
        """Whether the task came to its end, without an error."""
        self.is_over = False

    @staticmethod
    def current() -> Line | None:
        """That of the task that runs."""
        return _line.get(None)

    @property
    def is_inherited(self) -> bool:
        """Whether the work is done in the parent of this process."""
        return self._loop is not None and self._loop.is_inherited

    @property
    def is_under_way(self) -> bool:
        """Whether the task goes on."""
        return self.begun and not self.is_over and not (self._task is not None and self._task.done())

    @property
    def begun(self) -> bool:
        """Whether the event loop has the work."""
        return self._loop is not None

    def begin(self, loop: LoopThread, work: Coroutine[Any, Any, Any]) -> None:
        """Begin the task."""
        if loop.is_current:
            raise IncusError("a blocking call cannot wait here, in the thread that does the work: use another thread")

        def start() -> None:
            _line.set(self)
            loop.lines.add(self)
            self._task = loop.loop.create_task(self._carry_out(loop, work))

        self._loop = loop
        loop.loop.call_soon_threadsafe(start)

    async def _carry_out(self, loop: LoopThread, work: Coroutine[Any, Any, Any]) -> None:
        # It tells the waiting thread by itself: a callback of the task would be one more turn of the event loop.
        try:
            result = await work
            self.is_done = True
            self._mail.put(_End(result))
        except BaseException as error:  # such as SystemExit of a function of the caller's
            self._mail.put(_End(None, error))
        finally:
            loop.lines.discard(self)

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the waiting thread call a function; an error of it ends the task."""
        self._mail.put(_Ask(function, arguments, None))

    async def ask(self, function: Callable[..., T], *arguments: Any) -> T:
        """Have the waiting thread call a function, and wait for its result."""
        result, error = await self.begin_to_ask(function, *arguments)
        if error is not None:
            raise error
        found: T = result
        return found

    async def ask_ahead(self, function: Callable[[], T], is_end: Callable[[T], bool]) -> AsyncGenerator[T]:
        """Have the waiting thread call a function until the end: while one result is used, the next one is made."""
        coming = self.begin_to_ask(function)
        while True:
            result, error = await coming
            if error is not None:
                raise error
            if is_end(result):
                return
            coming = self.begin_to_ask(function)
            yield result

    def begin_to_ask(self, function: Callable[..., object], *arguments: Any) -> asyncio.Future[Any]:
        """Have the waiting thread call a function; the future has its result and its error."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._mail.put(_Ask(function, arguments, answer))
        return answer

    def step(self, value: Any) -> None:
        """Hand a value to the waiting thread."""
        self._mail.put(_Step(value))

    def tell(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in the event loop."""
        if self._loop is not None and not self.is_inherited:
            with contextlib.suppress(RuntimeError):  # it has ended, and so has the task
                self._loop.loop.call_soon_threadsafe(function, *arguments)

    def wait(self) -> Any:
        """Serve the task until it hands over a value, or has ended; returns the value or the result."""
        while not self.is_over:
            if self.is_inherited:  # perhaps since a function of the caller's forked
                raise _after_fork("this")
            item = self._next()
            if isinstance(item, _Step):
                return item.value
            if isinstance(item, _Ask):
                item.do()
                continue
            self.is_over = True
            if item.error is None:
                return item.value
            if not isinstance(item.error, asyncio.CancelledError):
                raise _as_raised_here(item.error)
            if LoopThread.program_ends and threading.current_thread().daemon:
                threading.Event().wait()  # it ends with the program, silently
            raise IncusClosedError("the client was closed while a call was under way")
        raise IncusClosedError("the client was closed")

    def wait_unless_inside(self) -> None:
        """`wait`; but what is collected as garbage in the thread of the event loop does not wait there for itself."""
        if self._loop is not None and not self._loop.is_current and not self.is_inherited:
            while not self.is_over:
                self.wait()

    def leave(self, patience: float) -> None:
        """Cancel the task, and let it clean up, for so many seconds."""
        if self.is_over or self._loop is None:
            return
        if not self._left:
            self._left = True
            self.tell(self._cancel)
        if self._loop.is_current or self.is_inherited:
            return
        end = time.monotonic() + patience
        with contextlib.suppress(queue.Empty):
            while not self.is_over:
                item = self._mail.get(timeout=max(end - time.monotonic(), 0))
                if isinstance(item, _Ask):
                    item.refuse()
                elif isinstance(item, _End):
                    self.is_over = True

    def _cancel(self) -> None:
        if self._loop is not None and self._task is not None:
            self._loop.loop.call_soon(self._task.cancel)  # which has its first turn before that

    def _next(self) -> _End | _Ask | _Step:
        first = min((limit for limit in _limits.get() if limit.is_running), key=timeout.when, default=None)
        while True:
            seconds = _ROUND if first is None else max(min(first.when() - time.monotonic(), _ROUND), 0)
            with contextlib.suppress(queue.Empty):
                return self._mail.get(timeout=seconds)
            if first is not None and first.when() <= time.monotonic():
                raise first.expire()
            if sys.is_finalizing():
                raise _after_end()


class _Steps:
    """Whether the next item of an iteration is wanted, in the event loop."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[bool] = asyncio.Queue()

    async def wanted(self) -> bool:
        """Wait until it is, or the iteration is left."""
        return await self._asked.get()

    def want(self, more: bool) -> None:
        """Ask for it, or leave."""
        self._asked.put_nowait(more)


class _Entered(AbstractContextManager[Any]):
    """A blocking context manager on an async one, which one task enters and leaves."""

    def __init__(self, portal: Portal, manager: AbstractAsyncContextManager[Any], wrap: Wrap) -> None:
        self._portal = portal
        self.manager = manager
        self._wrap = wrap
        self._line = Line()
        self._left = concurrent.futures.Future[BaseException | None]()

    def __enter__(self) -> Any:
        if self._line.begun:
            raise IncusError("this context manager is used once; call the method again")
        try:
            self._portal.begin(self._line, self._hold())
            return self._wrap(self._line.wait())
        except BaseException:
            self._portal.abandon(self._line)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._line.is_inherited:
            return None
        self._left.set_result(error)
        try:
            self._line.wait_unless_inside()
        except BaseException as raised:
            self._portal.abandon(self._line)
            if raised is error or (isinstance(raised, RuntimeError) and isinstance(error, StopIteration)):
                return False
            raise
        return isinstance(error, Exception)

    async def _hold(self) -> None:
        try:
            async with self.manager as value:
                self._line.step(value)
                error = await asyncio.wrap_future(self._left)
                if isinstance(error, Exception):
                    raise error
                if error is not None:  # such as KeyboardInterrupt, which an event loop does not survive
                    raise asyncio.CancelledError
        except asyncio.CancelledError:
            if not self._left.done():
                raise


class _Expired(BaseException):
    """Raised out of a call, through to the `timeout` that has expired, as asyncio does with its cancellations."""

    def __init__(self, limit: timeout) -> None:
        super().__init__(f"a timeout of {limit._delay} s has expired")
        self.limit = limit


def _checked_delay(delay: Any) -> float | None:
    if delay is not None and (isinstance(delay, bool) or not isinstance(delay, int | float) or delay != delay):
        raise IncusInputError(f"a timeout takes seconds, or None for no limit, not {delay!r}")
    return delay


class timeout:
    """A deadline for all blocking calls in a block, as `asyncio.timeout` has it.

        with timeout(5):
            client.instances.launch("images:debian/13", "web")

    A call that is under way then is cancelled, on the server as well. It holds for the thread that entered it, and for
    the calls alone: it does not interrupt other code.

    Args:
        delay: Seconds; None for no limit.

    Raises:
        IncusInputError: ``delay`` is not a number.
        IncusError: It is entered in its own block.
        TimeoutError: The deadline has passed; raised at the end of the block.
    """

    def __init__(self, delay: float | None) -> None:
        self._delay = _checked_delay(delay)
        self._when = float("inf")
        self._expired = False
        self._entered = False

    @property
    def is_running(self) -> bool:
        """Whether it can still expire."""
        return self._entered and self._delay is not None and not self._expired

    def when(self) -> float:
        """Return the deadline, by the clock of `time.monotonic`; infinite without one."""
        return self._when

    def expired(self) -> bool:
        """Return whether it has expired, and ended a call."""
        return self._expired

    def reschedule(self, delay: float | None) -> None:
        """Set another deadline.

        Args:
            delay: Seconds from now; None for no limit.

        Raises:
            IncusInputError: It is not a number.
        """
        self._delay = _checked_delay(delay)
        self._when = float("inf") if delay is None else time.monotonic() + delay

    def expire(self) -> BaseException:
        """Note that it expired; returns what ends the call."""
        self._expired = True
        return _Expired(self)

    def __enter__(self) -> timeout:
        if self._entered:
            raise IncusError("this timeout is entered already: make another one for the block inside")
        self._expired = False
        self.reschedule(self._delay)
        _limits.set((*_limits.get(), self))
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        # Not by a token: generators can leave their blocks in any order, and in another context.
        _limits.set(tuple(limit for limit in _limits.get() if limit._entered))
        if isinstance(error, _Expired) and error.limit is self:
            raise TimeoutError(f"the block took longer than {self._delay} s") from error
