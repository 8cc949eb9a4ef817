"""Live commands and consoles of an instance over websockets, in the shape of ``asyncio.subprocess``.

Nothing is lost and nothing is left running: output is read to its end even after the command has ended, a connection
that breaks is an error and never an end, and the command is dead when the ``async with`` block has been left, also by
an exception or a cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, AnyStr, BinaryIO, Generic, Self, TypeVar

from ._background import cancelled_operation
from ._concurrency import Attempts, end, shielded
from ._connection import wire
from ._connection.scope import Scope
from ._connection.transport import WebSocket
from ._outputs import FirstPiece, OutputReader, Stream, merged
from ._users import Users
from .exceptions import (
    IncusAPIError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusInstanceStoppedError,
    IncusNotFoundError,
    IncusOperationError,
    ProcessError,
)
from .operations import Operation

T = TypeVar("T")

Input = bytes | str | BinaryIO | AsyncIterable[bytes] | None
"""The stdin of a command: all its bytes or text, a file open for reading bytes, or an async iterable of bytes."""

_END = ""  # the empty text message that ends a stream, in both directions
_CTRL_D = b"\x04"  # ends the input of a terminal
_PENDING = 2**16  # bytes buffered for stdin before drain() waits
_PIECE = 2**16  # bytes of a message to stdin
_GRACE = 5.0  # seconds for a killed command, a console that was left, or the rest of an output, to come to an end
_ATTACHES = 3  # attempts to open the websockets of a command
_ATTACH_SECONDS = 4.0  # after that the server can have given up; it waits for 5 or 10
_LEAVE_SECONDS = 0.5  # that a caller who is cancelled before the command starts gives the server to hear of it
_SIGTERM, _SIGKILL = 15, 9  # numbers of the instance, which is Linux
_LAST_SIGNAL = 64  # of Linux
_SIGKILLED = 128 + _SIGKILL
_WITH_INSTANCE = (129, _SIGKILLED)  # exit codes of a command whose instance stops, in a virtual machine or a container
_DYING = 0.3  # seconds after a command, for its instance to show that it is stopping
_NO_CHILD = "Failed to retrieve PID of executing child"  # said of a container that is stopping, too
_CONSOLE_ATTACHES = 6  # attempts to attach to a console that LXC has not let go of
_CONSOLE_SECONDS = 5.0  # after which it is no such attempt that ends
_HELD = b'Error: Failed running forkconsole: "attaching to the container failed"\n'  # said on such a console
_NEVER_RAN = 1.0  # seconds from the end of the websockets to the news that the server could not run the command
_TURNS = 8  # of the event loop, from a connection that ends to the task that waits for it; TLS takes five

# Runs a command with a user's supplementary groups, which the API cannot set. The shell is replaced by the command, so
# signals reach it. $1 uid, $2 gid, $3 groups, $4 user name.
_RUN_AS_USER = """
if setpriv --reuid "$1" --regid "$2" --groups "$3" true 2>/dev/null; then
    u=$1 g=$2 s=$3; shift 4; exec setpriv --reuid "$u" --regid "$g" --groups "$s" -- "$@"
