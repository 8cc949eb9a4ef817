"""Clusters: three real servers that form one, and a fourth that comes and goes."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from incus_sdk import (
    Client,
    F,
    IncusAPIError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    IncusPermissionError,
    IncusPreconditionError,
    IncusUnsupportedError,
    Progress,
)
from incus_sdk.testing import Daemon
from tests.live.roots import ROOTS

NOTHING = {"type": "none"}
NAMES = ("one", "two", "three")


@dataclass(frozen=True)
class Cluster:
    """Three members, which are called as in `NAMES`."""

    daemons: list[Daemon]
    clients: list[Client]
    """Connected to each; to the first over HTTPS, to the others over their sockets."""
    certificate: str
    root: Path | None

    @property
    def one(self) -> Client:
        return self.clients[0]


async def empty(client: Client) -> None:
    """Remove what would hinder a server's joining: it gets pools and profiles from the cluster."""
    await client.profiles.replace("default", {})
    await client.storage_pools.delete("default")


def where(daemon: Daemon) -> str:
    """The address under which the members know it."""
    return daemon.address.removeprefix("https://")


@pytest.fixture(scope="module", params=ROOTS)
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    root = ROOTS[request.param]
    async with AsyncExitStack() as stack:
        daemons: list[Daemon] = []
        for name in NAMES:  # only the first one's image and trusted certificate stay
            beside = daemons[0] if daemons else None
            daemons.append(await stack.enter_async_context(Daemon(root=root, beside=beside, image=name == NAMES[0])))
        async with daemons[0].client("https") as first:
            certificate = await first.cluster.enable(NAMES[0])
        # The first anew, as the server shows the cluster's certificate from now on.
        connected = [daemons[0].client("https"), *(daemon.client() for daemon in daemons[1:])]
        clients = [await stack.enter_async_context(client) for client in connected]
        asked = (await clients[0].cluster.get()).member_config
        for daemon, client, name in [*zip(daemons, clients, NAMES, strict=True)][1:]:
            token = await clients[0].cluster.add_member(name)
            await empty(client)
            shown = await client.cluster.join(token, where(daemon), asked, cluster_certificate=certificate)
            assert shown == certificate
        async with asyncio.timeout(60):  # the cluster gives out the roles of the database on its own time
            while not all("database" in member.roles for member in await clients[0].cluster.list_members()):
                await asyncio.sleep(0.1)
        yield Cluster(daemons, clients, certificate, root)


async def test_servers_form_a_cluster_by_enabling_one_and_joining_the_others(cluster: Cluster) -> None:
    for client, name in zip(cluster.clients, NAMES, strict=True):
        seen = await client.cluster.get()
        assert (seen.enabled, seen.server_name) == (True, name)
        assert [(key.entity, key.name, key.key) for key in seen.member_config] == [
            ("storage-pool", "default", "source")
        ]
        assert (await client.get_server_info()).environment.certificate == cluster.certificate
        members = {member.server_name: member for member in await seen.members.list()}
        assert set(members) == set(NAMES) == {each.server_name for each in await client.cluster.list_members(0)}
        assert [members[name].url for name in NAMES] == [daemon.address for daemon in cluster.daemons]
        assert {(each.status, each.database, each.failure_domain) for each in members.values()} == {
            ("Online", True, "default")
        }
        assert "database-leader" in members["one"].roles
    token = await cluster.one.cluster.add_member("four")
    with pytest.raises(IncusAPIError, match="already clustered"):
        await cluster.clients[1].cluster.join(token, "127.0.0.2", cluster_certificate=cluster.certificate)
    with pytest.raises(IncusInputError, match="member of a cluster already"):
        await cluster.one.cluster.enable("again")
    assert (await cluster.one.cluster.get()).server_name == "one"


async def test_a_server_without_an_address_founds_no_cluster(cluster: Cluster) -> None:
    async with Daemon(root=cluster.root, image=False) as daemon, daemon.client() as client:
        addresses = {"cluster.https_address": "", "core.https_address": ":8443"}
        await client.query("PATCH", "/1.0", body={"config": addresses})
        with pytest.raises(IncusAPIError, match="Cannot use wildcard"):
            await client.cluster.enable("alone")
        assert (await client.cluster.get()).enabled is False
        with pytest.raises(IncusAPIError, match="not clustered"):
            await client.cluster.add_member("two")


