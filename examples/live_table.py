"""Show instances and operations as a live table in the terminal, until Ctrl-C. Needs rich.

    python examples/live_table.py [remote]

Events say at once when something begins, ends or changes; what instances use is read again after a few seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Iterable

from rich.console import Group
from rich.live import Live
from rich.table import Table

from incus_sdk import Client, Instance, Operation

STALE = 2.0
"""Seconds after which the use of memory is read again."""
PAUSE = 0.2
"""Seconds between two readings, however much happens."""


def instances_table(instances: Iterable[Instance]) -> Table:
    """Name, state, address, and what is used."""
    table = Table("name", "status", "address", "memory", "processes", title="Instances", expand=True)
    for each in instances:
        state = each.full.state
        nics = [nic for name, nic in state.network.items() if name != "lo"]
        addresses = [address.address for nic in nics for address in nic.addresses if address.scope == "global"]
        memory = f"{state.memory.usage / 2**20:.0f} MiB" if each.status == "Running" else ""
        table.add_row(each.name, each.status, "\n".join(addresses), memory, str(state.processes or ""))
    return table


def operations_table(operations: Iterable[Operation]) -> Table:
    """What is under way, with the server's own words for how far it is."""
    table = Table("operation", "of", "status", "progress", title="Operations", expand=True)
    for each in operations:
        names = dict.fromkeys(url.rpartition("/")[2] for urls in each.resources.values() for url in urls)
        progress = [str(value) for key, value in (each.metadata or {}).items() if key.endswith("_progress")]
        table.add_row(each.description, ", ".join(names), each.status, ", ".join(progress))
    return table


async def show(client: Client) -> None:
    """Draw the tables again whenever something has changed."""
    changed = asyncio.Event()

    async def draw(live: Live) -> None:
        while True:
            changed.clear()
            instances, operations = await asyncio.gather(client.instances.list(recursion=2), client.operations.list())
            live.update(Group(instances_table(instances), operations_table(operations)), refresh=True)
            await asyncio.sleep(PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STALE):
                    await changed.wait()

    async with client.events.listen(["lifecycle", "operation"]) as events, asyncio.TaskGroup() as tasks:
        with Live(auto_refresh=False, screen=True) as live:
            tasks.create_task(draw(live))
            async for _ in events:
                changed.set()


async def main(remote: str | None) -> None:
    """Show those of a server."""
    async with Client.from_remote(remote) as client:
        await show(client)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Show instances and operations as a live table.")
    parser.add_argument("remote", nargs="?", help="a remote of the incus command; else the default")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args().remote))
