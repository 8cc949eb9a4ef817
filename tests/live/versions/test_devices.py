"""Devices on each version of Incus: what there is of them, and how they are added, changed, overridden and removed."""

from __future__ import annotations

import asyncio
import os
import typing
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusConflictError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    Instance,
    models,
)
from incus_sdk.api.profiles import Profile
from incus_sdk.testing import Daemon

TYPED = {device for device in typing.get_args(models.Device) if typing.is_typeddict(device)}
KEYS: dict[str, frozenset[str]] = {
    type: device.__optional_keys__ - {"type"}
    for device in TYPED
    for type in typing.get_args(typing.get_type_hints(device)["type"])
}
"""Those that editors complete, by the type of device."""
UNDOCUMENTED = {"nic": {"nictype"}, "gpu": {"gputype"}}  # they are in the names of the groups


async def test_the_typed_devices_have_the_keys_that_the_server_documents(client: Client) -> None:
    documented: dict[str, set[str]] = defaultdict(set)
    groups = (await client.server.get_configuration_metadata()).configs["devices"]
    for name, group in groups.items():
        types = ["unix-char", "unix-block"] if name == "unix-char-block" else [name.partition("_")[0]]
        for type in types:
            documented[type] |= {key for keys in group["keys"] for key in keys if not key.endswith("*")}
    assert not [(type, keys - KEYS[type]) for type, keys in documented.items() if keys - KEYS[type]]
    if "7.0" in (await client.get_server_info()).environment.server_version:
        assert {type: keys | UNDOCUMENTED.get(type, set()) for type, keys in documented.items()} == {
            type: set(keys) for type, keys in KEYS.items() if type != "none"
        }


ROOT = {"type": "disk", "path": "/", "pool": "default"}
SHARE = {"type": "disk", "source": "/usr/share", "path": "/mnt", "readonly": "true"}


@pytest.fixture(params=["profile", "instance"])
async def owner(client: Client, name: str, request: pytest.FixtureRequest) -> AsyncIterator[Instance | Profile]:
    """A profile, or an instance that has one with a root disk."""
    if request.param == "profile":
        owner: Instance | Profile = await client.profiles.create(name)
    else:
        owner = await client.instances.create(name, {"type": "none"}, wait=True)
    yield owner
    await (owner.delete(wait=True) if isinstance(owner, Instance) else owner.delete())


async def test_a_device_is_added_changed_and_removed_without_touching_others(
    client: Client, owner: Instance | Profile, name: str
) -> None:
    group = client.instances if isinstance(owner, Instance) else client.profiles
    await owner.add_device("share", {**SHARE, "readonly": True, "required": None})
    assert owner.devices == {"share": SHARE}, "the object shows what the server has"
    await group.add_device(name, "hidden", {"type": "none"})
    with pytest.raises(IncusConflictError, match=rf"{name}' already has a device 'share'.*update_device"):
        await owner.add_device("share", {"type": "none"})
    await owner.update_device("share", {"readonly": None, "path": "/srv", "recursive": True})
    share = {"type": "disk", "source": "/usr/share", "path": "/srv", "recursive": "true"}
    assert owner.devices == {"share": share, "hidden": {"type": "none"}}
    await group.update_device(name, "share", {"path": "/mnt"})
    await group.remove_device(name, "hidden")
    assert (await owner.refresh()).devices == {"share": {**share, "path": "/mnt"}}
    for missing in (owner.update_device("sahre", {"path": "/"}), owner.remove_device("sahre")):
        with pytest.raises(IncusNotFoundError, match=rf"{name}' has no device 'sahre': did you mean 'share'"):
            await missing
    with pytest.raises((IncusAPIError, IncusOperationError), match="Unsupported device type"):
        await owner.add_device("new", {"type": "nothing"})
    await owner.remove_device("share")
    assert owner.devices == {}
    for nobody in (client.instances, client.profiles):
        with pytest.raises(IncusNotFoundError):
            await nobody.add_device("nobody", "share", SHARE)


