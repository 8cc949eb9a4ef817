"""pylxd 2.4.2, LXD's client, which blocks: many at once are threads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import harness
from pylxd import Client
from ws4py.client import WebSocketBaseClient


class Pylxd(harness.Worker):
    def new_client(self) -> Client:
        task = self.task
        if task.https:
            return Client(task.url, cert=(task.certificate, task.key), verify=task.server_certificate)
        return Client(task.socket)

    def connect(self) -> None:
        self.client = self.new_client()

    def close(self) -> None:
        self.client.api.session.close()

    def construct(self, count: int) -> None:
        for _ in range(count):
            self.new_client()

    def forked(self, count: int) -> None:
        for _ in range(count):
            child = os.fork()
            if not child:
                self.new_client().api.get().json()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0

    def at_once(self, job: str, work: Callable[[int], None]) -> None:
        times = harness.AT_ONCE[job]
        with ThreadPoolExecutor(times) as threads:
            list(threads.map(work, [1] * times))

    def get(self, count: int) -> None:
        for _ in range(count):
            self.client.api.get().json()

    def get_at_once(self, count: int) -> None:
        for _ in range(count):
            self.at_once("get_at_once", self.get)

    def list_instances(self, count: int) -> None:
        for _ in range(count):
            instances = self.client.instances.all(recursion=self.task.recursion)
            if self.task.fields:
                harness.read_attributes(instances, 1)
                if self.task.recursion == 2:
                    raise NotImplementedError("all(recursion=2) drops the state")

    def run(self, command: list[str], **options: object) -> str:
        result = self.client.instances.get(self.task.instance).execute(command, **options)
        assert result.exit_code == 0
        output: str = result.stdout
        return output

    def exec(self, count: int) -> None:
        for _ in range(count):
            self.run(["true"])

    def exec_at_once(self, count: int) -> None:
        for _ in range(count):
            self.at_once("exec_at_once", self.exec)

    def out_kept(self, count: int) -> None:
        for _ in range(count):
            command = ["head", "-c", str(self.task.size), "/dev/zero"]
            harness.check_size(len(self.run(command, decode=False)), self.task.size)

    def out_streamed(self, count: int) -> None:
        for _ in range(count):
            sizes: list[int] = []
            command = ["head", "-c", str(self.task.size), "/dev/zero"]
            self.run(command, decode=False, stdout_handler=lambda piece, sizes=sizes: sizes.append(len(piece)))
            harness.check_size(sum(sizes), self.task.size)

    def into(self, count: int) -> None:
        for _ in range(count):
            output = self.run(["wc", "-c"], stdin_payload=(piece for piece in harness.zeros(self.task.size)))
            harness.check_size(int(output), self.task.size)

    def into_from_file(self, count: int) -> None:
        for _ in range(count):
            with open(f"{self.task.local}/big", "rb") as file:
                harness.check_size(int(self.run(["wc", "-c"], stdin_payload=file)), self.task.size)

    def push(self, count: int) -> None:
        files = self.client.instances.get(self.task.instance).files
        for _ in range(count):
            with open(f"{self.task.local}/big", "rb") as file:
                files.put(self.new_remote(), file)

    def pull(self, count: int) -> None:
        files = self.client.instances.get(self.task.instance).files
        for _ in range(count):
            with open(self.new_local(), "wb") as file:
                file.write(files.get(f"{self.task.remote}/big"))

    def push_tree(self, count: int) -> None:
        files = self.client.instances.get(self.task.instance).files
        for _ in range(count):
            files.recursive_put(f"{self.task.local}/tree", self.new_remote())

    def pull_tree(self, count: int) -> None:
        files = self.client.instances.get(self.task.instance).files
        for _ in range(count):
            target = self.new_local()
            files.recursive_get(f"{self.task.remote}/tree", target)
            if not os.path.exists(target):
                raise FileNotFoundError("recursive_get() wrote nothing")

    def upload_image(self, count: int) -> None:
        for _ in range(count):
            with open(f"{self.task.local}/image.tar", "rb") as file:
                self.client.images.create(file).delete(wait=True)

    def export_image(self, count: int) -> None:
        image = self.client.images.get(self.task.fingerprint)
        for _ in range(count):
            with image.export() as source, open(self.new_local(), "wb") as target:
                shutil.copyfileobj(source, target)

    def wait_for_operation(self, count: int) -> None:
        instance = self.client.instances.get(self.task.instance)
        for _ in range(count):
            instance.freeze(wait=True)
            instance.unfreeze(wait=True)

    def events(self, count: int) -> None:
        wanted = count * self.task.events

        class Counting(WebSocketBaseClient):
            def handshake_ok(self) -> None: ...

            def received_message(self, message: object) -> None:
                nonlocal wanted
                json.loads(message.data)
                wanted -= 1

        socket = self.client.events(websocket_client=Counting)
        socket.connect()
        while wanted > 0:
            assert socket.once()
        socket.close_connection()


if __name__ == "__main__":
    harness.main(Pylxd)
