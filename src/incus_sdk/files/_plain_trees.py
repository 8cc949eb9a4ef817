"""The local side of a copy where the system has no descriptors of directories, no permissions and no owners: Windows.

Links are refused where the other form refuses them. But they are looked for before a path is used, so that somebody who
can write to the tree can put one there in between.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ..exceptions import IncusInputError
from ._sftp import FileStat
from ._trees import HAS_DESCRIPTORS, LocalTree, write_all

# They would lead elsewhere, to a device or the stream of another file, or lose their end.
_ODD_NAME = re.compile(
    r'[\\:*?"<>|\0-\x1f]|[. ]$|^(con|prn|aux|nul|(com|lpt)[\d¹²³]|conin\$|conout\$) *(\.|$)', re.IGNORECASE
)


class PlainTree(LocalTree):
    """A `LocalTree` by whole paths."""

    def _begin(self, owners: bool | None) -> None:
        if owners:
            raise IncusInputError("owners=True needs Linux or macOS: this system's files have other owners")
        _require(self._path, stat.S_ISDIR, follow=True)

    def _end(self) -> None:
        pass

    @contextmanager
    def _open_parent(self, path: str) -> Generator[tuple[None, str]]:
        parts = path.split("/") if path else []
        with self._path_in_errors(path):
            if any(map(_ODD_NAME.search, parts)):
                raise OSError(errno.EINVAL, "this system cannot have such a name")
            *above, name = parts or [self._top]
            parent = self._path
            for part in above:
                parent = os.path.join(parent, part)
                _require(parent, stat.S_ISDIR, follow=self._follow)
            yield None, os.path.join(parent, name)

    @contextmanager
    def _open(self, path: str, *, directory: bool = False) -> Generator[str]:
        with self._open_parent(path) as (_, name):
            _require(name, stat.S_ISDIR if directory else _is_file_or_directory, follow=self._follow)
            yield name

    def _open_to_read(self, parent: int | None, name: str) -> int:
        _require(name, stat.S_ISREG, follow=self._follow)
        return super()._open_to_read(parent, name)

    def _set_attributes(self, file: int | str, attributes: FileStat) -> None:
        os.utime(file, (attributes.mtime, attributes.mtime))

    def _complete(self, fd: int, name: str, attributes: FileStat, rest: bytes = b"") -> None:
        try:
            write_all(fd, rest)
        finally:
            os.close(fd)  # first: that sets a time, too
        self._set_attributes(name, attributes)

    def _set_attributes_of_link(self, parent: int | None, name: str, attributes: FileStat) -> None:
        pass


def local_tree(path: str, *, directory: bool, owners: bool | None = None, follow: bool = False) -> LocalTree:
    """A `LocalTree`, of the kind that this system can have."""
    kind = LocalTree if HAS_DESCRIPTORS else PlainTree
    return kind(path, directory=directory, owners=owners, follow=follow)


def _is_file_or_directory(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _require(path: str, wanted: Callable[[int], bool], *, follow: bool) -> None:
    """Refuse what has another type, as a link has unless it is followed."""
    if not wanted(os.stat(path, follow_symlinks=follow).st_mode):
        raise OSError(errno.ENOTDIR if wanted is stat.S_ISDIR else errno.ELOOP, "a link or a file of another type")
