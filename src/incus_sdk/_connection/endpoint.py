"""Where a server is: a unix socket or an HTTPS address."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..exceptions import IncusInputError

_HTTPS = r"(?ai)https://(?:(?P<host>[a-z0-9._-]+)|\[(?P<ip>[0-9a-f.]*:[0-9a-f.:]+(?:%[a-z0-9._-]+)?)\])(?::(?P<port>\d{1,5}))?/?"
_LONGEST_SHOWN = 80  # characters of what is no endpoint: of a token, these have no secret


class Endpoint(NamedTuple):
    """The path of a unix socket, or the host and port of an HTTPS server."""

    socket: str | None = None
    host: str = ""
    port: int = 8443

    @classmethod
    def parse(cls, endpoint: str) -> Endpoint:
        """Read ``https://host[:port]``, ``unix:///path`` or a path; raise `IncusInputError` for anything else."""
        if endpoint.startswith(("unix://", "/")):
            path = endpoint.removeprefix("unix://")
            if not path.startswith("/") or "\0" in path:
                raise IncusInputError(f"{endpoint!r} is not the path of a socket: write unix:// and an absolute path")
            return cls(socket=path)
        found = re.fullmatch(_HTTPS, endpoint)
        port = int((found and found["port"]) or 8443)
        if found is None or not 0 < port < 65536:
            public = without_secrets(endpoint)
            shown = public if len(public) < _LONGEST_SHOWN else f"{public[:_LONGEST_SHOWN]}..."
            raise IncusInputError(
                f"{shown!r} is not an endpoint: write https://host:8443 or unix:///path/to/unix.socket"
            )
        return cls(host=(found["ip"] or found["host"]).lower(), port=port)

    @property
    def url(self) -> str:
        """The base of request URLs."""
        return "http://unix.socket" if self.socket is not None else f"https://{self.address}"

    @property
    def authority(self) -> str:
        """What requests name as their host."""
        return "unix.socket" if self.socket is not None else self.address

    @property
    def address(self) -> str:
        """``host:port`` of an HTTPS server."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.url if self.socket is None else f"unix://{self.socket}"


def without_secrets(url: str) -> str:
    """A URL as errors show it: without a user's name and password, a query and a fragment."""
    return re.split("[?#]", re.sub(r"(?s)^((?:[^/@]*//)?).*@", r"\1...@", url))[0]
