"""What README and docs say is run: every block of Python, in its page's order, on a private daemon of the page's own.

How a block is read:

* Top-level ``await`` is allowed, as in ``python -m asyncio``; the blocks of one page share their names.
* ``print(...)  # text`` prints a line ``text``; ``...`` in the text stands for anything.
* ``title="name"`` makes it a file of that name in the working directory. A ``.py`` is then run as a script, but those
  named ``test_*.py`` by pytest, all of a page together at its end.
* A row of a table is a block, too, if its last column is headed ``incus_sdk``: the code in its last cell, but where a
  comment says ``not run``.
* A comment that begins with ``for the tests`` can have blocks, which the site does not show.
* Each page runs a second time in its blocking form, which ``tools/doc_tabs.py`` makes for the site, too.
* The server of ``https://incus.example.org:8443`` is the daemon; ``client.crt``, ``client.key`` and ``server.crt`` are
  there.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tokenize
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from incus_sdk.testing import Daemon
from tools import doc_tabs

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
SESSION = "getting-started.md#a-session"
"""A page that links to this starts where that block ended."""

_PRINTS = re.compile(r"^\s*print\(.*\)  +# (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    title: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for match in doc_tabs.FENCE.finditer(text):
        indent, language, title, code = match.groups()
        lines = "".join(line.removeprefix(indent) for line in code.splitlines(keepends=True))
        found.append(Block(page, text[: match.start()].count("\n") + 1, language, title or "", lines))
    assert text.count("```") == 2 * len(found), f"{page} has a fence that this test cannot read"
    return sorted(found + rows(page, text), key=lambda block: block.line)


def rows(page: Path, text: str) -> list[Block]:
    """The code of what has its own column in a table."""
    found = []
    for table in doc_tabs.TABLE.finditer(text):
        line = text[: table.start(1)].count("\n") + 1
        for number, row in enumerate(table[1].splitlines(), line):
            if "`incus_sdk` |\n" in table[0] and "<!-- not run: " not in row:
                spans = doc_tabs.SPAN.findall(row.rpartition(" | ")[2])
                found.append(Block(page, number, "python", "", "\n".join(code for _, code in spans)))
    return found


def session() -> Block:
    page = ROOT / "docs" / "getting-started.md"
    heading = page.read_text().partition("\n## A session\n")[0].count("\n") + 2
    return next(block for block in blocks(page) if block.line > heading and block.language == "python")


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
async def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Daemon]:
    """A daemon that is the local one, and a working directory with the certificates."""
    async with Daemon() as daemon:
        monkeypatch.setenv("INCUS_SOCKET", str(daemon.socket))
        monkeypatch.setenv("INCUS_CONF", str(tmp_path / "incus"))
        monkeypatch.chdir(tmp_path)
        for file in (*daemon.client_cert, daemon.certificate):
            shutil.copy(file, tmp_path)
        yield daemon


async def run(block: Block, names: dict[str, Any], daemon: Daemon) -> None:
    code = block.code.replace("https://incus.example.org:8443", daemon.url)
    if block.title:
        Path(block.title).write_text(code)
        if not block.title.endswith(".py") or block.title.startswith(("conftest.", "test_")):
            return
        output = await run_command(sys.executable, block.title)
    else:
        output = await run_here(block, code, names)
    lines = iter(output.splitlines())
    for expected in _PRINTS.findall(code):
        pattern = ".*".join(map(re.escape, expected.split("...")))
        assert any(re.fullmatch(pattern, line) for line in lines), f"{block} does not print {expected!r}:\n{output}"


async def run_here(block: Block, code: str, names: dict[str, Any]) -> str:
    # The empty lines make a traceback name the line of the page.
    compiled = compile(
        "\n" * block.line + code, str(block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    output = io.TextIOWrapper(io.BytesIO(), write_through=True)  # with `sys.stdout.buffer`
    with contextlib.redirect_stdout(output):
        if compiled.co_flags & inspect.CO_COROUTINE:
            await eval(compiled, names)
        else:
            await asyncio.to_thread(exec, compiled, names)  # a thread, as it may call asyncio.run()
    output.seek(0)
    return output.read()


def blocking(block: Block) -> Block:
    """The blocking form of a block."""
    return replace(block, code=doc_tabs.blocking(block.code)) if block.language == "python" else block


async def run_tests(folder: Path) -> None:
    if tests := sorted(folder.glob("test_*.py")):
        unused = ("cacheprovider", "hypothesispytest", "xdist")  # each takes its time to load
        options = [each for plugin in unused for each in ("-p", f"no:{plugin}")]
        own = f"--basetemp={folder / 'tmp'}"  # other runs share the usual one
        await run_command(sys.executable, "-m", "pytest", "-q", own, *options, *map(str, tests))


async def run_command(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


PYTHON = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]


def as_it_stands(block: Block) -> Block:
    return block


@pytest.mark.parametrize("turn", [as_it_stands, blocking])
@pytest.mark.parametrize("page", PYTHON, ids=names)
async def test_the_blocks_of_a_page_run(page: Path, turn: Callable[[Block], Block], daemon: Daemon) -> None:
    tasks = asyncio.all_tasks()
    scope: dict[str, Any] = {"__name__": "__main__"}
    if SESSION in page.read_text():
        await run(turn(session()), scope, daemon)
    try:
        for block in map(turn, blocks(page)):
            if block.language == "python" or block.title:
                await run(block, scope, daemon)
            elif block.language == "sh":
                for line in block.code.splitlines():
                    if line.startswith("openssl "):
                        await run_command(*shlex.split(line))
        await run_tests(Path.cwd())
    finally:
        if "client" in scope:
            closed = await asyncio.to_thread(scope["client"].disconnect)
            if inspect.isawaitable(closed):
                await closed
    assert not asyncio.all_tasks() - tasks


@pytest.mark.parametrize("page", PYTHON, ids=names)
def test_nothing_async_is_left_in_the_blocking_form(page: Path) -> None:
    for block in map(blocking, blocks(page)):
        if block.language == "python":
            words = {token.string for token in tokenize.generate_tokens(io.StringIO(block.code).readline)}
            assert not words & {"async", "await", "asyncio"}, f"{block}:\n{block.code}"


@pytest.mark.parametrize("page", TEXTS, ids=names)
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    shell = [line for block in blocks(page) if block.language == "sh" for line in block.code.splitlines()]
    for word in (word for line in shell for word in shlex.split(line, comments=True)):
        if word.startswith("scripts/"):
            assert os.access(ROOT / word, os.X_OK), f"{page.name}: {word}"
    for link in re.findall(r"\](?:\(|: )([^)#:\s]+)(?:#[^)]*)?(?:\)|$)", page.read_text(), re.MULTILINE):
        assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_reference_takes_no_words_of_a_docstring_for_a_type() -> None:
    # In the first line of these sections, what is before ": " is shown as the type.
    section = re.compile(r"^ +(?:Returns|Yields):\n +(.*: .*)$", re.MULTILINE)
    found = {str(file.relative_to(ROOT)): section.findall(file.read_text()) for file in (ROOT / "src").rglob("*.py")}
    assert not {file: lines for file, lines in found.items() if lines}


async def test_the_quickstart_does_the_main_job_and_says_so() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "examples/quickstart.py"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    lines = errors.decode().splitlines()  # of progress, since it is no terminal
    assert lines
    assert [line for line in lines if not re.match(r"create instance from image unpack \d+ %", line)] == []
    pattern = r"""Starting a private Incus daemon \.\.\.
Incus \S+, API 1\.0, at \S+/unix\.socket
Creating c1 \.\.\.
Starting c1 \.\.\.
\$ echo 'Hello, World!'
Hello, World!
exit code: 0
/root/note\.txt: written by the SDK
State: Running, \d+\.\d MiB of memory, \d+ processes
Logs: .*lxc\.log.*
Stopping c1 \.\.\.
Deleting c1 \.\.\.
Instances left: 0
The daemon and everything it made are gone\.
"""
    assert re.fullmatch(pattern, output.decode()), output.decode()
