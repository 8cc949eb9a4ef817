"""Every operation of the API on each version of Incus that runs here: the machine's own, and 7.0.2 in its own root."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from incus_sdk import Client
from incus_sdk.testing import Daemon

ROOTS = {
    "6.0.4": None,
    "7.0.2": Path(os.environ.get("INCUS_SDK_ROOT7", "/var/cache/incus-sdk/debian-13")),
}
"""The root folders that the versions run in: the machine's own, and the one that ``scripts/install-incus-7`` makes."""


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
