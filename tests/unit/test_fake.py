"""The fake server: what it is for a client, and what tests can script and assert."""

from __future__ import annotations

import asyncio
import inspect
import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from incus_sdk import (
    Client,
    F,
    Gap,
    IncusAPIError,
    IncusConnectionError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    IncusPermissionError,
    IncusPreconditionError,
    IncusUnsupportedError,
)
from incus_sdk.sync import testing as blocking
from incus_sdk.testing import Daemon, Fake, UnscriptedCommandError
from incus_sdk.testing._fake.areas import Areas, table
from incus_sdk.testing._fake.extensions import EXTENSIONS
from incus_sdk.testing._fake.routing import operations
from incus_sdk.testing._fake.state import State

IMAGE = {"type": "image", "alias": "busybox"}


@pytest.fixture
async def fake() -> AsyncGenerator[Fake]:
    async with Fake() as fake:
        yield fake


@pytest.fixture
async def client(fake: Fake) -> AsyncGenerator[Client]:
    async with fake.client() as client:
        yield client


async def raw(fake: Fake, request: bytes) -> bytes:
    """What the fake sends on a connection that it closes."""
    reader, writer = await asyncio.open_unix_connection(fake.socket)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def ask(client: Client, method: str, path: str, body: Any = None, **query: Any) -> Any:
    """The value of an answer, or of the operation that it names."""
    answer = await client.query(method, path, body=body, query=query or None)
    return (await answer.wait()).metadata if hasattr(answer, "wait") else answer


def test_it_can_take_the_place_of_a_daemon() -> None:
    for name in ("socket", "url", "certificate", "client_cert", "directory"):
        assert isinstance(inspect.getattr_static(Fake, name), property)
        assert isinstance(inspect.getattr_static(Daemon, name), property)
    for name in ("client", "start", "close", "__aenter__", "__aexit__"):
        assert inspect.signature(getattr(Fake, name)).parameters.keys() >= {"self"}
    assert inspect.signature(Fake.client) == inspect.signature(Daemon.client)


@pytest.mark.parametrize("kind", ["unix", "https"])
async def test_an_instance_lives_over_both_transports(fake: Fake, kind: Literal["unix", "https"]) -> None:
    async with fake.client(kind) as client:
        assert (await client.get_server_info())["metadata"]["api_version"] == "1.0"
        async with client.instances.temporary("busybox") as box:
            assert fake.instance(box.name).status == "Running"
            await box.path("/etc/motd").write_text("hi\n")
            result = await box.run(["cat", "/etc/motd"], text=True)
            assert (result.returncode, result.stdout) == (0, "hi\n")
            await box.snapshots.create("before")
            del fake.instance(box.name).files["/etc/motd"]
            await box.snapshots["before"].restore()
            assert fake.instance(box.name).files["/etc/motd"] == b"hi\n"
        assert await client.instances.list() == []


def test_the_blocking_fake_is_the_same() -> None:
    with blocking.Fake() as fake, fake.client() as client:
        fake.on_exec(["shout"], run=lambda command: command.input.upper())
        box = client.instances.launch("busybox", name="c1")
        assert box.run(["shout"], input=b"hello").stdout == b"HELLO"
        with pytest.raises(IncusNotFoundError):
            client.instances.get("c2")
        fake.requests.assert_made("GET", "/1.0/instances/c2", times=1)


async def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    async with Fake() as fake:
        directory = fake.directory
        assert fake.certificate.exists()
    assert not directory.exists()
    async with Fake(directory=tmp_path) as fake:
        assert all(path.exists() for path in (fake.socket, *fake.client_cert))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="not started"):
        _ = fake.socket


async def test_closing_it_ends_what_waits(fake: Fake, client: Client) -> None:
    fake.on_request("GET", "/1.0/instances", delay=60)
    waiting = asyncio.ensure_future(client.instances.list())
    while not fake.requests:
        await asyncio.sleep(0)
    await fake.close()
    with pytest.raises(IncusConnectionError):
        await waiting
    await fake.close()


