"""What networks have beside themselves: address sets, zones with their records, forwards, integrations."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import ClassVar

from .answers import Answer, Object, Refused, success
from .collection import Collection, Nested
from .requests import FakeRequest


def _check_name(name: str) -> None:
    if any(character.isspace() for character in name):
        raise Refused(500, "Name cannot contain white space")
    if not name or not (name[0].isalnum() and name[-1].isalnum()):
        raise Refused(500, "Names must start and end with an alphanumeric character")


class AddressSets(Collection):
    """``/1.0/network-address-sets``."""

    segment, kind, feature = "network-address-sets", "network-address-set", "features.networks"
    fields: ClassVar = {"addresses": [], "description": ""}
    maps: ClassVar = ()
    missing = "Network_address_set not found"
    exists = (400, "The network address set already exists")

    def check_name(self, name: str) -> None:
        """Refuse what servers do not take."""
        _check_name(name)

    def check(self, project: str, body: Object) -> None:
        """Refuse what is not an address."""
        for index, address in enumerate(body["addresses"]):
            try:
                ip_network(address, strict=False)
            except ValueError:
                raise Refused(
                    500, f'Invalid addresses: Unsupported address format "{address}" at index {index}'
                ) from None

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new one."""
        return {**{key: body[key] for key in self.fields}, "name": name}

    def view(self, project: str, item: Object) -> Object:
        """One as it is shown."""
        return {**item, "used_by": [], "project": project}


class Zones(Collection):
    """``/1.0/network-zones``."""

    segment, kind, feature = "network-zones", "network-zone", "features.networks.zones"
    fields: ClassVar = {"description": "", "config": {}}
    missing = "Network zone not found"
    exists = (400, "The network zone already exists")

    def check_name(self, name: str) -> None:
        """Refuse what servers do not take."""
        _check_name(name)

    def check(self, project: str, body: Object) -> None:
        """Refuse keys that zones do not have."""
        for key in body["config"]:
            if key.partition(".")[0] not in ("dns", "network", "peers", "user"):
                raise Refused(500, f'Invalid config option "{key}"')

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new one."""
        return {**{key: body[key] for key in self.fields}, "name": name}

    def view(self, project: str, item: Object) -> Object:
        """One as it is shown."""
        return {**item, "used_by": [], "project": project}

    def get(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of one."""
        project = self.project_of(request)
        item = self.find(project, name)
        return success({**self.view(project, item), "project": ""}, etag=self.writable(item))

    def check_free(self, project: str, name: str, change: str) -> None:
        """Refuse to delete one with records."""
        if self.state.of(f"network-zones/{name}/records", project):
            raise Refused(400, "Cannot delete a zone that is in use")


class ZoneRecords(Nested):
    """``/1.0/network-zones/{zone}/records``."""

    above, below = "network-zones", "records"
    kind, feature = "network-zone-record", "features.networks.zones"
    fields: ClassVar = {"description": "", "entries": [], "config": {}}
    missing = "Network zone record not found"
    missing_above = "Network zone not found"
    exists = (500, "UNIQUE constraint failed: networks_zones_records.network_zone_id, networks_zones_records.name")

    def check(self, project: str, body: Object) -> None:
        """Refuse an entry without a type or a value."""
        for entry in body["entries"]:
            if not entry.get("type") or not entry.get("value"):
                raise Refused(500, f'Failed parsing entry "{entry.get("type", "")}"')

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new one."""
        return {**{key: body[key] for key in self.fields}, "name": name}

    def view(self, project: str, item: Object) -> Object:
        """One as it is shown."""
        entries = [
            {"type": each["type"], **({"ttl": each["ttl"]} if each.get("ttl") else {}), "value": each["value"]}
            for each in item["entries"]
        ]
        return {**item, "entries": entries}


class Forwards(Nested):
    """``/1.0/networks/{network}/forwards``: objects by the addresses where they listen."""

    above, below = "networks", "forwards"
    kind, key, feature = "network-forward", "listen_address", "features.networks"
    fields: ClassVar = {"description": "", "config": {}, "ports": []}
    missing = "Network forward not found"
    missing_for: ClassVar = {"DELETE": "Failed deleting forward: Network forward not found"}
    missing_above = "Failed loading network: Network not found"
    exists = (409, "Failed creating forward: A forward for that listen address already exists")

    def check_name(self, name: str) -> None:
        """Refuse what is not an address."""
        try:
            ip_address(name)
        except ValueError:
            raise Refused(
                500,
                f'Failed creating forward: Failed parsing address forward listen address "{name}": '
                f"invalid CIDR address: {name}/32",
            ) from None

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new one."""
        return {**{key: body[key] for key in self.fields}, "listen_address": name, "location": "none"}

    def view(self, project: str, item: Object) -> Object:
        """One as it is shown."""
        usual = dict.fromkeys(("description", "protocol", "listen_port", "target_port", "target_address"), "")
        return {**item, "ports": [{**usual, "snat": False, **each} for each in item["ports"]]}


class Integrations(Collection):
    """``/1.0/network-integrations``."""

    segment, kind = "network-integrations", "network-integration"
    fields: ClassVar = {"description": "", "config": {}}
    missing = "Network_integration not found"
    missing_for: ClassVar = {"DELETE": "Failed to get network integration ID: Network_integration not found"}
    exists = (409, 'This "Network_integration" entry already exists')

    def check(self, project: str, body: Object) -> None:
        """Refuse another type."""
        if body.get("type") != "ovn":
            raise Refused(400, f'Invalid integration type "{body.get("type", "")}"')

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new one."""
        return {**{key: body[key] for key in self.fields}, "name": name, "type": body["type"]}
