"""Changing objects on the real daemon: what is not named is kept, and nothing that others write is lost."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from incus_sdk import Client, IncusAPIError, IncusInputError, IncusOperationError, IncusPreconditionError, Instance
from incus_sdk._connection.transport import Transport
from incus_sdk.api import base
from incus_sdk.api.networks import Network
from incus_sdk.api.profiles import Profile
from incus_sdk.api.storage import Volume
from incus_sdk.testing import Daemon

CONFIG = {"user.a": "1", "user.b": "2"}
NO_ADDRESS = {"ipv4.address": "none", "ipv6.address": "none"}
NIC = {"type": "nic", "nictype": "macvlan", "parent": "here", "name": "eth0"}

Thing = Instance | Profile | Network | Volume


class Sent(NamedTuple):
    method: str
    target: str
    body: Any
    headers: dict[str, str]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    """All requests from now on."""
    requests: list[Sent] = []

    def spied(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Transport, method: str, target: str, **how: Any) -> Any:
            body = json.loads(how.get("body") or b"null")
            requests.append(Sent(method, target.partition("?")[0], body, dict(how.get("headers") or {})))
            return original(self, method, target, **how)

        return call

    for name in ("request", "stream"):
        monkeypatch.setattr(Transport, name, spied(getattr(Transport, name)))
    return requests


async def _instance(client: Client, name: str) -> Instance:
    return await client.instances.create(name, {"type": "none"}, CONFIG, wait=True, description="first")


async def _profile(client: Client, name: str) -> Profile:
    return await client.profiles.create(name, config=CONFIG, description="first")


async def _network(client: Client, name: str) -> Network:
    return await client.networks.create(name, config={**NO_ADDRESS, **CONFIG}, description="first")


async def _volume(client: Client, name: str) -> Volume:
    return await client.storage_pools["default"].volumes.create(f"custom/{name}", config=CONFIG, description="first")


@pytest.fixture(
    params=[(_instance, "unix"), (_profile, "https"), (_network, "https"), (_volume, "unix")],
    ids=lambda param: param[0].__name__[1:],
)
async def thing(daemon: Daemon, clean: None, name: str, request: pytest.FixtureRequest) -> AsyncIterator[Thing]:
    """One object of each kind, with `CONFIG`."""
    make: Callable[[Client, str], Awaitable[Thing]] = request.param[0]
    async with daemon.client(request.param[1]) as client:
        thing = await make(client, name)
        yield thing
        await delete(thing)


@pytest.fixture
async def instance(client: Client, name: str) -> AsyncIterator[Instance]:
    """An instance with a network card that nothing checks as long as it does not start."""
    instance = await client.instances.create(
        name, {"type": "none"}, CONFIG, {"eth0": NIC}, wait=True, description="first"
    )
    yield instance
    await delete(instance)


async def delete(thing: Thing) -> None:
    if isinstance(thing, Instance):
        await thing.delete(wait=True)
    else:
        await thing.delete()


async def update(thing: Thing, change: dict[str, Any]) -> None:
    if isinstance(thing, Instance):
        assert (await thing.update(change, wait=True)).status == "Success"
    else:
        await thing.update(change)


def user(thing: Thing) -> dict[str, str]:
    """The part of the configuration that is not the server's own."""
    return {key: value for key, value in thing.config.items() if key.startswith("user.")}


async def test_update_keeps_what_it_does_not_name_and_removes_what_is_none(thing: Thing) -> None:
    await update(thing, {"config": {"user.a": None, "user.c": 3, "user.d": True}})
    expected = {"user.b": "2", "user.c": "3", "user.d": "true"}
    assert (user(thing), thing.description) == (expected, "first"), "the handle knows it"
    await thing.refresh()
    assert (user(thing), thing.description) == (expected, "first"), "the server does"


