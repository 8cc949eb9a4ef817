"""The real ``incus`` command takes the fake for a server: over its socket, and as a remote over HTTPS."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from incus_sdk.testing import Fake

pytestmark = pytest.mark.skipif(shutil.which("incus") is None, reason="the incus command is not installed")

Incus = Callable[..., Awaitable[str]]


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    async with Fake() as fake:
        fake.on_exec(["uname", "-a"], stdout="Linux fake\n")
        yield fake


@pytest.fixture(params=["unix", "https"])
async def incus(fake: Fake, tmp_path: Path, request: pytest.FixtureRequest) -> Incus:
    """Runs the command against the fake; returns its output, and raises for another exit code than ``code``."""
    environment = {**os.environ, "INCUS_CONF": str(tmp_path), "HOME": str(tmp_path)}
    if request.param == "unix":
        environment["INCUS_SOCKET"] = str(fake.socket)
    else:
        for source, name in zip(fake.client_cert, ("client.crt", "client.key"), strict=True):
            shutil.copy(source, tmp_path / name)
        (tmp_path / "servercerts").mkdir()
        shutil.copy(fake.certificate, tmp_path / "servercerts" / "fake.crt")
        remote = f"  fake:\n    addr: {fake.url}\n    auth_type: tls\n    protocol: incus\n    public: false\n"
        (tmp_path / "config.yml").write_text(f"default-remote: fake\nremotes:\n{remote}")

    async def run(*args: str, input: bytes = b"", code: int = 0) -> str:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "incus", *args, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        )
        out, error = await process.communicate(input)
        assert process.returncode == code, f"incus {' '.join(args)}: {error.decode()}"
        return out.decode()

    return run


async def test_it_lists_launches_runs_pushes_snapshots_and_deletes(fake: Fake, incus: Incus, tmp_path: Path) -> None:
    assert await incus("list", "-f", "csv") == ""
    await incus("launch", "busybox", "c1", "-c", "user.a=b", input=b"{}")
    assert await incus("list", "-f", "csv", "-c", "nst") == "c1,RUNNING,CONTAINER\n"
    assert await incus("exec", "c1", "--", "uname", "-a") == "Linux fake\n"
    assert await incus("exec", "c1", "--", "cat", input=b"typed") == "typed"
    await incus("exec", "c1", "--", "sh", "-c", "exit 3", code=3)
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "file").write_text("content")
    await incus("file", "push", "--recursive", str(tmp_path / "tree"), "c1/srv")
    assert fake.instance("c1").files["/srv/tree/below/file"] == b"content"
    assert await incus("file", "pull", "c1/srv/tree/below/file", "-") == "content"
    await incus("snapshot", "create", "c1", "s0")
    del fake.instance("c1").files["/srv/tree"]
    await incus("snapshot", "restore", "c1", "s0")
    assert await incus("file", "pull", "c1/srv/tree/below/file", "-") == "content"
    await incus("config", "set", "c1", "user.a=c")
    assert await incus("config", "get", "c1", "user.a") == "c\n"
    await incus("copy", "c1/s0", "c2")
    await incus("stop", "c1")
    await incus("move", "c1", "c3")
    await incus("publish", "c3", "--alias", "mine")
    assert sorted((await incus("image", "list", "-f", "csv", "-c", "l")).split()) == ["busybox", "mine"]
    await incus("delete", "c2", "c3")
    assert await incus("list", "-f", "csv") == ""


async def test_it_sees_what_went_wrong(fake: Fake, incus: Incus) -> None:
    await incus("info", "nope", code=1)
    fake.on_request("GET", "/1.0/profiles", status=500, error="database is locked", times=1)
    await incus("profile", "list", code=1)
    assert "default" in await incus("profile", "list", "-f", "csv")
    fake.requests.assert_made("GET", "/1.0/profiles", times=2)
