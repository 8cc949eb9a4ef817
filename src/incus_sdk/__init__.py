"""The async Python SDK for Incus.

from incus_sdk import Client

async with Client() as client:
    print([instance.name for instance in await client.instances.list()])
"""

from . import models
from .api.instances import Instance
from .client import Client
from .events import (
    EventStream,
    Gap,
    LifecycleEvent,
    LoggingEvent,
    OperationEvent,
)
from .exceptions import (
    IncusAPIError,
    IncusAuthenticationError,
    IncusConflictError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusNotLoadedError,
    IncusOperationError,
    IncusOperationLostError,
    IncusPermissionError,
    IncusPreconditionError,
    IncusTimeoutError,
    IncusUnsupportedError,
    ProcessError,
)
from .files import RemotePath
from .filters import F, Filter
from .models import Event, InstanceState
from .operations import Operation, Progress
from .process import Console, Process, ProcessResult
from .sftp import FileStat
from .transfer import Transfer, TransferProgress

__version__ = "2.0.0"

__all__ = [
    "Client",
    "Console",
    "Event",
    "EventStream",
    "F",
    "FileStat",
    "Filter",
    "Gap",
    "IncusAPIError",
    "IncusAuthenticationError",
    "IncusConflictError",
    "IncusConnectionError",
    "IncusError",
    "IncusInputError",
    "IncusNotFoundError",
    "IncusNotLoadedError",
    "IncusOperationError",
    "IncusOperationLostError",
    "IncusPermissionError",
    "IncusPreconditionError",
    "IncusTimeoutError",
    "IncusUnsupportedError",
    "Instance",
    "InstanceState",
    "LifecycleEvent",
    "LoggingEvent",
    "Operation",
    "OperationEvent",
    "Process",
    "ProcessError",
    "ProcessResult",
    "Progress",
    "RemotePath",
    "Transfer",
    "TransferProgress",
    "__version__",
    "models",
]