async def test_update_takes_keys_with_a_dot_as_configuration(thing: Thing) -> None:
    await update(thing, {"user.a": None, "user.c": 3, "config": {"user.b": "x"}, "description": "second"})
    await thing.refresh()
    assert (user(thing), thing.description) == ({"user.b": "x", "user.c": "3"}, "second")


async def test_update_sends_back_all_that_the_server_sent(thing: Thing, sent: list[Sent]) -> None:
    before = (await thing.refresh()).raw | {}
    await update(thing, {"user.c": 3})
    put = next(request for request in sent if request.method == "PUT")
    assert put.body == before | {"config": before["config"] | {"user.c": "3"}}


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"description": "second", "Config": {}},
        {"config": {"user.a": 1.5}},
        {"config": ["user.a"]},
        {"devices": {"eth0": ["type"]}},
        {"user.a": b"x"},
        ["config"],
    ],
    ids=str,
)
async def test_a_change_that_cannot_be_meant_is_refused_and_nothing_is_changed(
    client: Client, instance: Instance, sent: list[Sent], change: Any
) -> None:
    for refused in (instance.update(change, wait=True), client.instances.update(instance.name, change, wait=True)):
        with pytest.raises(IncusInputError):
            await refused
    assert {request.method for request in sent} <= {"GET"}


async def test_devices_are_changed_key_by_key(client: Client, instance: Instance) -> None:
    await update(instance, {"devices": {"eth0": {"parent": "there", "name": None}, "eth1": {**NIC, "name": "eth1"}}})
    changed = {"type": "nic", "nictype": "macvlan", "parent": "there"}
    assert (await instance.refresh()).devices == {"eth0": changed, "eth1": {**NIC, "name": "eth1"}}
    async with instance.editing() as draft:
        del draft.devices["eth0"]
        draft.devices["eth1"]["parent"] = "elsewhere"
    assert (await instance.refresh()).devices == {"eth1": {**NIC, "name": "eth1", "parent": "elsewhere"}}
    await update(instance, {"devices": {"eth1": None}})
    assert (await instance.refresh()).devices == {}
    assert (user(instance), instance.profiles) == (CONFIG, ["default"])


async def test_replace_makes_it_exactly_the_body(thing: Thing) -> None:
    keep = {key: value for key, value in thing.config.items() if not key.startswith("user.")}
    body: dict[str, Any] = {"config": {**keep, "user.c": 3}}
    if isinstance(thing, Instance):
        body |= {"architecture": thing.architecture, "profiles": thing.profiles}
    await thing.replace(body)
    await thing.refresh()
    assert (user(thing), thing.description) == ({"user.c": "3"}, "")


async def test_replace_with_an_etag_undoes_nobodys_change(thing: Thing) -> None:
    etag = (await thing.refresh()).etag
    assert etag
    other = type(thing)(thing._scope, thing._path, {}, loaded=False)
    await other.refresh()
    await update(other, {"user.c": 3})
    with pytest.raises(IncusPreconditionError) as caught:
        await thing.replace(thing.raw, etag=etag)
    with pytest.raises(IncusPreconditionError, match="has changed since"):
        await thing.update({"user.d": 4}, etag=etag)
    assert caught.value.status_code == 412
    assert user(await thing.refresh()) == CONFIG | {"user.c": "3"}
    await thing.replace({**thing.raw, "config": {**thing.config, "user.d": "4"}}, etag=thing.etag)
    assert user(await thing.refresh()) == CONFIG | {"user.c": "3", "user.d": "4"}


async def test_an_etag_is_known_of_what_was_read_as_it_is_now(client: Client, instance: Instance) -> None:
    listed = [each for each in await client.instances.list() if each.name == instance.name]
    assert (listed[0].etag, client.instances[instance.name].etag) == (None, None)
    read = await client.instances.get(instance.name)
    assert read.etag
    before = read.etag
    await update(read, {"user.c": 3})
    assert read.etag not in (None, before), "it is that of the instance as it is now"
    assert read.etag == (await client.instances.get(instance.name)).etag
    await (await read.update({"user.c": 4})).wait()
    assert {"user.c": read.config["user.c"], "etag": read.etag} == {"user.c": "3", "etag": None}, (
        "it was not read since"
    )