fi
n=$4; shift 4; exec su -s /bin/sh -c 'exec "$0" "$@"' -- "$n" "$@"
"""


@dataclass(frozen=True)
class ProcessResult(Generic[AnyStr]):
    """How a command ended, and its output."""

    args: tuple[str, ...]
    """The command: program and arguments."""
    returncode: int
    """0 to 255; 126 if the command cannot be executed, 127 if it is not found, 128 plus the signal's number if a signal
    ended it.
    """
    stdout: AnyStr
    stderr: AnyStr

    def check_returncode(self) -> None:
        """Check that the exit code is 0.

        Raises:
            ProcessError: It is not; the error has the output, and ends with the last line of stderr.
        """
        if self.returncode:
            stderr = self.stderr.decode(errors="replace") if isinstance(self.stderr, bytes) else self.stderr
            last_line = stderr.strip().rpartition("\n")[2]
            raise ProcessError(
                f"{list(self.args)} ended with exit code {self.returncode}" + (f": {last_line}" if last_line else ""),
                command=self.args,
                returncode=self.returncode,
                stdout=self.stdout,
                stderr=self.stderr,
            )


class ProcessInput:
    """The stdin of a live command, in the shape of `asyncio.StreamWriter`.

    Args:
        socket: The websocket of stdin.
        end: The message that ends it.
    """

    def __init__(self, socket: WebSocket, end: bytes | str) -> None:
        self._socket = socket
        self._end = end
        self._buffer: deque[memoryview] = deque()
        self._pending = 0
        self._wakeup = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._eof = False
        self._sent = False  # some bytes
        self._ended = False
        self._broken = False
        self._goes_on = False  # with another websocket, perhaps, when this one breaks
        self._closed = asyncio.Event()

    def write(self, data: bytes) -> None:
        """Queue bytes; await `drain` before more. Once the command has ended, they are dropped.

        Args:
            data: The bytes.

        Raises:
            IncusInputError: The data is not bytes, or stdin was ended.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise IncusInputError(f"stdin takes bytes, not {type(data).__name__}")
        if self._eof:
            raise IncusInputError("stdin was ended by write_eof()")
        if self._broken:
            return
        view = memoryview(data if isinstance(data, bytes) else bytes(data))  # which its owner can no longer change
        self._buffer.extend(view[at : at + _PIECE] for at in range(0, len(view), _PIECE))
        self._pending += len(view)
        if self._pending > _PENDING:
            self._room.clear()
        self._wakeup.set()

    def writelines(self, data: Iterable[bytes]) -> None:
        """Queue several pieces.

        Args:
            data: The pieces.

        Raises:
            IncusInputError: A piece is not bytes, or stdin was ended.
        """
        for piece in data:
            self.write(piece)

    async def drain(self) -> None:
        """Wait until there is room for more.

        Raises:
            BrokenPipeError: The command has ended.
        """
        await self._room.wait()
        if self._broken and not self._goes_on:
            raise BrokenPipeError("the command no longer reads its stdin")

    def can_write_eof(self) -> bool:
        """Return True: stdin can always be ended."""
        return True

    def write_eof(self) -> None:
        """End stdin after all queued bytes; on a terminal, this types Ctrl-D."""
        self._eof = True
        self._wakeup.set()

    def close(self) -> None:
        """Do the same as `write_eof`."""
        self.write_eof()

    def is_closing(self) -> bool:
        """Check whether it was ended, or the command has ended."""
        return self._eof or (self._broken and not self._goes_on)

    async def wait_closed(self) -> None:
        """Wait until all that is queued has been sent, or the command has ended."""
        await self._closed.wait()

    def _go_on(self, socket: WebSocket) -> bool:
        """Send to another websocket from now on; returns whether what sent to the last one has given up."""
        self._socket, gave_up, self._broken = socket, self._broken, False
        if gave_up:
            self._closed.clear()
        return gave_up

    def _mark_broken(self) -> None:
        """Let nobody wait for a command that has ended."""
        self._broken = True
        self._room.set()
        self._closed.set()

    async def _send_queue(self) -> None:
        try:
            while self._buffer or not self._eof:
                await self._wakeup.wait()
                self._wakeup.clear()
                while self._buffer:
                    piece = self._buffer.popleft()
                    await self._send(piece)
                    self._pending -= len(piece)
                    if self._pending <= _PENDING:
                        self._room.set()
            await self._send_end()
        except IncusError:
            self._broken = True  # the command has ended; its exit code tells how
        finally:
            self._room.set()
            self._closed.set()

    async def _send(self, piece: bytes | memoryview) -> None:
        self._sent = True
        await self._socket.send(piece)

    async def _send_end(self) -> None:
        """Send the end, after which the server reads nothing; so it is asked before whether it has everything."""
        self._ended = True
        if self._sent:
            self._socket.ping()
        await self._socket.send(self._end)

    @property
    def _has_arrived(self) -> bool:
        """Whether nothing of it can be lost any longer."""
        return self._ended and (not self._sent or self._socket.answered.is_set())


