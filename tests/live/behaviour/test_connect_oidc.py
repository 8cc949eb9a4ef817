"""Logging in by OpenID Connect, to a real daemon with a real provider; the SDK and the command share one cache.

The provider listens on this machine's loopback, and by a relay at the same address in the daemon's own network.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import http.cookiejar
import json
import logging
import os
import re
import socket
import ssl
import stat
import threading
import traceback
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from incus_sdk import Client, IncusAuthenticationError, IncusConnectionError, IncusNotFoundError, IncusPermissionError
from incus_sdk._connection.config import ClientConfig, Remote
from incus_sdk.testing import Daemon
from tests.live.roots import ROOTS

SECONDS = 4
"""That an access token is good for."""

PROVIDER = Path(os.environ.get("INCUS_SDK_OIDC", "/var/cache/incus-sdk/oidc"))
SCRIPT = Path(__file__).parents[1] / "oidc" / "provider.mjs"

pytestmark = pytest.mark.skipif(not (PROVIDER / "node_modules").exists(), reason="needs scripts/install-oidc")


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[str]:
    provider = await asyncio.create_subprocess_exec(
        *("node", "--input-type=module", "-e", SCRIPT.read_text(), str(SECONDS)),
        cwd=PROVIDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert provider.stdin is not None
    assert provider.stdout is not None
    yield (await provider.stdout.readline()).decode().strip()
    provider.stdin.close()
    await provider.wait()


@pytest.fixture(scope="module", params=ROOTS)
async def daemon(issuer: str, request: pytest.FixtureRequest) -> AsyncIterator[Daemon]:
    """A daemon that trusts the provider's users."""
    port = int(issuer.rpartition(":")[2])
    config = {
        "oidc.issuer": issuer,
        "oidc.client.id": "incus",
        "oidc.audience": "incus.example",
        "oidc.scopes": "openid,offline_access,email",  # what a command of 6.0 asks for in any case
    }
    async with (
        Daemon(root=ROOTS[request.param], image=False) as daemon,
        await asyncio.start_server(relay(port), sock=listener(daemon, port)),
    ):
        async with daemon.client() as owner:
            await owner.query("PATCH", "/1.0", body={"config": config})
        yield daemon


def listener(daemon: Daemon, port: int) -> socket.socket:
    """A socket that listens in the daemon's own network."""
    made: list[socket.socket] = []

    def listen() -> None:  # in a thread: it stays in that network
        assert daemon._namespaces is not None
        with open(f"/proc/{daemon._namespaces.pid}/ns/net") as network:
            assert ctypes.CDLL(None).setns(network.fileno(), 0) == 0
        made.append(socket.create_server(("127.0.0.1", port)))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    return made[0]


def relay(port: int) -> Any:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    return serve


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("INCUS_REMOTE", "INCUS_PROJECT", "INCUS_SOCKET", "INCUS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INCUS_CONF", str(tmp_path / "conf"))
    monkeypatch.setenv("INCUS_GLOBAL_CONF", str(tmp_path / "global"))
    return tmp_path / "conf"


@pytest.fixture
def remote(daemon: Daemon) -> str:
    """A remote that the SDK wrote."""
    certificate = ssl.PEM_cert_to_DER_cert(daemon.certificate.read_text())
    ClientConfig().add(Remote("prod", (daemon.url,), auth_type="oidc"), server_cert=certificate)
    return "prod"


class User:
    """Somebody with a browser, who confirms each code or refuses it."""

    def __init__(self, name: str = "somebody", refuse: bool = False) -> None:
        self.logins: list[str] = []
        self._name = name
        self._refuse = refuse

    async def __call__(self, url: str, code: str) -> None:
        self.logins.append(code)
        await asyncio.to_thread(self._browse, url)

    def _browse(self, url: str) -> None:
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        with browser.open(url) as page:
            text = page.read().decode()
        while form := re.search(r'<form[^>]* action="([^"]+)"', text):
            inputs = dict(re.findall(r'name="(\w+)" value="([^"]*)"', text))
            if 'name="login"' in text:
                inputs |= {"login": self._name, "password": "x"}
            if self._refuse and 'name="abort"' in text:
                inputs["abort"] = "yes"
            with browser.open(form[1], urllib.parse.urlencode(inputs).encode()) as page:
                text = page.read().decode()
            if "abort" in inputs:
                return


async def who(client: Client) -> tuple[str, str, str]:
    async with client:
        info = await client.get_server_info()
        return info.auth, info.auth_user_method, info.auth_user_name


