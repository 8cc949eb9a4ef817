"""A client without any of the SDK, which notes the shape of each answer and event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from tests.live.conformance.shapes import Shape, facts, general, shape


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def metadata(self) -> Any:
        return self.body["metadata"]


@dataclass
class Recorder:
    """One server, and the shapes of what it said, in order."""

    socket: Path
    steps: list[tuple[str, str, Shape]] = field(default_factory=list[tuple[str, str, Shape]])
    """A label, the path, and the shape."""
    events: set[str] = field(default_factory=set[str])

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket)))
        self._stream = await self._session.ws_connect("http://incus/1.0/events?type=lifecycle,operation")
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.sleep(0.1)
        await self._stream.close()
        await self._listening
        await self._session.close()

    async def _listen(self) -> None:
        async for message in self._stream:
            event = json.loads(message.data)
            about = event["metadata"]
            name = about["action"] if event["type"] == "lifecycle" else f"{about['description']}: {about['status']}"
            self.events |= {f"{event['type']} {name}{each}" for each in facts({**event, "location": ""})}

    async def do(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request, and note the shape of the answer."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        url = URL(f"http://incus{path}", encoded=True)
        async with self._session.request(method, url, data=data, headers=headers) as answer:
            content = await answer.read()
            is_json = answer.content_type == "application/json" and content
            found = Answer(answer.status, answer.headers, json.loads(content) if is_json else content)
        # What files and logs hold is compared, too.
        noted = found.body if is_json else {"content": "object"} if len(content) > 1000 else {"return": content}
        label = f"{method} {general(path)} {json.dumps(body) if not isinstance(body, bytes) else '...'}"
        self.steps.append((label, f"{method} {path}", shape(found.status, found.headers, noted)))
        return found

    async def run(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Send a request, and wait for its operation; returns that, or the answer's metadata."""
        answer = await self.do(method, path, body, **more)
        if isinstance(answer.body, dict) and answer.body["type"] == "async":
            answer = await self.do("GET", f"{answer.body['operation']}/wait")
        return answer.body["metadata"]

    async def websocket(self, operation: str, secret: str) -> bytes:
        """Read a websocket of an operation to its end."""
        url = f"http://incus{operation}/websocket?secret={secret}"
        received = b""
        async with self._session.ws_connect(url) as connection:
            async for message in connection:
                if message.type == aiohttp.WSMsgType.BINARY:
                    received += message.data
                elif message.type == aiohttp.WSMsgType.TEXT:  # the end of a stream
                    break
        self.steps.append(("websocket", f"GET {operation}/websocket", frozenset({received.decode()})))
        return received
