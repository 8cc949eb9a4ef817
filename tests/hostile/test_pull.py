"""Pulling from an instance that lies: a fake daemon says what a real one cannot be made to say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from incus_sdk import IncusConnectionError, IncusError, Progress
from incus_sdk._connection.endpoint import Endpoint
from incus_sdk._connection.scope import Scope
from incus_sdk._connection.transport import Transport
from incus_sdk.files import RemotePath, _plain_trees
from incus_sdk.files._sftp import Flags, Sftp
from tests.live.cancelling import Point, attempt

FILE, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
INIT, OPEN, CLOSE, READ, LSTAT, FSTAT, OPENDIR, READDIR = 1, 3, 4, 5, 7, 8, 11, 12
REMOVE, STAT, READLINK = 13, 17, 19
VERSION, STATUS, HANDLE, DATA, NAME, ATTRS = 2, 101, 102, 103, 104, 105

Answer = tuple[int, bytes]


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def attributes(mode: int, size: int) -> bytes:
    return struct.pack(">IQIIIII", 15, size, os.geteuid(), os.getegid(), mode, 1_000_000_000, 1_000_000_000)


def status(code: int) -> Answer:
    return STATUS, struct.pack(">I", code) + string(b"as you like it") + string(b"")


class Hostile:
    """An SFTP server behind a daemon's socket, that tells what it was told to tell."""

    def __init__(self) -> None:
        self.listings: dict[bytes, list[tuple[bytes, int, int]]] = {}  # directory: name, mode, size
        self.content: dict[bytes, bytes] = {}
        self.links: dict[bytes, bytes] = {}
        self.opened_mode: dict[bytes, int] = {}  # what turns out to be there when it is opened
        self.opened_size: dict[bytes, int] = {}
        self.opened: list[bytes] = []
        self.closed: list[bytes] = []
        self.removed: list[bytes] = []
        self.twist: Callable[[int, bytes], bytes | None] = lambda kind, number: None  # raw bytes as the answer
        self.hangs_up = True  # after those

    def answer(self, kind: int, subject: bytes, rest: bytes) -> Answer:
        directory, _, name = subject.rpartition(b"/")
        match kind:
            case _ if kind in (STAT, LSTAT):
                if subject in self.listings:
                    return ATTRS, attributes(DIRECTORY, 0)
                for listed, mode, size in self.listings.get(directory, []):
                    if listed == name:
                        return ATTRS, attributes(mode, size)
                return status(2)
            case _ if kind == OPENDIR:
                return HANDLE, string(b"d" + subject)
            case _ if kind == READDIR:
                names = self.listings.pop(subject[1:], None)
                if names is None:
                    return status(1)
                entries = [string(name) + string(b"as ls") + attributes(mode, size) for name, mode, size in names]
                return NAME, struct.pack(">I", len(names)) + b"".join(entries)
            case _ if kind == OPEN:
                self.opened.append(subject)
                return HANDLE, string(b"f" + subject)
            case _ if kind == CLOSE:
                self.closed.append(subject[1:])
                return status(0)
            case _ if kind == REMOVE:
                self.removed.append(subject)
                return status(0)
            case _ if kind == FSTAT:
                path = subject[1:]
                size = self.opened_size.get(path, len(self.content.get(path, b"")))
                return ATTRS, attributes(self.opened_mode.get(path, FILE), size)
            case _ if kind == READ:
                offset, length = struct.unpack(">QI", rest)
                data = self.content.get(subject[1:], b"")[offset : offset + length]
                return (DATA, string(data)) if data else status(1)
            case _ if kind == READLINK:
                return NAME, struct.pack(">I", 1) + string(self.links[subject]) * 2 + attributes(0, 0)
            case _:
                return status(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(EOFError, ConnectionError), contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: sftp\r\n\r\n")
            while True:
                packet = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
                kind, number, body = packet[0], packet[1:5], packet[5:]
                if kind == INIT:
                    answered: Answer = (VERSION, b"")
                else:
                    length = int.from_bytes(body[:4], "big")
                    answered = self.answer(kind, body[4 : 4 + length], body[4 + length :])
                raw = self.twist(kind, number)
                answer_kind, fields = answered
                honest = struct.pack(">IB", 5 + len(fields), answer_kind) + number + fields
                writer.write(honest if raw is None else raw)
                if raw is not None:
                    await writer.drain()
                    if not self.hangs_up:
                        await reader.read()  # until the other side does
                    return


@pytest.fixture
async def hostile(tmp_path: Path) -> AsyncIterator[Hostile]:
    hostile = Hostile()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await hostile.serve(reader, writer)

    server = await asyncio.start_unix_server(serve, tmp_path / "socket")
    yield hostile
    server.close()
    await asyncio.gather(*tasks)


@pytest.fixture
def tree(hostile: Hostile, tmp_path: Path) -> RemotePath:
    """``/t`` of the hostile instance."""
    return RemotePath(Scope(Transport(Endpoint(socket=str(tmp_path / "socket")))), ("instances", "c1"), "/t")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where it is pulled to; all around it must stay as it is."""
    (tmp_path / "around").mkdir()
    return tmp_path / "around" / "target"


@pytest.fixture(autouse=True)
def _has_descriptors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the system has descriptors of directories, which Windows has not."""
    monkeypatch.setattr(_plain_trees, "HAS_DESCRIPTORS", getattr(request, "param", True))


with_and_without_descriptors = pytest.mark.parametrize(
    "_has_descriptors", [True, False], ids=["by descriptors", "by paths"], indirect=True
)


def written(target: Path) -> list[str]:
    """All that is there, in and around the target, but for itself."""
    around = target.parent
    return sorted(str(path.relative_to(around)) for path in around.rglob("*") if path != target)


@pytest.mark.parametrize(
    "name",
    [b"../evil", b"/tmp/evil", b"a/b", b"", b"nul\0l", b"d/../../evil", b"../target/../evil", b"/"],
)
@pytest.mark.parametrize("mode", [FILE, DIRECTORY, LINK])
async def test_a_name_that_is_none_is_refused_before_anything_is_written(
    hostile: Hostile, tree: RemotePath, target: Path, name: bytes, mode: int
) -> None:
    hostile.listings[b"/t"] = [(b"fine", FILE, 4), (name, mode, 4)]
    hostile.content = {b"/t/fine": b"fine", b"/t/" + name: b"evil"}
    with pytest.raises(IncusError):
        await tree.pull(target)
    assert written(target) == []
    hostile.listings[b"/t"] = [(name, mode, 4)]
    with pytest.raises(IncusError):
        await anext(tree.iterdir())
    hostile.listings[b"/t"] = [(name, mode, 4)]
    with pytest.raises(IncusError):
        await anext(tree.walk())


async def test_a_directory_that_lists_itself_and_its_parent_is_fine(
    hostile: Hostile, tree: RemotePath, target: Path
) -> None:
    hostile.listings[b"/t"] = [(b".", DIRECTORY, 0), (b"..", DIRECTORY, 0), (b"fine", FILE, 4)]
    hostile.content[b"/t/fine"] = b"fine"
    await tree.pull(target)
    assert written(target) == ["target/fine"]


@with_and_without_descriptors
async def test_links_lead_out_but_nothing_is_written_through_them(
    hostile: Hostile, tree: RemotePath, target: Path
) -> None:
    outside = target.parent / "outside"
    outside.mkdir()
    hostile.listings[b"/t"] = [(b"l", LINK, 3), (b"l", DIRECTORY, 0), (b"m", LINK, 3)]
    hostile.listings[b"/t/l"] = [(b"evil", FILE, 4)]
    hostile.content[b"/t/l/evil"] = b"evil"
    hostile.links = {b"/t/l": bytes(outside), b"/t/m": b"../outside/made"}
    with pytest.raises(OSError, match="/target/l"):  # it is a directory by then, and no link takes its place
        await tree.pull(target)
    assert not list(outside.iterdir())


@pytest.mark.parametrize("target_of_link", [b"../outside/x", b"/etc/passwd", b"\xff", b"a" * 4000])
async def test_a_link_is_copied_as_it_is(
    hostile: Hostile, tree: RemotePath, target: Path, target_of_link: bytes
) -> None:
    hostile.listings[b"/t"] = [(b"l", LINK, 3)]
    hostile.links[b"/t/l"] = target_of_link
    await tree.pull(target)
    assert os.readlink(bytes(target / "l")) == target_of_link


@pytest.mark.parametrize("target_of_link", [b"", b"nul\0l"])
async def test_a_link_to_what_is_no_path_is_refused(
    hostile: Hostile, tree: RemotePath, target: Path, target_of_link: bytes
) -> None:
    hostile.listings[b"/t"] = [(b"l", LINK, 3)]
    hostile.links[b"/t/l"] = target_of_link
    with pytest.raises(IncusError, match="invalid target"):
        await tree.pull(target)
    assert written(target) == []


@with_and_without_descriptors
@pytest.mark.parametrize("below", [b"/t/d", b"/t/d/e"])
async def test_a_link_that_was_here_before_is_not_followed(
    hostile: Hostile, tree: RemotePath, target: Path, below: bytes
) -> None:
    outside = target.parent / "outside"
    outside.mkdir()
    hostile.listings = {b"/t": [(b"d", DIRECTORY, 0)], b"/t/d": [(b"e", DIRECTORY, 0)], b"/t/d/e": []}
    link = target / below.decode().removeprefix("/t/")
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(OSError, match=str(link)):
        await tree.pull(target)
    assert not list(outside.iterdir())


@with_and_without_descriptors
async def test_a_link_put_in_a_directorys_place_meanwhile_is_not_followed(
    hostile: Hostile, tree: RemotePath, target: Path
) -> None:
    outside = target.parent / "outside"
    outside.mkdir()
    hostile.listings = {b"/t": [(b"d", DIRECTORY, 0)], b"/t/d": [(b"1", FILE, 1), (b"2", FILE, 1)]}
    hostile.content = {b"/t/d/1": b"1", b"/t/d/2": b"2"}

    def swap(update: Progress) -> None:
        if update.files == 1 and not (target / "d").is_symlink():
            (target / "d").rename(target / "was")
            (target / "d").symlink_to(outside)

    with pytest.raises(OSError, match="/target/d"):
        await tree.pull(target, progress=swap, limit=1)
    assert not list(outside.iterdir())
    assert [path.name for path in (target / "was").iterdir()] == ["1"]


@with_and_without_descriptors
async def test_a_link_in_a_files_place_is_replaced_not_followed(
    hostile: Hostile, tree: RemotePath, target: Path
) -> None:
    outside = target.parent / "outside"
    outside.write_text("mine")
    target.mkdir()
    (target / "f").symlink_to(outside)
    hostile.listings[b"/t"] = [(b"f", FILE, 6)]
    hostile.content[b"/t/f"] = b"theirs"
    await tree.pull(target)
    assert outside.read_text() == "mine"
    assert not (target / "f").is_symlink()


@with_and_without_descriptors
@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK, 0])
async def test_special_files_are_told_and_never_opened(
    hostile: Hostile, tree: RemotePath, target: Path, kind: int
) -> None:
    hostile.listings[b"/t"] = [(b"s", kind | 0o666, 0), (b"f", FILE, 0)]
    result = await tree.pull(target)
    assert (result.special, result.files) == (("s",), 1)
    assert hostile.opened == [b"/t/f"]
    assert written(target) == ["target/f"]
    hostile.listings[b"/t"] = [(b"s", kind | 0o666, 0)]
    assert (await (tree / "s").pull(target / "alone")).special == ("",)
    with pytest.raises(IncusError, match="not file"):
        await (tree / "s").read_bytes()
    assert hostile.opened == [b"/t/f"]


