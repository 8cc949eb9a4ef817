"""Copies and moves: within a server, and between two that reach each other or do not, of the same and of other
versions.
"""

from __future__ import annotations

import asyncio
import contextlib
import filecmp
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    Instance,
    Progress,
)
from incus_sdk.api.base import Resource
from incus_sdk.testing import Daemon
from tests.live.boxes import listening
from tests.live.roots import ROOTS
from tests.live.versions.test_cluster import empty, where

Mode = Literal["pull", "push", "relay"]
MODES: tuple[Mode, ...] = ("pull", "push", "relay")
PAIRS = {"6.0.4 to 6.0.4": "ab", "6.0.4 to 7.0.2": "ac", "7.0.2 to 6.0.4": "ca"}
KINDS = ("instance", "volume")
DEAD = "https://127.0.0.9:8443"
MB = 10**6


@dataclass
class Server:
    daemon: Daemon
    client: Client

    def file(self, kind: str, name: str) -> Path:
        """Where a file of an instance or a volume is, in the pool's directory."""
        pool = self.daemon.directory / "storage-pools" / "default"
        return pool / (f"containers/{name}/rootfs/root/data" if kind == "instance" else f"custom/default_{name}/data")

    def of(self, kind: str, name: str) -> Any:
        if kind == "instance":
            return self.client.instances[name]
        return self.client.storage_pools["default"].volumes[f"custom/{name}"]

    async def make(self, kind: str, name: str, size: int = 100, **config: str) -> Any:
        """One with a file of so many bytes, most of them in a hole."""
        made: Any
        if kind == "instance":
            source = {"type": "image", "alias": "busybox"}
            made = await self.client.instances.create(name, source, config=config, wait=True)
        else:
            made = await self.client.storage_pools["default"].volumes.create(f"custom/{name}", config=config)
        with self.file(kind, name).open("wb") as file:
            file.write(os.urandom(100))
            file.truncate(size)
        return made

    async def left(self) -> list[str]:
        """What there is, and what is going on."""
        instances = await self.client.instances.list(0, all_projects=True)
        volumes = await self.client.storage_pools["default"].list_volumes("custom", 0)
        operations = [
            operation for operation in await self.client.operations.list() if operation.status in ("Running", "Pending")
        ]
        return [repr(each) for each in (*instances, *volumes, *operations)]


@dataclass
class Pair:
    name: str
    source: Server
    target: Server

    def how(self, kind: str, mode: Mode) -> dict[str, Any]:
        """What says to where a copy goes, and how. The daemons reach each other by no address that they know of."""
        address = (self.source if mode == "pull" else self.target).daemon.address
        return {"to": there(self.target.client, kind), "mode": mode, "addresses": [address]}


def there(client: Client, kind: str) -> Any:
    return client if kind == "instance" else client.storage_pools["default"]


async def gone(*objects: Any) -> None:
    for each in objects:
        await (each.delete(wait=True) if isinstance(each, Instance) else each.delete())


async def snapshots(of: Any) -> list[str]:
    return sorted(snapshot.name for snapshot in await of.snapshots.list())


async def together(*works: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work)


@pytest.fixture(scope="module")
async def servers() -> AsyncIterator[dict[str, Server]]:
    async with AsyncExitStack() as stack:
        servers: dict[str, Server] = {}
        for name, version in (("a", "6.0.4"), ("b", "6.0.4"), ("c", "7.0.2")):
            beside = servers["a"].daemon if servers else None
            daemon = await stack.enter_async_context(Daemon(root=ROOTS[version], beside=beside))
            client = await stack.enter_async_context(daemon.client("https" if name == "b" else "unix"))
            servers[name] = Server(daemon, client)
        yield servers


@pytest.fixture(params=PAIRS)
async def pair(request: pytest.FixtureRequest, servers: dict[str, Server], nothing_left: None) -> Pair:
    return Pair(request.param, *(servers[each] for each in PAIRS[request.param]))


@pytest.fixture
async def nothing_left(servers: dict[str, Server]) -> AsyncIterator[None]:
    """Fails the test that leaves an object, an operation or a task."""
    tasks = asyncio.all_tasks()
    yield
    assert [await server.left() for server in servers.values()] == [[]] * len(servers)
    assert not asyncio.all_tasks() - tasks - {asyncio.current_task()}


