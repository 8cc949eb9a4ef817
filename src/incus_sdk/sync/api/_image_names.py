"""Names of images: aliases and beginnings of fingerprints; on other servers as the ``incus`` command writes them.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...api import _image_names as _source
from .base import Resource


class NamedImage(Resource):
    """An image under any of its names, and from the first request on under its fingerprint."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.NamedImage: ...
