"""Work side by side: it ends together, and leaves its caller as it was."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from incus_sdk._concurrency import DaemonThread, cancel_at_end, closing, for_each, in_thread, shielded
from incus_sdk._content import iter_content


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


@pytest.mark.parametrize(("times", "finished"), [(1, True), (2, True), (3, False)])
async def test_a_clean_up_goes_on_until_the_caller_insists(times: int, finished: bool) -> None:
    ended: list[bool] = []
    over = asyncio.Event()

    async def clean_up() -> None:
        try:
            await over.wait()
            ended.append(True)
        except asyncio.CancelledError:
            ended.append(False)
            raise

    caller = asyncio.create_task(shielded(clean_up()))
    for _ in range(times):
        await asyncio.sleep(0.01)
        caller.cancel()
    await asyncio.sleep(0.01)
    over.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended == [finished]


async def test_a_scope_of_anyio_which_cancels_again_and_again_does_not_end_a_clean_up() -> None:
    ended: list[bool] = []

    async def clean_up() -> None:
        await asyncio.sleep(0.05)
        ended.append(True)

    with anyio.move_on_after(0.01) as scope:
        try:
            await asyncio.sleep(60)
        finally:
            await shielded(clean_up())
    assert scope.cancelled_caught
    assert ended == [True]


async def test_a_clean_up_that_fails_does_not_hide_a_cancellation() -> None:
    async def clean_up() -> None:
        await asyncio.sleep(0.01)
        raise ValueError

    caller = asyncio.create_task(shielded(clean_up()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    with pytest.raises(ValueError):
        await shielded(clean_up())


async def test_tasks_have_ended_when_their_owner_has_though_it_is_cancelled_twice() -> None:
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)

    tasks = [asyncio.ensure_future(slow()) for _ in range(3)]

    async def own() -> None:
        async with cancel_at_end(tasks):
            await asyncio.wait(tasks)

    owner = asyncio.create_task(own())
    for _ in range(2):
        await asyncio.sleep(0.01)
        owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner
    assert all(task.done() for task in tasks)


async def test_a_generator_is_closed_at_once() -> None:
    closed: list[int] = []

    async def numbers() -> AsyncGenerator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(0)

    async with closing(numbers()) as pieces:
        async for piece in pieces:
            assert (piece, closed) == (1, [])
            break
    assert closed == [0]


async def test_a_file_is_closed_if_its_reader_is_cancelled_while_it_is_opened(tmp_path: Path) -> None:
    (path := tmp_path / "file").write_bytes(b"x")
    reading = asyncio.ensure_future(anext(aiter(iter_content(path))))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    open_files = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert str(path) not in open_files


async def test_whatever_a_function_raises_in_a_thread_comes_out() -> None:
    def end() -> None:
        raise StopIteration

    def stop() -> None:
        raise GeneratorExit

    with DaemonThread() as thread:
        for call in (in_thread, thread.call):
            async with asyncio.timeout(60):
                with pytest.raises(RuntimeError, match="StopIteration"):
                    await call(end)
                with pytest.raises(GeneratorExit):
                    await call(stop)


async def test_an_upload_from_a_pipe_is_sent_as_it_comes_and_left_while_nothing_does() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb", 0), os.fdopen(reader, "rb") as pipe:
        os.write(writer, b"piece")
        async with closing(iter_content(pipe)) as pieces:
            assert await anext(pieces) == b"piece"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(pieces)
        os.write(writer, b"x")
