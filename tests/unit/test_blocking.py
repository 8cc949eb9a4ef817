"""The blocking twin without a server: its thread, its waiting, and that it has all that the async SDK has."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import gc
import importlib
import inspect
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from unittest.mock import create_autospec

import pytest

import incus_sdk
import incus_sdk.sync
from incus_sdk import IncusClosedError, IncusConnectionError, IncusError, IncusInputError, IncusNotLoadedError, models
from incus_sdk._connection.transport import WebSocket
from incus_sdk._outputs import OutputReader
from incus_sdk.sync import Client, Profile, timeout
from incus_sdk.sync._portal import Line, Portal
from incus_sdk.sync._twin import StreamReader, StreamWriter, Twin, given_content, given_input

pytestmark = pytest.mark.usefixtures("no_thread_of_other_tests")


def same(value: Any) -> Any:
    return value


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal("the client")
    yield portal
    portal.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "incus-sdk"]


async def echo(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def fail() -> None:
    raise ValueError("no")


async def count(seen: list[Any], last: int = 5) -> AsyncIterator[int]:
    try:
        for number in range(last):
            yield number
    finally:
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())


def run_python(code: str, *, options: Sequence[str] = ()) -> str:
    """What a program prints; it must end well, and say nothing but that."""
    forks = "-Wignore:This process:DeprecationWarning"  # which Python 3.12 says of each fork
    done = subprocess.run([sys.executable, *options, forks, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_every_name_of_the_async_sdk_is_there() -> None:
    names = set(vars(incus_sdk)["__all__"])
    assert names - {"__version__"} <= set(vars(incus_sdk.sync)["__all__"])
    for name in names:
        ours, theirs = getattr(incus_sdk, name), getattr(incus_sdk.sync, name)
        waits = inspect.isclass(ours) and any(map(inspect.iscoroutinefunction, vars(ours).values()))
        assert not waits or ours is not theirs, name
    for error in (name for name in names if name.endswith("Error")):
        assert getattr(incus_sdk, error) is getattr(incus_sdk.sync, error)


MODULES = "client operations events process simplestreams api.instances api.images api.storage api.networks api.cluster"


@pytest.mark.parametrize("name", MODULES.split())
def test_a_module_of_the_same_name_has_the_same_classes_and_verbs(name: str) -> None:
    ours, theirs = importlib.import_module(f"incus_sdk.{name}"), importlib.import_module(f"incus_sdk.sync.{name}")
    for kind in vars(ours).values():
        if not inspect.isclass(kind) or kind.__module__ != ours.__name__ or kind.__name__.startswith("_"):
            continue
        twin = getattr(theirs, kind.__name__)
        verbs = {each for each in dir(kind) if not each.startswith("_") and not each.isupper()}
        verbs -= kind.fields().keys() if issubclass(kind, models.Record) else set()  # made with the first record
        assert not verbs - set(dir(twin)), kind.__name__
        assert not [each for each in verbs if inspect.iscoroutinefunction(getattr(twin, each, None))]
        for one, other in ((getattr(kind, each, None), getattr(twin, each, None)) for each in ("__doc__", *verbs)):
            words = [str(each if isinstance(each, str) else each.__doc__) for each in (one, other) if each is not None]
            assert len({each.count("print(") for each in words}) < 2, words  # an example keeps its parentheses


def test_a_call_waits_for_its_result_or_raises_its_error(portal: Portal) -> None:
    assert portal.run(echo(3)) == 3
    with pytest.raises(ValueError, match="no"):
        portal.run(fail())


def test_all_clients_share_one_thread_which_ends_with_the_last_of_them() -> None:
    def running() -> int:
        return sum(thread.name == "incus-sdk" for thread in threading.enumerate())

    first, second = Portal("a"), Portal("b")
    assert running() == 0
    first.run(echo(1))
    second.run(echo(1))
    assert running() == 1
    first.close()
    assert second.run(echo(2)) == 2
    second.close()
    assert running() == 0
    assert first.run(echo(3)) == 3, "and it begins again"
    first.close()
    assert running() == 0


def test_a_client_that_is_forgotten_lets_the_thread_end() -> None:
    portal = Portal("a")
    portal.run(echo(1))
    thread = next(thread for thread in threading.enumerate() if thread.name == "incus-sdk")
    del portal
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_many_threads_use_one_client(portal: Portal) -> None:
    found: list[int] = []

    def work(number: int) -> None:
        found.extend(portal.run(echo(number)) for _ in range(20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(list(range(16)) * 20)


async def test_a_call_works_while_a_loop_runs_in_the_same_thread(portal: Portal) -> None:
    assert portal.run(echo(1)) == 1


async def test_the_terminal_is_not_handed_over_where_a_loop_runs() -> None:
    box = Client("/nowhere").instances["box"]
    for call in (box.shell, box.attach_console):
        with pytest.raises(IncusError, match="as in a notebook"):
            call()


def test_ten_thousand_calls_leave_nothing(portal: Portal) -> None:
    for _ in range(100):
        portal.run(echo(1))
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(10_000):
        portal.run(echo(1))
    gc.collect()
    assert len(gc.get_objects()) - before < 1000


def test_an_iterator_is_driven_by_one_task_and_closed_by_a_break(portal: Portal) -> None:
    seen: list[Any] = []
    assert list(portal.iterate(count(seen), same)) == [0, 1, 2, 3, 4]
    for number in portal.iterate(count(seen), str):
        if number == "2":
            break
    held = portal.iterate(count(seen), same)
    assert next(held) == 0
    held.close()
    assert len(seen) == 3
    assert all(task.done() for task in seen)


def test_an_error_in_an_iterator_comes_out_of_it(portal: Portal) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("no")

    items = portal.iterate(broken(), same)
    assert next(items) == 1
    with pytest.raises(ValueError, match="no"):
        next(items)


@contextlib.asynccontextmanager
async def block(log: list[Any], swallow: type[Exception] = LookupError) -> AsyncGenerator[int]:
    log.append(asyncio.current_task())
    try:
        yield 5
    except swallow:
        log.append("swallowed")
    except BaseException as error:
        log.append(type(error))
        raise
    finally:
        log.append(asyncio.current_task())


def test_a_context_manager_is_entered_and_left_in_one_task(portal: Portal) -> None:
    log: list[Any] = []
    with portal.enter(block(log), same) as value:
        assert value == 5
        assert portal.run(echo(1)) == 1
    assert len(log) == 2
    assert log[0] is log[1]


@pytest.mark.parametrize(
    ("raised", "seen"),
    [(ValueError("x"), ValueError), (KeyboardInterrupt(), asyncio.CancelledError), (StopIteration(), StopIteration)],
    ids=["error", "interrupt", "stop"],
)
def test_the_block_sees_the_error_that_ends_it(portal: Portal, raised: BaseException, seen: type) -> None:
    log: list[Any] = []
    with pytest.raises(type(raised)) as found, portal.enter(block(log), same):
        raise raised
    assert found.value is raised
    assert log[1] is seen


def test_a_block_can_swallow_an_error_and_raise_another(portal: Portal) -> None:
    log: list[Any] = []
    with portal.enter(block(log), same):
        _ = dict[int, int]()[0]
    assert "swallowed" in log

    @contextlib.asynccontextmanager
    async def translating() -> AsyncGenerator[None]:
        try:
            yield
        except ValueError as error:
            raise IncusConnectionError("another") from error

    with pytest.raises(IncusConnectionError), portal.enter(translating(), same):
        raise ValueError


def test_a_context_manager_is_used_once(portal: Portal) -> None:
    manager = portal.enter(block([]), same)
    with manager:
        pass
    with pytest.raises(IncusError, match="used once"), manager:
        pass


def test_what_the_caller_gave_runs_in_its_thread_and_may_call_the_client(portal: Portal) -> None:
    def ask(number: int) -> tuple[Any, threading.Thread]:
        return portal.run(echo(number)), threading.current_thread()

    async def work() -> Any:
        line = Line.current()
        assert line is not None
        line.post(posted.append, "posted")
        with pytest.raises(ZeroDivisionError):
            await line.ask(lambda: 1 // 0)
        return await line.ask(ask, 7)

    posted: list[str] = []
    assert portal.run(work()) == (7, threading.current_thread())
    assert posted == ["posted"]


def test_an_error_of_a_callback_ends_the_call(portal: Portal) -> None:
    ended: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    async def work() -> None:
        line = Line.current()
        assert line is not None
        line.post(fail)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    with pytest.raises(ZeroDivisionError):
        portal.run(work())
    assert ended == ["cancelled"]


def test_a_timeout_cancels_the_call_and_raises_at_the_end_of_its_block(portal: Portal) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append("cancelled")

    with pytest.raises(TimeoutError), timeout(0.05) as limit:
        portal.run(work())
    assert limit.expired()
    assert ended == ["cancelled"]
    assert portal.run(echo(1)) == 1


def test_a_call_that_is_left_at_once_is_cancelled(portal: Portal) -> None:
    ended = list[BaseException]()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            ended.append(error)
            raise

    for _ in range(20):
        line = Line()
        portal.begin(line, work())
        line.leave(5)
        assert line.is_over
    assert len(ended) == 20


def test_of_nested_timeouts_the_one_that_expired_raises(portal: Portal) -> None:
    reached = []

    def work() -> None:
        try:
            with timeout(60), timeout(None):
                portal.run(asyncio.sleep(60))
        except TimeoutError:
            reached.append("inner")
        finally:
            assert portal.run(echo(1)) == 1, "what cleans up has its time"

    with pytest.raises(TimeoutError), timeout(0.05):
        work()
    assert not reached
    with timeout(60):
        with pytest.raises(TimeoutError), timeout(0.05):
            portal.run(asyncio.sleep(60))
        assert portal.run(echo(1)) == 1


@pytest.mark.parametrize("delay", [float("inf"), 1e20, 10**12])
def test_a_timeout_can_be_longer_than_a_system_waits(portal: Portal, delay: float) -> None:
    with timeout(delay):
        assert portal.run(echo(1)) == 1


@pytest.mark.parametrize("delay", [float("nan"), "5", True, [1]])
def test_a_timeout_that_is_no_number_is_refused(delay: Any) -> None:
    with pytest.raises(IncusInputError, match="seconds"):
        timeout(delay)
    with timeout(60) as limit, pytest.raises(IncusInputError, match="seconds"):
        limit.reschedule(delay)


def test_a_timeout_can_be_used_again_once_it_has_expired_but_not_in_its_own_block(portal: Portal) -> None:
    limit = timeout(0.05)
    for _ in range(2):
        with pytest.raises(TimeoutError), limit:
            portal.run(asyncio.sleep(60))
    with pytest.raises(IncusError, match="another one"), timeout(60) as limit, limit:
        pass
    assert portal.run(echo(1)) == 1


@contextlib.contextmanager
def closing_first(held: Generator[int], limit: timeout) -> Generator[None]:
    with limit:
        held.close()
        yield


def test_timeouts_can_be_left_in_any_order(portal: Portal) -> None:
    def pages() -> Generator[int]:
        with timeout(0.05):
            yield 1

    held = pages()
    next(held)
    limit = timeout(0.2)
    with limit:
        held.close()
    assert portal.run(echo(1)) == 1
    held = pages()
    next(held)
    with pytest.raises(TimeoutError), closing_first(held, limit):
        portal.run(asyncio.sleep(60))
    assert limit.expired()
    assert portal.run(echo(1)) == 1


def test_a_timeout_is_left_in_another_context_and_ends_in_all(portal: Portal) -> None:
    limit = timeout(0.05)
    entered = contextvars.copy_context()
    entered.run(limit.__enter__)
    limit.__exit__(None, None, None)
    time.sleep(0.1)
    assert entered.run(portal.run, asyncio.sleep(0.1, 1)) == 1


def test_a_timeout_is_of_its_own_thread(portal: Portal) -> None:
    results: list[int] = []
    with timeout(0):
        thread = threading.Thread(target=lambda: results.append(portal.run(echo(1))))
        thread.start()
        thread.join()
    assert results == [1]


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_ends_programs_is_raised_to_the_caller_and_ends_no_loop(portal: Portal, raised: BaseException) -> None:
    async def work() -> None:
        raise raised

    async def inner() -> None:
        await asyncio.ensure_future(work())

    for each in (work, inner):
        with pytest.raises(type(raised)):
            portal.run(each())
        assert portal.run(echo(1)) == 1


@pytest.mark.parametrize("mode", ["r", "rb"])
def test_files_that_may_never_be_ready_are_not_read_in_the_callers_thread(mode: Any, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    left, right = socket.socketpair()
    with (
        open(writer, "wb", 0),
        open(reader, mode) as pipe,
        left,
        right,
        left.makefile(mode, 0 if "b" in mode else 1) as raw,
    ):
        for file in (pipe, raw):
            assert given_input(file, "utf-8") is file
            assert given_content(file) is file
    (tmp_path / "file").write_bytes(b"x")
    with open(tmp_path / "file", mode) as file:
        assert given_input(file, "utf-8") is not file


def test_a_call_in_the_thread_of_the_loop_is_refused(portal: Portal) -> None:
    async def work() -> None:
        portal.run(echo(1))

    with pytest.raises(IncusError, match="another thread"):
        portal.run(work())


def test_closing_ends_a_call_of_another_thread(portal: Portal) -> None:
    errors: list[BaseException] = []
    begun = threading.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(60)

    def call() -> None:
        try:
            portal.run(work())
        except IncusClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    begun.wait(10)
    portal.close()
    thread.join(10)
    assert len(errors) == 1


PROGRAM = """
import asyncio, contextlib, os, signal, sys, threading, time
from incus_sdk.sync import Client, IncusError
from incus_sdk.sync._portal import Portal, Line
async def echo(value):
    await asyncio.sleep(0)
    return value