async def test_patch_hands_it_to_the_server(thing: Thing, sent: list[Sent]) -> None:
    await thing.patch({"config": {"user.c": 3}})
    assert [request.method for request in sent if request.method != "GET"] == ["PATCH"]
    assert sent[0].body == {"config": {"user.c": "3"}}
    assert user(thing) == user(await thing.refresh()) == CONFIG | {"user.c": "3"}
    await thing.patch({"user.d": True})
    assert user(thing) == user(await thing.refresh()) == CONFIG | {"user.c": "3", "user.d": "true"}


async def test_editing_saves_the_difference(thing: Thing) -> None:
    async with thing.editing() as draft:
        draft.config["user.c"] = "3"
        del draft.config["user.a"]
        draft.description = "second"
    expected = {"user.b": "2", "user.c": "3"}
    assert (user(draft), user(thing), thing.description) == (expected, expected, "second")
    assert (user(await thing.refresh()), thing.description) == (expected, "second")


async def test_editing_that_raises_or_changes_nothing_sends_nothing(thing: Thing, sent: list[Sent]) -> None:
    with pytest.raises(ZeroDivisionError):
        async with thing.editing() as draft:
            draft.config["user.c"] = str(1 / 0)
    async with thing.editing() as draft:
        draft.config["user.a"] = "changed my mind"
        draft.config["user.a"] = "1"
    assert {request.method for request in sent} == {"GET"}
    assert user(await thing.refresh()) == CONFIG


async def test_editing_keeps_what_others_write_meanwhile(thing: Thing) -> None:
    other = type(thing)(thing._scope, thing._path, {}, loaded=False)
    async with thing.editing() as draft:
        draft.config["user.mine"] = "1"
        draft.config["user.a"] = "mine"
        await update(other, {"user.theirs": 1, "user.b": None})
    assert user(draft) == user(thing) == {"user.a": "mine", "user.mine": "1", "user.theirs": "1"}
    assert user(await thing.refresh()) == user(draft)


async def test_editing_saves_nothing_if_somebody_changed_the_same_key(thing: Thing) -> None:
    other = type(thing)(thing._scope, thing._path, {}, loaded=False)

    async def edit() -> None:
        async with thing.editing() as draft:
            draft.config |= {"user.a": "secret", "user.mine": "1"}
            await update(other, {"user.a": "theirs"})

    with pytest.raises(IncusPreconditionError, match=r"config\.user\.a.*read it again") as caught:
        await edit()
    assert "secret" not in str(caught.value)
    assert user(await thing.refresh()) == CONFIG | {"user.a": "theirs"}


async def test_an_update_inside_a_block_that_edits_the_same_object_is_made(thing: Thing) -> None:
    async with asyncio.timeout(20), thing.editing() as draft:
        draft.config["user.mine"] = "1"
        await update(thing, {"user.inside": 1})
        async with thing.editing() as inner:
            inner.config["user.inner"] = "1"
    expected = CONFIG | {"user.inside": "1", "user.inner": "1", "user.mine": "1"}
    assert user(thing) == user(await thing.refresh()) == expected


