"""What is taken or in use raises `IncusConflictError`, whatever is done with it, on each version."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import Client, IncusConflictError, IncusError, IncusUnsupportedError

Verb = Callable[[], Awaitable[object]]
NETWORK: dict[str, Any] = {"config": {"ipv4.address": "none", "ipv6.address": "none"}}


@contextlib.asynccontextmanager
async def made(*makes: Awaitable[object]) -> AsyncGenerator[None]:
    """Objects, for as long as the block takes; renamed ones too."""
    found = [await make for make in makes]
    try:
        yield
    finally:
        for each in reversed(found):
            await each.delete()  # type: ignore[attr-defined]


async def check(verbs: dict[str, Verb]) -> None:
    """Each of them raises a conflict, in words that a newcomer understands."""
    wrong: dict[str, str] = {}
    for what, verb in verbs.items():
        try:
            await verb()
        except IncusError as error:
            if not isinstance(error, IncusConflictError) or not re.search("exist|already in|in use", str(error)):
                wrong[what] = repr(error)
        else:
            wrong[what] = "no error"
    assert not wrong


async def test_an_instance_a_snapshot_or_a_backup_exists(client: Client, tmp_path: Path) -> None:
    async with client.instances.temporary("busybox") as a, client.instances.temporary("busybox") as b:
        for name in ("s", "s2"):
            await a.snapshots.create(name)
            await a.backups.create(name)
        await a.backups["s"].export(tmp_path / "backup")
        await b.stop(force=True, wait=True)
        image = {"type": "image", "alias": "busybox"}
        await check(
            {
                "create": lambda: client.instances.create(a.name, image, wait=True),
                "create empty": lambda: client.instances.create(a.name, {"type": "none"}, wait=True),
                "launch": lambda: client.instances.launch("busybox", a.name),
                "copy": lambda: b.copy(a.name),
                "copy of a snapshot": lambda: a.snapshots["s"].copy(b.name),
                "rename": lambda: b.rename(a.name),
                "restore": lambda: client.instances.create_from_backup(tmp_path / "backup", name=b.name),
                "snapshot": lambda: a.snapshots.create("s"),
                "snapshot renamed": lambda: a.snapshots["s2"].rename("s"),
                "backup": lambda: a.backups.create("s"),
                "backup renamed": lambda: a.backups["s2"].rename("s"),
            }
        )


@pytest.mark.parametrize(
    ("group", "options"),
    [
        ("profiles", {}),
        ("projects", {}),
        ("network_acls", {}),
        ("network_address_sets", {"addresses": ["192.0.2.1"]}),
        ("network_integrations", {"type": "ovn"}),
        ("networks", NETWORK),
    ],
)
async def test_an_object_of_a_group_exists(client: Client, group: str, options: dict[str, Any]) -> None:
    objects = getattr(client, group)
    try:
        first = await objects.create("x1", **options)
    except IncusUnsupportedError as error:
        pytest.skip(str(error))
    async with made(objects.create("x2", **options)):
        await check({"create": lambda: objects.create("x1", **options), "rename": lambda: objects["x2"].rename("x1")})
    await first.delete()


async def test_what_is_below_a_network_or_a_zone_exists(client: Client) -> None:
    network, zone = await client.networks.create("x1", **NETWORK), await client.network_zones.create("z.example")
    await network.update({"ipv4.address": "192.0.2.241/28"})
    await network.forwards.create("192.0.2.249")
    await zone.records.create("r")
    await check(
        {
            "zone": lambda: client.network_zones.create("z.example"),
            "record": lambda: zone.records.create("r"),
            "forward": lambda: network.forwards.create("192.0.2.249"),
        }
    )
    await zone.records["r"].delete()
    await zone.delete()
    await network.delete()


async def test_what_is_stored_exists(client: Client, tmp_path: Path) -> None:
    pool = client.storage_pools["default"]
    volumes, aliases = pool.volumes, client.images.aliases
    image = (await client.images.list())[0]
    await client.images.export(image.fingerprint, tmp_path / "image")
    async with made(
        client.storage_pools.create("other", "dir"),
        volumes.create("custom/v"),
        volumes.create("custom/v2"),
        aliases.create("second", target=image.fingerprint),
    ):
        volume = volumes["custom/v"]
        for name in ("s", "s2"):
            await volume.snapshots.create(name)
        await volume.backups.create("k")
        await check(
            {
                "pool": lambda: client.storage_pools.create("other", "dir"),
                "volume": lambda: volumes.create("custom/v"),
                "volume renamed": lambda: volumes["custom/v2"].rename("v"),
                "volume copied": lambda: volumes["custom/v2"].copy("v"),
                "snapshot": lambda: volume.snapshots.create("s"),
                "snapshot renamed": lambda: volume.snapshots["s2"].rename("s"),
                "backup": lambda: volume.backups.create("k"),
                "alias": lambda: aliases.create("busybox", target=image.fingerprint),
                "alias renamed": lambda: aliases["second"].rename("busybox"),
                "image": lambda: client.images.create(tmp_path / "image", wait=True),
            }
        )


async def test_what_is_used_is_not_deleted(client: Client, name: str) -> None:
    pool = client.storage_pools["default"]
    async with made(
        client.profiles.create(name, config={"limits.processes": 100}),
        pool.volumes.create(f"custom/{name}"),
        client.network_acls.create(name),
        client.network_zones.create("example.net"),
        client.networks.create("u0", {**NETWORK["config"], "security.acls": name, "dns.zone.forward": "example.net"}),
    ):
        disk = {"type": "disk", "pool": "default", "source": name, "path": "/srv"}
        nic = {"type": "nic", "network": "u0"}
        profiles = ["default", name]
        async with client.instances.temporary("busybox", profiles=profiles, devices={"d": disk, "eth0": nic}):
            await check(
                {
                    "profile": lambda: client.profiles.delete(name),
                    "volume": lambda: pool.volumes.delete(f"custom/{name}"),
                    "volume renamed": lambda: pool.volumes[f"custom/{name}"].rename("other"),
                    "network": lambda: client.networks.delete("u0"),
                    "ACL": lambda: client.network_acls.delete(name),
                    "zone": lambda: client.network_zones.delete("example.net"),
                    "pool": lambda: client.storage_pools.delete("default"),
                }
            )
