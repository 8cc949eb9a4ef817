"""What the server lacks and whom it does not let in: an error that says what to do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from incus_sdk import (
    Client,
    IncusUnsupportedError,
)
from incus_sdk.testing import Daemon


async def test_an_extension_that_the_server_lacks_is_named_before_anything_is_sent(client: Client) -> None:
    with pytest.raises(
        IncusUnsupportedError, match=r"flying needs the API extension wings, .* this server \(\d"
    ) as caught:
        await client._scope.require("wings", "flying")
    assert caught.value.extension == "wings"
    await client._scope.require("etag", "walking")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path, which everybody may enter."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


AS_NOBODY = """
import asyncio, os, sys
from incus_sdk import Client, IncusError
import incus_sdk._connection.frames, incus_sdk._connection.switching  # what is loaded late, and nobody may read

os.setgroups([])
os.setgid(65534)
os.setuid(65534)

async def main():
    client = Client(sys.argv[1])
    for attempt in (client.connect, client.instances.list, client.events.listen().__aenter__):
        try:
            await attempt()
        except IncusError as error:
            print(type(error).__name__, error)
    await client.disconnect()

asyncio.run(main())
"""


async def as_nobody(path: Path) -> list[str]:
    command = [sys.executable, "-c", AS_NOBODY, str(path)]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    return ran.stdout.splitlines()


async def test_a_socket_that_is_not_for_this_user_says_which_group_to_join(daemon: Daemon, directory: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError

    async with await asyncio.start_unix_server(serve, directory / "unix.socket"):
        (directory / "unix.socket").chmod(0o600)
        (directory / "closed").mkdir(mode=0o700)
        for path in (directory / "unix.socket", daemon.socket, directory / "closed" / "unix.socket"):
            said = await as_nobody(path)
            assert len(said) == 3
            for line in said:
                assert line.startswith("IncusConnectionError ")
                assert line.endswith(f"no permission to use {path}: become root or join the group incus-admin")
