"""What is done to each server, in raw requests. A scenario leaves the server as it was."""

from __future__ import annotations

from typing import Any

from tests.live.conformance.recorder import Recorder

BUSYBOX = {"type": "image", "alias": "busybox"}
INSTANCES, IMAGES, PROFILES, PROJECTS = "/1.0/instances", "/1.0/images", "/1.0/profiles", "/1.0/projects"
NETWORKS, ACLS, POOLS = "/1.0/networks", "/1.0/network-acls", "/1.0/storage-pools"
CUSTOM = f"{POOLS}/default/volumes/custom"


async def the_server(to: Recorder) -> None:
    await to.do("GET", "/")
    await to.do("GET", "/1.0")
    await to.do("GET", "/1.0/nothing")
    await to.do("GET", "/1.0?project=nothing")
    await to.do("PATCH", "/1.0", {"config": {"user.a": "b"}})
    await to.do("PATCH", "/1.0", {"config": {"user.a": ""}})
    await to.do("PATCH", "/1.0", {"config": {"nothing.like.this": "1"}})
    await to.do("PUT", "/1.0", b"{")
    await to.do("GET", "/1.0/events/nothing")


async def what_the_machine_has(to: Recorder) -> None:
    for path in ("resources", "metrics", "metadata/configuration"):
        await to.do("GET", f"/1.0/{path}", shallow=True, headers={"Accept-Encoding": "identity"})
    for path in ("network-address-sets", "network-allocations", "network-integrations", "network-zones"):
        await to.do("GET", f"/1.0/{path}")
    for path in ("cluster", "cluster/groups", "cluster/members"):
        await to.do("GET", f"/1.0/{path}")
    await to.do("GET", NETWORKS, shallow=True)
    await to.do("GET", f"{POOLS}/default/buckets")
    await to.do("GET", "/1.0/warnings", shallow=True)
    await to.do("GET", "/1.0/warnings?recursion=1", shallow=True)
    for method, body in (("GET", None), ("PUT", {"status": "new"}), ("PATCH", {"status": "new"}), ("DELETE", None)):
        await to.do(method, "/1.0/warnings/11111111-2222-3333-4444-555555555555", body)


async def instances(to: Recorder) -> None:
    await to.do("GET", INSTANCES)
    await to.do("GET", f"{INSTANCES}/c1")
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX, "config": {"user.a": "b"}})
    for recursion in (0, 1, 2):
        await to.do("GET", f"{INSTANCES}?recursion={recursion}")
    await to.do("GET", f"{INSTANCES}/c1")
    await to.do("GET", f"{INSTANCES}/c1?recursion=1")
    await to.do("GET", f"{INSTANCES}/c1/state")
    await to.do("GET", f"{INSTANCES}/c1/backups")
    await to.run("POST", f"{INSTANCES}/c1/rebuild", {"source": BUSYBOX})
    await to.run("POST", f"{INSTANCES}/c1/rebuild", {"source": {"type": "none"}})
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX})
    await to.run("POST", INSTANCES, {"name": "not a name", "source": BUSYBOX})
    await to.run("POST", INSTANCES, {"name": "c2", "source": {"type": "image", "alias": "nothing"}})
    await to.run("POST", INSTANCES, {"name": "c2", "source": {"type": "nothing"}})
    await to.run("POST", INSTANCES, {"name": "c2", "source": BUSYBOX, "profiles": ["nothing"]})
    await to.run("POST", INSTANCES, {"name": "c2", "source": BUSYBOX, "config": {"nothing": "1"}})
    await to.run("POST", INSTANCES, {"name": "c2", "source": BUSYBOX, "devices": {"x": {"type": "nothing"}}})
    await to.do("POST", INSTANCES, b"{")
    await to.run("POST", INSTANCES, {"name": "c2", "source": {"type": "none"}})
    await to.run("POST", INSTANCES, {"name": "c3", "source": {"type": "copy", "source": "c1"}})
    await to.run("DELETE", f"{INSTANCES}/c2")
    await to.run("DELETE", f"{INSTANCES}/c3")
    await to.run("POST", f"{INSTANCES}/c1", {"name": "c4"})
    await to.run("POST", f"{INSTANCES}/c4", {"name": "c1"})
    await to.run("DELETE", f"{INSTANCES}/c1")
    await to.run("DELETE", f"{INSTANCES}/c1")


