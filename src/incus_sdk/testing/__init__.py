"""For tests: a fake Incus server in the process, and a private, real daemon. See `Fake` and `Daemon`."""

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from ._daemon import Daemon as Daemon
    from ._fake import Fake as Fake
    from ._fake import FakeCommand as FakeCommand
    from ._fake import FakeFiles as FakeFiles
    from ._fake import FakeInstance as FakeInstance
    from ._fake import FakeRequest as FakeRequest
    from ._fake import FakeRequests as FakeRequests
    from ._fake import FakeResult as FakeResult
    from ._fake import FakeRule as FakeRule
    from ._fake import FakeScript as FakeScript
    from ._fake import UnscriptedCommandError as UnscriptedCommandError
    from ._host import DaemonUnavailableError as DaemonUnavailableError
    from ._host import preflight as preflight
    from ._image import busybox_image as busybox_image
else:
    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        {
            "_daemon": "Daemon",
            "_fake": """
                Fake FakeCommand FakeFiles FakeInstance FakeRequest FakeRequests FakeResult FakeRule FakeScript
                UnscriptedCommandError
            """,
            "_host": "DaemonUnavailableError preflight",
            "_image": "busybox_image",
        },
    )
