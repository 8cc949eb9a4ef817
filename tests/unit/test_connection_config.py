"""The command's configuration directory, read and written; and what an OpenID Connect provider may answer."""

from __future__ import annotations

import asyncio
import base64
import grp
import json
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incus_sdk import Client, IncusAuthenticationError, IncusConnectionError, IncusInputError
from incus_sdk._connection import config as module
from incus_sdk._connection import discovery, oidc, tls, wire
from incus_sdk._connection.config import ClientConfig, Remote, write
from incus_sdk._connection.endpoint import Endpoint
from incus_sdk._connection.errors import socket_group
from incus_sdk._connection.oidc import OIDC
from incus_sdk._connection.proxies import in_networks, proxy_for


def make(directory: Path, text: str, **environ: str) -> ClientConfig:
    directory.mkdir(exist_ok=True)
    (directory / "config.yml").write_text(text)
    return ClientConfig(environ={"INCUS_CONF": str(directory), "INCUS_GLOBAL_CONF": f"{directory}/none", **environ})


# Where it is.


def test_the_directory_is_the_commands(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert ClientConfig(environ={"INCUS_CONF": "/x", **home}).directory == Path("/x")
    assert ClientConfig(environ=home).directory == tmp_path / ".config" / "incus"
    newer = {**home, "XDG_CONFIG_HOME": f"{tmp_path}/xdg"}
    assert (
        ClientConfig(environ=newer).directory == tmp_path / ".config" / "incus"
    )  # there is none, or the command is older
    (tmp_path / "xdg" / "incus").mkdir(parents=True)
    assert ClientConfig(environ=newer).directory == tmp_path / "xdg" / "incus"
    assert ClientConfig(environ={**home, "XDG_CONFIG_HOME": "relative"}).directory == tmp_path / ".config" / "incus"
    assert ClientConfig(environ={"HOME": "/nowhere"}).directory == Path(os.path.expanduser("~"), ".config", "incus")
    assert ClientConfig("/y", environ=home).directory == Path("/y")
    assert ClientConfig(environ={"INCUS_GLOBAL_CONF": "/g"}).global_directory == Path("/g")
    assert ClientConfig(environ={}).global_directory == Path("/etc/incus")


def test_without_a_file_there_are_the_commands_own_remotes(tmp_path: Path) -> None:
    config = ClientConfig(tmp_path, {"INCUS_GLOBAL_CONF": "/none", "INCUS_SOCKET": "/s"})
    assert set(config.remotes()) == {"images", "local"}
    assert config.default_remote == "local"
    assert config.remote().addresses == ("unix:///s",)
    assert ClientConfig(tmp_path, {"INCUS_GLOBAL_CONF": "/none", "INCUS_REMOTE": "images"}).default_remote == "images"


def test_the_group_to_join_is_the_one_of_the_socket(tmp_path: Path) -> None:
    socket = tmp_path / "unix.socket"
    assert socket_group(str(socket)) == "incus-admin"  # not to be seen, as little as to be used
    socket.touch()
    assert socket_group(str(socket)) == "incus-admin"  # root's
    os.chown(socket, -1, 1)
    assert socket_group(str(socket)) == grp.getgrgid(1).gr_name


# What is in it.

WRITTEN = """\
default-remote: prod
remotes:
  prod:
    addr: "https://one:8443, https://two:8443 ,"
    last_working_address: https://two:8443
    project: web
  plain: {addr: https://three:8443, project: default}
  42: {addr: https://four:8443}
  oidc: {addr: https://five:8443, auth_type: oidc, keepalive: 30}
  old: {addr: unix:///srv/socket}
  older: {addr: "unix:/srv/socket"}
  empty: {}
  pub: {addr: https://six:8443, public: true}
  hub: {addr: https://seven, protocol: oci, public: true}
aliases: {x: list}
"""


def test_remotes_are_read_as_the_command_reads_them(tmp_path: Path) -> None:
    config = make(tmp_path, WRITTEN)
    remotes = config.remotes()
    assert set(remotes) == {"prod", "plain", "42", "oidc", "old", "older", "empty", "pub", "hub", "local"}
    assert remotes["older"].addresses == remotes["old"].addresses == ("unix:///srv/socket",)
    assert remotes["prod"] == Remote(
        "prod",
        ("https://two:8443", "https://one:8443"),
        project="web",
        tokens=tmp_path / "oidctokens" / "prod.json",
    )
    assert (remotes["plain"].project, remotes["plain"].auth_type) == (None, "tls")
    assert (remotes["42"].addresses, remotes["oidc"].auth_type) == (("https://four:8443",), "oidc")
    assert (config.default_remote, config.remote().name) == ("prod", "prod")
    assert make(tmp_path, WRITTEN, INCUS_REMOTE="old").remote().name == "old"
    assert make(tmp_path, WRITTEN, INCUS_PROJECT="x").remote().project == "x"
    assert make(tmp_path, WRITTEN, INCUS_PROJECT="").remote().project == "web"
    assert config.remote("pub").public, "an Incus server whose images anybody can have"
    for name, reason in (
        ("none", "has no remote 'none', only 42, empty, hub"),
        ("hub", "is a server of images"),
        ("empty", "has no address"),
    ):
        with pytest.raises(IncusInputError, match=reason):
            config.remote(name)


def test_files_beside_it_are_the_remotes_own_or_all_remotes(tmp_path: Path) -> None:
    config = make(tmp_path, WRITTEN)
    assert config.remotes()["prod"].cert is None
    (tmp_path / "client.crt").touch()
    assert config.remotes()["prod"].cert is None  # half a pair is none
    (tmp_path / "client.key").touch()
    (tmp_path / "client.ca").touch()
    for directory in ("clientcerts", "servercerts"):
        (tmp_path / directory).mkdir()
    (tmp_path / "servercerts" / "prod.crt").touch()
    prod = config.remotes()["prod"]
    assert prod.cert == (tmp_path / "client.crt", tmp_path / "client.key")
    assert (prod.ca, prod.server_cert) == (tmp_path / "client.ca", tmp_path / "servercerts" / "prod.crt")
    for suffix in ("crt", "key"):
        (tmp_path / "clientcerts" / f"prod.{suffix}").touch()
    prod = config.remotes()["prod"]
    assert prod.cert == (tmp_path / "clientcerts" / "prod.crt", tmp_path / "clientcerts" / "prod.key")
    assert prod.ca is None  # the one of all remotes is not for this pair
    assert config.remotes()["plain"].cert == config.client_cert


def test_each_remote_can_be_given_to_a_client(tmp_path: Path) -> None:
    remotes = make(tmp_path, "remotes: {none: {}, hub: {addr: 'https://h', protocol: oci, public: true}}").remotes()
    assert Client(remotes["local"])._scope.transport.endpoint.socket == discovery.local_socket().path
    for remote, reason in (
        (remotes["none"], f"the remote none in {tmp_path}/config.yml has no address"),
        (Remote("", ()), "the remote without a name has no address"),
        (Remote("", "https://h"), "addresses must be a list of str"),  # type: ignore[arg-type]
        (remotes["hub"], "the remote hub is a server of images"),
    ):
        with pytest.raises(IncusInputError, match=reason):
            Client(remote)


async def _awaited() -> str:
    return "t"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"token": ""}, "token must be a bearer token"),
        ({"token": b"t"}, "token must be a bearer token"),
        ({"token": _awaited}, "token must be a plain function"),
        ({"token": lambda: None}, "token must return a bearer token as a str, not NoneType"),
        ({"login": "you"}, "login must be a function"),
        ({"password": b"p"}, "password must be a str"),
        ({"ca": b"-----BEGIN"}, "ca must be a certificate in PEM, or its path"),
        ({"ca": "-----BEGIN CERTIFICATE-----\n\u00e4"}, "ca is not a PEM certificate"),
    ],
)
async def test_what_cannot_log_in_is_refused_and_nothing_is_sent(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(IncusInputError, match=reason):
        await Client("https://127.0.0.1:1", **given).connect()


def test_a_token_that_is_given_is_taken_in_place_of_a_login(tmp_path: Path) -> None:
    client = Client(make(tmp_path, WRITTEN).remote("oidc"), token="t")
    assert client._scope.transport._current_authorization() == "Bearer t"


def test_a_remote_that_needs_a_certificate_says_how_to_get_one(tmp_path: Path) -> None:
    config = make(tmp_path, WRITTEN)
    with pytest.raises(IncusInputError, match=r"the remote prod needs a client certificate.*Client\.join"):
        Client(config.remote("prod"))
    Client(config.remote("prod"), token="t")
    Client(config.remote("oidc"))
    Client(config.remote("old"))


def test_who_logs_in_shows_no_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(tls, "context", lambda cert, *_: shown.append(cert))
    config, pair = make(tmp_path, WRITTEN), (tmp_path / "client.crt", tmp_path / "client.key")
    for name in ("oidc", "plain"):
        Client(replace(config.remote(name), cert=pair))._scope.transport._tls_context()
    assert shown == [None, pair]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("remotes: [", "is not YAML"),
        ("- a\n- b\n", "is not a configuration"),
        ("text", "is not a configuration"),
        ("remotes: []\nx: 1", "must be a mapping of names"),
        ("remotes: [1]", "must be a mapping of names"),
        ("remotes: {a: b}", "must be a mapping of names"),
        ("!!python/object/apply:os.system ['false']", "is not a configuration"),
        ("\x00", "is not YAML"),
        ("", None),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, text: str, reason: str | None) -> None:
    config = make(tmp_path, text)
    if reason is None:
        assert set(config.remotes()) == {"local"}
        return
    with pytest.raises(IncusInputError, match=rf"config\.yml.*{reason}"):
        config.remotes()


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    too_long = "x" * 300  # also root is told so
    config = ClientConfig(tmp_path / too_long, {"INCUS_GLOBAL_CONF": "/none"})
    for use in (config.remotes, config.remote, lambda: config.new_remote("a")):
        with pytest.raises(IncusInputError, match="cannot be used: File name too long"):
            use()
    monkeypatch.setenv("XDG_CONFIG_HOME", f"/{too_long}")
    assert ClientConfig().directory != Path(f"/{too_long}/incus")


