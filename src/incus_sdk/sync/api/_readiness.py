"""Waiting until an instance is ready: driven by events, with a poll where none come.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...api import _readiness as _source
from .. import _twin
from ._commands import CommandVerbs
from ._lifecycle import LifecycleVerbs

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal, Self

    from ...api._readiness import Address, Condition


class ReadinessVerbs(LifecycleVerbs, CommandVerbs):
    """Verbs that wait until an instance is ready."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ReadinessVerbs: ...

    def addresses(self) -> dict[str, list[Address]]:
        """Read the addresses of its network devices, those first with which it is reached from outside.

            print(client.instances["web"].addresses()["eth0"][0])  # 198.51.100.20

        Interfaces of none of its network devices, such as ``lo`` and the bridges of programs inside, are left out.

        Returns:
            The addresses of each network device, by its name; global ones first, IPv4 before IPv6. None while it does
                not run, and for a virtual machine none without an agent.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}`` and ``GET /1.0/instances/{name}/state``
        """
        return self._portal.run(self._async.addresses())

    def wait_for(self, condition: Condition | int | Callable[[Self], object], *, timeout: float | None = None) -> Self:
        """Wait until the instance, which need not exist yet, meets a condition; return it, read.

        A condition is a word, whose case does not count, a number, or a function:

        - a status: ``"running"``, ``"ready"``, ``"stopped"``, ``"frozen"`` or ``"error"``, where one that is ready runs
          too; or the same as ``"status=Stopped"``;
        - ``"agent"``: that of a virtual machine; a running container needs none;
        - ``"ipv4"``, ``"ipv6"``, or ``"ip"`` for either: see `wait_for_address`;
        - ``"systemd"``: a booted system, even a degraded one; ``"cloud-init"``: its end;
        - an int: a TCP port on which something listens inside;
        - a function of the instance that returns true when the instance is ready.

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
        result: Self = self._wrap(
            self._portal.run(self._async.wait_for(_twin.asked(condition, self._wrap), timeout=timeout))
        )
        return result

    def wait_for_address(
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
        return self._portal.run(self._async.wait_for_address(family, interface=interface, timeout=timeout))
