"""The pytest plugin on real servers: a private daemon, and a remote, of which it uses a project of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from incus_sdk.sync import Client
from incus_sdk.testing import Daemon

pytest_plugins = "pytester"

SETTINGS = """
[pytest]
asyncio_default_fixture_loop_scope = function
"""

TESTS = """
import asyncio, pytest

BUSYBOX = {"type": "image", "alias": "busybox"}


@pytest.mark.parametrize("number", [1, 2])
def test_the_server_is_empty_and_is_left_empty(incus, number):
    assert incus.instances.list() == []
    incus.instances.create("c1", BUSYBOX, wait=True)
    incus.storage_pools["default"].volumes.create("custom/v")


def test_a_box_runs(incus, incus_box):
    assert [each.name for each in incus.instances.list()] == [incus_box.name]
    assert incus_box.run(["echo", "hi"], text=True).stdout == "hi\\n"


@pytest.mark.asyncio
async def test_a_box_runs_async(async_incus, async_incus_box):
    assert [each.name for each in await async_incus.instances.list()] == [async_incus_box.name]
    assert (await async_incus_box.run(["echo", "hi"], text=True)).stdout == "hi\\n"
"""

ON_A_DAEMON = """
def test_all_talk_to_the_same_daemon(incus, incus_daemon, async_incus_daemon):
    assert async_incus_daemon.socket == incus_daemon.socket
    incus.profiles.create("p")
    with incus_daemon.client() as client:
        assert client.profiles.get("p").name == "p"


def test_it_has_nothing_of_other_tests(incus):
    assert [each.name for each in incus.profiles.list()] == ["default"]
"""

SHARED = """
names = set()


def test_one(incus_box):
    names.add(incus_box.name)


def test_two(incus_box, incus):
    names.add(incus_box.name)
    assert len(names) == len(incus.instances.list()) == 1
"""

INTERRUPTED = """
import os, signal

def test_blocking(incus, incus_box):
    incus.instances.create("c1", {"type": "image", "alias": "busybox"}, wait=True)
    os.kill(os.getpid(), signal.SIGINT)
"""

INTERRUPTED_ASYNC = """
import pytest, signal

@pytest.mark.asyncio
async def test_async(async_incus, async_incus_box):
    await async_incus.instances.create("c1", {"type": "image", "alias": "busybox"}, wait=True)
    signal.raise_signal(signal.SIGINT)
    await async_incus_box.run(["sleep", "60"])
"""


Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run pytest in a process of its own, which leaves no temporary file."""
    pytester.makeini(SETTINGS)
    with tempfile.TemporaryDirectory() as directory:  # with a short path, which containers can pass
        os.chmod(directory, 0o755)
        monkeypatch.setenv("TMPDIR", directory)
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # that of this process

        def run(text: str, *options: str) -> pytest.RunResult:
            path = pytester.makepyfile(text)
            result = pytester.runpytest_subprocess(
                "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *options, path
            )
            assert [path for path in Path(directory).iterdir() if path.name.startswith("incus-sdk-")] == []
            return result

        yield run


@pytest.fixture
def remote(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The session's daemon as a remote of the ``incus`` command."""
    configuration = f"remotes: {{lab: {{addr: 'unix://{daemon.socket}', protocol: incus}}}}\n"
    (tmp_path / "config.yml").write_text(configuration)
    monkeypatch.setenv("INCUS_CONF", str(tmp_path))
    return "--incus=lab"


@pytest.mark.usefixtures("clean")
def test_each_worker_has_projects_of_its_own_on_a_remote(run: Run, remote: str) -> None:
    run(TESTS, remote, "-n", "2").assert_outcomes(passed=4)


@pytest.mark.usefixtures("clean")
def test_a_box_can_be_shared(run: Run, remote: str) -> None:
    run(SHARED, remote, "--incus-box-scope=module").assert_outcomes(passed=2)


@pytest.mark.usefixtures("clean")
def test_an_interrupted_run_leaves_nothing_on_a_remote_and_removes_what_a_killed_one_left(
    run: Run, remote: str, daemon: Daemon
) -> None:
    run(INTERRUPTED.replace("SIGINT", "SIGKILL"), remote)
    with Client(str(daemon.socket)) as client:
        assert len([each for each in client.projects.list() if each.name.startswith("pytest-main-")]) == 1
    assert run(INTERRUPTED_ASYNC, remote).ret == pytest.ExitCode.INTERRUPTED


def test_on_a_private_daemon(run: Run) -> None:
    run(TESTS + ON_A_DAEMON, "--incus=real").assert_outcomes(passed=6)


def test_an_interrupted_run_leaves_no_daemon(run: Run) -> None:
    assert run(INTERRUPTED, "--incus=real").ret == pytest.ExitCode.INTERRUPTED
