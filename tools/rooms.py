"""Writes the map of the house, from its imports and the first lines of its modules; with ``--check``, compares.

The table of rooms goes into CONTRIBUTING.md, the picture into docs/rooms.svg. A room is a module or a package right
below ``incus_sdk``; it stands one floor above the highest room that it imports. Fails where imports run in a circle.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "incus_sdk"
PAGE = ROOT / "CONTRIBUTING.md"
PICTURE = ROOT / "docs" / "rooms.svg"
START, END = "<!-- rooms: made by tools/rooms.py -->", "<!-- rooms: end -->"

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 118, 30, 22, 34, 20  # of the boxes of the picture, in pixels


def modules() -> dict[str, Path]:
    """All modules by name, without ``incus_sdk``; the package's own ``__init__`` is the empty name."""
    found: dict[str, Path] = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(module: str) -> Iterator[str]:
    """The modules of this package that a module imports, wherever in it."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
        elif (node.module or "").partition(".")[0] == "incus_sdk":
            base = (node.module or "").split(".")[1:]
        else:
            continue
        for each in node.names:
            whole = ".".join([*base, each.name]).strip(".")
            found = whole if whole in MODULES else ".".join(base).strip(".")
            if found != module:
                yield found


def circle() -> list[str]:
    """Modules that import each other in a circle; none if there is no circle."""
    done: set[str] = set()

    def visit(module: str, above: list[str]) -> list[str]:
        if module in above:
            return above[above.index(module) :]
        if module in done:
            return []
        for each in sorted(set(imported(module))):
            if found := visit(each, [*above, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(MODULES) if (found := visit(module, []))), [])


def room(module: str) -> str:
    return module.partition(".")[0]


ROOMS = sorted({room(module) for module in MODULES})
ARROWS = sorted({(room(one), room(each)) for one in MODULES for each in imported(one) if room(one) != room(each)})


@cache
def floor(name: str) -> int:
    return max((1 + floor(below) for one, below in ARROWS if one == name), default=0)


def title(name: str) -> str:
    return f"{name or '__init__'}{'/' if MODULES[name].name == '__init__.py' and name else '.py'}"


def table() -> str:
    """The rooms from the top floor down, each with the first sentence of its docstring."""
    lines = ["| floor | room, in `src/incus_sdk` | what is in it |", "|---|---|---|"]
    for name in sorted(ROOMS, key=lambda name: (-floor(name), name)):
        docstring = ast.get_docstring(ast.parse(MODULES[name].read_text())) or ""
        first = " ".join(docstring.partition("\n\n")[0].split()).replace("``", "`")
        lines.append(f"| {floor(name)} | `{title(name)}` | {first} |")
    return "\n".join(lines)


def picture() -> str:
    """Boxes on floors, an arrow for each import between two rooms."""
    rows: dict[int, list[str]] = {}
    for name in ROOMS:
        rows.setdefault(floor(name), []).append(name)
    widest = max(map(len, rows.values()))
    width = 2 * MARGIN + widest * WIDTH + (widest - 1) * GAP_X
    height = 2 * MARGIN + len(rows) * HEIGHT + (len(rows) - 1) * GAP_Y
    place: dict[str, tuple[float, float]] = {}
    for level, names in rows.items():
        left = (width - len(names) * WIDTH - (len(names) - 1) * GAP_X) / 2
        for number, name in enumerate(names):
            top = height - MARGIN - HEIGHT - level * (HEIGHT + GAP_Y)
            place[name] = left + number * (WIDTH + GAP_X), top
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif">',
        "<title>The rooms of incus_sdk: imports point down</title>",
        '<g stroke="#888" stroke-width="0.8" fill="none" opacity="0.7">',
    ]
    for one, below in ARROWS:
        (x1, y1), (x2, y2) = place[one], place[below]
        lines.append(f'<path d="M{x1 + WIDTH / 2:.0f} {y1 + HEIGHT:.0f} L{x2 + WIDTH / 2:.0f} {y2:.0f}"/>')
    lines.append("</g>")
    for name, (x, y) in sorted(place.items()):
        fill = "#e8e8e8" if name.startswith("_") and name != "__main__" else "#ffe3d3"
        lines.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="4" fill="{fill}" stroke="#666"/>'
            f'<text x="{x + WIDTH / 2:.0f}" y="{y + HEIGHT / 2 + 4:.0f}" font-size="13" text-anchor="middle">'
            f"{title(name)}</text>"
        )
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    if found := circle():
        sys.exit(f"imports run in a circle: {' -> '.join([*found, found[0]])}")
    before, _, rest = PAGE.read_text().partition(START)
    wanted = {PAGE: f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}", PICTURE: picture()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"not as tools/rooms.py makes it: {', '.join(str(path.relative_to(ROOT)) for path in stale)}")
        return
    for path in stale:
        path.write_text(wanted[path])


if __name__ == "__main__":
    main()
