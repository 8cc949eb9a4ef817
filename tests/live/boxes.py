"""Busybox containers of the tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from incus_sdk import Instance

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
