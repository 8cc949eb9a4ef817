"""``incus-sdk-mcp``: a server of the Model Context Protocol that gives an agent boxes for its code, over stdio.

Needs ``mcp``: ``pip install 'incus-sdk[mcp]'``. **Provisional.**
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import inspect
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import Client, IncusError, IncusInputError, IncusTimeoutError, ProcessError, ProcessResult, __version__
from ._concurrency import end, shielded
from .sandbox import Box, Limits, Network, Pool, list_boxes, prune

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from .api._forwarding import LocalAddress

T = TypeVar("T")

_MOST_OUTPUT = 2**24  # bytes: a command that writes more is killed

_INSTRUCTIONS = """\
Boxes are Linux containers for code that must not touch this machine. Make one, run commands and code in it, read and \
write its files, and destroy it when you are done: it is gone after a while in any case. What runs in a box is root \
there. Paths are absolute. Long outputs and files are cut in the middle."""


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it wrote."""

    exit_code: int | None
    """None: it was killed, for the reason in ``note``."""
    stdout: str
    stderr: str
    note: str = ""


class _Held(Generic[T]):
    """What a context manager gives, in a task of its own: a call of a tool ends, and what it has opened stays open."""

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self._value: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._left = asyncio.Event()
        self._task = asyncio.create_task(self._hold(manager))
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # else its error is logged

    async def _hold(self, manager: AbstractAsyncContextManager[T]) -> None:
        async with manager as value:
            self._value.set_result(value)
            await self._left.wait()

    async def get(self) -> T:
        """Wait until it is there."""
        both: tuple[asyncio.Future[Any], ...] = self._value, self._task
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not self._value.done():
            self._task.result()  # which raises why there is none
        return self._value.result()

    @property
    def has_ended(self) -> bool:
        """Whether it is no longer there."""
        return self._task.done()

    async def leave(self) -> None:
        """Leave the context manager, also one that is still being entered."""
        self._left.set()
        if self._value.done():
            await asyncio.shield(self._task)  # which goes on if the caller is cancelled
        else:
            await end([self._task])


