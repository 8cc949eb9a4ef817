"""What the server lacks and whom it does not let in: an error that says what to do."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import Client, IncusError, IncusUnsupportedError, Instance, Operation
from incus_sdk.testing import Daemon


async def test_an_extension_that_the_server_lacks_is_named_before_anything_is_sent(client: Client) -> None:
    with pytest.raises(
        IncusUnsupportedError, match=r"flying needs the API extension wings, .* this server \(\d"
    ) as caught:
        await client._scope.require("wings", "flying")
    assert caught.value.extension == "wings"
    await client._scope.require("etag", "walking")


NO_IMAGE = {"type": "image", "alias": "nope"}
MEMORY = {"limits.memory": "lots"}
MANY = {"user.a": "1", "user.b": "may be", "boot.autostart": "maybe"}


async def later(operation: Awaitable[Operation]) -> None:
    await (await operation).wait()


REFUSALS: dict[str, tuple[str, Callable[[Client, Instance, Path], Any]]] = {
    "list of no project": ("project nope", lambda c, b, p: c.use_project("nope").instances.list()),
    "names of no project": ("project nope", lambda c, b, p: c.use_project("nope").instances.list(0)),
    "warnings of no project": ("project nope", lambda c, b, p: c.use_project("nope").warnings.list()),
    "no instance": ("not found: is it in another project", lambda c, b, p: c.instances.get("nope")),
    "running": ("is running: stop it first, as delete.force=True", lambda c, b, p: b.delete(wait=True)),
    "image by alias": ("no image 'nope'; launch", lambda c, b, p: c.instances.create("x", NO_IMAGE, wait=True)),
    "image later": ("no image 'nope'; launch", lambda c, b, p: later(c.instances.create("x", NO_IMAGE))),
    "image by name": ("no image 'nope'.*images:debian/13", lambda c, b, p: c.instances.launch("nope", "x")),
    "value": ("value of limits.memory", lambda c, b, p: b.update({"config": MEMORY}, wait=True)),
    "value later": ("value of limits.memory", lambda c, b, p: later(b.update(MEMORY))),
    "one of many values": (r"value of boot.autostart\)", lambda c, b, p: b.update(MANY, wait=True)),
    "values of a new one": (
        "value of limits.cpu",
        lambda c, b, p: c.instances.create("x", "busybox", {"limits.cpu": "many"}, wait=True),
    ),
    "value of a profile": ("value of limits.memory", lambda c, b, p: c.profiles.create("x", config=MEMORY)),
    "text": ("/no must exist, as path.parent.mkdir", lambda c, b, p: b.path("/no/f").write_text("x")),
    "appended": ("/no must exist, as path.parent.mkdir", lambda c, b, p: b.path("/no/f").append(b"x")),
    "directory": ("/no must exist, as path.parent.mkdir", lambda c, b, p: b.path("/no/f").mkdir()),
    "link": ("/no must exist, as path.parent.mkdir", lambda c, b, p: b.path("/no/f").symlink_to("x")),
    "rename": ("no directory for /no/f", lambda c, b, p: b.path("/etc/passwd").rename("/no/f")),
    "put": ("/no/f; its directory must exist", lambda c, b, p: b.put_files("/no/f", b"")),
    "get": ("Not Found: /no/f", lambda c, b, p: b.get_files("/no/f")),
    "push": (
        "/root.*, which a file cannot replace: into=True",
        lambda c, b, p: b.path("/root/").push(p),
    ),
    "push below": (
        "/etc.*, which a file cannot replace: into=True",
        lambda c, b, p: b.path("/etc").push(p),
    ),
    "aliases": (
        "aliases must be a list like",
        lambda c, b, p: c.images.create_from(source={"type": "instance", "name": b.name}, aliases=["x"]),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    ),
}


async def test_a_refusal_names_what_is_wrong_and_the_remedy(box: Instance, client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = {}
    for what, (said, call) in REFUSALS.items():
        try:
            wrong[what] = f"no error: {await call(client, box, tmp_path / 'file')!r}"
        except IncusError as error:
            if not re.search(said, str(error)):
                wrong[what] = str(error)
    assert not wrong
    with pytest.raises(AttributeError, match="no stdin before it is open: enter it as a context manager"):
        _ = box.open_process(["cat"]).stdin
    with pytest.raises(KeyError, match="still under way; wait for it with wait=True"):
        _ = (await client.instances.execute(box.name, ["sleep", "1"]))["metadata"]["output"]
    with pytest.raises(AttributeError, match=r"read as .config.get\('restricted'\)"):
        _ = (await client.projects.get("default")).restricted  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path, which everybody may enter."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


AS_NOBODY = """
import asyncio, os, sys
from incus_sdk import Client, IncusError
# What is loaded late, and nobody may read.
import incus_sdk._connection.exchange, incus_sdk._connection.frames, incus_sdk._connection.switching
import incus_sdk.api.instances

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
