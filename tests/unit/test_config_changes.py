"""Changes of the command's configuration: what stays, who can use it, and what a process leaves that dies."""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificate

from incus_sdk import IncusInputError
from incus_sdk._connection import oidc
from incus_sdk._connection.config import IMAGES, LOCAL, NEW_FILE, ClientConfig, Remote, make_directory, write
from incus_sdk._connection.config_file import parse
from incus_sdk._connection.tls import make_pair

NEW = Remote("new", ("https://n:8443",), project="0x1F")
BLOCK = """\
  new:
    addr: https://n:8443
    auth_type: tls
    project: '0x1F'
    protocol: incus
    public: false
"""
FLOW = json.dumps(
    {"addr": "https://n:8443", "auth_type": "tls", "project": "0x1F", "protocol": "incus", "public": False}
)


def config_at(directory: Path, text: str | None = None) -> ClientConfig:
    if text is not None:
        (directory / "config.yml").write_bytes(text.encode())
    return ClientConfig(directory, {"INCUS_GLOBAL_CONF": "/none"})


# What stays.


@pytest.mark.parametrize("parser", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("remotes:\n  a: {addr: x} # why\n", f"remotes:\n{BLOCK}  a: {{addr: x}} # why\n"),
        ("# mine\nremotes:\n# why\n  a: ~\n\nz: 1", f"# mine\nremotes:\n# why\n{BLOCK}  a: ~\n\nz: 1"),
        ("remotes:\r\n  a: {}\r\n", f"remotes:\r\n{BLOCK}  a: {{}}\r\n"),
        ("remotes: {a: {addr: x}}", f'remotes: {{a: {{addr: x}}, "new": {FLOW}}}'),
        ("remotes: {a: {addr: x}, }", f'remotes: {{a: {{addr: x}},  "new": {FLOW}}}'),
        ("remotes: {} # c", f'remotes: {{"new": {FLOW}}} # c'),
        ("remotes: # c\nz: 1", f'remotes: {{"new": {FLOW}}} # c\nz: 1'),
        ("remotes: &n ~\n", f'remotes:  &n {{"new": {FLOW}}}\n'),
        ("a: &a {b: {}}\nremotes: *a\n", f'a: &a {{b: {{}}}}\nremotes: {{<<: *a, "new": {FLOW}}}\n'),
        ("a: 1_000\n", f"remotes:\n{BLOCK}a: 1_000\n"),
        ("", f"\nremotes:\n{BLOCK}"),
        ("? remotes\n: ? a\n  : {}\n", f"? remotes\n: {BLOCK[2:]}  ? a\n  : {{}}\n"),
    ],
)
def test_a_remote_is_inserted_and_the_rest_stays_byte_by_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str, parser: str
) -> None:
    if parser == "SafeLoader":  # where PyYAML was built without C
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    config = config_at(tmp_path, text)
    before = {name: remote for name, remote in config.remotes().items() if name != "local"}
    config.add(NEW)
    assert config.file.read_bytes().decode() == expected
    after = config.remotes()
    assert (after.pop("new").project, after.pop("local").name) == ("0x1F", "local")
    assert after == before


OWN = """\
# mine
default-remote: prod  # the main one
remotes:
  # why
  prod: &prod
    addr: https://p:8443  # its address
    project: web

  # the other
  test: {addr: 'https://t:8443'}
# the end
"""


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        (lambda config: config.remove("test"), "  test: {addr: 'https://t:8443'}\n", ""),
        (lambda config: config.rename("test", "null"), "  test:", "  'null':"),
        (lambda config: config.set_default("test"), "default-remote: prod ", "default-remote: test "),
        (lambda config: config.set_default("local"), "default-remote: prod ", "default-remote: local "),
        (lambda config: config.set_project("prod", "0x1F"), "project: web", "project: '0x1F'"),
        (lambda config: config.set_project("test", "x"), "t:8443'}", "t:8443', \"project\": \"x\"}"),
        (lambda config: config.set_addresses("prod", ["https://q", "https://r"]), "https://p:8443", "https://q,https://r"),
    ],
)  # fmt: skip
def test_a_remote_is_changed_and_the_rest_stays_byte_by_byte(
    tmp_path: Path, change: Callable[[ClientConfig], None], old: str, new: str
) -> None:
    config = config_at(tmp_path, OWN)
    change(config)
    assert config.file.read_text() == OWN.replace(old, new)


