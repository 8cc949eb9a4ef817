"""A change that is asked for is made, or refused: in copies and moves, of devices, times, names, aliases, projects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusConflictError,
    IncusError,
    IncusInputError,
    IncusOperationError,
    Instance,
    LifecycleEvent,
    Progress,
)
from incus_sdk.api import images
from incus_sdk.api.images import Image
from incus_sdk.testing import Daemon
from tests.live.boxes import listening
from tests.live.versions.test_server import certificate

NIC = {"type": "nic", "nictype": "macvlan", "parent": "here", "name": "eth0"}
ROOT = {"type": "disk", "path": "/", "pool": "default", "size": "1GiB"}
OWN = {"eth0": NIC, "eth1": NIC | {"name": "eth1"}}


@pytest.fixture
async def instance(client: Client, name: str) -> AsyncIterator[Instance]:
    """An instance with two devices of its own, and a root disk and another one from its profile."""
    share = {"type": "disk", "source": "/usr/share", "path": "/mnt"}
    await client.profiles.create(name, devices={"root": ROOT, "share": share})
    made = await client.instances.create(
        name, {"type": "none"}, {"user.a": 1, "user.b": 2}, OWN, [name], wait=True, description="first"
    )
    yield made
    await made.delete(wait=True)
    await client.profiles.delete(name)


async def _from_instance(instance: Instance, **options: Any) -> Instance:
    return await instance.copy("copied", **options)


async def _from_snapshot(instance: Instance, **options: Any) -> Instance:
    snapshot = await instance.snapshots.create("s0")
    return await snapshot.copy("copied", **options)


async def _refreshed(instance: Instance, **options: Any) -> Instance:
    await instance.copy("copied")
    return await instance.copy("copied", refresh=True, **options)


COPIES = {"instance": _from_instance, "snapshot": _from_snapshot, "refresh": _refreshed}
Copy = Callable[..., Awaitable[Instance]]


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
async def test_a_copy_has_not_what_is_none(instance: Instance, copy: Copy) -> None:
    copied = await copy(
        instance,
        config={"user.a": None, "user.c": 3},
        devices={"eth0": {"parent": "there"}, "eth1": None, "share": None},
    )
    try:
        config = {key: value for key, value in copied.config.items() if key.startswith("user.")}
        assert config == {"user.b": "2", "user.c": "3"}
        assert copied.devices == {"eth0": NIC | {"parent": "there"}, "share": {"type": "none"}}
        of_a_snapshot = copy is _from_snapshot and "description" not in (await instance.snapshots.get("s0")).raw
        assert copied.description == ("" if of_a_snapshot else "first"), "6.0.4 does not tell that of a snapshot"
    finally:
        await copied.delete(wait=True)
    assert (await instance.refresh()).devices == OWN, "the original has them still"


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
async def test_a_copy_completes_what_changes_of_a_profiles_device(instance: Instance, copy: Copy) -> None:
    copied = await copy(instance, devices={"root": {"size": "2GiB"}})
    try:
        assert copied.devices == OWN | {"root": ROOT | {"size": "2GiB"}}
    finally:
        await copied.delete(wait=True)


async def test_a_copy_to_another_pool_keeps_the_rest_of_the_root_disk(client: Client, instance: Instance) -> None:
    pool = await client.storage_pools.create("p2", "dir")
    copied = await instance.copy("copied", pool="p2")
    try:
        assert copied.devices["root"] == ROOT | {"pool": "p2"}
    finally:
        await copied.delete(wait=True)
        await pool.delete()


async def test_a_device_that_cannot_be_completed_is_refused(client: Client, instance: Instance, name: str) -> None:
    devices = {"nothing": {"size": "1GiB"}}
    for refused in (
        instance.copy("copied", devices=devices),
        instance.move(pool="p2", devices=devices),
        client.instances.create("made", {"type": "none"}, devices=devices, profiles=[name]),
        client.instances.launch("busybox", "made", devices=devices),
    ):
        with pytest.raises(IncusInputError, match=r"'nothing'.*type"):
            await refused
    assert not await client.instances.exists("copied")
    assert not await client.instances.exists("made")


async def test_a_move_changes_what_is_named_and_removes_what_is_none(client: Client, instance: Instance) -> None:
    pool = await client.storage_pools.create("p2", "dir")
    try:
        options: dict[str, Any] = {
            "pool": "p2",
            "config": {"user.a": None, "user.c": 3},
            "devices": {"eth0": {"parent": "there"}, "eth1": None, "root": {"size": "2GiB"}, "share": None},
        }
        await instance.move(**options)
        shown = dict(instance.raw)
        await instance.refresh()
        assert shown == instance.raw, "the handle knows it"
        config = {key: value for key, value in instance.config.items() if key.startswith("user.")}
        assert config == {"user.b": "2", "user.c": "3"}
        assert instance.devices == {
            "eth0": NIC | {"parent": "there"},
            "root": ROOT | {"size": "2GiB", "pool": "p2"},
            "share": {"type": "none"},
        }
        await instance.move(devices={"root": {"pool": "default"}})
        assert (instance.devices["root"]["pool"], instance.devices["root"]["size"]) == ("default", "2GiB")
    finally:
        if (await instance.refresh()).expanded_devices["root"]["pool"] == "p2":
            await instance.move(pool="default")
        await pool.delete()


@pytest.mark.parametrize("named", [True, False], ids=["named profiles", "the default profile"])
async def test_a_new_instance_completes_what_changes_of_a_profiles_device(client: Client, named: bool) -> None:
    profiles = [(await client.profiles.create("other", devices={"disk": ROOT})).name] if named else None
    disk = "disk" if named else "root"
    made = await client.instances.create(
        "made", {"type": "image", "alias": "busybox"}, None, {disk: {"size": "2GiB"}}, profiles, wait=True
    )
    try:
        root = {"type": "disk", "path": "/", "pool": "default", "size": "2GiB"}
        assert made.devices == {disk: root}
    finally:
        await made.delete(wait=True)
        if named:
            await client.profiles.delete("other")


async def test_a_copy_of_a_volume_has_not_what_is_none(client: Client) -> None:
    volumes = client.storage_pools["default"].volumes
    volume = await volumes.create("custom/v1", config={"user.a": 1, "user.b": 2}, description="then")
    made = [volume]
    try:
        snapshot = await volume.snapshots.create("s0")
        await volume.update({"user.a": None, "user.b": "now", "description": "now"})
        made.append(await snapshot.copy("v2"))
        assert (user(made[-1]), made[-1].description) == ({"user.a": "1", "user.b": "2"}, "then")
        made.append(await snapshot.copy("v3", config={"user.a": None, "user.c": 3}))
        assert user(made[-1]) == {"user.b": "2", "user.c": "3"}
        made.append(await volume.copy("v4", config={"user.b": None}))
        assert (user(made[-1]), made[-1].description) == ({}, "now")
        await snapshot.update({"description": ""})
        made.append(await snapshot.copy("v5"))
        assert made[-1].description == ""
    finally:
        for each in made:
            await each.delete()


def user(thing: Any) -> dict[str, str]:
    return {key: value for key, value in thing.config.items() if key.startswith("user.")}


SHARED_PROFILE = {"user.kept": "1"}


@pytest.mark.parametrize("features", [{}, {"features.images": False}], ids=["its own images", "the images of default"])
async def test_a_project_that_shares_profiles_is_deleted_with_all_in_it_but_them(
    client: Client, name: str, features: dict[str, bool]
) -> None:
    before = (await client.profiles.get("default")).raw
    await client.profiles.create(name, config=SHARED_PROFILE)
    networks = not await client.has_extension(
        "instances_debug_repair"
    )  # later servers want OVN for networks of its own
    features = {"features.profiles": False, "features.networks": networks, **features}
    project = await client.projects.create(name, features)
    inside = client.use_project(name)
    fingerprint = (await client.images.aliases.get("busybox")).target
    if features.get("features.images", True):
        await client.images[fingerprint].copy(inside)
    await inside.instances.create("running", {"type": "image", "fingerprint": fingerprint}, start=True, wait=True)
    await inside.instances.create("kept", {"type": "none"}, {"security.protection.delete": True}, wait=True)
    await inside.storage_pools["default"].volumes.create("custom/v")
    if networks:
        await inside.network_acls.create("acl")
    await project.delete(force=True)
    assert not await project.exists()
    assert (await client.profiles.get("default")).raw == before | {
        "used_by": (await client.profiles.get("default")).used_by
    }
    assert (await client.profiles.get(name)).config == SHARED_PROFILE
    assert await client.images.exists(fingerprint)
    await client.profiles.delete(name)


async def test_a_project_that_shares_profiles_is_deleted_while_instances_need_them(client: Client, name: str) -> None:
    used = await client.instances.create(name, {"type": "image", "alias": "busybox"}, wait=True)
    project = await client.projects.create(name, {"features.profiles": False})
    await client.use_project(name).instances.create("made", {"type": "none"}, wait=True)
    await client.projects.delete(project.name, force=True)
    assert (await used.refresh()).expanded_devices["root"]["pool"] == "default"
    await used.delete(wait=True)


async def test_what_cannot_be_written_is_refused_and_named(client: Client, instance: Instance) -> None:
    server = await client.server.get()
    profile = await client.profiles.get("default")
    snapshot = await instance.snapshots.create("s0")
    image = await client.images.get((await client.images.aliases.get("busybox")).target)
    volume = await client.storage_pools["default"].volumes.create("custom/v")
    for refused, field, remedy in (
        (server.update({"environment": {"kernel": "x"}}), "environment", "config"),
        (client.server.update({"environment": {}}), "environment", "config"),
        (profile.update({"used_by": ["x"]}), "used_by", "devices"),
        (profile.update({"name": "x"}), "name", "description"),
        (instance.update({"status": "Running"}), "status", "profiles"),
        (instance.update({"stateful": True}), "stateful", "restore"),
        (instance.update({"restore": "s0"}), "restore", "restore"),
        (snapshot.update({"description": "x"}), "description", "expires_at"),
        (image.update({"size": 1}), "size", "public"),
        (volume.update({"restore": "s0"}), "restore", "snapshots"),
        (profile.replace({"limits.cpu": 2}), "limits.cpu", "config"),
        (profile.patch({"used_by": ["x"]}), "used_by", "config"),
        (client.profiles.patch("default", {"used_by": ["x"]}), "used_by", "config"),
        (client.profiles.update("default", {"used_by": ["x"]}), "used_by", "config"),
        (volume.update({"content_type": "block"}), "content_type", "config"),
        (instance.update({"profiles": "default"}), "profiles", "list"),
        (client.instances.update(instance.name, {"profiles": "default"}), "profiles", "list"),
    ):
        with pytest.raises(IncusInputError, match=rf"{field}.*{remedy}"):
            await refused

    async def edit() -> None:
        async with profile.editing() as draft:
            draft.config["user.x"] = "1"
            draft.used_by.append("x")

    with pytest.raises(IncusInputError, match=r"used_by.*devices"):
        await edit()
    assert (await client.profiles.get("default")).config == profile.config
    await volume.delete()
    for thing in (profile, client.profiles["default"]):  # the whole object can be sent back
        await thing.update({**profile.raw, "description": "whole"})
        assert thing.description == "whole"
    await profile.update({"description": ""})
    for box in (await instance.refresh(), client.instances[instance.name]):
        await box.update({**instance.raw, "description": "whole"}, wait=True)
        assert box.description == "whole"


async def test_never_is_never(client: Client, instance: Instance) -> None:
    await instance.update({"snapshots.expiry": "1d"}, wait=True)
    volume = await client.storage_pools["default"].volumes.create("custom/v", config={"snapshots.expiry": "1d"})
    image = await client.images.get((await client.images.aliases.get("busybox")).target)
    soon = "2040-01-01T00:00:00Z"
    try:
        await instance.update({"snapshots.pattern": "kept-%d"}, wait=True)
        await volume.update({"snapshots.pattern": "kept-%d"})
        for owner in (instance, volume):
            picked = await owner.snapshots.create()
            assert (picked.name, picked.expires_at is not None) == ("kept-0", True)
            assert (await owner.snapshots.create(expires_at="never")).name == "kept-1"
            assert [(await owner.snapshots.get(f"kept-{n}")).expires_at is None for n in range(2)] == [False, True]
            assert (await owner.snapshots.create("never", expires_at=None)).expires_at is None
            assert (await owner.snapshots.create("soon", expires_at=soon)).expires_at is not None
            ahead = await owner.snapshots.create("ahead", expires_at=timedelta(days=9))
            assert ahead.created_at is not None
            assert ahead.expires_at is not None
            assert (ahead.expires_at - ahead.created_at).days in (8, 9)
        for thing in (instance.snapshots["soon"], volume.snapshots["soon"], image):
            for change in (_by_update, _by_word, _by_patch, _by_replace, _by_editing):
                await thing.update({"expires_at": soon})
                assert str(thing.expires_at) == "2040-01-01 00:00:00+00:00"
                await change(thing)
                assert thing.expires_at is None, f"{thing!r} {change.__name__}"
                assert (await thing.refresh()).expires_at is None, f"{thing!r} {change.__name__}"
    finally:
        await volume.delete()


async def _by_update(thing: Any) -> None:
    await thing.update({"expires_at": None})


async def _by_word(thing: Any) -> None:
    await thing.update({"expires_at": "never"})


async def _by_patch(thing: Any) -> None:
    if isinstance(thing, Image):
        with pytest.raises(IncusInputError, match=r"drop \['expires_at'\] from a PATCH: use update"):
            await thing.patch({"expires_at": None})
        await _by_update(thing)
    else:
        await thing.patch({"expires_at": None})


async def _by_replace(thing: Any) -> None:
    await thing.replace({key: value for key, value in thing.raw.items() if key in ("description", "properties")})


async def _by_editing(thing: Any) -> None:
    async with thing.editing() as draft:
        draft.expires_at = None


async def test_a_record_shows_what_the_server_made_of_a_change(client: Client, instance: Instance, name: str) -> None:
    await instance.update({"user.a": "x"}, wait=True)
    assert instance.expanded_config["user.a"] == "x"
    network = await client.networks.create(f"{name}b", {"ipv4.address": "198.51.100.1/24", "ipv6.address": "none"})
    forward = await network.forwards.create("198.51.100.9")
    made = {"protocol": "tcp", "listen_port": "80", "target_address": "198.51.100.20"}
    changes: list[Callable[[], Awaitable[None]]] = [
        lambda: forward.update({"ports": [made]}),
        lambda: forward.replace({"ports": [made, {**made, "listen_port": "81"}]}),
        lambda: forward.patch({"description": "x"}),
    ]
    for change in changes:
        await change()
        shown, etag = dict(forward.raw), forward.etag
        await forward.refresh()
        assert (shown, etag) == (forward.raw, forward.etag)
    await forward.delete()
    await network.delete()


async def test_a_new_instance_completes_devices_of_the_profiles_of_its_image(client: Client, name: str) -> None:
    profile = await client.profiles.create(name, devices={"disk": ROOT})
    image = await client.images.get((await client.images.aliases.get("busybox")).target)
    before = list(image.profiles)
    await image.update({"profiles": [name]})
    made = await client.instances.create("made", "busybox", devices={"disk": {"size": "2GiB"}}, wait=True)
    try:
        assert (made.profiles, made.devices) == ([name], {"disk": ROOT | {"size": "2GiB"}})
    finally:
        await made.delete(wait=True)
        await image.update({"profiles": before})
        await profile.delete()


ADDRESSES = {"shortest": "fd42:1::9", "other spellings": "FD42:0001:0:0::0009"}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
async def test_what_the_server_spells_otherwise_is_found(client: Client, name: str, address: str) -> None:
    network = await client.networks.create(f"{name}b", {"ipv4.address": "none", "ipv6.address": "fd42:1::1/64"})
    try:
        forward = await network.forwards.create(address, description="mine")
        assert (forward.listen_address, forward.description) == ("fd42:1::9", "mine")
        assert await network.forwards.exists(address)
        assert (await network.forwards.get(address)).listen_address == "fd42:1::9"
        await network.forwards.update(address, {"description": "yours"})
        await forward.delete()
    finally:
        await network.delete()


async def test_a_fingerprint_is_one_in_any_case(client: Client) -> None:
    image = await client.images.get((await client.images.aliases.get("busybox")).target)
    handle = client.images[image.fingerprint.upper()]
    assert handle.fingerprint == image.fingerprint
    await handle.update({"properties": {"variant": "small"}})
    assert (await image.refresh()).properties["variant"] == "small"
    await image.update({"properties": {"variant": None}})


async def test_an_image_that_cannot_get_its_alias_is_not_made(
    client: Client, instance: Instance, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    before = {image.fingerprint for image in await client.images.list()}
    target = (await client.images.aliases.get("busybox")).target
    await client.images.export(target, tmp_path / "image")
    other = await client.instances.create(f"{name}x", {"type": "image", "alias": "busybox"}, wait=True)

    def makers() -> list[Awaitable[Any]]:
        source: Any = {"type": "instance", "name": other.name}
        return [
            client.images.create_from(source=source, aliases=[{"name": f"{name}free"}, {"name": "busybox"}]),
            client.images.create((tmp_path / "image").read_bytes() + b"\0" * 512, wait=True, aliases=["busybox"]),
        ]

    try:
        for refused in makers():
            with pytest.raises(IncusConflictError, match=r"'busybox' already exists.*delete it first"):
                await refused

        async def free(*_: Any) -> None:
            """It was free, and is taken now."""

        monkeypatch.setattr(images, "require_free", free)
        for refused in makers():
            with pytest.raises(IncusConflictError, match="already exists"):
                await refused
        assert {image.fingerprint for image in await client.images.list()} == before
        assert not await client.images.aliases.exists(f"{name}free")
    finally:
        await other.delete(wait=True)


async def test_a_certificate_is_followed_to_the_one_in_its_place(client: Client, tmp_path: Any) -> None:
    pems = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        pems.append(certificate(tmp_path / str(number))[0].read_text())
    made = await client.certificates.create(pems[0], name="first")
    first = made.fingerprint
    assert client.certificates[":".join(first[at : at + 2] for at in range(0, 64, 2)).upper()].fingerprint == first
    await made.patch({"certificate": pems[1]})
    assert (made.name, made.fingerprint != first) == ("first", True)
    second = made.fingerprint
    await made.update({"certificate": pems[2], "name": "third"})
    assert (await made.refresh()).name == "third"
    assert len({first, second, made.fingerprint}) == 3
    await made.delete()


async def _names(of: Any) -> list[str]:
    return sorted(snapshot.name for snapshot in await of.snapshots.list())


async def _delete(*things: Any) -> None:
    for thing in things:
        await (thing.delete(wait=True) if isinstance(thing, Instance) else thing.delete())


@pytest.mark.parametrize("kind", ["instance", "volume"])
async def test_a_refresh_can_leave_out_what_was_deleted_in_the_copy(client: Client, name: str, kind: str) -> None:
    made: Any
    if kind == "instance":
        made = await client.instances.create(name, "busybox", wait=True)
    else:
        made = await client.storage_pools["default"].volumes.create(f"custom/{name}")
    for old in ("s0", "s1"):
        await made.snapshots.create(old)
    copy = await made.copy(f"{name}-copy")
    await copy.snapshots.delete("s0")
    await asyncio.sleep(1)  # servers compare whole seconds
    await made.snapshots.create("s2")
    await made.copy(f"{name}-copy", refresh=True, refresh_exclude_older=True)
    assert await _names(copy) == ["s1", "s2"]
    await made.copy(f"{name}-copy", refresh=True)
    assert await _names(copy) == ["s0", "s1", "s2"]
    with pytest.raises(IncusInputError, match="refresh=True"):
        await made.copy("another", refresh_exclude_older=True)
    await _delete(made, copy)


async def test_a_volume_gets_the_content_of_a_snapshot(client: Client, daemon: Daemon, name: str) -> None:
    def file(volume: str) -> Path:
        return daemon.directory / "storage-pools" / "default" / "custom" / f"default_{volume}" / "file"

    volume = await client.storage_pools["default"].volumes.create(f"custom/{name}")
    file(name).write_text("then")
    snapshot = await volume.snapshots.create()
    file(name).write_text("now!!")
    copy = await volume.copy(f"{name}-copy")
    assert file(f"{name}-copy").read_text() == "now!!"
    await snapshot.copy(f"{name}-copy", refresh=True, config={"user.a": "1"})
    assert file(f"{name}-copy").read_text() == "then"
    assert (await copy.refresh()).config["user.a"] == "1"
    await _delete(volume, copy)


async def test_a_copy_is_started_or_not_there(client: Client, name: str) -> None:
    made = await client.instances.create(name, "busybox", wait=True)
    snapshot = await made.snapshots.create()
    for source in (made, snapshot):
        copy = await source.copy(f"{name}-copy", start=True)
        assert copy.status == "Running"
        await copy.delete(force=True, wait=True)
        with pytest.raises(IncusOperationError, match="init"):
            await source.copy(f"{name}-copy", start=True, config={"raw.lxc": "lxc.init.cmd = /no/such/init"})
        assert not await copy.exists()
    await made.delete(wait=True)


async def test_a_running_instance_is_stopped_to_be_moved(client: Client, box: Instance, name: str) -> None:
    await client.storage_pools.create(name, "dir")
    seen: list[Progress] = []
    await listening(box)
    await box.move(pool=name, stateless=True, progress=seen.append)
    assert (box.status, box.expanded_devices["root"]["pool"]) == ("Running", name)
    await listening(box)
    with pytest.raises(IncusError, match=r"(?i)storage pool"):
        await box.move(pool="no-such", stateless=True)
    assert (await box.refresh()).status == "Running"
    for also in ("live", "refresh"):
        how: Any = {also: True}
        with pytest.raises(IncusInputError, match="stateless"):
            await box.move(pool="default", stateless=True, **how)
    await box.update({"ephemeral": True}, wait=True)
    await box.move(pool="default", stateless=True)
    assert (box.status, box.ephemeral, box.expanded_devices["root"]["pool"]) == ("Running", True, "default")
    await listening(box)
    await box.move(pool=name, stateless=True)
    await listening(box)
    await box.update({"ephemeral": False}, wait=True)
    async with client.events.listen(["lifecycle"]) as events:
        moving = asyncio.ensure_future(box.move(pool="default", stateless=True))
        async for event in events:
            if isinstance(event, LifecycleEvent) and event.metadata.action in ("instance-shutdown", "instance-stopped"):
                break
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
    assert (await box.refresh()).status == "Running"
    await box.stop(force=True, wait=True)
    if box.expanded_devices["root"]["pool"] == name:
        await box.move(pool="default", stateless=True)
    assert (await box.refresh()).status == "Stopped"
    await client.storage_pools.delete(name)


async def test_a_flavor_sets_the_limits(client: Client, name: str) -> None:
    made = await client.instances.create(name, {"type": "none"}, flavor="c2-m4", wait=True)
    assert (made.config["limits.cpu"], made.config["limits.memory"]) == ("2", "4096MiB")
    await made.delete(wait=True)
    launched = await client.instances.launch("busybox", name, flavor="c1")
    assert launched.config["limits.cpu"] == "1"
    await launched.delete(force=True, wait=True)
    with pytest.raises(IncusAPIError, match="no-such-flavor"):
        await client.instances.launch("busybox", name, flavor="no-such-flavor")
    assert not await client.instances.exists(name)
