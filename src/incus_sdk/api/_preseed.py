"""Preseeds: see `ServerAPI.preseed`, which applies one, and `ServerAPI.preseed_dump`, which makes one."""

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

_LOWER_CASE = {"Project": "project", "Pool": "pool"}
"""Fields that are capitalized in JSON, and not in YAML."""

_SECTIONS = {
    "storage_pools": models.StoragePoolsPost,
    "networks": models.InitNetworksProjectPost,
    "projects": models.ProjectsPost,
    "storage_volumes": models.InitStorageVolumesProjectPost,
    "profiles": models.InitProfileProjectPost,
    "certificates": models.CertificatesPost,
    "cluster_groups": models.ClusterGroupsPost,
}
"""The sections that are lists, and the type of their items."""

_FIXED = {"storage_pools": "driver", "networks": "type", "storage_volumes": "content_type", "certificates": "type"}
"""The field of an existing object that cannot be changed."""

_NOT_DUMPED = ("used_by", "source", "restore", "token", "trust_token")
"""Fields that an object shows or takes, and that do not say how to make it again."""

_Step = tuple[str, Callable[[], Awaitable[str | None]]]
"""The object, and the call that sets it up: it returns ``created`` or the like, or None if nothing had to be done."""


async def apply(server: Editable[Any], data: Mapping[str, Any]) -> list[str]:
    """Set up the server, and return what was done."""
    done: list[str] = []
    for what, set_up in list(_steps(server, *_parse(data))):
        try:
            outcome = await set_up()
        except IncusError as error:
            error.args = (f"preseed, at {what}: {error}; done before it: {', '.join(done) or 'nothing'}",)
            raise
        if outcome:
            done.append(f"{outcome} {what}")
    return done


def _parse(data: Mapping[str, Any]) -> tuple[Json, dict[str, list[Json]], Json]:
    """The server's configuration, the sections that are lists, and the cluster, all checked."""
    whole = _check_fields(data, models.InitPreseed, "the preseed")
    whole = {**_check_fields(whole.pop("Server", None) or {}, models.InitLocalPreseed, "Server"), **whole}
    items = {section: [_parse_item(section, item) for item in _list_of(whole, section)] for section in _SECTIONS}
    cluster = _check_fields(whole.get("cluster") or {}, models.InitClusterPreseed, "cluster")
    if path := cluster.pop("cluster_certificate_path", None):
        try:
            cluster["cluster_certificate"] = Path(path).read_text()
        except (OSError, ValueError, TypeError) as error:
            raise IncusInputError(f"cluster_certificate_path cannot be read: {error}") from None
    config: Json = to_body({"config": whole.get("config") or {}})["config"]
    if _joins(cluster):
        if besides := [name for name in ("config", *_SECTIONS) if whole.get(name)]:
            raise IncusInputError(f"a server that joins a cluster gets everything from it: remove {besides}")
    elif cluster and config.get("core.https_address"):
        config.setdefault("cluster.https_address", config["core.https_address"])
    return config, items, cluster


def _joins(cluster: Json) -> bool:
    return bool(cluster.get("cluster_token") or cluster.get("cluster_address"))


def _list_of(whole: Json, section: str) -> list[Any]:
    items = whole.get(section) or []
    if not isinstance(items, list | tuple):
        raise IncusInputError(f"{section} must be a list, not {type(items).__name__}")
    return list(items)


def _parse_item(section: str, item: Any) -> Json:
    body = to_body(_check_fields(item, _SECTIONS[section], section))
    if section == "certificates":
        if "token" in body or "trust_token" in body:
            raise IncusInputError("a preseed cannot issue a token: certificates.create_token() does")
        return {**body, "fingerprint": hashlib.sha256(der(body.get("certificate", ""))).hexdigest()}
    wire.path(body.get("name", ""))
    body["project"] = body.get("project") or "default"
    if section == "storage_volumes":
        body["type"] = body.get("type") or "custom"
        wire.path(body.setdefault("pool", ""))
    return body


def _check_fields(data: Any, kind: Any, where: str) -> Json:
    if not isinstance(data, Mapping):
        raise IncusInputError(f"{where}: expected a mapping of fields, not {type(data).__name__}")
    fields: Json = {str(_LOWER_CASE.get(key, key)): value for key, value in data.items()}
    known = {str(_LOWER_CASE.get(key, key)) for key in kind.__annotations__}
    if unknown := fields.keys() - known:
        raise IncusInputError(f"{where}: unknown fields {sorted(unknown)}; it can have {sorted(known)}")
    return fields


