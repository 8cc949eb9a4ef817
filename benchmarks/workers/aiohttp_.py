"""Bare aiohttp with json: what one would write without an SDK, and without its checks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import harness
from aiohttp import WSMsgType


class Aiohttp(harness.Worker):
    async def connect(self) -> None:
        task = self.task
        if task.https:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            tls.check_hostname = False
            tls.load_verify_locations(task.server_certificate)
            tls.load_cert_chain(task.certificate, task.key)
            connector: aiohttp.BaseConnector = aiohttp.TCPConnector(ssl=tls, limit=0)
        else:
            connector = aiohttp.UnixConnector(task.socket, limit=0)
        self.base = task.url if task.https else "http://incus"
        self.session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        self.turns = asyncio.Semaphore(32)  # files that are under way, as with this SDK
        self.files = f"{self.base}/1.0/instances/{task.instance}/files"

    async def close(self) -> None:
        await self.session.close()

    async def request(self, method: str, path: str, **options: Any) -> Any:
        async with self.session.request(method, self.base + path, **options) as response:
            answer = json.loads(await response.read())
            assert response.status < 400, answer
            return answer["metadata"]

    async def get(self, count: int) -> None:
        for _ in range(count):
            await self.request("GET", "/1.0")

    async def get_at_once(self, count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(self.request("GET", "/1.0") for _ in range(harness.AT_ONCE["get_at_once"])))

    async def list_instances(self, count: int) -> None:
        for _ in range(count):
            instances = await self.request("GET", f"/1.0/instances?recursion={self.task.recursion}")
            if self.task.fields:
                harness.read_keys(instances, self.task.recursion)

    async def run(self, command: list[str], input: AsyncIterator[bytes] | None = None, keep: bool = True) -> bytes:
        """The output of a command, and nothing of it unless ``keep``."""
        body = {"command": command, "wait-for-websocket": True}
        operation = await self.request("POST", f"/1.0/instances/{self.task.instance}/exec", json=body)
        path, secrets = f"/1.0/operations/{operation['id']}", operation["metadata"]["fds"]
        sockets = {
            name: await self.session.ws_connect(
                f"{self.base}{path}/websocket?secret={secrets[name]}", max_msg_size=0, autoping=False
            )
            for name in ("control", "0", "1", "2")
        }
        output, size = bytearray(), 0

        async def send() -> None:
            if input is not None:
                async for piece in input:
                    await sockets["0"].send_bytes(piece)
            with contextlib.suppress(OSError, aiohttp.ClientError):  # if the command has ended
                await sockets["0"].send_str("")

        async def receive(name: str) -> None:
            nonlocal size
            async for message in sockets[name]:
                if message.type == WSMsgType.TEXT:
                    return
                if message.type == WSMsgType.BINARY:
                    size += len(message.data)
                    if keep:
                        output.extend(message.data)

        waiting = self.request("GET", f"{path}/wait?timeout=-1")
        *_, ended = await asyncio.gather(send(), receive("1"), receive("2"), waiting)
        await asyncio.gather(*(socket.close() for socket in sockets.values()))
        assert ended["metadata"]["return"] == 0, ended
        if not keep:
            harness.check_size(size, self.task.size)
        return bytes(output)

    async def exec(self, count: int) -> None:
        for _ in range(count):
            await self.run(["true"])

    async def exec_at_once(self, count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(self.run(["true"]) for _ in range(harness.AT_ONCE["exec_at_once"])))

    async def out_kept(self, count: int) -> None:
        for _ in range(count):
            output = await self.run(["head", "-c", str(self.task.size), "/dev/zero"])
            harness.check_size(len(output), self.task.size)

    async def out_streamed(self, count: int) -> None:
        for _ in range(count):
            await self.run(["head", "-c", str(self.task.size), "/dev/zero"], keep=False)

    async def into(self, count: int) -> None:
        for _ in range(count):

            async def pieces() -> AsyncIterator[bytes]:
                for piece in harness.zeros(self.task.size):
                    yield piece

            harness.check_size(int(await self.run(["wc", "-c"], pieces())), self.task.size)

    async def into_from_file(self, count: int) -> None:
        for _ in range(count):

            async def pieces() -> AsyncIterator[bytes]:
                with open(f"{self.task.local}/big", "rb") as file:
                    while piece := file.read(harness.PIECE):
                        yield piece

            harness.check_size(int(await self.run(["wc", "-c"], pieces())), self.task.size)

    async def push(self, count: int) -> None:
        for _ in range(count):
            with open(f"{self.task.local}/big", "rb") as file:
                query, headers = {"path": self.new_remote()}, {"X-Incus-type": "file"}
                async with self.session.post(self.files, params=query, data=file, headers=headers) as response:
                    assert response.status == 200, await response.text()

    async def post_file(self, path: str, kind: str, content: bytes = b"") -> None:
        async with self.turns:
            options = {"params": {"path": path}, "headers": {"X-Incus-type": kind}}
            async with self.session.post(self.files, data=content, **options) as response:
                assert response.status == 200, await response.text()

    async def get_file(self, path: str, local: str) -> None:
        async with self.turns, self.session.get(self.files, params={"path": path}) as response:
            Path(local).write_bytes(await response.read())

    async def list_folder(self, path: str) -> list[str]:
        names: list[str] = await self.request(
            "GET", f"/1.0/instances/{self.task.instance}/files", params={"path": path}
        )
        return names

    async def push_tree(self, count: int) -> None:
        tree = f"{self.task.local}/tree"
        for _ in range(count):
            target = self.new_remote()
            await self.post_file(target, "directory")
            folders = os.listdir(tree)
            await asyncio.gather(*(self.post_file(f"{target}/{folder}", "directory") for folder in folders))
            files = [f"{folder}/{name}" for folder in folders for name in os.listdir(f"{tree}/{folder}")]
            contents = {name: Path(f"{tree}/{name}").read_bytes() for name in files}
            await asyncio.gather(*(self.post_file(f"{target}/{name}", "file", contents[name]) for name in files))

    async def pull_tree(self, count: int) -> None:
        tree = f"{self.task.remote}/tree"
        for _ in range(count):
            target = self.new_local()
            os.mkdir(target)
            for folder in await self.list_folder(tree):
                os.mkdir(f"{target}/{folder}")
                names = [f"{folder}/{name}" for name in await self.list_folder(f"{tree}/{folder}")]
                await asyncio.gather(*(self.get_file(f"{tree}/{name}", f"{target}/{name}") for name in names))

    async def pull(self, count: int) -> None:
        for _ in range(count):
            await self.download(f"{self.files}?path={self.task.remote}/big")

    async def download(self, url: str) -> None:
        async with self.session.get(url) as response:
            assert response.status == 200, await response.text()
            with open(self.new_local(), "wb") as file:
                async for piece in response.content.iter_any():
                    file.write(piece)

    async def upload_image(self, count: int) -> None:
        for _ in range(count):
            with open(f"{self.task.local}/image.tar", "rb") as file:
                operation = await self.request("POST", "/1.0/images", data=file)
            image = await self.request("GET", f"/1.0/operations/{operation['id']}/wait?timeout=-1")
            operation = await self.request("DELETE", f"/1.0/images/{image['metadata']['fingerprint']}")
            await self.request("GET", f"/1.0/operations/{operation['id']}/wait?timeout=-1")

    async def export_image(self, count: int) -> None:
        for _ in range(count):
            await self.download(f"{self.base}/1.0/images/{self.task.fingerprint}/export")

    async def wait_for_operation(self, count: int) -> None:
        for _ in range(count):
            for action in ("freeze", "unfreeze"):
                path = f"/1.0/instances/{self.task.instance}/state"
                operation = await self.request("PUT", path, json={"action": action})
                ended = await self.request("GET", f"/1.0/operations/{operation['id']}/wait?timeout=-1")
                assert ended["status_code"] == 200, ended

    async def events(self, count: int) -> None:
        wanted = count * self.task.events
        async with self.session.ws_connect(f"{self.base}/1.0/events") as socket:
            async for message in socket:
                json.loads(message.data)
                wanted -= 1
                if not wanted:
                    return


if __name__ == "__main__":
    harness.main(Aiohttp)
