"""Images on each version of Incus: every way in, every way out, and what names them."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from incus_sdk import (
    Client,
    F,
    IncusAPIError,
    IncusConflictError,
    IncusConnectionError,
    IncusInputError,
    IncusNotFoundError,
    IncusNotLoadedError,
    IncusOperationError,
    IncusUnsupportedError,
    Instance,
    Progress,
    models,
)
from incus_sdk.api.images import Image
from incus_sdk.testing import Daemon
from incus_sdk.testing._image import busybox_image
from tests.live.inside import reaching, serving
from tests.live.made_images import sha256, split, tar, unified


@pytest.fixture(scope="session")
async def other(daemon: Daemon) -> AsyncIterator[Daemon]:
    """Another server, of the machine's own version, which shares nothing with the first."""
    async with Daemon() as other:
        yield other


@pytest.fixture
def stranger(daemon: Daemon, client: Client) -> Client:
    """A client that the daemon does not trust."""
    return Client(daemon.url, server_cert=daemon.certificate)


async def test_an_image_in_one_file_comes_back_as_it_went(client: Client, name: str, tmp_path: Path) -> None:
    content = unified(name) + bytes(3_000_000)
    (tmp_path / "in").write_bytes(content)
    told: list[Progress] = []
    profile = await client.profiles.create(name)
    image = await client.images.create(
        tmp_path / "in",
        "image.tar",
        public=True,
        properties={"release": "é&=1"},
        aliases=[name, f"{name}/2"],
        profiles=[name],
        fingerprint=sha256(content),
        progress=told.append,
        wait=True,
    )
    assert (image.fingerprint, image.filename, image.public, image.type, image.size) == (
        sha256(content), "image.tar", True, "container", len(content)
    )  # fmt: skip
    assert image.properties == {"os": name, "release": "é&=1"}
    assert name in image.profiles  # Incus 7 adds its own default to them
    assert {alias.name for alias in image.aliases} == {name, f"{name}/2"}
    assert [update.processed for update in told] == sorted({update.processed or 0 for update in told})
    assert (told[-1].stage, told[-1].percent, told[-1].processed) == ("upload", 100, len(content))

    told.clear()
    assert await client.images.export(image.fingerprint[:12], tmp_path / "out", progress=told.append) == [
        tmp_path / "out"
    ]
    assert (tmp_path / "out").read_bytes() == content
    assert (told[-1].stage, told[-1].percent, told[-1].processed) == ("download", 100, len(content))
    with pytest.raises(IncusOperationError, match="already exists"):
        await client.images.create(content, wait=True)
    await image.delete(wait=True)
    await profile.delete()

    with pytest.raises(IncusOperationError, match="fingerprint"):
        await client.images.create(content, fingerprint="0" * 64, wait=True)
    assert not await client.images.exists(sha256(content))


@pytest.mark.parametrize("kind", ["container", "virtual-machine"])
async def test_an_image_in_two_files_comes_back_as_it_went(
    client: Client, name: str, tmp_path: Path, kind: Any
) -> None:
    metadata, rootfs = tar({"metadata.yaml": b"architecture: x86_64\ncreation_date: 1\n"}), name.encode() * 1_000_000

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(rootfs), 70_000):
            yield rootfs[start : start + 70_000]

    image = await client.images.create(metadata, "disk", rootfs=pieces(), type=kind, wait=True)
    assert (image.fingerprint, image.type, image.filename) == (sha256(metadata, rootfs), kind, "disk")
    assert image.size == len(metadata) + len(rootfs)

    with pytest.raises(IncusInputError, match="two files"):
        await image.export(tmp_path / "one")
    assert await image.export(tmp_path / "meta", tmp_path / "root") == [tmp_path / "meta", tmp_path / "root"]
    assert ((tmp_path / "meta").read_bytes(), (tmp_path / "root").read_bytes()) == (metadata, rootfs)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["meta", "root"]
    await image.delete(wait=True)


async def test_a_box_starts_from_an_image_in_two_files(client: Client) -> None:
    metadata, rootfs = split("split")
    image = await client.images.create(gzip.compress(metadata), rootfs=rootfs, wait=True)
    async with client.instances.temporary(image.fingerprint) as box:
        assert await box.path("/mark").read_text() == "split"
    await image.delete(wait=True)


