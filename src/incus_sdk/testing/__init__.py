"""For tests: a private, real Incus daemon. See `Daemon`."""

from ._daemon import Daemon
from ._host import DaemonUnavailableError, preflight
from ._image import busybox_image

__all__ = ["Daemon", "DaemonUnavailableError", "busybox_image", "preflight"]
