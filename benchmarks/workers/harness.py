"""What every worker does: one job some times, and what that cost. Needs nothing but Python, of any environment."""

from __future__ import annotations

import itertools
import json
import operator
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MB = 2**20
CO_COROUTINE = 0x80  # as `inspect` has it
PIECE = 64 * 1024  # bytes in which a stream is sent
AT_ONCE = {"get_at_once": 100, "exec_at_once": 50}

FIELDS = (
    *("architecture", "config", "created_at", "description", "devices", "ephemeral", "expanded_config"),
    *("expanded_devices", "last_used_at", "location", "name", "profiles", "project", "stateful", "status"),
    *("status_code", "type"),
)
STATE_FIELDS = ("status", "status_code", "pid", "processes", "network", "disk", "started_at")
INNER_FIELDS = {
    "cpu": ("usage", "allocated_time"),
    "memory": ("usage", "usage_peak", "total", "swap_usage", "swap_usage_peak"),
}


@dataclass(frozen=True)
class Task:
    """What the runner asks of a worker."""

    competitor: str
    job: str
    count: int
    https: bool
    socket: str
    url: str
    certificate: str
    key: str
    server_certificate: str
    incus_dir: str
    instance: str
    fingerprint: str
    """Of the image that is exported."""
    remote: str
    """The folder in the instance, on tmpfs, with ``big`` and ``tree``; what is pushed goes into ``new``."""
    local: str
    """The same here, and ``image.tar``; what is pulled goes into ``new``."""
    megabytes: int
    events: int
    replayed: bool
    """Whether a replay is at the socket, and not the daemon."""
    recursion: int = 1
    fields: bool = False
    """Whether all fields of a list's instances are read."""

    @property
    def warm(self) -> int:
        """How often the job is done before it is measured."""
        return max(self.count // 10, 1)

    @property
    def size(self) -> int:
        return self.megabytes * MB


class Worker:
    """A competitor: methods that do a job ``count`` times, plain or async; connected before the clock starts."""

    processes = False
    """Whether the work is done by processes that it starts; then their cost is counted, and not its own."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._numbers = itertools.count()

    def new_local(self) -> str:
        """A local path that does not exist."""
        return f"{self.task.local}/new/{os.getpid()}-{next(self._numbers)}"

    def new_remote(self) -> str:
        """A path in the instance that does not exist."""
        return f"{self.task.remote}/new/{os.getpid()}-{next(self._numbers)}"

    @classmethod
    def can(cls, task: Task) -> bool:
        """Whether it has something for this job."""
        return hasattr(cls, task.job)

    def connect(self) -> Any: ...

    def close(self) -> Any: ...


def read_attributes(instances: list[Any], recursion: int) -> None:
    """Read every field of records."""
    read = operator.attrgetter(*FIELDS)
    for instance in instances:
        read(instance)
    if recursion == 2:
        read_state = operator.attrgetter(*STATE_FIELDS)
        inner = [(name, operator.attrgetter(*names)) for name, names in INNER_FIELDS.items()]
        for instance in instances:
            state = instance.state
            read_state(state)
            for name, read_inner in inner:
                read_inner(getattr(state, name))


def read_keys(instances: list[Any], recursion: int) -> None:
    """Read every field of the JSON itself."""
    read = operator.itemgetter(*FIELDS)
    for instance in instances:
        read(instance)
    if recursion == 2:
        read_states([instance["state"] for instance in instances])


def read_states(states: list[Any]) -> None:
    """Read every field of the JSON of states."""
    read = operator.itemgetter(*STATE_FIELDS)
    inner = [(name, operator.itemgetter(*names)) for name, names in INNER_FIELDS.items()]
    for state in states:
        read(state)
        for name, read_inner in inner:
            read_inner(state[name])


def zeros(size: int) -> list[bytes]:
    """Content to send, as pieces that are one and the same."""
    return [bytes(PIECE)] * (size // PIECE)


def check_size(size: int, wanted: int) -> None:
    if size != wanted:
        raise ValueError(f"{size} bytes of {wanted} came")


class Clock:
    """Processor and wall time since it was made."""

    def __init__(self, processes: bool) -> None:
        self._processes = processes
        self._cpu, self._wall = self._used(), time.perf_counter()

    def _used(self) -> float:
        if not self._processes:
            return time.process_time()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def figures(self, count: int) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self._wall, self._used() - self._cpu
        return {"cpu": cpu / count, "wall": wall / count, "peak": self._peak()}

    def _peak(self) -> float:
        """MiB. Not by ``ru_maxrss`` of this process: that remembers what was before ``exec``."""
        if self._processes:
            return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def measure(worker: Worker, task: Task) -> dict[str, float]:
    work = getattr(worker, task.job)
    warm = task.warm

    async def measure_in_loop() -> dict[str, float]:
        await worker.connect()
        try:
            await work(warm)
            clock = Clock(worker.processes)
            await work(task.count)
            return clock.figures(task.count)
        finally:
            await worker.close()

    if work.__code__.co_flags & CO_COROUTINE:
        import asyncio  # not before: the process is to be small where it only starts others

        return asyncio.run(measure_in_loop())
    worker.connect()
    try:
        work(warm)
        clock = Clock(worker.processes)
        work(task.count)
        return clock.figures(task.count)
    finally:
        worker.close()


def task() -> Task:
    """What the command line says."""
    return Task(**json.loads(sys.argv[1]))


def main(competitor: type[Worker]) -> None:
    """Do the job of the command line, and print the figures or why there are none."""
    wanted = task()
    if not competitor.can(wanted):
        print(json.dumps({"missing": True}))
        return
    try:
        print(json.dumps(measure(competitor(wanted), wanted)))
    except Exception as error:  # whatever a competitor raises is its result
        message = " ".join(f"{type(error).__name__}: {error}".split())
        print(json.dumps({"error": message}))
