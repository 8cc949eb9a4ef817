"""Busybox containers of the tests."""

from __future__ import annotations

from incus_sdk import Instance

_LISTENING = "until grep -q 'SigCgt.*[2367abef][0-9a-f]\\{7\\}$' /proc/1/status; do sleep 0.05; done"


async def listening(box: Instance) -> None:
    """Return when a box' init can be stopped cleanly. A start is over before it listens to SIGPWR, the bit 29 here."""
    await box.run(["sh", "-c", _LISTENING], check=True)