def test_a_renamed_remote_stays_the_default_and_keeps_its_certificates(tmp_path: Path) -> None:
    config = config_at(tmp_path, OWN)
    kept = ("servercerts/{}.crt", "oidctokens/{}.json", "clientcerts/{}.crt", "clientcerts/{}.key")
    for file in (*kept, "clientcerts/{}.ca"):
        write(tmp_path / file.format("live" if file.endswith(".ca") else "prod"), file, 0o600)
    config.rename("prod", "live")
    assert config.file.read_text() == OWN.replace("prod  #", "live  #").replace("prod: &prod", "live: &prod")
    assert [(tmp_path / file.format("live")).read_text() for file in kept] == list(kept)
    assert not list(tmp_path.glob("*/prod.*")), "nothing is left under the old name"
    assert not (tmp_path / "clientcerts/live.ca").exists(), "nothing of an earlier remote is taken for its own"
    config.set_default("test")
    config.remove("live")
    assert not list(tmp_path.glob("servercerts/*")) + list(tmp_path.glob("oidctokens/*")), list(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda config: config.remove("nope"), "has no remote 'nope', only local, prod, test"),
        (lambda config: config.remove("prod"), "prod is the default remote: make another one the default first"),
        (lambda config: config.remove("local"), "is the daemon of this machine"),
        (lambda config: config.remove("wide"), "has no remote 'wide'"),
        (lambda config: config.rename("local", "x"), "is the daemon of this machine"),
        (lambda config: config.rename("prod", "test"), "there is already a remote test"),
        (lambda config: config.rename("prod", "a/b"), "is not a name for a remote"),
        (lambda config: config.set_default("nope"), "has no remote 'nope'"),
        (lambda config: config.set_project("prod", ""), "project must be a name"),
        (lambda config: config.set_addresses("prod", []), "needs an address"),
        (lambda config: config.set_addresses("prod", "https://x"), "addresses must be a list"),
        (lambda config: config.set_addresses("prod", ["http://x"]), "is not an endpoint"),
        (lambda config: config.set_addresses("local", ["https://x"]), "is the daemon of this machine"),
        (lambda config: config.add(Remote("x", ())), "a remote needs an address: x would have none"),
        (lambda config: config.add(Remote("x", "https://x")), "addresses must be a list"),  # type: ignore[arg-type]
        (lambda config: config.add(Remote("x", ("https://x,https://y",))), "is not an endpoint"),
        (lambda config: config.add(Remote("x", ("/run/a,b",))), "cannot be written"),
        (lambda config: config.add(Remote("x", ("http://x",), protocol="oci")), "of a server of images: write https"),
        (lambda config: config.add(Remote("x", ("https://x",), "")), "project must be a name"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_and_nothing_is_written(
    tmp_path: Path, change: Callable[[ClientConfig], None], reason: str
) -> None:
    config = config_at(tmp_path, OWN)
    with pytest.raises(IncusInputError, match=reason):
        change(config)
    assert config.file.read_text() == OWN


def test_the_project_of_the_local_daemon_can_be_switched_before_there_is_a_file(tmp_path: Path) -> None:
    config = config_at(tmp_path)
    config.set_project("local", "web")
    assert {name: remote.project for name, remote in config.remotes().items()} == {"images": None, "local": "web"}


def test_a_server_of_images_can_have_a_path(tmp_path: Path) -> None:
    config = config_at(tmp_path)
    config.set_addresses("images", ["https://mirror.example.org/images/"])
    config.add(Remote("more", ("https://mirror.example.org/more",), protocol="simplestreams"))
    found = [config.remotes()[name].addresses for name in ("images", "more")]
    assert found == [("https://mirror.example.org/images/",), ("https://mirror.example.org/more",)]


def test_remotes_of_the_whole_machine_can_be_the_default_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/config.yml").write_text("remotes: {wide: {addr: 'https://w'}}")
    config = ClientConfig(tmp_path, {"INCUS_GLOBAL_CONF": str(tmp_path / "etc")})
    config.set_default("wide")
    assert (config.default_remote, config.remote().addresses) == ("wide", ("https://w",))
    config.set_project("local", "mine")
    assert config.remotes()["local"].project == "mine"
    for change in (config.remove, lambda name: config.rename(name, "x"), lambda name: config.set_project(name, "x")):
        with pytest.raises(IncusInputError, match="for the whole machine"):
            change("wide")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        *((plain, plain) for plain in ("0x1F", "1_000", "1:30", "yes", "2001-01-01", ".inf", "017", "1e3", "=")),
        *((null, None) for null in ("~", "null", "Null", "", "''", "!!null x", "! ~", "default")),
        *((quoted, "~") for quoted in ("'~'", '"~"', "!!str ~", "|-\n      ~", ">-\n      ~", "!!binary fg==")),
        ("&x 5", "5"),
        ("one\n      two", "one two"),
    ],
)
def test_a_text_is_the_scalars_own(tmp_path: Path, written: str, text: str | None) -> None:
    config = config_at(tmp_path, f"remotes:\n  1_0:\n    addr: https://a\n    project: {written}\n---\nno: [yaml\n")
    assert config.remotes()["1_0"].project == text