async def test_a_member_is_changed_with_all_else_kept_and_renamed(cluster: Cluster) -> None:
    member = await cluster.one.cluster.get_member("three")
    before, etag = member.raw, member.etag
    await member.update({"roles": [*member.roles, "event-hub"], "failure_domain": "rack 2", "config": {"user.key": 1}})
    seen = await cluster.clients[1].cluster.members.get("three")
    assert (set(seen.roles) - set(before["roles"]), seen.failure_domain) == ({"event-hub"}, "rack 2")
    assert (seen.config, seen.groups, seen.description) == ({"user.key": "1"}, ["default"], "")
    with pytest.raises(IncusPreconditionError):
        await member.replace(before, etag)
    with pytest.raises(IncusAPIError, match="role cannot be dropped"):
        await member.update({"roles": []})
    await member.patch({**before, "description": "by patch", "config": {"user.b": 2}})
    assert (await member.refresh()).config == {"user.key": "1", "user.b": "2"}
    assert (member.description, member.failure_domain, member.roles) == ("by patch", "default", before["roles"])
    await cluster.one.cluster.update_member("three", {"config": {"user.key": None, "scheduler.instance": "manual"}})
    assert (await member.refresh()).config == {"user.b": "2", "scheduler.instance": "manual"}

    renamed = await cluster.one.cluster.rename_member("three", "drei")
    assert (await renamed.refresh()).description == "by patch"
    with pytest.raises(IncusNotFoundError):
        await member.refresh()
    await renamed.rename("three")
    await renamed.replace(before, (await renamed.refresh()).etag)
    assert (await member.refresh()).raw == before


async def test_a_members_state_is_that_of_its_machine(cluster: Cluster) -> None:
    state = await cluster.one.cluster.members.get_state("two")
    assert 0 < state.sysinfo.free_ram < state.sysinfo.total_ram
    assert (state.sysinfo.uptime > 0, len(state.sysinfo.load_averages)) == (True, 3)
    assert state.storage_pools["default"].space.total > state.storage_pools["default"].space.used > 0
    with pytest.raises(IncusNotFoundError):
        await cluster.one.cluster.members["nobody"].get_state()


async def test_members_are_filtered_where_the_server_can(cluster: Cluster) -> None:
    wanted = cluster.one.cluster.members.list(filter=(F("server_name") == "two") & (F("status") == "Online"))
    if await cluster.one.has_extension("server_logging_webhook"):
        assert [member.server_name for member in await wanted] == ["two"]
    else:
        with pytest.raises(IncusUnsupportedError, match="filter"):
            await wanted
    with pytest.raises(IncusInputError, match="no filter"):
        await cluster.one.cluster.groups.list(filter="name eq x")


async def test_groups_of_members_say_where_instances_go(cluster: Cluster, name: str) -> None:
    groups = cluster.one.cluster.groups
    group = await groups.create(name, description="new", members=["two", "three"])
    assert (group.name, group.description, set(group.members)) == (name, "new", {"two", "three"})
    assert (
        {each.name for each in await groups.list()} == {"default", name} == {each.name for each in await groups.list(0)}
    )
    await group.update({"members": ["three"]})
    seen = await (await cluster.clients[1].cluster.get()).groups.get(name)
    assert (seen.description, seen.members) == ("new", ["three"])
    assert name in (await cluster.one.cluster.get_member("three")).groups

    instance = await cluster.one.use_target(f"@{name}").instances.create(name, NOTHING, wait=True)
    assert instance.location == "three"
    if await cluster.one.has_extension("cluster_group_usedby"):
        assert (await group.refresh()).used_by == [f"/1.0/instances/{name}"]
    with pytest.raises(IncusAPIError, match="Only empty"):
        await groups.delete(name)
    await instance.delete(wait=True)

    if await cluster.one.has_extension("clustering_groups_config"):
        await groups.update(name, {"config": {"user.key": 1}})
        assert (await group.refresh()).config == {"user.key": "1"}
        with pytest.raises(IncusAPIError, match="Invalid cluster group configuration key"):
            await group.replace({"members": ["two"], "config": {"nonsense": "1"}})
    else:
        for call in (
            groups.create(f"{name}-2", config={"user.key": "1"}),
            group.update({"config": {"user.key": "1"}}),
            group.patch({"config": {"user.key": "1"}}),
        ):
            with pytest.raises(IncusUnsupportedError, match="clustering_groups_config"):
                await call
        assert not await groups.exists(f"{name}-2")
    await groups.patch(name, {"description": "by patch"})
    assert ((await group.refresh()).description, group.members) == ("by patch", ["three"])
    await groups.replace(name, {"members": []})
    assert ((await group.refresh()).description, group.members) == ("", [])
    renamed = await groups.rename(name, f"{name}-3")
    assert (await renamed.refresh()).members == []
    with pytest.raises(IncusPermissionError, match="default"):
        await groups.delete("default")
    await renamed.delete()
    with pytest.raises(IncusNotFoundError):
        await renamed.refresh()


