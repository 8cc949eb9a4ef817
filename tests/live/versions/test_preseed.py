"""Preseeds: what ``incus admin init --preseed`` would make, made once, and not again."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from incus_sdk import Client, IncusError, IncusInputError, IncusUnsupportedError
from incus_sdk._connection.scope import Scope
from incus_sdk.testing import Daemon
from tests.live.roots import ROOTS

ROOT = {"type": "disk", "path": "/", "pool": "fast"}
PRESEED: dict[str, Any] = {
    "config": {"user.owner": "preseed", "images.auto_update_interval": 15, "core.shutdown_timeout": 7},
    "storage_pools": [{"name": "fast", "driver": "dir", "config": {"user.kind": "scratch"}, "description": "quick"}],
    "networks": [
        # Of another project, so it is made after the projects, which may name the others.
        {"name": "pre1", "project": "team", "config": {"ipv4.address": "none", "ipv6.address": "none"}},
        {
            "name": "pre0",
            "config": {"ipv4.address": "192.0.2.1/25", "ipv4.nat": True, "ipv6.address": "none"},
            "project": None,
        },
    ],
    "projects": [
        {
            "name": "team",
            "description": "theirs",
            "config": {"features.networks": False, "features.storage.volumes": True, "limits.instances": 3},
        }
    ],
    "storage_volumes": [
        {"name": "data", "pool": "fast", "project": "team", "config": {"user.x": 1}},
        {"name": "shared", "pool": "fast", "type": "custom", "content_type": "filesystem", "description": "all"},
    ],
    "profiles": [
        {"name": "default", "devices": {"root": ROOT, "eth0": {"type": "nic", "network": "pre0"}}, "description": ""},
        {"name": "small", "project": "", "description": "little", "config": {"limits.cpu": 1, "user.x": "y"}},
        {"name": "default", "project": "team", "devices": {"root": {**ROOT, "size": "1GiB"}}},
    ],
}  # fmt: skip


@pytest.fixture
async def empty(daemon: Daemon, request: pytest.FixtureRequest) -> AsyncIterator[Daemon]:
    """A daemon of its own, of the same version."""
    async with Daemon(root=ROOTS[request.node.callspec.params["daemon"]], image=False) as empty:
        yield empty


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent that is not for reading."""
    sent: list[str] = []
    original = Scope.request

    async def request(scope: Scope, method: str, path: str, **how: Any) -> Any:
        if method != "GET":
            sent.append(f"{method} {path}")
        return await original(scope, method, path, **how)

    monkeypatch.setattr(Scope, "request", request)
    return sent


async def everything(client: Client) -> dict[str, Any]:
    """What a preseed can make, but for what is different from server to server."""
    found: dict[str, Any] = {"config": {**(await client.server.get()).config}}
    for path in ("storage-pools", "networks", "projects", "profiles", "storage-pools/fast/volumes"):
        everywhere = path not in ("storage-pools", "projects")
        listed = await client.query("GET", f"/1.0/{path}", query={"recursion": 1, "all-projects": everywhere})
        found[path] = sorted(listed, key=lambda item: (item["name"], item.get("project", "")))
    for key in [key for key in found["config"] if key.endswith("https_address")]:
        del found["config"][key]
    for thing in [thing for path in found if path != "config" for thing in found[path]]:
        for own in ("created_at", "used_by"):
            thing.pop(own, None)
        for own in [
            key for key in thing["config"] or () if key.startswith("volatile.") or key in ("source", "bridge.hwaddr")
        ]:
            del thing["config"][own]
    found["networks"] = [network for network in found["networks"] if network["managed"]]
    return found


def by_command(daemon: Daemon, preseed: dict[str, Any], home: Path) -> None:
    """Have the command apply it. JSON is YAML."""
    environment = {"PATH": os.environ["PATH"], "INCUS_SOCKET": str(daemon.socket), "INCUS_CONF": str(home)}
    subprocess.run(
        ["incus", "admin", "init", "--preseed"],
        input=json.dumps(preseed).encode(), env=environment, check=True, timeout=60,
    )  # fmt: skip


