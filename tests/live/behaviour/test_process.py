"""Commands inside an instance: run(), open_process(), shell() and console(), over both transports."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest

from incus_sdk import (
    Client,
    Console,
    IncusAPIError,
    IncusError,
    IncusInputError,
    IncusOperationError,
    IncusTimeoutError,
    Instance,
    ProcessError,
)
from incus_sdk._concurrency import closing
from incus_sdk._outputs import FirstPiece, Output
from incus_sdk.process import _HELD
from incus_sdk.testing import Daemon
from tests.live.latency import delayed
from tools import doc_tabs


@pytest.fixture
def box(kept_box: Instance) -> Instance:
    """One box for the tests of this file."""
    return kept_box


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


async def processes(box: Instance) -> list[str]:
    """The command lines inside, but for init's and this question's own."""
    listed = (await box.run(["ps", "-o", "args"], text=True)).stdout.splitlines()[1:]
    return [line for line in listed if not line.startswith(("{init}", "sleep 86400", "ps -o"))]


async def gone(box: Instance, command: str) -> None:
    async with asyncio.timeout(60):
        while any(command in line for line in await processes(box)):
            await asyncio.sleep(0.05)


# run()


@pytest.mark.parametrize(
    ("command", "code", "stdout", "stderr"),
    [
        (["true"], 0, b"", b""),
        (["echo", "a b", "*"], 0, b"a b *\n", b""),
        (sh("echo out; echo err >&2; exit 3"), 3, b"out\n", b"err\n"),
        (sh("printf '\\377\\000\\n'"), 0, b"\xff\x00\n", b""),
        (["/etc/passwd"], 126, b"", b""),
        (["no-such-command"], 127, b"", b""),
        (sh("exit 126"), 126, b"", b""),
        (sh("echo seen; exit 127"), 127, b"seen\n", b""),
        (sh("exit 255"), 255, b"", b""),
        (sh("kill -TERM $$"), 143, b"", b""),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value)[:30],
)
async def test_run_returns_code_and_output_of_every_kind_of_end(
    box: Instance, command: list[str], code: int, stdout: bytes, stderr: bytes
) -> None:
    result = await box.run(command)
    assert (result.args, result.returncode, result.stdout) == (tuple(command), code, stdout)
    assert result.stderr == stderr or code in (126, 127)  # the shell and the server each say it in their own words


async def pieces() -> AsyncIterator[bytes]:
    yield b"in "
    yield b"pieces"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (None, b""),
        (b"", b""),
        (b"\x00bytes\xff", b"\x00bytes\xff"),
        ("grüße", "grüße".encode()),
        (io.BytesIO(b"a file"), b"a file"),
        (io.StringIO("text"), b"text"),
        (pieces(), b"in pieces"),
    ],
    ids=["none", "empty", "bytes", "str", "file", "text file", "async iterable"],
)
async def test_run_feeds_stdin_and_ends_it(daemon: Daemon, clean: None, given: object, read: bytes) -> None:
    async with daemon.client() as client, client.instances.temporary("busybox") as box:
        assert (await box.run(["cat"], input=given)).stdout == read  # type: ignore[call-overload]


async def test_run_takes_environment_directory_user_and_group(box: Instance) -> None:
    show = sh('echo "$A|$PWD|$(id -u):$(id -g)"')
    result = await box.run(show, env={"A": "x y"}, cwd="/tmp", user=1000, group=0, text=True)
    assert result.stdout == "x y|/tmp|1000:0\n"
    assert (await box.run(show, user=0, group=0, text=True)).stdout == "|/root|0:0\n"


async def test_run_decodes_text_and_never_fails_over_bytes_that_are_none(box: Instance) -> None:
    result = await box.run(sh("printf 'gr\\374n'"), text=True, encoding="latin-1")
    assert result.stdout == "grün"
    assert (await box.run(sh("printf 'a\\377b'"), text=True)).stdout == "a\ufffdb"


async def test_a_user_by_name_brings_home_group_and_supplementary_groups(box: Instance) -> None:
    await box.put_files("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nada:x:1000:1001::/tmp:/bin/false\n")
    await box.put_files("/etc/group", b"root:x:0:\nada:x:1001:\nwheel:x:10:eve,ada\naudio:x:29:ada\ngames:x:60:\n")
    show = sh('echo "$(id -u) $(id -g) $(id -G) $HOME $USER $PWD"')
    result = await box.run(show, user="ada", text=True)
    uid, gid, *groups, home, user, cwd = result.stdout.split()
    assert (uid, gid, home, user, cwd) == ("1000", "1001", "/tmp", "ada", "/tmp")
    assert set(groups) == {"1001", "10", "29"}
    assert (await box.run(["sh", "-c", 'echo "$#" "$1"', "sh", "-c --x 'y'"], user="ada")).stdout == b"1 -c --x 'y'\n"
    assert (await box.run(sh("exit 7"), user="ada")).returncode == 7
    alone = await box.run(show, user="ada", group="games", text=True)
    assert alone.stdout.split()[:2] == ["1000", "60"]
    for names in ({"user": "nobody-here"}, {"group": "nobody-here"}):
        with pytest.raises(IncusInputError, match="has no 'nobody-here'"):
            await box.run(["true"], **names)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("mkdir /etc/passwd", "passwd is not a list of names"),
        ("truncate -s 2G /etc/passwd", "passwd is not a list of names, or too long: use numeric ids"),
        ("ln -s passwd /etc/passwd", "."),
        ("echo 'ada:x:abc:1001::/tmp:/bin/false' >/etc/passwd", "/etc/passwd has no 'ada'"),
        ("true", "has no /etc/passwd to look up names in: use numeric ids"),
    ],
)
async def test_a_list_of_users_that_is_none_is_an_error_and_takes_no_memory(
    box: Instance, script: str, said: str
) -> None:
    await box.run(sh(f"rm /etc/passwd; {script}"), check=True)
    with pytest.raises(IncusError, match=said):
        await box.run(["true"], user="ada", timeout=60)


async def test_a_list_of_users_can_be_a_link_and_have_odd_lines(box: Instance) -> None:
    await box.put_files(
        "/etc/users", b"\xff\n::\n" * 1000 + b"ada:x:99999999999:0::/:\nada:x:1000:1001::/tmp:/bin/false\n"
    )
    await box.run(sh("rm /etc/passwd; ln -s ../etc/users2 /etc/passwd; ln -s users /etc/users2"), check=True)
    assert (await box.run(["id", "-u"], user="ada", timeout=60)).stdout == b"1000\n"


async def test_check_raises_with_code_output_and_the_last_word(box: Instance) -> None:
    with pytest.raises(ProcessError, match="exit code 4: second") as caught:
        await box.run(sh("echo out; echo first >&2; echo second >&2; exit 4"), check=True, text=True)
    error = caught.value
    assert (error.returncode, error.stdout, error.stderr) == (4, "out\n", "first\nsecond\n")
    await box.run(["true"], check=True)


@pytest.mark.parametrize(
    ("script", "last"),
    [
        ("trap 'echo term; exit 0' TERM; echo part; while :; do sleep 0.1; done", "part\nterm\n"),
        ("trap '' TERM; echo part; while :; do sleep 0.1; done", "part\n"),
    ],
    ids=["TERM is enough", "KILL after the grace"],
)
async def test_a_timeout_stops_the_command_and_keeps_what_it_wrote(box: Instance, script: str, last: str) -> None:
    for timeout in (0.5, 5, 50):  # more where the machine is busy and the command has not begun
        with pytest.raises(IncusTimeoutError, match=rf"more than {timeout} s") as caught:
            await box.run(sh(script), timeout=timeout, grace=20 if "term" in last else 0.5, text=True)
        await gone(box, "while")
        if caught.value.stdout:
            break
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.stdout == last


async def test_output_beyond_its_bound_kills_the_command(box: Instance) -> None:
    with pytest.raises(ProcessError, match="more than 1000 bytes") as caught:
        await box.run(["yes"], max_output=1000)
    assert caught.value.stdout == b"y\n" * 500
    await gone(box, "yes")
    assert (await box.run(sh("yes | head -c 1000"), max_output=1000)).stdout == b"y\n" * 500


async def test_cancelling_the_caller_kills_the_command(box: Instance) -> None:
    task = asyncio.create_task(box.run(["sleep", "1000"]))
    while not await processes(box):
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(box, "sleep 1000")


async def test_an_input_that_fails_fails_the_run_and_kills_the_command(box: Instance) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await box.run(["cat"], input=broken())
    await gone(box, "cat")


async def test_a_view_of_any_kind_goes_in_as_its_bytes(box: Instance) -> None:
    data = memoryview(bytes(range(240)))
    views: list[Any] = [data.cast("I"), data[::2], data.cast("B", [2, 120])]

    async def pieces() -> AsyncIterator[Any]:
        for view in views:
            yield view

    whole = b"".join(bytes(view) for view in views)
    assert (await box.run(["cat"], input=pieces())).stdout == whole
    async with box.open_process(["cat"]) as process:
        process.stdin.writelines(views)
        process.stdin.write_eof()
        assert await process.stdout.read() == whole
    for view in views:
        await box.path("/root/view").write_bytes(view)
        assert await box.path("/root/view").read_bytes() == bytes(view)
        await box.put_files("/root/view", view)
        assert await box.path("/root/view").read_bytes() == bytes(view)


async def test_an_input_of_something_else_than_bytes_is_refused(box: Instance) -> None:
    async def words() -> AsyncIterator[str]:
        yield "text"

    with pytest.raises(IncusInputError, match="must come as bytes, not str"):
        await box.run(["cat"], input=words())  # type: ignore[arg-type]
    await gone(box, "cat")


@pytest.mark.parametrize("command", ["ls -l", [], ["ls", 1], ["a\0b"], None])
async def test_a_command_that_is_no_list_of_words_is_refused_before_anything_is_sent(command: object) -> None:
    box = Client("/nowhere").instances["c1"]
    with pytest.raises(IncusInputError, match="command"):
        await box.run(command)  # type: ignore[call-overload]
    with pytest.raises(IncusInputError, match="input must be"):
        await box.run(["true"], input=7)  # type: ignore[call-overload]
    for who in (True, 1.5, ["root"]):
        with pytest.raises(IncusInputError, match="user must be a numeric id or a name"):
            await box.run(["true"], user=who)  # type: ignore[arg-type]
    with pytest.raises(IncusInputError, match="group must be"):
        await box.run(["true"], group=b"root")  # type: ignore[call-overload]


async def test_a_command_in_a_stopped_instance_raises_the_cause(client: Client, name: str) -> None:
    box = await client.instances.create(name, {"type": "none"}, wait=True)
    with pytest.raises(IncusAPIError, match=r"(?i)not running"):
        await box.run(["true"])
    await box.delete(wait=True)


async def test_a_login_has_what_su_gives_it_and_the_command_as_it_was_written(box: Instance) -> None:
    await box.put_files(
        "/etc/passwd",
        b"root:x:0:0:root:/root:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\nweb:x:33:33::/srv:/usr/sbin/nologin\n",
    )
    await box.put_files("/etc/group", b"root:x:0:\nada:x:1001:\ngames:x:60:web,ada\nweb:x:33:\n")
    await box.run(sh("mkdir -p /home/ada /srv; echo 'export ALL=1' >>/etc/profile"), check=True)
    await box.run(sh("echo 'export OWN=\"a b\"; cd /tmp; cd' >/home/ada/.profile; rm -f /root/.profile"), check=True)
    show = 'echo "$HOME|$USER|$LOGNAME|$SHELL|$PWD|$OWN|$ALL"; id -u; id -G'
    for user, name in (("ada", "ada"), (1000, "ada"), (None, "root"), (0, "root")):
        ours = await box.run(sh(show), user=user, login=True, text=True, check=True)
        theirs = await box.run(["su", "-", name, "-c", show], text=True, check=True)
        assert ours.stdout == theirs.stdout
    words = ["", "a b", "'\"$HOME`id`", "-x", "*", "\n", "é", "--"]
    seen = await box.run(["printf", "<%s>", *words], user="ada", login=True, text=True)
    assert seen.stdout == "".join(f"<{word}>" for word in words)
    other = await box.run(sh("pwd; id -un; echo $OWN$MINE"), user="web", login=True, cwd="/tmp", env={"MINE": "1"})
    assert other.stdout == b"/tmp\nweb\n1\n"  # its own shell would let nobody in
    assert (await box.run(["no-such-command"], user="ada", login=True)).returncode == 127
    assert (await box.run(sh("kill -TERM $$"), user="ada", login=True)).returncode == 143
    with pytest.raises(IncusTimeoutError):
        await box.run(["sleep", "988"], user="ada", login=True, timeout=2)
    assert not [line for line in await processes(box) if "988" in line]
    for missing in ("bob", 1234):
        with pytest.raises(IncusInputError, match=f"/etc/passwd has no {missing!r}"):
            await box.run(["true"], user=missing, login=True)


async def test_what_a_stopped_command_has_started_is_killed_when_asked(box: Instance) -> None:
    tree = sh("trap '' TERM; (setsid sh -c 'sleep 986 & sleep 986; sleep 986' &); yes & echo begun; sleep 986")
    with pytest.raises(IncusTimeoutError):
        await box.run(tree, timeout=2, grace=0.1, kill_tree=True, stdout=subprocess.DEVNULL)
    assert not [line for line in await processes(box) if "986" in line or line == "yes"]
    with pytest.raises(ProcessError, match="more than 1000 bytes"):
        await box.run(tree, max_output=1000, kill_tree=True)
    assert not [line for line in await processes(box) if "986" in line or line == "yes"]
    begun = asyncio.Event()
    running = asyncio.ensure_future(box.run(tree, stdout=lambda piece: begun.set(), kill_tree=True))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not [line for line in await processes(box) if "986" in line or line == "yes"]
    assert (await box.run(["true"], kill_tree=True)).returncode == 0


# What goes wrong elsewhere: much of it, many at a time, and ends of all kinds


async def test_500_commands_at_once_each_have_their_own_code_and_output(box: Instance) -> None:
    async def one(number: int) -> bool:
        result = await box.run(sh(f"echo out {number}; echo err {number} >&2; exit {number % 200}"))
        return (result.returncode, result.stdout, result.stderr) == (
            number % 200,
            f"out {number}\n".encode(),
            f"err {number}\n".encode(),
        )

    assert all(await asyncio.gather(*map(one, range(500))))


MEMORY = """
import asyncio, hashlib, resource, sys
from incus_sdk import Client
from incus_sdk.process import Process

