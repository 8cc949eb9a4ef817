"""Every verb that moves data, over a link that fails once, at a byte that the seed chooses.

First the verb runs undisturbed, and what it says and hears is recorded; then again, with one fault each time. It must
come to the same result, or raise an `IncusError` in time, and then nothing may be left of it: see `Attempt`.

``$INCUS_SDK_FAULTS``: how many faults each verb gets on each transport; 1 without it.
``$INCUS_SDK_FAULTS_SEED``: any text. ``$INCUS_SDK_FAULTS_ROOT``: the version of Incus, see `tests.live.roots`.
``$INCUS_SDK_FAULTS_LOG``: a file that gets a line of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple, get_args

import pytest

from incus_sdk import Client, Gap, IncusError, Instance
from incus_sdk.testing import Daemon
from tests.live.faults import KINDS, Exchange, FaultKind, choose, faulty
from tests.live.made_images import unified
from tests.live.roots import ROOTS

pytestmark = pytest.mark.timeout(900)

Kind = Literal["unix", "https"]

SEED = os.environ.get("INCUS_SDK_FAULTS_SEED", "1")
TIMES = int(os.environ.get("INCUS_SDK_FAULTS", "1"))
TIMEOUT = 3.0
"""The client's."""
DEADLINE = 10.0
"""The caller's, where the link can fall silent."""
PATIENCE = 60.0
"""For everything else, which a busy machine only makes slower."""
GRACE = 5.0
"""For a clean-up on a link that is silent."""
MIGRATION_GRACE = 35.0
"""The same of a copy between servers, of which the receiving one gives up after half a minute."""
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3, 6, 12, 12)
"""Seconds between looks at what is left: a server gives up a command that nobody attaches to after five seconds,
a migration after thirty."""
BIG = Random(0).randbytes(300_000)
TEXT = BIG.hex().encode()[:100_000]


class Bench:
    """A daemon, and what the verbs work on."""

    def __init__(self, daemon: Daemon, other: Client, own: Client, box: Instance, directory: Path) -> None:
        self.daemon = daemon
        self.other = other
        """A client of another daemon."""
        self.own = own
        """A client without faults."""
        self.box = box
        self.sources = directory / "sources"
        """Local files to send."""
        self.local = directory / "local"
        """Where verbs write."""
        self.base: set[str] = set()
        """What there is before the first verb."""

    async def prepare(self) -> None:
        """Make what the verbs work on."""
        self.sources.mkdir()
        (self.sources / "file").write_bytes(BIG)
        (self.sources / "image").write_bytes(unified("x") + BIG)
        for tree, count, size in (("many", 60, 2_000), ("few", 5, 60_000)):
            (self.sources / tree / "sub").mkdir(parents=True)
            for number in range(count):
                Path(self.sources, tree, "sub" if number % 2 else "", f"f{number}").write_bytes(BIG[number:size])
            await self.box.path(f"/root/{tree}").push(self.sources / tree)
        await self.box.path("/root/big").write_bytes(BIG)
        still = await self.own.instances.create("still", {"type": "image", "alias": "busybox"}, wait=True)
        await (await still.backups.create("kept")).export(self.sources / "backup")
        volume = await self.own.storage_pools["default"].volumes.create("custom/data")
        await (await volume.backups.create("kept")).export(self.sources / "volume-backup")
        await self.own.images.create(self.sources / "image", wait=True, aliases=["x"])
        for number in range(60):
            await self.own.profiles.create(f"p{number}", description="x" * 1000)
        await self.own.projects.create("other", config={"features.images": "false", "features.profiles": "false"})

    async def clear(self) -> None:
        """Remove what verbs wrote into files."""
        for path in (*self.local.rglob("*"), self.local):
            if path.is_file():
                path.unlink()
        for path in sorted(self.local.rglob("*"), reverse=True):
            path.rmdir()
        self.local.mkdir(exist_ok=True)
        work = self.box.path("/root/work")
        await work.rmtree(missing_ok=True)
        await work.mkdir()
        await (work / "old").write_bytes(b"old")

    async def objects(self) -> set[str]:
        """Everything in both daemons that a verb could leave."""
        found: set[str] = set()
        for client in (self.own, self.other):
            host = str(client is self.own)
            for instance in await client.instances.list(all_projects=True):
                found.add(f"{host} instance {instance.project} {instance.name} {instance.status}")
            for image in await client.images.list():
                found.add(f"{host} image {image.fingerprint} {[alias.name for alias in image.aliases]}")
            for volume in await client.storage_pools["default"].volumes.list(type="custom"):
                found.add(f"{host} volume {volume.name}")
            for operation in await client.operations.list():
                if operation.status_code < 200:
                    found.add(f"{host} operation {operation.description} {operation.resources}")
        found |= {f"backup {backup.name}" for backup in await self.own.instances["still"].backups.list()}
        for folder in ("images", "backups"):
            found |= {f"file {path}" for path in (self.daemon.directory / folder).rglob("*")}
        return found

    async def remove(self, objects: set[str]) -> None:
        """Remove what a verb made."""
        for entry in objects:
            host, kind, *names = entry.split()
            client = self.own if host == "True" else self.other
            with contextlib.suppress(IncusError):
                match kind:
                    case "instance":
                        await client.use_project(names[0]).instances.delete(names[1], wait=True, force=True)
                    case "image":
                        await client.images.delete(names[0], wait=True)
                    case "volume":
                        await client.storage_pools["default"].volumes.delete(f"custom/{names[0]}")
                    case _:
                        pass
            if entry.startswith("backup"):
                await self.own.instances["still"].backups.delete(kind)


