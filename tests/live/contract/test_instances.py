"""The documented `InstancesAPI`, method by method, with the traps listed under its table."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import re
import tarfile
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusAuthenticationError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusNotLoadedError,
    IncusOperationError,
    IncusPermissionError,
    Instance,
    InstanceState,
    Operation,
)
from incus_sdk.api.instances import InstancesAPI
from incus_sdk.testing import Daemon
from tests.live.boxes import listening

BUSYBOX = {"type": "image", "alias": "busybox"}
ROOT = {"root": {"type": "disk", "path": "/", "pool": "default"}}

DOCUMENTED = [
    (Client, "__init__(endpoint=None, cert=None, verify=True, project=None, timeout=30)"),
    (Client, "connect()"),
    (Client, "disconnect()"),
    (Client, "get_server_info()"),
    (Client, "get_resources()"),
    (Client, "wait_for_operation(operation_id, timeout=60)"),
    (InstancesAPI, "__init__(client)"),
    (
        InstancesAPI,
        "_state_action(name, action, force=False, stateful=False, timeout=30, wait=False)",
    ),
    (InstancesAPI, "list(recursion=1)"),
    (InstancesAPI, "get(name)"),
    (
        InstancesAPI,
        "create(name, source, config=None, devices=None, profiles=None, ephemeral=False, "
        "instance_type='container', wait=False)",
    ),
    (InstancesAPI, "update(name, config, wait=False)"),
    (InstancesAPI, "delete(name, wait=False)"),
    (InstancesAPI, "start(name, stateful=False, wait=False)"),
    (InstancesAPI, "stop(name, force=False, stateful=False, timeout=30, wait=False)"),
    (InstancesAPI, "restart(name, force=False, timeout=30, wait=False)"),
    (InstancesAPI, "freeze(name, wait=False)"),
    (InstancesAPI, "unfreeze(name, wait=False)"),
    (
        InstancesAPI,
        "execute(name, command, environment=None, wait_for_websocket=False, record_output=False, interactive=False, "
        "width=None, height=None, user=None, group=None, cwd=None, wait=False)",
    ),
    (InstancesAPI, "get_state(name)"),
    (InstancesAPI, "get_logs(name)"),
    (InstancesAPI, "get_files(name, path)"),
    (InstancesAPI, "put_files(name, path, content)"),
]


class Wire:
    """A relay to the daemon's socket that keeps what clients send."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._connections: list[bytearray] = []

    @property
    def requests(self) -> list[tuple[str, Any]]:
        """Each request so far: method and target, and its body out of JSON."""
        found: list[tuple[str, Any]] = []
        for rest in map(bytes, self._connections):
            while rest:
                head, _, rest = rest.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
                body, rest = (rest[: int(length[1])], rest[int(length[1]) :]) if length else (b"", rest)
                found.append((head.partition(b" HTTP/1.1\r\n")[0].decode(), json.loads(body or b"null")))
        return found

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = bytearray()
        self._connections.append(sent)
        answers, daemon = await asyncio.open_unix_connection(self._socket)

        async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter, kept: bytearray | None = None) -> None:
            while data := await source.read(65536):
                if kept is not None:
                    kept += data
                to.write(data)
            to.close()

        await asyncio.gather(pump(reader, daemon, sent), pump(answers, writer))


@pytest.fixture
async def wire(daemon: Daemon, clean: None, tmp_path: Path) -> AsyncIterator[Wire]:
    wire = Wire(daemon.socket)
    async with await asyncio.start_unix_server(wire.relay, tmp_path / "relay"):
        yield wire


@pytest.fixture
async def watched(wire: Wire, tmp_path: Path) -> AsyncIterator[Client]:
    """A client whose requests go over the relay."""
    client = Client(tmp_path / "relay")
    yield client
    await client.disconnect()


@pytest.fixture(scope="module")
async def standing(daemon: Daemon) -> AsyncIterator[str]:
    """The name of a running box that tests look into and do not change."""
    async with daemon.client() as client:
        box = await client.instances.create("standing", BUSYBOX, start=True, wait=True)
        yield box.name
        await box.stop(force=True, wait=True)
        await box.delete(wait=True)


