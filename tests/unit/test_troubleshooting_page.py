"""The page that explains messages has them as the source has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from incus_sdk import Client

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text()
BEFORE, _, REST = PAGE.partition("\n## Forgotten words\n")
PYTHONS_OWN, _, AFTER = REST.partition("\n## ")


def messages(page: str) -> list[str]:
    return re.findall(r"^### `(.+)`$", page, re.MULTILINE)


def pattern(message: str) -> str:
    return ".*".join(re.escape(piece.strip()) for piece in message.split("..."))


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
    explained = messages(BEFORE + AFTER)
    assert len(explained) > 30
    for message in explained:
        assert re.search(pattern(message), source), message


def without_await(client: Any) -> None:
    del [client.instances.get("web")][0]


def attribute_without_await(client: Any) -> None:
    coroutine = client.instances.get("web")
    try:
        coroutine.status  # noqa: B018
    finally:
        coroutine.close()


def without_async(client: Any) -> None:
    with client:
        raise AssertionError("unreachable")


MISTAKES: tuple[tuple[Callable[[str], AbstractContextManager[object]], Callable[[Any], None]], ...] = (
    (lambda match: pytest.warns(RuntimeWarning, match=match), without_await),
    (lambda match: pytest.raises(AttributeError, match=match), attribute_without_await),
    (lambda match: pytest.raises(TypeError, match=match), without_async),
)


def test_what_python_says_of_forgotten_words_is_explained() -> None:
    for message, (said, mistake) in zip(messages(PYTHONS_OWN), MISTAKES, strict=True):
        with said(pattern(message)):
            mistake(Client("/nowhere"))
