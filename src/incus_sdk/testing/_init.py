"""PID 1 of a private daemon's namespaces: ``python -I -S _init.py DIRECTORY ROOT INCUSD LISTENER,... CGROUP...``.

ROOT is the folder that the daemon sees as ``/``. This program mounts what it sees, starts it, and reaps orphans.
It ends with the owner's end of its standard input, however the owner died; then the kernel kills and unmounts
everything else in the namespaces. It also ends when the daemon ends by itself. A byte on standard input restarts
nothing but the daemon, and is answered by a byte.

It imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

HIDDEN = ("/run", "/var/lib/incus", "/var/log/incus", "/var/cache/incus")
"""Directories that are empty for the daemon, since it writes there whatever its own directory is."""

STOP_TIMEOUT = 3
"""Seconds for a daemon to stop before it is killed; 0.2 are usual, but it waits for running operations."""

SCRATCH = "/run"
"""Where the new root is assembled. No daemon's directory is inside it."""

UNIFIED = "/sys/fs/cgroup/unified"
"""The cgroup2 hierarchy of a machine that has v1 hierarchies, too; an Incus 7 that sees those does not use this one."""

STUCK_INTERVAL = 1
"""Seconds between two looks for containers whose stop is stuck."""

APPARMOR = "/sys/module/apparmor/parameters/enabled"


def mount(*arguments: str) -> None:
    # --no-mtab: /run, where mount keeps notes, is still the machine's.
    subprocess.run(["mount", "--no-mtab", *arguments], check=True)


def prepare(directory: str, root: str, cgroups: list[str]) -> None:
    """Enter the daemon's cgroups and mount what it sees."""
    for cgroup in cgroups:
        with open(f"{cgroup}/cgroup.procs", "w") as file:
            file.write("0")  # the writing process, whose number outside is unknown here

    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    # A sysfs shows the links of the network namespace that it was mounted in; the cgroups stay the machine's.
    sys_directory = f"{directory}/sys"
    os.mkdir(sys_directory)
    mount("-t", "sysfs", "sysfs", sys_directory)
    own = root != "/"
    mount("--rbind", UNIFIED if own and os.path.exists(UNIFIED) else "/sys/fs/cgroup", f"{sys_directory}/fs/cgroup")
    mount("--move", sys_directory, "/sys")
    os.rmdir(sys_directory)

    if os.path.exists(APPARMOR):
        # AppArmor profiles belong to the whole machine, and would outlive the daemon. This hides AppArmor from liblxc;
        # incusd does not see it as the new sysfs has no securityfs.
        with open(f"{directory}/apparmor", "w") as file:
            file.write("N\n")
        mount("--bind", f"{directory}/apparmor", APPARMOR)

    if own:
        enter(root, directory)
    for path in HIDDEN:
        if os.path.isdir(path):
            mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", path)


def enter(root: str, directory: str) -> None:
    """Make a folder the root in these namespaces; what is written there is gone with them.

    In a chroot() the kernel would refuse to make user namespaces, and so containers.
    """
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", SCRATCH)
    os.chdir(SCRATCH)  # for relative paths, since paths cannot be quoted well in the options of a mount
    for name in ("lower", "upper", "work", "root"):
        os.mkdir(name)
    mount("--bind", root, "lower")
    mount("-t", "overlay", "-o", "lowerdir=lower,upperdir=upper,workdir=work", "overlay", "root")
    os.chdir("root")
    for path in ("dev", "proc", "sys"):
        mount("--rbind", f"/{path}", path)
    os.makedirs(f".{directory}", exist_ok=True)
    mount("--bind", directory, f".{directory}")
    # This stacks the old root on the new one at the same place, moves this process over, and takes the old one off.
    subprocess.run(["pivot_root", ".", "."], check=True)
    subprocess.run(["umount", "--lazy", "--no-canonicalize", "."], check=True)


def start(incusd: str, listeners: list[int]) -> int:
    """Start the daemon with these sockets, as systemd's socket activation does; returns its process id."""
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, listener in enumerate(listeners, 3):
            os.dup2(listener, number)
        os.closerange(3 + len(listeners), os.sysconf("SC_OPEN_MAX"))
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        environment = {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(listeners))}
        os.execve(incusd, [incusd], environment)
    return pid


def release_stuck(cgroup: int) -> None:
    """Release each stop that waits for the kernel to call a cgroup "not frozen" that has no process any more.

    Where the unified hierarchy has no pids controller, Incus freezes a container before it kills it. One time in some
    hundred the kernel then leaves ``cgroup.events`` at "frozen 1", for which liblxc would wait for ever.
    """
    for name in os.listdir(cgroup):
        with contextlib.suppress(OSError):  # it has just ended
            container = os.open(name, os.O_PATH | os.O_DIRECTORY, dir_fd=cgroup)
            try:
                if (
                    read(container, "cgroup.events") == b"populated 0\nfrozen 1\n"
                    and read(container, "cgroup.freeze") == b"0\n"
                ):
                    for state in (b"1", b"0"):  # "0" alone would change nothing
                        write(container, "cgroup.freeze", state)
            finally:
                os.close(container)


def read(directory: int, name: str) -> bytes:
    with open(os.open(name, os.O_RDONLY, dir_fd=directory), "rb") as file:
        return file.read()


def write(directory: int, name: str, content: bytes) -> None:
    with open(os.open(name, os.O_WRONLY, dir_fd=directory), "wb") as file:
        file.write(content)


def reap(daemon: int) -> bool:
    """Reap the processes that have ended, orphans too; returns whether the daemon is one of them."""
    ended = False
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended = ended or pid == daemon
    return ended


def main() -> None:
    import fcntl  # here, since the package can be imported on Windows

    directory, root, incusd, numbers, *cgroups = sys.argv[1:]
    # Moved away from the numbers that they get in the daemon.
    listeners = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 64) for number in numbers.split(",")]
    # Opened here, since the daemon sees it elsewhere.
    unified = next((os.open(os.path.dirname(each), os.O_RDONLY) for each in cgroups if each.startswith(UNIFIED)), None)
    prepare(directory, root, cgroups)

    children, notify = os.pipe()
    os.set_blocking(notify, False)
    signal.set_wakeup_fd(notify)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    daemon = start(incusd, listeners)
    restart, look = False, time.monotonic()
    while True:
        pause = STOP_TIMEOUT if restart else None if unified is None else STUCK_INTERVAL
        readable, _, _ = select.select([0, children], [], [], pause)
        if unified is not None and time.monotonic() >= look:
            release_stuck(unified)
            look = time.monotonic() + STUCK_INTERVAL
        if restart and not readable:
            os.kill(daemon, signal.SIGKILL)
        if 0 in readable:
            if not os.read(0, 1):
                return
            restart = True
            os.kill(daemon, signal.SIGTERM)
        if children in readable:
            os.read(children, 4096)
            if reap(daemon):
                if not restart:
                    return
                restart = False
                daemon = start(incusd, listeners)
                os.write(0, b"\n")


if __name__ == "__main__":
    main()
