"""Remote paths as pure paths, and copying between two local trees: what needs no daemon."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incus_sdk import IncusError, IncusInputError, Progress
from incus_sdk._connection.endpoint import Endpoint
from incus_sdk._connection.scope import Scope
from incus_sdk._connection.transport import Transport
from incus_sdk.files import RemotePath
from incus_sdk.files._sftp import FileStat
from incus_sdk.files._trees import LocalTree, Options, Transfer, copy, file_stat

SCOPE = Scope(Transport(Endpoint(socket="/nowhere")))


def at(path: str, *, scope: Scope = SCOPE, name: str = "c1") -> RemotePath:
    return RemotePath(scope, ("instances", name), path)


segments = st.lists(st.text("ab./é\udcff\n ", min_size=1, max_size=6), max_size=4)


@given(segments, segments)
def test_a_path_is_what_pathlib_makes_of_it(above: list[str], below: list[str]) -> None:
    text = "/" + "/".join(above).lstrip("/")
    ours, theirs = at(text).joinpath(*below), PurePosixPath(text).joinpath(*below)
    if str(theirs).startswith("//"):  # pathlib keeps exactly two, which mean nothing on Linux
        theirs = PurePosixPath(str(theirs)[1:])
    assert str(ours) == str(theirs)
    assert (ours.parts, ours.name, ours.stem, ours.suffix) == (theirs.parts, theirs.name, theirs.stem, theirs.suffix)
    assert str(ours.parent) == str(theirs.parent)
    assert [str(path) for path in ours.parents] == [str(path) for path in theirs.parents]
    assert ours.relative_to(ours.parent) == theirs.relative_to(theirs.parent)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda path: path / "b", "/srv/a.tar.gz/b"),
        (lambda path: path / "/etc", "/etc"),
        (lambda path: path.with_name("x"), "/srv/x"),
        (lambda path: path.with_stem("x"), "/srv/x.gz"),
        (lambda path: path.with_suffix(".x"), "/srv/a.tar.x"),
        (lambda path: path.parent.parent.parent, "/"),
        (lambda path: path.joinpath(), "/srv/a.tar.gz"),
    ],
)
def test_paths_are_made_from_paths(change: Callable[[RemotePath], RemotePath], path: str) -> None:
    assert change(at("//srv//./a.tar.gz/")) == at(path)


@pytest.mark.parametrize("path", ["", "etc", "./etc", "../etc", "/a\0b", "/\ud800", "/" + "a/" * 2048, b"/etc", None])
def test_what_is_no_absolute_path_is_refused(path: str) -> None:
    with pytest.raises(IncusInputError):
        at(path)


def test_paths_are_equal_when_they_name_the_same_file() -> None:
    other = Scope(Transport(Endpoint(socket="/elsewhere")))
    assert at("/a") == at("/a/") == at("/a", scope=SCOPE.view(target="n1"))
    different = [
        at("/a"),
        at("/b"),
        at("/a", name="c2"),
        at("/a", scope=SCOPE.view(project="p")),
        at("/a", scope=other),
    ]
    assert len({*different, at("/a/.")}) == len(different)
    assert "/a" not in different
    assert sorted([at("/b"), at("/a")]) == [at("/a"), at("/b")]
    assert repr(at("/a\n")) == "RemotePath('/a\\n' in instances/c1)"
    assert not isinstance(at("/a"), os.PathLike)  # the system here would open another file


def test_a_path_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        at("/a").name = "b"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "call",
    [
        lambda path: path.open("r"),
        lambda path: path.open("w+b"),
    ],
)
def test_a_mode_that_is_none_is_refused(call: Callable[[RemotePath], object]) -> None:
    with pytest.raises(IncusInputError):
        call(at("/a"))


# Two local sides show what the copying itself does.


async def duplicate(source: Path, target: Path, **options: object) -> Transfer:
    def adjust(found: FileStat) -> FileStat:
        return found

    target.mkdir(exist_ok=True)
    how = Options(**{"adjust": adjust, "skip_equal": False, "progress": None, "limit": 4, **options})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ours = LocalTree(str(source), directory=True, follow=how.follow)
    with ours, LocalTree(str(target), directory=True) as theirs:
        return await copy(ours, file_stat(os.stat(source)), theirs, how)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "dir" / "empty").mkdir(parents=True)
    (source / "dir" / "two").write_bytes(b"2" * 3_000_000)
    (source / "one").write_bytes(b"1")
    (source / "none").touch()
    (source / "link").symlink_to("dir/missing")
    os.mkfifo(source / "dir" / "fifo")
    return source


async def test_a_copy_counts_what_it_did(source: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    result = await duplicate(source, tmp_path / "target", progress=seen.append)
    assert result == Transfer(files=3, directories=3, links=1, bytes=3_000_001, skipped=0, special=("dir/fifo",))
    last = seen[-1]
    assert (last.stage, last.percent, last.processed, last.total) == ("upload", 100, 3_000_001, 3_000_001)
    assert (last.files, last.total_files, last.speed is not None) == (3, 3, True)
    done = [update.processed or 0 for update in seen]
    assert done == sorted(done)
    assert not (tmp_path / "target" / "dir" / "fifo").exists()
    assert (tmp_path / "target" / "link").readlink() == Path("dir/missing")


@pytest.mark.parametrize(
    ("how", "change", "copied"),
    [
        (True, lambda path: None, 0),
        (True, lambda path: os.utime(path, (1, 1)), 1),
        (True, lambda path: path.write_bytes(b"22"), 1),
        (True, lambda path: path.unlink(), 1),
        ("content", lambda path: os.utime(path, (1, 1)), 0),
        ("content", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), 1),
        (True, lambda path: path.chmod(0o600), 0),
        (False, lambda path: None, 3),
    ],
)
async def test_equal_files_are_skipped_when_asked(
    source: Path, tmp_path: Path, how: bool | str, change: Callable[[Path], None], copied: int
) -> None:
    await duplicate(source, tmp_path / "target")
    (source / "dir" / "two").chmod(0o640)
    change(tmp_path / "target" / "dir" / "two")
    result = await duplicate(source, tmp_path / "target", skip_equal=how)
    assert (result.files, result.skipped) == (copied, 3 - copied)
    there, here = ((path / "dir" / "two").stat() for path in (tmp_path / "target", source))
    assert (stat.S_IMODE(there.st_mode), int(there.st_mtime)) == (0o640, int(here.st_mtime))
    assert (tmp_path / "target" / "dir" / "two").read_bytes() == (source / "dir" / "two").read_bytes()


@pytest.mark.parametrize("how", [True, "content"])
async def test_what_another_name_leads_to_stays_as_it_is(source: Path, tmp_path: Path, how: bool | str) -> None:
    (tmp_path / "target").mkdir()
    others = tmp_path / "others"
    others.write_bytes(b"1")
    others.chmod(0o600)
    os.utime(others, (1, 1))
    os.utime(source / "one", (1, 1))
    os.link(others, tmp_path / "target" / "one")
    result = await duplicate(source, tmp_path / "target", skip_equal=how)
    assert (result.files, result.skipped) == (3, 0)
    assert stat.S_IMODE(others.stat().st_mode) == 0o600
    assert (tmp_path / "target" / "one").stat().st_ino != others.stat().st_ino
    result = await duplicate(source, tmp_path / "target", skip_equal=how)
    assert (result.files, result.skipped) == (0, 3)


@pytest.mark.parametrize("content", [b"", b"x", bytes(100_000), b"x" * 70_000])
async def test_a_file_stays_sparse(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with (tmp_path / "source" / "sparse").open("wb") as file:
        for at in (0, 8_000_000, 50_000_000):
            file.seek(at)
            file.write(content)
        file.truncate(64_000_001)
    assert (await duplicate(tmp_path / "source", tmp_path / "target")).bytes == 64_000_001
    copied = tmp_path / "target" / "sparse"
    assert copied.read_bytes() == (tmp_path / "source" / "sparse").read_bytes()
    assert copied.stat().st_blocks * 512 < 1_000_000


async def test_links_to_directories_are_followed_but_not_in_circles(source: Path, tmp_path: Path) -> None:
    (source / "link").unlink()
    for number in range(8):  # each leads into the next
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "link").symlink_to(tmp_path / str(number + 1))
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "f").write_text("x")
    (source / "link").symlink_to(tmp_path / "1")
    result = await duplicate(source, tmp_path / "target", follow=True)
    assert (result.links, result.files) == (0, 4)
    assert (tmp_path / "target" / "/".join(["link"] * 8) / "f").read_text() == "x"
    for target, message in ((tmp_path / "0", "in a circle"), (source, "in a circle"), ("nowhere", "leads nowhere")):
        (source / "link").unlink()
        (source / "link").symlink_to(target)
        with pytest.raises(IncusError, match=message):
            await duplicate(source, tmp_path / "other", follow=True)


@pytest.mark.parametrize(
    "options", [{"mode": "0644"}, {"mode": 0o10000}, {"mode": -1}, {"uid": -1}, {"gid": "root"}, {"limit": 0}]
)
async def test_a_push_with_an_invalid_option_is_refused(source: Path, options: dict[str, Any]) -> None:
    with pytest.raises(IncusInputError, match=next(iter(options))):
        await at("/a").push(source, **options)


async def test_a_pull_with_an_invalid_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncusInputError, match="links"):
        await at("/a").pull(tmp_path, links="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_directories_get_what_they_shall_have_from_the_deepest_up(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    async def record(tree: LocalTree, entries: list[tuple[str, FileStat]]) -> None:
        given.extend(path for path, _ in entries)

    monkeypatch.setattr(LocalTree, "set", record)
    await duplicate(source, tmp_path / "target")
    assert given == ["dir/empty", "dir", ""]


async def test_a_failure_leaves_nothing_half_written(source: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(update: Progress) -> None:
        if update.item == "dir/two":
            raise StopError

    (tmp_path / "target" / "dir").mkdir(parents=True)
    (tmp_path / "target" / "dir" / "two").write_bytes(b"old")
    with pytest.raises(StopError):
        await duplicate(source, tmp_path / "target", progress=stop)
    assert [path.name for path in (tmp_path / "target" / "dir").iterdir() if path.is_file()] == ["two"]
    assert (tmp_path / "target" / "dir" / "two").read_bytes() == b"old"


async def test_a_file_that_is_cut_while_it_is_read_is_an_error(source: Path, tmp_path: Path) -> None:
    def cut(update: Progress) -> None:
        if update.item == "dir/two":
            os.truncate(source / "dir" / "two", 10)

    with pytest.raises(Exception, match="dir/two"):
        await duplicate(source, tmp_path / "target", progress=cut)
    assert not (tmp_path / "target" / "dir" / "two").exists()


async def test_a_file_that_grows_is_copied_as_long_as_it_was(source: Path, tmp_path: Path) -> None:
    def grow(update: Progress) -> None:
        if update.item == "dir/two":
            with (source / "dir" / "two").open("ab") as file:
                file.write(b"more" * 1_000_000)

    await duplicate(source, tmp_path / "target", progress=grow)
    assert (tmp_path / "target" / "dir" / "two").stat().st_size == 3_000_000


@pytest.mark.parametrize(("there", "error"), [("file", NotADirectoryError), ("link", OSError)])
async def test_a_directory_takes_no_other_things_place(
    source: Path, tmp_path: Path, there: str, error: type[OSError]
) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    if there == "file":
        (target / "dir").touch()
    else:
        (target / "dir").symlink_to(outside)
    with pytest.raises(error) as caught:
        await duplicate(source, target)
    assert caught.value.filename == str(target / "dir")
    assert not list(outside.iterdir())


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": "x"}, {"skip_equal": "size"}, {"skip_equal": 2}])
async def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(IncusInputError):
        await duplicate(tmp_path / "source", tmp_path / "target", **options)
