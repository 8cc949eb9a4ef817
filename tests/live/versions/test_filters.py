"""Filters: the server finds just what Python would, whatever the values are."""

from __future__ import annotations

import asyncio
import itertools
import operator
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from incus_sdk import Client, F, Filter, IncusAPIError, IncusInputError, Instance

VALUES = [
    "web", "Web", "WEB", "web-1", "web 1", " web", "web ", "a,b", "a", "b", "a, b", "and", "or", "not", "eq", "a and b",
    'say "x"', '"', '""', '"a b"', "it's", "a\\b", "\\", "\\d", "^a$", "^", "$", "a.b", "a*b", "a+", "(a|b)", "a|b",
    "[a]", "{2}", "a\nb", "a\n", "a\tb", "a\u00a0b", "é", "É", "ß", "日本", "🐧", "%41", "a&b=c", "?#",
    "a/b", "true", "True", "1", "01", "[]",
]  # fmt: skip
NUMBERS = ["0", "9", "10", "0099", "100", "170", "1700000000", "-5", "1.5"]
PATTERNS = [
    "web", "(?i)web", "web.*", r"\w+", r"web-\d", r"[a-c, ]+", "a|b", r"a\|b", r"a\ b", "a b", r".*\s.*", "(?s).*b",
    r"\[a\]", "a.b", "(?:a|b)+", r"[^a]*", ".{3}", r".*\\.*", '".*"', r"[\\^$]+", "(?P<x>a),b", r"a?", r"a\nb",
    r"(?i:É)", "[éÉ]", r".*,.*", r"\x41?.*1", ".+?", "^web$", "",
]  # fmt: skip
LIMITS = [0, 9, 10, 170, "a", "web", "\0", "01", "\uffff", "日本"]
Check = Callable[[str], bool]


def compares(given: str, compare: Callable[[Any, Any], bool], limit: str | int) -> bool:
    if isinstance(limit, int):
        return given.isdecimal() and compare(int(given), limit)
    return given != "" and compare(given, limit)


def conditions() -> list[tuple[Filter, Check]]:
    """Conditions on ``config.user.value``, each with what it means."""
    field = F("config.user.value")
    found: list[tuple[Filter, Check]] = []
    for value in (*VALUES, ""):
        found.append((field == value, lambda given, value=value: given == value))  # type: ignore[misc]
        found.append((field != value, lambda given, value=value: given != value))  # type: ignore[misc]
        found.append((field.startswith(value), lambda given, value=value: given.startswith(value)))  # type: ignore[misc]
        found.append((field.endswith(value), lambda given, value=value: given.endswith(value)))  # type: ignore[misc]
        found.append((field.contains(value), lambda given, value=value: value in given))  # type: ignore[misc]
    for pattern in PATTERNS:
        compiled = re.compile(pattern, re.ASCII if "É" not in pattern else 0)
        found.append((field.matches(pattern), lambda given, its=compiled: bool(its.fullmatch(given))))  # type: ignore[misc]
    for compare, limit in itertools.product((operator.lt, operator.le, operator.gt, operator.ge), LIMITS):
        found.append((compare(field, limit), lambda given, c=compare, limit=limit: compares(given, c, limit)))  # type: ignore[misc]
    found.append((field == 1, lambda given: given == "1"))
    found.append((field.exists(), bool))
    found.append((field.isin([1, True, "web"]), lambda given: given in ("1", "true", "web")))
    dice = random.Random(6)
    for _ in range(40):
        chosen = dice.sample(VALUES, 3)
        found.append((field.isin(chosen), lambda given, chosen=chosen: given in chosen))  # type: ignore[misc]
    simple = tuple(found)
    for _ in range(40):
        (one, means_one), (two, means_two), (three, means_three) = dice.sample(simple, 3)
        found.append(
            (~(one & two) | three, lambda v, a=means_one, b=means_two, c=means_three: not (a(v) and b(v)) or c(v))  # type: ignore[misc]
        )
    return found


async def test_the_server_finds_what_python_finds(client: Client, name: str) -> None:
    project = await client.projects.create(name, {"features.profiles": True})
    profiles = client.use_project(name).profiles
    for number, value in enumerate([*VALUES, *NUMBERS]):
        await profiles.create(f"p{number}", config={"user.value": value})
    kept = {profile.name: profile.config.get("user.value", "") for profile in await profiles.list()}
    assert sorted(kept.values()) == sorted(["", *VALUES, *NUMBERS])
    asked_and_means = conditions()
    lists = await asyncio.gather(*(profiles.list(0, filter=asked) for asked, _ in asked_and_means))
    for (asked, means), listed in zip(asked_and_means, lists, strict=True):
        found = {profile.name for profile in listed}
        assert found == {key for key, value in kept.items() if means(value)}, str(asked)
    await project.delete(force=True)


async def test_fields_of_other_types_and_inside_devices(client: Client, box: Instance, name: str) -> None:
    async def found(condition: Filter | str, recursion: int = 1) -> bool:
        listed = await client.instances.list(recursion, filter=condition)
        return [instance.name for instance in listed] == [box.name]

    mine = F("name") == box.name
    for recursion in (0, 1, 2):
        assert await found(mine & (F("status") == "Running"), recursion)
        assert not await found(mine & (F("status") == "Stopped"), recursion)
        assert await found(mine & F("status").isin(["running", "FROZEN"]) & (F("type") == "Container"), recursion)
        assert not await found(mine & (F("status") != "running"), recursion)
    assert await found(mine & (F("expanded_devices.root.pool") == "default") & (F("ephemeral") == False))  # noqa: E712
    assert not await found(mine & (F("ephemeral") == True))  # noqa: E712
    await box.update({"limits.cpu": 1, "boot.autostart": False}, wait=True)
    assert await found(mine & (F("config.limits.cpu") == 1) & (F("config.boot.autostart") == False))  # noqa: E712
    assert await found(mine & (F("profiles") == ["default"]))
    assert not await found(mine & (F("profiles") == ["default", "other"]))
    assert await found(f"name eq {box.name.upper()}"), "the server's own comparison ignores case"
    assert not await found(F("name") == box.name.upper())

    await client.profiles.create(name)
    with pytest.raises(IncusAPIError, match="invalid"):
        await client.profiles.list(filter=F("devices.missing.pool") == "x")
    with pytest.raises(IncusAPIError):
        await client.profiles.list(filter="name eq")
    with pytest.raises(IncusInputError, match="has no all_projects"):
        await client.projects.list(all_projects=True)
    with pytest.raises(IncusInputError, match="has no target"):
        await client.instances.list(target="none")
    await client.profiles.delete(name)
