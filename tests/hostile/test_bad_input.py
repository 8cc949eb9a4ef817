"""Bad input: a clear error that names it, before anything is sent."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest

from incus_sdk import (
    Client,
    IncusInputError,
)
from incus_sdk._connection import wire
from incus_sdk._connection.endpoint import Endpoint
from incus_sdk._connection.scope import Scope
from incus_sdk._connection.transport import Body, Headers, Response, Stream, Transport, WebSocket
from incus_sdk.simplestreams import SimpleStreams

Call = Callable[[Client, Any], Any]


class Sent(Exception):
    """Something was sent."""


class Spy(Transport):
    """A transport that notes what it is to send, and sends nothing."""

    def __init__(self) -> None:
        super().__init__(Endpoint(socket="/nowhere"))
        self.sent: list[tuple[str, str, Body]] = []

    async def request(
        self, method: str, target: str, *, body: Body = None, headers: Headers | None = None, wait: bool | float = False
    ) -> Response:
        self.sent.append((method, target, body))
        raise Sent

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, target: str, *, body: Body = None, headers: Headers | None = None, wait: bool | float = False
    ) -> AsyncGenerator[Stream]:
        yield await self.request(method, target, body=body)  # type: ignore[misc]

    async def websocket(self, target: str, *, pong: bool = True) -> WebSocket:
        self.sent.append(("websocket", target, None))
        raise Sent

    async def upgrade(
        self, method: str, target: str, protocol: str, *, body: bytes = b"", headers: Headers | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.sent.append((method, target, body))
        raise Sent


def spied() -> tuple[Client, Spy]:
    spy, client = Spy(), Client("/nowhere")
    client._scope = Scope(spy)
    return client, spy


async def made(call: Call, client: Client, argument: Any) -> Any:
    """The call made, whichever way it is one: a coroutine, an async context manager, or done at once."""
    result = call(client, argument)
    if inspect.isawaitable(result):
        return await result
    if hasattr(result, "__aenter__"):
        async with result:
            pass
    return result


BUSYBOX = {"type": "image", "alias": "busybox"}

NAMED: dict[str, Call] = {
    "instances[]": lambda c, name: c.instances[name],
    "instances.get": lambda c, name: c.instances.get(name),
    "instances.exists": lambda c, name: c.instances.exists(name),
    "instances.create": lambda c, name: c.instances.create(name, BUSYBOX, wait=True),
    "instances.update": lambda c, name: c.instances.update(name, {"description": "x"}),
    "instances.replace": lambda c, name: c.instances.replace(name, {}),
    "instances.patch": lambda c, name: c.instances.patch(name, {}),
    "instances.rename": lambda c, name: c.instances.rename(name, "other"),
    "instances.rename to": lambda c, name: c.instances.rename("other", name),
    "instances.delete": lambda c, name: c.instances.delete(name),
    "instances.start": lambda c, name: c.instances.start(name, wait=True),
    "instances.stop": lambda c, name: c.instances.stop(name),
    "instances.restart": lambda c, name: c.instances.restart(name),
    "instances.freeze": lambda c, name: c.instances.freeze(name),
    "instances.unfreeze": lambda c, name: c.instances.unfreeze(name),
    "instances.execute": lambda c, name: c.instances.execute(name, ["true"], wait=True),
    "instances.get_state": lambda c, name: c.instances.get_state(name),
    "instances.get_logs": lambda c, name: c.instances.get_logs(name),
    "instances.get_files": lambda c, name: c.instances.get_files(name, "/x"),
    "instances.put_files": lambda c, name: c.instances.put_files(name, "/x", b""),
    "instances.editing": lambda c, name: c.instances[name].editing(),
    "snapshots.list": lambda c, name: c.instances[name].snapshots.list(),
    "snapshots.create": lambda c, name: c.instances["c1"].snapshots.create(name),
    "snapshots.delete": lambda c, name: c.instances["c1"].snapshots.delete(name),
    "snapshots.restore": lambda c, name: c.instances["c1"].snapshots[name].restore(),
    "snapshots.rename to": lambda c, name: c.instances["c1"].snapshots.rename("s0", name),
    "images.get": lambda c, name: c.images.get(name),
    "images.update": lambda c, name: c.images.update(name, {"public": True}),
    "images.delete": lambda c, name: c.images.delete(name),
    "images.export": lambda c, name: c.images.export(name, os.devnull),
    "images.create_alias": lambda c, name: c.images.create_alias(name, "f"),
    "images.get_alias": lambda c, name: c.images.get_alias(name),
    "images.update_alias": lambda c, name: c.images.update_alias(name, "f"),
    "images.delete_alias": lambda c, name: c.images.delete_alias(name),
    "networks.get": lambda c, name: c.networks.get(name),
    "networks.create": lambda c, name: c.networks.create(name, {"ipv4.address": "none"}),
    "networks.update": lambda c, name: c.networks.update(name, {"description": "x"}),
    "networks.replace": lambda c, name: c.networks.replace(name, {}),
    "networks.rename to": lambda c, name: c.networks.rename("n0", name),
    "networks.delete": lambda c, name: c.networks.delete(name),
    "networks.state": lambda c, name: c.networks.state(name),
    "forwards.list": lambda c, name: c.networks[name].forwards.list(),
    "forwards.create": lambda c, name: c.networks["n0"].forwards.create(name),
    "forwards.delete": lambda c, name: c.networks["n0"].forwards.delete(name),
    "profiles.get": lambda c, name: c.profiles.get(name),
    "profiles.create": lambda c, name: c.profiles.create(name),
    "profiles.update": lambda c, name: c.profiles.update(name, {"description": "x"}),
    "profiles.replace": lambda c, name: c.profiles.replace(name, {}),
    "profiles.rename to": lambda c, name: c.profiles.rename("p0", name),
    "profiles.delete": lambda c, name: c.profiles.delete(name),
    "storage_pools.get": lambda c, name: c.storage_pools.get(name),
    "storage_pools.create": lambda c, name: c.storage_pools.create(name, "dir"),
    "storage_pools.update": lambda c, name: c.storage_pools.update(name, {"description": "x"}),
    "storage_pools.replace": lambda c, name: c.storage_pools.replace(name, {}),
    "storage_pools.delete": lambda c, name: c.storage_pools.delete(name),
    "storage_pools.list_volumes": lambda c, name: c.storage_pools.list_volumes(name),
    "storage_pools.get_volume": lambda c, name: c.storage_pools.get_volume("default", name),
    "storage_pools.get_volume in": lambda c, name: c.storage_pools.get_volume(name, "v"),
    "storage_pools.create_volume": lambda c, name: c.storage_pools.create_volume("default", name),
    "storage_pools.update_volume": lambda c, name: c.storage_pools.update_volume("default", name, "custom", {}),
    "storage_pools.replace_volume": lambda c, name: c.storage_pools.replace_volume("default", name, "custom", {}),
    "storage_pools.delete_volume": lambda c, name: c.storage_pools.delete_volume("default", name),
    "storage_pools.rename_volume": lambda c, name: c.storage_pools.rename_volume("default", name, "custom", "w"),
    "storage_pools.rename_volume to": lambda c, name: c.storage_pools.rename_volume("default", "v", "custom", name),
    "volume snapshots.create": lambda c, name: c.storage_pools["default"].volumes["custom/v"].snapshots.create(name),
    "volume snapshots.delete": lambda c, name: c.storage_pools["default"].volumes["custom/v"].snapshots.delete(name),
    "certificates.get": lambda c, name: c.certificates.get(name),
    "certificates.create_token": lambda c, name: c.certificates.create_token(name),
    "certificates.update": lambda c, name: c.certificates.update(name, {"name": "x"}),
    "certificates.delete": lambda c, name: c.certificates.delete(name),
    "operations.get": lambda c, name: c.operations.get(name),
    "operations.wait": lambda c, name: c.operations.wait(name),
    "operations.cancel": lambda c, name: c.operations.cancel(name),
    "operations.delete": lambda c, name: c.operations.delete(name),
    "wait_for_operation": lambda c, name: c.wait_for_operation(name),
    "projects.get": lambda c, name: c.projects.get(name),
    "projects.create": lambda c, name: c.projects.create(name),
    "projects.update": lambda c, name: c.projects.update(name, {"description": "x"}),
    "projects.replace": lambda c, name: c.projects.replace(name, {}),
    "projects.rename to": lambda c, name: c.projects.rename("p0", name),
    "projects.delete": lambda c, name: c.projects.delete(name),
    "projects.state": lambda c, name: c.projects.state(name),
    "cluster.get_member": lambda c, name: c.cluster.get_member(name),
    "cluster.add_member": lambda c, name: c.cluster.add_member(name),
    "cluster.update_member": lambda c, name: c.cluster.update_member(name, {"description": "x"}),
    "cluster.rename_member to": lambda c, name: c.cluster.rename_member("m0", name),
    "cluster.delete_member": lambda c, name: c.cluster.delete_member(name),
}
"""Everything that takes a name, by what it is called."""


NAMED_BY_THE_SERVER = ("instances.create", "snapshots.create", "volume snapshots.create")
"""What picks a name for None."""


@pytest.mark.parametrize("name", ["", ".", "..", "a\ud800b", None, 5, True, b"c1", ["c1"]], ids=ascii)
@pytest.mark.parametrize("call", NAMED)
async def test_what_is_no_name_is_refused_and_nothing_is_sent(call: str, name: Any) -> None:
    client, spy = spied()
    if name is None and call in NAMED_BY_THE_SERVER:
        with pytest.raises(Sent):
            await made(NAMED[call], client, name)
        return
    with pytest.raises(IncusInputError, match=r"is not a name|must be a str|named by its type and name"):
        await made(NAMED[call], client, name)
    assert spy.sent == []


@pytest.mark.parametrize("name", ["..%2Fprofiles", "a?project=other&b#c", "a%b +c", "-é;=~:"])
@pytest.mark.parametrize("call", [call for call in NAMED if call != "instances[]"])
async def test_a_hostile_name_goes_out_as_that_name_and_nothing_else(call: str, name: str) -> None:
    client, spy = spied()
    if call in ("certificates.get", "certificates.update", "certificates.delete") and "%" in name:
        with pytest.raises(IncusInputError, match="is no fingerprint"):
            await made(NAMED[call], client, name)
        assert spy.sent == []
        return
    with pytest.raises(Sent):
        await made(NAMED[call], client, name)
    [(_, target, body)] = spy.sent
    path, _, query = target.partition("?")
    assert not set(query.split("&")) & {"project=other", "b"}
    assert isinstance(body, bytes | None)
    named = json.loads(body) if body else {}
    segments = wire.names(path)
    if call.startswith("snapshots.") and segments[-1] != "snapshots":
        segments[-1] = unquote(segments[-1])  # the server unquotes this one twice
    assert name in [*segments, *(value for value in named.values() if isinstance(value, str))]


@pytest.mark.parametrize("view", [lambda c, name: c.use_project(name), lambda c, name: c.use_target(name)])
@pytest.mark.parametrize("name", ["", 5, b"p", ["p"]])
def test_a_view_needs_a_name(view: Call, name: Any) -> None:
    client, _ = spied()
    with pytest.raises(IncusInputError, match="must be a name"):
        view(client, name)


ENDLESS: dict[str, Any] = {}
ENDLESS["x"] = ENDLESS

BAD: dict[str, tuple[Call, list[Any], str]] = {
    "config": (
        lambda c, bad: c.instances.create("c1", BUSYBOX, config=bad, wait=True),
        ["limits.cpu=2", ["a"], 5, {"a": 1.5}, {"a": {"b": "c"}}, {"a": ["b"]}, {5: "a"}, {"": "a"}, {"a": b"b"}],
        "config",
    ),
    "devices": (
        lambda c, bad: c.instances.create("c1", BUSYBOX, devices=bad),
        ["eth0", [{"type": "nic"}], 5, {"eth0": "nic"}, {"eth0": {"mtu": 1.5}}, {"eth0": [1]}, {"eth0": {5: "x"}}],
        "devices",
    ),
    "profiles": (
        lambda c, bad: c.instances.create("c1", BUSYBOX, profiles=bad),
        ["default", 5, [5], [None], [["default"]], b"default", [b"default"], {"default": {}}, True],
        "profiles",
    ),
    "source": (
        lambda c, bad: c.instances.create("c1", bad),
        ["", 5, None, [BUSYBOX], b"x", {"type": {1, 2}}, {"type": b"image"}],
        "source|JSON",
    ),
    "command": (
        lambda c, bad: c.instances.execute("c1", bad),
        ["ls -l", b"ls", [], (), None, 5, [5], ["ls", None], [b"ls"], [["ls"]], {"ls": 1}, True],
        "command",
    ),
    "environment": (
        lambda c, bad: c.instances.execute("c1", ["ls"], environment=bad),
        ["A=b", 5, {"A": 1.5}, {5: "x"}, {"": "x"}, {"A": ["b"]}, {"A": b"b"}, {"A=B": "x"}, {"A": "\0"}, {"\0": "x"}],
        "environment",
    ),
    "env": (lambda c, bad: c.instances["c1"].run(["ls"], env=bad), [{"A=B": "x"}, {"A": "\0"}, {"\0": "x"}], "env"),
    "user": (
        lambda c, bad: c.instances.execute("c1", ["ls"], user=bad),
        ["root", -1, 2**32 - 1, 1.5, True],
        "user must be",
    ),
    "group of a command": (
        lambda c, bad: c.instances["c1"].run(["ls"], group=bad),
        [-1, 2**32 - 1, 1.5],
        "group must be",
    ),
    "size": (
        lambda c, bad: c.instances.execute("c1", ["ls"], interactive=True, width=bad),
        [0, -1, 2**16, "80", 1.5],
        "columns",
    ),
    "size of a process": (
        lambda c, bad: c.instances["c1"].open_process(["ls"], pty=True, height=bad),
        [0, -1, 2**16, "80", 1.5, None],
        "columns",
    ),
    "size of a console": (lambda c, bad: c.instances["c1"].console(width=bad), [0, -1, "80", None], "columns"),
    "output": (lambda c, bad: c.instances["c1"].run(["ls"], max_output=bad), [-1, "1", 1.5, True], "max_output"),
    "cwd": (lambda c, bad: c.instances["c1"].run(["ls"], cwd=bad), [5, b"/", "/a\0b"], "cwd must be"),
    "cwd of a command": (lambda c, bad: c.instances.execute("c1", ["ls"], cwd=bad), [5, b"/", "/a\0b"], "cwd must be"),
    "encoding": (lambda c, bad: c.instances["c1"].run(["ls"], encoding=bad), ["nope", "hex", "\0", None], "encoding"),
    "input": (lambda c, bad: c.instances["c1"].run(["ls"], input=bad), ["\udc80", bytearray(b"x"), 5], "input"),
    "timeout": (
        lambda c, bad: c.instances["c1"].run(["ls"], timeout=bad),
        ["1", float("nan"), True],
        "timeout must be",
    ),
    "grace": (lambda c, bad: c.instances["c1"].run(["ls"], grace=bad), ["1", float("nan"), True], "grace must be"),
    "time to wait": (
        lambda c, bad: c.instances["c1"].wait_for("running", timeout=bad),
        ["1", float("nan"), True],
        "timeout must be",
    ),
    "time to wait for an address": (
        lambda c, bad: c.instances["c1"].wait_for_address(timeout=bad),
        ["1", float("nan"), True],
        "timeout must be",
    ),
    "time to wait for a server": (
        lambda c, bad: c.server.wait_ready(bad),
        ["1", float("nan"), True],
        "timeout must be",
    ),
    "time of a clean stop": (
        lambda c, bad: c.instances.stop("c1", timeout=bad),
        ["30", 2.5, float("nan"), True, -2, None],
        "timeout must be a whole number",
    ),
    "time of a clean restart": (
        lambda c, bad: c.instances["c1"].restart(timeout=bad),
        ["30", 2.5, True, -2],
        "timeout must be a whole number",
    ),
    "time of all clean stops": (
        lambda c, bad: c.instances.change_state("stop", timeout=bad),
        ["30", 2.5, True, -2],
        "timeout must be a whole number",
    ),
    "time of a client": (lambda c, bad: Client("/nowhere", timeout=bad), ["1", float("nan"), True], "timeout must be"),
    "time of a server of images": (
        lambda c, bad: SimpleStreams("https://images.example", timeout=bad),
        ["1", float("nan"), True],
        "timeout must be",
    ),
    "mode of a written file": (
        lambda c, bad: c.instances["c1"].path("/x").write_bytes(b"", mode=bad),
        [-1, 0o10000, "755", True],
        "mode must be",
    ),
    "owner of a written file": (
        lambda c, bad: c.instances["c1"].path("/x").write_bytes(b"", uid=bad),
        [-1, 2**32 - 1, "root"],
        "uid must be",
    ),
    "mode of a directory": (
        lambda c, bad: c.instances["c1"].path("/x").mkdir(bad),
        [-1, 0o10000, "755", True],
        "mode must be",
    ),
    "group of a directory": (
        lambda c, bad: c.instances["c1"].path("/x").mkdir(gid=bad),
        [-1, 2**32 - 1, "root"],
        "gid must be",
    ),
    "chmod": (lambda c, bad: c.instances["c1"].path("/x").chmod(bad), [-1, 0o10000, "755", True], "mode must be"),
    "chown": (lambda c, bad: c.instances["c1"].path("/x").chown(bad), [-1, 2**32 - 1, "root"], "uid must be"),
    "mode of a file": (
        lambda c, bad: c.instances["c1"].put_files("/x", b"", mode=bad),
        [-1, 0o10000, "755", True],
        "mode must be",
    ),
    "owner of a file": (
        lambda c, bad: c.instances["c1"].put_files("/x", b"", uid=bad),
        [-1, 2**32 - 1, "root"],
        "uid must be",
    ),
    "end of a snapshot": (
        lambda c, bad: c.instances["c1"].snapshots.create("s1", expires_at=bad),
        [timedelta.max, 5, ""],
        "expires_at must be",
    ),
    "signal": (
        lambda c, bad: c.instances["c1"].open_process(["ls"]).send_signal(bad),
        ["KILL", 65, -1, None, True, 1.5],
        "signal must be",
    ),
    "recursion": (lambda c, bad: c.instances.list(bad), ["x", None, -1, 1.5, [1], True], "recursion"),
    "recursion of volumes": (lambda c, bad: c.storage_pools["x"].volumes.list(bad), ["custom", None], "recursion"),
    "recursion of operations": (lambda c, bad: c.operations.list(bad), ["x", None], "recursion"),
    "aliases": (lambda c, bad: c.images.create_push_secret("0" * 64, aliases=bad), ["x", ["x"], [{}], 5], "aliases"),
    "update": (
        lambda c, bad: c.instances.update("c1", bad),
        [
            "x",
            None,
            5,
            ["x"],
            {"config": "x"},
            {"config": {"a": 1.5}},
            {"devices": {"a": "b"}},
            {"limits.cpu": 1.5},
            {5: "x"},
        ],
        "mapping|config|devices|names of fields",
    ),
    "profile": (
        lambda c, bad: c.profiles.create("p", **bad),
        [{"config": "x"}, {"config": {"a": 1.5}}, {"devices": {"a": 5}}],
        "config|devices",
    ),
    "replace": (lambda c, bad: c.profiles.replace("p", bad), ["x", None, 5, ["x"], {"config": []}], "mapping"),
    "content": (lambda c, bad: c.instances.put_files("c1", "/x", bad), ["x", None, 5, ["x"]], "content must be bytes"),
    "path": (lambda c, bad: c.instances.get_files("c1", bad), ["", "//", "a\0b", None, 5, b"/x"], "path must be"),
    "event types": (lambda c, bad: c.events.listen(types=bad), ["lifecycle", ["lifecycles"], [5], [["x"]], 5], "types"),
    "method": (lambda c, bad: c.query(bad, "/1.0"), ["", "GET /1.0", "GET\r\n", None, 5, "É"], "method"),
    "query path": (
        lambda c, bad: c.query("GET", bad),
        ["", "1.0", "/1.0/a b", "/1.0/é", "/1.0/a\r\nb", None, 5],
        "path",
    ),
    "body": (lambda c, bad: c.query("POST", "/1.0/x", body=bad), [{1, 2}, object(), ENDLESS, float("nan")], "JSON"),
    "filter": (lambda c, bad: c.instances.list(filter=bad), ["name eq \ud800"], "UTF-8"),
    "filter of another type": (
        lambda c, bad: c.instances.list(filter=bad),
        [{"status": "Running"}, ["name eq x"], 5],
        "filter must be a condition",
    ),
    "query": (
        lambda c, bad: c.query("GET", "/1.0", query={"odd": bad}),
        [object(), 1.5, ["x"], b"x", {}],
        "the query's odd must be",
    ),
    "a word of a command": (
        lambda c, bad: c.instances.execute("c1", ["sleep", bad]),
        [5, None, b"x"],
        "must be a list of str, and has a value of type",
    ),
    "certificate": (lambda c, bad: c.certificates.create(bad), ["", "hello!", None, 5, b"x", "é"], "certificate"),
    "projects": (
        lambda c, bad: c.certificates.create_token("x", projects=bad),
        ["dev", 5, [5], {"dev": 1}],
        "projects",
    ),
    "image": (lambda c, bad: c.images.create(bad), ["x", None, 5, {"a": "b"}, ["x"]], "image_data"),
    "recorded and live": (
        lambda c, bad: c.instances.execute("c1", ["ls"], record_output=True, **bad),
        [{"interactive": True}, {"wait_for_websocket": True}],
        "record_output",
    ),
    "waited for and live": (
        lambda c, bad: c.instances.execute("c1", ["ls"], wait=True, **bad),
        [{"wait_for_websocket": True}],
        "wait_for_websocket",
    ),
}
"""What takes more than a name, with what it cannot take, and the word that says what was wrong."""


@pytest.mark.parametrize(("what", "bad"), [(what, bad) for what, (_, cases, _) in BAD.items() for bad in cases])
async def test_bad_input_is_refused_by_its_name_and_nothing_is_sent(what: str, bad: Any) -> None:
    call, _, word = BAD[what]
    client, spy = spied()
    with pytest.raises(IncusInputError, match=word) as caught:
        await made(call, client, bad)
    assert spy.sent == []
    assert "\n" not in str(caught.value)


async def test_the_spy_sees_what_is_sent() -> None:
    good: dict[str, Any] = {
        "config": {"limits.cpu": 2, "a": True, "b": None},
        "devices": {"eth0": {"type": "nic"}},
        "profiles": ("default",),
        "source": BUSYBOX,
        "command": (word for word in ["ls", "-l"]),
        "environment": {"A": 5},
    }
    for what, value in good.items():
        client, spy = spied()
        with pytest.raises(Sent):
            await made(BAD[what][0], client, value)
        [(method, _, body)] = spy.sent
        assert method == "POST"
        assert isinstance(body, bytes)
        if what == "command":
            assert json.loads(body)["command"] == ["ls", "-l"]
