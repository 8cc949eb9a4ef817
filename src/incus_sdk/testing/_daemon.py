"""A real, private, throw-away Incus daemon.

It runs in namespaces of its own: no network but its own links, without a route out, no mount or process visible from
outside, its own directory, its own cgroups. The owner makes its two listeners, a unix socket and one on the machine's
loopback, and holds one end of a socket pair whose other end is the standard input of PID 1 in there: when the owner
ends, also by SIGKILL, the kernel ends everything in the namespaces at once. See `_host` for what remains, and `_init`
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, ParamSpec, Self, TypeVar

from incus_sdk import Client, IncusAPIError, IncusConnectionError

from . import _host, _init
from ._host import DaemonUnavailableError
from ._image import busybox_image

_P = ParamSpec("_P")
_T = TypeVar("_T")

_READY = 60
"""Seconds a daemon may take to start; 0.7 are usual."""


class Daemon:
    """A real Incus daemon of one's own, from `start()` to `close()`, or for the time of ``async with``.

    It has the storage pool ``default``, the profile ``default`` with a root disk and no network, and the image
    ``busybox``. Needs Linux, root and an installed Incus, which is neither configured nor started for it. Any number
    run side by side; the instances of each end with it.
    """

    def __init__(
        self,
        *,
        image: bool = True,
        storage: Literal["dir"] = "dir",
        directory: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        beside: Daemon | None = None,
    ) -> None:
        """``image``: whether to import the image. ``storage``: the driver of the pool ``default``.

        ``directory``: the daemon's directory, new or empty, and removed by `close()`; by default a new one in the
        directory for temporary files. ``root``: a folder with another system, Incus included, that the daemon sees as
        ``/``, and that stays as it is; ``scripts/install-incus-7`` makes one with Incus 7.0.

        ``beside``: a started daemon, whose network this one is started in instead of one of its own: each reaches the
        others there by their `address`, to copy from, or to form a cluster with. They have the links there in common,
        so only one can have a bridge of a name. The network is there as long as one of them; the first that is started
        again after `kill()` comes back in another.
        """
        self._image = image
        self._storage = storage
        self._root = Path("/" if root is None else root).resolve()
        self._beside = beside
        self._numbers: Iterator[int] = itertools.count(1) if beside is None else beside._numbers
        self._number = next(self._numbers)
        self._wanted = None if directory is None else Path(directory)
        self._programs: dict[str, str] = {}
        self._home: _host.Home | None = None
        self._port = 0
        self._namespaces: subprocess.Popen[bytes] | None = None
        self._control: sockets.socket | None = None

    @property
    def directory(self) -> Path:
        """The daemon's directory, its ``INCUS_DIR``."""
        return self._started().directory

    @property
    def socket(self) -> Path:
        """The unix socket."""
        return self.directory / "unix.socket"

    @property
    def url(self) -> str:
        """The HTTPS address, on this machine's loopback: ``https://127.0.0.1:<port>``."""
        self._started()
        return f"https://127.0.0.1:{self._port}"

    @property
    def address(self) -> str:
        """The HTTPS address in the daemon's own network, for daemons beside it: ``https://127.0.0.<n>:8443``.

        It is the daemon's ``cluster.https_address``. The certificate is the same as on `url`, and names 127.0.0.1 only.
        """
        return f"https://127.0.0.{self._number}:8443"

    @property
    def certificate(self) -> Path:
        """The server's self-signed certificate (PEM); in a cluster, that of all its members."""
        cluster = self.directory / "cluster.crt"
        return cluster if cluster.exists() else self.directory / "server.crt"

    @property
    def client_cert(self) -> tuple[Path, Path]:
        """The certificate and the key (PEM) of a client that the daemon trusts."""
        return self.directory / "client.crt", self.directory / "client.key"

    def client(self, kind: Literal["unix", "https"] = "unix") -> Client:
        """A client of the daemon, not connected yet: over the unix socket, or over HTTPS with `client_cert`."""
        if kind == "unix":
            return Client(str(self.socket))
        return Client(self.url, cert=self.client_cert, server_cert=self.certificate)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Start the daemon and set it up; before that, remove what daemons of killed owners left behind.

        Raises `DaemonUnavailableError` when this machine lacks something, or with the end of the daemon's log when it
        does not start. Nothing remains of a start that failed or was cancelled.
        """
        if self._home is not None:
            raise RuntimeError("the daemon was started already")
        try:
            await _blocking(self._prepare)
            await _blocking(self._spawn)
            await self._ready()
            await self._set_up()
        except BaseException:
            await self.close()
            raise

    async def restart(self) -> None:
        """Stop the daemon and start it again, with the same addresses and all it knows.

        Its instances run on, and new connections wait meanwhile; existing ones are closed. After `kill()` it is what
        the next start of the machine would be: the instances that ran are started again.
        """
        await _blocking(self._restart)
        await self._ready()
        async with self.client() as client:
            await self._listen(client)

    async def kill(self) -> None:
        """Kill the daemon and everything it started, at once, as the loss of the machine would; its files remain."""
        await _blocking(self._kill)

    async def close(self) -> None:
        """End the daemon and all its instances, and remove everything of it. Does nothing if that was done."""
        await _blocking(self._close)

    def _started(self) -> _host.Home:
        if self._home is None:
            raise RuntimeError("this daemon is not started: use it inside `async with Daemon() as daemon`")
        return self._home

    def _prepare(self) -> None:
        self._programs = _host.preflight(image=self._image, root=self._root)
        try:
            _host.sweep()
            self._home = _host.Home(self._wanted)
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
        home, incusd = self._started(), self._programs["incusd"]
        # Nothing of the caller's environment may point the daemon elsewhere (INCUS_*, LISTEN_*, proxies).
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
                    *self._network(),
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

    def _network(self) -> list[str]:
        """The command that runs another one in the network that this daemon is to be in."""
        if self._beside is None:
            return [self._programs["unshare"], "--net"]
        if self._beside._namespaces is None:
            raise RuntimeError("the daemon to be beside is not running")
        return [self._programs["nsenter"], f"--net=/proc/{self._beside._namespaces.pid}/ns/net"]

    def _restart(self) -> None:
        # A daemon that knows its address from before would bind another one, in its own network, instead of taking the
        # listener that it gets. It runs this file as it starts, and `_listen` tells it again.
        patch = self._started().directory / "database" / "patch.local.sql"
        patch.write_text("DELETE FROM config WHERE key = 'core.https_address';")
        if not self._restart_alone():
            self._kill()
            self._spawn()

    def _restart_alone(self) -> bool:
        """Have `_init` start the daemon again, and it alone; whether there was something to do that."""
        if self._control is None:
            return False
        try:
            self._control.sendall(b"\n")
            return bool(self._control.recv(1))
        except ConnectionError:
            return False

    def _kill(self) -> None:
        if self._control is not None:
            # Not close() alone: a process that was forked off may have this socket too.
            with contextlib.suppress(OSError):
                self._control.shutdown(sockets.SHUT_RDWR)
            self._control.close()
            self._control = None
        if self._namespaces is not None:
            self._namespaces.wait()
            self._namespaces = None

    def _close(self) -> None:
        self._kill()
        home, self._home, self._port = self._home, None, 0
        if home is not None:
            home.remove()

    async def _ready(self) -> None:
        try:
            async with asyncio.timeout(_READY):
                while True:
                    if await self._is_ready():
                        return
                    await asyncio.sleep(0.02)
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
        trusted = {"name": "incus-sdk", "type": "client", "certificate": base64.b64encode(certificate).decode()}
        root = {"type": "disk", "path": "/", "pool": "default"}
        async with self.client() as client:
            await self._listen(client)
            inner = {"cluster.https_address": self.address.removeprefix("https://")}
            await client.query("PATCH", "/1.0", body={"config": inner})
            await client.query("POST", "/1.0/certificates", body=trusted)
            await client.query("POST", "/1.0/storage-pools", body={"name": "default", "driver": self._storage})
            await client.query("PATCH", "/1.0/profiles/default", body={"devices": {"root": root}})
            if self._image:
                image = await asyncio.to_thread(busybox_image, self._programs["busybox"])
                headers = {"Content-Type": "application/octet-stream", "X-Incus-filename": "busybox.tar"}
                imported = await (await client.query("POST", "/1.0/images", body=image, headers=headers)).wait()
                alias = {"name": "busybox", "target": imported.metadata["fingerprint"]}
                await client.query("POST", "/1.0/images/aliases", body=alias)

    async def _listen(self, client: Client) -> None:
        """Tell the daemon its address, for what it tells others; it is the one it listens on already."""
        address = {"core.https_address": self.url.removeprefix("https://")}
        await client.query("PATCH", "/1.0", body={"config": address})


async def _blocking(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run a function in a thread, always to its end: when cancelled meanwhile, that is raised afterwards."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    result = work.result()
    if cancelled is not None:
        raise cancelled
    return result
