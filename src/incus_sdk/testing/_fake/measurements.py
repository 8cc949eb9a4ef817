"""What the machine of the fake has, and what is measured on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .machines import STOPPED
from .state import State

_GIB = 2**30


def machine_resources() -> dict[str, Any]:
    """The hardware of a small machine."""
    thread = {"id": 0, "numa_node": 0, "thread": 0, "online": True, "isolated": False}
    cores = [{"core": each, "die": 0, "threads": [{**thread, "id": each}], "flags": ["fpu"]} for each in (0, 1)]
    socket = {
        "name": "Fake CPU",
        "vendor": "GenuineIntel",
        "socket": 0,
        "cache": [{"level": 1, "type": "Data", "size": 32768}],
        "cores": cores,
    }
    disk = {
        "id": "vda",
        "device": "254:0",
        "type": "virtio",
        "read_only": False,
        "size": 100 * _GIB,
        "removable": False,
        "numa_node": 0,
        "block_size": 512,
        "rpm": 1,
        "device_id": "",
        "partitions": [],
        "pci_address": "0000:00:02.0",
    }
    node = {"numa_node": 0, "hugepages_used": 0, "hugepages_total": 0, "used": _GIB, "total": 8 * _GIB}
    memory = {"nodes": [node], "hugepages_total": 0, "hugepages_used": 0, "hugepages_size": 2**21}
    return {
        "cpu": {"architecture": "x86_64", "sockets": [socket], "total": 2},
        "memory": {**memory, "used": _GIB, "total": 8 * _GIB},
        "gpu": {"cards": [], "total": 0},
        "network": {"cards": [], "total": 0},
        "storage": {"disks": [disk], "total": 1},
        "usb": {"devices": [], "total": 0},
        "pci": {"devices": [], "total": 0},
        "system": {
            "uuid": "00000000-0000-4000-8000-000000000000",
            "vendor": "incus_sdk",
            "product": "Fake",
            "family": "",
            "version": "1",
            "sku": "",
            "serial": "",
            "type": "virtual-machine",
            "firmware": {"vendor": "", "date": "", "version": ""},
            "chassis": {"vendor": "", "type": "Other", "serial": "", "version": ""},
            "motherboard": {"vendor": "", "product": "", "serial": "", "version": ""},
        },
        "load": {"Average1Min": 0, "Average5Min": 0, "Average10Min": 0, "Processes": 1},
    }


def measured(state: State) -> str:
    """Measurements of the server and of all running instances, in the form of OpenMetrics."""
    return "\n".join([*_lines(state), "# EOF", ""])


def _lines(state: State) -> Iterator[str]:
    running = [each for each in state.machines.everywhere() if each.status != STOPPED]
    families = (
        ("incus_cpu_seconds_total", "counter", 'cpu="0",mode="user"', 0.01),
        ("incus_memory_MemTotal_bytes", "gauge", "", _GIB),
        ("incus_memory_MemFree_bytes", "gauge", "", _GIB - 2**20),
        ("incus_procs_total", "gauge", "", 2),
    )
    for name, kind, labels, value in families:
        if running:
            yield f"# TYPE {name} {kind}"
        for machine in running:
            own = f'name="{machine.name}",project="{machine.project}",type="{machine.record["type"]}"'
            yield f"{name}{{{','.join(filter(None, (labels, own)))}}} {value}"
    yield from ("# TYPE incus_operations_total counter", f"incus_operations_total {state.operations.count}")
    yield from ("# TYPE incus_warnings_total counter", f"incus_warnings_total {len(state.of('warnings'))}")
    yield from ("# TYPE incus_uptime_seconds counter", "incus_uptime_seconds 1")