async def noise(size):
    hash, seed = hashlib.sha256(), b"seed"
    for _ in range(size // 2**16):
        piece = hashlib.shake_128(seed).digest(2**16); seed = piece[:32]
        hash.update(piece); yield piece
    digests.append(hash.hexdigest())

async def main():
    connection = eval(sys.argv[1])
    async with Client(**connection) as client:
        box = client.instances[sys.argv[2]]
        await box.run(["true"])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with box.open_process(["cat"]) as process:
            async def feed():
                async for piece in noise(100 * 2**20):
                    process.stdin.write(piece); await process.stdin.drain()
                process.stdin.write_eof()
            feeding, hash = asyncio.ensure_future(feed()), hashlib.sha256()
            while piece := await process.stdout.read(2**18):
                hash.update(piece)
            await feeding
            assert await process.wait() == 0
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(hash.hexdigest() == digests[0], grown // 1024)

digests = []
asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["unix", "https"])
async def test_100_mib_go_through_a_command_and_back_in_flat_memory(daemon: Daemon, clean: None, kind: str) -> None:
    connection = {"endpoint": str(daemon.socket)}
    if kind == "https":
        cert = tuple(map(str, daemon.client_cert))
        connection = {"endpoint": daemon.url, "cert": cert, "server_cert": str(daemon.certificate)}  # type: ignore[dict-item]
    async with daemon.client() as client, client.instances.temporary("busybox") as box:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MEMORY, repr(connection), box.name, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await child.communicate()
    equal, grown = printed.split()
    assert equal == b"True"
    assert int(grown) < 50, f"memory grew by {int(grown)} MiB for 100 MiB"


async def test_a_command_that_closes_stdout_early_is_waited_for(box: Instance) -> None:
    result = await box.run(sh("echo first; exec >&-; sleep 0.3; echo late >&2; exit 5"))
    assert (result.returncode, result.stdout, result.stderr) == (5, b"first\n", b"late\n")


async def test_a_command_that_does_not_read_its_stdin_ends_the_run(box: Instance) -> None:
    result = await box.run(sh("exit 6"), input=os.urandom(2**22))
    assert result.returncode == 6


async def test_of_a_line_that_is_too_long_nothing_is_lost(box: Instance) -> None:
    long = "head -c 1500000 /dev/zero | tr '\\0' x; echo; echo end"
    async with box.open_process(sh(long)) as process:
        with pytest.raises(IncusInputError, match=r"a line of stdout is longer than 1048576 bytes: use read\(n\)"):
            await process.stdout.readline()
        assert await process.stdout.readexactly(1_500_001) == 1_500_000 * b"x" + b"\n"
        assert await process.stdout.readline() == b"end\n"
        assert await process.stdout.readline() == b""


async def test_what_a_command_leaves_in_the_background_does_not_hold_up_its_end(box: Instance) -> None:
    result = await box.run(sh("sleep 1000 & echo done"), timeout=100)
    assert result.stdout == b"done\n"
    await box.run(["killall", "sleep"])


async def test_a_writer_waits_for_a_reader_that_stopped_and_dies_when_it_leaves(box: Instance) -> None:
    async with box.open_process(sh("dd if=/dev/zero bs=1M count=1024 2>/dev/null; echo over >&2")) as process:
        assert len(await process.stdout.readexactly(2**20)) == 2**20
        assert process.stderr is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await process.stderr.read(1)  # not over: it waits for a reader
        assert process.returncode is None
    await gone(box, "dd ")


async def test_a_killed_client_leaves_no_command_behind(daemon: Daemon, clean: None) -> None:
    script = (
        "import asyncio, sys; from incus_sdk import Client\n"
        "async def main():\n"
        "    async with Client(sys.argv[1]) as client:\n"
        "        await client.instances[sys.argv[2]].run(['sleep', '4321'])\n"
        "asyncio.run(main())"
    )
    async with daemon.client() as client, client.instances.temporary("busybox") as box:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(daemon.socket), box.name)
        while "sleep 4321" not in await processes(box):
            await asyncio.sleep(0.05)
        child.kill()
        await child.wait()
        await gone(box, "sleep 4321")


