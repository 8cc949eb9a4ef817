"""Commands and consoles of an instance, live over websockets: the shape of ``asyncio.subprocess``.

Nothing is lost and nothing is left running: output is read to its end marker after the command has ended, and whoever
leaves the ``async with``, also by an exception or a cancellation, leaves a command that is dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal as signals
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, AnyStr, BinaryIO, Generic, Self

from ._connection import wire
from ._connection.scope import Scope
from ._connection.transport import WebSocket
from .exceptions import (
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    IncusTimeoutError,
    ProcessError,
)
from .operations import Operation, operate

NOT_RUN = (126, 127)
"""Exit codes that the server makes a failed operation of: the command cannot be executed, or is not found."""

Input = bytes | str | BinaryIO | AsyncIterable[bytes] | None
"""What a command gets on its stdin: all of it at once, a file open for reading bytes, or an async iterable of bytes."""

_END = ""  # the empty text message that ends a stream, in both directions
_LIMIT = 2**20  # bytes held for a reader that does not read, before the command is made to wait; also the longest line
_PENDING = 2**16  # bytes held for the command's stdin before drain() waits
_PIECE = 2**16  # bytes in one message to stdin
_GRACE = 5.0  # seconds for a killed command to be gone

# Runs a command as a user with the user's supplementary groups, which the API cannot set. It becomes the command, so
# that signals reach it. $1 uid, $2 gid, $3 groups, $4 user name.
_AS_USER = """
if setpriv --reuid "$1" --regid "$2" --groups "$3" true 2>/dev/null; then
    u=$1 g=$2 s=$3; shift 4; exec setpriv --reuid "$u" --regid "$g" --groups "$s" -- "$@"
fi
n=$4; shift 4; exec su -s /bin/sh -c 'exec "$0" "$@"' -- "$n" "$@"
"""


@dataclass(frozen=True)
class ProcessResult(Generic[AnyStr]):
    """How a command ended, and what it wrote."""

    args: tuple[str, ...]
    returncode: int
    """0 to 255; 126 for a command that cannot be executed, 127 for one that is not found, 128 and the signal's number
    for one that a signal ended."""
    stdout: AnyStr
    stderr: AnyStr

    def check_returncode(self) -> None:
        """Raise `ProcessError` unless the exit code is 0."""
        if self.returncode:
            said = self.stderr.decode(errors="replace") if isinstance(self.stderr, bytes) else self.stderr
            last = said.strip().rpartition("\n")[2]
            raise ProcessError(
                f"{list(self.args)} ended with exit code {self.returncode}" + (f": {last}" if last else ""),
                command=self.args,
                returncode=self.returncode,
                stdout=self.stdout,
                stderr=self.stderr,
            )


class _Gate(asyncio.ReadTransport):
    """What a StreamReader knows of where its bytes come from: it can be told to stop and to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()

    def pause_reading(self) -> None:
        self.open.clear()

    def resume_reading(self) -> None:
        self.open.set()


