"""The errors of the SDK: one tree, each leaf says what to do next.

Everything raised on purpose is an `IncusError`; nothing of the HTTP library, ``json`` or ``ssl`` escapes. All of them
print on one line and can be pickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class IncusError(Exception):
    """Anything that went wrong in talking to Incus."""

    def __str__(self) -> str:
        return " ".join(super().__str__().split())


class IncusInputError(IncusError, ValueError):
    """The call cannot be right as it was written; nothing was sent."""


class IncusNotLoadedError(IncusError):
    """A field was asked of a handle that was never read from the server: ``await handle.refresh()`` first."""


class IncusUnsupportedError(IncusError):
    """The server lacks the API extension that the call needs; nothing was sent."""

    def __init__(self, message: str = "", *, extension: str = "") -> None:
        super().__init__(message)
        self.extension = extension


class IncusConnectionError(IncusError):
    """The server could not be reached, is no Incus, or the connection broke; ``cause`` is the lower error, if any."""

    def __init__(self, message: str = "", *, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.cause = cause

    def __reduce__(self) -> Any:
        # A cause of the HTTP library may hold sockets: what it says travels, it does not.
        state = {**self.__dict__, "cause": None if self.cause is None else OSError(str(self.cause))}
        return type(self), self.args, state


class IncusCertificateError(IncusConnectionError):
    """The server's certificate is not the expected one, or no trusted authority vouches for it; nothing was sent."""


class IncusTimeoutError(IncusError, TimeoutError):
    """A limit that the caller set has passed; of a command, ``stdout`` and ``stderr`` hold what it wrote until then."""

    def __init__(self, message: str = "", *, stdout: Any = b"", stderr: Any = b"") -> None:
        super().__init__(message)
        self.stdout = stdout
        self.stderr = stderr


class ProcessError(IncusError):
    """A command ended with another exit code than 0, or wrote more than it was allowed to.

    ``stdout`` and ``stderr`` hold what it wrote; ``returncode`` is None for a command that was killed for writing too
    much.
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


class IncusAPIError(IncusError):
    """The server refused a request: ``status_code`` is the HTTP code, ``response`` the JSON it answered with."""

    def __init__(self, message: str = "", *, status_code: int = 0, response: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.response = response or {}


class IncusAuthenticationError(IncusAPIError):
    """401: the credentials were not accepted."""


class IncusPermissionError(IncusAPIError):
    """403: the server does not trust this client, or not with this."""


class IncusNotFoundError(IncusAPIError):
    """404: there is no such object, or not in this project."""


class IncusConflictError(IncusAPIError):
    """409: it exists already, or is in use."""


class IncusPreconditionError(IncusAPIError):
    """412: the object changed since its ETag was read; read it again and redo the change."""


class IncusOperationError(IncusError):
    """An operation failed or was cancelled.

    ``response`` is the operation's JSON as last seen; its ``status_code`` is 400 for failed and 401 for cancelled.
    ``log`` is the end of the instance's log where an instance failed to start, else empty.
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


BY_STATUS: dict[int, type[IncusAPIError]] = {
    401: IncusAuthenticationError,
    403: IncusPermissionError,
    404: IncusNotFoundError,
    409: IncusConflictError,
    412: IncusPreconditionError,
}
"""The class for an HTTP status; any other status is a plain `IncusAPIError`."""
