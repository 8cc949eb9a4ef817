"""Devices of instances and profiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answers import Refused
from .state import State

DEVICES = (
    *("disk", "gpu", "infiniband", "nic", "none", "pci", "proxy", "tpm", "unix-block", "unix-char"),
    *("unix-hotplug", "usb"),
)


def check_devices(state: State, project: str, devices: Mapping[str, Any]) -> None:
    """Refuse devices that an instance cannot have."""
    for name, device in devices.items():
        kind = device.get("type", "")
        if kind not in DEVICES:
            raise Refused(500, f'Invalid device type "{kind}"')
        if (network := device.get("network")) and kind == "nic":
            _check_network(state, project, name, network)
        if kind == "disk" and not (device.get("source") or device.get("path")):
            raise Refused(
                500,
                f'Device validation failed for "{name}": '
                'Disk entry is missing the required "source" or "path" property',
            )
        pool = device.get("pool")
        if kind == "disk" and pool and pool not in state.of("storage-pools"):
            raise Refused(
                404,
                f'Device validation failed for "{name}": Failed to get storage pool "{pool}": Storage pool not found',
            )


def _check_network(state: State, project: str, device: str, network: str) -> None:
    if network not in state.of("networks", state.owner(project, "features.networks")):
        raise Refused(
            404,
            f'Device validation failed for "{device}": Failed loading device "{device}": '
            f'Failed to load network "{network}" for project "{project}": Network not found',
        )
