"""Operations: work that the server goes on with after its answer. Waiting, progress, cancelling."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from . import models
from ._concurrency import Attempts, shielded
from ._connection import wire
from ._connection.scope import Scope
from ._connection.transport import WebSocket
from .exceptions import (
    IncusAPIError,
    IncusClosedError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationConflictError,
    IncusOperationError,
    IncusOperationLostError,
    IncusTimeoutError,
)
from .models.base import Json

if TYPE_CHECKING:
    from .events import EventStream

_LOG = logging.getLogger("incus_sdk.operations")
_FINAL = 200  # status codes from here on are final: 200 success, 400 failure, 401 cancelled
_NOT_RUN = (126, 127)  # exit codes of a command for which the server fails the operation
_ATTEMPTS = 6  # to reach a server that was lost while waiting
_PAUSE = 0.5  # seconds before the next attempt; then more, but less than the server remembers an ended operation
_LONGEST_PAUSE = 3.0
_GRACE = 5.0  # seconds that a cancelled caller gives the server to take the cancellation
_POLL = 2.0  # seconds without an event after which progress() reads the operation
_WAIT_ERRORS = IncusAPIError, IncusConnectionError, IncusTimeoutError
_PERCENT = r"\b(\d{1,9})%"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_SIZE = rf"\b(\d{{1,18}}(?:\.\d+)?)({'|'.join(_UNITS)})(/s)?\b"


@dataclass(frozen=True)
class Progress:
    """How far an operation, an upload, a download or a copy is.

    Within one stage it never goes back: reports in which the server does are left out. What is not known is None.
    """

    text: str = ""
    """The server's own words, as ``Unpacking image: 64% (17.85MB/s)``; empty if it said nothing."""
    stage: str = ""
    """What is in progress: ``upload`` or ``download`` for what goes through this program, ``relay`` for what it passes
    on; else the server's word, as ``create_backup``, or ``fs`` of a migration."""
    percent: int | None = None
    """Of the stage; of the ``item``, where the server downloads several one after another."""
    processed: int | None = None
    """Bytes of the stage that are done."""
    total: int | None = None
    """Bytes of the stage in all."""
    speed: int | None = None
    """Bytes per second."""
    item: str = ""
    """The part that is under way: a file of a tree, as its path below it; a snapshot; ``rootfs`` of an image."""
    files: int | None = None
    """Files of a tree that are done, also those that were skipped."""
    total_files: int | None = None


_SHAPE: dict[str, type] = {
    "class": str,
    "description": str,
    "err": str,
    "metadata": dict,
    "resources": dict,
    "status": str,
    "status_code": int,
}


def _checked(json: Json) -> Json:
    """An operation as a server sent it; raises `IncusConnectionError` if it cannot be one."""
    wire.text(json, "id")
    odd = [key for key, kind in _SHAPE.items() if not isinstance(json.get(key), kind | None)]
    if odd or not all(isinstance(urls, list | None) for urls in (json.get("resources") or {}).values()):
        raise IncusConnectionError(f"the server sent an operation with an odd {odd[0] if odd else 'resources'}")
    return json


OnProgress = Callable[[Progress], None]
"""Called with the progress each time it changes."""


