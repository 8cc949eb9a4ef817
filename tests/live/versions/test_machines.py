"""What only virtual machines have, on the one that software can run here, of a server that has all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusNotFoundError,
    IncusOperationError,
    IncusPreconditionError,
    Instance,
)
from incus_sdk._migration import Mode
from incus_sdk.models import Config
from tests.live.machines import MachineDaemon
from tests.live.roots import ROOTS

ROOT = ROOTS["7.0.2"]
GUID = "8be4df61-93ca-11d2-aa0d-00e098032b8c"  # of the variables that UEFI itself has
LASTING = ["NON_VOLATILE", "BOOTSERVICE_ACCESS", "RUNTIME_ACCESS"]

pytestmark = pytest.mark.skipif(
    ROOT is None or not (ROOT / "usr/bin/qemu-system-x86_64").exists(), reason="7.0.2 has no QEMU here"
)


@pytest.fixture(scope="module")
async def daemon() -> AsyncIterator[MachineDaemon]:
    async with MachineDaemon(root=ROOT, image=False) as daemon:
        yield daemon


@pytest.fixture(scope="module")
async def client(daemon: MachineDaemon) -> AsyncIterator[Client]:
    async with daemon.client("https") as client:
        yield client


@pytest.fixture(scope="module")
async def machine(client: Client) -> Instance:
    """A stopped machine that has run once, as far as its firmware goes: its disk is empty."""
    machine = await client.instances.create(
        "v1",
        {"type": "none"},
        {"security.secureboot": False, "limits.memory": "128MiB", "limits.cpu": 1},
        {"root": {"type": "disk", "path": "/", "pool": "default", "size": "16MiB"}},
        instance_type="virtual-machine",
        wait=True,
    )
    await booted(machine)
    await machine.stop(force=True, wait=True)
    return machine


async def booted(machine: Instance) -> None:
    """Start it, and wait until its firmware is at its end: whoever stops it as it writes its variables spoils them."""
    await machine.start(wait=True)

    async def at_its_end(machine: Instance) -> bool:
        return b"No bootable option" in await machine.get_console_log()

    await machine.wait_for(at_its_end, timeout=60)


@pytest.fixture
async def running(machine: Instance) -> AsyncIterator[Instance]:
    await booted(machine)
    yield machine
    await machine.stop(force=True, wait=True)


async def test_the_screen_the_memory_and_the_missing_agent(running: Instance, tmp_path: Path) -> None:
    with pytest.raises(IncusOperationError, match="VM agent isn't currently running"):
        await running.run(["true"])
    assert (await running.get_screenshot()).startswith(b"\x89PNG")
    target = tmp_path / "memory"
    size = await running.dump_memory(target)
    assert size == target.stat().st_size > 100 * 1024 * 1024
    with target.open("rb") as file:
        assert file.read(4) == b"\x7fELF"
    target.unlink()
    # This is said when the status was that of a success already.
    with pytest.raises(IncusAPIError, match="bogus"):
        await running.dump_memory(target, format="bogus")
    assert list(tmp_path.iterdir()) == []


async def test_disks_by_nbd_and_what_was_written_to_them(client: Client, running: Instance) -> None:
    async with running.nbd() as (reader, _), running.nbd(reuse=True) as (other, _):
        assert await reader.readexactly(16) == await other.readexactly(16) == b"NBDMAGICIHAVEOPT"
    await running.create_bitmap("b0", granularity=65536)
    with pytest.raises(IncusAPIError, match="b0"):
        await running.create_bitmap("b0")
    bitmaps = client.storage_pools["default"].volumes["virtual-machine/v1"].bitmaps
    assert [(each.name, each.granularity, each.recording) for each in await bitmaps.list()] == [("b0", 65536, True)]
    await bitmaps.create("b1", disabled=True)
    assert not (await bitmaps.get("b1")).recording
    for name in ("b0", "b1"):
        await bitmaps.delete(name)
    assert await bitmaps.list() == []


async def test_uefi_variables(machine: Instance) -> None:
    variables = machine.nvram[GUID]
    assert GUID in await machine.nvram.get_guids()
    handles, records = await machine.nvram.list(recursion=0), await machine.nvram.list()
    assert [(each.guid, each.name) for each in handles] == [(each.guid, each.name) for each in records]
    below = [each.name for each in await variables.list(recursion=0)]
    assert below == [each.name for each in await variables.list()]
    assert below == [each.name for each in records if each.guid == GUID]

    order = await variables.get("BootOrder")
    assert order.data == ["Boot0001", "Boot0000"]
    assert (order.attributes, order.timestamp) == (LASTING, None)
    assert await order.read_bytes() == b"\1\0\0\0"
    await order.replace({"attributes": LASTING, "data": ["Boot0000"]}, etag=order.etag)
    with pytest.raises(IncusPreconditionError):
        await order.replace({"attributes": LASTING, "data": []}, etag=order.etag)
    assert (await order.refresh()).data == ["Boot0000"]

    own = variables["Own/Variable"]
    await own.write_bytes(b"\0\1\2", attributes=3)
    assert await own.read_bytes() == b"\0\1\2"
    assert (await own.refresh()).attributes == LASTING[:2]
    assert own.data is None
    await own.delete()
    with pytest.raises(IncusNotFoundError):
        await own.delete()

    await own.write_bytes(b"\0")
    changed = {"attributes": LASTING, "data": ["Boot0001", "Boot0000"]}
    await machine.nvram.patch({GUID: {"BootOrder": changed, own.name: None}})
    assert (await order.refresh()).data == ["Boot0001", "Boot0000"]
    assert not await own.exists()

    await machine.repair("rebuild-nvram")
    assert "BootOrder" not in [each.name for each in await machine.nvram.list()]
    with pytest.raises(IncusAPIError, match="QCOW2"):
        await machine.repair("rebuild-config-volume")


async def test_variables_of_a_running_machine_are_only_read(running: Instance) -> None:
    assert await running.nvram.get_guids() is not None
    with pytest.raises(IncusAPIError, match="running"):
        await running.nvram[GUID]["BootOrder"].write_bytes(b"")
    with pytest.raises(IncusAPIError, match="running"):
        await running.nvram.patch({})


async def test_a_machine_is_launched_from_an_image_of_one(client: Client, machine: Instance) -> None:
    image = await client.images.create_from(source={"type": "instance", "name": machine.name})
    assert image.type == "virtual-machine"
    config: Config = {"security.secureboot": False, "limits.memory": "128MiB"}
    async with client.instances.temporary(image.fingerprint, vm=True, config=config) as box:
        assert (box.type, box.status) == ("virtual-machine", "Running")
    await image.delete(wait=True)


@pytest.mark.parametrize("mode", ["pull", "relay"])
async def test_a_machine_is_copied_to_another_server_and_runs_there(
    daemon: MachineDaemon, machine: Instance, mode: Mode
) -> None:
    async with MachineDaemon(root=ROOT, image=False, beside=daemon) as other, other.client() as client:
        copy = await machine.copy(to=client, mode=mode, addresses=[daemon.address])
        assert (copy.type, copy.config["limits.memory"]) == ("virtual-machine", "128MiB")
        await copy.start(wait=True)
        assert (await copy.get_screenshot()).startswith(b"\x89PNG")
        await copy.stop(force=True, wait=True)