class ProcessInput:
    """The stdin of a live command, in the shape of `asyncio.StreamWriter`."""

    def __init__(self, socket: WebSocket, end: bytes | str) -> None:
        self._socket = socket
        self._end = end
        self._buffer: deque[bytes] = deque()
        self._pending = 0
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._eof = False
        self._gone = False
        self._done = asyncio.Event()

    def write(self, data: bytes) -> None:
        """Queue bytes; `drain` waits until there is room for more. After the end of the command they go nowhere."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise IncusInputError(f"stdin takes bytes, not {type(data).__name__}")
        if self._eof:
            raise IncusInputError("stdin was ended by write_eof()")
        view = memoryview(data).cast("B")
        self._buffer.extend(bytes(view[at : at + _PIECE]) for at in range(0, len(view), _PIECE))
        self._pending += len(view)
        if self._pending > _PENDING:
            self._room.clear()
        self._work.set()

    def writelines(self, data: Iterable[bytes]) -> None:
        """Queue several pieces."""
        for piece in data:
            self.write(piece)

    async def drain(self) -> None:
        """Wait until there is room for more. Raises `BrokenPipeError` once the command is gone."""
        await self._room.wait()
        if self._gone:
            raise BrokenPipeError("the command no longer reads its stdin")

    def can_write_eof(self) -> bool:
        """True, as of every stdin."""
        return True

    def write_eof(self) -> None:
        """End stdin after what is queued; on a terminal, this types Ctrl-D."""
        self._eof = True
        self._work.set()

    def close(self) -> None:
        """The same as `write_eof`."""
        self.write_eof()

    def is_closing(self) -> bool:
        """Whether it was ended, or the command is gone."""
        return self._eof or self._gone

    async def wait_closed(self) -> None:
        """Wait until all that was queued has been sent, or the command is gone."""
        await self._done.wait()

    def _break(self) -> None:
        """Nobody reads this any longer."""
        self._gone = True
        self._room.set()
        self._done.set()

    async def _pump(self) -> None:
        try:
            while self._buffer or not self._eof:
                await self._work.wait()
                self._work.clear()
                while self._buffer:
                    piece = self._buffer.popleft()
                    await self._socket.send(piece)
                    self._pending -= len(piece)
                    if self._pending <= _PENDING:
                        self._room.set()
            await self._socket.send(self._end)
        except IncusError:
            self._gone = True  # the command has ended, and its exit code tells how
        finally:
            self._room.set()
            self._done.set()


class _Session:
    """An operation's websockets, attached: streams in and out, and a control channel."""

    stdin: ProcessInput
    stdout: asyncio.StreamReader

    def __init__(self, scope: Scope, path: tuple[str, ...]) -> None:
        self._scope = scope
        self._path = path
        self._sockets: dict[str, WebSocket] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._operation: Operation | None = None

    async def _attach(self, verb: str, body: Mapping[str, Any], names: Sequence[str]) -> Operation:
        """Begin the operation and open its websockets: the server gives that five seconds.

        All at once, but the last of ``names`` when the control channel is open: the command starts with the last, and
        if it has ended before the control channel is open, servers can wait for that channel's end for ever.
        """
        control = asyncio.Event()

        async def attach(name: str) -> None:
            if name == names[-1]:
                await control.wait()
            try:
                self._sockets[name] = await operation.websocket(name, pong=False)
            finally:
                if name == "control":
                    control.set()

        async with self._scope.transport.attaching:
            path = wire.path(*self._path, verb)
            operation = self._operation = await operate(self._scope, "POST", path, body=body, wait=False)
            # The control channel comes first, so that it gets the connection that the request has just left.
            for failure in await asyncio.gather(*map(attach, ("control", *names)), return_exceptions=True):
                if failure is not None:
                    raise failure
        return operation

    def _own(self, name: str, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=f"incus-sdk {name}")
        self._tasks.append(task)
        return task

    def _reader(self, name: str, *, close: bool = False) -> asyncio.StreamReader:
        """A stream of one of the websockets, fed until its end."""
        reader, gate = asyncio.StreamReader(limit=_LIMIT), _Gate()
        reader.set_transport(gate)
        self._own(f"output {name}", self._feed(self._sockets[name], reader, gate, close))
        return reader

    async def _feed(self, socket: WebSocket, reader: asyncio.StreamReader, gate: _Gate, close: bool) -> None:
        try:
            while True:
                await gate.open.wait()
                message = await socket.receive()
                # The end is marked by an empty text; some servers just drop the connection. Whether that was the end,
                # the operation tells.
                if not isinstance(message, bytes):
                    break
                reader.feed_data(message)
            if close:
                await socket.close()  # a terminal's session ends only when both sides have ended it
        finally:
            reader.feed_eof()

    async def _ignore(self, socket: WebSocket) -> None:
        """Read a websocket on which nothing but pings can come."""
        while await socket.receive() is not None:
            pass

    async def _control(self, command: str, **how: Any) -> None:
        if "control" not in self._sockets:
            raise IncusInputError("a process is opened by `async with`")
        with contextlib.suppress(IncusError):  # it has ended already
            await self._sockets["control"].send(json.dumps({"command": command, **how}))

    async def resize(self, width: int, height: int) -> None:
        """Tell it the size of its terminal, in columns and rows."""
        if not (0 < width < 2**16 and 0 < height < 2**16):
            raise IncusInputError(f"a terminal has 1 to 65535 columns and rows, not {width} and {height}")
        await self._control("window-resize", args={"width": str(width), "height": str(height)})

    async def _release(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(socket.close() for socket in self._sockets.values()), return_exceptions=True)