# What it answers.


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/1.0/nope", None, 404, "not found"),
        ("DELETE", "/1.0", None, 501, "not implemented"),
        (
            "GET",
            "/1.0/instances/nope",
            None,
            404,
            'Failed to fetch instance "nope" in project "default": Instance not found',
        ),
        ("POST", "/1.0/instances", {}, 400, "Unknown source type "),
        (
            "POST",
            "/1.0/instances",
            {"name": "a b", "source": IMAGE},
            400,
            "Invalid instance name: Name can only contain alphanumeric and hyphen characters",
        ),
        ("POST", "/1.0/instances", {"name": "c1", "source": IMAGE}, 500, 'Instance "c1" already exists'),
        ("PUT", "/1.0/instances/c1/state", {"action": "bogus"}, 400, "Unknown action: 'bogus'"),
        ("POST", "/1.0/instances/c1/exec", {"command": ["true"]}, 400, "Instance is not running"),
        ("GET", "/1.0/instances/c1/logs/lxc.conf", None, 400, 'Log file name "lxc.conf" not valid'),
        (
            "GET",
            "/1.0/instances/c1/snapshots/s0",
            None,
            404,
            'Failed to fetch snapshot "s0" of instance "c1" in project "default": Instance_snapshot not found',
        ),
        (
            "PATCH",
            "/1.0/instances/c1",
            {"config": {"nope": "1"}},
            500,
            "Invalid config: Unknown configuration key: nope",
        ),
        ("PATCH", "/1.0/instances/c1", {"profiles": ["nope"]}, 404, "Profile not found"),
        ("GET", "/1.0/profiles/nope", None, 404, "Fetch profile: Profile not found"),
        ("DELETE", "/1.0/profiles/default", None, 403, 'The "default" profile cannot be deleted'),
        ("POST", "/1.0/profiles", {"name": ""}, 400, "No name provided"),
        ("GET", "/1.0/images/nope", None, 404, 'Image "nope" not found'),
        ("POST", "/1.0/images/aliases", {"name": "busybox", "target": "x"}, 409, 'Alias "busybox" already exists'),
        ("DELETE", "/1.0/projects/default", None, 403, "The 'default' project cannot be deleted"),
        ("POST", "/1.0/storage-pools", {"name": "default", "driver": "dir"}, 409, None),
        ("DELETE", "/1.0/storage-pools/default", None, 400, "The storage pool is currently in use"),
        ("GET", "/1.0/storage-pools/default/volumes/custom/v", None, 404, "Storage pool volume not found"),
        ("DELETE", "/1.0/networks/n", None, 404, "Failed loading network: Network not found"),
        ("GET", "/1.0/operations/x", None, 404, "Operation not found"),
        ("GET", "/1.0/cluster/members", None, 500, "Server is not clustered"),
        (
            "POST",
            "/1.0/instances/c1/port-forward",
            {"address": "127.0.0.1", "port": 80},
            501,
            "The fake of incus_sdk does not do POST /1.0/instances/c1/port-forward",
        ),
    ],
)
async def test_errors_are_in_the_words_of_the_server(
    client: Client, method: str, path: str, body: Any, status: int, words: str | None
) -> None:
    await client.instances.create("c1", IMAGE, wait=True)
    with pytest.raises(IncusAPIError) as caught:
        await client.query(method, path, body=body)
    assert caught.value.status_code == status
    assert words is None or caught.value.response["error"] == words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"source": {"type": "image", "alias": "nope"}}, "Image not provided for instance creation"),
        ({"config": {"nope": "1"}}, "Failed creating instance record: Unknown configuration key: nope"),
        ({"devices": {"a": {"type": "nope"}}}, 'Failed creating instance record: Invalid device type "nope"'),
        (
            {"type": "virtual-machine"},
            'Requested image\'s type "container" doesn\'t match instance type "virtual-machine"',
        ),
    ],
)
async def test_operations_fail_in_the_words_of_the_server(client: Client, body: Mapping[str, Any], words: str) -> None:
    with pytest.raises(IncusOperationError) as caught:
        await ask(client, "POST", "/1.0/instances", {"name": "c1", "source": IMAGE, **body})
    assert words in str(caught.value)


