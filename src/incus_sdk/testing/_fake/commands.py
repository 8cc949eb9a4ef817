"""Commands in the instances of the fake: what a test has scripted for them, from their start to their exit code.

Knows neither requests nor websockets: who runs a command gives it input and signals, and gets what it writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, Self, TypedDict, Unpack

from ..._concurrency import DaemonThread
from ...exceptions import IncusInputError
from .files import FakeFiles

STDOUT, STDERR = 1, 2
_SIGINT, _SIGKILL = 2, 9
_IGNORED = (0, 17, 18, 23, 28)  # signals that end nothing: none, CHLD, CONT, URG, WINCH
_CTRL_C, _CTRL_D = b"\x03", b"\x04"
_CONTROL = re.compile(rb"[^\t\n\r\x20-\x7e\x80-\xff]")  # what a terminal shows as ^C
_LONGEST_LINE = 2**30
_INPUT_SECONDS = 0.5  # that a command which could end waits for the end of its input

Send = Callable[[int, bytes], object]
"""Takes what a command writes, with 1 for stdout or 2 for stderr."""


class UnscriptedCommandError(AssertionError):
    """A command ran for which nothing was scripted."""


class CommandFailedError(Exception):
    """A command could not be run; the operation fails with these words of the server."""


@dataclass(frozen=True)
class FakeResult:
    """What a scripted command does."""

    stdout: bytes | str = b""
    stderr: bytes | str = b""
    returncode: int = 0
    delay: float = 0
    """Seconds until it ends, after its output."""
    hang: bool = False
    """It does not end by itself."""
    signals: Mapping[int, int | None] = field(default_factory=dict[int, int | None])
    """By the number of a signal, the exit code with which it ends then; None if it goes on."""
    error: str | None = None
    """The operation fails with these words, as if the server could not run the command."""


class ResultFields(TypedDict, total=False):
    """The fields of a `FakeResult`."""

    stdout: bytes | str
    stderr: bytes | str
    returncode: int
    delay: float
    hang: bool
    signals: Mapping[int, int | None]
    error: str | None


class FakeCommand:
    """A command that runs, or ran, in an instance of the fake.

    A function given to `Fake.on_exec` gets it, and `FakeScript.calls` has it. An async function can read `stdin` and
    wait, and is cancelled by a signal that it does not handle. Another one is called in a thread of its own once all of
    `input` is there; a signal lets the command end without it.

    Args:
        args: Program and arguments. A command of the SDK to run them as another user is not in them.
        instance: The name of the instance.
        project: Its project.
        files: Its files.
        env: The environment.
        user: The user id.
        group: The group id.
        cwd: The directory.
        pty: Whether it is on a terminal.
        width: Columns of the terminal.
        height: Rows of the terminal.
        send: Takes what it writes.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        instance: str,
        project: str = "default",
        files: FakeFiles,
        env: Mapping[str, str] | None = None,
        user: int = 0,
        group: int = 0,
        cwd: str = "/root",
        pty: bool = False,
        width: int = 0,
        height: int = 0,
        send: Send,
    ) -> None:
        self.args = tuple(args)
        self.instance = instance
        self.project = project
        self.files = files
        self.env = dict(env or {})
        self.user = user
        self.group = group
        self.cwd = cwd
        self.pty = pty
        self.width = width
        self.height = height
        self.stdin = asyncio.StreamReader(limit=_LONGEST_LINE)
        """What comes on stdin, for an async function."""
        self.returncode: int | None = None
        """The exit code; None while it runs."""
        self._input = bytearray()
        self._send = send
        self._is_on_terminal = pty
        self._input_ended = asyncio.Event()
        self._handlers: dict[int, Callable[[], object]] = {}
        self._written = {STDOUT: bytearray(), STDERR: bytearray()}
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._ended: asyncio.Future[int] = self._loop.create_future()

    @property
    def output(self) -> bytes:
        """What it wrote to stdout."""
        return bytes(self._written[STDOUT])

    @property
    def errors(self) -> bytes:
        """What it wrote to stderr."""
        return bytes(self._written[STDERR])

    @property
    def input(self) -> bytes:
        """What came on stdin so far; all of it, for a function that is not async."""
        return bytes(self._input)

    def write(self, data: bytes | str) -> None:
        """Write to stdout, at once.

        Args:
            data: Bytes, or text in UTF-8.
        """
        self._write(STDOUT, data)

    def write_error(self, data: bytes | str) -> None:
        """Write to stderr, at once; on a terminal, that is where stdout goes as well.

        Args:
            data: Bytes, or text in UTF-8.
        """
        self._write(STDERR, data)

    def _write(self, fd: int, data: bytes | str) -> None:
        encoded = data.encode() if isinstance(data, str) else bytes(data)
        if not encoded:
            return
        if threading.get_ident() != self._thread:  # a function that is not async
            self._loop.call_soon_threadsafe(self._write, fd, encoded)
            return
        self._written[fd] += encoded
        self._send(fd, encoded.replace(b"\n", b"\r\n") if self._is_on_terminal else encoded)

    def on_signal(self, number: int, handler: Callable[[], object]) -> None:
        """Handle a signal; no other can be handled, and SIGKILL never.

        Args:
            number: The signal.
            handler: Called without arguments, in place of the signal's effect.
        """
        self._handlers[number] = handler

    def __repr__(self) -> str:
        return f"<FakeCommand {list(self.args)} in {self.instance!r}: {self.returncode}>"

    def _feed(self, data: bytes) -> None:
        """Give it input; none is its end, as is ctrl+d at the end of what comes from a terminal."""
        if self._input_ended.is_set():
            return
        text = data.removesuffix(_CTRL_D) if self._is_on_terminal else data
        if self._is_on_terminal and text:
            shown = _CONTROL.sub(lambda found: b"^%c" % (found[0][0] ^ 64), text)
            self._send(STDOUT, shown.replace(b"\n", b"\r\n"))
        if self._is_on_terminal and _CTRL_C in text:
            self._signal(_SIGINT)
        self._input += text
        self.stdin.feed_data(text)
        if not data or text != data:
            self.stdin.feed_eof()
            self._input_ended.set()

    def _resize(self, width: int, height: int) -> None:
        """Give its terminal another size, which is signal 28."""
        self.width, self.height = width, height
        self._signal(28)

    def _signal(self, number: int) -> None:
        """Send it a signal."""
        if number in self._handlers and number != _SIGKILL:
            self._handlers[number]()
        elif number not in _IGNORED:
            self._end(128 + number)

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)

    def _derive(self, args: Sequence[str], send: Send, stdin: bytes | None = None) -> FakeCommand:
        """A command that this one runs, with the same environment, input and signals."""
        child = FakeCommand(
            args,
            instance=self.instance,
            project=self.project,
            files=self.files,
            env=self.env,
            user=self.user,
            group=self.group,
            cwd=self.cwd,
            pty=self.pty,
            width=self.width,
            height=self.height,
            send=send,
        )
        child._is_on_terminal = False  # but this one is
        child._handlers, child._ended = self._handlers, self._ended
        if stdin is None:
            child.stdin, child._input, child._input_ended = self.stdin, self._input, self._input_ended
        else:
            if stdin:
                child._feed(stdin)
            child._feed(b"")
        return child


