"""A program that uses the SDK over HTTPS, with what there is on Windows, and asserts what it gets.

Its arguments are the server's URL, the client's certificate and key, the server's certificate, and an empty directory.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from pathlib import Path

import pytest

import incus_sdk.sync
from incus_sdk import Client, Instance, LifecycleEvent

URL, CERT, KEY, SERVER_CERT, DIRECTORY = sys.argv[1:]
HERE = Path(DIRECTORY)
TREE = HERE / "tree"
ODD_NAMES = (r"a\b", r"..\..\a", "C:a", "a:stream", "nul", "Com1.txt", "a.", "a ")
NO_TERMINAL = r"shell\(\) and attach_console\(\) need a terminal of Linux or macOS"


def make_tree() -> None:
    (TREE / "deep").mkdir(parents=True)
    for number in range(30):  # so many that they go in batches
        (TREE / f"{number}").write_bytes(b"line\nline\n" * number)
    for name in ("comb", "null", "console.txt", "a.b"):  # almost odd
        (TREE / name).write_bytes(b"")
    (TREE / "large").write_bytes(b"line\r\n" * 50_000)
    (TREE / "deep" / "link").symlink_to("../large")
    for path in (TREE, *TREE.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)  # what Windows says of them


def contents(top: Path) -> dict[Path, object]:
    return {
        path.relative_to(top): path.readlink() if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in top.rglob("*")
    }


async def fails(error: type[Exception], match: str, work: Awaitable[object]) -> None:
    with pytest.raises(error, match=match):
        await work


async def use() -> None:
    client = Client(URL, cert=(CERT, KEY), server_cert=SERVER_CERT)
    async with client, client.events.listen(["lifecycle"]) as events:
        async with client.instances.temporary("busybox", "w1") as box:
            assert isinstance(await anext(aiter(events)), LifecycleEvent)
            await use_commands(box)
            await use_trees(box)
            await use_hostile_trees(box)
            await fails(incus_sdk.IncusInputError, NO_TERMINAL, box.shell())
            await fails(incus_sdk.IncusInputError, NO_TERMINAL, box.attach_console())
        image = await client.images.get("busybox")
        assert (await image.export(HERE / "image"))[0].stat().st_size > 1000
        async with await Client.join(await client.certificates.create_token("windows"), "prod") as joined:
            assert (await joined.get_server_info()).auth == "trusted"
    async with Client.from_remote("prod") as found:
        assert await found.instances.list() == []
    local = Client("/run/incus/unix.socket")
    await fails(incus_sdk.IncusConnectionError, "this system has no unix sockets; give the URL", local.connect())


async def use_commands(box: Instance) -> None:
    assert (await box.run(["cat"], input="in", user="root")).stdout == b"in"
    async with box.open_process(["cat"]) as process:
        process.stdin.write(b"a")
        assert await process.stdout.readexactly(1) == b"a"
        await process.kill()
        assert await process.wait() == 137


async def use_trees(box: Instance) -> None:
    remote, back, file = box.path("/root/tree"), HERE / "back", HERE / "file"
    pushed = await remote.push(TREE)
    assert (pushed.files, pushed.directories, pushed.links) == (35, 2, 1)
    assert (await remote.push(TREE, skip_equal=True)).skipped == 35
    modes = [(await (remote / name).stat()).mode for name in ("1", "large", "deep")]
    assert modes == [0o644, 0o644, 0o755]
    await remote.pull(back)
    assert contents(back) == contents(TREE)
    assert (await remote.pull(back, skip_equal=True)).skipped == 35
    assert (await remote.pull(back, skip_equal="content")).skipped == 35
    await remote.pull(back)  # in place of what is there
    assert contents(back) == contents(TREE)
    await (remote / "large").pull(file)
    assert file.read_bytes() == (TREE / "large").read_bytes()
    assert list(HERE.rglob(".*")) == []


async def use_hostile_trees(box: Instance) -> None:
    for name in ODD_NAMES:
        odd = box.path("/root/odd")
        await odd.mkdir()
        await (odd / name).write_text("")
        await fails(OSError, "this system cannot have such a name", odd.pull(HERE / "odd"))
        await odd.rmtree()
    elsewhere, led, remote = HERE / "elsewhere", HERE / "led", box.path("/root/led")
    elsewhere.mkdir()
    led.mkdir()
    (led / "deep").symlink_to(elsewhere)
    await (remote / "deep").mkdir(parents=True)
    await (remote / "deep" / "file").write_text("")
    await fails(OSError, "a link or a file of another type", remote.pull(led))
    assert list(elsewhere.iterdir()) == []
    await fails(incus_sdk.IncusInputError, "owners=True needs Linux or macOS", remote.pull(HERE / "owned", owners=True))


def use_the_twin() -> None:
    with (
        incus_sdk.sync.Client.from_remote("prod") as client,
        client.events.listen(["lifecycle"]) as events,
        client.instances.temporary("busybox", "w2") as box,
    ):
        assert isinstance(next(iter(events)), LifecycleEvent)
        assert box.run(["cat"], input="in").stdout == b"in"
        box.path("/root/tree").push(TREE)
        box.path("/root/tree").pull(HERE / "again")
        assert contents(HERE / "again") == contents(TREE)
        with pytest.raises(incus_sdk.IncusInputError, match=NO_TERMINAL):
            box.shell()


def use_daemons() -> None:
    sys.platform = "win32"  # only now: the interpreter's own modules ask for it, too
    from incus_sdk.sync.testing import Daemon as BlockingDaemon
    from incus_sdk.testing import Daemon, DaemonUnavailableError, preflight

    for start in (
        preflight,
        lambda: asyncio.run(Daemon().start()),
        BlockingDaemon().start,
    ):
        with pytest.raises(DaemonUnavailableError, match="a private Incus daemon needs Linux, and this is win32"):
            start()


def main() -> None:
    make_tree()
    asyncio.run(use())
    use_the_twin()
    use_daemons()
