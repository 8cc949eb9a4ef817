"""Resources: the hardware of a host, and the space in a storage pool."""

from __future__ import annotations

from typing import Annotated

from .base import Key, Record, RecordList, RecordMap


class ResourcesCPUAddressSizes(Record):
    """Widths of a processor's addresses, in bits (``resources_cpu_address_sizes``)."""

    physical_bits: int
    virtual_bits: int


class ResourcesCPUCache(Record):
    """One cache of a processor."""

    level: int
    """1 is the nearest to the core."""
    size: int
    """Bytes."""
    type: str
    """Data, Instruction, Unified or Unknown."""


class ResourcesCPUThread(Record):
    """A hardware thread: what the kernel calls a CPU."""

    id: int
    """The kernel's number for it, which ``limits.cpu`` takes for pinning."""
    isolated: bool
    """Kept out of ordinary scheduling (isolcpus)."""
    numa_node: int
    online: bool
    thread: int
    """Its place within the core."""


class ResourcesCPUCore(Record):
    """A processor core."""

    cluster: int
    """Core numbers may repeat between clusters (``resources_cpu_cluster``)."""
    core: int
    """Its place within the socket."""
    die: int
    """For processors made of several chips; 0 otherwise."""
    flags: list[str]
    """As in /proc/cpuinfo."""
    frequency: int
    """MHz at this moment; 0 where unknown."""
    threads: RecordList[ResourcesCPUThread]


class ResourcesCPUSocket(Record):
    """A processor."""

    address_sizes: ResourcesCPUAddressSizes
    cache: RecordList[ResourcesCPUCache]
    cores: RecordList[ResourcesCPUCore]
    frequency: int
    """MHz at this moment, the mean of its cores; 0 where unknown."""
    frequency_minimum: int
    """MHz."""
    frequency_turbo: int
    """MHz at most."""
    name: str
    """Model: Intel(R) Core(TM) i5-7300U CPU @ 2.60GHz."""
    socket: int
    vendor: str
    """As the processor reports it: GenuineIntel."""


class ResourcesCPU(Record):
    """The processors."""

    architecture: str
    sockets: RecordList[ResourcesCPUSocket]
    total: int
    """Threads, over all sockets and cores."""


class ResourcesGPUCardDRM(Record):
    """A card's device nodes for direct rendering; each ``*_device`` is a major:minor number."""

    card_device: str
    card_name: str
    """File name below /dev/dri: card0."""
    control_device: str
    control_name: str
    """Only on old kernels."""
    id: int
    """Number of the card, 0 for card0."""
    render_device: str
    render_name: str
    """File name below /dev/dri: renderD128."""


class ResourcesGPUCardMdev(Record):
    """A kind of virtual GPU that a card can be split into."""

    api: str
    """Kernel interface it uses, such as vfio-pci."""
    available: int
    """How many more can be made."""
    description: str
    devices: list[str]
    """UUIDs of those that exist."""
    name: str


class ResourcesGPUCardNvidia(Record):
    """What NVIDIA's driver reports about a card; empty for any other."""

    architecture: str
    """Compute capability: 3.5."""
    brand: str
    card_device: str
    """major:minor."""
    card_name: str
    """File name below /dev: nvidia0."""
    cuda_version: str
    """The newest CUDA that the driver supports."""
    model: str
    nvrm_version: str
    """The kernel driver's."""
    uuid: str
    """With NVIDIA's prefix: GPU-6ddadebd-..."""


class ResourcesGPUCardSRIOV(Record):
    """The virtual functions of a GPU."""

    current_vfs: int
    """How many are set up."""
    maximum_vfs: int
    """How many the hardware allows."""
    vfs: RecordList[ResourcesGPUCard]


class ResourcesGPUCard(Record):
    """A graphics card."""

    driver: str
    """Kernel module; empty where none is bound."""
    driver_version: str
    """The kernel's own version for a module that comes with it."""
    drm: ResourcesGPUCardDRM
    mdev: RecordMap[ResourcesGPUCardMdev]
    """By the kernel's name of the kind, such as i915-GVTg_V5_8."""
    numa_node: int
    nvidia: ResourcesGPUCardNvidia
    pci_address: str
    """0000:00:02.0; empty if it is not on the PCI bus."""
    product: str
    product_id: str
    """Four hex digits."""
    sriov: ResourcesGPUCardSRIOV
    usb_address: str
    """bus:device; empty if it is not on USB."""
    vendor: str
    vendor_id: str
    """Four hex digits."""


class ResourcesGPU(Record):
    """The graphics cards."""

    cards: RecordList[ResourcesGPUCard]
    total: int
    """Cards and their virtual functions."""


