"""What can go wrong with a connection, turned into the SDK's own errors: what went wrong, and what to do.

None of these errors holds what was sent: a query can have a secret in it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from types import TracebackType

from ..exceptions import (
    IncusCertificateError,
    IncusClosedError,
    IncusConnectionError,
    IncusError,
    IncusTimeoutError,
)
from . import wire
from .endpoint import Endpoint

CLOSED = "the client was closed while this was under way"


class ProxyError(OSError):
    """The proxy did not connect to the server."""


class Lost(Exception):
    """The connection is gone; ``cause`` is why, where the system says so."""

    def __init__(self, cause: Exception | None) -> None:
        super().__init__("the connection is gone")
        self.cause = cause


class Stalled(Exception):
    """Nothing came for too long: ``begun`` says whether the answer had begun."""

    def __init__(self, begun: bool) -> None:
        super().__init__("nothing came")
        self.begun = begun


class Foreign(Exception):
    """What came is not HTTP, or no answer to what was asked."""


class Oversized(Exception):
    """What came is larger than the client takes."""


class Closed(Exception):
    """The client was closed."""


class SourceFailed(Exception):
    """What was to be sent could not be read; ``failure`` is the caller's own error."""

    def __init__(self, failure: Exception) -> None:
        super().__init__("the source of an upload failed")
        self.failure = failure


class Explaining:
    """A context manager that raises the SDK's own errors in place of those from below.

    Args:
        request: What is under way, for messages; without what follows a question mark.
        endpoint: With whom.
        seconds: For which it may stall.
    """

    def __init__(self, request: str, endpoint: Endpoint, seconds: float | None) -> None:
        self._request = request
        self._endpoint = endpoint
        self._seconds = seconds

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        match error:
            case None | IncusError():
                return
            case Closed():
                raise IncusClosedError(f"{redacted(self._request)}: {CLOSED}") from None
            case SourceFailed():
                raise error.failure from error.failure.__cause__
            case Lost() | Stalled() | Foreign() | Oversized() | EOFError() | OSError() | ValueError():
                explained = explain(error, self._request, self._endpoint, self._seconds)
                cause = getattr(explained, "cause", None)
                if isinstance(cause, OSError):
                    cause.__traceback__ = None  # where in the SDK it came from says nothing
                raise explained from cause
            case _:
                return


def explain(error: Exception, request: str, endpoint: Endpoint, seconds: float | None) -> IncusError:
    """The error for a caller: what an error from below means for a request, and what to do about it."""
    import ssl

    kind: type[IncusConnectionError] = IncusConnectionError
    cause: Exception | None = error
    match error:
        case Stalled() | TimeoutError(errno=None):
            begun = isinstance(error, Stalled) and error.begun
            reason = f"the answer of {endpoint} stalled for" if begun else f"no answer from {endpoint} within"
            rest = "" if request.startswith("GET ") else "; the server may still carry it out"
            return IncusTimeoutError(f"{redacted(request)}: {reason} {seconds} s, the client's timeout={rest}")
        case Lost():
            reason, cause = f"{endpoint} closed the connection before its answer was complete", error.cause
        case Oversized():
            reason, cause = f"{endpoint} sends more than is taken: {error}", None
        case Foreign():
            reason, cause = f"{endpoint} is not an Incus server: {error}", None
        case ssl.SSLCertVerificationError():
            kind = IncusCertificateError
            from .handshake import NotPinned

            remedy = (
                "If its owner says that it was renewed, give the new one as server_cert=; a remote is removed with "
                "ClientConfig().remove(), and joined again"
                if isinstance(error, NotPinned)
                else "Give its certificate as server_cert=, or the fingerprint that its owner tells you"
            )
            reason = f"{endpoint} did not prove who it is, so nothing was sent: {error}. {remedy}"
        case ProxyError():
            reason = f"the proxy in https_proxy does not lead to {endpoint}: {error}"
        case ssl.SSLError():
            reason = f"{endpoint} does not speak TLS 1.3: {error}"
        case ConnectionRefusedError():
            reason = unreachable(endpoint, error)
        case ConnectionError() | EOFError():
            reason = f"{endpoint} closed the connection before its answer was complete"
        case OSError():
            reason = unreachable(endpoint, error)
        case _:
            reason = f"{endpoint} is not an Incus server: {error}"
    return kind(f"{redacted(request)}: {reason}", cause=cause)


def combine(failures: Sequence[IncusError]) -> IncusError:
    """One error for the failures of all addresses of a server."""
    if len(failures) == 1:
        return failures[0]
    reasons = "; ".join(str(failure).removeprefix("connecting: ") for failure in failures)
    unexpected = any(isinstance(failure, IncusCertificateError) for failure in failures)
    kind = IncusCertificateError if unexpected else IncusConnectionError
    return kind(f"none of the server's addresses can be used: {reasons}", cause=failures[0])


def unreachable(endpoint: Endpoint, error: OSError) -> str:
    """Why a server cannot be reached, and the remedy."""
    reason = error.strerror or error
    if endpoint.socket is None:
        return f"{endpoint} cannot be reached ({reason}): is it the right address, and is it up?"
    match error.errno:
        case errno.ENOENT:
            return f"there is no socket {endpoint.socket}: is Incus installed and its daemon running?"
        case errno.ECONNREFUSED if not stat.S_ISSOCK(_file_mode(endpoint.socket)):
            return f"{endpoint.socket} is not a socket: give the path of the daemon's unix.socket"
        case errno.ECONNREFUSED:
            return f"nobody listens on {endpoint.socket}: the daemon is not running; start it"
        case errno.EACCES | errno.EPERM:
            group = socket_group(endpoint.socket)
            return f"no permission to use {endpoint.socket}: become root or join the group {group}"
        case _:
            return f"{endpoint.socket} cannot be used: {reason}"


def redacted(request: str) -> str:
    """A request for messages: without its query, which can hold a secret, but with the project."""
    project = wire.parameter(request, "project")
    return request.partition("?")[0] + (f" (project {project})" if project else "")


def socket_group(path: str) -> str:
    """The group whose members can use a socket; where it is unknown or root's, the one that packages make."""
    try:
        import grp

        group = os.stat(path).st_gid
        return grp.getgrgid(group).gr_name if group else "incus-admin"
    except (ImportError, OSError, KeyError):
        return "incus-admin"


def _file_mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return stat.S_IFSOCK  # it has just gone