async def test_many_who_add_devices_at_once_lose_none_and_only_one_gets_a_name(
    daemon: Daemon, client: Client, owner: Instance | Profile
) -> None:
    async with daemon.client() as second:
        theirs = (second.instances if isinstance(owner, Instance) else second.profiles)[owner.name]
        names = [f"d{number}" for number in range(6)]
        await asyncio.gather(
            *(
                each.add_device(name, SHARE | {"path": f"/{name}"})
                for name, each in zip(names, [owner, theirs] * 3, strict=True)
            )
        )
        assert sorted((await owner.refresh()).devices) == names
        done = await asyncio.gather(
            *(each.add_device("one", SHARE | {"path": path}) for each, path in ((owner, "/a"), (theirs, "/b"))),
            return_exceptions=True,
        )
        assert [type(error) for error in done if error] == [IncusConflictError]
        assert (await owner.refresh()).devices["one"]["path"] == ("/a" if done[0] is None else "/b")
        removed = await asyncio.gather(owner.remove_device("one"), theirs.remove_device("one"), return_exceptions=True)
        assert {type(error) for error in removed if error} <= {IncusNotFoundError}
        assert sorted((await owner.refresh()).devices) == names


async def test_a_profiles_device_is_overridden_as_by_the_command(daemon: Daemon, client: Client, name: str) -> None:
    profile = await client.profiles.create(name, devices={"root": ROOT, "share": SHARE})
    ours, commands = [
        await client.instances.create(f"{name}-{number}", {"type": "none"}, profiles=[name], wait=True)
        for number in range(2)
    ]
    environment = {**os.environ, "INCUS_DIR": str(daemon.directory), "INCUS_CONF": str(daemon.directory / "conf")}
    command = ["incus", "config", "device", "override", commands.name, "root", "size=1GiB"]
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    assert await process.wait() == 0
    await ours.update_device("root", {"size": "1GiB"})
    assert ours.devices == (await commands.refresh()).devices == {"root": ROOT | {"size": "1GiB"}}
    assert ours.expanded_devices == {"root": ROOT | {"size": "1GiB"}, "share": SHARE}

    with pytest.raises(IncusNotFoundError, match=r"'share' from a profile: hide it by add_device"):
        await ours.remove_device("share")
    await ours.add_device("share", {"type": "none"})
    assert ours.expanded_devices["share"] == {"type": "none"}
    await ours.remove_device("share")
    await ours.remove_device("root")
    assert ours.expanded_devices == {"root": ROOT, "share": SHARE}
    for instance in (ours, commands):
        await instance.delete(wait=True)
    await profile.delete()


async def test_a_running_box_sees_the_disk_that_it_gets_and_no_longer_the_one_that_goes(box: Instance) -> None:
    await box.add_device("share", SHARE)
    assert (await box.run(["ls", "/mnt"])).stdout
    await box.remove_device("share")
    assert not (await box.run(["ls", "/mnt"])).stdout


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda owner: owner.add_device("", SHARE), "name"),
        (lambda owner: owner.add_device("d", {"path": "/"}), r"'d' has no type.*update_device"),
        (lambda owner: owner.add_device("d", ["disk"]), "'d' must be a mapping"),
        (lambda owner: owner.update_device("d", None), "'d' must be a mapping"),
        (lambda owner: owner.update_device("d", {"size": 1.5}), r"'d'\['size'\] must be a str, int or bool"),
        (lambda owner: owner.remove_device(None), "name"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_sent(call: Any, word: str) -> None:
    client = Client("/nowhere/unix.socket")
    for owner in (client.instances["c1"], client.profiles["p1"]):
        with pytest.raises(IncusInputError, match=word):
            await call(owner)


async def test_a_new_instance_can_be_without_a_device_of_its_profiles(client: Client, name: str) -> None:
    nic = {"type": "nic", "nictype": "p2p", "name": "eth0"}
    profile = await client.profiles.create(name, devices={"root": ROOT, "eth0": nic})
    devices: models.Devices = {"eth0": None, "eth1": None}
    box = await client.instances.create(name, "busybox", profiles=[name], devices=devices, wait=True)
    assert (box.devices, "eth1" in box.expanded_devices) == ({"eth0": {"type": "none"}}, False)
    await box.delete(wait=True)
    await profile.delete()
