"""A box: an instance that is closed, used once, and gone afterwards.

Made by ``tools/blocking.py`` from the module of the same name.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, overload

from ...sandbox import _box as _source
from ...sandbox._box import MAX_FILE, MAX_OUTPUT, MAX_TREE
from .. import _twin

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Literal, Self

    from ..._outputs import Output, Stream
    from ...api._forwarding import LocalAddress
    from ...files._trees import Transfer
    from ...process import ProcessResult
    from ...sandbox._network import Network
    from ..api.instances import Instance


class Box(_twin.Twin):
    """A sandbox: a hardened container, from `Pool.lease`, `Box.fork` or `connect`.

    **Provisional.** It is used once, and then destroyed. If it stops by itself, because something in it killed it, all
    that runs in it raises `IncusInstanceStoppedError`, and what comes later `IncusNotRunningError`; `rollback` starts
    it again.
    """

    if TYPE_CHECKING:

        @property
        def _async(self) -> _source.Box: ...

    def __enter__(self) -> Self:
        return self._enter(self._async.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(self._async.__aexit__(kind, error, trace))

    @property
    def id(self) -> str:
        """What `connect` finds it by: the name of its instance."""
        return self._async.id

    @property
    def instance(self) -> Instance:
        """Its instance, with all that the SDK can do."""
        result: Instance = self._wrap(self._async.instance)
        return result

    @property
    def labels(self) -> dict[str, str]:
        """Its labels: those of its pool, and its own."""
        return self._async.labels

    @property
    def expires_at(self) -> datetime:
        """When its time is over, and whoever prunes first destroys it; see `extend`."""
        return self._async.expires_at

    @overload
    def run(
        self,
        command: Sequence[str],
        *,
        input: _twin.Input = None,
        stdout: Output = None,
        stderr: Output = None,
        text: Literal[False] = False,
        encoding: str = "utf-8",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        login: bool = False,
        timeout: float | None = None,
        grace: float = 0.0,
        check: bool = False,
        max_output: int | None = MAX_OUTPUT,
        kill_tree: bool = True,
    ) -> ProcessResult[bytes]: ...
    @overload
    def run(
        self,
        command: Sequence[str],
        *,
        input: _twin.Input = None,
        stdout: Output = None,
        stderr: Output = None,
        text: Literal[True],
        encoding: str = "utf-8",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        login: bool = False,
        timeout: float | None = None,
        grace: float = 0.0,
        check: bool = False,
        max_output: int | None = MAX_OUTPUT,
        kill_tree: bool = True,
    ) -> ProcessResult[str]: ...
    def run(
        self,
        command: Sequence[str],
        *,
        input: _twin.Input = None,
        stdout: Output = None,
        stderr: Output = None,
        text: bool = False,
        encoding: str = "utf-8",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        login: bool = False,
        timeout: float | None = None,
        grace: float = 0.0,
        check: bool = False,
        max_output: int | None = MAX_OUTPUT,
        kill_tree: bool = True,
    ) -> ProcessResult[bytes] | ProcessResult[str]:
        """Run a command to its end, as `Instance.run` does, but with other defaults.

        Args:
            command: Program and arguments; no shell reads them.
            input: What the command reads from stdin: see `Instance.run`.
            stdout: Where stdout goes: see `Instance.run`.
            stderr: The same for stderr.
            text: Return the output as str instead of bytes.
            encoding: Of the output as str, and of ``input`` as str.
            env: Variables on top of those of the box.
            cwd: The directory to start in.
            user: A numeric id, or a name that the box knows; None for root.
            group: A numeric id, or a name that the box knows.
            login: Run it as ``su -`` does.
            timeout: Seconds after which it is killed; None for no limit.
            grace: Seconds from SIGTERM to SIGKILL; none, unless you say so.
            check: Raise `ProcessError` for an exit code other than 0.
            max_output: Bytes that stdout and stderr may have each; None for no limit.
            kill_tree: If it is killed, also kill what it has started.

        Raises:
            IncusInputError: An argument is invalid.
            IncusNotFoundError: The box is gone.
            IncusNotRunningError: It is not running.
            IncusFrozenError: It is paused.
            IncusInstanceStoppedError: It stopped, or was destroyed, and the command with it.
            IncusTimeoutError: The command ran for more than ``timeout`` seconds. The error has the output until then.
            ProcessError: The command wrote more than ``max_output`` or, with ``check``, failed.

        API:
            ``POST /1.0/instances/{name}/exec``
        """
        held: Any = self._async
        result: ProcessResult[bytes] | ProcessResult[str] = self._portal.run(
            held.run(
                command,
                input=_twin.given_input(input, encoding),
                stdout=_twin.given_output(stdout),
                stderr=_twin.given_output(stderr),
                text=text,
                encoding=encoding,
                env=env,
                cwd=cwd,
                user=user,
                group=group,
                login=login,
                timeout=timeout,
                grace=grace,
                check=check,
                max_output=max_output,
                kill_tree=kill_tree,
            )
        )
        return result

    def run_code(
        self,
        language: str,
        code: str,
        *,
        args: Sequence[str] = (),
        input: bytes | str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        timeout: float | None = None,
        check: bool = False,
        max_output: int | None = MAX_OUTPUT,
    ) -> ProcessResult[str]:
        """Run code to its end, and return its exit code and all it wrote, as text.

            result = box.run_code("python", "print(6 * 7)", timeout=30)
            print(result.stdout)

        Args:
            language: ``python``, ``sh``, ``bash``, ``node`` (or ``javascript``), ``perl`` or ``ruby``.
            code: The program.
            args: Its arguments.
            input: What it reads from stdin; None ends stdin at once.
            env: Variables on top of those of the box.
            cwd: The directory to start in.
            user: A numeric id, or a name that the box knows; None for root.
            timeout: Seconds after which it is killed, with all that it has started; None for no limit.
            check: Raise `ProcessError` for an exit code other than 0.
            max_output: Bytes that stdout and stderr may have each; None for no limit.

        Raises:
            IncusInputError: The SDK does not know the language, or the box has no interpreter of it.
            IncusNotFoundError: The box is gone.
            IncusNotRunningError: It is not running.
            IncusFrozenError: It is paused.
            IncusInstanceStoppedError: It stopped, or was destroyed, and the code with it.
            IncusTimeoutError: The code ran for more than ``timeout`` seconds. The error has the output until then.
            ProcessError: The code wrote more than ``max_output`` or, with ``check``, failed.

        API:
            ``POST /1.0/instances/{name}/exec``
        """
        return self._portal.run(
            self._async.run_code(
                language,
                code,
                args=args,
                input=input,
                env=env,
                cwd=cwd,
                user=user,
                timeout=timeout,
                check=check,
                max_output=max_output,
            )
        )

    def stream(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        timeout: float | None = None,
        check: bool = False,
    ) -> Generator[tuple[Stream, bytes]]:
        """Run a command, and read all its output as it comes.

            for stream, data in box.stream(["pytest", "-q"]):
                print(stream, data)

        The command waits for a reader that lags behind, and is killed when the loop is left.

        Args:
            command: Program and arguments; no shell reads them.
            env: Variables on top of those of the box.
            cwd: The directory to start in.
            user: A numeric id, or a name that the box knows; None for root.
            timeout: Seconds after which it is killed; None for no limit.
            check: At the end, raise `ProcessError` for an exit code other than 0.

        Yields:
            The stream, and a piece of what was written to it. The two go over different connections, so the order is
            that of arrival.

        Raises:
            IncusInputError: An argument is invalid.
            IncusNotRunningError: The box is not running.
            IncusInstanceStoppedError: It stopped, or was destroyed, and the command with it.
            IncusTimeoutError: The command ran for more than ``timeout`` seconds.
            ProcessError: With ``check``: the command failed.

        API:
            ``POST /1.0/instances/{name}/exec``
        """
        return self._portal.iterate(
            self._async.stream(command, env=env, cwd=cwd, user=user, timeout=timeout, check=check), self._wrap
        )

    def read(self, path: str, *, limit: int | None = MAX_FILE) -> bytes:
        """Read a file. Links are followed inside of the box, and lead nowhere else.

        Args:
            path: An absolute path.
            limit: The bytes that it may have; a longer one is an error, and not read on. None for no limit.

        Raises:
            IncusInputError: ``limit`` is not a number of bytes.
            IncusNotFoundError: There is no such file.
            IncusAPIError: It is not a regular file, or longer than the limit.

        API:
            ``GET /1.0/instances/{name}/sftp``, upgraded
        """
        return self._portal.run(self._async.read(path, limit=limit))

    def write(self, path: str, data: bytes | str, *, mode: int | None = None) -> None:
        """Write a file, new or in place of the old content; missing directories above it are made.

        Args:
            path: An absolute path.
            data: The content; a str is written as UTF-8.
            mode: Its permissions, new or not; None keeps them, and gives a new file 0644.

        Raises:
            IncusInputError: ``data`` is something else, or no text that UTF-8 has.
            IncusAPIError: The path is not a regular file.

        API:
            ``GET /1.0/instances/{name}/sftp``, upgraded
        """
        self._portal.run(self._async.write(path, data, mode=mode))

    def list_files(self, path: str = "/") -> list[str]:
        """List the names in a directory, in the order of the alphabet; those of directories end with a slash.

        Args:
            path: An absolute path.

        Raises:
            IncusNotFoundError: There is no such directory.
            IncusAPIError: It is not a directory.

        API:
            ``GET /1.0/instances/{name}/sftp``, upgraded
        """
        return self._portal.run(self._async.list_files(path))

    def push(self, local: str | os.PathLike[str], path: str) -> Transfer:
        """Make a path in the box the copy of a local file or tree: see `RemotePath.push`.

        Everything is root's in the box.

        Args:
            local: The local file or directory.
            path: An absolute path.

        Raises:
            IncusInputError: An argument is invalid.
            IncusError: It could not be written.
            OSError: A local file cannot be read.

        API:
            ``GET /1.0/instances/{name}/sftp``, upgraded; ``POST /1.0/instances/{name}/exec`` for small files
        """
        return self._portal.run(self._async.push(local, path))

    def pull(
        self,
        path: str,
        local: str | os.PathLike[str],
        *,
        links: Literal["keep", "skip"] = "skip",
        limit: int | None = MAX_TREE,
    ) -> Transfer:
        """Make a local path the copy of a file or tree of the box: see `RemotePath.pull`.

        Links are not followed. Nor are they copied, since they can lead to any file of this machine.

        Args:
            path: An absolute path.
            local: The local path.
            links: ``"keep"`` copies links as they are.
            limit: The bytes that may be copied: more is an error, and what is complete by then stays. None for no
                limit.

        Raises:
            IncusInputError: An argument is invalid.
            IncusNotFoundError: There is no such path.
            IncusError: It could not be read, or has more than ``limit`` bytes.
            OSError: A local file cannot be written.

        API:
            ``GET /1.0/instances/{name}/sftp``, upgraded; ``POST /1.0/instances/{name}/exec`` for small files
        """
        return self._portal.run(self._async.pull(path, local, links=links, limit=limit))

    def fork(self, *, labels: Mapping[str, str] | None = None, ttl: float | None = None) -> Box:
        """Make another box with the files that this one has now, and start it; processes are not copied.

            with box.fork() as branch:
                branch.run(["make", "other"])

        It goes at the end of its block if it has one, with the pool, or when its time is over.

        Args:
            labels: Labels on top of those of this box.
            ttl: Seconds until it expires; None for as long as this box has left.

        Returns:
            The new box.

        Raises:
            IncusInputError: An argument is invalid.
            IncusNotFoundError: The box is gone.
            IncusOperationError: It could not be copied or started: the disk is full, for example.

        API:
            ``POST /1.0/instances`` and ``PUT /1.0/instances/{name}/state``
        """
        result: Box = self._wrap(self._portal.run(self._async.fork(labels=labels, ttl=ttl)))
        return result

    def snapshot(self, name: str | None = None) -> str:
        """Keep the files of the box as they are now.

        Args:
            name: A name for it; None lets the server pick one.

        Returns:
            The name, for `rollback`.

        Raises:
            IncusNotFoundError: The box is gone.
            IncusOperationError: It could not be taken; its name is taken, for example.

        API:
            ``POST /1.0/instances/{name}/snapshots``
        """
        return self._portal.run(self._async.snapshot(name))

    def rollback(self, name: str) -> None:
        """Bring the files of the box back to a snapshot. Its processes end, and it starts anew, also if it had stopped.

        A caller who is cancelled meanwhile leaves it stopped, as it was or as it is in the snapshot.

        Args:
            name: What `snapshot` returned.

        Raises:
            IncusNotFoundError: The box is gone, or there is no such snapshot.
            IncusOperationError: It could not be restored.

        API:
            ``GET /1.0/instances/{name}/snapshots/{snapshot}``, ``PUT /1.0/instances/{name}`` and
            ``PUT /1.0/instances/{name}/state``
        """
        self._portal.run(self._async.rollback(name))

    def preview(self, port: int, *, local_port: int = 0) -> AbstractContextManager[LocalAddress]:
        """Forward a port of this machine to one inside, for the time of ``with``. It needs no network.

            with box.preview(8000) as (host, port):
                print(f"http://{host}:{port}")

        Only programs of this machine can connect, any number at a time.

        Args:
            port: The TCP port inside.
            local_port: The port of 127.0.0.1; 0 for a free one.

        Yields:
            The local host and port. All connections end with the block.

        Raises:
            IncusInputError: ``port`` or ``local_port`` is not a port, or the latter is taken.
            IncusNotFoundError: The box is gone.

        API:
            ``POST /1.0/instances/{name}/port-forward``, upgraded to ``tcp``, for each connection. Where the server
            lacks the extension, as 6.0 does, ``POST /1.0/instances/{name}/exec`` of the box' ``nc`` or ``bash``.
        """
        return self._portal.enter(self._async.preview(port, local_port=local_port), self._wrap)

    def pause(self) -> None:
        """Freeze all processes of the box, until `resume`; its time goes on.

        Raises:
            IncusNotFoundError: The box is gone.
            IncusOperationError: It could not be paused.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        self._portal.run(self._async.pause())

    def resume(self) -> None:
        """Let the processes of a paused box go on.

        Raises:
            IncusNotFoundError: The box is gone.
            IncusOperationError: It could not be resumed; it was not paused, for example.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        self._portal.run(self._async.resume())

    def extend(self, ttl: float) -> datetime:
        """Give the box more time.

        Args:
            ttl: Seconds from now on.

        Returns:
            When it expires now.

        Raises:
            IncusInputError: ``ttl`` is not a number of seconds.
            IncusNotFoundError: The box is gone.

        API:
            ``GET`` and ``PUT /1.0/instances/{name}``
        """
        return self._portal.run(self._async.extend(ttl))

    def set_network(self, network: Network | None) -> None:
        """Change what the box may reach, while it runs.

        Args:
            network: What it may reach; None for nothing at all.

        Raises:
            IncusInputError: It is no `Network`, or its bridge is not fit for it.
            IncusNotFoundError: The box is gone.
            IncusOperationError: The NIC could not be changed.

        API:
            ``GET`` and ``PUT /1.0/instances/{name}``
        """
        self._portal.run(self._async.set_network(_twin.used(network)))

    def destroy(self) -> None:
        """Stop the box and delete it, with its snapshots; one that is gone already is no error.

        If the caller is cancelled meanwhile, it is finished nevertheless.

        Raises:
            IncusError: It could not be deleted.

        API:
            ``PUT /1.0/instances/{name}/state`` and ``DELETE /1.0/instances/{name}``
        """
        self._portal.run(self._async.destroy())
