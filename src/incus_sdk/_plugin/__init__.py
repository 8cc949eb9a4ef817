"""The pytest plugin: fixtures that give tests a fake Incus, a private real one, or a remote, as ``--incus`` says.

pytest imports this module wherever the package is installed, so it imports nothing of the SDK: what a fixture needs is
imported when a test uses it. The async fixtures are in `asynchronous`, which needs a plugin that runs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

try:
    import pytest
except ImportError:
    raise ImportError("the fixtures for tests need pytest: pip install 'incus-sdk[pytest]'") from None

from . import asynchronous
from .settings import SCOPES, box_scope, server_scope, setting

if TYPE_CHECKING:
    from ..sync import Client, Instance
    from ..sync.testing import Daemon, Fake
    from .servers import Remote


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, and the same in a configuration file."""
    group = parser.getgroup("incus", "tests against Incus (incus-sdk)")
    which = (
        "what the fixtures incus and incus_box are: fake (the default), real (a private daemon), or a remote of the "
        "incus command, where tests get a project of their own"
    )
    server = "how long a server is shared: incus_fake (function), incus_daemon (session), a remote's project (function)"
    box = "how long incus_box is shared (function)"
    image = "the image of incus_box (busybox)"
    group.addoption("--incus", metavar="fake|real|REMOTE", help=which)
    group.addoption("--incus-scope", choices=SCOPES, help=server)
    group.addoption("--incus-box-scope", choices=SCOPES, help=box)
    group.addoption("--incus-image", metavar="IMAGE", help=image)
    parser.addini("incus", which, default="fake")
    parser.addini("incus_scope", server, default="")
    parser.addini("incus_box_scope", box, default="function")
    parser.addini("incus_image", image, default="busybox")


def pytest_configure(config: pytest.Config) -> None:
    """The marker, and the async fixtures for whatever plugin runs them."""
    config.addinivalue_line(
        "markers",
        "incus_real: needs a real Incus: has a private daemon even with --incus=fake; skipped if that cannot run",
    )
    for name in ("incus_scope", "incus_box_scope"):
        if (scope := setting(config, name)) not in ("", *SCOPES):
            raise pytest.UsageError(f"{name} is {scope!r}: choose one of {', '.join(SCOPES)}")
    config.pluginmanager.register(asynchronous.fixtures(config), "incus_sdk_async")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a real Incus where none can run, unless the user asked for a real one."""
    if item.get_closest_marker("incus_real") is None or setting(item.config, "incus") != "fake":
        return
    from ..testing import DaemonUnavailableError, preflight

    try:
        preflight()
    except DaemonUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope=server_scope)
def incus_fake() -> Iterator[Fake]:
    """A fake Incus server in this process: see `incus_sdk.sync.testing.Fake`."""
    from ..sync.testing import Fake

    with Fake() as fake:
        yield fake


@pytest.fixture(scope=server_scope)
def incus_daemon() -> Iterator[Daemon]:
    """A private, real daemon: see `incus_sdk.sync.testing.Daemon`."""
    from ..sync.testing import Daemon

    with Daemon() as daemon:
        yield daemon


@pytest.fixture(scope=server_scope)
def _incus_remote(pytestconfig: pytest.Config) -> Iterator[Remote[Client]]:
    from .servers import own_project

    with own_project(setting(pytestconfig, "incus")) as remote:
        yield remote


@pytest.fixture
def incus(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the server that ``--incus`` names."""
    from .servers import server_left_clean

    with server_left_clean(request) as server, server.client() as client:
        yield client


@pytest.fixture(scope=box_scope)
def incus_box(request: pytest.FixtureRequest) -> Iterator[Instance]:
    """A running instance on the server that ``--incus`` names, deleted at the end."""
    from .servers import server_of, unique

    with (
        server_of(request).client() as client,
        client.instances.temporary(setting(request.config, "incus_image"), unique("box")) as box,
    ):
        yield box
