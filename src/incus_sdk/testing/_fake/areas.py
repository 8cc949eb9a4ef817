"""The areas of the API, and the table of the endpoints that the fake does."""

from __future__ import annotations

from .answers import Refused
from .certificates import Certificates
from .collection import Collection
from .contents import Contents
from .images import Aliases, Images
from .instances import Instances
from .networks import NetworkACLs, Networks
from .profiles import Profiles
from .projects import Projects
from .requests import FakeRequest
from .routing import Handler, Table
from .server import Server
from .sessions import Sessions
from .snapshots import Snapshots
from .state import State
from .storage import StoragePools
from .volumes import Volumes
from .warnings import Warnings

_PUBLIC = {("GET", "/"), ("GET", "/1.0"), ("POST", "/1.0/certificates")}
"""What anybody may ask for."""


class Areas:
    """What answers requests.

    Args:
        state: All that the fake has.
        without: Extensions that it does not name.
    """

    def __init__(self, state: State, without: frozenset[str]) -> None:
        self.state = state
        self.profiles = Profiles(state)
        self.aliases = Aliases(state)
        self.images = Images(state, self.aliases)
        self.networks = Networks(state)
        self.acls = NetworkACLs(state)
        own = (self.images, self.profiles, self.networks, self.acls)
        self.projects = Projects(state, self.profiles, own)
        self.pools = StoragePools(state)
        self.volumes = Volumes(state)
        self.snapshots = Snapshots(state)
        self.instances = Instances(state, self.images, self.snapshots)
        self.sessions = Sessions(state)
        self.contents = Contents(state)
        self.certificates = Certificates(state)
        self.warnings = Warnings(state)
        self.server = Server(state, without)

    def begin(self) -> None:
        """Make what a new server has."""
        self.projects.add(None, "default", "default", {"description": "Default Incus project"})
        self.pools.add(None, "default", "default", {"driver": "dir"})
        root = {"type": "disk", "path": "/", "pool": "default"}
        body = {"description": "Default Incus profile", "devices": {"root": root}}
        self.profiles.add(None, "default", "default", body)
        image = {
            "properties": {
                "architecture": "x86_64",
                "description": "busybox test image",
                "os": "Busybox",
                "release": "1",
                "variant": "default",
            },
            "filename": "busybox.tar",
            "aliases": [{"name": "busybox"}],
        }
        self.images.store(None, "default", b"busybox", image)

    def check_trust(self, request: FakeRequest) -> None:
        """Refuse who is not trusted."""
        if (request.method, request._raw_path) not in _PUBLIC and not self.state.is_trusted(request):
            raise Refused(403, "Forbidden")


def _collection(items: Collection, *, renames: bool = True) -> dict[str, dict[str, Handler]]:
    one: dict[str, Handler] = {"GET": items.get, "PUT": items.replace, "PATCH": items.patch, "DELETE": items.delete}
    if renames:
        one["POST"] = items.rename
    path = f"/1.0/{items.segment}"
    return {path: {"GET": items.list, "POST": items.create}, f"{path}/{{}}": one}


