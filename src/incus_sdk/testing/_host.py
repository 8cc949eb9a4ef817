"""What a private daemon uses on the machine: programs, its directory, its cgroups.

Every daemon's directory has the file ``owner``, which lists its cgroups. The file is locked (flock) by the owner, and
by the process that waits for the end of the daemon's namespaces: if the lock is free, nothing of that daemon runs any
more. An owner that was killed leaves directory and cgroups behind, and the next one that starts removes them.

Everything here blocks, and knows nothing of Incus' API.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from incus_sdk.exceptions import IncusError

from ._init import HIDDEN

PREFIX = "incus-sdk-"
_MARK = "A private Incus daemon of incus_sdk.testing, and its cgroups:"
_CGROUPS = Path("/sys/fs/cgroup")
_MAX_LENGTH = 60
"""Characters of a daemon's directory: unix sockets of instances are below it, and their paths have 107 at most."""

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
    root: Path = Path("/"),
    system: str = sys.platform,
    uid: int | None = None,
    path: str | None = None,
    cgroups: Path = _CGROUPS,
) -> dict[str, str]:
    """Check that a daemon can run here.

    Args:
        image: Whether it needs the programs that make the image, too.
        root: The folder that the daemon sees as ``/``, in which to look for its incusd.
        system: The platform.
        uid: The user; None for the present one.
        path: Directories in which to look for programs, joined by colons; None for the usual ones.
        cgroups: Where the cgroups are mounted.

    Returns:
        The path of each program that a daemon needs, by name; that of incusd as seen inside ``root``.

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
    for name, hint in _PROGRAMS.items():
        program = shutil.which(name, path=path)
        if name == "incusd" and root != Path("/"):
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
    """Find one of Incus' programs inside ``root``; the path is as seen there."""
    program = shutil.which(name, path=os.pathsep.join(f"{root}{directory}" for directory in _PATH))
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
            place.mkdir(parents=True, exist_ok=True)
            if any(place.iterdir()):
                raise DaemonUnavailableError(f"{place} is not empty, or in use by another daemon: choose another")
        self.directory = place
        self.cgroups: list[Path] = []
        self.lock = os.open(place / "owner", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # A sweep may hold the lock for a moment, but leaves a file without the mark alone.
            fcntl.flock(self.lock, fcntl.LOCK_EX)
            name = f"{PREFIX}{secrets.token_hex(4)}"
            self.cgroups += (parent / name for parent in _cgroup_parents())
            os.write(self.lock, "\n".join([_MARK, *map(str, self.cgroups)]).encode())
            for cgroup in self.cgroups:
                _make_cgroup(cgroup)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove both, after the daemon has ended."""
        try:
            _remove(self.directory, self.cgroups)
        finally:
            os.close(self.lock)


def sweep() -> None:
    """Remove what daemons of killed owners left behind in the directory of temporary files, and nothing else."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_if_abandoned(directory)


def _remove_if_abandoned(directory: Path) -> None:
    with contextlib.suppress(OSError):
        lock = os.open(directory / "owner", os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mark, *cgroups = os.read(lock, 65536).decode(errors="replace").split("\n")
            ours = os.fstat(lock).st_uid == os.geteuid()
            current = os.path.samestat(os.fstat(lock), os.lstat(directory / "owner"))  # no other sweep was faster
            if mark == _MARK and ours and current:
                _remove(directory, [Path(cgroup) for cgroup in cgroups])
        finally:
            os.close(lock)


def _remove(directory: Path, cgroups: list[Path]) -> None:
    for cgroup in cgroups:
        for path, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
    # The file ``owner`` goes last, so that the next sweep continues an interrupted removal.
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != "owner":
            entry.unlink()
    shutil.rmtree(directory)


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
