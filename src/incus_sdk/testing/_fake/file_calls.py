"""``/1.0/instances/{name}/files``: the semantics of its four methods, without a connection."""

from __future__ import annotations

import posixpath
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate

from .files import FakeFiles
from .sftp_server import StatusError, real_path, system_call
from .tree import Node, Tree, chmod, chown


class FileCallError(Exception):
    """The answer to a call that fails.

    Args:
        status: The HTTP status.
        text: The server's words.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class FileAnswer:
    """The answer to a call that succeeds."""

    headers: Mapping[str, str]
    content: bytes | None = None
    """The body; None where it is an envelope with `names`, or the empty one."""
    names: list[str] | None = None
    """The names in a directory."""


def call(
    files: FakeFiles, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> FileAnswer:
    """Do what a request of the files endpoint asks for.

    Args:
        files: The files of the instance.
        method: ``GET``, ``HEAD``, ``POST`` or ``DELETE``.
        path: The parameter of that name; empty if it is missing.
        headers: The request's headers, by their lower-case names.
        body: The request's body.

    Raises:
        FileCallError: It fails.
    """
    if not path:
        raise FileCallError(400, "Missing path argument")
    path = path if path.startswith("/") else f"/{path}"
    headers = headers or {}
    try:
        match method:
            case "GET":
                return _get(files._tree, path)
            case "HEAD":
                node = _lstat(files._tree, path)
                extra = {"Content-Type": "application/octet-stream", "Content-Length": str(node.stat().size)}
                found = _describe(node)
                return FileAnswer({**found, **(extra if found["X-Incus-type"] == "file" else {})}, b"")
            case "POST":
                _post(files._tree, path, headers, body)
            case "DELETE":
                _delete(files._tree, path, headers.get("x-incus-force", "") not in ("", "0", "false", "no", "off"))
            case _:
                raise FileCallError(404, f'Method "{method}" not found')
    except StatusError as error:
        if error.code == 2:
            raise FileCallError(404, "Not Found") from error
        if error.code == 3:
            raise FileCallError(403, "Forbidden") from error
        raise FileCallError(500, f'sftp: "{error}" (SSH_FX_FAILURE)') from error
    return FileAnswer({})


def _lstat(tree: Tree, path: str) -> Node:
    with system_call("lstat", path):
        return tree.find(path, follow=False)


def _describe(node: Node) -> dict[str, str]:
    kinds = {stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
    return {
        "X-Incus-uid": str(node.uid),
        "X-Incus-gid": str(node.gid),
        "X-Incus-mode": f"{node.mode & 0o777:04o}",
        "X-Incus-modified": f"{datetime.fromtimestamp(int(node.mtime), UTC):%Y-%m-%d %H:%M:%S} +0000 UTC",
        "X-Incus-type": kinds.get(stat.S_IFMT(node.mode), "file"),
    }


def _get(tree: Tree, path: str) -> FileAnswer:
    node = _lstat(tree, path)
    headers = _describe(node)
    if isinstance(node.content, dict):
        return FileAnswer(headers, names=list(node.content))
    if isinstance(node.content, str):
        target = posixpath.join(posixpath.dirname(path), node.content)
        content, changed = real_path(target).encode(errors="surrogateescape"), time.time()
    else:
        content, changed = bytes(node.data()), node.mtime
    headers |= {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"inline;filename={posixpath.basename(path)}",
        "Last-Modified": formatdate(changed, usegmt=True),
    }
    return FileAnswer(headers, content)


def _post(tree: Tree, path: str, headers: Mapping[str, str], body: bytes) -> None:
    uid, gid, mode = (_number(headers, name, base) for name, base in (("uid", 10), ("gid", 10), ("mode", 8)))
    kind, write = headers.get("x-incus-type") or "file", headers.get("x-incus-write") or "overwrite"
    if write not in ("overwrite", "append"):
        raise FileCallError(400, f"Bad file write mode: {write}")
    try:
        there: Node | None = tree.find(path)
    except OSError:
        there = None
    match kind:
        case "file":
            overwrite = write == "overwrite"
            with system_call("open", path):
                file = tree.open(path, read=True, write=True, create=overwrite, truncate=overwrite)
            with system_call("write", path):
                file.write(len(file.node.data()), body)
            if there is None:
                _set(file.node, mode, uid, gid)
        case "directory":
            if there is None:
                with system_call("mkdir", path):
                    _set(tree.mkdir(path), 0o755 if mode is None else mode, uid, gid)
        case "symlink":
            target = body.decode(errors="surrogateescape")
            with system_call("symlink", target, path):
                _, _, node = tree.walk(path, follow=False)
                if node is None or node.content != target:
                    tree.symlink(target, path)
        case _:
            raise FileCallError(400, f"Bad file type: {kind}")


def _set(node: Node, mode: int | None, uid: int | None, gid: int | None) -> None:
    if mode is not None:
        chmod(node, mode & 0o777)
    if uid is not None or gid is not None:
        chown(node, node.uid if uid is None else uid, node.gid if gid is None else gid)


def _number(headers: Mapping[str, str], name: str, base: int) -> int | None:
    try:
        return int(headers.get(f"x-incus-{name}", ""), base)
    except ValueError:
        return None


def _delete(tree: Tree, path: str, recursive: bool) -> None:
    with system_call("stat", path):
        _, _, node = tree.walk(path, follow=False)
    if node is None:
        raise FileCallError(404, "Not Found" if recursive else f"remove {path}: file does not exist")
    try:
        with system_call("remove", path):
            tree.remove(path, recursive=recursive)
    except StatusError as error:
        raise FileCallError(500, f'remove {path}: sftp: "{error}" (SSH_FX_FAILURE)') from error
