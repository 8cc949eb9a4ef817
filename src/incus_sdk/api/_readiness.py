"""Waiting until an instance is ready: driven by events, with a poll where none come."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from .. import models
from .._connection import wire
from ..exceptions import (
    IncusAPIError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusInstanceStoppedError,
    IncusOperationError,
    IncusTimeoutError,
)
from ._commands import CommandVerbs
from ._lifecycle import LifecycleVerbs

if TYPE_CHECKING:
    from ..events import EventStream

_POLL = 0.5  # seconds until the next check where no event comes: addresses and ports change without one
_STATUSES = {"running": (103, 113), "ready": (113,), "stopped": (102,), "frozen": (110,), "error": (112,)}
_RUNNING = _STATUSES["running"]  # Running; and Ready, which a program inside says through the guest API
_LISTENER = r"(?m)^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A "  # of /proc/net/tcp
_FAMILIES = {"inet": "ipv4", "inet6": "ipv6"}  # as servers call them, and as they are called here
_WAITED_FOR = {"ip": ("ipv4", "ipv6"), "ipv4": ("ipv4",), "ipv6": ("ipv6",)}
_BRIDGES = "docker|podman|br-|virbr|lxcbr|lxdbr|incusbr|cni|veth"  # made by programs inside for themselves
_OUTPUT = 2**16  # bytes of an answer of a program inside that anybody reads
_TABLE = 2**24  # bytes of its table of connections
_LOOKS = "instance-(console|exec|file|log|metadata)"  # events of who looks, as the checks themselves do
_NO_AGENT = "VM agent isn't currently running"  # why a command cannot run in a machine that boots
_NOT_THERE = (126, 127)  # exit codes of a command that does not exist


@dataclass(frozen=True)
class Address:
    """An address of an instance."""

    address: str
    """Without its prefix length."""
    family: Literal["ipv4", "ipv6"]
    scope: str
    """``global``, ``link`` or ``local``."""
    interface: str
    """The network interface inside that has it, as ``eth0``."""
    mac: str
    """The MAC address of that interface."""

    def __str__(self) -> str:
        return self.address


Condition = (
    Literal["running", "ready", "stopped", "frozen", "error", "agent", "ip", "ipv4", "ipv6", "systemd", "cloud-init"]
    | str
)
"""What can be waited for, in any case of letters; a status also as ``status=running``."""


class ReadinessVerbs(LifecycleVerbs, CommandVerbs):
    """Verbs that wait until an instance is ready."""

    async def addresses(self) -> dict[str, list[Address]]:
        """Read the addresses of its network devices, those first with which it is reached from outside.

            print((await client.instances["web"].addresses())["eth0"][0])  # 198.51.100.20

        Interfaces of none of its network devices, such as ``lo`` and the bridges of programs inside, are left out.

        Returns:
            The addresses of each network device, by its name; global ones first, IPv4 before IPv6. None while it does
                not run, and for a virtual machine none without an agent.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}`` and ``GET /1.0/instances/{name}/state``
        """
        state, record = await self.get_state(), models.Instance((await self._request("GET")).object)
        found = dict[str, list[Address]]()
        for nic in _nics(record):
            networks = [item for item in state.network.items() if _belongs(*item, nic, record)]
            found[nic] = [
                Address(each.address, _FAMILIES[each.family], each.scope, name, network.hwaddr)  # type: ignore[arg-type]
                for name, network in networks
                for each in network.addresses
                if each.family in _FAMILIES
            ]
            found[nic].sort(key=lambda each: (each.scope != "global", each.family))
        return found

    async def wait_for(
        self, condition: Condition | int | Callable[[Self], object], *, timeout: float | None = None
    ) -> Self:
        """Wait until the instance, which need not exist yet, meets a condition; return it, read.

        A condition is a word, whose case does not count, a number, or a function:

        - a status: ``"running"``, ``"ready"``, ``"stopped"``, ``"frozen"`` or ``"error"``, where one that is ready runs
          too; or the same as ``"status=Stopped"``;
        - ``"agent"``: that of a virtual machine; a running container needs none;
        - ``"ipv4"``, ``"ipv6"``, or ``"ip"`` for either: see `wait_for_address`;
        - ``"systemd"``: a booted system, even a degraded one; ``"cloud-init"``: its end;
        - an int: a TCP port on which something listens inside;
        - a function of the instance, async or not, that returns true when the instance is ready.

        Args:
            condition: What to wait for.
            timeout: Seconds to wait at most; None for no limit.

        Raises:
            IncusInputError: There is no such condition.
            IncusTimeoutError: It is not ready after ``timeout`` seconds; the message says what was seen last.
            IncusError: cloud-init failed, or the instance has not what the condition needs.

        API:
            ``GET /1.0/events`` and, as the condition needs, ``GET /1.0/instances/{name}/state``,
            ``GET /1.0/instances/{name}`` or ``POST /1.0/instances/{name}/exec``
        """
        wire.seconds(timeout, "timeout")
        what = f"a listener on TCP port {condition}" if isinstance(condition, int) else repr(condition)
        await self._wait_until(_check_for(condition), what, timeout)
        return await self.refresh()

    async def wait_for_address(
        self,
        family: Literal["ip", "ipv4", "ipv6"] = "ipv4",
        *,
        interface: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """Wait until the instance has a global IP address, and return it.

        Args:
            family: The kind of address; ``"ip"`` for either, and for IPv4 if it has both.
            interface: The network interface inside that has it, such as ``"eth0"``; None for any that belongs to one of
                the instance's network devices, but for the bridges of programs inside, such as ``docker0``. Of an
                instance without network devices, any interface counts.
            timeout: Seconds to wait at most; None for no limit.

        Returns:
            The address, without its prefix length.

        Raises:
            IncusInputError: There is no such family.
            IncusTimeoutError: It has none after ``timeout`` seconds; the message says which it has.

        API:
            ``GET /1.0/events``, ``GET /1.0/instances/{name}`` and ``GET /1.0/instances/{name}/state``
        """
        if family not in _WAITED_FOR:
            raise IncusInputError(f"family must be one of {', '.join(_WAITED_FOR)}, not {family!r}")
        wire.seconds(timeout, "timeout")
        what = f"an {family} address" + (f" of {interface!r}" if interface else "")
        return str(await self._wait_until(lambda instance: _check_address(instance, family, interface), what, timeout))

    async def _wait_until(self, check: _Check, what: str, timeout: float | None) -> Any:
        """What the check found, once it finds something."""
        from ..events import EventStream

        seen, limit = "nothing yet", asyncio.timeout(timeout)
        try:
            async with limit, EventStream(self._scope, ["lifecycle"]) as events:
                while True:
                    try:
                        found, seen = await check(self)
                    except (IncusAPIError, IncusInstanceStoppedError, IncusOperationError) as error:
                        # Not created yet, or just stopping.
                        if isinstance(error, IncusOperationError) and error.response.get("err") != _NO_AGENT:
                            raise
                        found, seen = None, str(error)
                    if found:
                        return found
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_POLL):
                            await _next_event(events, self.name)
        except TimeoutError as error:
            if isinstance(error, IncusTimeoutError) or not limit.expired():  # the caller's function raised it
                raise
            raise IncusTimeoutError(
                f"{self.name!r} did not reach {what} within {timeout} s; seen last: {seen}"
            ) from None


_Check = Callable[[Any], Awaitable[tuple[object, str]]]
"""What an instance has of a condition, true or false, and what was seen, in words."""


async def _next_event(events: EventStream, name: str) -> None:
    """Wait for an event about the instance, or for a gap in which one can have been lost."""
    from ..events import LifecycleEvent

    async for event in events:
        if not isinstance(event, LifecycleEvent):
            return
        about = event.metadata.source.partition("?")[0].endswith(f"/{name}")
        if about and not re.match(_LOOKS, event.metadata.action):
            return


def _check_for(condition: str | int | Callable[[Any], object]) -> _Check:
    word = condition.lower() if isinstance(condition, str) else ""
    status = word.removeprefix("status=")
    match condition:
        case bool():
            pass
        case int() if 0 < condition < 2**16:
            return lambda instance: _check_port(instance, condition)
        case str() if status in _STATUSES:
            return lambda instance: _check_status(instance, status)
        case str() if word in _CHECKS:
            return _CHECKS[word]
        case _ if callable(condition):
            return lambda instance: _check_function(instance, condition)
        case _:
            pass
    import difflib

    words = [*_STATUSES, *_CHECKS]
    close = difflib.get_close_matches(status, words, 1)
    raise IncusInputError(
        f"unknown condition {condition!r}: "
        + (f"did you mean {close[0]!r}?" if close else f"use {', '.join(words)}, a TCP port or a function")
    )


def _of_known_shape(check: Callable[..., Awaitable[tuple[object, str]]]) -> Any:
    """The check; what a server sends in another form than it should is an `IncusConnectionError`."""

    @functools.wraps(check)
    async def checked(instance: ReadinessVerbs, *arguments: Any) -> tuple[object, str]:
        try:
            return await check(instance, *arguments)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, IncusError):
                raise
            raise IncusConnectionError(
                f"the server describes {instance.name!r} in another form than Incus: {error}", cause=error
            ) from error

    return checked


@_of_known_shape
async def _check_status(instance: ReadinessVerbs, status: str) -> tuple[object, str]:
    state = await instance.get_state()
    return state.status_code in _STATUSES[status], f"status {state.status}"


@_of_known_shape
async def _check_agent(instance: ReadinessVerbs) -> tuple[object, str]:
    state = await instance.get_state()
    # Without the agent of a virtual machine, the server cannot count its processes.
    ready = state.status_code in _RUNNING and state.processes > 0
    return ready, f"status {state.status}, {state.processes} processes"


@_of_known_shape
async def _check_address(instance: ReadinessVerbs, family: str, interface: str | None = None) -> tuple[object, str]:
    state = await instance.get_state()
    record = models.Instance((await instance._request("GET")).object)
    addresses = [
        (name, address)
        for name, network in state.network.items()
        if name == interface or (interface is None and _is_own(name, network, record))
        for address in network.addresses
        if address.scope == "global"
    ]
    found = [
        address.address
        for wanted in _WAITED_FOR[family]
        for _, address in addresses
        if _FAMILIES.get(address.family) == wanted
    ]
    shown = ", ".join(f"{address.address} ({name})" for name, address in addresses)
    return found[0] if found else None, f"status {state.status}, addresses {shown or 'none'}"


def _nics(instance: models.Instance) -> list[str]:
    return [name for name, device in instance.expanded_devices.items() if device.get("type") == "nic"]


def _belongs(name: str, network: models.InstanceStateNetwork, nic: str, instance: models.Instance) -> bool:
    """Whether an interface is that of a network device."""
    config, device = instance.expanded_config, instance.expanded_devices[nic]
    return name == (device.get("name") or config.get(f"volatile.{nic}.name", nic)) or network.hwaddr == (
        device.get("hwaddr") or config.get(f"volatile.{nic}.hwaddr")
    )


def _is_own(name: str, network: models.InstanceStateNetwork, instance: models.Instance) -> bool:
    """Whether an interface belongs to one of the instance's network devices; true if there are none."""
    nics = _nics(instance)
    return not re.match(_BRIDGES, name) and (not nics or any(_belongs(name, network, nic, instance) for nic in nics))