async def test_a_status_changes_only_where_it_can(client: Client) -> None:
    box = await client.instances.create("c1", IMAGE, wait=True)
    refused = {"stop": "already stopped", "freeze": "isn't running", "restart": "already stopped"}
    for verb, words in refused.items():
        with pytest.raises(IncusOperationError, match=words):
            await getattr(box, verb)(wait=True)
    for verb, status in (
        ("start", "Running"),
        ("freeze", "Frozen"),
        ("unfreeze", "Running"),
        ("restart", "Running"),
        ("stop", "Stopped"),
    ):
        await getattr(box, verb)(wait=True)
        assert (await client.instances.get("c1")).status == status
    await client.instances.start("c1", wait=True)
    with pytest.raises(IncusAPIError, match="Instance is running"):
        await client.query("DELETE", "/1.0/instances/c1")


async def test_an_ephemeral_instance_goes_when_it_stops(client: Client) -> None:
    box = await client.instances.launch("busybox", name="e1", ephemeral=True)
    await box.stop(force=True, wait=True)
    assert not await client.instances.exists("e1")


async def test_profiles_are_in_what_is_expanded(client: Client) -> None:
    await client.profiles.create("small", config={"limits.cpu": "1", "user.a": "profile"})
    box = await client.instances.create("c1", IMAGE, {"user.a": "own"}, profiles=["default", "small"], wait=True)
    assert box.expanded_config["limits.cpu"] == "1"
    assert box.expanded_config["user.a"] == "own"
    assert box.expanded_devices["root"]["pool"] == "default"
    assert (await client.profiles.get("small")).used_by == ["/1.0/instances/c1"]
    await client.profiles.rename("small", "tiny")
    assert (await client.instances.get("c1")).profiles == ["default", "tiny"]
    with pytest.raises(IncusAPIError, match="currently in use"):
        await client.profiles.delete("tiny")


async def test_changes_of_another_version_are_refused(client: Client) -> None:
    box = await client.instances.create("c1", IMAGE, wait=True)
    headers = {"If-Match": "x"}
    for method, path in (("PUT", "/1.0/instances/c1"), ("PATCH", "/1.0/profiles/default"), ("PUT", "/1.0")):
        with pytest.raises(IncusPreconditionError, match=r"ETag doesn't match: [0-9a-f]{64} vs x"):
            await client.query(method, path, body={"config": {}}, headers=headers)
    async with box.editing() as changed:
        changed.config["user.x"] = "y"
    assert (await client.instances.get("c1")).config["user.x"] == "y"


async def test_lists_are_filtered_and_as_deep_as_asked(client: Client) -> None:
    tiers: tuple[dict[str, str], ...] = (
        {"user.tier": "web", "user.until": "90"},
        {"user.tier": "db, old\n", "user.until": "170"},
        {},
    )
    for name, config in zip(("a1", "a2", "b1"), tiers, strict=True):
        await client.instances.create(name, IMAGE, config, wait=True)
    await client.instances.start("a1", wait=True)

    async def names(condition: Any) -> list[str]:
        return [each.name for each in await client.instances.list(filter=condition)]

    assert await names(F("status") == "Running") == ["a1"]
    assert await names(F("name").startswith("a") & ~(F("config.user.tier") == "web")) == ["a2"]
    assert await names(F("config.user.tier") == "db, old\n") == ["a2"]
    assert await names(F("config.user.tier") == "db, old") == []
    assert await names(F("config.user.until") < 100) == ["a1"]
    assert await names(F("config.user.until") >= "170") == ["a1", "a2"]
    assert await names("name eq b.* or config.user.tier eq web") == ["a1", "b1"]
    for wrong in ("name", 'name eq "a1"', "name gt a", "nope eq 1"):
        with pytest.raises(IncusAPIError):
            await names(wrong)
    assert await client.query("GET", "/1.0/instances") == [f"/1.0/instances/{name}" for name in ("a1", "a2", "b1")]
    full = await client.instances.list(recursion=2)
    assert [each.state.status for each in full] == ["Running", "Stopped", "Stopped"]


