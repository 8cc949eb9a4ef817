"""Waiting for operations against a server that answers as none does on demand: every shape of an end, late answers,
dropped connections.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import pickle
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import incus_sdk._background
import incus_sdk.operations
from incus_sdk import (
    Client,
    IncusAPIError,
    IncusConnectionError,
    IncusError,
    IncusOperationError,
    IncusOperationLostError,
    IncusPermissionError,
    IncusTimeoutError,
    Instance,
    Operation,
    Progress,
    models,
)
from incus_sdk.testing import Fake

ID = "5f2c"
GET, WAIT, DELETE = f"GET /1.0/operations/{ID}", f"GET /1.0/operations/{ID}/wait", f"DELETE /1.0/operations/{ID}"
START = "PUT /1.0/instances/c1/state"

Reply = bytes | asyncio.Event
"""A whole HTTP answer, ``b""`` to drop the connection, or an event to wait for before the next."""


def http(status: int, body: Any) -> bytes:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def operation(status_code: int, err: str = "", **more: Any) -> dict[str, Any]:
    status = {103: "Running", 200: "Success", 400: "Failure", 401: "Cancelled"}[status_code]
    return {"id": ID, "status": status, "status_code": status_code, "err": err, "may_cancel": False, **more}


def sync(metadata: Any) -> bytes:
    return http(200, {"type": "sync", "metadata": metadata})


def error(code: int, message: str, status: int | None = None) -> bytes:
    return http(status or code, {"type": "error", "error": message, "error_code": code, "metadata": None})


RUNNING, SUCCESS, CANCELLED = (sync(operation(code)) for code in (103, 200, 401))
FAILURE = sync(operation(400, "boom"))
BEGUN = http(202, {"type": "async", "metadata": operation(103)})
DROPPED = b""
GATEWAY = b"HTTP/1.1 504 X\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
DONE = sync({})
UNREAD = asyncio.Event()
"""In the place of a reply: an upload is not read, and never answered."""


class Server:
    """Answers each request by the next reply of its list, the last one again and again."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.requests: list[str] = []
        self.got = asyncio.Condition()
        self.tasks: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                method, target, _ = head.split(" ", 2)
                length = next((line[15:] for line in head.splitlines() if line.startswith("Content-Length:")), "0")
                await reader.readexactly(int(length))
                async with self.got:
                    self.requests.append(request := f"{method} {target.partition('?')[0]}")
                    self.got.notify_all()
                reply = self._next(request)
                if "chunked" in head and reply is not UNREAD:
                    await reader.readuntil(b"0\r\n\r\n")
                while isinstance(reply, asyncio.Event):
                    await reply.wait()
                    reply = self._next(request)
                if not reply:
                    return
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _next(self, request: str) -> Reply:
        replies = self.replies[request]
        return replies.pop(0) if len(replies) > 1 else replies[0]

    async def asked(self, request: str) -> None:
        async with asyncio.timeout(60), self.got:
            await self.got.wait_for(lambda: request in self.requests)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incus_sdk.operations, "_PAUSE", 0)
    monkeypatch.setattr(incus_sdk.operations, "_ATTEMPTS", 4)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_unix_server(server.serve, tmp_path / "socket")
    yield server
    listening.close()
    for task in filter(None, server.tasks):
        task.cancel()


@pytest.fixture
async def client(server: Server, tmp_path: Path) -> AsyncIterator[Client]:
    client = Client(tmp_path / "socket")
    yield client
    await client.disconnect()


ENDS: dict[str, dict[str, list[Reply]]] = {
    "the operation, as servers from 6.0.5 tell it": {WAIT: [FAILURE]},
    "an error under HTTP 200, as those before do": {WAIT: [error(500, "boom", status=200)], GET: [FAILURE]},
    "still running after the server's own timeout": {WAIT: [RUNNING, RUNNING, FAILURE]},
    "an error for that timeout": {WAIT: [error(500, "context deadline exceeded", status=200), FAILURE], GET: [RUNNING]},
    "a gateway that loses its patience": {WAIT: [*[GATEWAY] * 10, FAILURE], GET: [RUNNING]},
    "connections dropped while the server is there": {WAIT: [*[DROPPED] * 20, FAILURE], GET: [RUNNING]},
    "connections dropped, and it ended meanwhile": {WAIT: [DROPPED], GET: [FAILURE]},
    "a server away for a while": {WAIT: [DROPPED, FAILURE], GET: [DROPPED, error(503, "down"), RUNNING]},
}


