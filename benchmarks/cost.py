"""What the house costs: lines of each resource, own frames from a method to the connection, logging, an import.

    python -m benchmarks.cost

Needs no Incus. Lines are those of code: a docstring, a comment, a blank line and how an expression is broken count for
nothing. Times are of the processor, the least of some runs, so that a busy machine changes little.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import incus_sdk
from benchmarks.replay import Server
from incus_sdk import Client
from incus_sdk._connection.connection import Connection
from incus_sdk._connection.tracing import Tracing

PACKAGE = Path(incus_sdk.__file__).parent
VERBS = ("list", "get", "exists", "create", "update", "replace", "patch", "editing", "rename", "delete")
IMPORTS = {
    "python": "pass",
    "asyncio": "import asyncio",
    "incus_sdk": "import incus_sdk",
    "aiohttp": "import aiohttp",
}
RUNS = 15
REQUESTS, CHECKS = 100, 10_000


def lines() -> dict[str, dict[str, int]]:
    """Lines of code of each class, by module of ``api``."""
    counted: dict[str, dict[str, int]] = {}
    for module in sorted((PACKAGE / "api").glob("*.py")):
        for node in ast.parse(module.read_text()).body:
            if isinstance(node, ast.ClassDef):
                counted.setdefault(module.stem, {})[node.name] = code(node)
    return counted


def code(node: ast.ClassDef) -> int:
    for inner in ast.walk(node):
        if isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(inner):
            inner.body = inner.body[1:] or [ast.Pass()]
    return len([line for line in ast.unparse(node).splitlines() if line.strip() not in ("", "pass")])


async def frames() -> list[str]:
    """The SDK's own functions on the stack when `client.profiles.get` hands its request to a connection."""
    seen: list[str] = []

    def spy(*_: Any) -> None:
        own = [frame for frame in traceback.extract_stack() if Path(frame.filename).is_relative_to(PACKAGE)]
        seen.extend(f"{Path(frame.filename).stem}.{frame.name}" for frame in own)
        raise ConnectionError

    with tempfile.TemporaryDirectory() as directory, patch.object(Connection, "begin", spy):
        server = await asyncio.start_unix_server(lambda _, writer: writer.close(), f"{directory}/socket")
        try:
            async with server:
                await Client(f"{directory}/socket").profiles.get("x")
        except incus_sdk.IncusConnectionError:
            return seen
    raise AssertionError("no request was sent")


def imports() -> dict[str, float]:
    """Seconds of a fresh interpreter that imports something, with its bytecode at hand."""
    taken = dict.fromkeys(IMPORTS, float("inf"))
    with tempfile.TemporaryDirectory() as cache:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        for _ in range(RUNS + 1):  # the first writes the bytecode
            for name, statement in IMPORTS.items():
                process = subprocess.Popen([sys.executable, "-c", statement], env=environment)
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if process.returncode:
                    raise SystemExit(f"{statement} failed")
                taken[name] = min(taken[name], used.ru_utime + used.ru_stime)
    return taken


@contextlib.contextmanager
def answering(socket: str) -> Iterator[None]:
    """A server of ``GET /1.0`` in a thread of its own."""
    listening, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with await asyncio.start_unix_server(Server({"/1.0": {"auth": "trusted"}}, []).serve, socket):
            listening.set()
            await over.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    listening.wait()
    try:
        yield
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join()


def logging_cost() -> dict[str, float]:
    """Seconds that a small request takes with logging off, of these for logging, and with all of it, into nothing."""
    taken = dict.fromkeys(("off", "check", "on"), float("inf"))
    logger = logging.getLogger("incus_sdk")

    async def send(client: Client) -> float:
        begun = time.thread_time()
        for _ in range(REQUESTS):
            await client.query("GET", "/1.0")
        return (time.thread_time() - begun) / REQUESTS

    def ask(tracing: Tracing) -> float:
        begun = time.thread_time()
        for _ in range(CHECKS):
            with tracing.begin("GET", "/1.0", "") as trace:
                trace.answered(None)  # type: ignore[arg-type]
        return (time.thread_time() - begun) / CHECKS

    async def measure(socket: str) -> None:
        async with Client(socket) as client:
            for _ in range(RUNS):
                taken["off"] = min(taken["off"], await send(client))
                taken["check"] = min(taken["check"], ask(client._scope.transport.tracing))
                logger.setLevel(logging.DEBUG)
                taken["on"] = min(taken["on"], await send(client))
                logger.setLevel(logging.NOTSET)

    handler, propagate = logging.NullHandler(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with tempfile.TemporaryDirectory() as directory, answering(f"{directory}/socket"):
            asyncio.run(measure(f"{directory}/socket"))
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
    return taken


def main() -> None:
    print(f"Lines of code of each class; {len(VERBS)} verbs of all resources are in base: {', '.join(VERBS)}")
    for module, classes in lines().items():
        print(f"{sum(classes.values()):4} {module}: {', '.join(f'{name} {count}' for name, count in classes.items())}")
    path = asyncio.run(frames())
    print(f"Own frames from client.profiles.get to the connection: {len(path)}: {' > '.join(path)}")
    cost = logging_cost()
    share, more = cost["check"] / cost["off"], cost["on"] / cost["off"]
    print(
        f"Logging that is off takes {share:.2%} of a small request; with all of it, that takes {more:.2f} times as long"
    )
    measured = imports()
    times = [f"{name} {seconds / measured['python']:.1f}" for name, seconds in measured.items()]
    print(f"Time to import, in times of Python's own start: {', '.join(times)}")
    share = (measured["incus_sdk"] - measured["python"]) / (measured["aiohttp"] - measured["python"])
    print(f"import incus_sdk takes {share:.2f} times what import aiohttp takes, without Python's own start")


if __name__ == "__main__":
    main()
