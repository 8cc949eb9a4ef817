"""Small files of trees, moved by the instance's own tar: what it can do, cannot do, and must not be trusted with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import Client, IncusAPIError, Instance, Progress
from incus_sdk.files import _tar, _trees
from incus_sdk.files._tar import InstanceTar, Member
from incus_sdk.files._trees import RemoteTree
from tests.live.behaviour.test_files import at, shell, tree_of
from tests.live.boxes import gnu_tar

FILES = 50


@pytest.fixture
async def client(_watch: Client, clean: None) -> Client:
    """Over the unix socket alone: the ways over both are tested in `test_files`."""
    return _watch


@pytest.fixture
def box(kept_box: Instance) -> Instance:
    """One box for the tests of this file."""
    return kept_box


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree of small files, none of which is empty. Busybox packs no groups as large as theirs."""
    source = tmp_path / "source"
    for number in range(FILES):
        path = source / f"d {number % 3}\n" / f"{number}é".rjust(120, "x")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1 + 997 * number))
        os.chown(path, number, 2**24 + number)
        path.chmod(0o6000 + number)
        os.utime(path, (number, 10**9 + number))
    os.rename(source / "d 1\n" / "49é".rjust(120, "x"), bytes(source / "d 1\n") + b"/-\xff\\")
    return source


