"""An Incus server in the process. See `Fake`."""

from ....testing._fake.log import FakeRequests as FakeRequests
from ....testing._fake.requests import FakeRequest as FakeRequest
from ....testing._fake.rules import FakeRule as FakeRule
from .fake import Fake as Fake
