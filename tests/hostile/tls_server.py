"""A TLS server that the test plays, and certificates for it and its clients."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.hostile.scripted import stop_listening

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
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await stop_listening(server)
