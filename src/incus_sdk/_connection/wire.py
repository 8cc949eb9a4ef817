"""The wire format as pure functions: paths and quoting, queries, bodies, the answer's envelope, ETags, merging.

It does not know sockets or the HTTP library. URLs are built here and nowhere else.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode

from ..exceptions import (
    _BY_REASON,
    _BY_STATUS,
    IncusAPIError,
    IncusConflictError,
    IncusConnectionError,
    IncusInputError,
    IncusPermissionError,
)

T = TypeVar("T")

_PLAIN = re.compile("[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")  # a name that is quoted already, and not "." or ".."
_ZEROS = bytes.maketrans(b"0123456789", b"0" * 10)
_MANY = 2**16  # bytes of JSON for which orjson is worth its import
_LONG = b"0" * 19  # digits; orjson rounds numbers that do not fit into 64 bits
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_UNSAFE_IN_HEADER = "[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]"

Query = Mapping[str, str | int | bool | None]


def path(*segments: str) -> str:
    """``/1.0/...`` of the segments, each quoted whole, so that a name can only reach its own object."""
    return "/".join(["/1.0", *map(quoted, segments)])


def quoted(segment: str) -> str:
    """A segment of a path."""
    if isinstance(segment, str) and _PLAIN.fullmatch(segment):
        return segment
    if not isinstance(segment, str):
        raise IncusInputError(f"a name must be a str, not {type(segment).__name__}: {segment!r}")
    if segment in ("", ".", ".."):
        raise IncusInputError(f"{segment!r} is not a name: it would address another object")
    try:
        return quote(segment, safe="")
    except UnicodeEncodeError:
        raise IncusInputError(f"{segment!r} is not a name: it cannot be written in UTF-8") from None


def names(url: str) -> list[str]:
    """The unquoted path segments after ``/1.0`` of a URL from the server, without its query and fragment."""
    path = url.partition("?")[0].partition("#")[0] if isinstance(url, str) else ""
    _, _, below = path.partition("/1.0/")
    if not below:
        raise IncusConnectionError(f"the server sent {ascii(url)[:100]} where the URL of an object belongs")
    return [unquote(segment) for segment in below.split("/")]


def text(json: Any, *keys: str) -> str:
    """The text at a path in JSON that a server sent; raises `IncusConnectionError` if there is none."""
    found = json
    for key in keys:
        found = found.get(key) if isinstance(found, (dict, Mapping)) else None
    if not isinstance(found, str):
        raise IncusConnectionError(f"the server sent an object without the text {'.'.join(keys)}")
    return found


def is_repeatable(method: str, target: str) -> bool:
    """Whether a request can be sent again. Older servers clear the log of a console as they send it."""
    return method in ("GET", "HEAD") and not target.partition("?")[0].endswith("/console")


def target(url_path: str, query: Query | None = None) -> str:
    """A path with its query, without parameters that are None; booleans are written as the server reads them."""
    pairs = [
        (key, str(value).lower() if isinstance(value, bool) else value)
        for key, value in (query or {}).items()
        if value is not None
    ]
    if not pairs:
        return url_path
    for key, value in pairs:
        if not isinstance(value, str | int):
            raise IncusInputError(f"the query's {key} must be a str, int or bool, not {type(value).__name__}")
    try:
        # File names in an instance can be other than UTF-8: Python has them as surrogates, the server takes any byte.
        query_string = urlencode(pairs, errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise IncusInputError(f"the query cannot be written in UTF-8: {error}") from None
    return f"{url_path}{'&' if '?' in url_path else '?'}{query_string}"


def encode(body: Any) -> bytes:
    """A body as JSON, in which records, other mappings and sequences are objects and arrays."""
    try:
        return json.dumps(body, default=_to_plain, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise IncusInputError(f"the body cannot be written as JSON: {error}") from None


def _to_plain(value: Any) -> Any:
    from datetime import datetime

    if isinstance(value, datetime):
        return value.astimezone().isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


_TAKEN_NAME = ("UNIQUE constraint failed", "already exists", "exists already")
BEING_CREATED = 'busy running a "create" operation'
_TAKEN = (*_TAKEN_NAME, BEING_CREATED, "already in trust store", ": file exists")
_IN_USE = ("currently in use", "still in use", "that is in use")
_FORBIDDEN = "User does not have permission"
_ANY_VALUE = ("environment.", "image.", "user.", "volatile.")  # keys whose values nobody refuses, or nobody wrote
_OF_NO_KEY = r"nvalid [\w ]*(devices?|name|UUID|port|protocol|rule)\b"
_INVALID, _NO_IMAGE = "nvalid", "Image not provided for instance creation"
_JSON_NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
    bytes: "a file",
}


class Answer(NamedTuple):
    """The server's answer to one request: ``type`` is ``sync`` or ``async``, or ``raw`` without an envelope."""

    request: str
    """What was asked, for errors."""
    type: str
    body: Any
    status: int
    headers: Mapping[str, str]

    @property
    def metadata(self) -> Any:
        """The envelope's payload, whatever it is; for ``raw`` the bytes."""
        return self.body["metadata"] if self.type != "raw" else self.body

    @property
    def object(self) -> dict[str, Any]:
        """The payload, which is an object; this and the others raise `IncusConnectionError` where it is not."""
        return self._checked(self.metadata, dict)

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The payload, which is a list of objects, or null."""
        return [self._checked(each, dict) for each in self.entries]

    @property
    def strings(self) -> list[str]:
        """The payload, which is a list of names or URLs, or null."""
        return [self._checked(each, str) for each in self.entries]

    @property
    def entries(self) -> list[Any]:
        """The payload, which is a list, or null."""
        return [] if self.metadata is None else self._checked(self.metadata, list)

    @property
    def lists(self) -> dict[str, list[Any]]:
        """The payload, which is an object of lists, or null."""
        return {} if self.metadata is None else {key: self._checked(each, list) for key, each in self.object.items()}

    @property
    def content(self) -> bytes:
        """The payload, which is no JSON."""
        return self._checked(self.metadata, bytes)

    def _checked(self, payload: Any, kind: builtins.type[T]) -> T:
        if not isinstance(payload, kind):
            names = _JSON_NAMES.get(type(payload), type(payload).__name__), _JSON_NAMES.get(kind, kind.__name__)
            raise IncusConnectionError(f"{self.request}: the server sent {names[0]} where {names[1]} belongs")
        return payload

    @property
    def etag(self) -> str | None:
        """The object's ETag, where the server sent one."""
        return self.headers.get("ETag")


