"""The errors of the SDK: one tree, whose leaves say what to do next.

Everything raised on purpose is an `IncusError`; no error of ``json`` or ``ssl`` comes through. All of them print on one
short line without control characters, and can be pickled. The arguments of an error, apart from its message, are also
its attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_LONGEST = 2000  # characters of a message that are shown


class IncusError(Exception):
    """The base of all errors of the SDK."""

    stdout: Any = b""
    """What a command had written to its standard output when the error ended `Instance.run`."""
    stderr: Any = b""
    """What a command had written to its standard error when the error ended `Instance.run`."""

    def __str__(self) -> str:
        return _one_line(super().__str__())

    def _append(self, more: str) -> None:
        """Add to the message what only the caller knows."""
        self.args = (f"{self.args[0]}{more}", *self.args[1:])


def _one_line(text: str) -> str:
    """What a server or an instance says, which can be endless, and hold what a terminal would obey."""
    line = " ".join(text[:_LONGEST].split())
    if not line.isprintable():
        line = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)
    return line if len(text) <= _LONGEST else f"{line}... ({len(text) - _LONGEST} more characters)"


class IncusInputError(IncusError, ValueError):
    """The call cannot be right as it is written; nothing was sent."""


class IncusNotLoadedError(IncusError):
    """A field was read of a handle that was never loaded: ``await handle.refresh()`` first."""


class IncusUnsupportedError(IncusError):
    """The server lacks the API extension that the call needs; nothing was sent.

    Args:
        message: What needs the extension, and the server's version.
        extension: The missing extension.
    """

    def __init__(self, message: str = "", *, extension: str = "") -> None:
        super().__init__(message)
        self.extension = extension


class IncusConnectionError(IncusError):
    """The server could not be reached, is not an Incus server, or the connection broke.

    Args:
        message: What was asked, what went wrong, and the remedy.
        cause: The lower error, if there is one.
    """

    def __init__(self, message: str = "", *, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.cause = cause

    def __reduce__(self) -> Any:
        # A cause of the HTTP library can hold sockets, which cannot be pickled: its text goes instead.
        state = {**self.__dict__, "cause": None if self.cause is None else OSError(str(self.cause))}
        return type(self), self.args, state


class IncusCertificateError(IncusConnectionError):
    """The server's certificate is not the expected one, or no trusted authority vouches for it; nothing was sent.

    Give the certificate, or its fingerprint, as ``server_cert=`` if it is the right one.
    """


class IncusClosedError(IncusConnectionError):
    """The client was closed, by `Client.disconnect` or the end of its ``async with``, while this was under way.

    Nothing is tried again. The server may still carry it out.
    """


class IncusTimeoutError(IncusError, TimeoutError):
    """A time limit of the caller has passed.

    Args:
        message: What was waited for, and for how long.
        stdout: What a command had written to its standard output.
        stderr: What a command had written to its standard error.
    """

    def __init__(self, message: str = "", *, stdout: Any = b"", stderr: Any = b"") -> None:
        super().__init__(message)
        self.stdout = stdout
        self.stderr = stderr


class ProcessError(IncusError):
    """A command ended with an exit code other than 0, or wrote more than it was allowed to.

    Args:
        message: The command, and how it ended.
        command: The command and its arguments.
        returncode: The exit code; None for a command that was killed because it wrote too much.
        stdout: What it wrote to its standard output.
        stderr: What it wrote to its standard error.
    """

    def __init__(
        self,
        message: str = "",
        *,
        command: Sequence[str] = (),
        returncode: int | None = None,
        stdout: Any = b"",
        stderr: Any = b"",
    ) -> None:
        super().__init__(message)
        self.command = tuple(command)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


class IncusInstanceStoppedError(ProcessError):
    """An instance stopped, or was deleted, while a command ran in it: ``returncode`` says only how that was ended.

    It is None if the command did not get to run.
    """


class IncusAPIError(IncusError):
    """The server refused a request.

    Args:
        message: What was asked, and the server's reason.
        status_code: The HTTP status; 0 if there was none.
        response: The JSON that the server answered; empty if it was something else.
    """

    def __init__(self, message: str = "", *, status_code: int = 0, response: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.response = response or {}


class IncusAuthenticationError(IncusAPIError):
    """401: the credentials were not accepted."""


class IncusPermissionError(IncusAPIError):
    """403: the server does not trust this client, or does not allow it this request."""


class IncusNotFoundError(IncusAPIError):
    """404: there is no such object, or not in this project."""


class IncusConflictError(IncusAPIError):
    """It exists already, or is in use; whatever HTTP status the server has for that, in ``status_code``."""


class IncusPreconditionError(IncusAPIError):
    """412: the object changed since its ETag was read; read it again and repeat the change."""


class IncusNotRunningError(IncusAPIError):
    """The instance is not running, which this needs: start it."""


class IncusFrozenError(IncusAPIError):
    """The instance is frozen, and this needs a running one: unfreeze it."""


class IncusOperationError(IncusError):
    """An operation failed or was cancelled.

    Args:
        message: The operation, and the server's reason.
        operation_id: The operation.
        response: Its JSON, as last read; ``status_code`` in it is 400 for failed and 401 for cancelled.
        log: The end of the instance's log where an instance failed to start; empty otherwise.
    """

    def __init__(
        self, message: str = "", *, operation_id: str = "", response: dict[str, Any] | None = None, log: str = ""
    ) -> None:
        super().__init__(message)
        self.operation_id = operation_id
        self.response = response or {}
        self.log = log


class IncusOperationLostError(IncusOperationError):
    """The server no longer knows the operation, so its outcome is unknown: look at the object itself.

    Servers forget an operation five seconds after its end, and when they restart.
    """


class IncusOperationConflictError(IncusOperationError, IncusConflictError):
    """An operation failed because something exists already: an error of an operation, and a conflict."""


_BY_STATUS: dict[int, type[IncusAPIError]] = {
    401: IncusAuthenticationError,
    403: IncusPermissionError,
    404: IncusNotFoundError,
    409: IncusConflictError,
    412: IncusPreconditionError,
}
"""The class for an HTTP status; any other status is a plain `IncusAPIError`, unless the reason says more."""

_BY_REASON: dict[str, tuple[type[IncusAPIError], str]] = {
    "Instance is not running": (IncusNotRunningError, ": start it first"),
    "Instance is frozen": (IncusFrozenError, ": unfreeze it first"),
    "Instance is running": (IncusAPIError, ": stop it first, as delete(force=True) does"),
    "Certificate is restricted": (IncusPermissionError, ""),
    "Storage pool not found": (IncusNotFoundError, ""),
    "Project not found": (IncusNotFoundError, ": client.projects.list() has those that there are"),
}
"""The class, and the remedy, for what a server says, whatever HTTP status it has for that."""
