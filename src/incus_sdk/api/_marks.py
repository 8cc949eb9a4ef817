"""New instances, marked so that they are found again if the answer is lost that says what operation makes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from .._background import Find
from .._concurrency import Attempts
from .._connection import wire
from ..exceptions import IncusAPIError, IncusError, IncusNotFoundError, IncusOperationError
from ..models.base import Json
from ..operations import Operation

if TYPE_CHECKING:
    from ._lifecycle import LifecycleVerbs

T = TypeVar("T")

_MARK = "volatile.uuid"  # the server gives each instance one, if the client does not
_LOOKS = 4  # for an operation that may be about to begin


async def create_marked(instance: LifecycleVerbs, body: Json, create: Callable[[Json, Find | None], Awaitable[T]]) -> T:
    """Create an instance by ``create``, which gets the body, and how to find what comes of it if the answer is lost.

    A name proves nothing: somebody else can have made an instance of that name at the same moment.
    """
    from uuid import uuid4

    config = {_MARK: str(uuid4()), **(body.get("config") or {})}

    async def find() -> Operation | None:
        try:
            return await _find(instance, config[_MARK], "Running" if body.get("start") else "Stopped")
        except IncusError:
            return None

    try:
        return await create({**body, "config": config}, find)
    except IncusAPIError as refusal:
        if _MARK not in str(refusal):
            raise
    return await create(body, None)  # a project with limits or restrictions takes no mark


async def _find(instance: LifecycleVerbs, mark: str, status: str) -> Operation | None:
    """The operation that made an instance as it was asked for, or None; then nothing is left of it."""
    operation: Operation | None = None
    async for _ in Attempts(_LOOKS, 0.1, sleep=instance._scope.transport.pause):
        if not instance._path[-1] and not await _take_name(instance, mark):
            continue
        for operation in await instance._creations():
            try:
                await operation._wait_final()
            except IncusOperationError:
                operation = None
        try:
            await instance.refresh()
        except IncusNotFoundError:
            continue
        if instance.config.get(_MARK) != mark:
            return None
        if instance.status == status:
            return operation or _ended(instance)
        await instance._remove()
        return None
    return None


async def _take_name(instance: LifecycleVerbs, mark: str) -> bool:
    """Find the name that the server picked for the instance with this mark."""
    query: wire.Query = {"recursion": 1, "filter": f"config.{_MARK} eq {mark}"}
    for found in (await instance._scope.request("GET", wire.path(*instance._path[:-1]), query=query)).objects:
        instance._json["name"] = wire.text(found, "name")
        instance._path = (*instance._path[:-1], instance._json["name"])
    return bool(instance._path[-1])


def _ended(instance: LifecycleVerbs) -> Operation:
    """What a server would say of an operation that it has forgotten."""
    resources = {"instances": [wire.path(*instance._path)]}
    fields = {"id": "", "class": "task", "description": "Creating instance", "resources": resources}
    return Operation(
        instance._scope, {**fields, "created_at": instance.raw["created_at"], "status": "Success", "status_code": 200}
    )
