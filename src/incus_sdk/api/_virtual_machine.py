"""What only virtual machines have: a screen, memory to dump, UEFI variables, disks that speak NBD."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

from .._atomic import atomic_file
from .._connection import wire
from .._content import with_progress
from ..exceptions import IncusInputError
from ..models.base import Json
from ..operations import OnProgress
from .base import Resource
from .nvram import NVRAMAPI

_ERROR_SIZE = 4096  # bytes that the JSON of an error takes at most


class VirtualMachineVerbs(Resource):
    """Verbs of virtual machines; servers refuse them for containers."""

    @property
    def nvram(self) -> NVRAMAPI:
        """The UEFI variables of a virtual machine."""
        return NVRAMAPI(self)

    async def get_screenshot(self) -> bytes:
        """Take a screenshot of a running virtual machine, as PNG.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusNotFoundError: There is no such instance.
            IncusInputError: It is not a running virtual machine.

        API:
            ``GET /1.0/instances/{name}/console``. Extension ``instance_console_screenshot``.
        """
        await self._scope.require("instance_console_screenshot", "a screenshot")
        async with self._download("GET", "console", query={"type": "vga"}) as stream:
            if stream.headers.get("Content-Type") != "image/png":  # the console's text
                raise IncusInputError(f"{self._path[-1]} has no screen: only a running virtual machine does")
            return await stream.read()

    async def dump_memory(
        self, target_path: str | os.PathLike[str], format: str = "elf", *, progress: OnProgress | None = None
    ) -> int:
        """Write the memory of a running virtual machine to a file, which appears once it is complete.

        Args:
            target_path: The file, replaced if it exists.
            format: ``elf``, ``kdump-zlib``, ``kdump-lzo``, ``kdump-snappy`` or ``win-dmp``.
            progress: Called with how much was received, as stage ``download``.

        Returns:
            The size of the file in bytes.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusNotFoundError: There is no such instance.
            IncusAPIError: It is not a running virtual machine, or its memory could not be dumped.
            IncusConnectionError: The dump was cut off.
            IncusInputError: The file cannot be written.

        API:
            ``GET /1.0/instances/{name}/debug/memory``. Extension ``instance_debug_memory``.
        """
        await self._scope.require("instance_debug_memory", "dumping memory")
        async with self._download("GET", "debug", "memory", query={"format": format}) as stream:
            size, end = 0, b""
            with atomic_file(target_path) as file:
                async for chunk in with_progress(stream.chunks(), "download", None, progress):
                    size += file.write(chunk)
                    end = (end + chunk)[-_ERROR_SIZE:]
                # The status was that of a success before the dump failed: the error follows what was dumped.
                _, found, rest = end.rpartition(b'{"type":"error",')
                if found:
                    request = f"GET {self._url('debug', 'memory')}"
                    wire.decode(200, {"Content-Type": "application/json"}, found + rest, request)
            return size

    async def repair(self, action: Literal["rebuild-config-volume", "rebuild-nvram"] | str) -> None:
        """Repair a stopped virtual machine where other calls cannot.

        Args:
            action: ``rebuild-config-volume``, for one on QCOW2; or ``rebuild-nvram``, where the server has the API
                extension ``instance_nvram``.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusNotFoundError: There is no such instance.
            IncusAPIError: The action is unknown, or not for this instance.

        API:
            ``POST /1.0/instances/{name}/debug/repair``. Extension ``instances_debug_repair``.
        """
        await self._scope.require("instances_debug_repair", "repairing an instance")
        await self._request("POST", "debug", "repair", body={"action": action})

    async def create_bitmap(
        self, name: str, *, granularity: int | None = None, persistent: bool = False, disabled: bool = False
    ) -> None:
        """Track writes to the disks of a running virtual machine, from the same moment on.

        Its root disk and its dependent volumes get a bitmap each: see `Volume.bitmaps`.

        Args:
            name: The name of the bitmaps.
            granularity: Bytes that one bit stands for, a power of two; None leaves it to QEMU.
            persistent: Keep the bitmaps when the process of the virtual machine ends.
            disabled: Track nothing yet.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusNotFoundError: There is no such instance.
            IncusAPIError: It is not a running virtual machine, or has such bitmaps already.

        API:
            ``POST /1.0/instances/{name}/bitmaps``. Extension ``storage_volume_nbd``.
        """
        await self._scope.require("storage_volume_nbd", "bitmaps")
        body: Json = {"name": name, "persistent": persistent, "disabled": disabled}
        await self._request(
            "POST", "bitmaps", body=body | ({} if granularity is None else {"granularity": granularity})
        )

    @asynccontextmanager
    async def nbd(self, *, reuse: bool = False) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection that speaks NBD, for the time of ``async with``, to the disks of a running virtual machine.

        All its disks are exports, under the names of their devices.

        Args:
            reuse: Make another connection to the session that is open.

        Yields:
            The streams to read from and to write to.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusNotFoundError: There is no such instance.
            IncusAPIError: It is not a running virtual machine.

        API:
            ``GET /1.0/instances/{name}/nbd``, upgraded to ``nbd``. Extension ``instance_nbd``.
        """
        await self._scope.require("instance_nbd", "NBD of all disks")
        async with self._upgrade("GET", "nbd", protocol="nbd", query={"reuse": 1} if reuse else None) as streams:
            yield streams
