"""Remote paths, push and pull against the real daemon, over both transports."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import shutil
import socket
import stat
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusConflictError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusPermissionError,
    IncusUnsupportedError,
    Instance,
    Progress,
)
from incus_sdk.files import RemotePath, _trees
from incus_sdk.files._sftp import FileStat, Sftp
from incus_sdk.files._trees import RemoteTree, Transfer
from incus_sdk.testing import Daemon
from tests.live.boxes import gnu_tar
from tests.live.latency import delayed

MB = 1024 * 1024


@pytest.fixture
def box(kept_box: Instance) -> Instance:
    """One box for the tests of this file."""
    return kept_box


def at(box: Instance, path: str) -> RemotePath:
    return box.path(path)


async def shell(box: Instance, script: str) -> str:
    """What a command inside says, so that not only the SDK is its own witness."""
    return (await box.run(["sh", "-ec", script], text=True, check=True)).stdout


Tree = dict[bytes, tuple[Any, ...]]


def tree_of(path: bytes) -> Tree:
    """All there is to a local tree: names, types, modes, owners, times, contents and links."""
    tree: Tree = {}

    def look(path: bytes, name: bytes) -> None:
        found = os.lstat(path)
        mode = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, int(found.st_mtime)
        if stat.S_ISLNK(found.st_mode):
            tree[name] = ("link", os.readlink(path))
        elif stat.S_ISDIR(found.st_mode):
            tree[name] = ("directory", *mode)
            for child in os.listdir(path):
                look(os.path.join(path, child), os.path.join(name, child))
        else:
            with open(path, "rb") as file:
                tree[name] = ("file", *mode, file.read())

    look(path, b"")
    return tree


# Single files


async def test_a_file_is_written_and_read(box: Instance) -> None:
    path = at(box, "/tmp/a b\n%?é")
    assert not await path.exists()
    assert await path.write_text("grüße\n") == 8
    assert await path.read_text() == "grüße\n"
    assert await path.write_bytes(b"\xff\0", mode=0o600, uid=1000, gid=1001) == 2
    assert await path.read_bytes() == b"\xff\0"
    assert await path.append(b"more") == 4
    assert await path.append(bytearray(b"!")) == 1
    assert await path.read_bytes() == b"\xff\0more!"
    assert await shell(box, "stat -c '%a %u %g %s' /tmp/a*") == "600 1000 1001 7\n"
    found = await path.stat()
    assert (found.type, found.mode, found.uid, found.gid, found.size) == ("file", 0o600, 1000, 1001, 7)
    await path.write_text("")  # who owned it still does
    assert await shell(box, "stat -c '%a %u %g %s' /tmp/a*") == "600 1000 1001 0\n"
    await (path.parent / "new").append(b"made")
    assert await (path.parent / "new").read_bytes() == b"made"


async def test_a_file_is_written_from_whatever_gives_bytes(box: Instance) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    path = at(box, "/tmp/f")
    for data, total in (
        (io.BytesIO(b"onetwo"), 6),
        ([b"one", b"two"], None),
        ((piece for piece in (b"one", b"two")), None),
        (pieces(), None),
        (b"onetwo", 6),
    ):
        seen: list[Progress] = []
        assert await path.write_bytes(data, progress=seen.append) == 6
        assert await path.read_bytes() == b"onetwo"
        assert (seen[-1].stage, seen[-1].processed, seen[-1].total) == ("upload", 6, total)
    assert await path.write_bytes(iter([])) == 0
    assert await path.read_bytes() == b""


async def test_files_of_proc_are_read_to_their_end(box: Instance) -> None:
    assert "Name:\tinit" in await at(box, "/proc/1/status").read_text()
    assert (await at(box, "/proc/1/status").stat()).size == 0
    assert len(await at(box, "/proc/kallsyms").read_bytes()) > 100_000


async def test_a_stream_is_read_in_pieces(box: Instance) -> None:
    content, path = os.urandom(300_000), at(box, "/tmp/f")
    async with path.open("wb") as file:
        for start in range(0, len(content), 7_000):
            assert await file.write(content[start : start + 7_000]) <= 7_000
    async with path.open() as reader:
        assert await reader.read(10) == content[:10]
        assert await reader.read(0) == b""
        assert await reader.read(100_000) == content[10:100_010]
        pieces = [piece async for piece in reader]
        assert b"".join(pieces) == content[100_010:]
        assert len(pieces) > 1
        assert await reader.read() == b""
    async with path.open("rb") as reader:
        assert await reader.read() == content
    with pytest.raises(IncusConflictError):
        async with path.open("xb") as file:
            pass
    async with (path.parent / "g").open("xb") as file:
        await file.write(b"x")
    with pytest.raises(IncusInputError):
        await path.write_bytes("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_stream_that_breaks_leaves_no_file(box: Instance) -> None:
    class BrokenError(Exception):
        pass

    async def write(path: RemotePath) -> None:
        async with path.open("wb") as file:
            await file.write(b"x" * MB)
            raise BrokenError

    for mode in ("new", "old"):
        if mode == "old":
            await at(box, "/tmp/f").write_text("old")
        with pytest.raises(BrokenError):
            await write(at(box, "/tmp/f"))
        assert await at(box, "/tmp/f").exists() == (mode == "old")


async def test_verbs_do_what_those_of_pathlib_do(box: Instance) -> None:
    async with at(box, "/tmp").connected() as tmp:
        directory = tmp / "d" / "e" / "f"
        with pytest.raises(IncusNotFoundError):
            await directory.mkdir()
        await directory.mkdir(0o2750, parents=True, uid=7, gid=8)
        await directory.mkdir(parents=True, exist_ok=True)
        with pytest.raises(IncusConflictError):
            await directory.mkdir()
        assert await shell(box, "stat -c '%a %u %g' /tmp/d /tmp/d/e/f") == "755 7 8\n2750 7 8\n"

        file = directory / "file"
        await file.touch(0o4711)
        assert ((await file.stat()).mode, (await file.stat()).size) == (0o4711, 0)
        await shell(box, "touch -d @5 /tmp/d/e/f/file")
        assert (await file.stat()).mtime == 5
        await file.touch()
        assert (await file.stat()).mtime > 1_000_000_000
        with pytest.raises(IncusConflictError):
            await file.touch(exist_ok=False)
        await file.chmod(0o1640)
        await file.chown(gid=5)
        await file.chown(uid=6)
        assert await shell(box, "stat -c '%a %u %g' /tmp/d/e/f/file") == "1640 6 5\n"

        link, dangling = tmp / "link", tmp / "dangling"
        await link.symlink_to("d//e/./f")
        await dangling.symlink_to(tmp / "nowhere")
        assert (await link.readlink(), await dangling.readlink()) == ("d//e/./f", "/tmp/nowhere")
        with pytest.raises(IncusConflictError):
            await link.symlink_to("again")
        for nothing in ("", "a\0b", "\ud800"):
            with pytest.raises(IncusInputError):
                await (tmp / "x").symlink_to(nothing)
        assert await link.is_dir()
        assert await link.is_symlink()
        assert (await link.stat()).type == "directory"
        assert (await link.lstat()).type == "symlink"
        assert not await dangling.exists()
        assert await dangling.exists(follow_symlinks=False)
        assert await dangling.is_symlink()
        assert not await (file / "below").exists()
        assert (await file.is_file(), await file.is_dir(), await directory.is_file()) == (True, False, False)
        assert await (link / "file").is_file()

        assert sorted([path async for path in tmp.iterdir()]) == sorted([dangling, link, tmp / "d"])
        seen = [(str(path), directories, sorted(files)) async for path, directories, files in tmp.walk()]
        assert seen == [
            ("/tmp", ["d"], ["dangling", "link"]),
            ("/tmp/d", ["e"], []),
            ("/tmp/d/e", ["f"], []),
            ("/tmp/d/e/f", [], ["file"]),
        ]

        await (tmp / "other").write_text("other")
        assert await file.rename(tmp / "other") == tmp / "other"
        assert (await (tmp / "other").stat()).size == 0
        assert await (tmp / "other").rename("/tmp/file") == tmp / "file"
        with pytest.raises(IncusInputError):
            await (tmp / "file").rename("elsewhere")
        with pytest.raises(IncusInputError):
            await (tmp / "file").rename(RemotePath(box._scope, ("instances", "other"), "/tmp/x"))

        for refused in (directory.unlink(), (tmp / "file").rmdir(), link.rmtree(), link.rmdir()):
            with pytest.raises(IncusAPIError):
                await refused
        with pytest.raises(IncusConflictError):
            await (tmp / "d").rmdir()
        await directory.rmdir()
        await link.unlink()
        with pytest.raises(IncusNotFoundError):
            await link.unlink()
        await link.unlink(missing_ok=True)
        await (tmp / "d").rmtree()
        with pytest.raises(IncusNotFoundError):
            await (tmp / "d").rmtree()
        await (tmp / "d").rmtree(missing_ok=True)
        assert await shell(box, "ls -A /tmp") == "dangling\nfile\n"


async def test_rmtree_follows_no_link(box: Instance) -> None:
    await shell(
        box, "mkdir -p /tmp/out /tmp/t/a/b && touch /tmp/out/kept && ln -s /tmp/out /tmp/t/a/b/l && mkfifo /tmp/t/p"
    )
    await at(box, "/tmp/t").rmtree()
    assert await shell(box, "find /tmp -type f -o -name t") == "/tmp/out/kept\n"


Verb = Callable[[RemotePath], Awaitable[object]]
MISSING: dict[str, Verb] = {
    "read_bytes": lambda path: path.read_bytes(),
    "stat": lambda path: path.stat(),
    "lstat": lambda path: path.lstat(),
    "chmod": lambda path: path.chmod(0o600),
    "chown": lambda path: path.chown(1, 1),
    "chown one": lambda path: path.chown(1),
    "readlink": lambda path: path.readlink(),
    "rename": lambda path: path.rename("/tmp/x"),
    "unlink": lambda path: path.unlink(),
    "rmdir": lambda path: path.rmdir(),
    "rmtree": lambda path: path.rmtree(),
    "iterdir": lambda path: anext(path.iterdir()),
    "walk": lambda path: anext(path.walk()),
    "pull": lambda path: path.pull("/nowhere"),
    "write into": lambda path: (path / "x").write_bytes(b""),
    "mkdir in": lambda path: (path / "x").mkdir(),
    "link in": lambda path: (path / "x").symlink_to("y"),
}


async def test_remove_removes_whatever_is_there(box: Instance) -> None:
    await shell(box, "mkdir -p /t/d/e /t/empty; echo kept >/f; ln -s /f /t/l; ln -s /nowhere /t/broken; mkfifo /t/p")
    for name in ("l", "broken", "p", "empty"):
        await at(box, f"/t/{name}").remove()
    assert await shell(box, "cat /f; ls -A /t") == "kept\nd\n"
    with pytest.raises(IncusConflictError, match="recursive=True"):
        await at(box, "/t").remove()
    await at(box, "/t").remove(recursive=True)
    with pytest.raises(IncusNotFoundError):
        await at(box, "/t").remove(recursive=True)
    await at(box, "/t").remove(missing_ok=True)
    async with at(box, "/f").connected() as file:
        await file.remove(recursive=True)
        assert not await file.exists()


async def test_a_file_is_read_up_to_a_limit(box: Instance) -> None:
    await at(box, "/f").write_text("four")
    assert await at(box, "/f").read_bytes(limit=4) == b"four"
    with pytest.raises(IncusAPIError, match="more than 3 bytes"):
        await at(box, "/f").read_text(limit=3)
    with pytest.raises(IncusAPIError, match="more than 1000000 bytes"):
        await at(box, "/proc/kallsyms").read_bytes(limit=1_000_000)


async def test_what_is_missing_is_not_found_and_named(box: Instance) -> None:
    for name, verb in MISSING.items():
        with pytest.raises(IncusNotFoundError) as caught:
            await verb(at(box, "/tmp/missing"))
        assert "/tmp/missing" in str(caught.value), name
        assert f"instances/{box.name}" in str(caught.value), name


async def test_an_instance_that_is_missing_is_not_a_missing_file(client: Client) -> None:
    with pytest.raises(IncusNotFoundError):
        await at(client.instances["missing"], "/etc").exists()
    with pytest.raises(IncusNotFoundError):
        await at(client.instances["missing"], "/etc").unlink(missing_ok=True)


async def test_errors_say_what_the_system_said(box: Instance) -> None:
    with pytest.raises(IncusPermissionError, match=r"remove /proc"):
        await at(box, "/proc/1/status").unlink()
    with pytest.raises(IncusAPIError, match="not a directory") as caught:
        await at(box, "/etc/passwd/x").write_text("")
    assert "\n" not in str(caught.value)
    with pytest.raises(IncusAPIError, match="is of type directory, not file"):
        await at(box, "/etc").read_bytes()
    with pytest.raises(IncusAPIError, match="not a directory"):
        await anext(at(box, "/etc/passwd").iterdir())
    with pytest.raises(IncusAPIError, match="invalid argument"):
        await at(box, "/etc/passwd").readlink()
    with pytest.raises(IncusInputError, match="mode"):
        await at(box, "/etc/passwd").chmod(-1)


async def test_special_files_are_not_opened(box: Instance) -> None:
    await shell(box, "mkfifo /tmp/fifo")
    async with asyncio.timeout(60):
        for path in ("/tmp/fifo", "/dev/zero"):
            with pytest.raises(IncusAPIError, match="not file"):
                await at(box, path).read_bytes()
            with pytest.raises(IncusAPIError, match="not file"):
                await at(box, path).write_bytes(b"")
        assert (await at(box, "/tmp/fifo").stat()).type == "fifo"
        assert (await at(box, "/dev/zero").stat()).type == "char"


async def test_a_stopped_instance_has_its_files(box: Instance, tmp_path: Path) -> None:
    await box.stop(force=True, wait=True)
    await at(box, "/root/f").write_text("x")
    assert await at(box, "/root/f").read_text() == "x"
    await at(box, "/etc").pull(tmp_path / "etc")
    assert (tmp_path / "etc" / "passwd").exists()


async def test_one_connection_serves_many_verbs_at_once(box: Instance) -> None:
    async with at(box, "/").connected() as root:
        await asyncio.gather(*((root / "tmp" / str(n)).write_text(str(n) * n) for n in range(100)))
        texts = await asyncio.gather(*((root / "tmp" / str(n)).read_text() for n in range(100)))
        assert texts == [str(n) * n for n in range(100)]
    with pytest.raises(IncusConnectionError):  # it is closed
        await root.exists()


async def test_a_cancelled_verb_does_not_disturb_the_others(box: Instance) -> None:
    await at(box, "/tmp/f").write_bytes(b"x" * 3 * MB)
    async with at(box, "/tmp/f").connected() as path:
        for _ in range(20):
            reading = asyncio.ensure_future(path.read_bytes())
            await asyncio.sleep(0.001)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        assert len(await path.read_bytes()) == 3 * MB


async def test_a_connection_that_breaks_is_an_error_for_all_who_wait(box: Instance) -> None:
    await at(box, "/tmp/f").write_bytes(b"x" * 3 * MB)
    async with Sftp(box._scope, box._path) as sftp:
        path = RemotePath(box._scope, box._path, "/tmp/f", sftp=sftp)
        reading = [asyncio.ensure_future(path.read_bytes()) for _ in range(3)]
        await path.stat()
        sftp._writer.transport.abort()
        for outcome in await asyncio.gather(*reading, return_exceptions=True):
            assert isinstance(outcome, IncusConnectionError)
        with pytest.raises(IncusConnectionError):
            await path.stat()


# Trees


@pytest.fixture(params=["sftp", "busybox", "gnu"])
async def way(box: Instance, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the small files of a tree go: over SFTP, or in small batches by busybox' tar or by GNU's."""
    way: str = request.param
    monkeypatch.setattr(_trees, "_FEW", 2**63 if way == "sftp" else 1)
    monkeypatch.setattr(_trees, "_BATCH_FILES", 3)
    if way == "gnu":
        await gnu_tar(box)
    return way


