"""The 26 defects of the published incus-sdk 1.0.0, each by its number, and what is right instead."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import importlib.metadata
import importlib.resources
import inspect
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import incus_sdk
from incus_sdk import (
    Client,
    IncusAPIError,
    IncusConnectionError,
    IncusError,
    IncusNotFoundError,
    IncusOperationError,
    IncusPermissionError,
    IncusTimeoutError,
    Instance,
    Operation,
    models,
)
from incus_sdk._connection import discovery
from incus_sdk.api.certificates import Certificate
from incus_sdk.api.cluster import Cluster, ClusterMember
from incus_sdk.api.images import Image
from incus_sdk.api.networks import Network
from incus_sdk.api.profiles import Profile
from incus_sdk.api.projects import Project
from incus_sdk.api.storage import StoragePool, Volume
from incus_sdk.models.base import Record
from incus_sdk.testing import Daemon
from tests.live.boxes import listening

BUSYBOX = {"type": "image", "alias": "busybox"}
NO_ADDRESSES = {"ipv4.address": "none", "ipv6.address": "none"}


@pytest.fixture(scope="module")
async def standing(daemon: Daemon) -> AsyncIterator[str]:
    """The name of a running box that tests look into and do not change."""
    async with daemon.client() as client:
        box = await client.instances.create("standing", BUSYBOX, start=True, wait=True)
        yield box.name
        await box.stop(force=True, wait=True)
        await box.delete(wait=True)


@pytest.fixture
async def clustered() -> AsyncIterator[Client]:
    """A client of a cluster with one member, ``one``."""
    async with Daemon(image=False) as daemon, daemon.client() as client:
        # An address inside the daemon's own network, where the member finds itself.
        await client.query("PATCH", "/1.0", body={"config": {"cluster.https_address": "127.0.0.1:9443"}})
        await client.cluster.update({"server_name": "one", "enabled": True})
        yield client


@pytest.fixture
def newcomer(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key that no server knows."""
    key, now = ec.generate_private_key(ec.SECP384R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "newcomer")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, private = tmp_path / "newcomer.crt", tmp_path / "newcomer.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, private


def image(name: str) -> bytes:
    """An image that holds nothing."""
    # An image without properties, uploaded with some, crashes Incus 6.0.4.
    metadata = f"architecture: x86_64\ncreation_date: 1700000000\nproperties: {{os: {name}}}\n".encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("metadata.yaml")
        entry.size = len(metadata)
        tar.addfile(entry, io.BytesIO(metadata))
        entry = tarfile.TarInfo("rootfs")
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
    return archive.getvalue()


# 1: all 31 methods of the models raised AttributeError.
METHODS: dict[type[Record], str] = {
    Certificate: "delete update",
    Cluster: "get_member add_member",
    ClusterMember: "update delete",
    Image: "delete update export",
    Instance: "start stop restart delete update execute",
    Network: "update delete rename",
    Profile: "update delete rename",
    Project: "update delete rename",
    StoragePool: "update delete list_volumes create_volume",
    Volume: "update delete rename",
}


def test_records_have_the_31_published_methods() -> None:
    methods = [getattr(record, name) for record, names in METHODS.items() for name in names.split()]
    assert len(methods) == 31
    assert all(inspect.iscoroutinefunction(method) for method in methods)


async def test_the_methods_of_an_instance_work(client: Client, name: str) -> None:
    instance = await client.instances.create(name, BUSYBOX, wait=True)
    await instance.start(wait=True)
    result = await instance.execute(["echo", "hi"], record_output=True, wait=True)
    assert result["metadata"]["output"]["stdout"] == "hi\n"
    await instance.restart(force=True, wait=True)
    await instance.update({"user.key": 1}, wait=True)
    await instance.stop(force=True, wait=True)
    assert (await instance.refresh()).config["user.key"] == "1"
    await instance.delete(wait=True)
    assert not await instance.exists()


async def test_the_methods_of_an_image_work(client: Client, name: str, tmp_path: Path) -> None:
    found = await client.images.create(image(name), wait=True)
    await found.update({"public": True})
    assert (await found.refresh()).public is True
    await found.export(tmp_path / "image")
    assert (tmp_path / "image").read_bytes() == image(name)
    await found.delete(wait=True)
    assert not await found.exists()


