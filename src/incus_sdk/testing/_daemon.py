"""A real, private, throw-away Incus daemon.

It runs in its own namespaces, directory and cgroups: its network has no route out, and its mounts and processes are
invisible from outside. The owner makes its two listeners, a unix socket and one on the machine's loopback. The owner
also holds one end of a socket pair; the other end is the standard input of PID 1 in the namespaces. When the owner
ends, even by SIGKILL, the kernel ends everything in the namespaces at once. See `_host` for what remains, and `_init`
for PID 1.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import socket as sockets
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from incus_sdk import Client, IncusAPIError, IncusConnectionError
from incus_sdk._concurrency import Attempts, in_thread

from . import _host, _init
from ._host import DaemonUnavailableError
from ._image import busybox_image

_START_TIMEOUT = 60
"""Seconds for a daemon to start; 0.7 are usual."""


class Daemon:
    """A private, real Incus daemon, from `start()` to `close()`, or for the time of ``async with``.

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

    def __init__(
        self,
        *,
        image: bool = True,
        storage: Literal["dir", "btrfs"] = "dir",
        directory: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        beside: Daemon | None = None,
    ) -> None:
        self._image = image
        self._storage = storage
        self._root = Path("/" if root is None else root).resolve()
        self._beside = beside
        self._numbers: Iterator[int] = itertools.count(1) if beside is None else beside._numbers
        self._number = next(self._numbers)
        self._given_directory = None if directory is None else Path(directory)
        self._programs: dict[str, str] = {}
        self._home: _host.Home | None = None
        self._port = 0
        self._namespaces: subprocess.Popen[bytes] | None = None
        self._control: sockets.socket | None = None

    @property
    def directory(self) -> Path:
        """The daemon's directory, its ``INCUS_DIR``."""
        return self._require_started().directory

    @property
    def socket(self) -> Path:
        """The unix socket."""
        return self.directory / "unix.socket"

    @property
    def url(self) -> str:
        """The HTTPS address, on this machine's loopback: ``https://127.0.0.1:<port>``."""
        self._require_started()
        return f"https://127.0.0.1:{self._port}"

    @property
    def address(self) -> str:
        """The HTTPS address in the daemon's own network, for daemons beside it: ``https://127.0.0.<n>:8443``.

        It is the daemon's ``cluster.https_address``. The certificate is the one of `url`, which names only 127.0.0.1.
        """
        return f"https://127.0.0.{self._number}:8443"

    @property
    def certificate(self) -> Path:
        """The server's self-signed certificate (PEM); in a cluster, that of all its members."""
        cluster = self.directory / "cluster.crt"
        return cluster if cluster.exists() else self.directory / "server.crt"

    @property
    def client_cert(self) -> tuple[Path, Path]:
        """The certificate and key (PEM) of a client that the daemon trusts."""
        return self.directory / "client.crt", self.directory / "client.key"

    def client(self, kind: Literal["unix", "https"] = "unix") -> Client:
        """Make a client of the daemon, which is not connected yet.

        Args:
            kind: Over the unix socket, or over HTTPS with `client_cert`.
        """
        if kind == "unix":
            return Client(str(self.socket))
        return Client(self.url, cert=self.client_cert, server_cert=self.certificate)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Start the daemon and set it up; first remove what daemons of killed owners left behind.

        A start that fails or is cancelled leaves nothing behind.

        Raises:
            DaemonUnavailableError: This machine lacks something, or the daemon does not start; then with the end of its
                log.
        """
        if self._home is not None:
            raise RuntimeError("the daemon was started already")
        try:
            await in_thread(self._prepare)
            await in_thread(self._spawn)
            await self._wait_ready()
            await self._set_up()
        except BaseException:
            await self.close()
            raise

    async def restart(self) -> None:
        """Stop the daemon and start it again, with the same addresses and data.

        Its instances keep running. New connections wait meanwhile, and existing ones are closed. After `kill()` it is
        like the next start of the machine: the instances that ran are started again.

        Raises:
            DaemonUnavailableError: It does not start.
        """
        await in_thread(self._restart)
        await self._wait_ready()
        async with self.client() as client:
            await self._set_address(client)

    async def kill(self) -> None:
        """Kill the daemon and everything it started at once, like a loss of power; its files remain."""
        await in_thread(self._kill)

    async def close(self) -> None:
        """End the daemon and all its instances, and remove all its files; a second call does nothing."""
        await in_thread(self._close)

    def _require_started(self) -> _host.Home:
        if self._home is None:
            raise RuntimeError("the daemon is not started: enter it as a context manager, or call start()")
        return self._home

    def _prepare(self) -> None:
        self._programs = _host.preflight(image=self._image, storage=self._storage, root=self._root)
        try:
            _host.sweep()
            self._home = _host.Home(self._given_directory)
            certificate, key = self.client_cert
            subprocess.run(
                [
                    *(self._programs["openssl"], "req", "-x509", "-subj", "/CN=incus-sdk", "-days", "3650", "-nodes"),
                    *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"),
                    *("-keyout", str(key), "-out", str(certificate)),
                ],
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            detail = getattr(error, "stderr", None) or b""
            raise DaemonUnavailableError(
                f"a private Incus daemon cannot run here: {error} {detail.decode()}"
            ) from error

    def _spawn(self) -> None:
        home, incusd = self._require_started(), self._programs["incusd"]
        # The caller's environment must not lead the daemon elsewhere (INCUS_*, LISTEN_*, proxies).
        environment = {
            "HOME": "/root",
            "INCUS_DIR": str(home.directory),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join(
                (os.path.dirname(incusd), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")
            ),
            "TMPDIR": str(home.directory),
        }
        self.socket.unlink(missing_ok=True)
        ours, theirs = sockets.socketpair()
        with (
            theirs,
            sockets.create_server(("127.0.0.1", self._port)) as https,
            sockets.socket(sockets.AF_UNIX) as unix,
            open(home.directory / "incusd.log", "ab") as log,
        ):
            self._control, self._port = ours, https.getsockname()[1]
            unix.bind(str(self.socket))
            self.socket.chmod(0o600)
            unix.listen(128)
            listeners = unix.fileno(), https.fileno()
            self._namespaces = subprocess.Popen(
                [
                    *self._network_command(),
                    *(self._programs["unshare"], "--fork", "--kill-child", "--pid", "--mount", "--mount-proc"),
                    *("--propagation", "private", "--", sys.executable, "-I", "-S", _init.__file__),
                    *(str(home.directory), str(self._root), incusd, ",".join(map(str, listeners))),
                    *(f"{cgroup}/init.scope" for cgroup in home.cgroups),
                ],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment,
                pass_fds=(*listeners, home.lock),
                start_new_session=True,  # Ctrl-C is the owner's
            )

    def _network_command(self) -> list[str]:
        """The command that runs another one in the network of this daemon."""
        if self._beside is None:
            return [self._programs["unshare"], "--net"]
        if self._beside._namespaces is None:
            raise RuntimeError("the daemon given as beside= is not running")
        return [self._programs["nsenter"], f"--net=/proc/{self._beside._namespaces.pid}/ns/net"]

    def _restart(self) -> None:
        # With an address in its database the daemon would bind that, in its own network, instead of the listener that
        # it gets. It applies this file when it starts; `_set_address` sets the address again.
        patch = self._require_started().directory / "database" / "patch.local.sql"
        patch.write_text("DELETE FROM config WHERE key = 'core.https_address';")
        if not self._restart_in_place():
            self._kill()
            self._spawn()

    def _restart_in_place(self) -> bool:
        """Have `_init` restart nothing but the daemon; False if `_init` does not run any more."""
        if self._control is None:
            return False
        try:
            self._control.sendall(b"\n")
            return bool(self._control.recv(1))
        except ConnectionError:
            return False

    def _kill(self) -> None:
        if self._control is not None:
            # close() is not enough: a forked process may have this socket, too.
            with contextlib.suppress(OSError):
                self._control.shutdown(sockets.SHUT_RDWR)
            self._control.close()
            self._control = None
        if self._namespaces is not None:
            while self._home is not None:
                self._home.thaw()  # also what the daemon freezes as it ends
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._namespaces.wait(0.2)
                    break
            self._namespaces = None

    def _close(self) -> None:
        self._kill()
        home, self._home, self._port = self._home, None, 0
        if home is not None:
            home.remove()

    async def _wait_ready(self) -> None:
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                async for _ in Attempts(None, 0.02, longest=0.02):
                    if await self._is_ready():
                        return
        except (IncusConnectionError, TimeoutError) as error:
            lines = (self.directory / "incusd.log").read_text(errors="replace").splitlines()[-20:]
            message = f"the Incus daemon did not start; the end of its log: {' | '.join(lines)}"
            raise DaemonUnavailableError(message, log="\n".join(lines)) from error

    async def _is_ready(self) -> bool:
        client = self.client()
        try:
            await client.query("GET", "/internal/ready")
        except IncusAPIError as error:
            if error.status_code != 503:
                raise
            return False
        finally:
            await client.disconnect()
        return True

    async def _set_up(self) -> None:
        certificate = ssl.PEM_cert_to_DER_cert(self.client_cert[0].read_text())
        entry = {"name": "incus-sdk", "type": "client", "certificate": base64.b64encode(certificate).decode()}
        root = {"type": "disk", "path": "/", "pool": "default"}
        async with self.client() as client:
            await self._set_address(client)
            address = {"cluster.https_address": self.address.removeprefix("https://")}
            await client.query("PATCH", "/1.0", body={"config": address})
            await client.query("POST", "/1.0/certificates", body=entry)
            try:
                await client.query("POST", "/1.0/storage-pools", body={"name": "default", "driver": self._storage})
            except IncusAPIError as error:
                raise DaemonUnavailableError(f"a private daemon has no {self._storage} here: {error}") from error
            await client.query("PATCH", "/1.0/profiles/default", body={"devices": {"root": root}})
            if self._image:
                image = await asyncio.to_thread(busybox_image, self._programs["busybox"])
                headers = {"Content-Type": "application/octet-stream", "X-Incus-filename": "busybox.tar"}
                imported = await (await client.query("POST", "/1.0/images", body=image, headers=headers)).wait()
                alias = {"name": "busybox", "target": imported.metadata["fingerprint"]}
                await client.query("POST", "/1.0/images/aliases", body=alias)

    async def _set_address(self, client: Client) -> None:
        """Configure the address on which the daemon listens already, so that it can name it to others."""
        address = {"core.https_address": self.url.removeprefix("https://")}
        await client.query("PATCH", "/1.0", body={"config": address})
