"""Errors of the HTTP library and of the system, turned into the SDK's own: what went wrong, and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Generator, Sequence

from ..exceptions import IncusCertificateError, IncusConnectionError, IncusError, IncusTimeoutError
from . import wire
from .endpoint import Endpoint
from .proxies import ProxyError


@contextlib.contextmanager
def translate_errors(request: str, endpoint: Endpoint, seconds: float | None) -> Generator[None]:
    """Raise `IncusConnectionError` and `IncusTimeoutError` for the errors that come from below."""
    import http.client

    import aiohttp

    try:
        yield
    except IncusError:
        raise
    except TimeoutError as error:
        raise IncusTimeoutError(
            f"{redacted(request)}: no answer from {endpoint} within {seconds} s; the server may still carry it out"
        ) from root_cause(error)
    except (
        *(aiohttp.ClientError, http.client.HTTPException, asyncio.LimitOverrunError, EOFError, OSError, ValueError),
    ) as error:
        explained = explain(error, request, endpoint)
        raise explained from explained.cause


def explain(error: Exception, request: str, endpoint: Endpoint) -> IncusConnectionError:
    """The error for a caller: what an error from below means for a request, and what to do about it."""
    import ssl

    import aiohttp

    kind, cause = IncusConnectionError, root_cause(error)
    match error:
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            kind = IncusCertificateError
            reason = (
                f"{endpoint} did not prove who it is, so nothing was sent: {cause}. Give its certificate as "
                "server_cert=, or the fingerprint that its owner tells you"
            )
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError() | ProxyError():
            answer = f"HTTP {error.status}" if isinstance(error, aiohttp.ClientHttpProxyError) else cause
            reason = f"the proxy in https_proxy does not lead to {endpoint}: {answer}"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            reason = f"{endpoint} does not speak TLS 1.3: {cause}"
        case aiohttp.ClientConnectorError():
            reason = unreachable(endpoint, error.os_error)
        case ConnectionRefusedError():
            reason = unreachable(endpoint, error)
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | ConnectionError() | EOFError():
            reason = f"{endpoint} closed the connection before its answer was complete"
        case OSError():
            reason = unreachable(endpoint, error)
        case aiohttp.ClientResponseError():
            reason = f"{endpoint} is not an Incus server: {error.message}"
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


def root_cause(error: BaseException | None) -> BaseException | None:
    """The system's error below one of the HTTP library, whose text can hold the URL with a secret in its query."""
    while error is not None and type(error).__module__.partition(".")[0] == "aiohttp":
        error = error.__cause__
    return error


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
