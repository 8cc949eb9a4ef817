"""Connecting as the ``incus`` command does: one configuration for both, trust by a token, and whom to refuse."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import hashlib
import itertools
import json
import logging
import os
import shutil
import ssl
import stat
import subprocess
import sys
import tempfile
import traceback
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusCertificateError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusPermissionError,
)
from incus_sdk._connection.config import ClientConfig, Remote
from incus_sdk._connection.tls import client_token, make_pair
from incus_sdk.testing import Daemon
from tests.hostile.scripted import Pair, incus_server, pair, plain_server
from tests.live.roots import ROOTS

DEAD = "https://127.0.0.1:9"
"""Where nobody listens."""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty configuration directory, which the SDK and the command share; nothing else of the environment counts."""
    for name in ("INCUS_REMOTE", "INCUS_PROJECT", "INCUS_SOCKET", "INCUS_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("https_proxy", "http_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INCUS_CONF", str(tmp_path / "conf"))
    monkeypatch.setenv("INCUS_GLOBAL_CONF", str(tmp_path / "global"))
    return tmp_path / "conf"


@pytest.fixture(scope="session", params=ROOTS)
async def daemon(request: pytest.FixtureRequest) -> AsyncIterator[Daemon]:
    async with Daemon(root=ROOTS[request.param]) as daemon:
        yield daemon


@pytest.fixture
async def owner(daemon: Daemon, clean: None) -> AsyncIterator[Client]:
    """The daemon's owner, over the socket; certificates that the test had trusted are taken back."""
    async with daemon.client() as client:
        before = {each.fingerprint for each in await client.certificates.list()}
        yield client
        for each in await client.certificates.list():
            if each.fingerprint not in before:
                await client.certificates.delete(each.fingerprint)
        for name in await invited(client):
            await withdraw(client, name)
        for name in ("dev", "ops"):
            if await client.projects[name].exists():
                await client.projects.delete(name)


async def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environ},
        timeout=60,
        check=False,
    )


async def incus(*arguments: str, **environ: str) -> str:
    """What the command prints; it is the real one."""
    done = await run("incus", *arguments, **environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def invited(owner: Client) -> list[str]:
    """Whom the tokens are for that are not used yet."""
    waiting = [each for each in await owner.operations.list() if each.status == "Running"]
    return [each.metadata["request"]["name"] for each in waiting if "request" in (each.metadata or {})]


async def withdraw(owner: Client, name: str) -> None:
    for each in await owner.operations.list():
        if each.status == "Running" and (each.metadata or {}).get("request", {}).get("name") == name:
            await each.cancel()


async def who(client: Client) -> tuple[str, str, str]:
    async with client:
        info = await client.get_server_info()
        return info.auth, info.auth_user_method, info.auth_user_name


def digest(file: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read_text())).hexdigest()


def configure(directory: Path, document: dict[str, Any]) -> None:
    directory.mkdir(exist_ok=True)
    (directory / "config.yml").write_text(yaml.safe_dump(document))


def forged(token: str, **changed: Any) -> str:
    return base64.b64encode(json.dumps({**json.loads(base64.b64decode(token)), **changed}).encode()).decode()


# One configuration.


