"""Backups of instances, volumes and buckets: kept by the server, downloaded, streamed, and made into objects again."""

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
from .base import AtPath, Collection, Deletable, Deletes, Renamable, Renames


class Download(ABC):
    """A file that the server sends."""

    @abstractmethod
    def _open(self) -> AbstractAsyncContextManager[Stream]:
        """The answer that it is the body of."""

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The file piece by piece, for the time of ``async with``.

            async with backup.stream() as pieces:
                async for piece in pieces: ...

        Raises `IncusConnectionError` where it is cut off.
        """
        async with self._open() as stream:
            yield stream.chunks()

    async def export(self, target_path: str | os.PathLike[str], *, progress: OnProgress | None = None) -> None:
        """Write the file to ``target_path``, where it appears once it is whole.

        ``progress``: told how much has come, in bytes, as stage ``download``. Raises `IncusConnectionError` for one
        that was cut off, `IncusInputError` for a file that cannot be written.
        """
        with atomic_file(target_path) as file:
            async with self._open() as stream:
                length = stream.headers.get("Content-Length")
                async for piece in with_progress(
                    stream.chunks(), "download", int(length) if length else None, progress
                ):
                    file.write(piece)


class Backup(Download, Renamable, Deletable):
    """What was backed up, in one file on the server. ``GET`` of its path and ``/export`` gets it."""

    def _open(self) -> AbstractAsyncContextManager[Stream]:
        return self._download("GET", "export")


class DirectBackup(AtPath, Download):
    """A backup that is made as it is read, and not kept on the server: each `stream` and `export` makes one.

    It needs the extension ``direct_backup``. A server that fails on the way can only cut it off.
    """

    def __init__(self, backups: AtPath, options: Mapping[str, Any]) -> None:
        super().__init__(backups._scope, backups._path)
        self._options = _not_kept(options)

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

    async def _make_kept(self, name: str | None, options: Mapping[str, Any]) -> BackupItem:
        if "target" in options:
            raise IncusInputError("what goes to a target is not kept on the server: upload() does that")
        if name is not None:
            wire.path(name)
            options = {**options, "name": name}
        operation = await self._operate("POST", body=to_body(options))
        return await self[created_name(operation, "backups")].refresh()

    async def _upload(self, target: models.BackupTarget, options: Mapping[str, Any]) -> None:
        body = _not_kept(options) | {"target": {"protocol": "s3", **target}}
        await self._scope.require("backup_s3_upload", "a backup to S3")
        await self._operate("POST", body=body)


class InstanceBackup(models.InstanceBackup, Backup):
    """A backup of an instance."""


class InstanceBackupsAPI(Backups[InstanceBackup]):
    """``instance.backups``."""

    resource, urls_quoted = InstanceBackup, False

    async def create(
        self, backup_name: str | None = None, /, **options: Unpack[models.InstanceBackupsPost]
    ) -> InstanceBackup:
        """Make a backup and keep it on the server; returns it, read. ``POST /1.0/instances/{name}/backups``.

        ``backup_name``: None has the server pick ``backup0``, ``backup1``, ... Options are those of
        `InstanceBackupsPost`.
        """
        return await self._make_kept(backup_name, options)

    def direct(self, **options: Unpack[models.InstanceBackupsPost]) -> DirectBackup:
        """A backup that is not kept on the server but read as it is made; makes no request by itself.

            await instance.backups.direct(compression_algorithm="zstd").export("backup.tar.zst")

        ``POST /1.0/instances/{name}/backups``.
        """
        return DirectBackup(self, options)

    async def upload(self, target: models.BackupTarget, /, **options: Unpack[models.InstanceBackupsPost]) -> None:
        """Have the server send a backup to an S3 bucket, keeping none. Extension ``backup_s3_upload``.

        ``POST /1.0/instances/{name}/backups``.
        """
        await self._upload(target, options)


class VolumeBackup(models.StorageVolumeBackup, Backup):
    """A backup of a custom volume."""


class VolumeBackupsAPI(Backups[VolumeBackup]):
    """``volume.backups``, of a custom volume."""

    resource = VolumeBackup

    async def create(
        self, backup_name: str | None = None, /, **options: Unpack[models.StorageVolumeBackupsPost]
    ) -> VolumeBackup:
        """Make a backup and keep it on the server; returns it, read. See `InstanceBackupsAPI.create`.

        ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``.
        """
        return await self._make_kept(backup_name, options)

    def direct(self, **options: Unpack[models.StorageVolumeBackupsPost]) -> DirectBackup:
        """A backup that is not kept on the server but read as it is made; makes no request by itself.

            await volume.backups.direct(compression_algorithm="zstd").export("backup.tar.zst")

        ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``.
        """
        return DirectBackup(self, options)

    async def upload(self, target: models.BackupTarget, /, **options: Unpack[models.StorageVolumeBackupsPost]) -> None:
        """Have the server send a backup to an S3 bucket, keeping none. Extension ``backup_s3_upload``.

        ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``.
        """
        await self._upload(target, options)


class BucketBackup(models.StorageBucketBackup, Backup):
    """A backup of a bucket."""


class BucketBackupsAPI(Backups[BucketBackup]):
    """``bucket.backups``."""

    resource, urls_quoted = BucketBackup, False  # servers break when asked for the URLs

    async def create(
        self, backup_name: str | None = None, /, **options: Unpack[models.StorageBucketBackupsPost]
    ) -> BucketBackup:
        """Make a backup and keep it on the server; returns it, read. See `InstanceBackupsAPI.create`.

        ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/backups``.
        """
        return await self._make_kept(backup_name, options)

    def direct(self, **options: Unpack[models.StorageBucketBackupsPost]) -> DirectBackup:
        """A backup that is not kept on the server but read as it is made; makes no request by itself.

            await bucket.backups.direct(compression_algorithm="zstd").export("backup.tar.zst")

        ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/backups``.
        """
        return DirectBackup(self, options)


def _not_kept(options: Mapping[str, Any]) -> Json:
    if kept := {"name", "expires_at", "target"} & options.keys():
        raise IncusInputError(f"a backup that the server does not keep takes no {', '.join(sorted(kept))}")
    return to_body(options)
