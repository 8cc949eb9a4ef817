"""Two servers that should be equal: everything of them that can be compared, and how outputs are."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import ssl
import stat
from collections.abc import Iterable, Mapping, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

from incus_sdk import Client, IncusAPIError
from incus_sdk._connection.config import NEW_FILE
from incus_sdk.models import Record
from incus_sdk.testing import Daemon

# What two servers have for themselves, though the same was done to both.
_OWN = {
    *("created_at", "last_used_at", "uploaded_at", "updated_at", "started_at", "first_seen_at", "last_seen_at"),
    *("certificate", "etag", "fingerprint", "pid", "s3_url", "size", "location", "locations", "used_by", "uuid"),
    *("core.https_address", "cluster.https_address", "source", "bridge.hwaddr", "image.serial"),
    *("access-key", "secret-key", "filename", "count", "last_message", "last_working_address"),
}
_PATTERNS = {
    r"\b[0-9a-f]{64}\b": "FINGERPRINT",
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b": "UUID",
    r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b": "MAC",
}


AREAS = {
    *("config", "files", "metadata"),
    *("instances", "images", "images/aliases", "profiles", "projects", "certificates", "operations", "storage-pools"),
    *("networks", "network-acls", "network-zones", "network-integrations", "network-address-sets"),
    *("cluster/members", "cluster/groups"),
}
"""What a server has: collections, its configuration, the metadata of its instances, and files."""
_IN_PROJECTS = {"instances", "images", "profiles", "networks", "network-acls", "network-zones", "network-address-sets"}


class Side:
    """One of the two: a server, the directory of who works on it, and what is in both."""

    def __init__(self, daemon: Daemon, other: Daemon, home: Path) -> None:
        self.daemon, self.other, self.home = daemon, other, home
        self.client, self._there = daemon.client(), other.client()
        (home / "conf").mkdir(parents=True)
        (home / "conf/config.yml").write_text(NEW_FILE)

    async def __aenter__(self) -> Self:
        self.image = (await self.client.images.list())[0].fingerprint
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.disconnect()
        await self._there.disconnect()

    def own(self, text: str) -> str:
        """The page's words for this side's server."""
        certificate = self.home / "laptop.crt"
        if certificate.exists():
            digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()
            text = text.replace("a1b2c3d4e5f6", digest[:12])
        text = text.replace("f6e5d4c3b2a1", self.image[:12])
        text = text.replace("https://incus.example.org:8443", self.other.url)
        return text.replace('"incus.example.org", 8443', f'"127.0.0.1", {urlsplit(self.other.url).port}')

    def common(self, text: str) -> str:
        """This side's words, as both sides have them."""
        for daemon in (self.daemon, self.other):
            text = text.replace(daemon.url, "URL").replace(daemon.url.removeprefix("https://"), "ADDRESS")
            text = text.replace(str(daemon.directory), "DIR")
        text = text.replace(str(self.home), "HOME")
        for pattern, name in _PATTERNS.items():
            text = re.sub(pattern, name, text)
        return text

    def plain(self, value: Any) -> Any:
        """A value without what each server has for itself, and in one order."""
        return _plain(json.loads(self.common(json.dumps(value, default=_raw))))

    async def state(self, areas: Set[str], others: bool = False) -> Any:
        """Everything that can be compared, or what is in these areas; of the other server too."""
        found = await _everything(self.client, areas)
        if others:
            found["other"] = await _everything(self._there, areas)
        if "files" in areas:
            found["files"] = await asyncio.to_thread(self._files)
        return self.plain(found)

    def _files(self) -> dict[str, Any]:
        """The files in instances, volumes and the directory; of a running system only those that it does not write."""
        found = {}
        pools = self.daemon.directory / "storage-pools"
        for folder in ("containers", "containers-snapshots", "custom", "custom-snapshots"):
            for root in pools.glob(f"*/{folder}"):
                for path in _walk(root, {"bin", "sbin", "usr", "var", "run", "dev", "proc", "sys", "backup.yaml"}):
                    if "containers" not in folder or "/rootfs/" in str(path):
                        found[f"{folder}/{path.relative_to(root)}"] = self._describe(path)
        for path in _walk(self.home, {".cache", "oidctokens"}):
            found[str(path.relative_to(self.home))] = self._describe(path, home=True)
        return found

    def _describe(self, path: Path, home: bool = False) -> Any:
        info = path.lstat()
        shown = f"{stat.filemode(info.st_mode)} {info.st_uid}:{info.st_gid}"
        if home and path.suffix in (".gz", ".tar", ".yml"):
            shown = "for the owner, or for everybody"
        if path.is_symlink():
            return f"{shown} -> {os.readlink(path)}"
        if not path.is_file():
            return shown
        if info.st_size > 1_000_000:
            return f"{shown} {'' if home else info.st_size}"
        content = path.read_bytes()
        if home and path.suffix == ".yml":
            return yaml.safe_load(content)
        if home and (path.suffix in (".crt", ".key", ".gz", ".tar") or b"\0" in content):
            return f"{shown} {bool(content)}"  # differs from one time to the next
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return f"{shown} {hashlib.sha256(content).hexdigest()}"
        return f"{shown} {text[:1000]}"


