"""What a private daemon uses on the machine: programs, its directory, its cgroups.

Every daemon's directory has the file ``owner``, which lists its cgroups. The file is locked (flock) by the owner, and
by the process that waits for the end of the daemon's namespaces: if the lock is free, nothing of that daemon runs any
more. The directory itself is locked by the owner alone: if only that lock is free, something frozen cannot end. An
owner that was killed leaves directory and cgroups behind, and the next one that starts thaws and removes them.

Others can write to the directory for temporary files, too. So what is left there is used by descriptors, never by its
path a second time, and only if it is this user's own and nobody else can write to it.

Everything here blocks, and knows nothing of Incus' API.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from incus_sdk.exceptions import IncusError

from ._init import HIDDEN

PREFIX = "incus-sdk-"
_MARK = "A private Incus daemon of incus_sdk.testing, and its cgroups:"
_CGROUPS = Path("/sys/fs/cgroup")
_MAX_LENGTH = 60
"""Characters of a daemon's directory: unix sockets of instances are below it, and their paths have 107 at most."""

_FREEZERS = (("freezer.state", ("FROZEN", "FREEZING"), "THAWED"), ("cgroup.freeze", ("1",), "0"))
"""The file of each version of cgroups, with what is in it and what thaws."""

_END_TIMEOUT = 5
"""Seconds in which processes that were thawed end."""

_PATH = ("/usr/libexec/incus", "/usr/lib/incus", "/usr/lib/x86_64-linux-gnu/incus", "/usr/lib/aarch64-linux-gnu/incus")
_PROGRAMS = {
    "incusd": "install Incus; Debian and Ubuntu: incus-base",
    "unshare": "install util-linux",
    "nsenter": "install util-linux",
    "mount": "install mount",
    "ip": "install iproute2",
    "openssl": "install openssl",
    "busybox": "a static one, for the image; install busybox-static",
}
_STORAGE_PROGRAMS = {"btrfs": {"mkfs.btrfs": "install btrfs-progs"}}


class DaemonUnavailableError(IncusError):
    """A private daemon cannot run here, or did not start: the message says why and what to do.

    Args:
        message: The reason.
        log: The end of the daemon's log; empty if there is none.
    """

    def __init__(self, message: str = "", *, log: str = "") -> None:
        super().__init__(message)
        self.log = log


