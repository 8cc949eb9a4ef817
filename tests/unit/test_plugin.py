"""The pytest plugin with the fake, and where it cannot do what is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = "pytester"

BLOCKING = """
import pytest, sys

BUSYBOX = {"type": "image", "alias": "busybox"}


def test_nothing_is_loaded_before_it_is_used():
    assert not {"incus_sdk.client", "incus_sdk.testing", "incus_sdk.sync"} & sys.modules.keys()


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_has_its_own(incus, incus_fake, number):
    assert incus.instances.list() == []
    incus.instances.create("c1", BUSYBOX, wait=True)
    with incus_fake.client() as client:
        assert client.instances.get("c1").status == "Stopped"
    incus_fake.requests.assert_made("POST", "/1.0/instances")


def test_a_box_is_there(incus, incus_box):
    assert [(each.name, each.status) for each in incus.instances.list()] == [(incus_box.name, "Running")]
"""

ASYNC = """
{mark}
async def test_all_async_fixtures(async_incus, async_incus_box, async_incus_fake):
    async with async_incus_fake.client() as client:
        assert [each.name for each in await client.instances.list()] == [async_incus_box.name]
    assert [each.name for each in await async_incus.instances.list()] == [async_incus_box.name]
"""

SHARED = """
def test_one(incus, incus_fake):
    incus.profiles.create("p")

def test_two(incus, incus_fake):
    assert incus.profiles.get("p").name == "p"
"""

NO_DAEMON = """
import incus_sdk.testing as testing

def preflight():
    raise testing.DaemonUnavailableError("a private Incus daemon cannot run here: no incusd (install Incus)")

testing.preflight = preflight
"""

NEEDS_A_REAL_ONE = """
import pytest

@pytest.mark.incus_real
def test_it(incus): ...
"""


class Runs:
    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester

    def here(self, text: str, *options: str) -> pytest.RunResult:
        """Run pytest in this process: quicker, but only for what uses no fixture."""
        return self.pytester.runpytest_inprocess(*self._given(text, options))

    def apart(self, text: str, *options: str) -> pytest.RunResult:
        """Run pytest in a process of its own."""
        return self.pytester.runpytest_subprocess(*self._given(text, options))

    def _given(self, text: str, options: tuple[str, ...]) -> list[str | Path]:
        lean = [
            each for name in ("cacheprovider", "hypothesispytest", "xdist", "timeout") for each in ("-p", f"no:{name}")
        ]
        return [*lean, "-W", "ignore", *options, self.pytester.makepyfile(text)]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Runs:
    return Runs(pytester)


def test_blocking_and_strict_async_fixtures(run: Runs) -> None:
    text = BLOCKING + ASYNC.format(mark="@pytest.mark.asyncio")
    run.apart(text, "-o", "asyncio_default_fixture_loop_scope=function").assert_outcomes(passed=5)


def test_the_async_mode_auto_and_a_wider_scope(run: Runs) -> None:
    scopes = ("asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope", "incus_scope")
    options = [each for name in scopes for each in ("-o", f"{name}=module")]
    run.apart(ASYNC.format(mark="") + SHARED, "--asyncio-mode=auto", *options).assert_outcomes(passed=3)


def test_anyio_runs_them_where_pytest_asyncio_is_not(run: Runs) -> None:
    text = "import pytest\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n"
    run.apart(text + ASYNC.format(mark="@pytest.mark.anyio"), "-p", "no:asyncio").assert_outcomes(passed=1)


def test_without_either_the_async_fixtures_say_what_they_need(run: Runs) -> None:
    result = run.here("def test_it(async_incus): ...", "-p", "no:asyncio", "-p", "no:anyio")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*async_incus needs pytest-asyncio: pip install 'incus-sdk?pytest?'*"])


def test_what_needs_a_real_one_is_skipped_with_what_is_missing(run: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(NO_DAEMON)
    result = run.here(NEEDS_A_REAL_ONE, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*a private Incus daemon cannot run here: no incusd (install Incus)*"])


def test_whoever_asks_for_a_real_one_gets_an_error_instead(run: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/run")  # where a daemon cannot be
    result = run.apart(NEEDS_A_REAL_ONE, "--incus=real")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*DaemonUnavailableError*"])


def test_only_the_plugin_needs_pytest_and_says_so() -> None:
    code = """
import sys
sys.modules["pytest"] = None
from incus_sdk.sync.testing import Daemon, Fake
try:
    import incus_sdk._plugin
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "the fixtures for tests need pytest: pip install 'incus-sdk[pytest]'\n"


def test_an_unknown_scope_is_refused(run: Runs) -> None:
    result = run.here("", "-o", "incus_scope=forever")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*incus_scope is 'forever': choose one of function, class, module*"])
