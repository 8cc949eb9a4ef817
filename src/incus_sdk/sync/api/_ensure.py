"""Objects as they should be: made if they are missing, changed where they differ.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ...api._ensure import Change, P
from .. import _twin
from .base import Writable

WritableItem = TypeVar("WritableItem", bound=Writable[Any])

WritableItemCo = TypeVar("WritableItemCo", bound=Writable[Any], covariant=True)


@dataclass(frozen=True)
class Ensured(Generic[WritableItem]):
    """What ``ensure()`` made of an object. In a condition: whether it did anything."""

    item: WritableItem
    "The object, read."
    created: bool
    "Whether it was made."
    changed: Mapping[str, Change] = field(default_factory=dict, repr=False)
    "What was changed of one that was there, by its path: ``config.limits.cpu``, ``devices.eth0.mtu``, ``status``."

    def __bool__(self) -> bool:
        return self.created or bool(self.changed)


class _Creates(_twin.TwinProtocol, Protocol[P, WritableItemCo]):
    """A collection, as `Ensures` sees it."""

    def __getitem__(self, key: str, /) -> WritableItemCo: ...

    def create(self, *args: P.args, **kwargs: P.kwargs) -> WritableItemCo: ...


class Ensures(_twin.Twin):
    """A verb that makes an object or changes it."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...

    def ensure(self: _Creates[P, WritableItem], *args: P.args, **kwargs: P.kwargs) -> Ensured[WritableItem]:
        """Create one as ``create()`` does; if it exists, change what differs from the arguments.

        Fields and keys that are not given are kept, as by ``update()``, and a None removes a key. What only
        ``create()`` takes, as the ``source`` of a volume, is of no account for one that exists. Several can do this at
        once.

        Args:
            *args: What ``create()`` takes.
            **kwargs: What ``create()`` takes.

        Returns:
            The object, read; whether it was created; and what was changed.

        Raises:
            IncusInputError: It has no such field; or it exists, and differs in one that cannot be changed, as the
                ``driver`` of a pool. Nothing was changed.
            IncusAPIError: It could not be created or changed.

        API:
            ``GET`` of its path; ``POST`` of the collection's, or ``PUT`` of its own
        """
        result: Ensured[WritableItem] = self._wrap(self._portal.run(self._async.ensure(*args, **kwargs)))
        return result
