"""Work side by side: it ends together, and leaves its caller as it was."""

from __future__ import annotations

import asyncio

import pytest

from incus_sdk._concurrency import for_each


async def test_the_first_error_ends_all_and_does_not_count_as_a_cancellation_of_the_caller() -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)
        try:
            await asyncio.sleep(0 if number == 1 else 60)
        finally:
            ended.append(number)
        raise ValueError(number)

    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(ValueError, match="1"):
        await for_each(work, range(10), 3)
    assert task.cancelling() == 0
    assert begun == [0, 1, 2]
    assert sorted(ended) == [0, 1, 2]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)


async def test_a_cancelled_caller_ends_all() -> None:
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(number)

    running = asyncio.create_task(for_each(work, range(10), 3))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(ended) == [0, 1, 2]
