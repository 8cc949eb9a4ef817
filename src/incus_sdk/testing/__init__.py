"""For tests: a private, real Incus daemon, and an Incus server in the process. See `Daemon` and `Fake`."""

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from ._daemon import Daemon as Daemon
    from ._fake import Fake as Fake
    from ._fake import FakeRequest as FakeRequest
    from ._fake import FakeRequests as FakeRequests
    from ._fake import FakeRule as FakeRule
    from ._host import DaemonUnavailableError as DaemonUnavailableError
    from ._host import preflight as preflight
    from ._image import busybox_image as busybox_image
else:
    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        {
            "_daemon": "Daemon",
            "_fake": "Fake FakeRequest FakeRequests FakeRule",
            "_host": "DaemonUnavailableError preflight",
            "_image": "busybox_image",
        },
    )