def preflight(
    *,
    image: bool = True,
    storage: str = "dir",
    root: Path = Path("/"),
    system: str = sys.platform,
    uid: int | None = None,
    path: str | None = None,
    cgroups: Path = _CGROUPS,
) -> dict[str, str]:
    """Check that a daemon can run here.

    Args:
        image: Whether it needs the programs that make the image, too.
        storage: The driver of its pool, which can need programs.
        root: The folder that the daemon sees as ``/``, in which to look for its incusd and the programs of the driver.
        system: The platform.
        uid: The user; None for the present one.
        path: Directories in which to look for programs, joined by colons; None for the usual ones.
        cgroups: Where the cgroups are mounted.

    Returns:
        The path of each program that a daemon needs, by name; those that it starts itself as seen inside ``root``.

    Raises:
        DaemonUnavailableError: Something is missing; the message names all of it.
    """
    if system != "linux":
        raise DaemonUnavailableError(f"a private Incus daemon needs Linux, and this is {system}")
    problems: list[str] = []
    if (os.geteuid() if uid is None else uid) != 0:
        problems.append("not root (namespaces and mounts need it; run as root)")
    if path is None:
        path = os.pathsep.join((*_PATH, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    programs: dict[str, str] = {}
    own = _STORAGE_PROGRAMS.get(storage, {})
    for name, hint in (_PROGRAMS | own).items():
        program = shutil.which(name, path=path)
        if (name == "incusd" or name in own) and root != Path("/"):
            program, hint = _find_inside(root, name), f"in {root}: make it with scripts/install-incus-7"
        if program is not None and (name != "busybox" or _is_static(program)):
            programs[name] = program
        elif name != "busybox" or image:
            problems.append(f"no {name} ({hint})")
    if not any(_cgroup_parents(cgroups)):
        problems.append(f"no cgroups to write to at {cgroups} (mount them; a container around this must be privileged)")
    if problems:
        raise DaemonUnavailableError("a private Incus daemon cannot run here: " + "; ".join(problems))
    return programs


def _find_inside(root: Path, name: str) -> str | None:
    """Find a program inside ``root``; the path is as seen there."""
    places = (*_PATH, "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    program = shutil.which(name, path=os.pathsep.join(f"{root}{directory}" for directory in places))
    return program and program.removeprefix(str(root))


def _is_static(program: str) -> bool:
    """Whether this is a 64-bit program without a dynamic loader."""
    with open(program, "rb") as file:
        head = file.read(4096)
    if head[:5] != b"\x7fELF\x02":
        return False
    (offset,) = struct.unpack_from("=Q", head, 32)
    size, count = struct.unpack_from("=HH", head, 54)
    interpreter = 3  # PT_INTERP
    return all(struct.unpack_from("=I", head, offset + i * size)[0] != interpreter for i in range(count))


class Home:
    """A daemon's directory and cgroups.

    ``directory``: new, empty, or left behind by a daemon; None for a new one in the directory for temporary files.
    Raises `DaemonUnavailableError` if it cannot be used, or is in use.
    """

    def __init__(self, directory: Path | None = None) -> None:
        place = Path(tempfile.gettempdir() if directory is None else directory).resolve()
        hidden = next((path for path in HIDDEN if place.is_relative_to(path)), None)
        if hidden is not None:
            raise DaemonUnavailableError(f"{place} is inside {hidden}, which the daemon does not see: choose another")
        if len(str(place)) > _MAX_LENGTH:
            raise DaemonUnavailableError(
                f"{place} is longer than {_MAX_LENGTH} characters, too long for the sockets in it: choose another"
            )
        if directory is None:
            place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        else:
            _remove_if_abandoned(place)
            place.mkdir(0o711, parents=True, exist_ok=True)
        import fcntl  # here, as in `_lock`

        self.directory = place
        self.cgroups: list[Path] = []
        self._descriptor = _open_directory(place)
        # A sweep may hold the lock for a moment, but leaves a directory without the mark alone.
        if os.listdir(place) or not _lock(self._descriptor, _END_TIMEOUT) or os.listdir(self._descriptor):
            os.close(self._descriptor)
            raise DaemonUnavailableError(f"{place} is not empty, or in use by another daemon: choose another")
        try:
            self.lock = os.open("owner", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._descriptor)
        except BaseException:
            os.close(self._descriptor)
            raise
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX)
            name = f"{PREFIX}{secrets.token_hex(4)}"
            self.cgroups += (parent / name for parent in _cgroup_parents())
            os.write(self.lock, "\n".join([_MARK, *map(str, self.cgroups)]).encode())
            for cgroup in self.cgroups:
                _make_cgroup(cgroup)
        except BaseException:
            self.remove()
            raise

    def thaw(self) -> bool:
        """Thaw what is frozen, since it could not end before; returns whether there was anything."""
        return _thaw(self.cgroups)

    def remove(self) -> None:
        """Remove both, after the daemon has ended."""
        try:
            _remove(self.directory, self._descriptor, self.cgroups)
        finally:
            os.close(self.lock)
            os.close(self._descriptor)


def sweep() -> None:
    """Remove what daemons of killed owners left behind in the directory of temporary files, and nothing else."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_if_abandoned(directory)


def _remove_if_abandoned(directory: Path) -> None:
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        descriptor = _open_directory(directory)
        stack.callback(os.close, descriptor)
        if not _is_own(descriptor, stat.S_ISDIR) or not _lock(descriptor):
            return
        # Not blocking: it can be a fifo.
        lock = os.open("owner", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
        stack.callback(os.close, lock)
        if not _is_own(lock, stat.S_ISREG):
            return
        mark, *lines = os.read(lock, 65536).decode(errors="replace").split("\n")
        cgroups = [Path(line) for line in lines]
        if mark != _MARK or not all(_is_daemons(cgroup) for cgroup in cgroups):
            return
        if not _lock(lock, _END_TIMEOUT if _thaw(cgroups) else 0):
            return
        there = os.stat("owner", dir_fd=descriptor, follow_symlinks=False)
        if os.path.samestat(os.fstat(lock), there):  # no other sweep was faster
            _remove(directory, descriptor, cgroups)


def _open_directory(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _is_own(descriptor: int, is_kind: Callable[[int], bool]) -> bool:
    """Whether it is of that kind, this user's own, and nobody else can write to it."""
    status = os.fstat(descriptor)
    return is_kind(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _is_daemons(cgroup: Path) -> bool:
    return cgroup.is_relative_to(_CGROUPS) and ".." not in cgroup.parts and cgroup.name.startswith(PREFIX)


def _lock(descriptor: int, timeout: float = 0) -> bool:
    """Lock a file or directory; False if it is locked for longer than that."""
    import fcntl  # here, for `preflight` to say on Windows what it needs

    end = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
        else:
            return True


def _thaw(cgroups: list[Path]) -> bool:
    """Thaw what is frozen in these cgroups; returns whether there was anything.

    A frozen process ends only when it is thawed, if its cgroup is one of version 1.
    """
    found = False
    for cgroup in cgroups:
        for path, _, files in os.walk(cgroup):
            for name, frozen, thawed in _FREEZERS:
                if name in files:
                    with contextlib.suppress(OSError):
                        file = Path(path, name)
                        if file.read_text().strip() in frozen:
                            found = True
                            file.write_text(thawed)
    return found


def _remove(directory: Path, descriptor: int, cgroups: list[Path]) -> None:
    """Remove a daemon's directory, which is open, and its cgroups."""
    for cgroup in cgroups:
        for path, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
    # The file ``owner`` goes last, so that the next sweep continues an interrupted removal.
    with os.scandir(descriptor) as scan:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in scan]
    for name, is_directory in entries:
        if is_directory:
            shutil.rmtree(name, dir_fd=descriptor)
        elif name != "owner":
            os.unlink(name, dir_fd=descriptor)
    with contextlib.suppress(FileNotFoundError):
        os.unlink("owner", dir_fd=descriptor)
    os.rmdir(directory)  # by its path, at which there may be something else; then this fails, or it was empty


def _cgroup_parents(root: Path = _CGROUPS) -> Iterator[Path]:
    """Where to make a daemon's cgroups: one place in each hierarchy that is mounted and writable."""
    try:
        hierarchies = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for hierarchy in hierarchies:
        _, controllers, own = hierarchy.split(":", 2)
        if controllers:  # v1: below our own cgroup, so that our limits count for the daemon, too
            top = root / controllers.removeprefix("name=")
            places = [top / own.lstrip("/"), top]
        else:  # v2: at the top; our own holds processes, so cgroups below it cannot have controllers
            places = [root / "unified", root]
        for place in places:
            if (place / "cgroup.procs").exists() and os.access(place, os.W_OK):
                yield place
                break


def _make_cgroup(cgroup: Path) -> None:
    """Make a cgroup with ``init.scope`` for PID 1; liblxc knows that name, and makes its own cgroups beside it."""
    scope = cgroup / "init.scope"
    scope.mkdir(parents=True)
    for parent, child in ((cgroup.parent, cgroup), (cgroup, scope)):
        if (child / "cpuset.cpus").exists() and (child / "cgroup.clone_children").exists():
            for name in ("cpuset.cpus", "cpuset.mems"):  # v1: no process can enter while they are empty
                (child / name).write_text((parent / name).read_text())
        if (parent / "cgroup.controllers").exists():  # v2: all controllers there are, for limits
            for controller in (parent / "cgroup.controllers").read_text().split():
                with contextlib.suppress(OSError):  # refused where the top holds processes, as in a container
                    (parent / "cgroup.subtree_control").write_text(f"+{controller}")