def table(areas: Areas) -> Table:
    """The endpoints that the fake does."""
    server, instances, snapshots, operations = areas.server, areas.instances, areas.snapshots, areas.state.operations
    contents = areas.contents
    volumes = "/1.0/storage-pools/{}/volumes"
    volume = f"{volumes}/{{}}/{{}}"
    return {
        "/": {"GET": server.versions},
        "/1.0": {"GET": server.get, "PUT": server.replace, "PATCH": server.patch},
        "/1.0/events": {"GET": areas.state.events.listen},
        "/1.0/operations": {"GET": operations.list},
        "/1.0/operations/{}": {"GET": operations.get, "DELETE": operations.cancel},
        "/1.0/operations/{}/wait": {"GET": operations.wait},
        "/1.0/operations/{}/websocket": {"GET": operations.connect},
        "/1.0/instances": {"GET": instances.list, "POST": instances.create, "PUT": instances.set_all},
        "/1.0/instances/{}": {
            "GET": instances.get,
            "PUT": instances.replace,
            "PATCH": instances.patch,
            "POST": instances.rename,
            "DELETE": instances.delete,
        },
        "/1.0/instances/{}/state": {"GET": instances.get_state, "PUT": instances.set_state},
        "/1.0/instances/{}/exec": {"POST": areas.sessions.execute},
        "/1.0/instances/{}/console": {
            "GET": contents.console_log,
            "POST": areas.sessions.console,
            "DELETE": contents.console_log,
        },
        "/1.0/instances/{}/files": dict.fromkeys(("GET", "HEAD", "POST", "DELETE"), contents.files),
        "/1.0/instances/{}/sftp": {"GET": contents.sftp},
        "/1.0/instances/{}/logs": {"GET": contents.logs},
        "/1.0/instances/{}/logs/{}": dict.fromkeys(("GET", "DELETE"), contents.log),
        "/1.0/instances/{}/logs/exec-output": {"GET": contents.outputs},
        "/1.0/instances/{}/logs/exec-output/{}": dict.fromkeys(("GET", "DELETE"), contents.output),
        "/1.0/instances/{}/rebuild": {"POST": instances.rebuild},
        "/1.0/instances/{}/snapshots": {"GET": snapshots.list, "POST": snapshots.create},
        "/1.0/instances/{}/snapshots/{}": {
            "GET": snapshots.get,
            "PUT": snapshots.replace,
            "PATCH": snapshots.replace,
            "POST": snapshots.rename,
            "DELETE": snapshots.delete,
        },
        **_collection(areas.profiles),
        **_collection(areas.projects),
        "/1.0/projects/{}/state": {"GET": areas.projects.state_of},
        **_collection(areas.images, renames=False),
        "/1.0/images/{}/export": {"GET": areas.images.export},
        **_collection(areas.aliases),
        **_collection(areas.networks),
        "/1.0/networks/{}/state": {"GET": areas.networks.state_of},
        "/1.0/networks/{}/leases": {"GET": areas.networks.leases},
        **_collection(areas.acls),
        "/1.0/network-acls/{}/log": {"GET": areas.acls.log},
        **_collection(areas.pools, renames=False),
        "/1.0/storage-pools/{}/resources": {"GET": areas.pools.resources},
        volumes: {"GET": areas.volumes.list_all, "POST": areas.volumes.create},
        f"{volumes}/{{}}": {"GET": areas.volumes.list_all, "POST": areas.volumes.create},
        volume: {
            "GET": areas.volumes.get,
            "PUT": areas.volumes.change,
            "PATCH": areas.volumes.change,
            "POST": areas.volumes.rename,
            "DELETE": areas.volumes.delete,
        },
        f"{volume}/state": {"GET": areas.volumes.get_state},
        f"{volume}/files": dict.fromkeys(("GET", "HEAD", "POST", "DELETE"), areas.volumes.files),
        f"{volume}/sftp": {"GET": areas.volumes.sftp},
        f"{volume}/snapshots": {"GET": areas.volumes.snapshots, "POST": areas.volumes.create_snapshot},
        f"{volume}/snapshots/{{}}": {
            "GET": areas.volumes.snapshot,
            "PUT": areas.volumes.change_snapshot,
            "PATCH": areas.volumes.change_snapshot,
            "POST": areas.volumes.rename_snapshot,
            "DELETE": areas.volumes.delete_snapshot,
        },
        "/1.0/resources": {"GET": server.resources},
        "/1.0/metrics": {"GET": server.metrics},
        "/1.0/cluster": {"GET": server.cluster},
        "/1.0/cluster/members": {"GET": server.not_clustered},
        "/1.0/cluster/groups": {"GET": server.no_groups},
        "/1.0/network-allocations": {"GET": server.nothing},
        "/1.0/network-zones": {"GET": server.nothing},
        "/1.0/network-integrations": {"GET": server.nothing},
        "/1.0/network-address-sets": {"GET": server.nothing},
        "/1.0/storage-pools/{}/buckets": {"GET": areas.pools.buckets},
        "/1.0/instances/{}/backups": {"GET": instances.backups},
        "/1.0/instances/{}/metadata": {"GET": instances.metadata},
        "/1.0/certificates": {"GET": areas.certificates.list, "POST": areas.certificates.create},
        "/1.0/certificates/{}": {
            "GET": areas.certificates.get,
            "PUT": areas.certificates.replace,
            "PATCH": areas.certificates.patch,
            "DELETE": areas.certificates.delete,
        },
        "/1.0/warnings": {"GET": areas.warnings.list},
        "/1.0/warnings/{}": {
            "GET": areas.warnings.get,
            "PUT": areas.warnings.replace,
            "PATCH": areas.warnings.patch,
            "DELETE": areas.warnings.delete,
        },
    }
