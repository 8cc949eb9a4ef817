"""What type checkers and editors must find wrong: each marked line, and no other.

Never run: see tests/unit/test_typing.py.
"""

from __future__ import annotations

from incus_sdk import Client, Instance, Operation, models
from incus_sdk.api.networks import Network
from incus_sdk.api.profiles import Profile


async def fields(instance: Instance, operation: Operation, profile: Profile) -> None:
    _ = instance.nmae  # error
    _ = instance.state.cpu.usag  # error
    _ = operation.percent  # error
    profile.descripton = "x"  # error
    profile.config["limits.cpu"] = 2  # error
    profile.config = {"limits.cpu": 2}  # error
    _ = profile.created_at  # error


async def arguments(client: Client, network: Network) -> None:
    source = {"type": "image", "alias": "busybox"}
    await client.profiles.create("x", colour="red")  # error
    await client.profiles.create("x", config={"a": 1.5})  # error
    await client.profiles.create("x", devices={"eth0": "nic"})  # error
    await client.profiles.get(5)  # error
    await client.profiles.update("x", "limits.cpu=2")  # error
    await client.networks.create("x", mtu=1500)  # error
    await client.networks.ensure("x", mtu=1500)  # error
    await client.profiles.ensure("x", colour="red")  # error
    await network.forwards.create("203.0.113.1", ports=[{"port": "80"}])  # error
    await client.storage_pools["x"].volumes["custom/x"].snapshots.create("s0", description="")  # error
    await client.storage_pools["x"].volumes.create("custom/x", source="custom/y")  # error
    await client.instances.create("x", source, profiles=5)  # error
    await client.instances.create("x", source, wiat=True)  # error
    await client.instances.create("x")  # error
    await client.instances.start("x", force=True)  # error
    client.events.listen(5)  # error


async def devices() -> None:
    nic: models.NICDevice = {"type": "nic", "netwrok": "br0"}  # error
    disk: models.Device = {"type": "disk", "size": [10]}  # error
    print(nic, disk)


async def verbs(client: Client, network: Network, profile: Profile) -> None:
    await network.forwards.rename("203.0.113.1", "203.0.113.2")  # error
    await client.storage_pools.rename("x", "y")  # error
    await profile.start()  # error
    _ = client.profile  # error
    for _ in client.profiles:  # error
        pass


async def results(client: Client) -> None:
    started: Instance = await client.instances.start("x")  # error
    begun: Instance = await client.instances.create("x", {"type": "none"})  # error
    listed: list[Network] = await client.profiles.list()  # error
    state: str = (await client.instances.get("x")).state  # error
    print(started, begun, listed, state)