async def test_an_evacuated_member_gives_up_its_instances_until_it_is_restored(cluster: Cluster, name: str) -> None:
    two = cluster.one.use_target("two")
    box = await two.instances.create(name, {"type": "image", "alias": "busybox"}, start=True, wait=True)
    members, member = cluster.one.cluster.members, cluster.one.cluster.members["two"]

    async def now() -> tuple[str, str, str]:
        await asyncio.gather(box.refresh(), member.refresh())
        return member.status, box.location, box.status

    operation = await member.evacuate("stop", wait=False)
    assert (operation.description, operation.status) == ("Evacuating cluster member", "Running")
    await operation.wait()
    assert await now() == ("Evacuated", "two", "Stopped")
    with pytest.raises(IncusAPIError):
        await two.instances.create(f"{name}-2", NOTHING, wait=True)
    await member.restore()
    assert await now() == ("Online", "two", "Running")

    seen: list[Progress] = []
    done = await members.evacuate("two", mode="migrate", progress=seen.append)
    assert any(name in update.text for update in seen), seen
    status, location, running = await now()
    assert (done.status, status, location != "two", running) == ("Success", "Evacuated", True, "Running")
    if await cluster.one.has_extension("cluster_evacuating_restoring"):
        await members.restore("two", mode="skip")
        assert await now() == ("Online", location, "Running")
    else:
        with pytest.raises(IncusUnsupportedError, match="mode"):
            await members.restore("two", mode="skip")
        await members.restore("two")
        assert await now() == ("Online", "two", "Running")
    with pytest.raises(IncusAPIError) as refused:
        await member.evacuate("sideways")
    assert refused.value.status_code == 400
    await box.stop(force=True, wait=True)
    await box.delete(wait=True)


async def test_what_has_a_part_on_each_member_is_made_in_two_steps(cluster: Cluster, name: str) -> None:
    client, placed = cluster.one, [cluster.one.use_target(each) for each in NAMES]
    for number, each in enumerate(placed, 1):
        pool = await each.storage_pools.create(name, "dir")
        # A macvlan network: bridges of one name would be one in the network that these members share.
        network = await each.networks.create(name, {"parent": "lo"}, type="macvlan")
        assert (pool.status, len(pool.locations)) == (network.status, len(network.locations)) == ("Pending", number)
        if number == 1:
            with pytest.raises(IncusAPIError, match="not defined on"):
                await client.storage_pools.create(name, "dir")
    pool = await client.storage_pools.create(name, "dir", {"rsync.compression": "false"})
    network = await client.networks.create(name, type="macvlan", description="all")
    assert (pool.status, set(pool.locations)) == (network.status, set(network.locations)) == ("Created", set(NAMES))
    sources = {(await each.storage_pools.get(name)).config["source"] for each in placed}
    assert len(sources) == 3, "each member has its own"
    assert {(await each.networks.get(name)).config["parent"] for each in placed} == {"lo"}
    assert [(await each.storage_pools[name].get_resources()).space.total > 0 for each in placed] == [True] * 3

    for each in placed[1:]:
        await each.storage_pools[name].volumes.create("custom/data", description=each._scope.target or "")
    volumes = client.storage_pools[name].volumes
    assert sorted(volume.location for volume in await volumes.list()) == ["three", "two"]
    for recursion in (0, 1):
        for listed in await volumes.list(recursion):
            await listed.update({"user.place": (await listed.refresh()).location})
    assert sorted(each.config["user.place"] for each in await volumes.list()) == ["three", "two"]
    assert [volume.location for volume in await volumes.list(target="two")] == ["two"]
    assert (await placed[2].storage_pools[name].volumes.get("custom/data")).description == "three"
    with pytest.raises(IncusAPIError, match="target a specific member"):
        await volumes.delete("custom/data")
    for each in placed[1:]:
        await each.storage_pools[name].volumes.delete("custom/data")
    assert await volumes.list() == []

    instances = [await each.instances.create(f"{name}-{n}", NOTHING, wait=True) for n, each in enumerate(placed)]
    assert [instance.location for instance in instances] == list(NAMES)
    found = await client.instances.list(filter=(F("location") == "two") & F("name").startswith(name))
    assert [instance.name for instance in found] == [f"{name}-1"]
    assert {(await each.get_server_info()).environment.server_name for each in placed} == set(NAMES)
    assert [(await each.get_resources()).cpu.total > 0 for each in placed] == [True] * 3
    with pytest.raises(IncusNotFoundError):
        await client.use_target("nobody").get_resources()
    for instance in instances:
        await instance.delete(wait=True)
    await client.networks.delete(name)
    await client.storage_pools.delete(name)
    assert not await client.storage_pools.exists(name)


