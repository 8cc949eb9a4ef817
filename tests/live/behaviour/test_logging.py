"""What the log and traces tell of requests, operations and retries, and what they cost where nobody asks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from typing import Any
from unittest.mock import patch

import pytest

from incus_sdk import Client, IncusError, IncusInputError, Instance, TracedRequest
from incus_sdk._connection import tracing
from incus_sdk.testing import Daemon

SECRET = "correct-horse-battery"


@pytest.fixture
def requests(client: Client) -> list[TracedRequest]:
    """The requests of the client, as its hook gets them."""
    seen: list[TracedRequest] = []

    @contextlib.contextmanager
    def hook(request: TracedRequest) -> Generator[None]:
        assert request.seconds is None
        assert request.status is None
        seen.append(request)
        yield

    client.trace_requests(hook)
    return seen


async def test_a_line_for_each_request(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "incus_sdk")
    await client.profiles.get("default")
    with pytest.raises(IncusError):
        await client.use_project("nope").use_target("none").profiles.get("default")
    first, second = [record for record in caplog.records if record.name == "incus_sdk.requests"]
    assert first.levelno == logging.DEBUG
    message = first.getMessage()
    assert message.startswith("#1 GET /1.0/profiles/default: 200 in 0.")
    assert message.endswith(" in, connection reused")
    assert first.__dict__["request"].status == 200
    assert second.getMessage().startswith("#2 GET /1.0/profiles/default (project nope, member none): 4")


async def test_a_request_has_its_sizes_its_operation_and_its_connection(
    client: Client, box: Instance, requests: list[TracedRequest]
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"a" * 70_000, b"b" * 70_000):
            yield piece

    files = f"/1.0/instances/{box.name}/files"
    for body in (bytes(100_000), pieces()):
        await client.query("POST", files, query={"path": "/root/big"}, body=body, headers={"X-Incus-type": "file"})
    await client.query("GET", files, query={"path": "/root/big"})
    assert await box.path("/root/big").exists()
    done = await box.freeze(wait=True)
    async with client.events.listen():
        pass
    await box.unfreeze(wait=True)
    by_kind = {(each.method, each.path.rpartition("/")[2], each.protocol): each for each in requests}
    sent = [each.sent for each in requests if each.method == "POST" and each.path.endswith("/files")]
    assert sent == [100_000, 140_000]
    read = by_kind["GET", "files", ""]
    assert (read.status, read.received, read.sent) == (200, 140_000, 0)
    assert by_kind["GET", "sftp", "sftp"].status == 101
    assert done.id in {each.operation for each in requests if each.path.endswith("/state")}
    events = by_kind["GET", "events", "websocket"]
    assert (events.status, events.reused) == (101, False)
    assert [each.id for each in requests] == sorted({each.id for each in requests})
    assert all(each.seconds is not None and not each.error for each in requests)
    assert any(each.reused for each in requests)


async def test_a_request_that_fails_has_the_name_of_the_error_and_is_left_by_it(daemon: Daemon) -> None:
    left: list[type[BaseException] | None] = []
    seen: list[TracedRequest] = []

    class Around(contextlib.AbstractContextManager[None]):
        def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
            left.append(kind)

    def hook(request: TracedRequest) -> Around:
        seen.append(request)
        return Around()

    client = Client("/nowhere/unix.socket")
    client.trace_requests(hook)
    with pytest.raises(IncusError):
        await client.connect()
    async with daemon.client() as client:
        client.trace_requests(hook)
        waiting = asyncio.create_task(client.query("GET", "/1.0/events"))
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError, IncusError):
            await waiting
    assert [each.error for each in seen] == ["IncusConnectionError", "CancelledError"]
    assert [kind and kind.__name__ for kind in left] == ["IncusConnectionError", "CancelledError"]
    assert "IncusConnectionError in " in str(seen[0])


async def test_a_hook_that_makes_no_context_manager_is_refused(daemon: Daemon) -> None:
    @contextlib.asynccontextmanager
    async def of_another_kind(request: TracedRequest) -> AsyncGenerator[None]:
        yield

    wrong: Any = "print"
    async with daemon.client() as client:
        with pytest.raises(IncusInputError, match="hook must be a function"):
            client.trace_requests(wrong)
        for wrong in (of_another_kind, print):
            client.trace_requests(wrong)
            with pytest.raises(IncusInputError, match="must return a plain context manager"):
                await client.get_server_info()
        client.trace_requests(None)
        await client.get_server_info()


async def test_operations_are_told_of_as_they_begin_and_end(
    client: Client, box: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "incus_sdk")
    done = await box.freeze(wait=True)
    followed = await box.unfreeze()
    await followed.wait(progress=lambda _: None)  # which hears of the end by an event
    await followed.wait()
    with pytest.raises(IncusError):
        await box.start(wait=True)
    lines = [record.getMessage() for record in caplog.records if record.name == "incus_sdk.operations"]
    assert lines[:2] == [f"operation {done.id} (Freezing instance: {box.name}): {end}" for end in ("begun", "Success")]
    assert [line.rpartition(": ")[2] for line in lines] == ["begun", "Success"] * 2 + ["begun", "Failure"]
    assert not [record for record in caplog.records if record.name == "incus_sdk.requests"]


async def test_retries_are_told_of(client: Client, box: Instance, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "incus_sdk.retries")
    read = type(box)._read_with_etag
    others = iter([True])

    async def overtaken(instance: Instance) -> object:
        found = await read(instance)
        if next(others, False):
            await client.query("PATCH", f"/1.0/instances/{box.name}", body={"config": {"user.other": "1"}})
        return found

    with patch.object(type(box), "_read_with_etag", overtaken):
        await box.update({"config": {"user.mine": "1"}}, wait=True)
    assert f"Instance {box.name!r} was changed by somebody else meanwhile: trying again" in caplog.text


async def test_no_secret_is_logged_or_traced(
    client: Client, box: Instance, requests: list[TracedRequest], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await box.run(["sh", "-c", f"echo {SECRET}; cat"], env={"PASSWORD": SECRET}, input=SECRET)
    await box.path("/root/key").write_bytes(SECRET.encode())
    await box.update({"config": {"user.password": SECRET}}, wait=True)
    await client.query("GET", "/1.0/instances", query={"filter": f"name eq {SECRET}"})
    process = box.open_process(["cat"])
    async with process:
        secrets = list(process._operation.metadata["fds"].values())  # type: ignore[union-attr]
        process.stdin.write_eof()
        await process.wait()
    assert len(caplog.records) > 5
    assert len(requests) > 5
    for secret in (SECRET, *secrets):
        assert secret not in caplog.text
        assert secret not in repr(requests)


async def test_nothing_is_made_for_requests_where_nobody_asks(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "TracedRequest", None)
    await client.profiles.get("default")


def test_nothing_is_written_where_logging_is_not_set_up() -> None:
    code = "import incus_sdk, logging; logging.getLogger('incus_sdk.retries').warning('lost')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
