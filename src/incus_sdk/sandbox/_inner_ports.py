"""Connections to a port in a box, by a command in it, for servers that cannot connect to one themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ..api.instances import Instance

# Where one side has ended, the other goes on; at the end of what comes from the port, it is over.
_CONNECT = """
if command -v nc >/dev/null 2>&1; then exec nc 127.0.0.1 "$1"; fi
exec bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" 4<&0 || exit; cat <&4 >&3 & cat <&3; kill $!' "$1"
"""


@asynccontextmanager
async def connected(instance: Instance, port: int) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The streams of a command that is connected to a TCP port of an instance's own loopback."""
    command: Any = instance.open_process(["sh", "-c", _CONNECT, "sh", str(port)])
    async with command as process:
        yield process.stdout, cast("asyncio.StreamWriter", process.stdin)  # which has what is needed here
