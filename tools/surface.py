"""Writes the public surface of the package, names with signatures, into tests/unit/public-surface.txt.

With ``--check`` it compares instead. After 2.0.0 each line is a promise, so a new surface is only written together with
a new CHANGELOG.md: the first line of the file holds the digest of the one that it was last written with.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import incus_sdk
from incus_sdk.models import Record

ROOT = Path(__file__).parents[1]
FILE = ROOT / "tests" / "unit" / "public-surface.txt"


def modules() -> Iterator[Any]:
    yield incus_sdk
    for found in pkgutil.walk_packages(incus_sdk.__path__, "incus_sdk."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield importlib.import_module(found.name)


def own_names(module: Any) -> Iterator[str]:
    """The public names that a module defines, or hands on by ``import X as X``."""
    body = ast.parse(Path(module.__file__).read_text()).body
    lazy = [each for node in body if isinstance(node, ast.If) for each in node.body]  # under TYPE_CHECKING
    for node in [*body, *lazy]:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                names = [node.name]
            case ast.ImportFrom():
                names = [each.asname for each in node.names if each.asname == each.name]
            case ast.Assign():
                names = [each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case _:
                names = []
        yield from (name for name in names if not name.startswith("_"))


def signature(function: Any, bound: bool) -> str:
    """Parameters and defaults; what they are annotated with is held by the tests of types."""
    parameters = list(inspect.signature(function).parameters.values())[bound:]
    bare = [each.replace(annotation=each.empty, default=shown(each.default)) for each in parameters]
    return str(inspect.Signature(bare))


def shown(default: Any) -> Any:
    """A default as the surface shows it: that of the environment, say, is another on each machine."""
    plain = default is inspect.Parameter.empty or isinstance(default, str | int | float | tuple | None)
    return default if plain else ...


def members(kind: type) -> Iterator[str]:
    """A line for each public member of a class, without the class's name."""
    if typing.is_typeddict(kind):
        yield from (f"[{key!r}]" for key in sorted(kind.__annotations__))
        return
    fields = {each.name for each in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set[str]()
    if issubclass(kind, Record):
        fields |= set(kind.fields())
    found: dict[str, str] = dict.fromkeys(fields, "")
    for above in reversed(kind.__mro__):
        if not above.__module__.startswith("incus_sdk"):
            continue
        for name, value in vars(above).items():
            if name.startswith("_") or name in fields:
                continue
            if isinstance(value, staticmethod):
                found[name] = signature(value.__func__, False)
            elif isinstance(value, classmethod):
                found[name] = signature(value.__func__, True)
            elif inspect.isfunction(value):
                found[name] = signature(value, True)
            elif isinstance(value, property) or hasattr(value, "attrname"):
                found[name] = ""
    yield from (f".{name}{found[name]}" for name in sorted(found))


def surface() -> list[str]:
    """The lines of the surface."""
    paths: dict[str, Any] = {}
    for module in modules():
        for name in own_names(module):
            value = getattr(module, name)
            if not inspect.ismodule(value) and not isinstance(value, typing.TypeVar):
                paths[f"{module.__name__}.{name}"] = value
    first: dict[int, str] = {}
    for path in sorted(paths, key=lambda path: (path.count("."), path)):
        if isinstance(paths[path], type) or callable(paths[path]):
            first.setdefault(id(paths[path]), path)
    lines: list[str] = []
    for path in sorted(paths):
        value = paths[path]
        if first.get(id(value), path) != path:
            lines.append(f"{path} = {first[id(value)]}")
        elif inspect.isclass(value):
            # Objects of other classes come from methods.
            constructed = "\nArgs:" in (inspect.getdoc(value) or "") and "Args:" in (vars(value)["__doc__"] or "")
            lines.append(path + (signature(value, False) if constructed else ""))
            lines += [path + member for member in members(value)]
        elif inspect.isfunction(value):
            lines.append(path + signature(value, False))
        else:
            lines.append(path)
    return lines


def main() -> None:
    head, _, body = FILE.read_text().partition("\n") if FILE.exists() else ("", "", "")
    wanted = "\n".join([*surface(), ""])
    if body == wanted:
        return
    if "--check" in sys.argv[1:]:
        sys.exit("the public surface has changed: say so in CHANGELOG.md, and run tools/surface.py")
    digest = hashlib.sha256((ROOT / "CHANGELOG.md").read_bytes()).hexdigest()
    line = f"# Made by tools/surface.py, with the CHANGELOG.md of {digest}"
    if head == line:
        sys.exit("the public surface has changed: say so in CHANGELOG.md first")
    FILE.write_text(f"{line}\n{wanted}")


if __name__ == "__main__":
    main()