Do = Callable[[Client, Bench], Awaitable[Any]]


class Verb(NamedTuple):
    """What is done over the faulty link, and what shows without it that it was done; both are compared."""

    do: Do
    seen: Callable[[Bench], Awaitable[Any]] | None = None
    output: bytes | None = None
    """Of which an error holds the beginning."""
    input: bool = False
    """Whether it sends stdin. A reset of that, and over a unix socket a cut, can look like a command that reads no
    further.
    """
    grace: float = GRACE
    """Seconds more that a clean-up may take on a link that is silent."""
    leaves: str = ""
    """What can remain if the server's answer was lost: part of its text in `Bench.objects`."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def local_tree(bench: Bench) -> Any:
    paths = sorted(bench.local.rglob("*"))
    return [(str(path.relative_to(bench.local)), digest(path.read_bytes()) if path.is_file() else "") for path in paths]


async def seen_locally(bench: Bench) -> Any:
    return local_tree(bench)


async def seen_in_box(bench: Bench) -> Any:
    found: dict[str, str] = {}
    async with bench.box.path("/root/work").connected() as work:
        async for path, _, names in work.walk():
            for name in names:
                found[str(path / name)] = digest(await (path / name).read_bytes())
    return found


def run(command: list[str], input: bytes | None = None) -> Do:
    async def do(client: Client, bench: Bench) -> Any:
        result = await client.instances[bench.box.name].run(command, input=input, timeout=DEADLINE - 1)
        return result.returncode, digest(result.stdout), digest(result.stderr)

    return do


async def process(client: Client, bench: Bench) -> Any:
    async with client.instances[bench.box.name].open_process(["cat"]) as process:

        async def write() -> None:
            for start in range(0, len(BIG), 10_000):
                process.stdin.write(BIG[start : start + 10_000])
                await process.stdin.drain()
            process.stdin.write_eof()

        writing = asyncio.ensure_future(write())
        try:
            return digest(await process.stdout.read()), await process.wait()
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


async def terminal(client: Client, bench: Bench) -> Any:
    async with client.instances[bench.box.name].open_process(["cat", "/root/many/f0"], pty=True) as process:
        return digest(await process.stdout.read()), await process.wait()


async def console(client: Client, bench: Bench) -> Any:
    talk = 'exec </dev/console >/dev/console; stty -echo; echo ready >&2; while read line; do echo "[$line]"; done'
    async with bench.box.open_process(["sh", "-c", talk]) as talker:
        assert talker.stderr is not None
        await talker.stderr.readline()
        async with client.instances[bench.box.name].console(force=True) as console:
            seen = asyncio.ensure_future(console.stdout.readuntil(b"[word]"))
            try:
                while not seen.done():
                    console.stdin.write(b"word\n")
                    await asyncio.wait([seen], timeout=0.3)
                return (await seen).endswith(b"[word]")
            finally:
                seen.cancel()
                await asyncio.gather(seen, return_exceptions=True)


def path(name: str, do: Callable[[Any, Bench], Awaitable[Any]]) -> Do:
    async def with_path(client: Client, bench: Bench) -> Any:
        result = await do(client.instances[bench.box.name].path(name), bench)
        return digest(result) if isinstance(result, bytes) else result

    return with_path


async def events(client: Client, bench: Bench) -> Any:
    """Ten events, of which only those before a gap can be missing."""
    seen = 0
    async with client.events.listen(types=["lifecycle"]) as events:
        for number in range(10):
            await bench.own.profiles.patch("p0", {"description": f"{number}" * 100})
        async for event in events:
            seen = 10 if isinstance(event, Gap) else seen + 1
            if seen == 10:
                return True
    return False


async def operation(client: Client, bench: Bench) -> Any:
    begun = await bench.box.execute(["sleep", "0.5"])
    return (await (await client.operations.get(begun.id)).wait()).status


async def launch(client: Client, bench: Bench) -> Any:
    return (await client.instances.launch("busybox", "made")).status


async def temporary(client: Client, bench: Bench) -> Any:
    async with client.instances.temporary("busybox") as box:
        return (await box.run(["echo", "hello"])).stdout


async def create(client: Client, bench: Bench) -> Any:
    made = await client.instances.create("made", {"type": "image", "alias": "busybox"}, wait=True)
    return made.name, made.status


async def copy(client: Client, bench: Bench) -> Any:
    copy = await client.instances["still"].copy("made", config={"user.x": "1"})
    return copy.name, copy.config["user.x"]


async def copy_to_project(client: Client, bench: Bench) -> Any:
    return (await client.instances["still"].copy("made", to=client.use_project("other"))).name


async def copy_from_here(client: Client, bench: Bench) -> Any:
    return (await client.instances["still"].copy("made", to=bench.other, mode="relay")).name


async def copy_to_here(client: Client, bench: Bench) -> Any:
    return (await bench.other.instances["still"].copy("made", to=client, mode="relay")).name


async def copy_volume(client: Client, bench: Bench) -> Any:
    pool = client.storage_pools["default"]
    return (await pool.volumes["custom/data"].copy("made")).name


async def upload(client: Client, bench: Bench) -> Any:
    return (await client.images.create(unified("y") + BIG, wait=True)).fingerprint


async def upload_file(client: Client, bench: Bench) -> Any:
    target = bench.sources / "image2"
    target.write_bytes(unified("z") + BIG)
    return (await client.images.create(target, wait=True, properties={"a": "b"})).properties["a"]


async def image_export(client: Client, bench: Bench) -> Any:
    await client.images[digest(unified("x") + BIG)].export(bench.local / "image")


async def backup_create(client: Client, bench: Bench) -> Any:
    return (await client.instances["still"].backups.create("made")).name


async def backup_export(client: Client, bench: Bench) -> Any:
    await client.instances["still"].backups["kept"].export(bench.local / "backup")


async def volume_backup_export(client: Client, bench: Bench) -> Any:
    await client.storage_pools["default"].volumes["custom/data"].backups["kept"].export(bench.local / "backup")


async def backup_import(client: Client, bench: Bench) -> Any:
    return (await client.instances.create_from_backup(bench.sources / "backup", "made")).name


async def volume_import(client: Client, bench: Bench) -> Any:
    volumes = client.storage_pools["default"].volumes
    return (await volumes.create_from_backup(bench.sources / "volume-backup", "custom/made")).name


async def logs(client: Client, bench: Bench) -> Any:
    return sorted(await client.instances[bench.box.name].get_logs())


async def console_log(client: Client, bench: Bench) -> Any:
    await bench.box.run(["sh", "-c", "echo word > /dev/console"], check=True)  # older servers clear what was read
    return b"word" in await client.instances[bench.box.name].get_console_log()


async def list_many(client: Client, bench: Bench) -> Any:
    return [profile.name for profile in await client.profiles.list()]


async def get_file(client: Client, bench: Bench) -> Any:
    return digest(await client.instances.get_files(bench.box.name, "/root/big"))


async def get_directory(client: Client, bench: Bench) -> Any:
    return len(await client.instances.get_files(bench.box.name, "/root/few"))


async def put_file(client: Client, bench: Bench) -> Any:
    return (await client.instances.put_files(bench.box.name, "/root/work/new", BIG)).status


VERBS: dict[str, Verb] = {
    "run, output": Verb(run(["cat", "/root/big"]), output=BIG),
    "run, input": Verb(run(["sh", "-c", "cat > /root/work/in"], BIG), seen_in_box, input=True),
    "run, both": Verb(run(["cat"], BIG), output=BIG, input=True),
    "open_process": Verb(process, input=True),
    "open_process, pty": Verb(terminal),
    "console": Verb(console, leaves="Showing console"),
    "path.read_bytes": Verb(path("/root/big", lambda path, _: path.read_bytes())),
    "path.write_bytes": Verb(path("/root/work/new", lambda path, _: path.write_bytes(BIG)), seen_in_box),
    "path.append": Verb(path("/root/work/old", lambda path, _: path.append(BIG)), seen_in_box),
    "push, file": Verb(path("/root/work/f", lambda path, bench: path.push(bench.sources / "file")), seen_in_box),
    "push, tar": Verb(path("/root/work/t", lambda path, bench: path.push(bench.sources / "many")), seen_in_box),
    "push, SFTP": Verb(path("/root/work/t", lambda path, bench: path.push(bench.sources / "few")), seen_in_box),
    "pull, file": Verb(path("/root/big", lambda path, bench: path.pull(bench.local / "file")), seen_locally),
    "pull, tar": Verb(path("/root/many", lambda path, bench: path.pull(bench.local / "t")), seen_locally),
    "pull, SFTP": Verb(path("/root/few", lambda path, bench: path.pull(bench.local / "t")), seen_locally),
    "get_files": Verb(get_file),
    "get_files, directory": Verb(get_directory),
    "put_files": Verb(put_file, seen_in_box),
    "images.create": Verb(upload, leaves="images?"),
    "images.create, file": Verb(upload_file, leaves="images?"),
    "image.export": Verb(image_export, seen_locally),
    "backups.create": Verb(backup_create, leaves="backup"),
    "backup.export": Verb(backup_export, seen_locally),
    "backup.export, volume": Verb(volume_backup_export, seen_locally),
    "create_from_backup": Verb(backup_import, leaves="made"),
    "create_from_backup, volume": Verb(volume_import, leaves="made"),
    "copy": Verb(copy),
    "copy, project": Verb(copy_to_project),
    "copy, volume": Verb(copy_volume, leaves="made"),
    "copy, sent": Verb(copy_from_here, grace=MIGRATION_GRACE),
    "copy, received": Verb(copy_to_here, grace=MIGRATION_GRACE),
    "create": Verb(create, leaves="made"),
    "launch": Verb(launch),
    "temporary": Verb(temporary),
    "events.listen": Verb(events),
    "operation.wait": Verb(operation),
    "get_logs": Verb(logs),
    "get_console_log": Verb(console_log),
    "profiles.list": Verb(list_many),
}


# One transport for each verb, or both if more is wanted.
CASES = [
    (kind, name)
    for place, kind in enumerate(get_args(Kind))
    for number, name in enumerate(VERBS)
    if TIMES > 1 or (place + number) % 2
]
RESULT, UNNOTICED, DEADLINE_PASSED = "the result", "damage that nothing shows", "the caller's deadline"


class Attempt:
    """A verb with one fault, and what is wrong afterwards."""

    def __init__(self, bench: Bench, verb: Verb, fault: FaultKind, kind: Kind) -> None:
        self.bench = bench
        self.verb = verb
        self.fault: FaultKind = fault
        self.kind = kind
        self.problems: list[str] = []
        self.outcome = ""

    @property
    def checksummed(self) -> bool:
        """Whether damage is noticed. What comes damaged over a unix socket is, to the client, what was sent."""
        return self.kind == "https" or self.fault not in ("corrupt", "duplicate")

    @property
    def deadline(self) -> float:
        return DEADLINE if self.fault == "stall" or not self.checksummed else PATIENCE

    @property
    def succeeded(self) -> bool:
        return self.outcome in (RESULT, UNNOTICED)

    @property
    def unanswered(self) -> bool:
        """Whether it may not know what it began, or how that ended, or could not read what it made."""
        return any(
            words in self.outcome
            for words in ("POST ", "GET /1.0/", "may still carry it out", "its outcome is unknown", DEADLINE_PASSED)
        )

    def may_leave(self, entry: str) -> bool:
        """Whether something of `Bench.objects` can remain."""
        if self.succeeded:
            return " operation " not in entry
        return self.unanswered and bool(self.verb.leaves and re.search(self.verb.leaves, entry))

    async def run(self, client: Client, exchange: Exchange, at: int, expected: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        loop, cancelling = asyncio.get_running_loop(), task.cancelling()
        begun = loop.time()
        exchange.begin(self.fault, at, downward=not self.checksummed)
        result: Any = None
        try:
            async with asyncio.timeout(self.deadline):
                result = await self.verb.do(client, self.bench)
        except IncusError as error:
            self.outcome = f"{type(error).__name__}: {error}"
            if self.checksummed and self.verb.output and not self.verb.output.startswith(error.stdout or b""):
                self.problems.append("what the error holds is not the beginning of the output")
        except TimeoutError:
            self.outcome = DEADLINE_PASSED
            if self.deadline == PATIENCE:
                self.problems.append("still waiting at the deadline")
        except BaseException as error:
            self.outcome = repr(error)
            self.problems.append(f"it raised {error!r}")
        took = loop.time() - begun
        exchange.end()
        if took > self.deadline + self.verb.grace + 1:
            self.problems.append(f"it took {took:.1f} s")
        if task.cancelling() != cancelling:
            self.problems.append("the task counts as cancelled")
        if not self.outcome:
            if self.verb.seen is not None:
                result = result, await self.verb.seen(self.bench)
            if result == expected:
                self.outcome = RESULT
            elif self.checksummed and not (
                self.verb.input and (self.fault == "reset" or (self.kind == "unix" and self.fault == "cut"))
            ):
                self.problems.append(f"a wrong result: {str(result)[:500]}")
            else:
                self.outcome = UNNOTICED


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    root = ROOTS[os.environ.get("INCUS_SDK_FAULTS_ROOT", "6.0.4")]
    async with (
        Daemon(root=root) as daemon,
        Daemon(root=root) as second,
        daemon.client() as own,
        second.client() as other,
        own.instances.temporary("busybox") as box,
    ):
        bench = Bench(daemon, other, own, box, tmp_path_factory.mktemp("faults"))
        await bench.prepare()
        await other.instances.create("still", {"type": "image", "alias": "busybox"}, wait=True)
        bench.base = await bench.objects()
        yield bench


TRIED: Counter[tuple[str, FaultKind]] = Counter()
SURVIVED: Counter[tuple[str, FaultKind]] = Counter()


@pytest.fixture(scope="module", autouse=True)
def counts(request: pytest.FixtureRequest) -> Iterator[None]:
    """Prints what was survived of what was tried, as a table for the docs."""
    yield
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n\n|", *KINDS, sep=" | ", end=" |\n")
        print("|---" + "|---:" * len(KINDS) + "|")
        for name in VERBS:
            cells = [f"{SURVIVED[name, kind]} of {TRIED[name, kind]}" for kind in KINDS]
            print("", name, *cells, sep=" | ", end=" |\n")
        print(f"{SURVIVED.total()} of {TRIED.total()} survived")


@contextlib.asynccontextmanager
async def nothing_left(bench: Bench, attempt: Attempt) -> AsyncGenerator[None]:
    """Finds in the block's wake what it left: in the daemons, in the instance, in this process."""
    before, tasks, files = await bench.objects(), asyncio.all_tasks(), len(os.listdir("/proc/self/fd"))
    unheard: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unheard.append(str(context)))
    yield
    await asyncio.sleep(0.01)
    loop.set_exception_handler(None)
    made: set[str] = set()
    for pause in PAUSES:
        if not (made := {entry for entry in await bench.objects() - before if not attempt.may_leave(entry)}):
            break
        await asyncio.sleep(pause)
    left = [
        *made,
        *(asyncio.all_tasks() - tasks),
        *[name for name in await seen_in_box(bench) if "/.incus" in name],
        *[str(path) for path in bench.local.rglob(".*")],
        *unheard,
    ]
    if left:
        attempt.problems.append(f"left: {left}")
    if (more := len(os.listdir("/proc/self/fd")) - files) > 0:
        attempt.problems.append(f"{more} files are open")
    await bench.remove(await bench.objects() - before)
    await bench.clear()


