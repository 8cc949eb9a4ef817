"""The page on performance says what was measured."""

from __future__ import annotations

from benchmarks import report


def test_its_tables_and_pictures_are_made_from_the_results() -> None:
    """If not: ``python -m benchmarks.report``."""
    assert [path.name for path, text in report.made().items() if not path.exists() or path.read_text() != text] == []
