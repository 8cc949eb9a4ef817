"""This SDK."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import harness

if __name__ == "__main__" and harness.task().competitor == "sdk":
    sys.modules["orjson"] = None  # type: ignore[assignment]  # as if it were not installed

from incus_sdk import Client


class Sdk(harness.Worker):
    """Without orjson, unless the competitor is the one with it."""

    @classmethod
    def can(cls, task: harness.Task) -> bool:
        return super().can(task) and (task.competitor == "sdk" or task.job in ("get", "list_instances"))

    async def connect(self) -> None:
        task = self.task
        if task.https:
            pair = task.certificate, task.key
            self.client = Client(task.url, cert=pair, server_cert=task.server_certificate)
        else:
            self.client = Client(task.socket)
        self.box = self.client.instances[task.instance]

    async def close(self) -> None:
        await self.client.disconnect()

    async def get(self, count: int) -> None:
        for _ in range(count):
            await self.client.query("GET", "/1.0")

    async def get_at_once(self, count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(self.client.query("GET", "/1.0") for _ in range(harness.AT_ONCE["get_at_once"])))

    async def list_instances(self, count: int) -> None:
        for _ in range(count):
            instances = await self.client.instances.list(recursion=self.task.recursion)
            if self.task.fields:
                harness.read_attributes(instances, self.task.recursion)

    async def exec(self, count: int) -> None:
        for _ in range(count):
            assert (await self.box.run(["true"])).returncode == 0

    async def exec_at_once(self, count: int) -> None:
        for _ in range(count):
            results = await asyncio.gather(*(self.box.run(["true"]) for _ in range(harness.AT_ONCE["exec_at_once"])))
            assert not any(result.returncode for result in results)

    async def out_kept(self, count: int) -> None:
        for _ in range(count):
            result = await self.box.run(["head", "-c", str(self.task.size), "/dev/zero"])
            harness.check_size(len(result.stdout), self.task.size)

    async def out_streamed(self, count: int) -> None:
        for _ in range(count):
            size = 0
            async with self.box.open_process(["head", "-c", str(self.task.size), "/dev/zero"]) as process:
                while piece := await process.stdout.read(harness.PIECE):
                    size += len(piece)
                assert await process.wait() == 0
            harness.check_size(size, self.task.size)

    async def into(self, count: int) -> None:
        for _ in range(count):

            async def pieces():
                for piece in harness.zeros(self.task.size):
                    yield piece

            result = await self.box.run(["wc", "-c"], input=pieces())
            harness.check_size(int(result.stdout), self.task.size)

    async def into_from_file(self, count: int) -> None:
        for _ in range(count):
            with open(f"{self.task.local}/big", "rb") as file:
                result = await self.box.run(["wc", "-c"], input=file)
            harness.check_size(int(result.stdout), self.task.size)

    async def push(self, count: int) -> None:
        for _ in range(count):
            await self.box.path(self.new_remote()).push(f"{self.task.local}/big")

    async def pull(self, count: int) -> None:
        for _ in range(count):
            await self.box.path(f"{self.task.remote}/big").pull(self.new_local())

    async def push_tree(self, count: int) -> None:
        for _ in range(count):
            await self.box.path(self.new_remote()).push(f"{self.task.local}/tree")

    async def pull_tree(self, count: int) -> None:
        for _ in range(count):
            await self.box.path(f"{self.task.remote}/tree").pull(self.new_local())

    async def upload_image(self, count: int) -> None:
        for _ in range(count):
            image = await self.client.images.create(Path(f"{self.task.local}/image.tar"), wait=True)
            await image.delete(wait=True)

    async def export_image(self, count: int) -> None:
        for _ in range(count):
            await self.client.images.export(self.task.fingerprint, self.new_local())

    async def wait_for_operation(self, count: int) -> None:
        for _ in range(count):
            await self.box.freeze(wait=True)
            await self.box.unfreeze(wait=True)

    async def events(self, count: int) -> None:
        wanted = count * self.task.events
        async with self.client.events.listen() as events:
            async for _ in events:
                wanted -= 1
                if not wanted:
                    return


if __name__ == "__main__":
    harness.main(Sdk)
