"""What passed between the tests and their servers: which operation of the API was seen on the wire of which version.

`watching()` looks at every `Scope` while the tests run. The record that it makes is checked in as ``RECORD``, and the
README's table of what works is made from it (``tools/operations.py``). Only answers that were no error count.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import Client
from incus_sdk._connection.scope import Scope

API = Path(__file__).parents[2] / "tools" / "incus-api"
RECORD = API / "seen.json"
"""Each operation, as ``GET /1.0/instances/{}``, with the versions of the servers that answered it."""

OPERATIONS: dict[str, str] = {
    f"{endpoint['method']} {endpoint['path']}": endpoint["since"]
    for endpoint in json.loads((API / "endpoints.json").read_text())
}
"""All operations of the API, each with the oldest version that has it."""

Seen = dict[str, set[str]]

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
def watching() -> Generator[Seen]:
    """What was answered without an error, by operation, until the block ends."""
    seen: Seen = defaultdict(set)

    def note(scope: Scope, method: str, path: str) -> None:
        version = (scope._server.get("environment") or {}).get("server_version")
        if version and not _by_hand.get():
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
        yield seen
