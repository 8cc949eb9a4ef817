"""The fake does as the real servers do: all get the same requests, and the shapes of their answers are compared.

Where the versions of Incus differ, the fake may do as either. What it does of each operation of the API is written into
``tools/incus-api/fake.json``, from which ``tools/operations.py`` makes the tables of the documentation.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from incus_sdk import IncusAPIError
from incus_sdk.testing import Daemon, Fake
from tests.live.conformance.recorder import Recorder
from tests.live.conformance.scenarios import SCENARIOS
from tests.live.conformance.shapes import NOT_DONE, misfits
from tests.live.roots import ROOTS
from tests.live.wire_record import API, OPERATIONS, operation

Scenario = Callable[[Recorder], Awaitable[None]]

RECORD = API / "fake.json"
ELSEWHERE = {"GET /1.0/instances/{}/sftp"}
"""What is compared in `test_inside`."""


@dataclass
class Compared:
    """What was compared: the operations that were found equal, and those of which the fake does not do everything."""

    scenarios: int = 0
    equal: set[str] = field(default_factory=set[str])
    partly: set[str] = field(default_factory=set[str])


@pytest.fixture(scope="module")
def compared() -> Compared:
    return Compared()


@pytest.fixture(scope="module")
async def real() -> AsyncIterator[list[Path]]:
    """The sockets of the real servers."""
    async with AsyncExitStack() as stack:
        yield [(await stack.enter_async_context(Daemon(root=root))).socket for root in ROOTS.values()]


async def record(socket: Path, scenario: Scenario) -> Recorder:
    async with Recorder(socket) as recorder:
        await scenario(recorder)
    return recorder


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_fake_does_as_the_real_servers(scenario: Scenario, real: list[Path], compared: Compared) -> None:
    async with Fake() as fake:
        assert all(path.exists() for path in fake.client_cert)  # it trusts one, as a real one of ours does
        ours, *theirs = await asyncio.gather(*(record(socket, scenario) for socket in (fake.socket, *real)))
    found = dict[str, list[str]]()
    for step in ours.steps:
        others = [each.shape for recorder in theirs for each in recorder.steps if each.label == step.label]
        wrong = misfits(step.shape, others) if others else ["+ a step that no real server came to"]
        operations = {name for request in step.requests if (name := operation(*request))}
        (compared.partly if wrong == [NOT_DONE] else compared.equal).update(operations)
        if wrong not in ([], [NOT_DONE]):
            found[step.label] = wrong
    report = "\n".join(line for label, lines in found.items() for line in (label, *lines))
    assert not report, report
    compared.scenarios += 1


async def test_the_record_says_what_the_fake_does(compared: Compared) -> None:
    if compared.scenarios < len(SCENARIOS):
        pytest.skip("not all scenarios were compared")
    done = {name: await state(name, compared) for name in sorted(OPERATIONS)}
    if os.environ.get("INCUS_SDK_RECORD"):
        RECORD.write_text(json.dumps(done, indent=0) + "\n")
    assert done == json.loads(RECORD.read_text()), "after a change: INCUS_SDK_RECORD=1, then tools/operations.py"


async def state(name: str, compared: Compared) -> str:
    """What the fake does of an operation, in a word."""
    method, _, path = name.partition(" ")
    async with Fake() as fake, fake.client() as client:
        try:
            await client.query(method, path.replace("{}", "x"))
        except IncusAPIError as error:
            if error.status_code == 501:
                return "no"
    if name in compared.equal | ELSEWHERE:
        return "partly" if name in compared.partly else "same"
    return "not compared"
