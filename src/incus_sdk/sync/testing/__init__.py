"""For tests: a fake Incus server in the process, and a private, real daemon. See `Fake` and `Daemon`."""

from ...testing._fake.commands import FakeCommand as FakeCommand
from ...testing._fake.commands import FakeResult as FakeResult
from ...testing._fake.commands import FakeScript as FakeScript
from ...testing._fake.commands import UnscriptedCommandError as UnscriptedCommandError
from ...testing._fake.files import FakeFiles as FakeFiles
from ...testing._fake.instance import FakeInstance as FakeInstance
from ...testing._fake.log import FakeRequests as FakeRequests
from ...testing._fake.requests import FakeRequest as FakeRequest
from ...testing._fake.rules import FakeRule as FakeRule
from ...testing._host import DaemonUnavailableError as DaemonUnavailableError
from ...testing._host import preflight as preflight
from ...testing._image import busybox_image as busybox_image
from ._daemon import Daemon as Daemon
from ._fake.fake import Fake as Fake
