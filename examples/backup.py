"""Back up all instances of a project, and its volumes, to files, with blocking calls.

    python examples/backup.py /backups --project default --volumes

Each file appears when it is complete, in place of the one of the last time; what fails leaves that one as it is. One
failure does not end the rest: the errors are on stderr, and the exit code is 1. `create_from_backup` restores a file.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from incus_sdk.sync import Client, IncusError, Instance, Progress, Volume


def find(client: Client, volumes: bool) -> Iterator[tuple[str, Instance | Volume]]:
    """What is backed up, each with the name of its file."""
    for instance in client.instances.list():
        yield f"instances/{instance.name}.tar.gz", instance
    for pool in client.storage_pools.list() if volumes else []:
        for volume in pool.volumes.list(type="custom"):
            if "/" not in volume.name:  # Incus before 7.0 lists their snapshots as well
                yield f"volumes/{pool.name}/{volume.name}.tar.gz", volume


def show(name: str, progress: Progress) -> None:
    """Show progress to somebody who watches, on a line that the next one replaces."""
    if sys.stderr.isatty():
        print(f"{name}: {progress.stage} {progress.processed or 0} bytes", end="\033[K\r", file=sys.stderr)


def back_up(client: Client, directory: Path, volumes: bool) -> int:
    """Write all files; returns how many failed."""
    failed = 0
    for name, item in find(client, volumes):
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            item.export(file, progress=partial(show, name))  # to a temporary file, which is renamed in the end
            print(f"{name}: {file.stat().st_size} bytes")
        except (IncusError, OSError) as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr)
    return failed


def main() -> int:
    """Read the arguments, and back up."""
    parser = argparse.ArgumentParser(description="Back up all instances of a project.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--project", default="default")
    parser.add_argument("--volumes", action="store_true", help="its custom volumes, too")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # removes what is incomplete
    with Client() as client:
        return min(back_up(client.use_project(arguments.project), arguments.directory, arguments.volumes), 1)


if __name__ == "__main__":
    sys.exit(main())
