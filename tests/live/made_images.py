"""Images that tests make, beside the one of `incus_sdk.testing`."""

from __future__ import annotations

import hashlib
import io
import tarfile

from incus_sdk.testing._image import busybox_image


def sha256(*contents: bytes) -> str:
    """The fingerprint of an image in these files."""
    return hashlib.sha256(b"".join(contents)).hexdigest()


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def unified(text: str) -> bytes:
    """An image that can be stored, but not started; each text makes another."""
    metadata = f"architecture: x86_64\ncreation_date: 1\nproperties: {{os: {text}}}\n"
    return tar({"metadata.yaml": metadata.encode(), "rootfs/file": b""})


def split(mark: str = "") -> tuple[bytes, bytes]:
    """The busybox image in two files, metadata and root filesystem; ``/mark`` in it holds that word."""
    parts = io.BytesIO(), io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(busybox_image())) as whole,
        tarfile.open(fileobj=parts[0], mode="w") as metadata,
        tarfile.open(fileobj=parts[1], mode="w") as rootfs,
    ):
        for member in whole:
            content = whole.extractfile(member) if member.isfile() else None
            if member.name.startswith("rootfs/"):
                member.name = member.name.removeprefix("rootfs/")
                rootfs.addfile(member, content)
            elif member.name != "rootfs":
                metadata.addfile(member, content)
        marked = tarfile.TarInfo("mark")
        marked.size = len(mark)
        rootfs.addfile(marked, io.BytesIO(mark.encode()))
    return parts[0].getvalue(), parts[1].getvalue()
