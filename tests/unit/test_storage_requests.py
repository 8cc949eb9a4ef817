"""What requests for volumes, buckets and backups say where no server of ours shows it, and streams that are cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import Client, IncusConnectionError, IncusInputError, IncusOperationError, Progress
from incus_sdk._connection.transport import Response, Transport
from incus_sdk.api._bodies import expiry, overrides
from incus_sdk.api.buckets import Bucket
from incus_sdk.api.storage import Volume

EXTENSIONS = ["storage_volume_nbd", "direct_backup", "backup_s3_upload"]
VOLUME = "/1.0/storage-pools/p%201/volumes/virtual-machine/v%201"
BUCKET = "/1.0/storage-pools/p%201/buckets/b1"
BITMAP = {
    "name": "m/1",
    "granularity": 65536,
    "count": 0,
    "recording": True,
    "busy": False,
    "persistent": False,
    "inconsistent": False,
}
DONE = {"id": "5f2c", "class": "task", "status": "Success", "status_code": 200, "resources": {}, "metadata": None}


async def renamed(bucket: Bucket) -> str:
    return (await bucket.backups.rename("b 0", "new")).name


async def bitmaps(volume: Volume, recursion: int) -> list[tuple[str, int | None]]:
    listed = await volume.bitmaps.list(recursion)
    return [(each.name, each.granularity if recursion else None) for each in listed]


async def bitmap(volume: Volume) -> tuple[int, bool]:
    made = await volume.bitmaps.create("m/1", granularity=65536)
    return made.granularity, made.recording


EXCHANGES: dict[str, tuple[Callable[[Any], Awaitable[Any]], list[tuple[str, str, Any, Any]], Any]] = {
    "bitmaps": (
        lambda volume: bitmaps(volume, 1),
        [("GET", f"{VOLUME}/bitmaps?recursion=1", None, [BITMAP])],
        [("m/1", 65536)],
    ),
    "handles on bitmaps": (
        lambda volume: bitmaps(volume, 0),
        [("GET", f"{VOLUME}/bitmaps?recursion=0", None, [f"{VOLUME}/bitmaps/m%2F1"])],
        [("m/1", None)],
    ),
    "no bitmaps": (lambda volume: bitmaps(volume, 1), [("GET", f"{VOLUME}/bitmaps?recursion=1", None, None)], []),
    "a bitmap made": (
        bitmap,
        [
            (
                *("POST", f"{VOLUME}/bitmaps"),
                {"name": "m/1", "granularity": 65536, "persistent": False, "disabled": False},
                {},
            ),
            ("GET", f"{VOLUME}/bitmaps/m%2F1", None, BITMAP),
        ],
        (65536, True),
    ),
    "a bitmap deleted": (
        lambda volume: volume.bitmaps.delete("m/1"),
        [("DELETE", f"{VOLUME}/bitmaps/m%2F1", None, {})],
        None,
    ),
    "a bucket's backup renamed": (
        renamed,
        [("POST", f"{BUCKET}/backups/b%200", {"name": "new"}, DONE)],
        "new",
    ),
    "a bucket's backup deleted": (
        lambda bucket: bucket.backups.delete("b 0"),
        [("DELETE", f"{BUCKET}/backups/b%200", None, DONE)],
        None,
    ),
    "a backup to S3": (
        lambda volume: volume.backups.upload(
            {"url": "https://s3", "bucket_name": "b", "path": "x", "access_key": "a", "secret_key": "s"},
            volume_only=True,
        ),
        [
            (
                *("POST", f"{VOLUME}/backups"),
                {
                    "volume_only": True,
                    "target": {
                        **{"protocol": "s3", "url": "https://s3", "bucket_name": "b", "path": "x"},
                        **{"access_key": "a", "secret_key": "s"},
                    },
                },
                DONE,
            )
        ],
        None,
    ),
}


@pytest.mark.parametrize(("act", "expected", "result"), EXCHANGES.values(), ids=EXCHANGES)
async def test_what_is_asked_and_made_of_the_answer(
    act: Callable[[Any], Awaitable[Any]],
    expected: list[tuple[str, str, Any, Any]],
    result: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str, Any]] = []

    async def request(self: Transport, method: str, target: str, *, body: Any = None, **_: Any) -> Response:
        if target == "/1.0":
            metadata: Any = {"api_extensions": EXTENSIONS}
        else:
            metadata = expected[len(asked)][3]
            asked.append((method, target, json.loads(body) if body else None))
        kind = "async" if metadata is DONE else "sync"
        return Response(
            200, {"Content-Type": "application/json"}, json.dumps({"type": kind, "metadata": metadata}).encode()
        )

    monkeypatch.setattr(Transport, "request", request)
    pool = Client("/there/is/no/such/socket").storage_pools["p 1"]
    thing = pool.buckets["b1"] if BUCKET in expected[0][1] else pool.volumes["virtual-machine/v 1"]
    assert await act(thing) == result
    assert asked == [exchange[:3] for exchange in expected]


@pytest.mark.parametrize("writable", [False, True])
async def test_nbd_is_an_upgrade_closed_with_its_block(monkeypatch: pytest.MonkeyPatch, writable: bool) -> None:
    asked: list[Any] = []
    here, there = asyncio.StreamReader(), asyncio.Event()

    class Writer:
        def close(self) -> None:
            there.set()

        async def wait_closed(self) -> None:
            pass

    async def request(self: Transport, *_: Any, **__: Any) -> Response:
        body = {"type": "sync", "metadata": {"api_extensions": EXTENSIONS}}
        return Response(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    async def upgrade(self: Transport, *what: Any, **_: Any) -> Any:
        asked.append(what)
        return here, Writer()

    monkeypatch.setattr(Transport, "request", request)
    monkeypatch.setattr(Transport, "upgrade", upgrade)
    volume = Client("/there/is/no/such/socket").storage_pools["p 1"].volumes["virtual-machine/v 1"]
    async with volume.nbd(writable=writable) as (reader, _):
        assert reader is here
        assert not there.is_set()
    assert there.is_set()
    assert asked == [("GET", f"{VOLUME}/nbd{'?writable=true' if writable else ''}", "nbd")]


MIB = 1024 * 1024


class Server:
    """Sends ``size`` bytes, of ``told`` ones, in answer to whatever asks for a backup; counts what it is sent."""

    def __init__(self) -> None:
        self.size = self.told = self.received = 0
        self.heads: list[str] = []
        self.operations: list[Any] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                if head.startswith("GET /1.0 "):
                    self._json(writer, {"type": "sync", "metadata": {"api_extensions": EXTENSIONS}})
                    continue
                if head.startswith("GET /1.0/operations"):
                    self._json(writer, {"type": "sync", "metadata": {"failure": self.operations}})
                    continue
                self.heads.append(head)
                if "octet-stream" in head and "Content-Type: application/octet-stream" in head:
                    await self._take(reader)
                    self._json(writer, {"type": "error", "error": "taken", "error_code": 400}, 400)
                    continue
                length = next((line[15:] for line in head.splitlines() if line.startswith("Content-Length:")), "0")
                await reader.readexactly(int(length))
                kind = f"Content-Type: application/octet-stream\r\nContent-Length: {self.told}"
                writer.write(f"HTTP/1.1 200 OK\r\n{kind}\r\n\r\n".encode())
                for sent in range(0, self.size, MIB):
                    writer.write(bytes(min(MIB, self.size - sent)))
                    await writer.drain()
                if self.size < self.told:
                    break
        writer.close()

    def _json(self, writer: asyncio.StreamWriter, body: Any, status: int = 200) -> None:
        data = json.dumps(body).encode()
        head = f"Content-Type: application/json\r\nContent-Length: {len(data)}"
        writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n\r\n".encode() + data)

    async def _take(self, reader: asyncio.StreamReader) -> None:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
            self.received += size
        await reader.readline()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server()
    async with await asyncio.start_unix_server(server.serve, tmp_path / "socket"):
        yield server


@pytest.fixture
async def client(server: Server, tmp_path: Path) -> AsyncIterator[Client]:
    async with Client(tmp_path / "socket") as client:
        yield client


def downloads(client: Client) -> dict[str, Any]:
    backups = client.instances["c1"].backups
    return {"kept": backups["b0"], "direct": backups.direct(instance_only=True)}


async def _all(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("way", ["kept", "direct"])
async def test_a_backup_that_is_cut_off_leaves_what_was_there(
    client: Client, server: Server, tmp_path: Path, way: str
) -> None:
    (tmp_path / "target").write_text("before")
    server.size, server.told = 3 * MIB, 4 * MIB
    with pytest.raises(IncusConnectionError):
        await downloads(client)[way].export(tmp_path / "target")
    async with downloads(client)[way].stream() as pieces:
        with pytest.raises(IncusConnectionError):
            await _all(pieces)
    assert (tmp_path / "target").read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"target", "socket"}


async def test_a_direct_backup_that_fails_says_why(client: Client, server: Server, tmp_path: Path) -> None:
    server.size, server.told = 3 * MIB, 4 * MIB
    failed = {**DONE, "status": "Failure", "status_code": 400, "description": "Backing up instance", "err": "No space"}
    ours, others = ({**failed, "resources": {"instances": [f"/1.0/instances/{name}"]}} for name in ("c1", "c2"))
    for operations, expected, match in (
        ([others, {**ours, "err": ""}], IncusConnectionError, "closed the connection"),
        ([{**ours, "err": "io: read/write on closed pipe"}], IncusConnectionError, "closed the connection"),
        ([others, ours, others], IncusOperationError, "Backing up instance: c1.*No space"),
    ):
        server.operations = operations
        with pytest.raises(expected, match=match):
            await client.instances["c1"].export(tmp_path / "target")
    assert {path.name for path in tmp_path.iterdir()} == {"socket"}


@pytest.mark.parametrize("way", ["kept", "direct"])
async def test_an_export_that_is_cancelled_leaves_nothing(
    client: Client, server: Server, tmp_path: Path, way: str
) -> None:
    server.size = server.told = 64 * MIB
    export: asyncio.Task[None] = asyncio.create_task(
        downloads(client)[way].export(tmp_path / "target", progress=lambda _: export.cancel())
    )
    with pytest.raises(asyncio.CancelledError):
        await export
    assert {path.name for path in tmp_path.iterdir()} == {"socket"}


@pytest.mark.parametrize("way", ["kept", "direct"])
async def test_a_backup_of_any_size_goes_through_little_memory(
    client: Client, server: Server, tmp_path: Path, way: str
) -> None:
    server.size = server.told = 64 * MIB
    seen: list[Progress] = []
    tracemalloc.start()
    await downloads(client)[way].export(tmp_path / "target", progress=seen.append)
    assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    assert (tmp_path / "target").stat().st_size == seen[-1].processed == 64 * MIB
    request = server.heads[-1]
    assert request.startswith("POST /1.0/instances/c1/backups " if way == "direct" else "GET /1.0/instances/c1/backups")
    assert ("Accept: application/octet-stream" in request) == (way == "direct")

    tracemalloc.reset_peak()
    with pytest.raises(Exception, match="taken"):
        await client.instances.create_from_backup(tmp_path / "target", "c2", pool="p", progress=seen.append)
    assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    tracemalloc.stop()
    assert server.received == seen[-1].processed == 64 * MIB
    assert {"X-Incus-name: c2", "X-Incus-pool: p"} <= set(server.heads[-1].splitlines())


@pytest.mark.parametrize("wrong", ["", "soon", "Never", 5, "2030-13-01"])
async def test_when_a_snapshot_or_a_backup_expires_is_a_time_or_a_word(wrong: Any) -> None:
    client = Client("/there/is/no/such/socket")
    volume = client.storage_pools["p"].volumes["custom/v"]
    owners: list[Any] = [
        client.instances["c"].snapshots,
        client.instances["c"].backups,
        volume.snapshots,
        volume.backups,
    ]
    for owner in owners:
        with pytest.raises(IncusInputError, match=f'"never" or "default", not {wrong!r}'):
            await owner.create("x", expires_at=wrong)


def test_when_something_expires_is_sent_as_a_time() -> None:
    assert expiry("default") == {}
    assert expiry(None) == expiry("never") == expiry("default", "never") == {"expires_at": "0001-01-01T00:00:00Z"}
    time = datetime(2030, 1, 1, tzinfo=UTC)
    for same in (time, "2030-01-01T00:00:00Z", "2030-01-01T01:00:00+01:00"):
        assert datetime.fromisoformat(expiry(same)["expires_at"]) == time
    assert datetime.fromisoformat(expiry(timedelta(days=9))["expires_at"]).tzinfo is not None


def test_a_configuration_for_a_backup_is_written_as_the_server_reads_it() -> None:
    written = overrides({"limits.cpu": 2, "a": True}, {"root": {"pool": "x", "size": "1GiB"}, "eth0": {"mtu": 9000}})
    assert written == {"config": "limits.cpu=2 a=true", "devices": "root,pool=x root,size=1GiB eth0,mtu=9000"}
    assert overrides(None, None) == {}
    for config, devices in (
        ({"a": "b c"}, None),
        ({"a=b": "c"}, None),
        ({"a": None}, None),
        (None, {"a,b": {"c": "d"}}),
        (None, {"a": {"b c": "d"}}),
        (None, {"a": {}}),
        (None, {"a": None}),
    ):
        with pytest.raises(IncusInputError):
            overrides(config, devices)


@pytest.mark.parametrize("key", [None, 5, b"custom/data", ("custom", "data")])
async def test_a_volume_is_named_by_a_str(client: Client, key: Any) -> None:
    volumes = client.storage_pools["default"].volumes
    for verb in (volumes.get, volumes.exists, volumes.delete):
        with pytest.raises(IncusInputError, match="named by its type and name, as custom/data, not"):
            await verb(key)


@pytest.mark.parametrize(
    ("kind", "url", "description"),
    [
        ("storage_volumes", "/1.0/storage-pools/default/volumes/custom/data", "Creating custom volume backup"),
        ("storage_buckets", "/1.0/storage-pools/default/buckets/data", "Creating bucket backup"),
    ],
)
async def test_an_export_that_the_server_breaks_off_says_why(
    client: Client, server: Server, tmp_path: Path, kind: str, url: str, description: str
) -> None:
    server.size, server.told = 3 * MIB, 4 * MIB
    why = {"description": description, "err": "lacking a storage buckets listener address"}
    server.operations = [{**DONE, "status": "Failure", "status_code": 400, **why, "resources": {kind: [url]}}]
    pool = client.storage_pools["default"]
    exported: Any = pool.volumes["custom/data"] if kind == "storage_volumes" else pool.buckets["data"]
    with pytest.raises(IncusOperationError, match=f"{description}.*lacking a storage buckets listener address"):
        await exported.export(tmp_path / "target")


@pytest.mark.parametrize("path", [None, 5, b"backup"])
async def test_a_file_to_write_is_named_by_a_path(client: Client, path: Any) -> None:
    for download in downloads(client).values():
        with pytest.raises(IncusInputError, match="a file is named by a str or a PathLike"):
            await download.export(path)


async def test_a_volume_that_instances_use_takes_its_time_to_be_renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[tuple[str, float]] = []

    async def request(self: Transport, method: str, target: str, *, wait: float = 0, **_: Any) -> Response:
        waits.append((method, wait))
        answer = {"type": "sync", "metadata": {"name": "data", "config": {}, "description": ""}}
        return Response(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    monkeypatch.setattr(Transport, "request", request)
    volume = Client("/there/is/no/such/socket").storage_pools["default"].volumes["custom/data"]
    await volume.rename("new")
    await volume.move(new_name="newer")
    assert [wait > 500 for method, wait in waits if method == "POST"] == [True, True]
    assert not any(wait for method, wait in waits if method == "GET")
