"""The life of an instance: starting, stopping, deleting, and cleaning up after a failed or cancelled creation."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Literal, Self, get_args, overload

from .. import models
from .._concurrency import Attempts, shielded
from .._connection import wire
from ..exceptions import (
    IncusAPIError,
    IncusClosedError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    IncusTimeoutError,
)
from ..operations import OnProgress, Operation
from ._bodies import created_name
from ._by_key import Keyed
from ._deletion import delete_or_miss
from .base import Writable
from .logs import LogsAPI

Action = Literal["start", "stop", "restart", "freeze", "unfreeze"]
"""What can be done to the state of an instance."""

NOT_RUNNING = ("Stopped", "Error")  # states in which servers refuse to stop an instance, and do delete it
_DELETE_ATTEMPTS = 7  # to delete an instance that is still going down, or whose migration is still being cancelled
_STILL_MIGRATED = 'busy running a "migrate" operation'
DONE_BY_OTHERS = r'already (running|stopped)|is not frozen|busy running a "(start|stop|restart)"'
"""In the error of a change of state: somebody else changes it in the same moment."""
_NAME_TAKEN = "Failed creating instance record"  # part of the error of a creation whose name is taken
_LOG_TAIL = 4000  # characters of an instance's log that the error of its start carries


class LifecycleVerbs(models.Instance, Writable[models.InstancePut]):
    """Verbs that bring an instance from one state to another."""

    @overload
    async def delete(
        self, wait: bool = False, *, force: bool = False, missing_ok: Literal[False] = False
    ) -> Operation: ...
    @overload
    async def delete(self, wait: bool = False, *, force: bool = False, missing_ok: bool) -> Operation | None: ...
    async def delete(self, wait: bool = False, *, force: bool = False, missing_ok: bool = False) -> Operation | None:
        """Delete the instance.

        Args:
            wait: Wait until it is deleted.
            force: Stop it first if it runs; this is always waited for.
            missing_ok: Accept that there is no such instance.

        Returns:
            The operation; with ``wait`` as it ended. It is that of stopping if this has deleted an ephemeral instance.
                None if there is no such instance.

        Raises:
            IncusNotFoundError: There is no such instance, and ``missing_ok`` is not set.
            IncusAPIError: It is running, and ``force`` is not set.
            IncusOperationError: It could not be stopped or, with ``wait``, not be deleted.

        API:
            ``DELETE /1.0/instances/{name}``; with ``force`` also ``PUT /1.0/instances/{name}/state``
        """
        deletion = self._stop_and_delete(wait) if force else self._delete(wait)
        return await delete_or_miss(deletion, missing_ok, self.exists)

    async def _delete(self, wait: bool) -> Operation:
        of = f"{self.name} is still being migrated"
        async for last in Attempts(_DELETE_ATTEMPTS, 0.1, sleep=self._scope.transport.pause, of=of):
            try:
                return await self._operate("DELETE", wait=wait)
            except IncusOperationError as error:
                # A migration that was cancelled counts as ended before the server lets go of the instance.
                if last or _STILL_MIGRATED not in str(error):
                    raise
        raise AssertionError("unreachable")

    async def _stop_and_delete(self, wait: bool) -> Operation:
        await self._wait_until_idle()
        of = f"{self.name} cannot be deleted yet"
        async for last in Attempts(_DELETE_ATTEMPTS, 0.1, sleep=self._scope.transport.pause, of=of):
            stopped = None
            try:
                if (await self.refresh()).status not in NOT_RUNNING:
                    stopped = await self.stop(force=True, wait=True)
                return await self._delete(wait)
            except IncusNotFoundError:
                if stopped is None:
                    raise
                return stopped  # an ephemeral instance is deleted when it stops
            except IncusAPIError as error:
                # While the server undoes a failed start, it shows the instance as stopped, and refuses to delete it as
                # running.
                if last or "running" not in str(error.response.get("error")):
                    raise
            except IncusOperationError as error:
                if last or not re.search(DONE_BY_OTHERS, str(error)):
                    raise
                await self._wait_until_idle()
        raise AssertionError("unreachable")

    async def start(self, stateful: bool = False, wait: bool = False, *, stateless: bool = False) -> Operation:
        """Start the instance.

        Like the ``incus`` command, it thaws one that is frozen, and resumes a running state that was saved.

        Args:
            stateful: Resume the running state that a stateful stop saved; it is an error if there is none.
            wait: Wait until it has started.
            stateless: Discard the running state that a stateful stop saved.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: Both ``stateful`` and ``stateless`` are set.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be started; ``log`` has the end of the instance's log.

        API:
            ``GET /1.0/instances/{name}`` and ``PUT /1.0/instances/{name}/state``
        """
        if stateful and stateless:
            raise IncusInputError("stateful and stateless exclude each other")
        now, _ = await self._read_with_etag()
        if now.get("status") == "Frozen":
            return await self._change_state("unfreeze", wait)
        # Without stateful, the server would delete what was saved.
        return await self._change_state(
            "start", wait, stateful=stateful or (bool(now.get("stateful")) and not stateless)
        )

    async def stop(
        self, force: bool = False, stateful: bool = False, timeout: int = 30, wait: bool = False
    ) -> Operation:
        """Stop the instance.

        Args:
            force: Stop at once, without asking the system inside.
            stateful: Save the running state for the next start; ``migration.stateful`` in its configuration allows it.
            timeout: Seconds a clean stop may take; then the operation fails and the instance keeps running. 0 is like
                ``force``; -1 leaves it to the server, which gives it ten minutes.
            wait: Wait until it has stopped.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: ``timeout`` is not a whole number, or below -1.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be stopped.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        return await self._change_state(
            "stop", wait, force=force, stateful=stateful, timeout=wire.server_seconds(timeout)
        )

    async def restart(self, force: bool = False, timeout: int = 30, wait: bool = False) -> Operation:
        """Restart the instance, which must be running.

        Args:
            force: Stop it at once, without asking the system inside.
            timeout: Seconds a clean stop may take; then the operation fails and the instance keeps running. 0 is like
                ``force``; -1 leaves it to the server, which gives it ten minutes.
            wait: Wait until it has started again.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: ``timeout`` is not a whole number, or below -1.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be restarted.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        return await self._change_state("restart", wait, force=force, timeout=wire.server_seconds(timeout))

    async def freeze(self, wait: bool = False) -> Operation:
        """Freeze all processes of the instance, until `unfreeze`.

        Args:
            wait: Wait until it is frozen.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be frozen.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        return await self._change_state("freeze", wait)

    async def unfreeze(self, wait: bool = False) -> Operation:
        """Resume the frozen processes of the instance.

        Args:
            wait: Wait until they are resumed.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be unfrozen; it was not frozen, for example.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        return await self._change_state("unfreeze", wait)

    async def get_state(self) -> models.InstanceState:
        """Read what the instance is doing and using at this moment.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/state``
        """
        return models.InstanceState((await self._request("GET", "state")).object)

    async def _change_state(self, action: Action, wait: bool, **options: bool | int) -> Operation:
        if action not in get_args(Action):
            raise IncusInputError(f"action must be one of {', '.join(get_args(Action))}, not {action!r}")
        starts = action in ("start", "restart")
        try:
            operation = await self._operate("PUT", "state", body={"action": action, **options}, wait=wait)
        except IncusOperationError as error:
            raise await self._add_log(error) if starts else error from None
        if starts and not wait:
            operation._explain = self._add_log
        return operation

    async def _await_creation(
        self,
        request: Coroutine[Any, Any, Operation],
        progress: OnProgress | None,
        *,
        log: bool = True,
        keep_failed: bool = True,
    ) -> Self:
        """Wait for the creation that ``request`` begins; if it is cancelled, nothing remains of it.

        Nor if it fails, unless ``keep_failed``. With ``log``, its error has the end of the instance's log.
        """
        creation = asyncio.ensure_future(request)
        try:
            operation = await asyncio.shield(creation)
            self._take_name(operation)
            try:
                await operation.wait(progress=progress)
            except IncusOperationError as error:
                raise await self._add_log(error) if log else error from None
            return await self.refresh()
        except BaseException as error:
            if not (keep_failed and isinstance(error, IncusError)):
                with contextlib.suppress(IncusError):  # which would hide why
                    await shielded(self._undo_creation(creation))
            raise

    def _take_name(self, operation: Operation) -> None:
        """Follow the name that the server picked, where the handle has none."""
        if not self._path[-1]:
            self._json["name"] = created_name(operation, "instances")
            self._path = (*self._path[:-1], self._json["name"])

    async def _undo_creation(self, creation: asyncio.Future[Operation]) -> None:
        """Wait for a creation that is no longer wanted, and delete what it made."""
        try:
            operation = await creation
            self._take_name(operation)
            await operation._try_cancel()
            with contextlib.suppress(IncusError):
                await operation.wait()
            await self.refresh()
        except IncusError:
            return
        # The name can belong to another instance: an older one, or one that made this creation fail by having the name.
        created, begun = self.created_at, operation.created_at
        if created and begun and created >= begun and _NAME_TAKEN not in operation.err:
            await self._remove()

    @contextlib.asynccontextmanager
    async def _while_stopped(self, *, force: bool) -> AsyncGenerator[None]:
        """Stop the instance for the time of the block, if it runs; it is started again however the block ends."""
        await self.refresh()
        if self.status in NOT_RUNNING:
            yield
            return
        ephemeral = self.ephemeral
        try:
            if ephemeral:  # else it would be deleted when it stops
                await self._update({"ephemeral": False})
            await self.stop(force=force, wait=True)
            yield
        except BaseException:
            with contextlib.suppress(IncusError):  # which would hide why
                await shielded(self._start_again(ephemeral))
            raise
        await shielded(self._start_again(ephemeral))

    async def _start_again(self, ephemeral: bool) -> None:
        await self._wait_until_idle()
        try:
            if (await self.refresh()).status in NOT_RUNNING:
                await self.start(wait=True)
        finally:
            if ephemeral:
                await self._update({"ephemeral": True})
            await self.refresh()

    async def _wait_until_idle(self) -> None:
        """Wait for the operations on it, such as a start: before they end, it can be neither stopped nor deleted.

        Not for its commands, which end when it stops.
        """
        from .activity import OperationsAPI

        for operation in await OperationsAPI(self._scope).list():
            instances = [wire.names(url) for url in operation.resources.get("instances") or ()]
            # Its metadata is null, and its class that of any other operation.
            is_command = operation.description == "Executing command"
            if operation.class_ == "task" and not is_command and list(self._path) in instances:
                with contextlib.suppress(IncusError):
                    # Not `wait`: if the caller is cancelled, that would cancel what others have begun.
                    await operation._wait_final()

    async def _creations(self) -> list[Operation]:
        """The operations that are making it, or have just done so."""
        from .activity import OperationsAPI

        return [
            operation
            for operation in await OperationsAPI(self._scope).list()
            if operation.description == "Creating instance"
            and list(self._path) in [wire.names(url) for url in operation.resources.get("instances") or ()]
        ]

    async def _remove(self) -> None:
        """Stop and delete it, if it still exists; where no answer comes, once more over another connection."""
        async for last in Attempts(2, 0.1, sleep=self._scope.transport.pause):
            try:
                await self.delete(wait=True, force=True, missing_ok=True)
                return
            except IncusClosedError:
                raise
            except (IncusConnectionError, IncusTimeoutError):
                if last:
                    raise

    async def _add_log(self, error: IncusOperationError) -> IncusOperationError:
        """The error of a failed start with the end of the instance's log, where there is one."""
        for name in ("lxc.log", "qemu.log"):
            with contextlib.suppress(IncusError):
                error.log = (await LogsAPI(self).get(name))[-_LOG_TAIL:]
                # liblxc logs the cause first and its consequences after it, QEMU logs the cause last. The log does not
                # explain other failures, such as the start of an instance that is running.
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


