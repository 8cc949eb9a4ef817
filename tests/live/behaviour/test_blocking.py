"""The blocking twin on a real daemon: the core of the API, and what blocking programs do to it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from incus_sdk import models
from incus_sdk.exceptions import (
    IncusClosedError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    IncusTimeoutError,
    ProcessError,
)
from incus_sdk.sync import (
    Client,
    Event,
    Gap,
    Instance,
    LifecycleEvent,
    Operation,
    Profile,
    Progress,
    VolumeSnapshot,
    timeout,
)
from incus_sdk.testing import Daemon

pytestmark = pytest.mark.usefixtures("clean", "no_thread_of_other_tests")


@pytest.fixture(params=["unix", "https"])
def blocking(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A connected blocking client, once over each transport."""
    if request.param == "unix":
        client = Client(str(daemon.socket))
    else:
        client = Client(daemon.url, cert=daemon.client_cert, server_cert=daemon.certificate)
    with client:
        yield client
    assert not [thread for thread in threading.enumerate() if thread.name == "incus-sdk"]


@pytest.fixture
def crate(blocking: Client, name: str) -> Iterator[Instance]:
    """A running busybox container."""
    with blocking.instances.temporary("busybox", name) as crate:
        yield crate


def test_the_documented_verbs_of_a_collection(blocking: Client, name: str) -> None:
    profile = blocking.profiles.create(name, config={"limits.cpu": 2}, description="x")
    assert isinstance(profile, Profile)
    assert isinstance(profile, models.Profile)
    assert profile.config == {"limits.cpu": "2"}
    assert profile in blocking.profiles.list()
    assert blocking.profiles.get(name) == profile
    with profile.editing() as draft:
        assert isinstance(draft, Profile)
        draft.description = "y"
        draft.config["user.a"] = "1"
    assert profile.refresh() is profile
    assert (profile.description, profile.config["user.a"]) == ("y", "1")
    with pytest.raises(IncusInputError), profile.editing() as draft:
        draft["used_by"] = ["me"]
    blocking.profiles.update(name, {"config": {"user.a": None}})
    profile.replace({"description": "z"}, profile.refresh().etag)
    assert profile.description == "z"
    ensured = blocking.profiles.ensure(name, description="w")
    assert (ensured.created, list(ensured.changed)) == (False, ["description"])
    assert isinstance(ensured.item, Profile)
    renamed = blocking.profiles.rename(name, f"{name}-x")
    assert (type(renamed), renamed.name) == (Profile, f"{name}-x")
    renamed.delete()
    assert not renamed.exists()
    with pytest.raises(IncusNotFoundError):
        renamed.refresh()


def test_views_groups_below_objects_and_queries(blocking: Client, name: str) -> None:
    project = blocking.projects.create(name, config={"features.images": False, "features.profiles": False})
    view = blocking.use_project(name)
    assert (view.project, view.instances.list()) == (name, [])
    assert blocking.storage_pools["default"].volumes.list(type="custom") == []
    volume = blocking.storage_pools["default"].volumes.create(f"custom/{name}")
    volume.snapshots.create("s0")
    assert [(type(each), each.name) for each in volume.snapshots.list()] == [(VolumeSnapshot, "s0")]
    volume.delete()
    assert blocking.query("GET", "/1.0/projects")[-1].endswith(name)
    answer = blocking.query("GET", f"/1.0/projects/{name}", raw=True)
    assert (answer.status, answer.body["metadata"]["name"]) == (200, name)
    project.delete()


