"""Archives from an instance that lies: what is taken of them, and that nothing is written outside of the target."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incus_sdk import IncusError
from incus_sdk.files import FileStat, RemotePath, _trees
from incus_sdk.files._tar import InstanceTar, Member, pack, unpack
from tests.hostile.test_pull import DIRECTORY, FILE, Hostile, hostile, target, tree, written

__all__ = ["hostile", "target", "tree"]

NAMES = st.binary(min_size=1, max_size=99).filter(lambda name: 0 not in name)
NUMBERS = st.integers(0, 2**32 - 1)
MEMBERS = st.lists(
    st.tuples(
        NAMES,
        st.builds(FileStat, st.just("file"), st.integers(0, 0o7777), NUMBERS, NUMBERS, st.just(0), NUMBERS),
        st.binary(max_size=2000),
    ).map(lambda member: (member[0], _sized(member[1], len(member[2])), member[2])),
    max_size=5,
)


def _sized(found: FileStat, size: int) -> FileStat:
    return FileStat(found.type, found.mode, found.uid, found.gid, size, found.mtime)


def packed(members: list[Member]) -> bytes:
    return b"".join(pack(members))


def member(name: bytes, content: bytes, kind: bytes = b"0", size: bytes | None = None) -> bytes:
    """An entry of an archive, whatever it says."""
    header = bytearray(packed([(name, FileStat("file", 0o644, os.geteuid(), os.getegid(), 0, 10**9), content)])[:512])
    header[156:157] = kind
    if size is not None:
        header[124:136] = size.ljust(12, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % 512)


@given(MEMBERS)
def test_what_is_packed_is_unpack(members: list[Member]) -> None:
    assert list(unpack(packed(members))) == members
    assert list(unpack(packed(members) + bytes(10240) + packed(members))) == members * 2  # as xargs may run tar twice
    with tarfile.open(fileobj=io.BytesIO(packed(members))) as archive:  # somebody else's reading of it
        assert [entry.size for entry in archive] == [len(content) for _, _, content in members]


@given(st.data())
def test_what_is_damaged_or_cut_off_ends_before_that(data: st.DataObject) -> None:
    archive = packed(data.draw(MEMBERS))
    position = data.draw(st.integers(0, len(archive) - 1))
    whole = list(unpack(archive))
    assert list(unpack(archive[:position])) == whole[: len(list(unpack(archive[:position])))]
    damaged = bytearray(archive)
    damaged[position] ^= data.draw(st.integers(1, 255))
    list(unpack(bytes(damaged)))


@given(st.binary(max_size=5000))
def test_any_bytes_are_read_to_an_end(data: bytes) -> None:
    assert len(list(unpack(data))) < 10


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_others_are_read(form: int) -> None:
    names = ["./a", "./" + "d" * 90 + "/" + "b" * 90, "./" + "c" * 300, "./é"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.mtime = 3, 0o6751, 7, 10**9
            try:
                archive.addfile(entry, io.BytesIO(b"abc"))
            except ValueError:  # too long for this format
                assert form == tarfile.USTAR_FORMAT
    found = {name.decode(): content for name, _, content in unpack(buffer.getvalue())}
    expected = {
        tarfile.USTAR_FORMAT: [names[0], names[1], names[3]],
        tarfile.GNU_FORMAT: names,
        tarfile.PAX_FORMAT: [names[0]],  # what has records of its own is left to SFTP
    }
    assert found == dict.fromkeys(expected[form], b"abc")


SIZES = (b"77777777777", b"\x80" + bytes(3) + b"\xff" * 8, b"\xff" * 12, b"-1", b"9", b"0x5", b"1_0", b"\xc3")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [b"0", b"L", b"x", b"1", b"5"])
def test_sizes_that_lie_end_the_archive(size: bytes, kind: bytes) -> None:
    fine = member(b"./fine", b"fine")
    found = list(unpack(fine + member(b"./f", b"evil", kind, size) + fine))
    assert [name for name, _, _ in found] == [b"./fine"]


PAX = b"19 path=./listed\n12 size=100\n16 linkpath=/x\n"
TRICKS: dict[str, bytes] = {
    "traversal": member(b"../outside", b"evil") + member(b"./../outside", b"evil") + member(b"./d/../../x", b"evil"),
    "absolute": member(b"/tmp/incus-sdk-evil", b"evil"),
    "link, then through it": member(b"./l", b"", b"2") + member(b"./l/outside", b"evil"),
    "hard link outside": member(b"./listed", b"", b"1") + member(b"./listed", b"", b"1"),
    "twice": member(b"./f0", b"good") * 2,
    "fifo and devices": b"".join(member(b"./listed", b"", kind) for kind in (b"3", b"4", b"6")),
    "directory": member(b"./listed", b"", b"5") + member(b"./listed/x", b"evil"),
    "not asked for": member(b"./other", b"evil"),
    "another name": member(b"././f0", b"evil") + member(b"./f0/", b"evil") + member(b"f0", b"evil"),
    "not UTF-8": member(b"./\xff\xfe", b"evil"),
    "pax": member(b"pax", PAX, b"x") + member(b"./f0", b"evil"),
    "pax for all": member(b"pax", PAX, b"g") + member(b"./f0", b"evil"),
    "long name": member(b"long", b"../outside\0", b"L") + member(b"./f0", b"evil"),
    "long name of 1 GB": member(b"long", b"x", b"L", b"%o" % 2**30) + member(b"./f0", b"evil"),
    "long link": member(b"long", b"/etc/passwd\0", b"K") + member(b"./f0", b"evil"),
    "sparse": member(b"./f0", b"evil", b"S") + member(b"./f0", b"evil", b"s"),
    "another size": member(b"./f0", b"evil" * 1000),
    "nothing": b"",
    "no archive": b"evil" * 1000,
}


@pytest.mark.parametrize("trick", TRICKS)
async def test_nothing_comes_out_of_an_archive_but_what_was_asked_for(
    hostile: Hostile, tree: RemotePath, target: Path, trick: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [(b"f%d" % number, FILE, 4) for number in range(30)]
    hostile.listings = {b"/t": [*listed, (b"listed", FILE, 4), (b"d", DIRECTORY, 0)], b"/t/d": []}
    hostile.content = {b"/t/" + name: b"good" for name in (*(name for name, _, _ in listed), b"listed")}
    asked: list[bytes] = []

    async def create(self: InstanceTar, names: list[bytes], size: int) -> bytes:
        asked.extend(names)
        return TRICKS[trick] + packed(
            [(b"./f9", FileStat("file", 0o644, os.geteuid(), os.getegid(), 4, 10**9), b"good")]
        )

    monkeypatch.setattr(InstanceTar, "create", create)
    target.parent.joinpath("outside").mkdir()
    await tree.pull(target)
    assert sorted(asked) == sorted(b"./" + name for name, _, _ in [*listed, (b"listed", 0, 0)])
    names = sorted(f"target/{name.decode()}" for name in [*(name for name, _, _ in listed), b"listed", b"d"])
    assert written(target) == ["outside", *names]
    for path in target.iterdir():
        found = path.lstat()
        assert stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
        assert path.is_dir() or path.read_bytes() == b"good"
    assert not Path("/tmp/incus-sdk-evil").exists()


async def test_a_batch_is_not_written_through_links_that_were_here(
    hostile: Hostile, tree: RemotePath, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [(b"f%d" % number, FILE, 4) for number in range(30)]
    hostile.listings = {b"/t": [(b"d", DIRECTORY, 0)], b"/t/d": listed}
    archive = packed(
        [
            (b"./d/" + name, FileStat("file", 0o644, os.geteuid(), os.getegid(), 4, 10**9), b"evil")
            for name, _, _ in listed
        ]
    )
    outside = target.parent / "outside"
    outside.mkdir()

    async def create(self: InstanceTar, names: list[bytes], size: int) -> bytes:
        (target / "d").rename(target / "was")
        (target / "d").symlink_to(outside)
        return archive

    monkeypatch.setattr(InstanceTar, "create", create)
    with pytest.raises(OSError, match="/target/d"):
        await tree.pull(target)
    assert written(target) == ["outside", "target/d", "target/was"]


async def test_a_command_that_cannot_be_run_is_tried_once(
    hostile: Hostile, tree: RemotePath, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_trees, "_BATCH_FILES", 10)
    hostile.listings[b"/t"] = [(b"f%d" % number, FILE, 4) for number in range(100)]
    hostile.content = {b"/t/f%d" % number: b"good" for number in range(100)}
    tried: list[int] = []

    async def create(self: InstanceTar, names: list[bytes], size: int) -> bytes:
        tried.append(len(names))
        raise IncusError("not running")

    monkeypatch.setattr(InstanceTar, "create", create)
    assert (await tree.pull(target)).files == 100
    assert tried == [10]
