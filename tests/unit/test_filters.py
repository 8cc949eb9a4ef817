"""Filters: what is said is what the server reads, whatever it is made of; what it cannot read is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incus_sdk import F, Filter, IncusInputError

Facts = dict[str, str]

leaves = st.builds(
    lambda field, value, equal: (F(field) == value, lambda facts: (facts[field] == value) is equal, equal),
    st.sampled_from("abcd"),
    st.sampled_from("xy"),
    st.booleans(),
).map(lambda leaf: (leaf[0] if leaf[2] else ~leaf[0], leaf[1]))


def both(how: str, one: Any, two: Any) -> Any:
    """Two conditions, each a filter and what it should say, made into one; None where that cannot be asked."""
    if one is None or two is None:
        return None
    try:
        combined = one[0] & two[0] if how == "and" else one[0] | two[0]
    except IncusInputError:
        return None
    meant = (lambda f: one[1](f) and two[1](f)) if how == "and" else (lambda f: one[1](f) or two[1](f))
    return combined, meant


trees = st.recursive(
    leaves,
    lambda inner: (
        st.builds(both, st.sampled_from(["and", "or"]), inner, inner)
        | inner.map(lambda one: one and (~one[0], lambda facts: not one[1](facts)))
    ),
    max_leaves=8,
)


def read(text: str, facts: Facts) -> bool:
    """As servers read it: clause by clause, from left to right; a value is a regular expression that ignores case."""
    result, how, words = True, "and", text.split()
    while words:
        negated = words[0] == "not"
        field, operator, value = words[negated : negated + 3]
        assert operator == "eq"
        holds = bool(re.search(value, facts[field], re.IGNORECASE)) is not negated
        result = result and holds if how == "and" else result or holds
        how, *words = words[negated + 3 :] or [""]
    return result


@given(trees, st.fixed_dictionaries({field: st.sampled_from("xyXz") for field in "abcd"}))
def test_combined_filters_say_what_python_would(tree: Any, facts: Facts) -> None:
    if tree is not None:
        assert read(str(tree[0]), facts) is tree[1](facts)


def test_chains_need_no_parentheses_whichever_side_is_longer() -> None:
    a, b, c, d = (F(field) == 1 for field in "abcd")
    for said in ((a & b) | c | d, c | (a & b) | d, d | (c | (a & b))):
        assert set(re.split(" and | or ", str(said))) == {"a eq 1", "b eq 1", "c eq 1", "d eq 1"}
    assert str((a & b) | c) == str(c | (a & b)) == "a eq 1 and b eq 1 or c eq 1"
    assert str(~(a & ~b)) == "not a eq 1 or b eq 1"


def test_one_of_several_values_can_be_numbers() -> None:
    assert str(F("a").isin([1, True])) == "a eq 1 or a eq true"
    assert str(F("a").isin(["x", 1])) == f"{F('a') == 'x'} or a eq 1"
    assert str(F("a").isin([1, 2]) & F("b").isin([3])) == "a eq 1 or a eq 2 and b eq 3"  # read from left to right


def test_what_servers_cannot_be_asked_is_refused_with_the_reason() -> None:
    a, b, c, d = (F(field) == 1 for field in "abcd")
    mistakes: list[Callable[[], Any]] = [
        lambda: (a & b) | (c & d),
        lambda: (a | b) & (c | d),
        lambda: ~(a & b) & ~(c & d),
    ]
    for mistake in mistakes:
        with pytest.raises(IncusInputError, match="no parentheses"):
            mistake()
    untyped: Any = a
    mistakes = [lambda: untyped and b, lambda: not untyped, lambda: bool(untyped)]
    for mistake in mistakes:
        with pytest.raises(IncusInputError, match="combine filters by"):
            mistake()
    wrong: Any
    for wrong in ("", "a b", "not", "NOT", 3):
        with pytest.raises(IncusInputError, match="cannot filter by"):
            F(wrong)
    for wrong in (None, 1.5, ["x", 1], b"x"):
        with pytest.raises(IncusInputError, match="compare a with"):
            _ = F("a") == wrong
    for wrong in ("abc", [], ["x", 1.5], [None]):
        with pytest.raises(IncusInputError):
            F("a").isin(wrong)
    for mistake in (lambda: untyped & "b eq 1", lambda: "b eq 1" | untyped, lambda: untyped | F("b")):
        with pytest.raises(IncusInputError, match="cannot be combined with"):
            mistake()
    with pytest.raises(IncusInputError, match="compare it"):
        str(F("a"))
    for mistake in (lambda: F("status") == "Runing", lambda: F("status").isin(["Running", "up"])):
        with pytest.raises(IncusInputError, match="no object has the status"):
            mistake()
    for mistake in (lambda: F("created_at") < "2026", lambda: F("size") >= 3):
        with pytest.raises(IncusInputError, match="by equality only: list the objects, and filter in Python"):
            mistake()
    for wrong in (-1, True, 1.5, "", "x" * 101, None):
        with pytest.raises(IncusInputError, match=r"config\.user\.n can be less or more than a whole number"):
            _ = F("config.user.n") < wrong
    with pytest.raises(IncusInputError, match=r"fail where an object lacks devices\.eth0"):
        F("devices.eth0").exists()
    with pytest.raises(TypeError):
        hash(F("a"))


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=x)", "(?!x)", "(?<=x)y", r"(a)\1", "(?P<n>a)(?P=n)", "(?>a)", "a++", "a*+", "a{1,2}", "a{1000}",
        r"\Z", r"\u0041", r"\N{DASH}", r"[\b]", "[[]", "(", "a**", "*", r"(?a)x", r"\07", r"\é", "(?#x)a", "(?x) a",
    ],
)  # fmt: skip
def test_a_pattern_that_servers_read_otherwise_is_refused(pattern: str) -> None:
    with pytest.raises(IncusInputError, match="regular expression"):
        F("a").matches(pattern)
    with pytest.raises(IncusInputError, match="regular expression"):
        F("a").matches(pattern.encode())  # type: ignore[arg-type]


def test_no_value_has_a_space_a_comma_or_a_quote() -> None:
    odd = "a b\t\n,\"'\\^$.|?*+()[]{}\u00a0\u2028é"
    field = F("a")
    said = [field == odd, field.isin([odd, odd]), field.contains(odd), field.startswith(odd), field.endswith(odd)]
    for text in map(str, [*said, field.matches(r"x y\ z[, ],\,"), field == ["a b"]]):
        value = text.removeprefix("a eq ")
        assert len(text.split()) == 3
        assert "," not in value
        assert not value.startswith('"')
    assert isinstance(F("a") == "x", Filter)
    assert (str(F("a") == True), str(F("a") == 2)) == ("a eq true", "a eq 2")  # noqa: E712
    assert str(F("a") == ["x y"]) == r'a eq ["x\u0020y"]'
    assert repr(F("config.user.x")) == "F('config.user.x')"
