"""Instances: containers and virtual machines.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from ... import models
from ...api import instances as _source
from ...api._copies import InstanceCopy as InstanceCopy
from ...api._copies import MigrationOptions as MigrationOptions
from ...api._lifecycle import Action as Action
from ...api._publish import PublishOptions as PublishOptions
from ...api._readiness import Condition as Condition
from .. import _twin
from ._by_key import Deletes, Edits, Patches, Renames, Replaces
from ._commands import Executes
from ._devices import ChangesDevices, DeviceVerbs
from ._exports import Exportable, Exports
from ._file_verbs import FileVerbs
from ._launching import Launches
from ._lifecycle import StartsAndStops
from ._many import StartsAndStopsMany
from ._publish import ImageVerbs, Publishes, SnapshotImageVerbs
from ._readiness import ReadinessVerbs
from ._virtual_machine import VirtualMachineVerbs
from .base import Collection, Deletable, Editable, Patchable, Renamable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal, Unpack

    from ...api._bodies import Expiry
    from ...operations import OnProgress
    from ..operations import Operation
    from .backups import InstanceBackupsAPI
    from .logs import ExecOutputAPI, LogsAPI
    from .metadata import InstanceMetadata, TemplatesAPI


class Snapshot(models.InstanceSnapshot, SnapshotImageVerbs, Editable[models.InstanceSnapshotPut], Renamable, Deletable):
    """An instance as it was at one moment."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Snapshot: ...

    def restore(self, stateful: bool = False, *, disk_only: bool = False) -> None:
        """Bring the instance back to the snapshot.

        Args:
            stateful: Restore the running state as well.
            disk_only: Restore the disk and keep the configuration; not together with ``stateful``.

        Raises:
            IncusNotFoundError: There is no such instance.
            IncusOperationError: There is no such snapshot, or it could not be restored.
            IncusUnsupportedError: The server lacks the API extension for ``disk_only``.

        API:
            ``PUT /1.0/instances/{name}``. ``disk_only``: extension ``instance_snapshot_disk_only_restore``.
        """
        self._portal.run(self._async.restore(stateful, disk_only=disk_only))

    def copy(self, name: str, *, to: _twin.Scoped | None = None, **options: Unpack[InstanceCopy]) -> Instance:
        """Create an instance from the snapshot, and return it, read.

        Args:
            name: The name of the instance.
            to: The client of another server, or a view of another project or member; None for where the snapshot is.
            **options: See `InstanceCopy`.

        Raises:
            IncusInputError: ``to`` is not a client, or an option is invalid.
            IncusNotFoundError: There is no such snapshot.
            IncusAPIError: It could not be created; its name is taken, for example.
            IncusOperationError: Copying failed; older servers report a taken name this way too.

        API:
            ``POST /1.0/instances``; to another server also ``POST /1.0/instances/{name}/snapshots/{snapshot}``
        """
        result: Instance = self._wrap(
            self._portal.run(self._async.copy(name, to=_twin.used(to), **_twin.given_options(options)))
        )
        return result


