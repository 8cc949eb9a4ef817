"""What requests cost, beside bare aiohttp in the same run: ``scripts/benchmark --quick`` as a test."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from benchmarks.cost import logging_cost
from benchmarks.jobs import COMPETITORS, QUICK, Job
from benchmarks.measuring import measure
from benchmarks.stage import QUICK as SCALE
from benchmarks.stage import Stage, open_stage

PAIR = [COMPETITORS["sdk"], COMPETITORS["aiohttp"]]
ROUNDS, ATTEMPTS = 2, 6

MOST = {
    "get": 1.2,
    "get-100": 1.2,
    "exec": 1.5,
    "exec-50": 1.5,
    "list-200-r1": 1.6,
    "out": 2.0,
    "out-streamed": 3.0,
    "in": 1.8,
}
"""Client CPU in times of aiohttp's. The aims are lower: these are wide, so that they hold on a busy machine."""


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with open_stage(SCALE) as stage:
        yield stage


@pytest.mark.parametrize("job", QUICK, ids=lambda job: job.name)
async def test_it_costs_about_what_bare_aiohttp_does(stage: Stage, job: Job) -> None:
    """The least of some rounds each; of more where that is too much, as a busy machine makes them differ."""
    least: dict[str, float] = {}
    for _ in range(ATTEMPTS):
        for name, outcome in (await measure(stage, job, PAIR, ROUNDS)).items():
            assert outcome.figures, outcome.failure
            least[name] = min(outcome.figures.cpu, least.get(name, outcome.figures.cpu))
        if least["sdk"] < MOST[job.name] * least["aiohttp"]:
            return
    assert least["sdk"] < MOST[job.name] * least["aiohttp"]


ONE_COMMAND = """
import asyncio, sys
from incus_sdk import Client

async def main():
    async with Client(sys.argv[1]) as client:
        result = await client.instances[sys.argv[2]].run(["cat"], input=b"in", check=True)
        assert result.stdout == b"in"

asyncio.run(main())
print(*sys.modules)
"""


async def test_a_process_with_one_short_command_does_not_import_the_library_of_websockets(stage: Stage) -> None:
    task = stage.task(QUICK[0], "sdk")
    program = (sys.executable, "-c", ONE_COMMAND, task.socket, task.instance)
    loaded = (await asyncio.to_thread(subprocess.check_output, program)).split()
    assert b"incus_sdk.process" in loaded
    assert b"websockets" not in loaded


def test_logging_that_is_off_is_free() -> None:
    taken = logging_cost()
    assert taken["check"] < 0.01 * taken["off"]
