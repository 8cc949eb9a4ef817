"""The files of an instance of the fake: what tests see of them, SFTP, and the calls of the files endpoint.

The answers of SFTP and of the endpoint are those of Incus 7.0.2.
"""

from __future__ import annotations

import struct
from itertools import count

import pytest

from incus_sdk.testing._fake.files import FakeFiles
from incus_sdk.testing._fake.sftp_server import SftpProtocolError, SftpServer

READ, WRITE, CREATE, TRUNCATE, EXCLUSIVE = 1, 2, 8, 16, 32


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(">I", len(data)) + data


class Client:
    """A client that reads answers as they are."""

    def __init__(self, files: FakeFiles) -> None:
        self.server = SftpServer(files)
        self.numbers = count(7)

    def packet(self, kind: int, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return struct.pack(">IBI", 5 + len(body), kind, next(self.numbers)) + body

    def ask(self, kind: int, *parts: bytes) -> tuple[int, bytes]:
        answer = self.server.receive(self.packet(kind, *parts))
        assert len(answer) == 4 + int.from_bytes(answer[:4], "big")
        return answer[4], answer[9:]

    def says(self, kind: int, *parts: bytes) -> tuple[int, str] | bytes:
        """The code and text of an error, or else the answer."""
        answered, body = self.ask(kind, *parts)
        if answered != 101:
            return body
        code, length = struct.unpack(">II", body[:8])
        return code, body[8 : 8 + length].decode()

    def open(self, path: str, flags: int, *attributes: int) -> bytes:
        given = attributes or (0,)
        packed = struct.pack(f">{1 + len(given)}I", flags, *given)
        answered, body = self.ask(3, string(path), packed)
        assert answered == 102
        return body


@pytest.fixture
def files() -> FakeFiles:
    files = FakeFiles("c1")
    files["/tmp/a"] = "hello"
    files.mkdir("/tmp/d/e")
    files.symlink("/tmp/loop", "loop")
    files.symlink("/tmp/dangling", "nowhere")
    files.symlink("/tmp/to-a", "../tmp/a")
    return files


@pytest.fixture
def client(files: FakeFiles) -> Client:
    return Client(files)


def test_files_are_a_dict_of_paths_and_contents(files: FakeFiles) -> None:
    assert files["/etc/hostname"] == b"c1\n"
    files["/srv/app/config.ini"] = b"x"
    files.set("/srv/app/config.ini", mode=0o600, uid=7)
    files["/srv/app/config.ini"] = "ü"
    assert files["/srv/app/config.ini"] == "ü".encode()
    found = files.stat("/srv/app/config.ini")
    assert (found.type, found.mode, found.uid, found.size) == ("file", 0o600, 7, 2)
    assert "/srv/app" in files
    assert "/srv/app/config.ini/x" not in files
    del files["/srv"]
    assert "/srv" not in files
    assert files["/tmp/to-a"] == b"hello"
    assert files.readlink("/tmp/to-a") == "../tmp/a"
    assert files.stat("/tmp/to-a", follow_symlinks=False).type == "symlink"
    assert files.listdir("/tmp") == ["a", "d", "dangling", "loop", "to-a"]
    assert [path for path in files if path.startswith("/tmp/d")] == ["/tmp/d", "/tmp/d/e", "/tmp/dangling"]
    assert files.stat("/tmp").mode == 0o1777


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/nope", FileNotFoundError),
        ("/tmp", IsADirectoryError),
        ("/tmp/a/b", NotADirectoryError),
        ("/tmp/loop", OSError),
        ("etc", ValueError),
    ],
)
def test_what_is_wrong_with_a_path_is_said_with_it(files: FakeFiles, path: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=path):
        files[path]


def test_a_copy_shares_nothing_that_is_written(files: FakeFiles) -> None:
    client = Client(files)
    handle = client.open("/tmp/a", WRITE)
    assert client.says(6, handle, struct.pack(">Q", 0), string("J")) == (0, "")
    client.ask(200, string("hardlink@openssh.com"), string("/tmp/a"), string("/tmp/hard"))
    copy = files._copy("c2")
    client.ask(6, handle, struct.pack(">Q", 1), string("E"))
    assert (files["/tmp/hard"], copy["/tmp/hard"]) == (b"JEllo", b"Jello")
    copy["/tmp/a"] = "new"
    assert (files["/tmp/a"], copy["/tmp/hard"]) == (b"JEllo", b"new")
    assert (files["/etc/hostname"], copy["/etc/hostname"]) == (b"c1\n", b"c2\n")


