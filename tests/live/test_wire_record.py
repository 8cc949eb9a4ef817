"""After all other tests: what they saw on the wire is every operation that a version has, and what is checked in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.live.wire_record import OPERATIONS, RECORD, Seen

VERSIONS = {"6.0.4", "7.0.2"}
UNEXERCISED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "versions" / "unexercised.json").read_text()
)


def _there(version: str) -> set[str]:
    """What a version has: 7.0.2 all of them."""
    return {operation for operation, since in OPERATIONS.items() if version != "6.0.4" or since == "v6.0.4"}


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_every_operation_was_exercised_or_has_a_reason(seen: Seen, version: str) -> None:
    exercised = {operation for operation, versions in seen.items() if version in versions}
    if not exercised:
        pytest.skip(f"this machine's Incus is not {version}")
    excused = {operation for operation, why in UNEXERCISED.items() if version in why["versions"]}
    assert _there(version) - exercised == excused


def test_what_could_not_be_exercised_has_its_reason() -> None:
    for why in UNEXERCISED.values():
        assert why["reason"]
        assert set(why["versions"]) & VERSIONS


def test_the_sdk_sent_nothing_that_the_api_does_not_have(seen: Seen) -> None:
    assert set(seen) - set(OPERATIONS) == set()


def test_the_record_that_is_checked_in_is_what_was_seen(seen: Seen) -> None:
    now = {operation: sorted(seen[operation] & VERSIONS) for operation in sorted(seen) if operation in OPERATIONS}
    if os.environ.get("INCUS_SDK_RECORD"):
        RECORD.write_text(json.dumps(now, indent=0) + "\n")
    if missing := VERSIONS - set().union(*now.values()):
        pytest.skip(f"this machine has no Incus {', '.join(missing)}")
    assert json.loads(RECORD.read_text()) == now, "INCUS_SDK_RECORD=1 scripts/test, then tools/operations.py"
