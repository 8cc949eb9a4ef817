"""Server-side filters: conditions on the objects of a list, built with Python's operators.

    F("status") == "Running"
    F("config.image.os").isin(["debian", "ubuntu"]) & ~F("name").startswith("tmp-")

A server's own filters are hard to write. They are read from left to right, without precedence or parentheses. Each
value is a regular expression that ignores case, and is split at spaces, since 7.0 also at commas. A condition built
here means exactly what it says, or raises `IncusInputError` where servers cannot express it.

Knows nothing of the network.
"""

from __future__ import annotations

import functools
import json
import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NoReturn

from .exceptions import IncusInputError

_CONFIG = r"(expanded_)?config\."
_ANY_CASE = ("status", "type", "architecture")
"""Fields whose values are the API's own words, of which no two differ by case only."""
# Of instances and operations; of pools, networks and their peers; of a cluster's members; of warnings.
_STATUS = (
    "aborting|canceling|cancelled|error|failure|freezing|frozen|pending|ready|running|started|starting|stopped|stopping"
    "|success|thawed|created|errored|unavailable|unknown|blocked|evacuated|evacuating|offline|online|restoring"
    "|acknowledged|new|resolved"
)
_LONGEST_ORDER = 100  # characters of a text that others are compared with
_NOTHING = r"[^\x{0}-\x{10ffff}]"  # matches no character
_PLAIN = re.compile(r"[\w/:@=-]", re.ASCII)

# The parts of a regular expression with the same meaning in Python's re and in the server's RE2; compiled when needed.
_RE2_TOKEN = r"""(?xs)
    \\x[0-9a-fA-F]{2} | \\[dDwWsSbBAnrtfva] | \\[^0-9A-Za-z\x80-\U0010ffff]
    | \[ \^? \]? (?: \\[^0-9A-Za-z\x80-\U0010ffff] | \\[dDwWsSnrtfva] | \\x[0-9a-fA-F]{2} | [^]\\[] )* \]
    | \( (?! \? ) | \(\?:  | \(\?[ims]*(?:-[ims]+)?[:)] | \(\?P<\w+> | \)
    | (?: [*+?] | \{\d{1,3}\} ) \?? (?! [*+?{] )
    | [^][(){}*+?\\]
"""


@dataclass(frozen=True)
class Filter:
    """A condition on the objects of a list, made by `F`; ``str()`` gives it in the server's form.

    Conditions are combined by ``&`` (and), ``|`` (or) and ``~`` (not), not by Python's ``and``, ``or`` and ``not``.
    """

    _clauses: tuple[tuple[Literal["and", "or"], bool, str], ...]
    """Of each: the operator that joins it to all before it, False if it is negated, and its text."""

    def __and__(self, other: Filter) -> Filter:
        return self._join("and", other)

    def __or__(self, other: Filter) -> Filter:
        return self._join("or", other)

    __rand__, __ror__ = __and__, __or__

    def __invert__(self) -> Filter:
        return Filter(tuple(("or" if how == "and" else "and", not holds, text) for how, holds, text in self._clauses))

    def _join(self, how: Literal["and", "or"], other: Filter) -> Filter:
        if not isinstance(other, Filter):
            raise IncusInputError(
                f"a filter cannot be combined with {other!r}: write all conditions with F, or the whole filter as a str"
            )
        for first, second in ((self, other), (other, self)):
            if all(operator == how for operator, _, _ in second._clauses[1:]):
                (_, holds, text), *rest = second._clauses
                return Filter((*first._clauses, (how, holds, text), *rest))
        raise IncusInputError(
            f"servers know no parentheses, so they cannot take ({self}) {how} ({other}): use isin() or matches() where "
            "one side is about a single field, or send two requests"
        )

    def __bool__(self) -> NoReturn:
        raise IncusInputError("a filter is neither true nor false: combine filters by & | ~, not by and, or, not")

    def __str__(self) -> str:
        words = [f"{how} {'' if holds else 'not '}{text}" for how, holds, text in self._clauses]
        return " ".join(words).partition(" ")[2]  # without the first operator


