"""Boxes: what they do, from the lease to the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusError,
    IncusFrozenError,
    IncusInputError,
    IncusInstanceStoppedError,
    IncusNotFoundError,
    IncusNotRunningError,
    IncusTimeoutError,
    Instance,
    LifecycleEvent,
    ProcessError,
)
from incus_sdk.sandbox import Pool, connect, list_boxes, prune
from tests.live.sandbox.conftest import LIMITS, one_version


async def test_the_life_of_a_box_from_the_template_to_its_end(client: Client, tmp_path: Path) -> None:
    async def install_tools(instance: Instance) -> None:
        await instance.path("/bin/pytest").write_text("#!/bin/sh\necho fine; echo oh >&2\n", mode=0o755)

    async with Pool(
        client, "busybox", size=1, ttl=900, labels={"app": "agent"}, limits=LIMITS, prepare=install_tools
    ) as pool:
        async with pool.lease(labels={"user": "u1"}) as box:
            result = await box.run_code("sh", "echo $((6 * 7))", timeout=30)
            assert (result.returncode, result.stdout, result.stderr) == (0, "42\n", "")
            assert sorted([each async for each in box.stream(["pytest", "-q"])]) == [
                ("stderr", b"oh\n"),
                ("stdout", b"fine\n"),
            ]
            await box.write("/srv/in.json", "{}")
            assert await box.read("/srv/in.json", limit=1_000_000) == b"{}"
            branches = [await box.fork(labels={"branch": "1"})]
            assert await branches[0].read("/srv/in.json") == b"{}"
            await box.run(["sh", "-c", "(echo hello | nc -l -p 8000) >/dev/null 2>&1 &"])
            async with box.preview(8000) as (host, port):
                reader, writer = await asyncio.open_connection(host, port)
                assert await reader.read() == b"hello\n"
                writer.close()
                await writer.wait_closed()
            assert box.labels == {"app": "agent", "user": "u1"}
            assert [each.id for each in await list_boxes(client, labels={"user": "u1", "branch": "1"})] == [
                branches[0].id
            ]
        with pytest.raises(IncusNotFoundError):
            await connect(client, box.id)
        again = await connect(client, branches[0].id)
        longer = await (await connect(client, again.id)).extend(5000)
        async with await again.fork() as fourth:
            assert (longer - fourth.expires_at).total_seconds() < 100, "as long as it has left, whoever extended it"
        async with await again.fork(ttl=50) as third:
            assert third.expires_at < again.expires_at
        assert not await third.instance.exists()
        assert again.labels == {"app": "agent", "user": "u1", "branch": "1"}
        assert await again.read("/srv/in.json") == b"{}"
        assert await prune(client) == [], "nothing is over"


@one_version
async def test_code_runs_in_what_the_image_has(pool: Pool, client: Client) -> None:
    long = f"# {'x' * 200_000}\necho long $1"
    async with pool.lease() as box:
        assert (await box.run_code("sh", "cat; echo $1", args=["a"], input="in ")).stdout == "in a\n"
        assert (await box.run_code("sh", long, args=["b"])).stdout == "long b\n"
        assert (await box.run_code("sh", "exit 127")).returncode == 127
        with pytest.raises(ProcessError, match="exit code 3"):
            await box.run_code("sh", "exit 3", check=True)
        with pytest.raises(IncusInputError, match=r"has no python3, .*install it in prepare="):
            await box.run_code("python", "1")
    with pytest.raises(IncusInputError, match=r"busybox has no node, python3, .*prepare="):
        async with Pool(client, "busybox", limits=LIMITS, languages=["node", "python", "sh"]):
            pass
    assert all(each.config["user.sandbox.pool"] == pool.name for each in await client.instances.list())


@one_version
async def test_a_deadline_ends_all_that_a_command_started_and_keeps_what_it_wrote(pool: Pool) -> None:
    endless = "sleep 1000 & echo started; while :; do sleep 1; done"
    async with pool.lease() as box:
        with pytest.raises(IncusTimeoutError) as caught:
            await box.run_code("sh", endless, timeout=0.5)
        assert caught.value.stdout == "started\n"
        with pytest.raises(IncusTimeoutError):
            [each async for each in box.stream(["sh", "-c", endless], timeout=0.5)]
        async for _ in box.stream(["sh", "-c", endless]):
            break
        async with asyncio.timeout(20):
            while b"sleep 1000" in (await box.run(["ps"])).stdout:
                await asyncio.sleep(0.05)
        with pytest.raises(ProcessError, match="exit code 3"):
            async for _ in box.stream(["sh", "-c", "exit 3"], check=True):
                pass


async def test_a_box_goes_back_to_a_snapshot_and_keeps_its_time(pool: Pool) -> None:
    async with pool.lease() as box:
        await box.write("/srv/a/state", b"one")
        snapshot = await box.snapshot("first")
        await box.write("/srv/a/state", b"two")
        expires_at = await box.extend(5000)
        await box.rollback(snapshot)
        assert await box.read("/srv/a/state") == b"one"
        assert await box.list_files("/srv") == ["a/"]
        assert (await box.run(["true"])).returncode == 0
        assert box.expires_at == expires_at

        await box.pause()
        with pytest.raises(IncusFrozenError):
            await box.run(["true"])
        await box.resume()
        assert (await box.run(["true"])).returncode == 0

        work = asyncio.ensure_future(box.run(["sleep", "1000"]))
        await box.run(["sh", "-c", "until pidof sleep; do :; done"])
        await box.instance.stop(force=True, wait=True)
        with pytest.raises(IncusInstanceStoppedError):
            await work
        with pytest.raises(IncusNotRunningError):
            await box.run(["true"])
        await box.rollback(snapshot)
        assert (await box.run(["true"])).returncode == 0


async def test_nothing_comes_out_of_a_box_that_leads_out_of_the_copy_or_has_no_end(pool: Pool, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    async with pool.lease() as box:
        await box.run(
            ["sh", "-c", "mkdir /out && cd /out && echo fine >a && ln -s /etc/passwd b && ln -s / c"], check=True
        )
        await box.pull("/out", tree)
        assert [path.name for path in tree.iterdir()] == ["a"]
        await box.run(["sh", "-c", "truncate -s 1000G /out/endless; mkfifo /out/fifo"], check=True)
        with pytest.raises(IncusError, match="more than 1000000 bytes"):
            await box.pull("/out", tree, limit=1_000_000)
        for path in ("/out/endless", "/out/fifo", "/dev/zero", "/proc/kmsg"):
            with pytest.raises(IncusAPIError):
                await box.read(path, limit=1000)
        (tree / "more").mkdir()
        await box.push(tree, "/in")
        assert await box.list_files("/in") == ["a", "more/"]
        assert (await box.instance.path("/in/a").stat()).uid == 0


@one_version
@pytest.mark.parametrize("how", ["raises", "is cancelled", "is destroyed", "is gone"])
async def test_a_lease_ends_with_its_box_however_it_ends(pool: Pool, client: Client, how: str) -> None:
    leased = asyncio.Event()
    ids: list[str] = []

    async def use() -> None:
        async with pool.lease() as box:
            ids.append(box.id)
            leased.set()
            if how == "raises":
                raise ValueError
            if how == "is destroyed":
                await box.destroy()
            elif how == "is gone":
                await box.instance.delete(force=True, wait=True)
            else:
                await asyncio.sleep(1000)

    work = asyncio.ensure_future(use())
    await leased.wait()
    if how == "is cancelled":
        work.cancel()
    await asyncio.wait([work])
    assert isinstance(work.exception(), ValueError) if how == "raises" else work.cancelled() or work.exception() is None
    assert not await client.instances[ids[0]].exists()


@one_version
async def test_a_rollback_that_is_cancelled_gives_back_nothing_that_was_taken_away(client: Client, pool: Pool) -> None:
    async with pool.lease() as box, client.events.listen(["lifecycle"]) as events:
        await box.instance.update({"config": {"user.was": "then"}}, wait=True)
        snapshot = await box.snapshot()
        await box.instance.update({"config": {"user.was": None}}, wait=True)
        rolling = asyncio.create_task(box.rollback(snapshot))
        async for event in events:
            if isinstance(event, LifecycleEvent) and event.metadata.action == "instance-restored":
                break
        rolling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rolling
        await box.rollback(snapshot)
        assert "user.was" not in (await box.instance.refresh()).config
        assert (await box.run(["true"])).returncode == 0
