"""A change that is asked for is made, or refused: in copies and moves, of devices, times, names, aliases, projects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from incus_sdk import Client, IncusInputError, Instance

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
