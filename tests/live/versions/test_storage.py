"""Pools, volumes with all that hangs below them, and buckets: each operation, read back, on each version."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from incus_sdk import (
    Client,
    F,
    IncusAPIError,
    IncusConflictError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    IncusPreconditionError,
    IncusUnsupportedError,
    models,
)
from incus_sdk.api.storage import StoragePool, Volume
from incus_sdk.testing import Daemon
from tests.live.roots import ROOTS

ODD = "vol-é%41"


async def has(client: Client, extension: str) -> bool:
    return extension in (await client.get_server_info())["metadata"]["api_extensions"]


@pytest.fixture
async def pool(client: Client, name: str) -> AsyncIterator[StoragePool]:
    """A pool of its own."""
    pool = await client.storage_pools.create(f"{name}-pool", "dir")
    yield pool
    await pool.delete()


@asynccontextmanager
async def volume(client: Client, key: str, pool: str = "default", **body: Any) -> AsyncGenerator[Volume]:
    """A volume, deleted wherever it has gone to."""
    volume = await client.storage_pools[pool].volumes.create(key, **body)
    try:
        yield volume
    finally:
        if await volume.exists():
            await volume.delete()


async def test_a_pool_is_made_listed_changed_measured_and_deleted(client: Client, name: str) -> None:
    pools = client.storage_pools
    pool = await pools.create(name, "dir", {"user.a": 1, "rsync.compression": False}, description="first")
    try:
        assert (pool.driver, pool.description, pool.status) == ("dir", "first", "Created")
        assert pool.config["user.a"] == "1"
        assert pool.config["rsync.compression"] == "false"
        with pytest.raises(IncusAPIError, match="already exists"):
            await pools.create(name, "dir")
        with pytest.raises(IncusAPIError):
            await pools.create(f"{name}-x", "no-such-driver")

        for recursion in (0, 1):
            assert {each.name for each in await pools.list(recursion)} == {"default", name}
        assert [each.raw for each in await pools.list(filter=F("name") == name)] == [pool.raw]
        with pytest.raises(IncusInputError, match="all_projects"):
            await pools.list(all_projects=True)

        await pools.update(name, {"description": "second", "user.b": "2"})
        assert (await pool.refresh()).description == "second"
        assert (pool.config["user.a"], pool.config["user.b"]) == ("1", "2")
        old = pool.etag
        await pool.patch({"config": {"user.c": "3"}})
        assert {"user.a", "user.b", "user.c"} <= set((await pool.refresh()).config)
        with pytest.raises(IncusPreconditionError):
            await pool.replace({"description": "third"}, etag=old)
        kept = {key: value for key, value in pool.config.items() if not key.startswith("user.")}
        await pools.replace(name, {"description": "third", "config": kept})
        assert (await pool.refresh()).description == "third"
        assert "user.a" not in pool.config

        resources = await pool.get_resources()
        assert 0 < resources.space.used < resources.space.total
        assert resources.inodes.total > 0
    finally:
        await pool.delete()
    assert not await pools.exists(name)
    with pytest.raises(IncusNotFoundError):
        await pool.refresh()
    with pytest.raises(IncusAPIError, match=r"(?i)not found"):  # under HTTP 500
        await pool.get_resources()


async def test_volumes_are_listed_by_type_filter_and_project(client: Client, pool: StoragePool, name: str) -> None:
    volumes = pool.volumes
    await client.projects.create(name, config={"features.storage.volumes": True, "features.images": False})
    there = client.use_project(name).storage_pools[pool.name].volumes
    async with volume(client, f"custom/{ODD}", pool.name, description="mine") as mine:
        theirs = await there.create("custom/theirs")
        try:
            for recursion in (0, 1):
                assert [each.name for each in await volumes.list(recursion)] == [ODD]
                assert [each.name for each in await volumes.list(recursion, type="custom")] == [ODD]
                assert await volumes.list(recursion, type="virtual-machine") == []
                everywhere = await volumes.list(recursion, all_projects=True)
                assert {(each.project, each.name) for each in everywhere} == {("default", ODD), (name, "theirs")}
                assert {(await each.refresh()).project for each in everywhere} == {"default", name}
                assert [each.name for each in await volumes.list(recursion, project=name)] == ["theirs"]
            assert [each.raw for each in await volumes.list(filter=F("name") == ODD)] == [mine.raw]
            assert await volumes.list(filter=F("name") == "nobody") == []
            assert [each.name for each in await client.storage_pools.list_volumes(pool.name, "custom")] == [ODD]
            with pytest.raises(IncusInputError, match="one of custom"):
                await volumes.list(type="vm")
        finally:
            await theirs.delete()
            await client.projects.delete(name)


async def test_a_volume_with_all_that_hangs_below_it_comes_in_one_request(client: Client, name: str) -> None:
    volumes = client.storage_pools["default"].volumes
    async with volume(client, f"custom/{name}") as made:
        await made.snapshots.create("s0")
        await made.backups.create("b0")
        if not await has(client, "storage_volume_full"):
            for asked in (volumes.list(2), volumes.get(f"custom/{name}", recursion=1)):
                with pytest.raises(IncusUnsupportedError, match="storage_volume_full"):
                    await asked
            return
        listed = [each for each in await volumes.list(2, type="custom") if each.name == name]
        for full in (listed[0].full, (await volumes.get(f"custom/{name}", recursion=1)).full):
            assert isinstance(full, models.StorageVolumeFull)
            assert full.name == name
            assert [each.name.rpartition("/")[2] for each in full.snapshots] == ["s0"]
            assert [each.name for each in full.backups] == ["b0"]
            assert full.state.usage.used >= 0
        read = await volumes.get(f"custom/{name}", recursion=1)
        await volumes.replace(f"custom/{name}", {"config": read.config}, read.etag)
        await volumes.update(f"custom/{name}", {"config": {"user.by": "another"}})
        with pytest.raises(IncusPreconditionError):
            await volumes.replace(f"custom/{name}", {"config": read.config}, read.etag)


@pytest.mark.parametrize("content_type", ["filesystem", "block"])
async def test_a_volume_is_made_changed_renamed_and_deleted(client: Client, name: str, content_type: str) -> None:
    volumes = client.storage_pools["default"].volumes
    size: models.Config = {"size": 1 << 20} if content_type == "block" else {}
    made = await volumes.create(f"custom/{name}", content_type, description="first", config=size)
    assert (made.type, made.content_type, made.description) == ("custom", content_type, "first")
    with pytest.raises(IncusConflictError):
        await volumes.create(f"custom/{name}")
    await made.update({"description": "second", "user.a": 1})
    old = (await made.refresh()).etag
    assert (made.description, made.config["user.a"]) == ("second", "1")
    await volumes.patch(f"custom/{name}", {"config": {"user.b": "2"}})
    assert {"user.a", "user.b"} <= set((await made.refresh()).config)
    with pytest.raises(IncusPreconditionError):
        await made.replace({"description": "x"}, etag=old)
    kept = {key: value for key, value in made.config.items() if not key.startswith("user.")}
    await made.replace({"description": "third", "config": kept}, etag=made.etag)
    assert (await made.refresh()).description == "third"
    assert "user.a" not in made.config
    assert (await made.get_state()).usage.used >= 0
    new = await volumes.rename(f"custom/{name}", ODD)
    assert not await made.exists()
    assert (await new.refresh()).name == ODD
    await new.delete()
    with pytest.raises(IncusNotFoundError):
        await new.refresh()


async def test_a_volume_moves_to_another_pool_and_project_with_its_snapshots(
    client: Client, pool: StoragePool, name: str
) -> None:
    await client.projects.create(name, config={"features.storage.volumes": True, "features.images": False})
    try:
        async with volume(client, f"custom/{name}", description="moving") as moving:
            await moving.snapshots.create("s0")
            await moving.move(pool.name, new_name="new")
            assert await pool.volumes.exists("custom/new")
            assert (await moving.refresh()).name == "new"
            assert moving.description == "moving"
            assert [each.name for each in await moving.snapshots.list()] == ["s0"]
            assert not await client.storage_pools["default"].volumes.exists(f"custom/{name}")

            await moving.move(project=name)
            assert (await moving.refresh()).project == name
            assert not await pool.volumes.exists("custom/new")
            await moving.move(new_name="newer")
            assert (await moving.refresh()).name == "newer"
            with pytest.raises(IncusNotFoundError):
                await moving.move("no-such-pool")
            assert (await moving.refresh()).name == "newer"
    finally:
        await client.projects.delete(name)


async def test_a_volume_moves_to_another_member_of_a_cluster(daemon: Daemon, request: pytest.FixtureRequest) -> None:
    root = ROOTS[request.node.callspec.params["daemon"]]
    async with (
        Daemon(root=root, image=False) as first,
        Daemon(root=root, image=False, beside=first) as second,
        first.client() as one,
        second.client() as two,
    ):
        certificate = await one.cluster.enable("one")
        asked = (await one.cluster.get()).member_config
        token = await one.cluster.add_member("two")
        await two.profiles.replace("default", {})
        await two.storage_pools.delete("default")
        address = second.address.removeprefix("https://")
        await two.cluster.join(token, address, asked, cluster_certificate=certificate)

        here = one.use_target("one").storage_pools["default"].volumes
        moving = await here.create("custom/v", config={"user.a": "1"}, description="kept on the way")
        files = await one.has_extension("custom_volume_sftp")
        if files:
            await moving.path("/file").write_text("kept")
        await moving.snapshots.create("s0")
        with pytest.raises(IncusInputError, match="at once"):
            await moving.move(target="two", project="p")
        await moving.move(target="two", new_name="w")
        assert ((await moving.refresh()).location, moving.name) == ("two", "w")
        assert (moving.description, moving.config.get("user.a")) == ("kept on the way", "1")
        assert not files or await moving.path("/file").read_text() == "kept"
        assert [each.name for each in await moving.snapshots.list()] == ["s0"]
        assert not await one.storage_pools["default"].volumes.exists("custom/v")


async def test_a_snapshot_of_a_volume_is_taken_changed_renamed_restored_and_deleted(client: Client, name: str) -> None:
    async with volume(client, f"custom/{name}") as made:
        snapshots = made.snapshots
        taken = await snapshots.create("s0", expires_at="2099-01-01T00:00:00Z")
        assert taken.expires_at is not None
        assert taken.expires_at.year == 2099
        with pytest.raises(IncusAPIError, match=r"(?i)already"):
            await snapshots.create("s0")
        await taken.update({"description": "second"})
        await snapshots.patch("s0", {"description": "third"})
        assert (await taken.refresh()).description == "third"
        assert taken.expires_at.year == 2099
        await taken.replace({"description": "fourth", "expires_at": "2098-01-01T00:00:00Z"}, etag=taken.etag)
        assert (await taken.refresh()).description == "fourth"
        assert taken.expires_at is not None
        assert taken.expires_at.year == 2098
        await snapshots.rename("s0", "s1")
        for recursion in (0, 1):
            assert [each.name for each in await snapshots.list(recursion)] == ["s1"]
        with pytest.raises(IncusInputError, match="filter"):
            await snapshots.list(filter="name eq s1")
        files = await has(client, "custom_volume_sftp")  # tests/live/test_resources.py shows the same without
        if files:
            await made.path("/later").write_bytes(b"x")
        await (await snapshots.get("s1")).restore()
        assert not files or not await made.path("/later").exists()
        await snapshots.delete("s1")
        assert await snapshots.list() == []
        with pytest.raises(IncusNotFoundError):
            await snapshots.get("s1")


async def test_a_volume_is_emptied(client: Client, name: str) -> None:
    async with volume(client, f"custom/{name}", config={"user.a": "1"}) as made:
        if not await has(client, "storage_volumes_rebuild"):
            with pytest.raises(IncusUnsupportedError, match="storage_volumes_rebuild"):
                await made.rebuild()
            return
        await made.path("/file").write_bytes(b"x")
        await made.rebuild()
        assert not await made.path("/file").exists()
        assert (await made.refresh()).config["user.a"] == "1"
        await made.snapshots.create("s0")
        with pytest.raises(IncusOperationError, match="snapshots"):
            await made.rebuild()


async def test_the_files_of_a_volume_are_reached_by_sftp_and_one_by_one(client: Client, name: str) -> None:
    async with volume(client, f"custom/{name}") as made:
        if not await has(client, "file_storage_volume"):
            for call in (
                made.path("/f").read_bytes(),
                made.get_files("/f"),
                made.put_files("/f", b""),
                made.stat_files("/f"),
                made.delete_files("/f"),
            ):
                with pytest.raises(IncusUnsupportedError):
                    await call
            return
        async with made.sftp() as root:
            await (root / "dir").mkdir()
            await (root / "dir" / "é%41").write_text("one")
        await made.put_files("/dir/two", b"two", mode=0o600, uid=1000)
        assert await made.get_files("/dir/é%41") == b"one"
        assert await made.path("/dir/two").read_bytes() == b"two"
        found = await made.stat_files("/dir/two")
        assert (found.type, found.mode, found.uid, found.size) == ("file", 0o600, 1000, 3)
        await made.delete_files("/dir/two")
        assert not await made.path("/dir/two").exists()
        with pytest.raises(IncusAPIError):
            await made.delete_files("/dir")
        await made.delete_files("/dir", force=True)
        for call in (made.get_files("/dir"), made.stat_files("/dir")):
            with pytest.raises(IncusNotFoundError):
                await call


async def test_bitmaps_are_those_of_a_running_virtual_machine(client: Client, name: str) -> None:
    # What works is played in tests/unit/test_api_storage.py.
    async with volume(client, f"custom/{name}", content_type="block", config={"size": 1 << 20}) as disk:
        bitmaps = disk.bitmaps
        expected = IncusAPIError if await has(client, "storage_volume_nbd") else IncusUnsupportedError
        for call in (bitmaps.list(), bitmaps.get("b"), bitmaps.create("b"), bitmaps.delete("b")):
            with pytest.raises(expected):
                await call


async def negotiated(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Agree with an NBD server on its only export, and return that one's size."""
    assert await reader.readexactly(16) == b"NBDMAGICIHAVEOPT"
    assert await reader.readexactly(2) == b"\0\3"  # it knows the fixed newstyle, and to leave zeros out
    writer.write(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0))
    size, _ = struct.unpack(">QH", await reader.readexactly(10))
    return int(size)


