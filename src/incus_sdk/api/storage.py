"""Storage pools, their volumes, and what hangs below a volume."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, Unpack

from .. import models
from .._connection import wire
from .._content import Content
from .._migration import same_server
from ..exceptions import IncusInputError
from ..filters import Filter
from ..models.base import Json
from ..operations import OnProgress
from ._bodies import created_name
from ._copies import MigrationOptions, copy_volume, other_project
from ._file_verbs import FileVerbs
from ._restore import restore
from .activity import OperationsAPI
from .backups import VolumeBackupsAPI
from .base import AtPath, Collection, Deletable, Deletes, Editable, Edits, Nested, Renamable, Renames
from .buckets import BucketsAPI

VOLUME_TYPES = ("custom", "container", "virtual-machine", "image")


class VolumeSnapshot(models.StorageVolumeSnapshot, Editable[models.StorageVolumeSnapshotPut], Renamable, Deletable):
    """A volume as it was at one time."""

    async def restore(self) -> None:
        """Bring the volume back to it. ``PUT /1.0/storage-pools/{pool}/volumes/{type}/{volume}``."""
        await self._parent._perform("PUT", body={"restore": self._path[-1]})

    async def copy(
        self,
        name: str,
        *,
        to: StoragePool | None = None,
        config: models.Config | None = None,
        **how: Unpack[MigrationOptions],
    ) -> Volume:
        """Make a volume of it: see `Volume.copy`. ``POST /1.0/storage-pools/{pool}/volumes/{type}``."""
        return await _copy(self, name, to, True, False, config, how)


class VolumeSnapshotsAPI(Collection[VolumeSnapshot], Edits[models.StorageVolumeSnapshotPut], Renames, Deletes):
    """``volume.snapshots``."""

    resource, segment, urls_quoted, named_with_parent = VolumeSnapshot, "snapshots", False, True

    async def create(self, name: str, expires_at: str | datetime | None = None) -> VolumeSnapshot:
        """Take a snapshot; returns it, read. ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/snapshots``.

        ``expires_at``: when the server deletes it; None never.
        """
        return await self._create(name, {} if expires_at is None else {"expires_at": expires_at})


class VolumeBitmap(models.StorageVolumeBitmap, Deletable):
    """A record of which parts of a block volume were written to, of a virtual machine that runs."""

    EXTENSION = "storage_volume_nbd"


class VolumeBitmapsAPI(Collection[VolumeBitmap], Deletes):
    """``volume.bitmaps``, of a block volume on a running virtual machine."""

    resource, segment = VolumeBitmap, "bitmaps"

    async def create(
        self, name: str, *, granularity: int | None = None, persistent: bool = False, disabled: bool = False
    ) -> VolumeBitmap:
        """Note from now on what is written; returns the bitmap, read. Extension ``storage_volume_nbd``.

        ``granularity``: bytes that one bit stands for, a power of two; None for QEMU's own. ``persistent``: it outlives
        the virtual machine's process. ``disabled``: it notes nothing yet.

        ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/bitmaps``.
        """
        body: Json = {"persistent": persistent, "disabled": disabled}
        return await self._create(name, body | ({} if granularity is None else {"granularity": granularity}))


class Volume(models.StorageVolume, FileVerbs, Editable[models.StorageVolumePut], Renamable, Deletable):
    """A storage volume: a filesystem or a disk of its own, an instance's, or an image's.

    The server's ETag of it leaves out its description: of two writers at the very same moment, one of whom changes only
    that, the other may undo it.

    Its files are reached as those of an instance, of a custom volume only (extensions ``custom_volume_sftp`` for `path`
    and `sftp`, ``file_storage_volume`` for the single calls).
    """

    FILES = "file_storage_volume"

    @property
    def snapshots(self) -> VolumeSnapshotsAPI:
        """Its snapshots. The list that came with it is ``full.snapshots``."""
        return VolumeSnapshotsAPI(self)

    @property
    def backups(self) -> VolumeBackupsAPI:
        """Its backups, of a custom volume. The list that came with it is ``full.backups``."""
        return VolumeBackupsAPI(self)

    @property
    def bitmaps(self) -> VolumeBitmapsAPI:
        """Its bitmaps, of a block volume on a running virtual machine."""
        return VolumeBitmapsAPI(self)

    @property
    def full(self) -> models.StorageVolumeFull:
        """The same JSON as the API's StorageVolumeFull: with state, snapshots and backups where ``list(recursion=2)``
        or ``get(recursion=1)`` filled them.
        """
        return models.StorageVolumeFull(self.raw)

    async def state(self) -> models.StorageVolumeState:
        """Its use of space in bytes. ``GET /1.0/storage-pools/{pool}/volumes/{type}/{volume}/state``."""
        return models.StorageVolumeState((await self._request("GET", "state")).metadata)

    async def copy(
        self,
        name: str | None = None,
        *,
        to: StoragePool | None = None,
        volume_only: bool = False,
        refresh: bool = False,
        config: models.Config | None = None,
        **how: Unpack[MigrationOptions],
    ) -> Volume:
        """Make a copy of a custom volume, with its snapshots; returns the copy, read.

            await volume.copy("again")
            await volume.copy(to=other_client.storage_pools["default"])

        ``to``: another pool, of this server or another, or as a view of another project or member sees it; there the
        copy may have the same name. ``volume_only``: without the snapshots. ``refresh``: bring a copy that is there up
        to date, which sends what has changed alone. ``config``: changed keys; None removes one. ``how``: see
        `MigrationOptions`.

        Raises `IncusOperationError` if it fails. Failed or cancelled, it leaves nothing: what a server cannot be
        stopped from is waited for, and removed. ``POST /1.0/storage-pools/{pool}/volumes/{type}``, to another server
        ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}`` too.
        """
        return await _copy(self, name, to, volume_only, refresh, config, how)

    async def move(
        self,
        pool: str | None = None,
        *,
        project: str | None = None,
        target: str | None = None,
        new_name: str | None = None,
        to: StoragePool | None = None,
        **how: Unpack[MigrationOptions],
    ) -> None:
        """Move a custom volume to another pool, project, cluster member or server, with its snapshots; this handle goes
        with it.

        ``pool``, ``project``, ``target`` (a member), ``new_name``: None keeps what it is. ``to``: a pool of another
        server, to which it is copied (see `MigrationOptions`) and here deleted; or one of any view of this server.
        No running instance may use it, and to another server none at all. Nothing but the name being new, it is a
        `rename`. On the way to another member servers lose its description and configuration. Raises `IncusInputError`
        for another member and project at once.

        ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}``.
        """
        if to is not None:
            place = _checked_pool(to)._scope
            if not await same_server(self._scope, place):
                if users := (await self.refresh()).used_by:
                    raise IncusInputError(f"{self.name} is used by {', '.join(users)}: detach it first")
                copy = await self.copy(new_name, to=to, **how)
                await self.delete()
                self._path, self._scope = copy._path, copy._scope
                self._load(copy.raw, copy.etag)
                return
            pool, target = pool or to._path[-1], target or place.target
            project = project or other_project(self._scope, place)
        if target is not None and project is not None:
            raise IncusInputError("servers cannot move a volume to another member and project at once: one by one")
        # Servers take no move without a pool, not even to another project.
        body: Json = {"name": new_name or self._path[-1], "pool": pool or self._path[1]}
        path = (self._path[0], body["pool"], *self._path[2:-1], body["name"])
        wire.path(*path)
        scope = self._scope.view(project=project, target=target)
        body |= {} if project is None else {"project": project}
        if target is not None:
            body |= {"migration": True, "source": {"location": (await self._read_with_etag())[0]["location"]}}
        await self._perform("POST", query={"target": scope.target}, body=body)
        if target is not None:
            # Done is only the beginning, of one operation on each member; the volume is not there yet.
            moved = list(self._path), list(path)
            for operation in await OperationsAPI(self._scope).list():
                if any(wire.names(url) in moved for url in operation.resources.get("storage_volumes") or ()):
                    await operation.wait()
        self._path, self._scope = path, scope
        self._json |= {key: body[key] for key in ("name", "project") if key in body}

    async def rebuild(self) -> None:
        """Empty a custom volume, which may have no snapshots; its configuration stays. Extension
        ``storage_volumes_rebuild``. ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/rebuild``.
        """
        await self._scope.require("storage_volumes_rebuild", "emptying a volume")
        await self._perform("POST", "rebuild", body={})

    @asynccontextmanager
    async def nbd(self, *, writable: bool = False) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection that speaks NBD, to read or write a block volume's content, for the time of ``async with``.

        ``writable``: only for a volume that no running virtual machine uses. Extension ``storage_volume_nbd``.
        ``GET /1.0/storage-pools/{pool}/volumes/{type}/{volume}/nbd``, upgraded.
        """
        await self._scope.require("storage_volume_nbd", "NBD")
        async with self._upgrade("GET", "nbd", protocol="nbd", query={"writable": writable or None}) as streams:
            yield streams


