"""Many writers of one object: nothing that any of them adds is lost, by one client or by two."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest

from incus_sdk import Client, IncusPreconditionError
from incus_sdk.testing import Daemon

WRITERS = 8
BRIDGE = {"ipv4.address": "198.51.100.1/24", "ipv4.dhcp": "false", "ipv6.address": "none"}


class Kind(NamedTuple):
    """A kind of object with a list: made and removed by ``make``, found by ``find``, its entries and one more."""

    make: Callable[[Client], contextlib.AbstractAsyncContextManager[None]]
    find: Callable[[Client], Any]
    entries: Callable[[Any], Any]
    entry: Callable[[int], Any]


@contextlib.asynccontextmanager
async def acl(client: Client) -> AsyncGenerator[None]:
    await client.network_acls.create("many")
    yield
    await client.network_acls.delete("many")


@contextlib.asynccontextmanager
async def forward(client: Client) -> AsyncGenerator[None]:
    network = await client.networks.create("many0", BRIDGE)
    await network.forwards.create("198.51.100.9")
    yield
    await network.forwards.delete("198.51.100.9")
    await network.delete()


@contextlib.asynccontextmanager
async def record(client: Client) -> AsyncGenerator[None]:
    zone = await client.network_zones.create("many.example")
    await zone.records.create("www")
    yield
    await zone.records.delete("www")
    await zone.delete()


@contextlib.asynccontextmanager
async def instance(client: Client) -> AsyncGenerator[None]:
    for number in range(WRITERS):
        await client.profiles.create(f"many{number}")
    made = await client.instances.create("many", {"type": "none"}, wait=True)
    yield
    await made.delete(wait=True)
    for number in range(WRITERS):
        await client.profiles.delete(f"many{number}")


@contextlib.asynccontextmanager
async def address_set(client: Client) -> AsyncGenerator[None]:
    if not await client.has_extension("network_address_set"):
        pytest.skip("this version has no address sets")
    await client.network_address_sets.create("many")
    yield
    await client.network_address_sets.delete("many")


KINDS = {
    "ACL": Kind(
        acl,
        lambda client: client.network_acls["many"],
        lambda acl: acl.ingress,
        lambda number: {"action": "allow", "state": "enabled", "source": f"198.51.100.{number}"},
    ),
    "forward": Kind(
        forward,
        lambda client: client.networks["many0"].forwards["198.51.100.9"],
        lambda forward: forward.ports,
        lambda number: {"protocol": "tcp", "listen_port": str(9000 + number), "target_address": "198.51.100.20"},
    ),
    "record": Kind(
        record,
        lambda client: client.network_zones["many.example"].records["www"],
        lambda record: record.entries,
        lambda number: {"type": "A", "ttl": 3600, "value": f"198.51.100.{number}"},
    ),
    "instance": Kind(
        instance,
        lambda client: client.instances["many"],
        lambda instance: instance.profiles,
        lambda number: f"many{number}",
    ),
    "address set": Kind(
        address_set,
        lambda client: client.network_address_sets["many"],
        lambda address_set: address_set.addresses,
        lambda number: f"198.51.100.{number}",
    ),
}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
async def kind(client: Client, request: pytest.FixtureRequest) -> AsyncIterator[Kind]:
    kind: Kind = request.param
    async with kind.make(client):
        yield kind


def holds(entries: list[Any], wanted: Any) -> bool:
    """Whether one of the entries is the wanted one; servers add what is empty."""
    return any(entry == wanted or (isinstance(wanted, dict) and wanted.items() <= entry.items()) for entry in entries)


@pytest.mark.parametrize("clients", [1, 2])
async def test_every_entry_that_is_appended_at_once_is_there(
    daemon: Daemon, client: Client, kind: Kind, clients: int
) -> None:
    async with daemon.client() as second:

        async def append(number: int) -> None:
            async with kind.find((client, second)[number % clients]).editing() as draft:
                kind.entries(draft).append(kind.entry(number))

        await asyncio.gather(*(append(number) for number in range(WRITERS)))
    found = list(kind.entries(await kind.find(client).refresh()))
    assert [number for number in range(WRITERS) if not holds(found, kind.entry(number))] == []


async def test_entries_are_merged_one_by_one(client: Client, kind: Kind) -> None:
    async with kind.find(client).editing() as draft:
        kind.entries(draft).extend(kind.entry(number) for number in range(4))
    before = list(kind.entries(draft))
    async with kind.find(client).editing() as mine:
        kind.entries(mine).remove(next(entry for entry in before if holds([entry], kind.entry(0))))
        kind.entries(mine).append(kind.entry(4))
        kind.entries(mine).append(kind.entry(5))
        async with kind.find(client).editing() as theirs:
            for number in (0, 1):
                kind.entries(theirs).remove(next(entry for entry in before if holds([entry], kind.entry(number))))
            kind.entries(theirs).append(kind.entry(5))
            kind.entries(theirs).append(kind.entry(6))
    found = list(kind.entries(await kind.find(client).refresh()))
    there = [number for number in range(WRITERS) if holds(found, kind.entry(number))]
    assert (there, len(found) - len(before)) == ([2, 3, 4, 5, 6], 1), "the last of both is there once"


async def test_an_entry_that_both_change_is_refused(client: Client) -> None:
    async with forward(client):
        ports = client.networks["many0"].forwards["198.51.100.9"]
        await ports.update({"ports": [KINDS["forward"].entry(0), KINDS["forward"].entry(1)]})
        async with ports.editing() as mine:
            mine.ports[0].description = "mine"
            async with ports.editing() as theirs:
                theirs.ports[0].target_port = "80"
                theirs.ports[1].description = "theirs"
        assert [(port.description, port.target_port) for port in ports.ports] == [("mine", "80"), ("theirs", "")]

        async def collide() -> None:
            async with ports.editing() as mine:
                mine.ports[0].description = "mine again"
                async with ports.editing() as theirs:
                    theirs.ports[0].description = "theirs"

        with pytest.raises(IncusPreconditionError, match=r"ports\[tcp/9000\]\.description"):
            await collide()
        assert (await ports.refresh()).ports[0].description == "theirs"


async def _volume(client: Client) -> Any:
    return await client.storage_pools["default"].volumes.create("custom/many")


UPDATED: dict[str, Callable[[Client], Any]] = {
    "profile": lambda client: client.profiles.create("many"),
    "network": lambda client: client.networks.create("many0", BRIDGE),
    "ACL": lambda client: client.network_acls.create("many"),
    "zone": lambda client: client.network_zones.create("many.example"),
    "project": lambda client: client.projects.create("many"),
    "volume": _volume,
}


@pytest.mark.parametrize("clients", [1, 2])
@pytest.mark.parametrize("make", UPDATED.values(), ids=UPDATED)
async def test_every_key_that_is_updated_at_once_is_there(
    daemon: Daemon, client: Client, make: Callable[[Client], Any], clients: int
) -> None:
    thing = await make(client)
    try:
        async with daemon.client() as second:
            handles = [type(thing)(each._scope, thing._path, {}, loaded=False) for each in (client, second)]
            updates = (handles[each % clients].update({f"user.many{each}": each}) for each in range(WRITERS))
            await asyncio.gather(*updates)
        kept = {key for key in (await thing.refresh()).config if key.startswith("user.many")}
        assert kept == {f"user.many{number}" for number in range(WRITERS)}
    finally:
        await thing.delete()


async def test_one_clients_views_take_turns_each_in_its_own_project(client: Client) -> None:
    project = await client.projects.create("many", {"features.profiles": True})
    views = client.use_project("many"), client.use_project("many")
    await asyncio.gather(
        *(views[number % 2].profiles.update("default", {f"user.many{number}": 1}) for number in range(WRITERS)),
    )
    kept = [key for key in (await views[0].profiles.get("default")).config if key.startswith("user.many")]
    await project.delete()
    assert len(kept) == WRITERS
