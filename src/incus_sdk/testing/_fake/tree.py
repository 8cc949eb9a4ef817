"""A file system in memory: what Linux makes of names, links, modes and owners, for root.

Errors are those of the system, as `OSError`. Knows nothing of instances, packets or requests. Bytes of names that are
not UTF-8 are surrogates, as in ``os.fsdecode``.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from ...files import FileStat

_MAX_LINKS = 40  # symbolic links followed in one path, as many as the kernel follows
_MAX_SIZE = 2**32  # bytes of a file
_DIRECTORY_SIZE = 4096  # bytes that a directory claims to have
_SET_ID = 0o6000

Content = bytes | bytearray | str | dict[str, "Node"] | None
"""The bytes of a file, the target of a link, the names in a directory; None for other types."""


class Node:
    """What a name leads to: a file, a directory, a link, or another thing.

    Args:
        mode: Type and permissions.
        content: See `Content`.
    """

    __slots__ = ("content", "gid", "mode", "mtime", "uid")

    def __init__(self, mode: int, content: Content) -> None:
        self.mode = mode
        self.content = content
        self.uid = self.gid = 0
        self.mtime = time.time()

    @property
    def names(self) -> dict[str, Node]:
        """The names in a directory."""
        if not isinstance(self.content, dict):
            raise _error(errno.ENOTDIR)
        return self.content

    def put(self, name: str, node: Node) -> None:
        """Give a node a name in this directory."""
        self.names[name] = node
        self.mtime = time.time()

    def drop(self, name: str) -> None:
        """Remove a name from this directory."""
        del self.names[name]
        self.mtime = time.time()

    def data(self) -> bytes | bytearray:
        """The bytes of a file."""
        if isinstance(self.content, dict):
            raise _error(errno.EISDIR)
        return self.content if isinstance(self.content, bytes | bytearray) else b""

    def buffer(self) -> bytearray:
        """The bytes of a file, to be changed in place."""
        if not isinstance(self.content, bytearray):
            self.content = bytearray(self.data())
        self.mtime = time.time()
        return self.content

    def stat(self) -> FileStat:
        """The type and the attributes."""
        if isinstance(self.content, str):
            size = len(self.content.encode(errors="surrogateescape"))
        else:
            size = _DIRECTORY_SIZE if isinstance(self.content, dict) else len(self.data())
        return FileStat.of(self.mode, self.uid, self.gid, size, int(self.mtime))

    def holds(self, other: Node) -> bool:
        """Whether the other one is this, or in it at any depth."""
        return self is other or (
            isinstance(self.content, dict) and any(node.holds(other) for node in self.content.values())
        )

    def copy(self, copies: dict[int, Node]) -> Node:
        """A copy with all that is in it; ``copies`` knows those with several names. Bytes are shared, not copied."""
        if (known := copies.get(id(self))) is not None:
            return known
        if isinstance(self.content, bytearray):
            self.content = bytes(self.content)
        copy = copies[id(self)] = Node(self.mode, self.content)
        if isinstance(self.content, dict):
            copy.content = {name: node.copy(copies) for name, node in self.content.items()}
        copy.uid, copy.gid, copy.mtime = self.uid, self.gid, self.mtime
        return copy


class OpenFile:
    """A file that is open, whatever happens to its name.

    Args:
        node: The file or directory.
        path: How it was opened.
        readable: Whether it may be read.
        writable: Whether it may be written.
    """

    def __init__(self, node: Node, path: str, readable: bool, writable: bool) -> None:
        self.node = node
        self.path = path
        self._readable = readable
        self._writable = writable

    def read(self, offset: int, size: int) -> bytes:
        """Up to that many bytes; none at the end."""
        if not self._readable:
            raise _error(errno.EBADF)
        return bytes(self.node.data()[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        """Write, beyond the end after a gap of zeros."""
        if not self._writable:
            raise _error(errno.EBADF)
        buffer = self._resized(max(len(self.node.data()), offset + len(data)) if data else len(self.node.data()))
        buffer[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        """Cut or extend it."""
        if not self._writable:
            raise _error(errno.EINVAL)
        self._resized(size)

    def _resized(self, size: int) -> bytearray:
        if size > _MAX_SIZE:
            raise _error(errno.EFBIG)
        buffer = self.node.buffer()
        del buffer[size:]
        buffer.extend(bytes(size - len(buffer)))
        return buffer


class Tree:
    """A file system; each verb is a system call."""

    def __init__(self) -> None:
        self.root = Node(stat.S_IFDIR | 0o755, {})

    def copy(self) -> Tree:
        """A copy, which costs little: the content of files is shared until it is written."""
        copy = Tree()
        copy.root = self.root.copy({})
        return copy

    def walk(self, path: str, *, follow: bool = True) -> tuple[Node, str, Node | None]:
        """The directory with the last name, that name, and what it leads to; for the root, itself.

        Args:
            path: From the root, with or without a leading slash.
            follow: Whether to follow a link that is the last name.
        """
        if not path:
            raise _error(errno.ENOENT)
        way, todo, links = [("", self.root)], _parts(path), 0
        while todo:
            part, (_, here) = todo.pop(), way[-1]
            names = here.names
            if part == "..":
                del way[max(1, len(way) - 1) :]
            if part in (".", ".."):
                continue
            node = names.get(part)
            if node is None:
                if todo:
                    raise _error(errno.ENOENT)
                return here, part, None
            if isinstance(node.content, str) and (follow or todo):
                links += 1
                if links > _MAX_LINKS:
                    raise _error(errno.ELOOP)
                todo += _parts(node.content)
                if node.content.startswith("/"):
                    del way[1:]
            else:
                way.append((part, node))
        (_, parent), (name, node) = way[-2:] if len(way) > 1 else way * 2
        return parent, name, node

    def find(self, path: str, *, follow: bool = True) -> Node:
        """What a path leads to."""
        _, _, node = self.walk(path, follow=follow)
        if node is None:
            raise _error(errno.ENOENT)
        return node

    def open(
        self,
        path: str,
        *,
        read: bool = False,
        write: bool = False,
        create: bool = False,
        truncate: bool = False,
        exclusive: bool = False,
        mode: int = 0o644,
    ) -> OpenFile:
        """Open a file, or a directory to read its names."""
        parent, name, node = self.walk(path, follow=not (create and exclusive))
        if node is None:
            if not create:
                raise _error(errno.ENOENT)
            node = Node(stat.S_IFREG | mode, b"")
            parent.put(name, node)
        elif create and exclusive:
            raise _error(errno.EEXIST)
        elif isinstance(node.content, dict) and (write or create):
            raise _error(errno.EISDIR)
        file = OpenFile(node, path, read, write)
        if truncate and node.content:
            file.truncate(0)
        return file

    def mkdir(self, path: str, mode: int = 0o755) -> Node:
        """Make a directory."""
        return self._make(path.rstrip("/") or "/", stat.S_IFDIR | mode, {})

    def symlink(self, target: str, path: str) -> Node:
        """Make a link at ``path``."""
        if not target:
            raise _error(errno.ENOENT)
        return self._make(path, stat.S_IFLNK | 0o777, target)

    def link(self, path: str, new: str) -> None:
        """Give a file another name."""
        node = self.find(path, follow=False)
        parent, name = self._free(new)
        if isinstance(node.content, dict):
            raise _error(errno.EPERM)
        parent.put(name, node)

    def readlink(self, path: str) -> str:
        """The target of a link."""
        node = self.find(path, follow=False)
        if not isinstance(node.content, str):
            raise _error(errno.EINVAL)
        return node.content

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or a link; a directory if it is empty, or with all that is in it."""
        parent, name, node = self.walk(path, follow=False)
        if node is None:
            raise _error(errno.ENOENT)
        if node is self.root:
            raise _error(errno.EBUSY)
        if isinstance(node.content, dict) and node.content and not recursive:
            raise _error(errno.ENOTEMPTY)
        parent.drop(name)

    def rename(self, path: str, new: str) -> None:
        """Give something another path, in place of a file that has it."""
        old_parent, old_name, node = self.walk(path, follow=False)
        if node is None:
            raise _error(errno.ENOENT)
        parent, name, there = self.walk(new, follow=False)
        if there is not None and isinstance(there.content, dict) and (there is not node or path == new):
            raise _error(errno.EEXIST)
        if there is node:
            return
        if node.holds(parent):
            raise _error(errno.EINVAL)
        if there is not None and isinstance(node.content, dict):
            raise _error(errno.ENOTDIR)
        old_parent.drop(old_name)
        parent.put(name, node)

    def truncate(self, path: str, size: int) -> None:
        """Cut or extend a file."""
        self.open(path, write=True).truncate(size)

    def _make(self, path: str, mode: int, content: Content) -> Node:
        parent, name = self._free(path)
        node = Node(mode, content)
        parent.put(name, node)
        return node

    def _free(self, path: str) -> tuple[Node, str]:
        """The directory and the name of a path where nothing is yet."""
        parent, name, node = self.walk(path, follow=False)
        if node is not None:
            raise _error(errno.EEXIST)
        return parent, name


def chmod(node: Node, mode: int) -> None:
    """Set the permissions."""
    node.mode = stat.S_IFMT(node.mode) | mode & 0o7777


def chown(node: Node, uid: int, gid: int) -> None:
    """Set the owner, which clears the set-id bits of a file."""
    node.uid, node.gid = uid, gid
    if stat.S_ISREG(node.mode):
        node.mode &= ~_SET_ID


def _parts(path: str) -> list[str]:
    """The names in a path, the last one first; after a slash at its end comes a dot, which needs a directory."""
    parts = [part for part in path.split("/") if part]
    return [*parts, "."][::-1] if path.endswith("/") and parts else parts[::-1]


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
