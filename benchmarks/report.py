"""The figures as lines, and as tables and pictures of the page "Performance".

    python -m benchmarks.report [--check]

writes the tables between the marks of docs/performance.md, and the pictures beside ``docs/performance/results.json``,
from that file; with ``--check``, compares.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.jobs import AIMS, COMPETITORS, GROUPS, JOBS, Aim, Group, Job, Metric
from benchmarks.measuring import Figures, Outcome

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
FOLDER = PAGE.parent / "performance"
RESULTS = FOLDER / "results.json"
START, END = "<!-- {}: made by scripts/benchmark -->", "<!-- {}: end -->"

METRICS: dict[Metric, str] = {"cpu": "client CPU", "wall": "wall time"}
LONGEST = 4  # times the reference: where a bar of a picture ends
WIDTH, LABEL, ROW, GAP = 760, 155, 17, 26  # of a picture, its labels, its rows and what is between jobs, in pixels

Results = dict[str, dict[str, Outcome]]
Sandboxes = Mapping[str, Mapping[str, float]]


def about(server: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """What was measured on."""
    return {
        "rounds": rounds,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "incus": server["environment"]["server_version"],
        "aiohttp": version("aiohttp"),
    }


def ratio(outcomes: Mapping[str, Outcome], name: str, against: str, metric: Metric) -> float | None:
    """How many times as much a competitor took as another."""
    mine, theirs = figures(outcomes, name), figures(outcomes, against)
    return float(getattr(mine, metric) / getattr(theirs, metric)) if mine and theirs else None


def figures(outcomes: Mapping[str, Outcome], name: str) -> Figures | None:
    return outcomes[name].figures if name in outcomes else None


def number(value: float) -> str:
    """Three digits, or as many as there are before the point."""
    return f"{value:.{5 if value < 0.01 else 2 if value < 10 else 1 if value < 100 else 0}f}"


def lines(job: Job, outcomes: Mapping[str, Outcome]) -> str:
    """For the terminal: all that was measured in one job."""
    text = [f"{job.name}: {job.title} (least and median, ms; times {COMPETITORS[job.against].title})"]
    for name, outcome in outcomes.items():
        title = COMPETITORS[name].title
        if outcome.failure:
            text.append(f"  {title:22} - {outcome.failure[:160]}")
        if found := outcome.figures:
            parts = [f"  {title:22}"]
            for metric in METRICS:
                times = ratio(outcomes, name, job.against, metric)
                values = (1000 * getattr(found, field) for field in (metric, f"{metric}_median"))
                least, median = map(number, values)
                parts.append(f"{metric} {least:>7} {median:>7} {'' if times is None else f'x{number(times)}':>7}   ")
            text.append(f"{''.join(parts)}{found.peak:5.0f} MiB")
    return "\n".join(text)


def summary(results: Results) -> str:
    """For the terminal: where this SDK is, and where it was to be."""
    text = ["", f"{'aims':20} {'':5} {'against':10} {'is':>6} {'to be':>6}"]
    for aim in AIMS:
        is_ = reached(aim, results.get(aim.job, {}))
        if is_ is not None:
            beside = f"over {aim.over}" if aim.over else aim.against
            words = f"{aim.job:20} {aim.metric:5} {beside:10} {number(is_):>6} {number(aim.most):>6}"
            text.append(f"{words}{'  missed' if is_ > aim.most else ''}{'' if aim.by == 'sdk' else f'  {aim.by}'}")
    return "\n".join(text)


def reached(aim: Aim, outcomes: Mapping[str, Outcome]) -> float | None:
    """What an aim is compared with; None without figures."""
    if aim.against:
        return ratio(outcomes, aim.by, aim.against, aim.metric)
    mine, less = figures(outcomes, aim.by), figures(outcomes, aim.over) if aim.over else None
    if mine is None or (aim.over and less is None):
        return None
    return float(getattr(mine, aim.metric)) - (float(getattr(less, aim.metric)) if less else 0.0)


def save(results: Results, about: Mapping[str, Any], sandboxes: Sandboxes) -> None:
    """Keep what was measured, rounded to what it is worth."""

    def rounded(figures: Mapping[str, float]) -> dict[str, float]:
        return {name: float(f"{value:.4g}") for name, value in figures.items()}

    def plain(outcome: Outcome) -> Any:
        found = outcome.figures and rounded(asdict(outcome.figures))
        return {**({"figures": found} if found else {}), **({"failure": outcome.failure} if outcome.failure else {})}

    jobs = {job: {name: plain(each) for name, each in outcomes.items()} for job, outcomes in results.items()}
    FOLDER.mkdir(exist_ok=True)
    boxes = {what: rounded(each) for what, each in sandboxes.items()}
    RESULTS.write_text(json.dumps({"about": about, "jobs": jobs, "sandboxes": boxes}, indent=1) + "\n")


def load() -> tuple[Results, dict[str, Any], Sandboxes]:
    saved = json.loads(RESULTS.read_text())
    results = {
        job: {
            name: Outcome(Figures(**each["figures"]) if "figures" in each else None, each.get("failure", ""))
            for name, each in outcomes.items()
        }
        for job, outcomes in saved["jobs"].items()
    }
    return results, saved["about"], saved["sandboxes"]


def write() -> None:
    """Make the page's tables and all pictures."""
    for path, text in made().items():
        path.write_text(text)


