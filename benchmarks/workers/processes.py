"""Work done by processes: the ``incus`` command, curl, and small programs that import a library and use it once.

A process's peak memory counts what its parent had before ``exec``: this one's is what is shown at least.
"""

from __future__ import annotations

import os
import subprocess
import sys

import harness

NO_ORJSON = "import sys; sys.modules['orjson'] = None; "  # as if it were not installed
IMPORTS = {
    "floor": "pass",
    "sdk": f"{NO_ORJSON}import incus_sdk",
    "blocking": f"{NO_ORJSON}import incus_sdk.sync",
    "aiohttp": "import aiohttp",
    "published": "import incus_sdk",
    "pylxd": "import pylxd",
    "pyincusd": "import pyincusd",
}
SDK = f"""{NO_ORJSON}
import asyncio
from incus_sdk import Client

async def main():
    async with Client({{socket!r}}) as client:
        {{use}}

asyncio.run(main())
"""
BLOCKING = f"""{NO_ORJSON}
from incus_sdk.sync import Client

with Client({{socket!r}}) as client:
    {{use}}
"""
AIOHTTP = """
import asyncio, aiohttp

async def main():
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector({socket!r})) as session:
        async with session.get("http://incus/1.0") as answer:
            await answer.json()

asyncio.run(main())
"""
FLOOR = """
import json, socket
made = socket.socket(socket.AF_UNIX)
made.connect({socket!r})
made.sendall(b"GET /1.0 HTTP/1.1\\r\\nHost: incus\\r\\nConnection: close\\r\\n\\r\\n")
answer = b""
while received := made.recv(2**18):
    answer += received
json.loads(answer.partition(b"\\r\\n\\r\\n")[2].split(b"\\r\\n")[1])
"""
PUBLISHED = """
import asyncio
from incus_sdk import Client

async def main():
    async with Client("unix://{socket}") as client:
        {use}

asyncio.run(main())
"""
PYLXD = """
from pylxd import Client
client = Client({socket!r})
{use}
"""
PYINCUSD = """
import asyncio
from pyincusd.local import Client
{more}

async def main():
    async with Client({socket!r}) as client:
        {use}

asyncio.run(main())
"""
ANSWERS = {
    "floor": FLOOR,
    "sdk": SDK.replace("{use}", 'await client.query("GET", "/1.0")'),
    "blocking": BLOCKING.replace("{use}", 'client.query("GET", "/1.0")'),
    "aiohttp": AIOHTTP,
    "published": PUBLISHED.replace("{use}", "await client.get_server_info()"),
    "pylxd": PYLXD.replace("{use}", "client.api.get().json()"),
    "pyincusd": PYINCUSD.replace("{more}", "from pyincusd.api.server_api import ServerApi").replace(
        "{use}", "await ServerApi(client).server_get()"
    ),
}
COMMANDS = {
    "sdk": SDK.replace("{use}", 'assert (await client.instances[{instance!r}].run(["true"])).returncode == 0'),
    "blocking": BLOCKING.replace("{use}", 'assert client.instances[{instance!r}].run(["true"]).returncode == 0'),
    "published": PUBLISHED.replace("{use}", "await client.instances.execute({instance!r}, ['true'], wait=True)"),
    "pylxd": PYLXD.replace("{use}", 'assert client.instances.get({instance!r}).execute(["true"]).exit_code == 0'),
}
PROGRAMS = {"import_": IMPORTS, "first_answer": ANSWERS, "first_exec": COMMANDS}


class Processes(harness.Worker):
    processes = True

    def connect(self) -> None:
        task = self.task
        self.environment = {**os.environ, "INCUS_DIR": task.incus_dir, "HOME": task.local}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def start(self, *command: str, stdin: str = os.devnull, stdout: str = os.devnull) -> None:
        with open(stdin, "rb") as source, open(stdout, "wb") as target:
            process = subprocess.run(command, stdin=source, stdout=target, stderr=subprocess.PIPE, env=self.environment)
        if process.returncode:
            raise RuntimeError(process.stderr.decode().strip().splitlines()[-1])


class Programs(Processes):
    """A new Python for each."""

    @classmethod
    def can(cls, task: harness.Task) -> bool:
        return task.competitor in PROGRAMS[task.job]

    def start_program(self, count: int) -> None:
        program = PROGRAMS[self.task.job][self.task.competitor]
        for _ in range(count):
            self.start(sys.executable, "-c", program.format(socket=self.task.socket, instance=self.task.instance))

    import_ = first_answer = first_exec = start_program


