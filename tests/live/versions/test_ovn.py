"""What only networks of OVN have: load balancers, peers, logs of ACLs; and what they let projects have of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from incus_sdk import Client, IncusAPIError, IncusInputError, models
from incus_sdk.api.networks import Network
from tests.live.versions.test_networks import KINDS, PING, Kind, live_through_every_verb, unsupported

NEAR = {"network": "uplink", "ipv4.address": "203.0.113.1/26", "ipv4.nat": "true", "ipv6.address": "none"}
FAR = {**NEAR, "ipv4.address": "203.0.113.65/26"}
BOX, LISTEN = "203.0.113.5", "203.0.113.200"

BACKENDS: list[models.NetworkLoadBalancerBackendDict] = [
    {"name": "b1", "description": "one", "target_address": BOX, "target_port": "8080"}
]
PORTS: list[models.NetworkLoadBalancerPortDict] = [
    {"description": "web", "protocol": "tcp", "listen_port": "80", "target_backend": ["b1"]}
]


@asynccontextmanager
async def network(client: Client, name: str, config: dict[str, str]) -> AsyncGenerator[Network]:
    network = await client.networks.create(name, config, type="ovn")
    try:
        yield network
    finally:
        await network.delete()


@asynccontextmanager
async def load_balancers(client: Client, name: str) -> AsyncGenerator[Any]:
    async with network(client, name, NEAR) as near:
        yield near.load_balancers


@asynccontextmanager
async def peers(client: Client, name: str) -> AsyncGenerator[Any]:
    async with network(client, name, NEAR) as near, network(client, "far", FAR):
        yield near.peers


OVN_KINDS = {
    "load balancers": Kind(
        load_balancers,
        key=LISTEN,
        create={"description": "first", "config": {"user.a": "1"}, "backends": BACKENDS, "ports": PORTS},
        change={"description": "second", "config": {"user.b": "2"}, "backends": [], "ports": []},
        checked=False,
        patched=("backends", "ports"),
    ),
    "peers": Kind(
        peers,
        key="to-far",
        create={
            "description": "first",
            "config": {"user.a": "1"},
            "target_network": "far",
            "target_project": "default",
        },
        change={"description": "second", "config": {"user.b": "2"}},
        checked=False,
        merges=False,
    ),
}


@pytest.mark.parametrize("kind", OVN_KINDS)
async def test_an_object_lives_through_every_verb(ovn: Client, name: str, kind: str) -> None:
    async with OVN_KINDS[kind].group(ovn, name) as group:
        await live_through_every_verb(group, OVN_KINDS[kind])


OF_PROJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "networks": ("inner", {"description": "first", "config": NEAR, "type": "ovn"}),
    "network_acls": (KINDS["acls"].key, KINDS["acls"].create),
    "network_address_sets": (KINDS["address sets"].key, KINDS["address sets"].create),
    "network_zones": (KINDS["zones"].key, KINDS["zones"].create),
}
"""What a project can have of its own, by the client's attribute: a name, and how one is created."""


@pytest.mark.parametrize("attribute", OF_PROJECTS)
async def test_what_a_list_of_all_projects_finds_can_be_acted_on_as_it_is(
    ovn: Client, name: str, attribute: str
) -> None:
    if attribute == "network_address_sets" and await unsupported(ovn, KINDS["address sets"]):
        return  # as the test of the verbs shows
    group, (key, create) = getattr(ovn, attribute), OF_PROJECTS[attribute]
    await ovn.projects.create(name, config={"features.networks": True, "features.networks.zones": True})
    try:
        made = await getattr(ovn.use_project(name), attribute).create(key, **create)
        try:
            for recursion in (0, 1):
                assert not [each for each in await group.list(recursion) if each.name == key]
                (mine,) = await group.list(recursion, project=name)
                (found,) = [each for each in await group.list(recursion, all_projects=True) if each.name == key]
                assert mine.project == found.project == name
                assert (await found.refresh()).raw == (await mine.refresh()).raw == made.raw
            await found.update({"description": "changed"})
            assert (await made.refresh()).description == "changed"
            if attribute == "networks":
                used_by = f"/1.0/networks/inner?project={name}"
                for allocations, there in (
                    (ovn.networks.get_allocations(), False),
                    (ovn.networks.get_allocations(all_projects=True), True),
                    (ovn.use_project(name).networks.get_allocations(), True),
                ):
                    assert (used_by in [each.used_by for each in await allocations]) is there
        finally:
            await made.delete()
    finally:
        await ovn.projects.delete(name)


