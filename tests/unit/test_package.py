"""What is published: the wheel, the source distribution, and what their page on PyPI says."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest

import incus_sdk

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both, as `python -m build` makes them: the wheel from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(dist.glob("*.whl")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return BytesParser().parsebytes(wheel.read(f"incus_sdk-{incus_sdk.__version__}.dist-info/METADATA"))


def test_pypi_takes_both(dist: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir()], capture_output=True, text=True
    )
    assert checked.stdout.count("PASSED") == 2, checked.stdout


def test_the_wheel_has_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name.partition("/")[0] for name in wheel.namelist()}
    assert names == {"incus_sdk", f"incus_sdk-{incus_sdk.__version__}.dist-info"}
    assert {"incus_sdk/py.typed", "incus_sdk/sync/client.py"} <= set(wheel.namelist())


def test_pytest_finds_the_plugin(wheel: zipfile.ZipFile) -> None:
    points = wheel.read(f"incus_sdk-{incus_sdk.__version__}.dist-info/entry_points.txt").decode()
    assert "[pytest11]\nincus_sdk = incus_sdk._plugin\n" in points


def test_the_source_has_what_it_takes_to_test_and_document_it(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    wanted = {"scripts/test", "tests/conftest.py", "docs/index.md", "mkdocs.yml", "examples/quickstart.py", "LICENSE"}
    assert wanted <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", ".benchmarks"))]


def test_the_long_description_has_only_absolute_links(metadata: Message) -> None:
    description = metadata.get_payload()
    assert isinstance(description, str)
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert len(links) > 10
    assert [link for link in links if not link.startswith("https://")] == []


def test_each_link_to_the_documentation_is_a_page(metadata: Message) -> None:
    site = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Documentation"]
    pages = re.findall(rf"\]\({re.escape(site)}([\w/-]+)\.html", str(metadata.get_payload()))
    assert len(pages) > 5
    assert [page for page in pages if not (ROOT / "docs" / f"{page}.md").exists()] == []


def test_the_metadata_say_what_it_is(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == (
        *("incus-sdk", incus_sdk.__version__),
        "Apache-2.0",
    )
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= {
        url.partition(",")[0] for url in metadata.get_all("Project-URL", [])
    }
    required = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert all(">=" in each for each in required)


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).parent / "incus-sdk"
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == incus_sdk.__version__
