"""The life of an instance: starting, stopping, deleting, and what a failed or cancelled creation leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Literal, Self, get_args

from .. import models
from .._concurrency import attempts, shielded
from .._connection import wire
from ..exceptions import IncusAPIError, IncusError, IncusInputError, IncusNotFoundError, IncusOperationError
from ..operations import OnProgress, Operation
from .activity import OperationsAPI
from .base import Resource
from .logs import LogsAPI

Action = Literal["start", "stop", "restart", "freeze", "unfreeze"]
"""What can be done to the state of an instance."""

_DELETIONS = 7  # attempts to delete an instance that is still going down
_TAKEN = "Failed creating instance record"  # in the error of a creation whose name is taken
_LOG_TAIL = 4000  # characters of an instance's log that an error about its start carries


class LifecycleVerbs(models.Instance, Resource):
    """Verbs that bring an instance from one state to another."""

    async def delete(self, wait: bool = False, *, force: bool = False) -> Operation:
        """Delete it. ``DELETE /1.0/instances/{name}``."""
        if not force:
            return await self._operate("DELETE", wait=wait)
        await self._wait_until_idle()
        async for last in attempts(_DELETIONS, 0.1):
            stopped = None
            if (await self.refresh()).status != "Stopped":
                stopped = await self.stop(force=True, wait=True)
            try:
                return await self._operate("DELETE", wait=wait)
            except IncusNotFoundError:
                if stopped is None:
                    raise
                return stopped  # an ephemeral instance goes when it stops
            except IncusAPIError as error:
                # While a failed start is being undone, an instance is Stopped and running at once.
                if last or "running" not in str(error.response.get("error")):
                    raise
        raise AssertionError("unreachable")

    async def start(self, stateful: bool = False, wait: bool = False) -> Operation:
        """Start it. ``PUT /1.0/instances/{name}/state``."""
        return await self._change_state("start", wait, stateful=stateful)

    async def stop(
        self, force: bool = False, stateful: bool = False, timeout: int = 30, wait: bool = False
    ) -> Operation:
        """Stop it. ``PUT /1.0/instances/{name}/state``."""
        return await self._change_state("stop", wait, force=force, stateful=stateful, timeout=timeout)

    async def restart(self, force: bool = False, timeout: int = 30, wait: bool = False) -> Operation:
        """Restart it. ``PUT /1.0/instances/{name}/state``."""
        return await self._change_state("restart", wait, force=force, timeout=timeout)

    async def freeze(self, wait: bool = False) -> Operation:
        """Freeze its processes. ``PUT /1.0/instances/{name}/state``."""
        return await self._change_state("freeze", wait)

    async def unfreeze(self, wait: bool = False) -> Operation:
        """Thaw its processes. ``PUT /1.0/instances/{name}/state``."""
        return await self._change_state("unfreeze", wait)

    async def get_state(self) -> models.InstanceState:
        """What it is doing and using at this moment. ``GET /1.0/instances/{name}/state``."""
        return models.InstanceState((await self._request("GET", "state")).metadata)

    async def _change_state(self, action: Action, wait: bool, **options: bool | int) -> Operation:
        if action not in get_args(Action):
            raise IncusInputError(f"action must be one of {', '.join(get_args(Action))}, not {action!r}")
        try:
            return await self._operate("PUT", "state", body={"action": action, **options}, wait=wait)
        except IncusOperationError as error:
            if action in ("start", "restart"):
                raise await self._add_log(error) from None
            raise

    async def _create_or_remove(self, request: Coroutine[Any, Any, Operation], progress: OnProgress | None) -> Self:
        """Wait for the creation that ``request`` begins; if it fails or is cancelled, nothing remains of it."""
        creation = asyncio.ensure_future(request)
        try:
            operation = await asyncio.shield(creation)
            try:
                await (operation.wait() if progress is None else operation._wait_reporting(progress))
            except IncusOperationError as error:
                raise await self._add_log(error) from None
            return await self.refresh()
        except BaseException:
            await shielded(self._undo(creation))
            raise

    async def _undo(self, creation: asyncio.Future[Operation]) -> None:
        """Wait for a creation that nobody wants any longer, and delete what it made."""
        try:
            operation = await creation
            with contextlib.suppress(IncusError):
                await operation.wait()
            await self.refresh()
        except IncusError:
            return
        # What has the name may be another's: older than the operation, or what this one failed for.
        made, begun = self.created_at, operation.created_at
        if made and begun and made >= begun and _TAKEN not in operation.err:
            await self._remove()

    async def _wait_until_idle(self) -> None:
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

    async def _add_log(self, error: IncusOperationError) -> IncusOperationError:
        """The error of a failed start with the end of the instance's log, where there is one to read."""
        for name in ("lxc.log", "qemu.log"):
            with contextlib.suppress(IncusError):
                error.log = (await LogsAPI(self).get(name))[-_LOG_TAIL:]
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
