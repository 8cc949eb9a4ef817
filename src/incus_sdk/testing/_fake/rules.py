"""Faults by script: what happens to requests and operations instead of, or beside, what usually does."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal

from ...exceptions import IncusInputError
from .answers import Answer, error, success
from .requests import FakeRequest
from .routing import METHODS, operations
from .streams import AnyAnswer

Drop = Literal["request", "answer", "body"]

_USUAL = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    409: "Conflict",
    412: "ETag doesn't match",
    500: "Internal error",
    501: "Not implemented",
    503: "Service unavailable",
}


class FakeRule:
    """A rule of a fake, from the moment it was made until `remove`, or until it was used often enough.

    Args:
        method: See `Fake.on_request`.
        path: See `Fake.on_request`.
        times: How often it is used; None for any number.
        after: How many requests that fit go by first.
    """

    def __init__(self, method: str, path: str, times: int | None, after: int) -> None:
        self.method = method
        self.path = path
        self.used = 0
        """How often it was used."""
        self._times = times
        self._after = after
        self._seen = 0
        self._removed = False
        self._pattern = compiled(method, path)

    def remove(self) -> None:
        """Use it no longer."""
        self._removed = True

    def _takes(self, request: FakeRequest) -> bool:
        """Whether a request is to be treated by it, which counts."""
        if self._removed or (self._times is not None and self.used >= self._times):
            return False
        if self.method not in ("*", request.method) or not self._pattern.fullmatch(request.path):
            return False
        self._seen += 1
        if self._seen <= self._after:
            return False
        self.used += 1
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.path}, used {self.used} times>"


class RequestRule(FakeRule):
    """What happens to requests."""

    def __init__(
        self,
        method: str,
        path: str,
        times: int | None,
        after: int,
        answer: Answer | None,
        delay: float,
        drop: Drop | None,
    ) -> None:
        super().__init__(method, path, times, after)
        self._answer = answer
        self._delay = delay
        self._drop: Drop | None = drop

    def perform(
        self, request: FakeRequest, handle: Callable[[FakeRequest], AnyAnswer | Awaitable[AnyAnswer]]
    ) -> AnyAnswer | Awaitable[AnyAnswer]:
        """Answer a request."""
        if self._delay or self._drop:
            return self._perform_later(request, handle)
        return handle(request) if self._answer is None else self._answer

    async def _perform_later(self, request: FakeRequest, handle: Callable[[FakeRequest], Any]) -> AnyAnswer:
        await asyncio.sleep(self._delay)
        if self._drop == "request":
            return Answer(cut="request")
        answer = handle(request) if self._answer is None else self._answer
        if inspect.isawaitable(answer):
            answer = await answer
        if self._drop is not None and isinstance(answer, Answer):
            return Answer(answer.status, answer.body, answer.headers, self._drop)
        return answer


class OperationRule(FakeRule):
    """What happens to operations."""

    def __init__(
        self,
        method: str,
        path: str,
        times: int | None,
        after: int,
        fails: str | None,
        delay: float,
        progress: Iterable[tuple[str, int]],
        log: str | None,
    ) -> None:
        super().__init__(method, path, times, after)
        self.fails = fails
        self.delay = delay
        self.progress = tuple(progress)
        self.log = log


class Rules:
    """All rules of a fake; the newest comes first."""

    def __init__(self) -> None:
        self._requests: list[RequestRule] = []
        self._operations: list[OperationRule] = []

    def add(self, rule: FakeRule) -> None:
        """Add a rule."""
        if isinstance(rule, RequestRule):
            self._requests.insert(0, rule)
        elif isinstance(rule, OperationRule):
            self._operations.insert(0, rule)

    def request_rule(self, request: FakeRequest) -> RequestRule | None:
        """The rule that a request is to be treated by."""
        return next((rule for rule in self._requests if rule._takes(request)), None)

    def operation_rule(self, request: FakeRequest) -> OperationRule | None:
        """The rule that the operation of a request is to be treated by."""
        return next((rule for rule in self._operations if rule._takes(request)), None)


def answer_of(status: int | None, message: str | None, metadata: Any) -> Answer | None:
    """The answer that a rule gives instead of the usual one; None for the usual one."""
    if metadata is not None:
        if status not in (None, 200) or message is not None:
            raise IncusInputError("metadata= is a value, which comes with no other status, and no error")
        return success(metadata)
    if message is not None and status is None:
        status = 500
    if status is None:
        return None
    if not 400 <= status <= 599:
        raise IncusInputError(
            f"status= must be that of an error, from 400 to 599, not {status}; metadata= gives a value"
        )
    return error(status, message or _USUAL.get(status, "Error"))


def compiled(method: str, path: str) -> re.Pattern[str]:
    """A pattern for paths: ``*`` stands for one name, ``**`` for any number; raises for one that nothing can match."""
    if method not in METHODS and method != "*":
        raise IncusInputError(f"{method!r} is not a method of the API: {', '.join(sorted(METHODS))}, or * for any")
    if not path.startswith("/"):
        raise IncusInputError(f"a path begins with a slash, as /1.0/instances/c1 does, not like {path!r}")
    if "?" in path:
        raise IncusInputError(f"a path has no query, which all requests to it have in common: {path!r}")
    parts = [re.escape(part).replace(r"\*\*", ".*").replace(r"\*", "[^/]*") for part in path.split("/")]
    pattern = re.compile("/".join(parts))
    known = [(each, template) for each, template in operations() if method in ("*", each)]
    if not any(_can_match(path, template) for _, template in known):
        templates = sorted({template.replace("{}", "*") for _, template in known})
        close = difflib.get_close_matches(path, templates, n=3, cutoff=0.3)
        hint = f": did you mean {' or '.join(close)}?" if close else ""
        raise IncusInputError(f"no operation of the API is {method} {path}, so this can never happen{hint}")
    return pattern


def _can_match(path: str, template: str) -> bool:
    """Whether a pattern can match a path of the API."""

    def match(given: list[str], wanted: list[str]) -> bool:
        if not given or not wanted:
            return given == wanted or given == ["**"]
        if given[0] == "**":
            return match(given[1:], wanted) or match(given, wanted[1:])
        fits = (
            wanted[0] == "{}"
            or given[0] == wanted[0]
            or ("*" in given[0] and re.fullmatch(re.escape(given[0]).replace(r"\*", ".*"), wanted[0]) is not None)
        )
        rest = wanted[1:]
        if template == "/1.0/images/aliases/{}" and wanted == ["{}"] and len(given) > 1:
            rest = wanted  # their names can have slashes
        return fits and match(given[1:], rest)

    return match(path.strip("/").split("/"), template.strip("/").split("/"))
