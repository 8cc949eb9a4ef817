"""What an image says of the instances made from it, and its templates."""

from __future__ import annotations

from .answers import Answer, Object, Refused, check_etag, content, done, success
from .machines import Machine
from .requests import FakeRequest
from .state import State

_TEMPLATE = "hostname.tpl"


class Metadata:
    """``/1.0/instances/{name}/metadata``."""

    def __init__(self, state: State) -> None:
        self.state = state

    def _of(self, machine: Machine) -> Object:
        if machine.metadata is None:
            config = machine.record["config"].items()
            template = {"when": ["create", "copy"], "create_only": False, "template": _TEMPLATE, "properties": None}
            machine.metadata = {
                "architecture": machine.record["architecture"],
                "creation_date": 1700000000,
                "expiry_date": 4000000000,
                "properties": {key.removeprefix("image."): text for key, text in config if key.startswith("image.")},
                "templates": {"/etc/hostname": template},
            }
        return machine.metadata

    def get(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of what the image says."""
        machine = self.state.machines.find(request, name)
        self.state.tell("metadata-retrieved", request, machine, None, "metadata")
        return success(self._of(machine), etag=self._of(machine))

    def change(self, request: FakeRequest, name: str) -> Answer:
        """``PUT`` and ``PATCH`` of it."""
        machine, body = self.state.machines.find(request, name), request._fields
        old = self._of(machine)
        if request.method == "PATCH":  # the server looks at it only then
            check_etag(request.headers.get("if-match"), old)
        empty: Object = {"architecture": "", "creation_date": 0, "expiry_date": 0, "properties": {}, "templates": {}}
        new = {key: body.get(key) or value for key, value in (old if request.method == "PATCH" else empty).items()}
        if request.method == "PATCH":
            for key in ("properties", "templates"):
                new[key] = {**old[key], **new[key]}
        machine.metadata = new
        self.state.tell("metadata-updated", request, machine, None, "metadata")
        return done()

    def _template(self, machine: Machine, name: str) -> bytes:
        if name not in machine.templates:
            raise Refused(404, f'Template "{name}" not found')
        return machine.templates[name]

    def templates(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of the names of all templates, or of one."""
        machine = self.state.machines.find(request, name)
        path = request.query.get("path")
        if not path:
            return success(sorted(machine.templates))
        text = self._template(machine, path)
        self.state.tell("metadata-template-retrieved", request, machine, {"path": path}, "metadata", "templates")
        return content(text, {"Content-Disposition": f"inline;filename={path}"})

    def write_template(self, request: FakeRequest, name: str) -> Answer:
        """``POST`` of a template."""
        machine = self.state.machines.find(request, name)
        path = request.query.get("path")
        if not path:
            raise Refused(400, "missing path argument")
        machine.templates[path] = request.body
        self.state.tell("metadata-template-created", request, machine, {"path": path}, "metadata", "templates")
        return done()

    def delete_template(self, request: FakeRequest, name: str) -> Answer:
        """``DELETE`` of a template."""
        machine = self.state.machines.find(request, name)
        path = request.query.get("path", "")
        self._template(machine, path)
        del machine.templates[path]
        self.state.tell("metadata-template-deleted", request, machine, {"path": path}, "metadata", "templates")
        return done()