class F:
    """A field of the objects of a list, for comparisons: ``F("status") == "Running"``.

    ``==``, ``!=`` and `isin` compare exactly, but for ``status``, ``type`` and ``architecture``, whose case does not
    count: with a str, an int or a bool; a field that is a list of str, with such a list.

    ``<``, ``<=``, ``>`` and ``>=`` are for keys of the configuration: with an int, they match what is a whole number,
    with a str, what is not empty, compared by code points as Python does; so times compare if all are written alike.

    A configuration key that an object lacks reads as ``""``. Any other field that it lacks, such as a device, makes the
    server fail. Servers 7.0.0 and 7.0.1 can confuse two keys of ``config`` if one is the beginning of the other.

    Args:
        field: Its name in the API, with dots between levels: ``config.image.os``, ``expanded_devices.root.pool``.

    Raises:
        IncusInputError: Servers cannot filter by a field with this name.
    """

    def __init__(self, field: str) -> None:
        if not isinstance(field, str) or not field or field.lower() == "not" or any(map(str.isspace, field)):
            raise IncusInputError(f"servers cannot filter by a field {field!r}: it must be one word other than 'not'")
        self._field = field

    def __eq__(self, value: str | int | bool | list[str]) -> Filter:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        match value:
            case str():
                return self._equals(value)
            case int() if re.match(
                _CONFIG, self._field
            ):  # whose values are text, which they would compare without case
                return self._match(_literal(_word(value)))
            case int():
                return self._clause(_word(value))
            case list() if all(isinstance(item, str) for item in value):
                return self._clause(json.dumps(value, separators=(",", ":")).replace(" ", r"\u0020"))
            case _:
                raise IncusInputError(f"servers compare {self._field} with a str, an int, a bool or a list of str")

    def __ne__(self, value: str | int | bool | list[str]) -> Filter:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return ~(self == value)

    def __lt__(self, value: str | int) -> Filter:
        return self._compare(value, below=True, equal=False)

    def __le__(self, value: str | int) -> Filter:
        return self._compare(value, below=True, equal=True)

    def __gt__(self, value: str | int) -> Filter:
        return self._compare(value, below=False, equal=False)

    def __ge__(self, value: str | int) -> Filter:
        return self._compare(value, below=False, equal=True)

    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleUnannotatedOverride]

    def isin(self, values: Iterable[str | int | bool]) -> Filter:
        """Match objects whose field is one of these values.

        Args:
            values: The values, at least one, each as ``==`` takes it.

        Raises:
            IncusInputError: It is a single str, is empty, or holds what servers cannot compare with.
        """
        found = () if isinstance(values, str) else tuple(values)
        if not found:
            raise IncusInputError(f"isin() takes a list of at least one value, not {values!r}")
        if all(isinstance(value, str) for value in found):
            return self._equals(*map(str, found))
        return functools.reduce(operator.or_, (self == value for value in found))

    def exists(self) -> Filter:
        """Match objects that have a configuration key, with a value that is not empty.

        Raises:
            IncusInputError: It is not a key of the configuration: servers fail where an object lacks another field.
        """
        if not re.match(_CONFIG, self._field):
            raise IncusInputError(f"servers fail where an object lacks {self._field}: exists() takes a key of config")
        return self._match("(?s:.+)")

    def startswith(self, prefix: str) -> Filter:
        """Match objects whose field begins with a text.

        Args:
            prefix: The text.
        """
        return self._match(f"{_literal(prefix)}(?s:.*)")

    def endswith(self, suffix: str) -> Filter:
        """Match objects whose field ends with a text.

        Args:
            suffix: The text.
        """
        return self._match(f"(?s:.*){_literal(suffix)}")

    def contains(self, part: str) -> Filter:
        """Match objects whose field contains a text.

        Args:
            part: The text.
        """
        return self._match(f"(?s:.*){_literal(part)}(?s:.*)")

    def matches(self, pattern: str) -> Filter:
        """Match objects whose whole field matches a regular expression.

        Args:
            pattern: The expression, in the part of Python's syntax that RE2 shares: no look-around, no references, no
                ``{n,m}`` (servers since 7.0 cannot take the comma). ``\\d``, ``\\s`` and ``\\w`` are ASCII. ``(?i)`` at
                its beginning ignores case.

        Raises:
            IncusInputError: It is not a regular expression, or servers read it differently.
        """
        return self._match(_checked_pattern(pattern))

    def _equals(self, *values: str) -> Filter:
        if self._field == "status" and (
            unknown := [value for value in values if not re.fullmatch(_STATUS, value, re.I)]
        ):
            raise IncusInputError(
                f"no object has the status {unknown[0]!r}: instances are Running, Stopped, Frozen, Ready or Error; "
                "matches() takes any other text"
            )
        return self._match("|".join(map(_literal, values)), "i" if self._field in _ANY_CASE else "-i")

    def _compare(self, value: str | int, *, below: bool, equal: bool) -> Filter:
        if not re.match(_CONFIG, self._field):
            raise IncusInputError(
                f"servers compare {self._field} by equality only: list the objects, and filter in Python"
            )
        number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        text = str(value) if number else value
        if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_ORDER:
            raise IncusInputError(
                f"{self._field} can be less or more than a whole number that is not negative, or than a text of 1 to "
                f"{_LONGEST_ORDER} characters, not {value!r}"
            )
        return self._match(_number_order(text, below, equal) if number else _text_order(text, below, equal))

    def _match(self, pattern: str, flag: Literal["i", "-i"] = "-i") -> Filter:
        # The server adds no anchors to a pattern that has some; in the group, case counts.
        return self._clause(f"^(?{flag}:{pattern})$")

    def _clause(self, value: str) -> Filter:
        return Filter((("and", True, f"{self._field} eq {value}"),))

    def __str__(self) -> str:
        raise IncusInputError(f"{self!r} is a field, not yet a filter: compare it, as in {self!r} == 'x'")

    def __repr__(self) -> str:
        return f"F({self._field!r})"


