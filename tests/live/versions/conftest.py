"""Every operation of the API on each version of Incus that runs here: the machine's own, and 7.0.2 in its own root."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from incus_sdk import Client
from incus_sdk.testing import Daemon
from tests.live import ovn as ovn_programs
from tests.live import promises
from tests.live.roots import ROOTS


@pytest.fixture(scope="session", params=ROOTS)
async def daemon(request: pytest.FixtureRequest) -> AsyncIterator[Daemon]:
    async with Daemon(root=ROOTS[request.param]) as daemon:
        yield daemon


@pytest.fixture
async def client(daemon: Daemon, clean: None, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A connected client: each version over another transport, as other tests do both."""
    version = request.node.callspec.params["daemon"]
    async with daemon.client("unix" if version == "6.0.4" else "https") as client:
        yield client


@pytest.fixture(scope="module", params=ROOTS)
async def ovn(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A connected client of a daemon with OVN and the bridge ``uplink``, which networks of OVN can have as theirs.

    They can have addresses in 203.0.113.0/24; 198.51.100.0/24 is the uplink's.
    """
    async with Daemon(root=ROOTS[request.param]) as daemon, daemon.client() as client:
        await ovn_programs.start(daemon)
        config = {
            "ipv4.address": "198.51.100.1/24",
            "ipv4.dhcp.ranges": "198.51.100.10-198.51.100.99",
            "ipv4.nat": "false",
            "ipv4.ovn.ranges": "198.51.100.100-198.51.100.199",
            "ipv4.routes": "203.0.113.0/24",
            "ipv6.address": "none",
        }
        await client.networks.create("uplink", type="bridge", config=config)
        yield client


@pytest.fixture(autouse=True)
def _records_keep_their_promises() -> Iterator[None]:
    """What the servers sent has the types that the SDK says, and survives reading and writing unchanged."""
    with promises.collecting() as records:
        yield
    for record in records:
        if getattr(record, "_loaded", True):
            promises.check(record)
