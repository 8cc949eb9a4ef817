"""Commands in an instance: run to their end or live, on a terminal or not; the console; connections to ports."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, overload

from .._connection import wire
from ..exceptions import IncusInputError, IncusOperationError, IncusTimeoutError, ProcessError
from ..models.base import Json
from ..operations import Operation
from ..process import NOT_RUN, Console, Input, Process, ProcessResult, checked_command, checked_input, run
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
        """Run a command in it. ``POST /1.0/instances/{name}/exec``."""
        if record_output and (interactive or wait_for_websocket):
            raise IncusInputError("record_output goes with neither interactive nor wait_for_websocket")
        if wait and wait_for_websocket:
            raise IncusInputError(
                "wait_for_websocket with wait would wait for websockets that nobody opens: "
                "leave wait out, and open them by `await operation.websocket(...)`"
            )
        optional = {"width": width, "height": height, "user": user, "group": group, "cwd": cwd}
        body = {
            "command": list(checked_command(command)),
            "environment": wire.config_strings(environment or {}, "environment"),
            "wait-for-websocket": wait_for_websocket,
            "record-output": record_output,
            "interactive": interactive,
            **{key: value for key, value in optional.items() if value is not None},
        }
        operation = await self._operate("POST", "exec", body=body, wait=False)
        if not wait:
            return operation
        try:
            await operation.wait()
        except IncusOperationError as error:
            if (error.response.get("metadata") or {}).get("return") not in NOT_RUN:
                raise
        if record_output:
            await self._take_output(operation.metadata)
        return operation

    @overload
    async def run(
        self,
        command: Sequence[str],
        *,
        input: Input = None,
        text: Literal[False] = False,
        encoding: str = "utf-8",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        timeout: float | None = None,
        grace: float = 5.0,
        check: bool = False,
        max_output: int | None = None,
    ) -> ProcessResult[bytes]: ...
    @overload
    async def run(
        self,
        command: Sequence[str],
        *,
        input: Input = None,
        text: Literal[True],
        encoding: str = "utf-8",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        timeout: float | None = None,
        grace: float = 5.0,
        check: bool = False,
        max_output: int | None = None,
    ) -> ProcessResult[str]: ...
    async def run(
        self,
        command: Sequence[str],
        *,
        input: Input = None,
        text: bool = False,
        encoding: str = "utf-8",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | str | None = None,
        group: int | str | None = None,
        timeout: float | None = None,
        grace: float = 5.0,
        check: bool = False,
        max_output: int | None = None,
    ) -> ProcessResult[bytes] | ProcessResult[str]:
        """Run a command to its end, and return its exit code and all it wrote.

        ``command``: program and arguments; no shell reads them. ``input``: bytes, str, a file or an async iterable of
        bytes; None ends stdin at once. ``text``: the output as str, decoded by ``encoding``, what is not of it as
        U+FFFD. ``env``: on top of the instance's own. ``user``, ``group``: ids, or names that the instance knows; a
        user's name brings its HOME, its group and, without ``group``, its supplementary groups. ``timeout``: seconds;
        then SIGTERM, and after ``grace`` more seconds SIGKILL. ``check``: raise for any exit code but 0.
        ``max_output``: bytes each of stdout and stderr may hold.

        Raises `IncusTimeoutError` and `ProcessError`, both with the output so far. If the caller is cancelled, the
        command is killed. Signals reach the command itself, not what it started.

        ``POST /1.0/instances/{name}/exec``.
        """
        checked_input(input)
        process = self.open_process(command, env=env, cwd=cwd, user=user, group=group)
        try:
            result = await run(process, input, timeout, max_output, encoding, grace)
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
        except (IncusTimeoutError, ProcessError) as error:
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
        pty: bool = False,
        width: int = 80,
        height: int = 24,
    ) -> Process:
        """A live command, opened by ``async with``: see `Process`. Parameters as of `run`.

        ``pty``: on a terminal of ``width`` columns and ``height`` rows, where stdout and stderr are one.
        ``POST /1.0/instances/{name}/exec``.
        """
        return Process(
            self._scope,
            self._path,
            command,
            env=env,
            cwd=cwd,
            user=user,
            group=group,
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
    ) -> int:
        """Hand the local terminal over to a command, until that ends; returns its exit code.

        The terminal is in raw mode meanwhile, follows the window's size, and is restored whatever happens. Raises
        `IncusInputError` where stdin or stdout is no terminal. ``POST /1.0/instances/{name}/exec``.
        """
        from .._terminal import interact, size

        width, height = size()
        options: dict[str, Any] = {"env": {"TERM": os.environ.get("TERM", "dumb"), **(env or {})}, "cwd": cwd}
        async with self.open_process(
            command, **options, user=user, group=group, pty=True, width=width, height=height
        ) as process:
            return await interact(process)

    def console(self, *, force: bool = False, width: int = 80, height: int = 24, type: str = "console") -> Console:
        """The instance's console, attached by ``async with``: ``stdin`` writes, ``stdout`` reads, leaving the block
        detaches.

        ``force``: take it over from whoever is attached; else that raises `IncusAPIError` or `IncusOperationError`. A
        VGA console speaks SPICE, for which this has no reader. ``POST /1.0/instances/{name}/console``.
        """
        if type != "console":
            raise IncusInputError(
                f"there is no {type!r} console to read and write; VGA, of virtual machines alone, is SPICE"
            )
        return Console(self._scope, self._path, width, height, force)

    async def get_console_log(self) -> bytes:
        """What was written to the console; empty if nothing was. ``GET /1.0/instances/{name}/console``."""
        # Without a log the answer is empty, not even an envelope.
        async with self._download("GET", "console") as stream:
            return await stream.read()

    async def clear_console_log(self) -> None:
        """Forget what was written to the console. ``DELETE /1.0/instances/{name}/console``."""
        await self._request("DELETE", "console")

    @asynccontextmanager
    async def port_forward(
        self, port: int, address: str = "127.0.0.1"
    ) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A TCP connection to a port inside, for the time of ``async with``; no network has to lead there.

        ``address``: as seen from inside. Extension ``instance_port_forward``.
        ``POST /1.0/instances/{name}/port-forward``, upgraded.
        """
        await self._scope.require("instance_port_forward", "a connection to a port inside")
        body = {"address": address, "port": port}
        async with self._upgrade("POST", "port-forward", protocol="tcp", body=body) as streams:
            yield streams

    async def _take_output(self, metadata: Json) -> None:
        """Put the recorded output into the operation's metadata, and delete it on the server."""
        urls, texts, outputs = metadata.get("output") or {}, {}, ExecOutputAPI(LogsAPI(self))
        for stream, name in (("1", "stdout"), ("2", "stderr")):
            texts[name] = ""
            if stream in urls:
                file = wire.names(urls[stream])[-1]
                texts[name] = await outputs.get(file)
                await outputs.delete(file)
        metadata["output"] = texts
