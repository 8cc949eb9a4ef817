"""Merging what a block of `Writable.editing` changed into the object as others have changed it meanwhile.

Entries of objects and of lists are merged one by one. Where both sides changed the same entry, `Conflict` is raised.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ..exceptions import IncusInputError, IncusPreconditionError
from ..models.base import Json

_ABSENT: Any = object()
_NAMING = (("name",), ("protocol", "listen_port"), ("type", "value"))
"""Fields that name an entry of a list: a backend of a load balancer, ports, an entry of a DNS record."""


class Conflict(Exception):
    """Both sides changed the same entry. The message says where it is; it holds no value, which can be a secret."""


def merge(before: Json, draft: Json, now: Json) -> Json:
    """``now`` with what ``draft`` changed of ``before``."""
    return _merge_objects(before, draft, now, "", _merge_field)


def is_kept(now: Json, written: Json, merged: Callable[[Json], Json], fields: Collection[str]) -> bool:
    """Whether a change of these fields is there after it was written: unchanged, or as the server spells it."""
    try:
        again = merged(now)
    except (IncusInputError, IncusPreconditionError):
        return True  # somebody changed the same, after it was there
    return any(all(again.get(field) == side.get(field) for field in fields) for side in (now, written))


def _merge_objects(before: Json, draft: Json, now: Json, where: str, merge_value: Callable[..., Any]) -> Json:
    merged: Json = {}
    for key in dict.fromkeys([*now, *draft]):
        sides = (side.get(key, _ABSENT) for side in (before, draft, now))
        if (value := merge_value(*sides, f"{where}.{key}" if where else key)) is not _ABSENT:
            merged[key] = value
    return merged


def _merge_field(before: Any, draft: Any, now: Any, where: str) -> Any:
    """A field of the whole object: one that is null or not there is an empty one."""
    for kind in (dict, list):
        if isinstance(draft, kind) or isinstance(now, kind):
            before, draft, now = (kind() if side in (None, _ABSENT) else side for side in (before, draft, now))
    return _merge(before, draft, now, where)


def _merge(before: Any, draft: Any, now: Any, where: str) -> Any:
    if draft in (before, now):
        return now
    if now == before:
        return draft
    if before is _ABSENT and _without_empty(draft) == _without_empty(now):
        return now
    if all(isinstance(side, dict) for side in (before, draft, now)):
        return _merge_objects(before, draft, now, where, _merge)
    if all(isinstance(side, list) for side in (before, draft, now)):
        return _merge_lists(before, draft, now, where)
    raise Conflict(where)


def _merge_lists(before: list[Any], draft: list[Any], now: list[Any], where: str) -> list[Any]:
    naming = next((fields for fields in _NAMING if all(_are_named(side, fields) for side in (before, draft, now))), ())
    old, mine, theirs = ([_name(entry, naming) for entry in side] for side in (before, draft, now))
    added, removed = Counter(mine) - Counter(old), Counter(old) - Counter(mine)
    arrived, gone = Counter(theirs) - Counter(old), Counter(old) - Counter(theirs)
    if any(isinstance(entry, dict) for entry in before):
        _require_same_replacement(old, mine, theirs, removed & gone, where)
    values = dict(zip(mine, draft, strict=True)) | dict(zip(theirs, now, strict=True))
    if naming:
        sides = [dict(zip(*side, strict=True)) for side in ((old, before), (mine, draft), (theirs, now))]
        for name in values:
            first, second, third = (side.get(name, _ABSENT) for side in sides)
            values[name] = _merge(first, second, third, f"{where}[{name}]")
    return [values[name] for name in _merged_order(old, mine, theirs, added - arrived, removed - gone, where)]


def _are_named(entries: list[Any], fields: tuple[str, ...]) -> bool:
    """Whether these fields tell the entries of a list apart."""
    if not all(isinstance(entry, dict) and all(field in entry for field in fields) for entry in entries):
        return False
    return len({_name(entry, fields) for entry in entries}) == len(entries)


def _name(entry: Any, naming: tuple[str, ...]) -> str:
    if naming:
        return "/".join(str(entry[field]) for field in naming)
    return json.dumps(_without_empty(entry), sort_keys=True)


def _without_empty(entry: Any) -> Any:
    """An object without fields that are empty, which servers add."""
    return {key: value for key, value in entry.items() if value} if isinstance(entry, dict) else entry


def _require_same_replacement(
    old: list[str], mine: list[str], theirs: list[str], lost: Counter[str], where: str
) -> None:
    """Raise `Conflict` if an object that neither side has any longer was changed, not removed, by one of them."""
    by_me, by_them = _replacements(old, mine), _replacements(old, theirs)
    if any(by_me.get(name) != by_them.get(name) for name in lost):
        raise Conflict(where)


def _replacements(old: list[str], new: list[str]) -> dict[str, str]:
    """What stands in the place of entries that are gone."""
    from difflib import SequenceMatcher

    pairs: dict[str, str] = {}
    for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "replace":
            pairs |= zip(old[start:end], new[new_start:new_end], strict=False)
    return pairs


def _merged_order(
    old: list[str], mine: list[str], theirs: list[str], added: Counter[str], removed: Counter[str], where: str
) -> list[str]:
    """The entries of the merged list: theirs, with mine added and removed."""
    kept = {*old} & {*mine}
    if _of(kept, old) != _of(kept, mine):
        if theirs != old:
            raise Conflict(f"the order of {where}")
        return mine
    order = list(theirs)
    left, replaced = Counter(added), _replacements(old, mine)
    for name in removed.elements():
        new = replaced.get(name)
        if new is not None and left[new]:
            left[new] -= 1
            order[order.index(name)] = new
        else:
            order.remove(name)
    for place, name in reversed([*enumerate(mine)]):
        if not left[name]:
            continue
        left[name] -= 1
        # Before what it stands before in the draft; what was appended comes last.
        index = min((order.index(next_) for next_ in mine[place + 1 :] if next_ in order), default=len(order))
        if any(order.index(previous) >= index for previous in mine[:place] if previous in order):
            raise Conflict(f"the order of {where}")
        order.insert(index, name)
    return order


def _of(kept: set[str], names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name in kept]
