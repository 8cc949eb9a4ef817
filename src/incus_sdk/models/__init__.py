"""The API's data: records that the server sends, and bodies that it takes."""

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .base import Config as Config
    from .base import ConfigMap as ConfigMap
    from .base import DevicesMap as DevicesMap
    from .base import Record as Record
    from .base import RecordList as RecordList
    from .base import RecordMap as RecordMap
    from .certificates import Certificate as Certificate
    from .certificates import CertificateAddToken as CertificateAddToken
    from .certificates import CertificatePut as CertificatePut
    from .certificates import CertificatesPost as CertificatesPost
    from .certificates import CertificateType as CertificateType
    from .cluster import Cluster as Cluster
    from .cluster import ClusterGroup as ClusterGroup
    from .cluster import ClusterGroupPut as ClusterGroupPut
    from .cluster import ClusterGroupsPost as ClusterGroupsPost
    from .cluster import ClusterMember as ClusterMember
    from .cluster import ClusterMemberConfigKey as ClusterMemberConfigKey
    from .cluster import ClusterMemberConfigKeyDict as ClusterMemberConfigKeyDict
    from .cluster import ClusterMemberJoinToken as ClusterMemberJoinToken
    from .cluster import ClusterMemberPut as ClusterMemberPut
    from .cluster import ClusterMemberState as ClusterMemberState
    from .cluster import ClusterMemberSysInfo as ClusterMemberSysInfo
    from .cluster import ClusterPut as ClusterPut
    from .devices import Device as Device
    from .devices import Devices as Devices
    from .devices import DiskDevice as DiskDevice
    from .devices import GPUDevice as GPUDevice
    from .devices import InfinibandDevice as InfinibandDevice
    from .devices import NICDevice as NICDevice
    from .devices import NoneDevice as NoneDevice
    from .devices import PCIDevice as PCIDevice
    from .devices import ProxyDevice as ProxyDevice
    from .devices import TPMDevice as TPMDevice
    from .devices import UnixDevice as UnixDevice
    from .devices import UnixHotplugDevice as UnixHotplugDevice
    from .devices import USBDevice as USBDevice
    from .images import Image as Image
    from .images import ImageAlias as ImageAlias
    from .images import ImageAliasDict as ImageAliasDict
    from .images import ImageAliasesEntry as ImageAliasesEntry
    from .images import ImageAliasesEntryPut as ImageAliasesEntryPut
    from .images import ImageMetadata as ImageMetadata
    from .images import ImageMetadataDict as ImageMetadataDict
    from .images import ImageMetadataTemplate as ImageMetadataTemplate
    from .images import ImageMetadataTemplateDict as ImageMetadataTemplateDict
    from .images import ImagePut as ImagePut
    from .images import ImageSource as ImageSource
    from .images import ImagesPost as ImagesPost
    from .images import ImagesPostSource as ImagesPostSource
    from .instances import BackupTarget as BackupTarget
    from .instances import Instance as Instance
    from .instances import InstanceBackup as InstanceBackup
    from .instances import InstanceFull as InstanceFull
    from .instances import InstanceNVRAMVariable as InstanceNVRAMVariable
    from .instances import InstanceNVRAMVariablePut as InstanceNVRAMVariablePut
    from .instances import InstancePut as InstancePut
    from .instances import InstanceSnapshot as InstanceSnapshot
    from .instances import InstanceSnapshotPut as InstanceSnapshotPut
    from .instances import InstanceSource as InstanceSource
    from .instances import InstanceState as InstanceState
    from .instances import InstanceStateCPU as InstanceStateCPU
    from .instances import InstanceStateDisk as InstanceStateDisk
    from .instances import InstanceStateMemory as InstanceStateMemory
    from .instances import InstanceStateNetwork as InstanceStateNetwork
    from .instances import InstanceStateNetworkAddress as InstanceStateNetworkAddress
    from .instances import InstanceStateNetworkCounters as InstanceStateNetworkCounters
    from .instances import InstanceStateOSInfo as InstanceStateOSInfo
    from .instances import InstanceStatus as InstanceStatus
    from .instances import InstanceType as InstanceType
    from .networks import Network as Network
    from .networks import NetworkACL as NetworkACL
    from .networks import NetworkACLPut as NetworkACLPut
    from .networks import NetworkACLRule as NetworkACLRule
    from .networks import NetworkACLRuleDict as NetworkACLRuleDict
    from .networks import NetworkAddressSet as NetworkAddressSet
    from .networks import NetworkAddressSetPut as NetworkAddressSetPut
    from .networks import NetworkAllocations as NetworkAllocations
    from .networks import NetworkForward as NetworkForward
    from .networks import NetworkForwardPort as NetworkForwardPort
    from .networks import NetworkForwardPortDict as NetworkForwardPortDict
    from .networks import NetworkForwardPut as NetworkForwardPut
    from .networks import NetworkIntegration as NetworkIntegration
    from .networks import NetworkIntegrationPut as NetworkIntegrationPut
    from .networks import NetworkLease as NetworkLease
    from .networks import NetworkLoadBalancer as NetworkLoadBalancer
    from .networks import NetworkLoadBalancerBackend as NetworkLoadBalancerBackend
    from .networks import NetworkLoadBalancerBackendDict as NetworkLoadBalancerBackendDict
    from .networks import NetworkLoadBalancerPort as NetworkLoadBalancerPort
    from .networks import NetworkLoadBalancerPortDict as NetworkLoadBalancerPortDict
    from .networks import NetworkLoadBalancerPut as NetworkLoadBalancerPut
    from .networks import NetworkLoadBalancerState as NetworkLoadBalancerState
    from .networks import NetworkLoadBalancerStateBackendHealth as NetworkLoadBalancerStateBackendHealth
    from .networks import NetworkLoadBalancerStateBackendHealthPort as NetworkLoadBalancerStateBackendHealthPort
    from .networks import NetworkPeer as NetworkPeer
    from .networks import NetworkPeerPut as NetworkPeerPut
    from .networks import NetworkPut as NetworkPut
    from .networks import NetworksPost as NetworksPost
    from .networks import NetworkState as NetworkState
    from .networks import NetworkStateAddress as NetworkStateAddress
    from .networks import NetworkStateBond as NetworkStateBond
    from .networks import NetworkStateBridge as NetworkStateBridge
    from .networks import NetworkStateCounters as NetworkStateCounters
    from .networks import NetworkStateOVN as NetworkStateOVN
    from .networks import NetworkStateVLAN as NetworkStateVLAN
    from .networks import NetworkType as NetworkType
    from .networks import NetworkZone as NetworkZone
    from .networks import NetworkZonePut as NetworkZonePut
    from .networks import NetworkZoneRecord as NetworkZoneRecord
    from .networks import NetworkZoneRecordEntry as NetworkZoneRecordEntry
    from .networks import NetworkZoneRecordEntryDict as NetworkZoneRecordEntryDict
    from .networks import NetworkZoneRecordPut as NetworkZoneRecordPut
    from .operations import Event as Event
    from .operations import Operation as Operation
    from .operations import StatusCode as StatusCode
    from .preseed import InitClusterPreseed as InitClusterPreseed
    from .preseed import InitLocalPreseed as InitLocalPreseed
    from .preseed import InitNetworksProjectPost as InitNetworksProjectPost
    from .preseed import InitPreseed as InitPreseed
    from .preseed import InitProfileProjectPost as InitProfileProjectPost
    from .preseed import InitStorageVolumesProjectPost as InitStorageVolumesProjectPost
    from .profiles import Profile as Profile
    from .profiles import ProfilePut as ProfilePut
    from .profiles import ProfilesPost as ProfilesPost
    from .projects import Project as Project
    from .projects import ProjectPut as ProjectPut
    from .projects import ProjectsPost as ProjectsPost
    from .projects import ProjectState as ProjectState
    from .projects import ProjectStateResource as ProjectStateResource
    from .resources import Resources as Resources
    from .resources import ResourcesCPU as ResourcesCPU
    from .resources import ResourcesCPUAddressSizes as ResourcesCPUAddressSizes
    from .resources import ResourcesCPUCache as ResourcesCPUCache
    from .resources import ResourcesCPUCore as ResourcesCPUCore
    from .resources import ResourcesCPUSocket as ResourcesCPUSocket
    from .resources import ResourcesCPUThread as ResourcesCPUThread
    from .resources import ResourcesGPU as ResourcesGPU
    from .resources import ResourcesGPUCard as ResourcesGPUCard
    from .resources import ResourcesGPUCardDRM as ResourcesGPUCardDRM
    from .resources import ResourcesGPUCardMdev as ResourcesGPUCardMdev
    from .resources import ResourcesGPUCardNvidia as ResourcesGPUCardNvidia
    from .resources import ResourcesGPUCardSRIOV as ResourcesGPUCardSRIOV
    from .resources import ResourcesLoad as ResourcesLoad
    from .resources import ResourcesMemory as ResourcesMemory
    from .resources import ResourcesMemoryNode as ResourcesMemoryNode
    from .resources import ResourcesNetwork as ResourcesNetwork
    from .resources import ResourcesNetworkCard as ResourcesNetworkCard
    from .resources import ResourcesNetworkCardPort as ResourcesNetworkCardPort
    from .resources import ResourcesNetworkCardPortInfiniband as ResourcesNetworkCardPortInfiniband
    from .resources import ResourcesNetworkCardSRIOV as ResourcesNetworkCardSRIOV
    from .resources import ResourcesNetworkCardVDPA as ResourcesNetworkCardVDPA
    from .resources import ResourcesPCI as ResourcesPCI
    from .resources import ResourcesPCIDevice as ResourcesPCIDevice
    from .resources import ResourcesPCIVPD as ResourcesPCIVPD
    from .resources import ResourcesSerial as ResourcesSerial
    from .resources import ResourcesSerialDevice as ResourcesSerialDevice
    from .resources import ResourcesStorage as ResourcesStorage
    from .resources import ResourcesStorageDisk as ResourcesStorageDisk
    from .resources import ResourcesStorageDiskPartition as ResourcesStorageDiskPartition
    from .resources import ResourcesStoragePool as ResourcesStoragePool
    from .resources import ResourcesStoragePoolInodes as ResourcesStoragePoolInodes
    from .resources import ResourcesStoragePoolSpace as ResourcesStoragePoolSpace
    from .resources import ResourcesSystem as ResourcesSystem
    from .resources import ResourcesSystemChassis as ResourcesSystemChassis
    from .resources import ResourcesSystemFirmware as ResourcesSystemFirmware
    from .resources import ResourcesSystemMotherboard as ResourcesSystemMotherboard
    from .resources import ResourcesUSB as ResourcesUSB
    from .resources import ResourcesUSBDevice as ResourcesUSBDevice
    from .resources import ResourcesUSBDeviceInterface as ResourcesUSBDeviceInterface
    from .server import Access as Access
    from .server import AccessEntry as AccessEntry
    from .server import Envelope as Envelope
    from .server import MetadataConfig as MetadataConfig
    from .server import MetadataConfigEntityName as MetadataConfigEntityName
    from .server import MetadataConfigGroup as MetadataConfigGroup
    from .server import MetadataConfigGroupName as MetadataConfigGroupName
    from .server import MetadataConfigKey as MetadataConfigKey
    from .server import MetadataConfiguration as MetadataConfiguration
    from .server import Server as Server
    from .server import ServerEnvironment as ServerEnvironment
    from .server import ServerPut as ServerPut
    from .server import ServerStorageDriverInfo as ServerStorageDriverInfo
    from .server import ServerUntrusted as ServerUntrusted
    from .server import Warning as Warning  # noqa: A004
    from .server import WarningPut as WarningPut
    from .storage import StorageBucket as StorageBucket
    from .storage import StorageBucketBackup as StorageBucketBackup
    from .storage import StorageBucketFull as StorageBucketFull
    from .storage import StorageBucketKey as StorageBucketKey
    from .storage import StorageBucketKeyPut as StorageBucketKeyPut
    from .storage import StorageBucketPut as StorageBucketPut
    from .storage import StoragePool as StoragePool
    from .storage import StoragePoolPut as StoragePoolPut
    from .storage import StoragePoolsPost as StoragePoolsPost
    from .storage import StoragePoolState as StoragePoolState
    from .storage import StorageVolume as StorageVolume
    from .storage import StorageVolumeBackup as StorageVolumeBackup
    from .storage import StorageVolumeBitmap as StorageVolumeBitmap
    from .storage import StorageVolumeFull as StorageVolumeFull
    from .storage import StorageVolumePut as StorageVolumePut
    from .storage import StorageVolumeSnapshot as StorageVolumeSnapshot
    from .storage import StorageVolumeSnapshotPut as StorageVolumeSnapshotPut
    from .storage import StorageVolumeSource as StorageVolumeSource
    from .storage import StorageVolumesPost as StorageVolumesPost
    from .storage import StorageVolumeState as StorageVolumeState
    from .storage import StorageVolumeStateUsage as StorageVolumeStateUsage
    from .storage import VolumeContentType as VolumeContentType
    from .storage import VolumeType as VolumeType
