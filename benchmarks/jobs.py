"""What is measured, and who is measured."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

CACHE = Path(__file__).parents[1] / ".benchmarks"
WORKERS = Path(__file__).parent / "workers"

Metric = Literal["cpu", "wall", "peak"]


@dataclass(frozen=True)
class Competitor:
    """Who does the jobs.

    Args:
        name: Short, for the command line.
        title: For people.
        worker: The program in ``workers``.
        package: What its environment needs from PyPI; empty for this one's Python.
    """

    name: str
    title: str
    worker: str
    package: str = ""

    @property
    def python(self) -> str:
        return str(CACHE / self.name / "bin" / "python") if self.package else sys.executable


COMPETITORS = {
    each.name: each
    for each in (
        Competitor("sdk", "this SDK", "sdk.py"),
        Competitor("speed", "this SDK with orjson", "sdk.py"),
        Competitor("blocking", "this SDK, blocking", "blocking.py"),
        Competitor("floor", "bare sockets", "floor.py"),
        Competitor("aiohttp", "bare aiohttp", "aiohttp_.py"),
        Competitor("published", "incus-sdk 1.0.0", "published.py", "incus-sdk==1.0.0"),
        Competitor("pylxd", "pylxd 2.4.2", "pylxd_.py", "pylxd==2.4.2"),
        Competitor("pyincusd", "pyincusd 7.5.1", "pyincusd_.py", "pyincusd==7.5.1"),
        Competitor("incus", "`incus`", "processes.py"),
        Competitor("tar", "`tar` by `incus exec`", "processes.py"),
        Competitor("curl", "curl", "processes.py"),
    )
}


@dataclass(frozen=True)
class Group:
    """Jobs that stand in one table and one picture; ``metric``: what the picture shows."""

    name: str
    title: str
    metric: Metric = "cpu"


GROUPS = (
    Group("start", "Start", "wall"),
    Group("requests", "Requests"),
    Group("lists", "Lists"),
    Group("commands", "Commands"),
    Group("streams", "Streams through a command"),
    Group("files", "Files and images", "wall"),
    Group("waiting", "Operations and events"),
    Group("https", "Over HTTPS"),
)


@dataclass(frozen=True)
class Job:
    """Something that all competitors do, as far as they can.

    Args:
        name: Short, for the command line.
        title: For people.
        group: The name of its group.
        work: The method of the workers.
        count: How often a worker does it in each round.
        against: The competitor whose figures are 1.
        options: Fields of the worker's `Task` for this job.
        replayed: The instances in the list that `replay` serves in the place of the daemon; 0 for the daemon.
        https: Whether it goes over HTTPS.
        fresh: Whether each time is a new process.
    """

    name: str
    title: str
    group: str
    work: str
    count: int = 1
    against: str = "aiohttp"
    options: tuple[tuple[str, Any], ...] = ()
    replayed: int = 0
    https: bool = False
    fresh: bool = False


def _lists(instances: int, count: int, replayed: int) -> Iterable[Job]:
    for recursion in (1, 2):
        count = count if recursion == 1 else 4  # the daemon takes a second or more for the states of 200
        for fields in (False, True):
            name = f"list-{instances}-r{recursion}{'-fields' if fields else ''}"
            title = f"{instances:,} instances, recursion {recursion}{', every field read' if fields else ''}"
            options = (("recursion", recursion), ("fields", fields))
            yield Job(name, title, "lists", "list_instances", count, options=options, replayed=replayed)


_START = (
    Job("import", "import, over Python's own start", "start", "import_", 5, fresh=True),
    Job("first-answer", "a process with one `GET /1.0`", "start", "first_answer", 5, fresh=True),
    Job("first-exec", "a process with one command", "start", "first_exec", 5, "incus", fresh=True),
    Job("forked", "a forked child with one `GET /1.0`", "start", "forked", 10, "pylxd"),
    Job("construct", "a client that is not used", "start", "construct", 200, "pylxd"),
)
_WIRE = (
    Job("get", "`GET /1.0`", "requests", "get", 500),
    Job("get-100", "100 `GET /1.0` at once", "requests", "get_at_once", 5),
    Job("exec", "`true` in an instance", "commands", "exec", 60),
    Job("exec-50", "50 of them at once", "commands", "exec_at_once", 3),
    Job("out", "100 MB out, kept", "streams", "out_kept"),
    Job("out-streamed", "100 MB out, piece by piece", "streams", "out_streamed"),
    Job("in", "100 MB in, from memory", "streams", "into"),
    Job("in-file", "100 MB in, from a file", "streams", "into_from_file"),
)
_REST = (
    Job("push", "push of 100 MB", "files", "push", against="curl"),
    Job("pull", "pull of 100 MB", "files", "pull", against="curl"),
    Job("push-tree", "push of 2,000 files", "files", "push_tree", against="incus"),
    Job("pull-tree", "pull of 2,000 files", "files", "pull_tree", against="incus"),
    Job("image-upload", "upload of an image of 50 MB", "files", "upload_image"),
    Job("image-export", "export of an image of 50 MB", "files", "export_image"),
    Job("wait", "freeze and unfreeze, each waited for", "waiting", "wait_for_operation", 20),
    Job("events", "20,000 events", "waiting", "events", replayed=200),
)
_HTTPS = ("get", "get-100", "list-200-r1", "exec", "exec-50", "out", "in")


def _over_https(jobs: Iterable[Job]) -> Iterable[Job]:
    for job in jobs:
        if job.name in _HTTPS:
            title = f"list of {job.title}" if job.group == "lists" else job.title
            yield replace(job, name=f"https-{job.name}", title=title, group="https", https=True)


_LISTS = (*_lists(200, 60, 0), *_lists(1000, 10, 1000))
JOBS = (*_START, *_WIRE[:2], *_LISTS, *_WIRE[2:], *_REST, *_over_https((*_WIRE[:2], *_LISTS, *_WIRE[2:])))

QUICK = (
    *(replace(job, count=count) for job, count in zip(_WIRE[:4], (300, 4, 15, 1), strict=True)),
    replace(next(iter(_lists(200, 10, 200)))),
    *(replace(job, title=job.title.replace("100", "10"), count=4) for job in _WIRE[4:7]),
)
"""For CI: in much less than a minute, this SDK and aiohttp."""


@dataclass(frozen=True)
class Aim:
    """The most that this SDK is to take for a job: in times of ``against``, or as it is if that is empty; or how much
    more than ``over``.
    """

    job: str
    most: float
    metric: Metric = "cpu"
    against: str = "aiohttp"
    by: str = "sdk"
    over: str = ""


AIMS = (
    Aim("import", 0.05, "wall", against=""),
    Aim("import", 25, "peak", against=""),
    Aim("first-answer", 0.1, "wall", against=""),
    Aim("first-answer", 0.67, "wall"),
    Aim("first-exec", 2, "wall", "incus"),
    Aim("get", 0.75),
    Aim("get-100", 0.8),
    Aim("list-200-r1", 1.1),
    Aim("list-200-r1", 0.8, by="speed"),
    Aim("list-200-r1-fields", 1, against="published"),
    Aim("list-200-r2-fields", 1, against="published"),
    Aim("exec", 1),
    Aim("exec-50", 1),
    Aim("out", 1.1),
    Aim("out-streamed", 1.2),
    Aim("out-streamed", 45, "peak", against=""),
    Aim("in", 1.2),
    Aim("in-file", 1.2),
    Aim("in-file", 45, "peak", against=""),
    Aim("push", 0.5, "wall", "curl"),
    Aim("push", 45, "peak", against=""),
    Aim("pull", 0.5, "wall", "curl"),
    Aim("pull", 45, "peak", against=""),
    Aim("push-tree", 0.2, "wall", "incus"),
    Aim("pull-tree", 0.2, "wall", "incus"),
    Aim("get", 120e-6, "wall", "", "blocking", over="sdk"),
    *(Aim(name, 1.2, "wall", "sdk", "blocking") for name in ("out-streamed", "in-file", "push", "pull")),
    Aim("construct", 0.001, "wall", "", "blocking"),
    Aim("first-exec", 2.5, "wall", "incus", "blocking"),
)
"""Seconds and MiB, or ratios. Only printed."""
