"""An Incus server in the process. See `Fake`."""

from .fake import Fake
from .log import FakeRequests
from .requests import FakeRequest
from .rules import FakeRule

__all__ = ["Fake", "FakeRequest", "FakeRequests", "FakeRule"]
