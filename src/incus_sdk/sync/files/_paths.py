"""Paths in an instance or a volume, with the verbs of ``pathlib``, and whole trees pushed and pulled.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, overload

from ...files import _paths as _source
from .. import _twin

if TYPE_CHECKING:
    import os
    from pathlib import PurePosixPath
    from typing import Any, Literal

    from ...files._file_streams import Data, FileContent
    from ...files._sftp import FileStat
    from ...files._trees import Transfer
    from ...operations import OnProgress
    from ._file_streams import RemoteReader, RemoteWriter


class RemotePath(_twin.Twin):
    """A path in an instance or a volume: a pure, immutable, hashable path until a verb is awaited.

        hosts = instance.path("/etc") / "hosts"
        print(hosts.read_text())

    Paths are absolute. Bytes in them that are not UTF-8 become surrogates, as in ``os.fsdecode``. The instance's own
    system follows links, so they never lead out of the instance. Each verb opens a connection of its own, except on
    paths that come from `connected`.

    All verbs raise `IncusNotFoundError` for a missing path, `IncusConflictError` for one that must not exist,
    `IncusPermissionError` where the instance's system denies access, and `IncusAPIError` for its other errors.

    Raises:
        IncusInputError: The path is not absolute, is too long, or contains a NUL.

    API:
        ``GET /1.0/instances/{name}/sftp`` or ``GET /1.0/storage-pools/{pool}/volumes/{type}/{name}/sftp``, upgraded;
        volumes need extension ``custom_volume_sftp``.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.RemotePath: ...

    def __str__(self) -> str:
        return str(self._async)

    def __bytes__(self) -> bytes:
        return bytes(self._async)

    def __lt__(self, other: RemotePath) -> bool:
        result: bool = self._async < _twin.unwrap(other)
        return result

    def __truediv__(self, segment: str | PurePosixPath) -> RemotePath:
        result: RemotePath = self._wrap(self._async / _twin.unwrap(segment))
        return result

    @property
    def parts(self) -> tuple[str, ...]:
        """The names in the path; the first is ``/``."""
        return self._async.parts

    @property
    def name(self) -> str:
        """The last name; empty for ``/``."""
        return self._async.name

    @property
    def stem(self) -> str:
        """The last name without its suffix."""
        return self._async.stem

    @property
    def suffix(self) -> str:
        """The end of the last name, from its last dot on."""
        return self._async.suffix

    @property
    def parent(self) -> RemotePath:
        """The path without its last name; ``/`` is its own parent."""
        result: RemotePath = self._wrap(self._async.parent)
        return result

    @property
    def parents(self) -> tuple[RemotePath, ...]:
        """All paths above it, the nearest first."""
        result: tuple[RemotePath, ...] = self._wrap(self._async.parents)
        return result

    def joinpath(self, *segments: str | PurePosixPath) -> RemotePath:
        """Join it with more segments.

        Args:
            *segments: Names or relative paths; an absolute one replaces all before it.

        Raises:
            IncusInputError: The path is too long or contains a NUL.
        """
        result: RemotePath = self._wrap(self._async.joinpath(*segments))
        return result

    def with_name(self, name: str) -> RemotePath:
        """Replace the last name.

        Args:
            name: The new name.
        """
        result: RemotePath = self._wrap(self._async.with_name(name))
        return result

    def with_stem(self, stem: str) -> RemotePath:
        """Replace the last name and keep its suffix.

        Args:
            stem: The new name without the suffix.
        """
        result: RemotePath = self._wrap(self._async.with_stem(stem))
        return result

    def with_suffix(self, suffix: str) -> RemotePath:
        """Replace the suffix.

        Args:
            suffix: The new suffix with its dot; empty removes it.
        """
        result: RemotePath = self._wrap(self._async.with_suffix(suffix))
        return result

    def is_relative_to(self, other: str | RemotePath) -> bool:
        """Check whether it is another path or below it, by names alone.

        Args:
            other: The other path.
        """
        result: bool = self._async.is_relative_to(_twin.unwrap(other))
        return result

    def relative_to(self, other: str | RemotePath) -> PurePosixPath:
        """Return the rest of the path below another one.

        Args:
            other: The path above.

        Raises:
            ValueError: It is not below the other.
        """
        result: PurePosixPath = self._async.relative_to(_twin.unwrap(other))
        return result

    def connected(self) -> AbstractContextManager[RemotePath]:
        """Open one connection for all verbs of this path and of paths made from it, inside the block.

            with instance.path("/srv").connected() as srv:
                for name, text in pages.items():
                    (srv / name).write_text(text)

        Yields:
            The same path, connected.

        Raises:
            IncusNotFoundError: There is no such instance or volume.
            IncusUnsupportedError: The server does not offer the files of volumes.

        API:
            ``GET .../sftp``, upgraded.
        """
        return self._portal.enter(self._async.connected(), self._wrap)

    def read_bytes(self, *, limit: int | None = None) -> bytes:
        """Read a file.

        Args:
            limit: The bytes that it may have; a longer one is an error, and not read on. None for no limit.

        Raises:
            IncusInputError: ``limit`` is not a number of bytes.
            IncusNotFoundError: There is no such file.
            IncusAPIError: It is not a regular file, or longer than the limit.
        """
        return self._portal.run(self._async.read_bytes(limit=limit))

    def read_text(self, encoding: str = "utf-8", errors: str = "strict", *, limit: int | None = None) -> str:
        """Read a file as text.

        Args:
            encoding: The encoding of the file.
            errors: What to do with bytes that are invalid in it, as in ``bytes.decode``.
            limit: See `read_bytes`.

        Raises:
            IncusInputError: ``limit`` is not a number of bytes.
            IncusNotFoundError: There is no such file.
            IncusAPIError: It is not a regular file, or longer than the limit.
            UnicodeDecodeError: It is not in that encoding.
        """
        return self._portal.run(self._async.read_text(encoding, errors, limit=limit))

    def write_bytes(
        self,
        data: FileContent,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        progress: OnProgress | None = None,
    ) -> int:
        """Write a file, new or in place of the old content.

        Args:
            data: The content: bytes, a binary file that is open, or an iterable of bytes.
            mode: The file's permissions, new or not; None keeps them, and gives a new file 0644.
            uid: The file's owner; None keeps it, and makes a new file root's.
            gid: The file's group; None keeps it, and makes a new file root's.
            progress: Called for each piece, as stage ``upload``.

        Returns:
            The number of bytes.

        Raises:
            IncusInputError: The data is something else.
            IncusNotFoundError: There is no such directory.
            IncusAPIError: The path is not a regular file.
        """
        return self._portal.run(
            self._async.write_bytes(
                _twin.given_content(data), mode=mode, uid=uid, gid=gid, progress=_twin.posted(progress)
            )
        )

    def write_text(
        self,
        text: str,
        encoding: str = "utf-8",
        errors: str = "strict",
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
    ) -> int:
        """Write text to a file, new or in place of the old content.

        Args:
            text: The content.
            encoding: The encoding of the file.
            errors: What to do with characters that do not exist in it, as in ``str.encode``.
            mode: See `write_bytes`.
            uid: See `write_bytes`.
            gid: See `write_bytes`.

        Returns:
            The number of bytes.

        Raises:
            IncusInputError: The text is not a str.
            IncusNotFoundError: There is no such directory.
            IncusAPIError: The path is not a regular file.
            UnicodeEncodeError: The text does not fit the encoding.
        """
        return self._portal.run(self._async.write_text(text, encoding, errors, mode=mode, uid=uid, gid=gid))

    def append(self, data: Data) -> int:
        """Write at the end of a file, or to a new one.

        Args:
            data: The bytes to add.

        Returns:
            The number of bytes added.

        Raises:
            IncusInputError: The data is not bytes.
            IncusNotFoundError: There is no such directory.
            IncusAPIError: The path is not a regular file.
        """
        return self._portal.run(self._async.append(data))

    @overload
    def open(self, mode: Literal["rb"] = "rb") -> AbstractContextManager[RemoteReader]: ...
    @overload
    def open(
        self,
        mode: Literal["wb", "ab", "xb"],
        *,
        permissions: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
    ) -> AbstractContextManager[RemoteWriter]: ...
    def open(
        self, mode: str = "rb", *, permissions: int | None = None, uid: int | None = None, gid: int | None = None
    ) -> AbstractContextManager[Any]:
        """Open a file as a stream, by ``with``.

        If the block raises, a new file is removed, and one that existed keeps what was written until then; `push`
        replaces files as a whole. Fifos, sockets and devices are refused, since opening one could block forever.

        Args:
            mode: ``rb`` reads; ``wb`` writes from the start, ``ab`` at the end, ``xb`` only a new file.
            permissions: The file's permissions, new or not; None keeps them, and gives a new file 0644.
            uid: The file's owner; None keeps it, and makes a new file root's.
            gid: The file's group; None keeps it, and makes a new file root's.

        Returns:
            The context of a `RemoteReader` or a `RemoteWriter`.

        Raises:
            IncusInputError: The mode is invalid.
            IncusNotFoundError: There is no such file, or no such directory to write it to.
            IncusConflictError: With ``xb``: it exists.
            IncusAPIError: It is not a regular file.
        """
        held: Any = self._async
        result: AbstractContextManager[Any] = self._wrap(held.open(mode, permissions=permissions, uid=uid, gid=gid))
        return result

    def stat(self, *, follow_symlinks: bool = True) -> FileStat:
        """Get the type and the attributes of a file.

        Args:
            follow_symlinks: Of a link, get those of its target.

        Raises:
            IncusNotFoundError: There is no such path.
        """
        return self._portal.run(self._async.stat(follow_symlinks=follow_symlinks))

    def lstat(self) -> FileStat:
        """Get the type and the attributes of a file, of a link its own.

        Raises:
            IncusNotFoundError: There is no such path.
        """
        return self._portal.run(self._async.lstat())

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Check whether there is such a path.

        Args:
            follow_symlinks: Of a link, check its target.
        """
        return self._portal.run(self._async.exists(follow_symlinks=follow_symlinks))

    def is_file(self) -> bool:
        """Check whether it is a regular file, or a link to one."""
        return self._portal.run(self._async.is_file())

    def is_dir(self) -> bool:
        """Check whether it is a directory, or a link to one."""
        return self._portal.run(self._async.is_dir())

    def is_symlink(self) -> bool:
        """Check whether it is a link, even a broken one."""
        return self._portal.run(self._async.is_symlink())

    def iterdir(self) -> Generator[RemotePath]:
        """List the paths in a directory, in no particular order.

        Raises:
            IncusNotFoundError: There is no such directory.
            IncusAPIError: It is not a directory.
        """
        return self._portal.iterate(self._async.iterdir(), self._wrap)

    def walk(self) -> Generator[tuple[RemotePath, list[str], list[str]]]:
        """Walk a directory and all below it from the top down, as ``os.walk`` does; links are not followed.

        Yields:
            A directory, the names of the directories in it, and of all else. Names removed from the first list are not
            walked.

        Raises:
            IncusNotFoundError: There is no such directory.
            IncusAPIError: It is not a directory.
        """
        return self._portal.iterate(self._async.walk(), self._wrap)

    def mkdir(
        self,
        mode: int = 493,
        parents: bool = False,
        exist_ok: bool = False,
        *,
        uid: int | None = None,
        gid: int | None = None,
    ) -> None:
        """Make a directory.

        Args:
            mode: Its permissions.
            parents: Make missing directories above it too, with the same owner, 0755.
            exist_ok: Accept a directory that exists; its attributes stay.
            uid: Its owner; None for root.
            gid: Its group; None for root's.

        Raises:
            IncusInputError: The mode or an id is invalid.
            IncusNotFoundError: The directory above does not exist.
            IncusConflictError: The path exists.
        """
        self._portal.run(self._async.mkdir(mode, parents, exist_ok, uid=uid, gid=gid))

    def touch(self, mode: int | None = None, exist_ok: bool = True) -> None:
        """Make an empty file, or set the time of change of one that exists to now.

        Args:
            mode: The permissions of a new file; None for 0644.
            exist_ok: Accept a file that exists.

        Raises:
            IncusNotFoundError: There is no such directory.
            IncusConflictError: Without ``exist_ok``: it exists.
        """
        self._portal.run(self._async.touch(mode, exist_ok))

    def chmod(self, mode: int) -> None:
        """Set the permissions, of a link those of its target.

        Args:
            mode: The permissions, with the set-uid, set-gid and sticky bits.

        Raises:
            IncusInputError: The mode is invalid.
            IncusNotFoundError: There is no such path.
        """
        self._portal.run(self._async.chmod(mode))

    def chown(self, uid: int | None = None, gid: int | None = None) -> None:
        """Set the owner, the group or both, of a link those of its target; the system clears set-id bits.

        Args:
            uid: The owner; None keeps it.
            gid: The group; None keeps it.

        Raises:
            IncusInputError: An id is invalid.
            IncusNotFoundError: There is no such path.
        """
        self._portal.run(self._async.chown(uid, gid))

    def symlink_to(self, target: str | RemotePath) -> None:
        """Make this path a link.

        Args:
            target: Where it leads; stored unchanged, and need not exist.

        Raises:
            IncusInputError: The target is empty, is too long, or contains a NUL.
            IncusNotFoundError: There is no such directory.
            IncusConflictError: The path exists.
        """
        self._portal.run(self._async.symlink_to(_twin.used(target)))

    def readlink(self) -> str:
        """Get the target of a link, unresolved.

        Raises:
            IncusNotFoundError: There is no such path.
            IncusAPIError: It is not a link.
        """
        return self._portal.run(self._async.readlink())

    def rename(self, target: str | RemotePath) -> RemotePath:
        """Move it to another path in the same instance or volume; a file there is replaced.

        Args:
            target: The new path, absolute.

        Returns:
            The new path.

        Raises:
            IncusInputError: The target is not absolute, or is in another instance or volume.
            IncusNotFoundError: There is no such path.
        """
        result: RemotePath = self._wrap(self._portal.run(self._async.rename(_twin.used(target))))
        return result

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove a file or a link.

        Args:
            missing_ok: Accept a path that does not exist.

        Raises:
            IncusNotFoundError: There is no such path.
            IncusAPIError: It is a directory.
        """
        self._portal.run(self._async.unlink(missing_ok))

    def rmdir(self) -> None:
        """Remove an empty directory.

        Raises:
            IncusNotFoundError: There is no such path.
            IncusConflictError: It is not empty.
            IncusAPIError: It is not a directory.
        """
        self._portal.run(self._async.rmdir())

    def rmtree(self, missing_ok: bool = False) -> None:
        """Remove a directory and all that is in it; links are removed, not followed.

        Args:
            missing_ok: Accept a path that does not exist.

        Raises:
            IncusNotFoundError: There is no such path.
            IncusAPIError: It is not a directory.

        API:
            ``DELETE .../files`` with extension ``file_delete_force``; otherwise ``GET .../sftp``, upgraded.
        """
        self._portal.run(self._async.rmtree(missing_ok))

    def remove(self, *, recursive: bool = False, missing_ok: bool = False) -> None:
        """Remove whatever is there: a file, a link, an empty directory; links are removed, not followed.

        Args:
            recursive: Remove a directory with all that is in it.
            missing_ok: Accept a path that does not exist.

        Raises:
            IncusNotFoundError: There is no such path.
            IncusConflictError: It is a directory that is not empty, and ``recursive`` is not set.

        API:
            See `rmtree`.
        """
        self._portal.run(self._async.remove(recursive=recursive, missing_ok=missing_ok))

    def push(
        self,
        local: str | os.PathLike[str],
        *,
        into: bool = False,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        follow_symlinks: bool | None = None,
        skip_equal: bool | Literal["content"] = False,
        progress: OnProgress | None = None,
        limit: int = 32,
    ) -> Transfer:
        """Make this path the copy of a local file or tree, as ``cp -aT`` does.

        Modes, numeric owners, times, empty directories and links are copied. An existing file or link is replaced when
        its copy is complete; existing directories keep what else is in them; missing directories above the path are
        made, 0755, with the given owner or as root's. Fifos, sockets and devices are not copied, but listed in the
        result. Links always become root's, hard links become separate files, long runs of zeros become holes, and
        extended attributes are lost.

        Nothing is open to anybody whom its mode keeps out, not even for a moment. After an error, the files that are
        complete stay.

        Many small files go faster if the instance runs and has ``tar``, ``xargs`` and ``sh``: root runs them there.

        Args:
            local: The local file or directory.
            into: Put it into this path, a directory, under its own name; one that is missing is made.
            mode: The permissions of every file. Directories get the same, and whoever may read one may search it: 0640
                makes them 0750. None copies the permissions.
            uid: The owner of everything; None copies the owners.
            gid: The group of everything; None copies the groups.
            follow_symlinks: Copy what links lead to, which must exist; False copies all links as links; None does so in
                a tree, and follows only a link named as ``local`` itself.
            skip_equal: Skip files of the same size and time; with ``"content"``, those of the same content, which is
                read from both sides.
            progress: Called for each piece of a file and at its end, as stage ``upload``.
            limit: How many files are copied at once.

        Raises:
            IncusInputError: An argument is invalid.
            IncusConflictError: A file would take the place of a directory, or a directory that of a file.
            IncusError: Something else failed in the instance, a local file shrank while it was read, or a link that is
                followed leads nowhere or in a circle.
            OSError: A local file cannot be read.

        API:
            ``GET .../sftp``, upgraded; ``POST .../exec`` for small files.
        """
        return self._portal.run(
            self._async.push(
                local,
                into=into,
                mode=mode,
                uid=uid,
                gid=gid,
                follow_symlinks=follow_symlinks,
                skip_equal=skip_equal,
                progress=_twin.posted(progress),
                limit=limit,
            )
        )

    def pull(
        self,
        local: str | os.PathLike[str],
        *,
        into: bool = False,
        owners: bool | None = None,
        follow_symlinks: bool | None = None,
        links: Literal["keep", "skip"] = "keep",
        skip_equal: bool | Literal["content"] = False,
        progress: OnProgress | None = None,
        limit: int = 32,
    ) -> Transfer:
        """Make a local path the copy of this file or tree, as ``cp -aT`` does.

        This is `push` the other way. Whatever the instance does, nothing is written outside of ``local``: names are
        checked, and directories below it, old or new, are opened without following links. But the links that are
        copied can lead anywhere on this machine: use ``links="skip"`` if you do not trust the instance, and read what
        was pulled.

        Args:
            local: The local path.
            into: Put it into ``local``, a directory, under its own name; one that is missing is made.
            owners: Copy owners and groups, which Windows cannot; None does so if this process runs as root. Set-uid and
                set-gid bits are copied only with True, since they would give files of the instance power over this
                machine.
            follow_symlinks: See `push`; links are followed in the instance, and lead nowhere else.
            links: ``"skip"`` leaves out the links that would be copied, and lists them in the result.
            skip_equal: See `push`.
            progress: Called for each piece of a file and at its end, as stage ``download``.
            limit: See `push`.

        Raises:
            IncusInputError: An argument is invalid.
            IncusNotFoundError: There is no such path in the instance.
            IncusError: Something else failed in the instance, a file there shrank while it was read, or a link that is
                followed leads nowhere or in a circle.
            OSError: A local file cannot be written.

        API:
            ``GET .../sftp``, upgraded; ``POST .../exec`` for small files.
        """
        return self._portal.run(
            self._async.pull(
                local,
                into=into,
                owners=owners,
                follow_symlinks=follow_symlinks,
                links=links,
                skip_equal=skip_equal,
                progress=_twin.posted(progress),
                limit=limit,
            )
        )
