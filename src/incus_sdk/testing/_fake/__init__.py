"""An Incus server in the process. See `Fake`."""

from .commands import FakeCommand, FakeResult, FakeScript, UnscriptedCommandError
from .fake import Fake
from .files import FakeFiles
from .instance import FakeInstance
from .log import FakeRequests
from .requests import FakeRequest
from .rules import FakeRule

__all__ = [
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
]