def _steps(server: Editable[Any], config: Json, items: dict[str, list[Json]], cluster: Json) -> Iterator[_Step]:
    scope = server._scope

    def each(section: str, *, default_project: bool | None = None) -> Iterator[_Step]:
        for item in items[section]:
            if default_project is None or (item["project"] == "default") is default_project:
                yield _step(scope, section, dict(item))

    if config:
        yield "config", lambda: _update(server, {"config": config})
    yield from each("storage_pools")
    yield from each("networks", default_project=True)  # before the projects, which can use them
    yield from each("projects")
    yield from each("networks", default_project=False)
    yield from each("storage_volumes")
    yield from each("profiles")
    yield from each("certificates")
    if cluster.get("enabled") or _joins(cluster):
        yield "cluster", lambda: _set_up_cluster(ClusterAPI(scope), cluster)
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
    return where, lambda: _create_or_update(collection, section, key, body, segments)


async def _create_or_update(
    collection: Collection[Any], section: str, key: str, body: Json, segments: tuple[str, ...]
) -> str | None:
    handle = collection[key]
    try:
        await handle.refresh()
    except IncusNotFoundError:
        handle._load({})
    if not handle.raw or handle.raw.get("managed") is False:  # a bridge of the machine
        if isinstance(collection, CertificatesAPI):
            await collection.create(**body)
        else:
            await collection._create(key, body, *segments)
        return "created"
    fixed = _FIXED.get(section, "")
    if body.get(fixed) and body[fixed] != handle.raw.get(fixed):
        raise IncusError(f"it exists, and its {fixed} is {handle.raw.get(fixed)!r}, not {body[fixed]!r}")
    skipped = "name" if section != "certificates" else "certificate", fixed, "source"
    return await _update(handle, {name: value for name, value in body.items() if name not in skipped})


async def _update(handle: Editable[Any], wanted: Json) -> str | None:
    """Change the fields that differ from the wanted ones."""
    if not handle._loaded:
        await handle.refresh()
    before = handle.raw
    change: Json = {}
    for name, value in wanted.items():
        if name == "config":
            value = _missing_config(before.get("config") or {}, value or {})
        elif isinstance(value, list) and sorted(value) == sorted(before.get(name) or ()):
            continue
        if value not in (None, "", {}):  # which means the same as a field that is missing
            change[name] = value
    if wire.merge_patch(before, change) == before:
        return None
    await handle.update(change)
    return "updated"


def _missing_config(now: Json, wanted: Json) -> Json:
    """The keys of a configuration that the object does not have yet, as far as it shows them."""
    rest: Json = {}
    for key, value in wanted.items():
        picked = value == "auto" and now.get(key) not in (None, "", "none")  # by the server, once
        replaced = key == "source" and now.get("volatile.initial_source") == value  # by the place of the new pool
        if not picked and not replaced:
            rest[key] = value or None
    return rest


async def _set_up_cluster(api: ClusterAPI, cluster: Json) -> str | None:
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


async def dump(scope: Scope) -> Json:
    """The server's set-up, in the form in which `apply` takes it."""

    async def listed(*segments: str, everywhere: bool = False) -> list[Json]:
        query = {"recursion": 1, "all-projects": everywhere or None}
        return (await scope.request("GET", wire.path(*segments), query=query)).objects

    pools = await listed("storage-pools")
    found = {
        "storage_pools": pools,
        "networks": [each for each in await listed("networks", everywhere=True) if each.get("managed")],
        "projects": await listed("projects"),
        "storage_volumes": [
            {**volume, "pool": pool["name"]}
            for pool in pools
            for volume in await listed("storage-pools", pool["name"], "volumes", "custom", everywhere=True)
            if volume.get("content_type") != "iso" and "/" not in volume["name"]  # a snapshot
        ],
        "profiles": await listed("profiles", everywhere=True),
        "certificates": [each for each in await listed("certificates") if each.get("type") != "server"],
        "cluster_groups": await listed("cluster", "groups") if (await ClusterAPI(scope).get()).enabled else [],
    }
    whole: Json = {"config": _lasting_config((await scope.server(fresh=True)).get("config") or {})}
    for section, items in found.items():
        whole[section] = [_dumped(section, item) for item in items]
    return {section: content for section, content in whole.items() if content}


def _dumped(section: str, item: Json) -> Json:
    item = {**item, "config": _lasting_config(item.get("config") or {})}
    if item.get("project") == "default":
        del item["project"]
    known = [_LOWER_CASE.get(key, key) for key in _SECTIONS[section].__annotations__ if key not in _NOT_DUMPED]
    fields = sorted((key for key in known if item.get(key) not in (None, "", {}, [])), key=lambda key: key != "name")
    return {key: item[key] for key in fields}


def _lasting_config(config: Json) -> Json:
    """A configuration without what the server keeps in it for itself."""
    lasting = {key: value for key, value in config.items() if not key.startswith("volatile.") and key != "source"}
    source = config.get("volatile.initial_source")  # as it was given; `source` is the place of the pool now
    return {**lasting, "source": source} if source else lasting
