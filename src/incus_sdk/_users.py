"""Users and groups of an instance, as its own ``/etc/passwd`` and ``/etc/group`` name them."""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

from ._connection import wire
from ._connection.scope import Scope
from .exceptions import IncusInputError, IncusNotFoundError

_PASSWD, _GROUP = "/etc/passwd", "/etc/group"
_MAX_NAMES = 4 * 2**20  # bytes of an instance's list of users or groups
_MAX_LINKS = 8  # symbolic links that lead to it
_ID = "[0-9]{1,10}"
_SHELLS = ("ash", "bash", "busybox", "dash", "ksh", "mksh", "sh", "zsh")  # that know -l, and exec as POSIX has it


class User(NamedTuple):
    """A user of an instance."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    """That of a login, or ``/bin/sh`` in place of one that runs no commands as POSIX has them."""


class Users:
    """The users and groups of an instance.

    Args:
        scope: The connection to the server.
        path: The API path of the instance, like ``("instances", "c1")``.
    """

    def __init__(self, scope: Scope, path: tuple[str, ...]) -> None:
        self._scope = scope
        self._path = path

    async def user(self, user: int | str) -> User:
        """Look a user up.

        Args:
            user: A name or an id.

        Raises:
            IncusInputError: The instance has none of that name or id.
        """
        name, _, uid, gid, _, home, shell, *_ = await self._find(_PASSWD, user)
        if posixpath.basename(shell) not in _SHELLS:
            shell = "/bin/sh"
        return User(name, int(uid), int(gid), home or "/", shell)

    async def group(self, name: str) -> int:
        """Look up the id of a group.

        Args:
            name: Its name.

        Raises:
            IncusInputError: The instance has none of that name.
        """
        return int((await self._find(_GROUP, name))[2])

    async def other_groups(self, user: str) -> list[int]:
        """Look up the ids of a user's supplementary groups.

        Args:
            user: The user's name.
        """
        return [int(entry[2]) for entry in await self._entries(_GROUP) if user in entry[3].split(",")]

    async def _find(self, file: str, key: int | str) -> list[str]:
        for entry in await self._entries(file):
            if (entry[0] if isinstance(key, str) else int(entry[2])) == key:
                return entry
        raise IncusInputError(f"the instance's {file} has no {key!r}")

    async def _entries(self, file: str) -> list[list[str]]:
        """The entries of a file of the instance, which can hold anything: without those that make no sense."""
        fields, number = (7, (2, 3)) if file == _PASSWD else (4, (2,))
        lines = (await self._read(file)).decode(errors="replace").split("\n")
        entries = [line.split(":") for line in lines]
        return [
            entry
            for entry in entries
            if len(entry) >= fields and all(re.fullmatch(_ID, entry[index]) for index in number)
        ]

    async def _read(self, file: str) -> bytes:
        """A file of the instance, which is read no further than a list of names can go."""
        path, url = file, wire.path(*self._path, "files")
        for _ in range(_MAX_LINKS):
            content = bytearray()
            try:
                async with self._scope.download("GET", url, query={"path": path}) as stream:
                    kind = stream.headers.get("X-Incus-type")
                    async for piece in stream.chunks():
                        content += piece
                        if len(content) > _MAX_NAMES:
                            break
            except IncusNotFoundError:
                raise IncusInputError(f"the instance has no {file} to look up names in: use numeric ids") from None
            if len(content) > _MAX_NAMES or kind not in ("file", "symlink"):
                raise IncusInputError(f"the instance's {file} is not a list of names, or too long: use numeric ids")
            if kind == "file":
                return bytes(content)
            path = content.decode(errors="surrogateescape")  # absolute, as the server resolved it
        raise IncusInputError(f"the instance's {file} leads through too many symbolic links: use numeric ids")


class Account:
    """A user of an instance, looked up when it is needed, and once.

    Args:
        users: The instance's users.
        user: A name or an id.
    """

    def __init__(self, users: Users, user: int | str) -> None:
        self._users = users
        self._user = user
        self._found: User | None = None

    async def user(self) -> User:
        """Look it up.

        Raises:
            IncusInputError: The instance has no such user.
        """
        if self._found is None:
            self._found = await self._users.user(self._user)
        return self._found
