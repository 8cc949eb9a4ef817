"""The standard input and output of this process, handed over to a command or a console of an instance."""

from __future__ import annotations

import asyncio
import functools
import io
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable

from ._concurrency import cancel_at_end, in_thread
from .exceptions import IncusInputError
from .process import Console, Process

try:
    import termios
    import tty
except ImportError:
    raise IncusInputError(
        "shell() and attach_console() need a terminal of Linux or macOS; on this system use run(), open_process() or "
        "console()"
    ) from None

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_CHUNK = 2**16
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # end the program without a chance to restore the terminal
_CTRL_A = 1
_HINT = b"To detach from the console, press: <ctrl>+a q\n"  # in the words of the command


def is_terminal() -> bool:
    """Whether stdin and stdout are a terminal."""
    return os.isatty(_STDIN) and os.isatty(_STDOUT)


def size() -> tuple[int, int]:
    """Columns and rows of the local terminal; raises `IncusInputError` without one."""
    if not is_terminal():
        raise IncusInputError("a console needs a terminal as stdin and stdout; use console() without one")
    columns, rows = os.get_terminal_size(_STDOUT)
    return columns or 80, rows or 24  # a serial line, for one, does not know its size


async def iter_stdin() -> AsyncGenerator[bytes]:
    """What comes on stdin; where that can take long, nothing waits in a thread, which would keep the program alive."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    while True:
        try:
            loop.add_reader(_STDIN, readable.set)
        except PermissionError:  # a regular file, or /dev/null
            piece = await in_thread(os.read, _STDIN, _CHUNK)
        else:
            try:
                await readable.wait()
            finally:
                loop.remove_reader(_STDIN)
            readable.clear()
            piece = os.read(_STDIN, _CHUNK)
        if not piece:
            return
        yield piece


def open_outputs() -> tuple[io.FileIO, io.FileIO]:
    """Stdout and stderr for bytes, after what is already on its way to them."""
    for file in (sys.stdout, sys.stderr):
        if file is not None:
            file.flush()
    return io.FileIO(_STDOUT, "wb", closefd=False), io.FileIO(_STDERR, "wb", closefd=False)


async def interact(process: Process) -> int:
    """Connect the local terminal to a process until it ends; returns its exit code."""
    await _connect(process, None)
    return await process.wait()


async def attach(console: Console) -> None:
    """Connect the local terminal to a console until it ends, or the keys to detach are pressed."""
    await asyncio.to_thread(_write_all, _HINT)
    await _connect(console, _DetachKeys())
    await asyncio.to_thread(_write_all, b"\n")


class _DetachKeys:
    """Finds ctrl+a q in what is typed; ctrl+a twice types it once."""

    def __init__(self) -> None:
        self.pressed = asyncio.Event()
        self._after_ctrl_a = False

    def take(self, typed: bytes) -> bytes:
        """What is to be sent of it."""
        sent = bytearray()
        for key in typed:
            if self._after_ctrl_a and key == ord("q"):
                self.pressed.set()
                break
            self._after_ctrl_a = key == _CTRL_A and not self._after_ctrl_a
            if not self._after_ctrl_a:
                sent.append(key)
        return bytes(sent)


async def _connect(live: Process | Console, keys: _DetachKeys | None) -> None:
    loop = asyncio.get_running_loop()
    resized = asyncio.Event()
    settings = termios.tcgetattr(_STDIN)

    def forward_keys() -> None:
        if typed := os.read(_STDIN, _CHUNK):
            live.stdin.write(typed if keys is None else keys.take(typed))
            return
        loop.remove_reader(_STDIN)  # the terminal was hung up
        if keys is None:
            live.stdin.write_eof()
        else:
            keys.pressed.set()

    async def forward_size() -> None:
        while True:
            await resized.wait()
            resized.clear()
            await live.resize(*size())

    async def show() -> None:
        while data := await live.stdout.read(_CHUNK):
            await asyncio.to_thread(_write_all, data)

    def end(number: int) -> None:
        termios.tcsetattr(_STDIN, termios.TCSANOW, settings)
        loop.remove_signal_handler(number)
        os.kill(os.getpid(), number)

    handlers: dict[int, Callable[[], object]] = {
        number: functools.partial(end, number) for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL
    }
    handlers[signal.SIGWINCH] = resized.set
    resizing = asyncio.create_task(forward_size(), name="incus-sdk resize")
    showing = asyncio.create_task(show(), name="incus-sdk screen")
    ends = {showing} if keys is None else {showing, asyncio.create_task(keys.pressed.wait(), name="incus-sdk keys")}
    try:
        tty.setraw(_STDIN, termios.TCSADRAIN)  # which drops nothing of what was typed before
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        loop.add_reader(_STDIN, forward_keys)
        async with cancel_at_end({resizing, *ends}):
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if showing.done():
                showing.result()
    finally:
        loop.remove_reader(_STDIN)
        for number in handlers:
            loop.remove_signal_handler(number)
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, settings)


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(_STDOUT, data) :]