async def test_a_box_starts_from_an_image_in_a_folder(client: Client, name: str, tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(busybox_image())) as archive:
        archive.extractall(tmp_path, filter="fully_trusted")
    (tmp_path / "rootfs" / "mark").write_text("folder")
    os.chown(tmp_path / "rootfs" / "mark", 7, 8)
    os.setxattr(tmp_path / "rootfs" / "mark", "user.of", b"the folder")
    (tmp_path / "beside").write_text("not of the image")
    told = list[Progress]()
    image = await client.images.create(str(tmp_path), aliases=[name], wait=True, progress=told.append)
    assert (image.type, told[-1].processed) == ("container", image.size)
    async with client.instances.temporary(name) as box:
        found = await box.path("/mark").stat()
        assert (await box.path("/mark").read_text(), found.uid, found.gid) == ("folder", 7, 8)
    await image.delete(wait=True)
    (tmp_path / "rootfs").rename(tmp_path / "root")
    with pytest.raises(IncusInputError, match="is not an image: it has no rootfs"):
        await client.images.create(tmp_path)


async def test_what_comes_damaged_leaves_no_file(client: Client, daemon: Daemon, name: str, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"before")
    one = await client.images.create(unified(name), wait=True)
    two = await client.images.create(unified(name), rootfs=b"root" * 100_000, wait=True)
    for image, file in ((one, one.fingerprint), (two, f"{two.fingerprint}.rootfs")):
        stored = daemon.directory / "images" / file
        stored.write_bytes(stored.read_bytes()[:-1] + b"X")
        with pytest.raises(IncusConnectionError, match=f"{image.fingerprint} came with another hash"):
            await image.export(tmp_path / "kept", tmp_path / "new")
        await image.delete(wait=True)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("kept", b"before")]


async def test_an_instance_and_a_snapshot_are_published(client: Client, box: Instance, tmp_path: Path) -> None:
    await box.path("/root/mark").write_text("1")
    await box.snapshots.create("s0")
    await box.path("/root/mark").write_text("2")
    await box.stop(force=True, wait=True)
    told: list[Progress] = []
    sources: list[tuple[models.ImagesPostSource, str]] = [
        ({"type": "instance", "name": box.name}, "2"), ({"type": "snapshot", "name": f"{box.name}/s0"}, "1")
    ]  # fmt: skip
    for source, mark in sources:
        image = await client.images.create_from(
            source=source,
            aliases=[{"name": f"{box.name}-{mark}", "description": "published"}],
            properties={"mark": mark},
            public=True,
            compression_algorithm="gzip",
            expires_at="2040-01-02T03:04:05Z",
            progress=told.append,
        )
        assert (image.properties["mark"], image.public, image.type) == (mark, True, "container")
        assert image.expires_at is not None
        assert image.expires_at.year == 2040
        async with client.instances.temporary(f"{box.name}-{mark}") as copy:
            assert await copy.path("/root/mark").read_text() == mark
        await client.images.delete(image.fingerprint, wait=True)
    assert all(update.text for update in told)

    with pytest.raises(IncusOperationError, match="Instance not found"):
        await client.images.create_from(source={"type": "instance", "name": "nothing"})
    with pytest.raises(IncusInputError, match="source"):
        await client.images.create_from(public=True)
    publication = client.images.create_from(source={"type": "instance", "name": box.name}, format="split")
    if "instance_publish_split" not in (await client.get_server_info()).api_extensions:
        with pytest.raises(IncusUnsupportedError, match="instance_publish_split"):
            await publication
    else:
        image = await publication
        metadata, rootfs = await image.export(tmp_path / "meta", tmp_path / "root")
        assert sha256(metadata.read_bytes(), rootfs.read_bytes()) == image.fingerprint
        await image.delete(wait=True)


