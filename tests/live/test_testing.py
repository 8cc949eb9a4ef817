"""`incus_sdk.testing`: the private daemon does what it says, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from incus_sdk import Client, IncusConnectionError, IncusError, Operation
from incus_sdk.testing import Daemon, DaemonUnavailableError, _daemon, _host, _init, busybox_image, preflight
from tests.live.roots import ROOTS

C1 = {"name": "c1", "source": {"type": "image", "alias": "busybox"}, "start": True}

OWNER = """
import asyncio, sys
from incus_sdk.testing import Daemon

async def main():
    async with Daemon() as daemon:
        if "start" in sys.argv:
            async with daemon.client() as client:
                await (await client.query("POST", "/1.0/instances", body={C1})).wait()
                if "freeze" in sys.argv:
                    state = {"action": "freeze"}
                    await (await client.query("PUT", "/1.0/instances/c1/state", body=state)).wait()
        print(daemon.directory, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
""".replace("{C1}", repr(C1))
"""A program that owns a daemon until its standard input ends; ``start``: with a container; ``freeze``: a frozen one."""


async def do(client: Client, method: str, path: str, body: Any = None) -> Any:
    answer = await client.query(method, path, body=body)
    return await answer.wait() if isinstance(answer, Operation) else answer


class Traces:
    """What there is of one daemon on this machine; made while it runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cgroups = [Path(line) for line in (directory / "owner").read_text().splitlines()[1:]]

    def processes(self) -> list[str]:
        found: list[str] = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.cgroups[0].name in (process / "cgroup").read_text():
                    found.append(f"{process.name} {(process / 'comm').read_text().strip()}")
            except (FileNotFoundError, ProcessLookupError):
                pass
        return found

    def names(self) -> set[str]:
        return {process.split()[1] for process in self.processes()}

    def environments(self) -> list[str]:
        return [Path("/proc", process.split()[0], "environ").read_text() for process in self.processes()]

    def __call__(self) -> list[str]:
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.directory) in line]
        loops = [file.read_text() for file in Path("/sys/block").glob("loop*/loop/backing_file")]
        return [
            *self.processes(),
            *mounts,
            *(loop for loop in loops if str(self.directory) in loop),
            *(str(path) for path in (*self.cgroups, self.directory) if path.exists()),
        ]


def there(path: str | Path) -> bool:
    return os.path.lexists(path)


def counts_memory() -> bool:
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    return "memory" in unified.read_text() if unified.exists() else there("/sys/fs/cgroup/memory")


def links() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def content(folder: Path) -> set[tuple[str, int, int]]:
    """All files of a folder, with what a change of theirs would change."""
    paths = [os.path.join(directory, name) for directory, *names in os.walk(folder) for name in sum(names, ["."])]
    return {(path, (found := os.lstat(path)).st_mtime_ns, found.st_ino) for path in paths}


def routes(daemon: Daemon) -> list[str]:
    """The devices of all routes in a daemon's network."""
    assert daemon._namespaces is not None
    network = Path(f"/proc/{daemon._namespaces.pid}/net")
    ipv4, ipv6 = ((network / name).read_text().splitlines() for name in ("route", "ipv6_route"))
    return [line.split()[0] for line in ipv4[1:]] + [line.split()[-1] for line in ipv6]


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
async def daemon() -> AsyncIterator[Daemon]:
    async with Daemon() as daemon:
        yield daemon


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files of the test's own, with a short path, which containers can pass."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


@pytest.mark.parametrize("kind", ["unix", "https"])
async def test_it_is_set_up(daemon: Daemon, kind: Literal["unix", "https"]) -> None:
    async with daemon.client(kind) as client:
        assert (await client.query("GET", "/1.0"))["auth"] == "trusted"
        assert (await client.query("GET", "/1.0/storage-pools/default"))["driver"] == "dir"
        profile = await client.query("GET", "/1.0/profiles/default")
        assert profile["devices"] == {"root": {"type": "disk", "path": "/", "pool": "default"}}
        image = (await client.query("GET", "/1.0/images/aliases/busybox"))["target"]
        assert image == hashlib.sha256(busybox_image(preflight()["busybox"])).hexdigest()