async def changes_of_an_instance(to: Recorder) -> None:
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX})
    answer = await to.do("GET", f"{INSTANCES}/c1")
    etag, body = {"If-Match": answer.headers["ETag"]}, answer.metadata
    body["config"]["user.a"] = "b"
    await to.run("PUT", f"{INSTANCES}/c1", body, headers=etag)
    await to.run("PUT", f"{INSTANCES}/c1", body, headers=etag)
    await to.run("PATCH", f"{INSTANCES}/c1", {"config": {"user.c": "d"}}, headers=etag)
    await to.run("PATCH", f"{INSTANCES}/c1", {"config": {"user.c": "d"}})
    await to.run("PATCH", f"{INSTANCES}/c1", {"devices": {"nothing": {"type": "disk"}}})
    await to.run("PATCH", f"{INSTANCES}/c1", {"profiles": ["nothing"]})
    await to.do("GET", f"{INSTANCES}/c1")
    await to.run("PATCH", f"{INSTANCES}/nothing", {"config": {"user.c": "d"}})
    await to.run("DELETE", f"{INSTANCES}/c1")


async def names_of_instances(to: Recorder) -> None:
    await to.run("POST", INSTANCES, {"name": "c1", "source": {"type": "none"}})
    for name in ("-a", "a-", "a_b", "a/b", "1", "ü", "x" * 64, "", "c1"):
        await to.run("POST", f"{INSTANCES}/c1", {"name": name})
        if name not in ("", "c1"):
            await to.run("POST", INSTANCES, {"name": name, "source": {"type": "none"}})
    await to.run("POST", f"{INSTANCES}/c1", {"name": "1a"})
    await to.run("DELETE", f"{INSTANCES}/1a")
    await to.run("POST", INSTANCES, {"name": "2b", "source": {"type": "none"}})
    await to.run("DELETE", f"{INSTANCES}/2b")


async def disks_and_profiles_of_an_instance(to: Recorder) -> None:
    root = {"type": "disk", "path": "/", "pool": "default"}
    for name, devices in (("root", {"other": root}), ("none", {})):
        await to.do("POST", PROFILES, {"name": name, "devices": devices})
    empty = {"name": "c2", "source": {"type": "none"}}
    await to.run("POST", INSTANCES, {**empty, "profiles": []})
    await to.run("POST", INSTANCES, {**empty, "devices": {"root": {"type": "none"}}})
    await to.run("POST", INSTANCES, {**empty, "devices": {"more": root}})
    await to.run("POST", INSTANCES, {**empty, "devices": {"root": {**root, "pool": "nothing"}}})
    await to.run("POST", INSTANCES, {**empty, "devices": {"a": {**root, "path": "/x", "pool": "nothing"}}})
    await to.run("POST", INSTANCES, {**empty, "devices": {"a": {**root, "path": "/x", "source": "nothing"}}})
    await to.run("POST", INSTANCES, {**empty, "devices": {"a": {"type": "nic"}}})
    await to.run("POST", INSTANCES, {**empty, "devices": {"a": {"type": "proxy", "listen": "tcp:127.0.0.1:1"}}})
    await to.run("POST", INSTANCES, {**empty, "profiles": ["default", "default"]})
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX})
    own = (await to.do("GET", f"{INSTANCES}/c1")).metadata
    changes: list[dict[str, Any]] = [
        {"profiles": []},
        {"profiles": ["none"]},
        {"profiles": ["none"], "devices": {"a": {"type": "none"}}},
        {"profiles": ["default", "default"]},
        {"profiles": ["default", "root"]},
        {"profiles": ["root"]},
        {"profiles": ["default"]},
        {"devices": {"more": root}},
        {"devices": {"a": {"type": "disk", "source": "nothing", "pool": "default", "path": "/x"}}},
        {"devices": {"a": {"type": "disk", "source": "x", "pool": "nothing", "path": "/x"}}},
        {"devices": {"a": {}}},
        {"devices": {"a": {"type": "nothing"}}},
        {"devices": {"a": {"type": "nic"}}},
        {"devices": {"a": {"type": "proxy", "listen": "tcp:127.0.0.1:1"}}},
        {"description": 3},
        {"ephemeral": "yes"},
        {"profiles": "default"},
        {"profiles": [1]},
        {"devices": []},
        {"config": "a"},
    ]
    for change in changes:
        await to.run("PUT", f"{INSTANCES}/c1", {**own, **change})
        await to.run("PATCH", f"{INSTANCES}/c1", {"description": "as it was"})
    await to.do("PATCH", f"{PROFILES}/default", {"description": 3})
    await to.do("PUT", f"{PROFILES}/default", {"devices": {}})
    await to.run("DELETE", f"{INSTANCES}/c1")
    for name in ("root", "none"):
        await to.do("DELETE", f"{PROFILES}/{name}")