ENOENT, ENOTDIR = "no such file or directory", "not a directory"
OLD, NEW = string("posix-rename@openssh.com"), string("hardlink@openssh.com")


PACKETS: list[tuple[int, list[bytes], tuple[int, str] | bytes]] = [
    (17, [string("/nope")], (2, f"stat /nope: {ENOENT}")),
    (17, [string("")], (2, f"stat : {ENOENT}")),
    (17, [string("/tmp/loop")], (4, "stat /tmp/loop: too many levels of symbolic links")),
    (17, [string("/tmp/dangling")], (2, f"stat /tmp/dangling: {ENOENT}")),
    (7, [string("/etc/hostname/x")], (4, f"lstat /etc/hostname/x: {ENOTDIR}")),
    (3, [string("/nope"), struct.pack(">II", READ, 0)], (2, f"open /nope: {ENOENT}")),
    (3, [string("/etc"), struct.pack(">II", WRITE, 0)], (4, "open /etc: is a directory")),
    (3, [string("/etc"), struct.pack(">II", 0, 0)], (4, "invalid argument")),
    (3, [string("/tmp/a"), struct.pack(">II", WRITE | CREATE | EXCLUSIVE, 0)], (4, "open /tmp/a: file exists")),
    (5, [string("9"), struct.pack(">QI", 0, 10)], (4, "bad file descriptor")),
    (4, [string("9")], (4, "bad file descriptor")),
    (11, [string("/etc/hostname")], (4, f" /etc/hostname: {ENOTDIR}")),
    (11, [string("/nope")], (2, f"stat /nope: {ENOENT}")),
    (14, [string("/etc"), bytes(4)], (4, "mkdir /etc: file exists")),
    (14, [string("/no/x"), bytes(4)], (2, f"mkdir /no/x: {ENOENT}")),
    (14, [string("/tmp/m/"), bytes(4)], (0, "")),
    (15, [string("/tmp/d")], (4, "remove /tmp/d: directory not empty")),
    (15, [string("/tmp/a")], (0, "")),
    (13, [string("/tmp/d/e")], (0, "")),
    (13, [string("/nope")], (2, f"remove /nope: {ENOENT}")),
    (13, [string("/")], (4, "remove /: device or resource busy")),
    (200, [OLD, string("/nope"), string("/tmp/y")], (2, f"rename /nope /tmp/y: {ENOENT}")),
    (200, [OLD, string("/tmp/a"), string("/etc")], (4, "rename /tmp/a /etc: file exists")),
    (200, [OLD, string("/tmp/a"), string("/no/y")], (2, f"rename /tmp/a /no/y: {ENOENT}")),
    (200, [OLD, string("/tmp/d"), string("/tmp/d/e/x")], (4, "rename /tmp/d /tmp/d/e/x: invalid argument")),
    (200, [OLD, string("/tmp/d"), string("/tmp/a")], (4, f"rename /tmp/d /tmp/a: {ENOTDIR}")),
    (200, [OLD, string("/tmp/a"), string("/tmp/a")], (0, "")),
    (18, [string("/tmp/a"), string("/tmp/dangling")], (0, "")),
    (200, [NEW, string("/tmp/a"), string("/tmp/loop")], (4, "link /tmp/a /tmp/loop: file exists")),
    (200, [NEW, string("/etc"), string("/tmp/x")], (4, "link /etc /tmp/x: operation not permitted")),
    (200, [string("statvfs@openssh.com"), string("/nope")], (2, ENOENT)),
    (200, [string("odd@x.com"), string("/")], (8, "operation unsupported")),
    (20, [string("t"), string("/tmp/a")], (4, "symlink t /tmp/a: file exists")),
    (20, [string(""), string("/tmp/x")], (2, f"symlink  /tmp/x: {ENOENT}")),
    (19, [string("/etc")], (4, "readlink /etc: invalid argument")),
    (9, [string("/nope"), struct.pack(">II", 4, 0o644)], (2, f"chmod /nope: {ENOENT}")),
    (9, [string("/nope"), struct.pack(">III", 2, 0, 0)], (2, f"chown /nope: {ENOENT}")),
    (9, [string("/nope"), struct.pack(">III", 8, 0, 0)], (2, f"chtimes /nope: {ENOENT}")),
    (9, [string("/etc"), struct.pack(">IQ", 1, 0)], (4, "truncate /etc: is a directory")),
    (9, [string("/tmp/a"), struct.pack(">IQ", 1, 2**60)], (4, "truncate /tmp/a: file too large")),
    (9, [string("/nope"), bytes(4)], (0, "")),
    (16, [string("/etc/../tmp/./x")], struct.pack(">I", 1) + string("/tmp/x") * 2 + bytes(4)),
    (19, [string("/tmp/loop")], struct.pack(">I", 1) + string("loop") * 2 + bytes(4)),
]
"""Kinds, fields, and the answers of the server: code and text of an error, or else the fields."""


