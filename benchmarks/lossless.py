"""Short commands, many at a time: how many come back with wrong output, by the SDK and by the ``incus`` command.

    python benchmarks/lossless.py [--runs 6000] [--command-runs 600] [--at-once 20]

Each run echoes its own number to stdout and stderr and exits with it. Prints wrong results of all, for the SDK over
each transport and for the command, and the ratio of their times for one run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable

from incus_sdk import Instance
from incus_sdk.testing import Daemon

HANG = 60  # seconds after which a run of the command counts as hung, and so as wrong

Run = Callable[[int], Awaitable[tuple[int, bytes, bytes]]]


def script(number: int) -> list[str]:
    return ["sh", "-c", f"echo out {number}; echo err {number} >&2; exit {number % 100}"]


async def wrong(run: Run, runs: int, at_once: int) -> tuple[int, float]:
    """How many of the runs gave a wrong result, and the seconds that each took."""
    limit = asyncio.Semaphore(at_once)

    async def one(number: int) -> bool:
        async with limit:
            result = await run(number)
        return result != (number % 100, f"out {number}\n".encode(), f"err {number}\n".encode())

    begun = time.monotonic()
    results = await asyncio.gather(*map(one, range(runs)))
    return sum(results), (time.monotonic() - begun) / runs


def by_sdk(box: Instance) -> Run:
    async def run(number: int) -> tuple[int, bytes, bytes]:
        result = await box.run(script(number))
        return result.returncode, result.stdout, result.stderr

    return run


def by_command(box: Instance, environment: dict[str, str]) -> Run:
    async def run(number: int) -> tuple[int, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            "incus",
            *("exec", "-T", box.name, "--", *script(number)),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(HANG):
                stdout, stderr = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return -1, b"", b""
        return process.returncode or 0, stdout, stderr

    return run


async def measure(runs: int, command_runs: int, at_once: int) -> dict[str, tuple[int, int, float]]:
    """By way of running: runs, wrong ones, and seconds for each."""
    measured: dict[str, tuple[int, int, float]] = {}
    async with (
        Daemon() as daemon,
        daemon.client() as unix,
        daemon.client("https") as https,
        unix.instances.temporary("busybox") as box,
    ):
        for name, client in (("SDK, unix socket", unix), ("SDK, HTTPS", https)):
            found, seconds = await wrong(by_sdk(client.instances[box.name]), runs, at_once)
            measured[name] = runs, found, seconds
        if shutil.which("incus"):
            environment = {**os.environ, "INCUS_DIR": str(daemon.directory)}
            found, seconds = await wrong(by_command(box, environment), command_runs, at_once)
            measured["incus command"] = command_runs, found, seconds
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description="Wrong results of short commands run many at a time.")
    parser.add_argument("--runs", type=int, default=6000)
    parser.add_argument("--command-runs", type=int, default=600)
    parser.add_argument("--at-once", type=int, default=20)
    options = parser.parse_args()
    measured = asyncio.run(measure(options.runs, options.command_runs, options.at_once))
    _, _, reference = measured.get("incus command", (0, 0, 0.0))
    for name, (runs, found, seconds) in measured.items():
        ratio = f", {seconds / reference:.2f} times the command's time" if reference else ""
        print(f"{name:>18}: {found} wrong of {runs}{ratio}")


if __name__ == "__main__":
    main()