async def states_of_an_instance(to: Recorder) -> None:
    state = f"{INSTANCES}/c1/state"
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX})
    await to.run("PUT", state, {"action": "stop"})
    await to.run("PUT", state, {"action": "nothing"})
    await to.run("PUT", f"{INSTANCES}/nothing/state", {"action": "start"})
    await to.run("PUT", state, {"action": "start"})
    await to.run("PUT", state, {"action": "start"})
    await to.do("GET", state)
    await to.do("GET", f"{INSTANCES}/c1")
    await to.do("GET", f"{INSTANCES}?recursion=2")
    await to.run("DELETE", f"{INSTANCES}/c1")
    await to.run("PUT", state, {"action": "freeze"})
    await to.do("GET", f"{INSTANCES}/c1")
    await to.run("PUT", state, {"action": "unfreeze"})
    await to.run("PUT", state, {"action": "restart", "force": True})
    await to.run("PUT", state, {"action": "stop", "force": True})
    await to.run("PUT", INSTANCES, {"state": {"action": "start"}})
    await to.run("PUT", INSTANCES, {"state": {"action": "stop", "force": True}})
    await to.run("DELETE", f"{INSTANCES}/c1")
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX, "start": True})
    await to.run("PUT", state, {"action": "stop", "force": True})
    await to.run("DELETE", f"{INSTANCES}/c1")


async def filters_and_projects(to: Recorder) -> None:
    await to.do("POST", PROJECTS, {"name": "p", "config": {"features.images": "false", "features.profiles": "false"}})
    for number, project in enumerate(("default", "p"), 1):
        body = {"name": f"c{number}", "source": BUSYBOX, "config": {"user.kind": project}}
        await to.run("POST", f"{INSTANCES}?project={project}", body)
    for query in (
        "all-projects=true",
        "all-projects=true&recursion=1",
        "project=p",
        "project=nothing",
        "project=p&all-projects=true",
        "filter=name%20eq%20c1&recursion=1",
        "filter=config.user.kind%20eq%20default&recursion=1",
        "filter=name%20eq%20nothing&recursion=1",
        "filter=name%20eq",
        "filter=%20",
        "filter=name%20eq%20c1%20or",
        "filter=ephemeral%20eq%20no",
        "filter=ephemeral%20eq%20F",
        "filter=status_code%20eq%20102",
        "filter=created_at%20eq%202020",
        "filter=created_at%20gt%202020",
        "filter=profiles%20eq%20default",
        "filter=snapshots%20eq%20x",
        "recursion=nothing",
    ):
        await to.do("GET", f"{INSTANCES}?{query}")
    for group in (IMAGES, PROFILES, "/1.0/operations"):
        await to.do("GET", f"{group}?all-projects=true")
    await to.do("GET", f"{INSTANCES}/c2")
    await to.do("GET", f"{INSTANCES}/c2?project=nothing")
    await to.do("DELETE", f"{PROJECTS}/p")
    await to.run("DELETE", f"{INSTANCES}/c1")
    await to.run("DELETE", f"{INSTANCES}/c2?project=p")
    await to.do("DELETE", f"{PROJECTS}/p")


async def snapshots(to: Recorder) -> None:
    snapshots = f"{INSTANCES}/c1/snapshots"
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX})
    await to.do("GET", snapshots)
    await to.run("POST", snapshots, {"name": "s0"})
    await to.run("POST", snapshots, {"name": "s0"})
    await to.run("POST", snapshots, {"name": "a/b"})
    await to.run("POST", snapshots, {})
    await to.do("GET", snapshots)
    await to.do("GET", f"{snapshots}?recursion=1")
    await to.do("GET", f"{snapshots}/s0")
    await to.do("GET", f"{snapshots}/nothing")
    await to.run("PATCH", f"{snapshots}/s0", {"expires_at": "2040-01-01T00:00:00Z"})
    await to.run("PUT", f"{snapshots}/s0", {"expires_at": "2041-01-01T00:00:00Z"})
    await to.run("POST", f"{snapshots}/s0", {"name": "a/b"})
    await to.run("POST", snapshots, {"name": "s2", "stateful": True})
    await to.run("POST", f"{snapshots}/s0", {"name": "s1"})
    await to.do("GET", f"{INSTANCES}/nothing/snapshots")
    await to.do("GET", f"{INSTANCES}/nothing/snapshots?recursion=1")
    await to.run("PUT", f"{INSTANCES}/c1", {"restore": "s1"})
    await to.run("PUT", f"{INSTANCES}/c1", {"restore": "nothing"})
    await to.run("POST", INSTANCES, {"name": "c2", "source": {"type": "copy", "source": "c1/s1"}})
    await to.do("GET", f"{INSTANCES}/c1?recursion=1")
    await to.run("DELETE", f"{snapshots}/s1")
    await to.run("DELETE", f"{snapshots}/s1")
    await to.run("DELETE", f"{INSTANCES}/c2")
    await to.run("DELETE", f"{INSTANCES}/c1")


