"""Writes the blocking twin, ``incus_sdk.sync``, from the async source; with ``--check``, compares.

Each class that has to wait for something, and is part of the public surface or a base of what is, gets a class of the
same name in a module of the same name: the same bases, signatures and docstrings, with bodies that hand on to the async
object. What has nothing to wait for is the same class, imported. By hand are only ``_portal.py`` and ``_twin.py``.

Fails on words of async code that are left in a docstring, and on a rule that nothing needs any longer.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "incus_sdk"
TWIN = SOURCE / "sync"
BY_HAND = {"_portal.py", "_twin.py"}
FUNCTIONS = {"local_listener": "_twin", "timeout": "_portal"}
"""What the package has by hand."""

Function = ast.FunctionDef | ast.AsyncFunctionDef

LEFT_OUT = (
    *("sync", "_plugin", "_mcp", "_connection", "models", "__main__"),
    *("_run", "_terminal", "_background", "_content", "_migration"),
)
"""Rooms without anything to wait for that a user can reach."""

CONSTRUCTED = {"Client", "Daemon", "Fake", "Pool", "SimpleStreams"}
"""Classes that users make objects of; all others come from methods."""

WITH_CLIENT = {"Pool"}
"""Those of them that use the connections, and so the portal, of the client that they are given first."""

CLOSING = {"Client.disconnect", "Client.__aexit__", "Daemon.close", "Daemon.__aexit__", "Fake.close", "Fake.__aexit__"}
"""What lets go of the thread afterwards."""

WRITING = {"ProcessInput.write", "ProcessInput.writelines"}
"""What only queues bytes in async code, and waits here until there is room."""

IN_LOOP = {"ProcessInput.write_eof", "ProcessInput.close"}
"""What does not wait, but changes what the event loop looks at."""

OWN_LOOP = {"CommandVerbs.attach_console", "CommandVerbs.shell"}
"""What needs the main thread: signal handlers."""

CONSTANTS = {"KEY"}
"""What users read from a class: the field that its objects are called by."""

TYPES = {
    "AbstractAsyncContextManager": "AbstractContextManager",
    "AsyncGenerator": "Generator",
    "AsyncIterator": "Iterator",
    "Input": "_twin.Input",
    "Scoped": "_twin.Scoped",
    "WebSocket": "_twin.WebSocket",
    "asyncio.StreamReader": "_twin.StreamReader",
    "asyncio.StreamWriter": "_twin.StreamWriter",
}
"""Types that have a blocking form which is not generated."""

GIVEN = {
    "OnProgress": "_twin.posted({})",
    "Callable": "_twin.asked({}, self._wrap)",
    "Content": "_twin.given_content({})",
    "Input": "_twin.given_input({}, encoding)",
    "Output": "_twin.given_output({})",
}
"""What callers give that is used in their own thread, by its type."""

OWN_THREAD = {"token", "hook"}
"""Functions that callers give which are called in the thread of the event loop nevertheless."""

ATTRIBUTES = {
    "args": "The command: program and arguments.",
    "stderr": "The stream of its errors; None on a terminal.",
    "stdin": "Its input.",
    "stdout": "The stream of its output.",
    "url": "The server's address.",
}
"""What an async object has as an attribute, and a blocking one as a property, which says what it is."""

UNLOADED = {"full", "state"}
"""Properties that raise where the object was not read, and say what to do."""

WORDS = {
    r"The async Python SDK for Incus\.": "The blocking form of the SDK: for scripts, threads, forks and notebooks.",
    r"from incus_sdk import": "from incus_sdk.sync import",
    r"A client belongs to the event loop that\s+first used it\.": (
        "All threads of a process can use one\nclient; after a fork, the child makes its own."
    ),
    r"called with a URL and a code to show to the user, where a login is needed; can be a\s+coroutine function\.": (
        "called with a URL and a code to show to the user, where a login is needed."
    ),
    r"or a function that makes one for each request: see": (
        "or a function that makes one for each request,\n        which runs in the SDK's own thread: see"
    ),
    r"It is called in the task of the request\.": "It is called in the SDK's own thread.",
    r"an async iterable of bytes, or anything else as JSON": "an iterator of bytes, or anything else as JSON",
    r"an async iterable of bytes": "an iterable of bytes",
    r"``asyncio\.subprocess``": "``subprocess``",
    r"an async context manager": "a context manager",
    r", plain or async(?=[.,])": "",
    r", async or not,": "",
    r"Queue bytes; await `drain` before more\.": "Write bytes, and wait until there is room for more.",
    r"Queue several pieces\.": "Write several pieces, and wait until there is room for more.",
    r"each an `asyncio\.StreamReader`": "each a stream to read from",
    r"\basync (?=with\b|for\b)": "",
    r"(?<!\w)\(await ((?:[^()]|\([^()]*\))*)\)": r"\1",
    r"\bawait (?=[\w(])": "",
}
"""What docstrings say of async code, and what it is in blocking code; in this order."""

used: Counter[str] = Counter()


def rule(name: str) -> str:
    used[name] += 1
    return name


class Module:
    """A module of the async SDK."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts = path.relative_to(SOURCE).with_suffix("").parts
        self.is_package = self.parts[-1] == "__init__"
        self.name = ".".join(self.parts[:-1] if self.is_package else self.parts)
        self.tree = ast.parse(path.read_text())
        self.classes = {node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef)}
        self.imports: dict[str, tuple[str, str]] = {}  # name -> module, name in it
        self.outside: dict[str, str] = {}  # name -> the statement
        self.again: set[str] = set()  # what is handed on as `X as X`
        self.values: dict[str, ast.stmt] = {}
        self._read()

    def _read(self) -> None:
        below = [each for node in self.tree.body if isinstance(node, ast.If) for each in node.body]
        for node in [*self.tree.body, *below]:
            match node:
                case ast.Import():
                    for each in node.names:
                        self.outside[each.asname or each.name] = f"import {ast.unparse(each)}"
                case ast.ImportFrom():
                    target = self._target(node)
                    for each in node.names:
                        name = each.asname or each.name
                        if target is None:
                            self.outside[name] = f"from {node.module} import {ast.unparse(each)}"
                        else:
                            self.imports[name] = (target, each.name)
                        if each.asname == each.name:
                            self.again.add(name)
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    self.values[name] = node
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self.values[node.name] = node
                case _:
                    pass

    def _target(self, node: ast.ImportFrom) -> str | None:
        """The module of an import within the SDK, without ``incus_sdk``; None for one from outside."""
        if node.level:
            package = self.parts[:-1]
            base = package[: len(package) - node.level + 1]
            return ".".join([*base, *filter(None, [node.module])])
        first, _, rest = (node.module or "").partition(".")
        return rest if first == "incus_sdk" else None


