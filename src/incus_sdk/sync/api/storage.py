"""Storage pools, their volumes, and the snapshots and bitmaps of a volume.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ... import models
from ...api import storage as _source
from .. import _twin
from ._by_key import Deletes, Edits, Renames
from ._ensure import Ensures
from ._file_verbs import FileVerbs
from .base import Collection, Deletable, Editable, Nested, Renamable

if TYPE_CHECKING:
    import builtins
    import os
    from collections.abc import Mapping
    from typing import Any, Unpack

    from ..._content import Content
    from ...api._backup_options import VolumeBackupOptions
    from ...api._bodies import Expiry
    from ...api._copies import MigrationOptions
    from ...filters import Filter
    from ...operations import OnProgress
    from .backups import VolumeBackupsAPI
    from .buckets import BucketsAPI


class VolumeSnapshot(models.StorageVolumeSnapshot, Editable[models.StorageVolumeSnapshotPut], Renamable, Deletable):
    """A snapshot of a volume."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.VolumeSnapshot: ...

    def restore(self) -> None:
        """Bring the volume back to this snapshot.

        Raises:
            IncusAPIError: There is no such snapshot, or the volume is in use.

        API:
            ``PUT /1.0/storage-pools/{pool}/volumes/{type}/{volume}``
        """
        self._portal.run(self._async.restore())

    def copy(
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
        result: Volume = self._wrap(
            self._portal.run(
                self._async.copy(name, to=_twin.used(to), refresh=refresh, config=config, **_twin.given_options(how))
            )
        )
        return result


class VolumeSnapshotsAPI(Collection[VolumeSnapshot], Edits[models.StorageVolumeSnapshotPut], Renames, Deletes):
    """``volume.snapshots``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.VolumeSnapshotsAPI: ...

    def create(self, name: str | None = None, expires_at: Expiry = "default") -> VolumeSnapshot:
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
        result: VolumeSnapshot = self._wrap(self._portal.run(self._async.create(name, expires_at)))
        return result


class VolumeBitmap(models.StorageVolumeBitmap, Deletable):
    """A record of which parts of a running virtual machine's block volume were written to."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.VolumeBitmap: ...


class VolumeBitmapsAPI(Collection[VolumeBitmap], Deletes):
    """``volume.bitmaps``, of a running virtual machine's block volume."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.VolumeBitmapsAPI: ...

    def create(
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
        result: VolumeBitmap = self._wrap(
            self._portal.run(
                self._async.create(name, granularity=granularity, persistent=persistent, disabled=disabled)
            )
        )
        return result


class Volume(models.StorageVolume, FileVerbs, Editable[models.StorageVolumePut], Renamable, Deletable):
    """A storage volume: a custom filesystem or disk, or that of an instance or an image.

    The server's ETag of a volume leaves out the description: if two writers change it at the same moment, and one of
    them only the description, that change can be lost.

    The files of a custom volume are reached like those of an instance: `path` and `sftp` need the extension
    ``custom_volume_sftp``, the single calls ``file_storage_volume``.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Volume: ...

    @property
    def snapshots(self) -> VolumeSnapshotsAPI:
        """Its snapshots. The list that came with it is ``full.snapshots``."""
        result: VolumeSnapshotsAPI = self._wrap(self._async.snapshots)
        return result

    @property
    def backups(self) -> VolumeBackupsAPI:
        """The backups of a custom volume. The list that came with it is ``full.backups``."""
        result: VolumeBackupsAPI = self._wrap(self._async.backups)
        return result

    @property
    def bitmaps(self) -> VolumeBitmapsAPI:
        """The bitmaps of a running virtual machine's block volume."""
        result: VolumeBitmapsAPI = self._wrap(self._async.bitmaps)
        return result

    @property
    def full(self) -> models.StorageVolumeFull:
        """The same JSON with state, snapshots and backups, where ``list(2)`` or ``get(recursion=1)`` filled them."""
        with _twin.Words():
            return self._async.full

    def get_state(self) -> models.StorageVolumeState:
        """How much space the volume uses, in bytes.

        Raises:
            IncusNotFoundError: There is no such volume.

        API:
            ``GET /1.0/storage-pools/{pool}/volumes/{type}/{volume}/state``
        """
        return self._portal.run(self._async.get_state())

    def copy(
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

            volume.copy("again")
            volume.copy(to=other_client.storage_pools["default"])

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
        result: Volume = self._wrap(
            self._portal.run(
                self._async.copy(
                    name,
                    to=_twin.used(to),
                    volume_only=volume_only,
                    refresh=refresh,
                    refresh_exclude_older=refresh_exclude_older,
                    config=config,
                    **_twin.given_options(how),
                )
            )
        )
        return result

    def move(
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
        self._portal.run(
            self._async.move(
                pool, project=project, target=target, new_name=new_name, to=_twin.used(to), **_twin.given_options(how)
            )
        )

    def export(
        self,
        target_path: str | os.PathLike[str],
        *,
        progress: OnProgress | None = None,
        **options: Unpack[VolumeBackupOptions],
    ) -> None:
        """Write a backup of a custom volume, with its snapshots, to a local file, which appears once it is complete.

            volume.export("backup.tar.gz")

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
        self._portal.run(self._async.export(target_path, progress=_twin.posted(progress), **options))

    def rebuild(self) -> None:
        """Empty a custom volume, which must not have snapshots; its configuration is kept.

        Raises:
            IncusUnsupportedError: The server lacks the extension.
            IncusNotFoundError: There is no such volume.
            IncusOperationError: The volume has snapshots, or could not be emptied.

        API:
            ``POST /1.0/storage-pools/{pool}/volumes/{type}/{volume}/rebuild``. Extension ``storage_volumes_rebuild``.
        """
        self._portal.run(self._async.rebuild())

    def nbd(self, *, writable: bool = False) -> AbstractContextManager[tuple[_twin.StreamReader, _twin.StreamWriter]]:
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
        return self._portal.enter(self._async.nbd(writable=writable), self._wrap)


class VolumesAPI(Nested[Volume], Edits[models.StorageVolumePut], Ensures, Renames, Deletes):
    """``pool.volumes``; the key is the type and the name, as ``"custom/data"``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.VolumesAPI: ...

    def list(
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
        result: builtins.list[Volume] = self._wrap(
            self._portal.run(
                self._async.list(
                    recursion, type=type, filter=filter, all_projects=all_projects, project=project, target=target
                )
            )
        )
        return result

    def create(
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
        result: Volume = self._wrap(self._portal.run(self._async.create(name, content_type, source, **body)))
        return result

    def create_from_backup(
        self, source: Content, name: str | None = None, *, progress: OnProgress | None = None
    ) -> Volume:
        """Create a custom volume from a backup file, with its snapshots.

        Args:
            source: The file: its path, its bytes, a binary file that is open, or an iterable of bytes.
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
        result: Volume = self._wrap(
            self._portal.run(
                self._async.create_from_backup(_twin.given_content(source), name, progress=_twin.posted(progress))
            )
        )
        return result

    def create_from_iso(self, source: Content, name: str, *, progress: OnProgress | None = None) -> Volume:
        """Create a custom volume from an ISO image, from which virtual machines can boot.

        Args:
            source: The file: its path, its bytes, a binary file that is open, or an iterable of bytes.
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
        result: Volume = self._wrap(
            self._portal.run(
                self._async.create_from_iso(_twin.given_content(source), name, progress=_twin.posted(progress))
            )
        )
        return result

    def export(
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
        self._portal.run(self._async.export(name, target_path, progress=_twin.posted(progress), **options))


class StoragePool(models.StoragePool, Editable[models.StoragePoolPut], Deletable):
    """A storage pool, which holds volumes and buckets."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.StoragePool: ...

    @property
    def volumes(self) -> VolumesAPI:
        """Its volumes."""
        result: VolumesAPI = self._wrap(self._async.volumes)
        return result

    @property
    def buckets(self) -> BucketsAPI:
        """Its buckets."""
        result: BucketsAPI = self._wrap(self._async.buckets)
        return result

    def get_resources(self) -> models.ResourcesStoragePool:
        """The pool's space in bytes, and its inodes.

        Raises:
            IncusNotFoundError: There is no such pool.
            IncusAPIError: It cannot be measured now.

        API:
            ``GET /1.0/storage-pools/{name}/resources``
        """
        return self._portal.run(self._async.get_resources())

    def list_volumes(self, volume_type: models.VolumeType | None = None, recursion: int = 1) -> list[Volume]:
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
        result: list[Volume] = self._wrap(self._portal.run(self._async.list_volumes(volume_type, recursion)))
        return result

    def create_volume(
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
        result: Volume = self._wrap(self._portal.run(self._async.create_volume(name, volume_type, config)))
        return result


class StoragePoolsAPI(Collection[StoragePool], Edits[models.StoragePoolPut], Ensures, Deletes):
    """``client.storage_pools``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.StoragePoolsAPI: ...

    def create(self, name: str, driver: str, config: models.Config | None = None, description: str = "") -> StoragePool:
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
        result: StoragePool = self._wrap(self._portal.run(self._async.create(name, driver, config, description)))
        return result

    def list_volumes(
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
        result: builtins.list[Volume] = self._wrap(
            self._portal.run(self._async.list_volumes(pool_name, volume_type, recursion))
        )
        return result

    def get_volume(self, pool_name: str, volume_name: str, volume_type: models.VolumeType = "custom") -> Volume:
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
        result: Volume = self._wrap(self._portal.run(self._async.get_volume(pool_name, volume_name, volume_type)))
        return result

    def create_volume(
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
        result: Volume = self._wrap(
            self._portal.run(self._async.create_volume(pool_name, volume_name, volume_type, config))
        )
        return result

    def update_volume(
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
        self._portal.run(self._async.update_volume(pool_name, volume_name, volume_type, config))

    def replace_volume(
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
        self._portal.run(self._async.replace_volume(pool_name, volume_name, volume_type, config))

    def delete_volume(
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
        self._portal.run(self._async.delete_volume(pool_name, volume_name, volume_type, missing_ok=missing_ok))

    def rename_volume(self, pool_name: str, volume_name: str, volume_type: str, new_name: str) -> Volume:
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
        result: Volume = self._wrap(
            self._portal.run(self._async.rename_volume(pool_name, volume_name, volume_type, new_name))
        )
        return result