def made() -> dict[Path, str]:
    """The text of each file that is made."""
    results, about, sandboxes = load()
    page = PAGE.read_text()
    files: dict[Path, str] = {}
    page = between("about", page, description(about))
    for group in GROUPS:
        jobs = [job for job in JOBS if job.group == group.name and job.name in results]
        files[FOLDER / f"{group.name}.svg"] = picture(group, jobs, results)
        page = between(group.name, page, section(group, jobs, results))
    page = between("sandboxes", page, sandbox_table(sandboxes))
    page = between("memory", page, table([job for job in JOBS if job.name in results], results, "peak"))
    page = between("slower", page, slower(results))
    files[PAGE] = page
    return files


def between(name: str, page: str, text: str) -> str:
    """The page with this text between the marks of that name."""
    start, end = START.format(name), END.format(name)
    before, found, rest = page.partition(start)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise SystemExit(f"{PAGE.name} has not the marks {start} and {end}")
    return f"{before}{start}\n\n{text}\n\n{end}{after}"


def description(about: Mapping[str, Any]) -> str:
    rounds = "one round" if about["rounds"] == 1 else f"{about['rounds']} rounds"
    return (
        f"Measured in {rounds} on a machine with {about['cores']} cores ({about['machine']}), Python "
        f"{about['python']}, Incus {about['incus']} and aiohttp {about['aiohttp']}."
    )


def section(group: Group, jobs: Sequence[Job], results: Results) -> str:
    parts = [f"![{group.title}: {METRICS[group.metric]}](performance/{group.name}.svg)"]
    for metric, title in METRICS.items():
        parts += [
            f"{title[0].upper()}{title[1:]}, ms: the least of the rounds, and the median in brackets",
            table(jobs, results, metric),
        ]
    if found := failures(jobs, results):
        parts += ["What failed:", found]
    return "\n\n".join(parts)


def failures(jobs: Sequence[Job], results: Results) -> str:
    """The reasons, each with the jobs that it kept a competitor from."""
    kept_from: dict[tuple[str, str], list[str]] = {}
    for job in jobs:
        for name, outcome in results[job.name].items():
            if outcome.failure:
                reason = textwrap.shorten(outcome.failure.replace("`", "'"), 120, placeholder=" ...")
                kept_from.setdefault((name, reason), []).append(job.title)
    return "\n".join(
        f"* {COMPETITORS[name].title}, {'; '.join(titles)}: `{reason}`" for (name, reason), titles in kept_from.items()
    )


def table(jobs: Sequence[Job], results: Results, field: str) -> str:
    """A row for each job, a column for each competitor that has figures."""
    names = [name for name in COMPETITORS if any(figures(results[job.name], name) for job in jobs)]
    rows = [f"| | {' | '.join(COMPETITORS[name].title for name in names)} |", f"|---|{'---:|' * len(names)}"]
    for job in jobs:
        cells = (cell(figures(results[job.name], name), field) for name in names)
        rows.append(f"| {job.title} | {' | '.join(cells)} |")
    return "\n".join(rows)


def sandbox_table(sandboxes: Sandboxes) -> str:
    rows = ["| wall time, ms | least | median |", "|---|---:|---:|"]
    for what, each in sandboxes.items():
        least, median = (number(1000 * each[field]) for field in ("wall", "wall_median"))
        rows.append(f"| {what} | {least} | {median} |")
    return "\n".join(rows)


