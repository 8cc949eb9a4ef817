"""What the fake answers: values, errors in the server's envelope, operations, content, and switches of protocol."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_LOG = logging.getLogger("incus_sdk.testing")
_ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_JSON = {"Content-Type": "application/json"}

Object = dict[str, Any]
"""An object of the API."""

STATUSES = {
    100: "Operation created",
    101: "Started",
    102: "Stopped",
    103: "Running",
    104: "Cancelling",
    105: "Pending",
    106: "Starting",
    107: "Stopping",
    108: "Aborting",
    109: "Freezing",
    110: "Frozen",
    111: "Thawed",
    112: "Error",
    113: "Ready",
    200: "Success",
    400: "Failure",
    401: "Cancelled",
}
"""The API's status codes."""


class Refused(Exception):
    """An error that is the answer to a request, or the end of an operation.

    Args:
        status: Its HTTP code.
        message: In the server's words.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def refusal(failure: Exception, what: str) -> Refused:
    """The answer to what failed, which names what the fake could not do with what it was told.

    Args:
        failure: `Refused`, or an error of the fake itself.
        what: What it was doing.
    """
    if isinstance(failure, Refused):
        return failure
    _LOG.error("%s", what, exc_info=failure)
    return Refused(500, f"The fake of incus_sdk cannot do {what} as it was asked: {type(failure).__name__}: {failure}")


@dataclass(slots=True)
class Answer:
    """An answer as it is sent."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: Literal["request", "answer", "body"] | None = None
    """Where the connection breaks: before the answer, or in the middle of its body."""


def encoded(value: Any) -> bytes:
    """JSON, as the server writes it."""
    return _ENCODE(value).encode() + b"\n"


def _envelope(type: str, status: str = "", code: int = 0, operation: str = "", metadata: Any = None) -> bytes:
    return encoded(
        {
            "type": type,
            "status": status,
            "status_code": code,
            "operation": operation,
            "error_code": 0,
            "error": "",
            "metadata": metadata,
        }
    )


def success(metadata: Any, etag: Any = None) -> Answer:
    """A value.

    Args:
        metadata: The value.
        etag: What its ETag is made from; None for an answer without one.
    """
    body = _envelope("sync", "Success", 200, metadata=metadata)
    return Answer(200, body, _JSON if etag is None else {**_JSON, "Etag": f'"{etag_of(etag)}"'})


def done() -> Answer:
    """The answer of what has no value."""
    return success({})


def created(location: str) -> Answer:
    """The answer to what made something at a path."""
    return Answer(201, _envelope("sync", "Success", 200), {**_JSON, "Location": location})


def accepted(path: str, operation: Object) -> Answer:
    """The answer to what goes on in the background, as an operation at a path."""
    return Answer(202, _envelope("async", STATUSES[100], 100, path, operation), {**_JSON, "Location": path})


def content(data: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    """Content as it is."""
    return Answer(200, data, {"Content-Type": "application/octet-stream", **(headers or {})})


def error(status: int, message: str) -> Answer:
    """An error."""
    envelope = {
        "type": "error",
        "status": "",
        "status_code": 0,
        "operation": "",
        "error_code": status,
        "error": message,
        "metadata": None,
    }
    return Answer(status, encoded(envelope), _JSON)


def etag_of(value: Any) -> str:
    """The ETag of a value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def check_etag(given: str | None, value: Any) -> None:
    """Refuse a change whose ``If-Match`` is of another version than this value."""
    if given and given.strip('"') != (current := etag_of(value)):
        raise Refused(412, f"ETag doesn't match: {current} vs {given.strip(chr(34))}")