async def test_the_methods_of_a_pool_and_of_a_volume_work(client: Client, name: str) -> None:
    pool = await client.storage_pools.create(name, "dir")
    await pool.update({"description": "new"})
    assert (await pool.refresh()).description == "new"
    volume = await pool.create_volume("data", "custom", {"user.key": 1})
    assert [each.name for each in await pool.list_volumes("custom")] == ["data"]
    assert await pool.list_volumes("container") == []
    await volume.update({"description": "new"})
    await volume.rename("data2")
    assert [(each.name, each.description) for each in await pool.list_volumes()] == [("data2", "new")]
    await volume.delete()
    await pool.delete()
    assert not await pool.exists()


@pytest.mark.parametrize(("group", "config"), [("networks", NO_ADDRESSES), ("profiles", {}), ("projects", {})])
async def test_the_methods_of_networks_profiles_and_projects_work(
    client: Client, name: str, group: str, config: dict[str, str]
) -> None:
    record = await getattr(client, group).create(name, config=config)
    await record.update({"description": "new", "user.key": 1})
    await record.rename(f"{name}x")
    assert record.name == f"{name}x"
    found = await getattr(client, group).get(f"{name}x")
    assert (found.description, found.config["user.key"]) == ("new", "1")
    await found.delete()
    assert not await record.exists()


async def test_the_methods_of_a_certificate_work(client: Client, newcomer: tuple[Path, Path]) -> None:
    certificate = await client.certificates.create(newcomer[0].read_text(), "newcomer")
    await certificate.update({"name": "renamed"})
    assert (await certificate.refresh()).name == "renamed"
    await certificate.delete()
    assert not await certificate.exists()


async def test_the_methods_of_the_cluster_and_of_its_members_work(clustered: Client) -> None:
    cluster = await clustered.cluster.get()
    assert (cluster.enabled, cluster.server_name) == (True, "one")
    member = await cluster.get_member("one")
    await member.update({"description": "first"})
    assert (await member.refresh()).description == "first"
    assert json.loads(base64.b64decode(await cluster.add_member("two")))["server_name"] == "two"
    with pytest.raises(IncusAPIError, match="only member"):
        await member.delete()


# 2, 18: a failed operation raised nothing, and IncusOperationError was never used.
async def test_a_failed_operation_raises_its_own_error(client: Client, standing: str) -> None:
    with pytest.raises(IncusOperationError, match="already running") as raised:
        await client.instances.start(standing, wait=True)
    assert raised.value.response["id"] == raised.value.operation_id
    assert raised.value.response["err"] == "The instance is already running"
    assert isinstance(raised.value, IncusError)


# 3: as 2, where the server tells the failure by a body of type error under HTTP 200.
async def test_waiting_for_a_failed_operation_raises_however_it_is_waited_for(client: Client, standing: str) -> None:
    waits: list[Callable[[Operation], Awaitable[Any]]] = [
        lambda operation: client.operations.wait(operation.id),
        lambda operation: client.wait_for_operation(operation.id),
        lambda operation: operation.wait(),
    ]
    for wait in waits:
        operation = await client.instances.unfreeze(standing)
        with pytest.raises(IncusOperationError, match="already running") as raised:
            await wait(operation)
        assert raised.value.response["status"] == "Failure"


# 4: a failed create raised "Instance not found".
async def test_a_failed_create_raises_the_real_cause(client: Client, standing: str, name: str) -> None:
    with pytest.raises(IncusOperationError, match=r"UNIQUE constraint|already exists"):
        await client.instances.create(standing, {"type": "none"}, wait=True)
    with pytest.raises(IncusOperationError, match="Storage pool not found"):
        await client.instances.create(
            name, BUSYBOX, devices={"root": {"type": "disk", "path": "/", "pool": "nope"}}, wait=True
        )