async def test_projects_have_what_is_their_own(client: Client) -> None:
    await client.projects.create("dev", config={"features.images": "false", "features.profiles": "false"})
    dev = client.use_project("dev")
    await dev.instances.create("c1", IMAGE, wait=True)
    await client.instances.create("c1", IMAGE, wait=True)
    everywhere = await client.instances.list(all_projects=True)
    assert sorted((each.project, each.name) for each in everywhere) == [("default", "c1"), ("dev", "c1")]
    assert [each.project for each in await dev.profiles.list()] == ["default"]
    with pytest.raises(IncusAPIError, match="Only empty projects"):
        await client.projects.delete("dev")
    with pytest.raises(IncusAPIError, match="Cannot specify a project"):
        await client.query("GET", "/1.0/instances", query={"all-projects": "true", "project": "dev"})
    await dev.instances.delete("c1", wait=True)
    await client.projects.delete("dev")
    await client.projects.create("own")
    assert [each.project for each in await client.use_project("own").profiles.list()] == ["own"]


async def test_copies_and_renames_keep_what_is_in_an_instance(fake: Fake, client: Client) -> None:
    box = await client.instances.create("c1", IMAGE, {"user.a": "b"}, wait=True)
    fake.instance("c1").files["/srv/data"] = "1"
    await box.snapshots.create("s0")
    fake.instance("c1").files["/srv/data"] = "2"
    for name, source, content in (("c2", "c1", b"2"), ("c3", "c1/s0", b"1")):
        await client.instances.create(name, {"type": "copy", "source": source}, wait=True)
        assert fake.instance(name).files["/srv/data"] == content
        assert (await client.instances.get(name)).config["user.a"] == "b"
    assert [each.name for each in await client.instances["c2"].snapshots.list()] == ["s0"]
    await client.instances.rename("c2", "c4")
    with pytest.raises(IncusInputError, match="no instance 'c2' in the project 'default': there are c1, c3, c4"):
        fake.instance("c2")
    with pytest.raises(IncusOperationError, match="has snapshots"):
        await ask(client, "POST", "/1.0/instances/c4/rebuild", {"source": IMAGE})
    await ask(client, "POST", "/1.0/instances/c3/rebuild", {"source": IMAGE})
    assert "/srv/data" not in fake.instance("c3").files


async def test_images_come_from_uploads_and_instances(fake: Fake, client: Client) -> None:
    box = await client.instances.create("c1", IMAGE, wait=True)
    fake.instance("c1").files["/srv/data"] = "published"
    published = await ask(
        client,
        "POST",
        "/1.0/images",
        {"source": {"type": "instance", "name": "c1"}, "aliases": [{"name": "mine"}], "properties": {"os": "me"}},
    )
    image = await client.images.get(published["fingerprint"][:12])
    assert (image.properties["os"], image.aliases[0].name) == ("me", "mine")
    await client.instances.create("c2", {"type": "image", "alias": "mine"}, wait=True)
    assert fake.instance("c2").files["/srv/data"] == b"published"
    await client.images.delete(image.fingerprint, wait=True)
    assert await client.query("GET", "/1.0/images/aliases") == ["/1.0/images/aliases/busybox"]
    await box.start(wait=True)
    with pytest.raises(IncusOperationError, match="Cannot export a running instance"):
        await ask(client, "POST", "/1.0/images", {"source": {"type": "instance", "name": "c1"}})


async def test_backups_bring_an_instance_back(fake: Fake, client: Client, tmp_path: Path) -> None:
    box = await client.instances.create("c1", IMAGE, {"user.a": "b"}, wait=True)
    files = fake.instance("c1").files
    files["/srv/data"] = "kept"
    files.set("/srv/data", mode=0o600, uid=7)
    files.symlink("/srv/link", "data")
    await box.snapshots.create("s0")
    await box.backups.create("b0")
    assert [each.name for each in await box.backups.list()] == ["b0"]
    await box.backups["b0"].export(tmp_path / "c1.tar.gz")
    async with Fake() as other, other.client() as elsewhere:
        again = await elsewhere.instances.create_from_backup(tmp_path / "c1.tar.gz", "c2", config={"user.x": "y"})
        assert (again.config["user.a"], again.config["user.x"]) == ("b", "y")
        assert [each.name for each in await again.snapshots.list()] == ["s0"]
        copy = other.instance("c2").files
        assert (copy["/srv/link"], copy.stat("/srv/data").uid, copy.readlink("/srv/link")) == (b"kept", 7, "data")