@pytest.mark.parametrize(("kind", "parts", "answer"), PACKETS)
def test_sftp_answers_as_the_server_does(
    client: Client, kind: int, parts: list[bytes], answer: tuple[int, str] | bytes
) -> None:
    assert client.says(kind, *parts) == answer


def test_sftp_greets_with_its_extensions(client: Client) -> None:
    greeting = client.server.receive(struct.pack(">IBI", 5, 1, 3))
    extensions = "hardlink@openssh.com", "1", "posix-rename@openssh.com", "1", "statvfs@openssh.com", "2"
    assert greeting == struct.pack(">IBI", 95, 2, 3) + b"".join(map(string, extensions))


def test_sftp_reads_and_writes_open_files(files: FakeFiles, client: Client) -> None:
    handle = client.open("/tmp/w", WRITE | CREATE, 4, 0o4777)
    assert client.says(5, handle, struct.pack(">QI", 0, 3)) == (4, "read /tmp/w: bad file descriptor")
    assert client.says(6, handle, struct.pack(">Q", 5), string("x")) == (0, "")
    assert files.stat("/tmp/w").mode == 0o755
    assert client.says(10, handle, struct.pack(">II", 4, 0o4755 | 1 << 23)) == (0, "")
    assert files.stat("/tmp/w").mode == 0o4755
    assert client.says(10, handle, struct.pack(">III", 2, 9, 8)) == (0, "")
    assert (files.stat("/tmp/w").mode, files.stat("/tmp/w").uid) == (0o755, 9), "another owner clears set-id bits"
    assert client.says(10, handle, struct.pack(">III", 8, 5, 6)) == (0, "")
    client.ask(13, string("/tmp/w"))
    fields = struct.unpack(">IQIIIII", client.says(8, handle))  # type: ignore[arg-type]  # attributes
    assert fields == (15, 6, 9, 8, 0o100755, 6, 6)
    assert client.says(4, handle) == (0, "")
    handle = client.open("/tmp/to-a", READ)
    assert client.says(5, handle, struct.pack(">QI", 1, 3)) == string("ell")
    assert client.says(5, handle, struct.pack(">QI", 5, 3)) == (1, "EOF")
    assert client.says(6, handle, struct.pack(">Q", 5), string("x")) == (4, "write /tmp/to-a: bad file descriptor")
    assert client.says(10, handle, struct.pack(">IQ", 1, 2)) == (4, "truncate /tmp/to-a: invalid argument")
    assert client.says(12, handle) == (4, f"readdirent /tmp/to-a: {ENOTDIR}")


def test_sftp_lists_names_in_batches(files: FakeFiles, client: Client) -> None:
    for number in range(300):
        files[f"/srv/{number}"] = b""
    files.set("/srv/7", mtime=0)
    _, handle = client.ask(11, string("/srv"))
    sizes, lines = [], b""
    while isinstance(answer := client.says(12, handle), bytes):
        sizes.append(int.from_bytes(answer[:4], "big"))
        lines += answer
    assert (sizes, answer) == ([128, 128, 44], (1, "EOF"))
    assert b"-rw-r--r--    1 root     root            0 Jan 1  1970 7" in lines


def test_sftp_takes_packets_in_any_pieces(files: FakeFiles) -> None:
    client = Client(files)
    packets = b"".join(client.packet(17, string(path)) for path in ("/etc", "/tmp/a"))
    whole = Client(files).server.receive(packets)
    assert b"".join(client.server.receive(packets[at : at + 1]) for at in range(len(packets))) == whole
    for wrong in (struct.pack(">IBI", 5, 99, 1), struct.pack(">IBI", 9, 17, 1) + b"\0\0\0\7", b"\xff" * 9):
        with pytest.raises(SftpProtocolError):
            Client(files).server.receive(wrong)
