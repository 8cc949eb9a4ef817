"""The life of an instance: starting, stopping, deleting, and cleaning up after a failed or cancelled creation.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from ... import models
from ...api import _lifecycle as _source
from .. import _twin
from .base import Writable

if TYPE_CHECKING:
    from typing import Literal

    from ..operations import Operation
    from ._by_key import Keyed


class LifecycleVerbs(models.Instance, Writable[models.InstancePut]):
    """Verbs that bring an instance from one state to another."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.LifecycleVerbs: ...

    @overload
    def delete(self, wait: bool = False, *, force: bool = False, missing_ok: Literal[False] = False) -> Operation: ...
    @overload
    def delete(self, wait: bool = False, *, force: bool = False, missing_ok: bool) -> Operation | None: ...
    def delete(self, wait: bool = False, *, force: bool = False, missing_ok: bool = False) -> Operation | None:
        """Delete the instance.

        Args:
            wait: Wait until it is deleted.
            force: Stop it first if it runs; this is always waited for.
            missing_ok: Accept that there is no such instance.

        Returns:
            The operation; with ``wait`` as it ended. It is that of stopping if this has deleted an ephemeral instance.
                None if there is no such instance.

        Raises:
            IncusNotFoundError: There is no such instance, and ``missing_ok`` is not set.
            IncusAPIError: It is running, and ``force`` is not set.
            IncusOperationError: It could not be stopped or, with ``wait``, not be deleted.

        API:
            ``DELETE /1.0/instances/{name}``; with ``force`` also ``PUT /1.0/instances/{name}/state``
        """
        held: Any = self._async
        result: Operation | None = self._wrap(self._portal.run(held.delete(wait, force=force, missing_ok=missing_ok)))
        return result

    def start(self, stateful: bool = False, wait: bool = False, *, stateless: bool = False) -> Operation:
        """Start the instance.

        Like the ``incus`` command, it thaws one that is frozen, and resumes a running state that was saved.

        Args:
            stateful: Resume the running state that a stateful stop saved; it is an error if there is none.
            wait: Wait until it has started.
            stateless: Discard the running state that a stateful stop saved.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: Both ``stateful`` and ``stateless`` are set.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be started; ``log`` has the end of the instance's log.

        API:
            ``GET /1.0/instances/{name}`` and ``PUT /1.0/instances/{name}/state``
        """
        result: Operation = self._wrap(self._portal.run(self._async.start(stateful, wait, stateless=stateless)))
        return result

    def stop(self, force: bool = False, stateful: bool = False, timeout: int = 30, wait: bool = False) -> Operation:
        """Stop the instance.

        Args:
            force: Stop at once, without asking the system inside.
            stateful: Save the running state for the next start; ``migration.stateful`` in its configuration allows it.
            timeout: Seconds a clean stop may take; then the operation fails and the instance keeps running. 0 is like
                ``force``; -1 leaves it to the server, which gives it ten minutes.
            wait: Wait until it has stopped.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: ``timeout`` is not a whole number, or below -1.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be stopped.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        result: Operation = self._wrap(self._portal.run(self._async.stop(force, stateful, timeout, wait)))
        return result

    def restart(self, force: bool = False, timeout: int = 30, wait: bool = False) -> Operation:
        """Restart the instance, which must be running.

        Args:
            force: Stop it at once, without asking the system inside.
            timeout: Seconds a clean stop may take; then the operation fails and the instance keeps running. 0 is like
                ``force``; -1 leaves it to the server, which gives it ten minutes.
            wait: Wait until it has started again.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: ``timeout`` is not a whole number, or below -1.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be restarted.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        result: Operation = self._wrap(self._portal.run(self._async.restart(force, timeout, wait)))
        return result

    def freeze(self, wait: bool = False) -> Operation:
        """Freeze all processes of the instance, until `unfreeze`.

        Args:
            wait: Wait until it is frozen.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be frozen.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        result: Operation = self._wrap(self._portal.run(self._async.freeze(wait)))
        return result

    def unfreeze(self, wait: bool = False) -> Operation:
        """Resume the frozen processes of the instance.

        Args:
            wait: Wait until they are resumed.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be unfrozen; it was not frozen, for example.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        result: Operation = self._wrap(self._portal.run(self._async.unfreeze(wait)))
        return result

    def get_state(self) -> models.InstanceState:
        """Read what the instance is doing and using at this moment.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/state``
        """
        return self._portal.run(self._async.get_state())


