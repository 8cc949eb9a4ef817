"""``config.yml`` as people write it: the real command finds in it what the SDK wrote, and all the rest as before."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import IncusInputError
from incus_sdk._connection.config import ClientConfig, Remote
from tests.live.roots import ROOTS

FILES = 120
ADDED = [
    Remote(name, ("https://added:8443",), project="0x1F")
    for name in ("added", "0x1F", "null", "~", "*a", "!x", "- y", "'\"", "#", "h\xf6 \U0001f600")
]

WORDS = (
    *("0x1F", "1_000", "1:30", "0o17", "017", "0b1", "+1", "-.5", "1e3", ".inf", "2001-01-01", "yes", "no", "y", "off"),
    *("~", "null", "Null", "", "'null'", "''", "'it''s'", '"a\\tb"', '"\\u00e9"', "web", "a b", "é", "=", "<", "a#b"),
    *("!!str 5", "!!str ~", "! x", "!!binary YQ==", "&anchor z"),
)
LONG = ("|\n{}one\n{}two", "|+\n{}one\n\n", ">-\n{}one\n{}two", "plain\n{}more", "'one\n{}two'")
NAMES = ("prod{}", "'q{}'", '"r {}"', "0x{}", "1_{}", "yes{}", "!!str s{}", "&k{} k{}")
EMPTY = ("", " ~", " {}", " null # none", " &n", " !!null", " # none", " {\n}", " !!map {}")
OTHERS = (
    "aliases:\n  x: list\n  1_0: !!str 5 # why",
    "defaults: {list_format: csv, no_color: yes}",
    "unknown: [1, {a: b}, 'c', *base]",
)
ENDS = ("", "\n", "\n...\n", "\n# the end", "\n---\nother: [document\n")
WHOLE = (
    "",
    "# nothing\n",
    "---\n",
    "~\n",
    "---\n---\n",
    "--- {remotes: ~}\n",
    "default-remote: a",
    "{default-remote: 0x1}",
    "{remotes: {a: {addr: x}}, default-remote: a}",
    "remotes: {a: {addr: x,},}",
    "remotes: { # c\n a: {addr: x} # d\n }",
    "? remotes\n: a: {addr: x}\n",
    "? remotes\n: ? a\n  : {addr: x}\n",
    "%YAML 1.1\n---\nremotes:\n  a: {addr: x}\n",
    "base: &b {remotes: {a: {addr: x}}}\n<<: *b\n",
    "base: &b {a: {addr: x}}\nremotes: *b\n",
    "n: &n ~\nremotes: *n\n",
    "base: &b {a: {addr: x}}\nremotes: {<<: *b, c: {addr: y}}\n",
    "base: &b {a: {addr: x}}\nremotes:\n  <<: [*b]\n",
    "a: &a k\nremotes:\n  *a : {addr: x}\n",
    "\ufeffremotes:\n  a: {addr: x}\n",
    "remotes:\n  a:\n    addr: x\n  a: {addr: y}\n",
    "remotes: {a: {addr: x}}\nremotes: {b: {addr: y}}\n",
    "remotes:\n- a\n",
    "remotes: {a: {addr: x, public: 5}}",
    "x\n",
)


def a_file(chance: random.Random) -> str:
    """A configuration that a person may have written."""
    indent = " " * chance.choice((1, 2, 4))
    parts = [f"x-base: &base {{addr: https://base:1, project: {chance.choice(('0x2', 'b'))}}}"]
    if chance.random() < 0.7:
        parts.append(f"default-remote: {chance.choice(('prod0', '~', '0x1', '', chr(39) + 'prod0' + chr(39)))}")
    remotes = [f"{indent}{chance.choice(NAMES).replace('{}', str(n))}:{a_remote(chance, indent * 2)}" for n in range(9)]
    for place in range(chance.randrange(3)):
        remotes.insert(place * 2, chance.choice(("", "# why", f"{indent}# why")))
    remotes = remotes[: chance.randrange(1, 10)] if chance.random() < 0.8 else []
    parts.append(f"remotes:{chance.choice(('', ' # mine', ' !!map', ' &all')) if remotes else chance.choice(EMPTY)}")
    parts[-1] = "\n".join((parts[-1], *remotes))
    for other in OTHERS:
        if chance.random() < 0.4:
            parts.insert(chance.choice((1, len(parts))), other)
    text = chance.choice(("", "", "---\n", "# mine\n")) + "\n".join(parts) + chance.choice(ENDS)
    return text.replace("\n", "\r\n") if chance.random() < 0.1 else text


def a_remote(chance: random.Random, indent: str) -> str:
    flag = chance.choice(("yes", "no", "true", "off", "~", "False"))
    kind = chance.randrange(8)
    if kind == 0:
        return chance.choice((" ~", ""))
    if kind == 1:
        return " &again {addr: https://again:1, project: '5'}"
    if kind in (2, 3):
        return f" {{addr: 'https://a:1', project: {chance.choice(WORDS)}, public: {flag}{chance.choice(('', ','))}}}"
    fields = [f"addr: {chance.choice(('https://a:8443', chr(34) + 'https://b:1, https://c:2' + chr(34), 'unix:///x'))}"]
    for key in chance.sample(("project", "auth_type", "protocol", "x-unknown"), chance.randrange(4)):
        word = chance.choice(WORDS if chance.random() < 0.7 else LONG)
        fields.append(f"{key}: {word.replace('{}', indent + '  ')}")
    fields += [f"public: {flag}"] * chance.randrange(2) + ["# why"] * chance.randrange(2)
    if chance.random() < 0.2:
        fields.insert(0, "<<: *base")
    return "".join(f"\n{indent}{field}" for field in fields)


def seen_by_the_command(program: Path, directory: Path, *, default: bool) -> Any:
    """All remotes and the default one; None if the command cannot read the file."""
    found: list[Any] = []
    for arguments in (["list", "--format=json"], ["get-default"])[: 1 + default]:
        environ = {"INCUS_CONF": str(directory), "INCUS_GLOBAL_CONF": "/nowhere", "HOME": str(directory)}
        done = subprocess.run(
            [program, "remote", *arguments], capture_output=True, text=True, env=environ, timeout=60, check=False
        )
        if done.returncode != 0:
            return None
        found.append(json.loads(done.stdout) if not found else done.stdout.strip())
    return found


def check(program: Path, directory: Path, text: str, new: Remote, *, thorough: bool) -> str:
    directory.mkdir()
    config = ClientConfig(directory, {"INCUS_GLOBAL_CONF": "/nowhere"})
    config.file.write_bytes(text.encode())
    before = seen_by_the_command(program, directory, default=thorough)
    try:
        remotes, default_remote = config.remotes(), config.default_remote
        config.add(new)
    except IncusInputError:
        assert (before, config.file.read_bytes()) == (None, text.encode()), text
        return "refused"
    if before is None:
        return "refused by this version of the command"
    written = config.file.read_bytes().decode()
    after = seen_by_the_command(program, directory, default=thorough)
    assert after is not None, (text, written)
    added = after[0].pop(new.name)
    assert (added["Project"], added.get("Addr") or added["Addrs"][0]) == (new.project, new.addresses[0])
    assert after == before, (text, written)
    assert [default_remote][:thorough] == before[1:], text
    for name, there in before[0].items():
        mine = remotes.pop(name)
        assert (mine.project or "default") == (there["Project"] or "default") or name == "local", text
        assert (mine.public, mine.protocol) == (there["Public"], there["Protocol"]), text
        addresses = there["Addrs"] or [] if "Addrs" in there else [each.strip() for each in there["Addr"].split(",")]
        assert list(mine.addresses) == [each for each in addresses if each], text
    assert not remotes, text
    if not thorough:
        return "kept"
    changed = change(config, program, directory, new.name, before)
    return "changed" if changed else "kept, and too odd to be changed"


def change(config: ClientConfig, program: Path, directory: Path, name: str, before: Any) -> bool:
    """Change the new remote in every way and remove it, then do the same to one that a person wrote.

    Returns whether the SDK could do it.
    """
    try:
        change_the_new_one(config, program, directory, name, before)
        change_an_own_one(config, program, directory, before)
    except IncusInputError as error:
        if not re.search("written so that|read it differently", str(error)):
            raise
        return False
    return True


def change_the_new_one(config: ClientConfig, program: Path, directory: Path, name: str, before: Any) -> None:
    config.rename(name, "it's new")
    config.set_addresses("it's new", ["https://one:1", "https://two:2"])
    config.set_project("it's new", "0x2")
    config.set_default("it's new")
    text = config.file.read_bytes().decode()
    changed = seen_by_the_command(program, directory, default=True)
    there = changed[0].pop("it's new")
    assert (there["Project"], changed[1]) == ("0x2", "it's new"), text
    assert there.get("Addrs") or there["Addr"].split(",") == ["https://one:1", "https://two:2"], text
    assert changed[0] == before[0], text
    with pytest.raises(IncusInputError, match="is the default remote"):
        config.remove("it's new")
    config.set_default("local")
    config.remove("it's new")
    assert seen_by_the_command(program, directory, default=False) == before[:1], config.file.read_text()


def change_an_own_one(config: ClientConfig, program: Path, directory: Path, before: Any) -> None:
    for own in [each for each, remote in config.remotes().items() if remote.addresses and each != "local"][:1]:
        config.set_project(own, "own")
        config.rename(own, "own")
        renamed = seen_by_the_command(program, directory, default=False)
        assert renamed[0].pop("own")["Project"] == "own", config.file.read_text()
        config.remove("own")
        wanted = {each: there for each, there in before[0].items() if each != own}
        assert seen_by_the_command(program, directory, default=False) == [wanted], config.file.read_text()


async def test_whatever_a_person_wrote_is_the_same_for_the_command_afterwards(tmp_path: Path) -> None:
    programs = [Path(f"{root or ''}/usr/bin/incus") for root in ROOTS.values()]
    programs = [program for program in programs if program.exists()]
    chance = random.Random(6)
    texts = [*itertools.chain(*zip(*[WHOLE] * len(programs), strict=True)), *(a_file(chance) for _ in range(FILES))]
    work = asyncio.Semaphore(2)

    async def one(number: int, text: str) -> str:
        async with work:
            program = programs[number % len(programs)]
            thorough = number < len(WHOLE) * len(programs) or number % 5 == 0
            new = ADDED[number % len(ADDED)]
            return await asyncio.to_thread(check, program, tmp_path / str(number), text, new, thorough=thorough)

    results = await asyncio.gather(*(one(number, text) for number, text in enumerate(texts)))
    counts = {result: results.count(result) for result in sorted(set(results))}
    print(f"{len(texts)} files, {len(programs)} versions of the command: {counts}")
    assert counts["kept"] + counts["changed"] > len(texts) * 0.7
    assert counts["changed"] > 5 * counts["kept, and too odd to be changed"]
