"""Run the steps of a CI job in a sandbox: a checkout goes in, artefacts come out, and nothing else.

    python examples/sandbox_ci.py images:debian/13 checkout 'make' 'make test' --pool ci --artefacts out

Each step is a line for the shell, in a copy of the checkout; the first that fails is the last. Their output appears as
it comes. What they leave in ``artefacts`` is in ``out`` afterwards, without links. The exit code is that of the last
step, 124 after the time limit, 125 if the box did not survive or the output had no end, or 128 and the signal's number
after Ctrl-C or SIGTERM. Runners with the same ``--pool`` share boxes; what a killed one leaves, the next one prunes.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from incus_sdk.sync import Client, IncusInstanceStoppedError, IncusNotFoundError, IncusTimeoutError, ProcessError
from incus_sdk.sync.sandbox import Box, Limits, Pool, prune

MOST_OUTPUT = 2**26


def run_steps(box: Box, steps: Sequence[str], timeout: float) -> int:
    """Run the steps in one time limit, and return the exit code of the last."""
    deadline = time.monotonic() + timeout
    for step in steps:
        print(f"$ {step}", flush=True)
        left = max(deadline - time.monotonic(), 0.001)
        output, errors = sys.stdout.buffer, sys.stderr.buffer
        try:
            result = box.run(
                ["sh", "-c", step], cwd="/job", timeout=left, stdout=output, stderr=errors, max_output=MOST_OUTPUT
            )
        except (IncusTimeoutError, IncusInstanceStoppedError, ProcessError) as error:
            print(f"sandbox_ci: {error}", file=sys.stderr)
            return 124 if isinstance(error, IncusTimeoutError) else 125
        if result.returncode:
            return result.returncode
    return 0


def main() -> int:
    """Read the arguments, and run the job."""
    parser = argparse.ArgumentParser(description="Run the steps of a CI job in a sandbox.")
    parser.add_argument("image", help="such as images:debian/13")
    parser.add_argument("checkout", type=Path, help="the directory that goes in")
    parser.add_argument("steps", nargs="+", metavar="step", help="a line for the shell")
    parser.add_argument("--artefacts", type=Path, help="the directory to bring them to")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for all steps")
    parser.add_argument("--pool", help="a name: runners with the same one share a pool")
    parser.add_argument("--size", type=int, default=0, help="boxes that the pool keeps ready")
    parser.add_argument("--memory", default="2GiB")
    parser.add_argument("--disk", help="such as 5GiB, where the storage can limit it")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # leaves each `with`, as Ctrl-C does
    limits = Limits(memory=arguments.memory, disk=arguments.disk, processes=1024)
    ttl = arguments.timeout + 600
    with Client() as client:
        prune(client, labels={"app": "ci"})
        sharing = {"name": arguments.pool, "size": arguments.size}
        pool = Pool(client, arguments.image, ttl=ttl, limits=limits, labels={"app": "ci"}, **sharing)
        try:
            with pool, pool.lease() as box:
                box.push(arguments.checkout, "/job")
                code = run_steps(box, arguments.steps, arguments.timeout)
                if arguments.artefacts is not None:
                    with contextlib.suppress(IncusNotFoundError):  # there may be none
                        box.pull("/job/artefacts", arguments.artefacts)
                return code
        except KeyboardInterrupt:
            return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