def test_run_takes_input_and_gives_output_in_every_form(crate: Instance, tmp_path: Path) -> None:
    here = threading.current_thread()
    threads = set[threading.Thread]()

    def pieces() -> Iterator[bytes]:
        for piece in (b"a\n", b"b\n"):
            threads.add(threading.current_thread())
            yield piece

    assert crate.run(["cat"], input=pieces()).stdout == b"a\nb\n"
    assert crate.run(["cat"], input=[b"1", b"2"], text=True).stdout == "12"
    assert crate.run(["cat"], input=io.BytesIO(b"x" * 2**21)).stdout == b"x" * 2**21
    (tmp_path / "in").write_bytes(b"file")
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as target:
        crate.run(["cat"], input=source, stdout=target)
    assert (tmp_path / "out").read_bytes() == b"file"
    out, seen = io.BytesIO(), list[bytes]()

    def take(piece: bytes) -> None:
        threads.add(threading.current_thread())
        seen.append(piece)
        assert crate.get_state().status == "Running"  # a call inside a call

    crate.run(["sh", "-c", "echo out; echo err >&2"], stdout=out, stderr=take)
    assert (out.getvalue(), b"".join(seen)) == (b"out\n", b"err\n")
    assert threads == {here}
    with pytest.raises(ZeroDivisionError):
        crate.run(["echo"], stdout=lambda piece: 1 // 0)

    async def coroutine(piece: bytes) -> None: ...

    with pytest.raises(IncusInputError, match="plain function"):
        crate.run(["echo"], stdout=coroutine)
    with pytest.raises(ProcessError, match="exit code 3"):
        crate.run(["sh", "-c", "exit 3"], check=True)
    with pytest.raises(IncusTimeoutError):
        crate.run(["tail", "-f", "/dev/null"], timeout=0.2)
    assert "tail" not in crate.run(["ps"], text=True).stdout


def test_a_live_command_has_the_shape_of_subprocess(crate: Instance) -> None:
    with crate.open_process(["cat"]) as process:
        assert process.args == ("cat",)
        process.stdin.write(b"one\n")
        assert process.stdout.readline() == b"one\n"
        process.stdin.writelines([b"two\n", b"three\n"])
        process.stdin.write_eof()
        assert list(process.stdout) == [b"two\n", b"three\n"]
        assert (process.wait(), process.returncode) == (0, 0)
    with crate.open_process(["sh", "-c", "cat; echo bad >&2; exit 4"]) as process:
        assert process.communicate(b"x" * 300_000) == (b"x" * 300_000, b"bad\n")
        assert process.returncode == 4
    with crate.open_process(["tail", "-f", "/dev/null"]) as process:
        pass
    assert "tail" not in crate.run(["ps"], text=True).stdout


def test_files_streams_and_trees(crate: Instance, tmp_path: Path) -> None:
    root = crate.path("/root")
    assert (root / "f").write_text("héllo\n") == 7
    assert (root / "f").read_text() == "héllo\n"
    with (root / "g").open("wb") as writer:
        writer.write(b"a" * 100_000)
    with (root / "g").open() as reader:
        assert reader.read(5) == b"aaaaa"
        assert sum(map(len, reader)) == 99_995
    assert sorted(path.name for path in root.iterdir()) == ["f", "g"]
    listed = root.iterdir()
    next(listed)
    listed.close()
    assert [(str(at), sorted(files)) for at, _, files in root.walk()] == [("/root", ["f", "g"])]
    with crate.sftp() as top:
        assert (top / "root" / "f").exists()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "x").write_bytes(b"x")
    seen = list[Progress]()
    assert (root / "tree").push(tmp_path / "tree", progress=seen.append).files == 1
    assert seen[-1].files == 1
    (root / "tree").pull(tmp_path / "again")
    assert (tmp_path / "again" / "x").read_bytes() == b"x"
    (root / "tree").rmtree()
    assert not (root / "tree").exists()


