"""Servers that follow a script, on a unix socket or by TLS, for what no daemon does on demand."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import hashlib
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from incus_sdk._connection.endpoint import Endpoint
from incus_sdk._connection.transport import Transport

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Talk = Callable[[Reader, Writer], Awaitable[None]]
Pair = tuple[Path, Path]

SECRET = "hunter2"
INCUS = b'{"type": "sync", "metadata": {"api_version": "1.0", "auth": "trusted"}}'
OK = b'{"type": "sync", "metadata": {"a": 1}}'
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def answer(body: bytes = OK, *headers: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body


async def head(reader: Reader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def saying(*said: bytes) -> Talk:
    """One answer to each request of a connection, which then is closed."""

    async def talk(reader: Reader, writer: Writer) -> None:
        for each in said:
            await head(reader)
            writer.write(each)
            await writer.drain()

    return talk


def repeating(said: bytes) -> Talk:
    """The same answer to every request."""

    async def talk(reader: Reader, writer: Writer) -> None:
        while True:
            await head(reader)
            writer.write(said)

    return talk


answering = repeating(answer())


async def silent(reader: Reader, writer: Writer) -> None:
    """Never answers; returns when the client has closed."""
    while await reader.read(2**16):
        pass


class Server:
    """What holds each connection by ``talk`` and then closes it; ``connections`` counts them, ``open`` those at a
    time.
    """

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.connections = 0
        self.open = 0
        self.most = 0
        self._talks: set[asyncio.Task[None]] = set()

    async def connected(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        self.open += 1
        self.most = max(self.most, self.open)
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            with contextlib.suppress(ConnectionError, EOFError, asyncio.CancelledError, ssl.SSLError):
                await self.talk(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def stop(self) -> None:
        for task in self._talks:
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)


async def stop_listening(server: asyncio.Server) -> None:
    """Close it once it has accepted who is at the door: asyncio would lose their sockets."""
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()


@contextlib.asynccontextmanager
async def serving(
    talk: Talk, timeout: float | None = 20, backlog: int = 100
) -> AsyncGenerator[tuple[Transport, Server]]:
    """A transport to a server on a unix socket."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(talk)
        transport = Transport(Endpoint(socket=f"{directory}/s"), timeout=timeout)
        listening = await asyncio.start_unix_server(server.connected, f"{directory}/s", backlog=backlog)
        try:
            yield transport, server
        finally:
            await transport.close()
            await stop_listening(listening)
            await server.stop()


@contextlib.contextmanager
def serving_in_a_thread(talk: Callable[[socket.socket, int], None]) -> Generator[Endpoint]:
    """A server that goes on while the event loop of the test stands still; ``talk`` gets the connection's number."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{directory}/s")
        listening.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                number = 0
                while True:
                    connection = listening.accept()[0]
                    with connection:
                        talk(connection, number)
                    number += 1

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Endpoint(socket=f"{directory}/s")
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def a_while(turns: int = 100) -> None:
    """A tenth of a second in which the event loop turns a hundred times, however busy the machine is."""
    for _ in range(turns):
        await asyncio.sleep(0.001)


# Websockets.


def frame(kind: int, payload: bytes = b"", last: bool = True) -> bytes:
    size = len(payload)
    length = (
        bytes([size])
        if size < 126
        else struct.pack("!BH", 126, size)
        if size < 2**16
        else b"\x7f" + struct.pack("!Q", size)
    )
    return bytes([kind | (0x80 if last else 0)]) + length + payload


async def read_frame(reader: Reader) -> tuple[int, bytes]:
    first, size = await reader.readexactly(2)
    assert size & 0x80, "a client must mask"
    size &= 0x7F
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(size)
    return first & 15, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


async def accept(reader: Reader, writer: Writer) -> bytes:
    """Accept a websocket; returns the head of its request."""
    said = await head(reader)
    key = said.partition(b"Sec-WebSocket-Key: ")[2].split()[0]
    proof = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    lines = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
    writer.write(b"\r\n".join([*lines, b"Sec-WebSocket-Accept: " + proof, b"", b""]))
    return said


async def upgrade(reader: Reader, writer: Writer) -> None:
    """Switch to SFTP."""
    await head(reader)
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: sftp\r\n\r\n")


# TLS.


def pair(
    directory: Path,
    name: str,
    by: Pair | None = None,
    authority: bool = False,
    password: bytes | None = None,
    days: tuple[int, int] = (-1, 1),
) -> Pair:
    """A certificate for a name and its key, in PEM, signed by itself or another, and valid from and to these days."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    issuer, signer = subject, key
    if by is not None:
        issuer = x509.load_pem_x509_certificate(by[0].read_bytes()).subject
        loaded = serialization.load_pem_private_key(by[1].read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    begin, end = (now + day * away for away in days)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), begin, end)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    files = directory / f"{name}.crt", directory / f"{name}.key"
    files[0].write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    return files