Function = Callable[[FakeCommand], Any]
"""What `Fake.on_exec` takes as ``run``."""
Pattern = Sequence[str | EllipsisType] | Callable[[FakeCommand], bool] | None
"""The commands that a script is for."""


class FakeScript:
    """What `Fake.on_exec` scripted for some commands.

    Args:
        pattern: The commands.
        step: What the first of them does.
        times: For how many of them; None for all.
        where: Whether a command is in an instance that it is for.
    """

    def __init__(
        self,
        pattern: Pattern,
        step: FakeResult | Function,
        times: int | None,
        where: Callable[[FakeCommand], bool],
    ) -> None:
        if isinstance(pattern, str):
            raise IncusInputError(f"on_exec takes a list of words, as {pattern.split()}, not {pattern!r}")
        self.calls: list[FakeCommand] = []
        """The commands that ran by it, the first one first."""
        self._pattern = pattern
        self._steps = [step]
        self._times = times
        self._where = where

    def then(self, run: Function | None = None, **result: Unpack[ResultFields]) -> Self:
        """Say what the next command does; the last of them stays.

            fake.on_exec(["ping", ...], returncode=1).then(stdout="pong")

        Args:
            run: See `Fake.on_exec`.
            **result: See `Fake.on_exec`.
        """
        self._steps.append(make_step(run, result))
        return self

    def _matches(self, command: FakeCommand) -> bool:
        """Check whether it is for a command."""
        if self._times is not None and len(self.calls) >= self._times:
            return False
        if not self._where(command):
            return False
        if self._pattern is None:
            return True
        if callable(self._pattern):
            return self._pattern(command)
        words = tuple(self._pattern)
        if words[-1:] == (...,):
            return command.args[: len(words) - 1] == words[:-1]
        return command.args == words

    def _next_step(self, command: FakeCommand) -> FakeResult | Function:
        """What a command does, which is noted."""
        step = self._steps[min(len(self.calls), len(self._steps) - 1)]
        self.calls.append(command)
        return step

    def __repr__(self) -> str:
        return f"<FakeScript {self._pattern!r}: {len(self.calls)} calls>"


def make_step(run: Function | None, result: ResultFields) -> FakeResult | Function:
    """One step of a script.

    Args:
        run: A function; None for a result.
        result: The fields of a `FakeResult`.
    """
    if run is None:
        return FakeResult(**result)
    if given := [name for name, value in result.items() if value]:
        raise IncusInputError(f"on_exec takes run= or {given[0]}=, not both: what the function returns says it")
    return run


Program = Callable[["Commands", FakeCommand], Awaitable[int]]
"""A command that needs no script."""