async def test_what_the_sdk_joined_the_command_uses(daemon: Daemon, owner: Client, directory: Path) -> None:
    token = (await incus("config", "trust", "add", "laptop", "--quiet", INCUS_SOCKET=str(daemon.socket))).split()[-1]
    async with await Client.join(token, "prod") as client:
        assert (await client.get_server_info()).auth == "trusted"
    trusted = {each.fingerprint: each.name for each in await owner.certificates.list()}
    assert trusted[digest(directory / "client.crt")] == "laptop"
    assert "default (current)" in await incus("project", "list", "prod:")
    listed = json.loads(await incus("remote", "list", "--format=json"))
    assert set(listed) == {"images", "local", "prod"}
    assert (listed["prod"]["Addr"], listed["prod"]["AuthType"]) == (daemon.url, "tls")
    assert await who(Client.from_remote("prod")) == ("trusted", "tls", digest(directory / "client.crt"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*")}
    assert modes == {
        "client.crt": 0o644,
        "client.key": 0o600,
        "config.yml": 0o644,
        "prod.crt": 0o644,
        "servercerts": 0o750,
        "oidctokens": 0o755,  # the command's
    }
    certificate = x509.load_pem_x509_certificate((directory / "client.crt").read_bytes())
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert "CN=root@" in certificate.subject.rfc4514_string()
    years = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert years == datetime.timedelta(days=3650)


async def test_a_public_server_gives_its_images_to_who_is_not_trusted(
    daemon: Daemon, owner: Client, directory: Path
) -> None:
    configure(directory, {"remotes": {"pub": {"addr": daemon.url, "public": True}}})
    (directory / "servercerts").mkdir()
    (directory / "servercerts" / "pub.crt").write_text(Path(daemon.certificate).read_text())
    image = await owner.images.get("busybox")
    await image.update({"public": True})
    async with Client.from_remote("pub") as client:
        assert (await client.get_server_info()).auth == "untrusted"
        assert [each.fingerprint for each in await client.images.list()] == [image.fingerprint]
    await image.update({"public": False})


async def test_what_the_command_added_the_sdk_uses(
    daemon: Daemon, owner: Client, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INCUS_SOCKET", str(daemon.socket))
    await owner.projects.create("dev")
    await incus("remote", "add", "prod", await owner.certificates.create_token("laptop"))
    await incus("alias", "add", "ll", "list -c n")
    me = digest(directory / "client.crt")
    assert await who(Client.from_remote("prod")) == ("trusted", "tls", me)
    assert await who(Client()) == ("trusted", "unix", "root")  # the default is local
    await incus("remote", "switch", "prod")
    assert await who(Client()) == ("trusted", "tls", me)
    assert (Client().project, Client.from_remote().project) == (None, None)
    monkeypatch.setenv("INCUS_PROJECT", "dev")
    assert (Client().project, Client.from_remote("local").project) == ("dev", "dev")
    assert (Client(project="x").project, Client(daemon.url).project) == ("x", None)
    monkeypatch.setenv("INCUS_REMOTE", "local")
    assert await who(Client()) == ("trusted", "unix", "root")
    monkeypatch.delenv("INCUS_PROJECT")
    await incus("project", "switch", "prod:dev")
    assert Client.from_remote("prod").project == "dev"
    monkeypatch.delenv("INCUS_REMOTE")
    # What the SDK adds keeps what the command wrote, and what it does not know itself.
    written = yaml.safe_load((directory / "config.yml").read_text())
    configure(directory, {**written, "defaults": {"list_format": "csv"}})
    async with await Client.join(await owner.certificates.create_token("again"), "second") as client:
        await client.get_server_info()
    now = yaml.safe_load((directory / "config.yml").read_text())
    second = now["remotes"].pop("second")
    assert now == {**written, "defaults": {"list_format": "csv"}}
    assert second == {"addr": daemon.url, "auth_type": "tls", "protocol": "incus", "public": False}
    assert await incus("alias", "list", "--format=csv") == "ll,list -c n\nshell,exec @ARGS@ -- su -l\n"


async def test_a_client_that_is_trusted_already_keeps_the_token_and_gets_a_free_name(
    daemon: Daemon, owner: Client
) -> None:
    name = (await owner.get_server_info()).environment.server_name
    tokens = [await owner.certificates.create_token(f"c{number}") for number in range(2)]
    for token in (*tokens, tokens[1]):
        await (await Client.join(token)).disconnect()
    assert {"images", "local", name, f"{name}-2", f"{name}-3"} == set(ClientConfig().remotes())
    assert await invited(owner) == ["c1"]  # the second token is still there
    with pytest.raises(IncusInputError, match=rf"there is already a remote {name}, at {daemon.url}"):
        await Client.join(tokens[1], name)


async def test_remotes_of_the_whole_machine_and_certificates_of_their_own(
    daemon: Daemon, owner: Client, directory: Path, tmp_path: Path
) -> None:
    everywhere = tmp_path / "global"
    (everywhere / "servercerts").mkdir(parents=True)
    shutil.copy(daemon.certificate, everywhere / "servercerts" / "shared.crt")
    configure(everywhere, {"remotes": {"shared": {"addr": daemon.url}, "prod": {"addr": DEAD}}})
    configure(directory, {"remotes": {"prod": {"addr": daemon.url}}})
    (directory / "clientcerts").mkdir()
    for name, own in (("shared", daemon.client_cert), ("prod", tuple(pair(tmp_path, "own")))):
        for source, suffix in zip(own, ("crt", "key"), strict=True):
            shutil.copy(source, directory / "clientcerts" / f"{name}.{suffix}")
    me = digest(daemon.client_cert[0])
    assert await who(Client.from_remote("shared")) == ("trusted", "tls", me)
    assert (await incus("query", "shared:/1.0")).count(me) == 1
    remotes = ClientConfig().remotes()
    assert (remotes["prod"].addresses, remotes["prod"].server_cert) == ((daemon.url,), None)  # the user's own counts
    with pytest.raises(IncusCertificateError, match="did not prove who it is"):
        await who(Client.from_remote("prod"))
    ClientConfig().add(Remote("mine", (daemon.url,)))  # does not write what is the machine's
    assert "shared" not in yaml.safe_load((directory / "config.yml").read_text())["remotes"]


# Addresses.


async def test_of_several_addresses_the_first_that_proves_itself_is_used(
    daemon: Daemon, owner: Client, directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "incus_sdk.retries")
    mine, theirs = pair(tmp_path, "mine"), pair(tmp_path, "theirs")
    fake = incus_server(theirs, mine)
    (directory / "servercerts").mkdir(parents=True)
    shutil.copy(daemon.certificate, directory / "servercerts" / "prod.crt")
    for source, name in zip(daemon.client_cert, ("client.crt", "client.key"), strict=True):
        shutil.copy(source, directory / name)
    async with fake.at_a_url() as impostor:
        for addresses in itertools.permutations((DEAD, impostor, daemon.url)):
            configure(directory, {"remotes": {"prod": {"addr": ", ".join(addresses)}}})
            async with Client.from_remote("prod") as client:
                assert str(client._scope.transport.endpoint) == daemon.url
                stream = await client._scope.websocket("/1.0/events")
                await stream.close()
            await client.disconnect()
            assert (await client.get_server_info()).auth == "trusted"  # found once more
            await client.disconnect()
        assert (any(fake.clients), fake.heard) == (False, b"")
        assert f"{DEAD} does not answer (IncusConnectionError)" in caplog.text
        assert f"{impostor} does not answer (IncusCertificateError)" in caplog.text
        configure(directory, {"remotes": {"prod": {"addr": f"{DEAD},{impostor}"}}})
        with pytest.raises(
            IncusCertificateError, match=rf"none of .* addresses.*{DEAD} cannot be reached.*{impostor} did not prove"
        ):
            await who(Client.from_remote("prod"))
        assert (any(fake.clients), fake.heard) == (False, b"")
    two = {"addr": f"{DEAD},{daemon.url}", "last_working_address": daemon.url}
    configure(directory, {"remotes": {"prod": two}})
    assert ClientConfig().remote("prod").addresses == (daemon.url, DEAD)
    configure(directory, {"remotes": {"prod": {"addr": f"unix:///nowhere/socket,unix://{daemon.socket}"}}})
    assert (await who(Client.from_remote("prod")))[1] == "unix"


@pytest.mark.parametrize("variable", ["INCUS_SOCKET", "INCUS_DIR"])
async def test_the_local_daemon_is_the_one_that_the_command_finds(
    daemon: Daemon, owner: Client, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(daemon.socket if variable == "INCUS_SOCKET" else daemon.directory))
    there = json.loads(await incus("query", "/1.0"))["environment"]["certificate_fingerprint"]
    async with Client() as client:
        assert (await client.get_server_info()).environment.certificate_fingerprint == there
    configure(ClientConfig().directory, {"remotes": {"local": {"addr": "ignored", "project": "dev"}}})
    assert Client().project == "dev"  # `incus project switch` writes it there


AS_NOBODY = """
import asyncio, os, sys
from incus_sdk import Client
# What is loaded late, and nobody may read.
import incus_sdk._connection.config, incus_sdk._connection.exchange, incus_sdk._connection.frames
import incus_sdk._connection.switching
import incus_sdk.api.instances
os.setgroups([]), os.setresgid(*[65534] * 3), os.setresuid(*[65534] * 3)
async def main():
    async with Client() as client:
        print(client.project, [box.name for box in await client.instances.list()])
asyncio.run(main())
"""


async def test_a_user_without_privileges_gets_the_users_socket_and_a_project_of_his_own(
    daemon: Daemon, owner: Client, name: str
) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(daemon.socket)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    await owner.projects.create("user-65534", config={"features.images": False, "features.profiles": False})
    inside = owner.use_project("user-65534")
    await inside.instances.create(name, {"type": "none"}, wait=True)
    with tempfile.TemporaryDirectory() as users:
        os.chmod(users, 0o755)
        environ = {"INCUS_DIR": users, "INCUS_CONF": "/nowhere", "INCUS_GLOBAL_CONF": "/nowhere"}
        async with await asyncio.start_unix_server(relay, f"{users}/unix.socket"):
            os.chmod(f"{users}/unix.socket", 0o600)
            refused = await run(sys.executable, "-c", AS_NOBODY, **environ)
            async with await asyncio.start_unix_server(relay, f"{users}/unix.socket.user"):
                os.chmod(f"{users}/unix.socket.user", 0o666)
                taken = await run(sys.executable, "-c", AS_NOBODY, **environ)
    await inside.instances.delete(name, wait=True)
    await owner.projects.delete("user-65534")
    assert "no permission to use" in refused.stderr
    assert "join the group incus-admin" in refused.stderr
    assert taken.stdout == f"user-65534 ['{name}']\n", taken.stderr


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


# Trust.


async def test_a_restricted_client_is_in_its_project_from_the_start(daemon: Daemon, owner: Client, name: str) -> None:
    await owner.projects.create("dev", config={"features.images": False, "features.profiles": False})
    await owner.projects.create("ops", config={"features.images": False, "features.profiles": False})
    await owner.use_project("dev").instances.create(name, {"type": "none"}, wait=True)
    token = await owner.certificates.create_token("guest", restricted=True, projects=["dev"])
    async with await Client.join(token, "prod") as client:
        assert client.project == "dev"
        assert [box.name for box in await client.instances.list()] == [name]
        with pytest.raises(IncusError):
            await client.use_project("ops").instances.create("no", {"type": "none"}, wait=True)
        with pytest.raises(IncusPermissionError):
            await client.certificates.create_token("more")
    assert Client.from_remote("prod").project == "dev"
    assert name in await incus("list", "prod:", "--format=csv")
    await owner.use_project("dev").instances.delete(name, wait=True)


async def test_a_token_is_good_once_and_for_a_time(
    daemon: Daemon, owner: Client, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await owner.query("PATCH", "/1.0", body={"config": {"core.remote_token_expiry": "1S"}})
    try:
        short = await owner.certificates.create_token("late")
    finally:
        await owner.query("PATCH", "/1.0", body={"config": {"core.remote_token_expiry": ""}})
    once = await owner.certificates.create_token("early")
    withdrawn = await owner.certificates.create_token("withdrawn")
    await withdraw(owner, "withdrawn")
    await (await Client.join(once, "first")).disconnect()
    before = (directory / "config.yml").read_text()
    await asyncio.sleep(1.2)
    with pytest.raises(IncusInputError, match=r"this trust token expired at .* UTC: ask for a new one"):
        await Client.join(short, "second")
    for name in ("client.crt", "client.key"):  # a stranger
        (directory / name).unlink()
    with pytest.raises(IncusInputError, match="there is already a remote first"):
        await Client.join(await owner.certificates.create_token("kept"), "first")
    assert "kept" in await invited(owner)  # not used up
    later = {"expires_at": "2100-01-01T00:00:00Z"}
    for token, reason in (
        (forged(short, **later), "[Ee]xpired"),
        (once, "the token was used already, was withdrawn or has expired: ask for a new one"),
        (withdrawn, "the token was used already"),
        (forged(withdrawn, secret="guessed"), "the token was used already"),
    ):
        with pytest.raises(IncusAPIError, match=reason) as caught:
            await Client.join(token, "second")
        assert token not in "".join(traceback.format_exception(caught.value))
    assert (directory / "config.yml").read_text() == before
    assert not (directory / "servercerts" / "second.crt").exists()
    assert {each.name for each in await owner.certificates.list()} >= {"early"}
    assert "late" not in {each.name for each in await owner.certificates.list()}


async def test_a_token_can_have_been_broken_into_lines_and_nothing_else(
    daemon: Daemon, owner: Client, directory: Path
) -> None:
    token = await owner.certificates.create_token("laptop")
    for fingerprint in ("", "abc", "/etc/hostname", "-----BEGIN CERTIFICATE-----"):
        with pytest.raises(IncusInputError, match="this trust token was changed"):
            await Client.join(forged(token, fingerprint=fingerprint), "prod")
    for endpoint in (str(daemon.socket), f"unix://{daemon.socket}", Path("/s"), 5):
        with pytest.raises(IncusInputError, match="endpoint must be the server's https:// address"):
            await Client.join(token, "prod", endpoint=endpoint)  # type: ignore[arg-type]
    assert not directory.exists()
    await (await Client.join(f"  {token[:40]}\r\n\t {token[40:]} \n", "prod")).disconnect()


async def test_a_server_that_is_not_the_tokens_learns_nothing(
    daemon: Daemon, owner: Client, directory: Path, tmp_path: Path
) -> None:
    mine, theirs = pair(tmp_path, "mine"), pair(tmp_path, "theirs")
    fake = incus_server(theirs, mine)
    token = await owner.certificates.create_token("laptop")
    async with fake.at_a_url() as impostor:
        address = impostor.removeprefix("https://")
        with pytest.raises(
            IncusCertificateError, match="nothing was sent: the fingerprint of its certificate is"
        ) as told:
            await Client.join(forged(token, addresses=[address]), "prod")
        assert digest(theirs[0]) in str(told.value)
        with pytest.raises(IncusCertificateError, match="nothing was sent"):
            await Client.join(token, "prod", endpoint=impostor)
        assert (fake.connections, any(fake.clients), fake.heard) == (2, False, b"")
        assert not (directory / "config.yml").exists()
        # The true server, at the second address.
        both = forged(token, addresses=[address, daemon.url.removeprefix("https://")])
        await (await Client.join(both, "prod")).disconnect()
    assert ClientConfig().remotes()["prod"].addresses == (daemon.url,)
    assert (any(fake.clients), fake.heard) == (False, b"")


async def test_a_server_whose_certificate_changed_is_refused_by_both(
    daemon: Daemon, owner: Client, directory: Path, tmp_path: Path
) -> None:
    await (await Client.join(await owner.certificates.create_token("laptop"), "prod")).disconnect()
    mine, theirs = pair(tmp_path, "mine"), pair(tmp_path, "theirs")
    fake = incus_server(theirs, mine)
    async with fake.at_a_url() as impostor:
        written = yaml.safe_load((directory / "config.yml").read_text())
        written["remotes"]["prod"]["addr"] = impostor
        configure(directory, written)
        with pytest.raises(IncusCertificateError, match=r"did not prove who it is, so nothing was sent"):
            await who(Client.from_remote("prod"))
        assert (await run("incus", "query", "prod:/1.0")).returncode != 0
        assert (any(fake.clients), fake.heard) == (False, b"")


async def test_a_fingerprint_stands_for_the_certificate(daemon: Daemon, owner: Client, tmp_path: Path) -> None:
    right = digest(daemon.certificate)
    for written in (right, right.upper()):
        async with Client(daemon.url, cert=daemon.client_cert, server_cert=written) as client:
            assert (await client.get_server_info()).auth == "trusted"
            await (await client._scope.websocket("/1.0/events")).close()
    fake = incus_server(pair(tmp_path, "theirs"), pair(tmp_path, "mine"))
    async with fake.at_a_url() as impostor:
        with pytest.raises(IncusCertificateError, match=f"nothing was sent: the fingerprint .*, not {right}"):
            await who(Client(impostor, cert=daemon.client_cert, server_cert=right))
    assert (any(fake.clients), fake.heard) == (False, b"")


async def test_keys_that_a_password_opens(daemon: Daemon, owner: Client, directory: Path, tmp_path: Path) -> None:
    directory.mkdir()
    trusted = serialization.load_pem_private_key(daemon.client_cert[1].read_bytes(), None)
    shutil.copy(daemon.client_cert[0], directory / "client.crt")
    (directory / "servercerts").mkdir()
    shutil.copy(daemon.certificate, directory / "servercerts" / "prod.crt")
    configure(directory, {"remotes": {"prod": {"addr": daemon.url}}})
    pem, lock = serialization.Encoding.PEM, serialization.BestAvailableEncryption(b"open sesame")
    plain = serialization.NoEncryption()
    forms = serialization.PrivateFormat
    for form, how, password in (
        (forms.PKCS8, lock, "open sesame"),
        (forms.TraditionalOpenSSL, lock, "open sesame"),
        (forms.OpenSSH, plain, None),
        (forms.PKCS8, plain, None),
        (forms.OpenSSH, lock, "open sesame"),
    ):
        (directory / "client.key").write_bytes(trusted.private_bytes(pem, form, how))
        assert (await who(Client.from_remote("prod", password=password)))[0] == "trusted", form
        token = client_token(ClientConfig().client_cert, password=password)
        assert (await who(Client(daemon.url, server_cert=daemon.certificate, token=token)))[0] == "trusted"
        for wrong in (None, "wrong") if password else ():
            with pytest.raises(IncusInputError, match=r"^cert: .*(password=|that this password opens)") as caught:
                await who(Client.from_remote("prod", password=wrong))
            assert "PRIVATE" not in "".join(traceback.format_exception(caught.value))


async def test_one_half_of_a_pair_is_never_overwritten(daemon: Daemon, owner: Client, directory: Path) -> None:
    directory.mkdir()
    (directory / "client.key").write_text("precious")
    with pytest.raises(IncusInputError, match=r"only one of .*client\.crt and .*client\.key exists"):
        await Client.join(await owner.certificates.create_token("laptop"))
    assert [path.name for path in directory.iterdir()] == ["client.key"]
    assert (directory / "client.key").read_text() == "precious"


JOIN = """
import asyncio, os, sys
from incus_sdk import Client

left = int(sys.argv[2])

def count(event, arguments):
    global left
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in ("os.rename", "os.mkdir", "os.chmod", "os.remove", "tempfile.mkstemp"):
        left -= 1
        if left == 0:
            os._exit(9)

sys.addaudithook(count)

async def main():
    await (await Client.join(sys.argv[1], "prod")).disconnect()

asyncio.run(main())
"""
"""Joins with a token, and is gone before the step of a number that changes a file."""


async def test_a_join_that_dies_at_any_step_can_be_done_again_with_its_token(
    daemon: Daemon, owner: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, code = 0 if daemon._root == Path("/") else -1, 9
    while code == 9:
        step += 2  # half of them on each version
        monkeypatch.setenv("INCUS_CONF", str(tmp_path / f"conf{step}"))
        token = await owner.certificates.create_token(f"c{step}")
        done = await run(sys.executable, "-c", JOIN, token, str(step))
        code = done.returncode
        assert code in (0, 9), done.stderr
        if "prod" not in ClientConfig().remotes():
            await (await Client.join(token, "prod")).disconnect()
        assert (await who(Client.from_remote("prod")))[0] == "trusted"
    assert step > 12


async def test_what_cannot_be_written_shows_before_the_token_is_used(
    daemon: Daemon, owner: Client, directory: Path
) -> None:
    token = await owner.certificates.create_token("laptop")
    directory.mkdir()
    for text, reason in (("remotes: [", "is not YAML"), ("remotes: {a: {public: perhaps}}", "must be true or false")):
        (directory / "config.yml").write_text(text)
        with pytest.raises(IncusInputError, match=reason):
            await Client.join(token, "prod")
        assert (directory / "config.yml").read_text() == text
    (directory / "config.yml").unlink()
    (directory / "servercerts").touch()
    with pytest.raises(IncusInputError, match="servercerts"):
        await Client.join(token, "prod")
    assert await invited(owner) == ["laptop"]
    (directory / "servercerts").unlink()
    (directory / "client.ca").write_text("nothing")
    with pytest.raises(IncusInputError, match="ca is not a PEM certificate"):
        await Client.join(token, "prod")
    assert await invited(owner) == ["laptop"]
    (directory / "client.ca").unlink()
    await (await Client.join(token, "prod")).disconnect()


# PKI.


def signed(directory: Path, name: str, by: Pair, *, server: bool = False) -> Pair:
    key = ec.generate_private_key(ec.SECP384R1())
    issuer = x509.load_pem_x509_certificate(by[0].read_bytes())
    signer = serialization.load_pem_private_key(by[1].read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
    )
    if server:
        import ipaddress

        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(signer, hashes.SHA384())
    return put(directory, name, certificate, key)


def put(directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pem = serialization.Encoding.PEM
    files = directory / f"{name}.crt", directory / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(pem))
    form, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(pem, form, plain))
    return files


def authority(directory: Path, name: str) -> Pair:
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA384())
    )
    return put(directory, name, certificate, key)


async def test_with_an_authority_of_ones_own_its_servers_are_trusted_and_it_alone(
    clean: None, directory: Path, tmp_path: Path
) -> None:
    ca, other = authority(tmp_path, "ca"), authority(tmp_path, "other")
    directory.mkdir()
    async with Daemon(image=False) as daemon:
        for source, name in zip(signed(tmp_path, "server", ca, server=True), ("server.crt", "server.key"), strict=True):
            shutil.copy(source, daemon.directory / name)
        shutil.copy(ca[0], daemon.directory / "server.ca")
        await daemon.restart()
        async with daemon.client() as owner:
            await owner.query("PATCH", "/1.0", body={"config": {"core.trust_ca_certificates": "true"}})
        for source, name in zip(signed(tmp_path, "client", ca), ("client.crt", "client.key"), strict=True):
            shutil.copy(source, directory / name)
        configure(directory, {"remotes": {"prod": {"addr": daemon.url}}})
        with pytest.raises(IncusCertificateError, match="did not prove who it is"):
            await who(Client.from_remote("prod"))
        shutil.copy(ca[0], directory / "client.ca")
        assert await who(Client.from_remote("prod")) == ("trusted", "tls", digest(directory / "client.crt"))
        assert digest(directory / "client.crt") in await incus("query", "prod:/1.0")
        assert (await who(Client(daemon.url, cert=ClientConfig().client_cert, ca=ca[0].read_text())))[0] == "trusted"
        shutil.copy(other[0], directory / "client.ca")
        with pytest.raises(IncusCertificateError, match="did not prove who it is, so nothing was sent"):
            await who(Client.from_remote("prod"))
        shutil.copy(ca[0], directory / "client.ca")
        fake = incus_server(signed(tmp_path, "nameless", ca), ca)  # of the authority, but for no address
        async with fake.at_a_url() as url:
            configure(directory, {"remotes": {"prod": {"addr": url}}})
            with pytest.raises(IncusCertificateError, match="did not prove who it is, so nothing was sent"):
                await who(Client.from_remote("prod"))
        assert (any(fake.clients), fake.heard) == (False, b"")


async def test_where_an_authority_vouches_for_the_server_it_may_renew_its_certificate(
    clean: None, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = authority(tmp_path, "ca")
    monkeypatch.setenv("SSL_CERT_FILE", str(ca[0]))  # the system's authorities
    async with Daemon(image=False) as daemon:

        async def renew() -> None:
            fresh = signed(tmp_path, "server", ca, server=True)
            for source, name in zip(fresh, ("server.crt", "server.key"), strict=True):
                shutil.copy(source, daemon.directory / name)
            await daemon.restart()

        await renew()
        async with daemon.client() as owner:
            token = await owner.certificates.create_token("laptop")
        await (await Client.join(token, "prod")).disconnect()
        assert not (directory / "servercerts" / "prod.crt").exists()
        before = digest(daemon.certificate)
        await renew()
        assert digest(daemon.certificate) != before
        assert (await who(Client.from_remote("prod")))[0] == "trusted"
        assert "trusted" in await incus("query", "prod:/1.0")
        other = pair(tmp_path, "other")[0]
        with pytest.raises(IncusCertificateError, match="did not prove who it is"):  # what is pinned counts alone
            await who(Client(daemon.url, cert=ClientConfig().client_cert, server_cert=other))


# The token of a key.


async def test_a_token_of_the_clients_key_stands_for_its_certificate(
    daemon: Daemon, owner: Client, name: str, tmp_path: Path
) -> None:
    made = 0

    def fresh() -> str:
        nonlocal made
        made += 1
        return client_token(daemon.client_cert, lifetime=60)

    async with Client(daemon.url, server_cert=daemon.certificate, token=fresh) as client:
        info = await client.get_server_info()
        assert (info.auth, info.auth_user_name) == ("trusted", digest(daemon.client_cert[0]))
        box = await client.instances.create(name, {"type": "image", "alias": "busybox"}, start=True, wait=True)
        try:
            result = await box.run(["cat"], input="over websockets", text=True)
            assert result.stdout == "over websockets"
            await box.path("/f").write_text("by SFTP")
            assert await box.path("/f").read_text() == "by SFTP"
        finally:
            await box.delete(force=True, wait=True)
    assert made > 3
    big = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rsa")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(subject, subject, big.public_key(), x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .sign(big, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = tmp_path / "rsa.crt", tmp_path / "rsa.key"
    files[0].write_bytes(certificate.public_bytes(pem))
    files[1].write_bytes(big.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    await owner.certificates.create(files[0].read_text(), name="rsa")
    tokens = {
        client_token(files): "trusted",
        client_token(daemon.client_cert, lifetime=-1): "untrusted",
        client_token(pair(tmp_path, "stranger")): "untrusted",
        client_token(daemon.client_cert)[:-8] + "AAAAAAAA": "untrusted",
    }
    for token, expected in tokens.items():
        assert (await who(Client(daemon.url, server_cert=daemon.certificate, token=token)))[0] == expected
        assert token not in repr(Client(daemon.url, token=token))


# Proxies.


class Proxy:
    """An HTTP proxy that leads any name to one server."""

    def __init__(self, port: int, status: int = 200) -> None:
        self.asked: list[str] = []
        self.logins: list[str] = []
        self._port = port
        self._status = status

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.partition("\r\n")[0])
        self.logins += [line for line in head.split("\r\n") if line.lower().startswith("proxy-authorization")]
        writer.write(f"HTTP/1.1 {self._status} X\r\n\r\n".encode())
        if self._status != 200:
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[str]:
        async with plain_server(self._serve) as url:
            yield url.replace("https://", "http://")


async def test_a_proxy_of_the_environment_is_used_by_all_ways(
    daemon: Daemon, owner: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(daemon.url.rpartition(":")[2])
    proxy = Proxy(port)
    async with proxy.running() as url:
        monkeypatch.setenv("https_proxy", url.replace("//", "//user:pass%2Fword@"))
        away: dict[str, Any] = {"cert": daemon.client_cert, "server_cert": daemon.certificate}
        async with Client("https://incus.example:8443", **away) as client:
            box = await client.instances.create(name, {"type": "image", "alias": "busybox"}, start=True, wait=True)
            try:
                result = await box.run(["cat"], input="over websockets", text=True)
                assert result.stdout == "over websockets"
                await box.path("/f").write_text("by SFTP")
                assert await box.path("/f").read_text() == "by SFTP"
            finally:
                await box.delete(force=True, wait=True)
        assert set(proxy.asked) == {"CONNECT incus.example:8443 HTTP/1.1"}
        login = base64.b64encode(b"user:pass/word").decode()
        assert {line.partition(": ")[2] for line in proxy.logins} == {f"Basic {login}"}
        assert len(proxy.logins) == len(proxy.asked)
        pinned = Client("https://incus.example", cert=daemon.client_cert, server_cert=digest(daemon.certificate))
        assert (await who(pinned))[0] == "trusted"
        asked = len(proxy.asked)
        assert (await who(Client(daemon.url, **away)))[0] == "trusted"  # never for the machine itself
        for excepted in ("incus.example", "*", ".example"):
            monkeypatch.setenv("no_proxy", excepted)
            with pytest.raises(IncusConnectionError, match="cannot be reached"):
                await who(Client("https://incus.example:8443", **away))
        assert len(proxy.asked) == asked


@pytest.mark.parametrize("status", [403, 407, 502, None])
async def test_a_proxy_that_leads_nowhere_is_named_without_its_password(
    daemon: Daemon, clean: None, monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    async with Proxy(0, status or 200).running() as url:
        pass
    async with contextlib.AsyncExitStack() as stack:
        if status is not None:
            url = await stack.enter_async_context(Proxy(0, status).running())
        monkeypatch.setenv("HTTPS_PROXY", url.replace("//", "//user:hunter2@"))
        client = Client("https://incus.example:8443", cert=daemon.client_cert, server_cert=daemon.certificate)
        for attempt in (
            client.get_server_info(),
            client._scope.websocket("/1.0/events"),
            client._scope.upgrade("GET", "/1.0/instances/c1/sftp", "sftp"),
        ):
            with pytest.raises(
                IncusConnectionError, match=r"in https_proxy does not lead to https://incus|reached"
            ) as told:
                await attempt
            assert "hunter2" not in "".join(traceback.format_exception(told.value))
        await client.disconnect()
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1080")
    with pytest.raises(IncusInputError, match="https_proxy must be http"):
        await who(client)


# What is on the wire.


async def test_websockets_send_no_origin_and_connections_are_used_again(tmp_path: Path) -> None:
    mine, theirs = pair(tmp_path, "mine"), pair(tmp_path, "theirs")
    fake = incus_server(theirs, mine)
    async with fake.at_a_url() as url, Client(url, cert=mine, server_cert=theirs[0]) as client:
        for _ in range(5):
            await client.get_server_info()
        assert fake.connections == 1
        with pytest.raises(IncusConnectionError):
            await client._scope.websocket("/1.0/events")
    assert b"Upgrade: websocket" in fake.heard
    assert b"origin" not in fake.heard.lower()


async def test_no_secret_of_joining_is_in_a_log_a_repr_or_an_error(
    daemon: Daemon, owner: Client, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    shown: list[str] = []
    try:
        token = await owner.certificates.create_token("laptop")
        secrets = [token, json.loads(base64.b64decode(token))["secret"]]
        for bad in (token[:-9], token[3:], f"{token}x", forged(token, expires_at="2001-01-01T00:00:00Z")):
            with pytest.raises(IncusError) as caught:
                await Client.join(bad)
            shown += traceback.format_exception(caught.value)
        async with await Client.join(token, "prod") as client:
            shown += [repr(client), repr(client._scope), repr(ClientConfig()), repr(ClientConfig().remotes())]
            secrets += (directory / "client.key").read_text().split("\n")[1:-2]
        jwt = client_token(ClientConfig().client_cert)
        secrets.append(jwt)
        async with Client(daemon.url, server_cert=daemon.certificate, token=jwt) as client:
            shown += [repr(client), repr(client._scope), repr(client._scope.transport)]
            with pytest.raises(IncusError) as caught:
                await client.profiles.get("none")
            shown += traceback.format_exception(caught.value)
    finally:
        asyncio.get_running_loop().set_debug(False)
    shown.append(caplog.text)
    assert [secret for secret in secrets if any(secret in text for text in shown)] == []


# The doctor.


async def doctor(*arguments: str, **environ: str) -> tuple[int, dict[str, str]]:
    done = await run(sys.executable, "-m", "incus_sdk", *arguments, **environ)
    assert done.stderr == ""
    return done.returncode, {line[:10].strip(): line[11:] for line in done.stdout.splitlines()}


async def test_the_doctor_says_what_is_found_and_why_and_as_whom(
    daemon: Daemon, owner: Client, directory: Path
) -> None:
    info = await owner.get_server_info()
    socket = str(daemon.socket)
    code, said = await doctor(INCUS_SOCKET=socket)
    assert code == 0
    assert said["directory"] == f"{directory}, without config.yml"
    assert (said["remote"], said["endpoint"]) == ("local", f"unix://{socket} (INCUS_SOCKET)")
    assert said["answers"] == f"unix://{socket}: API 1.0 with {len(info.api_extensions)} extensions"
    assert said["server"].endswith(f"incus {info.environment.server_version}")
    assert said["you are"] == "root, by unix; trusted"
    await (await Client.join(await owner.certificates.create_token("laptop"), "prod")).disconnect()
    code, said = await doctor("prod", INCUS_PROJECT="dev")
    assert (code, said["project"]) == (0, "dev")
    assert said["endpoint"] == f"{daemon.url} (the remote prod in {directory}/config.yml)"
    assert said["you are"] == f"{digest(directory / 'client.crt')}, by tls; trusted"
    assert await doctor(INCUS_REMOTE="prod") == (0, {**said, "project": "the default"})


async def test_the_doctor_says_for_each_failure_what_to_do(
    daemon: Daemon, owner: Client, directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    plain = tmp_path / "gone" / "unix.socket"
    plain.touch()
    for environ, problem in (
        ({"INCUS_SOCKET": "/nowhere/socket"}, "there is no socket /nowhere/socket: is Incus installed"),
        ({"INCUS_DIR": str(tmp_path / "gone")}, "is not a socket"),
        ({"INCUS_REMOTE": "prod"}, "has no remote 'prod', only images, local"),
        ({"INCUS_REMOTE": "images"}, "is a server of images"),
    ):
        code, said = await doctor(**environ)
        assert (code, problem in said["problem"]) == (1, True), said
    code, said = await doctor(daemon.url)
    assert (code, said["shows"]) == (1, f"a certificate with the fingerprint {digest(daemon.certificate)}")
    assert "did not prove who it is" in said["problem"]
    code, said = await doctor(DEAD)
    assert (code, "cannot be reached" in said["problem"]) == (1, True)
    certificate, key = make_pair("stranger")
    directory.mkdir()
    (directory / "client.crt").write_text(certificate)
    (directory / "client.key").write_text(key)
    (directory / "servercerts").mkdir()
    shutil.copy(daemon.certificate, directory / "servercerts" / "prod.crt")
    configure(directory, {"remotes": {"prod": {"addr": daemon.url}}})
    code, said = await doctor("prod")
    assert (code, said["problem"]) == (1, "the server does not trust this client")
    assert "incus config trust add NAME" in said["remedy"]
    code, said = await doctor(INCUS_CONF="/nowhere/\u00fc", PYTHONIOENCODING="ascii")
    assert (code, said["directory"]) == (1, r"/nowhere/\xfc, without config.yml")
    code, said = await doctor(INCUS_CONF=f"/{'x' * 300}")
    assert (code, "cannot be used: File name too long" in said["problem"]) == (1, True)
    (directory / "config.yml").write_text("remotes: [")
    code, said = await doctor()
    assert (code, f"{directory}/config.yml is not YAML" in said["problem"]) == (1, True)


def test_the_doctor_ends_quietly_when_nobody_reads_it(daemon: Daemon) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    doctor = [sys.executable, "-m", "incus_sdk", f"unix://{daemon.socket}"]
    done = subprocess.run(doctor, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