@pytest.mark.parametrize("mode", [DIRECTORY, LINK, stat.S_IFCHR | 0o666])
async def test_a_file_that_turns_out_to_be_something_else_is_refused(
    hostile: Hostile, tree: RemotePath, target: Path, mode: int
) -> None:
    hostile.listings[b"/t"] = [(b"f", FILE, 4)]
    hostile.content[b"/t/f"] = b"evil"
    hostile.opened_mode[b"/t/f"] = mode
    with pytest.raises(IncusError, match="became"):
        await tree.pull(target)
    assert written(target) == []


@pytest.mark.parametrize(("listed", "told", "real"), [(4, 4, 0), (4, 4, 3), (4, 1 << 63, 100_000), (0, 10, 5)])
async def test_a_file_shorter_than_it_says_is_an_error(
    hostile: Hostile, tree: RemotePath, target: Path, listed: int, told: int, real: int
) -> None:
    hostile.listings[b"/t"] = [(b"f", FILE, listed)]
    hostile.content[b"/t/f"] = b"x" * real
    hostile.opened_size[b"/t/f"] = told
    with pytest.raises(IncusError, match=f"{real} bytes of {told}"):
        await tree.pull(target)
    assert written(target) == []


@pytest.mark.parametrize(("listed", "told", "pulled"), [(1 << 63, 4, 4), (4, 4, 4), (4, 0, 1_000_000)])
async def test_of_a_longer_file_comes_what_it_says_or_all_if_it_says_nothing(
    hostile: Hostile, tree: RemotePath, target: Path, listed: int, told: int, pulled: int
) -> None:
    hostile.listings[b"/t"] = [(b"f", FILE, listed)]
    hostile.content[b"/t/f"] = b"x" * 1_000_000
    hostile.opened_size[b"/t/f"] = told
    await tree.pull(target)
    assert (target / "f").stat().st_size == pulled


