"""The server itself: records and request bodies, its configuration options, warnings and access lists included."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypedDict

from .base import Config, Key, Record, RecordList

MetadataConfigEntityName = str
"""What a configuration key belongs to, such as ``instance`` or ``network-bridge``."""

MetadataConfigGroupName = str
"""Topic under which configuration keys are documented together, such as ``security``."""


class ServerStorageDriverInfo(Record):
    """A storage driver the server can use; it spells the three keys with a capital letter."""

    Name: str
    Remote: bool
    """Its volumes are reachable from every cluster member, as with Ceph."""
    Version: str
    """The version of the tools or the kernel module behind it."""


class ServerEnvironment(Record):
    """What the server runs on and with; empty for a client that is not trusted."""

    _shown = ("server", "server_version", "server_name")

    addresses: list[str]
    """Where it listens for HTTPS, each host:port; empty: on the unix socket only."""
    architectures: list[str]
    """The host's own first, then the others it can run."""
    certificate: str
    """PEM; in a cluster the one all members share."""
    certificate_fingerprint: str
    """SHA-256, 64 hex digits."""
    driver: str
    """Instance drivers, joined by " | ": lxc | qemu."""
    driver_version: str
    """In the order of ``driver``, joined the same way."""
    firewall: str
    """nftables; older servers also xtables."""
    kernel: str
    """Linux."""
    kernel_architecture: str
    kernel_features: dict[str, str]
    """Probed at start, each "true" or "false"."""
    kernel_version: str
    lxc_features: dict[str, str]
    """Probed at start, each "true" or "false"."""
    os_name: str
    """Distribution of the host."""
    os_version: str
    project: str
    """The one this request was made in."""
    server: str
    """incus."""
    server_clustered: bool
    server_event_mode: str
    """How cluster members pass events on: full-mesh, hub-server or hub-client."""
    server_name: str
    """Name of the cluster member, or the host's name."""
    server_pid: int
    server_version: str
    storage: str
    """Storage drivers of the pools there are, joined by " | "."""
    storage_supported_drivers: RecordList[ServerStorageDriverInfo]
    storage_version: str
    """In the order of ``storage``, joined the same way."""


class ServerUntrusted(Record):
    """What the server says about itself to anybody."""

    api_extensions: list[str]
    """What it can do beyond the first API: the one way to know whether it has a feature."""
    api_status: str
    """stable, devel or deprecated."""
    api_version: str
    """1.0, whatever the server's version."""
    auth: str
    """trusted or untrusted: how the server sees this client."""
    auth_methods: list[str]
    """tls, and oidc where set up."""
    config: dict[str, str]
    """For an untrusted client only the keys that are meant for the public (``user.ui.*``)."""
    public: bool
    """It offers nothing but public images."""


class Envelope(Record):
    """A whole answer of the server, with its payload."""

    type: str
    """sync, async or error."""
    status: str
    status_code: int
    operation: str
    """Path of the operation that an async answer began."""
    error_code: int
    error: str
    metadata: Any
    """The payload."""


class Server(ServerUntrusted):
    """The server's description and configuration."""

    auth_user_method: str
    """How this client proved who it is: unix, tls or oidc."""
    auth_user_name: str
    """This client: its certificate's fingerprint, the name in its OIDC token, or the unix user (or uid=1000)."""
    environment: ServerEnvironment

    def _facts(self) -> list[str]:
        match self._json.get("environment"):
            case {"server_version": str(version), "server_name": str(name), **more}:
                return [version, f"name={name!r}", *(["clustered"] if more.get("server_clustered") is True else [])]
            case _:
                return super()._facts()


class ServerPut(TypedDict, total=False):
    """Changes the server's configuration."""

    config: Config


class MetadataConfigKey(Record):
    """A configuration option, as the documentation describes it."""

    condition: str
    """When it applies, in words, such as container or unprivileged container; empty or -: always."""
    defaultdesc: str
    """Its default in words; empty where there is none."""
    liveupdate: str
    """Whether a change takes effect without a restart: yes, no, or a description; can be empty."""
    longdesc: str
    """Markdown."""
    scope: str
    """global (the cluster as a whole) or local (one member); empty where the difference does not exist."""
    shortdesc: str
    """Markdown, one sentence."""
    type: str
    """string, bool, integer, blob and others: all the same sent as strings."""


class MetadataConfigGroup(Record):
    """Configuration options that belong together."""

    config_keys: Annotated[list[dict[str, Any]], Key("keys")]
    """Each a mapping of one option's name to its MetadataConfigKey."""


class MetadataConfig(Record):
    """Groups of options by kind of object and group: ``configs["instance"]["boot"]`` holds a MetadataConfigGroup."""


class MetadataConfiguration(Record):
    """Every configuration option this server knows."""

    configs: MetadataConfig


class Warning(Record):
    """Something the server wants its administrator to know."""

    _shown = ("type", "severity", "status", "uuid")

    count: int
    """How often it occurred."""
    entity_url: str
    """What it concerns; empty for the server as a whole."""
    first_seen_at: datetime | None
    last_message: str
    last_seen_at: datetime | None
    location: str
    """Cluster member where it occurred."""
    project: str
    severity: str
    """low, moderate or high."""
    status: str
    """new, acknowledged or resolved."""
    type: str
    """Its kind in words, the same for every such warning."""
    uuid: str


class WarningPut(TypedDict, total=False):
    """Acknowledges a warning, or makes it new again."""

    status: str
    """acknowledged or new: only the server resolves."""


class AccessEntry(Record):
    """Somebody who can use an instance or a project."""

    identifier: str
    """Fingerprint of a certificate, or a user's name."""
    provider: str
    """What grants it: tls or openfga."""
    role: str
    """From tls: admin, operator or view; from openfga a relation of its model."""


Access = list[AccessEntry]
"""Who can use an object, and in which role."""
