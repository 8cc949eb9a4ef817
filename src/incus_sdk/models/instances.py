"""Instances: records and request bodies, snapshots, backups and state included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from .base import Config, Record, RecordList, RecordMap

if TYPE_CHECKING:  # else loading an instance would load all devices
    from .devices import Devices

InstanceType = Literal["container", "virtual-machine"] | str
"""What an instance or an image is."""

InstanceStatus = Literal["Running", "Ready", "Stopped", "Frozen", "Error", "Starting", "Stopping", "Freezing"] | str
"""The state of an instance; Ready is running too, as the system inside has reported (through /dev/incus)."""


class InstanceBackup(Record):
    """A backup of an instance that the server keeps until it expires."""

    created_at: datetime | None
    expires_at: datetime | None
    """When the server deletes it; None: never."""
    instance_only: bool
    """Made without the instance's snapshots."""
    name: str
    """Without the instance's name."""
    optimized_storage: bool
    """In the storage driver's own format, which only a pool of the same driver can restore, rather than a plain tar."""


class InstanceSnapshot(Record):
    """An instance as it was at one moment."""

    architecture: str
    config: dict[str, str]
    created_at: datetime | None
    description: str
    devices: dict[str, dict[str, str]]
    ephemeral: bool
    expanded_config: dict[str, str]
    """``config`` with the profiles' configuration below it."""
    expanded_devices: dict[str, dict[str, str]]
    """``devices`` with the profiles' devices below them."""
    expires_at: datetime | None
    """When the server deletes it; None: never."""
    last_used_at: datetime | None
    name: str
    """Without the instance's name."""
    profiles: list[str]
    size: int
    """Bytes that it alone takes on the pool; -1 where that is unknown."""
    stateful: bool
    """Holds the memory and processes of the running instance too."""


class InstanceStateCPU(Record):
    """Processor time of an instance."""

    allocated_time: int
    """Processor time that it can use per second, in nanoseconds: 4000000000 is four CPUs."""
    usage: int
    """Processor time used since it started, in nanoseconds."""


class InstanceStateDisk(Record):
    """The space that one disk device uses."""

    total: int
    """Size in bytes, where the storage driver knows it; 0 otherwise."""
    usage: int
    """Bytes in use."""


class InstanceStateMemory(Record):
    """Memory of an instance, in bytes."""

    swap_usage: int
    swap_usage_peak: int
    """The most since it started."""
    total: int
    """What the instance can use at most."""
    usage: int
    usage_peak: int
    """The most since it started."""


class InstanceStateNetworkAddress(Record):
    """An IP address on an interface inside an instance."""

    _shown = ("family", "scope", "address")

    address: str
    family: str
    """inet or inet6."""
    netmask: str
    """Prefix length, such as 24."""
    scope: str
    """local, link or global."""


class InstanceStateNetworkCounters(Record):
    """Traffic of an interface since it came up, seen from inside the instance."""

    bytes_received: int
    bytes_sent: int
    errors_received: int
    errors_sent: int
    packets_dropped_inbound: int
    packets_dropped_outbound: int
    packets_received: int
    packets_sent: int


class InstanceStateNetwork(Record):
    """One network interface, as seen from inside the instance."""

    _shown = ("type", "state", "host_name")

    addresses: RecordList[InstanceStateNetworkAddress]
    counters: InstanceStateNetworkCounters
    host_name: str
    """The interface at the host's end, such as vethbbcd39c7; empty where there is none."""
    hwaddr: str
    """MAC address."""
    mtu: int
    """Bytes."""
    state: str
    """up or down."""
    type: str
    """broadcast, loopback, point-to-point or unknown."""


class InstanceStateOSInfo(Record):
    """The operating system inside an instance; empty while it is not running."""

    _shown = ("os", "os_version", "hostname")

    fqdn: str
    """Host name with its domain."""
    hostname: str
    kernel_version: str
    os: str
    """Such as Debian GNU/Linux."""
    os_version: str


class InstanceState(Record):
    """The current state of an instance, and what it uses."""

    cpu: InstanceStateCPU
    disk: RecordMap[InstanceStateDisk]
    """By device name."""
    memory: InstanceStateMemory
    network: RecordMap[InstanceStateNetwork]
    """By interface name, as seen from inside; empty while stopped."""
    os_info: InstanceStateOSInfo
    pid: int
    """Process id on the host: of init for a container, of QEMU for a virtual machine; 0 when stopped."""
    processes: int
    """How many run inside; -1 for a virtual machine without a running agent."""
    started_at: datetime | None
    """None when stopped."""
    status: InstanceStatus
    """Running, Stopped, Frozen, Error, or Ready once the system inside has reported that (through /dev/incus)."""
    status_code: int


