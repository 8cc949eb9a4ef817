"""The local terminal, handed over to a command that runs on a terminal in an instance."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable

from .exceptions import IncusInputError
from .process import Process

_CHUNK = 2**16
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # end the program without a chance to restore the terminal


def size() -> tuple[int, int]:
    """Columns and rows of the local terminal; raises `IncusInputError` without one."""
    if not (os.isatty(sys.stdin.fileno()) and os.isatty(sys.stdout.fileno())):
        raise IncusInputError("a shell needs a terminal as stdin and stdout; use run() or open_process() without one")
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    return columns or 80, rows or 24  # a serial line, for one, does not know its size


async def interact(process: Process) -> int:
    """Connect the local terminal to a process until it ends; returns its exit code."""
    loop = asyncio.get_running_loop()
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    resized = asyncio.Event()
    settings = termios.tcgetattr(keyboard)

    def forward_keys() -> None:
        data = os.read(keyboard, _CHUNK)
        if data:
            process.stdin.write(data)
        else:  # the terminal was hung up
            loop.remove_reader(keyboard)
            process.stdin.write_eof()

    async def forward_size() -> None:
        while True:
            await resized.wait()
            resized.clear()
            await process.resize(*size())

    def end(number: int) -> None:
        termios.tcsetattr(keyboard, termios.TCSANOW, settings)
        loop.remove_signal_handler(number)
        os.kill(os.getpid(), number)

    handlers: dict[int, Callable[[], object]] = {
        number: functools.partial(end, number) for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL
    }
    handlers[signal.SIGWINCH] = resized.set
    resizing = asyncio.create_task(forward_size(), name="incus-sdk resize")
    try:
        tty.setraw(keyboard)
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        loop.add_reader(keyboard, forward_keys)
        while data := await process.stdout.read(_CHUNK):
            await asyncio.to_thread(_write_all, screen, data)
        return await process.wait()
    finally:
        loop.remove_reader(keyboard)
        for number in handlers:
            loop.remove_signal_handler(number)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, settings)
        resizing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await resizing


def _write_all(screen: int, data: bytes) -> None:
    while data:
        data = data[os.write(screen, data) :]
