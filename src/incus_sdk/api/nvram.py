"""UEFI variables of a virtual machine (extension ``instance_nvram``)."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .. import models
from .._connection import wire
from ..exceptions import IncusInputError
from ._bodies import to_body
from .base import Deletable, Group

_RAW = "application/octet-stream"


class NVRAMVariable(models.InstanceNVRAMVariable, Deletable):
    """A UEFI variable. The server changes those of a stopped virtual machine alone."""

    EXTENSION = "instance_nvram"

    @property
    def guid(self) -> str:
        """Whose variable it is: a GUID."""
        return self._path[-2]

    @property
    def name(self) -> str:
        """Its name, as ``BootOrder``."""
        return self._path[-1]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.guid}/{self.name}>"

    async def replace(self, body: models.InstanceNVRAMVariablePut | Mapping[str, Any], etag: str | None = None) -> None:
        """Set it to exactly ``body``, whose ``data`` is the decoded value; it need not be there yet.

        With ``etag``, raises `IncusPreconditionError` if it has changed since.
        ``PUT /1.0/instances/{name}/nvram/{guid}/{variable}``.
        """
        await self._perform("PUT", body=to_body(body), headers={"If-Match": etag} if etag else None)

    async def read_bytes(self) -> bytes:
        """The value as it is. ``GET /1.0/instances/{name}/nvram/{guid}/{variable}``."""
        content: bytes = (await self._request("GET", headers={"Accept": _RAW})).metadata
        return content

    async def write_bytes(
        self, value: bytes, *, attributes: int | None = None, timestamp: datetime | None = None
    ) -> None:
        """Set it to this value; it need not be there yet. ``PUT /1.0/instances/{name}/nvram/{guid}/{variable}``.

        ``attributes``: UEFI's own bits; without them it lasts, and is there at boot and at run time. ``timestamp``: of
        a variable with time-based authentication alone.
        """
        if not isinstance(value, bytes | bytearray | memoryview):
            raise IncusInputError(f"value must be bytes, not {type(value).__name__}")
        headers = {"Content-Type": _RAW}
        headers |= {} if attributes is None else {"X-Incus-attributes": str(int(attributes))}
        headers |= {} if timestamp is None else {"X-Incus-timestamp": str(int(timestamp.timestamp()))}
        await self._request("PUT", body=bytes(value), headers=headers)


class _Variables(Group):
    EXTENSION = "instance_nvram"

    async def _read(self, recursion: int) -> Any:
        return (await self._request("GET", query={"recursion": recursion})).metadata or {}


class NVRAMVariablesAPI(_Variables):
    """``instance.nvram[guid]``: the variables of one GUID."""

    def __init__(self, nvram: NVRAMAPI, guid: str) -> None:
        super().__init__(nvram)
        wire.path(guid)
        self._path = (*self._path, guid)

    def __getitem__(self, name: str) -> NVRAMVariable:
        """A handle on one of them; makes no request."""
        wire.path(name)
        return NVRAMVariable(self._scope, (*self._path, name), {}, loaded=False)

    async def list(self, recursion: int = 1) -> builtins.list[NVRAMVariable]:
        """All of them; ``recursion`` 0 gives handles. ``GET /1.0/instances/{name}/nvram/{guid}``."""
        return self._from_list(await self._read(min(recursion, 1)))

    async def get(self, name: str) -> NVRAMVariable:
        """One of them, read. Raises `IncusNotFoundError`. ``GET /1.0/instances/{name}/nvram/{guid}/{variable}``."""
        return await self[name].refresh()

    def _from_list(self, listed: Any) -> builtins.list[NVRAMVariable]:
        """The variables of a list of URLs, or of a mapping by name."""
        if isinstance(listed, Mapping):
            return [NVRAMVariable(self._scope, (*self._path, name), json) for name, json in listed.items()]
        return [self[wire.names(url)[-1]] for url in listed or ()]


class NVRAMAPI(_Variables):
    """``instance.nvram``: the UEFI variables of a virtual machine, ``nvram[guid][name]``.

    A read while the firmware writes them, as it boots, raises `IncusAPIError` (500, ``Unexpected data``). A machine
    that was stopped by force in that moment may go on answering so.
    """

    segment = "nvram"

    def __getitem__(self, guid: str) -> NVRAMVariablesAPI:
        """Those of one GUID; makes no request."""
        return NVRAMVariablesAPI(self, guid)

    async def guids(self) -> builtins.list[str]:
        """Whose variables there are. ``GET /1.0/instances/{name}/nvram``."""
        return [wire.names(url)[-1] for url in await self._read(0)]

    async def list(self, recursion: int = 1) -> builtins.list[NVRAMVariable]:
        """All of them; ``recursion`` 0 gives handles. ``GET /1.0/instances/{name}/nvram``."""
        found = await self._read(min(recursion, 1) + 1)
        return [variable for guid, listed in found.items() for variable in self[guid]._from_list(listed)]

    async def patch(
        self, changes: Mapping[str, Mapping[str, models.InstanceNVRAMVariablePut | Mapping[str, Any] | None]]
    ) -> None:
        """Set many at once, by GUID and name; None deletes one (extension ``instance_nvram_bulk_update``).

        ``PATCH /1.0/instances/{name}/nvram``.
        """
        await self._scope.require("instance_nvram_bulk_update", "changing many UEFI variables at once")
        await self._request("PATCH", body=to_body(changes))
