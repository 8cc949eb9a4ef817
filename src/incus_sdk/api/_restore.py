"""Uploads of files from which the server makes an object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._content import Content, checked_content, iter_content, size_of, with_progress
from ..operations import OnProgress, Operation
from .base import Collection


async def restore(
    collection: Collection[Any], *segments: str, source: Content | str, progress: OnProgress | None, **about: str | None
) -> Operation:
    """Upload a file and wait until the object is made; ``about`` are headers, named without ``X-Incus-``."""
    content = Path(source) if isinstance(source, str) else source
    checked_content(content, "source")
    body = with_progress(iter_content(content), "upload", size_of(content), progress)
    headers = {f"X-Incus-{name}": value for name, value in about.items() if value}
    headers["Content-Type"] = "application/octet-stream"
    return await collection._operate("POST", *segments, body=body, headers=headers)
