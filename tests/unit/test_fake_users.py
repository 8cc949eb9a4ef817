"""Tests of users' code on the fake, in their smallest form.

They are what two projects test with mocks of their own, of subprocesses and of a client written by hand: the runner of
CI jobs of forgejo-lxd-runner, and the executor of Debusine. The code under test is written anew here, on the SDK.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from incus_sdk import Client, IncusAPIError, IncusNotFoundError, IncusOperationError, Instance
from incus_sdk import sync as incus
from incus_sdk.sync.testing import Fake as BlockingFake
from incus_sdk.testing import Fake, FakeCommand

# A runner of CI jobs, async: the instance of a job, its steps with their output as it comes, and a container in it.


class NoRuntimeError(Exception):
    """The instance can run no containers."""


async def remove(client: Client, name: str) -> None:
    """Stop and delete the instance of a job; somebody else may do so at the same time."""
    instance = client.instances[name]
    try:
        if (await instance.get_state()).status != "Stopped":
            await instance.stop(force=True, wait=True)
        await instance.delete(wait=True)
    except IncusNotFoundError:
        pass


async def iter_step(instance: Instance, command: list[str]) -> AsyncIterator[tuple[str, bytes | int | str]]:
    """Run a step, and yield its output as it comes, then its exit code, or why there is none."""
    frames = asyncio.Queue[tuple[str, bytes | int | str]]()

    async def run() -> None:
        try:
            result = await instance.run(
                command,
                stdout=lambda piece: frames.put_nowait(("stdout", piece)),
                stderr=lambda piece: frames.put_nowait(("stderr", piece)),
            )
            frames.put_nowait(("exit", result.returncode))
        except IncusOperationError as error:
            frames.put_nowait(("failed", str(error)))

    running = asyncio.create_task(run())
    while True:
        yield (frame := await frames.get())
        if frame[0] in ("exit", "failed"):
            break
    await running


async def begin_container(instance: Instance, image: str, attempts: int = 3) -> str:
    """Create the container of a job with what the instance has for that; its daemon may still be starting."""
    for runtime in ("docker", "podman"):
        if (await instance.run(["sh", "-c", f"command -v {runtime}"])).returncode == 0:
            break
    else:
        raise NoRuntimeError("neither docker nor podman: add a profile that brings one")
    for attempt in range(attempts):
        if (await instance.run([runtime, "info"])).returncode == 0:
            break
        if attempt == attempts - 1:
            raise NoRuntimeError(f"{runtime} does not answer")
    await instance.run([runtime, "pull", image], check=True)
    created = await instance.run([runtime, "create", image, "tail", "-f", "/dev/null"], check=True, text=True)
    return created.stdout.strip()


@pytest.fixture
def fake(async_incus_fake: Fake) -> Fake:
    return async_incus_fake


@pytest.fixture
def client(async_incus: Client) -> Client:
    return async_incus


@pytest.fixture
async def job(client: Client) -> Instance:
    return await client.instances.launch("busybox", "job-1")


STATE, INSTANCE = "/1.0/instances/job-1/state", "/1.0/instances/job-1"


async def test_a_job_that_runs_is_stopped_and_deleted(fake: Fake, client: Client, job: Instance) -> None:
    await remove(client, "job-1")
    fake.requests.assert_order(("GET", STATE), ("PUT", STATE), ("DELETE", INSTANCE))
    assert await client.instances.list() == []


async def test_a_job_that_has_stopped_is_not_stopped_again(fake: Fake, client: Client, job: Instance) -> None:
    await job.stop(force=True, wait=True)
    fake.requests.clear()
    await remove(client, "job-1")
    fake.requests.assert_not_made("PUT", STATE)


@pytest.mark.parametrize("step", [("GET", STATE), ("PUT", STATE), ("DELETE", INSTANCE)])
async def test_a_job_may_be_gone_at_any_step(fake: Fake, client: Client, job: Instance, step: tuple[str, str]) -> None:
    fake.on_request(*step, status=404)
    await remove(client, "job-1")


@pytest.mark.parametrize("step", [("GET", STATE), ("PUT", STATE), ("DELETE", INSTANCE)])
async def test_other_errors_of_a_removal_are_raised(
    fake: Fake, client: Client, job: Instance, step: tuple[str, str]
) -> None:
    fake.on_request(*step, status=500, error="boom")
    with pytest.raises(IncusAPIError, match="boom"):
        await remove(client, "job-1")


async def test_the_output_of_a_step_comes_in_its_order(fake: Fake, job: Instance) -> None:
    seen = asyncio.Event()

    async def build(command: FakeCommand) -> int:
        command.write("a")
        await seen.wait()  # the first piece is there before the second is written
        command.write_error("E1\n")
        return 3

    fake.on_exec(["make"], run=build)
    frames = list[tuple[str, bytes | int | str]]()
    async for frame in iter_step(job, ["make"]):
        frames.append(frame)
        seen.set()
    assert frames == [("stdout", b"a"), ("stderr", b"E1\n"), ("exit", 3)]


async def test_a_step_that_the_server_cannot_run_says_why(fake: Fake, job: Instance) -> None:
    fake.on_exec(["make"], error="nope")
    ((kind, reason),) = [frame async for frame in iter_step(job, ["make"])]
    assert kind == "failed"
    assert "nope" in str(reason)


@pytest.mark.parametrize("runtime", ["docker", "podman"])
async def test_either_runtime_makes_the_container(fake: Fake, job: Instance, runtime: str) -> None:
    fake.on_exec(["sh", "-c", ...], returncode=1)
    fake.on_exec(["sh", "-c", f"command -v {runtime}"])
    fake.on_exec([runtime, "info"], returncode=1, stderr="Cannot connect").then(returncode=1).then(returncode=0)
    pull, create = fake.on_exec([runtime, "pull", ...]), fake.on_exec([runtime, "create", ...], stdout="abc\n")
    assert await begin_container(job, "node:20") == "abc"
    assert [call.args for call in pull.calls] == [(runtime, "pull", "node:20")]
    assert create.calls[0].args[-3:] == ("tail", "-f", "/dev/null")


async def test_a_job_without_a_runtime_is_told_the_remedy(fake: Fake, job: Instance) -> None:
    fake.on_exec(["sh", "-c", ...], returncode=1)
    with pytest.raises(NoRuntimeError, match="profile"):
        await begin_container(job, "node:20")
    fake.on_exec(["sh", "-c", "command -v docker"])
    fake.on_exec(["docker", "info"], returncode=1)
    with pytest.raises(NoRuntimeError, match="does not answer"):
        await begin_container(job, "node:20")


# An executor of builds, blocking: images by the names of artifacts, a machine for each build, files and commands in it.


class NotStartedError(Exception):
    """The machine of a build did not boot."""


class Executor:
    """Builds in machines of their own."""

    def __init__(self, client: incus.Client, artifact: int) -> None:
        self.client = client
        self.image = f"artifact/{artifact}"
        self.machine: incus.Instance | None = None

    def download_image(self, content: bytes) -> None:
        """Import the image, unless it is there."""
        if not self.client.images.aliases.exists(self.image):
            self.client.images.create(content, aliases=[self.image], wait=True)

    def start(self, timeout: float) -> None:
        """Launch an ephemeral machine, and wait until it has booted."""
        self.machine = self.client.instances.launch(self.image, profiles=["default", "build"], ephemeral=True)
        try:
            self.machine.wait_for("systemd", timeout=timeout)
        except incus.IncusTimeoutError as error:
            raise NotStartedError(f"{self.machine.name} has not booted: {error}") from error

    def push(self, source: Path, target: str, uid: int) -> None:
        """Copy a directory into the machine."""
        assert self.machine is not None
        self.machine.path(target).push(source, uid=uid, gid=uid)

    def run(self, args: list[str], *, as_root: bool = False) -> incus.ProcessResult[bytes]:
        """Run a command, as a user without rights unless told otherwise."""
        assert self.machine is not None
        return self.machine.run(args, user=0 if as_root else "build")


@pytest.fixture
def executor(incus: incus.Client) -> Executor:
    incus.profiles.create("build")
    incus.images.create_alias("artifact/42", incus.images.get("busybox").fingerprint)
    return Executor(incus, 42)


def test_an_image_is_imported_once(incus_fake: BlockingFake, executor: Executor) -> None:
    executor.image = "artifact/43"
    for _ in range(2):
        executor.download_image(b"image")
    incus_fake.requests.assert_made("POST", "/1.0/images", times=1)


def test_a_machine_is_ready_once_its_system_is(incus_fake: BlockingFake, executor: Executor) -> None:
    boot = incus_fake.on_exec(
        ["systemctl", "is-system-running"], returncode=1, stderr="Failed to connect to system scope bus"
    )
    boot.then(error="VM agent isn't currently running").then(stdout="running\n")
    executor.start(timeout=60)
    assert executor.machine is not None
    assert (executor.machine.ephemeral, executor.machine.profiles) == (True, ["default", "build"])
    assert len(boot.calls) == 3


def test_a_machine_that_does_not_boot_is_an_error(incus_fake: BlockingFake, executor: Executor) -> None:
    incus_fake.on_exec(["systemctl", "is-system-running"], returncode=1, stdout="initializing\n")
    with pytest.raises(NotStartedError, match="has not booted"):
        executor.start(timeout=0.05)


def test_files_and_commands_belong_to_the_user_of_builds(
    incus_fake: BlockingFake, executor: Executor, tmp_path: Path
) -> None:
    incus_fake.image_files["/etc/passwd"] = "root:x:0:0::/root:/bin/sh\nbuild:x:1042:1042::/tmp:/bin/sh\n"
    incus_fake.on_exec(["systemctl", "is-system-running"], stdout="running\n")
    true = incus_fake.on_exec(["true"])
    executor.start(timeout=60)
    assert executor.machine is not None
    files = incus_fake.instance(executor.machine.name).files
    (tmp_path / "source").mkdir()
    (tmp_path / "source/rules").write_text("build")
    executor.push(tmp_path / "source", "/srv/source", uid=1042)
    assert (files["/srv/source/rules"], files.stat("/srv/source/rules").uid) == (b"build", 1042)
    executor.run(["true"])
    executor.run(["true"], as_root=True)
    assert [call.user for call in true.calls] == [1042, 0]
