"""Merging a list or an object that two sides changed: entries one by one, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incus_sdk.api._merge import Conflict, merge

RULE = {"action": "allow"}
OTHER = {"action": "drop"}
PORT = {"protocol": "tcp", "listen_port": "80"}
PORT2 = {"protocol": "tcp", "listen_port": "443"}
CONFLICT = "conflict"

MERGED: dict[str, tuple[Any, Any, Any, Any]] = {
    "both append": (["a"], ["a", "b"], ["a", "c"], ["a", "c", "b"]),
    "both append the same": (["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c"]),
    "one appends twice": (["a"], ["a", "a"], ["a", "b"], ["a", "b", "a"]),
    "both begin a list that was null": (None, ["a"], ["b"], ["b", "a"]),
    "one puts an entry first": (["a", "b"], ["x", "a", "b"], ["a", "b", "c"], ["x", "a", "b", "c"]),
    "one puts an entry between, the other removes its neighbour": (["a", "b"], ["a", "x", "b"], ["a"], ["a", "x"]),
    "one puts an entry between, the other swaps": (["a", "b"], ["a", "x", "b"], ["b", "a"], CONFLICT),
    "one appends, the other swaps": (["a", "b"], ["a", "b", "x"], ["b", "a"], ["b", "a", "x"]),
    "one swaps, the other appends": (["a", "b"], ["b", "a"], ["a", "b", "c"], CONFLICT),
    "both swap": (["a", "b"], ["b", "a"], ["b", "a"], ["b", "a"]),
    "both remove one": (["a", "b"], ["b"], ["a"], []),
    "one removes what is gone": (["a", "b"], ["b"], ["b", "c"], ["b", "c"]),
    "both replace a string": (["a"], ["b"], ["c"], ["c", "b"]),
    "both append an object": ([RULE], [RULE, OTHER], [RULE, PORT], [RULE, PORT, OTHER]),
    "both change an object without a name": ([RULE], [RULE | {"a": 1}], [RULE | {"a": 2}], CONFLICT),
    "both change it in the same way": ([RULE], [RULE | {"a": 1}], [RULE | {"a": 1}, OTHER], [RULE | {"a": 1}, OTHER]),
    "one changes it, the other removes it": ([RULE], [RULE | {"a": 1}], [], CONFLICT),
    "one removes it, the other changes it": ([RULE], [], [RULE | {"a": 1}], CONFLICT),
    "each changes another": (
        [RULE, OTHER],
        [RULE | {"a": 1}, OTHER],
        [RULE, OTHER | {"a": 1}],
        [RULE | {"a": 1}, OTHER | {"a": 1}],
    ),
    "each changes another field of ports": (
        [PORT],
        [PORT | {"a": 1}],
        [PORT2, PORT | {"b": 1}],
        [PORT2, PORT | {"a": 1, "b": 1}],
    ),
    "both change the same field of ports": ([PORT], [PORT | {"a": 1}], [PORT | {"a": 2}], CONFLICT),
    "both add the same ports with other targets": ([], [PORT | {"a": 1}], [PORT | {"a": 2}], CONFLICT),
    "both add to a list in a backend": (
        [{"name": "b", "l": ["1"]}],
        [{"name": "b", "l": ["1", "2"]}],
        [{"name": "b", "l": ["1", "3"]}],
        [{"name": "b", "l": ["1", "3", "2"]}],
    ),
    "one changes ports, the other sorts them": (
        [PORT, PORT2],
        [PORT2, PORT],
        [PORT | {"a": 1}, PORT2],
        [PORT2, PORT | {"a": 1}],
    ),
    "keys of an object": ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "c": 1}, {"a": 2, "c": 1}),
    "the same key": ({"a": 1}, {"a": 2}, {"a": 3}, CONFLICT),
    "a key that both remove": ({"a": 1}, {}, {"c": 1}, {"c": 1}),
    "a key that one removes and the other changes": ({"a": 1}, {}, {"a": 2}, CONFLICT),
    "an object that was null": (None, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}),
    "two devices of one name": ({}, {"d": {"type": "nic"}}, {"d": {"type": "disk"}}, CONFLICT),
    "other keys of one device": ({"d": {"a": 1}}, {"d": {"a": 1, "b": 1}}, {"d": {"a": 2}}, {"d": {"a": 2, "b": 1}}),
    "a text": ("a", "b", "c", CONFLICT),
    "a text that one changed": ("a", "a", "c", "c"),
}


@pytest.mark.parametrize(("before", "mine", "theirs", "expected"), MERGED.values(), ids=MERGED)
def test_what_is_merged(before: Any, mine: Any, theirs: Any, expected: Any) -> None:
    sides = [{"field": side, "kept": 1} for side in (before, mine, theirs)]
    if expected == CONFLICT:
        with pytest.raises(Conflict, match="field"):
            merge(*sides)
    else:
        assert merge(*sides) == {"field": expected, "kept": 1}


LISTS = st.lists(st.sampled_from("abcde"), max_size=6)


@given(LISTS, LISTS, LISTS)
def test_no_entry_is_invented_or_lost(before: list[str], mine: list[str], theirs: list[str]) -> None:
    try:
        merged = merge({"f": before}, {"f": mine}, {"f": theirs})["f"]
    except Conflict:
        return
    for entry in "abcde":
        counts = [side.count(entry) for side in (before, mine, theirs)]
        changes = counts[1] - counts[0], counts[2] - counts[0]
        if min(changes) >= 0 or max(changes) <= 0:  # both add, or both remove: the greater change is made
            expected = counts[0] + (max(changes) if min(changes) >= 0 else min(changes))
        else:
            expected = counts[0] + sum(changes)
        assert merged.count(entry) == expected