async def output(client: Client, name: str, *command: str, **options: Any) -> str:
    """What a command in a box wrote, without the last newline; the command must succeed."""
    result = await client.instances.execute(name, command, record_output=True, wait=True, **options)
    assert result["metadata"]["return"] == 0, result["metadata"]
    text = result["metadata"]["output"]["stdout"]
    assert isinstance(text, str)
    return text.removesuffix("\n")


# --- the table


@pytest.mark.parametrize(("owner", "documented"), DOCUMENTED, ids=[text for _, text in DOCUMENTED])
def test_a_documented_method_has_exactly_its_signature(owner: type, documented: str) -> None:
    name, _, parameters = documented.rstrip(")").partition("(")
    method = getattr(owner, name)
    expected = inspect.signature(eval(f"lambda self, {parameters}: None")).parameters
    actual = inspect.signature(method).parameters
    assert [(p.name, p.default, p.kind) for p in list(actual.values())[: len(expected)]] == [
        (p.name, p.default, p.kind) for p in expected.values()
    ]
    more = list(actual.values())[len(expected) :]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in more)
    assert name == "__init__" or inspect.iscoroutinefunction(method)


async def test_the_documented_example_runs_as_it_stands(
    daemon: Daemon, clean: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INCUS_SOCKET", str(daemon.socket))
    async with Client() as client:
        instances = await client.instances.list()
        instance = await client.instances.create(
            name="c1", source={"type": "image", "alias": "busybox"},
            config={"limits.cpu": "2"}, devices={"tmp": {"type": "none"}}, profiles=["default"],
            ephemeral=False, instance_type="container", wait=True)  # fmt: skip
        await client.instances.start("c1", wait=True)
        result = await client.instances.execute(
            name="c1", command=["echo", "Hello, World!"], record_output=True, wait=True)  # fmt: skip
        print(result["metadata"]["output"]["stdout"])
        await client.instances.stop("c1", wait=True)
        await client.instances.delete("c1", wait=True)
        assert not await client.instances.exists("c1")
    assert all(isinstance(each, Instance) for each in instances)
    assert isinstance(instance, Instance)
    assert isinstance(result, Operation)
    assert capsys.readouterr().out == "Hello, World!\n\n"


async def test_the_server_tells_about_itself(client: Client) -> None:
    info, resources = await client.get_server_info(), await client.get_resources()
    assert info["metadata"]["api_version"] == info.api_version == "1.0"
    assert info["metadata"]["environment"]["server"] == info.environment.server == "incus"
    assert resources["metadata"]["cpu"]["total"] == resources.cpu.total > 0


async def test_a_client_connects_at_its_first_request_and_again_after_disconnect(daemon: Daemon, clean: None) -> None:
    client = daemon.client()
    assert await client.instances.exists("nothing") is False
    for _ in range(2):
        await client.disconnect()
        await client.connect()
        assert await client.instances.list() == []
    await client.disconnect()


# --- create, list, get, update, delete


async def test_create_returns_the_instance_or_without_wait_the_operation(client: Client, name: str) -> None:
    operation = await client.instances.create(name, BUSYBOX)
    assert isinstance(operation, Operation)
    assert (await operation.wait()).status == "Success"
    first = await client.instances.get(name)
    assert (first.name, first.status, first.type, first.ephemeral) == (name, "Stopped", "container", False)
    await first.delete(wait=True)

    second = await client.instances.create(
        name, BUSYBOX, {"limits.cpu": 1, "user.flag": True}, ROOT, ["default"], True, description="web", wait=True
    )
    assert isinstance(second, Instance)
    assert (second.devices, second.ephemeral, second.description) == (ROOT, True, "web")
    assert (second.config["limits.cpu"], second.config["user.flag"]) == ("1", "true")
    await second.delete(wait=True)


async def test_no_profiles_means_the_default_one_and_an_empty_list_none(client: Client, name: str) -> None:
    for profiles, expected in ((None, ["default"]), (["default"], ["default"]), ([], [])):
        instance = await client.instances.create(name, {"type": "none"}, {}, ROOT, profiles, wait=True)
        assert instance.profiles == expected
        await instance.delete(wait=True)


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ({"source": {"type": "image", "alias": "nope"}}, "Image not provided"),
        ({"profiles": ["nope"]}, 'profile "nope" doesn.t exist'),
        ({"config": {"limits.cpu": "banana"}}, "Invalid CPU limit"),
        ({"devices": {"root": {**ROOT["root"], "pool": "nope"}}}, "Storage pool not found"),
        ({"instance_type": "virtual-machine"}, "doesn.t match instance type"),
        ({"instance_type": "banana"}, "Invalid instance type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_failed_create_raises_the_cause(client: Client, name: str, how: dict[str, Any], cause: str) -> None:
    arguments: dict[str, Any] = {"source": BUSYBOX, **how}
    with pytest.raises(IncusError, match=cause) as raised:
        await client.instances.create(name, wait=True, **arguments)
    assert isinstance(raised.value, IncusOperationError | IncusAPIError)
    assert not isinstance(raised.value, IncusNotFoundError)
    assert not await client.instances.exists(name)


async def test_list_knows_names_records_or_everything_by_its_recursion(client: Client, name: str) -> None:
    instance = await client.instances.create(name, BUSYBOX, {"user.key": "value"}, wait=True)
    await instance.snapshots.create("s0")
    backup = await client.query("POST", f"/1.0/instances/{name}/backups", body={"name": "b0"})
    await backup.wait()

    def this(instances: list[Instance]) -> Instance:
        return next(each for each in instances if each.name == name)

    handle = this(await client.instances.list(recursion=0))
    assert (handle.name, handle.project) == (name, "default")
    with pytest.raises(IncusNotLoadedError):
        _ = handle.config

    for record in (this(await client.instances.list()), this(await client.instances.list(recursion=1))):
        assert (record.status, record.config["user.key"]) == ("Stopped", "value")
        with pytest.raises(IncusNotLoadedError, match="get_state"):
            _ = record.state

    full = this(await client.instances.list(recursion=2))
    assert full.state.status == full["state"]["status"] == full.full.state.status == "Stopped"
    assert [snapshot.name for snapshot in full.full.snapshots] == ["s0"]
    assert [backup.name.rpartition("/")[2] for backup in full.full.backups] == ["b0"]
    assert full.config["user.key"] == "value"
    await instance.delete(wait=True)


async def test_one_list_is_one_request_and_reading_what_it_gave_is_none(
    watched: Client, wire: Wire, standing: str
) -> None:
    for recursion in (0, 1, 2):
        before = len(wire.requests)
        found = await watched.instances.list(recursion)
        for instance in found if recursion == 2 else ():
            _ = instance.state.cpu.usage, instance.full.snapshots, instance.snapshots, dict(instance)
        assert wire.requests[before:] == [(f"GET /1.0/instances?recursion={recursion}", None)]
        assert standing in [instance.name for instance in found]


async def test_a_handle_makes_no_request_and_raises_for_what_was_never_read(client: Client, standing: str) -> None:
    handle = Client("/nowhere/unix.socket").instances[standing]
    assert (handle.name, handle["name"]) == (standing, standing)
    for read in (
        lambda: handle.status, lambda: handle["config"], lambda: handle.state, lambda: handle.full, lambda: dict(handle)
    ):  # fmt: skip
        with pytest.raises(IncusNotLoadedError, match="refresh"):
            read()
    filled = client.instances[standing]
    assert await filled.refresh() is filled
    assert filled.status == filled["status"] == "Running"


async def test_update_changes_what_it_names_and_keeps_the_rest(client: Client, name: str) -> None:
    config = {"user.kept": "1", "user.changed": "1", "user.removed": "1"}
    instance = await client.instances.create(name, BUSYBOX, config, ROOT, ["default"], description="web", wait=True)
    operation = await client.instances.update(
        name, {"config": {"user.changed": 2, "user.removed": None}, "devices": {"tty": {"type": "none"}}}
    )
    assert isinstance(operation, Operation)
    await operation.wait()
    assert (await client.instances.update(name, {"user.dotted": True}, wait=True)).status == "Success"
    await instance.refresh()
    own = {key: value for key, value in instance.config.items() if key.startswith("user.")}
    assert own == {"user.kept": "1", "user.changed": "2", "user.dotted": "true"}
    assert instance.config["image.os"] == "Busybox"
    assert instance.devices == {**ROOT, "tty": {"type": "none"}}
    assert (instance.profiles, instance.description) == (["default"], "web")

    with pytest.raises(IncusInputError, match="colour"):
        await client.instances.update(name, {"colour": "red"})
    with pytest.raises(IncusOperationError, match="Invalid CPU limit"):
        await client.instances.update(name, {"limits.cpu": "banana"}, wait=True)
    assert (await client.instances.get(name))["config"] == instance.config
    await instance.delete(wait=True)


async def test_an_ephemeral_instance_is_gone_when_it_stops(client: Client, name: str) -> None:
    await client.instances.create(name, BUSYBOX, ephemeral=True, start=True, wait=True)
    await client.instances.stop(name, force=True, wait=True)
    assert not await client.instances.exists(name)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get", ()), ("update", ({},)), ("delete", ()), ("start", ()), ("stop", ()), ("restart", ()), ("freeze", ()),
        ("unfreeze", ()), ("execute", (["true"],)), ("get_state", ()), ("get_logs", ()), ("get_files", ("/x",)),
        ("put_files", ("/x", b"")),
    ],
)  # fmt: skip
async def test_every_method_says_that_there_is_no_such_instance(
    client: Client, method: str, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(IncusNotFoundError, match=r"/1\.0/instances/nobody") as raised:
        await getattr(client.instances, method)("nobody", *arguments)
    assert raised.value.status_code == 404
    assert raised.value.response["error_code"] == 404


# --- states


async def test_a_box_goes_through_all_its_states(client: Client, name: str) -> None:
    instances = client.instances

    async def state() -> tuple[str, int]:
        seen = await instances.get_state(name)
        return seen.status, seen.pid

    await instances.create(name, BUSYBOX, wait=True)
    for wait in (True, False):

        async def done(operation: Operation, wait: bool = wait) -> None:
            assert isinstance(operation, Operation)
            assert (operation.status == "Success") or not wait
            assert (await operation.wait()).status == "Success"

        await done(await instances.start(name, wait=wait))
        running, first = await state()
        assert running == "Running"
        await done(await instances.freeze(name, wait=wait))
        assert await state() == ("Frozen", first)
        with pytest.raises(IncusAPIError, match="frozen"):
            await instances.execute(name, ["true"])
        await done(await instances.unfreeze(name, wait=wait))
        assert await state() == ("Running", first)
        await done(await instances.restart(name, force=not wait, wait=wait))
        running, second = await state()
        assert running == "Running"
        assert second != first
        with pytest.raises(IncusAPIError, match="running"):
            await instances.delete(name, wait=wait)
        await listening(instances[name])
        await done(await instances.stop(name, force=not wait, wait=wait))
        assert await state() == ("Stopped", 0)
    await done(await instances.delete(name))
    assert not await instances.exists(name)


async def test_waiting_raises_what_failed_and_not_waiting_leaves_it_to_the_operation(
    client: Client, box: Instance
) -> None:
    async def refused(method: str, cause: str, **how: Any) -> None:
        verb = getattr(client.instances, method)
        with pytest.raises(IncusOperationError, match=cause) as raised:
            await verb(box.name, wait=True, **how)
        assert raised.value.operation_id == raised.value.response["id"]
        assert raised.value.response["status_code"] == 400
        operation = await verb(box.name, **how)
        with pytest.raises(IncusOperationError, match=cause):
            await operation.wait()
        with pytest.raises(IncusOperationError, match=cause):
            await client.wait_for_operation(operation.id)

    await refused("start", "already running")
    await refused("unfreeze", "already running")
    await refused("start", "migration.stateful", stateful=True)
    await refused("stop", "migration.stateful", stateful=True)
    assert (await client.instances.get(box.name)).status == "Running"
    await client.instances.stop(box.name, force=True, wait=True)
    await refused("stop", "already stopped")
    await refused("freeze", "running")


async def test_a_clean_stop_or_restart_that_takes_longer_than_its_timeout_fails_and_the_box_runs_on(
    client: Client, name: str
) -> None:
    deaf = {"raw.lxc": "lxc.signal.halt = SIGWINCH"}  # what its init does not listen to
    await client.instances.create(name, BUSYBOX, deaf, start=True, wait=True)
    pid = (await client.instances.get_state(name)).pid
    for verb in (client.instances.stop, client.instances.restart):
        with pytest.raises(IncusOperationError, match="Failed shutting down") as raised:
            await verb(name, timeout=1, wait=True)
        assert "log" not in str(raised.value)
    assert (await client.instances.get_state(name)).pid == pid
    await client.instances.stop(name, timeout=0, wait=True)  # does not ask
    await client.instances.delete(name, wait=True)


@pytest.mark.parametrize("at_once", [False, True], ids=["start", "create and start"])
async def test_a_failed_start_carries_the_log_and_names_the_cause(client: Client, name: str, at_once: bool) -> None:
    config = {"raw.lxc": "lxc.init.cmd = /no/such/init"}
    failing: Awaitable[object]
    if at_once:
        failing = client.instances.create(name, BUSYBOX, config, start=True, wait=True)
    else:
        await client.instances.create(name, BUSYBOX, config, wait=True)
        failing = client.instances.start(name, wait=True)
    with pytest.raises(IncusOperationError, match='Failed to exec "/no/such/init"') as raised:
        await failing
    assert "Failed to exec" in raised.value.log
    assert len(str(raised.value).splitlines()) == 1
    await client.instances[name].delete(wait=True, force=True)


# --- execute


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0), (["false"], 1), (["sh", "-c", "exit 126"], 126), (["sh", "-c", "exit 127"], 127),
        (["no-such-command"], 127), (["/etc/passwd"], 126), (["sh", "-c", "kill -9 $$"], 137),
        (["sh", "-c", "exit 255"], 255),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)  # fmt: skip
