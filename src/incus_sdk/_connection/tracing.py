"""What is told of requests: a line of the log for each, and the hook of `Client.trace_requests` around each.

Neither costs anything where nobody asked for it. What can hold a secret is not told: queries, headers, bodies and the
words of errors.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ..exceptions import IncusInputError
from .answers import UpgradeRefused

if TYPE_CHECKING:
    from .connection import Connection

REQUESTS = logging.getLogger("incus_sdk.requests")
RETRIES = logging.getLogger("incus_sdk.retries")


@dataclass
class TracedRequest:
    """A request, as logs and traces tell of it; what is not known before the answer is filled in as it comes.

    Args:
        id: Its number, of those of its client.
        method: The HTTP method.
        path: The path, without the query.
        server: The server's address.
        project: The project that it is for; None is the server's default.
        target: The cluster member that it is for; None is any.
        protocol: The protocol that it asks for, such as ``websocket``; empty for an ordinary answer.
        status: The HTTP status of the answer; None if none came.
        operation: The id of the operation that the server began; empty if there is none.
        reused: Whether it went over a connection that others had used; None if it had none.
        sent: Bytes of its body that were sent.
        received: Bytes of the answer's body that were received.
        seconds: How long it took; None while it is under way.
        error: The name of the error that ended it; empty if none did.
    """

    id: int
    method: str
    path: str
    server: str
    project: str | None
    target: str | None
    protocol: str = ""
    status: int | None = None
    operation: str = ""
    reused: bool | None = None
    sent: int = 0
    received: int = 0
    seconds: float | None = None
    error: str = ""

    def __str__(self) -> str:
        where = ", ".join(
            f"{name} {value}" for name, value in (("project", self.project), ("member", self.target)) if value
        )
        what = f"#{self.id} {self.method} {self.path}{f' ({where})' if where else ''}"
        if self.seconds is None:
            return what
        facts = [
            f"{self.error or self.status} in {self.seconds:.3f} s",
            f"{self.sent} bytes out and {self.received} in",
            *([] if self.reused is None else ["connection reused" if self.reused else "new connection"]),
            *([f"operation {self.operation}"] if self.operation else []),
            *([self.protocol] if self.protocol else []),
        ]
        return f"{what}: {', '.join(facts)}"


Hook = Callable[[TracedRequest], AbstractContextManager[object]]
"""Makes a context manager that is entered before a request is sent, and left after its answer was read."""


class Tracing:
    """Of one client: makes a `Trace` for each request."""

    def __init__(self) -> None:
        self.hook: Hook | None = None
        self._numbers = itertools.count(1)

    def begin(self, method: str, target: str, server: object, body: object = None, protocol: str = "") -> Trace:
        """What is to be entered around a request."""
        if self.hook is None and not REQUESTS.isEnabledFor(logging.DEBUG):
            return UNTRACED
        path, _, query = target.partition("?")
        names = parse_qs(query)
        project, member = (names.get(name, [None])[0] for name in ("project", "target"))
        request = TracedRequest(next(self._numbers), method, path, str(server), project, member, protocol)
        return _Traced(request, self.hook, len(body) if isinstance(body, bytes) else 0)


class Trace:
    """Nobody wants to know."""

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def answered(self, connection: Connection) -> None:
        """Note that an answer has begun, on this connection."""


class _Traced(Trace):
    def __init__(self, request: TracedRequest, hook: Hook | None, sent: int) -> None:
        self._request = request
        self._around = None if hook is None else hook(request)
        if hook is not None and not isinstance(self._around, AbstractContextManager):
            kind = type(self._around).__name__
            raise IncusInputError(f"the hook of trace_requests must return a plain context manager, not {kind}")
        self._connection: Connection | None = None
        self._sent = sent

    def __enter__(self) -> Trace:
        self._begun = time.monotonic()
        if self._around is not None:
            self._around.__enter__()
        return self

    def answered(self, connection: Connection) -> None:
        self._connection = connection
        self._request.status = connection.status
        self._request.reused = connection.reused
        location = connection.headers.get("Location", "").partition("?")[0]
        if "/operations/" in location:
            self._request.operation = location.rpartition("/")[2]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        request = self._request
        request.seconds = time.monotonic() - self._begun
        request.error = "" if kind is None or kind is UpgradeRefused else kind.__name__
        if self._connection is not None:
            request.sent, request.received = self._sent + self._connection.uploaded, self._connection.received
        REQUESTS.debug("%s", request, extra={"request": request})
        if self._around is not None:
            self._around.__exit__(kind, error, trace)


UNTRACED = Trace()
