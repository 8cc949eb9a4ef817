"""incus-sdk 1.0.0, as published."""

from __future__ import annotations

import asyncio

import harness

from incus_sdk import Client


class Published(harness.Worker):
    async def connect(self) -> None:
        task = self.task
        if task.https:
            self.client = Client(task.url, cert=(task.certificate, task.key))
        else:
            self.client = Client(f"unix://{task.socket}")
        await self.client.connect()

    async def close(self) -> None:
        await self.client.disconnect()

    async def get(self, count: int) -> None:
        for _ in range(count):
            await self.client.get_server_info()

    async def get_at_once(self, count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(self.client.get_server_info() for _ in range(harness.AT_ONCE["get_at_once"])))

    async def list_instances(self, count: int) -> None:
        for _ in range(count):
            instances = await self.client.instances.list(recursion=self.task.recursion)
            if self.task.fields:
                harness.read_attributes(instances, 1)
                if self.task.recursion == 2:  # it has no records below
                    harness.read_states([instance.state for instance in instances])

    async def run(self) -> None:
        operation = await self.client.instances.execute(self.task.instance, ["true"], wait=True)
        assert operation["metadata"]["metadata"]["return"] == 0

    async def exec(self, count: int) -> None:
        for _ in range(count):
            await self.run()

    async def exec_at_once(self, count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(self.run() for _ in range(harness.AT_ONCE["exec_at_once"])))

    async def upload_image(self, count: int) -> None:
        with open(f"{self.task.local}/image.tar", "rb") as file:
            await self.client.images.create(file.read(), wait=True)

    async def export_image(self, count: int) -> None:
        await self.client.images.export(self.task.fingerprint, self.new_local())

    async def wait_for_operation(self, count: int) -> None:
        for _ in range(count):
            await self.client.instances.freeze(self.task.instance, wait=True)
            await self.client.instances.unfreeze(self.task.instance, wait=True)


if __name__ == "__main__":
    harness.main(Published)
