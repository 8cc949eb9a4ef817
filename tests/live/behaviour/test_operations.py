"""Operations on the real daemon: how each one ends for whoever waits for it, watches it or is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

import incus_sdk.operations
from incus_sdk import (
    Client,
    IncusAPIError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    IncusOperationLostError,
    IncusTimeoutError,
    Instance,
    Operation,
    OperationEvent,
    Progress,
    models,
)
from incus_sdk.testing import Daemon

BUSYBOX = {"type": "image", "alias": "busybox"}
SLOW_IMAGE = """#!/bin/sh
printf 'Status: 200 OK\\r\\nContent-Length: 1000000\\r\\n'
printf 'Incus-Image-Hash: %064d\\r\\nIncus-Image-URL: %s\\r\\n\\r\\n' 0 "http://$HTTP_HOST/cgi-bin/image?$QUERY_STRING"
[ "$REQUEST_METHOD" = HEAD ] && exit
head -c 100000 /dev/zero
until [ -e "/go-$QUERY_STRING" ]; do sleep 0.05; done
head -c 900000 /dev/zero
"""
"""Something to download that comes to a stop, until it is let go on."""


class Proxy:
    """Forwards the bytes of connections to the daemon, and cuts them."""

    def __init__(self, daemon: Daemon, kind: Literal["unix", "https"], directory: Path) -> None:
        self._daemon, self._kind, self._socket, self._port = daemon, kind, directory / "proxy", 0
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.WriteTransport] = set()
        self.asked = asyncio.Event()
        """Set when a client sends something; cleared by a cut."""

    def client(self) -> Client:
        if self._kind == "unix":
            return Client(self._socket)
        daemon, url = self._daemon, f"https://127.0.0.1:{self._port}"
        return Client(url, cert=daemon.client_cert, server_cert=daemon.certificate)

    async def open(self) -> None:
        if self._kind == "unix":
            self._socket.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self._socket)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def cut(self) -> None:
        self.asked.clear()
        for link in self._links:
            link.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._kind == "unix":
            behind = await asyncio.open_unix_connection(self._daemon.socket)
        else:
            behind = await asyncio.open_connection("127.0.0.1", int(self._daemon.url.rpartition(":")[2]))
        links = {writer.transport, behind[1].transport}
        self._links |= links
        await asyncio.gather(self._forward(reader, behind[1], self.asked), self._forward(behind[0], writer))
        self._links -= links

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: asyncio.Event | None = None
    ) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                if passed is not None:
                    passed.set()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture(params=["unix", "https"])
async def proxy(daemon: Daemon, clean: None, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Proxy]:
    proxy = Proxy(daemon, request.param, tmp_path)
    await proxy.open()
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
async def standing(daemon: Daemon) -> AsyncIterator[Instance]:
    """A container that is not changed, and serves `SLOW_IMAGE` on a network of the daemon's own."""
    async with daemon.client() as client:
        config: models.Config = {
            "ipv4.address": "198.51.100.1/24",
            "ipv4.dhcp": False,
            "ipv4.nat": False,
            "ipv6.address": "none",
        }
        network = await client.networks.create("standing", config=config)
        nic = {"type": "nic", "network": "standing"}
        box = await client.instances.create("standing", BUSYBOX, devices={"eth0": nic}, start=True, wait=True)
        await box.execute(["mkdir", "-p", "/www/cgi-bin"], wait=True)
        await box.put_files("/www/cgi-bin/image", SLOW_IMAGE.encode())
        up = "ip addr add 198.51.100.2/24 dev eth0 && ip link set eth0 up"
        serve = "chmod +x /www/cgi-bin/image && httpd -h /www"
        assert (await box.execute(["sh", "-c", f"{up} && {serve}"], wait=True))["metadata"]["return"] == 0
        yield box
        await box.stop(force=True, wait=True)
        await box.delete(wait=True)
        await network.delete()


def slow_image(name: str) -> dict[str, str]:
    server = f"http://198.51.100.2/cgi-bin/image?{name}"
    return {"type": "image", "protocol": "direct", "server": server, "alias": "0" * 64}


def until_go(name: str) -> list[str]:
    """A command that ends, with 3, when it is let go by a file."""
    return ["sh", "-c", f"until [ -e /go-{name} ]; do sleep 0.05; done; exit 3"]


async def token(client: Client) -> Operation:
    """An operation that does nothing, and ends when it is cancelled."""
    operation = await client.query("POST", "/1.0/certificates", body={"name": "x", "type": "client", "token": True})
    assert isinstance(operation, Operation)
    return operation