def cell(found: Figures | None, field: str) -> str:
    if found is None:
        return "-"
    if field == "peak":
        return f"{found.peak:.0f}"
    least, median = (number(1000 * getattr(found, each)) for each in (field, f"{field}_median"))
    return f"{least} ({median})"


def slower(results: Results) -> str:
    """Where a library or a command took less than this SDK."""

    def found() -> Iterator[str]:
        for job in JOBS:
            outcomes = results.get(job.name, {})
            ours = figures(outcomes, "sdk")
            where = f"{job.title}{' over HTTPS' if job.https else ''}"
            for name in outcomes:
                theirs = figures(outcomes, name)
                if name in ("sdk", "speed", "blocking", "floor") or not ours or not theirs:
                    continue
                times = {title: getattr(ours, each) / getattr(theirs, each) for each, title in METRICS.items()}
                words = [f"{number(1 / each)} of our {title}" for title, each in times.items() if each > 1.05]
                if words:
                    yield f"* {where}: {COMPETITORS[name].title}, {' and '.join(words)}"

    return "\n".join(found()) or "Nowhere."


def picture(group: Group, jobs: Sequence[Job], results: Results) -> str:
    """Bars: each competitor in times of the reference, this SDK in its own colour."""
    body: list[str] = []
    y = 40
    scale = (WIDTH - LABEL - 185) / LONGEST
    for job in jobs:
        title, against = job.title.replace("`", ""), COMPETITORS[job.against].title.replace("`", "")
        body.append(f'<text class="title" x="12" y="{y + 2}">{title}</text>')
        y += 10
        for name in COMPETITORS:
            times = ratio(results[job.name], name, job.against, group.metric)
            found = figures(results[job.name], name)
            if times is None or found is None:
                continue
            length = max(min(times, LONGEST) * scale, 1)
            value = f"{number(times)}x · {number(1000 * getattr(found, group.metric))} ms"
            kind = KINDS.get(name, "reference" if name == job.against else "other")
            body.append(
                f'<text class="name" x="{LABEL - 6}" y="{y + 12}">{COMPETITORS[name].title.replace("`", "")}</text>'
                f'<rect class="{kind}" x="{LABEL}" y="{y + 2}" width="{length:.0f}" height="{ROW - 5}" rx="2"/>'
                f'<text class="value" x="{LABEL + length + 6:.0f}" y="{y + 12}">{value}'
                f"{' (cut short)' if times > LONGEST else ''}</text>"
            )
            y += ROW
        top = y - 2
        body.append(f'<line x1="{LABEL + scale:.0f}" x2="{LABEL + scale:.0f}" y1="{top}" y2="{top + 5}"/>')
        body.append(f'<text class="note" x="{LABEL + scale:.0f}" y="{top + 15}">1 = {against}</text>')
        y += GAP + 8
    head = f"{group.title}: {METRICS[group.metric]}, shorter is better"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" {FONT}>',
            f"<title>{head}</title>",
            STYLE,
            f'<rect class="paper" width="{WIDTH}" height="{y}" rx="6"/>',
            f'<text class="head" x="12" y="20">{head}</text>',
            *body,
            "</svg>",
            "",
        ]
    )


FONT = 'font-family="sans-serif" font-size="12"'
KINDS = {"sdk": "sdk", "speed": "sdk", "blocking": "sdk", "floor": "floor"}
STYLE = """<style>
.paper { fill: #fff } text { fill: #222 } .head { font-size: 14px; font-weight: bold } .title { font-weight: bold }
.name { text-anchor: end } .note { text-anchor: middle; font-size: 10px } .note, .value { fill: #555 }
line { stroke: #777 }
.sdk { fill: #e8590c } .floor { fill: #adb5bd } .reference { fill: #4c6ef5 } .other { fill: #91a7ff }
@media (prefers-color-scheme: dark) {
.paper { fill: #1e2129 } text { fill: #e6e6e6 } .note, .value { fill: #b5b5b5 } line { stroke: #999 }
.floor { fill: #868e96 } .reference { fill: #748ffc } .other { fill: #4c5fa8 }
}
</style>"""


def main() -> None:
    if "--check" not in sys.argv[1:]:
        write()
    elif stale := [path.name for path, text in made().items() if not path.exists() or path.read_text() != text]:
        sys.exit(f"not as benchmarks/report.py makes it: {', '.join(stale)}")


if __name__ == "__main__":
    main()
