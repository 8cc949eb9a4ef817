"""Backups of instances, volumes and buckets: kept on the server, downloaded, or streamed as they are made."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, Unpack

from .. import models
from .._atomic import atomic_file
from .._connection import wire
from .._connection.transport import Stream
from .._content import with_progress
from ..exceptions import IncusInputError
from ..models.base import Json
from ..operations import OnProgress
from ._bodies import created_name, to_body
from ._by_key import Deletes, Renames
from ._creation import create_named
from ._options import known_options
from .base import AtPath, Collection, Deletable, Renamable


class Download(ABC):
    """A file that the server sends."""

    @abstractmethod
    def _open(self) -> AbstractAsyncContextManager[Stream]:
        """The answer whose body is the file."""

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Read the file piece by piece.

            async with backup.stream() as pieces:
                async for piece in pieces: ...

        Yields:
            The pieces, as bytes, until the block ends.

        Raises:
            IncusNotFoundError: There is no such backup, or nothing to back up.
            IncusConnectionError: The file was cut off.

        API:
            ``GET`` of the backup's path and ``/export``; for a `DirectBackup`, ``POST`` of the path of all backups
        """
        async with self._open() as stream:
            yield stream.chunks()

    async def export(self, target_path: str | os.PathLike[str], *, progress: OnProgress | None = None) -> None:
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
        with atomic_file(target_path) as file:
            async with self._open() as stream:
                length = stream.headers.get("Content-Length")
                async for piece in with_progress(
                    stream.chunks(), "download", int(length) if length else None, progress
                ):
                    file.write(piece)


class Backup(Download, Renamable, Deletable):
    """A backup that is kept on the server, in one file."""

    def _open(self) -> AbstractAsyncContextManager[Stream]:
        return self._download("GET", "export")


class DirectBackup(AtPath, Download):
    """A backup that is made while it is read, and not kept on the server: each `stream` and `export` makes one.

    Needs the extension ``direct_backup``, or `stream` and `export` raise `IncusUnsupportedError`. A server that fails
    on the way can only cut the file off.
    """

    def __init__(self, backups: AtPath, options: Mapping[str, Any]) -> None:
        super().__init__(backups._scope, backups._path)
        self._options = _transient_body(options)

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Stream]:
        await self._scope.require("direct_backup", "a backup that is not kept on the server")
        headers = {"Accept": "application/octet-stream"}
        async with self._download("POST", body=self._options, headers=headers) as stream:
            yield stream


BackupItem = TypeVar("BackupItem", bound=Backup)


class Backups(Collection[BackupItem], Renames, Deletes):
    """All backups of one object."""

    segment = "backups"

    async def _create_backup(self, name: str | None, options: Mapping[str, Any]) -> BackupItem:
        if "target" in options:
            raise IncusInputError("create() makes backups that stay on the server: for a target use upload()")
        if name is not None:
            wire.path(name)
            options = {**options, "name": name}
        return await create_named(self, body=to_body(options), key=lambda made: created_name(made, "backups"))

    async def _upload_backup(self, target: models.BackupTarget, options: Mapping[str, Any]) -> None:
        body = _transient_body(options) | {"target": {"protocol": "s3", **target}}
        await self._scope.require("backup_s3_upload", "a backup to S3")
        await self._operate("POST", body=body)


class InstanceBackup(models.InstanceBackup, Backup):
    """A backup of an instance."""


class InstanceBackupsAPI(Backups[InstanceBackup]):
    """``instance.backups``."""

    resource, urls_quoted = InstanceBackup, False

    @known_options(models.InstanceBackupsPost)
    async def create(
        self, backup_name: str | None = None, /, **options: Unpack[models.InstanceBackupsPost]
    ) -> InstanceBackup:
        """Make a backup of the instance and keep it on the server.

        Args:
            backup_name: Its name; None lets the server pick ``backup0``, ``backup1`` and so on.
            **options: ``compression_algorithm``, ``expires_at``, ``instance_only``, ``optimized_storage`` and
                ``root_only``: see `InstanceBackupsPost`.

        Returns:
            The backup, read.

        Raises:
            IncusInputError: ``target`` is given: `upload` does that.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: The name is taken, or the backup could not be made.

        API:
            ``POST /1.0/instances/{name}/backups``
        """
        return await self._create_backup(backup_name, options)

    @known_options(models.InstanceBackupsPost)
    def direct(self, **options: Unpack[models.InstanceBackupsPost]) -> DirectBackup:
        """A backup that is made while it is read and not kept on the server; makes no request by itself.

            await instance.backups.direct(compression_algorithm="zstd").export("backup.tar.zst")

        Args:
            **options: ``compression_algorithm``, ``instance_only``, ``optimized_storage`` and ``root_only``: see
                `InstanceBackupsPost`.

        Raises:
            IncusInputError: An option is only for backups that are kept.

        API:
            ``POST /1.0/instances/{name}/backups``. Extension ``direct_backup``.
        """
        return DirectBackup(self, options)

    @known_options(models.InstanceBackupsPost)
    async def upload(self, target: models.BackupTarget, /, **options: Unpack[models.InstanceBackupsPost]) -> None:
        """Have the server send a backup of the instance to an S3 bucket, without keeping it.

        Args:
            target: The bucket: ``url``, ``bucket_name``, ``path`` of the object in it, ``access_key``, ``secret_key``.
            **options: ``compression_algorithm``, ``instance_only``, ``optimized_storage`` and ``root_only``: see
                `InstanceBackupsPost`.

        Raises:
            IncusInputError: An option is only for backups that are kept.
            IncusUnsupportedError: The server lacks the extension.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: The backup could not be made or sent.

        API:
            ``POST /1.0/instances/{name}/backups``. Extension ``backup_s3_upload``.
        """
        await self._upload_backup(target, options)


