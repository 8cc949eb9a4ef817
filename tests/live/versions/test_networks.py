"""Networks with their forwards, ACLs, address sets, zones with their records, integrations, and addresses in use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusInputError,
    IncusNotFoundError,
    IncusPreconditionError,
    IncusUnsupportedError,
    models,
)
from incus_sdk.models.base import to_json

BRIDGE = {"ipv4.address": "198.51.100.1/24", "ipv4.dhcp": "false", "ipv6.address": "none"}
OTHER = {**BRIDGE, "ipv4.address": "203.0.113.1/24"}
WEB: models.NetworkACLRuleDict = {
    "action": "allow",
    "state": "enabled",
    "protocol": "tcp",
    "destination_port": "80,443",
}
PING: models.NetworkACLRuleDict = {
    "action": "drop",
    "state": "logged",
    "protocol": "icmp4",
    "source": "203.0.113.0/24",
    "icmp_type": "8",
}


@dataclass(frozen=True)
class Kind:
    """A kind of resource: where it is found, and what it is like."""

    group: Callable[[Client, str], AbstractAsyncContextManager[Any]]
    """The collection, for a client and a fresh name, below a parent of its own if it needs one."""
    key: str
    create: dict[str, Any]
    change: dict[str, Any]
    renamed: str = ""
    """Another name; empty for what cannot be renamed."""
    checked: bool = True
    """Whether the server looks at If-Match."""
    patched: tuple[str, ...] = ()
    """The fields, without ``config``, that the server's own PATCH keeps where it does not name them."""
    merges: bool = True
    """Whether that PATCH keeps keys of ``config``."""


def of(attribute: str) -> Callable[[Client, str], AbstractAsyncContextManager[Any]]:
    """What hangs on the client itself."""

    @asynccontextmanager
    async def group(client: Client, name: str) -> AsyncGenerator[Any]:
        yield getattr(client, attribute)

    return group


@asynccontextmanager
async def forwards(client: Client, name: str) -> AsyncGenerator[Any]:
    network = await client.networks.create(name, BRIDGE)
    yield network.forwards
    await network.delete()


@asynccontextmanager
async def records(client: Client, name: str) -> AsyncGenerator[Any]:
    zone = await client.network_zones.create(f"{name}.example.net")
    yield zone.records
    await zone.delete()


KINDS = {
    "networks": Kind(
        of("networks"),
        key="net0",
        create={"config": {**BRIDGE, "user.a": "1"}, "description": "first"},
        change={"config": {**OTHER, "user.b": "2"}, "description": "second"},
        renamed="net1",
    ),
    "forwards": Kind(
        forwards,
        key="203.0.113.9",
        create={
            "description": "first",
            "config": {"target_address": "198.51.100.2", "user.a": "1"},
            "ports": [
                {
                    "description": "web",
                    "protocol": "tcp",
                    "listen_port": "80,8080-8081",
                    "target_address": "198.51.100.3",
                    "target_port": "90,91,92",
                }
            ],
        },
        change={"description": "second", "config": {"user.b": "2"}, "ports": []},
        checked=False,
        patched=("ports",),
    ),
    "acls": Kind(
        of("network_acls"),
        key="acl-0",
        create={"description": "first", "config": {"user.a": "1"}, "ingress": [WEB, PING], "egress": [WEB]},
        change={"description": "second", "config": {"user.b": "2"}, "ingress": [PING], "egress": []},
        renamed="acl-1",
    ),
    "address sets": Kind(
        of("network_address_sets"),
        key="set-0",
        create={"description": "first", "config": {"user.a": "1"}, "addresses": ["198.51.100.7", "203.0.113.0/24"]},
        change={"description": "second", "config": {"user.b": "2"}, "addresses": ["fd42::7"]},
        renamed="set-1",
    ),
    "zones": Kind(
        of("network_zones"),
        key="example.org",
        create={"description": "first", "config": {"dns.nameservers": "ns.example.org", "user.a": "1"}},
        change={"description": "second", "config": {"user.b": "2"}},
    ),
    "records": Kind(
        records,
        key="@",
        create={
            "description": "first",
            "config": {"user.a": "1"},
            "entries": [{"type": "A", "value": "198.51.100.7", "ttl": 60}, {"type": "TXT", "value": '"two words"'}],
        },
        change={"description": "second", "config": {"user.b": "2"}, "entries": [{"type": "AAAA", "value": "fd42::7"}]},
        merges=False,
    ),
    "integrations": Kind(
        of("network_integrations"),
        key="far",
        create={"description": "first", "config": {"ovn.northbound_connection": "tcp:[::1]:6641", "user.a": "1"}},
        change={"description": "second", "config": {"ovn.southbound_connection": "tcp:[::1]:6642", "user.b": "2"}},
        renamed="further",
        patched=("description",),
    ),
}