async def test_an_unknown_client_is_not_trusted(daemon: Daemon) -> None:
    async with Client(daemon.url, server_cert=daemon.certificate) as client:
        assert (await client.query("GET", "/1.0"))["auth"] == "untrusted"


async def test_two_run_side_by_side_and_end_alone(daemon: Daemon) -> None:
    async with Daemon() as other, other.client() as client, daemon.client() as survivor:
        await asyncio.gather(*(do(each, "POST", "/1.0/instances", C1) for each in (client, survivor)))
        assert other.url != daemon.url
        await other.close()
        try:
            assert (await survivor.query("GET", "/1.0/instances/c1/state"))["status"] == "Running"
        finally:
            await do(survivor, "PUT", "/1.0/instances/c1/state", {"action": "stop", "force": True})
            await do(survivor, "DELETE", "/1.0/instances/c1")


async def test_containers_get_limits_addresses_and_figures() -> None:
    async with Daemon() as daemon, daemon.client() as client:
        config = {"ipv4.address": "192.0.2.129/25", "ipv6.address": "none"}
        await do(client, "POST", "/1.0/networks", {"name": "br0", "config": config})
        devices = {"eth0": {"type": "nic", "network": "br0"}}
        limits = {"limits.cpu": "1", "limits.memory": "64MiB", "limits.processes": "100"}
        await do(client, "POST", "/1.0/instances", {**C1, "config": limits, "devices": devices})
        async with asyncio.timeout(60):
            while True:
                state = await client.query("GET", "/1.0/instances/c1/state")
                addresses = [each["address"] for each in state["network"]["eth0"]["addresses"]]
                if any(address.startswith("192.0.2.") for address in addresses):
                    break
                await asyncio.sleep(0.1)
        assert state["processes"] >= 1
        if counts_memory():
            assert state["memory"]["usage"] > 0
            assert state["memory"]["total"] == 64 * 1024 * 1024


async def test_it_sees_nothing_of_the_machines_network(daemon: Daemon) -> None:
    async with daemon.client() as client:
        assert await client.query("GET", "/1.0/networks") == ["/1.0/networks/lo"]


async def test_in_a_root_of_its_own_it_does_the_same_and_leaves_the_root_as_it_is() -> None:
    root = ROOTS["7.0.2"]
    assert root is not None
    files, before = content(root), links()
    async with Daemon(root=root) as daemon:
        traces = Traces(daemon.directory)
        for kind in ("unix", "https"):
            async with daemon.client(kind) as client:
                server = await client.query("GET", "/1.0")
                assert (server["environment"]["server_version"][:4], server["auth"]) == ("7.0.", "trusted")
        async with daemon.client() as client:
            config = {"ipv4.address": "192.0.2.129/25", "ipv6.address": "none"}
            await do(client, "POST", "/1.0/networks", {"name": "br0", "config": config})
            pool = {"name": "b", "driver": "btrfs", "config": {"size": "200MiB"}}
            await do(client, "POST", "/1.0/storage-pools", pool)
            devices = {"root": {"type": "disk", "path": "/", "pool": "b"}, "eth0": {"type": "nic", "network": "br0"}}
            await do(client, "POST", "/1.0/instances", {**C1, "devices": devices})
            while not await client.query("GET", "/1.0/networks/br0/leases"):
                await asyncio.sleep(0.1)
            pid = (await client.query("GET", "/1.0/instances/c1/state"))["pid"]
            await daemon.restart()
        async with daemon.client("https") as client:
            assert (await client.query("GET", "/1.0/instances/c1/state"))["pid"] == pid
        await eventually(lambda: {"incusd", "dnsmasq", "init"} <= traces.names())  # dnsmasq was started again
        await daemon.kill()
        assert traces.processes() == []
        await daemon.restart()
        async with daemon.client("https") as client:
            assert (await client.query("GET", "/1.0/instances/c1/state"))["status"] == "Running"
    assert traces() == []
    assert content(root) == files
    assert links() == before


