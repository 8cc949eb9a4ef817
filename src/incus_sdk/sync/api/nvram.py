"""UEFI variables of a virtual machine (extension ``instance_nvram``).

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import models
from ...api import nvram as _source
from .base import Deletable, Group

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any


class NVRAMVariable(models.InstanceNVRAMVariable, Deletable):
    """A UEFI variable. It can be changed only while the virtual machine is stopped."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NVRAMVariable: ...

    @property
    def guid(self) -> str:
        """The GUID of the vendor that the variable belongs to."""
        return self._async.guid

    @property
    def name(self) -> str:
        """Its name: ``BootOrder``, for example."""
        return self._async.name

    def replace(self, body: models.InstanceNVRAMVariablePut | Mapping[str, Any], etag: str | None = None) -> None:
        """Create the variable, or replace it.

        Args:
            body: Its fields; ``data`` is the decoded value.
            etag: The `etag` of the variable as it was read; None replaces it whatever has happened since.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusPreconditionError: The variable has changed since that ``etag``.
            IncusAPIError: The virtual machine is running, or it is not a virtual machine.

        API:
            ``PUT /1.0/instances/{name}/nvram/{guid}/{variable}``. Extension ``instance_nvram``.
        """
        self._portal.run(self._async.replace(body, etag))

    def read_bytes(self) -> bytes:
        """Read the value as bytes, not decoded.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusNotFoundError: There is no such variable.
            IncusAPIError: It is not a virtual machine.

        API:
            ``GET /1.0/instances/{name}/nvram/{guid}/{variable}``. Extension ``instance_nvram``.
        """
        return self._portal.run(self._async.read_bytes())

    def write_bytes(self, value: bytes, *, attributes: int | None = None, timestamp: datetime | None = None) -> None:
        """Set the value as bytes, not decoded; this creates the variable if needed.

        Args:
            value: The value.
            attributes: Bits as UEFI defines them; None for a variable that lasts, and is visible at boot and run time.
            timestamp: Only for a variable with time-based authentication.

        Raises:
            IncusInputError: ``value`` is not bytes.
            IncusUnsupportedError: The server lacks the API extension.
            IncusAPIError: The virtual machine is running, or it is not a virtual machine.

        API:
            ``PUT /1.0/instances/{name}/nvram/{guid}/{variable}``. Extension ``instance_nvram``.
        """
        self._portal.run(self._async.write_bytes(value, attributes=attributes, timestamp=timestamp))


class _NVRAMGroup(Group):
    if TYPE_CHECKING:

        @property
        def _async(self) -> _source._NVRAMGroup: ...


class NVRAMVariablesAPI(_NVRAMGroup):
    """``instance.nvram[guid]``: the UEFI variables of one GUID."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NVRAMVariablesAPI: ...

    def __getitem__(self, name: str) -> NVRAMVariable:
        """A handle on one of them; makes no request."""
        result: NVRAMVariable = self._wrap(self._async[name])
        return result

    def list(self, recursion: int = 1) -> builtins.list[NVRAMVariable]:
        """List the variables of the GUID.

        Args:
            recursion: 0 gives handles that know only their names, 1 the variables, read.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusAPIError: It is not a virtual machine.

        API:
            ``GET /1.0/instances/{name}/nvram/{guid}``. Extension ``instance_nvram``.
        """
        result: builtins.list[NVRAMVariable] = self._wrap(self._portal.run(self._async.list(recursion)))
        return result

    def get(self, name: str) -> NVRAMVariable:
        """One of them, read.

        Args:
            name: Its name.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusNotFoundError: There is no such variable.
            IncusAPIError: It is not a virtual machine.

        API:
            ``GET /1.0/instances/{name}/nvram/{guid}/{variable}``. Extension ``instance_nvram``.
        """
        result: NVRAMVariable = self._wrap(self._portal.run(self._async.get(name)))
        return result


class NVRAMAPI(_NVRAMGroup):
    """``instance.nvram``: the UEFI variables of a virtual machine, ``nvram[guid][name]``.

    Reading them while the firmware writes them, as it boots, raises `IncusAPIError` (500, ``Unexpected data``). If a
    virtual machine is stopped by force at that moment, this can go on.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NVRAMAPI: ...

    def __getitem__(self, guid: str) -> NVRAMVariablesAPI:
        """The variables of one GUID; makes no request."""
        result: NVRAMVariablesAPI = self._wrap(self._async[guid])
        return result

    def get_guids(self) -> builtins.list[str]:
        """List the GUIDs that variables belong to.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusAPIError: It is not a virtual machine.

        API:
            ``GET /1.0/instances/{name}/nvram``. Extension ``instance_nvram``.
        """
        return self._portal.run(self._async.get_guids())

    def list(self, recursion: int = 1) -> builtins.list[NVRAMVariable]:
        """List the variables of all GUIDs.

        Args:
            recursion: 0 gives handles that know only their GUIDs and names, 1 the variables, read.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusAPIError: It is not a virtual machine.

        API:
            ``GET /1.0/instances/{name}/nvram``. Extension ``instance_nvram``.
        """
        result: builtins.list[NVRAMVariable] = self._wrap(self._portal.run(self._async.list(recursion)))
        return result

    def patch(
        self, changes: Mapping[str, Mapping[str, models.InstanceNVRAMVariablePut | Mapping[str, Any] | None]]
    ) -> None:
        """Create, replace or delete many variables at once.

        Args:
            changes: The fields of variables, by GUID and name; None deletes one.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusAPIError: The virtual machine is running, or it is not a virtual machine.

        API:
            ``PATCH /1.0/instances/{name}/nvram``. Extension ``instance_nvram_bulk_update``.
        """
        self._portal.run(self._async.patch(changes))
