"""A box: an instance that is closed, used once, and gone afterwards."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from .._concurrency import shielded
from .._connection import wire
from ..api._forwarding import LocalAddress, local_listener
from ..exceptions import (
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusUnsupportedError,
)
from . import _keys
from ._inner_ports import connected
from ._languages import command_for, missing
from ._live_output import stream_command
from ._network import NIC, Network

if TYPE_CHECKING:
    from .._outputs import Output, Stream
    from ..api.instances import Instance
    from ..client import Client
    from ..files import Transfer
    from ..operations import Progress
    from ..process import Input, ProcessResult

MAX_OUTPUT = 2**24
"""Bytes of an output of a command, unless the caller says otherwise: a box can write without end."""
MAX_FILE = 2**24
"""Bytes of a file that is read, unless the caller says otherwise."""
MAX_TREE = 2**30
"""Bytes of a tree that is pulled, unless the caller says otherwise."""


class Box:
    """A sandbox: a hardened container, from `Pool.lease`, `Box.fork` or `connect`.

    **Provisional.** It is used once, and then destroyed. If it stops by itself, because something in it killed it, all
    that runs in it raises `IncusInstanceStoppedError`, and what comes later `IncusNotRunningError`; `rollback` starts
    it again.
    """

    def __init__(self, client: Client, instance: Instance) -> None:
        self._client = client
        self._instance = instance

    def __repr__(self) -> str:
        return f"<Box {self.id}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.destroy()

    @property
    def id(self) -> str:
        """What `connect` finds it by: the name of its instance."""
        return self._instance.name

    @property
    def instance(self) -> Instance:
        """Its instance, with all that the SDK can do."""
        return self._instance

    @property
    def labels(self) -> dict[str, str]:
        """Its labels: those of its pool, and its own."""
        return _keys.labels(self._instance)

    @property
    def expires_at(self) -> datetime:
        """When its time is over, and whoever prunes first destroys it; see `extend`."""
        return _keys.expiry(self._instance)

    @overload
    async def run(
        self,
        command: Sequence[str],
        *,
        input: Input = None,
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
    async def run(
        self,
        command: Sequence[str],
        *,
        input: Input = None,
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
    async def run(
        self,
        command: Sequence[str],
        *,
        input: Input = None,
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
        how: dict[str, Any] = {"input": input, "stdout": stdout, "stderr": stderr, "encoding": encoding, "env": env}
        how |= {"cwd": cwd, "user": user, "group": group, "login": login, "timeout": timeout, "grace": grace}
        how |= {"check": check, "max_output": max_output, "kill_tree": kill_tree}
        run: Any = self._instance.run  # whose overloads take no bool
        result: ProcessResult[bytes] | ProcessResult[str] = await run(command, text=text, **how)
        return result

    async def run_code(
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

            result = await box.run_code("python", "print(6 * 7)", timeout=30)
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
        command, file = command_for(language, code)
        if file is not None:
            await self.write(file, code)
        result = await self.run(
            [*command, *args],
            input=input,
            text=True,
            env=env,
            cwd=cwd,
            user=user,
            timeout=timeout,
            max_output=max_output,
        )
        if result.returncode == 127 and await missing(self._instance, [language]):
            raise IncusInputError(
                f"{self.id} has no {command[0]}, which {language} needs: use an image that has it, or install it in "
                f"prepare= of the pool; Pool(languages=[{language!r}]) looks for it before a box is made"
            )
        if check:
            result.check_returncode()
        return result

    async def stream(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        timeout: float | None = None,
        check: bool = False,
    ) -> AsyncIterator[tuple[Stream, bytes]]:
        """Run a command, and read all its output as it comes.

            async for stream, data in box.stream(["pytest", "-q"]):
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
        how = {"env": env, "cwd": cwd, "user": user, "timeout": timeout, "check": check, "grace": 0, "kill_tree": True}
        async with aclosing(stream_command(self._instance, command, how)) as pieces:
            async for piece in pieces:
                yield piece

    async def read(self, path: str, *, limit: int | None = MAX_FILE) -> bytes:
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
        return await self._instance.path(path).read_bytes(limit=limit)

    async def write(self, path: str, data: bytes | str, *, mode: int | None = None) -> None:
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
        if not isinstance(data, bytes | str):
            raise IncusInputError(f"data must be bytes or str, not {type(data).__name__}")
        try:
            content = data.encode() if isinstance(data, str) else data
        except UnicodeEncodeError as error:
            raise IncusInputError(f"data cannot be written as UTF-8: {error}") from None
        async with self._instance.path(path).connected() as file:
            try:
                await file.write_bytes(content, mode=mode)
            except IncusNotFoundError:
                await file.parent.mkdir(parents=True, exist_ok=True)
                await file.write_bytes(content, mode=mode)

    async def list_files(self, path: str = "/") -> list[str]:
        """List the names in a directory, in the order of the alphabet; those of directories end with a slash.

        Args:
            path: An absolute path.

        Raises:
            IncusNotFoundError: There is no such directory.
            IncusAPIError: It is not a directory.

        API:
            ``GET /1.0/instances/{name}/sftp``, upgraded
        """
        async for _, directories, others in self._instance.path(path).walk():
            return sorted([*(f"{name}/" for name in directories), *others])
        return []

    async def push(self, local: str | os.PathLike[str], path: str) -> Transfer:
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
        return await self._instance.path(path).push(local, uid=0, gid=0)

    async def pull(
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
        wire.length(limit, "limit")

        def watch(progress: Progress) -> None:
            if limit is not None and max(progress.processed or 0, progress.total or 0) > limit:
                raise IncusError(f"{path} in {self.id} has more than {limit} bytes: raise limit= to pull it")

        pull = self._instance.path(path).pull
        return await pull(local, follow_symlinks=False, links=links, owners=False, progress=watch)

    async def fork(self, *, labels: Mapping[str, str] | None = None, ttl: float | None = None) -> Box:
        """Make another box with the files that this one has now, and start it; processes are not copied.

            async with await box.fork() as branch:
                await branch.run(["make", "other"])

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
        own = _keys.label_keys(labels)
        if ttl is None:  # another process may have extended its time
            await self._instance.refresh()
        seconds = max(_keys.seconds_left(self._instance), 1) if ttl is None else _keys.seconds(ttl, "ttl")
        handle = self._client.instances[_keys.new_name()]
        config = self._instance.config
        marks = _keys.marks(handle, "fork", config.get(_keys.POOL, ""), config.get(_keys.KEEPER, ""), seconds)
        copy = await self._instance.copy(
            handle.name, instance_only=True, allow_inconsistent=True, config={**marks, **own}, start=True
        )
        return Box(self._client, copy)

    async def snapshot(self, name: str | None = None) -> str:
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
        return (await self._instance.snapshots.create(name)).name

    async def rollback(self, name: str) -> None:
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
        instance = self._instance
        await instance.snapshots.get(name)
        if (await instance.refresh()).status != "Stopped":
            await instance.stop(force=True, wait=True)
        await shielded(self._restore(name))
        await instance.start(wait=True)
        await instance.refresh()

    async def _restore(self, name: str) -> None:
        # With the files, the configuration comes back: a time that was extended since, a network that was taken away.
        before, instance = await self._client.instances.get(self.id), self._instance
        await instance.snapshots[name].restore()
        await instance.refresh()
        now, then = _keys.chosen(before.raw), _keys.chosen(instance.raw)
        changes = {field: {key: now[field].get(key) for key in {**now[field], **then[field]}} for field in now}
        await instance.update(changes, wait=True)

    @asynccontextmanager
    async def preview(self, port: int, *, local_port: int = 0) -> AsyncGenerator[LocalAddress]:
        """Forward a port of this machine to one inside, for the time of ``async with``. It needs no network.

            async with box.preview(8000) as (host, port):
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
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 2**16:
            raise IncusInputError(f"port must be a TCP port, not {port!r}")
        async with AsyncExitStack() as stack:
            try:
                address = await stack.enter_async_context(self._instance.forward(port, local_port=local_port))
            except IncusUnsupportedError:
                await self._instance.refresh()  # that it is gone is said at once
                listener = local_listener(lambda: connected(self._instance, port), local_port)
                address = await stack.enter_async_context(listener)
            yield address

    async def pause(self) -> None:
        """Freeze all processes of the box, until `resume`; its time goes on.

        Raises:
            IncusNotFoundError: The box is gone.
            IncusOperationError: It could not be paused.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        await self._instance.freeze(wait=True)

    async def resume(self) -> None:
        """Let the processes of a paused box go on.

        Raises:
            IncusNotFoundError: The box is gone.
            IncusOperationError: It could not be resumed; it was not paused, for example.

        API:
            ``PUT /1.0/instances/{name}/state``
        """
        await self._instance.unfreeze(wait=True)

    async def extend(self, ttl: float) -> datetime:
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
        await self._instance.update({"config": _keys.lifetime(_keys.seconds(ttl, "ttl"))}, wait=True)
        return self.expires_at

    async def set_network(self, network: Network | None) -> None:
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
        if network is not None and not isinstance(network, Network):
            raise IncusInputError(f"network must be Network(...), not {network!r}")
        if network is not None:
            await network._close(self._client, self.id)
        device = None if network is None else network._device()
        await self._instance.update({"devices": {NIC: device}}, wait=True)

    async def destroy(self) -> None:
        """Stop the box and delete it, with its snapshots; one that is gone already is no error.

        If the caller is cancelled meanwhile, it is finished nevertheless.

        Raises:
            IncusError: It could not be deleted.

        API:
            ``PUT /1.0/instances/{name}/state`` and ``DELETE /1.0/instances/{name}``
        """
        await shielded(remove(self._instance))


async def remove(instance: Instance) -> None:
    """Stop an instance and delete it, if it still exists."""
    await instance._remove()
