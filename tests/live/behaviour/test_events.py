"""The stream of events on the real daemon: nothing missed, everything typed, alive again after a loss that it tells."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import pytest

import incus_sdk.events
from incus_sdk import (
    Client,
    Event,
    EventStream,
    Gap,
    IncusConnectionError,
    IncusInputError,
    LifecycleEvent,
    LoggingEvent,
    Operation,
    OperationEvent,
)
from incus_sdk.testing import Daemon


async def following(events: EventStream) -> Event | Gap:
    """The next of them, which must be on its way."""
    return await asyncio.wait_for(anext(events), 10)


async def happened(events: EventStream, count: int = 1) -> list[tuple[str, str]]:
    """Actions and sources of the next lifecycle events."""
    found: list[tuple[str, str]] = []
    while len(found) < count:
        event = await following(events)
        assert isinstance(event, LifecycleEvent)
        found.append((event.metadata.action, event.metadata.source))
    return found


async def profile(client: Client, name: str) -> None:
    """Two events: a profile comes and goes."""
    await client.query("POST", "/1.0/profiles", body={"name": name})
    await client.query("DELETE", f"/1.0/profiles/{name}")


async def token(client: Client) -> Operation:
    operation = await client.query("POST", "/1.0/certificates", body={"name": "x", "type": "client", "token": True})
    assert isinstance(operation, Operation)
    return operation


async def test_nothing_is_missed_from_the_first_line_of_the_block_on(client: Client, name: str) -> None:
    for _ in range(20):
        async with client.events.listen(["lifecycle"]) as events:
            await profile(client, name)
            assert await happened(events, 2) == [
                ("profile-created", f"/1.0/profiles/{name}"),
                ("profile-deleted", f"/1.0/profiles/{name}"),
            ]


async def test_events_are_typed(client: Client, name: str) -> None:
    async with client.events.listen() as events:
        await profile(client, name)
        await (await token(client)).cancel()
        seen: dict[type, Any] = {}
        while not seen.keys() >= {LifecycleEvent, OperationEvent, LoggingEvent}:
            event = await following(events)
            assert isinstance(event, Event)
            seen.setdefault(type(event), event)
    lifecycle, operation, logging = seen[LifecycleEvent], seen[OperationEvent], seen[LoggingEvent]
    assert isinstance(lifecycle, LifecycleEvent)
    assert lifecycle.metadata.action == lifecycle["metadata"]["action"] == "profile-created"
    assert lifecycle.metadata.requestor.protocol == ("unix" if "unix" in repr(client) else "tls")
    assert lifecycle.metadata.requestor.username
    assert (lifecycle.type, lifecycle.project, lifecycle.location) == ("lifecycle", "default", "none")
    assert lifecycle.timestamp is not None
    assert isinstance(operation, OperationEvent)
    assert (operation.type, operation.metadata.class_, operation.metadata.may_cancel) == ("operation", "token", True)
    assert isinstance(logging, LoggingEvent)
    assert logging.metadata.level
    assert logging.metadata.message


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["lifecycle"], {LifecycleEvent}),
        (["operation"], {OperationEvent}),
        (["logging"], {LoggingEvent}),
        (("operation", "lifecycle"), {OperationEvent, LifecycleEvent}),
    ],
)
async def test_only_the_types_asked_for_come(
    client: Client, name: str, types: Iterable[str], expected: set[type[Event]]
) -> None:
    async with client.events.listen(types) as events:
        for _ in range(2):
            await profile(client, name)
            await (await token(client)).cancel()
        seen = {type(await following(events)) for _ in range(4)}
    assert seen == expected


async def test_a_view_of_a_project_hears_that_project_and_all_projects_hears_all(client: Client, name: str) -> None:
    config: dict[str, str | int | bool | None] = {"features.profiles": True}
    await client.projects.create(name, config=config)
    view = client.use_project(name)
    async with (
        client.events.listen(["lifecycle"]) as here,
        view.events.listen(["lifecycle"]) as there,
        view.events.listen(["lifecycle"], all_projects=True) as everywhere,
    ):
        await profile(view, "inside")
        await profile(client, name)
        outside = [(f"profile-{what}", f"/1.0/profiles/{name}") for what in ("created", "deleted")]
        inside = [(f"profile-{what}", f"/1.0/profiles/inside?project={name}") for what in ("created", "deleted")]
        assert await happened(here, 2) == outside
        assert await happened(there, 2) == inside
        assert await happened(everywhere, 4) == inside + outside
    await client.projects.delete(name)


@pytest.mark.parametrize("types", [["lifecycle", "nope"], ["Lifecycle"], [], "lifecycle", ["a,b"], [None]])
async def test_unknown_types_are_refused_before_anything_is_sent(types: Any) -> None:
    with pytest.raises(IncusInputError, match="types"):
        Client("/there/is/no/such/socket").events.listen(types)


async def test_leaving_the_block_leaves_no_task_and_no_waiting_reader(client: Client) -> None:
    before = asyncio.all_tasks()
    async with client.events.listen(["lifecycle"]) as events:
        assert asyncio.all_tasks() > before
        reader = asyncio.create_task(collect(events))
        await asyncio.sleep(0)
    assert await asyncio.wait_for(reader, 10) == []
    assert asyncio.all_tasks() == before

    with pytest.raises(ZeroDivisionError):
        async with client.events.listen(["lifecycle"]):
            raise ZeroDivisionError
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), client.events.listen(["lifecycle"]) as events:
            await anext(events)
    assert asyncio.all_tasks() == before


async def test_what_had_come_can_be_read_after_the_block(client: Client, name: str) -> None:
    async with client.events.listen(["lifecycle"]) as events:
        await profile(client, name)
        first = await happened(events)
        while events._queue.empty():
            await asyncio.sleep(0.01)
    rest = [event.metadata.action async for event in events if isinstance(event, LifecycleEvent)]
    assert (first[0][0], rest) == ("profile-created", ["profile-deleted"])
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_a_stream_is_opened_by_its_block_and_once(client: Client) -> None:
    stream = client.events.listen()
    with pytest.raises(IncusInputError, match="context manager"):
        await anext(stream)
    async with stream:
        pass
    with pytest.raises(IncusInputError, match="once"):
        await stream.__aenter__()
    nowhere = Client("/there/is/no/such/socket")
    with pytest.raises(IncusConnectionError, match="no socket"):
        await nowhere.events.listen().__aenter__()
    await nowhere.disconnect()


async def test_many_events_come_in_order(client: Client, name: str) -> None:
    async with client.events.listen(["lifecycle"]) as events:
        reader = asyncio.create_task(happened(events, 200))
        for number in range(100):
            await profile(client, f"{name}-{number}")
        assert await reader == [
            (f"profile-{what}", f"/1.0/profiles/{name}-{number}")
            for number in range(100)
            for what in ("created", "deleted")
        ]


async def test_a_slow_reader_loses_nothing(client: Client, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incus_sdk.events, "_QUEUE", 3)
    async with client.events.listen(["lifecycle"]) as events:
        for number in range(50):
            await profile(client, f"{name}-{number}")
        assert events._queue.qsize() < 100, "the rest waits outside"
        sources = [source for _, source in await happened(events, 100)]
    assert sources == [f"/1.0/profiles/{name}-{number // 2}" for number in range(100)]


async def test_a_broken_stream_says_so_and_goes_on(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "incus_sdk.retries")
    async with (
        Daemon(image=False) as daemon,
        daemon.client() as unix,
        daemon.client("https") as https,
        unix.events.listen(["lifecycle"]) as events,
        https.events.listen(["lifecycle"]) as others,
    ):
        for _ in range(2):
            await daemon.restart()
            for stream in (events, others):
                while not isinstance(event := await following(stream), Gap):
                    pass  # the last words of the daemon that ended
                assert event.reason == "the connection was lost"
            await profile(unix, name)
            for stream in (events, others):
                while await happened(stream) != [("profile-deleted", f"/1.0/profiles/{name}")]:
                    pass
    assert caplog.text.count("the stream of events broke") == caplog.text.count("is open again") == 4


async def collect(events: EventStream) -> list[Event | Gap]:
    return [event async for event in events]
