"""Public docstrings have sections: every parameter is in them, and every error that a method raises itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import incus_sdk
from incus_sdk import exceptions, testing

ROOT = Path(incus_sdk.__file__).parent
ERRORS = {name for name in vars(exceptions) if name.endswith("Error")}
SECTIONS = ("Args", "Returns", "Yields", "Raises", "API")
PRIVATE = {
    *("_connection/config.py", "_connection/tls.py", "files/_sftp.py", "files/_tar.py", "files/_trees.py"),
    *("_connection/remote.py", "sync/_portal.py", "sync/_twin.py"),
    *(str(path.relative_to(ROOT)) for path in (ROOT / "testing/_fake").glob("*.py")),
}
"""Private modules of which some names are public, from the top of the package or of `testing`."""
FROM_TOP = {
    *("ClientConfig", "FileStat", "Remote", "StreamReader", "StreamWriter", "Transfer", "client_token", "timeout"),
    *vars(testing)["__all__"],
}
CONSTRUCTED = {"Client", "ClientConfig", "SimpleStreams", "Daemon", "F"}
"""Classes that users make objects of; all others come from methods."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        # The private modules beside public ones hold the mixins and classes that those hand out.
        # Those of the MCP server are for agents.
        is_private = parts[0] in ("_connection", "_mcp.py", "_plugin", "models", "__main__.py")
        if not is_private or str(path.relative_to(ROOT)) in PRIVATE:
            yield path


def public(module: Path) -> Iterator[tuple[str, ast.ClassDef | Function, bool]]:
    """What a user can reach in a module: its name, the definition, and whether it is a method."""
    name = str(module.relative_to(ROOT))
    hidden = module.name.startswith("_") and not module.name.startswith("__")
    for node in ast.parse(module.read_text()).body:
        if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_"):
            continue
        if name in PRIVATE and node.name not in FROM_TOP:
            continue
        if isinstance(node, Function):
            if not hidden or name in PRIVATE:
                yield node.name, node, False
            continue
        yield node.name, node, False
        for member in node.body:
            if isinstance(member, Function) and not member.name.startswith("_"):
                yield f"{node.name}.{member.name}", member, True


def decorated(node: Function, name: str) -> bool:
    return any(ast.unparse(each).rpartition(".")[2] == name for each in node.decorator_list)


def sections(docstring: str) -> dict[str, str]:
    """The text of each section by its title, and the rest under an empty one."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):$", docstring, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(text: str) -> list[str]:
    """The names of a section's entries, which are what is indented least."""
    return re.findall(r"^ {4}([*\w]+):", text, flags=re.MULTILINE)


def parameters(node: Function, method: bool) -> list[str]:
    args = node.args
    names = [each.arg for each in (*args.posonlyargs, *args.args)]
    if method and not decorated(node, "staticmethod"):
        names = names[1:]
    names += [f"*{args.vararg.arg}"] if args.vararg else []
    names += [each.arg for each in args.kwonlyargs]
    return names + ([f"**{args.kwarg.arg}"] if args.kwarg else [])


def raised(node: Function) -> set[str]:
    """The SDK's errors that the function raises itself; not what functions inside it raise."""
    found: set[str] = set()
    todo: list[ast.AST] = list(node.body)
    while todo:
        each = todo.pop()
        if isinstance(each, Function | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(each, ast.Raise) and each.exc is not None:
            name = ast.unparse(each.exc).partition("(")[0].rpartition(".")[2]
            found |= {name} & ERRORS
        todo += ast.iter_child_nodes(each)
    return found


def faults(where: str, node: ast.ClassDef | Function, method: bool) -> Iterator[str]:
    if isinstance(node, Function) and (decorated(node, "overload") or decorated(node, "setter")):
        return
    docstring = ast.get_docstring(node)
    if docstring is None:
        if isinstance(node, Function) and method:  # inherits that of the method it overrides
            return
        yield f"{where} has no docstring"
        return
    found = sections(docstring)
    order = [title for title in SECTIONS if title in found]
    if [title for title in found if title] != order:
        yield f"{where}: sections must be in the order {', '.join(SECTIONS)}"
    first = docstring.partition("\n")[0]
    if not first.endswith((".", ":")):
        yield f"{where}: the first line is not one sentence: {first!r}"
    if isinstance(node, ast.ClassDef):
        inits = [each for each in node.body if isinstance(each, Function) and each.name == "__init__"]
        fields = [
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        ]
        wanted = parameters(inits[0], True) if inits else fields
        errors: set[str] = set()
    elif decorated(node, "property") or decorated(node, "cached_property"):
        return
    else:
        wanted, errors = parameters(node, method), raised(node)
    if isinstance(node, Function) or "Args" in found or node.name in CONSTRUCTED:
        named = entries(found.get("Args", ""))
        if named != wanted:
            yield f"{where}: Args has {named}, the signature {wanted}"
    if missing := errors - set(entries(found.get("Raises", ""))):
        yield f"{where}: Raises lacks {sorted(missing)}"


@pytest.mark.parametrize("module", list(modules()), ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_name_every_parameter_and_every_error(module: Path) -> None:
    assert [fault for where, node, method in public(module) for fault in faults(where, node, method)] == []
