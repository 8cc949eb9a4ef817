"""What a box may reach: nothing, or a list of addresses by a bridge of its pool's own."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import models
from ..exceptions import IncusConflictError, IncusInputError, IncusNotFoundError

if TYPE_CHECKING:
    from ..client import Client

NIC = "eth0"
"""The name of a box' NIC, as a device and inside."""

_TARGET = re.compile(r"(?P<address>[0-9./]+)(:(?P<ports>[0-9]+(-[0-9]+)?)(/(?P<protocol>tcp|udp))?)?")
_EXAMPLE = '{"ipv4.address": "198.51.100.1/24", "ipv4.nat": "true", "ipv6.address": "none"}'


@dataclass(frozen=True)
class Network:
    """What a box may reach, by a bridge that is there for sandboxes alone.

    The bridge gets an ACL that drops everything but what is allowed, and no DNS. A box cannot use another address than
    its own, nor see other boxes. All boxes on one bridge may reach the same. The bridge keeps its ACL.

    Args:
        bridge: The bridge: one with an ``ipv4.address`` that somebody chose, and an ``ipv6.address`` of ``none``.
        allow: What can be reached, as ``"203.0.113.10"``, ``"203.0.113.0/24"``, ``"203.0.113.10:443"``,
            ``"203.0.113.10:8000-8010"`` or ``"203.0.113.53:53/udp"``; a port without a protocol is one of TCP.

    Raises:
        IncusInputError: An argument is invalid.
    """

    bridge: str
    allow: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.bridge, str) or not self.bridge:
            raise IncusInputError(f"bridge must be the name of a network, not {self.bridge!r}")
        if isinstance(self.allow, str) or not isinstance(self.allow, Sequence):
            raise IncusInputError(f"allow must be a list of addresses, not {self.allow!r}")
        self._rules()

    def _rules(self) -> list[models.NetworkACLRuleDict]:
        """The rules of the ACL."""
        return [_rule(target) for target in self.allow]

    def _device(self) -> models.NICDevice:
        """The NIC of a box."""
        nic: models.NICDevice = {"type": "nic", "name": NIC, "network": self.bridge}
        nic["security.mac_filtering"] = nic["security.port_isolation"] = "true"
        nic["security.ipv4_filtering"] = nic["security.ipv6_filtering"] = "true"
        return nic

    async def _close(self, client: Client, own: str | None = None) -> None:
        """Close the bridge to all but what is allowed, or raise if it is not fit for that.

        ``own`` is the name of the box that asks for it, if there is one.
        """
        try:
            network = await client.networks.get(self.bridge)
        except IncusNotFoundError:
            raise IncusInputError(
                f"there is no network {self.bridge!r}: make one for sandboxes alone, with "
                f"client.networks.create({self.bridge!r}, config={_EXAMPLE})"
            ) from None
        config = network.config
        if network.type != "bridge" or not network.managed:
            raise IncusInputError(f"the network {self.bridge!r} is not a bridge that the server manages")
        if config.get("ipv4.address", "auto") in ("auto", "none") or config.get("ipv6.address", "auto") != "none":
            raise IncusInputError(
                f"the bridge {self.bridge!r} needs an ipv4.address that you chose, and an ipv6.address of none, not "
                f"{config.get('ipv4.address')!r} and {config.get('ipv6.address')!r}: one that picks its addresses can "
                f"take those of another network; set them, as {_EXAMPLE}"
            )
        acl = f"sandbox-{self.bridge}"
        wanted = {
            "raw.dnsmasq": "port=0",
            "security.acls": acl,
            "security.acls.default.egress.action": "reject",
            "security.acls.default.ingress.action": "drop",
        }
        others = [user for user in network.used_by if not _is(user, own)]
        closed = {key: config.get(key) for key in wanted} == wanted
        if not closed and (others or any(config.get(key) for key in wanted)):
            raise IncusInputError(
                f"the bridge {self.bridge!r} has settings or users of another kind: make one for sandboxes alone, as "
                f'client.networks.create("sandbox0", config={_EXAMPLE})'
            )
        await self._write_acl(client, acl, others)
        if not closed:
            await network.update({"config": wanted})

    async def _write_acl(self, client: Client, name: str, others: Sequence[str]) -> None:
        rules = self._rules()
        acls = client.network_acls
        try:
            await acls.create(name, description="What sandboxes may reach", egress=rules)
        except IncusConflictError:
            acl = await acls.get(name)
            if _comparable(acl.raw.get("egress") or []) == _comparable(rules):
                return
            if others:
                raise IncusInputError(
                    f"boxes that use the bridge {self.bridge!r} may reach something else, and all on one bridge may "
                    "reach the same: use another bridge for this"
                ) from None
            await acl.update({"egress": rules})


def _rule(target: object) -> models.NetworkACLRuleDict:
    found = _TARGET.fullmatch(target) if isinstance(target, str) else None
    try:
        if found is None:
            raise ValueError
        destination = ipaddress.IPv4Network(found["address"], strict=False)
        ports = [int(port) for port in (found["ports"] or "").split("-") if port]
        if any(not 0 < port < 2**16 for port in ports) or ports != sorted(ports):
            raise ValueError
    except ValueError:
        raise IncusInputError(
            f"allow takes IPv4 addresses, as '203.0.113.10:443' or '203.0.113.0/24', not {target!r}"
        ) from None
    rule: models.NetworkACLRuleDict = {"action": "allow", "state": "enabled", "destination": str(destination)}
    if found["ports"]:
        rule["protocol"], rule["destination_port"] = found["protocol"] or "tcp", found["ports"]
    return rule


def _comparable(rules: Sequence[Any]) -> list[list[tuple[str, str]]]:
    """Rules without what is empty in them, in one order."""
    return sorted(sorted((key, value) for key, value in rule.items() if value) for rule in rules)


def _is(user: str, name: str | None) -> bool:
    """Whether the URL in ``used_by`` is that of an instance of this name."""
    return name is not None and user.partition("?")[0].endswith(f"/instances/{name}")
