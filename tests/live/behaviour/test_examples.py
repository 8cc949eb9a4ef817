"""The programs in ``examples`` do what they say, on a real daemon; `quickstart.py` is run by the tests of the docs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

from examples import service
from examples.connection import Connection
from incus_sdk.sync import Client, IncusNotFoundError, Instance
from incus_sdk.testing import Daemon
from tests.live.behaviour.test_process import Terminal

pytestmark = pytest.mark.usefixtures("clean")

EXAMPLES = Path(__file__).parents[3] / "examples"
JOB = """mkdir artefacts/deep
echo "in $PWD" | tee artefacts/deep/log
ln -s /etc/shadow artefacts/link
echo trouble >&2
exit 3
"""


@pytest.fixture
def blocking(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of the daemon that programs find, too, in a directory of their own."""
    monkeypatch.setenv("INCUS_SOCKET", str(daemon.socket))
    monkeypatch.setenv("INCUS_CONF", str(tmp_path / "conf"))
    monkeypatch.chdir(tmp_path)
    with Client() as client:
        yield client


@pytest.fixture
def crate(blocking: Client, name: str) -> Iterator[Instance]:
    """A running busybox container."""
    with blocking.instances.temporary("busybox", name) as crate:
        yield crate


def start(name: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", str(EXAMPLES / name), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_ci_job_has_output_artefacts_and_exit_code(blocking: Client, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(JOB)
    job = start("ci_job.py", "busybox", "job.sh", "--artefacts", "out")
    assert (*job.communicate(timeout=60), job.returncode) == ("in /job\n", "trouble\n", 3)
    assert [str(path.relative_to("out")) for path in sorted(Path("out").rglob("*"))] == ["deep", "deep/log"]
    assert Path("out/deep/log").read_text() == "in /job\n"
    assert blocking.instances.list() == []


def test_nothing_is_left_of_a_ci_job_that_is_ended(blocking: Client, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("echo begun; exec sleep 60")
    limited = start("ci_job.py", "busybox", "job.sh", "--timeout", "0.5", "--artefacts", "out")
    ended = {number: start("ci_job.py", "busybox", "job.sh") for number in (signal.SIGINT, signal.SIGTERM)}
    for number, job in ended.items():
        assert job.stdout is not None
        assert job.stdout.readline() == "begun\n"
        job.send_signal(number)
    for number, job in ended.items():
        assert (*job.communicate(timeout=60), job.returncode) == ("", "", 128 + number)
    said = limited.communicate(timeout=60)[1]
    assert (limited.returncode, said) == (
        124,
        "ci_job: ['sh', '/job/script'] was stopped: it ran for more than 0.5 s, its timeout=\n",
    )
    assert Path("out").is_dir()
    assert blocking.instances.list() == []


def test_a_connection_runs_commands_and_carries_files(crate: Instance, tmp_path: Path) -> None:
    connection = Connection(crate.name)
    assert connection.exec_command("cat; echo no >&2; exit 3", b"\xff\n") == (3, b"\xff\n", b"no\n")
    (tmp_path / "here").write_bytes(b"\0\xff")
    connection.put_file("here", "/srv/new/there")
    connection.fetch_file("/srv/new/there", "again")
    assert (tmp_path / "again").read_bytes() == b"\0\xff"
    connection.close()
    connection.close()
    assert connection.exec_command("id -un") == (0, b"root\n", b"")  # connected again
    connection.close()
    nowhere = Connection("nothing")
    with pytest.raises(IncusNotFoundError):
        nowhere.connect()
    nowhere.close()
    program = start("connection.py", crate.name, "cat; exit 4")
    assert (*program.communicate("input", timeout=60), program.returncode) == ("input", "", 4)


def test_a_backup_has_all_instances_and_volumes_and_goes_on_after_a_failure(
    blocking: Client, crate: Instance, name: str, tmp_path: Path
) -> None:
    volume = blocking.storage_pools["default"].volumes.create(f"custom/{name}")
    volume.snapshots.create("s0")
    instances, volumes = tmp_path / "backups/instances", tmp_path / "backups/volumes/default"
    blocked = instances / f"{name}.tar.gz"
    blocked.mkdir(parents=True)
    with blocking.instances.temporary("busybox", f"{name}-a"):
        watched, screen = pty.openpty()
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "backup.py"), "backups", "--volumes"],
            stdout=subprocess.PIPE, stderr=screen, timeout=60, text=True,
        )  # fmt: skip
        os.close(screen)
    said = os.read(watched, 2**20).decode()
    os.close(watched)
    volume.delete()
    assert done.returncode == 1, said
    assert f"instances/{name}.tar.gz: backups/instances/{name}.tar.gz is not a regular file" in said
    assert f"volumes/default/{name}.tar.gz: download " in said
    files = {"instances": instances / f"{name}-a.tar.gz", "volumes/default": volumes / f"{name}.tar.gz"}
    assert {file for folder in (instances, volumes) for file in folder.iterdir()} == {blocked, *files.values()}
    lines = [f"{folder}/{file.name}: {file.stat().st_size} bytes" for folder, file in files.items()]
    assert done.stdout.splitlines() == lines
    restored = blocking.instances.create_from_backup(files["instances"], f"{name}-b")
    assert restored.status == "Stopped"
    restored.delete(wait=True)


