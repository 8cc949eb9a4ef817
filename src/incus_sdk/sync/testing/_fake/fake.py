"""The fake: its listeners, its script, and its log.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....testing._fake import fake as _source
from ... import _twin

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any, Literal, Self, Unpack

    from ....testing._fake.commands import FakeCommand, FakeScript, Function, Pattern, ResultFields
    from ....testing._fake.files import FakeFiles
    from ....testing._fake.instance import FakeInstance
    from ....testing._fake.log import FakeRequests
    from ....testing._fake.rules import Drop, FakeRule
    from ...client import Client


class Fake(_twin.Twin):
    """An Incus server in this process, from `start()` to `close()`, or for the time of ``with``.

    It speaks what Incus speaks, so any client can use it, and keeps in memory what it is told: instances, images,
    profiles, projects, networks, volumes, files. It begins as `Daemon` does: with the storage pool ``default``, the
    profile ``default`` with a root disk and no network, and the image ``busybox``. It needs neither root nor Linux nor
    Incus. Nothing runs in its instances: what a command does there is what the test says. Of other servers it has every
    image that is asked for, without asking them.

        with Fake() as fake, fake.client() as client:
            fake.on_request("GET", "/1.0/instances/*", status=503, times=2)
            my_code(client)
            fake.requests.assert_made("POST", "/1.0/instances")

    Args:
        without: API extensions that it lacks, as an older server does.
        directory: For its socket and certificates, an existing directory; None makes one in the directory for temporary
            files. `close()` removes what it put there.

    Raises:
        IncusInputError: There is no such extension.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Fake: ...

    def __init__(self, *, without: Iterable[str] = (), directory: str | os.PathLike[str] | None = None) -> None:
        self._begin(_source.Fake(without=without, directory=directory))

    @property
    def directory(self) -> Path:
        """The directory of its socket and certificates."""
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
    def certificate(self) -> Path:
        """The server's self-signed certificate (PEM)."""
        return self._async.certificate

    @property
    def client_cert(self) -> tuple[Path, Path]:
        """The certificate and key (PEM) of a client that the fake trusts."""
        return self._async.client_cert

    @property
    def requests(self) -> FakeRequests:
        """The requests that it got, in their order, with helpers to assert what tests expect of them."""
        return self._async.requests

    def client(self, kind: Literal["unix", "https"] = "unix") -> Client:
        """Make a client of the fake, which is not connected yet.

        Args:
            kind: Over the unix socket, which Windows lacks, or over HTTPS with `client_cert`.
        """
        result: Client = self._wrap(self._async.client(kind))
        return result

    def instance(self, name: str, *, project: str = "default") -> FakeInstance:
        """An instance, to put something into it or look at it without a request.

        Args:
            name: Its name.
            project: Its project.

        Raises:
            IncusInputError: There is none of that name now.
        """
        return self._async.instance(name, project=project)

    @property
    def image_files(self) -> FakeFiles:
        """The files that new instances have, each its own copy; for code that makes its instances itself.

        fake.image_files["/etc/os-release"] = "ID=debian"
        """
        return self._async.image_files

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
        ``sh -c`` of them and of scripted ones. Any other fails, and leaving the ``with`` block says so.

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
        return self._async.on_exec(command, run=run, instance=instance, times=times, **result)

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
        self._async.warn(type, message, severity=severity, project=project, entity_url=entity_url)

    @property
    def commands(self) -> list[FakeCommand]:
        """All commands that ran in its instances, in their order."""
        return self._async.commands

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
        return self._async.on_request(
            method,
            path,
            status=status,
            error=error,
            metadata=metadata,
            delay=delay,
            drop=drop,
            times=times,
            after=after,
        )

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
        return self._async.on_operation(
            method, path, fails=fails, log=log, delay=delay, progress=progress, times=times, after=after
        )

    def __enter__(self) -> Self:
        return self._enter(self._async.__aenter__())

    def __exit__(self, exception_type: type[BaseException] | None, *_: object) -> None:
        self._portal.end(self._async.__aexit__(exception_type, *_))

    def start(self) -> None:
        """Listen.

        Raises:
            RuntimeError: It was started already.
        """
        self._portal.run(self._async.start())

    def close(self) -> None:
        """End it, and break its connections; a second call does nothing."""
        self._portal.end(self._async.close())
