"""A whole run compares the operations that its workers saw with the record, and fails where they differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.wire_record import OPERATIONS, RECORD, UNEXERCISED, VERSIONS, as_recorded, problems

ROOT = Path(__file__).parents[2]
SEEN: dict[str, set[str]] = {name: set(versions) for name, versions in json.loads(RECORD.read_text()).items()}
GET = sorted(SEEN)[0]


def found(seen: dict[str, set[str]]) -> list[str]:
    return problems(seen, json.loads(RECORD.read_text()), VERSIONS)


def test_what_the_record_says_is_what_should_be_seen() -> None:
    assert found(SEEN) == []
    assert as_recorded(SEEN) == json.loads(RECORD.read_text())


def test_an_operation_that_was_not_seen_is_a_problem() -> None:
    assert found(SEEN | {GET: {"7.0.2"}}) == [f"{GET}: not exercised on 6.0.4", f"{GET}: 6.0.4 only in the record"]


def test_an_operation_that_the_record_lacks_is_a_problem() -> None:
    name = next(name for name in UNEXERCISED if name not in SEEN)
    assert f"{name}: 7.0.2 not in it" in found(SEEN | {name: {"7.0.2"}})
    assert found(SEEN | {"GET /2.0": {"7.0.2"}}) == ["GET /2.0: the API has no such operation"]


def test_what_this_machine_has_not_is_not_compared() -> None:
    assert problems(SEEN | {GET: {"7.0.2"}}, json.loads(RECORD.read_text()), {"7.0.2"}) == []


def test_what_could_not_be_exercised_has_its_reason() -> None:
    for name, why in UNEXERCISED.items():
        assert name in OPERATIONS
        assert why["reason"]
        assert set(why["versions"]) & VERSIONS


CONFTEST = """
from tests.conftest import *
from tests.live import wire_record

wire_record.installed = lambda: dict.fromkeys(wire_record.VERSIONS, "7.0.2") | {"6.0.4": "6.0.4"}
"""
TESTS = """
import json, pytest
from tests.live import wire_record

RECORD = sorted(json.loads(wire_record.RECORD.read_text()).items())

@pytest.mark.parametrize("tenth", range(10))
def test_see(tenth, request):
    for name, versions in RECORD[NUMBER::2][tenth::10]:
        request.config.stash[wire_record.SEEN][name].update(versions)
"""


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ("-n 2", 0, f"{len(SEEN)} operations of the API seen; compared with the record of ['6.0.4', '7.0.2']"),
        ("-n 2 --deselect test_a.py::test_see[0]", 1, f"{GET}: not exercised on 6.0.4"),
        ("-n 0 --deselect test_a.py::test_see[0]", 1, f"{GET}: not exercised on 6.0.4"),
        ("-k see", 4, "--whole is a run of all tests"),
        ("test_a.py", 4, "--whole is a run of all tests"),
    ],
)
def test_the_run_fails_where_they_differ(tmp_path: Path, options: str, status: int, said: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for number, name in enumerate("ab"):
        (tmp_path / f"test_{name}.py").write_text(TESTS.replace("NUMBER", str(number)))
    own = f"--basetemp={tmp_path / 'tests'}"  # other runs share the usual one
    command = [sys.executable, "-m", "pytest", "-q", own, "--whole", "-o", "testpaths=.", *options.split()]
    ran = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, said in ran.stdout + ran.stderr) == (status, True), ran.stdout + ran.stderr
