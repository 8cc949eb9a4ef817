"""Commands in an instance, run to their end or live, on a terminal or not; its console; connections to its ports."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal, overload

from .._background import cancelled_operation
from .._connection import wire
from .._outputs import Output, checked_outputs
from .._run import checked_input, run
from ..exceptions import IncusError, IncusInputError
from ..models.base import Json
from ..operations import Operation
from ..process import Console, Input, Process, ProcessResult
from ._by_key import Keyed
from ._forwarding import LocalAddress, local_listener
from .base import Resource
from .logs import ExecOutputAPI, LogsAPI


class CommandVerbs(Resource):
    """Verbs that run commands in an instance."""

    async def execute(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        wait_for_websocket: bool = False,
        record_output: bool = False,
        interactive: bool = False,
        width: int | None = None,
        height: int | None = None,
        user: int | None = None,
        group: int | None = None,
        cwd: str | None = None,
        wait: bool = False,
    ) -> Operation:
        """Run a command in the instance, as the API does it. `run` and `open_process` are easier.

        A caller who is cancelled leaves the command running, which the API cannot end; `run` ends it.

        Args:
            command: Program and arguments; no shell reads them.
            environment: Variables on top of those of the instance's configuration.
            wait_for_websocket: Start the command only once its websockets are open. `Operation.websocket` opens those
                that ``["metadata"]["fds"]`` of the operation names.
            record_output: Have the server keep the output. With ``wait`` it is put into the operation, and deleted on
                the server; otherwise it stays there, see `Instance.exec_output`.
            interactive: Run it on a terminal.
            width: Columns of the terminal.
            height: Rows of the terminal.
            user: A numeric id; 0 and None are root.
            group: A numeric id; 0 and None are root.
            cwd: The directory to start in, or ``/`` if it does not exist; None for that in ``HOME``, or ``/``.
            wait: Wait until the command has ended.

        Returns:
            The operation; with ``wait`` as it ended. Its ``["metadata"]["return"]`` is then the exit code. Recorded
                output is the text in ``["metadata"]["output"]["stdout"]`` and ``["stderr"]``; without ``wait`` it has
                the URLs of the files instead, as ``["1"]`` and ``["2"]``.

        Raises:
            IncusInputError: ``command`` is not a list of words, or two of the options exclude each other.
            IncusNotFoundError: There is no such instance.
            IncusNotRunningError: It is not running.
            IncusFrozenError: It is frozen.
            IncusOperationError: With ``wait``: the operation failed. An exit code, 126 and 127 included, never raises.

        API:
            ``POST /1.0/instances/{name}/exec``
        """
        if record_output and (interactive or wait_for_websocket):
            raise IncusInputError("record_output cannot be combined with interactive or wait_for_websocket")
        if wait and wait_for_websocket:
            raise IncusInputError(
                "wait_for_websocket cannot be combined with wait, since nobody would open the websockets: leave wait "
                "out, and open them by `operation.websocket(...)`"
            )
        wire.size(80 if width is None else width, 24 if height is None else height)
        optional = {"width": width, "height": height, "cwd": wire.directory(cwd), **wire.ids(user=user, group=group)}
        body = {
            "command": list(wire.command(command)),
            "environment": wire.environment(environment or {}, "environment"),
            "wait-for-websocket": wait_for_websocket,
            "record-output": record_output,
            "interactive": interactive,
            **{key: value for key, value in optional.items() if value is not None},
        }
        if not wait:
            return await self._operate("POST", "exec", body=body, wait=False)
        async with cancelled_operation(self._scope, self._url("exec"), body) as operation:
            await operation._wait_for_command()
        if record_output:
            await self._fetch_output(operation.metadata)
        return operation

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
        grace: float = 5.0,
        check: bool = False,
        max_output: int | None = None,
        kill_tree: bool = False,
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
        grace: float = 5.0,
        check: bool = False,
        max_output: int | None = None,
        kill_tree: bool = False,
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
        grace: float = 5.0,
        check: bool = False,
        max_output: int | None = None,
        kill_tree: bool = False,
    ) -> ProcessResult[bytes] | ProcessResult[str]:
        """Run a command to its end, and return its exit code and all it wrote.

        If the caller is cancelled, the command is killed. Signals reach the command itself, not what it started, but
        for ``kill_tree``. Every error has the output collected until then, as ``stdout`` and ``stderr``.

        Args:
            command: Program and arguments; no shell reads them.
            input: What the command reads from stdin: bytes, str, an open file or an async iterable of bytes; None ends
                stdin at once.
            stdout: Where stdout goes: a file open for writing bytes, a function, plain or async, that gets what comes
                piece by piece, or `subprocess.DEVNULL`. The result then has none. None collects it for the result.
            stderr: The same for stderr; `subprocess.STDOUT` adds it to stdout, in the order in which it comes.
            text: Return the output as str instead of bytes.
            encoding: Of the output as str, where invalid bytes become U+FFFD, and of ``input`` as str.
            env: Variables on top of those of the instance's configuration.
            cwd: The directory to start in, or ``/`` if it does not exist; None for that in ``HOME``, or ``/``.
            user: A numeric id, or a name that the instance knows; None for root. A name brings HOME and, without
                ``group``, the user's primary and supplementary groups.
            group: A numeric id, or a name that the instance knows; None for root, or what the name of ``user`` brings.
            login: Run it as ``su -`` does: in the user's home, after the profiles that the user's login shell reads. A
                numeric ``user`` brings HOME and groups, too, and must be one that the instance knows.
            timeout: Seconds after which the command gets SIGTERM, its start included; None for no limit.
            grace: Seconds that it then has to end, before it gets SIGKILL. A link that has fallen silent gets none.
            check: Raise `ProcessError` for an exit code other than 0.
            max_output: Bytes that stdout and stderr may have each, wherever they go; a command that writes more is
                killed. None for no limit.
            kill_tree: If the command is killed, at a limit or because the caller is cancelled, also kill what it has
                started, and what that has. They are known by ``INCUS_SDK_COMMAND`` in their environment; ``sh`` and
                ``grep`` in the instance find them.

        Raises:
            IncusInputError: An argument is invalid, or the instance does not know ``user`` or ``group``.
            IncusNotFoundError: There is no such instance.
            IncusNotRunningError: It is not running.
            IncusFrozenError: It is frozen.
            IncusConnectionError: A connection broke, so that the exit code is not known, or the output or the input may
                not be whole.
            IncusInstanceStoppedError: The instance stopped, or was deleted, and the command with it.
            IncusTimeoutError: The command ran for more than ``timeout`` seconds.
            ProcessError: The command wrote more than ``max_output`` or, with ``check``, failed.

        API:
            ``POST /1.0/instances/{name}/exec``
        """
        checked_input(input, encoding)
        checked_outputs(stdout, stderr)
        wire.seconds(timeout, "timeout")
        wire.seconds(grace, "grace")
        wire.length(max_output, "max_output")
        process = self.open_process(command, env=env, cwd=cwd, user=user, group=group, login=login)
        try:
            result = await run(process, input, timeout, max_output, encoding, grace, stdout, stderr, kill_tree)
            if not text:
                if check:
                    result.check_returncode()
                return result
            decoded = ProcessResult(
                result.args,
                result.returncode,
                result.stdout.decode(encoding, "replace"),
                result.stderr.decode(encoding, "replace"),
            )
            if check:
                decoded.check_returncode()
            return decoded
        except IncusError as error:
            if text and isinstance(error.stdout, bytes):
                error.stdout, error.stderr = (out.decode(encoding, "replace") for out in (error.stdout, error.stderr))
            raise

    def open_process(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        login: bool = False,
        pty: bool = False,
        width: int = 80,
        height: int = 24,
    ) -> Process:
        """A live command, started by ``async with``: see `Process`. Makes no request by itself.

        Args:
            command: Program and arguments; no shell reads them.
            env: Variables on top of those of the instance's configuration.
            cwd: The directory to start in, or ``/`` if it does not exist; None for that in ``HOME``, or ``/``.
            user: A numeric id, or a name that the instance knows; None for root. A name brings HOME and, without
                ``group``, the user's primary and supplementary groups.
            group: A numeric id, or a name that the instance knows; None for root, or what the name of ``user`` brings.
            login: Run it as ``su -`` does: in the user's home, after the profiles that the user's login shell reads. A
                numeric ``user`` brings HOME and groups, too, and must be one that the instance knows.
            pty: Run it on a terminal, where stdout and stderr are one stream.
            width: Columns of the terminal.
            height: Rows of the terminal.

        Raises:
            IncusInputError: ``command`` is not a list of words. In ``async with``: the instance does not know ``user``
                or ``group``.
            IncusNotFoundError: In ``async with``: there is no such instance.
            IncusNotRunningError: In ``async with``: it is not running.
            IncusFrozenError: In ``async with``: it is frozen.

        API:
            ``POST /1.0/instances/{name}/exec``
        """
        return Process(
            self._scope,
            self._path,
            command,
            env=env,
            cwd=cwd,
            user=user,
            group=group,
            login=login,
            pty=pty,
            width=width,
            height=height,
        )

    async def shell(
        self,
        command: Sequence[str] = ("sh", "-l"),
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        login: bool = False,
    ) -> int:
        """Connect the local terminal, or whatever stdin, stdout and stderr are, to a command until it ends.

        A terminal is in raw mode meanwhile, and is restored whatever happens. The command runs on one, too, and sees
        the size of the window, also when that changes.

        Where stdin or stdout of this process is a file or a pipe, the command gets stdin and writes to stdout and
        stderr, byte by byte as they are, and runs without a terminal.

        Args:
            command: Program and arguments; no shell reads them.
            env: Variables on top of those of the instance's configuration, and of the local ``TERM``.
            cwd: The directory to start in, or ``/`` if it does not exist; None for that in ``HOME``, or ``/``.
            user: See `Instance.run`.
            group: See `Instance.run`.
            login: See `Instance.run`.

        Returns:
            The exit code.

        Raises:
            IncusInputError: ``command`` is invalid, the instance has no such ``user`` or ``group``, or this is Windows.
            IncusNotFoundError: There is no such instance.
            IncusNotRunningError: It is not running.
            IncusFrozenError: It is frozen.
            IncusConnectionError: A connection broke, so that the exit code is not known.
            IncusInstanceStoppedError: The instance stopped, or was deleted, and the command with it.

        API:
            ``POST /1.0/instances/{name}/exec``
        """
        from .._terminal import interact, is_terminal, iter_stdin, open_outputs, size

        env = {"TERM": os.environ.get("TERM", "dumb"), **(env or {})}
        if not is_terminal():
            process = self.open_process(command, env=env, cwd=cwd, user=user, group=group, login=login)
            return (await run(process, iter_stdin(), None, None, "utf-8", 0, *open_outputs())).returncode
        width, height = size()
        async with self.open_process(
            command, env=env, cwd=cwd, user=user, group=group, login=login, pty=True, width=width, height=height
        ) as process:
            return await interact(process)

    def console(self, *, force: bool = False, width: int = 80, height: int = 24, type: str = "console") -> Console:
        """The instance's console, attached by ``async with``: see `Console`. Makes no request by itself.

        Args:
            force: Take it over from whoever is attached to it.
            width: Columns of the terminal.
            height: Rows of the terminal.
            type: Only ``console``: the VGA console of a virtual machine speaks SPICE, which the SDK does not.

        Raises:
            IncusInputError: ``type`` is another one.
            IncusNotFoundError: In ``async with``: there is no such instance.
            IncusNotRunningError: In ``async with``: it is not running.
            IncusFrozenError: In ``async with``: it is frozen.
            IncusAPIError: In ``async with``: without ``force``, somebody else is attached.

        API:
            ``POST /1.0/instances/{name}/console``
        """
        if type != "console":
            raise IncusInputError(
                f"type must be 'console', not {type!r}: a VGA console, which only virtual machines have, speaks SPICE"
            )
        return Console(self._scope, self._path, width, height, force)

    async def attach_console(self, *, force: bool = False) -> None:
        """Connect the local terminal to the instance's console, until ctrl+a q is pressed or the instance stops.

        The terminal is in raw mode meanwhile, and is restored whatever happens. Whatever runs on the console goes on.
        To type a ctrl+a, press it twice.

        Args:
            force: Take the console over from whoever is attached to it.

        Raises:
            IncusInputError: Stdin or stdout is not a terminal, or this is Windows.
            IncusNotFoundError: There is no such instance.
            IncusNotRunningError: It is not running.
            IncusFrozenError: It is frozen.
            IncusAPIError: Without ``force``, somebody else is attached.
            IncusConnectionError: The connection broke.

        API:
            ``POST /1.0/instances/{name}/console``
        """
        from .._terminal import attach, size

        width, height = size()
        async with self.console(force=force, width=width, height=height) as console:
            await attach(console)

    async def get_console_log(self) -> bytes:
        """Read what was written to the console.

        Returns:
            What the server keeps of it; empty if there is nothing.

        Raises:
            IncusNotFoundError: There is no such instance.

        API:
            ``GET /1.0/instances/{name}/console``
        """
        # Without a log the answer is empty, without even an envelope.
        async with self._download("GET", "console") as stream:
            return await stream.read()

    async def clear_console_log(self) -> None:
        """Clear what the server keeps of what was written to the console of a container.

        Raises:
            IncusNotFoundError: There is no such container, or it has not been started yet.
            IncusAPIError: It is a virtual machine.

        API:
            ``DELETE /1.0/instances/{name}/console``
        """
        await self._request("DELETE", "console")

    @asynccontextmanager
    async def port_forward(
        self, port: int, address: str = "127.0.0.1"
    ) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A TCP connection to a port inside, for the time of ``async with``; it needs no network to the instance.

        `forward` lets other programs of this machine connect.

        Args:
            port: The TCP port.
            address: The IP address, as seen from inside.

        Yields:
            The streams to read from and to write to.

        Raises:
            IncusUnsupportedError: The server lacks the API extension.
            IncusNotFoundError: There is no such instance.
            IncusAPIError: It could not connect.

        API:
            ``POST /1.0/instances/{name}/port-forward``, upgraded to ``tcp``. Extension ``instance_port_forward``.
        """
        await self._scope.require("instance_port_forward", "a connection to a port inside")
        body = {"address": address, "port": port}
        async with self._upgrade("POST", "port-forward", protocol="tcp", body=body) as streams:
            yield streams

    @asynccontextmanager
    async def forward(
        self, port: int, *, local_port: int = 0, address: str = "127.0.0.1"
    ) -> AsyncGenerator[LocalAddress]:
        """Forward a port of this machine to one inside, for the time of ``async with``.

            async with client.instances["web"].forward(80) as address:
                print(f"http://{address}")  # http://127.0.0.1:40123

        It needs no network to the instance. Only programs of this machine can connect, any number at a time. A
        connection that the instance does not take is reset.

        Args:
            port: The TCP port inside.
            local_port: The port of 127.0.0.1; 0 for a free one.
            address: The IP address, as seen from inside.

        Yields:
            The local host and port. All connections end with the block.

        Raises:
            IncusInputError: ``local_port`` is not a port, or is taken.
            IncusUnsupportedError: The server lacks the API extension.
            IncusNotFoundError: There is no such instance.

        API:
            ``POST /1.0/instances/{name}/port-forward``, upgraded to ``tcp``, for each connection. Extension
            ``instance_port_forward``.
        """
        await self._scope.require("instance_port_forward", "forwarding a port")
        await self._request("GET")  # that it is missing is said at once
        async with local_listener(lambda: self.port_forward(port, address), local_port) as local:
            yield local

    async def _fetch_output(self, metadata: Json) -> None:
        """Replace the URLs of the recorded output in the operation's metadata by its text; delete it on the server."""
        urls, texts, outputs = metadata.get("output") or {}, {}, ExecOutputAPI(LogsAPI(self))
        for stream, name in (("1", "stdout"), ("2", "stderr")):
            texts[name] = ""
            if stream in urls:
                file = wire.names(urls[stream])[-1]
                texts[name] = await outputs.get(file)
                await outputs.delete(file)
        metadata["output"] = texts