async def test_it_makes_what_the_command_makes(
    daemon: Daemon, empty: Daemon, sent: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async with Daemon(root=ROOTS[request.node.callspec.params["daemon"]], image=False) as other:
        by_command(other, PRESEED, tmp_path)
        async with empty.client("https") as ours, other.client() as theirs:
            before = copy.deepcopy(PRESEED)
            assert await ours.server.preseed(PRESEED) == [
                "updated config",
                "created storage_pools/fast",
                "created networks/pre0",
                "created projects/team",
                "created networks/pre1 of project team",
                "created storage_volumes/custom/data of project team",
                "created storage_volumes/custom/shared",
                "updated profiles/default",
                "created profiles/small",
                "updated profiles/default of project team",
            ]
            assert before == PRESEED
            made = await everything(ours)
            assert made == await everything(theirs)
            sent.clear()
            assert await ours.server.preseed(PRESEED) == []
            assert await theirs.server.preseed(PRESEED) == []
            assert sent == []
            assert await everything(ours) == made


async def test_it_keeps_what_it_does_not_name(empty: Daemon, sent: list[str]) -> None:
    async with empty.client() as client:
        await client.server.preseed(PRESEED)
        await client.profiles.update(
            "small", {"user.mine": "kept", "devices": {"x": {"type": "nic", "nictype": "p2p"}}}
        )
        await client.networks.update("pre0", {"user.mine": "kept"})
        sent.clear()
        change: dict[str, Any] = {
            "Server": {"config": {"user.owner": "", "user.new": True}, "projects": None},
            "storage_pools": [{"name": "fast"}],
            "networks": [{"name": "pre0", "config": {"ipv4.address": "auto", "ipv4.nat": None}}],
            "profiles": [{"name": "small", "config": {"limits.cpu": "2"}, "devices": {"x": {"name": "eth9"}}}],
        }
        assert await client.server.preseed(change) == [
            "updated config",
            "updated networks/pre0",
            "updated profiles/small",
        ]
        assert sent == ["PUT /1.0", "PUT /1.0/networks/pre0", "PUT /1.0/profiles/small"]
        config = (await client.server.get()).config
        assert (config.get("user.owner"), config["user.new"], config["core.shutdown_timeout"]) == (None, "true", "7")
        network, profile = await client.networks.get("pre0"), await client.profiles.get("small")
        assert (network.config["ipv4.address"], network.config["user.mine"]) == ("192.0.2.1/25", "kept")
        assert "ipv4.nat" not in network.config
        assert profile.config == {"limits.cpu": "2", "user.x": "y", "user.mine": "kept"}
        assert await client.server.preseed(change) == []
        assert (profile.devices, profile.description) == (
            {"x": {"type": "nic", "nictype": "p2p", "name": "eth9"}},
            "little",
        )


async def test_who_is_trusted(empty: Daemon, sent: list[str]) -> None:
    pem = empty.certificate.read_text()  # any will do
    base64_alone = "".join(pem.split("\n")[1:-2])
    trusted = {"name": "friend", "certificate": pem, "restricted": True, "projects": ["team", "default"]}
    data = {"projects": [{"name": "team"}], "certificates": [trusted]}
    async with empty.client() as client:
        created = await client.server.preseed(data)
        [found] = [each for each in await client.certificates.list() if each.name == "friend"]
        assert created == ["created projects/team", f"created certificates/{found.fingerprint}"]
        assert (found.restricted, sorted(found.projects), found.type) == (True, ["default", "team"], "client")
        assert await client.server.preseed(data) == []
        again = {"certificate": base64_alone, "restricted": False, "projects": [], "description": "known"}
        assert await client.server.preseed({"certificates": [again]}) == [f"updated certificates/{found.fingerprint}"]
        await found.refresh()
        assert (found.name, found.restricted, found.projects, found.description) == ("friend", False, [], "known")
        with pytest.raises(IncusError, match="its type is 'client', not 'metrics'"):
            await client.server.preseed({"certificates": [{**again, "type": "metrics"}]})
    assert base64.b64decode(base64_alone)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"storage": []}, r"unknown fields \['storage'\]; .*'storage_pools'"),
        ({"profiles": [{"name": "x", "device": {}}]}, r"profiles: unknown fields \['device'\]"),
        ({"networks": [{"type": "bridge"}]}, "is not a name"),
        ({"storage_volumes": [{"name": "x"}]}, "is not a name"),
        ({"profiles": {"name": "x"}}, "profiles must be a list"),
        ({"profiles": ["x"]}, "profiles: expected a mapping"),
        ({"config": {"a": 1.5}}, "must be a str"),
        ([], "expected a mapping"),
        ({"cluster": {"name": "x"}}, r"cluster: unknown fields \['name'\]"),
        ({"cluster": {"cluster_token": "x"}, "config": {"user.a": "b"}}, r"remove \['config', 'projects'\]"),
        ({"cluster": {"enabled": True, "cluster_certificate_path": "/nowhere"}}, "cannot be read"),
        ({"certificates": [{"token": True}]}, "token"),
        ({"certificates": [{"name": "x"}]}, "must be PEM text"),
    ],
)
async def test_what_is_wrong_is_said_before_anything_is_sent(
    client: Client, sent: list[str], data: Any, message: str
) -> None:
    whole: Any = data if isinstance(data, list) else {"projects": [{"name": "first"}], **data}
    with pytest.raises(IncusInputError, match=message):
        await client.server.preseed(whole)
    assert sent == []


