"""Instances: containers and virtual machines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, Literal, Self, Unpack, overload
from urllib.parse import unquote

from .. import models
from .._concurrency import shielded
from .._connection import wire
from .._connection.scope import Scoped, scope_of
from .._content import Content
from .._migration import same_server
from ..exceptions import (
    IncusAPIError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusNotLoadedError,
    IncusOperationError,
    IncusTimeoutError,
    ProcessError,
)
from ..models.base import Json
from ..operations import OnProgress, Operation, operate, perform
from ..process import NOT_RUN, Console, Input, Process, ProcessResult, checked_command, checked_input, run
from ._copies import HowToMigrate, InstanceCopy, copy_instance, other_project
from ._file_verbs import HasFiles
from ._readiness import Condition, wait_for
from ._virtual_machine import MachineVerbs
from .activity import OperationsAPI
from .backups import InstanceBackupsAPI, made, overrides, restore
from .base import Deletable, Deletes, Editable, Edits, Renamable, Renames, Resource, Writable, Writes, to_body
from .images import ImagesAPI
from .logs import ExecOutputAPI, LogsAPI
from .metadata import InstanceMetadata, TemplatesAPI

_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # seconds between attempts to delete what is still going down
_TAKEN = "Failed creating instance record"  # of a creation whose name is taken
_LOG_TAIL = 4000  # characters of an instance's log that an error about its start carries


class Snapshot(models.InstanceSnapshot, Editable[models.InstanceSnapshotPut], Renamable, Deletable):
    """An instance as it was at one time."""

    async def restore(self, stateful: bool = False, *, disk_only: bool = False) -> None:
        """Bring the instance back to it. ``PUT /1.0/instances/{name}``.

        ``stateful``: with the running state. ``disk_only``: the disk, and not the configuration (extension
        ``instance_snapshot_disk_only_restore``).
        """
        body = {"restore": unquote(self._path[-1]), "stateful": stateful}
        if disk_only:
            await self._scope.require("instance_snapshot_disk_only_restore", "restoring the disk alone")
            body["disk_only"] = True
        await perform(self._scope, "PUT", wire.path(*self._path[:-2]), body=body)

    async def rename(self, new_name: str) -> None:
        """Give it another name; this handle goes with it. ``POST`` of its path."""
        await super().rename(new_name)
        self._path = (*self._path[:-1], _requoted(new_name))

    async def copy(self, name: str, *, to: Scoped | None = None, **options: Unpack[InstanceCopy]) -> Instance:
        """Make an instance of it: see `Instance.copy`. ``POST /1.0/instances``."""
        return await _copied(self, name, to, True, False, options)


class SnapshotsAPI(Edits[Snapshot, models.InstanceSnapshotPut], Renames[Snapshot], Deletes[Snapshot]):
    """``instance.snapshots``."""

    resource, segment, urls_quoted = Snapshot, "snapshots", False

    async def create(self, name: str, stateful: bool = False, expires_at: str | datetime | None = None) -> Snapshot:
        """Take a snapshot; returns it, read. ``POST /1.0/instances/{name}/snapshots``.

        ``stateful``: with the running state (needs CRIU, or a virtual machine that allows it). ``expires_at``: when the
        server deletes it; None never.
        """
        body = {"stateful": stateful} | ({} if expires_at is None else {"expires_at": expires_at})
        return await self._create(name, body)

    def _segments(self, key: str) -> tuple[str, ...]:
        return tuple(map(_requoted, super()._segments(key)))

    def _key(self, json: Json) -> str:
        return super()._key(json).rpartition("/")[2]  # some servers name it instance/snapshot


class Instance(models.Instance, Writable[models.InstancePut], Renamable, HasFiles, MachineVerbs):
    """An instance: the record, verbs, and what hangs below it.

    Each verb is that of `InstancesAPI` for this instance; see there for parameters and errors.
    """

    @property
    def snapshots(self) -> SnapshotsAPI:
        """Its snapshots. The list that came with ``recursion=2`` is ``full.snapshots``."""
        return SnapshotsAPI(self._scope, *self._path)

    @property
    def backups(self) -> InstanceBackupsAPI:
        """Its backups. The list that came with ``recursion=2`` is ``full.backups``."""
        return InstanceBackupsAPI(self._scope, *self._path)

    @property
    def logs(self) -> LogsAPI:
        """Its log files."""
        return LogsAPI(self._scope, *self._path)

    @property
    def exec_output(self) -> ExecOutputAPI:
        """What its commands wrote, where that was recorded."""
        return ExecOutputAPI(self._scope, *self._path)

    @property
    def metadata(self) -> InstanceMetadata:
        """What its image says of itself, as its own copy; ``await instance.metadata.refresh()`` reads it."""
        return InstanceMetadata(self._scope, (*self._path, "metadata"), {}, loaded=False)

    @property
    def templates(self) -> TemplatesAPI:
        """Templates of the files that the server writes in it."""
        return TemplatesAPI(self._scope, *self._path)

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

    async def delete(self, wait: bool = False, *, force: bool = False) -> Operation:
        """Delete it. ``DELETE /1.0/instances/{name}``."""
        if not force:
            return await operate(self._scope, "DELETE", wire.path(*self._path), wait=wait)
        await self._idle()
        for pause in (*_PAUSES, None):
            stopped = None
            if (await self.refresh()).status != "Stopped":
                stopped = await self.stop(force=True, wait=True)
            try:
                return await operate(self._scope, "DELETE", wire.path(*self._path), wait=wait)
            except IncusNotFoundError:
                if stopped is None:
                    raise
                return stopped  # an ephemeral one goes when it stops
            except IncusAPIError as error:
                # A start that failed is being undone for a while, in which an instance is Stopped and running at once.
                if pause is None or "running" not in str(error.response.get("error")):
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def start(self, stateful: bool = False, wait: bool = False) -> Operation:
        """Start it. ``PUT /1.0/instances/{name}/state``."""
        return await self._act("start", wait, stateful=stateful)

    async def stop(
        self, force: bool = False, stateful: bool = False, timeout: int = 30, wait: bool = False
    ) -> Operation:
        """Stop it. ``PUT /1.0/instances/{name}/state``."""
        return await self._act("stop", wait, force=force, stateful=stateful, timeout=timeout)

    async def restart(self, force: bool = False, timeout: int = 30, wait: bool = False) -> Operation:
        """Restart it. ``PUT /1.0/instances/{name}/state``."""
        return await self._act("restart", wait, force=force, timeout=timeout)

    async def freeze(self, wait: bool = False) -> Operation:
        """Freeze its processes. ``PUT /1.0/instances/{name}/state``."""
        return await self._act("freeze", wait)

    async def unfreeze(self, wait: bool = False) -> Operation:
        """Thaw its processes. ``PUT /1.0/instances/{name}/state``."""
        return await self._act("unfreeze", wait)

    async def execute(
        self,
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
        """Run a command in it. ``POST /1.0/instances/{name}/exec``."""
        if record_output and (interactive or wait_for_websocket):
            raise IncusInputError("record_output goes with neither interactive nor wait_for_websocket")
        if wait and wait_for_websocket:
            raise IncusInputError(
                "wait_for_websocket with wait would wait for websockets that nobody opens: "
                "leave wait out, and open them by `await operation.websocket(...)`"
            )
        optional = {"width": width, "height": height, "user": user, "group": group, "cwd": cwd}
        body = {
            "command": list(checked_command(command)),
            "environment": wire.config_strings(environment or {}, "environment"),
            "wait-for-websocket": wait_for_websocket,
            "record-output": record_output,
            "interactive": interactive,
            **{key: value for key, value in optional.items() if value is not None},
        }
        operation = await operate(self._scope, "POST", wire.path(*self._path, "exec"), body=body, wait=False)
        if not wait:
            return operation
        try:
            await operation.wait()
        except IncusOperationError as error:
            if (error.response.get("metadata") or {}).get("return") not in NOT_RUN:
                raise
        if record_output:
            await self._take_output(operation.metadata)
        return operation

    async def get_state(self) -> models.InstanceState:
        """What it is doing and using at this moment. ``GET /1.0/instances/{name}/state``."""
        return models.InstanceState((await self._request("GET", "state")).metadata)

    async def get_logs(self) -> dict[str, str]:
        """Its log files by name. ``GET /1.0/instances/{name}/logs`` and below."""
        logs: dict[str, str] = {}
        for name in await self.logs.list():
            with contextlib.suppress(IncusNotFoundError):  # rotated away since it was listed
                logs[name] = await self.logs.get(name)
        return logs

    @overload
    async def run(
        self,
        command: Sequence[str],
        *,
        input: Input = None,
        text: Literal[False] = False,
        encoding: str = "utf-8",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        timeout: float | None = None,
        grace: float = 5.0,
        check: bool = False,
        max_output: int | None = None,
    ) -> ProcessResult[bytes]: ...
    @overload
    async def run(
        self,
        command: Sequence[str],
        *,
        input: Input = None,
        text: Literal[True],
        encoding: str = "utf-8",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        timeout: float | None = None,
        grace: float = 5.0,
        check: bool = False,
        max_output: int | None = None,
    ) -> ProcessResult[str]: ...
    async def run(
        self,
        command: Sequence[str],
        *,
        input: Input = None,
        text: bool = False,
        encoding: str = "utf-8",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        timeout: float | None = None,
        grace: float = 5.0,
        check: bool = False,
        max_output: int | None = None,
    ) -> ProcessResult[bytes] | ProcessResult[str]:
        """Run a command to its end, and return its exit code and all it wrote.

        ``command``: program and arguments; no shell reads them. ``input``: bytes, str, a file or an async iterable of
        bytes; None ends stdin at once. ``text``: the output as str, decoded by ``encoding``, what is not of it as
        U+FFFD. ``env``: on top of the instance's own. ``user``, ``group``: ids, or names that the instance knows; a
        user's name brings its HOME, its group and, without ``group``, its supplementary groups. ``timeout``: seconds;
        then SIGTERM, and after ``grace`` more seconds SIGKILL. ``check``: raise for any exit code but 0.
        ``max_output``: bytes each of stdout and stderr may hold.

        Raises `IncusTimeoutError` and `ProcessError`, both with the output so far. If the caller is cancelled, the
        command is killed. Signals reach the command itself, not what it started.

        ``POST /1.0/instances/{name}/exec``.
        """
        checked_input(input)
        process = self.open_process(command, env=env, cwd=cwd, user=user, group=group)
        try:
            result = await run(process, input, timeout, max_output, encoding, grace)
            if not text:
                if check:
                    result.check_returncode()
                return result
            decoded = ProcessResult(
                result.args,
                result.returncode,
                result.stdout.decode(encoding, "replace"),
                result.stderr.decode(encoding, "replace"),
            )
            if check:
                decoded.check_returncode()
            return decoded
        except (IncusTimeoutError, ProcessError) as error:
            if text and isinstance(error.stdout, bytes):
                error.stdout, error.stderr = (out.decode(encoding, "replace") for out in (error.stdout, error.stderr))
            raise

    def open_process(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        pty: bool = False,
        width: int = 80,
        height: int = 24,
    ) -> Process:
        """A live command, opened by ``async with``: see `Process`. Parameters as of `run`.

        ``pty``: on a terminal of ``width`` columns and ``height`` rows, where stdout and stderr are one.
        ``POST /1.0/instances/{name}/exec``.
        """
        return Process(
            self._scope,
            self._path,
            command,
            env=env,
            cwd=cwd,
            user=user,
            group=group,
            pty=pty,
            width=width,
            height=height,
        )

    async def shell(
        self,
        command: Sequence[str] = ("sh", "-l"),
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
    ) -> int:
        """Hand the local terminal over to a command, until that ends; returns its exit code.

        The terminal is in raw mode meanwhile, follows the window's size, and is restored whatever happens. Raises
        `IncusInputError` where stdin or stdout is no terminal. ``POST /1.0/instances/{name}/exec``.
        """
        from .._terminal import interact, size

        width, height = size()
        options: dict[str, Any] = {"env": {"TERM": os.environ.get("TERM", "dumb"), **(env or {})}, "cwd": cwd}
        async with self.open_process(
            command, **options, user=user, group=group, pty=True, width=width, height=height
        ) as process:
            return await interact(process)

    def console(self, *, force: bool = False, width: int = 80, height: int = 24, type: str = "console") -> Console:
        """The instance's console, attached by ``async with``: ``stdin`` writes, ``stdout`` reads, leaving the block
        detaches.

        ``force``: take it over from whoever is attached; else that raises `IncusAPIError` or `IncusOperationError`. A
        VGA console speaks SPICE, for which this has no reader. ``POST /1.0/instances/{name}/console``.
        """
        if type != "console":
            raise IncusInputError(
                f"there is no {type!r} console to read and write; VGA, of virtual machines alone, is SPICE"
            )
        return Console(self._scope, self._path, width, height, force)

    async def get_console_log(self) -> bytes:
        """What was written to the console; empty if nothing was. ``GET /1.0/instances/{name}/console``."""
        # Without a log the answer is empty, not even an envelope.
        async with self._scope.download("GET", wire.path(*self._path, "console")) as stream:
            return await stream.read()

    async def clear_console_log(self) -> None:
        """Forget what was written to the console. ``DELETE /1.0/instances/{name}/console``."""
        await self._request("DELETE", "console")

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
        return await _copied(self, name, to, instance_only, refresh, options)

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
        **how: Unpack[HowToMigrate],
    ) -> None:
        """Move it to another storage pool, project, cluster member or server; this handle goes with it.

        ``name``: a new one; None keeps it. ``to``: the client of another server, to which it is copied (``how``: see
        `HowToMigrate`) and here deleted; or a view of this one. ``target``: the member, or ``@group``. ``config`` and
        ``devices`` are changed on the way, ``profiles`` replaced. ``instance_only``: its snapshots are not taken along,
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

    @asynccontextmanager
    async def port_forward(
        self, port: int, address: str = "127.0.0.1"
    ) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A TCP connection to a port inside, for the time of ``async with``; no network has to lead there.

        ``address``: as seen from inside. Extension ``instance_port_forward``.
        ``POST /1.0/instances/{name}/port-forward``, upgraded.
        """
        await self._scope.require("instance_port_forward", "a connection to a port inside")
        body = {"address": address, "port": port}
        async with self._upgraded("POST", "port-forward", protocol="tcp", body=body) as streams:
            yield streams

    async def wait_for(self, condition: Condition, *, timeout: float | None = None) -> Self:
        """Wait until the instance is ready in the sense of ``condition``, and return it, read.

        ``condition``: a status as ``"running"`` or ``"stopped"``; ``"agent"`` (of a virtual machine; a running
        container needs none); ``"ipv4"``, ``"ipv6"`` (a global address); ``"systemd"`` (booted, also if degraded);
        ``"cloud-init"`` (done); an int, a TCP port on which something listens inside; or a function of the instance,
        async or not, that returns true when it is.

        Raises `IncusTimeoutError` after ``timeout`` seconds, which names the condition and what was seen last.
        """
        await wait_for(self, condition, timeout)
        return await self.refresh()

    async def _act(self, action: str, wait: bool, **how: bool | int) -> Operation:
        body = {"action": action, **how}
        try:
            return await operate(self._scope, "PUT", wire.path(*self._path, "state"), body=body, wait=wait)
        except IncusOperationError as error:
            if action in ("start", "restart"):
                raise await self._with_log(error) from None
            raise

    async def _idle(self) -> None:
        """Wait until what is being done to it, as a start, is over: it cannot be stopped or deleted before."""
        for operation in await OperationsAPI(self._scope).list():
            instances = [wire.names(url) for url in operation.resources.get("instances") or ()]
            if operation.class_ == "task" and list(self._path) in instances:
                with contextlib.suppress(IncusError):
                    await operation.wait()

    async def _remove(self) -> None:
        """Stop and delete it; that it is gone already is fine."""
        with contextlib.suppress(IncusNotFoundError):
            await self.delete(wait=True, force=True)

    async def _with_log(self, error: IncusOperationError) -> IncusOperationError:
        """The error of a failed start with the end of the instance's log, where there is one to read."""
        for name in ("lxc.log", "qemu.log"):
            with contextlib.suppress(IncusError):
                error.log = (await self.logs.get(name))[-_LOG_TAIL:]
                # liblxc says the cause first and its consequences after it, QEMU the cause last. Of any other failure,
                # as of the start of a box that runs, the log says nothing.
                lines = error.log.strip().splitlines()
                causes = [line for line in lines if " ERROR " in line][:1] if name == "lxc.log" else lines[-1:]
                if not causes or "Failed to run" not in str(error):
                    return error
                return IncusOperationError(
                    f"{error}; its log says: {causes[0]}",
                    operation_id=error.operation_id,
                    response=error.response,
                    log=error.log,
                )
        return error

    async def _take_output(self, metadata: Json) -> None:
        """Put the recorded output into the operation's metadata, and delete it on the server."""
        urls, texts = metadata.get("output") or {}, {}
        for stream, name in (("1", "stdout"), ("2", "stderr")):
            texts[name] = ""
            if stream in urls:
                file = wire.names(urls[stream])[-1]
                texts[name] = await self.exec_output.get(file)
                await self.exec_output.delete(file)
        metadata["output"] = texts


