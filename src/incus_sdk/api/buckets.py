"""Storage buckets: S3 object storage in a pool, and the keys to it."""

from __future__ import annotations

from typing import ClassVar, Unpack

from .. import models
from .._connection import wire
from .._content import Content
from ..operations import OnProgress
from ._bodies import created_name
from ._restore import restore
from .backups import BucketBackupsAPI
from .base import Collection, Deletable, Deletes, Editable, Edits, Nested, Replaces, Updatable, Updates


class BucketKey(models.StorageBucketKey, Updatable[models.StorageBucketKeyPut], Deletable):
    """A pair of S3 credentials for one bucket, ``access_key`` and ``secret_key``.

    Servers check no ETag of it: of two writers at the very same moment, one may undo the other.
    """


class BucketKeysAPI(
    Collection[BucketKey], Replaces[models.StorageBucketKeyPut], Updates[models.StorageBucketKeyPut], Deletes
):
    """``bucket.bucket_keys``."""

    resource, segment = BucketKey, "keys"

    async def create(self, name: str, **body: Unpack[models.StorageBucketKeyPut]) -> BucketKey:
        """Create a key; returns it, read, with the credentials that the server made, where ``body`` names none.

        ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/keys``.
        """
        return await self._create(name, body)


class Bucket(models.StorageBucket, Editable[models.StorageBucketPut], Deletable):
    """An S3 bucket in a pool, with a key ``admin`` from its beginning.

    Servers check no ETag of it: of two writers at the very same moment, one may undo the other. `patch` merges its
    ``config`` and resets a description that is not named.
    """

    PATCH_NEEDS_CONFIG = True

    @property
    def bucket_keys(self) -> BucketKeysAPI:
        """Its keys; ``keys`` is that of every mapping. The list that came with it is ``full.bucket_keys``."""
        return BucketKeysAPI(self)

    @property
    def backups(self) -> BucketBackupsAPI:
        """Its backups. The list that came with it is ``full.backups``."""
        return BucketBackupsAPI(self)

    @property
    def full(self) -> models.StorageBucketFull:
        """The same JSON as the API's StorageBucketFull: with backups and keys where ``list(recursion=2)`` or
        ``get(recursion=1)`` filled them.
        """
        return models.StorageBucketFull(self.raw)


class BucketsAPI(Nested[Bucket], Edits[models.StorageBucketPut], Deletes):
    """``pool.buckets``. Servers before 7.0 need MinIO for those of a local pool; all need
    ``core.storage_buckets_address``.
    """

    resource, segment = Bucket, "buckets"
    get_extension = list_extension = "storage_bucket_full"
    options: ClassVar = {"filter": "api_filtering_extended", "all-projects": "storage_buckets_all_projects"}

    async def create(self, name: str, **body: Unpack[models.StorageBucketPut]) -> Bucket:
        """Create a bucket; returns it, read; ``bucket.bucket_keys.get("admin")`` has the credentials.

        ``name``: 3 to 63 small letters, digits and hyphens. ``POST /1.0/storage-pools/{pool}/buckets``.
        """
        return await self._create(name, body)

    async def create_from_backup(
        self, source: Content | str, name: str | None = None, *, progress: OnProgress | None = None
    ) -> Bucket:
        """Create a bucket from the file of a backup, with its keys; returns it, read.

        ``source``: the path of the file, its bytes, or an async iterable of them; streamed. ``name``: None for the one
        it had. ``progress``: told how much was sent, in bytes, as stage ``upload``.

        ``POST /1.0/storage-pools/{pool}/buckets``.
        """
        if name is not None:
            wire.path(name)
        operation = await restore(self, source=source, progress=progress, name=name)
        return await self.get(created_name(operation, "storage_buckets"))