class Incus(Processes):
    """The ``incus`` command; its list of instances has their state, always."""

    @classmethod
    def can(cls, task: harness.Task) -> bool:
        lists = task.job == "list_instances" and (task.recursion, task.fields) != (2, False)
        return super().can(task) and not task.https and not task.replayed and not lists

    def incus(self, *words: str, stdin: str = os.devnull, stdout: str = os.devnull) -> None:
        self.start("incus", *words, stdin=stdin, stdout=stdout)

    def first_answer(self, count: int) -> None:
        for _ in range(count):
            self.incus("query", "/1.0")

    def first_exec(self, count: int) -> None:
        for _ in range(count):
            self.incus("exec", self.task.instance, "--", "true")

    def out_streamed(self, count: int) -> None:
        for _ in range(count):
            self.incus("exec", self.task.instance, "--", "head", "-c", str(self.task.size), "/dev/zero")

    def into_from_file(self, count: int) -> None:
        for _ in range(count):
            self.incus("exec", self.task.instance, "--", "wc", "-c", stdin=f"{self.task.local}/big")

    def list_instances(self, count: int) -> None:
        for _ in range(count):
            self.incus("list", "--format", "json")

    def push(self, count: int) -> None:
        for _ in range(count):
            self.incus("file", "push", f"{self.task.local}/big", f"{self.task.instance}{self.new_remote()}")

    def pull(self, count: int) -> None:
        for _ in range(count):
            self.incus("file", "pull", f"{self.task.instance}{self.task.remote}/big", self.new_local())

    def push_tree(self, count: int) -> None:
        for _ in range(count):
            target = f"{self.task.instance}{self.new_remote()}/"
            self.incus("file", "push", "--create-dirs", "-r", f"{self.task.local}/tree", target)

    def pull_tree(self, count: int) -> None:
        for _ in range(count):
            target = self.new_local()
            os.mkdir(target)
            self.incus("file", "pull", "-r", f"{self.task.instance}{self.task.remote}/tree", target)

    def upload_image(self, count: int) -> None:
        for _ in range(count):
            self.incus("image", "import", f"{self.task.local}/image.tar", "--alias", "uploaded")
            self.incus("image", "delete", "uploaded")

    def export_image(self, count: int) -> None:
        for _ in range(count):
            self.incus("image", "export", self.task.fingerprint, self.new_local())


class Tar(Processes):
    """``tar`` at both ends of ``incus exec``."""

    def pipe(self, *commands: list[str]) -> None:
        source = subprocess.Popen(commands[0], stdout=subprocess.PIPE, env=self.environment)
        target = subprocess.Popen(commands[1], stdin=source.stdout, env=self.environment)
        assert source.stdout is not None
        source.stdout.close()
        assert (target.wait(), source.wait()) == (0, 0)

    def push_tree(self, count: int) -> None:
        for _ in range(count):
            target = self.new_remote()
            inside = ["sh", "-c", f"mkdir {target} && tar -x -C {target}"]
            self.pipe(
                ["tar", "-c", "-C", f"{self.task.local}/tree", "."],
                ["incus", "exec", "-T", self.task.instance, "--", *inside],
            )

    def pull_tree(self, count: int) -> None:
        for _ in range(count):
            target = self.new_local()
            os.mkdir(target)
            inside = ["tar", "-c", "-C", f"{self.task.remote}/tree", "."]
            self.pipe(["incus", "exec", "-T", self.task.instance, "--", *inside], ["tar", "-x", "-C", target])


class Curl(Processes):
    """curl on the API."""

    @classmethod
    def can(cls, task: harness.Task) -> bool:
        return super().can(task) and not task.fields

    def curl(self, path: str, *words: str) -> None:
        task = self.task
        if task.https:
            tls = "--cert", task.certificate, "--key", task.key, "--cacert", task.server_certificate
            where: tuple[str, ...] = (*tls, task.url + path)
        else:
            where = "--unix-socket", task.socket, f"http://incus{path}"
        self.start("curl", "--silent", "--fail", *where, *words)

    def first_answer(self, count: int) -> None:
        for _ in range(count):
            self.curl("/1.0")

    def list_instances(self, count: int) -> None:
        for _ in range(count):
            self.curl(f"/1.0/instances?recursion={self.task.recursion}")

    def push(self, count: int) -> None:
        for _ in range(count):
            words = "-X", "POST", "-T", f"{self.task.local}/big", "-H", "X-Incus-type: file", "-H", "Expect:"
            self.curl(f"/1.0/instances/{self.task.instance}/files?path={self.new_remote()}", *words)

    def pull(self, count: int) -> None:
        for _ in range(count):
            path = f"/1.0/instances/{self.task.instance}/files?path={self.task.remote}/big"
            self.curl(path, "-o", self.new_local())

    def export_image(self, count: int) -> None:
        for _ in range(count):
            self.curl(f"/1.0/images/{self.task.fingerprint}/export", "-o", self.new_local())


if __name__ == "__main__":
    competitor = harness.task().competitor
    harness.main({"incus": Incus, "tar": Tar, "curl": Curl}.get(competitor, Programs))
