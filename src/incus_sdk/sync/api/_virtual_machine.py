"""What only virtual machines have: a screen, memory to dump, UEFI variables, disks that speak NBD.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ...api import _virtual_machine as _source
from .. import _twin
from .base import Resource

if TYPE_CHECKING:
    import os
    from typing import Literal

    from ...operations import OnProgress
    from .nvram import NVRAMAPI


class VirtualMachineVerbs(Resource):
    """Verbs of virtual machines; servers refuse them for containers."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.VirtualMachineVerbs: ...

    @property
    def nvram(self) -> NVRAMAPI:
        """The UEFI variables of a virtual machine."""
        result: NVRAMAPI = self._wrap(self._async.nvram)
        return result

    def get_screenshot(self) -> bytes:
        """Take a screenshot of a running virtual machine, as PNG.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusNotFoundError: There is no such instance.
            IncusInputError: It is not a running virtual machine.

        API:
            ``GET /1.0/instances/{name}/console``. Extension ``instance_console_screenshot``.
        """
        return self._portal.run(self._async.get_screenshot())

    def dump_memory(
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
        return self._portal.run(self._async.dump_memory(target_path, format, progress=_twin.posted(progress)))

    def repair(self, action: Literal["rebuild-config-volume", "rebuild-nvram"] | str) -> None:
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
        self._portal.run(self._async.repair(action))

    def create_bitmap(
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
        self._portal.run(
            self._async.create_bitmap(name, granularity=granularity, persistent=persistent, disabled=disabled)
        )

    def nbd(self, *, reuse: bool = False) -> AbstractContextManager[tuple[_twin.StreamReader, _twin.StreamWriter]]:
        """A connection that speaks NBD, for the time of ``with``, to the disks of a running virtual machine.

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
        return self._portal.enter(self._async.nbd(reuse=reuse), self._wrap)
