"""The example for Inspect AI, by that package's own checks of providers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from inspect_ai.util._sandbox.self_check import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]

from examples.inspect_sandbox import IncusConfig, IncusSandbox
from incus_sdk.testing import Daemon
from tests.live.sandbox.conftest import one_version

pytestmark = one_version

KNOWN = {
    "test_read_file_not_allowed": "root may read everything",
    "test_write_text_file_without_permissions": "root may write everything",
    "test_write_binary_file_without_permissions": "root may write everything",
}

ADDUSER = """#!/bin/sh
[ "$1" = --help ] && exit
for name; do :; done
echo "$name:x:1000:1000::/:/bin/sh" >> /etc/passwd
"""


@pytest.fixture(scope="module")
async def sample(daemon: Daemon) -> AsyncIterator[IncusSandbox]:
    config = IncusConfig(image="busybox", size=0, memory="256MiB", disk="512MiB")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INCUS_SOCKET", str(daemon.socket))
        await IncusSandbox.task_init("task", config)
    environments = await IncusSandbox.sample_init("task", config, {})
    sample = environments["default"].as_type(IncusSandbox)
    # What other images have, and checks look for.
    await sample.exec(["ln", "-s", "/bin/busybox", "/usr/bin/env"])
    await sample.box.write("/bin/adduser", ADDUSER, mode=0o755)
    yield sample
    await IncusSandbox.sample_cleanup("task", config, environments, False)
    await IncusSandbox.task_cleanup("task", config, True)


@pytest.fixture
def sandbox_env(sample: IncusSandbox, request: pytest.FixtureRequest) -> IncusSandbox:
    """What the checks ask for."""
    if reason := KNOWN.get(request.node.originalname):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    return sample


async def test_a_human_gets_in(sample: IncusSandbox) -> None:
    connection = await sample.connection()
    assert connection.command == f"incus exec {connection.container} -- su -"