@pytest.mark.parametrize(("owners", "kept"), [(None, 0o1755), (False, 0o1755), (True, 0o7755)])
async def test_set_id_bits_are_kept_only_when_asked(
    hostile: Hostile, tree: RemotePath, target: Path, owners: bool | None, kept: int
) -> None:
    hostile.listings[b"/t"] = [(b"f", FILE, 0)]
    hostile.opened_mode[b"/t/f"] = stat.S_IFREG | 0o7755
    await tree.pull(target, owners=owners)
    assert stat.S_IMODE((target / "f").stat().st_mode) == kept


async def test_directories_without_end_come_to_one(hostile: Hostile, tree: RemotePath, target: Path) -> None:
    hostile.listings[b"/t"] = []
    honest = hostile.answer

    def endless(kind: int, subject: bytes, rest: bytes) -> Answer:
        if kind == OPENDIR:
            hostile.listings[subject] = [(b"d" * 20, DIRECTORY, 0)]
        return honest(kind, subject, rest)

    hostile.answer = endless  # type: ignore[method-assign]
    async with asyncio.timeout(60):
        with pytest.raises(IncusError, match="4095"):
            await tree.pull(target)
    assert written(target) == []


DROPPED: list[tuple[str, int, Callable[[bytes], bytes]]] = [
    ("nothing more", READ, lambda number: b""),
    ("half an answer", READ, lambda number: struct.pack(">IB4s", 100, DATA, number)),
    ("half a head", READ, lambda number: b"\0"),
]
MEANT: list[tuple[str, int, Callable[[bytes], bytes]]] = [
    ("an answer without end", READ, lambda number: struct.pack(">IB4s", 0xFFFFFFFF, DATA, number)),
    ("an answer to nothing", READ, lambda number: struct.pack(">IBI", 5, STATUS, 0xFFFFFF)),
    ("an answer too short for its number", READ, lambda number: struct.pack(">IB4s", 4, DATA, number)),
    ("no SFTP", INIT, lambda number: b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ("another version", INIT, lambda number: struct.pack(">IBI", 5, VERSION, 6)),
]


@pytest.mark.parametrize(
    ("case", "hangs_up"),
    [
        *(pytest.param(case, True, id=case[0]) for case in DROPPED),
        *(pytest.param(case, False, id=case[0]) for case in MEANT),
    ],
)
async def test_what_is_no_sftp_is_a_broken_connection(
    hostile: Hostile,
    tree: RemotePath,
    target: Path,
    case: tuple[str, int, Callable[[bytes], bytes]],
    hangs_up: bool,
) -> None:
    hostile.listings[b"/t"] = [(b"f", FILE, 4)]
    hostile.content[b"/t/f"] = b"fine"
    hostile.twist = lambda kind, number: case[2](number) if kind == case[1] else None
    hostile.hangs_up = hangs_up
    async with asyncio.timeout(60):
        with pytest.raises(IncusConnectionError):
            await tree.pull(target)
    assert written(target) == []


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (READ, (DATA, string(b"x" * 5))),  # more than was asked for
        (READ, (DATA, b"\0\0\1\0")),  # cut off
        (READ, (NAME, b"")),
        (OPEN, (ATTRS, attributes(FILE, 4))),
        (FSTAT, (ATTRS, b"\0\0\0\x0f")),
        (READDIR, (NAME, struct.pack(">I", 0xFFFFFFFF))),
        (STAT, status(1)),
        (OPENDIR, status(0)),
        (READ, status(0)),
    ],
)
async def test_answers_that_make_no_sense_are_errors(
    hostile: Hostile, tree: RemotePath, target: Path, kind: int, answer: Answer
) -> None:
    hostile.listings[b"/t"] = [(b"f", FILE, 4)]
    hostile.content[b"/t/f"] = b"fine"
    honest = hostile.answer
    hostile.answer = lambda asked, *rest: answer if asked == kind else honest(asked, *rest)  # type: ignore[method-assign]
    async with asyncio.timeout(60):
        with pytest.raises(IncusError):
            await tree.pull(target)
    assert written(target) == []


