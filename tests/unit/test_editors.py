"""What an editor offers and shows for both clients: pyright's language server is asked, as editors do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ASYNC = """
from incus_sdk import Client
async def main(client: Client) -> None:
    client.instances
    client.instances.launch
    pool = client.storage_pools["default"]
    pool.volumes.create
    client.cluster.join
    client.events.listen
    box = await client.instances.get("c1")
    box.run
    box.path("/etc").read_text
    await box.path("/etc").stat()
    box.snapshots.create
    operation = await box.stop()
    operation.wait
    async with client.instances.temporary("busybox") as other:
        other.editing
        async with other.open_process(["cat"]) as process:
            process.wait
            process.stdin.drain
    async for each in box.path("/").iterdir():
        each.push
    for profile in await client.profiles.list():
        profile.refresh
"""
BLOCKING = re.sub(r"\b(async|await) ", "", ASYNC).replace("incus_sdk", "incus_sdk.sync")
LINES = [number for number, line in enumerate(ASYNC.splitlines()) if re.fullmatch(r"\s+\S+\.[a-z_]+", line)]


class Editor:
    """A program that asks a language server, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "pyrightconfig.json").write_text(json.dumps({"venvPath": str(ROOT), "venv": ".venv"}))
        command = [str(Path(sys.executable).parent / "pyright-langserver"), "--stdio"]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._number = 0
        self.ask(
            "initialize",
            {"processId": None, "capabilities": HOVERS, "workspaceFolders": [{"uri": folder.as_uri(), "name": "x"}]},
        )
        self._send({"method": "initialized", "params": {}})

    def open(self, name: str, text: str) -> None:
        uri = (self._folder / name).as_uri()
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})

    def at(self, verb: str, name: str, line: int, column: int) -> Any:
        where = {
            "textDocument": {"uri": (self._folder / name).as_uri()},
            "position": {"line": line, "character": column},
        }
        return self.ask(f"textDocument/{verb}", where)

    def ask(self, method: str, params: object) -> Any:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            message = self._receive()
            if "method" not in message and message.get("id") == self._number:
                return message["result"]
            if "id" in message:  # a question of the server
                self._send({"id": message["id"], "result": [None] * len(message["params"].get("items", ()))})

    def _send(self, message: dict[str, object]) -> None:
        assert self._server.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._server.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._server.stdin.flush()

    def _receive(self) -> Any:
        assert self._server.stdout is not None
        size = 0
        while (line := self._server.stdout.readline()) != b"\r\n":
            assert line, "the language server has ended"
            name, _, value = line.partition(b":")
            size = int(value) if name == b"Content-Length" else size
        return json.loads(self._server.stdout.read(size))

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()


HOVERS = {"textDocument": {"hover": {"contentFormat": ["plaintext"]}}}


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    editor = Editor(tmp_path_factory.mktemp("editor"))
    editor.open("of_async_code.py", ASYNC)
    editor.open("of_blocking_code.py", BLOCKING)
    yield editor
    editor.close()


@pytest.mark.parametrize("line", LINES, ids=lambda line: ASYNC.splitlines()[line].strip())
def test_completion_and_hover_are_as_good_for_blocking_code(editor: Editor, line: int) -> None:
    names, hovers = list[set[str]](), list[str]()
    for file, code in (("of_async_code.py", ASYNC), ("of_blocking_code.py", BLOCKING)):
        text = code.splitlines()[line]
        column = text.rindex(".") + 1
        found = editor.at("completion", file, line, column)
        items = found if isinstance(found, list) else found["items"]
        names.append({item["label"] for item in items if re.match("[a-z]", item["label"])})
        hovers.append(editor.at("hover", file, line, column)["contents"]["value"])
    assert names[1] == names[0] >= {ASYNC.splitlines()[line].rpartition(".")[2]}
    asynchronous, blocking = hovers
    assert re.match(r"\((method|function|property)\)", blocking)
    assert len(asynchronous.splitlines()) <= len(blocking.splitlines()) + 3
    assert "CoroutineType" not in blocking
    assert not re.search(r"\b(async|await|asyncio)\b", blocking)
