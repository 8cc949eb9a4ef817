"""Storage buckets: S3 object storage in a pool, and the keys to it."""

from __future__ import annotations

import os
from typing import ClassVar, Unpack

from .. import models
from .._connection import wire
from .._content import Content
from ..operations import OnProgress
from ._backup_options import BucketBackupOptions
from ._bodies import created_name
from ._by_key import Deletes, Edits, Replaces, Updates
from ._creation import restore
from ._ensure import Ensures
from ._options import known_options
from .backups import BucketBackupsAPI
from .base import Collection, Deletable, Editable, Nested, Updatable


class BucketKey(models.StorageBucketKey, Updatable[models.StorageBucketKeyPut], Deletable):
    """A pair of S3 credentials for one bucket: ``access_key`` and ``secret_key``.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment.
    """


class BucketKeysAPI(
    Collection[BucketKey], Replaces[models.StorageBucketKeyPut], Updates[models.StorageBucketKeyPut], Ensures, Deletes
):
    """``bucket.bucket_keys``."""

    _resource, _path_part = BucketKey, "keys"

    @known_options(models.StorageBucketKeyPut)
    async def create(self, name: str, **body: Unpack[models.StorageBucketKeyPut]) -> BucketKey:
        """Create a key.

        Args:
            name: Its name.
            **body: ``role``, which is ``admin`` or, by default, ``read-only``; ``description``; and ``access-key`` and
                ``secret-key``, which the server generates where they are missing.

        Returns:
            The key, read, with its credentials.

        Raises:
            IncusAPIError: The name is taken, or there is no such role.

        API:
            ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/keys``
        """
        return await self._create(name, {"role": "read-only", **body})


class Bucket(models.StorageBucket, Editable[models.StorageBucketPut], Deletable):
    """An S3 bucket in a pool; it is created with a key ``admin``.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment. `patch` merges
    ``config``, and resets the description unless it names it.
    """

    _PATCH_NEEDS_CONFIG = True

    @property
    def bucket_keys(self) -> BucketKeysAPI:
        """Its keys; ``keys`` is the method of every mapping. The list that came with it is ``full.bucket_keys``."""
        return BucketKeysAPI(self)

    @property
    def backups(self) -> BucketBackupsAPI:
        """Its backups. The list that came with it is ``full.backups``."""
        return BucketBackupsAPI(self)

    @property
    def full(self) -> models.StorageBucketFull:
        """The same JSON with backups and keys, where ``list(2)`` or ``get(recursion=1)`` filled them."""
        return models.StorageBucketFull(self.raw)

    @known_options(BucketBackupOptions)
    async def export(
        self,
        target_path: str | os.PathLike[str],
        *,
        progress: OnProgress | None = None,
        **options: Unpack[BucketBackupOptions],
    ) -> None:
        """Write a backup of the bucket, with its keys, to a local file, which appears once it is complete.

            await bucket.export("backup.tar.gz")

        Nothing stays on the server. One with the extension ``direct_backup`` sends the backup while it makes it;
        another makes it first, and it is deleted after the download, also if that fails or is cancelled.
        `BucketsAPI.create_from_backup` makes a bucket of the file.

        Args:
            target_path: The local file; one that exists is replaced.
            progress: Called with how far it is: where the server makes the backup first, that is one stage, and
                ``download`` the next.
            **options: ``compression_algorithm``: see
                `BucketBackupOptions`.

        Raises:
            IncusInputError: The local file cannot be written, or there is no such option.
            IncusNotFoundError: There is no such bucket.
            IncusOperationError: The server could not make the backup.
            IncusConnectionError: The file was cut off.

        API:
            ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/backups``; without the extension also
            ``GET /1.0/storage-pools/{pool}/buckets/{bucket}/backups/{backup}/export`` and
            ``DELETE /1.0/storage-pools/{pool}/buckets/{bucket}/backups/{backup}``
        """
        await self.backups._export(target_path, options, progress)


class BucketsAPI(Nested[Bucket], Edits[models.StorageBucketPut], Ensures, Deletes):
    """``pool.buckets``.

    S3 clients reach them at the server's ``core.storage_buckets_address``. Servers before 7.0 need MinIO for those of a
    local pool.
    """

    _resource, _path_part, _located = Bucket, "buckets", True
    _get_extension = _list_extension = "storage_bucket_full"
    _options: ClassVar = {"filter": "api_filtering_extended", "all-projects": "storage_buckets_all_projects"}

    @known_options(models.StorageBucketPut)
    async def create(self, name: str, **body: Unpack[models.StorageBucketPut]) -> Bucket:
        """Create a bucket; ``bucket.bucket_keys.get("admin")`` then has the credentials.

        Args:
            name: Its name: 3 to 63 lower-case letters, digits and hyphens.
            **body: ``config`` and ``description``.

        Returns:
            The bucket, read.

        Raises:
            IncusConflictError: The name is taken.
            IncusAPIError: The name is invalid, or the server cannot have buckets.

        API:
            ``POST /1.0/storage-pools/{pool}/buckets``
        """
        return await self._create(name, body)

    async def create_from_backup(
        self, source: Content, name: str | None = None, *, progress: OnProgress | None = None
    ) -> Bucket:
        """Create a bucket from a backup file, with its keys, which no other bucket can have.

        Args:
            source: The file: its path, its bytes, a binary file that is open, or an iterable of bytes, plain or async.
                It is streamed.
            name: Its name; None for the name in the backup.
            progress: Called with how much was sent, as stage ``upload``, and then how far the server is.

        Returns:
            The bucket, read.

        Raises:
            IncusInputError: The file cannot be read, or ``name`` is invalid.
            IncusAPIError: The file is not a backup.
            IncusOperationError: The name or a key is taken, or the bucket could not be made.

        API:
            ``POST /1.0/storage-pools/{pool}/buckets``
        """
        if name is not None:
            wire.path(name)
        return await restore(
            self, source=source, key=lambda made: created_name(made, "storage_buckets"), progress=progress, name=name
        )

    @known_options(BucketBackupOptions)
    async def export(
        self,
        name: str,
        target_path: str | os.PathLike[str],
        *,
        progress: OnProgress | None = None,
        **options: Unpack[BucketBackupOptions],
    ) -> None:
        """Write a backup of one to a local file, on every server: see `Bucket.export`.

        Args:
            name: The bucket.
            target_path: The local file; one that exists is replaced.
            progress: Called with how far it is.
            **options: ``compression_algorithm``.

        Raises:
            IncusInputError: The local file cannot be written, or there is no such option.
            IncusNotFoundError: There is no such bucket.
            IncusOperationError: The server could not make the backup.
            IncusConnectionError: The file was cut off.

        API:
            ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/backups``; without ``direct_backup`` also
            ``GET /1.0/storage-pools/{pool}/buckets/{bucket}/backups/{backup}/export`` and
            ``DELETE /1.0/storage-pools/{pool}/buckets/{bucket}/backups/{backup}``
        """
        await self[name].export(target_path, progress=progress, **options)
