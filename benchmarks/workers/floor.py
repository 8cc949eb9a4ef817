"""The floor: blocking sockets, requests written beforehand, and no more of the answers read than is needed.

It knows neither errors nor limits nor time-outs, masks what it sends with zeros, and does what a library cannot: it is
what the same bytes cost at least in Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import harness

RECEIVED = 256 * 1024  # bytes at a time
HANDSHAKE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
EMPTY_TEXT = b"\x81\x80\0\0\0\0"


class Connection:
    """One socket, and what was received but not used."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self.rest = b""

    def head(self) -> bytes:
        while (end := self.rest.find(b"\r\n\r\n")) < 0:
            self.rest += self._receive()
        head, self.rest = self.rest[: end + 2], self.rest[end + 4 :]
        return head

    def answer(self) -> Any:
        """The JSON of an answer."""
        metadata: Any = json.loads(b"".join(self.pieces()))["metadata"]
        return metadata

    def pieces(self) -> Iterable[bytes]:
        """The body of an answer, as it comes."""
        head = self.head().lower()
        assert head.startswith(b"http/1.1 2"), head
        start = head.find(b"content-length: ")
        if start >= 0:
            return self._of_length(int(head[start + 16 : head.find(b"\r", start)]))
        return self._chunks()

    def _of_length(self, left: int) -> Iterable[bytes]:
        while left:
            piece, self.rest = self.rest or self._receive(), b""
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterable[bytes]:
        while True:
            while (end := self.rest.find(b"\r\n")) < 0:
                self.rest += self._receive()
            left = int(self.rest[:end], 16)
            self.rest = self.rest[end + 2 :]
            last = not left
            while left > 0:
                piece = self.rest[:left] or self._receive()
                self.rest = self.rest[left:] if self.rest else piece[left:]
                piece = piece[:left]
                left -= len(piece)
                yield piece
            while len(self.rest) < 2:
                self.rest += self._receive()
            self.rest = self.rest[2:]
            if last:
                return

    def frames(self) -> Iterable[tuple[int, bytes]]:
        """The first byte of each frame of a websocket, and its content."""
        buffer, at = self.rest, 0
        self.rest = b""
        while True:
            while True:
                have = len(buffer) - at
                if have >= 2:
                    size, start = buffer[at + 1], at + 2
                    if size >= 126:
                        start = at + (4 if size == 126 else 10)
                        size = int.from_bytes(buffer[at + 2 : start])
                    if len(buffer) >= start + size and len(buffer) >= start:
                        break
                buffer = buffer[at:] + self._receive()
                at = 0
            yield buffer[at], buffer[start : start + size]
            at = start + size

    def _receive(self) -> bytes:
        received = self.socket.recv(RECEIVED)
        if not received:
            raise ConnectionError("closed")
        return received


