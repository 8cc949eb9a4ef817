"""Every operation of the API has a method: each is called as the documentation shows it, and what it sends is seen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import incus_sdk
from incus_sdk import Client
from incus_sdk._connection.scope import Scope
from incus_sdk._connection.transport import Response
from incus_sdk.exceptions import IncusConnectionError
from tests.live.wire_record import API, OPERATIONS, operation

METHODS: dict[str, str] = json.loads((API / "methods.json").read_text())
"""Each operation with the expression that makes it."""
NAMES = {
    **{name: getattr(incus_sdk, name) for name in vars(incus_sdk)["__all__"]},
    "certificate": "-----BEGIN CERTIFICATE-----",
    "key": "-----BEGIN PRIVATE KEY-----",
}
"""What the expressions name."""


class Asked:
    """In the place of a transport: notes what is asked, and answers with something of the right form."""

    def __init__(self) -> None:
        self.endpoint = "nowhere"
        self.attaching = asyncio.Semaphore()
        self.is_open = True
        self.timeout = 30
        self.pause = asyncio.sleep
        self.operations: set[str] = set()

    def note(self, method: str, target: str) -> None:
        self.operations.add(operation(method, target) or f"{method} {target}: no such operation")

    async def request(self, method: str, target: str, **_: Any) -> Response:
        self.note(method, target)
        named = operation(method, target) or ""
        sockets = dict.fromkeys(("0", "1", "2", "control"), "secret")
        running: dict[str, Any] = {"id": str(uuid.uuid4()), "class": "task", "status": "Success", "status_code": 200}
        running["metadata"] = {"fds": sockets, "fingerprint": "x", "secret": "x"}
        if named in ("GET /1.0/operations/{}", "GET /1.0/operations/{}/wait"):
            answer: dict[str, Any] = {"type": "sync", "metadata": running}
        elif KINDS[named] != "sync" and method != "GET":
            answer = {"type": "async", "metadata": running}
        else:
            many = isinstance(RESULTS[named], list) and "recursion=" in target
            answer = {
                "type": "sync",
                "metadata": []
                if many
                else dict.fromkeys(("name", "fingerprint", "target", "type"), "x") | {"ports": []},
            }
        headers = {"Content-Type": "application/json", "ETag": "e"}
        return Response(200, headers, json.dumps(answer).encode())

    @contextlib.asynccontextmanager
    async def stream(self, method: str, target: str, **_: Any) -> AsyncGenerator[Any]:
        self.note(method, target)

        async def chunks() -> AsyncGenerator[bytes]:
            yield b"x"

        async def read() -> bytes:
            return b"x"

        yield SimpleNamespace(status=200, headers={"Content-Type": "text/plain"}, chunks=chunks, read=read)

    async def websocket(self, target: str, **_: Any) -> Any:
        self.note("GET", target)
        raise IncusConnectionError("no websocket here")

    async def upgrade(self, method: str, target: str, *_: Any, **__: Any) -> Any:
        self.note(method, target)
        raise IncusConnectionError("no upgrade here")

    async def close(self) -> None:
        pass


ENDPOINTS = {f"{each['method']} {each['path']}": each for each in json.loads((API / "endpoints.json").read_text())}
KINDS = {name: each["kind"] for name, each in ENDPOINTS.items()}
RESULTS = {name: (each["result"] or {}).get("recursion=1") for name, each in ENDPOINTS.items()}


def test_each_operation_has_its_method_and_no_other_is_listed() -> None:
    assert METHODS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("named", METHODS)
async def test_the_method_makes_the_operation_and_nothing_that_is_none(
    named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def supported(*_: object) -> None:
        pass

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Scope, "require", supported)
    asked = Asked()
    client = Client._view(Scope(asked))  # type: ignore[arg-type]
    # What is made of the answer is shown elsewhere, on real daemons: here some of it makes no sense.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(5):
            result = eval(METHODS[named], NAMES, {"client": client})
            if hasattr(result, "__aenter__"):
                async with result:
                    pass
            else:
                await result
    assert named in asked.operations
    assert not [each for each in asked.operations if each not in OPERATIONS]