async def test_the_live_table_shows_what_begins_and_ends(daemon: Daemon, tmp_path: Path, name: str) -> None:
    environment = f"import os; os.environ['INCUS_SOCKET'] = {str(daemon.socket)!r}; os.environ['TERM'] = 'xterm'"
    program = (
        f"{environment}; import runpy, sys; runpy.run_path({str(EXAMPLES / 'live_table.py')!r}, run_name='__main__')"
    )
    async with daemon.client() as client, Terminal() as terminal:
        process = await terminal.start(program)
        await terminal.until(b"Instances")
        async with client.instances.temporary("busybox", name) as box:
            await terminal.until(name.encode())
            await terminal.until(b"Running")
            await terminal.until(b"MiB")
            await box.execute(["sleep", "1000"], wait=False)
            await terminal.until(b"Executing command")
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


@pytest.mark.filterwarnings("ignore")  # of a test client of another project
def test_the_service_gives_each_request_a_box_of_its_own(blocking: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    monkeypatch.setenv("IMAGE", "busybox")
    monkeypatch.setenv("SIZE", "1")
    with TestClient(service.app) as http:

        def run(code: str, language: str = "sh") -> tuple[int, object]:
            answer = http.post("/run", json={"language": language, "code": code})
            return answer.status_code, answer.json()

        first = {"exit_code": 3, "stdout": "42\n", "stderr": "e\n"}
        assert run("echo $((6 * 7)); echo e >&2; touch /mine; exit 3") == (200, first)
        assert run("ls /mine 2>/dev/null") == (200, {"exit_code": 1, "stdout": "", "stderr": ""})
        assert run("yes")[0] == 413
        assert run("print(1)", "python")[0] == 422
        assert run("", "cobol")[0] == 422
    assert blocking.instances.list() == []


def test_the_notebook_runs_from_its_first_cell_to_its_last(blocking: Client) -> None:
    cells = [
        cell for cell in json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"] if cell["cell_type"] == "code"
    ]
    manager, kernel = start_new_kernel(kernel_name="python3")
    shown: list[str] = []

    def take(message: dict[str, Any]) -> None:
        content = message["content"]
        shown.append(content.get("text") or content.get("data", {}).get("text/html") or "")

    try:
        for cell in cells:
            code = "".join(cell["source"]).replace("images:debian/13", "busybox")
            reply = kernel.execute_interactive(code, output_hook=take, timeout=100)
            assert reply["content"]["status"] == "ok", reply
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel()
    assert any("<table" in each and "notebook" in each for each in shown)
    assert "42\nLinux\n\n" in shown
    assert Path("data").stat().st_size == 5_000_000
    assert blocking.instances.list() == []