@pytest.mark.parametrize("kind", ["unix", "https"])
async def test_everything_works_a_tenth_of_a_second_away(
    daemon: Daemon, clean: None, kind: Literal["unix", "https"]
) -> None:
    async with delayed(daemon, 100, kind) as client, client.instances.temporary("busybox") as box:
        results = await asyncio.gather(*(box.run(sh(f"echo {number}; exit {number}")) for number in range(20)))
        assert [(result.returncode, result.stdout) for result in results] == [
            (number, f"{number}\n".encode()) for number in range(20)
        ]
        data = os.urandom(2**22)
        assert (await box.run(["cat"], input=data)).stdout == data
        with pytest.raises(IncusTimeoutError):
            await box.run(["sleep", "1000"], timeout=0.2)
        async with box.open_process(["sh"], pty=True) as process:
            process.stdin.write(b"echo a$((1+1))b\n")
            await process.stdout.readuntil(b"a2b")
            process.stdin.write(b"exit 4\n")
            await process.stdout.read()
            assert await process.wait() == 4
        await gone(box, "sleep 1000")


# run(stdout=, stderr=)


@pytest.mark.parametrize("stderr", [None, subprocess.STDOUT, subprocess.DEVNULL])
@pytest.mark.parametrize("sink", ["collected", "file", "function", "coroutine function", "nowhere"])
async def test_output_goes_where_it_is_wanted(box: Instance, tmp_path: Path, sink: str, stderr: int | None) -> None:
    pieces: list[bytes] = []

    async def take(piece: bytes) -> None:
        await asyncio.sleep(0.001)
        pieces.append(piece)

    command = sh("head -c 300000 /dev/zero; sleep 0.3; echo err >&2; sleep 0.3; echo end")
    with (tmp_path / "out").open("wb") as file:
        stdout: Output = {
            "collected": None,
            "file": file,
            "function": pieces.append,
            "coroutine function": take,
            "nowhere": subprocess.DEVNULL,
        }[sink]
        result = await box.run(command, stdout=stdout, stderr=stderr, check=True)
        file_has = (tmp_path / "out").read_bytes()  # though the caller has not closed it
    whole = bytes(300_000) + (b"err\n" if stderr == subprocess.STDOUT else b"") + b"end\n"
    assert result.stderr == (b"err\n" if stderr is None else b"")
    assert result.stdout == (whole if sink == "collected" else b"")
    assert file_has == (whole if sink == "file" else b"")
    assert b"".join(pieces) == (whole if "function" in sink else b"")


