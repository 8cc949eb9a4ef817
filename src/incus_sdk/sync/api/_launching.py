"""Instances that are there when they are needed, and gone when they no longer are.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .. import _twin
from ._lifecycle import LifecycleVerbs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ... import models
    from ...api._launching import Template
    from ...operations import OnProgress
    from ._ensure import Ensured

Box = TypeVar("Box", bound=LifecycleVerbs)

BoxCo = TypeVar("BoxCo", bound=LifecycleVerbs, covariant=True)


class _Instances(_twin.TwinProtocol, Protocol[BoxCo]):
    """The collection of instances, as `Launches` sees it."""

    def __getitem__(self, key: str, /) -> BoxCo: ...

    @property
    def create(self) -> Callable[..., Any]: ...

    @property
    def list(self) -> Callable[..., Any]: ...

    @property
    def launch(self) -> Callable[..., Any]: ...


class Launches(_twin.Twin):
    """Verbs that make instances as they should be."""

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...

    def ensure(
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

            web = client.instances.ensure("web", "images:debian/13", {"limits.cpu": 2}, running=True).item

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
        result: Ensured[Box] = self._wrap(
            self._portal.run(
                self._async.ensure(
                    name,
                    source,
                    config,
                    devices,
                    profiles,
                    ephemeral,
                    instance_type,
                    description=description,
                    flavor=flavor,
                    running=running,
                    progress=_twin.posted(progress),
                )
            )
        )
        return result

    def launch(
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

            client.instances.launch("images:debian/13", "web")
            client.instances.launch(client.instances["template"].snapshots["clean"], "web")

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
        result: Box = self._wrap(
            self._portal.run(
                self._async.launch(
                    _twin.plain(source),
                    name,
                    vm,
                    config=config,
                    devices=devices,
                    profiles=profiles,
                    ephemeral=ephemeral,
                    description=description,
                    flavor=flavor,
                    progress=_twin.posted(progress),
                )
            )
        )
        return result

    def temporary(
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
    ) -> AbstractContextManager[Box]:
        """A running instance for the time of ``with``, deleted at its end, however the block ends.

            with client.instances.temporary("busybox") as box:
                print(box.run(["uname", "-a"], text=True).stdout)

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
        return self._portal.enter(
            self._async.temporary(
                _twin.plain(source),
                name,
                vm,
                config=config,
                devices=devices,
                profiles=profiles,
                labels=labels,
                progress=_twin.posted(progress),
            ),
            self._wrap,
        )

    def prune(
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
        result: Sequence[str] = self._portal.run(
            self._async.prune(labels=labels, older_than=older_than, dry_run=dry_run)
        )
        return result