def says_taken(reason: str) -> bool:
    """Whether a server's reason, under whatever status, is that something exists already."""
    return any(words in reason for words in _TAKEN)


def plain(reason: str) -> str:
    """A server's reason, with words for what only its database says, and the remedy for a name that is taken."""
    if not any(words in reason for words in _TAKEN_NAME):
        return reason
    said = f"it exists already ({reason})" if _TAKEN_NAME[0] in reason else reason
    return f"{said}: choose another name, or use the one that is there"


def missing_facts(reason: str, body: Any) -> str:
    """What a server's reason leaves out of the request that it refuses: the image's name, the configuration's key."""
    if not isinstance(body, Mapping):
        return ""
    config, source = body.get("config"), body.get("source")
    if _NO_IMAGE in reason and isinstance(source, Mapping):
        name = source.get("alias") or source.get("fingerprint")
        where = source.get("server") or "this server"
        return f" ({where} has no image {name!r}; launch() takes one of another server by its name: images:debian/13)"
    said = _INVALID in reason and not re.search(_OF_NO_KEY, reason)
    if not said or not isinstance(config, Mapping) or any(str(key) in reason for key in config):
        return ""
    keys = [key for key in config if not str(key).startswith(_ANY_VALUE)]
    shown = [key for key in keys if re.search(rf"(?<!\w){re.escape(str(config[key]))}(?!\w)", reason)]
    if not shown and len(keys) > 1:
        return ""
    return f" (the value of {' or '.join([*map(str, shown or keys)][:5])})" if keys else ""