async def test_an_image_comes_from_a_url(client: Client, daemon: Daemon, name: str) -> None:
    content, told = unified(name) + bytes(5_000_000), list[Progress]()
    seen = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/":
            return web.Response(headers=headers)
        response = web.StreamResponse(headers={"Content-Length": str(len(content))})
        await response.prepare(request)
        await response.write(content[:4_000_000])
        await seen.wait()  # the server tells of it once a second, or once it is over
        await response.write(content[4_000_000:])
        return response

    def progress(update: Progress) -> None:
        told.append(update)
        seen.set()

    async with serving(daemon, answer) as url:
        headers = {"Incus-Image-URL": f"{url}/file", "Incus-Image-Hash": sha256(content)}
        source: models.ImagesPostSource = {"type": "url", "url": url}
        image = await client.images.create_from(source=source, properties={"a": "b"}, progress=progress)
        assert (image.fingerprint, image.properties) == (sha256(content), {"os": name, "a": "b"})
        assert 0 < (told[0].percent or 0) < 100
        await image.delete(wait=True)
        headers["Incus-Image-Hash"] = "0" * 64
        with pytest.raises(IncusOperationError, match="Hash mismatch"):
            await client.images.create_from(source=source)


async def test_a_caller_who_gives_up_ends_the_download(client: Client, daemon: Daemon, name: str) -> None:
    asked, over = asyncio.Event(), asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/":
            return web.Response(headers={"Incus-Image-URL": f"{url}/file", "Incus-Image-Hash": "0" * 64})
        response = web.StreamResponse()
        await response.prepare(request)
        asked.set()
        await over.wait()
        return response

    def progress(_: Progress) -> None: ...

    async with serving(daemon, answer) as url:
        creating = asyncio.create_task(client.images.create_from(source={"type": "url", "url": url}, progress=progress))
        await asked.wait()
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        async with asyncio.timeout(60):
            while [each for each in await client.operations.list() if each.status == "Running"]:
                await asyncio.sleep(0.1)
        over.set()


async def test_an_image_is_copied_from_another_server_and_refreshed_from_there(
    client: Client, daemon: Daemon, other: Daemon, name: str
) -> None:
    async with other.client() as there, reaching(daemon, other) as url:
        first, second = [await there.images.create(unified(f"{name}-{n}"), public=True, wait=True) for n in (1, 2)]
        await there.images.create_alias(name, first.fingerprint)
        where: models.ImagesPostSource = {
            "type": "image", "server": url, "protocol": "incus", "certificate": other.certificate.read_text()
        }  # fmt: skip
        copy = await client.images.create_from(
            source={**where, "alias": name}, aliases=[{"name": name}], auto_update=True
        )
        assert (copy.fingerprint, copy.update_source.server, copy.update_source.alias) == (first.fingerprint, url, name)
        assert await copy.refresh_from_source() is False
        await there.images.update_alias(name, second.fingerprint)
        assert await client.images[copy.fingerprint[:20]].refresh_from_source() is True
        assert (await client.images.get_alias(name)).target == second.fingerprint
        assert not await copy.exists()
        await client.images.delete(second.fingerprint, wait=True)
        with pytest.raises(IncusOperationError, match="not found"):
            await client.images.create_from(source={**where, "alias": "nothing"})

        # What is not public is opened by a secret.
        await second.update({"public": False})
        with pytest.raises(IncusOperationError, match="not found"):
            await client.images.create_from(source={**where, "fingerprint": second.fingerprint})
        secret = await second.create_secret()
        copy = await client.images.create_from(source={**where, "fingerprint": second.fingerprint, "secret": secret})
        assert copy.fingerprint == second.fingerprint
        with pytest.raises(IncusOperationError):
            await copy.refresh_from_source()
        for image in (copy, first, second):
            await image.delete(wait=True)


async def test_an_image_is_pushed_to_another_server(client: Client, daemon: Daemon, other: Daemon, name: str) -> None:
    async with other.client() as there, reaching(daemon, other) as url:
        certificate = other.certificate.read_text()
        image = await client.images.create(unified(name), wait=True)
        await there.projects.create(name, {"features.images": True, "features.profiles": False})
        profile, elsewhere = await there.profiles.create(name), there.use_project(name)
        secret = await elsewhere.images.create_push_secret(
            image.fingerprint, aliases=[{"name": name, "description": "d"}], properties={"a": "b"}, public=True
        )
        await client.images[image.fingerprint[:12]].push(
            url, secret, certificate=certificate, project=name, profiles=[name]
        )
        pushed = await elsewhere.images.get(image.fingerprint)
        assert (pushed.properties, pushed.public, pushed.aliases[0].name) == ({"a": "b"}, True, name)
        assert pushed.profiles == [name]
        assert not await there.images.exists(image.fingerprint)
        with pytest.raises(IncusOperationError):
            await image.push(url, "0" * 64, certificate=certificate)
        assert not await there.images.exists(image.fingerprint)
        await pushed.delete(wait=True)
        await there.projects.delete(name)
        await profile.delete()
        await image.delete(wait=True)


