"""Instances started and stopped as the command does it; many at once; instances as they should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from incus_sdk import Client, IncusInputError, IncusNotFoundError, IncusOperationError, Instance
from incus_sdk._connection.transport import Transport
from tests.live.boxes import listening


async def test_a_frozen_instance_is_thawed_by_a_start(client: Client, box: Instance) -> None:
    await box.freeze(wait=True)
    await box.start(wait=True)
    assert (await box.refresh()).status == "Running"
    await box.freeze(wait=True)
    assert await client.instances.start_many([box.name]) == {box.name: None}
    assert (await box.refresh()).status == "Running"


@pytest.mark.parametrize(
    ("options", "saved", "sent"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"stateful": True}, False, True),
        ({"stateless": True}, True, False),
    ],
)
async def test_a_saved_state_is_resumed_unless_it_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch, options: Any, saved: bool, sent: bool
) -> None:
    bodies: list[Any] = []

    async def read(self: Instance) -> Any:
        return {"status": "Stopped", "stateful": saved}, None

    async def change(self: Instance, action: str, wait: bool, **state: Any) -> None:
        bodies.append((action, state))

    monkeypatch.setattr(Instance, "_read_with_etag", read)
    monkeypatch.setattr(Instance, "_change_state", change)
    await Client("/nowhere").instances.start("c1", **options)  # only a virtual machine can save its state here
    assert bodies == [("start", {"stateful": sent})]


@pytest.fixture
async def boxes(client: Client, name: str) -> AsyncIterator[list[str]]:
    """The names of three instances without an init, which start for a moment, and of one that is not there."""
    names = [f"{name}-{number}" for number in range(3)]
    for each in names:
        await client.instances.create(each, "busybox", wait=True)
    yield [*names, f"{name}-nowhere"]
    await client.instances.delete_many(names, force=True, missing_ok=True)


async def test_many_are_started_restarted_stopped_and_deleted_and_one_that_fails_stops_none(
    client: Client, boxes: list[str]
) -> None:
    group, missing = client.instances, boxes[-1]

    async def statuses() -> set[str]:
        return {each.status for each in await group.list() if each.name in boxes}

    def failed(outcomes: dict[str, Any]) -> list[str]:
        assert list(outcomes) == boxes
        return [name for name, error in outcomes.items() if error is not None]

    outcomes = await group.start_many(iter(boxes), concurrency=2)
    assert failed(outcomes) == [missing]
    assert isinstance(outcomes[missing], IncusNotFoundError)
    assert await statuses() == {"Running"}
    assert failed(await group.restart_many(boxes, force=True)) == [missing]
    assert failed(await group.delete_many(boxes)) == boxes
    assert failed(await group.stop_many(boxes, force=True)) == [missing]
    assert await statuses() == {"Stopped"}
    assert failed(await group.stop_many(boxes, force=True)) == boxes
    assert failed(await group.delete_many(boxes, force=True, missing_ok=True)) == []
    assert await statuses() == set()


async def test_many_are_ended_with_their_caller(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    running: set[str] = set()

    async def start(self: Instance, **options: Any) -> None:
        running.add(self.name)
        try:
            await asyncio.sleep(1000)
        finally:
            running.remove(self.name)

    monkeypatch.setattr(Instance, "start", start)
    names = [f"c{number}" for number in range(20)]
    task = asyncio.create_task(client.instances.start_many(names, concurrency=5))
    while len(running) < 5:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert running == set(names[:5])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not running


@pytest.mark.parametrize(
    ("names", "concurrency", "said"),
    [
        ("web", 8, "names"),
        (["a", 1], 8, "names"),
        (["a", ""], 8, "not a name"),
        (["a"], 0, "concurrency"),
        ([], True, "co"),
    ],
)
async def test_names_that_cannot_be_meant_are_refused(names: Iterable[str], concurrency: int, said: str) -> None:
    with pytest.raises(IncusInputError, match=said):
        await Client("/nowhere").instances.stop_many(names, concurrency=concurrency)
    with pytest.raises(IncusInputError, match="exclude each other"):
        await Client("/nowhere").instances["a"].start(True, stateless=True)


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


async def test_an_instance_is_as_it_should_be(client: Client, name: str, writes: list[str]) -> None:
    group = client.instances

    async def ensure(**more: Any) -> Any:
        return await group.ensure(name, "busybox", **more)

    asked: dict[str, Any] = {"config": {"user.a": 1, "user.b": None}, "devices": {"root": {"size": "1GiB"}}}
    asked |= {"profiles": ["default"], "description": "web", "instance_type": "container", "running": True}
    try:
        both = await asyncio.gather(*(ensure(**asked) for _ in range(3)))
        assert [each.created for each in both].count(True) == 1
        assert {what for each in both for what in each.changed} <= {"status"}  # whoever started it
        assert {each.item.status for each in both} == {"Running"}
        box = both[0].item
        assert (box.config["user.a"], box.devices["root"]["size"], box.description) == ("1", "1GiB", "web")

        writes.clear()
        assert not await ensure(**asked)
        assert not await ensure()
        assert writes == []

        changed = await ensure(config={"user.a": None, "user.b": True}, devices={"eth9": {"type": "none"}})
        assert changed.changed == {
            "config.user.a": ("1", None),
            "config.user.b": (None, "true"),
            "devices.eth9": (None, {"type": "none"}),
        }
        assert (await ensure(devices={"root": {"size": "2GiB"}})).changed == {"devices.root.size": ("1GiB", "2GiB")}
        with pytest.raises(IncusInputError, match="type"):
            await ensure(instance_type="virtual-machine")

        await box.freeze(wait=True)
        thawed = await asyncio.gather(*(ensure(running=True) for _ in range(2)))
        assert [("Frozen", "Running") in each.changed.values() for each in thawed].count(True) >= 1
        assert {each.item.status for each in thawed} == {"Running"}
        await box.stop(force=True, wait=True)
        assert not await ensure(running=False)
        started = await asyncio.gather(*(ensure(running=True) for _ in range(2)))
        assert {each.item.status for each in started} == {"Running"}
        await listening(box)
        assert (await ensure(running=False)).changed == {"status": ("Running", "Stopped")}
    finally:
        await group.delete(name, wait=True, force=True, missing_ok=True)


async def undone(box: Instance) -> None:
    """A start that failed: until then the server shows the instance as stopped, running, and stopped again."""
    for _ in range(10):
        await asyncio.sleep(0.1)
        while (await box.refresh()).status != "Stopped":
            await asyncio.sleep(0.1)


async def test_an_instance_that_does_not_start_is_an_error_each_time_and_says_why(client: Client, name: str) -> None:
    broken = {"raw.lxc": "lxc.init.cmd = /nowhere"}
    box = client.instances[name]
    try:
        for _ in range(3):
            with pytest.raises(IncusOperationError, match="/nowhere") as caught:
                await client.instances.ensure(name, "busybox", broken, running=True)
            assert "/nowhere" in caught.value.log
            await undone(box)
        begun = await box.start()
        with pytest.raises(IncusOperationError, match="/nowhere") as caught:
            await begun.wait()
        assert "/nowhere" in caught.value.log
        await undone(box)
        await box.delete(wait=True, force=True)
        begun = await client.instances.create(name, "busybox", broken, start=True)
        with pytest.raises(IncusOperationError, match="/nowhere") as caught:
            await begun.wait()
        assert "/nowhere" in caught.value.log
    finally:
        await client.instances.delete(name, wait=True, force=True, missing_ok=True)


async def test_a_device_of_a_profile_is_changed_or_hidden_in_an_instance_that_exists(client: Client, name: str) -> None:
    profile = await client.profiles.create(name, devices={"eth0": {"type": "nic", "nictype": "p2p", "mtu": "1400"}})
    box = await client.instances.create(name, {"type": "none"}, profiles=["default", name], wait=True)
    own = {"type": "nic", "nictype": "p2p", "mtu": "1500"}
    try:
        for devices, changes in (
            ({"eth0": {"mtu": 1400}}, {}),
            ({"eth0": {"mtu": 1500}}, {"devices.eth0": (None, own)}),
            ({"eth0": None}, {"devices.eth0.type": ("nic", "none")}),
            ({"eth0": None, "gone": None}, {}),
        ):
            ensured = await client.instances.ensure(name, {"type": "none"}, devices=devices)
            assert changes.items() <= ensured.changed.items()
            assert bool(changes) == bool(ensured)
        assert ensured.item.devices["eth0"] == {"type": "none"}
    finally:
        await box.delete(wait=True)
        await profile.delete()
