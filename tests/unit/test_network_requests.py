"""What requests of the API of networks say where no server of ours shows it: in clusters, and to old servers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from incus_sdk import Client, IncusInputError, IncusUnsupportedError
from incus_sdk._connection.transport import Response, Transport

SERVER = {"api_extensions": ["api_filtering"], "environment": {"server_version": "6.0.0"}}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    """What is asked of a server of 6.0.0 from now on: method, target, body."""
    seen: list[tuple[str, str, Any]] = []

    async def request(self: Transport, method: str, target: str, *, body: Any = None, **_: Any) -> Response:
        if target == "/1.0":
            metadata: dict[str, Any] = SERVER
        else:
            seen.append((method, target, json.loads(body) if body else None))
            metadata = {"name": "br0", "status": "Pending"}
        answer = {"type": "sync", "status": "Success", "status_code": 200, "metadata": metadata}
        return Response(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    monkeypatch.setattr(Transport, "request", request)
    return seen


async def test_a_network_is_named_on_a_member_before_it_is_created(sent: list[tuple[str, str, Any]]) -> None:
    client = Client("/there/is/no/such/socket").use_project("p")
    pending = await client.networks.create("br0", {"bridge.external_interfaces": "eth1"}, target="node 2")
    await pending.get_state()
    body = {"name": "br0", "type": "bridge", "description": "", "config": {"bridge.external_interfaces": "eth1"}}
    where = "?target=node+2&project=p"
    assert sent == [
        ("POST", f"/1.0/networks{where}", body),
        ("GET", f"/1.0/networks/br0{where}", None),
        ("GET", f"/1.0/networks/br0/state{where}", None),
    ]
    assert (pending.status, client.networks["br0"].name) == ("Pending", "br0")


async def test_what_an_old_server_has_not_is_said_before_anything_is_sent(sent: list[tuple[str, str, Any]]) -> None:
    client = Client("/there/is/no/such/socket")
    network = client.networks["br0"]
    for late, extension in (
        (network.load_balancers.get_state("203.0.113.9"), "network_load_balancer_state"),
        (network.load_balancers["203.0.113.9"].get_state(), "network_load_balancer_state"),
        (network.peers.list(filter="name eq x"), "api_filtering_extended"),
        (client.networks.list(all_projects=True), "networks_all_projects"),
        (client.network_acls.list(all_projects=True), "network_acls_all_projects"),
        (client.network_zones.list(all_projects=True), "network_zones_all_projects"),
        (client.network_address_sets["x"].refresh(), "network_address_set"),
        (client.network_address_sets.create("x"), "network_address_set"),
        (client.network_address_sets.list(), "network_address_set"),
    ):
        with pytest.raises(IncusUnsupportedError, match=f"{extension}, which this server \\(6.0.0\\)"):
            await late
    for group in (network.forwards, network.load_balancers, network.peers, client.network_zones["x"].records):
        with pytest.raises(IncusInputError, match="has no all_projects"):
            await group.list(all_projects=True)
    with pytest.raises(IncusInputError, match="mapping"):
        await client.network_acls["x"].patch("description")  # type: ignore[arg-type]
    assert sent == []