async def test_a_root_without_incus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnavailableError, match=f"no incusd .in {tmp_path}: make it with scripts/install-incus-7"):
        await Daemon(root=tmp_path).start()


async def copy_image(source: Daemon, target: Daemon) -> None:
    """Have a daemon get the only image of another from it."""
    async with source.client() as sender, target.client("https") as receiver:
        (path,) = await sender.query("GET", "/1.0/images")
        await do(sender, "PATCH", path, {"public": True})
        if await receiver.query("GET", "/1.0/images"):
            await do(receiver, "DELETE", path)
        pull = {"type": "image", "mode": "pull", "protocol": "incus", "fingerprint": path.rpartition("/")[2]}
        pull |= {"server": source.address, "certificate": source.certificate.read_text()}
        await do(receiver, "POST", "/1.0/images", {"source": pull})
        assert await receiver.query("GET", "/1.0/images") == [path]


async def test_daemons_beside_each_other_are_reached_by_their_addresses_and_nothing_else_is() -> None:
    async with (
        Daemon() as one,
        Daemon(root=ROOTS["7.0.2"], beside=one, image=False) as two,
        Daemon(root=ROOTS["7.0.2"], beside=two, image=False) as three,
    ):
        daemons = (one, two, three)
        assert [daemon.address for daemon in daemons] == [f"https://127.0.0.{n}:8443" for n in (1, 2, 3)]
        assert len({daemon.url for daemon in daemons}) == 3
        for daemon in daemons:
            assert set(routes(daemon)) <= {"lo"}
        for source, target in ((one, two), (two, three), (three, one)):
            await target.restart()
            await copy_image(source, target)
        await one.close()
        await copy_image(two, three)
        assert set(routes(two)) <= {"lo"}
        with pytest.raises(RuntimeError, match="not running"):
            await Daemon(beside=one).start()


async def test_a_member_of_a_cluster_shows_its_certificate_and_can_be_started_again() -> None:
    async with Daemon(image=False) as daemon:
        own = daemon.certificate.read_text()
        async with daemon.client() as client:
            await do(client, "PUT", "/1.0/cluster", {"server_name": "one", "enabled": True})
        for lost_power in (False, True):
            if lost_power:
                await daemon.kill()
            await daemon.restart()
            async with daemon.client("https") as client:
                (member,) = await client.query("GET", "/1.0/cluster/members", query={"recursion": 1})
                assert (member["url"], member["status"]) == (daemon.address, "Online")
        assert daemon.certificate.read_text() != own


async def test_it_inherits_nothing_that_could_lead_it_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INCUS_DIR", "INCUS_SOCKET", "LISTEN_PID", "LISTEN_FDS", "https_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "/nowhere")
    async with Daemon(image=False) as daemon:
        environments = Traces(daemon.directory).environments()
    assert environments
    assert not any("/nowhere" in environment for environment in environments)


@pytest.mark.parametrize("root", ROOTS.values(), ids=list(ROOTS))
async def test_on_btrfs_a_disk_has_a_size_and_nothing_is_left(root: Path | None) -> None:
    async with Daemon(storage="btrfs", root=root) as daemon:
        traces = Traces(daemon.directory)
        async with daemon.client() as client:
            devices = {"root": {"type": "disk", "path": "/", "pool": "default", "size": "16MiB"}}
            box = await client.instances.launch("busybox", "c1", devices=devices)
            full = await box.run(["sh", "-c", "dd if=/dev/zero of=/full bs=1M count=20; rm /full"], text=True)
            assert "Disk quota exceeded" in full.stderr
        assert any("default.img" in trace for trace in traces())
        await daemon.kill()
        await daemon.restart()
        async with daemon.client() as client:
            assert (await client.storage_pools.get("default")).driver == "btrfs"
            assert (await client.instances["c1"].run(["true"])).returncode == 0
    await eventually(lambda: traces() == [])


