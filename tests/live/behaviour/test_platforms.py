"""Where the SDK runs: over HTTPS it needs nothing of the system that only Linux has, and any event loop will do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import uvloop

from incus_sdk import LifecycleEvent
from incus_sdk.testing import Daemon


async def test_without_what_windows_lacks_it_works_over_https_or_says_what_it_needs(
    daemon: Daemon, clean: None, tmp_path: Path
) -> None:
    program = "import tests.live.like_windows; from tests.live.over_https import main; main()"
    given = (daemon.url, *daemon.client_cert, daemon.certificate, tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program, *map(str, given)),
        cwd=Path(__file__).parents[3],
        env={**os.environ, "INCUS_CONF": str(tmp_path / "incus")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b""), out.decode()
    async with daemon.client() as client:
        for certificate in await client.certificates.list():
            if certificate.name == "windows":
                await certificate.delete()


@pytest.mark.parametrize("kind", ["unix", "https"])
async def test_it_runs_on_uvloop(daemon: Daemon, clean: None, tmp_path: Path, kind: Literal["unix", "https"]) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)

    async def use() -> None:
        async with (
            daemon.client(kind) as client,
            client.events.listen(["lifecycle"]) as events,
            client.instances.temporary("busybox") as box,
        ):
            assert isinstance(await anext(aiter(events)), LifecycleEvent)
            assert (await box.run(["cat"], input=content)).stdout == content
            with pytest.raises(TimeoutError):
                await box.run(["sleep", "100"], timeout=0.2, grace=0)
            await box.path("/root/file").push(tmp_path / "file")
            assert await box.path("/root/file").read_bytes() == content
            await asyncio.gather(*(client.instances.list() for _ in range(50)))

    def run_it() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop, debug=True) as runner:
            runner.run(use())

    await asyncio.to_thread(run_it)