def test_who_has_no_home_reads_nothing_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user that the system does not know
    config = ClientConfig(environ={"INCUS_GLOBAL_CONF": "/none", "INCUS_SOCKET": "/s"})
    assert config.remote().addresses == ("unix:///s",)
    with pytest.raises(IncusInputError, match="there is no home directory; set HOME or INCUS_CONF"):
        config.set_default("images")
    with pytest.raises(IncusInputError, match="there is no home directory; set HOME or INCUS_CONF"):
        write(config.directory / "oidctokens" / "prod.json", "")
    assert os.listdir() == []


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yml").mkdir()
    with pytest.raises(IncusInputError, match=r"config\.yml cannot be used: Is a directory"):
        ClientConfig(tmp_path, {}).remotes()
    (tmp_path / "config.yml").rmdir()
    (tmp_path / "config.yml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(IncusInputError, match=r"config\.yml cannot be used"):
        ClientConfig(tmp_path, {}).remotes()


# Writing.


def test_a_remote_is_written_beside_what_is_there(tmp_path: Path) -> None:
    config = make(tmp_path, WRITTEN)
    (tmp_path / "servercerts").mkdir()
    (tmp_path / "servercerts" / "new.crt").write_text("of one that was removed")
    config.add(Remote("new", ("https://n:8443",), project="p"))
    assert not (tmp_path / "servercerts" / "new.crt").exists()
    config.add(Remote("", ("https://n:8443",)), by_name="new", server_cert=b"DER")
    assert "BEGIN CERTIFICATE" in (tmp_path / "servercerts" / "new-2.crt").read_text()
    import yaml

    before, after = yaml.safe_load(WRITTEN), yaml.safe_load(config.file.read_text())
    entry = {"addr": "https://n:8443", "auth_type": "tls", "protocol": "incus", "public": False}
    assert after["remotes"].pop("new") == {**entry, "project": "p"}
    assert after["remotes"].pop("new-2") == entry
    assert after == before
    assert list(after) == list(before)


@pytest.mark.parametrize("name", ["a:b", "../x", "a/b", ".hidden", "a\0b", "a\nb", "local", "prod", 5])
def test_a_name_that_is_none_or_taken_is_refused(tmp_path: Path, name: Any) -> None:
    config = make(tmp_path, WRITTEN)
    with pytest.raises(IncusInputError, match=r"is not a name for a remote|there is already a remote"):
        config.add(Remote(name, ("https://n:8443",)))
    assert config.file.read_text() == WRITTEN
    assert [path.name for path in tmp_path.iterdir()] == ["config.yml"]


def test_files_are_replaced_whole_and_keep_their_mode_and_their_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, link = tmp_path / "dotfiles" / "config.yml", tmp_path / "config.yml"
    write(real, "one", 0o640)
    link.symlink_to(real)
    write(link, "two")
    assert (link.is_symlink(), real.read_text(), stat.S_IMODE(real.stat().st_mode)) == (True, "two", 0o640)
    write(tmp_path / "key", "secret", 0o600)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IncusInputError, match="cannot be written: No space left"):
        write(link, "three")
    assert real.read_text() == "two"
    assert [path.name for path in real.parent.iterdir()] == ["config.yml"]


