"""Makes the process that imports it as poor as Windows: without what POSIX alone has, with files that behave as there.

It shows what the SDK asks for, not what Windows does: names of files stay those of Linux.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import contextlib
import errno
import fcntl
import importlib.abc
import logging
import os
import select
import selectors
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from typing import Any

# The interpreter's own modules have what they need of the real system.
_MODULES = (asyncio, concurrent.futures.thread, logging, shutil, subprocess, tempfile)

_NO_MODULES = ("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
_NO_NAMES: dict[Any, str] = {
    os: """
        O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_NDELAY O_NOATIME O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC
        O_TMPFILE EX_OK EX_USAGE F_LOCK POSIX_FADV_DONTNEED SEEK_DATA SEEK_HOLE WEXITSTATUS WIFEXITED WNOHANG
        chown chroot copy_file_range eventfd fchdir fchmod fchown fdatasync fork forkpty fpathconf getegid geteuid
        getgid getgroups getloadavg getpgid getpgrp getpriority getresuid getsid getuid getxattr initgroups killpg
        lchown listxattr lockf major memfd_create minor mkfifo mknod nice openpty pathconf pidfd_open pipe2
        posix_fadvise posix_fallocate posix_spawn pread preadv pwrite pwritev readv register_at_fork removexattr
        sched_getaffinity sendfile set_blocking setegid seteuid setgid setgroups setpgid setpriority setresuid setsid
        setuid setxattr splice statvfs fstatvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 writev
    """,
    select: "poll epoll EPOLLIN POLLIN POLLOUT",
    socket: "AF_UNIX AF_NETLINK AF_PACKET SCM_RIGHTS TCP_USER_TIMEOUT recv_fds send_fds",
    asyncio: "open_unix_connection start_unix_server",
    signal: "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 SIGWINCH alarm pthread_sigmask setitimer",
}
_NOT_IN_LOOPS = """
    add_reader add_writer add_signal_handler remove_signal_handler create_unix_connection create_unix_server
"""
_BY_PATH = (
    "open stat lstat mkdir rmdir unlink remove rename replace symlink readlink chmod utime access scandir listdir"
)
_FOLLOWING = ("chmod", "utime")  # always


class _NoModules(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname in _NO_MODULES:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def _refuse(*_: object, **__: object) -> Any:
    raise NotImplementedError


def _by_path(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        if any(options.get(name) is not None for name in ("dir_fd", "src_dir_fd", "dst_dir_fd")):
            raise NotImplementedError("dir_fd unavailable on this platform")
        if function.__name__ in _FOLLOWING and not options.get("follow_symlinks", True):
            raise NotImplementedError("follow_symlinks unavailable on this platform")
        if args and isinstance(args[0], int) and function.__name__ != "stat":
            raise TypeError("path should be string, bytes or os.PathLike, not int")
        if args and str(args[0]).startswith("/proc/"):
            raise FileNotFoundError(errno.ENOENT, "No such file", args[0])
        return function(*args, **options)

    return call


def _of_closed(function: Callable[..., Any]) -> Callable[..., Any]:
    """What neither renames nor removes a file that is open, nor takes the place of one."""

    def call(*paths: Any, **options: Any) -> Any:
        for path in paths:
            if os.path.exists(path) and any(_is_file(fd, os.stat(path)) for fd in range(100)):
                raise PermissionError(errno.EACCES, "it is open", path)
        if function.__name__ == "rename" and os.path.lexists(paths[1]):
            raise FileExistsError(errno.EEXIST, "it exists", paths[1])
        return function(*paths, **options)

    call.__name__ = function.__name__
    return call


def _is_file(fd: int, found: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(fd), found)
    return False


def _text_by_default() -> None:
    """Has ``os.write`` write text, unless the file was opened with O_BINARY."""
    opened, write, text = os.open, os.write, set[int]()
    os.O_BINARY = 1 << 29  # type: ignore[attr-defined]

    def open_file(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        fd = opened(path, flags & ~os.O_BINARY, *args, **options)  # type: ignore[attr-defined]
        (text.discard if flags & os.O_BINARY else text.add)(fd)  # type: ignore[attr-defined]
        return fd

    def write_file(fd: int, content: Any) -> int:
        if fd in text:
            return write(fd, bytes(content).replace(b"\n", b"\r\n")) and len(content)
        return write(fd, content)

    os.open, os.write = open_file, write_file


def _become() -> None:
    lock, pair, unix = fcntl.flock, socket.socketpair, socket.AF_UNIX
    socket.socketpair = lambda *_: pair(unix)
    msvcrt: Any = types.ModuleType("msvcrt")
    msvcrt.LK_LOCK, msvcrt.locking = 1, lambda fd, *_: lock(fd, fcntl.LOCK_EX)
    sys.modules["msvcrt"] = msvcrt
    selectors.DefaultSelector = selectors.SelectSelector  # type: ignore[misc, assignment]
    for name in _NOT_IN_LOOPS.split():
        setattr(asyncio.SelectorEventLoop, name, _refuse)
    _text_by_default()
    for name in ("rename", "replace", "unlink", "remove"):
        setattr(os, name, _of_closed(getattr(os, name)))
    for name in _BY_PATH.split():
        setattr(os, name, _by_path(getattr(os, name)))
    os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks = set(), {os.stat}, {os.stat}
    for place, names in _NO_NAMES.items():
        for name in names.split():
            if hasattr(place, name):
                delattr(place, name)
    sys.meta_path.insert(0, _NoModules())
    for name in _NO_MODULES:
        sys.modules.pop(name, None)


_become()
assert stat.S_ISDIR(os.stat("/").st_mode)