@pytest.mark.parametrize(("kind", "name"), CASES)
async def test_a_fault_at_any_byte_is_survived(bench: Bench, kind: Kind, name: str) -> None:
    verb = VERBS[name]
    await bench.clear()
    await bench.remove(await bench.objects() - bench.base)  # of a test that was interrupted
    before = await bench.objects()
    async with faulty(bench.daemon, kind, TIMEOUT) as (client, exchange):
        exchange.begin()
        async with asyncio.timeout(60):
            expected = await verb.do(client, bench)
    if verb.seen is not None:
        expected = expected, await verb.seen(bench)
    await bench.remove(await bench.objects() - before)
    await bench.clear()
    recorded, random, problems = exchange.pieces, Random(f"{SEED} {name} {kind}"), list[str]()
    for fault in random.sample(KINDS * (1 + TIMES // len(KINDS)), TIMES):
        attempt = Attempt(bench, verb, fault, kind)
        at = choose(recorded, random, downward=not attempt.checksummed)
        async with nothing_left(bench, attempt), faulty(bench.daemon, kind, TIMEOUT) as (client, exchange):
            await attempt.run(client, exchange, at, expected)
        TRIED[name, fault] += exchange.struck
        SURVIVED[name, fault] += exchange.struck and not attempt.problems
        note(f"{name} | {kind} | {fault} | {at} | {exchange.struck} | {attempt.outcome} | {attempt.problems}")
        problems += [f"{fault} at byte {at}: {problem} ({attempt.outcome})" for problem in attempt.problems]
    gc.collect()
    assert not problems, "\n".join(problems)


def note(line: str) -> None:
    if file := os.environ.get("INCUS_SDK_FAULTS_LOG"):
        with open(file, "a") as log:
            print(line, file=log)