async def test_what_hangs_below_networks_and_zones_is_kept(client: Client) -> None:
    await client.networks.create("n0", config={"ipv4.address": "198.51.100.1/24", "ipv6.address": "none"})
    forwards = client.networks["n0"].forwards
    await forwards.create(
        "203.0.113.5", ports=[{"protocol": "tcp", "listen_port": "80", "target_address": "198.51.100.9"}]
    )
    (forward,) = await forwards.list()
    assert (forward.listen_address, forward.ports[0].listen_port) == ("203.0.113.5", "80")
    with pytest.raises(IncusNotFoundError, match="Network forward not found"):
        await forwards.get("203.0.113.50")
    await client.network_zones.create("example.net")
    records = client.network_zones["example.net"].records
    await records.create("www", entries=[{"type": "A", "value": "198.51.100.1"}])
    assert [each.name for each in await records.list()] == ["www"]
    await client.network_address_sets.create("home", addresses=["198.51.100.1"])
    assert (await client.network_address_sets.get("home")).addresses == ["198.51.100.1"]
    with pytest.raises(IncusNotFoundError):
        await client.networks["nope"].forwards.list()


async def test_metadata_and_templates_can_be_changed(client: Client) -> None:
    box = await client.instances.create("c1", IMAGE, wait=True)
    await client.query("PATCH", "/1.0/instances/c1/metadata", body={"properties": {"a": "b"}})
    found = await client.query("GET", "/1.0/instances/c1/metadata")
    assert found["properties"]["a"] == "b"
    assert found["properties"]["os"] == "Busybox"
    assert await box.templates.list() == ["hostname.tpl"]


async def test_it_has_every_image_of_other_servers(fake: Fake, client: Client) -> None:
    box = await client.instances.launch("images:debian/13/cloud", name="c1")
    assert (box.config["image.os"], box.config["image.release"]) == ("Debian", "13")
    await client.instances.launch("docker:nginx", name="c2")
    source = {"type": "image", "server": "https://images.example", "protocol": "simplestreams", "alias": "debian/13"}
    machine = await client.instances.create("v1", source, instance_type="virtual-machine", wait=True)
    assert machine.type == "virtual-machine"
    assert sorted((image.type, image.cached) for image in await client.images.list(filter=F("cached") == True)) == [  # noqa: E712
        ("container", True),
        ("container", True),
        ("virtual-machine", True),
    ]
    fake.on_operation("POST", "/1.0/instances", fails="Failed getting remote image info: no such image")
    with pytest.raises(IncusOperationError, match="no such image"):
        await client.instances.launch("images:nope")


async def test_addresses_and_warnings_are_what_the_test_says(fake: Fake, client: Client) -> None:
    await client.networks.create("n0", config={"ipv4.address": "none", "ipv6.address": "none"})
    box = await client.instances.create("c1", IMAGE, devices={"eth0": {"type": "nic", "network": "n0"}}, wait=True)
    fake.instance("c1").addresses = ["198.51.100.7", "2001:db8::7"]
    assert (await box.get_state()).network == {}
    await box.start(wait=True)
    assert str(await box.wait_for_address(timeout=5)) == "198.51.100.7"
    network = (await box.get_state()).network["eth0"]
    assert network.hwaddr == (await client.instances.get("c1")).config["volatile.eth0.hwaddr"]
    fake.warn("Unable to connect to OIDC provider", severity="high")
    (warning,) = await client.warnings.list()
    assert (warning.type, warning.severity, warning.status) == ("Unable to connect to OIDC provider", "high", "new")


async def test_networks_and_volumes_know_what_uses_them(client: Client) -> None:
    await client.networks.create("n0", config={"ipv4.address": "none", "ipv6.address": "none"})
    await client.network_acls.create("web", ingress=[{"action": "allow", "state": "enabled"}])
    volumes = client.storage_pools["default"].volumes
    await volumes.create("custom/data")
    devices = {
        "eth0": {"type": "nic", "network": "n0", "security.acls": "web"},
        "data": {"type": "disk", "pool": "default", "source": "data", "path": "/data"},
    }
    await client.instances.create("c1", IMAGE, devices=devices, wait=True)
    for item in (await client.networks.get("n0"), await client.network_acls.get("web")):
        assert item.used_by == ["/1.0/instances/c1"]
    assert (await volumes.get("custom/data")).used_by == ["/1.0/instances/c1"]
    for path in ("networks/n0", "network-acls/web", "storage-pools/default/volumes/custom/data"):
        with pytest.raises(IncusAPIError, match="in use"):
            await client.query("DELETE", f"/1.0/{path}")
    await volumes["custom/data"].path("/x").write_text("y")
    await volumes["custom/data"].snapshots.create("s0")
    await volumes["custom/data"].path("/x").write_text("z")
    await volumes["custom/data"].snapshots["s0"].restore()
    assert await volumes["custom/data"].path("/x").read_text() == "y"


