"""Storage pools, their volumes and buckets: records and request bodies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, TypedDict

from .base import Config, Key, Record, RecordList
from .resources import ResourcesStoragePoolInodes, ResourcesStoragePoolSpace

VolumeType = Literal["custom", "container", "virtual-machine", "image"] | str
"""``custom``, or the kind of object whose root disk a volume is."""

VolumeContentType = Literal["filesystem", "block", "iso"] | str
"""What is in a volume."""


class StoragePool(Record):
    """A place where volumes and buckets live."""

    name: str
    description: str
    driver: str
    """Such as ``dir``, ``btrfs``, ``zfs``, ``lvm`` or ``ceph``."""
    config: dict[str, str]
    status: str
    """``Pending``, ``Created``, ``Errored``, ``Unknown`` or ``Unavailable``."""
    locations: list[str]
    """Cluster members that have it; empty on a server of its own."""
    used_by: list[str]
    """URLs of the volumes in it, and of the instances, images and profiles that need it."""


class StoragePoolPut(TypedDict, total=False):
    """The parts of a pool that can change."""

    config: Config
    description: str


class StoragePoolsPost(StoragePoolPut, total=False):
    """A new pool."""

    name: str
    driver: str
    """One of the drivers that the server lists as supported."""


class StoragePoolState(Record):
    """How full a pool is on one server."""

    inodes: ResourcesStoragePoolInodes
    """Zeros where the driver does not count them."""
    space: ResourcesStoragePoolSpace


class StorageVolume(Record):
    """A volume of a pool: a disk or a file system."""

    name: str
    description: str
    type: VolumeType
    content_type: VolumeContentType
    config: dict[str, str]
    created_at: datetime | None
    location: str
    """Cluster member that has it; empty when all of them reach it."""
    project: str
    restore: str
    """For updates only; answers leave it empty."""
    used_by: list[str]
    """URLs of the instances and profiles that attach it."""


class StorageVolumeFull(StorageVolume):
    """A volume with its backups, snapshots and use of the disk (extension ``storage_volume_full``)."""

    backups: RecordList[StorageVolumeBackup]
    snapshots: RecordList[StorageVolumeSnapshot]
    state: StorageVolumeState


class StorageVolumePut(TypedDict, total=False):
    """The parts of a volume that can change, or a snapshot to go back to."""

    config: Config
    description: str
    restore: str
    """Name of the snapshot whose content the volume gets back."""


class StorageVolumesPost(StorageVolumePut, total=False):
    """A new volume: empty, or a copy."""

    name: str
    type: str
    """``custom``: the server makes the others by itself."""
    content_type: VolumeContentType
    """``filesystem`` (also when empty) or ``block``."""
    source: StorageVolumeSource
    """Absent: an empty volume."""


class StorageVolumeSource(TypedDict, total=False):
    """Where the content of a new volume comes from."""

    type: str
    """``copy`` (from the same server or cluster) or ``migration`` (from another one); empty: nowhere."""
    name: str
    """The volume to copy; one of its snapshots is ``volume/snapshot``."""
    pool: str
    """For a copy; empty: the new volume's own pool."""
    project: str
    """For a copy; empty: the new volume's own project."""
    location: str
    """Cluster member that has the volume to copy."""
    mode: str
    """Of a migration, who connects: the new side (``pull``) or the old side (``push``)."""
    operation: str
    """URL of the old side's operation, for ``pull``."""
    secrets: Mapping[str, str]
    """Secret of each of that operation's websockets, by its name, for ``pull``."""
    certificate: str
    """The old side's server certificate (PEM), for ``pull``."""
    refresh: bool
    """Bring an existing volume up to date instead of making a new one."""
    refresh_exclude_older: bool
    """With ``refresh``, leave out snapshots older than the newest one there."""
    volume_only: bool
    """Leave out the snapshots."""


class StorageVolumeState(Record):
    """The server's measurements of a volume."""

    usage: StorageVolumeStateUsage
    """Empty where the driver does not know."""


class StorageVolumeStateUsage(Record):
    """How full a volume is, in bytes."""

    used: int
    """0 also when not known."""
    total: int
    """The configured size; 0: no limit, or not known."""


class StorageVolumeSnapshot(Record):
    """A volume as it was at one moment."""

    name: str
    """In lists also ``volume/snapshot``."""
    description: str
    content_type: VolumeContentType
    config: dict[str, str]
    created_at: datetime | None
    expires_at: datetime | None
    """When the server deletes it; None: never."""


class StorageVolumeSnapshotPut(TypedDict, total=False):
    """The parts of a volume's snapshot that can change."""

    description: str
    expires_at: str | datetime
    """When the server deletes it; None: never."""


class StorageVolumeBackup(Record):
    """A volume packed into a file on the server, to be downloaded."""

    name: str
    created_at: datetime | None
    expires_at: datetime | None
    """When the server deletes it; None: never."""
    optimized_storage: bool
    """Whether it is in the pool driver's own format, which only such a pool can read."""
    volume_only: bool
    """Whether it lacks the snapshots."""


class StorageVolumeBitmap(Record):
    """A record of which parts of a volume were written to (extension ``storage_volume_nbd``)."""

    name: str
    granularity: int
    """Bytes that one bit stands for."""
    count: int
    """Bytes written to."""
    recording: bool
    """Whether new writes are still recorded."""
    busy: bool
    """Whether some operation holds it now."""
    persistent: bool
    """Whether it outlives the virtual machine's process."""
    inconsistent: bool
    """Whether it was not saved properly, and cannot be used."""


class StorageBucket(Record):
    """An S3 bucket of a pool."""

    name: str
    description: str
    config: dict[str, str]
    s3_url: str
    """Where S3 clients find it; empty while the server has no address for that."""
    location: str
    """Cluster member that has it; empty when all of them reach it."""
    project: str


class StorageBucketFull(StorageBucket):
    """A bucket with its backups and keys (extension ``storage_bucket_full``)."""

    backups: RecordList[StorageBucketBackup]
    bucket_keys: Annotated[RecordList[StorageBucketKey], Key("keys")]


class StorageBucketPut(TypedDict, total=False):
    """The parts of a bucket that can change."""

    config: Config
    description: str


class StorageBucketKey(Record):
    """A pair of S3 credentials for one bucket."""

    name: str
    description: str
    role: str
    """``admin`` or ``read-only``."""
    access_key: Annotated[str, Key("access-key")]
    secret_key: Annotated[str, Key("secret-key")]


_S3Credentials = TypedDict("_S3Credentials", {"access-key": str, "secret-key": str}, total=False)


class StorageBucketKeyPut(_S3Credentials, total=False):
    """The parts of a bucket's key that can change; where a credential is empty, the server makes one."""

    description: str
    role: str
    """``admin`` or ``read-only``."""


class StorageBucketBackup(Record):
    """A bucket packed into a file on the server, to be downloaded."""

    name: str
    created_at: datetime | None
    expires_at: datetime | None
    """When the server deletes it; None: never."""
    compression_algorithm: str
    """Documented, but servers seldom send it."""