def test_waiting_for_a_condition_calls_it_in_the_callers_thread(crate: Instance) -> None:
    seen = list[object]()

    def ready(instance: Instance) -> bool:
        seen.append((instance, threading.current_thread()))
        return instance.run(["true"]).returncode == 0

    assert crate.wait_for(ready, timeout=30) == crate
    assert seen == [(crate, threading.current_thread())]
    with pytest.raises(ZeroDivisionError):
        crate.wait_for(lambda instance: 1 // 0)


def test_operations_progress_and_backups(blocking: Client, crate: Instance, tmp_path: Path) -> None:
    operation = crate.stop(force=True)
    assert isinstance(operation, Operation)
    assert operation.wait() is operation
    assert list(operation.progress()) == []
    threads = set[threading.Thread]()
    backup, target = crate.backups.create("b0"), tmp_path / "backup.tar"
    with backup.stream() as pieces:
        assert sum(map(len, pieces)) > 1000
    backup.export(target, progress=lambda _: threads.add(threading.current_thread()))
    assert threads == {threading.current_thread()}
    with open(target, "rb") as file:
        copy = blocking.instances.create_from_backup(file, f"{crate.name}-copy")
    assert isinstance(copy, Instance)
    copy.delete(wait=True)
    second = crate.copy(f"{crate.name}-second")
    assert isinstance(second, Instance)
    second.delete(wait=True)
    crate.start(wait=True)


def test_events_are_held_open_between_functions(blocking: Client, name: str) -> None:
    def until(events: Iterator[Event | Gap], action: str) -> LifecycleEvent:
        return next(e for e in events if isinstance(e, LifecycleEvent) and e.metadata.action == action)

    manager = blocking.events.listen(["lifecycle"])
    events = manager.__enter__()
    blocking.profiles.create(name)
    assert name in until(events, "profile-created").metadata.source
    blocking.profiles.delete(name)
    assert name in until(events, "profile-deleted").metadata.source
    with pytest.raises(TimeoutError), timeout(0.1):
        next(events)
    manager.__exit__(None, None, None)
    assert list(events) == []


def test_a_timeout_cancels_on_the_server(crate: Instance) -> None:
    with pytest.raises(TimeoutError), timeout(0.5):
        crate.run(["tail", "-f", "/dev/null"])
    assert "tail" not in crate.run(["ps"], text=True).stdout


def test_what_was_made_for_a_block_is_gone_after_a_timeout(blocking: Client, name: str) -> None:
    def work() -> None:
        with timeout(60) as limit, blocking.instances.temporary("busybox", name) as box:
            limit.reschedule(0.1)
            box.run(["tail", "-f", "/dev/null"])

    with pytest.raises(TimeoutError):
        work()
    assert not blocking.instances.exists(name)


def test_one_client_in_many_threads(blocking: Client) -> None:
    found = list[str]()

    def work() -> None:
        found.extend(blocking.profiles.get("default").name for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["default"] * 48


async def test_it_works_while_a_loop_runs(blocking: Client) -> None:
    assert blocking.profiles.exists("default")


def test_after_disconnecting_it_connects_again(blocking: Client) -> None:
    blocking.disconnect()
    assert not [thread for thread in threading.enumerate() if thread.name == "incus-sdk"]
    assert blocking.profiles.exists("default")


def test_disconnecting_ends_what_other_threads_wait_for(blocking: Client) -> None:
    errors = list[Exception]()

    def work() -> None:
        try:
            next(events)
        except Exception as error:
            errors.append(error)

    with blocking.events.listen(["lifecycle"]) as events:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(0.2)
        blocking.disconnect()
        thread.join(10)
    assert [type(error) for error in errors] == [IncusClosedError]


PROGRAM = """
import os, signal, sys
from incus_sdk.sync import Client, IncusError
signal.signal(signal.SIGINT, signal.default_int_handler)  # which is not so where the tests run in the background
client = Client(sys.argv[1])
"""


def start(daemon: Daemon, code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-X", "faulthandler", "-c", PROGRAM + code, str(daemon.socket), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    with process:
        try:
            out, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            pytest.fail(f"it does not end, but is here: {process.communicate()[0]}")
        assert process.returncode == 0, out
        return out


@pytest.mark.parametrize("used", [True, False], ids=["parent connected", "parent not connected"])
def test_a_forked_child_makes_its_own_client(daemon: Daemon, used: bool) -> None:
    code = """
if sys.argv[2]:
    client.profiles.exists("default")
    held = client.events.listen().__enter__()
child = os.fork()
if not child:
    try:
        client.profiles.list()
    except IncusError as error:
        print("make a client in the child" in str(error), flush=True)
    loaded = set(sys.modules)
    with Client(sys.argv[1]) as mine:
        print(mine.profiles.exists("default"), flush=True)
    print(not (sys.argv[2] and set(sys.modules) - loaded), flush=True)  # what the parent used is not loaded again
    sys.exit(0)
print(os.waitpid(child, 0)[1], client.profiles.exists("default"))
"""
    assert ended(start(daemon, code, "yes" if used else "")).split() == ["True"] * 3 + ["0", "True"]


INTERRUPTED = {
    "request": 'client.query("GET", f"/1.0/operations/{operation.id}/wait?timeout=-1")',
    "operation": "operation.wait()",
    "progress of an operation": "list(operation.progress())",
    "events": """
with client.events.listen() as events:
    list(events)
""",
    "condition": "box.wait_for(begun)",
    "condition of the server": 'box.wait_for("stopped")',
    "run": "box.run(SLEEP, stdout=begun)",
    "input that does not come": "box.run(['cat'], input=never)",
    "process": """
with box.open_process(SLEEP) as process:
    list(process.stdout)
""",
    "end of a process": """
with box.open_process(SLEEP) as process:
    process.wait()
""",
    "input that is not read": """
with box.open_process(SLEEP) as process:
    while True:
        process.stdin.write(b"x" * 2**20)
""",
    "console": """
with box.console() as console:
    console.stdout.read()
""",
    "websocket": """
live = client.instances.execute(box.name, SLEEP, wait_for_websocket=True)
sockets = [live.websocket(name) for name in ("control", "0", "2", "1")]
while sockets[-1].receive():
    pass
""",
    "temporary": """
while True:
    with client.instances.temporary("busybox", box.name + "-a"):
        pass
""",
    "block of a temporary": """
with client.instances.temporary("busybox", box.name + "-b") as other:
    begun()
    other.run(SLEEP)
""",
    "push": "(box.path('/root') / 'x').push(big, progress=begun)",
    "pull": "box.path('/root/big').pull(big + '-x', progress=begun)",
    "files": """
while True:
    for path in box.path("/").iterdir():
        path.stat()
""",
    "tree": """
while True:
    list(box.path("/").walk())
""",
    "writer": """
with box.path("/root/x").open("wb") as file:
    while True:
        file.write(bytes(2**16))
""",
    "image": "client.images.create(open(big, 'rb'), progress=begun, wait=True)",
    "image piece by piece": "client.images.create(pieces(), progress=begun, wait=True)",
    "backup": "client.instances.create_from_backup(open(big, 'rb'), box.name + '-c', progress=begun)",
    "edit": """
while True:
    with box.editing() as draft:
        draft.config["user.x"] = "1"
""",
}
"""A call that does not end, of each kind. Where it does not say when it has begun, it is interrupted after a moment."""


def test_ctrl_c_leaves_nothing_on_the_server_and_the_client_usable(
    daemon: Daemon, clean: None, name: str, tmp_path: Path
) -> None:
    code = f"""
import itertools, threading
box, big, SLEEP = client.instances[sys.argv[2]], sys.argv[3], ["sh", "-c", "echo; exec tail -f /dev/null"]
operation = client.instances.execute(box.name, ["sh", "-c", "until [ -e /root/go ]; do usleep 50000; done"])
never = open(os.pipe()[0], "rb")
def pieces():
    return itertools.repeat(bytes(2**16))
def begun(*_):
    global timer
    if timer is None:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
for kind, call in {INTERRUPTED!r}.items():
    timer = None
    if "begun" not in call:
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
    try:
        exec(compile(call, kind, "exec"))
    except KeyboardInterrupt:
        print(kind, client.instances.exists(box.name), flush=True)
box.path("/root/go").touch()
operation.wait()
"""
    big, client = tmp_path / "big", Client(str(daemon.socket))
    big.touch()
    os.truncate(big, 2**40)
    with client, client.instances.temporary("busybox", name) as crate:
        crate.run(["truncate", "-s", str(2**40), "/root/big"], check=True)
        assert ended(start(daemon, code, name, str(big))).splitlines() == [f"{kind} True" for kind in INTERRUPTED]
        assert "tail" not in crate.run(["ps"], text=True).stdout
        assert sorted(path.name for path in crate.path("/root").iterdir()) == ["big", "go"]
        assert [path.name for path in tmp_path.iterdir()] == ["big"]
        assert [each.name for each in client.instances.list()] == [name]
        for operation in client.operations.list():
            with contextlib.suppress(IncusOperationError):
                operation.wait(timeout=30)


def test_ten_thousand_calls_leave_no_trace(daemon: Daemon) -> None:
    code = """
import asyncio, gc, threading
from concurrent.futures import ThreadPoolExecutor
from incus_sdk.sync._portal import LoopThread
def call(times):
    for _ in range(times):
        client.query("GET", "/")  # which costs the server next to nothing
def measure(calls):
    list(pool.map(call, [calls // 4] * 4))
    gc.collect()
    tasks = client._portal.call(asyncio.all_tasks)
    pages = int(open("/proc/self/statm").read().split()[1])
    return len(tasks), threading.active_count(), len(os.listdir("/proc/self/fd")), len(gc.get_objects()), pages
with client, ThreadPoolExecutor(4) as pool:
    measure(400)
    print(*measure(1_600), *measure(8_000))
"""
    figures = list(map(int, ended(start(daemon, code)).split()))
    tasks, threads, files, objects, pages = (
        after - before for before, after in zip(figures[:5], figures[5:], strict=True)
    )
    assert (tasks, threads, files) == (0, 0, 0)
    assert objects < 500
    assert pages < 500  # 2 MB; a record of each call would take more


def test_a_program_ends_silently_with_open_clients(daemon: Daemon) -> None:
    code = """
client.connect()
events = client.events.listen().__enter__()
another = Client(sys.argv[1])
print(another.profiles.exists("default"))
"""
    assert ended(start(daemon, code)) == "True\n"


@pytest.mark.parametrize("when", ["before", "after"])
def test_greenlets_call_it_side_by_side(daemon: Daemon, crate: Instance, when: str) -> None:
    pytest.importorskip("gevent")
    code = """
import gevent
box = client.instances[sys.argv[2]]
other = Client(sys.argv[1]).instances[sys.argv[2]]
code = "i=0; until [ -e /root/go ] || [ $i = 600 ]; do i=$((i+1)); usleep 50000; done; exit 5"
jobs = [gevent.spawn(lambda box: box.run(["sh", "-c", code]).returncode, each) for each in (box, box, other)]
jobs.append(gevent.spawn(lambda: (box.path("/root/go").write_text(""), 0)[1]))
gevent.joinall(jobs)
print([job.value for job in jobs])
"""
    patch = "from gevent import monkey; monkey.patch_all()"
    program = [patch, PROGRAM, code] if when == "before" else [PROGRAM, patch, code]
    command = [sys.executable, "-c", "\n".join(program), str(daemon.socket), crate.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[5, 5, 5, 0]\n", "")
