"""The wheel in fresh environments of each Python, and in one with the oldest versions of what it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from incus_sdk.testing import Daemon
from tests.docs.test_docs import ROOT, blocks

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
TOOLS = (
    *("pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "hypothesis"),
    *("aiohttp", "anyio", "bcrypt", "rich"),
)
ABOUT_THE_PROJECT = [
    f"--ignore=tests/unit/test_{name}.py"
    for name in ("house", "typing", "editors", "docstrings", "package", "whole_run")
]
"""Unit tests that say nothing about a Python."""


def python(version: str) -> str | None:
    """The program of a version, on the PATH or by pyenv."""
    if found := shutil.which(f"python{version}"):
        return found if not subprocess.run([found, "-c", ""], capture_output=True).returncode else _by_pyenv(version)
    return _by_pyenv(version)


def _by_pyenv(version: str) -> str | None:
    programs = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(programs[-1]) if programs else None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    return next(folder.glob("*.whl"))


def install(program: str, folder: Path, *what: str | Path) -> Path:
    """Make an environment, and install there, with the pip of this one: that is faster."""
    subprocess.run([program, "-m", "venv", "--without-pip", folder], check=True, capture_output=True)
    pip = [sys.executable, "-m", "pip", "--python", folder, "install", "-q", "--no-compile", *what]
    installed = subprocess.run(pip, capture_output=True, text=True)
    assert not installed.returncode, installed.stderr
    return folder / "bin/python"


def run_the_first_block(program: Path, daemon: Daemon, folder: Path) -> None:
    first = next(block for block in blocks(ROOT / "README.md") if block.language == "python")
    done = subprocess.run(
        [program, "-W", "error", "-c", first.code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"INCUS_SOCKET": str(daemon.socket), "HOME": str(folder)},
    )
    assert (done.stdout, done.stderr, done.returncode) == ("Hello, World!\n\n", "", 0)


def declared() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, list[str]] = {name: project[name] for name in ("classifiers", "dependencies")}
    return found


@pytest.mark.timeout(900)  # as long as a busy machine needs
@pytest.mark.parametrize("version", PYTHONS)
def test_the_first_block_of_the_readme_and_the_unit_tests_run_where_the_wheel_was_installed(
    version: str, wheel: Path, daemon: Daemon, tmp_path: Path
) -> None:
    """On the oldest Python with the oldest versions of what it needs."""
    program = python(version)
    if program is None:
        pytest.skip(f"there is no Python {version} here")
    oldest = [re.sub(r"^([\w-]+)>=([\d.]+).*$", r"\1==\2", each) for each in declared()["dependencies"]]
    installed = install(program, tmp_path / "venv", wheel, *(oldest if version == PYTHONS[0] else ()))
    run_the_first_block(installed, daemon, tmp_path)
    install(program, tmp_path / "venv", *TOOLS)
    with tempfile.TemporaryDirectory() as own:  # other runs share the usual one; sockets need a short path
        options = ["-q", f"--basetemp={own}/t", "-p", "no:cacheprovider"]
        command = [str(installed), "-m", "pytest", *options, "tests/unit", *ABOUT_THE_PROJECT]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert not ran.returncode, ran.stdout + ran.stderr


def test_the_pythons_of_the_metadata_are_those_that_are_tried() -> None:
    prefix = "Programming Language :: Python :: 3."
    versions = [f"3.{each.removeprefix(prefix)}" for each in declared()["classifiers"] if each.startswith(prefix)]
    assert tuple(versions) == PYTHONS
