"""What type checkers and editors must find wrong in blocking code: each marked line, and no other.

Never run: see tests/unit/test_typing.py.
"""

from __future__ import annotations

from incus_sdk.sync import Client, Instance, Operation, models
from incus_sdk.sync.api.networks import Network
from incus_sdk.sync.api.profiles import Profile


def fields(instance: Instance, operation: Operation, profile: Profile) -> None:
    _ = instance.nmae  # error
    _ = instance.state.cpu.usag  # error
    _ = operation.percent  # error
    profile.descripton = "x"  # error
    profile.config["limits.cpu"] = 2  # error
    profile.config = {"limits.cpu": 2}  # error
    _ = profile.created_at  # error


def arguments(client: Client, network: Network) -> None:
    source = {"type": "image", "alias": "busybox"}
    client.profiles.create("x", colour="red")  # error
    client.profiles.create("x", config={"a": 1.5})  # error
    client.profiles.create("x", devices={"eth0": "nic"})  # error
    client.profiles.get(5)  # error
    client.profiles.update("x", "limits.cpu=2")  # error
    client.networks.create("x", mtu=1500)  # error
    client.networks.ensure("x", mtu=1500)  # error
    client.profiles.ensure("x", colour="red")  # error
    network.forwards.create("203.0.113.1", ports=[{"port": "80"}])  # error
    client.storage_pools["x"].volumes["custom/x"].snapshots.create("s0", description="")  # error
    client.storage_pools["x"].volumes.create("custom/x", source="custom/y")  # error
    client.instances.create("x", source, profiles=5)  # error
    client.instances.create("x", source, wiat=True)  # error
    client.instances.create("x")  # error
    client.instances.start("x", force=True)  # error
    client.events.listen(5)  # error


def devices() -> None:
    nic: models.NICDevice = {"type": "nic", "netwrok": "br0"}  # error
    disk: models.Device = {"type": "disk", "size": [10]}  # error
    print(nic, disk)


def verbs(client: Client, network: Network, profile: Profile) -> None:
    network.forwards.rename("203.0.113.1", "203.0.113.2")  # error
    client.storage_pools.rename("x", "y")  # error
    profile.start()  # error
    _ = client.profile  # error
    for _ in client.profiles:  # error
        pass


def results(client: Client) -> None:
    started: Instance = client.instances.start("x")  # error
    begun: Instance = client.instances.create("x", {"type": "none"})  # error
    listed: list[Network] = client.profiles.list()  # error
    state: str = client.instances.get("x").state  # error
    print(started, begun, listed, state)


async def waiting(client: Client, box: Instance) -> None:
    await client.profiles.list()  # error
    async with client:  # error
        pass
    async with box.editing():  # error
        pass
    box.run(["cat"], input=5)  # error
    for _ in box.run(["cat"]):  # error
        pass
