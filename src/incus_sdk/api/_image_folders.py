"""Folders that hold an unpacked image: packed by this machine's ``tar``, as the ``incus`` command does."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from typing import Any

from .._concurrency import in_thread
from .._connection.transport import CHUNK
from ..exceptions import IncusInputError

_PARTS = ("metadata.yaml", "rootfs", "templates")
_NEEDED = _PARTS[:2]


def is_folder(content: Any) -> bool:
    """Whether this is the path of a folder; raises `IncusInputError` for one that cannot be packed as an image."""
    if not isinstance(content, str | os.PathLike) or not os.path.isdir(content):
        return False
    if missing := [name for name in _NEEDED if name not in os.listdir(content)]:
        raise IncusInputError(f"the folder {str(content)!r} is not an image: it has no {' and no '.join(missing)}")
    if getattr(os, "geteuid", lambda: -1)() != 0:
        raise IncusInputError("a folder is packed with owners and devices as they are, which only root can read")
    return True


async def iter_folder(folder: str | os.PathLike[str]) -> AsyncIterator[bytes]:
    """The image in a folder as one archive, as it is packed."""
    import tempfile

    def start() -> subprocess.Popen[bytes]:
        there = os.listdir(folder)
        parts = [name for name in _PARTS if name in there]
        command = ["tar", "-C", os.fspath(folder), "--numeric-owner", "--xattrs", "-cf", "-", "--", *parts]
        # Its end, also that of a caller who is cancelled meanwhile, closes the pipe, which ends ``tar``.
        return stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors))

    with tempfile.TemporaryFile() as errors, contextlib.ExitStack() as stack:
        try:
            tar = await in_thread(start)
        except OSError as error:
            raise IncusInputError(f"the folder {os.fspath(folder)!r} cannot be packed: {error}") from error
        assert tar.stdout is not None
        while piece := await in_thread(tar.stdout.read, CHUNK):
            yield piece
        if await in_thread(tar.wait):
            errors.seek(0)
            reason = errors.read(CHUNK).decode(errors="replace").strip().splitlines()[:1]
            raise IncusInputError(f"the folder {os.fspath(folder)!r} cannot be packed: {' '.join(reason)}")