class TLSServer(Server):
    """One that also notes what it learns of its clients: ``raw`` bytes, ``clients``, whether sessions were ``resumed``,
    what was ``heard``, and ``errors``.
    """

    def __init__(self, talk: Talk, own: Pair, trusted: Pair | None = None) -> None:
        super().__init__(self.handshake)
        self._talk_inside = talk
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*own)
        if trusted is not None:
            self.context.verify_mode = ssl.CERT_OPTIONAL
            self.context.load_verify_locations(trusted[0])
        self.raw = self.heard = b""
        self.errors: list[str] = []
        self.clients: list[bytes | None] = []
        self.resumed: list[bool] = []
        self.over = asyncio.Event()

    async def handshake(self, reader: Reader, writer: Writer) -> None:
        """TLS by hand, so that every byte is seen; the connection goes on with a reader and a writer of plain bytes."""
        come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(come, go, server_side=True)

        async def done(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    writer.write(go.read())
                    if not (data := await reader.read(2**16)):
                        raise ConnectionError("closed") from None
                    self.raw += data
                    come.write(data)

        try:
            await done(tls.do_handshake)
            self.clients.append(tls.getpeercert(binary_form=True))
            self.resumed.append(bool(tls.session_reused))
            plain = Reader()

            async def decrypt() -> None:
                try:
                    while data := await done(lambda: tls.read(2**16)):
                        self.heard += data
                        plain.feed_data(data)
                except (ssl.SSLError, ConnectionError):
                    pass
                plain.feed_eof()

            class Encrypting:
                def write(self, data: bytes) -> None:
                    tls.write(data)
                    writer.write(go.read())

                async def drain(self) -> None:
                    await writer.drain()

            reading = asyncio.create_task(decrypt())
            try:
                await self._talk_inside(plain, Encrypting())  # type: ignore[arg-type]
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        except (ssl.SSLError, ConnectionError) as error:
            self.errors.append(str(error))
            writer.write(go.read())
        finally:
            self.over.set()

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncGenerator[Endpoint]:
        listening = await asyncio.start_server(self.connected, "127.0.0.1", port)
        try:
            yield Endpoint(host="127.0.0.1", port=listening.sockets[0].getsockname()[1])
        finally:
            await stop_listening(listening)
            await self.stop()

    @contextlib.asynccontextmanager
    async def at_a_url(self) -> AsyncGenerator[str]:
        async with self.running() as endpoint:
            yield str(endpoint)


@contextlib.asynccontextmanager
async def plain_server(serve: Talk) -> AsyncGenerator[str]:
    """One without TLS, at a URL that promises it."""
    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await stop_listening(server)


def incus_server(own: Pair, trusted: Pair, said: bytes = answer(INCUS)) -> TLSServer:
    """A TLS server that says of itself that it is Incus, or that, whatever it is asked."""
    return TLSServer(repeating(said), own, trusted)
