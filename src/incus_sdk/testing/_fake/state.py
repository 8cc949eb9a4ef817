"""All that a fake has, and the table of the endpoints that it does."""

from __future__ import annotations

from .answers import AnyAnswer, Refused
from .certificates import Certificates
from .collection import Collection
from .commands import Commands
from .contents import Contents
from .events import Events
from .extensions import EXTENSIONS
from .files import FakeFiles
from .images import Aliases, Images
from .instances import Instances
from .networks import NetworkACLs, Networks
from .operations import Operations
from .profiles import Profiles
from .programs import PROGRAMS, is_of_sdk
from .projects import Projects
from .requests import FakeRequest
from .routing import Handler, Table
from .rules import Rules
from .server import Server
from .sessions import Sessions
from .snapshots import Snapshots
from .storage import StoragePools
from .volumes import Volumes
from .warnings import Warnings


class State:
    """All that a fake has.

    Args:
        without: Extensions that it does not name.
    """

    def __init__(self, without: frozenset[str]) -> None:
        self.events = Events()
        self.rules = Rules()
        self.operations = Operations(self)
        self.projects = Projects(self)
        self.profiles = Profiles(self)
        self.networks = Networks(self)
        self.acls = NetworkACLs(self)
        self.images = Images(self)
        self.aliases = Aliases(self)
        self.pools = StoragePools(self)
        self.volumes = Volumes(self)
        self.instances = Instances(self)
        self.snapshots = Snapshots(self)
        self.commands = Commands(PROGRAMS, is_of_sdk)
        self.sessions = Sessions(self)
        self.contents = Contents(self)
        self.certificates = Certificates(self)
        self.warnings = Warnings(self)
        self.server = Server(self, [each for each in EXTENSIONS if each not in without])
        self.blobs: dict[str, bytes] = {}
        """The content of images, by their fingerprints."""
        self.image_files: dict[str, FakeFiles] = {}
        """The files of instances made from images, by their fingerprints."""
        self.in_projects: tuple[Collection, ...] = (self.images, self.profiles, self.networks, self.acls)
        self._begin()

    def _begin(self) -> None:
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

    def is_trusted(self, request: FakeRequest) -> bool:
        """Whether the sender of a request may do everything."""
        return request.peer is None or bool(request.peer.getpeercert(binary_form=True))

    async def close(self) -> None:
        """End what goes on."""
        await self.operations.close()


def _collection(items: Collection, *, renames: bool = True) -> dict[str, dict[str, Handler]]:
    one: dict[str, Handler] = {"GET": items.get, "PUT": items.replace, "PATCH": items.patch, "DELETE": items.delete}
    if renames:
        one["POST"] = items.rename
    path = f"/1.0/{items.segment}"
    return {path: {"GET": items.list, "POST": items.create}, f"{path}/{{}}": one}


def table(state: State) -> Table:
    """The endpoints that the fake does."""
    server, instances, snapshots, operations = state.server, state.instances, state.snapshots, state.operations
    contents = state.contents
    volumes = "/1.0/storage-pools/{}/volumes"
    volume = f"{volumes}/{{}}/{{}}"
    return {
        "/": {"GET": server.versions},
        "/1.0": {"GET": server.get, "PUT": server.replace, "PATCH": server.patch},
        "/1.0/events": {"GET": state.events.listen},
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
        "/1.0/instances/{}/exec": {"POST": state.sessions.execute},
        "/1.0/instances/{}/console": {
            "GET": contents.console_log,
            "POST": state.sessions.console,
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
        **_collection(state.profiles),
        **_collection(state.projects),
        "/1.0/projects/{}/state": {"GET": state.projects.state_of},
        **_collection(state.images, renames=False),
        "/1.0/images/{}/export": {"GET": state.images.export},
        **_collection(state.aliases),
        **_collection(state.networks),
        "/1.0/networks/{}/state": {"GET": state.networks.state_of},
        "/1.0/networks/{}/leases": {"GET": state.networks.leases},
        **_collection(state.acls),
        "/1.0/network-acls/{}/log": {"GET": state.acls.log},
        **_collection(state.pools, renames=False),
        "/1.0/storage-pools/{}/resources": {"GET": state.pools.resources},
        volumes: {"GET": state.volumes.list_all, "POST": state.volumes.create},
        f"{volumes}/{{}}": {"GET": state.volumes.list_all, "POST": state.volumes.create},
        volume: {
            "GET": state.volumes.get,
            "PUT": state.volumes.change,
            "PATCH": state.volumes.change,
            "POST": state.volumes.rename,
            "DELETE": state.volumes.delete,
        },
        f"{volume}/state": {"GET": state.volumes.get_state},
        f"{volume}/files": dict.fromkeys(("GET", "HEAD", "POST", "DELETE"), state.volumes.files),
        f"{volume}/sftp": {"GET": state.volumes.sftp},
        f"{volume}/snapshots": {"GET": state.volumes.snapshots, "POST": state.volumes.create_snapshot},
        f"{volume}/snapshots/{{}}": {
            "GET": state.volumes.snapshot,
            "PUT": state.volumes.change_snapshot,
            "PATCH": state.volumes.change_snapshot,
            "POST": state.volumes.rename_snapshot,
            "DELETE": state.volumes.delete_snapshot,
        },
        "/1.0/resources": {"GET": server.resources},
        "/1.0/metrics": {"GET": server.metrics},
        "/1.0/cluster": {"GET": server.cluster},
        "/1.0/cluster/members": {"GET": server.members},
        "/1.0/cluster/groups": {"GET": server.groups},
        "/1.0/network-allocations": {"GET": server.nothing},
        "/1.0/network-zones": {"GET": server.nothing},
        "/1.0/network-integrations": {"GET": server.nothing},
        "/1.0/network-address-sets": {"GET": server.nothing},
        "/1.0/storage-pools/{}/buckets": {"GET": state.pools.buckets},
        "/1.0/instances/{}/backups": {"GET": instances.backups},
        "/1.0/instances/{}/metadata": {"GET": instances.metadata},
        "/1.0/certificates": {"GET": state.certificates.list, "POST": state.certificates.create},
        "/1.0/certificates/{}": {
            "GET": state.certificates.get,
            "PUT": state.certificates.replace,
            "PATCH": state.certificates.patch,
            "DELETE": state.certificates.delete,
        },
        "/1.0/warnings": {"GET": state.warnings.list},
        "/1.0/warnings/{}": {
            "GET": state.warnings.get,
            "PUT": state.warnings.replace,
            "PATCH": state.warnings.patch,
            "DELETE": state.warnings.delete,
        },
    }


PUBLIC = {("GET", "/"), ("GET", "/1.0"), ("POST", "/1.0/certificates")}
"""What anybody may ask for."""


def check_trust(state: State, request: FakeRequest) -> AnyAnswer | None:
    """Refuse who is not trusted."""
    if (request.method, request.raw_path) not in PUBLIC and not state.is_trusted(request):
        raise Refused(403, "Forbidden")
    return None
