"""Commands of the fake: scripts, and what runs without one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import sys
from typing import Any

import pytest

from incus_sdk import IncusInputError
from incus_sdk.process import _RUN_AS_USER
from incus_sdk.testing._fake.commands import (
    CommandFailedError,
    Commands,
    FakeCommand,
    FakeResult,
    UnscriptedCommandError,
)
from incus_sdk.testing._fake.files import FakeFiles
from incus_sdk.testing._fake.programs import PROGRAMS, of_sdk, unwrapped


class Host:
    """Runs commands as the server does."""

    def __init__(self) -> None:
        self.commands = Commands(PROGRAMS, of_sdk)
        self.on_exec = self.commands.on_exec
        self.files = FakeFiles("c1")

    def command(self, *args: str, stdin: bytes | None = b"", **how: Any) -> FakeCommand:
        def send(_: int, __: bytes) -> None:
            pass

        command = FakeCommand(args, instance="c1", files=self.files, send=send, **how)
        if stdin:
            command._feed(stdin)
        if stdin is not None:
            command._feed(b"")
        return command

    async def run(self, *args: str, **how: Any) -> tuple[int, bytes, bytes]:
        command = self.command(*args, **how)
        code = await self.commands.run(command)
        return code, command.output, command.errors


@pytest.fixture
async def host() -> Host:
    return Host()


async def test_a_script_says_what_a_command_does(host: Host) -> None:
    uname = host.on_exec(["uname", "-a"], stdout="Linux\n", stderr=b"odd", returncode=3)
    assert await host.run("uname", "-a", stdin=b"x", user=7) == (3, b"Linux\n", b"odd")
    (call,) = uname.calls
    assert (call.args, call.input, call.user, call.returncode) == (("uname", "-a"), b"x", 7, 3)


async def test_scripts_are_for_exact_commands_beginnings_predicates_or_all(host: Host) -> None:
    host.on_exec(stdout="all")
    host.on_exec(["apt-get", ...], stdout="begins")
    host.on_exec(["apt-get", "update"], stdout="exact")
    host.on_exec(lambda command: command.user == 7, stdout="predicate")
    host.on_exec(["twice"], stdout="twice", times=2)
    ran = [(await host.run(*args.split()))[1] for args in ("apt-get update", "apt-get install x", "ls", *["twice"] * 3)]
    assert ran == [b"exact", b"begins", b"all", b"twice", b"twice", b"all"]
    assert (await host.run("ls", user=7))[1] == b"predicate"
    with pytest.raises(IncusInputError, match=re.escape("a list of words, as ['uname', '-a'], not 'uname -a'")):
        host.on_exec("uname -a")
    with pytest.raises(IncusInputError, match="run= or stdout=, not both"):
        host.on_exec(["x"], run=lambda _: 0, stdout="x")


async def test_results_come_one_after_the_other(host: Host) -> None:
    host.on_exec(["ping"], returncode=1).then(stdout="pong").then(run=lambda command: 7)
    assert [(await host.run("ping"))[:2] for _ in range(4)] == [(1, b""), (0, b"pong"), (7, b""), (7, b"")]


async def test_a_function_gets_the_command_and_says_how_it_ends(host: Host) -> None:
    def sort(command: FakeCommand) -> bytes:
        command.write("sorted: ")
        command.write_error("done")
        return b"\n".join(sorted(command.input.split(b"\n")))

    async def serve(command: FakeCommand) -> int:
        command.write("ready\n")
        while line := await command.stdin.readline():
            command.write(line.upper())
        command.write_error(command.env["WHY"])
        command.files["/tmp/done"] = b"yes"
        return 5

    host.on_exec(["sort"], run=sort)
    host.on_exec(["serve"], run=serve)
    assert await host.run("sort", stdin=b"b\na") == (0, b"sorted: a\nb", b"done")
    assert await host.run("serve", stdin=b"x\ny\n", env={"WHY": "end"}) == (5, b"ready\nX\nY\n", b"end")
    assert host.files["/tmp/done"] == b"yes"
    results: list[tuple[Any, tuple[int, bytes]]] = [
        (None, (0, b"")), (True, (0, b"")), (False, (1, b"")), ("text", (0, b"text")),
        (FakeResult(returncode=2, stdout=b"o"), (2, b"o")),
    ]  # fmt: skip
    for made, expected in results:
        host.on_exec(["made"], run=functools.partial(lambda made, _: made, made))
        assert (await host.run("made"))[:2] == expected


async def test_signals_end_a_command_unless_it_handles_them(host: Host) -> None:
    stopped = asyncio.Event()

    async def serve(command: FakeCommand) -> int:
        command.on_signal(15, stopped.set)
        await stopped.wait()
        return 4

    host.on_exec(["hangs"], hang=True)
    host.on_exec(["ignores"], hang=True, signals={15: None, 2: 77})
    host.on_exec(["serve"], run=serve)
    table = [
        ("hangs", [15], 143),
        ("hangs", [28, 9], 137),
        ("ignores", [15, 9], 137),
        ("ignores", [15, 2], 77),
        ("serve", [15], 4),
        ("serve", [9], 137),
        ("sleep 60", [1], 129),
        ("sh -c 'sleep 60'", [15], 143),
    ]
    for line, signals, code in table:
        command = host.command(*(["sh", "-c", "sleep 60"] if line.startswith("sh") else line.split()))
        running = asyncio.ensure_future(host.commands.run(command))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number in signals:
            command._signal(number)
        assert await running == code, line
    assert host.commands.running == set()


async def test_a_cancelled_caller_leaves_nothing_running(host: Host) -> None:
    begun, ended = asyncio.Event(), list[str]()

    async def serve(command: FakeCommand) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("yes")

    host.on_exec(["serve"], run=serve)
    running = asyncio.ensure_future(host.commands.run(host.command("serve")))
    await begun.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert (ended, host.commands.running) == (["yes"], set())


async def test_a_scripted_command_waits_for_what_is_sent_to_it(host: Host) -> None:
    tee = host.on_exec(["tee", "/x"])
    command = host.command("tee", "/x", stdin=None)
    running = asyncio.ensure_future(host.commands.run(command))
    while not tee.calls:
        await asyncio.sleep(0)
    command._feed(b"late")
    command._feed(b"")
    assert (await running, tee.calls[0].input) == (0, b"late")


async def test_a_command_without_a_script_fails_and_the_test_hears_of_it(host: Host) -> None:
    code, _, errors = await host.run("uname", "-a")
    assert code == 127
    assert errors.startswith(b"incus_sdk.testing.Fake: no script for the command ['uname', '-a'] in 'c1': add fake.on_")
    with pytest.raises(UnscriptedCommandError, match="uname"):
        host.commands.check()
    host.commands.check()
    for word in ("one", "two"):
        await host.run(word)
    with pytest.raises(ExceptionGroup) as raised:
        host.commands.check()
    assert len(raised.value.exceptions) == 2


async def test_the_error_of_a_function_fails_the_command_and_the_test(host: Host) -> None:
    def wrong(command: FakeCommand) -> object:
        assert command.input == b"x"
        return [command]

    host.on_exec(["wrong"], run=wrong)
    assert (await host.run("wrong"))[0] == 1
    with pytest.raises(AssertionError):
        host.commands.check()
    assert (await host.run("wrong", stdin=b"x"))[0] == 1
    with pytest.raises(TypeError, match="not list"):
        host.commands.check()
    host.on_exec(lambda command: command.args[7] == "x")
    code, _, errors = await host.run("true")
    assert (code, errors) == (1, b"incus_sdk.testing.Fake: IndexError: tuple index out of range\n")
    with pytest.raises(IndexError):
        host.commands.check()


async def test_a_function_that_would_end_the_program_fails_the_command(host: Host) -> None:
    host.on_exec(["exit"], run=lambda command: sys.exit(3))
    assert await host.run("exit") == (1, b"", b"incus_sdk.testing.Fake: SystemExit: 3\n")
    with pytest.raises(SystemExit):
        host.commands.check()


async def test_a_script_can_have_the_server_fail(host: Host) -> None:
    host.on_exec(["true"], error="VM agent isn't currently running", times=2)
    for _ in range(2):
        with pytest.raises(CommandFailedError, match="VM agent"):
            await host.run("true")
    assert await host.run("true") == (0, b"", b"")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("true", (0, b"", b"")),
        ("false", (1, b"", b"")),
        ("echo a  'b  c' \"$NAME ${NAME}\" \\$x", (0, b"a b  c dev dev $x\n", b"")),
        ("echo -n x; echo y", (0, b"xy\n", b"")),
        ("false && echo a || echo b", (0, b"b\n", b"")),
        ("true || echo a; false; echo $?", (0, b"1\n", b"")),
        ("echo out; echo err >&2; exit 3; echo never", (3, b"out\n", b"err\n")),
        ("set -e; false; echo never", (1, b"", b"")),
        ("set -e; false || true; echo on", (0, b"on\n", b"")),
        ("echo x | cat | cat", (0, b"x\n", b"")),
        ("cat", (0, b"in", b"")),
        ("cat /etc/hostname - < /etc/passwd", (0, b"c1\nroot:x:0:0:root:/root:/bin/sh\n", b"")),
        ("cat /no", (1, b"", b"cat: can't open '/no': No such file or directory\n")),
        ("cd /srv && pwd > here; echo more >> here\ncat here", (0, b"/srv\nmore\n", b"")),
        ("cat /no > all 2>&1 < /dev/null; cat all", (0, b"cat: can't open '/no': No such file or directory\n", b"")),
        ("echo x > /no/dir", (1, b"", b"zero: line 0: can't create /no/dir: nonexistent directory\n")),
        ("echo lost >/dev/null 2>&1 # comment", (0, b"", b"")),
        ('exec echo $0 "$@"', (0, b"zero one two words\n", b"")),
        ("scripted arg || echo $1", (0, b"one\n", b"")),
        ("sh -ec 'false; echo a'", (1, b"", b"")),
        ('echo "\\$NAME 5\\" $NAME"; echo -nE x', (0, b'$NAME 5" dev\nx', b"")),
        ("echo $2 \"$2\" $12 'a $(b) $#'", (0, b"two words two words one2 a $(b) $#\n", b"")),
        ("cd /srv; echo $PWD 5$; exit 258", (2, b"/srv 5$\n", b"")),
        ("sh -c", (2, b"", b"sh: -c requires an argument\n")),
    ],
)
async def test_a_few_commands_need_no_script(host: Host, line: str, expected: tuple[int, bytes, bytes]) -> None:
    host.files.mkdir("/srv")
    host.on_exec(["scripted", "arg"], returncode=9)
    args = "sh", "-c", line, "zero", "one", "two words"
    assert await host.run(*args, stdin=b"in", env={"NAME": "dev"}) == expected
    host.commands.check()


@pytest.mark.parametrize(
    "line",
    [
        *("if true; then echo; fi", "echo `date`", "echo $(date)", "X=1 echo", "ls *", "echo >", "sleep 1 &"),
        *("( true )", 'echo "$(date)"', 'echo "${X:-d}"', "echo $#", 'echo "$*"', "echo $$", "cd ~/x", "echo x > ~/y"),
    ],
)
async def test_what_the_shell_does_not_know_needs_a_script(host: Host, line: str) -> None:
    assert (await host.run("sh", "-c", line))[0] == 127
    with pytest.raises(UnscriptedCommandError, match=re.escape(repr(line))):
        host.commands.check()


async def test_echo_that_interprets_backslashes_needs_a_script(host: Host) -> None:
    assert (await host.run("echo", "-e", r"a\nb"))[0] == 127
    with pytest.raises(UnscriptedCommandError):
        host.commands.check()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("id",), (("id",), None, None)),
        (("/bin/bash", "-l", "-c", 'exec "$0" "$@"', "id", "-u"), (("id", "-u"), None, None)),
        (("sh", "-c", _RUN_AS_USER, "sh", "7", "8", "8,9", "dev", "id"), (("id",), 7, 8)),
        (
            ("sh", "-c", _RUN_AS_USER, "sh", "7", "8", "8,9", "dev", "/bin/sh", "-l", "-c", 'exec "$0" "$@"', "id"),
            (("id",), 7, 8),
        ),
    ],
)
def test_scripts_see_a_command_without_what_the_sdk_runs_around_it(args: tuple[str, ...], expected: object) -> None:
    assert unwrapped(args) == expected
