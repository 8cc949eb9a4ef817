"""What is in the fake's instances, as clients reach it: commands, files, trees, the agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

import incus_sdk.sync.testing
from incus_sdk import (
    Client,
    IncusError,
    IncusInputError,
    IncusInstanceStoppedError,
    IncusOperationError,
    IncusTimeoutError,
    Instance,
)
from incus_sdk.testing import Fake, FakeCommand, UnscriptedCommandError

USERS = "root:x:0:0::/root:/bin/sh\ndev:x:1000:1000::/home/dev:/bin/bash\n"
GROUPS = "root:x:0:\ndev:x:1000:\nadm:x:4:dev\n"


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    async with Fake() as fake:
        yield fake


@pytest.fixture
async def client(request: pytest.FixtureRequest, fake: Fake) -> AsyncIterator[Client]:
    kind: Literal["unix", "https"] = getattr(request, "param", "unix")
    async with fake.client(kind) as client:
        yield client


both_transports = pytest.mark.parametrize("client", ["unix", "https"], indirect=True)


@pytest.fixture
async def box(client: Client) -> Instance:
    return await client.instances.launch("busybox", "c1")


@both_transports
async def test_commands_run_and_their_output_comes_whole(fake: Fake, box: Instance) -> None:
    text = await box.run(["sh", "-c", "echo out; echo err >&2; exit 3"], text=True)
    assert (text.returncode, text.stdout, text.stderr) == (3, "out\n", "err\n")
    data = bytes(range(256)) * 4096
    assert (await box.run(["cat"], input=data)).stdout == data
    recorded = await box.execute(["sh", "-c", "echo out; echo err >&2"], record_output=True, wait=True)
    assert recorded.metadata == {"return": 0, "output": {"stdout": "out\n", "stderr": "err\n"}}
    assert [command.args[0] for command in fake.commands] == ["sh", "cat", "sh"]


@both_transports
async def test_live_commands_take_input_signals_and_sizes(fake: Fake, box: Instance) -> None:
    sizes = list[tuple[int, int]]()

    async def top(command: FakeCommand) -> int:
        command.on_signal(28, lambda: sizes.append((command.width, command.height)))
        while line := await command.stdin.readline():
            command.write(line.upper())
        return 7

    fake.on_exec(["top"], run=top)
    async with box.open_process(["top"], pty=True) as process:
        await process.resize(132, 50)
        process.stdin.write(b"line\n")
        assert [await process.stdout.readline() for _ in range(2)] == [b"line\r\n", b"LINE\r\n"]
        process.stdin.write_eof()
        assert await process.wait() == 7
    assert sizes == [(132, 50)]
    async with box.open_process(["sleep", "60"], pty=True) as process:
        process.stdin.write(b"\x03")
        assert await process.wait() == 130
    async with box.open_process(["sleep", "60"]) as process:
        await process.terminate()
        assert await process.wait() == 143
    fake.on_exec(["stubborn"], stdout="begun", hang=True, signals={15: None})
    async with box.open_process(["stubborn"]) as process:
        assert await process.stdout.readexactly(5) == b"begun"
        await process.terminate()
        await process.kill()
        assert await process.wait() == 137
    with pytest.raises(IncusTimeoutError):
        await box.run(["sleep", "60"], timeout=0.01, kill_tree=True)
    assert [command.returncode for command in fake.commands][:4] == [7, 130, 143, 137]


async def test_commands_end_with_their_instance(box: Instance) -> None:
    async with box.open_process(["sh", "-c", "echo begun; sleep 60"]) as process:
        await process.stdout.readline()
        await box.stop(force=True, wait=True)
        with pytest.raises(IncusInstanceStoppedError):
            await process.wait()


async def test_scripts_see_users_and_environments_as_the_command_does(fake: Fake, box: Instance) -> None:
    files = fake.instance("c1").files
    files["/etc/passwd"], files["/etc/group"] = USERS, GROUPS
    files.mkdir("/home/dev", uid=1000)
    seen = fake.on_exec(["id"])
    await box.run(["id"])
    await box.run(["id"], user="dev", env={"A": "1"})
    await box.run(["id"], user="dev", login=True, cwd="/tmp")
    await box.run(["id"], user=7, group=8)
    assert [(call.user, call.group, call.cwd) for call in seen.calls] == [
        (0, 0, "/root"), (1000, 1000, "/home/dev"), (1000, 1000, "/tmp"), (7, 8, "/"),
    ]  # fmt: skip
    assert (seen.calls[1].env["A"], seen.calls[1].env["HOME"], seen.calls[0].env["LANG"]) == (
        "1",
        "/home/dev",
        "C.UTF-8",
    )


async def run_unscripted(error: Exception | None = None) -> None:
    async with Fake() as fake, fake.client() as client:
        box = await client.instances.launch("busybox", "c1")
        assert (await box.run(["apt-get", "update"])).returncode == 127
        if error is not None:
            raise error


async def test_what_had_no_script_is_raised_where_the_block_ends() -> None:
    with pytest.raises(UnscriptedCommandError, match=r"\['apt-get', 'update'\] in 'c1': add fake\.on_exec\("):
        await run_unscripted()
    with pytest.raises(ZeroDivisionError):  # which says more
        await run_unscripted(ZeroDivisionError())


@both_transports
async def test_files_are_what_both_sides_make_of_them(fake: Fake, box: Instance) -> None:
    files = fake.instance("c1").files
    files["/srv/in"] = "from the test"
    assert await box.path("/srv/in").read_text() == "from the test"
    assert await box.get_files("/srv/in") == b"from the test"
    await box.path("/srv/out").write_bytes(b"x" * 10**6, mode=0o600, uid=7)
    assert (files["/srv/out"], files.stat("/srv/out").mode, files.stat("/srv/out").uid) == (b"x" * 10**6, 0o600, 7)
    await box.put_files("/srv/out", b"y", append=True)
    assert (await box.stat_files("/srv/out")).size == 10**6 + 1
    await box.path("/srv/link").symlink_to("out")
    assert await box.path("/srv/link").readlink() == "out"
    assert sorted([path.name async for path in box.path("/srv").iterdir()]) == ["in", "link", "out"]
    await box.path("/srv").rmtree()
    assert "/srv" not in files
    for missing in (box.path("/no").read_text(), box.get_files("/no"), box.delete_files("/no")):
        with pytest.raises(incus_sdk.IncusNotFoundError, match="/no"):
            await missing


@pytest.mark.parametrize("number", [3, 50], ids=["few", "many"])  # many go as an archive
async def test_trees_are_pushed_and_pulled(fake: Fake, box: Instance, tmp_path: Path, number: int) -> None:
    fake.on_exec(returncode=1)  # the SDK's own commands are none of the test's
    source = tmp_path / "source"
    (source / "deep/er").mkdir(parents=True)
    (source / "link").symlink_to("deep")
    for name in range(number):
        (source / "deep" / str(name)).write_text("x" * name)
    await box.path("/srv/tree").push(source)
    assert fake.instance("c1").files[f"/srv/tree/deep/{number - 1}"] == b"x" * (number - 1)
    await box.path("/srv/tree").pull(tmp_path / "back")
    found, wanted = (
        sorted(str(path.relative_to(top)) for path in top.rglob("*")) for top in (tmp_path / "back", source)
    )
    assert found == wanted
    assert fake.commands == []


async def test_snapshots_and_copies_have_files_of_their_own(fake: Fake, client: Client, box: Instance) -> None:
    files = fake.instance("c1").files
    files["/data"] = "old"
    await box.snapshots.create("s1")
    files["/data"] = "new"
    await box.copy("c2")
    fake.instance("c2").files["/data"] = "other"
    assert (files["/data"], fake.instance("c2").files["/etc/hostname"]) == (b"new", b"c2\n")
    await box.snapshots["s1"].restore()
    assert fake.instance("c1").files["/data"] == b"old"


async def test_new_instances_have_the_files_of_the_image(fake: Fake, client: Client) -> None:
    fake.image_files["/etc/os-release"] = "ID=debian"
    one, other = [await client.instances.launch("busybox", name) for name in ("c1", "c2")]
    await one.path("/etc/os-release").unlink()
    assert await other.path("/etc/os-release").read_text() == "ID=debian"
    assert await other.path("/etc/hostname").read_text() == "c2\n"


async def test_the_agent_of_a_virtual_machine_can_be_missing(fake: Fake, client: Client) -> None:
    vm = await client.instances.create("vm", {"type": "none"}, instance_type="virtual-machine", wait=True)
    await vm.start(wait=True)
    fake.instance("vm").lose_agent(times=3)
    for attempt in (vm.run(["true"]), vm.path("/etc/hostname").read_text(), vm.get_files("/etc/hostname")):
        with pytest.raises(IncusError, match="VM agent isn't currently running"):
            await attempt
    fake.instance("vm").lose_agent(times=1)
    async with vm.open_process(["true"], pty=True) as process:
        assert await process.stdout.read() == b""
        with pytest.raises(IncusOperationError, match="VM agent isn't currently running"):
            await process.wait()
    assert (await vm.run(["true"])).returncode == 0
    fake.instance("vm").lose_agent(times=1)
    await vm.wait_for("agent")
    await client.instances.create("c1", {"type": "none"}, wait=True)
    with pytest.raises(IncusInputError, match="'c1' is a container"):
        fake.instance("c1").lose_agent()


async def test_waiting_outlasts_a_missing_agent(fake: Fake, client: Client) -> None:
    vm = await client.instances.create("vm", {"type": "none"}, instance_type="virtual-machine", wait=True)
    await vm.start(wait=True)
    fake.instance("vm").lose_agent(times=2)  # for the look at its state, and for the command
    systemd = fake.on_exec(["systemctl", "is-system-running"], stdout="running\n")
    await vm.wait_for("systemd")
    assert len(systemd.calls) == 1
    fake.on_exec(["systemctl", "is-system-running"], error="something else")
    with pytest.raises(IncusOperationError, match="something else"):
        await vm.wait_for("systemd")


async def test_waiting_is_not_woken_by_what_it_does_itself(box: Instance) -> None:
    looks = 0

    async def look(box: Instance) -> bool:
        nonlocal looks
        looks += 1
        await box.run(["true"])
        await box.get_files("/etc/hostname")
        return False

    with pytest.raises(IncusTimeoutError):
        await box.wait_for(look, timeout=0.2)
    assert looks == 1


async def test_a_timeout_that_a_condition_raises_is_its_own(box: Instance) -> None:
    def look(box: Instance) -> bool:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await box.wait_for(look, timeout=60)


def test_the_blocking_form_is_the_same(tmp_path: Path) -> None:
    with incus_sdk.sync.testing.Fake() as fake, fake.client() as client:
        box = client.instances.launch("busybox", "c1")

        def deploy(command: FakeCommand) -> str:
            command.write("deploying\n")
            inner = client.instances["c1"].path("/srv/version").read_text()  # blocks nobody
            return f"{inner} {command.input.decode()}"

        async def slow(command: FakeCommand) -> int:
            command.write("a")
            await asyncio.sleep(0.001)
            command.write("b")
            return 4

        fake.instance("c1").files["/srv/version"] = "7"
        fake.on_exec(["deploy"], run=deploy)
        script = fake.on_exec(["slow"], run=slow)
        assert box.run(["deploy"], input="now", text=True).stdout == "deploying\n7 now"
        assert box.run(["slow"]).stdout == b"ab"
        assert script.calls[0].returncode == 4
        box.path("/srv/x").write_text("x")
        assert fake.instance("c1").files["/srv/x"] == b"x"
    with pytest.raises(UnscriptedCommandError), incus_sdk.sync.testing.Fake() as fake, fake.client() as client:
        client.instances.launch("busybox", "c1").run(["nope"])
