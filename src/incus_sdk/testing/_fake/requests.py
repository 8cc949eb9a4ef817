"""Requests that the fake got, and what tests say about them."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote

from .answers import Refused


class FakeRequest:
    """A request as the fake got it.

    Args:
        method: As ``GET``.
        target: Path and query, quoted.
        headers: Its headers, by their names in small letters.
        body: Its body, as it came.
        peer: The TLS connection; None over the unix socket.
    """

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes = b"", peer: Any = None) -> None:
        self.method = method
        """As ``GET``."""
        self.target = target
        """Path and query, quoted."""
        self.headers = headers
        """Its headers, by their names in small letters."""
        self.body = body
        """Its body, as it came."""
        self.status = 0
        """The HTTP code of the answer; 0 for none yet, or where the connection broke."""
        self._raw_path, _, query = target.partition("?")
        self.query: dict[str, str] = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
        """Its query."""
        self._peer = peer
        self._keep_alive = True

    @property
    def path(self) -> str:
        """Its path, as ``/1.0/instances/c1``, without quotes."""
        return unquote(self._raw_path)

    @property
    def project(self) -> str:
        """The project that it is about."""
        return self.query.get("project") or "default"

    @cached_property
    def json(self) -> Any:
        """Its body, decoded; None where it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def _recursion(self) -> int:
        """How much of each object is asked for."""
        depth = self.query.get("recursion", "0")
        return int(depth) if depth.isascii() and depth.isdigit() else 0

    @property
    def _fields(self) -> dict[str, Any]:
        """Its body, an object."""
        if self.json is None:
            raise Refused(400, _json_error(self.body))
        if not isinstance(self.json, dict):
            kind = {list: "array", str: "string", bool: "bool"}.get(type(self.json), "number")
            raise Refused(400, f"json: cannot unmarshal {kind} into Go value of type api.Request")
        return self.json

    def _text(self, field: str) -> str:
        """A field of its body that is text, as a name; empty if it is not there."""
        value = self._fields.get(field)
        return value if isinstance(value, str) else ""

    def __repr__(self) -> str:
        return f"<{self.method} {self.target} {self.status or 'unanswered'}>"


def _json_error(body: bytes) -> str:
    text = body.decode(errors="replace").lstrip()
    if not text:
        return "EOF"
    if text[0] in "{[":
        return "unexpected EOF"
    return f"invalid character '{text[0]}' looking for beginning of value"
