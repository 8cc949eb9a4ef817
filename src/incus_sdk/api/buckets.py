"""Storage buckets: S3 object storage in a pool, and the keys to it."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from .. import models
from .._connection import wire
from .._content import Content
from ..exceptions import IncusInputError
from ..filters import Filter
from ..operations import OnProgress
from .backups import BucketBackupsAPI, made, restore
from .base import Deletable, Deletes, Editable, Edits


class BucketKey(models.StorageBucketKey, Editable[models.StorageBucketKeyPut], Deletable):
    """A pair of S3 credentials for one bucket, ``access_key`` and ``secret_key``.

    Servers check no ETag of it: of two writers at the very same moment, one may undo the other.
    """

    async def patch(self, body: models.StorageBucketKeyPut | Mapping[str, Any]) -> None:
        """Not in the API: raises `IncusInputError`. `update` does it."""
        raise IncusInputError("the API has no PATCH of a bucket's key: update() changes some of its fields")


class BucketKeysAPI(Edits[BucketKey, models.StorageBucketKeyPut], Deletes[BucketKey]):
    """``bucket.bucket_keys``."""

    resource, segment = BucketKey, "keys"

    async def create(self, name: str, **body: Unpack[models.StorageBucketKeyPut]) -> BucketKey:
        """Create a key; returns it, read, with the credentials that the server made, where ``body`` names none.

        ``POST /1.0/storage-pools/{pool}/buckets/{bucket}/keys``.
        """
        return await self._create(name, body)


class Bucket(models.StorageBucket, Editable[models.StorageBucketPut], Deletable):
    """An S3 bucket in a pool, with a key ``admin`` from its beginning.

    Servers check no ETag of it: of two writers at the very same moment, one may undo the other.
    """

    @property
    def bucket_keys(self) -> BucketKeysAPI:
        """Its keys; ``keys`` is that of every mapping. The list that came with it is ``full.bucket_keys``."""
        return BucketKeysAPI(self._scope, *self._path)

    @property
    def backups(self) -> BucketBackupsAPI:
        """Its backups. The list that came with it is ``full.backups``."""
        return BucketBackupsAPI(self._scope, *self._path)

    @property
    def full(self) -> models.StorageBucketFull:
        """The same JSON as the API's StorageBucketFull: with backups and keys where ``list(recursion=2)`` or
        ``get(recursion=1)`` filled them.
        """
        return models.StorageBucketFull(self.raw)

    async def patch(self, body: models.StorageBucketPut | Mapping[str, Any]) -> None:
        """Hand ``body`` to the server, which merges its ``config`` and resets a description that it does not name;
        `update` keeps it. ``PATCH /1.0/storage-pools/{pool}/buckets/{bucket}``.
        """
        # Servers break on a body without it.
        await super().patch({"config": {}, **body} if isinstance(body, Mapping) else body)


class BucketsAPI(Edits[Bucket, models.StorageBucketPut], Deletes[Bucket]):
    """``pool.buckets``. Servers before 7.0 need MinIO for those of a local pool; all need
    ``core.storage_buckets_address``.
    """

    resource, segment = Bucket, "buckets"
    options: ClassVar = {"filter": "api_filtering_extended", "all-projects": "storage_buckets_all_projects"}

    async def list(
        self,
        recursion: int = 1,
        *,
        filter: str | Filter | None = None,
        all_projects: bool = False,
        project: str | None = None,
        target: str | None = None,
    ) -> builtins.list[Bucket]:
        """All of them: see `Collection.list`. ``GET /1.0/storage-pools/{pool}/buckets``.

        ``recursion``: 2 fills `Bucket.full` with backups and keys (extension ``storage_bucket_full``).
        """
        if recursion > 1:
            await self._full()
        return await self._list((), recursion, filter, all_projects, project, target)

    async def get(self, name: str, *, recursion: int = 0) -> Bucket:
        """One of them, read. ``GET /1.0/storage-pools/{pool}/buckets/{bucket}``.

        ``recursion``: 1 fills `Bucket.full` with backups and keys (extension ``storage_bucket_full``). Raises
        `IncusNotFoundError`.
        """
        if not recursion:
            return await super().get(name)
        handle = self[name]
        await self._full()
        handle._load((await handle._request("GET", query={"recursion": recursion})).metadata)
        return handle

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
        operation = await restore(self._scope, wire.path(*self._path), source, progress, name=name)
        return await self.get(made(operation, "storage_buckets"))

    async def _full(self) -> None:
        await self._scope.require("storage_bucket_full", "a bucket with its backups and keys")
