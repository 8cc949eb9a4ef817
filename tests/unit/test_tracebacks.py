"""Tracebacks of the usual mistakes: how many frames of the SDK stand between the caller's line and the error."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import incus_sdk
import incus_sdk.sync.testing
from incus_sdk import IncusError, IncusNotFoundError
from incus_sdk._connection.scope import Scope
from incus_sdk.sync import _portal
from incus_sdk.testing import Fake

PACKAGE = Path(incus_sdk.__file__).parent
BLOCKING = 3  # the method, and how it waits

MISTAKES: dict[str, tuple[int, Callable[[Any, Any], Any]]] = {
    "wrong name": (4, lambda c, b: c.instances.get("nope")),
    "wrong name of a verb": (5, lambda c, b: c.instances.start("nope", wait=True)),
    "wrong type": (5, lambda c, b: b.run("ls -l")),
    "wrong image": (3, lambda c, b: c.instances.launch("nope", "x")),
    "runs": (7, lambda c, b: b.delete(wait=True)),
    "does not run": (9, lambda c, b: c.instances["stopped"].run(["true"])),
    "no file": (5, lambda c, b: b.path("/nope").read_text()),
    "no parent": (6, lambda c, b: b.path("/no/f").write_text("x")),
    "timeout": (3, lambda c, b: b.run(["sleep", "100"], timeout=0.01)),
    "exit code": (2, lambda c, b: b.run(["false"], check=True)),
    "taken name": (6, lambda c, b: c.profiles.create("default")),
    "taken name of an instance": (7, lambda c, b: c.instances.create("c1", "busybox", wait=True)),
    "other project": (5, lambda c, b: c.use_project("nope").instances.list()),
    "no permission": (4, lambda c, b: c.networks.get("secret")),
    "no daemon": (7, lambda c, b: type(c)("/nowhere/unix.socket").images.list()),
}
"""With how many frames of the SDK the async client raises it."""


def own_frames(error: BaseException | None) -> list[str]:
    """The frames of the SDK in all that is printed of an error."""
    found: list[str] = []
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        found += [f"{Path(f.filename).stem}.{f.name}" for f in frames if Path(f.filename).is_relative_to(PACKAGE)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


@pytest.fixture(autouse=True)
def _unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What live tests put around requests is code of somebody else."""
    for name in ("request", "upgrade", "websocket"):
        monkeypatch.setattr(Scope, name, inspect.unwrap(getattr(Scope, name)))


def script(fake: Any) -> None:
    fake.on_exec(["sleep", "100"], delay=100)
    fake.on_exec(["false"], returncode=1)
    fake.on_request("GET", "/1.0/networks/secret", status=403)


async def test_few_frames_of_the_async_client_are_in_a_traceback() -> None:
    frames: dict[str, list[str]] = {}
    async with Fake() as fake, fake.client() as client:
        box = await client.instances.launch("busybox", "c1")
        await client.instances.create("stopped", "busybox", wait=True)
        script(fake)
        for mistake, (_, make) in MISTAKES.items():
            with pytest.raises(IncusError) as caught:
                await make(client, box)
            frames[mistake] = own_frames(caught.value)
    assert {
        mistake: (len(those), those) for mistake, those in frames.items() if len(those) > MISTAKES[mistake][0]
    } == {}


def test_of_the_blocking_client_only_the_called_method_is_in_a_traceback() -> None:
    frames: dict[str, list[str]] = {}
    with incus_sdk.sync.testing.Fake() as fake, fake.client() as client:
        box = client.instances.launch("busybox", "c1")
        client.instances.create("stopped", "busybox", wait=True)
        script(fake)
        for mistake, (_, make) in MISTAKES.items():
            with pytest.raises(IncusError) as caught:
                make(client, box)
            frames[mistake] = own_frames(caught.value)
    assert {mistake: those for mistake, those in frames.items() if len(those) > BLOCKING} == {}


def test_a_traceback_through_code_of_the_caller_is_whole() -> None:
    with incus_sdk.sync.testing.Fake() as fake, fake.client() as client:
        box = client.instances.launch("busybox", "c1")

        def look_up(_: bytes) -> None:
            client.instances.get("nope")

        fake.on_exec(["echo"], stdout="x")
        with pytest.raises(IncusNotFoundError) as caught:
            box.run(["echo"], stdout=look_up)
    assert "look_up" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_development_mode_keeps_all_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_portal, "sys", SimpleNamespace(**{**vars(sys), "flags": SimpleNamespace(dev_mode=True)}))
    with pytest.raises(IncusError) as caught:
        incus_sdk.sync.Client("/nowhere/unix.socket").instances.get("x")
    assert "base._read" in own_frames(caught.value)
