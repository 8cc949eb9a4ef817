"""For tests: a private, real Incus daemon. See `Daemon`."""

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from ._daemon import Daemon as Daemon
    from ._host import DaemonUnavailableError as DaemonUnavailableError
    from ._host import preflight as preflight
    from ._image import busybox_image as busybox_image
else:
    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        {
            "_daemon": "Daemon",
            "_host": "DaemonUnavailableError preflight",
            "_image": "busybox_image",
        },
    )
