"""launch(), temporary() and wait_for(): ready when it is handed over, and gone when it is no longer wanted."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from incus_sdk import (
    Address,
    Client,
    IncusAPIError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    IncusTimeoutError,
    Instance,
    Operation,
    Progress,
)
from incus_sdk.api.activity import OperationsAPI


async def names(client: Client) -> list[str]:
    """The instances of these tests: those without a name of a fixture's."""
    found = [instance.name for instance in await client.instances.list(recursion=0)]
    return [name for name in found if not re.fullmatch(r"t\d+", name)]


@pytest.mark.parametrize("image", ["alias", "fingerprint", "beginning"])
async def test_launch_takes_an_alias_or_a_fingerprint_and_returns_a_running_instance(
    client: Client, name: str, image: str
) -> None:
    fingerprint = (await client.images.list())[0].fingerprint
    given = {"alias": "busybox", "fingerprint": fingerprint, "beginning": fingerprint[:12]}[image]
    box = await client.instances.launch(given, name, config={"user.a": 1}, description="mine")
    assert (box.name, box.status, box.config["user.a"], box.description) == (name, "Running", "1", "mine")
    await box.delete(force=True, wait=True)


async def test_a_launch_is_one_operation_and_tells_how_far_it_is(client: Client, name: str) -> None:
    async def operations() -> set[str]:
        return {url for urls in (await client.query("GET", "/1.0/operations")).values() for url in urls}

    before, told = await operations(), list[Progress]()
    box = await client.instances.launch("busybox", name, progress=told.append)
    assert len(await operations() - before) == 1
    assert {update.stage for update in told} == {"create_instance_from_image_unpack"}
    assert max(update.percent or 0 for update in told) > 50
    assert all(update.text and update.speed for update in told)
    await box.delete(force=True, wait=True)

    told.clear()
    async with client.instances.temporary("busybox", progress=told.append):
        assert told
    told.clear()
    stopped = await client.instances.create(name, "busybox", wait=True, progress=told.append)
    assert (bool(told), stopped.status) == (True, "Stopped")
    await stopped.delete(wait=True)


async def test_a_launch_whose_progress_is_not_wanted_leaves_nothing(client: Client) -> None:
    def progress(update: Progress) -> None:
        raise LookupError(update.text)

    with pytest.raises(LookupError, match="Unpacking"):
        await client.instances.launch("busybox", progress=progress)
    assert await names(client) == []


async def test_a_virtual_machine_is_not_launched_from_a_containers_image(client: Client) -> None:
    with pytest.raises((IncusOperationError, IncusAPIError, IncusNotFoundError), match=r"(?i)type|virtual|not found"):
        await client.instances.launch("busybox", vm=True)
    assert await names(client) == []


async def test_a_temporary_instance_is_made_up_a_name_and_gone_after_the_block(client: Client) -> None:
    async with client.instances.temporary("busybox") as box, client.instances.temporary("busybox") as other:
        assert box.name != other.name
        assert box.status == "Running"
    assert await names(client) == []


async def test_a_temporary_instance_that_is_gone_already_is_fine(client: Client) -> None:
    async with client.instances.temporary("busybox") as box:
        await box.delete(force=True, wait=True)
    assert await names(client) == []


