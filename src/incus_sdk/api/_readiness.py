"""Readiness: waiting until an instance meets a condition, driven by events, with a poll where none come."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Self

from ..events import EventStream, LifecycleEvent
from ..exceptions import IncusAPIError, IncusError, IncusInputError, IncusTimeoutError
from ..models import InstanceState
from ._commands import CommandVerbs
from ._lifecycle import LifecycleVerbs

_POLL = 0.5  # seconds between two looks where no event comes: addresses and ports change without one
_STATUSES = ("running", "stopped", "frozen", "error")
_LISTENING = "0A"  # as /proc/net/tcp writes it


class ReadinessVerbs(LifecycleVerbs, CommandVerbs):
    """A verb that waits until an instance is ready."""

    async def wait_for(self, condition: str | int | Callable[[Self], object], *, timeout: float | None = None) -> Self:
        """Wait until the instance is ready in the sense of ``condition``, and return it, read.

        ``condition``: a status as ``"running"`` or ``"stopped"``; ``"agent"`` (of a virtual machine; a running
        container needs none); ``"ipv4"``, ``"ipv6"`` (a global address); ``"systemd"`` (booted, also if degraded);
        ``"cloud-init"`` (done); an int, a TCP port on which something listens inside; or a function of the instance,
        async or not, that returns true when it is.

        Raises `IncusTimeoutError` after ``timeout`` seconds, which names the condition and what was seen last.
        """
        look, seen = _look(condition), "nothing yet"
        try:
            async with asyncio.timeout(timeout), EventStream(self._scope, ["lifecycle"]) as events:
                while True:
                    try:
                        ready, seen = await look(self)
                    except IncusAPIError as error:  # not created yet, or just stopping
                        ready, seen = False, str(error)
                    if ready:
                        break
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_POLL):
                            await _next_event(events, self.name)
        except IncusTimeoutError:
            raise
        except TimeoutError:
            what = f"a listener on TCP port {condition}" if isinstance(condition, int) else repr(condition)
            raise IncusTimeoutError(
                f"{self.name!r} did not reach {what} within {timeout} s; seen last: {seen}"
            ) from None
        return await self.refresh()


_Look = Callable[[Any], Awaitable[tuple[bool, str]]]
"""Looks at the instance: whether the condition is met, and what was seen, in words."""


async def _next_event(events: EventStream, name: str) -> None:
    """Return at the next event about the instance, or after a gap in which one may have been."""
    async for event in events:
        if not isinstance(event, LifecycleEvent) or event.metadata.source.partition("?")[0].endswith(f"/{name}"):
            return


def _look(condition: str | int | Callable[[Any], object]) -> _Look:
    match condition:
        case bool():
            pass
        case int() if 0 < condition < 2**16:
            return lambda instance: _port(instance, condition)
        case str() if condition in _STATUSES:
            return lambda instance: _status(instance, condition)
        case str() if condition in _NAMED:
            return _NAMED[condition]
        case _ if callable(condition):
            return lambda instance: _call(instance, condition)
        case _:
            pass
    raise IncusInputError(
        f"no such condition: {condition!r}; there are {', '.join([*_STATUSES, *_NAMED])}, a TCP port and any function"
    )


async def _status(instance: ReadinessVerbs, status: str) -> tuple[bool, str]:
    seen = (await instance.get_state()).status
    return seen.lower() == status, f"status {seen}"


async def _agent(instance: ReadinessVerbs) -> tuple[bool, str]:
    state = await instance.get_state()
    # Without its agent, a virtual machine's processes cannot be counted.
    return state.status == "Running" and state.processes > 0, f"status {state.status}, {state.processes} processes"


async def _address(instance: ReadinessVerbs, family: str) -> tuple[bool, str]:
    state = await instance.get_state()
    addresses = _addresses(state)
    return any(kind == family for kind, _ in addresses), f"status {state.status}, addresses " + (
        ", ".join(address for _, address in addresses) or "none"
    )


def _addresses(state: InstanceState) -> list[tuple[str, str]]:
    """The global addresses: family and address."""
    return [
        (address.family, address.address)
        for network in state.network.values()
        for address in network.addresses
        if address.scope == "global"
    ]


async def _output(instance: ReadinessVerbs, *command: str) -> str:
    """What a command inside says first; or that it could not be asked."""
    if (state := await instance.get_state()).status != "Running":
        return f"status {state.status}"
    result = await instance.run(command)
    text = (result.stdout or result.stderr).decode(errors="replace").strip()
    return text.partition("\n")[0] or f"{command[0]}: exit code {result.returncode}"


async def _systemd(instance: ReadinessVerbs) -> tuple[bool, str]:
    seen = await _output(instance, "systemctl", "is-system-running")
    return seen in ("running", "degraded"), f"systemd: {seen}"


async def _cloud_init(instance: ReadinessVerbs) -> tuple[bool, str]:
    seen = await _output(instance, "cloud-init", "status")
    if seen == "status: error":
        raise IncusError(f"cloud-init of {instance.name!r} failed: see /var/log/cloud-init.log in it")
    return seen in ("status: done", "status: disabled"), f"cloud-init: {seen}"


async def _port(instance: ReadinessVerbs, port: int) -> tuple[bool, str]:
    if (state := await instance.get_state()).status != "Running":
        return False, f"status {state.status}"
    table = (await instance.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"])).stdout.decode(errors="replace")
    entries = [line.split() for line in table.splitlines()]
    open_ports = {int(entry[1].rpartition(":")[2], 16) for entry in entries if entry[3:4] == [_LISTENING]}
    return port in open_ports, f"listeners on {sorted(open_ports) or 'no port'}"


async def _call(instance: ReadinessVerbs, condition: Callable[[ReadinessVerbs], Any]) -> tuple[bool, str]:
    seen = condition(instance)
    if inspect.isawaitable(seen):
        seen = await seen
    return bool(seen), f"it returned {seen!r}"


_NAMED: dict[str, _Look] = {
    "agent": _agent,
    "ipv4": lambda instance: _address(instance, "inet"),
    "ipv6": lambda instance: _address(instance, "inet6"),
    "systemd": _systemd,
    "cloud-init": _cloud_init,
}
