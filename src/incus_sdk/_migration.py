"""Migrations between servers: connects a sender and a receiver, each an operation with websockets.

In mode ``pull`` the receiver connects to the sender, in mode ``push`` the sender to the receiver. Where neither can
reach the other, there is ``relay``: this program connects to both and passes the messages on. The websockets of both
sides have the same names: ``control``, ``fs``, and so on.

Knows nothing of what moves: that is in the two requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, TypeVar, get_args

from ._background import Undo, begin, required
from ._concurrency import cancel_at_end, shielded
from ._connection import wire
from ._connection.scope import Scope
from ._connection.transport import WebSocket
from ._content import Meter
from .exceptions import IncusAPIError, IncusClosedError, IncusError, IncusInputError, IncusOperationError
from .models.base import Json
from .operations import OnProgress, Operation, Progress

T = TypeVar("T")
Mode = Literal["pull", "push", "relay"]

_UNREACHABLE = r"(?i)waiting for migration \S* ?connection"
"""The error of a side that could not connect to the other, or was not connected to."""
_TRANSFERS = ("fs", "block")
"""The stages in which servers count what a relay counts itself."""
_SAME_MOMENT = 10.0
"""Seconds within which both sides end when all goes well."""


class Side(NamedTuple):
    """The request that begins one half: a POST of ``body``, whose ``source`` or ``target`` is still incomplete."""

    scope: Scope
    path: str
    body: Json

    async def begin(self, **more: Any) -> Operation:
        """Begin this half.

        Args:
            **more: Fields to add to the body; a mapping is merged into the present one.
        """
        body = dict(self.body)
        for key, value in more.items():
            body[key] = {**body.get(key, {}), **value} if isinstance(value, Mapping) else value
        return required(await begin(self.scope, "POST", self.path, body=body), "POST", self.path)


async def same_server(one: Scope, other: Scope) -> bool:
    """Whether both are connected to the same server or cluster."""
    if one.transport is other.transport:
        return True
    # To a client that it does not trust, a server does not describe itself.
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
    """Migrate, and wait for the end; after a failure or a cancellation both sides are ended.

    ``addresses``: see `addresses_of`. What the receiver creates all the same is removed by ``undo``. Raises
    `IncusOperationError` with the error of the failing side, `IncusInputError` where the server has no address.
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
        # New operations for each address, as a side waits for the other no longer than half a minute.
        async with _Migration(sender, receiver, undo, progress) as migration:
            await migration.connect(mode, address, certificate)

    await in_turn(addresses, attempt, _UNREACHABLE)


async def in_turn(addresses: Sequence[str], attempt: Callable[[str], Awaitable[T]], unreachable: str) -> T:
    """Call ``attempt`` with one address after the other, as long as its error matches ``unreachable``."""
    for address in addresses:
        try:
            return await attempt(address)
        except (IncusAPIError, IncusOperationError) as error:
            if not re.search(unreachable, str(error)):
                raise
            if address == addresses[-1]:
                raise IncusOperationError(
                    f"{error}; none of {', '.join(addresses)} can be reached from there: give others as addresses=, or "
                    "use mode='relay', which needs none",
                    operation_id=getattr(error, "operation_id", ""),
                    response=error.response,
                ) from error
    raise AssertionError("unreachable")