class VolumeBackup(models.StorageVolumeBackup, Backup):
    """A backup of a custom volume."""


class VolumeBackupsAPI(Backups[VolumeBackup]):
    """``volume.backups``, of a custom volume."""

    resource = VolumeBackup

    @known_options(models.StorageVolumeBackupsPost)
    async def create(
        self, backup_name: str | None = None, /, **options: Unpack[models.StorageVolumeBackupsPost]
    ) -> VolumeBackup:
        """Make a backup of the volume and keep it on the server.

        Args:
            backup_name: Its name; None lets the server pick ``backup0``, ``backup1`` and so on.
            **options: ``compression_algorithm``, ``expires_at``, ``optimized_storage`` and ``volume_only``: see
                `StorageVolumeBackupsPost`.

        Returns:
            The backup, read.

        Raises:
            IncusInputError: ``target`` is given: `upload` does that.
            IncusNotFoundError: There is no such volume.
            IncusOperationError: The name is taken, or the backup could not be made.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``
        """
        return await self._create_backup(backup_name, options)

    @known_options(models.StorageVolumeBackupsPost)
    def direct(self, **options: Unpack[models.StorageVolumeBackupsPost]) -> DirectBackup:
        """A backup that is made while it is read and not kept on the server; makes no request by itself.

            await volume.backups.direct(compression_algorithm="zstd").export("backup.tar.zst")

        Args:
            **options: ``compression_algorithm``, ``optimized_storage`` and ``volume_only``: see
                `StorageVolumeBackupsPost`.

        Raises:
            IncusInputError: An option is only for backups that are kept.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``. Extension ``direct_backup``.
        """
        return DirectBackup(self, options)

    @known_options(models.StorageVolumeBackupsPost)
    async def upload(self, target: models.BackupTarget, /, **options: Unpack[models.StorageVolumeBackupsPost]) -> None:
        """Have the server send a backup of the volume to an S3 bucket, without keeping it.

        Args:
            target: The bucket: ``url``, ``bucket_name``, ``path`` of the object in it, ``access_key``, ``secret_key``.
            **options: ``compression_algorithm``, ``optimized_storage`` and ``volume_only``: see
                `StorageVolumeBackupsPost`.

        Raises:
            IncusInputError: An option is only for backups that are kept.
            IncusUnsupportedError: The server lacks the extension.
            IncusNotFoundError: There is no such volume.
            IncusOperationError: The backup could not be made or sent.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``. Extension ``backup_s3_upload``.
        """
        await self._upload_backup(target, options)


class BucketBackup(models.StorageBucketBackup, Backup):
    """A backup of a bucket."""


class BucketBackupsAPI(Backups[BucketBackup]):
    """``bucket.backups``."""

    resource, urls_quoted = BucketBackup, False  # servers break when asked for the URLs

    @known_options(models.StorageBucketBackupsPost)
    async def create(
        self, backup_name: str | None = None, /, **options: Unpack[models.StorageBucketBackupsPost]
    ) -> BucketBackup:
        """Make a backup of the bucket and keep it on the server.

        Args:
            backup_name: Its name; None lets the server pick ``backup0``, ``backup1`` and so on.
            **options: ``compression_algorithm`` and ``expires_at``: see `StorageBucketBackupsPost`.

        Returns:
            The backup, read.

        Raises:
            IncusInputError: ``target`` is given: a bucket's backup cannot go to one.
            IncusNotFoundError: There is no such bucket.
            IncusOperationError: The name is taken, or the backup could not be made.

        API:
            ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/backups``
        """
        return await self._create_backup(backup_name, options)

    @known_options(models.StorageBucketBackupsPost)
    def direct(self, **options: Unpack[models.StorageBucketBackupsPost]) -> DirectBackup:
        """A backup that is made while it is read and not kept on the server; makes no request by itself.

            await bucket.backups.direct(compression_algorithm="zstd").export("backup.tar.zst")

        Args:
            **options: ``compression_algorithm``: see `StorageBucketBackupsPost`.

        Raises:
            IncusInputError: An option is only for backups that are kept.

        API:
            ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/backups``. Extension ``direct_backup``.
        """
        return DirectBackup(self, options)


def _transient_body(options: Mapping[str, Any]) -> Json:
    """The body of a request for a backup that is not kept on the server."""
    if kept := {"name", "expires_at", "target"} & options.keys():
        raise IncusInputError(f"{', '.join(sorted(kept))} is only for backups that are kept on the server")
    return to_body(options)