async def _never_started(operation: Operation) -> bool:
    """Whether the server has given up a command for which websockets were opened too late."""
    with contextlib.suppress(IncusNotFoundError):
        await operation.refresh()
    return operation.status == "Failure" and "return" not in operation.metadata


def _take_error(task: asyncio.Task[Any]) -> None:
    """Let nobody be told of an error that the streams and `Process.wait` raise, if somebody uses them."""
    if not task.cancelled():
        task.exception()


async def _ignore(socket: WebSocket) -> None:
    """Read a websocket on which only pings come, to its end."""
    while await socket.receive() is not None:
        pass


Take = Callable[[bytes], object]
"""What gets the pieces of an output."""


class _LiveOperation:
    """An operation with its websockets: streams in and out, and a control channel.

    A server says by an empty text where an output ends, then closes all of them. What ends before that broke. TLS tells
    whether the server closed stdin or the control channel; on a unix socket, what came before it does.
    """

    stdin: ProcessInput
    stdout: asyncio.StreamReader

    def __init__(self, scope: Scope, path: tuple[str, ...]) -> None:
        self._scope = scope
        self._path = path
        self._sockets: dict[str, WebSocket] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._operation: Operation | None = None
        self._unfinished: set[str] = set()  # outputs that go on
        self._received = 0
        self._lost: IncusConnectionError | None = None
        self._control_lost = False

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._release()
            raise
        return self

    async def _open(self) -> None:
        raise NotImplementedError

    async def _attach(self, verb: str, body: Mapping[str, Any], *, terminal: bool) -> Operation:
        """Begin the operation and open its websockets.

        A busy server can take longer than it gives itself for that. It then has not started the command, so it is asked
        again.
        """
        names = ("control", "0") if terminal else ("control", "0", "1", "2")
        loop = asyncio.get_running_loop()
        async with self._scope.transport.attaching:
            of = f"a command in {self._path[-1]} was not started in time"
            async for last in Attempts(_ATTACHES, 0.1, sleep=self._scope.transport.pause, of=of):
                path, begun = wire.path(*self._path, verb), loop.time()
                # Of a caller who is cancelled, the server would wait for the websockets until it gives up.
                async with cancelled_operation(self._scope, path, body, _LEAVE_SECONDS) as operation:
                    self._operation = operation
                    try:
                        await self._open_sockets(operation, names)
                    except IncusAPIError:
                        if last or not await _never_started(operation):
                            raise
                    else:
                        if last or loop.time() - begun < _ATTACH_SECONDS or not await _never_started(operation):
                            break
                self._abort()
                self._sockets = {}
        self._unfinished = {"0"} if terminal else {"1", "2"}
        self._start("control", self._watch_control())
        assert self._operation is not None
        return self._operation

    async def _open_sockets(self, operation: Operation, names: Sequence[str]) -> None:
        """Open all websockets at once, except that the last one waits for the control channel.

        The last one starts the command, and if that ends before the control channel is open, servers can wait for the
        end of that channel forever.
        """
        control = asyncio.Event()

        async def attach(name: str) -> None:
            if name == names[-1]:
                await control.wait()
                if "control" not in self._sockets:
                    return
            try:
                self._sockets[name] = await operation.websocket(name, pong=False)
            finally:
                if name == "control":
                    control.set()

        for failure in await asyncio.gather(*map(attach, names), return_exceptions=True):
            if failure is not None:
                raise failure

    def _start(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=f"incus-sdk {name}")
        task.add_done_callback(_take_error)
        self._tasks.append(task)
        return task

    def _start_reader(self, channel: str, name: Stream) -> asyncio.StreamReader:
        """A stream that gets all of an output."""
        reader = OutputReader(name, self._sockets[channel])

        async def feed() -> None:
            try:
                await self._receive(channel, reader.feed_data)
            except IncusError as error:
                reader.fail(error)
            finally:
                reader.feed_eof()

        self._start(name, feed())
        return reader

    async def _receive(self, channel: str, take: Take) -> None:
        """Hand on all of an output; raises if the connection breaks before its end."""
        socket = self._sockets[channel]

        def note_and_take(piece: bytes) -> None:
            self._received += 1
            take(piece)

        message = await socket.hand_on(note_and_take, bytes)
        if message is None and not await self._is_over():
            raise self._lose("the output is not whole")
        self._unfinished.discard(channel)
        if channel == "0":
            await socket.close()  # a terminal's session ends only when both sides have ended it

    async def _is_over(self) -> bool:
        """Whether an output may end without a word: the server has ended the operation."""
        return False

    def _lose(self, consequence: str) -> IncusConnectionError:
        """The error for a connection that broke; the first one counts."""
        if self._lost is None:
            self._lost = IncusConnectionError(f"{self._describe()}: a connection to the server broke: {consequence}")
        return self._lost

    async def _watch_control(self) -> None:
        """Find out that the control channel broke, for which the server kills the command."""
        socket = self._sockets["control"]
        await _ignore(socket)
        self._control_lost = socket.ended_by_peer is False

    async def _watch_input(self) -> None:
        """Find out that stdin broke, which to the command looks like its end."""
        socket = self._sockets["0"]
        await _ignore(socket)
        if socket.ended_by_peer or self.stdin._has_arrived:
            return
        if socket.ended_by_peer is None or socket.reset:
            # What the server sent before it closes stdin is here already, if only somebody takes it.
            received = -1
            while self._unfinished and received != self._received:
                received = self._received
                for _ in range(3):
                    await asyncio.sleep(0)
            if not self._unfinished or not self._is_read():
                return
        self._lose("the input may not have come whole")

    def _is_read(self) -> bool:
        """Whether nobody holds the outputs up."""
        return not any(socket.held for socket in self._sockets.values())

    async def _is_answering(self, channel: str, seconds: float) -> bool:
        """Whether the server answers a ping within that time."""
        socket = self._sockets[channel]
        socket.ping()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # `wait_for` of Python 3.11 can swallow a cancellation
                await socket.answered.wait()
        return socket.answered.is_set()

    async def _end_outputs(self) -> None:
        """Give outputs up that go on after the command, while nothing comes: the server has sent everything."""
        while self._unfinished:
            received = self._received
            await asyncio.sleep(_GRACE)
            if received == self._received and self._is_read():
                self._abort()
                return

    def _abort(self) -> None:
        """Close all websockets at once; the server kills a command that still runs."""
        for socket in self._sockets.values():
            socket.abort()

    def _describe(self) -> str:
        raise NotImplementedError

    async def _send_control(self, command: str, **fields: Any) -> None:
        if "control" not in self._sockets:
            raise IncusInputError("the process is not open: enter it as a context manager")
        with contextlib.suppress(IncusError):  # it has ended already
            await self._sockets["control"].send(json.dumps({"command": command, **fields}))

    async def resize(self, width: int, height: int) -> None:
        """Set the size of the terminal.

        Args:
            width: Columns.
            height: Rows.

        Raises:
            IncusInputError: The size is invalid, or the block was not entered.
        """
        wire.size(width, height)
        await self._send_control("window-resize", args={"width": str(width), "height": str(height)})

    async def _release(self) -> None:
        try:
            await end(self._tasks)
        finally:
            self._abort()


