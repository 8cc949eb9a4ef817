"""From a request's method and path to who answers it; knows all paths of the API, also those that nobody answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from .answers import Refused
from .streams import AnyAnswer

Handler = Callable[..., AnyAnswer | Awaitable[AnyAnswer]]
"""Called with a request, and with the names in its path."""

Table = Mapping[str, Mapping[str, Handler]]
"""By path, where ``{}`` stands for a name, and by method."""

API = """
/ GET
/1.0 GET PATCH PUT
/1.0/resources GET
/1.0/metrics GET
/1.0/metadata/configuration GET
/1.0/events GET
/1.0/operations GET
/1.0/operations/{} DELETE GET
/1.0/operations/{}/wait GET
/1.0/operations/{}/websocket GET
/1.0/warnings GET
/1.0/warnings/{} DELETE GET PATCH PUT
/1.0/certificates GET POST
/1.0/certificates/{} DELETE GET PATCH PUT
/1.0/projects GET POST
/1.0/projects/{} DELETE GET PATCH POST PUT
/1.0/projects/{}/access GET
/1.0/projects/{}/state GET
/1.0/profiles GET POST
/1.0/profiles/{} DELETE GET PATCH POST PUT
/1.0/instances GET POST PUT
/1.0/instances/{} DELETE GET PATCH POST PUT
/1.0/instances/{}/state GET PUT
/1.0/instances/{}/exec POST
/1.0/instances/{}/console DELETE GET POST
/1.0/instances/{}/files DELETE GET HEAD POST
/1.0/instances/{}/sftp GET
/1.0/instances/{}/logs GET
/1.0/instances/{}/logs/exec-output GET
/1.0/instances/{}/logs/exec-output/{} DELETE GET
/1.0/instances/{}/logs/{} DELETE GET
/1.0/instances/{}/snapshots GET POST
/1.0/instances/{}/snapshots/{} DELETE GET PATCH POST PUT
/1.0/instances/{}/backups GET POST
/1.0/instances/{}/backups/{} DELETE GET POST
/1.0/instances/{}/backups/{}/export GET
/1.0/instances/{}/metadata GET PATCH PUT
/1.0/instances/{}/metadata/templates DELETE GET POST
/1.0/instances/{}/rebuild POST
/1.0/instances/{}/access GET
/1.0/instances/{}/debug/memory GET
/1.0/instances/{}/debug/repair POST
/1.0/instances/{}/nvram GET PATCH
/1.0/instances/{}/nvram/{} GET
/1.0/instances/{}/nvram/{}/{} DELETE GET PUT
/1.0/instances/{}/bitmaps POST
/1.0/instances/{}/nbd GET
/1.0/instances/{}/port-forward POST
/1.0/images GET POST
/1.0/images/{} DELETE GET PATCH PUT
/1.0/images/{}/export GET POST
/1.0/images/{}/refresh POST
/1.0/images/{}/secret POST
/1.0/images/aliases GET POST
/1.0/images/aliases/{} DELETE GET PATCH POST PUT
/1.0/networks GET POST
/1.0/networks/{} DELETE GET PATCH POST PUT
/1.0/networks/{}/leases GET
/1.0/networks/{}/state GET
/1.0/networks/{}/forwards GET POST
/1.0/networks/{}/forwards/{} DELETE GET PATCH PUT
/1.0/networks/{}/load-balancers GET POST
/1.0/networks/{}/load-balancers/{} DELETE GET PATCH PUT
/1.0/networks/{}/load-balancers/{}/state GET
/1.0/networks/{}/peers GET POST
/1.0/networks/{}/peers/{} DELETE GET PATCH PUT
/1.0/network-acls GET POST
/1.0/network-acls/{} DELETE GET PATCH POST PUT
/1.0/network-acls/{}/log GET
/1.0/network-address-sets GET POST
/1.0/network-address-sets/{} DELETE GET PATCH POST PUT
/1.0/network-allocations GET
/1.0/network-integrations GET POST
/1.0/network-integrations/{} DELETE GET PATCH POST PUT
/1.0/network-zones GET POST
/1.0/network-zones/{} DELETE GET PATCH PUT
/1.0/network-zones/{}/records GET POST
/1.0/network-zones/{}/records/{} DELETE GET PATCH PUT
/1.0/storage-pools GET POST
/1.0/storage-pools/{} DELETE GET PATCH PUT
/1.0/storage-pools/{}/resources GET
/1.0/storage-pools/{}/volumes GET POST
/1.0/storage-pools/{}/volumes/{} GET POST
/1.0/storage-pools/{}/volumes/{}/{} DELETE GET PATCH POST PUT
/1.0/storage-pools/{}/volumes/{}/{}/rebuild POST
/1.0/storage-pools/{}/volumes/{}/{}/state GET
/1.0/storage-pools/{}/volumes/{}/{}/snapshots GET POST
/1.0/storage-pools/{}/volumes/{}/{}/snapshots/{} DELETE GET PATCH POST PUT
/1.0/storage-pools/{}/volumes/{}/{}/backups GET POST
/1.0/storage-pools/{}/volumes/{}/{}/backups/{} DELETE GET POST
/1.0/storage-pools/{}/volumes/{}/{}/backups/{}/export GET
/1.0/storage-pools/{}/volumes/{}/{}/files DELETE GET HEAD POST
/1.0/storage-pools/{}/volumes/{}/{}/sftp GET
/1.0/storage-pools/{}/volumes/{}/{}/bitmaps GET POST
/1.0/storage-pools/{}/volumes/{}/{}/bitmaps/{} DELETE GET
/1.0/storage-pools/{}/volumes/{}/{}/nbd GET
/1.0/storage-pools/{}/buckets GET POST
/1.0/storage-pools/{}/buckets/{} DELETE GET PATCH PUT
/1.0/storage-pools/{}/buckets/{}/keys GET POST
/1.0/storage-pools/{}/buckets/{}/keys/{} DELETE GET PUT
/1.0/storage-pools/{}/buckets/{}/backups GET POST
/1.0/storage-pools/{}/buckets/{}/backups/{} DELETE GET POST
/1.0/storage-pools/{}/buckets/{}/backups/{}/export GET
/1.0/cluster GET PUT
/1.0/cluster/certificate PUT
/1.0/cluster/members GET POST
/1.0/cluster/members/{} DELETE GET PATCH POST PUT
/1.0/cluster/members/{}/state GET POST
/1.0/cluster/groups GET POST
/1.0/cluster/groups/{} DELETE GET PATCH POST PUT
"""
"""All operations of the API: a path, and its methods."""

METHODS = frozenset({"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"})


def operations() -> Iterator[tuple[str, str]]:
    """Method and path of each operation of the API."""
    for line in API.split("\n")[1:-1]:
        path, *methods = line.split()
        yield from ((method, path) for method in methods)


_Leaf = tuple[str, frozenset[str]]


def _by_parts() -> dict[Any, Any]:
    tree: dict[Any, Any] = {}
    for line in API.split("\n")[1:-1]:
        path, *methods = line.split()
        node = tree
        for part in path.rstrip("/").split("/"):
            node = node.setdefault(part, {})
        node[None] = path, frozenset(methods)
    return tree


_PATHS = _by_parts()
"""All paths, part by part; where one ends, None leads to it and its methods."""


class Router:
    """Finds who answers.

    Args:
        table: What the fake does.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def find(self, method: str, path: str) -> tuple[Handler, list[str]]:
        """Who answers, and the names in the path; raises `Refused` where nobody does."""
        node, names = _PATHS, list[str]()
        for part in path.rstrip("/").split("/"):
            if part in node:
                node = node[part]
            elif "{}" in node and part:
                node = node["{}"]
                names.append(unquote(part))
            elif names and path.startswith("/1.0/images/aliases/"):
                names[-1] += f"/{unquote(part)}"
            else:
                raise Refused(404, "not found")
        leaf: _Leaf | None = node.get(None)
        if leaf is None:
            raise Refused(404, "not found")
        template, methods = leaf
        if method not in methods:
            raise Refused(501, "not implemented")
        handler = self._table.get(template, {}).get(method)
        if handler is None:
            raise Refused(501, f"The fake of incus_sdk does not do {method} {unquote(path)}")
        return handler, names
