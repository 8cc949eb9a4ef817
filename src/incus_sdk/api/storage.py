"""Storage pools, their volumes, and the volumes' snapshots."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Unpack

from .. import models, wire
from ..exceptions import IncusInputError
from ..models.base import Json
from ..operations import perform
from ..scope import Scope
from .base import Deletable, Deletes, Editable, Edits, Renamable, Renames

VOLUME_TYPES = ("custom", "container", "virtual-machine", "image")


class VolumeSnapshot(models.StorageVolumeSnapshot, Editable[models.StorageVolumeSnapshotPut], Renamable, Deletable):
    """A volume as it was at one time."""

    async def restore(self) -> None:
        """Bring the volume back to it. ``PUT /1.0/storage-pools/{pool}/volumes/{type}/{volume}``."""
        await perform(self._scope, "PUT", wire.path(*self._path[:-2]), body={"restore": self._path[-1]})


class VolumeSnapshotsAPI(
    Edits[VolumeSnapshot, models.StorageVolumeSnapshotPut], Renames[VolumeSnapshot], Deletes[VolumeSnapshot]
):
    """``volume.snapshots``."""

    resource, segment, urls_quoted = VolumeSnapshot, "snapshots", False

    async def create(self, name: str, expires_at: str | datetime | None = None) -> VolumeSnapshot:
        """Take a snapshot; returns it, read. ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/snapshots``.

        ``expires_at``: when the server deletes it; None never.
        """
        return await self._create(name, {} if expires_at is None else {"expires_at": expires_at})

    def _listed(self, item: Any, all_projects: bool, loaded: bool, scope: Scope) -> VolumeSnapshot:
        # Servers name it volume/snapshot where they list it, and snapshot where they show it alone.
        item["name"] = item["name"].rpartition("/")[2]
        return super()._listed(item, all_projects, loaded, scope)


class Volume(models.StorageVolume, Editable[models.StorageVolumePut], Renamable, Deletable):
    """A storage volume: a filesystem or a disk of its own, an instance's, or an image's.

    The server's ETag of it leaves out its description: of two writers at the very same moment, one of whom changes only
    that, the other may undo it.
    """

    @property
    def snapshots(self) -> VolumeSnapshotsAPI:
        """Its snapshots."""
        return VolumeSnapshotsAPI(self._scope, *self._path)

    async def state(self) -> models.StorageVolumeState:
        """Its use of space in bytes. ``GET /1.0/storage-pools/{pool}/volumes/{type}/{volume}/state``."""
        return models.StorageVolumeState((await self._request("GET", "state")).metadata)


class VolumesAPI(Edits[Volume, models.StorageVolumePut], Renames[Volume], Deletes[Volume]):
    """``pool.volumes``; the key is type and name: ``"custom/data"``."""

    resource, segment = Volume, "volumes"

    async def create(
        self,
        name: str,
        content_type: str = "filesystem",
        source: models.StorageVolumeSource | None = None,
        **body: Unpack[models.StorageVolumePut],
    ) -> Volume:
        """Create a volume, as ``"custom/data"``; returns it, read. ``POST /1.0/storage-pools/{pool}/volumes/{type}``.

        ``content_type``: ``filesystem`` or ``block``. With a ``source`` it is a copy of another volume.
        """
        extra: Json = {"content_type": content_type} | ({} if source is None else {"source": source})
        return await self._create(name, {**body, **extra}, self._segments(name)[0])

    def _segments(self, key: str) -> tuple[str, ...]:
        type, _, name = key.partition("/")
        if type not in VOLUME_TYPES or not name:
            raise IncusInputError(f"a volume is named by its type and name, as custom/data, not {key!r}")
        volume, slash, snapshot = name.partition("/")
        segments = (type, volume, "snapshots", snapshot) if slash else (type, name)
        wire.path(*segments)
        return segments

    def _known(self, key: str) -> Json:
        type, _, name = key.replace("/snapshots/", "/", 1).partition("/")
        return {**super()._known(name), "type": type}

    def _key(self, json: Json) -> str:
        return f"{json['type']}/{json['name']}"


class StoragePool(models.StoragePool, Editable[models.StoragePoolPut], Deletable):
    """A storage pool: where volumes lie."""

    @property
    def volumes(self) -> VolumesAPI:
        """Its volumes."""
        return VolumesAPI(self._scope, *self._path)

    async def resources(self) -> models.ResourcesStoragePool:
        """Its space in bytes, and its inodes. ``GET /1.0/storage-pools/{name}/resources``."""
        return models.ResourcesStoragePool((await self._request("GET", "resources")).metadata)

    async def list_volumes(self, volume_type: str | None = None, recursion: int = 1) -> list[Volume]:
        """Its volumes, or those of one type. ``GET /1.0/storage-pools/{pool}/volumes``."""
        volumes = await self.volumes.list(recursion)
        return volumes if volume_type is None else [volume for volume in volumes if volume.type == volume_type]

    async def create_volume(
        self, name: str, volume_type: str = "custom", config: models.Config | None = None
    ) -> Volume:
        """Create a volume; returns it, read. ``POST /1.0/storage-pools/{pool}/volumes/{type}``."""
        return await self.volumes.create(_key(volume_type, name), config=config or {})


class StoragePoolsAPI(Edits[StoragePool, models.StoragePoolPut], Deletes[StoragePool]):
    """``client.storage_pools``."""

    resource, segment, urls_quoted = StoragePool, "storage-pools", False

    async def create(
        self, name: str, driver: str, config: models.Config | None = None, description: str = ""
    ) -> StoragePool:
        """Create a pool; returns it, read. ``POST /1.0/storage-pools``.

        ``driver``: ``dir``, ``btrfs``, ``lvm``, ``zfs``, ... as the server has them.
        """
        return await self._create(name, {"driver": driver, "config": config or {}, "description": description})

    async def list_volumes(
        self, pool_name: str, volume_type: str | None = None, recursion: int = 1
    ) -> builtins.list[Volume]:
        """The volumes of a pool, or those of one type. ``GET /1.0/storage-pools/{pool}/volumes``."""
        return await self[pool_name].list_volumes(volume_type, recursion)

    async def get_volume(self, pool_name: str, volume_name: str, volume_type: str = "custom") -> Volume:
        """One volume, read. ``GET /1.0/storage-pools/{pool}/volumes/{type}/{volume}``."""
        return await self[pool_name].volumes.get(_key(volume_type, volume_name))

    async def create_volume(
        self, pool_name: str, volume_name: str, volume_type: str = "custom", config: models.Config | None = None
    ) -> Volume:
        """Create a volume; returns it, read. ``POST /1.0/storage-pools/{pool}/volumes/{type}``."""
        return await self[pool_name].create_volume(volume_name, volume_type, config)

    async def update_volume(
        self, pool_name: str, volume_name: str, volume_type: str, config: models.StorageVolumePut | Mapping[str, Any]
    ) -> None:
        """Change some fields of a volume and keep all others: see `Editable.update`."""
        await self[pool_name].volumes.update(_key(volume_type, volume_name), config)

    async def replace_volume(
        self, pool_name: str, volume_name: str, volume_type: str, config: models.StorageVolumePut | Mapping[str, Any]
    ) -> None:
        """Replace all writable fields of a volume: see `Editable.replace`."""
        await self[pool_name].volumes.replace(_key(volume_type, volume_name), config)

    async def delete_volume(self, pool_name: str, volume_name: str, volume_type: str = "custom") -> None:
        """Delete a volume. ``DELETE /1.0/storage-pools/{pool}/volumes/{type}/{volume}``."""
        await self[pool_name].volumes.delete(_key(volume_type, volume_name))

    async def rename_volume(self, pool_name: str, volume_name: str, volume_type: str, new_name: str) -> Volume:
        """Give a volume another name; returns its handle. ``POST
        /1.0/storage-pools/{pool}/volumes/{type}/{volume}``.
        """
        return await self[pool_name].volumes.rename(_key(volume_type, volume_name), new_name)


def _key(type: str, name: str) -> str:
    wire.path(type, name)
    return f"{type}/{name}"
