"""Live commands and consoles of an instance over websockets, in the shape of ``subprocess``.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from .. import process as _source
from ..process import Input as Input
from ..process import ProcessResult as ProcessResult
from ..process import Take as Take
from . import _twin

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from .._outputs import Stream


class ProcessInput(_twin.Twin):
    """The stdin of a live command, in the shape of `asyncio.StreamWriter`."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.ProcessInput: ...

    def write(self, data: bytes) -> None:
        """Write bytes, and wait until there is room for more. Once the command has ended, they are dropped.

        Args:
            data: The bytes.

        Raises:
            IncusInputError: The data is not bytes, or stdin was ended.
        """
        self._portal.run(_twin.written(self._async, "write", data))

    def writelines(self, data: Iterable[bytes]) -> None:
        """Write several pieces, and wait until there is room for more.

        Args:
            data: The pieces.

        Raises:
            IncusInputError: A piece is not bytes, or stdin was ended.
        """
        self._portal.run(_twin.written(self._async, "writelines", data))

    def drain(self) -> None:
        """Wait until there is room for more.

        Raises:
            BrokenPipeError: The command has ended.
        """
        self._portal.run(self._async.drain())

    def can_write_eof(self) -> bool:
        """Return True: stdin can always be ended."""
        return self._async.can_write_eof()

    def write_eof(self) -> None:
        """End stdin after all queued bytes; on a terminal, this types Ctrl-D."""
        self._portal.call(self._async.write_eof)

    def close(self) -> None:
        """Do the same as `write_eof`."""
        self._portal.call(self._async.close)

    def is_closing(self) -> bool:
        """Check whether it was ended, or the command has ended."""
        return self._async.is_closing()

    def wait_closed(self) -> None:
        """Wait until all that is queued has been sent, or the command has ended."""
        self._portal.run(self._async.wait_closed())


class _LiveOperation(_twin.Twin):
    """An operation with its websockets: streams in and out, and a control channel.

    A server says by an empty text where an output ends, then closes all of them. What ends before that broke. TLS tells
    whether the server closed stdin or the control channel; on a unix socket, what came before it does.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source._LiveOperation: ...

    @property
    def stdin(self) -> ProcessInput:
        """Its input."""
        value: ProcessInput = self._wrap(self._async.stdin)
        return value

    @property
    def stdout(self) -> _twin.StreamReader:
        """The stream of its output."""
        value: _twin.StreamReader = self._wrap(self._async.stdout)
        return value

    def __enter__(self) -> Self:
        return self._enter(self._async.__aenter__())

    def resize(self, width: int, height: int) -> None:
        """Set the size of the terminal.

        Args:
            width: Columns.
            height: Rows.

        Raises:
            IncusInputError: The size is invalid, or the block was not entered.
        """
        self._portal.run(self._async.resize(width, height))


class Process(_LiveOperation):
    """A live command, from `Instance.open_process`.

        with instance.open_process(["cat"]) as process:
            process.stdin.write(b"hello")
            process.stdin.write_eof()
            print(process.stdout.read(), process.wait())

    ``stdin`` is a `ProcessInput`; ``stdout`` and ``stderr`` are each a stream to read from. On a terminal (``pty``)
    all output comes on ``stdout``, and ``stderr`` is None. Leaving the block kills a command that still runs.

    Raises:
        IncusInputError: The command or the environment is invalid, or the instance does not know the user or the group.

    API:
        ``POST /1.0/instances/{name}/exec`` and ``GET /1.0/operations/{id}/websocket``
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Process: ...

    @property
    def stderr(self) -> _twin.StreamReader | None:
        """The stream of its errors; None on a terminal."""
        value: _twin.StreamReader | None = self._wrap(self._async.stderr)
        return value

    @property
    def args(self) -> tuple[str, ...]:
        """The command: program and arguments."""
        value: tuple[str, ...] = self._wrap(self._async.args)
        return value

    def __exit__(self, *_: object) -> None:
        self._leave(self._async.__aexit__(*_))

    @property
    def returncode(self) -> int | None:
        """The exit code; None while the command runs, or if it is not known."""
        return self._async.returncode

    def wait(self) -> int:
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
        return self._portal.run(self._async.wait())

    def communicate(self, input: bytes | None = None) -> tuple[bytes, bytes]:
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
        return self._portal.run(self._async.communicate(input))

    def outputs(self) -> Generator[tuple[Stream, bytes]]:
        """Read all output as it comes, until both streams have ended.

            for stream, data in process.outputs():
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
        return self._portal.iterate(self._async.outputs(), self._wrap)

    def send_signal(self, signal: int) -> None:
        """Send the command a signal; does nothing once it has ended.

        Args:
            signal: The signal's number on Linux, which other systems can name otherwise.

        Raises:
            IncusInputError: The block was not entered, or ``signal`` is no number of a signal.
        """
        self._portal.run(self._async.send_signal(signal))

    def terminate(self) -> None:
        """Send the command SIGTERM; does nothing once it has ended.

        Raises:
            IncusInputError: The block was not entered.
        """
        self._portal.run(self._async.terminate())

    def kill(self) -> None:
        """Send the command SIGKILL; does nothing once it has ended.

        Raises:
            IncusInputError: The block was not entered.
        """
        self._portal.run(self._async.kill())


class Console(_LiveOperation):
    """The console of an instance, from `Instance.console`.

    ``stdin`` writes, ``stdout`` reads; leaving the block detaches. Where a container is slow to let go of whoever was
    attached before, it is attached to again; what was written until then is lost. Reading raises `IncusOperationError`
    if it never becomes free.

    API:
        ``POST /1.0/instances/{name}/console`` and ``GET /1.0/operations/{id}/websocket``
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Console: ...

    def __exit__(self, *_: object) -> None:
        self._leave(self._async.__aexit__(*_))

    def detach(self) -> None:
        """Leave the console; whatever runs on it goes on."""
        self._portal.run(self._async.detach())
