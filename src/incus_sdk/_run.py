"""Commands run to their end: input sent, output collected, limits kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable

from .exceptions import IncusInputError, IncusTimeoutError, ProcessError
from .process import Input, Process, ProcessResult

_LIMIT = 2**20  # bytes read at a time
_PIECE = 2**16  # bytes read from a file of input at a time


async def run(
    process: Process,
    input: Input,
    timeout: float | None,
    max_output: int | None,
    encoding: str,
    grace: float,
) -> ProcessResult[bytes]:
    """Run a process to its end: send its input, collect its output, and stop it at its limits.

    It may run for ``timeout`` seconds; then it gets SIGTERM, and after ``grace`` more seconds SIGKILL. It is killed
    when stdout or stderr has more than ``max_output`` bytes. `IncusTimeoutError` and `ProcessError` have what it
    wrote until then.
    """
    stdout, stderr = bytearray(), bytearray()
    async with process:
        pieces = _iter_input(input, encoding)
        work = asyncio.ensure_future(_communicate(process, pieces, stdout, stderr, max_output))
        try:
            await asyncio.wait([work], timeout=timeout)
            if work.done():
                return ProcessResult(process.args, work.result(), bytes(stdout), bytes(stderr))
            for stop in (process.terminate, process.kill):
                if not work.done():
                    await stop()
                    await asyncio.wait([work], timeout=grace)
            raise IncusTimeoutError(
                f"{list(process.args)} was stopped: it ran for more than {timeout} s",
                stdout=bytes(stdout),
                stderr=bytes(stderr),
            )
        except _OutputLimitError:
            raise ProcessError(
                f"{list(process.args)} was killed: it wrote more than {max_output} bytes",
                command=process.args,
                stdout=bytes(stdout),
                stderr=bytes(stderr),
            ) from None
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


class _OutputLimitError(Exception):
    """A command wrote more than it may."""


async def _communicate(
    process: Process, input: AsyncIterable[bytes], stdout: bytearray, stderr: bytearray, max_output: int | None
) -> int:
    """Send all input, collect all output, and return the exit code."""

    async def feed() -> None:
        with contextlib.suppress(BrokenPipeError):
            async for piece in input:
                process.stdin.write(piece)
                await process.stdin.drain()
        process.stdin.write_eof()

    async def collect(reader: asyncio.StreamReader, output: bytearray) -> None:
        while piece := await reader.read(_LIMIT):
            output += piece
            if max_output is not None and len(output) > max_output:
                del output[max_output:]
                raise _OutputLimitError

    assert process.stderr is not None
    outputs = ((process.stdout, stdout), (process.stderr, stderr))
    readers = {asyncio.ensure_future(collect(reader, output)) for reader, output in outputs}
    tasks = {asyncio.ensure_future(feed()), *readers}
    try:
        # A command that has ended needs no more input; but the caller must see an error of the input at once.
        while not all(task.done() for task in readers):
            pending = {task for task in tasks if not task.done()}
            done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        return await process.wait()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def checked_input(input: Input) -> Input:
    """The input, or `IncusInputError` if it has none of the types of `Input`."""
    if input is None or isinstance(input, str | bytes | AsyncIterable) or hasattr(input, "read"):
        return input
    raise IncusInputError(f"input must be bytes, str, a file or an async iterable, not {type(input).__name__}")


async def _iter_input(input: Input, encoding: str) -> AsyncGenerator[bytes]:
    match input:
        case None:
            pass
        case str():
            yield input.encode(encoding)
        case bytes():
            yield input
        case AsyncIterable():
            async for piece in input:
                yield piece
        case _:
            # Not `in_thread`: a read from a pipe or terminal may never end, and the command must not wait for it.
            while piece := await asyncio.to_thread(input.read, _PIECE):
                yield piece if isinstance(piece, bytes) else piece.encode(encoding)
