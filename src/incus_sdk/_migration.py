"""Migrations between servers: a sender and a receiver, each an operation with websockets, brought together.

By pull the receiver connects to the sender, by push the sender to the receiver, and where neither can reach the other
the client connects to both and hands on what comes: relay. The websockets of both sides have the same names:
``control``, ``fs``, and so on.

Knows nothing of what it is that moves: that is in the two requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar, get_args

from ._concurrency import shielded
from ._connection import wire
from ._connection.scope import Scope
from ._connection.transport import WebSocket
from .exceptions import IncusAPIError, IncusError, IncusInputError, IncusOperationError
from .models.base import Json
from .operations import OnProgress, Operation, operate

T = TypeVar("T")
Mode = Literal["pull", "push", "relay"]
Undo = Callable[[bool], Awaitable[Any]]
"""Removes what was made; called with False where the server may be doing that itself."""

_UNREACHABLE = re.compile(r"waiting for migration \S* ?connection", re.IGNORECASE)
"""What a side says of itself that has not met the other."""
_SAME_MOMENT = 10.0
"""Seconds within which both sides end where all went well."""


@dataclass(frozen=True)
class Side:
    """The request that begins one half: a POST of ``body``, which gets its ``source`` or ``target`` completed."""

    scope: Scope
    path: str
    body: Json

    async def begin(self, **more: Any) -> Operation:
        """The operation, begun. ``more``: fields of the body; a mapping is merged into what is there."""
        body = dict(self.body)
        for key, value in more.items():
            body[key] = {**body.get(key, {}), **value} if isinstance(value, Mapping) else value
        return await operate(self.scope, "POST", self.path, body=body, wait=False)


async def same_server(one: Scope, other: Scope) -> bool:
    """Whether both lead to the same server, or to the same cluster."""
    if one.transport is other.transport:
        return True
    # A server says nothing of itself to a client that it does not trust.
    ours, theirs = [(await scope.server()).get("environment") or {} for scope in (one, other)]
    key = "certificate_fingerprint"
    return bool(ours.get(key)) and ours.get(key) == theirs.get(key)


async def migrate(
    sender: Side,
    receiver: Side,
    undo: Undo,
    mode: Mode,
    addresses: Sequence[str] | None,
    progress: OnProgress | None,
) -> None:
    """Carry out a migration to its end; on any failure, and when cancelled, both sides are ended.

    ``addresses``: of the server that is connected to, as ``https://host:8443``, tried until one works; None: as the
    client reaches it, and as it says itself. What a server cannot be stopped from is waited for, and removed by
    ``undo``. Raises `IncusOperationError` with what the failing side says, `IncusInputError` where the server has no
    address.
    """
    if mode not in get_args(Mode):
        raise IncusInputError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
    if mode == "relay":
        async with _Migration(sender, receiver, undo, progress) as migration:
            await migration.relay()
        return
    listening = (sender if mode == "pull" else receiver).scope
    addresses = await addresses_of(listening, mode, addresses)
    certificate = (await listening.server())["environment"]["certificate"]

    async def attempt(address: str) -> None:
        # Both sides anew for each, as none waits for the other for longer than half a minute.
        async with _Migration(sender, receiver, undo, progress) as migration:
            await migration.connect(mode, address, certificate)

    await in_turn(addresses, attempt, _UNREACHABLE)


async def in_turn(addresses: Sequence[str], attempt: Callable[[str], Awaitable[T]], unreachable: re.Pattern[str]) -> T:
    """``attempt`` with one address after the other, as long as its error is one of those of ``unreachable``."""
    for address in addresses:
        try:
            return await attempt(address)
        except (IncusAPIError, IncusOperationError) as error:
            if not unreachable.search(str(error)):
                raise
            if address == addresses[-1]:
                raise IncusOperationError(
                    f"{error}; none of {', '.join(addresses)} can be reached from there: give others as addresses=, or "
                    "use mode='relay', which needs none",
                    operation_id=getattr(error, "operation_id", ""),
                    response=error.response,
                ) from error
    raise AssertionError("unreachable")


@dataclass
class _Migration:
    """One attempt. Where it fails, leaving it ends both sides."""

    sender: Side
    receiver: Side
    undo: Undo
    progress: OnProgress | None
    begun: list[tuple[Side, asyncio.Future[Operation]]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            await shielded(self._end())

    async def connect(self, mode: Mode, address: str, certificate: str) -> None:
        """By pull or push: one side waits, and the other connects to it."""
        waiting = await (self._send() if mode == "pull" else self._receive("push"))
        offer = {
            "operation": f"{address}{wire.path('operations', waiting.id)}",
            "secrets": _secrets(waiting),
            "certificate": certificate,
        }
        if mode == "pull":
            await self._wait(waiting, await self._receive("pull", **offer))
        else:
            await self._wait(await self._send(target=offer), waiting)

    async def relay(self) -> None:
        """Connect to both, and hand on what comes."""
        sending, receiving = await self._send(), await self._receive("push")
        await self._wait(sending, receiving, relayed=_secrets(receiving))

    def _send(self, **more: Any) -> Awaitable[Operation]:
        return self._begin(self.sender, migration=True, **more)

    def _receive(self, mode: Mode, **offer: Any) -> Awaitable[Operation]:
        return self._begin(self.receiver, source={"type": "migration", "mode": mode, **offer})

    async def _begin(self, side: Side, **more: Any) -> Operation:
        # Cancelled meanwhile, it may have begun: the answer names what is to be ended.
        operation = asyncio.ensure_future(side.begin(**more))
        self.begun.append((side, operation))
        return await asyncio.shield(operation)

    async def _wait(self, sending: Operation, receiving: Operation, relayed: Iterable[str] = ()) -> None:
        """Wait until both have ended, or one fails, while ``relayed`` is handed on and ``progress`` is told.

        It is the receiver that knows: before 6.0.5, one that took a volume for longer than half a minute can no longer
        tell the sender, which then fails, or waits for ever.
        """
        try:
            async with asyncio.TaskGroup() as group:
                helping = [group.create_task(_relay(name, sending, receiving)) for name in relayed]
                if self.progress is not None:
                    helping.append(group.create_task(_tell(receiving, self.progress)))
                sent, received = (group.create_task(_failure(operation)) for operation in (sending, receiving))
                await asyncio.wait([sent, received], return_when=asyncio.FIRST_COMPLETED)
                failure = sent.result() if sent.done() else None
                if failure is None:
                    failure = await received
                elif not _UNREACHABLE.search(str(failure)):
                    done, _ = await asyncio.wait([received], timeout=_SAME_MOMENT)
                    if done and received.result() is None:
                        failure = None
                if failure is not None:
                    raise failure
                await asyncio.wait([sent], timeout=_SAME_MOMENT)
                if not sent.done():
                    await sending._try_cancel()
                for task in (sent, *helping):
                    task.cancel()
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _end(self) -> None:
        """End both: as they lose each other, or by cancelling."""
        ending: list[tuple[Side, Operation]] = []
        for side, begun in self.begun:
            with contextlib.suppress(IncusError):
                ending.append((side, operation := await begun))
                if not await _left(operation):
                    await operation._try_cancel()
        for side, operation in ending:
            with contextlib.suppress(IncusError):
                with contextlib.suppress(IncusOperationError):
                    await operation._wait_final()
                if side is self.receiver:
                    await self.undo(operation.status == "Success")


async def _failure(operation: Operation) -> IncusOperationError | None:
    try:
        await operation._wait_final()
    except IncusOperationError as error:
        return error
    return None


async def _left(operation: Operation) -> bool:
    """Let one that waits for the other side see that come and go away; whether it did wait.

    Cancelled, newer servers say that it has ended while it goes on waiting.
    """
    sockets: list[WebSocket] = []
    try:
        # The other side takes this one first: where it has, it is there, and what it takes next stays its.
        for name in sorted(_secrets(operation), key=lambda name: name != "control"):
            sockets.append(await operation.websocket(name))  # noqa: PERF401
    except IncusError:
        pass
    finally:
        await asyncio.gather(*(socket.close() for socket in sockets))
    return bool(sockets)


async def _relay(name: str, *operations: Operation) -> None:
    """Hand on every message of one websocket in both directions; when one side closes, so does the other."""

    async def pump(source: WebSocket, target: WebSocket) -> None:
        with contextlib.suppress(IncusError):
            while (message := await source.receive()) is not None:
                await target.send(message)
        await target.close()

    # Where a side takes or keeps no connection, it is its operation that says why.
    with contextlib.suppress(IncusError):
        async with contextlib.AsyncExitStack() as stack:
            ends: list[WebSocket] = []
            for operation in operations:
                ends.append(await operation.websocket(name))
                stack.push_async_callback(ends[-1].close)
            await asyncio.gather(pump(*ends), pump(*reversed(ends)))


async def _tell(operation: Operation, progress: OnProgress) -> None:
    operation = Operation(operation._scope, operation.raw)  # read again, it may lack the secrets
    with contextlib.suppress(IncusError):  # it is `wait` that says how it ended
        async for update in operation.progress():
            progress(update)


async def addresses_of(scope: Scope, mode: Mode, given: Sequence[str] | None) -> list[str]:
    """Where another server may reach this one: as the caller says, or as the client does and as it says itself."""
    server, endpoint = await scope.server(), scope.transport.endpoint
    if given is None:
        own = [] if endpoint.socket is not None else [endpoint.url]
        given = [*own, *(f"https://{address}" for address in server["environment"].get("addresses") or ())]
    addresses = list(dict.fromkeys(wire.texts(given, "addresses")))
    if not addresses:
        raise IncusInputError(
            f"mode={mode!r} needs {endpoint} to listen on the network: set its core.https_address, or use mode='relay'"
        )
    return addresses


def _secrets(operation: Operation) -> dict[str, str]:
    return {name: secret for name, secret in operation.metadata.items() if isinstance(secret, str)}
