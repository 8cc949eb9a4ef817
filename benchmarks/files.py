"""Files to and from an instance: by the SDK (SFTP), by parallel REST requests, and by the ``incus`` command.

    python benchmarks/files.py [--megabytes 200] [--files 1000] [--rounds 3]

A large file and a tree of small ones, pushed and pulled. Prints the least of the rounds in seconds, and how many times
as long the others took.
"""

# ruff: noqa: ASYNC240  (the local side blocks in both)

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from incus_sdk import Instance
from incus_sdk._connection import wire
from incus_sdk.files import RemotePath
from incus_sdk.testing import Daemon

AT_ONCE = 32  # as the SDK has under way
FOLDERS = 20
MB = 1024 * 1024

Way = Callable[[str, str, Path], Awaitable[object]]
"""Moves ``push`` or ``pull``, between a remote path and a local one."""


def by_sdk(box: Instance) -> Way:
    async def move(verb: str, remote: str, local: Path) -> None:
        path = RemotePath(box._scope, box._path, remote)
        await (path.push(local) if verb == "push" else path.pull(local))

    return move


def by_rest(box: Instance) -> Way:
    url, limit = wire.path(*box._path, "files"), asyncio.Semaphore(AT_ONCE)

    async def post(path: str, kind: str, body: AsyncIterator[bytes] | None = None) -> None:
        async with limit:
            await box._scope.request("POST", url, query={"path": path}, headers={"X-Incus-type": kind}, body=body)

    async def content(local: Path) -> AsyncIterator[bytes]:
        with local.open("rb") as file:
            while piece := file.read(MB):
                yield piece

    async def get(path: str, local: Path) -> None:
        async with limit, box._scope.download("GET", url, query={"path": path}) as stream:
            with local.open("wb") as file:
                async for piece in stream.chunks():
                    file.write(piece)

    async def names(path: str) -> list[str]:
        async with limit:
            listed: list[str] = (await box._scope.request("GET", url, query={"path": path})).metadata
        return listed

    async def move(verb: str, remote: str, local: Path) -> None:
        if remote.endswith("big"):
            await (post(remote, "file", content(local)) if verb == "push" else get(remote, local))
        elif verb == "push":
            folders = sorted(local.iterdir())
            await post(remote, "directory")
            await together(post(f"{remote}/{folder.name}", "directory") for folder in folders)
            files = [(f"{remote}/{folder.name}/{file.name}", file) for folder in folders for file in folder.iterdir()]
            await together(post(path, "file", content(file)) for path, file in files)
        else:
            local.mkdir()

            async def folder(name: str) -> None:
                (local / name).mkdir()
                listed = await names(f"{remote}/{name}")
                await together(get(f"{remote}/{name}/{file}", local / name / file) for file in listed)

            await together(map(folder, await names(remote)))

    return move


def by_command(box: Instance, daemon: Daemon, home: str) -> Way:
    async def move(verb: str, remote: str, local: Path) -> None:
        both = (str(local), f"{box.name}{remote}") if verb == "push" else (f"{box.name}{remote}", str(local))
        recursive = () if remote.endswith("big") else ("-r",)
        if recursive:  # it moves a tree into a directory
            both = (both[0], f"{box.name}/" if verb == "push" else f"{local.parent}/")
        process = await asyncio.create_subprocess_exec(
            *("incus", "--quiet", "file", verb, *recursive, *both),
            env={**os.environ, "INCUS_DIR": str(daemon.directory), "HOME": home},
            stdin=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0

    return move


async def together(work: Iterable[Awaitable[object]]) -> None:
    await asyncio.gather(*work)


async def least(rounds: int, way: Way, verb: str, remote: str, local: Path) -> float:
    """The least of some rounds' seconds; what was pulled is removed before each."""
    seconds: list[float] = []
    for _ in range(rounds):
        if verb == "pull":
            shutil.rmtree(local) if local.is_dir() else local.unlink(missing_ok=True)
        begun = time.monotonic()
        await way(verb, remote, local)
        seconds.append(time.monotonic() - begun)
    return min(seconds)


async def measure(megabytes: int, files: int, rounds: int, here: Path) -> None:
    with (here / "big").open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(MB))
    for number in range(files):
        (here / "tree" / str(number % FOLDERS)).mkdir(parents=True, exist_ok=True)
        (here / "tree" / str(number % FOLDERS) / str(number)).write_bytes(os.urandom(2000))
    print(f"{'':27}{'SDK':>8}{'REST':>8}{'ratio':>8}{'command':>9}{'ratio':>8}")
    async with Daemon() as daemon, daemon.client() as unix, daemon.client("https") as https:  # noqa: SIM117
        async with unix.instances.temporary("busybox") as box:
            for kind, client in (("unix", unix), ("https", https)):
                there = client.instances[box.name]
                ways: dict[str, Way] = {"SDK": by_sdk(there), "REST": by_rest(there)}
                if kind == "unix" and shutil.which("incus"):
                    ways["command"] = by_command(there, daemon, str(here))
                for name, what in (("big", f"1 x {megabytes} MB"), ("tree", f"{files} x 2 kB")):
                    for verb in ("push", "pull"):
                        results: dict[str, Any] = {}
                        for way, move in ways.items():
                            # The name stays: the command gives a tree its own.
                            local = here / name if verb == "push" else here / "back" / name
                            local.parent.mkdir(exist_ok=True)
                            results[way] = await least(rounds, move, verb, f"/{name}", local)
                        ours = results.pop("SDK")
                        others = "".join(f"{theirs:8.2f}{theirs / ours:7.1f}x" for theirs in results.values())
                        print(f"{kind:6}{verb:5}{what:16}{ours:8.2f}{others}", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="incus-sdk-") as directory:
        await measure(options.megabytes, options.files, options.rounds, Path(directory))


if __name__ == "__main__":
    asyncio.run(main())
