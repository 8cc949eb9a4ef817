"""Makes the pictures of a terminal and a notebook in ``docs/pictures``, each from a real run on a private daemon.

    python tools/pictures.py

Needs root and Incus, Chromium, and ``pip install -e '.[progress]' ipykernel ipywidgets nbconvert pyte``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import itertools
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Any

from incus_sdk.testing import Daemon

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
COLUMNS = 113
WIDTH, HEIGHT = 1100, 620  # of the notebook
PATIENCE = 60  # seconds for an answer

SESSION = r"""
from incus_sdk import progress
from incus_sdk.sync import Client, IncusError
client = Client()
web = client.instances.launch("busybox", "web", config={"limits.memory": "256MiB"})
web.run(["uname", "-sn"], text=True, check=True)

with progress.bars() as bars:
    web.path("/srv/data").push("data", progress=bars)

db = web.copy("db", start=True)
client.instances.list()
try:
    client.instances.get("wbe")
except IncusError as error:
    print(error)

"""

CELLS = (
    """
from incus_sdk import progress
from incus_sdk.sync import Client

client = Client()
for name in ("web", "db", "worker"):
    client.instances.launch("busybox", name, config={"user.team": "shop"})
client.instances["worker"].stop(force=True, wait=True)
client.instances.list(recursion=2)
""",
    """
web = client.instances.get("web")
web, web.get_state().memory
""",
    """
with progress.bars() as bars:
    for name in ("web", "db"):
        client.instances[name].path("/srv/data").push("data", progress=bars.named(name))
""",
    """
web.run(["ls", "/srv/data"], text=True)
""",
)


def terminal(folder: Path, environment: dict[str, str]) -> None:
    """Type the session into Python on a terminal, and draw what is on it in the end."""
    import pyte

    screen = pyte.Screen(COLUMNS, 60)
    stream = pyte.ByteStream(screen)
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(folder)
        environment = {**environment, "TERM": "xterm-256color", "PYTHON_BASIC_REPL": "1"}
        os.execve(sys.executable, [sys.executable, "-q"], environment)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))

    def wait() -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if select.select([master], [], [], 0.3)[0]:
                stream.feed(os.read(master, 65536))
            elif screen.display[screen.cursor.y].rstrip() in (">>>", "..."):
                return
        raise SystemExit("\n".join(screen.display))

    wait()
    for line in SESSION.lstrip("\n").split("\n")[:-1]:
        os.write(master, line.encode() + b"\n")
        wait()
    os.close(master)
    os.waitpid(pid, 0)
    (FOLDER / "terminal.svg").write_text(draw(screen))


def draw(screen: Any) -> str:
    """What is on a terminal, as SVG."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    rows = [row for row, text in enumerate(screen.display) if text.strip() not in ("", ">>>")]
    for row in range(rows[-1] + 1):
        cells = [screen.buffer[row][column] for column in range(COLUMNS)]
        text = Text()
        for look, run in itertools.groupby(cells, style):
            text.append("".join(cell.data for cell in run), look)
        text.rstrip()
        if text.plain not in (">>>", "..."):
            console.print(text)
    without_fonts = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="python", code_format=without_fonts, unique_id="terminal")


def style(cell: Any) -> str:
    """A cell's colour, in the words of rich."""
    colour = "" if cell.fg == "default" else {"brown": "yellow"}.get(cell.fg, cell.fg)
    if re.fullmatch("[0-9a-f]{6}", colour):
        colour = f"#{colour}"
    return " ".join(filter(None, ["bold" if cell.bold else "", colour])) or "none"


def notebook(folder: Path, environment: dict[str, str]) -> None:
    """Run the cells in Jupyter, and have a browser show them."""
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in CELLS])
    os.environ.update(environment, JUPYTER_COLUMNS="122")
    NotebookClient(book, timeout=PATIENCE, resources={"metadata": {"path": str(folder)}}).execute()
    states = book.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    for cell in book.cells:
        for output in list(cell.outputs):
            if "data" in output and (view := output["data"].get("application/vnd.jupyter.widget-view+json")):
                # The page would need a server to show a widget; this one holds plain outputs.
                position = cell.outputs.index(output)
                cell.outputs[position : position + 1] = map(
                    nbformat.from_dict, states[view["model_id"]]["state"]["outputs"]
                )
    page, _ = HTMLExporter(template_name="lab").from_notebook_node(book)
    (folder / "notebook.html").write_text(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    shoot(folder / "notebook.html", FOLDER / "notebook.png")


def shoot(page: Path, picture: Path) -> None:
    """Have a browser draw a page."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}"),
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    async with Daemon() as daemon:
        with contextlib.ExitStack() as stack:
            for take in (terminal, notebook):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                (folder / "data").mkdir()
                for number in range(4):
                    (folder / "data" / f"part-{number}").write_bytes(os.urandom(16_000_000))
                environment = {**os.environ, "INCUS_SOCKET": str(daemon.socket), "INCUS_CONF": str(folder)}
                await asyncio.to_thread(take, folder, environment)
                async with daemon.client() as client:
                    for box in await client.instances.list():
                        await box.delete(force=True, wait=True)


if __name__ == "__main__":
    asyncio.run(main())