class SnapshotsAPI(Collection[Snapshot], Edits[models.InstanceSnapshotPut], Renames, Deletes):
    """``instance.snapshots``."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.SnapshotsAPI: ...

    def create(self, name: str | None = None, stateful: bool = False, expires_at: Expiry = "default") -> Snapshot:
        """Take a snapshot, and return it, read.

        Args:
            name: Its name; None lets the server pick one by ``snapshots.pattern`` of the instance: ``snap0``, ``snap1``
                and so on where there is none.
            stateful: Include the running state; ``migration.stateful`` in the instance's configuration allows it.
            expires_at: When the server deletes it: a time, or a `timedelta` from now; ``"never"``; or ``"default"``, as
                ``snapshots.expiry.manual`` or ``snapshots.expiry`` of the instance says.

        Raises:
            IncusInputError: ``name`` is invalid, or ``expires_at`` is not a time.
            IncusNotFoundError: There is no such instance.
            IncusAPIError: The name is invalid.
            IncusOperationError: It could not be taken; its name is taken, for example.

        API:
            ``POST /1.0/instances/{name}/snapshots``
        """
        result: Snapshot = self._wrap(self._portal.run(self._async.create(name, stateful, expires_at)))
        return result


class Instance(
    ReadinessVerbs,
    FileVerbs,
    VirtualMachineVerbs,
    Exportable,
    DeviceVerbs[models.InstancePut],
    ImageVerbs,
    Patchable[models.InstancePut],
    Renamable,
):
    """An instance, a container or virtual machine: the record, its verbs, and what hangs below it.

    Where a verb takes ``wait``: False returns the `Operation` as soon as it has begun, True when it has ended, and
    raises `IncusOperationError` if it failed. Nothing is cut off because it takes long.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Instance: ...

    @property
    def snapshots(self) -> SnapshotsAPI:
        """Its snapshots. The list that came with a deeper read is ``full.snapshots``."""
        result: SnapshotsAPI = self._wrap(self._async.snapshots)
        return result

    @property
    def backups(self) -> InstanceBackupsAPI:
        """Its backups. The list that came with a deeper read is ``full.backups``."""
        result: InstanceBackupsAPI = self._wrap(self._async.backups)
        return result

    @property
    def logs(self) -> LogsAPI:
        """Its log files."""
        result: LogsAPI = self._wrap(self._async.logs)
        return result

    @property
    def exec_output(self) -> ExecOutputAPI:
        """The output of its commands that was recorded."""
        result: ExecOutputAPI = self._wrap(self._async.exec_output)
        return result

    @property
    def metadata(self) -> InstanceMetadata:
        """Its own copy of the metadata of its image; ``instance.metadata.refresh()`` reads it."""
        result: InstanceMetadata = self._wrap(self._async.metadata)
        return result

    @property
    def templates(self) -> TemplatesAPI:
        """Templates of files that the server writes in it."""
        result: TemplatesAPI = self._wrap(self._async.templates)
        return result

    @property
    def full(self) -> models.InstanceFull:
        """The same JSON as the API's InstanceFull.

        It has the state, the snapshots and the backups after ``list(recursion=2)`` or ``get(recursion=1)``.
        """
        with _twin.Words():
            return self._async.full

    @property
    def state(self) -> models.InstanceState:
        """What it was doing and using when it was read with ``list(recursion=2)`` or ``get(recursion=1)``.

        Raises:
            IncusNotLoadedError: It was not read that deeply.
        """
        with _twin.Words():
            return self._async.state

    def update(
        self, config: models.InstancePut | Mapping[str, Any], wait: bool = False, *, etag: str | None = None
    ) -> Operation:
        """Change some fields and keep all others, whoever else is writing.

        The server's ETag of an instance leaves out its description: of two writers at the same moment, one of whom
        changes only that, the other can undo it.

        Args:
            config: A JSON merge patch: ``{"config": {"limits.cpu": 2}, "description": "web"}``. Keys not named are
                kept, at every depth, and a None removes its key. A key with a dot is a key of ``config``:
                ``{"limits.cpu": 2}``. A list is replaced as a whole: `editing` merges entries.
            wait: Wait until the change is made, and read what it made of the instance.
            etag: The `etag` of the instance as it was read; None merges the change into whatever it is now.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: An instance has no such field, or it cannot be written; nothing was changed.
            IncusNotFoundError: There is no such instance.
            IncusPreconditionError: It has changed since that ``etag``, or other writers were faster too many times.
            IncusOperationError: With ``wait``: it could not be changed; a value is invalid, for example.

        API:
            ``GET`` and ``PUT /1.0/instances/{name}``, with ``If-Match``, repeated if somebody else was faster
        """
        result: Operation = self._wrap(self._portal.run(self._async.update(config, wait, etag=etag)))
        return result

    def get_logs(self) -> dict[str, str]:
        """Read its log files.

        Returns:
            The text of each file by its name.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/logs``, and ``GET /1.0/instances/{name}/logs/{file}`` for each
        """
        return self._portal.run(self._async.get_logs())

    def copy(
        self,
        name: str | None = None,
        *,
        to: _twin.Scoped | None = None,
        instance_only: bool = False,
        refresh: bool = False,
        refresh_exclude_older: bool = False,
        **options: Unpack[InstanceCopy],
    ) -> Instance:
        """Copy the instance, with its snapshots, and return the copy, read.

            client.instances["c1"].copy("c2")
            client.instances["c1"].copy(to=other_client)

        If this fails or is cancelled, nothing remains of a new copy. A server that cannot be stopped is waited for, and
        its copy deleted.

        Args:
            name: The name of the copy; None for the same name, at another place.
            to: The client of another server, or a view of another project or member; None for where the instance is.
            instance_only: Copy it without its snapshots.
            refresh: Bring an existing copy up to date; only what has changed is sent.
            refresh_exclude_older: With ``refresh``: leave out snapshots that are older than the copy's newest one.
            **options: See `InstanceCopy`.

        Raises:
            IncusInputError: Neither ``name`` nor ``to`` is given, ``to`` is not a client, an option is invalid, or
                ``refresh_exclude_older`` is without ``refresh``.
            IncusNotFoundError: There is no such instance.
            IncusAPIError: The copy could not be created; its name is taken, for example.
            IncusOperationError: Copying failed; older servers report a taken name this way too.

        API:
            ``POST /1.0/instances``; to another server also ``POST /1.0/instances/{name}``
        """
        result: Instance = self._wrap(
            self._portal.run(
                self._async.copy(
                    name,
                    to=_twin.used(to),
                    instance_only=instance_only,
                    refresh=refresh,
                    refresh_exclude_older=refresh_exclude_older,
                    **_twin.given_options(options),
                )
            )
        )
        return result

    def move(
        self,
        name: str | None = None,
        *,
        to: _twin.Scoped | None = None,
        pool: str | None = None,
        project: str | None = None,
        target: str | None = None,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        instance_only: bool = False,
        live: bool = False,
        stateless: bool = False,
        refresh: bool = False,
        allow_inconsistent: bool = False,
        **options: Unpack[MigrationOptions],
    ) -> None:
        """Move the instance to another storage pool, project, cluster member or server; this handle follows it.

        It must be stopped, unless ``live``, ``stateless`` or ``refresh`` is set. To another server it is copied, then
        deleted here.

        Args:
            name: A new name; None keeps the name.
            to: The client of another server, or a view of another project or member of this one.
            pool: The storage pool; None leaves it to the server.
            project: The project, on the same server; None keeps it.
            target: The cluster member, or ``@group`` for one of a cluster group; None leaves it to the server.
            config: Changed keys of the configuration; None removes one.
            devices: Changed devices, and changed keys of devices, also of those that come from a profile; None removes
                one.
            profiles: Profiles in place of those that it has; None keeps them.
            instance_only: Leave its snapshots behind; they are lost.
            live: Keep it running on the way.
            stateless: Stop it cleanly if it runs, and start it again where it is then, also if it could not be moved.
                An ephemeral instance is not deleted by that.
            refresh: To another member: copy it in rounds while it runs, and stop it for the last one only.
            allow_inconsistent: Go on if files change while they are copied.
            **options: How to reach another server: see `MigrationOptions`.

        Raises:
            IncusInputError: No destination is given, ``to`` is not a client, the instance must be stopped first to go
                to another server, or ``stateless`` is together with ``live`` or ``refresh``.
            IncusNotFoundError: There is no such instance.
            IncusAPIError: It cannot be moved there; it is running or the new name is taken, for example.
            IncusOperationError: Moving it failed; with ``stateless`` also, stopping or starting it did.
            IncusUnsupportedError: The server lacks the API extension for ``refresh``.

        API:
            ``POST /1.0/instances/{name}``; to another server also ``POST /1.0/instances`` there and
            ``DELETE /1.0/instances/{name}``. ``refresh``: extension ``instance_refresh_migration``.
        """
        self._portal.run(
            self._async.move(
                name,
                to=_twin.used(to),
                pool=pool,
                project=project,
                target=target,
                config=config,
                devices=devices,
                profiles=profiles,
                instance_only=instance_only,
                live=live,
                stateless=stateless,
                refresh=refresh,
                allow_inconsistent=allow_inconsistent,
                **_twin.given_options(options),
            )
        )

    def get_access(self) -> list[models.AccessEntry]:
        """List who has access to the instance.

        API:
            ``GET /1.0/instances/{name}/access``
        """
        return self._portal.run(self._async.get_access())


