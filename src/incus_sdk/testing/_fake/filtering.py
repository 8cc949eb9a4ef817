"""Filters of lists, in the server's language: clauses from left to right, values that are regular expressions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from .answers import Refused

Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class _Clause:
    before: str
    """``and`` or ``or``: how it joins what is before it."""
    negated: bool
    field: str
    operator: str
    value: str


def filtered(items: list[tuple[Owner, dict[str, Any]]], text: str | None) -> list[tuple[Owner, dict[str, Any]]]:
    """The items that a filter lets through."""
    if not text or not text.strip():
        return items
    clauses = list(_parse(text))
    return [each for each in items if _holds(clauses, each[1])]


def _parse(text: str) -> Iterator[_Clause]:
    words = text.split()
    before, joined = "and", False
    while True:
        negated = bool(words) and words[0].lower() == "not"
        if negated:
            words.pop(0)
        if not words:
            reason = "unterminated compound clause" if joined else "clause has no field"
            raise Refused(400, f"Invalid filter: {reason}")
        field = words.pop(0)
        if not words:
            raise Refused(400, "Invalid filter: clause has no operator")
        operator = words.pop(0)
        if not words:
            raise Refused(400, "Invalid filter: clause has no value")
        yield _Clause(before, negated, field, operator, _value(words))
        if not words:
            return
        before, joined = words.pop(0), True
        if before not in ("and", "or"):
            raise Refused(400, "Invalid filter: invalid logical operator")


def _value(words: list[str]) -> str:
    value = words.pop(0)
    if not value.startswith('"'):
        return value
    parts = [value[1:]]
    while not parts[-1].endswith('"') or len(parts) == 1:
        if not words:
            raise Refused(400, "Invalid filter: unterminated quote")
        parts.append(words.pop(0))
    return " ".join(parts)[:-1]


def _holds(clauses: list[_Clause], item: dict[str, Any]) -> bool:
    result = True
    for clause in clauses:
        if clause.before == "and" and not result:
            continue
        if clause.before == "or" and result:
            continue
        result = _matches(clause, _read(item, clause.field))
    return result


def _read(item: dict[str, Any], field: str) -> Any:
    node: Any = item
    rest = field
    while rest:
        if isinstance(node, dict) and rest in node:
            return node[rest]
        part, _, rest = rest.partition(".")
        if not isinstance(node, dict) or part not in node:
            if field.startswith(("config.", "expanded_config.", "properties.")):
                return ""
            kind = 'slice type "struct"' if field == "snapshots" else 'type "invalid"'
            raise Refused(500, f'Invalid {kind} for field "{field}"')
        node = node[part]
    return node


def _matches(clause: _Clause, found: Any) -> bool:
    if clause.field.endswith("_at"):
        raise Refused(500, f'Invalid type "struct" for field "{clause.field}"')
    if isinstance(found, int) and not isinstance(found, bool):
        raise Refused(500, f'Unsupported filter type "int" for field "{clause.field}"')
    if clause.operator not in ("eq", "ne"):
        raise Refused(500, "Unsupported operation")
    return _equal(found, clause.value) is ((clause.operator == "eq") is not clause.negated)


_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def _equal(found: Any, value: str) -> bool:
    if isinstance(found, bool):
        if value not in _BOOLS:
            raise Refused(500, f'Failed to parse value: strconv.ParseBool: parsing "{value}": invalid syntax')
        return found is _BOOLS[value]
    if isinstance(found, list):
        try:
            return bool(found == json.loads(value))
        except ValueError:
            reason = f"invalid character '{value[:1]}' looking for beginning of value"
            raise Refused(500, f"Failed to parse value: {reason}") from None
    text = "" if found is None else str(found)
    if "," in value:
        return text in value.split(",")
    pattern = value if "^" in value or "$" in value else f"^{value}$"
    # Characters by their numbers, and the end, are written differently in Python.
    pattern = re.sub(r"\\x\{([0-9a-f]+)\}", lambda found: f"\\U{int(found[1], 16):08x}", pattern)
    pattern = re.sub(r"(?<!\\)\$$", r"\\Z", pattern)
    try:
        return re.search(pattern, text, re.IGNORECASE) is not None
    except re.error:
        return text == value
