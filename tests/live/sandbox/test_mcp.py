"""The MCP server, as the protocol's own client sees it over stdio."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import mcp
import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client

from incus_sdk import Client, IncusError
from incus_sdk._mcp import Boxes, make_server
from incus_sdk.sandbox import Pool, list_boxes, prune
from incus_sdk.testing import Daemon
from tests.live.sandbox.conftest import LIMITS as SMALL

LIMITS = ("--cpu=0.5", "--memory=64MiB", "--processes=32", "--disk=64MiB", "--unenforced=accept")

ONE_VERSION = pytest.mark.parametrize("daemon", ["6.0.4"], indirect=True)
"""For what does not depend on the server."""


class Agent:
    """The protocol's client of a server of boxes."""

    def __init__(self, client: mcp.Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> Any:
        """What a tool returns, or the text of its error."""
        answer = await self.client.call_tool(tool, arguments)
        if answer.is_error:
            return "".join(each.text for each in answer.content if isinstance(each, mcp.types.TextContent))
        found = answer.structured_content
        assert found is not None
        return found["result"] if found.keys() == {"result"} else found


@contextlib.asynccontextmanager
async def agent(daemon: Daemon, folder: Path, *more: str) -> AsyncGenerator[Agent]:
    """A server in a process of its own; its pid is in a file."""
    program = [sys.executable, "-m", "incus_sdk._mcp", "--server", str(daemon.socket), "--image", "busybox", *LIMITS]
    script = 'echo $$ > "$0/pid"; exec "$@" 2> "$0/errors"'
    parameters = StdioServerParameters(
        command="sh", args=["-c", script, str(folder), *program, *more], env=dict(os.environ)
    )
    async with mcp.Client(stdio_client(parameters)) as client:
        yield Agent(client)
    process = Path("/proc") / (folder / "pid").read_text().strip() / "stat"
    while process.exists() and ") Z " not in process.read_text():  # it has four seconds, and then it is killed
        await asyncio.sleep(0.05)
    assert (folder / "errors").read_text() == ""


async def leaves_nothing(client: Client) -> None:
    """A server that was killed, as it took more than its four seconds to end, has left its boxes to the next one."""
    await prune(client)
    assert await client.instances.list() == []


async def test_what_an_agent_does(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    async with agent(daemon, tmp_path, "--max-output=40", "--boxes=1") as it:
        tools = (await it.client.list_tools()).tools
        assert all(tool.description and tool.description.endswith(".") for tool in tools)
        box = await it.call("create_box")
        assert await it.call("list_boxes") == [box]
        assert "destroy one" in await it.call("create_box")
        assert await it.call("write_file", box=box, path="/srv/www/a", content="hé\n") == "/srv/www/a has 4 bytes"
        assert await it.call("run_command", box=box, command="cat a; echo e >&2; exit 3", cwd="/srv/www") == {
            "exit_code": 3,
            "stdout": "hé\n",
            "stderr": "e\n",
            "note": "",
        }
        kept = await it.call("snapshot", box=box)
        assert (await it.call("run_code", box=box, language="sh", code="echo $((6 * 7)) >> /srv/www/a"))[
            "exit_code"
        ] == 0
        assert await it.call("read_file", box=box, path="/srv/www/a") == "hé\n42\n"
        await it.call("rollback", box=box, snapshot=kept)
        assert await it.call("read_file", box=box, path="/srv/www/a") == "hé\n"
        assert await it.call("list_files", box=box, path="/srv") == ["www/"]
        await it.call("run_command", box=box, command="mkdir /many; cd /many; touch $(seq 1000 1999)")
        many = await it.call("list_files", box=box, path="/many")
        assert (len(many), many[0], many[-1]) == (11, "1000", "[... 990 names left out ...]")
        long = await it.call("run_command", box=box, command="seq 1000")
        assert (
            long["stdout"]
            == "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n[... 3853 characters left out ...]\n96\n997\n998\n999\n1000\n"
        )
        server = "httpd -p 127.0.0.1:8000 -h /srv/www"
        assert (await it.call("run_command", box=box, command=server))["exit_code"] == 0
        url = await it.call("preview", box=box, port=8000)
        assert await it.call("preview", box=box, port=8000) == url
        assert await asyncio.to_thread(lambda: urlopen(f"{url}/a", timeout=60).read()) == "hé\n".encode()
        assert await it.call("destroy_box", box=box) == f"{box} is gone"
        assert await it.call("list_boxes") == []
    await leaves_nothing(client)


@ONE_VERSION
async def test_what_goes_wrong_is_said_in_words(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    async with agent(daemon, tmp_path, "--timeout=1") as it:
        box = await it.call("create_box")
        stuck = await it.call("run_command", box=box, command="echo begun; sleep 1000", timeout=600)
        assert (stuck["exit_code"], stuck["stdout"]) == (None, "begun\n")
        assert "1" in stuck["note"]
        endless = await it.call("run_command", box=box, command="yes")
        assert endless["exit_code"] is None
        assert "characters left out" in endless["stdout"]
        for tool, arguments, said in (
            ("run_command", {"box": "b1", "command": "true"}, f"there is no box 'b1': the boxes are {box}"),
            ("run_command", {"box": box, "command": "true", "timeout": -1}, "timeout must be seconds, not -1"),
            ("run_command", {"box": box, "command": "true", "timeout": "nan"}, "timeout must be seconds, not nan"),
            ("run_command", {"box": box, "command": "true", "cwd": "\0"}, "cwd must be a path"),
            ("run_code", {"box": box, "language": "cobol", "code": ""}, "language must be one of"),
            ("run_code", {"box": box, "language": "python", "code": "1"}, "has no python3"),
            ("read_file", {"box": box, "path": "/nope"}, "/nope"),
            ("read_file", {"box": box, "path": "/dev/zero"}, "/dev/zero"),
            ("rollback", {"box": box, "snapshot": "nope"}, "nope"),
            ("preview", {"box": box, "port": 99999}, "port must be a TCP port"),
            ("destroy_box", {"box": "b1"}, "there is no box 'b1'"),
        ):
            assert said in await it.call(tool, **arguments), tool
        assert (await it.call("run_command", box=box, command="echo here"))["stdout"] == "here\n"
    await leaves_nothing(client)


@ONE_VERSION
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_a_server_that_is_killed_leaves_nothing_that_the_next_one_does_not_remove(
    daemon: Daemon, client: Client, tmp_path: Path, how: signal.Signals
) -> None:
    async with agent(daemon, tmp_path) as it:
        box = await it.call("create_box")
        running = asyncio.ensure_future(it.call("run_command", box=box, command="touch /begun; sleep 1000"))
        while not await client.instances[box].path("/begun").exists():
            assert not running.done()
        os.kill(int((tmp_path / "pid").read_text()), how)
        await asyncio.gather(running, return_exceptions=True)
    if how == signal.SIGKILL:
        assert [each.id for each in await list_boxes(client)] == [box]
        async with agent(daemon, tmp_path) as it:
            assert await it.call("create_box") != box
            assert not await client.instances[box].exists()
    await leaves_nothing(client)


@ONE_VERSION
async def test_a_pool_that_could_not_be_opened_is_opened_for_the_next_box(daemon: Daemon, client: Client) -> None:
    boxes = Boxes(client, Pool(client, "later", size=1, limits=SMALL), most=1, timeout=60, max_output=100)
    image = await client.images.get("busybox")
    try:
        with pytest.raises(IncusError, match="later"):
            await boxes.create_box()
        await client.images.create_alias("later", image.fingerprint)
        box = await boxes.create_box()
        assert (await boxes.run_command(box, "echo here")).stdout == "here\n"
    finally:
        await boxes.close()
        await client.images.delete_alias("later")
    await leaves_nothing(client)


@ONE_VERSION
async def test_a_server_whose_pool_cannot_be_opened_says_so_to_the_agent_alone(
    daemon: Daemon, client: Client, tmp_path: Path
) -> None:
    async with agent(daemon, tmp_path, "--storage=none") as it:
        for _ in range(3):
            assert "Error executing tool create_box" in await it.call("create_box")
    await leaves_nothing(client)


@ONE_VERSION
async def test_a_box_whose_time_was_over_is_no_longer_one(client: Client) -> None:
    boxes = Boxes(client, Pool(client, "busybox", size=0, limits=SMALL), most=1, timeout=60, max_output=100)
    try:
        for _ in range(2):
            box = await boxes.create_box()
            assert await boxes.list_boxes() == [box]
            await client.instances.delete(box, force=True, wait=True)
        assert await boxes.list_boxes() == []
    finally:
        await boxes.close()
    await leaves_nothing(client)


@ONE_VERSION
async def test_a_box_is_destroyed_though_the_agent_no_longer_waits(daemon: Daemon, client: Client) -> None:
    boxes = Boxes(client, Pool(client, "busybox", size=0, limits=SMALL), most=1, timeout=60, max_output=100)
    box = await boxes.create_box()
    destroying = asyncio.ensure_future(boxes.destroy_box(box))
    while await boxes.list_boxes():
        await asyncio.sleep(0)
    destroying.cancel()
    await asyncio.wait([destroying])
    while await client.instances[box].exists():
        pass
    await boxes.close()
    await leaves_nothing(client)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--memory=lots"], "memory must be 4 MiB or more"),
        (["--ttl=0"], "ttl must be"),
        (["--max-output=0"], "max-output must be 2 or more"),
        (["--boxes=0"], "boxes must be 1 or more"),
        (["--timeout=0"], "timeout must be 0.1 or more"),
        (["--label=a"], "unrecognized arguments"),
        (["--network=sandbox0", "--allow=example.org"], "allow takes IPv4 addresses"),
        (["--server=/nope/unix.socket"], "/nope/unix.socket"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "incus_sdk._mcp", "--image=busybox", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ran.returncode, ran.stdout
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_without_mcp_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    with pytest.raises(IncusError, match=r"pip install 'incus-sdk\[mcp\]'"):
        make_server(object.__new__(Boxes))


def test_the_configuration_in_the_guide_is_one() -> None:
    page = (Path(__file__).parents[3] / "docs/guide/sandboxes.md").read_text()
    server = json.loads(page.partition("```json\n")[2].partition("```")[0])["mcpServers"]["boxes"]
    assert server["command"] == "incus-sdk-mcp"
    command = [sys.executable, "-m", "incus_sdk._mcp", *server["args"], "--server=/nope/unix.socket"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert "/nope/unix.socket" in ran.stderr, "the arguments before it are fine"
