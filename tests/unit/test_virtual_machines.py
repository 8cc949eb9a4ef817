"""What the tests' own servers cannot answer, as of virtual machines, played by a server that says what Incus says."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusConnectionError,
    IncusInputError,
    IncusNotFoundError,
    IncusPreconditionError,
    IncusUnsupportedError,
    Instance,
    Progress,
)
from incus_sdk.api._file_verbs import FileVerbs

GUID = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
URL = f"/1.0/instances/v 1/nvram/{GUID}"
NVRAM = f"/1.0/instances/v%201/nvram/{GUID}"
BOOT_ORDER = {
    "attributes": ["NON_VOLATILE", "BOOTSERVICE_ACCESS", "RUNTIME_ACCESS"],
    "binary": "AAABAA==",
    "data": ["Boot0000", "Boot0001"],
}
EXTENSIONS = [
    "instance_console_screenshot",
    "instance_debug_memory",
    "instance_nbd",
    "instance_nvram",
    "instance_nvram_bulk_update",
    "instance_port_forward",
    "instances_debug_repair",
    "storage_volume_nbd",
]


def raw(content: bytes, *headers: str, status: int = 200) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def sync(metadata: Any, *headers: str) -> bytes:
    body = {"type": "sync", "status": "Success", "status_code": 200, "metadata": metadata}
    return raw(json.dumps(body).encode(), "Content-Type: application/json", *headers)


def error(code: int, message: str) -> bytes:
    body = {"type": "error", "error": message, "error_code": code, "metadata": None}
    return raw(json.dumps(body).encode(), "Content-Type: application/json", status=code)


@dataclass
class Server:
    """Answers each request but that for itself by ``answer``; after an upgrade it sends back what it gets."""

    answer: bytes = b""
    extensions: list[str] = field(default_factory=lambda: EXTENSIONS)
    asked: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    got: bytes = b""
    tasks: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        try:
            while lines := (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n"):
                request = lines[0].removesuffix(" HTTP/1.1")
                headers = dict(line.split(": ", 1) for line in lines[1:] if line)
                body = await reader.readexactly(int(headers.get("Content-Length", 0)))
                if request == "GET /1.0":
                    writer.write(sync({"api_extensions": self.extensions}))
                    continue
                self.asked.append(request)
                self.headers, self.body = headers, body
                writer.write(self.answer)
                if "Upgrade" in headers:
                    while received := await reader.read(100_000):
                        if not self.got:
                            writer.write(received)
                        self.got += received
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_unix_server(server.serve, tmp_path / "socket")
    yield server
    listening.close()
    for task in filter(None, server.tasks):
        task.cancel()


@pytest.fixture
async def machine(server: Server, tmp_path: Path) -> AsyncIterator[Instance]:
    client = Client(tmp_path / "socket")
    yield client.instances["v 1"]
    await client.disconnect()


async def listed(box: Instance, recursion: int) -> list[tuple[str, str]]:
    return [(each.guid, each.name) for each in await box.nvram.list(recursion)]


async def listed_below(box: Instance, recursion: int) -> list[str]:
    return [each.name for each in await box.nvram[GUID].list(recursion)]


async def read(box: Instance) -> Any:
    found = await box.nvram[GUID].get("BootOrder")
    return found.data, found.attributes, found.timestamp, found.etag, found.guid, found.name


class Exchange(NamedTuple):
    act: Callable[[Instance], Awaitable[Any]]
    request: str
    answer: bytes
    result: Any = None
    body: Any = None
    headers: Mapping[str, str] = MappingProxyType({})


EXCHANGES: dict[str, Exchange] = {
    "whose variables there are": Exchange(
        lambda box: box.nvram.get_guids(), "GET /1.0/instances/v%201/nvram?recursion=0", sync([URL]), [GUID]
    ),
    "handles on all variables": Exchange(
        lambda box: listed(box, 0),
        "GET /1.0/instances/v%201/nvram?recursion=1",
        sync({GUID: [f"{URL}/BootOrder?project=p"]}),
        [(GUID, "BootOrder")],
    ),
    "all variables": Exchange(
        lambda box: listed(box, 1),
        "GET /1.0/instances/v%201/nvram?recursion=2",
        sync({GUID: {"BootOrder": BOOT_ORDER}}),
        [(GUID, "BootOrder")],
    ),
    "no variables": Exchange(lambda box: listed(box, 2), "GET /1.0/instances/v%201/nvram?recursion=2", sync(None), []),
    "handles on those of a GUID": Exchange(
        lambda box: listed_below(box, 0),
        f"GET {NVRAM}?recursion=0",
        sync([f"{URL}/Boot0000", f"{URL}/BootOrder"]),
        ["Boot0000", "BootOrder"],
    ),
    "those of a GUID": Exchange(
        lambda box: listed_below(box, 1), f"GET {NVRAM}?recursion=1", sync({"BootOrder": BOOT_ORDER}), ["BootOrder"]
    ),
    "a variable": Exchange(
        read,
        f"GET {NVRAM}/BootOrder",
        sync(BOOT_ORDER, "ETag: e1"),
        (["Boot0000", "Boot0001"], BOOT_ORDER["attributes"], None, "e1", GUID, "BootOrder"),
    ),
    "its bytes": Exchange(
        lambda box: box.nvram[GUID]["BootOrder"].read_bytes(),
        f"GET {NVRAM}/BootOrder",
        raw(b"\0\0\1\0", "Content-Type: application/octet-stream", "X-Incus-attributes: 7"),
        b"\0\0\1\0",
        headers={"Accept": "application/octet-stream"},
    ),
    "a variable set": Exchange(
        lambda box: box.nvram[GUID]["Boot/Order"].replace({"attributes": ["NON_VOLATILE"], "data": []}, etag="e1"),
        f"PUT {NVRAM}/Boot%2FOrder",
        sync({}),
        body={"attributes": ["NON_VOLATILE"], "data": []},
        headers={"If-Match": "e1", "Content-Type": "application/json"},
    ),
    "a variable set to bytes": Exchange(
        lambda box: box.nvram[GUID]["db"].write_bytes(
            b"\1", attributes=0x27, timestamp=datetime(2026, 1, 1, tzinfo=UTC)
        ),
        f"PUT {NVRAM}/db",
        sync({}),
        body=b"\1",
        headers={
            "Content-Type": "application/octet-stream",
            "X-Incus-attributes": "39",
            "X-Incus-timestamp": "1767225600",
        },
    ),
    "a variable deleted": Exchange(
        lambda box: box.nvram[GUID]["BootOrder"].delete(), f"DELETE {NVRAM}/BootOrder", sync({})
    ),
    "many variables": Exchange(
        lambda box: box.nvram.patch({GUID: {"Boot0000": None, "BootOrder": {"data": []}}}),
        "PATCH /1.0/instances/v%201/nvram",
        sync({}),
        body={GUID: {"Boot0000": None, "BootOrder": {"data": []}}},
    ),
    "a bitmap": Exchange(
        lambda box: box.create_bitmap("b0", granularity=65536, persistent=True),
        "POST /1.0/instances/v%201/bitmaps",
        sync({}),
        body={"name": "b0", "granularity": 65536, "persistent": True, "disabled": False},
    ),
    "a repair": Exchange(
        lambda box: box.repair("rebuild-nvram"),
        "POST /1.0/instances/v%201/debug/repair",
        sync({}),
        body={"action": "rebuild-nvram"},
    ),
    "a screenshot": Exchange(
        lambda box: box.get_screenshot(),
        "GET /1.0/instances/v%201/console?type=vga",
        raw(b"\x89PNG", "Content-Type: image/png"),
        b"\x89PNG",
    ),
}


@pytest.mark.parametrize("exchange", EXCHANGES.values(), ids=EXCHANGES)
async def test_what_is_asked_of_a_virtual_machine_and_made_of_the_answer(
    exchange: Exchange, server: Server, machine: Instance
) -> None:
    server.answer = exchange.answer
    assert await exchange.act(machine) == exchange.result
    assert server.asked == [exchange.request]
    assert {key: server.headers.get(key) for key in exchange.headers} == exchange.headers
    sent = server.body if isinstance(exchange.body, bytes) else json.loads(server.body or b"null")
    assert sent == exchange.body

    server.extensions = []
    await machine._scope.server(fresh=True)
    with pytest.raises(IncusUnsupportedError):
        await exchange.act(machine)
    assert server.asked == [exchange.request], "nothing is sent that the server does not know"


@pytest.mark.parametrize(
    ("answer", "error_type"),
    [
        (error(412, "ETag doesn't match"), IncusPreconditionError),
        (error(400, "UEFI variables cannot be modified on running VMs"), IncusAPIError),
    ],
)
async def test_a_variable_that_the_server_does_not_change(
    answer: bytes, error_type: type[IncusAPIError], server: Server, machine: Instance
) -> None:
    server.answer = answer
    with pytest.raises(error_type):
        await machine.nvram[GUID]["BootOrder"].replace({"data": []}, etag="e1")
    with pytest.raises(IncusInputError):
        await machine.nvram[GUID]["BootOrder"].write_bytes("text")  # type: ignore[arg-type]
    with pytest.raises(IncusInputError):
        machine.nvram[GUID][""]
    with pytest.raises(IncusInputError):
        machine.nvram[""]


FAILED = b'{"type":"error","status":"","error_code":500,"error":"no more memory","metadata":null}\n'


async def test_a_dump_of_memory_is_a_file_once_it_is_whole(server: Server, machine: Instance, tmp_path: Path) -> None:
    target = tmp_path / "core"
    # As the daemon sends it: the type comes too late for the headers.
    server.answer = raw(b"\x7fELF" * 1000)
    seen: list[Progress] = []
    assert await machine.dump_memory(target, progress=seen.append) == 4000
    assert (seen[-1].stage, seen[-1].processed) == ("download", 4000)
    assert target.read_bytes() == b"\x7fELF" * 1000
    assert server.asked == ["GET /1.0/instances/v%201/debug/memory?format=elf"]
    target.unlink()

    server.answer = raw(b"\x7fELF" * 1000 + FAILED)
    with pytest.raises(IncusAPIError, match="no more memory"):
        await machine.dump_memory(target)
    server.asked.pop()

    server.answer = raw(b"\x7fELF" * 1000).replace(b"4000", b"4001")
    dump = asyncio.create_task(machine.dump_memory(target, format="win-dmp"))
    while len(server.asked) < 2:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    for task in filter(None, server.tasks):
        task.cancel()  # the connection breaks before the last byte
    with pytest.raises(IncusConnectionError):
        await dump
    assert server.asked[1].endswith("?format=win-dmp")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["socket"]


LAST = b"and last" * 1_000_000  # more than goes out at once
CONNECTIONS: dict[str, tuple[Callable[[Instance], Any], str, str, Any]] = {
    "nbd": (lambda box: box.nbd(), "GET /1.0/instances/v%201/nbd", "nbd", None),
    "one more": (lambda box: box.nbd(reuse=True), "GET /1.0/instances/v%201/nbd?reuse=1", "nbd", None),
    "a port": (
        lambda box: box.port_forward(80),
        "POST /1.0/instances/v%201/port-forward",
        "tcp",
        {"address": "127.0.0.1", "port": 80},
    ),
}


@pytest.mark.parametrize(("open", "request_line", "protocol", "body"), CONNECTIONS.values(), ids=CONNECTIONS)
async def test_a_connection_carries_bytes_both_ways_and_is_closed_with_its_block(
    open: Callable[[Instance], Any], request_line: str, protocol: str, body: Any, server: Server, machine: Instance
) -> None:
    server.answer = f"HTTP/1.1 101 X\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n".encode()
    async with open(machine) as (reader, writer):
        writer.write(b"there")
        assert await reader.readexactly(5) == b"there"
        writer.write(LAST)
    assert (server.asked, server.headers["Upgrade"]) == ([request_line], protocol)
    assert json.loads(server.body or b"null") == body
    sent = b"there" + LAST
    async with asyncio.timeout(60):
        while server.got != sent:
            await asyncio.sleep(0)
    assert writer.is_closing()

    server.answer = error(400, "no such thing")
    with pytest.raises(IncusAPIError, match="no such thing"):
        async with open(machine):
            pass
    server.extensions = []
    await machine._scope.server(fresh=True)
    with pytest.raises(IncusUnsupportedError):
        async with open(machine):
            pass


async def test_a_port_inside_is_on_a_local_listener_where_the_server_can_do_that(
    server: Server, machine: Instance
) -> None:
    server.answer = b"HTTP/1.1 101 X\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n"
    with pytest.raises(IncusConnectionError):  # the instance is looked for first
        async with machine.forward(80):
            pass
    server.answer = sync({"name": "v 1"})
    async with machine.forward(80) as address:
        server.answer = b"HTTP/1.1 101 X\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n"
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"there")
        assert await reader.readexactly(5) == b"there"
        writer.close()
    assert json.loads(server.body) == {"address": "127.0.0.1", "port": 80}
    server.extensions = []
    await machine._scope.server(fresh=True)
    with pytest.raises(IncusUnsupportedError, match="instance_port_forward"):
        async with machine.forward(80):
            pass


@pytest.fixture
def _elsewhere() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_elsewhere")
async def test_what_a_head_request_is_answered(server: Server, machine: Instance) -> None:
    """Its answer has the headers of another one's, but never a body, whatever they say."""
    found = ["X-Incus-type: directory", "X-Incus-mode: 0755", "X-Incus-uid: 1", "X-Incus-gid: 2"]
    found += ["X-Incus-modified: 2026-01-01 00:00:00 +0000 UTC", "Content-Type: application/json"]
    server.answer = raw(b"", *found)
    stat = await machine.stat_files("/x")
    assert (stat.type, stat.mode, stat.uid, stat.gid, stat.size, stat.mtime) == (
        "directory",
        0o755,
        1,
        2,
        0,
        1767225600,
    )
    assert server.asked == ["HEAD /1.0/instances/v%201/files?path=%2Fx"]
    server.answer = raw(b"", "Content-Type: application/json", status=404)
    with pytest.raises(IncusNotFoundError):
        await machine.stat_files("/x")
    server.answer = raw(b"", "Content-Type: text/plain", status=404)
    with pytest.raises(IncusAPIError, match="not an answer of Incus") as foreign:
        await machine.stat_files("/x")
    assert not isinstance(foreign.value, IncusNotFoundError)
    server.answer = raw(b"", *found[1:])
    with pytest.raises(IncusConnectionError, match="does not say what /x is"):
        await machine.stat_files("/x")


async def test_files_of_what_newer_servers_alone_let_in(server: Server, machine: Instance) -> None:
    class Volume(FileVerbs):
        _FILES_EXTENSION = "file_storage_volume"

    volume = Volume(machine._scope, ("storage-pools", "p", "volumes", "custom", "v"), {}, loaded=False)
    with pytest.raises(IncusUnsupportedError, match="file_storage_volume"):
        await volume.stat_files("/x")
    assert server.asked == []
