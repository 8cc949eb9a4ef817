"""A daemon that starts virtual machines where the kernel has neither KVM nor vhost_vsock: slow, and without agents."""

from __future__ import annotations

import shutil
from pathlib import Path

from incus_sdk.testing import Daemon


class MachineDaemon(Daemon):
    """Needs QEMU, its firmware and Python in its root."""

    def _spawn(self) -> None:
        # The directory of the program comes first in the daemon's PATH.
        place, real = self.directory / "programs", self._programs["incusd"]
        if not place.exists():
            shutil.copytree(Path(__file__).parent, place, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
            (place / "incusd.real").symlink_to(real)
        self._programs["incusd"] = str(place / "incusd")
        super()._spawn()