class InstancesAPI(Writes[Instance, models.InstancePut], Renames[Instance]):
    """``client.instances``.

    Where a verb takes ``wait``: False returns the `Operation` as soon as it has begun, True when it has ended, and
    raises `IncusOperationError` if it failed. Nothing is cut off for taking long.

    `patch` is the server's own merge; that of 6.0.4 empties the description unless it is named.
    """

    resource, segment = Instance, "instances"
    options: ClassVar[Mapping[str, str]] = {"filter": "api_filtering", "all-projects": "instance_all_projects"}

    async def get(self, name: str, *, recursion: int = 0) -> Instance:
        """One instance, read. ``GET /1.0/instances/{name}``.

        ``recursion``: 1 fills state, snapshots and backups as well (extension ``instance_get_full``).
        Raises `IncusNotFoundError`.
        """
        if not recursion:
            return await super().get(name)
        handle = self[name]
        answer = await handle._request("GET", query={"recursion": recursion})
        handle._load(answer.metadata, answer.etag)
        return handle

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
            operation = await operate(
                self._scope, "POST", wire.path(*self._path), body=body, wait=wait, progress=progress
            )
        except IncusOperationError as error:
            if start:
                raise await handle._with_log(error) from None
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
        operation = await restore(self._scope, wire.path(*self._path), source, progress, **about)
        return await self.get(made(operation, "instances"))

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
        creation = asyncio.ensure_future(
            self.create(
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
        )
        try:
            operation = await asyncio.shield(creation)
            try:
                await (operation.wait() if progress is None else operation._wait_reporting(progress))
            except IncusOperationError as error:
                raise await handle._with_log(error) from None
            return await handle.refresh()
        except BaseException:
            await shielded(self._undo(creation, handle))
            raise

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

    async def _undo(self, creation: asyncio.Future[Operation], handle: Instance) -> None:
        """Wait for a creation that nobody wants any longer, and delete what it made."""
        try:
            operation = await creation
            with contextlib.suppress(IncusError):
                await operation.wait()
            await handle.refresh()
        except IncusError:
            return
        # What has the name may be another's: older than the operation, or what this one failed for.
        made, begun = handle.created_at, operation.created_at
        if made and begun and made >= begun and _TAKEN not in operation.err:
            await handle._remove()

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
        action: Literal["start", "stop", "restart", "freeze", "unfreeze"],
        force: bool = False,
        stateful: bool = False,
        timeout: int = 30,
        wait: bool = False,
    ) -> Operation:
        """Start, stop, restart, freeze or unfreeze all instances of the project that this means something for.

        Parameters as of `stop`. The `IncusOperationError` names those that it failed for. ``PUT /1.0/instances``.
        """
        state = {"action": action, "force": force, "stateful": stateful, "timeout": timeout}
        return await operate(self._scope, "PUT", wire.path(*self._path), body={"state": state}, wait=wait)

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


async def _copied(
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


def _requoted(name: str) -> str:
    """The name of a snapshot for its path: servers unquote it once more than any other, and a plus with it."""
    return name.replace("%", "%25").replace("+", "%2B")