def modules() -> dict[str, Module]:
    paths = sorted(path for path in SOURCE.rglob("*.py") if TWIN not in path.parents and path.stem != "__main__")
    return {each.name: each for each in map(Module, paths)}


MODULES = modules()


def resolve(module: str, name: str) -> tuple[str, str] | None:
    """The module that defines a name as it is known in a module; a module itself has no name in it."""
    here = MODULES.get(module)
    if here is None:
        return None
    if name in here.classes or name in here.values:
        return module, name
    if name in here.imports:
        target, original = here.imports[name]
        whole = f"{target}.{original}".strip(".")
        if whole in MODULES:
            return whole, ""
        return resolve(target, original) or (target, original)
    return None


def methods(node: ast.ClassDef) -> Iterator[Function]:
    yield from (each for each in node.body if isinstance(each, Function))


def is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name not in ("__init__", "__slots__"))


def decorators(node: Function) -> set[str]:
    return {ast.unparse(each).partition("(")[0].rpartition(".")[2] for each in node.decorator_list}


def names_in(node: ast.AST | None) -> set[str]:
    """The classes that an annotation names; ``models.Instance`` is not ``Instance``."""
    if node is None:
        return set()
    if isinstance(node, ast.Attribute):
        return set() if ast.unparse(node).startswith("models.") else {node.attr}
    if isinstance(node, ast.Name):
        return {node.id}
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return set()
    return set().union(*(names_in(each) for each in ast.iter_child_nodes(node)))


def hints(node: Function) -> Iterator[ast.expr]:
    args = node.args
    for each in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]:
        if each is not None and each.annotation is not None:
            yield each.annotation
    if node.returns is not None:
        yield node.returns


def is_record(key: tuple[str, str]) -> bool:
    return any(base[0].startswith("models") or is_record(base) for base in bases(key))


