"""Devices of instances and profiles: added, changed and removed one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic

from .. import models
from .._connection import wire
from ..exceptions import IncusConflictError, IncusInputError, IncusNotFoundError
from ..models.base import Json
from ._by_key import Keyed
from .base import Body, Writable


class DeviceVerbs(Writable[Body], Generic[Body]):
    """Verbs that change one device, whoever else is writing."""

    async def add_device(self, name: str, device: models.Device) -> None:
        """Add a device.

            await instance.add_device("data", {"type": "disk", "pool": "default", "source": "data", "path": "/srv"})

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
        wanted = wire.merge_patch({}, _to_device(name, device))
        if not wanted.get("type"):
            raise IncusInputError(
                f'the device {name!r} has no type: give it, as "disk" or "nic"; for a device that is there use '
                "update_device()"
            )

        def require_absent(now: Json) -> None:
            if name in _own(now):
                self._refuse_second(name)

        after = await self._change_device(name, lambda _: wanted, require_absent)
        if after is not None and after != wanted:
            self._refuse_second(name)

    async def update_device(self, name: str, changes: models.Device) -> None:
        """Change some keys of a device and keep all others.

            await instance.update_device("root", {"size": "20GiB"})

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
        patch = _to_device(name, changes)

        def current(now: Json) -> Json | None:
            return _own(now).get(name) or _inherited(now).get(name)

        def require_present(now: Json) -> None:
            if current(now) is None:
                raise self._missing(name, {**_inherited(now), **_own(now)})

        await self._change_device(name, lambda now: wire.merge_patch(current(now) or {}, patch), require_present)

    async def remove_device(self, name: str) -> None:
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
        _require_name(name)

        def require_own(now: Json) -> None:
            if name in _own(now):
                return
            if name in _inherited(now):
                raise IncusNotFoundError(
                    f"{self._described()} has the device {name!r} from a profile: hide it by add_device({name!r}, "
                    '{"type": "none"}), or remove it from the profile; nothing was changed',
                    status_code=404,
                )
            raise self._missing(name, _own(now))

        await self._change_device(name, lambda _: None, require_own)

    async def _change_device(
        self, name: str, device: Callable[[Json], Json | None], require: Callable[[Json], None]
    ) -> Json | None:
        """Write what ``device`` makes of it, None for nothing, and return it as it was read after that, if it was."""

        def merged(now: Json) -> Json:
            others = {key: value for key, value in _own(now).items() if key != name}
            changed = device(now)
            return {**now, "devices": others if changed is None else {**others, name: changed}}

        _, read = await self._rewrite(merged, require=require)
        if read is None:
            await self._reread()
            return None
        self._load(*read)
        return _own(read[0]).get(name)

    def _refuse_second(self, name: str) -> None:
        raise IncusConflictError(
            f"{self._described()} already has a device {name!r}: change it by update_device(), or remove it first",
            status_code=409,
        )

    def _missing(self, name: str, devices: Json) -> IncusNotFoundError:
        import difflib

        close = difflib.get_close_matches(name, devices, 1)
        remedy = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(sorted(devices)) or 'none'}"
        return IncusNotFoundError(
            f"{self._described()} has no device {name!r}: {remedy}; nothing was changed", status_code=404
        )

    def _described(self) -> str:
        return f"{type(self).__name__.lower()} {self._path[-1]!r}"


class ChangesDevices:
    """`DeviceVerbs` by name."""

    async def add_device(self: Keyed[DeviceVerbs[Any]], name: str, device_name: str, device: models.Device) -> None:
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
        await self[name].add_device(device_name, device)

    async def update_device(self: Keyed[DeviceVerbs[Any]], name: str, device_name: str, changes: models.Device) -> None:
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
        await self[name].update_device(device_name, changes)

    async def remove_device(self: Keyed[DeviceVerbs[Any]], name: str, device_name: str) -> None:
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
        await self[name].remove_device(device_name)


def _to_device(name: str, device: Any) -> Json:
    """One device as JSON."""
    _require_name(name)
    return {**wire.config_strings(device, f"the device {name!r}")}


def _require_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise IncusInputError(f"a device needs a name, not {name!r}")


def _own(json: Json) -> Json:
    return json.get("devices") or {}


def _inherited(json: Json) -> Json:
    """Those that profiles have as well; empty of a profile itself."""
    return json.get("expanded_devices") or {}
