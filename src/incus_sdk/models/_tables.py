"""Lists of records that notebooks show as tables, with the columns of the ``incus`` command."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .base import Json, Record

R = TypeVar("R", bound=Record)

_COLUMNS = {
    "Certificate": "name type description fingerprint restricted projects",
    "ClusterMember": "server_name url roles architecture failure_domain description status message",
    "Image": "aliases fingerprint public description architecture type size uploaded_at",
    "Instance": "name status ipv4 ipv6 type snapshots project location",
    "Network": "name type managed description used_by status",
    "NetworkAllocations": "addresses type network hwaddr",
    "NetworkForward": "listen_address description location",
    "NetworkLease": "hostname hwaddr address type location",
    "NetworkLoadBalancer": "listen_address description",
    "Operation": "id class description status may_cancel created_at",
    "Profile": "name description used_by project",
    "Project": "name description used_by",
    "Snapshot": "name created_at expires_at stateful",
    "StoragePool": "name driver description used_by status",
    "Volume": "type name description content_type used_by project location",
    "Warning": "uuid type status severity count project last_seen_at",
}
"""By the name of the class; others have a name and a description. A column in which there is nothing is left out."""

_OTHERS = "name description type status created_at expires_at"


class Table(list[R]):
    """A list, which notebooks show as a table."""

    def _repr_html_(self) -> str | None:
        """The table; None where there is something else in the list."""
        if not all(isinstance(each, Record) for each in self):
            return None
        columns = _COLUMNS.get(type(self[0]).__name__, _OTHERS).split() if self else []
        cells = {column: [_READERS.get(column, _plain)(each._json, column) for each in self] for column in columns}
        shown = {column: texts for column, texts in cells.items() if any(texts)}
        if not shown:
            return "<p>none</p>"
        head = _row("th", [column.replace("_", " ") for column in shown])
        body = "".join(_row("td", row) for row in zip(*shown.values(), strict=True))
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _row(kind: str, texts: Iterable[str]) -> str:
    from html import escape

    row = f"<tr>{''.join(f'<{kind}>{escape(text)}</{kind}>' for text in texts)}</tr>"
    return row.encode(errors="replace").decode()  # JSON can hold halves of characters, which no page can


def _plain(raw: Json, key: str) -> str:
    match raw.get(key):
        case bool(value):
            return "yes" if value else "no"
        case list(value):
            return ", ".join(each for each in value if isinstance(each, str))
        case str(value) if value != "none":  # the location of what is in no cluster
            return value
        case int(value):
            return str(value)
        case _:
            return ""


def _time(raw: Json, key: str) -> str:
    value = raw.get(key)
    return "" if not isinstance(value, str) or value.startswith("0001-") else value[:16].replace("T", " ")


def _count(raw: Json, key: str) -> str:
    value = raw.get(key)
    return str(len(value)) if isinstance(value, list) else ""


def _fingerprint(raw: Json, key: str) -> str:
    return _plain(raw, key)[:12]


def _aliases(raw: Json, key: str) -> str:
    return ", ".join(_plain(each, "name") for each in _objects(raw.get(key)))


def _description(raw: Json, key: str) -> str:
    properties = raw.get("properties")  # of an image
    return _plain(properties if isinstance(properties, dict) else raw, key)


def _size(raw: Json, key: str) -> str:
    value = raw.get(key)
    return f"{value / 2**20:.2f} MiB" if isinstance(value, int) else ""


def _addresses(family: str) -> Callable[[Json, str], str]:
    def read(raw: Json, _: str) -> str:
        state = raw.get("state")
        network = state.get("network") if isinstance(state, dict) else None
        found = [
            f"{address.get('address')} ({name})"
            for name, interface in (network.items() if isinstance(network, dict) else ())
            for address in _objects(interface.get("addresses") if isinstance(interface, dict) else None)
            if (address.get("family"), address.get("scope")) == (family, "global")
        ]
        return ", ".join(found)

    return read


def _objects(value: Any) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


_READERS: dict[str, Callable[[Json, str], str]] = {
    "aliases": _aliases,
    "created_at": _time,
    "description": _description,
    "expires_at": _time,
    "fingerprint": _fingerprint,
    "ipv4": _addresses("inet"),
    "ipv6": _addresses("inet6"),
    "last_seen_at": _time,
    "size": _size,
    "snapshots": _count,
    "uploaded_at": _time,
    "used_by": _count,
}
"""How a column is read, where it is not simply what the JSON says."""