class VolumesAPI(Nested[Volume], Edits[models.StorageVolumePut], Renames, Deletes):
    """``pool.volumes``; the key is type and name: ``"custom/data"``."""

    resource, segment = Volume, "volumes"
    get_extension = list_extension = "storage_volume_full"
    options: ClassVar = {
        **{"filter": "storage_volume_api_filtering", "all-projects": "storage_volumes_all_projects"},
        "target": "clustering",
    }

    async def list(
        self,
        recursion: int = 1,
        *,
        type: str | None = None,
        filter: str | Filter | None = None,
        all_projects: bool = False,
        project: str | None = None,
        target: str | None = None,
    ) -> builtins.list[Volume]:
        """All of them, or those of one type: see `Collection.list`.

        ``recursion``: 2 fills `Volume.full` with state, snapshots and backups (extension ``storage_volume_full``).
        ``type``: ``custom``, ``container``, ``virtual-machine`` or ``image``.

        ``GET /1.0/storage-pools/{pool}/volumes``, or below it of the type.
        """
        segments = () if type is None else (_checked_type(type),)
        return await self._list(segments, recursion, filter, all_projects, project, target)

    async def create(
        self,
        name: str,
        content_type: str = "filesystem",
        source: models.StorageVolumeSource | None = None,
        **body: Unpack[models.StorageVolumePut],
    ) -> Volume:
        """Create a volume, as ``"custom/data"``; returns it, read. ``POST /1.0/storage-pools/{pool}/volumes``.

        ``content_type``: ``filesystem`` or ``block``. With a ``source`` it is a copy of another volume.
        """
        extra: Json = {"content_type": content_type} | ({} if source is None else {"source": source})
        return await self._create(name, {**body, **extra})

    async def create_from_backup(
        self, source: Content | str, name: str | None = None, *, progress: OnProgress | None = None
    ) -> Volume:
        """Create a custom volume from the file of a backup, with its snapshots; returns it, read.

        ``source``: the path of the file, its bytes, or an async iterable of them; streamed. ``name``: as
        ``"custom/data"``; None for the one it had. ``progress``: told how much was sent, in bytes, as stage ``upload``.

        Raises `IncusConflictError` or `IncusOperationError` where there is one already, `IncusAPIError` for what is no
        backup. ``POST /1.0/storage-pools/{pool}/volumes/{type}``.
        """
        return await self._upload(source, name, progress)

    async def create_from_iso(self, source: Content | str, name: str, *, progress: OnProgress | None = None) -> Volume:
        """Create a custom volume from an ISO image, to boot virtual machines from; returns it, read.

        Parameters as of `create_from_backup`. Extension ``custom_volume_iso``.
        ``POST /1.0/storage-pools/{pool}/volumes/{type}``.
        """
        await self._scope.require("custom_volume_iso", "a volume from an ISO image")
        return await self._upload(source, name, progress, type="iso")

    async def _upload(
        self, source: Content | str, name: str | None, progress: OnProgress | None, **headers: str
    ) -> Volume:
        type, *rest = ("custom",) if name is None else self._segments(name)
        if type != "custom" or len(rest) > 1:
            raise IncusInputError(f"only custom volumes are made from files, not {name!r}")
        operation = await restore(self, type, source=source, progress=progress, name="".join(rest), **headers)
        return await self.get(_key(type, created_name(operation, "storage_volumes")))

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
        return VolumesAPI(self)

    @property
    def buckets(self) -> BucketsAPI:
        """Its buckets."""
        return BucketsAPI(self)

    async def resources(self) -> models.ResourcesStoragePool:
        """Its space in bytes, and its inodes. ``GET /1.0/storage-pools/{name}/resources``."""
        return models.ResourcesStoragePool((await self._request("GET", "resources")).metadata)

    async def list_volumes(self, volume_type: str | None = None, recursion: int = 1) -> list[Volume]:
        """Its volumes, or those of one type. ``GET /1.0/storage-pools/{pool}/volumes``."""
        return await self.volumes.list(recursion, type=volume_type)

    async def create_volume(
        self, name: str, volume_type: str = "custom", config: models.Config | None = None
    ) -> Volume:
        """Create a volume; returns it, read. ``POST /1.0/storage-pools/{pool}/volumes/{type}``."""
        return await self.volumes.create(_key(volume_type, name), config=config or {})


