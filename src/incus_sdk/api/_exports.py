"""Instances as files: exported in a backup, and created from one."""

from __future__ import annotations

import os
from typing import TypeVar, Unpack

from .. import models
from .._connection import wire
from .._content import Content
from ..operations import OnProgress
from ._backup_options import InstanceBackupOptions
from ._bodies import created_name, overrides
from ._creation import restore
from ._options import known_options
from .base import Nested, Resource


class Exportable(Resource):
    """An instance, as what can be exported."""

    @known_options(InstanceBackupOptions)
    async def export(
        self,
        target_path: str | os.PathLike[str],
        *,
        progress: OnProgress | None = None,
        **options: Unpack[InstanceBackupOptions],
    ) -> None:
        """Write a backup of the instance, with its snapshots, to a local file, which appears once it is complete.

            await instance.export("web.tar.gz")

        Nothing stays on the server. One with the extension ``direct_backup`` sends the backup while it makes it;
        another makes it first, and it is deleted after the download, also if that fails or is cancelled.
        `InstancesAPI.create_from_backup` makes an instance of the file.

        Args:
            target_path: The local file; one that exists is replaced.
            progress: Called with how far it is: where the server makes the backup first, that is one stage, and
                ``download`` the next.
            **options: ``compression_algorithm``, ``instance_only``, ``optimized_storage`` and ``root_only``: see
                `InstanceBackupOptions`.

        Raises:
            IncusInputError: The local file cannot be written, or there is no such option.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: The server could not make the backup.
            IncusConnectionError: The file was cut off.

        API:
            ``POST /1.0/instances/{name}/backups``; without the extension also
            ``GET /1.0/instances/{name}/backups/{backup}/export`` and ``DELETE /1.0/instances/{name}/backups/{backup}``
        """
        from .backups import InstanceBackupsAPI

        await InstanceBackupsAPI(self)._export(target_path, options, progress)


ExportableItem = TypeVar("ExportableItem", bound=Exportable)


class Exports(Nested[ExportableItem]):
    """`Exportable` by name, and what is made of such files."""

    @known_options(InstanceBackupOptions)
    async def export(
        self,
        name: str,
        target_path: str | os.PathLike[str],
        *,
        progress: OnProgress | None = None,
        **options: Unpack[InstanceBackupOptions],
    ) -> None:
        """Write a backup of an instance to a local file, on every server: see `Instance.export`.

        Args:
            name: The instance.
            target_path: The local file; one that exists is replaced.
            progress: Called with how far it is.
            **options: ``compression_algorithm``, ``instance_only``, ``optimized_storage`` and ``root_only``.

        Raises:
            IncusInputError: The local file cannot be written, or there is no such option.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: The server could not make the backup.
            IncusConnectionError: The file was cut off.

        API:
            ``POST /1.0/instances/{name}/backups``; without the extension ``direct_backup`` also
            ``GET /1.0/instances/{name}/backups/{backup}/export`` and ``DELETE /1.0/instances/{name}/backups/{backup}``
        """
        await self[name].export(target_path, progress=progress, **options)

    async def create_from_backup(
        self,
        source: Content,
        name: str | None = None,
        *,
        pool: str | None = None,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        progress: OnProgress | None = None,
    ) -> ExportableItem:
        """Create an instance from the file of a backup, with its snapshots, and return it, read.

        Args:
            source: The file: its path, its bytes, a binary file that is open, or an iterable of bytes, plain or async.
                It is streamed.
            name: Its name; None for the name it had.
            pool: Its storage pool; None for the pool it had.
            config: Changed keys of its configuration; no value can have a space.
            devices: Changed keys of its devices; of a device that comes from a profile, all keys.
            progress: Called with how much was sent, in bytes, as stage ``upload``, and then how far the server is.

        Raises:
            IncusInputError: The file cannot be read, or ``config`` or ``devices`` cannot be sent.
            IncusAPIError: The file is not a backup.
            IncusOperationError: It could not be created; its name is taken, for example.
            IncusUnsupportedError: The server lacks the API extension for ``config`` and ``devices``.

        API:
            ``POST /1.0/instances``. ``config`` and ``devices``: extension ``backup_override_config``.
        """
        if name is not None:
            wire.path(name)
        about = {"name": name, "pool": pool, **overrides(config, devices)}
        if config or devices:
            await self._scope.require("backup_override_config", "another configuration than that of the backup")
        return await restore(
            self, source=source, key=lambda made: created_name(made, "instances"), progress=progress, **about
        )
