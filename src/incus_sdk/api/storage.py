"""Storage pools, their volumes, and the snapshots and bitmaps of a volume."""

from __future__ import annotations

import asyncio
import builtins
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Unpack

from .. import models
from .._connection import wire
from .._content import Content
from .._migration import same_server
from ..exceptions import IncusInputError
from ..filters import Filter
from ..models.base import Json
from ..operations import OnProgress
from ._backup_options import VolumeBackupOptions
from ._bodies import Expiry, created_name, expiry
from ._by_key import Deletes, Edits, Renames
from ._copies import MigrationOptions, copy_volume, other_project
from ._creation import create_picked, restore
from ._ensure import Ensures
from ._file_verbs import FileVerbs
from ._options import known_options
from .activity import OperationsAPI
from .backups import VolumeBackupsAPI
from .base import AtPath, Collection, Deletable, Editable, Nested, Renamable
from .buckets import BucketsAPI

_TYPES = ("custom", "container", "virtual-machine", "image")


class VolumeSnapshot(models.StorageVolumeSnapshot, Editable[models.StorageVolumeSnapshotPut], Renamable, Deletable):
    """A snapshot of a volume."""

    async def restore(self) -> None:
        """Bring the volume back to this snapshot.

        Raises:
            IncusAPIError: There is no such snapshot, or the volume is in use.

        API:
            ``PUT /1.0/storage-pools/{pool}/volumes/{type}/{volume}``
        """
        await self._parent._perform("PUT", body={"restore": self._path[-1]})

    @known_options(MigrationOptions)
    async def copy(
        self,
        name: str,
        *,
        to: StoragePool | None = None,
        refresh: bool = False,
        config: models.Config | None = None,
        **how: Unpack[MigrationOptions],
    ) -> Volume:
        """Make a custom volume of the snapshot.

        A copy that fails or is cancelled leaves nothing behind: what a server cannot be stopped from is waited for, and
        removed.

        Args:
            name: The name of the new volume.
            to: Another pool, of this server or another, or as a view of another project or member sees it; None for the
                snapshot's own.
            refresh: Give an existing volume the content of the snapshot; only what has changed is sent.
            config: Keys that differ from the snapshot's; None removes one.
            **how: ``mode``, ``addresses`` and ``progress``: see `MigrationOptions`.

        Returns:
            The new volume, read.

        Raises:
            IncusInputError: An argument is invalid, or the volume is not a custom one.
            IncusNotFoundError: There is no such volume or pool.
            IncusAPIError: The server refused, or the name is taken.
            IncusOperationError: There is no such snapshot, or the copy failed.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}``, to another server
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/snapshots/{name}`` as well
        """
        return await _make_copy(self, name, to, True, refresh, False, config, how)


class VolumeSnapshotsAPI(Collection[VolumeSnapshot], Edits[models.StorageVolumeSnapshotPut], Renames, Deletes):
    """``volume.snapshots``."""

    _resource, _path_part, _urls_quoted, _named_with_parent = VolumeSnapshot, "snapshots", False, True

    async def create(self, name: str | None = None, expires_at: Expiry = "default") -> VolumeSnapshot:
        """Take a snapshot of the volume.

        Args:
            name: Its name; None lets the server pick one by ``snapshots.pattern`` of the volume: ``snap0``, ``snap1``
                and so on where there is none.
            expires_at: When the server deletes it: a time, or a `timedelta` from now; ``"never"``; or ``"default"``, as
                ``snapshots.expiry.manual`` or ``snapshots.expiry`` of the volume says.

        Returns:
            The snapshot, read.

        Raises:
            IncusInputError: ``name`` is invalid, or ``expires_at`` is not a time.
            IncusConflictError: The name is taken.
            IncusNotFoundError: There is no such volume.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/snapshots``
        """
        return await create_picked(self, name, expiry(expires_at), "storage_volume_snapshots")


