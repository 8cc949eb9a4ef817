"""For tests: a private, real Incus daemon. See `Daemon`."""

from ...testing._host import DaemonUnavailableError as DaemonUnavailableError
from ...testing._host import preflight as preflight
from ...testing._image import busybox_image as busybox_image
from ._daemon import Daemon as Daemon
