"""What only virtual machines have: a screen, memory to dump, UEFI variables, disks that speak NBD."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from .._atomic import atomic_file
from .._connection import wire
from ..exceptions import IncusInputError
from ..models.base import Json
from .base import Resource
from .nvram import NVRAMAPI

_END = 4096  # bytes that the JSON of an error may take


class VirtualMachineVerbs(Resource):
    """Verbs of an instance that is a virtual machine; of a container, servers refuse them."""

    @property
    def nvram(self) -> NVRAMAPI:
        """The UEFI variables of a virtual machine."""
        return NVRAMAPI(self)

    async def get_screenshot(self) -> bytes:
        """The screen of a running virtual machine, as PNG (extension ``instance_console_screenshot``).

        Raises `IncusInputError` for an instance that has no screen. ``GET /1.0/instances/{name}/console``.
        """
        await self._scope.require("instance_console_screenshot", "a screenshot")
        path = wire.path(*self._path, "console")
        async with self._scope.download("GET", path, query={"type": "vga"}) as stream:
            if stream.headers.get("Content-Type") != "image/png":  # the console's text
                raise IncusInputError(f"{self._path[-1]} has no screen: only a running virtual machine does")
            return await stream.read()

    async def dump_memory(self, target_path: str | os.PathLike[str], format: str = "elf") -> int:
        """Write the memory of a running virtual machine to a file, streamed; returns its size in bytes.

        ``format``: ``elf``, ``kdump-zlib``, ``kdump-lzo``, ``kdump-snappy`` or ``win-dmp``. The file is there once it
        is whole. Extension ``instance_debug_memory``. ``GET /1.0/instances/{name}/debug/memory``.
        """
        await self._scope.require("instance_debug_memory", "dumping memory")
        path = wire.path(*self._path, "debug", "memory")
        async with self._scope.download("GET", path, query={"format": format}) as stream:
            size, end = 0, b""
            with atomic_file(target_path) as file:
                async for chunk in stream.chunks():
                    size += file.write(chunk)
                    end = (end + chunk)[-_END:]
                # An error comes behind what was dumped until then, under the status of a success.
                _, found, rest = end.rpartition(b'{"type":"error",')
                if found:
                    wire.decode(200, {"Content-Type": "application/json"}, found + rest, f"GET {path}")
            return size

    async def repair(self, action: str) -> None:
        """Repair what ordinary calls cannot reach (extension ``instances_debug_repair``).

        ``action``: ``rebuild-config-volume``, of a stopped virtual machine on QCOW2; ``rebuild-nvram``, of a stopped
        virtual machine, where the server has ``instance_nvram``. ``POST /1.0/instances/{name}/debug/repair``.
        """
        await self._scope.require("instances_debug_repair", "repairing an instance")
        await self._request("POST", "debug", "repair", body={"action": action})

    async def create_bitmap(
        self, name: str, *, granularity: int | None = None, persistent: bool = False, disabled: bool = False
    ) -> None:
        """Note from now on what is written to the disks of a running virtual machine, the same moment for all of them.

        ``granularity``: bytes that one bit stands for. ``persistent``: it outlives the virtual machine's process.
        ``disabled``: note nothing yet. See `Volume.bitmaps`; extension ``storage_volume_nbd``.
        ``POST /1.0/instances/{name}/bitmaps``.
        """
        await self._scope.require("storage_volume_nbd", "bitmaps")
        body: Json = {"name": name, "persistent": persistent, "disabled": disabled}
        await self._request(
            "POST", "bitmaps", body=body | ({} if granularity is None else {"granularity": granularity})
        )

    @asynccontextmanager
    async def nbd(self, *, reuse: bool = False) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection that speaks NBD, for the time of ``async with``; all disks of a running virtual machine are its
        exports, by the names of their devices.

        ``reuse``: one more connection to the session that there is. Extension ``instance_nbd``.
        ``GET /1.0/instances/{name}/nbd``, upgraded.
        """
        await self._scope.require("instance_nbd", "NBD of all disks")
        async with self._upgrade("GET", "nbd", protocol="nbd", query={"reuse": 1} if reuse else None) as streams:
            yield streams
