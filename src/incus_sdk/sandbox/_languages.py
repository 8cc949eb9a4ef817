"""The interpreters of code: what runs a program in a language, and whether a box has it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..exceptions import IncusInputError

if TYPE_CHECKING:
    from ..api.instances import Instance

LANGUAGES = MappingProxyType(
    {
        "bash": ("bash", "-c", "sh"),
        "javascript": ("node", "-e", "js"),
        "node": ("node", "-e", "js"),
        "perl": ("perl", "-e", "pl"),
        "python": ("python3", "-c", "py"),
        "ruby": ("ruby", "-e", "rb"),
        "sh": ("sh", "-c", "sh"),
    }
)
"""Of each language: its interpreter, the option that takes a program, and the end of the name of a file with one."""

_LONGEST = 100_000  # bytes of an argument: kernels take no longer ones
_SHELLS = ("sh", "bash")  # the first argument after the program is its name; the program can look like an option
_LOOKS_ON = ("node", "perl", "ruby")  # for options of its own behind the program


def command_for(language: str, code: str) -> tuple[list[str], str | None]:
    """The command that runs code, and the path of the file that it must be written to first, if it is long."""
    program, option, suffix = LANGUAGES[known(language)]
    if not isinstance(code, str):
        raise IncusInputError(f"code must be a str, not {type(code).__name__}")
    if "\0" in code:
        raise IncusInputError("code must not contain a NUL byte")
    try:
        length = len(code.encode())
    except UnicodeEncodeError as error:
        raise IncusInputError(f"code cannot be written as UTF-8: {error}") from None
    if length > _LONGEST:
        path = f"/tmp/.sandbox-{os.urandom(8).hex()}.{suffix}"
        return [program, path], path
    if program in _SHELLS:
        return [program, option, "--", code, program], None
    if program == "node" and code.startswith("-"):
        code = f" {code}"  # else it is an option
    return [program, option, code, *(["--"] if program in _LOOKS_ON else [])], None


def known(language: str) -> str:
    """The language, or `IncusInputError`."""
    if not isinstance(language, str) or language not in LANGUAGES:
        raise IncusInputError(f"language must be one of {', '.join(LANGUAGES)}, not {language!r}")
    return language


async def missing(instance: Instance, languages: Iterable[str]) -> Sequence[str]:
    """The interpreters of these languages that a running instance does not have."""
    programs = dict.fromkeys(LANGUAGES[language][0] for language in languages)
    look = 'for p in "$@"; do command -v "$p" >/dev/null 2>&1 || echo "$p"; done'
    found = await instance.run(["sh", "-c", look, "sh", *programs], text=True, timeout=30, max_output=2**16)
    return found.stdout.split()
