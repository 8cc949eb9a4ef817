"""The documentation in two forms: an extension of Markdown, which shows async code in two tabs.

The pages have the async form alone. The blocking one is made here, for the site and for the tests, which run both. In
tables, so is the last column, if it is headed ``Python`` or ``incus_sdk``. What a page has for the tests alone, in a
comment of HTML that begins with ``for the tests``, is left out.
"""

from __future__ import annotations

import re
import textwrap

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor

FENCE = re.compile(r'^( *)```(\w+)(?: title="([^"]+)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"^\|.* (?:Python|`incus_sdk`) \|\n\|[-:| ]+\|\n((?:\|.*\|\n)+)", re.MULTILINE)
HIDDEN = re.compile(r"^<!-- for the tests\n.*?^-->\n", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(`+)(.+?)\1")

_RULES = (
    (r"^( *)await [\w.]+\.drain\(\)\n", ""),  # `write` does
    (r"\basyncio\.run\((.*)\)$", r"\1"),
    (r"\basyncio\.timeout\b", "timeout"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"(^|\(|\s)async (?=def |with |for )", r"\1"),
    (r"\(await ((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)(?=[.\[])", r"\1"),
    (r"\bawait ", ""),
    (
        r"\bincus_sdk(?= import |\.(?:api|files|operations|process|events|sandbox|simplestreams|testing)\b)",
        "incus_sdk.sync",
    ),
    (r"\basync_incus", "incus"),  # the fixtures of the pytest plugin
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\baiter\(", "iter("),
    (r"\banext\(", "next("),
)
_IMPORT = re.compile(r"^import asyncio\n", re.MULTILINE)
_NAMES = re.compile(r"^(from incus_sdk\.sync import )(.+)$", re.MULTILINE)


def blocking(code: str) -> str:
    """The blocking form of async code."""
    timeout, sleep = "asyncio.timeout" in code, "asyncio.sleep" in code
    for pattern, new in _RULES:
        code = re.sub(pattern, new, code, flags=re.MULTILINE)
    if timeout and _NAMES.search(code):
        code = _NAMES.sub(r"\1\2, timeout", code, count=1)
    elif timeout:
        code = _IMPORT.sub("from incus_sdk.sync import timeout\n", code)
    return _IMPORT.sub("import time\n" if sleep else "", code).lstrip("\n")


def in_two_forms(markdown: str) -> str:
    """The text of a page, with tabs."""
    return TABLE.sub(_two_tables, FENCE.sub(_two_blocks, HIDDEN.sub("", markdown)))


def _two_blocks(fence: re.Match[str]) -> str:
    indent, language, _, code = fence.groups()
    other = blocking(textwrap.dedent(code)) if language == "python" else code
    if other == textwrap.dedent(code):
        return fence[0]
    shown = textwrap.dedent(fence[0])
    head = shown.partition("\n")[0]
    return textwrap.indent(_tabs(shown, f"{head}\n{other}```"), indent)


def _two_tables(table: re.Match[str]) -> str:
    other = "".join(_turned(row) for row in table[0].splitlines(keepends=True))
    return table[0] if other == table[0] else _tabs(table[0], other)


def _turned(row: str) -> str:
    """A row of a table, whose last cell is Python."""
    cells, bar, python = row.rpartition(" | ")
    return cells + bar + SPAN.sub(lambda span: span[1] + blocking(span[2]) + span[1], python)


def _tabs(one: str, other: str) -> str:
    # What is found twice would be a nuisance in the search.
    other = f'<div class="blocking" data-search-exclude>\n\n{other}\n\n</div>'
    return f'===! "Async"\n\n{textwrap.indent(one, "    ")}\n\n=== "Blocking"\n\n{textwrap.indent(other, "    ")}\n'


class _Tabs(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        return in_two_forms("\n".join(lines) + "\n").split("\n")


class _DocTabs(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        md.preprocessors.register(_Tabs(md), "doc_tabs", 1000)  # before any other sees the text


def makeExtension(**options: object) -> Extension:
    """What Markdown calls."""
    return _DocTabs(**options)