async def test_a_block_volume_is_read_and_written_by_nbd(client: Client, name: str) -> None:
    async with volume(client, f"custom/{name}", content_type="block", config={"size": 1 << 20}) as disk:
        if not await has(client, "storage_volume_nbd"):
            with pytest.raises(IncusUnsupportedError, match="storage_volume_nbd"):
                await disk.nbd().__aenter__()
            return
        content = b"written by nbd".ljust(512, b"\0")
        async with disk.nbd(writable=True) as (reader, writer):
            assert await negotiated(reader, writer) == 1 << 20
            writer.write(struct.pack(">IHHQQI", 0x25609513, 0, 1, 7, 4096, len(content)) + content)
            assert struct.unpack(">IIQ", await reader.readexactly(16)) == (0x67446698, 0, 7)
        async with disk.nbd() as (reader, writer):
            await negotiated(reader, writer)
            writer.write(struct.pack(">IHHQQI", 0x25609513, 0, 0, 8, 4096, len(content)))
            assert struct.unpack(">IIQ", await reader.readexactly(16)) == (0x67446698, 0, 8)
            assert await reader.readexactly(len(content)) == content


@pytest.fixture
async def s3(client: Client) -> AsyncIterator[None]:
    """The server's own S3, where it has one."""
    if await has(client, "storage_bucket_full"):
        await client.query("PATCH", "/1.0", body={"config": {"core.storage_buckets_address": "127.0.0.1:9555"}})
    yield
    if await has(client, "storage_bucket_full"):
        await client.query("PATCH", "/1.0", body={"config": {"core.storage_buckets_address": ""}})


