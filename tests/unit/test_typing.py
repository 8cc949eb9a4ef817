"""mypy and pyright know the SDK's types: they accept tests/typing/right.py, and find all that is wrong in wrong.py.

And those of the blocking twin.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [f"tests/typing/{kind}{which}.py" for which in ("", "_blocking") for kind in ("right", "wrong")]


Errors = dict[tuple[str, int], str]
"""By file and line."""


def mypy(_: Path) -> Errors:
    found = run("mypy", "--no-error-summary", *FILES)
    errors = re.finditer(r"^([^:]+):(\d+): error: (.*)$", found, re.MULTILINE)
    return {(error[1], int(error[2])): error[3] for error in errors}


def pyright(directory: Path) -> Errors:
    # The project's own settings, but for the list of files: the one that is wrong is left out there.
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyright"]
    settings |= {
        "include": [os.path.relpath(ROOT / file, directory) for file in FILES],
        "exclude": [],
        "venvPath": str(ROOT),
    }
    (directory / "pyrightconfig.json").write_text(json.dumps(settings))
    found = json.loads(run("pyright", "--outputjson", "--project", str(directory)))["generalDiagnostics"]
    return {
        (str(Path(error["file"]).relative_to(ROOT)), error["range"]["start"]["line"] + 1): error["message"]
        for error in found
    }


def run(module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", module, *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_right_is_right_and_each_wrong_line_is_found(checker: Callable[[Path], Errors], tmp_path: Path) -> None:
    errors = checker(tmp_path)
    marked = {
        (file, number)
        for file in FILES
        for number, line in enumerate((ROOT / file).read_text().splitlines(), 1)
        if line.endswith("  # error")
    }
    assert len(marked) > 20
    assert {place: errors[place] for place in errors.keys() - marked} == {}, "errors where there should be none"
    assert marked - errors.keys() == set(), "mistakes that it lets pass"
