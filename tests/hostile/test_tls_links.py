"""TLS at the socket: who the server must be before it learns anything, sessions, proxies, links that fall silent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import IncusCertificateError, IncusConnectionError, IncusInputError
from incus_sdk._connection import dialing
from incus_sdk._connection.config import Remote
from incus_sdk._connection.connecting import make_transport
from incus_sdk._connection.endpoint import Endpoint
from incus_sdk._connection.tls import context
from incus_sdk._connection.transport import Transport
from tests.hostile.scripted import (
    OK,
    SECRET,
    Pair,
    Reader,
    Server,
    TLSServer,
    Writer,
    accept,
    answer,
    eventually,
    head,
    pair,
    stop_listening,
    upgrade,
)


async def talk(reader: Reader, writer: Writer) -> None:
    """Answers, accepts websockets and upgrades, each as it is asked to."""
    while True:
        again = asyncio.StreamReader()
        again.feed_data(said := await head(reader))
        if b"Upgrade: websocket" in said:
            await accept(again, writer)
            await reader.read(1)
        elif b"Upgrade: sftp" in said:
            await upgrade(again, writer)
            await reader.read(1)
        else:
            writer.write(answer())


async def _request(transport: Transport) -> None:
    assert (await transport.request("GET", "/1.0")).body == OK


async def _websocket(transport: Transport) -> None:
    await (await transport.websocket("/1.0")).close()


async def _upgrade(transport: Transport) -> None:
    _, writer = await transport.upgrade("GET", "/1.0", "sftp")
    writer.transport.abort()


async def _download(transport: Transport) -> None:
    async with transport.stream("GET", "/1.0") as stream:
        assert await stream.read() == OK


async def _upload(transport: Transport) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    await transport.request("GET", "/1.0", body=pieces())


WAYS: list[Callable[[Transport], Any]] = [_request, _websocket, _upgrade, _download, _upload]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(tmp_path_factory.mktemp("mine"), "client")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(tmp_path_factory.mktemp("authority"), "authority", authority=True)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, authority: Pair) -> Pair:
    """The server's, signed by the authority."""
    return pair(tmp_path_factory.mktemp("theirs"), "server", by=authority)


@pytest.fixture(scope="module")
def sibling(tmp_path_factory: pytest.TempPathFactory, authority: Pair) -> Pair:
    """Another server's, of the same name and authority."""
    return pair(tmp_path_factory.mktemp("sibling"), "server", by=authority)


@contextlib.asynccontextmanager
async def to(endpoint: Endpoint, mine: Pair | None, pin: str | Path) -> AsyncGenerator[Transport]:
    transport = Transport(endpoint, lambda: context(mine, server_cert=pin), timeout=20)
    try:
        yield transport
    finally:
        await transport.close()


# Who the server is.


@pytest.mark.parametrize("pinned", ["its authority", "a chain of another", "another of the same name"])
@pytest.mark.parametrize("way", WAYS)
async def test_only_the_first_certificate_is_pinned_and_any_other_learns_nothing(
    mine: Pair, theirs: Pair, sibling: Pair, authority: Pair, way: Callable[[Transport], Any], pinned: str
) -> None:
    pin = {
        "its authority": authority[0].read_text(),
        "a chain of another": sibling[0].read_text() + authority[0].read_text(),
        "another of the same name": sibling[0].read_text(),
    }[pinned]
    server = TLSServer(talk, theirs, mine)
    async with server.running() as endpoint, to(endpoint, mine, pin) as transport:
        with pytest.raises(IncusCertificateError, match="did not prove who it is, so nothing was sent"):
            await way(transport)
        await server.over.wait()
    assert server.clients == []
    assert len(server.raw) == 5 + int.from_bytes(server.raw[3:5]), "more than one record: the client's hello"
    assert server.connections == 1


@pytest.mark.parametrize("before", ["", "Certificate:\n    Data:\n        Version: 3 (0x2)\n"])
@pytest.mark.parametrize("way", WAYS)
async def test_the_first_certificate_of_a_chain_is_the_servers(
    mine: Pair, theirs: Pair, authority: Pair, way: Callable[[Transport], Any], before: str
) -> None:
    server = TLSServer(talk, theirs, mine)
    pin = before + theirs[0].read_text() + authority[0].read_text()
    async with server.running() as endpoint, to(endpoint, mine, pin) as transport:
        await way(transport)
    assert server.clients == [ssl.PEM_cert_to_DER_cert(mine[0].read_text())]