# 5: the client's certificate was never sent, and verify=False was ignored.
async def test_a_server_that_proves_nothing_is_refused_unless_verify_is_false(daemon: Daemon, clean: None) -> None:
    with pytest.raises(IncusConnectionError, match="server_cert"):
        async with Client(daemon.url, daemon.client_cert):
            pass
    async with Client(daemon.url, verify=False) as client:
        assert (await client.get_server_info()).auth == "untrusted"
        with pytest.raises(IncusPermissionError):
            await client.instances.list()
    async with Client(daemon.url, daemon.client_cert, verify=False) as client:
        assert (await client.get_server_info()).auth == "trusted"
        assert await client.instances.list() is not None


# 6, 7: images.create always raised TypeError, and sent public and properties where the server does not read them.
async def test_an_uploaded_image_has_what_was_asked_for(client: Client, name: str) -> None:
    properties = {"description": "a b&c=d;e é %2F", "release": "1"}
    made = await client.images.create(
        image(name), f"{name}.tar", public=True, auto_update=True, properties=properties, wait=True
    )
    assert isinstance(made, Image)
    found = await client.images.get(made.fingerprint)
    assert (found.filename, found.public, found.auto_update) == (f"{name}.tar", True, True)
    assert found.properties == {"os": name, **properties}
    with pytest.raises(IncusOperationError, match="already exists"):
        await client.images.create(image(name), wait=True)
    await found.delete(wait=True)

    operation = await client.images.create(image(name))
    assert (await operation.wait()).metadata["fingerprint"] == made.fingerprint
    plain = await client.images.get(made.fingerprint)
    assert (plain.public, plain.auto_update) == (False, False)
    await client.images.delete(made.fingerprint, wait=True)


# 8: images.export failed, as any binary answer did.
async def test_what_is_binary_comes_as_the_bytes_it_is(
    client: Client, standing: str, name: str, tmp_path: Path
) -> None:
    made = await client.images.create(image(name), wait=True)
    await client.images.export(made.fingerprint, tmp_path / "image")
    assert (tmp_path / "image").read_bytes() == image(name)
    assert await client.query("GET", f"/1.0/images/{made.fingerprint}/export") == image(name)
    await made.delete(wait=True)
    content = bytes(range(256))
    await client.instances.put_files(standing, "/tmp/bytes", content)
    assert await client.instances.get_files(standing, "/tmp/bytes") == content


# 9: list(recursion=0) raised TypeError.
async def test_recursion_0_lists_handles_of_the_same_objects(
    client: Client, clustered: Client, standing: str, name: str
) -> None:
    network = await client.networks.create(name, NO_ADDRESSES)
    volume = await client.storage_pools.create_volume("default", name)
    pools = client.storage_pools
    lists: list[Callable[[int], Awaitable[list[Any]]]] = [
        client.instances.list, client.images.list, client.networks.list, client.profiles.list, client.projects.list,
        client.storage_pools.list, client.certificates.list, clustered.cluster.list_members,
        lambda recursion: pools.list_volumes("default", recursion=recursion),
        lambda recursion: pools.list_volumes("default", "custom", recursion),
    ]  # fmt: skip
    for verb in lists:
        handles, records = await verb(0), await verb(1)
        assert [handle[handle.KEY] for handle in handles] == [record[record.KEY] for record in records] != []
        assert [type(handle) for handle in handles] == [type(record) for record in records]
        await handles[0].refresh()
    await volume.delete()
    await network.delete()


# 10: operations.list gave a dictionary by status.
async def test_operations_are_a_list(client: Client, standing: str) -> None:
    operation = await client.instances.execute(standing, ["sleep", "1"])
    (running,) = [each for each in await client.operations.list() if each.id == operation.id]
    assert isinstance(running, Operation)
    assert (running.status, running.description) == ("Running", "Executing command")
    assert operation.id in [each.id for each in await client.operations.list(recursion=0)]
    await operation.wait()


# 11, 19: operations.cancel asked for what does not exist, and a cancelled operation seemed to run on.
async def test_a_cancelled_operation_is_over(client: Client, standing: str, name: str) -> None:
    await client.certificates.create_token(name)
    (pending,) = [
        each for each in await client.operations.list() if (each.metadata.get("request") or {}).get("name") == name
    ]
    assert (pending.class_, pending.may_cancel) == ("token", True)
    waiting = asyncio.create_task(client.operations.wait(pending.id))
    await client.operations.cancel(pending.id)
    with pytest.raises(IncusOperationError, match="Cancelled") as raised:
        await waiting
    assert raised.value.response["status_code"] == 401
    assert (await client.operations.get(pending.id)).status == "Cancelled"

    command = await client.instances.execute(standing, ["sleep", "1"])
    with pytest.raises(IncusAPIError, match="can't be cancelled"):
        await client.operations.cancel(command.id)
    await command.wait()