NAMES = st.binary(min_size=1, max_size=30).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b".."))
MODES = st.integers(0, 0o7777)
TIMES = st.integers(0, 2**31)
OWNERS = st.sampled_from([0, 1, 1000, 65534])
LEAVES = st.one_of(
    st.tuples(st.just("file"), MODES, OWNERS, TIMES, st.binary(max_size=100_000)),
    st.tuples(st.just("link"), st.binary(min_size=1, max_size=300).filter(lambda target: 0 not in target)),
)
TREES: st.SearchStrategy[dict[bytes, Any]] = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=4),
    lambda below: st.dictionaries(
        NAMES, st.one_of(LEAVES, st.tuples(st.just("directory"), MODES, OWNERS, TIMES, below)), max_size=4
    ),
    max_leaves=12,
)


def make(path: bytes, tree: dict[bytes, Any]) -> None:
    for name, (kind, *what) in tree.items():
        child = os.path.join(path, name)
        if kind == "link":
            os.symlink(what[0], child)
            continue
        mode, owner, mtime, content = what
        if kind == "directory":
            os.mkdir(child)
            make(child, content)
        else:
            with open(child, "wb") as file:
                file.write(content)
        os.chown(child, owner, owner)
        os.chmod(child, mode)
        os.utime(child, (mtime, mtime))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(TREES)