class Executes:
    """`CommandVerbs.execute` by name."""

    async def execute(
        self: Keyed[CommandVerbs],
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        wait_for_websocket: bool = False,
        record_output: bool = False,
        interactive: bool = False,
        width: int | None = None,
        height: int | None = None,
        user: int | None = None,
        group: int | None = None,
        cwd: str | None = None,
        wait: bool = False,
    ) -> Operation:
        """Run a command in an instance, as the API does it. `Instance.run` is easier.

        Args:
            name: The instance.
            command: Program and arguments; no shell reads them.
            environment: Variables on top of those of the instance's configuration.
            wait_for_websocket: Start the command only once its websockets are open. `Operation.websocket` opens those
                that ``["metadata"]["fds"]`` of the operation names.
            record_output: Have the server keep the output. With ``wait`` it is put into the operation, and deleted on
                the server; otherwise it stays there, see `Instance.exec_output`.
            interactive: Run it on a terminal.
            width: Columns of the terminal.
            height: Rows of the terminal.
            user: A numeric id; 0 and None are root.
            group: A numeric id; 0 and None are root.
            cwd: The directory to start in, or ``/`` if it does not exist; None for that in ``HOME``, or ``/``.
            wait: Wait until the command has ended.

        Returns:
            The operation; with ``wait`` as it ended. Its ``["metadata"]["return"]`` is then the exit code. Recorded
                output is the text in ``["metadata"]["output"]["stdout"]`` and ``["stderr"]``; without ``wait`` it has
                the URLs of the files instead, as ``["1"]`` and ``["2"]``.

        Raises:
            IncusInputError: ``command`` is not a list of words, or two of the options exclude each other.
            IncusNotFoundError: There is no such instance.
            IncusNotRunningError: It is not running.
            IncusFrozenError: It is frozen.
            IncusOperationError: With ``wait``: the operation failed. An exit code, 126 and 127 included, never raises.

        API:
            ``POST /1.0/instances/{name}/exec``
        """
        return await self[name].execute(
            command,
            environment,
            wait_for_websocket,
            record_output,
            interactive,
            width,
            height,
            user,
            group,
            cwd,
            wait,
        )
