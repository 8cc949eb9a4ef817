"""A private daemon on btrfs for the tests of sandboxes, and a pool that they share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from incus_sdk import Client
from incus_sdk.sandbox import Limits, Pool
from incus_sdk.testing import Daemon
from tests.live.roots import ROOTS

LIMITS = Limits(cpu=0.5, memory="64MiB", processes=32, disk="64MiB", unenforced="accept")
"""Small ones. Of Incus 7.0, this kernel keeps only that of the disk."""


@pytest.fixture(scope="session", params=ROOTS)
async def daemon(request: pytest.FixtureRequest) -> AsyncIterator[Daemon]:
    async with Daemon(root=ROOTS[request.param], storage="btrfs") as daemon:
        yield daemon


@pytest.fixture(scope="module")
async def client(daemon: Daemon) -> AsyncIterator[Client]:
    """A connected client; no test of a file may leave an instance behind."""
    async with daemon.client() as client:
        yield client
        assert [each.name for each in await client.instances.list()] == []


@pytest.fixture(scope="module")
async def pool(client: Client) -> AsyncIterator[Pool]:
    """A pool that the tests of a file share."""
    async with Pool(client, "busybox", size=1, limits=LIMITS, labels={"app": "tests"}) as pool:
        yield pool


one_version = pytest.mark.parametrize("daemon", ["6.0.4"], indirect=True)
"""For what is not up to the server."""