class Floor(harness.Worker):
    def connect(self) -> None:
        self.idle: list[Connection] = []
        self.tls = None
        self.host = "incus"
        if self.task.https:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.tls.check_hostname = False
            self.tls.load_verify_locations(self.task.server_certificate)
            self.tls.load_cert_chain(self.task.certificate, self.task.key)
            self.host = self.task.url.removeprefix("https://")
        self.get_server = self.request("GET", "/1.0")

    def close(self) -> None:
        for connection in self.idle:
            connection.socket.close()

    def take(self) -> Connection:
        return self.idle.pop() if self.idle else self.open()

    def open(self) -> Connection:
        if self.tls is None:
            made = socket.socket(socket.AF_UNIX)
            made.connect(self.task.socket)
            return Connection(made)
        host, _, port = self.host.partition(":")
        made = socket.create_connection((host, int(port)))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Connection(self.tls.wrap_socket(made))

    def request(self, method: str, path: str, headers: str = "", body: bytes = b"") -> bytes:
        if body:
            headers += f"Content-Length: {len(body)}\r\n"
        return f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\n{headers}\r\n".encode() + body

    def ask(self, *requests: bytes) -> list[Any]:
        """The JSON of all answers, each on a connection of its own, at once."""
        connections = [self.take() for _ in requests]
        for connection, request in zip(connections, requests, strict=True):
            connection.socket.sendall(request)
        answers = [connection.answer() for connection in connections]
        self.idle += connections
        return answers

    def get(self, count: int) -> None:
        for _ in range(count):
            self.ask(self.get_server)

    def get_at_once(self, count: int) -> None:
        for _ in range(count):
            self.ask(*[self.get_server] * harness.AT_ONCE["get_at_once"])

    def list_instances(self, count: int) -> None:
        request = self.request("GET", f"/1.0/instances?recursion={self.task.recursion}")
        for _ in range(count):
            (instances,) = self.ask(request)
            if self.task.fields:
                harness.read_keys(instances, self.task.recursion)

    def run(self, command: list[str], times: int = 1, input: Iterable[bytes] = (), keep: bool = True) -> int:
        """Run a command, several times at once; the size of all output."""
        body = json.dumps({"command": command, "wait-for-websocket": True}).encode()
        post = self.request("POST", f"/1.0/instances/{self.task.instance}/exec", body=body)
        operations = self.ask(*[post] * times)
        sockets: list[dict[str, Connection]] = []
        for operation in operations:
            opened: dict[str, Connection] = {}
            for name in ("control", "0", "1", "2"):
                path = f"/1.0/operations/{operation['id']}/websocket?secret={operation['metadata']['fds'][name]}"
                opened[name] = self.open()
                opened[name].socket.sendall(self.request("GET", path, HANDSHAKE))
            sockets.append(opened)
        for opened in sockets:
            for connection in opened.values():
                assert (head := connection.head()).startswith(b"HTTP/1.1 101"), head
        waits = [self.take() for _ in operations]
        for operation, connection in zip(operations, waits, strict=True):
            connection.socket.sendall(self.request("GET", f"/1.0/operations/{operation['id']}/wait?timeout=-1"))
        kept, size = [], 0
        for opened, waiting in zip(sockets, waits, strict=True):
            for piece in input:
                opened["0"].socket.sendall(b"\x82\xff" + len(piece).to_bytes(8) + bytes(4))
                opened["0"].socket.sendall(piece)
            with contextlib.suppress(OSError):  # if the command has ended
                opened["0"].socket.sendall(EMPTY_TEXT)
            for name in ("1", "2"):
                for first, content in opened[name].frames():
                    if first == 0x81:
                        break
                    if first == 0x82:  # and no ping
                        size += len(content)
                        if keep:
                            kept.append(content)
            ended = waiting.answer()
            assert ended["metadata"]["return"] == 0, ended
            for connection in opened.values():
                connection.socket.close()
        self.idle += waits
        b"".join(kept)
        return size

    def exec(self, count: int) -> None:
        for _ in range(count):
            self.run(["true"])

    def exec_at_once(self, count: int) -> None:
        for _ in range(count):
            self.run(["true"], harness.AT_ONCE["exec_at_once"])

    def out_kept(self, count: int) -> None:
        for _ in range(count):
            size = self.run(["head", "-c", str(self.task.size), "/dev/zero"])
            harness.check_size(size, self.task.size)

    def out_streamed(self, count: int) -> None:
        for _ in range(count):
            size = self.run(["head", "-c", str(self.task.size), "/dev/zero"], keep=False)
            harness.check_size(size, self.task.size)

    def into(self, count: int) -> None:
        for _ in range(count):
            self.run(["wc", "-c"], input=harness.zeros(self.task.size))

    def into_from_file(self, count: int) -> None:
        for _ in range(count):
            with open(f"{self.task.local}/big", "rb") as file:
                self.run(["wc", "-c"], input=iter(lambda: file.read(harness.PIECE), b""))

    def push(self, count: int) -> None:
        for _ in range(count):
            path = f"/1.0/instances/{self.task.instance}/files?path={self.new_remote()}"
            self.upload(f"{self.task.local}/big", path, "X-Incus-type: file\r\n")

    def upload(self, local: str, path: str, headers: str = "") -> Any:
        connection = self.take()
        with open(local, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            connection.socket.sendall(self.request("POST", path, f"{headers}Content-Length: {size}\r\n"))
            connection.socket.sendfile(file)
        answer = connection.answer()
        self.idle.append(connection)
        return answer

    def pull(self, count: int) -> None:
        for _ in range(count):
            self.download(f"/1.0/instances/{self.task.instance}/files?path={self.task.remote}/big")

    def download(self, path: str) -> None:
        connection = self.take()
        connection.socket.sendall(self.request("GET", path))
        with open(self.new_local(), "wb", buffering=0) as file:
            for piece in connection.pieces():
                file.write(piece)
        self.idle.append(connection)

    def upload_image(self, count: int) -> None:
        for _ in range(count):
            operation = self.upload(f"{self.task.local}/image.tar", "/1.0/images")
            image = self.wait(operation)
            (operation,) = self.ask(self.request("DELETE", f"/1.0/images/{image['metadata']['fingerprint']}"))
            self.wait(operation)

    def wait(self, operation: Any) -> Any:
        return self.ask(self.request("GET", f"/1.0/operations/{operation['id']}/wait?timeout=-1"))[0]

    def export_image(self, count: int) -> None:
        for _ in range(count):
            self.download(f"/1.0/images/{self.task.fingerprint}/export")

    def wait_for_operation(self, count: int) -> None:
        path = f"/1.0/instances/{self.task.instance}/state"
        requests = [
            self.request("PUT", path, body=json.dumps({"action": verb}).encode()) for verb in ("freeze", "unfreeze")
        ]
        for _ in range(count):
            for request in requests:
                (operation,) = self.ask(request)
                assert self.wait(operation)["status_code"] == 200

    def events(self, count: int) -> None:
        wanted = count * self.task.events
        connection = self.open()
        connection.socket.sendall(self.request("GET", "/1.0/events", HANDSHAKE))
        assert connection.head().startswith(b"HTTP/1.1 101")
        for _, content in connection.frames():
            json.loads(content.decode())
            wanted -= 1
            if not wanted:
                break
        connection.socket.close()


if __name__ == "__main__":
    harness.main(Floor)