def decode(status: int, headers: Mapping[str, str], body: bytes, request: str) -> Answer:
    """The answer to ``request``, or its exception: the one place where that is decided.

    The body's ``type`` decides, since servers send errors under HTTP 200 too.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "application/json" and request.startswith("HEAD "):  # the answer to it has no body
        if status >= 400:
            raise _BY_STATUS.get(status, IncusAPIError)(f"{request}: HTTP {status}", status_code=status)
        return Answer(request, "raw", b"", status, headers)
    if kind != "application/json":
        if status >= 400:
            raise _foreign_error(status, body, request)
        if not 200 <= status < 300 or kind == "text/html":
            raise IncusConnectionError(
                f"{request}: this is not an Incus server: it answered HTTP {status} with {kind!r}"
            )
        return Answer(request, "raw", body, status, headers)
    try:
        envelope = read_json(body)
    except (ValueError, RecursionError) as error:
        raise IncusConnectionError(f"{request}: the answer is cut off or not JSON ({error})", cause=error) from error
    match envelope:
        case {"type": "error"}:
            code = envelope.get("error_code")
            if not isinstance(code, int) or not code:
                code = status if status >= 400 else 500
            reason = str(envelope.get("error") or f"HTTP {code}")
            found, remedy = _BY_STATUS.get(code, IncusAPIError), _remedy(code, reason)
            if found is IncusAPIError:
                if says_taken(reason) or any(words in reason for words in _IN_USE):
                    found = IncusConflictError
                elif _FORBIDDEN in reason:
                    found = IncusPermissionError
                found, remedy = _BY_REASON.get(reason.rpartition(": ")[2], (found, ""))
            raise found(f"{request}: {plain(reason)}{remedy}", status_code=code, response=envelope)
        case {"type": "sync" | "async" as type_, "metadata": _} if status < 400:
            return Answer(request, type_, envelope, status, headers)
        case _ if status >= 400:
            raise _foreign_error(status, body, request)
        case _:
            raise IncusConnectionError(f"{request}: this is not an Incus server: its answer has no Incus envelope")


def _remedy(code: int, reason: str) -> str:
    """What to do about a refusal; empty where its words say it all."""
    if code == 403 and reason == "Forbidden":
        return ": client.get_server_info() says who the server takes this client for"
    if code == 404 and reason.endswith("Instance not found"):
        return ": is it in another project, or still being created without wait=True?"
    if code == 404 and reason.endswith("Project not found"):
        return ": client.projects.list() has those that there are"
    return ""


def read_json(text: bytes) -> Any:
    """What JSON says, the same whether orjson is there or not; raises `ValueError` or `RecursionError`."""
    if len(text) >= _MANY:
        try:
            import orjson
        except ImportError:
            pass  # an extra; without it, reading takes longer
        else:
            if _LONG not in text.translate(_ZEROS):
                with contextlib.suppress(ValueError):  # json takes more, as NaN
                    return orjson.loads(text)
    return json.loads(text)


def _foreign_error(status: int, body: bytes, request: str) -> IncusAPIError:
    """The error for an HTTP status without an envelope, never "not found" and the like: Incus did not say so."""
    text = body[:500].decode(errors="replace").strip()
    return IncusAPIError(
        f"{request}: HTTP {status}, not an answer of Incus; a proxy or another server may have sent it: "
        f"{text or 'no text'}",
        status_code=status,
    )


def merge_patch(document: Any, patch: Any) -> Any:
    """A copy of ``document`` with a JSON merge patch (RFC 7396) applied: None removes its key."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(document) if isinstance(document, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def config_strings(config: Any, where: str = "config") -> dict[str, str | None]:
    """A configuration with its values as strings, which servers of every version take; None stays None.

    Raises `IncusInputError` for a value without an obvious string form, such as a float or a list.
    """
    if not isinstance(config, Mapping):
        raise IncusInputError(f"{where} must be a mapping, not {type(config).__name__}")
    strings: dict[str, str | None] = {}
    for key, value in config.items():
        if not isinstance(key, str) or not key:
            raise IncusInputError(f"{where} has an invalid key: {key!r}")
        match value:
            case None | str():
                strings[key] = value
            case bool():
                strings[key] = "true" if value else "false"
            case int():
                strings[key] = str(int(value))
            case _:
                raise IncusInputError(f"{where}[{key!r}] must be a str, int or bool, not {type(value).__name__}")
    return strings


def texts(values: Any, where: str) -> list[str]:
    """Any iterable of str as a list; raises `IncusInputError` for anything else, and for a single str."""
    if isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping):
        found: list[Any] = list(values)
        other = next((type(value).__name__ for value in found if not isinstance(value, str)), None)
        if other is None:
            return found
        raise IncusInputError(f"{where} must be a list of str, and has a value of type {other}")
    raise IncusInputError(f"{where} must be a list of str, not {type(values).__name__}")


def depth(recursion: Any) -> int:
    """How deep a list is read; raises `IncusInputError` for anything but a number."""
    if isinstance(recursion, bool) or not isinstance(recursion, int) or recursion < 0:
        raise IncusInputError(f"recursion must be 0, 1 or, for some lists, 2, not {recursion!r}; see filter= as well")
    return recursion


def environment(variables: Mapping[str, Any], where: str) -> dict[str, str]:
    """Environment variables as strings; raises `IncusInputError` for those that no system can hold."""
    strings = config_strings(variables, where)
    for key, value in strings.items():
        if "=" in key or "\0" in key or "\0" in (value or ""):
            raise IncusInputError(f"{where} has an invalid variable: {key!r} has a = or a NUL, or its value has a NUL")
    return {key: value or "" for key, value in strings.items()}


def size(width: Any, height: Any) -> dict[str, int]:
    """The size of a terminal; raises `IncusInputError` for one that no terminal has."""
    for length in (width, height):
        if not isinstance(length, int) or not 0 < length < 2**16:
            raise IncusInputError(f"a terminal has 1 to 65535 columns and rows, not {width!r} and {height!r}")
    return {"width": width, "height": height}


def ids(**owners: Any) -> dict[str, int]:
    """Numeric ids of a user and a group, without those that are None; raises `IncusInputError` for invalid ones."""
    given = {name: id for name, id in owners.items() if id is not None}
    for name, id in given.items():
        # One more means "keep it" to chown(), and root to a server that starts a command.
        if isinstance(id, bool) or not isinstance(id, int) or not 0 <= id < 2**32 - 1:
            raise IncusInputError(f"{name} must be an id of 0 to 4294967294, not {id!r}")
    return given


