"""An instance of the fake, as a test sees it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from math import inf

from ...exceptions import IncusInputError
from .answers import STATUSES
from .files import FakeFiles
from .machines import Machine


class FakeInstance:
    """An instance of a fake, given by `Fake.instance`: what a test puts into it, and looks at, without requests.

    Args:
        machine: The instance.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def name(self) -> str:
        """Its name."""
        return self._machine.name

    @property
    def status(self) -> str:
        """Its status, as ``Running``."""
        return STATUSES[self._machine.status]

    @property
    def files(self) -> FakeFiles:
        """Its files."""
        return self._machine.files

    @property
    def addresses(self) -> list[str]:
        """The addresses of its first network interface, once it runs; can be set."""
        return [address for _, address in self._machine.addresses]

    @addresses.setter
    def addresses(self, addresses: Iterable[str]) -> None:
        found = [ip_address(each) for each in addresses]
        self._machine.addresses = [("inet" if each.version == 4 else "inet6", str(each)) for each in found]

    @property
    def console(self) -> bytes:
        """What its console shows, and the log of it; can be set."""
        return self._machine.console

    @console.setter
    def console(self, text: bytes) -> None:
        self._machine.console = text

    @property
    def logs(self) -> dict[str, bytes]:
        """Its log files, as ``lxc.log``, by their names; can be changed."""
        return self._machine.logs

    def lose_agent(self, times: float = inf) -> None:
        """Let the agent of a virtual machine not run: what needs it fails with the server's words.

        Args:
            times: How often, before it runs: for commands, files, and looks at the state.

        Raises:
            IncusInputError: It is a container, which has no agent.
        """
        if self._machine.record["type"] != "virtual-machine":
            raise IncusInputError(f"{self.name!r} is a container, which has no agent")
        self._machine.agent_failures = times

    def __repr__(self) -> str:
        return f"<FakeInstance {self.name!r}: {self.status}>"
