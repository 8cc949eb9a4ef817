"""Runs a test again whose container LXC ended as its console was let go of.

The process that holds a container may then use the console once more after it has closed it, and end with the
container: in one of some thousand times, mostly on a busy machine. No client can help it. LXC 5.0 says so in its log;
with LXC 6.0 all there is to see is a container that a test of a console has not stopped. The second run has daemons of
its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import pytest
from _pytest.runner import runtestprotocol

from incus_sdk import IncusError, sync
from incus_sdk.testing import Daemon

ENDED = "Child process is not killed"
_BOXES = pytest.StashKey[list[str]]()


def ended_by_lxc(item: pytest.Function) -> list[str]:
    """The containers that LXC has ended, by all there is to see while the daemons of a test still run."""
    ended = list[str]()
    for daemon in (each for each in (item.funcargs or {}).values() if isinstance(each, Daemon)):
        with contextlib.suppress(RuntimeError, IncusError):  # it does not run any more
            logs = daemon.directory.glob("logs/*/lxc.log")
            ended += [log.parent.name for log in logs if ENDED in log.read_text()]
            if "console" in item.name:
                with sync.Client(daemon.socket) as client:
                    ended += [box.name for box in client.instances.list(all_projects=True) if box.status == "Stopped"]
    return ended


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Looks for them where a test fails."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        item.stash.setdefault(_BOXES, []).extend(ended_by_lxc(item))
    return report


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Does what pytest does, and once more where a container was ended."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if boxes := item.stash.get(_BOXES, []):
        item.session._setupstate.teardown_exact(None)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        reports[0].user_properties.append(("again", f"ran again: LXC had ended {', '.join(boxes)}"))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