async def test_an_exit_code_is_a_result_and_never_raises(
    client: Client, standing: str, command: list[str], code: int
) -> None:
    for recorded in (False, True):
        result = await client.instances.execute(standing, command, record_output=recorded, wait=True)
        assert result["metadata"]["return"] == result.metadata["return"] == code
    assert set(result["metadata"]["output"]) == {"stdout", "stderr"}


async def test_recorded_output_is_the_text_and_no_file_stays_on_the_server(client: Client, standing: str) -> None:
    script = "printf 'a\\nb é\\377'; head -c 300000 /dev/zero | tr '\\0' x >&2"
    result = await client.instances.execute(standing, ["sh", "-c", script], record_output=True, wait=True)
    assert result["metadata"]["output"] == {"stdout": "a\nb é\ufffd", "stderr": "x" * 300000}
    assert await client.query("GET", f"/1.0/instances/{standing}/logs/exec-output") == []


async def test_without_wait_the_recorded_output_stays_a_file_on_the_server(client: Client, standing: str) -> None:
    operation = await client.instances.execute(standing, ["echo", "hi"], record_output=True)
    await operation.wait()
    files = operation["metadata"]["output"]
    assert [await client.query("GET", files[stream]) for stream in ("1", "2")] == [b"hi\n", b""]
    for file in files.values():
        await client.query("DELETE", file)