async def test_who_has_no_certificate_is_not_trusted(fake: Fake) -> None:
    async with Client(fake.url, server_cert=fake.certificate) as client:
        assert (await client.get_server_info())["metadata"]["auth"] == "untrusted"
        with pytest.raises(IncusPermissionError):
            await client.instances.list()


async def test_what_the_fake_does_not_do_it_says(client: Client) -> None:
    done = table(Areas(State(), frozenset()))
    assert {(method, path) for path, methods in done.items() for method in methods} < set(operations())
    todo = [(method, path) for method, path in operations() if method not in done.get(path, {})]
    for method, path in todo:
        with pytest.raises(IncusAPIError, match="The fake of incus_sdk does not do") as caught:
            await client.query(method, path.replace("{}", "x"))
        assert caught.value.status_code == 501


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/1.0/instances/c1", {"devices": "x"}),
        ("POST", "/1.0/instances", {"name": "c2", "source": IMAGE, "devices": ["x"]}),
        ("POST", "/1.0/images/aliases", {"name": ["x"], "target": {}}),
    ],
)
async def test_a_body_of_the_wrong_shape_breaks_nothing(client: Client, method: str, path: str, body: Any) -> None:
    await client.instances.create("c1", IMAGE, wait=True)
    with pytest.raises((IncusAPIError, IncusOperationError)):
        await ask(client, method, path, body)
    assert await client.instances.exists("c1")


async def test_an_old_server_lacks_an_extension() -> None:
    async with Fake(without={"network_address_set"}) as fake, fake.client() as client:
        with pytest.raises(IncusUnsupportedError, match="network_address_set"):
            await client.network_address_sets.list()
        fake.requests.assert_not_made("GET", "/1.0/network-address-sets")
    with pytest.raises(IncusInputError, match="no API extension 'nope'"):
        Fake(without={"nope"})


# The wire.