async def test_a_join_token_is_listed_until_it_is_used_or_revoked(cluster: Cluster) -> None:
    first, second = [await cluster.one.cluster.members.add("five") for _ in range(2)]
    made = json.loads(base64.b64decode(second))
    assert first != second
    assert (made["server_name"], made["addresses"]) == ("five", [where(daemon) for daemon in cluster.daemons])
    for client in cluster.clients:
        (token,) = [token for token in await client.cluster.list_tokens() if token.name == "five"]
        assert token.value == second, "a new one ends the one before"
        assert token.expires_at is not None
        assert second not in repr(token)
    assert await cluster.one.certificates.list_tokens() == []
    await cluster.clients[1].cluster.revoke_token("five")
    assert "five" not in [token.name for token in await cluster.one.cluster.list_tokens()]
    with pytest.raises(IncusNotFoundError, match="no token for 'five': it was used"):
        await cluster.one.cluster.revoke_token("five")
    with pytest.raises(IncusAPIError, match="already"):
        await cluster.one.cluster.members.add("two")


JOIN = """
import asyncio, sys
from incus_sdk import Client

async def main(socket, token, address):
    async with Client(socket) as client:
        print(await client.cluster.join(token, address), end="")

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_server_joins_with_the_token_alone_and_leaves_again(cluster: Cluster, name: str) -> None:
    members = cluster.one.cluster.members
    four = Daemon(root=cluster.root, image=False, beside=cluster.daemons[0])
    await four.start()
    try:
        async with four.client() as client:
            await empty(client)
            token = await members.add("four")
            with pytest.raises(IncusInputError, match="not that of the cluster"):
                await client.cluster.join(token, where(four), cluster_certificate=four.certificate.read_text())
            with pytest.raises(IncusConnectionError, match="no member of the cluster could be reached"):
                await client.cluster.join(token, where(four))  # from outside their network
            # The members' network shows `four` where the token says that `one` is.
            elsewhere = json.loads(base64.b64decode(token)) | {"addresses": [four.url.removeprefix("https://")]}
            with pytest.raises(IncusConnectionError, match="another certificate"):
                await client.cluster.join(base64.b64encode(json.dumps(elsewhere).encode()).decode(), where(four))
            assert (await client.cluster.get()).enabled is False

            # A program in the members' network reaches them.
            assert cluster.daemons[0]._namespaces is not None
            network = f"--net=/proc/{cluster.daemons[0]._namespaces.pid}/ns/net"
            joined = await asyncio.to_thread(
                subprocess.run,
                ["nsenter", network, sys.executable, "-c", JOIN, str(four.socket), token, where(four)],
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (joined.stderr, joined.stdout) == ("", cluster.certificate)
            assert (await client.cluster.get()).server_name == "four"
            assert {member.server_name for member in await members.list()} == {*NAMES, "four"}

            instance = await cluster.one.use_target("four").instances.create(name, NOTHING, wait=True)
            with pytest.raises(IncusAPIError, match="still has the following instances"):
                await cluster.one.cluster.delete_member("four")
            await instance.delete(wait=True)
            await cluster.one.cluster.delete_member("four")
            with pytest.raises(IncusNotFoundError):
                await members.get("four")

        # It ended, and starts as a server of its own.
        await four.restart()
        async with four.client() as client:
            assert (await client.cluster.get()).enabled is False
            with pytest.raises(IncusOperationError):
                await client.cluster.join(token, where(four), cluster_certificate=cluster.certificate)
            again = await members.add("four")
            await client.cluster.join(
                again, where(four), cluster_certificate=cluster.certificate, cluster_address=where(cluster.daemons[1])
            )
            assert (await members.get("four")).status == "Online"
        await four.kill()
        with pytest.raises(IncusError):
            await members.delete("four")
        await members.delete("four", force=True)
        assert {member.server_name for member in await members.list()} == set(NAMES)
    finally:
        await four.close()


def certified(folder: Path) -> tuple[Path, Path]:
    """A new certificate and its key."""
    certificate, key = folder / "crt", folder / "key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-subj", "/CN=new", "-days", "9", "-nodes", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:secp384r1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


async def test_all_members_take_another_certificate(cluster: Cluster, tmp_path: Path) -> None:
    certificate, key = certified(tmp_path)
    for pair in (("", key.read_text()), (certificate.read_text(), str(key))):
        with pytest.raises(IncusInputError, match="must be PEM"):
            await cluster.one.cluster.update_certificate(*pair)
    await cluster.one.cluster.update_certificate(certificate.read_text(), key.read_text())
    for daemon in cluster.daemons:
        async with Client(daemon.url, cert=cluster.daemons[0].client_cert, server_cert=certificate) as client:
            assert (await client.get_server_info()).environment.certificate == certificate.read_text()
        with pytest.raises(IncusConnectionError, match="did not prove who it is"):
            await Client(daemon.url, cert=cluster.daemons[0].client_cert, server_cert=cluster.certificate).connect()
