"""The fake: its listeners, its script, and its log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket as sockets
import ssl
import sys
import tempfile
from collections.abc import Awaitable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Self, Unpack

from ... import Client
from ...exceptions import IncusInputError
from .answers import error, refusal
from .areas import Areas, table
from .commands import FakeCommand, FakeScript, Function, Pattern, ResultFields
from .connection import ServerConnection
from .extensions import EXTENSIONS
from .files import FakeFiles
from .instance import FakeInstance
from .log import FakeRequests
from .requests import FakeRequest
from .routing import Router
from .rules import Drop, FakeRule, OperationRule, RequestRule, answer_of
from .state import State
from .streams import AnyAnswer


class Fake:
    """An Incus server in this process, from `start()` to `close()`, or for the time of ``async with``.

    It speaks what Incus speaks, so any client can use it, and keeps in memory what it is told: instances, images,
    profiles, projects, networks, volumes, files. It begins as `Daemon` does: with the storage pool ``default``, the
    profile ``default`` with a root disk and no network, and the image ``busybox``. It needs neither root nor Linux nor
    Incus. Nothing runs in its instances: what a command does there is what the test says. Of other servers it has every
    image that is asked for, without asking them.

        async with Fake() as fake, fake.client() as client:
            fake.on_request("GET", "/1.0/instances/*", status=503, times=2)
            await my_code(client)
            fake.requests.assert_made("POST", "/1.0/instances")

    Args:
        without: API extensions that it lacks, as an older server does.
        directory: For its socket and certificates, an existing directory; None makes one in the directory for temporary
            files. `close()` removes what it put there.

    Raises:
        IncusInputError: There is no such extension.
    """

    def __init__(self, *, without: Iterable[str] = (), directory: str | os.PathLike[str] | None = None) -> None:
        lacking = frozenset([without] if isinstance(without, str) else without)
        if unknown := sorted(lacking - set(EXTENSIONS)):
            raise IncusInputError(f"the fake has no API extension {unknown[0]!r} that it could lack")
        self._state = State()
        self._areas = Areas(self._state, lacking)
        self._areas.begin()
        self._router = Router(table(self._areas))
        self._requests = FakeRequests()
        self._given_directory = None if directory is None else Path(directory)
        self._directory: Path | None = None
        self._listeners: list[asyncio.Server] = []
        self._connections: set[ServerConnection] = set()
        self._tls: ssl.SSLContext | None = None
        self._has_identity = False

    @property
    def directory(self) -> Path:
        """The directory of its socket and certificates."""
        if self._directory is None:
            raise RuntimeError("the fake is not started: enter it as a context manager, or call start()")
        return self._directory

    @property
    def socket(self) -> Path:
        """The unix socket."""
        return self.directory / "unix.socket"

    @property
    def url(self) -> str:
        """The HTTPS address, on this machine's loopback: ``https://127.0.0.1:<port>``."""
        self._identify()
        return f"https://{self._state.address}"

    @property
    def certificate(self) -> Path:
        """The server's self-signed certificate (PEM)."""
        return self._identify() / "server.crt"

    @property
    def client_cert(self) -> tuple[Path, Path]:
        """The certificate and key (PEM) of a client that the fake trusts."""
        directory = self._identify()
        return directory / "client.crt", directory / "client.key"

    @property
    def requests(self) -> FakeRequests:
        """The requests that it got, in their order, with helpers to assert what tests expect of them."""
        return self._requests

    def client(self, kind: Literal["unix", "https"] = "unix") -> Client:
        """Make a client of the fake, which is not connected yet.

        Args:
            kind: Over the unix socket, which Windows lacks, or over HTTPS with `client_cert`.
        """
        if kind == "unix":
            return Client(str(self.socket))
        return Client(self.url, cert=self.client_cert, server_cert=self.certificate)

    def instance(self, name: str, *, project: str = "default") -> FakeInstance:
        """An instance, to put something into it or look at it without a request.

        Args:
            name: Its name.
            project: Its project.

        Raises:
            IncusInputError: There is none of that name now.
        """
        machines = self._state.machines.of(project)
        if name not in machines:
            known = f"there are {', '.join(sorted(machines))}" if machines else "there are none"
            raise IncusInputError(f"the fake has no instance {name!r} in the project {project!r}: {known}")
        return FakeInstance(machines[name])

    @property
    def image_files(self) -> FakeFiles:
        """The files that new instances have, each its own copy; for code that makes its instances itself.

        fake.image_files["/etc/os-release"] = "ID=debian"
        """
        return self._state.new_files

    def on_exec(
        self,
        command: Pattern = None,
        *,
        run: Function | None = None,
        instance: str | None = None,
        times: int | None = None,
        **result: Unpack[ResultFields],
    ) -> FakeScript:
        """Say what a command does in the instances; of several scripts that fit, the newest one counts.

            fake.on_exec(["uname", "-a"], stdout="Linux")
            fake.on_exec(["systemctl", ...], returncode=1, stderr="failed").then(returncode=0)
            fake.on_exec(["sleep", ...], hang=True)
            fake.on_exec(["tr", "a-z", "A-Z"], run=lambda command: command.input.upper())
            fake.on_exec(error="VM agent isn't currently running", instance="vm*", times=2)

        A few commands need no script: ``true``, ``false``, ``echo``, ``cat``, ``pwd``, ``env``, ``sleep``, and
        ``sh -c`` of them and of scripted ones. Any other fails, and leaving the ``async with`` block says so.

        Args:
            command: Its words; ``...`` at their end stands for any others. Or a function that is called with a
                `FakeCommand` and says whether this is for it. None is for all commands.
            run: What it does: a function, called with a `FakeCommand`. It returns its exit code, its stdout or a
                `FakeResult`. One that waits meanwhile can do more: see `FakeCommand`.
            instance: The name of the instance that it is for; ``*`` stands for any part of it. None is for all.
            times: For how many commands; None for all.
            **result: What it does, without a function: see `FakeResult`.

        Returns:
            The script. Its `FakeScript.then` says what the next of these commands does; ``calls`` has all that came.

        Raises:
            IncusInputError: No instance can have that name, or the arguments contradict each other.
        """
        if instance is not None and not re.fullmatch(r"[A-Za-z*][A-Za-z0-9*-]*", instance):
            raise IncusInputError(f"no instance can be called {instance!r}")
        return self._state.commands.on_exec(
            command,
            run=run,
            times=times,
            where=lambda each: instance is None or fnmatchcase(each.instance, instance),
            **result,
        )

    def warn(
        self,
        type: str,
        message: str = "",
        *,
        severity: Literal["low", "moderate", "high"] = "low",
        project: str = "",
        entity_url: str = "",
    ) -> None:
        """Add one of the server's warnings; a new fake has none.

        Args:
            type: As ``Instance type not operational``.
            message: Its message.
            severity: How bad it is.
            project: The project that it is about.
            entity_url: The path of what it is about.
        """
        self._areas.warnings.warn(type, message, severity, project, entity_url)

    @property
    def commands(self) -> list[FakeCommand]:
        """All commands that ran in its instances, in their order."""
        return self._state.commands.calls

    def on_request(
        self,
        method: str,
        path: str,
        *,
        status: int | None = None,
        error: str | None = None,
        metadata: Any = None,
        delay: float = 0,
        drop: Drop | None = None,
        times: int | None = None,
        after: int = 0,
    ) -> FakeRule:
        """Let something happen to requests; of several rules that fit, the newest one counts.

            fake.on_request("GET", "/1.0/instances/*", status=503, times=2)
            fake.on_request("PUT", "/1.0/instances/c1", status=412, after=1)
            fake.on_request("POST", "/1.0/images", drop="body")

        Args:
            method: As ``GET``; ``*`` for any.
            path: Without a query; ``*`` stands for one name in it, ``**`` for any number.
            status: The HTTP code of an error, with which they are answered.
            error: Its message; with no ``status``, of a 500.
            metadata: A value, with which they are answered.
            delay: Seconds until they are answered.
            drop: The connection breaks, before anything was done (``request``), before the answer to what was done
                (``answer``), or in the middle of it (``body``).
            times: How often; None for always.
            after: How many of them are treated as usual before.

        Returns:
            The rule, which can be removed.

        Raises:
            IncusInputError: No request can ever fit, or the arguments contradict each other.
        """
        if drop not in (None, "request", "answer", "body"):
            raise IncusInputError(f"drop= is one of request, answer and body, not {drop!r}")
        answer = answer_of(status, error, metadata)
        if answer is None and not delay and drop is None:
            raise IncusInputError("a rule needs something to happen: status=, error=, metadata=, delay= or drop=")
        rule = RequestRule(method, path, times, after, answer, delay, drop)
        self._state.rules.add(rule)
        return rule

    def on_operation(
        self,
        method: str,
        path: str,
        *,
        fails: str | None = None,
        log: str | None = None,
        delay: float = 0,
        progress: Iterable[tuple[str, int]] = (),
        times: int | None = None,
        after: int = 0,
    ) -> FakeRule:
        """Let something happen to the operations that requests begin.

            fake.on_operation("PUT", "/1.0/instances/c1/state", fails="Failed to run: ...", log="lxc c1 ERROR ...")
            fake.on_operation("POST", "/1.0/instances", delay=0.1, progress=[("download", 10), ("download", 90)])

        Args:
            method: Of the request, as ``POST``; ``*`` for any.
            path: Of the request: see `on_request`.
            fails: The error with which they fail, without having done anything.
            log: What the instance's log says then.
            delay: Seconds until they are over.
            progress: How far they are, in equal steps until then: a stage as ``download``, and percent.
            times: How often; None for always.
            after: How many of them are treated as usual before.

        Returns:
            The rule, which can be removed.

        Raises:
            IncusInputError: No request can ever fit, or the arguments say nothing.
        """
        if fails is None and not delay and not progress:
            raise IncusInputError("a rule needs something to happen: fails=, delay= or progress=")
        rule = OperationRule(method, path, times, after, fails, delay, progress, log)
        self._state.rules.add(rule)
        return rule

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, exception_type: type[BaseException] | None, *_: object) -> None:
        await self.close()
        if exception_type is None:
            self._state.commands.check()

    async def start(self) -> None:
        """Listen.

        Raises:
            RuntimeError: It was started already.
        """
        if self._directory is not None:
            raise RuntimeError("the fake was started already")
        self._directory = self._given_directory or Path(tempfile.mkdtemp(prefix="incus-fake-"))
        loop = asyncio.get_running_loop()
        try:
            if sys.platform != "win32":
                self._listeners.append(await loop.create_unix_server(self._connected, str(self.socket)))
            # Without a certificate until somebody wants to know where this is: making one takes time.
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            https = sockets.create_server(("127.0.0.1", 0))
            self._state.address = f"127.0.0.1:{https.getsockname()[1]}"
            self._listeners.append(await loop.create_server(self._connected, sock=https, ssl=self._tls))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End it, and break its connections; a second call does nothing."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
        for connection in list(self._connections):
            await connection.end()
        await self._state.operations.close()
        directory, self._directory = self._directory, None
        if directory is not None:
            if self._given_directory is None:
                shutil.rmtree(directory, ignore_errors=True)
            else:
                for name in ("unix.socket", "server.crt", "client.crt", "client.key"):
                    with contextlib.suppress(OSError):
                        (directory / name).unlink()

    def _connected(self) -> ServerConnection:
        return ServerConnection(self._handle, self._connections)

    def _identify(self) -> Path:
        directory = self.directory
        if not self._has_identity and self._tls is not None:
            from .identity import make_identity  # which takes longer to import than all the rest

            server, own = make_identity(self._tls, directory)
            self._areas.certificates.trust_own(server, own)
            self._has_identity = True
        return directory

    def _handle(self, request: FakeRequest) -> AnyAnswer | Awaitable[AnyAnswer]:
        self._requests._add(request)
        self._state.events.log_request(request)
        rule = self._state.rules.request_rule(request)
        return self._answer(request) if rule is None else rule.perform(request, self._answer)

    def _answer(self, request: FakeRequest) -> AnyAnswer | Awaitable[AnyAnswer]:
        try:
            self._areas.check_trust(request)
            handler, names = self._router.find(request.method, request._raw_path)
            answer = handler(request, *names)
        except Exception as failure:
            refused = refusal(failure, f"{request.method} {request.path}")
            return error(refused.status, refused.message)
        return answer
