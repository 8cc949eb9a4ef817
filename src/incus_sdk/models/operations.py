"""Operations and events: records."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from .base import Key, Record

StatusCode = int
"""What an operation or an instance is doing, as a number: 200 and above are final."""


class Operation(Record):
    """A background job of the server; forgotten about five seconds after its end."""

    _shown = ("description", "status", "id")

    class_: Annotated[str, Key("class")]
    """task, websocket (it offers websockets, such as exec) or token (it waits for its secret to be used)."""
    created_at: datetime | None
    description: str
    """In words: Executing command."""
    err: str
    """Why it failed; empty otherwise."""
    id: str
    """UUID."""
    location: str
    """Cluster member it runs on; none (the word) on a server outside any cluster."""
    may_cancel: bool
    metadata: dict[str, Any]
    """What the job itself reports: progress, websocket secrets, an exit code, a fingerprint."""
    resources: dict[str, list[str]]
    """URLs of what it acts on, by kind: ``{"instances": ["/1.0/instances/c1"]}``; for a cluster ``{"cluster": None}``.
    """
    status: Literal["Pending", "Running", "Cancelling", "Success", "Failure", "Cancelled"] | str
    status_code: int
    """200 and above are final: 200 success, 400 failure, 401 cancelled; 103 running, 105 pending."""
    updated_at: datetime | None


class Event(Record):
    """One message of the server's event stream."""

    location: str
    """Cluster member it comes from."""
    metadata: Any
    """By type: an Operation's JSON; ``{action, source, requestor, ...}``; ``{message, level, context}``."""
    project: str
    """Empty for events of the server as a whole."""
    timestamp: datetime | None
    type: str
    """operation, lifecycle, logging or network-acl."""
