"""Boxes that exist, whoever made them: found again, listed, and removed when nobody needs them any longer."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._concurrency import for_each
from ..exceptions import IncusError, IncusNotFoundError, IncusPreconditionError
from . import _keys
from ._box import Box, remove

if TYPE_CHECKING:
    from ..api.instances import Instance
    from ..client import Client

_IN_USE = ("leased", "fork")
_REMOVALS = 4  # at once
_ENDING = 60.0  # seconds to remove an instance; then whoever said so has not managed to


async def connect(client: Client, id: str) -> Box:
    """Get a box by its id, from any process.

    **Provisional.**

    Args:
        client: A client of its server, and its project.
        id: See `Box.id`.

    Raises:
        IncusNotFoundError: There is no such box, or it is nobody's yet.

    API:
        ``GET /1.0/instances/{name}``
    """
    instance = await client.instances.get(id)
    if _keys.state(instance) not in _IN_USE:
        raise IncusNotFoundError(f"{id!r} is an instance, but not a box that is in use", status_code=404)
    return Box(client, instance)


async def list_boxes(client: Client, *, labels: Mapping[str, str] | None = None) -> builtins.list[Box]:
    """List the boxes that are in use, leased or forked, whoever made them.

    Args:
        client: A client of the server, and the project.
        labels: Only those that have all of these.

    Raises:
        IncusInputError: A label is invalid.

    API:
        ``GET /1.0/instances``
    """
    return [Box(client, each) for each in await list_sandboxes(client, labels=labels) if _keys.state(each) in _IN_USE]


async def prune(
    client: Client, *, labels: Mapping[str, str] | None = None, dry_run: bool = False
) -> builtins.list[str]:
    """Destroy the boxes and templates that nobody needs any longer.

    These are boxes whose time is over, and those of a process that is gone for sure: one of this machine that has
    ended, or that ran before the machine was last started. A fork stays until its time is over. The template of a pool
    goes when its own, longer time is over, or if it has no name that another process could know it by.

    Args:
        client: A client of the server, and the project.
        labels: Only those that have all of these.
        dry_run: Destroy nothing.

    Returns:
        The ids of those that were destroyed; with ``dry_run`` of those that would be.

    Raises:
        IncusInputError: A label is invalid.
        IncusError: One could not be destroyed; all others were.

    API:
        ``GET /1.0/instances``, ``PUT /1.0/instances/{name}/state`` and ``DELETE /1.0/instances/{name}``
    """
    left = [each for each in await list_sandboxes(client, labels=labels) if is_left(each)]
    return sorted(each.name for each in left) if dry_run else await remove_all(left)


def is_left(instance: Instance) -> bool:
    """Whether nobody needs an instance of a pool any longer."""
    if _keys.has_expired(instance):
        return True
    state = _keys.state(instance)
    if state == "fork" or (state == "template" and not _keys.is_private(instance)):
        return False
    return _keys.is_orphan(instance)


async def list_sandboxes(
    client: Client, *, labels: Mapping[str, str] | None = None, pool: str | None = None
) -> builtins.list[Instance]:
    """All instances of pools, or of one pool, templates among them."""
    wanted = _keys.label_keys(labels) | ({} if pool is None else {_keys.POOL: pool})
    return [
        each for each in await client.instances.list() if _keys.state(each) and wanted.items() <= each.config.items()
    ]


async def remove_all(instances: builtins.list[Instance], *, if_as_read: bool = True) -> builtins.list[str]:
    """Remove instances, by default only those that are as they were read, each if nobody takes it meanwhile.

    The first error is raised when all others are removed.
    """
    removed: builtins.list[str] = []
    errors: builtins.list[IncusError] = []

    async def end(instance: Instance) -> None:
        try:
            if not if_as_read or await take_out(instance):
                await remove(instance)
                removed.append(instance.name)
        except IncusNotFoundError:
            pass
        except IncusError as error:
            errors.append(error)

    await for_each(end, instances, _REMOVALS)
    if errors:
        raise errors[0]
    return sorted(removed)


async def take_out(instance: Instance) -> bool:
    """Say that an instance is being removed, so that no process takes it; False if one has just done so."""
    known = dict(instance.config)
    for _ in range(3):
        await instance.refresh()
        now = instance.config
        if {key: now.get(key) for key in _keys.WHOSE} != {key: known.get(key) for key in _keys.WHOSE}:
            return False
        if now.get(_keys.STATE) == "ending":
            return True
        try:
            await instance.update({"config": _keys.mine("ending", _ENDING)}, wait=True, etag=instance.etag)
        except IncusPreconditionError:  # the server itself changes keys when it starts or stops
            continue
        return True
    return False
