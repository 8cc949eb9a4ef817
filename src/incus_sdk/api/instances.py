"""Instances: containers and virtual machines."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, Literal, Unpack, overload

from .. import models
from .._concurrency import shielded
from .._connection import wire
from .._connection.scope import Scoped, scope_of
from .._content import Content
from .._migration import same_server
from ..exceptions import (
    IncusInputError,
    IncusNotFoundError,
    IncusNotLoadedError,
    IncusOperationError,
)
from ..models.base import Json
from ..operations import OnProgress, Operation
from ._bodies import created_name, overrides, to_body
from ._copies import InstanceCopy as InstanceCopy
from ._copies import MigrationOptions as MigrationOptions
from ._copies import copy_instance, other_project
from ._file_verbs import FileVerbs
from ._lifecycle import Action as Action
from ._readiness import ReadinessVerbs
from ._restore import restore
from ._virtual_machine import VirtualMachineVerbs
from .backups import InstanceBackupsAPI
from .base import (
    Collection,
    Deletable,
    Deletes,
    Editable,
    Edits,
    Nested,
    Patchable,
    Patches,
    Renamable,
    Renames,
    Replaces,
    Resource,
    Writable,
)
from .images import ImagesAPI
from .logs import ExecOutputAPI, LogsAPI
from .metadata import InstanceMetadata, TemplatesAPI


class Snapshot(models.InstanceSnapshot, Editable[models.InstanceSnapshotPut], Renamable, Deletable):
    """An instance as it was at one time."""

    async def restore(self, stateful: bool = False, *, disk_only: bool = False) -> None:
        """Bring the instance back to it. ``PUT /1.0/instances/{name}``.

        ``stateful``: with the running state. ``disk_only``: the disk, and not the configuration (extension
        ``instance_snapshot_disk_only_restore``).
        """
        body = {"restore": self.name, "stateful": stateful}
        if disk_only:
            await self._scope.require("instance_snapshot_disk_only_restore", "restoring the disk alone")
            body["disk_only"] = True
        await self._parent._perform("PUT", body=body)

    @classmethod
    def _segment(cls, name: str) -> str:
        # Servers unquote the name of a snapshot once more than any other, and a plus with it.
        return name.replace("%", "%25").replace("+", "%2B")

    async def copy(self, name: str, *, to: Scoped | None = None, **options: Unpack[InstanceCopy]) -> Instance:
        """Make an instance of it: see `Instance.copy`. ``POST /1.0/instances``."""
        return await _copy(self, name, to, True, False, options)


class SnapshotsAPI(Collection[Snapshot], Edits[models.InstanceSnapshotPut], Renames, Deletes):
    """``instance.snapshots``."""

    resource, segment, urls_quoted, named_with_parent = Snapshot, "snapshots", False, True

    async def create(self, name: str, stateful: bool = False, expires_at: str | datetime | None = None) -> Snapshot:
        """Take a snapshot; returns it, read. ``POST /1.0/instances/{name}/snapshots``.

        ``stateful``: with the running state (needs CRIU, or a virtual machine that allows it). ``expires_at``: when the
        server deletes it; None never.
        """
        body = {"stateful": stateful} | ({} if expires_at is None else {"expires_at": expires_at})
        return await self._create(name, body)


class Instance(
    ReadinessVerbs,
    FileVerbs,
    VirtualMachineVerbs,
    Writable[models.InstancePut],
    Patchable[models.InstancePut],
    Renamable,
):
    """An instance: the record, verbs, and what hangs below it.

    Each verb is that of `InstancesAPI` for this instance; see there for parameters and errors.
    """

    @property
    def snapshots(self) -> SnapshotsAPI:
        """Its snapshots. The list that came with ``recursion=2`` is ``full.snapshots``."""
        return SnapshotsAPI(self)

    @property
    def backups(self) -> InstanceBackupsAPI:
        """Its backups. The list that came with ``recursion=2`` is ``full.backups``."""
        return InstanceBackupsAPI(self)

    @property
    def logs(self) -> LogsAPI:
        """Its log files."""
        return LogsAPI(self)

    @property
    def exec_output(self) -> ExecOutputAPI:
        """What its commands wrote, where that was recorded."""
        return ExecOutputAPI(self.logs)

    @property
    def metadata(self) -> InstanceMetadata:
        """What its image says of itself, as its own copy; ``await instance.metadata.refresh()`` reads it."""
        return InstanceMetadata(self._scope, (*self._path, "metadata"), {}, loaded=False)

    @property
    def templates(self) -> TemplatesAPI:
        """Templates of the files that the server writes in it."""
        return TemplatesAPI(self.metadata)

    @property
    def full(self) -> models.InstanceFull:
        """The same JSON as the API's InstanceFull: with state, snapshots and backups where ``recursion=2`` filled
        them.
        """
        return models.InstanceFull(self.raw)

    @property
    def state(self) -> models.InstanceState:
        """What it is doing and using, as it came with ``recursion=2``; raises `IncusNotLoadedError` where it did
        not.
        """
        if "state" not in self.raw:
            raise IncusNotLoadedError(
                f"the state of {self.name!r} was not asked for: `await instance.get_state()`, or list(recursion=2)"
            )
        return self.full.state

    async def update(self, config: models.InstancePut | Mapping[str, Any], wait: bool = False) -> Operation:
        """Change some fields and keep all others, whoever else is writing. ``PUT /1.0/instances/{name}``."""
        operation = await self._update(config, wait)
        assert operation is not None  # an instance is always changed in the background
        return operation

    async def get_logs(self) -> dict[str, str]:
        """Its log files by name. ``GET /1.0/instances/{name}/logs`` and below."""
        logs: dict[str, str] = {}
        for name in await self.logs.list():
            with contextlib.suppress(IncusNotFoundError):  # rotated away since it was listed
                logs[name] = await self.logs.get(name)
        return logs

    async def copy(
        self,
        name: str | None = None,
        *,
        to: Scoped | None = None,
        instance_only: bool = False,
        refresh: bool = False,
        **options: Unpack[InstanceCopy],
    ) -> Instance:
        """Make a copy of it, with its snapshots; returns the copy, read.

            await client.instances["c1"].copy("c2")
            await client.instances["c1"].copy(to=other_client)

        ``to``: the client of another server, or the view of another project or member; there the copy may have the same
        name. ``instance_only``: without the snapshots. ``refresh``: bring a copy that is there up to date, which sends
        what has changed alone. ``options``: see `InstanceCopy`.

        Raises `IncusOperationError` if it fails. Failed or cancelled, it leaves nothing: what a server cannot be
        stopped from is waited for, and removed. ``POST /1.0/instances``, to another server ``POST
        /1.0/instances/{name}`` too.
        """
        return await _copy(self, name, to, instance_only, refresh, options)

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
        refresh: bool = False,
        allow_inconsistent: bool = False,
        **how: Unpack[MigrationOptions],
    ) -> None:
        """Move it to another storage pool, project, cluster member or server; this handle goes with it.

        ``name``: a new one; None keeps it. ``to``: the client of another server, to which it is copied (``how``: see
        `MigrationOptions`) and here deleted; or a view of this one. ``target``: the member, or ``@group``. ``config``,
        ``devices``: changed on the way, ``profiles`` replaced. ``instance_only``: its snapshots are not taken along,
        but lost. ``live``: it runs on meanwhile; ``refresh``: to another member, in rounds, and stopped for the last
        one only (extension ``instance_refresh_migration``); else it must be stopped. ``allow_inconsistent``: go on
        where files change while they are copied.

        ``POST /1.0/instances/{name}``.
        """
        if to is not None:
            place = scope_of(to)
            if not await same_server(self._scope, place):
                if not live and (await self.refresh()).status != "Stopped":
                    raise IncusInputError(f"{self.name} is {self.status}: stop it first, or move it with live=True")
                changed: Json = {"pool": pool, "config": config, "devices": devices, "profiles": profiles, "live": live}
                changed |= {"allow_inconsistent": allow_inconsistent, **how}
                moved = await self.copy(name, to=to, instance_only=instance_only, **changed)
                await self.delete(wait=True)
                self._path, self._scope = moved._path, moved._scope
                self._load(moved.raw, moved.etag)
                return
            project, target = project or other_project(self._scope, place), target or place.target
        if not (pool or project or target):
            raise IncusInputError("say where to: a server, a pool, a project or a target; a name alone is for rename()")
        scope = self._scope.view(project=project)
        path = (*self._path[:-1], self._path[-1] if name is None else name)
        wire.path(*path)
        if refresh:
            await self._scope.require("instance_refresh_migration", "moving in rounds")
        given = to_body({"config": config, "devices": devices})
        optional = {
            "name": name,
            "pool": pool,
            "project": project,
            "Config": given["config"],
            "Devices": given["devices"],
            "Profiles": None if profiles is None else wire.texts(profiles, "profiles"),
        }
        body: Json = {"migration": True, "instance_only": instance_only, "live": live, "refresh": refresh}
        body |= {"allow_inconsistent": allow_inconsistent}
        body |= {key: value for key, value in optional.items() if value is not None}
        await self._perform("POST", body=body, query={"target": target} if target else None)
        self._path, self._scope, self._etag = path, scope, None
        self._json |= {"name": path[-1], "project": scope.project or "default"}

    async def rebuild(self, source: models.InstanceSource | Mapping[str, Any] | str) -> None:
        """Replace the root disk of a stopped instance; its configuration stays. ``POST /1.0/instances/{name}/rebuild``.

        ``source``: the name of an image, as of `ImagesAPI.resolve`; or ``{"type": "image", "alias": "busybox"}``, or
        ``{"type": "none"}`` for an empty disk.
        """
        image = await ImagesAPI(self._scope).resolve(source) if isinstance(source, str) else to_body(source)
        await self._perform("POST", "rebuild", body={"source": image})

    async def get_access(self) -> list[models.AccessEntry]:
        """Who may use it. ``GET /1.0/instances/{name}/access``."""
        return [models.AccessEntry(entry) for entry in (await self._request("GET", "access")).metadata or ()]


class InstancesAPI(Nested[Instance], Replaces[models.InstancePut], Patches[models.InstancePut], Renames):
    """``client.instances``.

    Where a verb takes ``wait``: False returns the `Operation` as soon as it has begun, True when it has ended, and
    raises `IncusOperationError` if it failed. Nothing is cut off for taking long.

    `patch` is the server's own merge; that of 6.0.4 empties the description unless it is named.
    """

    resource, segment, get_extension = Instance, "instances", "instance_get_full"
    options: ClassVar[Mapping[str, str]] = {"filter": "api_filtering", "all-projects": "instance_all_projects"}

    @overload
    async def create(
        self,
        name: str,
        source: models.InstanceSource | Mapping[str, Any] | str,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        ephemeral: bool = False,
        instance_type: str = "container",
        wait: Literal[False] = False,
        *,
        description: str = "",
        start: bool = False,
        progress: OnProgress | None = None,
    ) -> Operation: ...
    @overload
    async def create(
        self,
        name: str,
        source: models.InstanceSource | Mapping[str, Any] | str,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        ephemeral: bool = False,
        instance_type: str = "container",
        *,
        wait: Literal[True],
        description: str = "",
        start: bool = False,
        progress: OnProgress | None = None,
    ) -> Instance: ...
    @overload
    async def create(
        self,
        name: str,
        source: models.InstanceSource | Mapping[str, Any] | str,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        ephemeral: bool = False,
        instance_type: str = "container",
        wait: bool = False,
        *,
        description: str = "",
        start: bool = False,
        progress: OnProgress | None = None,
    ) -> Instance | Operation: ...
    async def create(
        self,
        name: str,
        source: models.InstanceSource | Mapping[str, Any] | str,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        ephemeral: bool = False,
        instance_type: str = "container",
        wait: bool = False,
        *,
        description: str = "",
        start: bool = False,
        progress: OnProgress | None = None,
    ) -> Instance | Operation:
        """Create an instance; with ``wait`` returns it, read. ``POST /1.0/instances``.

        ``source``: the name of an image, as of `ImagesAPI.resolve`; or ``{"type": "image", "alias": "busybox"}``, or of
        type ``none``, ``copy``, ``migration``.
        ``profiles``: None for the server's default, an empty list for none. ``ephemeral``: deleted when it stops.
        ``instance_type``: ``container`` or ``virtual-machine``. ``start``: start it in the same operation.
        ``progress``: told of the server's downloading and unpacking, with ``wait``.

        Raises `IncusOperationError` with the real cause if it could not be created.
        """
        handle = self[name]
        if not isinstance(source, Mapping | str) or not source:
            raise IncusInputError(f'source must be a name or {{"type": "image", "alias": "x"}}, not {source!r}')
        body: Json = {"name": name, "type": instance_type, "ephemeral": ephemeral}
        names = None if profiles is None else wire.texts(profiles, "profiles")
        optional = {"config": config, "devices": devices, "profiles": names}
        body |= {key: value for key, value in optional.items() if value is not None}
        body |= ({"description": description} if description else {}) | ({"start": True} if start else {})
        body = to_body(body)
        body["source"] = await ImagesAPI(self._scope).resolve(source) if isinstance(source, str) else dict(source)
        try:
            operation = await self._operate("POST", body=body, wait=wait, progress=progress)
        except IncusOperationError as error:
            if start:
                raise await handle._add_log(error) from None
            raise
        return await handle.refresh() if wait else operation

    async def create_from_backup(
        self,
        source: Content | str,
        name: str | None = None,
        *,
        pool: str | None = None,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        progress: OnProgress | None = None,
    ) -> Instance:
        """Create an instance from the file of a backup, with its snapshots; returns it, read.

        ``source``: the path of the file, its bytes, or an async iterable of them; streamed. ``name``, ``pool``: None
        for those that it had. ``config``, ``devices``: on top of its own, each key for itself, a profile's device being
        named whole (extension ``backup_override_config``, which has no way to write a space). ``progress``: told how
        much was sent, in bytes, as stage ``upload``, and then what the server says.

        Raises `IncusAPIError` for what is no backup, `IncusOperationError` where there is such an instance already.
        ``POST /1.0/instances``.
        """
        if name is not None:
            wire.path(name)
        about = {"name": name, "pool": pool, **overrides(config, devices)}
        if config or devices:
            await self._scope.require("backup_override_config", "another configuration than that of the backup")
        operation = await restore(self, source=source, progress=progress, **about)
        return await self.get(created_name(operation, "instances"))

    async def launch(
        self,
        image: str,
        name: str | None = None,
        vm: bool = False,
        *,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        ephemeral: bool = False,
        description: str = "",
        progress: OnProgress | None = None,
    ) -> Instance:
        """Create an instance from an image and start it, in one operation, and return it, read.

        ``image``: an alias or a fingerprint of this server, or ``images:debian/13``: see `ImagesAPI.resolve`. ``name``:
        None makes one up. ``vm``: a virtual machine. ``progress``: told of the server's downloading and unpacking. The
        others as of `create`. When this fails or is cancelled at any point, nothing remains.

        ``POST /1.0/instances``.
        """
        handle = self[f"box-{secrets.token_hex(4)}" if name is None else name]
        source = await ImagesAPI(self._scope).resolve(image)
        creation = self.create(
            handle.name,
            source,
            config=config,
            devices=devices,
            profiles=profiles,
            ephemeral=ephemeral,
            instance_type="virtual-machine" if vm else "container",
            description=description,
            start=True,
        )
        return await handle._create_or_remove(creation, progress)

    @asynccontextmanager
    async def temporary(
        self,
        image: str,
        name: str | None = None,
        vm: bool = False,
        *,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        progress: OnProgress | None = None,
    ) -> AsyncGenerator[Instance]:
        """A running instance for the time of ``async with``, deleted at its end, however that comes. See `launch`.

        async with client.instances.temporary("busybox") as box:
            print((await box.run(["uname", "-a"], text=True)).stdout)
        """
        box = await self.launch(image, name, vm, config=config, devices=devices, profiles=profiles, progress=progress)
        try:
            yield box
        finally:
            await shielded(box._remove())

    async def update(self, name: str, config: models.InstancePut | Mapping[str, Any], wait: bool = False) -> Operation:
        """Change some fields and keep all others, whoever else is writing. ``PUT /1.0/instances/{name}``.

        ``config`` is a JSON merge patch of the instance: ``{"config": {"limits.cpu": 2}, "description": "web"}``; keys
        not named are kept, at every depth, a None removes its key. A key with a dot is one of the configuration:
        ``{"limits.cpu": 2}``. Repeated if somebody else was faster; raises `IncusPreconditionError` if that does not
        end.

        The server's ETag of an instance leaves out its description: of two writers at the very same moment, one of whom
        changes only that, the other may undo it.
        """
        return await self[name].update(config, wait)

    async def delete(self, name: str, wait: bool = False, *, force: bool = False) -> Operation:
        """Delete an instance. ``force``: stop it before, if it runs, which else raises `IncusAPIError` (400).

        ``DELETE /1.0/instances/{name}``.
        """
        return await self[name].delete(wait, force=force)

    async def change_state(
        self,
        action: Action,
        force: bool = False,
        stateful: bool = False,
        timeout: int = 30,
        wait: bool = False,
    ) -> Operation:
        """Start, stop, restart, freeze or unfreeze all instances of the project that this means something for.

        Parameters as of `stop`. The `IncusOperationError` names those that it failed for. ``PUT /1.0/instances``.
        """
        state = {"action": action, "force": force, "stateful": stateful, "timeout": timeout}
        return await self._operate("PUT", body={"state": state}, wait=wait)

    async def _state_action(
        self,
        name: str,
        action: Action,
        force: bool = False,
        stateful: bool = False,
        timeout: int = 30,
        wait: bool = False,
    ) -> Operation:
        """Any action on the state of an instance; documented under this name, though private."""
        return await self[name]._change_state(action, wait, force=force, stateful=stateful, timeout=timeout)

    async def start(self, name: str, stateful: bool = False, wait: bool = False) -> Operation:
        """Start an instance; ``stateful``: from its saved running state. ``PUT /1.0/instances/{name}/state``.

        With ``wait``, the `IncusOperationError` of a failed start carries the end of the instance's log.
        """
        return await self[name].start(stateful, wait)

    async def stop(
        self, name: str, force: bool = False, stateful: bool = False, timeout: int = 30, wait: bool = False
    ) -> Operation:
        """Stop an instance. ``PUT /1.0/instances/{name}/state``.

        ``force``: at once, without asking the system inside. ``stateful``: saving its running state. ``timeout``:
        seconds that a clean stop may take; then the operation fails and the instance runs on.
        """
        return await self[name].stop(force, stateful, timeout, wait)

    async def restart(self, name: str, force: bool = False, timeout: int = 30, wait: bool = False) -> Operation:
        """Restart an instance; parameters as of `stop`. ``PUT /1.0/instances/{name}/state``."""
        return await self[name].restart(force, timeout, wait)

    async def freeze(self, name: str, wait: bool = False) -> Operation:
        """Freeze the processes of an instance. ``PUT /1.0/instances/{name}/state``."""
        return await self[name].freeze(wait)

    async def unfreeze(self, name: str, wait: bool = False) -> Operation:
        """Thaw the processes of an instance. ``PUT /1.0/instances/{name}/state``."""
        return await self[name].unfreeze(wait)

    async def execute(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        wait_for_websocket: bool = False,
        record_output: bool = False,
        interactive: bool = False,
        width: int | None = None,
        height: int | None = None,
        user: int | None = None,
        group: int | None = None,
        cwd: str | None = None,
        wait: bool = False,
    ) -> Operation:
        """Run a command in an instance. ``POST /1.0/instances/{name}/exec``.

        ``command``: program and arguments; no shell reads them. ``record_output`` with ``wait``: the operation's
        ``["metadata"]["output"]["stdout"]`` and ``["stderr"]`` are what it wrote, as text; without ``wait`` they stay
        log files on the server. ``["metadata"]["return"]`` is its exit code, 126 and 127 included: an exit code never
        raises. ``wait_for_websocket``: the command starts once `Operation.websocket` has opened those of
        ``["metadata"]["fds"]``. ``interactive``: on a terminal of ``width`` columns and ``height`` rows. ``user``,
        ``group``: numeric ids, 0 is root.
        """
        return await self[name].execute(
            command,
            environment,
            wait_for_websocket,
            record_output,
            interactive,
            width,
            height,
            user,
            group,
            cwd,
            wait,
        )

    async def get_state(self, name: str) -> models.InstanceState:
        """What an instance is doing and using at this moment. ``GET /1.0/instances/{name}/state``."""
        return await self[name].get_state()

    async def get_logs(self, name: str) -> dict[str, str]:
        """The log files of an instance: name to text. ``GET /1.0/instances/{name}/logs`` and below."""
        return await self[name].get_logs()

    async def get_files(self, name: str, path: str) -> bytes:
        """The content of a file, links followed, or of a directory a tar that holds it under its own name.

        Raises `IncusNotFoundError`. ``GET /1.0/instances/{name}/files``, and ``.../sftp`` for a tar.
        """
        return await self[name].get_files(path)

    async def put_files(self, name: str, path: str, content: bytes) -> models.Envelope:
        """Write a file, replacing one that exists and keeping its mode and owner; a new one is root's, 0644.

        The directory must exist. ``POST /1.0/instances/{name}/files``.
        """
        return await self[name].put_files(path, content)


async def _copy(
    source: Resource,
    name: str | None,
    to: Scoped | None,
    instance_only: bool,
    refresh: bool,
    options: InstanceCopy,
) -> Instance:
    if name is None and to is None:
        raise IncusInputError("give the copy a name, or say to which server")
    group = InstancesAPI(source._scope if to is None else scope_of(to))
    target = group[source._path[1] if name is None else name]
    await copy_instance(source, target, instance_only, refresh, options)
    return target