class Instance(Record):
    """A container or virtual machine."""

    architecture: str
    config: dict[str, str]
    """Its own configuration, without the profiles'."""
    created_at: datetime | None
    description: str
    devices: dict[str, dict[str, str]]
    """Its own devices by name, without the profiles'."""
    disk_only: bool
    """Belongs to ``restore``: the server never sends it."""
    ephemeral: bool
    """Deleted when it stops."""
    expanded_config: dict[str, str]
    """What applies in the end: ``config`` over the profiles'."""
    expanded_devices: dict[str, dict[str, str]]
    """What is attached in the end: ``devices`` over the profiles'."""
    last_used_at: datetime | None
    """When it last started; None: never."""
    location: str
    """Cluster member it lives on; none (the word) on a server outside any cluster."""
    name: str
    profiles: list[str]
    """In the order they apply: a later one overrides an earlier one."""
    project: str
    restore: str
    """Part of an update, see InstancePut: the server never sends it."""
    stateful: bool
    """A running state is saved on disk, for the next start to resume."""
    status: InstanceStatus
    """Running, Stopped, Frozen, Error and others; Error also for one whose cluster member does not answer."""
    status_code: int
    """102 stopped, 103 running, 110 frozen, 112 error."""
    type: InstanceType


class InstanceFull(Instance):
    """An instance together with its state, snapshots and backups, as recursion 2 gives it."""

    backups: RecordList[InstanceBackup]
    snapshots: RecordList[InstanceSnapshot]
    state: InstanceState


class InstanceNVRAMVariable(Record):
    """A UEFI variable of a virtual machine (``instance_nvram``)."""

    attributes: list[str]
    """UEFI attributes, among them those that make it last or visible to the running system."""
    binary: str
    """The whole value in base64."""
    data: Any
    """The value decoded, in a shape that depends on the variable; None where the server cannot decode it."""
    timestamp: datetime | None
    """Only of a variable with time-based authentication."""


class BackupTarget(TypedDict, total=False):
    """Where the server uploads a backup to instead of keeping it (``backup_s3_upload``)."""

    access_key: str
    bucket_name: str
    path: str
    """Name of the object in the bucket, such as backups/c1.tar."""
    protocol: str
    """``s3``, the only one."""
    secret_key: str
    url: str
    """HTTPS address of the S3 service, without the bucket."""


class InstanceNVRAMVariablePut(TypedDict, total=False):
    """Writes a UEFI variable of a virtual machine (``instance_nvram``)."""

    attributes: Sequence[str]
    data: Any
    """The value in decoded form, as the server sends it for the same variable."""
    timestamp: str | datetime
    """Only of a variable with time-based authentication."""


class InstancePut(TypedDict, total=False):
    """Replaces an instance's configuration; or, with ``restore``, goes back to a snapshot and changes nothing else."""

    architecture: str
    config: Config
    description: str
    devices: Devices
    disk_only: bool
    """With ``restore``: only the disk, not the configuration (``instance_snapshot_disk_only_restore``)."""
    ephemeral: bool
    """Delete it when it stops."""
    profiles: Sequence[str]
    """In the order they apply: a later one overrides an earlier one."""
    restore: str
    """Name of the snapshot to go back to."""
    stateful: bool
    """With ``restore``: the saved running state as well; not together with ``disk_only``."""


_InstanceSourceHyphens = TypedDict("_InstanceSourceHyphens", {"base-image": str}, total=False)


class InstanceSource(_InstanceSourceHyphens, total=False):
    """What a new instance is made from.

    ``base-image`` is the fingerprint of the image a migrating instance once came from: where the target has that image
    too, less needs to travel.
    """

    alias: str
    """Of type image: the image's alias."""
    allow_inconsistent: bool
    """Of type copy or migration: carry on when files change while they are being copied."""
    certificate: str
    """The remote server's certificate, PEM; absent: the system's authorities decide."""
    fingerprint: str
    """Of type image: the image's SHA-256, or enough of its beginning to be unique."""
    instance_only: bool
    """Of type copy or migration: leave the snapshots out."""
    live: bool
    """Of type migration: bring the running state along."""
    mode: Literal["pull", "push"] | str
    """Of type migration, and required there: pull or push, which side connects to the other."""
    operation: str
    """Of type migration, pulling: full address of the source's operation."""
    project: str
    """Where the copied instance or the local image is; absent: the new instance's project."""
    properties: Mapping[str, str]
    """Of type image, without ``server``: the newest local image that has all of these."""
    protocol: Literal["incus", "simplestreams", "oci"] | str
    """Of a remote image's server: incus, simplestreams or, with ``instance_oci``, oci."""
    refresh: bool
    """Of type copy or migration: bring an existing instance up to date rather than make one."""
    refresh_exclude_older: bool
    """With ``refresh``: skip the source's snapshots that are older than the newest one here."""
    secret: str
    """Opens a private image of another server."""
    secrets: Mapping[str, str]
    """Of type migration, pulling: of the source operation's websockets, by their names: control, fs, criu."""
    server: str
    """Address of a remote image's server."""
    source: str
    """Of type copy: an instance (c1) or a snapshot (c1/snap0) of this server."""
    type: Literal["image", "copy", "migration", "none"] | str
    """none is for an empty instance."""


class InstanceSnapshotPut(TypedDict, total=False):
    """Changes when a snapshot expires."""

    expires_at: str | datetime
    """None: never."""