portal = Portal("the client")
"""


@pytest.mark.parametrize("before", ["", "portal.run(echo(1))\n"], ids=["thread not begun", "thread running"])
def test_a_child_makes_its_own_client(before: str) -> None:
    code = """
child = os.fork()
if not child:
    try:
        portal.run(echo(1))
    except IncusError as error:
        print(error, flush=True)
    mine = Portal("mine")
    print(mine.run(echo(2)), flush=True)
    sys.exit(0)
print(os.waitpid(child, 0)[1], portal.run(echo(3)))
"""
    child, new, parent = run_python(PROGRAM + before + code).splitlines()
    assert "the client belongs to the process that made it" in child
    assert "make a client in the child" in child
    assert (new, parent) == ("2", "0 3")


def test_a_child_takes_nothing_of_a_stream_of_its_parent() -> None:
    code = """
from unittest.mock import Mock
from incus_sdk._outputs import OutputReader
from incus_sdk.sync._twin import StreamReader
async def made_output():
    return OutputReader("stdout", Mock())
output = portal.run(made_output())
output.feed_data(b"abc")
stream = StreamReader._of(output, portal)
child = os.fork()
if not child:
    try:
        stream.read(2)
    except IncusError as error:
        print(error, flush=True)
    sys.exit(0)
print(os.waitpid(child, 0)[1], stream.read(2))
"""
    child, parent = run_python(PROGRAM + code).splitlines()
    assert "the client belongs to the process that made it" in child
    assert parent == "0 b'ab'"


def test_a_child_that_is_forked_in_a_callback_does_not_wait_for_its_parent() -> None:
    code = """
