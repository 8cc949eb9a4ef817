"""Backups of instances, volumes and buckets: kept on the server, downloaded, or streamed as they are made.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from ... import models
from ...api import backups as _source
from ...api._backup_options import BucketBackupOptions as BucketBackupOptions
from ...api._backup_options import InstanceBackupOptions as InstanceBackupOptions
from ...api._backup_options import VolumeBackupOptions as VolumeBackupOptions
from .. import _twin
from ._by_key import Deletes, Renames
from .base import AtPath, Collection, Deletable, Renamable

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from ...api._bodies import Expiry
    from ...operations import OnProgress


class Download(_twin.Twin):
    """A file that the server sends."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Download: ...

    def stream(self) -> AbstractContextManager[Iterator[bytes]]:
        """Read the file piece by piece.

            with backup.stream() as pieces:
                for piece in pieces: ...

        Yields:
            The pieces, as bytes, until the block ends.

        Raises:
            IncusNotFoundError: There is no such backup, or nothing to back up.
            IncusConnectionError: The file was cut off.

        API:
            ``GET`` of the backup's path and ``/export``; for a `DirectBackup`, ``POST`` of the path of all backups
        """
        return self._portal.enter(self._async.stream(), self._wrap)

    def export(self, target_path: str | os.PathLike[str], *, progress: OnProgress | None = None) -> None:
        """Write the file to a local one, which appears once it is complete.

        Args:
            target_path: The local file; one that exists is replaced.
            progress: Called with the bytes received so far, as stage ``download``.

        Raises:
            IncusInputError: The local file cannot be written.
            IncusNotFoundError: There is no such backup, or nothing to back up.
            IncusConnectionError: The file was cut off.

        API:
            ``GET`` of the backup's path and ``/export``; for a `DirectBackup`, ``POST`` of the path of all backups
        """
        self._portal.run(self._async.export(target_path, progress=_twin.posted(progress)))


class Backup(Download, Renamable, Deletable):
    """A backup that is kept on the server, in one file."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Backup: ...


class DirectBackup(AtPath, Download):
    """A backup that is made while it is read, and not kept on the server: each `stream` and `export` makes one.

    Needs the extension ``direct_backup``, or `stream` and `export` raise `IncusUnsupportedError`. A server that fails
    on the way cuts the file off; its operation says why.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.DirectBackup: ...


BackupItem = TypeVar("BackupItem", bound=Backup)


class Backups(Collection[BackupItem], Renames, Deletes):
    """All backups of one object."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Backups[Any]: ...


class InstanceBackup(models.InstanceBackup, Backup):
    """A backup of an instance."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.InstanceBackup: ...


class InstanceBackupsAPI(Backups[InstanceBackup]):
    """``instance.backups``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.InstanceBackupsAPI: ...

    def create(
        self,
        backup_name: str | None = None,
        /,
        *,
        expires_at: Expiry = "default",
        progress: OnProgress | None = None,
        **options: Unpack[InstanceBackupOptions],
    ) -> InstanceBackup:
        """Make a backup of the instance and keep it on the server.

        Args:
            backup_name: Its name; None lets the server pick ``backup0``, ``backup1`` and so on.
            expires_at: When the server deletes it: a time, or a `timedelta` from now; ``"never"``; or ``"default"``,
                after 24 hours, as those of the command.
            progress: Called with how far the server is.
            **options: ``compression_algorithm``, ``instance_only``, ``optimized_storage`` and
                ``root_only``: see `InstanceBackupOptions`.

        Returns:
            The backup, read.

        Raises:
            IncusInputError: ``expires_at`` is not a time, or there is no such option.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: The name is taken, or the backup could not be made.

        API:
            ``POST /1.0/instances/{name}/backups``
        """
        result: InstanceBackup = self._wrap(
            self._portal.run(
                self._async.create(backup_name, expires_at=expires_at, progress=_twin.posted(progress), **options)
            )
        )
        return result

    def direct(self, **options: Unpack[InstanceBackupOptions]) -> DirectBackup:
        """A backup that is made while it is read and not kept on the server; makes no request by itself.

            with instance.backups.direct(compression_algorithm="zstd").stream() as pieces: ...

        `Instance.export` writes a file, on every server.

        Args:
            **options: ``compression_algorithm``, ``instance_only``, ``optimized_storage`` and ``root_only``: see
                `InstanceBackupOptions`.

        Raises:
            IncusInputError: There is no such option.

        API:
            ``POST /1.0/instances/{name}/backups``. Extension ``direct_backup``.
        """
        result: DirectBackup = self._wrap(self._async.direct(**options))
        return result

    def upload(
        self,
        target: models.BackupTarget,
        /,
        *,
        progress: OnProgress | None = None,
        **options: Unpack[InstanceBackupOptions],
    ) -> None:
        """Have the server send a backup of the instance to an S3 bucket, without keeping it.

        Args:
            target: The bucket: ``url``, ``bucket_name``, ``path`` of the object in it, ``access_key``, ``secret_key``.
            progress: Called with how far the server is.
            **options: ``compression_algorithm``, ``instance_only``, ``optimized_storage`` and ``root_only``: see
                `InstanceBackupOptions`.

        Raises:
            IncusInputError: There is no such option.
            IncusUnsupportedError: The server lacks the extension.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: The backup could not be made or sent.

        API:
            ``POST /1.0/instances/{name}/backups``. Extension ``backup_s3_upload``.
        """
        self._portal.run(self._async.upload(target, progress=_twin.posted(progress), **options))


class VolumeBackup(models.StorageVolumeBackup, Backup):
    """A backup of a custom volume."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.VolumeBackup: ...


