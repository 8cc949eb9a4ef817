"""SFTP version 3 as Incus' own server speaks it, without a connection: packets in, answers out.

The server is made with Go's ``os`` and pkg/sftp, so codes and texts of errors are theirs. It has its own packets, and
not those of the SDK's client, which would hide a mistake made in both.
"""

from __future__ import annotations

import errno
import posixpath
import stat
import struct
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import count

from ...files._sftp_packets import POSIX_RENAME, Kind, string
from .files import FakeFiles
from .tree import Node, OpenFile, Tree, chmod, chown

_MAX_PACKET = 256 * 1024  # bytes of a request
_MAX_READ = 128 * 1024  # bytes of an answer to a read
_NAMES = 128  # in an answer to a listing
_UMASK = 0o022


Answer = tuple[Kind, bytes]
"""The kind of an answer, and its fields."""

_OK, _EOF, _NO_SUCH_FILE, _PERMISSION_DENIED, _FAILURE = range(5)
_UNSUPPORTED = 8

_HARDLINK, _STATVFS = b"hardlink@openssh.com", b"statvfs@openssh.com"
_EXTENSIONS = ((_HARDLINK, b"1"), (POSIX_RENAME, b"1"), (_STATVFS, b"2"))
# Sizes of blocks, blocks (all, free, available), inodes (the same), an id, flags, the longest name.
_FILE_SYSTEM = struct.pack(">11Q", 4096, 4096, 2**21, 2**20, 2**20, 2**20, 2**19, 2**19, 0, 4096, 255)

_TEXTS = {
    errno.EBADF: "bad file descriptor",
    errno.EBUSY: "device or resource busy",
    errno.EEXIST: "file exists",
    errno.EFBIG: "file too large",
    errno.EINVAL: "invalid argument",
    errno.EISDIR: "is a directory",
    errno.ELOOP: "too many levels of symbolic links",
    errno.ENOENT: "no such file or directory",
    errno.ENOTDIR: "not a directory",
    errno.ENOTEMPTY: "directory not empty",
    errno.EPERM: "operation not permitted",
}
"""The texts of Linux for the errors of a `Tree`, as Go has them."""


class SftpProtocolError(Exception):
    """What came is not SFTP; the server closes the connection."""


