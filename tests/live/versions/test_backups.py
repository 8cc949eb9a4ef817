"""Backups of instances, volumes and buckets: kept, listed, downloaded, streamed, and made into objects again."""

from __future__ import annotations

import inspect
import io
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    IncusUnsupportedError,
    Instance,
    Progress,
)
from incus_sdk._connection.scope import Scope
from incus_sdk.api.backups import BucketBackupsAPI, InstanceBackupsAPI, VolumeBackupsAPI
from incus_sdk.api.buckets import Bucket
from incus_sdk.api.storage import Volume
from incus_sdk.testing import Daemon
from tests.live.inside import serving

ODD = "backup-é%41"


async def has(client: Client, extension: str) -> bool:
    return extension in (await client.get_server_info())["metadata"]["api_extensions"]


@asynccontextmanager
async def backed_up(client: Client, kind: str, name: str) -> AsyncGenerator[Instance | Volume | Bucket]:
    """Something to back up; skips what this server cannot have."""
    pool = client.storage_pools["default"]
    made: Instance | Volume | Bucket
    match kind:
        case "instance":
            made = await client.instances.create(name, {"type": "image", "alias": "busybox"}, wait=True)
        case "volume":
            made = await pool.volumes.create(f"custom/{name}", description="mine")
        case _:
            await client.query("PATCH", "/1.0", body={"config": {"core.storage_buckets_address": "127.0.0.1:9555"}})
            made = await pool.buckets.create(f"bucket-{name}", description="mine")
    try:
        yield made
    finally:
        await (made.delete(wait=True) if isinstance(made, Instance) else made.delete())
        if kind == "bucket":
            await client.query("PATCH", "/1.0", body={"config": {"core.storage_buckets_address": ""}})


Backups = InstanceBackupsAPI | VolumeBackupsAPI | BucketBackupsAPI

KINDS = ["instance", "volume", "bucket"]


@pytest.fixture
async def thing(client: Client, name: str, request: pytest.FixtureRequest) -> AsyncIterator[Instance | Volume | Bucket]:
    kind = request.param
    if kind == "bucket" and not await has(client, "storage_bucket_full"):
        pytest.skip("local buckets of 6.0 need MinIO")
    async with backed_up(client, kind, name) as thing:
        yield thing


