"""What type checkers and editors know of the blocking twin, as `right.py` has it of the async SDK.

Never run: see tests/unit/test_typing.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_type

from incus_sdk.models import RecordList, RecordMap
from incus_sdk.sync import (
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
    RemotePath,
    models,
    timeout,
)
from incus_sdk.sync.api.instances import InstancesAPI, Snapshot, SnapshotsAPI
from incus_sdk.sync.api.networks import Network, NetworkForward, NetworkForwardsAPI, NetworksAPI
from incus_sdk.sync.api.profiles import Profile, ProfilesAPI
from incus_sdk.sync.api.storage import (
    StoragePool,
    StoragePoolsAPI,
    Volume,
    VolumesAPI,
    VolumeSnapshot,
    VolumeSnapshotsAPI,
)
from incus_sdk.sync.files import RemoteReader, RemoteWriter
from incus_sdk.sync.process import ProcessInput


def clients() -> None:
    with Client() as client:
        assert_type(client, Client)
        assert_type(client.use_project("p"), Client)
        assert_type(client.use_target("n"), Client)
        assert_type(client.project, str | None)
        assert_type(client.wait_for_operation("id"), Operation)
        assert_type(client.get_server_info().api_extensions, list[str])
        assert_type(client.get_resources().cpu.total, int)


def profiles(client: Client) -> None:
    assert_type((F("a") == "b") & ~F("c").isin(["d"]) | (F("e") != 1), Filter)
    assert_type(client.server.get().config, dict[str, str])
    assert_type([warning.severity for warning in client.warnings.list()], list[str])
    with client.server.editing() as draft:
        assert_type(draft.environment.server_version, str)
    assert_type(client.profiles, ProfilesAPI)
    assert_type(client.profiles["x"], Profile)
    assert_type(client.profiles.list(), list[Profile])
    assert_type(client.profiles.list(0, filter="name eq x", all_projects=True), list[Profile])
    assert_type(client.profiles.exists("x"), bool)
    profile = client.profiles.get("x")
    assert_type(profile, Profile)
    made = client.profiles.create("x", config={"limits.cpu": 2, "user.flag": True}, devices={}, description="")
    assert_type(made, Profile)
    client.profiles.update("x", {"config": {"limits.cpu": None}, "devices": {"eth0": {"type": "nic"}}})
    client.profiles.update("x", {"limits.cpu": 2})
    client.profiles.replace("x", {"config": {}}, etag=profile.etag)
    client.profiles.patch("x", {"description": "x"})
    assert_type(client.profiles.rename("x", "y"), Profile)
    client.profiles.delete("x")

    assert_type(profile.refresh(), Profile)
    assert_type(profile.etag, str | None)
    with profile.editing() as draft:
        assert_type(draft, Profile)
        draft.config["limits.cpu"] = "2"
        draft.description = "x"
        del draft.devices["eth0"]
    profile.update({"config": {"limits.cpu": 2}})
    assert_type(profile.name, str)
    assert_type(profile.config, dict[str, str])
    assert_type(profile.devices, dict[str, dict[str, str]])
    assert_type(profile.used_by, list[str])
    assert_type(profile["new_field"], Any)
    assert_type(profile.get("new_field"), Any | None)
    assert_type(profile.raw, dict[str, Any])


def networks(client: Client) -> None:
    assert_type(client.networks, NetworksAPI)
    network = client.networks["br0"]
    assert_type(network, Network)
    assert_type(client.networks.list(), list[Network])
    assert_type(client.networks.create("br0", config={"ipv4.address": "none"}), Network)
    assert_type(network.get_state(), models.NetworkState)
    assert_type(network.get_state().addresses, RecordList[models.NetworkStateAddress])
    assert_type(network.get_state().addresses[0].address, str)
    assert_type(network.get_leases(), list[models.NetworkLease])
    assert_type(network.managed, bool)

    assert_type(network.forwards, NetworkForwardsAPI)
    forward = network.forwards["203.0.113.1"]
    assert_type(forward, NetworkForward)
    assert_type(network.forwards.list(), list[NetworkForward])
    assert_type(network.forwards.get("203.0.113.1"), NetworkForward)
    made = network.forwards.create("203.0.113.1", ports=[{"listen_port": "80"}], description="web")
    assert_type(made, NetworkForward)
    network.forwards.update("203.0.113.1", {"config": {"target_address": "198.51.100.2"}})
    network.forwards.delete("203.0.113.1")
    assert_type(forward.ports, RecordList[models.NetworkForwardPort])
    assert_type(forward.ports[0].listen_port, str)
    assert_type(forward.ports[:1], list[models.NetworkForwardPort])
    for port in forward.ports:
        assert_type(port, models.NetworkForwardPort)
    with forward.editing() as draft:
        assert_type(draft, NetworkForward)
        draft.ports.append({"protocol": "tcp"})
        draft.ports[0].listen_port = "81"


def storage(client: Client) -> None:
    assert_type(client.storage_pools, StoragePoolsAPI)
    pool = client.storage_pools["default"]
    assert_type(pool, StoragePool)
    assert_type(pool.volumes, VolumesAPI)
    assert_type(pool.get_resources().space.total, int)
    volume = pool.volumes["custom/data"]
    assert_type(volume, Volume)
    assert_type(pool.volumes.list(), list[Volume])
    assert_type(pool.volumes.create("custom/data", config={"size": "1GiB"}), Volume)
    assert_type(pool.volumes.create("custom/data", source={"type": "copy", "name": "x"}), Volume)
    assert_type(pool.volumes.rename("custom/data", "other"), Volume)
    assert_type(client.storage_pools.get_volume("default", "data"), Volume)
    assert_type(client.storage_pools.list_volumes("default"), list[Volume])
    assert_type(volume.get_state().raw, dict[str, Any])
    assert_type(volume.content_type, models.VolumeContentType)
    assert_type(volume.created_at, datetime | None)

    assert_type(volume.snapshots, VolumeSnapshotsAPI)
    assert_type(volume.snapshots["s0"], VolumeSnapshot)
    assert_type(volume.snapshots.list(), list[VolumeSnapshot])
    assert_type(volume.snapshots.create("s0", expires_at="2099-01-01T00:00:00Z"), VolumeSnapshot)
    assert_type(volume.snapshots.rename("s0", "s1"), VolumeSnapshot)
    volume.snapshots["s0"].restore()
    with volume.snapshots["s0"].editing() as draft:
        assert_type(draft, VolumeSnapshot)


def devices(client: Client, plain: dict[str, str], read: Instance) -> None:
    nic: models.NICDevice = {"type": "nic", "network": "br0", "security.port_isolation": True, "vlan": 5}
    disk: models.Device = {"type": "disk", "pool": "default", "limits.read": "10MB", "initial.zfs.blocksize": "8KiB"}
    given: models.Devices = {"eth0": nic, "data": disk, "p": plain, "new": {"type": "new"}, "k": {"a": None}, "o": None}
    client.instances.launch("busybox", devices=given)
    client.instances.launch("busybox", devices={"root": {"size": "10GiB"}}, vm=True)
    client.instances.create("c1", "busybox", devices=read.expanded_devices, instance_type="new")
    client.profiles.create("p", devices=read.devices)
    assert_type(read.status == "Running", bool)
    text: str = read.status
    assert_type(text, str)


def instances(client: Client, flag: bool) -> None:
    assert_type(client.instances, InstancesAPI)
    assert_type(client.instances["c1"], Instance)
    assert_type(client.instances.list(), list[Instance])
    source = {"type": "image", "alias": "busybox"}
    assert_type(client.instances.create("c1", source), Operation)
    assert_type(client.instances.create("c1", source, wait=False), Operation)
    assert_type(client.instances.create("c1", source, {}, {}, [], False, "container", False), Operation)
    assert_type(client.instances.create("c1", source, wait=True), Instance)
    assert_type(client.instances.create("c1", {"type": "none"}, start=True, wait=True), Instance)
    assert_type(client.instances.create("c1", source, wait=flag), Instance | Operation)
    assert_type(client.images.create(b""), Operation)
    assert_type(client.images.create(b"", wait=True).fingerprint, str)

    instance = client.instances.get("c1", recursion=1)
    assert_type(instance, Instance)
    assert_type(instance.start(wait=True), Operation)
    assert_type(instance.update({"limits.cpu": 2}), Operation)
    assert_type(client.instances.rename("c1", "c2"), Instance)
    assert_type(instance.get_state(), InstanceState)
    assert_type(instance.state.cpu.usage, int)
    assert_type(instance.state.network, RecordMap[models.InstanceStateNetwork])
    assert_type(instance.state.network["eth0"].addresses[0].address, str)
    assert_type(instance.full.snapshots, RecordList[models.InstanceSnapshot])
    assert_type(instance.created_at, datetime | None)
    assert_type(instance.profiles, list[str])
    assert_type(instance.ephemeral, bool)
    assert_type(instance.get_logs(), dict[str, str])
    assert_type(instance.get_files("/etc/motd"), bytes)
    assert_type(instance.snapshots, SnapshotsAPI)
    assert_type(instance.snapshots.create("s0"), Snapshot)
    assert_type(instance.snapshots.list(), list[Snapshot])
    with instance.editing() as draft:
        assert_type(draft, Instance)
    assert_type(instance.run(["true"]).stdout, bytes)
    assert_type(instance.run(["true"], text=True).stdout, str)
    with client.instances.temporary("busybox") as box:
        assert_type(box, Instance)
    assert_type(client.instances.launch(instance.snapshots["s0"]), Instance)
    assert_type(client.instances.ensure("c1", "busybox", running=True), Ensured[Instance])
    assert_type(client.profiles.ensure("web", config={"limits.cpu": 2}).item, Profile)
    assert_type(client.storage_pools.ensure("fast", "zfs").changed, Mapping[str, Change])
    assert_type(client.instances.delete("c1"), Operation)
    assert_type(client.instances.delete("c1", missing_ok=True), Operation | None)


def operations(client: Client, operation: Operation) -> None:
    assert_type(operation.wait(timeout=1), Operation)
    assert_type(operation.metadata, dict[str, Any])
    assert_type(operation["metadata"], Any)
    for update in operation.progress():
        assert_type(update.percent, int | None)
        assert_type(update.text, str)
    assert_type(client.operations.list(), list[Operation])
    with client.events.listen(types=["lifecycle"], all_projects=True) as events:
        for event in events:
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


def blocking(box: Instance, client: Client) -> Instance:
    """What is typed in another way than in async code."""
    with box.open_process(["cat"]) as process:
        assert_type(process.stdin, ProcessInput)
        process.stdin.write(b"x")
        for line in process.stdout:
            assert_type(line, bytes)
        assert_type(process.wait(), int)
    assert_type(next(box.path("/").iterdir()), RemotePath)
    with box.path("/f").open() as reader, box.path("/g").open("wb") as writer:
        assert_type(reader, RemoteReader)
        assert_type(writer, RemoteWriter)
        assert_type(reader.read(), bytes)
    with box.port_forward(80) as (incoming, outgoing):
        assert_type(incoming.readline(), bytes)
        outgoing.write(b"x")
    box.run(["cat"], input=[b"x"], stdout=sys.stdout.buffer, stderr=print)
    assert_type(box.wait_for(lambda box: box.run(["true"]).returncode == 0), Instance)
    ensured = client.profiles.ensure("x", description="y")
    assert_type(ensured.item, Profile)
    assert_type(client.profiles.rename("x", "y"), Profile)
    record: models.Instance = box
    assert_type(record.name, str)
    with timeout(5) as limit:
        assert_type(limit.expired(), bool)
    with client.instances.temporary("busybox") as other:
        return other  # a block that may swallow an error would need another return