async def profiles(to: Recorder) -> None:
    await to.do("GET", PROFILES)
    await to.do("GET", f"{PROFILES}?recursion=1")
    await to.do("POST", PROFILES, {"name": "p", "config": {"user.a": "b"}, "description": "d"})
    await to.do("POST", PROFILES, {"name": "p"})
    await to.do("POST", PROFILES, {"name": "a/b"})
    await to.do("POST", PROFILES, {"name": "q", "config": {"nothing": "1"}})
    await to.do("POST", PROFILES, {"name": "q", "devices": {"x": {"type": "nothing"}}})
    answer = await to.do("GET", f"{PROFILES}/p")
    etag = {"If-Match": answer.headers["ETag"]}
    await to.run("PUT", f"{PROFILES}/p", {**answer.metadata, "description": "e"}, headers=etag)
    await to.run("PUT", f"{PROFILES}/p", {**answer.metadata, "description": "f"}, headers=etag)
    await to.run("PATCH", f"{PROFILES}/p", {"config": {"user.c": "d"}})
    await to.do("GET", f"{PROFILES}/nothing")
    await to.do("POST", f"{PROFILES}/p", {"name": "q"})
    await to.do("POST", f"{PROFILES}/q", {"name": "default"})
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX, "profiles": ["default", "q"]})
    await to.do("GET", f"{INSTANCES}/c1")
    await to.do("DELETE", f"{PROFILES}/q")
    await to.run("DELETE", f"{INSTANCES}/c1")
    await to.do("DELETE", f"{PROFILES}/q")
    await to.do("DELETE", f"{PROFILES}/q")
    await to.do("DELETE", f"{PROFILES}/default")


async def projects(to: Recorder) -> None:
    await to.do("GET", PROJECTS)
    await to.do("GET", f"{PROJECTS}?recursion=1")
    await to.do("POST", PROJECTS, {"name": "p", "config": {}})
    await to.do("POST", PROJECTS, {"name": "p"})
    await to.do("POST", PROJECTS, {"name": "a/b"})
    await to.do("POST", PROJECTS, {"name": "q", "config": {"nothing": "1"}})
    await to.do("GET", f"{PROJECTS}/p")
    await to.do("GET", f"{PROJECTS}/p/state")
    await to.do("GET", f"{PROJECTS}/p/access")
    await to.do("GET", f"{PROFILES}?project=p&recursion=1")
    await to.do("PATCH", f"{PROJECTS}/p", {"description": "d", "config": {"user.a": "b"}})
    await to.do(
        "PUT", f"{PROJECTS}/p", {"description": "e", "config": {"features.images": "true"}}, headers={"If-Match": "x"}
    )
    await to.run("POST", f"{PROJECTS}/p", {"name": "q"})
    await to.do("GET", f"{PROJECTS}/p")
    await to.do("DELETE", f"{PROJECTS}/q")
    await to.do("DELETE", f"{PROJECTS}/q")
    await to.do("DELETE", f"{PROJECTS}/default")
    await to.do("POST", PROJECTS, {"name": "r", "config": {"features.images": "false"}})
    root = {"root": {"type": "disk", "path": "/", "pool": "default"}}
    await to.run("POST", f"{INSTANCES}?project=r", {"name": "c1", "source": BUSYBOX, "devices": root})
    await to.do("DELETE", f"{PROJECTS}/r")
    await to.run("DELETE", f"{PROJECTS}/r?force=1")
    await to.do("GET", PROJECTS)


async def images(to: Recorder) -> None:
    found = (await to.do("GET", IMAGES)).metadata[0]
    await to.do("GET", f"{IMAGES}?recursion=1")
    image = (await to.do("GET", found)).metadata
    await to.do("GET", found[: len(IMAGES) + 29])
    await to.do("GET", f"{IMAGES}/nothing")
    await to.do("GET", f"{IMAGES}?filter=public%20eq%20true&recursion=1")
    await to.run("PATCH", found, {"properties": {"os": "busybox"}})
    await to.do("GET", found)
    await to.run("PATCH", found, {"properties": {"os": ""}})
    await to.run("PUT", found, {"public": True, "properties": {"a": "b"}})
    await to.run("PUT", found, {"public": False, "properties": image["properties"]})
    await to.do("GET", f"{IMAGES}/nothing/export")
    await to.run("DELETE", f"{IMAGES}/nothing")
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX})
    made = await to.run("POST", IMAGES, {"source": {"type": "instance", "name": "c1"}, "properties": {"a": "b"}})
    fingerprint = ((made or {}).get("metadata") or {}).get("fingerprint", "nothing")
    await to.do("GET", f"{IMAGES}/{fingerprint}")
    await to.run("DELETE", f"{IMAGES}/{fingerprint}")
    await to.run("POST", IMAGES, {"source": {"type": "instance", "name": "nothing"}})
    await to.run("DELETE", f"{INSTANCES}/c1")


