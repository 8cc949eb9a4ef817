"""What backups hold, and how they are made."""

from __future__ import annotations

from typing import TypedDict


class InstanceBackupOptions(TypedDict, total=False):
    """What a backup of an instance holds, and how."""

    compression_algorithm: str
    """A program such as gzip, xz or zstd, its options after a space, or none; by default the server's setting."""
    instance_only: bool
    """Leave the snapshots out."""
    optimized_storage: bool
    """The storage driver's own format: faster, but only a pool of the same driver restores it."""
    root_only: bool
    """Leave out the volumes that depend on this instance."""


class VolumeBackupOptions(TypedDict, total=False):
    """What a backup of a volume holds, and how."""

    compression_algorithm: str
    """A program such as gzip, xz or zstd, its options after a space, or none; by default the server's setting."""
    optimized_storage: bool
    """The storage driver's own format: faster, but only a pool of the same driver restores it."""
    volume_only: bool
    """Leave the snapshots out."""


class BucketBackupOptions(TypedDict, total=False):
    """How a backup of a bucket is made."""

    compression_algorithm: str
    """A program such as gzip, xz or zstd, its options after a space, or none; by default the server's setting."""
