"""Every reader of what a server, an instance or a file says ends with a value or an `IncusError`, whatever that is."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import json
import re
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from incus_sdk import Client, IncusConnectionError, IncusError, Instance, __main__, models, simplestreams
from incus_sdk._connection import proxies, wire
from incus_sdk._connection.config import ClientConfig
from incus_sdk._connection.endpoint import Endpoint
from incus_sdk._connection.oidc import OIDC
from incus_sdk._connection.scope import Scope
from incus_sdk._connection.tls import der, fingerprint
from incus_sdk._connection.transport import Response
from incus_sdk._content import read_form
from incus_sdk.api import _readiness
from incus_sdk.api.cluster import _read_join_token
from incus_sdk.api.nvram import NVRAMAPI
from incus_sdk.events import EventStream
from incus_sdk.files._tar import unpack
from incus_sdk.operations import Operation, _checked, _parse_progress
from incus_sdk.process import Process
from tests.hostile.scripted import answer, repeating, serving
from tests.hostile.test_odd_answers import DEEP

WORDS = re.findall(
    r"\S+",
    """
    type metadata id status status_code err resources class fds return output network addresses family
    inet scope global address processes pid expanded_devices nic eth0 expanded_config config devices
    lifecycle operation logging source name level context progress percent download_progress versions
    items ftype incus.tar.xz squashfs path sha256 incus_combined.tar.gz combined_squashfs_sha256
    20240101 arch aliases size requirements index products datatype image-downloads label timestamp
    client_name fingerprint secret hwaddr
    """,
)
TEXTS = st.sampled_from(
    [*WORDS, "", "//[", "/1.0/x", "9" * 5000, f"{'9' * 5000}% ({'9' * 400}GB/s)", "\ud800", "\0", "\x1b[2J", "10%"]
) | st.text(max_size=8)
ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | TEXTS | st.just(DEEP),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


class Saying:
    """In the place of a transport: every answer has this payload, or these bytes and headers."""

    def __init__(self, payload: Any, headers: dict[str, str] | None = None) -> None:
        self.endpoint = "nowhere"
        self.is_open, self.held, self.timeout = True, False, 30.0
        self.attaching = asyncio.Semaphore()
        self.headers = {"Content-Type": "application/json", **(headers or {})}
        self.body = payload if isinstance(payload, bytes) else dump({"type": "sync", "metadata": payload})
        self.messages: list[Any] = [self.body if isinstance(payload, bytes) else dump(payload)]

    async def pause(self, _: float) -> None:
        await asyncio.sleep(0)

    async def request(self, *_: Any, **__: Any) -> Response:
        return Response(200, self.headers, self.body)

    @contextlib.asynccontextmanager
    async def stream(self, *_: Any, **__: Any) -> AsyncGenerator[Any]:
        async def chunks() -> AsyncIterator[bytes]:
            yield self.body

        yield SimpleNamespace(status=200, headers=self.headers, chunks=chunks)

    async def wait_until_heard(self, seconds: float) -> None: ...

    def abort(self) -> None: ...

    async def websocket(self, *_: Any, **__: Any) -> Any:
        if not self.messages:
            raise IncusError("the second connection")
        return self

    async def hand_on(self, take: Callable[[Any], object], **_: Any) -> None:
        while self.messages:
            take(self.messages.pop(0))

    async def close(self) -> None:
        pass


def dump(value: Any) -> bytes:
    return json.dumps(value).encode(errors="surrogatepass")


def instance(payload: Any) -> Instance:
    return Client._view(Scope(Saying(payload))).instances["c1"]  # type: ignore[arg-type]


async def events(payload: Any) -> None:
    async with EventStream(Scope(Saying(payload))) as stream:  # type: ignore[arg-type]
        async for event in stream:
            assert str(event)
            assert repr(event)


async def form(headers: str, name: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield f"--x\r\n{name}\r\n\r\nx\r\n--x--".encode(errors="surrogatepass")

    async for _ in read_form(headers, body()):
        pass


async def users(content: bytes) -> None:
    saying = Saying(content, {"X-Incus-type": "file"})
    for user, group in (("root", None), (None, "root"), ("x", "x")):
        with contextlib.suppress(IncusError):
            await Process(Scope(saying), ("instances", "c1"), ["ls"], user=user, group=group)._resolve_user()  # type: ignore[arg-type]


def headers(text: str) -> Any:
    names = ("modified", "mode", "uid", "gid", "type")
    saying = Saying(b"", {"Content-Type": "x", "Content-Length": text, **{f"X-Incus-{name}": text for name in names}})
    return Client._view(Scope(saying)).instances["c1"].stat_files("/x")  # type: ignore[arg-type]


async def images(payload: Any) -> None:
    server = simplestreams.SimpleStreams("https://x.example")
    for whole in ({"index": {"x": payload}}, payload):
        documents = [whole, {"products": payload}, {"products": {"x": payload}}]

        async def read(_: str, documents: list[Any] = documents) -> Any:
            return json.loads(dump(documents.pop(0) if documents else payload))

        server._read_json = read  # type: ignore[method-assign, assignment]
        with contextlib.suppress(IncusError):
            await server.list()


JSON_READERS: dict[str, Callable[[Any], Any]] = {
    "an event": events,
    "the metadata of an event": lambda odd: events({"type": "operation", "metadata": odd}),
    "an operation": lambda odd: Operation(Scope(Saying(odd)), _checked(odd if isinstance(odd, dict) else {})),  # type: ignore[arg-type]
    "the wait for an operation": lambda odd: Operation(Scope(Saying(odd)), {"id": "x"}).wait(),  # type: ignore[arg-type]
    "progress": _parse_progress,
    "progress as text": lambda odd: _parse_progress({"x_progress": odd, "progress": None}),
    "the URL of an object": wire.names,
    "status": lambda odd: _readiness._check_status(instance(odd), "running"),
    "the agent": lambda odd: _readiness._check_agent(instance(odd)),
    "addresses": lambda odd: _readiness._check_address(instance(odd), "ipv4"),
    "addresses, in a state": lambda odd: _readiness._check_address(instance({"network": {"eth0": odd}}), "ipv4"),
    "addresses, of devices": lambda odd: _readiness._check_address(
        instance({"expanded_devices": {"eth0": odd}, "network": {"x": {}, "eth0": {"addresses": odd}}}), "ipv4"
    ),
    "NVRAM variables": lambda odd: NVRAMAPI(instance(odd)).list(),
    "NVRAM GUIDs": lambda odd: NVRAMAPI(instance(odd)).get_guids(),
    "a trust token": lambda odd: wire.read_token(base64.b64encode(dump(odd)).decode()),
    "a join token": lambda odd: _read_join_token(base64.b64encode(dump(odd)).decode()),
    "an index of images": images,
    "a product of images": lambda odd: images({"versions": {"20240101": {"items": odd}}, "arch": odd}),
    "a file of images": lambda odd: images({"versions": {"20240101": {"items": {"x": odd, "y": odd}}}, "arch": "x"}),
    "a time": models.base.parse_time,
    "the shape of a server": lambda odd: Client._view(Scope(Saying(odd))).get_server_info(),  # type: ignore[arg-type]
    "a file of the command's configuration": lambda odd: configuration(dump(odd)),
    "remotes": lambda odd: configuration(dump({"remotes": {"x": odd}, "default-remote": odd})),
}


def configuration(content: bytes) -> None:
    DIRECTORY[0].joinpath("config.yml").write_bytes(content)
    config = ClientConfig(DIRECTORY[0])
    for remote in config.remotes().values():
        str(remote)


BYTES_READERS: dict[str, Callable[[bytes], Any]] = {
    "an answer": lambda odd: wire.decode(200, {"Content-Type": "application/json"}, odd, "GET /1.0"),
    "a refusal": lambda odd: wire.decode(400, {"Content-Type": "text/plain"}, odd, "GET /1.0"),
    "an event": events,
    "a trust token": wire.read_token,  # type: ignore[dict-item]
    "a join token": _read_join_token,  # type: ignore[dict-item]
    "an archive": lambda odd: list(unpack(odd)),
    "a form": lambda odd: form("multipart/form-data; boundary=x", odd.decode("latin-1")),
    "users": users,
    "configuration": configuration,
    "a cache of tokens": lambda odd: (DIRECTORY[0].joinpath("t").write_bytes(odd), OIDC(DIRECTORY[0] / "t", None)),
}
TEXT_READERS: dict[str, Callable[[str], Any]] = {
    "a form's type": lambda odd: form(f"multipart/{odd}; boundary{odd}=x; boundary*0*={odd}", "x"),
    "the name of a part": lambda odd: form("multipart/x; boundary=x", f"Content-Disposition: x; name*{odd}*={odd}"),
    "a trust token": wire.read_token,
    "a join token": _read_join_token,
    "the URL of an object": wire.names,
    "a certificate": der,
    "another certificate": fingerprint,
    "an endpoint": Endpoint.parse,
    "a proxy": lambda odd: proxies._parse(odd),
    "excluded networks": lambda odd: proxies.in_networks("192.0.2.1", odd),
    "the headers of a file": headers,
    "the answer of systemctl": lambda odd: _readiness._summary(odd.split("\n")),
}

DIRECTORY: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    DIRECTORY.append(tmp_path_factory.mktemp("odd"))
    yield
    DIRECTORY.clear()


def check(readers: dict[str, Callable[[Any], Any]], odd: Any) -> None:
    async def read() -> dict[str, str]:
        wrong = {}
        for name, reader in readers.items():
            try:
                async with asyncio.timeout(20):
                    result = reader(odd)
                    if inspect.isawaitable(result):
                        result = await result
                    repr(result)
            except IncusError as error:
                if len(str(error)) > 5000:
                    wrong[name] = "a long message"
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                wrong[name] = (
                    f"{type(error).__name__}: {error!s:.200} in {where.filename.rpartition('/')[2]}:{where.lineno}"
                )
        return wrong

    wrong = asyncio.run(read())
    assert not wrong, "\n".join(f"{name}: {error}" for name, error in wrong.items())


OFTEN = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@OFTEN
@given(ODD)
@example({"type": []})
@example({"type": {}})
@example(DEEP)
@example({"processes": "5", "status_code": 103, "network": {"eth0": 5}, "expanded_devices": {"eth0": 5}})
@example({"network": {"eth0": {"addresses": [{"scope": "global", "family": [], "address": {}}]}}})
def test_json(odd: Any) -> None:
    check(JSON_READERS, odd)


@OFTEN
@given(st.binary() | st.sampled_from([b"[" * 10**5, b'{"a":' * 10**5, b"root:x:0:0\n", b"root:x:9999999999:9:::"]))
@example(b"")
@example(b"root:x:0:0:::\nroot:x:0:root\xff\0,x")
def test_bytes(odd: bytes) -> None:
    check(BYTES_READERS, odd)


@OFTEN
@given(TEXTS)
@example("*")
def test_text(odd: str) -> None:
    check(TEXT_READERS, odd)


@pytest.mark.parametrize("described", [{"api_extensions": 5}, {"environment": "x"}, {"environment": [1]}])
async def test_the_doctor_says_that_a_server_describes_itself_otherwise(described: dict[str, Any]) -> None:
    said = answer(json.dumps({"type": "sync", "metadata": {"auth": "trusted", **described}}).encode())
    async with serving(repeating(said)) as (transport, _):
        with pytest.raises(IncusConnectionError, match="this is not an Incus server"):
            await __main__._examine(str(transport.endpoint))


async def test_a_terminal_does_not_obey_what_the_doctor_says(capsys: pytest.CaptureFixture[str]) -> None:
    name, version = "\x1b[2J\r\nproblem    none", "7" * 10_000
    described = {
        "api_version": "1.0\x1b[2J", "api_extensions": [], "auth": "trusted", "auth_user_name": name,
        "environment": {"server_name": name, "server_version": version},
    }  # fmt: skip
    said = answer(json.dumps({"type": "sync", "metadata": described}).encode())
    async with serving(repeating(said)) as (transport, _):
        assert await __main__._examine(str(transport.endpoint)) == 0
    shown = capsys.readouterr().out
    assert "problem" not in [line.split()[0] for line in shown.splitlines()]
    assert shown.replace("\n", "").isprintable()
    assert len(shown) < 5000


@pytest.mark.parametrize("text", ["<html>", "a{b} 1", "a x", "# TYPE a strange", " {, =#E+{,\\\\E", "\0"])
async def test_what_is_no_metrics_is_the_servers_fault(text: str) -> None:
    saying = Saying(text.encode(), {"Content-Type": "text/plain"})
    client = Client._view(Scope(saying))  # type: ignore[arg-type]
    with pytest.raises(IncusConnectionError, match="the server sent no metrics"):
        await client.server.get_metric_families()