async def test_output_comes_while_the_command_runs(box: Instance) -> None:
    first = asyncio.Event()
    running = asyncio.ensure_future(box.run(sh("echo first; read line; echo second"), stdout=lambda _: first.set()))
    async with asyncio.timeout(60):
        await first.wait()
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_command_waits_for_a_slow_taker_of_its_output(box: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = most = 0

    async def take(piece: bytes) -> None:
        nonlocal taken, most
        taken, most = taken + len(piece), max(most, len(piece))
        await asyncio.sleep(0.05)

    await box.run(["head", "-c", "30000000", "/dev/zero"], stdout=take, check=True)
    assert taken == 30_000_000
    assert most < 4_000_000, "it was held up"


@pytest.mark.parametrize("take", ["file", "function", "coroutine function"])
async def test_an_error_of_what_takes_the_output_ends_the_command(box: Instance, take: str) -> None:
    def fail(piece: bytes) -> None:
        raise ZeroDivisionError

    async def fail_later(piece: bytes) -> None:
        raise ZeroDivisionError

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise ZeroDivisionError

    takes: dict[str, Output] = {"file": Full(), "function": fail, "coroutine function": fail_later}
    async with asyncio.timeout(60):
        with pytest.raises(ZeroDivisionError):
            await box.run(sh("echo something; sleep 987"), stdout=takes[take])
    await gone(box, "sleep 987")


async def test_output_beyond_the_limit_goes_nowhere(box: Instance) -> None:
    file = io.BytesIO()
    with pytest.raises(ProcessError, match="more than 1000 bytes"):
        await box.run(["yes"], stdout=file, max_output=1000)
    assert file.getvalue() == b"y\n" * 500
    with pytest.raises(IncusTimeoutError):
        await box.run(sh("echo kept; sleep 100"), stdout=file, timeout=2)
    assert file.getvalue().endswith(b"kept\n")


# open_process()


async def test_a_live_process_talks_line_by_line(box: Instance) -> None:
    async with box.open_process(sh('while read line; do echo "<$line>"; done; exit 3')) as process:
        for word in (b"one", b"two"):
            process.stdin.write(word + b"\n")
            await process.stdin.drain()
            assert await process.stdout.readline() == b"<" + word + b">\n"
        assert process.returncode != 3
        process.stdin.writelines([b"three\n", b"four\n"])
        process.stdin.write_eof()
        assert [line async for line in process.stdout] == [b"<three>\n", b"<four>\n"]
        assert await process.wait() == process.returncode == 3
        await process.stdin.wait_closed()


async def test_communicate_sends_and_returns_everything(box: Instance) -> None:
    async with box.open_process(sh("cat; echo err >&2")) as process:
        assert await process.communicate(b"in") == (b"in", b"err\n")
        assert process.returncode == 0


async def test_outputs_come_as_they_are_written(box: Instance) -> None:
    script = sh("echo one; read line; echo two >&2; read line; echo three; read line; printf 4 >&2; exit 5")
    async with box.open_process(script) as process:
        got: list[tuple[str, bytes]] = []
        async for piece in process.outputs():
            got.append(piece)
            if len(got) < 4:
                process.stdin.write(b"next\n")
        assert got == [("stdout", b"one\n"), ("stderr", b"two\n"), ("stdout", b"three\n"), ("stderr", b"4")]
        assert await process.wait() == 5
        assert [piece async for piece in process.outputs()] == []
    async with box.open_process(sh("echo out; echo err >&2"), pty=True) as process:
        assert b"".join([data async for stream, data in process.outputs() if stream == "stdout"]) == b"out\r\nerr\r\n"


async def test_what_came_before_and_after_the_loop_over_outputs_is_in_the_streams(box: Instance) -> None:
    async with box.open_process(sh("echo 1; echo 2; echo 3 >&2; read line; echo 4; echo 5 >&2")) as process:
        assert await process.stdout.readline() == b"1\n"
        assert process.stderr is not None
        assert await process.stderr.readexactly(1) == b"3"
        async with closing(process.outputs()) as outputs:
            assert sorted([await anext(outputs), await anext(outputs)]) == [("stderr", b"\n"), ("stdout", b"2\n")]
            with pytest.raises(IncusInputError, match="somebody else is iterating"):
                await anext(process.outputs())
            process.stdin.write(b"\n")
            assert await process.wait() == 0
        assert (await process.stdout.read(), await process.stderr.read()) == (b"4\n", b"5\n")


async def test_a_command_waits_for_a_slow_loop_over_its_outputs_and_dies_with_it(box: Instance) -> None:
    taken = {"stdout": 0, "stderr": 0}
    async with box.open_process(sh("head -c 9000000 /dev/zero; head -c 9000000 /dev/zero >&2")) as process:
        async for stream, data in process.outputs():
            taken[stream] += len(data)
            if len(data) > 1000:
                await asyncio.sleep(0.001)
    assert taken == {"stdout": 9_000_000, "stderr": 9_000_000}

    started = asyncio.Event()

    async def follow() -> None:
        async with box.open_process(sh("(sleep 1; exec yes) & exec yes >&2")) as process:
            async for _ in process.outputs():
                started.set()
                await asyncio.sleep(3600)

    following = asyncio.ensure_future(follow())
    await started.wait()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    await gone(box, "yes")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 9), (signal.SIGTERM, 143), (signal.SIGKILL, 137)])
