"""Commands and consoles of instances, over websockets or with their output recorded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import posixpath
import secrets
from collections.abc import Mapping
from typing import Any

from .answers import Refused
from .commands import STDERR, STDOUT, CommandFailedError, FakeCommand, failure_of
from .machines import FROZEN, STOPPED, Machine
from .operations import Operation
from .programs import unwrapped
from .requests import FakeRequest
from .state import State
from .streams import AnyAnswer, WebSocket

_CONNECT_SECONDS = 10.0
"""That a client has to connect all websockets of a session."""
_SIGKILL = 9
_DEFAULTS = {"LANG": "C.UTF-8", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_OF_ROOT = {"HOME": "/root", "USER": "root"}


class _Sockets:
    """The websockets of a session, by their names: file descriptors, and ``control``."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.secrets = {name: secrets.token_hex(32) for name in names}
        self.over = asyncio.Event()
        """Whether the session is."""
        self._connected: dict[str, asyncio.Future[WebSocket]] = {
            name: asyncio.get_running_loop().create_future() for name in names
        }

    def by_secret(self) -> dict[str, Any]:
        """What serves each of them."""

        def serve(name: str) -> Any:
            async def wait(socket: WebSocket) -> None:
                if not self._connected[name].done():
                    self._connected[name].set_result(socket)
                    await self.over.wait()

            return wait

        return {secret: serve(name) for name, secret in self.secrets.items()}

    def get(self, name: str) -> WebSocket | None:
        """One of them, if it is connected."""
        future = self._connected.get(name)
        return future.result() if future is not None and future.done() else None

    async def wait(self, *names: str) -> None:
        """Wait until these are connected."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                for name in names:
                    await asyncio.shield(self._connected[name])
        except TimeoutError:
            raise Refused(500, "Timed out waiting for websockets to connect") from None

    async def arrival(self, name: str) -> WebSocket:
        """One of them, once it is connected."""
        return await asyncio.shield(self._connected[name])


class Sessions:
    """``/1.0/instances/{name}/exec`` and ``console``."""

    def __init__(self, state: State) -> None:
        self.state = state

    def _running(self, request: FakeRequest, name: str) -> Machine:
        machine = self.state.machines.find(request, name)
        if machine.status == STOPPED:
            raise Refused(400, "Instance is not running")
        if machine.status == FROZEN:
            raise Refused(400, "Instance is frozen")
        return machine

    def execute(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``POST`` of a command, as an operation."""
        body = request._fields
        live, recorded, interactive = (
            bool(body.get(key)) for key in ("wait-for-websocket", "record-output", "interactive")
        )
        if recorded and live:
            raise Refused(400, 'Cannot use "record-output" in combination with "wait-for-websocket"')
        if recorded and interactive:
            raise Refused(400, 'Cannot use "interactive" in combination with "record-output"')
        machine = self._running(request, name)
        user = body.get("user") or 0
        environment = self._environment(machine, user, body.get("environment") or {})
        resources = machine.resources
        if not live:

            async def work(operation: Operation) -> None:
                await self._record(operation, machine, body, environment, recorded)

            return self.state.operations.begin(
                request, "Executing command", work, {"containers": resources["instances"], **resources}
            )

        sockets = _Sockets(("0", "control") if interactive else ("0", "1", "2", "control"))
        session = _Exec(self.state, machine, body, environment, sockets)
        metadata = {
            "command": body.get("command"),
            "environment": environment,
            "fds": sockets.secrets,
            "interactive": interactive,
        }
        return self.state.operations.begin(
            request,
            "Executing command",
            session.run,
            resources,
            kind="websocket",
            metadata=metadata,
            may_cancel=True,
            sockets=sockets.by_secret(),
            on_cancel=session.cancel,
        )

    def _environment(self, machine: Machine, user: int, given: Mapping[str, str]) -> dict[str, str]:
        config = self.state.expand(machine)[0]
        own = {key.partition(".")[2]: text for key, text in config.items() if key.startswith("environment.")}
        usual = {**_DEFAULTS, **(_OF_ROOT if user == 0 else {})}
        return dict(sorted({**usual, **own, **given}.items()))

    async def _record(
        self, operation: Operation, machine: Machine, body: Mapping[str, Any], environment: dict[str, str], keep: bool
    ) -> None:
        outputs = {STDOUT: bytearray(), STDERR: bytearray()}

        def send(number: int, data: bytes) -> None:
            outputs[number] += data

        machine.require_agent()
        command = make_command(machine, body, environment, send)
        command._feed(b"")
        tell_exec(self.state, operation, command)
        code = await run_command(self.state, command)
        metadata: dict[str, Any] = {"return": code}
        if keep:
            paths = {}
            for number, kind in ((STDOUT, "stdout"), (STDERR, "stderr")):
                file = f"exec_{operation.id}.{kind}"
                machine.outputs[file] = bytes(outputs[number])
                path = machine.path("logs", "exec-output", file)
                paths[str(number)] = path.partition("?")[0]
            metadata = {"output": paths, **metadata}
        finish(operation, code, metadata)

    def console(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``POST`` that opens the console, as an operation."""
        body = request.json or {}
        if body.get("type") == "vga":
            raise Refused(
                501, "The fake of incus_sdk does not do graphical consoles: POST /1.0/instances/{name}/console"
            )
        machine = self._running(request, name)
        sockets = _Sockets(("0", "control"))

        async def work(_: Operation) -> None:
            try:
                await sockets.wait("0")
                console = await sockets.arrival("0")
                console.send(machine.console)
                control = await sockets.arrival("control")
                while await control.read() is not None:
                    pass
            finally:
                sockets.over.set()

        self.state.tell("console", request, machine, {"type": "console"})
        return self.state.operations.begin(
            request,
            "Showing console",
            work,
            machine.resources,
            kind="websocket",
            metadata={"fds": sockets.secrets},
            may_cancel=True,
            sockets=sockets.by_secret(),
        )


def make_command(machine: Machine, body: Mapping[str, Any], environment: Mapping[str, str], send: Any) -> FakeCommand:
    """A command as a request describes it."""
    args, user, group = unwrapped(tuple(body.get("command") or ()))
    cwd = posixpath.normpath(posixpath.join("/", body.get("cwd") or environment.get("HOME") or "/"))
    return FakeCommand(
        args,
        instance=machine.name,
        project=machine.project,
        files=machine.files,
        env=environment,
        user=(body.get("user") or 0) if user is None else user,
        group=(body.get("group") or 0) if group is None else group,
        cwd=cwd if cwd in machine.files else "/",
        pty=bool(body.get("interactive")),
        width=body.get("width") or 0,
        height=body.get("height") or 0,
        send=send,
    )


def tell_exec(state: State, operation: Operation, command: FakeCommand) -> None:
    """Send the lifecycle event of a command."""
    machine = state.machines.of(command.project).get(command.instance)
    if machine is not None:
        state.tell("exec", operation.request, machine, {"command": list(command.args)})


async def run_command(state: State, command: FakeCommand) -> int:
    """Run a command to its end, and return its exit code."""
    if not command.args:
        raise Refused(500, "Failed to retrieve PID of executing child process")
    try:
        return await state.commands.run(command)
    except CommandFailedError as error:
        raise Refused(500, str(error)) from None


def finish(operation: Operation, code: int, metadata: Mapping[str, Any]) -> None:
    """Note how a command ended; some exit codes are failures of its operation."""
    operation.update(metadata)
    if (error := failure_of(code)) is not None:
        raise Refused(400, error)


class _Exec:
    """A command over websockets."""

    def __init__(
        self,
        state: State,
        machine: Machine,
        body: Mapping[str, Any],
        environment: Mapping[str, str],
        sockets: _Sockets,
    ) -> None:
        self._state = state
        self._machine = machine
        self._sockets = sockets
        self._interactive = bool(body.get("interactive"))
        self._command = make_command(machine, body, environment, self._send)
        self._work: asyncio.Task[Any] | None = None

    async def run(self, operation: Operation) -> None:
        """Run it from the connection of its websockets to its end."""
        self._work = asyncio.current_task()
        readers: list[asyncio.Future[None]] = []
        try:
            await self._sockets.wait(*(("0", "control") if self._interactive else ("0", "1", "2")))
            tell_exec(self._state, operation, self._command)
            operation.metadata = {**operation.metadata, "return": -1}  # unless it runs
            self._machine.require_agent()
            readers = [asyncio.ensure_future(each) for each in (self._read_input(), self._read_control())]
            if not self._interactive:
                readers.append(asyncio.ensure_future(self._watch_output()))
            code = await run_command(self._state, self._command)
            for name in ("0",) if self._interactive else ("1", "2"):
                if (socket := self._sockets.get(name)) is not None:
                    await socket.drain()
                    socket.send("")
            finish(operation, code, {"return": code})
        finally:
            for reader in readers:
                reader.cancel()
            self._sockets.over.set()
            if readers:
                await asyncio.wait(readers)

    def cancel(self) -> None:
        """End it before its end."""
        self._command._signal(_SIGKILL)
        if self._work is not None:
            self._work.cancel()

    def _send(self, number: int, data: bytes) -> None:
        socket = self._sockets.get("0" if self._interactive else str(number))
        if socket is not None:
            socket.send(data)

    async def _read_input(self) -> None:
        socket = await self._sockets.arrival("0")
        while isinstance(message := await socket.read(), bytes):
            if message:
                self._command._feed(message)
        if not self._interactive:  # a terminal's input ends by ctrl+d alone
            self._command._feed(b"")

    async def _read_control(self) -> None:
        socket = await self._sockets.arrival("control")
        while (message := await socket.read()) is not None:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                asked = json.loads(message)
                if asked["command"] == "signal":
                    self._command._signal(int(asked["signal"]))
                elif asked["command"] == "window-resize" and self._interactive:
                    self._command._resize(int(asked["args"]["width"]), int(asked["args"]["height"]))
        self._command._signal(_SIGKILL)

    async def _watch_output(self) -> None:
        socket = await self._sockets.arrival("1")
        while await socket.read() is not None:
            pass
        if self._sockets.get("control") is None:
            self._command._signal(_SIGKILL)
