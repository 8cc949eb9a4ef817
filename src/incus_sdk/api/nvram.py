"""UEFI variables of a virtual machine (extension ``instance_nvram``)."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .. import models
from .._connection import wire
from ..exceptions import IncusConnectionError, IncusInputError
from ._bodies import to_body
from .base import Deletable, Group

_BINARY = "application/octet-stream"


class NVRAMVariable(models.InstanceNVRAMVariable, Deletable):
    """A UEFI variable. It can be changed only while the virtual machine is stopped."""

    _EXTENSION = "instance_nvram"

    @property
    def guid(self) -> str:
        """The GUID of the vendor that the variable belongs to."""
        return self._path[-2]

    @property
    def name(self) -> str:
        """Its name: ``BootOrder``, for example."""
        return self._path[-1]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.guid}/{self.name}>"

    async def replace(self, body: models.InstanceNVRAMVariablePut | Mapping[str, Any], etag: str | None = None) -> None:
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
        await self._perform("PUT", body=to_body(body), headers={"If-Match": etag} if etag else None)

    async def read_bytes(self) -> bytes:
        """Read the value as bytes, not decoded.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusNotFoundError: There is no such variable.
            IncusAPIError: It is not a virtual machine.

        API:
            ``GET /1.0/instances/{name}/nvram/{guid}/{variable}``. Extension ``instance_nvram``.
        """
        return (await self._request("GET", headers={"Accept": _BINARY})).content

    async def write_bytes(
        self, value: bytes, *, attributes: int | None = None, timestamp: datetime | None = None
    ) -> None:
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
        if not isinstance(value, bytes | bytearray | memoryview):
            raise IncusInputError(f"value must be bytes, not {type(value).__name__}")
        headers = {"Content-Type": _BINARY}
        headers |= {} if attributes is None else {"X-Incus-attributes": str(int(attributes))}
        headers |= {} if timestamp is None else {"X-Incus-timestamp": str(int(timestamp.timestamp()))}
        await self._request("PUT", body=bytes(value), headers=headers)


class _NVRAMGroup(Group):
    _EXTENSION = "instance_nvram"

    async def _read(self, recursion: int) -> wire.Answer:
        return await self._request("GET", query={"recursion": recursion})


class NVRAMVariablesAPI(_NVRAMGroup):
    """``instance.nvram[guid]``: the UEFI variables of one GUID."""

    def __init__(self, nvram: NVRAMAPI, guid: str) -> None:
        super().__init__(nvram)
        wire.path(guid)
        self._path = (*self._path, guid)

    def __getitem__(self, name: str) -> NVRAMVariable:
        """A handle on one of them; makes no request."""
        wire.path(name)
        return NVRAMVariable(self._scope, (*self._path, name), {}, loaded=False)

    async def list(self, recursion: int = 1) -> builtins.list[NVRAMVariable]:
        """List the variables of the GUID.

        Args:
            recursion: 0 gives handles that know only their names, 1 the variables, read.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusAPIError: It is not a virtual machine.

        API:
            ``GET /1.0/instances/{name}/nvram/{guid}``. Extension ``instance_nvram``.
        """
        return self._from_list((await self._read(min(wire.depth(recursion), 1))).metadata)

    async def get(self, name: str) -> NVRAMVariable:
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
        return await self[name].refresh()

    def _from_list(self, listed: Any) -> builtins.list[NVRAMVariable]:
        """The variables of what the server lists: URLs, or with recursion a mapping of names to variables."""
        match listed:
            case dict() if all(isinstance(json, dict) for json in listed.values()):
                return [NVRAMVariable(self._scope, (*self._path, name), json) for name, json in listed.items()]
            case None | [*_]:
                return [self[wire.names(url)[-1]] for url in listed or ()]
            case _:
                raise IncusConnectionError("the server sent something else where variables belong")


class NVRAMAPI(_NVRAMGroup):
    """``instance.nvram``: the UEFI variables of a virtual machine, ``nvram[guid][name]``.

    Reading them while the firmware writes them, as it boots, raises `IncusAPIError` (500, ``Unexpected data``). If a
    virtual machine is stopped by force at that moment, this can go on.
    """

    _path_part = "nvram"

    def __getitem__(self, guid: str) -> NVRAMVariablesAPI:
        """The variables of one GUID; makes no request."""
        return NVRAMVariablesAPI(self, guid)

    async def get_guids(self) -> builtins.list[str]:
        """List the GUIDs that variables belong to.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusAPIError: It is not a virtual machine.

        API:
            ``GET /1.0/instances/{name}/nvram``. Extension ``instance_nvram``.
        """
        return [wire.names(url)[-1] for url in (await self._read(0)).strings]

    async def list(self, recursion: int = 1) -> builtins.list[NVRAMVariable]:
        """List the variables of all GUIDs.

        Args:
            recursion: 0 gives handles that know only their GUIDs and names, 1 the variables, read.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusAPIError: It is not a virtual machine.

        API:
            ``GET /1.0/instances/{name}/nvram``. Extension ``instance_nvram``.
        """
        answer = await self._read(min(wire.depth(recursion), 1) + 1)
        found = {} if answer.metadata is None else answer.object
        return [variable for guid, listed in found.items() for variable in self[guid]._from_list(listed)]

    async def patch(
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
        await self._scope.require("instance_nvram_bulk_update", "changing many UEFI variables at once")
        await self._request("PATCH", body=to_body(changes))
