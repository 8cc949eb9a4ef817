"""Warnings: a new fake has none, and a test adds them."""

from __future__ import annotations

import uuid
from typing import ClassVar

from .answers import Object, Refused
from .collection import Collection
from .events import now


class Warnings(Collection):
    """``/1.0/warnings``: objects by their ids."""

    segment, kind, key = "warnings", "warning", "uuid"
    fields: ClassVar = {"status": "new"}
    maps: ClassVar = ()
    missing = "Warning not found"

    def check(self, project: str, body: Object) -> None:
        """Refuse another status."""
        if body["status"] not in ("new", "acknowledged"):
            raise Refused(400, "Status may only be set to new or acknowledged")

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new warning."""
        return {
            "status": body["status"],
            "uuid": name,
            "location": "none",
            "project": body["project"],
            "type": body["type"],
            "count": 1,
            "first_seen_at": now(),
            "last_seen_at": now(),
            "last_message": body["last_message"],
            "severity": body["severity"],
            "entity_url": body["entity_url"],
        }

    def view(self, project: str, item: Object) -> Object:
        """A warning as it is shown."""
        return item

    def warn(self, type: str, message: str, severity: str, project: str, entity: str) -> str:
        """Add a warning, and return its id."""
        id = str(uuid.uuid4())
        body = {"type": type, "last_message": message, "severity": severity, "project": project, "entity_url": entity}
        self.add(None, "default", id, body)
        return id