async def console(client: Client) -> Operation:
    """Like `token`, but of an instance, which must be standing."""
    operation = await client.query("POST", "/1.0/instances/standing/console", body={"type": "console"})
    assert isinstance(operation, Operation)
    return operation


async def forgotten(operation: Operation) -> None:
    """Return when the server has forgotten an operation that ended."""
    async with asyncio.timeout(60):
        while True:
            try:
                await operation._scope.request("GET", f"/1.0/operations/{operation.id}")
            except IncusNotFoundError:
                return
            except IncusAPIError as error:
                # For a moment the database alone knows it, as if another member of a cluster had it.
                if "cluster member" not in str(error):
                    raise
            await asyncio.sleep(0.2)


async def test_wait_returns_the_operation_as_it_ended(client: Client, standing: Instance) -> None:
    box = client.instances["standing"]
    operation = await box.execute(["sh", "-c", "exit 7"])
    assert await operation.wait() is operation
    assert (operation.status, operation.status_code, operation.err) == ("Success", 200, "")
    assert operation.metadata["return"] == operation["metadata"]["return"] == 7
    assert await operation.wait(timeout=0) is operation, "what has ended is not asked for again"

    named = await client.wait_for_operation((await box.execute(["sh", "-c", "exit 8"])).id)
    assert (type(named), named.status, named.metadata["return"]) == (Operation, "Success", 8)


async def test_a_failed_operation_raises_with_its_cause(client: Client, name: str) -> None:
    nic = {"type": "nic", "nictype": "macvlan", "parent": "nowhere"}
    box = await client.instances.create(name, BUSYBOX, devices={"eth0": nic}, wait=True)
    operation = await box.start()
    with pytest.raises(IncusOperationError, match="Parent device 'nowhere' doesn't exist") as caught:
        await operation.wait()
    error = caught.value
    assert operation.id in str(error)
    assert (error.operation_id, error.response, error.response["status_code"]) == (operation.id, operation.raw, 400)
    assert operation.err in str(error)
    with pytest.raises(IncusOperationError, match="nowhere"):
        await box.start(wait=True)
    with pytest.raises(IncusOperationError, match="nowhere"):
        await client.wait_for_operation((await box.start()).id)
    await box.delete(wait=True)


async def test_after_a_timeout_the_operation_goes_on(client: Client, standing: Instance, name: str) -> None:
    operation = await client.instances.execute("standing", until_go(name))
    for waiting in (operation.wait(timeout=0.1), client.wait_for_operation(operation.id, timeout=0.1)):
        with pytest.raises(IncusTimeoutError, match=rf"{operation.id}.* 0.1 s and goes on") as caught:
            await waiting
        assert isinstance(caught.value, TimeoutError)
    assert (await operation.refresh()).status == "Running"
    await standing.put_files(f"/go-{name}", b"")
    assert (await operation.wait(timeout=30)).metadata["return"] == 3


async def test_waiting_is_not_cut_off_by_the_timeout_of_the_client(
    daemon: Daemon, standing: Instance, name: str
) -> None:
    async with Client(daemon.socket, timeout=0.5) as impatient:
        operation = await standing.execute(["sleep", "1"])
        assert (await impatient.operations[operation.id].wait()).metadata["return"] == 0


async def test_a_cancelled_operation_raises_as_cancelled(client: Client) -> None:
    operation = await token(client)
    waiting = asyncio.create_task(operation.wait())
    await client.operations.cancel(operation.id)
    with pytest.raises(IncusOperationError, match="Cancelled") as caught:
        await waiting
    assert caught.value.response["status_code"] == operation.status_code == 401


async def test_what_cannot_be_cancelled_refuses_and_goes_on(client: Client, standing: Instance, name: str) -> None:
    operation = await client.instances.execute("standing", until_go(name))
    assert not operation.may_cancel
    with pytest.raises(IncusAPIError, match="can't be cancelled") as caught:
        await operation.cancel()
    assert caught.value.status_code == 400
    await standing.put_files(f"/go-{name}", b"")
    assert (await operation.wait()).metadata["return"] == 3


