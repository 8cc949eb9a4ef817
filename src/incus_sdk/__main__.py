"""``incus-sdk [remote or endpoint]``: which server a client would use and why, and whether that works."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import io
import os
import platform
import sys
from collections.abc import Sequence

from . import Client, IncusCertificateError, IncusConnectionError, IncusError, __version__, models
from ._connection.config import ClientConfig, Remote
from .exceptions import _one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 if the server answers and trusts this client, else 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # of a system that cannot write the name of a directory, or a server's
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(prog="incus-sdk", description="Check the connection to an Incus server.")
    parser.add_argument(
        "server", nargs="?", help="a remote of the incus command, https://host:8443 or unix:///path; else the default"
    )
    parser.add_argument("--version", action="version", version=__version__)
    server = parser.parse_args(arguments).server
    try:
        try:
            code = asyncio.run(_examine(server))
        except IncusError as error:
            _say("problem", str(error))
            code = 1
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # its reader has seen enough; Python itself flushes once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def _examine(server: str | None) -> int:
    config = ClientConfig()
    _say("incus-sdk", f"{__version__}, Python {platform.python_version()}")
    _say("directory", _describe(config))
    if server is not None and (server.startswith("/") or "://" in server):
        remote = Remote("", (server,), origin="given")
    else:
        remote = config.remote(server)
        _say("remote", remote.name)
    for address in remote.addresses:
        _say("endpoint", f"{address} ({remote.origin})")
    client = Client(remote)
    _say("project", f"{client.project or 'the default'}")
    try:
        return await _report(client)
    finally:
        await client.disconnect()


async def _report(client: Client) -> int:
    try:
        info = await client.get_server_info()
    except IncusCertificateError:
        with contextlib.suppress(IncusError):  # another of several addresses may be unreachable
            fingerprint = hashlib.sha256(await client._scope.transport.certificate()).hexdigest()
            _say("shows", f"a certificate with the fingerprint {fingerprint}")
        raise
    extensions, server = info.api_extensions, info.environment
    if not isinstance(extensions, list) or not isinstance(server, models.ServerEnvironment):
        raise IncusConnectionError("GET /1.0: this is not an Incus server: it does not describe itself")
    api = f"API {info.api_version} with {len(extensions)} extensions"
    _say("answers", f"{client._scope.transport.endpoint}: {api}")
    if info.auth != "trusted":
        _say("problem", "the server does not trust this client")
        _say("remedy", "`incus config trust add NAME` on the server prints a token; give it to Client.join()")
        return 1
    _say("server", f"{server.server_name}: {server.server} {server.server_version}")
    _say("you are", f"{info.auth_user_name}, by {info.auth_user_method}; trusted")
    return 0


def _describe(config: ClientConfig) -> str:
    return f"{config.directory}, {'with' if os.path.exists(config.file) else 'without'} config.yml"


def _say(what: str, text: str) -> None:
    print(f"{what:10} {_one_line(text)}")  # a server can call itself anything


if __name__ == "__main__":
    raise SystemExit(main())