async def test_signals_reach_the_command(box: Instance, number: signal.Signals, code: int) -> None:
    async with box.open_process(sh("trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done")) as process:
        assert await process.stdout.readline() == b"ready\n"
        await process.send_signal(number)
        assert await process.wait() == code
        await process.terminate()  # one that has ended gets none


async def test_leaving_the_block_kills_the_command_however_it_is_left(box: Instance) -> None:
    async def fail() -> None:
        async with box.open_process(["sleep", "1001"]):
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    await gone(box, "sleep 1001")
    async with box.open_process(["sleep", "1002"]) as process:
        pass
    assert process.returncode == 137
    assert await process.wait() == 137


async def test_writing_to_a_command_that_is_gone_is_a_broken_pipe(box: Instance) -> None:
    async with box.open_process(["true"]) as process:
        await process.wait()

        async def write() -> None:
            process.stdin.write(b"x" * 2**20)
            await process.stdin.drain()

        with pytest.raises(BrokenPipeError):
            await write()


async def test_a_terminal_has_a_size_that_can_change_and_one_stream(box: Instance) -> None:
    async with box.open_process(["sh"], pty=True, width=100, height=30, env={"PS1": ""}) as process:
        assert process.stderr is None
        process.stdin.write(b"stty -echo; stty size; echo to-stderr >&2; echo g''o\n")
        seen = await process.stdout.readuntil(b"go\r\n")
        assert b"30 100\r\n" in seen
        assert b"to-stderr" in seen
        await process.resize(132, 43)  # which goes another way than what is typed
        process.stdin.write(b'until [ "$(stty size)" = "43 132" ]; do sleep 0.05; done; tty\n')
        await process.stdout.readuntil(b"/dev/pts/")
        process.stdin.write_eof()  # Ctrl-D
        await process.stdout.read()
        assert await process.wait() == 0