class StartsAndStops:
    """`LifecycleVerbs` by name."""

    @overload
    async def delete(
        self: Keyed[LifecycleVerbs],
        name: str,
        wait: bool = False,
        *,
        force: bool = False,
        missing_ok: Literal[False] = False,
    ) -> Operation: ...
    @overload
    async def delete(
        self: Keyed[LifecycleVerbs], name: str, wait: bool = False, *, force: bool = False, missing_ok: bool
    ) -> Operation | None: ...
    async def delete(
        self: Keyed[LifecycleVerbs], name: str, wait: bool = False, *, force: bool = False, missing_ok: bool = False
    ) -> Operation | None:
        """Delete an instance.

        Args:
            name: The instance.
            wait: Wait until it is deleted.
            force: Stop it first if it runs; this is always waited for.
            missing_ok: Accept that there is no such instance.

        Returns:
            The operation; with ``wait`` as it ended. It is that of stopping if this has deleted an ephemeral instance.
                None if there is no such instance.

        Raises:
            IncusNotFoundError: There is no such instance, and ``missing_ok`` is not set.
            IncusAPIError: It is running, and ``force`` is not set.
            IncusOperationError: It could not be stopped or, with ``wait``, not be deleted.

        API:
            ``DELETE /1.0/instances/{name}``; with ``force`` also ``PUT /1.0/instances/{name}/state``
        """
        return await self[name].delete(wait, force=force, missing_ok=missing_ok)

    async def _state_action(
        self: Keyed[LifecycleVerbs],
        name: str,
        action: Action,
        force: bool = False,
        stateful: bool = False,
        timeout: int = 30,
        wait: bool = False,
    ) -> Operation:
        """Change the state of an instance by any action; documented under this name, though private."""
        return await self[name]._change_state(
            action, wait, force=force, stateful=stateful, timeout=wire.server_seconds(timeout)
        )

    async def start(
        self: Keyed[LifecycleVerbs],
        name: str,
        stateful: bool = False,
        wait: bool = False,
        *,
        stateless: bool = False,
    ) -> Operation:
        """Start an instance.

        Like the ``incus`` command, it thaws one that is frozen, and resumes a running state that was saved.

        Args:
            name: The instance.
            stateful: Resume the running state that a stateful stop saved; it is an error if there is none.
            wait: Wait until it has started.
            stateless: Discard the running state that a stateful stop saved.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: Both ``stateful`` and ``stateless`` are set.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be started; ``log`` has the end of the instance's log.

        API:
            ``GET /1.0/instances/{name}`` and ``PUT /1.0/instances/{name}/state``
        """
        return await self[name].start(stateful, wait, stateless=stateless)

    async def stop(
        self: Keyed[LifecycleVerbs],
        name: str,
        force: bool = False,
        stateful: bool = False,
        timeout: int = 30,
        wait: bool = False,
    ) -> Operation:
        """Stop an instance.

        Args:
            name: The instance.
            force: Stop at once, without asking the system inside.
            stateful: Save the running state for the next start; ``migration.stateful`` in its configuration allows it.
            timeout: Seconds a clean stop may take; then the operation fails and the instance keeps running. 0 is like
                ``force``; -1 leaves it to the server, which gives it ten minutes.
            wait: Wait until it has stopped.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: ``timeout`` is not a whole number, or below -1.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be stopped.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        return await self[name].stop(force, stateful, timeout, wait)

    async def restart(
        self: Keyed[LifecycleVerbs], name: str, force: bool = False, timeout: int = 30, wait: bool = False
    ) -> Operation:
        """Restart an instance, which must be running.

        Args:
            name: The instance.
            force: Stop it at once, without asking the system inside.
            timeout: Seconds a clean stop may take; then the operation fails and the instance keeps running. 0 is like
                ``force``; -1 leaves it to the server, which gives it ten minutes.
            wait: Wait until it has started again.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: ``timeout`` is not a whole number, or below -1.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be restarted.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        return await self[name].restart(force, timeout, wait)

    async def freeze(self: Keyed[LifecycleVerbs], name: str, wait: bool = False) -> Operation:
        """Freeze all processes of an instance, until `unfreeze`.

        Args:
            name: The instance.
            wait: Wait until it is frozen.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be frozen.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        return await self[name].freeze(wait)

    async def unfreeze(self: Keyed[LifecycleVerbs], name: str, wait: bool = False) -> Operation:
        """Resume the frozen processes of an instance.

        Args:
            name: The instance.
            wait: Wait until they are resumed.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be unfrozen; it was not frozen, for example.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        return await self[name].unfreeze(wait)

    async def get_state(self: Keyed[LifecycleVerbs], name: str) -> models.InstanceState:
        """Read what an instance is doing and using at this moment.

        Args:
            name: The instance.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/state``
        """
        return await self[name].get_state()
