"""Commands run to their end: input sent, output collected, limits kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, Sequence

from ._concurrency import DaemonThread, cancel_at_end, shielded
from ._outputs import STDOUT, Output, OutputLimitError, Sink
from .exceptions import IncusConnectionError, IncusError, IncusInputError, IncusTimeoutError, ProcessError
from .process import Input, Process, ProcessResult

_PIECE = 2**16  # bytes of a message to stdin
_READ = 2**20  # bytes of a read from a file
_ANSWER = 0.8  # seconds for a server to answer a ping, or else the link is silent
_KILL = 0.5  # seconds for a killed command to end
_TREE = 5.0  # seconds to kill what a command has started
_REST = 1.0  # seconds for the rest of an output that was cut short to be written

_MARK = "INCUS_SDK_COMMAND"

# Until nothing is left: what was killed may have started more meanwhile.
_KILL_MARKED = """
exec 2>/dev/null
while found=$(grep -ls "$1" /proc/[0-9]*/environ); [ "$found" ]; do
    for file in $found; do file=${file%/environ}; kill -9 "${file#/proc/}"; done
done
"""


async def run(
    process: Process,
    input: Input,
    timeout: float | None,
    max_output: int | None,
    encoding: str,
    grace: float,
    stdout: Output = None,
    stderr: Output = None,
    kill_tree: bool = False,
) -> ProcessResult[bytes]:
    """Run a process to its end: send its input, take its output, and stop it at its limits.

    It may run for ``timeout`` seconds; then it gets SIGTERM, and after ``grace`` more seconds SIGKILL. It is killed
    when stdout or stderr has more than ``max_output`` bytes. Every `IncusError` has what was collected until then.
    With ``kill_tree``, an error or a cancellation also ends what it has started.
    """
    if kill_tree:
        mark = os.urandom(16).hex()
        process._env[_MARK] = mark
        try:
            return await run(process, input, timeout, max_output, encoding, grace, stdout, stderr)
        except BaseException:
            await shielded(_kill_marked(process, mark))
            raise
    deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
    sinks = [Sink(stdout, max_output)]
    if stderr != STDOUT:
        sinks.append(Sink(stderr, max_output))
    process._takes = sinks[0].take, sinks[-1].take
    try:
        async with contextlib.AsyncExitStack() as stack:
            await _start(process, stack, timeout, deadline)
            sinks[0].follow(process._sockets["1"])
            sinks[-1].follow(process._sockets["2"])
            work = asyncio.ensure_future(_communicate(process, _iter_input(input, encoding), sinks))
            async with cancel_at_end([work]):
                try:
                    async with asyncio.timeout_at(deadline):
                        await asyncio.wait([work])
                except TimeoutError:
                    await _stop(process, work, grace)
                    raise IncusTimeoutError(
                        f"{list(process.args)} was stopped: it ran for more than {timeout} s, its timeout="
                    ) from None
                return ProcessResult(process.args, work.result(), *_collected(sinks))
    except OutputLimitError:
        out, err = _collected(sinks)
        raise ProcessError(
            f"{list(process.args)} was killed: it wrote more than {max_output} bytes",
            command=process.args,
            stdout=out,
            stderr=err,
        ) from None
    except IncusError as error:
        error.stdout, error.stderr = _collected(sinks)
        raise


async def _kill_marked(process: Process, mark: str) -> None:
    """Kill all that has a mark in its environment, which it has from its parent."""
    killer = Process(
        process._scope, process._path, ("sh", "-c", _KILL_MARKED, "sh", f"{_MARK}={mark}"), user=0, group=0
    )
    with contextlib.suppress(IncusError):
        await run(killer, None, _TREE, 0, "utf-8", 0)


def _collected(sinks: Sequence[Sink]) -> tuple[bytes, bytes]:
    """Stdout and stderr, as far as they were collected."""
    return sinks[0].collected, sinks[1].collected if len(sinks) > 1 else b""


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


async def _communicate(process: Process, input: AsyncIterable[bytes], sinks: Sequence[Sink]) -> int:
    """Send all input, hand on all output, and return the exit code."""
    assert process._takes is not None
    readers = {
        asyncio.ensure_future(process._receive(channel, take))
        for channel, take in zip(("1", "2"), process._takes, strict=True)
    }
    writers = {asyncio.ensure_future(sink.write()) for sink in sinks if sink.is_slow}
    tasks = {asyncio.ensure_future(_feed(process, input)), *readers, *writers}
    async with cancel_at_end(tasks):
        try:
            await _first_error(tasks, until=readers)
        except Exception:
            await _end(sinks, writers, _REST)
            raise
        await _end(sinks, writers, None)
        return await process.wait()


async def _first_error(tasks: set[asyncio.Task[None]], until: set[asyncio.Task[None]]) -> None:
    """Wait until the tasks in ``until`` are done, or any of them all fails.

    A command that has ended needs no more input; but the caller must see an error of the input at once.
    """
    while not all(task.done() for task in until):
        pending = {task for task in tasks if not task.done()}
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def _end(sinks: Sequence[Sink], writers: set[asyncio.Task[None]], seconds: float | None) -> None:
    """Let everything be written, if that takes no longer; raises the error of what could not."""
    for sink in sinks:
        sink.end()
    if writers:
        done, _ = await asyncio.wait(writers, timeout=seconds)
        for writer in done:
            writer.result()


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


def checked_input(input: Input, encoding: str = "utf-8") -> Input:
    """The input, or `IncusInputError` if it has none of the types of `Input`, or there is no such encoding of text."""
    try:
        (input if isinstance(input, str) else "").encode(encoding)
    except UnicodeEncodeError as error:
        raise IncusInputError(f"input cannot be written in {encoding}: {error.reason}") from None
    except (LookupError, TypeError, ValueError):
        raise IncusInputError(f"encoding must be that of a text, like 'utf-8', not {encoding!r}") from None
    if input is None or isinstance(input, str | bytes | AsyncIterable) or hasattr(input, "read"):
        return input
    raise IncusInputError(f"input must be bytes, str, a file or an iterable of bytes, not {type(input).__name__}")


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
                if not isinstance(piece, bytes | bytearray | memoryview):
                    raise IncusInputError(f"input must come as bytes, not {type(piece).__name__}")
                yield bytes(piece)  # a view can have another length than its bytes; bytes are not copied
        case _:
            # What has come on a pipe or terminal is sent, and not kept until there is more: for that, there is `read1`.
            read = getattr(input, "read1", input.read)
            with DaemonThread() as thread:  # it may never end, and the command must not wait for it
                while piece := await thread.call(read, _READ):
                    yield piece if isinstance(piece, bytes) else piece.encode(encoding)