async def test_commands_at_the_same_time_get_each_its_own_output(client: Client, standing: str) -> None:
    outputs = await asyncio.gather(*(output(client, standing, "echo", str(number)) for number in range(20)))
    assert outputs == [str(number) for number in range(20)]


@pytest.mark.parametrize(
    ("options", "script", "expected"),
    [
        ({}, "id -u; id -g; pwd", "0\n0\n/root"),
        ({"user": 0, "group": 0}, "id -u; id -g", "0\n0"),
        ({"user": 1000}, "id -u; id -g", "1000\n0"),
        ({"user": 1000, "group": 2000}, "id -u; id -g", "1000\n2000"),
        ({"cwd": "/etc"}, "pwd", "/etc"),
        ({"environment": {"A": "one two", "B": 3}}, 'echo "$A-$B"', "one two-3"),
    ],
    ids=str,
)
async def test_execute_minds_user_group_directory_and_environment(
    client: Client, standing: str, options: dict[str, Any], script: str, expected: str
) -> None:
    assert await output(client, standing, "sh", "-c", script, **options) == expected


async def test_user_and_group_0_are_sent_and_what_was_not_given_is_not(
    watched: Client, wire: Wire, standing: str
) -> None:
    await watched.instances.execute(standing, ["true"], user=0, group=0, wait=True)
    await watched.instances.execute(standing, ["true"], wait=True)
    given, left_out = [body for request, body in wire.requests if request == f"POST /1.0/instances/{standing}/exec"]
    assert (given["user"], given["group"]) == (0, 0)
    assert not {"user", "group", "cwd", "width", "height"} & set(left_out)