from incus_sdk.sync._twin import asked
async def work():
    return await asked(os.fork)()
try:
    print(portal.run(work()) > 0, os.wait()[1], flush=True)
except IncusError as error:
    print("make a client in the child" in str(error), flush=True)
"""
    assert run_python(PROGRAM + code).splitlines() == ["True", "True 0"]


def test_a_client_that_another_thread_opens_while_it_is_closed_is_not_said_to_be_left_open() -> None:
    code = """
class Connections:
    is_open = is_connected = True
    async def close(self):
        print("closed")
portal = Portal("the client", Connections())
portal.run(echo(1))
portal.end(echo(1))
"""
    assert run_python(PROGRAM + code, options=["-W", "always"]).splitlines() == ["closed"]


def test_a_child_ends_silently_and_ends_nothing_of_its_parent() -> None:
    code = """
import contextlib
async def items():
    try:
        while True:
            yield 1
    finally:
        await asyncio.sleep(0)
        print("no more items", os.getpid() == parent, flush=True)
@contextlib.asynccontextmanager
async def block():
    try:
        yield
    finally:
        await asyncio.sleep(0)
        print("left", os.getpid() == parent, flush=True)
parent = os.getpid()
held = portal.iterate(items(), str)
next(held)
with portal.enter(block(), str):
    child = os.fork()
    if not child:
        try:
            next(held)
        except IncusError as error:
            print("make a client in the child" in str(error), flush=True)
        portal.end(echo(1))
        print(Portal("mine").run(echo(2)), flush=True)
        sys.exit(0)
    print(os.waitpid(child, 0)[1], next(held), flush=True)
