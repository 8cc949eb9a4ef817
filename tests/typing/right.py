"""What type checkers and editors know of the SDK: `assert_type` fails where they know another type, or only Any.

Never run: see tests/unit/test_typing.py.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, assert_type

from incus_sdk import (
    Change,
    Client,
    Ensured,
    Event,
    F,
    Filter,
    Gap,
    Instance,
    InstanceState,
    LifecycleEvent,
    LoggingEvent,
    Operation,
    OperationEvent,
    models,
)
from incus_sdk.api.instances import InstancesAPI, Snapshot, SnapshotsAPI
from incus_sdk.api.networks import Network, NetworkForward, NetworkForwardsAPI, NetworksAPI
from incus_sdk.api.profiles import Profile, ProfilesAPI
from incus_sdk.api.storage import (
    StoragePool,
    StoragePoolsAPI,
    Volume,
    VolumesAPI,
    VolumeSnapshot,
    VolumeSnapshotsAPI,
)
from incus_sdk.models import RecordList, RecordMap


async def clients() -> None:
    async with Client() as client:
        assert_type(client, Client)
        assert_type(client.use_project("p"), Client)
        assert_type(client.use_target("n"), Client)
        assert_type(client.project, str | None)
        assert_type(await client.wait_for_operation("id"), Operation)
        assert_type((await client.get_server_info()).api_extensions, list[str])
        assert_type((await client.get_resources()).cpu.total, int)


async def profiles(client: Client) -> None:
    assert_type((F("a") == "b") & ~F("c").isin(["d"]) | (F("e") != 1), Filter)
    assert_type((await client.server.get()).config, dict[str, str])
    assert_type([warning.severity for warning in await client.warnings.list()], list[str])
    async with client.server.editing() as draft:
        assert_type(draft.environment.server_version, str)
    assert_type(client.profiles, ProfilesAPI)
    assert_type(client.profiles["x"], Profile)
    assert_type(await client.profiles.list(), list[Profile])
    assert_type(await client.profiles.list(0, filter="name eq x", all_projects=True), list[Profile])
    assert_type(await client.profiles.exists("x"), bool)
    profile = await client.profiles.get("x")
    assert_type(profile, Profile)
    made = await client.profiles.create("x", config={"limits.cpu": 2, "user.flag": True}, devices={}, description="")
    assert_type(made, Profile)
    await client.profiles.update("x", {"config": {"limits.cpu": None}, "devices": {"eth0": {"type": "nic"}}})
    await client.profiles.update("x", {"limits.cpu": 2})
    await client.profiles.replace("x", {"config": {}}, etag=profile.etag)
    await client.profiles.patch("x", {"description": "x"})
    assert_type(await client.profiles.rename("x", "y"), Profile)
    await client.profiles.delete("x")

    assert_type(await profile.refresh(), Profile)
    assert_type(profile.etag, str | None)
    async with profile.editing() as draft:
        assert_type(draft, Profile)
        draft.config["limits.cpu"] = "2"
        draft.description = "x"
        del draft.devices["eth0"]
    await profile.update({"config": {"limits.cpu": 2}})
    assert_type(profile.name, str)
    assert_type(profile.config, dict[str, str])
    assert_type(profile.devices, dict[str, dict[str, str]])
    assert_type(profile.used_by, list[str])
    assert_type(profile["new_field"], Any)
    assert_type(profile.get("new_field"), Any | None)
    assert_type(profile.raw, dict[str, Any])


async def networks(client: Client) -> None:
    assert_type(client.networks, NetworksAPI)
    network = client.networks["br0"]
    assert_type(network, Network)
    assert_type(await client.networks.list(), list[Network])
    assert_type(await client.networks.create("br0", config={"ipv4.address": "none"}), Network)
    assert_type(await network.get_state(), models.NetworkState)
    assert_type((await network.get_state()).addresses, RecordList[models.NetworkStateAddress])
    assert_type((await network.get_state()).addresses[0].address, str)
    assert_type(await network.get_leases(), list[models.NetworkLease])
    assert_type(network.managed, bool)

    assert_type(network.forwards, NetworkForwardsAPI)
    forward = network.forwards["203.0.113.1"]
    assert_type(forward, NetworkForward)
    assert_type(await network.forwards.list(), list[NetworkForward])
    assert_type(await network.forwards.get("203.0.113.1"), NetworkForward)
    made = await network.forwards.create("203.0.113.1", ports=[{"listen_port": "80"}], description="web")
    assert_type(made, NetworkForward)
    await network.forwards.update("203.0.113.1", {"config": {"target_address": "198.51.100.2"}})
    await network.forwards.delete("203.0.113.1")
    assert_type(forward.ports, RecordList[models.NetworkForwardPort])
    assert_type(forward.ports[0].listen_port, str)
    assert_type(forward.ports[:1], list[models.NetworkForwardPort])
    for port in forward.ports:
        assert_type(port, models.NetworkForwardPort)
    async with forward.editing() as draft:
        assert_type(draft, NetworkForward)
        draft.ports.append({"protocol": "tcp"})
        draft.ports[0].listen_port = "81"


async def storage(client: Client) -> None:
    assert_type(client.storage_pools, StoragePoolsAPI)
    pool = client.storage_pools["default"]
    assert_type(pool, StoragePool)
    assert_type(pool.volumes, VolumesAPI)
    assert_type((await pool.get_resources()).space.total, int)
    volume = pool.volumes["custom/data"]
    assert_type(volume, Volume)
    assert_type(await pool.volumes.list(), list[Volume])
    assert_type(await pool.volumes.create("custom/data", config={"size": "1GiB"}), Volume)
    assert_type(await pool.volumes.create("custom/data", source={"type": "copy", "name": "x"}), Volume)
    assert_type(await pool.volumes.rename("custom/data", "other"), Volume)
    assert_type(await client.storage_pools.get_volume("default", "data"), Volume)
    assert_type(await client.storage_pools.list_volumes("default"), list[Volume])
    assert_type((await volume.get_state()).raw, dict[str, Any])
    assert_type(volume.content_type, models.VolumeContentType)
    assert_type(volume.created_at, datetime | None)

    assert_type(volume.snapshots, VolumeSnapshotsAPI)
    assert_type(volume.snapshots["s0"], VolumeSnapshot)
    assert_type(await volume.snapshots.list(), list[VolumeSnapshot])
    assert_type(await volume.snapshots.create("s0", expires_at="2099-01-01T00:00:00Z"), VolumeSnapshot)
    assert_type(await volume.snapshots.rename("s0", "s1"), VolumeSnapshot)
    await volume.snapshots["s0"].restore()
    async with volume.snapshots["s0"].editing() as draft:
        assert_type(draft, VolumeSnapshot)


async def devices(client: Client, plain: dict[str, str], read: Instance) -> None:
    nic: models.NICDevice = {"type": "nic", "network": "br0", "security.port_isolation": True, "vlan": 5}
    disk: models.Device = {"type": "disk", "pool": "default", "limits.read": "10MB", "initial.zfs.blocksize": "8KiB"}
    given: models.Devices = {"eth0": nic, "data": disk, "p": plain, "new": {"type": "new"}, "k": {"a": None}, "o": None}
    await client.instances.launch("busybox", devices=given)
    await client.instances.launch("busybox", devices={"root": {"size": "10GiB"}}, vm=True)
    await client.instances.create("c1", "busybox", devices=read.expanded_devices, instance_type="new")
    await client.profiles.create("p", devices=read.devices)
    assert_type(read.status == "Running", bool)
    text: str = read.status
    assert_type(text, str)


async def instances(client: Client, flag: bool) -> None:
    assert_type(client.instances, InstancesAPI)
    assert_type(client.instances["c1"], Instance)
    assert_type(await client.instances.list(), list[Instance])
    source = {"type": "image", "alias": "busybox"}
    assert_type(await client.instances.create("c1", source), Operation)
    assert_type(await client.instances.create("c1", source, wait=False), Operation)
    assert_type(await client.instances.create("c1", source, {}, {}, [], False, "container", False), Operation)
    assert_type(await client.instances.create("c1", source, wait=True), Instance)
    assert_type(await client.instances.create("c1", {"type": "none"}, start=True, wait=True), Instance)
    assert_type(await client.instances.create("c1", source, wait=flag), Instance | Operation)
    assert_type(await client.images.create(b""), Operation)
    assert_type((await client.images.create(b"", wait=True)).fingerprint, str)
    assert_type(await client.instances.create_from_backup(sys.stdin.buffer, progress=print), Instance)
    assert_type(await client.storage_pools["p"].volumes.create_from_iso(io.BytesIO(), "custom/iso"), Volume)
    await client.storage_pools["p"].volumes.create_from_backup([b"a", b"b"])

    instance = await client.instances.get("c1", recursion=1)
    assert_type(instance, Instance)
    assert_type(await instance.start(wait=True), Operation)
    assert_type(await instance.update({"limits.cpu": 2}), Operation)
    assert_type(await client.instances.rename("c1", "c2"), Instance)
    assert_type(await instance.get_state(), InstanceState)
    assert_type(instance.state.cpu.usage, int)
    assert_type(instance.state.network, RecordMap[models.InstanceStateNetwork])
    assert_type(instance.state.network["eth0"].addresses[0].address, str)
    assert_type(instance.full.snapshots, RecordList[models.InstanceSnapshot])
    assert_type(instance.created_at, datetime | None)
    assert_type(instance.profiles, list[str])
    assert_type(instance.ephemeral, bool)
    assert_type(await instance.get_logs(), dict[str, str])
    assert_type(await instance.get_files("/etc/motd"), bytes)
    assert_type(instance.snapshots, SnapshotsAPI)
    assert_type(await instance.snapshots.create("s0"), Snapshot)
    assert_type(await instance.snapshots.create(expires_at=timedelta(days=1)), Snapshot)
    await instance.export("web.tar.gz", instance_only=True, progress=lambda update: print(update.total))
    assert_type(await instance.snapshots.list(), list[Snapshot])
    async with instance.editing() as draft:
        assert_type(draft, Instance)
    assert_type((await instance.run(["true"])).stdout, bytes)
    assert_type((await instance.run(["true"], text=True)).stdout, str)
    async with client.instances.temporary("busybox") as box:
        assert_type(box, Instance)
    assert_type(await client.instances.launch(instance.snapshots["s0"]), Instance)
    assert_type(await client.instances.ensure("c1", "busybox", running=True), Ensured[Instance])
    assert_type((await client.profiles.ensure("web", config={"limits.cpu": 2})).item, Profile)
    assert_type((await client.storage_pools.ensure("fast", "zfs")).changed, Mapping[str, Change])
    assert_type(await client.instances.delete("c1"), Operation)
    assert_type(await client.instances.delete("c1", missing_ok=True), Operation | None)


async def operations(client: Client, operation: Operation) -> None:
    assert_type(await operation.wait(timeout=1, progress=print), Operation)
    assert_type(operation.metadata, dict[str, Any])
    assert_type(operation["metadata"], Any)
    async for update in operation.progress():
        assert_type(update.percent, int | None)
        assert_type(update.text, str)
    assert_type(await client.operations.list(), list[Operation])
    async with client.events.listen(types=["lifecycle"], all_projects=True) as events:
        async for event in events:
            assert_type(event, Event | Gap)
            match event:
                case LifecycleEvent():
                    assert_type(event.metadata.action, str)
                    assert_type(event.metadata.requestor.username, str)
                case OperationEvent():
                    assert_type(event.metadata.status_code, int)
                case LoggingEvent():
                    assert_type(event.metadata.message, str)
                case Gap():
                    assert_type(event.reason, str)
                case _:
                    assert_type(event, Event)