async def test_a_peer_that_waits_for_the_other_side_is_there(ovn: Client, name: str) -> None:
    async with network(ovn, name, NEAR) as near:
        made = await near.peers.ensure("far", "nowhere", description="first")
        assert (made.created, made.item.status) == (True, "Pending")
        assert not await near.peers.ensure("far", "nowhere", description="first")
        changed = await near.peers.ensure("far", "nowhere", description="second")
        assert (changed.created, dict(changed.changed)) == (False, {"description": ("first", "second")})
        with pytest.raises(IncusInputError, match="target_network"):
            await near.peers.ensure("far", "elsewhere")
        await changed.item.delete()


async def test_a_peer_is_open_once_both_sides_want_it(ovn: Client, name: str) -> None:
    async with network(ovn, name, NEAR) as near, network(ovn, "far", FAR) as far:
        there = await near.peers.create("to-far", "far", config={"user.a": "1"})
        assert (there.status, there.type, there.config) == ("Pending", "local", {"user.a": "1"})
        back = await far.peers.create("to-near", name)
        assert back.status == (await there.refresh()).status == "Created"
        with pytest.raises(IncusAPIError, match="in use"):
            await far.delete()
        await there.delete()
        assert (await back.refresh()).status == "Errored"
        await back.delete()

        # Of a project that may not even be there: only the other side could tell.
        elsewhere = await near.peers.create("elsewhere", "inner", target_project="other")
        assert (elsewhere.target_project, elsewhere.target_network, elsewhere.status) == ("other", "inner", "Pending")
        await elsewhere.delete()

        # There is nothing at the other end of the integration.
        nowhere = {"ovn.northbound_connection": "unix:/no/such.sock", "ovn.southbound_connection": "unix:/no/such.sock"}
        integration = await ovn.network_integrations.create("far", config=nowhere)
        with pytest.raises(IncusAPIError, match="no such file"):
            await near.peers.create("remote", type="remote", target_integration="far")
        with pytest.raises(IncusAPIError, match="arget network is required"):
            await near.peers.create("local")
        assert await near.peers.list() == []
        await integration.delete()


async def test_a_box_behind_ovn_is_logged_and_checked(ovn: Client, name: str) -> None:
    version = (await ovn.get_server_info()).environment.server_version
    acl = await ovn.network_acls.create("pings", egress=[{**PING, "source": ""}])
    async with network(ovn, name, NEAR) as near:
        nic = {"type": "nic", "network": name, "ipv4.address": BOX, "security.acls": "pings"}
        box = await ovn.instances.create(
            name, {"type": "image", "alias": "busybox"}, devices={"eth0": nic}, start=True, wait=True
        )
        try:
            assert await acl.get_log() == ""
            await box.run(
                ["sh", "-c", f"ip addr add {BOX}/26 dev eth0; ip link set eth0 up; ping -c 1 -W 1 203.0.113.1"]
            )
            if version.startswith("6.0."):
                async with asyncio.timeout(60):
                    while not (log := await ovn.network_acls.get_log("pings")):
                        await asyncio.sleep(0.1)
                entry = json.loads(log.splitlines()[0])
                assert (entry["src"], entry["dst"], entry["action"]) == (BOX, "203.0.113.1", "drop")
            else:
                # It looks for entries of another name than it gives its rules in OVN.
                assert await ovn.network_acls.get_log("pings") == ""

            balancer = await near.load_balancers.create(LISTEN, backends=BACKENDS, ports=PORTS)
            assert (await balancer.get_state()).backend_health == {}
            await balancer.update({"config": {"healthcheck": True}})
            (health,) = (await near.load_balancers.get_state(LISTEN)).backend_health.items()
            assert (health[0], health[1].address) == ("b1", BOX)
            assert [(port.port, port.protocol) for port in health[1].ports] == [(80, "tcp")]
            assert health[1].ports[0].status in ("online", "offline", "unknown")

            found = await ovn.networks.get_allocations()
            assert {(each.type, each.addresses) for each in found if near.name in each.used_by} == {
                ("network", "203.0.113.1/26"),
                ("instance", f"{BOX}/32"),
                ("network-load-balancer", f"{LISTEN}/32"),
            }
            if await ovn.has_extension("network_allocations_network"):
                assert {each.network for each in found} >= {name, "uplink"}
            state = await near.get_state()
            assert (state.ovn.uplink_ipv4, [each.address for each in state.addresses]) == (
                near.config["volatile.network.ipv4.address"],
                ["203.0.113.1"],
            )
            assert all((state.ovn.chassis, state.ovn.logical_router, state.ovn.logical_switch))
            await balancer.delete()
            with pytest.raises(IncusAPIError):
                await balancer.get_state()
        finally:
            await box.delete(force=True, wait=True)
    await acl.delete()
