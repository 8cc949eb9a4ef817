"""The pytest plugin on real servers: a private daemon, and a remote, of which it uses a project of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
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


class Runs:
    """Runs of pytest, in this process or in one of its own, which leave no temporary file."""

    def __init__(self, pytester: pytest.Pytester, temporary: Path) -> None:
        self.pytester, self.temporary = pytester, temporary

    def here(self, text: str, *options: str) -> pytest.RunResult:
        return self._checked(self.pytester.runpytest_inprocess(*self._given(text), *options))

    def apart(self, text: str, *options: str) -> pytest.RunResult:
        return self._checked(self.pytester.runpytest_subprocess(*self._given(text), *options))

    def _given(self, text: str) -> tuple[str | Path, ...]:
        path = self.pytester.makepyfile(text)
        return path, "-p", "no:cacheprovider", "-p", "no:hypothesispytest"

    def _checked(self, result: pytest.RunResult) -> pytest.RunResult:
        assert [path for path in self.temporary.iterdir() if path.name.startswith("incus-sdk-")] == []
        return result


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    pytester.makeini(SETTINGS)
    with tempfile.TemporaryDirectory() as directory:  # with a short path, which containers can pass
        os.chmod(directory, 0o755)
        monkeypatch.setenv("TMPDIR", directory)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Runs(pytester, Path(directory))


@pytest.fixture
def remote(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The session's daemon as a remote of the ``incus`` command."""
    configuration = f"remotes: {{lab: {{addr: 'unix://{daemon.socket}', protocol: incus}}}}\n"
    (tmp_path / "config.yml").write_text(configuration)
    monkeypatch.setenv("INCUS_CONF", str(tmp_path))
    return "--incus=lab"


@pytest.fixture
def blocking(daemon: Daemon) -> Iterator[Client]:
    with Client(str(daemon.socket)) as client:
        yield client


@pytest.mark.usefixtures("clean")
class TestOnARemote:
    def test_each_worker_has_projects_of_its_own(self, run: Runs, remote: str) -> None:
        run.apart(TESTS, remote, "-n", "2").assert_outcomes(passed=4)

    def test_a_box_can_be_shared(self, run: Runs, remote: str) -> None:
        run.here(SHARED, remote, "--incus-box-scope=module").assert_outcomes(passed=2)

    def test_an_interrupted_run_leaves_nothing(self, run: Runs, remote: str) -> None:
        assert run.apart(INTERRUPTED_ASYNC, remote).ret == pytest.ExitCode.INTERRUPTED

    def test_the_project_of_a_killed_run_is_removed_by_the_next(self, run: Runs, remote: str, blocking: Client) -> None:
        run.apart(INTERRUPTED.replace("SIGINT", "SIGKILL"), remote)
        assert len([each for each in blocking.projects.list() if each.name.startswith("pytest-main-")]) == 1
        run.here("def test_nothing(incus): pass", remote).assert_outcomes(passed=1)


def test_on_a_private_daemon(run: Runs) -> None:
    run.here(TESTS + ON_A_DAEMON, "--incus=real").assert_outcomes(passed=6)


def test_an_interrupted_run_leaves_no_daemon(run: Runs) -> None:
    assert run.apart(INTERRUPTED, "--incus=real").ret == pytest.ExitCode.INTERRUPTED
