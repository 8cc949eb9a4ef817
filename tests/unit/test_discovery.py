"""Where the server is: the local daemon's socket as the ``incus`` command finds it, and endpoints as written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incus_sdk import Client, IncusInputError
from incus_sdk._connection import discovery
from incus_sdk._connection.discovery import local_socket
from incus_sdk._connection.endpoint import Endpoint


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Directories in the place of /run/incus and /var/lib/incus, which do not exist yet."""
    with tempfile.TemporaryDirectory() as directory:
        run, lib = Path(directory, "run"), Path(directory, "lib")
        monkeypatch.setattr(discovery, "DIRECTORIES", (run, lib))
        yield run, lib


def put(directory: Path, *names: str) -> None:
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).touch()


def test_the_directories_are_those_of_the_command_in_its_order() -> None:
    assert [str(directory) for directory in discovery.DIRECTORIES] == ["/run/incus", "/var/lib/incus"]


@pytest.mark.parametrize(
    ("there", "found"),
    [(["run", "lib"], "run"), (["run"], "run"), (["lib"], "lib"), ([], "lib")],
    ids=["both", "run", "lib", "none"],
)
def test_the_first_socket_that_exists_is_taken(machine: tuple[Path, Path], there: list[str], found: str) -> None:
    for directory in machine:
        if directory.name in there:
            put(directory, "unix.socket")
    assert local_socket({})[:2] == (str(machine[0].parent / found / "unix.socket"), None)


def test_a_directory_without_a_socket_and_a_dangling_link(machine: tuple[Path, Path]) -> None:
    run, lib = machine
    put(run)
    put(lib, "unix.socket")
    assert local_socket({}).path == f"{lib}/unix.socket"
    (run / "unix.socket").symlink_to(run / "gone")  # a daemon that is starting: its socket is there, if not yet usable
    assert local_socket({}).path == f"{run}/unix.socket"


def test_the_environment_decides_first(machine: tuple[Path, Path]) -> None:
    put(machine[0], "unix.socket")
    assert local_socket({"INCUS_SOCKET": "/a/socket", "INCUS_DIR": "/b"})[:2] == ("/a/socket", None)
    assert local_socket({"INCUS_DIR": "/b"})[:2] == ("/b/unix.socket", None)
    assert local_socket({"INCUS_SOCKET": "", "INCUS_DIR": ""}).path == f"{machine[0]}/unix.socket"


@pytest.mark.parametrize("named", [True, False])
def test_where_the_socket_is_not_writable_the_users_own_and_its_project_are_taken(
    machine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    run, _ = machine
    put(run, "unix.socket", "unix.socket.user")
    environment = {"INCUS_DIR": str(run)} if named else {}
    writable = {f"{run}/unix.socket", f"{run}/unix.socket.user"}
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) in writable and mode == os.W_OK)
    assert local_socket(environment)[:2] == (f"{run}/unix.socket", None)
    writable.remove(f"{run}/unix.socket")
    assert local_socket(environment)[:2] == (f"{run}/unix.socket.user", f"user-{os.geteuid()}")
    writable.clear()
    assert local_socket(environment)[:2] == (f"{run}/unix.socket", None)  # whose error says which group to join


def test_a_client_without_an_endpoint_is_that_of_the_local_daemon(
    machine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INCUS_SOCKET", raising=False)
    monkeypatch.setenv("INCUS_DIR", str(machine[0]))
    put(machine[0], "unix.socket.user")
    assert repr(Client()) == f"<Client unix://{machine[0]}/unix.socket.user project='user-{os.geteuid()}'>"
    assert Client(project="dev").project == "dev"
    monkeypatch.setenv("INCUS_SOCKET", "/a/socket")
    assert repr(Client()) == "<Client unix:///a/socket>"


@pytest.mark.parametrize(
    ("written", "endpoint", "url"),
    [
        ("unix:///run/incus/unix.socket", Endpoint(socket="/run/incus/unix.socket"), "http://unix.socket"),
        ("/run/incus/unix.socket", Endpoint(socket="/run/incus/unix.socket"), "http://unix.socket"),
        ("/a dir/é?#%41", Endpoint(socket="/a dir/é?#%41"), "http://unix.socket"),
        ("https://host", Endpoint(host="host"), "https://host:8443"),
        ("https://host/", Endpoint(host="host"), "https://host:8443"),
        ("https://host:443", Endpoint(host="host", port=443), "https://host:443"),
        ("HTTPS://Host.Example:8443/", Endpoint(host="host.example"), "https://host.example:8443"),
        ("https://192.0.2.1:9443", Endpoint(host="192.0.2.1", port=9443), "https://192.0.2.1:9443"),
        ("https://[2001:db8::1]", Endpoint(host="2001:db8::1"), "https://[2001:db8::1]:8443"),
        ("https://[2001:db8::1]:443", Endpoint(host="2001:db8::1", port=443), "https://[2001:db8::1]:443"),
    ],
)
def test_an_endpoint_is_read_as_written(written: str, endpoint: Endpoint, url: str) -> None:
    assert Endpoint.parse(written) == endpoint
    assert endpoint.url == url
    assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "host",
        "host:8443",
        "unix.socket",
        "unix:",
        "unix://",
        "unix://relative/socket",
        "/a\0b",
        "http://host:8443",
        "ftp://host",
        "https://",
        "https://:8443",
        "https://host:0",
        "https://host:99999",
        "https://host:port",
        "https://host/1.0",
        "https://host?project=x",
        "https://host/?",
        "https://host#x",
        "https://user@host",
        "https://user:password@host",
        "https://ho st",
        "https://host\\@other",
        "https://ho\nst",
        "https://[2001:db8::1",
        "https://[host]",
        "https://a%2fb",
    ],
)
def test_what_is_no_endpoint_is_refused_and_says_how_to_write_one(written: str) -> None:
    with pytest.raises(IncusInputError, match=r"is not .* (endpoint|socket): write (https|unix)://") as caught:
        Endpoint.parse(written)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("written", [5, b"/run/incus/unix.socket", ["/a"], True])
def test_an_endpoint_of_another_type_is_refused(written: Any) -> None:
    with pytest.raises(IncusInputError, match="endpoint"):
        Client(written)


def test_a_path_object_is_the_path_of_a_socket() -> None:
    assert repr(Client(Path("/a/socket"))) == "<Client unix:///a/socket>"


@given(st.text() | st.text().map("https://{}".format) | st.text("ab.:[]@/?#%\\ \n0é").map("https://{}".format))
def test_any_text_is_refused_or_names_one_host_as_written(written: str) -> None:
    try:
        endpoint = Endpoint.parse(written)
    except IncusInputError:
        return
    if endpoint.socket is not None:
        assert endpoint.socket == written.removeprefix("unix://")
        return
    assert f"//{endpoint.host}" in written.lower().replace("[", "")
    assert Endpoint.parse(endpoint.url) == endpoint
