"""For tests: a fake Incus server in the process, and a private, real daemon. See `Fake` and `Daemon`."""

from typing import TYPE_CHECKING

from ..._lazy import lazy_names

if TYPE_CHECKING:
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
else:
    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        {
            "_daemon": "Daemon",
            "_fake.fake": "Fake",
            "..testing._fake.commands": "FakeCommand FakeResult FakeScript UnscriptedCommandError",
            "..testing._fake.files": "FakeFiles",
            "..testing._fake.instance": "FakeInstance",
            "..testing._fake.requests": "FakeRequest",
            "..testing._fake.log": "FakeRequests",
            "..testing._fake.rules": "FakeRule",
            "..testing._host": "DaemonUnavailableError preflight",
            "..testing._image": "busybox_image",
        },
    )
