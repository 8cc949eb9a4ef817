"""Instances: containers and virtual machines."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Unpack, overload

from .. import models
from .._background import required, undoing
from .._connection import wire
from .._connection.scope import Scope, Scoped, scope_of
from .._migration import same_server
from ..exceptions import (
    IncusInputError,
    IncusNotFoundError,
    IncusNotLoadedError,
)
from ..models.base import Json, _make_getter
from ..operations import OnProgress, Operation
from ._bodies import NEVER, Expiry, difference, expiry, to_body
from ._by_key import Deletes, Edits, Patches, Renames, Replaces
from ._commands import Executes
from ._copies import InstanceCopy as InstanceCopy
from ._copies import MigrationOptions as MigrationOptions
from ._copies import changed_devices, copy_instance, other_project, profile_devices, removed_devices
from ._creation import create_picked
from ._devices import ChangesDevices, DeviceVerbs
from ._exports import Exportable, Exports
from ._file_verbs import FileVerbs
from ._launching import Launches
from ._lifecycle import Action as Action
from ._lifecycle import StartsAndStops
from ._many import StartsAndStopsMany
from ._marks import create_marked
from ._options import known_options
from ._publish import ImageVerbs, Publishes, SnapshotImageVerbs
from ._publish import PublishOptions as PublishOptions
from ._readiness import Condition as Condition
from ._readiness import ReadinessVerbs
from ._virtual_machine import VirtualMachineVerbs
from .base import Collection, Deletable, Editable, Patchable, Renamable, Resource
from .logs import ExecOutputAPI, LogsAPI
from .metadata import InstanceMetadata, TemplatesAPI

if TYPE_CHECKING:
    from .backups import InstanceBackupsAPI

_read_state = _make_getter("state", "state", models.InstanceState)


class Snapshot(models.InstanceSnapshot, SnapshotImageVerbs, Editable[models.InstanceSnapshotPut], Renamable, Deletable):
    """An instance as it was at one moment."""

    _NEVER = NEVER

    async def restore(self, stateful: bool = False, *, disk_only: bool = False) -> None:
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
        body = {"restore": self.name, "stateful": stateful}
        if disk_only:
            await self._scope.require("instance_snapshot_disk_only_restore", "restoring only the disk")
            body["disk_only"] = True
        await self._parent._perform("PUT", body=body)

    @classmethod
    def _segment(cls, name: str) -> str:
        # Servers unquote the name of a snapshot once more than other names, and read a plus as a space.
        return name.replace("%", "%25").replace("+", "%2B")

    @known_options(InstanceCopy)
    async def copy(self, name: str, *, to: Scoped | None = None, **options: Unpack[InstanceCopy]) -> Instance:
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
        return await _copy(self, name, to, True, False, options)


class SnapshotsAPI(Collection[Snapshot], Edits[models.InstanceSnapshotPut], Renames, Deletes):
    """``instance.snapshots``."""

    _resource, _path_part, _urls_quoted, _named_with_parent = Snapshot, "snapshots", False, True

    async def create(self, name: str | None = None, stateful: bool = False, expires_at: Expiry = "default") -> Snapshot:
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
        body = {"stateful": stateful, **expiry(expires_at)}
        return await create_picked(self, name, body, "instances_snapshots")


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

    _WRITTEN_AT_ONCE = True
    _NOT_FOR_UPDATE: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("restore", "stateful", "disk_only"), "`snapshots[...].restore()` restores"
    )

    @property
    def snapshots(self) -> SnapshotsAPI:
        """Its snapshots. The list that came with a deeper read is ``full.snapshots``."""
        return SnapshotsAPI(self)

    @property
    def backups(self) -> InstanceBackupsAPI:
        """Its backups. The list that came with a deeper read is ``full.backups``."""
        from .backups import InstanceBackupsAPI

        return InstanceBackupsAPI(self)

    @property
    def logs(self) -> LogsAPI:
        """Its log files."""
        return LogsAPI(self)

    @property
    def exec_output(self) -> ExecOutputAPI:
        """The output of its commands that was recorded."""
        return ExecOutputAPI(self.logs)

    @property
    def metadata(self) -> InstanceMetadata:
        """Its own copy of the metadata of its image; ``await instance.metadata.refresh()`` reads it."""
        return InstanceMetadata(self._scope, (*self._path, "metadata"), {}, loaded=False)

    @property
    def templates(self) -> TemplatesAPI:
        """Templates of files that the server writes in it."""
        return TemplatesAPI(self.metadata)

    @property
    def full(self) -> models.InstanceFull:
        """The same JSON as the API's InstanceFull.

        It has the state, the snapshots and the backups after ``list(recursion=2)`` or ``get(recursion=1)``.
        """
        return models.InstanceFull(self.raw)

    @property
    def state(self) -> models.InstanceState:
        """What it was doing and using when it was read with ``list(recursion=2)`` or ``get(recursion=1)``.

        Raises:
            IncusNotLoadedError: It was not read that deeply.
        """
        if self._json.get("state") is None and "state" not in self.raw:
            raise IncusNotLoadedError(
                f"the state of {self.name!r} was not read: use `await instance.get_state()` or list(recursion=2)"
            )
        state: models.InstanceState = _read_state(self)
        return state

    async def update(
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
        operation = await self._update_in_background(config, wait, etag)
        if wait:
            await self._read()
        return operation

    async def _update_in_background(self, change: Mapping[str, Any], wait: bool, etag: str | None) -> Operation:
        operation, _ = await self._update(change, wait, etag)
        return required(operation, "PUT", self._url())

    async def get_logs(self) -> dict[str, str]:
        """Read its log files.

        Returns:
            The text of each file by its name.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/logs``, and ``GET /1.0/instances/{name}/logs/{file}`` for each
        """
        logs: dict[str, str] = {}
        for name in await self.logs.list():
            with contextlib.suppress(IncusNotFoundError):  # deleted since it was listed
                logs[name] = await self.logs.get(name)
        return logs

    @known_options(InstanceCopy)
    async def copy(
        self,
        name: str | None = None,
        *,
        to: Scoped | None = None,
        instance_only: bool = False,
        refresh: bool = False,
        refresh_exclude_older: bool = False,
        **options: Unpack[InstanceCopy],
    ) -> Instance:
        """Copy the instance, with its snapshots, and return the copy, read.

            await client.instances["c1"].copy("c2")
            await client.instances["c1"].copy(to=other_client)

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
        return await _copy(self, name, to, instance_only, refresh, options, refresh_exclude_older)

    @known_options(MigrationOptions)
    async def move(
        self,
        name: str | None = None,
        *,
        to: Scoped | None = None,
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
        if stateless:
            if live or refresh:
                raise IncusInputError("stateless stops the instance: it does not go together with live or refresh")
            how: Json = {"pool": pool, "project": project, "target": target, "config": config, "devices": devices}
            how |= {"profiles": profiles, "instance_only": instance_only, "allow_inconsistent": allow_inconsistent}
            async with self._while_stopped(force=False):
                await self.move(name, to=to, **how, **options)
            return
        if to is not None:
            destination = scope_of(to)
            if not await same_server(self._scope, destination):
                if not live and (await self.refresh()).status != "Stopped":
                    raise IncusInputError(
                        f"{self.name} is {self.status}: stop it first, or move it with live=True or stateless=True"
                    )
                changes: Json = {"pool": pool, "config": config, "devices": devices, "profiles": profiles, "live": live}
                changes |= {"allow_inconsistent": allow_inconsistent, **options}
                copy = await self.copy(name, to=to, instance_only=instance_only, **changes)
                await self.delete(wait=True)
                self._path, self._scope = copy._path, copy._scope
                self._load(copy.raw, copy.etag)
                return
            project = project or other_project(self._scope, destination)
            target = target or destination.target
        changes = to_body({"config": config, "devices": devices})
        wanted: Json = {}
        if devices:
            current, _ = await self._read_with_etag()
            own, inherited = current.get("devices") or {}, current.get("expanded_devices") or {}
            if profiles is not None:
                there = self._scope.view(project=project)
                inherited = await profile_devices(there, wire.texts(profiles, "profiles"))
            changed = changed_devices(own, inherited, changes["devices"])
            for device in changed.values():
                if device.get("path") == "/":
                    pool = device["pool"] = pool or device.get("pool")
            wanted = {**changed, **dict.fromkeys(removed_devices(own, changes["devices"]))}
            changes["devices"] = changed
        if not (pool or project or target):
            raise IncusInputError(
                "move() needs a destination: to, pool, project or target; a name alone is for rename()"
            )
        scope = self._scope.view(project=project)
        path = (*self._path[:-1], self._path[-1] if name is None else name)
        wire.path(*path)
        if refresh:
            await self._scope.require("instance_refresh_migration", "moving in rounds")
        optional = {
            "name": name,
            "pool": pool,
            "project": project,
            "Config": {key: value or "" for key, value in (changes["config"] or {}).items()} or None,
            "Devices": changes["devices"],
            "Profiles": None if profiles is None else wire.texts(profiles, "profiles"),
        }
        body: Json = {"migration": True, "instance_only": instance_only, "live": live, "refresh": refresh}
        body |= {"allow_inconsistent": allow_inconsistent}
        body |= {key: value for key, value in optional.items() if value is not None}
        query = {"target": target} if target else None
        await self._perform("POST", body=body, query=query, progress=options.get("progress"))
        self._path, self._scope, self._etag = path, scope, None
        self._json |= {"name": path[-1], "project": scope.project or "default"}
        if wanted:
            # Servers take the root disk as it was, and what is only hidden is there still.
            own = (await self._read_with_etag())[0].get("devices") or {}
            change = {
                name: difference(own.get(name) or {}, device) if device else None for name, device in wanted.items()
            }
            if any(change[name] or device is None for name, device in wanted.items()):
                await self._update({"devices": change})
        await self._reread()

    async def get_access(self) -> list[models.AccessEntry]:
        """List who has access to the instance.

        API:
            ``GET /1.0/instances/{name}/access``
        """
        return [models.AccessEntry(entry) for entry in (await self._request("GET", "access")).objects]


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

    _resource, _path_part, _get_extension, _lists_any_project = Instance, "instances", "instance_get_full", True
    _options: ClassVar[Mapping[str, str]] = {"filter": "api_filtering", "all-projects": "instance_all_projects"}

    @overload
    async def create(
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
    async def create(
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
    async def create(
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
    async def create(
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
        handle = self._new(name)
        if not isinstance(source, Mapping | str) or not source:
            raise IncusInputError(
                f'source must be an image name or a mapping such as {{"type": "none"}}, not {source!r}'
            )
        body: Json = {"name": name or "", "type": instance_type, "ephemeral": ephemeral}
        names = None if profiles is None else wire.texts(profiles, "profiles")
        optional = {"config": config, "devices": devices, "profiles": names}
        body |= {key: value for key, value in optional.items() if value is not None}
        body |= ({"description": description} if description else {}) | ({"start": True} if start else {})
        body |= {} if flavor is None else {"instance_type": flavor}
        body = to_body(body)
        body["source"] = await _resolve_image(self._scope, source) if isinstance(source, str) else dict(source)
        if body["source"].get("type") in ("image", "none"):
            await self._complete_devices(body)
        creation = create_marked(
            handle, body, lambda body, find: self._operate("POST", body=body, wait=False, find=find)
        )
        if wait:
            return await handle._await_creation(creation, progress, log=start)
        operation = await creation
        operation._explain = handle._add_log if start else None
        return operation

    def _new(self, name: str | None) -> Instance:
        """The handle of an instance to be made; for None it has no name, until the server has picked one."""
        if name is not None:
            return self[name]
        return self._resource(self._scope, (*self._path, ""), {"project": self._scope.project or "default"}, False)

    async def _complete_devices(self, body: Json) -> None:
        """Give devices without a type what those of the new instance's profiles have."""
        devices = body.get("devices") or {}
        if all(device and device.get("type") for device in devices.values()):
            return
        from .images import ImagesAPI

        profiles, source, images = body.get("profiles"), body["source"], ImagesAPI(self._scope)
        if profiles is None and source["type"] == "image" and not source.get("server"):
            name = source.get("fingerprint")
            if alias := source.get("alias"):
                name = (await images.aliases.get(alias)).target
            profiles = (await images.get(name)).raw.get("profiles") if name else None
        inherited = await profile_devices(self._scope, ["default"] if profiles is None else profiles)
        body["devices"] = changed_devices({}, inherited, devices)

    async def update(
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
        return await self[name]._update_in_background(config, wait, etag)

    async def change_state(
        self,
        action: Action,
        force: bool = False,
        stateful: bool = False,
        timeout: int = 30,
        wait: bool = False,
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
        state = {"action": action, "force": force, "stateful": stateful, "timeout": wire.server_seconds(timeout)}
        return await self._operate("PUT", body={"state": state}, wait=wait)

    async def get_logs(self, name: str) -> dict[str, str]:
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
        return await self[name].get_logs()

    async def get_files(self, name: str, path: str) -> bytes:
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
        return await self[name].get_files(path)

    async def put_files(self, name: str, path: str, content: bytes) -> models.Envelope:
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
        return await self[name].put_files(path, content)


async def _copy(
    source: Resource,
    name: str | None,
    to: Scoped | None,
    instance_only: bool,
    refresh: bool,
    options: InstanceCopy,
    refresh_exclude_older: bool = False,
) -> Instance:
    if name is None and to is None:
        raise IncusInputError("give the copy a name, or say to which server")
    if refresh_exclude_older and not refresh:
        raise IncusInputError("refresh_exclude_older is for refresh=True: a new copy has no snapshots")
    group = InstancesAPI(source._scope if to is None else scope_of(to))
    target = group[source._path[1] if name is None else name]
    await copy_instance(source, target, instance_only, refresh, options, refresh_exclude_older)
    if options.get("start"):
        async with contextlib.nullcontext() if refresh else undoing(target._remove):
            await target.start(wait=True)
            await target.refresh()
    return target


async def _resolve_image(scope: Scope, name: str) -> models.InstanceSource:
    from .images import ImagesAPI

    return await ImagesAPI(scope).resolve(name)