class Boxes:
    """The tools, and the boxes that they have made.

    Args:
        client: The client.
        pool: The pool, not yet entered: the first box may wait for an image to come, the agent's first word may not.
        most: Boxes at once.
        timeout: Seconds that a command has at most.
        max_output: Characters of an output, or of a file, that the agent gets to see.
    """

    def __init__(self, client: Client, pool: Pool, most: int, timeout: float, max_output: int) -> None:
        for what, value, least in (("boxes", most, 1), ("timeout", timeout, 0.1), ("max-output", max_output, 2)):
            if not value >= least:
                raise IncusInputError(f"{what} must be {least} or more, not {value}")
        self._client = client
        self._pool = pool
        self._most = most
        self._timeout = timeout
        self._max_output = max_output
        self._open_pool: _Held[Pool] | None = None
        self._boxes: dict[str, tuple[_Held[Box], dict[int, _Held[LocalAddress]]]] = {}
        self._making = 0

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Pool]:
        await prune(self._client)  # what a server that was killed has left
        async with self._pool as pool:
            yield pool

    async def close(self) -> None:
        """Destroy everything."""
        await asyncio.gather(*map(self.destroy_box, list(self._boxes)), return_exceptions=True)
        if self._open_pool is not None:
            with contextlib.suppress(IncusError):
                await self._open_pool.leave()  # which destroys what is left

    def open_pool(self) -> _Held[Pool]:
        """Open the pool, if it is not open, or if that failed the last time."""
        if self._open_pool is None or self._open_pool.has_ended:
            self._open_pool = _Held(self._opened())
        return self._open_pool

    async def create_box(self) -> str:
        """Make a new box, empty but for what its image has. Returns its id, which all other tools take."""
        pool = await self.open_pool().get()
        if len(self._boxes) + self._making >= self._most:
            await self._forget_gone()
        if len(self._boxes) + self._making >= self._most:
            raise IncusError(f"there are {self._most} boxes already: destroy one of {', '.join(self._boxes)}")
        self._making += 1
        held = _Held(pool.lease())
        try:
            box = await held.get()
        except BaseException:
            await shielded(held.leave())
            raise
        finally:
            self._making -= 1
        self._boxes[box.id] = held, {}
        return box.id

    async def run_command(self, box: str, command: str, cwd: str = "", timeout: float = 0) -> Result:
        """Run a shell command in a box, and wait for its end.

        Args:
            box: The id of the box.
            command: The command, as for sh.
            cwd: The directory to run in.
            timeout: Seconds after which it is killed; 0 for as long as is allowed.
        """
        how: dict[str, Any] = {"cwd": cwd or None, "timeout": self._seconds(timeout), "max_output": _MOST_OUTPUT}
        return await self._run((await self._box(box)).run(["sh", "-c", command], text=True, **how))

    async def run_code(self, box: str, language: str, code: str, timeout: float = 0) -> Result:
        """Run a program in a box, and wait for its end.

        Args:
            box: The id of the box.
            language: python, sh, bash, node, perl or ruby.
            code: The program.
            timeout: Seconds after which it is killed; 0 for as long as is allowed.
        """
        work = (await self._box(box)).run_code(language, code, timeout=self._seconds(timeout), max_output=_MOST_OUTPUT)
        return await self._run(work)

    async def read_file(self, box: str, path: str) -> str:
        """Read a file of text in a box; the middle of a long one is left out."""
        return self._excerpt((await (await self._box(box)).read(path)).decode(errors="replace"))

    async def write_file(self, box: str, path: str, content: str) -> str:
        """Write a file in a box, new or in place of the old content, with the directories above it."""
        await (await self._box(box)).write(path, content)
        return f"{path} has {len(content.encode())} bytes"

    async def list_files(self, box: str, path: str = "/") -> list[str]:
        """List the names in a directory of a box; those of directories end with a slash. A long list is cut."""
        names = await (await self._box(box)).list_files(path)
        room = self._max_output
        for number, name in enumerate(names):
            room -= len(name)
            if room < 0:
                return [*names[:number], f"[... {len(names) - number} names left out ...]"]
        return names

    async def snapshot(self, box: str) -> str:
        """Keep the files of a box as they are now. Returns the name of the snapshot, for rollback."""
        return await (await self._box(box)).snapshot()

    async def rollback(self, box: str, snapshot: str) -> str:
        """Bring the files of a box back to a snapshot. All that runs in it ends."""
        await (await self._box(box)).rollback(snapshot)
        return f"{box} is as it was in {snapshot}"

    async def preview(self, box: str, port: int) -> str:
        """Make a port of a box, such as that of a web server, reachable at an address of this machine. Returns that."""
        found = await self._box(box)
        previews = self._boxes[box][1]
        if port not in previews or previews[port].has_ended:
            previews[port] = _Held(found.preview(port))
        try:
            host, local = (await previews[port].get())[:2]
        except IncusError:
            previews.pop(port, None)
            raise
        return f"http://{host}:{local}"

    async def list_boxes(self) -> list[str]:
        """List the ids of the boxes that there are."""
        await self._forget_gone()
        return list(self._boxes)

    async def destroy_box(self, box: str) -> str:
        """Destroy a box with all that is in it."""
        if box not in self._boxes:
            raise self._no_such_box(box)
        held, previews = self._boxes.pop(box)
        for preview in previews.values():
            with contextlib.suppress(IncusError):
                await preview.leave()
        await held.leave()
        return f"{box} is gone"

    async def _forget_gone(self) -> None:
        """Forget boxes whose time was over, or that somebody else has destroyed."""
        known = list(self._boxes)
        there = {box.id for box in await list_boxes(self._client)}
        for id in known:
            if id not in there:
                with contextlib.suppress(IncusError):
                    await self.destroy_box(id)

    async def _box(self, id: str) -> Box:
        if id not in self._boxes:
            raise self._no_such_box(id)
        return await self._boxes[id][0].get()

    def _seconds(self, timeout: float) -> float:
        if not timeout >= 0:
            raise IncusInputError(f"timeout must be seconds, not {timeout}")
        return min(timeout or self._timeout, self._timeout)

    async def _run(self, work: Awaitable[ProcessResult[str]]) -> Result:
        code: int | None = None
        note = ""
        try:
            done = await work
            code, stdout, stderr = done.returncode, done.stdout, done.stderr
        except (IncusTimeoutError, ProcessError) as error:  # with what it wrote until then
            note, stdout, stderr = str(error), error.stdout, error.stderr
        return Result(code, self._excerpt(stdout), self._excerpt(stderr), note)

    def _excerpt(self, text: str) -> str:
        half = self._max_output // 2
        left_out = len(text) - 2 * half
        return text if left_out <= 0 else f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"

    def _no_such_box(self, id: str) -> IncusError:
        return IncusError(f"there is no box {id!r}: the boxes are {', '.join(self._boxes) or 'none, make one'}")


