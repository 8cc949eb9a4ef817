"""The blocking form of the SDK: for scripts, threads, forks and notebooks.

from incus_sdk.sync import Client

with Client() as client:
    print([instance.name for instance in client.instances.list()])
"""

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .. import models as models
    from .. import progress as progress
    from .._connection.config import ClientConfig as ClientConfig
    from .._connection.config import Remote as Remote
    from .._connection.tls import client_token as client_token
    from .._connection.tracing import TracedRequest as TracedRequest
    from ..api._ensure import Change as Change
    from ..api._forwarding import LocalAddress as LocalAddress
    from ..api._readiness import Address as Address
    from ..api.tokens import Token as Token
    from ..client import RawAnswer as RawAnswer
    from ..events import Gap as Gap
    from ..events import LifecycleEvent as LifecycleEvent
    from ..events import LoggingEvent as LoggingEvent
    from ..events import OperationEvent as OperationEvent
    from ..exceptions import IncusAPIError as IncusAPIError
    from ..exceptions import IncusAuthenticationError as IncusAuthenticationError
    from ..exceptions import IncusCertificateError as IncusCertificateError
    from ..exceptions import IncusClosedError as IncusClosedError
    from ..exceptions import IncusConflictError as IncusConflictError
    from ..exceptions import IncusConnectionError as IncusConnectionError
    from ..exceptions import IncusError as IncusError
    from ..exceptions import IncusFrozenError as IncusFrozenError
    from ..exceptions import IncusInputError as IncusInputError
    from ..exceptions import IncusInstanceStoppedError as IncusInstanceStoppedError
    from ..exceptions import IncusNotFoundError as IncusNotFoundError
    from ..exceptions import IncusNotLoadedError as IncusNotLoadedError
    from ..exceptions import IncusNotRunningError as IncusNotRunningError
    from ..exceptions import IncusOperationConflictError as IncusOperationConflictError
    from ..exceptions import IncusOperationError as IncusOperationError
    from ..exceptions import IncusOperationLostError as IncusOperationLostError
    from ..exceptions import IncusPermissionError as IncusPermissionError
    from ..exceptions import IncusPreconditionError as IncusPreconditionError
    from ..exceptions import IncusTimeoutError as IncusTimeoutError
    from ..exceptions import IncusUnsupportedError as IncusUnsupportedError
    from ..exceptions import ProcessError as ProcessError
    from ..files._sftp import FileStat as FileStat
    from ..files._trees import Transfer as Transfer
    from ..filters import F as F
    from ..filters import Filter as Filter
    from ..models.instances import InstanceState as InstanceState
    from ..models.operations import Event as Event
    from ..operations import Progress as Progress
    from ..process import ProcessResult as ProcessResult
    from ._portal import timeout as timeout
    from ._twin import local_listener as local_listener
    from .api._ensure import Ensured as Ensured
    from .api._image_aliases import ImageAlias as ImageAlias
    from .api.backups import BucketBackup as BucketBackup
    from .api.backups import InstanceBackup as InstanceBackup
    from .api.backups import VolumeBackup as VolumeBackup
    from .api.buckets import Bucket as Bucket
    from .api.buckets import BucketKey as BucketKey
    from .api.certificates import Certificate as Certificate
    from .api.cluster import Cluster as Cluster
    from .api.cluster import ClusterGroup as ClusterGroup
    from .api.cluster import ClusterMember as ClusterMember
    from .api.images import Image as Image
    from .api.instances import Instance as Instance
    from .api.instances import Snapshot as Snapshot
    from .api.networks import Network as Network
    from .api.networks import NetworkACL as NetworkACL
    from .api.networks import NetworkAddressSet as NetworkAddressSet
    from .api.networks import NetworkForward as NetworkForward
    from .api.networks import NetworkIntegration as NetworkIntegration
    from .api.networks import NetworkLoadBalancer as NetworkLoadBalancer
    from .api.networks import NetworkPeer as NetworkPeer
    from .api.networks import NetworkZone as NetworkZone
    from .api.networks import NetworkZoneRecord as NetworkZoneRecord
    from .api.profiles import Profile as Profile
    from .api.projects import Project as Project
    from .api.server import Server as Server
    from .api.storage import StoragePool as StoragePool
    from .api.storage import Volume as Volume
    from .api.storage import VolumeSnapshot as VolumeSnapshot
    from .client import Client as Client
    from .events import EventStream as EventStream
    from .files._paths import RemotePath as RemotePath
    from .operations import Operation as Operation
    from .process import Console as Console
    from .process import Process as Process
else:
    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        {
            ".": "models progress",
            "._connection.config": "ClientConfig Remote",
            "._connection.tls": "client_token",
            "._connection.tracing": "TracedRequest",
            ".api._ensure": "Change",
            "api._ensure": "Ensured",
            ".api._forwarding": "LocalAddress",
            ".api._readiness": "Address",
            "api.backups": "BucketBackup InstanceBackup VolumeBackup",
            "api.buckets": "Bucket BucketKey",
            "api.certificates": "Certificate",
            "api.cluster": "Cluster ClusterGroup ClusterMember",
            "api.images": "Image",
            "api._image_aliases": "ImageAlias",
            "api.instances": "Instance Snapshot",
            "api.networks": """
                Network NetworkACL NetworkAddressSet NetworkForward NetworkIntegration NetworkLoadBalancer
                NetworkPeer NetworkZone NetworkZoneRecord
            """,
            "api.profiles": "Profile",
            "api.projects": "Project",
            "api.server": "Server",
            "api.storage": "StoragePool Volume VolumeSnapshot",
            ".api.tokens": "Token",
            "client": "Client",
            ".client": "RawAnswer",
            "events": "EventStream",
            ".events": "Gap LifecycleEvent LoggingEvent OperationEvent",
            ".exceptions": """
                IncusAPIError IncusAuthenticationError IncusCertificateError IncusClosedError IncusConflictError
                IncusConnectionError IncusError IncusFrozenError IncusInputError IncusInstanceStoppedError
                IncusNotFoundError IncusNotLoadedError IncusNotRunningError IncusOperationConflictError
                IncusOperationError IncusOperationLostError IncusPermissionError IncusPreconditionError
                IncusTimeoutError IncusUnsupportedError ProcessError
            """,
            ".files._sftp": "FileStat",
            "files._paths": "RemotePath",
            ".files._trees": "Transfer",
            ".filters": "F Filter",
            ".models.operations": "Event",
            ".models.instances": "InstanceState",
            "operations": "Operation",
            ".operations": "Progress",
            "process": "Console Process",
            ".process": "ProcessResult",
            "_twin": "local_listener",
            "_portal": "timeout",
        },
    )
