"""Applying a preseed: see `ServerAPI.preseed`."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import models
from .._connection import wire
from .._connection.scope import Scope
from .._connection.tls import der
from ..exceptions import IncusError, IncusInputError, IncusNotFoundError
from ..models.base import Json
from ._bodies import to_body
from .base import Collection, Editable
from .certificates import CertificatesAPI
from .cluster import ClusterAPI
from .networks import NetworksAPI
from .profiles import ProfilesAPI
from .projects import ProjectsAPI
from .storage import StoragePoolsAPI

_LOWER = {"Project": "project", "Pool": "pool"}
"""Fields that are written small in YAML, and large in JSON."""

_ITEMS = {
    "storage_pools": models.StoragePoolsPost,
    "networks": models.InitNetworksProjectPost,
    "projects": models.ProjectsPost,
    "storage_volumes": models.InitStorageVolumesProjectPost,
    "profiles": models.InitProfileProjectPost,
    "certificates": models.CertificatesPost,
    "cluster_groups": models.ClusterGroupsPost,
}
"""The sections that are lists, and what is in them."""

_FIXED = {"storage_pools": "driver", "networks": "type", "storage_volumes": "content_type", "certificates": "type"}
"""What cannot be changed of an object that is there."""

_Step = tuple[str, Callable[[], Awaitable[str | None]]]
"""What it is about, and how to do it: that returns the word for what was done, or None for nothing."""


async def apply(server: Editable[Any], data: Mapping[str, Any]) -> list[str]:
    """Set up the server; returns what was done."""
    done: list[str] = []
    for what, do in list(_steps(server, *_read(data))):
        try:
            outcome = await do()
        except IncusError as error:
            error.args = (f"preseed, at {what}: {error}; done before it: {', '.join(done) or 'nothing'}",)
            raise
        if outcome:
            done.append(f"{outcome} {what}")
    return done


def _read(data: Mapping[str, Any]) -> tuple[Json, dict[str, list[Json]], Json]:
    """The server's configuration, the sections that are lists, and the cluster; checked."""
    whole = _fields(data, models.InitPreseed, "the preseed")
    whole = {**_fields(whole.pop("Server", None) or {}, models.InitLocalPreseed, "Server"), **whole}
    items = {section: [_item(section, item) for item in _list(whole, section)] for section in _ITEMS}
    cluster = _fields(whole.get("cluster") or {}, models.InitClusterPreseed, "cluster")
    if path := cluster.pop("cluster_certificate_path", None):
        try:
            cluster["cluster_certificate"] = Path(path).read_text()
        except (OSError, ValueError, TypeError) as error:
            raise IncusInputError(f"cluster_certificate_path cannot be read: {error}") from None
    config: Json = to_body({"config": whole.get("config") or {}})["config"]
    if _joins(cluster):
        if besides := [name for name in ("config", *_ITEMS) if whole.get(name)]:
            raise IncusInputError(f"a server that joins a cluster gets all else from it: not with {besides}")
    elif cluster and config.get("core.https_address"):
        config.setdefault("cluster.https_address", config["core.https_address"])
    return config, items, cluster


def _joins(cluster: Json) -> bool:
    return bool(cluster.get("cluster_token") or cluster.get("cluster_address"))


def _list(whole: Json, section: str) -> list[Any]:
    items = whole.get(section) or []
    if not isinstance(items, list | tuple):
        raise IncusInputError(f"{section} must be a list, not {type(items).__name__}")
    return list(items)


def _item(section: str, item: Any) -> Json:
    body = to_body(_fields(item, _ITEMS[section], section))
    if section == "certificates":
        if "token" in body or "trust_token" in body:
            raise IncusInputError("certificates of a preseed are there to be trusted: a token is not made by it")
        return {**body, "fingerprint": hashlib.sha256(der(body.get("certificate", ""))).hexdigest()}
    wire.path(body.get("name", ""))
    body["project"] = body.get("project") or "default"
    if section == "storage_volumes":
        body["type"] = body.get("type") or "custom"
        wire.path(body.setdefault("pool", ""))
    return body


def _fields(data: Any, kind: Any, where: str) -> Json:
    if not isinstance(data, Mapping):
        raise IncusInputError(f"{where}: expected a mapping of fields, not {type(data).__name__}")
    fields: Json = {str(_LOWER.get(key, key)): value for key, value in data.items()}
    known = {str(_LOWER.get(key, key)) for key in kind.__annotations__}
    if unknown := fields.keys() - known:
        raise IncusInputError(f"{where}: there is no {sorted(unknown)}, but {sorted(known)}")
    return fields


