"""The warning for a deprecated name: what it says, and whose line it shows."""

from __future__ import annotations

import linecache

import pytest

from incus_sdk._deprecation import warn_deprecated


def old() -> None:
    warn_deprecated("old()", "new()", "3.0")


async def old_coroutine() -> None:
    warn_deprecated("old_coroutine()", "new()", "3.0")


def line(warned: pytest.WarningsRecorder) -> tuple[str, str]:
    (warning,) = warned
    return warning.filename, linecache.getline(warning.filename, warning.lineno).strip()


async def test_a_deprecated_name_warns_its_caller_and_says_what_replaces_it() -> None:
    with pytest.warns(
        DeprecationWarning, match=r"^old\(\) is deprecated and will be removed in 3\.0: use new\(\)$"
    ) as one:
        old()
    with pytest.warns(DeprecationWarning, match=r"^old_coroutine\(\) is deprecated") as two:
        await old_coroutine()
    assert (line(one), line(two)) == ((__file__, "old()"), (__file__, "await old_coroutine()"))
