"""Server-side filters: conditions on the objects of a list, built with Python's operators.

    F("status") == "Running"
    F("config.image.os").isin(["debian", "ubuntu"]) & ~F("name").startswith("tmp-")

Servers read a line of clauses from left to right, without precedence and without parentheses, take each value for a
regular expression that ignores case, and split it at spaces, from 7.0 on at commas too. All that is taken care of here:
what can be said is said exactly, what cannot raises `IncusInputError`. Pure; knows nothing of the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NoReturn

from .exceptions import IncusInputError

_PLAIN = re.compile(r"[\w/:@=-]", re.ASCII)

# The parts of a regular expression that mean the same to Python's re and to the server's RE2; compiled when needed.
_TOKEN = r"""(?xs)
    \\x[0-9a-fA-F]{2} | \\[dDwWsSbBAnrtfva] | \\[^0-9A-Za-z\x80-\U0010ffff]
    | \[ \^? \]? (?: \\[^0-9A-Za-z\x80-\U0010ffff] | \\[dDwWsSnrtfva] | \\x[0-9a-fA-F]{2} | [^]\\[] )* \]
    | \( (?! \? ) | \(\?:  | \(\?[ims]*(?:-[ims]+)?[:)] | \(\?P<\w+> | \)
    | (?: [*+?] | \{\d{1,3}\} ) \?? (?! [*+?{] )
    | [^][(){}*+?\\]
"""


@dataclass(frozen=True)
class Filter:
    """A condition on the objects of a list; ``str()`` of it is what the server takes.

    Conditions are combined by ``&`` (and), ``|`` (or) and ``~`` (not), not by Python's ``and``, ``or`` and ``not``.
    """

    _clauses: tuple[tuple[Literal["and", "or"], bool, str], ...]
    """How each is joined to all before it, whether it holds, and what it says."""

    def __and__(self, other: Filter) -> Filter:
        return self._joined("and", other)

    def __or__(self, other: Filter) -> Filter:
        return self._joined("or", other)

    def __invert__(self) -> Filter:
        return Filter(tuple(("or" if how == "and" else "and", not holds, text) for how, holds, text in self._clauses))

    def _joined(self, how: Literal["and", "or"], other: Filter) -> Filter:
        if not isinstance(other, Filter):
            return NotImplemented
        for first, then in ((self, other), (other, self)):
            if all(joined == how for joined, _, _ in then._clauses[1:]):
                (_, holds, text), *rest = then._clauses
                return Filter((*first._clauses, (how, holds, text), *rest))
        raise IncusInputError(
            f"servers know no parentheses, so they cannot be asked for ({self}) {how} ({other}): where one side is "
            "about one field, say it by isin() or matches(); or ask twice"
        )

    def __bool__(self) -> NoReturn:
        raise IncusInputError("a filter is neither true nor false: combine filters by & | ~, not by and, or, not")

    def __str__(self) -> str:
        (_, holds, text), *rest = self._clauses
        words = [text if holds else f"not {text}"]
        for how, holds, text in rest:
            words.append(f"{how} {text if holds else f'not {text}'}")
        return " ".join(words)


class F:
    """A field of the objects of a list, to be compared: ``F("status") == "Running"``.

    ``field``: its name in the API, those inside it after dots: ``F("config.image.os")``,
    ``F("expanded_devices.root.pool")``. A key that a configuration lacks reads as ``""``; any other field that an
    object lacks, a device say, is an error of the server.

    ``==`` and ``!=`` compare exactly: with a str, an int or a bool, or for a field that is a list of str with such a
    list. Servers 7.0.0 and 7.0.1 may mix up keys of ``config`` of which one is the beginning of the other.
    """

    def __init__(self, field: str) -> None:
        if not isinstance(field, str) or not field or field.lower() == "not" or any(map(str.isspace, field)):
            raise IncusInputError(f"servers cannot filter by a field {field!r}: it must be one word, and not 'not'")
        self._field = field

    def __eq__(self, value: str | int | bool | list[str]) -> Filter:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        match value:
            case bool():
                return self._clause("true" if value else "false")
            case int():
                return self._clause(str(int(value)))
            case str():
                return self._text(_literal(value))
            case list() if all(isinstance(item, str) for item in value):
                return self._clause(json.dumps(value, separators=(",", ":")).replace(" ", r"\u0020"))
            case _:
                raise IncusInputError(f"servers compare {self._field} with a str, an int, a bool or a list of str")

    def __ne__(self, value: str | int | bool | list[str]) -> Filter:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return ~(self == value)

    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleUnannotatedOverride]

    def isin(self, values: Iterable[str]) -> Filter:
        """Whether it is one of these."""
        texts = [values] if isinstance(values, str) else list(values)
        if isinstance(values, str) or not texts:
            raise IncusInputError(f"isin() takes some str, as a list, not {values!r}")
        return self._text("|".join(map(_literal, texts)))

    def startswith(self, prefix: str) -> Filter:
        """Whether it begins with ``prefix``."""
        return self._text(f"{_literal(prefix)}(?s:.*)")

    def endswith(self, suffix: str) -> Filter:
        """Whether it ends with ``suffix``."""
        return self._text(f"(?s:.*){_literal(suffix)}")

    def contains(self, part: str) -> Filter:
        """Whether ``part`` is somewhere in it."""
        return self._text(f"(?s:.*){_literal(part)}(?s:.*)")

    def matches(self, pattern: str) -> Filter:
        """Whether all of it matches a regular expression; ``(?i)`` at its beginning ignores case.

        Of Python's syntax, what RE2 has too: no look-around, no references, no ``{n,m}`` (servers from 7.0 on cannot
        take its comma). ``\\d``, ``\\s`` and ``\\w`` are ASCII.
        """
        return self._text(_pattern(pattern))

    def _text(self, pattern: str) -> Filter:
        # With anchors of its own, a pattern gets none from the server; inside the group, case counts.
        return self._clause(f"^(?-i:{pattern})$")

    def _clause(self, value: str) -> Filter:
        return Filter((("and", True, f"{self._field} eq {value}"),))

    def __repr__(self) -> str:
        return f"F({self._field!r})"


def _literal(text: str) -> str:
    """A regular expression for exactly this text, in ASCII and without a space or a comma."""
    if not isinstance(text, str):
        raise IncusInputError(f"expected a str, not {type(text).__name__}: {text!r}")
    return "".join(c if _PLAIN.match(c) else f"\\x{{{ord(c):x}}}" for c in text)


def _pattern(pattern: str) -> str:
    """A regular expression of the caller's, or `IncusInputError`.

    Servers silently take what is none for a plain text, so that must not reach them.
    """
    tokens: list[str] = []
    known = re.compile(_TOKEN)
    try:
        end = 0
        while end < len(pattern):
            token = known.match(pattern, end)
            if token is None:
                raise IncusInputError(f"servers do not know this part of a regular expression: {pattern[end:]!r}")
            tokens.append(token[0])
            end = token.end()
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise IncusInputError(f"{pattern!r} is no regular expression: {error}") from None
    return "".join(re.sub(r"\\?([\s,])", lambda hit: f"\\x{{{ord(hit[1]):x}}}", token) for token in tokens)
