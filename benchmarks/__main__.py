"""What this SDK costs beside others, on a private daemon: processor time, wall time and memory of the client.

scripts/benchmark            all of it
scripts/benchmark --quick    a small part, against bare aiohttp
scripts/benchmark --write    all of it, into the page docs/performance.md
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from benchmarks import report
from benchmarks.jobs import COMPETITORS, JOBS, QUICK
from benchmarks.measuring import make_environments, measure
from benchmarks.sandboxes import lines as sandbox_lines
from benchmarks.sandboxes import measure_sandboxes
from benchmarks.stage import QUICK as QUICK_SCALE
from benchmarks.stage import Scale, open_stage


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small part, of this SDK and aiohttp")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance")
    parser.add_argument("--rounds", type=int, default=5, help="of which the least and the median are shown (5)")
    parser.add_argument("--job", action="append", help="only jobs whose name begins so; may be given several times")
    parser.add_argument("--competitor", action="append", choices=COMPETITORS, help="only these")
    chosen = parser.parse_args()
    if chosen.write and (chosen.quick or chosen.job or chosen.competitor):
        parser.error("--write is for a whole run")
    return chosen


async def main() -> None:
    chosen = options()
    jobs = [
        job for job in (QUICK if chosen.quick else JOBS) if not chosen.job or job.name.startswith(tuple(chosen.job))
    ]
    names = chosen.competitor or (["sdk", "aiohttp"] if chosen.quick else list(COMPETITORS))
    competitors = make_environments([COMPETITORS[name] for name in names])
    results: report.Results = {}
    real_lists = any(job.work == "list_instances" and not job.replayed for job in jobs)
    scale = QUICK_SCALE if chosen.quick else Scale() if real_lists else Scale(instances=5)
    async with open_stage(scale) as stage:
        async with stage.daemon.client() as client:
            about = report.about(await client.get_server_info(), chosen.rounds)
        for number, job in enumerate(jobs):
            print(f"benchmark: {number + 1} of {len(jobs)}: {job.name}", file=sys.stderr)
            results[job.name] = await measure(stage, job, competitors, chosen.rounds)
            print(report.lines(job, results[job.name]), flush=True)
    print(report.summary(results))
    if chosen.quick or chosen.job or chosen.competitor:
        return
    sandboxes = await measure_sandboxes(repeat=3 * chosen.rounds)
    print(f"\nsandboxes (least and median, ms)\n{sandbox_lines(sandboxes)}")
    if chosen.write:
        report.save(results, about, sandboxes)
        report.write()


if __name__ == "__main__":
    asyncio.run(main())
