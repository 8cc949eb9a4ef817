"""The areas of the API, and the table of the endpoints that the fake does."""

from __future__ import annotations

from .answers import Refused
from .backups import Backups
from .certificates import Certificates
from .collection import Collection, Nested
from .contents import Contents
from .images import Aliases, Images
from .instances import Instances
from .metadata import Metadata
from .more_networks import AddressSets, Forwards, Integrations, ZoneRecords, Zones
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
from .streams import AnyAnswer
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
        self.pools = StoragePools(state)
        self.volumes = Volumes(state)
        self.snapshots = Snapshots(state)
        self.instances = Instances(state, self.images, self.snapshots)
        self.backups = Backups(state, self.instances)
        self.metadata = Metadata(state)
        self.address_sets = AddressSets(state)
        self.zones = Zones(state)
        self.zone_records = ZoneRecords(state)
        self.forwards = Forwards(state)
        self.integrations = Integrations(state)
        own = (self.images, self.profiles, self.networks, self.acls, self.address_sets, self.zones)
        self.projects = Projects(state, self.profiles, own)
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

    def create_instance(self, request: FakeRequest) -> AnyAnswer:
        """``POST`` of an instance: of what it is to be, or of a backup."""
        if request.headers.get("content-type") == "application/octet-stream":
            return self.backups.restore(request)
        return self.instances.create(request)

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


def _nested(items: Nested) -> dict[str, dict[str, Handler]]:
    def on(verb: str) -> Handler:
        return lambda request, above, *names: getattr(items.at(request, above), verb)(request, *names)

    one = {"GET": on("get"), "PUT": on("replace"), "PATCH": on("patch"), "DELETE": on("delete")}
    path = f"/1.0/{items.above}/{{}}/{items.below}"
    return {path: {"GET": on("list"), "POST": on("create")}, f"{path}/{{}}": one}


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
        "/1.0/instances": {"GET": instances.list, "POST": areas.create_instance, "PUT": instances.set_all},
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
        "/1.0/images/{}/refresh": {"POST": areas.images.refresh},
        "/1.0/images/{}/secret": {"POST": areas.images.make_secret},
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
        **_collection(areas.address_sets),
        **_collection(areas.integrations),
        **_collection(areas.zones, renames=False),
        **_nested(areas.zone_records),
        **_nested(areas.forwards),
        "/1.0/storage-pools/{}/buckets": {"GET": areas.pools.buckets},
        "/1.0/instances/{}/backups": {"GET": areas.backups.list_all, "POST": areas.backups.create},
        "/1.0/instances/{}/backups/{}": {
            "GET": areas.backups.get,
            "POST": areas.backups.rename,
            "DELETE": areas.backups.delete,
        },
        "/1.0/instances/{}/backups/{}/export": {"GET": areas.backups.export},
        "/1.0/instances/{}/metadata": {
            "GET": areas.metadata.get,
            "PUT": areas.metadata.change,
            "PATCH": areas.metadata.change,
        },
        "/1.0/instances/{}/metadata/templates": {
            "GET": areas.metadata.templates,
            "POST": areas.metadata.write_template,
            "DELETE": areas.metadata.delete_template,
        },
        "/1.0/instances/{}/access": {"GET": server.access},
        "/1.0/projects/{}/access": {"GET": server.access},
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
