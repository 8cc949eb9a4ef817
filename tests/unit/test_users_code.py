"""What users write and how they test it, in its smallest form: on the fixtures of the pytest plugin.

One runs a job in an instance of its own, as runners of CI do; the other keeps a machine as a file describes it, as
tools of configuration do.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import incus_sdk
from incus_sdk import IncusConflictError, IncusNotFoundError, IncusOperationError
from incus_sdk.sync import Client
from incus_sdk.sync.testing import Fake
from incus_sdk.testing import Fake as AsyncFake


@dataclass
class Job:
    image: str
    command: list[str]
    files: dict[str, str]


async def run_job(client: incus_sdk.Client, job: Job) -> tuple[int, str]:
    """What a runner does: a fresh instance, the job's files, its command, its output; and nothing is left."""
    async with client.instances.temporary(job.image, labels={"runner": "ci"}) as box:
        for path, text in job.files.items():
            await box.path(path).write_text(text)
        result = await box.run(job.command, text=True)
        return result.returncode, result.stdout


JOB = Job("busybox", ["sh", "/root/job.sh"], {"/root/job.sh": "make test\n"})


async def test_a_job_has_its_files_and_leaves_nothing(
    async_incus: incus_sdk.Client, async_incus_fake: AsyncFake
) -> None:
    script = async_incus_fake.on_exec(["sh", ...], stdout="2 passed\n")
    assert await run_job(async_incus, JOB) == (0, "2 passed\n")
    (call,) = script.calls
    assert call.files["/root/job.sh"] == b"make test\n"
    assert await async_incus.instances.list() == []


async def test_a_job_that_fails_leaves_nothing_either(
    async_incus: incus_sdk.Client, async_incus_fake: AsyncFake
) -> None:
    async_incus_fake.on_exec(["sh", ...], returncode=2, stdout="1 failed\n")
    assert await run_job(async_incus, JOB) == (2, "1 failed\n")
    assert await async_incus.instances.list() == []


async def test_a_job_whose_instance_does_not_start_says_why(
    async_incus: incus_sdk.Client, async_incus_fake: AsyncFake
) -> None:
    async_incus_fake.on_operation("POST", "/1.0/instances", fails="there is no bridge")
    with pytest.raises(IncusOperationError, match="there is no bridge"):
        await run_job(async_incus, JOB)
    assert await async_incus.instances.list() == []


def ensure(client: Client, name: str, memory: str) -> str:
    """What a tool of configuration does: an instance with this limit, and in a word what had to be done."""
    try:
        found = client.instances.get(name)
    except IncusNotFoundError:
        client.instances.launch("busybox", name, config={"limits.memory": memory})
        return "created"
    if found.config.get("limits.memory") == memory:
        return "unchanged"
    found.update({"limits.memory": memory}, wait=True)
    return "changed"


def test_an_instance_is_created_changed_and_left_alone(incus: Client, incus_fake: Fake) -> None:
    assert [ensure(incus, "web", memory) for memory in ("1GiB", "2GiB", "2GiB")] == ["created", "changed", "unchanged"]
    assert incus.instances.get("web").expanded_config["limits.memory"] == "2GiB"
    incus_fake.requests.assert_made("POST", "/1.0/instances", times=1)


def test_somebody_who_is_faster_is_no_surprise(incus: Client, incus_fake: Fake) -> None:
    ensure(incus, "web", "1GiB")
    incus_fake.on_request("PUT", "/1.0/instances/web", status=412, times=1)
    assert ensure(incus, "web", "2GiB") == "changed"
    incus_fake.on_request("GET", "/1.0/instances/web", status=404, times=1)
    with pytest.raises(IncusConflictError):
        ensure(incus, "web", "2GiB")