async def test_an_interactive_command_has_a_terminal_of_the_given_size(client: Client, standing: str) -> None:
    operation = await client.instances.execute(
        standing, ["stty", "size"], interactive=True, wait_for_websocket=True, width=100, height=30
    )
    terminal, control = await operation.websocket("0"), await operation.websocket("control")
    assert await terminal.receive() == b"30 100\r\n"
    await terminal.close()
    assert (await operation.wait()).metadata["return"] == 0
    await control.close()


async def test_a_box_that_does_not_run_executes_nothing(client: Client, name: str) -> None:
    instance = await client.instances.create(name, BUSYBOX, wait=True)
    with pytest.raises(IncusAPIError, match="not running") as raised:
        await client.instances.execute(name, ["true"], wait=True)
    assert raised.value.status_code == 400
    await instance.delete(wait=True)


# --- what takes longer than the client's timeout


@pytest.mark.parametrize("transport", ["unix", "https"])
async def test_the_clients_timeout_cuts_no_operation(
    daemon: Daemon, wire: Wire, tmp_path: Path, standing: str, transport: str
) -> None:
    client = (
        Client(tmp_path / "relay", timeout=3)
        if transport == "unix"
        else Client(daemon.url, daemon.client_cert, timeout=3, server_cert=daemon.certificate)
    )
    async with client:
        script = "sleep 3.5; echo done"
        operation = await client.instances.execute(standing, ["sleep", "3.5"])
        _, _, result = await asyncio.gather(
            operation.wait(),
            client.wait_for_operation(operation.id),
            client.instances.execute(standing, ["sh", "-c", script], record_output=True, wait=True),
        )
        assert operation.metadata["return"] == 0
        assert result["metadata"]["output"]["stdout"] == "done\n"
    if transport == "unix":  # in rounds, each of which the server itself ends
        waits = [request for request, _ in wire.requests if "/wait?" in request]
        assert len(waits) >= 6
        assert all(request.endswith("/wait?timeout=3") for request in waits)