class VolumeBitmap(models.StorageVolumeBitmap, Deletable):
    """A record of which parts of a running virtual machine's block volume were written to."""

    _EXTENSION = "storage_volume_nbd"


class VolumeBitmapsAPI(Collection[VolumeBitmap], Deletes):
    """``volume.bitmaps``, of a running virtual machine's block volume."""

    _resource, _path_part = VolumeBitmap, "bitmaps"

    async def create(
        self, name: str, *, granularity: int | None = None, persistent: bool = False, disabled: bool = False
    ) -> VolumeBitmap:
        """Create a bitmap, which records all writes from now on.

        Args:
            name: Its name.
            granularity: Bytes that one bit stands for, a power of two; None for QEMU's default.
            persistent: Keep it when the virtual machine's process ends.
            disabled: Record nothing yet.

        Returns:
            The bitmap, read.

        Raises:
            IncusUnsupportedError: The server lacks the extension.
            IncusAPIError: The volume is not one of a running virtual machine, or the server refused.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/bitmaps``. Extension ``storage_volume_nbd``.
        """
        body: Json = {"persistent": persistent, "disabled": disabled}
        return await self._create(name, body | ({} if granularity is None else {"granularity": granularity}))


class Volume(models.StorageVolume, FileVerbs, Editable[models.StorageVolumePut], Renamable, Deletable):
    """A storage volume: a custom filesystem or disk, or that of an instance or an image.

    The server's ETag of a volume leaves out the description: if two writers change it at the same moment, and one of
    them only the description, that change can be lost.

    The files of a custom volume are reached like those of an instance: `path` and `sftp` need the extension
    ``custom_volume_sftp``, the single calls ``file_storage_volume``.
    """

    _FILES_EXTENSION = "file_storage_volume"
    _RENAME_PATIENCE = 600.0  # half a minute for each instance that uses it, before the answer
    _NOT_FOR_UPDATE: ClassVar[Mapping[str, str]] = {"restore": "`snapshots[...].restore()` restores"}

    @property
    def snapshots(self) -> VolumeSnapshotsAPI:
        """Its snapshots. The list that came with it is ``full.snapshots``."""
        return VolumeSnapshotsAPI(self)

    @property
    def backups(self) -> VolumeBackupsAPI:
        """The backups of a custom volume. The list that came with it is ``full.backups``."""
        return VolumeBackupsAPI(self)

    @property
    def bitmaps(self) -> VolumeBitmapsAPI:
        """The bitmaps of a running virtual machine's block volume."""
        return VolumeBitmapsAPI(self)

    @property
    def full(self) -> models.StorageVolumeFull:
        """The same JSON with state, snapshots and backups, where ``list(2)`` or ``get(recursion=1)`` filled them."""
        return models.StorageVolumeFull(self.raw)

    async def get_state(self) -> models.StorageVolumeState:
        """How much space the volume uses, in bytes.

        Raises:
            IncusNotFoundError: There is no such volume.

        API:
            ``GET /1.0/storage-pools/{pool}/volumes/{type}/{volume}/state``
        """
        return models.StorageVolumeState((await self._request("GET", "state")).object)

    @known_options(MigrationOptions)
    async def copy(
        self,
        name: str | None = None,
        *,
        to: StoragePool | None = None,
        volume_only: bool = False,
        refresh: bool = False,
        refresh_exclude_older: bool = False,
        config: models.Config | None = None,
        **how: Unpack[MigrationOptions],
    ) -> Volume:
        """Copy a custom volume, with its snapshots.

            await volume.copy("again")
            await volume.copy(to=other_client.storage_pools["default"])

        A copy that fails or is cancelled leaves nothing behind: what a server cannot be stopped from is waited for, and
        removed.

        Args:
            name: The name of the copy; None for the same name in another place, which ``to`` says.
            to: Another pool, of this server or another, or as a view of another project or member sees it; None for
                the volume's own.
            volume_only: Leave out the snapshots.
            refresh: Bring an existing copy up to date; only what has changed is sent.
            refresh_exclude_older: With ``refresh``: leave out snapshots that are older than the copy's newest one.
            config: Keys that differ from the volume's; None removes one.
            **how: ``mode``, ``addresses`` and ``progress``: see `MigrationOptions`.

        Returns:
            The copy, read.

        Raises:
            IncusInputError: An argument is invalid, or the volume is not a custom one.
            IncusNotFoundError: There is no such volume or pool.
            IncusAPIError: The server refused, or the name is taken.
            IncusOperationError: The copy failed.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}``, to another server
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}`` as well
        """
        if refresh_exclude_older and not refresh:
            raise IncusInputError("refresh_exclude_older is for refresh=True: a new copy has no snapshots")
        return await _make_copy(self, name, to, volume_only, refresh, refresh_exclude_older, config, how)

    @known_options(MigrationOptions)
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
        """Move a custom volume to another pool, project, cluster member or server, with its snapshots.

        This handle follows it. The volume must not be used by a running instance, or for a move to another server by
        any instance.

        Args:
            pool: The name of the new pool; None keeps it.
            project: The new project; None keeps it.
            target: The new cluster member; None keeps it.
            new_name: The new name; None keeps it.
            to: A pool in place of the first three: of another server, to which the volume is copied before it is
                deleted here, or as a view of another project or member of this server sees it.
            **how: ``progress``, and for another server ``mode`` and ``addresses``: see `MigrationOptions`.

        Raises:
            IncusInputError: ``to`` is not a pool, an instance uses the volume, both the member and the project are new,
                or the volume is not a custom one.
            IncusNotFoundError: There is no such volume or pool.
            IncusAPIError: The server refused, or the name is taken.
            IncusOperationError: The move failed.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}``; to another server the calls of `copy` and
            ``DELETE /1.0/storage-pools/{pool}/volumes/{type}/{volume}``
        """
        _, _, _, type_, _, *snapshot = self._path
        if snapshot or type_ != "custom":
            reason = "a snapshot goes with its volume" if snapshot else f"one of type {type_} goes with its instance"
            raise IncusInputError(f"only a custom volume is moved by itself; {reason}")
        if to is not None:
            place = _require_pool(to)._scope
            if not await same_server(self._scope, place):
                if users := (await self.refresh()).used_by:
                    raise IncusInputError(f"volume {self.name} is used by {', '.join(users)}: detach it first")
                copy = await self.copy(new_name, to=to, **how)
                await self.delete()
                self._path, self._scope = copy._path, copy._scope
                self._load(copy.raw, copy.etag)
                return
            pool, target = pool or to._path[-1], target or place.target
            project = project or other_project(self._scope, place)
        if target is not None and project is not None:
            raise IncusInputError("a volume cannot move to another member and project at once: move it twice")
        # Servers refuse a move without a pool, even to another project.
        body: Json = {"name": new_name or self._path[-1], "pool": pool or self._path[1]}
        path = (self._path[0], body["pool"], *self._path[2:-1], body["name"])
        wire.path(*path)
        scope = self._scope.view(project=project, target=target)
        body |= {} if project is None else {"project": project}
        before, _ = await self._read_with_etag()
        if target is not None:
            body |= {"migration": True, "source": {"location": before["location"]}}
        progress = how.get("progress")
        await self._perform(
            "POST", query={"target": scope.target}, body=body, progress=progress, patience=self._RENAME_PATIENCE
        )
        if target is not None:
            # The answer only says that it began: an operation on each member goes on, and the volume is not there yet.
            moved = list(self._path), list(path)
            for operation in await OperationsAPI(self._scope).list():
                if any(wire.names(url) in moved for url in operation.resources.get("storage_volumes") or ()):
                    await operation.wait(progress=progress)
        self._path, self._scope = path, scope
        self._json |= {key: body[key] for key in ("name", "project") if key in body}
        if target is not None:
            # Servers leave the description and the configuration behind.
            kept = {key: value for key, value in before["config"].items() if not key.startswith("volatile.")}
            await self._update({"config": kept, "description": before["description"]})
        await self._reread()

    @known_options(VolumeBackupOptions)
    async def export(
        self,
        target_path: str | os.PathLike[str],
        *,
        progress: OnProgress | None = None,
        **options: Unpack[VolumeBackupOptions],
    ) -> None:
        """Write a backup of a custom volume, with its snapshots, to a local file, which appears once it is complete.

            await volume.export("backup.tar.gz")

        Nothing stays on the server. One with the extension ``direct_backup`` sends the backup while it makes it;
        another makes it first, and it is deleted after the download, also if that fails or is cancelled.
        `VolumesAPI.create_from_backup` makes a volume of the file.

        Args:
            target_path: The local file; one that exists is replaced.
            progress: Called with how far it is: where the server makes the backup first, that is one stage, and
                ``download`` the next.
            **options: ``compression_algorithm``, ``optimized_storage`` and ``volume_only``: see
                `VolumeBackupOptions`.

        Raises:
            IncusInputError: The local file cannot be written, or there is no such option.
            IncusNotFoundError: There is no such volume.
            IncusOperationError: The server could not make the backup.
            IncusConnectionError: The file was cut off.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``; without the extension also
            ``GET /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups/{backup}/export`` and
            ``DELETE /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups/{backup}``
        """
        await self.backups._export(target_path, options, progress)

    async def rebuild(self) -> None:
        """Empty a custom volume, which must not have snapshots; its configuration is kept.

        Raises:
            IncusUnsupportedError: The server lacks the extension.
            IncusNotFoundError: There is no such volume.
            IncusOperationError: The volume has snapshots, or could not be emptied.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/rebuild``. Extension ``storage_volumes_rebuild``.
        """
        await self._scope.require("storage_volumes_rebuild", "emptying a volume")
        await self._perform("POST", "rebuild", body={})

    @asynccontextmanager
    async def nbd(self, *, writable: bool = False) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection that speaks NBD, to read or write a block volume's content.

        Args:
            writable: Allow writing, to a volume that no running virtual machine uses.

        Yields:
            The reader and the writer of the connection, closed when the block ends.

        Raises:
            IncusUnsupportedError: The server lacks the extension.
            IncusAPIError: The server refused.

        API:
            ``GET /1.0/storage-pools/{pool}/volumes/{type}/{volume}/nbd``, upgraded. Extension ``storage_volume_nbd``.
        """
        await self._scope.require("storage_volume_nbd", "NBD")
        async with self._upgrade("GET", "nbd", protocol="nbd", query={"writable": writable or None}) as streams:
            yield streams


class VolumesAPI(Nested[Volume], Edits[models.StorageVolumePut], Ensures, Renames, Deletes):
    """``pool.volumes``; the key is the type and the name, as ``"custom/data"``."""

    _resource, _path_part, _located = Volume, "volumes", True
    _get_extension = _list_extension = "storage_volume_full"
    _options: ClassVar = {
        **{"filter": "storage_volume_api_filtering", "all-projects": "storage_volumes_all_projects"},
        "target": "clustering",
    }

    async def list(
        self,
        recursion: int = 1,
        *,
        type: models.VolumeType | None = None,
        filter: str | Filter | None = None,
        all_projects: bool = False,
        project: str | None = None,
        target: str | None = None,
    ) -> builtins.list[Volume]:
        """List the volumes of the pool, or those of one type, in one request.

        Servers before 7.0 list snapshots as well, as ``data/s0``.

        Args:
            recursion: 0 gives handles that know only their name, 1 the volumes, read, and 2 fills `Volume.full` with
                state, snapshots and backups as well.
            type: ``custom``, ``container``, ``virtual-machine`` or ``image``; None for all.
            filter: Only those that match, as ``F("name") == "data"`` or as the server writes it, ``name eq data``.
            all_projects: Those of every project.
            project: Those of this project, instead of the client's.
            target: Those on this cluster member.

        Raises:
            IncusInputError: There is no such type.
            IncusUnsupportedError: The server lacks the extension for an argument.

        API:
            ``GET /1.0/storage-pools/{pool}/volumes`` or ``GET /1.0/storage-pools/{pool}/volumes/{type}``. Extension
            ``storage_volume_full`` for a recursion of 2.
        """
        segments = () if type is None else (_require_type(type),)
        return await self._list(segments, recursion, filter, all_projects, project, target)

    @known_options(models.StorageVolumePut)
    async def create(
        self,
        name: str,
        content_type: models.VolumeContentType = "filesystem",
        source: models.StorageVolumeSource | None = None,
        **body: Unpack[models.StorageVolumePut],
    ) -> Volume:
        """Create a custom volume, empty or as a copy of another volume.

        Args:
            name: The type and the name, as ``"custom/data"``.
            content_type: ``filesystem`` or ``block``.
            source: The volume to copy, as ``{"type": "copy", "pool": "default", "name": "data"}``; None for an empty
                one. `Volume.copy` also copies between servers.
            **body: ``config`` and ``description``.

        Returns:
            The volume, read.

        Raises:
            IncusConflictError: The name is taken.
            IncusNotFoundError: There is no such pool.
            IncusAPIError: The server refused the type or the configuration.
            IncusOperationError: The copy of ``source`` failed.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes``
        """
        extra: Json = {"content_type": content_type} | ({} if source is None else {"source": source})
        return await self._create(name, {**body, **extra})

    async def create_from_backup(
        self, source: Content, name: str | None = None, *, progress: OnProgress | None = None
    ) -> Volume:
        """Create a custom volume from a backup file, with its snapshots.

        Args:
            source: The file: its path, its bytes, a binary file that is open, or an iterable of bytes, plain or async.
                It is streamed.
            name: The type and the name, as ``"custom/data"``; None for the name in the backup.
            progress: Called with how much was sent, as stage ``upload``, and then how far the server is.

        Returns:
            The volume, read.

        Raises:
            IncusInputError: The file cannot be read, or ``name`` is not that of a custom volume.
            IncusAPIError: The file is not a backup.
            IncusOperationError: The name is taken, or the volume could not be made.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}``
        """
        return await self._create_from_file(source, name, progress)

    async def create_from_iso(self, source: Content, name: str, *, progress: OnProgress | None = None) -> Volume:
        """Create a custom volume from an ISO image, from which virtual machines can boot.

        Args:
            source: The file: its path, its bytes, a binary file that is open, or an iterable of bytes, plain or async.
                It is streamed.
            name: The type and the name, as ``"custom/installer"``.
            progress: Called with how much was sent, as stage ``upload``, and then how far the server is.

        Returns:
            The volume, read.

        Raises:
            IncusInputError: The file cannot be read, or ``name`` is not that of a custom volume.
            IncusUnsupportedError: The server lacks the extension.
            IncusOperationError: The name is taken, or the volume could not be made.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}``. Extension ``custom_volume_iso``.
        """
        await self._scope.require("custom_volume_iso", "a volume from an ISO image")
        return await self._create_from_file(source, name, progress, type="iso")

    @known_options(VolumeBackupOptions)
    async def export(
        self,
        name: str,
        target_path: str | os.PathLike[str],
        *,
        progress: OnProgress | None = None,
        **options: Unpack[VolumeBackupOptions],
    ) -> None:
        """Write a backup of one to a local file, on every server: see `Volume.export`.

        Args:
            name: The type and the name, as ``"custom/data"``.
            target_path: The local file; one that exists is replaced.
            progress: Called with how far it is.
            **options: ``compression_algorithm``, ``optimized_storage`` and ``volume_only``.

        Raises:
            IncusInputError: The local file cannot be written, or there is no such option.
            IncusNotFoundError: There is no such volume.
            IncusOperationError: The server could not make the backup.
            IncusConnectionError: The file was cut off.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups``; without ``direct_backup`` also
            ``GET /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups/{backup}/export`` and
            ``DELETE /1.0/storage-pools/{pool}/volumes/{type}/{volume}/backups/{backup}``
        """
        await self[name].export(target_path, progress=progress, **options)

    async def _create_from_file(
        self, source: Content, name: str | None, progress: OnProgress | None, **headers: str
    ) -> Volume:
        type, *rest = ("custom",) if name is None else self._segments(name)
        if type != "custom" or len(rest) > 1:
            raise IncusInputError(f"only a custom volume can be made from a file, as custom/data, not {name!r}")
        return await restore(
            self,
            type,
            source=source,
            key=lambda made: _volume_key(type, created_name(made, "storage_volumes")),
            progress=progress,
            name="".join(rest),
            **headers,
        )

    def _segments(self, key: str) -> tuple[str, ...]:
        type, _, name = key.partition("/") if isinstance(key, str) else ("", "", "")
        if type not in _TYPES or not name:
            raise IncusInputError(f"a volume is named by its type and name, as custom/data, not {key!r}")
        volume, slash, snapshot = name.partition("/")
        segments = (type, volume, "snapshots", snapshot) if slash else (type, name)
        wire.path(*segments)
        return segments

    def _known(self, key: str) -> Json:
        type, _, name = key.replace("/snapshots/", "/", 1).partition("/")
        return {**super()._known(name), "type": type}

    def _key(self, json: Json) -> str:
        return f"{wire.text(json, 'type')}/{wire.text(json, 'name')}"


class StoragePool(models.StoragePool, Editable[models.StoragePoolPut], Deletable):
    """A storage pool, which holds volumes and buckets."""

    _PENDING_IS_HALF_MADE = True

    @property
    def volumes(self) -> VolumesAPI:
        """Its volumes."""
        return VolumesAPI(self)

    @property
    def buckets(self) -> BucketsAPI:
        """Its buckets."""
        return BucketsAPI(self)

    async def get_resources(self) -> models.ResourcesStoragePool:
        """The pool's space in bytes, and its inodes.

        Raises:
            IncusNotFoundError: There is no such pool.
            IncusAPIError: It cannot be measured now.

        API:
            ``GET /1.0/storage-pools/{name}/resources``
        """
        return models.ResourcesStoragePool((await self._request("GET", "resources")).object)

    # Forwarders that exist only for 1.0.0.

    async def list_volumes(self, volume_type: models.VolumeType | None = None, recursion: int = 1) -> list[Volume]:
        """List the volumes of the pool, or those of one type: see `VolumesAPI.list`.

        Args:
            volume_type: ``custom``, ``container``, ``virtual-machine`` or ``image``; None for all.
            recursion: 0 gives handles that know only their name, 1 the volumes, read, and 2 fills `Volume.full` as
                well.

        Raises:
            IncusInputError: There is no such type.
            IncusUnsupportedError: The server lacks the extension for a recursion of 2.

        API:
            ``GET /1.0/storage-pools/{pool}/volumes`` or ``GET /1.0/storage-pools/{pool}/volumes/{type}``
        """
        return await self.volumes.list(recursion, type=volume_type)

    async def create_volume(
        self, name: str, volume_type: models.VolumeType = "custom", config: models.Config | None = None
    ) -> Volume:
        """Create an empty volume in the pool: see `VolumesAPI.create`.

        Args:
            name: Its name.
            volume_type: Its type; servers only let ``custom`` be created.
            config: Its configuration.

        Returns:
            The volume, read.

        Raises:
            IncusConflictError: The name is taken.
            IncusNotFoundError: There is no such pool.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes``
        """
        return await self.volumes.create(_volume_key(volume_type, name), config=config or {})


class StoragePoolsAPI(Collection[StoragePool], Edits[models.StoragePoolPut], Ensures, Deletes):
    """``client.storage_pools``."""

    _resource, _path_part, _urls_quoted = StoragePool, "storage-pools", False
    _options: ClassVar = {"filter": "api_filtering_extended"}

    async def create(
        self, name: str, driver: str, config: models.Config | None = None, description: str = ""
    ) -> StoragePool:
        """Create a pool.

        In a cluster, it is first created on each member, with a client of `Client.use_target` and the member's own part
        of ``config``, as ``source``; and then once without a target.

        Args:
            name: Its name.
            driver: ``dir``, ``btrfs``, ``lvm``, ``zfs`` or another that the server supports.
            config: Its configuration, as ``{"source": "/dev/sdb"}``.
            description: A text for people.

        Returns:
            The pool, read.

        Raises:
            IncusConflictError: The name is taken.
            IncusAPIError: The server lacks the driver, or could not create the pool.

        API:
            ``POST /1.0/storage-pools``
        """
        return await self._create(name, {"driver": driver, "config": config or {}, "description": description})

    # Forwarders that exist only for 1.0.0.

    async def list_volumes(
        self, pool_name: str, volume_type: models.VolumeType | None = None, recursion: int = 1
    ) -> builtins.list[Volume]:
        """List the volumes of a pool, or those of one type: see `VolumesAPI.list`.

        Args:
            pool_name: The pool.
            volume_type: ``custom``, ``container``, ``virtual-machine`` or ``image``; None for all.
            recursion: 0 gives handles that know only their name, 1 the volumes, read, and 2 fills `Volume.full` as
                well.

        Raises:
            IncusInputError: There is no such type.
            IncusUnsupportedError: The server lacks the extension for a recursion of 2.

        API:
            ``GET /1.0/storage-pools/{pool}/volumes`` or ``GET /1.0/storage-pools/{pool}/volumes/{type}``
        """
        return await self[pool_name].list_volumes(volume_type, recursion)

    async def get_volume(self, pool_name: str, volume_name: str, volume_type: models.VolumeType = "custom") -> Volume:
        """One volume, read.

        Args:
            pool_name: The pool.
            volume_name: The volume, without its type.
            volume_type: ``custom``, ``container``, ``virtual-machine`` or ``image``.

        Raises:
            IncusNotFoundError: There is no such volume or pool.

        API:
            ``GET /1.0/storage-pools/{pool}/volumes/{type}/{volume}``
        """
        return await self[pool_name].volumes.get(_volume_key(volume_type, volume_name))

    async def create_volume(
        self,
        pool_name: str,
        volume_name: str,
        volume_type: models.VolumeType = "custom",
        config: models.Config | None = None,
    ) -> Volume:
        """Create an empty volume: see `VolumesAPI.create`.

        Args:
            pool_name: The pool.
            volume_name: Its name.
            volume_type: Its type; servers only let ``custom`` be created.
            config: Its configuration.

        Returns:
            The volume, read.

        Raises:
            IncusConflictError: The name is taken.
            IncusNotFoundError: There is no such pool.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes``
        """
        return await self[pool_name].create_volume(volume_name, volume_type, config)

    async def update_volume(
        self, pool_name: str, volume_name: str, volume_type: str, config: models.StorageVolumePut | Mapping[str, Any]
    ) -> None:
        """Change some fields of a volume and keep all others: see `Updatable.update`.

        Args:
            pool_name: The pool.
            volume_name: The volume, without its type.
            volume_type: ``custom``, ``container``, ``virtual-machine`` or ``image``.
            config: The fields that change, as a JSON merge patch.

        Raises:
            IncusInputError: A volume has no such field; nothing was changed.
            IncusNotFoundError: There is no such volume or pool.
            IncusPreconditionError: Other writers were faster too many times.

        API:
            ``GET`` and ``PUT /1.0/storage-pools/{pool}/volumes/{type}/{volume}``
        """
        await self[pool_name].volumes.update(_volume_key(volume_type, volume_name), config)

    async def replace_volume(
        self, pool_name: str, volume_name: str, volume_type: str, config: models.StorageVolumePut | Mapping[str, Any]
    ) -> None:
        """Replace all writable fields of a volume: see `Writable.replace`.

        Args:
            pool_name: The pool.
            volume_name: The volume, without its type.
            volume_type: ``custom``, ``container``, ``virtual-machine`` or ``image``.
            config: All writable fields; those it does not name are reset.

        Raises:
            IncusNotFoundError: There is no such volume or pool.

        API:
            ``PUT /1.0/storage-pools/{pool}/volumes/{type}/{volume}``
        """
        await self[pool_name].volumes.replace(_volume_key(volume_type, volume_name), config)

    async def delete_volume(
        self, pool_name: str, volume_name: str, volume_type: models.VolumeType = "custom", *, missing_ok: bool = False
    ) -> None:
        """Delete a volume.

        Args:
            pool_name: The pool.
            volume_name: The volume, without its type.
            volume_type: ``custom``, ``container``, ``virtual-machine`` or ``image``.
            missing_ok: Accept that there is no such volume or pool.

        Raises:
            IncusNotFoundError: There is no such volume or pool, and ``missing_ok`` is not set.
            IncusAPIError: The volume is in use, or not a custom one.

        API:
            ``DELETE /1.0/storage-pools/{pool}/volumes/{type}/{volume}``
        """
        await self[pool_name].volumes.delete(_volume_key(volume_type, volume_name), missing_ok=missing_ok)

    async def rename_volume(self, pool_name: str, volume_name: str, volume_type: str, new_name: str) -> Volume:
        """Give a volume another name, and return its handle.

        Args:
            pool_name: The pool.
            volume_name: The volume, without its type.
            volume_type: ``custom``, ``container``, ``virtual-machine`` or ``image``.
            new_name: The new name.

        Raises:
            IncusNotFoundError: There is no such volume or pool.
            IncusConflictError: The new name is taken.
            IncusAPIError: The volume is in use, or not a custom one.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}``
        """
        return await self[pool_name].volumes.rename(_volume_key(volume_type, volume_name), new_name)


def _require_pool(to: StoragePool) -> StoragePool:
    if not isinstance(to, StoragePool):
        raise IncusInputError(f"to must be a storage pool, not {type(to).__name__}")
    return to


async def _make_copy(
    source: Volume | VolumeSnapshot,
    name: str | None,
    to: StoragePool | None,
    volume_only: bool,
    refresh: bool,
    refresh_exclude_older: bool,
    config: models.Config | None,
    how: MigrationOptions,
) -> Volume:
    if name is None and to is None:
        raise IncusInputError("give the copy a name, or another pool as to=")
    volumes = _require_pool(to).volumes if to is not None else VolumesAPI(AtPath(source._scope, source._path[:2]))
    copy = source._path[4] if name is None else name
    if isinstance(copy, str) and "/" in copy:
        raise IncusInputError(f"the name of the copy is written without its type and without a slash, not {copy!r}")
    target = volumes[_volume_key("custom", copy)]
    await copy_volume(source, target, volume_only, refresh, refresh_exclude_older, config, how)
    return target


def _require_type(type: str) -> str:
    if type not in _TYPES:
        raise IncusInputError(f"the type of a volume is one of {', '.join(_TYPES)}, not {type!r}")
    return type


def _volume_key(type: str, name: str) -> str:
    wire.path(type, name)
    return f"{type}/{name}"