async def aliases(to: Recorder) -> None:
    aliases = f"{IMAGES}/aliases"
    fingerprint = (await to.do("GET", f"{IMAGES}?recursion=1")).metadata[0]["fingerprint"]
    await to.do("GET", aliases)
    await to.do("GET", f"{aliases}?recursion=1")
    await to.do("GET", f"{aliases}/busybox")
    await to.do("GET", f"{aliases}/nothing")
    await to.do("POST", aliases, {"name": "a", "target": fingerprint, "description": "d"})
    await to.do("POST", aliases, {"name": "a", "target": fingerprint})
    await to.do("POST", aliases, {"name": "b", "target": "nothing"})
    await to.do("PATCH", f"{aliases}/a", {"description": "e"})
    await to.do("PUT", f"{aliases}/a", {"description": "f", "target": fingerprint})
    await to.do("POST", f"{aliases}/a", {"name": "c"})
    await to.do("POST", f"{aliases}/c", {"name": "busybox"})
    await to.do("DELETE", f"{aliases}/c")
    await to.do("DELETE", f"{aliases}/c")


async def networks(to: Recorder) -> None:
    none = {"ipv4.address": "none", "ipv6.address": "none"}
    await to.do("POST", NETWORKS, {"name": "br-t", "type": "bridge", "config": none})
    await to.do("POST", NETWORKS, {"name": "br-t", "type": "bridge", "config": none})
    await to.do("POST", NETWORKS, {"name": "br-u", "type": "nothing"})
    await to.do("POST", NETWORKS, {"name": "br-u", "type": "bridge", "config": {**none, "nothing": "1"}})
    answer = await to.do("GET", f"{NETWORKS}/br-t")
    etag = {"If-Match": answer.headers["ETag"]}
    await to.do("GET", f"{NETWORKS}/nothing")
    await to.do("PATCH", f"{NETWORKS}/br-t", {"description": "d"}, headers=etag)
    await to.do("PATCH", f"{NETWORKS}/br-t", {"description": "e"}, headers=etag)
    await to.do("PUT", f"{NETWORKS}/br-t", {"config": {**none, "user.a": "b"}, "description": ""})
    await to.do("GET", f"{NETWORKS}/br-t/state")
    await to.do("GET", f"{NETWORKS}/br-t/leases")
    await to.do("POST", f"{NETWORKS}/br-t", {"name": "br-v"})
    nic = {"eth0": {"type": "nic", "network": "br-v"}}
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX, "devices": nic})
    await to.do("GET", f"{INSTANCES}/c1")
    await to.do("DELETE", f"{NETWORKS}/br-v")
    await to.run("DELETE", f"{INSTANCES}/c1")
    await to.run(
        "POST", INSTANCES, {"name": "c1", "source": BUSYBOX, "devices": {"eth0": {**nic["eth0"], "network": "x"}}}
    )
    await to.do("DELETE", f"{NETWORKS}/br-v")
    await to.do("DELETE", f"{NETWORKS}/br-v")


async def network_acls(to: Recorder) -> None:
    rule = {"action": "allow", "state": "enabled", "source": "198.51.100.0/24"}
    await to.do("GET", ACLS)
    await to.do("POST", ACLS, {"name": "a", "ingress": [rule]})
    await to.do("POST", ACLS, {"name": "a"})
    await to.do("POST", ACLS, {"name": "b", "ingress": [{"action": "nothing", "state": "enabled"}]})
    await to.do("GET", f"{ACLS}?recursion=1")
    await to.do("GET", f"{ACLS}/a")
    await to.do("GET", f"{ACLS}/nothing")
    await to.do("PATCH", f"{ACLS}/a", {"description": "d"})
    await to.do("PUT", f"{ACLS}/a", {"description": "e", "egress": [rule | {"source": ""}]})
    await to.do("GET", f"{ACLS}/a/log")
    await to.do("POST", f"{ACLS}/a", {"name": "b"})
    await to.do("DELETE", f"{ACLS}/b")
    await to.do("DELETE", f"{ACLS}/b")


async def pools(to: Recorder) -> None:
    await to.do("GET", POOLS)
    await to.do("GET", f"{POOLS}?recursion=1")
    await to.do("GET", f"{POOLS}/default")
    await to.do("GET", f"{POOLS}/nothing")
    await to.do("GET", f"{POOLS}/default/resources")
    await to.do("POST", POOLS, {"name": "p", "driver": "dir"})
    await to.do("POST", POOLS, {"name": "p", "driver": "dir"})
    await to.do("POST", POOLS, {"name": "q", "driver": "nothing"})
    await to.do("PATCH", f"{POOLS}/p", {"description": "d"})
    await to.do("PUT", f"{POOLS}/p", {"description": "e", "config": {"user.a": "b"}}, headers={"If-Match": "x"})
    await to.do("DELETE", f"{POOLS}/p")
    await to.do("DELETE", f"{POOLS}/p")
    await to.do("DELETE", f"{POOLS}/default")