def members(content: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return set(tar.getnames())


@pytest.mark.parametrize("thing", KINDS, indirect=True)
async def test_a_backup_is_kept_listed_downloaded_renamed_and_deleted(
    client: Client, thing: Instance | Volume | Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups: Backups = thing.backups
    backup = await backups.create(ODD, compression_algorithm="none", expires_at="2099-01-01T00:00:00Z")
    assert backup.name == ODD
    assert backup.created_at is not None
    assert backup.expires_at is not None
    assert backup.expires_at.year == 2099
    with pytest.raises(IncusError):
        await backups.create(ODD, compression_algorithm="none")
    picked = await backups.create()
    assert picked.name == "backup0"
    assert picked.created_at is not None
    assert picked.expires_at is not None
    assert timedelta(hours=23) < picked.expires_at - picked.created_at < timedelta(hours=25)
    for recursion in (0, 1):
        listed = await backups.list(recursion)
        assert {each.name for each in listed} == {ODD, "backup0"}
        assert {(await each.refresh()).name for each in listed} == {ODD, "backup0"}
    with pytest.raises(IncusInputError, match="filter"):
        await backups.list(filter="name eq x")

    seen: list[Progress] = []
    await backup.export(tmp_path / "file", progress=seen.append)
    content = (tmp_path / "file").read_bytes()
    assert "backup/index.yaml" in members(content)
    assert len(content) == seen[-1].processed
    assert (seen[-1].stage, seen[-1].percent) == ("download", 100)
    async with backup.stream() as pieces:
        assert b"".join([piece async for piece in pieces]) == content
    with pytest.raises(IncusInputError, match="cannot be written"):
        await backup.export(tmp_path / "no" / "file")

    if isinstance(thing, Bucket):
        # Servers up to 7.3 look for it without the bucket's name; the operations fail, and are not to count as seen.
        monkeypatch.setattr(Scope, "request", inspect.unwrap(Scope.request))
        for asked in (backups.rename("backup0", "new"), backup.delete()):
            with pytest.raises(IncusOperationError, match=r"no such file|not found"):
                await asked
        return
    await backups.rename("backup0", "new")
    assert {each.name for each in await backups.list()} == {ODD, "new"}
    await backups.delete("new")
    await backup.delete()
    assert await backups.list() == []
    with pytest.raises(IncusNotFoundError):
        await backup.export(tmp_path / "gone")
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


@pytest.mark.parametrize("thing", KINDS, indirect=True)
async def test_a_backup_is_read_as_it_is_made(
    client: Client, thing: Instance | Volume | Bucket, tmp_path: Path
) -> None:
    backups: Backups = thing.backups
    direct = backups.direct(compression_algorithm="none")
    kept: Any
    for kept in ({"name": "x"}, {"expires_at": "2099-01-01T00:00:00Z"}, {"target": {}}):
        with pytest.raises(IncusInputError, match=next(iter(kept))):
            backups.direct(**kept)
    if not await has(client, "direct_backup"):
        with pytest.raises(IncusUnsupportedError, match="direct_backup"):
            await direct.export(tmp_path / "file")
        assert list(tmp_path.iterdir()) == []
        return
    await direct.export(tmp_path / "file")
    assert "backup/index.yaml" in members((tmp_path / "file").read_bytes())
    async with direct.stream() as pieces:
        assert "backup/index.yaml" in members(b"".join([piece async for piece in pieces]))
    assert await backups.list() == []
    if not isinstance(thing, Bucket):  # of a bucket the server compresses by its own setting
        with pytest.raises(IncusAPIError, match=r"(?i)compression"):
            await backups.direct(compression_algorithm="no such").export(tmp_path / "x")
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


@pytest.mark.parametrize("thing", KINDS, indirect=True)
async def test_an_export_is_one_call_and_leaves_nothing_on_the_server(
    client: Client, thing: Instance | Volume | Bucket, tmp_path: Path
) -> None:
    backups: Backups = thing.backups
    pool = client.storage_pools["default"]
    groups: dict[type, Any] = {Instance: client.instances, Volume: pool.volumes, Bucket: pool.buckets}
    key = f"custom/{thing.name}" if isinstance(thing, Volume) else thing.name
    seen: list[Progress] = []
    await thing.export(tmp_path / "file", compression_algorithm="none", progress=seen.append)
    assert "backup/index.yaml" in members((tmp_path / "file").read_bytes())
    assert (seen[-1].stage, seen[-1].processed) == ("download", (tmp_path / "file").stat().st_size)
    assert await backups.list() == []

    def fail(update: Progress) -> None:
        if update.stage == "download":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await thing.export(tmp_path / "failed", progress=fail)
    await groups[type(thing)].export(key, tmp_path / "again")
    assert (tmp_path / "again").stat().st_size
    assert await backups.list() == []
    odd: Any = thing
    for refused in (
        thing.export(tmp_path / "no" / "file"),
        odd.export(tmp_path / "x", expires_at="never"),
        odd.export(tmp_path / "x", compression="none"),
    ):
        with pytest.raises(IncusInputError, match=r"cannot be written|has no option"):
            await refused
    with pytest.raises(IncusNotFoundError):
        await groups[type(thing)].export(key.replace(thing.name, "no-such"), tmp_path / "x")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "again"}


async def test_an_instance_comes_back_from_its_backup_as_it_was_or_otherwise(
    client: Client, box: Instance, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "backup.tar"
    await box.path("/root/mine").write_text("kept")
    await box.snapshots.create("s0")
    await (await box.backups.create("b0", compression_algorithm="none")).export(file)
    await (await box.backups.create("b1", compression_algorithm="none", instance_only=True)).export(tmp_path / "only")
    assert [each.instance_only for each in await box.backups.list()] == [False, True]
    await box.stop(force=True, wait=True)
    with pytest.raises(IncusError):
        await client.instances.create_from_backup(file)  # there is one already
    await box.delete(wait=True)

    seen: list[Progress] = []
    back = await client.instances.create_from_backup(file, progress=seen.append)
    assert back.name == name
    assert back.status == "Stopped"
    assert seen[0].stage == "upload"
    assert any(each.processed == file.stat().st_size for each in seen)
    assert await back.path("/root/mine").read_text() == "kept"
    assert [each.name for each in await back.snapshots.list()] == ["s0"]

    pieces = [(tmp_path / "only").read_bytes()]
    other = await client.instances.create_from_backup(pieces, f"{name}-other", pool="default")
    assert other.name == f"{name}-other"
    assert await other.snapshots.list() == []
    await other.delete(wait=True)
    overridden = client.instances.create_from_backup(
        str(file),
        f"{name}-new",
        config={"user.a": 1},
        devices={"root": {"type": "disk", "path": "/", "pool": "default", "size": "1GiB"}},
    )
    if await has(client, "backup_override_config"):
        new = await overridden
        assert new.config["user.a"] == "1"
        assert new.devices["root"]["size"] == "1GiB"
        await new.delete(wait=True)
    else:
        with pytest.raises(IncusUnsupportedError, match="backup_override_config"):
            await overridden
    config: Any
    devices: Any
    for config, devices in (({"user.a": "b c"}, None), ({"user.a": None}, None), (None, {"root": None})):
        with pytest.raises(IncusInputError, match="with a backup"):
            await client.instances.create_from_backup(file, "x", config=config, devices=devices)
    with pytest.raises(IncusAPIError):
        await client.instances.create_from_backup(b"no backup")
    with pytest.raises(IncusInputError, match="cannot be read"):
        await client.instances.create_from_backup(tmp_path / "no-such")


async def test_a_volume_comes_back_from_its_backup(client: Client, name: str, tmp_path: Path) -> None:
    volumes = client.storage_pools["default"].volumes
    volume = await volumes.create(f"custom/{name}", description="mine", config={"user.a": "1"})
    await volume.snapshots.create("s0")
    made = await volume.backups.create("b0", compression_algorithm="gzip", volume_only=False)
    assert not made.volume_only
    assert not made.optimized_storage
    await made.export(tmp_path / "file")
    with (tmp_path / "file").open("rb") as file:
        copy = await volumes.create_from_backup(file, f"custom/{name}-copy")
    assert (copy.name, copy.description, copy.config["user.a"]) == (f"{name}-copy", "mine", "1")
    assert [each.name for each in await copy.snapshots.list()] == ["s0"]
    with pytest.raises(IncusError):
        await volumes.create_from_backup(tmp_path / "file")
    await volume.delete()
    again = await volumes.create_from_backup((tmp_path / "file").read_bytes())
    assert (again.name, again.type) == (name, "custom")
    for wrong in ("image/x", "custom/x/snapshot", "x"):
        with pytest.raises(IncusInputError):
            await volumes.create_from_backup(tmp_path / "file", wrong)
    await copy.delete()
    await again.delete()


async def test_a_volume_is_made_from_an_iso_image(client: Client, name: str) -> None:
    volumes = client.storage_pools["default"].volumes
    content = bytes(1 << 20)
    seen: list[Progress] = []
    iso = await volumes.create_from_iso(io.BytesIO(content), f"custom/{name}", progress=seen.append)
    assert (seen[-1].stage, seen[-1].percent, seen[-1].total) == ("upload", 100, len(content))
    assert (iso.content_type, iso.config["size"]) == ("iso", str(len(content)))
    if await has(client, "backup_iso"):
        async with (await iso.backups.create("b0", compression_algorithm="none")).stream() as pieces:
            assert b"".join([piece async for piece in pieces]) == content
    await iso.delete()


@pytest.mark.parametrize("thing", ["bucket"], indirect=True)
async def test_a_bucket_comes_back_from_its_backup(client: Client, thing: Bucket, tmp_path: Path) -> None:
    buckets = client.storage_pools["default"].buckets
    key = await thing.bucket_keys.get("admin")
    await (await thing.backups.create("b0")).export(tmp_path / "file")
    with pytest.raises(IncusError):  # the keys are those of the bucket, and belong to one alone
        await buckets.create_from_backup(tmp_path / "file", f"{thing.name}-copy")
    await thing.delete()
    copy = await buckets.create_from_backup(tmp_path / "file", f"{thing.name}-copy")
    assert (copy.name, copy.description) == (f"{thing.name}-copy", "mine")
    assert (await copy.bucket_keys.get("admin")).secret_key == key.secret_key
    await copy.delete()
    again = await buckets.create_from_backup(str(tmp_path / "file"))
    assert again.name == thing.name


@pytest.mark.parametrize("thing", ["instance", "volume"], indirect=True)
async def test_a_backup_goes_to_s3(client: Client, daemon: Daemon, thing: Instance | Volume) -> None:
    stored: dict[str, bytes] = {}

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert "Credential=access/" in request.headers["Authorization"]
        stored[f"{request.method} {request.path}"] = await request.content.read()
        return web.Response(headers={"ETag": '"e"'})

    async with serving(daemon, answer) as url:
        target: Any = {"url": url, "bucket_name": "b", "path": "x.tar", "access_key": "access", "secret_key": "5ecr3t"}
        if not await has(client, "backup_s3_upload"):
            with pytest.raises(IncusUnsupportedError, match="backup_s3_upload"):
                await thing.backups.upload(target)
            return
        await thing.backups.upload(target, compression_algorithm="none")
    assert stored.keys() == {"PUT /b/x.tar"}
    assert b"backup/index.yaml" in stored["PUT /b/x.tar"]
    with pytest.raises(IncusOperationError, match="refused") as refused:
        await thing.backups.upload(target, compression_algorithm="none")
    assert target["secret_key"] not in repr(refused.value.response)
    assert await thing.backups.list() == []
