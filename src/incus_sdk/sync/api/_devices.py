"""Devices of instances and profiles: added, changed and removed one by one.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from ...api import _devices as _source
from ...api.base import Body
from .. import _twin
from .base import Writable

if TYPE_CHECKING:
    from typing import Any

    from ... import models
    from ._by_key import Keyed


class DeviceVerbs(Writable[Body], Generic[Body]):
    """Verbs that change one device, whoever else is writing."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.DeviceVerbs[Any]: ...

    def add_device(self, name: str, device: models.Device) -> None:
        """Add a device.

            instance.add_device("data", {"type": "disk", "pool": "default", "source": "data", "path": "/srv"})

        An instance's own device hides one of that name that its profiles have; one of type ``none`` only hides it.

        Args:
            name: Its name.
            device: The device; ``type`` says what it is.

        Raises:
            IncusInputError: It has no ``type``, or a value that cannot be sent.
            IncusNotFoundError: There is no such instance or profile.
            IncusConflictError: There is a device of that name; nothing was changed.
            IncusPreconditionError: Other writers were faster too many times.
            IncusAPIError: The server refused the device of a profile.
            IncusOperationError: It refused that of an instance.

        API:
            ``GET`` and ``PUT`` of its path, with ``If-Match``, repeated if somebody else was faster
        """
        self._portal.run(self._async.add_device(name, device))

    def update_device(self, name: str, changes: models.Device) -> None:
        """Change some keys of a device and keep all others.

            instance.update_device("root", {"size": "20GiB"})

        If only the profiles of an instance have the device, it gets a copy of its own, with the changes, as by
        ``incus config device override``. Changes of the profiles do not reach the copy; `remove_device` ends that.

        Args:
            name: Its name.
            changes: The changed keys; None removes one.

        Raises:
            IncusInputError: A value cannot be sent.
            IncusNotFoundError: There is no such instance or profile, or no such device; nothing was changed.
            IncusPreconditionError: Other writers were faster too many times.
            IncusAPIError: The server refused the device of a profile.
            IncusOperationError: It refused that of an instance.

        API:
            ``GET`` and ``PUT`` of its path, with ``If-Match``, repeated if somebody else was faster
        """
        self._portal.run(self._async.update_device(name, changes))

    def remove_device(self, name: str) -> None:
        """Remove a device.

        A device that its profiles have stays with an instance: ``add_device(name, {"type": "none"})`` hides it.

        Args:
            name: Its name.

        Raises:
            IncusNotFoundError: There is no such instance or profile, or it has no such device of its own; nothing was
                changed.
            IncusPreconditionError: Other writers were faster too many times.
            IncusAPIError: The device of a profile cannot be removed.
            IncusOperationError: That of an instance cannot.

        API:
            ``GET`` and ``PUT`` of its path, with ``If-Match``, repeated if somebody else was faster
        """
        self._portal.run(self._async.remove_device(name))


class ChangesDevices(_twin.Twin):
    """`DeviceVerbs` by name."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...

    def add_device(self: Keyed[DeviceVerbs[Any]], name: str, device_name: str, device: models.Device) -> None:
        """Add a device to one of them: see `DeviceVerbs.add_device`.

        Args:
            name: The instance or profile.
            device_name: The name of the device.
            device: The device; ``type`` says what it is.

        Raises:
            IncusInputError: It has no ``type``, or a value that cannot be sent.
            IncusNotFoundError: There is no such instance or profile.
            IncusConflictError: There is a device of that name; nothing was changed.
            IncusPreconditionError: Other writers were faster too many times.
            IncusAPIError: The server refused the device of a profile.
            IncusOperationError: It refused that of an instance.

        API:
            ``GET`` and ``PUT`` of its path, with ``If-Match``, repeated if somebody else was faster
        """
        self._portal.run(self._async.add_device(name, device_name, device))

    def update_device(self: Keyed[DeviceVerbs[Any]], name: str, device_name: str, changes: models.Device) -> None:
        """Change some keys of a device and keep all others; override it if it is of a profile.

        See `DeviceVerbs.update_device`.

        Args:
            name: The instance or profile.
            device_name: The name of the device.
            changes: The changed keys; None removes one.

        Raises:
            IncusInputError: A value cannot be sent.
            IncusNotFoundError: There is no such instance or profile, or no such device; nothing was changed.
            IncusPreconditionError: Other writers were faster too many times.
            IncusAPIError: The server refused the device of a profile.
            IncusOperationError: It refused that of an instance.

        API:
            ``GET`` and ``PUT`` of its path, with ``If-Match``, repeated if somebody else was faster
        """
        self._portal.run(self._async.update_device(name, device_name, changes))

    def remove_device(self: Keyed[DeviceVerbs[Any]], name: str, device_name: str) -> None:
        """Remove a device from one of them: see `DeviceVerbs.remove_device`.

        Args:
            name: The instance or profile.
            device_name: The name of the device.

        Raises:
            IncusNotFoundError: There is no such instance or profile, or it has no such device of its own; nothing was
                changed.
            IncusPreconditionError: Other writers were faster too many times.
            IncusAPIError: The device of a profile cannot be removed.
            IncusOperationError: That of an instance cannot.

        API:
            ``GET`` and ``PUT`` of its path, with ``If-Match``, repeated if somebody else was faster
        """
        self._portal.run(self._async.remove_device(name, device_name))
