"""Commands run to their end: input sent, output collected, limits kept."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncGenerator, AsyncIterable

from ._concurrency import cancel_at_end
from .exceptions import IncusConnectionError, IncusError, IncusInputError, IncusTimeoutError, ProcessError
from .process import Input, Process, ProcessResult, Take

_PIECE = 2**16  # bytes of a message to stdin
_READ = 2**20  # bytes of a read from a file
_ANSWER = 0.8  # seconds for a server to answer a ping, or else the link is silent
_KILL = 0.5  # seconds for a killed command to end


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
    when stdout or stderr has more than ``max_output`` bytes. Every `IncusError` has what it wrote until then.
    """
    deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
    stdout, stderr = io.BytesIO(), io.BytesIO()
    process._takes = _collect(stdout, max_output), _collect(stderr, max_output)
    try:
        async with contextlib.AsyncExitStack() as stack:
            await _start(process, stack, timeout, deadline)
            work = asyncio.ensure_future(_communicate(process, _iter_input(input, encoding)))
            async with cancel_at_end([work]):
                try:
                    async with asyncio.timeout_at(deadline):
                        await asyncio.wait([work])
                except TimeoutError:
                    await _stop(process, work, grace)
                    raise IncusTimeoutError(
                        f"{list(process.args)} was stopped: it ran for more than {timeout} s"
                    ) from None
                return ProcessResult(process.args, work.result(), stdout.getvalue(), stderr.getvalue())
    except _OutputLimitError:
        raise ProcessError(
            f"{list(process.args)} was killed: it wrote more than {max_output} bytes",
            command=process.args,
            stdout=stdout.getvalue(),
            stderr=stderr.getvalue(),
        ) from None
    except IncusError as error:
        error.stdout, error.stderr = stdout.getvalue(), stderr.getvalue()
        raise


class _OutputLimitError(Exception):
    """A command wrote more than it may."""


def _collect(output: io.BytesIO, limit: int | None) -> Take:
    """What puts the pieces of an output together."""

    def take(piece: bytes) -> None:
        output.write(piece)
        if limit is not None and output.tell() > limit:
            output.truncate(limit)
            raise _OutputLimitError

    return take


async def _start(
    process: Process, stack: contextlib.AsyncExitStack, timeout: float | None, deadline: float | None
) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            await stack.enter_async_context(process)
    except TimeoutError as error:
        if isinstance(error, IncusError):
            raise
        raise IncusTimeoutError(f"{list(process.args)} did not start within {timeout} s") from None


async def _stop(process: Process, work: asyncio.Future[int], grace: float) -> None:
    """Send SIGTERM, and later SIGKILL; on a silent link there is nothing to wait for."""
    await process.terminate()
    if await process._is_answering("control", _ANSWER):
        await asyncio.wait([work], timeout=grace)
        if not work.done():
            await process.kill()
            await asyncio.wait([work], timeout=_KILL)
    process._reap = 0.1


async def _communicate(process: Process, input: AsyncIterable[bytes]) -> int:
    """Send all input, hand on all output, and return the exit code."""
    assert process._takes is not None
    readers = {
        asyncio.ensure_future(process._receive(channel, take))
        for channel, take in zip(("1", "2"), process._takes, strict=True)
    }
    tasks = {asyncio.ensure_future(_feed(process, input)), *readers}
    async with cancel_at_end(tasks):
        # A command that has ended needs no more input; but the caller must see an error of the input at once.
        while not all(task.done() for task in readers):
            pending = {task for task in tasks if not task.done()}
            done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        return await process.wait()


async def _feed(process: Process, input: AsyncIterable[bytes]) -> None:
    """Send all input, as long as the command takes it; the end of its outputs says whether it stopped by accident."""
    async for piece in input:
        view = memoryview(piece)
        for start in range(0, len(view), _PIECE):
            try:
                await process.stdin._send(view[start : start + _PIECE])
            except IncusConnectionError:
                return
    with contextlib.suppress(IncusConnectionError):
        await process.stdin._send_end()


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
            while piece := await asyncio.to_thread(input.read, _READ):
                yield piece if isinstance(piece, bytes) else piece.encode(encoding)
