"""A pool: boxes that run already, each given away once, and replaced by a copy of a template in the background."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .._concurrency import end, for_each, shielded
from ..exceptions import (
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusPreconditionError,
    IncusTimeoutError,
)
from . import _keys
from ._allowance import Limits
from ._box import Box, remove
from ._finding import is_left, list_sandboxes, remove_all
from ._languages import known
from ._network import Network
from ._template import Recipe, Template

if TYPE_CHECKING:
    from ..api.instances import Instance
    from ..client import Client

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_AT_ONCE = 2  # copies: more of them slow down the boxes that are used
_WARM = 3600.0  # seconds that a box waits at most, if its pool does not look after it
_LOOK = 10.0  # seconds between two looks at the pool
_RETRY, _LONGEST_RETRY = 0.2, 10.0  # seconds
_CLAIM = 1.0  # seconds at least to claim a box that is ready
_CLAIMS = 5  # of one box, which its server can change meanwhile
_WRITABLE = ("architecture", "config", "description", "devices", "ephemeral", "profiles")


class Pool:
    """Boxes that run already, for the time of ``async with``.

        async with Pool(client, "images:debian/13", size=4, labels={"app": "agent"}) as pool:
            async with pool.lease() as box:
                print((await box.run(["uname", "-a"], text=True)).stdout)

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
        prepare: Called once, plain or async, with the running instance that becomes the template, to install what boxes
            need. What it changes of the configuration or the devices is undone.
        prepare_network: A network that the instance is connected to meanwhile.
        languages: Those that boxes need an interpreter for: see `Box.run_code`.
        storage: The storage pool of the boxes; None for that of the profile ``default``.
        template_ttl: Seconds until a template that nobody uses expires.

    Raises:
        IncusInputError: An argument is invalid.
    """

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
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= 1000:
            raise IncusInputError(f"size must be a number of boxes, not {size!r}")
        if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
            raise IncusInputError(f"name must have up to 40 small letters, digits and '-', not {name!r}")
        if not isinstance(image, str) or not image:
            raise IncusInputError(f"image must be the name of one, not {image!r}")
        for value, kind, what in ((limits, Limits, "limits"), (network, Network, "network")):
            if value is not None and not isinstance(value, kind):
                raise IncusInputError(f"{what} must be {kind.__name__}(...), not {value!r}")
        if isinstance(languages, str) or not isinstance(languages, Sequence):
            raise IncusInputError(f"languages must be a list, as ['python'], not {languages!r}")
        for given, what in ((prepare_network, "prepare_network"), (storage, "storage")):
            if given is not None and (not isinstance(given, str) or not given):
                raise IncusInputError(f"{what} must be a name, not {given!r}")
        if prepare is not None and not callable(prepare):
            raise IncusInputError(f"prepare must be a function, not {prepare!r}")
        self._client = client
        self._size = size
        self._ttl = _keys.seconds(ttl, "ttl")
        self._name = name or f"p{os.urandom(5).hex()}"
        self._keeper = os.urandom(8).hex()
        self._is_shared = name is not None
        self._labels = _keys.label_keys(labels)
        recipe = Recipe(
            image,
            limits or Limits(),
            network,
            prepare,
            prepare_network,
            [known(language) for language in languages],
            storage,
            _keys.seconds(template_ttl, "template_ttl"),
        )
        keys = {**self._labels, **({} if self._is_shared else _keys.private())}
        self._template = Template(client, recipe, self._name, keys)
        self._warm: deque[Instance] = deque()
        self._waiting: deque[asyncio.Future[Instance]] = deque()
        self._making = 0
        self._poked = asyncio.Event()
        self._trouble: IncusError | None = None
        self._work: asyncio.Task[None] | None = None
        self._is_open = False

    def __repr__(self) -> str:
        return f"<Pool {self._name}>"

    @property
    def name(self) -> str:
        """Its name, also if it was given none."""
        return self._name

    async def __aenter__(self) -> Self:
        if self._work is not None:
            raise IncusInputError(f"the pool {self._name!r} was entered before: make another one")
        await self._template.check()
        self._is_open = True
        try:
            await self._template.ensure()
            await self._fill()
        except BaseException:
            with contextlib.suppress(IncusError):  # which would hide why
                await shielded(self._close())
            raise
        self._work = asyncio.create_task(self._keep(), name=f"incus-sdk pool {self._name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.nullcontext() if error is None else contextlib.suppress(IncusError):
            await shielded(self._close())

    @asynccontextmanager
    async def lease(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        ttl: float | None = None,
        timeout: float | None = 60,
    ) -> AsyncGenerator[Box]:
        """Have a box for the time of ``async with``; it is destroyed at the end, however the block ends.

            async with pool.lease(labels={"user": "u1"}) as box:
                await box.run(["make"], timeout=60)

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
        keys = {**_keys.label_keys(labels), _keys.CLAIM: os.urandom(8).hex(), _keys.KEEPER: self._keeper}
        seconds = self._ttl if ttl is None else _keys.seconds(ttl, "ttl")
        if timeout is not None and timeout != 0:
            _keys.seconds(timeout, "timeout")
        try:
            async with asyncio.timeout(timeout) as limit:
                box = Box(self._client, await self._take(keys, seconds, limit))
        except TimeoutError as error:
            if isinstance(error, IncusError):
                raise
            why = "" if self._trouble is None else f": {self._trouble}"
            raise IncusTimeoutError(f"the pool {self._name!r} had no box within {timeout} s{why}") from self._trouble
        try:
            yield box
        finally:
            await box.destroy()

    async def _take(self, keys: Mapping[str, str], ttl: float, limit: asyncio.Timeout) -> Instance:
        """Make a box this process' own."""
        lost = False
        while self._is_open:
            candidates = [self._warm.popleft()] if self._warm else await self._others()
            if not candidates:
                try:
                    candidates = [await self._wait()]
                except IncusNotFoundError:  # another process removed the template at this moment
                    if lost:
                        raise
                    lost = True
                    continue
            self._poked.set()
            if (until := limit.when()) is not None:  # what is ready is not waited for
                limit.reschedule(max(until, asyncio.get_running_loop().time() + _CLAIM))
            for each in candidates:
                try:
                    if await self._claim_or_leave(each, {**keys, **_keys.mine("leased", ttl)}):
                        return each
                except IncusError:
                    self._warm.append(each)  # for the next claim, which sees how it is then
                    raise
            limit.reschedule(until)
        raise IncusInputError(f"the pool {self._name!r} is not open: use it as a context manager")

    async def _others(self) -> Sequence[Instance]:
        """The boxes of other processes that wait."""
        if not self._is_shared:
            return []
        return [
            each
            for each in await list_sandboxes(self._client, pool=self._name)
            if _keys.state(each) == "warm" and each.status == "Running" and not _keys.has_expired(each)
        ]

    async def _wait(self) -> Instance:
        """Wait for the next box that is made."""
        await self._template.ensure()  # here, since it may call a function of the caller's
        if self._warm:
            return self._warm.popleft()
        place: asyncio.Future[Instance] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._poked.set()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._give(place.result())
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(place)

    async def _claim_or_leave(self, instance: Instance, keys: Mapping[str, str]) -> bool:
        """`_claim`; for a caller who is cancelled, nothing stays claimed."""
        claim = asyncio.ensure_future(self._claim(instance, keys))

        async def leave() -> None:
            with contextlib.suppress(IncusError):
                if await claim:
                    await remove(instance)

        try:
            return await asyncio.shield(claim)
        except asyncio.CancelledError:
            await shielded(leave())
            raise

    async def _claim(self, instance: Instance, keys: Mapping[str, str]) -> bool:
        """Write whose a box is, if it is still nobody's and runs: the server compares, so one process gets it."""
        try:
            for _ in range(_CLAIMS):
                if instance.etag is None:  # as in a list; without one, nothing would be compared
                    await instance.refresh()
                if _keys.state(instance) != "warm":
                    return False
                body = {field: instance.raw[field] for field in _WRITABLE if field in instance.raw}
                body["config"] = {**body["config"], **keys}
                try:
                    await instance.replace(body, instance.etag)
                except IncusPreconditionError:
                    await instance.refresh()
                    continue
                except (IncusConnectionError, IncusTimeoutError):  # which may have come too late
                    if (await instance.refresh()).config.get(_keys.CLAIM) != keys[_keys.CLAIM]:
                        continue
                if instance.status == "Running":
                    return True
                await remove(instance)  # it was killed while it waited
                return False
        except IncusNotFoundError:
            pass
        return False

    async def _keep(self) -> None:
        """Keep the pool full, for as long as it is open, whatever happens."""
        loop = asyncio.get_running_loop()
        pause, look = _RETRY, loop.time() + _LOOK
        while True:
            self._poked.clear()
            try:
                await self._fill()
                if loop.time() >= look:
                    look = loop.time() + _LOOK
                    await self._look_after()
                self._trouble, pause, wait = None, _RETRY, max(0.0, look - loop.time())
            except Exception as error:
                self._report(error)
                wait, pause = pause, min(2 * pause, _LONGEST_RETRY)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._poked.wait()

    def _report(self, error: Exception) -> None:
        """Tell those who wait why there is no box, unless that may be over in a moment."""
        self._trouble = error if isinstance(error, IncusError) else IncusError(f"a box could not be made: {error!r}")
        if isinstance(error, IncusConnectionError | IncusTimeoutError):
            return
        for place in self._waiting:
            if not place.done():
                place.set_exception(self._trouble)

    async def _fill(self) -> None:
        """Copy the template until there is a box for everybody who waits, and ``size`` more."""

        async def work(_: int) -> None:
            while len(self._warm) + self._making < self._size + sum(not place.done() for place in self._waiting):
                self._making += 1
                try:
                    copy = await self._copy()
                finally:
                    self._making -= 1
                self._give(copy)

        await for_each(work, range(_AT_ONCE), _AT_ONCE)

    async def _copy(self) -> Instance:
        handle = self._client.instances[_keys.new_name()]
        marks = _keys.marks(handle, "warm", self._name, self._keeper, _WARM)
        return await self._template.handle.copy(
            handle.name, instance_only=True, config={**marks, _keys.RECIPE: None}, start=True
        )

    def _give(self, instance: Instance) -> None:
        """Give a box to who has waited longest, or let it wait."""
        for place in self._waiting:
            if not place.done():
                place.set_result(instance)
                return
        self._warm.append(instance)

    async def _look_after(self) -> None:
        """Forget boxes that were killed, or taken by another process; extend the others' time; remove what is over."""
        there = {each.name: each for each in await list_sandboxes(self._client, pool=self._name)}
        if (template := there.pop(self._template.handle.name, None)) is not None:
            await self._template.extend(template)
        for each in list(self._warm):
            now = there.pop(each.name, None)
            if each not in self._warm:  # leased since
                continue
            if now is None or _keys.state(now) != "warm":
                self._warm.remove(each)
            elif now.status != "Running":
                self._warm.remove(each)
                await remove(each)
            elif _keys.seconds_left(now) < _WARM / 2:
                with contextlib.suppress(IncusPreconditionError, IncusNotFoundError):  # it was leased at this moment
                    if _keys.state(await each.refresh()) == "warm":
                        await each.update({"config": _keys.lifetime(_WARM)}, wait=True, etag=each.etag)
        await remove_all([each for each in there.values() if is_left(each)])

    async def _close(self) -> None:
        """Destroy all that the pool has made, and the template, if no other process uses it."""
        self._is_open = False
        if self._work is not None:
            await end([self._work])
        self._trouble = IncusError(f"the pool {self._name!r} was closed")
        for place in self._waiting:
            if not place.done():
                place.set_exception(self._trouble)
        self._warm.clear()
        there = await list_sandboxes(self._client, pool=self._name)
        mine = [each for each in there if each.config.get(_keys.KEEPER) == self._keeper]
        try:
            await remove_all([each for each in mine if _keys.state(each) == "warm"])
        finally:
            await remove_all([each for each in mine if _keys.state(each) != "warm"], if_as_read=False)
        left = await list_sandboxes(self._client, pool=self._name)
        if all(_keys.state(each) == "template" for each in left):
            await remove_all(left)