async def incus(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *("incus", *arguments), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=-2
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    except TimeoutError:  # it waits for a login
        process.kill()
        raise
    return process.returncode or 0, output.decode()


async def test_one_login_serves_the_sdk_and_the_command_until_it_is_refreshed(remote: str, directory: Path) -> None:
    user = User()
    async with Client.from_remote(remote, login=user) as client:
        assert len(user.logins) == 1
        info = await client.get_server_info()
        assert (info.auth, info.auth_user_method, info.auth_user_name) == ("trusted", "oidc", "somebody")
        await asyncio.gather(*(client.profiles.list() for _ in range(5)))
        cache = directory / "oidctokens" / "prod.json"
        assert stat.S_IMODE(cache.stat().st_mode) == 0o600
        first = json.loads(cache.read_text())
        # The command takes it from the cache, refreshes it there, and the SDK goes on with that.
        assert await incus("query", "prod:/1.0/profiles") == (0, '[\n\t"/1.0/profiles/default"\n]\n\n')
        await asyncio.sleep(SECONDS + 1)
        assert (await incus("query", "prod:/1.0/profiles"))[0] == 0
        by_command = json.loads(cache.read_text())
        assert by_command["access_token"] != first["access_token"]
        assert [profile.name for profile in await client.profiles.list()] == ["default"]
        # And the other way round, by all ways, at the same time.
        await asyncio.sleep(SECONDS + 1)
        stream = await client._scope.websocket("/1.0/events")
        await stream.close()
        by_sdk = json.loads(cache.read_text())
        assert by_sdk["access_token"] != by_command["access_token"]
        assert (await incus("query", "prod:/1.0/profiles"))[0] == 0
        await asyncio.sleep(SECONDS + 1)
        await asyncio.gather(*(client.profiles.list() for _ in range(5)))
        await asyncio.sleep(SECONDS + 1)
        with pytest.raises(IncusNotFoundError):
            await client._scope.upgrade("GET", "/1.0/instances/none/sftp", "sftp")
    assert len(user.logins) == 1
    assert await who(Client.from_remote(remote)) == ("trusted", "oidc", "somebody")  # without anybody to log in


async def test_what_the_command_logged_in_the_sdk_uses(daemon: Daemon, directory: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *("incus", "remote", "add", "prod", daemon.url, "--accept-certificate", "--auth-type=oidc"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = {}
    async for line in process.stdout:
        key, _, value = line.decode().strip().partition(": ")
        lines[key] = value
        if key == "Code":
            await User("other")(lines["URL"], value)
    assert await process.wait() == 0
    assert yaml.safe_load((directory / "config.yml").read_text())["remotes"]["prod"]["auth_type"] == "oidc"
    assert await who(Client.from_remote("prod")) == ("trusted", "oidc", "other")
    await asyncio.sleep(SECONDS + 1)
    assert await who(Client.from_remote("prod")) == ("trusted", "oidc", "other")


async def test_without_a_login_nothing_is_done_and_the_error_says_what_to_do(
    daemon: Daemon, remote: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(IncusAuthenticationError, match=r"login by OpenID Connect: give login=.*`incus`"):
        await who(Client.from_remote(remote))
    refusing = User(refuse=True)
    with pytest.raises(IncusAuthenticationError, match="the login was refused"):
        await who(Client.from_remote(remote, login=refusing))
    assert len(refusing.logins) == 1
    caplog.set_level(logging.DEBUG)
    user = User()
    client = Client(daemon.url, server_cert=daemon.certificate, login=user)  # without a cache
    assert await who(client) == ("trusted", "oidc", "somebody")
    # A token of another provider is not given to this one.
    cache = ClientConfig().directory / "oidctokens" / "prod.json"
    header = {"access_token": "e30.eyJpc3MiOiAiaHR0cHM6Ly9vdGhlci5leGFtcGxlIn0.x", "refresh_token": "precious"}
    cache.parent.mkdir(exist_ok=True)
    cache.write_text(json.dumps(header))
    with pytest.raises(IncusAuthenticationError, match="give login="):
        await who(Client.from_remote(remote))
    assert json.loads(cache.read_text()) == header
    assert "precious" not in caplog.text
    async with Client(daemon.url, server_cert=daemon.certificate) as stranger:
        with pytest.raises(IncusPermissionError):
            await stranger.profiles.list()


async def test_a_provider_that_is_gone_or_another_is_named(daemon: Daemon, remote: str, issuer: str) -> None:
    async with daemon.client() as owner:
        try:
            for wrong, reason in (
                ("http://127.0.0.1:9", "cannot be used"),
                ("http://example.com", "must be https://"),
                (f"{issuer}/other", "cannot be used|is not the OpenID"),
            ):
                await owner.query("PATCH", "/1.0", body={"config": {"oidc.issuer": wrong}})
                with pytest.raises(IncusConnectionError, match=reason) as caught:
                    await who(Client.from_remote(remote, login=User()))
                assert "Traceback" in "".join(traceback.format_exception(caught.value))
        finally:
            await owner.query("PATCH", "/1.0", body={"config": {"oidc.issuer": issuer}})