async def test_a_tree_comes_back_as_it_was(box: Instance, way: str, tmp_path: Path, tree: dict[bytes, Any]) -> None:
    shutil.rmtree(tmp_path)
    (tmp_path / "there").mkdir(parents=True)
    make(bytes(tmp_path / "there"), tree)
    remote = at(box, "/var/t/ree")
    pushed = await remote.push(tmp_path / "there")
    pulled = await remote.pull(tmp_path / "and" / "back", owners=True)
    assert pushed == pulled
    assert tree_of(bytes(tmp_path / "and" / "back")) == tree_of(bytes(tmp_path / "there"))
    again = await remote.push(tmp_path / "there", skip_equal=True)
    assert (again.files, again.skipped, again.bytes) == (0, pushed.files, 0)
    # Over itself, and gone without a rest.
    assert await remote.push(tmp_path / "there") == pushed
    await at(box, "/var/t").rmtree()
    assert not await at(box, "/var/t").exists(follow_symlinks=False)


async def test_a_sparse_file_stays_sparse(box: Instance, way: str, tmp_path: Path) -> None:
    with (tmp_path / "disk").open("wb") as file:
        for position in (1_000_000, 30_000_000):
            file.seek(position)
            file.write(b"x" * 70_000)
        file.truncate(40_000_001)
    assert (await at(box, "/srv/disk").push(tmp_path / "disk")).bytes == 40_000_001
    assert int((await shell(box, "du -k /srv/disk")).split()[0]) < 1000
    await at(box, "/srv/disk").pull(tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "disk").read_bytes()
    assert (tmp_path / "back").stat().st_blocks * 512 < 1_000_000


