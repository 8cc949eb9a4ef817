"""docs/from-the-command.md is complete and true: each row is run on two servers, by the command and by Python."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Set
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import (
    Client,
    IncusAPIError,
    IncusConflictError,
    IncusInputError,
    IncusOperationError,
    Instance,
    Operation,
    ProcessError,
)
from incus_sdk.testing import Daemon
from tests.docs import rows, twins
from tests.live.roots import ROOTS
from tools import doc_tabs

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "from-the-command.md"
ROWS = rows.read(PAGE)

READS = re.compile(r"[ -](allocations|default|exec|get|info|leases|list|log|property|query|show|tokens|version)$")
"""Subcommands that print what they read."""

EDITOR = r"""#!/bin/sh
exec sed -i -e 's/^\( *\)description:.*/\1description: edited/' -e 's/^auto_update: false/auto_update: true/' \
    -e 's/hello/edited/' "$@"
"""
"""Who edits for the command."""


def incus(version: str) -> str:
    return str((ROOTS[version] or Path("/")) / "usr/bin/incus")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, rows.Subcommand]]:
    """The subcommands of the command, by version."""
    return {each: rows.subcommands(incus(each), tmp_path_factory.mktemp("manual")) for each in ROOTS}


def test_each_subcommand_and_flag_has_its_line(known: dict[str, dict[str, rows.Subcommand]]) -> None:
    every = {
        name: rows.Subcommand(name, {**(known["6.0.4"].get(name) or known["7.0.2"][name]).flags, **each.flags})
        for version in known.values()
        for name, each in version.items()
    }
    found = rows.lines(ROWS, every)
    missing = [name for name in every if not found.has(name)]
    missing += [
        f"{name} --{flag}"
        for name, each in every.items()
        for flag in sorted(set(each.flags.values()))
        if not found.has(name, flag)
    ]
    assert not missing, f"{len(missing)} without a line: " + "\n".join(sorted(missing))


def test_a_row_says_which_version_it_is_for(known: dict[str, dict[str, rows.Subcommand]]) -> None:
    wrong = []
    for row in ROWS:
        for command in row.command.splitlines():
            if command.startswith("incus ") and not command.endswith(" ..."):
                has = set()
                for version, subcommands in known.items():
                    try:
                        rows.parse(command, subcommands)
                    except AssertionError:
                        continue
                    has.add(version[:3])
                if (has != {"6.0", "7.0"} and has != {row.version}) or row.version not in {"", *has}:
                    wrong.append(f"{row}: {sorted(has)}")
    assert not wrong, "\n".join(wrong)


def test_a_row_has_three_lines_at_most() -> None:
    assert not [str(row) for row in ROWS if row.command and row.python.count("\n") + row.python.count("; ") > 2]


def test_each_row_has_the_right_types_in_both_forms(tmp_path: Path) -> None:
    numbers = {}
    for form, turn in (("async", str), ("blocking", doc_tabs.blocking)):
        code = ["async def page() -> None:"]
        for row in ROWS:
            if row.python and not row.both:
                for line in turn(row.python).splitlines():
                    code.append(f"    {line}")
                    numbers[form, len(code)] = row
        (tmp_path / f"page_{form}.py").write_text("\n".join(code))
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--allow-redefinition", *tmp_path.glob("*.py")],
        cwd=ROOT, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    errors = re.findall(r"page_(\w+)\.py:(\d+): error: (.*)", ran.stdout)
    assert not ran.returncode, "\n".join(f"{numbers.get((form, int(n)))} ({form}): {text}" for form, n, text in errors)


@contextlib.asynccontextmanager
async def side(version: str, home: Path) -> AsyncGenerator[twins.Side]:
    """A side of one of the versions, with the command of that version and who edits for it."""
    home.mkdir()
    (home.parent / "bin").mkdir(exist_ok=True)
    command, editor = home.parent / "bin/incus", home.parent / "bin/editor"
    if not command.exists():
        command.symlink_to(incus(version))
        editor.write_text(EDITOR)
        editor.chmod(0o755)
    root = ROOTS[version]
    async with (
        Daemon(root=root, image=False) as other,
        Daemon(root=root) as daemon,
        twins.Side(daemon, other, home) as side,
    ):
        yield side


@pytest.fixture(params=ROOTS)
async def sides(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[twins.Side, twins.Side]]:
    """The command's server, and Python's."""
    async with contextlib.AsyncExitStack() as stack:
        theirs, ours = await asyncio.gather(
            *(stack.enter_async_context(side(request.param, tmp_path / name)) for name in ("command", "python"))
        )
        monkeypatch.setenv("INCUS_SOCKET", str(ours.daemon.socket))
        monkeypatch.setenv("INCUS_CONF", str(ours.home / "conf"))
        monkeypatch.setenv("INCUS_GLOBAL_CONF", str(tmp_path / "global"))
        monkeypatch.chdir(ours.home)
        yield theirs, ours


@pytest.mark.timeout(900)  # as long as a busy machine needs
async def test_each_row_does_what_the_command_does(
    sides: tuple[twins.Side, twins.Side], request: pytest.FixtureRequest, known: dict[str, dict[str, rows.Subcommand]]
) -> None:
    version = request.node.callspec.params["sides"]
    names: dict[str, Any] = {}
    seen: set[str] = set()
    wrong: list[str] = []

    def report(where: object, found: list[str]) -> None:
        """Each difference once: it is still there after the rows that follow."""
        wrong.extend(f"{where}\n    {each}" for each in found if each not in seen)
        seen.update(found)

    section = ""
    try:
        for row in ROWS:
            if row.section != section:
                report(f"the end of {section}", await compare(*sides))
                section = row.section
            if row.version not in ("", version[:3]) or not row.python or row.command.startswith("-"):
                continue
            if why := row.not_run.get("", row.not_run.get(version[:3])):
                print(f"{row}: not run: {why}")
                continue
            try:
                async with asyncio.timeout(200):
                    report(row, await check_row(row, *sides, names, known[version]))
            except TimeoutError:
                pytest.fail("\n".join([*wrong, f"{row} does not end"]))
        report(f"the end of {section}", await compare(*sides))
    finally:
        for client in [each for each in names.values() if isinstance(each, Client)]:
            await client.disconnect()
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong)


AREAS: dict[str, Set[str]] = {
    "admin": twins.AREAS,
    "cluster": {"cluster/members", "cluster/groups", "operations"},
    "config metadata": {"metadata"},
    "config template": {"metadata"},
    "config trust": {"certificates", "operations"},
    "config": {"instances", "config"},
    "image": {"images", "images/aliases", "files"},
    "publish": {"images", "images/aliases", "instances"},
    "network acl": {"network-acls"},
    "network zone": {"network-zones"},
    "network integration": {"network-integrations"},
    "network address-set": {"network-address-sets"},
    "network": {"networks", "instances", "profiles"},
    "profile": {"profiles", "instances"},
    "project": {"projects", "files"},
    "storage bucket": {"storage-pools", "files"},
    "storage": {"storage-pools", "instances", "profiles", "files"},
    "query": twins.AREAS,
    "remote": {"files"},
    "": {"instances", "files"},
}
"""What is compared after a row, by how its subcommand begins; after each section everything is."""


async def check_row(
    row: rows.Row,
    theirs: twins.Side,
    ours: twins.Side,
    names: dict[str, Any],
    known: dict[str, rows.Subcommand],
) -> list[str]:
    if row.both:
        for side in (theirs, ours):
            await evaluate(row, side.own(row.python), {"client": side.client, "home": side.home, "other": side.other})
        return []
    if not row.command:
        await evaluate(row, ours.own(row.python), names)
        return []
    subcommand = rows.parse(row.command.splitlines()[0], known)[0]
    reads = bool(READS.search(subcommand)) and "--request" not in row.command
    reads = reads or row.command.endswith((" --dump", " -"))
    structured = reads and "format" in known[subcommand].flags and " --format" not in row.command
    command = theirs.own(row.command) + " --format=json" * structured
    done: tuple[Any, Any] = await asyncio.gather(
        run(command, theirs), evaluate(row, ours.own(row.python), names), return_exceptions=True
    )
    if wrong := [f"{type(each).__name__}: {each}" for each in done if isinstance(each, Exception)]:
        return wrong
    printed, value = done
    if reads and row.only_run:
        return []
    if reads:
        found = compare_outputs(printed, value, theirs, ours)
        if found and subcommand == "incus exec":  # the command loses an output now and then
            found = compare_outputs(await run(command, theirs), value, theirs, ours)
        return found
    areas = next(areas for start, areas in AREAS.items() if subcommand.startswith(f"incus {start}"))
    return await compare(theirs, ours, areas, others="prod" in row.command)


def compare_outputs(printed: str, value: Any, theirs: twins.Side, ours: twins.Side) -> list[str]:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        value = value.strip()
    left, right = theirs.plain(twins.shown(printed, value)), ours.plain(value)
    if isinstance(right, dict) and isinstance(left, list):  # names only
        right = sorted(right)
    return [] if twins.same(left, right) else [f"{left!r} by the command, {right!r} by Python"]


async def compare(
    theirs: twins.Side, ours: twins.Side, areas: Set[str] = twins.AREAS, others: bool = False
) -> list[str]:
    return twins.differences(*await asyncio.gather(theirs.state(areas, others), ours.state(areas, others)))


NOT_STARTED = b"Only running operations can be connected"
"""What the command says if it did not connect within the five seconds that servers wait before they start it."""


async def run(command: str, side: twins.Side) -> str:
    """What the command prints, in a shell of its own side."""
    environment = {
        "EDITOR": str(side.home.parent / "bin/editor"),
        "HOME": str(side.home),
        "INCUS_CONF": str(side.home / "conf"),
        "INCUS_GLOBAL_CONF": str(side.home.parent / "global"),
        "INCUS_SOCKET": str(side.daemon.socket),
        "PATH": f"{side.home.parent / 'bin'}:{os.environ['PATH']}",
    }
    terminal, stdin = os.openpty() if " edit " in command else (None, None)  # without one it reads the new text
    try:
        process = await asyncio.create_subprocess_exec(
            "sh", "-ec", command, cwd=side.home, env=environment,
            stdin=stdin or subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        answer = b"yes\n" if command.startswith("incus project delete ") else b""
        output, errors = await process.communicate(None if stdin else answer)
    finally:
        if terminal and stdin:
            os.close(terminal)
            os.close(stdin)
    if process.returncode and command.startswith("incus exec") and NOT_STARTED in errors:
        return await run(command, side)
    if process.returncode:
        raise AssertionError(f"the command fails: {errors.decode().strip()}")
    return output.decode()


async def evaluate(row: rows.Row, code: str, names: dict[str, Any]) -> Any:
    """Run Python; the value is that of its last line, if that is an expression."""
    tree = ast.parse(code)
    if isinstance(tree.body[-1], ast.Expr):
        target = ast.copy_location(ast.Name("_", ast.Store()), tree.body[-1])
        tree.body[-1] = ast.copy_location(ast.Assign([target], tree.body[-1].value), tree.body[-1])
    ast.increment_lineno(ast.fix_missing_locations(tree), row.line - 1)
    names["_"] = None
    compiled = compile(tree, str(PAGE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    pending = eval(compiled, names)
    if inspect.isawaitable(pending):
        await pending
    return names["_"]


Check = Callable[[twins.Side], Awaitable[None]]


async def states(side: twins.Side) -> dict[str, str]:
    return {each.name: each.status for each in await side.client.instances.list()}


async def waiting(side: twins.Side) -> None:
    await run("incus create busybox w1", side)
    assert (await states(side))["w1"] == "Stopped"
    instances, images = side.client.instances, side.client.images
    for verb in ("create", "start", "stop", "restart", "freeze", "unfreeze", "update", "delete", "execute"):
        assert inspect.signature(getattr(instances, verb)).parameters["wait"].default is False
    assert isinstance(await instances.start("w1"), Operation)
    for verb in ("create", "delete"):
        assert inspect.signature(getattr(images, verb)).parameters["wait"].default is False


async def clean_stop(side: twins.Side) -> None:
    assert "(default -1)" in await run("incus stop --help", side)
    for verb in ("stop", "restart"):
        assert inspect.signature(getattr(side.client.instances, verb)).parameters["timeout"].default == 30


async def copying(side: twins.Side) -> None:
    assert "Copy a stateful instance stateless" in await run("incus copy --help", side)
    assert inspect.signature(Instance.move).parameters["live"].default is False


async def failing_launch(side: twins.Side) -> None:
    with pytest.raises(AssertionError, match="the command fails"):
        await run("incus launch busybox l1 --config raw.lxc=lxc.nonsense=1", side)
    with pytest.raises(IncusOperationError):
        await side.client.instances.launch("busybox", "l2", config={"raw.lxc": "lxc.nonsense=1"})
    found = await states(side)
    assert found["l1"] == "Stopped"
    assert "l2" not in found


async def moving(side: twins.Side) -> None:
    await run("incus create busybox m1 && incus move m1 m2", side)
    assert "m2" in await states(side)
    with pytest.raises(IncusInputError, match="rename"):
        await side.client.instances["m2"].move("m3")


async def exit_codes(side: twins.Side) -> None:
    await run("incus launch busybox e1", side)
    await run("incus exec e1 -- sh -c 'exit 3' || test $? = 3", side)
    box = side.client.instances["e1"]
    assert (await box.run(["sh", "-c", "exit 3"])).returncode == 3
    with pytest.raises(ProcessError):
        await box.run(["sh", "-c", "exit 3"], check=True)


async def standard_input(side: twins.Side) -> None:
    (side.home / "input").write_text("hello")
    count = "incus exec e1 -- wc -c < input"
    assert (await run(count, side) or await run(count, side)) == "5\n"  # the command loses an output now and then
    assert (await side.client.instances["e1"].run(["sh", "-c", "wc -c; test -t 0"], text=True)).stdout == "0\n"


async def targets(side: twins.Side) -> None:
    box = side.client.instances["e1"]
    await run("incus file push input e1/root/", side)
    assert await box.path("/root/input").is_file()
    with pytest.raises(IncusConflictError):
        await box.path("/root").push(side.home / "input")
    await box.path("/srv").push(side.home / "input", into=True)
    assert await box.path("/srv/input").is_file()


async def directories(side: twins.Side) -> None:
    with pytest.raises(AssertionError, match="the command fails"):
        await run("incus file push input e1/a/b", side)
    await side.client.instances["e1"].path("/a/b").push(side.home / "input")


async def owners(side: twins.Side) -> None:
    path = side.client.instances["e1"].path("/owned")
    await path.write_text("", uid=1234)
    await run("incus file pull e1/owned theirs", side)
    await path.pull(side.home / "ours")
    assert ((side.home / "theirs").stat().st_uid, (side.home / "ours").stat().st_uid) == (0, 1234)


async def exported(side: twins.Side) -> None:
    await run("umask 022 && incus export e1 theirs.tar --compression none", side)
    for _ in range(2):
        await side.client.instances["e1"].export(side.home / "ours.tar")
    assert ((side.home / "theirs.tar").stat().st_mode, (side.home / "ours.tar").stat().st_mode) == (0o100644, 0o100600)
    again = run("incus export e1 theirs.tar --compression none", side)
    if await side.client.has_extension("direct_backup"):
        with pytest.raises(AssertionError, match="exists"):
            await again
    else:
        await again


async def warnings(side: twins.Side) -> None:
    every = await side.client.warnings.list()
    await every[0].update({"status": "acknowledged"})
    assert len(json.loads(await run("incus warning list --format json", side))) == len(every) - 1
    assert len(await side.client.warnings.list()) == len(every)


async def certificate_names(side: twins.Side) -> None:
    certificate = side.home / "laptop.crt"
    shutil.copy(side.other.client_cert[0], certificate)
    await run("incus config trust add-certificate laptop.crt", side)
    (theirs,) = [each for each in await side.client.certificates.list() if each.name == "laptop.crt"]
    await theirs.delete()
    ours = await side.client.certificates.create(certificate.read_text())
    assert ours.name == ours.fingerprint[:12]


async def rules(side: twins.Side) -> None:
    acls = side.client.network_acls
    await run("incus network acl create a1 && incus network acl rule add a1 ingress action=allow", side)
    assert [rule.state for rule in (await acls.get("a1")).ingress] == ["enabled"]
    with pytest.raises(IncusAPIError, match="State must be one of"):
        await acls.update("a1", {"egress": [{"action": "allow"}]})


DEFAULTS: dict[str, Check] = {
    "Waiting": waiting,
    "A clean stop": clean_stop,
    "Copying what runs": copying,
    "A launch that fails": failing_launch,
    "Moving to a new name alone": moving,
    "Exit codes": exit_codes,
    "Standard input, terminal": standard_input,
    "Target of a push or pull": targets,
    "Directories above it": directories,
    "Owner of what is pulled": owners,
    "Exported files": exported,
    "Warnings": warnings,
    "Name of a certificate": certificate_names,
    "State of a rule": rules,
}
"""What shows a difference, by what the page calls it; later ones use what earlier ones have made."""


@pytest.mark.parametrize("version", ROOTS)
async def test_the_defaults_differ_as_the_page_says(version: str, tmp_path: Path) -> None:
    table = PAGE.read_text().partition("## Defaults that differ\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| ([A-Z][^|]+) \|", table, re.MULTILINE) == list(DEFAULTS)
    async with side(version, tmp_path / "home") as own:
        for check in DEFAULTS.values():
            await check(own)
