"""Commands over a link that breaks: a result is whole, or an error that holds what came so far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest

from incus_sdk import Client, IncusConnectionError, IncusTimeoutError, Instance, Operation
from incus_sdk.testing import Daemon
from tests.live.faults import Link, breakable

Kind = Literal["unix", "https"]

# The connections of a command, counted from the one of its request.
CONTROL, STDIN, STDOUT, STDERR = 1, 2, 3, 4


@pytest.fixture(params=["unix", "https"])
async def linked(daemon: Daemon, clean: None, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Instance, Link]]:
    """A running container, behind a link that can break."""
    kind: Kind = request.param
    async with (
        daemon.client() as own,
        own.instances.temporary("busybox") as box,
        breakable(daemon, kind) as (far, link),
    ):
        yield await far.instances.get(box.name), link


async def cut_when_running(link: Link, channel: int, reset: bool) -> None:
    first = len(link.connections) - 1
    async with asyncio.timeout(20):
        while len(link.connections) < first + 5:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)  # it runs, and has written what it writes first
    link.cut(first + channel, reset)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    ("channel", "command"),
    [
        (STDOUT, ["sh", "-c", "printf early; printf err >&2; sleep 1; printf late"]),
        (STDERR, ["sh", "-c", "printf early; printf err >&2; sleep 1; printf late >&2"]),
        (STDIN, ["sh", "-c", "printf early; printf err >&2; cat"]),
        (CONTROL, ["sh", "-c", "printf early; printf err >&2; exec sleep 20"]),
    ],
)
async def test_a_channel_that_breaks_is_an_error_with_the_output_so_far(
    linked: tuple[Instance, Link], channel: int, command: list[str], reset: bool
) -> None:
    box, link = linked
    if channel == CONTROL and not box._scope.transport.endpoint.host:
        pytest.skip("a unix socket does not tell who ended it, so this looks like a command that was killed")

    async def endless() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    cutting = asyncio.create_task(cut_when_running(link, channel, reset))
    with pytest.raises(IncusConnectionError, match="broke") as caught:
        await box.run(command, input=endless() if channel == STDIN else None)
    await cutting
    assert (caught.value.stdout, caught.value.stderr) == (b"early", b"err")


async def test_input_that_is_cut_off_is_not_taken_for_all_of_it(linked: tuple[Instance, Link]) -> None:
    box, link = linked
    cutting = asyncio.create_task(cut_when_running(link, STDIN, reset=False))
    with pytest.raises(IncusConnectionError, match="the input may not have come whole"):
        await box.run(["sh", "-c", "sleep 1; cat > /root/data"], input=bytes(3_000_000))
    await cutting


@pytest.mark.parametrize("input", [None, bytes(50_000)])
async def test_a_link_of_stdin_that_breaks_when_all_has_arrived_is_no_error(
    linked: tuple[Instance, Link], input: bytes | None
) -> None:
    box, link = linked
    cutting = asyncio.create_task(cut_when_running(link, STDIN, reset=False))
    result = await box.run(["sh", "-c", "cat > /root/data; sleep 1; cat /root/data"], input=input)
    await cutting
    assert (result.returncode, result.stdout) == (0, input or b"")


async def test_a_live_command_gives_out_what_came_then_the_error(linked: tuple[Instance, Link]) -> None:
    box, link = linked
    cutting = asyncio.create_task(cut_when_running(link, STDOUT, reset=False))
    async with box.open_process(["sh", "-c", "echo one; printf tw; sleep 1; echo o"]) as process:
        assert await process.stdout.readline() == b"one\n"
        with pytest.raises(IncusConnectionError, match="the output is not whole") as caught:
            await process.stdout.readline()
        assert caught.value.stdout == b"tw"
        with pytest.raises(IncusConnectionError, match="the output is not whole"):
            await process.wait()
    await cutting


async def test_a_loop_over_outputs_gets_what_came_then_the_error(linked: tuple[Instance, Link]) -> None:
    box, link = linked
    cutting = asyncio.create_task(cut_when_running(link, STDERR, reset=False))
    got: list[tuple[str, bytes]] = []

    async def collect() -> None:
        async with box.open_process(["sh", "-c", "echo one; sleep 1; echo two; echo lost >&2"]) as process:
            async for piece in process.outputs():
                got.append(piece)  # noqa: PERF401

    with pytest.raises(IncusConnectionError, match="the output is not whole"):
        await collect()
    await cutting
    assert got == [("stdout", b"one\n"), ("stdout", b"two\n")]


async def test_a_command_that_is_killed_has_the_code_of_that(client: Client, box: Instance) -> None:
    for _ in range(10):
        assert (await box.run(["sh", "-c", "kill -9 $$"])).returncode == 137


async def test_a_command_that_does_not_want_its_input_is_not_an_error(client: Client, box: Instance) -> None:
    for _ in range(10):
        assert (await box.run(["head", "-c", "1"], input=b"x" * 3_000_000)).stdout == b"x"


async def test_a_silent_link_keeps_nobody_beyond_the_deadline(linked: tuple[Instance, Link]) -> None:
    box, link = linked
    loop = asyncio.get_running_loop()
    for ready in (True, False):  # silent while the command runs, and before it starts
        if not ready:
            link.open.clear()
        begun = loop.time()
        running = asyncio.create_task(box.run(["sh", "-c", "echo early; sleep 60"], timeout=2))
        await asyncio.sleep(1)
        link.open.clear()
        with pytest.raises(IncusTimeoutError) as caught:
            await running
        assert loop.time() - begun < 2 + 1 + 2, "a second, and two for a busy machine"
        assert caught.value.stdout == (b"early\n" if ready else b"")
        link.open.set()


async def test_a_command_whose_websockets_open_too_late_is_begun_again_and_runs_once(
    client: Client, box: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    original = Operation.websocket

    async def slow(operation: Operation, name: str, **how: Any) -> Any:
        opened.append(name)
        if opened.count("1") == 1 and name == "1":
            await asyncio.sleep(6)  # the server waits for five seconds
        return await original(operation, name, **how)

    monkeypatch.setattr(Operation, "websocket", slow)
    assert (await box.run(["sh", "-c", "echo ran >> /root/runs; cat /root/runs"])).stdout == b"ran\n"
    assert opened.count("1") == 2