class StartsAndStops(_twin.Twin):
    """`LifecycleVerbs` by name."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...

    @overload
    def delete(
        self: Keyed[LifecycleVerbs],
        name: str,
        wait: bool = False,
        *,
        force: bool = False,
        missing_ok: Literal[False] = False,
    ) -> Operation: ...
    @overload
    def delete(
        self: Keyed[LifecycleVerbs], name: str, wait: bool = False, *, force: bool = False, missing_ok: bool
    ) -> Operation | None: ...
    def delete(
        self: Keyed[LifecycleVerbs], name: str, wait: bool = False, *, force: bool = False, missing_ok: bool = False
    ) -> Operation | None:
        """Delete an instance.

        Args:
            name: The instance.
            wait: Wait until it is deleted.
            force: Stop it first if it runs; this is always waited for.
            missing_ok: Accept that there is no such instance.

        Returns:
            The operation; with ``wait`` as it ended. It is that of stopping if this has deleted an ephemeral instance.
                None if there is no such instance.

        Raises:
            IncusNotFoundError: There is no such instance, and ``missing_ok`` is not set.
            IncusAPIError: It is running, and ``force`` is not set.
            IncusOperationError: It could not be stopped or, with ``wait``, not be deleted.

        API:
            ``DELETE /1.0/instances/{name}``; with ``force`` also ``PUT /1.0/instances/{name}/state``
        """
        held: Any = self._async
        result: Operation | None = self._wrap(
            self._portal.run(held.delete(name, wait, force=force, missing_ok=missing_ok))
        )
        return result

    def start(
        self: Keyed[LifecycleVerbs], name: str, stateful: bool = False, wait: bool = False, *, stateless: bool = False
    ) -> Operation:
        """Start an instance.

        Like the ``incus`` command, it thaws one that is frozen, and resumes a running state that was saved.

        Args:
            name: The instance.
            stateful: Resume the running state that a stateful stop saved; it is an error if there is none.
            wait: Wait until it has started.
            stateless: Discard the running state that a stateful stop saved.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: Both ``stateful`` and ``stateless`` are set.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be started; ``log`` has the end of the instance's log.

        API:
            ``GET /1.0/instances/{name}`` and ``PUT /1.0/instances/{name}/state``
        """
        result: Operation = self._wrap(self._portal.run(self._async.start(name, stateful, wait, stateless=stateless)))
        return result

    def stop(
        self: Keyed[LifecycleVerbs],
        name: str,
        force: bool = False,
        stateful: bool = False,
        timeout: int = 30,
        wait: bool = False,
    ) -> Operation:
        """Stop an instance.

        Args:
            name: The instance.
            force: Stop at once, without asking the system inside.
            stateful: Save the running state for the next start; ``migration.stateful`` in its configuration allows it.
            timeout: Seconds a clean stop may take; then the operation fails and the instance keeps running. 0 is like
                ``force``; -1 leaves it to the server, which gives it ten minutes.
            wait: Wait until it has stopped.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: ``timeout`` is not a whole number, or below -1.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be stopped.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        result: Operation = self._wrap(self._portal.run(self._async.stop(name, force, stateful, timeout, wait)))
        return result

    def restart(
        self: Keyed[LifecycleVerbs], name: str, force: bool = False, timeout: int = 30, wait: bool = False
    ) -> Operation:
        """Restart an instance, which must be running.

        Args:
            name: The instance.
            force: Stop it at once, without asking the system inside.
            timeout: Seconds a clean stop may take; then the operation fails and the instance keeps running. 0 is like
                ``force``; -1 leaves it to the server, which gives it ten minutes.
            wait: Wait until it has started again.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusInputError: ``timeout`` is not a whole number, or below -1.
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be restarted.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        result: Operation = self._wrap(self._portal.run(self._async.restart(name, force, timeout, wait)))
        return result

    def freeze(self: Keyed[LifecycleVerbs], name: str, wait: bool = False) -> Operation:
        """Freeze all processes of an instance, until `unfreeze`.

        Args:
            name: The instance.
            wait: Wait until it is frozen.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be frozen.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        result: Operation = self._wrap(self._portal.run(self._async.freeze(name, wait)))
        return result

    def unfreeze(self: Keyed[LifecycleVerbs], name: str, wait: bool = False) -> Operation:
        """Resume the frozen processes of an instance.

        Args:
            name: The instance.
            wait: Wait until they are resumed.

        Returns:
            The operation; with ``wait`` as it ended.

        Raises:
            IncusNotFoundError: There is no such instance.
            IncusOperationError: With ``wait``: it could not be unfrozen; it was not frozen, for example.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        result: Operation = self._wrap(self._portal.run(self._async.unfreeze(name, wait)))
        return result

    def get_state(self: Keyed[LifecycleVerbs], name: str) -> models.InstanceState:
        """Read what an instance is doing and using at this moment.

        Args:
            name: The instance.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/state``
        """
        result: models.InstanceState = self._portal.run(self._async.get_state(name))
        return result