# 12: cluster.add_member sent what the server does not read, and added nothing.
async def test_adding_a_member_gives_the_token_to_join_with(clustered: Client) -> None:
    token = json.loads(base64.b64decode(await clustered.cluster.add_member("two")))
    assert token["server_name"] == "two"
    assert token["addresses"] == ["127.0.0.1:9443"]
    assert len(token["fingerprint"]) == len(token["secret"]) == 64
    assert datetime.fromisoformat(token["expires_at"]) > datetime.now(UTC)


async def test_a_server_outside_any_cluster_says_so(client: Client) -> None:
    with pytest.raises(IncusAPIError, match="not clustered") as raised:
        await client.cluster.add_member("two")
    assert raised.value.status_code == 400


# 13: certificates.create took a password, which Incus has not, and made no token.
async def test_a_newcomer_is_trusted_by_its_token(
    daemon: Daemon, client: Client, newcomer: tuple[Path, Path], name: str
) -> None:
    token = await client.certificates.create_token(name, restricted=True, projects=["default"])
    async with Client(daemon.url, newcomer, server_cert=daemon.certificate) as stranger:
        assert (await stranger.get_server_info()).auth == "untrusted"
        await stranger.query("POST", "/1.0/certificates", body={"trust_token": token, "type": "client"})
        assert (await stranger.get_server_info()).auth == "trusted"
    (certificate,) = [each for each in await client.certificates.list() if each.name == name]
    assert (certificate.restricted, certificate.projects) == (True, ["default"])
    await certificate.delete()


# 14: update replaced the whole object, or changed nothing.
@pytest.mark.parametrize("group", ["instances", "profiles", "projects", "networks", "storage_pools", "volumes"])
async def test_update_adds_and_removes_and_keeps_what_it_does_not_name(client: Client, name: str, group: str) -> None:
    volumes = client.storage_pools["default"].volumes
    key = f"custom/{name}" if group == "volumes" else name
    kept: dict[str, Any] = {"user.kept": "1"}
    made: Any
    match group:
        case "instances":
            made = await client.instances.create(name, BUSYBOX, kept, description="old", wait=True)
        case "volumes":
            made = await volumes.create(key, config=kept, description="old")
        case "storage_pools":
            made = await client.storage_pools.create(name, "dir", kept, "old")
        case _:
            config = {**kept, **(NO_ADDRESSES if group == "networks" else {})}
            made = await getattr(client, group).create(name, config=config, description="old")
    before = copy.deepcopy(made.raw)
    verbs = volumes if group == "volumes" else getattr(client, group)

    async def update(change: dict[str, Any]) -> Any:
        outcome = await verbs.update(key, change)
        if isinstance(outcome, Operation):
            await outcome.wait()
        return await verbs.get(key)

    after = await update({"config": {"user.added": 2}, "description": "new"})
    assert after.config == {**before["config"], "user.added": "2"}
    assert after.description == "new"
    after = await update({"user.added": None, "description": "old"})
    assert after["config"] == before["config"]
    assert after.get("devices") == before.get("devices")
    assert after.get("profiles") == before.get("profiles")
    await after.delete(**({"wait": True} if group == "instances" else {}))


# 15: the client's 30 seconds cut off longer operations, with an error that was no IncusError.
async def test_an_operation_may_take_longer_than_the_clients_timeout(
    daemon: Daemon, clean: None, standing: str
) -> None:
    async with Client(daemon.socket, timeout=3) as client:
        operation = await client.instances.execute(standing, ["sleep", "3.5"])
        assert (await client.operations.wait(operation.id)).status == "Success"


