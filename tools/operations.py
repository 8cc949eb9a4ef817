"""Writes what the SDK covers, as the tests saw it, into README.md and docs; with ``--check``, compares.

Made from ``incus-api``: ``endpoints.json`` (all operations), ``methods.json`` (the method of each), ``seen.json``
(which version answered it in the tests), ``fake.json`` (what the fake does of it, as the tests of conformance found
it), and from the reasons in ``tests/live/versions/unexercised.json``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
API = ROOT / "tools" / "incus-api"
START, END = "<!-- operations: made by tools/operations.py -->", "<!-- operations: end -->"
MARKS = {"same": "yes", "partly": "partly", "not compared": "yes, not compared", "no": "*no*"}
"""What the page says of the fake."""
VERSIONS = ("6.0.4", "7.0.2")

AREAS = {
    "server": ("server", "resources", "metrics", "metadata", "events", "operations", "warnings"),
    "certificates, projects, profiles": ("certificates", "projects", "profiles"),
    "instances": ("instances",),
    "images": ("images",),
    "networks": ("networks", "network-"),
    "storage pools and volumes": ("storage pools", "storage volumes"),
    "storage buckets": ("storage buckets",),
    "cluster": ("cluster",),
}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


ENDPOINTS = {f"{each['method']} {each['path']}": each for each in load(API / "endpoints.json")}
METHODS = load(API / "methods.json")
SEEN = load(API / "seen.json")
FAKE = load(API / "fake.json")
UNEXERCISED = load(ROOT / "tests" / "live" / "versions" / "unexercised.json")


def there(operation: str, version: str) -> bool:
    """Whether a version has an operation: 7.0.2 has them all."""
    return version != "6.0.4" or ENDPOINTS[operation]["since"] == "v6.0.4"


def area(operation: str) -> str:
    return next(name for name, starts in AREAS.items() if ENDPOINTS[operation]["area"].startswith(starts))


def summary() -> str:
    """A line for each area: how many operations, and on how many of its own each version was seen to answer."""
    lines = [f"| area | operations | {' | '.join(VERSIONS)} |", "|---|---|" + "---|" * len(VERSIONS)]
    for name in [*AREAS, "all"]:
        operations = [each for each in ENDPOINTS if name in ("all", area(each))]
        counts = []
        for version in VERSIONS:
            has = [each for each in operations if there(each, version)]
            seen = [each for each in has if version in SEEN.get(each, ())]
            counts.append(f"{len(seen)} of {len(has)}")
        lines.append(f"| {name} | {len(operations)} | {' | '.join(counts)} |")
    return "\n".join(lines)


def of_the_fake() -> str:
    """A line for each area: how many of its operations the fake does."""
    lines = ["| area | operations | the fake does |", "|---|---|---|"]
    for name in [*AREAS, "all"]:
        operations = [each for each in ENDPOINTS if name in ("all", area(each))]
        lines.append(f"| {name} | {len(operations)} | {sum(FAKE[each] != 'no' for each in operations)} |")
    return "\n".join(lines)


def page() -> str:
    """Every operation with its method, and what answered it."""
    text = [
        "# Every operation",
        "",
        "The operations of the Incus API, each with the call that makes it, and the versions of the server of which",
        "the tests saw it answered: *no* where it could not be exercised (the reasons are below), *none* where the",
        "version does not have it. This page is made from the record that the tests write.",
        "",
        "The last column is about [the fake](guide/testing.md): *yes* where the tests of conformance found its answers",
        "equal to those of both versions, *partly* where some requests get a 501, *no* where all do.",
    ]
    for name in AREAS:
        text += ["", f"## {name[0].upper()}{name[1:]}", ""]
        text += [f"| operation | method | {' | '.join(VERSIONS)} | fake |", "|---|---|---|" + "---|" * len(VERSIONS)]
        for operation in ENDPOINTS:
            if area(operation) != name:
                continue
            marks = [
                "yes" if version in SEEN.get(operation, ()) else "*no*" if there(operation, version) else "*none*"
                for version in VERSIONS
            ]
            marks.append(MARKS[FAKE[operation]])
            text.append(f"| `{operation}` | `{METHODS[operation]}` | {' | '.join(marks)} |")
    text += ["", "## Not exercised", "", "What these send is checked against a recorded exchange instead.", ""]
    for operation, why in sorted(UNEXERCISED.items(), key=lambda item: list(ENDPOINTS).index(item[0])):
        text.append(f"* `{operation}`, on {' and '.join(why['versions'])}: {why['reason']}")
    return "\n".join([*text, ""])


def with_table(text: str, table: str) -> str:
    """A page with this table between the marks."""
    marked = f"{START}\n{table}\n{END}"
    return re.sub(f"{re.escape(START)}.*?{re.escape(END)}", lambda _: marked, text, flags=re.DOTALL)


def main() -> None:
    tables = {ROOT / "README.md": summary(), ROOT / "docs" / "guide" / "testing.md": of_the_fake()}
    wanted = {path: with_table(path.read_text(), table) for path, table in tables.items()}
    wanted[ROOT / "docs" / "operations.md"] = page()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"not as tools/operations.py makes it: {', '.join(str(path.relative_to(ROOT)) for path in stale)}")
        return
    for path in stale:
        path.write_text(wanted[path])


if __name__ == "__main__":
    main()
