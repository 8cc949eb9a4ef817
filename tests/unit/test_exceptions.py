"""The errors: one tree, whose leaves say all on one line, travel between processes, and tell no secret."""

from __future__ import annotations

import copy
import inspect
import pickle
import socket
import traceback
from typing import Any

import pytest

import incus_sdk
from incus_sdk import (
    IncusAPIError,
    IncusAuthenticationError,
    IncusCertificateError,
    IncusClosedError,
    IncusConflictError,
    IncusConnectionError,
    IncusError,
    IncusFrozenError,
    IncusInputError,
    IncusInstanceStoppedError,
    IncusNotFoundError,
    IncusNotLoadedError,
    IncusNotRunningError,
    IncusOperationConflictError,
    IncusOperationError,
    IncusOperationLostError,
    IncusPermissionError,
    IncusPreconditionError,
    IncusTimeoutError,
    IncusUnsupportedError,
    ProcessError,
    exceptions,
)

SECRET = "hunter2-very-secret"

BASES: dict[type[IncusError], tuple[type[BaseException], ...]] = {
    IncusInputError: (IncusError, ValueError),
    IncusNotLoadedError: (IncusError,),
    IncusUnsupportedError: (IncusError,),
    IncusConnectionError: (IncusError,),
    IncusCertificateError: (IncusConnectionError,),
    IncusClosedError: (IncusConnectionError,),
    IncusTimeoutError: (IncusError, TimeoutError),
    IncusAPIError: (IncusError,),
    IncusAuthenticationError: (IncusAPIError,),
    IncusPermissionError: (IncusAPIError,),
    IncusNotFoundError: (IncusAPIError,),
    IncusConflictError: (IncusAPIError,),
    IncusPreconditionError: (IncusAPIError,),
    IncusNotRunningError: (IncusAPIError,),
    IncusFrozenError: (IncusAPIError,),
    IncusOperationError: (IncusError,),
    IncusOperationLostError: (IncusOperationError,),
    IncusOperationConflictError: (IncusOperationError, IncusConflictError),
    ProcessError: (IncusError,),
    IncusInstanceStoppedError: (ProcessError,),
}

ATTRIBUTES: dict[str, Any] = {
    "extension": "instance_nbd",
    "cause": ConnectionResetError(104, "reset"),
    "status_code": 418,
    "response": {"type": "error", "metadata": {"secret": SECRET}},
    "operation_id": "0b4d",
    "log": f"lxc: {SECRET}",
    "command": ("login", SECRET),
    "returncode": 3,
    "stdout": SECRET.encode(),
    "stderr": SECRET,
}
"""A value for each attribute that an error of the tree may have."""

ALL = sorted(
    {kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, IncusError)},
    key=lambda kind: kind.__name__,
)


def attributes(kind: type[IncusError]) -> dict[str, Any]:
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {one.name: ATTRIBUTES[one.name] for one in parameters if one.kind is one.KEYWORD_ONLY}


def made(kind: type[IncusError], message: str = "GET /1.0/x: no") -> IncusError:
    return kind(message, **attributes(kind))


@pytest.mark.parametrize("kind", BASES, ids=lambda kind: kind.__name__)
def test_the_tree_is_as_documented(kind: type[IncusError]) -> None:
    assert kind.__bases__ == BASES[kind]


def test_the_documented_tree_is_the_whole_tree() -> None:
    assert {*BASES, IncusError} == set(ALL)


@pytest.mark.parametrize("kind", ALL)
def test_each_is_public_and_says_in_its_docstring_what_it_means(kind: type[IncusError]) -> None:
    assert getattr(incus_sdk, kind.__name__) is kind
    assert len(vars(kind)["__doc__"]) > 20


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (IncusAPIError, {"status_code", "response"}),
        (IncusNotFoundError, {"status_code", "response"}),
        (IncusConnectionError, {"cause"}),
        (IncusCertificateError, {"cause"}),
        (IncusOperationError, {"operation_id", "response", "log"}),
        (IncusTimeoutError, {"stdout", "stderr"}),
        (IncusUnsupportedError, {"extension"}),
        (ProcessError, {"command", "returncode", "stdout", "stderr"}),
    ],
)
def test_each_has_the_documented_attributes(kind: type[IncusError], names: set[str]) -> None:
    assert set(attributes(kind)) == names


@pytest.mark.parametrize("kind", ALL)
def test_attributes_are_what_was_given_and_have_defaults(kind: type[IncusError]) -> None:
    error, bare = made(kind), kind("x")
    for name, value in attributes(kind).items():
        assert getattr(error, name) == value
        assert not getattr(bare, name)


def test_an_http_status_has_its_class() -> None:
    documented = {
        401: IncusAuthenticationError,
        403: IncusPermissionError,
        404: IncusNotFoundError,
        409: IncusConflictError,
        412: IncusPreconditionError,
    }
    assert documented == exceptions._BY_STATUS


@pytest.mark.parametrize("kind", ALL)
def test_each_prints_on_one_line_whatever_the_server_said(kind: type[IncusError]) -> None:
    assert str(made(kind, "one\r\n two\tthree\x0b\x85\u2028four ")) == "one two three four"
    assert str(kind()) == ""
    assert "\n" not in repr(made(kind, "one\ntwo"))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("travel", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_each_travels_whole(kind: type[IncusError], travel: Any) -> None:
    error = made(kind)
    error.add_note("while starting c1")
    arrived = travel(error)
    assert type(arrived) is kind
    assert (str(arrived), arrived.args) == (str(error), error.args)
    assert vars(arrived).keys() == vars(error).keys()
    assert arrived.__notes__ == ["while starting c1"]
    for name, value in attributes(kind).items():
        assert str(getattr(arrived, name)) == str(value)


def test_a_cause_that_cannot_travel_arrives_as_what_it_says() -> None:
    class Unpicklable(ConnectionError):
        def __reduce__(self) -> Any:
            raise TypeError("never")

    with socket.socket() as held:
        error = IncusConnectionError("GET /1.0: broken", cause=Unpicklable("reset", held))
        arrived = pickle.loads(pickle.dumps(error))
    assert isinstance(arrived.cause, OSError)
    assert "reset" in str(arrived.cause)
    assert isinstance(error.cause, Unpicklable)  # where it was raised it stays what it is


@pytest.mark.parametrize("kind", ALL)
def test_what_an_error_carries_is_not_in_what_it_prints(kind: type[IncusError]) -> None:
    error = made(kind)
    printed = [str(error), repr(error), *traceback.format_exception(error)]
    assert not [text for text in printed if SECRET in text]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("two\n lines", "two lines"),
        ("\x1b[31mred\x07 \x9b2J", r"\x1b[31mred\x07 \x9b2J"),
        ("a\u202eb\ud800", r"a\u202eb\ud800"),
        ("Zürich 東京", "Zürich 東京"),
        ("x" * 100_000_000, "x" * 2000 + "... (99998000 more characters)"),
    ],
    ids=["lines", "control", "odd", "letters", "endless"],
)
def test_a_message_is_one_short_line_that_no_terminal_obeys(message: str, shown: str) -> None:
    error = IncusAPIError(message)
    assert str(error) == shown
    assert error.args == (message,), "nothing is lost"
