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


def roots(devices: Mapping[str, Any]) -> list[str]:
    """The names of the root disks."""
    return [
        name
        for name, device in devices.items()
        if device.get("type") == "disk" and device.get("path") == "/" and device.get("pool")
    ]


def check_root(devices: Mapping[str, Any], what: str = "Failed detecting root disk device: ") -> None:
    """Refuse all the devices of an instance, if not exactly one of them is a root disk.

    Args:
        devices: Those of its own and of its profiles.
        what: How the server begins to say it.
    """
    if len(found := roots(devices)) != 1:
        raise Refused(
            500, f"{what}{'More than one' if found else 'No'} root device {'' if found else 'could be '}found"
        )


def check_devices(state: State, project: str, devices: Mapping[str, Any]) -> None:
    """Refuse devices that an instance cannot have."""
    for name, device in devices.items():
        kind = device.get("type", "")
        failed = f'Device validation failed for "{name}": '
        if kind not in DEVICES or (kind == "nic" and not (device.get("network") or device.get("nictype"))):
            reason = "Unsupported device type" if kind else "Missing device type in config"
            raise Refused(500, f'{failed}Failed loading device "{name}": {reason}')
        if kind == "proxy":
            for option in ("listen", "connect"):
                protocol = device.get(option, "").partition(":")[0]
                if protocol not in ("tcp", "udp", "unix"):
                    reason = f'Invalid value for device option "{option}": Unknown protocol type "{protocol}"'
                    raise Refused(500, f"{failed}{reason}")
        if (network := device.get("network")) and kind == "nic":
            _check_network(state, project, name, network)
        if kind == "disk" and not device.get("source") and device.get("path") != "/":
            raise Refused(
                500,
                f'Device validation failed for "{name}": '
                'Disk entry is missing the required "source" or "path" property',
            )


def check_new_disks(state: State, project: str, devices: Mapping[str, Any]) -> None:
    """Refuse disks of storage pools and volumes that there are not.

    Args:
        state: All that the fake has.
        project: The project of the instance.
        devices: The devices that are new.
    """
    for name, device in devices.items():
        pool, source = device.get("pool"), device.get("source")
        if device.get("type") != "disk" or not pool:
            continue
        failed = f'Failed add validation for device "{name}": '
        if pool not in state.of("storage-pools"):
            raise Refused(404, f'{failed}Failed to get storage pool "{pool}": Storage pool not found')
        volumes = state.volumes_of(pool, state.owner(project, "features.storage.volumes"))
        if source and source.partition("/")[0] not in volumes:
            raise Refused(404, f"{failed}Failed loading custom volume: Storage volume not found")


def _check_network(state: State, project: str, device: str, network: str) -> None:
    if network not in state.of("networks", state.owner(project, "features.networks")):
        raise Refused(
            404,
            f'Device validation failed for "{device}": Failed loading device "{device}": '
            f'Failed to load network "{network}" for project "{project}": Network not found',
        )
