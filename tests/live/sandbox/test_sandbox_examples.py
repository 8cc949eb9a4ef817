"""The programs in ``examples`` that use sandboxes do what they say."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from incus_sdk import Client
from incus_sdk.testing import Daemon
from tests.live.sandbox.conftest import one_version

pytestmark = one_version

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(autouse=True)
def _place(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What programs find the daemon by, and a directory of their own."""
    monkeypatch.setenv("INCUS_SOCKET", str(daemon.socket))
    monkeypatch.setenv("INCUS_CONF", str(tmp_path / "conf"))
    monkeypatch.chdir(tmp_path)


async def start(name: str, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-u", str(EXAMPLES / name), *arguments, stdout=PIPE, stderr=PIPE
    )


async def test_a_job_takes_a_checkout_in_and_brings_artefacts_out(client: Client) -> None:
    Path("checkout").mkdir()
    Path("checkout/build.sh").write_text("mkdir artefacts; pwd > artefacts/log; ln -s /etc/shadow artefacts/link\n")
    steps = ["sh build.sh", "echo trouble >&2; exit 3", "echo never"]
    job = await start("sandbox_ci.py", "busybox", "checkout", *steps, "--artefacts", "out", "--memory", "64MiB")
    output, errors = await job.communicate()
    said = "$ sh build.sh\n$ echo trouble >&2; exit 3\n"
    assert (output.decode(), errors.decode(), job.returncode) == (said, "trouble\n", 3)
    assert [path.name for path in Path("out").iterdir()] == ["log"]
    assert Path("out/log").read_text() == "/job\n"
    assert await client.instances.list() == []


async def test_nothing_is_left_of_a_job_that_is_ended(client: Client) -> None:
    Path("checkout").mkdir()
    job = ["sandbox_ci.py", "busybox", "checkout", "echo begun; sleep 1000", "--memory", "64MiB", "--pool", "ci"]
    limited, ended = await asyncio.gather(start(*job, "--timeout", "0.5"), start(*job))
    assert ended.stdout is not None
    assert await ended.stdout.readuntil(b"begun\n")
    ended.send_signal(signal.SIGTERM)
    assert await ended.communicate() == (b"", b"")
    assert ended.returncode == 128 + signal.SIGTERM
    said = (await limited.communicate())[1].decode()
    assert limited.returncode == 124, said
    assert "was stopped: it ran for more than" in said
    assert await client.instances.list() == []