class ResourcesLoad(Record):
    """How busy the host is (the server spells these keys with capital letters)."""

    Average10Min: float
    """Third figure of /proc/loadavg: Linux averages it over 15 minutes, whatever this name says."""
    Average1Min: float
    Average5Min: float
    Processes: int
    """How many exist, sleeping ones as well."""


class ResourcesMemoryNode(Record):
    """The memory of one NUMA node, in bytes."""

    hugepages_total: int
    hugepages_used: int
    numa_node: int
    total: int
    used: int


class ResourcesMemory(Record):
    """The memory, in bytes."""

    hugepages_size: int
    """Bytes of one huge page."""
    hugepages_total: int
    """All huge pages together, in bytes."""
    hugepages_used: int
    """Bytes, not pages."""
    nodes: RecordList[ResourcesMemoryNode]
    """Empty on a host without NUMA."""
    total: int
    used: int
    """Without buffers and cache."""


class ResourcesNetworkCardPortInfiniband(Record):
    """Device nodes of an InfiniBand port: names below /dev/infiniband, and each ``*_device`` a major:minor number."""

    issm_device: str
    issm_name: str
    """For a subnet manager: issm0."""
    mad_device: str
    mad_name: str
    """For management datagrams: umad0."""
    verb_device: str
    verb_name: str
    """For programs: uverbs0."""


class ResourcesNetworkCardPort(Record):
    """A port of a network card."""

    address: str
    """MAC address."""
    auto_negotiation: bool
    id: str
    """Interface name on the host: eth0."""
    infiniband: ResourcesNetworkCardPortInfiniband
    """Empty for Ethernet."""
    link_detected: bool
    link_duplex: str
    """half or full; empty where unknown."""
    link_speed: int
    """Mbit/s; 0 without a link."""
    port: int
    """Its place on the card, from 0."""
    port_type: str
    """The connector in use, such as twisted pair or fibre."""
    protocol: str
    """ethernet, infiniband, or unknown."""
    supported_modes: list[str]
    """Speed and duplex: 1000baseT/Full."""
    supported_ports: list[str]
    """Connectors it could use."""
    transceiver_type: str
    """internal or external."""


class ResourcesNetworkCardSRIOV(Record):
    """The virtual functions of a network card."""

    current_vfs: int
    """How many are set up."""
    maximum_vfs: int
    """How many the hardware allows."""
    vfs: RecordList[ResourcesNetworkCard]


class ResourcesNetworkCardVDPA(Record):
    """The virtio data path device of a virtual function."""

    device: str
    """Device node, such as vhost-vdpa-0."""
    name: str
    """On the vdpa bus."""


class ResourcesNetworkCard(Record):
    """A network card."""

    driver: str
    """Kernel module; empty where none is bound."""
    driver_version: str
    """The kernel's own version for a module that comes with it."""
    firmware_version: str
    numa_node: int
    pci_address: str
    """0000:0d:00.0; empty if it is not on the PCI bus."""
    ports: RecordList[ResourcesNetworkCardPort]
    product: str
    product_id: str
    """Four hex digits."""
    sriov: ResourcesNetworkCardSRIOV
    usb_address: str
    """bus:device; empty if it is not on USB."""
    vdpa: ResourcesNetworkCardVDPA
    vendor: str
    vendor_id: str
    """Four hex digits."""


class ResourcesNetwork(Record):
    """The network cards."""

    cards: RecordList[ResourcesNetworkCard]
    total: int
    """Cards and their virtual functions."""


class ResourcesPCIVPD(Record):
    """What a PCI device stores about itself (vital product data)."""

    entries: dict[str, str]
    """By the two-letter keyword of the PCI standard, such as EC, PN, SN or V0."""
    product_name: str


class ResourcesPCIDevice(Record):
    """A device on the PCI bus."""

    driver: str
    """Kernel module; empty where none is bound."""
    driver_version: str
    """The kernel's own version for a module that comes with it."""
    iommu_group: int
    """Devices of one group can only be passed through together; 0 also where there is no IOMMU."""
    numa_node: int
    pci_address: str
    """0000:07:03.0."""
    product: str
    product_id: str
    """Four hex digits."""
    vendor: str
    vendor_id: str
    """Four hex digits."""
    vpd: ResourcesPCIVPD


class ResourcesPCI(Record):
    """The devices on the PCI bus."""

    devices: RecordList[ResourcesPCIDevice]
    total: int


class ResourcesSerialDevice(Record):
    """A serial port (``resources_serial``)."""

    device: str
    """major:minor."""
    device_id: str
    """Full path of its link in /dev/serial/by-id."""
    device_path: str
    """Full path of its link in /dev/serial/by-path."""
    driver: str
    """Kernel module, such as cdc_acm or ftdi_sio."""
    id: str
    """Kernel's name: ttyUSB0."""
    product: str
    product_id: str
    """The USB device's, four hex digits."""
    vendor: str
    vendor_id: str
    """The USB device's, four hex digits."""