async def test_more_bytes_than_were_asked_for_are_not_taken(hostile: Hostile, tree: RemotePath) -> None:
    hostile.listings[b"/t"] = [(b"f", FILE, 4)]
    hostile.content[b"/t/f"] = b"fine"
    honest = hostile.answer

    def generous(kind: int, subject: bytes, rest: bytes) -> Answer:
        return (DATA, string(b"x" * 100_000)) if kind == READ else honest(kind, subject, rest)

    hostile.answer = generous  # type: ignore[method-assign]
    with pytest.raises(IncusConnectionError, match="more bytes"):
        await (tree / "f").read_bytes()


async def test_a_file_cut_short_is_equal_to_no_longer_one(hostile: Hostile, tree: RemotePath, target: Path) -> None:
    target.write_bytes(b"abcd")
    hostile.listings[b""] = [(b"t", FILE, 4)]
    hostile.content[b"/t"] = b""
    hostile.opened_size[b"/t"] = 4
    with pytest.raises(IncusError, match="cut to 0 bytes of 4"):
        await tree.pull(target, skip_equal="content")
    assert target.read_bytes() == b"abcd"


async def test_a_server_that_sends_less_than_asked_is_asked_for_the_rest(
    hostile: Hostile, tree: RemotePath, target: Path
) -> None:
    hostile.listings[b"/t"] = [(b"f", FILE, 4)]
    hostile.content[b"/t/f"] = content = os.urandom(100_000)
    honest = hostile.answer

    def sparing(kind: int, subject: bytes, rest: bytes) -> Answer:
        answered = honest(kind, subject, rest)
        return (DATA, string(answered[1][4:1004])) if answered[0] == DATA else answered

    hostile.answer = sparing  # type: ignore[method-assign]
    await tree.pull(target)
    assert (target / "f").read_bytes() == content