@cache
def bases(key: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    node = MODULES[key[0]].classes.get(key[1]) if key[0] in MODULES else None
    found: list[tuple[str, str]] = []
    for each in node.bases if node else ():
        expression = each.value if isinstance(each, ast.Subscript) else each
        if isinstance(expression, ast.Attribute) and ast.unparse(expression).startswith("models."):
            found.append(("models", expression.attr))
        elif isinstance(expression, ast.Name) and (base := resolve(key[0], expression.id)):
            found.append(base)
    return tuple(found)


def candidates() -> dict[tuple[str, str], ast.ClassDef]:
    return {
        (module.name, name): node
        for module in MODULES.values()
        if not module.name or module.parts[0] not in LEFT_OUT
        for name, node in module.classes.items()
    }


def waits(node: ast.ClassDef) -> bool:
    """Whether a class has something to wait for."""
    return any(isinstance(each, ast.AsyncFunctionDef) and is_public(each.name) for each in methods(node))


def is_typed_variable(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and ast.unparse(statement.value).startswith(("TypeVar", "ParamSpec"))


VARIABLES = {
    name: names_in(statement.value)
    for module in MODULES.values()
    for name, statement in module.values.items()
    if isinstance(statement, ast.Assign) and is_typed_variable(statement)
}
"""Type variables, with what they are bound to."""


def find_twins() -> set[tuple[str, str]]:
    """All classes that need a blocking form: what waits, what is below such a class, what gives one out."""
    found, all_classes = set[tuple[str, str]](), candidates()
    while True:
        names = {name for _, name in found}
        names |= {name for name, bound in VARIABLES.items() if bound & names}
        more = {
            key
            for key, node in all_classes.items()
            if key not in found
            and (
                waits(node)
                or any(base in found for base in bases(key))
                or any(
                    names & names_in(each)
                    for method in methods(node)
                    if is_public(method.name)
                    for each in hints(method)
                )
                or any(names & names_in(each.annotation) for each in node.body if isinstance(each, ast.AnnAssign))
                or key in ROOTS
            )
        }
        if not more:
            return found
        found |= more


ROOTS = {("api.base", "AtPath")}
"""Bases of everything that waits, without anything to wait for themselves."""


def reached(twins: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Of those, what is public, a base of it, or named by it."""
    todo = [key for key in twins if not any(part.startswith("_") for part in (*key[0].split("."), key[1]))]
    for name in MODULES[""].imports:
        todo += [key for key in [resolve("", name)] if key in twins and key is not None]
    for package in ("files", "sandbox", "testing"):
        todo += [key for name in MODULES[package].imports if (key := resolve(package, name)) in twins and key]
    found: set[tuple[str, str]] = set()
    while todo:
        key = todo.pop()
        if key in found or key not in twins:
            continue
        found.add(key)
        todo += bases(key)
        node = MODULES[key[0]].classes[key[1]]
        for method in methods(node):
            if is_public(method.name):
                for each in hints(method):
                    todo += [at for name in names_in(each) if (at := resolve(key[0], name))]
        for each in node.bases:
            todo += [at for name in names_in(each) if (at := resolve(key[0], name))]
    return found


TWINS = reached(find_twins())
NAMES = {name for _, name in TWINS}

FUNCTION_TWINS = {
    found
    for name in MODULES["sandbox"].imports
    if (found := resolve("sandbox", name)) and isinstance(MODULES[found[0]].values.get(found[1]), ast.AsyncFunctionDef)
}
"""Public functions that wait; the first parameter is the client."""


RECORDS = {f"models.{base[1]}" for key in TWINS for base in bases(key) if base[0] == "models"}
"""The records that blocking objects are as well."""


def spread(module: str, annotation: ast.expr | None) -> set[str]:
    """What an annotation names, ``models.Instance`` by that name, with what the names of types in it stand for."""
    found = names_in(annotation)
    for each in ast.walk(annotation) if annotation is not None else ():
        if isinstance(each, ast.Attribute):
            found.add(ast.unparse(each))
    for name in list(found):
        key = resolve(module, name)
        value = MODULES[key[0]].values.get(key[1]) if key and key[0] in MODULES else None
        if key and isinstance(value, ast.Assign) and not is_typed_variable(value):
            found |= spread(key[0], value.value)
    return found


def is_dataclass(node: ast.ClassDef) -> bool:
    return any(ast.unparse(each).startswith("dataclass") for each in node.decorator_list)


def is_protocol(node: ast.ClassDef) -> bool:
    return any(ast.unparse(each).startswith("Protocol") for each in node.bases)


BOUND = {name for name, bound in VARIABLES.items() if bound & NAMES}
"""Type variables that stand for what has a blocking form."""


class Turned(ast.NodeTransformer):
    """Turns annotations: `names` collects what they need."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        text = ast.unparse(node)
        if text in TYPES:
            return self._replaced(text)
        self.names.add(text.partition(".")[0])
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in TYPES:
            return self._replaced(node.id)
        self.names.add(node.id)
        return node

    def _replaced(self, text: str) -> ast.AST:
        new = ast.parse(TYPES[rule(text)], mode="eval").body
        self.names |= {each.id for each in ast.walk(new) if isinstance(each, ast.Name)}
        return new


def turn_words(docstring: str, where: str) -> str:
    for pattern, replacement in WORDS.items():
        docstring, count = re.subn(pattern, replacement, docstring)
        used[pattern] += count
    left = re.search(r".*\b(await|async|asyncio(?!\.Stream)|coroutine|event loop)\b.*", docstring)
    if left is not None:
        sys.exit(f"{where}: words of async code in: {left[0].strip()}")
    return docstring


class Writer:
    """Writes the blocking module of a module."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.lines: list[str] = []
        self.runtime: set[str] = set()  # names that must be there when the module is imported
        self.typing: set[str] = set()  # names of annotations
        self.others: set[str] = {"from typing import TYPE_CHECKING, Any", "from . import _twin"}

    def turn(self, node: ast.expr | None, *, runtime: bool = False) -> str:
        if node is None:
            return ""
        turned = Turned()
        text = ast.unparse(turned.visit(ast.parse(ast.unparse(node), mode="eval").body))
        (self.runtime if runtime else self.typing).update(turned.names)
        return text

    def write(self) -> str:
        for node in self.module.tree.body:
            match node:
                case ast.ClassDef() if (self.module.name, node.name) in TWINS:
                    self.write_class(node)
                case ast.Assign(targets=[ast.Name(id=name)]) if name in BOUND:
                    self.lines.append(f"{name} = {self.turn(node.value, runtime=True)}\n")
                case ast.AsyncFunctionDef() if (self.module.name, node.name) in FUNCTION_TWINS:
                    self.write_function(node)
                case _:
                    pass
        body = "\n".join(self.lines)
        doc = ast.get_docstring(self.module.tree) or ""
        first = turn_words(doc.partition("\n\n")[0], self.module.name)
        head = [f'"""{first}', "", "Made by ``tools/blocking.py`` from the module of the same name.", '"""', ""]
        head += ["from __future__ import annotations", "", *self.imports(body), ""]
        return "\n".join([*head, body])

    def imports(self, body: str) -> list[str]:
        up = "." * (len(self.module.parts) + 1)
        level = "." * len(self.module.parts)
        source = self.module.name.rpartition(".")
        lines = [
            "from typing import TYPE_CHECKING, Any",
            "from collections.abc import Generator, Iterator",
            "from contextlib import AbstractContextManager",
            f"from {level} import _twin",
            f"from {up}{source[0]} import {source[2]} as _source",
        ]
        handed_on = set(self.module.again)
        if not any(part.startswith("_") for part in self.module.parts):
            own = {name for name, value in self.module.values.items() if not isinstance(value, ast.AsyncFunctionDef)}
            own |= {name for name in self.module.classes if (self.module.name, name) not in TWINS}
            handed_on |= {name for name in own - VARIABLES.keys() if not name.startswith("_")}
        late = ["if TYPE_CHECKING:", "    pass"]
        for name in sorted(self.runtime | self.typing | handed_on):
            if statement := self.where(name, up, level):
                if name in handed_on:
                    lines.append(f"{statement.partition(' as ')[0]} as {name}")
                elif name in self.runtime:
                    lines.append(statement)
                else:
                    late.append(f"    {statement}")
        return [*lines, *late]

    def where(self, name: str, up: str, level: str) -> str:
        """The import of a name."""
        if name in self.module.outside:
            return self.module.outside[name]
        found = resolve(self.module.name, name)
        if found is None or (found[0] == self.module.name and (found in TWINS or name in BOUND)):
            return ""
        if not found[1]:  # a module
            package, _, last = found[0].rpartition(".")
            return f"from {level if last == 'api' else up}{package} import {last}"
        is_twin = found in TWINS or found[1] in BOUND
        asname = "" if found[1] == name else f" as {name}"
        return f"from {self.near(found[0]) if is_twin else up + found[0]} import {found[1]}{asname}"

    def near(self, target: str) -> str:
        """A blocking module as this one names it."""
        own, parts = self.module.parts[:-1], tuple(target.split("."))
        if parts[: len(own)] == own:
            return "." + ".".join(parts[len(own) :])
        return "." * len(self.module.parts) + target

    def write_class(self, node: ast.ClassDef) -> None:
        key = self.module.name, node.name
        where = f"{self.module.name}.{node.name}"
        if is_dataclass(node):
            self.write_dataclass(node)
            return
        above = self.bases(key, node)
        self.lines.append(f"\nclass {node.name}({', '.join(above)}):")
        docstring = ast.get_docstring(node)
        if docstring is not None:
            docstring = turn_words(docstring, where)
            if node.name not in CONSTRUCTED:
                docstring = re.sub(r"\n\nArgs:\n(    .*\n?|\n(?=    ))*\n?", "\n\n", docstring).strip()
            self.lines += [*self.docstring(docstring, 4), ""]
        if not is_protocol(node):
            self.write_source(node)
        self.write_constants(node)
        self.write_fields(node, key)
        for method in methods(node):
            if method.name == "__init__" and node.name in {*CONSTRUCTED, "Group"}:
                self.write_init(node, method)
            elif is_public(method.name) and not (is_record(key) and method.name.startswith(("__", "raw"))):
                self.write_method(node, method)

    def bases(self, key: tuple[str, str], node: ast.ClassDef) -> list[str]:
        found = [
            self.turn(each, runtime=True)
            for each in node.bases
            if ast.unparse(each) != "ABC" and not ast.unparse(each).startswith("_Enveloped")
        ]
        if is_protocol(node):
            return ["_twin.TwinProtocol", *found]
        if any(base in TWINS for base in bases(key)):
            return ["_twin.RecordTwin" if each == "Record" else each for each in found]
        if "Record" in found:
            return ["_twin.RecordTwin" if each == "Record" else each for each in found]
        generic = [each for each in found if each.startswith("Generic[")]
        rest = [each for each in found if each not in generic]
        own = "_twin.RecordTwin" if is_record(key) else "_twin.Twin"
        return [*rest, own, *generic]

    def write_source(self, node: ast.ClassDef) -> None:
        """What type checkers know of the async object."""
        loose = any(method.args.args and method.args.args[0].annotation is not None for method in methods(node))
        parameters = {
            each.id
            for base in node.bases
            for each in ast.walk(base)
            if isinstance(each, ast.Name) and self.is_variable(each.id)
        }
        kind = f"_source.{node.name}" + (f"[{', '.join(['Any'] * len(parameters))}]" if parameters else "")
        self.lines += [
            "    if TYPE_CHECKING:",
            "        @property",
            f"        def _async(self) -> {'Any' if loose else kind}: ...",
            "",
        ]

    def is_variable(self, name: str) -> bool:
        found = resolve(self.module.name, name)
        return (
            found is not None
            and found[1] in MODULES[found[0]].values
            and is_typed_variable(MODULES[found[0]].values[found[1]])
        )

    def write_function(self, node: ast.AsyncFunctionDef) -> None:
        client = node.args.args[0].arg
        call = f"{client}._portal.run({self.call(None, node, f'_source.{node.name}')})"
        returns = self.turn(node.returns)
        doc = turn_words(ast.get_docstring(node) or "", f"{self.module.name}.{node.name}")
        signature = textwrap.dedent(self.signature(node, returns))
        body = [f"result: {returns} = {client}._wrap({call})", "return result"]
        self.lines += ["", signature, *self.docstring(doc, 4), *(f"    {line}" for line in body), ""]

    def write_constants(self, node: ast.ClassDef) -> None:
        for each in node.body:
            match each:
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    if name in CONSTANTS:
                        self.lines += [f"    {rule(name)} = _source.{node.name}.{name}", ""]
                case _:
                    pass

    def write_fields(self, node: ast.ClassDef, key: tuple[str, str]) -> None:
        """Properties for what an async object has as attributes."""
        if is_record(key):
            return
        found = {
            each.target.id: each.annotation
            for each in node.body
            if isinstance(each, ast.AnnAssign)
            and isinstance(each.target, ast.Name)
            and "ClassVar" not in ast.unparse(each.annotation)
            and each.target.id not in ("_resource", "_get_extension")
        }
        for method in methods(node):
            if method.name != "__init__":
                continue
            for each in ast.walk(method):
                target = (
                    each.targets[0]
                    if isinstance(each, ast.Assign)
                    else each.target
                    if isinstance(each, ast.AnnAssign)
                    else None
                )
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self" and is_public(target.attr):
                    if not isinstance(each, ast.AnnAssign):
                        sys.exit(f"{self.module.name}.{node.name}: self.{target.attr} needs an annotation")
                    found[target.attr] = each.annotation
        for name, annotation in found.items():
            text = self.turn(annotation)
            self.lines += [
                "    @property",
                f"    def {name}(self) -> {text}:",
                f'        """{ATTRIBUTES[rule(name)]}"""',
                f"        value: {text} = self._wrap(self._async.{name})",
                "        return value",
                "",
            ]

    def write_dataclass(self, node: ast.ClassDef) -> None:
        """A record of Python that holds what has a blocking form."""
        for each in ast.walk(node):
            if isinstance(each, ast.AnnAssign):
                self.turn(each.annotation)
        self.runtime |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        self.lines.append("\n" + ast.unparse(node) + "\n")

    def docstring(self, text: str, indent: int) -> list[str]:
        text = text.replace("\\", "\\\\")
        lines = [f'"""{text}"""'] if "\n" not in text else [f'"""{text}', '"""']
        return [" " * indent + line if line else "" for whole in lines for line in whole.split("\n")]

    def signature(self, method: Function, returns: str, *, name: str = "") -> str:
        args = method.args
        parts: list[str] = []

        def one(each: ast.arg, default: ast.expr | None, stars: str = "") -> str:
            annotation = f": {self.turn(each.annotation)}" if each.annotation is not None else ""
            value = f" = {self.turn(default, runtime=True)}" if default is not None else ""
            return f"{stars}{each.arg}{annotation}{value}"

        positional = [*args.posonlyargs, *args.args]
        defaults: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
        defaults += args.defaults
        for number, (each, default) in enumerate(zip(positional, defaults, strict=True), 1):
            parts.append(one(each, default))
            if number == len(args.posonlyargs):
                parts.append("/")
        if args.vararg:
            parts.append(one(args.vararg, None, "*"))
        elif args.kwonlyargs:
            parts.append("*")
        parts += [one(each, default) for each, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
        if args.kwarg:
            parts.append(one(args.kwarg, None, "**"))
        return f"    def {name or method.name}({', '.join(parts)}){f' -> {returns}' if returns else ''}:"

    def call(self, node: ast.ClassDef | None, method: Function, target: str) -> str:
        """The call of the async method, with what the caller gave; without a class, of a function."""
        args = method.args
        skip = 0 if node is None or "staticmethod" in decorators(method) else 1
        parts = [self.given(node, method, each) for each in [*args.posonlyargs, *args.args][skip:]]
        parts += [f"*{args.vararg.arg}"] if args.vararg else []
        parts += [f"{each.arg}={self.given(node, method, each)}" for each in args.kwonlyargs]
        if args.kwarg:
            called = self.is_called(args.kwarg.annotation)
            parts.append(f"**_twin.given_options({args.kwarg.arg})" if called else f"**{args.kwarg.arg}")
        return f"{target}({', '.join(parts)})"

    def is_called(self, options: ast.expr | None) -> bool:
        """Whether keyword arguments hold what the SDK calls or reads."""
        todo = [found for name in names_in(options) if (found := resolve(self.module.name, name))]
        while todo:
            key = todo.pop()
            if node := MODULES[key[0]].classes.get(key[1]) if key[0] in MODULES else None:
                if any(
                    GIVEN.keys() & names_in(each.annotation) for each in node.body if isinstance(each, ast.AnnAssign)
                ):
                    return True
                todo += bases(key)
        return False

    def given(self, node: ast.ClassDef | None, method: Function, each: ast.arg) -> str:
        names = names_in(each.annotation)
        if (method.name, each.arg) == ("query", "body"):
            return "_twin.given_body(body)"
        for kind, how in GIVEN.items():
            if kind in names and not (kind == "Callable" and each.arg in OWN_THREAD):
                rule(f"given {kind}")
                how = how.format(each.arg)
                if node is not None and method.name == "__init__" and node.name in WITH_CLIENT:
                    return how.replace("self._wrap", f"{method.args.args[1].arg}._wrap")
                bound = method.name != "__init__" and "classmethod" not in decorators(method)
                return how if bound else how.replace(", self._wrap", "")
        wide = spread(self.module.name, each.annotation)
        if "BinaryFile" in wide:
            return GIVEN["Content"].format(each.arg)
        if each.arg == "other" or names & (NAMES | BOUND | {"Scoped", "Self"}):
            return f"_twin.{'unwrap' if each.arg == 'other' else 'used'}({each.arg})"
        return f"_twin.plain({each.arg})" if wide & RECORDS else each.arg

    def write_init(self, node: ast.ClassDef, method: Function) -> None:
        if node.name == "Group":
            rule("Group")
            self.lines += [
                "    def __init__(self, client: _twin.Twin) -> None:",
                "        held = self._source()(_twin.unwrap(client))",
                "        self.__dict__.update(_async=held, _portal=client._portal)",
                "",
            ]
            return
        self.lines.append(self.signature(method, "None"))
        call = self.call(node, method, f"_source.{node.name}")
        if node.name in WITH_CLIENT:
            client = method.args.args[1].arg
            self.lines += [f"        self.__dict__.update(_async={call}, _portal={client}._portal)", ""]
            return
        self.lines += [f"        self._begin({call})", ""]

    def write_method(self, node: ast.ClassDef, method: Function) -> None:
        marks, where = decorators(method), f"{node.name}.{method.name}"
        name = {
            "__aenter__": "__enter__",
            "__aexit__": "__exit__",
            "__aiter__": "__iter__",
            "__anext__": "__next__",
        }.get(method.name, method.name)
        if name in ("__repr__", "__eq__", "__hash__", "__bool__"):
            return
        returns = self.turn(method.returns)
        is_generator = isinstance(method, ast.AsyncFunctionDef) and returns.startswith("Iterator[")
        if "asynccontextmanager" in marks:
            returns = re.sub(r"^(Generator|Iterator)\[(.*)\]$", r"AbstractContextManager[\2]", returns)
        elif is_generator:
            returns = "Generator" + returns.removeprefix("Iterator")
        for mark in ("overload", "classmethod", "staticmethod", "property", "cached_property"):
            if mark in marks:
                self.lines.append(f"    @{mark}")
                self.runtime.add(mark)
        signature = self.signature(method, returns, name=name)
        if "overload" in marks:
            self.lines.append(f"{signature} ...")
            return
        self.lines.append(signature)
        docstring = ast.get_docstring(method)
        if docstring is not None:
            self.lines += self.docstring(turn_words(docstring, where), 8)
        if is_protocol(node):
            self.lines += ["        ...", ""]
            return
        self.lines += [f"        {line}" for line in self.body(node, method, marks, where, returns, is_generator)]
        self.lines.append("")

    def body(
        self, node: ast.ClassDef, method: Function, marks: set[str], where: str, returns: str, is_generator: bool
    ) -> list[str]:
        overloaded = [each for each in methods(node) if each.name == method.name and "overload" in decorators(each)]
        holder = "self._async"
        lines: list[str] = []
        if "classmethod" in marks:
            call = self.call(node, method, f"_source.{node.name}.{method.name}")
            return [f"return cls.{'_come_from' if isinstance(method, ast.AsyncFunctionDef) else '_adopt'}({call})"]
        if overloaded:
            holder, lines = "held", ["held: Any = self._async"]
        if "property" in marks or "cached_property" in marks:
            call = f"{holder}.{method.name}"
        elif method.name == "__getitem__":
            call = f"{holder}[{method.args.args[1].arg}]"
        elif method.name == "__truediv__":
            call = f"{holder} / _twin.unwrap({method.args.args[1].arg})"
        elif method.name == "__lt__":
            call = f"{holder} < _twin.unwrap({method.args.args[1].arg})"
        elif method.name in ("__str__", "__bytes__"):
            call = f"{method.name.strip('_')}({holder})"
        else:
            call = self.call(node, method, f"{holder}.{method.name}")
        if where in WRITING:
            return [f'self._portal.run(_twin.written({holder}, "{rule(where).partition(".")[2]}", data))']
        if where in IN_LOOP:
            return [f"self._portal.call({holder}.{rule(where).partition('.')[2]})"]
        if where in OWN_LOOP:
            rule(where)
            code = self.call(node, method, f"held.{method.name}")
            run = f"_twin.run_here(self._async, lambda held: {code})"
            return [run] if returns == "None" else [f"result: {returns} = {run}", "return result"]
        if method.name == "__aiter__":
            return ["return self"]
        if method.name == "__aenter__":
            return [f"return self._enter({call})"]
        if method.name == "__aexit__" and where not in CLOSING:
            return [f"self._leave({call})"]
        if method.name == "__anext__":
            return [
                "try:",
                f"    item: {returns} = self._wrap(self._portal.run({call}))",
                "except StopAsyncIteration:",
                "    raise StopIteration from None",
                "return item",
            ]
        if "asynccontextmanager" in marks:
            return [*lines, f"return self._portal.enter({call}, self._wrap)"]
        if is_generator:
            return [*lines, f"return self._portal.iterate({call}, self._wrap)"]
        if where in CLOSING:
            rule(where)
            return [*lines, f"self._portal.end({call})"]
        if isinstance(method, ast.AsyncFunctionDef):
            call = f"self._portal.run({call})"
        if returns == "None":
            return [*lines, call]
        loose = overloaded or any(each.args.args and each.args.args[0].annotation is not None for each in methods(node))
        turned = ast.parse(returns, mode="eval").body if returns else None
        involved = names_in(turned) & (
            NAMES | BOUND | {"Self", "StreamReader", "StreamWriter", "WebSocket", "AbstractContextManager", "Iterator"}
        )
        if involved or (turned is not None and "Any" in ast.unparse(turned)):
            return [*lines, f"result: {returns} = self._wrap({call})", "return result"]
        if loose or "_twin.u" in call:
            return [*lines, f"result: {returns} = {call}", "return result"]
        if "property" in marks and method.name in UNLOADED:
            return ["with _twin.Words():", f"    return {call}"]
        return [*lines, f"return {call}"]


def package(module: Module) -> str:
    """An ``__init__``: the same names."""
    up, level = "." * (len(module.parts) + 1), "." * len(module.parts)
    lazy = "lazy_names" in module.path.read_text()
    doc = turn_words((ast.get_docstring(module.tree) or ""), module.name or "incus_sdk")
    static, table = list[str](), dict[str, list[str]]()
    for name in module.imports:
        found = resolve(module.name, name)
        if found is None or name in ("lazy_names", *FUNCTIONS):
            continue
        target, original = found
        if not original:
            is_here = target in WRITTEN
            target = target.rpartition(".")[0] if not is_here else ""
        else:
            is_here = found in TWINS or found in FUNCTION_TWINS
            target = target.removeprefix(f"{module.name}.") if is_here and module.name else target
        static.append(f"from {level[:1] if is_here else up}{target} import {name} as {name}")
        if original or not is_here:
            table.setdefault(target if is_here else f"{up[1:]}{target}", []).append(name)
    if not module.name:
        static += [f"from .{where} import {name} as {name}" for name, where in FUNCTIONS.items()]
        table.update((where, [name]) for name, where in FUNCTIONS.items())
    out = [f'"""{doc}\n"""' if "\n" in doc else f'"""{doc}"""', ""]
    if not lazy:
        return "\n".join([*out, *static, ""])
    rows: list[str] = []
    for where, names in table.items():
        text = " ".join(names)
        if len(text) > 90:
            text = f'""{chr(10)}{textwrap.indent(textwrap.fill(text, 96), " " * 16)}{chr(10)}{" " * 12}""'
        rows.append(f'{" " * 12}"{where}": "{text}",')
    out += ["from typing import TYPE_CHECKING", "", f"from {up}_lazy import lazy_names", ""]
    out += ["if TYPE_CHECKING:", *(f"    {line}" for line in static), "else:"]
    out += ["    __getattr__, __dir__, __all__ = lazy_names(", "        __name__, {", *rows, "        }", "    )", ""]
    return "\n".join(out)


WRITTEN = {module for module, _ in TWINS | FUNCTION_TWINS}


def generate(directory: Path) -> None:
    for name, module in MODULES.items():
        path = directory / module.path.relative_to(SOURCE)
        inside = any(each == name or each.startswith(f"{name}.") for each in WRITTEN) or not name
        if module.is_package and inside:
            text = package(module)
        elif name in WRITTEN:
            text = Writer(module).write()
        else:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    settings = ["--config", str(ROOT / "pyproject.toml"), "--quiet", str(directory)]
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--fix-only", "--select", "F401,I,UP,TC005,PIE790,RET504", *settings], check=True)
    subprocess.run([*ruff, "format", *settings], check=True)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=SOURCE.parent, prefix=".sync-") as scratch:
        generate(Path(scratch))
        made = {path.relative_to(scratch): path.read_text() for path in Path(scratch).rglob("*.py")}
    rules = [
        *ATTRIBUTES,
        *WORDS,
        *TYPES,
        *(f"given {kind}" for kind in GIVEN),
        *CLOSING,
        *WRITING,
        *IN_LOOP,
        *OWN_LOOP,
        *CONSTANTS,
    ]
    if unused := [name for name in rules if not used[name]]:
        sys.exit(f"tools/blocking.py has rules that nothing needs: {', '.join(unused)}")
    there = {path.relative_to(TWIN): path.read_text() for path in TWIN.rglob("*.py") if path.name not in BY_HAND}
    if made == there:
        return
    if "--check" in sys.argv[1:]:
        stale = sorted(str(path) for path in made.keys() | there.keys() if made.get(path) != there.get(path))
        sys.exit(f"not as tools/blocking.py makes it: {', '.join(stale)}")
    for path in there.keys() - made.keys():
        (TWIN / path).unlink()
    for path, text in made.items():
        (TWIN / path).parent.mkdir(parents=True, exist_ok=True)
        (TWIN / path).write_text(text)


if __name__ == "__main__":
    main()