async def _ask(instance: ReadinessVerbs, *command: str, max_output: int = _OUTPUT) -> str | None:
    """What a command inside writes; None where the instance does not run."""
    if (await instance.get_state()).status_code not in _RUNNING:
        return None
    result = await instance.run(command, max_output=max_output)
    if result.returncode in _NOT_THERE:
        raise IncusError(f"{instance.name!r} cannot be asked: it has no {command[0]}")
    return (result.stdout or result.stderr).decode(errors="replace") or f"exit code {result.returncode}"


async def _check_systemd(instance: ReadinessVerbs) -> tuple[object, str]:
    lines = (await _ask(instance, "systemctl", "is-system-running") or "not running").split("\n")
    return any(line.strip() in ("running", "degraded") for line in lines), f"systemd: {_summary(lines)}"


async def _check_cloud_init(instance: ReadinessVerbs) -> tuple[object, str]:
    lines = [line.strip() for line in (await _ask(instance, "cloud-init", "status") or "not running").split("\n")]
    if "status: error" in lines:
        raise IncusError(f"cloud-init of {instance.name!r} failed: see /var/log/cloud-init.log in it")
    return any(line in ("status: done", "status: disabled") for line in lines), f"cloud-init: {_summary(lines)}"


def _summary(lines: Sequence[str]) -> str:
    return "; ".join(line for line in lines if line)[:200]


async def _check_port(instance: ReadinessVerbs, port: int) -> tuple[object, str]:
    table = await _ask(instance, "cat", "/proc/net/tcp", "/proc/net/tcp6", max_output=_TABLE)
    if table is None:
        return False, "it does not run"
    open_ports = {int(found[1], 16) for found in re.finditer(_LISTENER, table)}
    return port in open_ports, f"listeners on {sorted(open_ports) or 'no port'}"


async def _check_function(instance: ReadinessVerbs, condition: Callable[[ReadinessVerbs], Any]) -> tuple[object, str]:
    returned = condition(instance)
    if inspect.isawaitable(returned):
        returned = await returned
    return bool(returned), f"it returned {returned!r}"


_CHECKS: dict[str, _Check] = {
    "agent": _check_agent,
    "ip": lambda instance: _check_address(instance, "ip"),
    "ipv4": lambda instance: _check_address(instance, "ipv4"),
    "ipv6": lambda instance: _check_address(instance, "ipv6"),
    "systemd": _check_systemd,
    "cloud-init": _check_cloud_init,
}