async def test_a_stranger_gets_what_is_public_or_what_a_secret_opens_and_no_more(
    client: Client, stranger: Client, name: str, tmp_path: Path
) -> None:
    public, private = [await client.images.create(unified(f"{name}{n}"), public=n == 1, wait=True) for n in (1, 2)]
    async with stranger:
        assert [image.fingerprint for image in await stranger.images.list()] == [public.fingerprint]
        assert [image.fingerprint for image in await stranger.images.list(0)] == [public.fingerprint]
        await stranger.images.export(public.fingerprint, tmp_path / "public")
        for call in (stranger.images.get, lambda name: stranger.images.export(name, tmp_path / "private")):
            with pytest.raises(IncusNotFoundError):
                await call(private.fingerprint)
        secret = await private.create_secret()
        assert (await stranger.images.get(private.fingerprint[:12], secret=secret)).properties == {"os": f"{name}2"}
        await stranger.images.export(private.fingerprint, tmp_path / "private", secret=secret)
        assert (tmp_path / "private").read_bytes() == unified(f"{name}2")
        with pytest.raises(IncusNotFoundError) as caught:
            await stranger.images.get(private.fingerprint, secret="wrong" + secret)
        assert secret not in repr(caught.value) + str(caught.value)
    for image in (public, private):
        await image.delete(wait=True)


async def test_images_are_listed_filtered_and_found_in_all_projects(client: Client, name: str) -> None:
    await client.projects.create(name, {"features.images": True, "features.profiles": False})
    project = client.use_project(name)
    image = await project.images.create(unified(name), properties={"mark": name}, wait=True)
    marked = F("properties.mark") == name
    assert [found.fingerprint for found in await project.images.list(filter=marked)] == [image.fingerprint]
    assert await client.images.list(filter=marked) == []
    for recursion in (0, 1):
        found = await client.images.list(recursion, filter=marked, all_projects=True)
        assert [(each.fingerprint, each.project) for each in found] == [(image.fingerprint, name)]
        await found[0].update({"properties": {"seen": str(recursion)}})
    assert (await image.refresh()).properties == {"os": name, "mark": name, "seen": "1"}
    assert [each.fingerprint for each in await client.images.list(0, project=name)] == [image.fingerprint]
    await image.delete(wait=True)
    await client.projects.delete(name)


@pytest.mark.parametrize("kind", ["alias", "beginning", "fingerprint"])
async def test_each_verb_takes_each_name_of_an_image(client: Client, name: str, kind: str, tmp_path: Path) -> None:
    image, images = await client.images.create(unified(name), wait=True), client.images
    alias = await images.create_alias(f"{name}/é%9", image.fingerprint)
    called = {"alias": alias.name, "beginning": image.fingerprint[:12], "fingerprint": image.fingerprint}[kind]
    assert await images.exists(called)
    assert (await images.get(called)).fingerprint == image.fingerprint
    await images.update(called, {"properties": {"a": "1"}})
    await images.patch(called, {"public": True})
    assert ((await images.get(called)).properties["a"], (await images.get(called)).public) == ("1", True)
    await images.replace(called, {"properties": {"b": "2"}})
    async with images[called].editing() as draft:
        draft.properties["c"] = "3"
    handle = images[called]
    if kind != "fingerprint":
        with pytest.raises(IncusNotLoadedError, match="refresh"):
            _ = handle.fingerprint
    assert (await handle.refresh()).properties == {"b": "2", "c": "3"}
    assert await images[called].exists()
    assert await images[called].create_secret()
    assert await images[called].export(tmp_path / "one") == await images.export(called, tmp_path / "one")
    assert sha256((tmp_path / "one").read_bytes()) == image.fingerprint
    with pytest.raises(IncusOperationError):  # it came from no server
        await images[called].refresh_from_source()
    await client.projects.create(name, {"features.images": True, "features.profiles": False})
    copy = await images[called].copy(client.use_project(name))
    assert copy.fingerprint == image.fingerprint
    await copy.delete(wait=True)
    await client.projects.delete(name)
    await images.delete(called, wait=True)
    assert not await images.exists(called)
    with pytest.raises(IncusNotFoundError):
        await images.get(called)


