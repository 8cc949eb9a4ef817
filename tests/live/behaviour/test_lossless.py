"""Short commands, many at a time, lose nothing: ``benchmarks/lossless.py`` as a test."""

from __future__ import annotations

from typing import Literal

import pytest

from benchmarks.lossless import by_sdk, wrong
from incus_sdk.testing import Daemon

RUNS, AT_ONCE = 200, 20


@pytest.mark.parametrize("kind", ["unix", "https"])
async def test_none_of_many_short_commands_comes_back_wrong(
    daemon: Daemon, clean: None, kind: Literal["unix", "https"]
) -> None:
    async with daemon.client(kind) as client, client.instances.temporary("busybox") as box:
        found, _ = await wrong(by_sdk(box), RUNS, AT_ONCE)
    assert found == 0