async def test_a_bucket_and_its_keys_are_made_listed_changed_and_deleted(
    client: Client, pool: StoragePool, s3: None, name: str
) -> None:
    buckets, name = pool.buckets, f"bucket-{name}"
    if not await has(client, "storage_bucket_full"):
        for recursion in (0, 1):
            assert await buckets.list(recursion) == []
        for asked in (buckets.list(2), buckets.get(name, recursion=1)):
            with pytest.raises(IncusUnsupportedError, match="storage_bucket_full"):
                await asked
        with pytest.raises(IncusAPIError):  # it has no MinIO
            await buckets.create(name)
        with pytest.raises(IncusNotFoundError):
            await buckets.get(name)
        return
    bucket = await buckets.create(name, description="first", config={"user.a": "1"})
    try:
        assert (bucket.description, bucket.config["user.a"]) == ("first", "1")
        assert bucket.s3_url.endswith(f":9555/{name}")
        with pytest.raises(IncusAPIError, match=r"(?i)already"):
            await buckets.create(name)
        for recursion in (0, 1, 2):
            for found in (await buckets.list(recursion), await buckets.list(recursion, all_projects=True)):
                assert [(each.name, each.project) for each in found] == [(name, "default")]
        assert [each.name for each in await buckets.list(filter=F("name") == name)] == [name]
        assert await buckets.list(filter=F("name") == "nobody") == []

        await bucket.update({"description": "second", "user.b": 2})
        assert (await bucket.refresh()).description == "second"
        assert bucket.config["user.b"] == "2"
        await buckets.patch(name, {"description": "third", "config": {"user.c": "3"}})
        assert {"user.a", "user.b", "user.c"} <= set((await bucket.refresh()).config)
        await bucket.patch({"description": "patched"})
        assert {"user.a", "user.b", "user.c"} <= set((await bucket.refresh()).config)
        assert bucket.description == "patched"
        await bucket.replace({"description": "fourth", "config": {}})
        assert (await bucket.refresh()).description == "fourth"
        assert "user.a" not in bucket.config

        keys = bucket.bucket_keys
        key = await keys.create("reader", description="first")
        assert key.role == "read-only"
        assert key.access_key
        assert key.secret_key
        assert key.secret_key not in f"{key!r}{key}{bucket!r}"
        assert {each.name: each.role for each in await keys.list()} == {"admin": "admin", "reader": "read-only"}
        assert {each.name for each in await keys.list(0)} == {"admin", "reader"}
        await keys.update("reader", {"description": "second"})
        read = await keys.get("reader")
        assert (read.description, read.secret_key, read.role) == ("second", key.secret_key, "read-only")
        await read.replace({"role": "admin", "access-key": "ACCESS" * 3, "secret-key": "SECRET" * 6})
        assert ((await key.refresh()).access_key, key.role) == ("ACCESS" * 3, "admin")
        assert not hasattr(key, "patch"), "the API has none"
        full = (await buckets.get(name, recursion=1)).full
        assert {each.name for each in full.bucket_keys} == {"admin", "reader"}
        assert (await buckets.get(name, recursion=1)).etag == (await buckets.get(name)).etag is not None
        assert list(full.backups) == []
        await keys.delete("reader")
        with pytest.raises(IncusNotFoundError):
            await key.refresh()
    finally:
        await bucket.delete()
    assert not await buckets.exists(name)


async def test_a_copy_is_made_under_its_name_or_not_at_all(client: Client, name: str) -> None:
    volumes = client.storage_pools["default"].volumes
    source, other = [await volumes.create(f"custom/{name}-{which}") for which in ("a", "b")]
    snapshot = await source.snapshots.create("s0")
    for wrong in (f"{other.name}/x", f"custom/{name}-c"):
        for copy in (source.copy(wrong), snapshot.copy(wrong)):
            with pytest.raises(IncusInputError, match=f"without its type and without a slash, not '{wrong}'"):
                await copy
    assert await other.snapshots.list() == []
    await other.delete()
    await source.delete()


async def test_only_a_custom_volume_moves_by_itself(client: Client, name: str) -> None:
    volumes = client.storage_pools["default"].volumes
    volume = await volumes.create(f"custom/{name}")
    await volume.snapshots.create("s0")
    for key, reason in ((f"custom/{name}/s0", "goes with its volume"), ("container/x", "goes with its instance")):
        with pytest.raises(IncusInputError, match=reason):
            await volumes[key].move("other", new_name="moved")
    assert [snapshot.name for snapshot in await volume.snapshots.list()] == ["s0"]
    await volume.delete()
