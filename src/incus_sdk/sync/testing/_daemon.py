"""A real, private, throw-away Incus daemon.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...testing import _daemon as _source
from .. import _twin

if TYPE_CHECKING:
    import os
    from pathlib import Path
    from typing import Literal, Self

    from ..client import Client


class Daemon(_twin.Twin):
    """A private, real Incus daemon, from `start()` to `close()`, or for the time of ``with``.

    It has the storage pool ``default``, the profile ``default`` with a root disk and no network, and the image
    ``busybox``. It needs Linux, root and an installed Incus, which is neither configured nor started for it. Any number
    of daemons run side by side; the instances of each end with it.

    Args:
        image: Whether to import the image.
        storage: The driver of the pool ``default``. With ``"btrfs"`` it is in a file of the daemon's directory; there
            copies are instant, and disks have a size that is enforced.
        directory: The daemon's directory, new or empty; `close()` removes it. None makes one in the directory for
            temporary files.
        root: The folder of another system with its own Incus, which the daemon sees as ``/`` and does not change;
            ``scripts/install-incus-7`` makes one with Incus 7.0. None is this machine's.
        beside: A started daemon whose network this one shares. Each reaches the others there by their `address`, to
            copy from them or to form a cluster. They share all links, so only one of them can have a bridge of a
            given name. The network exists as long as one of them runs; after `kill()` of all, each restarts in another.
            None is a new network.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Daemon: ...

    def __init__(
        self,
        *,
        image: bool = True,
        storage: Literal["dir", "btrfs"] = "dir",
        directory: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        beside: Daemon | None = None,
    ) -> None:
        self._begin(
            _source.Daemon(image=image, storage=storage, directory=directory, root=root, beside=_twin.used(beside))
        )

    @property
    def directory(self) -> Path:
        """The daemon's directory, its ``INCUS_DIR``."""
        return self._async.directory

    @property
    def socket(self) -> Path:
        """The unix socket."""
        return self._async.socket

    @property
    def url(self) -> str:
        """The HTTPS address, on this machine's loopback: ``https://127.0.0.1:<port>``."""
        return self._async.url

    @property
    def address(self) -> str:
        """The HTTPS address in the daemon's own network, for daemons beside it: ``https://127.0.0.<n>:8443``.

        It is the daemon's ``cluster.https_address``. The certificate is the one of `url`, which names only 127.0.0.1.
        """
        return self._async.address

    @property
    def certificate(self) -> Path:
        """The server's self-signed certificate (PEM); in a cluster, that of all its members."""
        return self._async.certificate

    @property
    def client_cert(self) -> tuple[Path, Path]:
        """The certificate and key (PEM) of a client that the daemon trusts."""
        return self._async.client_cert

    def client(self, kind: Literal["unix", "https"] = "unix") -> Client:
        """Make a client of the daemon, which is not connected yet.

        Args:
            kind: Over the unix socket, or over HTTPS with `client_cert`.
        """
        result: Client = self._wrap(self._async.client(kind))
        return result

    def __enter__(self) -> Self:
        return self._enter(self._async.__aenter__())

    def __exit__(self, *_: object) -> None:
        self._portal.end(self._async.__aexit__(*_))

    def start(self) -> None:
        """Start the daemon and set it up; first remove what daemons of killed owners left behind.

        A start that fails or is cancelled leaves nothing behind.

        Raises:
            DaemonUnavailableError: This machine lacks something, or the daemon does not start; then with the end of its
                log.
        """
        self._portal.run(self._async.start())

    def restart(self) -> None:
        """Stop the daemon and start it again, with the same addresses and data.

        Its instances keep running. New connections wait meanwhile, and existing ones are closed. After `kill()` it is
        like the next start of the machine: the instances that ran are started again.

        Raises:
            DaemonUnavailableError: It does not start.
        """
        self._portal.run(self._async.restart())

    def kill(self) -> None:
        """Kill the daemon and everything it started at once, like a loss of power; its files remain."""
        self._portal.run(self._async.kill())

    def close(self) -> None:
        """End the daemon and all its instances, and remove all its files; a second call does nothing."""
        self._portal.end(self._async.close())