class Process(_LiveOperation):
    """A live command, from `Instance.open_process`.

        async with instance.open_process(["cat"]) as process:
            process.stdin.write(b"hello")
            process.stdin.write_eof()
            print(await process.stdout.read(), await process.wait())

    ``stdin`` is a `ProcessInput`; ``stdout`` and ``stderr`` are each an `asyncio.StreamReader`. On a terminal (``pty``)
    all output comes on ``stdout``, and ``stderr`` is None. Leaving the block kills a command that still runs.

    Args:
        scope: The connection to the server.
        path: The API path of the instance, like ``("instances", "c1")``.
        command: Program and arguments; no shell reads them.
        env: Environment variables, on top of the instance's own.
        cwd: The working directory, or ``/`` if it does not exist; None for ``HOME``, or ``/`` where that is not set.
        user: An id, or a name that the instance knows; None for root.
        group: An id, or a name that the instance knows; None for root's, or those of a user given by name.
        login: Run it in the environment that a login of the user has.
        pty: Run it on a terminal.
        width: Columns of the terminal.
        height: Rows of the terminal.

    Raises:
        IncusInputError: The command or the environment is invalid, or the instance does not know the user or the group.

    API:
        ``POST /1.0/instances/{name}/exec`` and ``GET /1.0/operations/{id}/websocket``
    """

    stderr: asyncio.StreamReader | None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in ("stdin", "stdout", "stderr"):
                raise AttributeError(f"a process has no {name} before it is open: enter it as a context manager")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

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
        login: bool = False,
        pty: bool = False,
        width: int = 80,
        height: int = 24,
    ) -> None:
        super().__init__(scope, path)
        self.args: tuple[str, ...] = wire.command(command)
        for what, given in (("user", user), ("group", group)):
            if isinstance(given, bool) or not isinstance(given, int | str | None):
                raise IncusInputError(f"{what} must be a numeric id or a name, not {given!r}")
        self._user, self._group, self._login = user, group, login
        self._pty = pty
        self._env = {"TERM": "xterm-256color"} if pty else {}
        self._env |= wire.environment(env or {}, "env")
        self._body: dict[str, Any] = {"wait-for-websocket": True, "interactive": pty}
        self._body |= {} if wire.directory(cwd) is None else {"cwd": cwd}
        self._body |= wire.size(width, height) if pty else {}
        wire.ids(**{key: id for key, id in (("user", user), ("group", group)) if not isinstance(id, str)})
        self._exit: asyncio.Task[int] | None = None
        self._takes: tuple[Take, Take] | None = None  # what get stdout and stderr in place of streams
        self._killed = False  # by the caller
        self._stopped = False  # together with the instance
        self._reap = _GRACE  # seconds for it to end, once it was killed

    async def _open(self) -> None:
        command, ids, env = await self._resolve_user()
        body = {**self._body, **ids, "command": list(command), "environment": env}
        operation = await self._attach("exec", body, terminal=self._pty)
        self._exit = self._start("command", self._wait_exit(operation))
        self.stderr = None
        self.stdin = ProcessInput(self._sockets["0"], _CTRL_D if self._pty else _END)
        if self._takes is None:
            self._start("input", self.stdin._send_queue())
            # Servers do not always close stdin when the command has ended.
            self._exit.add_done_callback(lambda _: self.stdin._mark_broken())
            self.stdout = self._start_reader("0" if self._pty else "1", "stdout")
            self.stderr = None if self._pty else self._start_reader("2", "stderr")
        if not self._pty:
            self._start("input", self._watch_input())

    async def __aexit__(self, *_: object) -> None:
        lost, is_left = self._lost, self._exit is not None and not self._exit.done()
        try:
            if self._exit is not None and is_left:
                await self.kill()
                self._abort()  # so that the server does not wait until the rest of the output is read
                await asyncio.wait([self._exit], timeout=self._reap)
        finally:
            await self._release()
            if is_left:
                self._lost = lost  # what broke since was broken here

    @property
    def returncode(self) -> int | None:
        """The exit code; None while the command runs, or if it is not known."""
        task = self._exit
        return task.result() if task and task.done() and not task.cancelled() and not task.exception() else None

    async def wait(self) -> int:
        """Wait until the command has ended; a command that writes much ends only if its output is read.

        Returns:
            The exit code; see `ProcessResult.returncode`.

        Raises:
            IncusInputError: The block was not entered.
            IncusConnectionError: A connection broke, so that the exit code is not known, or the output or the input may
                not be whole.
            IncusInstanceStoppedError: The instance stopped, or was deleted, and the command with it.
            IncusOperationError: The server could not run the command.
            IncusOperationLostError: The server forgot the command, so the exit code is not known.
        """
        if self._exit is None:
            raise IncusInputError("the process is not open: enter it as a context manager")
        if self._exit.cancelled():
            raise IncusConnectionError(f"{self._describe()} was left while it ran, so how it ended is not known")
        code = await asyncio.shield(self._exit)
        if not self.stdin._has_arrived:
            for _ in range(_TURNS):  # in which `_watch_input` hears of a break that came before the exit
                await asyncio.sleep(0)
        if code == _SIGKILLED and self._control_lost and not self._killed:
            self._lose("the server killed the command")
        if self._lost is not None:
            raise self._lost
        if self._stopped:
            raise self._stopped_error(code)
        return code

    async def communicate(self, input: bytes | None = None) -> tuple[bytes, bytes]:
        """Send input, end stdin, read all output, and wait until the command has ended.

        Args:
            input: The input; None for none.

        Returns:
            Stdout and stderr; stderr is empty on a terminal.

        Raises:
            IncusConnectionError: See `wait`.
            IncusInstanceStoppedError: See `wait`.
            IncusOperationError: See `wait`.
            IncusOperationLostError: See `wait`.
        """
        if input:
            self.stdin.write(input)
        self.stdin.write_eof()
        readers = [self.stdout] if self.stderr is None else [self.stdout, self.stderr]
        outputs = await asyncio.gather(*(reader.read() for reader in readers), return_exceptions=True)
        whole = [output for output in outputs if isinstance(output, bytes)]
        try:
            for output in outputs:
                if isinstance(output, BaseException):
                    raise output
            await self.wait()
        except IncusError as error:
            for name, output in zip(("stdout", "stderr"), outputs, strict=False):
                if isinstance(output, bytes):
                    setattr(error, name, output)
            raise
        return whole[0], whole[1] if len(whole) > 1 else b""

    async def outputs(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """Read all output as it comes, until both streams have ended.

            async for stream, data in process.outputs():
                print(stream, data)

        The two go over different connections, so the order is that of arrival. The command waits for a reader that
        lags behind by more than 1 MiB. Who leaves the loop early finds the rest in ``stdout`` and ``stderr``.

        Yields:
            The stream, ``"stdout"`` or ``"stderr"``, and a piece of what was written to it. On a terminal, all is
                stdout.

        Raises:
            IncusInputError: Somebody else is iterating over the outputs.
            IncusConnectionError: A connection broke, so that an output may not be whole.
        """
        readers = [reader for reader in (self.stdout, self.stderr) if isinstance(reader, OutputReader)]
        async with contextlib.aclosing(merged(readers)) as pieces:
            async for piece in pieces:
                yield piece

    async def send_signal(self, signal: int) -> None:
        """Send the command a signal; does nothing once it has ended.

        Args:
            signal: The signal's number on Linux, which other systems can name otherwise.

        Raises:
            IncusInputError: The block was not entered, or ``signal`` is no number of a signal.
        """
        if isinstance(signal, bool) or not isinstance(signal, int) or not 0 <= signal <= _LAST_SIGNAL:
            raise IncusInputError(f"signal must be a number of 1 to {_LAST_SIGNAL}, as signal.SIGTERM, not {signal!r}")
        self._killed = self._killed or int(signal) == _SIGKILL
        await self._send_control("signal", signal=int(signal))

    async def terminate(self) -> None:
        """Send the command SIGTERM; does nothing once it has ended.

        Raises:
            IncusInputError: The block was not entered.
        """
        await self.send_signal(_SIGTERM)

    async def kill(self) -> None:
        """Send the command SIGKILL; does nothing once it has ended.

        Raises:
            IncusInputError: The block was not entered.
        """
        await self.send_signal(_SIGKILL)

    async def _wait_exit(self, operation: Operation) -> int:
        try:
            await operation._wait_for_command()
        except IncusOperationError as error:
            if _NO_CHILD in str(error) and await self._has_instance_stopped():
                raise self._stopped_error(None) from error
            raise
        code = operation.metadata.get("return")
        if not isinstance(code, int):
            raise IncusConnectionError(f"{self._describe()}: the server does not say how it ended")
        if self._unfinished:
            self._start("rest of the output", self._end_outputs())
        if code in _WITH_INSTANCE and not self._killed:
            self._stopped = await self._has_instance_stopped()
        return code

    async def _is_over(self) -> bool:
        # Such as without the agent of a virtual machine. Then the websockets just end, and `wait` raises the reason.
        if self._exit is None or self._received:
            return False
        await asyncio.wait([self._exit], timeout=_NEVER_RAN)
        ended = self._exit.done() and not self._exit.cancelled()
        return ended and isinstance(self._exit.exception(), IncusOperationError | IncusInstanceStoppedError)

    def _stopped_error(self, code: int | None) -> IncusInstanceStoppedError:
        return IncusInstanceStoppedError(
            f"{self._describe()} ended because {self._path[-1]} stopped or was deleted",
            command=self.args,
            returncode=code,
        )

    async def _has_instance_stopped(self) -> bool:
        """Whether the instance is stopping or gone; while it stops, servers still call it running, but without init."""
        for pause in (0, _DYING):
            await asyncio.sleep(pause)
            try:
                state = (await self._scope.request("GET", wire.path(*self._path, "state"))).object
            except IncusNotFoundError:
                return True
            except IncusAPIError as error:
                return "Invalid PID" in str(error)
            except (IncusError, TimeoutError):
                return False
            if not state.get("pid"):
                return True
        return False

    def _describe(self) -> str:
        return str(list(self.args))

    async def _resolve_user(self) -> tuple[Sequence[str], dict[str, int], dict[str, Any]]:
        """Command, ids and environment, with the names of user and group looked up in the instance."""
        names = {"user": self._user, "group": self._group}
        ids = {key: value for key, value in names.items() if isinstance(value, int)}
        users, env, command = Users(self._scope, self._path), dict[str, Any](self._env), self.args
        if isinstance(self._group, str):
            ids["group"] = await users.group(self._group)
        if isinstance(self._user, str) or self._login:
            user = await users.user(0 if self._user is None else self._user)
            env = {"HOME": user.home, "USER": user.name, "LOGNAME": user.name, **env}
            if self._login:
                env = {"SHELL": user.shell, **env}
                command = (user.shell, "-l", "-c", 'exec "$0" "$@"', *command)
            ids["user"] = user.uid
            if self._group is None:
                ids["group"] = user.gid
                if others := await users.other_groups(user.name):
                    gids = ",".join(map(str, dict.fromkeys([user.gid, *others])))
                    words = (str(user.uid), str(user.gid), gids, user.name)
                    command = ("sh", "-c", _RUN_AS_USER, "sh", *words, *command)
                    ids = {"user": 0, "group": 0}
        return command, ids, env


class Console(_LiveOperation):
    """The console of an instance, from `Instance.console`.

    ``stdin`` writes, ``stdout`` reads; leaving the block detaches. Where a container is slow to let go of whoever was
    attached before, it is attached to again; what was written until then is lost. Reading raises `IncusOperationError`
    if it never becomes free.

    Args:
        scope: The connection to the server.
        path: The API path of the instance, like ``("instances", "c1")``.
        width: Columns of the terminal.
        height: Rows of the terminal.
        force: Take the console over from whoever is attached.

    API:
        ``POST /1.0/instances/{name}/console`` and ``GET /1.0/operations/{id}/websocket``
    """

    def __init__(self, scope: Scope, path: tuple[str, ...], width: int, height: int, force: bool) -> None:
        super().__init__(scope, path)
        self._left = False
        self._force = force
        self._body = {"type": "console", **wire.size(width, height)}

    async def _open(self) -> None:
        await self._attach_whole(self._force)
        self.stdin = ProcessInput(self._sockets["0"], _CTRL_D)
        self.stdin._goes_on = True
        self._start("input", self.stdin._send_queue())
        self.stdout = self._start_reader("0", "stdout")

    async def _attach_whole(self, force: bool) -> None:
        """Attach, or leave nothing behind."""
        self._sockets = {}
        attaching = asyncio.ensure_future(self._attach("console", {**self._body, "force": force}, terminal=True))
        try:
            await asyncio.shield(attaching)
        except BaseException:
            await shielded(self._leave(attaching))
            raise

    async def _receive(self, channel: str, take: Take) -> None:
        try:
            await self._receive_attaching(channel, take)
        finally:
            self.stdin._goes_on = False

    async def _receive_attaching(self, channel: str, take: Take) -> None:
        """Hand on what is said there, and attach again for as long as LXC has not let go of the one before.

        It frees a console only when it hears that the process is gone which the server had attached to it. On a busy
        machine the server can lose what says so: then the console ends without a word.
        """
        of, loop = f"{self._describe()} was not free yet", asyncio.get_running_loop()
        async for last in Attempts(_CONSOLE_ATTACHES, 0.1, sleep=self._scope.transport.pause, of=of):
            said, since = FirstPiece(_HELD, take), loop.time()
            try:
                await super()._receive(channel, said.take)
            except IncusError:
                said.give()
                raise
            is_silent = said.is_awaited and loop.time() - since < _CONSOLE_SECONDS
            if self._left or not (said.is_held or (is_silent and not last)):
                said.give()
                return
            assert self._operation is not None
            if last:
                problem = f"{self._describe()} is held by a process that the server does not know: end it"
                raise IncusOperationError(problem, operation_id=self._operation.id)
            try:
                await self._attach_whole(self._force and said.is_held)
            except IncusAPIError:
                if said.is_held:
                    raise
                return  # it ended for a reason: the instance stops, or somebody has taken it over
            socket = self._sockets[channel]
            assert isinstance(self.stdout, OutputReader)
            self.stdout.go_on(socket)
            if self.stdin._go_on(socket):
                self._start("input", self.stdin._send_queue())

    async def _leave(self, attaching: asyncio.Future[Operation]) -> None:
        """Attach what is missing, then detach: a console that is attached by half stays taken for a minute."""
        with contextlib.suppress(IncusError, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(_GRACE):
                with contextlib.suppress(IncusError):
                    await attaching
                if self._operation is not None and self._scope.transport.is_open:
                    for name in {"control", "0"} - self._sockets.keys():
                        with contextlib.suppress(IncusError):
                            self._sockets[name] = await self._operation.websocket(name, pong=False)
                    await self.detach()

    async def _is_over(self) -> bool:
        assert self._operation is not None
        try:
            await self._operation.wait(_GRACE)  # somebody has taken it over, or the instance has stopped
        except IncusOperationError:
            return True
        except IncusError:
            return False
        return True

    def _describe(self) -> str:
        return f"the console of {self._path[-1]}"

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.detach()
        finally:
            await self._release()

    async def detach(self) -> None:
        """Leave the console; whatever runs on it goes on."""
        self._left = True
        for socket in list(self._sockets.values()):  # the control websocket is the first
            await socket.close()
        if self._operation is not None:
            with contextlib.suppress(IncusError):
                await self._operation.wait(_GRACE)
