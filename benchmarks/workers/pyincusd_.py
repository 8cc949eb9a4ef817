"""pyincusd 7.5.1, generated from the API's description, on httpx and pydantic."""

from __future__ import annotations

import asyncio
from typing import Any

import harness
import pyincusd
from pyincusd.api.images_api import ImagesApi
from pyincusd.api.instances_api import InstancesApi
from pyincusd.api.operations_api import OperationsApi
from pyincusd.api.server_api import ServerApi
from pyincusd.local import Client
from pyincusd.models.instance_exec_post import InstanceExecPost
from pyincusd.models.instance_state_put import InstanceStatePut


class Pyincusd(harness.Worker):
    async def connect(self) -> None:
        task = self.task
        if task.https:
            files = {"ssl_ca_cert": task.server_certificate, "cert_file": task.certificate, "key_file": task.key}
            self.client = pyincusd.ApiClient(pyincusd.Configuration(host=task.url, **files))
        else:
            self.client = Client(task.socket)
        self.server, self.instances = ServerApi(self.client), InstancesApi(self.client)
        self.operations, self.images = OperationsApi(self.client), ImagesApi(self.client)

    async def close(self) -> None:
        await self.client.close()

    async def get(self, count: int) -> None:
        for _ in range(count):
            await self.server.server_get()

    async def get_at_once(self, count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(self.server.server_get() for _ in range(harness.AT_ONCE["get_at_once"])))

    async def list_instances(self, count: int) -> None:
        recursion = self.task.recursion
        get = self.instances.instances_get_recursion1 if recursion == 1 else self.instances.instances_get_recursion2
        for _ in range(count):
            instances = (await get()).metadata
            if self.task.fields:
                harness.read_attributes(instances, recursion)

    async def wait(self, answer: Any) -> Any:
        return (await self.operations.operation_wait_get(answer.metadata.id, timeout=-1)).metadata

    async def run(self) -> None:
        started = await self.instances.instance_exec_post(
            self.task.instance, var_exec=InstanceExecPost(command=["true"])
        )
        assert (await self.wait(started)).metadata["return"] == 0

    async def exec(self, count: int) -> None:
        for _ in range(count):
            await self.run()

    async def exec_at_once(self, count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(self.run() for _ in range(harness.AT_ONCE["exec_at_once"])))

    async def push(self, count: int) -> None:
        for _ in range(count):
            with open(f"{self.task.local}/big", "rb") as file:
                content = file.read()
            await self.instances.instance_files_post(self.task.instance, path=self.new_remote(), raw_file=content)

    async def pull(self, count: int) -> None:
        get = self.instances.instance_files_get_without_preload_content
        for _ in range(count):
            response = await get(self.task.instance, path=f"{self.task.remote}/big")
            with open(self.new_local(), "wb") as file:
                file.write(await response.aread())

    async def export_image(self, count: int) -> None:
        for _ in range(count):
            response = await self.images.image_export_get_without_preload_content(self.task.fingerprint)
            with open(self.new_local(), "wb") as file:
                file.write(await response.aread())

    async def wait_for_operation(self, count: int) -> None:
        for _ in range(count):
            for action in ("freeze", "unfreeze"):
                body = InstanceStatePut(action=action)
                await self.wait(await self.instances.instance_state_put(self.task.instance, state=body))


if __name__ == "__main__":
    harness.main(Pyincusd)
