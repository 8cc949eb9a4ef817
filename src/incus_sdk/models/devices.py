"""Devices of instances and profiles, as callers write them: the keys of each type, for editors to complete.

Every value can be text. Servers of other versions have other keys, so a plain dictionary is a device as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict

from .base import Config

Flag = bool | str
"""True, False, or the text that the server takes for it."""

Number = int | str
"""A number, also with a unit as ``10GiB`` where there is one."""

_DiskKeysWithDots = TypedDict(
    "_DiskKeysWithDots",
    {
        "boot.priority": Number,
        "ceph.cluster_name": str,
        "ceph.user_name": str,
        "io.bus": Literal["nvme", "virtio-blk", "virtio-scsi", "usb", "9p", "auto", "virtiofs"] | str,
        "io.cache": Literal["none", "writeback", "metadata", "unsafe"] | str,
        "limits.max": Number,
        "limits.max.burst": Number,
        "limits.max.burst.length": str,
        "limits.read": Number,
        "limits.read.burst": Number,
        "limits.read.burst.length": str,
        "limits.write": Number,
        "limits.write.burst": Number,
        "limits.write.burst.length": str,
        "raw.mount.options": str,
        "size.state": Number,
    },
    total=False,
)


class DiskDevice(_DiskKeysWithDots, total=False):
    """A disk: the root disk, a volume of a pool, or a directory, file or block device of the server.

    A plain dictionary also takes keys ``initial.*``, which configure the volume of a new root disk.
    """

    type: Literal["disk"]
    attached: Flag
    dependent: Flag
    path: str
    """Where it is mounted; ``/`` makes it the root disk."""
    pool: str
    propagation: str
    """``private`` (the default), ``shared``, ``slave``, ``unbindable`` and the like: see mount(8)."""
    readonly: Flag
    recursive: Flag
    required: Flag
    """Fail if the source does not exist."""
    shift: Flag
    """Make the owners of its files those inside."""
    size: Number
    """Bytes, or with a unit such as ``10GiB``."""
    source: str
    """A path on the server, or with ``pool`` the name of a volume."""
    wwn: str


_NICKeysWithDots = TypedDict(
    "_NICKeysWithDots",
    {
        "boot.priority": Number,
        "io.bus": Literal["virtio", "usb"] | str,
        "ipv4.address": str,
        "ipv4.address.external": str,
        "ipv4.gateway": str,
        "ipv4.host_address": str,
        "ipv4.host_table": Number,
        "ipv4.host_tables": str,
        "ipv4.neighbor_probe": Flag,
        "ipv4.routes": str,
        "ipv4.routes.external": str,
        "ipv6.address": str,
        "ipv6.address.external": str,
        "ipv6.gateway": str,
        "ipv6.host_address": str,
        "ipv6.host_table": Number,
        "ipv6.host_tables": str,
        "ipv6.neighbor_probe": Flag,
        "ipv6.routes": str,
        "ipv6.routes.external": str,
        "limits.egress": Number,
        "limits.egress.bucket": Number,
        "limits.egress.burst": Number,
        "limits.ingress": Number,
        "limits.ingress.bucket": Number,
        "limits.ingress.burst": Number,
        "limits.max": Number,
        "limits.max.bucket": Number,
        "limits.max.burst": Number,
        "limits.priority": Number,
        "queue.discipline": str,
        "queue.discipline.attach": Literal["queue", "root"] | str,
        "queue.tx.length": Number,
        "security.acls": str,
        "security.acls.default.egress.action": Literal["allow", "drop", "reject"] | str,
        "security.acls.default.egress.logged": Flag,
        "security.acls.default.ingress.action": Literal["allow", "drop", "reject"] | str,
        "security.acls.default.ingress.logged": Flag,
        "security.ipv4_filtering": Flag,
        "security.ipv6_filtering": Flag,
        "security.mac_filtering": Flag,
        "security.port_isolation": Flag,
        "security.promiscuous": Flag,
        "security.trusted": Flag,
        "vlan.tagged": Number,
    },
    total=False,
)


class NICDevice(_NICKeysWithDots, total=False):
    """A network interface; which keys go with it depends on its network or its ``nictype``."""

    type: Literal["nic"]
    acceleration: Literal["none", "sriov", "vdpa"] | str
    attached: Flag
    connected: Flag
    gvrp: Flag
    host_name: str
    """Of the interface on the server."""
    hwaddr: str
    mode: Literal["bridge", "vepa", "passthru", "private", "l2", "l3s"] | str
    mtu: Number
    name: str
    """Of the interface inside."""
    nested: str
    network: str
    """A managed network, in place of ``nictype`` and ``parent``."""
    nictype: Literal["bridged", "ipvlan", "macvlan", "ovn", "p2p", "physical", "routed", "sriov"] | str
    """Without a managed network."""
    parent: str
    """An interface or bridge of the server."""
    pci: str
    productid: str
    vendorid: str
    vlan: Number
    vrf: str


_ProxyKeysWithDots = TypedDict(
    "_ProxyKeysWithDots",
    {
        "security.gid": Number,
        "security.uid": Number,
    },
    total=False,
)


class ProxyDevice(_ProxyKeysWithDots, total=False):
    """A port or socket on the server that leads to one in the instance, or the other way round."""

    type: Literal["proxy"]
    bind: Literal["host", "instance"] | str
    connect: str
    """Such as ``tcp:127.0.0.1:80``."""
    gid: Number
    listen: str
    """Such as ``tcp:127.0.0.1:8080``, with ranges, or ``unix:/run/web.sock``."""
    mode: str
    """Octal, of a socket that it makes."""
    nat: Flag
    proxy_protocol: Flag
    uid: Number


_GPUKeysWithDots = TypedDict(
    "_GPUKeysWithDots",
    {
        "blob.size": Number,
        "mig.ci": Number,
        "mig.gi": Number,
        "mig.uuid": str,
        "nvidia.clique": Number,
    },
    total=False,
)


class GPUDevice(_GPUKeysWithDots, total=False):
    """A graphics card, or a part of one; which keys go with it depends on its ``gputype``."""

    type: Literal["gpu"]
    gid: Number
    gputype: Literal["physical", "mdev", "mig", "sriov", "native-context"] | str
    id: str
    mdev: str
    mode: str
    """Octal."""
    pci: str
    productid: str
    uid: Number
    vendorid: str


_UnixKeysWithDots = TypedDict(
    "_UnixKeysWithDots",
    {
        "limits.read": Number,
        "limits.write": Number,
    },
    total=False,
)


class UnixDevice(_UnixKeysWithDots, total=False):
    """A character or block device of the server in a container."""

    type: Literal["unix-char", "unix-block"]
    gid: Number
    major: Number
    minor: Number
    mode: str
    """Octal."""
    path: str
    """Inside; one of it and ``source`` is enough."""
    required: Flag
    source: str
    """On the server."""
    uid: Number


class UnixHotplugDevice(TypedDict, total=False):
    """Devices in a container that come and go, as USB devices do."""

    type: Literal["unix-hotplug"]
    gid: Number
    mode: str
    """Octal."""
    pci: str
    productid: str
    required: Flag
    uid: Number
    vendorid: str


class USBDevice(TypedDict, total=False):
    """USB devices."""

    type: Literal["usb"]
    attached: Flag
    busnum: Number
    devnum: Number
    gid: Number
    mode: str
    """Octal."""
    productid: str
    required: Flag
    serial: str
    uid: Number
    vendorid: str


class TPMDevice(TypedDict, total=False):
    """An emulated trusted platform module."""

    type: Literal["tpm"]
    path: str
    pathrm: str


class InfinibandDevice(TypedDict, total=False):
    """An InfiniBand interface."""

    type: Literal["infiniband"]
    hwaddr: str
    mtu: Number
    name: str
    nictype: Literal["physical", "sriov"] | str
    node_guid: str
    parent: str
    port_guid: str


class PCIDevice(TypedDict, total=False):
    """A PCI device in a virtual machine."""

    type: Literal["pci"]
    address: str
    firmware: Flag


class NoneDevice(TypedDict, total=False):
    """Nothing: it hides the device of that name that a profile has."""

    type: Literal["none"]


Device = (
    DiskDevice
    | NICDevice
    | ProxyDevice
    | GPUDevice
    | UnixDevice
    | UnixHotplugDevice
    | USBDevice
    | TPMDevice
    | InfinibandDevice
    | PCIDevice
    | NoneDevice
    | Config
)
"""A device. In an update, None removes a key; without ``type``, it changes keys of a device that is there."""

Devices = Mapping[str, Device | None]
"""Devices by name. In an update or a copy, None removes the device."""
