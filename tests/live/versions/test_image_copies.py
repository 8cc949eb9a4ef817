"""Images copied between servers of both versions, each way in each mode, and names that lead to another server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from incus_sdk import (
    Client,
    IncusConflictError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    Progress,
    _background,
)
from incus_sdk.api import _image_copies
from incus_sdk.api.images import ImageUploadOptions
from incus_sdk.testing import Daemon
from tests.live.inside import reaching
from tests.live.made_images import sha256, split, unified
from tests.live.roots import ROOTS

MODES = ("pull", "push", "relay")
MB = 1024 * 1024
NOWHERE = "https://127.0.0.1:1"


@dataclass
class Side:
    daemon: Daemon
    client: Client

    async def holds(self) -> list[str]:
        """All that a copy can leave behind."""
        paths = ("images", "images/aliases", "projects", "instances", "operations")
        found = [await self.client.query("GET", f"/1.0/{path}", query={"all-projects": True}) for path in paths]
        running = found.pop().get("running", ())
        return sorted(itertools.chain(*found, running))


@pytest.fixture(scope="module")
async def sides() -> AsyncIterator[dict[str, Side]]:
    """A server of each version, side by side."""
    async with (
        Daemon() as old,
        Daemon(root=ROOTS["7.0.2"], beside=old) as new,
        old.client() as one,
        new.client("https") as other,
    ):
        yield {"6.0.4": Side(old, one), "7.0.2": Side(new, other)}


@pytest.fixture(params=["6.0.4 to 7.0.2", "7.0.2 to 6.0.4"])
async def way(sides: dict[str, Side], request: pytest.FixtureRequest) -> AsyncIterator[tuple[Side, Side]]:
    """From which server to which; fails the test that leaves something on one of them, be it a secret."""
    source, target = (sides[version] for version in request.param.split(" to "))
    before = [await side.holds() for side in (source, target)]
    yield source, target
    assert [await side.holds() for side in (source, target)] == before


def reachable(mode: str, way: tuple[Side, Side]) -> list[str]:
    return [way[0 if mode == "pull" else 1].daemon.address]


@pytest.mark.parametrize("files", ["one file", "two files"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_copy_is_the_same_image_with_its_names(
    way: tuple[Side, Side], mode: Any, files: str, name: str, tmp_path: Path
) -> None:
    here, there = (side.client for side in way)
    content = [unified(name)] if files == "one file" else list(split(name))
    rootfs: ImageUploadOptions = {"rootfs": content[1]} if content[1:] else {}
    image = await here.images.create(content[0], "image.tar", public=files != "one file", wait=True, **rootfs)
    body: Any = {
        "expires_at": "2041-01-02T03:04:05Z",
        "properties": {"mark": name},
        "public": image.public,
        "profiles": [],
    }
    await image.replace(body)
    await here.images.create_alias(f"{name}/1", image.fingerprint, "the first")
    told: list[Progress] = []
    profile = await there.profiles.create(name)
    copy = await here.images[image.fingerprint[:12]].copy(
        there,
        aliases=[f"{name}/2"],
        copy_aliases=True,
        mode=mode,
        addresses=[NOWHERE, *reachable(mode, way)],
        public=True,
        profiles=[name],
        progress=told.append,
    )
    assert (copy.fingerprint, copy.public, copy.type) == (sha256(*content), True, "container")
    assert (copy.properties, copy.raw["expires_at"]) == ({"mark": name}, "2041-01-02T03:04:05Z")
    assert copy.profiles == [name]
    assert sorted((alias.name, alias.description) for alias in copy.aliases) == [
        (f"{name}/1", "the first"), (f"{name}/2", "")
    ]  # fmt: skip
    written = await copy.export(tmp_path / "1", tmp_path / "2")
    assert [file.read_bytes() for file in written] == content
    if mode == "relay":
        assert (told[-1].stage, told[-1].percent) == ("relay", 100)
        assert (told[-1].processed or 0) >= image.size

    # What is there already gets the names alone.
    other = await there.images.create(unified(f"{name}o"), aliases=[f"{name}/3"], wait=True)
    again = await image.copy(there, aliases=[f"{name}/3"], reuse=True, mode=mode, addresses=[])
    assert (len(again.aliases), again.public) == (3, True)
    assert not await other.exists()
    for each in (image, copy):
        await each.delete(wait=True)
    await profile.delete()


async def test_a_copy_follows_the_name_that_it_came_by(way: tuple[Side, Side], name: str) -> None:
    here, there = (side.client for side in way)
    first, second = [await here.images.create(unified(f"{name}{n}"), public=True, wait=True) for n in (1, 2)]
    addresses = reachable("pull", way)
    with pytest.raises(IncusInputError, match="auto_update"):
        await first.copy(there, auto_update=True, addresses=addresses)
    await here.images.create_alias(name, first.fingerprint)
    copy = await first.copy(there, copy_aliases=True, auto_update=True, addresses=addresses)
    assert (copy.auto_update, copy.update_source.alias, copy.update_source.server) == (True, name, addresses[0])
    await here.images.update_alias(name, second.fingerprint)
    assert await copy.refresh_from_source() is True
    assert (await there.images.get_alias(name)).target == second.fingerprint
    await there.images.delete(second.fingerprint, wait=True)
    for image in (first, second):
        await image.delete(wait=True)


@pytest.mark.parametrize("mode", MODES)
async def test_a_copy_that_fails_leaves_nothing_and_says_why(way: tuple[Side, Side], mode: Any, name: str) -> None:
    here, there = (side.client for side in way)
    image, taken = await here.images.create(unified(name), wait=True), await there.images.get_alias("busybox")
    if mode != "relay":
        with pytest.raises(IncusOperationError, match=rf"none of {NOWHERE} can be reached .* mode='relay'"):
            await image.copy(there, mode=mode, addresses=[NOWHERE])
    for aliases in ([name, "busybox"], ["busybox"]):
        with pytest.raises(IncusConflictError, match="already exists"):
            await image.copy(there, aliases=aliases, mode=mode, addresses=reachable(mode, way))
    assert not await there.images.exists(image.fingerprint)
    assert (await taken.refresh()).target != image.fingerprint

    # So does the alias of an image that was there before.
    kept = await there.images.create(unified(name), wait=True)
    with pytest.raises(IncusConflictError):
        await image.copy(there, aliases=[name, "busybox"], mode=mode, addresses=[])
    assert (await kept.refresh()).aliases == []
    for each in (image, kept):
        await each.delete(wait=True)
    with pytest.raises(IncusNotFoundError):
        await image.copy(there, mode=mode, addresses=reachable(mode, way))


@pytest.mark.parametrize("mode", MODES)
async def test_a_copy_that_is_cancelled_leaves_nothing(way: tuple[Side, Side], mode: Any, name: str) -> None:
    here, there = (side.client for side in way)
    image = await here.images.create(unified(name) + bytes(20 * MB), wait=True)
    for moment in (0.01, 0.03, 0.06, 0.1, 0.15, 0.25):
        copying = asyncio.create_task(image.copy(there, aliases=[name], mode=mode, addresses=reachable(mode, way)))
        await asyncio.wait([copying], timeout=moment)
        if copying.done():  # this machine was faster
            await (await copying).delete(wait=True)
            break
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        assert not await there.images.exists(image.fingerprint)
        assert not await there.images.aliases.exists(name)
    await image.delete(wait=True)


@pytest.mark.parametrize("mode", ["pull", "push"])
async def test_a_copy_that_is_cancelled_as_its_secret_is_taken_back_leaves_nothing(
    way: tuple[Side, Side], mode: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = asyncio.Event()

    @contextlib.asynccontextmanager
    async def slowly(*arguments: Any) -> AsyncGenerator[Any]:
        async with _background.pending_operation(*arguments) as operation:
            yield operation
            made.set()
            await asyncio.sleep(60)

    monkeypatch.setattr(_image_copies, "pending_operation", slowly)
    here, there = (side.client for side in way)
    image = await here.images.create(unified(name), wait=True)
    copying = asyncio.create_task(image.copy(there, mode=mode, addresses=reachable(mode, way)))
    await made.wait()
    assert await there.images.exists(image.fingerprint)
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert not await there.images.exists(image.fingerprint)
    await image.delete(wait=True)


async def test_a_relay_of_100_mib_takes_flat_memory(way: tuple[Side, Side], name: str) -> None:
    here, there = (side.client for side in way)
    size = 100 * MB

    async def content() -> AsyncIterator[bytes]:
        yield unified(name)
        for _ in range(size // MB):
            yield bytes(MB)

    image = await here.images.create(content(), wait=True)
    told: list[Progress] = []
    tracemalloc.start()
    try:
        copy = await image.copy(there, mode="relay", progress=told.append)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (copy.fingerprint, copy.size) == (image.fingerprint, image.size)
    assert [update.processed for update in told] == sorted(update.processed or 0 for update in told)
    assert (told[-1].processed, told[-1].percent) == (image.size, 100)
    assert all(update.speed for update in told)
    assert peak < 20 * MB
    for each in (image, copy):
        await each.delete(wait=True)


async def test_an_image_goes_to_another_project_of_its_server(way: tuple[Side, Side], name: str) -> None:
    client = way[0].client
    await client.projects.create(name, {"features.images": True, "features.profiles": False})
    image, project = await client.images.create(unified(name), wait=True), client.use_project(name)
    copy = await image.copy(project, aliases=[name])
    assert (copy.fingerprint, copy.project) == (image.fingerprint, name)
    await image.delete(wait=True)
    back = await copy.copy(client, copy_aliases=True)
    assert (back.project, back.aliases[0].name) == ("default", name)
    with pytest.raises(IncusInputError, match="auto_update"):
        await copy.copy(client, auto_update=True)
    for each in (copy, back):
        await each.delete(wait=True)
    await client.projects.delete(name)


async def test_what_cannot_be_copied_is_refused_before_anything_is_sent() -> None:
    client = Client("/nowhere/unix.socket")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"to": client.images}, "must be a client"),
        ({"to": client, "mode": "carry"}, "mode must be"),
        ({"to": client, "aliases": "one"}, "aliases must be"),
    ]
    for options, word in refused:
        with pytest.raises(IncusInputError, match=word):
            await client.images["abc"].copy(**options)


@pytest.fixture
def remote(way: tuple[Side, Side], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The first server as a remote of a configuration of the ``incus`` command that the test has for itself."""
    daemon, conf = way[0].daemon, tmp_path / "conf"
    (conf / "servercerts").mkdir(parents=True)
    monkeypatch.setenv("INCUS_CONF", str(conf))
    (conf / "config.yml").write_text(yaml.safe_dump({"remotes": {"private": {"addr": daemon.url}}}))
    shutil.copy(daemon.certificate, conf / "servercerts" / "private.crt")
    for file in daemon.client_cert:
        shutil.copy(file, conf / file.name)
    return "private"


async def test_a_name_leads_to_what_another_server_keeps_private(
    way: tuple[Side, Side], remote: str, name: str
) -> None:
    here, there = (side.client for side in way)
    metadata, rootfs = split(name)
    image = await here.images.create(metadata, rootfs=rootfs, aliases=[name], wait=True)
    async with reaching(way[1].daemon, way[0].daemon):
        async with there.instances.temporary(f"{remote}:{name}") as box:
            assert await box.path("/mark").read_text() == name
        await there.images.delete(image.fingerprint, wait=True)
        copy = await there.images.create_from(f"{remote}:{image.fingerprint[:12]}")
        assert (copy.fingerprint, copy.public) == (image.fingerprint, False)
        await image.update({"public": True})
        assert "secret" not in await there.images.resolve(f"{remote}:{name}")
        with pytest.raises(IncusNotFoundError):
            await there.images.resolve(f"{remote}:nothing")
    for each in (image, copy):
        await each.delete(wait=True)
