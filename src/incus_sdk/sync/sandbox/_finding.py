"""Boxes that exist, whoever made them: found again, listed, and removed when nobody needs them any longer.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...sandbox import _finding as _source
from .. import _twin

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping

    from ..client import Client
    from ._box import Box


def connect(client: Client, id: str) -> Box:
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
    result: Box = client._wrap(client._portal.run(_source.connect(_twin.used(client), id)))
    return result


def list_boxes(client: Client, *, labels: Mapping[str, str] | None = None) -> builtins.list[Box]:
    """List the boxes that are in use, leased or forked, whoever made them.

    Args:
        client: A client of the server, and the project.
        labels: Only those that have all of these.

    Raises:
        IncusInputError: A label is invalid.

    API:
        ``GET /1.0/instances``
    """
    result: builtins.list[Box] = client._wrap(client._portal.run(_source.list_boxes(_twin.used(client), labels=labels)))
    return result


def prune(client: Client, *, labels: Mapping[str, str] | None = None, dry_run: bool = False) -> builtins.list[str]:
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
    result: builtins.list[str] = client._wrap(
        client._portal.run(_source.prune(_twin.used(client), labels=labels, dry_run=dry_run))
    )
    return result
