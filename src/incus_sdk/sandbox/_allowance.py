"""What a box may use, and how it is closed: the configuration of its instance."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..exceptions import IncusInputError, IncusPermissionError

if TYPE_CHECKING:
    from ..client import Client

_SIZE = re.compile(r"([0-9]{1,15})(B|[kMGTP]B|[KMGTP]iB)?")
_UNITS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_LEAST = 2**22  # bytes: nothing starts in less
_MOST = 2**63 - 1  # bytes that servers can count
_MOST_CPUS, _MOST_PROCESSES = 4096, 2**22  # what kernels know
_NOT_FOR_DISKS = ("dir",)  # storage drivers that take a size and ignore it, where the file system has no project quotas

_CLOSED = {
    "boot.autostart": "false",  # what a machine that went down had running is nobody's any longer
    "security.guestapi": "false",  # else the box reads its keys at /dev/incus
    "security.idmap.isolated": "true",  # else all boxes share their uids
    "security.nesting": "false",
    "security.privileged": "false",
}

_CONTROLLERS = {"cpu": "CPU controller", "memory": "memory controller", "processes": "pids controller"}
"""What keeps each limit, as servers name it in the warning that they could not find it."""


@dataclass(frozen=True)
class Limits:
    """What each box may use. The defaults fit a small job; None is no limit.

    Args:
        cpu: Processors' worth of time, as 0.5 or 2.
        memory: Bytes, or a text such as ``"512MiB"``; nothing is swapped out.
        processes: How many at once, threads included.
        disk: The size of its disk: bytes, or a text such as ``"5GiB"``.
        unenforced: What to do about a limit that this server or its storage does not keep. ``"refuse"`` raises, with
            the remedy, before anything is made; ``"accept"`` goes on without it.

    Raises:
        IncusInputError: A limit is not one.
    """

    cpu: float | None = 1
    memory: int | str | None = "512MiB"
    processes: int | None = 256
    disk: int | str | None = "5GiB"
    unenforced: Literal["refuse", "accept"] = "refuse"

    def __post_init__(self) -> None:
        cpu, processes = self.cpu, self.processes
        if cpu is not None and (isinstance(cpu, bool) or not isinstance(cpu, int | float) or not _is_cpu(cpu)):
            raise IncusInputError(f"cpu must be a number of processors, 0.01 or more, not {cpu!r}")
        if processes is not None and (
            isinstance(processes, bool) or not isinstance(processes, int) or not 2 <= processes <= _MOST_PROCESSES
        ):
            raise IncusInputError(f"processes must be a number, 2 or more, not {processes!r}")
        for name in ("memory", "disk"):
            size = getattr(self, name)
            if size is not None and not _LEAST <= _bytes(size) <= _MOST:
                raise IncusInputError(
                    f'{name} must be 4 MiB or more, and less than 8 EiB, in bytes or as "512MiB", not {size!r}'
                )
        if self.unenforced not in ("refuse", "accept"):
            raise IncusInputError(f"unenforced must be 'refuse' or 'accept', not {self.unenforced!r}")

    def _config(self) -> dict[str, str]:
        """The configuration of a box."""
        config = dict(_CLOSED)
        if self.cpu is not None:
            config["limits.cpu.allowance"] = f"{round(self.cpu * 100)}ms/100ms"
        if self.memory is not None:
            config |= {"limits.memory": str(self.memory), "limits.memory.swap": "false"}
        if self.processes is not None:
            config["limits.processes"] = str(self.processes)
        return config

    def _disk(self, pool: str) -> dict[str, str]:
        """The root disk of a box in a storage pool."""
        size = {} if self.disk is None else {"size": str(self.disk)}
        return {"type": "disk", "path": "/", "pool": pool, **size}

    async def _require_enforced(self, client: Client, pool: str) -> None:
        """Raise for a limit that the server, or the storage pool, takes and does not keep."""
        if self.unenforced == "accept":
            return
        driver = (await client.storage_pools.get(pool)).driver
        if self.disk is not None and driver in _NOT_FOR_DISKS:
            raise IncusInputError(
                f"the storage pool {pool!r} has the driver {driver}, which keeps no limit of {self.disk} for a disk: "
                "name one of btrfs, zfs or lvm as storage=, or go without the limit: Limits(disk=None), or without all "
                'that are not kept: Limits(unenforced="accept")'
            )
        try:
            missing = [warning.type for warning in await client.warnings.list() if warning.status != "resolved"]
        except IncusPermissionError:  # it cannot be known
            return
        for name, controller in _CONTROLLERS.items():
            limit = getattr(self, name)
            if limit is not None and any(each.endswith(f"CGroup {controller}") for each in missing):
                raise IncusInputError(
                    f"this server does not keep the limit {name}={limit!r}: it did not find the cgroup {controller}; "
                    "start the machine with cgroup2 alone, or accept boxes without such limits with "
                    'Limits(unenforced="accept")'
                )


def _is_cpu(number: float) -> bool:
    return 0.01 <= number <= _MOST_CPUS


def _bytes(size: object) -> int:
    """A size in bytes; 0 for what is not one."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if found is None:
        return 0
    unit = found[2] or ""
    factor: int = (1024 if "i" in unit else 1000) ** _UNITS[unit.rstrip("iB")]
    return int(found[1]) * factor
