"""HTTPS: who the server is, and that it is told nothing before that is settled."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import ssl
import subprocess
import sys
import termios
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import (
    Client,
    IncusCertificateError,
    IncusConnectionError,
    IncusInputError,
    IncusTimeoutError,
)
from incus_sdk._connection.tls import client_token, context
from tests.hostile.scripted import Pair, answer, incus_server, pair, plain_server


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A client's certificate and key."""
    return pair(tmp_path_factory.mktemp("client"), "client")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A server's certificate and key."""
    return pair(tmp_path_factory.mktemp("server"), "server")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Another server's, of the same name."""
    return pair(tmp_path_factory.mktemp("other"), "server")


async def connected(url: str, **options: Any) -> None:
    async with Client(url, **options):
        pass


async def request(client: Client) -> Any:
    return await client.get_server_info()


async def websocket(client: Client) -> Any:
    await (await client._scope.websocket("/1.0/events")).close()


async def upgrade(client: Client) -> Any:
    await client._scope.upgrade("GET", "/1.0/instances/c1/sftp", "sftp")


WAYS = [request, websocket, upgrade]


# The server, to the client.


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_is_another_than_the_pinned_one_learns_nothing(
    mine: Pair, theirs: Pair, other: Pair, way: Callable[[Client], Any]
) -> None:
    fake = incus_server(theirs, mine)
    async with fake.at_a_url() as url:
        client = Client(url, cert=mine, server_cert=other[0], timeout=20)
        with pytest.raises(
            IncusCertificateError, match=r"nothing was sent: it has another certificate than .* give the new one as"
        ) as caught:
            await way(client)
        assert isinstance(caught.value.cause, ssl.SSLCertVerificationError)
        await client.disconnect()
        await fake.over.wait()
    assert (fake.connections, fake.clients, fake.heard, fake.errors) == (1, [], b"", ["closed"])
    assert len(fake.raw) == 5 + int.from_bytes(fake.raw[3:5])  # one record: its hello


async def test_the_pinned_server_learns_who_the_client_is_and_what_it_wants(mine: Pair, theirs: Pair) -> None:
    fake = incus_server(theirs, mine)
    async with fake.at_a_url() as url, Client(url, cert=mine, server_cert=theirs[0]) as client:
        assert (await client.get_server_info()).api_version == "1.0"
    assert fake.clients[-1] == ssl.PEM_cert_to_DER_cert(mine[0].read_text())
    assert fake.heard.startswith(b"GET /1.0 HTTP/1.1\r\n")


@pytest.mark.parametrize(("days", "said"), [((-3, -1), "has expired"), ((1, 3), "is not yet valid, or the clock")])
async def test_the_dates_of_the_pinned_certificate_count(
    mine: Pair, tmp_path: Path, days: tuple[int, int], said: str
) -> None:
    own = pair(tmp_path, "server", days=days)
    async with incus_server(own, mine).at_a_url() as url:
        with pytest.raises(IncusCertificateError, match=f"the certificate in server_cert= {said}.*give the new one"):
            await connected(url, cert=mine, server_cert=own[0])


async def test_a_fingerprint_is_taken_in_the_forms_of_openssl_and_of_the_command(
    mine: Pair, theirs: Pair, other: Pair
) -> None:
    def fingerprint(of: Pair) -> str:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(of[0].read_text())).hexdigest()

    async with incus_server(theirs, mine).at_a_url() as url:
        right, wrong = (":".join(re.findall("..", fingerprint(of))).upper() for of in (theirs, other))
        await connected(url, cert=mine, server_cert=fingerprint(theirs))
        await connected(url, cert=mine, server_cert=right)
        with pytest.raises(IncusCertificateError, match=f"is {fingerprint(theirs)}, not {wrong}.*give the new one"):
            await connected(url, cert=mine, server_cert=wrong)


async def test_a_certificate_that_the_pinned_one_signed_is_another_one(
    mine: Pair, theirs: Pair, tmp_path: Path
) -> None:
    signed = pair(tmp_path, "server", by=theirs)
    fake = incus_server(signed, mine)
    async with fake.at_a_url() as url:
        with pytest.raises(IncusCertificateError, match="did not prove who it is"):
            await connected(url, cert=mine, server_cert=theirs[0])
        await fake.over.wait()
    assert (fake.clients, fake.heard) == ([], b"")


