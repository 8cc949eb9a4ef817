"""Every verb that takes long is cancelled at each point where it suspends; after that, nothing of it is left anywhere.

A run tries some of the points, chosen by a seed. With ``$INCUS_SDK_CANCELLATIONS``, another seed or ``all``, it goes
over both transports, on both versions of Incus. The counts are shown at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from incus_sdk import Client, Instance, RemotePath
from incus_sdk.testing import Daemon
from tests.live import made_images
from tests.live.cancelling import HOWS, Outcome, Point, attempt
from tests.live.roots import ROOTS

CHOICE = os.environ.get("INCUS_SDK_CANCELLATIONS", "")
ALL = CHOICE == "all"
LIMIT = 90.0  # seconds for a verb to end, and for a server to be done with it; migrations wait for 30
SIZE = 300_000  # bytes of a file
SMALL = 24  # files that go in a batch

Kind = Literal["unix", "https"]


class Place:
    """What the verbs work with: a client, a running and a stopped instance, and a directory."""

    def __init__(self, client: Client, watch: Client, other: Client | None, directory: Path) -> None:
        self.client = client
        self.watch = watch
        self.other = other
        self.source, self.local = directory / "source", directory / "local"
        self.expected: set[str] = set()
        self.objects: list[str] = []

    @property
    def box(self) -> Instance:
        return self.client.instances["box"]

    @property
    def still(self) -> Instance:
        return self.client.instances["still"]

    @property
    def mover(self) -> Instance:
        return self.client.instances["mover"]

    @property
    def there(self) -> RemotePath:
        """A directory in the running instance."""
        return self.box.path("/srv")

    async def set_up(self) -> None:
        self.local.mkdir(parents=True)
        for folder, count, size in (("few", 3, SIZE), ("many", SMALL, 100)):
            (self.source / folder / "below").mkdir(parents=True)
            for number in range(count):
                (self.source / folder / "below" / str(number)).write_bytes(bytes([number]) * size)
        (self.source / "image").write_bytes(made_images.unified("cancelled") + bytes(SIZE))
        client = self.watch
        await client.storage_pools.create("second", driver="dir")
        await client.projects.create("other", config={"features.images": True, "features.profiles": False})
        await client.instances.launch("busybox", "box")
        box = client.instances["box"]
        await box.path("/root/files").push(self.source)
        await client.instances.create("still", "busybox", wait=True)
        still = client.instances["still"]
        await still.path("/root/files").push(self.source)
        await still.backups.create("first", compression_algorithm="none")
        await still.backups["first"].export(self.source / "backup")
        mover = await client.instances.create("mover", "busybox", wait=True)
        await mover.snapshots.create("first")
        volumes = client.storage_pools["default"].volumes
        volume = await volumes.create("custom/data")
        await volume.backups.create("first", compression_algorithm="none")
        await volume.backups["first"].export(self.source / "volume-backup")
        await client.images.create((self.source / "image").read_bytes()[:-100], wait=True)
        await self.client.server.get()
        self.objects = await self.list_objects()

    async def list_objects(self) -> list[str]:
        """All that is on the server."""
        query = self.watch.query
        found: list[str] = []
        for instance in await query("GET", "/1.0/instances", query={"recursion": 2, "all-projects": True}):
            name = instance["name"]
            found += [f"instance {name}"]
            found += [f"snapshot {name}/{each['name']}" for each in instance["snapshots"] or ()]
            found += [f"backup {name}/{each['name']}" for each in instance["backups"] or ()]
        if self.other is not None:
            found += [f"other {url}" for url in await self.other.query("GET", "/1.0/instances")]
        for project in ("default", "other"):
            found += await query("GET", "/1.0/images", query={"project": project})
            found += await query("GET", "/1.0/images/aliases", query={"project": project})
        for pool in ("default", "second"):
            urls = await query("GET", f"/1.0/storage-pools/{pool}/volumes")
            found += [url.replace("pools/second/volumes/container", "pools/default/volumes/container") for url in urls]
        found += await query("GET", "/1.0/storage-pools/default/volumes/custom/data/backups")
        found += await query("GET", "/1.0/storage-pools/default/volumes/custom/data/snapshots")
        return sorted(found)

    async def running_operations(self, commands: bool) -> list[str]:
        """Those that run, with or without commands: one that nobody attached to is given up after 5 or 10 seconds."""
        query = {"recursion": 1, "all-projects": True}
        clients = filter(None, (self.watch, self.other))
        listed = [await client.query("GET", "/1.0/operations", query=query) for client in clients]
        return [
            f"{each['class']} {each['description']} {each['status']}"
            for operations in (operations for each in listed for operations in each.values())
            for each in operations
            if each["status_code"] < 200 and (commands or each["description"] != "Executing command")
        ]

    async def look_inside(self) -> tuple[set[str], list[str]]:
        """The files below /srv in the running instance, with their hashes, and what runs in it; /srv is emptied."""
        script = "cd /srv && find . -type f -exec md5sum {} +; find . -name '.incus-*'; echo; ps -o args"
        printed = (await self.watch.instances["box"].run(["sh", "-c", script], text=True, check=True)).stdout
        files, _, processes = printed.partition("\n\n") if "\n\n" in printed else ("", "", printed.lstrip("\n"))
        lines = processes.splitlines()[1:]
        own = ("{init}", "sleep 86400", "ps -o")
        others = [line for line in lines if not line.startswith(own) and "cd /srv" not in line]
        return set(files.splitlines()), others

    def look_here(self) -> set[str]:
        """The files in the local directory, with their hashes."""
        return {
            f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(self.local)}"
            for path in self.local.rglob("*")
            if path.is_file()
        }

    async def problems_with_operations(self, commands: bool) -> list[str]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while running := await self.running_operations(commands):
            if loop.time() - begun > LIMIT:
                return [f"left running on the server: {running}"]
            await asyncio.sleep(0.05)
        return []

    async def problems(self, inside: bool, whole: bool) -> list[str]:
        """What is left of a verb, after the time that a server may take; it is removed."""
        problems = await self.problems_with_operations(commands=False)
        loop, here = asyncio.get_running_loop(), self.look_here()
        if inside:
            begun, (there, processes) = loop.time(), await self.look_inside()
            while processes and loop.time() - begun < 5:
                await asyncio.sleep(0.1)
                _, processes = await self.look_inside()
            if processes:
                problems.append(f"left running in the instance: {processes}")
                names = {line.split()[0] for line in processes}
                await self.watch.instances["box"].run(["killall", "-9", *names])
            await self.watch.instances["box"].run(["sh", "-c", "rm -rf /srv; mkdir /srv"], check=True)
        else:
            there = set[str]()
        if whole and not self.expected:
            self.expected = here | there
        if odd := here - self.expected:
            problems.append(f"left half written here: {odd}")
        if odd := there - self.expected:
            problems.append(f"left half written in the instance: {odd}")
        for path in self.local.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        objects = await self.list_objects()
        if not whole and objects != self.objects:
            left = [each for each in objects if each not in self.objects]
            missing = [each for each in self.objects if each not in objects]
            problems.append(f"left on the server: {left}" + (f", missing: {missing}" if missing else ""))
        if objects != self.objects:
            await self.restore()
        return problems

    async def restore(self) -> None:
        """Remove what the verbs made, and nothing else."""
        client, pool = self.watch, self.watch.storage_pools["default"]
        for instance in await client.instances.list(all_projects=True):
            if instance.name not in ("box", "still", "mover"):
                await instance.delete(force=True, wait=True)
        if self.other is not None:
            for instance in await self.other.instances.list():
                await instance.delete(force=True, wait=True)
        for view in (client, client.use_project("other")):
            for image in await view.images.list():
                if f"/1.0/images/{image.fingerprint}" not in self.objects or view is not client:
                    await image.delete(wait=True)
        for volume in await pool.volumes.list(type="custom"):
            if volume.name != "data":
                await volume.delete()
        for name, kind in (("mover", "snapshots"), ("still", "backups")):
            collection = getattr(client.instances[name], kind)
            for each in await collection.list():
                if f"{kind[:-1]} {name}/{each.name}" not in self.objects:
                    await each.delete()
        for kind in ("snapshots", "backups"):
            for each in await getattr(pool.volumes["custom/data"], kind).list():
                if f"/1.0/storage-pools/default/volumes/custom/data/{kind}/{each.name}" not in self.objects:
                    await each.delete()
        assert await self.list_objects() == self.objects


# The verbs


Verb = Callable[[Place], Awaitable[Any]]
SERVER: dict[str, Verb] = {}
INSIDE: dict[str, Verb] = {}


def server(verb: Verb) -> Verb:
    """A verb that leaves nothing on the server."""
    SERVER[verb.__name__] = verb
    return verb


def inside(verb: Verb) -> Verb:
    """A verb that leaves nothing in the running instance."""
    INSIDE[verb.__name__] = verb
    return verb


@server
async def launch(place: Place) -> None:
    await place.client.instances.launch("busybox", "new")


@server
async def create(place: Place) -> None:
    await place.client.instances.create("new", "busybox", wait=True, progress=lambda _: None)


@server
async def temporary(place: Place) -> None:
    async with place.client.instances.temporary("busybox", "new"):
        await asyncio.sleep(0)


@server
async def create_from_backup(place: Place) -> None:
    await place.client.instances.create_from_backup(place.source / "backup", "new")


@server
async def copy(place: Place) -> None:
    await place.mover.copy("new")


@server
async def copy_of_a_snapshot(place: Place) -> None:
    await place.mover.snapshots["first"].copy("new")


@server
async def copy_to_another_server(place: Place) -> None:
    if place.other is not None:
        await place.mover.copy("new", to=place.other, mode="relay")


@server
async def move(place: Place) -> None:
    pool = (await place.mover.refresh()).expanded_devices["root"]["pool"]
    await place.mover.move(pool="second" if pool == "default" else "default")


@server
async def rebuild(place: Place) -> None:
    await place.still.rebuild("busybox")


@server
async def snapshot(place: Place) -> None:
    await place.mover.snapshots.create("new")


@server
async def backup(place: Place) -> None:
    await place.still.backups.create("new", compression_algorithm="none")


@server
async def export_of_a_backup(place: Place) -> None:
    await place.still.backups["first"].export(place.local / "backup")


@server
async def export_of_an_instance(place: Place) -> None:
    await place.still.export(place.local / "backup", compression_algorithm="none")
    with tarfile.open(place.local / "backup") as whole:  # each is another
        assert whole.getmembers()
    (place.local / "backup").unlink()


@server
async def upload(place: Place) -> None:
    await place.client.images.create(place.source / "image", wait=True)


@server
async def publish(place: Place) -> None:
    await place.client.images.create_from(
        source={"type": "instance", "name": "still"}, compression_algorithm="none", aliases=[{"name": "new"}]
    )


@server
async def export(place: Place) -> None:
    await place.client.images.export((await place.client.images.aliases.get("busybox")).target, place.local / "image")


@server
async def copy_of_an_image(place: Place) -> None:
    image = await place.client.images.get((await place.client.images.aliases.get("busybox")).target)
    await image.copy(place.client.use_project("other"), aliases=["new"])


@server
async def copy_of_a_volume(place: Place) -> None:
    await place.client.storage_pools["default"].volumes["custom/data"].copy("new")


@server
async def backup_of_a_volume(place: Place) -> None:
    volume = place.client.storage_pools["default"].volumes["custom/data"]
    await volume.backups.create("new", compression_algorithm="none")


@server
async def import_of_a_volume(place: Place) -> None:
    volumes = place.client.storage_pools["default"].volumes
    await volumes.create_from_backup(place.source / "volume-backup", "custom/new")


@server
async def editing(place: Place) -> None:
    async with place.still.editing() as instance:
        instance.description = os.urandom(4).hex()


@server
async def events(place: Place) -> None:
    async with place.client.events.listen(types=["operation"]) as stream:
        await place.watch.instances["still"].refresh()
        operation = await place.client.instances["box"].execute(["true"])
        async for _ in stream:
            break
        async for _ in operation.progress():
            pass
        await operation.wait()


@inside
async def run(place: Place) -> None:
    data = os.urandom(SIZE)
    assert (await place.box.run(["cat"], input=data)).stdout == data


@inside
async def run_with_a_deadline(place: Place) -> None:
    with contextlib.suppress(TimeoutError):
        await place.box.run(["sleep", "1000"], timeout=0.2)


@inside
async def open_process(place: Place) -> None:
    async with place.box.open_process(["cat"]) as process:
        process.stdin.write(b"one\n")
        assert await process.stdout.readline() == b"one\n"
        process.stdin.write(bytes(SIZE))
        process.stdin.write_eof()
        assert len(await process.stdout.read()) == SIZE
        assert await process.wait() == 0


@inside
async def open_process_on_a_terminal(place: Place) -> None:
    async with place.box.open_process(["sh"], pty=True) as process:
        process.stdin.write(b"echo a$((1+1))b\n")
        await process.stdout.readuntil(b"a2b")
        await process.resize(100, 30)


@inside
async def execute(place: Place) -> None:
    await place.box.execute(["sh", "-c", "echo out; echo err >&2"], record_output=True, wait=True)


@inside
async def console(place: Place) -> None:
    async with place.box.console() as console:
        console.stdin.write(b"\n")
        await console.stdin.drain()
        await asyncio.sleep(0)


@inside
async def wait_for(place: Place) -> None:
    with contextlib.suppress(TimeoutError):
        await place.box.wait_for("ipv4", timeout=0.2)


@inside
async def push_file(place: Place) -> None:
    await (place.there / "file").push(place.source / "few" / "below" / "1")


@inside
async def push_by_tar(place: Place) -> None:
    await (place.there / "tree").push(place.source / "many")


@inside
async def push_by_sftp(place: Place) -> None:
    await (place.there / "tree").push(place.source / "few")


@inside
async def push_privately(place: Place) -> None:
    await (place.there / "tree").push(place.source / "few", mode=0o600)


@inside
async def pull_file(place: Place) -> None:
    await place.box.path("/root/files/few/below/1").pull(place.local / "file")


@inside
async def pull_by_tar(place: Place) -> None:
    await place.box.path("/root/files/many").pull(place.local / "tree")


@inside
async def pull_by_sftp(place: Place) -> None:
    await place.box.path("/root/files/few").pull(place.local / "tree")


@inside
async def write_bytes(place: Place) -> None:
    await (place.there / "file").write_bytes(bytes(SIZE), mode=0o600, uid=1, gid=1)


@inside
async def read_bytes(place: Place) -> None:
    assert len(await place.box.path("/root/files/few/below/1").read_bytes()) == SIZE


@inside
async def put_files(place: Place) -> None:
    await place.box.put_files("/srv/file", bytes(100))


@inside
async def get_files(place: Place) -> None:
    assert await place.box.get_files("/root/files/few/below/1")
    assert await place.box.get_files("/root/files/many")


# The walk


@pytest.fixture(
    scope="module",
    params=[(version, kind) for version in ROOTS for kind in ("unix", "https")] if CHOICE else [("6.0.4", "unix")],
    ids="-".join,
)
async def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    version, kind = request.param
    async with (
        Daemon(root=ROOTS[version]) as daemon,
        daemon.client() as watch,
        daemon.client(kind) as client,
        contextlib.AsyncExitStack() as stack,
    ):
        other = None
        if CHOICE:
            beside = await stack.enter_async_context(Daemon(root=ROOTS[version], image=False, beside=daemon))
            other = await stack.enter_async_context(beside.client())
        place = Place(client, watch, other, tmp_path_factory.mktemp("cancelled"))
        await place.set_up()
        yield place


def points(verb: str, steps: int, most: int) -> list[Point]:
    """The points to try: all, or some."""
    chance = random.Random(f"{verb} {CHOICE}")
    every = [Point(step, how, chance.choice((1, 2, 3, 5, 8))) for step in range(1, steps + 1) for how in HOWS]
    return every if ALL or len(every) <= most else chance.sample(every, most)


@pytest.mark.timeout(4 * 3600 if ALL else 300)
@pytest.mark.parametrize(
    "name", [name for name in (*SERVER, *INSIDE) if CHOICE or name != copy_to_another_server.__name__]
)
async def test_a_verb_that_is_cancelled_leaves_nothing(
    place: Place, name: str, record_property: Callable[[str, object], None]
) -> None:
    verb, within = {**SERVER, **INSIDE}[name], name in INSIDE
    place.expected = set()

    async def once(point: Point | None) -> Outcome:
        outcome = await attempt(lambda: verb(place), point, place.client, LIMIT)
        problems = await place.problems(within, outcome.end == "whole")
        if name == "console":
            async with asyncio.timeout(LIMIT):
                async with place.watch.instances["box"].console():
                    pass
        return Outcome(outcome.end, outcome.steps, outcome.seconds, problems=(*outcome.problems, *problems))

    counted = [await once(None), await once(None)]
    assert [(each.end, each.problems) for each in counted] == [("whole", ())] * 2, counted
    steps, ends, failed, slowest = max(each.steps for each in counted), {"cancelled": 0, "whole": 0}, list[str](), 0.0
    for tried in points(name, steps, 4 if name in SERVER else 6):
        outcome = await once(tried)
        slowest = max(slowest, outcome.seconds)
        if outcome.problems:
            failed.append(f"{tried}: {'; '.join(outcome.problems)}")
        else:
            ends[outcome.end] += 1
    failed += await place.problems_with_operations(commands=True)
    counts = f"{steps} steps; tried {sum(ends.values()) + len(failed)}, {ends}, slowest end {slowest:.2f} s"
    record_property("counts", f"{name}: {counts}, failed {len(failed)}")
    assert not failed, "\n".join([counts, *failed])
