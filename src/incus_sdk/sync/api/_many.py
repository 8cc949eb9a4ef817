"""Many instances at once: each on its own, so that one that fails does not stop the others.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _twin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...api._many import Outcomes
    from ._by_key import Keyed
    from ._lifecycle import LifecycleVerbs


class StartsAndStopsMany(_twin.Twin):
    """`LifecycleVerbs` of many instances at once, each waited for."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...

    def start_many(
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
        result: Outcomes = self._portal.run(self._async.start_many(names, stateless=stateless, concurrency=concurrency))
        return result

    def stop_many(
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
        result: Outcomes = self._portal.run(
            self._async.stop_many(names, force=force, stateful=stateful, timeout=timeout, concurrency=concurrency)
        )
        return result

    def restart_many(
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
        result: Outcomes = self._portal.run(
            self._async.restart_many(names, force=force, timeout=timeout, concurrency=concurrency)
        )
        return result

    def delete_many(
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
        result: Outcomes = self._portal.run(
            self._async.delete_many(names, force=force, missing_ok=missing_ok, concurrency=concurrency)
        )
        return result
