"""Progress bars: on a terminal, in lines, and without rich."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from incus_sdk import Client, IncusError, Instance, Progress, progress
from incus_sdk.testing import Daemon
from tests.live.behaviour.test_process import Terminal

MB = 10**6
UPDATES = [
    Progress(stage="upload", percent=percent, processed=percent * MB, total=100 * MB, speed=25 * MB)
    for percent in (0, 5, 10, 55, 100)
]
PROGRAM = """
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from incus_sdk import progress
from incus_sdk.sync import Client

folder = Path(sys.argv[3])
with Client(sys.argv[1]) as client, progress.bars() as bars:
    box = client.instances[sys.argv[2]]
    box.path("/root/big").push(folder / "big", progress=bars)
    for name in ("one", "two"):
        box.path(f"/root/{name}").push(folder / "big", progress=bars.named(name))
"""


@pytest.fixture
async def client(daemon: Daemon, clean: None) -> AsyncIterator[Client]:
    """Over the unix socket alone, of the daemon that the programs use, too."""
    async with daemon.client() as client:
        yield client


@pytest.fixture
def box(kept_box: Instance) -> Instance:
    """One box for the tests of this file."""
    return kept_box


def test_lines_of_text_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bars() as bars:
        for update in UPDATES:
            bars(update)
        bars(Progress(stage="create_backup", text="Packing"))
        bars.named("web")(Progress(stage="download", percent=100, files=3, total_files=3, item="a/[b]"))
    out, lines = capsys.readouterr()
    assert out == ""
    assert lines.splitlines() == [
        "upload 0 %, 0 B of 100.0 MB, 25.0 MB/s",
        "upload 10 %, 10.0 MB of 100.0 MB, 25.0 MB/s",
        "upload 55 %, 55.0 MB of 100.0 MB, 25.0 MB/s",
        "upload 100 %, 100.0 MB of 100.0 MB, 25.0 MB/s",
        "create backup",
        "web: download 100 %, 3 of 3 files, a/[b]",
    ]


HOSTILE = Progress(stage="download", percent=100, item="a\x1b[2J\r\nupload\udcff")


def test_lines_of_text_stay_lines_whatever_a_file_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bars() as bars:
        bars.named("\x1b[2Jweb")(HOSTILE)
    assert capsys.readouterr().err == "\\x1b[2Jweb: download 100 %, a\\x1b[2J upload\\udcff\n"


def test_a_long_name_leaves_the_bar_and_a_terminal_obeys_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "100")
    with progress.bars() as bars:
        bars.named("web")(HOSTILE)
        bars.named("long")(replace(UPDATES[-1], item="name/" * 100))
    shown = capsys.readouterr().err
    assert "\x1b[2J" not in shown
    (line,) = {line.rstrip() for line in shown.splitlines() if "long: upload" in line}
    assert re.fullmatch(r"long: upload +\S+ 100% 100.0 MB of 100.0 MB, 25.0 MB/s, na\S+", line), line


async def test_bars_on_a_terminal(daemon: Daemon, box: Instance, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(5 * MB))
    async with Terminal() as terminal:
        program = await terminal.start(PROGRAM, str(daemon.socket), box.name, str(tmp_path))
        await terminal.until(b"one: upload")
        await terminal.until(b"two: upload")
        await terminal.until(b"100%")
        await terminal.until(b"5.0 MB of 5.0 MB")
        assert await program.wait() == 0
    assert (await box.path("/root/big").stat()).size == 5 * MB


class Output(contextlib.nullcontext[None]):
    """The widget of a notebook."""

    def clear_output(self, *, wait: bool) -> None: ...


def test_bars_in_a_notebook_show_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    module = ModuleType("IPython.display")
    module.display = lambda what: shown.append(getattr(what, "text", ""))  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    with progress.bars() as bars:
        bars(UPDATES[-1])
    assert shown == ["upload 100 %, 100.0 MB of 100.0 MB, 25.0 MB/s\n"]
    widgets = ModuleType("ipywidgets")
    widgets.Output = Output  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    widgets.__spec__ = ModuleSpec("ipywidgets", None)
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    with progress.bars() as bars:
        for update in UPDATES:
            bars(update)
    assert "100%" in list(filter(None, shown))[-1]


def test_without_rich_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(IncusError, match=r"pip install 'incus-sdk\[progress\]'"), progress.bars():
        pass


def test_nobody_else_loads_rich() -> None:
    code = "import sys, incus_sdk, incus_sdk.sync, incus_sdk.progress; print('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