async def test_a_process_is_opened_by_its_block_alone(client: Client) -> None:
    process = client.instances["none"].open_process(["true"])
    with pytest.raises(IncusInputError, match="context manager"):
        await process.wait()
    with pytest.raises(IncusInputError, match="columns and rows"):
        await process.resize(0, 24)


# shell(), in a real pseudo-terminal


SHELL = """
import asyncio, signal, sys
from incus_sdk import Client
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where the tests run in the background of a shell
async def main():
    async with Client(sys.argv[1]) as client:
        print("code", await client.instances[sys.argv[2]].shell(["sh"], env={"PS1": "box> "}))
asyncio.run(main())
"""


class Terminal:
    """A Python program on a pseudo-terminal of 90 by 20, seen from the terminal's other side."""

    async def __aenter__(self) -> Terminal:
        self.fd, inner = os.openpty()
        termios.tcsetwinsize(self.fd, (20, 90))
        self.before = termios.tcgetattr(self.fd)
        return self._with(inner)

    def _with(self, inner: int) -> Terminal:
        self.inner, self._output, self._said = inner, asyncio.StreamReader(), bytearray()
        os.set_blocking(self.fd, False)
        asyncio.get_running_loop().add_reader(self.fd, self._readable)
        return self

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        self.program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-X",
            "faulthandler",
            "-c",
            *arguments,
            stdin=self.inner,
            stdout=self.inner,
            stderr=self.inner,
        )
        return self.program

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self.fd)
        if self.program.returncode is None:
            self.program.kill()
        await self.program.wait()
        os.close(self.fd)
        os.close(self.inner)

    def _readable(self) -> None:
        with contextlib.suppress(OSError):
            self._said += (data := os.read(self.fd, 4096))
            self._output.feed_data(data)

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    async def until(self, mark: bytes) -> None:
        try:
            async with asyncio.timeout(100):
                await self._output.readuntil(mark)
        except TimeoutError:
            self.program.send_signal(signal.SIGABRT)  # it writes where it is
            await self.program.wait()
            await asyncio.sleep(1)
            pytest.fail(f"{mark!r} does not come, but {bytes(self._said[-3000:])!r}; exit: {self.program.returncode}")

    def restored(self) -> bool:
        return termios.tcgetattr(self.fd) == self.before


async def test_a_shell_takes_over_the_terminal_and_gives_it_back(daemon: Daemon, clean: None) -> None:
    async with daemon.client() as client, client.instances.temporary("busybox") as box, Terminal() as terminal:
        program = await terminal.start(SHELL, str(daemon.socket), box.name)
        await terminal.until(b"box> ")
        assert not terminal.restored()  # raw: what is typed goes in there as it is
        terminal.type(b"stty size\n")
        await terminal.until(b"20 90\r\n")
        termios.tcsetwinsize(terminal.fd, (50, 111))
        program.send_signal(signal.SIGWINCH)  # as a terminal does for the program in its foreground
        terminal.type(b"until stty size | grep '50 111'; do sleep 0.05; done\n")
        await terminal.until(b"\n50 111\r\n")
        terminal.type(b"echo a$((1+1))b; cat\n")
        await terminal.until(b"a2b")
        terminal.type(b"meow\n")
        await terminal.until(
            b"meow\r\nmeow\r\n"
        )  # as the terminal and then cat say it: cat runs, and gets what follows
        terminal.type(b"\x03")  # Ctrl-C is for what runs in there
        await terminal.until(b"^C")
        await terminal.until(b"box> ")  # the shell reads again
        terminal.type(b"exit 8\n")
        await terminal.until(b"code 8")
        assert await program.wait() == 0
        assert terminal.restored()


async def test_a_shell_gets_what_was_typed_before_it_was_there(daemon: Daemon, clean: None) -> None:
    async with daemon.client() as client, client.instances.temporary("busybox") as box, Terminal() as terminal:
        program = await terminal.start(SHELL, str(daemon.socket), box.name)
        terminal.type(b"echo ea$((1+1))ly; exit 6\n")
        await terminal.until(b"ea2ly")
        await terminal.until(b"code 6")
        assert await program.wait() == 0


async def test_a_shell_that_is_interrupted_restores_the_terminal_and_ends_the_command(
    daemon: Daemon, clean: None
) -> None:
    async with daemon.client() as client, client.instances.temporary("busybox") as box, Terminal() as terminal:
        program = await terminal.start(SHELL, str(daemon.socket), box.name)
        await terminal.until(b"box> ")
        program.send_signal(signal.SIGINT)
        await terminal.until(b"KeyboardInterrupt")
        await program.wait()
        assert terminal.restored()
        await gone(box, "{sh}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
async def test_a_shell_that_a_signal_ends_restores_the_terminal(
    daemon: Daemon, clean: None, number: signal.Signals
) -> None:
    async with daemon.client() as client, client.instances.temporary("busybox") as box, Terminal() as terminal:
        # Without a core dump; and the signal is ignored, where the tests run in the background of a shell.
        prepare = (
            f"import resource, signal; resource.setrlimit(4, (0, 0)); signal.signal({int(number)}, signal.SIG_DFL)"
        )
        program = await terminal.start(f"{prepare}\n{SHELL}", str(daemon.socket), box.name)
        await terminal.until(b"box> ")
        program.send_signal(number)
        assert await program.wait() == -number
        assert terminal.restored()
        await gone(box, "{sh}")


async def test_a_shell_on_a_terminal_without_a_size_has_the_usual_one(daemon: Daemon, clean: None) -> None:
    async with daemon.client() as client, client.instances.temporary("busybox") as box, Terminal() as terminal:
        termios.tcsetwinsize(terminal.fd, (0, 0))
        program = await terminal.start(SHELL, str(daemon.socket), box.name)
        await terminal.until(b"box> ")
        program.send_signal(signal.SIGWINCH)
        terminal.type(b"stty size; exit 8\n")
        await terminal.until(b"24 80\r\n")
        await terminal.until(b"code 8")


PIPED = """
import asyncio, os, sys
from incus_sdk import Client
async def main():
    async with Client(sys.argv[1]) as client:
        print("first")
        return await client.instances[sys.argv[2]].shell(sys.argv[3:])
sys.exit(asyncio.run(main()))
"""


async def piped(daemon: Daemon, box: Instance, stdin: int, *command: str) -> asyncio.subprocess.Process:
    """A program that runs a shell without a terminal."""
    out = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PIPED, str(daemon.socket), box.name, *command, stdin=stdin, stdout=out, stderr=out
    )