def permissions(mode: Any) -> int | None:
    """The permissions of a file, or None; raises `IncusInputError` for what no file can have."""
    if mode is not None and (isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= 0o7777):
        raise IncusInputError(f"mode must be a number of 0 to 0o7777, like 0o644, not {mode!r}")
    return mode


def seconds(value: Any, name: str) -> float | None:
    """How long something may take, or None; raises `IncusInputError` for what is no number."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value)):
        raise IncusInputError(f"{name} must be a number of seconds or None, not {value!r}")
    return value


def server_seconds(timeout: Any) -> int:
    """How long a server may take, or -1 for its own limit; raises `IncusInputError` for what is neither."""
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < -1:
        raise IncusInputError(
            f"timeout must be a whole number of seconds, or -1 for the server's limit, not {timeout!r}"
        )
    return timeout


def length(value: Any, name: str) -> int | None:
    """A number of bytes, or None; raises `IncusInputError` for what is none."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise IncusInputError(f"{name} must be a number of bytes, not {value!r}")
    return value


def directory(cwd: Any) -> str | None:
    """Where a command is to start, or None; raises `IncusInputError` for what is no path."""
    if cwd is not None and (not isinstance(cwd, str) or "\0" in cwd):
        raise IncusInputError(f"cwd must be a path as a str, not {cwd!r}")
    return cwd


def command(words: Sequence[str]) -> tuple[str, ...]:
    """A command as callers write it, or `IncusInputError`; the words are not shown, as they may hold a secret."""
    if isinstance(words, str):
        raise IncusInputError('command must be a list of str, not str: ["sh", "-c", "..."] has a shell read one')
    checked = texts(words, "command")
    if not checked:
        raise IncusInputError('command must be a list of str, like ["sh", "-c", "..."], and must not be empty')
    if any("\0" in word for word in checked):
        raise IncusInputError("command must not contain a NUL byte")
    return tuple(checked)


def parameter(url: str, name: str) -> str | None:
    """One query parameter of a URL."""
    return next((value for key, value in parse_qsl(url.partition("#")[0].partition("?")[2]) if key == name), None)


def token(metadata: Mapping[str, Any], **names: str) -> str:
    """The token of an operation of class ``token``, from its metadata, in the form of the ``incus`` command."""
    fields = {
        **names,
        "fingerprint": text(metadata, "fingerprint"),
        "addresses": metadata.get("addresses"),
        "secret": text(metadata, "secret"),
        "expires_at": metadata.get("expiresAt", "0001-01-01T00:00:00Z"),
    }
    return base64.b64encode(json.dumps(fields).encode()).decode()


def read_token(text: str) -> dict[str, Any]:
    """The fields of a trust token; the `IncusInputError` for another text does not show it, as it can be a secret."""
    try:
        fields = json.loads(base64.b64decode("".join(text.split()), validate=True))
    except (AttributeError, RecursionError, TypeError, ValueError):
        fields = None
    match fields:
        case {"client_name": str(), "fingerprint": str(), "addresses": [str(), *_], "secret": str()}:
            return dict(fields)
        case _:
            raise IncusInputError("this is not a trust token: `incus config trust add NAME` prints one, on the server")


def require_pair(cert: Any) -> None:
    """Raise `IncusInputError` unless this can be the paths of a certificate and of its key."""
    if (
        not isinstance(cert, tuple | list)
        or len(cert) != 2
        or not all(isinstance(each, str | PathLike) for each in cert)
    ):
        raise IncusInputError("cert must be a pair of paths: the certificate's and the key's")


def require_quoted(url_path: str) -> str:
    """A path that a caller quoted; raises `IncusInputError` for one that cannot be sent unchanged."""
    if not isinstance(url_path, str) or not url_path.startswith("/") or not url_path.isascii():
        shown = url_path.partition("?")[0] if isinstance(url_path, str) else url_path  # a query can hold a secret
        raise IncusInputError(f"a path must start with / and have its names quoted: {shown!r}")
    if any(character <= " " or character in '#"<>\\^`{|}\x7f' for character in url_path):
        path, _, query = url_path.partition("?")
        raise IncusInputError(f"a path must have its names quoted: {f'{path}?...' if query else path!r}")
    return url_path


def require_sendable(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers; raises `IncusInputError` for one that would arrive changed, or as two."""
    for name, value in (headers or {}).items():
        if not re.fullmatch(_HEADER_NAME, name) or not isinstance(value, str) or re.search(_UNSAFE_IN_HEADER, value):
            raise IncusInputError(f"the header {name!r} cannot be sent: it must be text without control characters")
    return dict(headers or {})
