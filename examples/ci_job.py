"""Run a script in a fresh container, as a CI job, with blocking calls.

    python examples/ci_job.py images:debian/13 build.sh --timeout 600 --wait ipv4 --artefacts out

The script runs in ``/job``, and its output appears as it comes. What it leaves in ``/job/artefacts`` is in ``out``
afterwards. The exit code is that of the script, 124 after the time limit, or 128 and the signal's number after Ctrl-C
or SIGTERM. In each case the container is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path

from incus_sdk.sync import Client, IncusNotFoundError, IncusTimeoutError


def run_job(image: str, script: Path, *, timeout: float, wait: str, artefacts: Path | None) -> int:
    """Run the script in a container of its own, and return its exit code."""
    with Client() as client, client.instances.temporary(image, labels={"purpose": "ci-job"}) as box:
        box.wait_for(wait, timeout=60)
        job = box.path("/job")
        (job / "artefacts").mkdir(parents=True)
        (job / "script").write_bytes(script.read_bytes(), mode=0o755)
        try:
            command, output, errors = ["sh", "/job/script"], sys.stdout.buffer, sys.stderr.buffer
            code = box.run(command, cwd="/job", timeout=timeout, stdout=output, stderr=errors).returncode
        except IncusTimeoutError as error:
            print(f"ci_job: {error}", file=sys.stderr)
            code = 124
        if artefacts is not None:
            with contextlib.suppress(IncusNotFoundError):  # the script may have removed it
                # The job is not trusted: no links, and the files are the caller's.
                (job / "artefacts").pull(artefacts, links="skip", owners=False)
        return code


def main() -> int:
    """Read the arguments, and run the job."""
    parser = argparse.ArgumentParser(description="Run a script in a fresh container.")
    parser.add_argument("image", help="such as images:debian/13")
    parser.add_argument("script", type=Path)
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for the script")
    parser.add_argument("--wait", default="running", help="what to wait for first, such as ipv4 or cloud-init")
    parser.add_argument("--artefacts", type=Path, help="the directory to bring them to")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # leaves each `with`, as Ctrl-C does
    try:
        return run_job(**vars(arguments))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
