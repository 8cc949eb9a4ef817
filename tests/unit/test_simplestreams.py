"""What servers of simplestreams say in more ways than one, and what of it is no image."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from incus_sdk import IncusConnectionError, IncusInputError
from incus_sdk._connection.transport import Transport
from incus_sdk.simplestreams import SimpleStreams


def product(versions: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "aliases": "a/1,a", "arch": "amd64", "os": "A", "release": "1", "versions": {
            serial: {"items": {str(n): item for n, item in enumerate(items["items"])}, "label": items.get("label", "")}
            for serial, items in versions.items()
        }, **more,
    }  # fmt: skip


def item(ftype: str, **more: Any) -> dict[str, Any]:
    return {"ftype": ftype, "path": f"x/{ftype}", "size": 1, "sha256": ftype, **more}


async def listed(monkeypatch: pytest.MonkeyPatch, *products: dict[str, Any]) -> list[tuple[Any, ...]]:
    documents = {
        "streams/v1/index.json": {
            "index": {"i": {"datatype": "image-downloads", "path": "p", "products": ["x"]}, "n": {"datatype": "other"}}
        },
        "p": {"products": dict(enumerate(products))},
    }

    async def read(_: SimpleStreams, path: str) -> Any:
        return documents[path]

    monkeypatch.setattr(SimpleStreams, "_read_json", read)
    images = await SimpleStreams("https://x").list()
    return [(image.fingerprint, image.type, [alias.name for alias in image.aliases]) for image in images]


NAMES = ["a/1", "a", "a/1/amd64", "a/amd64"]


@pytest.mark.parametrize(
    ("items", "found"),
    [
        pytest.param([item("incus_combined.tar.gz", sha256="f")], [("f", "container", NAMES)], id="one file"),
        pytest.param(
            [item("incus_combined.tar.gz", sha256="f", combined_type="virtual-machine")],
            [("f", "virtual-machine", NAMES)],
            id="one file of a virtual machine",
        ),
        pytest.param(
            [item("root.tar.xz"), item("incus.tar.xz", combined_sha256="f")], [("f", "container", NAMES)], id="old name"
        ),
        pytest.param(
            [
                item("root.tar.xz"), item("disk1.img"), item("squashfs"), item("disk-kvm.img"), item("uefi1.img"),
                item(
                    "incus.tar.xz", combined_rootxz_sha256="xz", combined_squashfs_sha256="squash",
                    **{"combined_disk-kvm-img_sha256": "kvm", "combined_disk1-img_sha256": "disk"},
                ),
            ],
            [
                ("squash", "container", NAMES), ("xz", "container", []), ("kvm", "virtual-machine", NAMES),
                ("disk", "virtual-machine", []),
            ],
            id="each kind, the best first, but for the one without a hash",
        ),
        pytest.param([item("incus.tar.xz", combined_squashfs_sha256="f")], [], id="without a root"),
        pytest.param([item("root.tar.xz")], [], id="without metadata"),
        pytest.param([item("lxd.tar.xz", combined_sha256="f"), item("root.tar.xz")], [], id="of another program"),
        pytest.param([item("incus_combined.tar.gz", path="")], [], id="without a path"),
    ],
)  # fmt: skip
async def test_an_image_is_what_has_files_and_a_hash(
    monkeypatch: pytest.MonkeyPatch, items: list[Any], found: list[Any]
) -> None:
    assert await listed(monkeypatch, product({"20260101": {"items": items}})) == found


async def test_names_are_those_of_the_newest_of_each_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    def built(sha: str) -> dict[str, Any]:
        return {"items": [item("incus_combined.tar.gz", sha256=sha)]}

    old_and_new = {
        "20260101_10:00": built("1"),
        "20260101_11:00": built("2"),
        "soon": built("3"),
        "99999999": built("4"),
    }
    arm = {"20250101": built("5")}
    assert await listed(monkeypatch, product(old_and_new), product(arm, arch="arm64", aliases="a")) == [
        ("2", "container", NAMES), ("1", "container", []), ("5", "container", ["a", "a/arm64"])
    ]  # fmt: skip


async def test_what_is_said_of_an_image_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    of_numbers = product({"20260101": {"items": [item("incus_combined.tar.gz")], "label": True}}, version=12, os=["A"])
    odd = product({"20260101": {"items": [item("incus_combined.tar.gz", sha256=5)]}})
    assert len(await listed(monkeypatch, of_numbers, odd)) == 1
    server = SimpleStreams("https://x")
    (image,) = await server.list("12", "true")
    assert (image.properties["version"], image.properties["label"], image.properties["os"]) == ("12", "true", '["A"]')
    for call in (server.list(["12"]), server.list("12", 5), server.resolve(None)):  # type: ignore[arg-type]
        with pytest.raises(IncusInputError, match="str"):
            await call


@pytest.mark.parametrize(
    ("location", "then"),
    [
        ("/elsewhere", "/elsewhere"),
        ("https://other.example", "/"),
        ("https://other.example/a?b=c", "/a?b=c"),
        ("http://other.example/a", None),
        ("https://[", None),
        ("https://u:p@other.example", None),
        ("/with a space", None),
        ("/\udcff", None),
    ],
)
async def test_a_redirect_is_followed_or_is_the_servers_fault(
    monkeypatch: pytest.MonkeyPatch, location: str, then: str | None
) -> None:
    asked: list[str] = []

    @contextlib.asynccontextmanager
    async def stream(_: Transport, __: str, target: str) -> AsyncGenerator[Any]:
        asked.append(target)
        yield SimpleNamespace(status=200 if len(asked) > 1 else 302, headers={"Location": location})

    monkeypatch.setattr(Transport, "stream", stream)
    expected = nullcontext() if then else pytest.raises(IncusConnectionError, match="which is no https:// address")
    with expected:
        async with SimpleStreams("https://x")._open("p"):
            pass
    assert asked == ["/p", *([then] if then else [])]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"url": "https://you:hunter2@x"}, r"'https://\.\.\.@x' is not the URL"),
        ({"url": "https://x?a=b"}, "has a blank, . or #"),
        ({"url": "https://x y"}, "has a blank, . or #"),
        ({"server_cert": 5}, "server_cert must be"),
        ({"server_cert": ""}, "server_cert must be"),
        ({"max_age": None}, "max_age must be a number"),
        ({"max_age": "1"}, "max_age must be a number"),
    ],
)
def test_what_is_no_server_is_refused(given: dict[str, Any], reason: str) -> None:
    arguments: dict[str, Any] = {"url": "https://x", **given}
    with pytest.raises(IncusInputError, match=reason) as caught:
        SimpleStreams(**arguments)
    assert "hunter2" not in str(caught.value)


async def test_what_the_caller_gave_is_not_the_servers_fault(tmp_path: Path) -> None:
    server = SimpleStreams("https://127.0.0.1:1", server_cert=tmp_path / "none.crt")
    with pytest.raises(IncusInputError, match=r"^server_cert: .*none\.crt cannot be read"):
        await server.list()
    with pytest.raises(IncusInputError, match=r"image must be one of list\(\) or resolve\(\), not 'debian/13'"):
        await server.download("debian/13", tmp_path / "image")  # type: ignore[arg-type]