async def test_a_driver_that_the_machine_lacks_is_named() -> None:
    with pytest.raises(DaemonUnavailableError, match="has no zfs here: POST"):
        await Daemon(image=False, storage="zfs").start()  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_close_leaves_nothing() -> None:
    before = links()
    async with Daemon() as daemon:
        traces = Traces(daemon.directory)
        async with daemon.client() as client:
            network = {"name": "br0", "config": {"ipv4.address": "192.0.2.129/25", "ipv6.address": "none"}}
            await do(client, "POST", "/1.0/networks", network)
            await do(
                client, "POST", "/1.0/storage-pools", {"name": "b", "driver": "btrfs", "config": {"size": "200MiB"}}
            )
            await do(client, "POST", "/1.0/instances", C1)
        await eventually(lambda: {"incusd", "dnsmasq", "init"} <= traces.names())
        assert any("b.img" in trace for trace in traces())
    assert traces() == []
    assert links() == before
    await daemon.close()
    with pytest.raises(RuntimeError, match="context manager"):
        _ = daemon.url


async def test_the_end_of_a_killed_owner_is_the_end_of_all_and_the_next_start_removes_the_rest(
    temporary: Path,
) -> None:
    environment = {**os.environ, "TMPDIR": str(temporary)}  # where no daemon of other tests looks for what is left
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, "start", stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert owner.stdout is not None
    traces = Traces(Path((await owner.stdout.readline()).decode().strip()))
    assert any("init" in process for process in traces.processes())
    owner.kill()
    await owner.wait()
    await eventually(lambda: not traces.processes())
    assert traces.directory.exists()
    async with Daemon(image=False):
        assert traces() == []


async def test_a_daemon_of_another_owner_is_left_alone(daemon: Daemon) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    directory = Path((await owner.stdout.readline()).decode().strip())
    async with Daemon(image=False):
        for alive in (directory, daemon.directory):
            async with Client(str(alive / "unix.socket")) as client:
                assert await client.query("GET", "/1.0/images")
    owner.stdin.close()
    assert await owner.wait() == 0
    assert not there(directory)