def _text_order(limit: str, below: bool, equal: bool) -> str:
    """An expression for texts that are not empty and come before, or after, another one."""
    first = _order(limit[0], below, "(?s:.*)")
    rest = ("" if equal else _NOTHING) if below else f"(?s:.{'*' if equal else '+'})"
    for character in reversed(limit[1:]):
        shorter = "|" if below else ""
        rest = f"(?:{shorter}{_order(character, below, '(?s:.*)')}|{_literal(character)}{rest})"
    return f"{first}|{_literal(limit[0])}{rest}"


def _number_order(limit: str, below: bool, equal: bool) -> str:
    """An expression for whole numbers that are less, or more, than another one, with any zeros before them."""
    rest = "" if equal else _NOTHING
    for length, digit in enumerate(reversed(limit)):
        rest = f"(?:{_order(digit, below, f'[0-9]{{{length}}}', '0', '9')}|{digit}{rest})"
    fewer = "[0-9]" + "[0-9]?" * (len(limit) - 2) if len(limit) > 1 else _NOTHING
    other = fewer if below else f"[1-9][0-9]{{{len(limit)}}}[0-9]*"
    return f"0*(?:{other}|{rest})"


def _order(character: str, below: bool, rest: str, first: str = "\0", last: str = "\U0010ffff") -> str:
    """An expression for any character that comes before, or after, another one, followed by the rest."""
    low, high = (ord(first), ord(character) - 1) if below else (ord(character) + 1, ord(last))
    return f"[\\x{{{low:x}}}-\\x{{{high:x}}}]{rest}" if low <= high else _NOTHING


def _word(value: int) -> str:
    """A number or a boolean as servers write it."""
    return str(value).lower() if isinstance(value, bool) else str(int(value))


def _literal(text: str) -> str:
    """Write a text as a regular expression, in ASCII and without a space or a comma."""
    if not isinstance(text, str):
        raise IncusInputError(f"expected a str, not {type(text).__name__}: {text!r}")
    return "".join(c if _PLAIN.match(c) else f"\\x{{{ord(c):x}}}" for c in text)


def _checked_pattern(pattern: str) -> str:
    """Check a caller's regular expression; servers silently take an invalid one for plain text."""
    tokens: list[str] = []
    known = re.compile(_RE2_TOKEN)
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
        raise IncusInputError(f"{pattern!r} is not a regular expression: {error}") from None
    return "".join(re.sub(r"\\?([\s,])", lambda hit: f"\\x{{{ord(hit[1]):x}}}", token) for token in tokens)
