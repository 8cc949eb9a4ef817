"""The server itself, and what belongs to it as a whole: warnings, operations, certificates, projects, profiles."""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from incus_sdk import (
    Client,
    F,
    IncusAPIError,
    IncusConflictError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusPermissionError,
    IncusPreconditionError,
    IncusTimeoutError,
    Instance,
)
from incus_sdk.testing import Daemon
from tests.live.roots import ROOTS

ROOT_DISK = {"root": {"type": "disk", "path": "/", "pool": "default"}}


def certificate(directory: Path) -> tuple[Path, Path]:
    """A new certificate and its key."""
    files = directory / "client.crt", directory / "client.key"
    command = ["openssl", "req", "-x509", "-subj", "/CN=test", "-nodes", "-newkey", "ec", "-pkeyopt"]
    options = ["ec_paramgen_curve:secp384r1", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run([*command, *options], check=True, capture_output=True)
    return files


async def test_the_configuration_is_changed_by_each_verb(client: Client) -> None:
    before = await client.server.get()
    assert before.auth == "trusted"
    assert before.environment.server_version == (await client.get_server_info()).environment.server_version
    assert await client.server.get_versions() == ["/1.0"]

    await client.server.update({"user.secret": "hunter2", "user.number": 3})
    server = await client.server.get()
    assert server.config == {**before.config, "user.secret": "hunter2", "user.number": "3"}
    assert "hunter2" not in repr(server)
    assert server.etag != before.etag
    with pytest.raises(IncusPreconditionError):
        await client.server.replace({"config": {}}, etag=before.etag)
    await client.server.patch({"config": {"user.number": "4"}})
    async with client.server.editing() as draft:
        assert draft.config["user.number"] == "4"
        del draft.config["user.secret"]
        draft.config["user.other"] = "x"
    assert (await client.server.get()).config == {**before.config, "user.number": "4", "user.other": "x"}
    with pytest.raises(IncusAPIError, match="unknown key"):
        await client.server.update({"no.such.key": "x"})
    await client.server.replace({"config": before.config}, etag=(await client.server.get()).etag)
    after = await client.server.get()
    assert (after.config, after.etag) == (before.config, before.etag)


async def test_who_is_not_trusted_sees_little_of_the_server(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    async with Client(daemon.url, server_cert=daemon.certificate) as stranger:
        server = await stranger.server.get()
        assert (server.auth, server.auth_methods, server.environment.server_version) == ("untrusted", ["tls"], "")
        with pytest.raises(IncusPermissionError, match="does not trust"):
            await stranger.server.update({"user.x": "y"})


async def test_hardware_and_options(client: Client) -> None:
    resources = await client.server.get_resources()
    assert resources.cpu.total == (await client.get_resources()).cpu.total > 0
    assert resources.memory.total > 0
    configs = (await client.server.get_configuration_metadata()).configs
    [option] = [key for key in configs["instance"]["resource-limits"]["keys"] if "limits.cpu" in key]
    assert option["limits.cpu"]["type"] == "string"


async def test_metrics_of_the_server_and_its_instances(
    client: Client, box: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(60):  # what was measured within 8 seconds is not measured again
        while box.name not in await client.server.get_metrics():
            await asyncio.sleep(0.5)
    labels = {"name": box.name, "project": "default", "type": "container"}
    families = {family.name: family for family in await client.use_project("default").server.get_metric_families()}
    [sample] = [each for each in families["incus_procs_total"].samples if each.labels["name"] == box.name]
    assert labels.items() <= sample.labels.items()
    assert sample.value > 0
    text = await client.server.get_metrics()
    assert "# TYPE incus_procs_total gauge" in text
    assert text.endswith("# EOF\n")
    assert box.name not in await client.use_project("nothing-is-here").server.get_metrics()

    monkeypatch.setitem(sys.modules, "prometheus_client.parser", None)
    with pytest.raises(IncusError, match=r"incus-sdk\[metrics\]"):
        await client.server.get_metric_families()


async def test_warnings_are_put_aside_and_deleted(daemon: Daemon, client: Client, name: str) -> None:
    warning = {"entity_type_code": -1, "entity_id": -1, "type_code": 0, "message": f"{name} is odd"}
    async with daemon.client() as root:  # what Incus has for its own tests
        await root.query("POST", "/internal/debug/warnings", body=warning)
    [found] = await client.warnings.list(filter=F("last_message") == f"{name} is odd")
    assert (found.status, found.count) == ("new", 1)
    assert isinstance(found.first_seen_at, datetime)
    assert found.uuid in {each.uuid for each in await client.warnings.list(0)}
    assert await client.warnings.exists(found.uuid)

    await client.warnings.update(found.uuid, {"status": "acknowledged"})
    assert (await client.warnings.get(found.uuid)).status == "acknowledged"
    await found.patch({"status": "new"})
    assert (await found.refresh()).status == "new"
    await client.warnings.replace(found.uuid, {"status": "acknowledged"})
    assert [w.uuid for w in await client.warnings.list(filter=F("status") == "acknowledged")] == [found.uuid]
    with pytest.raises(IncusPermissionError):
        await found.update({"status": "resolved"})
    await client.warnings.delete(found.uuid)
    with pytest.raises(IncusNotFoundError):
        await client.warnings.get(found.uuid)


async def test_operations_are_listed_awaited_and_cancelled(client: Client, box: Instance, name: str) -> None:
    begun = await client.instances.execute(box.name, ["sleep", "60"], wait_for_websocket=True)
    for operations in (client.operations, client.use_project(name).operations):
        listed = {each.id: each for each in await operations.list(all_projects=True)}
        assert (listed[begun.id].status, listed[begun.id].class_) == ("Running", "websocket")
        handles = {each.id: each for each in await operations.list(0, all_projects=True)}
        assert handles[begun.id].status == "Running"
    assert begun.id in {each.id for each in await client.operations.list()}
    assert begun.id not in {each.id for each in await client.use_project(name).operations.list()}
    operation = await client.operations.get(begun.id)
    assert operation.resources["instances"] == [f"/1.0/instances/{box.name}"]
    with pytest.raises(IncusTimeoutError):
        await client.operations.wait(begun.id, timeout=0.2)
    with pytest.raises(IncusInputError, match="no websocket"):
        await operation.websocket("7")
    sockets = [await begun.websocket(fd) for fd in ("control", "0", "1", "2")]
    for socket in sockets:
        await socket.close()
    assert (await client.operations.wait(begun.id)).metadata["return"] == 137, "without its control socket it is killed"

    cancelled = await client.instances.execute(box.name, ["sleep", "60"], wait_for_websocket=True)
    if (await cancelled.refresh()).may_cancel:
        await client.operations.cancel(cancelled.id)
    with pytest.raises(IncusNotFoundError):
        await client.operations.get("00000000-0000-0000-0000-000000000000")


async def test_certificates_are_trusted_changed_and_forgotten(
    daemon: Daemon, client: Client, name: str, tmp_path: Path
) -> None:
    files = certificate(tmp_path)
    pem = files[0].read_text()
    made = await client.certificates.create(pem, name, type="metrics", description="for Prometheus")
    assert (made.name, made.type, made.restricted, made.projects) == (name, "metrics", False, [])
    assert (made.description, made.certificate) == ("for Prometheus", pem)
    assert [each.fingerprint for each in await client.certificates.list(filter=F("name") == name)] == [made.fingerprint]
    assert made.fingerprint in {each.fingerprint for each in await client.certificates.list(0)}
    with pytest.raises(IncusConflictError):
        await client.certificates.create(pem, name)
    with pytest.raises(IncusInputError, match="neither"):
        await client.certificates.create("not base64!")
    async with Client(daemon.url, cert=files, server_cert=daemon.certificate) as reader:
        assert (await reader.server.get_metrics()).endswith("# EOF\n")
        with pytest.raises(IncusPermissionError):
            await reader.profiles.create(name)
    await client.certificates.delete(made.fingerprint)

    der = base64.b64encode(ssl.PEM_cert_to_DER_cert(pem)).decode()
    made = await client.certificates.create(der, restricted=True, projects=["default"])
    assert (made.type, made.name, made.projects) == ("client", made.fingerprint[:12], ["default"])
    condition = (F("restricted") == True) & (F("projects") == ["default"])  # noqa: E712
    assert [each.name for each in await client.certificates.list(filter=condition)] == [made.name]
    async with Client(daemon.url, cert=files, server_cert=daemon.certificate) as reader:
        assert (await reader.server.get()).config == {}
    await client.certificates.update(made.fingerprint, {"name": name})
    etag = (await made.refresh()).etag
    assert (made.name, made.projects) == (name, ["default"])
    await client.certificates.patch(made.fingerprint, {"description": "changed"})
    with pytest.raises(IncusPreconditionError):
        await made.replace({**made}, etag=etag)
    put = {"name": f"{name}-x", "type": "client", "restricted": False, "projects": [], "certificate": made.certificate}
    await client.certificates.replace(made.fingerprint, put)
    assert ((await made.refresh()).name, made.restricted, made.projects) == (f"{name}-x", False, [])
    await made.delete()
    assert not await client.certificates.exists(made.fingerprint)


async def test_a_project_is_created_changed_renamed_and_emptied(client: Client, name: str) -> None:
    project = await client.projects.create(name, {"features.profiles": True, "features.images": False}, "mine")
    assert (project.description, project.config["features.profiles"]) == ("mine", "true")
    assert [each.name for each in await client.projects.list(filter=F("config.features.images") == False)]  # noqa: E712
    assert [each.name for each in await client.projects.list(0, filter=F("description") == "mine")] == [name]
    etag = project.etag
    await client.projects.update(name, {"limits.instances": 2, "description": "yours"})
    assert ((await project.refresh()).description, project.config["features.profiles"]) == ("yours", "true")
    with pytest.raises(IncusPreconditionError):
        await project.replace({"description": ""}, etag=etag)
    await project.patch({"description": "ours"})
    await client.projects.replace(
        name, {"config": {**project.config, "limits.instances": "3"}, "description": "theirs"}
    )
    state = await client.projects.get_state(name)
    assert (state.resources["instances"].Limit, state.resources["instances"].Usage) == (3, 0)
    assert all(entry.role and entry.provider for entry in await client.projects.get_access(name))

    renamed = await client.projects.rename(name, f"{name}-new")
    assert (await renamed.refresh()).description == "theirs"
    assert not await client.projects.exists(name)
    inside = client.use_project(renamed.name)
    await inside.profiles.create("inner")
    with pytest.raises(IncusAPIError, match="empty"):
        await client.projects.delete(renamed.name)
    await client.projects.delete(renamed.name, force=True)
    with pytest.raises(IncusNotFoundError):
        await client.projects.get(renamed.name)
    with pytest.raises(IncusAPIError, match=r"UNIQUE|exists"):
        await client.projects.create("default")
    plain = await client.projects.create(name)
    await plain.delete()


async def test_profiles_have_all_verbs_in_every_project(client: Client, name: str) -> None:
    project = await client.projects.create(name)
    profile = await client.use_project(name).profiles.create("web", config={"limits.cpu": 2}, devices=ROOT_DISK)
    assert (profile.config, profile.devices, profile.project) == ({"limits.cpu": "2"}, ROOT_DISK, name)
    assert {each.name for each in await client.profiles.list(project=name)} == {"default", "web"}
    for recursion in (0, 1):
        everywhere = await client.profiles.list(recursion, all_projects=True)
        assert {(each.name, each.project) for each in everywhere} == {
            ("default", "default"), ("default", name), ("web", name),
        }  # fmt: skip
        matching = await client.profiles.list(recursion, all_projects=True, filter=F("config.limits.cpu") == 2)
        assert [(each.name, each.project) for each in matching] == [("web", name)]
    await matching[0].update({"description": "found"})

    profiles = client.use_project(name).profiles
    etag = (await profile.refresh()).etag
    assert profile.description == "found"
    await profiles.patch("web", {"config": {"limits.memory": "1GiB"}})
    with pytest.raises(IncusPreconditionError):
        await profile.replace({"config": {}}, etag=etag)
    await profiles.update("web", {"limits.cpu": None, "devices": {"root": {"size": "1GiB"}}})
    assert (await profile.refresh()).config == {"limits.memory": "1GiB"}
    assert profile.devices["root"] == {**ROOT_DISK["root"], "size": "1GiB"}
    await profiles.replace("web", {"description": "bare"})
    assert ((await profile.refresh()).config, profile.devices, profile.description) == ({}, {}, "bare")
    renamed = await profiles.rename("web", "www")
    assert await profiles.exists("www")
    with pytest.raises(IncusAPIError, match="already exists"):
        await profiles.create("www")
    await renamed.delete()
    with pytest.raises(IncusNotFoundError):
        await renamed.refresh()
    await project.delete()


async def test_trust_tokens_are_listed_and_revoked_by_name(client: Client, daemon: Daemon, name: str) -> None:
    tokens = [await client.certificates.create_token(each) for each in (name, f"{name}-2")]
    tokens.append(await client.certificates.create_token(f"{name}-2", restricted=True, projects=["default"]))
    await client.projects.create(name, {"features.images": False, "features.profiles": False})
    for view in (client, client.use_project("default"), client.use_project(name)):
        listed = await view.certificates.list_tokens()
        assert sorted(token.value for token in listed) == sorted(tokens)
        assert sorted(token.name for token in listed) == [name, f"{name}-2", f"{name}-2"]
        assert not any(token in repr(listed) for token in tokens)
    assert await client.cluster.list_tokens() == []
    await client.use_project(name).certificates.revoke_token(f"{name}-2")
    await client.projects.delete(name)
    assert [token.name for token in await client.certificates.list_tokens()] == [name]
    await client.certificates.revoke_token(name)
    with pytest.raises(IncusNotFoundError, match=f"no token for '{name}'"):
        await client.certificates.revoke_token(name)
    with pytest.raises(IncusInputError):
        await client.certificates.revoke_token("")


async def test_a_raw_query_has_the_status_the_headers_and_the_etag(client: Client, name: str) -> None:
    await client.profiles.create(name, config={"user.x": "1"})
    path = f"/1.0/profiles/{name}"
    answer = await client.query("GET", path, raw=True)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body["type"] == "sync"
    assert answer.body["metadata"] == await client.query("GET", path)
    assert answer.etag == (await client.profiles.get(name)).etag
    await client.query("PATCH", path, body={"description": "changed"})
    with pytest.raises(IncusPreconditionError) as caught:
        await client.query("PUT", path, body={"config": {}}, headers={"If-Match": answer.etag or ""}, raw=True)
    assert caught.value.status_code == 412
    metrics = await client.query("GET", "/1.0/metrics", raw=True)
    assert isinstance(metrics.body, bytes)
    assert metrics.etag is None
    await client.profiles.delete(name)


async def test_waiting_for_a_server_that_starts(daemon: Daemon, request: pytest.FixtureRequest) -> None:
    async with Daemon(root=ROOTS[request.node.callspec.params["daemon"]], image=False) as other:
        for transport in ("unix", "https"):
            async with asyncio.timeout(120), other.client(transport) as client:
                await client.server.wait_ready(60)
                await other.kill()
                with pytest.raises(IncusTimeoutError, match=r"the server is not ready after 0.3 s"):
                    await client.server.wait_ready(0.3)
                waiting = asyncio.ensure_future(client.server.wait_ready())
                await other.restart()
                await waiting
                assert (await client.get_server_info()).auth == "trusted"
    gone = Client("/nowhere/unix.socket")
    with pytest.raises(IncusTimeoutError, match=r"not ready after 0.1 s: .* there is no socket"):
        await gone.server.wait_ready(0.1)
    await gone.disconnect()


async def test_who_changes_the_servers_configuration_too_late_is_told(client: Client) -> None:
    server = await client.server.get()
    etag = server.etag
    await server.update({"user.a": "1"})
    with pytest.raises(IncusPreconditionError, match="Server has changed since that ETag was read"):
        await server.update({"user.a": "2"}, etag=etag)
    block = client.server.editing()
    (await block.__aenter__()).config["user.a"] = "3"
    await client.server.update({"user.a": "4"})
    with pytest.raises(IncusPreconditionError, match=r"Server: somebody else changed config\.user\.a as well"):
        await block.__aexit__(None, None, None)
    assert (await client.server.get()).config["user.a"] == "4"
    await client.server.update({"user.a": None})


async def test_a_certificate_is_not_found_by_a_wildcard(client: Client) -> None:
    for key in ("%", "_", "a%", "____"):
        with pytest.raises(IncusInputError, match="is no fingerprint"):
            await client.certificates.delete(key)
    key = "-----BEGIN PRIVATE KEY-----\nSECRET"
    with pytest.raises(IncusInputError) as refused:
        await client.certificates.create(key.encode())  # type: ignore[arg-type]
    assert "SECRET" not in str(refused.value)
