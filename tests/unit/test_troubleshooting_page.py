"""The page that explains messages has them as the source has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MESSAGES = re.findall(r"^### `(.+)`$", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)


def texts(node: ast.AST) -> Iterator[str]:
    """All texts of the source, with ``...`` for what is filled in."""
    match node:
        case ast.JoinedStr(values=values):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "..." for each in values)
        case ast.Constant(value=str(value)):
            yield value
        case _:
            for child in ast.iter_child_nodes(node):
                yield from texts(child)


def test_its_messages_are_those_of_the_source() -> None:
    files = [path for path in (ROOT / "src/incus_sdk").rglob("*.py") if "sync" not in path.parts]
    source = "\n".join(text for file in files for text in texts(ast.parse(file.read_text())))
    assert len(MESSAGES) > 30
    for message in MESSAGES:
        pattern = ".*".join(re.escape(piece.strip()) for piece in message.split("..."))
        assert re.search(pattern, source), message
