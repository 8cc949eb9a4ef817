"""Instances and what hangs below them: each operation of the API, read back, and the errors that matter."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from incus_sdk import (
    Client,
    F,
    IncusAPIError,
    IncusError,
    IncusFrozenError,
    IncusInputError,
    IncusInstanceStoppedError,
    IncusNotFoundError,
    IncusNotRunningError,
    IncusOperationError,
    IncusPreconditionError,
    IncusUnsupportedError,
    Instance,
    Progress,
)
from incus_sdk.testing import Daemon

BUSYBOX = {"type": "image", "alias": "busybox"}
Action = Literal["start", "stop", "restart", "freeze", "unfreeze"]


async def extensions(client: Client) -> list[str]:
    return list((await client.get_server_info())["metadata"]["api_extensions"])


async def test_the_server_picks_the_name_of_an_instance_without_one(client: Client) -> None:
    made = [
        await client.instances.create(None, {"type": "none"}, wait=True),
        await client.instances.create(None, "busybox", wait=True, start=True),
        await client.instances.launch("busybox", config={"user.a": 1}),
    ]
    operation = await client.instances.create(None, {"type": "none"})
    await operation.wait()
    [url] = operation.resources["instances"]
    made.append(client.instances[url.rpartition("/")[2]])
    assert len({each.name for each in made}) == 4
    assert {each.name for each in await client.instances.list()} >= {each.name for each in made}
    assert [each.status for each in made[:3]] == ["Stopped", "Running", "Running"]
    for each in made:
        await each.delete(wait=True, force=True)
    with pytest.raises(IncusInputError):
        await client.instances.create("", {"type": "none"})


async def test_instances_are_listed_and_read_as_deep_as_asked(client: Client, box: Instance) -> None:
    await box.snapshots.create("s0")
    handles, records, full = [await client.instances.list(recursion=recursion) for recursion in (0, 1, 2)]
    assert [each.name for each in handles] == [each.name for each in records] == [box.name]
    assert [each.raw for each in records] == [(await client.instances.get(box.name)).raw]
    assert full[0].state.status == "Running"
    assert [each.name for each in full[0].full.snapshots] == ["s0"]
    deep = await client.instances.get(box.name, recursion=1)
    assert (deep.state.status, len(deep.full.backups), deep.etag) == ("Running", 0, (await box.refresh()).etag)

    assert await client.instances.list(filter=F("name") == box.name, all_projects=True) == records
    assert await client.instances.list(filter=F("name") == "other") == []
    assert await client.instances.list(filter=F("status") == "Stopped", recursion=2) == []


async def test_an_instance_is_created_changed_by_each_verb_and_deleted(client: Client, name: str) -> None:
    version = (await client.get_server_info())["metadata"]["environment"]["server_version"]
    box = await client.instances.create(name, BUSYBOX, {"user.a": 1}, wait=True)
    try:
        await client.instances.update(name, {"user.b": "2", "description": "updated"}, wait=True)
        await client.instances.patch(name, {"config": {"user.c": "3"}})
        now = await client.instances.get(name)
        assert {key: now.config.get(f"user.{key}") for key in "abc"} == {"a": "1", "b": "2", "c": "3"}
        # 6.0.4 forgets a description that a PATCH does not name.
        assert now.description == ("" if version == "6.0.4" else "updated")

        await box.update({"user.a": None}, wait=True)
        with pytest.raises(IncusPreconditionError):
            await client.instances.replace(name, {"config": {}}, etag=now.etag)
        await now.refresh()
        volatile = {key: value for key, value in now.config.items() if key.startswith("volatile.")}
        body = {"architecture": now.architecture, "profiles": ["default"], "config": volatile}
        await client.instances.replace(name, body, etag=now.etag)
        assert not [key for key in (await now.refresh()).config if key.startswith("user.")]
        async with now.editing() as draft:
            draft.config["user.d"] = "4"
        assert (await box.refresh()).config["user.d"] == "4"

        await client.instances.rename(name, f"{name}-new")
        assert not await client.instances.exists(name)
        await client.instances.rename(f"{name}-new", name)
        with pytest.raises(IncusError):
            await client.instances.create(name, BUSYBOX, wait=True)
    finally:
        await client.instances.delete(name, wait=True)
    with pytest.raises(IncusNotFoundError):
        await client.instances.get(name)


async def test_the_state_of_all_instances_is_changed_at_once(client: Client, box: Instance, name: str) -> None:
    other = await client.instances.create(f"{name}-2", BUSYBOX, start=True, wait=True)
    try:
        steps: list[tuple[Action, str]] = [
            ("freeze", "Frozen"),
            ("unfreeze", "Running"),
            ("restart", "Running"),
            ("stop", "Stopped"),
            ("start", "Running"),
        ]
        for action, status in steps:
            before = [(await each.get_state()).pid for each in (box, other)]
            await client.instances.change_state(action, force=action in ("stop", "restart"), wait=True)
            states = [await client.instances.get_state(each.name) for each in (box, other)]
            assert [state.status for state in states] == [status, status]
            if action == "restart":
                assert not set(before) & {state.pid for state in states}
        with pytest.raises(IncusOperationError) as failed:  # without migration.stateful
            await client.instances.change_state("stop", stateful=True, wait=True)
        assert box.name in str(failed.value)
        assert other.name in str(failed.value)

        await other.stop(force=True, wait=True)
        await client.instances.change_state("freeze", wait=True)
        assert [(await each.get_state()).status for each in (box, other)] == ["Frozen", "Stopped"]
        await box.unfreeze(wait=True)
    finally:
        await other.delete(wait=True, force=True)


async def test_commands_and_the_console(client: Client, box: Instance) -> None:
    done = await client.instances.execute(box.name, ["sh", "-c", "echo out; exit 3"], record_output=True, wait=True)
    assert (done["metadata"]["output"]["stdout"], done["metadata"]["return"]) == ("out\n", 3)
    assert (await box.run(["cat"], input=b"hello")).stdout == b"hello"

    async with box.console() as console:
        console.stdin.write(b"\r")
        await console.stdin.drain()
    async with asyncio.timeout(60):  # what is said while the console is being left may be lost
        while b"on the console" not in await box.get_console_log():
            await box.run(["sh", "-c", "echo on the console > /dev/console"])
    await box.clear_console_log()
    assert b"on the console" not in await box.get_console_log()
    with pytest.raises(IncusInputError, match="no screen"):
        await box.get_screenshot()


async def test_an_instance_that_does_not_run_or_stops_meanwhile_is_told_apart(client: Client, name: str) -> None:
    box = await client.instances.create(name, BUSYBOX, wait=True)
    try:
        with pytest.raises(IncusNotRunningError, match="start it first"):
            await box.run(["true"])
        if "instance_port_forward" in await extensions(client):
            with pytest.raises(IncusNotRunningError, match="start it first"):
                await _opened(box.port_forward(80))
        await box.start(wait=True)
        await box.freeze(wait=True)
        with pytest.raises(IncusFrozenError, match="unfreeze it first"):
            await box.console().__aenter__()
        await box.unfreeze(wait=True)
        assert (await box.run(["sh", "-c", "kill -9 $$"])).returncode == 137
        async with box.open_process(["sh", "-c", "echo begun; exec sleep 1000"]) as process:
            assert await process.stdout.readline() == b"begun\n"
            deleting = asyncio.ensure_future(box.delete(force=True, wait=True))
            with pytest.raises(IncusInstanceStoppedError, match=f"{name} stopped") as caught:
                await process.wait()
            assert caught.value.returncode == process.returncode == 137
            with pytest.raises((IncusInstanceStoppedError, IncusNotRunningError, IncusNotFoundError)):
                await box.run(["true"])  # while it is being deleted
        await deleting
    finally:
        if await box.exists():
            await box.delete(force=True, wait=True)


async def test_single_files(client: Client, box: Instance) -> None:
    path = "/root/file"
    await client.instances.put_files(box.name, path, b"one\n")
    await box.put_files(path, b"two\n", append=True, mode=0o640, uid=7, gid=8)
    assert await client.instances.get_files(box.name, path) == b"one\ntwo\n"
    found = await box.stat_files(path)
    assert (found.type, found.size, found.mtime) == ("file", 8, (await box.path(path).stat()).mtime)
    assert abs(found.mtime - datetime.now(UTC).timestamp()) < 600
    # Servers set mode and owner of a new file alone: what the others have is what they keep.
    await box.put_files("/root/new", b"", mode=0o640, uid=7, gid=8)
    assert await box.stat_files("/root/new") == await box.path("/root/new").stat()
    new = await box.stat_files("/root/new")
    assert (new.mode, new.uid, new.gid) == (0o640, 7, 8)

    async with box.sftp() as root:
        await (root / "root/tree/below").mkdir(parents=True)
        await (root / "root/link").symlink_to("tree")
    kinds = [await box.stat_files(each) for each in ("/root/tree", "/root/link")]
    assert [(each.type, each.size) for each in kinds] == [("directory", 0), ("symlink", 0)]

    for each in (path, "/root/new", "/root/link"):
        await box.delete_files(each)
        with pytest.raises(IncusNotFoundError):
            await box.stat_files(each)
    with pytest.raises(IncusNotFoundError):
        await box.delete_files(path)
    with pytest.raises(IncusAPIError):
        await box.delete_files("/root/tree")
    if "file_delete_force" in await extensions(client):
        await box.delete_files("/root/tree", force=True)
        assert not await box.path("/root/tree").exists()
    else:
        with pytest.raises(IncusUnsupportedError, match="file_delete_force"):
            await box.delete_files("/root/tree", force=True)
    with pytest.raises(IncusInputError):
        await box.delete_files("")


async def test_log_files(client: Client, daemon: Daemon, box: Instance) -> None:
    assert "lxc.log" in await box.logs.list()
    async with box.logs.open("lxc.log") as pieces:
        content = b"".join([piece async for piece in pieces])
    assert (await box.logs.get("lxc.log")).encode() == content
    assert (await client.instances.get_logs(box.name)).keys() == set(await box.logs.list())
    with pytest.raises(IncusAPIError, match="excluding"):
        await box.logs.delete("lxc.log")
    # A migration would write one; the name is what counts.
    with pytest.raises(IncusNotFoundError):
        await box.logs.get("migration_dump.log")
    (written,) = Path(daemon.socket).parent.glob(f"logs/{box.name}")
    (written / "migration_dump.log").write_text("said \N{SNOWMAN}")
    assert "migration_dump.log" in await box.logs.list()
    assert await box.logs.get("migration_dump.log") == "said \N{SNOWMAN}"
    await box.logs.delete("migration_dump.log")
    assert "migration_dump.log" not in await box.logs.list()


async def test_recorded_output_is_kept_until_it_is_deleted(box: Instance) -> None:
    before = await box.exec_output.list()
    begun = await box.execute(["sh", "-c", "echo out; echo error >&2"], record_output=True)
    await begun.wait()
    names = {url.rpartition("/")[2] for url in begun.metadata["output"].values()}
    assert set(await box.exec_output.list()) == {*before, *names}
    assert {await box.exec_output.get(name) for name in names} == {"out\n", "error\n"}
    for name in names:
        await box.exec_output.delete(name)
        with pytest.raises(IncusNotFoundError):
            await box.exec_output.get(name)
    assert await box.exec_output.list() == before


async def test_metadata_and_templates(box: Instance) -> None:
    metadata = await box.metadata.refresh()
    assert metadata.architecture
    await metadata.update({"properties": {"a": "1"}})
    await box.metadata.patch({"expiry_date": 4102444800})
    now = await box.metadata.refresh()
    assert (now.properties["a"], now.expiry_date) == ("1", 4102444800)
    assert now.properties == {**metadata.properties, "a": "1"}

    await box.templates.put("greeting.tpl", "{{ instance.name }} says {{ properties.word }}\n")
    async with box.metadata.editing() as draft:
        draft.templates["/root/greeting"] = {
            "when": ["start"],
            "template": "greeting.tpl",
            "properties": {"word": "hi"},
        }
    await box.restart(force=True, wait=True)
    assert await box.path("/root/greeting").read_text() == f"{box.name} says hi\n"

    await box.templates.put("greeting.tpl", b"\xff")
    assert await box.templates.get("greeting.tpl") == b"\xff"
    assert "greeting.tpl" in await box.templates.list()
    await box.metadata.replace(metadata.raw)
    await box.templates.delete("greeting.tpl")
    assert "greeting.tpl" not in await box.templates.list()
    assert "/root/greeting" not in (await box.metadata.refresh()).templates
    for gone in (box.templates.get("greeting.tpl"), box.templates.delete("greeting.tpl")):
        with pytest.raises(IncusNotFoundError):
            await gone
    with pytest.raises(IncusInputError):
        await box.templates.get("")


async def test_snapshots(client: Client, box: Instance) -> None:
    box_path = box.path("/root/file")
    await box_path.write_text("then")
    snapshot = await box.snapshots.create("s0", expires_at="2039-01-01T00:00:00Z")
    assert snapshot.expires_at == datetime(2039, 1, 1, tzinfo=UTC)
    assert (await box.snapshots.list(recursion=0))[0].name == "s0"
    listed = await box.snapshots.list()
    assert [(each.name, each.expires_at) for each in listed] == [("s0", snapshot.expires_at)]

    await box.snapshots.update("s0", {"expires_at": "2040-01-01T00:00:00Z"})
    assert (await snapshot.refresh()).expires_at == datetime(2040, 1, 1, tzinfo=UTC)
    await box.snapshots.replace("s0", {"expires_at": "2041-01-01T00:00:00Z"}, etag=snapshot.etag)
    with pytest.raises(IncusPreconditionError):
        await box.snapshots.replace("s0", {"expires_at": "2042-01-01T00:00:00Z"}, etag=snapshot.etag)
    assert (await snapshot.refresh()).expires_at == datetime(2041, 1, 1, tzinfo=UTC)
    await box.snapshots.patch("s0", {"expires_at": datetime(2043, 1, 1, tzinfo=UTC)})
    assert (await box.snapshots.get("s0")).expires_at == datetime(2043, 1, 1, tzinfo=UTC)

    renamed = await box.snapshots.rename("s0", "s1")
    assert not await box.snapshots.exists("s0")
    await box.stop(force=True, wait=True)
    await box.update({"user.later": "1"}, wait=True)
    if "instance_snapshot_disk_only_restore" in await extensions(client):
        await box_path.write_text("now")
        await renamed.restore(disk_only=True)
        assert (await box_path.read_text(), (await box.refresh()).config["user.later"]) == ("then", "1")
    else:
        with pytest.raises(IncusUnsupportedError):
            await renamed.restore(disk_only=True)
    await box_path.write_text("now")
    await renamed.restore()
    assert await box_path.read_text() == "then"
    assert "user.later" not in (await box.refresh()).config

    await box.snapshots.delete("s1")
    assert await box.snapshots.list() == []
    for gone in (renamed.refresh(), renamed.delete(), renamed.restore()):
        with pytest.raises((IncusNotFoundError, IncusOperationError)):
            await gone


async def test_an_instance_moves_between_pools_and_projects_and_its_handle_with_it(client: Client, name: str) -> None:
    async with AsyncExitStack() as stack:
        pool = await client.storage_pools.create(name, "dir")
        stack.push_async_callback(pool.delete)
        project = await client.projects.create(name, config={"features.images": "false", "features.profiles": "false"})
        stack.push_async_callback(project.delete)
        box = await client.instances.create(name, BUSYBOX, {"user.a": "1"}, wait=True)

        async def delete() -> None:
            await box.delete(wait=True, force=True)

        stack.push_async_callback(delete)
        await box.path("/root/file").write_text("still here")
        await box.move(pool=pool.name)
        assert (await box.refresh()).expanded_devices["root"]["pool"] == pool.name
        await box.move(f"{name}-new", project=name, config={"user.b": 2})
        assert (box.name, box.project) == (f"{name}-new", name)
        assert not await client.instances.list()
        assert [each.name for each in await client.use_project(name).instances.list()] == [box.name]
        moved = await box.refresh()
        assert (moved.project, moved.config["user.b"]) == (name, "2")
        assert await box.path("/root/file").read_text() == "still here"

        await box.start(wait=True)
        with pytest.raises(IncusAPIError, match="stopped"):
            await box.move(project="default")
        assert (box.name, box.project) == (f"{name}-new", name)
        await box.stop(force=True, wait=True)
        await box.move(name, project="default", pool="default", profiles=["default"])
        assert (await client.instances.get(name)).profiles == ["default"]
        if "instance_refresh_migration" in await extensions(client):
            await box.move(pool=pool.name, refresh=True)
        else:
            with pytest.raises(IncusUnsupportedError, match="instance_refresh_migration"):
                await box.move(pool=pool.name, refresh=True)
        with pytest.raises(IncusInputError, match="destination"):
            await box.move("other")


async def test_an_instance_is_rebuilt(client: Client, box: Instance) -> None:
    await box.path("/root/file").write_text("x")
    await box.update({"user.a": "1"}, wait=True)
    with pytest.raises(IncusAPIError, match="stopped"):
        await box.rebuild({"type": "image", "alias": "busybox"})
    await box.stop(force=True, wait=True)
    seen: list[Progress] = []
    await box.rebuild("busybox", progress=seen.append)
    assert {each.stage for each in seen} == {"create_instance_from_image_unpack"}
    assert not await box.path("/root/file").exists()
    assert await box.path("/bin").exists()
    await box.rebuild({"type": "none"})
    assert not await box.path("/bin").exists()
    assert (await client.instances.get(box.name)).config["user.a"] == "1"


async def test_who_may_use_it(client: Client, box: Instance) -> None:
    certificates = await client.certificates.list()
    clients = {each.fingerprint for each in certificates if each.type == "client"}
    access = await box.get_access()
    assert clients
    assert {(entry.identifier, entry.role, entry.provider) for entry in access} == {
        (fingerprint, "admin", "tls") for fingerprint in clients
    }


class Machine(NamedTuple):
    extension: str
    ask: Callable[[Instance], Awaitable[Any]]
    refusal: str
    """What the server says of a container."""


async def _opened(stream: Any) -> None:
    async with stream:
        pass


VIRTUAL: dict[str, Machine] = {
    "memory": Machine("instance_debug_memory", lambda box: box.dump_memory(os.devnull), "virtual machines"),
    "bitmaps": Machine("storage_volume_nbd", lambda box: box.create_bitmap("b0"), "VMs"),
    "nbd": Machine("instance_nbd", lambda box: _opened(box.nbd()), "virtual machines"),
    "repair": Machine("instances_debug_repair", lambda box: box.repair("rebuild-config-volume"), "VMs"),
    "guids": Machine("instance_nvram", lambda box: box.nvram.get_guids(), "virtual machines"),
    "variables": Machine("instance_nvram", lambda box: box.nvram.list(), "virtual machines"),
    "of a guid": Machine("instance_nvram", lambda box: box.nvram["guid"].list(), "virtual machines"),
    "variable": Machine("instance_nvram", lambda box: box.nvram["guid"].get("Name"), "virtual machines"),
    "replace": Machine("instance_nvram", lambda box: box.nvram["guid"]["Name"].replace({}), "virtual machines"),
    "read": Machine("instance_nvram", lambda box: box.nvram["guid"]["Name"].read_bytes(), "virtual machines"),
    "write": Machine("instance_nvram", lambda box: box.nvram["guid"]["Name"].write_bytes(b""), "virtual machines"),
    "delete": Machine("instance_nvram", lambda box: box.nvram["guid"]["Name"].delete(), "virtual machines"),
    "patch": Machine("instance_nvram_bulk_update", lambda box: box.nvram.patch({}), "virtual machines"),
}


async def test_what_is_for_virtual_machines_is_refused_for_a_container(client: Client, box: Instance) -> None:
    known = await extensions(client)
    for named, machine in VIRTUAL.items():
        wanted = IncusAPIError if machine.extension in known else IncusUnsupportedError
        words = machine.refusal if machine.extension in known else machine.extension
        with pytest.raises(wanted, match=words) as refused:
            await machine.ask(box)
        assert type(refused.value) is wanted, named


async def test_a_connection_to_a_port_inside(client: Client, box: Instance) -> None:
    if "instance_port_forward" not in await extensions(client):
        with pytest.raises(IncusUnsupportedError, match="instance_port_forward"):
            await _opened(box.port_forward(80))
        return
    async with box.open_process(["nc", "-l", "-p", "8080", "-e", "cat"]):
        await box.wait_for(8080, timeout=10)
        async with box.port_forward(8080) as (reader, writer):
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