class Operation(models.Operation):
    """A background operation of the server: its record as last seen, with verbs to wait for it, watch it and cancel it.

    By key it reads like the answer that 1.0.0 returned, too: ``operation["metadata"]["id"]`` is ``operation.id``.

    Args:
        scope: The connection.
        json: The operation as the server sent it.
    """

    def __init__(self, scope: Scope, json: Json) -> None:
        super().__init__(json)
        self._scope = scope
        self._told = False  # the log, that it has ended
        self._asked: Any = None
        """The body of the request that began it, where it is JSON: an error names what it asked for."""
        self._explain: Callable[[IncusOperationError], Awaitable[IncusOperationError]] | None = None
        """Adds to the error of its failure what else is known of that."""

    def __getitem__(self, key: str) -> Any:
        """A field by its JSON key; ``["metadata"]`` falls back to the operation's own fields."""
        if key == "metadata" and isinstance(own := self.metadata, dict):
            return _MetadataWithFields(own, self._json)
        if key in ("type", "operation") and key not in self._json:
            return "async" if key == "type" else self._path()
        return super().__getitem__(key)

    def _field(self, name: str) -> Any:
        try:
            return super()._field(name)
        except AttributeError as error:
            raise AttributeError(f"{error}; create() and the like return the object itself with wait=True") from None

    def __eq__(self, other: object) -> bool:
        return models.Operation(self._json) == other

    def __reduce__(self) -> Any:
        # Pickled or copied, it is a plain record, without the connection.
        return models.Operation, (self.raw,)

    async def refresh(self) -> Self:
        """Read the operation again.

        Returns:
            This object, with the new record.

        Raises:
            IncusNotFoundError: The server has forgotten it.

        API:
            ``GET /1.0/operations/{id}``
        """
        self._json = _checked((await self._scope.request("GET", self._path())).object)
        return self

    async def wait(self, timeout: float | None = None, *, progress: OnProgress | None = None) -> Self:
        """Wait until the operation has ended.

        A broken connection is made again while that helps. If the caller is cancelled, so is the operation, where the
        server allows it.

        Args:
            timeout: Seconds; the operation goes on afterwards. None waits for as long as it takes.
            progress: Called with how far it is, each time that changes; if this raises, the operation is cancelled.

        Returns:
            This object, as the operation ended.

        Raises:
            IncusOperationError: It failed or was cancelled.
            IncusOperationLostError: The server forgot it, five seconds after its end or by a restart. Its outcome is
                unknown.
            IncusTimeoutError: The timeout has passed.

        API:
            ``GET /1.0/operations/{id}/wait``
        """
        wire.seconds(timeout, "timeout")
        try:
            async with asyncio.timeout(timeout):
                if progress is not None:
                    await self._report(progress)
                return await self._wait_final()
        except IncusTimeoutError:
            raise
        except TimeoutError:
            raise IncusTimeoutError(
                f"{self._describe()} has not ended after {timeout} s and goes on: wait() again, or cancel() it"
            ) from None
        except asyncio.CancelledError:
            await shielded(self._try_cancel())
            raise

    async def cancel(self) -> None:
        """Cancel the operation.

        Raises:
            IncusAPIError: The server cannot cancel it (400), see ``may_cancel``.
            IncusNotFoundError: The server has forgotten it.

        API:
            ``DELETE /1.0/operations/{id}``
        """
        await self._scope.request("DELETE", self._path())

    async def progress(self) -> AsyncIterator[Progress]:
        """Follow the progress of the operation until it has ended.

        Driven by events; where none come, the operation is read every two seconds. How it ended is for `wait` to say.
        What servers report out of order, as 5, 2, 4 and 7 percent, is left out.

        Yields:
            The progress, each time it changes.

        API:
            ``GET /1.0/events`` and ``GET /1.0/operations/{id}``
        """
        from .events import EventStream

        forward, current = _Forward(), False
        async with EventStream(self._scope, ["operation"]) as events:
            while True:
                if not current:
                    try:
                        await self.refresh()
                    except IncusNotFoundError:
                        return
                if (update := forward.step(_parse_progress(self.metadata))) is not None:
                    yield update
                if self.status_code >= _FINAL:
                    return
                current = await self._take_event(events)

    async def websocket(self, name: str, *, pong: bool = True) -> WebSocket:
        """Open one of the websockets that the operation waits for.

        Args:
            name: Its key in ``metadata["fds"]``, or in ``metadata`` itself.
            pong: Whether to answer the server's pings. Without it, nothing is sent to a connection that the server may
                be closing.

        Raises:
            IncusInputError: The operation has no such websocket.

        API:
            ``GET /1.0/operations/{id}/websocket``
        """
        fds = self.metadata.get("fds")
        secrets = {**self.metadata, **(fds if isinstance(fds, dict) else {})}
        if not isinstance(secrets.get(name), str):
            raise IncusInputError(f"{self._describe()} has no websocket {name!r}")
        return await self._scope.websocket(self._path("websocket"), {"secret": secrets[name]}, pong=pong)

    def _path(self, *more: str) -> str:
        return wire.path("operations", self.id, *more)

    def _describe(self) -> str:
        named = [wire.names(url)[-1] for urls in self.resources.values() for url in urls or ()]
        what = f"{self.description}: {', '.join(dict.fromkeys(named))}" if named else self.description
        return f"operation {self.id} ({what})"

    async def _try_cancel(self) -> None:
        """Cancel it where the server can, whatever ``may_cancel`` was: that changes as the operation goes on."""
        if self.status_code < _FINAL and self._scope.transport.is_open:
            with contextlib.suppress(IncusError, TimeoutError):
                async with asyncio.timeout(_GRACE):
                    await self.cancel()

    async def _report(self, progress: OnProgress) -> None:
        try:
            async for update in self.progress():
                progress(update)
        except asyncio.CancelledError:  # by the caller, or the end of its time: `wait` knows
            raise
        except BaseException:
            await shielded(self._try_cancel())
            raise

    async def _wait_final(self) -> Self:
        """`wait` without a limit; when cancelled, it leaves the operation alone."""
        # In rounds, since nothing else tells a silent server from a long operation.
        limit = self._scope.transport.timeout
        seconds = -1 if limit is None else math.ceil(limit)
        while self.status_code < _FINAL:
            try:
                wait = True if limit is None else seconds
                answer = await self._scope.request("GET", self._path("wait"), query={"timeout": seconds}, wait=wait)
                self._json = _checked(answer.object)
            except IncusClosedError:
                raise
            except _WAIT_ERRORS as error:
                await self._recheck(error)
                if self.status_code < _FINAL:
                    await self._scope.transport.pause(_PAUSE)
        if not self._told and _LOG.isEnabledFor(logging.INFO):
            self._told = True
            _LOG.info("%s: %s", self._describe(), self.status)
        if self.status_code != _FINAL:
            reason = str(self.err or self.status)
            kind = IncusOperationConflictError if wire.says_taken(reason) else IncusOperationError
            reason = f"{wire.plain(reason)}{wire.missing_facts(reason, self._asked)}"
            failure = kind(f"{self._describe()}: {reason}", operation_id=self.id, response=self.raw)
            raise failure if self._explain is None else await self._explain(failure)
        return self

    async def _wait_for_command(self) -> None:
        """`_wait_final` for a command: that it could not be run, or was not found, is an exit code like any other."""
        try:
            await self._wait_final()
        except IncusOperationError as error:
            if (error.response.get("metadata") or {}).get("return") not in _NOT_RUN:
                raise

    async def _recheck(self, error: Exception) -> None:
        """Read the operation after waiting for it failed; raises what keeps it from being read.

        Servers up to 6.0.4 answer the wait for a failed operation with an error, and a proxy may have cut the wait
        short: the operation itself knows more.
        """
        of = f"{self._describe()} cannot be read"
        pause = self._scope.transport.pause
        async for last in Attempts(_ATTEMPTS, _PAUSE, longest=_LONGEST_PAUSE, sleep=pause, of=of):
            try:
                await self.refresh()
            except IncusNotFoundError:
                raise IncusOperationLostError(
                    f"{self._describe()}: its outcome is unknown, since the server forgot it (five seconds after its "
                    "end, or by a restart): look at the object itself",
                    operation_id=self.id,
                    response=self.raw,
                ) from error
            except IncusClosedError:
                raise
            except _WAIT_ERRORS as again:
                if last or (isinstance(again, IncusAPIError) and again.status_code < 500):
                    raise
            else:
                return

    async def _take_event(self, events: EventStream) -> bool:
        """Take over the next event of this operation; False if none came, or some may be missing."""
        from .events import Gap, OperationEvent

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL):
                async for event in events:
                    if isinstance(event, Gap):
                        return False
                    if isinstance(event, OperationEvent) and event.metadata.id == self.id:
                        self._json = event.metadata.raw
                        return True
        return False