def _steps(server: Editable[Any], config: Json, items: dict[str, list[Json]], cluster: Json) -> Iterator[_Step]:
    scope = server._scope

    def each(section: str, *, default_project: bool | None = None) -> Iterator[_Step]:
        for item in items[section]:
            if default_project is None or (item["project"] == "default") is default_project:
                yield _step(scope, section, dict(item))

    if config:
        yield "config", lambda: _updated(server, {"config": config})
    yield from each("storage_pools")
    yield from each("networks", default_project=True)  # other projects may be configured to use them
    yield from each("projects")
    yield from each("networks", default_project=False)
    yield from each("storage_volumes")
    yield from each("profiles")
    yield from each("certificates")
    if cluster.get("enabled") or _joins(cluster):
        yield "cluster", lambda: _clustered(ClusterAPI(scope), cluster)
    yield from each("cluster_groups")


def _step(scope: Scope, section: str, body: Json) -> _Step:
    project = body.pop("project", None)
    if section in ("networks", "storage_volumes", "profiles"):
        scope = scope.view(project=project)
    key: str = body.get("name", "")
    segments: tuple[str, ...] = ()
    collection: Collection[Any]
    match section:
        case "storage_pools":
            collection = StoragePoolsAPI(scope)
        case "networks":
            collection = NetworksAPI(scope)
        case "projects":
            collection = ProjectsAPI(scope)
        case "storage_volumes":
            collection = StoragePoolsAPI(scope)[body.pop("pool")].volumes
            type = body.pop("type")
            key, segments = f"{type}/{key}", (type,)
        case "profiles":
            collection = ProfilesAPI(scope)
        case "certificates":
            collection, key = CertificatesAPI(scope), body.pop("fingerprint")
        case _:
            collection = ClusterAPI(scope).groups
    where = f"{section}/{key}" + (f" of project {project}" if project not in (None, "default") else "")
    return where, lambda: _applied(collection, section, key, body, segments)


async def _applied(
    collection: Collection[Any], section: str, key: str, body: Json, segments: tuple[str, ...]
) -> str | None:
    handle = collection[key]
    try:
        await handle.refresh()
    except IncusNotFoundError:
        handle._load({})
    if not handle.raw or handle.raw.get("managed") is False:  # a bridge, say, that is not the server's yet
        if isinstance(collection, CertificatesAPI):
            await collection.create(**body)
        else:
            await collection._create(key, body, *segments)
        return "created"
    fixed = _FIXED.get(section, "")
    if body.get(fixed) and body[fixed] != handle.raw.get(fixed):
        raise IncusError(f"it is there, and its {fixed} is {handle.raw.get(fixed)!r}, not {body[fixed]!r}")
    skipped = "name" if section != "certificates" else "certificate", fixed, "source"
    return await _updated(handle, {name: value for name, value in body.items() if name not in skipped})


async def _updated(handle: Editable[Any], wanted: Json) -> str | None:
    """Change what is not as it is wanted."""
    if not handle._loaded:
        await handle.refresh()
    before = handle.raw
    change: Json = {}
    for name, value in wanted.items():
        if name == "config":
            value = _unsettled(before.get("config") or {}, value or {})
        elif isinstance(value, list) and sorted(value) == sorted(before.get(name) or ()):
            continue
        if value not in (None, "", {}):  # which in a preseed is what is not said
            change[name] = value
    if wire.merge_patch(before, change) == before:
        return None
    await handle.update(change)
    return "updated"


def _unsettled(now: Json, wanted: Json) -> Json:
    """The part of a configuration that the object does not have yet, as far as one can see from here."""
    rest: Json = {}
    for key, value in wanted.items():
        chosen = value == "auto" and now.get(key) not in (None, "", "none")  # by the server, once
        taken = key == "source" and now.get("volatile.initial_source") == value
        if not chosen and not taken:
            rest[key] = value or None
    return rest


async def _clustered(api: ClusterAPI, cluster: Json) -> str | None:
    if (await api.get()).enabled:
        return None
    if token := cluster.get("cluster_token"):
        await api.join(
            token,
            cluster.get("server_address") or "",
            cluster.get("member_config") or (),
            cluster_address=cluster.get("cluster_address"),
            cluster_certificate=cluster.get("cluster_certificate"),
        )
        return "joined"
    if _joins(cluster):
        await api.update(cluster)
        return "joined"
    await api.enable(cluster.get("server_name") or "")
    return "founded"