async def volumes(to: Recorder) -> None:
    await to.do("GET", f"{POOLS}/default/volumes")
    await to.do("GET", CUSTOM)
    await to.run("POST", CUSTOM, {"name": "v", "config": {"user.a": "b"}})
    await to.run("POST", CUSTOM, {"name": "v"})
    await to.run("POST", CUSTOM, {"name": "w", "config": {"nothing": "1"}})
    await to.do("GET", f"{POOLS}/default/volumes/nothing")
    await to.do("GET", f"{CUSTOM}?recursion=1")
    answer = await to.do("GET", f"{CUSTOM}/v")
    etag = {"If-Match": answer.headers.get("ETag", "")}
    await to.do("GET", f"{CUSTOM}/nothing")
    await to.do("GET", f"{CUSTOM}/v/state")
    await to.run("PATCH", f"{CUSTOM}/v", {"description": "d"}, headers=etag)
    await to.run("PATCH", f"{CUSTOM}/v", {"description": "e"}, headers=etag)
    await to.run("PUT", f"{CUSTOM}/v", {"description": "f", "config": {}})
    await to.do("GET", f"{CUSTOM}/v/snapshots")
    await to.run("POST", f"{CUSTOM}/v/snapshots", {"name": "s0"})
    await to.run("POST", f"{CUSTOM}/v/snapshots", {"name": "s0"})
    await to.do("GET", f"{CUSTOM}/v/snapshots?recursion=1")
    await to.do("GET", f"{CUSTOM}/v/snapshots/s0")
    await to.run("PATCH", f"{CUSTOM}/v/snapshots/s0", {"description": "d"})
    await to.run("PUT", f"{CUSTOM}/v/snapshots/s0", {"description": "e"})
    await to.run("POST", f"{CUSTOM}/v/snapshots/s0", {"name": "s1"})
    await to.run("DELETE", f"{CUSTOM}/v/snapshots/s1")
    await to.run("POST", f"{POOLS}/default/volumes", {"name": "v", "type": "custom"})
    await to.do("POST", f"{CUSTOM}/v/files?path=/a", b"text\n", headers={"X-Incus-type": "file"})
    for method in ("GET", "HEAD", "DELETE", "GET"):
        await to.do(method, f"{CUSTOM}/v/files?path=/a")
    await to.run("POST", f"{CUSTOM}/v", {"name": "w"})
    disk = {"data": {"type": "disk", "pool": "default", "source": "w", "path": "/data"}}
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX, "devices": disk})
    await to.do("GET", f"{CUSTOM}/w")
    await to.run("DELETE", f"{CUSTOM}/w")
    await to.run("POST", f"{CUSTOM}/w/snapshots", {"name": "s0"})
    await to.run("PUT", f"{INSTANCES}/c1/state", {"action": "start"})
    await to.run("PUT", f"{CUSTOM}/w", {"restore": "s0"})
    await to.run("PUT", f"{INSTANCES}/c1/state", {"action": "stop", "force": True})
    await to.run("PUT", f"{CUSTOM}/w", {"restore": "s0"})
    await to.run("DELETE", f"{INSTANCES}/c1")
    await to.run("DELETE", f"{CUSTOM}/w")
    await to.run("DELETE", f"{CUSTOM}/w")


async def certificates(to: Recorder) -> None:
    found = (await to.do("GET", "/1.0/certificates")).metadata[0]
    await to.do("GET", "/1.0/certificates?recursion=1")
    await to.do("GET", found)
    await to.do("GET", f"/1.0/certificates/{'0' * 64}")
    await to.do("PATCH", found, {"name": "n"})
    await to.do("PATCH", found, {"name": "incus-sdk"})
    await to.do("PUT", found, {"name": "n", "type": "client", "restricted": False})
    await to.do("PUT", found, {"name": "incus-sdk", "type": "client"})
    await to.do("DELETE", f"/1.0/certificates/{'0' * 64}")
    await to.do("POST", "/1.0/certificates", {"type": "client", "certificate": "!"})
    token = await to.do("POST", "/1.0/certificates", {"type": "client", "name": "n", "token": True})
    await to.do("DELETE", token.operation or "/1.0/operations/nothing")


async def operations(to: Recorder) -> None:
    await to.do("GET", "/1.0/operations")
    await to.do("GET", "/1.0/operations/11111111-2222-3333-4444-555555555555")
    await to.do("GET", "/1.0/operations/nothing")
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX, "start": True})
    begun = await to.do("POST", f"{INSTANCES}/c1/exec", {"command": ["sleep", "99"], "wait-for-websocket": True})
    operation = begun.operation or "/1.0/operations/nothing"
    await to.do("GET", operation)
    await to.do("GET", "/1.0/operations")
    await to.do("GET", "/1.0/operations?recursion=1")
    await to.do("GET", f"{operation}/wait?timeout=0")
    await to.do("DELETE", operation)
    await to.do("GET", f"{operation}/websocket?secret=nothing")
    await to.run("PUT", f"{INSTANCES}/c1/state", {"action": "stop", "force": True})
    await to.run("DELETE", f"{INSTANCES}/c1")