async def test_the_outcome_of_a_forgotten_operation_is_lost_unless_it_was_seen(daemon: Daemon, clean: None) -> None:
    async with daemon.client() as client:
        unseen, seen = await token(client), await token(client)
        await asyncio.gather(unseen.cancel(), seen.cancel())
        with pytest.raises(IncusOperationError):
            await seen.wait()
        await forgotten(unseen)
        for waiting in (unseen.wait(), client.wait_for_operation(unseen.id)):
            with pytest.raises(IncusOperationLostError, match=f"{unseen.id}.*unknown.*look at the object") as caught:
                await waiting
            assert caught.value.operation_id == unseen.id
        with pytest.raises(IncusOperationError, match="Cancelled") as known:
            await seen.wait()
        assert not isinstance(known.value, IncusOperationLostError)
        with pytest.raises(IncusNotFoundError):
            await client.operations.get(seen.id)
        assert [update async for update in unseen.progress()] == []


async def test_a_connection_cut_while_waiting_is_made_again(proxy: Proxy, standing: Instance, name: str) -> None:
    async with proxy.client() as behind:
        operation = await behind.instances.execute("standing", until_go(name))
        proxy.asked.clear()
        waiting = asyncio.create_task(operation.wait())
        for _ in range(3):
            await proxy.asked.wait()
            proxy.cut()
        await proxy.asked.wait()
        await standing.put_files(f"/go-{name}", b"")
        assert (await waiting).metadata["return"] == 3


async def test_an_operation_that_ends_while_the_server_cannot_be_reached_has_its_outcome(
    daemon: Daemon, proxy: Proxy, standing: Instance, name: str
) -> None:
    async with proxy.client() as behind, daemon.client() as direct:
        operation = await behind.instances.execute("standing", until_go(name))
        proxy.asked.clear()
        waiting = asyncio.create_task(operation.wait())
        await proxy.asked.wait()
        proxy.close()
        await standing.put_files(f"/go-{name}", b"")
        await direct.wait_for_operation(operation.id)
        await proxy.open()
        assert (await waiting).metadata["return"] == 3


async def test_a_server_that_stays_away_ends_the_wait(
    proxy: Proxy, standing: Instance, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incus_sdk.operations, "_PAUSE", 0.01)
    async with proxy.client() as behind:
        operation = await behind.instances.execute("standing", until_go(name))
        proxy.asked.clear()
        waiting = asyncio.create_task(operation.wait())
        await proxy.asked.wait()
        proxy.close()
        with pytest.raises(IncusConnectionError):
            await waiting
    await standing.put_files(f"/go-{name}", b"")


async def test_an_operation_that_a_restart_ended_is_lost() -> None:
    async with Daemon(image=False) as daemon, daemon.client() as client, daemon.client("https") as other:
        operation = await token(client)
        waiting = [operation.wait(), other.wait_for_operation(operation.id, timeout=None)]
        tasks = [asyncio.create_task(wait) for wait in waiting]
        await client.get_server_info()  # after a round trip the waits have been sent as well
        await daemon.restart()
        for task in tasks:
            with pytest.raises(IncusOperationLostError, match="restart"):
                await task


async def test_cancelling_the_caller_cancels_the_operation(client: Client, standing: Instance) -> None:
    for operation in (await token(client), await console(client)):
        waiting = asyncio.create_task(operation.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await operation.refresh()).status == "Cancelled"


async def test_cancelling_the_caller_leaves_alone_what_the_server_cannot_cancel(
    client: Client, standing: Instance, name: str
) -> None:
    operation = await client.instances.execute("standing", until_go(name))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(operation.wait(), 0.1)
    assert (await operation.refresh()).status == "Running"
    await standing.put_files(f"/go-{name}", b"")
    assert (await operation.wait()).metadata["return"] == 3


async def test_cancelling_the_caller_cancels_what_became_cancellable_later(
    client: Client, standing: Instance, name: str
) -> None:
    async with client.events.listen(["operation"]) as events:
        creating = asyncio.create_task(client.instances.create(name, slow_image(name), wait=True))
        async for seen in events:
            assert isinstance(seen, OperationEvent)
            if seen.metadata.may_cancel:  # it was not when the server answered: the download had not begun
                break
        else:
            pytest.fail("the stream ended")
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    with pytest.raises(IncusOperationError, match=r"(context canceled|Cancelled)$"):
        await client.wait_for_operation(seen.metadata.id, timeout=10)
    assert not await client.instances.exists(name)


