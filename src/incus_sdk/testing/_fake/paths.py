"""Paths of objects, as the server writes them."""

from __future__ import annotations

from urllib.parse import quote


def path_of(project: str, *parts: str) -> str:
    """The path of an object in a project, made from the names in it."""
    query = "" if project == "default" else f"?project={quote(project, safe='')}"
    return "/".join(("/1.0", *(quote(part, safe="") for part in parts))) + query
