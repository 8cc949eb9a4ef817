"""Images of instances and snapshots on each version of Incus, and what becomes of their aliases and of what ran."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusConflictError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusOperationError,
    Instance,
    Progress,
    models,
)
from incus_sdk.api import _creation, _image_aliases
from tests.live.made_images import unified


async def test_an_instance_and_a_snapshot_become_images_with_what_was_asked_for(client: Client, box: Instance) -> None:
    await box.path("/root/mark").write_text("1")
    snapshot, told = await box.snapshots.create("s1"), list[Progress]()
    await box.path("/root/mark").write_text("2")
    options: Any = {
        "properties": {"release": "1"},
        "public": True,
        "expires_at": "2040-01-02T03:04:05Z",
        "compression_algorithm": "none",
        "progress": told.append,
    }
    with pytest.raises(IncusInputError, match=f"{box.name} is Running: stop it first, or publish it with force=True"):
        await box.publish()
    first = await snapshot.publish(aliases=[f"{box.name}/1"], **options)
    await box.stop(force=True, wait=True)
    second = await client.instances.publish(box.name, aliases=[f"{box.name}/2", f"{box.name}/new"], **options)
    assert all(update.text for update in told)
    for image, mark in ((first, "1"), (second, "2")):
        assert (image.properties["release"], image.public, image.type) == ("1", True, "container")
        assert image.raw["expires_at"].startswith("2040-01-02")
        async with client.instances.temporary(f"{box.name}/{mark}") as copy:
            assert await copy.path("/root/mark").read_text() == mark
    assert sorted(alias.name for alias in second.aliases) == [f"{box.name}/2", f"{box.name}/new"]
    for image in (first, second):
        await image.delete(wait=True)


def _cancel() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


@pytest.fixture
async def source(client: Client, name: str) -> AsyncIterator[Instance]:
    """A stopped instance."""
    source = await client.instances.create(name, "busybox", wait=True)
    yield source
    await source.delete(wait=True)


MAKERS: dict[str, Callable[..., Awaitable[Any]]] = {
    "publish": lambda client, source, aliases, **options: source.publish(aliases=aliases, **options),
    "create": lambda client, source, aliases, **options: client.images.create(
        unified(source.name), wait=True, aliases=aliases, **options
    ),
    "create_from": lambda client, source, aliases, **options: client.images.create_from(
        source={"type": "instance", "name": source.name}, aliases=[{"name": name} for name in aliases], **options
    ),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
async def test_a_new_image_takes_over_aliases_and_what_has_none_left_is_deleted(
    client: Client, source: Instance, name: str, make: Callable[..., Awaitable[Any]]
) -> None:
    old, both = [await client.images.create(unified(f"{name}{number}"), wait=True) for number in range(2)]
    await client.images.create_alias(f"{name}/old", old.fingerprint, "described")
    for alias in ("both", "kept"):
        await client.images.create_alias(f"{name}/{alias}", both.fingerprint)
    aliases = [f"{name}/{alias}" for alias in ("old", "both", "new")]
    with pytest.raises(IncusConflictError, match=r"already exists.*reuse=True"):
        await make(client, source, aliases)
    assert (await client.images.get(f"{name}/old")).fingerprint == old.fingerprint
    assert not await client.images.exists(f"{name}/new")

    image = await make(client, source, aliases, reuse=True)
    assert sorted(alias.name for alias in image.aliases) == sorted(aliases)
    assert (await client.images.aliases.get(f"{name}/old")).description == "described"
    assert not await old.exists()
    assert [alias.name for alias in (await both.refresh()).aliases] == [f"{name}/kept"]
    for each in (image, both):
        await each.delete(wait=True)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("end", ["cancelled", "failed"])
async def test_an_image_that_does_not_get_its_aliases_leaves_them_where_they_led(
    client: Client, source: Instance, name: str, make: Any, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {image.fingerprint for image in await client.images.list()}
    old = await client.images.create(unified(f"{name}old"), aliases=[name], wait=True)

    async def give(*arguments: Any) -> Any:
        await give_aliases(*arguments)
        assert (await client.images.get(name)).fingerprint != old.fingerprint
        if end == "failed":
            raise IncusError("no")
        _cancel()
        await asyncio.sleep(0)

    give_aliases = _image_aliases.give_aliases
    monkeypatch.setattr("incus_sdk.api.images.give_aliases", give)
    with pytest.raises(IncusError if end == "failed" else asyncio.CancelledError):
        await asyncio.create_task(make(client, source, [name, f"{name}/new"], reuse=True))
    assert (await client.images.aliases.get(name)).target == old.fingerprint
    assert not await client.images.exists(f"{name}/new")
    await old.delete(wait=True)
    assert {image.fingerprint for image in await client.images.list()} == images


@pytest.mark.parametrize("ephemeral", [False, True])
@pytest.mark.parametrize("verb", ["publish", "rebuild"])
async def test_what_runs_is_stopped_for_it_and_started_again(
    client: Client, name: str, verb: str, ephemeral: bool
) -> None:
    box = await client.instances.launch("busybox", name, ephemeral=ephemeral)
    await box.path("/root/mark").write_text("1")
    assert (await box.run(["touch", "/tmp/here"])).returncode == 0
    before = (await box.get_state()).pid
    if verb == "publish":
        image = await box.publish(force=True, compression_algorithm="none")
        assert image.type == "container"
        await image.delete(wait=True)
    else:
        await box.rebuild("busybox", force=True)
        assert not await box.path("/root/mark").exists()
    assert (box.status, box.ephemeral) == ("Running", ephemeral), "the object shows what the server has"
    assert (await box.get_state()).pid != before
    with pytest.raises(IncusNotFoundError):
        await box.rebuild("no-such-image", force=True)
    assert (await box.get_state()).pid != 0
    if verb == "publish":
        with pytest.raises(IncusConflictError):
            await box.publish(aliases=["busybox"], force=True)
    await box.delete(wait=True, force=True)


@pytest.mark.parametrize("end", ["cancelled", "failed"])
async def test_what_ran_is_started_again_if_no_image_comes_of_it(
    client: Client, name: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {image.fingerprint for image in await client.images.list()}
    box = await client.instances.launch("busybox", name, ephemeral=True)
    if end == "failed":
        with pytest.raises(IncusOperationError):
            await box.publish(force=True, compression_algorithm="nonsense")
    else:
        create_named = _creation.create_named

        async def create(*arguments: Any, **options: Any) -> Any:
            assert (await client.instances.get(name)).status == "Stopped"
            _cancel()
            return await create_named(*arguments, **options)

        monkeypatch.setattr("incus_sdk.api.images.create_named", create)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(box.publish(force=True, aliases=[name], compression_algorithm="none"))
    assert ((await box.refresh()).status, box.ephemeral) == ("Running", True)
    assert {image.fingerprint for image in await client.images.list()} == images
    assert not await client.images.exists(name)
    await box.delete(wait=True, force=True)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda client: client.instances["a"].publish(alias=["x"]), "did you mean 'aliases'"),
        (lambda client: client.instances["a"].publish(force=True, aliases="x"), "aliases must be a list of str"),
        (lambda client: client.instances.publish("a", compression="xz"), "did you mean 'compression_algorithm'"),
        (lambda client: client.instances["a"].snapshots["s"].publish(force=True), "has no option 'force'"),
        (lambda client: client.images.create(b"", aliases=["x"], reuse=True), "reuse.*wait=True"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_sent(call: Any, word: str) -> None:
    with pytest.raises(IncusInputError, match=word):
        await call(Client("/nowhere/unix.socket"))


async def test_a_published_image_has_the_profiles_that_were_asked_for(
    client: Client, source: Instance, name: str
) -> None:
    profile = await client.profiles.create(f"{name}p")
    asked: models.ImagesPostSource = {"type": "instance", "name": source.name}
    for by_the_instance in (True, False):
        profiles = [profile.name]
        if by_the_instance:
            image = await source.publish(profiles=profiles)
        else:
            image = await client.images.create_from(source=asked, profiles=profiles)
        assert (image.profiles, (await client.images.get(image.fingerprint)).profiles) == (profiles, profiles)
        await image.delete(wait=True)
    before = {image.fingerprint for image in await client.images.list()}
    with pytest.raises(IncusAPIError, match="'nope' doesn't exist"):
        await source.publish(profiles=["nope"])
    with pytest.raises(IncusInputError, match="profiles must be a list"):
        await source.publish(profiles="nope")
    assert {image.fingerprint for image in await client.images.list()} == before
    await profile.delete()
