"""The template of a pool: a stopped instance, made once, of which every box is a copy."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .._background import undoing
from .._concurrency import Attempts
from .._connection import wire
from ..exceptions import IncusConflictError, IncusInputError, IncusNotFoundError
from . import _keys
from ._allowance import Limits
from ._box import remove
from ._finding import is_left, remove_all
from ._languages import missing
from ._network import NIC, Network

if TYPE_CHECKING:
    from ..api.instances import Instance
    from ..client import Client

_SERVERS = ("image.", "volatile.")  # keys that the server itself writes
_MAKING = 3600.0  # seconds to make a template; then it counts as given up, whoever makes it


@dataclass(frozen=True)
class Recipe:
    """What a template is made of."""

    image: str
    limits: Limits
    network: Network | None
    prepare: Callable[[Instance], object] | None
    prepare_network: str | None
    languages: Sequence[str]
    storage: str | None
    ttl: float

    @property
    def digest(self) -> str:
        """What tells templates of one name apart; of ``prepare``, only whether there is one."""
        network = None if self.network is None else [self.network.bridge, *self.network.allow]
        limits = [self.limits.cpu, self.limits.memory, self.limits.processes, self.limits.disk]
        parts = [self.image, limits, network, self.prepare is not None, sorted(self.languages), self.storage]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class Template:
    """The template of a pool, which several processes can share.

    Args:
        client: The client.
        recipe: What it is made of.
        pool: The name of the pool.
        keys: Keys of its configuration: labels, and whether another process can know its name.
    """

    _being_made: ClassVar[set[str]] = set()
    """The keepers of those that this process makes now: another one of this process was given up, and is still there
    because the server was gone just then."""

    def __init__(self, client: Client, recipe: Recipe, pool: str, keys: dict[str, str]) -> None:
        self._client = client
        self._recipe = recipe
        self._pool = pool
        self._keys = keys
        self._storage = ""

    @property
    def handle(self) -> Instance:
        """Its instance."""
        return self._client.instances[f"sandbox-template-{self._pool}"]

    async def check(self) -> None:
        """See that the server can keep what the pool is promised: its limits, and its network.

        Raises:
            IncusInputError: It cannot.
        """
        recipe = self._recipe
        self._storage = recipe.storage or await _default_storage(self._client)
        await recipe.limits._require_enforced(self._client, self._storage)
        if recipe.network is not None:
            await recipe.network._close(self._client)

    async def ensure(self) -> None:
        """Make it, or wait for the process that makes it.

        Raises:
            IncusInputError: There is one that was made of something else.
        """
        async for _ in Attempts(None, 0.05, longest=1.0):
            try:
                found = await self.handle.refresh()
            except IncusNotFoundError:
                keeper = os.urandom(8).hex()
                self._being_made.add(keeper)
                try:
                    await self._make(keeper)
                    return
                except IncusConflictError as error:
                    if wire.BEING_CREATED not in str(error) and not await self.handle.exists():
                        raise
                    continue
                finally:
                    self._being_made.discard(keeper)
            state = _keys.state(found)
            if not state:
                raise IncusInputError(f"{found.name} is an instance of somebody else: give the pool another name")
            if state == "template":
                if found.config.get(_keys.RECIPE) != self._recipe.digest:
                    raise IncusInputError(
                        f"there is a pool {self._pool!r} of another image, or with other limits, network or languages: "
                        "give this one another name"
                    )
                await self.extend(found)
                return
            if is_left(found) or self._is_given_up(found):
                await remove_all([found])

    def _is_given_up(self, found: Instance) -> bool:
        is_ours = _keys.state(found) == "making" and _keys.is_of_this_process(found)
        return is_ours and found.config.get(_keys.KEEPER) not in self._being_made

    async def extend(self, found: Instance) -> None:
        """Give it its whole time again, if half of it is over.

        Args:
            found: Its instance, read.
        """
        if _keys.seconds_left(found) < self._recipe.ttl / 2:
            await found.update({"config": _keys.lifetime(self._recipe.ttl)}, wait=True)

    async def _make(self, keeper: str) -> None:
        recipe, handle = self._recipe, self.handle
        devices: dict[str, Any] = {"root": recipe.limits._disk(self._storage)}
        marks = _keys.marks(handle, "making", self._pool, keeper, _MAKING)
        config = {**recipe.limits._config(), **self._keys, **marks, _keys.RECIPE: recipe.digest}
        starts = recipe.prepare is not None or bool(recipe.languages)
        nic = {NIC: {"type": "nic", "name": NIC, "network": recipe.prepare_network}} if recipe.prepare_network else {}
        made = await self._client.instances.create(
            handle.name, recipe.image, config, {**devices, **nic}, [], wait=True, start=starts
        )
        async with undoing(lambda: remove(made)):
            if starts:
                await self._prepare(made)
                await made.stop(force=True, wait=True)
                await made.refresh()
            if recipe.network is not None:
                devices[NIC] = recipe.network._device()
            config |= {_keys.KEEPER: "", **_keys.mine("template", recipe.ttl)}
            # What it was opened for meanwhile is closed again.
            more_config = {key: None for key in made.config.keys() - config.keys() if not key.startswith(_SERVERS)}
            more_devices = dict.fromkeys(made.devices.keys() - devices.keys())
            ready = {"config": {**more_config, **config}, "devices": {**more_devices, **devices}, "profiles": []}
            await made.update(ready, wait=True)

    async def _prepare(self, instance: Instance) -> None:
        if self._recipe.prepare is not None:
            done = self._recipe.prepare(instance)
            if inspect.isawaitable(done):
                await done
        if self._recipe.languages and (absent := await missing(instance, self._recipe.languages)):
            raise IncusInputError(
                f"{self._recipe.image} has no {', '.join(absent)}, which the pool's languages need: use an image that "
                "has it, or install it in prepare="
            )


async def _default_storage(client: Client) -> str:
    """The pool of the root disk in the profile ``default``, or else the only one."""
    try:
        for device in (await client.profiles.get("default")).devices.values():
            if device.get("path") == "/" and device.get("pool"):
                return str(device["pool"])
    except IncusNotFoundError:
        pass
    pools = await client.storage_pools.list()
    if len(pools) != 1:
        raise IncusInputError(
            f"name the storage pool of the boxes as storage=, one of {', '.join(pool.name for pool in pools) or 'none'}"
        )
    return pools[0].name
