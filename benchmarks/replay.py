"""A tiny server that repeats what a daemon answered: lists that are too long to make, and events without end.

    python benchmarks/replay.py DIRECTORY

In the directory, ``answers.json`` has the metadata of the answers by the name of a socket to listen on and by target;
``events.json`` has the events, which it sends over and over to whoever opens the websocket, as fast as they are read,
until that says anything.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCH = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n"
)
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def answer(metadata: Any) -> bytes:
    """As the daemon sends one: in one chunk."""
    envelope = {"type": "sync", "status": "Success", "status_code": 200, "operation": "", "error_code": 0, "error": ""}
    body = json.dumps({**envelope, "metadata": metadata}, separators=(",", ":")).encode() + b"\n"
    return HEAD + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def frame(event: Any) -> bytes:
    content = json.dumps(event, separators=(",", ":")).encode()
    size = len(content)
    return (b"\x81" + bytes([size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2)) + content


class Server:
    """Answers on one socket."""

    def __init__(self, answers: dict[str, Any], events: list[Any]) -> None:
        self._answers = {target: answer(metadata) for target, metadata in answers.items()}
        self._events = b"".join(map(frame, events))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                lines = request.decode().split("\r\n")
                target = lines[0].split()[1]
                if target.partition("?")[0] == "/1.0/events":
                    key = next(line for line in lines if line.lower().startswith("sec-websocket-key"))
                    await self._send_events(reader, writer, key.partition(":")[2].strip())
                    return
                writer.write(self._answers[target])
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the worker has ended
        finally:
            writer.close()

    async def _send_events(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        accept = base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest()).decode()
        writer.write(SWITCH.format(accept).encode())
        spoken = asyncio.ensure_future(reader.read(1))
        try:
            while not spoken.done():
                writer.write(self._events)
                await writer.drain()
                await asyncio.sleep(0)
        finally:
            spoken.cancel()


async def main() -> None:
    directory = Path(sys.argv[1])
    answers, events = (json.loads((directory / f"{name}.json").read_text()) for name in ("answers", "events"))
    servers = [
        await asyncio.start_unix_server(Server(targets, events).serve, directory / name, backlog=128)
        for name, targets in answers.items()
    ]
    print("listening", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