# --- what is read like a mapping and by attributes


async def test_an_operation_is_read_as_a_mapping_and_by_attributes(client: Client, standing: str) -> None:
    operation = await client.instances.execute(standing, ["true"])
    assert operation["id"] == operation.id == operation.get("id") == dict(operation)["id"]
    assert operation["class"] == operation.class_ == "task"
    assert operation["status_code"] == operation.status_code == 103
    assert "err" in operation
    assert "nothing" not in operation
    assert operation.get("nothing", 5) == 5
    assert operation.created_at is not None
    await operation.wait()
    assert operation.get("metadata") == operation.metadata == {"return": 0}


async def test_a_state_is_read_as_a_mapping_and_by_attributes(client: Client, standing: str) -> None:
    state = await client.instances.get_state(standing)
    assert isinstance(state, InstanceState)
    assert state["status"] == state.status == "Running"
    assert state["cpu"]["usage"] == state.cpu.usage > 0
    assert state["memory"]["usage"] == state.memory.usage > 0
    assert state["network"]["lo"]["addresses"][0]["address"] == state.network["lo"].addresses[0].address == "127.0.0.1"
    assert state.get("pid") == state.pid > 0
    assert (await client.instances[standing].get_state()).pid == state.pid


# --- files and logs


@pytest.mark.parametrize(
    "content", [b"", b"text\n", bytes(range(256)), b"x" * 1_000_000, b'{"type": "error"}'], ids=len
)
async def test_a_file_comes_back_as_it_was_put(client: Client, standing: str, content: bytes) -> None:
    path = "/tmp/a b?c&d=e#f%2F+é"
    answer = await client.instances.put_files(standing, path, content)
    assert (answer["type"], answer["status_code"], answer.status) == ("sync", 200, "Success")
    got = await client.instances.get_files(standing, path)
    assert (type(got), got) == (bytes, content)