async def test_an_alias_goes_before_the_beginning_of_a_fingerprint(client: Client, name: str) -> None:
    first, second = [await client.images.create(unified(f"{name}{number}"), wait=True) for number in range(2)]
    await client.images.create_alias(first.fingerprint[:12], second.fingerprint)
    assert (await client.images.get(first.fingerprint[:12])).fingerprint == second.fingerprint
    assert (await client.images.get(first.fingerprint[:13])).fingerprint == first.fingerprint
    for image in (first, second):
        await image.delete(wait=True)


async def test_a_name_that_means_no_image_or_two_is_refused(client: Client, name: str) -> None:
    made: dict[str, Image] = {}  # by the first digit: one of 17 begins as another does
    while True:
        image = await client.images.create(unified(f"{name}{len(made)}"), wait=True)
        if image.fingerprint[0] in made:
            break
        made[image.fingerprint[0]] = image
    digit = image.fingerprint[0]
    for call in (client.images.get, client.images.delete, client.images.exists, client.images.resolve):
        with pytest.raises(IncusAPIError, match=f"more than one image has a fingerprint that begins with '{digit}'"):
            await call(digit)
    for wildcard in ("%", "_" * 64, "nothing"):  # of the server's database
        assert not await client.images.exists(wildcard)
        with pytest.raises(IncusNotFoundError, match="neither by alias nor by fingerprint"):
            await client.images.delete(wildcard)
    for each in (image, *made.values()):
        await each.delete(wait=True)


async def test_an_image_is_changed_by_each_verb(client: Client, name: str) -> None:
    image = await client.images.create(unified(name), properties={"a": "1", "b": "2"}, wait=True)
    await client.images.update(image.fingerprint, {"properties": {"a": None, "c": "3"}, "public": True})
    assert (await image.refresh()).properties == {"os": name, "b": "2", "c": "3"}
    await image.patch({"properties": {"d": "4"}})
    assert (await image.refresh()).public is True
    assert image.properties["d"] == "4"
    etag = image.etag
    body: dict[str, Any] = {"properties": {"only": "one"}, "public": False, "profiles": ["default"]}
    await client.images.replace(image.fingerprint, {**body, "expires_at": "2041-01-01T00:00:00Z"}, etag)
    assert ((await image.refresh()).properties, image.public) == ({"only": "one"}, False)
    assert json.loads(json.dumps(image.raw))["expires_at"].startswith("2041-01-01")
    with pytest.raises(IncusAPIError, match="ETag"):
        await image.replace(body, etag)
    async with image.editing() as edited:
        edited.properties["more"] = "1"
    assert (await image.refresh()).properties == {"only": "one", "more": "1"}
    await client.images.delete(image.fingerprint, wait=True)
    assert not await image.exists()
    with pytest.raises(IncusNotFoundError):
        await client.images.get(image.fingerprint)