@pytest.mark.parametrize(
    ("written", "public"),
    [
        *((word, True) for word in ("y", "Yes", "ON", "true", "!!bool yes")),
        *((word, False) for word in ("n", "No", "off", "FALSE", "~", "")),
        *((word, None) for word in ("1", "maybe", "[]", "{}", "!!str yes")),
    ],
)
def test_whether_a_remote_is_public_is_said_in_the_commands_words(
    tmp_path: Path, written: str, public: bool | None
) -> None:
    config = config_at(tmp_path, f"remotes: {{a: {{addr: x, public: {written}}}}}")
    if public is None:
        with pytest.raises(IncusInputError, match="public must be true or false"):
            config.remotes()
    else:
        assert config.remotes()["a"].public is public


def test_merged_and_repeated_keys_count_as_for_the_command(tmp_path: Path) -> None:
    text = "b: &b {addr: https://b, project: p}\nremotes:\n  a: {<<: *b, project: q}\n  c: {<<: [*b, {addr: no}]}\n"
    text += "remotes:\n  a2: {addr: https://a2, addr: https://a3}\n"
    remotes = config_at(tmp_path, text).remotes()
    assert (remotes["a"].addresses, remotes["a"].project) == (("https://b",), "q")
    assert (remotes["c"].addresses, remotes["a2"].addresses) == (("https://b",), ("https://a3",))
    with pytest.raises(IncusInputError, match="versions of the incus command read it differently"):
        config_at(tmp_path, "b: &b {addr: x}\nremotes: {a: {addr: y, <<: *b}}").remotes()


