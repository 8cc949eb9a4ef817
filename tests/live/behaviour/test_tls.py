"""HTTPS to the daemon: whom it trusts, whom the client trusts, and that no secret is shown."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
import traceback
from typing import Any

import pytest

from incus_sdk import (
    Client,
    IncusCertificateError,
    IncusError,
    IncusPermissionError,
    Instance,
)
from incus_sdk.testing import Daemon
from tests.hostile.scripted import Pair, pair


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A client's certificate and key."""
    return pair(tmp_path_factory.mktemp("client"), "client")


async def connected(url: str, **options: Any) -> None:
    async with Client(url, **options):
        pass


async def test_the_daemon_knows_a_client_by_its_certificate(daemon: Daemon, clean: None) -> None:
    async with daemon.client("https") as client:
        info = await client.get_server_info()
        assert (info.auth, info.auth_user_method) == ("trusted", "tls")
        der = ssl.PEM_cert_to_DER_cert(daemon.client_cert[0].read_text())
        assert info.auth_user_name == hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize("known", ["without a certificate", "with one that the daemon does not trust"])
async def test_a_client_that_is_not_trusted_is_told_so_and_what_to_do(
    daemon: Daemon, clean: None, mine: Pair, known: str
) -> None:
    cert = None if known == "without a certificate" else mine
    async with Client(daemon.url, cert=cert, server_cert=daemon.certificate) as client:
        assert (await client.get_server_info()).auth == "untrusted"
        for attempt in (
            client.instances.list(),
            client.profiles.create("p1"),
            client.events.listen().__aenter__(),
            client.instances["c1"].exists(),
            client._scope.upgrade("GET", "/1.0/instances/c1/sftp", "sftp"),
        ):
            with pytest.raises(
                IncusPermissionError, match=r"not authorized: .* does not trust this client.* cert="
            ) as caught:
                await attempt
            assert caught.value.status_code == 403
    unconnected = Client(daemon.url, cert=cert, server_cert=daemon.certificate)
    with pytest.raises(IncusPermissionError, match=r"not authorized: perhaps the server does not trust this client.*"):
        await unconnected.instances.list()
    await unconnected.disconnect()


async def test_the_certificate_of_another_daemon_is_not_taken(daemon: Daemon, clean: None) -> None:
    async with Daemon(image=False) as second, daemon.client("https") as right:
        assert (await right.get_server_info()).environment.server_name
        with pytest.raises(IncusCertificateError, match=r"did not prove who it is.*server_cert="):
            await connected(daemon.url, cert=daemon.client_cert, server_cert=second.certificate)
        async with Client(second.url, cert=daemon.client_cert, server_cert=second.certificate.read_text()) as stranger:
            assert (await stranger.get_server_info()).auth == "untrusted"


async def test_no_secret_is_in_a_repr_a_log_or_an_error(
    daemon: Daemon, box: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    shown: list[str] = []
    try:
        async with daemon.client("https") as client:
            token = await client.certificates.create_token(box.name)
            running = await client.operations.list()
            issued = next(found for found in running if (found.metadata.get("request") or {}).get("name") == box.name)
            operation = await client.instances.execute(box.name, ["cat"], wait_for_websocket=True)
            secrets = [
                token,
                issued.metadata["secret"],
                *operation.metadata["fds"].values(),
                *daemon.client_cert[1].read_text().split("\n")[1:-2],
            ]
            stdin = await operation.websocket("0", pong=False)
            path, query = f"/1.0/operations/{operation.id}/websocket", {"secret": operation.metadata["fds"]["1"]}
            for attempt in (
                operation.websocket("none"),
                client._scope.websocket(f"{path}s", query),
                client._scope.websocket("/1.0/operations/none/websocket", query),
                client.query("GET", f"{path}?secret={query['secret']}"),
                client.query("GET", path, query={**query, "project": "none"}),
                client.query("GET", path, query=query, headers={"X": f"{query['secret']}\n"}),
                client._scope.upgrade("GET", path, "sftp", query=query),
                client.query("POST", "/1.0/certificates", body={"trust_token": token, "type": 5}),
                client.query("POST", "/1.0/certificates", body={"trust_token": token, "type": {1}}),
            ):
                with pytest.raises(IncusError) as caught:
                    await attempt
                shown += [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)]
            scope = client._scope
            things = [
                client,
                client.use_project("x"),
                scope,
                scope.transport,
                operation,
                issued,
                stdin,
                client.operations,
            ]
            shown += [repr(thing) for thing in (*things, await client.get_server_info(), operation.metadata.keys())]
            for websocket in [stdin] + [await operation.websocket(name, pong=False) for name in ("1", "2", "control")]:
                await websocket.close()
            await issued.cancel()
            await operation.wait(timeout=30)
    finally:
        asyncio.get_running_loop().set_debug(False)
    assert "websocket" in "".join(shown)
    shown.append(caplog.text)
    assert [secret for secret in secrets if any(secret in text for text in shown)] == []
