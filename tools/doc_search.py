"""What the search leaves out: an extension of Markdown, which marks headings of the reference.

A record has a field for each word that one can think of, ``memory`` and ``user`` and ``port``, and the search takes a
heading that begins with the word for the best answer. Fields are found through their classes; keys of devices stay.
"""

from __future__ import annotations

import re

from markdown import Extension, Markdown
from markdown.postprocessors import Postprocessor

_FIELD = re.compile(
    r'<div class="doc doc-object doc-attribute">\s*'
    r'<h\d id="incus_sdk\.(?!models\.devices\.)[^"]*" class="doc doc-heading"'
)


class _Marks(Postprocessor):
    def run(self, text: str) -> str:
        return _FIELD.sub(r"\g<0> data-search-exclude", text)


class _DocSearch(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        md.postprocessors.register(_Marks(md), "doc_search", 1)  # after the reference is in place


def makeExtension(**options: object) -> Extension:
    """What Markdown calls."""
    return _DocSearch(**options)
