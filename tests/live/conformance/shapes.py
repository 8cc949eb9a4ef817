"""The shape of an answer: what must be equal between servers that do the same, whatever they call it and when it was.

A shape is a set of facts. A fact is a place in the JSON with the type of what is there, or with its value where that is
a word of the API: ``.metadata[].name: str``, ``.error_code: 404``. All elements of a list are one place, and so are all
values of a map whose keys users choose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Shape = frozenset[str]

VALUES = {"type", "status", "status_code", "error_code", "error", "err", "class", "description"} | {
    *("may_cancel", "action", "return", "requires_dir"),
}
"""The keys whose values are compared, too, in the server's own answers."""

MAPS = frozenset(
    ["config", "expanded_config", "devices", "expanded_devices", "network", "disk", "properties", "templates"]
)
"""The keys of maps whose keys are names, or depend on the machine."""

HEADERS = ("Content-Type", "Location", "X-Incus-mode", "X-Incus-type", "X-Incus-uid", "X-Incus-gid")

NOT_DONE = "501"

_BY_CHANCE = re.compile(r"progress|: Cancelling |\.metadata\.(success|failure|cancelled)\b")
"""What a server says only if it has the time; and operations of other tests that it still knows."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HASH = re.compile(r"\b[0-9a-f]{64}\b|(?<=/)[0-9a-f]{28}\b")


def general(text: str) -> str:
    """A text without what is made by chance."""
    return _HASH.sub("HASH", _UUID.sub("UUID", text))


def shape(status: int, headers: Mapping[str, str], body: Any) -> Shape:
    """The shape of an HTTP answer."""
    found = {f"HTTP {status}", f"ETag: {'yes' if headers.get('ETag') else 'no'}"}
    found |= {f"{name}: {general(headers[name])}" for name in HEADERS if name in headers}
    return frozenset(found | set(facts(body)))


def facts(value: Any, place: str = "", key: str = "") -> Iterator[str]:
    """The facts of JSON."""
    if isinstance(value, Mapping):
        yield f"{place}: object"
        for name, item in value.items():
            inside = f"{place}{{}}" if key in MAPS else f"{place}.{name}"
            yield from facts(item, inside, "{}" if key in MAPS else name)
    elif isinstance(value, list):
        yield f"{place}: list"
        for item in value:
            yield from facts(item, f"{place}[]")
    elif key in VALUES:
        yield f"{place}: {general(str(value))}"
    else:
        yield f"{place}: {type(value).__name__}"


def misfits(fake: Shape, real: list[Shape]) -> list[str]:
    """What the fake says that no real server does, and what it lacks that all of them say."""
    if "HTTP 501" in fake:
        return [NOT_DONE]
    said, by_all = frozenset[str]().union(*real), frozenset.intersection(*real)
    found = [f"+ {each}" for each in sorted(fake - said)]
    found += [f"- {each}" for each in sorted(by_all - fake) if "{}" not in each]
    return [each for each in found if not _BY_CHANCE.search(each)]