# 16: an operation that still ran when the wait was over counted as done.
async def test_an_operation_that_still_runs_after_the_timeout_is_no_success(client: Client, standing: str) -> None:
    operation = await client.instances.execute(standing, ["sh", "-c", "until rm /tmp/go; do sleep 0.1; done"])
    for wait in (client.wait_for_operation, client.operations.wait):
        with pytest.raises(IncusTimeoutError, match="goes on"):
            await wait(operation.id, timeout=0.1)
    await client.instances.put_files(standing, "/tmp/go", b"")
    assert (await operation.wait()).metadata["return"] == 0


# 17: names were not quoted, so that some reached other objects.
async def test_no_name_reaches_another_object(client: Client, name: str) -> None:
    project = await client.projects.create(name, {"features.images": False, "features.profiles": False})
    other = client.use_project(name)
    hidden = await other.instances.create(name, {"type": "none"}, wait=True)
    for hostile in (f"{name}?project={name}", f"{name}#?project={name}", f"../instances/{name}?project={name}"):
        with pytest.raises(IncusAPIError):
            await client.instances.get(hostile)
        with pytest.raises(IncusAPIError):
            await client.instances.delete(hostile, wait=True)
    assert not await client.instances.exists(name)
    assert await other.instances.exists(name)
    await hidden.delete(wait=True)
    await project.delete()


# 20: execute(wait_for_websocket=True) gave no way to connect, and no exit code.
async def test_a_command_that_waits_for_websockets_gets_input_and_gives_output_and_exit_code(
    client: Client, standing: str
) -> None:
    operation = await client.instances.execute(
        standing, ["sh", "-c", "cat; echo no >&2; exit 3"], wait_for_websocket=True
    )
    async with contextlib.AsyncExitStack() as stack:
        sockets = {}
        for name in ("0", "1", "2", "control"):
            sockets[name] = await operation.websocket(name)
            stack.push_async_callback(sockets[name].close)
        await sockets["0"].send(b"\0yes\xff")
        await sockets["0"].send("")

        async def read(name: str) -> bytes:
            received = b""
            while isinstance(data := await sockets[name].receive(), bytes):
                received += data
            return received

        stdout, stderr = await asyncio.gather(read("1"), read("2"))
        assert (stdout, stderr) == (b"\0yes\xff", b"no\n")
        assert (await operation.wait()).metadata["return"] == 3


# 21: the documented place of the output did not exist.
async def test_the_output_is_where_the_documentation_says(client: Client, standing: str) -> None:
    command = ["sh", "-c", "echo out; echo err >&2; exit 7"]
    result = await client.instances.execute(standing, command, record_output=True, wait=True)
    assert result["metadata"]["output"]["stdout"] == "out\n"
    assert result["metadata"]["output"]["stderr"] == "err\n"
    assert result["metadata"]["return"] == 7


# 22: documented methods and parameters were missing.
async def test_all_documented_methods_and_parameters_are_there(client: Client, box: Instance) -> None:
    assert (await client.instances.get_state(box.name)).status == "Running"
    assert "lxc.log" in await client.instances.get_logs(box.name)
    await client.instances.put_files(box.name, "/root/file", b"content")
    assert await client.instances.get_files(box.name, "/root/file") == b"content"
    await listening(box)
    assert (await client.instances.restart(box.name, timeout=100, wait=True)).status == "Success"
    await listening(box)
    assert (await client.instances.stop(box.name, timeout=100, wait=True)).status == "Success"


# 23: the caller's dictionaries were changed.
async def test_what_the_caller_gives_is_not_changed(client: Client, name: str) -> None:
    given: dict[str, Any] = {
        "source": {"type": "none"},
        "config": {"user.number": 1, "user.flag": True},
        "devices": {"root": {"type": "disk", "path": "/", "pool": "default"}},
        "profiles": ["default"],
        "change": {"config": {"user.number": None, "user.other": 2}, "user.dotted": 3},
        "environment": {"A": "1"},
        "query": {"recursion": 1},
        "headers": {"X-Note": "1"},
        "body": {"config": {"user.body": "1"}},
    }
    before = copy.deepcopy(given)
    scoped = client.use_project("default")
    made = await scoped.instances.create(
        name, given["source"], given["config"], given["devices"], given["profiles"], wait=True
    )
    await scoped.instances.update(name, given["change"], wait=True)
    await scoped.query("GET", "/1.0/instances", query=given["query"], headers=given["headers"])
    patched = await scoped.query("PATCH", f"/1.0/instances/{name}", body=given["body"], headers=given["headers"])
    assert patched == {}
    with pytest.raises(IncusAPIError, match="not running"):
        await scoped.instances.execute(name, ["true"], given["environment"])
    assert given == before
    await made.delete(wait=True)


