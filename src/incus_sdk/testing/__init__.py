"""For tests: a private, real Incus daemon. See `Daemon`."""

from ._host import DaemonUnavailableError, preflight
from .daemon import Daemon
from .image import busybox_image

__all__ = ["Daemon", "DaemonUnavailableError", "busybox_image", "preflight"]