def test_processes_that_change_it_wait_for_each_other(tmp_path: Path) -> None:
    config = ClientConfig(tmp_path / "conf", {"INCUS_GLOBAL_CONF": "/none"})
    pairs: list[Remote] = []
    other = threading.Thread(target=lambda: pairs.append(config.new_remote("")))
    with config.lock():
        other.start()
        other.join(0.2)
        assert (other.is_alive(), list(config.directory.iterdir())) == (True, [])
    other.join(30)
    assert pairs[0].cert == config.client_cert == config.new_remote("").cert
    assert sorted(path.name for path in config.directory.iterdir()) == ["client.crt", "client.key"]


# Tokens.

TOKEN = {"client_name": "c", "fingerprint": "0" * 64, "addresses": ["127.0.0.1:9"], "secret": "hunter2"}


def encoded(**changed: Any) -> str:
    fields = {key: value for key, value in {**TOKEN, **changed}.items() if value is not None}
    return base64.b64encode(json.dumps(fields).encode()).decode()


def test_a_trust_token_is_read_also_where_it_was_broken_into_lines() -> None:
    token = encoded()
    assert wire.read_token(f" {token[:20]}\n{token[20:]}\n") == TOKEN


@pytest.mark.parametrize(
    "changed", [{"client_name": None, "server_name": "s"}, {"addresses": []}, {"addresses": "x"}, {"fingerprint": 5}]
)
def test_what_is_no_trust_token_is_refused_without_showing_it(changed: dict[str, Any]) -> None:
    with pytest.raises(IncusInputError, match=r"not a trust token: `incus config trust add") as caught:
        wire.read_token(encoded(**changed))
    assert "hunter2" not in str(caught.value)


