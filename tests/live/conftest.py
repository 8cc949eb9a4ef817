"""A private daemon for all live tests, and a check that each leaves nothing behind, neither an object nor a task."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Generator
from contextlib import nullcontext

import pytest

from incus_sdk import Client, Instance
from incus_sdk.testing import Daemon
from tests.live import stuck, through_the_twin, wire_record
from tests.live.boxes import KeptBox

_numbers = itertools.count(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """Notes which operations of the API are seen on the wire, of which version of the server."""
    with wire_record.watching(item.config.stash[wire_record.SEEN]):
        return (yield)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The core runs a second time, through the blocking twin; with ``--blocking`` all tests do, and only so."""
    if ways := through_the_twin.ways(metafunc.definition, everything=metafunc.config.option.blocking):
        metafunc.parametrize("_way", ways, indirect=True)


@pytest.fixture(autouse=True)
def _way(request: pytest.FixtureRequest) -> None:
    """Whether a test runs through the blocking twin."""


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Has a test run through the blocking twin; says what a test waits for that takes too long."""
    try:
        with through_the_twin.given_the_twin(pyfuncitem) if through_the_twin.is_blocking(pyfuncitem) else nullcontext():
            return (yield)
    except pytest.fail.Exception as failure:
        loop = pyfuncitem.funcargs.get("_loop")
        if str(failure).startswith("Timeout") and isinstance(loop, asyncio.AbstractEventLoop):
            daemons = [each for each in pyfuncitem.funcargs.values() if isinstance(each, Daemon)]
            failure.add_note(stuck.report(loop, daemons))
        raise


@pytest.fixture(scope="session", autouse=True)
async def _loop() -> asyncio.AbstractEventLoop:
    """The loop that the tests run in."""
    return asyncio.get_running_loop()


@pytest.fixture(scope="session")
async def daemon() -> AsyncIterator[Daemon]:
    async with Daemon() as daemon:
        yield daemon


@pytest.fixture(scope="module")  # a file can have another daemon
async def _watch(daemon: Daemon) -> AsyncIterator[Client]:
    async with daemon.client() as client:
        yield client


@pytest.fixture
async def clean(daemon: Daemon, _watch: Client) -> AsyncIterator[None]:
    """Fails the test that leaves an object in the daemon or a task in the loop."""
    tasks, before = asyncio.all_tasks(), await _objects(_watch)
    yield
    after = await _objects(_watch)
    assert after == before, f"left in the daemon: {after - before}, missing: {before - after}"
    async with asyncio.timeout(60):  # what is being closed may take a moment
        while left := asyncio.all_tasks() - tasks - {asyncio.current_task()}:
            await asyncio.wait(left)


@pytest.fixture(params=["unix", "https"])
async def client(daemon: Daemon, clean: None, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A connected client, once over each transport."""
    async with daemon.client(request.param) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t{next(_numbers)}"


@pytest.fixture(scope="module")
async def _kept(daemon: Daemon) -> AsyncIterator[KeptBox]:
    kept = KeptBox(daemon)
    yield kept
    async with daemon.client() as client:
        await kept.delete(client)


@pytest.fixture
async def kept_box(client: Client, _kept: KeptBox) -> AsyncIterator[Instance]:
    """A running busybox container that tests of a file share, as long as they leave it as it was."""
    yield await _kept.take(client)
    await _kept.give_back(client)


@pytest.fixture
async def box(client: Client, name: str) -> AsyncIterator[Instance]:
    """A running busybox container."""
    box = await client.instances.create(name, {"type": "image", "alias": "busybox"}, start=True, wait=True)
    yield box
    if await box.exists():
        if (await box.refresh()).status != "Stopped":
            await box.stop(force=True, wait=True)
        await box.delete(wait=True)


async def _objects(client: Client) -> set[str]:
    found: set[str] = set()
    for path in ("instances", "images", "images/aliases", "networks", "projects", "certificates", "storage-pools"):
        everywhere = path in ("instances", "networks")
        found.update(await client.query("GET", f"/1.0/{path}", query={"all-projects": everywhere}))
    found.update(await client.query("GET", "/1.0/profiles"))
    found -= {path for path in found if path.startswith(f"/1.0/instances/{KeptBox.NAMES}")}
    found.update(await client.query("GET", "/1.0/storage-pools/default/volumes/custom"))
    return found
