"""The files of an instance of the fake, as a test sees them: ``fake.instance("c1").files``."""

from __future__ import annotations

import posixpath
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from ...files import FileStat
from .tree import Node, Tree, chmod, chown

# What an image of busybox has.
_DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "usr/bin", "usr/sbin", "var")
_FILES = {"/etc/group": b"root:x:0:\n", "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"}
_PROGRAMS = ("/bin/busybox", "/sbin/init")
_LINKS = {"/bin/sh": "busybox"}
_HOSTNAME = "/etc/hostname"


class FakeFiles:
    """The files of an instance, in memory: a dict of paths and contents, and a few verbs of ``os``.

        files = fake.instance("c1").files
        files["/etc/motd"] = "hello"
        files.mkdir("/srv/app", uid=1000)
        assert files["/srv/app/config"] == b"..."
        assert "/tmp/lock" not in files

    Reading and writing follow links, as in the instance. Paths are absolute. What is wrong with one raises the
    `OSError` that ``open`` would raise, as FileNotFoundError. Iterating gives all paths, and ``in`` finds any of them.
    A new instance has the few files of a container of busybox.

    Args:
        hostname: What ``/etc/hostname`` has.
    """

    def __init__(self, hostname: str = "busybox") -> None:
        self._hostname = hostname
        self._made: Tree | None = None

    @property
    def _tree(self) -> Tree:
        if self._made is None:  # most instances are never looked into
            self._made = tree = Tree()
            for name in _DIRECTORIES:
                tree.mkdir(name)
            chmod(tree.find("/tmp"), 0o1777)
            contents = {**_FILES, _HOSTNAME: f"{self._hostname}\n".encode(), **dict.fromkeys(_PROGRAMS, b"")}
            for path, content in contents.items():
                mode = 0o755 if path in _PROGRAMS else 0o644
                tree.open(path, write=True, create=True, mode=mode).node.content = content
            for path, target in _LINKS.items():
                tree.symlink(target, path)
        return self._made

    def __getitem__(self, path: str) -> bytes:
        """Read a file."""
        with _path_in_errors(path):
            return bytes(self._tree.find(path).data())

    def __setitem__(self, path: str, content: bytes | str) -> None:
        """Write a file; its directories are made. One that exists keeps its mode and owner."""
        with _path_in_errors(path):
            self._make_directories(posixpath.dirname(path))
            file = self._tree.open(path, write=True, create=True, truncate=True)
            file.write(0, content.encode() if isinstance(content, str) else bytes(content))

    def __delitem__(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it."""
        with _path_in_errors(path):
            self._tree.remove(path, recursive=True)

    def __contains__(self, path: object) -> bool:
        """Whether there is such a path, of whatever type."""
        try:
            return isinstance(path, str) and self._tree.walk(path, follow=False)[2] is not None
        except OSError:
            return False

    def __iter__(self) -> Iterator[str]:
        """All paths but ``/``, each directory before what is in it."""
        return _paths("", self._tree.root)

    def __repr__(self) -> str:
        return f"<FakeFiles: {sum(1 for _ in self)} paths>"

    def stat(self, path: str, *, follow_symlinks: bool = True) -> FileStat:
        """Get the type and the attributes of a file.

        Args:
            path: Its path.
            follow_symlinks: Of a link, get those of its target.

        Raises:
            FileNotFoundError: There is no such path.
        """
        with _path_in_errors(path):
            return self._tree.find(path, follow=follow_symlinks).stat()

    def listdir(self, path: str = "/") -> list[str]:
        """List the names in a directory, sorted.

        Args:
            path: Its path.

        Raises:
            FileNotFoundError: There is no such directory.
            NotADirectoryError: It is not a directory.
        """
        with _path_in_errors(path):
            return sorted(self._tree.find(path).names)

    def readlink(self, path: str) -> str:
        """Get the target of a symbolic link.

        Args:
            path: Its path.

        Raises:
            FileNotFoundError: There is no such path.
            OSError: It is not a link.
        """
        with _path_in_errors(path):
            return self._tree.readlink(path)

    def mkdir(self, path: str, *, mode: int | None = None, uid: int | None = None, gid: int | None = None) -> None:
        """Make a directory and those above it, unless they exist.

        Args:
            path: Its path.
            mode: Its permissions; None keeps them, and gives a new one 0755.
            uid: Its owner; None keeps it, and makes a new one root's.
            gid: Its group; None keeps it, and makes a new one root's.

        Raises:
            NotADirectoryError: A file is in the way.
        """
        with _path_in_errors(path):
            self._make_directories(path)
        self.set(path, mode=mode, uid=uid, gid=gid)

    def symlink(self, path: str, target: str) -> None:
        """Make a symbolic link; its directories are made.

        Args:
            path: Where it is.
            target: What it leads to.

        Raises:
            FileExistsError: There is something.
        """
        with _path_in_errors(path):
            self._make_directories(posixpath.dirname(path))
            self._tree.symlink(target, path)

    def set(
        self,
        path: str,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        mtime: float | None = None,
    ) -> None:
        """Set attributes; those that are None stay.

        Args:
            path: The path; a link is followed.
            mode: The permissions.
            uid: The owner.
            gid: The group.
            mtime: When the content last changed, in seconds since 1970.

        Raises:
            FileNotFoundError: There is no such path.
        """
        with _path_in_errors(path):
            node = self._tree.find(path)
        if uid is not None or gid is not None:
            chown(node, node.uid if uid is None else uid, node.gid if gid is None else gid)
        if mode is not None:
            chmod(node, mode)
        if mtime is not None:
            node.mtime = mtime

    def _copy(self, hostname: str | None = None) -> FakeFiles:
        """A copy, as of a snapshot; with ``hostname`` for a new instance, whose template is applied."""
        copy = FakeFiles(hostname or self._hostname)
        if self._made is not None:
            copy._made = self._made.copy()
            if hostname is not None and "/etc" in copy:
                copy[_HOSTNAME] = f"{hostname}\n"
        return copy

    def _make_directories(self, path: str) -> None:
        above = "/"
        for part in filter(None, path.split("/")):
            above = posixpath.join(above, part)
            _, _, node = self._tree.walk(above)
            if node is None:
                node = self._tree.mkdir(above)
            _ = node.names  # raises for a file


def _paths(path: str, node: Node) -> Iterator[str]:
    for name, child in sorted(node.names.items()):
        yield f"{path}/{name}"
        if isinstance(child.content, dict):
            yield from _paths(f"{path}/{name}", child)


@contextmanager
def _path_in_errors(path: str) -> Generator[None]:
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(f"a path in an instance must be absolute, like /etc/hosts, not {path!r}")
    try:
        yield
    except OSError as error:
        error.filename = path
        raise
