"""The root folders that the versions of Incus run in."""

from __future__ import annotations

import os
from pathlib import Path

ROOTS = {
    "6.0.4": None,
    "7.0.2": Path(os.environ.get("INCUS_SDK_ROOT7", "/var/cache/incus-sdk/debian-13")),
}
"""The machine's own, and the one that ``scripts/install-incus-7`` makes."""