async def test_progress_follows_the_operation_to_its_end(client: Client, standing: Instance, name: str) -> None:
    source = {"type": "url", "url": slow_image(name)["server"]}
    operation = await client.query("POST", "/1.0/images", body={"source": source})
    assert isinstance(operation, Operation)
    percents: list[int | None] = []
    async for update in operation.progress():
        assert f"{update.percent}%" in update.text
        if not percents:
            assert operation.status == "Running"
            await standing.put_files(f"/go-{name}", b"")
        percents.append(update.percent)
    assert percents[0] is not None
    assert percents[0] < 50
    assert 100 in percents
    assert operation.status == "Failure", "progress() does not raise"
    with pytest.raises(IncusOperationError, match="Hash mismatch"):
        await operation.wait()


async def test_progress_has_numbers_where_the_server_has(client: Client, name: str) -> None:
    operation = await client.instances.create(name, BUSYBOX)
    updates = [update async for update in operation.progress()]
    stages = {(update.stage, type(update.percent), type(update.speed)) for update in updates}
    assert stages == {("create_instance_from_image_unpack", int, int)}
    assert updates[-1].text.startswith("Unpacking image: ")
    assert (await operation.wait()).status == "Success"
    assert [update.percent async for update in operation.progress()] == [100], "afterwards it tells where it ended"
    await client.instances.delete(name, wait=True)


async def test_waiting_tells_the_progress(client: Client, standing: Instance, name: str) -> None:
    operation = await client.instances.create(name, slow_image(name))
    with pytest.raises(IncusTimeoutError):
        await operation.wait(0.01, progress=lambda _: None)
    assert (await operation.refresh()).status == "Running", "a limit does not cancel it"

    def fail(update: Progress) -> None:
        raise ZeroDivisionError(update.stage)

    with pytest.raises(ZeroDivisionError, match="download"):
        await operation.wait(progress=fail)
    with pytest.raises(IncusOperationError):
        await operation.wait()
    made = await client.instances.create(name, BUSYBOX)
    seen: list[Progress] = []
    assert (await made.wait(60, progress=seen.append)).status == "Success"
    assert seen[-1].percent == 100
    await client.instances.delete(name, wait=True)


async def test_progress_may_be_left_early(client: Client, standing: Instance, name: str) -> None:
    operation = await client.instances.create(name, slow_image(name))
    async for _ in operation.progress():
        break
    await operation.cancel()
    with pytest.raises(IncusOperationError):
        await operation.wait()  # and the fixture `clean` finds no task left


async def test_operations_are_listed_and_found(client: Client, standing: Instance) -> None:
    operation = await console(client)
    listed = {each.id: each for each in await client.operations.list()}
    assert listed[operation.id].raw == (await client.operations.get(operation.id)).raw
    assert listed[operation.id].status == "Running"
    handles = {each.id: each for each in await client.operations.list(recursion=0)}
    assert handles[operation.id].raw.keys() < operation.raw.keys()
    assert (await handles[operation.id].refresh()).resources == {"instances": ["/1.0/instances/standing"]}
    await client.operations.delete(operation.id)
    with pytest.raises(IncusOperationError, match="Cancelled"):
        await client.operations[operation.id].wait()


async def test_operations_of_every_project_are_listed(client: Client, name: str) -> None:
    project = client.use_project((await client.projects.create(name, config={"features.profiles": False})).name)
    operation = await project.instances.create(name, {"type": "none"})
    await operation.wait()
    for recursion in (0, 1):
        assert operation.id in {each.id for each in await client.operations.list(recursion, all_projects=True)}
        assert operation.id in {each.id for each in await project.operations.list(recursion)}
        assert operation.id not in {each.id for each in await client.operations.list(recursion)}
    await project.instances.delete(name, wait=True)
    await client.projects.delete(name)


async def test_a_handle_on_an_operation_asks_nothing_and_takes_no_hostile_id(client: Client) -> None:
    await client.disconnect()
    assert client.operations["0-0"].id == "0-0"
    assert not client._scope.transport.is_open, "nothing was opened for it"
    for hostile in ("", "..", "."):
        with pytest.raises(IncusInputError):
            client.operations[hostile]
    with pytest.raises(IncusError, match="has no websocket 'stdin'"):
        await (await token_ended(client)).websocket("stdin")


async def test_an_operation_is_a_mapping_and_travels_as_a_record(client: Client) -> None:
    operation = await token_ended(client)
    assert operation["id"] == operation.id
    assert operation.get("metadata") == operation.raw["metadata"]
    copy = pickle.loads(pickle.dumps(operation))
    assert type(copy) is models.Operation
    assert copy.raw == operation.raw


async def token_ended(client: Client) -> Operation:
    operation = await token(client)
    await operation.cancel()
    return operation