async def test_a_file_that_did_not_arrive_whole_is_an_error_and_removed(
    hostile: Hostile, tree: RemotePath, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"x" * 1000)
    hostile.listings[b"/"] = []
    with pytest.raises(IncusError, match="0 bytes instead of the 1000"):
        await tree.push(tmp_path / "f")
    assert hostile.removed == hostile.opened
    assert hostile.opened[0].startswith(b"/.incus-")


async def test_what_was_opened_for_somebody_who_left_is_closed(hostile: Hostile, tree: RemotePath) -> None:
    async with Sftp(tree._scope, tree._owner) as sftp:
        opening = asyncio.ensure_future(sftp.open(b"/t/f", Flags.READ))
        while not hostile.opened:
            await asyncio.sleep(0)
        assert not opening.done()
        opening.cancel()
        async with asyncio.timeout(60):
            while hostile.closed != [b"/t/f"]:
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("verb", "closed"), [(lambda sftp: sftp.open(b"/t/f", Flags.READ), b"/t/f"), (Sftp.list, b"/t")]
)
async def test_what_was_opened_in_the_moment_of_leaving_is_closed(
    hostile: Hostile, tree: RemotePath, verb: Callable[..., Awaitable[object]], closed: bytes
) -> None:
    hostile.listings[b"/t"] = [(b"f", FILE, 0)]
    async with Sftp(tree._scope, tree._owner) as sftp:
        outcome = await attempt(
            lambda: verb(sftp, *([b"/t"] if verb is Sftp.list else [])), Point(1, "ready"), None, 60
        )
        assert (outcome.end, outcome.problems) == ("cancelled", ())
        async with asyncio.timeout(60):
            while hostile.closed != [closed]:
                await asyncio.sleep(0)


async def test_a_read_that_is_cancelled_loses_nothing(hostile: Hostile, tree: RemotePath) -> None:
    data = os.urandom(500_000)
    hostile.content[b"/t/f"], hostile.listings[b"/t"] = data, [(b"f", FILE, len(data))]
    cancelled = 0
    for how in ("waiting", "ready"):
        for step in range(1, 30):
            async with (tree / "f").open() as file:
                outcome = await attempt(file.read, Point(step, how), None, 60)
                cancelled += outcome.end == "cancelled"
                assert (outcome.value if outcome.end == "whole" else await file.read()) == data
                assert outcome.problems == ()
    assert cancelled > 2


async def test_a_listing_without_an_end_is_an_error(
    hostile: Hostile, tree: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("incus_sdk.files._sftp._MAX_LISTING", 2**20)
    page = struct.pack(">I", 100) + (string(b"x" * 200) * 2 + attributes(FILE, 0)) * 100
    answer = hostile.answer
    hostile.listings[b"/t"] = []
    monkeypatch.setattr(hostile, "answer", lambda kind, *rest: (NAME, page) if kind == READDIR else answer(kind, *rest))
    with pytest.raises(IncusConnectionError, match="the list of /t does not end"):
        async for _ in tree.iterdir():
            pass
