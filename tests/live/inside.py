"""Servers of the tests where a daemon can reach them: on the loopback of its own network, which no other has."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from incus_sdk.testing import Daemon

_NEWNET = 0x40000000


def listener(daemon: Daemon, port: int = 0) -> socket.socket:
    """A socket that listens on 127.0.0.1 in the daemon's network."""
    assert daemon._namespaces is not None
    network = Path("/proc", str(daemon._namespaces.pid), "ns", "net")

    def listen() -> socket.socket:
        with open(network) as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return socket.create_server(("127.0.0.1", port))

    with ThreadPoolExecutor(1) as thread:  # a network is a thread's own, and a socket stays in that where it was made
        return thread.submit(listen).result()


@contextlib.asynccontextmanager
async def serving(
    daemon: Daemon | None,
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[str]:
    """The URL of an HTTP server for the daemon, or for the test itself, for as long as the block runs; over HTTPS with
    ``tls``.
    """
    with socket.create_server(("127.0.0.1", 0)) if daemon is None else listener(daemon) as own:
        runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.SockSite(runner, own, ssl_context=tls).start()
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{own.getsockname()[1]}"
        finally:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def reaching(daemon: Daemon, other: Daemon) -> AsyncGenerator[str]:
    """The URL at which ``daemon`` reaches ``other``, for as long as the block runs: the one that ``other`` has."""
    port = urlsplit(other.url).port
    assert port is not None
    tasks: set[asyncio.Task[None] | None] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError, OSError), contextlib.closing(writer), contextlib.closing(far_writer):
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    server = await asyncio.start_server(serve, sock=listener(daemon, port))
    try:
        yield other.url
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