async def test_a_file_whose_size_nobody_knows_is_read_to_its_end(client: Client, standing: str) -> None:
    assert (await client.instances.get_files(standing, "/proc/version")).startswith(b"Linux version")


async def test_a_new_file_is_roots_and_a_replaced_one_keeps_mode_and_owner(client: Client, standing: str) -> None:
    path = "/tmp/modes"
    await client.instances.put_files(standing, path, b"a longer first text")
    assert await output(client, standing, "stat", "-c", "%a %u %g", path) == "644 0 0"
    await output(client, standing, "sh", "-c", f"chown 1000:2000 {path}; chmod 751 {path}")
    await client.instances.put_files(standing, path, b"short")
    assert await output(client, standing, "stat", "-c", "%a %u %g %s", path) == "751 1000 2000 5"
    await output(client, standing, "rm", path)


async def test_a_directory_comes_as_a_tar_and_a_link_as_what_it_leads_to(
    client: Client, standing: str, name: str
) -> None:
    root = f"/tmp/{name}"
    await output(
        client,
        standing,
        *("sh", "-c"),
        f"mkdir -p {root}/sub/empty; cd {root}; mkfifo fifo; printf hello >file; "
        "printf run >'sub/a b é'; chmod 4751 'sub/a b é'; "
        f"chown 1000:2000 file; ln -s file link; ln -s ../{name}/link outer; ln -s sub dir; ln -s loop loop",
    )
    for path in (root, f"{root}/"):
        with tarfile.open(fileobj=io.BytesIO(await client.instances.get_files(standing, path))) as tar:
            members = {member.name: member for member in tar}
            contents = {key: file.read() for key in members if members[key].isreg() and (file := tar.extractfile(key))}
        assert contents == {f"{name}/file": b"hello", f"{name}/sub/a b é": b"run"}
        assert {key for key, member in members.items() if member.isdir()} == {
            name, f"{name}/sub", f"{name}/sub/empty"
        }  # fmt: skip
        assert {key for key, member in members.items() if member.issym()} == {
            f"{name}/{link}" for link in ("link", "outer", "dir", "loop")
        }
        assert members[f"{name}/link"].linkname == "file"  # as it is written
        assert members[f"{name}/fifo"].isfifo()
        owned = members[f"{name}/file"]
        assert (owned.uid, owned.gid, owned.mode) == (1000, 2000, 0o644)
        assert members[f"{name}/sub/a b é"].mode & 0o777 == 0o751
        assert owned.mtime > 1_700_000_000
    for link in ("link", "outer"):
        assert await client.instances.get_files(standing, f"{root}/{link}") == b"hello"
    assert tarfile.is_tarfile(io.BytesIO(await client.instances.get_files(standing, f"{root}/dir")))
    with pytest.raises(IncusError, match="links"):
        await client.instances.get_files(standing, f"{root}/loop")
    await output(client, standing, "rm", "-r", root)


async def test_a_file_that_is_not_there_is_not_found(client: Client, standing: str) -> None:
    with pytest.raises(IncusNotFoundError):
        await client.instances.get_files(standing, "/no/such/file")
    with pytest.raises(IncusNotFoundError):
        await client.instances.put_files(standing, "/no/such/directory/file", b"x")
    with pytest.raises(IncusAPIError, match="directory"):
        await client.instances.put_files(standing, "/etc", b"x")


async def test_logs_are_texts_by_the_name_of_their_file(client: Client, standing: str) -> None:
    logs = await client.instances.get_logs(standing)
    assert "lxc.log" in logs
    assert all(isinstance(text, str) for text in logs.values())
    raw = await client.query("GET", f"/1.0/instances/{standing}/logs/lxc.log")
    assert logs["lxc.log"]
    assert raw.decode().startswith(logs["lxc.log"])  # a running box may have logged more meanwhile


