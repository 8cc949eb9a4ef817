"""Instances that are there when they are needed, and gone when they no longer are."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping, MutableSequence, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from .. import models
from .._background import undoing
from .._concurrency import shielded
from .._connection import wire
from .._connection.scope import Scope
from ..exceptions import IncusAPIError, IncusError, IncusInputError, IncusNotFoundError, IncusOperationError
from ..models.base import Json
from ..operations import OnProgress
from ._bodies import difference, label_keys
from ._copies import changed_devices, copy_instance
from ._ensure import Change, Ensured, ensure_item, is_met, without_none
from ._lifecycle import DONE_BY_OTHERS, LifecycleVerbs
from ._many import do_many
from ._owner import has_ended, this_process
from .base import Resource

Template = str | models.Instance | models.InstanceSnapshot
"""What an instance is made from: the name of an image, an instance, or a snapshot of one."""

_TEMPORARY = "user.incus-sdk.temporary"
_OWNER = "user.incus-sdk.owner"
_LABEL = "user.incus-sdk.label."

Box = TypeVar("Box", bound=LifecycleVerbs)
BoxCo = TypeVar("BoxCo", bound=LifecycleVerbs, covariant=True)


class _Instances(Protocol[BoxCo]):
    """The collection of instances, as `Launches` sees it."""

    @property
    def _scope(self) -> Scope: ...

    def __getitem__(self, key: str, /) -> BoxCo: ...

    def _new(self, name: str | None) -> BoxCo: ...

    @property
    def create(self) -> Callable[..., Any]: ...

    @property
    def list(self) -> Callable[..., Any]: ...

    @property
    def launch(self) -> Callable[..., Any]: ...


class Launches:
    """Verbs that make instances as they should be."""

    async def ensure(
        self: _Instances[Box],
        name: str,
        source: models.InstanceSource | Mapping[str, Any] | str,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        ephemeral: bool | None = None,
        instance_type: models.InstanceType | None = None,
        *,
        description: str | None = None,
        flavor: str | None = None,
        running: bool | None = None,
        progress: OnProgress | None = None,
    ) -> Ensured[Box]:
        """Create an instance as `create` does; if it exists, change what differs from the arguments.

        What is None or not named is kept, at every depth. Several can do this at once.

            web = (await client.instances.ensure("web", "images:debian/13", {"limits.cpu": 2}, running=True)).item

        Args:
            name: Its name.
            source: What it is created from: see `create`. Of no account for an instance that exists.
            config: Keys of its configuration; None removes one.
            devices: Devices by name, and keys of devices, also of those that come from a profile; None removes one.
            profiles: Its profiles.
            ephemeral: Whether it is deleted when it stops.
            instance_type: ``container`` or ``virtual-machine``; None for a container.
            description: Its description.
            flavor: How big it is created, as ``c2-m4`` for 2 CPUs and 4 GiB: see `create`.
            running: True starts it, or thaws it; False stops it, which may take 30 seconds.
            progress: Called with how far the server's download and unpacking are.

        Returns:
            The instance, read; whether it was created; and what was changed, ``status`` among it.

        Raises:
            IncusInputError: An argument is invalid, or it exists and is of another type.
            IncusNotFoundError: There is no image of that name.
            IncusAPIError: It could not be created or changed.
            IncusOperationError: It could not be created, changed, started or stopped.

        API:
            ``GET /1.0/instances/{name}``; ``POST /1.0/instances``, or ``PUT /1.0/instances/{name}`` and
            ``PUT /1.0/instances/{name}/state``
        """
        box = self[name]
        given = {
            "config": config,
            "devices": devices,
            "profiles": None if profiles is None else wire.texts(profiles, "profiles"),
            "ephemeral": ephemeral,
            "description": description,
        }
        fields = {key: value for key, value in given.items() if value is not None}
        kind = {} if instance_type is None else {"type": instance_type}

        async def create() -> Box:
            options = {**fields, "config": without_none(config or {}), "flavor": flavor}
            options["instance_type"] = instance_type or "container"
            made: Box = await self.create(name, source, **options, wait=True, progress=progress)
            return made

        async def settle() -> None:
            for operation in await box._creations():
                with contextlib.suppress(IncusError):  # told to whoever creates it
                    await operation.wait()

        made = await ensure_item(box, {**fields, **kind}, create, settle, _complete_devices)
        status = None if running is None else await _set_running(made.item, running)
        if status is None or made.created:
            return made
        return Ensured(made.item, made.created, {**made.changed, "status": status})

    async def launch(
        self: _Instances[Box],
        source: Template,
        name: str | None = None,
        vm: bool = False,
        *,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        ephemeral: bool = False,
        description: str = "",
        flavor: str | None = None,
        progress: OnProgress | None = None,
    ) -> Box:
        """Create an instance and start it, and return it, read.

        From an image this is one operation; from another instance or a snapshot, it is copied first.

            await client.instances.launch("images:debian/13", "web")
            await client.instances.launch(client.instances["template"].snapshots["clean"], "web")

        If this fails or is cancelled at any moment, nothing remains of the instance.

        Args:
            source: An image: an alias or a fingerprint of this server, or ``images:debian/13``, see
                `ImagesAPI.resolve`. Or an instance or a snapshot to copy, without the snapshots of it.
            name: Its name; None for one that the server picks, for a copy a random one.
            vm: Create a virtual machine, not a container; what is copied stays what it is.
            config: Its configuration, on top of that of its profiles and of what is copied.
            devices: Its devices by name, on top of those of its profiles and of what is copied. One without a type
                changes keys of such a device: ``{"root": {"size": "10GiB"}}``.
            profiles: Its profiles; None for the server's default, or those of what is copied; an empty list for none.
            ephemeral: Delete it when it stops.
            description: Its description; empty for that of what is copied.
            flavor: How big it is, as ``c2-m4`` for 2 CPUs and 4 GiB: see `create`; not for a copy.
            progress: Called with how far the server's download and unpacking, or the copy, are.

        Raises:
            IncusInputError: An argument is invalid.
            IncusNotFoundError: There is no such image, instance or snapshot.
            IncusAPIError: It cannot be created; its name is taken, for example.
            IncusOperationError: It could not be created (older servers report a taken name this way too) or started;
                ``log`` has the end of its log, if there is one.

        API:
            ``POST /1.0/instances``; for a copy also ``PUT /1.0/instances/{name}/state``
        """
        if not isinstance(vm, bool):
            raise IncusInputError(f"vm must be True or False, not {type(vm).__name__}: name the others, as config=")
        if isinstance(source, Resource):
            if vm or flavor:
                raise IncusInputError("vm and flavor are for images: a copy is what it is a copy of")
            handle = self[_random_name() if name is None else name]
            await copy_instance(
                source,
                handle,
                instance_only=True,
                refresh=False,
                refresh_exclude_older=False,
                options={
                    "config": config,
                    "devices": devices,
                    "profiles": profiles,
                    "ephemeral": ephemeral,
                    "progress": progress,
                },
            )
            async with undoing(handle._remove):
                if description:
                    await handle._update({"description": description})
                await handle.start(wait=True)
                return await handle.refresh()
        from .images import ImagesAPI

        handle = self._new(name)
        creation = self.create(
            name,
            await ImagesAPI(self._scope).resolve(source),  # type: ignore[arg-type]
            config=config,
            devices=devices,
            profiles=profiles,
            ephemeral=ephemeral,
            instance_type="virtual-machine" if vm else "container",
            description=description,
            flavor=flavor,
            start=True,
        )
        return await handle._await_creation(creation, progress, keep_failed=False)

    @asynccontextmanager
    async def temporary(
        self: _Instances[Box],
        source: Template,
        name: str | None = None,
        vm: bool = False,
        *,
        config: models.Config | None = None,
        devices: models.Devices | None = None,
        profiles: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        progress: OnProgress | None = None,
    ) -> AsyncGenerator[Box]:
        """A running instance for the time of ``async with``, deleted at its end, however the block ends.

            async with client.instances.temporary("busybox") as box:
                print((await box.run(["uname", "-a"], text=True)).stdout)

        It is marked by keys ``user.incus-sdk.*`` of its configuration, so that `prune` finds it if this program is
        killed.

        Args:
            source: An image: an alias or a fingerprint of this server, or ``images:debian/13``, see
                `ImagesAPI.resolve`. Or an instance or a snapshot to copy, without the snapshots of it.
            name: Its name; None for a random name.
            vm: Create a virtual machine, not a container; what is copied stays what it is.
            config: Its configuration, on top of that of its profiles and of what is copied.
            devices: Its devices by name, on top of those of its profiles and of what is copied. One without a type
                changes keys of such a device: ``{"root": {"size": "10GiB"}}``.
            profiles: Its profiles; None for the server's default, or those of what is copied; an empty list for none.
            labels: Names and values to find it by: see `prune`. What runs inside can read them.
            progress: Called with how far the server's download and unpacking, or the copy, are.

        Yields:
            The instance, read.

        Raises:
            IncusInputError: An argument is invalid.
            IncusNotFoundError: There is no such image, instance or snapshot.
            IncusAPIError: It cannot be created; its name is taken, for example.
            IncusOperationError: It could not be created or started: see `launch`.

        API:
            ``POST /1.0/instances``, ``PUT /1.0/instances/{name}/state`` and ``DELETE /1.0/instances/{name}``
        """
        handle = self[_random_name() if name is None else name]
        marks = {_TEMPORARY: _identity(handle), _OWNER: this_process(), **label_keys(labels, _LABEL)}
        box: Box = await self.launch(
            source,
            handle._path[-1],
            vm,
            config={**(config or {}), **marks},
            devices=devices,
            profiles=profiles,
            progress=progress,
        )
        try:
            yield box
        finally:
            await shielded(box._remove())

    async def prune(
        self: _Instances[Box],
        *,
        labels: Mapping[str, str] | None = None,
        older_than: float | None = None,
        dry_run: bool = False,
    ) -> Sequence[str]:
        """Delete the instances that `temporary` made and a killed program left, of this project.

        It deletes only what `temporary` has marked, under the name that it got, and if the process is gone for sure: a
        process of this machine that has ended, or that ran before this machine was last started. What processes of
        other machines made, or of other containers of this one, only ``older_than`` deletes.

        Args:
            labels: Only those that have all of these.
            older_than: Also those that were created this many seconds ago, whoever made them, **even if that program
                still runs**. The server's clock and this machine's are compared.
            dry_run: Delete nothing.

        Returns:
            The names of those that were deleted; with ``dry_run`` of those that would be.

        Raises:
            IncusInputError: An argument is invalid.
            IncusError: One could not be deleted; all others were.

        API:
            ``GET /1.0/instances``, ``PUT /1.0/instances/{name}/state`` and ``DELETE /1.0/instances/{name}``
        """
        if older_than is not None and (isinstance(older_than, bool) or not older_than >= 0):
            raise IncusInputError(f"older_than must be a number of seconds, not {older_than!r}")
        wanted = label_keys(labels, _LABEL)
        oldest = None if older_than is None else datetime.now(UTC) - timedelta(seconds=older_than)

        def is_left(box: LifecycleVerbs) -> bool:
            if box.config.get(_TEMPORARY) != _identity(box) or not wanted.items() <= box.config.items():
                return False
            created = box.created_at
            return (oldest is not None and created is not None and created <= oldest) or has_ended(
                box.config.get(_OWNER, "")
            )

        names: Sequence[str] = [box.name for box in await self.list() if is_left(box)]
        if dry_run:
            return names
        deleted: MutableSequence[str] = []

        async def remove(box: LifecycleVerbs) -> None:
            with contextlib.suppress(IncusNotFoundError):
                if is_left(await box.refresh()):  # another can have its name by now
                    await box._remove()
                    deleted.append(box.name)

        outcomes = await do_many(self, names, remove)
        for error in outcomes.values():
            if error is not None:
                raise error
        return sorted(deleted)


def _complete_devices(patch: Json, now: Json) -> Json:
    """A merge patch of an instance, with whole devices where it changes those that come from a profile."""
    own, inherited = now.get("devices") or {}, now.get("expanded_devices") or {}
    asked = {
        name: keys
        for name, keys in (patch.get("devices") or {}).items()
        if keys is None or not is_met(keys, inherited.get(name))
    }
    changed = changed_devices(own, inherited, asked)
    return {**patch, "devices": {name: difference(own.get(name) or {}, device) for name, device in changed.items()}}


def _random_name() -> str:
    return f"box-{os.urandom(4).hex()}"


async def _set_running(box: LifecycleVerbs, running: bool) -> Change | None:
    """Start or stop an instance that is not as it should be."""
    wanted = ("Running", "Ready") if running else ("Stopped",)
    if (old := (await box.refresh()).status) in wanted:
        return None
    try:
        await (box.start(wait=True) if running else box.stop(wait=True))
    except (IncusAPIError, IncusOperationError) as error:
        if not re.search(DONE_BY_OTHERS, str(error)):
            raise  # whatever its status: one that failed to start is shown as running for a moment
        await box._wait_until_idle()
        if (await box.refresh()).status not in wanted:
            raise
        return None
    return Change(old, (await box.refresh()).status)


def _identity(box: LifecycleVerbs) -> str:
    """What is in the mark of a temporary instance: a copy of it, which takes over its keys, has another name."""
    return f"{box._scope.project or 'default'}/{box._path[-1]}"