@pytest.mark.parametrize("kind", ["plain", "debian/13", "a%2Fb#c;é=%9"])
async def test_an_alias_of_any_name_is_changed_by_each_verb(client: Client, name: str, kind: str) -> None:
    image = await client.images.create(unified(name), wait=True)
    called, target = f"{name}-{kind}", (await client.images.get_alias("busybox")).target
    aliases = client.images.aliases
    alias = await client.images.create_alias(called, image.fingerprint, "first")
    assert (alias.name, alias.target, alias.description, alias.type) == (
        called, image.fingerprint, "first", "container"
    )  # fmt: skip
    with pytest.raises(IncusConflictError):
        await aliases.create(called, target=target)
    for recursion in (0, 1):
        assert called in [each.name for each in await aliases.list(recursion)]
    await aliases.update(called, {"description": "second"})
    assert ((await alias.refresh()).target, alias.description) == (image.fingerprint, "second")
    await aliases.patch(called, {"target": target})
    assert ((await alias.refresh()).target, alias.description) == (target, "second")
    await aliases.replace(called, {"target": image.fingerprint}, alias.etag)
    assert ((await alias.refresh()).target, alias.description) == (image.fingerprint, "")
    moved = await aliases.rename(called, f"{called}/2")
    assert (await moved.refresh()).target == image.fingerprint
    assert not await aliases.exists(called)
    await moved.delete()
    with pytest.raises(IncusNotFoundError):
        await client.images.get_alias(f"{called}/2")
    await image.delete(wait=True)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda images: images.create(b"", rootfs=5), "rootfs"),
        (lambda images: images.create("/usr"), r"'/usr' is not an image: it has no metadata\.yaml and no rootfs"),
        (lambda images: images.create(b"", rootfs=b"", type="vm"), "type"),
        (lambda images: images.create(b"", aliases="one"), "aliases"),
        (lambda images: images.create(Path("/no/such/file")), "image_data"),
        (lambda images: images.create_from(source={"mode": "push"}), "create_push_secret"),
    ],
)
async def test_bad_input_is_refused_by_its_name(call: Any, word: str) -> None:
    with pytest.raises(IncusInputError, match=word):
        await call(Client("/nowhere/unix.socket").images)


async def test_two_files_of_an_image_are_not_written_to_one_path(client: Client, tmp_path: Path) -> None:
    metadata, rootfs = split("one path")
    image = await client.images.create(metadata, rootfs=rootfs, wait=True)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for other in ("file", "link"):
        with pytest.raises(IncusInputError, match="two files, and both were to be"):
            await image.export(tmp_path / "file", tmp_path / other)
    assert not (tmp_path / "file").exists()
    await image.delete(wait=True)


async def test_properties_are_sent_as_text_or_refused(client: Client, name: str) -> None:
    given: Any = {"number": 5, "true": True, "none": None, "text": "ä & b"}
    image = await client.images.create(unified(name), properties=given, wait=True)
    assert image.properties == {"os": name, "number": "5", "true": "true", "text": "ä & b"}
    await image.update({"properties": {"number": 6, "true": None}})
    assert image.properties == {"os": name, "number": "6", "text": "ä & b"}
    await image.delete(wait=True)
    wrong: list[Any] = [5, "a=b", [("a", "b")], {"a": 1.5}, {"a": "\udc80"}, {5: "a"}]
    for properties in wrong:
        with pytest.raises(IncusInputError, match="properties"):
            await client.images.create(b"", properties=properties, wait=True)


async def test_an_alias_that_is_named_twice_is_one(client: Client, name: str) -> None:
    await client.projects.create(name, {"features.images": True})
    image = await client.images.create(unified(name), aliases=[name, name], wait=True)
    copy = await image.copy(client.use_project(name), copy_aliases=True, aliases=[name, f"{name}/2"])
    assert sorted(alias.name for alias in copy.aliases) == [name, f"{name}/2"]
    await copy.delete(wait=True)
    await image.delete(wait=True)
    await client.projects.delete(name)


async def test_an_image_that_is_there_with_an_alias_can_be_copied_again(
    client: Client, daemon: Daemon, name: str
) -> None:
    image = await client.images.create(unified(name), aliases=[name], public=True, wait=True)
    project = await client.projects.create(name, {"features.images": True})
    images = client.use_project(name).images
    certificate = (await client.get_server_info())["environment"]["certificate"]
    there = {"type": "image", "server": daemon.address, "protocol": "incus", "certificate": certificate}
    source: Any = {**there, "alias": name}
    for aliases, reuse in (([f"{name}/1"], False), ([], False), ([f"{name}/2"], False), ([f"{name}/1"], True)):
        copy = await images.create_from(source=source, aliases=[{"name": alias} for alias in aliases], reuse=reuse)
        assert copy.fingerprint == image.fingerprint
    assert sorted(alias.name for alias in copy.aliases) == [f"{name}/1", f"{name}/2"]
    with pytest.raises(IncusConflictError, match="already exists"):
        await images.create_from(source=source, aliases=[{"name": f"{name}/1"}])
    await copy.delete(wait=True)
    await project.delete()
    await image.delete(wait=True)
