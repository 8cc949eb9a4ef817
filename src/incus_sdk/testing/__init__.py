"""For tests: a fake Incus server in the process, and a private, real daemon. See `Fake` and `Daemon`."""

from ._daemon import Daemon
from ._fake import (
    Fake,
    FakeCommand,
    FakeFiles,
    FakeInstance,
    FakeRequest,
    FakeRequests,
    FakeResult,
    FakeRule,
    FakeScript,
    UnscriptedCommandError,
)
from ._host import DaemonUnavailableError, preflight
from ._image import busybox_image

__all__ = [
    "Daemon",
    "DaemonUnavailableError",
    "Fake",
    "FakeCommand",
    "FakeFiles",
    "FakeInstance",
    "FakeRequest",
    "FakeRequests",
    "FakeResult",
    "FakeRule",
    "FakeScript",
    "UnscriptedCommandError",
    "busybox_image",
    "preflight",
]