async def test_another_name_of_somebodys_file_is_not_changed_but_replaced(
    box: Instance, way: str, tmp_path: Path
) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "file").write_text("1")
    (tmp_path / "t" / "file").chmod(0o666)
    await at(box, "/t").push(tmp_path / "t")
    await shell(box, "cp -p /t/file /own; chown 1000 /own; chmod 600 /own; ln -f /own /t/file")
    for skipped in (0, 1):
        assert (await at(box, "/t").push(tmp_path / "t", skip_equal=True)).skipped == skipped
        assert await shell(box, "stat -c '%a %u' /own /t/file") == "600 1000\n666 0\n"


async def test_the_instance_sees_what_was_pushed(box: Instance, way: str, tmp_path: Path) -> None:
    app = tmp_path / "app"
    (app / "sub" / "empty").mkdir(parents=True)
    (app / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (app / "run.sh").chmod(0o6755)
    os.chown(app / "run.sh", 1000, 1000)
    os.chmod(app / "run.sh", 0o6755)
    (app / "link").symlink_to("run.sh")
    (app / "dangling").symlink_to("/nowhere/at/all")
    os.mkfifo(app / "sub" / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(app / "socket"))
    seen: list[Progress] = []
    result = await at(box, "/srv/deep/app").push(app, progress=seen.append)
    assert result == Transfer(1, 3, 2, 19, 0, ("socket", "sub/fifo"))
    assert (seen[-1].item, seen[-1].files, seen[-1].total_files) == ("run.sh", 1, 1)
    assert (seen[-1].stage, seen[-1].percent, seen[-1].processed, seen[-1].total) == ("upload", 100, 19, 19)
    assert await shell(
        box, "cd /srv/deep/app; stat -c '%a %u %g' run.sh; ./link; readlink dangling; find . | sort"
    ) == ("6755 1000 1000\nran\n/nowhere/at/all\n.\n./dangling\n./link\n./run.sh\n./sub\n./sub/empty\n")
    await at(box, "/srv/deep/app").push(app, uid=5, gid=6)
    assert await shell(box, "cd /srv/deep/app; stat -c '%a %u %g' run.sh sub") == "6755 5 6\n755 5 6\n"


async def test_the_target_becomes_the_copy_whatever_was_there(box: Instance, way: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text("new")
    (source / "l").symlink_to("new")
    await shell(box, "mkdir -p /t/kept /u; echo old >/t/kept/f; ln -s /u /t/f; echo old >/t/l; echo old >/file")
    await at(box, "/t").push(source)
    assert await shell(box, "cat /t/kept/f /t/f; readlink /t/l; ls -A /u; ls -A /t") == "old\nnewnew\nf\nkept\nl\n"
    with pytest.raises(IncusConflictError, match="/file"):
        await at(box, "/file").push(source)
    with pytest.raises(IncusConflictError):
        await at(box, "/t/kept").push(source / "f")
    await shell(box, "ln -s /u /t/d")
    (source / "d").mkdir()
    with pytest.raises(IncusConflictError, match="/t/d"):
        await at(box, "/t").push(source)
    assert await shell(box, "ls -A /u; find / -xdev -name '.incus-*'") == ""

    (tmp_path / "t" / "l").mkdir(parents=True)
    with pytest.raises(OSError, match="/t/l"):
        await at(box, "/t").pull(tmp_path / "t")
    with pytest.raises(NotADirectoryError):
        await at(box, "/t").pull(source / "f")
    with pytest.raises(IsADirectoryError):
        await at(box, "/file").pull(source)
    assert not list(tmp_path.rglob(".incus-*"))


async def test_a_named_link_is_followed(box: Instance, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_text("x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").symlink_to("link/f")
    await at(box, "/t").push(tmp_path / "link")
    await at(box, "/f").push(str(tmp_path / "file"))
    await shell(box, "ln -s t /link; ln -s link/f /file")
    assert (await at(box, "/link").pull(tmp_path / "back")).directories == 1
    await at(box, "/file").pull(tmp_path / "f")
    assert (tmp_path / "back" / "f").read_text() == (tmp_path / "f").read_text() == "x"
    await at(box, "/link").push(tmp_path / "real")
    assert await at(box, "/link").is_symlink()


async def test_links_are_followed_kept_or_left_out_as_asked(box: Instance, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d" / "f").write_text("x")
    (tree / "l").symlink_to("d")
    (tree / "m").symlink_to("d/f")
    (tmp_path / "named").symlink_to("tree")
    await at(box, "/kept").push(tmp_path / "named")
    assert await shell(box, "cd /kept; readlink l; readlink m; cat l/f") == "d\nd/f\nx"
    followed = await at(box, "/followed").push(tmp_path / "named", follow_symlinks=True)
    assert followed == Transfer(3, 3, 0, 3, 0, ())
    assert await shell(box, "cd /followed; find . -type l; cat l/f m") == "xx"
    assert (await at(box, "/named").push(tmp_path / "named", follow_symlinks=False)).links == 1
    assert await at(box, "/named").readlink() == "tree"

    await shell(box, "ln -s kept /link")
    assert await at(box, "/link").pull(tmp_path / "a", follow_symlinks=True) == followed
    assert {path.name for path in (tmp_path / "a").rglob("*") if path.is_symlink()} == set()
    assert (await at(box, "/link").pull(tmp_path / "b", links="skip")).special == ("l", "m")
    assert sorted(str(path.relative_to(tmp_path / "b")) for path in (tmp_path / "b").rglob("*")) == ["d", "d/f"]
    await at(box, "/link").pull(tmp_path / "c", follow_symlinks=False)
    assert (tmp_path / "c").readlink() == Path("kept")
    assert (await at(box, "/link").pull(tmp_path / "e", follow_symlinks=False, links="skip")).special == ("",)
    assert not (tmp_path / "e").is_symlink()

    await shell(box, "ln -s . /kept/circle")
    with pytest.raises(IncusError, match="in a circle"):
        await at(box, "/kept").pull(tmp_path / "g", follow_symlinks=True)
    await shell(box, "ln -sfn nowhere /kept/circle")
    with pytest.raises(IncusError, match="/kept/circle is a link that leads nowhere"):
        await at(box, "/kept").pull(tmp_path / "g", follow_symlinks=True)


async def test_a_mode_and_an_owner_are_those_of_all_and_the_owner_that_of_what_is_above(
    box: Instance, way: str, tmp_path: Path
) -> None:
    (tmp_path / "t" / "d").mkdir(parents=True)
    (tmp_path / "t" / "d" / "f").write_text("x")
    (tmp_path / "t" / "l").symlink_to("d")
    await at(box, "/a/b/t").push(tmp_path / "t", mode=0o640, uid=5, gid=6)
    await at(box, "/a/c/f").push(tmp_path / "t" / "d" / "f", mode=0o4711, uid=7)
    assert await shell(box, "cd /a; stat -c '%a %u %g' . b b/t b/t/d b/t/d/f c c/f") == (
        "755 5 6\n755 5 6\n750 5 6\n750 5 6\n640 5 6\n755 7 0\n4711 7 0\n"
    )
    await at(box, "/a/e/f").mkdir(0o700, parents=True, uid=8, gid=9)
    assert await shell(box, "cd /a; stat -c '%a %u %g' e e/f") == "755 8 9\n700 8 9\n"


async def test_what_is_made_at_a_path_of_a_user_belongs_to_that_user(
    box: Instance, client: Client, tmp_path: Path
) -> None:
    await box.put_files("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\n")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "f").write_text("x")
    home = box.path("/home/ada", user="ada")
    await home.mkdir(parents=True)
    await (home / "text").write_text("x", mode=0o600)
    await (home / "of-root").write_text("x", uid=0, gid=0)
    await (home / "of-root").write_text("y")
    await (home / "log").append(b"x")
    await (home / "empty").touch()
    await home.joinpath("given").mkdir(gid=7)
    async with home.connected() as here:
        await (here / "tree").push(tmp_path / "t")
    await (box.path("/home", user=1000) / "ada" / "by-id").touch()
    assert await shell(box, "cd /home/ada; stat -c '%n %u %g' .. . *; stat -c '%n %u %g' tree/f") == (
        ".. 1000 1001\n. 1000 1001\nby-id 1000 1001\nempty 1000 1001\ngiven 1000 7\nlog 1000 1001\nof-root 0 0\n"
        "text 1000 1001\ntree 1000 1001\ntree/f 1000 1001\n"
    )
    for nobody in ("eve", 77):
        with pytest.raises(IncusInputError, match=f"has no {nobody!r}"):
            await box.path("/tmp/x", user=nobody).touch()
        assert not await box.path("/tmp/x").exists()
    with pytest.raises(IncusInputError, match="has no user 'ada'"):
        client.storage_pools["default"].volumes["custom/v"].path("/x", user="ada")


async def test_a_file_for_a_directory_is_refused_or_put_into_it(box: Instance, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "f").write_text("x")
    with pytest.raises(IncusConflictError, match="into=True"):
        await at(box, "/root/").push(tmp_path / "t" / "f")
    await at(box, "/root/").push(tmp_path / "t" / "f", into=True)
    await at(box, "/new").push(tmp_path / "t", into=True)
    await at(box, "/new").push(tmp_path / "t" / ".." / "t" / "f", into=True)
    with pytest.raises(IncusConflictError, match="/new/f"):
        await at(box, "/new/f").push(tmp_path / "t", into=True)
    assert await shell(box, "cat /root/f /new/t/f /new/f") == "xxx"
    with pytest.raises(IsADirectoryError, match="into=True"):
        await at(box, "/new/f").pull(tmp_path)
    await at(box, "/new/f").pull(tmp_path, into=True)
    await at(box, "/new").pull(tmp_path / "t", into=True)
    assert (tmp_path / "f").read_text() == (tmp_path / "t" / "new" / "t" / "f").read_text() == "x"
    with pytest.raises(IncusInputError, match="needs a name"):
        await at(box, "/").pull(tmp_path, into=True)


async def test_local_errors_are_those_of_the_system_and_name_the_file(box: Instance, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        await at(box, "/t").push(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises((NotADirectoryError, FileExistsError), match="file"):
        await at(box, "/etc").pull(tmp_path / "file" / "etc")


async def test_a_live_tree_is_pulled(box: Instance, way: str, tmp_path: Path) -> None:
    await shell(box, "mkfifo /etc/fifo")
    result = await at(box, "/etc").pull(tmp_path / "etc")
    assert result.special == ("fifo",)
    assert (tmp_path / "etc" / "passwd").read_text() == await at(box, "/etc/passwd").read_text()
    assert (await at(box, "/dev/zero").pull(tmp_path / "zero")).special == ("",)
    assert not (tmp_path / "zero").exists()
    with pytest.raises(IncusPermissionError, match="incus-mounts"):  # not even root inside may look there
        await at(box, "/dev").pull(tmp_path / "dev")


async def test_a_transfer_that_is_cancelled_leaves_no_part(box: Instance, tmp_path: Path) -> None:
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", 64 * MB)
    await at(box, "/dir").mkdir()
    reached = asyncio.Event()

    def halfway(update: Progress) -> None:
        if (update.processed or 0) > 4 * MB:
            reached.set()

    async def cancelled(transfer: Awaitable[object]) -> None:
        reached.clear()
        running = asyncio.ensure_future(transfer)
        await reached.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    remote, back = at(box, "/dir/big"), tmp_path / "back" / "big"
    await cancelled(remote.push(tmp_path / "big", progress=halfway))
    assert not await remote.exists()
    await remote.push(tmp_path / "big")
    await cancelled(remote.pull(back, progress=halfway))
    assert not list(back.parent.iterdir())
    assert await shell(box, "find / -xdev -name '.incus-*'") == ""


async def test_a_push_that_fails_leaves_no_part(box: Instance, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * MB * 3)

    def fail(update: Progress) -> None:
        raise ValueError(update.item)

    with pytest.raises(ValueError):
        await at(box, "/t/f").push(tmp_path / "f", progress=fail)
    assert await shell(box, "find /t") == "/t\n"


async def test_100_mib_come_back_equal_in_flat_memory(box: Instance, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    digest = hashlib.sha256()
    with there.open("wb") as file:
        for _ in range(100):
            piece = os.urandom(MB)
            digest.update(piece)
            file.write(piece)
    tracemalloc.start()
    try:
        await at(box, "/big").push(there)
        await at(box, "/big").pull(back)
        streamed = hashlib.sha256()
        async with at(box, "/big").open() as reader:
            async for piece in reader:
                streamed.update(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    with back.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == digest.digest() == streamed.digest()
    inside = await box.run(["sha256sum", "/big"], text=True, check=True)
    assert inside.stdout.split()[0] == digest.hexdigest()
    assert peak < 20 * MB


@pytest.mark.parametrize("kind", ["unix", "https"])
async def test_far_away_everything_is_slower_by_few_round_trips_only(
    daemon: Daemon, clean: None, name: str, kind: Any, tmp_path: Path
) -> None:
    (tmp_path / "t").mkdir()
    for n in range(100):
        (tmp_path / "t" / str(n)).write_bytes(os.urandom(n * 3000))
    async with daemon.client() as near:
        await near.instances.create(name, {"type": "image", "alias": "busybox"}, start=True, wait=True)
        try:
            async with delayed(daemon, 100, kind) as client:
                box = client.instances[name]
                clock = asyncio.get_running_loop().time
                begun = clock()
                assert await at(box, "/etc/hostname").read_text() == f"{name}\n"
                result = await at(box, "/t").push(tmp_path / "t")
                assert await at(box, "/t").pull(tmp_path / "u") == result
                assert tree_of(bytes(tmp_path / "u")) == tree_of(bytes(tmp_path / "t"))
                # One file after the other, each with all its requests, it would be more than 100 seconds.
                assert clock() - begun < 80
        finally:
            await near.instances[name].delete(wait=True, force=True)


async def test_a_project_has_its_own_files(client: Client, name: str) -> None:
    await client.projects.create(name, config={"features.images": "false", "features.profiles": "false"})
    try:
        inside = client.use_project(name)
        await inside.instances.create(name, {"type": "image", "alias": "busybox"}, wait=True)
        try:
            await at(inside.instances[name], "/f").write_text("x")
            assert await at(inside.instances[name], "/f").read_text() == "x"
            with pytest.raises(IncusNotFoundError):
                await at(client.instances[name], "/f").read_text()
        finally:
            await inside.instances.delete(name, wait=True)
    finally:
        await client.projects.delete(name)


async def test_what_is_private_is_so_from_its_first_byte_on(box: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    private, made = FileStat("file", 0o640, 1000, 1000, 0, 0), list[bytes]()
    real = Sftp.mkdir

    async def mkdir(self: Sftp, path: bytes) -> None:
        made.append(path)
        await real(self, path)

    monkeypatch.setattr(Sftp, "mkdir", mkdir)
    async with Sftp(box._scope, box._path) as sftp:
        tree = RemoteTree(sftp, b"/tmp")
        await tree.mkdir("d", private)
        assert b"/tmp/d" not in made, "who has opened a directory can list it for ever"
        assert await shell(box, "ls -A /tmp") == "d\n"
        async with tree.write("d/f", private) as write:
            await write(b"secret")
            assert await shell(box, "stat -c '%a %u' /tmp/d /tmp/d/.incus*; ls /tmp/d/.incus*") == "700 0\n700 0\nnew\n"
    assert await shell(box, "stat -c '%a %u' /tmp/d/f") == "640 1000\n"


async def test_volumes_have_files_where_the_server_serves_them(client: Client, name: str, tmp_path: Path) -> None:
    volumes = "/1.0/storage-pools/default/volumes/custom"
    await client.query("POST", volumes, body={"name": name})
    try:
        path = RemotePath(client._scope, ("storage-pools", "default", "volumes", "custom", name), "/")
        server = await client.get_server_info()
        if "custom_volume_sftp" not in server["metadata"]["api_extensions"]:  # as 6.0.4
            with pytest.raises(IncusUnsupportedError):
                await path.exists()
        else:
            await (path / "f").write_text("x")
            await path.pull(tmp_path / "v")
            assert (tmp_path / "v" / "f").read_text() == "x"
    finally:
        await client.query("DELETE", f"{volumes}/{name}")
