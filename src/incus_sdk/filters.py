"""Server-side filters."""

from __future__ import annotations


class Filter:
    """A condition on the objects of a list; ``str()`` of it is what the server takes."""