async def test_a_copy_has_the_content_the_configuration_and_the_snapshots(pair: Pair, name: str) -> None:
    async def copied(kind: str, mode: Mode) -> None:
        how, own = pair.how(kind, mode), f"{name}-{mode}"
        source = await pair.source.make(kind, own, 10_000, **{"user.a": "1"})
        before = pair.source.file(kind, own).read_bytes()
        await source.snapshots.create("s0")
        pair.source.file(kind, own).write_bytes(b"later")

        copy = await source.copy(**how)
        assert (copy.name, copy.config["user.a"], await snapshots(copy)) == (own, "1", ["s0"])
        assert pair.target.file(kind, own).read_bytes() == b"later"
        old = await source.snapshots["s0"].copy(f"{own}-old", config={"user.a": None, "user.b": "2"}, **how)
        assert (old.name, old.config.get("user.a"), old.config["user.b"]) == (f"{own}-old", None, "2")
        assert (pair.target.file(kind, old.name).read_bytes(), await snapshots(old)) == (before, [])

        pair.source.file(kind, own).write_bytes(b"too late")
        with pytest.raises((IncusAPIError, IncusOperationError), match=r"already|exists|UNIQUE"):
            await source.copy(**how)
        assert pair.target.file(kind, own).read_bytes() == b"later", "what was there stays"
        await gone(copy, old, source)

    await together(*(copied(kind, mode) for kind in KINDS for mode in MODES))


async def test_a_refreshed_copy_is_the_source_as_it_is_now(pair: Pair, name: str) -> None:
    async def refreshed(kind: str, mode: Mode) -> None:
        how = pair.how(kind, mode)
        own = f"{name}-{mode}"
        source = await pair.source.make(kind, own, 10_000, **{"user.a": "1", "user.gone": "1"})
        await source.snapshots.create("s0")
        alone = {"instance_only" if kind == "instance" else "volume_only": True}
        copy = await source.copy(**alone, **how)
        assert await snapshots(copy) == []
        file = pair.target.file(kind, own)
        assert file.read_bytes() == pair.source.file(kind, own).read_bytes()

        untouched = file.with_name("untouched")
        pair.source.file(kind, own).with_name("untouched").write_bytes(b"same")
        await source.copy(refresh=True, **how)
        assert (untouched.read_bytes(), await snapshots(copy)) == (b"same", ["s0"])
        number = untouched.stat().st_ino

        change: dict[str, Any] = {"description": "new", "config": {"user.a": "2", "user.gone": None}}
        await (source.update(change, wait=True) if isinstance(source, Instance) else source.update(change))
        pair.source.file(kind, own).write_bytes(b"new")
        await source.snapshots.create("s1")
        again = await source.copy(refresh=True, **how)
        assert (again.description, again.config["user.a"], "user.gone" in again.config) == ("new", "2", False)
        assert (file.read_bytes(), await snapshots(again)) == (b"new", ["s0", "s1"])
        assert untouched.stat().st_ino == number, "what has not changed is not written again"
        await gone(again, source)

    modes: dict[str, Mode] = {"6.0.4 to 6.0.4": "pull", "6.0.4 to 7.0.2": "push", "7.0.2 to 6.0.4": "relay"}
    await together(*(refreshed(kind, modes[pair.name]) for kind in KINDS))


async def test_addresses_are_tried_in_turn(pair: Pair, name: str) -> None:
    async def reached(kind: str, mode: Mode) -> None:
        source = await pair.source.make(kind, f"{name}-{mode}")
        how = pair.how(kind, mode)
        with pytest.raises(IncusOperationError, match=r"refused.*none of .*127.0.0.9.* or use mode='relay'"):
            await source.copy(**how | {"addresses": [DEAD, DEAD.replace(".9", ".10")]})
        target = pair.target.of(kind, source.name)
        assert not await target.exists()
        copy = await source.copy(**how | {"addresses": [DEAD, *how["addresses"]]})
        assert copy == await target.refresh()
        await gone(copy, source)

    await together(*(reached(kind, mode) for kind in KINDS for mode in ("pull", "push")))