async def commands(to: Recorder) -> None:
    run = f"{INSTANCES}/c1/exec"
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX})
    await to.run("POST", run, {"command": ["true"]})
    await to.run("PUT", f"{INSTANCES}/c1/state", {"action": "start"})
    await to.run("POST", run, {"command": ["true"]})
    await to.run("POST", run, {"command": ["false"]})
    await to.run("POST", run, {"command": []})
    await to.run("POST", f"{INSTANCES}/nothing/exec", {"command": ["true"]})
    recorded = await to.run("POST", run, {"command": ["echo", "hi"], "record-output": True})
    for path in ((recorded or {}).get("metadata") or {}).get("output", {}).values():
        await to.do("GET", path)
        await to.do("DELETE", path)
    await to.do("GET", f"{INSTANCES}/c1/logs/exec-output")
    for body in ({"interactive": False}, {"interactive": True, "width": 80, "height": 24}):
        command = {"command": ["echo", "hi"], "wait-for-websocket": True, **body}
        begun = await to.do("POST", run, command)
        if begun.operation:
            await to.all_websockets(begun.operation, begun.metadata["metadata"]["fds"])
            await to.do("GET", f"{begun.operation}/wait")
    await to.run("PUT", f"{INSTANCES}/c1/state", {"action": "stop", "force": True})
    await to.run("DELETE", f"{INSTANCES}/c1")


async def files(to: Recorder) -> None:
    files = f"{INSTANCES}/c1/files?path="
    file = {"X-Incus-type": "file", "X-Incus-mode": "0640", "X-Incus-uid": "1", "X-Incus-gid": "2"}
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX, "start": True})
    await to.do("POST", f"{files}/t", headers={"X-Incus-type": "directory", "X-Incus-mode": "0750"})
    await to.do("POST", f"{files}/t/a", b"text\n", headers=file)
    await to.do("POST", f"{files}/t/a", b"more\n", headers={"X-Incus-write": "append"})
    await to.do("POST", f"{files}/t/link", b"a", headers={"X-Incus-type": "symlink"})
    await to.do("POST", f"{files}/t/nothing/a", b"text\n", headers=file)
    await to.do("POST", f"{files}/t/b", b"", headers={"X-Incus-type": "nothing"})
    for method in ("GET", "HEAD"):
        for path in ("/t", "/t/a", "/t/link", "/t/nothing"):
            await to.do(method, f"{files}{path}")
    await to.do("GET", f"{INSTANCES}/c1/files")
    await to.do("GET", f"{INSTANCES}/nothing/files?path=/t")
    await to.do("DELETE", f"{files}/t")
    for path in ("/t/a", "/t/link", "/t", "/t"):
        await to.do("DELETE", f"{files}{path}")
    await to.do("GET", f"{INSTANCES}/c1/logs")
    await to.do("GET", f"{INSTANCES}/c1/logs/lxc.log")
    await to.do("GET", f"{INSTANCES}/c1/logs/nothing")
    await to.do("DELETE", f"{INSTANCES}/c1/logs/lxc.log")
    await to.do("DELETE", f"{INSTANCES}/c1/logs/console.log")
    await to.do("GET", f"{INSTANCES}/c1/console")
    await to.do("DELETE", f"{INSTANCES}/c1/console")
    await to.do("GET", f"{INSTANCES}/c1/metadata")
    await to.run("PUT", f"{INSTANCES}/c1/state", {"action": "stop", "force": True})
    await to.run("DELETE", f"{INSTANCES}/c1")


async def backups(to: Recorder) -> None:
    backups = f"{INSTANCES}/c1/backups"
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX})
    await to.run("POST", backups, {"name": "b0"})
    await to.run("POST", backups, {"name": "b0"})
    await to.do("GET", f"{backups}?recursion=1")
    await to.do("GET", f"{backups}/b0")
    await to.do("GET", f"{backups}/nothing")
    await to.do("GET", f"{backups}/nothing/export")
    await to.run("POST", f"{backups}/b0", {"name": "b1"})
    await to.run("DELETE", f"{backups}/b1")
    await to.run("DELETE", f"{backups}/b1")
    await to.run("DELETE", f"{INSTANCES}/c1")


async def metadata_of_an_instance(to: Recorder) -> None:
    metadata = f"{INSTANCES}/c1/metadata"
    await to.run("POST", INSTANCES, {"name": "c1", "source": BUSYBOX})
    answer = await to.do("GET", metadata)
    await to.do("PUT", metadata, answer.metadata, headers={"If-Match": "x"})
    await to.do("PATCH", metadata, {"properties": {"os": "x"}})
    await to.do("PUT", metadata, answer.metadata)
    await to.do("GET", f"{metadata}/templates")
    await to.do("POST", f"{metadata}/templates?path=new.tpl", b"text")
    await to.do("GET", f"{metadata}/templates?path=new.tpl")
    await to.do("DELETE", f"{metadata}/templates?path=new.tpl")
    await to.do("GET", f"{metadata}/templates?path=new.tpl")
    await to.do("GET", f"{INSTANCES}/c1/access")
    await to.run("DELETE", f"{INSTANCES}/c1")