class Process(_Session):
    """A live command, from `Instance.open_process`.

        async with box.open_process(["cat"]) as process:
            process.stdin.write(b"hello")
            process.stdin.write_eof()
            print(await process.stdout.read(), await process.wait())

    ``stdin`` writes, ``stdout`` and ``stderr`` are `asyncio.StreamReader`; on a terminal (``pty``), ``stdout`` has
    everything and ``stderr`` is None. Leaving the block kills the command if it still runs.
    """

    stderr: asyncio.StreamReader | None

    def __init__(
        self,
        scope: Scope,
        path: tuple[str, ...],
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        pty: bool = False,
        width: int = 80,
        height: int = 24,
    ) -> None:
        super().__init__(scope, path)
        self.args = checked_command(command)
        self._user, self._group = user, group
        self._pty = pty
        self._env = {"TERM": "xterm-256color"} if pty else {}
        self._env |= {key: value or "" for key, value in wire.config_strings(env or {}, "env").items()}
        self._body: dict[str, Any] = {"wait-for-websocket": True, "interactive": pty}
        self._body |= {"cwd": cwd} if cwd is not None else {}
        self._body |= {"width": width, "height": height} if pty else {}
        self._ended: asyncio.Task[int] | None = None

    async def __aenter__(self) -> Self:
        try:
            command, identity, env = await self._identity()
            body = {**self._body, **identity, "command": list(command), "environment": env}
            names = ("0",) if self._pty else ("0", "1", "2")
            operation = await self._attach("exec", body, names)
        except BaseException:
            await self._release()
            raise
        self._ended = self._own("command", self._end(operation))
        self.stdin = ProcessInput(self._sockets["0"], b"\x04" if self._pty else _END)
        # Servers do not always close it when the command has ended.
        self._ended.add_done_callback(lambda _: self.stdin._break())
        self._own("input", self.stdin._pump())
        self._own("control", self._ignore(self._sockets["control"]))
        if self._pty:
            self.stdout, self.stderr = self._reader("0", close=True), None
        else:
            self._own("input", self._ignore(self._sockets["0"]))
            self.stdout, self.stderr = self._reader("1"), self._reader("2")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._ended is not None and not self._ended.done():
                await self.kill()
                # Without its streams the server need not wait until the rest of the output is read.
                await asyncio.gather(*(socket.close() for socket in self._sockets.values()), return_exceptions=True)
                await asyncio.wait([self._ended], timeout=_GRACE)
        finally:
            await self._release()

    @property
    def returncode(self) -> int | None:
        """The exit code; None while the command runs, or when nobody knows it."""
        ended = self._ended
        return ended.result() if ended and ended.done() and not ended.cancelled() and not ended.exception() else None

    async def wait(self) -> int:
        """Wait until the command has ended, and return its exit code; `ProcessResult.returncode` says which there are.

        Its output must be read meanwhile, or it waits for that. Raises `IncusConnectionError` or
        `IncusOperationLostError` if nobody can know how it ended.
        """
        if self._ended is None:
            raise IncusInputError("a process is opened by `async with`")
        return await asyncio.shield(self._ended)

    async def communicate(self, input: bytes | None = None) -> tuple[bytes, bytes]:
        """Send ``input``, end stdin, and return all of stdout and stderr when the command has ended."""
        if input:
            self.stdin.write(input)
        self.stdin.write_eof()
        readers = [self.stdout] if self.stderr is None else [self.stdout, self.stderr]
        outputs = await asyncio.gather(*(reader.read() for reader in readers))
        await self.wait()
        return outputs[0], outputs[1] if self.stderr is not None else b""

    async def send_signal(self, signal: int) -> None:
        """Send the command a signal; one that has ended gets none."""
        await self._control("signal", signal=int(signal))

    async def terminate(self) -> None:
        """Send it SIGTERM."""
        await self.send_signal(signals.SIGTERM)

    async def kill(self) -> None:
        """Send it SIGKILL."""
        await self.send_signal(signals.SIGKILL)

    async def _end(self, operation: Operation) -> int:
        try:
            await operation.wait()
        except IncusOperationError as error:
            code = (error.response.get("metadata") or {}).get("return")
            if code not in NOT_RUN:
                raise
        code = operation.metadata["return"]
        return int(code)

    async def _identity(self) -> tuple[Sequence[str], dict[str, int], dict[str, Any]]:
        """Command, ids and environment for the user and the group: names are those that the instance knows."""
        ids = {"user": self._user, "group": self._group}
        numbers = {key: value for key, value in ids.items() if isinstance(value, int)}
        env: dict[str, Any] = dict(self._env)
        command: Sequence[str] = self.args
        if isinstance(self._group, str):
            numbers["group"] = int((await self._entry("/etc/group", self._group))[2])
        if isinstance(self._user, str):
            _, _, uid, gid, _, home, *_ = await self._entry("/etc/passwd", self._user)
            env = {"HOME": home, "USER": self._user, "LOGNAME": self._user, **env}
            numbers["user"] = int(uid)
            if self._group is None:
                numbers["group"] = int(gid)
                others = [entry[2] for entry in await self._entries("/etc/group") if self._user in entry[3].split(",")]
                if others:
                    groups = ",".join(dict.fromkeys([gid, *others]))
                    command = ("sh", "-c", _AS_USER, "sh", uid, gid, groups, self._user, *self.args)
                    numbers = {"user": 0, "group": 0}
        return command, numbers, env

    async def _entry(self, file: str, name: str) -> list[str]:
        for entry in await self._entries(file):
            if entry[0] == name:
                return entry
        raise IncusInputError(f"the instance's {file} has no {name!r}")

    async def _entries(self, file: str) -> list[list[str]]:
        try:
            answer = await self._scope.request("GET", wire.path(*self._path, "files"), query={"path": file})
        except IncusNotFoundError:
            raise IncusInputError(f"the instance has no {file} to look names up in: give numbers") from None
        fields = 7 if file.endswith("passwd") else 4
        lines = answer.metadata.decode(errors="surrogateescape").splitlines()
        return [entry for line in lines if len(entry := line.split(":")) >= fields]


