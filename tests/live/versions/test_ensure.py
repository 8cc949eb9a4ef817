"""ensure(): made if it is missing, changed where it differs, left alone otherwise; also by several at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from incus_sdk import Client, IncusUnsupportedError
from incus_sdk._connection.transport import Transport

Case = tuple[Any, tuple[Any, ...], dict[str, Any], dict[str, Any], dict[str, tuple[Any, Any]]]
"""The group, what `create` takes, what is asked of it later, and what that changes."""

BRIDGE = {"ipv4.address": "none", "ipv6.address": "none"}
RULE = {"action": "allow", "source": "198.51.100.7"}
PORT = {"protocol": "tcp", "listen_port": "80", "target_address": "198.51.100.2"}
ANSWER = {"type": "A", "value": "198.51.100.2"}

TEXT: dict[str, Any] = {"config": {"user.b": 2, "user.a": None}, "description": "second"}
TEXT_CHANGES: dict[str, tuple[Any, Any]] = {
    "config.user.a": ("1", None),
    "config.user.b": (None, "2"),
    "description": ("first", "second"),
}
FIRST: dict[str, Any] = {"config": {"user.a": 1}, "description": "first"}

CASES: dict[str, Callable[[Client, str], Case]] = {
    "profile": lambda client, name: (
        client.profiles,
        (name,),
        FIRST | {"devices": {"eth0": {"type": "none"}}},
        TEXT | {"devices": {"eth0": None, "eth1": {"type": "none"}}},
        TEXT_CHANGES | {"devices.eth0": ({"type": "none"}, None), "devices.eth1": (None, {"type": "none"})},
    ),
    "project": lambda client, name: (client.projects, (name,), FIRST, TEXT, TEXT_CHANGES),
    "network": lambda client, name: (
        client.networks,
        (name, BRIDGE),
        {"type": "bridge"},
        {"config": {"user.b": "2"}},
        {"config.user.b": (None, "2")},
    ),
    "forward": lambda client, name: (
        client.networks[f"{name}p"].forwards,
        ("198.51.100.9",),
        {"ports": [PORT]},
        {"description": "second"},
        {"description": ("", "second")},
    ),
    "ACL": lambda client, name: (
        client.network_acls,
        (name,),
        {"ingress": [RULE | {"state": "enabled"}]},
        {"config": {"user.b": "2"}},
        {"config.user.b": (None, "2")},
    ),
    "address set": lambda client, name: (
        client.network_address_sets,
        (name,),
        {"addresses": ["198.51.100.1"]},
        {"addresses": ["198.51.100.2"]},
        {"addresses": (["198.51.100.1"], ["198.51.100.2"])},
    ),
    "zone": lambda client, name: (client.network_zones, (f"{name}.example",), FIRST, TEXT, TEXT_CHANGES),
    "record": lambda client, name: (
        client.network_zones[f"{name}p.example"].records,
        ("www",),
        FIRST | {"entries": [ANSWER]},
        TEXT,
        TEXT_CHANGES,
    ),
    "pool": lambda client, name: (
        client.storage_pools,
        (name, "dir"),
        {},
        {"description": "second"},
        {"description": ("", "second")},
    ),
    "volume": lambda client, name: (
        client.storage_pools["default"].volumes,
        (f"custom/{name}",),
        FIRST | {"content_type": "filesystem"},
        TEXT,
        TEXT_CHANGES,
    ),
}


@pytest.fixture
async def parents(client: Client, name: str) -> AsyncIterator[None]:
    """What some of them hang below."""
    config = {"ipv4.address": "198.51.100.1/24", "ipv4.dhcp": "false", "ipv6.address": "none"}
    network = await client.networks.create(f"{name}p", config)
    zone = await client.network_zones.create(f"{name}p.example")
    yield
    await network.delete()
    await zone.delete()


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests from now on that may change something."""
    seen: list[str] = []
    request = Transport.request

    def spied(self: Transport, method: str, target: str, **how: Any) -> Any:
        if method != "GET":
            seen.append(f"{method} {target}")
        return request(self, method, target, **how)

    monkeypatch.setattr(Transport, "request", spied)
    return seen


@pytest.mark.parametrize("what", CASES)
async def test_it_is_made_once_and_then_changed_where_it_differs(
    client: Client, name: str, parents: None, writes: list[str], what: str
) -> None:
    group, create, options, change, changes = CASES[what](client, name)
    key = create[0]
    try:
        made = await group.ensure(*create, **options)
    except IncusUnsupportedError:
        return
    try:
        assert (made.created, made.changed, bool(made)) == (True, {}, True)
        assert made.item == await group.get(key)

        writes.clear()
        again = await group.ensure(*create, **options)
        assert (again.created, again.changed, bool(again), writes) == (False, {}, False, [])
        assert again.item == made.item

        changed = await group.ensure(*(create if what == "pool" else create[:1]), **change)
        assert (changed.created, changed.changed, bool(changed)) == (False, changes, True)
        assert changed.item == await group.get(key)
        assert changed.item.etag == (await group.get(key)).etag

        await group.delete(key)
        both = await asyncio.gather(*(group.ensure(*create, **options) for _ in range(3)))
        assert [each.created for each in both].count(True) == 1
        assert not any(each.changed for each in both)
        assert len({each.item for each in both}) == 1
    finally:
        await group.delete(key, missing_ok=True)
