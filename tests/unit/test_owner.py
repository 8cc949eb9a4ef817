"""Whether the process that something temporary belongs to has ended: only if that is sure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from incus_sdk.api import _owner
from incus_sdk.api._owner import has_ended, this_process

HERE = json.loads(this_process())


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine, not a container, wherever the tests run."""
    monkeypatch.setattr(_owner, "_machine", lambda: {"host": "host id", "boot": "b1", "namespace": "pid:[1]"})


def described(**changes: Any) -> str:
    return json.dumps({**HERE, "host": "host id", "boot": "b1", "namespace": "pid:[1]", **changes})


def ended_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


@pytest.mark.parametrize(
    ("changes", "ended"),
    [
        ({}, False),
        ({"start": 1}, True),  # another has its number by now
        ({"start": None}, False),
        ({"pid": 1}, True),  # that began at another time
        ({"boot": "b2"}, True),  # this machine was restarted
        ({"boot": "b2", "host": "other"}, False),
        ({"boot": "b2", "host": ""}, False),
        ({"boot": "", "start": 1}, False),
        ({"namespace": "pid:[2]", "start": 1}, False),  # in another container
        ({"host": "other", "start": 1}, True),
        ({"pid": "x"}, False),
        ({"pid": 0, "start": 1}, False),
        ({"pid": None}, False),
    ],
)
def test_a_process_has_ended_only_if_that_is_sure(changes: dict[str, Any], ended: bool) -> None:
    assert has_ended(described(**changes)) is ended


def test_a_process_that_has_just_ended_has_ended() -> None:
    assert has_ended(described(pid=ended_pid()))


def test_a_process_of_another_user_that_cannot_be_looked_at_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(_owner, "_stat", lambda pid: [])
    assert not has_ended(described(pid=7, start=1))


@pytest.mark.parametrize("mark", ["", "x", "[]", "{}", "null", '{"pid": 1}'])
def test_what_says_nothing_of_a_process_proves_nothing(mark: str) -> None:
    assert not has_ended(mark)


def test_where_the_machine_does_not_say_who_it_is_nothing_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_owner, "_machine", lambda: {"host": "", "boot": "", "namespace": ""})
    assert not has_ended(described(start=1))
