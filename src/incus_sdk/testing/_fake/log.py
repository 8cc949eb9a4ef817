"""The log of a fake's requests, and what tests assert of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from .requests import FakeRequest
from .rules import compiled


class FakeRequests(Sequence[FakeRequest]):
    """The requests that a fake got, in their order."""

    def __init__(self) -> None:
        self._all: list[FakeRequest] = []

    def _add(self, request: FakeRequest) -> None:
        self._all.append(request)

    @overload
    def __getitem__(self, index: int) -> FakeRequest: ...
    @overload
    def __getitem__(self, index: slice) -> list[FakeRequest]: ...
    def __getitem__(self, index: int | slice) -> FakeRequest | list[FakeRequest]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def clear(self) -> None:
        """Forget what came until now."""
        self._all.clear()

    def to(self, method: str, path: str) -> list[FakeRequest]:
        """Those to a path.

        Args:
            method: As ``GET``; ``*`` for any.
            path: See `Fake.on_request`.

        Raises:
            IncusInputError: No request can ever fit.
        """
        pattern = compiled(method, path)
        return [each for each in self._all if method in ("*", each.method) and pattern.fullmatch(each.path)]

    def assert_made(
        self,
        method: str,
        path: str,
        *,
        times: int | None = None,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> list[FakeRequest]:
        """Assert that a request was made.

            fake.requests.assert_made("POST", "/1.0/instances", times=1, body={"name": "c1"})

        Args:
            method: As ``GET``; ``*`` for any.
            path: See `Fake.on_request`.
            times: How often exactly; None for at least once.
            body: What is in its body, at any depth; it may have more.
            query: What is in its query; it may have more.

        Returns:
            The requests that fit.

        Raises:
            AssertionError: It was not; the message lists what came instead.
            IncusInputError: No request can ever fit.
        """
        to_path = self.to(method, path)
        found = [
            each
            for each in to_path
            if (body is None or _contains(each.json, body)) and (query is None or query.items() <= each.query.items())
        ]
        if len(found) == times or (times is None and found):
            return found
        wanted = f"{method} {path}"
        if query is not None:
            wanted += f" with the query {dict(query)}"
        if body is not None:
            wanted += f" with {dict(body)} in its body"
        often = "at least once" if times is None else _times(times)
        raise AssertionError(
            f"expected {wanted} {often}, but it was made {_times(len(found))}.\n"
            + _listed("To this path came:" if to_path else "All requests:", to_path or self._all)
        )

    def assert_not_made(self, method: str, path: str) -> None:
        """Assert that a request was not made.

        Args:
            method: As ``GET``; ``*`` for any.
            path: See `Fake.on_request`.

        Raises:
            AssertionError: It was.
            IncusInputError: No request can ever fit.
        """
        if found := self.to(method, path):
            raise AssertionError(
                f"expected no {method} {path}, but it was made {_times(len(found))}.\n" + _listed("It came as:", found)
            )

    def assert_order(self, *steps: tuple[str, str]) -> None:
        """Assert that requests were made one after the other; others may have come between them.

            fake.requests.assert_order(("POST", "/1.0/instances"), ("PUT", "/1.0/instances/c1/state"))

        Args:
            *steps: Method and path of each: see `Fake.on_request`.

        Raises:
            AssertionError: They were not.
            IncusInputError: No request can ever fit one of them.
        """
        at = 0
        for number, (method, path) in enumerate(steps, 1):
            pattern = compiled(method, path)
            while at < len(self._all):
                request = self._all[at]
                at += 1
                if method in ("*", request.method) and pattern.fullmatch(request.path):
                    break
            else:
                before = " after ".join(f"{m} {p}" for m, p in reversed(steps[: number - 1]))
                where = f" after {before}" if before else ""
                raise AssertionError(
                    f"expected {method} {path}{where}, but it did not come then.\n"
                    + _listed("All requests:", self._all)
                )

    def __repr__(self) -> str:
        return _listed(f"{len(self)} requests:", self._all)


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and _contains(value[key], item) for key, item in wanted.items()
        )
    return bool(value == wanted)


def _listed(title: str, requests: Sequence[FakeRequest]) -> str:
    shown = list(_lines(requests[:50]))
    if len(requests) > 50:
        shown.append(f"  ... and {len(requests) - 50} more")
    return "\n".join([title, *(shown or ["  none"])])


def _lines(requests: Sequence[FakeRequest]) -> Iterator[str]:
    for request in requests:
        text = request.body[:200].decode(errors="replace") if request.body[:1] in (b"{", b"[") else ""
        if not text and request.body:
            text = f"<{len(request.body)} bytes>"
        target = re.sub("secret=[^&]*", "secret=...", request.target)
        yield f"  {request.method} {target} -> {request.status or 'no answer'} {text}".rstrip()
