"""Warnings: what the server wants its administrator to know."""

from __future__ import annotations

from typing import ClassVar

from .. import models
from .base import Deletable, Deletes, Editable, Edits


class Warning(models.Warning, Editable[models.WarningPut], Deletable):
    """A warning: ``update({"status": "acknowledged"})`` puts it aside, as long as it does not come up anew.

    Servers check no ETag of it.
    """

    KEY = "uuid"


class WarningsAPI(Edits[Warning, models.WarningPut], Deletes[Warning]):
    """``client.warnings``; the key is the UUID."""

    resource, segment = Warning, "warnings"
    options: ClassVar = {"filter": "warnings"}
