"""Short commands, many at a time, lose nothing: the benchmark's measurement as a test."""

from __future__ import annotations

import pytest

from benchmarks.lossless import HANG, measure

RUNS, COMMAND_RUNS, AT_ONCE = 3000, 600, 20


@pytest.mark.timeout(10 * HANG)
async def test_0_of_6000_short_commands_come_back_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    measured = await measure(RUNS, COMMAND_RUNS, AT_ONCE)
    with capsys.disabled():
        for name, (runs, wrong, _) in measured.items():
            print(f"\n{name}: {wrong} wrong of {runs}", end=" ")
    by_sdk = {name: (runs, wrong) for name, (runs, wrong, _) in measured.items() if name.startswith("SDK")}
    assert by_sdk == {"SDK, unix socket": (RUNS, 0), "SDK, HTTPS": (RUNS, 0)}
