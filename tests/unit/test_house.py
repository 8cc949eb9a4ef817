"""The rules of the house: who may import whom, who speaks to the network, who builds URLs, what is public."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

import incus_sdk
import incus_sdk.sync

ROOT = Path(incus_sdk.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
PARSERS = {
    "httptools": ("_connection/connection.py", "testing/_fake/connection.py"),
    "websockets": ("_connection/frames.py", "testing/_fake/streams.py"),
}
"""What parses bytes, and the one module that knows it: in a client, and in the fake server."""

# Each room may import those further down, and its own; those that stand alone nothing but themselves.
FLOORS = (
    {"_plugin", "_mcp"},
    {"sync"},
    {"testing", "__main__", "sandbox"},
    {""},
    {"client"},
    {"progress"},
    {"api"},
    {"files"},
    {"_terminal", "_run", "simplestreams"},
    {"process", "_migration"},
    {"_background", "_content"},
    {"operations"},
    {"events", "_outputs", "_users"},
    {"_connection"},
    {"filters", "_atomic"},
    {"exceptions", "_concurrency", "_deprecation", "models"},
    {"_lazy"},
)
ALONE = {"models", "exceptions", "_lazy"}


def room(module: Path) -> str:
    """The top-level module or package a file belongs to; empty for the package's own `__init__`."""
    first = module.relative_to(ROOT).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def floor(name: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


def imported(module: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it, by their full names."""
    package = ["incus_sdk", *module.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            name = ".".join(filter(None, [base, node.module]))
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names if name == "incus_sdk")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_imports_point_one_way(module: Path) -> None:
    own = room(module)
    for name in imported(module):
        parts = name.split(".")
        if parts[0] == "incus_sdk" and len(parts) > 1 and any(parts[1] in rooms for rooms in FLOORS):
            assert parts[1] == own or floor(parts[1]) > floor(own), f"{own} imports {parts[1]}"
            assert own not in ALONE or parts[1] in ALONE, f"{own} imports {parts[1]}"


def test_every_module_has_its_floor() -> None:
    assert {room(module) for module in MODULES} == set().union(*FLOORS)


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_what_parses_bytes_is_known_to_one_module(module: Path) -> None:
    found = {name.partition(".")[0] for name in imported(module)}
    assert not [parser for parser, users in PARSERS.items() if parser in found and named(module) not in users]


@pytest.mark.parametrize("made", ["blocking", "rooms", "operations", "surface"])
def test_what_is_made_from_the_code_is_up_to_date(made: str) -> None:
    """``rooms`` fails for imports in a circle, too."""
    check = [sys.executable, str(ROOT.parents[1] / "tools" / f"{made}.py"), "--check"]
    assert subprocess.run(check, capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_no_module_is_too_long_to_be_read(module: Path) -> None:
    assert len(module.read_text().splitlines()) < 900


def literals(tree: ast.AST) -> Iterator[str]:
    """The string literals of a tree, but for docstrings and what stands alone as one."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


@pytest.mark.parametrize(
    "module", [path for path in MODULES if path.stem != "wire" and room(path) != "testing"], ids=named
)
def test_urls_are_built_in_wire_alone(module: Path) -> None:
    # Messages name paths for people; they have words around them.
    texts = literals(ast.parse(module.read_text()))
    assert [text for text in texts if "/1.0" in text and " " not in text.strip()] == []


def test_an_answer_becomes_an_exception_in_one_place_for_each_protocol() -> None:
    users = {
        room(module)
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom) and "_BY_STATUS" in [alias.name for alias in node.names]
    }
    assert users == {"_connection", "files"}, "SFTP is a protocol of its own"


MUTABLE = ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp
MAKERS = {
    "dict",
    "list",
    "set",
    "defaultdict",
    "deque",
    "Counter",
    "OrderedDict",
    "count",
    "Lock",
    "Semaphore",
    "Event",
}
MEMORIES = {"cache", "lru_cache"}


def last(node: ast.AST | None) -> str:
    """The name of what is called or decorates, without what is before its last dot."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_no_module_keeps_state(module: Path) -> None:
    """Names at module level are bound once; what is mutable is a table that nothing writes to, in capitals."""
    tree = ast.parse(module.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [each.name for each in functions if MEMORIES & {last(mark) for mark in each.decorator_list}]
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(value, MUTABLE):
                assert target.id.isupper() or target.id == "__all__", f"{target.id} is mutable"
            assert not (isinstance(value, ast.Call) and last(value) in MAKERS), f"{ast.unparse(target)} is state"


OWNERS = {
    "_background",
    "_concurrency",
    "_connection",
    "_mcp",
    "_migration",
    "_run",
    "_terminal",
    "events",
    "files",
    "process",
    "sandbox",
    "sync",
    "testing",
}
"""Rooms that begin tasks, and end them before they are left."""


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_tasks_are_begun_only_where_they_have_an_owner(module: Path) -> None:
    begun = {
        node.attr
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("create_task", "ensure_future")
    }
    # launch() shields the creation of an instance, and waits for it or removes it. A listener ends its connections.
    assert not begun or room(module) in OWNERS or named(module) in ("api/_lifecycle.py", "api/_forwarding.py")


def loaded_by(statements: str) -> set[str]:
    """The modules of a fresh process after some statements."""
    code = f"import sys\n{statements}\nprint(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


RARE = {"cryptography", "httptools", "orjson", "prometheus_client", "websockets", "yaml"} | {
    "difflib",
    "email.parser",
    "random",
    "secrets",
    "tarfile",
    "tempfile",
    "termios",
    "uuid",
}
"""What asyncio does not load either: it is imported where it is used."""


def test_a_program_loads_only_what_it_uses() -> None:
    start = loaded_by("import incus_sdk; incus_sdk.Client('/nowhere')")
    assert not start & RARE
    assert not [name for name in start if name.startswith(("incus_sdk.api.", "incus_sdk.models.", "incus_sdk.files"))]
    instances = loaded_by("import incus_sdk; incus_sdk.Client('/nowhere').instances['c1']")
    assert not instances & RARE
    others = {"certificates", "cluster", "networks", "preseed", "projects", "resources", "server", "storage"}
    assert not instances & {f"incus_sdk.{room}.{other}" for room in ("api", "models") for other in others}


@pytest.mark.parametrize("package", [incus_sdk, incus_sdk.models], ids=lambda package: package.__name__)
def test_names_are_the_same_for_type_checkers_and_at_run_time(package: ModuleType) -> None:
    static: dict[str, str] = {}
    for node in ast.walk(ast.parse(Path(str(package.__file__)).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            static |= {alias.name: f"{package.__name__}.{node.module}" for alias in node.names if alias.asname}
    assert sorted(vars(package)["__all__"]) == sorted(static)
    assert static.keys() <= set(dir(package))
    for name, module in static.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name)


def test_modules_are_attributes_of_their_packages_and_misspelt_names_are_refused() -> None:
    code = "import incus_sdk; incus_sdk.api.networks.Network, incus_sdk.models.storage.StoragePool, incus_sdk.filters.F"
    assert "incus_sdk.api.networks" in loaded_by(code)
    for package in (incus_sdk, incus_sdk.models, importlib.import_module("incus_sdk.api")):
        with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'misspelt'"):
            _ = package.misspelt


def is_protocol(kind: object) -> bool:
    return bool(getattr(kind, "_is_protocol", False))


def public_modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(incus_sdk.__path__, "incus_sdk."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield importlib.import_module(found.name)


@pytest.mark.parametrize("module", list(public_modules()), ids=lambda module: module.__name__)
def test_everything_public_says_what_it_is(module: ModuleType) -> None:
    assert module.__doc__
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            assert value.__doc__, name
            for member, method in vars(value).items():
                if member.startswith("_") or not (inspect.isfunction(method) or isinstance(method, property)):
                    continue
                above = [*value.__mro__[1:], *(kind for kind in vars(module).values() if is_protocol(kind))]
                inherited = any(getattr(getattr(base, member, None), "__doc__", None) for base in above)
                assert method.__doc__ or inherited, f"{name}.{member}"
        elif inspect.isfunction(value):
            assert value.__doc__, name


def test_all_errors_come_from_the_top_of_the_package() -> None:
    errors = {name for name in vars(incus_sdk.exceptions) if name.endswith("Error")}
    assert errors <= set(vars(incus_sdk)["__all__"])


def test_naming_things_makes_no_request_and_needs_no_loop() -> None:
    client = incus_sdk.Client("/nowhere/unix.socket").use_project("p")
    box = client.instances["c1"]
    assert (box.name, box.project) == ("c1", "p")
    handles: list[object] = [box.snapshots["s0"], client.networks["n"].forwards["198.51.100.1"], client.profiles["x"]]
    handles.append(client.storage_pools["default"].volumes["custom/data"].snapshots["s0"])
    assert [type(handle).__name__ for handle in handles] == [
        "Snapshot",
        "NetworkForward",
        "Profile",
        "VolumeSnapshot",
    ]
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_no_two_modules_beside_the_data_types_share_a_name() -> None:
    apart = {"models", "sync", "_fake"}  # the blocking twin and the fake server have the same names, throughout
    inside = [module for module in MODULES if apart.isdisjoint(module.parts) and module.stem != "__init__"]
    names = [module.stem.strip("_") for module in inside]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("package", [incus_sdk, incus_sdk.sync], ids=lambda package: package.__name__)
def test_completion_shows_no_internals(package: ModuleType) -> None:
    shown = {name for name in dir(package) if not name.startswith("_")}
    assert {name for name in shown if f"{package.__name__}.{name}" not in sys.modules} == set(package.__all__)
    for kind in (getattr(package, name) for name in package.__all__):
        if inspect.isclass(kind) and not dataclasses.is_dataclass(kind):
            values = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
            plain = {name for name, value in values.items() if isinstance(value, str | bool | Mapping | frozenset)}
            assert plain <= {"KEY"}, f"{kind.__name__} shows {plain}"