del held
"""
    expected = ["True", "2", "0 1", "left True", "no more items True"]
    assert run_python(PROGRAM + code, options=["-W", "always"]).splitlines() == expected


INTERRUPTED = {
    "call": "portal.run(work())",
    "callback": "portal.run(asking())",
    "iterator": "list(portal.iterate(items(), str))",
    "block": "portal.enter(entering(), str).__enter__()",
}


@pytest.mark.parametrize("how", INTERRUPTED)
def test_an_interrupt_cancels_the_call_and_leaves_the_client_usable(how: str) -> None:
    code = """
import contextlib
async def work():
    os.kill(os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.01)
        print("cleaned up", flush=True)
async def asking():
    try:
        await Line.current().ask(lambda: os.kill(os.getpid(), signal.SIGINT))
        await asyncio.sleep(60)
    finally:
        print("cleaned up", flush=True)
async def items():
    yield await work()
@contextlib.asynccontextmanager
async def entering():
    yield await work()
try:
    CALL
except KeyboardInterrupt:
    print("interrupted", portal.run(echo(1)))
"""
    out = run_python(PROGRAM + code.replace("CALL", INTERRUPTED[how]))
    assert out.splitlines() == ["cleaned up", "interrupted 1"]


def test_an_interrupt_is_seen_though_the_system_gave_it_to_another_thread() -> None:
    """So is one that comes just before the thread begins to wait."""
    code = """
