"""Inside the fake's instances, commands and files are as in real ones: through the SDK, and in the packets of SFTP."""

from __future__ import annotations

import asyncio
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import pytest

from incus_sdk import IncusError, Instance
from incus_sdk._connection import wire
from incus_sdk.testing import Daemon, Fake
from tests.live.roots import ROOTS
from tests.unit.test_fake_files import PACKETS


@pytest.fixture(scope="module")
async def boxes(daemon: Daemon) -> AsyncIterator[dict[str, Instance]]:
    """Running containers: one of the fake, and one of each real version."""
    found: dict[str, Instance] = {}
    async with AsyncExitStack() as stack:
        for version, root in (("fake", None), *ROOTS.items()):
            server: Daemon | Fake
            if version == "fake":
                server = await stack.enter_async_context(Fake())
            else:
                server = daemon if root is None else await stack.enter_async_context(Daemon(root=root))
            client = await stack.enter_async_context(server.client())
            found[version] = await client.instances.launch("busybox", "c1")
        yield found
        for box in found.values():
            await box.delete(force=True, wait=True)


async def compare(boxes: dict[str, Instance], look: Callable[[Instance], Awaitable[Any]]) -> None:
    fake, *real = [await look(box) for box in boxes.values()]
    assert [each for each in real if each == fake] or fake == real[-1]


SCRIPTS = [
    "echo a  'b  c' \"$HOME ${HOME}\" \\$x",
    "echo -n x; echo y",
    "false && echo a || echo b",
    "true || echo a; false; echo $?",
    "echo out; echo err >&2; exit 3; echo never",
    "set -e; false; echo never",
    "set -e; false || true; echo on",
    "echo x | cat | cat",
    "cat",
    "cat /etc/hostname - < /etc/passwd",
    "cat /no",
    "cd /srv && pwd > here; echo more >> here\ncat here",
    "cat /no > all 2>&1 < /dev/null; cat all",
    "echo lost >/dev/null 2>&1 # comment",
    'exec echo $0 "$@"',
    "sh -ec 'false; echo a'",
    "pwd; sleep 0; :",
    "cd /no; pwd; cd /etc/hostname || echo $?; cd; pwd",
    "echo x > /no/dir; echo $?",
    'echo "\\$HOME 5\\" $HOME"; echo -nE x; echo $2 "$2" $12',
    "cd /srv; echo $PWD 5$; exit 258",
    "sh -c",
    "cat < /no; echo $?; echo x > /etc; echo x > /etc/hostname/x",
]


async def test_commands_that_need_no_script(boxes: dict[str, Instance]) -> None:
    async def look(box: Instance) -> list[object]:
        await box.path("/srv").mkdir(exist_ok=True)
        found: list[object] = []
        for script in SCRIPTS:
            result = await box.run(["sh", "-c", script, "zero", "one", "two words"], input=b"in")
            found.append((script, result.returncode, result.stdout, result.stderr))
        return found

    await compare(boxes, look)


async def test_live_commands(boxes: dict[str, Instance]) -> None:
    async def look(box: Instance) -> list[object]:
        found: list[object] = []
        async with box.open_process(["cat"], pty=True) as process:
            process.stdin.write(b"line\n")
            found += [await process.stdout.readline() for _ in range(2)]
            process.stdin.write_eof()
            found += [await process.stdout.read(), await process.wait()]
        for signal in (15, 9, 1):
            async with box.open_process(["sh", "-c", "echo begun; sleep 60"]) as process:
                found.append(await process.stdout.readline())
                await process.send_signal(signal)
                found.append(await process.wait())
        async with box.open_process(["sh", "-c", "echo begun; sleep 60"], pty=True) as process:
            found.append(await process.stdout.readline())
            process.stdin.write(b"\x03")
            found += [await process.stdout.read(), await process.wait()]
        for directory in (None, "/tmp", "/no"):
            found.append((await box.run(["pwd"], cwd=directory)).stdout)
        recorded = await box.execute(["sh", "-c", "echo a; echo b >&2; exit 3"], record_output=True, wait=True)
        found.append(recorded.metadata)
        return found

    await compare(boxes, look)


async def test_files(boxes: dict[str, Instance]) -> None:
    async def attempt(work: Awaitable[object]) -> object:
        try:
            return await work
        except IncusError as error:
            return type(error).__name__, str(error)

    async def look(box: Instance) -> list[object]:
        found = list[object]()
        await box.path("/srv/t").mkdir(parents=True)
        async with box.path("/srv/t").connected() as top:
            verbs: list[Awaitable[object]] = [
                (top / "a").write_text("text", mode=0o640, uid=7, gid=8),
                (top / "a").stat(),
                (top / "a").append(b"more"),
                (top / "a").read_text(),
                (top / "a").chmod(0o4755),
                (top / "a").chown(9, 9),
                (top / "link").symlink_to("a"),
                (top / "link").readlink(),
                (top / "link").read_text(),
                (top / "link").symlink_to("b"),
                (top / "b").read_text(),
                (top / "no/b").write_text("x"),
                (top / "a/b").write_text("x"),
                (top / "d").mkdir(),
                (top / "d").mkdir(),
                (top / "d").read_bytes(),
                (top / "d/e/f").mkdir(parents=True),
                (top / "d").rmdir(),
                (top / "a").rmdir(),
                (top / "a").rename(top / "c"),
                (top / "c").rename(top / "d"),
                (top / "d/e").rename(top / "e"),
                (top / "nothing").unlink(),
                (top / "link").unlink(),
                (top / "d").rmtree(),
            ]
            for verb in verbs:
                result = await attempt(verb)
                mtime = getattr(result, "mtime", None)
                found.append(str(result).replace(str(mtime), "now"))
            found.append(sorted([path.name async for path in top.iterdir()]))
        await box.path("/srv/t").rmtree()
        return found

    await compare(boxes, look)


async def test_packets_of_sftp(boxes: dict[str, Instance]) -> None:
    def string(data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + data

    def plain(answer: bytes) -> bytes:
        """An answer without the size of a directory, which depends on the file system."""
        is_directory = answer[0] == 105 and stat.S_ISDIR(int.from_bytes(answer[25:29], "big"))
        return answer[:9] + bytes(8) + answer[17:] if is_directory else answer

    async def look(box: Instance) -> list[object]:
        await box.path("/tmp/a").write_text("hello")
        await box.path("/tmp/d/e").mkdir(parents=True)
        for name, target in (("loop", "loop"), ("dangling", "nowhere"), ("to-a", "../tmp/a")):
            await box.path(f"/tmp/{name}").symlink_to(target)
        reader, writer = await box._scope.upgrade("GET", wire.path("instances", "c1", "sftp"), "sftp")
        numbers, found = count(7), list[object]()

        async def ask(kind: int, number: int, *parts: bytes) -> bytes:
            body = b"".join(parts)
            writer.write(struct.pack(">IBI", 5 + len(body), kind, number) + body)
            async with asyncio.timeout(60):
                return plain(await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big")))

        found.append(await ask(1, 3))
        for kind, parts, _ in PACKETS:
            found.append((kind, parts, await ask(kind, next(numbers), *parts)))
        for path in (b"/tmp", b"/etc", b"/tmp/a"):
            await ask(9, next(numbers), string(path), struct.pack(">III", 8, 5, 6))
        found += [await ask(17, next(numbers), string(path)) for path in (b"/tmp", b"/etc", b"/no")]
        writer.transport.abort()
        return found

    await compare(boxes, look)
