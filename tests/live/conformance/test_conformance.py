"""The fake does as the real servers do: all get the same requests, and the shapes of their answers are compared.

Where the versions of Incus differ, the fake may do as either. What it does of each operation of the API is written into
``tools/incus-api/fake.json``, from which ``tools/operations.py`` makes the tables of the documentation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from incus_sdk.testing import Daemon, Fake
from tests.live.conformance.recorder import Recorder
from tests.live.conformance.scenarios import SCENARIOS
from tests.live.conformance.shapes import NOT_DONE, misfits
from tests.live.roots import ROOTS

Scenario = Callable[[Recorder], Awaitable[None]]


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
async def test_the_fake_does_as_the_real_servers(scenario: Scenario, real: list[Path]) -> None:
    async with Fake() as fake:
        assert fake.client_cert  # from now on it trusts one, as a real one of ours does
        ours, *theirs = await asyncio.gather(*(record(socket, scenario) for socket in (fake.socket, *real)))
    found = dict[str, list[str]]()
    for step in ours.steps:
        others = [each.shape for recorder in theirs for each in recorder.steps if each.label == step.label]
        if wrong := misfits(step.shape, others) if others else ["+ a step that no real server came to"]:
            found[step.label] = wrong
    report = "\n".join(line for label, lines in found.items() for line in (label, *lines) if lines != [NOT_DONE])
    assert not report, report