async def work():
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    try:
        await asyncio.sleep(600)
    finally:
        print("cleaned up", flush=True)
try:
    portal.run(work())
except KeyboardInterrupt:
    print("interrupted", portal.run(echo(1)))
"""
    assert run_python(PROGRAM + code).splitlines() == ["cleaned up", "interrupted 1"]


def test_a_clean_up_that_hangs_is_not_waited_for() -> None:
    code = """
async def work():
    os.kill(os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(3)
        print("and still cleaned up")
begun = time.monotonic()
try:
    portal.run(work())
except KeyboardInterrupt:
    print(time.monotonic() - begun < 2.5, flush=True)
"""
    assert run_python(PROGRAM + code).splitlines() == ["True", "and still cleaned up"]


@pytest.mark.parametrize("again", [False, True])
def test_a_client_is_closed_after_what_an_interrupt_has_to_clean_up(again: bool) -> None:
    code = """
async def work():
    os.kill(os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(60)
    finally:
        if AGAIN:
            os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(1.5)
        print("cleaned up", flush=True)
other = Portal("another client")
other.run(echo(1))
try:
    portal.run(work())
except KeyboardInterrupt:
    print("interrupted", flush=True)
    portal.end(echo(1))
    print("closed", flush=True)
"""
    out = run_python(PROGRAM + code.replace("AGAIN", str(again)))
    assert out.splitlines() == ["interrupted", "cleaned up", "closed"]


def test_an_interrupt_while_a_client_is_closed_leaves_no_warning() -> None:
    code = """
async def work():
    os.kill(os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(1.5)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.5)
with contextlib.suppress(KeyboardInterrupt):
    portal.run(work())
try:
    portal.end(echo(1))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    assert run_python(PROGRAM + code, options=["-Walways"]).splitlines() == ["interrupted"]


def test_a_block_is_left_whose_caller_is_interrupted_when_it_was_entered(portal: Portal) -> None:
    left: list[Any] = []

    class Held:
        async def __aenter__(self) -> None:
            await asyncio.sleep(0)

        async def __aexit__(self, *error: Any) -> None:
            left.append(error[0])

    class Block(Twin):
        def __enter__(self) -> Self:
            return self._enter(self._async.__aenter__())

        def __exit__(self, *error: Any) -> None:
            self._leave(self._async.__aexit__(*error))

    def wait(line: Line) -> Any:
        patch.undo()
        line.wait()
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Line, "wait", wait)
        with pytest.raises(KeyboardInterrupt), Block._of(Held(), portal):
            pytest.fail("it was not entered")
    assert left == [KeyboardInterrupt]


def test_a_program_ends_silently_with_everything_open() -> None:
    code = """
async def items():
    while True:
        yield 1
held = portal.iterate(items(), str)
next(held)
import contextlib
@contextlib.asynccontextmanager
async def block():
    try:
        yield
    finally:
        print("left")
portal.enter(block(), str).__enter__()
begun = threading.Event()
async def work():
    begun.set()
    await asyncio.sleep(60)
threading.Thread(target=lambda: portal.run(work()), daemon=True).start()
begun.wait()
import gc
gc.collect()  # nobody refers to the block
"""
    assert run_python(PROGRAM + code) == "left\n"


@pytest.mark.parametrize("late", [False, True])
def test_a_call_while_the_interpreter_clears_modules_does_not_wait_for_ever(late: bool) -> None:
    code = """
import atexit
class Held:
    def __del__(self):
        try:
            portal.run(echo(1))
        except IncusError as error:
            print("has ended" in str(error), flush=True)
held = Held()
def late():
    try:
        portal.run(echo(1))
    except IncusError as error:  # newer versions of Python begin no thread any more
        assert "has ended" in str(error)
if LATE:
    atexit.register(late)
portal.run(echo(1))
"""
    assert run_python(PROGRAM + code.replace("LATE", str(late))) == "True\n"


def test_records_are_the_records_of_the_async_sdk() -> None:
    client = Client("/nowhere/unix.socket").use_project("p")
    profile = client.profiles["x"]
    assert isinstance(profile, models.Profile)
    assert isinstance(profile, Profile)
    assert (profile.name, profile.project, profile["name"], profile.etag) == ("x", "p", "x", None)
    assert profile == client.profiles["x"]
    assert profile != client.profiles["y"]
    assert len({profile, client.profiles["x"]}) == 1
    assert repr(profile) == "<Profile name='x'>"
    assert repr(client) == "<Client unix:///nowhere/unix.socket project='p'>"
    assert client.profiles is client.profiles
    with pytest.raises(IncusNotLoadedError, match=r"`handle\.refresh\(\)` first"):
        _ = profile.config
    box, volume = client.instances["c1"], client.storage_pools["a"].volumes["custom/v"]
    for read in (lambda: box.state, lambda: box.full, lambda: volume.full, lambda: box.raw, lambda: [*box]):
        with pytest.raises(IncusNotLoadedError, match=r"^the JSON of .* is not known.* `handle\.refresh\(\)` first"):
            read()
    box._async._json, box._async._loaded = {"name": "c1"}, True
    with pytest.raises(IncusNotLoadedError, match=r"`instance\.get_state\(\)` or list"):
        _ = box.state
    profile.config = {"limits.cpu": "2"}
    assert profile.config["limits.cpu"] == "2"
    path = client.instances["c1"].path("/srv")
    assert str(path / "a" / "b") == "/srv/a/b"
    assert (path / "a").parent == path


def test_streams_of_asyncio_have_their_methods_without_await(portal: Portal) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = twins(portal.run(asyncio.open_connection(sock=ours)), portal)
    with theirs:
        writer.write(b"one\n")
        writer.writelines([b"two", b"three"])
        assert theirs.recv(100) == b"one\ntwothree"
        theirs.sendall(b"line\nrest12|3\nlast")
        theirs.shutdown(socket.SHUT_WR)
        assert reader.readline() == b"line\n"
        assert reader.readexactly(4) == b"rest"
        assert reader.readuntil(b"|") == b"12|"
        assert list(reader) == [b"3\n", b"last"]
        assert (reader.read(), reader.at_eof()) == (b"", True)
    assert writer.can_write_eof()
    writer.write_eof()
    writer.close()
    assert writer.is_closing()
    writer.wait_closed()


def test_nothing_is_lost_or_doubled_where_threads_read_one_stream(portal: Portal) -> None:
    size = 2**20
    numbers = struct.pack(f"!{size}I", *range(size))
    output = portal.run(made_output())
    stream = StreamReader._of(output, portal)
    found: list[bytes] = []

    async def feed() -> None:
        for start in range(0, len(numbers), 40_000):
            output.feed_data(numbers[start : start + 40_000])
            await asyncio.sleep(0)
        output.feed_eof()

    def read(piece: int) -> None:
        while not stream.at_eof():
            with contextlib.suppress(RuntimeError):  # another thread waits for what comes
                found.append(stream.read(piece))

    threads = [threading.Thread(target=read, args=(piece,)) for piece in (4, 4096, 65536)]
    for thread in threads:
        thread.start()
    portal.run(feed())
    for thread in threads:
        thread.join()
    assert sorted(number for piece in found for (number,) in struct.iter_unpack("!I", piece)) == list(range(size))


async def made_output() -> OutputReader:
    return OutputReader("stdout", create_autospec(WebSocket))


def twins(streams: Any, portal: Portal) -> tuple[StreamReader, StreamWriter]:
    return StreamReader._of(streams[0], portal), StreamWriter._of(streams[1], portal)


def test_a_local_listener_connects_to_streams_that_methods_open(portal: Portal) -> None:
    there, here = socket.socketpair()

    @contextlib.asynccontextmanager
    async def nbd() -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(sock=here)
        try:
            yield reader, writer
        finally:
            writer.close()

    def connect() -> contextlib.AbstractContextManager[Any]:
        return portal.enter(nbd(), same)

    with (
        there,
        incus_sdk.sync.local_listener(connect) as address,
        socket.create_connection(address, 20) as program,
    ):
        program.sendall(b"question")
        assert there.recv(8) == b"question"
        there.sendall(b"answer")
        assert program.recv(6) == b"answer"
    with pytest.raises(IncusInputError), incus_sdk.sync.local_listener(connect, -1):
        pass


def test_objects_come_from_methods() -> None:
    with pytest.raises(IncusInputError, match="come from the methods of a client"):
        Profile()


class Mine(Client):
    """A client of the caller's own."""


def test_a_subclass_stays_one() -> None:
    assert type(Mine("/nowhere").use_project("p")) is Mine


def test_errors_of_the_async_sdk_come_through(tmp_path: Path) -> None:
    client = Client(str(tmp_path / "unix.socket"))
    with pytest.raises(IncusConnectionError):
        client.connect()
    with pytest.raises(IncusInputError):
        client.profiles.create("x", colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.disconnect()


def test_an_open_client_that_is_forgotten_is_named() -> None:
    class Connections:
        is_open = is_connected = True

        async def close(self) -> None:
            self.is_open = False

    connections = Connections()
    portal = [Portal("<Client x>", connections)]
    portal[0].run(echo(1))
    with pytest.warns(ResourceWarning, match="unclosed <Client x>"):
        portal.clear()
    for thread in threading.enumerate():
        if thread.name == "incus-sdk":
            thread.join(10)
    assert not connections.is_open


def gevent_patched(code: str, when: str) -> str:
    patch = "from gevent import monkey; monkey.patch_all()\n"
    return patch + PROGRAM + code if when == "before" else PROGRAM + patch + code


@pytest.mark.parametrize("when", ["before", "after"])
def test_it_works_under_gevent(when: str) -> None:
    pytest.importorskip("gevent")
    code = """
import gevent
async def slow(value):
    await asyncio.sleep(0.05)
    return value
jobs = [gevent.spawn(lambda client, number: client.run(slow(number)), client, number)
        for client in (portal, Portal("other")) for number in range(3)]
gevent.joinall(jobs)
print([job.value for job in jobs])
"""
    assert run_python(gevent_patched(code, when)) == "[0, 1, 2, 0, 1, 2]\n"


@pytest.mark.parametrize("kind", [incus_sdk.Client, incus_sdk.sync.Client])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_client_that_is_pickled_or_copied_says_what_to_do(kind: type[Any], copied: Any) -> None:
    with pytest.raises(TypeError, match="make one where it is used"):
        copied(kind("/nowhere"))


@pytest.mark.parametrize("kind", [incus_sdk.Client, incus_sdk.sync.Client])
@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
def test_what_belongs_to_a_client_says_so_when_it_is_pickled(kind: type[Any], copied: Any) -> None:
    instances = kind("/nowhere").instances
    for each in (
        instances,
        instances["c1"].snapshots,
        instances["c1"].path("/etc"),
        instances["c1"].open_process(["true"]),
    ):
        with pytest.raises(TypeError, match="send names, records and errors"):
            copied(each)