async def test_a_shell_without_a_terminal_passes_bytes_through(daemon: Daemon, clean: None, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(content)
    both = sh("cat; echo err >&2; tty >&2; exit 3")
    async with daemon.client() as client, client.instances.temporary("busybox") as box:
        program = await piped(daemon, box, asyncio.subprocess.PIPE, *both)
        assert await program.communicate(content) == (b"first\n" + content, b"err\nnot a tty\n")
        assert program.returncode == 3
        with (tmp_path / "file").open() as file:
            program = await piped(daemon, box, file.fileno(), *both)
        assert (await program.communicate())[0] == b"first\n" + content
        program = await piped(daemon, box, asyncio.subprocess.DEVNULL, *both)
        assert (await program.communicate())[0] == b"first\n"

        # What comes is passed on at once; and a command that ends does not wait for the end of stdin.
        echo = 'while read word && [ $word != q ]; do echo "<$word>"; done'
        program = await piped(daemon, box, asyncio.subprocess.PIPE, *sh(echo))
        assert program.stdin is not None
        assert program.stdout is not None
        assert await program.stdout.readline() == b"first\n"
        program.stdin.write(b"one\n")
        assert await program.stdout.readline() == b"<one>\n"
        program.stdin.write(b"q\n")
        assert await program.wait() == 0


SILENT = """
import asyncio, sys
from incus_sdk import Client
async def main():
    async with Client(sys.argv[1]) as client:
        result = await client.instances[sys.argv[2]].run(["echo", "over"], input=sys.stdin.buffer, text=True)
        print(result.stdout, flush=True)
asyncio.run(main())
"""


async def test_a_program_ends_while_nothing_comes_on_the_pipe_that_it_gave_as_input(
    daemon: Daemon, clean: None
) -> None:
    pipe = asyncio.subprocess.PIPE
    async with daemon.client() as client, client.instances.temporary("busybox") as box:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SILENT, str(daemon.socket), box.name, stdin=pipe, stdout=pipe, stderr=pipe
        )
        assert program.stdout is not None
        assert program.stderr is not None
        assert await program.stdout.read() == b"over\n\n"
        assert (await program.stderr.read(), await program.wait()) == (b"", 0)
        assert program.stdin is not None
        program.stdin.close()


async def test_what_comes_on_a_pipe_is_sent_at_once(box: Instance) -> None:
    came = asyncio.Event()
    reading, writing = os.pipe()
    with open(reading, "rb") as source, open(writing, "wb", 0) as talk:  # noqa: ASYNC230
        running = asyncio.create_task(box.run(["cat"], input=source, stdout=lambda piece: came.set()))
        talk.write(b"first")
        async with asyncio.timeout(60):
            await came.wait()
        talk.close()
        await running


# console()


@pytest.fixture
async def talker(box: Instance) -> AsyncIterator[Instance]:
    """A container on whose console somebody answers each line in brackets."""
    talk = 'exec </dev/console >/dev/console; stty -echo; echo ready >&2; while read line; do echo "[$line]"; done'
    async with box.open_process(sh(talk)) as process:
        assert process.stderr is not None
        assert await process.stderr.readline() == b"ready\n"
        yield box


async def answered(console: Console, word: bytes) -> None:
    """Say a word on the console until somebody answers: the server may lose what is said while it attaches."""
    seen = asyncio.ensure_future(console.stdout.readuntil(b"[" + word + b"]"))
    while not seen.done():
        console.stdin.write(word + b"\n")
        await asyncio.wait([seen], timeout=0.5)
    await seen


async def test_the_console_talks_is_resized_and_left(talker: Instance) -> None:
    async with talker.console() as console:
        await answered(console, b"hello")
        await console.resize(120, 40)  # of the server's end; a container's own console stays as it is
        await answered(console, b"resized")
    async with talker.console() as again:  # it was let go of
        await answered(again, b"again")


async def test_a_console_in_use_is_refused_unless_forced(talker: Instance) -> None:
    async with talker.console() as first:
        await answered(first, b"first")
        with pytest.raises(IncusError, match="already connected"):
            await talker.console().__aenter__()
        async with talker.console(force=True) as second:
            await answered(second, b"mine")
            await first.stdout.read()  # it has ended


