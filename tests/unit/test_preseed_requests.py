"""Preseeds of what no private daemon has: pools on disks, and servers that join without a token."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from incus_sdk import Client, IncusInputError
from incus_sdk._connection.scope import Scope
from incus_sdk._connection.transport import Response


class Server:
    """In the place of a transport: answers by path, and notes what else than reading is asked."""

    endpoint = "nowhere"
    pause = staticmethod(asyncio.sleep)

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.sent: list[tuple[str, str, Any]] = []

    async def request(self, method: str, target: str, *, body: Any = None, **_: Any) -> Response:
        if method != "GET":
            self.sent.append((method, target, json.loads(body)))
        answer = {"type": "sync", "metadata": self.answers.get(target, {})}
        return Response(200, {"Content-Type": "application/json", "ETag": "e"}, json.dumps(answer).encode())

    def client(self) -> Client:
        return Client._view(Scope(self))  # type: ignore[arg-type]


async def test_a_pool_stays_on_the_disk_that_it_was_made_on() -> None:
    # The server writes where the pool is in the place of what it was made of, and keeps that elsewhere.
    now = {"source": "vg0", "volatile.initial_source": "/dev/sdb", "size": "5GiB"}
    server = Server({"/1.0/storage-pools/p": {"name": "p", "driver": "lvm", "config": now}})
    pool: dict[str, Any] = {"name": "p", "driver": "lvm", "config": {"source": "/dev/sdb", "size": "5GiB"}}
    assert await server.client().server.preseed({"storage_pools": [pool]}) == []
    assert server.sent == []
    pool["config"] = {"source": "/dev/sdc", "size": "5GiB"}
    assert await server.client().server.preseed({"storage_pools": [pool]}) == ["updated storage_pools/p"]
    [(method, path, body)] = server.sent
    assert (method, path, body["config"]) == ("PUT", "/1.0/storage-pools/p", {**now, "source": "/dev/sdc"})


async def test_a_server_joins_a_cluster_that_trusts_it_without_a_token() -> None:
    server = Server({"/1.0/cluster": {"enabled": False}})
    cluster = {"enabled": True, "server_name": "two", "server_address": "203.0.113.2", "cluster_address": "203.0.113.1"}
    assert await server.client().server.preseed({"cluster": {**cluster, "cluster_certificate": "PEM"}}) == [
        "joined cluster"
    ]
    assert server.sent == [("PUT", "/1.0/cluster", {**cluster, "cluster_certificate": "PEM"})]


async def test_the_address_for_the_cluster_is_the_servers_own_where_none_is_given() -> None:
    server = Server({"/1.0": {"config": {}}, "/1.0/cluster": {"enabled": True}})
    config = {"core.https_address": "203.0.113.2:8443"}
    await server.client().server.preseed({"config": config, "cluster": {"enabled": True, "server_name": "one"}})
    assert server.sent == [("PUT", "/1.0", {"config": {**config, "cluster.https_address": "203.0.113.2:8443"}})]


async def test_secrets_of_a_preseed_are_in_no_error() -> None:
    for wrong in ({"cluster": {"cluster_token": "s3cret", "server_adress": "x"}}, {"config": {"a": {"s3cret": 1}}}):
        with pytest.raises(IncusInputError) as caught:
            await Server({}).client().server.preseed(wrong)
        assert "s3cret" not in str(caught.value)