class VolumeBackupsAPI(Backups[VolumeBackup]):
    """``volume.backups``, of a custom volume."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.VolumeBackupsAPI: ...

    def create(
        self,
        backup_name: str | None = None,
        /,
        *,
        expires_at: Expiry = "default",
        progress: OnProgress | None = None,
        **options: Unpack[VolumeBackupOptions],
    ) -> VolumeBackup:
        """Make a backup of the volume and keep it on the server.

        Args:
            backup_name: Its name; None lets the server pick ``backup0``, ``backup1`` and so on.
            expires_at: When the server deletes it: a time, or a `timedelta` from now; ``"never"``; or ``"default"``,
                after 24 hours, as those of the command.
            progress: Called with how far the server is.
            **options: ``compression_algorithm``, ``optimized_storage`` and ``volume_only``: see
                `VolumeBackupOptions`.

        Returns:
            The backup, read.

        Raises:
            IncusInputError: ``expires_at`` is not a time, or there is no such option.
            IncusNotFoundError: There is no such volume.
            IncusOperationError: The name is taken, or the backup could not be made.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``
        """
        result: VolumeBackup = self._wrap(
            self._portal.run(
                self._async.create(backup_name, expires_at=expires_at, progress=_twin.posted(progress), **options)
            )
        )
        return result

    def direct(self, **options: Unpack[VolumeBackupOptions]) -> DirectBackup:
        """A backup that is made while it is read and not kept on the server; makes no request by itself.

            with volume.backups.direct(compression_algorithm="zstd").stream() as pieces: ...

        `Volume.export` writes a file, on every server.

        Args:
            **options: ``compression_algorithm``, ``optimized_storage`` and ``volume_only``: see
                `VolumeBackupOptions`.

        Raises:
            IncusInputError: There is no such option.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``. Extension ``direct_backup``.
        """
        result: DirectBackup = self._wrap(self._async.direct(**options))
        return result

    def upload(
        self,
        target: models.BackupTarget,
        /,
        *,
        progress: OnProgress | None = None,
        **options: Unpack[VolumeBackupOptions],
    ) -> None:
        """Have the server send a backup of the volume to an S3 bucket, without keeping it.

        Args:
            target: The bucket: ``url``, ``bucket_name``, ``path`` of the object in it, ``access_key``, ``secret_key``.
            progress: Called with how far the server is.
            **options: ``compression_algorithm``, ``optimized_storage`` and ``volume_only``: see
                `VolumeBackupOptions`.

        Raises:
            IncusInputError: There is no such option.
            IncusUnsupportedError: The server lacks the extension.
            IncusNotFoundError: There is no such volume.
            IncusOperationError: The backup could not be made or sent.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``. Extension ``backup_s3_upload``.
        """
        self._portal.run(self._async.upload(target, progress=_twin.posted(progress), **options))


class BucketBackup(models.StorageBucketBackup, Backup):
    """A backup of a bucket."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.BucketBackup: ...


class BucketBackupsAPI(Backups[BucketBackup]):
    """``bucket.backups``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.BucketBackupsAPI: ...

    def create(
        self,
        backup_name: str | None = None,
        /,
        *,
        expires_at: Expiry = "default",
        progress: OnProgress | None = None,
        **options: Unpack[BucketBackupOptions],
    ) -> BucketBackup:
        """Make a backup of the bucket and keep it on the server.

        Args:
            backup_name: Its name; None lets the server pick ``backup0``, ``backup1`` and so on.
            expires_at: When the server deletes it: a time, or a `timedelta` from now; ``"never"``; or ``"default"``,
                after 24 hours, as those of the command.
            progress: Called with how far the server is.
            **options: ``compression_algorithm``: see `BucketBackupOptions`.

        Returns:
            The backup, read.

        Raises:
            IncusInputError: ``expires_at`` is not a time, or there is no such option.
            IncusNotFoundError: There is no such bucket.
            IncusOperationError: The name is taken, or the backup could not be made.

        API:
            ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/backups``
        """
        result: BucketBackup = self._wrap(
            self._portal.run(
                self._async.create(backup_name, expires_at=expires_at, progress=_twin.posted(progress), **options)
            )
        )
        return result

    def direct(self, **options: Unpack[BucketBackupOptions]) -> DirectBackup:
        """A backup that is made while it is read and not kept on the server; makes no request by itself.

            with bucket.backups.direct(compression_algorithm="zstd").stream() as pieces: ...

        `Bucket.export` writes a file, on every server.

        Args:
            **options: ``compression_algorithm``: see `BucketBackupOptions`.

        Raises:
            IncusInputError: There is no such option.

        API:
            ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/backups``. Extension ``direct_backup``.
        """
        result: DirectBackup = self._wrap(self._async.direct(**options))
        return result