def fields(record: Any, expected: dict[str, Any]) -> dict[str, Any]:
    """Those of the expected fields; null is empty, and what is empty in an item of a list is not there."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [
                {key: part for key, part in each.items() if part} if isinstance(each, dict) else each for each in value
            ]
        return value

    return {key: plain(to_json(getattr(record, key))) for key in expected}


async def unsupported(client: Client, kind: Kind) -> bool:
    """Whether it is of those that this server is too old for."""
    version = (await client.get_server_info()).environment.server_version
    return kind is KINDS["address sets"] and version.startswith("6.0.")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
async def group(client: Client, name: str, kind: Kind) -> AsyncIterator[Any]:
    async with kind.group(client, name) as group:
        yield group


async def test_an_object_lives_through_every_verb(client: Client, group: Any, kind: Kind) -> None:
    if await unsupported(client, kind):
        handle = group[kind.key]
        for late in (group.list(), group.create(kind.key, **kind.create), handle.refresh(), handle.exists()):
            with pytest.raises(IncusUnsupportedError, match="network_address_set"):
                await late
        for late in (handle.replace({}), handle.patch({}), handle.update({}), handle.rename("x"), handle.delete()):
            with pytest.raises(IncusUnsupportedError, match="network_address_set"):
                await late
    else:
        await live_through_every_verb(group, kind)


async def live_through_every_verb(group: Any, kind: Kind) -> None:
    key, create, change = kind.key, kind.create, kind.change
    assert not await group.exists(key)
    made = await group.create(key, **create)
    try:
        # Read in every way.
        assert type(made) is group._resource
        assert fields(made, create) == create
        assert await group.exists(key)
        found = await group.get(key)
        assert found == made
        for query in ({}, {"filter": "description eq first"}):
            (listed,) = [each for each in await group.list(**query) if each[each.KEY] == key]
            (handle,) = [each for each in await group.list(0, **query) if each[each.KEY] == key]
            assert fields(listed, create) == create
            assert (await listed.refresh()).raw == (await handle.refresh()).raw == found.raw
        for recursion in (0, 1):
            assert await group.list(recursion, filter="description eq nothing") == []
        with pytest.raises(IncusAPIError):
            await group.list(filter="description almost first")
        with pytest.raises(IncusAPIError):  # not always a 409
            await group.create(key, **change)
        assert (await group.get(key)).raw == found.raw

        # Changed in every way.
        stale = made.etag
        await group.replace(key, change, etag=stale)
        assert fields(await made.refresh(), change) == change
        if kind.checked:
            with pytest.raises(IncusPreconditionError):
                await made.replace(create, etag=stale)
            assert fields(await made.refresh(), change) == change
        await group.update(key, {"user.a": 3, "description": "third"})
        config = {**change["config"], "user.a": "3"}
        assert fields(await made.refresh(), change) == {**change, "config": config, "description": "third"}
        async with made.editing() as draft:
            draft.description = "fourth"
            del draft.config["user.a"]
        before = fields(await made.refresh(), change)
        assert before == {**change, "description": "fourth"}
        with pytest.raises(IncusAPIError):
            await made.update({"no.such.key": "1"})
        assert fields(await made.refresh(), change) == before

        # Patched by the server's rules.
        await group.patch(key, {})
        cleared = {field: type(value)() for field, value in before.items() if field not in kind.patched}
        patched = {**before, **cleared, "config": change["config"] if kind.merges else {}}
        assert fields(await made.refresh(), change) == patched
        await made.patch({**patched, "description": "fifth", "config": {"user.c": "4"}})
        config = {**patched["config"], "user.c": "4"}
        assert fields(await made.refresh(), change) == {**patched, "description": "fifth", "config": config}

        # Renamed, there and back.
        assert hasattr(group, "rename") == bool(kind.renamed)
        if kind.renamed:
            moved = await group.rename(key, kind.renamed)
            assert (await moved.refresh()).config == config
            assert not await made.exists()
            await moved.rename(key)
            assert fields(await made.refresh(), {"config": config}) == {"config": config}
    finally:
        await group.delete(key)
    assert not await group.exists(key)
    assert key not in [each[each.KEY] for each in await group.list()]
    for gone in (group.get(key), group.delete(key), group.update(key, {}), made.replace(change), made.delete()):
        with pytest.raises(IncusNotFoundError):
            await gone


async def test_a_network_tells_its_state_its_leases_and_whose_addresses_are_in_use(client: Client, name: str) -> None:
    config = {**BRIDGE, "ipv4.dhcp": "true", "ipv4.nat": "true"}
    network = await client.networks.create(name, config, description="used")
    forward = await network.forwards.create("203.0.113.9", ports=[])
    nic = {"type": "nic", "network": name, "ipv4.address": "198.51.100.9", "hwaddr": "10:66:6a:00:00:09"}
    box = await client.instances.create(name, {"type": "none"}, devices={"eth0": nic}, wait=True)
    try:
        state = await network.get_state()
        assert (await client.networks.get_state(name)).hwaddr == state.hwaddr != ""
        assert [(each.address, each.netmask) for each in state.addresses if each.family == "inet"] == [
            ("198.51.100.1", "24")
        ]
        assert (state.mtu, state.type, state.bridge.stp, state.ovn.chassis) == (1500, "broadcast", False, "")
        leases = await network.get_leases()
        assert [each.raw for each in await client.networks.get_leases(name)] == [each.raw for each in leases]
        assert [(each.type, each.hostname, each.address, each.hwaddr) for each in leases] == [
            ("gateway", f"{name}.gw", "198.51.100.1", ""),
            ("static", name, "198.51.100.9", "10:66:6a:00:00:09"),
        ]
        expected = [
            ("instance", "198.51.100.9/32", f"/1.0/instances/{name}", True),
            ("network", "198.51.100.1/24", f"/1.0/networks/{name}", True),
            ("network-forward", "203.0.113.9/32", f"/1.0/networks/{name}/forwards/203.0.113.9", False),
        ]
        for all_projects in (False, True):
            found = await client.networks.get_allocations(all_projects=all_projects)
            assert sorted((each.type, each.addresses, each.used_by, each.nat) for each in found) == expected
        assert (await network.refresh()).used_by == [f"/1.0/instances/{name}"]
        for refused in (network.delete(), network.rename("net1")):
            with pytest.raises(IncusAPIError, match="in use"):
                await refused
    finally:
        await box.delete(wait=True)
        await forward.delete()
        await network.delete()
    assert await client.networks.get_allocations() == []
    for gone in (network.get_state(), network.get_leases(), network.forwards.list(), client.networks.get_leases(name)):
        with pytest.raises(IncusNotFoundError):
            await gone


async def test_acls_address_sets_and_zones_know_who_uses_them(client: Client, name: str) -> None:
    acl = await client.network_acls.create("web", ingress=[WEB])
    zone = await client.network_zones.create("example.org")
    network = await client.networks.create(name, {**BRIDGE, "security.acls": "web", "dns.zone.forward": "example.org"})
    try:
        assert (await acl.refresh()).used_by == (await zone.refresh()).used_by == [f"/1.0/networks/{name}"]
        with pytest.raises(IncusAPIError, match="in use"):
            await zone.delete()
        # A record is patched with the zone's own configuration.
        await zone.update({"dns.nameservers": "ns.example.org"})
        record = await zone.records.create("www")
        with pytest.raises(IncusAPIError, match=r"dns\.nameservers"):
            await record.patch({"description": "changed"})
        await record.update({"description": "changed"})
        assert [(each.name, each.description) for each in await zone.records.list()] == [("www", "changed")]
        await record.delete()
        assert [(rule.action, rule.destination_port) for rule in acl.ingress] == [("allow", "80,443")]
        acl.ingress[0].state = "disabled"
        await acl.replace(acl, etag=acl.etag)
        assert (await client.network_acls.get("web")).ingress[0].state == "disabled"
        with pytest.raises(IncusAPIError, match="in use"):
            await acl.delete()
        if not await unsupported(client, KINDS["address sets"]):
            addresses = await client.network_address_sets.create("friends", addresses=["198.51.100.7"])
            await acl.update({"ingress": [{**WEB, "source": "$friends"}]})
            assert (await addresses.refresh()).used_by == ["/1.0/network-acls/web"]
            with pytest.raises(IncusAPIError, match="in use"):
                await addresses.delete()
            await acl.update({"ingress": []})
            await addresses.delete()
        # Only networks of OVN write a log.
        for log in (acl.get_log(), client.network_acls.get_log("web")):
            with pytest.raises(IncusAPIError, match="Only OVN"):
                await log
    finally:
        await network.delete()
        await zone.delete()
        await acl.delete()


async def test_what_incus_only_found_cannot_be_changed_and_what_it_refuses_is_not_made(client: Client) -> None:
    (loopback,) = [each for each in await client.networks.list() if each.name == "lo"]
    assert (loopback.managed, loopback.type, loopback.config) == (False, "loopback", {})
    assert (await loopback.get_state()).type == "loopback"
    for refused in (loopback.delete(), loopback.patch({"description": "mine"}), loopback.rename("lo1")):
        with pytest.raises(IncusNotFoundError):
            await refused
    with pytest.raises(IncusAPIError):
        await client.networks.create("no such name", BRIDGE)
    assert not await client.networks.exists("no such name")
    with pytest.raises(IncusAPIError, match="integration type"):
        await client.network_integrations.create("far", type="no such type")
    assert not await client.network_integrations.exists("far")


async def test_a_misspelled_field_of_a_rule_or_a_port_is_refused(client: Client, name: str) -> None:
    wrong: Any = {"action": "allow", "state": "enabled", "protocol": "tcp", "destination_ports": "80"}
    acls, refused = client.network_acls, r"an entry of ingress has no fields \['destination_ports'\]"
    with pytest.raises(IncusInputError, match=refused):
        await acls.create(name, ingress=[wrong])
    assert not await acls.exists(name)
    acl = await acls.create(name, ingress=[WEB])
    for change in (
        acl.update({"ingress": [PING, wrong]}),
        acls.update(name, {"ingress": [wrong]}),
        acls.ensure(name, ingress=[wrong]),
    ):
        with pytest.raises(IncusInputError, match=refused):
            await change
    assert fields(await acl.refresh(), {"ingress": [WEB]}) == {"ingress": [WEB]}
    await acl.delete()
