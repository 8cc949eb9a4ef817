"""Storage buckets: S3 object storage in a pool, and the keys to it.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import models
from ...api import buckets as _source
from .. import _twin
from ._by_key import Deletes, Edits, Replaces, Updates
from ._ensure import Ensures
from .base import Collection, Deletable, Editable, Nested, Updatable

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from ..._content import Content
    from ...api._backup_options import BucketBackupOptions
    from ...operations import OnProgress
    from .backups import BucketBackupsAPI


class BucketKey(models.StorageBucketKey, Updatable[models.StorageBucketKeyPut], Deletable):
    """A pair of S3 credentials for one bucket: ``access_key`` and ``secret_key``.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.BucketKey: ...


class BucketKeysAPI(
    Collection[BucketKey], Replaces[models.StorageBucketKeyPut], Updates[models.StorageBucketKeyPut], Ensures, Deletes
):
    """``bucket.bucket_keys``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.BucketKeysAPI: ...

    def create(self, name: str, **body: Unpack[models.StorageBucketKeyPut]) -> BucketKey:
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
        result: BucketKey = self._wrap(self._portal.run(self._async.create(name, **body)))
        return result


class Bucket(models.StorageBucket, Editable[models.StorageBucketPut], Deletable):
    """An S3 bucket in a pool; it is created with a key ``admin``.

    Servers do not check its ETag: `replace` can undo what another client writes at the same moment. `patch` merges
    ``config``, and resets the description unless it names it.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Bucket: ...

    @property
    def bucket_keys(self) -> BucketKeysAPI:
        """Its keys; ``keys`` is the method of every mapping. The list that came with it is ``full.bucket_keys``."""
        result: BucketKeysAPI = self._wrap(self._async.bucket_keys)
        return result

    @property
    def backups(self) -> BucketBackupsAPI:
        """Its backups. The list that came with it is ``full.backups``."""
        result: BucketBackupsAPI = self._wrap(self._async.backups)
        return result

    @property
    def full(self) -> models.StorageBucketFull:
        """The same JSON with backups and keys, where ``list(2)`` or ``get(recursion=1)`` filled them."""
        with _twin.Words():
            return self._async.full

    def export(
        self,
        target_path: str | os.PathLike[str],
        *,
        progress: OnProgress | None = None,
        **options: Unpack[BucketBackupOptions],
    ) -> None:
        """Write a backup of the bucket, with its keys, to a local file, which appears once it is complete.

            bucket.export("backup.tar.gz")

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
        self._portal.run(self._async.export(target_path, progress=_twin.posted(progress), **options))


class BucketsAPI(Nested[Bucket], Edits[models.StorageBucketPut], Ensures, Deletes):
    """``pool.buckets``.

    S3 clients reach them at the server's ``core.storage_buckets_address``. Servers before 7.0 need MinIO for those of a
    local pool.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.BucketsAPI: ...

    def create(self, name: str, **body: Unpack[models.StorageBucketPut]) -> Bucket:
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
        result: Bucket = self._wrap(self._portal.run(self._async.create(name, **body)))
        return result

    def create_from_backup(
        self, source: Content, name: str | None = None, *, progress: OnProgress | None = None
    ) -> Bucket:
        """Create a bucket from a backup file, with its keys, which no other bucket can have.

        Args:
            source: The file: its path, its bytes, a binary file that is open, or an iterable of bytes.
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
        result: Bucket = self._wrap(
            self._portal.run(
                self._async.create_from_backup(_twin.given_content(source), name, progress=_twin.posted(progress))
            )
        )
        return result

    def export(
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
        self._portal.run(self._async.export(name, target_path, progress=_twin.posted(progress), **options))
