"""Keyword options that do not exist are refused, in every method, before anything is sent."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import incus_sdk
from incus_sdk import Client, IncusInputError

API = Path(incus_sdk.__file__).parent / "api"


def test_every_method_with_typed_options_refuses_others() -> None:
    bare: list[str] = []
    for path in API.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.kwarg is not None:
                annotation = ast.unparse(node.args.kwarg.annotation or ast.Constant(None))
                decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
                options = annotation.removeprefix("Unpack[").removesuffix("]")
                if annotation.startswith("Unpack[") and not {f"known_options({options})", "overload"} & {*decorators}:
                    bare.append(f"{path.name}: {node.name}")
    assert bare == []


CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "copy(project=)": (
        lambda client: client.instances["a"].copy("b", project="p"),
        r"Instance\.copy\(\) has no option 'project': write to=client\.use_project",
    ),
    "copy(target=)": (
        lambda client: client.instances["a"].copy("b", target="node2"),
        r"has no option 'target': write to=client\.use_target",
    ),
    "snapshot.copy": (lambda client: client.instances["a"].snapshots["s"].copy("b", profile="x"), "mean 'profiles'"),
    "volume.copy": (
        lambda client: client.storage_pools["p"].volumes["custom/v"].copy("w", pools="q"),
        "has no option 'pools'",
    ),
    "bucket keys": (
        lambda client: client.storage_pools["p"].buckets["b"].bucket_keys.create("k", access_key="x"),
        r"write \*\*\{\"access-key\": \.\.\.\}",
    ),
    "profiles.create": (lambda client: client.profiles.create("p", nonsense=1), "it has config, description, devices"),
    "network_acls.create": (lambda client: client.network_acls.create("a", ingres=[]), "did you mean 'ingress'"),
    "images.create": (lambda client: client.images.create(b"", alias="x"), "did you mean 'aliases'"),
    "backups.direct": (
        lambda client: client.instances["a"].backups.direct(instance_onli=True),
        "did you mean 'instance_only'",
    ),
}


@pytest.mark.parametrize("call", CALLS)
async def test_an_option_that_does_not_exist_is_refused_and_the_one_that_was_meant_is_named(call: str) -> None:
    client = Client("/nowhere/unix.socket")
    make, said = CALLS[call]
    with pytest.raises(IncusInputError, match=said):
        await _called(make, client)


async def _called(make: Callable[[Any], Any], client: Client) -> None:
    made = make(client)
    if inspect.isawaitable(made):
        await made
