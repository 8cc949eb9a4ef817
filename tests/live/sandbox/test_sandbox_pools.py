"""Pools: shared by processes, killed, restarted, full; and what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Generator
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from incus_sdk import Client, IncusError, IncusInputError, IncusTimeoutError, Instance
from incus_sdk.sandbox import Limits, Pool, list_boxes, prune
from incus_sdk.testing import Daemon
from tests.live.sandbox.conftest import LIMITS, one_version

PROGRAM = """
import asyncio, sys
from incus_sdk import Client
from incus_sdk.sandbox import Limits, Pool

async def main():
    limits = Limits(cpu=0.5, memory="64MiB", processes=32, disk="64MiB", unenforced="accept")
    async with Client(sys.argv[1]) as client, Pool(client, "busybox", size=2, name=sys.argv[2], limits=limits) as pool:
        print("there", flush=True)
        for line in sys.stdin:
            async with pool.lease() as box:
                if line == "fork\\n":
                    await (await box.fork()).extend(100)
                print(box.id, flush=True)
                if line == "fork\\n":
                    await asyncio.sleep(1000)

asyncio.run(main())
"""


@contextlib.contextmanager
def program(daemon: Daemon, pool: str) -> Generator[subprocess.Popen[str]]:
    """Another program that opens a pool, and leases a box for each line that it reads; one that it forks, it keeps."""
    arguments = [sys.executable, "-c", PROGRAM, str(daemon.socket), pool]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


async def line(running: subprocess.Popen[str], tell: str = "") -> str:
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(tell)
    running.stdin.flush()
    return (await asyncio.to_thread(running.stdout.readline)).strip()


async def instances(client: Client) -> dict[str, Instance]:
    return {each.name: each for each in await client.instances.list()}


@one_version
async def test_what_a_killed_program_leaves_is_used_by_the_others_or_pruned(daemon: Daemon, client: Client) -> None:
    with program(daemon, "shared") as other:
        assert await line(other) == "there"
        theirs = await line(other, "fork\n")
        async with Pool(client, "busybox", size=0, name="shared", limits=LIMITS) as pool:
            assert len([name for name in await instances(client) if "template" in name]) == 1
            warm = [
                name for name, each in (await instances(client)).items() if each.config["user.sandbox.state"] == "warm"
            ]
            async with pool.lease() as mine:
                assert mine.id in warm, "a box that another process has made is there for all"
                assert await prune(client) == []
        assert await client.instances[theirs].exists(), "it closes what is its own"
        other.kill()
        other.wait()
        left = await instances(client)
        fork = [name for name, each in left.items() if each.config["user.sandbox.state"] == "fork"]
        assert len(fork) == 1
        wanted = sorted(left.keys() - {*fork, "sandbox-template-shared"})
        assert theirs in wanted
        assert await prune(client, dry_run=True) == wanted
        assert await prune(client, labels={"none": "such"}) == []
        assert await prune(client) == wanted
        [box] = await list_boxes(client)
        assert box.id == fork[0]
        await box.instance.update({"config": {"user.sandbox.expires": "2020-01-01T00:00:00+00:00"}}, wait=True)
        assert await prune(client) == fork
        async with Pool(client, "busybox", size=0, name="shared", limits=LIMITS):
            pass
    assert await instances(client) == {}


async def test_two_processes_that_share_a_pool_never_get_the_same_box(daemon: Daemon, client: Client) -> None:
    with program(daemon, "shared") as other:
        assert await line(other) == "there"
        async with Pool(client, "busybox", size=0, name="shared", limits=LIMITS) as pool:
            ids: list[str] = []

            async def use() -> None:
                async with pool.lease() as box:
                    ids.append(box.id)
                    assert (await box.run(["true"])).returncode == 0

            async def have_it_used() -> None:
                ids.extend([await line(other, "lease\n") for _ in range(3)])

            await asyncio.gather(have_it_used(), *(use() for _ in range(4)))
            assert len(set(ids)) == len(ids) == 7
            with pytest.raises(IncusInputError, match="another image, or with other limits"):
                async with Pool(client, "busybox", name="shared", limits=Limits(unenforced="accept")):
                    pass
            assert other.stdin is not None
            other.stdin.close()
            await asyncio.to_thread(other.wait)


@one_version
async def test_a_pool_outlives_killed_boxes_and_templates_and_a_restarted_daemon(
    daemon: Daemon, client: Client
) -> None:
    async with Pool(client, "busybox", size=1, limits=LIMITS) as pool:
        [warm] = [name for name in await instances(client) if "template" not in name]
        await client.instances[warm].stop(force=True, wait=True)
        async with pool.lease() as box:
            assert box.id != warm
            assert not await client.instances[warm].exists()
            await daemon.restart()
            assert (await box.run(["true"])).returncode == 0
        await client.instances[f"sandbox-template-{pool.name}"].delete(wait=True)
        async with pool.lease(), pool.lease():
            assert len([name for name in await instances(client) if "template" in name]) == 1


@one_version
async def test_a_box_that_could_not_be_leased_as_the_daemon_was_away_is_not_forgotten(
    daemon: Daemon, client: Client
) -> None:
    async with Pool(client, "busybox", size=1, limits=LIMITS) as pool:
        await daemon.kill()
        with pytest.raises(IncusError):
            async with pool.lease():
                pass
        await daemon.restart()
        async with pool.lease():
            await pool._look_after()
        while len(pool._warm) < 1:
            await asyncio.sleep(0.05)
        there = (await instances(client)).values()
        assert sorted(each.config["user.sandbox.state"] for each in there) == ["template", "warm"]


@one_version
async def test_a_box_that_cannot_be_destroyed_keeps_no_other_one(client: Client) -> None:
    kept: list[Instance] = []

    async def use() -> None:
        async with Pool(client, "busybox", size=2, name="kept", limits=LIMITS) as pool:
            kept.append(pool._warm[1])
            await kept[0].update({"config": {"security.protection.delete": True}}, wait=True)
            async with pool.lease() as box:
                await box.fork()

    with pytest.raises(IncusError, match="protected"):
        await use()
    assert (await instances(client)).keys() == {kept[0].name, "sandbox-template-kept"}
    await kept[0].update({"config": {"security.protection.delete": None}}, wait=True)
    await kept[0].delete(force=True, wait=True)
    async with Pool(client, "busybox", size=0, name="kept", limits=LIMITS):
        pass
    assert await instances(client) == {}


@one_version
async def test_a_box_that_is_ready_needs_no_time(client: Client) -> None:
    async with Pool(client, "busybox", size=1, limits=LIMITS) as pool:
        ready = pool._warm[0].name
        async with pool.lease(timeout=0) as box:
            assert box.id == ready


@one_version
async def test_a_pool_looks_after_its_boxes(client: Client) -> None:
    def ends_in(hours: int) -> dict[str, str]:
        return {"user.sandbox.expires": (datetime.now(UTC) + timedelta(hours=hours)).isoformat()}

    async with Pool(client, "busybox", size=2, limits=LIMITS) as pool, pool.lease() as over:
        while len(pool._warm) < 2:
            await asyncio.sleep(0.05)
        warm = [client.instances[each.name] for each in pool._warm]
        await over.instance.update({"config": ends_in(-1)}, wait=True)
        await warm[0].stop(force=True, wait=True)
        await warm[1].update({"config": ends_in(0)}, wait=True)
        await pool._look_after()
        there = await instances(client)
        assert over.id not in there
        assert warm[0].name not in there
        expires = datetime.fromisoformat(there[warm[1].name].config["user.sandbox.expires"])
        assert expires > datetime.now(UTC) + timedelta(minutes=50)
        async with pool.lease() as box:
            assert box.id == warm[1].name


@one_version
async def test_that_the_disk_is_full_is_told_to_who_leases_until_it_no_longer_is(client: Client) -> None:
    await client.storage_pools.create("small", driver="btrfs", config={"size": "128MiB"})
    limits = Limits(disk=None, unenforced="accept")
    fill = "dd if=/dev/zero of=/big bs=64k; for i in $(seq 2000); do echo $i > /f$i || break; done"
    try:
        async with Pool(client, "busybox", size=0, limits=limits, storage="small") as pool, pool.lease() as box:
            await box.run(["sh", "-c", fill], timeout=60)
            with pytest.raises(IncusError, match="no space left"):
                async with pool.lease():
                    pass
            await box.run(["sh", "-c", "rm /big /f*; sync"], check=True)
            with pytest.raises(IncusTimeoutError, match="had no box within"):
                async with pool.lease(timeout=0.001):
                    pass
            async with pool.lease() as other:
                assert (await other.run(["true"])).returncode == 0
        with pytest.raises(IncusInputError, match="is not open"):
            async with pool.lease():
                pass
    finally:
        await client.storage_pools.delete("small")


@one_version
async def test_a_template_that_cannot_be_made_leaves_nothing(client: Client) -> None:
    async def fail(_: Instance) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        async with Pool(client, "busybox", limits=LIMITS, prepare=fail):
            pass

    assert await instances(client) == {}


@one_version
async def test_a_template_that_could_not_be_removed_as_the_daemon_was_away_is_made_anew(
    daemon: Daemon, client: Client
) -> None:
    async def lose_the_daemon(_: Instance) -> None:
        await daemon.kill()
        raise ValueError

    with pytest.raises(ValueError):
        async with Pool(client, "busybox", size=0, name="again", limits=LIMITS, prepare=lose_the_daemon):
            pass
    await daemon.restart()
    assert (await instances(client)).keys() == {"sandbox-template-again"}
    async with asyncio.timeout(30), Pool(client, "busybox", size=0, name="again", limits=LIMITS, prepare=str):
        pass
    assert await instances(client) == {}


@one_version
async def test_what_was_to_be_removed_and_was_not_is_soon_over(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: Instance) -> None:
        raise IncusError("the disk is broken")

    with monkeypatch.context() as broken, pytest.raises(IncusError, match="the disk is broken"):
        async with Pool(client, "busybox", size=0, name="again", limits=LIMITS):
            broken.setattr("incus_sdk.sandbox._finding.remove", fail)
    [left] = (await instances(client)).values()
    assert datetime.fromisoformat(left.config["user.sandbox.expires"]) < datetime.now(UTC) + timedelta(minutes=2)
    await left.update({"config": {"user.sandbox.expires": datetime.now(UTC).isoformat()}}, wait=True)
    async with asyncio.timeout(30), Pool(client, "busybox", size=0, name="again", limits=LIMITS):
        pass
    assert await instances(client) == {}


@one_version
@pytest.mark.parametrize("what", ["open", "lease"])
async def test_a_scope_of_anyio_that_ends_leaves_nothing(client: Client, what: str) -> None:
    begun = asyncio.Event()

    async def open_pool() -> None:
        async with Pool(client, "busybox", limits=LIMITS, prepare=lambda _: begun.set()):
            await asyncio.sleep(1000)

    async def lease() -> None:
        async with Pool(client, "busybox", size=0, limits=LIMITS) as pool, pool.lease() as box:
            begun.set()
            await box.run(["sleep", "1000"])

    async with anyio.create_task_group() as group:
        group.start_soon(open_pool if what == "open" else lease)
        await begun.wait()
        group.cancel_scope.cancel()
    assert await instances(client) == {}


@one_version
async def test_a_scope_of_anyio_that_ends_kills_all_that_a_command_started(client: Client) -> None:
    async with Pool(client, "busybox", size=0, limits=LIMITS) as pool, pool.lease() as box:
        async with anyio.create_task_group() as group:
            group.start_soon(box.run, ["sh", "-c", "sleep 1000 & sleep 1000"])
            await box.run(["sh", "-c", "until ps | grep -q '[s]leep 1000'; do :; done"], timeout=30, check=True)
            group.cancel_scope.cancel()
        assert b"sleep 1000" not in (await box.run(["ps"])).stdout


@one_version
async def test_what_opens_the_template_while_it_is_made_is_closed_again(client: Client) -> None:
    async def open_up(instance: Instance) -> None:
        config = {"security.nesting": True, "security.syscalls.intercept.mknod": True, "user.mine": "x"}
        await instance.update({"config": config, "devices": {"gone": {"type": "none"}}}, wait=True)

    async with Pool(client, "busybox", size=0, limits=LIMITS, prepare=open_up) as pool, pool.lease() as box:
        assert box.instance.devices.keys() == {"root"}
        assert box.instance.config["security.nesting"] == "false"
        assert not {"security.syscalls.intercept.mknod", "user.mine"} & box.instance.config.keys()


@one_version
async def test_a_cancelled_lease_and_a_cancelled_pool_leave_nothing(client: Client) -> None:
    async with Pool(client, "busybox", size=1, limits=LIMITS) as pool:

        async def lease() -> None:
            async with pool.lease():
                await asyncio.sleep(1000)

        for turns in (1, 5, 20, 60, 200):
            work = asyncio.ensure_future(lease())
            for _ in range(turns):
                await asyncio.sleep(0)
            work.cancel()
            await asyncio.wait([work])
            states = [each.config["user.sandbox.state"] for each in (await instances(client)).values()]
            assert "leased" not in states, turns

    for seconds in (0.05, 0.3, 0.5):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), Pool(client, "busybox", size=3, limits=LIMITS):
                await asyncio.sleep(1000)
        assert await instances(client) == {}, seconds