@pytest.mark.parametrize("when", ["begun", "in the middle"])
async def test_a_copy_that_is_cancelled_leaves_nothing(pair: Pair, name: str, when: str) -> None:
    async def cancelled(kind: str, mode: Mode) -> None:
        source = await pair.source.make(kind, f"{name}-{mode}", 100 * MB)
        target = pair.target.of(kind, source.name)
        copying = asyncio.ensure_future(source.copy(**pair.how(kind, mode)))
        await asyncio.wait([copying], timeout=0.03)
        while when == "in the middle" and not await target.exists():
            await asyncio.wait([copying], timeout=0.02)
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        assert not await target.exists()
        while True:  # a server that was cancelled lets go of the source a moment later
            with contextlib.suppress(IncusOperationError):
                return await gone(source)

    await together(*(cancelled(kind, mode) for kind in KINDS for mode in MODES))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_copy_that_is_cancelled_as_it_is_read_leaves_nothing(
    servers: dict[str, Server], nothing_left: None, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = await servers["a"].make(kind, name), servers["b"].of(kind, name)
    made = asyncio.Event()

    async def reading(self: Any) -> None:
        made.set()
        await asyncio.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(Resource, "refresh", reading)
        copying = asyncio.ensure_future(source.copy(to=there(servers["b"].client, kind), mode="relay"))
        await made.wait()
        assert await target.exists()
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
    assert not await target.exists()
    await gone(source)


async def test_an_error_of_the_callback_ends_a_copy(pair: Pair, name: str) -> None:
    told: list[str] = []

    def refused(progress: Progress) -> None:
        told.append(progress.stage)
        raise ZeroDivisionError

    source = await pair.source.make("instance", name)
    for mode in MODES:
        told.clear()
        try:
            copied = await source.copy(**pair.how("instance", mode), progress=refused)
        except ZeroDivisionError:
            assert {"relay", "create_instance_from_image_unpack"} >= {*told} > set()
        else:  # servers do not say how far they are with what is done quickly
            assert (mode != "relay", told) == (True, [])
            await gone(copied)
        assert not await pair.target.of("instance", name).exists()
    await gone(source)


async def test_a_move_deletes_the_source_once_the_copy_is_there(pair: Pair, name: str) -> None:
    box, volume = await pair.source.make("instance", name), await pair.source.make("volume", name)
    for each in (box, volume):
        await each.snapshots.create("s0")
    await box.update(
        {"devices": {"data": {"type": "disk", "pool": "default", "source": name, "path": "/srv"}}}, wait=True
    )
    await box.start(wait=True)
    with pytest.raises(IncusInputError, match="Running: stop it first"):
        await box.move(**pair.how("instance", "relay"))
    with pytest.raises(IncusInputError, match=f"used by /1.0/instances/{name}"):
        await volume.move(**pair.how("volume", "relay"))
    await box.stop(force=True, wait=True)
    taken = await pair.target.make("instance", f"{name}-taken")
    with pytest.raises((IncusAPIError, IncusOperationError)):
        await box.move(taken.name, **pair.how("instance", "pull"))
    assert await box.exists()
    await box.update({"devices": {"data": None}}, wait=True)

    await box.move(f"{name}-new", config={"user.moved": "1"}, **pair.how("instance", "push"))
    await volume.move(new_name=f"{name}-new", **pair.how("volume", "push"))
    assert (box.name, box.config["user.moved"], box.project) == (f"{name}-new", "1", "default")
    assert (volume.name, await snapshots(volume), await snapshots(box)) == (box.name, ["s0"], ["s0"])
    for kind in KINDS:
        assert not await pair.source.of(kind, name).exists()
    await box.start(wait=True)
    assert (await box.run(["cat", "/root/data"])).stdout == pair.target.file("instance", box.name).read_bytes()
    await box.stop(force=True, wait=True)
    await gone(box, volume, taken)


@pytest.mark.parametrize("which", ["a", "c"], ids=["6.0.4", "7.0.2"])
async def test_within_a_server_copies_go_to_other_projects_and_pools(
    servers: dict[str, Server], nothing_left: None, name: str, which: str
) -> None:
    server, client = servers[which], servers[which].client
    pool = await client.storage_pools.create(name, "dir")
    project = await client.projects.create(name, {"features.images": "false", "features.profiles": "false"})
    inside = client.use_project(name)

    async def copied(kind: str) -> None:
        source = await server.make(kind, name, 10_000, **{"user.a": "1"})
        await source.snapshots.create("s0")
        made: list[Any] = [
            await source.copy(f"{name}-2"),
            await source.copy(to=there(inside, kind)),
            await source.snapshots["s0"].copy(f"{name}-3", to=there(inside, kind)),
        ]
        if isinstance(source, Instance):
            made.append(await source.copy(f"{name}-4", pool=name, profiles=[], ephemeral=False))
            assert (made[-1].devices["root"]["pool"], made[-1].profiles) == (name, [])
        else:
            made.append(await source.copy(to=pool))
            assert made[-1]._path[1] == name
        assert [await snapshots(each) for each in made] == [["s0"], ["s0"], [], ["s0"]]
        assert [each.project for each in made] == ["default", name, name, "default"]
        assert all(each.config["user.a"] == "1" for each in made)
        server.file(kind, name).write_bytes(b"new")
        await source.copy(f"{name}-2", refresh=True)
        assert server.file(kind, f"{name}-2").read_bytes() == b"new"

        copying = asyncio.ensure_future(source.copy(f"{name}-5"))
        await asyncio.wait([copying], timeout=0.03)
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        assert not await server.of(kind, f"{name}-5").exists()

        await made[1].move(to=there(client, kind), **({"name": "back"} if kind == "instance" else {"new_name": "back"}))
        assert (made[1].name, made[1].project, await made[1].exists()) == ("back", "default", True)
        await gone(*made, source)

    try:
        await together(*map(copied, KINDS))
    finally:
        await gone(project, pool)


async def test_a_copy_on_another_server_is_started_refreshed_and_moved_while_it_runs(pair: Pair, name: str) -> None:
    box, volume = await pair.source.make("instance", name), await pair.source.make("volume", name, 100_000)
    for each in (box, volume):
        for old in ("s0", "s1"):
            await each.snapshots.create(old)
    seen: list[Progress] = []
    copy = await volume.copy(**pair.how("volume", "relay"), progress=seen.append)
    done = [each.processed or 0 for each in seen if each.stage == "relay"]
    assert done == sorted(done)
    assert done[-1] > 100
    await copy.snapshots.delete("s0")
    await asyncio.sleep(1)  # servers compare whole seconds
    await volume.snapshots.create("s2")
    await volume.copy(**pair.how("volume", "pull"), refresh=True, refresh_exclude_older=True)
    assert await snapshots(copy) == ["s1", "s2"]
    pair.source.file("volume", name).write_bytes(b"later")
    await volume.snapshots["s2"].copy(name, **pair.how("volume", "push"), refresh=True)
    assert pair.target.file("volume", name).stat().st_size == 100_000

    started = await box.copy(f"{name}-started", **pair.how("instance", "relay"), start=True, instance_only=True)
    assert started.status == "Running"
    await started.delete(force=True, wait=True)
    await box.start(wait=True)
    await listening(box)
    await box.move(**pair.how("instance", "pull"), stateless=True)
    assert box.status == "Running"
    assert await snapshots(box) == ["s0", "s1"]
    assert not await pair.source.of("instance", name).exists()
    await box.stop(force=True, wait=True)
    await gone(box, volume, copy)


async def test_a_volume_arrives_that_takes_longer_than_the_receiver_can_tell_the_sender_of(
    servers: dict[str, Server], nothing_left: None, name: str
) -> None:
    """A receiver of 6.0.4 has half a minute for all that it tells the sender of a volume, which then fails."""
    pair = Pair("", servers["c"], servers["a"])
    pool = pair.source.client.storage_pools["default"]

    async def arrived(mode: Mode) -> None:
        own = f"{name}-{mode}"
        source = await pair.source.make("volume", own)
        pair.source.file("volume", own).write_bytes(os.urandom(34 * MB))
        copy = await source.copy(**pair.how("volume", mode))
        sent = [each for each in await pair.source.client.operations.list() if own in str(each.resources)]
        assert [each.status for each in sent] == ["Failure"]
        assert filecmp.cmp(pair.source.file("volume", own), pair.target.file("volume", own), shallow=False)
        await gone(copy, source)

    await pool.patch({"config": {"rsync.bwlimit": "1MB"}})
    try:
        await together(*map(arrived, MODES))
    finally:
        await pool.patch({"config": {"rsync.bwlimit": ""}})


RELAYED = """
import asyncio, resource, sys
from incus_sdk import Client

async def main():
    async with Client(sys.argv[1]) as source, Client(sys.argv[2]) as target:
        seen = []
        pool = target.storage_pools["default"]
        small, large = (source.storage_pools["default"].volumes["custom/" + name] for name in sys.argv[3:5])
        await small.copy(sys.argv[5] + "-small", to=pool, mode="relay")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await large.copy(sys.argv[5], to=pool, mode="relay", progress=seen.append)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(grown // 1024, max(each.processed for each in seen), max(each.speed for each in seen))

asyncio.run(main())
"""


async def test_a_relay_of_250_mb_there_and_back_takes_flat_memory(
    servers: dict[str, Server], nothing_left: None, name: str
) -> None:
    near, size = servers["a"], 250 * MB
    async with Daemon(root=ROOTS["7.0.2"], image=False) as daemon, daemon.client("https") as client:
        far = Server(daemon, client)
        volumes = [await near.make("volume", f"{name}-small"), await near.make("volume", name)]
        original = near.file("volume", name)
        with original.open("wb") as file:
            for _ in range(size // MB):
                file.write(os.urandom(MB))
        with pytest.raises(IncusOperationError, match="none of"):
            await volumes[1].copy(to=there(client, "volume"), addresses=[near.daemon.address])
        for source, target, new in ((near, far, f"{name}-there"), (far, near, f"{name}-back")):
            sockets = (str(source.daemon.socket), str(target.daemon.socket))
            names = [volume.name for volume in volumes]
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", RELAYED, *sockets, *names, new, stdout=asyncio.subprocess.PIPE
            )
            printed, _ = await child.communicate()
            grown, most, speed = map(int, printed.split())
            assert grown < 50, f"memory grew by {grown} MiB for 250 MB"
            assert (size / 10 < most <= size * 1.1, speed > MB) == (True, True)
            assert filecmp.cmp(original, target.file("volume", new), shallow=False)
            volumes = [target.of("volume", f"{new}-small"), target.of("volume", new)]
        await gone(*volumes, near.of("volume", f"{name}-small"), near.of("volume", name))


async def test_what_cannot_be_copied_says_so_before_anything_is_sent(
    servers: dict[str, Server], nothing_left: None, name: str
) -> None:
    source, other = servers["a"], servers["b"].client
    box, volume = source.client.instances[name], source.client.storage_pools["default"].volumes[f"custom/{name}"]
    for work, what in (
        (box.copy(), "give the copy a name"),
        (volume.copy(), "give the copy a name"),
        (box.copy(to=other.instances), "must be a client"),  # type: ignore[arg-type]
        (volume.copy(to=other), "must be a storage pool"),  # type: ignore[arg-type]
        (source.client.storage_pools["default"].volumes[f"container/{name}"].copy("x"), "goes with its instance"),
    ):
        with pytest.raises(IncusInputError, match=what):
            await work
    with pytest.raises(IncusNotFoundError):
        await box.copy(to=other)
    made = await source.make("volume", name)
    with pytest.raises(IncusInputError, match="mode must be one of pull, push, relay"):
        await made.copy(to=other.storage_pools["default"], mode="carry")
    with pytest.raises(IncusInputError, match="addresses must be a list"):
        await made.copy(to=other.storage_pools["default"], addresses="https://x")
    await gone(made)


async def test_members_of_a_cluster_copy_and_move_to_each_other(name: str) -> None:
    async with Daemon() as first, Daemon(beside=first, image=False) as second, second.client() as joining:
        async with first.client() as alone:
            certificate = await alone.cluster.enable("one")
        async with first.client() as client:
            asked = (await client.cluster.get()).member_config
            token = await client.cluster.add_member("two")
            await empty(joining)
            await joining.cluster.join(token, where(second), asked, cluster_certificate=certificate)
            one, two = client.use_target("one"), client.use_target("two")

            box = await one.instances.create(name, {"type": "image", "alias": "busybox"}, wait=True)
            await box.put_files("/root/data", b"content")
            await box.snapshots.create("s0")
            copy = await box.copy(f"{name}-2", to=two)
            assert (box.location, copy.location, await snapshots(copy)) == ("one", "two", ["s0"])
            assert await copy.get_files("/root/data") == b"content"
            await box.move(to=two)
            assert ((await box.refresh()).location, await box.get_files("/root/data")) == ("two", b"content")

            pool = one.storage_pools["default"]
            volume = await pool.volumes.create("custom/data", config={"user.a": "1"})
            copied = await volume.copy("copied", to=two.storage_pools["default"])
            assert (volume.location, copied.location, copied.config["user.a"]) == ("one", "two", "1")
            await volume.move(to=two.storage_pools["default"])
            assert (await volume.refresh()).location == "two"
            await gone(copy, box, copied, volume)