async def test_an_error_says_what_had_been_done(empty: Daemon) -> None:
    async with empty.client() as client:
        data = {
            "storage_pools": [{"name": "p1", "driver": "dir"}],
            "profiles": [{"name": "x", "config": {"no.key": 1}}],
        }
        with pytest.raises(
            IncusError, match=r"preseed, at profiles/x: POST .*; done before it: created storage_pools/p1"
        ) as (caught):
            await client.server.preseed(data)
        assert caught.value.status_code == 400  # type: ignore[attr-defined]
        with pytest.raises(
            IncusError, match=r"at storage_pools/p1: .*driver is 'dir', not 'btrfs'; done before it: nothing"
        ):
            await client.server.preseed({"storage_pools": [{"name": "p1", "driver": "btrfs"}]})
        nothing = {"ipv4.address": "none", "ipv6.address": "none"}
        with pytest.raises(IncusError, match="at networks/lo: POST"):  # it is there, but not the server's
            await client.server.preseed({"networks": [{"name": "lo", "config": nothing}]})


async def test_it_founds_a_cluster(empty: Daemon) -> None:
    group = {"name": "fast", "description": "quick ones", "members": ["one"]}
    data: dict[str, Any] = {"cluster": {"server_name": "one", "enabled": True}, "cluster_groups": [group]}
    async with empty.client() as client:
        assert await client.server.preseed(data) == ["founded cluster", "created cluster_groups/fast"]
        assert (await client.cluster.get()).server_name == "one"
        assert await client.server.preseed(data) == []
        data["cluster_groups"] = [{"name": "fast", "description": "slow ones"}]
        assert await client.server.preseed(data) == ["updated cluster_groups/fast"]
        found = await client.cluster.groups.get("fast")
        assert (found.description, found.members) == ("slow ones", ["one"])
        data["cluster_groups"] = [{"name": "fast", "config": {"user.x": "y"}}]
        if await client.has_extension("clustering_groups_config"):
            assert await client.server.preseed(data) == ["updated cluster_groups/fast"]
        else:
            with pytest.raises(IncusUnsupportedError, match="at cluster_groups/fast"):
                await client.server.preseed(data)


async def test_it_joins_a_cluster(empty: Daemon, request: pytest.FixtureRequest) -> None:
    root = ROOTS[request.node.callspec.params["daemon"]]
    async with (
        Daemon(root=root, image=False, beside=empty) as second,
        empty.client() as first,
        second.client() as client,
    ):
        await first.server.preseed({"cluster": {"server_name": "one", "enabled": True}})
        certificate = second.directory / "of-the-cluster.crt"
        certificate.write_text((await first.server.get()).environment.certificate)
        await client.profiles.update("default", {"devices": {"root": None}})
        await client.storage_pools.delete("default")
        cluster = {
            "enabled": True,
            "server_address": second.address.removeprefix("https://"),
            "cluster_address": empty.address.removeprefix("https://"),
            "cluster_token": await first.cluster.add_member("two"),
            "cluster_certificate_path": str(certificate),
            "member_config": [{"entity": "storage-pool", "name": "default", "key": "source", "value": ""}],
        }
        assert await client.server.preseed({"cluster": cluster}) == ["joined cluster"]
        assert {each.server_name for each in await first.cluster.members.list()} == {"one", "two"}
        assert await client.server.preseed({"cluster": cluster}) == []


async def test_a_dump_changes_nothing_here_and_makes_the_same_elsewhere(
    daemon: Daemon, empty: Daemon, sent: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    version = request.node.callspec.params["daemon"]
    async with (
        Daemon(root=ROOTS[version], image=False) as other,
        empty.client("https") as ours,
        other.client() as theirs,
    ):
        await ours.server.preseed(PRESEED)
        await ours.storage_pools["fast"].volumes["custom/shared"].snapshots.create("one")
        dumped = await ours.server.preseed_dump()
        assert dumped == json.loads(json.dumps(dumped))
        sent.clear()
        assert await ours.server.preseed(dumped) == []
        assert sent == []

        of_command = yaml.safe_load(await dumped_by_command(empty, tmp_path))
        for section in of_command:
            assert section in dumped, f"the command dumps {section}"
        pools = {pool["name"]: pool["driver"] for pool in of_command["storage_pools"]}
        assert pools == {pool["name"]: pool["driver"] for pool in dumped["storage_pools"]}

        del dumped["config"]["core.https_address"], dumped["config"]["cluster.https_address"]
        await theirs.server.preseed(dumped)
        await ours.storage_pools["fast"].volumes["custom/shared"].snapshots.delete("one")
        assert await everything(theirs) == await everything(ours)
        del dumped["certificates"]  # which this version of the command does not know
        by_command(other, dumped, tmp_path)
        assert await everything(theirs) == await everything(ours), "the command takes it, too"


async def dumped_by_command(daemon: Daemon, home: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "INCUS_SOCKET": str(daemon.socket), "INCUS_CONF": str(home)}
    command = ["incus", "admin", "init", "--dump"]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, check=True, timeout=60, capture_output=True, text=True
    )
    return done.stdout
