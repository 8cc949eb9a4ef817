"""The check of the built site finds what is wrong with it; `scripts/check` runs it on the real one."""

from __future__ import annotations

import re
from pathlib import Path

from tools import check_site

ROOT = Path(__file__).parents[2]


def test_it_finds_planted_dead_links_and_what_comes_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "guide").mkdir()
    (tmp_path / "guide/a b.html").write_text('<h2 id="here">Here</h2> <a href="../index.html#top">up</a>')
    (tmp_path / "index.html").write_text(
        '<h1 id="top">Top</h1> <a href="#top">ok</a> <a href="guide/a%20b.html#here">ok</a> <a href="mailto:a@b">ok</a>'
        '<a href="https://example.org/x">ok</a> <a href="#gone">dead</a> <a href="guide/none.html">dead</a>'
        '<a href="guide/a%20b.html#gone">dead</a> <img src="none.svg"> <script src="//example.org/x.js"></script>'
    )
    assert check_site.dead_links(tmp_path, check_site.read(tmp_path)) == [
        "index.html loads //example.org/x.js",
        "index.html: there is no anchor #gone",
        "index.html: there is no anchor guide/a%20b.html#gone",
        "index.html: there is no guide/none.html",
        "index.html: there is no none.svg",
    ]


def test_it_finds_a_public_name_that_the_reference_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<h2 id="incus_sdk.testing.Daemon">')
    missing = check_site.not_in_the_reference(check_site.read(tmp_path))
    assert "the reference does not have incus_sdk.testing.Fake" in missing
    assert "the reference does not have incus_sdk.testing.Daemon" not in missing


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted(pages)