# 24: only one socket was looked for, and an environment variable that the incus command does not know.
@pytest.mark.parametrize("found_by", ["INCUS_SOCKET", "INCUS_DIR", "directory", "user socket"])
async def test_a_client_without_arguments_finds_the_daemon_as_the_command_does(
    daemon: Daemon, clean: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found_by: str
) -> None:
    for variable in ("INCUS_SOCKET", "INCUS_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("INCUS_ENDPOINT", "unix:///nowhere/unix.socket")
    match found_by:
        case "INCUS_SOCKET":
            monkeypatch.setenv("INCUS_SOCKET", str(daemon.socket))
        case "INCUS_DIR":
            monkeypatch.setenv("INCUS_DIR", str(daemon.directory))
        case "directory":
            monkeypatch.setattr(discovery, "DIRECTORIES", (tmp_path, daemon.directory))
        case _:
            (tmp_path / "unix.socket.user").symlink_to(daemon.socket)
            monkeypatch.setenv("INCUS_DIR", str(tmp_path))
    async with Client() as client:
        assert (await client.get_server_info()).environment.server == "incus"
        assert client.project == (f"user-{os.geteuid()}" if found_by == "user socket" else None)


# 25: some methods gave the envelope, some what is in it, and some had other types than they said.
async def test_methods_return_records_of_their_kind(client: Client, name: str) -> None:
    busybox = (await client.images.list())[0]
    alias = await client.images.create_alias(name, busybox.fingerprint, "a name")
    volume = await client.storage_pools.create_volume("default", name)
    returned: list[tuple[Record, type[Record]]] = [
        (await client.get_server_info(), models.Server),
        (await client.get_resources(), models.Resources),
        (await client.cluster.get(), models.Cluster),
        (alias, models.ImageAliasesEntry),
        (await client.images.get_alias(name), models.ImageAliasesEntry),
        (volume, models.StorageVolume),
        (await client.storage_pools.get_volume("default", name), models.StorageVolume),
        (await client.projects.state("default"), models.ProjectState),
        (await client.networks.state("lo"), models.NetworkState),
    ]
    for record, kind in returned:
        assert isinstance(record, kind)
        assert "status_code" not in record
        assert len(record) > 0
    await client.images.delete_alias(name)
    await client.storage_pools.delete_volume("default", name)


# 26: the version was another one, there was no py.typed, and repr() of an image could fail.
def test_version_types_and_representations_are_right() -> None:
    assert incus_sdk.__version__ == importlib.metadata.version("incus-sdk")
    assert importlib.resources.files(incus_sdk).joinpath("py.typed").is_file()
    assert repr(models.Image({"fingerprint": None})) == "<Image>"
    assert repr(models.Image({"fingerprint": "abc"})) == "<Image fingerprint='abc'>"


# What it lacked altogether, and is part of this foundation.


async def test_a_view_sees_its_project_on_the_same_connections(client: Client, name: str) -> None:
    project = await client.projects.create(name, {"features.images": False, "features.profiles": False})
    view = client.use_project(name)
    assert (client.project, view.project) == (None, name)
    made = await view.instances.create(name, {"type": "none"}, wait=True)
    assert (made.project, [each.name for each in await view.instances.list()]) == (name, [name])
    assert name not in [each.name for each in await client.instances.list()]
    with pytest.raises(IncusNotFoundError):
        await client.instances.get(name)
    everywhere = await client.instances.list(all_projects=True)
    (found,) = [each for each in everywhere if each.name == name]
    await found.update({"user.key": "1"}, wait=True)
    assert (await view.instances.get(name)).config["user.key"] == "1"
    await found.delete(wait=True)
    await project.delete()
    await view.disconnect()
    assert await client.instances.exists(name) is False


async def test_extensions_can_be_asked_for(client: Client) -> None:
    assert await client.has_extension("instance_get_full") is True
    assert await client.has_extension("no_such_extension") is False
