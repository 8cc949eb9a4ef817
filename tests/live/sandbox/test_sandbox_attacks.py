"""Hostile boxes: what they try is held, by the kernel, the server or the SDK.

Incus 7.0 needs cgroup2 for what it limits, and this machine has the older ones: what it cannot keep here is skipped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from incus_sdk import (
    Client,
    ProcessError,
)
from incus_sdk.sandbox import Box, Pool

HELD = {
    "a disk of the machine": "mknod /disk b 8 0 && dd if=/disk of=/dev/null count=1",
    "the memory of the machine": "dd if=/dev/mem of=/dev/null count=1",
    "the kernel's log": "dmesg",
    "how cores are dumped": "echo /bin/sh > /proc/sys/kernel/core_pattern",
    "the keys of the kernel": "echo b > /proc/sysrq-trigger",
    "a file system": "mkdir /mnt && mount -t ext4 /dev/sda /mnt",
    "a module of the kernel": "insmod /lib/modules/x.ko",
    "the guest API": "ls /dev/incus",
    "root of the machine": "grep -q '^ *0 *0 ' /proc/self/uid_map",
    "a network": "ls -d /sys/class/net/eth*",
    "its own limit of processes": "mount -t cgroup -o pids c /srv && echo max > /srv/pids.max",
}
"""What a box cannot reach: each command fails."""


@pytest.fixture
async def box(pool: Pool) -> AsyncIterator[Box]:
    async with pool.lease() as box:
        yield box


@pytest.fixture(scope="module")
async def missing(client: Client) -> str:
    """The controllers that the server did not find."""
    return " ".join(warning.type for warning in await client.warnings.list()).lower()


def skip_without(controller: str, missing: str) -> None:
    if f"{controller} controller" in missing:
        pytest.skip(
            f"this kernel has no {controller} controller of cgroup2, without which Incus 7.0 keeps no such limit"
        )


async def test_what_belongs_to_the_machine_is_out_of_reach(box: Box) -> None:
    script = "".join(f"({command}) >/dev/null 2>&1 && echo {name!r}\n" for name, command in HELD.items())
    result = await box.run_code("sh", script, timeout=60)
    assert result.stdout == "", result.stderr


async def test_boxes_do_not_share_their_uids(pool: Pool) -> None:
    async with pool.lease() as one, pool.lease() as two:
        maps = [(await each.run(["cat", "/proc/self/uid_map"])).stdout.split() for each in (one, two)]
    assert maps[0][1] != maps[1][1]
    assert abs(int(maps[0][1]) - int(maps[1][1])) >= int(maps[0][2])


async def test_a_fork_bomb_fills_its_own_box_and_goes_with_it(pool: Pool, client: Client, missing: str) -> None:
    skip_without("pids", missing)
    async with pool.lease() as box, pool.lease() as other:
        bomb = await box.run(["sh", "-c", "while :; do sleep 1000 & done"], text=True, timeout=60)
        assert "can't fork" in bomb.stderr
        assert 20 <= (await box.instance.get_state()).processes <= 33
        assert (await other.run(["true"])).returncode == 0
    assert not await client.instances[box.id].exists()


async def test_memory_and_time_are_limited(box: Box, missing: str) -> None:
    skip_without("memory", missing)
    assert (await box.run(["tail", "/dev/zero"], timeout=60)).returncode == 137
    assert (await box.run(["true"])).returncode == 0
    before = (await box.instance.get_state()).cpu.usage
    await box.run(["sh", "-c", "for i in 1 2 3; do timeout 1 sh -c 'while :; do :; done' & done; wait"], timeout=60)
    assert (await box.instance.get_state()).cpu.usage - before < 1.0e9, "of 3 processors, for a second, half a one"


async def test_a_disk_has_its_size(box: Box) -> None:
    result = await box.run(["dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=200"], text=True, timeout=60)
    assert result.returncode == 1
    assert "No space" in result.stderr or "quota" in result.stderr
    assert (await box.instance.path("/big").stat()).size <= 2**26


async def test_output_has_an_end(box: Box) -> None:
    with pytest.raises(ProcessError, match="wrote more than 1000 bytes") as caught:
        await box.run(["yes"], max_output=1000, timeout=60)
    assert len(caught.value.stdout) == 1000
    received = 0
    async for _, data in box.stream(["yes"], timeout=60):
        received += len(data)
        if received > 10**6:
            break
    assert (await box.run(["true"])).returncode == 0


async def test_the_console_keeps_little(box: Box) -> None:
    await box.run(["sh", "-c", "yes | head -c 600000 > /dev/console"], timeout=60)
    assert len(await box.instance.get_console_log()) < 300_000
