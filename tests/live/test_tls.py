"""HTTPS: who the server is, who the client is, and that neither is told anything before that is settled."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import hashlib
import logging
import os
import pty
import ssl
import subprocess
import sys
import termios
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from incus_sdk import (
    Client,
    IncusCertificateError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusPermissionError,
    IncusTimeoutError,
    Instance,
)
from incus_sdk.testing import Daemon

INCUS = b'{"type": "sync", "metadata": {"api_version": "1.0", "auth": "trusted"}}'

Pair = tuple[Path, Path]
T = TypeVar("T")


def pair(directory: Path, name: str, password: bytes | None = None, by: Pair | None = None) -> Pair:
    """A certificate and its key, in PEM; signed with that key itself, or with another one."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    issuer, signer = subject, key
    if by is not None:
        issuer = x509.load_pem_x509_certificate(by[0].read_bytes()).subject
        loaded = serialization.load_pem_private_key(by[1].read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), now - day, now + day
    )
    certificate = builder.sign(signer, hashes.SHA384())
    pem, encryption = serialization.Encoding.PEM, serialization.NoEncryption()
    lock = serialization.BestAvailableEncryption(password) if password else encryption
    files = directory / f"{name}.crt", directory / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(pem))
    files[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, lock))
    return files


class Fake:
    """A TLS server, which records all that it learns of its clients."""

    def __init__(self, server: Pair, client: Pair, answer: bytes = INCUS, kind: str = "application/json") -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*server)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.load_verify_locations(client[0])
        self.certificate = server[0]
        self.connections = 0
        self.client: bytes | None = None
        self.heard = b""
        self.raw = b""
        self.errors: list[str] = []
        self.over = asyncio.Event()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n\r\n"
        self._answer = head.encode() + answer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(come, go, server_side=True)

        async def done(step: Callable[[], T]) -> T:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    writer.write(go.read())
                    if not (data := await reader.read(65536)):
                        raise ConnectionError("closed") from None
                    self.raw += data
                    come.write(data)

        try:
            await done(tls.do_handshake)
            self.client = tls.getpeercert(binary_form=True)
            while True:
                self.heard += await done(lambda: tls.read(65536))
                tls.write(self._answer)
        except (ssl.SSLError, ConnectionError) as error:
            self.errors.append(str(error))
            writer.write(go.read())
        writer.close()
        self.over.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[str]:
        async with plain_server(self._serve) as url:
            yield url


@contextlib.asynccontextmanager
async def plain_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncGenerator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


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


# The client, to the daemon.


async def test_the_daemon_knows_a_client_by_its_certificate(daemon: Daemon, clean: None) -> None:
    async with daemon.client("https") as client:
        info = await client.get_server_info()
        assert (info.auth, info.auth_user_method) == ("trusted", "tls")
        der = ssl.PEM_cert_to_DER_cert(daemon.client_cert[0].read_text())
        assert info.auth_user_name == hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize("known", ["without a certificate", "with one that the daemon does not trust"])
async def test_a_client_that_is_not_trusted_is_told_so_and_what_to_do(
    daemon: Daemon, clean: None, mine: Pair, known: str
) -> None:
    cert = None if known == "without a certificate" else mine
    async with Client(daemon.url, cert=cert, server_cert=daemon.certificate) as client:
        assert (await client.get_server_info()).auth == "untrusted"
        for attempt in (
            client.instances.list(),
            client.profiles.create("p1"),
            client.events.listen().__aenter__(),
            client.instances["c1"].exists(),
            client._scope.upgrade("GET", "/1.0/instances/c1/sftp", "sftp"),
        ):
            with pytest.raises(
                IncusPermissionError, match=r"not authorized: .* does not trust this client.* cert="
            ) as caught:
                await attempt
            assert caught.value.status_code == 403


# The server, to the client.


async def test_the_certificate_of_another_daemon_is_not_taken(daemon: Daemon, clean: None) -> None:
    async with Daemon(image=False) as second, daemon.client("https") as right:
        assert (await right.get_server_info()).environment.server_name
        with pytest.raises(IncusCertificateError, match=r"did not prove who it is.*server_cert="):
            await connected(daemon.url, cert=daemon.client_cert, server_cert=second.certificate)
        async with Client(second.url, cert=daemon.client_cert, server_cert=second.certificate.read_text()) as stranger:
            assert (await stranger.get_server_info()).auth == "untrusted"


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_is_another_than_the_pinned_one_learns_nothing(
    mine: Pair, theirs: Pair, other: Pair, way: Callable[[Client], Any]
) -> None:
    fake = Fake(theirs, mine)
    async with fake.running() as url:
        client = Client(url, cert=mine, server_cert=other[0], timeout=20)
        with pytest.raises(
            IncusCertificateError, match=r"nothing was sent.* Give its certificate as server_cert="
        ) as caught:
            await way(client)
        assert isinstance(caught.value.cause, ssl.SSLCertVerificationError)
        await client.disconnect()
        await fake.over.wait()
    assert (fake.connections, fake.client, fake.heard, fake.errors) == (1, None, b"", ["closed"])
    assert len(fake.raw) == 5 + int.from_bytes(fake.raw[3:5])  # one record: its hello


