"""Where the jobs are done: a private daemon with an instance, files, images, and what `replay` repeats."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.jobs import Job
from benchmarks.workers.harness import MB, Task
from incus_sdk import Client, Instance
from incus_sdk.events import LifecycleEvent, OperationEvent
from incus_sdk.testing import Daemon

FOLDERS = 20
FILE = 2000  # bytes of each file in the tree
EVENTS = 20_000
NAME = "bench"
REMOTE = "/bench"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # no disk is measured, neither here nor in the instance


@dataclass(frozen=True)
class Scale:
    """How large everything is; the numbers of a whole run are those in the titles of the jobs."""

    megabytes: int = 100
    files: int = 2000
    image_megabytes: int = 50
    instances: int = 200
    replayed: tuple[int, ...] = (200, 1000)


QUICK = Scale(megabytes=10, files=0, image_megabytes=0, instances=1, replayed=(200,))


class Stage:
    """What a worker's task needs to know."""

    def __init__(self, daemon: Daemon, box: Instance, local: Path, scale: Scale, fingerprint: str) -> None:
        self.daemon = daemon
        self._box = box
        self._local = local
        self._scale = scale
        self._fingerprint = fingerprint

    def task(self, job: Job, competitor: str) -> Task:
        replayed = f"{self._local}/replay/{job.replayed}"
        options: dict[str, Any] = dict(job.options)
        return Task(
            competitor=competitor,
            job=job.work,
            count=job.count,
            https=job.https,
            socket=replayed if job.replayed else str(self.daemon.socket),
            url=self.daemon.url,
            certificate=str(self.daemon.client_cert[0]),
            key=str(self.daemon.client_cert[1]),
            server_certificate=str(self.daemon.certificate),
            incus_dir=str(self.daemon.directory),
            instance=NAME,
            fingerprint=self._fingerprint,
            remote=REMOTE,
            local=str(self._local),
            megabytes=self._scale.megabytes,
            events=EVENTS,
            replayed=bool(job.replayed),
            **options,
        )

    async def check(self, job: Job) -> str:
        """What is wrong with the files that a worker pushed or pulled; empty if nothing is."""
        files, size = {
            "push": (1, self._scale.megabytes * MB),
            "pull": (1, self._scale.megabytes * MB),
            "push_tree": (self._scale.files, self._scale.files * FILE),
            "pull_tree": (self._scale.files, self._scale.files * FILE),
        }.get(job.work, (0, 0))
        if not files:
            return ""
        times = job.count + self.task(job, "").warm
        count = "find new -type f | wc -l; find new -type f -exec cat {} + | wc -c"
        if job.work.startswith("push"):
            result = await self._box.run(["sh", "-c", count], cwd=REMOTE, check=True)
            counted = result.stdout
        else:
            counted = await asyncio.to_thread(subprocess.check_output, ["sh", "-c", count], cwd=self._local)
        found = tuple(int(word) // times for word in counted.split())
        return "" if found == (files, size) else f"{found[0]} files of {files} came, {found[1]} bytes of {size}"

    async def clean(self) -> None:
        """Remove what a worker has pushed and pulled."""
        new = self._local / "new"
        if any(new.iterdir()):
            await asyncio.to_thread(shutil.rmtree, new)
            new.mkdir()
        await self._box.run(["sh", "-c", f"rm -rf {REMOTE}/new/*"], check=True)


@contextlib.asynccontextmanager
async def open_stage(scale: Scale) -> AsyncIterator[Stage]:
    """Make it, and remove it."""
    async with contextlib.AsyncExitStack() as stack:
        local = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="incus-sdk-bench-", dir=MEMORY)))
        daemon = await stack.enter_async_context(Daemon())
        client = await stack.enter_async_context(daemon.client())
        await asyncio.to_thread(_make_files, local, scale)
        answers, events = await _make_instances(client, scale)
        box = client.instances[NAME]
        mounted = f"mkdir {REMOTE} && mount -t tmpfs -o size=1g tmpfs {REMOTE} && mkdir {REMOTE}/new"
        await box.run(["sh", "-c", mounted], check=True)
        await box.path(f"{REMOTE}/big").push(local / "big")
        await box.path(f"{REMOTE}/tree").push(local / "tree")
        fingerprint = ""
        if scale.image_megabytes:
            image = await client.images.create(_image(b"exported", scale.image_megabytes), wait=True)
            fingerprint = image.fingerprint
        await asyncio.to_thread(_write_replay, local / "replay", answers, events)
        await stack.enter_async_context(_replaying(local / "replay"))
        yield Stage(daemon, box, local, scale, fingerprint)


def _make_files(local: Path, scale: Scale) -> None:
    (local / "new").mkdir()
    with (local / "big").open("wb") as file:
        for _ in range(scale.megabytes):
            file.write(os.urandom(MB))
    (local / "tree").mkdir()
    for number in range(scale.files):
        folder = local / "tree" / str(number % FOLDERS)
        folder.mkdir(exist_ok=True)
        (folder / str(number)).write_bytes(os.urandom(FILE))
    (local / "image.tar").write_bytes(_image(b"uploaded", scale.image_megabytes))


def _image(mark: bytes, megabytes: int) -> bytes:
    """An image that can be stored, but not started."""
    buffer = io.BytesIO()
    metadata = b"architecture: x86_64\ncreation_date: 1\nproperties: {os: %s}\n" % mark
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in {"metadata.yaml": metadata, "rootfs/file": bytes(megabytes * MB)}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


async def _make_instances(client: Client, scale: Scale) -> tuple[dict[str, Any], list[Any]]:
    """Make the instances; return what `replay` is to answer for each of its sockets, and the events that came."""
    events: list[Any] = []
    source = {"type": "image", "alias": "busybox"}
    async with client.events.listen(["lifecycle", "operation"]) as stream:
        await client.instances.create(NAME, source, start=True, wait=True)
        for number in range(scale.instances - 1):
            await client.instances.create(f"box-{number}", source, wait=True)
        async for event in stream:
            assert isinstance(event, LifecycleEvent | OperationEvent)
            events.append(event.raw)
            if len(events) == 5 * scale.instances:
                break
    server = await client.query("GET", "/1.0")
    lists = {
        f"/1.0/instances?recursion={recursion}": await client.query(
            "GET", "/1.0/instances", query={"recursion": recursion}
        )
        for recursion in (1, 2)
    }
    answers = {
        str(size): {"/1.0": server, **{target: _repeated(made, size) for target, made in lists.items()}}
        for size in scale.replayed
    }
    return answers, events


def _repeated(instances: list[Any], size: int) -> list[Any]:
    """That many instances, with names of their own."""
    return [{**instances[number % len(instances)], "name": f"box-{number}"} for number in range(size)]


def _write_replay(directory: Path, answers: dict[str, Any], events: list[Any]) -> None:
    directory.mkdir()
    (directory / "answers.json").write_text(json.dumps(answers))
    (directory / "events.json").write_text(json.dumps(events))


@contextlib.asynccontextmanager
async def _replaying(directory: Path) -> AsyncIterator[None]:
    program = str(Path(__file__).parent / "replay.py")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, program, str(directory), stdout=pipe)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline(), "the replay did not start"
        yield
    finally:
        process.kill()
        await process.wait()