class StatusError(Exception):
    """An error that a request is answered with.

    Args:
        code: The code of SFTP.
        text: The server's words.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def system_call(name: str, *paths: str) -> Generator[None]:
    """Turn the errors of a call into those that Go's ``os`` makes of them.

    Args:
        name: What Go names the call; empty for those that it does not name.
        *paths: The paths that it was given.

    Raises:
        StatusError: The call failed.
    """
    try:
        yield
    except OSError as error:
        number = error.errno or errno.EINVAL
        code = _NO_SUCH_FILE if number == errno.ENOENT else _FAILURE
        if number == errno.EPERM and len(paths) == 1:
            code = _PERMISSION_DENIED
        what = " ".join((name, *paths))
        raise StatusError(code, f"{what}: {_TEXTS[number]}" if what else _TEXTS[number]) from error


class SftpServer:
    """The server's end of one connection.

    Args:
        files: The files that it serves.
    """

    def __init__(self, files: FakeFiles) -> None:
        self._tree: Tree = files._tree
        self._received = bytearray()
        self._open: dict[bytes, OpenFile] = {}
        self._names: dict[bytes, list[tuple[str, Node]]] = {}  # those of directories that are left to send
        self._numbers = count(1)

    def receive(self, data: bytes) -> bytes:
        """Take what came from the client, in whatever pieces, and return the answers to the requests that are whole.

        Args:
            data: The bytes.

        Raises:
            SftpProtocolError: They are not SFTP.
        """
        self._received += data
        answers = bytearray()
        start = 0
        while len(self._received) - start >= 4:
            length = int.from_bytes(self._received[start : start + 4], "big")
            if not 1 <= length <= _MAX_PACKET:
                raise SftpProtocolError(f"a packet of {length} bytes")
            if len(self._received) - start < 4 + length:
                break
            answers += self._answer(bytes(self._received[start + 4 : start + 4 + length]))
            start += 4 + length
        del self._received[:start]
        return bytes(answers)

    def _answer(self, packet: bytes) -> bytes:
        kind, fields = packet[0], _Fields(packet[1:])
        if kind == Kind.INIT:
            pairs = b"".join(string(part) for pair in _EXTENSIONS for part in pair)
            return _packet(Kind.VERSION, fields.number(), pairs)
        number = fields.number()
        try:
            if kind not in _VERBS:
                raise SftpProtocolError(f"a packet of kind {kind}")
            answer, body = _VERBS[kind](self, fields)
        except StatusError as error:
            answer, body = _status(error.code, str(error))
        return _packet(answer, number, body)

    def _do_open(self, fields: _Fields) -> Answer:
        path, flags, attributes = fields.text(), fields.number(), _Attributes(fields)
        read, write = bool(flags & 1), bool(flags & 2)
        if not read and not write:
            raise StatusError(_FAILURE, _TEXTS[errno.EINVAL])
        mode = 0o644 if attributes.mode is None else attributes.mode & 0o777 & ~_UMASK
        with system_call("open", path):
            file = self._tree.open(
                path,
                read=read,
                write=write,
                create=bool(flags & 8),
                truncate=bool(flags & 16),
                exclusive=bool(flags & 32),
                mode=mode,
            )
        return self._new_handle(file)

    def _do_opendir(self, fields: _Fields) -> Answer:
        path = fields.text()
        with system_call("stat", path):
            node = self._tree.find(path)
        if not isinstance(node.content, dict):
            raise StatusError(_FAILURE, f" {path}: {_TEXTS[errno.ENOTDIR]}")
        return self._new_handle(OpenFile(node, path, True, False))

    def _new_handle(self, file: OpenFile) -> Answer:
        handle = b"%d" % next(self._numbers)
        self._open[handle] = file
        return Kind.HANDLE, string(handle)

    def _file(self, fields: _Fields) -> tuple[bytes, OpenFile]:
        handle = fields.string()
        if handle not in self._open:
            raise StatusError(_FAILURE, _TEXTS[errno.EBADF])
        return handle, self._open[handle]

    def _do_close(self, fields: _Fields) -> Answer:
        handle, _ = self._file(fields)
        del self._open[handle]
        self._names.pop(handle, None)
        return _DONE

    def _do_read(self, fields: _Fields) -> Answer:
        _, file = self._file(fields)
        with system_call("read", file.path):
            data = file.read(fields.number(8), min(fields.number(), _MAX_READ))
        if not data:
            raise StatusError(_EOF, "EOF")
        return Kind.DATA, string(data)

    def _do_write(self, fields: _Fields) -> Answer:
        _, file = self._file(fields)
        with system_call("write", file.path):
            file.write(fields.number(8), fields.string())
        return _DONE

    def _do_readdir(self, fields: _Fields) -> Answer:
        handle, file = self._file(fields)
        with system_call("readdirent", file.path):
            names = self._names.setdefault(handle, list(file.node.names.items()))
        if not names:
            raise StatusError(_EOF, "EOF")
        batch, names[:] = names[:_NAMES], names[_NAMES:]
        entries = (string(_encode(name)) + string(_ls(name, node)) + _attributes(node) for name, node in batch)
        return Kind.NAME, struct.pack(">I", len(batch)) + b"".join(entries)

    def _do_stat(self, fields: _Fields) -> Answer:
        path = fields.text()
        with system_call("stat", path):
            return Kind.ATTRS, _attributes(self._tree.find(path))

    def _do_lstat(self, fields: _Fields) -> Answer:
        path = fields.text()
        with system_call("lstat", path):
            return Kind.ATTRS, _attributes(self._tree.find(path, follow=False))

    def _do_fstat(self, fields: _Fields) -> Answer:
        return Kind.ATTRS, _attributes(self._file(fields)[1].node)

    def _do_setstat(self, fields: _Fields) -> Answer:
        path, attributes = fields.text(), _Attributes(fields)
        if attributes.size is not None:
            with system_call("truncate", path):
                self._tree.truncate(path, attributes.size)
        for name, apply in attributes.changes():
            with system_call(name, path):
                apply(self._tree.find(path))
        return _DONE

    def _do_fsetstat(self, fields: _Fields) -> Answer:
        (_, file), attributes = self._file(fields), _Attributes(fields)
        if attributes.size is not None:
            with system_call("truncate", file.path):
                file.truncate(attributes.size)
        for _, apply in attributes.changes():
            apply(file.node)
        return _DONE

    def _do_mkdir(self, fields: _Fields) -> Answer:
        path = fields.text()
        with system_call("mkdir", path):
            self._tree.mkdir(path)  # the attributes are ignored
        return _DONE

    def _do_remove(self, fields: _Fields) -> Answer:
        path = fields.text()
        with system_call("remove", path):
            self._tree.remove(path)
        return _DONE

    def _do_rename(self, fields: _Fields) -> Answer:
        path, new = fields.text(), fields.text()
        with system_call("rename", path, new):
            self._tree.rename(path, new)
        return _DONE

    def _do_readlink(self, fields: _Fields) -> Answer:
        path = fields.text()
        with system_call("readlink", path):
            return _one_name(self._tree.readlink(path))

    def _do_symlink(self, fields: _Fields) -> Answer:
        target, path = fields.text(), fields.text()  # in the order of OpenSSH, not of the protocol's text
        with system_call("symlink", target, path):
            self._tree.symlink(target, path)
        return _DONE

    def _do_realpath(self, fields: _Fields) -> Answer:
        return _one_name(real_path(fields.text()))

    def _do_extended(self, fields: _Fields) -> Answer:
        name = fields.string()
        if name == POSIX_RENAME:
            return self._do_rename(fields)
        if name == _HARDLINK:
            path, new = fields.text(), fields.text()
            with system_call("link", path, new):
                self._tree.link(path, new)
            return _DONE
        if name == _STATVFS:
            with system_call(""):
                self._tree.find(fields.text())
            return Kind.EXTENDED_REPLY, _FILE_SYSTEM
        raise StatusError(_UNSUPPORTED, "operation unsupported")


def real_path(path: str) -> str:
    """An absolute path without dots; no link is followed.

    Args:
        path: The path; a relative one starts at the root.
    """
    return posixpath.normpath("/" + path.lstrip("/"))


_VERBS: dict[int, Callable[[SftpServer, _Fields], Answer]] = {
    Kind.OPEN: SftpServer._do_open,
    Kind.CLOSE: SftpServer._do_close,
    Kind.READ: SftpServer._do_read,
    Kind.WRITE: SftpServer._do_write,
    Kind.LSTAT: SftpServer._do_lstat,
    Kind.FSTAT: SftpServer._do_fstat,
    Kind.SETSTAT: SftpServer._do_setstat,
    Kind.FSETSTAT: SftpServer._do_fsetstat,
    Kind.OPENDIR: SftpServer._do_opendir,
    Kind.READDIR: SftpServer._do_readdir,
    Kind.REMOVE: SftpServer._do_remove,
    Kind.MKDIR: SftpServer._do_mkdir,
    Kind.RMDIR: SftpServer._do_remove,  # as Go's os.Remove, either removes both
    Kind.REALPATH: SftpServer._do_realpath,
    Kind.STAT: SftpServer._do_stat,
    Kind.RENAME: SftpServer._do_rename,
    Kind.READLINK: SftpServer._do_readlink,
    Kind.SYMLINK: SftpServer._do_symlink,
    Kind.EXTENDED: SftpServer._do_extended,
}


class _Fields:
    """The fields of a request, taken one after the other."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    def number(self, size: int = 4) -> int:
        return int.from_bytes(self._take(size), "big")

    def string(self) -> bytes:
        return self._take(self.number())

    def text(self) -> str:
        return self.string().decode(errors="surrogateescape")

    def _take(self, size: int) -> bytes:
        taken = self._body[self._position : self._position + size]
        if len(taken) < size:
            raise SftpProtocolError("a packet is cut off")
        self._position += size
        return taken