@given(st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()) | st.none())
def test_any_text_is_a_token_or_refused(text: Any) -> None:
    with pytest.raises(IncusInputError, match="not a trust token"):
        wire.read_token(text)


# Proxies.


@pytest.mark.parametrize(
    ("host", "networks", "expected"),
    [
        ("198.51.100.7", "198.51.100.0/24", True),
        ("198.51.100.7", "incus.example, 198.51.100.7", True),
        ("198.51.101.7", "198.51.100.0/24,x,", False),
        ("fd42::1", "fd42::/16", True),
        ("incus.example", "198.51.100.0/24", False),
        ("198.51.100.7", "", False),
    ],
)
def test_networks_in_no_proxy(host: str, networks: str, expected: bool) -> None:
    assert in_networks(host, networks) is expected


@pytest.mark.parametrize(
    ("endpoint", "environ", "proxy"),
    [
        ("https://incus.example", {"https_proxy": "http://p:3128"}, "http://p:3128"),
        ("https://incus.example", {"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
        ("https://incus.example", {"https_proxy": "https://p:3128"}, "https://p:3128"),
        ("https://incus.example", {"http_proxy": "http://p:3128"}, None),
        ("https://incus.example", {"https_proxy": "http://p:3128", "no_proxy": "example"}, None),
        ("https://incus.example:9443", {"https_proxy": "http://p:3128", "no_proxy": "incus.example:9443"}, None),
        (
            "https://incus.example:9443",
            {"https_proxy": "http://p:3128", "no_proxy": "incus.example:443"},
            "http://p:3128",
        ),
        ("https://198.51.100.7", {"https_proxy": "http://p:3128", "no_proxy": "198.51.100.0/24"}, None),
        ("https://a.incus.example", {"https_proxy": "http://p:3128", "no_proxy": "x, *.Incus.example"}, None),
        ("https://a.incus.example", {"https_proxy": "http://p:3128", "no_proxy": "*.incus.example:8443"}, None),
        (
            "https://a.incus.example",
            {"https_proxy": "http://p:3128", "no_proxy": "*.incus.example:443,*."},
            "http://p:3128",
        ),
        ("https://notincus.example", {"https_proxy": "http://p:3128", "no_proxy": "*.incus.example"}, "http://p:3128"),
        ("https://[2001:db8::1]", {"https_proxy": "http://p:3128", "no_proxy": "[2001:db8::1]:8443"}, None),
        ("https://[2001:db8::1]", {"https_proxy": "http://p:3128", "no_proxy": "[2001:db8::1]:443"}, "http://p:3128"),
        ("https://localhost", {"https_proxy": "http://p:3128"}, None),
        ("https://127.0.0.2", {"https_proxy": "http://p:3128"}, None),
        ("https://[::1]", {"https_proxy": "http://p:3128"}, None),
        ("unix:///socket", {"https_proxy": "http://p:3128"}, None),
        ("https://incus.example", {}, None),
    ],
)
def test_the_proxy_is_the_one_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, environ: dict[str, str], proxy: str | None
) -> None:
    for name in ("https_proxy", "http_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(Endpoint.parse(endpoint))
    assert (found and f"{'https' if found.secure else 'http'}://{found.host}:{found.port}") == proxy


@pytest.mark.parametrize("proxy", ["socks5://p:1080", "http://:3128", "https://"])
def test_a_proxy_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(IncusInputError, match="https_proxy must be http"):
        proxy_for(Endpoint.parse("https://incus.example"))


# OpenID Connect.

ISSUER = "https://login.example"
HEADERS = {"X-Incus-OIDC-issuer": ISSUER, "X-Incus-OIDC-clientid": "incus", "X-Incus-OIDC-audience": "incus.example"}
PROVIDER = {
    "issuer": ISSUER,
    "token_endpoint": f"{ISSUER}/token",
    "device_authorization_endpoint": f"{ISSUER}/device",
}
DEVICE = {"device_code": "d", "user_code": "ABCD", "verification_uri": f"{ISSUER}/go", "interval": 1, "expires_in": 60}
GRANTED = {"access_token": "fresh", "expires_in": 60}


class Provider:
    """What each request is answered with, in this order; waiting takes no time."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.waited: list[float] = []

    async def ask(self, url: str, form: bytes | None = None) -> dict[str, Any]:
        self.asked.append((url, (form or b"").decode()))
        return self.answers.pop(0)

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        if not self.answers:
            await asyncio.Event().wait()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    provider = Provider()
    monkeypatch.setattr(oidc, "_fetch_json", provider.ask)
    monkeypatch.setattr(asyncio, "sleep", provider.sleep)
    yield provider
    assert provider.answers == []


async def test_the_user_is_waited_for_as_the_provider_says(provider: Provider, tmp_path: Path) -> None:
    provider.answers = [
        PROVIDER,
        DEVICE,
        {"error": "authorization_pending"},
        {"error": "slow_down"},
        {"error": "authorization_pending"},
        GRANTED,
    ]
    shown: list[tuple[str, str]] = []
    login = OIDC(tmp_path / "tokens" / "prod.json", lambda *what: shown.append(what))
    assert await login.renew(HEADERS, login.authorization())
    assert shown == [(f"{ISSUER}/go", "ABCD")]
    assert provider.waited == [1, 1, 6, 6]
    assert provider.asked[1][1] == "client_id=incus&scope=openid+offline_access+email&audience=incus.example"
    assert login.authorization() == "Bearer fresh"
    assert json.loads((tmp_path / "tokens" / "prod.json").read_text())["access_token"] == "fresh"
    assert not await login.renew({}, "Bearer fresh")  # a 401 that is not about this
    assert await login.renew(HEADERS, "Bearer old")  # another task has done it meanwhile


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([PROVIDER, DEVICE, {"error": "access_denied"}], "the login was refused: access_denied"),
        ([PROVIDER, DEVICE, {"error": "expired_token", "error_description": "too late"}], "refused: too late"),
        ([PROVIDER, DEVICE, {}], "the login was refused"),
        ([PROVIDER, {"error": "unauthorized_client"}], "does not offer a login by code: unauthorized_client"),
        ([PROVIDER, {**DEVICE, "expires_in": 0.05}], "nobody confirmed"),
        ([PROVIDER, {**DEVICE, "user_code": 5}], "does not offer a login by code"),
        ([PROVIDER, {**DEVICE, "interval": "x"}, {"access_token": 5}], "the login was refused"),
    ],
)
async def test_a_login_that_fails_says_why(provider: Provider, answers: list[Any], reason: str) -> None:
    provider.answers = answers

    async def show(url: str, code: str) -> None:
        pass

    with pytest.raises(IncusAuthenticationError, match=reason) as caught:
        await OIDC(None, show).renew(HEADERS, "Bearer none")
    assert caught.value.status_code == 401


async def test_a_login_that_can_be_refreshed_needs_nobody(provider: Provider, tmp_path: Path) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"iss": ISSUER}).encode()).decode().rstrip("=")
    cached = {"access_token": f"e30.{claims}.x", "refresh_token": "r1", "IDToken": "kept", "unknown": [1]}
    file = tmp_path / "prod.json"
    file.write_text(json.dumps(cached))
    provider.answers = [PROVIDER, {**GRANTED, "refresh_token": "r2"}]
    login = OIDC(file, None)
    assert await login.renew(HEADERS, login.authorization())
    written = json.loads(file.read_text())
    assert written.pop("expiry").endswith("Z")
    assert written == {**cached, "access_token": "fresh", "token_type": "Bearer", "refresh_token": "r2"}
    file.write_text(json.dumps({**written, "access_token": "by the command"}))
    assert await login.renew(HEADERS, "Bearer fresh")  # another process has done it meanwhile
    assert login.authorization() == "Bearer by the command"


async def test_a_login_that_cannot_be_kept_is_one_all_the_same(
    provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "oidctokens").touch()  # as little can be written there as in a home that is read-only
    provider.answers = [PROVIDER, DEVICE, GRANTED]
    login = OIDC(tmp_path / "oidctokens" / "prod.json", lambda *_: None)
    assert await login.renew(HEADERS, login.authorization())
    assert login.authorization() == "Bearer fresh"
    assert "the login is good for this client alone" in caplog.text
    assert "fresh" not in caplog.text


async def test_a_token_of_another_provider_is_not_sent_to_this_one(provider: Provider, tmp_path: Path) -> None:
    for token in (f"e30.{base64.urlsafe_b64encode(b'{}').decode()}.x", "opaque", None):
        (tmp_path / "prod.json").write_text(json.dumps({"access_token": token, "refresh_token": "precious"}))
        provider.answers, provider.asked = [PROVIDER], []
        login = OIDC(tmp_path / "prod.json", None)
        with pytest.raises(IncusAuthenticationError, match="give login="):
            await login.renew(HEADERS, login.authorization())
        assert [url for url, _ in provider.asked] == [f"{ISSUER}/.well-known/openid-configuration"]


@pytest.mark.parametrize("found", [{**PROVIDER, "issuer": "https://other.example"}, {}])
async def test_a_provider_that_is_another_is_refused(provider: Provider, found: dict[str, Any]) -> None:
    provider.answers = [found]
    with pytest.raises(IncusConnectionError, match="is not the OpenID Connect provider that the server names"):
        await OIDC(None, None).renew(HEADERS, "Bearer none")


@pytest.mark.parametrize("url", ["http://login.example", "file:///etc/passwd", "", "ftp://127.0.0.1/", "http://[::2]/"])
async def test_a_provider_without_tls_is_refused(url: str) -> None:
    with pytest.raises(IncusConnectionError, match="must be https://"):
        await oidc._fetch_json(url)


def test_a_cache_that_is_none_is_as_no_login(tmp_path: Path) -> None:
    for text in ("", "[]", "{", "null"):
        (tmp_path / "prod.json").write_text(text)
        assert OIDC(tmp_path / "prod.json", None).authorization() == "Bearer none"


def test_the_configuration_is_read_only_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_read", None)
    ClientConfig()
    Client("https://incus.example")
    Client("/a/socket")
