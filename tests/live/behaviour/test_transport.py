"""The transport on the real daemon: large bodies, websockets, raw streams, names, and how connections are used."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import pytest

from incus_sdk import Client, IncusAPIError, IncusNotFoundError, IncusPermissionError, Instance
from incus_sdk._connection import wire
from incus_sdk.testing import Daemon

Kind = Literal["unix", "https"]

MIB = 2**20

UP_AND_DOWN = """
import asyncio, hashlib, os, resource, sys
from incus_sdk import Client

MIB, (endpoint, path, *tls) = 2**20, sys.argv[1:]
BLOCK = os.urandom(MIB)

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

async def main():
    options = {"cert": tuple(tls[:2]), "server_cert": tls[2]} if tls else {}
    async with Client(endpoint, **options) as client:
        sent, got, peak = hashlib.sha256(), hashlib.sha256(), 0

        async def upload(blocks):
            nonlocal peak
            for number in range(blocks):
                piece = number.to_bytes(8, "big") + BLOCK[8:]
                sent.update(piece)
                peak = max(peak, resident())
                yield piece

        async def up_and_down(blocks):
            nonlocal peak
            headers = {"X-Incus-type": "file"}
            await client.query("POST", path, body=upload(blocks), headers=headers)
            async with client._scope.download("GET", path) as stream:
                async for chunk in stream.chunks():
                    got.update(chunk)
                    peak = max(peak, resident())

        await up_and_down(4)  # loads what is loaded late
        before, peak = resident(), 0
        await up_and_down(100)
        print(sent.hexdigest() == got.hexdigest(), peak - before)

