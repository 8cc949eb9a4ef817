"""What passed between the tests and their servers: which operation of the API was seen on the wire of which version.

`watching()` looks at every `Scope` while a live test runs; only answers that were no error count. A whole run compares
what all its workers saw with the record that is checked in, ``RECORD``, from which ``tools/operations.py`` makes the
README's table of what works: see `problems()`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shlex
import subprocess
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Set
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import Client
from incus_sdk._connection.scope import Scope
from incus_sdk.testing import preflight
from tests.live.roots import ROOTS

API = Path(__file__).parents[2] / "tools" / "incus-api"
RECORD = API / "seen.json"
"""Each operation, as ``GET /1.0/instances/{}``, with the versions of the servers that answered it."""
VERSIONS = frozenset(ROOTS)
"""Those that the record is of."""
UNEXERCISED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "versions" / "unexercised.json").read_text()
)
"""The operations that cannot be exercised, with the versions and the reason."""

OPERATIONS: dict[str, str] = {
    f"{endpoint['method']} {endpoint['path']}": endpoint["since"]
    for endpoint in json.loads((API / "endpoints.json").read_text())
}
"""All operations of the API, each with the oldest version that has it."""

Seen = defaultdict[str, set[str]]

SEEN = pytest.StashKey[Seen]()
"""What was seen in a run: by this process, and in the end by all workers."""

_by_hand = ContextVar("_by_hand", default=False)
"""Whether the request is one of `Client.query`, which shows nothing of the SDK's own methods."""


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.escape(path).replace(r"\{\}", "[^/]+"))


# A literal segment goes before a name: /1.0/images/aliases is no image.
_PATTERNS: list[tuple[str, re.Pattern[str], str]] = [
    (name.partition(" ")[0], _pattern(name.partition(" ")[2]), name)
    for name in sorted(OPERATIONS, key=lambda name: name.count("{}"))
]


def operation(method: str, path: str) -> str | None:
    """The operation that a request is, or None if the API has none like that."""
    plain = path.partition("?")[0]
    return next((name for known, pattern, name in _PATTERNS if known == method and pattern.fullmatch(plain)), None)


@contextlib.contextmanager
def watching(seen: Seen) -> Generator[None]:
    """Note what is answered without an error, by operation, until the block ends."""

    def note(scope: Scope, method: str, path: str) -> None:
        version = (scope._server.get("environment") or {}).get("server_version")
        is_of_api = not path.startswith("/internal/")  # which is for the server's own tools
        if version and is_of_api and not _by_hand.get():
            seen[operation(method, path) or f"{method} {path}"].add(version)

    def noted(original: Callable[..., Any], method: str | None) -> Callable[..., Any]:
        @functools.wraps(original)
        async def call(scope: Scope, *arguments: Any, **named: Any) -> Any:
            result = await original(scope, *arguments, **named)
            note(scope, method or arguments[0], arguments[0 if method else 1])
            return result

        return call

    original_download = Scope.download

    @functools.wraps(original_download)
    @contextlib.asynccontextmanager
    async def download(scope: Scope, method: str, path: str, **named: Any) -> AsyncGenerator[Any]:
        async with original_download(scope, method, path, **named) as stream:
            note(scope, method, path)
            yield stream

    changed = {
        "request": noted(Scope.request, None),
        "upgrade": noted(Scope.upgrade, None),
        "websocket": noted(Scope.websocket, "GET"),
        "download": download,
    }
    original_query = Client.query

    @functools.wraps(original_query)
    async def query(client: Client, *arguments: Any, **named: Any) -> Any:
        token = _by_hand.set(True)
        try:
            return await original_query(client, *arguments, **named)
        finally:
            _by_hand.reset(token)

    with pytest.MonkeyPatch.context() as patch:
        for name, replacement in changed.items():
            patch.setattr(Scope, name, replacement)
        patch.setattr(Client, "query", query)
        yield


def installed() -> dict[str, str]:
    """The version of each Incus on this machine that the tests start, by the one that it should be."""
    found: dict[str, str] = {}
    for wanted, root in ROOTS.items():
        command = [preflight(image=False, root=root or Path("/"))["incusd"], "--version"]
        if root is not None:  # it wants /proc
            inside = f'mount -t proc proc "$0/proc" && exec chroot "$0" {shlex.join(command)}'
            command = ["unshare", "--mount", "sh", "-c", inside, str(root)]
        found[wanted] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return found


def as_recorded(seen: Mapping[str, Set[str]]) -> dict[str, list[str]]:
    """What was seen, in the form of the record."""
    return {name: sorted(seen[name] & VERSIONS) for name in sorted(seen) if name in OPERATIONS}


def problems(seen: Mapping[str, Set[str]], record: Mapping[str, list[str]], versions: Set[str]) -> list[str]:
    """Where a whole run did not see what it should have, of these versions: every operation but those that have a
    reason, nothing that the API does not have, and what the record says.
    """
    found = [f"{name}: the API has no such operation" for name in sorted(set(seen) - set(OPERATIONS))]
    for version in sorted(versions):
        there = {name for name, since in OPERATIONS.items() if version != "6.0.4" or since == "v6.0.4"}
        excused = {name for name, why in UNEXERCISED.items() if version in why["versions"]}
        exercised = {name for name, by in seen.items() if version in by}
        found += [f"{name}: not exercised on {version}" for name in sorted(there - exercised - excused)]
        found += [f"{name}: exercised on {version}, but in unexercised.json" for name in sorted(exercised & excused)]
        recorded = {name for name, by in record.items() if version in by}
        differ = sorted((exercised & OPERATIONS.keys()) ^ recorded)
        found += [f"{name}: {version} {'only in the record' if name in recorded else 'not in it'}" for name in differ]
    return found
