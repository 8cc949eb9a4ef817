"""The head of a request, as bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..exceptions import IncusInputError
from .endpoint import Endpoint

_SENDABLE = re.compile("[!-~]+")
_FRAMING = {"host", "connection", "upgrade", "content-length", "transfer-encoding"}  # said by the connection alone
_DEFAULTS = {"user-agent": "User-Agent: incus-sdk\r\n", "accept-encoding": "Accept-Encoding: identity\r\n"}


def encode_head(
    method: str, target: str, endpoint: Endpoint, headers: Mapping[str, str], framing: Mapping[str, str]
) -> bytes:
    """A request line and headers.

    Args:
        method: As ``GET``.
        target: Path and query, quoted.
        endpoint: The server.
        headers: What the request says, checked by `wire.require_sendable`.
        framing: What the connection says of it: how long its body is, or what it is to become.
    """
    if not _SENDABLE.fullmatch(target):
        raise IncusInputError("the path of a request must have its names quoted")
    lines = dict(_DEFAULTS)
    for name, value in headers.items():
        if (key := name.lower()) not in _FRAMING:
            lines[key] = f"{name}: {value}\r\n"
    for name, value in framing.items():
        lines[name] = f"{name}: {value}\r\n"
    return f"{method} {target} HTTP/1.1\r\nHost: {endpoint.authority}\r\n{''.join(lines.values())}\r\n".encode()