@pytest.mark.parametrize("replies", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("outcome", [FAILURE, SUCCESS, CANCELLED], ids=["failed", "succeeded", "cancelled"])
async def test_an_operation_ends_as_it_did_however_the_server_tells_it(
    server: Server, client: Client, replies: dict[str, list[Reply]], outcome: bytes
) -> None:
    server.replies = {
        START: [BEGUN],
        **{request: [outcome if reply == FAILURE else reply for reply in each] for request, each in replies.items()},
    }
    waiting = client.instances.freeze("c1", wait=True)
    if outcome == SUCCESS:
        assert (await waiting).status == "Success"
        return
    server.replies["GET /1.0/instances/c1/logs/lxc.log"] = [error(404, "no log")]
    server.replies["GET /1.0/instances/c1/logs/qemu.log"] = [error(404, "no log")]
    with pytest.raises(IncusOperationError, match="boom" if outcome == FAILURE else "Cancelled") as caught:
        await waiting
    assert not isinstance(caught.value, IncusOperationLostError)
    assert caught.value.response == json.loads(outcome.partition(b"\r\n\r\n")[2])["metadata"]


NO_ENDS: dict[str, tuple[list[Reply], list[Reply], type[IncusError], int]] = {
    "forgotten": ([error(404, "not found")], [error(404, "not found")], IncusOperationLostError, 1),
    "forgotten meanwhile": ([DROPPED], [error(404, "not found")], IncusOperationLostError, 1),
    "not allowed": ([error(403, "no")], [error(403, "no")], IncusPermissionError, 1),
    "down for good": ([error(503, "down")], [error(503, "down")], IncusAPIError, 4),
    "away for good": ([DROPPED], [DROPPED], IncusConnectionError, 4),
}


@pytest.mark.parametrize(("waits", "looks", "expected", "attempts"), NO_ENDS.values(), ids=NO_ENDS)
async def test_an_outcome_that_cannot_be_known_raises_and_soon(
    server: Server, client: Client, waits: list[Reply], looks: list[Reply], expected: type[IncusError], attempts: int
) -> None:
    server.replies = {WAIT: waits, GET: looks}
    with pytest.raises(expected) as caught:
        await client.operations.wait(ID, timeout=None)
    assert type(caught.value) is expected
    looked = Counter(server.requests)[GET]
    assert looked >= attempts  # the HTTP library itself asks once more where a connection of its pool was dropped
    assert looked <= 2 * attempts


async def test_a_caller_cancelled_between_request_and_answer_cancels_what_had_begun(
    server: Server, client: Client
) -> None:
    answer = asyncio.Event()
    server.replies = {START: [answer, BEGUN], DELETE: [DONE]}
    freezing = asyncio.create_task(client.instances.freeze("c1", wait=True))
    await server.asked(START)
    freezing.cancel()
    await asyncio.sleep(0)
    assert not freezing.done(), "the answer is waited for, since only it names the operation"
    answer.set()
    with pytest.raises(asyncio.CancelledError):
        await freezing
    assert server.requests == [START, DELETE]


async def test_a_caller_cancelled_while_waiting_cancels_the_operation_once(server: Server, client: Client) -> None:
    server.replies = {START: [BEGUN], WAIT: [asyncio.Event()], DELETE: [DONE]}
    freezing = asyncio.create_task(client.instances.freeze("c1", wait=True))
    await server.asked(WAIT)
    freezing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await freezing
    assert server.requests == [START, WAIT, DELETE]


@pytest.mark.parametrize("reply", [error(400, "can't"), DROPPED, GATEWAY], ids=["refused", "dropped", "no Incus"])
async def test_a_cancelled_caller_is_cancelled_even_if_the_operation_is_not(
    server: Server, client: Client, reply: bytes
) -> None:
    server.replies = {WAIT: [asyncio.Event()], DELETE: [reply]}
    waiting = asyncio.create_task(client.operations.wait(ID))
    await server.asked(WAIT)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert DELETE in server.requests


@pytest.mark.parametrize("silent", [START, DELETE])
async def test_a_cancelled_caller_waits_for_no_silent_server(
    server: Server, client: Client, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (incus_sdk.operations, incus_sdk._background):
        monkeypatch.setattr(module, "_GRACE", 0.05)
    server.replies = {START: [BEGUN], WAIT: [asyncio.Event()], DELETE: [DONE], silent: [asyncio.Event()]}
    freezing = asyncio.create_task(client.instances.freeze("c1", wait=True))
    await server.asked(silent if silent == START else WAIT)
    freezing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await freezing


async def test_an_upload_that_is_cancelled_stops_at_once(server: Server, client: Client) -> None:
    stopped = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0)
        finally:
            stopped.set()

    server.replies = {"POST /1.0/images": [asyncio.Event()]}
    upload = incus_sdk._background.perform(client._scope, "POST", "/1.0/images", body=endless())
    uploading = asyncio.create_task(upload)
    await server.asked("POST /1.0/images")
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    assert stopped.is_set()


UPLOADS: dict[str, tuple[list[Reply], bytes, list[bool]]] = {
    "not whole, so that it starts nothing": ([UNREAD], SUCCESS, []),
    "and made before it could be stopped": ([BEGUN], SUCCESS, [True]),
    "and stopped, or made a moment later": ([BEGUN], CANCELLED, [False]),
    "and failed": ([BEGUN], FAILURE, []),
}


@pytest.mark.parametrize(("replies", "end", "told"), UPLOADS.values(), ids=UPLOADS)
async def test_what_an_upload_made_that_was_given_up_is_undone(
    server: Server, client: Client, replies: list[Reply], end: bytes, told: list[bool]
) -> None:
    post, answer, undone, sent = "POST /1.0/images", asyncio.Event(), list[bool](), asyncio.Event()

    async def content() -> AsyncIterator[bytes]:
        yield b"x"
        if replies == [UNREAD]:
            await asyncio.Event().wait()
        sent.set()

    async def undo(operation: Operation | None) -> None:
        undone.append(incus_sdk._background.was_created(operation))

    server.replies = {post: replies if replies == [UNREAD] else [answer, *replies], WAIT: [end], DELETE: [DONE]}
    making = asyncio.create_task(incus_sdk._background.create_or_undo(client._scope, "/1.0/images", content(), undo))
    await server.asked(post)
    if replies != [UNREAD]:
        await sent.wait()
        await asyncio.sleep(0.01)
    making.cancel()
    await asyncio.sleep(0.01)
    answer.set()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert undone == told
    assert server.requests == ([post] if replies == [UNREAD] else [post, DELETE, WAIT])


async def test_an_upload_that_is_cut_off_in_its_last_moment_does_not_come_to_its_end() -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"x"
        assert upload.cut_off()

    upload = incus_sdk._background._Upload(content())
    pieces = aiter(upload)
    assert await anext(pieces) == b"x"
    with pytest.raises(asyncio.CancelledError):
        await anext(pieces)


async def test_what_is_held_is_let_go_however_that_comes(server: Server, client: Client) -> None:
    post, answer, seen = "POST /1.0/images", asyncio.Event(), list[str]()

    async def hold() -> None:
        async with incus_sdk._background.pending_operation(client._scope, "/1.0/images") as operation:
            seen.append(operation.id)
            raise LookupError

    server.replies = {post: [BEGUN], DELETE: [DONE]}
    with pytest.raises(LookupError):
        await hold()
    assert (seen, server.requests) == ([ID], [post, DELETE])

    server.requests.clear()
    server.replies[post] = [answer, BEGUN]
    holding = asyncio.create_task(hold())
    await server.asked(post)
    holding.cancel()
    await asyncio.sleep(0)
    answer.set()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert (seen, server.requests) == ([ID], [post, DELETE])


async def test_a_silent_server_holds_nobody_up_who_lets_go(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incus_sdk._background, "_GRACE", 0.1)
    post, tasks = "POST /1.0/images", asyncio.all_tasks()
    server.replies = {post: [asyncio.Event()]}

    async def hold() -> None:
        async with incus_sdk._background.pending_operation(client._scope, "/1.0/images"):
            pass

    holding = asyncio.create_task(hold())
    await server.asked(post)
    holding.cancel()
    async with asyncio.timeout(10):  # of the 30 that an answer can take
        with pytest.raises(asyncio.CancelledError):
            await holding
    assert asyncio.all_tasks() - tasks <= server.tasks


async def test_an_instance_in_error_is_deleted_without_a_stop_that_servers_refuse(
    server: Server, client: Client
) -> None:
    server.replies = {
        "GET /1.0/operations": [sync({})],
        "GET /1.0/instances/c1": [sync({"name": "c1", "status": "Error"})],
        "DELETE /1.0/instances/c1": [BEGUN],
        WAIT: [SUCCESS],
    }
    await client.instances["c1"].delete(force=True, wait=True)
    assert START not in server.requests


@pytest.mark.parametrize("verb", [Instance.run, functools.partial(Instance.execute, wait=True)], ids=["run", "execute"])
async def test_a_command_whose_beginning_is_cancelled_is_cancelled_too(
    server: Server, client: Client, verb: Callable[..., Awaitable[object]]
) -> None:
    post, answer = "POST /1.0/instances/c1/exec", asyncio.Event()
    server.replies = {post: [answer, BEGUN], DELETE: [DONE]}
    running = asyncio.ensure_future(verb(client.instances["c1"], ["sleep", "1000"]))
    await server.asked(post)
    running.cancel()
    await asyncio.sleep(0.01)
    answer.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert server.requests == [post, DELETE]


async def test_a_clean_up_that_fails_does_not_hide_the_cancellation(server: Server, client: Client) -> None:
    answer, began = asyncio.Event(), "2026-01-01T00:00:00Z"
    begun = http(202, {"type": "async", "metadata": operation(103, created_at=began)})
    server.replies = {
        "POST /1.0/instances": [answer, begun],
        DELETE: [DONE],
        WAIT: [sync(operation(200, created_at=began))],
        "GET /1.0/instances/c1": [sync({"name": "c1", "status": "Stopped", "created_at": "2026-01-01T00:00:01Z"})],
        "GET /1.0/operations": [sync({})],
        "DELETE /1.0/instances/c1": [error(500, "boom")],
    }
    making = asyncio.create_task(client.instances.create("c1", {"type": "none"}, wait=True))
    await server.asked("POST /1.0/instances")
    making.cancel()
    await asyncio.sleep(0.01)
    answer.set()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert "DELETE /1.0/instances/c1" in server.requests


@pytest.mark.parametrize("times", [1, 2])
async def test_a_wait_that_is_cancelled_twice_still_cancels_the_operation(
    server: Server, client: Client, times: int
) -> None:
    answer = asyncio.Event()
    server.replies = {WAIT: [asyncio.Event()], DELETE: [answer, DONE]}
    waiting = asyncio.create_task(Operation(client._scope, operation(103)).wait())
    await server.asked(WAIT)
    for _ in range(times):
        waiting.cancel()
        await asyncio.sleep(0.01)
    assert not waiting.done()
    answer.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert server.requests == [WAIT, DELETE]


async def test_a_timeout_cancels_nothing(server: Server, client: Client) -> None:
    server.replies = {WAIT: [asyncio.Event()]}
    with pytest.raises(IncusTimeoutError, match=f"{ID}.*0.5 s and goes on"):
        await client.wait_for_operation(ID, timeout=0.5)
    assert server.requests == [WAIT]


async def test_an_answer_at_once_where_an_operation_was_expected_is_an_error(server: Server, client: Client) -> None:
    server.replies = {START: [DONE]}
    with pytest.raises(IncusConnectionError, match="at once"):
        await client.instances.freeze("c1", wait=True)


PROGRESS: list[tuple[Any, Progress]] = [
    (None, Progress()),
    ({"fds": {}}, Progress()),
    (
        {"download_progress": "rootfs: 45% (3.31MB/s)"},
        Progress("rootfs: 45% (3.31MB/s)", "download", 45, speed=3_310_000, item="rootfs"),
    ),
    (
        {"create_backup_progress": "17.85MB (3.31MB/s)"},
        Progress("17.85MB (3.31MB/s)", "create_backup", None, 17_850_000, speed=3_310_000),
    ),
    ({"fs_progress": "c1: 512B (1kB/s)"}, Progress("c1: 512B (1kB/s)", "fs", None, 512, speed=1000, item="c1")),
    (
        {
            "a_progress": "rootfs: 100% (3MB/s)",
            "create_image_from_container_pack_progress": "Image pack: 12MB",
            "progress": {
                "stage": "create_image_from_container_pack",
                "percent": "",
                "processed": "12000000",
                "speed": "9",
            },
        },
        Progress("Image pack: 12MB", "create_image_from_container_pack", None, 12000000, speed=9),
    ),
    ({"x_progress": "1%", "progress": "odd"}, Progress("1%", "x", 1)),
]


@pytest.mark.parametrize(("metadata", "expected"), PROGRESS)
def test_progress_is_read_from_every_form_that_servers_give_it(metadata: Any, expected: Progress) -> None:
    assert incus_sdk.operations._parse_progress(metadata) == expected


def test_progress_never_goes_back_and_adds_up_what_comes_one_after_another() -> None:
    def told(*texts: str) -> list[Progress]:
        forward = incus_sdk.operations._Forward()
        updates = [forward.step(incus_sdk.operations._parse_progress({"x_progress": text})) for text in texts]
        return [update for update in updates if update is not None]

    assert [update.percent for update in told("5%", "2%", "4%", "7%", "7%", "", "100%", "99%")] == [5, 7, 100]
    assert [update.processed for update in told("s0: 5MB", "s0: 2MB", "s0: 7MB", "c1: 1MB", "c1: 3MB", "s0: 7MB")] == [
        5_000_000, 7_000_000, 8_000_000, 10_000_000, 10_000_000
    ]  # fmt: skip
    assert [(update.item, update.percent) for update in told("meta: 100%", "rootfs: 1%")] == [
        ("meta", 100),
        ("rootfs", 1),
    ]


def test_an_operation_of_a_server_that_sends_odd_things_is_still_readable(tmp_path: Path) -> None:
    odd = Operation(Client(tmp_path / "socket")._scope, {"id": ID, "status_code": None, "metadata": None, "new": [1]})
    assert (odd.status_code, odd.metadata, odd.err, odd["new"], odd.resources) == (0, {}, "", [1], {})


# --- read like the answer that the calls of 1.0.0 returned, in which ["metadata"] was the operation


@pytest.fixture
async def command(server: Server, client: Client) -> Operation:
    """A command that runs, unwaited."""
    raw = operation(103, description="Executing command", metadata={"return": 0}, **{"class": "task"})
    server.replies = {"POST /1.0/instances/c1/exec": [http(202, {"type": "async", "metadata": raw})]}
    return await client.instances.execute("c1", ["true"])


def test_an_unwaited_call_reads_like_the_answer_of_the_published_version(command: Operation) -> None:
    response = command
    assert response["metadata"]["id"] == ID
    assert (response["metadata"]["status"], response["metadata"]["status_code"]) == ("Running", 103)
    assert response["metadata"].get("class") == "task"
    assert response["metadata"]["metadata"] == {"return": 0}
    assert "id" in response.get("metadata", {})
    assert (response.get("type"), response["operation"]) == ("async", f"/1.0/operations/{ID}")


def test_the_operations_own_metadata_come_first_and_are_all_that_is_typed(command: Operation) -> None:
    command.raw["metadata"]["status"] = "its own"
    assert command["metadata"]["return"] == 0
    assert command["metadata"]["status"] == "its own"
    assert "nothing" not in command["metadata"]
    assert command["metadata"].get("nothing", 5) == 5
    with pytest.raises(KeyError, match="nothing"):
        command["metadata"]["nothing"]
    assert command.metadata is command.raw["metadata"]
    assert command["metadata"] == command.metadata == {"return": 0, "status": "its own"}
    assert json.loads(json.dumps(command["metadata"])) == command.metadata
    with pytest.raises(KeyError, match="id"):
        command.metadata["id"]


def test_what_is_written_is_read_both_ways(command: Operation) -> None:
    command.metadata["output"] = {"stdout": "hi\n"}
    assert command["metadata"]["output"]["stdout"] == "hi\n"
    command["metadata"]["mine"] = 1
    assert command.metadata["mine"] == 1
    command["type"] = "other"
    assert command["type"] == "other"


@pytest.mark.parametrize("raw", [{"id": ID, "metadata": None}, {"id": ID}], ids=["null", "absent"])
def test_without_metadata_the_fields_are_there_all_the_same(tmp_path: Path, raw: dict[str, Any]) -> None:
    operation = Operation(Client(tmp_path / "socket")._scope, dict(raw))
    assert operation["metadata"] == {}
    assert operation["metadata"]["id"] == ID
    assert operation.raw == raw
    operation["metadata"]["mine"] = 1
    assert operation.raw == {"id": ID, "metadata": {"mine": 1}}


@pytest.mark.parametrize("metadata", [{"return": 0}, None, [1]])
def test_whatever_its_metadata_an_operation_is_equal_to_its_record(tmp_path: Path, metadata: Any) -> None:
    operation = Operation(Client(tmp_path / "socket")._scope, {"id": ID, "metadata": metadata})
    record = models.Operation(operation.raw)
    assert operation == record == operation == operation.raw
    assert operation != models.Operation({"id": "other"})
    assert (list(operation), len(operation)) == (["id", "metadata"], 2)
    copies = [pickle.loads(pickle.dumps(operation)), copy.deepcopy(operation)]
    assert [(type(each), each.raw) for each in copies] == [(models.Operation, operation.raw)] * 2
    assert pickle.loads(pickle.dumps(operation["metadata"])) == operation["metadata"] == (metadata or {})


async def test_a_forced_deletion_that_is_cancelled_leaves_what_others_do_to_the_instance() -> None:
    async with Fake() as fake, fake.client() as client:
        box = await client.instances.create("c1", "busybox", wait=True)
        fake.on_operation("PUT", "/1.0/instances/c1/state", delay=3600)
        begun = await box.start()
        deletion = asyncio.ensure_future(box.delete(force=True, wait=True))
        while not any(request.path == f"/1.0/operations/{begun.id}/wait" for request in fake.requests):
            await asyncio.sleep(0.01)
        deletion.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deletion
        assert not [request for request in fake.requests if request.method == "DELETE"]


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("DELETE", "", 'Failed to create instance delete operation: Instance is busy running a "start" operation'),
        ("PUT", "/state", 'Failed to create instance stop operation: Instance is busy running a "restart" operation'),
        ("PUT", "/state", "The instance is already stopped"),
    ],
)
async def test_a_forced_deletion_gets_its_way_while_others_start_and_stop_the_instance(
    method: str, path: str, reason: str
) -> None:
    async with Fake() as fake, fake.client() as client:
        box = await client.instances.create("c1", "busybox", start=True, wait=True)
        fake.on_operation(method, f"/1.0/instances/c1{path}", fails=reason, times=2)
        await box.delete(force=True, wait=True)
        assert not await box.exists()