@pytest.mark.parametrize("pin", ["", "text", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
async def test_what_is_not_a_certificate_is_not_a_pin(pin: str, tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_text(pin)
    async with to(Endpoint(host="127.0.0.1", port=9), None, file) as transport:
        with pytest.raises(IncusInputError, match="server_cert is not a PEM certificate"):
            await transport.request("GET", "/1.0")


async def test_a_fingerprint_pins_like_the_certificate(mine: Pair, theirs: Pair, sibling: Pair) -> None:
    from incus_sdk._connection.tls import fingerprint

    server = TLSServer(talk, theirs, mine)
    async with server.running() as endpoint:
        for certificate in (sibling, theirs):
            remote = Remote("", (endpoint.url,))
            transport = make_transport(remote, mine, server_cert=fingerprint(certificate[0].read_text()))
            if certificate is theirs:
                await _request(transport)
                assert transport.pinned_certificate == ssl.PEM_cert_to_DER_cert(theirs[0].read_text())
            else:
                with pytest.raises(IncusCertificateError, match="the fingerprint of its certificate is"):
                    await _request(transport)
            await transport.close()
    shown = [client for client in server.clients if client is not None]
    assert shown == [ssl.PEM_cert_to_DER_cert(mine[0].read_text())]


async def test_the_certificate_of_whoever_answers_can_be_asked_for(theirs: Pair, mine: Pair) -> None:
    server = TLSServer(talk, theirs, mine)
    async with server.running() as endpoint, to(endpoint, mine, theirs[0]) as transport:
        assert await transport.certificate() == ssl.PEM_cert_to_DER_cert(theirs[0].read_text())
        await eventually(lambda: server.open == 0)
    assert server.clients == [None]


# Sessions.


async def test_sessions_are_resumed_and_the_server_still_knows_the_client(mine: Pair, theirs: Pair) -> None:
    server = TLSServer(talk, theirs, mine)
    async with server.running() as endpoint, to(endpoint, mine, theirs[0]) as transport:
        for way in (_request, _websocket, _upgrade, _websocket):
            await way(transport)
        await transport.close()
        await _request(transport)
    assert server.resumed == [False, True, True, True, True]
    assert set(server.clients) == {ssl.PEM_cert_to_DER_cert(mine[0].read_text())}


async def test_a_session_does_not_help_another_server_in_the_same_place(
    mine: Pair, theirs: Pair, sibling: Pair, authority: Pair
) -> None:
    first, second = TLSServer(talk, theirs, mine), TLSServer(talk, sibling, mine)
    async with contextlib.AsyncExitStack() as stack:
        async with first.running() as endpoint:
            transport = await stack.enter_async_context(to(endpoint, mine, theirs[0]))
            await _request(transport)
            await transport.close()
        await stack.enter_async_context(second.running(endpoint.port))
        for way in WAYS:
            with pytest.raises(IncusCertificateError):
                await way(transport)
        await eventually(lambda: second.open == 0)
    assert second.clients == []


async def test_a_server_that_forgot_the_session_shakes_hands_again(mine: Pair, theirs: Pair) -> None:
    first, second = TLSServer(talk, theirs, mine), TLSServer(talk, theirs, mine)
    async with contextlib.AsyncExitStack() as stack:
        async with first.running() as endpoint:
            transport = await stack.enter_async_context(to(endpoint, mine, theirs[0]))
            await _request(transport)
            await transport.close()
        await stack.enter_async_context(second.running(endpoint.port))
        for _ in range(2):
            await _request(transport)
            await transport.close()
    assert second.resumed == [False, True]


# Silent links.


async def test_a_silent_link_ends_after_about_a_minute(
    mine: Pair, theirs: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    links: list[Any] = []
    connect = dialing._connect

    async def spy(host: str, port: int, tls: Any, link: Any) -> None:
        await connect(host, port, tls, link)
        links.append(link.transport.get_extra_info("socket"))

    monkeypatch.setattr(dialing, "_connect", spy)
    server = TLSServer(talk, theirs, mine)
    async with server.running() as endpoint, to(endpoint, mine, theirs[0]) as transport:
        for way in (_request, _websocket):
            await way(transport)
        await _request(transport)
        own = links[0]
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, between, count = (
            own.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert (idle, between, count) == (15, 15, 3)
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


async def test_where_the_system_has_none_of_these_options_it_connects_all_the_same(
    mine: Pair, theirs: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"):
        monkeypatch.delattr(socket, option)
    server = TLSServer(talk, theirs, mine)
    async with server.running() as endpoint, to(endpoint, mine, theirs[0]) as transport:
        await _request(transport)


# Proxies.


class Proxy:
    """Leads any name to one server, whatever a client says of it."""

    def __init__(self, target: Endpoint, says: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.heads: list[bytes] = []
        self._target = target
        self._says = says

    async def talk(self, reader: Reader, writer: Writer) -> None:
        self.heads.append(await head(reader))
        writer.write(self._says)
        if b" 200 " not in self._says:
            await reader.read(1)
            return
        there, back = await asyncio.open_connection(self._target.host, self._target.port)

        async def pump(source: Reader, target: Any) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(2**16):
                    target.write(data)
                    await target.drain()

        pumps = [asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            back.close()
            for each in pumps:
                each.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


AWAY = Endpoint(host="incus.example")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_all_ways_lead_through_a_proxy_which_never_sees_the_clients_certificate(
    mine: Pair, theirs: Pair, authority: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    server = TLSServer(talk, theirs, mine)
    own = pair(tmp_path, "localhost", by=authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    async with server.running() as behind:
        proxy = Proxy(behind)
        front: Server = TLSServer(proxy.talk, own, mine) if scheme == "https" else Server(proxy.talk)
        listening = await asyncio.start_server(front.connected, "127.0.0.1")
        port = listening.sockets[0].getsockname()[1]
        monkeypatch.setenv("https_proxy", f"{scheme}://me:{SECRET}@localhost:{port}")
        async with to(AWAY, mine, theirs[0]) as transport:
            for way in WAYS:
                await way(transport)
            assert await transport.certificate() == ssl.PEM_cert_to_DER_cert(theirs[0].read_text())
        await stop_listening(listening)
        await front.stop()
    assert {said.split(b"\r\n")[0] for said in proxy.heads} == {b"CONNECT incus.example:8443 HTTP/1.1"}
    assert all(b"Proxy-Authorization: Basic " in said for said in proxy.heads)
    assert server.clients.count(ssl.PEM_cert_to_DER_cert(mine[0].read_text())) == 3
    if isinstance(front, TLSServer):
        assert set(front.clients) == {None}


async def test_an_https_proxy_is_whom_the_systems_authorities_vouch_for(
    mine: Pair, theirs: Pair, authority: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pair(tmp_path, "localhost", by=authority)
    proxy = Proxy(AWAY)
    front = TLSServer(proxy.talk, own, mine)
    monkeypatch.setenv("SSL_CERT_FILE", str(mine[0]))  # no authority of the proxy's
    async with front.running() as endpoint:
        monkeypatch.setenv("https_proxy", f"https://me:{SECRET}@localhost:{endpoint.port}")
        for pin in (theirs[0], own[0]):  # nor does the pin, which is the server's
            async with to(AWAY, mine, pin) as transport:
                with pytest.raises(IncusConnectionError, match="the proxy in https_proxy does not lead to") as caught:
                    await _request(transport)
            _without_secret(caught.value)
    assert proxy.heads == []
    assert front.clients == []


@pytest.mark.parametrize(
    "says",
    [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"HTTP/1.1 502 Bad\r\n\r\n", b"nonsense\r\n\r\n", b""],
)
async def test_a_proxy_that_refuses_is_named_without_its_password(
    mine: Pair, theirs: Pair, monkeypatch: pytest.MonkeyPatch, says: bytes
) -> None:
    proxy = Proxy(AWAY, says)
    front = Server(proxy.talk)
    listening = await asyncio.start_server(front.connected, "127.0.0.1")
    monkeypatch.setenv("https_proxy", f"http://me:{SECRET}@127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    transport = Transport(AWAY, lambda: context(mine, server_cert=theirs[0]), timeout=0.5)
    with pytest.raises(Exception, match=r"the proxy in https_proxy does not lead to|no answer from") as caught:
        await _request(transport)
    _without_secret(caught.value)
    await eventually(lambda: front.open == 0)
    await transport.close()
    await stop_listening(listening)
    await front.stop()


@pytest.mark.parametrize(
    "proxy",
    [
        f"http://me:{SECRET}@",
        f"http://me:{SECRET}@:3128",
        f"http://me:{SECRET}/x@proxy.example:3128",
        f"http://me:{SECRET}?x@proxy.example:3128",
        f"http://me:{SECRET}#x@proxy.example:3128",
        f"http://me:{SECRET}@[::1:3128",
        f"http://me:{SECRET}@proxy.example:port",
        f"http://me:{SECRET}@proxy.example:99999",
        f"http://me:{SECRET}@proxy.example:3128/path",
        f"http://me:{SECRET}@pro\u2100xy.example:3128",
        f"socks5://me:{SECRET}@proxy.example:3128",
        f"me:{SECRET}/x@proxy.example:3128",
        f"http:me:{SECRET}@proxy.example",
        f"http://me:{SECRET}@pro xy.example:3128",
        f"http://me:{SECRET}@{'x' * 64}.example:3128",
        f"http://me:{SECRET}@.:3128",
    ],
)
async def test_no_malformed_proxy_gives_its_password_away(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    transport = Transport(AWAY, lambda: context(verify=False), timeout=5)
    with pytest.raises((IncusInputError, IncusConnectionError), match="https_proxy") as caught:
        await _request(transport)
    _without_secret(caught.value)
    await transport.close()


def _without_secret(error: BaseException | None) -> None:
    assert SECRET not in "".join(traceback.format_exception(error))
    while error is not None:
        assert SECRET not in f"{error} {error!r} {error.args} {vars(error)}"
        _without_secret(error.__cause__)
        error = error.__context__
