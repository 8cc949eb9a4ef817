"""The server itself: what it is, its configuration, its warnings and measurements."""

from __future__ import annotations

from .answers import Answer, Refused, check_etag, content, done, success
from .collection import texts
from .extensions import EXTENSIONS
from .measurements import machine_resources, measured
from .requests import FakeRequest
from .state import State

_NAMESPACES = (
    *("acme", "authorization", "backups", "cluster", "core", "images", "instances", "linstor", "logging", "loki"),
    *("network", "oidc", "openfga", "storage", "user"),
)


class Server:
    """``/1.0``."""

    def __init__(self, state: State, without: frozenset[str]) -> None:
        self.state = state
        self.config: dict[str, str] = {}
        self.extensions = [each for each in EXTENSIONS if each not in without]

    def nothing(self, request: FakeRequest) -> Answer:
        """``GET`` of what the fake never has."""
        return success([])

    def cluster(self, request: FakeRequest) -> Answer:
        """``GET`` of the cluster that it is not in."""
        member = {
            "entity": "storage-pool",
            "name": "default",
            "key": "source",
            "value": "",
            "description": '"source" property for storage pool "default"',
        }
        found = {"server_name": "", "enabled": False, "member_config": [member]}
        return success(found, etag=found)

    def access(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of who may do something with an instance or a project."""
        if request._raw_path.startswith("/1.0/instances/"):
            self.state.machines.find(request, name)
        else:
            self.state.project(name)
        clients = self.state.of("certificates")
        return success([{"identifier": each, "role": "admin", "provider": "tls"} for each in clients])

    def no_groups(self, request: FakeRequest) -> Answer:
        """The groups of a cluster."""
        raise Refused(400, "This server is not clustered")

    def not_clustered(self, request: FakeRequest) -> Answer:
        """What only a cluster has."""
        raise Refused(500, "Server is not clustered")

    def resources(self, request: FakeRequest) -> Answer:
        """``GET`` of a small machine."""
        return success(machine_resources())

    def metrics(self, request: FakeRequest) -> Answer:
        """``GET`` of measurements, in the form of OpenMetrics."""
        return content(measured(self.state).encode(), {"Content-Type": "text/plain"})

    def versions(self, request: FakeRequest) -> Answer:
        """``GET`` of all versions of the API."""
        return success(["/1.0"])

    def get(self, request: FakeRequest) -> Answer:
        """``GET`` of what it is."""
        if not self.state.is_trusted(request):
            return success(
                {
                    "api_extensions": self.extensions,
                    "api_status": "stable",
                    "api_version": "1.0",
                    "auth": "untrusted",
                    "public": False,
                    "auth_methods": ["tls"],
                }
            )
        config = {**self.config, **({"core.https_address": self.state.address} if self.state.address else {})}
        unix = request._peer is None
        return success(
            {
                "config": dict(sorted(config.items())),
                "api_extensions": self.extensions,
                "api_status": "stable",
                "api_version": "1.0",
                "auth": "trusted",
                "public": False,
                "auth_methods": ["tls"],
                "auth_user_name": "root" if unix else self.state.client_fingerprint,
                "auth_user_method": "unix" if unix else "tls",
                "environment": {
                    "addresses": [self.state.address] if self.state.address else [],
                    "architectures": ["x86_64", "i686"],
                    "certificate": self.state.certificate,
                    "certificate_fingerprint": self.state.fingerprint,
                    "driver": "lxc | qemu",
                    "driver_version": "6.0.5 | 10.0.8",
                    "firewall": "nftables",
                    "kernel": "Linux",
                    "kernel_architecture": "x86_64",
                    "kernel_features": {
                        "idmapped_mounts": "true",
                        "netnsid_getifaddrs": "true",
                        "seccomp_listener": "true",
                        "seccomp_listener_continue": "true",
                        "uevent_injection": "true",
                        "unpriv_binfmt": "true",
                        "unpriv_fscaps": "true",
                    },
                    "kernel_version": "6.12.0",
                    "lxc_features": {
                        "cgroup2": "true",
                        "core_scheduling": "true",
                        "devpts_fd": "true",
                        "idmapped_mounts_v2": "true",
                        "mount_injection_file": "true",
                        "network_gateway_device_route": "true",
                        "network_ipvlan": "true",
                        "network_l2proxy": "true",
                        "network_phys_macvlan_mtu": "true",
                        "network_veth_router": "true",
                        "pidfd": "true",
                        "seccomp_allow_deny_syntax": "true",
                        "seccomp_notify": "true",
                        "seccomp_proxy_send_notify_fd": "true",
                    },
                    "os_name": "Debian GNU/Linux",
                    "os_version": "13",
                    "project": request.project,
                    "server": "incus",
                    "server_clustered": False,
                    "server_event_mode": "full-mesh",
                    "server_name": "fake",
                    "server_pid": 1,
                    "server_version": "7.0.2",
                    "storage": "dir",
                    "storage_version": "1",
                    "storage_supported_drivers": [{"Name": "dir", "Version": "1", "Remote": False}],
                },
            },
            etag=self.config,
        )

    def replace(self, request: FakeRequest) -> Answer:
        """``PUT`` of its configuration."""
        return self._set(request, texts(request._fields.get("config")))

    def patch(self, request: FakeRequest) -> Answer:
        """``PATCH`` of its configuration."""
        return self._set(request, texts({**self.config, **(request._fields.get("config") or {})}))

    def _set(self, request: FakeRequest, config: dict[str, str]) -> Answer:
        check_etag(request.headers.get("if-match"), self.config)
        for key, value in config.items():
            if key.partition(".")[0] not in _NAMESPACES:
                raise Refused(400, f"cannot set '{key}' to '{value}': unknown key")
        config.pop("core.https_address", None)  # where it listens is settled
        self.config = config
        self.state.events.lifecycle("config-updated", "/1.0", request, "default")
        return done()
