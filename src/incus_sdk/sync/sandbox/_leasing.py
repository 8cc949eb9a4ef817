"""A pool: boxes that run already, each given away once, and replaced by a copy of a template in the background.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ...sandbox import _leasing as _source
from .. import _twin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from ...sandbox._allowance import Limits
    from ...sandbox._network import Network
    from ..api.instances import Instance
    from ..client import Client
    from ._box import Box


class Pool(_twin.Twin):
    """Boxes that run already, for the time of ``with``.

        with Pool(client, "images:debian/13", size=4, labels={"app": "agent"}) as pool:
            with pool.lease() as box:
                print(box.run(["uname", "-a"], text=True).stdout)

    **Provisional.** A box is a container that is closed, see `Limits` and `Network`, leased once, and destroyed. In the
    background, copies of a template take the places of those that were leased, two at a time. The block begins when the
    pool is full; at its end all its boxes are destroyed, leased ones and forks, too, and the template, unless another
    process has boxes of a pool of this name. What a killed program leaves, `prune` removes.

    Args:
        client: The client, whose project the boxes are in.
        image: The image: see `ImagesAPI.resolve`.
        size: How many boxes wait to be leased; 0 makes each when it is leased.
        ttl: Seconds until a leased box expires.
        name: A name, so that several processes have one pool: small letters, digits and ``-``. None for a pool of its
            own.
        labels: Labels of all its boxes, to find them by. What runs inside cannot read them.
        limits: What each box may use; None for the defaults of `Limits`.
        network: What each box may reach; None for nothing at all.
        prepare: Called once, with the running instance that becomes the template, to install what boxes
            need. What it changes of the configuration or the devices is undone.
        prepare_network: A network that the instance is connected to meanwhile.
        languages: Those that boxes need an interpreter for: see `Box.run_code`.
        storage: The storage pool of the boxes; None for that of the profile ``default``.
        template_ttl: Seconds until a template that nobody uses expires.

    Raises:
        IncusInputError: An argument is invalid.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Pool: ...

    def __init__(
        self,
        client: Client,
        image: str,
        *,
        size: int = 2,
        ttl: float = 900,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        network: Network | None = None,
        prepare: Callable[[Instance], object] | None = None,
        prepare_network: str | None = None,
        languages: Sequence[str] = (),
        storage: str | None = None,
        template_ttl: float = 86400,
    ) -> None:
        self.__dict__.update(
            _async=_source.Pool(
                _twin.used(client),
                image,
                size=size,
                ttl=ttl,
                name=name,
                labels=labels,
                limits=limits,
                network=_twin.used(network),
                prepare=_twin.asked(prepare, client._wrap),
                prepare_network=prepare_network,
                languages=languages,
                storage=storage,
                template_ttl=template_ttl,
            ),
            _portal=client._portal,
        )

    @property
    def name(self) -> str:
        """Its name, also if it was given none."""
        return self._async.name

    def __enter__(self) -> Self:
        return self._enter(self._async.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(self._async.__aexit__(kind, error, trace))

    def lease(
        self, *, labels: Mapping[str, str] | None = None, ttl: float | None = None, timeout: float | None = 60
    ) -> AbstractContextManager[Box]:
        """Have a box for the time of ``with``; it is destroyed at the end, however the block ends.

            with pool.lease(labels={"user": "u1"}) as box:
                box.run(["make"], timeout=60)

        Where none is ready, it waits for the next one.

        Args:
            labels: Labels on top of those of the pool.
            ttl: Seconds until it expires, and any process may prune it; None for that of the pool. See `Box.extend`.
            timeout: Seconds to wait for a box; 0 takes one that is ready, None is no limit.

        Yields:
            The box, which nobody else gets.

        Raises:
            IncusInputError: An argument is invalid, or the pool is not open.
            IncusTimeoutError: No box was ready in time. The error says why none could be made.
            IncusError: None could be made: the disk is full, for example.

        API:
            ``PUT /1.0/instances/{name}``, with ``If-Match``; ``DELETE /1.0/instances/{name}``
        """
        return self._portal.enter(self._async.lease(labels=labels, ttl=ttl, timeout=timeout), self._wrap)
