"""The documented groups of a client: each verb under its published name, at work."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    IncusPreconditionError,
    Instance,
    Operation,
)
from incus_sdk.testing import Daemon

ADDRESS = {"ipv4.address": "198.51.100.1/24", "ipv4.dhcp": "false", "ipv6.address": "none"}

PUBLISHED = {
    "instances": "list get create update delete start stop restart freeze unfreeze execute",
    "images": "list get create delete update export create_alias delete_alias get_alias update_alias",
    "networks": "list get create update replace delete rename state",
    "profiles": "list get create update replace delete rename",
    "storage_pools": "list get create update replace delete list_volumes get_volume create_volume update_volume "
    "replace_volume delete_volume rename_volume",
    "certificates": "list get create delete update",
    "operations": "list get delete wait cancel",
    "projects": "list get create update replace delete rename state",
    "cluster": "get update list_members get_member add_member update_member delete_member rename_member",
}


@pytest.fixture
async def clustered() -> AsyncIterator[Client]:
    """A client of a cluster with one member, ``one``."""
    async with Daemon(image=False) as daemon, daemon.client() as client:
        # An address inside the daemon's own network, where the member finds itself.
        await client.query("PATCH", "/1.0", body={"config": {"cluster.https_address": "127.0.0.1:9443"}})
        await client.cluster.update({"server_name": "one", "enabled": True})
        yield client


async def other_image(client: Client) -> bytes:
    """An image like busybox, with another fingerprint."""
    busybox = await client.images.get_alias("busybox")
    content = await client.query("GET", f"/1.0/images/{busybox.target}/export")
    assert isinstance(content, bytes)
    return content + bytes(512)


@pytest.mark.parametrize("group", PUBLISHED)
async def test_a_group_has_all_its_published_verbs(group: str) -> None:
    verbs = getattr(Client("/nowhere/unix.socket"), group)
    assert all(inspect.iscoroutinefunction(getattr(verbs, name, None)) for name in PUBLISHED[group].split())


@pytest.mark.parametrize("group", ["instances", "images", "networks", "profiles", "storage_pools", "projects"])
async def test_what_does_not_exist_is_not_found(client: Client, group: str) -> None:
    verbs = getattr(client, group)
    assert await verbs.exists("abcdef012345") is False
    for call in (verbs.get("abcdef012345"), verbs.update("abcdef012345", {}), verbs.delete("abcdef012345")):
        with pytest.raises(IncusNotFoundError):
            await call


async def test_images_are_created_found_changed_exported_and_deleted(client: Client, tmp_path: Path) -> None:
    content = await other_image(client)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 100_000):
            yield content[start : start + 100_000]

    image = await client.images.create(pieces(), "other.tar", wait=True)
    assert image.fingerprint in [each.fingerprint for each in await client.images.list()]
    found = await client.images.get(image.fingerprint[:12])
    assert (found.fingerprint, found.filename, found.size) == (image.fingerprint, "other.tar", len(content))

    await client.images.update(image.fingerprint, {"properties": {"added": "1", "release": None}})
    changed = await client.images.get(image.fingerprint)
    assert changed.properties == {
        **{key: value for key, value in found.properties.items() if key != "release"},
        "added": "1",
    }

    await client.images.export(image.fingerprint[:12], tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    with pytest.raises(IncusInputError, match="cannot be written"):
        await client.images.export(image.fingerprint, tmp_path / "no" / "such" / "directory")
    assert [file.name for file in tmp_path.iterdir()] == ["copy"]

    operation = await client.images.delete(image.fingerprint)
    assert isinstance(operation, Operation)
    await operation.wait()
    assert not await client.images.exists(image.fingerprint)
    with pytest.raises(IncusNotFoundError):
        await client.images.export(image.fingerprint, tmp_path / "gone")
    assert [file.name for file in tmp_path.iterdir()] == ["copy"]


@pytest.mark.parametrize("name", ["plain", "debian/13", "a b%c?d#e+é"])
async def test_aliases_of_any_name_are_created_found_changed_renamed_and_deleted(client: Client, name: str) -> None:
    target = (await client.images.get_alias("busybox")).target
    alias = await client.images.create_alias(name, target, "first")
    assert (alias.name, alias.target, alias.description) == (name, target, "first")
    await client.images.update_alias(name, description="second")
    found = await client.images.get_alias(name)
    assert (found.name, found.target, found.description) == (name, target, "second")
    for recursion in (0, 1):
        assert name in [each.name for each in await client.images.aliases.list(recursion)]
    await client.images.aliases.rename(name, f"{name}/2")
    with pytest.raises(IncusNotFoundError):
        await client.images.get_alias(name)
    await client.images.delete_alias(f"{name}/2")
    assert not await client.images.aliases.exists(f"{name}/2")
    assert await client.images.exists(target)


async def test_networks_are_created_found_changed_replaced_renamed_and_deleted(client: Client, name: str) -> None:
    network = await client.networks.create(name, ADDRESS, "first")
    assert (network.name, network.type, network.description, network.managed) == (name, "bridge", "first", True)
    assert name in [each.name for each in await client.networks.list()]
    state = await client.networks.state(name)
    assert ("198.51.100.1", "24") in [(address.address, address.netmask) for address in state.addresses]
    assert "198.51.100.1" in [lease.address for lease in await client.networks.get_leases(name)]

    await client.networks.update(name, {"ipv4.nat": False, "description": "second"})
    changed = await client.networks.get(name)
    assert (changed.config, changed.description) == ({**ADDRESS, "ipv4.nat": "false"}, "second")
    await client.networks.replace(name, {"config": ADDRESS, "description": ""})
    replaced = await client.networks.get(name)
    assert (replaced.config, replaced.description) == (ADDRESS, "")
    with pytest.raises(IncusPreconditionError):
        await client.networks.replace(name, {"config": ADDRESS}, etag="0" * 64)

    renamed = await client.networks.rename(name, f"{name}x")
    assert renamed.name == f"{name}x"
    await client.networks.delete(f"{name}x")
    assert not await client.networks.exists(name)
    assert not await client.networks.exists(f"{name}x")


async def test_profiles_are_created_found_changed_replaced_renamed_and_deleted(client: Client, name: str) -> None:
    root = {"root": {"type": "disk", "path": "/", "pool": "default"}}
    profile = await client.profiles.create(name, config={"limits.cpu": 1}, description="first", devices=root)
    assert (profile.config, profile.description, profile.devices) == ({"limits.cpu": "1"}, "first", root)
    assert name in [each.name for each in await client.profiles.list()]
    await client.profiles.update(name, {"limits.memory": "64MiB", "devices": {"tty": {"type": "none"}}})
    changed = await client.profiles.get(name)
    assert changed.config == {"limits.cpu": "1", "limits.memory": "64MiB"}
    assert (changed.description, changed.devices) == ("first", {**root, "tty": {"type": "none"}})
    await client.profiles.patch(name, {"config": {"user.key": "1"}})
    assert (await client.profiles.get(name)).config == {**changed["config"], "user.key": "1"}
    await client.profiles.replace(name, {"config": {}, "description": "", "devices": {}})
    replaced = await client.profiles.get(name)
    assert (replaced.config, replaced.description, replaced.devices) == ({}, "", {})
    await client.profiles.rename(name, f"{name} b%é")
    assert (await client.profiles.get(f"{name} b%é")).name == f"{name} b%é"
    await client.profiles.delete(f"{name} b%é")
    assert not await client.profiles.exists(f"{name} b%é")
    with pytest.raises(IncusAPIError, match="default"):
        await client.profiles.delete("default")


async def test_storage_pools_are_created_found_changed_replaced_and_deleted(client: Client, name: str) -> None:
    pool = await client.storage_pools.create(name, "dir", {"rsync.bwlimit": "1MiB"}, "first")
    assert (pool.driver, pool.description, pool.config["rsync.bwlimit"]) == ("dir", "first", "1MiB")
    assert name in [each.name for each in await client.storage_pools.list()]
    await client.storage_pools.update(name, {"rsync.compression": False})
    changed = await client.storage_pools.get(name)
    assert changed.config == {**pool.config, "rsync.compression": "false"}
    await client.storage_pools.replace(name, {"config": {"source": pool.config["source"]}, "description": "second"})
    replaced = await client.storage_pools.get(name)
    assert (replaced.config, replaced.description) == ({"source": pool.config["source"]}, "second")
    assert (await replaced.get_resources()).space.total > 0
    await client.storage_pools.delete(name)
    assert not await client.storage_pools.exists(name)
    with pytest.raises(IncusAPIError, match="Unknown driver"):
        await client.storage_pools.create(name, "banana")


async def test_volumes_are_created_found_changed_replaced_renamed_and_deleted(client: Client, name: str) -> None:
    pools, odd = client.storage_pools, f"{name} b%c?d#e+é"
    volume = await pools.create_volume("default", odd, "custom", {"user.key": 1})
    assert (volume.name, volume.type, volume.config["user.key"]) == (odd, "custom", "1")
    for recursion in (0, 1):
        listed = await pools.list_volumes("default", "custom", recursion)
        assert [(each.name, each.type) for each in listed] == [(odd, "custom")]
    await pools.update_volume("default", odd, "custom", {"description": "second", "user.other": 2})
    found = await pools.get_volume("default", odd, "custom")
    assert (found.config, found.description) == ({**volume.config, "user.other": "2"}, "second")
    await pools.replace_volume("default", odd, "custom", {"config": {}, "description": "third"})
    found = await pools.get_volume("default", odd, "custom")
    assert (found.config, found.description) == ({}, "third")
    renamed = await pools.rename_volume("default", odd, "custom", name)
    assert renamed.name == name
    assert (await pools.get_volume("default", name)).description == "third"
    with pytest.raises(IncusNotFoundError):
        await pools.get_volume("default", odd)
    await pools.delete_volume("default", name, "custom")
    assert await pools.list_volumes("default", "custom") == []
    with pytest.raises(IncusInputError, match="custom/data"):
        await pools.get_volume("default", name, "banana")


async def test_the_volume_of_an_instance_is_listed_by_its_type(client: Client, name: str) -> None:
    instance = await client.instances.create(name, {"type": "image", "alias": "busybox"}, wait=True)
    assert name in [volume.name for volume in await client.storage_pools.list_volumes("default", "container")]
    assert name not in [volume.name for volume in await client.storage_pools.list_volumes("default", "custom")]
    assert (await client.storage_pools.get_volume("default", name, "container")).type == "container"
    await instance.delete(wait=True)


async def test_certificates_are_created_found_changed_and_deleted(daemon: Daemon, client: Client, name: str) -> None:
    pem = daemon.certificate.read_text()  # any certificate will do
    made = await client.certificates.create(pem, name, restricted=True, projects=["default"])
    assert (made.name, made.type, made.restricted, made.projects) == (name, "client", True, ["default"])
    assert made.fingerprint in [each.fingerprint for each in await client.certificates.list()]
    await client.certificates.update(made.fingerprint, {"name": "renamed", "restricted": False})
    found = await client.certificates.get(made.fingerprint[:12])
    assert (found.name, found.restricted, found.projects) == ("renamed", False, ["default"])
    assert found.certificate == pem
    with pytest.raises(IncusAPIError, match="already in trust store"):
        await client.certificates.create(f"Certificate:\n    Data: of openssl x509 -text\n{pem}")
    await client.certificates.delete(made.fingerprint)
    assert not await client.certificates.exists(made.fingerprint)

    body = "".join(line for line in pem.splitlines() if "-----" not in line)
    unnamed = await client.certificates.create(body, type="metrics")
    assert (unnamed.fingerprint, unnamed.type) == (made.fingerprint, "metrics")
    await client.certificates.delete(unnamed.fingerprint)
    with pytest.raises(IncusInputError, match="PEM"):
        await client.certificates.create("no certificate")


async def test_operations_are_found_waited_for_and_cancelled(client: Client, box: Instance) -> None:
    operation = await box.execute(["sleep", "1"])
    assert operation.id in [each.id for each in await client.operations.list()]
    assert operation.id in [each.id for each in await client.operations.list(all_projects=True)]
    assert (await client.operations.get(operation.id)).status == "Running"
    ended = await client.operations.wait(operation.id, timeout=30)
    assert (ended.id, ended.status, ended.metadata) == (operation.id, "Success", {"return": 0})

    for verb in (client.operations.cancel, client.operations.delete):
        await client.certificates.create_token("nobody")
        (token,) = [
            each for each in await client.operations.list() if each.class_ == "token" and each.status == "Running"
        ]
        await verb(token.id)
        with pytest.raises(IncusOperationError, match="Cancelled"):
            await client.operations.wait(token.id)
    unknown = "00000000-0000-4000-8000-000000000000"
    for call in (client.operations.get, client.operations.cancel):
        with pytest.raises(IncusNotFoundError):
            await call(unknown)
    with pytest.raises(IncusOperationError, match="forgot"):
        await client.operations.wait(unknown)


async def test_projects_are_created_found_changed_replaced_renamed_and_deleted(client: Client, name: str) -> None:
    shared = {"features.images": "false", "features.profiles": "false"}
    project = await client.projects.create(name, {"features.images": False, "features.profiles": False}, "first")
    assert project.description == "first"
    assert shared.items() <= project.config.items()
    assert name in [each.name for each in await client.projects.list()]
    await client.projects.update(name, {"limits.instances": 1})
    changed = await client.projects.get(name)
    assert (changed.config, changed.description) == ({**project.config, "limits.instances": "1"}, "first")
    assert (await client.projects.state(name)).resources["instances"].Limit == 1

    instance = await client.use_project(name).instances.create(name, {"type": "none"}, wait=True)
    assert (await client.projects.state(name)).resources["instances"].Usage == 1
    with pytest.raises(IncusAPIError, match="empty"):
        await client.projects.delete(name)
    await instance.delete(wait=True)

    await client.projects.replace(name, {"config": shared, "description": "second"})
    replaced = await client.projects.get(name)
    assert (replaced.config.get("limits.instances"), replaced.description) == (None, "second")
    renamed = await client.projects.rename(name, f"{name}x")
    assert (renamed.name, await client.projects.exists(name)) == (f"{name}x", False)
    await client.projects.delete(f"{name}x")
    assert not await client.projects.exists(f"{name}x")


async def test_a_server_outside_any_cluster_has_no_members(client: Client) -> None:
    cluster = await client.cluster.get()
    assert (cluster.enabled, cluster["server_name"]) == (False, "")
    for call in (client.cluster.list_members(), client.cluster.get_member("one"), client.cluster.delete_member("one")):
        with pytest.raises(IncusError, match="not clustered"):
            await call


async def test_cluster_members_are_found_changed_and_renamed(clustered: Client) -> None:
    cluster = await clustered.cluster.get()
    assert (cluster.enabled, cluster.server_name) == (True, "one")
    (member,) = await clustered.cluster.list_members()
    assert (member.server_name, member.status, member.url) == ("one", "Online", "https://127.0.0.1:9443")
    assert [each.server_name for each in await clustered.cluster.list_members(recursion=0)] == ["one"]
    await clustered.cluster.update_member("one", {"description": "first", "config": {"user.key": 1}})
    found = await clustered.cluster.get_member("one")
    assert (found.description, found.config, found.groups) == ("first", {"user.key": "1"}, ["default"])

    renamed = await clustered.cluster.rename_member("one", "uno")
    assert renamed.server_name == "uno"
    assert (await clustered.cluster.get_member("uno")).description == "first"
    with pytest.raises(IncusNotFoundError):
        await clustered.cluster.get_member("one")
    assert (await clustered.use_target("uno").get_resources()).cpu.total > 0
    with pytest.raises(IncusNotFoundError, match="member"):
        await clustered.use_target("one").get_resources()
    with pytest.raises(IncusAPIError, match="only member"):
        await clustered.cluster.delete_member("uno")
    assert await clustered.cluster.add_member("due")
