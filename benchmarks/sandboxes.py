"""How fast a box of a pool is there: ``python -m benchmarks.sandboxes [--repeat 15]``, on a private daemon with btrfs.

Beside it are what it is compared with: a command in a box that runs already, and an instance that is launched, hardened
as a box is and not. A whole run of `scripts/benchmark` ends with this.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import Generator, Mapping
from typing import Any

from incus_sdk import Client, Instance
from incus_sdk.sandbox import Box, Limits, Pool
from incus_sdk.testing import Daemon

LIMITS = Limits(memory="128MiB", disk="64MiB", unenforced="accept")
AT_ONCE = 10
REST = 0.6  # seconds for the pool to become full again, and for what was destroyed to be gone

Times = dict[str, list[float]]


@contextlib.contextmanager
def timed(times: Times, what: str) -> Generator[None]:
    begun = time.perf_counter()
    yield
    times.setdefault(what, []).append(time.perf_counter() - begun)


async def answer(box: Box | Instance) -> None:
    await box.run(["true"], check=True)


async def lease(pool: Pool, times: Times) -> None:
    """A box, and its first answer; then commands in it."""
    async with contextlib.AsyncExitStack() as stack:
        with timed(times, "a leased box, and its first answer"):
            with timed(times, "a leased box"):
                box = await stack.enter_async_context(pool.lease())
            await answer(box)
        await asyncio.sleep(REST)
        for _ in range(3):
            with timed(times, "a command in a box that runs"):
                await answer(box)
    await asyncio.sleep(REST)


async def launch(client: Client, hardened: Instance | None, times: Times) -> None:
    """An instance, and its first answer; as the box of a pool is configured, or plain."""
    config: Mapping[str, str] = {}
    devices: Mapping[str, Any] = {}
    what = "a launched instance, and its first answer"
    if hardened is not None:
        config = {key: value for key, value in hardened.config.items() if key.startswith(("limits.", "security."))}
        devices, what = hardened.devices, "the same, hardened as a box is"
    async with contextlib.AsyncExitStack() as stack:
        with timed(times, what):
            temporary = client.instances.temporary("busybox", config=config, devices=devices)
            await answer(await stack.enter_async_context(temporary))


async def lease_many(client: Client, times: Times) -> None:
    """Many boxes at once, of a pool that has as many."""
    async with Pool(client, "busybox", size=AT_ONCE, limits=LIMITS) as pool, contextlib.AsyncExitStack() as stack:
        with timed(times, f"{AT_ONCE} boxes at once"):
            await asyncio.gather(*(stack.enter_async_context(pool.lease()) for _ in range(AT_ONCE)))


async def measure_sandboxes(repeat: int) -> dict[str, dict[str, float]]:
    """The least and the median of the seconds that each thing took."""
    times: Times = {}
    async with Daemon(storage="btrfs") as daemon, daemon.client() as client:
        async with Pool(client, "busybox", size=2, limits=LIMITS) as pool:
            for _ in range(repeat):
                await lease(pool, times)
            async with pool.lease() as box:
                for _ in range(repeat):
                    for hardened in (None, box.instance):
                        await launch(client, hardened, times)
        for _ in range(3):
            await lease_many(client, times)
    return {what: {"wall": min(each), "wall_median": statistics.median(each)} for what, each in times.items()}


def lines(figures: Mapping[str, Mapping[str, float]]) -> str:
    """For the terminal."""
    return "\n".join(
        f"{what:40} {1000 * each['wall']:6.0f} {1000 * each['wall_median']:6.0f}" for what, each in figures.items()
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15)
    print(f"least and median, ms\n{lines(asyncio.run(measure_sandboxes(parser.parse_args().repeat)))}")
