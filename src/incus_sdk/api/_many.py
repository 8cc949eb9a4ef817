"""Many instances at once: each on its own, so that one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from .._concurrency import for_each
from .._connection import wire
from ..exceptions import IncusError, IncusInputError
from ._by_key import Keyed
from ._lifecycle import LifecycleVerbs

Outcomes = dict[str, IncusError | None]
"""What became of each instance by its name: None, or the error."""


async def do_many(
    group: Keyed[LifecycleVerbs],
    names: Iterable[str],
    verb: Callable[[LifecycleVerbs], Awaitable[object]],
    concurrency: int = 8,
) -> Outcomes:
    """Do something to each of the instances, ``concurrency`` at a time."""
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise IncusInputError(f"concurrency must be a number of instances, 1 or more, not {concurrency!r}")
    instances = {name: group[name] for name in wire.texts(names, "names")}
    outcomes: Outcomes = dict.fromkeys(instances)

    async def work(name: str) -> None:
        try:
            await verb(instances[name])
        except IncusError as error:
            outcomes[name] = error

    await for_each(work, instances, concurrency)
    return outcomes


class StartsAndStopsMany:
    """`LifecycleVerbs` of many instances at once, each waited for."""

    async def start_many(
        self: Keyed[LifecycleVerbs], names: Iterable[str], *, stateless: bool = False, concurrency: int = 8
    ) -> Outcomes:
        """Start instances, and wait for each: see `Instance.start`.

        Args:
            names: The instances.
            stateless: Discard the running state that a stateful stop saved, instead of resuming it.
            concurrency: How many to start at a time.

        Returns:
            None, or the error, for each name. One that fails does not stop the others.

        Raises:
            IncusInputError: ``names`` is not a list of names, or ``concurrency`` not a number.

        API:
            ``GET /1.0/instances/{name}`` and ``PUT /1.0/instances/{name}/state``, for each
        """
        return await do_many(self, names, lambda each: each.start(stateless=stateless, wait=True), concurrency)

    async def stop_many(
        self: Keyed[LifecycleVerbs],
        names: Iterable[str],
        *,
        force: bool = False,
        stateful: bool = False,
        timeout: int = 30,
        concurrency: int = 8,
    ) -> Outcomes:
        """Stop instances, and wait for each: see `Instance.stop`.

        Args:
            names: The instances.
            force: Stop at once, without asking the systems inside.
            stateful: Save the running states for the next start.
            timeout: Seconds a clean stop may take; 0 and -1 as there.
            concurrency: How many to stop at a time.

        Returns:
            None, or the error, for each name. One that fails does not stop the others.

        Raises:
            IncusInputError: ``names`` is not a list of names, or ``concurrency`` not a number.

        API:
            ``PUT /1.0/instances/{name}/state``, for each
        """
        return await do_many(self, names, lambda each: each.stop(force, stateful, timeout, wait=True), concurrency)

    async def restart_many(
        self: Keyed[LifecycleVerbs],
        names: Iterable[str],
        *,
        force: bool = False,
        timeout: int = 30,
        concurrency: int = 8,
    ) -> Outcomes:
        """Restart instances, and wait for each: see `Instance.restart`.

        Args:
            names: The instances.
            force: Stop at once, without asking the systems inside.
            timeout: Seconds a clean stop may take; 0 and -1 as there.
            concurrency: How many to restart at a time.

        Returns:
            None, or the error, for each name. One that fails does not stop the others.

        Raises:
            IncusInputError: ``names`` is not a list of names, or ``concurrency`` not a number.

        API:
            ``PUT /1.0/instances/{name}/state``, for each
        """
        return await do_many(self, names, lambda each: each.restart(force, timeout, wait=True), concurrency)

    async def delete_many(
        self: Keyed[LifecycleVerbs],
        names: Iterable[str],
        *,
        force: bool = False,
        missing_ok: bool = False,
        concurrency: int = 8,
    ) -> Outcomes:
        """Delete instances, and wait for each: see `Instance.delete`.

        Args:
            names: The instances.
            force: Stop those first that run.
            missing_ok: Accept that there are no such instances.
            concurrency: How many to delete at a time.

        Returns:
            None, or the error, for each name. One that fails does not stop the others.

        Raises:
            IncusInputError: ``names`` is not a list of names, or ``concurrency`` not a number.

        API:
            ``DELETE /1.0/instances/{name}``, for each; with ``force`` also ``PUT /1.0/instances/{name}/state``
        """
        return await do_many(
            self, names, lambda each: each.delete(wait=True, force=force, missing_ok=missing_ok), concurrency
        )
