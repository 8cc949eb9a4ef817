"""Exports of images by servers that lie: what is written is the image that was asked for, or nothing."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
from collections.abc import Sequence
from pathlib import Path

import pytest

from incus_sdk import Client, IncusConnectionError
from incus_sdk._connection.scope import Scope
from incus_sdk._content import read_form
from tests.hostile.scripted import Reader, Talk, Writer, answer, head, serving
from tests.live.made_images import tar

META, ROOT = tar({"metadata.yaml": b"architecture: x86_64\n" * 40}), b"hsqs" + bytes(range(256)) * 20
NAMES = ("metadata", "rootfs", "rootfs.img")


def form(parts: Sequence[tuple[str, bytes]]) -> bytes:
    heads = (b'--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\n' % name.encode() for name, _ in parts)
    return b"".join(start + content + b"\r\n" for start, (_, content) in zip(heads, parts, strict=True)) + b"--B--\r\n"


def having(contents: Sequence[bytes], body: bytes, *headers: str, endless: bool = False) -> Talk:
    """A server whose image has these contents, and whose export sends that."""
    fingerprint = hashlib.sha256(b"".join(contents)).hexdigest()
    image = {"fingerprint": fingerprint, "target": fingerprint, "size": sum(map(len, contents))}

    async def talk(reader: Reader, writer: Writer) -> None:
        while said := await head(reader):
            if b"/export" not in said:
                writer.write(answer(json.dumps({"type": "sync", "metadata": image}).encode()))
            elif endless:
                writer.write(
                    b"HTTP/1.1 200 OK\r\n" + "".join(f"{line}\r\n" for line in headers).encode() + b"\r\n" + body
                )
                while True:
                    writer.write(bytes(2**16))
                    await writer.drain()
            else:
                lines = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *headers))
                writer.write(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + body)

    return talk


FORM = "Content-Type: multipart/form-data; boundary=B"


async def export(talk: Talk, directory: Path) -> list[Path]:
    async with serving(talk) as (transport, _):
        client = Client._view(Scope(transport))
        return await client.images.export("x", directory / "one", directory / "two")


def cut(whole: bytes, at: int) -> list[tuple[str, bytes]]:
    return [("metadata", whole[:at]), ("rootfs", whole[at:])]


LIES = {
    "swapped": [("rootfs", META), ("metadata", ROOT)],
    "in the other order": [("rootfs", ROOT), ("metadata", META)],
    "one repeated": [("metadata", META), ("rootfs", ROOT[:9]), ("rootfs", ROOT[9:])],
    "the first repeated": [("metadata", META[:9]), ("metadata", META[9:]), ("rootfs", ROOT)],
    "the first in two": [("metadata", META[:512]), ("rootfs", ROOT), ("metadata", META[512:])],
    "three": [("metadata", META), ("rootfs", ROOT[:9]), ("rootfs.img", ROOT[9:])],
    "with another": [("metadata", META), ("rootfs", ROOT), ("x", b"")],
    "without a name": [("", META), ("rootfs", ROOT)],
    "only one": [("metadata", META + ROOT)],
    "cut earlier": cut(META + ROOT, 512),
    "cut later": cut(META + ROOT, len(META) + 512),
}


@pytest.mark.parametrize("lie", LIES)
async def test_parts_that_are_not_those_of_the_image_are_refused(lie: str, tmp_path: Path) -> None:
    with pytest.raises(IncusConnectionError, match="image"):
        await export(having([META, ROOT], form(LIES[lie]), FORM), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
async def test_the_metadata_is_an_archive_that_ends_where_its_part_ends(pack: object, tmp_path: Path) -> None:
    meta = pack(META)  # type: ignore[operator]
    for at in (2000 if pack is bytes else len(meta) - 1, 600, 5, len(meta) + 1, len(meta) + 600):
        with pytest.raises(IncusConnectionError, match="metadata"):
            await export(having([meta, ROOT], form(cut(meta + ROOT, at)), FORM), tmp_path)
        assert not list(tmp_path.iterdir())
    written = await export(having([meta, ROOT], form(cut(meta + ROOT, len(meta))), FORM), tmp_path)
    assert [file.read_bytes() for file in written] == [meta, ROOT]


async def test_metadata_of_another_kind_is_taken(tmp_path: Path) -> None:
    written = await export(having([b"(\xb5/\xfd", ROOT], form(cut(b"(\xb5/\xfd" + ROOT, 4)), FORM), tmp_path)
    assert len(written) == 2


@pytest.mark.parametrize("many", [False, True])
async def test_an_export_stops_at_the_size_of_the_image(many: bool, tmp_path: Path) -> None:
    start = form([("metadata", META)])[: -len(b"\r\n--B--\r\n")] if many else META
    with pytest.raises(IncusConnectionError, match="more than the"):
        await export(having([META], start, *[FORM] * many, endless=True), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content_type", "lines"),
    [
        ("multipart/x; boundary*" + "9" * 5000 + "*=1", ""),
        ("multipart/x; boundary*0*=\udcff", ""),
        ("multipart/x; boundary*=utf-99'x'B", ""),
        ("multipart/x; boundary=B", "Content-Disposition: form-data; name*" + "9" * 5000 + "*=x"),
        ("multipart/x; boundary=B", "Content-Disposition: form-data; name*0*="),
        ("multipart/x; boundary=B", "Content-Disposition: form-data; name*=utf-99'x'%ff"),
        ("multipart/x; boundary=B", "Content-Disposition: \udcff; name"),
    ],
)
async def test_odd_headers_of_a_form_are_an_error_of_the_sdk(content_type: str, lines: str) -> None:
    async def body() -> object:
        yield b"--B\r\n" + lines.encode(errors="surrogateescape") + b"\r\n\r\nx\r\n--B"

    with pytest.raises(IncusConnectionError):
        async for _ in read_form(content_type, body()):  # type: ignore[arg-type]
            pass
