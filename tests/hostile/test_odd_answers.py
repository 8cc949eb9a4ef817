"""Answers of the right form that hold something else: every operation ends with a result or an `IncusError`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import traceback
import uuid
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import Client, IncusError
from incus_sdk._connection.scope import Scope
from incus_sdk._connection.transport import Response
from tests.unit.test_reach import METHODS, NAMES, Asked

DEEP: Any = json.loads("[" * 300 + "]" * 300)

OPERATION = {"id": str(uuid.uuid4()), "class": "task", "status": "Success", "status_code": 200, "metadata": {}}
ODD = {
    "null": None,
    "a number": 5,
    "a boolean": True,
    "a string": "x",
    "an empty list": [],
    "a list of numbers": [5],
    "a list of nulls": [None],
    "a list of strings": ["x", "", "//["],
    "a list of lists": [[]],
    "a list of empty objects": [{}],
    "a list of objects with odd names": [{"name": 5, "id": [], "fingerprint": None, "project": {}, "config": 5}],
    "an empty object": {},
    "an object of numbers": dict.fromkeys(("name", "id", "config", "devices", "status", "environment", "target"), 5),
    "an object of lists": {key: [5] for key in ("running", "success", "config", "devices", "metadata", "addresses")},
    "deep": DEEP,
    "a running operation of nothing": {**OPERATION, "metadata": None, "resources": None},
    "an operation with odd fields": {**OPERATION, "metadata": 5, "resources": [5], "class": [], "err": 5},
    "an operation with odd secrets": {**OPERATION, "metadata": {"fds": 5, "return": "x", "output": 5, "control": {}}},
    "an operation with odd resources": {**OPERATION, "resources": {"instances": 5, "images": [5, "//["]}},
    "an operation without an id": {"status_code": 200},
    "an operation with an odd id": {**OPERATION, "id": 5, "status_code": "200"},
    "a failed operation": {**OPERATION, "status_code": 400, "err": {"x": 5}, "metadata": ["x"], "resources": "x"},
}


class Odd(Asked):
    """Answers everything with the same payload."""

    def __init__(self, type: str, payload: Any) -> None:
        super().__init__()
        self.pause: Any = lambda _: asyncio.sleep(0)
        self.body = json.dumps({"type": type, "status": "", "status_code": 0, "metadata": payload}).encode()

    async def request(self, method: str, target: str, **_: Any) -> Response:
        return Response(200, {"Content-Type": "application/json", "ETag": "e"}, self.body)


async def outcome(expression: str, client: Client) -> BaseException | None:
    """The error of a method that is called as the documentation shows it."""
    try:
        async with asyncio.timeout(20):
            result = eval(expression, NAMES, {"client": client})
            if hasattr(result, "__aenter__"):
                async with result:
                    pass
            elif hasattr(result, "__aiter__"):
                async for _ in result:
                    break
            else:
                await result
    except IncusError as error:
        return error
    return None


@pytest.mark.parametrize("type", ["sync", "async"])
@pytest.mark.parametrize("odd", ODD)
async def test_every_method_ends_with_a_result_or_an_error_of_the_sdk(
    odd: str, type: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def supported(*_: object) -> None:
        pass

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Scope, "require", supported)
    wrong: dict[str, str] = {}
    for named, expression in METHODS.items():
        client = Client._view(Scope(Odd(type, ODD[odd])))  # type: ignore[arg-type]
        try:
            error = await outcome(expression, client)
            with contextlib.suppress(IncusError):
                str(error)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            wrong[f"{named} ({expression})"] = f"{error!r} in {where.filename.rpartition('/')[2]}:{where.lineno}"
    assert not wrong, "\n".join(f"{each}: {said}" for each, said in wrong.items())
