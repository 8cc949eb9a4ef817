"""A client without any of the SDK, which notes the shape of each answer and event."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from tests.live.conformance.shapes import Shape, facts, general, shape

_END = "the-end"
"""A profile whose events come after all others."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, and its shape."""

    status: int
    headers: Mapping[str, str]
    body: Any
    shape: Shape

    @property
    def metadata(self) -> Any:
        return self.body["metadata"]

    @property
    def operation(self) -> str:
        return str(self.body["operation"]) if isinstance(self.body, dict) and self.body["type"] == "async" else ""


@dataclass(frozen=True)
class Step:
    """What was asked for, in words that are the same for all servers; the requests; and the shape of the answers."""

    label: str
    requests: tuple[tuple[str, str], ...]
    shape: Shape


@dataclass
class Recorder:
    """One server, and what it said, in order."""

    socket: Path
    steps: list[Step] = field(default_factory=list[Step])
    events: set[str] = field(default_factory=set[str])

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket)))
        self._stream = await self._session.ws_connect("http://incus/1.0/events?type=lifecycle,operation")
        self._end = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self._send("POST", "/1.0/profiles", {"name": _END})
            await self._send("DELETE", f"/1.0/profiles/{_END}")
            async with asyncio.timeout(30):
                await self._end.wait()
            await asyncio.sleep(0.05)  # the server sends events side by side
        await self._stream.close()
        await self._listening
        await self._session.close()
        self.steps.append(Step("events", (("GET", "/1.0/events"),), frozenset(self.events)))

    async def _listen(self) -> None:
        async for message in self._stream:
            event = json.loads(message.data)
            about = event["metadata"]
            if _END in about.get("source", ""):
                if about["action"] == "profile-deleted":
                    self._end.set()
                continue
            name = about["action"] if event["type"] == "lifecycle" else f"{about['description']}: {about['status']}"
            self.events |= {f"{event['type']} {name} {each}" for each in facts(event)}

    async def do(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """Send a request, and note the shape of the answer."""
        answer = await self._send(method, path, body, **more)
        self._note(method, path, body, [(method, path)], answer.shape)
        return answer

    async def run(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Send a request, and wait for its operation; returns that, or the answer's metadata."""
        answer = await self._send(method, path, body, **more)
        requests, found = [(method, path)], answer.shape
        if answer.operation:
            wait = f"{answer.operation}/wait"
            answer = await self._send("GET", wait)
            requests.append(("GET", wait))
            found |= {f"in the end {each}" for each in answer.shape}
        self._note(method, path, body, requests, found)
        return answer.metadata

    def _note(self, method: str, path: str, body: Any, requests: list[tuple[str, str]], found: Shape) -> None:
        text = "" if body is None else "..." if isinstance(body, bytes) else json.dumps(body)
        text = text if len(text) < 200 else "{...}"  # what was read before, and has names of each server's own
        label = general(f"{method} {path} {text}".strip())
        number = sum(step.label.partition(" (")[0] == label for step in self.steps)
        self.steps.append(Step(f"{label} ({number + 1})" if number else label, tuple(requests), found))

    async def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        shallow: bool = False,
    ) -> Answer:
        """Send a request; of what depends on the machine only what is at the top belongs to the shape."""
        data, kind = body, "application/octet-stream"
        if not isinstance(body, bytes | None):
            data, kind = json.dumps(body).encode(), "application/json"
        headers = {"Content-Type": kind, **(headers or {})}
        url = URL(f"http://incus{path}", encoded=True)
        async with self._session.request(method, url, data=data, headers=headers) as answer:
            content = await answer.read()
        decoded = json.loads(content) if answer.content_type == "application/json" and content else content
        noted = decoded
        if isinstance(decoded, bytes):
            noted = {"content": decoded.decode() if len(decoded) < 1000 else None}
        elif shallow:
            value = decoded["metadata"]
            noted = {**decoded, "metadata": dict.fromkeys(value) if isinstance(value, dict) else type(value)()}
        return Answer(answer.status, answer.headers, decoded, shape(answer.status, answer.headers, noted))

    async def all_websockets(self, operation: str, secrets: Mapping[str, str]) -> None:
        """Read the websockets of a command to their ends, and note what each said."""

        async def read(name: str, connection: aiohttp.ClientWebSocketResponse) -> str:
            received = b""
            with contextlib.suppress(ConnectionError):  # the command may be over, and its websockets closed
                if name == "0" and "1" in secrets:
                    await connection.send_str("")  # no more input
                async for message in connection:
                    if message.type == aiohttp.WSMsgType.BINARY:
                        received += message.data
                    elif message.type == aiohttp.WSMsgType.TEXT:  # the end of a stream
                        break
            return f"{name}: {received!r}"

        async with AsyncExitStack() as stack, asyncio.timeout(30):
            connections = dict[str, aiohttp.ClientWebSocketResponse]()
            for name in sorted(secrets, reverse=True):  # the command begins with the last; "control" is the first
                url = f"http://incus{operation}/websocket?secret={secrets[name]}"
                connections[name] = await stack.enter_async_context(self._session.ws_connect(url))
            del connections["control"]
            said = await asyncio.gather(*(read(*each) for each in connections.items()))
        request = ("GET", f"{operation}/websocket")
        self.steps.append(Step(f"websockets {sorted(secrets)}", (request,), frozenset(said)))
