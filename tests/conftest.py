"""How the tests are run: over workers, and what a whole or a quick run is."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.live import again, wire_record

hypothesis.settings.register_profile(
    "tests", deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("incus-sdk")
    group.addoption("--quick", action="store_true", help="no test over HTTPS that is one over the unix socket too")
    group.addoption("--blocking", action="store_true", help="the live tests, all of them through the blocking twin")
    group.addoption("--whole", action="store_true", help="all tests; compare the operations seen with the record")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells start what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # else the programs that tests interrupt inherit it
    config.pluginmanager.register(again)
    seen: wire_record.Seen = defaultdict(set)
    config.stash[wire_record.SEEN] = seen
    if config.option.whole and not hasattr(config, "workerinput"):
        _refuse_a_part(config)
        config.pluginmanager.register(WholeRun(config), "whole-run")


def _refuse_a_part(config: pytest.Config) -> None:
    option = config.option
    if option.keyword or option.markexpr or option.lf or config.args_source is not config.ArgsSource.TESTPATHS:
        raise pytest.UsageError("--whole is a run of all tests: without names, -k, -m or --lf")


@pytest.fixture(scope="module")
def no_thread_of_other_tests() -> None:
    """Waits for the end of the blocking clients' thread, where clients that other tests forgot keep it."""
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "incus-sdk":
            thread.join(60)


_VERSION = re.compile("|".join(map(re.escape, sorted(wire_record.VERSIONS))))


_ROOT = Path(__file__).parents[1]
_BRIDGE = "198.51.100.1/24"  # tests that have a bridge serve addresses here are not run side by side


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Gives workers one group of tests after the other: a file, or what it has for one version of Incus or one
    transport; in the order of the tests.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        case = test.partition("[")[2]
        if file.startswith("tests/docs/"):  # each page has its own daemon
            page = _ROOT / case.rstrip("]")
            return _BRIDGE if page.is_file() and _BRIDGE in page.read_text() else nodeid
        if file == "tests/live/versions/test_ovn.py":
            return _BRIDGE
        if file == "tests/live/test_installed.py":  # each Python takes its time
            return nodeid
        version = _VERSION.search(case)
        transport = case.partition("-")[0].rstrip("]")
        return f"{file} {version[0] if version else transport if transport in ('unix', 'https') else ''}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    config.option.loadscopereorder = False
    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A quick run leaves out the second transport, and a run through the blocking twin all that is not."""

    def is_left_out(item: pytest.Item) -> bool:
        parameters = _parameters(item)
        if config.option.blocking:
            return parameters.get("_way") != "blocking"
        return "https" in parameters.values() and (config.option.quick or parameters.get("_way") == "blocking")

    left_out = [item for item in items if is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _parameters(item: pytest.Item) -> dict[str, object]:
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands what it saw to the process that began it."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["seen"] = {name: sorted(versions) for name, versions in session.config.stash[wire_record.SEEN].items()}


class WholeRun:
    """Compares what all workers saw with the record, or writes it with ``$INCUS_SDK_RECORD``, at the end of a run."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.problems: list[str] = []
        self.said = ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker saw, as it ends."""
        output: dict[str, Any] = getattr(node, "workeroutput", {})
        if "seen" not in output:
            self.problems.append(f"the worker {node.gateway.id} died, and with it what it had seen")
        for name, versions in output.get("seen", {}).items():
            self.config.stash[wire_record.SEEN][name].update(versions)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            self.said = "not compared, as the run did not come to its end"
            return
        seen = self.config.stash[wire_record.SEEN]
        found = wire_record.installed()
        versions = {version for version in wire_record.VERSIONS if version in found.values()}
        if os.environ.get("INCUS_SDK_RECORD") and not wire_record.VERSIONS - versions:
            wire_record.RECORD.write_text(json.dumps(wire_record.as_recorded(seen), indent=0) + "\n")
        self.problems += wire_record.problems(seen, json.loads(wire_record.RECORD.read_text()), versions)
        self.said = f"{len(seen)} operations of the API seen; compared with the record of {sorted(versions)}"
        self.said += "".join(
            f"; there is no {wanted} here, but {is_}" for wanted, is_ in found.items() if wanted != is_
        )
        if self.problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("record of operations")
        for line in (*self.problems, self.said):
            terminalreporter.line(line)
        if self.problems:
            terminalreporter.line("after a change: INCUS_SDK_RECORD=1 scripts/test, then tools/operations.py")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Shows the counts that tests recorded, and which ran again, whichever worker they ran in."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "counts":
                    terminalreporter.line(f"{report.nodeid.rpartition('[')[2].rstrip(']')}: {value}")
                elif name == "again":
                    terminalreporter.line(f"{report.nodeid} {value}")
