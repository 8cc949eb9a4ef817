"""The async fixtures, which pytest-asyncio runs, or anyio where that is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from .settings import box_scope, server_scope, setting

if TYPE_CHECKING:
    from .. import Client, Instance
    from ..sync.testing import Daemon as BlockingDaemon
    from ..testing import Daemon, Fake
    from .servers import Remote, Server


def fixtures(config: pytest.Config) -> ModuleType:
    """The fixtures, as a plugin. Without one that runs them, each says so to the test that uses it."""
    loaded = {str(getattr(each, "__name__", "")).partition(".")[0] for each in config.pluginmanager.get_plugins()}
    plugin, is_async = ModuleType("incus_sdk_async", __doc__), _async_fixture(loaded)
    plugin.__dict__.update(
        async_incus_fake=is_async(async_incus_fake, scope=server_scope),
        async_incus_daemon=pytest.fixture(async_incus_daemon, scope=server_scope),
        _async_incus_remote=pytest.fixture(_async_incus_remote, scope=server_scope),
        _async_incus_server=pytest.fixture(_async_incus_server),
        _async_incus_box_server=pytest.fixture(_async_incus_box_server, scope=box_scope),
        async_incus=is_async(async_incus, scope="function"),
        async_incus_box=is_async(async_incus_box, scope=box_scope),
    )
    return plugin


def _async_fixture(loaded: set[str]) -> Callable[..., Any]:
    """What marks an async function as a fixture."""
    if "pytest_asyncio" in loaded:
        import pytest_asyncio

        return pytest_asyncio.fixture
    if "anyio" in loaded:
        return pytest.fixture
    return lambda function, scope: pytest.fixture(_unavailable, name=function.__name__)


def _unavailable(request: pytest.FixtureRequest) -> None:
    pytest.fail(f"{request.fixturename} needs pytest-asyncio: pip install 'incus-sdk[pytest]'", pytrace=False)


def async_incus_daemon(incus_daemon: BlockingDaemon) -> Daemon:
    """The daemon that `incus_daemon` is, for async tests: it belongs to no event loop."""
    return incus_daemon._async


def _async_incus_remote(_incus_remote: Remote[Any]) -> Remote[Client]:
    from .. import Client

    return replace(_incus_remote, kind=Client)


def _async_incus_server(request: pytest.FixtureRequest) -> Iterator[Server[Client]]:
    from .servers import server_left_clean

    with server_left_clean(request, "async_") as server:
        yield server


def _async_incus_box_server(request: pytest.FixtureRequest) -> Server[Client]:
    from .servers import server_of

    server: Server[Client] = server_of(request, "async_")
    return server


async def async_incus_fake() -> AsyncIterator[Fake]:
    """A fake Incus server in the event loop of the test: see `incus_sdk.testing.Fake`."""
    from ..testing import Fake

    async with Fake() as fake:
        yield fake


async def async_incus(_async_incus_server: Server[Client]) -> AsyncIterator[Client]:
    """A client of the server that ``--incus`` names."""
    async with _async_incus_server.client() as client:
        yield client


async def async_incus_box(
    pytestconfig: pytest.Config, _async_incus_box_server: Server[Client]
) -> AsyncIterator[Instance]:
    """A running instance on the server that ``--incus`` names, deleted at the end."""
    from .servers import unique

    async with (
        _async_incus_box_server.client() as client,
        client.instances.temporary(setting(pytestconfig, "incus_image"), unique("box")) as box,
    ):
        yield box