async def test_a_cancelled_update_holds_nobody_up(thing: Thing, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, entered = type(thing)._read_with_etag, asyncio.Event()

    async def stalled(self: Any) -> tuple[dict[str, Any], str | None]:
        if not entered.is_set():
            entered.set()
            await asyncio.Event().wait()
        return await fresh(self)

    monkeypatch.setattr(type(thing), "_read_with_etag", stalled)
    first = asyncio.create_task(update(thing, {"user.first": 1}))
    await entered.wait()
    second, third = (asyncio.create_task(update(thing, {key: 1})) for key in ("user.second", "user.third"))
    await asyncio.sleep(0)
    for task in (second, first):
        task.cancel()
    await asyncio.wait([first, second])
    async with asyncio.timeout(20):
        await third
    assert user(await thing.refresh()) == CONFIG | {"user.third": "1"}
    del first, second, third, task  # with their tracebacks, which hold the lock
    gc.collect()
    assert not thing._scope._locks, "no lock stays behind"


async def test_an_update_that_meets_another_is_done_again(
    daemon: Daemon, thing: Thing, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = interfere(daemon, monkeypatch, thing, 3)
    await update(thing, {"user.mine": 1, "user.a": None})
    assert left == [], "each of the others came between reading and writing"
    others = {f"user.other{number}": "1" for number in range(3)}
    assert user(await thing.refresh()) == {"user.b": "2", "user.mine": "1", **others}


async def test_an_update_gives_up_in_the_end(
    daemon: Daemon, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_ATTEMPTS", 3)
    left = interfere(daemon, monkeypatch, instance, 4)
    with pytest.raises(IncusPreconditionError):
        await instance.update({"user.mine": 1}, wait=True)
    assert len(left) == 1
    assert "user.mine" not in (await instance.refresh()).config


def interfere(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, thing: Thing, times: int) -> list[int]:
    """Let another client write so many times as soon as the object was read; returns what is still to be written."""
    fresh, left = type(thing)._read_with_etag, [*range(times)]

    async def interfered(self: Any) -> tuple[dict[str, Any], str | None]:
        read = await fresh(self)
        if left:
            async with daemon.client() as other:
                handle = type(thing)(other._scope, thing._path, {}, loaded=False)
                await handle.patch({"config": {f"user.other{left.pop(0)}": "1"}})
        return read

    monkeypatch.setattr(type(thing), "_read_with_etag", interfered)
    return left


@pytest.mark.parametrize(("writers", "updates"), [(2, 20), (4, 15), (8, 5)])
async def test_no_update_of_racing_writers_is_lost(
    daemon: Daemon, clean: None, name: str, writers: int, updates: int
) -> None:
    async with daemon.client("unix") as unix, daemon.client("https") as https:
        instance = await _instance(unix, name)

        async def write(writer: int) -> None:
            client = (unix, https)[writer % 2]
            for number in range(updates):
                change = {f"user.{writer}.{number}": number, f"user.last.{writer}": number}
                if number % 3:
                    await client.instances.update(name, change, wait=True)
                else:
                    async with client.instances[name].editing() as draft:
                        draft.config.update({key: str(value) for key, value in change.items()})

        async with asyncio.TaskGroup() as group:
            for writer in range(writers):
                group.create_task(write(writer))
        expected = {f"user.{writer}.{number}": str(number) for writer in range(writers) for number in range(updates)}
        last = {f"user.last.{writer}": str(updates - 1) for writer in range(writers)}
        assert user(await instance.refresh()) == CONFIG | expected | last
        await instance.delete(wait=True)


async def test_what_the_server_refuses_is_raised_and_changes_nothing(thing: Thing) -> None:
    if isinstance(thing, Profile):
        change: dict[str, Any] = {"limits.cpu": "banana"}
    else:
        change = {"config": {"no.such": "key"}}
    with pytest.raises(
        IncusOperationError if isinstance(thing, Instance) else IncusAPIError, match=r"no\.such|Invalid CPU limit"
    ):
        await update(thing, change)
    assert user(await thing.refresh()) == CONFIG


async def test_update_without_waiting_returns_the_operation(client: Client, instance: Instance) -> None:
    operation = await instance.update({"user.c": 3})
    await operation.wait()
    assert (await instance.refresh()).config["user.c"] == "3"
    operation = await client.instances.update(instance.name, {"user.c": None})
    await operation.wait()
    assert "user.c" not in (await instance.refresh()).config
