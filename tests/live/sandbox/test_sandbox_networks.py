"""What boxes reach: nothing, or what is allowed; and which bridges and limits are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from incus_sdk import Client, IncusInputError
from incus_sdk.sandbox import Box, Limits, Network, Pool
from incus_sdk.testing import Daemon
from tests.live.sandbox.conftest import LIMITS

CLOSED = {"ipv4.address": "198.51.100.1/24", "ipv4.nat": "false", "ipv6.address": "none"}
BAD = {**CLOSED, "ipv4.address": "198.51.100.129/25"}
SERVER = "203.0.113.10"
NETWORK = Network("sandbox0", allow=[f"{SERVER}:8000"])


@pytest.fixture(scope="module")
async def outside(client: Client) -> AsyncIterator[None]:
    """The bridge of the sandboxes, and a server on another one."""
    await client.networks.create("sandbox0", config=CLOSED)
    await client.networks.create("outside", config={**CLOSED, "ipv4.address": "203.0.113.1/24"})
    nic = {"type": "nic", "network": "outside", "ipv4.address": SERVER}
    async with client.instances.temporary("busybox", devices={"eth0": nic}) as server:
        serve = "for p in 8000 8001; do (while :; do echo yes | nc -l -p $p; done) >/dev/null 2>&1 </dev/null & done"
        await server.run(["sh", "-c", serve], check=True)
        await server.wait_for("ipv4")
        yield
    for name in ("sandbox0", "outside"):
        await client.networks.delete(name)
    await client.network_acls.delete("sandbox-sandbox0")


async def reaches(box: Box, target: str, *, before: str = "true") -> bool:
    host, _, port = target.partition(":")
    return (await box.run_code("sh", f"{before}; echo | nc -w 1 {host} {port}", timeout=20)).stdout == "yes\n"


async def test_a_box_reaches_what_is_allowed_and_nothing_else(client: Client, outside: None) -> None:
    pool = Pool(client, "busybox", size=2, limits=LIMITS, network=NETWORK)
    async with pool, pool.lease() as box, pool.lease() as other:
        for each in (box, other):
            await each.instance.wait_for("ipv4")
        assert await reaches(box, f"{SERVER}:8000")
        assert not await reaches(box, f"{SERVER}:8001")

        own = await box.instance.wait_for_address()
        theirs = await other.instance.wait_for_address()
        await other.run(["sh", "-c", "(echo yes | nc -l -p 9000) >/dev/null 2>&1 </dev/null &"])
        assert not await reaches(box, f"{theirs}:9000"), "boxes do not see each other"
        assert (await box.run(["ping", "-c1", "-W1", "198.51.100.1"])).returncode == 1, "nor the gateway"
        dns = ["nslookup", "-timeout=1", "-retry=1", "x", "198.51.100.1"]
        assert (await box.run(dns)).returncode == 1, "nor its DNS"

        with pytest.raises(IncusInputError, match="all on one bridge may reach the same"):
            await box.set_network(Network("sandbox0", allow=[f"{SERVER}:8001"]))
        await box.set_network(None)
        assert not await reaches(box, f"{SERVER}:8000")
        await box.set_network(NETWORK)
        assert await reaches(box, f"{SERVER}:8000", before="ip link set eth0 up; udhcpc -qn -i eth0 2>/dev/null")

        for change in (
            f"ip addr flush eth0; ip addr add {theirs}/24 dev eth0",
            f"ip link set eth0 down address 02:00:00:00:00:01 up; ip addr add {own}/24 dev eth0",
        ):
            route = "ip route add default via 198.51.100.1"
            assert not await reaches(box, f"{SERVER}:8000", before=f"{change}; {route}"), change
        assert await reaches(other, f"{SERVER}:8000")
    assert [each.name for each in await client.network_acls.list()] == ["sandbox-sandbox0"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, 'there is no network \'bad0\': make one .*"ipv4.nat": "true"'),
        ({**BAD, "ipv4.address": "none"}, "needs an ipv4.address that you chose"),
        ({**BAD, "ipv6.address": "2001:db8::1/64"}, "and an ipv6.address of none"),
        ({**BAD, "raw.dnsmasq": "port=5353"}, "settings or users of another kind"),
    ],
)
async def test_a_bridge_that_is_not_fit_is_refused_before_anything_is_made(
    client: Client, config: dict[str, str] | None, message: str
) -> None:
    if config is not None:
        await client.networks.create("bad0", config=config)
    try:
        with pytest.raises(IncusInputError, match=message):
            async with Pool(client, "busybox", limits=LIMITS, network=Network("bad0")):
                pass
        assert [each for each in await client.instances.list() if "user.sandbox.id" in each.config] == []
    finally:
        if config is not None:
            await client.networks.delete("bad0")
    assert not await client.network_acls.exists("sandbox-bad0")


async def test_a_limit_that_is_not_kept_is_refused_unless_that_is_accepted(daemon: Daemon, client: Client) -> None:
    await client.storage_pools.create("plain", driver="dir")
    try:
        with pytest.raises(IncusInputError, match="'plain' has the driver dir, which keeps no limit of 1GiB"):
            async with Pool(client, "busybox", limits=Limits(disk="1GiB"), storage="plain"):
                pass
        missing = [warning.type for warning in await client.warnings.list() if "pids controller" in warning.type]
        if missing:
            with pytest.raises(IncusInputError, match=r"does not keep the limit processes=9.*cgroup2 alone"):
                async with Pool(client, "busybox", limits=Limits(cpu=None, memory=None, processes=9)):
                    pass
        assert [each for each in await client.instances.list() if "user.sandbox.id" in each.config] == []
        limits = Limits(disk="1GiB", unenforced="accept")
        async with Pool(client, "busybox", size=0, limits=limits, storage="plain") as pool, pool.lease() as box:
            assert box.instance.devices["root"]["size"] == "1GiB"
            assert box.instance.profiles == []
    finally:
        await client.storage_pools.delete("plain")
