"""What a server sends as an image: which file is which, and whether it is all of it and nothing else.

A fingerprint is a hash of the contents in a row: it says neither which file is which, nor where one ends.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from typing import IO, Any

from .._connection.transport import Stream
from .._content import read_form, with_progress
from ..exceptions import IncusConnectionError
from ..operations import OnProgress

ROOTFS = {"container": "rootfs", "virtual-machine": "rootfs.img"}
"""The name of a split image's second file in its form, by the image's type."""

_ORDER = (("metadata",), tuple(ROOTFS.values()))
_MAX_METADATA = 64 * 2**20  # bytes of a split image's metadata, unpacked; real ones have some KiB
_TAR_END = 1024  # zeros at the end of an archive, at least
_BELIEVED = (b"(\xb5/\xfd", b"]\0", b"hsqs")  # zstd, lzma, squashfs


async def iter_export(
    stream: Stream, total: int | None, progress: OnProgress | None
) -> AsyncIterator[tuple[str, bytes]]:
    """The pieces of an export, each with the name that its file has in the form; a unified image is ``metadata``.

    Raises `IncusConnectionError` if there are more than ``total`` bytes, or other parts than an image has.
    """
    body = with_progress(stream.chunks(), "download", total, progress)
    content_type = stream.headers.get("Content-Type", "")
    is_form = content_type.startswith("multipart/")
    parts, size = 0, 0
    async for name, piece in read_form(content_type, body) if is_form else _as_one_part(body):
        if is_form and not piece:  # a part begins
            if parts == len(_ORDER) or name not in _ORDER[parts]:
                raise IncusConnectionError(f"the server sent {name!r} as part {parts + 1} of an image")
            parts += 1
        size += len(piece)
        if total and size > total:
            raise IncusConnectionError(f"the server sent more than the {total} bytes that the image has")
        yield name, piece
    if is_form and parts < len(_ORDER):
        raise IncusConnectionError("the server sent only one part of a split image")


async def _as_one_part(body: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, bytes]]:
    async for piece in body:
        yield "metadata", piece


def is_whole_archive(file: IO[bytes]) -> bool:
    """Whether a file is one archive and nothing else, as metadata are; kinds that Python cannot unpack are believed."""
    import bz2
    import lzma
    import tarfile
    import zlib

    file.seek(0)
    content = file.read(_MAX_METADATA + 1)
    if content.startswith(_BELIEVED):
        return True
    decompressors: dict[bytes, Callable[[], Any]] = {
        b"\xfd7zXZ\0": lzma.LZMADecompressor,
        b"\x1f\x8b": lambda: zlib.decompressobj(31),
        b"BZh": bz2.BZ2Decompressor,
    }
    try:
        for magic, decompressor in decompressors.items():
            if content.startswith(magic):
                rest, content = content, b""
                while rest := rest.lstrip(b"\0"):  # several can follow each other, padded
                    unpacking = decompressor()
                    content += unpacking.decompress(rest, _MAX_METADATA + 1 - len(content))
                    rest = unpacking.unused_data
                    if not unpacking.eof or len(content) > _MAX_METADATA:
                        return False
                break
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            archive.getmembers()
            end = content[archive.offset :]
    except (OSError, EOFError, ValueError, tarfile.TarError, lzma.LZMAError, zlib.error):
        return False
    return len(end) >= _TAR_END and not any(end)