_UNDER = {
    "networks": ("forwards",),
    "network-zones": ("records",),
    "storage-pools": ("volumes", "buckets"),
}


async def _everything(client: Client, areas: Set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def get(path: str, **query: Any) -> Any:
        try:
            found[path] = await client.query("GET", f"/1.0/{path}", query={"recursion": 1, **query})
        except IncusAPIError as error:
            if error.status_code not in (400, 404, 500, 503):  # what this version or kind of network does not have
                raise
        return found.get(path) or ()

    async def area(path: str) -> None:
        every: dict[str, Any] = {"all-projects": True} if path in _IN_PROJECTS else {}
        if path == "instances":
            every["recursion"] = 2
        for each in await get(path, **every):
            if path in _UNDER and each.get("project", "default") == "default" and each.get("managed", True):
                await asyncio.gather(*(get(f"{path}/{each['name']}/{under}") for under in _UNDER[path]))

    await asyncio.gather(*map(area, areas - {"config", "files", "metadata"}))
    if "config" in areas:
        found["config"] = (await client.query("GET", "/1.0"))["config"]
    if "metadata" in areas:
        paths = [path.removeprefix("/1.0/") for path in await client.query("GET", "/1.0/instances")]
        await asyncio.gather(*(get(f"{path}/metadata{under}") for path in paths for under in ("", "/templates")))
    for path in [path for path in found if path.endswith("/buckets")]:
        await asyncio.gather(*(get(f"{path}/{bucket['name']}/keys") for bucket in found[path]))
    if "networks" in found:
        found["networks"] = [each for each in found["networks"] if each["managed"]]
    if "operations" in found:
        tokens = [each for each in found["operations"].get("running", ()) if each["class"] == "token"]
        found["operations"] = [each["description"] for each in tokens]
    return found


def _raw(value: Any) -> Any:
    if isinstance(value, Record):
        return value.raw
    if isinstance(value, Mapping):
        return dict(value)
    return value.name if hasattr(value, "name") else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, item in value.items():
            if key == "state" and isinstance(item, dict):
                item = item.get("status")
            if key == "expires_at":
                item = _hours(item)
            own = key in _OWN or key.startswith("volatile.")
            if not own and (item := _plain(item)) not in ("", "null", "false", "0", {}, []):
                found[key] = item
        return found
    if isinstance(value, list):
        return sorted(map(_plain, value), key=_order)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _order(item: Any) -> tuple[str, ...]:
    names = (item.get(key, "") for key in ("name", "project", "listen_address")) if isinstance(item, dict) else ()
    return *names, json.dumps(item, sort_keys=True)


def _walk(root: Path, without: set[str]) -> Iterable[Path]:
    for directory, directories, files in os.walk(root):
        directories[:] = [name for name in directories if name not in without]
        for name in (*directories, *files):
            if name not in without:
                yield Path(directory, name)


def _hours(value: str | None) -> str:
    """When something expires, in hours from now; servers round differently."""
    if not value or value.startswith(("0001", "1970", "null")):
        return ""
    then = datetime.fromisoformat(value.partition(".")[0].rstrip("Z") + "+00:00")
    return str(round((then - datetime.now(UTC)).total_seconds() / 3600))


def differences(theirs: Any, ours: Any, where: str = "") -> list[str]:
    """What differs, path by path."""
    if theirs == ours:
        return []
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = sorted({*theirs, *ours})
        return [line for key in keys for line in differences(theirs.get(key), ours.get(key), f"{where}/{key}")]
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = enumerate(zip(theirs, ours, strict=True))
        return [line for n, (left, right) in pairs for line in differences(left, right, f"{where}/{n}")]
    if isinstance(theirs, list) and isinstance(ours, list):
        theirs, ours = [each for each in theirs if each not in ours], [each for each in ours if each not in theirs]
    return [f"{where}: {theirs!r} by the command, {ours!r} by Python"]


def shown(text: str, value: Any) -> Any:
    """What a command printed, in the shape of the value that Python has for it."""
    if isinstance(value, bytes | str | int | float):
        return text.strip()
    if text.startswith(("{", "[")):
        return json.loads(text)
    parsed = yaml.load(text, yaml.BaseLoader)
    if isinstance(parsed, str):
        return text.split("\n")[:-1]
    return parsed


def same(theirs: Any, ours: Any) -> bool:
    """Whether what was read is the same, where both say something."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        common = theirs.keys() & ours.keys()
        if "name" in common:
            theirs = {**theirs, "name": theirs["name"].rpartition("/")[2]}  # of a volume's snapshot: with the volume's
            ours = {**ours, "name": ours["name"].rpartition("/")[2]}
        return bool(common or not (theirs or ours)) and all(same(theirs[key], ours[key]) for key in common)
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(theirs) == len(ours) and all(map(same, theirs, ours))
    return bool(theirs == ours)
