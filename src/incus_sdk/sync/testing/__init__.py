"""For tests: a private, real Incus daemon. See `Daemon`."""

from typing import TYPE_CHECKING

from ..._lazy import lazy_names

if TYPE_CHECKING:
    from ...testing._host import DaemonUnavailableError as DaemonUnavailableError
    from ...testing._host import preflight as preflight
    from ...testing._image import busybox_image as busybox_image
    from ._daemon import Daemon as Daemon
else:
    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        {
            "_daemon": "Daemon",
            "..testing._host": "DaemonUnavailableError preflight",
            "..testing._image": "busybox_image",
        },
    )