async def test_the_pinned_server_learns_who_the_client_is_and_what_it_wants(mine: Pair, theirs: Pair) -> None:
    fake = Fake(theirs, mine)
    async with fake.running() as url, Client(url, cert=mine, server_cert=theirs[0]) as client:
        assert (await client.get_server_info()).api_version == "1.0"
    assert fake.client == ssl.PEM_cert_to_DER_cert(mine[0].read_text())
    assert fake.heard.startswith(b"GET /1.0 HTTP/1.1\r\n")


async def test_a_certificate_that_the_pinned_one_signed_is_another_one(
    mine: Pair, theirs: Pair, tmp_path: Path
) -> None:
    signed = pair(tmp_path, "server", by=theirs)
    fake = Fake(signed, mine)
    async with fake.running() as url:
        with pytest.raises(IncusCertificateError, match="did not prove who it is"):
            await connected(url, cert=mine, server_cert=theirs[0])
        await fake.over.wait()
    assert (fake.client, fake.heard) == (None, b"")


async def test_a_server_that_no_authority_vouches_for_is_refused_unless_verify_is_false(
    mine: Pair, theirs: Pair
) -> None:
    fake = Fake(theirs, mine)
    async with fake.running() as url:
        with pytest.raises(IncusCertificateError, match=r"did not prove who it is.*server_cert="):
            await connected(url, cert=mine)
        await fake.over.wait()
        assert (fake.client, fake.heard) == (None, b"")
        async with Client(url, cert=mine, verify=False) as client:
            assert (await client.get_server_info()).api_version == "1.0"
        with pytest.raises(IncusCertificateError, match="did not prove who it is"):  # a pin counts all the same
            await connected(url, cert=mine, verify=False, server_cert=mine[0])


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_without_tls_1_3_is_refused_unless_the_user_says_so(
    mine: Pair, theirs: Pair, monkeypatch: pytest.MonkeyPatch, way: Callable[[Client], Any]
) -> None:
    fake = Fake(theirs, mine)
    fake.context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with fake.running() as url:
        client = Client(url, cert=mine, server_cert=theirs[0])
        with pytest.raises(IncusConnectionError, match=r"does not speak TLS 1\.3"):
            await way(client)
        await client.disconnect()
        await fake.over.wait()
        assert (fake.client, fake.heard) == (None, b"")
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
    ("kind", "answer"),
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
    mine: Pair, theirs: Pair, kind: str, answer: bytes
) -> None:
    async with Fake(theirs, mine, answer, kind).running() as url:
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
        ({"server_cert": ""}, "server_cert"),
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

    fake = Fake(theirs, mine)
    async with fake.running() as url:
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


@pytest.mark.parametrize("server_cert", [5, b"-----BEGIN CERTIFICATE-----", ("a", "b")])
def test_a_servers_certificate_is_text_or_a_path(server_cert: Any) -> None:
    with pytest.raises(IncusInputError, match="server_cert must be"):
        Client("https://127.0.0.1", server_cert=server_cert)


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


# Secrets.


async def test_no_secret_is_in_a_repr_a_log_or_an_error(
    daemon: Daemon, box: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    shown: list[str] = []
    try:
        async with daemon.client("https") as client:
            token = await client.certificates.create_token(box.name)
            running = await client.operations.list()
            issued = next(found for found in running if (found.metadata.get("request") or {}).get("name") == box.name)
            operation = await client.instances.execute(box.name, ["cat"], wait_for_websocket=True)
            secrets = [
                token,
                issued.metadata["secret"],
                *operation.metadata["fds"].values(),
                *daemon.client_cert[1].read_text().split("\n")[1:-2],
            ]
            stdin = await operation.websocket("0", pong=False)
            path, query = f"/1.0/operations/{operation.id}/websocket", {"secret": operation.metadata["fds"]["1"]}
            for attempt in (
                operation.websocket("none"),
                client._scope.websocket(f"{path}s", query),
                client._scope.websocket("/1.0/operations/none/websocket", query),
                client.query("GET", f"{path}?secret={query['secret']}"),
                client.query("GET", path, query={**query, "project": "none"}),
                client.query("GET", path, query=query, headers={"X": f"{query['secret']}\n"}),
                client._scope.upgrade("GET", path, "sftp", query=query),
                client.query("POST", "/1.0/certificates", body={"trust_token": token, "type": 5}),
                client.query("POST", "/1.0/certificates", body={"trust_token": token, "type": {1}}),
            ):
                with pytest.raises(IncusError) as caught:
                    await attempt
                shown += [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)]
            scope = client._scope
            things = [
                client,
                client.use_project("x"),
                scope,
                scope.transport,
                operation,
                issued,
                stdin,
                client.operations,
            ]
            shown += [repr(thing) for thing in (*things, await client.get_server_info(), operation.metadata.keys())]
            for websocket in [stdin] + [await operation.websocket(name, pong=False) for name in ("1", "2", "control")]:
                await websocket.close()
            await issued.cancel()
            await operation.wait(timeout=30)
    finally:
        asyncio.get_running_loop().set_debug(False)
    assert "websocket" in "".join(shown)
    shown.append(caplog.text)
    assert [secret for secret in secrets if any(secret in text for text in shown)] == []