async def test_a_temporary_instance_is_gone_although_its_deletion_gets_no_answer_at_first(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_operations, silent = OperationsAPI.list, [True]

    async def list_after_a_silence(self: OperationsAPI, **options: Any) -> list[Operation]:
        if silent:
            silent.clear()
            raise IncusTimeoutError("GET /1.0/operations: no answer")
        return await list_operations(self, **options)

    monkeypatch.setattr(OperationsAPI, "list", list_after_a_silence)
    async with client.instances.temporary("busybox"):
        pass
    assert not silent
    assert await names(client) == []


async def test_a_command_that_was_left_running_holds_up_no_deletion(client: Client) -> None:
    async with asyncio.timeout(100):
        async with client.instances.temporary("busybox") as box:
            left = await box.execute(["sleep", "1000"])
    async with asyncio.timeout(100):
        with contextlib.suppress(IncusError):  # it was killed, or is forgotten
            await left.wait()


async def test_an_exception_in_the_block_deletes_it(client: Client) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with client.instances.temporary("busybox"):
            raise LookupError("mine")
    assert await names(client) == []


async def test_a_cancellation_in_the_block_deletes_it(client: Client) -> None:
    inside = asyncio.Event()

    async def use() -> None:
        async with client.instances.temporary("busybox"):
            inside.set()
            await asyncio.sleep(1000)

    task = asyncio.create_task(use())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await names(client) == []


@pytest.mark.parametrize("moment", [0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3])
@pytest.mark.parametrize("name", ["cancelled", None])
async def test_a_launch_cancelled_at_any_moment_leaves_nothing(client: Client, moment: float, name: str | None) -> None:
    task = asyncio.create_task(client.instances.launch("busybox", name))
    await asyncio.wait([task], timeout=moment)
    if not task.done():
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:  # this machine was faster
        await (await task).delete(force=True, wait=True)
    assert await names(client) == []


async def test_a_launch_that_fails_to_start_leaves_nothing_and_says_why(client: Client) -> None:
    with pytest.raises(IncusOperationError, match=r"(?s)init") as caught:
        await client.instances.launch("busybox", config={"raw.lxc": "lxc.init.cmd = /nowhere/init"})
    assert "/nowhere/init" in caught.value.log
    assert await names(client) == []


async def test_a_launch_over_an_existing_name_fails_and_leaves_that_one_alone(client: Client, box: Instance) -> None:
    with pytest.raises((IncusOperationError, IncusAPIError), match=r"already exists|UNIQUE"):
        await client.instances.launch("busybox", box.name)
    assert (await box.refresh()).status == "Running"


@pytest.mark.parametrize("image", ["", None, 7])
async def test_a_launch_of_no_image_is_refused_before_anything_is_sent(image: object) -> None:
    with pytest.raises(IncusInputError, match="image must be"):
        await Client("/nowhere").instances.launch(image)  # type: ignore[arg-type]


async def test_a_launch_with_the_configuration_in_the_place_of_vm_is_refused() -> None:
    with pytest.raises(IncusInputError, match=r"vm must be True or False, not dict.*config="):
        await Client("/nowhere").instances.launch("busybox", "c1", {"limits.cpu": 1})  # type: ignore[arg-type]


async def test_a_launch_of_an_unknown_image_says_so(client: Client) -> None:
    for image in ("no-such-alias", "abcdef123456"):
        with pytest.raises(IncusNotFoundError, match=f"no image {image!r}"):
            await client.instances.launch(image)


# wait_for(), wait_for_address()


async def shell(box: Instance, script: str) -> None:
    await box.run(["sh", "-ec", script], check=True)


async def times_out(box: Instance, condition: Any, said: str) -> None:
    """Waiting for it ends with an error that says that: after half a second, or after more on a busy machine, which may
    not have looked at all before.
    """
    for seconds in (0.5, 5, 50):
        with pytest.raises(IncusTimeoutError) as caught:
            await box.wait_for(condition, timeout=seconds)
        if re.search(said, str(caught.value)):
            return
    raise AssertionError(f"{said!r} is not in {str(caught.value)!r}")


async def test_wait_for_a_status_sees_it_come(box: Instance) -> None:
    for change, status in ((box.freeze, "frozen"), (box.unfreeze, "running")):
        waiting = asyncio.create_task(box.wait_for(status, timeout=60))
        await change()
        assert (await waiting).status.lower() == status
    stopping = asyncio.create_task(box.wait_for("status=Stopped", timeout=60))
    await box.stop(force=True)
    assert (await stopping).status == "Stopped"


async def test_wait_for_is_driven_by_events_not_by_the_poll_alone(
    box: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("incus_sdk.api._readiness._POLL", 1000)
    looked = asyncio.Event()

    async def frozen(instance: Instance) -> bool:
        status = (await instance.get_state()).status
        looked.set()
        return status == "Frozen"

    waiting = asyncio.create_task(box.wait_for(frozen, timeout=60))
    await looked.wait()  # from here on only an event can make it look again
    await box.freeze(wait=True)
    assert (await waiting).status == "Frozen"


async def test_wait_for_a_port_sees_a_listener(box: Instance) -> None:
    waiting = asyncio.create_task(box.wait_for(8080, timeout=60))
    async with box.open_process(["nc", "-l", "-p", "8080"]):
        await waiting
    await times_out(box, 8080, "TCP port 8080 within .*; seen last: listeners on no port")


async def test_wait_for_an_address_sees_a_global_one(box: Instance) -> None:
    await times_out(box, "ipv4", "'ipv4' within .* status Running, addresses none")
    for family, address in (("ipv4", "198.51.100.7/24"), ("ipv6", "fd42::7/64")):
        waiting = asyncio.create_task(box.wait_for(family, timeout=60))
        await box.run(["ip", "address", "add", address, "dev", "lo"], check=True)
        await waiting


async def test_an_address_counts_if_it_is_on_a_network_device_and_is_handed_back(client: Client) -> None:
    devices = {name: {"type": "nic", "nictype": "p2p", "name": name} for name in ("eth0", "wan", "docker0")}
    async with client.instances.temporary("busybox", devices=devices) as box:
        await shell(box, "for n in eth0 wan docker0; do ip link set $n up; done; ip link add other type bridge")
        for number, name in enumerate(("other", "docker0", "lo")):
            await shell(box, f"ip addr add 172.17.{number}.1/16 dev {name}; ip link set {name} up")
        await times_out(box, "ipv4", r"'ipv4' within .* addresses .*172\.17\.|addresses none")
        with pytest.raises(IncusTimeoutError, match="did not reach an ipv6 address of 'eth0' within"):
            await box.wait_for_address("ipv6", interface="eth0", timeout=1)
        waiting = asyncio.create_task(box.wait_for_address(timeout=60))
        await shell(box, "ip addr add 198.51.100.7/24 dev wan")
        assert await waiting == "198.51.100.7"
        await box.wait_for("ipv4", timeout=60)
        await box.wait_for("IP", timeout=60)
        assert await box.wait_for_address("ip", timeout=60) == "198.51.100.7"
        await shell(box, "ip addr add 2001:db8::7/64 dev wan; ip addr add 2001:db8::8/64 dev eth0")
        found = await box.addresses()
        assert list(found) == ["docker0", "eth0", "wan"]
        (mac,) = {each.mac for each in found["wan"]}
        assert mac == box.config["volatile.wan.hwaddr"]
        assert [str(each) for each in found["wan"]][:2] == ["198.51.100.7", "2001:db8::7"]
        assert found["wan"][0] == Address("198.51.100.7", "ipv4", "global", "wan", mac)
        assert [str(each) for each in found["eth0"] if each.scope == "global"] == ["2001:db8::8"]
        assert await box.wait_for_address(interface="docker0", timeout=60) == "172.17.1.1"
        await box.run(["ip", "link", "set", "wan", "name", "renamed"])
    with pytest.raises(IncusInputError, match="family must be one of ip, ipv4, ipv6, not 'inet'"):
        await client.instances["c1"].wait_for_address("inet")  # type: ignore[arg-type]


async def test_an_instance_that_says_it_is_ready_runs(client: Client, box: Instance) -> None:
    await box.update({"config": {"volatile.last_state.ready": True}}, wait=True)
    assert (await box.refresh()).status == "Ready"
    for condition in ("running", "ready", "agent"):
        await box.wait_for(condition, timeout=60)
    async with box.open_process(["nc", "-l", "-p", "8080"]):
        await box.wait_for(8080, timeout=60)


@pytest.mark.parametrize(("condition", "missing"), [("systemd", "systemctl"), ("cloud-init", "cloud-init")])
async def test_what_an_instance_does_not_have_is_not_waited_for(box: Instance, condition: str, missing: str) -> None:
    with pytest.raises(IncusError, match=f"{box.name!r} cannot be asked: it has no {missing}"):
        await box.wait_for(condition)


async def test_wait_for_systemd_and_cloud_init_ask_them(box: Instance) -> None:
    answers = {"systemctl": ("starting", "degraded"), "cloud-init": ("status: running", "\\nnote\\nstatus: done")}
    for command, (before, after) in answers.items():
        condition = "systemd" if command == "systemctl" else command
        await box.put_files(f"/bin/{command}", f"#!/bin/sh\necho '{before}'\n".encode())
        await box.run(["chmod", "755", f"/bin/{command}"])
        await times_out(box, condition, f"seen last: {condition}: {before}")
        await box.put_files(f"/bin/{command}", f"#!/bin/sh\nprintf '{after}\n'\n".encode())
        await box.wait_for(condition, timeout=60)


async def test_wait_for_takes_any_function(box: Instance) -> None:
    asked: list[str] = []

    async def third(instance: Instance) -> bool:
        asked.append(instance.name)
        return len(asked) == 3

    assert await box.wait_for(third, timeout=60) is box
    assert asked == [box.name] * 3
    await box.wait_for(lambda instance: instance.name == box.name, timeout=60)
    await times_out(box, lambda _: "", "seen last: it returned ''")


async def test_an_agent_is_ready_in_a_running_container(box: Instance) -> None:
    await box.wait_for("agent", timeout=60)


@pytest.mark.parametrize("condition", ["", 0, 65536, True, None, 1.5])
async def test_an_unknown_condition_is_refused_with_those_that_there_are(condition: object) -> None:
    with pytest.raises(IncusInputError, match=r"running, .*ipv4, .*TCP port"):
        await Client("/nowhere").instances["c1"].wait_for(condition)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "probable"),
    [("stoped", "stopped"), ("Status=Stoped", "stopped"), ("status=ipv4x", "ipv4"), ("Cloud_Init", "cloud-init")],
)
async def test_a_misspelt_condition_is_refused_with_the_one_that_was_meant(condition: str, probable: str) -> None:
    with pytest.raises(IncusInputError, match=f"did you mean '{probable}'"):
        await Client("/nowhere").instances["c1"].wait_for(condition)


Verb = Callable[[Instance], Awaitable[object]]


@pytest.mark.parametrize(
    "verb",
    [lambda box: box.wait_for("ipv4"), lambda box: box.run(["sleep", "100"])],
    ids=["wait_for", "run"],
)
async def test_every_wait_can_be_cancelled(box: Instance, verb: Verb) -> None:
    waiting = asyncio.ensure_future(verb(box))
    await asyncio.wait([waiting], timeout=0.5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_is_waited_for_can_come_after_a_restart(box: Instance) -> None:
    program = "#!/bin/sh\n[ -e /asked ] && exec echo running\ntouch /asked\nexec sleep 1000\n"
    await box.path("/usr/bin/systemctl").write_text(program, mode=0o755)
    waiting = asyncio.create_task(box.wait_for("systemd", timeout=60))
    while not await box.path("/asked").exists():
        assert not waiting.done()
    await box.restart(force=True, wait=True)
    await waiting