@contextlib.asynccontextmanager
async def held_by_lxc(daemon: Daemon, box: Instance) -> AsyncGenerator[None]:
    """The console of a box as it is while LXC has not heard that the process is gone which was attached to it."""
    assert daemon._namespaces is not None
    (configuration,) = daemon.directory.glob(f"**/{box.name}/lxc.conf")
    spaces = f"--target={daemon._namespaces.pid}", f"--pid=/proc/{daemon._namespaces.pid}/ns/pid_for_children"
    enter = "nsenter", *spaces, "--mount", "--net", daemon._programs["incusd"]
    what = "forkconsole", box.name, str(daemon.directory / "containers"), str(configuration), "tty=0", "escape=-1"
    outer, inner = os.openpty()
    holder = await asyncio.create_subprocess_exec(
        *enter, *what, stdin=inner, stdout=inner, stderr=inner, process_group=0
    )

    def is_attached() -> bool:
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
            files = (file for child in children for file in Path(f"/proc/{child}/fd").iterdir())
            return any("ptmx" in os.readlink(file) for file in files)
        return False

    try:
        async with asyncio.timeout(60):
            while not is_attached():
                await asyncio.sleep(0.01)
        yield
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        await holder.wait()
        os.close(outer)
        os.close(inner)


@pytest.mark.parametrize("is_lost", [False, True], ids=["said", "lost"])
async def test_a_console_that_is_not_free_yet_is_attached_to_again(
    daemon: Daemon, talker: Instance, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    caplog.set_level(logging.INFO, "incus_sdk.retries")
    if is_lost:  # as by a server that closes the terminal of the process that ended before it has read it

        def take(self: FirstPiece, piece: bytes) -> None:
            if piece != _HELD:
                kept(self, piece)

        kept = FirstPiece.take
        monkeypatch.setattr(FirstPiece, "take", take)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(held_by_lxc(daemon, talker))
        async with talker.console() as console:
            async with asyncio.timeout(60):
                while f"the console of {talker.name} was not free yet: trying again" not in caplog.text:
                    console.stdin.write(b"too early\n")
                    await asyncio.sleep(0.01)
            await stack.aclose()
            await answered(console, b"mine")


async def test_a_console_whose_instance_stops_ends_though_nothing_was_said(client: Client) -> None:
    async with client.instances.temporary("busybox") as box, box.console() as console:
        stopping = asyncio.create_task(box.stop(force=True, wait=True))
        assert re.fullmatch(b"(Error: .* is not running: .*\n)?", await console.stdout.read())
        await stopping


async def test_a_console_that_is_taken_over_ends_though_nothing_was_said(talker: Instance) -> None:
    async with talker.console() as first, talker.console(force=True) as second:
        await answered(second, b"mine")
        assert await first.stdout.read() == b""
        await answered(second, b"still mine")


async def test_a_console_that_is_not_free_in_the_end_is_an_error(daemon: Daemon, talker: Instance) -> None:
    async with held_by_lxc(daemon, talker), talker.console() as console:
        with pytest.raises(IncusOperationError, match=f"the console of {talker.name} is held by a process that the se"):
            await console.stdout.read()
    async with talker.console() as again:
        await answered(again, b"mine")


async def test_leaving_a_console_that_is_attached_to_again_leaves_nothing(daemon: Daemon, talker: Instance) -> None:
    async with held_by_lxc(daemon, talker):
        for pause in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4):
            async with talker.console():
                await asyncio.sleep(pause)
    async with talker.console() as again:
        await answered(again, b"mine")


@pytest.mark.parametrize("turns", [1, 5, 20, 40, 80])
async def test_a_console_whose_attaching_is_cancelled_is_free_at_once(talker: Instance, turns: int) -> None:
    attaching = asyncio.create_task(talker.console().__aenter__())
    for _ in range(turns):
        await asyncio.sleep(0)
    attaching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await (await attaching).__aexit__()  # it was attached already
    async with talker.console() as console:
        await answered(console, b"mine")


CONSOLE = """
import asyncio, sys
from incus_sdk import Client
async def main():
    async with Client(sys.argv[1]) as client:
        await client.instances[sys.argv[2]].attach_console()
        print("left")
asyncio.run(main())
"""


async def test_the_console_takes_over_the_terminal_until_its_keys_are_pressed(daemon: Daemon, talker: Instance) -> None:
    async with Terminal() as terminal:
        program = await terminal.start(CONSOLE, str(daemon.socket), talker.name)
        await terminal.until(b"To detach from the console, press: <ctrl>+a q\r\n")
        seen = asyncio.ensure_future(terminal.until(b"[hello]"))
        while not seen.done():  # see `answered`
            terminal.type(b"hello\n")
            await asyncio.wait([seen], timeout=0.5)
        assert not terminal.restored()
        terminal.type(b"q\x01\x01x\x01y\n")
        await terminal.until(b"[q\x01xy]")  # as the command has it
        terminal.type(b"\x01q")
        await terminal.until(b"left")
        assert await program.wait() == 0
        assert terminal.restored()
    async with talker.console() as console:
        await answered(console, b"again")


@pytest.mark.parametrize("program", [CONSOLE, doc_tabs.blocking(CONSOLE)], ids=["async", "blocking"])
async def test_a_console_on_the_terminal_ends_with_the_instance(daemon: Daemon, box: Instance, program: str) -> None:
    async with Terminal() as terminal:
        process = await terminal.start(program, str(daemon.socket), box.name)
        await terminal.until(b"press: <ctrl>+a q\r\n")
        await box.stop(force=True, wait=True)
        await terminal.until(b"left")
        assert await process.wait() == 0
        assert terminal.restored()


async def test_a_console_without_a_terminal_says_so(box: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda number: False)
    with pytest.raises(IncusInputError, match="needs a terminal"):
        await box.attach_console()


async def test_the_console_log_is_read_and_cleared(talker: Instance) -> None:
    async with talker.console() as console:
        await answered(console, b"logged")
    assert b"[logged]" in await talker.get_console_log()
    await talker.clear_console_log()
    assert b"[logged]" not in await talker.get_console_log()


async def test_a_vga_console_is_refused_with_the_reason(box: Instance) -> None:
    with pytest.raises(IncusInputError, match="SPICE"):
        box.console(type="vga")
