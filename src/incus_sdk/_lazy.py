"""Names that a package imports when they are first used, so that a program loads only what it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make a package's ``__getattr__``, ``__dir__`` and ``__all__`` (PEP 562).

    ``modules`` has the names that each module gives, separated by spaces; a dot before a module is one package up. The
    package imports the same names under ``TYPE_CHECKING``, for type checkers and editors; a test holds the two equal.
    Its modules are found as well. What else the package imports for itself is not listed.
    """
    module_of = {name: module for module, names in modules.items() for name in names.split()}
    found = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name in module_of:
            found[name] = getattr(import_module(f".{module_of[name]}", package), name)
        elif not name.startswith("__") and find_spec(f"{package}.{name}"):
            import_module(f"{package}.{name}")  # which sets it
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return found[name]

    def names() -> list[str]:
        modules = (name for name in found if f"{package}.{name}" in sys.modules)
        return sorted({*module_of, *modules, *(name for name in found if name.startswith("__"))})

    return get, names, list(module_of)
