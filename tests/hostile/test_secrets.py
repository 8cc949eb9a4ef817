"""No secret is in an error, in what caused it or was known when it was raised, or in a log."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import Client, IncusError, IncusInputError
from incus_sdk._connection import wire
from incus_sdk._connection.config import ClientConfig, Remote
from incus_sdk._connection.endpoint import Endpoint
from incus_sdk._connection.scope import Scope
from incus_sdk._connection.transport import Transport
from incus_sdk.simplestreams import SimpleStreams
from tests.hostile.scripted import SECRET, Reader, Talk, Writer, answer, head, saying, serving, silent

QUERY = {"secret": SECRET}


async def _upload(scope: Scope) -> Any:
    async def pieces() -> AsyncIterator[bytes]:
        yield SECRET.encode()

    return await scope.request("POST", "/1.0/x", query=QUERY, body=pieces())


async def _download(scope: Scope) -> Any:
    async with scope.download("GET", "/1.0/x", query=QUERY) as stream:
        async for _ in stream.chunks():
            pass


async def _cancelled(scope: Scope) -> Any:
    asking = asyncio.create_task(scope.request("GET", "/1.0/x", query=QUERY, wait=True))
    await asyncio.sleep(0.05)
    await scope.transport.close()
    return await asking


WAYS: dict[str, Callable[[Scope], Any]] = {
    "a request": lambda scope: scope.request("GET", "/1.0/x", query=QUERY),
    "a change": lambda scope: scope.request("POST", "/1.0/x", query=QUERY, body={"secret": SECRET}),
    "an upload": _upload,
    "a download": _download,
    "a websocket": lambda scope: scope.websocket("/1.0/x", QUERY),
    "an upgrade": lambda scope: scope.upgrade("GET", "/1.0/x", "sftp", query=QUERY, body={"secret": SECRET}),
    "closing": _cancelled,
}
ECHO = f"/1.0/x?secret={SECRET}"


async def echoing(reader: Reader, writer: Writer) -> None:
    """Says back what it was sent, as no HTTP."""
    writer.write(await head(reader))


TALKS: dict[str, Talk] = {
    "nothing": saying(b""),
    "silence": silent,
    "an echo": echoing,
    "nonsense": saying(f"HTTP/1.1 {SECRET}\r\n\r\n".encode()),
    "half a head": saying(b"HTTP/1.1 200 OK\r\nX:"),
    "half a body": saying(answer()[:-5]),
    "a redirect": saying(answer(b"", f"Location: {ECHO}", status="302 Found")),
    "a switch": saying(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    "a long head": saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**17),
    "a large refusal": saying(b"HTTP/1.1 403 X\r\nContent-Length: 9999999\r\n\r\n"),
    "a refusal": saying(answer(b'{"type": "error", "error_code": 403, "error": "no"}', status="403 Forbidden")),
}


def without_secret(error: BaseException | None) -> None:
    assert SECRET not in "".join(traceback.format_exception(error))
    while error is not None:
        assert SECRET not in f"{error} {error!r} {error.args} {vars(error)}"
        without_secret(error.__cause__)
        error = error.__context__


@pytest.mark.parametrize("says", TALKS)
@pytest.mark.parametrize("way", WAYS)
async def test_no_error_and_no_log_holds_a_secret(way: str, says: str, caplog: pytest.LogCaptureFixture) -> None:
    if (way, says) == ("an upload", "silence"):
        return  # it takes as long as it takes
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    try:
        async with serving(TALKS[says], timeout=0.2) as (plain, _):
            transport = Transport(plain.endpoint, timeout=0.2, authorization=lambda: f"Bearer {SECRET}")
            with pytest.raises(IncusError) as caught:
                await WAYS[way](Scope(transport))
            await transport.close()
    finally:
        loop.set_debug(False)
    without_secret(caught.value)
    without_secret(pickle.loads(pickle.dumps(caught.value)))
    assert SECRET not in caplog.text
    assert SECRET not in repr(transport)


@pytest.mark.parametrize("endpoint", [Endpoint(socket="/nowhere/socket"), Endpoint(host="127.0.0.1", port=9)])
@pytest.mark.parametrize("way", [way for way in WAYS if way != "closing"])
async def test_nor_does_one_of_a_server_that_is_not_there(way: str, endpoint: Endpoint) -> None:
    import ssl

    transport = Transport(endpoint, ssl.create_default_context, 5, authorization=lambda: f"Bearer {SECRET}")
    with pytest.raises(IncusError, match=r"there is no socket|cannot be reached") as caught:
        await WAYS[way](Scope(transport))
    without_secret(caught.value)
    await transport.close()


TOKEN = base64.b64encode(
    json.dumps(
        {"client_name": "laptop", "fingerprint": "f" * 64, "addresses": ["192.0.2.1"], "secret": SECRET}
    ).encode()
).decode()


@pytest.mark.parametrize(
    "call",
    [
        lambda: Client(f"https://you:{SECRET}@incus.example:8443"),
        lambda: Client(f"you:{SECRET}@incus.example:8443"),
        lambda: Client(f"https://incus.example/?token={SECRET}"),
        lambda: Client(TOKEN),
        lambda: Client.from_remote(TOKEN),
        lambda: Client(f"https://you:{SECRET[:3]}\n{SECRET}@incus.example:8443"),
        lambda: SimpleStreams(f"https://you:{SECRET}@images.example"),
        lambda: SimpleStreams(f"https://images.example/?token={SECRET}"),
        lambda: SimpleStreams(f"http://images.example/?token={SECRET}"),
        lambda: ClientConfig().add(Remote("x", (f"http://you:{SECRET}@images.example",), protocol="simplestreams")),
        lambda: ClientConfig().add(Remote("x", (f"https://you:{SECRET}@incus.example",))),
        lambda: wire.require_quoted(f"/1.0/a b?secret={SECRET}"),
        lambda: wire.require_quoted(f"/1.0/x?secret={SECRET} \n"),
        lambda: wire.require_quoted(f"1.0/x?secret={SECRET}"),
    ],
)
def test_nor_does_the_refusal_of_what_a_caller_mistook_for_something_else(
    call: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INCUS_CONF", str(tmp_path))
    with pytest.raises(IncusInputError) as caught:
        call()
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in told.partition("IncusInputError")[2]
    assert base64.b64encode(SECRET.encode()).decode()[:6] not in told
    assert TOKEN[-20:] not in told