class StoragePoolsAPI(Collection[StoragePool], Edits[models.StoragePoolPut], Deletes):
    """``client.storage_pools``."""

    resource, segment, urls_quoted = StoragePool, "storage-pools", False
    options: ClassVar = {"filter": "api_filtering_extended"}

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


def _checked_pool(to: StoragePool) -> StoragePool:
    if not isinstance(to, StoragePool):
        raise IncusInputError(f"to must be a storage pool, not {type(to).__name__}")
    return to


async def _copy(
    source: Volume | VolumeSnapshot,
    name: str | None,
    to: StoragePool | None,
    volume_only: bool,
    refresh: bool,
    config: models.Config | None,
    how: MigrationOptions,
) -> Volume:
    if name is None and to is None:
        raise IncusInputError("give the copy a name, or say to which pool")
    volumes = _checked_pool(to).volumes if to is not None else VolumesAPI(AtPath(source._scope, source._path[:2]))
    target = volumes[_key("custom", source._path[4] if name is None else name)]
    await copy_volume(source, target, volume_only, refresh, config, how)
    return target


def _checked_type(type: str) -> str:
    if type not in VOLUME_TYPES:
        raise IncusInputError(f"the type of a volume is one of {', '.join(VOLUME_TYPES)}, not {type!r}")
    return type


def _key(type: str, name: str) -> str:
    wire.path(type, name)
    return f"{type}/{name}"