asyncio.run(main())
"""
"""Uploads 100 MiB and downloads them again; prints whether they are the same, and by how much the memory grew."""


def endpoint(daemon: Daemon, kind: Kind) -> list[str]:
    if kind == "unix":
        return [str(daemon.socket)]
    return [daemon.url, *map(str, (*daemon.client_cert, daemon.certificate))]


def impatient(daemon: Daemon, kind: Kind, timeout: float) -> Client:
    where, *tls = endpoint(daemon, kind)
    return (
        Client(where, cert=(tls[0], tls[1]), server_cert=tls[2], timeout=timeout)
        if tls
        else Client(where, timeout=timeout)
    )


def sockets() -> int:
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return found


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def cold_box(daemon: Daemon, clean: None, name: str) -> AsyncIterator[Instance]:
    """A container that is not started."""
    async with daemon.client() as client:
        box = await client.instances.create(name, {"type": "image", "alias": "busybox"}, wait=True)
        yield box
        await box.delete(wait=True)


@pytest.mark.parametrize("kind", ["unix", "https"])
async def test_100_mib_go_up_and_come_down_unchanged_in_flat_memory(
    daemon: Daemon, cold_box: Instance, kind: Kind
) -> None:
    where, *tls = endpoint(daemon, kind)
    path = wire.target(wire.path("instances", cold_box.name, "files"), {"path": "/large"})
    command = [sys.executable, "-c", UP_AND_DOWN, where, path, *tls]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    same, growth = ran.stdout.split()
    assert same == "True"
    assert int(growth) < 16 * MIB


async def test_a_websocket_hands_out_what_the_daemon_says(client: Client, name: str) -> None:
    socket = await client._scope.websocket(wire.path("events"), {"type": "lifecycle"})
    try:
        await client.profiles.create(name)
        event = json.loads(await socket.receive(idle=20) or "")
        assert (event["type"], event["metadata"]["action"]) == ("lifecycle", "profile-created")
    finally:
        await socket.close()
        await client.profiles.delete(name)
    assert await socket.receive() is None


async def test_a_refused_websocket_says_what_the_daemon_said(client: Client, box: Instance) -> None:
    unknown = wire.path("operations", "00000000-0000-0000-0000-000000000000", "websocket")
    with pytest.raises(IncusNotFoundError, match="Operation not found"):
        await client._scope.websocket(unknown, {"secret": "hunter2"})
    operation = await box.execute(["true"], wait_for_websocket=True)
    with pytest.raises(IncusPermissionError, match=operation.id) as caught:
        await client._scope.websocket(wire.path("operations", operation.id, "websocket"), {"secret": "hunter2"})
    assert "hunter2" not in str(caught.value)
    streams = [await operation.websocket(stream, pong=False) for stream in ("0", "1", "2")]
    await operation.wait()
    for stream in streams:
        await stream.close()


async def test_an_upgraded_stream_speaks_sftp(client: Client, box: Instance) -> None:
    reader, writer = await client._scope.upgrade("GET", wire.path("instances", box.name, "sftp"), "sftp")
    writer.write(struct.pack("!IBI", 5, 1, 3))  # SSH_FXP_INIT, version 3
    length, kind, version = struct.unpack("!IBI", await reader.readexactly(9))
    assert (kind, version) == (2, 3)  # SSH_FXP_VERSION
    await reader.readexactly(length - 5)
    writer.close()
    await writer.wait_closed()


async def test_a_refused_upgrade_says_what_the_daemon_said(client: Client, box: Instance, name: str) -> None:
    with pytest.raises(IncusNotFoundError, match=f"GET /1.0/instances/no-{name}/sftp: .*not found"):
        await client._scope.upgrade("GET", wire.path("instances", f"no-{name}", "sftp"), "sftp")
    with pytest.raises(IncusAPIError, match="upgrade header") as caught:
        await client._scope.upgrade("GET", wire.path("instances", box.name, "sftp"), "nbd")
    assert caught.value.status_code == 400


@pytest.mark.parametrize("kind", ["unix", "https"])
async def test_all_views_of_a_client_share_its_connections(daemon: Daemon, clean: None, kind: Kind) -> None:
    before = sockets()
    client = daemon.client(kind)
    views = [
        client,
        client.use_project("default"),
        client.use_target("none"),
        client.use_project("default").use_target("none"),
    ]
    assert sockets() == before
    for _ in range(3):
        for view in views:
            assert (await view.get_server_info()).api_version == "1.0"
    assert sockets() == before + 1
    await asyncio.gather(*(view.profiles.list() for view in views))
    assert sockets() <= before + len(views)
    await views[1].disconnect()  # a view is the client
    await eventually(lambda: sockets() == before)
    assert (await client.get_server_info()).api_version == "1.0"
    await client.disconnect()
    await eventually(lambda: sockets() == before)


@pytest.mark.parametrize("kind", ["unix", "https"])
async def test_the_timeout_cuts_off_nothing_that_takes_its_time(daemon: Daemon, cold_box: Instance, kind: Kind) -> None:
    path = wire.path("instances", cold_box.name, "files")
    where = {"path": "/slow"}
    async with impatient(daemon, kind, timeout=3) as client:

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield bytes(MIB)
                await asyncio.sleep(1.2)

        async def transfer() -> int:
            await client.query("POST", path, query=where, body=pieces(), headers={"X-Incus-type": "file"})
            size = 0
            async with client._scope.download("GET", path, query=where) as stream:
                async for chunk in stream.chunks():
                    if size % MIB == 0:
                        await asyncio.sleep(1.2)
                    size += len(chunk)
            return size

        async def silence() -> bytes | str | None:
            socket = await client._scope.websocket(wire.path("events"), {"type": "network-acl"})
            try:
                return await socket.receive(idle=3.5)
            finally:
                await socket.close()

        async def stream() -> bytes:
            reader, writer = await client._scope.upgrade("GET", wire.path("instances", cold_box.name, "sftp"), "sftp")
            await asyncio.sleep(3.5)
            writer.write(struct.pack("!IBI", 5, 1, 3))
            answer = await reader.readexactly(9)
            writer.close()
            await writer.wait_closed()
            return answer[4:]

        async def operation() -> Any:
            copy = await client.instances[cold_box.name].start(wait=True)
            long = await client.instances.execute(cold_box.name, ["sleep", "3.5"], wait=True)
            await client.instances.stop(cold_box.name, force=True, wait=True)
            return copy.status, long["metadata"]["return"]

        silent, size, said = await asyncio.gather(silence(), transfer(), stream())
        assert (silent, size, said) == (None, 3 * MIB, struct.pack("!BI", 2, 3))
        assert await operation() == ("Success", 0)


PUNCTUATED = ["a b", "a%b", "a?b", "a#b", "a+b", "é", "a%2Fb", "a?project=other", "a&b=c", "a;b", "..a", "a=b"]
SNAPSHOTS = ["a%b", "a#b", "a:b", "a;b", "a~b", 'a"b', "é", "%61", "a%2Fb", "%2561", "..a"]
ALIASES = [*PUNCTUATED, "a/b", "ubuntu/22.04/cloud", "../a", "/a", "a/", "a//b"]


async def round_trip(
    collection: Any, names: list[str], create: Callable[[str], Any], prefix: str = "", field: str = "description"
) -> None:
    """Each name makes one object, which is found by exactly that name, and whose end leaves the others alone."""
    neighbours = ["a", "b"]
    names = [f"{prefix}{name}" for name in (*neighbours, *names)]
    key = collection._resource.KEY
    try:
        for name in names:
            assert not await collection.exists(name)
            made = await create(name)
            assert made[key] == name.removeprefix(prefix)
            assert (await collection.get(name))[key] == name.removeprefix(prefix)
        listed = {
            handle[key].rpartition("/")[2] if prefix else handle[key] for handle in await collection.list(recursion=0)
        }
        assert listed >= {name.removeprefix(prefix) for name in names}
        for number, name in enumerate(names[len(neighbours) :]):
            renamed = await collection.rename(name, f"{name.removeprefix(prefix)}-new")
            assert not await collection.exists(name)
            value = f"21{number:02}-01-01T00:00:00Z"  # a text like any other, but for an expiry
            await collection.update(f"{name}-new", {field: value})
            assert (await renamed.refresh())[field] == value
            await renamed.delete()
            assert not await renamed.exists()
        assert [await collection.exists(f"{prefix}{name}") for name in neighbours] == [True, True]
    finally:
        for name in (*names, *(f"{name}-new" for name in names)):
            with contextlib.suppress(IncusNotFoundError):
                await collection.delete(name)


async def test_a_profile_may_have_any_name_that_the_daemon_takes(client: Client) -> None:
    await round_trip(client.profiles, PUNCTUATED, client.profiles.create)


async def test_an_alias_may_have_any_name_that_the_daemon_takes(client: Client) -> None:
    image = (await client.images.get_alias("busybox")).target
    await round_trip(client.images.aliases, ALIASES, lambda name: client.images.create_alias(name, image))


async def test_a_volume_may_have_any_name_that_the_daemon_takes(client: Client) -> None:
    volumes = client.storage_pools["default"].volumes
    await round_trip(volumes, PUNCTUATED, volumes.create, prefix="custom/")


async def test_snapshots_of_a_volume_may_have_any_name_that_the_daemon_takes(client: Client, name: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        volume = await client.storage_pools.create_volume("default", f"{name} %?")
        stack.push_async_callback(volume.delete)
        await round_trip(volume.snapshots, [*SNAPSHOTS, "a+b", "a?b", "a&b=c"], volume.snapshots.create)


async def test_snapshots_of_an_instance_may_have_any_name_that_the_daemon_takes(
    client: Client, cold_box: Instance
) -> None:
    snapshots = client.instances[cold_box.name].snapshots
    await round_trip(snapshots, SNAPSHOTS, snapshots.create, field="expires_at")


async def test_a_snapshot_with_a_percent_sign_is_restored_and_not_the_one_that_it_would_be_unquoted(
    client: Client, cold_box: Instance
) -> None:
    box = client.instances[cold_box.name]
    for name in ("%61", "a"):
        await box.put_files("/name", name.encode())
        await box.snapshots.create(name)
    await box.snapshots["%61"].restore()
    assert await box.get_files("/name") == b"%61"
    renamed = await box.snapshots.rename("a", "b%62")
    await renamed.restore()
    assert await box.get_files("/name") == b"a"
    assert {snapshot.name for snapshot in await box.snapshots.list(recursion=0)} == {"%61", "b%62"}


async def test_a_name_that_the_daemon_does_not_take_is_refused_by_it_and_reaches_nothing_else(
    client: Client, box: Instance
) -> None:
    for name in ("a/b", f"../instances/{box.name}"):
        for attempt in (client.profiles.create(name), client.instances.delete(name), client.instances.get_state(name)):
            with pytest.raises(IncusAPIError) as caught:
                await attempt
            assert caught.value.status_code in (400, 404)
    for name in (
        f"{box.name}?project=default",
        f"{box.name}#x",
        f"{box.name}/",
        f"./{box.name}",
        f"{box.name}%00",
        f"x/../{box.name}",
    ):
        assert not await client.profiles.exists(name)
        with pytest.raises(IncusAPIError):
            await client.instances.stop(name, force=True, wait=True)
    assert (await box.refresh()).status == "Running"
