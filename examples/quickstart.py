"""Create, use and delete a container on a private Incus daemon. Run it as root with scripts/quickstart."""

from __future__ import annotations

import asyncio

from incus_sdk import Client, Operation, progress
from incus_sdk.testing import Daemon


async def follow(step: str, operation: Operation) -> Operation:
    """Show the progress of an operation until it has ended; raise if it failed."""
    print(f"{step} ...", flush=True)
    with progress.bars() as bars:
        return await operation.wait(progress=bars)


async def main_job(client: Client) -> None:
    """Create, start, use, stop and delete a container."""
    instances = client.instances

    await follow("Creating c1", await instances.create("c1", {"type": "image", "alias": "busybox"}))
    await follow("Starting c1", await instances.start("c1"))

    result = await instances.execute("c1", ["echo", "Hello, World!"], record_output=True, wait=True)
    print(f"$ echo 'Hello, World!'\n{result['metadata']['output']['stdout']}", end="")
    print(f"exit code: {result['metadata']['return']}")

    await instances.put_files("c1", "/root/note.txt", b"written by the SDK\n")
    content = await instances.get_files("c1", "/root/note.txt")
    print(f"/root/note.txt: {content.decode()}", end="")

    state = await instances.get_state("c1")
    print(f"State: {state.status}, {state.memory.usage / 2**20:.1f} MiB of memory, {state.processes} processes")
    print(f"Logs: {', '.join(sorted(await instances.get_logs('c1')))}")

    await follow("Stopping c1", await instances.stop("c1"))
    await follow("Deleting c1", await instances.delete("c1"))
    print(f"Instances left: {len(await instances.list())}")


async def main() -> None:
    """Do the main job on a private daemon."""
    print("Starting a private Incus daemon ...")
    async with Daemon() as daemon, daemon.client() as client:
        server = await client.get_server_info()
        print(f"Incus {server.environment.server_version}, API {server.api_version}, at {daemon.socket}")
        await main_job(client)
    print("The daemon and everything it made are gone.")


if __name__ == "__main__":
    asyncio.run(main())
