"""The process that something temporary belongs to, and whether it has ended for sure."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # that of the machine itself, by its fixed number
_ENDED = ("Z", "X")  # states of a process that nobody has waited for yet


def this_process() -> str:
    """This process in words that no other process, of any machine, has had or will have."""
    process = {"pid": os.getpid(), "start": _start(os.getpid()), **_machine()}
    return json.dumps(process, separators=(",", ":"), sort_keys=True)


def has_ended(process: str) -> bool:
    """Whether the process that `this_process` described is gone for sure; a process of another machine never is."""
    try:
        owner: dict[str, Any] = json.loads(process)
        pid, start = int(owner["pid"]), owner["start"]
        there = {key: str(owner[key]) for key in ("host", "boot", "namespace")}
    except (ValueError, TypeError, KeyError):
        return False
    here = _machine()
    if "" in (there["boot"], here["boot"], there["namespace"]):
        return False
    if there["boot"] != here["boot"]:  # this machine, before it was last started
        return there["host"] == here["host"] != ""
    return there["namespace"] == here["namespace"] and start is not None and pid > 0 and not _runs(pid, start)


def _machine() -> dict[str, str]:
    """The machine since its start; ``host`` is empty in a container, where it could be that of its image."""
    host = namespace = ""
    with contextlib.suppress(OSError):
        namespace = os.readlink(_PROC / "self/ns/pid")
        if namespace == _FIRST_PID_NAMESPACE:
            host = f"{os.uname().nodename} {Path('/etc/machine-id').read_text().strip()}"
    return {"host": host, "boot": _read("sys/kernel/random/boot_id"), "namespace": namespace}


def _read(name: str) -> str:
    try:
        return (_PROC / name).read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """The fields of a process from its state on, which follows its name; none if they cannot be read."""
    return _read(f"{pid}/stat").rpartition(")")[2].split()


def _start(pid: int) -> int | None:
    """When a process began, in ticks since the machine did."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else None


def _runs(pid: int, start: object) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    state = _stat(pid)
    return not state or (state[0] not in _ENDED and _start(pid) in (None, start))
