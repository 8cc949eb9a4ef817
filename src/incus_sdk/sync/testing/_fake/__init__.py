"""An Incus server in the process. See `Fake`."""

from ....testing._fake.commands import FakeCommand as FakeCommand
from ....testing._fake.commands import FakeResult as FakeResult
from ....testing._fake.commands import FakeScript as FakeScript
from ....testing._fake.commands import UnscriptedCommandError as UnscriptedCommandError
from ....testing._fake.files import FakeFiles as FakeFiles
from ....testing._fake.instance import FakeInstance as FakeInstance
from ....testing._fake.log import FakeRequests as FakeRequests
from ....testing._fake.requests import FakeRequest as FakeRequest
from ....testing._fake.rules import FakeRule as FakeRule
from .fake import Fake as Fake
