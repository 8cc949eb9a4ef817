"""Temporary instances: what a killed program leaves is found and deleted, and nothing else; made from templates."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from incus_sdk import Client, IncusInputError, IncusNotFoundError, IncusOperationError, Instance
from incus_sdk.testing import Daemon

PROGRAM = """
import asyncio, sys
from incus_sdk import Client

async def main():
    async with Client(sys.argv[1]) as client:
        async with client.instances.temporary("busybox", sys.argv[2], labels={"suite": sys.argv[3]}):
            print("there", flush=True)
            await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.fixture
async def client(daemon: Daemon, clean: None) -> AsyncIterator[Client]:
    """A connected client, over one transport: the requests are those of other verbs."""
    async with daemon.client() as client:
        yield client


@contextlib.contextmanager
def program(daemon: Daemon, name: str, label: str = "one") -> Generator[subprocess.Popen[str]]:
    """Another program that has a temporary instance."""
    arguments = [sys.executable, "-c", PROGRAM, str(daemon.socket), name, label]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "there\n"
            yield running
        finally:
            running.kill()


async def test_what_a_killed_program_left_is_pruned_and_nothing_else(
    daemon: Daemon, client: Client, name: str, box: Instance
) -> None:
    left, other = f"{name}-left", f"{name}-other"
    async with client.instances.temporary("busybox") as mine:
        with program(daemon, left) as first, program(daemon, other):
            assert await client.instances.prune() == [], "their owners live"
            copy = await client.instances[left].copy(f"{name}-copy")
            first.kill()
            async with asyncio.timeout(60):
                while await client.instances.prune(dry_run=True) != [left]:  # a zombie: nobody waits for it
                    await asyncio.sleep(0.05)
            assert await client.instances.prune(labels={"suite": "two"}) == []
            assert await client.instances.prune(labels={"suite": "one"}) == [left]
            assert await client.instances.prune() == []
        assert await client.instances.prune() == [other]
        names = {each.name for each in await client.instances.list(recursion=0)}
        assert names == {box.name, mine.name, copy.name}
    await copy.delete(wait=True)


async def test_what_is_old_is_pruned_whoever_has_it(client: Client, box: Instance) -> None:
    async with client.instances.temporary("busybox", labels={"a": "1", "b": "2"}) as mine:
        assert await client.instances.prune(older_than=3600) == []
        assert await client.instances.prune(older_than=0, labels={"a": "2"}) == []
        both = await asyncio.gather(*(client.instances.prune(older_than=0, labels={"a": "1"}) for _ in range(2)))
        assert {*both[0], *both[1]} == {mine.name}
        assert not await mine.exists()
    assert await box.exists()


async def test_a_renamed_instance_is_no_longer_temporary(client: Client, name: str) -> None:
    async with client.instances.temporary("busybox", f"{name}-a", config={"user.mine": 1}) as mine:
        assert mine.config["user.mine"] == "1"
        await mine.stop(force=True, wait=True)
        await mine.rename(f"{name}-b")
        assert await client.instances.prune(older_than=0) == []
    assert not await mine.exists()


@pytest.mark.parametrize("labels", [{"": "1"}, {"a b": "1"}, {"a": ""}, {"a": 1}, {1: "a"}, "ab", ["a"]])
async def test_a_label_that_cannot_be_one_is_refused(labels: Any) -> None:
    client = Client("/nowhere")
    with pytest.raises(IncusInputError, match=r"the label|labels must be a dict"):
        await client.instances.prune(labels=labels)
    with pytest.raises(IncusInputError, match=r"the label|labels must be a dict"):
        async with client.instances.temporary("busybox", labels=labels):
            pass
    for age in (-1, True, float("nan")):
        with pytest.raises(IncusInputError, match="older_than"):
            await client.instances.prune(older_than=age)


@pytest.fixture
async def template(client: Client, name: str) -> AsyncIterator[Instance]:
    """A stopped instance with a snapshot that has a file of its own."""
    config = {"user.a": "1", "user.b": "2"}
    template = await client.instances.create(f"{name}-template", "busybox", config, description="mine", wait=True)
    await template.path("/root/who").write_text("snapshot")
    await template.snapshots.create("clean")
    await template.path("/root/who").write_text("template")
    yield template
    await template.delete(wait=True)


async def test_an_instance_is_launched_from_a_template_or_its_snapshot(
    client: Client, name: str, template: Instance
) -> None:
    for source, content in ((template, "template"), (template.snapshots["clean"], "snapshot")):
        async with client.instances.temporary(source, f"{name}-box", config={"user.a": None, "user.c": 3}) as box:
            assert box.status == "Running"
            assert await box.path("/root/who").read_text() == content
            assert {key: box.config.get(f"user.{key}") for key in "abc"} == {"a": None, "b": "2", "c": "3"}
            assert box.description == ("mine" if source is template else "")
            assert await box.snapshots.list() == []
    box = await client.instances.launch(client.instances[template.name], description="other", ephemeral=True)
    assert (box.description, box.ephemeral, box.status) == ("other", True, "Running")
    await box.stop(force=True, wait=True)
    with pytest.raises(IncusNotFoundError):
        await client.instances.launch(client.instances["nowhere"])
    with pytest.raises(IncusInputError, match="vm and flavor are for images"):
        await client.instances.launch(template, vm=True)


async def test_a_copy_that_does_not_start_is_not_left(client: Client, name: str, template: Instance) -> None:
    with pytest.raises(IncusOperationError, match="init"):
        await client.instances.launch(template, f"{name}-box", config={"raw.lxc": "lxc.init.cmd = /nowhere/init"})
    assert not await client.instances.exists(f"{name}-box")


@pytest.mark.parametrize("moment", [0.01, 0.1, 0.3])
async def test_a_launch_from_a_template_cancelled_leaves_nothing(
    client: Client, name: str, template: Instance, moment: float
) -> None:
    task = asyncio.create_task(client.instances.launch(template, f"{name}-box"))
    await asyncio.wait([task], timeout=moment)
    if not task.done():
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:  # this machine was faster
        await (await task).delete(force=True, wait=True)
    assert not await client.instances.exists(f"{name}-box")
