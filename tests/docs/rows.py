"""The rows of docs/from-the-command.md: what is in them, and what the real command has that needs one.

A row's first cell is a line of the command, the second is Python. Beside them can be:

* ``(7.0)``: only that version has it.
* ``<!-- not run: reason -->``, ``<!-- not run on 6.0: reason -->``: neither side can be run here. Types and names are
  checked all the same.
* ``<!-- only run: reason -->``: what the two print is not compared, but what they do is.

A comment ``<!-- both: ... -->`` between tables is Python that is run on both sides. What ends with ``...`` in the first
cell stands for all that begins like it, and a flag alone for this flag of every subcommand.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

GLOBAL = {"debug", "explain", "force-local", "help", "project", "quiet", "sub-commands", "verbose", "version"}


@dataclass(frozen=True)
class Row:
    """A line of the page: a row of a table, a block of Python, or what is run on both sides (``both``)."""

    line: int
    section: str
    command: str
    python: str
    version: str = ""
    not_run: dict[str, str] = field(default_factory=dict)
    """Why, by version; that of all is the empty one."""
    only_run: str = ""
    both: bool = False

    def __str__(self) -> str:
        return f"from-the-command.md:{self.line}: {self.command or self.python}"


@dataclass(frozen=True)
class Subcommand:
    """What the command says of one of its subcommands."""

    name: str
    flags: dict[str, str]
    """Long names, by long and by short name."""


_SPAN = re.compile(r"(`+) ?(.+?) ?\1")
_CELL = re.compile(r"(?<!\\)\|")


def read(page: Path) -> list[Row]:
    """All rows, blocks and setups of the page, in its order."""
    found: list[Row] = []
    section, start = "", 0
    block: list[str] | None = None
    both: list[str] | None = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if block is not None:
            if line == "```":
                found.append(Row(start, section, "", "\n".join(block)))
                block = None
            else:
                block.append(line)
        elif both is not None or line.startswith("<!-- both:"):
            if both is None:
                both, start = [], number
            both.append(line.removeprefix("<!-- both:").removesuffix("-->").strip() if line[:1] != " " else line)
            if line.endswith("-->"):
                found.append(Row(start, section, "", "\n".join(filter(None, both)), both=True))
                both = None
        elif line == "```python":
            block, start = [], number
        elif line.startswith("## "):
            section = line[3:]
        elif line.startswith("| `"):
            found.append(_row(number, section, line))
    return found


def _row(number: int, section: str, line: str) -> Row:
    cells = [cell.strip() for cell in _CELL.split(line)[1:-1]]
    assert len(cells) == 2, f"line {number} does not have two cells"
    left, right = (cell.replace("\\|", "|") for cell in cells)
    version = re.search(r"\((\d\.\d)\)", re.sub(_SPAN, "", left))
    notes = {
        (what, on): why for what, on, why in re.findall(r"<!-- (not|only) run(?: on (\S+))?: (.+?) -->", left + right)
    }
    return Row(
        number,
        section,
        "\n".join(span[2] for span in _SPAN.finditer(left)),
        "\n".join(span[2] for span in _SPAN.finditer(right)) if right.startswith("`") else "",
        version[1] if version else "",
        {on: why for (what, on), why in notes.items() if what == "not"},
        notes.get(("only", ""), ""),
    )


def subcommands(incus: str, directory: Path) -> dict[str, Subcommand]:
    """What the real command has: it writes its own manual."""
    subprocess.run(
        [incus, "manpage", "--all", "--format=yaml", str(directory)],
        check=True,
        timeout=60,
        env={"HOME": str(directory)},
    )
    pages = {file.stem.replace("_", " "): file.read_text() for file in directory.glob("*.yaml")}
    parents = {name.rpartition(" ")[0] for name in pages}
    found = {}
    for name in pages.keys() - parents | {"incus"}:
        own = pages[name].partition("\ninherited_options:")[0].partition("\noptions:\n")[2]
        options = re.findall(r"^ +- name: \"?([^\s\"]+)\"?\n(?: +shorthand: \"?([^\s\"]+)\"?\n)?", own, re.MULTILINE)
        flags = {word: long for long, short in options for word in (long, short) if word and long != "help"}
        found[name] = Subcommand(name, flags)
    return found


@dataclass
class Lines:
    """Which subcommands and flags have their line."""

    exact: set[tuple[str, str]] = field(default_factory=set)
    """Subcommand, and flag or nothing."""
    prefixes: set[str] = field(default_factory=set)
    flags: set[str] = field(default_factory=set)

    def has(self, name: str, flag: str = "") -> bool:
        """Whether this one has its line."""
        if any(f"{name} ".startswith(prefix) for prefix in self.prefixes):
            return True
        return (name, flag) in self.exact or (bool(flag) and flag in self.flags)


def parse(command: str, known: dict[str, Subcommand]) -> tuple[str, set[str]]:
    """The subcommand of a line, and the long names of its flags."""
    words = shlex.split(command.partition(" < ")[0].partition(" > ")[0])
    words = [word for word in words if not re.match(r"--(project|force-local)\b", word)]
    name = next((" ".join(words[:n]) for n in range(len(words), 0, -1) if " ".join(words[:n]) in known), "")
    assert name != "incus" or words[1:2] == [] or words[1].startswith("-"), f"{command!r}: no such subcommand"
    flags, rest = set(), words[len(name.split()) :]
    for word in rest[: rest.index("--")] if "--" in rest else rest:
        if word.startswith("-") and len(word) > 1:
            flag = word.lstrip("-").partition("=")[0]
            assert flag in known[name].flags, f"{command!r}: no flag {word}"
            flags.add(known[name].flags[flag])
    return name, flags


def lines(rows: list[Row], known: dict[str, Subcommand]) -> Lines:
    """What the rows are about."""
    found = Lines()
    for row in rows:
        for command in row.command.splitlines():
            if command.startswith("-"):
                found.flags.add(command.lstrip("-"))
            elif command.endswith(" ..."):
                found.prefixes.add(command.removesuffix("..."))
            else:
                name, flags = parse(command, known)
                found.exact |= {(name, ""), *((name, flag) for flag in flags)}
    return found