else:
    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        {
            "base": "Config ConfigMap DevicesMap Record RecordList RecordMap",
            "certificates": "Certificate CertificateAddToken CertificatePut CertificatesPost CertificateType",
            "cluster": """
                Cluster ClusterGroup ClusterGroupPut ClusterGroupsPost ClusterMember ClusterMemberConfigKey
                ClusterMemberConfigKeyDict ClusterMemberJoinToken ClusterMemberPut ClusterMemberState
                ClusterMemberSysInfo ClusterPut
            """,
            "devices": """
                Device Devices DiskDevice GPUDevice InfinibandDevice NICDevice NoneDevice PCIDevice ProxyDevice
                TPMDevice UnixDevice UnixHotplugDevice USBDevice
            """,
            "images": """
                Image ImageAlias ImageAliasDict ImageAliasesEntry ImageAliasesEntryPut ImageMetadata
                ImageMetadataDict ImageMetadataTemplate ImageMetadataTemplateDict ImagePut ImageSource ImagesPost
                ImagesPostSource
            """,
            "instances": """
                BackupTarget Instance InstanceBackup InstanceFull InstanceNVRAMVariable
                InstanceNVRAMVariablePut InstancePut InstanceSnapshot InstanceSnapshotPut InstanceSource
                InstanceState InstanceStateCPU InstanceStateDisk InstanceStateMemory InstanceStateNetwork
                InstanceStateNetworkAddress InstanceStateNetworkCounters InstanceStateOSInfo InstanceStatus InstanceType
            """,
            "networks": """
                Network NetworkACL NetworkACLPut NetworkACLRule NetworkACLRuleDict NetworkAddressSet
                NetworkAddressSetPut NetworkAllocations NetworkForward NetworkForwardPort NetworkForwardPortDict
                NetworkForwardPut NetworkIntegration NetworkIntegrationPut NetworkLease NetworkLoadBalancer
                NetworkLoadBalancerBackend NetworkLoadBalancerBackendDict NetworkLoadBalancerPort
                NetworkLoadBalancerPortDict NetworkLoadBalancerPut NetworkLoadBalancerState
                NetworkLoadBalancerStateBackendHealth NetworkLoadBalancerStateBackendHealthPort NetworkPeer
                NetworkPeerPut NetworkPut NetworksPost NetworkState NetworkStateAddress NetworkStateBond
                NetworkStateBridge NetworkStateCounters NetworkStateOVN NetworkStateVLAN NetworkType NetworkZone
                NetworkZonePut NetworkZoneRecord NetworkZoneRecordEntry NetworkZoneRecordEntryDict
                NetworkZoneRecordPut
            """,
            "operations": "Event Operation StatusCode",
            "preseed": """
                InitClusterPreseed InitLocalPreseed InitNetworksProjectPost InitPreseed InitProfileProjectPost
                InitStorageVolumesProjectPost
            """,
            "profiles": "Profile ProfilePut ProfilesPost",
            "projects": "Project ProjectPut ProjectsPost ProjectState ProjectStateResource",
            "resources": """
                Resources ResourcesCPU ResourcesCPUAddressSizes ResourcesCPUCache ResourcesCPUCore
                ResourcesCPUSocket ResourcesCPUThread ResourcesGPU ResourcesGPUCard ResourcesGPUCardDRM
                ResourcesGPUCardMdev ResourcesGPUCardNvidia ResourcesGPUCardSRIOV ResourcesLoad ResourcesMemory
                ResourcesMemoryNode ResourcesNetwork ResourcesNetworkCard ResourcesNetworkCardPort
                ResourcesNetworkCardPortInfiniband ResourcesNetworkCardSRIOV ResourcesNetworkCardVDPA ResourcesPCI
                ResourcesPCIDevice ResourcesPCIVPD ResourcesSerial ResourcesSerialDevice ResourcesStorage
                ResourcesStorageDisk ResourcesStorageDiskPartition ResourcesStoragePool ResourcesStoragePoolInodes
                ResourcesStoragePoolSpace ResourcesSystem ResourcesSystemChassis ResourcesSystemFirmware
                ResourcesSystemMotherboard ResourcesUSB ResourcesUSBDevice ResourcesUSBDeviceInterface
            """,
            "server": """
                Access AccessEntry Envelope MetadataConfig MetadataConfigEntityName MetadataConfigGroup
                MetadataConfigGroupName MetadataConfigKey MetadataConfiguration Server ServerEnvironment ServerPut
                ServerStorageDriverInfo ServerUntrusted Warning WarningPut
            """,
            "storage": """
                StorageBucket StorageBucketBackup StorageBucketFull StorageBucketKey
                StorageBucketKeyPut StorageBucketPut StoragePool StoragePoolPut StoragePoolsPost StoragePoolState
                StorageVolume StorageVolumeBackup StorageVolumeBitmap StorageVolumeFull
                StorageVolumePut StorageVolumeSnapshot StorageVolumeSnapshotPut StorageVolumeSource
                StorageVolumesPost StorageVolumeState StorageVolumeStateUsage VolumeContentType VolumeType
            """,
        },
    )
