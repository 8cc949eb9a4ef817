"""Waiting until an instance is ready: driven by events, with a poll where none come."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Self

from ..exceptions import IncusAPIError, IncusError, IncusInputError, IncusTimeoutError
from ._commands import CommandVerbs
from ._lifecycle import LifecycleVerbs

if TYPE_CHECKING:
    from ..events import EventStream
    from ..models import InstanceState

_POLL = 0.5  # seconds until the next check where no event comes: addresses and ports change without one
_STATUSES = ("running", "stopped", "frozen", "error")
_LISTENING = "0A"  # as /proc/net/tcp writes it


class ReadinessVerbs(LifecycleVerbs, CommandVerbs):
    """A verb that waits until an instance is ready."""

    async def wait_for(self, condition: str | int | Callable[[Self], object], *, timeout: float | None = None) -> Self:
        """Wait until the instance, which need not exist yet, meets a condition; return it, read.

        Args:
            condition: The status ``"running"``, ``"stopped"``, ``"frozen"`` or ``"error"``; ``"agent"``, that of a
                virtual machine, which a running container does not need; ``"ipv4"`` or ``"ipv6"``, a global address;
                ``"systemd"``, a booted system, even a degraded one; ``"cloud-init"``, its end; an int, a TCP port on
                which something listens inside; or a function of the instance, async or not, that returns true when
                the instance is ready.
            timeout: Seconds to wait at most; None for no limit.

        Raises:
            IncusInputError: There is no such condition.
            IncusTimeoutError: It is not ready after ``timeout`` seconds; the message says what was seen last.
            IncusError: cloud-init failed.

        API:
            ``GET /1.0/events`` and, as the condition needs, ``GET /1.0/instances/{name}/state`` or
            ``POST /1.0/instances/{name}/exec``
        """
        from ..events import EventStream

        check, seen = _check_for(condition), "nothing yet"
        try:
            async with asyncio.timeout(timeout), EventStream(self._scope, ["lifecycle"]) as events:
                while True:
                    try:
                        ready, seen = await check(self)
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


_Check = Callable[[Any], Awaitable[tuple[bool, str]]]
"""Whether an instance meets a condition, and what was seen, in words."""


async def _next_event(events: EventStream, name: str) -> None:
    """Wait for an event about the instance, or for a gap in which one can have been lost."""
    from ..events import LifecycleEvent

    async for event in events:
        if not isinstance(event, LifecycleEvent) or event.metadata.source.partition("?")[0].endswith(f"/{name}"):
            return


def _check_for(condition: str | int | Callable[[Any], object]) -> _Check:
    match condition:
        case bool():
            pass
        case int() if 0 < condition < 2**16:
            return lambda instance: _check_port(instance, condition)
        case str() if condition in _STATUSES:
            return lambda instance: _check_status(instance, condition)
        case str() if condition in _CHECKS:
            return _CHECKS[condition]
        case _ if callable(condition):
            return lambda instance: _check_function(instance, condition)
        case _:
            pass
    raise IncusInputError(
        f"unknown condition {condition!r}: use {', '.join([*_STATUSES, *_CHECKS])}, a TCP port or a function"
    )


async def _check_status(instance: ReadinessVerbs, status: str) -> tuple[bool, str]:
    seen = (await instance.get_state()).status
    return seen.lower() == status, f"status {seen}"


async def _check_agent(instance: ReadinessVerbs) -> tuple[bool, str]:
    state = await instance.get_state()
    # Without the agent of a virtual machine, the server cannot count its processes.
    return state.status == "Running" and state.processes > 0, f"status {state.status}, {state.processes} processes"


async def _check_address(instance: ReadinessVerbs, family: str) -> tuple[bool, str]:
    state = await instance.get_state()
    addresses = _global_addresses(state)
    return any(kind == family for kind, _ in addresses), f"status {state.status}, addresses " + (
        ", ".join(address for _, address in addresses) or "none"
    )


def _global_addresses(state: InstanceState) -> list[tuple[str, str]]:
    """The family and the address of each."""
    return [
        (address.family, address.address)
        for network in state.network.values()
        for address in network.addresses
        if address.scope == "global"
    ]


async def _first_line(instance: ReadinessVerbs, *command: str) -> str:
    """The first line that a command inside writes; or why there is none."""
    if (state := await instance.get_state()).status != "Running":
        return f"status {state.status}"
    result = await instance.run(command)
    text = (result.stdout or result.stderr).decode(errors="replace").strip()
    return text.partition("\n")[0] or f"{command[0]}: exit code {result.returncode}"


async def _check_systemd(instance: ReadinessVerbs) -> tuple[bool, str]:
    seen = await _first_line(instance, "systemctl", "is-system-running")
    return seen in ("running", "degraded"), f"systemd: {seen}"


async def _check_cloud_init(instance: ReadinessVerbs) -> tuple[bool, str]:
    seen = await _first_line(instance, "cloud-init", "status")
    if seen == "status: error":
        raise IncusError(f"cloud-init of {instance.name!r} failed: see /var/log/cloud-init.log in it")
    return seen in ("status: done", "status: disabled"), f"cloud-init: {seen}"


async def _check_port(instance: ReadinessVerbs, port: int) -> tuple[bool, str]:
    if (state := await instance.get_state()).status != "Running":
        return False, f"status {state.status}"
    table = (await instance.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"])).stdout.decode(errors="replace")
    entries = [line.split() for line in table.splitlines()]
    open_ports = {int(entry[1].rpartition(":")[2], 16) for entry in entries if entry[3:4] == [_LISTENING]}
    return port in open_ports, f"listeners on {sorted(open_ports) or 'no port'}"


async def _check_function(instance: ReadinessVerbs, condition: Callable[[ReadinessVerbs], Any]) -> tuple[bool, str]:
    returned = condition(instance)
    if inspect.isawaitable(returned):
        returned = await returned
    return bool(returned), f"it returned {returned!r}"


_CHECKS: dict[str, _Check] = {
    "agent": _check_agent,
    "ipv4": lambda instance: _check_address(instance, "inet"),
    "ipv6": lambda instance: _check_address(instance, "inet6"),
    "systemd": _check_systemd,
    "cloud-init": _check_cloud_init,
}