BEING_CREATED = 'Failed creating instance record: Instance is busy running a "create" operation'


async def test_ensure_goes_on_where_others_are_about_to_create_the_instance() -> None:
    async with Fake() as fake, fake.client() as client:
        fake.on_operation("POST", "/1.0/instances", fails=BEING_CREATED, times=2)  # which nobody can see yet
        ensured = await client.instances.ensure("c1", "busybox")
        assert (ensured.created, ensured.item.name) == (True, "c1")


async def test_ensure_raises_what_stops_it_from_creating_the_instance() -> None:
    async with Fake() as fake, fake.client() as client:
        fake.on_operation("POST", "/1.0/instances", fails="Failed creating instance record: no space left")
        with pytest.raises(IncusOperationError, match="no space left"):
            await client.instances.ensure("c1", "busybox")
        assert len([request for request in fake.requests if request.method == "POST"]) == 1


@pytest.mark.parametrize("reason", ["The container is already running", "container is not frozen"])
async def test_ensure_takes_it_well_that_others_thaw_the_instance_in_the_same_moment(reason: str) -> None:
    async with Fake() as fake, fake.client() as client:
        box = await client.instances.create("c1", "busybox", start=True, wait=True)
        await box.freeze(wait=True)
        fake.requests.clear()
        fake.on_operation("PUT", "/1.0/instances/c1/state", fails=reason, after=1)
        both = await asyncio.gather(*(client.instances.ensure("c1", "busybox", running=True) for _ in range(2)))
        assert [each.item.status for each in both] == ["Running", "Running"]
        assert len([request for request in fake.requests if request.method == "PUT"]) == 2