class _Attributes:
    """The attributes in a request; None for those that it does not have."""

    def __init__(self, fields: _Fields) -> None:
        flags = fields.number()
        self.size = fields.number(8) if flags & 1 else None
        self._owner = (fields.number(), fields.number()) if flags & 2 else None
        self.mode = fields.number() if flags & 4 else None
        self._times = (fields.number(), fields.number()) if flags & 8 else None

    def changes(self) -> list[tuple[str, Callable[[Node], None]]]:
        """Go's names for what sets the attributes of a file but its size, in the server's order."""
        mode, owner, times = self.mode, self._owner, self._times
        changes: list[tuple[str, Callable[[Node], None]]] = []
        if mode is not None:
            changes.append(("chmod", lambda node: chmod(node, mode)))
        if owner is not None:
            changes.append(("chown", lambda node: chown(node, *owner)))
        if times is not None:
            changes.append(("chtimes", lambda node: setattr(node, "mtime", times[1])))
        return changes


def _packet(kind: Kind, number: int, body: bytes) -> bytes:
    return struct.pack(">IBI", 5 + len(body), kind, number) + body


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _status(code: int, text: str) -> Answer:
    return Kind.STATUS, struct.pack(">I", code) + string(_encode(text)) + string(b"")


_DONE = _status(_OK, "")


def _one_name(name: str) -> Answer:
    encoded = string(_encode(name))
    return Kind.NAME, struct.pack(">I", 1) + encoded * 2 + bytes(4)


def _attributes(node: Node) -> bytes:
    found, mtime = node.stat(), int(node.mtime) & 0xFFFFFFFF
    return struct.pack(">IQIIIII", 15, found.size, node.uid, node.gid, node.mode, mtime, mtime)


def _ls(name: str, node: Node) -> bytes:
    """A line of ``ls -l``, as the server writes it."""
    owner, group = ("root" if id == 0 else str(id) for id in (node.uid, node.gid))
    changed = time.gmtime(node.mtime)
    is_old = node.mtime < time.time() - 182 * 86400
    when = f"{time.strftime('%b', changed)} {changed.tm_mday} {time.strftime('%Y' if is_old else '%H:%M', changed):>5}"
    line = f"{stat.filemode(node.mode)} {1:4d} {owner:<8} {group:<8} {node.stat().size:8d} {when} {name}"
    return _encode(line)