class Console(_Session):
    """The console of an instance, attached, from `Instance.console`: ``stdin`` writes, ``stdout`` reads; leaving
    detaches.
    """

    def __init__(self, scope: Scope, path: tuple[str, ...], width: int, height: int, force: bool) -> None:
        super().__init__(scope, path)
        self._body = {"type": "console", "width": width, "height": height, "force": force}

    async def __aenter__(self) -> Self:
        try:
            await self._attach("console", self._body, ("0",))
        except BaseException:
            await self._release()
            raise
        self.stdin = ProcessInput(self._sockets["0"], b"\x04")
        self._own("input", self.stdin._pump())
        self._own("control", self._ignore(self._sockets["control"]))
        self.stdout = self._reader("0", close=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.detach()
        finally:
            await self._release()

    async def detach(self) -> None:
        """Leave the console as it is; whatever runs there runs on."""
        await self._sockets["control"].close()
        await self._sockets["0"].close()
        if self._operation is not None:
            with contextlib.suppress(IncusError):
                await self._operation.wait(_GRACE)


async def run(
    process: Process,
    input: Input,
    timeout: float | None,
    max_output: int | None,
    encoding: str,
    grace: float,
) -> ProcessResult[bytes]:
    """Run a process to its end: feed it, read it, and stop it at its limits."""
    stdout, stderr = bytearray(), bytearray()
    async with process:
        work = asyncio.ensure_future(_work(process, _source(input, encoding), stdout, stderr, max_output))
        try:
            await asyncio.wait([work], timeout=timeout)
            if not work.done():
                await process.terminate()
                await asyncio.wait([work], timeout=grace)
                if not work.done():
                    await process.kill()
                    await asyncio.wait([work], timeout=grace)
                raise IncusTimeoutError(
                    f"{list(process.args)} was stopped: it ran for more than {timeout} s",
                    stdout=bytes(stdout),
                    stderr=bytes(stderr),
                )
            return ProcessResult(process.args, work.result(), bytes(stdout), bytes(stderr))
        except _TooMuch:
            raise ProcessError(
                f"{list(process.args)} was killed: it wrote more than {max_output} bytes",
                command=process.args,
                stdout=bytes(stdout),
                stderr=bytes(stderr),
            ) from None
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


class _TooMuch(Exception):
    """A command wrote more than it was allowed to."""


async def _work(
    process: Process, source: AsyncIterable[bytes], stdout: bytearray, stderr: bytearray, most: int | None
) -> int:
    async def feed() -> None:
        with contextlib.suppress(BrokenPipeError):
            async for piece in source:
                process.stdin.write(piece)
                await process.stdin.drain()
        process.stdin.write_eof()

    async def collect(reader: asyncio.StreamReader, into: bytearray) -> None:
        while piece := await reader.read(_LIMIT):
            into += piece
            if most is not None and len(into) > most:
                del into[most:]
                raise _TooMuch

    assert process.stderr is not None
    outputs = ((process.stdout, stdout), (process.stderr, stderr))
    reading = {asyncio.ensure_future(collect(reader, into)) for reader, into in outputs}
    working = {asyncio.ensure_future(feed()), *reading}
    try:
        # A command that has ended needs no more input; but what its source raises is the caller's to know at once.
        while not all(task.done() for task in reading):
            pending = {task for task in working if not task.done()}
            done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        return await process.wait()
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


def checked_input(input: Input) -> Input:
    """The input, or `IncusInputError` for what is none."""
    if input is None or isinstance(input, str | bytes | AsyncIterable) or hasattr(input, "read"):
        return input
    raise IncusInputError(f"input must be bytes, str, a file or an async iterable, not {type(input).__name__}")


async def _source(input: Input, encoding: str) -> AsyncGenerator[bytes]:
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
            while piece := await asyncio.to_thread(input.read, _PIECE):
                yield piece if isinstance(piece, bytes) else piece.encode(encoding)


def checked_command(command: Sequence[str]) -> tuple[str, ...]:
    """The command as program and arguments, or `IncusInputError`."""
    words = wire.texts(command, "command")
    if not words:
        raise IncusInputError('command must be a list of str, as ["sh", "-c", "..."], not an empty one')
    if any("\0" in word for word in words):
        raise IncusInputError("command has a word with a NUL byte in it")
    return tuple(words)
