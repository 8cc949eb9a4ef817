"""Joining a cluster, up to what is sent: which tokens are taken, which members are asked, whose certificate counts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import Client, IncusConnectionError, IncusInputError
from incus_sdk._connection.tls import fingerprint, make_pair
from incus_sdk.api import cluster

SECRET = "5ecre7"


def token(**fields: Any) -> str:
    made = {"server_name": "two", "fingerprint": "f00d", "addresses": ["127.0.0.1:1"], "secret": SECRET, **fields}
    return base64.b64encode(json.dumps(made).encode()).decode()


@pytest.fixture
async def sent(tmp_path: Path) -> AsyncIterator[list[tuple[str, Any]]]:
    """The requests to a server that does all it is asked for, at the socket ``socket``."""
    requests: list[tuple[str, Any]] = []
    answer = b'{"type": "sync", "metadata": {}}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((line[15:] for line in head.splitlines() if line.startswith("Content-Length:")), "0")
        body = await reader.readexactly(int(length))
        requests.append((head.rpartition(" HTTP/")[0], json.loads(body or b"null")))
        fields = f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(answer)}"
        writer.write(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode() + answer)
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "socket"):
        yield requests


@pytest.fixture
async def client(sent: list[Any], tmp_path: Path) -> AsyncIterator[Client]:
    client = Client(tmp_path / "socket")
    yield client
    await client.disconnect()


@pytest.fixture
async def members(tmp_path: Path) -> AsyncIterator[dict[str, tuple[str, str]]]:
    """The addresses and the certificates of two servers, and of one that takes connections and says nothing."""

    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            said = await reader.read()
            received.extend(b"" if writer.get_extra_info("ssl_object") is None else said)
        writer.close()

    found = {}
    async with AsyncExitStack() as stack:
        for name in ("first", "second", "silent"):
            context, certificate = None, ""
            if name != "silent":
                certificate, key = make_pair(name)
                pair = tmp_path / name
                pair.write_text(certificate + key)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(pair)
            server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
            await stack.enter_async_context(server)
            found[name] = f"127.0.0.1:{server.sockets[0].getsockname()[1]}", certificate
        yield found
    assert not received, "nothing but the handshake is theirs"


TOKENS = {
    "empty": "",
    "no base64": "!",
    "no JSON": base64.b64encode(b"x").decode(),
    "a list": base64.b64encode(b"[]").decode(),
    "a client's": base64.b64encode(json.dumps({"client_name": "c", "secret": SECRET}).encode()).decode(),
    "without a name": token(server_name=""),
    "without a fingerprint": token(fingerprint=None),
    "without addresses": token(addresses=[]),
    "with addresses of another kind": token(addresses=[1]),
    "with one address as text": token(addresses="127.0.0.1:1"),
    "no text": 7,
}


@pytest.mark.parametrize("bad", TOKENS.values(), ids=TOKENS)
async def test_what_is_no_join_token_is_refused_and_not_shown(client: Client, sent: list[Any], bad: Any) -> None:
    with pytest.raises(IncusInputError) as refused:
        await client.cluster.join(bad, "127.0.0.2")
    assert sent == []
    assert SECRET not in str(refused.value)
    assert not bad or str(bad) not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "complete"),
    [
        ("192.0.2.1", "192.0.2.1:8443"),
        ("192.0.2.1:1234", "192.0.2.1:1234"),
        ("[2001:db8::1]", "[2001:db8::1]:8443"),
        ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ("two.example.org", "two.example.org:8443"),
    ],
)
async def test_an_address_gets_the_usual_port(client: Client, sent: list[Any], given: str, complete: str) -> None:
    certificate, _ = make_pair("cluster")
    made = token(fingerprint=fingerprint(certificate), addresses=["192.0.2.7:8443", "192.0.2.8:8443"])
    keys = [{"entity": "storage-pool", "name": "default", "key": "source", "value": "/dev/sdb"}]
    assert await client.cluster.join(made, given, keys, cluster_certificate=certificate) == certificate  # type: ignore[arg-type]
    await client.cluster.join(made, "192.0.2.1", cluster_certificate=certificate, cluster_address=given)
    body = {
        "server_name": "two",
        "server_address": complete,
        "enabled": True,
        "cluster_address": "192.0.2.7:8443",
        "cluster_certificate": certificate,
        "cluster_token": made,
        "member_config": keys,
    }
    other = {**body, "server_address": "192.0.2.1:8443", "cluster_address": complete, "member_config": []}
    assert sent == [("PUT /1.0/cluster", body), ("PUT /1.0/cluster", other)]


@pytest.mark.parametrize("address", ["", "host:port", "http://192.0.2.1", "a b", "192.0.2.1/x", "u:p@192.0.2.1", None])
async def test_what_is_no_address_is_refused(client: Client, sent: list[Any], address: Any) -> None:
    with pytest.raises(IncusInputError):
        await client.cluster.join(token(), address)
    assert sent == []


async def test_the_first_member_that_answers_is_asked_for_the_certificate(
    client: Client, sent: list[Any], members: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_MEMBER_TIMEOUT", 0.2)
    (first, certificate), (second, _), (silent, _) = members.values()
    made = token(fingerprint=fingerprint(certificate), addresses=["127.0.0.1:1", silent, first, second])
    assert await client.cluster.join(made, "127.0.0.2") == certificate
    ((_, body),) = sent
    assert (body["cluster_address"], body["cluster_certificate"]) == (first, certificate)


async def test_a_member_with_another_certificate_is_refused_and_no_other_is_asked(
    client: Client, sent: list[Any], members: dict[str, tuple[str, str]]
) -> None:
    (first, certificate), (second, other), _ = members.values()
    made = token(fingerprint=fingerprint(certificate), addresses=[second, first])
    with pytest.raises(IncusConnectionError, match="another certificate") as refused:
        await client.cluster.join(made, "127.0.0.2")
    with pytest.raises(IncusInputError, match="not that of the cluster"):
        await client.cluster.join(made, "127.0.0.2", cluster_certificate=other)
    with pytest.raises(IncusInputError, match="PEM"):
        await client.cluster.join(made, "127.0.0.2", cluster_certificate="nonsense")
    assert sent == []
    assert SECRET not in str(refused.value)


async def test_a_member_is_forced_out_by_the_number_that_servers_read(client: Client, sent: list[Any]) -> None:
    await client.cluster.delete_member("two", force=True)
    await client.cluster.delete_member("two")
    assert sent == [("DELETE /1.0/cluster/members/two?force=1", None), ("DELETE /1.0/cluster/members/two", None)]