def test_a_sweep_takes_only_what_it_knows(temporary: Path) -> None:
    abandoned, halfway, foreign, held = (temporary / f"incus-sdk-{n}" for n in ("abandoned", "half", "foreign", "held"))
    for directory in (abandoned, halfway, foreign, held):
        (directory / "sub").mkdir(parents=True)
    for directory in (abandoned, held):
        (directory / "owner").write_text(_host._MARK)
    (halfway / "owner").touch()
    (foreign / "owner").write_text("somebody else")
    lock = os.open(held / "owner", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    _host.sweep()
    assert set(temporary.iterdir()) == {halfway, foreign, held}
    os.close(lock)


NOBODY = 65534


@pytest.fixture
def shared(temporary: Path) -> Path:
    """A directory for temporary files that anybody may write to."""
    temporary.chmod(0o1777)
    return temporary


def as_nobody(work: Callable[[], None]) -> int:
    """Start a process of an unprivileged user, which ends with the work, or after a minute."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return child


def in_time(work: Callable[[], object]) -> None:
    """Do it in a thread that may not end."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert errors == []


def test_what_others_put_where_a_sweep_looks_neither_stops_nor_misleads_it(shared: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "sub").mkdir(parents=True)
    (mine / "owner").write_text(_host._MARK)
    linked = shared / "elsewhere"
    (linked / "sub").mkdir(parents=True)
    (linked / "owner").write_text(_host._MARK)
    loose = shared / "incus-sdk-loose"  # anybody can write to it
    loose.mkdir()
    loose.chmod(0o777)
    (loose / "owner").write_text(_host._MARK)
    (loose / "sub").mkdir()

    def attack() -> None:
        for name in ("fifo", "marked", "folder", "link"):
            (shared / f"incus-sdk-{name}").mkdir()
        os.mkfifo(shared / "incus-sdk-fifo" / "owner")
        (shared / "incus-sdk-marked" / "owner").write_text(_host._MARK)
        (shared / "incus-sdk-folder" / "owner").mkdir()
        (shared / "incus-sdk-link" / "owner").symlink_to(mine / "owner")
        (shared / "incus-sdk-other").symlink_to(linked)
        (shared / "incus-sdk-mine").symlink_to(mine)
        (shared / "incus-sdk-file").touch()
        os.mkfifo(shared / "incus-sdk-pipe")

    assert os.waitpid(as_nobody(attack), 0)[1] == 0
    before = sorted(shared.rglob("*"))
    in_time(_host.sweep)
    assert sorted(shared.rglob("*")) == before
    assert (mine / "sub").exists()
    fifo = shared / "incus-sdk-own"  # even where it is in a directory of one's own
    fifo.mkdir()
    os.mkfifo(fifo / "owner")
    in_time(_host.sweep)
    assert there(fifo)


def test_a_sweep_leaves_cgroups_alone_that_are_no_daemons(temporary: Path) -> None:
    for number, path in enumerate(
        (temporary / "incus-sdk-x", _host._CGROUPS, _host._CGROUPS / "x/../../etc/incus-sdk-x")
    ):
        directory = temporary / f"incus-sdk-{number}"
        directory.mkdir()
        (directory / "owner").write_text(f"{_host._MARK}\n{path}")
        _host.sweep()
        assert there(directory)


def test_a_link_that_is_flipped_while_a_sweep_works_leads_it_to_nothing(shared: Path) -> None:
    victim, dead = shared / "victim", shared / "dead"
    flipping, prepared = shared / "incus-sdk-flip", shared / "prepared"
    victim.mkdir(0o700)
    (victim / "precious").mkdir()
    (victim / "file").touch()

    def attack() -> None:
        while True:
            for target in (dead, victim):
                prepared.symlink_to(target)
                prepared.rename(flipping)

    def rounds() -> None:
        while not there(flipping):
            pass
        for _ in range(2000):
            (dead / "sub").mkdir(parents=True, exist_ok=True)
            (dead / "owner").write_text(_host._MARK)
            _host.sweep()

    attacker = as_nobody(attack)
    try:
        in_time(rounds)
        assert sorted(path.name for path in victim.iterdir()) == ["file", "precious"]
        assert os.waitpid(attacker, os.WNOHANG) == (0, 0)
    finally:
        os.kill(attacker, signal.SIGKILL)
        os.waitpid(attacker, 0)


@pytest.mark.parametrize("root", ROOTS.values(), ids=list(ROOTS))
async def test_a_frozen_instance_ends_with_its_daemon(root: Path | None) -> None:
    async with Daemon(root=root) as daemon, daemon.client() as client:
        traces = Traces(daemon.directory)
        await do(client, "POST", "/1.0/instances", C1)
        await do(client, "PUT", "/1.0/instances/c1/state", {"action": "freeze"})
        assert (await client.query("GET", "/1.0/instances/c1"))["status"] == "Frozen"
        async with asyncio.timeout(30):
            await daemon.kill()
        assert traces.processes() == []
    assert traces() == []


async def test_what_a_killed_owner_left_frozen_is_thawed_and_removed_by_the_next_start(temporary: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, "start", "freeze"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert owner.stdout is not None
    traces = Traces(Path((await owner.stdout.readline()).decode().strip()))
    async with Daemon(image=False):  # of an owner that lives, everything is left as it is
        assert "init" in traces.names()
        frozen = [Path(path) for cgroup in traces.cgroups for path in cgroup.rglob("freezer.state")]
        assert not frozen or "FROZEN\n" in [path.read_text() for path in frozen]
        owner.kill()
        await owner.wait()
    async with asyncio.timeout(30), Daemon(image=False):
        assert traces() == []


@pytest.mark.parametrize(
    ("populated", "frozen", "freeze", "written"),
    [(0, 1, 0, [b"1", b"0"]), (1, 1, 1, []), (0, 1, 1, []), (1, 1, 0, []), (0, 0, 0, [])],
    ids=["stuck", "paused", "paused and empty", "going on", "ended"],
)
def test_only_a_container_whose_stop_is_stuck_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, populated: int, frozen: int, freeze: int, written: list[bytes]
) -> None:
    (tmp_path / "init.scope").mkdir()  # without these files
    container = tmp_path / "lxc.payload.c1"
    container.mkdir()
    (container / "cgroup.events").write_text(f"populated {populated}\nfrozen {frozen}\n")
    (container / "cgroup.freeze").write_text(f"{freeze}\n")
    contents: list[bytes] = []
    monkeypatch.setattr(_init, "write", lambda _, name, content: contents.append(content))
    unified = os.open(tmp_path, os.O_RDONLY)
    try:
        _init.release_stuck(unified)
    finally:
        os.close(unified)
    assert contents == written


async def test_a_directory_of_the_callers_choice(temporary: Path) -> None:
    directory = temporary / "a" / "incus"
    async with Daemon(directory=directory, image=False) as daemon:
        assert daemon.directory == directory
        assert daemon.socket.is_socket()
        with pytest.raises(DaemonUnavailableError, match="in use"):
            await Daemon(directory=directory).start()
    assert not there(directory)
    directory.mkdir()
    (directory / "owner").write_text(_host._MARK)  # an abandoned one
    async with Daemon(directory=directory, image=False):
        pass
    for unusable, message in (("/usr", "not empty"), ("/run/x", "inside /run"), ("/tmp/" + "x" * 60, "longer than")):
        with pytest.raises(DaemonUnavailableError, match=message):
            await Daemon(directory=unusable).start()
    assert not there("/run/x")


async def test_restart_keeps_addresses_instances_and_what_they_do() -> None:
    async with Daemon() as daemon:
        url = daemon.url
        async with daemon.client("https") as client:
            await do(client, "POST", "/1.0/instances", C1)
            pid = (await client.query("GET", "/1.0/instances/c1/state"))["pid"]
            await daemon.restart()
        assert daemon.url == url
        async with daemon.client("https") as client:
            assert (await client.query("GET", "/1.0/instances/c1/state"))["pid"] == pid
            operation = await client.query("POST", "/1.0/instances/c1/exec", body={"command": ["sleep", "99"]})
            await daemon.restart()
            with pytest.raises(IncusError):
                await operation.wait()


async def test_kill_refuses_connections_and_restart_is_as_after_a_power_cut() -> None:
    async with Daemon() as daemon:
        traces, port = Traces(daemon.directory), int(daemon.url.rpartition(":")[2])
        async with daemon.client() as client:
            await do(client, "POST", "/1.0/instances", C1)
        await daemon.kill()
        await daemon.kill()
        assert traces.processes() == []
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with pytest.raises(IncusConnectionError):
            async with daemon.client():
                pass
        await daemon.restart()
        async with daemon.client("https") as client:
            assert (await client.query("GET", "/1.0"))["environment"]["addresses"] == [f"127.0.0.1:{port}"]
            assert (await client.query("GET", "/1.0/instances/c1/state"))["status"] == "Running"
        await daemon.kill()
    assert traces() == []


async def test_a_daemon_that_ends_by_itself_can_be_started_again() -> None:
    async with Daemon(image=False) as daemon:
        traces = Traces(daemon.directory)
        (incusd,) = [int(process.split()[0]) for process in traces.processes() if process.endswith(" incusd")]
        os.kill(incusd, signal.SIGKILL)
        await eventually(lambda: not traces.processes())
        await daemon.restart()
        async with daemon.client() as client:
            assert await client.query("GET", "/1.0/storage-pools")


@pytest.mark.parametrize("after", [0, 0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
async def test_a_cancelled_start_leaves_nothing(after: float, temporary: Path, cgroups: list[Path]) -> None:
    daemon = Daemon()
    start = asyncio.create_task(daemon.start())
    await asyncio.sleep(after)
    start.cancel()
    await asyncio.wait([start])
    if not start.cancelled():  # a fast machine
        await daemon.close()
    assert os.listdir(temporary) == []
    assert not any(cgroup.exists() for cgroup in cgroups)


@pytest.fixture
def cgroups(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The cgroups made meanwhile."""
    made: list[Path] = []
    make = _host._make_cgroup

    def noted(cgroup: Path) -> None:
        made.append(cgroup)
        make(cgroup)

    monkeypatch.setattr(_host, "_make_cgroup", noted)
    return made


async def test_a_failed_start_shows_the_log_and_leaves_nothing(
    tmp_path: Path, temporary: Path, cgroups: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "incusd", b"#!/bin/sh\necho the database is on fire >&2\nexit 1\n")
    monkeypatch.setattr(_host, "_PATH", (str(tmp_path),))
    with pytest.raises(DaemonUnavailableError, match="the database is on fire") as caught:
        await Daemon().start()
    assert caught.value.log == "the database is on fire"
    assert os.listdir(temporary) == []
    assert cgroups
    assert not any(cgroup.exists() for cgroup in cgroups)


async def test_any_threads_loop_will_do() -> None:
    async def elsewhere() -> int:
        async with Daemon(image=False) as daemon, daemon.client() as client:
            return len(await client.query("GET", "/1.0/storage-pools"))

    assert await asyncio.to_thread(asyncio.run, elsewhere()) == 1


async def test_nothing_that_blocks_is_done_in_the_loops_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def noted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            threads.append(threading.get_ident())
            return function(*arguments, **named)

        return call

    for owner, name in ((_host, "preflight"), (_host, "_remove"), (_daemon, "busybox_image"), (subprocess, "Popen")):
        monkeypatch.setattr(owner, name, noted(getattr(owner, name)))
    async with Daemon():
        pass
    assert len(threads) >= 5
    assert threading.get_ident() not in threads


def program(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


def elf(*segments: int) -> bytes:
    """The head of a program with segments of these types."""
    head = b"\x7fELF\x02" + bytes(27) + struct.pack("=Q", 64) + bytes(14) + struct.pack("=HH", 56, len(segments))
    return head.ljust(64, b"\0") + b"".join(struct.pack("=I", segment).ljust(56, b"\0") for segment in segments)


EVERYTHING = dict.fromkeys(_host._PROGRAMS, b"#!/bin/sh\n") | {"busybox": elf(1, 2)}


@pytest.mark.parametrize(
    ("programs", "settings", "messages"),
    [
        (EVERYTHING, {}, []),
        (EVERYTHING, {"system": "darwin"}, ["needs Linux, and this is darwin"]),
        (EVERYTHING, {"uid": 1000}, ["not root"]),
        (EVERYTHING, {"cgroups": Path("/nowhere")}, ["no cgroups to write to at /nowhere"]),
        (EVERYTHING | {"busybox": elf(1, 3)}, {}, ["no busybox (a static one"]),
        (EVERYTHING | {"busybox": elf(1, 3)}, {"image": False}, []),
        (EVERYTHING | {"busybox": b"#!/bin/sh\n"}, {}, ["no busybox"]),
        (EVERYTHING, {"storage": "btrfs"}, ["no mkfs.btrfs (install btrfs-progs)"]),
        (EVERYTHING | {"mkfs.btrfs": b""}, {"storage": "btrfs"}, []),
        (EVERYTHING, {"storage": "btrfs", "root": Path("/nowhere")}, ["no mkfs.btrfs (in /nowhere: make it with"]),
        ({}, {"uid": 1000}, ["not root", *(f"no {name} (" for name in _host._PROGRAMS)]),
    ],
)
def test_preflight_tells_all_that_is_missing(
    programs: dict[str, bytes], settings: dict[str, Any], messages: list[str], tmp_path: Path
) -> None:
    for name, content in programs.items():
        program(tmp_path / name, content)
    settings = {"uid": 0, "path": str(tmp_path), **settings}
    if messages:
        with pytest.raises(DaemonUnavailableError) as caught:
            preflight(**settings)
        assert all(message in str(caught.value) for message in messages)
    else:
        found = preflight(**settings)
        assert found["incusd"] == str(tmp_path / "incusd")


def test_the_image_is_always_the_same_and_complete() -> None:
    busybox = preflight()["busybox"]
    image = busybox_image(busybox)
    assert image == busybox_image(busybox)
    with tarfile.open(fileobj=io.BytesIO(image)) as tar:
        assert tar.getmember("rootfs/bin/sh").linkname == "/bin/busybox"
        assert tar.getmember("rootfs/sbin/init").isfile()
        assert tar.getmember("rootfs/tmp").mode == 0o1777
        assert not any(member.mtime or member.uid or member.gid for member in tar)
