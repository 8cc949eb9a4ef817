"""Finding the local daemon's socket, in the same order as the ``incus`` command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

DIRECTORIES = (Path("/run/incus"), Path("/var/lib/incus"))


class LocalSocket(NamedTuple):
    """A socket, and its project: that of an unprivileged user has one of its own."""

    path: str
    project: str | None = None
    origin: str = ""
    """How it was found, in words."""


def local_socket(environ: Mapping[str, str] = os.environ) -> LocalSocket:
    """By INCUS_SOCKET, INCUS_DIR, /run/incus or /var/lib/incus; the users' socket if that is not writable."""
    if given := environ.get("INCUS_SOCKET"):
        return LocalSocket(given, origin="INCUS_SOCKET")
    if directory := environ.get("INCUS_DIR"):
        found, origin = Path(directory), "INCUS_DIR"
    else:
        found = next((path for path in DIRECTORIES if os.path.lexists(path / "unix.socket")), DIRECTORIES[-1])
        origin = f"the first of {' and '.join(map(str, DIRECTORIES))} that has one, or the last"
    socket, user_socket = found / "unix.socket", found / "unix.socket.user"
    if not os.access(socket, os.W_OK) and os.access(user_socket, os.W_OK):
        origin = f"{origin}; you can write to the users' socket, not to the administrators'"
        return LocalSocket(str(user_socket), f"user-{os.geteuid()}", origin)
    return LocalSocket(str(socket), origin=origin)