@pytest.fixture
def by_sftp(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are moved over SFTP."""
    moved: list[str] = []
    for verb in ("read", "write"):
        real = getattr(RemoteTree, verb)

        def noting(self: RemoteTree, path: str, *rest: Any, real: Callable[..., Any] = real) -> Any:
            moved.append(path)
            return real(self, path, *rest)

        monkeypatch.setattr(RemoteTree, verb, noting)
    return moved


async def leftovers(box: Instance) -> str:
    """What a transfer left in an instance: its own files, and its commands."""
    return await shell(box, "find / -xdev -name '.incus-*'; ps | grep -w '[t]ar' || :")


@pytest.mark.parametrize("gnu", [False, True])
async def test_all_small_files_go_by_tar(
    box: Instance, source: Path, tmp_path: Path, by_sftp: list[str], gnu: bool
) -> None:
    if gnu:
        await gnu_tar(box)
    pushed = await at(box, "/t").push(source)
    assert (pushed.files, by_sftp) == (FILES, [])
    assert await at(box, "/t").pull(tmp_path / "back", owners=True) == pushed
    assert len(by_sftp) == (0 if gnu else FILES)
    assert tree_of(bytes(tmp_path / "back")) == tree_of(bytes(source))
    by_sftp.clear()
    await at(box, "/t").push(source, gid=5)
    await at(box, "/t").pull(tmp_path / "again")
    assert by_sftp == []
    assert await leftovers(box) == ""


@pytest.mark.parametrize("gnu", [False, True])
async def test_names_for_more_than_one_command_and_times_that_tar_warns_of(
    box: Instance, tmp_path: Path, by_sftp: list[str], gnu: bool
) -> None:
    if gnu:
        await gnu_tar(box)
    directory = tmp_path / "source" / ("d" * 250) / ("e" * 250)
    directory.mkdir(parents=True)
    for number in range(500):
        path = directory / str(number).rjust(250, "f")
        path.write_text(str(number))
        os.utime(path, (0, 2**32 - 1))
    pushed = await at(box, "/t").push(tmp_path / "source")
    assert await at(box, "/t").pull(tmp_path / "back", owners=True) == pushed
    assert by_sftp == []
    assert tree_of(bytes(tmp_path / "back")) == tree_of(bytes(tmp_path / "source"))


@pytest.mark.parametrize("gnu", [False, True])
async def test_the_rest_goes_over_sftp(
    box: Instance, tmp_path: Path, by_sftp: list[str], gnu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gnu:
        await gnu_tar(box)
    monkeypatch.setattr(_trees, "_SMALL", 1000)
    await shell(
        box,
        """
        mkdir -p /t/proc; cd /t; mount -t proc none proc; touch empty; ln empty empty2
        for n in $(seq 30); do echo $n >f$n; done; ln f1 g1; mkfifo fifo; ln -s f1 link; ln -s /etc out
        head -c 1001 /dev/zero >large
        """,
    )
    there = _trees.RemoteTree.children

    async def children(self: RemoteTree, path: str) -> list[Any]:
        found = await there(self, path)
        return [entry for entry in found if entry[0] in ("proc/meminfo", "proc/version")] if path == "proc" else found

    monkeypatch.setattr(RemoteTree, "children", children)
    result = await at(box, "/t").pull(tmp_path / "t")
    assert (result.files, result.links, result.special) == (36, 2, ("fifo",))
    hard_links = {"f1", "g1"} & set(by_sftp)
    assert len(hard_links) == 1  # the other came with the content
    assert sorted({*by_sftp} - hard_links) == ["empty", "empty2", "large", "proc/meminfo", "proc/version"]
    assert "MemTotal" in (tmp_path / "t" / "proc" / "meminfo").read_text()
    assert (tmp_path / "t" / "g1").read_text() == (tmp_path / "t" / "f1").read_text() == "1\n"
    assert os.readlink(tmp_path / "t" / "out") == "/etc"
    await shell(box, "umount /t/proc")


async def test_progress_counts_each_file_once(box: Instance, source: Path, tmp_path: Path) -> None:
    for verb in ("push", "pull"):
        seen: list[Progress] = []
        if verb == "push":
            result = await at(box, "/t").push(source, gid=0, progress=seen.append)
        else:
            result = await at(box, "/t").pull(tmp_path / "back", progress=seen.append)
        assert [update.files for update in seen] == list(range(1, FILES + 1))
        assert (seen[-1].processed, seen[-1].total, seen[-1].total_files) == (result.bytes, result.bytes, FILES)
        assert len({update.item for update in seen}) == FILES


async def test_equal_files_are_skipped_and_the_others_go_by_tar(
    box: Instance, source: Path, by_sftp: list[str]
) -> None:
    changed = sorted(path for path in source.rglob("*") if path.is_file())[:30]
    await at(box, "/t").push(source)
    for path in changed:
        path.write_text("changed")
    result = await at(box, "/t").push(source, skip_equal=True)
    assert (result.files, result.skipped, by_sftp) == (30, FILES - 30, [])


ODD = {
    "absent": "exit 127",
    "failing": "exit 2",
    "silent": "cat >/dev/null",
    "cutting": "cat >/dev/null; busybox tar cf - etc | head -c 700",
    "endless": "yes",
    "endless zeros": "cat /dev/zero",
    "noisy": "yes >&2",
    "talking": 'echo hello; exec busybox tar "$@"',
    "unpacking elsewhere": 'cd /var; exec busybox tar "$@"',
    "changing modes": 'busybox tar "$@"; chmod 777 .incus*',
    "changing times": 'busybox tar "$@"; touch .incus*',
    "changing sizes": 'busybox tar "$@"; for f in .incus*; do echo >>$f; touch -d @1000000000 $f; done',
    "adding links": 'busybox tar "$@"; for f in .incus*; do rm $f; ln -s /etc/passwd $f; done',
    "lying": "cat >/dev/null; cd /etc; exec busybox tar cf - passwd",
    "failing at last": 'busybox tar "$@"; exit 1',
    "stalling": "exec sleep 20",
}


@pytest.mark.parametrize("tar", ODD)
async def test_an_odd_tar_changes_nothing(
    box: Instance, source: Path, tmp_path: Path, tar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gnu_tar(box)
    await at(box, "/usr/local/bin/tar").write_text(f"#!/bin/sh\n{ODD[tar]}\n", mode=0o755)
    if tar == "stalling":
        monkeypatch.setattr(_tar, "_TIMEOUT", 1.0)
    pushed = await at(box, "/t").push(source)
    assert await at(box, "/t").pull(tmp_path / "back", owners=True) == pushed
    assert tree_of(bytes(tmp_path / "back")) == tree_of(bytes(source))
    assert await shell(box, "find /t -name '.incus-*'") == ""
    assert await shell(box, "wc -l </etc/passwd") == "1\n"


@pytest.mark.parametrize("without", ["tar", "xargs", "sh"])
async def test_none_is_needed(box: Instance, source: Path, tmp_path: Path, without: str) -> None:
    await gnu_tar(box)
    await shell(box, f"rm -f $(which -a {without})")
    pushed = await at(box, "/t").push(source)
    assert await at(box, "/t").pull(tmp_path / "back", owners=True) == pushed
    assert tree_of(bytes(tmp_path / "back")) == tree_of(bytes(source))


@pytest.mark.parametrize("state", ["stopped", "frozen"])
async def test_an_instance_that_runs_no_commands_has_trees(
    box: Instance, source: Path, tmp_path: Path, state: str
) -> None:
    await (box.stop(force=True, wait=True) if state == "stopped" else box.freeze(wait=True))
    pushed = await at(box, "/t").push(source)
    assert await at(box, "/t").pull(tmp_path / "back", owners=True) == pushed
    assert tree_of(bytes(tmp_path / "back")) == tree_of(bytes(source))
    if state == "frozen":
        await box.unfreeze(wait=True)


async def test_a_tree_whose_path_no_command_can_have_goes_over_sftp(
    box: Instance, source: Path, tmp_path: Path, by_sftp: list[str]
) -> None:
    remote = at(box, os.fsdecode(b"/\xff"))
    pushed = await remote.push(source)
    assert len(by_sftp) == FILES
    assert await remote.pull(tmp_path / "back", owners=True) == pushed
    assert tree_of(bytes(tmp_path / "back")) == tree_of(bytes(source))


async def test_the_environment_of_the_instance_does_not_steer_tar(
    box: Instance, source: Path, tmp_path: Path, by_sftp: list[str]
) -> None:
    await gnu_tar(box)
    await box.update({"config": {"environment.TAR_OPTIONS": "--no-same-permissions", "environment.ENV": "/evil"}})
    await shell(box, "echo 'touch /ran' >/evil")
    await at(box, "/t").push(source)
    assert by_sftp == []
    assert not await at(box, "/ran").exists()


async def test_other_file_systems_in_the_tree_get_their_files(box: Instance, source: Path, tmp_path: Path) -> None:
    await shell(box, "mkdir -p '/t/d 1\n'; mount -t tmpfs none '/t/d 1\n'")
    await at(box, "/t").push(source)
    await at(box, "/t").pull(tmp_path / "back", owners=True)
    assert tree_of(bytes(tmp_path / "back")) == tree_of(bytes(source))
    assert await leftovers(box) == ""


async def test_a_file_system_that_is_full_is_an_error_of_the_file(box: Instance, source: Path) -> None:
    await shell(box, "mkdir /t; mount -t tmpfs -o size=600k none /t")
    with pytest.raises(IncusAPIError, match="no space"):
        await at(box, "/t").push(source)
    assert await leftovers(box) == ""


@pytest.mark.parametrize("trick", ["link", "directory"])
async def test_who_owns_the_target_cannot_lead_tar_astray(
    box: Instance, source: Path, trick: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the moment when a directory is made for tar, and that when tar is started in it."""
    await shell(box, "mkdir -p /t /victim; echo kept >/victim/0; chown 1000 /t")
    real = InstanceTar.extract

    async def replacing(self: InstanceTar, members: list[Member], directory: str) -> bool:
        other = "ln -s /victim" if trick == "link" else "mkdir -m 777"
        await shell(box, f"cd /t; mv {directory} away; {other} {directory}; chown -h 1000 {directory}")
        return await real(self, members, directory)

    monkeypatch.setattr(InstanceTar, "extract", replacing)
    await at(box, "/t").push(source)
    assert await shell(box, "cat /victim/*; ls -A /victim /t/away; find /t -type f -exec echo \\; | wc -l") == (
        f"kept\n/t/away:\n\n/victim:\n0\n{FILES}\n"
    )


@pytest.mark.parametrize("verb", ["push", "pull"])
async def test_a_batch_that_is_cancelled_leaves_nothing(
    box: Instance, source: Path, tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at(box, "/there").push(source)
    await shell(box, "mkdir /t")
    loop = asyncio.get_running_loop()
    began = loop.time()
    steps = 12
    transfer: Callable[[], Coroutine[Any, Any, object]] = (
        (lambda: at(box, "/t").push(source)) if verb == "push" else (lambda: at(box, "/there").pull(tmp_path / "back"))
    )
    await transfer()
    took = loop.time() - began
    for step in range(steps):
        running = asyncio.ensure_future(transfer())
        await asyncio.sleep(took * step / steps)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await leftovers(box) == ""
        assert not list(tmp_path.rglob(".incus-*"))
    # Whatever is there is complete.
    await transfer()
    here = source if verb == "push" else tmp_path / "back"
    await at(box, "/t" if verb == "push" else "/there").pull(tmp_path / "after", owners=True)
    assert tree_of(bytes(tmp_path / "after")).keys() == tree_of(bytes(here)).keys()


async def test_what_is_private_is_so_while_tar_unpacks_it(box: Instance, source: Path) -> None:
    await gnu_tar(box)
    script = '#!/bin/sh\nstat -c "%a %u" . >>/seen; exec busybox tar "$@"\n'
    await at(box, "/usr/local/bin/tar").write_text(script, mode=0o755)
    await shell(box, "mkdir /t; chown 1000 /t; chmod 777 /t")
    await at(box, "/t").push(source)
    assert await at(box, "/seen").read_text() == "700 0\n"


async def test_tar_is_killed_with_its_caller(box: Instance, source: Path) -> None:
    await gnu_tar(box)
    await at(box, "/usr/local/bin/tar").write_text("#!/bin/sh\ntouch /began; exec sleep 86399\n", mode=0o755)
    running = asyncio.ensure_future(at(box, "/t").push(source))
    async with asyncio.timeout(20):
        while not await at(box, "/began").exists():
            await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await leftovers(box) == ""
    assert await shell(box, "ps | grep '[8]6399' || :") == ""
