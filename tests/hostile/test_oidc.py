"""Providers of logins that lie: a refusal in the SDK's words, no secret anywhere else, and no hurry."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import traceback
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import IncusAuthenticationError, IncusConnectionError, IncusError
from incus_sdk._connection.oidc import OIDC
from tests.hostile.scripted import Reader, Server, Writer, answer, head, stop_listening

DEVICE = {"device_code": "hunter2", "user_code": "ABCD", "verification_uri": "https://x.example", "expires_in": 600}
TOKENS = {"access_token": "a.b.c", "refresh_token": "hunter3", "expires_in": 60}
DEEP = b"[" * 100_000 + b"]" * 100_000


class Provider:
    """Answers each path by a function of the provider's own address, and notes what it is asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"token": TOKENS, "device": DEVICE, **answers}
        self.asked: list[str] = []

    async def talk(self, reader: Reader, writer: Writer) -> None:
        said = await head(reader)
        target = said.split()[1].decode()
        size = int(said.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
        self.asked.append(f"{target} {(await reader.readexactly(size)).decode()}")
        name = target.rpartition("/")[2]
        own = {
            "issuer": self.url,
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
        }
        given = {"openid-configuration": own, **self.answers}[name]
        if isinstance(given, list) and given and isinstance(given[0], dict):
            given = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(given, bytes) and given.startswith(b"HTTP"):
            writer.write(given)
            while b"Content-Length" not in given:
                writer.write(bytes(2**16))
                await writer.drain()
        else:
            body = given if isinstance(given, bytes) else json.dumps(given).encode()
            writer.write(answer(body, "Connection: close", status="400 Bad" if b'"error"' in body else "200 OK"))
        await writer.drain()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[dict[str, str]]:
        server = Server(self.talk)
        listening = await asyncio.start_server(server.connected, "127.0.0.1")
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        try:
            yield {"X-Incus-OIDC-issuer": self.url, "X-Incus-OIDC-clientid": "incus"}
        finally:
            await stop_listening(listening)
            await server.stop()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", pause)
    return pauses


def secret_free(error: BaseException | None) -> bool:
    text = "".join(traceback.format_exception(error)) if error else ""
    while error:
        text += repr(error) + repr(vars(error))
        error = error.__context__
    return "hunter" not in text


SECONDS: list[Any] = [0, -1, *map(float, ("nan", "inf", "-inf", "1e18")), 10**30, "60", None, [], True]


@pytest.mark.parametrize("interval", SECONDS)
async def test_a_provider_is_asked_about_once_a_second_at_most(interval: Any, no_pauses: list[float]) -> None:
    pending = {"error": "authorization_pending"}
    provider = Provider(
        device={**DEVICE, "interval": interval}, token=[pending, pending, {"error": "slow_down"}, TOKENS]
    )
    async with provider.running() as headers:
        assert await OIDC(None, lambda *_: None).renew(headers, "Bearer none")
        assert all(1 <= pause <= 120 for pause in no_pauses)
        assert len(no_pauses) == 4


@pytest.mark.parametrize("expires", SECONDS)
async def test_tokens_are_kept_whatever_their_time(expires: Any, tmp_path: Path) -> None:
    async with Provider(token={**TOKENS, "expires_in": expires}).running() as headers:
        login = OIDC(tmp_path / "x" / "tokens", lambda *_: None)
        assert await login.renew(headers, "Bearer none")
    assert json.loads((tmp_path / "x" / "tokens").read_text())["refresh_token"] == "hunter3"


def redirect(code: str, to: str) -> bytes:
    return f"HTTP/1.1 {code} X\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


ODD = {
    "null": b"null",
    "a list": b"[]",
    "text": b"x",
    "nothing": b"",
    "deep": DEEP,
    "deep in it": b'{"x":' * 100_000,
    "other than UTF-8": b"\xff\xfe\xff",
    "odd urls": {"issuer": 5, "token_endpoint": "https://[", "device_authorization_endpoint": []},
    "endless": b"HTTP/1.1 200 OK\r\n\r\n",
    "an endless refusal": b"HTTP/1.1 400 OK\r\n\r\n",
    "no status": b"HTTP/9 Content-Length\r\n\r\n",
    "a redirect to plain http": redirect("302 Found", "http://example.com/"),
    "a redirect to a file": redirect("301 Found", "file:///etc/passwd"),
    "a redirect to ftp": redirect("303 Found", "ftp://example.com/"),
    "a redirect to nowhere": redirect("307 Found", "http://["),
    "a refusal with secrets": {"error": "x", "error_description": "hunter2 is wrong"},
    "an odd refusal": {"error": ["x"], "error_description": {"x": "hunter2"}},
    "odd tokens": {"access_token": 5, "refresh_token": []},
    "a code with control characters": {**DEVICE, "user_code": "\x1b[2J"},
    "a page that is a program": {**DEVICE, "verification_uri": "javascript:alert(1)"},
    "a page that is a file": {**DEVICE, "verification_uri_complete": "file:///etc/passwd"},
}


@pytest.mark.parametrize("where", ["openid-configuration", "device", "token"])
@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_answer_is_an_error_of_the_sdk_without_secrets(where: str, odd: str, tmp_path: Path) -> None:
    cache = tmp_path / "tokens"
    shown: list[str] = []
    provider = Provider(**{where: ODD[odd]})
    async with provider.running() as headers:
        claims = base64.urlsafe_b64encode(json.dumps({"iss": provider.url}).encode()).decode()
        cache.write_text(json.dumps({"access_token": f"a.{claims}.c", "refresh_token": "hunter3"}))
        if where == "device":
            cache.unlink()
        login = OIDC(cache, lambda url, code: shown.extend((url, code)))
        error = None
        try:
            async with asyncio.timeout(20):
                await login.renew(headers, login.authorization())
        except IncusError as raised:
            error = raised
    assert isinstance(error, IncusConnectionError | IncusAuthenticationError)
    if where == "device":
        assert not shown
    else:
        assert secret_free(error)


@pytest.mark.parametrize(
    "issuer", ["https://[", "http://example.com", "file:///x", "https://x:y", "", "https://\x01x", "https://\udcff"]
)
async def test_an_odd_issuer_is_refused(issuer: str) -> None:
    with contextlib.suppress(IncusError):
        headers = {"X-Incus-OIDC-issuer": issuer, "X-Incus-OIDC-clientid": "x"}
        assert not await OIDC(None, None).renew(headers, "Bearer none")


@pytest.mark.parametrize(
    "content", [DEEP, b"[]", b"\xff", b'{"access_token": 5, "refresh_token": 6}', b'{"access_token": "a.b"}']
)
async def test_an_odd_cache_is_as_good_as_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(content)
    async with Provider().running() as headers:
        login = OIDC(tmp_path / "tokens", lambda *_: None)
        assert await login.renew(headers, login.authorization())
    assert login.authorization() == "Bearer a.b.c"


async def test_nothing_for_this_machine_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    proxied = Provider()
    async with proxied.running():
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxied.url)
        monkeypatch.delenv("no_proxy", raising=False)
        async with Provider().running() as headers:
            assert await OIDC(None, lambda *_: None).renew(headers, "Bearer none")
    assert not proxied.asked
