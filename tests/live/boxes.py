"""Busybox containers of the tests."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import stat
import subprocess
from pathlib import Path

from incus_sdk import Client, IncusNotFoundError, Instance
from incus_sdk.testing import Daemon

_LOOKS = 10
_LISTENING = "until grep -q 'SigCgt.*[2367abef][0-9a-f]\\{7\\}$' /proc/1/status; do sleep 0.05; done"


async def listening(box: Instance) -> None:
    """Return when a box' init can be stopped cleanly. A start is over before it listens to SIGPWR, the bit 29 here."""
    await box.run(["sh", "-c", _LISTENING], check=True)


async def gnu_tar(box: Instance) -> None:
    """Give a box the machine's own ``tar`` and what runs it: a shell of busybox would run that of busybox."""
    async with box.path("/").connected() as root:
        await (root / "usr/local/bin").mkdir(parents=True)
        for name in ("sh", "tar", "xargs"):
            program = shutil.which(name)
            assert program is not None
            await (root / "usr/local/bin" / name).write_bytes(Path(program).read_bytes(), mode=0o755)
            needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()  # noqa: ASYNC221
            for library in (word for word in needed if word.startswith("/")):
                await (root / library).parent.mkdir(parents=True, exist_ok=True)
                await (root / library).write_bytes(Path(library).read_bytes(), mode=0o755)
    assert "GNU tar" in (await box.run(["tar", "--version"], text=True, check=True)).stdout


class KeptBox:
    """A running box that one test after the other gets, as long as each leaves it as it was: they only use its files.

    Files that a test made are removed. After any other change, and after a command that still runs, the next test gets
    a new box.
    """

    NAMES = "kept-"

    def __init__(self, daemon: Daemon) -> None:
        self._pool = daemon.directory / "storage-pools/default/containers"
        self._numbers = itertools.count()
        self._name = ""

    async def take(self, client: Client) -> Instance:
        """The box, for a client."""
        if not self._name:
            self._name = f"{self.NAMES}{next(self._numbers)}"
            await client.instances.launch("busybox", self._name)
            await listening(client.instances[self._name])
            self._before = await self._state(client), self._files()
        return await client.instances.get(self._name)

    async def give_back(self, client: Client) -> None:
        """Make it as it was; or else delete it, and later make another one."""
        state, files = self._before
        now = self._files()
        for path in sorted(now.keys() - files.keys(), reverse=True):
            made = self._pool / self._name / "rootfs" / path
            made.rmdir() if made.is_dir() and not made.is_symlink() else made.unlink()
        if now.items() >= files.items():
            for _ in range(_LOOKS):  # what has just ended may still count
                if await self._state(client) == state:
                    return
                await asyncio.sleep(0.05)
        await self.delete(client)

    async def delete(self, client: Client) -> None:
        """Delete it."""
        if self._name:
            name, self._name = self._name, ""
            await client.instances.delete(name, force=True, wait=True, missing_ok=True)

    async def _state(self, client: Client) -> object:
        try:
            full = (await client.instances.get(self._name, recursion=1)).full
        except IncusNotFoundError:
            return None
        config = {key: value for key, value in full.config.items() if not key.startswith("volatile.")}
        running = full.status, full.state.pid, full.state.processes
        return running, config, full.devices, full.profiles, len(full.snapshots), len(full.backups)

    def _files(self) -> dict[str, tuple[int, ...]]:
        root = self._pool / self._name / "rootfs"
        found: dict[str, tuple[int, ...]] = {}
        for folder, folders, files in os.walk(root):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                info = os.lstat(path)
                kind = info.st_mode, info.st_uid, info.st_gid
                content = () if stat.S_ISDIR(info.st_mode) else (info.st_size, info.st_mtime_ns)
                found[os.path.relpath(path, root)] = (*kind, *content)
        return found
