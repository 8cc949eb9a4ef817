"""Runs the workers in turn: in each round every competitor does the job, so that a busy moment hits all alike."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.jobs import CACHE, WORKERS, Competitor, Job
from benchmarks.stage import Stage

LIMIT = 300  # seconds for a worker
TOO_LONG = f"not done after {LIMIT} seconds"


@dataclass(frozen=True)
class Figures:
    """Of one competitor in one job: seconds for each time, and MiB at most."""

    cpu: float
    cpu_median: float
    wall: float
    wall_median: float
    peak: float

    @classmethod
    def of(cls, rounds: Sequence[dict[str, float]]) -> Figures:
        cpu, wall = ([each[name] for each in rounds] for name in ("cpu", "wall"))
        peak = max(each["peak"] for each in rounds)
        return cls(min(cpu), statistics.median(cpu), min(wall), statistics.median(wall), peak)

    def without(self, other: Figures) -> Figures:
        """Less what another took; the memory stays."""
        mine, theirs = asdict(self), asdict(other)
        return Figures(**{name: mine[name] - (theirs[name] if name != "peak" else 0) for name in mine})


@dataclass(frozen=True)
class Outcome:
    """What came of a competitor in a job: figures, and why some rounds have none; neither if it has nothing for it."""

    figures: Figures | None
    failure: str = ""


async def measure(stage: Stage, job: Job, competitors: Sequence[Competitor], rounds: int) -> dict[str, Outcome]:
    """The outcome of each competitor."""
    taken: dict[str, list[dict[str, float]]] = {each.name: [] for each in competitors}
    failures: dict[str, list[str]] = {each.name: [] for each in competitors}
    idle: set[str] = set()
    for number in range(rounds):
        turn = number % len(competitors)
        for competitor in (*competitors[turn:], *competitors[:turn]):
            if competitor.name in idle:
                continue
            answer = await _run_worker(stage, job, competitor)
            if "cpu" in answer:
                taken[competitor.name].append(answer)
                continue
            if error := answer.get("error"):
                failures[competitor.name].append(error)
            if not error or error == TOO_LONG or (number == 1 and not taken[competitor.name]):
                idle.add(competitor.name)
    outcomes: dict[str, Outcome] = {}
    for name, figures in taken.items():
        failure = f"{failures[name][0]} ({len(failures[name])} of {rounds} rounds)" if failures[name] else ""
        if failure and not figures:
            failure = failures[name][0]
        outcomes[name] = Outcome(Figures.of(figures) if figures else None, failure)
    if job.work == "import_" and (python := outcomes.pop("floor").figures):
        for name, outcome in outcomes.items():
            if outcome.figures:
                outcomes[name] = Outcome(outcome.figures.without(python))
    return outcomes


async def _run_worker(stage: Stage, job: Job, competitor: Competitor) -> dict[str, Any]:
    worker = "processes.py" if job.fresh else competitor.worker
    command = [competitor.python, str(WORKERS / worker), json.dumps(asdict(stage.task(job, competitor.name)))]
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=null, stdout=pipe, stderr=pipe, env=_environment())
    try:
        async with asyncio.timeout(LIMIT):
            stdout, stderr = await process.communicate()
        problem = await stage.check(job)
    except TimeoutError:
        return {"error": TOO_LONG}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await stage.clean()
    lines = stdout.decode().splitlines()
    if process.returncode or not lines:
        return {"error": (stderr.decode(errors="replace").strip().splitlines() or ["it ended without a word"])[-1]}
    answer: dict[str, Any] = json.loads(lines[-1])
    return {"error": problem} if problem and "cpu" in answer else answer


def _environment() -> dict[str, str]:
    """Without what would lead libraries elsewhere, or to other certificates, or have them compiled at each start."""
    hidden = ("_proxy", "_ca_bundle", "ssl_cert_file", "ssl_cert_dir", "pythondontwritebytecode")
    return {name: value for name, value in os.environ.items() if not name.lower().endswith(hidden)}


def make_environments(competitors: Sequence[Competitor]) -> list[Competitor]:
    """Install what the competitors are, each in an environment of its own; those for which that failed are left out."""
    return [each for each in competitors if not each.package or _install(each)]


def _install(competitor: Competitor) -> bool:
    directory, mark = CACHE / competitor.name, CACHE / competitor.name / "package"
    if mark.exists() and mark.read_text() == competitor.package:
        return True
    print(f"benchmark: installing {competitor.package}", file=sys.stderr)
    pip = [competitor.python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", competitor.package]
    for command in ([sys.executable, "-m", "venv", "--clear", str(directory)], pip):
        if subprocess.run(command).returncode:
            print(f"benchmark: {competitor.package} cannot be installed; it is left out", file=sys.stderr)
            return False
    mark.write_text(competitor.package)
    return True