LAUGHS = "".join(f"l{n}: &l{n} {{<<: [{','.join([f'*l{n - 1}'] * 9)}]}}\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("remotes:\n\ta: {}\n", "is not YAML"),
        ("%YAML 3.0\n---\nremotes: {}\n", "is not YAML"),
        ("remotes: *nowhere\n", "is not YAML.*nowhere"),
        ("remotes: &a {<<: *a}\n", "have no end"),
        (f"l0: &l0 {{k: v}}\n{LAUGHS}remotes: *l8\n", "have no end"),
        ("remotes: {a: {addr: [x]}}", "addr must be a text"),
        ("remotes: {a: {addr: x, <<: 5}}", "must bring a mapping"),
        ("remotes: {? [a] : {}}", "a key must be a text"),
        ("remotes: {a: {addr: !!binary x}}", "not in base64"),
        ("[" * 50_000, "is not YAML|cannot be"),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_is_written(tmp_path: Path, text: str, reason: str) -> None:
    config = config_at(tmp_path, text)
    with pytest.raises(IncusInputError, match=reason) as caught:
        config.add(NEW)
    assert "\n" not in str(caught.value)
    assert config.file.read_bytes().decode() == text
    assert [path.name for path in tmp_path.iterdir()] == ["config.yml"]


NAMES = ("höst", "\U0001f600", "a'b\"c\\d", "~", "null", "#", "- x", "*a", "&a", "!x", "%", "@", "`", "0x1F", "y")


def test_names_of_any_script_are_written_in_both_styles(tmp_path: Path) -> None:
    for text in ("remotes: {a: {}}", "remotes:\n  a: {}\n"):
        config = config_at(tmp_path, text)
        for name in NAMES:
            config.add(Remote(name, ("https://[::1]:8443",), project=f"{name}: x"))
            assert config.remotes()[name].project == f"{name}: x"


# Names that a server proposes.


@pytest.mark.parametrize(
    ("proposed", "name"),
    [
        *((name, f"{name}-2") for name in ("docker", "images", "local", "oci", "GHCR")),
        *((name, "a-b") for name in ("a:b", "a/b", "a\nb", "a\x1bb", "a\ud800b", ".a b", "--a:b")),
        *((nothing, "incus") for nothing in ("", "...", None, 5, ["x"])),
        ("x" * 300, "x" * 63),
        *((name, name) for name in ("höst", "node1.example", "\u732b")),
    ],
)
def test_any_name_that_a_server_proposes_becomes_a_safe_one(tmp_path: Path, proposed: Any, name: str) -> None:
    config = config_at(tmp_path)
    config.add(Remote("", ("https://n:8443",)), by_name=proposed, server_cert=b"DER")
    assert set(config.remotes()) == {"images", "local", name}
    assert [path.name for path in (tmp_path / "servercerts").iterdir()] == [f"{name}.crt"]


@pytest.mark.parametrize("name", ["a\x1bb", "a\rb", "a\u2028b", "a\ud800", "<<", "x" * 101, "a\x7f"])
def test_a_name_with_more_than_a_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(IncusInputError, match="is not a name for a remote"):
        config_at(tmp_path).check_new_name(name)


def test_what_add_could_not_write_shows_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_at(tmp_path, "remotes: [")
    with pytest.raises(IncusInputError, match="is not YAML"):
        config.check_add(NEW)
    config = config_at(tmp_path, "remotes: {new: {addr: x}}")
    with pytest.raises(IncusInputError, match="already a remote new"):
        config.check_add(NEW)
    config.check_add(Remote("", ("https://n:8443",)))
    assert config.file.read_text() == "remotes: {new: {addr: x}}"
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(IncusInputError, match="is not writable"):
        config.check_add(Remote("", ("https://n:8443",)))
    monkeypatch.undo()
    (tmp_path / "servercerts").rmdir()
    (tmp_path / "servercerts").touch()
    with pytest.raises(IncusInputError, match="servercerts is not writable"):
        config.check_add(Remote("", ("https://n:8443",)))


# Who can read and write it.


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(directory: Path) -> dict[str, int]:
    return {str(each.relative_to(directory)): stat.S_IMODE(each.stat().st_mode) for each in directory.rglob("*")}


@pytest.mark.usefixtures("open_umask")
def test_nobody_else_can_write_what_is_made_whatever_the_umask(tmp_path: Path) -> None:
    config = config_at(tmp_path / ".config" / "incus")
    config.add(replace(config.new_remote("new"), addresses=NEW.addresses), server_cert=b"DER")
    write(config.directory / "oidctokens" / "new.json", "{}", 0o600)
    assert modes(tmp_path) == {
        ".config": 0o700,
        ".config/incus": 0o750,
        ".config/incus/client.crt": 0o644,
        ".config/incus/client.key": 0o600,
        ".config/incus/config.yml": 0o644,
        ".config/incus/oidctokens": 0o750,
        ".config/incus/oidctokens/new.json": 0o600,
        ".config/incus/servercerts": 0o750,
        ".config/incus/servercerts/new.crt": 0o644,
    }
    (tmp_path / "open").mkdir(0o777)
    make_directory(tmp_path / "open")
    assert modes(tmp_path)["open"] == 0o777  # somebody else's choice


@pytest.mark.parametrize("before", [0o666, 0o640, 0o600])
def test_a_secret_is_written_for_its_owner_alone_whoever_could_read_it_before(tmp_path: Path, before: int) -> None:
    for name in ("tokens.json", "config.yml"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(before)
    write(tmp_path / "tokens.json", "{}", 0o600)
    write(tmp_path / "config.yml", "{}")
    assert modes(tmp_path) == {"tokens.json": 0o600, "config.yml": before}


# What a process leaves that dies.


def test_a_key_that_was_left_alone_gets_its_certificate(tmp_path: Path) -> None:
    config = config_at(tmp_path)
    key = make_pair("x")[1]
    (tmp_path / "client.key").write_text(key)
    assert config.new_remote("").cert == config.client_cert
    assert (tmp_path / "client.key").read_text() == key
    certificate = load_pem_x509_certificate((tmp_path / "client.crt").read_bytes())
    assert certificate.public_key() == load_pem_private_key(key.encode(), None).public_key()


def test_half_a_pair_that_nobody_can_complete_stays(tmp_path: Path) -> None:
    forms = Encoding.PEM, PrivateFormat.PKCS8
    own = load_pem_private_key(make_pair("x")[1].encode(), None)
    halves = {
        "client.crt": make_pair("x")[0].encode(),
        "client.key": own.private_bytes(*forms, BestAvailableEncryption(b"secret")),
        "client.key ": rsa.generate_private_key(65537, 2048).private_bytes(*forms, NoEncryption()),
        "client.key  ": b"nothing",
    }
    for name, content in halves.items():
        half = tmp_path / name.strip()
        half.write_bytes(content)
        with pytest.raises(IncusInputError, match=r"only one of .*client\.crt and .*client\.key exists"):
            config_at(tmp_path).new_remote("")
        assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(half.name, content)]
        half.unlink()


def dies_at(step: int, work: Callable[[], object]) -> bool:
    """Whether a process that does this is gone before its step of that number that changes a file."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            changes = event in ("os.rename", "os.mkdir", "os.chmod", "os.remove", "tempfile.mkstemp") or (
                event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            )
            if changes and (left := left - 1) == 0:
                os._exit(9)

        sys.addaudithook(count)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def test_a_process_that_dies_at_any_step_leaves_nothing_that_the_next_one_stumbles_over() -> None:
    def work() -> None:
        remote = replace(config.new_remote("new"), addresses=NEW.addresses)
        config.check_add(remote)
        config.add(remote, server_cert=b"DER")

    step = 0
    died = True
    while died:
        step += 1
        with tempfile.TemporaryDirectory() as directory:
            config = config_at(Path(directory, "conf"))
            died = dies_at(step, work)
            if "new" not in config.remotes():
                work()
            new = config.remotes()["new"]
            assert new.cert == config.client_cert
            assert new.server_cert is not None
            certificate, key = (file.read_bytes() for file in config.client_cert)
            public = load_pem_private_key(key, None).public_key()
            assert load_pem_x509_certificate(certificate).public_key() == public
    assert step > 12


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e18, -1, 10**400, "x", None])
def test_whatever_time_a_provider_names_its_tokens_are_kept(seconds: Any) -> None:
    tokens = oidc._merge_tokens({}, {"access_token": "x", "expires_in": seconds})
    assert (
        datetime.now(UTC) - timedelta(1) < datetime.fromisoformat(tokens["expiry"]) < datetime(2200, 1, 1, tzinfo=UTC)
    )


def test_a_new_file_has_the_remotes_that_are_there_without_one() -> None:
    new = parse(NEW_FILE, "new")
    assert new.default_remote == "local"
    assert new.remotes == {"images": IMAGES, "local": {key: value for key, value in LOCAL.items() if value}}
