"""Finding the local daemon's socket in the order of the ``incus`` command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DIRECTORIES = (Path("/run/incus"), Path("/var/lib/incus"))


@dataclass(frozen=True)
class LocalSocket:
    """A socket and the project that goes with it: an unprivileged user's socket has a project of its own."""

    path: str
    project: str | None = None
    why: str = field(default="", compare=False)
    """What led here, in words."""


def local_socket(environ: Mapping[str, str] = os.environ) -> LocalSocket:
    """INCUS_SOCKET, INCUS_DIR, /run/incus, /var/lib/incus; where that is not writable, the user socket beside it."""
    if given := environ.get("INCUS_SOCKET"):
        return LocalSocket(given, why="INCUS_SOCKET")
    if directory := environ.get("INCUS_DIR"):
        found, why = Path(directory), "INCUS_DIR"
    else:
        found = next((path for path in DIRECTORIES if os.path.lexists(path / "unix.socket")), DIRECTORIES[-1])
        why = f"the first of {' and '.join(map(str, DIRECTORIES))} that holds one, or the last"
    socket, user_socket = found / "unix.socket", found / "unix.socket.user"
    if not os.access(socket, os.W_OK) and os.access(user_socket, os.W_OK):
        why = f"{why}; you may write to the users' socket, not to the administrators'"
        return LocalSocket(str(user_socket), f"user-{os.geteuid()}", why)
    return LocalSocket(str(socket), why=why)