# --- snapshots


async def test_a_snapshot_is_taken_restored_renamed_changed_and_deleted(client: Client, box: Instance) -> None:
    await client.instances.put_files(box.name, "/root/file", b"before")
    snapshot = await box.snapshots.create("first", expires_at="2099-01-01T00:00:00Z")
    assert (snapshot.name, snapshot.stateful) == ("first", False)
    assert snapshot.expires_at is not None
    assert snapshot.expires_at.year == 2099
    await client.instances.put_files(box.name, "/root/file", b"after")
    await client.instances[box.name].snapshots["first"].restore()
    assert await client.instances.get_files(box.name, "/root/file") == b"before"
    assert (await client.instances.get(box.name)).status == "Running"

    await box.snapshots.rename("first", "second-é%")
    await box.snapshots.update("second-é%", {"expires_at": "2100-01-01T00:00:00Z"})
    assert [each.name for each in await box.snapshots.list()] == ["second-é%"]
    assert [each.name for each in await box.snapshots.list(recursion=0)] == ["second-é%"]
    assert (await box.snapshots.get("second-é%"))["expires_at"] == "2100-01-01T00:00:00Z"
    await box.snapshots.delete("second-é%")
    assert not await box.snapshots.exists("second-é%")
    with pytest.raises(IncusOperationError, match="does not exist"):
        await box.snapshots["second-é%"].restore()
    with pytest.raises(IncusError, match=r"migration\.stateful"):
        await box.snapshots.create("live", stateful=True)


# --- errors


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (IncusAPIError, IncusError), (IncusNotFoundError, IncusAPIError), (IncusAuthenticationError, IncusAPIError),
        (IncusPermissionError, IncusAPIError), (IncusConnectionError, IncusError), (IncusOperationError, IncusError),
    ],
    ids=lambda kind: kind.__name__,
)  # fmt: skip
def test_the_documented_errors_are_one_tree(error: type[Exception], parent: type[Exception]) -> None:
    assert error.__mro__[1] is parent


async def test_an_untrusted_client_is_told_so_and_a_missing_socket_is_named(daemon: Daemon, clean: None) -> None:
    async with Client(daemon.url, server_cert=daemon.certificate) as stranger:
        with pytest.raises(IncusPermissionError) as refused:
            await stranger.instances.list()
    assert (refused.value.status_code, refused.value.response["type"]) == (403, "error")
    with pytest.raises(IncusConnectionError, match=r"/nowhere/unix\.socket") as unreachable:
        async with Client("/nowhere/unix.socket"):
            pass
    assert isinstance(unreachable.value.cause, FileNotFoundError)


async def test_a_group_can_be_constructed_from_a_client(client: Client, name: str) -> None:
    instances = InstancesAPI(client)
    created = await instances.create(name, {"type": "none"}, wait=True)
    assert name in [each.name for each in await instances.list()]
    elsewhere = InstancesAPI(client.use_project("default"))
    assert await elsewhere.exists(name)
    await created.delete(wait=True)
    for wrong in (None, "https://host", client.instances.list):
        with pytest.raises(IncusInputError, match="InstancesAPI needs a Client, not"):
            InstancesAPI(wrong)  # type: ignore[arg-type]


async def test_the_documented_state_action_does_each_action(client: Client, box: Instance) -> None:
    instances = client.instances
    for action, status in (("freeze", "Frozen"), ("unfreeze", "Running"), ("restart", "Running"), ("stop", "Stopped")):
        force = action in ("restart", "stop")
        operation = await instances._state_action(box.name, action, force=force, wait=True)  # type: ignore[arg-type]
        assert (operation.status, (await instances.get(box.name)).status) == ("Success", status)
    begun = await instances._state_action(box.name, "start")
    assert (await client.wait_for_operation(begun["metadata"]["id"])).status == "Success"
    with pytest.raises(IncusInputError, match="action must be one of start, stop, restart, freeze, unfreeze"):
        await instances._state_action(box.name, "pause")  # type: ignore[arg-type]
