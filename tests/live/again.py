"""Runs a test again whose container LXC ended, which its log says.

When a console is let go of, the process that holds a container may read from it once more after it has closed it, and
then ends the container: LXC 5.0 does so in one of some thousand times, mostly on a busy machine. No client can help
it. The second run has daemons of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from _pytest.runner import runtestprotocol

from incus_sdk.testing import Daemon

ENDED = "Child process is not killed"
_BOXES = pytest.StashKey[list[str]]()


def ended_by_lxc(daemon: Daemon) -> Iterator[str]:
    """The containers that LXC ended though their first process lived."""
    return (log.parent.name for log in daemon.directory.glob("logs/*/lxc.log") if ENDED in log.read_text())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Looks for them while the daemons of a test that failed still run."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        daemons = [each for each in (item.funcargs or {}).values() if isinstance(each, Daemon)]
        item.stash.setdefault(_BOXES, []).extend(box for daemon in daemons for box in ended_by_lxc(daemon))
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
