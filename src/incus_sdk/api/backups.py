"""Backups of instances, volumes and buckets: kept on the server, downloaded, or streamed as they are made."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import IO, Any, TypeVar, Unpack

from .. import models
from .._atomic import atomic_file
from .._concurrency import shielded
from .._connection import wire
from .._connection.transport import Stream
from .._content import with_progress
from ..exceptions import IncusClosedError, IncusConnectionError, IncusError, IncusOperationError
from ..operations import OnProgress, Operation
from ._backup_options import BucketBackupOptions as BucketBackupOptions
from ._backup_options import InstanceBackupOptions as InstanceBackupOptions
from ._backup_options import VolumeBackupOptions as VolumeBackupOptions
from ._bodies import Expiry, expiry, to_body
from ._by_key import Deletes, Renames
from ._creation import create_picked
from ._options import known_options
from .activity import OperationsAPI
from .base import AtPath, Collection, Deletable, Renamable

_KEPT = timedelta(days=1)  # as the command's
_MAKING = ("Backing up instance", "Creating custom volume backup", "Creating bucket backup")
"""How servers describe the operations that make a backup."""


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
            await self._write(file, progress)

    async def _write(self, file: IO[bytes], progress: OnProgress | None) -> None:
        async with self._open() as stream:
            length = stream.headers.get("Content-Length")
            async for piece in with_progress(stream.chunks(), "download", int(length) if length else None, progress):
                file.write(piece)


class Backup(Download, Renamable, Deletable):
    """A backup that is kept on the server, in one file."""

    def _open(self) -> AbstractAsyncContextManager[Stream]:
        return self._download("GET", "export")


class DirectBackup(AtPath, Download):
    """A backup that is made while it is read, and not kept on the server: each `stream` and `export` makes one.

    Needs the extension ``direct_backup``, or `stream` and `export` raise `IncusUnsupportedError`. A server that fails
    on the way cuts the file off; its operation says why.
    """

    def __init__(self, backups: AtPath, options: Mapping[str, Any]) -> None:
        super().__init__(backups._scope, backups._path)
        self._options = to_body(options)

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Stream]:
        await self._scope.require("direct_backup", "a backup that is not kept on the server")
        headers = {"Accept": "application/octet-stream"}
        try:
            async with self._download("POST", body=self._options, headers=headers) as stream:
                yield stream
        except IncusClosedError:
            raise
        except IncusConnectionError as cut:
            if (failed := await self._find_failed()) is None:
                raise
            raise IncusOperationError(
                f"{failed._describe()}: {failed.err}", operation_id=failed.id, response=failed.raw
            ) from cut

    async def _find_failed(self) -> Operation | None:
        """The operation that could not make it, which is all that says why the server cut the file off."""
        found: list[Operation] = []
        with contextlib.suppress(IncusError):
            for operation in await OperationsAPI(self._scope).list():
                urls = [wire.names(url) for of in operation.resources.values() for url in of or ()]
                ours = operation.description in _MAKING and list(self._path[:-1]) in urls
                # The closed pipe is that of a reader who went away.
                if ours and operation.err and "closed pipe" not in operation.err:
                    found.append(operation)
        return max(found, key=lambda operation: str(operation.raw.get("created_at")), default=None)


BackupItem = TypeVar("BackupItem", bound=Backup)


class Backups(Collection[BackupItem], Renames, Deletes):
    """All backups of one object."""

    _path_part = "backups"

    async def _create_backup(
        self, name: str | None, expires_at: Expiry, options: Mapping[str, Any], progress: OnProgress | None
    ) -> BackupItem:
        body = {**options, **expiry(expires_at, _KEPT)}
        return await create_picked(self, name, body, "backups", progress)

    async def _upload_backup(
        self, target: models.BackupTarget, options: Mapping[str, Any], progress: OnProgress | None
    ) -> None:
        body = to_body(options) | {"target": {"protocol": "s3", **to_body(target)}}
        await self._scope.require("backup_s3_upload", "a backup to S3")
        await self._operate("POST", body=body, progress=progress)

    async def _export(
        self, target_path: str | os.PathLike[str], options: Mapping[str, Any], progress: OnProgress | None
    ) -> None:
        """Write a backup to a local file: one that is not kept where the server can, else one that is deleted again."""
        direct = DirectBackup(self, options)
        with atomic_file(target_path) as file:
            if "direct_backup" in ((await self._scope.server()).get("api_extensions") or ()):
                await direct._write(file, progress)
                return
            # Of two exports at once, the server would pick the same name for both.
            backup = await self._create_backup(f"export-{os.urandom(4).hex()}", "default", options, progress)
            try:
                await backup._write(file, progress)
            finally:
                with contextlib.suppress(IncusError):  # then the server deletes it when it expires
                    await shielded(backup.delete())


class InstanceBackup(models.InstanceBackup, Backup):
    """A backup of an instance."""


class InstanceBackupsAPI(Backups[InstanceBackup]):
    """``instance.backups``."""

    _resource, _urls_quoted = InstanceBackup, False

    @known_options(InstanceBackupOptions)
    async def create(
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
        return await self._create_backup(backup_name, expires_at, options, progress)

    @known_options(InstanceBackupOptions)
    def direct(self, **options: Unpack[InstanceBackupOptions]) -> DirectBackup:
        """A backup that is made while it is read and not kept on the server; makes no request by itself.

            async with instance.backups.direct(compression_algorithm="zstd").stream() as pieces: ...

        `Instance.export` writes a file, on every server.

        Args:
            **options: ``compression_algorithm``, ``instance_only``, ``optimized_storage`` and ``root_only``: see
                `InstanceBackupOptions`.

        Raises:
            IncusInputError: There is no such option.

        API:
            ``POST /1.0/instances/{name}/backups``. Extension ``direct_backup``.
        """
        return DirectBackup(self, options)

    @known_options(InstanceBackupOptions)
    async def upload(
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
        await self._upload_backup(target, options, progress)


class VolumeBackup(models.StorageVolumeBackup, Backup):
    """A backup of a custom volume."""


class VolumeBackupsAPI(Backups[VolumeBackup]):
    """``volume.backups``, of a custom volume."""

    _resource = VolumeBackup

    @known_options(VolumeBackupOptions)
    async def create(
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
        return await self._create_backup(backup_name, expires_at, options, progress)

    @known_options(VolumeBackupOptions)
    def direct(self, **options: Unpack[VolumeBackupOptions]) -> DirectBackup:
        """A backup that is made while it is read and not kept on the server; makes no request by itself.

            async with volume.backups.direct(compression_algorithm="zstd").stream() as pieces: ...

        `Volume.export` writes a file, on every server.

        Args:
            **options: ``compression_algorithm``, ``optimized_storage`` and ``volume_only``: see
                `VolumeBackupOptions`.

        Raises:
            IncusInputError: There is no such option.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``. Extension ``direct_backup``.
        """
        return DirectBackup(self, options)

    @known_options(VolumeBackupOptions)
    async def upload(
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
        await self._upload_backup(target, options, progress)


class BucketBackup(models.StorageBucketBackup, Backup):
    """A backup of a bucket."""


class BucketBackupsAPI(Backups[BucketBackup]):
    """``bucket.backups``."""

    _resource, _urls_quoted = BucketBackup, False  # servers break when asked for the URLs

    @known_options(BucketBackupOptions)
    async def create(
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
        return await self._create_backup(backup_name, expires_at, options, progress)

    @known_options(BucketBackupOptions)
    def direct(self, **options: Unpack[BucketBackupOptions]) -> DirectBackup:
        """A backup that is made while it is read and not kept on the server; makes no request by itself.

            async with bucket.backups.direct(compression_algorithm="zstd").stream() as pieces: ...

        `Bucket.export` writes a file, on every server.

        Args:
            **options: ``compression_algorithm``: see `BucketBackupOptions`.

        Raises:
            IncusInputError: There is no such option.

        API:
            ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/backups``. Extension ``direct_backup``.
        """
        return DirectBackup(self, options)
