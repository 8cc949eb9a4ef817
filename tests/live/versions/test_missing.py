"""What is not there cannot be renamed, nor deleted, unless ``missing_ok`` is set; also where two do so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from incus_sdk import Client, IncusNotFoundError, IncusUnsupportedError

NOWHERE: dict[str, Callable[[Client], tuple[Any, str]]] = {
    "instance": lambda client: (client.instances, "nowhere"),
    "snapshot": lambda client: (client.instances["nowhere"].snapshots, "s0"),
    "instance backup": lambda client: (client.instances["nowhere"].backups, "b0"),
    "log": lambda client: (client.instances["nowhere"].logs, "lxc.log.old"),
    "recorded output": lambda client: (client.instances["nowhere"].exec_output, "exec_1.stdout"),
    "template": lambda client: (client.instances["nowhere"].templates, "a.tpl"),
    "image": lambda client: (client.images, "0123456789ab"),
    "alias": lambda client: (client.images.aliases, "nowhere"),
    "profile": lambda client: (client.profiles, "nowhere"),
    "project": lambda client: (client.projects, "nowhere"),
    "certificate": lambda client: (client.certificates, "0123456789ab"),
    "network": lambda client: (client.networks, "nowhere"),
    "forward": lambda client: (client.networks["nowhere"].forwards, "198.51.100.9"),
    "load balancer": lambda client: (client.networks["nowhere"].load_balancers, "198.51.100.9"),
    "peer": lambda client: (client.networks["nowhere"].peers, "other"),
    "ACL": lambda client: (client.network_acls, "nowhere"),
    "address set": lambda client: (client.network_address_sets, "nowhere"),
    "zone": lambda client: (client.network_zones, "nowhere.example"),
    "record": lambda client: (client.network_zones["nowhere.example"].records, "www"),
    "integration": lambda client: (client.network_integrations, "nowhere"),
    "pool": lambda client: (client.storage_pools, "nowhere"),
    "volume": lambda client: (client.storage_pools["default"].volumes, "custom/nowhere"),
    "volume of a pool that is missing": lambda client: (client.storage_pools["nowhere"].volumes, "custom/nowhere"),
    "volume snapshot": lambda client: (client.storage_pools["default"].volumes["custom/nowhere"].snapshots, "s0"),
    "volume backup": lambda client: (client.storage_pools["default"].volumes["custom/nowhere"].backups, "b0"),
    "bucket": lambda client: (client.storage_pools["default"].buckets, "nowhere"),
    "bucket key": lambda client: (client.storage_pools["default"].buckets["nowhere"].bucket_keys, "k0"),
    "bucket backup": lambda client: (client.storage_pools["default"].buckets["nowhere"].backups, "b0"),
    "warning": lambda client: (client.warnings, "00000000-0000-4000-8000-000000000000"),
    "cluster group": lambda client: (client.cluster.groups, "nowhere"),
}


@pytest.mark.parametrize("what", NOWHERE)
async def test_what_is_not_there_is_deleted_without_an_error_only_if_that_is_accepted(
    client: Client, what: str
) -> None:
    group, key = NOWHERE[what](client)
    try:
        assert await group.delete(key, missing_ok=True) is None
    except IncusUnsupportedError:
        return
    with pytest.raises(IncusNotFoundError):
        await group.delete(key)


CANNOT_RENAME = (
    *("log", "recorded output", "template", "image", "certificate", "warning", "pool", "bucket", "bucket key"),
    *("forward", "load balancer", "peer", "zone", "record"),
    "cluster group",  # without a cluster the server says so instead
)


@pytest.mark.parametrize("what", [what for what in NOWHERE if what not in CANNOT_RENAME])
async def test_what_is_not_there_cannot_be_renamed_and_the_error_says_why(client: Client, what: str) -> None:
    group, key = NOWHERE[what](client)
    try:
        with pytest.raises(IncusNotFoundError):
            await group.rename(key, "other")
    except IncusUnsupportedError:
        return


async def test_a_snapshot_that_is_not_there_cannot_be_published(client: Client) -> None:
    with pytest.raises(IncusNotFoundError):
        await client.instances["nowhere"].snapshots["s0"].publish()


@pytest.mark.parametrize("what", ["profile", "project", "network", "volume", "volume snapshot", "snapshot", "instance"])
async def test_two_who_delete_the_same_at_once_both_succeed(client: Client, name: str, what: str) -> None:
    volumes = client.storage_pools["default"].volumes
    volume = await volumes.create(f"custom/{name}")
    box = await client.instances.create(name, {"type": "none"}, wait=True)
    groups: dict[str, tuple[Any, str]] = {
        "profile": (client.profiles, name),
        "project": (client.projects, name),
        "network": (client.networks, name),
        "volume": (volumes, f"custom/{name}2"),
        "volume snapshot": (volume.snapshots, "s0"),
        "snapshot": (box.snapshots, "s0"),
        "instance": (client.instances, name),
    }
    group, key = groups[what]
    if what == "network":
        await client.networks.create(name, {"ipv4.address": "none", "ipv6.address": "none"})
    elif what != "instance":
        await group.create(key)
    wait = {"wait": True} if what == "instance" else {}
    try:
        await asyncio.gather(*(group.delete(key, missing_ok=True, **wait) for _ in range(3)))
        assert not await group.exists(key)
    finally:
        await box.delete(wait=True, missing_ok=True)
        await volume.delete()
