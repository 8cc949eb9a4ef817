"""What the house costs: lines for each resource, own frames from a method to the socket, and the time to import.

python benchmarks/cost.py
"""

from __future__ import annotations

import ast
import asyncio
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import incus_sdk
from incus_sdk import Client
from incus_sdk.transport import Response, Transport

API = Path(incus_sdk.__file__).parent / "api"
IMPORTS = {
    "python alone": "pass",
    "asyncio": "import asyncio",
    "aiohttp": "import aiohttp",
    "incus_sdk": "import incus_sdk",
}


def lines() -> dict[str, int]:
    """Lines of code, without docstrings, comments and blanks, of each class in the modules that are all declaration."""
    counted: dict[str, int] = {}
    for module in ("profiles", "networks", "storage", "projects"):
        for node in ast.parse((API / f"{module}.py").read_text()).body:
            if isinstance(node, ast.ClassDef):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant):
                        inner.value.value = "-"  # a docstring counts one line
                counted[f"{module}.{node.name}"] = len(ast.unparse(node).splitlines())
    return counted


async def frames() -> list[str]:
    """The SDK's own functions on the stack when `client.profiles.get` reaches the HTTP library."""
    seen: list[str] = []

    class Spy(Transport):
        async def request(self, *_: Any, **__: Any) -> Response:
            own = [frame for frame in traceback.extract_stack() if "incus_sdk" in frame.filename]
            seen.extend(f"{Path(frame.filename).stem}.{frame.name}" for frame in own)
            body = b'{"type": "sync", "metadata": {"name": "x"}}'
            return Response(200, {"Content-Type": "application/json"}, body)

    client = Client("/nowhere")
    object.__setattr__(client._scope, "transport", Spy(client._scope.transport.endpoint))
    await client.profiles.get("x")
    return [*seen, "transport.request"]


def imports(runs: int = 11) -> dict[str, float]:
    """Median seconds of a fresh interpreter, by what it imports."""
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(runs):
        for name, code in IMPORTS.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    print("Lines of code of each class, docstrings apart:")
    for name, count in lines().items():
        print(f"  {count:3} {name}")
    path = asyncio.run(frames())
    print(f"Own frames from client.profiles.get to the HTTP library: {len(path)}: {' > '.join(path)}")
    measured = imports()
    alone = measured["python alone"]
    print("Time to import, in times of Python's own start:")
    for name, seconds in measured.items():
        print(f"  {seconds / alone:5.1f} {name}")


if __name__ == "__main__":
    main()
