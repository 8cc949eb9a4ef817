"""The pattern behind all resources, on three that differ: profiles, networks with forwards, volumes with snapshots."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusInputError,
    IncusNotFoundError,
    IncusNotLoadedError,
    IncusOperationError,
    IncusPreconditionError,
    Instance,
)
from incus_sdk._connection.transport import Transport
from incus_sdk.testing import Daemon

ADDRESS = {"ipv4.address": "198.51.100.1/24", "ipv4.dhcp": "false", "ipv6.address": "none"}

DEVICES = {"root": {"type": "disk", "path": "/", "pool": "default"}}
PORTS = [
    {
        "protocol": "tcp",
        "listen_port": "80",
        "target_address": "198.51.100.2",
        "target_port": "81",
        "description": "web",
    }
]


@dataclass(frozen=True)
class Kind:
    """A kind of resource: where it is found below the parents that the fixture `group` makes, and what it is like."""

    group: Callable[[Client, str], Any]
    key: str
    create: dict[str, Any]
    change: dict[str, Any]
    renamed: str = ""
    """Another name; empty for what cannot be renamed."""
    checked: bool = True
    """Whether the server looks at If-Match."""
    filtered: bool = True
    """Whether the server takes a filter."""

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]


KINDS = {
    "profiles": Kind(
        lambda client, _: client.profiles,
        key="a profile é%",
        create={"config": {"user.a": "1"}, "description": "first", "devices": DEVICES},
        change={"config": {"user.b": "2"}, "description": "second", "devices": {}},
        renamed="an other%2F",
    ),
    "networks": Kind(
        lambda client, _: client.networks,
        key="net0",
        create={"config": {**ADDRESS, "ipv4.address": "203.0.113.1/24"}, "description": "first"},
        change={"config": {**ADDRESS, "ipv4.address": "203.0.113.1/24", "user.b": "2"}, "description": "second"},
        renamed="net1",
    ),
    "forwards": Kind(
        lambda client, name: client.networks[name].forwards,
        key="203.0.113.9",
        create={"description": "first", "ports": PORTS},
        change={"description": "second", "ports": [], "config": {"target_address": "198.51.100.3"}},
        checked=False,
    ),
    "volumes": Kind(
        lambda client, _: client.storage_pools["default"].volumes,
        key="custom/a volume é%",
        create={"config": {"user.a": "1"}, "description": "first"},
        change={"config": {"user.b": "2"}, "description": "second"},
        renamed="other%2F",
    ),
    "volume snapshots": Kind(
        lambda client, name: client.storage_pools["default"].volumes[f"custom/{name}"].snapshots,
        key="a%20é",
        create={"expires_at": "2099-01-01T00:00:00Z"},
        change={"description": "second", "expires_at": "2100-01-01T00:00:00Z"},
        renamed="other%2F",
        filtered=False,
    ),
    "instance snapshots": Kind(
        lambda client, name: client.instances[name].snapshots,
        key="a%20é",
        create={"expires_at": "2099-01-01T00:00:00Z"},
        change={"expires_at": "2100-01-01T00:00:00Z"},
        renamed="other%2F",
        filtered=False,
    ),
}


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
async def group(daemon: Daemon, clean: None, name: str, kind: Kind) -> AsyncIterator[Any]:
    """The collection, below parents of the test's own; half of the kinds over each transport."""
    parents: list[Any] = []
    client = daemon.client("unix" if kind in list(KINDS.values())[::2] else "https")
    if kind is KINDS["forwards"]:
        parents = [await client.networks.create(name, ADDRESS)]
    if kind is KINDS["volume snapshots"]:
        parents = [await client.storage_pools["default"].volumes.create(f"custom/{name}")]
    if kind is KINDS["instance snapshots"]:
        parents = [await client.instances.create(name, {"type": "none"}, wait=True)]
    yield kind.group(client, name)
    for parent in parents:
        await (parent.delete(wait=True) if isinstance(parent, Instance) else parent.delete())
    await client.disconnect()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of all requests from now on."""
    seen: list[str] = []

    def spied(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Transport, method: str, target: str, **how: Any) -> Any:
            seen.append(method)
            return original(self, method, target, **how)

        return call

    for name in ("request", "stream"):
        monkeypatch.setattr(Transport, name, spied(getattr(Transport, name)))
    return seen


def fields(record: Any, expected: dict[str, Any]) -> dict[str, Any]:
    """Those of the expected fields, as they are."""
    return {key: record[key] for key in expected}


async def test_an_object_is_created_found_listed_and_deleted(group: Any, kind: Kind, requests: list[str]) -> None:
    assert not await group.exists(kind.key)
    made = await group.create(kind.key, **kind.create)
    try:
        assert type(made) is group._resource
        assert fields(made, kind.create) == kind.create
        assert await group.exists(kind.key)
        assert await group[kind.key].exists()
        found = await group.get(kind.key)
        assert found == made
        assert found[found.KEY] == kind.name
        assert (await group[kind.key].refresh()).raw == found.raw

        requests.clear()
        mine = [each for each in await group.list() if each[each.KEY] == kind.name]
        handles = [each for each in await group.list(recursion=0) if each[each.KEY] == kind.name]
        assert requests == ["GET", "GET"], "a list is one request"
        assert len(mine) == len(handles) == 1
        assert mine[0].fields() == found.fields()
        assert (type(mine[0]), type(handles[0])) == (group._resource, group._resource)
        assert (await handles[0].refresh()).raw == (await mine[0].refresh()).raw == found.raw

        with pytest.raises((IncusAPIError, IncusOperationError)):  # not always a 409
            await group.create(kind.key, **kind.create)
        assert (await group.get(kind.key)).raw == found.raw
    finally:
        await group.delete(kind.key)
    assert not await group.exists(kind.key)
    for gone in (group.get(kind.key), group.delete(kind.key), group.update(kind.key, {}), made.delete()):
        with pytest.raises(IncusNotFoundError):
            await gone


async def test_an_object_is_changed_by_every_verb(group: Any, kind: Kind) -> None:
    made = await group.create(kind.key, **kind.create)
    field = "expires_at" if "expires_at" in kind.change else "description"
    first, second = ("2101-01-01T00:00:00Z", "2102-01-01T00:00:00Z") if field == "expires_at" else ("third", "fourth")
    try:
        await group.replace(kind.key, kind.change)
        assert fields(await made.refresh(), kind.change) == kind.change
        await group.update(kind.key, {field: first})
        assert fields(await made.refresh(), kind.change) == kind.change | {field: first}
        await group[kind.key].update({field: second})
        assert fields(await made.refresh(), kind.change) == kind.change | {field: second}
        async with made.editing() as draft:
            draft[field] = first
        assert fields(await group.get(kind.key), kind.change) == kind.change | {field: first}
        await made.patch(kind.change)
        await group.patch(kind.key, kind.change)
        assert fields(await made.refresh(), kind.change) == kind.change
    finally:
        await made.delete()


async def test_replace_with_a_stale_etag_is_refused(group: Any, kind: Kind) -> None:
    made = await group.create(kind.key, **kind.create)
    try:
        stale = made.etag
        assert stale
        await group.replace(kind.key, kind.change, etag=stale)
        if kind.checked:
            with pytest.raises(IncusPreconditionError):
                await group.replace(kind.key, kind.create, etag=stale)
        else:
            await group.replace(kind.key, kind.change, etag=stale)
        for update in (made.update, functools.partial(group.update, kind.key)):
            with pytest.raises(IncusPreconditionError, match="has changed since"):
                await update(kind.create, etag=stale)
            await update(kind.change, etag=(await group.get(kind.key)).etag)
        assert fields(await made.refresh(), kind.change) == kind.change
        await made.replace(kind.change, etag=made.etag)
    finally:
        await made.delete()


async def test_an_object_is_renamed_and_its_handle_with_it(group: Any, kind: Kind) -> None:
    if not kind.renamed:
        assert not hasattr(group, "rename")
        return
    made = await group.create(kind.key, **kind.create)
    renamed = await group.rename(kind.key, kind.renamed)
    new_key = kind.key.removesuffix(kind.name) + kind.renamed
    try:
        assert renamed[renamed.KEY] == kind.renamed
        assert not await made.exists()
        assert (await renamed.refresh()) == (await group.get(new_key))
        await renamed.rename(kind.name)
        assert made.name == renamed.name == kind.name
        assert fields(await made.refresh(), kind.create) == kind.create
    finally:
        await renamed.delete()


@pytest.mark.parametrize("recursion", [0, 1])
async def test_a_list_is_filtered_by_the_server(group: Any, kind: Kind, recursion: int) -> None:
    made = await group.create(kind.key, **kind.create)
    try:
        if not kind.filtered:
            with pytest.raises(IncusInputError, match="has no filter"):
                await group.list(recursion, filter="description eq nothing")
            return
        assert [each[each.KEY] for each in await group.list(recursion, filter="description eq first")] == [kind.name]
        assert await group.list(recursion, filter="description eq nothing") == []
        with pytest.raises(IncusAPIError):
            await group.list(recursion, filter="description almost first")
    finally:
        await made.delete()


HANDLES: dict[str, Callable[[Client], Any]] = {
    "profile": lambda client: client.profiles["é%/ ?"],
    "network": lambda client: client.networks["net0"],
    "forward": lambda client: client.networks["net0"].forwards["203.0.113.9"],
    "pool": lambda client: client.storage_pools["pool"],
    "volume": lambda client: client.storage_pools["pool"].volumes["custom/data"],
    "snapshot": lambda client: client.storage_pools["pool"].volumes["custom/data"].snapshots["s0"],
    "instance": lambda client: client.instances["c1"],
    "instance snapshot": lambda client: client.instances["c1"].snapshots["s0"],
    "view": lambda client: client.use_project("p1").use_target("node2").profiles["x"],
}


@pytest.mark.parametrize("handle", HANDLES.values(), ids=HANDLES)
def test_a_handle_asks_nothing_and_says_that_it_was_not_read(handle: Callable[[Client], Any]) -> None:
    # There is no server, and not even a loop to ask it in.
    made = handle(Client("/there/is/no/such/socket"))
    assert made[made.KEY]
    assert repr(made)
    for unread in (lambda: made.config, lambda: made["description"], lambda: made.raw, lambda: dict(made)):
        with pytest.raises(IncusNotLoadedError, match="refresh"):
            unread()
    assert (made.etag, bool(made)) == (None, True)
    assert made == handle(Client("/there/is/no/such/socket"))


@pytest.mark.parametrize("key", ["", ".", "..", "\ud800", 5, None])
def test_a_key_that_names_nothing_is_refused_before_anything_is_sent(key: Any) -> None:
    client = Client("/there/is/no/such/socket")
    volumes = client.storage_pools["pool"].volumes
    for group in (
        client.profiles,
        client.networks["net0"].forwards,
        client.storage_pools,
        volumes["custom/v"].snapshots,
    ):
        with pytest.raises(IncusInputError):
            group[key]
    for volume in (f"custom/{key}" if key in ("", ".", "..") else key, "data", "nope/data", "custom"):
        with pytest.raises((IncusInputError, AttributeError)):
            volumes[volume]


async def test_a_view_of_a_project_sees_that_project_alone(client: Client, name: str) -> None:
    config = {"features.profiles": True, "features.storage.volumes": True, "features.networks": False}
    await client.projects.create(name, config=config)
    view = client.use_project(name)
    key = f"custom/{name}"
    here, there = client.storage_pools["default"].volumes, view.storage_pools["default"].volumes
    profile, volume = await view.profiles.create(name), await there.create(key)
    snapshot = await volume.snapshots.create("s0")
    try:
        assert (profile.project, volume.project) == (name, name)
        assert await view.profiles.exists(name)
        assert await there.exists(key)
        assert await snapshot.exists()
        assert not await client.profiles.exists(name)
        assert not await here.exists(key)
        assert not await here[key].snapshots["s0"].exists()
        for recursion in (0, 1):
            assert {each.name for each in await view.profiles.list(recursion)} == {"default", name}
            assert name not in {each.name for each in await client.profiles.list(recursion)}
            # Of every project, each in its own: what is found can be acted on as it is.
            (found,) = [each for each in await client.profiles.list(recursion, all_projects=True) if each.name == name]
            assert (found.project, (await found.refresh()).project) == (name, name)
            (kept,) = [each for each in await here.list(recursion, all_projects=True) if each.name == name]
            assert (kept.project, (await kept.refresh()).project) == (name, name)
            assert [each.name for each in await kept.snapshots.list(recursion)] == ["s0"]
    finally:
        await volume.delete()
        await profile.delete()
        await client.projects.delete(name)


async def test_a_copy_of_a_volume_is_made_in_the_background_and_waited_for(
    client: Client, name: str, requests: list[str]
) -> None:
    volumes = client.storage_pools["default"].volumes
    original = await volumes.create(f"custom/{name}", config={"user.a": "1"}, description="first")
    assert requests[-2:] == ["POST", "GET"], "an empty one is made at once"
    await original.snapshots.create("s0")
    requests.clear()
    copy = await volumes.create(f"custom/{name}-copy", source={"type": "copy", "pool": "default", "name": name})
    assert requests == ["POST", "GET", "GET"], "made, waited for, read"
    old = await volumes.create(
        f"custom/{name}-old", source={"type": "copy", "pool": "default", "name": f"{name}/s0", "volume_only": True}
    )
    try:
        assert (copy.name, copy.type, copy.content_type) == (f"{name}-copy", "custom", "filesystem")
        assert [each.name for each in await copy.snapshots.list()] == ["s0"]
        assert await old.snapshots.list() == []
        with pytest.raises((IncusAPIError, IncusOperationError)):
            await volumes.create(f"custom/{name}-x", source={"type": "copy", "pool": "default", "name": "no-such"})
        assert not await volumes.exists(f"custom/{name}-x")
    finally:
        for volume in (original, copy, old):
            await volume.delete()


async def test_the_volumes_of_a_pool_are_listed_with_their_snapshots(client: Client, name: str) -> None:
    volumes = client.storage_pools["default"].volumes
    volume = await volumes.create(f"custom/{name}")
    snapshot = await volume.snapshots.create("s0", expires_at="2099-01-01T00:00:00Z")
    try:
        for recursion in (0, 1):
            mine = [each for each in await volumes.list(recursion) if each.name.startswith(name)]
            assert [(each.type, each.name) for each in mine] == [("custom", name), ("custom", f"{name}/s0")]
            assert (await mine[1].refresh())["expires_at"] == "2099-01-01T00:00:00Z"
        assert snapshot.raw == (await volumes[f"custom/{name}/s0"].refresh()).raw
        state = await volume.get_state()
        assert state.raw.keys() >= {"usage"}
    finally:
        await volume.delete()


async def test_a_volume_goes_back_to_its_snapshot(daemon: Daemon, clean: None, name: str) -> None:
    async with daemon.client() as client:
        volume = await client.storage_pools["default"].volumes.create(f"custom/{name}")
        disk = {"data": {"type": "disk", "pool": "default", "source": name, "path": "/data"}}
        box = await client.instances.create(
            name, {"type": "image", "alias": "busybox"}, devices=disk, start=True, wait=True
        )
        await box.put_files("/data/x", b"first")
        snapshot = await volume.snapshots.create("s0")
        await box.put_files("/data/x", b"second")
        await box.update({"devices": {"data": None}}, wait=True)
        await snapshot.restore()
        await box.update({"devices": disk}, wait=True)
        assert await box.get_files("/data/x") == b"first"
        await box.delete(force=True, wait=True)
        await volume.delete()