class ResourcesSerial(Record):
    """The serial ports (``resources_serial``)."""

    devices: RecordList[ResourcesSerialDevice]
    total: int


class ResourcesStorageDiskPartition(Record):
    """A partition of a disk."""

    device: str
    """major:minor."""
    id: str
    """Kernel's name: nvme0n1p1."""
    partition: int
    """Number, from 1."""
    read_only: bool
    size: int
    """Bytes."""


class ResourcesStorageDisk(Record):
    """A disk of the host."""

    block_size: int
    """Bytes."""
    device: str
    """major:minor."""
    device_id: str
    """Name of its link in /dev/disk/by-id, without the directory."""
    device_path: str
    """Name of its link in /dev/disk/by-path, without the directory."""
    firmware_version: str
    id: str
    """Kernel's name: nvme0n1."""
    model: str
    numa_node: int
    partitions: RecordList[ResourcesStorageDiskPartition]
    pci_address: str
    """The controller's; empty if it is not on the PCI bus."""
    read_only: bool
    removable: bool
    rpm: int
    """Turns a minute; 0 for a disk without moving parts, 1 where it turns at a speed the kernel does not know."""
    serial: str
    size: int
    """Bytes."""
    type: str
    """How it is attached, such as nvme, sata, scsi, usb, virtio, rbd; cdrom for an optical drive."""
    usb_address: str
    """bus:device; empty if it is not on USB."""
    wwn: str
    """World Wide Name, with its prefix: eui.0000000001000000e4d25cafae2e4c00."""


class ResourcesStorage(Record):
    """The disks of the host."""

    disks: RecordList[ResourcesStorageDisk]
    total: int
    """Disks and partitions together."""


class ResourcesStoragePoolInodes(Record):
    """How many files a storage pool can hold and holds; 0 where the driver has no such count."""

    total: int
    used: int


class ResourcesStoragePoolSpace(Record):
    """The space in a storage pool, in bytes."""

    total: int
    used: int


class ResourcesStoragePool(Record):
    """The space and the inodes of a storage pool."""

    inodes: ResourcesStoragePoolInodes
    space: ResourcesStoragePoolSpace


class ResourcesSystemChassis(Record):
    """The case, as the firmware describes it."""

    serial: str
    type: str
    """Such as Notebook or Rack Mount Chassis."""
    vendor: str
    version: str


class ResourcesSystemFirmware(Record):
    """The BIOS or UEFI firmware."""

    date: str
    """As the vendor wrote it, mostly month/day/year."""
    vendor: str
    version: str


class ResourcesSystemMotherboard(Record):
    """The main board, as the firmware describes it."""

    product: str
    serial: str
    vendor: str
    version: str


class ResourcesSystem(Record):
    """The machine as its firmware describes it; fields it leaves out are empty."""

    chassis: ResourcesSystemChassis
    family: str
    """Product line."""
    firmware: ResourcesSystemFirmware
    motherboard: ResourcesSystemMotherboard
    product: str
    serial: str
    sku: str
    """The maker's order number."""
    type: str
    """physical, virtual-machine or container: where the server itself runs."""
    uuid: str
    vendor: str
    version: str


class ResourcesUSBDeviceInterface(Record):
    """One function of a USB device."""

    class_: Annotated[str, Key("class")]
    """Such as Human Interface Device."""
    class_id: int
    driver: str
    """Kernel module; empty where none is bound."""
    driver_version: str
    """The kernel's own version for a module that comes with it."""
    number: int
    subclass: str
    subclass_id: int


class ResourcesUSBDevice(Record):
    """A USB device."""

    bus_address: int
    """Number of the bus."""
    device_address: int
    """Number on that bus; it changes each time it is plugged in."""
    interfaces: RecordList[ResourcesUSBDeviceInterface]
    product: str
    product_id: str
    """Four hex digits."""
    serial: str
    speed: float
    """Mbit/s."""
    vendor: str
    vendor_id: str
    """Four hex digits."""


class ResourcesUSB(Record):
    """The USB devices."""

    devices: RecordList[ResourcesUSBDevice]
    total: int


class Resources(Record):
    """The hardware of a host."""

    cpu: ResourcesCPU
    gpu: ResourcesGPU
    load: ResourcesLoad
    memory: ResourcesMemory
    network: ResourcesNetwork
    pci: ResourcesPCI
    serial: ResourcesSerial
    storage: ResourcesStorage
    system: ResourcesSystem
    usb: ResourcesUSB
