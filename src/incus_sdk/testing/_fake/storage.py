"""Storage pools, and volumes in them."""

from __future__ import annotations

from collections.abc import Iterator

from .answers import Answer, Object, Refused, success
from .collection import Collection
from .paths import path_of
from .requests import FakeRequest

_DRIVERS = ("btrfs", "ceph", "cephfs", "cephobject", "dir", "linstor", "lvm", "lvmcluster", "truenas", "zfs")


class StoragePools(Collection):
    """``/1.0/storage-pools``."""

    segment, kind, struct = "storage-pools", "storage-pool", "StoragePool"
    missing = "Storage pool not found"
    exists = (409, "The storage pool already exists: The record already exists")

    def check_name(self, name: str) -> None:
        """Refuse slashes."""
        super().check_name(name)
        if "/" in name:
            raise Refused(400, "Storage pool names may not contain slashes")

    def check(self, project: str, body: Object) -> None:
        """Refuse an unknown driver."""
        driver = body.get("driver")
        if not driver:
            raise Refused(400, "No driver provided")
        if driver not in _DRIVERS:
            raise Refused(500, "Unknown driver")
        old = self.of("default").get(body.get("name", ""))
        if old is not None and old["config"].get("source") != body["config"].get("source"):
            raise Refused(500, "Pool source cannot be changed when not in pending state")

    def make(self, project: str, name: str, body: Object) -> Object:
        """A new pool."""
        config = {"source": f"/var/lib/incus/storage-pools/{name}", **body["config"]}
        return {"config": config, "description": body["description"], "name": name, "driver": body["driver"]}

    def view(self, project: str, item: Object) -> Object:
        """A pool as it is shown."""
        used_by = sorted(self.used_by(project, item["name"]))
        return {**item, "used_by": used_by, "status": "Created", "locations": ["none"]}

    def used_by(self, project: str, name: str) -> Iterator[str]:
        """The instances, profiles, images and volumes that are in it."""
        for machine in self.state.machines.everywhere():
            devices = self.state.expand(machine)[1]
            if any(device.get("pool") == name and device.get("path") == "/" for device in devices.values()):
                yield machine.path()
        for (pool, other), volumes in self.state.volumes.items():
            if pool == name:
                yield from (path_of(other, "storage-pools", pool, "volumes", "custom", each) for each in volumes)
        for other, profiles in self.state.objects.get("profiles", {}).items():
            for profile in profiles.values():
                if any(device.get("pool") == name for device in profile["devices"].values()):
                    yield path_of(other, "profiles", profile["name"])

    def check_free(self, project: str, name: str, change: str) -> None:
        """Refuse to delete what is in use."""
        if any(self.used_by(project, name)):
            raise Refused(400, "The storage pool is currently in use")

    def buckets(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of its buckets, of which there are none."""
        self.find("default", name)
        return success([])

    def resources(self, request: FakeRequest, name: str) -> Answer:
        """``GET`` of its space."""
        self.find("default", name)
        return success({"space": {"used": 2**30, "total": 100 * 2**30}, "inodes": {"used": 1000, "total": 2**24}})