async def network_zones(to: Recorder) -> None:
    zones, records = "/1.0/network-zones", "/1.0/network-zones/example.org/records"
    entries = [{"type": "A", "value": "198.51.100.7"}]
    await to.do("POST", zones, {"name": "example.org", "config": {"user.a": "b"}})
    await to.do("POST", zones, {"name": "example.org"})
    await to.do("GET", f"{zones}?recursion=1")
    await to.do("GET", f"{zones}/example.org")
    await to.do("GET", f"{zones}/nothing")
    await to.do("PATCH", f"{zones}/example.org", {"description": "d", "config": {}})  # without: the servers break off
    await to.do("PUT", f"{zones}/example.org", {"description": "e", "config": {}})
    await to.do("POST", records, {"name": "www", "entries": entries})
    await to.do("POST", records, {"name": "www", "entries": entries})
    await to.do("GET", f"{records}?recursion=1")
    await to.do("GET", f"{records}/www")
    await to.do("GET", f"{records}/nothing")
    await to.do("PATCH", f"{records}/www", {"description": "d", "config": {}})
    await to.do("PUT", f"{records}/www", {"description": "e", "entries": entries})
    await to.do("DELETE", f"{records}/www")
    await to.do("DELETE", f"{records}/www")
    await to.do("DELETE", f"{zones}/example.org")
    await to.do("DELETE", f"{zones}/example.org")


async def network_forwards(to: Recorder) -> None:
    forwards, address = f"{NETWORKS}/br-f/forwards", "198.51.100.200"
    config = {"ipv4.address": "198.51.100.1/24", "ipv4.dhcp": "false", "ipv4.nat": "false", "ipv6.address": "none"}
    await to.do("POST", NETWORKS, {"name": "br-f", "type": "bridge", "config": config})
    await to.do("GET", forwards)
    await to.do("POST", forwards, {"listen_address": address, "config": {"target_address": "198.51.100.2"}})
    await to.do("POST", forwards, {"listen_address": address})
    await to.do("GET", f"{forwards}?recursion=1")
    await to.do("GET", f"{forwards}/{address}")
    await to.do("GET", f"{forwards}/198.51.100.201")
    await to.do("PATCH", f"{forwards}/{address}", {"description": "d", "config": {}})
    await to.do("PUT", f"{forwards}/{address}", {"description": "e"})
    await to.do("DELETE", f"{forwards}/{address}")
    await to.do("DELETE", f"{forwards}/{address}")
    await to.do("DELETE", f"{NETWORKS}/br-f")


async def network_integrations(to: Recorder) -> None:
    integrations = "/1.0/network-integrations"
    await to.do("POST", integrations, {"name": "i", "type": "ovn"})
    await to.do("POST", integrations, {"name": "i", "type": "ovn"})
    await to.do("GET", f"{integrations}?recursion=1")
    await to.do("GET", f"{integrations}/i")
    await to.do("GET", f"{integrations}/nothing")
    await to.do("PATCH", f"{integrations}/i", {"description": "d"})
    await to.do("PUT", f"{integrations}/i", {"description": "e"})
    await to.do("POST", f"{integrations}/i", {"name": "j"})
    await to.do("DELETE", f"{integrations}/j")
    await to.do("DELETE", f"{integrations}/j")


async def network_address_sets(to: Recorder) -> None:
    sets = "/1.0/network-address-sets"
    await to.do("POST", sets, {"name": "a", "addresses": ["198.51.100.7"]})
    await to.do("POST", sets, {"name": "a"})
    await to.do("GET", f"{sets}?recursion=1")
    await to.do("GET", f"{sets}/a")
    await to.do("GET", f"{sets}/nothing")
    await to.do("PATCH", f"{sets}/a", {"description": "d"})
    await to.do("PUT", f"{sets}/a", {"description": "e", "addresses": []})
    await to.do("POST", f"{sets}/a", {"name": "b"})
    await to.do("DELETE", f"{sets}/b")
    await to.do("DELETE", f"{sets}/b")


SCENARIOS = (
    *(the_server, what_the_machine_has, instances, changes_of_an_instance, states_of_an_instance),
    *(names_of_instances, disks_and_profiles_of_an_instance),
    *(filters_and_projects, snapshots, profiles, projects, images, aliases, networks, network_acls),
    *(backups, metadata_of_an_instance, network_zones, network_forwards, network_integrations),
    *(network_address_sets, pools, volumes, certificates, operations, commands, files),
)
