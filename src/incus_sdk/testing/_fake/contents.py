"""What is in an instance, and what it leaves behind: files, logs, recorded output, the console's log."""

from __future__ import annotations

from .answers import Answer, Refused, content, done, success
from .file_calls import FileCallError, call
from .files import FakeFiles
from .machines import Machine
from .requests import FakeRequest
from .sftp_server import SftpProtocolError, SftpServer
from .state import State
from .streams import AnyAnswer, ByteStream, RawStream

_LOGS = ("lxc.log", "qemu.early.log", "qemu.log", "qemu.qmp.log")


class Contents:
    """``/1.0/instances/{name}/files``, ``sftp``, ``logs`` and ``console``."""

    def __init__(self, state: State) -> None:
        self.state = state

    def files(self, request: FakeRequest, name: str) -> AnyAnswer:
        """All methods of ``files``."""
        machine = self.state.machines.find(request, name)
        machine.require_agent()
        answer = call_files(machine.files, request)
        context = {"path": request.query.get("path")}
        if request.method in ("POST", "DELETE"):
            what = "file-pushed" if request.method == "POST" else "file-deleted"
            self.state.tell(what, None, machine, context)
        elif request.method == "GET":
            self.state.tell("file-retrieved", None, machine, context)
        return answer

    def sftp(self, request: FakeRequest, name: str) -> AnyAnswer:
        """``GET`` that becomes a stream of SFTP."""
        machine = self.state.machines.find(request, name)
        machine.require_agent("Failed getting instance SFTP connection: ")
        return serve_sftp(machine.files, request)

    def logs(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of the names of all logs."""
        machine = self.state.machines.find(request, name)
        paths = (machine.path("logs", each) for each in sorted(machine.logs))
        return success(list(paths))

    def log(self, request: FakeRequest, name: str, log: str) -> Answer:
        """``GET`` or ``DELETE`` of one."""
        machine = self.state.machines.find(request, name)
        if log not in _LOGS and not log.startswith(("exec_", "migration_", "snapshot_")):
            raise Refused(400, f'Log file name "{log}" not valid')
        if request.method == "DELETE" and log in ("lxc.log", "qemu.log"):
            raise Refused(400, "Only log files excluding qemu.log and lxc.log may be deleted")
        return self._file(request, machine, machine.logs, log)

    def outputs(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of the names of all recorded outputs."""
        machine = self.state.machines.find(request, name)
        return success([machine.path("logs", "exec-output", each) for each in sorted(machine.outputs)])

    def output(self, request: FakeRequest, name: str, output: str) -> Answer:
        """``GET`` or ``DELETE`` of one."""
        machine = self.state.machines.find(request, name)
        return self._file(request, machine, machine.outputs, output, "exec-output")

    def console_log(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` or ``DELETE`` of what the console showed."""
        machine = self.state.machines.find(request, name)
        if request.method == "GET":
            return content(machine.console, None if machine.console else {"Content-Type": "application/json"})
        machine.console = b""
        self.state.tell("console-reset", None, machine)
        return done()

    def _file(self, request: FakeRequest, machine: Machine, files: dict[str, bytes], name: str, *below: str) -> Answer:
        if name not in files:
            raise Refused(404, "Not Found")
        what = "deleted" if request.method == "DELETE" else "retrieved"
        self.state.tell(f"log-{what}", request, machine, None, "logs", *below, name)
        if request.method == "DELETE":
            del files[name]
            return done()
        return content(files[name], {"Content-Disposition": f"inline;filename={name}"})


def call_files(files: FakeFiles, request: FakeRequest) -> Answer:
    """What a request to ``files`` does."""
    try:
        answer = call(files, request.method, request.query.get("path", ""), request.headers, request.body)
    except FileCallError as error:
        raise Refused(error.status, str(error)) from None
    if answer.names is not None:
        listed = success(answer.names)
        return Answer(200, listed.body, {**listed.headers, **answer.headers})
    if answer.content is None:
        return done()
    return Answer(200, answer.content, {"Content-Type": "application/json", **answer.headers})


def serve_sftp(files: FakeFiles, request: FakeRequest) -> RawStream:
    """A stream on which the files are served."""
    if request.headers.get("upgrade", "").lower() != "sftp":
        raise Refused(400, "Missing or invalid upgrade header")

    async def serve(stream: ByteStream) -> None:
        server = SftpServer(files)
        while (data := await stream.read()) is not None:
            try:
                stream.write(server.receive(data))
            except SftpProtocolError:
                return
            await stream.drain()

    return RawStream("sftp", serve)