class InstancesAPI(
    Exports[Instance],
    Launches,
    StartsAndStops,
    StartsAndStopsMany,
    Executes,
    ChangesDevices,
    Publishes,
    Replaces[models.InstancePut],
    Patches[models.InstancePut],
    Renames,
):
    """``client.instances``.

    Where a verb takes ``wait``: False returns the `Operation` as soon as it has begun, True when it has ended, and
    raises `IncusOperationError` if it failed. Nothing is cut off because it takes long.

    `list` takes a ``recursion`` of 2 as well, which fills `Instance.full`: state, snapshots and backups. `patch` is the
    server's own merge; that of 6.0.4 empties the description unless it is named.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.InstancesAPI: ...

    @overload
    def create(
        self,
        name: str | None,
        source: models.InstanceSource | Mapping[str, Any] | str,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        ephemeral: bool = False,
        instance_type: models.InstanceType = "container",
        wait: Literal[False] = False,
        *,
        description: str = "",
        flavor: str | None = None,
        start: bool = False,
        progress: OnProgress | None = None,
    ) -> Operation: ...
    @overload
    def create(
        self,
        name: str | None,
        source: models.InstanceSource | Mapping[str, Any] | str,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        ephemeral: bool = False,
        instance_type: models.InstanceType = "container",
        *,
        wait: Literal[True],
        description: str = "",
        flavor: str | None = None,
        start: bool = False,
        progress: OnProgress | None = None,
    ) -> Instance: ...
    @overload
    def create(
        self,
        name: str | None,
        source: models.InstanceSource | Mapping[str, Any] | str,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        ephemeral: bool = False,
        instance_type: models.InstanceType = "container",
        wait: bool = False,
        *,
        description: str = "",
        flavor: str | None = None,
        start: bool = False,
        progress: OnProgress | None = None,
    ) -> Instance | Operation: ...
    def create(
        self,
        name: str | None,
        source: models.InstanceSource | Mapping[str, Any] | str,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        ephemeral: bool = False,
        instance_type: models.InstanceType = "container",
        wait: bool = False,
        *,
        description: str = "",
        flavor: str | None = None,
        start: bool = False,
        progress: OnProgress | None = None,
    ) -> Instance | Operation:
        """Create an instance.

        If it is cancelled while it waits, nothing remains of the instance.

        Args:
            name: Its name; None for one that the server picks, and tells in the result.
            source: The name of an image (see `ImagesAPI.resolve`); or a source of the API:
                ``{"type": "image", "alias": "busybox"}``, or one of type ``none``, ``copy`` or ``migration``.
            config: Its configuration, on top of that of its profiles.
            devices: Its devices by name, on top of those of its profiles. One without a type changes keys of the
                profiles' device of that name: ``{"root": {"size": "10GiB"}}``.
            profiles: Its profiles; None for the server's default, an empty list for none.
            ephemeral: Delete it when it stops.
            instance_type: ``container`` or ``virtual-machine``.
            wait: Wait until it is created and, with ``start``, started.
            description: Its description.
            flavor: How big it is: ``c2-m4`` for limits of 2 CPUs and 4 GiB, or a cloud's name, as ``t2.micro``. The API
                calls this its ``instance_type``, the command ``--type``.
            start: Start it in the same operation.
            progress: With ``wait``: called with how far the server's download and unpacking are.

        Returns:
            The instance, read; without ``wait`` the operation.

        Raises:
            IncusInputError: An argument is invalid.
            IncusNotFoundError: There is no image of that name.
            IncusAPIError: It cannot be created; its name is taken, for example.
            IncusOperationError: With ``wait``: it could not be created (older servers report a taken name this way too)
                or started; ``log`` has the end of its log, if there is one.

        API:
            ``POST /1.0/instances``
        """
        held: Any = self._async
        result: Instance | Operation = self._wrap(
            self._portal.run(
                held.create(
                    name,
                    source,
                    config,
                    devices,
                    profiles,
                    ephemeral,
                    instance_type,
                    wait,
                    description=description,
                    flavor=flavor,
                    start=start,
                    progress=_twin.posted(progress),
                )
            )
        )
        return result

    def update(
        self, name: str, config: models.InstancePut | Mapping[str, Any], wait: bool = False, *, etag: str | None = None
    ) -> Operation:
        """Change some fields of an instance and keep all others, whoever else is writing.

        The server's ETag of an instance leaves out its description: of two writers at the same moment, one of whom
        changes only that, the other can undo it.

        Args:
            name: The instance.
            config: A JSON merge patch: ``{"config": {"limits.cpu": 2}, "description": "web"}``. Keys not named are
                kept, at every depth, and a None removes its key. A key with a dot is a key of ``config``:
                ``{"limits.cpu": 2}``. A list is replaced as a whole: `Instance.editing` merges entries.
            wait: Wait until the change is made.
            etag: The `etag` of the instance as it was read; None merges the change into whatever it is now.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: An instance has no such field, or it cannot be written; nothing was changed.
            IncusNotFoundError: There is no such instance.
            IncusPreconditionError: It has changed since that ``etag``, or other writers were faster too many times.
            IncusOperationError: With ``wait``: it could not be changed; a value is invalid, for example.

        API:
            ``GET`` and ``PUT /1.0/instances/{name}``, with ``If-Match``, repeated if somebody else was faster
        """
        result: Operation = self._wrap(self._portal.run(self._async.update(name, config, wait, etag=etag)))
        return result

    def change_state(
        self, action: Action, force: bool = False, stateful: bool = False, timeout: int = 30, wait: bool = False
    ) -> Operation:
        """Start, stop, restart, freeze or unfreeze all instances of the project.

        Those that the action has no meaning for are left alone: stopped ones by a freeze, for example.

        Args:
            action: ``start``, ``stop``, ``restart``, ``freeze`` or ``unfreeze``.
            force: For ``stop`` and ``restart``: stop at once, without asking the systems inside.
            stateful: For ``stop``: save the running states; for ``start``: resume them.
            timeout: Seconds a clean stop may take; then it fails for that instance, which keeps running. 0 is like
                ``force``; -1 leaves it to the server, which gives it ten minutes.
            wait: Wait until it is done.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: ``timeout`` is not a whole number, or below -1.
            IncusAPIError: There is no such action.
            IncusOperationError: With ``wait``: it failed for instances, which the message names.

        API:
            ``PUT /1.0/instances``
        """
        result: Operation = self._wrap(
            self._portal.run(self._async.change_state(action, force, stateful, timeout, wait))
        )
        return result

    def get_logs(self, name: str) -> dict[str, str]:
        """Read the log files of an instance.

        Args:
            name: The instance.

        Returns:
            The text of each file by its name.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/logs``, and ``GET /1.0/instances/{name}/logs/{file}`` for each
        """
        return self._portal.run(self._async.get_logs(name))

    def get_files(self, name: str, path: str) -> bytes:
        """Read a file of an instance, or a directory as a tar.

        Args:
            name: The instance.
            path: An absolute path; symbolic links are followed.

        Returns:
            The content of the file; for a directory, a tar that holds it under its own name. Sockets and devices are
                left out of it.

        Raises:
            IncusNotFoundError: There is no such instance or file.
            IncusInputError: It is not a path, or leads through too many symbolic links.
            IncusTimeoutError: It is a named pipe to which nobody writes: `RemotePath.read_bytes` refuses these.

        API:
            ``GET /1.0/instances/{name}/files``, and ``GET /1.0/instances/{name}/sftp`` for a tar
        """
        return self._portal.run(self._async.get_files(name, path))

    def put_files(self, name: str, path: str, content: bytes) -> models.Envelope:
        """Write a file in an instance. A file that exists keeps its mode and owner; a new one is root's, 0644.

        Args:
            name: The instance.
            path: An absolute path, whose directory exists.
            content: What is written.

        Returns:
            The answer of the server.

        Raises:
            IncusInputError: ``content`` is not bytes, or ``path`` is not a path.
            IncusNotFoundError: There is no such instance or directory.
            IncusAPIError: It cannot be written; it is a directory, for example.

        API:
            ``POST /1.0/instances/{name}/files``
        """
        return self._portal.run(self._async.put_files(name, path, content))
