"""Objects made from the file of a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._content import Content, checked_content, iter_content, size_of, with_progress
from ..operations import OnProgress, Operation
from .base import Collection


async def restore(
    collection: Collection[Any], *segments: str, source: Content | str, progress: OnProgress | None, **about: str | None
) -> Operation:
    """Send a file of which the server makes an object, and wait for that; ``about``: headers without ``X-Incus-``."""
    content = Path(source) if isinstance(source, str) else source
    checked_content(content, "source")
    body = with_progress(iter_content(content), "upload", size_of(content), progress)
    named = {f"X-Incus-{name}": value for name, value in about.items() if value}
    headers = {"Content-Type": "application/octet-stream", **named}
    return await collection._operate("POST", *segments, body=body, headers=headers)
