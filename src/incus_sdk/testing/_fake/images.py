"""Images and their aliases."""

from __future__ import annotations

import contextlib
import hashlib
import io
import secrets
import tarfile
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from .answers import Answer, Object, Refused, content
from .collection import Collection, by_beginning
from .events import now
from .files import FakeFiles
from .machines import NEVER, RUNNING
from .operations import Operation
from .requests import FakeRequest
from .state import State
from .streams import AnyAnswer


class Aliases(Collection):
    """``/1.0/images/aliases``."""

    segment, kind, feature = "images/aliases", "image-alias", "features.images"
    fields: ClassVar = {"description": "", "target": ""}
    maps: ClassVar = ()
    missing = "Image alias not found"
    exists = (409, 'Alias "{name}" already exists')

    def check_name(self, name: str) -> None:
        """Refuse no name."""
        if not name:
            raise Refused(400, "Alias name and target are required")

    def check(self, project: str, body: Object) -> None:
        """Refuse an alias of no image."""
        if not body["target"]:
            raise Refused(400, "Alias name and target are required")
        body["target"] = self._image(project, body["target"])["fingerprint"]

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new alias."""
        target = self._image(project, body["target"])["fingerprint"]
        return {"description": body["description"], "target": target, "name": name}

    def context(self, what: str, item: Object) -> Object | None:
        """The image that it is for."""
        return {"target": item["target"]}

    def view(self, project: str, item: Object) -> Object:
        """An alias as it is shown."""
        image = self.state.of("images", project).get(item["target"])
        return {**item, "type": image["type"] if image else "container"}

    def _image(self, project: str, fingerprint: str) -> Object:
        found = by_beginning(self.state.of("images", project), fingerprint)
        if found is None:
            raise Refused(404, "Image not found")
        return found


class Images(Collection):
    """``/1.0/images``: objects by their fingerprints."""

    segment, kind, key, feature = "images", "image", "fingerprint", "features.images"
    beginning = True
    fields: ClassVar = {
        "auto_update": False,
        "properties": {},
        "public": False,
        "expires_at": NEVER,
        "profiles": ["default"],
    }
    maps: ClassVar = ("properties",)
    missing = "Image not found"
    missing_for: ClassVar = {"GET": 'Image "{name}" not found'}

    def __init__(self, state: State, aliases: Aliases) -> None:
        super().__init__(state)
        self._aliases = aliases

    def source(self, project: str, source: Mapping[str, Any], kind: str) -> Object:
        """The image that an instance is made from."""
        owner = self.state.owner(source.get("project") or project, self.feature)
        if source.get("server"):
            return self.download(owner, source, kind)
        if alias := source.get("alias"):
            known = self._aliases.of(owner).get(alias)
            fingerprint = known["target"] if known else ""
        else:
            fingerprint = source.get("fingerprint") or ""
        found = [item for name, item in self.of(owner).items() if fingerprint and name.startswith(fingerprint)]
        if not found:
            raise Refused(500, "Image not provided for instance creation")
        if found[0]["type"] != kind:
            raise Refused(500, f'Requested image\'s type "{found[0]["type"]}" doesn\'t match instance type "{kind}"')
        found[0]["last_used_at"] = now()
        return found[0]

    def download(self, project: str, source: Mapping[str, Any], kind: str) -> Object:
        """An image of another server, which the fake makes up: it has any that is asked for."""
        name = source.get("alias") or source.get("fingerprint") or ""
        data = f"{source['server']} {name} {kind}".encode()
        if (found := self.of(project).get(hashlib.sha256(data).hexdigest())) is not None:
            return found
        system, _, rest = name.partition("/")
        release, _, variant = rest.partition("/")
        properties = {
            "architecture": "x86_64",
            "description": f"{name} of {source['server']}",
            "os": system.capitalize(),
            "release": release or "latest",
            "variant": variant or "default",
        }
        item = self.store(None, project, data, {"properties": properties}, type=kind)
        item |= {"cached": True, "last_used_at": now()}
        return item

    def files_of(self, image: Object) -> FakeFiles:
        """The files of the instances made from an image."""
        return self.state.image_files.get(image["fingerprint"], self.state.new_files)

    def view(self, project: str, item: Object) -> Object:
        """An image as it is shown."""
        aliases = [
            {"name": each["name"], "description": each["description"]}
            for each in self._aliases.of(project).values()
            if each["target"] == item["fingerprint"]
        ]
        return {
            "auto_update": item["auto_update"],
            "properties": item["properties"],
            "public": item["public"],
            "expires_at": item["expires_at"],
            "profiles": item["profiles"],
            "aliases": aliases,
            "architecture": item["architecture"],
            "cached": item["cached"],
            "filename": item["filename"],
            "fingerprint": item["fingerprint"],
            "size": item["size"],
            "type": item["type"],
            "created_at": item["created_at"],
            "last_used_at": item["last_used_at"],
            "uploaded_at": item["uploaded_at"],
            "project": project,
            "locations": ["none"],
        }

    def create(self, request: FakeRequest) -> AnyAnswer:
        """``POST`` of an upload, or of where it comes from, as an operation."""
        project = self.project_of(request)
        if "json" not in request.headers.get("content-type", "") and request.body[:1] != b"{":
            return self._upload(request, project)
        body = request._fields
        source = body.get("source") or {}
        kind = source.get("type")
        if kind == "image" and source.get("server"):
            return self._download(request, project, body, source)
        if kind not in ("instance", "container", "virtual-machine", "snapshot"):
            raise Refused(501, f"The fake of incus_sdk does not make images from a source of type {kind}")

        def work(_: Operation) -> Object:
            name, _, snapshot = source.get("name", "").partition("/")
            machine = self.state.machines.find(request, name)
            record, files = machine.record, machine.files
            if snapshot:
                found = machine.snapshot(snapshot)
                record, files = found["record"], found["files"]
            elif machine.status == RUNNING:
                raise Refused(500, "Cannot export a running instance as an image")
            config = record["config"]
            own = {key[6:]: text for key, text in config.items() if key.startswith("image.")}
            data = f"{machine.name} {machine.pid} {now()}".encode()
            given = {**body, "properties": {**own, **(body.get("properties") or {})}}
            item = self.store(request, project, data, given, type=record["type"])
            self.state.image_files[item["fingerprint"]] = files._copy()
            return {"fingerprint": item["fingerprint"], "size": str(item["size"])}

        return self.state.operations.begin(request, "Downloading image", work)

    def _download(
        self, request: FakeRequest, project: str, body: Mapping[str, Any], source: Mapping[str, Any]
    ) -> AnyAnswer:
        def work(operation: Operation) -> Object:
            operation.progress("download", 100, "rootfs: 100% (100.00MB/s)")
            item = self.download(project, source, source.get("image_type") or "container")
            item |= {"cached": False, "public": bool(body.get("public"))}
            item["auto_update"] = bool(body.get("auto_update"))
            item["properties"] = {**item["properties"], **(body.get("properties") or {})}
            for alias in body.get("aliases") or ():
                self._aliases.add(None, project, alias["name"], {**alias, "target": item["fingerprint"]})
            return {"fingerprint": item["fingerprint"], "size": str(item["size"])}

        return self.state.operations.begin(request, "Downloading image", work)

    def _upload(self, request: FakeRequest, project: str) -> AnyAnswer:
        headers = request.headers
        pairs = dict(parse_qsl(headers.get("x-incus-properties", "")))
        aliases = [{"name": name} for _, name in parse_qsl(headers.get("x-incus-aliases", ""))]
        profiles = [name for _, name in parse_qsl(headers.get("x-incus-profiles", ""))]
        body = {
            "properties": pairs,
            "public": headers.get("x-incus-public", "").lower() in ("true", "1"),
            "aliases": aliases,
            "profiles": profiles or None,
            "filename": headers.get("x-incus-filename", ""),
        }

        def work(_: Operation) -> Object:
            if "multipart" in headers.get("content-type", ""):
                item = self.store(request, project, request.body, body)
            else:
                described = _described(request.body)
                given = {**body, "properties": {**described["properties"], **pairs}}
                item = self.store(request, project, request.body, given)
                item["architecture"] = described["architecture"]
            return {"fingerprint": item["fingerprint"], "size": str(item["size"])}

        return self.state.operations.begin(request, "Downloading image", work)

    def store(
        self,
        request: FakeRequest | None,
        project: str,
        data: bytes,
        body: Mapping[str, Any],
        *,
        type: str = "container",
    ) -> Object:
        """Make an image.

        Args:
            request: Who asks for it.
            project: Its project.
            data: Its content.
            body: What a request can say of it.
            type: ``container`` or ``virtual-machine``.
        """
        fingerprint = hashlib.sha256(data).hexdigest()
        if fingerprint in self.of(project):
            raise Refused(500, "Image with same fingerprint already exists")
        for alias in body.get("aliases") or ():
            if alias["name"] in self._aliases.of(project):
                raise Refused(409, f"Alias already exists: {alias['name']}")
        made = self.complete(body)
        item = self.of(project)[fingerprint] = {
            **made,
            "architecture": made["properties"].get("architecture") or "x86_64",
            "cached": False,
            "filename": body.get("filename") or "",
            "fingerprint": fingerprint,
            "size": len(data),
            "type": type,
            "created_at": now(),
            "last_used_at": NEVER,
            "uploaded_at": now(),
        }
        self.state.blobs[fingerprint] = data
        for alias in body.get("aliases") or ():
            self._aliases.add(
                None, project, alias["name"], {"target": fingerprint, "description": alias.get("description", "")}
            )
        self.tell("created", request, project, fingerprint, {"type": type})
        return item

    def refresh(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``POST`` of the wish for a newer one, as an operation."""
        project = self.project_of(request)
        item = self.find(project, name)

        def work(_: Operation) -> Object:
            if not item["cached"]:
                failed = f'Failed to update image "{item["fingerprint"]}" in project "{project}"'
                raise Refused(500, f"{failed}: Image source not found")
            return {"refreshed": False}

        return self.state.operations.begin(request, "Refreshing image", work)

    def make_secret(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``POST`` of the wish for a secret, as an operation."""
        project = self.project_of(request)
        path = self.path(project, self.find(project, name)["fingerprint"])
        metadata = {"secret": secrets.token_hex(32)}
        how: Any = {"kind": "token", "metadata": metadata, "may_cancel": True}
        return self.state.operations.begin(request, "Image download token", None, {"images": [path]}, **how)

    def export(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of its content."""
        item = self.find(self.project_of(request), name, request.method)
        filename = item["filename"] or f"{item['fingerprint']}.tar"
        headers = {"Content-Disposition": f"inline;filename={filename}", "X-Incus-Type": "incus"}
        return content(self.state.blobs[item["fingerprint"]], headers)

    def delete(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``DELETE`` of one, as an operation."""
        project = self.project_of(request)
        item = self.find(project, name)
        path = self.path(project, item["fingerprint"])

        def work(_: Operation) -> None:
            self.of(project).pop(item["fingerprint"], None)
            aliases = self._aliases.of(project)
            for alias in [each for each, known in aliases.items() if known["target"] == item["fingerprint"]]:
                del aliases[alias]
                self._aliases.tell("deleted", request, project, alias)
            self.tell("deleted", request, project, item["fingerprint"])

        return self.state.operations.begin(request, "Deleting image", work, {"images": [path]})


def _described(data: bytes) -> Object:
    """What an image says of itself, if it is a tar archive; anything else is an image, too, that says nothing."""
    found: Any = {}
    with contextlib.suppress(tarfile.TarError, KeyError, EOFError), tarfile.open(fileobj=io.BytesIO(data)) as archive:
        if (file := archive.extractfile("metadata.yaml")) is not None:
            import yaml

            found = yaml.safe_load(file.read()) or {}
    properties = {key: str(value) for key, value in (found.get("properties") or {}).items()}
    return {"properties": properties, "architecture": found.get("architecture") or "x86_64"}