class _MetadataWithFields(dict[str, Any]):
    """An operation's metadata that also finds the operation's fields: in 1.0.0 ``["metadata"]`` was the operation."""

    def __init__(self, metadata: Json, fields: Json) -> None:
        super().__init__(metadata)
        self._metadata, self._fields = metadata, fields

    def __missing__(self, key: str) -> Any:
        if key not in self._fields and self._fields.get("status_code", 0) < _FINAL:
            raise KeyError(f"{key}: the operation is still under way; wait for it with wait=True, or operation.wait()")
        return self._fields[key]

    get = Mapping.get  # type: ignore[assignment]
    __contains__ = Mapping.__contains__

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self._metadata[key] = value

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


class _Forward:
    """Leaves out what a server reports out of order, and adds up the bytes of items that come one after another."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], Progress] = {}
        self._last = Progress()

    def step(self, update: Progress) -> Progress | None:
        """What to report of an update; None if it says nothing new."""
        last = self._seen.get((update.stage, update.item), Progress())
        if not update.text or (update.percent or 0, update.processed or 0) < (last.percent or 0, last.processed or 0):
            return None
        self._seen[update.stage, update.item] = update
        if update.processed is not None:
            done = (each.processed or 0 for (stage, _), each in self._seen.items() if stage == update.stage)
            update = replace(update, processed=sum(done))
        if update == self._last:
            return None
        self._last = update
        return update


def _parse_progress(metadata: Any) -> Progress:
    if not isinstance(metadata, Mapping):
        return Progress()
    key, parts = next((key for key in metadata if key.endswith("_progress")), ""), metadata.get("progress")
    if isinstance(parts, Mapping):
        stage = str(parts.get("stage", ""))
        text = str(metadata.get(f"{stage}_progress", metadata.get(key, "")))
        percent, processed, speed = (_parse_int(parts.get(name)) for name in ("percent", "processed", "speed"))
        return Progress(text, stage, percent, processed, speed=speed)
    # Downloads and migrations have nothing but the text.
    text = str(metadata.get(key, ""))
    found = re.search(_PERCENT, text)
    sizes = {per: int(float(number) * 1000 ** _UNITS.index(unit)) for number, unit, per in re.findall(_SIZE, text)}
    return Progress(
        text,
        key.removesuffix("_progress"),
        int(found[1]) if found else None,
        sizes.get(""),
        speed=sizes.get("/s"),
        item=text.rpartition(": ")[0],
    )


def _parse_int(value: Any) -> int | None:
    try:
        return int(value)
    except (OverflowError, TypeError, ValueError):
        return None
