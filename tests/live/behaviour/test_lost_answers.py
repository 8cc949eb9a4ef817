"""A new instance whose creation was answered into the void is found by its mark, and nobody else's is touched."""

from __future__ import annotations

from typing import Any

import pytest

from incus_sdk import Client, IncusConnectionError, Instance
from incus_sdk.testing import Daemon

IMAGE = {"type": "image", "alias": "busybox"}


@pytest.fixture
def lost(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The client does not get the answers to its next requests to create an instance; a list of what it sent."""
    transport, sent = client._scope.transport, list[str]()
    original = transport.request

    async def request(method: str, target: str, **how: Any) -> Any:
        answer = await original(method, target, **how)
        if (method, target.partition("?")[0]) == ("POST", "/1.0/instances") and not sent:
            sent.append(target)
            raise IncusConnectionError("the connection broke")
        return answer

    monkeypatch.setattr(transport, "request", request)
    return sent


async def test_it_is_taken_over(client: Client, name: str, lost: list[str]) -> None:
    made = await client.instances.launch("busybox", name)
    assert (made.status, len(lost)) == ("Running", 1)
    await made.delete(force=True, wait=True)
    lost.clear()
    made = await client.instances.create(name, IMAGE, wait=True)
    assert (made.status, len(lost)) == ("Stopped", 1)
    lost.clear()
    copy = await made.copy(f"{name}-copy", config={"user.x": "1"})
    assert (copy.name, copy.config["user.x"], len(lost)) == (f"{name}-copy", "1", 1)
    await copy.delete(wait=True)
    await made.delete(wait=True)


async def test_it_is_found_under_the_name_that_the_server_picked(client: Client, lost: list[str]) -> None:
    made = await client.instances.launch("busybox")
    assert (made.status, len(lost)) == ("Running", 1)
    assert await client.instances.exists(made.name)
    await made.delete(force=True, wait=True)
    lost.clear()
    with pytest.raises(IncusConnectionError):
        await client.instances.launch("busybox", config={"raw.lxc": "lxc.net.0.type = phys\nlxc.net.0.link = no"})
    assert len(lost) == 1


async def test_it_is_removed_if_it_did_not_start(client: Client, name: str, lost: list[str]) -> None:
    with pytest.raises(IncusConnectionError):
        await client.instances.launch("busybox", name, config={"raw.lxc": "lxc.net.0.type = phys\nlxc.net.0.link = no"})
    assert not await client.instances.exists(name)


async def test_that_of_somebody_else_stays(
    client: Client, daemon: Daemon, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = client._scope.transport
    original = transport.request

    async def request(method: str, target: str, **how: Any) -> Any:
        if (method, target.partition("?")[0]) == ("POST", "/1.0/instances"):
            async with daemon.client() as other:  # who makes one of the same name at the same moment
                await other.instances.create(name, IMAGE, wait=True)
            raise IncusConnectionError("the connection broke")
        return await original(method, target, **how)

    monkeypatch.setattr(transport, "request", request)
    with pytest.raises(IncusConnectionError):
        await client.instances.launch("busybox", name)
    theirs: Instance = await client.instances.get(name)
    assert theirs.status == "Stopped"
    await theirs.delete(wait=True)


async def test_a_project_that_takes_no_mark_gets_its_instance(client: Client, name: str) -> None:
    config = {"restricted": "true", "features.images": "false", "restricted.devices.disk": "allow"}
    await client.projects.create(name, config=config)
    project = client.use_project(name)
    await project.profiles["default"].update({"devices": {"root": {"type": "disk", "path": "/", "pool": "default"}}})
    made = await project.instances.create("c1", IMAGE, wait=True)
    await (await made.copy("c2")).delete(wait=True)
    await made.delete(wait=True)
    await client.projects.delete(name)
