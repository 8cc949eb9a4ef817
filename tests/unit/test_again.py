"""A live test runs again where LXC ended its container, and only there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = "pytester"

TESTS = """
import pytest
from incus_sdk.testing import Daemon

class Standing(Daemon):
    directory = None

@pytest.fixture(scope="session")
def daemon(tmp_path_factory):
    daemon = Standing()
    daemon.directory = tmp_path_factory.mktemp("daemon")
    (daemon.directory / "logs/c1").mkdir(parents=True)
    return daemon

def ends(daemon):
    (daemon.directory / "logs/c1/lxc.log").write_text("ERROR start - Child process is not killed")
    pytest.fail("no container")

def test_the_container_ends_once(daemon, tmp_path_factory):
    ran = tmp_path_factory.getbasetemp() / "ran"
    if not ran.exists():
        ran.touch()
        ends(daemon)
    assert not list(daemon.directory.glob("logs/c1/*"))  # of another daemon

def test_the_container_ends_always(daemon):
    ends(daemon)
"""
CONSOLE = """
import pytest
from incus_sdk.sync.testing import Fake
from incus_sdk.testing import Daemon

class Standing(Daemon):
    directory = socket = None

@pytest.fixture
def daemon(tmp_path):
    with Fake() as fake, fake.client() as client:
        daemon = Standing()
        daemon.directory, daemon.socket, daemon.client = tmp_path, fake.socket, client
        yield daemon

def test_the_console(daemon, ran=[]):
    if not ran:
        ran.append(True)
        daemon.client.instances.create("c1", "busybox", wait=True)
        pytest.fail("no container")
"""
FAULT = """

def test_the_sdk_is_wrong(daemon, tmp_path_factory):
    ran = tmp_path_factory.getbasetemp() / "ran"
    if not ran.exists():
        ran.touch()
        pytest.fail("wrong")
"""


Run = Callable[[str], pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs pytest in a process of its own."""
    lean = [f"no:{name}" for name in ("cacheprovider", "hypothesispytest", "xdist", "timeout", "asyncio")]
    options = [each for name in ("tests.live.again", *lean) for each in ("-p", name)]
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makeconftest("from tests.conftest import pytest_terminal_summary")
    return lambda tests: pytester.runpytest_subprocess(*options, "-W", "ignore", pytester.makepyfile(tests))


def test_it_runs_again_where_lxc_ended_its_container(run: Run) -> None:
    result = run(TESTS)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_the_container_ends_once ran again: LXC had ended c1"])


def test_it_runs_again_where_the_container_of_a_console_has_stopped(run: Run) -> None:
    result = run(CONSOLE)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_the_console ran again: LXC had ended c1"])


def test_it_does_not_run_again_for_another_reason(run: Run) -> None:
    run(TESTS.partition("def ends")[0] + FAULT).assert_outcomes(failed=1)
