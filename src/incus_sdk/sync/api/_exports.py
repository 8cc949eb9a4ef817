"""Instances as files: exported in a backup, and created from one.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ...api import _exports as _source
from .. import _twin
from .base import Nested, Resource

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from ... import models
    from ..._content import Content
    from ...api._backup_options import InstanceBackupOptions
    from ...operations import OnProgress


class Exportable(Resource):
    """An instance, as what can be exported."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Exportable: ...

    def export(
        self,
        target_path: str | os.PathLike[str],
        *,
        progress: OnProgress | None = None,
        **options: Unpack[InstanceBackupOptions],
    ) -> None:
        """Write a backup of the instance, with its snapshots, to a local file, which appears once it is complete.

            instance.export("web.tar.gz")

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
        self._portal.run(self._async.export(target_path, progress=_twin.posted(progress), **options))


ExportableItem = TypeVar("ExportableItem", bound=Exportable)


class Exports(Nested[ExportableItem]):
    """`Exportable` by name, and what is made of such files."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Exports[Any]: ...

    def export(
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
        self._portal.run(self._async.export(name, target_path, progress=_twin.posted(progress), **options))

    def create_from_backup(
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
            source: The file: its path, its bytes, a binary file that is open, or an iterable of bytes.
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
        result: ExportableItem = self._wrap(
            self._portal.run(
                self._async.create_from_backup(
                    _twin.given_content(source),
                    name,
                    pool=pool,
                    config=config,
                    devices=devices,
                    progress=_twin.posted(progress),
                )
            )
        )
        return result
