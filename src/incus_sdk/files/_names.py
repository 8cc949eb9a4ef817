"""Names and paths of an instance, which are bytes: as text and back."""

from __future__ import annotations

from ..exceptions import IncusError, IncusInputError

MAX_PATH = 4095  # bytes of a path that Linux accepts


def decode_name(name: bytes) -> str:
    """A name that the instance lists; raises `IncusError` for one that could lead out of its directory."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise IncusError(f"the instance lists the invalid name {name!r}")
    return name.decode(errors="surrogateescape")


def own_name(name: str, path: object) -> str:
    """The name, or `IncusInputError` if it is empty."""
    if not name:
        raise IncusInputError(f"into=True needs a name, which {path} does not have")
    return name


def is_utf8(path: str) -> bool:
    """Whether a path fits into a query or JSON."""
    return path.isascii() or path.encode(errors="surrogateescape").decode(errors="ignore") == path


def encode_path(path: str) -> bytes:
    """A path as bytes; raises `IncusInputError` for what cannot be one."""
    try:
        encoded = path.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise IncusInputError(f"invalid path {path!r}: it cannot be encoded in UTF-8") from None
    if not 0 < len(encoded) <= MAX_PATH or b"\0" in encoded:
        raise IncusInputError(f"invalid path {path[:50]!r}: it is empty, has a NUL, or more than {MAX_PATH} bytes")
    return encoded