class _Migration:
    """One attempt, as a context manager that ends both sides if it fails."""

    def __init__(self, sender: Side, receiver: Side, undo: Undo, progress: OnProgress | None) -> None:
        self.sender = sender
        self.receiver = receiver
        self.undo = undo
        self.progress = progress
        self.begun: list[tuple[Side, asyncio.Future[Operation]]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, IncusClosedError):
            await shielded(self._end())

    async def connect(self, mode: Mode, address: str, certificate: str) -> None:
        """Migrate by pull or push: one side waits, and the other connects to it."""
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
        """Migrate by connecting to both sides and passing the messages on."""
        sending, receiving = await self._send(), await self._receive("push")
        await self._wait(sending, receiving, relayed=_secrets(receiving))

    def _send(self, **more: Any) -> Awaitable[Operation]:
        return self._begin(self.sender, migration=True, **more)

    def _receive(self, mode: Mode, **offer: Any) -> Awaitable[Operation]:
        return self._begin(self.receiver, source={"type": "migration", "mode": mode, **offer})

    async def _begin(self, side: Side, **more: Any) -> Operation:
        # If this is cancelled, the operation may have begun: only the answer names it.
        operation = asyncio.ensure_future(side.begin(**more))
        self.begun.append((side, operation))
        return await asyncio.shield(operation)

    async def _wait(self, sending: Operation, receiving: Operation, relayed: Collection[str] = ()) -> None:
        """Wait until both have ended or one fails; meanwhile relay the websockets in ``relayed``, and report progress.

        The receiver's result counts. Before 6.0.5 a receiver that takes a volume for longer than half a minute cannot
        confirm it to the sender, which then fails, or waits for ever.
        """
        sent, received = (asyncio.ensure_future(_wait_for_error(operation)) for operation in (sending, receiving))
        passed = asyncio.Queue[Progress]()
        meter = Meter(passed.put_nowait if self.progress else None, "relay")
        helpers = [asyncio.ensure_future(_relay(name, sending, receiving, meter)) for name in relayed]
        if self.progress is not None:
            helpers.append(asyncio.ensure_future(_report(receiving, self.progress, _TRANSFERS if relayed else ())))
            helpers.append(asyncio.ensure_future(_report_passed(passed, self.progress)))
        outcome = asyncio.ensure_future(self._await_outcome(sending, sent, received))
        async with cancel_at_end([outcome, sent, received, *helpers]):
            pending: set[asyncio.Future[None]] = {outcome, *helpers}
            while not outcome.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()

    async def _await_outcome(
        self,
        sending: Operation,
        sent: asyncio.Future[IncusOperationError | None],
        received: asyncio.Future[IncusOperationError | None],
    ) -> None:
        """Wait for the errors of both sides, and raise the one that counts."""
        await asyncio.wait([sent, received], return_when=asyncio.FIRST_COMPLETED)
        error = sent.result() if sent.done() else None
        if error is None:
            error = await received
        elif not re.search(_UNREACHABLE, str(error)):
            done, _ = await asyncio.wait([received], timeout=_SAME_MOMENT)
            if done and received.result() is None:
                error = None
        if error is not None:
            raise error
        await asyncio.wait([sent], timeout=_SAME_MOMENT)
        if not sent.done():
            await sending._try_cancel()

    async def _end(self) -> None:
        """End both sides: a waiting one by taking the place of the other and leaving, else by cancelling."""
        operations: list[tuple[Side, Operation]] = []
        for side, begun in self.begun:
            with contextlib.suppress(IncusError):
                operations.append((side, operation := await begun))
                if not await _connect_and_leave(operation):
                    await operation._try_cancel()
        for side, operation in operations:
            with contextlib.suppress(IncusError):
                with contextlib.suppress(IncusOperationError):
                    await operation._wait_final()
                if side is self.receiver:
                    await self.undo(operation)


async def _wait_for_error(operation: Operation) -> IncusOperationError | None:
    try:
        await operation._wait_final()
    except IncusOperationError as error:
        return error
    return None


async def _connect_and_leave(operation: Operation) -> bool:
    """Connect to an operation in place of the other side, and close; returns whether it was waiting for that.

    On newer servers one that is cancelled instead counts as ended, but goes on waiting.
    """
    sockets: list[WebSocket] = []
    try:
        # The other side begins with this one: where that is connected already, leave it the rest.
        for name in sorted(_secrets(operation), key=lambda name: name != "control"):
            sockets.append(await operation.websocket(name))  # noqa: PERF401
    except IncusError:
        pass
    finally:
        await asyncio.gather(*(socket.close() for socket in sockets))
    return bool(sockets)


async def _relay(name: str, sending: Operation, receiving: Operation, meter: Meter) -> None:
    """Pass on the messages of one websocket in both directions; when one side closes, close the other."""

    async def pump(source: WebSocket, target: WebSocket, counts: bool) -> None:
        with contextlib.suppress(IncusError):
            while (message := await source.receive()) is not None:
                await target.send(message)
                if counts:
                    meter.add(len(message))
        await target.close()

    # A side that refuses or loses the connection says why in its operation.
    with contextlib.suppress(IncusError):
        async with contextlib.AsyncExitStack() as stack:
            ends: list[WebSocket] = []
            for operation in (sending, receiving):
                ends.append(await operation.websocket(name))
                stack.push_async_callback(ends[-1].close)
            near, far = ends
            await asyncio.gather(pump(near, far, name != "control"), pump(far, near, False))


async def _report(operation: Operation, progress: OnProgress, without: Collection[str]) -> None:
    operation = Operation(operation._scope, operation.raw)  # a copy, since the record read again may lack the secrets
    with contextlib.suppress(IncusError):  # `_wait_for_error` finds it, too
        async for update in operation.progress():
            if update.stage not in without:
                progress(update)


async def _report_passed(passed: asyncio.Queue[Progress], progress: OnProgress) -> None:
    """Call ``progress`` outside of the relay: there its error would close the websockets, and look like a server's."""
    while True:
        progress(await passed.get())


async def addresses_of(scope: Scope, mode: Mode, given: Sequence[str] | None) -> list[str]:
    """Addresses (``https://host:8443``) where another server may reach this one, to be tried in turn.

    ``given``: the caller's; None for the one that the client uses, and those that the server lists itself.
    """
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
