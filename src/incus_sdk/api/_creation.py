"""Objects that the server makes in the background, of a request or a file, under a name that its operation tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

from .._background import create_or_undo, required, undoing, was_created
from .._concurrency import shielded
from .._connection import wire
from .._connection.transport import Headers
from .._content import Content, checked_content, iter_content, size_of, with_progress
from ..exceptions import IncusError
from ..operations import OnProgress, Operation
from ._bodies import created_name, to_body
from .base import Collection, Resource

Item = TypeVar("Item", bound=Resource)


async def create_named(
    collection: Collection[Item],
    *segments: str,
    body: Any,
    key: Callable[[Operation], str],
    headers: Headers | None = None,
    progress: OnProgress | None = None,
    remove: Callable[[Item, Operation], Awaitable[object]] | None = None,
    undone: AsyncExitStack | None = None,
) -> Item:
    """POST ``body``, wait until the object is made, and read it by the ``key`` in the operation.

    If cancelled, nothing remains of it; ``remove`` takes the place of a plain ``DELETE``. ``undone`` removes it later.
    """

    async def undo(operation: Operation | None) -> None:
        if operation is not None and was_created(operation):
            item = collection[key(operation)]
            await (item._perform("DELETE") if remove is None else remove(item, operation))

    async def undo_later() -> None:
        with suppress(IncusError):  # which would hide why
            await shielded(undo(operation))

    url = collection._url(*segments)
    await collection._require_extension()
    operation = required(await create_or_undo(collection._scope, url, body, undo, progress, headers), "POST", url)
    async with undoing(lambda: undo(operation), asyncio.CancelledError):
        item = await collection[key(operation)]._read()
    if undone is not None:
        undone.push_async_callback(undo_later)
    return item


async def create_picked(
    collection: Collection[Item],
    name: str | None,
    body: Mapping[str, Any],
    kind: str,
    progress: OnProgress | None = None,
) -> Item:
    """`create_named`, under ``name``, or for None one that the server picks and lists as a resource of ``kind``."""
    if name is not None:
        wire.path(name)
        body = {**body, "name": name}
    return await create_named(
        collection, body=to_body(body), key=lambda made: name or created_name(made, kind), progress=progress
    )


async def restore(
    collection: Collection[Item],
    *segments: str,
    source: Content,
    key: Callable[[Operation], str],
    progress: OnProgress | None,
    **about: str | None,
) -> Item:
    """Upload a file, and `create_named` the object in it; ``about`` are headers, named without ``X-Incus-``."""
    checked_content(source, "source")
    body = with_progress(iter_content(source), "upload", size_of(source), progress)
    headers = {f"X-Incus-{name}": value for name, value in about.items() if value}
    headers["Content-Type"] = "application/octet-stream"
    return await create_named(collection, *segments, body=body, headers=headers, key=key, progress=progress)
