"""A Jupyter kernel in a sandbox, for any front end: notebooks, consoles, editors.

Put this into ``~/.local/share/jupyter/kernels/sandbox/kernel.json``::

    {
      "display_name": "Python in a sandbox",
      "language": "python",
      "argv": ["python3", "/path/to/sandbox_kernel.py", "my-kernel", "{connection_file}"],
      "interrupt_mode": "message"
    }

``my-kernel`` is an image that has ipykernel, for example made by::

    incus launch images:debian/13 k1
    incus exec k1 -- apt-get install -y python3-ipykernel
    incus publish k1 --force --alias my-kernel

Each kernel has a box of its own, without a network. Its five ports are forwarded to those that the front end has
chosen. When the kernel ends, or is restarted, the box is destroyed with all that is in it.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from incus_sdk.sync import Client, IncusError
from incus_sdk.sync.sandbox import Limits, Pool, prune

LABELS = {"app": "jupyter"}


def run_kernel(image: str, connection_file: Path, limits: Limits, storage: str | None, ttl: float) -> int:
    """Run a kernel to its end, and return its exit code."""
    connection = json.loads(connection_file.read_text())
    with ExitStack() as stack:
        client = stack.enter_context(Client())
        prune(client, labels=LABELS)
        pool = Pool(client, image, size=0, ttl=ttl, labels=LABELS, limits=limits, storage=storage)
        box = stack.enter_context(stack.enter_context(pool).lease())
        box.write("/run/kernel.json", json.dumps({**connection, "transport": "tcp", "ip": "127.0.0.1"}), mode=0o600)
        for name, port in connection.items():
            if name.endswith("_port"):
                stack.enter_context(box.preview(port, local_port=port))
        kernel = ["python3", "-m", "ipykernel_launcher", "-f", "/run/kernel.json"]
        # What it prints outside of cells.
        return box.run(kernel, stdout=sys.stdout.buffer, stderr=sys.stderr.buffer).returncode


def main() -> int:
    """Read the arguments, and run the kernel."""
    parser = argparse.ArgumentParser(description="Run a Jupyter kernel in a sandbox.")
    parser.add_argument("image", help="one that has ipykernel")
    parser.add_argument("connection_file", type=Path)
    parser.add_argument("--memory", default="2GiB")
    parser.add_argument("--disk", help="such as 5GiB, where the storage can limit it")
    parser.add_argument("--storage", help="a storage pool")
    parser.add_argument("--ttl", type=float, default=86400, help="seconds until the box expires")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # leaves each `with`
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # front ends interrupt by a message
    limits = Limits(memory=arguments.memory, disk=arguments.disk)
    try:
        return run_kernel(arguments.image, arguments.connection_file, limits, arguments.storage, arguments.ttl)
    except IncusError as error:
        print(f"sandbox_kernel: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
