"""This SDK, blocking: `incus_sdk.sync`."""

from __future__ import annotations

import os
import sys

import harness

if __name__ == "__main__":
    sys.modules["orjson"] = None  # type: ignore[assignment]  # as if it were not installed

from incus_sdk.sync import Client


class Blocking(harness.Worker):
    """What the async one does, one after the other."""

    def new_client(self) -> Client:
        task = self.task
        if task.https:
            return Client(task.url, cert=(task.certificate, task.key), server_cert=task.server_certificate)
        return Client(task.socket)

    def connect(self) -> None:
        self.client = self.new_client()
        self.box = self.client.instances[self.task.instance]

    def close(self) -> None:
        self.client.disconnect()

    def construct(self, count: int) -> None:
        for _ in range(count):
            self.new_client()

    def forked(self, count: int) -> None:
        for _ in range(count):
            child = os.fork()
            if not child:
                with self.new_client() as client:
                    client.query("GET", "/1.0")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0

    def get(self, count: int) -> None:
        for _ in range(count):
            self.client.query("GET", "/1.0")

    def list_instances(self, count: int) -> None:
        for _ in range(count):
            instances = self.client.instances.list(recursion=self.task.recursion)
            if self.task.fields:
                harness.read_attributes(instances, self.task.recursion)

    def exec(self, count: int) -> None:
        for _ in range(count):
            assert self.box.run(["true"]).returncode == 0

    def out_kept(self, count: int) -> None:
        for _ in range(count):
            result = self.box.run(["head", "-c", str(self.task.size), "/dev/zero"])
            harness.check_size(len(result.stdout), self.task.size)

    def out_streamed(self, count: int) -> None:
        for _ in range(count):
            size = 0
            with self.box.open_process(["head", "-c", str(self.task.size), "/dev/zero"]) as process:
                while piece := process.stdout.read(harness.PIECE):
                    size += len(piece)
                assert process.wait() == 0
            harness.check_size(size, self.task.size)

    def into(self, count: int) -> None:
        for _ in range(count):
            result = self.box.run(["wc", "-c"], input=harness.zeros(self.task.size))
            harness.check_size(int(result.stdout), self.task.size)

    def into_from_file(self, count: int) -> None:
        for _ in range(count):
            with open(f"{self.task.local}/big", "rb") as file:
                result = self.box.run(["wc", "-c"], input=file)
            harness.check_size(int(result.stdout), self.task.size)

    def push(self, count: int) -> None:
        for _ in range(count):
            self.box.path(self.new_remote()).push(f"{self.task.local}/big")

    def pull(self, count: int) -> None:
        for _ in range(count):
            self.box.path(f"{self.task.remote}/big").pull(self.new_local())

    def push_tree(self, count: int) -> None:
        for _ in range(count):
            self.box.path(self.new_remote()).push(f"{self.task.local}/tree")

    def pull_tree(self, count: int) -> None:
        for _ in range(count):
            self.box.path(f"{self.task.remote}/tree").pull(self.new_local())

    def wait_for_operation(self, count: int) -> None:
        for _ in range(count):
            self.box.freeze(wait=True)
            self.box.unfreeze(wait=True)

    def events(self, count: int) -> None:
        wanted = count * self.task.events
        with self.client.events.listen() as events:
            for _ in events:
                wanted -= 1
                if not wanted:
                    return


if __name__ == "__main__":
    harness.main(Blocking)
