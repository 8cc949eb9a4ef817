"""Migrations between servers that behave as none does on demand; `tests/live/test_copies.py` has those that do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import incus_sdk._migration
import incus_sdk.api._copies
from incus_sdk import Client, IncusInputError, IncusOperationError, Operation
from incus_sdk._background import was_created
from incus_sdk._connection.scope import Scope
from incus_sdk._migration import Mode, Side, migrate, same_server
from incus_sdk.testing import Fake
from tests.hostile.test_operations import DELETE, FAILURE, SUCCESS, WAIT, Server, error, http, operation, sync

SENDER, RECEIVER = "POST /1.0/instances/c1", "POST /1.0/instances"
WEBSOCKET = "GET /1.0/operations/5f2c/websocket"
WAITING = http(202, {"type": "async", "metadata": operation(103, metadata={"control": "s1", "fs": "s2"})})
ACTING = http(202, {"type": "async", "metadata": operation(103)})
TAKEN = error(409, "Connection already established")
STUBBORN = error(400, "This operation can't be cancelled")


def told(**environment: Any) -> bytes:
    return sync({"auth": "trusted", "environment": environment})


@dataclass
class Two:
    """Both servers, and what became of a migration from one to the other."""

    sender: Server
    receiver: Server
    scopes: list[Scope]
    undone: list[bool] = field(default_factory=list)

    async def migrate(self, mode: Mode = "pull", addresses: Sequence[str] | None = ("https://a:1",)) -> None:
        async def undo(operation: Operation | None) -> None:
            self.undone.append(was_created(operation))

        sides = Side(self.scopes[0], SENDER[5:], {}), Side(self.scopes[1], RECEIVER[5:], {"source": {}})
        await migrate(*sides, undo, mode, addresses, None)


@pytest.fixture
async def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    monkeypatch.setattr(incus_sdk._migration, "_SAME_MOMENT", 0.1)
    servers = Server(), Server()
    async with AsyncExitStack() as stack:
        scopes = []
        for number, server in enumerate(servers):
            listening = await asyncio.start_unix_server(server.serve, tmp_path / f"{number}")
            stack.callback(listening.close)
            client = Client(tmp_path / f"{number}")
            stack.push_async_callback(client.disconnect)
            scopes.append(client._scope)
            server.replies = {"GET /1.0": [told(certificate="PEM")], WEBSOCKET: [TAKEN], DELETE: [STUBBORN]}
        yield Two(*servers, scopes)
        for task in filter(None, (task for server in servers for task in server.tasks)):
            task.cancel()


async def test_the_side_that_fails_first_says_why(two: Two) -> None:
    two.sender.replies |= {SENDER: [WAITING], WAIT: [FAILURE]}
    two.receiver.replies |= {RECEIVER: [ACTING], WAIT: [asyncio.Event(), sync(operation(400, "the other is gone"))]}
    with pytest.raises(IncusOperationError, match="boom"):
        await two.migrate()
    assert two.undone == [False], "the receiver failed, and removes what there was itself"


@pytest.mark.parametrize("sent", [FAILURE, asyncio.Event()], ids=["fails", "waits for ever"])
async def test_what_the_receiver_has_is_there_even_where_the_sender(two: Two, sent: Any) -> None:
    two.sender.replies |= {SENDER: [WAITING], WAIT: [sent]}
    two.receiver.replies |= {RECEIVER: [ACTING], WAIT: [SUCCESS]}
    await two.migrate()
    assert two.undone == []
    assert (DELETE in two.sender.requests) == (sent is not FAILURE)


async def test_a_receiver_that_finished_before_it_could_be_ended_is_undone(two: Two) -> None:
    two.sender.replies |= {SENDER: [WAITING], WAIT: [FAILURE]}
    two.receiver.replies |= {RECEIVER: [ACTING], WAIT: [asyncio.Event(), SUCCESS]}
    with pytest.raises(IncusOperationError, match="boom"):
        await two.migrate()
    assert two.undone == [True]
    assert DELETE in two.receiver.requests


async def test_cancelled_before_the_answer_it_ends_what_that_names(two: Two) -> None:
    late = asyncio.Event()
    two.sender.replies |= {SENDER: [WAITING], WAIT: [FAILURE]}
    two.receiver.replies |= {RECEIVER: [late, ACTING], WAIT: [SUCCESS]}
    migrating = asyncio.ensure_future(two.migrate())
    await two.receiver.asked(RECEIVER)
    migrating.cancel()
    await two.sender.asked(DELETE)
    assert not migrating.done()
    late.set()
    with pytest.raises(asyncio.CancelledError):
        await migrating
    assert two.undone == [True]
    assert DELETE in two.receiver.requests


async def test_both_begin_anew_for_each_address_and_only_where_that_was_the_reason(two: Two) -> None:
    unreachable = sync(operation(400, 'Failed waiting for migration "control" connection on target: i/o timeout'))
    two.sender.replies |= {SENDER: [WAITING], WAIT: [asyncio.Event(), FAILURE, asyncio.Event(), FAILURE]}
    two.receiver.replies |= {RECEIVER: [ACTING], WAIT: [unreachable, FAILURE]}
    with pytest.raises(IncusOperationError, match="boom"):
        await two.migrate(addresses=["https://a:1", "https://b:1", "https://c:1"])
    assert (two.sender.requests.count(SENDER), two.receiver.requests.count(RECEIVER)) == (2, 2)


@pytest.mark.parametrize("mode", ["pull", "push"])
async def test_a_side_that_cannot_reach_the_other_is_taken_at_its_word(
    two: Two, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incus_sdk._migration, "_SAME_MOMENT", None)  # the other waits for ever, and so would this
    unreachable = sync(operation(400, 'Failed waiting for migration "control" connection on source: refused'))
    pulls = mode == "pull"
    acting, waiting = (two.receiver, two.sender) if pulls else (two.sender, two.receiver)
    acting.replies |= {RECEIVER if pulls else SENDER: [ACTING], WAIT: [unreachable]}
    waiting.replies |= {SENDER if pulls else RECEIVER: [WAITING], WAIT: [asyncio.Event(), FAILURE]}
    with pytest.raises(IncusOperationError, match="none of https://a:1 can be reached"):
        await two.migrate(mode)


async def test_a_server_without_an_address_is_no_side_to_connect_to(two: Two) -> None:
    two.receiver.replies["GET /1.0"] = [told(certificate="PEM", addresses=[])]
    with pytest.raises(IncusInputError, match=r"set its core.https_address, or use mode='relay'"):
        await two.migrate("push", None)
    assert (two.sender.requests, two.receiver.requests) == ([], ["GET /1.0"])


async def test_servers_are_the_same_by_their_certificate_and_strangers_tell_none() -> None:
    def server(**told: Any) -> Scope:
        scope = Client("/nowhere")._scope
        scope._server.update({"auth": "x", **told})
        return scope

    one, cluster, other = (server(environment={"certificate_fingerprint": each}) for each in "aab")
    stranger, second = server(), server()
    assert await same_server(one, one.view(project="p"))
    assert await same_server(one, cluster)
    for pair in ((one, other), (one, stranger), (stranger, second)):
        assert not await same_server(*pair)


async def test_what_a_server_is_about_to_remove_is_waited_for_and_then_deleted(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incus_sdk.api._copies, "_REMOVAL_CHECKS", 3)
    path = "/1.0/instances/c2"
    target = Client(two.scopes[1].transport.endpoint.socket).instances["c2"]
    there, gone = sync({"name": "c2"}), error(404, "not found")
    for looks, made, expected in (
        ([there, there, gone], False, [f"GET {path}"] * 3),
        ([there], False, [*[f"GET {path}"] * 3, f"DELETE {path}"]),
        ([there], True, [f"DELETE {path}"]),
    ):
        two.receiver.requests.clear()
        two.receiver.replies |= {f"GET {path}": [*looks], f"DELETE {path}": [sync({})]}
        await incus_sdk.api._copies._remove(target, made)
        assert two.receiver.requests == expected
    await target._scope.transport.close()


BUSY = 'Failed to create instance delete operation: Instance is busy running a "migrate" operation'


@pytest.mark.parametrize("force", [False, True])
async def test_an_instance_is_deleted_once_the_server_lets_go_of_a_cancelled_migration(force: bool) -> None:
    async with Fake() as fake, fake.client() as client:
        await client.instances.create("c1", "busybox", wait=True)
        busy = fake.on_operation("DELETE", "/1.0/instances/c1", fails=BUSY, times=2)
        await client.instances["c1"].delete(force=force, wait=True)
        assert not await client.instances["c1"].exists()
        busy.remove()
        await client.instances.create("c1", "busybox", wait=True)
        fake.on_operation("DELETE", "/1.0/instances/c1", fails="Failed: no space left on device")
        with pytest.raises(IncusOperationError, match="no space left"):
            await client.instances["c1"].delete(force=force, wait=True)
        fake.requests.assert_made("DELETE", "/1.0/instances/c1", times=4)