async def test_it_reads_requests_in_pieces_and_one_after_the_other(fake: Fake) -> None:
    one = b"GET /1.0/profiles/nope HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await raw(fake, one + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert answer.count(b"HTTP/1.1 404 Not Found\r\n") == 2
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["error_code"] == 404
    reader, writer = await asyncio.open_unix_connection(fake.socket)
    body = b'{"name": "p1"}'
    head = f"POST /1.0/profiles HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    for piece in (head[:20], head[20:]):
        writer.write(piece.encode())
        await writer.drain()
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert b"201 Created" in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"GET /1.0/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]
)
async def test_nonsense_is_a_bad_request(fake: Fake, request_: bytes) -> None:
    assert (await raw(fake, request_)).startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_its_certificate_is_good_for_other_clients(fake: Fake) -> None:
    context = ssl.create_default_context(cafile=str(fake.certificate))
    host, port = fake.url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(b"GET /1.0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b'"auth":"untrusted"' in await reader.read()
    writer.close()
    await writer.wait_closed()


# Operations and events.


async def test_operations_tell_how_far_they_are_and_can_fail(fake: Fake, client: Client) -> None:
    box = await client.instances.create("c1", IMAGE, wait=True)
    fake.on_operation("PUT", "/1.0/instances/*/state", fails="Failed to run: forklxc", log="lxc c1 ERROR no\n", times=1)
    with pytest.raises(IncusOperationError, match="Failed to run: forklxc") as caught:
        await box.start(wait=True)
    assert "lxc c1 ERROR no" in (caught.value.log or "")
    await box.start(wait=True)
    fake.on_operation("POST", "/1.0/instances", progress=[("download", 10), ("download", 90)])
    async with client.events.listen(types=["operation"]) as events:
        await client.instances.create("c2", IMAGE)
        seen = list[tuple[str, str]]()
        async for event in events:
            assert not isinstance(event, Gap)
            if stage := (event.metadata["metadata"] or {}).get("progress"):
                seen.append((stage["stage"], stage["percent"]))
            if event.metadata["status"] == "Success":
                break
    assert seen[:2] == [("download", "10"), ("download", "90")]
    assert fake.instance("c2").status == "Stopped"


async def test_an_operation_that_can_be_cancelled_is(fake: Fake, client: Client) -> None:
    fake.on_exec(["sleep", "100"], hang=True)
    await client.instances.launch("busybox", name="c1")
    async with client.instances["c1"].open_process(["sleep", "100"]) as process:
        (running,) = (await client.query("GET", "/1.0/operations"))["running"]
        assert (await ask(client, "GET", f"{running}/wait", timeout="0"))["status"] == "Running"
        await client.query("DELETE", running)
        assert (await client.query("GET", running))["status"] == "Cancelled"
        await process.kill()


async def test_events_tell_what_happens(client: Client) -> None:
    async with client.events.listen(types=["lifecycle"], all_projects=True) as events:
        await client.profiles.create("p1")
        await client.instances.launch("busybox", name="c1")
        await client.instances.delete("c1", force=True, wait=True)
        seen = list[str]()
        async for event in events:
            assert not isinstance(event, Gap)
            seen.append(event.metadata["action"])
            if seen[-1] == "instance-deleted":
                break
    assert seen == ["profile-created", "instance-created", "instance-started", "instance-stopped", "instance-deleted"]


async def test_events_tell_which_snapshots_and_aliases_go_with_what_is_deleted(client: Client) -> None:
    box = await client.instances.create("c1", IMAGE, wait=True)
    volume = await client.storage_pools["default"].volumes.create("custom/v")
    await volume.snapshots.create("s0")
    async with client.events.listen(types=["lifecycle"]) as events:
        await box.snapshots.create("s0")
        await box.snapshots.rename("s0", "s1")
        await (await box.snapshots.get("s1")).restore()
        await box.delete(wait=True)
        await volume.delete()
        await (await client.images.get("busybox")).delete()
        seen = list[tuple[str, Any]]()
        async for event in events:
            assert not isinstance(event, Gap)
            seen.append((event.metadata["action"], event.metadata.get("context")))
            if seen[-1][0] == "image-deleted":
                break
    assert seen == [
        ("instance-snapshot-created", None),
        ("instance-snapshot-renamed", {"old_name": "c1/s0"}),
        ("instance-restored", {"snapshot": "c1/s1"}),
        ("instance-snapshot-deleted", None),
        ("instance-deleted", None),
        ("storage-volume-snapshot-deleted", None),
        ("storage-volume-deleted", None),
        ("image-alias-deleted", None),
        ("image-deleted", None),
    ]


async def test_a_project_is_deleted_with_all_that_is_in_it_by_force(client: Client) -> None:
    await client.projects.create("p")
    view = client.use_project("p")
    await view.profiles.create("mine")
    await view.storage_pools["default"].volumes.create("custom/v")
    with pytest.raises(IncusAPIError, match="Only empty projects can be removed"):
        await client.projects.delete("p")
    await client.projects.delete("p", force=True)
    assert [each.name for each in await client.projects.list()] == ["default"]


async def test_a_volume_is_not_restored_under_an_instance_that_runs(client: Client) -> None:
    volume = await client.storage_pools["default"].volumes.create("custom/v")
    snapshot = await volume.snapshots.create("s0")
    disk = {"type": "disk", "pool": "default", "source": "v", "path": "/srv"}
    box = await client.instances.launch("busybox", "c1", devices={"data": disk})
    with pytest.raises(IncusAPIError, match="used by running instances"):
        await snapshot.restore()
    await box.stop(force=True, wait=True)
    await snapshot.restore()


# Faults.


async def test_requests_fail_by_script(fake: Fake, client: Client) -> None:
    fake.on_request("GET", "/1.0/profiles/*", status=404, after=1, times=2)
    await client.profiles.get("default")
    for _ in range(2):
        with pytest.raises(IncusNotFoundError):
            await client.profiles.get("default")
    rule = fake.on_request("*", "/1.0/**", status=503, error="Incus is shutting down")
    with pytest.raises(IncusAPIError, match="Incus is shutting down"):
        await client.projects.list()
    assert rule.used == 1
    rule.remove()
    fake.on_request("GET", "/1.0/resources", metadata={"cpu": {"total": 64}})
    assert (await client.query("GET", "/1.0/resources"))["cpu"]["total"] == 64


@pytest.mark.parametrize("drop", ["request", "answer", "body"])
async def test_connections_break_by_script(
    fake: Fake, client: Client, drop: Literal["request", "answer", "body"]
) -> None:
    fake.on_request("POST", "/1.0/profiles", drop=drop)
    with pytest.raises(IncusConnectionError):
        await client.profiles.create("p1")
    assert await client.profiles.exists("p1") is (drop != "request")


async def test_an_unscripted_command_is_told() -> None:
    fake = Fake()
    await fake.__aenter__()
    async with fake.client() as client:
        box = await client.instances.launch("busybox", name="c1")
        assert (await box.run(["make"])).returncode == 127
    with pytest.raises(UnscriptedCommandError, match=r"no script for the command \['make'\] in 'c1'"):
        await fake.__aexit__(None, None, None)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("GET", "/1.0/instance/c1"), {"status": 500}, "no operation of the API is GET /1.0/instance/c1, so this can"),
        (("GET", "/1.0/instances?recursion=1"), {"status": 500}, "a path has no query"),
        (("GET", "instances"), {"status": 500}, "begins with a slash"),
        (("get", "/1.0/instances"), {"status": 500}, "'get' is not a method of the API"),
        (("GET", "/1.0/instances"), {}, "needs something to happen"),
        (("GET", "/1.0/instances"), {"status": 200}, "must be that of an error"),
        (("GET", "/1.0/instances"), {"status": 404, "metadata": []}, "comes with no other status"),
        (("GET", "/1.0/instances"), {"drop": "nope"}, "is one of request, answer and body"),
    ],
)
async def test_a_rule_that_means_nothing_is_refused(
    fake: Fake, arguments: tuple[str, str], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(IncusInputError, match=words.replace("?", r"\?")):
        fake.on_request(*arguments, **options)


# The log.


async def test_the_log_has_what_came(fake: Fake, client: Client) -> None:
    await client.profiles.create("p1", config={"user.a": "b"}, description="x")
    await client.instances.list(recursion=2)
    log = fake.requests
    (made,) = log.assert_made("POST", "/1.0/profiles", times=1, body={"name": "p1", "config": {"user.a": "b"}})
    assert (made.json["description"], made.status) == ("x", 201)
    log.assert_made("GET", "/1.0/instances", query={"recursion": "2"})
    log.assert_not_made("DELETE", "/1.0/**")
    log.assert_order(("POST", "/1.0/profiles"), ("GET", "/1.0/instances"))
    for wrong, words in (
        (
            lambda: log.assert_made("POST", "/1.0/profiles", body={"name": "p2"}),
            "expected POST /1.0/profiles with {'name': 'p2'} in its body at least once, but it was made never.\n"
            "To this path came:\n  POST /1.0/profiles -> 201 {",
        ),
        (lambda: log.assert_made("POST", "/1.0/profiles", times=2), "twice, but it was made once.\n"),
        (lambda: log.assert_not_made("POST", "/1.0/profiles"), "expected no POST /1.0/profiles, but it was made once"),
        (
            lambda: log.assert_order(("GET", "/1.0/instances"), ("POST", "/1.0/profiles")),
            "expected POST /1.0/profiles after GET /1.0/instances, but it did not come then.\nAll requests:\n",
        ),
    ):
        with pytest.raises(AssertionError) as caught:
            wrong()
        assert words in str(caught.value)
    with pytest.raises(IncusInputError, match="can never happen"):
        log.assert_not_made("GET", "/1.0/instanecs")
    log.clear()
    assert len(log) == 0


def test_its_extensions_are_those_of_a_server() -> None:
    assert len(EXTENSIONS) == len(set(EXTENSIONS)) > 500