async def test_a_server_that_no_authority_vouches_for_is_refused_unless_verify_is_false(
    mine: Pair, theirs: Pair
) -> None:
    fake = incus_server(theirs, mine)
    async with fake.at_a_url() as url:
        with pytest.raises(IncusCertificateError, match=r"did not prove who it is.*server_cert="):
            await connected(url, cert=mine)
        await fake.over.wait()
        assert (fake.clients, fake.heard) == ([], b"")
        async with Client(url, cert=mine, verify=False) as client:
            assert (await client.get_server_info()).api_version == "1.0"
        with pytest.raises(IncusCertificateError, match="did not prove who it is"):  # a pin counts all the same
            await connected(url, cert=mine, verify=False, server_cert=mine[0])


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_without_tls_1_3_is_refused_unless_the_user_says_so(
    mine: Pair, theirs: Pair, monkeypatch: pytest.MonkeyPatch, way: Callable[[Client], Any]
) -> None:
    fake = incus_server(theirs, mine)
    fake.context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with fake.at_a_url() as url:
        client = Client(url, cert=mine, server_cert=theirs[0])
        with pytest.raises(IncusConnectionError, match=r"does not speak TLS 1\.3"):
            await way(client)
        await client.disconnect()
        await fake.over.wait()
        assert (fake.clients, fake.heard) == ([], b"")
        monkeypatch.setenv("INCUS_INSECURE_TLS", "true")
        async with Client(url, cert=mine, server_cert=theirs[0]) as client:
            assert (await client.get_server_info()).api_version == "1.0"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("banner", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_a_server_that_speaks_no_tls_is_no_server(banner: bytes, way: Callable[[Client], Any]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(banner)
        writer.close()

    async with plain_server(serve) as url:
        client = Client(url, timeout=20)
        with pytest.raises(
            IncusConnectionError, match=r"does not speak TLS 1\.3|closed the connection|cannot be reached"
        ):
            await way(client)
        await client.disconnect()


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_does_not_even_shake_hands_is_a_timeout(way: Callable[[Client], Any]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    async with plain_server(serve) as url:
        client = Client(url, timeout=0.1)
        with pytest.raises(IncusTimeoutError, match=r"no answer from https://127.* within 0\.1 s"):
            await way(client)
        await client.disconnect()


@pytest.mark.parametrize("way", WAYS)
async def test_an_address_where_nobody_listens(way: Callable[[Client], Any]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError

    async with plain_server(serve) as url:
        pass
    client = Client(url)
    with pytest.raises(IncusConnectionError, match=r"https://127.* cannot be reached .*right address.* up\?"):
        await way(client)
    await client.disconnect()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html><h1>It works!</h1></html>"),
        ("text/plain", b"OK"),
        ("application/octet-stream", b"\0"),
        ("application/json", b'{"hello": "world"}'),
        ("application/json", b'{"type": "sync", "metadata": ["/1.0"]}'),
        ("application/json", b"{"),
    ],
)
async def test_an_https_server_that_is_no_incus_is_found_out_when_connecting(
    mine: Pair, theirs: Pair, kind: str, body: bytes
) -> None:
    async with incus_server(theirs, mine, answer(body, kind=kind)).at_a_url() as url:
        with pytest.raises(IncusConnectionError, match=r"not an Incus server|not JSON"):
            await connected(url, cert=mine, server_cert=theirs[0])


# Files.


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"cert": ("{no}", "{key}")}, "cert"),
        ({"cert": ("{crt}", "{no}")}, "cert"),
        ({"cert": ("{crt}", "{garbage}")}, "cert"),
        ({"cert": ("{garbage}", "{key}")}, "cert"),
        ({"cert": ("{key}", "{crt}")}, "cert"),
        ({"cert": ("{crt}", "{other}")}, "cert"),
        ({"cert": ("{crt}", "{locked}")}, "cert"),
        ({"cert": ("{crt}", "{directory}")}, "cert"),
        ({"cert": ("{crt}", "{binary}")}, "cert"),
        ({"cert": ("{crt}", "a\0b")}, "cert"),
        ({"cert": ("{empty}", "{empty}")}, "cert"),
        ({"server_cert": "{no}"}, "server_cert"),
        ({"server_cert": "{garbage}"}, "server_cert"),
        ({"server_cert": "{empty}"}, "server_cert"),
        ({"server_cert": "{directory}"}, "server_cert"),
        ({"server_cert": "{binary}"}, "server_cert"),
        ({"server_cert": "{key}"}, "server_cert"),
        ({"server_cert": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "server_cert"),
        ({"server_cert": "-----BEGIN CERTIFICATE-----"}, "server_cert"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
async def test_a_file_that_is_missing_or_is_something_else_is_named_by_its_parameter(
    mine: Pair, theirs: Pair, tmp_path: Path, options: Any, parameter: str, way: Callable[[Client], Any]
) -> None:
    files = {
        "crt": mine[0],
        "key": mine[1],
        "other": theirs[1],
        "locked": pair(tmp_path, "locked", password=b"secret")[1],
        "no": tmp_path / "no",
        "directory": tmp_path,
    }
    for name, content in (("garbage", b"hello"), ("empty", b""), ("binary", bytes(range(256)))):
        files[name] = tmp_path / name
        files[name].write_bytes(content)

    def filled(value: Any) -> Any:
        return tuple(map(filled, value)) if isinstance(value, tuple) else str(value).format(**files)

    fake = incus_server(theirs, mine)
    async with fake.at_a_url() as url:
        client = Client(url, **{name: filled(value) for name, value in options.items()})
        with pytest.raises(IncusInputError, match=rf"^{parameter}\b") as caught:
            await way(client)
        await client.disconnect()
    assert fake.connections == 0
    assert "PRIVATE" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("cert", ["client.crt", (), ("a",), ("a", "b", "c"), 5, ("a", None), Path("a"), {"a": "b"}])
def test_a_certificate_is_a_pair_of_paths(cert: Any) -> None:
    with pytest.raises(IncusInputError, match="cert must be a pair of paths"):
        Client("https://127.0.0.1", cert=cert)

    with pytest.raises(IncusInputError, match="cert must be a pair of paths"):
        client_token(cert)


@pytest.mark.parametrize("certificate", [5, b"-----BEGIN CERTIFICATE-----", ("a", "b"), ""])
def test_a_servers_certificate_is_text_or_a_path(certificate: Any) -> None:
    with pytest.raises(IncusInputError, match="server_cert must be"):
        Client("https://127.0.0.1", server_cert=certificate)
    with pytest.raises(IncusInputError, match="ca must be"):
        Client("https://127.0.0.1", ca=certificate)


def test_a_file_can_hold_more_than_its_certificate(mine: Pair, theirs: Pair, tmp_path: Path) -> None:
    own, other = mine[0].read_text(), theirs[0].read_text()
    bundle = tmp_path / "bundle"
    bundle.write_text(f"# Tan\u00fas\u00edtv\u00e1ny\n{own}\n# more\n{other}")  # as certifi has them
    for given in (bundle, bundle.read_text()):
        assert context(ca=given).cert_store_stats()["x509"] == 2
    both = tmp_path / "both"
    both.write_text(f"Certificate:\n{own}{mine[1].read_text()}{other}")
    claims = [client_token(pair).split(".")[1] for pair in (mine, (both, both))]
    assert len({json.loads(base64.urlsafe_b64decode(each + "=="))["sub"] for each in claims}) == 1


@pytest.mark.parametrize("password", ["x" * 2000, "\ud800hunter2", b"hunter2"])
def test_a_password_that_opens_nothing_is_refused_without_showing_it(tmp_path: Path, password: Any) -> None:
    locked = pair(tmp_path, "locked", password=b"secret")
    for use in (lambda: context(locked, password=password), lambda: client_token(locked, password=password)):
        with pytest.raises(IncusInputError, match=r"password must be a (str|text of at most 1024 bytes)") as caught:
            use()
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("lifetime", [None, "60", float("inf"), float("nan"), True])
def test_a_token_is_good_for_a_number_of_seconds(mine: Pair, lifetime: Any) -> None:
    with pytest.raises(IncusInputError, match="lifetime must be a number of seconds"):
        client_token(mine, lifetime)


def test_a_unix_socket_takes_no_certificates(mine: Pair) -> None:
    with pytest.raises(IncusInputError, match="https://"):
        Client("/a/socket", cert=mine)
    with pytest.raises(IncusInputError, match="https://"):
        Client("/a/socket", server_cert=mine[0])


ASKS = """
import asyncio, sys
from incus_sdk import Client, IncusInputError
try:
    asyncio.run(Client("https://127.0.0.1:9", cert=(sys.argv[1], sys.argv[2])).connect())
except IncusInputError as error:
    print(error)
"""


def test_an_encrypted_key_is_not_asked_for_on_the_terminal(tmp_path: Path) -> None:
    certificate, key = pair(tmp_path, "locked", password=b"secret")
    ours, terminal = pty.openpty()
    with open(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [sys.executable, "-c", ASKS, certificate, key],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        said, _ = process.communicate(timeout=60)
        with contextlib.suppress(OSError):  # the end of a terminal
            assert screen.read(1000) == b""
    assert b"unencrypted key" in said