def make_server(boxes: Boxes) -> MCPServer[object]:
    """Make the server of some boxes' tools."""
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError:
        raise IncusError("the MCP server needs mcp: pip install 'incus-sdk[mcp]'") from None

    def tool(function: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        @functools.wraps(function)
        async def call(**arguments: Any) -> object:
            try:
                return await function(**arguments)
            except IncusError as error:
                raise ToolError(str(error)) from None

        return call

    server = MCPServer[object]("incus-sdk", version=__version__, instructions=_INSTRUCTIONS, log_level="WARNING")
    for each in (
        *(boxes.create_box, boxes.list_boxes, boxes.destroy_box, boxes.run_command, boxes.run_code),
        *(boxes.read_file, boxes.write_file, boxes.list_files, boxes.snapshot, boxes.rollback, boxes.preview),
    ):
        server.add_tool(tool(each), description=inspect.getdoc(each))
    return server


async def serve(arguments: argparse.Namespace) -> None:
    """Serve one client until it closes stdin, or SIGTERM or Ctrl-C comes; then destroy its boxes."""
    limits = {name: getattr(arguments, name) for name in ("cpu", "memory", "processes", "disk", "unenforced")}
    given = arguments.server
    is_address = given is not None and (given.startswith("/") or "://" in given)
    client = (
        Client(given, project=arguments.project) if is_address else Client.from_remote(given, project=arguments.project)
    )
    pool = Pool(
        client,
        arguments.image,
        size=arguments.size,
        ttl=arguments.ttl,
        name=arguments.name,
        labels={"app": "mcp"},
        limits=Limits(**limits),
        network=Network(arguments.network, arguments.allow) if arguments.network else None,
        languages=arguments.language,
        storage=arguments.storage,
    )
    boxes = Boxes(client, pool, arguments.boxes, arguments.timeout, arguments.max_output)
    server = make_server(boxes)
    async with client:
        boxes.open_pool()
        terminated: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
        for each in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows has none
                asyncio.get_running_loop().add_signal_handler(each, _settle, terminated, each)
        work = asyncio.ensure_future(server.run_stdio_async())
        try:
            either: tuple[asyncio.Future[Any], ...] = work, terminated
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await shielded(boxes.close())
        if not work.done():
            os._exit(128 + terminated.result())  # else the thread that reads stdin would keep the process
        await work


def _settle(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 if the server cannot begin."""
    parser = argparse.ArgumentParser(
        prog="incus-sdk-mcp", description="Give an agent boxes for its code: an MCP server over stdio."
    )
    limits, add = Limits(), parser.add_argument
    add("--image", required=True, help="of the boxes, such as images:debian/13")
    add("--server", help="a remote of the incus command, https://host:8443 or unix:///path; else the default")
    add("--project", help="of the boxes")
    add("--boxes", type=int, default=8, help="at once, at most (default: %(default)s)")
    add("--size", type=int, default=1, help="boxes that are kept ready (default: %(default)s)")
    add("--ttl", type=float, default=3600, help="seconds until a box is destroyed (default: %(default)s)")
    add("--name", help="of the pool: servers with the same one share it")
    add("--timeout", type=float, default=300, help="seconds that a command has at most (default: %(default)s)")
    add("--max-output", type=int, default=20000, help="characters that the agent sees of one (default: %(default)s)")
    add("--cpu", type=float, default=limits.cpu, help="processors' worth of time (default: %(default)s)")
    add("--memory", default=limits.memory, help="(default: %(default)s)")
    add("--processes", type=int, default=limits.processes, help="(default: %(default)s)")
    add("--disk", default=limits.disk, help="(default: %(default)s)")
    add("--unenforced", choices=("refuse", "accept"), default="refuse", help="what to do if a limit cannot be kept")
    add("--network", help="a bridge for boxes alone; else they reach nothing")
    add("--allow", action="append", default=[], metavar="ADDRESS:PORT", help="what they reach there; several times")
    add("--storage", help="the storage pool of the boxes")
    add("--language", action="append", default=[], help="that the image must have an interpreter for; several times")
    add("--version", action="version", version=__version__)
    try:
        asyncio.run(serve(parser.parse_args(arguments)))
    except IncusError as error:
        print(f"incus-sdk-mcp: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