class Commands:
    """The commands of all instances of a fake: the scripts, and what runs.

    Args:
        programs: What needs no script, by its name.
        of_sdk: What a command does that no test shall see, nor script; None for all others.
    """

    def __init__(self, programs: Mapping[str, Program], of_sdk: Callable[[tuple[str, ...]], Program | None]) -> None:
        self.calls: list[FakeCommand] = []
        """All that ran."""
        self.running: set[FakeCommand] = set()
        self.problems: list[BaseException] = []
        """What a test must hear of: commands without a script, and errors of its functions."""
        self._programs = programs
        self._of_sdk = of_sdk
        self._scripts: list[FakeScript] = []

    def on_exec(
        self,
        command: Pattern = None,
        *,
        run: Function | None = None,
        times: int | None = None,
        where: Callable[[FakeCommand], bool] = lambda _: True,
        **result: Unpack[ResultFields],
    ) -> FakeScript:
        """See `Fake.on_exec`; ``where``: whether a command is in an instance that this is for."""
        script = FakeScript(command, make_step(run, result), times, where)
        self._scripts.insert(0, script)  # a test says it after its fixtures
        return script

    async def run(self, command: FakeCommand) -> int:
        """Run a command to its end, and return its exit code; it is cancelled by the cancellation of its caller.

        Args:
            command: The command, new.

        Raises:
            CommandFailedError: The script says that the server cannot run it.
        """
        if self._of_sdk(command.args) is None:
            self.calls.append(command)
        self.running.add(command)
        work = asyncio.ensure_future(self.perform(command))
        try:
            await asyncio.wait([work, command._ended], return_when=asyncio.FIRST_COMPLETED)
            code = command._ended.result() if command._ended.done() else work.result()
        finally:
            self.running.discard(command)
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, CommandFailedError):
                await work
        command.returncode = code
        return code

    async def perform(self, command: FakeCommand) -> int:
        """Do what a command does, by its script or without one.

        Args:
            command: The command.

        Raises:
            CommandFailedError: The script says that the server cannot run it.
        """
        try:
            if (own := self._of_sdk(command.args)) is not None:
                return await own(self, command)
            for script in self._scripts:
                if script._matches(command):
                    return await self._follow(command, script._next_step(command))
            name = command.args[0].rpartition("/")[2] if command.args else ""
            return await self._programs.get(name, Commands.refuse)(self, command)
        except CommandFailedError:
            raise
        except (Exception, SystemExit) as error:  # of the test's functions
            self.problems.append(error)
            command.write_error(f"incus_sdk.testing.Fake: {type(error).__name__}: {error}\n")
            return 1

    async def refuse(self, command: FakeCommand) -> int:
        """Fail a command for which there is no script, so that the test hears of it.

        Args:
            command: The command.
        """
        words = list(command.args)
        error = UnscriptedCommandError(
            f"no script for the command {words} in {command.instance!r}: add fake.on_exec({words}, stdout=...), "
            "or with returncode=127 if it shall not exist"
        )
        self.problems.append(error)
        command.write_error(f"incus_sdk.testing.Fake: {error}\n")
        return 127

    async def _follow(self, command: FakeCommand, step: FakeResult | Function) -> int:
        if not isinstance(step, FakeResult):
            step = await self._call(command, step)
        if step.error is not None:
            raise CommandFailedError(step.error)
        for number, code in step.signals.items():
            command.on_signal(number, _effect(command, code))
        command.write(step.stdout)
        command.write_error(step.stderr)
        if step.hang:
            await asyncio.Event().wait()
        if step.delay:
            await asyncio.sleep(step.delay)
        if not command.pty:
            # A test shall see in `input` what its code sent, also if the command does not care.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_INPUT_SECONDS):
                    await command._input_ended.wait()
        return step.returncode

    async def _call(self, command: FakeCommand, function: Function) -> FakeResult:
        if inspect.iscoroutinefunction(function):
            return _result(await function(command))
        if not command.pty:
            await command._input_ended.wait()
        with DaemonThread() as thread:
            return _result(await thread.call(function, command))

    def end_all(self, commands: Iterable[FakeCommand]) -> None:
        """Kill commands, as those of an instance that stops.

        Args:
            commands: Which of those that run.
        """
        for command in list(commands):
            command._signal(_SIGKILL)

    def check(self) -> None:
        """Raise what a test must hear of, once.

        Raises:
            UnscriptedCommandError: A command had no script.
            ExceptionGroup: Several things went wrong.
        """
        problems, self.problems = self.problems, []
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise BaseExceptionGroup("commands of the fake went wrong", problems)


def failure_of(code: int) -> str | None:
    """The error with which the server ends an operation whose command had this exit code, which stays readable.

    Args:
        code: The exit code.
    """
    return {126: "Command not executable", 127: "Command not found"}.get(code)


def _effect(command: FakeCommand, code: int | None) -> Callable[[], object]:
    return lambda: None if code is None else command._end(code)


def _result(made: Any) -> FakeResult:
    """What a function's result means."""
    if isinstance(made, FakeResult):
        return made
    if isinstance(made, bytes | str):
        return FakeResult(stdout=made)
    if made is None or isinstance(made, int):
        return FakeResult(returncode=0 if made is None or made is True else 1 if made is False else made)
    raise TypeError(
        "a function for on_exec returns an exit code, the stdout as bytes or str, a FakeResult or None, "
        f"not {type(made).__name__}"
    )
