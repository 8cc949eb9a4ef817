"""The programs in ``examples`` that use sandboxes do what they say."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from incus_sdk import Client
from incus_sdk.testing import Daemon
from tests.live.sandbox.conftest import one_version
from tests.live.sandbox.python_image import make_python_image

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
    while (line := await ended.stdout.readline()) != b"begun\n":
        assert line, (await ended.communicate())[1].decode()
    ended.send_signal(signal.SIGTERM)
    assert await ended.communicate() == (b"", b"")
    assert ended.returncode == 128 + signal.SIGTERM
    said = (await limited.communicate())[1].decode()
    assert limited.returncode == 124, said
    assert "was stopped: it ran for more than" in said
    assert await client.instances.list() == []


async def test_a_front_end_has_its_kernel_in_a_box(client: Client, tmp_path: Path) -> None:
    make_python_image(tmp_path / "image", "ipykernel", without={"debugpy", "jedi"})
    image = await client.images.create(tmp_path / "image", aliases=["kernel"], wait=True)
    program = [sys.executable, str(EXAMPLES / "sandbox_kernel.py"), "kernel", "{connection_file}"]
    spec = {"argv": program, "display_name": "", "language": "python", "interrupt_mode": "message"}
    (tmp_path / "kernels/sandbox").mkdir(parents=True)
    (tmp_path / "kernels/sandbox/kernel.json").write_text(json.dumps(spec))
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")])
    manager = AsyncKernelManager(kernel_name="sandbox", kernel_spec_manager=specs)
    await manager.start_kernel()
    kernel = manager.client()
    kernel.start_channels()
    await kernel.wait_for_ready(timeout=200)
    outputs: list[dict[str, Any]] = []
    for code in ("a = 6", "import os; print(a * 7, os.listdir('/sys/class/net'))"):
        reply = await kernel.execute_interactive(code, output_hook=outputs.append)
        assert reply["content"]["status"] == "ok", reply
    assert [each["content"]["text"] for each in outputs if each["msg_type"] == "stream"] == ["42 ['lo']\n"]
    endless = asyncio.ensure_future(
        kernel.execute_interactive("print('begun'); import time; time.sleep(1000)", output_hook=outputs.append)
    )
    while outputs[-1]["content"].get("text") != "begun\n":
        await asyncio.sleep(0.05)
    await manager.interrupt_kernel()
    assert (await endless)["content"]["ename"] == "KeyboardInterrupt"
    kernel.stop_channels()
    await manager.shutdown_kernel()
    assert await client.instances.list() == []
    await image.delete()
